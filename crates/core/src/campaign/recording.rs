//! The recording of conversations.

use crate::pbx::Sound;
use serde::{Deserialize, Serialize};

/// The recording of conversations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct RecordingSettings {
    /// True: every conversation is recorded by the PBX.
    pub enabled: bool,
    /// The sound on the PBX that both sides hear before the recording begins, such as `sound:beep`. Absent: no sound.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "sound:beep"))]
    pub announcement: Option<Sound>,
}
