//! Whether conversations are recorded.

use crate::pbx::Sound;
use serde::{Deserialize, Serialize};

/// Whether conversations are recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct RecordingSettings {
    /// Whether they are.
    pub enabled: bool,
    /// A sound on the PBX that both sides hear first, such as `sound:beep`. None: recorded at once.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "sound:beep"))]
    pub announcement: Option<Sound>,
}
