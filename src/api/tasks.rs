//! Tasks: batches of contacts, and their states. [`create`] checks and creates new tasks.

pub(super) mod create;
mod idempotency;
pub(super) mod requeue;

use super::ApiState;
use super::Caller;
use super::contacts::Contact;
use super::extract::{Id, Query};
use super::page::{Page, Window};
use super::problem::{ApiResult, Problem};
use super::words::Utc;
use crate::jobs::outside::OutsideChecks;
use crate::jobs::tasks::Tasks;
use crate::store::{self, TaskContactRow, TaskFilter, TaskRow};
use axum::Json as Body;
use axum::extract::State;
use paceline_core::campaign::TaskState;
use paceline_core::gate::RuleReason;
use paceline_core::ids::{CampaignId, TaskId};
use paceline_core::outcome::Outcome;
use paceline_core::time::Wall;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A batch of contacts to be dialed under a campaign.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Task {
    /// Its id.
    #[schema(example = 42)]
    id: i64,
    /// The task's name.
    #[schema(example = "renewals, week 47")]
    name: String,
    /// The state.
    state: TaskState,
    /// The campaign of the task.
    #[schema(example = 1)]
    campaign_id: i64,
    /// Number of its contacts.
    #[schema(example = 7)]
    contact_list_id: i64,
    /// Start time, planned or actual.
    start_time: Utc,
    /// Maximum number of retries for a contact.
    #[schema(example = 3)]
    max_retries: u32,
    /// Time of creation.
    created_at: Utc,
}

impl From<&TaskRow> for Task {
    fn from(row: &TaskRow) -> Self {
        Self {
            id: row.id.0,
            name: row.name.clone(),
            state: row.state,
            campaign_id: row.campaign.0,
            contact_list_id: row.list.0,
            start_time: Utc(row.start_at),
            max_retries: row.retries_max,
            created_at: Utc(row.created_at),
        }
    }
}

/// A task with its progress.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct TaskDetail {
    #[serde(flatten)]
    task: Task,
    /// The progress.
    progress: TaskProgress,
}

/// The progress of a task.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct TaskProgress {
    /// Number of contacts; while the task is being prepared, those read from its list so far.
    #[schema(example = 1000)]
    contacts: u64,
    /// Contacts waiting to be dialed, now or later.
    #[schema(example = 412)]
    ready: u64,
    /// Contacts leased by the dialer: about to be dialed, or in a call.
    #[schema(example = 8)]
    leased: u64,
    /// Finished contacts: reached, denied by the gate, or out of retries.
    #[schema(example = 580)]
    done: u64,
    /// Time when the next waiting contact is due. Null if none waits.
    next_due_at: Option<Utc>,
    /// Number of contacts by the outcome of their last attempt, without those never tried.
    #[schema(example = json!({"answered": 512, "no_answer": 60, "invalid": 8}))]
    last_outcomes: BTreeMap<Outcome, u64>,
    /// Contacts that the gate has deferred, the earliest first.
    waits: Vec<Wait>,
}

/// Contacts of a task that the gate has deferred together.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Wait {
    /// The time zones in which these contacts may be.
    #[schema(example = json!(["America/New_York"]))]
    time_zones: Vec<String>,
    /// End of the wait.
    until: Utc,
    /// Every rule that defers them.
    reasons: Vec<RuleReason>,
}

/// A contact in a task.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct TaskContact {
    /// The contact.
    contact: Contact,
    /// `ready`: waits. `leased`: about to be dialed, or in a call. `done`: finished.
    #[schema(example = "ready")]
    state: String,
    /// Earliest time of the next attempt.
    due_at: Utc,
    /// Number of attempts so far.
    #[schema(example = 1)]
    attempts_made: u32,
    /// Outcome of the last attempt.
    last_outcome: Option<Outcome>,
}

impl TaskContact {
    fn new(row: TaskContactRow, caller: Caller) -> Self {
        Self {
            contact: Contact::new(row.contact, caller),
            state: row.state.as_str().to_owned(),
            due_at: Utc(row.due_at),
            attempts_made: row.attempts_made,
            last_outcome: row.last_outcome,
        }
    }
}

/// The query.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListTasks {
    /// Only tasks of this campaign.
    campaign_id: Option<i64>,
    /// Only tasks in this state.
    state: Option<TaskState>,
    /// Only tasks created at or after this time.
    created_from: Option<Utc>,
    /// Only tasks created before this time.
    created_until: Option<Utc>,
    /// Items on a page, 1 to 200; default 50.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// Start of the page: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// The query.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListTaskContacts {
    /// Items on a page, 1 to 200; default 50.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// Start of the page: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List tasks, the newest first.
#[utoipa::path(get, path = "/tasks", operation_id = "list_tasks", tag = "tasks", params(ListTasks),
    responses((status = 200, body = Page<Task>)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    Query(query): Query<ListTasks>,
) -> ApiResult<Body<Page<Task>>> {
    let window = Window::new("tasks", query.limit, query.cursor.as_deref())?;
    let filter = TaskFilter {
        campaign: query.campaign_id.map(CampaignId),
        state: query.state,
        created_from: query.created_from.map(|at| at.0),
        created_until: query.created_until.map(|at| at.0),
    };
    let rows = state
        .store
        .tasks(&filter, window.after.map(TaskId), window.fetch())
        .await?;
    Ok(Body(window.page_of(rows, |row| row.id.0, |row| Task::from(&row))))
}

/// Get a task and how far it is.
#[utoipa::path(get, path = "/tasks/{id}", operation_id = "get_task", tag = "tasks",
    params(("id" = i64, Path, description = "The task")),
    responses((status = 200, body = TaskDetail), (status = 404, description = "No such task")))]
pub(super) async fn get(State(state): State<ApiState>, Id(id): Id<i64>) -> ApiResult<Body<TaskDetail>> {
    Ok(Body(detail(&state, &find(&state, id).await?).await?))
}

/// List a task's contacts and how far each is.
#[utoipa::path(get, path = "/tasks/{id}/contacts", operation_id = "list_task_contacts", tag = "tasks",
    params(("id" = i64, Path, description = "The task"), ListTaskContacts),
    responses((status = 200, body = Page<TaskContact>), (status = 404, description = "No such task")))]
pub(super) async fn contacts(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id<i64>,
    Query(query): Query<ListTaskContacts>,
) -> ApiResult<Body<Page<TaskContact>>> {
    let window = Window::new("task-contacts", query.limit, query.cursor.as_deref())?;
    find(&state, id).await?;
    let rows = state
        .store
        .task_contacts(TaskId(id), window.after, window.fetch())
        .await?;
    Ok(Body(window.page_of(
        rows,
        |row| row.contact.id.0,
        |row| TaskContact::new(row, caller),
    )))
}

/// Start a scheduled task now.
///
/// The task starts now instead of at its start time; if it is still being prepared, it starts afterwards. A second request
/// changes nothing.
#[utoipa::path(post, path = "/tasks/{id}/start", operation_id = "start_task", tag = "tasks",
    params(("id" = i64, Path, description = "The task")),
    responses((status = 200, body = TaskDetail), (status = 404, description = "No such task"),
        (status = 409, description = "It is paused, or over")))]
pub(super) async fn start(State(state): State<ApiState>, Id(id): Id<i64>) -> ApiResult<Body<TaskDetail>> {
    // Its contacts become due too, which the store does in the same transaction.
    let campaign = find(&state, id).await?.campaign;
    let started = state.store.start_task(TaskId(id), state.clock.now().wall).await;
    state.dialer.task_changed(campaign, TaskId(id)).await;
    state.jobs.wake(Tasks::NAME);
    state.jobs.wake(OutsideChecks::NAME);
    is_now(&state, id, started?, &[TaskState::Scheduled], TaskState::Running).await
}

/// Pause a task.
///
/// Its contacts are not dialed until it is resumed; calls that are up go on. A second request changes nothing.
#[utoipa::path(post, path = "/tasks/{id}/pause", operation_id = "pause_task", tag = "tasks",
    params(("id" = i64, Path, description = "The task")),
    responses((status = 200, body = TaskDetail), (status = 404, description = "No such task"),
        (status = 409, description = "It is over")))]
pub(super) async fn pause(State(state): State<ApiState>, Id(id): Id<i64>) -> ApiResult<Body<TaskDetail>> {
    move_to(
        &state,
        id,
        &[TaskState::Scheduled, TaskState::Running],
        TaskState::Paused,
    )
    .await
}

/// Resume a paused task.
///
/// If its start time is still to come, it waits for it. A second request changes nothing.
#[utoipa::path(post, path = "/tasks/{id}/resume", operation_id = "resume_task", tag = "tasks",
    params(("id" = i64, Path, description = "The task")),
    responses((status = 200, body = TaskDetail), (status = 404, description = "No such task"),
        (status = 409, description = "It is not paused")))]
pub(super) async fn resume(State(state): State<ApiState>, Id(id): Id<i64>) -> ApiResult<Body<TaskDetail>> {
    let row = find(&state, id).await?;
    let to = if row.start_at > state.clock.now().wall {
        TaskState::Scheduled
    } else {
        TaskState::Running
    };
    move_to(&state, id, &[TaskState::Paused], to).await
}

/// Cancel a task.
///
/// This is final. Contacts that were not dialed yet are not dialed any more, unanswered calls are cancelled, and
/// conversations go on. A second request changes nothing.
#[utoipa::path(post, path = "/tasks/{id}/cancel", operation_id = "cancel_task", tag = "tasks",
    params(("id" = i64, Path, description = "The task")),
    responses((status = 200, body = TaskDetail), (status = 404, description = "No such task"),
        (status = 409, description = "It is completed")))]
pub(super) async fn cancel(State(state): State<ApiState>, Id(id): Id<i64>) -> ApiResult<Body<TaskDetail>> {
    let from = [
        TaskState::Preparing,
        TaskState::Scheduled,
        TaskState::Running,
        TaskState::Paused,
    ];
    move_to(&state, id, &from, TaskState::Cancelled).await
}

/// Contacts of a resumed task may have changed meanwhile, so it is checked again: the store lowers its `next_due_at_ms`.
async fn move_to(
    state: &ApiState,
    id: i64,
    from: &[TaskState],
    to: TaskState,
) -> ApiResult<Body<TaskDetail>> {
    let campaign = find(state, id).await?.campaign;
    let moved = state.store.move_task(TaskId(id), from, to).await;
    // The dialer is notified after a failure too, so that a repeated request has an effect.
    state.dialer.task_changed(campaign, TaskId(id)).await;
    state.jobs.wake(Tasks::NAME);
    state.jobs.wake(OutsideChecks::NAME);
    is_now(state, id, moved?, from, to).await
}

async fn is_now(
    state: &ApiState,
    id: i64,
    moved: bool,
    from: &[TaskState],
    to: TaskState,
) -> ApiResult<Body<TaskDetail>> {
    let row = find(state, id).await?;
    if !moved && row.state == TaskState::Preparing {
        return Err(Problem::conflict(format!(
            "Task {id} is preparing: its contacts are still being taken from its list. Wait until it is {}, or cancel it.",
            TaskState::Running
        )));
    }
    if !moved && row.state != to {
        let from: Vec<&str> = from.iter().map(|state| state.as_str()).collect();
        return Err(Problem::conflict(format!(
            "Task {id} is {}; only one that is {} can become {to}.{}",
            row.state,
            from.join(" or "),
            if row.state == TaskState::Paused {
                format!(" POST /api/v1/tasks/{id}/resume.")
            } else {
                String::new()
            }
        )));
    }
    Ok(Body(detail(state, &row).await?))
}

pub(super) async fn find(state: &ApiState, id: i64) -> ApiResult<TaskRow> {
    state
        .store
        .task(TaskId(id))
        .await?
        .ok_or_else(|| Problem::no("task", id))
}

async fn detail(state: &ApiState, row: &TaskRow) -> ApiResult<TaskDetail> {
    let progress = state.store.task_progress(row.id).await?;
    Ok(TaskDetail {
        task: Task::from(row),
        progress: TaskProgress::new(progress, state.clock.now().wall),
    })
}

impl TaskProgress {
    fn new(progress: store::TaskProgress, now: Wall) -> Self {
        let wait = |wait: store::TaskWait| Wait {
            time_zones: wait.time_zones,
            until: Utc(wait.until),
            reasons: wait.reasons,
        };
        Self {
            contacts: progress.ready + progress.leased + progress.done,
            ready: progress.ready,
            leased: progress.leased,
            done: progress.done,
            next_due_at: progress.next_due_at.map(Utc),
            last_outcomes: progress.last_outcomes,
            waits: progress
                .waits
                .into_iter()
                .filter(|wait| wait.until > now)
                .map(wait)
                .collect(),
        }
    }
}
