//! New tasks: one or many, all or none.

use super::super::check::{self, Faults, NUMBERS_MAX};
use super::super::extract::JsonAndBytes;
use super::super::problem::{ApiResult, Problem};
use super::super::words::Utc;
use super::super::{ApiState, Caller};
use super::Task;
use super::idempotency::Idempotency;
use crate::store::{CampaignRow, NewTask, NewTaskContacts, StoreError, TaskRow};
use axum::Json as Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use paceline_core::campaign::{CampaignState, TaskState};
use paceline_core::ids::{CampaignId, ContactListId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The campaign of tasks that name none.
const DEFAULT_CAMPAIGN: &str = "default";
/// Tasks in one batch at most.
const BATCH_MAX: usize = 100;
/// As the table allows.
const RETRIES_MAX: u32 = 100;

/// A task to be created.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateTask {
    /// What to call it. 1 to 200 characters.
    #[schema(example = "renewals, week 47")]
    name: String,
    /// The numbers to dial, 1 to 10,000, as people write them; those without a country code are read in the configured
    /// default region. A number that comes twice is dialed once. Either this or `contact_list_id`.
    #[serde(default)]
    #[schema(example = json!(["+12025550123", "(202) 555-0147"]), max_items = 10000)]
    number_pool: Option<Vec<String>>,
    /// A contact list to dial instead. Either this or `number_pool`.
    #[serde(default)]
    #[schema(example = json!(null))]
    contact_list_id: Option<i64>,
    /// The campaign to run under; the one called `default` if left out.
    #[serde(default)]
    #[schema(example = 1)]
    campaign_id: Option<i64>,
    /// When to start; at once if left out or past.
    #[serde(default)]
    start_time: Option<Utc>,
    /// Attempts at a contact after the first one, at most; 0 to 100.
    #[serde(default)]
    #[schema(example = 3, maximum = 100, default = 0)]
    max_retries: u32,
}

/// Tasks to be created, all or none.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateTasks {
    /// 1 to 100 tasks with 10,000 numbers together.
    tasks: Vec<CreateTask>,
}

/// A task that was created.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct CreatedTask {
    #[serde(flatten)]
    task: Task,
    /// Contacts in it.
    #[schema(example = 2)]
    contacts: u64,
    /// Numbers of the pool that came more than once, and are in it once.
    #[schema(example = 0)]
    duplicates: u64,
    /// Why it will not be dialed as things are, and what to do; empty where nothing is in the way.
    #[schema(example = json!([]))]
    notes: Vec<String>,
}

/// Tasks that were created, in the order of the request.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct CreatedTasks {
    /// The tasks.
    tasks: Vec<CreatedTask>,
}

/// Create a task.
///
/// Give it a `number_pool` or a contact list. If one number cannot be dialed, every such number is named in `errors` by
/// its place, and nothing is created. Send an `Idempotency-Key` to make a repeat safe: the same key and body answers
/// with the task that the first one made.
#[utoipa::path(post, path = "/tasks", operation_id = "create_task", tag = "tasks", request_body = CreateTask,
    params(("Idempotency-Key" = Option<String>, Header, description = "Any text that is new for each new request, such as a UUID.")),
    responses((status = 201, body = CreatedTask), (status = 409, description = "The campaign cannot take tasks")))]
pub(crate) async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
    JsonAndBytes(input, bytes): JsonAndBytes<CreateTask>,
) -> ApiResult<(StatusCode, Body<CreatedTask>)> {
    let idempotency = Idempotency::read(&headers, caller, "task", &bytes)?;
    let mut created = create_all(&state, vec![input], &[""], idempotency).await?;
    let task = created
        .pop()
        .ok_or_else(|| Problem::internal(anyhow::anyhow!("no task was created")))?;
    Ok((StatusCode::CREATED, Body(task)))
}

/// Create several tasks.
///
/// All of them or, where anything is wrong with one, none. An `Idempotency-Key` covers them together.
#[utoipa::path(post, path = "/tasks/batch", operation_id = "create_tasks", tag = "tasks", request_body = CreateTasks,
    params(("Idempotency-Key" = Option<String>, Header, description = "Any text that is new for each new request, such as a UUID.")),
    responses((status = 201, body = CreatedTasks), (status = 409, description = "A campaign cannot take tasks")))]
pub(crate) async fn create_batch(
    State(state): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
    JsonAndBytes(input, bytes): JsonAndBytes<CreateTasks>,
) -> ApiResult<(StatusCode, Body<CreatedTasks>)> {
    let idempotency = Idempotency::read(&headers, caller, "batch", &bytes)?;
    if !(1..=BATCH_MAX).contains(&input.tasks.len()) {
        return Err(Problem::field(
            "/tasks",
            format!("1 to {BATCH_MAX} tasks in one batch"),
        ));
    }
    let paths: Vec<String> = (0..input.tasks.len()).map(|n| format!("/tasks/{n}")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let tasks = create_all(&state, input.tasks, &paths, idempotency).await?;
    Ok((StatusCode::CREATED, Body(CreatedTasks { tasks })))
}

/// `paths` gives each task's place in the body.
async fn create_all(
    state: &ApiState,
    inputs: Vec<CreateTask>,
    paths: &[&str],
    idempotency: Option<Idempotency>,
) -> ApiResult<Vec<CreatedTask>> {
    if let Some(repeated) = repeated(state, inputs.len(), idempotency.as_ref()).await? {
        return Ok(repeated);
    }
    let mut faults = Faults::default();
    let (mut numbers_in_all, mut bad_numbers) = (0, 0);
    let mut campaigns = BTreeMap::new();
    let mut new = Vec::with_capacity(inputs.len());
    let mut duplicates = Vec::with_capacity(inputs.len());
    for (n, (input, path)) in inputs.into_iter().zip(paths).enumerate() {
        let campaign = campaign_of(state, &input, path, &mut faults, &mut campaigns).await?;
        faults.name(format!("{path}/name"), &input.name);
        if input.max_retries > RETRIES_MAX {
            faults.add(
                format!("{path}/max_retries"),
                format!("must be from 0 to {RETRIES_MAX}"),
            );
        }
        let pool_size = input.number_pool.as_ref().map_or(0, Vec::len);
        numbers_in_all += pool_size;
        if numbers_in_all > NUMBERS_MAX {
            faults.add(
                format!("{path}/number_pool"),
                format!("more than {NUMBERS_MAX} numbers in one request: send several, or import a file"),
            );
            break;
        }
        let before = faults.len();
        let contacts = contacts_of(state, input.number_pool, input.contact_list_id, path, &mut faults);
        if pool_size > 0 {
            bad_numbers += faults.len() - before;
        }
        let (Some(campaign), Some(contacts)) = (campaign, contacts) else {
            continue;
        };
        duplicates.push(match &contacts {
            NewTaskContacts::Numbers(numbers) => pool_size.saturating_sub(numbers.len()) as u64,
            NewTaskContacts::List(_) => 0,
        });
        let now = state.clock.now().wall;
        let start_at = input.start_time.map_or(now, |at| at.0.max(now));
        new.push(NewTask {
            campaign,
            name: input.name,
            state: if start_at > now {
                TaskState::Scheduled
            } else {
                TaskState::Running
            },
            start_at,
            retries_max: input.max_retries,
            contacts,
            idempotency: idempotency.as_ref().map(|i| (i.row_key(n), i.hash)),
        });
    }
    let what = if bad_numbers == 0 {
        String::new()
    } else {
        format!(" {bad_numbers} of {numbers_in_all} numbers cannot be dialed.")
    };
    faults.none_or(format!(
        "Nothing was created.{what} Correct or remove what `errors` names and send again."
    ))?;
    let created = match state.store.create_tasks(&new, state.clock.now().wall).await {
        // Somebody sent the same key at the same time and was faster.
        Err(StoreError::IdempotencyKeyTaken) => {
            let repeated = repeated(state, new.len(), idempotency.as_ref()).await?;
            return repeated.ok_or_else(Idempotency::reused);
        }
        Err(StoreError::EmptyList { index }) => {
            let path = paths.get(index).copied().unwrap_or_default();
            return Err(Problem::field(
                format!("{path}/contact_list_id"),
                "there is no such contact list, or nobody is in it",
            ));
        }
        other => other?,
    };
    for (row, _) in &created {
        state.dialer.task_changed(row.campaign, row.id).await;
    }
    let shown = created
        .iter()
        .zip(duplicates)
        .map(|((row, contacts), duplicates)| CreatedTask {
            task: Task::from(row),
            contacts: *contacts,
            duplicates,
            notes: campaigns.get(&row.campaign).map(notes).unwrap_or_default(),
        });
    Ok(shown.collect())
}

/// What the first request with this key created, if there was one.
async fn repeated(
    state: &ApiState,
    count: usize,
    idempotency: Option<&Idempotency>,
) -> ApiResult<Option<Vec<CreatedTask>>> {
    let Some(idempotency) = idempotency else {
        return Ok(None);
    };
    let mut shown = Vec::new();
    for n in 0..count {
        let Some((row, hash)) = state
            .store
            .task_by_idempotency_key(&idempotency.row_key(n))
            .await?
        else {
            return if n == 0 {
                Ok(None)
            } else {
                Err(Idempotency::reused())
            };
        };
        if hash != idempotency.hash {
            return Err(Idempotency::reused());
        }
        shown.push(created_before(state, &row).await?);
    }
    Ok(Some(shown))
}

async fn created_before(state: &ApiState, row: &TaskRow) -> ApiResult<CreatedTask> {
    let progress = state.store.task_progress(row.id).await?;
    let campaign = state.store.campaign(row.campaign).await?;
    Ok(CreatedTask {
        task: Task::from(row),
        contacts: progress.ready + progress.leased + progress.done,
        duplicates: 0,
        notes: campaign.as_ref().map(notes).unwrap_or_default(),
    })
}

async fn campaign_of(
    state: &ApiState,
    input: &CreateTask,
    path: &str,
    faults: &mut Faults,
    known: &mut BTreeMap<CampaignId, CampaignRow>,
) -> ApiResult<Option<CampaignId>> {
    let row = match input.campaign_id {
        Some(id) if known.contains_key(&CampaignId(id)) => return Ok(Some(CampaignId(id))),
        Some(id) => match state.store.campaign(CampaignId(id)).await? {
            Some(row) => row,
            None => {
                faults.add(format!("{path}/campaign_id"), "there is no such campaign; GET /api/v1/campaigns lists them");
                return Ok(None);
            }
        },
        None => state.store.campaign_by_name(DEFAULT_CAMPAIGN).await?.ok_or_else(|| {
            Problem::conflict(
                "The task names no campaign, and there is none called `default`; nothing was created. Name one in \
                 `campaign_id`, or create it with POST /api/v1/campaigns {\"name\": \"default\", \"trunk_ids\": […]}.",
            )
        })?,
    };
    let named = input.campaign_id.map_or_else(
        || "The `default` campaign".to_owned(),
        |id| format!("Campaign {id}"),
    );
    if row.state == CampaignState::Archived {
        return Err(Problem::conflict(format!(
            "{named} is archived and takes no tasks; nothing was created. Name another one in `campaign_id`."
        )));
    }
    if row.trunks.is_empty() {
        return Err(Problem::conflict(format!(
            "{named} has no trunk to dial over; nothing was created. Create one with POST /api/v1/trunks, then set it \
             with PUT /api/v1/campaigns/{}/trunks.",
            row.id
        )));
    }
    let id = row.id;
    known.insert(id, row);
    Ok(Some(id))
}

fn contacts_of(
    state: &ApiState,
    pool: Option<Vec<String>>,
    list: Option<i64>,
    path: &str,
    faults: &mut Faults,
) -> Option<NewTaskContacts> {
    match (pool, list) {
        (Some(pool), None) if pool.is_empty() => {
            faults.add(format!("{path}/number_pool"), "there is no number in it");
            None
        }
        (Some(pool), None) => {
            let (mut numbers, mut seen) = (Vec::with_capacity(pool.len()), BTreeSet::new());
            for (n, text) in pool.iter().enumerate() {
                let read = faults.take(format!("{path}/number_pool/{n}"), check::number(state, text));
                numbers.extend(read.filter(|number| seen.insert(number.clone())));
            }
            Some(NewTaskContacts::Numbers(numbers))
        }
        (None, Some(list)) => Some(NewTaskContacts::List(ContactListId(list))),
        (Some(_), Some(_)) => {
            faults.add(
                format!("{path}/contact_list_id"),
                "give either `number_pool` or `contact_list_id`",
            );
            None
        }
        (None, None) => {
            faults.add(
                format!("{path}/number_pool"),
                "missing; give either `number_pool` or `contact_list_id`",
            );
            None
        }
    }
}

/// Why nothing of this campaign will be dialed as things are.
fn notes(campaign: &CampaignRow) -> Vec<String> {
    match campaign.state {
        CampaignState::Active => Vec::new(),
        other => vec![format!(
            "campaign `{}` is {other}: nothing is dialed until POST /api/v1/campaigns/{}/activate",
            campaign.name, campaign.id
        )],
    }
}
