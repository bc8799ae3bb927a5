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
        /// The link to a PBX is up or down.
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
        /// The PBX could not play the message for an abandoned callee.
        MessageFailed = "message_failed",
    }
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A call has come further. Fields that are not known at this step are `None`.
    Call {
        /// Which attempt.
        attempt: AttemptId,
        /// How far.
        step: CallStep,
        /// Over which trunk, when it is dialed.
        trunk: Option<TrunkId>,
        /// Of which task, when it is dialed and when it is over.
        task: Option<TaskId>,
        /// Whom, at the same steps.
        contact: Option<ContactId>,
        /// With whom, when it is connected.
        agent: Option<AgentId>,
        /// How it came out, when it is over.
        outcome: Option<Outcome>,
    },
    /// An agent is in another state, or in the same for another reason.
    Agent {
        /// Who.
        agent: AgentId,
        /// Now.
        state: AgentState,
        /// Why.
        reason: AgentReason,
    },
    /// A task is in another state.
    Task {
        /// Which.
        task: TaskId,
        /// Now.
        state: TaskState,
    },
    /// A trunk takes calls no more, or takes them again.
    Trunk {
        /// Which.
        trunk: TrunkId,
        /// Whether launches over it are held.
        held: bool,
    },
    /// The link to a PBX is up or down.
    Pbx {
        /// Which.
        pbx: PbxName,
        /// Whether it is up and what lives there is known.
        connected: bool,
    },
    /// Something needs a person.
    Alarm {
        /// What.
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
            What::Pbx { .. } => EventKind::Pbx,
            What::Alarm { .. } => EventKind::Alarm,
        }
    }
}
