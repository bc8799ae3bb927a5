//! The true history of the simulated PBX, independent of its events. Tests compare the engine's records with it.
//!
//! It keeps every leg that exists and the last [`ENDED_KEPT_MAX`] that ended. It holds dial strings, so its `Debug` shows
//! only counts.

use crate::callee::Behaviour;
use paceline_core::ids::{AgentLegId, LegId};
use paceline_core::number::E164;
use paceline_core::time::Mono;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

/// Maximum number of ended legs that are kept. The oldest are removed first.
pub const ENDED_KEPT_MAX: usize = 50_000;
/// Maximum number of dialed destinations that are counted. Further ones count as dialed for the first time.
pub const DIALED_KEPT_MAX: usize = 1_000_000;
/// Maximum number of violations that are kept.
const VIOLATIONS_KEPT_MAX: usize = 100;

/// The truth of one PBX.
#[derive(Clone, Default)]
pub struct Truth {
    pub(crate) legs: BTreeMap<LegId, LegTruth>,
    pub(crate) agent_legs: BTreeMap<AgentLegId, AgentLegTruth>,
    dialed: BTreeMap<String, u64>,
    ended: VecDeque<(Option<LegId>, Option<AgentLegId>)>,
    violations: Vec<Violation>,
    /// Number of events that did not reach the engine: lost one by one, or while the link was cut.
    pub events_lost: u64,
    /// Number of commands that did not reach the PBX.
    pub commands_lost: u64,
}

/// The true history of a callee's leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegTruth {
    /// The behaviour planned for the callee. `None` if the PBX refused the call before dialing.
    pub behaviour: Option<Behaviour>,
    /// Time when the PBX placed the call.
    pub placed_at: Mono,
    /// Time of ringing or early media.
    pub progressed_at: Option<Mono>,
    /// Time of the answer.
    pub answered_at: Option<Mono>,
    /// Each agent it was connected to, with the time.
    pub connected: Vec<(Mono, AgentLegId)>,
    /// Time when the message began, and time when it was played to its end.
    pub message: Option<(Mono, Option<Mono>)>,
    /// Periods in which the callee was alone on the line and heard no message.
    pub alone: Vec<(Mono, Mono)>,
    /// Time and kind of the end. `None`: the leg exists.
    pub ended: Option<(Mono, TrueEnd)>,
}

/// The true history of an agent's leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentLegTruth {
    /// Time when the PBX placed the call.
    pub placed_at: Mono,
    /// Time of the answer, when the leg was put into its bridge.
    pub held_at: Option<Mono>,
    /// Time when it left its bridge, unless it came back.
    pub left_at: Option<Mono>,
    /// Time and kind of the end. `None`: the leg exists.
    pub ended: Option<(Mono, TrueEnd)>,
}

/// The true end of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrueEnd {
    /// The PBX did not place it: no such endpoint, no free channel, or refused by a fault.
    NotPlaced,
    /// The far end or the network refused the call.
    Refused,
    /// Paceline's ring timeout.
    RingTimeout,
    /// The far end hung up.
    FarEnd,
    /// Paceline hung up.
    Us,
    /// The leg's time limit on the PBX.
    DurationMax,
    /// The callee answered while the link was down, and the PBX hung up.
    NobodyListened,
    /// An operator had moved it, and Paceline gave it up.
    TakenAway,
    /// The PBX restarted.
    Restart,
}

/// A command that no engine may send. The PBX reacted as a real one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A channel id was used for a second originate.
    LegTwice(uuid::Uuid),
    /// A callee was connected to an agent who already talks with another callee.
    AgentTaken {
        /// The agent's leg.
        agent_leg: AgentLegId,
        /// The callee who was connected first.
        first: LegId,
        /// The callee who was connected second.
        second: LegId,
    },
    /// A callee was moved from one agent to another.
    CalleeMoved(LegId),
    /// A channel of another application was hung up.
    ForeignHungUp(uuid::Uuid),
}

impl LegTruth {
    /// True if the leg existed at this time.
    pub fn spans(&self, at: Mono) -> bool {
        self.placed_at <= at && self.ended.is_none_or(|(ended_at, _)| ended_at >= at)
    }
}

impl Truth {
    /// All legs to callees that are kept.
    pub fn legs(&self) -> &BTreeMap<LegId, LegTruth> {
        &self.legs
    }

    /// All legs to agents that are kept.
    pub fn agent_legs(&self) -> &BTreeMap<AgentLegId, AgentLegTruth> {
        &self.agent_legs
    }

    /// Number of times that this number was dialed, over any trunk.
    pub fn dialed(&self, number: &E164) -> u64 {
        self.dialed.get(number.expose_digits()).copied().unwrap_or(0)
    }

    /// Violations, oldest first; at most 100.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Counts one more call to this destination. Returns how many there were before.
    pub(crate) fn count_dialed(&mut self, destination: &str) -> u64 {
        if let Some(count) = self.dialed.get_mut(destination) {
            *count += 1;
            return *count - 1;
        }
        if self.dialed.len() < DIALED_KEPT_MAX {
            self.dialed.insert(destination.to_owned(), 1);
        }
        0
    }

    pub(crate) fn violated(&mut self, violation: Violation) {
        if self.violations.len() < VIOLATIONS_KEPT_MAX {
            self.violations.push(violation);
        }
    }

    pub(crate) fn end_leg(&mut self, leg: LegId, at: Mono, end: TrueEnd) {
        if let Some(truth) = self.legs.get_mut(&leg) {
            truth.ended = Some((at, end));
        }
        self.remember((Some(leg), None));
    }

    pub(crate) fn end_agent_leg(&mut self, leg: AgentLegId, at: Mono, end: TrueEnd) {
        if let Some(truth) = self.agent_legs.get_mut(&leg) {
            truth.ended = Some((at, end));
        }
        self.remember((None, Some(leg)));
    }

    fn remember(&mut self, ended: (Option<LegId>, Option<AgentLegId>)) {
        self.ended.push_back(ended);
        if self.ended.len() > ENDED_KEPT_MAX
            && let Some((leg, agent_leg)) = self.ended.pop_front()
        {
            leg.and_then(|leg| self.legs.remove(&leg));
            agent_leg.and_then(|leg| self.agent_legs.remove(&leg));
        }
    }
}

impl fmt::Debug for Truth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Truth")
            .field("legs", &self.legs.len())
            .field("agent_legs", &self.agent_legs.len())
            .field("dialed", &self.dialed.len())
            .field("violations", &self.violations)
            .finish_non_exhaustive()
    }
}
