//! The life of one attempt, from the decision to call a number to its outcome, and of the leg that it is tried over.

use crate::ids::{AgentId, AttemptId, LegId, PbxName, TrunkId};
use crate::input::Lead;
use crate::live::CallPhase;
use crate::outcome::Outcome;
use crate::pacing::rules::AnswerRow;
use crate::pbx::{EndedBy, LegEnd};
use crate::time::{Mono, Now, Wall};
use crate::verdict;

/// An attempt without an outcome, as the engine keeps it while it has a leg. Once its leg has ended, it has an outcome at
/// once, or is a [`Judged`] one.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) id: AttemptId,
    pub(crate) lead: Lead,
    /// The leg that is to be dialed, or is up. Legs that have ended are in the store.
    pub(crate) leg: Leg,
    /// When the callee answered, by the PBX's own time.
    pub(crate) answered: Option<Now>,
    /// When an agent was there.
    pub(crate) connected_at: Option<Wall>,
    /// When the callee was given up: abandoned from then on, whatever comes.
    pub(crate) abandoned_at: Option<Wall>,
    pub(crate) state: AttemptState,
}

/// One originate of an attempt over one trunk.
#[derive(Clone, Debug)]
pub(crate) struct Leg {
    /// Its channel's id on the PBX.
    pub(crate) id: LegId,
    pub(crate) pbx: PbxName,
    pub(crate) trunk: TrunkId,
    /// When it was asked for, then when it was dialed; or when it was adopted.
    pub(crate) launched_at: Mono,
    /// When it began to ring, or was first seen to.
    pub(crate) rang_at: Option<Mono>,
}

/// An attempt whose leg has ended, and whose outcome depends on whether its trunk works: not known before other legs over
/// that trunk have shown it.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) trunk: TrunkId,
    /// Then the end of the leg is taken as it is.
    pub(crate) until: Mono,
    pub(crate) ended: Ended,
}

/// An attempt whose last leg has ended, and what that end alone makes of it.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) attempt: AttemptId,
    pub(crate) lead: Lead,
    /// Its last leg.
    pub(crate) leg: LegId,
    /// Who or what ended that.
    pub(crate) by: EndedBy,
    pub(crate) outcome: Outcome,
    pub(crate) at: Wall,
}

impl Attempt {
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

/// Where an attempt with a leg is. An agent named here is `reserved` or `on_call` for it, and for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptState {
    /// Being stored; nothing is dialed. `wanted` is false once nobody needs it any more.
    Preparing { agent: Option<AgentId>, wanted: bool },
    /// The leg was dialed or adopted. Past `silent_at` the PBX must have told us its end; we ask.
    Dialing { agent: Option<AgentId>, silent_at: Mono },
    /// As `Dialing`, with a sign of life.
    Ringing { agent: Option<AgentId>, silent_at: Mono },
    /// The callee has answered and has no agent yet; past `limit_at` it gets none. Looked at again at `look_at`, which is later
    /// while it is not known what the PBX has done meanwhile.
    Waiting { limit_at: Mono, look_at: Mono },
    /// The PBX was asked to connect the two.
    Connecting {
        agent: AgentId,
        limit_at: Mono,
        look_at: Mono,
    },
    /// Abandoned: hears the campaign's message, asked for at `asked_at`, and is hung up after it, at `until` at the latest.
    /// `broken`: the PBX stopped playing it before its end.
    Message {
        asked_at: Wall,
        until: Mono,
        broken: bool,
    },
    /// Callee and agent talk. Past `silent_at` the PBX must have ended the leg; we ask.
    Connected { agent: AgentId, silent_at: Mono },
    /// Somebody who is none of our agents has the callee: left alone until it ends by itself. `connected`: an agent of ours
    /// had talked with it. Past `silent_at` the PBX must have ended the leg; we ask.
    Transferred { connected: bool, silent_at: Mono },
    /// The PBX was asked to end the leg, and is asked again at `ask_again_at` until it confirms.
    Ending {
        agent: Option<AgentId>,
        why: Why,
        ask_again_at: Mono,
    },
}

/// Why we ended a leg, or ask for its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Nobody needs the attempt any more; the leg was not answered when we asked.
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
    /// The leg's end should have come long ago, before any answer.
    SilentUnanswered,
    /// The PBX did not know the leg when its link came back, and nobody had answered it.
    Missing,
    /// The leg's end should have come long ago, from a conversation.
    SilentConnected,
}

impl AttemptState {
    pub(crate) fn agent(&self) -> Option<AgentId> {
        match *self {
            AttemptState::Connecting { agent, .. } | AttemptState::Connected { agent, .. } => Some(agent),
            AttemptState::Preparing { agent, .. }
            | AttemptState::Dialing { agent, .. }
            | AttemptState::Ringing { agent, .. }
            | AttemptState::Ending { agent, .. } => agent,
            AttemptState::Waiting { .. }
            | AttemptState::Message { .. }
            | AttemptState::Transferred { .. } => None,
        }
    }

    /// Whether the callee talks with somebody.
    pub(crate) fn is_conversation(&self) -> bool {
        match self {
            AttemptState::Connected { .. } | AttemptState::Transferred { .. } => true,
            AttemptState::Preparing { .. }
            | AttemptState::Dialing { .. }
            | AttemptState::Ringing { .. }
            | AttemptState::Waiting { .. }
            | AttemptState::Connecting { .. }
            | AttemptState::Message { .. }
            | AttemptState::Ending { .. } => false,
        }
    }

    pub(crate) fn phase(&self) -> CallPhase {
        match self {
            AttemptState::Preparing { .. } => CallPhase::Preparing,
            AttemptState::Dialing { .. } => CallPhase::Dialing,
            AttemptState::Ringing { .. } => CallPhase::Ringing,
            AttemptState::Waiting { .. } | AttemptState::Connecting { .. } => CallPhase::Answered,
            AttemptState::Message { .. } => CallPhase::Message,
            AttemptState::Connected { .. } => CallPhase::Connected,
            AttemptState::Transferred { .. } => CallPhase::Transferred,
            AttemptState::Ending { .. } => CallPhase::Ending,
        }
    }

    /// When this state wants to be looked at again.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        match *self {
            AttemptState::Preparing { .. } => None,
            AttemptState::Dialing { silent_at, .. }
            | AttemptState::Ringing { silent_at, .. }
            | AttemptState::Connected { silent_at, .. }
            | AttemptState::Transferred { silent_at, .. } => Some(silent_at),
            AttemptState::Waiting { look_at, .. } | AttemptState::Connecting { look_at, .. } => Some(look_at),
            AttemptState::Message { until, .. } => Some(until),
            AttemptState::Ending { ask_again_at, .. } => Some(ask_again_at),
        }
    }

    /// The attempt's outcome, were its leg to end so in this state.
    pub(crate) fn outcome(&self, end: &LegEnd) -> Outcome {
        match *self {
            AttemptState::Preparing { .. } => Outcome::Cancelled,
            AttemptState::Dialing { .. } | AttemptState::Ringing { .. } => {
                // Answered unseen: a person may have met silence.
                if end.answered {
                    Outcome::Unknown
                } else {
                    verdict::unanswered(end)
                }
            }
            // Past the limit the engine makes `abandoned` of it.
            AttemptState::Waiting { .. } | AttemptState::Connecting { .. } => Outcome::Answered,
            AttemptState::Message { .. } | AttemptState::Transferred { connected: false, .. } => {
                Outcome::Abandoned
            }
            AttemptState::Connected { .. } | AttemptState::Transferred { connected: true, .. } => {
                Outcome::Answered
            }
            AttemptState::Ending { why, .. } => why.outcome(end),
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
            // Ended by us: the PBX had it after all, an originate that was late, and nobody was there any more.
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
