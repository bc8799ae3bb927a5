//! The whole of Paceline as its users run it: the binary, its configuration file and its API, beside a real Asterisk with
//! SIPp as the carrier and agents' phones; and beside a FreeSWITCH, where there is one, and beside both at once.
//!
//! The short form runs with all tests; `PACELINE_PROOF=full` (see `scripts/prove`) runs the full bars.

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
// The contract suite uses all of it.
#[allow(dead_code)]
#[path = "../../crates/pbx/tests/ari/proxy.rs"]
mod proxy;
// The bench uses all of it.
#[allow(dead_code)]
mod rig;
mod stopped;
mod storm;
mod trunks;
