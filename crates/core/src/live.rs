//! The present state of a campaign, for metrics and the API.

use crate::agent::{AgentReason, AgentState};
use crate::ids::{AgentId, AgentLegId, AttemptId, PbxName, TrunkId};
use crate::pacing::{PacingReport, RuleAccount};
use crate::time::Wall;
use crate::words::words;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

words! {
    /// The phase of an attempt in progress.
    AttemptPhase {
        /// Being stored, not dialed yet.
        Preparing = "preparing",
        /// Dialed. The PBX has reported neither ringing nor early media.
        Dialing = "dialing",
        /// The callee's phone rings, or the trunk sends early media.
        Ringing = "ringing",
        /// Answered. No agent is connected yet.
        Answered = "answered",
        /// Abandoned: the callee hears the campaign's message.
        Message = "message",
        /// The callee talks with an agent.
        Connected = "connected",
        /// The callee is with a party that is none of our agents: the agent's phone or an operator has transferred it.
        Transferred = "transferred",
        /// The engine has requested its end, which no event has confirmed yet.
        Ending = "ending",
    }
}

words! {
    /// A reason why no call is launched.
    Idle {
        /// The campaign is paused, a draft, or archived.
        NotActive = "not_active",
        /// The process is stopping.
        Draining = "draining",
        /// No agent is logged in.
        NoAgents = "no_agents",
        /// Every agent is busy, paused or reserved for a call in flight.
        NoFreeAgent = "no_free_agent",
        /// No contact is due.
        NoContacts = "no_contacts",
        /// A free agent's PBX is not reachable or not yet resynchronised.
        PbxDown = "pbx_down",
        /// An agent's PBX is in maintenance.
        PbxMaintenance = "pbx_maintenance",
        /// An agent's PBX refused a call a moment ago: it has reached a limit, is paused, or shuts down gracefully.
        PbxFull = "pbx_full",
        /// No trunk of the campaign is on a free agent's PBX.
        NoTrunk = "no_trunk",
        /// Calls fail on every trunk of a free agent's PBX. One call at a time tests them.
        TrunkFailing = "trunk_failing",
        /// On every trunk, too many calls have neither rung nor ended yet. The engine waits until one does.
        TrunkSilent = "trunk_silent",
        /// The engine waits for contacts from the store.
        Refilling = "refilling",
        /// The agents and the abandon rules allow no more calls in flight now. `pacing` has the latest decision.
        Pacing = "pacing",
        /// The system's clock has jumped, and may be wrong.
        ClockDoubted = "clock_doubted",
        /// The store failed a moment ago.
        StoreTrouble = "store_trouble",
    }
}

words! {
    /// The present state of a job.
    JobState {
        /// It works.
        Working = "working",
        /// Its last run succeeded, and it waits for the next one.
        Waiting = "waiting",
        /// Its last run failed, and it waits to try again.
        Failing = "failing",
    }
}

words! {
    /// A fault that does not stop the calls.
    Warning {
        /// The PBX could not play the last abandon message. Abandoned callees hear nothing.
        MessageFailed = "message_failed",
        /// Several recordings in a row failed.
        RecordingsFailed = "recordings_failed",
        /// Paceline could not check whether a PBX has a sound of the settings.
        SoundUnchecked = "sound_unchecked",
    }
}

/// The present state of a campaign.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LiveCampaign {
    /// True if it may launch calls.
    pub active: bool,
    /// Attempts in progress, by phase.
    pub attempts: BTreeMap<AttemptPhase, usize>,
    /// Agents by state.
    pub agents_by_state: BTreeMap<AgentState, usize>,
    /// Each agent that is not offline.
    pub agents: Vec<LiveAgent>,
    /// Trunks without launches because calls fail there. One call at a time tests each of them.
    pub trunks_held: BTreeSet<TrunkId>,
    /// Contacts in the hopper.
    pub hopper: usize,
    /// The latest pacing decision on each PBX, in the modes that launch ahead of free agents.
    pub pacing: Vec<Decision>,
    /// The counters of each abandon rule in its window.
    pub abandon: Vec<RuleAccount>,
    /// PBXes that refused the last call. One call at a time tests each of them.
    pub full: Vec<PbxName>,
    /// The reasons why no call is launched, most important first. Empty while calls are launched.
    pub idle: Vec<Idle>,
    /// Faults that do not stop the calls.
    pub warnings: Vec<Warning>,
    /// True if a stop was requested and only conversations are up.
    pub settled: bool,
}

/// A pacing decision, or several in a row that launched nothing for the same reason.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// The PBX that it is for.
    pub pbx: PbxName,
    /// Time of the first decision, Unix time in milliseconds.
    pub since_ms: Wall,
    /// Time of the last decision, Unix time in milliseconds.
    pub at_ms: Wall,
    /// Number of decisions.
    pub ticks: u32,
    /// The last decision.
    pub report: PacingReport,
}

/// The present state of an agent.
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
    /// The PBX of the agent's phone.
    pub pbx: PbxName,
    /// The agent's leg there.
    pub leg: Option<AgentLegId>,
    /// The attempt that the agent is reserved for, talks with, or has just talked with.
    pub attempt: Option<AttemptId>,
}
