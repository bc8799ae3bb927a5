//! Campaigns: their settings, trunks and state.

use super::ApiState;
use super::check::Faults;
use super::extract::{Id, Json, Query};
use super::page::{Page, PageQuery, Window};
use super::problem::{ApiResult, Fault, Problem};
use super::sounds::{self, ExplainedWarning};
use super::words::Utc;
use crate::store::{Archiving, CampaignRow, StoreError};
use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;
use paceline_core::campaign::CampaignState;
use paceline_core::campaign::settings::{CampaignSettings, SettingError};
use paceline_core::ids::{CampaignId, TrunkId};
use serde::{Deserialize, Serialize};

/// The settings of a program of calls.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Campaign {
    /// Its id.
    #[schema(example = 1)]
    id: i64,
    /// The campaign's name. A task without a campaign runs under the one named `default`.
    #[schema(example = "default")]
    name: String,
    /// The state. Only an active campaign dials.
    state: CampaignState,
    /// Its settings.
    settings: CampaignSettings,
    /// The error in the stored settings, which cannot be read. Because of it nothing is dialed in any state, and the default
    /// settings are shown. PUT /api/v1/campaigns/{id}/settings repairs it. Null if the settings can be read.
    fault: Option<String>,
    /// The campaign's trunks, the preferred one first.
    #[schema(example = json!([1]))]
    trunk_ids: Vec<i64>,
    /// Time of creation.
    created_at: Utc,
    /// Checks that could not be done when the campaign was activated, or changed while it was active. Missing if everything was
    /// checked. Later warnings are in GET /api/v1/campaigns/{id}/live.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<ExplainedWarning>,
}

/// The data of a new campaign. It is created as a draft.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateCampaign {
    /// The campaign's name, unique; 1 to 200 characters.
    #[schema(example = "autumn renewals")]
    name: String,
    /// The settings. Missing ones take their default.
    #[serde(default)]
    settings: CampaignSettings,
    /// The campaign's trunks, the preferred one first. They can be changed later.
    #[serde(default)]
    #[schema(example = json!([1]))]
    trunk_ids: Vec<i64>,
}

/// A campaign's trunks.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetTrunks {
    /// The trunks, the preferred one first. A call is launched on the PBX of its agent, so each PBX with agents needs a
    /// trunk.
    #[schema(example = json!([1, 2]))]
    trunk_ids: Vec<i64>,
}

/// Maximum number of trunks of a campaign.
const TRUNKS_MAX: usize = 100;

impl From<CampaignRow> for Campaign {
    fn from(row: CampaignRow) -> Self {
        Self {
            id: row.id.0,
            name: row.name,
            state: row.state,
            settings: row.settings,
            fault: row.fault,
            trunk_ids: row.trunks.into_iter().map(|id| id.0).collect(),
            created_at: Utc(row.created_at),
            warnings: Vec::new(),
        }
    }
}

/// List campaigns.
#[utoipa::path(get, path = "/campaigns", operation_id = "list_campaigns", tag = "campaigns", params(PageQuery),
    responses((status = 200, body = Page<Campaign>)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    Query(query): Query<PageQuery>,
) -> ApiResult<Body<Page<Campaign>>> {
    let window = Window::new("campaigns", query.limit, query.cursor.as_deref())?;
    let rows = state.store.campaigns(window.after, window.fetch()).await?;
    Ok(Body(window.page_of(rows, |row| row.id.0, Campaign::from)))
}

/// Create a campaign.
///
/// The campaign starts as a draft. Activate it after setting its trunks and the time zone of its calling hours. `{"name":
/// "…"}` is enough here; every other setting has a default.
#[utoipa::path(post, path = "/campaigns", operation_id = "create_campaign", tag = "campaigns",
    request_body = CreateCampaign, responses((status = 201, body = Campaign)))]
pub(super) async fn create(
    State(state): State<ApiState>,
    Json(input): Json<CreateCampaign>,
) -> ApiResult<(StatusCode, Body<Campaign>)> {
    let mut faults = Faults::default();
    faults.name("/name", &input.name);
    check_settings(&mut faults, "/settings", &input.settings);
    let trunks = check_trunks(&mut faults, &input.trunk_ids);
    faults.none()?;
    let created = state
        .store
        .create_campaign(&input.name, &input.settings, &trunks, state.clock.now().wall)
        .await;
    let row = created.map_err(|error| match error {
        StoreError::Taken => Problem::field("/name", "another campaign has this name"),
        error => no_trunk(error),
    })?;
    state.dialer.campaign_changed(row.id).await;
    Ok((StatusCode::CREATED, Body(row.into())))
}

/// Get a campaign.
#[utoipa::path(get, path = "/campaigns/{id}", operation_id = "get_campaign", tag = "campaigns",
    params(("id" = i64, Path, description = "The campaign")),
    responses((status = 200, body = Campaign), (status = 404, description = "No such campaign")))]
pub(super) async fn get(State(state): State<ApiState>, Id(id): Id<i64>) -> ApiResult<Body<Campaign>> {
    Ok(Body(find(&state, id).await?.into()))
}

/// Replace a campaign's settings.
///
/// Replaces all settings; missing ones take their default. Calls that are up keep their settings. If the calling hours
/// change, contacts that waited for the old ones are checked again at once. The settings of an active campaign must have a
/// time zone, and only sounds that its PBXes have.
#[utoipa::path(put, path = "/campaigns/{id}/settings", operation_id = "replace_campaign_settings", tag = "campaigns",
    request_body = CampaignSettings, params(("id" = i64, Path, description = "The campaign")),
    responses((status = 200, body = Campaign), (status = 404, description = "No such campaign"),
        (status = 409, description = "It is archived")))]
pub(super) async fn put_settings(
    State(state): State<ApiState>,
    Id(id): Id<i64>,
    Json(settings): Json<CampaignSettings>,
) -> ApiResult<Body<Campaign>> {
    let mut faults = Faults::default();
    check_settings(&mut faults, "", &settings);
    faults.none()?;
    let row = find(&state, id).await?;
    not_archived(&row)?;
    if row.state == CampaignState::Active && settings.hours.time_zone.is_none() {
        return Err(Problem::field(
            "/hours/time_zone",
            "an active campaign needs it: write the IANA name of a place, such as America/New_York",
        ));
    }
    let warnings = match row.state {
        CampaignState::Active => sounds::look(&state, row.id, &settings, &row.trunks)
            .await?
            .map_err(sounds::refusal)?,
        CampaignState::Draft | CampaignState::Paused | CampaignState::Archived => Vec::new(),
    };
    state
        .store
        .set_campaign_settings(CampaignId(id), &settings, state.clock.now().wall)
        .await?;
    changed(&state, id, warnings).await
}

/// Replace a campaign's trunks.
#[utoipa::path(put, path = "/campaigns/{id}/trunks", operation_id = "replace_campaign_trunks", tag = "campaigns",
    request_body = SetTrunks, params(("id" = i64, Path, description = "The campaign")),
    responses((status = 200, body = Campaign), (status = 404, description = "No such campaign"),
        (status = 409, description = "It is archived")))]
pub(super) async fn put_trunks(
    State(state): State<ApiState>,
    Id(id): Id<i64>,
    Json(input): Json<SetTrunks>,
) -> ApiResult<Body<Campaign>> {
    let mut faults = Faults::default();
    let trunks = check_trunks(&mut faults, &input.trunk_ids);
    faults.none()?;
    let row = find(&state, id).await?;
    not_archived(&row)?;
    let warnings = match row.state {
        CampaignState::Active => {
            let what = format!("The trunks of campaign {id} stay as they are");
            sounds::look(&state, row.id, &row.settings, &trunks)
                .await?
                .map_err(|missing| sounds::conflict(row.id, &what, missing))?
        }
        CampaignState::Draft | CampaignState::Paused | CampaignState::Archived => Vec::new(),
    };
    state
        .store
        .set_campaign_trunks(CampaignId(id), &trunks)
        .await
        .map_err(no_trunk)?;
    changed(&state, id, warnings).await
}

/// Activate a campaign.
///
/// From now on its running tasks are dialed. A draft or paused campaign can be activated if it has a trunk, its calling
/// hours have a time zone, and the PBXes of its trunks have the sounds of its settings. If a PBX does not answer within
/// four seconds, `warnings` says so. A second request changes nothing.
#[utoipa::path(post, path = "/campaigns/{id}/activate", operation_id = "activate_campaign", tag = "campaigns",
    params(("id" = i64, Path, description = "The campaign")),
    responses((status = 200, body = Campaign), (status = 404, description = "No such campaign"),
        (status = 409, description = "It is archived, has no trunk, its hours name no time zone, or a PBX lacks a sound")))]
pub(super) async fn activate(State(state): State<ApiState>, Id(id): Id<i64>) -> ApiResult<Body<Campaign>> {
    let row = find(&state, id).await?;
    not_archived(&row)?;
    if let Some(fault) = &row.fault {
        return Err(Problem::conflict(format!(
            "Campaign {id} cannot be activated: {fault} with PUT /api/v1/campaigns/{id}/settings."
        )));
    }
    if row.trunks.is_empty() {
        return Err(Problem::conflict(format!(
            "Campaign {id} has no trunk to dial over. Set one with PUT /api/v1/campaigns/{id}/trunks, then activate it."
        )));
    }
    if row.settings.hours.time_zone.is_none() {
        return Err(Problem::conflict(format!(
            "The calling hours of campaign {id} name no time zone, so nobody knows when its contacts may be called. Set \
             `hours.time_zone` to the IANA name of a place, such as America/New_York, with PUT \
             /api/v1/campaigns/{id}/settings, then activate it."
        )));
    }
    let warnings = match row.state {
        CampaignState::Draft | CampaignState::Paused => {
            let what = format!("Campaign {id} cannot be activated");
            sounds::look(&state, row.id, &row.settings, &row.trunks)
                .await?
                .map_err(|missing| sounds::conflict(row.id, &what, missing))?
        }
        CampaignState::Active | CampaignState::Archived => Vec::new(),
    };
    let Body(campaign) = move_to(
        &state,
        id,
        &[CampaignState::Draft, CampaignState::Paused],
        CampaignState::Active,
    )
    .await?;
    Ok(Body(Campaign { warnings, ..campaign }))
}

/// Pause a campaign.
///
/// Nothing more is launched. Calls that are up go on, and agents stay logged in. A second request changes nothing.
#[utoipa::path(post, path = "/campaigns/{id}/pause", operation_id = "pause_campaign", tag = "campaigns",
    params(("id" = i64, Path, description = "The campaign")),
    responses((status = 200, body = Campaign), (status = 404, description = "No such campaign"),
        (status = 409, description = "It is a draft or archived")))]
pub(super) async fn pause(State(state): State<ApiState>, Id(id): Id<i64>) -> ApiResult<Body<Campaign>> {
    move_to(&state, id, &[CampaignState::Active], CampaignState::Paused).await
}

/// Archive a campaign.
///
/// This is final: the campaign is kept for its records and dials no more. An active campaign must be paused first, its
/// calls must have ended and its agents must be logged out. A second request changes nothing.
#[utoipa::path(post, path = "/campaigns/{id}/archive", operation_id = "archive_campaign", tag = "campaigns",
    params(("id" = i64, Path, description = "The campaign")),
    responses((status = 200, body = Campaign), (status = 404, description = "No such campaign"),
        (status = 409, description = "It is active, or has calls or agents")))]
pub(super) async fn archive(State(state): State<ApiState>, Id(id): Id<i64>) -> ApiResult<Body<Campaign>> {
    find(&state, id).await?;
    let archived = state.store.archive_campaign(CampaignId(id)).await;
    state.dialer.campaign_changed(CampaignId(id)).await;
    let moved = match archived? {
        Archiving::Done => true,
        Archiving::WrongState => false,
        Archiving::InUse => {
            return Err(Problem::conflict(format!(
                "Campaign {id} has calls that are up, or agents logged in: GET /api/v1/campaigns/{id}/live shows both. \
                 Archive it once they are over and logged out."
            )));
        }
    };
    let from = [CampaignState::Draft, CampaignState::Paused];
    is_now(&state, id, moved, &from, CampaignState::Archived).await
}

/// The dialer is notified in any case, so that a repeated request has an effect after a failure.
async fn move_to(
    state: &ApiState,
    id: i64,
    from: &[CampaignState],
    to: CampaignState,
) -> ApiResult<Body<Campaign>> {
    find(state, id).await?;
    let moved = state.store.move_campaign(CampaignId(id), from, to).await;
    state.dialer.campaign_changed(CampaignId(id)).await;
    is_now(state, id, moved?, from, to).await
}

async fn is_now(
    state: &ApiState,
    id: i64,
    moved: bool,
    from: &[CampaignState],
    to: CampaignState,
) -> ApiResult<Body<Campaign>> {
    let now = find(state, id).await?;
    if !moved && now.state != to {
        let from: Vec<&str> = from.iter().map(|state| state.as_str()).collect();
        return Err(Problem::conflict(format!(
            "Campaign {id} is {}; only one that is {} can become {to}.",
            now.state,
            from.join(" or "),
        )));
    }
    Ok(Body(now.into()))
}

async fn changed(state: &ApiState, id: i64, warnings: Vec<ExplainedWarning>) -> ApiResult<Body<Campaign>> {
    state.dialer.campaign_changed(CampaignId(id)).await;
    let campaign = find(state, id).await?.into();
    Ok(Body(Campaign { warnings, ..campaign }))
}

/// The campaign, or 404.
pub(super) async fn find(state: &ApiState, id: i64) -> ApiResult<CampaignRow> {
    state
        .store
        .campaign(CampaignId(id))
        .await?
        .ok_or_else(|| Problem::no("campaign", id))
}

fn not_archived(row: &CampaignRow) -> ApiResult<()> {
    if row.state == CampaignState::Archived {
        let detail = format!(
            "Campaign {} is archived, and stays as it is. Create another one.",
            row.id
        );
        return Err(Problem::conflict(detail));
    }
    Ok(())
}

fn check_settings(faults: &mut Faults, at: &str, settings: &CampaignSettings) {
    if let Err(SettingError { setting, fault }) = settings.check() {
        faults.add(format!("{at}/{setting}"), fault.to_string());
    }
}

fn check_trunks(faults: &mut Faults, ids: &[i64]) -> Vec<TrunkId> {
    if ids.len() > TRUNKS_MAX {
        faults.add("/trunk_ids", format!("at most {TRUNKS_MAX} trunks"));
    }
    for (n, id) in ids.iter().enumerate().take(TRUNKS_MAX) {
        if ids.iter().take(n).any(|earlier| earlier == id) {
            faults.add(format!("/trunk_ids/{n}"), "named before; each trunk once");
        }
    }
    ids.iter().copied().map(TrunkId).collect()
}

fn no_trunk(error: StoreError) -> Problem {
    match error {
        StoreError::NoTrunk { index } => Problem::invalid(
            "Nothing was changed. GET /api/v1/trunks lists the trunks that there are.",
            vec![Fault::body(
                format!("/trunk_ids/{index}"),
                "there is no such trunk",
            )],
        ),
        error => error.into(),
    }
}
