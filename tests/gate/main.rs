//! Compares the gate with a model of its rules. The model shares no code with it, is slow and obvious, and is written
//! from the compliance tables. The inputs are random lines (thousands here, millions in `scripts/prove gate`), the
//! lines of `golden.jsonl` with answers reasoned by hand, and lines that no client should send.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's helpers fail by panicking, as tests do"
)]

mod agreement;
mod book;
mod calendar;
mod cases;
mod golden;
mod hostile;
mod line;
mod pipe;
mod places;
mod reference;
