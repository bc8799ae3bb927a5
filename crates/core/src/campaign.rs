//! A campaign as the engine needs it: its settings and its trunks.

pub mod agents;
pub mod answering;
pub mod dialing;
pub mod hours;
pub mod pacing;
pub mod recording;
pub mod settings;

use crate::dial::TrunkTemplate;
use crate::ids::{CampaignId, PbxName, TrunkId};
use crate::pacing::{PacerConfig, PacingMode};
use crate::pbx::CallerId;
use crate::words::words;
use jiff::tz::TimeZone;
use settings::CampaignSettings;

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
    /// Its settings; [`CampaignSettings::check`] has let them pass.
    pub settings: CampaignSettings,
    /// Trunks in order of preference; each belongs to one PBX.
    pub trunks: Vec<TrunkConfig>,
}

impl CampaignConfig {
    /// What the pacing controller takes of it.
    pub(crate) fn pacer(&self) -> PacerConfig {
        let CampaignSettings {
            dialing,
            pacing,
            hours,
            answering,
            agents: _,
            recording: _,
        } = &self.settings;
        PacerConfig {
            mode: match pacing.mode {
                Mode::Progressive => PacingMode::Progressive,
                Mode::Predictive => PacingMode::Predictive,
                Mode::Power => PacingMode::Power(pacing.power_ratio),
            },
            rules: pacing.abandon_rules.clone(),
            connect_limit: answering.connect_limit(),
            ring_timeout: dialing.ring_timeout(),
            zone: (hours.time_zone.as_deref())
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
