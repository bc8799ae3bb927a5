//! The calls in flight and the agents, as the controller knows them: what each is doing, since when.
//!
//! In: events, which may come late, twice, out of order or not at all. Out: spells of states. A state that nothing ends
//! is dropped after a while, so that a lost event cannot hold a place for ever. Times are seconds of [`crate::time::Mono`].

use std::collections::{BTreeMap, VecDeque};

/// A call, by whatever id its owner has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallKey(pub u128);

/// An agent, by whatever id its owner has for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AgentKey(pub u128);

/// What an agent is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentStep {
    /// Not there.
    Offline,
    /// Free for a call.
    Available,
    /// Talking, or kept for a call.
    OnCall,
    /// After a call.
    WrapUp,
    /// There, and taking no calls.
    Paused,
}

/// A call that may still need an agent.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallSpell {
    pub(super) state: Flight,
    /// Since when it is in this state.
    pub(super) since: f64,
    /// Until when its time at risk has been counted.
    pub(super) counted: f64,
    /// Its odds of a person, over the usual.
    pub(super) odds: f64,
}

/// Where a call in flight is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Flight {
    Dialing,
    Ringing,
    /// Answered, being judged.
    Listening(Answer),
    /// A person without an agent.
    Waiting,
}

/// How a call came to be answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Answer {
    /// Whether it had been seen to ring.
    pub(super) rang: bool,
    /// Its age in that state, seconds.
    pub(super) age: f64,
}

/// What became of a call that is in flight no more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Landed {
    Machine,
    Connected,
    Over,
    /// A person of whom nothing was heard any more, waiting since then.
    Overdue(f64),
}

/// An agent who is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct AgentSpell {
    pub(super) step: AgentStep,
    pub(super) since: f64,
    pub(super) counted: f64,
    /// When the agent will be gone, free or not.
    pub(super) leaves_at: Option<f64>,
}

/// Calls in flight and agents held, at most; past it the newest are not counted.
const CALLS_MAX: usize = 50_000;
const AGENTS_MAX: usize = 20_000;
/// Landed calls remembered, so that a late event does not raise them again.
const LANDED_MAX: usize = 8_192;

#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    pub(super) calls: BTreeMap<CallKey, CallSpell>,
    pub(super) agents: BTreeMap<AgentKey, AgentSpell>,
    landed: BTreeMap<CallKey, Landed>,
    landed_order: VecDeque<CallKey>,
    /// When calls were asked for that have not been seen yet.
    pub(super) asked: VecDeque<f64>,
    /// Events about calls or agents beyond the bounds.
    pub(super) dropped: u64,
}

impl Book {
    pub(super) fn landed(&self, call: CallKey) -> Option<Landed> {
        self.landed.get(&call).copied()
    }

    /// Enters a call, or moves it to another state.
    pub(super) fn put(&mut self, call: CallKey, spell: CallSpell) {
        if self.calls.len() >= CALLS_MAX && !self.calls.contains_key(&call) {
            self.dropped += 1;
            return;
        }
        self.calls.insert(call, spell);
    }

    /// A call that needs no agent any more.
    pub(super) fn land(&mut self, call: CallKey, how: Landed) {
        self.calls.remove(&call);
        if self.landed.insert(call, how).is_none() {
            self.landed_order.push_back(call);
        }
        if self.landed_order.len() > LANDED_MAX
            && let Some(oldest) = self.landed_order.pop_front()
        {
            self.landed.remove(&oldest);
        }
    }

    /// A call thought to have landed is not over after all.
    pub(super) fn take_off(&mut self, call: CallKey) {
        if self.landed.remove(&call).is_some() {
            self.landed_order.retain(|known| *known != call);
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
