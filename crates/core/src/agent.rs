//! The states of an agent: the leg to the agent's phone, what the agent does, and what the agent wants next.

use crate::dial::{AgentTemplate, Extension};
use crate::ids::{AgentId, AgentLegId, AttemptId, PbxName};
use crate::time::{Mono, Wall};
use crate::words::words;

words! {
    /// An agent's state as shown everywhere.
    AgentState {
        /// Not logged in.
        Offline = "offline",
        /// Held and free.
        Available = "available",
        /// Kept for a call that was launched.
        Reserved = "reserved",
        /// The agent's own phone is being called.
        Ringing = "ringing",
        /// Talks with a contact.
        OnCall = "on_call",
        /// After a call.
        WrapUp = "wrap_up",
        /// Logged in, takes no calls.
        Paused = "paused",
    }
}

/// A logged-in agent, as the engine keeps it.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) id: AgentId,
    pub(crate) pbx: PbxName,
    pub(crate) template: AgentTemplate,
    pub(crate) extension: Extension,
    pub(crate) phone: Phone,
    pub(crate) work: Work,
    pub(crate) wants: Wants,
    /// When the shown state last changed.
    pub(crate) since: Wall,
}

/// The leg to the agent's phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phone {
    /// No leg. `recalls` counts the calls made since the phone last proved to be of use; it is called again at `recall_at`,
    /// if at all.
    Gone { recalls: u8, recall_at: Option<Mono> },
    /// Being called.
    Calling {
        leg: AgentLegId,
        recalls: u8,
        give_up_at: Mono,
    },
    /// Held in its bridge.
    Held {
        leg: AgentLegId,
        recalls: u8,
        since: Mono,
    },
    /// Asked to end; not confirmed. Asked again at `ask_again_at`.
    Leaving {
        leg: AgentLegId,
        recalls: u8,
        ask_again_at: Mono,
    },
}

/// What the agent does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Nothing, since then.
    Idle { since: Mono },
    /// Is kept for a call that is not connected.
    Reserved { attempt: AttemptId },
    /// Is in one bridge with a callee.
    OnCall { attempt: AttemptId },
    /// Finishes a call.
    WrapUp { attempt: AttemptId, until: Mono },
}

words! {
    /// What the agent wants once free.
    Wants {
        /// The next call.
        Calls = "calls",
        /// No calls.
        Pause = "pause",
        /// To go home.
        LogOut = "log_out",
    }
}

impl Phone {
    /// To be called as soon as may be.
    pub(crate) fn gone_since(now: Mono) -> Self {
        Phone::Gone {
            recalls: 0,
            recall_at: Some(now),
        }
    }

    pub(crate) fn leg(self) -> Option<AgentLegId> {
        match self {
            Phone::Gone { .. } => None,
            Phone::Calling { leg, .. } | Phone::Held { leg, .. } | Phone::Leaving { leg, .. } => Some(leg),
        }
    }

    pub(crate) fn recalls(self) -> u8 {
        match self {
            Phone::Gone { recalls, .. }
            | Phone::Calling { recalls, .. }
            | Phone::Held { recalls, .. }
            | Phone::Leaving { recalls, .. } => recalls,
        }
    }
}

impl Work {
    /// The call that the agent is kept for, talks in, or finishes.
    pub(crate) fn attempt(self) -> Option<AttemptId> {
        match self {
            Work::Idle { .. } => None,
            Work::Reserved { attempt } | Work::OnCall { attempt } | Work::WrapUp { attempt, .. } => {
                Some(attempt)
            }
        }
    }
}

impl Agent {
    /// The state as shown.
    pub(crate) fn state(&self) -> AgentState {
        match (self.work, self.phone, self.wants) {
            (Work::Reserved { .. }, _, _) => AgentState::Reserved,
            (Work::OnCall { .. }, _, _) => AgentState::OnCall,
            (Work::WrapUp { .. }, _, _) => AgentState::WrapUp,
            (Work::Idle { .. }, Phone::Calling { .. }, _) => AgentState::Ringing,
            (Work::Idle { .. }, Phone::Held { .. }, Wants::Calls) => AgentState::Available,
            (Work::Idle { .. }, Phone::Held { .. }, Wants::Pause | Wants::LogOut)
            | (Work::Idle { .. }, Phone::Gone { .. } | Phone::Leaving { .. }, _) => AgentState::Paused,
        }
    }

    /// Since when the agent is held and free, if so.
    pub(crate) fn free_since(&self) -> Option<Mono> {
        match (self.work, self.phone, self.wants) {
            (Work::Idle { since }, Phone::Held { .. }, Wants::Calls) => Some(since),
            _ => None,
        }
    }
}

impl Agent {
    /// When the agent wants to be looked at again: the phone's deadline and the end of wrap-up, whichever is first.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        let phone = match self.phone {
            Phone::Calling { give_up_at, .. } => Some(give_up_at),
            Phone::Leaving { ask_again_at, .. } => Some(ask_again_at),
            Phone::Gone { recall_at, .. } => recall_at,
            Phone::Held { .. } => None,
        };
        let work = match self.work {
            Work::WrapUp { until, .. } => Some(until),
            Work::Idle { .. } | Work::Reserved { .. } | Work::OnCall { .. } => None,
        };
        phone.into_iter().chain(work).min()
    }
}
