//! What happens, in the words of those who follow it: programs that listen to the API, and people who look at it. No telephone
//! number is in it.

use crate::agent::{AgentReason, AgentState};
use crate::campaign::TaskState;
use crate::ids::{AgentId, AttemptId, ContactId, PbxName, TaskId, TrunkId};
use crate::outcome::Outcome;
use crate::words::words;

words! {
    /// What an event is about.
    EventKind {
        /// A call has come further, or is over.
        Call = "call",
        /// An agent is in another state.
        Agent = "agent",
        /// A task is in another state.
        Task = "task",
        /// A trunk takes calls no more, or takes them again.
        Trunk = "trunk",
        /// The link to a PBX is up or down, or its maintenance began or ended.
        Pbx = "pbx",
        /// Something needs a person.
        Alarm = "alarm",
    }
}

words! {
    /// How far a call has come.
    CallStep {
        /// The PBX was told to dial.
        Dialing = "dialing",
        /// The callee's phone rings, or the network sends sounds of its own.
        Ringing = "ringing",
        /// The callee has answered.
        Answered = "answered",
        /// Callee and agent hear each other.
        Connected = "connected",
        /// No agent came in time.
        Abandoned = "abandoned",
        /// It is over.
        Ended = "ended",
    }
}

words! {
    /// What needs a person.
    AlarmKind {
        /// A campaign's settings in the store cannot be used: nothing is dialed for it.
        SettingsUnusable = "settings_unusable",
        /// A PBX could not play the message for an abandoned callee. Told once, until one is played again.
        MessageFailed = "message_failed",
        /// Several recordings in a row came to nothing.
        RecordingsFailed = "recordings_failed",
    }
}

/// How far a call has come, and what is known at that step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallProgress {
    /// [`CallStep::Dialing`].
    Dialing {
        /// Over which trunk.
        trunk: TrunkId,
        /// Of which task.
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
        /// With whom.
        agent: AgentId,
    },
    /// [`CallStep::Abandoned`].
    Abandoned,
    /// [`CallStep::Ended`].
    Ended {
        /// Of which task.
        task: TaskId,
        /// The contact.
        contact: ContactId,
        /// How it came out.
        outcome: Outcome,
    },
}

impl CallProgress {
    /// The step alone.
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

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A call has come further.
    Call {
        /// Which attempt.
        attempt: AttemptId,
        /// How far, and what is known at that step.
        progress: CallProgress,
    },
    /// An agent is in another state, or in the same for another reason.
    Agent {
        /// The agent's id.
        agent: AgentId,
        /// Now.
        state: AgentState,
        /// The reason of this state.
        reason: AgentReason,
    },
    /// A task is in another state.
    Task {
        /// The task.
        task: TaskId,
        /// Now.
        state: TaskState,
    },
    /// A trunk takes calls no more, or takes them again.
    Trunk {
        /// The trunk.
        trunk: TrunkId,
        /// Whether launches over it are held.
        held: bool,
    },
    /// The link to a PBX is up or down.
    Pbx {
        /// The PBX.
        pbx: PbxName,
        /// Whether it is up and what lives there is known.
        connected: bool,
    },
    /// The maintenance of a PBX began or ended.
    Maintenance {
        /// The PBX.
        pbx: PbxName,
        /// Whether it is in maintenance now.
        on: bool,
    },
    /// Something needs a person.
    Alarm {
        /// The kind of alarm.
        alarm: AlarmKind,
        /// A sentence for people.
        text: String,
    },
}

impl What {
    /// What it is about.
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
