//! Events for programs that use the API, and for people. They contain no telephone number.

use crate::agent::{AgentReason, AgentState};
use crate::campaign::TaskState;
use crate::ids::{AgentId, AttemptId, ContactId, PbxName, TaskId, TrunkId};
use crate::outcome::Outcome;
use crate::words::words;

words! {
    /// The subject of an event.
    EventKind {
        /// A call has reached a further step.
        Call = "call",
        /// An agent has another state.
        Agent = "agent",
        /// A task has another state.
        Task = "task",
        /// Launches over a trunk stop or resume.
        Trunk = "trunk",
        /// The link to a PBX is up or down, or its maintenance began or ended.
        Pbx = "pbx",
        /// Something needs the operator.
        Alarm = "alarm",
    }
}

words! {
    /// A step of a call.
    CallStep {
        /// The PBX was asked to dial.
        Dialing = "dialing",
        /// The callee's phone rings, or the network sends early media.
        Ringing = "ringing",
        /// The callee answered.
        Answered = "answered",
        /// Callee and agent hear each other.
        Connected = "connected",
        /// No agent was connected in time.
        Abandoned = "abandoned",
        /// The call ended.
        Ended = "ended",
    }
}

words! {
    /// The kind of an alarm. Every alarm needs the operator.
    AlarmKind {
        /// A campaign's settings in the store cannot be used: nothing is dialed for it.
        SettingsUnusable = "settings_unusable",
        /// A PBX could not play the message for an abandoned callee. It is reported once, until one is played again.
        MessageFailed = "message_failed",
        /// Several recordings in a row failed.
        RecordingsFailed = "recordings_failed",
        /// The service of the outside check does not answer. It is reported once, until it answers again.
        OutsideCheckOut = "outside_check_out",
        /// The data of a suppression list is older than the list's limit.
        SuppressionListOld = "suppression_list_old",
        /// A background job has panicked, has failed several times in a row, or makes no progress. It is reported once, until a run
        /// succeeds.
        JobFailed = "job_failed",
        /// No checkpoint of the ledger is published: its file or the database went back, was changed, or cannot be written.
        LedgerBroken = "ledger_broken",
    }
}

/// A step of a call, with its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallProgress {
    /// [`CallStep::Dialing`].
    Dialing {
        /// The trunk.
        trunk: TrunkId,
        /// The task.
        task: TaskId,
        /// The contact.
        contact: ContactId,
    },
    /// [`CallStep::Ringing`].
    Ringing,
    /// [`CallStep::Answered`].
    Answered,
    /// [`CallStep::Connected`].
    Connected {
        /// The agent.
        agent: AgentId,
    },
    /// [`CallStep::Abandoned`].
    Abandoned,
    /// [`CallStep::Ended`].
    Ended {
        /// The task.
        task: TaskId,
        /// The contact.
        contact: ContactId,
        /// The outcome.
        outcome: Outcome,
    },
}

impl CallProgress {
    /// The step without its data.
    pub fn step(self) -> CallStep {
        match self {
            CallProgress::Dialing { .. } => CallStep::Dialing,
            CallProgress::Ringing => CallStep::Ringing,
            CallProgress::Answered => CallStep::Answered,
            CallProgress::Connected { .. } => CallStep::Connected,
            CallProgress::Abandoned => CallStep::Abandoned,
            CallProgress::Ended { .. } => CallStep::Ended,
        }
    }
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A call has reached a further step.
    Call {
        /// The attempt.
        attempt: AttemptId,
        /// The step, with its data.
        progress: CallProgress,
    },
    /// An agent has another state or reason.
    Agent {
        /// The agent's id.
        agent: AgentId,
        /// The new state.
        state: AgentState,
        /// The reason of this state.
        reason: AgentReason,
    },
    /// A task has another state.
    Task {
        /// The task.
        task: TaskId,
        /// The new state.
        state: TaskState,
    },
    /// Launches over a trunk stop or resume.
    Trunk {
        /// The trunk.
        trunk: TrunkId,
        /// True: launches over it are stopped.
        held: bool,
    },
    /// The link to a PBX is up or down.
    Pbx {
        /// The PBX.
        pbx: PbxName,
        /// True: the link is up and resynchronised.
        connected: bool,
    },
    /// The maintenance of a PBX began or ended.
    Maintenance {
        /// The PBX.
        pbx: PbxName,
        /// True: it is in maintenance.
        on: bool,
    },
    /// Something needs the operator.
    Alarm {
        /// The kind of alarm.
        alarm: AlarmKind,
        /// The alarm as a sentence.
        text: String,
    },
}

impl What {
    /// The subject of the event.
    pub fn kind(&self) -> EventKind {
        match self {
            What::Call { .. } => EventKind::Call,
            What::Agent { .. } => EventKind::Agent,
            What::Task { .. } => EventKind::Task,
            What::Trunk { .. } => EventKind::Trunk,
            What::Pbx { .. } | What::Maintenance { .. } => EventKind::Pbx,
            What::Alarm { .. } => EventKind::Alarm,
        }
    }
}
