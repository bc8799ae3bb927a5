//! Attempts to reach a number, with their legs, their recordings and the decisions of the gate.

use super::check;
use super::contacts::why::Decision;
use super::extract::{Id, Json, Query};
use super::page::{Page, Window};
use super::problem::{ApiResult, Fault, Kind, Problem};
use super::recordings::Recording;
use super::words::Utc;
use super::{ApiState, Caller, agents};
use crate::store::{AttemptFilter, AttemptRow, LegRow, NewDnc};
use axum::Json as Body;
use axum::extract::State;
use paceline_core::campaign::suppression::SuppressionSettings;
use paceline_core::contact::NumberKind;
use paceline_core::ids::{AgentId, AttemptId, CampaignId, ContactId, TaskId};
use paceline_core::outcome::{MessageResult, Outcome};
use paceline_core::pbx::{EndedBy, Progress};
use paceline_core::suppression::DncSource;
use paceline_core::time::Wall;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One try to reach one number.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Attempt {
    /// The attempt's id.
    id: Uuid,
    /// The campaign's id.
    #[schema(example = 1)]
    campaign_id: i64,
    /// The task's id.
    #[schema(example = 42)]
    task_id: i64,
    /// The contact's id.
    #[schema(example = 1234)]
    contact_id: i64,
    /// The dialed number in E.164. All digits but the last two are masked, unless the key may see numbers.
    #[schema(example = "+*********23")]
    number: String,
    /// Place of the number among the contact's numbers, from 1. Null if the contact no longer has it.
    #[schema(example = 1)]
    number_place: Option<u32>,
    /// The kind of line of the number. Null if unknown.
    number_kind: Option<NumberKind>,
    /// The number's label in the system or file that it comes from.
    #[schema(example = "Home Phone")]
    number_label: Option<String>,
    /// Number of the attempt among the contact's attempts in the task, from 1.
    #[schema(example = 1)]
    ordinal: u32,
    /// The time when Paceline stored the attempt, just before it dialed.
    created_at: Utc,
    /// The time of the answer. Null if nobody has answered.
    answered_at: Option<Utc>,
    /// The time when the callee was connected with an agent. Null if that did not happen.
    connected_at: Option<Utc>,
    /// The time when Paceline gave the call up as abandoned. Null if an agent was connected, and null if the callee
    /// hung up before that; then the abandon rules count the call by `connected_at`, `ended_at` and `outcome`.
    abandoned_at: Option<Utc>,
    /// The agent who was connected. Null if none was.
    #[schema(example = 3)]
    agent_id: Option<i64>,
    /// The time of the attempt's end. Null while it goes on.
    ended_at: Option<Utc>,
    /// The outcome of the attempt. Null while it goes on.
    outcome: Option<Outcome>,
    /// The agent's result of the conversation. Null if none was set.
    #[schema(example = "success")]
    disposition: Option<String>,
    /// The result of the message that the campaign plays to the callee of an abandoned call. Null if no message has
    /// ended.
    message: Option<MessageResult>,
    /// The time when Paceline told the PBX to play the message.
    message_at: Option<Utc>,
}

impl Attempt {
    /// The attempt as this caller may see it: numbers are masked if the key may not see them.
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
    /// The leg's id, which is also the channel's id on the PBX.
    id: Uuid,
    /// The configured name of the PBX.
    #[schema(example = "pbx1")]
    pbx: String,
    /// The trunk's id.
    #[schema(example = 1)]
    trunk_id: i64,
    /// The time when Paceline stored the leg, just before it dialed.
    created_at: Utc,
    /// The first progress before an answer. Null if there was none.
    progress: Option<Progress>,
    /// The time of that progress.
    progress_at: Option<Utc>,
    /// The time of the answer. Null if nobody has answered.
    answered_at: Option<Utc>,
    /// The time of the leg's end. Null while it is up.
    ended_at: Option<Utc>,
    /// The party or the cause that ended the leg. A leg can end before its attempt: while the attempt's `outcome` is
    /// null, Paceline is using other legs to find out whether the trunk failed.
    ended_by: Option<EndedBy>,
    /// Q.850 cause of the end. Null if the PBX gave none.
    #[schema(example = 16)]
    q850: Option<u16>,
    /// Final SIP status. Null if the PBX gave none.
    #[schema(example = json!(null))]
    sip: Option<u16>,
    /// The text that the PBX gave. Null if it gave none.
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

/// An attempt with its legs, recordings and decisions.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct AttemptDetail {
    #[serde(flatten)]
    attempt: Attempt,
    /// The attempt's legs, the first one first.
    legs: Vec<Leg>,
    /// The attempt's recordings.
    recordings: Vec<Recording>,
    /// The gate's decisions that led to the attempt, the newest first.
    decisions: Vec<Decision>,
}

/// The disposition of a conversation.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetDisposition {
    /// A word that the team chooses: 1 to 40 lower-case letters, digits or `_`. `dnc` also puts the number on the
    /// do-not-call list of every campaign, and `refused` does so for the campaign's `suppression.refusal_days`. Unanswered
    /// calls to the number are cancelled.
    #[schema(example = "success")]
    pub(super) disposition: String,
}

/// Filters of the list of attempts.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListAttempts {
    /// Only attempts of this campaign.
    campaign_id: Option<i64>,
    /// Only attempts of this task.
    task_id: Option<i64>,
    /// Only attempts to reach this contact.
    contact_id: Option<i64>,
    /// Only attempts that were connected with this agent.
    agent_id: Option<i64>,
    /// Only attempts with this outcome.
    outcome: Option<Outcome>,
    /// Only attempts with this disposition.
    disposition: Option<String>,
    /// Only attempts created at or after this time.
    created_from: Option<Utc>,
    /// Only attempts created before this time.
    created_until: Option<Utc>,
    /// Items on a page, 1 to 200. Default 50.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before. The first page if left out.
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
/// Only possible if an agent was connected. It ends the agent's wrap-up if this attempt is the call before that
/// wrap-up.
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
    let row = dispose(&state, caller, row, &input.disposition).await?;
    Ok(Body(Attempt::new(row, caller)))
}

/// Stores the disposition, and the opt-out if it is one. It also ends the agent's wrap-up after this call.
pub(super) async fn dispose(
    state: &ApiState,
    caller: Caller,
    row: AttemptRow,
    disposition: &str,
) -> ApiResult<AttemptRow> {
    check::disposition(disposition).map_err(|detail| Problem::field("/disposition", detail))?;
    let Some(agent) = row.agent else {
        return Err(Problem::conflict(format!(
            "Attempt {} was never connected with an agent, so there is no conversation to give a disposition of.",
            row.id
        )));
    };
    let campaign = state.store.campaign(row.campaign).await?;
    let suppression = campaign
        .map(|campaign| campaign.settings.suppression)
        .unwrap_or_default();
    let now = state.clock.now().wall;
    let entry = opt_out(disposition, &suppression, now).map(|entry| NewDnc {
        api_key: Some(caller.key),
        agent: Some(agent),
        attempt: Some(row.id),
        ..entry
    });
    let changed = state
        .store
        .set_disposition(row.id, disposition, entry.as_ref())
        .await?;
    let row = changed.ok_or_else(|| Problem::no("attempt", row.id))?;
    if entry.is_some() {
        state.dialer.suppression_changed().await;
    }
    agents::end_wrap_up(state, row.campaign, agent, row.id).await;
    Ok(row)
}

/// The do-not-call entry for a disposition that is an opt-out.
fn opt_out(disposition: &str, settings: &SuppressionSettings, now: Wall) -> Option<NewDnc<'static>> {
    match disposition {
        "dnc" => Some(NewDnc::new(DncSource::Agent, "an agent's disposition: dnc", now)),
        "refused" => settings.refusal_pause().map(|pause| NewDnc {
            expires_at: Some(now.plus(pause)),
            ..NewDnc::new(DncSource::Agent, "an agent's disposition: refused", now)
        }),
        _ => None,
    }
}

async fn find(state: &ApiState, id: Uuid) -> ApiResult<AttemptRow> {
    state
        .store
        .attempt(AttemptId(id))
        .await?
        .ok_or_else(|| Problem::no("attempt", id))
}
