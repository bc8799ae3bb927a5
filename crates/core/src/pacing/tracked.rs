//! The calls in flight and the agents, each with its state and the time since which it has this state.
//!
//! Input: events, which may be late, duplicate, out of order or lost. A state whose last event was lost is removed after a
//! maximum time (see `PacingController::expire`). All times are seconds of [`crate::time::Mono`].

use std::collections::{BTreeMap, VecDeque};

/// Identifies a call. Any number that is unique for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallKey(pub u128);

/// Identifies an agent. Any number that is unique for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AgentKey(pub u128);

/// The state of an agent, as far as pacing needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentStep {
    /// Logged out.
    Offline,
    /// Free for a call.
    Available,
    /// In a call, or reserved for one.
    OnCall,
    /// In wrap-up after a call.
    WrapUp,
    /// Logged in, but takes no calls.
    Paused,
}

/// A call that may still need an agent.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallSpell {
    pub(super) state: CallPhase,
    /// Start of the current state.
    pub(super) since: f64,
    /// The time at risk is counted up to here.
    pub(super) counted: f64,
    /// Ratio of its odds of a live answer to those of an average call.
    pub(super) odds: f64,
}

/// The state of a call in flight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum CallPhase {
    Dialing,
    Ringing,
    /// Answered. It is not known yet if a person answered.
    Listening(Answer),
    /// A person answered and has no agent yet.
    Waiting,
}

/// The state before the answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Answer {
    /// True if the call rang before it was answered.
    pub(super) rang: bool,
    /// Time in that state until the answer, in seconds.
    pub(super) age: f64,
}

/// The end of a call, as far as pacing needs it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum EndedAs {
    Machine,
    Connected,
    Over,
    /// A person waited since then (seconds), and no further event arrived in time.
    Overdue(f64),
}

/// An agent who is logged in.
#[derive(Clone, Copy, Debug)]
pub(super) struct AgentSpell {
    pub(super) step: AgentStep,
    pub(super) since: f64,
    pub(super) counted: f64,
    /// Time when the agent will log out, in seconds. `None`: the agent stays.
    pub(super) leaves_at: Option<f64>,
}

/// Maximum number of calls and agents. Events about further ones are ignored and counted in `dropped`.
const CALLS_MAX: usize = 50_000;
const AGENTS_MAX: usize = 20_000;
/// Number of ended calls that are remembered, so that a late event does not open them again.
const ENDED_MAX: usize = 8_192;

#[derive(Clone, Debug, Default)]
pub(super) struct Tracked {
    pub(super) calls: BTreeMap<CallKey, CallSpell>,
    pub(super) agents: BTreeMap<AgentKey, AgentSpell>,
    ended_as: BTreeMap<CallKey, EndedAs>,
    ended_order: VecDeque<CallKey>,
    /// Request times, in seconds, of the calls that have not been seen dialing yet.
    pub(super) asked: VecDeque<f64>,
    /// Events ignored because of the maximum numbers.
    pub(super) dropped: u64,
}

impl Tracked {
    pub(super) fn ended_as(&self, call: CallKey) -> Option<EndedAs> {
        self.ended_as.get(&call).copied()
    }

    /// Adds a call, or replaces its state.
    pub(super) fn put(&mut self, call: CallKey, spell: CallSpell) {
        if self.calls.len() >= CALLS_MAX && !self.calls.contains_key(&call) {
            self.dropped += 1;
            return;
        }
        self.calls.insert(call, spell);
    }

    /// Marks a call as ended: it needs no agent any more.
    pub(super) fn end(&mut self, call: CallKey, how: EndedAs) {
        self.calls.remove(&call);
        if self.ended_as.insert(call, how).is_none() {
            self.ended_order.push_back(call);
        }
        if self.ended_order.len() > ENDED_MAX
            && let Some(oldest) = self.ended_order.pop_front()
        {
            self.ended_as.remove(&oldest);
        }
    }

    /// Forgets that a call ended, because a later event shows that it needs an agent.
    pub(super) fn reopen(&mut self, call: CallKey) {
        if self.ended_as.remove(&call).is_some() {
            self.ended_order.retain(|known| *known != call);
        }
    }

    pub(super) fn put_agent(&mut self, agent: AgentKey, spell: AgentSpell) {
        if self.agents.len() >= AGENTS_MAX && !self.agents.contains_key(&agent) {
            self.dropped += 1;
            return;
        }
        self.agents.insert(agent, spell);
    }
}
