//! What an engine is told.

use crate::agent::Wants;
use crate::dial::{AgentTemplate, Extension};
use crate::ids::{AgentId, AgentLegId, AttemptId, ContactId, LegId, PbxName, TaskId, TrunkId};
use crate::number::E164;
use crate::pacing::Learnt;
use crate::pacing::rules::Answers;
use crate::pbx::{LegEnd, PbxEvent};
use crate::time::Wall;
use std::time::Duration;

/// One thing that an engine is told. See each variant for who says it.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The campaign may launch calls, or may not. Talking calls go on either way. An engine starts paused.
    SetActive(bool),
    /// The process is about to end and to start again: launch nothing, return the hopper, take back calls that nobody answered
    /// yet. Agents stay logged in and conversations go on, on the PBX, until the next start takes them over.
    Stop,
    /// The process is about to end for good: as `Stop`, and agents are logged out after their conversations.
    Drain,
    /// The deadline of `Drain` has passed: hang up whatever is still up. Said again until nothing is left.
    HangUpAll,
    /// The wall clock has jumped and is not trusted, or is trusted again: launch nothing meanwhile. What is up goes on.
    ClockDoubted(bool),
    /// A task was paused or cancelled: return its contacts. `hang_up` also takes back its calls that nobody answered yet.
    TaskStopped {
        /// Which.
        task: TaskId,
        /// Cancelled, not paused.
        hang_up: bool,
    },
    /// A PBX is in maintenance, or is no more: nothing is placed there, what rings is taken back, conversations go on, and agents'
    /// legs are released once no call can need them. An engine is told before the PBX's first snapshot.
    Maintenance {
        /// Which.
        pbx: PbxName,
        /// In maintenance.
        on: bool,
    },
    /// A task was started or resumed, or contacts were added: an empty hopper is worth another try now.
    WorkAdded,
    /// Answers [`crate::command::Command::Refill`].
    Leads {
        /// Leased and allowed; fewer than asked for means there are no more that are due.
        leads: Vec<Lead>,
        /// When the next contact becomes due, as far as is known.
        next_due: Option<Wall>,
    },
    /// Answers [`crate::command::Command::Refill`]: the store could not be asked.
    RefillFailed,
    /// Answers [`crate::command::Command::Prepare`]: whether the attempt, its leg and an `allow` decision are stored.
    Prepared {
        /// Which.
        attempt: AttemptId,
        /// What the second asking of the gate, and the store, made of it.
        result: Prepared,
    },
    /// What an agent, or somebody for them, asks.
    Agent {
        /// Who.
        agent: AgentId,
        /// What.
        request: AgentRequest,
    },
    /// Something happened on a switch.
    Pbx {
        /// Which.
        pbx: PbxName,
        /// How long ago it happened, by the PBX's own time; for a snapshot, how long ago it was read.
        ago: Duration,
        /// What.
        event: PbxEvent,
    },
}

/// A contact leased into the hopper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lead {
    /// Who.
    pub contact: ContactId,
    /// For which task.
    pub task: TaskId,
    /// At which number.
    pub number: E164,
    /// Attempts made before, also such as never reached the network.
    pub attempts_made: u32,
    /// Those of them that count against `retries_max`.
    pub tries_made: u32,
    /// The task's own maximum of further tries after the first.
    pub retries_max: u32,
}

/// Whether a call may be originated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// Stored and allowed.
    Allowed,
    /// The gate says no or not now, or the task is not running any more. The store has settled the contact; nothing else is stored.
    Refused,
    /// The store failed: nothing is stored or will be, and the contact is given back once the store is well.
    Failed,
}

/// What an agent, or somebody for them, asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentRequest {
    /// Come to work in this campaign: the agent's phone is called, and held once answered.
    LogIn {
        /// The switch that the phone is on.
        pbx: PbxName,
        /// How phones are reached there.
        template: AgentTemplate,
        /// Which phone.
        extension: Extension,
    },
    /// Go home. During a call: after it.
    LogOut {
        /// Who asks.
        by: Asker,
    },
    /// Take calls; ends wrap-up and a pause.
    Ready,
    /// Take no calls. During a call: after it.
    Pause,
    /// Be done with the last conversation; changes nothing else.
    EndWrapUp,
    /// End the conversation; the agent's own leg stays.
    HangUp,
}

/// Who asks something of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// The agent.
    Agent,
    /// Somebody else who may.
    Supervisor,
}

/// What the store knows of a campaign when its engine starts: everything that a former run left open.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovered {
    /// Attempts without an outcome.
    pub attempts: Vec<OpenAttempt>,
    /// Agents that were not offline.
    pub agents: Vec<OpenAgent>,
    /// What pacing had learnt on each switch.
    pub learnt: Vec<(PbxName, Learnt)>,
    /// Answers that have ended, as the attempts tell them.
    pub answers: Vec<Answers>,
}

/// An attempt that a former run left open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenAttempt {
    /// Its id.
    pub attempt: AttemptId,
    /// Its newest leg.
    pub leg: LegId,
    /// The PBX that the leg was placed on.
    pub pbx: PbxName,
    /// The trunk that the leg was placed over.
    pub trunk: TrunkId,
    /// When and how that leg ended, if that was seen: the attempt waited for its trunk to be judged.
    pub leg_end: Option<(Wall, LegEnd)>,
    /// The contact that it is to reach.
    pub lead: Lead,
    /// When it was stored.
    pub created_at: Wall,
    /// When it was answered, if that was seen.
    pub answered_at: Option<Wall>,
    /// When its callee was given up as abandoned, if so.
    pub abandoned_at: Option<Wall>,
    /// When and to whom it was connected, if that was seen.
    pub connected: Option<(Wall, AgentId)>,
}

/// An agent that a former run left logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenAgent {
    /// Who.
    pub agent: AgentId,
    /// The switch that the phone is on.
    pub pbx: PbxName,
    /// How phones are reached there.
    pub template: AgentTemplate,
    /// Which phone.
    pub extension: Extension,
    /// The held or ringing leg.
    pub leg: Option<AgentLegId>,
    /// What the agent had asked for.
    pub wants: Wants,
}
