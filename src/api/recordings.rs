//! Recordings: which there are, and which could not be made. The files stay on the PBX.

use super::ApiState;
use super::extract::Query;
use super::page::{Page, Window};
use super::problem::ApiResult;
use super::words::Utc;
use crate::store::RecordingRow;
use axum::Json as Body;
use axum::extract::State;
use paceline_core::ids::AttemptId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A recording of a conversation.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Recording {
    /// Its name on the PBX, without extension.
    #[schema(example = "0198a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b")]
    name: String,
    /// The attempt of the conversation.
    attempt_id: Uuid,
    /// The agent of the conversation.
    #[schema(example = 3)]
    agent_id: i64,
    /// The PBX that has the file.
    #[schema(example = "pbx1")]
    pbx: String,
    /// `asked`: requested from the PBX; `running`; `complete`; `failed`.
    #[schema(example = "complete")]
    state: String,
    /// Time of the request.
    asked_at: Utc,
    /// Time of the start.
    started_at: Option<Utc>,
    /// Time of the end, or of the failure.
    ended_at: Option<Utc>,
    /// Length, if the PBX reports it.
    #[schema(example = 61000)]
    duration_ms: Option<u64>,
    /// The PBX's reason for a failure.
    #[schema(example = json!(null))]
    failure: Option<String>,
}

impl From<RecordingRow> for Recording {
    fn from(row: RecordingRow) -> Self {
        Self {
            name: row.name.as_str().to_owned(),
            attempt_id: row.attempt.0,
            agent_id: row.agent.0,
            pbx: row.pbx.as_str().to_owned(),
            state: row.state.as_str().to_owned(),
            asked_at: Utc(row.asked_at),
            started_at: row.started_at.map(Utc),
            ended_at: row.ended_at.map(Utc),
            duration_ms: row.duration_ms,
            failure: row.failure,
        }
    }
}

/// The query.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListRecordings {
    /// Only recordings of this attempt.
    attempt_id: Option<Uuid>,
    /// Items on a page, 1 to 200; default 50.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// Start of the page: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List recordings.
#[utoipa::path(get, path = "/recordings", operation_id = "list_recordings", tag = "attempts", params(ListRecordings),
    responses((status = 200, body = Page<Recording>)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    Query(query): Query<ListRecordings>,
) -> ApiResult<Body<Page<Recording>>> {
    let window = Window::<String>::new("recordings", query.limit, query.cursor.as_deref())?;
    let rows = state
        .store
        .recordings(
            query.attempt_id.map(AttemptId),
            window.after.as_deref(),
            window.fetch(),
        )
        .await?;
    Ok(Body(window.page(
        rows,
        |row| row.name.as_str().to_owned(),
        Recording::from,
    )))
}
