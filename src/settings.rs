//! A campaign's settings as people write them: in the API, in rows, in milliseconds. [`CampaignSettings::config`] turns
//! them into what the engine takes.

use paceline_core::campaign::{CampaignConfig, Mode, RecordingPolicy, TrunkConfig};
use paceline_core::gate::{CallingHours, CallingWindow, HoursError};
use paceline_core::ids::CampaignId;
use paceline_core::pacing::rules::{AbandonRule, AbandonWindow, PLACES, PlaceRule};
use paceline_core::pbx::Sound;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The settings of a campaign. Every field has a default but `hours.time_zone`: a campaign cannot be activated before it is
/// stated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CampaignSettings {
    /// How calls are launched.
    #[schema(value_type = crate::api::schemas::ModeWord)]
    pub mode: Mode,
    /// In mode `power`: calls in flight for each free agent; 1 to 10.
    pub power_ratio: f64,
    /// How many calls may be abandoned, in the modes `predictive` and `power`; 1 to 8 rules, all kept at once.
    #[schema(value_type = Vec<crate::api::schemas::AbandonRule>)]
    pub abandon_rules: Vec<AbandonRule>,
    /// What a person hears whom no agent took in time, before being hung up: a sound on the switch such as
    /// `sound:custom/sorry`. None: hung up at once. A rule can require one.
    #[schema(value_type = Option<String>, example = "sound:custom/sorry")]
    pub abandon_message: Option<Sound>,
    /// After how long the switch gives up on a call that nobody answers, counted from the dialing on; 1,000 to 120,000.
    /// In the modes `predictive` and `power` it must be 5,000 longer than the abandon rules' longest `ring_ms_min`: a phone
    /// rings only some seconds after it was dialed.
    pub ring_timeout_ms: u64,
    /// How long an agent's phone rings at log-in; 1,000 to 120,000.
    pub agent_ring_timeout_ms: u64,
    /// The switch itself ends any callee's leg after this; 10,000 to 86,400,000.
    pub call_duration_ms_max: u64,
    /// The switch itself ends an agent's held leg after this, and the phone is called again; 10,000 to 86,400,000.
    pub agent_leg_duration_ms_max: u64,
    /// From the answer until an agent must be there; 500 to 10,000.
    pub connect_limit_ms: u64,
    /// What an agent has after a call before the next; 0 to 3,600,000. Ended early by a disposition or `ready`.
    pub wrap_up_ms: u64,
    /// When its contacts may be called, in their local time.
    #[schema(value_type = crate::api::schemas::CallingHours)]
    pub hours: CallingHours,
    /// Set where conversations are recorded.
    #[schema(value_type = Option<crate::api::schemas::RecordingPolicy>)]
    pub recording: Option<RecordingPolicy>,
}

/// What the network may take from the dialing to the ringing, at the expense of the ring timeout: longer than nearly all calls
/// take.
const SETUP_MS_MAX: u64 = 5_000;
/// Contacts leased ahead; each holds its number's lock, so few.
const HOPPER_SIZE_MAX: usize = 400;

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// Out of range.
    #[error("`{field}` must be from {min} to {max}")]
    Range {
        /// Which.
        field: &'static str,
        /// Least.
        min: u64,
        /// Most.
        max: u64,
    },
    /// The ratio of mode `power`.
    #[error("`power_ratio` must be from 1 to 10")]
    PowerRatio,
    /// The abandon rules.
    #[error(
        "`abandon_rules` must be 1 to 8 rules of different names, each with a ratio of 0 to 1 (3 % is 0.03), a window of 1 to \
         8760 hours, a limit of 500 to 60000 ms and a least ring time of at most 120000 ms"
    )]
    AbandonRules,
    /// A rule that requires a message, and none.
    #[error(
        "must be set: the abandon rule `{0}` requires that whom no agent takes in time hears a message; \
         record one on the switch, or set the rule's `message` to false where it does not bind you"
    )]
    NoMessage(String),
    /// The calling hours.
    #[error("`hours`: {0}")]
    Hours(HoursError),
}

impl Default for CampaignSettings {
    fn default() -> Self {
        let days = (1..=7).collect();
        Self {
            mode: Mode::Progressive,
            power_ratio: 1.5,
            abandon_rules: PLACES.first().map(PlaceRule::rule).into_iter().collect(),
            abandon_message: None,
            ring_timeout_ms: 25_000,
            agent_ring_timeout_ms: 30_000,
            call_duration_ms_max: 4 * 3_600_000,
            // A working day, and some.
            agent_leg_duration_ms_max: 14 * 3_600_000,
            connect_limit_ms: 2_000,
            wrap_up_ms: 10_000,
            hours: CallingHours {
                time_zone: None,
                windows: vec![CallingWindow {
                    days,
                    from_minute: 8 * 60,
                    until_minute: 21 * 60,
                }],
            },
            recording: None,
        }
    }
}

impl CampaignSettings {
    /// Names the first setting that cannot be used.
    pub fn check(&self) -> Result<(), SettingError> {
        for (field, value, min, max) in [
            ("ring_timeout_ms", self.ring_timeout_ms, 1_000, 120_000),
            (
                "agent_ring_timeout_ms",
                self.agent_ring_timeout_ms,
                1_000,
                120_000,
            ),
            (
                "call_duration_ms_max",
                self.call_duration_ms_max,
                10_000,
                86_400_000,
            ),
            (
                "agent_leg_duration_ms_max",
                self.agent_leg_duration_ms_max,
                10_000,
                86_400_000,
            ),
            ("connect_limit_ms", self.connect_limit_ms, 500, 10_000),
            ("wrap_up_ms", self.wrap_up_ms, 0, 3_600_000),
        ] {
            if !(min..=max).contains(&value) {
                return Err(SettingError::Range { field, min, max });
            }
        }
        if !(1.0..=10.0).contains(&self.power_ratio) {
            return Err(SettingError::PowerRatio);
        }
        self.check_rules()?;
        self.hours.check().map_err(SettingError::Hours)
    }

    /// Rules that can be kept, and that the other settings let be kept where calls are launched ahead.
    fn check_rules(&self) -> Result<(), SettingError> {
        let named_twice =
            |rule: &AbandonRule| self.abandon_rules.iter().filter(|r| r.name == rule.name).count() > 1;
        let good = |rule: &AbandonRule| {
            (1..=100).contains(&rule.name.len())
                && (0.0..=1.0).contains(&rule.ratio_max)
                && (500..=60_000).contains(&rule.limit_ms)
                && rule.ring_ms_min <= 120_000
                && !matches!(rule.window, AbandonWindow::Hours(0 | 8_761..))
                && !named_twice(rule)
        };
        if !(1..=8).contains(&self.abandon_rules.len()) || !self.abandon_rules.iter().all(good) {
            return Err(SettingError::AbandonRules);
        }
        if self.mode == Mode::Progressive {
            return Ok(());
        }
        if self.abandon_message.is_none()
            && let Some(rule) = self.abandon_rules.iter().find(|rule| rule.message)
        {
            return Err(SettingError::NoMessage(rule.name.clone()));
        }
        let limit_max = self
            .abandon_rules
            .iter()
            .map(|rule| u64::from(rule.limit_ms))
            .min();
        if let Some(max) = limit_max.filter(|max| self.connect_limit_ms > *max) {
            return Err(SettingError::Range {
                field: "connect_limit_ms",
                min: 500,
                max,
            });
        }
        let ring_min = self
            .abandon_rules
            .iter()
            .map(|rule| u64::from(rule.ring_ms_min))
            .filter(|ring| *ring > 0)
            .map(|ring| ring.saturating_add(SETUP_MS_MAX).min(120_000))
            .max();
        if let Some(min) = ring_min.filter(|min| self.ring_timeout_ms < *min) {
            return Err(SettingError::Range {
                field: "ring_timeout_ms",
                min,
                max: 120_000,
            });
        }
        Ok(())
    }

    /// What the engine takes. Call [`CampaignSettings::check`] first.
    pub fn config(&self, id: CampaignId, trunks: Vec<TrunkConfig>) -> CampaignConfig {
        CampaignConfig {
            id,
            mode: self.mode,
            power_ratio: self.power_ratio,
            abandon_rules: self.abandon_rules.clone(),
            ring_timeout: Duration::from_millis(self.ring_timeout_ms),
            agent_ring_timeout: Duration::from_millis(self.agent_ring_timeout_ms),
            call_duration_max: Duration::from_millis(self.call_duration_ms_max),
            agent_leg_duration_max: Duration::from_millis(self.agent_leg_duration_ms_max),
            connect_limit: Duration::from_millis(self.connect_limit_ms),
            abandon_message: self.abandon_message.clone(),
            wrap_up: Duration::from_millis(self.wrap_up_ms),
            hours: self.hours.clone(),
            trunks,
            recording: self.recording.clone(),
            hopper_size_max: HOPPER_SIZE_MAX,
        }
    }
}
