//! Agents: their data, and their requests to the dialer.

use super::attempts::{Attempt, SetDisposition, dispose};
use super::check::{self, Faults};
use super::control::AgentRefusal;
use super::extract::{Id, Json, Query};
use super::page::{Page, PageQuery, Window};
use super::problem::{ApiResult, Problem};
use super::words::Utc;
use super::{ApiState, Caller};
use crate::store::{AgentRow, AttemptRow, Deleted, NewAgent, StoreError};
use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;
use paceline_core::agent::{AgentReason, AgentState, Wants};
use paceline_core::campaign::CampaignState;
use paceline_core::dial::Extension;
use paceline_core::engine::EngineError;
use paceline_core::ids::{AgentId, AttemptId, CampaignId};
use paceline_core::input::{AgentRequest, Asker};
use serde::{Deserialize, Serialize};
use tracing::warn;

/// A person who talks with callees.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Agent {
    /// The agent's id.
    #[schema(example = 3)]
    id: i64,
    /// The agent's name.
    #[schema(example = "agent-3")]
    name: String,
    /// The configured PBX of the agent's phone.
    #[schema(example = "pbx1")]
    pbx: String,
    /// The extension of the phone; it replaces `{extension}` in the PBX's `agent_dial`.
    #[schema(example = "203")]
    extension: String,
    /// The present state of the agent.
    state: AgentState,
    /// The reason of this state.
    state_reason: AgentReason,
    /// Start of this state.
    state_since: Utc,
    /// The campaign that the agent is logged in to. Null if the agent is offline.
    #[schema(example = 1)]
    campaign_id: Option<i64>,
    /// The agent's request for the time after the present call.
    wants: Wants,
}

impl Agent {
    /// The row follows an event a moment later, so what the dialer knows about the agent has priority.
    fn new(state: &ApiState, row: AgentRow) -> Self {
        let campaign = state.dialer.campaign_of(row.id);
        let live = campaign.and_then(|campaign| state.dialer.live(campaign));
        let live = live.and_then(|live| live.agents.iter().find(|a| a.agent == row.id).cloned());
        let (now, reason, since) = match live {
            Some(live) => (live.state, live.reason, live.since_ms),
            None => (row.state, row.reason, row.state_at),
        };
        Self {
            id: row.id.0,
            name: row.name,
            pbx: row.pbx.as_str().to_owned(),
            extension: row.extension,
            state: now,
            state_reason: reason,
            state_since: Utc(since),
            campaign_id: campaign.or(row.campaign).map(|id| id.0),
            wants: row.wants,
        }
    }
}

/// The data of an agent.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AgentInput {
    /// The agent's name, unique; 1 to 200 characters.
    #[schema(example = "agent-3")]
    name: String,
    /// The configured PBX of the agent's phone.
    #[schema(example = "pbx1")]
    pbx: String,
    /// The extension of the phone: 1 to 64 letters, digits, `-`, `_` or `.`; unique on its PBX. At most 7 digits if a dialplan
    /// reads it (`agent_dial` begins with `Local/` or `loopback/`), or `agent_digits_max` of the PBX in paceline.toml.
    #[schema(example = "203")]
    extension: String,
}

impl AgentInput {
    fn check(self, state: &ApiState) -> ApiResult<NewAgent> {
        let mut faults = Faults::default();
        faults.name("/name", &self.name);
        let pbx = faults.take("/pbx", check::pbx(state, &self.pbx));
        let extension = faults.take("/extension", Extension::new(&self.extension));
        if let (Some(pbx), Some(extension)) = (&pbx, &extension)
            && let Some(known) = state.dialer.pbxes().iter().find(|known| known.name == *pbx)
        {
            let permitted = known.dial_allowed.permit_agent(&known.agent_dial, extension);
            faults.take("/extension", permitted);
        }
        faults.none()?;
        let (Some(pbx), Some(extension)) = (pbx, extension) else {
            return Err(Problem::internal(anyhow::anyhow!("a checked agent lacks a part")));
        };
        Ok(NewAgent {
            name: self.name,
            pbx,
            extension,
        })
    }
}

/// The campaign to log in to.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogIn {
    /// The id of the campaign whose calls the agent takes.
    #[schema(example = 1)]
    campaign_id: i64,
}

/// List agents.
#[utoipa::path(get, path = "/agents", operation_id = "list_agents", tag = "agents", params(PageQuery),
    responses((status = 200, body = Page<Agent>)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    Query(query): Query<PageQuery>,
) -> ApiResult<Body<Page<Agent>>> {
    let window = Window::new("agents", query.limit, query.cursor.as_deref())?;
    let rows = state
        .store
        .agents(window.after.map(AgentId), window.fetch())
        .await?;
    Ok(Body(window.page_of(
        rows,
        |row| row.id.0,
        |row| Agent::new(&state, row),
    )))
}

/// Create an agent.
#[utoipa::path(post, path = "/agents", operation_id = "create_agent", tag = "agents", request_body = AgentInput,
    responses((status = 201, body = Agent)))]
pub(super) async fn create(
    State(state): State<ApiState>,
    Json(input): Json<AgentInput>,
) -> ApiResult<(StatusCode, Body<Agent>)> {
    let new = input.check(&state)?;
    let row = state
        .store
        .create_agent(&new, state.clock.now().wall)
        .await
        .map_err(taken)?;
    Ok((StatusCode::CREATED, Body(Agent::new(&state, row))))
}

/// Get an agent.
#[utoipa::path(get, path = "/agents/{id}", operation_id = "get_agent", tag = "agents",
    params(("id" = i64, Path, description = "The agent")),
    responses((status = 200, body = Agent), (status = 404, description = "No such agent")))]
pub(super) async fn get(State(state): State<ApiState>, Id(id): Id<i64>) -> ApiResult<Body<Agent>> {
    Ok(Body(Agent::new(&state, find(&state, id).await?)))
}

/// Replace an agent.
///
/// Only while the agent is offline, because the phone is in use otherwise.
#[utoipa::path(put, path = "/agents/{id}", operation_id = "replace_agent", tag = "agents", request_body = AgentInput,
    params(("id" = i64, Path, description = "The agent")),
    responses((status = 200, body = Agent), (status = 404, description = "No such agent"),
        (status = 409, description = "The agent is logged in")))]
pub(super) async fn put(
    State(state): State<ApiState>,
    Id(id): Id<i64>,
    Json(input): Json<AgentInput>,
) -> ApiResult<Body<Agent>> {
    let new = input.check(&state)?;
    offline(&state, find(&state, id).await?.id)?;
    let replaced = state
        .store
        .replace_agent(AgentId(id), &new)
        .await
        .map_err(taken)?;
    let row = replaced.ok_or_else(|| logged_in(AgentId(id)))?;
    Ok(Body(Agent::new(&state, row)))
}

/// Delete an agent.
///
/// Only while the agent is offline. Records of conversations keep the agent's id.
#[utoipa::path(delete, path = "/agents/{id}", operation_id = "delete_agent", tag = "agents",
    params(("id" = i64, Path, description = "The agent")),
    responses((status = 204, description = "It is gone"), (status = 404, description = "No such agent"),
        (status = 409, description = "The agent is logged in")))]
pub(super) async fn delete(State(state): State<ApiState>, Id(id): Id<i64>) -> ApiResult<StatusCode> {
    offline(&state, AgentId(id))?;
    match state.store.delete_agent(AgentId(id)).await? {
        Deleted::Done => Ok(StatusCode::NO_CONTENT),
        Deleted::Missing => Err(Problem::no("agent", id)),
        Deleted::InUse => Err(logged_in(AgentId(id))),
    }
}

/// Log an agent in.
///
/// The agent's phone rings. Once answered it is held, and calls are connected to it at once. The response comes as soon as
/// the campaign has the request; the agent's `state` shows the result.
#[utoipa::path(post, path = "/agents/{id}/log-in", operation_id = "log_agent_in", tag = "agents", request_body = LogIn,
    params(("id" = i64, Path, description = "The agent")),
    responses((status = 202, body = Agent), (status = 404, description = "No such agent"),
        (status = 409, description = "Logged in already, or the campaign is not running")))]
pub(super) async fn log_in(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id<i64>,
    Json(input): Json<LogIn>,
) -> ApiResult<(StatusCode, Body<Agent>)> {
    caller.must_act_for(AgentId(id))?;
    let row = find(&state, id).await?;
    offline(&state, row.id)?;
    let campaign = match state.store.campaign(CampaignId(input.campaign_id)).await? {
        Some(campaign) => campaign,
        None => {
            return Err(Problem::field(
                "/campaign_id",
                "there is no such campaign; GET /api/v1/campaigns lists them",
            ));
        }
    };
    if !matches!(campaign.state, CampaignState::Active | CampaignState::Paused) {
        let id = campaign.id;
        return Err(Problem::conflict(format!(
            "Campaign {id} is {}: nobody can work in it. Activate it with POST /api/v1/campaigns/{id}/activate.",
            campaign.state
        )));
    }
    let pbx = state.dialer.pbxes().into_iter().find(|pbx| pbx.name == row.pbx).ok_or_else(|| {
        Problem::conflict(format!(
            "The agent's PBX `{}` is not configured any more. Add it to paceline.toml, or move the agent to another one.",
            row.pbx
        ))
    })?;
    let undialable = |fault: &dyn std::fmt::Display| {
        Problem::conflict(format!(
            "The agent's extension in the store cannot be dialed: {fault}. Set another with PUT /api/v1/agents/{id}."
        ))
    };
    let extension = Extension::new(&row.extension).map_err(|fault| undialable(&fault))?;
    let permitted = pbx.dial_allowed.permit_agent(&pbx.agent_dial, &extension);
    permitted.map_err(|fault| undialable(&fault))?;
    let request = AgentRequest::LogIn {
        pbx: row.pbx.clone(),
        template: pbx.agent_dial,
        extension,
    };
    ask(&state, campaign.id, row.id, request).await
}

/// Log an agent out.
///
/// During a call the agent is logged out after it.
#[utoipa::path(post, path = "/agents/{id}/log-out", operation_id = "log_agent_out", tag = "agents",
    params(("id" = i64, Path, description = "The agent")),
    responses((status = 202, body = Agent), (status = 404, description = "No such agent"),
        (status = 409, description = "Not logged in")))]
pub(super) async fn log_out(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id<i64>,
) -> ApiResult<(StatusCode, Body<Agent>)> {
    let by = match caller.agent {
        Some(_) => Asker::Agent,
        None => Asker::Supervisor,
    };
    ask_where_logged_in(&state, caller, id, AgentRequest::LogOut { by }).await
}

/// Make an agent ready.
///
/// The agent takes calls from now on. This ends wrap-up and a pause.
#[utoipa::path(post, path = "/agents/{id}/ready", operation_id = "make_agent_ready", tag = "agents",
    params(("id" = i64, Path, description = "The agent")),
    responses((status = 202, body = Agent), (status = 404, description = "No such agent"),
        (status = 409, description = "Not logged in")))]
pub(super) async fn ready(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id<i64>,
) -> ApiResult<(StatusCode, Body<Agent>)> {
    ask_where_logged_in(&state, caller, id, AgentRequest::Ready).await
}

/// Pause an agent.
///
/// The agent takes no calls until it is ready again. During a call the pause begins after it.
#[utoipa::path(post, path = "/agents/{id}/pause", operation_id = "pause_agent", tag = "agents",
    params(("id" = i64, Path, description = "The agent")),
    responses((status = 202, body = Agent), (status = 404, description = "No such agent"),
        (status = 409, description = "Not logged in")))]
pub(super) async fn pause(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id<i64>,
) -> ApiResult<(StatusCode, Body<Agent>)> {
    ask_where_logged_in(&state, caller, id, AgentRequest::Pause).await
}

/// Give a disposition for an agent's present or last conversation.
///
/// This ends the agent's wrap-up after the conversation.
#[utoipa::path(post, path = "/agents/{id}/disposition", operation_id = "dispose_of_conversation", tag = "agents",
    request_body = SetDisposition, params(("id" = i64, Path, description = "The agent")),
    responses((status = 200, body = Attempt), (status = 404, description = "No such agent"),
        (status = 409, description = "The agent has had no conversation yet")))]
pub(super) async fn disposition(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id<i64>,
    Json(input): Json<SetDisposition>,
) -> ApiResult<Body<Attempt>> {
    caller.must_act_for(AgentId(id))?;
    let agent = find(&state, id).await?;
    let last = match present_conversation(&state, agent.id) {
        // The store may learn a moment later which agent the attempt was connected to.
        Some(attempt) => state.store.attempt(attempt).await?.map(|row| AttemptRow {
            agent: Some(agent.id),
            ..row
        }),
        None => state.store.last_attempt_of_agent(agent.id).await?,
    };
    let attempt =
        last.ok_or_else(|| Problem::conflict(format!("Agent {id} has had no conversation yet.")))?;
    let row = dispose(&state, caller, attempt, &input.disposition).await?;
    Ok(Body(Attempt::new(row, caller)))
}

/// The attempt of the agent's present conversation or wrap-up.
fn present_conversation(state: &ApiState, agent: AgentId) -> Option<AttemptId> {
    let live = state.dialer.live(state.dialer.campaign_of(agent)?)?;
    let live = live.agents.iter().find(|live| live.agent == agent)?;
    let talks = matches!(live.state, AgentState::OnCall | AgentState::WrapUp);
    live.attempt.filter(|_| talks)
}

/// Ends the agent's wrap-up, if it is the one after this attempt.
pub(super) async fn end_wrap_up(state: &ApiState, campaign: CampaignId, agent: AgentId, attempt: AttemptId) {
    let live = state.dialer.live(campaign);
    let wraps_up = live.is_some_and(|live| {
        let here = |a: &&paceline_core::live::LiveAgent| a.agent == agent && a.attempt == Some(attempt);
        live.agents
            .iter()
            .find(here)
            .is_some_and(|a| a.state == AgentState::WrapUp)
    });
    if !wraps_up {
        return;
    }
    // Wrap-up ends by itself, so a refusal costs a few seconds and is no reason to fail the request.
    if let Err(refusal) = state.dialer.agent(campaign, agent, AgentRequest::EndWrapUp).await {
        warn!(agent.id = %agent, error = %refusal, "the disposition of agent {agent} is stored, but its wrap-up goes on");
    }
}

/// End an agent's conversation.
///
/// The callee is hung up. The agent's own phone stays on the line, in wrap-up.
#[utoipa::path(post, path = "/agents/{id}/hang-up", operation_id = "hang_up_for_agent", tag = "agents",
    params(("id" = i64, Path, description = "The agent")),
    responses((status = 202, body = Agent), (status = 404, description = "No such agent"),
        (status = 409, description = "Not on a call")))]
pub(super) async fn hang_up(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id<i64>,
) -> ApiResult<(StatusCode, Body<Agent>)> {
    ask_where_logged_in(&state, caller, id, AgentRequest::HangUp).await
}

async fn ask_where_logged_in(
    state: &ApiState,
    caller: Caller,
    id: i64,
    request: AgentRequest,
) -> ApiResult<(StatusCode, Body<Agent>)> {
    caller.must_act_for(AgentId(id))?;
    let row = find(state, id).await?;
    let campaign = state.dialer.campaign_of(row.id).ok_or_else(|| {
        Problem::conflict(format!(
            "Agent {id} is not logged in. Log in with POST /api/v1/agents/{id}/log-in {{\"campaign_id\": …}}."
        ))
    })?;
    ask(state, campaign, row.id, request).await
}

async fn ask(
    state: &ApiState,
    campaign: CampaignId,
    agent: AgentId,
    request: AgentRequest,
) -> ApiResult<(StatusCode, Body<Agent>)> {
    state.dialer.agent(campaign, agent, request).await.map_err(|refusal| match refusal {
        AgentRefusal::NotRunning => Problem::conflict(format!(
            "Campaign {campaign} is not running. Activate it with POST /api/v1/campaigns/{campaign}/activate."
        )),
        AgentRefusal::Stopping => Problem::unavailable("Paceline is stopping. Try again once it is back.", 10),
        AgentRefusal::Engine(EngineError::Draining) => {
            Problem::unavailable("Paceline is stopping. Try again once it is back.", 10)
        }
        AgentRefusal::Engine(error @ (EngineError::NotLoggedIn(_) | EngineError::OtherPhone(_) | EngineError::NotOnCall(_))) => {
            Problem::conflict(format!("{error}."))
        }
        refusal @ AgentRefusal::LoggedInElsewhere(_) => Problem::conflict(format!("{refusal}.")),
        AgentRefusal::Engine(error @ EngineError::NotAsked(_)) => Problem::internal(error),
        AgentRefusal::Busy => Problem::unavailable("The campaign has no time for this now. Try again in a second.", 1),
    })?;
    Ok((
        StatusCode::ACCEPTED,
        Body(Agent::new(state, find(state, agent.0).await?)),
    ))
}

async fn find(state: &ApiState, id: i64) -> ApiResult<AgentRow> {
    state
        .store
        .agent(AgentId(id))
        .await?
        .ok_or_else(|| Problem::no("agent", id))
}

fn offline(state: &ApiState, agent: AgentId) -> ApiResult<()> {
    match state.dialer.campaign_of(agent) {
        Some(_) => Err(logged_in(agent)),
        None => Ok(()),
    }
}

fn logged_in(agent: AgentId) -> Problem {
    Problem::conflict(format!(
        "Agent {agent} is logged in. Log out first with POST /api/v1/agents/{agent}/log-out."
    ))
}

fn taken(error: StoreError) -> Problem {
    match error {
        StoreError::Taken => Problem::field("", "another agent has this name, or this extension on this PBX"),
        error => error.into(),
    }
}
