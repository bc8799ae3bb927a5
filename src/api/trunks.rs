//! Trunks: ways out to the public network.

use super::check::{self, Faults};
use super::extract::{Id, Json, Query};
use super::page::{Page, PageQuery, Window};
use super::problem::{ApiResult, Problem};
use super::{ApiState, Caller};
use crate::store::{Deleted, NewTrunk, StoreError, TrunkRow};
use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;
use paceline_core::dial::TrunkTemplate;
use paceline_core::ids::TrunkId;
use paceline_core::pbx::CallerId;
use serde::{Deserialize, Serialize};

/// A way to the public network.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Trunk {
    /// Its id.
    #[schema(example = 1)]
    id: i64,
    /// The trunk's name, also in metrics.
    #[schema(example = "carrier-a")]
    name: String,
    /// The configured PBX of this trunk.
    #[schema(example = "pbx1")]
    pbx: String,
    /// Template of the dial string: `{number}` is E.164 with its `+`, `{digits}` the same without.
    #[schema(example = "PJSIP/{number}@carrier-a")]
    dial: String,
    /// The number shown to callees.
    #[schema(example = "+12025550100")]
    caller_id: Option<String>,
    /// The reason why the trunk cannot be used: an error in the stored trunk, or its PBX's configuration. Null if it can be used.
    #[schema(example = json!(null))]
    fault: Option<String>,
}

/// The data of a trunk.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TrunkInput {
    /// The trunk's name, unique; 1 to 200 characters.
    #[schema(example = "carrier-a")]
    name: String,
    /// The name of a configured PBX.
    #[schema(example = "pbx1")]
    pbx: String,
    /// Template of the dial string. It must contain exactly one of `{number}` (E.164 with `+`) and `{digits}` (without), in
    /// one of these forms: `PJSIP/{number}@ENDPOINT`, `Local/{digits}@CONTEXT/n`, `sofia/gateway/GATEWAY/{number}`,
    /// `loopback/{number}/CONTEXT`, `user/{digits}@DOMAIN`. Digits may precede the number. `dial_allowed` of the PBX in
    /// paceline.toml can limit the endpoints, gateways and contexts.
    #[schema(example = "PJSIP/{number}@carrier-a")]
    dial: String,
    /// The number shown to callees, in the form that the PBX takes: up to 64 letters, digits, `+*#-_.`.
    #[schema(example = "+12025550100")]
    caller_id: Option<String>,
}

impl Trunk {
    fn new(state: &ApiState, row: TrunkRow) -> Self {
        let pbx = state.dialer.pbxes().into_iter().find(|pbx| pbx.name == row.pbx);
        let fault = match pbx {
            Some(pbx) => row
                .way_out(&pbx.dial_allowed)
                .err()
                .map(|fault| fault.to_string()),
            None => Some(format!("its PBX `{}` is not configured", row.pbx)),
        };
        Self {
            fault,
            id: row.id.0,
            name: row.name,
            pbx: row.pbx.as_str().to_owned(),
            dial: row.dial,
            caller_id: row.caller_id,
        }
    }
}

impl TrunkInput {
    fn check(self, state: &ApiState) -> ApiResult<NewTrunk> {
        let mut faults = Faults::default();
        faults.name("/name", &self.name);
        let pbx = faults.take("/pbx", check::pbx(state, &self.pbx));
        let dial = faults.take("/dial", TrunkTemplate::new(&self.dial));
        let caller_id = self.caller_id.as_deref().map(CallerId::new).transpose();
        let caller_id = faults.take("/caller_id", caller_id);
        if let (Some(pbx), Some(dial)) = (&pbx, &dial)
            && let Some(known) = state.dialer.pbxes().iter().find(|known| known.name == *pbx)
        {
            faults.take("/dial", known.dial_allowed.permit(dial));
        }
        faults.none()?;
        let (Some(pbx), Some(dial), Some(caller_id)) = (pbx, dial, caller_id) else {
            return Err(Problem::internal(anyhow::anyhow!("a checked trunk lacks a part")));
        };
        Ok(NewTrunk {
            name: self.name,
            pbx,
            dial,
            caller_id,
        })
    }
}

/// List trunks.
#[utoipa::path(get, path = "/trunks", operation_id = "list_trunks", tag = "trunks", params(PageQuery),
    responses((status = 200, body = Page<Trunk>)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    Query(query): Query<PageQuery>,
) -> ApiResult<Body<Page<Trunk>>> {
    let window = Window::new("trunks", query.limit, query.cursor.as_deref())?;
    let rows = state.store.trunks(window.after, window.fetch()).await?;
    Ok(Body(window.page_of(
        rows,
        |row| row.id.0,
        |row| Trunk::new(&state, row),
    )))
}

/// Create a trunk.
///
/// It is used once a campaign has it: `PUT /api/v1/campaigns/{id}/trunks`. It needs a key that may see numbers, because a
/// trunk can lead to any phone of the PBX, which then shows the numbers.
#[utoipa::path(post, path = "/trunks", operation_id = "create_trunk", tag = "trunks", request_body = TrunkInput,
    responses((status = 201, body = Trunk)))]
pub(super) async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    Json(input): Json<TrunkInput>,
) -> ApiResult<(StatusCode, Body<Trunk>)> {
    caller.must_see_numbers()?;
    let new = input.check(&state)?;
    let row = state.store.create_trunk(&new).await.map_err(taken)?;
    Ok((StatusCode::CREATED, Body(Trunk::new(&state, row))))
}

/// Get a trunk.
#[utoipa::path(get, path = "/trunks/{id}", operation_id = "get_trunk", tag = "trunks",
    params(("id" = i64, Path, description = "The trunk")),
    responses((status = 200, body = Trunk), (status = 404, description = "No such trunk")))]
pub(super) async fn get(State(state): State<ApiState>, Id(id): Id<i64>) -> ApiResult<Body<Trunk>> {
    let row = state.store.trunk(TrunkId(id)).await?;
    row.map(|row| Body(Trunk::new(&state, row)))
        .ok_or_else(|| Problem::no("trunk", id))
}

/// Replace a trunk.
///
/// Calls that are up are not changed; the next ones use the new data. It needs a key that may see numbers, as creating one.
#[utoipa::path(put, path = "/trunks/{id}", operation_id = "replace_trunk", tag = "trunks", request_body = TrunkInput,
    params(("id" = i64, Path, description = "The trunk")),
    responses((status = 200, body = Trunk), (status = 404, description = "No such trunk")))]
pub(super) async fn put(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id<i64>,
    Json(input): Json<TrunkInput>,
) -> ApiResult<Body<Trunk>> {
    caller.must_see_numbers()?;
    let new = input.check(&state)?;
    let row = state
        .store
        .replace_trunk(TrunkId(id), &new)
        .await
        .map_err(taken)?;
    let row = row.ok_or_else(|| Problem::no("trunk", id))?;
    for campaign in state.store.campaigns_of_trunk(TrunkId(id)).await? {
        state.dialer.campaign_changed(campaign).await;
    }
    Ok(Body(Trunk::new(&state, row)))
}

/// Delete a trunk.
///
/// Refused while a campaign has it. Records of calls over it keep its id.
#[utoipa::path(delete, path = "/trunks/{id}", operation_id = "delete_trunk", tag = "trunks",
    params(("id" = i64, Path, description = "The trunk")),
    responses((status = 204, description = "It is gone"), (status = 404, description = "No such trunk"),
        (status = 409, description = "A campaign has it")))]
pub(super) async fn delete(State(state): State<ApiState>, Id(id): Id<i64>) -> ApiResult<StatusCode> {
    match state.store.delete_trunk(TrunkId(id)).await? {
        Deleted::Done => Ok(StatusCode::NO_CONTENT),
        Deleted::Missing => Err(Problem::no("trunk", id)),
        Deleted::InUse => Err(Problem::conflict(format!(
            "Trunk {id} belongs to a campaign. Take it out with PUT /api/v1/campaigns/{{id}}/trunks first."
        ))),
    }
}

fn taken(error: StoreError) -> Problem {
    match error {
        StoreError::Taken => Problem::field("/name", "another trunk has this name"),
        error => error.into(),
    }
}
