//! Days of calls over six trunks with hidden outages, drift, regional quality and false answers, for comparing choices of
//! trunks.
//!
//! Input: a [`TrunkScenario`], a seed, a [`Router`]. Output: a [`TrunkTally`]. The n-th attempt of a seed meets the same
//! callee with every router, and the same trunks. Start at [`run`].

mod carriers;
mod contest;
mod day;
mod ours;
mod rivals;
mod scenario;

pub use carriers::{Carriers, Fault};
pub use contest::{TrunkContender, TrunkStanding, trunk_contest};
pub use day::{TrunkTally, run};
pub use ours::Ours;
pub use rivals::{OpenSips, Oracle, Order};
pub use scenario::{CARRIERS, REGIONS, TRUNKS, TrunkScenario};

use paceline_core::time::Mono;
use paceline_core::trunks::LegStep;

/// A call that needs a trunk.
#[derive(Clone, Debug)]
pub struct TrunkCall {
    /// Number of the leg.
    pub leg: u64,
    /// Index of the number's region.
    pub region: usize,
    /// Index of the number's carrier.
    pub carrier: usize,
    /// The trunks that the attempt has tried.
    pub tried: Vec<usize>,
}

/// A choice of trunks. It hears what a dialer hears.
pub trait Router {
    /// The trunk for a leg, or none now. `room`: whether each trunk has a free channel and a free call in this second.
    fn choose(&mut self, at: Mono, call: &TrunkCall, room: &[bool]) -> Option<usize>;
    /// What happened to a leg.
    fn leg(&mut self, at: Mono, call: &TrunkCall, trunk: usize, step: LegStep);
}
