//! Attempts: every try to reach a number, with its legs, recordings and the decisions before it.

use super::check;
use super::contacts::why::Decision;
use super::extract::{Id, Json, Query};
use super::page::{Page, Window};
use super::problem::{ApiResult, Fault, Kind, Problem};
use super::recordings::Recording;
use super::words::Utc;
use super::{ApiState, Caller, agents};
use crate::store::{AttemptFilter, AttemptRow, LegRow};
use axum::Json as Body;
use axum::extract::State;
use paceline_core::contact::NumberKind;
use paceline_core::ids::{AgentId, AttemptId, CampaignId, ContactId, TaskId};
use paceline_core::outcome::{MessageResult, Outcome};
use paceline_core::pbx::{EndedBy, Progress};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A try to reach a number.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Attempt {
    /// Its id.
    id: Uuid,
    /// Under which campaign.
    #[schema(example = 1)]
    campaign_id: i64,
    /// The task.
    #[schema(example = 42)]
    task_id: i64,
    /// To reach whom.
    #[schema(example = 1234)]
    contact_id: i64,
    /// In E.164; all but the last two digits masked, unless the key may see numbers.
    #[schema(example = "+*********23")]
    number: String,
    /// Which of the contact's numbers that is, from 1 in their order; null where the contact has it no more.
    #[schema(example = 1)]
    number_place: Option<u32>,
    /// What kind of line it is.
    number_kind: Option<NumberKind>,
    /// What it was called where it is from.
    #[schema(example = "Home Phone")]
    number_label: Option<String>,
    /// 1 for the contact's first attempt in the task.
    #[schema(example = 1)]
    ordinal: u32,
    /// When it was stored, just before it was dialed.
    created_at: Utc,
    /// When it was answered.
    answered_at: Option<Utc>,
    /// When the callee was connected with the agent.
    connected_at: Option<Utc>,
    /// When the callee was given up as abandoned. Null where an agent was there, and where the callee hung up before; then
    /// `connected_at`, `ended_at` and `outcome` tell the abandon rules what it counts as.
    abandoned_at: Option<Utc>,
    /// With which agent.
    #[schema(example = 3)]
    agent_id: Option<i64>,
    /// When it was over.
    ended_at: Option<Utc>,
    /// What the line did; null while it is going on.
    outcome: Option<Outcome>,
    /// What the agent says of the conversation.
    #[schema(example = "success")]
    disposition: Option<String>,
    /// What a person heard of the campaign's message whom no agent took in time.
    message: Option<MessageResult>,
    /// When the PBX was asked to play it.
    message_at: Option<Utc>,
}

impl Attempt {
    /// As this caller may see it.
    pub(super) fn new(row: AttemptRow, caller: Caller) -> Self {
        Self {
            id: row.id.0,
            campaign_id: row.campaign.0,
            task_id: row.task.0,
            contact_id: row.contact.0,
            number: caller.show(&row.number),
            number_place: row.number_place,
            number_kind: row.number_kind,
            number_label: row.number_label,
            ordinal: row.ordinal,
            created_at: Utc(row.created_at),
            answered_at: row.answered_at.map(Utc),
            connected_at: row.connected_at.map(Utc),
            abandoned_at: row.abandoned_at.map(Utc),
            agent_id: row.agent.map(|id| id.0),
            ended_at: row.ended_at.map(Utc),
            outcome: row.outcome,
            disposition: row.disposition,
            message: row.message,
            message_at: row.message_at.map(Utc),
        }
    }
}

/// One originate of an attempt over one trunk.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Leg {
    /// Its id, which is the channel's id on the PBX.
    id: Uuid,
    /// The PBX.
    #[schema(example = "pbx1")]
    pbx: String,
    /// The trunk.
    #[schema(example = 1)]
    trunk_id: i64,
    /// When it was stored, just before it was dialed.
    created_at: Utc,
    /// The first sign of life before an answer.
    progress: Option<Progress>,
    /// When that was.
    progress_at: Option<Utc>,
    /// When it was answered.
    answered_at: Option<Utc>,
    /// When it was over.
    ended_at: Option<Utc>,
    /// Who or what ended it. A leg can end before its attempt: while `outcome` is null, the trunk is being judged by other legs.
    ended_by: Option<EndedBy>,
    /// Q.850 cause, where the PBX gave one.
    #[schema(example = 16)]
    q850: Option<u16>,
    /// Final SIP status, where the PBX gave one.
    #[schema(example = json!(null))]
    sip: Option<u16>,
    /// The PBX's own words.
    #[schema(example = json!(null))]
    detail: Option<String>,
}

impl From<LegRow> for Leg {
    fn from(row: LegRow) -> Self {
        Self {
            id: row.id.0,
            pbx: row.pbx.as_str().to_owned(),
            trunk_id: row.trunk.0,
            created_at: Utc(row.created_at),
            progress: row.progress,
            progress_at: row.progress_at.map(Utc),
            answered_at: row.answered_at.map(Utc),
            ended_at: row.ended_at.map(Utc),
            ended_by: row.ended_by,
            q850: row.q850,
            sip: row.sip,
            detail: row.detail,
        }
    }
}

/// An attempt with all that is known of it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct AttemptDetail {
    #[serde(flatten)]
    attempt: Attempt,
    /// Its legs, the first one first.
    legs: Vec<Leg>,
    /// Its recordings.
    recordings: Vec<Recording>,
    /// The gate's decisions that led to it, the newest first.
    decisions: Vec<Decision>,
}

/// What the agent says of a conversation.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetDisposition {
    /// A team's own word: 1 to 40 lower-case letters, digits or `_`. `dnc` also puts the number on the do-not-call list.
    #[schema(example = "success")]
    pub(super) disposition: String,
}

/// Which attempts.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListAttempts {
    /// Only under this campaign.
    campaign_id: Option<i64>,
    /// Only for this task.
    task_id: Option<i64>,
    /// Only to reach this contact.
    contact_id: Option<i64>,
    /// Only with this agent.
    agent_id: Option<i64>,
    /// Only with this outcome.
    outcome: Option<Outcome>,
    /// Only with this disposition.
    disposition: Option<String>,
    /// Only created at or after this moment.
    created_from: Option<Utc>,
    /// Only created before this moment.
    created_until: Option<Utc>,
    /// Items on a page, 1 to 200; 50 if left out.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List attempts, the newest first.
#[utoipa::path(get, path = "/attempts", operation_id = "list_attempts", tag = "attempts", params(ListAttempts),
    responses((status = 200, body = Page<Attempt>)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<ListAttempts>,
) -> ApiResult<Body<Page<Attempt>>> {
    if let Some(word) = &query.disposition {
        check::disposition(word).map_err(|detail| {
            Problem::new(Kind::BadParameter, "Correct `disposition`, or leave it out.")
                .with_errors(vec![Fault::parameter("disposition", detail)])
        })?;
    }
    let window = Window::<Uuid>::new("attempts", query.limit, query.cursor.as_deref())?;
    let filter = AttemptFilter {
        campaign: query.campaign_id.map(CampaignId),
        task: query.task_id.map(TaskId),
        contact: query.contact_id.map(ContactId),
        agent: query.agent_id.map(AgentId),
        outcome: query.outcome,
        disposition: query.disposition,
        created_from: query.created_from.map(|at| at.0),
        created_until: query.created_until.map(|at| at.0),
    };
    let rows = state
        .store
        .attempts(&filter, window.after.map(AttemptId), window.fetch())
        .await?;
    Ok(Body(window.page(
        rows,
        |row| row.id.0,
        |row| Attempt::new(row, caller),
    )))
}

/// Get an attempt with its legs, recordings and decisions.
#[utoipa::path(get, path = "/attempts/{id}", operation_id = "get_attempt", tag = "attempts",
    params(("id" = Uuid, Path, description = "The attempt")),
    responses((status = 200, body = AttemptDetail), (status = 404, description = "No such attempt")))]
pub(super) async fn get(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id<Uuid>,
) -> ApiResult<Body<AttemptDetail>> {
    let row = find(&state, id).await?;
    let legs = state.store.legs_of_attempt(row.id).await?;
    let recordings = state
        .store
        .recordings(Some(row.id), None, i64::from(super::page::LIMIT_MAX))
        .await?;
    let decisions = state
        .store
        .decisions_of_attempt(row.contact, row.task, row.id)
        .await?;
    Ok(Body(AttemptDetail {
        attempt: Attempt::new(row, caller),
        legs: legs.into_iter().map(Leg::from).collect(),
        recordings: recordings.into_iter().map(Recording::from).collect(),
        decisions: decisions.into_iter().map(Decision::from).collect(),
    }))
}

/// Set an attempt's disposition.
///
/// Only where an agent was connected. Ends the agent's wrap-up, where this is the call that it follows.
#[utoipa::path(put, path = "/attempts/{id}/disposition", operation_id = "set_attempt_disposition", tag = "attempts",
    request_body = SetDisposition, params(("id" = Uuid, Path, description = "The attempt")),
    responses((status = 200, body = Attempt), (status = 404, description = "No such attempt"),
        (status = 409, description = "No agent was connected")))]
pub(super) async fn put_disposition(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id<Uuid>,
    Json(input): Json<SetDisposition>,
) -> ApiResult<Body<Attempt>> {
    let row = find(&state, id).await?;
    if let Some(agent) = row.agent {
        caller.must_act_for(agent)?;
    }
    let row = dispose(&state, row, &input.disposition).await?;
    Ok(Body(Attempt::new(row, caller)))
}

/// Stores what the agent says of it, with all that follows from that.
pub(super) async fn dispose(state: &ApiState, row: AttemptRow, disposition: &str) -> ApiResult<AttemptRow> {
    check::disposition(disposition).map_err(|detail| Problem::field("/disposition", detail))?;
    let Some(agent) = row.agent else {
        return Err(Problem::conflict(format!(
            "Attempt {} was never connected with an agent, so there is no conversation to give a disposition of.",
            row.id
        )));
    };
    let changed = state
        .store
        .set_disposition(row.id, disposition, state.clock.now().wall)
        .await?;
    let row = changed.ok_or_else(|| Problem::no("attempt", row.id))?;
    agents::end_wrap_up(state, row.campaign, agent, row.id).await;
    Ok(row)
}

async fn find(state: &ApiState, id: Uuid) -> ApiResult<AttemptRow> {
    state
        .store
        .attempt(AttemptId(id))
        .await?
        .ok_or_else(|| Problem::no("attempt", id))
}
