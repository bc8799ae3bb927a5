//! The configured PBXes, and their maintenance.

use super::ApiState;
use super::extract::Id;
use super::problem::{ApiResult, Problem};
use super::words::Utc;
use crate::api::control::PbxStatus;
use axum::Json as Body;
use axum::extract::State;
use paceline_core::ids::PbxName;
use serde::Serialize;

/// A configured PBX.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Pbx {
    /// The configured name.
    #[schema(example = "pbx1")]
    name: String,
    /// The kind of connection: `ari`, `esl` or `sim`.
    #[schema(example = "ari")]
    kind: String,
    /// `true`: the link is up, that is, connected and resynchronised. Otherwise Paceline launches no calls on this PBX.
    #[schema(example = true)]
    connected: bool,
    /// The version that the PBX reports. Null if unknown.
    #[schema(example = "22.10.0")]
    version: Option<String>,
    /// The time when maintenance began. During maintenance Paceline launches no calls there and releases agents' held
    /// legs once they are idle. Null if the PBX is not in maintenance.
    maintenance_since: Option<Utc>,
    /// `true`: the PBX refused the last call, because it is full, is paused, or shuts down gracefully (`core restart
    /// gracefully`). Paceline tests it with one call at a time, at growing intervals of up to 30 s. Held legs of agents
    /// prevent a graceful restart: put the PBX into maintenance.
    #[schema(example = false)]
    refuses_calls: bool,
}

impl From<PbxStatus> for Pbx {
    fn from(pbx: PbxStatus) -> Self {
        Self {
            name: pbx.name.as_str().to_owned(),
            kind: pbx.kind.to_owned(),
            connected: pbx.connected,
            version: pbx.version,
            maintenance_since: pbx.maintenance_since.map(Utc),
            refuses_calls: pbx.refuses_calls,
        }
    }
}

/// Put a PBX into maintenance.
///
/// Paceline launches no more calls there. It cancels a ringing call once it has rung for as long as the abandon rules
/// require; conversations go on to their end. Paceline releases agents' held legs once they are idle: the agents stay
/// logged in, and their state is `paused` with the reason `pbx_maintenance`. Then the PBX has no leg of Paceline and
/// can restart; `core restart gracefully` waits for that. Maintenance lasts until it is ended, also if Paceline
/// restarts.
#[utoipa::path(post, path = "/pbxes/{name}/maintenance", operation_id = "begin_maintenance", tag = "live",
    params(("name" = String, Path, description = "The PBX, as configured")),
    responses((status = 200, body = Pbx), (status = 404, description = "No such PBX")))]
pub(super) async fn begin(State(state): State<ApiState>, Id(name): Id<String>) -> ApiResult<Body<Pbx>> {
    set(&state, &name, true).await
}

/// End the maintenance of a PBX.
///
/// Paceline calls the phones of its agents again and resumes dialing.
#[utoipa::path(delete, path = "/pbxes/{name}/maintenance", operation_id = "end_maintenance", tag = "live",
    params(("name" = String, Path, description = "The PBX, as configured")),
    responses((status = 200, body = Pbx), (status = 404, description = "No such PBX")))]
pub(super) async fn end(State(state): State<ApiState>, Id(name): Id<String>) -> ApiResult<Body<Pbx>> {
    set(&state, &name, false).await
}

async fn set(state: &ApiState, name: &str, on: bool) -> ApiResult<Body<Pbx>> {
    let name = find(state, name)?.name;
    state.store.maintain(&name, on, state.clock.now().wall).await?;
    state.dialer.maintenance_changed().await;
    Ok(Body(find(state, name.as_str())?.into()))
}

fn find(state: &ApiState, name: &str) -> ApiResult<PbxStatus> {
    let name = PbxName::new(name);
    let pbxes = state.dialer.pbxes();
    let found = pbxes.into_iter().find(|pbx| pbx.name == name);
    found.ok_or_else(|| Problem::no("PBX", "of that name"))
}
