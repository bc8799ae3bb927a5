//! Agents' held legs and their wrap-up.

use super::settings::{SettingError, within};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Agents' held legs and their wrap-up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct AgentSettings {
    /// Ring timeout of a call to an agent's phone, in milliseconds; 1,000 to 120,000.
    pub ring_timeout_ms: u64,
    /// The PBX ends an agent's held leg after this time, and Paceline calls the phone again. Milliseconds; 10,000 to
    /// 86,400,000.
    pub leg_duration_ms_max: u64,
    /// Wrap-up time after a call, in milliseconds; 0 to 3,600,000. A disposition or `ready` ends it early.
    pub wrap_up_ms: u64,
}

impl Default for AgentSettings {
    fn default() -> Self {
        Self {
            ring_timeout_ms: 30_000,
            // Longer than a working day.
            leg_duration_ms_max: 14 * 3_600_000,
            wrap_up_ms: 10_000,
        }
    }
}

impl AgentSettings {
    pub(super) fn check(&self) -> Result<(), SettingError> {
        within("agents/ring_timeout_ms", self.ring_timeout_ms, 1_000, 120_000)?;
        let duration = self.leg_duration_ms_max;
        within("agents/leg_duration_ms_max", duration, 10_000, 86_400_000)?;
        within("agents/wrap_up_ms", self.wrap_up_ms, 0, 3_600_000)
    }

    /// [`Self::ring_timeout_ms`] as a duration.
    pub fn ring_timeout(&self) -> Duration {
        Duration::from_millis(self.ring_timeout_ms)
    }

    /// [`Self::leg_duration_ms_max`] as a duration.
    pub fn leg_duration_max(&self) -> Duration {
        Duration::from_millis(self.leg_duration_ms_max)
    }

    /// [`Self::wrap_up_ms`] as a duration.
    pub fn wrap_up(&self) -> Duration {
        Duration::from_millis(self.wrap_up_ms)
    }
}
