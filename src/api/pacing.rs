//! The pacing decisions: the number of calls to launch ahead of free agents, with the reason.

use super::ApiState;
use super::campaigns;
use super::extract::{Id, Query};
use super::problem::{ApiResult, Fault, Kind, Problem};
use super::words::Utc;
use axum::Json as Body;
use axum::extract::State;
use paceline_core::live::Decision;
use paceline_core::pacing::{EffectiveMode, Fallback, LaunchLimit};
use serde::{Deserialize, Serialize};

/// Number of decisions shown by default.
const LIMIT_DEFAULT: usize = 100;
/// The decisions of one hour on one PBX, if each launched something.
const LIMIT_MAX: usize = 18_000;

/// Pacing decisions.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct PacingDecisions {
    /// The newest first.
    decisions: Vec<PacingDecision>,
}

/// A decision how many calls to launch. Consecutive decisions without a launch and with the same reason are one.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct PacingDecision {
    /// The PBX.
    #[schema(example = "pbx1")]
    pbx: String,
    /// Time of the first of these decisions.
    since: Utc,
    /// Time of the last of these decisions. The other fields describe this one.
    at: Utc,
    /// Number of these decisions.
    #[schema(example = 1)]
    ticks: u32,
    /// Calls launched.
    #[schema(example = 3)]
    launch: u32,
    /// Calls that agents and the abandon budget allow.
    #[schema(example = 5)]
    wanted: u32,
    /// The reason why no further call was launched.
    limit: LaunchLimit,
    /// The mode that was used.
    mode: EffectiveMode,
    /// The reason why `mode` is not the campaign's mode. Null if it is.
    fallback: Option<Fallback>,
    /// Probability that the next callee finds no agent, 0 to 1.
    #[schema(example = 0.031)]
    risk_ratio: f64,
    /// Highest value of `risk_ratio` that the abandon budget allows, 0 to 1.
    #[schema(example = 0.028)]
    risk_allowed_ratio: f64,
    /// Expected ratio of abandoned calls to live answers of the calls in flight, 0 to 1.
    #[schema(example = 0.021)]
    expected_abandon_ratio: f64,
    /// The abandon rule that allows the least.
    #[schema(example = "us-ftc (day)")]
    rule: Option<String>,
    /// Live answers in the rule's window.
    #[schema(example = 412.0)]
    live_answers: f64,
    /// Abandoned calls in the rule's window.
    #[schema(example = 9.0)]
    abandoned: f64,
    /// Number of calls that the rule still allows to be abandoned. Negative: too many were abandoned.
    #[schema(example = 3.8)]
    budget_left: f64,
    /// Agents who are available, in a call or in wrap-up, and not about to log out.
    #[schema(example = 20)]
    agents: u32,
    /// Number of `agents` who are available.
    #[schema(example = 2)]
    agents_free: u32,
    /// Calls requested, dialing, ringing or waiting for an agent.
    #[schema(example = 17)]
    in_flight: u32,
    /// Probability that a call launched then reaches a person.
    #[schema(example = 0.24)]
    answer_probability: f64,
    /// The decision as a sentence.
    #[schema(example = "launch 3 of 5 wanted: trunk channels are used up")]
    why: String,
}

impl From<Decision> for PacingDecision {
    fn from(decision: Decision) -> Self {
        let Decision {
            pbx,
            since_ms,
            at_ms,
            ticks,
            report,
        } = decision;
        Self {
            pbx: pbx.as_str().to_owned(),
            since: Utc(since_ms),
            at: Utc(at_ms),
            ticks,
            launch: report.launch,
            wanted: report.wanted,
            limit: report.limit,
            mode: report.mode,
            fallback: report.fallback,
            risk_ratio: report.risk,
            risk_allowed_ratio: report.risk_max,
            expected_abandon_ratio: report.expected_abandon_ratio,
            rule: report.rule.as_deref().map(str::to_owned),
            live_answers: report.live,
            abandoned: report.abandoned,
            budget_left: report.budget_left,
            agents: report.agents,
            agents_free: report.agents_free,
            in_flight: report.in_flight,
            answer_probability: report.answer_probability,
            why: report.to_string(),
        }
    }
}

/// The query.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DecisionsQuery {
    /// Maximum number of decisions, 1 to 18,000; default 100.
    #[param(minimum = 1, maximum = 18000, default = 100)]
    limit: Option<usize>,
}

/// See the pacing decisions of the last hour.
///
/// In the modes `predictive` and `power` the number of calls to launch is decided five times a second. The decisions of the
/// last hour are kept in memory.
#[utoipa::path(get, path = "/campaigns/{id}/pacing", operation_id = "list_pacing_decisions", tag = "live",
    params(("id" = i64, Path, description = "The campaign"), DecisionsQuery),
    responses((status = 200, body = PacingDecisions), (status = 404, description = "No such campaign")))]
pub(super) async fn decisions(
    State(state): State<ApiState>,
    Id(id): Id<i64>,
    Query(query): Query<DecisionsQuery>,
) -> ApiResult<Body<PacingDecisions>> {
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        let fault = Fault::parameter("limit", format!("must be from 1 to {LIMIT_MAX}"));
        return Err(Problem::new(Kind::BadParameter, "`limit` is out of range.").with_errors(vec![fault]));
    }
    let row = campaigns::find(&state, id).await?;
    let decisions = state.dialer.decisions(row.id, limit);
    Ok(Body(PacingDecisions {
        decisions: decisions.into_iter().map(PacingDecision::from).collect(),
    }))
}
