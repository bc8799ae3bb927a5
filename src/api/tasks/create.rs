//! Creates tasks: one, or a batch of which all or none are created.

use super::super::check::{self, Faults, NUMBERS_MAX};
use super::super::explain::dry_run::{DryRun, Planned, dry_run};
use super::super::extract::{JsonAndBytes, Query};
use super::super::problem::{ApiResult, Problem};
use super::super::words::Utc;
use super::super::{ApiState, Caller};
use super::Task;
use super::idempotency::Idempotency;
use crate::jobs::preparing::Preparing;
use crate::jobs::tasks::Tasks;
use crate::numbers::allowed::Allowed;
use crate::store::{CampaignRow, NewTask, NewTaskContacts, StoreError, TaskRow};
use axum::Json as Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use paceline_core::campaign::settings::CampaignSettings;
use paceline_core::campaign::{CampaignState, TaskState};
use paceline_core::contact::ContactNumber;
use paceline_core::ids::{CampaignId, ContactListId, TrunkId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The campaign of tasks that name no campaign.
const DEFAULT_CAMPAIGN: &str = "default";
/// Maximum number of trunks of the default campaign when it is created, the oldest first.
const DEFAULT_TRUNKS_MAX: i64 = 100;
/// Maximum number of tasks in one batch.
const BATCH_MAX: usize = 100;
/// Maximum that the table allows.
const RETRIES_MAX: u32 = 100;

/// A task to be created.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateTask {
    /// The task's name, 1 to 200 characters.
    #[schema(example = "renewals, week 47")]
    name: String,
    /// The numbers to dial, 1 to 10,000, in any usual notation. Numbers without a country code belong to the configured
    /// default region. A number that is listed twice is dialed once. Give either this or `contact_list_id`.
    #[serde(default)]
    #[schema(example = json!(["+12025550123", "(202) 555-0147"]), max_items = 10000)]
    number_pool: Option<Vec<String>>,
    /// Countries whose numbers are accepted (ISO 3166-1), or `any`. If left out: the configured default region; without
    /// such a region, every country.
    #[serde(default)]
    #[schema(example = json!(["US", "CA"]))]
    countries: Option<Vec<String>>,
    /// `true`: premium-rate numbers are accepted too. Calls to them cost the caller extra.
    #[serde(default)]
    premium_rate: bool,
    /// The contact list to dial. Give either this or `number_pool`.
    #[serde(default)]
    #[schema(example = json!(null))]
    contact_list_id: Option<i64>,
    /// The task's campaign. If left out: the campaign `default`, which is created as a draft if it does not exist.
    #[serde(default)]
    #[schema(example = 1)]
    campaign_id: Option<i64>,
    /// Time of the start. If left out or past, the task starts at once.
    #[serde(default)]
    start_time: Option<Utc>,
    /// Maximum number of attempts at a contact after the first one, 0 to 100.
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

/// The query.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CreateQuery {
    /// `true`: nothing is created. The answer is what would become of the task.
    #[param(default = false)]
    dry_run: Option<bool>,
}

/// A task that was created.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct CreatedTask {
    #[serde(flatten)]
    task: Task,
    /// Number of the task's contacts.
    #[schema(example = 2)]
    contacts: u64,
    /// Number of repeated numbers in the pool that were left out.
    #[schema(example = 0)]
    duplicates: u64,
    /// The reasons why the task is not dialed at present, each with the action that helps. Empty if there is none.
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
/// Give it a `number_pool` or a contact list. A task of more than 1,000 contacts is `preparing` at first: its contacts are read from
/// its list step by step (about 30,000 per second), and dialed after all are read. Contacts that are added to the list meanwhile are
/// in the task too. GET /api/v1/tasks/{id} shows the progress, and the job `preparing` of GET /api/v1/jobs shows failures. If a
/// number cannot be dialed, `errors` lists every such number by its place, and nothing is created. Send an `Idempotency-Key` to make
/// a repeated request safe: the same key and body returns the task that the first request created.
///
/// With `dry_run=true` nothing is created: the gate is asked about every contact, and the answer says how many would be skipped and
/// why, how many must wait, and how many may be called in each hour of the week to come. The `Idempotency-Key` is not read then. There
/// can be one dry run at a time. Of a list that takes longer than 25 s (some millions of contacts) it tells the first part. A dry run
/// of a `number_pool` needs a key that may see numbers, because it tells whether a number is on a list.
#[utoipa::path(post, path = "/tasks", operation_id = "create_task", tag = "tasks", request_body = CreateTask,
    params(CreateQuery,
        ("Idempotency-Key" = Option<String>, Header, description = "Any text that is new for each new request, such as a UUID.")),
    responses((status = 201, body = CreatedTask), (status = 200, body = DryRun, description = "With `dry_run=true`"),
        (status = 409, description = "The campaign cannot take tasks")))]
pub(crate) async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
    Query(query): Query<CreateQuery>,
    JsonAndBytes(input, bytes): JsonAndBytes<CreateTask>,
) -> ApiResult<Response> {
    if query.dry_run == Some(true) {
        return Ok(Body(try_out(&state, caller, input).await?).into_response());
    }
    let idempotency = Idempotency::read(&headers, caller, "task", &bytes)?;
    let mut created = create_all(&state, vec![input], &[""], idempotency).await?;
    let task = created
        .pop()
        .ok_or_else(|| Problem::internal(anyhow::anyhow!("no task was created")))?;
    Ok((StatusCode::CREATED, Body(task)).into_response())
}

/// Answers what would become of the task. Creates nothing, not even the campaign of tasks that name none.
async fn try_out(state: &ApiState, caller: Caller, input: CreateTask) -> ApiResult<DryRun> {
    if input.number_pool.is_some() {
        caller.must_see_numbers()?;
    }
    let mut plan = Plan {
        creates_campaign: false,
        ..Plan::default()
    };
    plan.add(state, input, "", None).await?;
    plan.complain()?;
    let (Some(task), Some(campaign)) = (plan.tasks.pop(), plan.campaigns.into_values().next()) else {
        return Err(Problem::internal(anyhow::anyhow!(
            "the task has no fault, and is not planned"
        )));
    };
    let contacts = match task.contacts {
        NewTaskContacts::List(list) => {
            if state.store.contact_list(list).await?.is_none() || state.store.count_contacts(list).await? == 0
            {
                return Err(no_list(""));
            }
            Planned::List(list)
        }
        NewTaskContacts::Numbers(numbers) => {
            Planned::Numbers(numbers.into_iter().map(|number| number.number).collect())
        }
    };
    let duplicates = plan.duplicates.first().copied().unwrap_or(0);
    dry_run(
        state,
        &campaign,
        contacts,
        duplicates,
        task.start_at,
        notes(&campaign),
    )
    .await
}

fn no_list(path: &str) -> Problem {
    Problem::field(
        format!("{path}/contact_list_id"),
        "there is no such contact list, or nobody is in it",
    )
}

/// Create several tasks.
///
/// If one of them has an error, none is created. An `Idempotency-Key` is for all of them together.
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
    let mut plan = Plan::default();
    for (n, (input, path)) in inputs.into_iter().zip(paths).enumerate() {
        let key = idempotency.as_ref().map(|i| (i.row_key(n), i.hash));
        plan.add(state, input, path, key).await?;
    }
    plan.complain()?;
    let created = match state
        .store
        .create_tasks(&plan.tasks, state.clock.now().wall)
        .await
    {
        // Somebody sent the same key at the same time and was faster.
        Err(StoreError::IdempotencyKeyTaken) => {
            let repeated = repeated(state, plan.tasks.len(), idempotency.as_ref()).await?;
            return repeated.ok_or_else(Idempotency::reused);
        }
        Err(StoreError::EmptyList { index }) => {
            let path = paths.get(index).copied().unwrap_or_default();
            return Err(no_list(path));
        }
        other => other?,
    };
    state.jobs.wake(Preparing::NAME);
    state.jobs.wake(Tasks::NAME);
    for (row, _) in &created {
        state.dialer.task_changed(row.campaign, row.id).await;
    }
    let mut shown = Vec::with_capacity(created.len());
    for ((row, contacts), duplicates) in created.iter().zip(plan.duplicates) {
        shown.push(CreatedTask {
            task: Task::from(row),
            contacts: in_all(state, row, *contacts).await?,
            duplicates,
            notes: plan.campaigns.get(&row.campaign).map(notes).unwrap_or_default(),
        });
    }
    Ok(shown)
}

/// The tasks to be stored, and all of their faults.
struct Plan {
    /// The campaign of tasks that name none is made if there is none.
    creates_campaign: bool,
    tasks: Vec<NewTask>,
    /// For each task: numbers that came more than once.
    duplicates: Vec<u64>,
    campaigns: BTreeMap<CampaignId, CampaignRow>,
    faults: Faults,
    numbers: usize,
    numbers_bad: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            creates_campaign: true,
            tasks: Vec::new(),
            duplicates: Vec::new(),
            campaigns: BTreeMap::new(),
            faults: Faults::default(),
            numbers: 0,
            numbers_bad: 0,
        }
    }
}

impl Plan {
    async fn add(
        &mut self,
        state: &ApiState,
        input: CreateTask,
        path: &str,
        idempotency: Option<(String, [u8; 32])>,
    ) -> ApiResult<()> {
        let campaign = self.campaign(state, input.campaign_id, path).await?;
        self.faults.name(format!("{path}/name"), &input.name);
        if input.max_retries > RETRIES_MAX {
            let detail = format!("must be from 0 to {RETRIES_MAX}");
            self.faults.add(format!("{path}/max_retries"), detail);
        }
        let (contacts, duplicates) = match (input.number_pool, input.contact_list_id) {
            (Some(pool), None) => {
                let countries = input.countries.as_deref();
                let allowed = check::allowed(state, countries, input.premium_rate, path, &mut self.faults);
                self.pool(state, pool, &allowed, path).await?
            }
            (None, Some(list)) => (NewTaskContacts::List(ContactListId(list)), 0),
            (pool, _) => {
                let field = if pool.is_some() {
                    "contact_list_id"
                } else {
                    "number_pool"
                };
                let detail = "give either `number_pool` or `contact_list_id`";
                self.faults.add(format!("{path}/{field}"), detail);
                return Ok(());
            }
        };
        let Some(campaign) = campaign else { return Ok(()) };
        let now = state.clock.now().wall;
        let start_at = input.start_time.map_or(now, |at| at.0.max(now));
        self.duplicates.push(duplicates);
        self.tasks.push(NewTask {
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
            idempotency,
        });
        Ok(())
    }

    /// The task's campaign. `None`: there is no such campaign.
    async fn campaign(
        &mut self,
        state: &ApiState,
        id: Option<i64>,
        path: &str,
    ) -> ApiResult<Option<CampaignId>> {
        let row = match id.map(CampaignId) {
            Some(id) if self.campaigns.contains_key(&id) => return Ok(Some(id)),
            Some(id) => state.store.campaign(id).await?,
            None if self.creates_campaign => Some(default_campaign(state).await?),
            None => Some(existing_default(state).await?),
        };
        let Some(row) = row else {
            let detail = "there is no such campaign; GET /api/v1/campaigns lists them";
            self.faults.add(format!("{path}/campaign_id"), detail);
            return Ok(None);
        };
        takes_tasks(&row)?;
        let id = row.id;
        self.campaigns.insert(id, row);
        Ok(Some(id))
    }

    /// The numbers to dial, each once, and how many came again.
    async fn pool(
        &mut self,
        state: &ApiState,
        pool: Vec<String>,
        allowed: &Allowed,
        path: &str,
    ) -> ApiResult<(NewTaskContacts, u64)> {
        let count = pool.len();
        self.numbers += count;
        if count == 0 || self.numbers > NUMBERS_MAX {
            let detail = if count == 0 {
                "there is no number in it".to_owned()
            } else {
                format!("more than {NUMBERS_MAX} numbers in one request: send several, or import a file")
            };
            self.faults.add(format!("{path}/number_pool"), detail);
            return Ok((NewTaskContacts::Numbers(Vec::new()), 0));
        }
        let (mut numbers, mut seen, mut duplicates) = (Vec::with_capacity(count), BTreeSet::new(), 0);
        for (n, number) in check::numbers(state, pool).await?.into_iter().enumerate() {
            let number = check::wanted(number, allowed, None);
            match self.faults.take(format!("{path}/number_pool/{n}"), number) {
                Some(read) if seen.insert(read.number.clone()) => numbers.push(ContactNumber {
                    number: read.number,
                    kind: Some(read.kind),
                    label: None,
                }),
                Some(_) => duplicates += 1,
                None => self.numbers_bad += 1,
            }
        }
        Ok((NewTaskContacts::Numbers(numbers), duplicates))
    }

    /// Passes if nothing is wrong.
    fn complain(&mut self) -> ApiResult<()> {
        let numbers = match self.numbers_bad {
            0 => String::new(),
            bad => format!(" {bad} of {} numbers cannot be dialed.", self.numbers),
        };
        std::mem::take(&mut self.faults).none_or(format!(
            "Nothing was created.{numbers} Correct or remove what `errors` names and send again."
        ))
    }
}

/// The tasks that the first request with this key created. `None`: there was no such request, or this one has no key.
///
/// # Errors
/// `Kind::IdempotencyKeyReused` if that request had another body, or not all of its tasks exist.
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
    let taken = progress.ready + progress.leased + progress.done;
    Ok(CreatedTask {
        task: Task::from(row),
        contacts: in_all(state, row, taken).await?,
        duplicates: 0,
        notes: campaign.as_ref().map(notes).unwrap_or_default(),
    })
}

/// Number of contacts of a task, including those still to be read from its list.
async fn in_all(state: &ApiState, row: &TaskRow, taken: u64) -> ApiResult<u64> {
    match row.state {
        TaskState::Preparing => Ok(state.store.count_contacts(row.list).await?),
        TaskState::Scheduled
        | TaskState::Running
        | TaskState::Paused
        | TaskState::Completed
        | TaskState::Cancelled => Ok(taken),
    }
}

/// The campaign of tasks that name none, which is not created here.
async fn existing_default(state: &ApiState) -> ApiResult<CampaignRow> {
    let found = state.store.campaign_by_name(DEFAULT_CAMPAIGN).await?;
    found.ok_or_else(|| {
        Problem::conflict(
            "The task names no campaign, and there is none called `default` yet whose rules could be asked. Name one in `campaign_id`.",
        )
    })
}

/// The campaign of tasks that name no campaign. The first such task creates it as a draft with all trunks.
async fn default_campaign(state: &ApiState) -> ApiResult<CampaignRow> {
    if let Some(row) = state.store.campaign_by_name(DEFAULT_CAMPAIGN).await? {
        return Ok(row);
    }
    let trunks = state.store.trunks(None, DEFAULT_TRUNKS_MAX).await?;
    let trunks: Vec<TrunkId> = trunks.into_iter().map(|trunk| trunk.id).collect();
    if trunks.is_empty() {
        return Err(Problem::conflict(
            "The task names no campaign, and there is no trunk to make the one called `default` with; nothing was \
             created. Create a trunk with POST /api/v1/trunks {\"name\": \"carrier\", \"pbx\": …, \"dial\": …}.",
        ));
    }
    let (settings, now) = (CampaignSettings::default(), state.clock.now().wall);
    let made = state
        .store
        .create_campaign(DEFAULT_CAMPAIGN, &settings, &trunks, now);
    match made.await {
        Ok(row) => {
            state.dialer.campaign_changed(row.id).await;
            Ok(row)
        }
        // Somebody else's first task was faster.
        Err(StoreError::Taken) => {
            let row = state.store.campaign_by_name(DEFAULT_CAMPAIGN).await?;
            row.ok_or_else(|| Problem::conflict("The campaign `default` was being made; send again."))
        }
        Err(error) => Err(error.into()),
    }
}

fn takes_tasks(row: &CampaignRow) -> ApiResult<()> {
    let (name, id) = (&row.name, row.id);
    if row.state == CampaignState::Archived {
        return Err(Problem::conflict(format!(
            "Campaign `{name}` is archived and takes no tasks; nothing was created. Name another one in `campaign_id`."
        )));
    }
    if row.trunks.is_empty() {
        return Err(Problem::conflict(format!(
            "Campaign `{name}` has no trunk to dial over; nothing was created. Create one with POST /api/v1/trunks, \
             then set it with PUT /api/v1/campaigns/{id}/trunks."
        )));
    }
    Ok(())
}

/// The reasons why nothing of this campaign is dialed at present.
fn notes(campaign: &CampaignRow) -> Vec<String> {
    match campaign.state {
        CampaignState::Active => Vec::new(),
        other => vec![format!(
            "campaign `{}` is {other}: nothing is dialed until POST /api/v1/campaigns/{}/activate",
            campaign.name, campaign.id
        )],
    }
}
