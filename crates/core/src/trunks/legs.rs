//! What happens to a leg, as the arbiter hears it.

use crate::outcome::Outcome;
use std::time::Duration;

/// A state of a leg.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LegStep {
    /// The PBX dials it.
    Dialing,
    /// It rings, or early media was heard.
    Ringing,
    /// It is answered.
    Answered,
    /// It is over.
    Ended(LegResult),
}

/// The end of a leg.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LegResult {
    /// The outcome. `None`: the end shows nothing about the trunk.
    pub outcome: Option<Outcome>,
    /// Time from the answer to the end. `None`: not known.
    pub talk: Option<Duration>,
    /// Mean opinion score, 1 to 5.
    pub mos: Option<f64>,
    /// Share of lost packets.
    pub loss: Option<f64>,
    /// True if our own PBX caused the end. It counts against nobody.
    pub local_fault: bool,
}

/// What the end of a leg shows about its trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrunkVerdict {
    /// The trunk works.
    Works,
    /// The end shows nothing about the trunk.
    Unclear,
    /// The trunk gave the same final answer to every number, and it is not known yet whether it looked at them.
    Doubted,
    /// The trunk caused the end, so it says nothing about the number.
    Trunk,
}
