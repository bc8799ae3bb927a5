//! The states of an attempt, from the decision to call a number to its outcome, and of its leg.

use crate::ids::{AgentId, AttemptId, LegId, PbxName, TrunkId};
use crate::input::Lead;
use crate::live::AttemptPhase;
use crate::outcome::Outcome;
use crate::pacing::rules::AnswerRow;
use crate::pbx::{EndedBy, LegEnd};
use crate::time::{Mono, Now, Wall};
use crate::verdict;

/// An attempt while it has a leg. Once the leg has ended, the attempt has its outcome, or it becomes a [`Judged`].
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) id: AttemptId,
    pub(crate) lead: Lead,
    /// The leg that will be dialed or is up. Legs that have ended are only in the store.
    pub(crate) leg: Leg,
    /// Time of the answer at the PBX, not of the arrival of its event. `None` until the callee answers.
    pub(crate) answered: Option<Now>,
    /// Time when an agent was connected.
    pub(crate) connected_at: Option<Wall>,
    /// Time when the callee was abandoned. No later event changes that the callee is abandoned.
    pub(crate) abandoned_at: Option<Wall>,
    /// The number was opted out: before the callee answered, or by the callee's keypress.
    pub(crate) opted_out: bool,
    pub(crate) state: AttemptState,
}

/// One originate of an attempt over one trunk.
#[derive(Clone, Debug)]
pub(crate) struct Leg {
    /// The id of the channel on the PBX.
    pub(crate) id: LegId,
    pub(crate) pbx: PbxName,
    pub(crate) trunk: TrunkId,
    /// Time when the leg was created; once it is dialed, the time of the dialing. For a leg of a former run: the time when
    /// the attempt was created, or when the leg ended if that is stored.
    pub(crate) launched_at: Mono,
    /// Time of the leg's first progress, or of the first snapshot that showed it ringing. `None` before.
    pub(crate) rang_at: Option<Mono>,
}

/// An attempt whose leg has ended and whose outcome is still open: the trunk may have caused that end. Other legs over the
/// trunk will show whether it works.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) trunk: TrunkId,
    /// If the trunk is not judged by this time, the outcome is the one that the leg's end gives.
    pub(crate) until: Mono,
    pub(crate) ended: Ended,
}

/// An attempt whose last leg has ended, with the outcome that this end alone gives.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) attempt: AttemptId,
    pub(crate) lead: Lead,
    /// Its last leg.
    pub(crate) leg: LegId,
    /// The cause of the leg's end.
    pub(crate) by: EndedBy,
    pub(crate) outcome: Outcome,
    /// Its number was put on a do-not-call list.
    pub(crate) opted_out: bool,
    pub(crate) at: Wall,
}

impl Attempt {
    /// The wall time of `then`. After the answer it is the answer's wall time plus the monotonic time since, so that a jump
    /// of the wall clock does not change the callee's waiting time.
    pub(crate) fn wall_at(&self, then: Now) -> Wall {
        self.answered.map_or(then.wall, |answered| {
            answered.wall.plus(then.mono.since(answered.mono))
        })
    }

    /// The fields of the attempt's row that decide whether its answer counts as abandoned. `None` without an answer.
    /// `ended` is `None` until the attempt is over.
    pub(crate) fn answer_row(&self, ended: Option<(Wall, Outcome)>) -> Option<AnswerRow> {
        Some(AnswerRow {
            answered_at: self.answered?.wall,
            connected_at: self.connected_at,
            abandoned_at: self.abandoned_at,
            ended,
        })
    }
}

/// The state of an attempt that has a leg. An agent named here is `reserved` or `on_call` for this attempt and for no
/// other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptState {
    /// The store is writing the attempt; nothing is dialed yet. `wanted` is false once the call was cancelled.
    Preparing { agent: Option<AgentId>, wanted: bool },
    /// The leg was dialed, or was taken over from a former run. If the engine still has no answer and no end at
    /// `silent_at`, it asks the PBX to end the leg.
    Dialing { agent: Option<AgentId>, silent_at: Mono },
    /// As `Dialing`, after the first progress event.
    Ringing { agent: Option<AgentId>, silent_at: Mono },
    /// The callee has answered and has no agent yet. After `limit_at` it gets none. The engine acts at `look_at`, which is
    /// later than the limit while events of the PBX may still be unread.
    Waiting { limit_at: Mono, look_at: Mono },
    /// The PBX was asked to connect the callee to this agent.
    Connecting {
        agent: AgentId,
        limit_at: Mono,
        look_at: Mono,
    },
    /// The callee is abandoned and hears the campaign's message, requested at `asked_at`. The call is ended after the
    /// message, at `until` at the latest. `broken`: the PBX stopped playing before the end of the message.
    Message {
        asked_at: Wall,
        until: Mono,
        broken: bool,
    },
    /// Callee and agent talk. If the engine still has no end at `silent_at`, it asks the PBX to end the leg.
    Connected { agent: AgentId, silent_at: Mono },
    /// The callee was transferred to a party that is not one of our agents. The call is left alone until it ends.
    /// `connected`: an agent of ours had been connected before. If the engine still has no end at `silent_at`, it asks the
    /// PBX to end the leg.
    Transferred { connected: bool, silent_at: Mono },
    /// The PBX was asked to end the leg. It is asked again at `ask_again_at`, until it confirms the end.
    Ending {
        agent: Option<AgentId>,
        why: EndReason,
        ask_again_at: Mono,
    },
}

/// The reason for which the engine ended a leg, or asked the PBX to end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndReason {
    /// The engine cancelled the call before an answer.
    Cancelled,
    /// The engine asked the PBX to end an unanswered leg, but the callee answered first: an abandoned call.
    AnsweredMeanwhile,
    /// The callee is abandoned: no agent was connected within the limit.
    Limit,
    /// The agent ended the conversation, or [`crate::input::Input::HangUpAll`] did.
    AgentHungUp,
    /// The agent, or the party to which the callee was transferred, is gone from the conversation.
    AgentLost,
    /// The callee was gone after the answer and before an agent was connected, at `since` at the latest.
    CalleeGone { since: Now },
    /// The leg was not answered, and the event of its end is overdue.
    SilentUnanswered,
    /// The leg was not answered, and it is missing from the PBX's snapshot.
    Missing,
    /// The leg was in a conversation, and the event of its end is overdue or was lost.
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

    /// True if the callee talks with an agent or with the party to which it was transferred.
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

    pub(crate) fn phase(&self) -> AttemptPhase {
        match self {
            AttemptState::Preparing { .. } => AttemptPhase::Preparing,
            AttemptState::Dialing { .. } => AttemptPhase::Dialing,
            AttemptState::Ringing { .. } => AttemptPhase::Ringing,
            AttemptState::Waiting { .. } | AttemptState::Connecting { .. } => AttemptPhase::Answered,
            AttemptState::Message { .. } => AttemptPhase::Message,
            AttemptState::Connected { .. } => AttemptPhase::Connected,
            AttemptState::Transferred { .. } => AttemptPhase::Transferred,
            AttemptState::Ending { .. } => AttemptPhase::Ending,
        }
    }

    /// Time when the engine must act if no event arrives before. `None`: no deadline.
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

    /// The outcome of the attempt if its leg ends in this state.
    pub(crate) fn outcome(&self, end: &LegEnd) -> Outcome {
        match *self {
            AttemptState::Preparing { .. } => Outcome::Cancelled,
            AttemptState::Dialing { .. } | AttemptState::Ringing { .. } => {
                // The engine missed the answer: the callee may have heard only silence.
                if end.answered {
                    Outcome::Unknown
                } else {
                    verdict::unanswered(end)
                }
            }
            // If the limit has passed, the engine changes this to `abandoned`.
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

impl EndReason {
    fn outcome(self, end: &LegEnd) -> Outcome {
        match self {
            EndReason::Cancelled if end.answered => Outcome::Abandoned,
            EndReason::Cancelled => verdict::unanswered(end),
            EndReason::AnsweredMeanwhile | EndReason::Limit => Outcome::Abandoned,
            EndReason::AgentHungUp
            | EndReason::AgentLost
            | EndReason::SilentConnected
            | EndReason::CalleeGone { .. } => Outcome::Answered,
            EndReason::SilentUnanswered | EndReason::Missing if end.answered => Outcome::Unknown,
            // If we ended it, the PBX carried out the originate late, when the call was not needed any more.
            EndReason::Missing => verdict::unanswered(end),
            EndReason::SilentUnanswered => match end.by {
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
