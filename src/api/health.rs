//! Health checks for supervisors and load balancers: the process is alive; it can serve requests.

use super::ApiState;
use super::problem::{ApiResult, Problem};
use crate::clock::Clock;
use axum::Json;
use axum::extract::State;
use serde::Serialize;

/// The result of a health check.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Health {
    /// Always `ok`. A failed check answers with an error instead.
    #[schema(example = "ok")]
    status: &'static str,
    /// PBXes in maintenance: nothing is dialed there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!([]))]
    in_maintenance: Vec<String>,
    /// A test has moved the time of day: it is so many seconds ahead of the machine's (`paceline serve --test-clock`).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = json!(null))]
    clock_ahead_s: Option<i64>,
}

/// Check that the process is alive.
///
/// Answers as long as the process runs. Restart the process if this fails.
#[utoipa::path(get, path = "/healthz", operation_id = "healthz", tag = "health", responses((status = 200, body = Health)))]
pub(super) async fn healthz() -> Json<Health> {
    Json(Health {
        status: "ok",
        in_maintenance: Vec::new(),
        clock_ahead_s: None,
    })
}

/// Check that requests can be served.
///
/// Checks that the store answers and can be written. It succeeds also while a PBX is unreachable or in maintenance: `GET /api/v1/live` shows the state of the PBXes.
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
    let pbxes = state.dialer.pbxes().into_iter();
    let maintained = pbxes.filter(|pbx| pbx.maintenance_since.is_some());
    let ahead_s = Clock::moved_ms() / 1_000;
    Ok(Json(Health {
        status: "ok",
        in_maintenance: maintained.map(|pbx| pbx.name.as_str().to_owned()).collect(),
        clock_ahead_s: (ahead_s != 0).then_some(ahead_s),
    }))
}
