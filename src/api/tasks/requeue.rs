//! Queues finished contacts of a task again on request.

use super::super::ApiState;
use super::super::extract::{Id, Json};
use super::super::problem::{ApiResult, Problem};
use super::{Task, find};
use crate::store::Requeued;
use axum::Json as Body;
use axum::extract::State;
use paceline_core::ids::TaskId;
use paceline_core::outcome::Outcome;
use paceline_core::requeue::Requeue;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The selection of contacts to queue again.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RequeueContacts {
    /// Contacts whose last attempt has one of these outcomes: `unknown`, `failed`, `congestion`, `cancelled`, `no_answer`, `busy`.
    /// If left out: contacts whose last attempt has the outcome `unknown`, `failed`, `congestion` or `cancelled`, and no leg of it
    /// rang as far as Paceline knows.
    #[serde(default)]
    #[schema(example = json!(["failed", "unknown"]), min_items = 1)]
    outcomes: Option<Vec<Outcome>>,
}

/// Contacts that were queued again.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct RequeuedContacts {
    /// The task as it is now.
    task: Task,
    /// Contacts that are ready again.
    #[schema(example = 12)]
    queued: u64,
    /// These by the outcome of their last attempt.
    #[schema(example = json!({"failed": 10, "unknown": 2}))]
    outcomes: BTreeMap<Outcome, u64>,
}

/// Queue contacts again.
///
/// Finished contacts whose last attempt has one of the `outcomes` are due at once and get all their retries again. Their attempts
/// stay counted, and the gate decides as for every call. A completed task runs again. A paused one stays paused.
///
/// A contact whose last attempt was answered is never queued, with any outcome: an `unknown` attempt (Paceline, its link or the PBX
/// failed while the call was up) may have been a conversation or an abandoned call. An `unknown` attempt that rang may have been
/// answered without a record. So it is queued only if `outcomes` names `unknown`. An `unknown` attempt without a record of ringing
/// may still have reached the phone just before the failure. Then the contact is called a second time.
///
/// Contacts are queued step by step, so after a failure some of them may be queued. Send the request again for the rest: it queues
/// only finished contacts. For hundreds of thousands of contacts the request may time out (503), and the work still goes on.
#[utoipa::path(post, path = "/tasks/{id}/requeue", operation_id = "requeue_task", tag = "tasks", request_body = RequeueContacts,
    params(("id" = i64, Path, description = "The task")),
    responses((status = 200, body = RequeuedContacts), (status = 404, description = "No such task"),
        (status = 409, description = "It is cancelled, or its campaign archived")))]
pub(crate) async fn requeue(
    State(state): State<ApiState>,
    Id(id): Id<i64>,
    Json(input): Json<RequeueContacts>,
) -> ApiResult<Body<RequeuedContacts>> {
    let which = which(input)?;
    let campaign = find(&state, id).await?.campaign;
    let now = state.clock.now().wall;
    let requeued = state.store.requeue(TaskId(id), &which, now).await;
    // Whatever came of it: a part may be queued.
    state.dialer.task_changed(campaign, TaskId(id)).await;
    let queued = match requeued? {
        Requeued::Done(queued) => queued,
        Requeued::NoTask => return Err(Problem::no("task", id)),
        Requeued::Cancelled => {
            return Err(Problem::conflict(format!(
                "Task {id} is cancelled, for good. Create a new task for these contacts with POST /api/v1/tasks."
            )));
        }
        Requeued::Archived => {
            return Err(Problem::conflict(format!(
                "Campaign {campaign} of task {id} is archived and dials nothing more. Create a new task under another \
                 campaign with POST /api/v1/tasks."
            )));
        }
    };
    Ok(Body(RequeuedContacts {
        task: Task::from(&find(&state, id).await?),
        queued: queued.values().sum(),
        outcomes: queued,
    }))
}

fn which(input: RequeueContacts) -> ApiResult<Requeue> {
    let Some(outcomes) = input.outcomes else {
        return Ok(Requeue::unreached());
    };
    if outcomes.is_empty() {
        let detail = "name at least one outcome, or leave it out for contacts whose call reached no phone";
        return Err(Problem::field("/outcomes", detail));
    }
    Requeue::after(outcomes).map_err(|error| Problem::field("/outcomes", error.to_string()))
}
