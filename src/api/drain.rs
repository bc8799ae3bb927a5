//! Ends this Paceline for good.

use super::ApiState;
use super::extract::Json;
use super::problem::{ApiResult, Problem};
use super::words::Utc;
use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The time that a request may give conversations to end, in seconds.
const DRAIN_S: std::ops::RangeInclusive<u64> = 1..=86_400;

/// The limit of a drain.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Drain {
    /// Time for conversations to end, in seconds, 1 to 86,400. Calls that are still up then are hung up.
    #[schema(example = 600, minimum = 1, maximum = 86400)]
    deadline_s: u64,
}

/// A drain that has begun.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Draining {
    /// Time when the remaining calls are hung up.
    deadline_at: Utc,
}

/// End this Paceline for good.
///
/// Nothing more is launched, ringing calls are cancelled once they have rung for the minimum time of the abandon rules, agents are
/// logged out after their conversations, and the process ends. For a restart send it SIGTERM instead: then agents stay logged in and
/// conversations go on. A second request can only shorten the deadline.
#[utoipa::path(post, path = "/drain", operation_id = "drain", tag = "live", request_body = Drain,
    responses((status = 202, body = Draining)))]
pub(super) async fn drain(
    State(state): State<ApiState>,
    Json(input): Json<Drain>,
) -> ApiResult<(StatusCode, Body<Draining>)> {
    if !DRAIN_S.contains(&input.deadline_s) {
        return Err(Problem::field("/deadline_s", "1 to 86400 seconds"));
    }
    let left = state.dialer.drain(Duration::from_secs(input.deadline_s));
    let draining = Draining {
        deadline_at: Utc(state.clock.now().wall.plus(left)),
    };
    Ok((StatusCode::ACCEPTED, Body(draining)))
}
