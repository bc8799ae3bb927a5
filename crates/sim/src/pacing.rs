//! A call centre in virtual time for comparing ways to pace: callees, agents, trunks and detection by their distributions,
//! without a switch or an engine, fast enough for days of calls in seconds.
//!
//! In: a [`Scenario`], a seed, a [`Dialer`]. Out: a [`Tally`]. The n-th call of a seed meets the same callee whoever
//! dials it. Start at [`run`].

mod callee;
mod centre;
mod contest;
mod rivals;
mod scenario;
mod tally;

pub use callee::DrawnCallee;
pub use centre::run;
pub use contest::{Contender, Standing, contest};
pub use rivals::{DropRule, FixedRatio, Ours, Vicidial};
pub use scenario::{Level, Scenario, Window, level_at};
pub use tally::{Sample, Tally};

use paceline_core::pacing::{AgentStep, CallStep};
use paceline_core::time::Mono;

/// Somebody who decides how many calls to launch, and sees what a dialer sees.
pub trait Dialer {
    /// An agent has come, gone, or changed state.
    fn agent(&mut self, at: Mono, agent: u32, step: AgentStep);
    /// Something has happened to a call.
    fn call(&mut self, at: Mono, call: u64, step: CallStep);
    /// How many calls to launch now, `channels` being free.
    fn tick(&mut self, at: Mono, channels: Option<u32>) -> u32;
}
