//! A call centre in virtual time for comparing pacing algorithms. Callees, agents, trunks and detection follow
//! distributions, without a PBX or an engine, so days of calls take seconds.
//!
//! Input: a [`Scenario`], a seed, a [`Dialer`]. Output: a [`Tally`]. The n-th call of a seed meets the same callee with
//! every dialer. Start at [`run`].

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

/// A pacing algorithm. It sees the events that a dialer sees, and decides how many calls to launch.
pub trait Dialer {
    /// Reports a new state of an agent.
    fn agent(&mut self, at: Mono, agent: u32, step: AgentStep);
    /// Reports a step of a call.
    fn call(&mut self, at: Mono, call: u64, step: CallStep);
    /// The number of calls to launch now. `channels`: number of free trunk channels; `None`: no limit.
    fn tick(&mut self, at: Mono, channels: Option<u32>) -> u32;
}
