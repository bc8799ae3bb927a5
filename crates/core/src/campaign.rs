//! A campaign as the engine sees it: its settings and its trunks.

pub mod agents;
pub mod answering;
pub mod compliance;
pub mod dialing;
pub mod hours;
pub mod pacing;
pub mod recording;
pub mod settings;
pub mod suppression;

use crate::dial::TrunkTemplate;
use crate::ids::{CampaignId, PbxName, TrunkId};
use crate::pacing::{PacingConfig, PacingMode};
use crate::pbx::CallerId;
use crate::words::words;
use jiff::tz::TimeZone;
use settings::CampaignSettings;

words! {
    /// The pacing mode of a campaign.
    Mode {
        /// A call is launched only if a free agent is reserved for it.
        Progressive = "progressive",
        /// Calls are launched ahead of free agents, as far as the abandon rules allow. An answer gets the agent who has
        /// been free longest.
        Predictive = "predictive",
        /// A fixed number of calls for each free agent is kept in flight, while the abandon rules allow it.
        Power = "power",
    }
}

words! {
    /// The state of a campaign.
    CampaignState {
        /// Being set up; nothing is dialed.
        Draft = "draft",
        /// Dials while its tasks run and agents are logged in.
        Active = "active",
        /// Launches nothing; conversations go on.
        Paused = "paused",
        /// Ended for good; kept for its records.
        Archived = "archived",
    }
}

words! {
    /// The state of a task.
    TaskState {
        /// Its contacts are being taken from its list; it is not dialed yet.
        Preparing = "preparing",
        /// Waits for its start time.
        Scheduled = "scheduled",
        /// Its contacts are dialed.
        Running = "running",
        /// Launches nothing until it is resumed.
        Paused = "paused",
        /// All its contacts are done.
        Completed = "completed",
        /// Stopped for good; the remaining contacts are not dialed.
        Cancelled = "cancelled",
    }
}

/// The configuration of a campaign in the engine.
#[derive(Clone, Debug, PartialEq)]
pub struct CampaignConfig {
    /// The campaign's row id.
    pub id: CampaignId,
    /// The settings, accepted by [`CampaignSettings::check`].
    pub settings: CampaignSettings,
    /// Trunks in order of preference. Each belongs to one PBX.
    pub trunks: Vec<TrunkConfig>,
}

impl CampaignConfig {
    /// The settings of the pacing controller.
    pub(crate) fn pacing_config(&self) -> PacingConfig {
        let CampaignSettings {
            dialing,
            pacing,
            hours,
            compliance: _,
            answering,
            agents: _,
            recording: _,
            suppression: _,
        } = &self.settings;
        PacingConfig {
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

/// A trunk: a way to the public network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkConfig {
    /// The trunk's row id.
    pub id: TrunkId,
    /// The name, for logs and metric labels.
    pub name: String,
    /// The PBX that has this trunk.
    pub pbx: PbxName,
    /// The template of its dial string.
    pub dial: TrunkTemplate,
    /// The number shown to callees, in the form that the PBX takes.
    pub caller_id: Option<CallerId>,
}
