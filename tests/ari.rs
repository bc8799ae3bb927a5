//! The Asterisk driver against real Asterisk 22 and 16, with SIPp as the trunk and simulated phones.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

#[path = "ari/agents.rs"]
mod agents;
#[path = "ari/bench.rs"]
mod bench;
#[path = "ari/link.rs"]
mod link;
#[path = "ari/outcomes.rs"]
mod outcomes;
#[path = "ari/proxy.rs"]
mod proxy;
#[path = "ari/recordings.rs"]
mod recordings;
