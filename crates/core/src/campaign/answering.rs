//! Time limit for connecting an answered callee to an agent, and the message to an abandoned callee.

use super::settings::{SettingError, within};
use crate::pbx::Sound;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Time limit for connecting an answered callee to an agent, and the message to an abandoned callee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct AnsweringSettings {
    /// Maximum time from the answer until an agent is connected, in milliseconds; 500 to 10,000. After it the callee is
    /// abandoned.
    pub connect_limit_ms: u64,
    /// The sound on the PBX that an abandoned callee hears before the hang-up, such as `sound:custom/sorry`. Absent: hung
    /// up at once. An abandon rule can require a sound.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "sound:custom/sorry"))]
    pub abandon_message: Option<Sound>,
}

impl Default for AnsweringSettings {
    fn default() -> Self {
        Self {
            connect_limit_ms: 2_000,
            abandon_message: None,
        }
    }
}

impl AnsweringSettings {
    pub(super) fn check(&self) -> Result<(), SettingError> {
        within("answering/connect_limit_ms", self.connect_limit_ms, 500, 10_000)
    }

    /// [`Self::connect_limit_ms`] as a duration.
    pub fn connect_limit(&self) -> Duration {
        Duration::from_millis(self.connect_limit_ms)
    }
}
