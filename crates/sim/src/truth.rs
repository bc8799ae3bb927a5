//! What really happened on the switch, whatever the events said: what tests compare the engine's story with.
//!
//! Keeps every live leg and the last [`ENDED_KEPT_MAX`] ended ones. Holds dial strings, so its `Debug` shows counts
//! only.

use crate::callee::Fate;
use paceline_core::ids::{AgentLegId, LegId};
use paceline_core::number::E164;
use paceline_core::time::Mono;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

/// Ended legs that are remembered; the oldest are forgotten first.
pub const ENDED_KEPT_MAX: usize = 50_000;
/// Dialed destinations that are counted; a further one counts as dialed for the first time, each time.
pub const DIALED_KEPT_MAX: usize = 1_000_000;
/// Impossible orders that are remembered.
const VIOLATIONS_KEPT_MAX: usize = 100;

/// The ground truth of one switch.
#[derive(Clone, Default)]
pub struct Truth {
    pub(crate) legs: BTreeMap<LegId, LegTruth>,
    pub(crate) agent_legs: BTreeMap<AgentLegId, AgentLegTruth>,
    dialed: BTreeMap<String, u64>,
    ended: VecDeque<(Option<LegId>, Option<AgentLegId>)>,
    violations: Vec<Violation>,
    /// Events that the engine's side never got: lost one by one, or while the link was cut.
    pub events_lost: u64,
    /// Commands that never reached the switch.
    pub commands_lost: u64,
}

/// What a callee's leg did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegTruth {
    /// What it was meant to do; `None` if the switch refused it before it was dialed.
    pub fate: Option<Fate>,
    /// When the switch placed it.
    pub placed_at: Mono,
    /// When ringing or early media showed.
    pub progressed_at: Option<Mono>,
    /// When it was answered.
    pub answered_at: Option<Mono>,
    /// Each agent it was connected with, and when.
    pub connected: Vec<(Mono, AgentLegId)>,
    /// When a message to the callee began and, if it did, was played to its end.
    pub message: Option<(Mono, Option<Mono>)>,
    /// Each time that the callee was up with nobody on the line and nothing to hear: from, until.
    pub alone: Vec<(Mono, Mono)>,
    /// When and how it ended; `None`: it lives.
    pub ended: Option<(Mono, TrueEnd)>,
}

/// What an agent's leg did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentLegTruth {
    /// When the switch placed it.
    pub placed_at: Mono,
    /// When it was answered and held.
    pub held_at: Option<Mono>,
    /// When it came out of its bridge, unless it came back.
    pub left_at: Option<Mono>,
    /// When and how it ended; `None`: it lives.
    pub ended: Option<(Mono, TrueEnd)>,
}

/// How a leg really ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrueEnd {
    /// The switch did not place it: no such endpoint, no free channel, or refused by a fault.
    NotPlaced,
    /// The far end or the network refused the call.
    Refused,
    /// Our ring timeout.
    RingTimeout,
    /// The far end hung up.
    FarEnd,
    /// We hung up.
    Us,
    /// The leg's time limit on the switch.
    DurationMax,
    /// Answered while nobody listened to the switch, which then hangs up.
    NobodyListened,
    /// An operator had moved it elsewhere, and we let it go.
    TakenAway,
    /// The switch restarted.
    Restart,
}

/// An order that no engine may give. The switch did what a real one would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A channel id was used for a second originate.
    LegTwice(uuid::Uuid),
    /// A callee was connected to an agent who already talks with another.
    AgentTaken {
        /// The agent's leg.
        agent_leg: AgentLegId,
        /// Who was there.
        first: LegId,
        /// Who came.
        second: LegId,
    },
    /// A callee was moved from one agent to another.
    CalleeMoved(LegId),
    /// A channel of somebody else was hung up.
    ForeignHungUp(uuid::Uuid),
}

impl LegTruth {
    /// Whether the leg lived at that time.
    pub fn spans(&self, at: Mono) -> bool {
        self.placed_at <= at && self.ended.is_none_or(|(ended_at, _)| ended_at >= at)
    }
}

impl Truth {
    /// Every leg to a callee that is remembered.
    pub fn legs(&self) -> &BTreeMap<LegId, LegTruth> {
        &self.legs
    }

    /// Every leg to an agent that is remembered.
    pub fn agent_legs(&self) -> &BTreeMap<AgentLegId, AgentLegTruth> {
        &self.agent_legs
    }

    /// How often this number was dialed, over whatever trunk.
    pub fn dialed(&self, number: &E164) -> u64 {
        self.dialed.get(number.expose_digits()).copied().unwrap_or(0)
    }

    /// Impossible orders, oldest first. At most the first hundred.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Counts one more call to this destination and tells how many there were before.
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
