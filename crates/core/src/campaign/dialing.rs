//! Ring timeout and maximum duration of a call.

use super::settings::{SettingError, within};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Ring timeout and maximum duration of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct DialingSettings {
    /// The PBX gives up a call that nobody answers after this time from dialing, in milliseconds; 1,000 to 120,000. In the
    /// modes `predictive` and `power` it must be at least 5,000 longer than the longest `ring_ms_min` of the abandon rules,
    /// because a phone rings only some seconds after dialing.
    pub ring_timeout_ms: u64,
    /// The PBX ends a callee's leg after this time, in milliseconds; 10,000 to 86,400,000.
    pub call_duration_ms_max: u64,
}

impl Default for DialingSettings {
    fn default() -> Self {
        Self {
            ring_timeout_ms: 25_000,
            call_duration_ms_max: 4 * 3_600_000,
        }
    }
}

impl DialingSettings {
    pub(super) fn check(&self) -> Result<(), SettingError> {
        within("dialing/ring_timeout_ms", self.ring_timeout_ms, 1_000, 120_000)?;
        let duration = self.call_duration_ms_max;
        within("dialing/call_duration_ms_max", duration, 10_000, 86_400_000)
    }

    /// [`Self::ring_timeout_ms`] as a duration.
    pub fn ring_timeout(&self) -> Duration {
        Duration::from_millis(self.ring_timeout_ms)
    }

    /// [`Self::call_duration_ms_max`] as a duration.
    pub fn call_duration_max(&self) -> Duration {
        Duration::from_millis(self.call_duration_ms_max)
    }
}
