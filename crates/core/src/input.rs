//! The inputs of an engine.

use crate::agent::Wants;
use crate::dial::{AgentTemplate, Extension};
use crate::ids::{AgentId, AgentLegId, AttemptId, ContactId, LegId, PbxName, TaskId, TrunkId};
use crate::number::E164;
use crate::pacing::Learnt;
use crate::pacing::rules::Answers;
use crate::pbx::{LegEnd, PbxEvent};
use crate::time::Wall;
use std::time::Duration;

/// One input. Each variant says where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// True if the campaign may launch calls. Conversations go on in any case. An engine starts paused.
    SetActive(bool),
    /// The process will stop and start again: launch nothing, and return the hopper. Calls that were dialed go on ringing and
    /// are served, or are cancelled if `cancel` is set. Agents stay logged in and conversations go on, on the PBX, until the
    /// next start takes them over.
    Stop {
        /// True: cancel unanswered calls.
        cancel: bool,
    },
    /// The process will stop for good: launch nothing, cancel unanswered calls, and log agents out after their
    /// conversations. A phone that rings does so for the minimum time of the abandon rules.
    Drain,
    /// The deadline of `Drain` has passed: hang up all calls. It is repeated until none is left.
    HangUpAll,
    /// The wall clock has jumped and is not trusted, or is trusted again. Meanwhile nothing is launched; calls that are up
    /// go on.
    ClockDoubted(bool),
    /// A task was paused or cancelled: return its contacts. With `hang_up`, also cancel its unanswered calls.
    TaskStopped {
        /// The task.
        task: TaskId,
        /// True: cancelled. False: paused.
        hang_up: bool,
    },
    /// These numbers must not be called any more: return their contacts and cancel their unanswered calls at once, without
    /// the minimum ring time. Answered calls go on. It is repeated after a restart.
    OptedOut {
        /// The numbers.
        numbers: Vec<E164>,
    },
    /// The maintenance of a PBX begins or ends. During it nothing is placed there, ringing calls are cancelled,
    /// conversations go on, and agents' legs are ended once no call can need them. An engine gets it before the PBX's first
    /// snapshot.
    Maintenance {
        /// The PBX.
        pbx: PbxName,
        /// True: in maintenance.
        on: bool,
    },
    /// A task was started or resumed, or contacts were added. An empty hopper should be refilled now.
    WorkAdded,
    /// The reply to [`crate::command::Command::Refill`].
    Leads {
        /// Leased contacts that the gate allows. Fewer than requested means that no more are due.
        leads: Vec<Lead>,
        /// Earliest time when the next contact is due, if it is known.
        next_due: Option<Wall>,
    },
    /// The reply to [`crate::command::Command::Refill`] if the store failed.
    RefillFailed,
    /// The reply to [`crate::command::Command::Prepare`]. It says if the attempt, its leg and an `allow` decision are stored.
    Prepared {
        /// The attempt.
        attempt: AttemptId,
        /// The result of the gate's second check and of the store.
        result: Prepared,
    },
    /// A request of an agent, or of somebody for the agent.
    Agent {
        /// The agent's id.
        agent: AgentId,
        /// The agent's request.
        request: AgentRequest,
    },
    /// An event of a PBX.
    Pbx {
        /// The PBX.
        pbx: PbxName,
        /// Age of the event by the PBX's own time. For a snapshot: how long ago it was read.
        ago: Duration,
        /// The event.
        event: PbxEvent,
    },
}

/// A contact leased into the hopper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lead {
    /// The contact.
    pub contact: ContactId,
    /// The contact's task.
    pub task: TaskId,
    /// The number to call.
    pub number: E164,
    /// Number of attempts before, including those that never reached the network.
    pub attempts_made: u32,
    /// Number of attempts that count against `retries_max`.
    pub tries_made: u32,
    /// Maximum number of retries of the task.
    pub retries_max: u32,
}

/// The result of preparing a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// The attempt is stored and allowed.
    Allowed,
    /// The gate denied or deferred the call, or the task is not running any more. The store has settled the contact;
    /// nothing else is stored.
    Refused,
    /// The store failed: nothing is stored. The contact is given back once the store works.
    Failed,
}

/// A request of an agent, or of somebody for the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentRequest {
    /// Log in to this campaign: the phone is called, and held once answered.
    LogIn {
        /// The PBX of the phone.
        pbx: PbxName,
        /// The template of the phone's dial string.
        template: AgentTemplate,
        /// The extension of the phone.
        extension: Extension,
    },
    /// Log out. During a call: after it.
    LogOut {
        /// The sender of the request.
        by: Asker,
    },
    /// Take calls. This ends wrap-up and a pause.
    Ready,
    /// Take no calls. During a call: after it.
    Pause,
    /// End the wrap-up of the last conversation; change nothing else.
    EndWrapUp,
    /// End the conversation. The agent's own leg stays up.
    HangUp,
}

/// The sender of a request for an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// The agent.
    Agent,
    /// Another authorised person.
    Supervisor,
}

/// The stored state of a campaign when its engine starts: everything that the last run left open.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovered {
    /// Attempts without an outcome.
    pub attempts: Vec<OpenAttempt>,
    /// Agents that were not offline.
    pub agents: Vec<OpenAgent>,
    /// The learnt pacing rates of each PBX.
    pub learnt: Vec<(PbxName, Learnt)>,
    /// The ended answers, counted from the attempts.
    pub answers: Vec<Answers>,
}

/// An attempt that the last run left open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenAttempt {
    /// The attempt.
    pub attempt: AttemptId,
    /// Its newest leg.
    pub leg: LegId,
    /// The PBX that the leg was placed on.
    pub pbx: PbxName,
    /// The trunk that the leg was placed over.
    pub trunk: TrunkId,
    /// Time and kind of the end of that leg, if it was seen: the attempt waits until its trunk is judged.
    pub leg_end: Option<(Wall, LegEnd)>,
    /// The contact.
    pub lead: Lead,
    /// Time when it was stored.
    pub created_at: Wall,
    /// Time of the answer, if it was seen.
    pub answered_at: Option<Wall>,
    /// Time when the callee was abandoned, if so.
    pub abandoned_at: Option<Wall>,
    /// Time and agent of the connection, if it was seen.
    pub connected: Option<(Wall, AgentId)>,
}

/// An agent that the last run left logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenAgent {
    /// The agent's id.
    pub agent: AgentId,
    /// The PBX of the phone.
    pub pbx: PbxName,
    /// The template of the phone's dial string.
    pub template: AgentTemplate,
    /// The extension of the phone.
    pub extension: Extension,
    /// The held or ringing leg.
    pub leg: Option<AgentLegId>,
    /// The last request of the agent.
    pub wants: Wants,
    /// The agent's last conversation in this campaign that has ended.
    pub last_call: Option<LastCall>,
}

/// A conversation of an agent that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastCall {
    /// The attempt.
    pub attempt: AttemptId,
    /// The time of its end.
    pub ended_at: Wall,
}
