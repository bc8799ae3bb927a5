//! The do-not-call lists of a campaign beside those that hold for every campaign, its allowlist, its opt-out key, and the
//! outside check.

use super::settings::{SettingError, within};
use crate::pbx::Digit;
use crate::suppression::ListName;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Maximum number of scopes of one campaign.
const LISTS_MAX: u64 = 20;

/// The do-not-call lists of a campaign beside those that hold for every campaign, its allowlist, its opt-out key, and the
/// outside check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct SuppressionSettings {
    /// Do-not-call entries with one of these scopes hold for this campaign too. At most 20.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>, example = json!(["brand-a"])))]
    pub lists: Vec<ListName>,
    /// The allowlist of the campaign: only its numbers are called, and none while the list does not exist. Absent: no limit.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "agreed"))]
    pub allowlist: Option<ListName>,
    /// The key by which a callee opts out after the answer: `0` to `9`, `*` or `#`. Absent: none. On Asterisk it holds for agents
    /// who log in after it was set.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "9"))]
    pub opt_out_digit: Option<Digit>,
    /// Days for which the disposition `refused` puts the number on the do-not-call list of every campaign; 0 to 3,650. The
    /// default is the longest pause that a law of the shipped rules demands (Washington: one year).
    pub refusal_days: u32,
    /// True: Paceline asks the service under `[outside_check]` in paceline.toml about a number before it calls the number. A
    /// number without a valid answer waits.
    pub outside_check: bool,
}

impl Default for SuppressionSettings {
    fn default() -> Self {
        Self {
            lists: Vec::new(),
            allowlist: None,
            opt_out_digit: None,
            refusal_days: 365,
            outside_check: false,
        }
    }
}

impl SuppressionSettings {
    pub(super) fn check(&self) -> Result<(), SettingError> {
        let lists = u64::try_from(self.lists.len()).unwrap_or(u64::MAX);
        within("suppression/lists", lists, 0, LISTS_MAX)?;
        let days = u64::from(self.refusal_days);
        within("suppression/refusal_days", days, 0, 3_650)
    }

    /// [`Self::refusal_days`] as a duration. `None`: a refusal is no do-not-call entry.
    pub fn refusal_pause(&self) -> Option<Duration> {
        const DAY: Duration = Duration::from_secs(86_400);
        (self.refusal_days > 0).then(|| DAY.saturating_mul(self.refusal_days))
    }
}
