//! Paceline as its users run it: the binary, its configuration file and its API, with a real Asterisk, and with SIPp as
//! the carrier and the agents' phones; also with a FreeSWITCH, if there is one, and with both at once.
//!
//! The short form runs with all tests. `PACELINE_PROOF=full` (see `scripts/prove`) runs the full length.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod account;
mod breakable;
mod conversations;
mod evidence;
mod freeswitch;
mod graceful;
mod keypresses;
mod late;
mod lost;
mod maintenance;
mod messages;
mod mixed;
mod opt_outs;
mod pacing;
mod phones;
// The contract suite uses the whole file.
#[allow(dead_code)]
#[path = "../../crates/pbx/tests/ari/proxy.rs"]
mod proxy;
// The bench uses the whole file.
#[allow(dead_code)]
mod rig;
mod stopped;
mod storm;
mod trunks;
