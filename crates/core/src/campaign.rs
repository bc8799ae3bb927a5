//! The settings of a campaign as the engine needs them.

use crate::dial::TrunkTemplate;
use crate::gate::CallingHours;
use crate::ids::{CampaignId, PbxName, TrunkId};
use crate::pacing::rules::AbandonRule;
use crate::pacing::{PacingMode, PacingSettings};
use crate::pbx::{CallerId, Sound};
use crate::words::words;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::time::Duration;

words! {
    /// How calls are launched.
    Mode {
        /// A call is launched only for an agent who is free and is kept for it.
        Progressive = "progressive",
        /// As many calls as the abandon rules allow are launched ahead of free agents; an answer gets whoever is free.
        Predictive = "predictive",
        /// A fixed number of calls for each free agent, while the abandon rules allow.
        Power = "power",
    }
}

words! {
    /// Where a campaign is in its life.
    CampaignState {
        /// Being set up: nothing is dialed.
        Draft = "draft",
        /// Dials when its tasks run and agents are there.
        Active = "active",
        /// Launches nothing; talking calls go on.
        Paused = "paused",
        /// Over, kept for its records.
        Archived = "archived",
    }
}

words! {
    /// Where a task is in its life.
    TaskState {
        /// Waits for its start time.
        Scheduled = "scheduled",
        /// Its contacts are dialed.
        Running = "running",
        /// Launches nothing until resumed.
        Paused = "paused",
        /// Every contact is done.
        Completed = "completed",
        /// Stopped for good; contacts not yet dialed stay so.
        Cancelled = "cancelled",
    }
}

/// What the engine needs to know of a campaign.
#[derive(Clone, Debug, PartialEq)]
pub struct CampaignConfig {
    /// Its row.
    pub id: CampaignId,
    /// How calls are launched.
    pub mode: Mode,
    /// In mode `power`: calls in flight for each free agent.
    pub power_ratio: f64,
    /// The abandon rules kept in the modes `predictive` and `power`, all at once.
    pub abandon_rules: Vec<AbandonRule>,
    /// How long a callee's phone rings before the switch gives up.
    pub ring_timeout: Duration,
    /// How long an agent's phone rings at log-in.
    pub agent_ring_timeout: Duration,
    /// The switch ends any callee's leg after this.
    pub call_duration_max: Duration,
    /// The switch ends an agent's held leg after this.
    pub agent_leg_duration_max: Duration,
    /// From the answer until an agent must be there; past it the attempt is `abandoned`.
    pub connect_limit: Duration,
    /// What an abandoned person hears before being hung up; none: hung up at once.
    pub abandon_message: Option<Sound>,
    /// How long an agent has after a call before the next; ended early by a disposition or `ready`.
    pub wrap_up: Duration,
    /// When its contacts may be called.
    pub hours: CallingHours,
    /// Trunks in order of preference; each belongs to one PBX.
    pub trunks: Vec<TrunkConfig>,
    /// Set where conversations are recorded.
    pub recording: Option<RecordingPolicy>,
    /// Ready contacts held ahead, at most.
    pub hopper_size_max: usize,
}

impl CampaignConfig {
    /// What the pacing controller needs of it.
    pub(crate) fn pacing(&self) -> PacingSettings {
        PacingSettings {
            mode: match self.mode {
                Mode::Progressive => PacingMode::Progressive,
                Mode::Predictive => PacingMode::Predictive,
                Mode::Power => PacingMode::Power(self.power_ratio),
            },
            rules: self.abandon_rules.clone(),
            connect_limit: self.connect_limit,
            ring_timeout: self.ring_timeout,
            zone: (self.hours.time_zone.as_deref())
                .and_then(|name| TimeZone::get(name).ok())
                .unwrap_or(TimeZone::UTC),
        }
    }
}

/// One way out to the public network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkConfig {
    /// Its row.
    pub id: TrunkId,
    /// Its name, for logs and metric labels.
    pub name: String,
    /// The switch that has it.
    pub pbx: PbxName,
    /// How it dials.
    pub dial: TrunkTemplate,
    /// The number shown to callees, as the switch takes it.
    pub caller_id: Option<CallerId>,
}

/// How conversations are recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingPolicy {
    /// Played to both sides first; none: recorded at once.
    pub announcement: Option<Sound>,
}
