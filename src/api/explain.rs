//! Explanations: what the gate says of a number, why a task is not dialed, and what would become of a task before it is created.

pub(super) mod dry_run;
pub(super) mod number;
pub(super) mod task;

use super::problem::{ApiResult, Problem};
use super::{ApiState, Caller, Role};
use paceline_core::campaign::{CampaignConfig, TrunkConfig};
use paceline_core::gate::{CampaignPolicy, RuleReason};
use paceline_core::ids::CampaignId;
use paceline_core::time::Wall;
use serde::Serialize;
use std::sync::Arc;

/// The rules of a campaign as the dialer has them: with the trunks that may be used. `None`: there is no such campaign, or it is
/// archived.
async fn policy(state: &ApiState, id: CampaignId) -> ApiResult<Option<Arc<CampaignPolicy>>> {
    let Some(campaign) = state.store.dial_campaign(id).await? else {
        return Ok(None);
    };
    let pbxes = state.dialer.pbxes();
    let usable = campaign.trunks.into_iter().filter_map(|row| {
        let pbx = pbxes.iter().find(|pbx| pbx.name == row.pbx)?;
        let way = row.way_out(&pbx.dial_allowed).ok()?;
        Some(TrunkConfig {
            id: row.id,
            name: row.name,
            pbx: row.pbx,
            dial: way.dial,
            caller_id: way.caller_id,
        })
    });
    let config = CampaignConfig {
        id,
        settings: campaign.settings,
        trunks: usable.collect(),
    };
    Ok(Some(Arc::new(CampaignPolicy::new(
        &state.rules,
        Arc::new(config),
    ))))
}

/// Contacts for which one rule decided.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct RuleCount {
    /// Number of contacts.
    #[schema(example = 1200)]
    contacts: u64,
    /// The profile, such as `us-fl`; `paceline` for what belongs to no regulator.
    #[schema(example = "us-ftc")]
    profile: String,
    /// The rule's id within the profile.
    #[schema(example = "hours")]
    rule: String,
    /// The law or regulation. Empty for the profile `paceline`.
    #[schema(example = "16 CFR 310.4(c)")]
    citation: String,
    /// What the rule says of one of these contacts.
    #[schema(example = "2026-11-20T07:12:00 in America/New_York is outside the calling hours")]
    example: String,
}

impl RuleCount {
    fn new(rule: RuleReason, contacts: u64) -> Self {
        Self {
            contacts,
            profile: rule.profile,
            rule: rule.rule,
            citation: rule.citation,
            example: rule.text,
        }
    }
}

fn rule_names(reasons: &[RuleReason]) -> String {
    let names: Vec<_> = reasons
        .iter()
        .map(|reason| format!("{} {}", reason.profile, reason.rule))
        .collect();
    names.join(", ")
}

/// A time in a sentence.
fn moment(at: Wall) -> String {
    let at = jiff::Timestamp::from_millisecond(at.0).unwrap_or(jiff::Timestamp::MAX);
    format!("{at:.0}")
}

fn archived(name: &str) -> Problem {
    Problem::conflict(format!(
        "Campaign `{name}` is archived: it calls nobody. Name another campaign."
    ))
}

/// The explanation of a number, for the command line on the machine with the store.
pub async fn number_as_json(
    state: &ApiState,
    number: &str,
    campaign: Option<i64>,
) -> ApiResult<serde_json::Value> {
    let number = number::read(state, number)?;
    as_json(number::explain(state, ON_THE_MACHINE, &number, campaign).await?)
}

/// The explanation of a task while no Paceline runs.
pub async fn task_as_json(state: &ApiState, id: i64) -> ApiResult<serde_json::Value> {
    as_json(task::explain(state, id).await?.while_nothing_runs())
}

/// Whoever may read the store may see its numbers.
const ON_THE_MACHINE: Caller = Caller {
    key: 0,
    role: Role::Write,
    agent: None,
    sees_numbers: true,
};

fn as_json(answer: impl Serialize) -> ApiResult<serde_json::Value> {
    serde_json::to_value(answer).map_err(Problem::internal)
}
