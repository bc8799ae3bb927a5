//! The settings of a campaign: the one form that people write in the API, that the store keeps and that the engine takes.
//!
//! One file beside this one per concern; each has its defaults and checks itself. What several concerns must agree on is
//! checked here. Times are in milliseconds.

use super::Mode;
use super::agents::AgentSettings;
use super::answering::AnsweringSettings;
use super::dialing::DialingSettings;
use super::hours::{CallingHours, HoursError};
use super::pacing::PacingSettings;
use super::recording::RecordingSettings;
use crate::pbx::Sound;
use serde::{Deserialize, Serialize};

/// The settings of a campaign. Every field has a default but `hours.time_zone`: a campaign cannot be activated before it is
/// stated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct CampaignSettings {
    /// One call: how long it may ring and last.
    pub dialing: DialingSettings,
    /// How many calls are launched, and how many may be abandoned.
    pub pacing: PacingSettings,
    /// When contacts may be called, in their own local time.
    pub hours: CallingHours,
    /// What happens to a callee who has answered.
    pub answering: AnsweringSettings,
    /// Agents' held legs and their wrap-up.
    pub agents: AgentSettings,
    /// Whether conversations are recorded.
    pub recording: RecordingSettings,
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{setting}`: {fault}")]
pub struct SettingError {
    /// Where it stands in the settings, its names divided by `/`: `dialing/ring_timeout_ms`.
    pub setting: &'static str,
    /// What is wrong with it.
    pub fault: SettingFault,
}

/// What is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingFault {
    /// It is out of range.
    #[error("must be from {min} to {max}")]
    Range {
        /// The least that will do.
        min: u64,
        /// The most that will do.
        max: u64,
    },
    /// The abandon rules cannot be kept as they are.
    #[error(
        "must be 1 to 8 rules of different names, each with a ratio of 0 to 1 (3 % is 0.03), a window of 1 to 8760 hours, \
         a limit of 500 to 60000 ms and a least ring time of at most 120000 ms"
    )]
    AbandonRules,
    /// The abandon rule of this name requires a message, and there is none.
    #[error(
        "must be set: the abandon rule `{0}` requires that an abandoned callee hears a message. \
         Record one on the PBX, or set the rule's `message` to false where it does not bind you"
    )]
    NoMessage(String),
    /// The calling hours cannot be used.
    #[error(transparent)]
    Hours(#[from] HoursError),
}

/// The network may take so long from the dialing to the ringing, at the expense of the ring timeout: longer than nearly all
/// calls take.
const SETUP_MS_MAX: u64 = 5_000;

/// `value` is within the range of the setting.
pub(super) fn within(setting: &'static str, value: u64, min: u64, max: u64) -> Result<(), SettingError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    let fault = SettingFault::Range { min, max };
    Err(SettingError { setting, fault })
}

impl CampaignSettings {
    /// What callees are to hear, each with the setting that names it, its names divided by `/`.
    pub fn sounds(&self) -> impl Iterator<Item = (&'static str, &Sound)> {
        let message = self.answering.abandon_message.as_ref();
        let announcement = self.recording.announcement.as_ref();
        let announcement = announcement.filter(|_| self.recording.enabled);
        let sounds = [
            ("answering/abandon_message", message),
            ("recording/announcement", announcement),
        ];
        sounds
            .into_iter()
            .filter_map(|(setting, sound)| Some((setting, sound?)))
    }

    /// Names the first setting that cannot be used.
    ///
    /// # Errors
    /// [`SettingError`].
    pub fn check(&self) -> Result<(), SettingError> {
        self.dialing.check()?;
        self.pacing.check()?;
        self.hours.check().map_err(|error| SettingError {
            setting: error.setting(),
            fault: error.into(),
        })?;
        self.answering.check()?;
        self.agents.check()?;
        match self.pacing.mode {
            // No call is launched without an agent who is kept for it.
            Mode::Progressive => Ok(()),
            Mode::Predictive | Mode::Power => self.check_rules_can_be_kept(),
        }
    }

    /// The other settings let the abandon rules be kept.
    fn check_rules_can_be_kept(&self) -> Result<(), SettingError> {
        let rules = &self.pacing.abandon_rules;
        if self.answering.abandon_message.is_none()
            && let Some(rule) = rules.iter().find(|rule| rule.message)
        {
            return Err(SettingError {
                setting: "answering/abandon_message",
                fault: SettingFault::NoMessage(rule.name.clone()),
            });
        }
        if let Some(max) = rules.iter().map(|rule| u64::from(rule.limit_ms)).min() {
            let limit = self.answering.connect_limit_ms;
            within("answering/connect_limit_ms", limit, 500, max)?;
        }
        let ring_min = rules.iter().map(|rule| u64::from(rule.ring_ms_min));
        if let Some(ring_min) = ring_min.filter(|ring| *ring > 0).max() {
            let min = ring_min.saturating_add(SETUP_MS_MAX).min(120_000);
            within(
                "dialing/ring_timeout_ms",
                self.dialing.ring_timeout_ms,
                min,
                120_000,
            )?;
        }
        Ok(())
    }
}
