//! The states of an agent: the leg to the agent's phone, what the agent does, and what the agent wants next.

use crate::dial::{AgentTemplate, Extension};
use crate::ids::{AgentId, AgentLegId, AttemptId, PbxName};
use crate::pbx::{Departure, LegTrouble};
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

words! {
    /// Why an agent is in the state that is shown.
    AgentReason {
        /// Has just logged in.
        LoggedIn = "logged_in",
        /// Has logged out.
        LoggedOut = "logged_out",
        /// Has asked for calls.
        AskedForCalls = "asked_for_calls",
        /// Has asked for a pause, or somebody did for the agent.
        AskedForPause = "asked_for_pause",
        /// Was found logged in when Paceline started.
        TakenOver = "taken_over",
        /// Paceline stops.
        Stopping = "stopping",
        /// A call was launched that the agent is to take.
        CallLaunched = "call_launched",
        /// The call came to nothing, or was given to another agent.
        CallNotConnected = "call_not_connected",
        /// Callee and agent are in one bridge.
        CallConnected = "call_connected",
        /// The conversation is over.
        CallEnded = "call_ended",
        /// The agent's phone has transferred the callee to somebody else.
        CallTransferred = "call_transferred",
        /// The time for finishing the call is over, or the agent has ended it.
        WrapUpOver = "wrap_up_over",
        /// The phone has answered.
        PhoneAnswered = "phone_answered",
        /// The phone has hung up, or the PBX ended its leg.
        PhoneHungUp = "phone_hung_up",
        /// The leg to the phone was gone after a gap in the PBX's events.
        PhoneLost = "phone_lost",
        /// The phone has put its leg on hold.
        PhoneOnHold = "phone_on_hold",
        /// The phone has taken its leg off hold, can be reached again, or is heard again.
        PhoneBack = "phone_back",
        /// The phone has left by a transfer.
        PhoneTransferred = "phone_transferred",
        /// Another phone has picked up the call to the agent's phone.
        PhonePickedUp = "phone_picked_up",
        /// An operator of the PBX has moved the leg to the phone.
        PhoneMoved = "phone_moved",
        /// The phone is busy (486, 600).
        PhoneBusy = "phone_busy",
        /// The phone declines calls (603), as with do not disturb.
        PhoneDeclined = "phone_declined",
        /// The phone does not answer (480, or the ring timeout).
        PhoneNoAnswer = "phone_no_answer",
        /// The PBX knows no such phone, or cannot reach it: not registered, switched off, without network.
        PhoneUnreachable = "phone_unreachable",
        /// No audio comes from the phone.
        PhoneNoAudio = "phone_no_audio",
        /// The PBX did not say what became of a request for this agent, so the leg is renewed.
        PbxUnclear = "pbx_unclear",
        /// The PBX takes no calls now: it has no room, is paused, or shuts down gracefully.
        PbxFull = "pbx_full",
        /// The PBX ended the leg, because it stops or restarts.
        PbxStopped = "pbx_stopped",
        /// The PBX is in maintenance: the leg is released, and the phone is called again when the maintenance ends.
        PbxMaintenance = "pbx_maintenance",
    }
}

impl AgentReason {
    /// Whether it tells of trouble that somebody may want to look into.
    pub fn is_trouble(self) -> bool {
        match self {
            Self::PhoneHungUp
            | Self::PhoneLost
            | Self::PhoneOnHold
            | Self::PhoneTransferred
            | Self::PhonePickedUp
            | Self::PhoneMoved
            | Self::PhoneBusy
            | Self::PhoneDeclined
            | Self::PhoneNoAnswer
            | Self::PhoneUnreachable
            | Self::PhoneNoAudio
            | Self::PbxUnclear
            | Self::PbxFull
            | Self::PbxStopped => true,
            Self::LoggedIn
            | Self::LoggedOut
            | Self::AskedForCalls
            | Self::AskedForPause
            | Self::TakenOver
            | Self::Stopping
            | Self::CallLaunched
            | Self::CallNotConnected
            | Self::CallConnected
            | Self::CallEnded
            | Self::CallTransferred
            | Self::WrapUpOver
            | Self::PbxMaintenance
            | Self::PhoneAnswered
            | Self::PhoneBack => false,
        }
    }

    /// Whether it is what [`LegTrouble`] becomes.
    fn is_of_held_leg(self) -> bool {
        [LegTrouble::OnHold, LegTrouble::Unreachable, LegTrouble::NoAudio]
            .into_iter()
            .any(|trouble| Self::from(trouble) == self)
    }
}

impl From<LegTrouble> for AgentReason {
    fn from(trouble: LegTrouble) -> Self {
        match trouble {
            LegTrouble::OnHold => Self::PhoneOnHold,
            LegTrouble::Unreachable => Self::PhoneUnreachable,
            LegTrouble::NoAudio => Self::PhoneNoAudio,
        }
    }
}

impl From<Departure> for AgentReason {
    fn from(how: Departure) -> Self {
        match how {
            Departure::Transferred => Self::PhoneTransferred,
            Departure::PickedUp => Self::PhonePickedUp,
            Departure::Moved => Self::PhoneMoved,
        }
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
    /// Why the phone is not held: it is called, gone or asked to end.
    pub(crate) why_phone: AgentReason,
    /// Why the agent wants what it wants.
    pub(crate) why_wants: AgentReason,
    /// The reason that is shown.
    pub(crate) reason: AgentReason,
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
    /// Held in its bridge. With a trouble its phone does not listen.
    Held {
        leg: AgentLegId,
        recalls: u8,
        since: Mono,
        trouble: Option<LegTrouble>,
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
            (Work::Idle { .. }, Phone::Held { trouble: None, .. }, Wants::Calls) => AgentState::Available,
            (Work::Idle { .. }, Phone::Held { .. }, Wants::Calls | Wants::Pause | Wants::LogOut)
            | (Work::Idle { .. }, Phone::Gone { .. } | Phone::Leaving { .. }, _) => AgentState::Paused,
        }
    }

    /// The reason to be shown, `why` being the reason of the latest change and `changed` whether it changed the state.
    pub(crate) fn reason_after(&self, why: AgentReason, changed: bool) -> AgentReason {
        match (self.state(), self.phone) {
            (AgentState::Ringing, _)
            | (AgentState::Paused, Phone::Gone { .. } | Phone::Calling { .. } | Phone::Leaving { .. }) => {
                self.why_phone
            }
            (
                AgentState::Paused,
                Phone::Held {
                    trouble: Some(trouble),
                    ..
                },
            ) => trouble.into(),
            // In a conversation, and while a call is finished, it says what will become of the agent after it.
            (
                AgentState::OnCall | AgentState::WrapUp,
                Phone::Held {
                    trouble: Some(trouble),
                    ..
                },
            ) => trouble.into(),
            (AgentState::OnCall | AgentState::WrapUp, Phone::Held { trouble: None, .. })
                if !changed && self.reason.is_of_held_leg() =>
            {
                AgentReason::PhoneBack
            }
            (AgentState::Paused, Phone::Held { trouble: None, .. }) => self.why_wants,
            (
                AgentState::Offline
                | AgentState::Available
                | AgentState::Reserved
                | AgentState::OnCall
                | AgentState::WrapUp,
                _,
            ) if changed => why,
            (
                AgentState::Offline
                | AgentState::Available
                | AgentState::Reserved
                | AgentState::OnCall
                | AgentState::WrapUp,
                _,
            ) => self.reason,
        }
    }

    /// Since when the agent is held and free, if so.
    pub(crate) fn free_since(&self) -> Option<Mono> {
        match (self.work, self.phone, self.wants) {
            (Work::Idle { since }, Phone::Held { trouble: None, .. }, Wants::Calls) => Some(since),
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
