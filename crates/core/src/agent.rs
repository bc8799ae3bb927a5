//! The states of an agent: the leg to the agent's phone, the agent's work, and what the agent asked for last.

use crate::dial::{AgentTemplate, Extension};
use crate::ids::{AgentId, AgentLegId, AttemptId, PbxName};
use crate::pbx::{Departure, LegTrouble};
use crate::time::{Mono, Wall};
use crate::words::words;

words! {
    /// The state of an agent in the API, in logs and in metrics.
    AgentState {
        /// Logged out.
        Offline = "offline",
        /// The leg to the phone is up and the agent is free.
        Available = "available",
        /// Reserved for a call that was launched.
        Reserved = "reserved",
        /// The agent's own phone is being called.
        Ringing = "ringing",
        /// In a conversation with a callee.
        OnCall = "on_call",
        /// In wrap-up after a call.
        WrapUp = "wrap_up",
        /// Logged in, but takes no calls.
        Paused = "paused",
    }
}

words! {
    /// The reason of an agent's present state.
    AgentReason {
        /// The agent logged in.
        LoggedIn = "logged_in",
        /// The agent logged out.
        LoggedOut = "logged_out",
        /// A supervisor logged the agent out, with an API key of the role `write`.
        LoggedOutBySupervisor = "logged_out_by_supervisor",
        /// The agent has not logged in since it was created.
        NeverLoggedIn = "never_logged_in",
        /// The agent asked for calls.
        AskedForCalls = "asked_for_calls",
        /// The agent, or a supervisor, asked for a pause.
        AskedForPause = "asked_for_pause",
        /// Paceline started and found the agent logged in.
        TakenOver = "taken_over",
        /// Paceline is drained, and logs all agents out.
        Drained = "drained",
        /// A call was launched for this agent.
        CallLaunched = "call_launched",
        /// The agent's call was not answered, or another agent took it.
        CallNotConnected = "call_not_connected",
        /// The agent and the callee are in one bridge.
        CallConnected = "call_connected",
        /// The conversation ended.
        CallEnded = "call_ended",
        /// The agent's phone transferred the callee to another phone.
        CallTransferred = "call_transferred",
        /// The wrap-up time is over, or the agent ended it.
        WrapUpOver = "wrap_up_over",
        /// The agent's phone answered.
        PhoneAnswered = "phone_answered",
        /// The phone hung up, or the PBX ended its leg.
        PhoneHungUp = "phone_hung_up",
        /// The leg was gone when Paceline resynchronised with the PBX.
        PhoneLost = "phone_lost",
        /// The phone put its leg on hold.
        PhoneOnHold = "phone_on_hold",
        /// The phone ended the hold, can be reached again, or sends audio again.
        PhoneBack = "phone_back",
        /// The phone transferred its own leg and left the call.
        PhoneTransferred = "phone_transferred",
        /// Another phone picked up the call to this phone.
        PhonePickedUp = "phone_picked_up",
        /// An operator of the PBX moved the leg of this phone.
        PhoneMoved = "phone_moved",
        /// The phone is busy (SIP 486 or 600).
        PhoneBusy = "phone_busy",
        /// The phone declined the call (SIP 603), for example because of do not disturb.
        PhoneDeclined = "phone_declined",
        /// The phone did not answer (SIP 480, or the ring timeout).
        PhoneNoAnswer = "phone_no_answer",
        /// The PBX does not know the phone or cannot reach it: it is not registered, has no power or no network.
        PhoneUnreachable = "phone_unreachable",
        /// The phone sends no audio.
        PhoneNoAudio = "phone_no_audio",
        /// The PBX did not answer a request about this leg, so Paceline hangs it up and calls the phone again.
        PbxUnclear = "pbx_unclear",
        /// The PBX takes no calls now: it has no free channel, is paused, or shuts down gracefully.
        PbxFull = "pbx_full",
        /// The PBX ended the leg because it stops or restarts.
        PbxStopped = "pbx_stopped",
        /// The PBX of the phone is not in paceline.toml any more, so Paceline logged the agent out.
        PbxRemoved = "pbx_removed",
        /// The PBX is in maintenance. Paceline ended the leg and calls the phone when the maintenance ends.
        PbxMaintenance = "pbx_maintenance",
    }
}

impl AgentReason {
    /// True for reasons that the operator should look into.
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
            | Self::PbxRemoved
            | Self::PbxStopped => true,
            Self::LoggedIn
            | Self::LoggedOut
            | Self::LoggedOutBySupervisor
            | Self::NeverLoggedIn
            | Self::AskedForCalls
            | Self::AskedForPause
            | Self::TakenOver
            | Self::Drained
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

    /// True for the reasons that a [`LegTrouble`] maps to.
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

/// A logged-in agent in the engine.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) id: AgentId,
    pub(crate) pbx: PbxName,
    pub(crate) template: AgentTemplate,
    pub(crate) extension: Extension,
    pub(crate) phone: Phone,
    pub(crate) work: Work,
    pub(crate) wants: Wants,
    /// Time of the latest change of the shown state.
    pub(crate) since: Wall,
    /// Reason why the phone is not held: it is being called, it is gone, or it was asked to end.
    pub(crate) why_phone: AgentReason,
    /// Reason of `wants`.
    pub(crate) why_wants: AgentReason,
    /// The reason that is shown.
    pub(crate) reason: AgentReason,
}

/// The leg to the agent's phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phone {
    /// There is no leg. `recalls` counts the calls since the phone last worked. The phone is called again at `recall_at`,
    /// or not at all if that is `None`.
    Gone { recalls: u8, recall_at: Option<Mono> },
    /// The phone is being called.
    Calling {
        leg: AgentLegId,
        recalls: u8,
        give_up_at: Mono,
    },
    /// The leg is up in its bridge. With a trouble, the agent cannot hear a callee. By `gone_by` the PBX has ended it, because
    /// every leg has a time limit there.
    Held {
        leg: AgentLegId,
        recalls: u8,
        since: Mono,
        gone_by: Mono,
        trouble: Option<LegTrouble>,
    },
    /// A hang-up was requested and is not confirmed yet. It is requested again at `ask_again_at`.
    Leaving {
        leg: AgentLegId,
        recalls: u8,
        ask_again_at: Mono,
    },
}

/// The agent's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Free of calls since this time.
    Idle { since: Mono },
    /// Reserved for a call that is not connected yet.
    Reserved { attempt: AttemptId },
    /// In one bridge with a callee.
    OnCall { attempt: AttemptId },
    /// In wrap-up after a call.
    WrapUp { attempt: AttemptId, until: Mono },
}

words! {
    /// The agent's latest request. During a call it takes effect after the call.
    Wants {
        /// The next call.
        Calls = "calls",
        /// No calls.
        Pause = "pause",
        /// To log out.
        LogOut = "log_out",
    }
}

impl Phone {
    /// A phone that is to be called as soon as possible.
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
    /// The call that the agent is reserved for, talks in, or wraps up.
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
    /// The shown state.
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

    /// The reason to show. `why` is the reason of the latest event; `changed` is whether that event changed the state.
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
            // During a call or wrap-up, the trouble shows why the agent gets no next call.
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

    /// Time since which the agent is available; `None` if it is not.
    pub(crate) fn free_since(&self) -> Option<Mono> {
        match (self.work, self.phone, self.wants) {
            (Work::Idle { since }, Phone::Held { trouble: None, .. }, Wants::Calls) => Some(since),
            _ => None,
        }
    }
}

impl Agent {
    /// Time when the engine must check this agent again: the phone's deadline or the end of wrap-up, the earlier of the two.
    /// `None`: no deadline.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        let phone = match self.phone {
            Phone::Calling { give_up_at, .. } => Some(give_up_at),
            Phone::Leaving { ask_again_at, .. } => Some(ask_again_at),
            Phone::Gone { recall_at, .. } => recall_at,
            Phone::Held { gone_by, .. } => Some(gone_by),
        };
        let work = match self.work {
            Work::WrapUp { until, .. } => Some(until),
            Work::Idle { .. } | Work::Reserved { .. } | Work::OnCall { .. } => None,
        };
        phone.into_iter().chain(work).min()
    }
}
