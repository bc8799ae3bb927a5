//! For supervisors and load balancers: is the process alive, can it serve.

use super::ApiState;
use super::problem::{ApiResult, Problem};
use super::words::Utc;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use paceline_core::time::Wall;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How it is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Health {
    /// Always `ok`; anything else is an error.
    #[schema(example = "ok")]
    status: &'static str,
}

/// Whether the process is alive.
///
/// Answers as long as the process does anything at all. Restart it where this fails.
#[utoipa::path(get, path = "/healthz", operation_id = "healthz", tag = "health", responses((status = 200, body = Health)))]
pub(super) async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Whether requests can be served.
///
/// Asks the store, and whether it takes what is written. A lost PBX is no reason to be unready, as then one wants to see what is going on: `GET /api/v1/live`.
#[utoipa::path(get, path = "/readyz", operation_id = "readyz", tag = "health",
    responses((status = 200, body = Health), (status = 503, description = "The store does not answer, or cannot write")))]
pub(super) async fn readyz(State(state): State<ApiState>) -> ApiResult<Json<Health>> {
    state.store.ping().await.map_err(|error| {
        Problem::unavailable(
            "The store does not answer; the log tells why. Try again in a few seconds.",
            5,
        )
        .caused_by(error)
    })?;
    if state.store.cannot_write() {
        return Err(Problem::unavailable(
            "The store can be read and not written: changes are kept and tried again, and nothing is dialed until it can. The \
             log tells why; a full disk is the usual reason. Make room: all goes on by itself.",
            5,
        ));
    }
    Ok(Json(Health { status: "ok" }))
}

/// How long conversations may go on, in seconds.
const DRAIN_S: std::ops::RangeInclusive<u64> = 1..=86_400;

/// How a drain goes.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Drain {
    /// Conversations may go on so long, in seconds, 1 to 86,400. What is still up then is hung up.
    #[schema(example = 600, minimum = 1, maximum = 86400)]
    deadline_s: u64,
}

/// A drain that has begun.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Draining {
    /// What is up then is hung up.
    deadline_at: Utc,
}

/// End this Paceline for good.
///
/// Nothing more is launched, what rings is taken back, agents are logged out after their conversations, and the process ends.
/// For a restart send it SIGTERM instead: then agents stay logged in and conversations go on.
#[utoipa::path(post, path = "/drain", operation_id = "drain", tag = "live", request_body = Drain,
    responses((status = 202, body = Draining)))]
pub(super) async fn drain(
    State(state): State<ApiState>,
    super::extract::Json(input): super::extract::Json<Drain>,
) -> ApiResult<(StatusCode, Json<Draining>)> {
    if !DRAIN_S.contains(&input.deadline_s) {
        return Err(Problem::field("/deadline_s", "1 to 86400 seconds"));
    }
    state.dialer.drain(Duration::from_secs(input.deadline_s));
    let deadline_ms = i64::try_from(input.deadline_s.saturating_mul(1_000)).unwrap_or(i64::MAX);
    let deadline_at = Wall(state.clock.now().wall.0.saturating_add(deadline_ms));
    let draining = Draining {
        deadline_at: Utc(deadline_at),
    };
    Ok((StatusCode::ACCEPTED, Json(draining)))
}
