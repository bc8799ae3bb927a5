//! What a campaign looks like at this moment, for metrics and the API.

use crate::agent::{AgentReason, AgentState};
use crate::ids::{AgentId, AgentLegId, AttemptId, PbxName, TrunkId};
use crate::pacing::{PacingReport, RuleAccount};
use crate::time::Wall;
use crate::words::words;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

words! {
    /// Where a live attempt is.
    CallPhase {
        /// Being stored, not dialed yet.
        Preparing = "preparing",
        /// Dialed, no sign of life.
        Dialing = "dialing",
        /// Rings, or sends early media.
        Ringing = "ringing",
        /// Answered, no agent there yet.
        Answered = "answered",
        /// No agent came in time: hears the campaign's message.
        Message = "message",
        /// Talks with an agent.
        Connected = "connected",
        /// With somebody who is none of our agents: the agent's phone, or an operator, has transferred the callee.
        Transferred = "transferred",
        /// Asked to end; the end is not confirmed yet.
        Ending = "ending",
    }
}

words! {
    /// Why nothing more is being launched.
    Idle {
        /// The campaign is paused, a draft, or archived.
        NotActive = "not_active",
        /// The process is about to stop.
        Draining = "draining",
        /// No agent is logged in.
        NoAgents = "no_agents",
        /// Every agent is busy, paused or kept for a call already launched.
        NoFreeAgent = "no_free_agent",
        /// No contact is due.
        NoContacts = "no_contacts",
        /// A free agent's PBX is not reachable or not yet resynchronised.
        PbxDown = "pbx_down",
        /// An agent's PBX is in maintenance.
        PbxMaintenance = "pbx_maintenance",
        /// An agent's PBX refused a call a moment ago: it has no room, is paused, or shuts down gracefully.
        PbxFull = "pbx_full",
        /// No trunk of the campaign is on a free agent's PBX.
        NoTrunk = "no_trunk",
        /// Every trunk of a free agent's PBX takes no calls at present; one is tried now and then.
        TrunkFailing = "trunk_failing",
        /// So many calls over every trunk have given no sign of life yet that no more go out before one does.
        TrunkSilent = "trunk_silent",
        /// The store is asked for contacts and has not answered yet.
        Refilling = "refilling",
        /// The calls in flight are all that agents and abandon rules allow now; `pacing` tells more.
        Pacing = "pacing",
        /// The system's clock has jumped, and it is not known yet whether that is right.
        ClockDoubted = "clock_doubted",
        /// The store failed a moment ago.
        StoreTrouble = "store_trouble",
    }
}

words! {
    /// What a job beside the calls does at present.
    JobState {
        /// It is at work.
        Working = "working",
        /// Its last turn went well, and it waits for the next.
        Waiting = "waiting",
        /// Its last turn failed, and it waits to try again.
        Failing = "failing",
    }
}

words! {
    /// What is not as it should be, though calls go on.
    Warning {
        /// The PBX could not play the last abandon message: abandoned callees hear nothing.
        MessageFailed = "message_failed",
        /// Several recordings in a row came to nothing.
        RecordingsFailed = "recordings_failed",
        /// A PBX could not be asked whether it has a sound that the settings name.
        SoundUnchecked = "sound_unchecked",
    }
}

/// One campaign at this moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LiveCampaign {
    /// Whether it may launch.
    pub active: bool,
    /// Live attempts by phase.
    pub calls: BTreeMap<CallPhase, usize>,
    /// Agents by state.
    pub agents_by_state: BTreeMap<AgentState, usize>,
    /// Each agent that is not offline.
    pub agents: Vec<LiveAgent>,
    /// Trunks over which launches are held; one call tries each now and then.
    pub trunks_held: BTreeSet<TrunkId>,
    /// Contacts in the hopper.
    pub hopper: usize,
    /// The latest pacing decision on each PBX, where calls are launched ahead of agents.
    pub pacing: Vec<Decision>,
    /// What each abandon rule has counted in its window.
    pub abandon: Vec<RuleAccount>,
    /// PBXes that refused the last call: each is tried by one at a time.
    pub full: Vec<PbxName>,
    /// Why nothing more is being launched, most important first; empty while launching.
    pub idle: Vec<Idle>,
    /// What is not as it should be, though calls go on.
    pub warnings: Vec<Warning>,
    /// Whether a stop was asked for and only conversations are up.
    pub settled: bool,
}

/// A pacing decision, or several in a row that launched nothing for the same reason.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// On which PBX.
    pub pbx: PbxName,
    /// When the first of them was made.
    pub since_ms: Wall,
    /// When the last of them was made.
    pub at_ms: Wall,
    /// How many they are.
    pub ticks: u32,
    /// What the last of them was, and why.
    pub report: PacingReport,
}

/// One agent at this moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LiveAgent {
    /// The agent's id.
    pub agent: AgentId,
    /// The state.
    pub state: AgentState,
    /// The reason of this state.
    pub reason: AgentReason,
    /// Start of this state, Unix time in milliseconds.
    pub since_ms: Wall,
    /// On which PBX.
    pub pbx: PbxName,
    /// The agent's leg there.
    pub leg: Option<AgentLegId>,
    /// The call kept for, or talking with, or just ended.
    pub attempt: Option<AttemptId>,
}
