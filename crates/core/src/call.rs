//! The life of one attempt, from the wish to call to the confirmed end of its leg.

use crate::ids::{AgentId, AttemptId, LegId, PbxName, TrunkId};
use crate::input::Lead;
use crate::live::CallPhase;
use crate::outcome::Outcome;
use crate::pacing::rules::AnswerRow;
use crate::pbx::{EndedBy, LegEnd};
use crate::time::{Mono, Now, Wall};
use crate::verdict;

/// A live attempt, as the engine keeps it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) attempt: AttemptId,
    pub(crate) leg: LegId,
    pub(crate) pbx: PbxName,
    pub(crate) trunk: TrunkId,
    pub(crate) lead: Lead,
    /// When it was asked for, then when it was dialed; or when it was adopted.
    pub(crate) launched_at: Mono,
    /// When it was answered, by the PBX's own time.
    pub(crate) answered: Option<Now>,
    /// When an agent was there.
    pub(crate) connected_at: Option<Wall>,
    /// When the person was given up: from then on abandoned, whatever comes.
    pub(crate) abandoned_at: Option<Wall>,
    /// When it began to ring, or was first seen to.
    pub(crate) rang_at: Option<Mono>,
    pub(crate) state: CallState,
}

impl Call {
    /// A moment's wall time. After an answer it is counted from there, so that a clock that jumps makes no wait.
    pub(crate) fn wall_at(&self, then: Now) -> Wall {
        self.answered.map_or(then.wall, |answered| {
            answered.wall.plus(then.mono.since(answered.mono))
        })
    }

    /// What its row says of its answer, and once it is over, of its end.
    pub(crate) fn answer_row(&self, ended: Option<(Wall, Outcome)>) -> Option<AnswerRow> {
        Some(AnswerRow {
            answered_at: self.answered?.wall,
            connected_at: self.connected_at,
            abandoned_at: self.abandoned_at,
            ended,
        })
    }
}

/// Where an attempt is. An agent named here is `reserved` or `on_call` for it, and for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallState {
    /// Being stored; nothing is dialed. `wanted` is false once nobody needs it any more.
    Preparing { agent: Option<AgentId>, wanted: bool },
    /// Dialed or adopted. Past `silent_at` the switch must have told us its end; we ask.
    Dialing { agent: Option<AgentId>, silent_at: Mono },
    /// As `Dialing`, with a sign of life.
    Ringing { agent: Option<AgentId>, silent_at: Mono },
    /// A person is there and no agent yet; past `limit_at` there will be none. Looked at again at `look_at`, which is later
    /// while it is not known what the PBX has done meanwhile.
    Waiting { limit_at: Mono, look_at: Mono },
    /// The switch was asked to join the two.
    Connecting {
        agent: AgentId,
        limit_at: Mono,
        look_at: Mono,
    },
    /// Nobody came within the limit: hears the campaign's message, asked for at `asked_at`, and is hung up after it, at
    /// `until` at the latest. `broken`: the switch plays it no more, and it was not all.
    Message {
        asked_at: Wall,
        until: Mono,
        broken: bool,
    },
    /// They talk. Past `silent_at` the switch must have ended it; we ask.
    Connected { agent: AgentId, silent_at: Mono },
    /// Somebody who is none of our agents has the callee: left alone until it ends by itself. `connected`: an agent of ours
    /// had talked with it. Past `silent_at` the switch must have ended it; we ask.
    Transferred { connected: bool, silent_at: Mono },
    /// The switch was asked to end it, and is asked again at `ask_again_at` until it confirms.
    Ending {
        agent: Option<AgentId>,
        why: Why,
        ask_again_at: Mono,
    },
}

/// Why we ended a leg, or ask for its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Nobody needs the call any more; it was not answered when we asked.
    TakenBack,
    /// As `TakenBack`, but the answer came first.
    TakenBackAnswered,
    /// Nobody came within the limit.
    Limit,
    /// The conversation was on, and its agent ended it.
    AgentHungUp,
    /// The conversation was on, and its agent is gone.
    AgentLost,
    /// The callee is said to be gone, since then at the latest, after the answer and before an agent was there.
    CalleeGone { since: Now },
    /// Its end should have come long ago, before any answer.
    SilentUnanswered,
    /// The switch did not know it when its link came back, and nobody had answered it.
    Missing,
    /// Its end should have come long ago, from a conversation.
    SilentConnected,
}

impl CallState {
    pub(crate) fn agent(&self) -> Option<AgentId> {
        match *self {
            CallState::Connecting { agent, .. } | CallState::Connected { agent, .. } => Some(agent),
            CallState::Preparing { agent, .. }
            | CallState::Dialing { agent, .. }
            | CallState::Ringing { agent, .. }
            | CallState::Ending { agent, .. } => agent,
            CallState::Waiting { .. } | CallState::Message { .. } | CallState::Transferred { .. } => None,
        }
    }

    /// Whether the callee talks with somebody.
    pub(crate) fn is_conversation(&self) -> bool {
        match self {
            CallState::Connected { .. } | CallState::Transferred { .. } => true,
            CallState::Preparing { .. }
            | CallState::Dialing { .. }
            | CallState::Ringing { .. }
            | CallState::Waiting { .. }
            | CallState::Connecting { .. }
            | CallState::Message { .. }
            | CallState::Ending { .. } => false,
        }
    }

    pub(crate) fn phase(&self) -> CallPhase {
        match self {
            CallState::Preparing { .. } => CallPhase::Preparing,
            CallState::Dialing { .. } => CallPhase::Dialing,
            CallState::Ringing { .. } => CallPhase::Ringing,
            CallState::Waiting { .. } | CallState::Connecting { .. } => CallPhase::Answered,
            CallState::Message { .. } => CallPhase::Message,
            CallState::Connected { .. } => CallPhase::Connected,
            CallState::Transferred { .. } => CallPhase::Transferred,
            CallState::Ending { .. } => CallPhase::Ending,
        }
    }

    /// When this state wants to be looked at again.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        match *self {
            CallState::Preparing { .. } => None,
            CallState::Dialing { silent_at, .. }
            | CallState::Ringing { silent_at, .. }
            | CallState::Connected { silent_at, .. }
            | CallState::Transferred { silent_at, .. } => Some(silent_at),
            CallState::Waiting { look_at, .. } | CallState::Connecting { look_at, .. } => Some(look_at),
            CallState::Message { until, .. } => Some(until),
            CallState::Ending { ask_again_at, .. } => Some(ask_again_at),
        }
    }

    /// The attempt's outcome, were its leg to end so in this state.
    pub(crate) fn outcome(&self, end: &LegEnd) -> Outcome {
        match *self {
            CallState::Preparing { .. } => Outcome::Cancelled,
            CallState::Dialing { .. } | CallState::Ringing { .. } => {
                // Answered unseen: a person may have met silence.
                if end.answered {
                    Outcome::Unknown
                } else {
                    verdict::unanswered(end)
                }
            }
            // Past the limit the engine makes `abandoned` of it.
            CallState::Waiting { .. } | CallState::Connecting { .. } => Outcome::Answered,
            CallState::Message { .. } | CallState::Transferred { connected: false, .. } => Outcome::Abandoned,
            CallState::Connected { .. } | CallState::Transferred { connected: true, .. } => Outcome::Answered,
            CallState::Ending { why, .. } => why.outcome(end),
        }
    }
}

impl Why {
    fn outcome(self, end: &LegEnd) -> Outcome {
        match self {
            Why::TakenBack if end.answered => Outcome::Abandoned,
            Why::TakenBack => verdict::unanswered(end),
            Why::TakenBackAnswered | Why::Limit => Outcome::Abandoned,
            Why::AgentHungUp | Why::AgentLost | Why::SilentConnected | Why::CalleeGone { .. } => {
                Outcome::Answered
            }
            Why::SilentUnanswered | Why::Missing if end.answered => Outcome::Unknown,
            // Ended by us: the switch had it after all, an originate that was late, and nobody was there any more.
            Why::Missing => verdict::unanswered(end),
            Why::SilentUnanswered => match end.by {
                EndedBy::Us => Outcome::NoAnswer,
                EndedBy::Network
                | EndedBy::RingTimeout
                | EndedBy::Refused
                | EndedBy::NoRoom
                | EndedBy::Stopped
                | EndedBy::Vanished
                | EndedBy::TakenAway => verdict::unanswered(end),
            },
        }
    }
}
