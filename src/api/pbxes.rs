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
    /// As configured.
    #[schema(example = "pbx1")]
    name: String,
    /// How it is attached: `ari`, `esl`, `sim`.
    #[schema(example = "ari")]
    kind: String,
    /// Whether its event stream stands and is resynchronised; nothing is launched on it otherwise.
    #[schema(example = true)]
    connected: bool,
    /// What it calls itself.
    #[schema(example = "22.10.0")]
    version: Option<String>,
    /// Since when it is in maintenance: nothing is launched there, and agents' held legs are released once they are idle. Null: it
    /// is not.
    maintenance_since: Option<Utc>,
    /// It refused the last call: it has no room, is paused, or shuts down gracefully (`core restart gracefully`). One call at a time
    /// tries it, ever less often, up to 30 s apart. Held legs of agents keep it from restarting: put it into maintenance.
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
/// Nothing more is launched there; what rings is taken back once it has rung for as long as the abandon rules ask; conversations go
/// on to their end. Agents' held legs are released once they are idle: the agents stay logged in, shown as `paused` with the reason
/// `pbx_maintenance`. So the PBX is left without any leg of Paceline's and can restart, as `core restart gracefully` does only then.
/// It lasts until it is ended, also over a restart of Paceline.
#[utoipa::path(post, path = "/pbxes/{name}/maintenance", operation_id = "begin_maintenance", tag = "live",
    params(("name" = String, Path, description = "The PBX, as configured")),
    responses((status = 200, body = Pbx), (status = 404, description = "No such PBX")))]
pub(super) async fn begin(State(state): State<ApiState>, Id(name): Id<String>) -> ApiResult<Body<Pbx>> {
    set(&state, &name, true).await
}

/// End the maintenance of a PBX.
///
/// The phones of its agents are called again, and dialing goes on.
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
