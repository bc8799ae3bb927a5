//! The gate against a model of its rules that shares nothing with it: the model is slow, obvious, and written from the compliance
//! tables. Random lines by the thousand here, by the million in `scripts/prove gate`; lines whose answers are reasoned by
//! hand in `golden.jsonl`; and lines that nobody should send.

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
