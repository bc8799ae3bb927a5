//! How many calls it was decided to launch ahead of free agents, and why.

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

/// Decisions shown unless asked otherwise.
const LIMIT_DEFAULT: usize = 100;
/// An hour of them, on one PBX, if each launched something.
const LIMIT_MAX: usize = 18_000;

/// Pacing decisions.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct PacingDecisions {
    /// The newest first.
    decisions: Vec<PacingDecision>,
}

/// How many calls to launch, or several times in a row none for the same reason.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct PacingDecision {
    /// On which PBX.
    #[schema(example = "pbx1")]
    pbx: String,
    /// When the first of them was made.
    since: Utc,
    /// When the last of them was made; the rest tells of this one.
    at: Utc,
    /// How many they are.
    #[schema(example = 1)]
    ticks: u32,
    /// Calls launched.
    #[schema(example = 3)]
    launch: u32,
    /// Calls that agents and the abandon budget allow.
    #[schema(example = 5)]
    wanted: u32,
    /// What kept one more from being launched.
    limit: LaunchLimit,
    /// How it was decided.
    mode: EffectiveMode,
    /// Why that is not the campaign's own mode, where it is not.
    fallback: Option<Fallback>,
    /// Probability that the next callee finds no agent, 0 to 1.
    #[schema(example = 0.031)]
    risk_ratio: f64,
    /// The most of it that the abandon budget allows.
    #[schema(example = 0.028)]
    risk_allowed_ratio: f64,
    /// Expected ratio of abandoned calls to live answers of the calls in flight, 0 to 1.
    #[schema(example = 0.021)]
    expected_abandon_ratio: f64,
    /// The abandon rule that allows least.
    #[schema(example = "us-federal (day)")]
    rule: Option<String>,
    /// Live answers in its window.
    #[schema(example = 412.0)]
    live_answers: f64,
    /// Of them abandoned.
    #[schema(example = 9.0)]
    abandoned: f64,
    /// How many more may be; negative: overdrawn.
    #[schema(example = 3.8)]
    budget_left: f64,
    /// Agents who are counted on.
    #[schema(example = 20)]
    agents: u32,
    /// Of them free.
    #[schema(example = 2)]
    agents_free: u32,
    /// Calls asked for, dialing, ringing or waiting for an agent.
    #[schema(example = 17)]
    in_flight: u32,
    /// Probability that a call launched then reaches a person.
    #[schema(example = 0.24)]
    answer_probability: f64,
    /// All of it in words.
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

/// What to show.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DecisionsQuery {
    /// How many, 1 to 18,000; 100 if left out.
    #[param(minimum = 1, maximum = 18000, default = 100)]
    limit: Option<usize>,
}

/// See the pacing decisions of the last hour.
///
/// In the modes `predictive` and `power` it is decided five times a second how many calls to launch. Kept in memory, for
/// an hour.
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
