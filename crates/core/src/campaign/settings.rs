//! The settings of a campaign. The API, the store and the engine use this one form.
//!
//! Each concern has a file beside this one, with its defaults and its checks. Checks across several concerns are here.
//! Times are in milliseconds.

use super::Mode;
use super::agents::AgentSettings;
use super::answering::AnsweringSettings;
use super::compliance::ComplianceSettings;
use super::dialing::DialingSettings;
use super::hours::{CallingHours, HoursError};
use super::pacing::PacingSettings;
use super::recording::RecordingSettings;
use super::suppression::SuppressionSettings;
use crate::pbx::Sound;
use serde::{Deserialize, Serialize};

/// The settings of a campaign. Every field has a default, except `hours.time_zone`: without it a campaign cannot be
/// activated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct CampaignSettings {
    /// Ring timeout and maximum duration of a call.
    pub dialing: DialingSettings,
    /// The pacing mode and the abandon rules.
    pub pacing: PacingSettings,
    /// The calling hours, in the contact's local time.
    pub hours: CallingHours,
    /// The purpose of the calls, and the regulators whose rules apply.
    pub compliance: ComplianceSettings,
    /// Time limit for connecting an answered callee to an agent, and the message to an abandoned callee.
    pub answering: AnsweringSettings,
    /// Agents' held legs and wrap-up.
    pub agents: AgentSettings,
    /// The recording of conversations.
    pub recording: RecordingSettings,
    /// The do-not-call lists, the allowlist, the opt-out key and the outside check.
    pub suppression: SuppressionSettings,
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{setting}`: {fault}")]
pub struct SettingError {
    /// Path of the setting with `/` between its names, such as `dialing/ring_timeout_ms`.
    pub setting: &'static str,
    /// The fault of the setting.
    pub fault: SettingFault,
}

/// The fault of a setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingFault {
    /// The value is out of range.
    #[error("must be from {min} to {max}")]
    Range {
        /// The lowest allowed value.
        min: u64,
        /// The highest allowed value.
        max: u64,
    },
    /// At least one abandon rule is not valid.
    #[error(
        "must be 1 to 8 rules with different names, each with `ratio_max` from 0 to 1 (3 % is 0.03), a window of 1 to 8760 hours, \
         `limit_ms` from 500 to 60000 and `ring_ms_min` up to 120000"
    )]
    AbandonRules,
    /// The abandon rule of this name requires a message, and `answering.abandon_message` is not set.
    #[error(
        "must be set: the abandon rule `{0}` requires that an abandoned callee hears a message. \
         Record one on the PBX, or set `message` of this rule to false if the law does not require it"
    )]
    NoMessage(String),
    /// The text is blank or too long.
    #[error("must be 1 to {chars_max} characters, not all of them blank")]
    Text {
        /// Most characters.
        chars_max: usize,
    },
    /// A profile does not exist.
    #[error("must be names of profiles: `paceline gate --list` prints all")]
    Profiles,
    /// The calling hours are not valid.
    #[error(transparent)]
    Hours(#[from] HoursError),
}

/// Time from dialing to ringing that the network may take out of the ring timeout. Nearly all calls take less.
const SETUP_MS_MAX: u64 = 5_000;

/// Checks that `value` is from `min` to `max`.
pub(super) fn within(setting: &'static str, value: u64, min: u64, max: u64) -> Result<(), SettingError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    let fault = SettingFault::Range { min, max };
    Err(SettingError { setting, fault })
}

impl CampaignSettings {
    /// The sounds that callees hear, each with the path of its setting.
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

    /// Checks all settings.
    ///
    /// # Errors
    /// [`SettingError`] for the first setting that cannot be used.
    pub fn check(&self) -> Result<(), SettingError> {
        self.dialing.check()?;
        self.pacing.check()?;
        self.hours.check().map_err(|error| SettingError {
            setting: error.setting(),
            fault: error.into(),
        })?;
        self.compliance.check()?;
        self.answering.check()?;
        self.agents.check()?;
        self.suppression.check()?;
        match self.pacing.mode {
            // Progressive mode launches no call without a reserved agent, so no abandon rule can be broken.
            Mode::Progressive => Ok(()),
            Mode::Predictive | Mode::Power => self.check_rules_can_be_kept(),
        }
    }

    /// Checks that the other settings allow the abandon rules to hold.
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
