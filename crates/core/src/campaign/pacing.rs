//! The pacing mode of a campaign, and its abandon rules.

use super::Mode;
use super::settings::{SettingError, SettingFault};
use crate::gate::Rulebook;
use crate::pacing::rules::{AbandonRule, AbandonWindow};
use serde::{Deserialize, Serialize};

/// The pacing mode of a campaign, and its abandon rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct PacingSettings {
    /// The pacing mode.
    pub mode: Mode,
    /// For mode `power`: number of calls in flight for each free agent; 1 to 10.
    pub power_ratio: f64,
    /// The abandon rules of the modes `predictive` and `power`; 1 to 8. All hold at the same time.
    pub abandon_rules: Vec<AbandonRule>,
}

/// The abandon rule of the United States' Federal Trade Commission.
fn ftc() -> Vec<AbandonRule> {
    let mut rules = Rulebook::shipped().map_or_else(|_| Vec::new(), |book| book.abandon_rules());
    rules.retain(|rule| rule.name == "us-ftc");
    rules
}

impl Default for PacingSettings {
    fn default() -> Self {
        Self {
            mode: Mode::Progressive,
            power_ratio: 1.5,
            abandon_rules: ftc(),
        }
    }
}

impl PacingSettings {
    pub(super) fn check(&self) -> Result<(), SettingError> {
        if !(1.0..=10.0).contains(&self.power_ratio) {
            return Err(SettingError {
                setting: "pacing/power_ratio",
                fault: SettingFault::Range { min: 1, max: 10 },
            });
        }
        let rules = &self.abandon_rules;
        let good = |rule: &AbandonRule| {
            (1..=100).contains(&rule.name.len())
                && (0.0..=1.0).contains(&rule.ratio_max)
                && (500..=60_000).contains(&rule.limit_ms)
                && rule.ring_ms_min <= 120_000
                && !matches!(rule.window, AbandonWindow::Hours(0 | 8_761..))
                && rules.iter().filter(|other| other.name == rule.name).count() == 1
        };
        if (1..=8).contains(&rules.len()) && rules.iter().all(good) {
            return Ok(());
        }
        Err(SettingError {
            setting: "pacing/abandon_rules",
            fault: SettingFault::AbandonRules,
        })
    }
}
