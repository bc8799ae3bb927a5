//! What the arbiter knows of a trunk, to be shown.

use super::health::Cause;
use crate::ids::TrunkId;
use crate::time::Mono;

/// Whether a trunk works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It works.
    Working,
    /// Its last legs failed or got no event: it gets few legs until it is known whether it works.
    InDoubt,
    /// It is used if nothing else has room.
    Standby(Cause),
    /// It is used by probes only.
    Out(Cause),
    /// The PBX says that its gateway or link is down.
    Down,
}

/// What is known of a trunk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrunkView {
    /// The trunk.
    pub trunk: TrunkId,
    /// Whether it works.
    pub condition: Condition,
    /// Time of the next probe, if it needs one.
    pub probe_at: Option<Mono>,
    /// Legs that are granted or dialed, and have not ended.
    pub channels_used: u32,
    /// Number of legs that it could take now.
    pub room: u32,
    /// Share of failed legs among the last 200.
    pub failure_ratio: f64,
    /// Share of false answers among the last 20 answers.
    pub false_answer_ratio: f64,
    /// Its connect rate relative to what callees answer over an average trunk.
    pub connect_ratio: f64,
    /// Its ASR relative to the same.
    pub asr_ratio: f64,
    /// True if its group answers too little.
    pub poor_group: bool,
}
