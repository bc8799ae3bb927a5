//! Tasks: creation all or none, allowed changes of state, and counts.

mod prepare;
pub(crate) mod recheck;
pub(crate) mod reopen;
mod requeue;

pub use recheck::{EntryEnd, Rechecked};
pub use reopen::TasksToDial;
#[cfg(test)]
pub(super) use requeue::QUEUE;
pub use requeue::Requeued;

use super::contacts::owners::keep_list;
use super::contacts::rows::{self, CONTACT_COLUMNS, contact, contact_columns};
use super::contacts::{ContactRow, insert_list, insert_numbers};
use super::db::{Row, Tx, args};
use super::error::{DbError, Stop, StoreError};
use super::facts::localities;
use super::lease::NEVER;
use super::readable::Rows;
use super::select::Select;
use super::{Store, decisions, query};
use paceline_core::campaign::{CampaignState, TaskState};
use paceline_core::contact::ContactNumber;
use paceline_core::gate::{Locality, RuleReason};
use paceline_core::ids::{CampaignId, ContactId, ContactListId, TaskId};
use paceline_core::outcome::Outcome;
use paceline_core::time::Wall;
use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

/// A task to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTask {
    /// The campaign that it runs under.
    pub campaign: CampaignId,
    /// The task's name.
    pub name: String,
    /// [`TaskState::Scheduled`], or [`TaskState::Running`] if it starts at once.
    pub state: TaskState,
    /// The start time.
    pub start_at: Wall,
    /// Retries per contact after the first attempt, at most 100.
    pub retries_max: u32,
    /// The contacts to call.
    pub contacts: NewTaskContacts,
    /// The idempotency key, which must be unique, and a hash of its request.
    pub idempotency: Option<(String, [u8; 32])>,
}

/// The contacts of a new task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewTaskContacts {
    /// All contacts that are in this list now.
    List(ContactListId),
    /// These numbers. A list with the task's name is made for them.
    Numbers(Vec<ContactNumber>),
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRow {
    /// Its id.
    pub id: TaskId,
    /// The campaign that it runs under.
    pub campaign: CampaignId,
    /// The task's contact list.
    pub list: ContactListId,
    /// The task's name.
    pub name: String,
    /// The task's state.
    pub state: TaskState,
    /// The planned or actual start time.
    pub start_at: Wall,
    /// Retries per contact after the first attempt, at most 100.
    pub retries_max: u32,
    /// The time of creation.
    pub created_at: Wall,
}

/// Conditions on tasks; `None` accepts every task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// Only tasks of this campaign.
    pub campaign: Option<CampaignId>,
    /// Only tasks in this state.
    pub state: Option<TaskState>,
    /// Only tasks created at or after this time.
    pub created_from: Option<Wall>,
    /// Only tasks created before this time.
    pub created_until: Option<Wall>,
}

/// The progress of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskProgress {
    /// Contacts that wait to be called, now or later.
    pub ready: u64,
    /// Contacts that the dialer has leased.
    pub leased: u64,
    /// Contacts that are done.
    pub done: u64,
    /// The time at which the next waiting contact is due; `None` if none waits.
    pub next_due_at: Option<Wall>,
    /// Contacts by the outcome of their last attempt. A contact without an attempt is not counted.
    pub last_outcomes: BTreeMap<Outcome, u64>,
    /// The buckets that the gate last deferred, the earliest end first. The end may have passed.
    pub waits: Vec<TaskWait>,
}

/// Contacts of a task that the gate has deferred together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskWait {
    /// The time zones in which these contacts may be, each once.
    pub time_zones: Vec<String>,
    /// End of the wait, Unix time in milliseconds.
    pub until: Wall,
    /// The reasons, the most important first.
    pub reasons: Vec<RuleReason>,
}

/// The state of a contact within a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContactState {
    /// The contact waits to be called, now or later.
    Ready,
    /// The dialer holds the contact: it will be dialed soon, or is in a call.
    Leased,
    /// The contact is done.
    Done,
}

/// A contact within a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskContactRow {
    /// The contact.
    pub contact: ContactRow,
    /// The contact's state within the task.
    pub state: ContactState,
    /// The earliest time of the next attempt.
    pub due_at: Wall,
    /// Attempts made so far.
    pub attempts_made: u32,
    /// The outcome of the last attempt; `None` if there was none.
    pub last_outcome: Option<Outcome>,
}

/// A contact's state in one of its tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactTaskRow {
    /// The task.
    pub task: TaskId,
    /// The task's state.
    pub task_state: TaskState,
    /// The task's campaign.
    pub campaign: CampaignId,
    /// The campaign's state.
    pub campaign_state: CampaignState,
    /// The contact's state within the task.
    pub state: ContactState,
    /// The earliest time of the next attempt.
    pub due_at: Wall,
    /// Attempts made so far.
    pub attempts_made: u32,
    /// The outcome of the last attempt; `None` if there was none.
    pub last_outcome: Option<Outcome>,
}

/// The running tasks, each with its campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningTasks {
    /// All running tasks.
    pub running: Vec<(CampaignId, TaskId)>,
    /// The tasks that this call started.
    pub started: Vec<(CampaignId, TaskId)>,
    /// The time of the next start, if it was looked for that far ahead.
    pub next_start: Option<Wall>,
}

/// The most tasks that one transaction starts.
const STARTED_MAX: usize = 1_000;

const COLUMNS: &str = "SELECT id, campaign_id, list_id, name, state, start_at_ms, retries_max, created_at_ms \
    FROM tasks WHERE 1 = 1";

const INSERT: &str = "INSERT INTO tasks (campaign_id, list_id, name, state, start_at_ms, retries_max, next_due_at_ms, \
      idempotency_key, request_hash, created_at_ms) \
    VALUES ($1, $2, $3, $4, $5, $6, $9, $7, $8, $9) RETURNING id";

/// The earliest time for a contact: its own due time, or the end of its bucket's wait if that is later.
macro_rules! due_at {
    () => {
        "CASE WHEN tc.state = 'ready' AND b.waits_until_ms > tc.due_at_ms THEN b.waits_until_ms ELSE tc.due_at_ms END"
    };
}

const WAITS: &str = "SELECT localities, waits_until_ms, wait_reasons FROM task_buckets b WHERE task_id = $1 \
      AND waits_until_ms IS NOT NULL AND EXISTS (SELECT 1 FROM task_contacts c WHERE c.bucket_id = b.id AND c.state = 'ready') \
    ORDER BY waits_until_ms, localities";

const NEXT_DUE_OF_TASK: &str = "SELECT min(CASE WHEN b.waits_until_ms > n.due_at_ms THEN b.waits_until_ms ELSE n.due_at_ms END) \
    FROM task_buckets b JOIN (SELECT b.id, (SELECT c.due_at_ms FROM task_contacts c WHERE c.bucket_id = b.id \
        AND c.state = 'ready' ORDER BY c.due_at_ms LIMIT 1) AS due_at_ms FROM task_buckets b WHERE b.task_id = $1) n ON n.id = b.id";

impl Store {
    /// Stores tasks, all or none. Returns each with the number of contacts that it has so far. A task with many
    /// contacts is [`TaskState::Preparing`] until [`Store::prepare_some`] has added the others.
    ///
    /// Fails with [`StoreError::IdempotencyKeyTaken`], [`StoreError::EmptyList`] or [`StoreError::NoCampaign`].
    pub async fn create_tasks(&self, new: &[NewTask], now: Wall) -> Result<Vec<(TaskRow, u64)>, StoreError> {
        self.write("create tasks", async |tx| {
            let mut created = Vec::with_capacity(new.len());
            let contacts_each = (prepare::SLICE / i64::try_from(new.len()).unwrap_or(i64::MAX).max(1)).max(1);
            for (index, new) in new.iter().enumerate() {
                created.push(create_task(tx, index, new, contacts_each, now).await?);
            }
            Ok(created)
        })
        .await
    }

    /// The task with this idempotency key, and the hash of the request that created it.
    pub async fn task_by_idempotency_key(
        &self,
        key: &str,
    ) -> Result<Option<(TaskRow, [u8; 32])>, StoreError> {
        let sql = "SELECT id, campaign_id, list_id, name, state, start_at_ms, retries_max, created_at_ms, request_hash \
            FROM tasks WHERE idempotency_key = $1";
        let read = |row: &Row| {
            let hash = row.get::<Vec<u8>>(8)?;
            Ok((task(row)?, hash.try_into().map_err(|_| DbError::decode("hash"))?))
        };
        Ok(self.read_all("find a task", sql, args![key], read).await?.pop())
    }

    /// Tasks, the newest first.
    pub async fn tasks(
        &self,
        filter: &TaskFilter,
        after: Option<TaskId>,
        limit: i64,
    ) -> Result<Rows<TaskRow>, StoreError> {
        let (sql, args) = Select::new(COLUMNS)
            .and("campaign_id =", filter.campaign.map(|id| id.0))
            .and("state =", filter.state.map(TaskState::as_str))
            .and("created_at_ms >=", filter.created_from.map(|at| at.0))
            .and("created_at_ms <", filter.created_until.map(|at| at.0))
            .and("id <", after.map(|id| id.0))
            .order("id DESC", limit);
        self.read_each("list tasks", sql, &args, task).await
    }

    /// One task.
    pub async fn task(&self, id: TaskId) -> Result<Option<TaskRow>, StoreError> {
        let (sql, args) = Select::new(COLUMNS).and("id =", Some(id.0)).order("id", 1);
        Ok(self.read_all("read a task", sql, &args, task).await?.pop())
    }

    /// Moves a task to another state if its state is one of `from`. Returns true if it moved. The dialer must give
    /// back its leased contacts. A task that runs again is checked again at once, because its contacts may have been
    /// settled while it did not run.
    pub async fn move_task(&self, id: TaskId, from: &[TaskState], to: TaskState) -> Result<bool, StoreError> {
        let moved = "UPDATE tasks SET state = $3, \
              next_due_at_ms = CASE WHEN $3 = 'running' THEN created_at_ms ELSE next_due_at_ms END \
            WHERE id = $1 AND state = $2";
        self.write("change a task's state", async |tx| {
            for from in from {
                if tx.run(moved, args![id.0, from.as_str(), to.as_str()]).await? > 0 {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await
    }

    /// Starts the scheduled tasks whose start time has come, up to 1,000 of them. Returns them, all running tasks, and the
    /// earliest start time after `now`, up to `ahead`.
    pub async fn start_due_tasks(&self, now: Wall, ahead: Duration) -> Result<RunningTasks, StoreError> {
        const DOING: &str = "start scheduled tasks";
        let read = "SELECT campaign_id, id, state, start_at_ms FROM tasks WHERE state = 'running' \
            OR (state = 'scheduled' AND start_at_ms <= $1)";
        let start = "UPDATE tasks SET state = 'running' WHERE id = $1 AND state = 'scheduled'";
        let read_row = |row: &Row| {
            let task = (CampaignId(row.get(0)?), TaskId(row.get(1)?));
            Ok((task, row.word::<TaskState>(2)?, Wall(row.get(3)?)))
        };
        let rows = self
            .read_all(DOING, read, args![now.plus(ahead).0], read_row)
            .await?;
        let (scheduled, others): (Vec<_>, Vec<_>) = rows
            .into_iter()
            .partition(|(_, state, _)| *state == TaskState::Scheduled);
        let mut running: Vec<_> = others.into_iter().map(|(task, ..)| task).collect();
        let (mut due, later): (Vec<_>, Vec<_>) = scheduled.into_iter().partition(|(.., at)| *at <= now);
        let next_start = match due.get(STARTED_MAX) {
            Some(_) => Some(now),
            None => later.into_iter().map(|(.., at)| at).min(),
        };
        if due.is_empty() {
            let started = Vec::new();
            return Ok(RunningTasks {
                running,
                started,
                next_start,
            });
        }
        // Every transaction locks tasks in the order of their ids, so that no two wait for each other.
        due.sort_unstable_by_key(|((_, task), ..)| *task);
        let started = self.write(DOING, async |tx| {
            let mut started = Vec::new();
            for ((campaign, task), ..) in due.into_iter().take(STARTED_MAX) {
                if tx.run(start, args![task.0]).await? > 0 {
                    started.push((campaign, task));
                }
            }
            Ok(started)
        });
        let started = started.await?;
        running.extend(&started);
        Ok(RunningTasks {
            running,
            started,
            next_start,
        })
    }

    /// Starts a scheduled task at `now` instead of its start time. A task in preparation starts when its preparation
    /// ends. Returns false if the task was in another state.
    pub async fn start_task(&self, id: TaskId, now: Wall) -> Result<bool, StoreError> {
        let start = "UPDATE tasks SET state = CASE WHEN state = 'scheduled' THEN 'running' ELSE state END, start_at_ms = $2 \
             WHERE id = $1 AND state IN ('scheduled', 'preparing')";
        self.write("start a task", async |tx| {
            Ok(tx.run(start, args![id.0, now.0]).await? > 0)
        })
        .await
    }

    /// The progress of a task. It counts all contacts of the task, so do not call it every second.
    pub async fn task_progress(&self, id: TaskId) -> Result<TaskProgress, StoreError> {
        const DOING: &str = "count a task's contacts";
        let counts = "SELECT state, last_outcome, count(*) FROM task_contacts WHERE task_id = $1 \
            GROUP BY state, last_outcome";
        let counts = self
            .read_all(DOING, counts, args![id.0], |row| {
                Ok((
                    row.word::<ContactState>(0)?,
                    row.maybe_word::<Outcome>(1)?,
                    row.size(2)?,
                ))
            })
            .await?;
        let next = self
            .read_all(DOING, NEXT_DUE_OF_TASK, args![id.0], |row| {
                row.get::<Option<i64>>(0)
            })
            .await?;
        let waits = self.read_all(DOING, WAITS, args![id.0], wait).await?;
        let mut progress = TaskProgress {
            next_due_at: next
                .first()
                .copied()
                .flatten()
                .filter(|at| *at != NEVER)
                .map(Wall),
            waits,
            ..TaskProgress::default()
        };
        for (state, outcome, n) in counts {
            match state {
                ContactState::Ready => progress.ready += n,
                ContactState::Leased => progress.leased += n,
                ContactState::Done => progress.done += n,
            }
            if let Some(outcome) = outcome {
                *progress.last_outcomes.entry(outcome).or_default() += n;
            }
        }
        Ok(progress)
    }

    /// A task's contacts in the order of their ids.
    pub async fn task_contacts(
        &self,
        id: TaskId,
        after: Option<i64>,
        limit: i64,
    ) -> Result<Rows<TaskContactRow>, StoreError> {
        const DOING: &str = "list a task's contacts";
        let (sql, args) = Select::new(concat!(
            "SELECT ",
            contact_columns!(),
            ", tc.state, ",
            due_at!(),
            ", tc.attempts_made, tc.last_outcome FROM task_contacts tc JOIN contacts c ON c.id = tc.contact_id ",
            "JOIN task_buckets b ON b.id = tc.bucket_id WHERE 1 = 1"
        ))
        .and("tc.task_id =", Some(id.0))
        .and("tc.contact_id >", after)
        .order("tc.contact_id", limit);
        let read = |row: &Row| {
            Ok(TaskContactRow {
                contact: contact(row, 0)?,
                state: row.word(CONTACT_COLUMNS)?,
                due_at: Wall(row.get(CONTACT_COLUMNS + 1)?),
                attempts_made: row.count(CONTACT_COLUMNS + 2)?,
                last_outcome: row.maybe_word(CONTACT_COLUMNS + 3)?,
            })
        };
        let mut found = self.read_each(DOING, sql, &args, read).await?;
        let contacts = found.readable_mut().map(|row| &mut row.contact).collect();
        let faults = rows::complete(&self.pools, contacts).await;
        let mut faults = faults.map_err(query(DOING))?;
        Ok(found.refuse(|row| Some((row.contact.id.0, faults.remove(&row.contact.id)?))))
    }

    /// A contact's state in each of its tasks, the newest task first.
    pub async fn tasks_of_contact(
        &self,
        contact: ContactId,
        limit: i64,
    ) -> Result<Vec<ContactTaskRow>, StoreError> {
        // The query goes by way of the list, which has an index: a contact is only in tasks made from its list.
        let sql = concat!(
            "SELECT t.id, t.state, p.id, p.state, tc.state, ",
            due_at!(),
            ", tc.attempts_made, tc.last_outcome FROM contacts c JOIN tasks t ON t.list_id = c.list_id ",
            "JOIN task_contacts tc ON tc.task_id = t.id AND tc.contact_id = c.id ",
            "JOIN task_buckets b ON b.id = tc.bucket_id JOIN campaigns p ON p.id = t.campaign_id ",
            "WHERE c.id = $1 ORDER BY t.id DESC LIMIT $2"
        );
        let read = |row: &Row| {
            Ok(ContactTaskRow {
                task: TaskId(row.get(0)?),
                task_state: row.word(1)?,
                campaign: CampaignId(row.get(2)?),
                campaign_state: row.word(3)?,
                state: row.word(4)?,
                due_at: Wall(row.get(5)?),
                attempts_made: row.count(6)?,
                last_outcome: row.maybe_word(7)?,
            })
        };
        self.read_all("read a contact's tasks", sql, args![contact.0, limit], read)
            .await
    }
}

/// Stores a task with up to `contacts_max` contacts. The others are added later.
async fn create_task(
    tx: &mut Tx,
    index: usize,
    new: &NewTask,
    contacts_max: i64,
    now: Wall,
) -> Result<(TaskRow, u64), Stop> {
    let there = "SELECT 1 FROM campaigns WHERE id = $1";
    if tx.rows(there, args![new.campaign.0]).await?.is_empty() {
        return Err(StoreError::NoCampaign.into());
    }
    let list = match &new.contacts {
        NewTaskContacts::List(list) => {
            keep_list(tx, *list).await?;
            if tx
                .rows(
                    "SELECT 1 FROM contact_lists WHERE id = $1 AND NOT importing",
                    args![list.0],
                )
                .await?
                .is_empty()
            {
                return Err(StoreError::EmptyList { index }.into());
            }
            *list
        }
        NewTaskContacts::Numbers(numbers) => {
            let list = insert_list(tx, &new.name, false, now).await?.id;
            insert_numbers(tx, list, numbers).await?;
            list
        }
    };
    let args = args![
        new.campaign.0,
        list.0,
        &new.name,
        new.state.as_str(),
        new.start_at.0,
        i64::from(new.retries_max),
        new.idempotency.as_ref().map(|(key, _)| key.as_str()),
        new.idempotency.as_ref().map(|(_, hash)| hash.as_slice()),
        now.0,
    ];
    let inserted = tx.one(INSERT, args).await;
    let id = inserted
        .map_err(|error| Stop::if_unique(error, StoreError::IdempotencyKeyTaken))?
        .get(0)?;
    let slice = prepare::take(tx, id, list.0, now.0, 0, contacts_max).await?;
    if slice.contacts == 0 {
        return Err(StoreError::EmptyList { index }.into());
    }
    let state = match slice.more_after {
        Some(last) => {
            prepare::go_on_after(tx, id, last).await?;
            TaskState::Preparing
        }
        None => new.state,
    };
    let row = TaskRow {
        id: TaskId(id),
        campaign: new.campaign,
        list,
        name: new.name.clone(),
        state,
        start_at: new.start_at,
        retries_max: new.retries_max,
        created_at: now,
    };
    Ok((row, slice.contacts))
}

fn wait(row: &Row) -> Result<TaskWait, DbError> {
    let localities = localities(&row.get::<String>(0)?);
    let mut time_zones: Vec<_> = localities
        .iter()
        .flat_map(Locality::zones)
        .map(str::to_owned)
        .collect();
    time_zones.sort_unstable();
    time_zones.dedup();
    Ok(TaskWait {
        time_zones,
        until: Wall(row.get(1)?),
        reasons: decisions::reasons(&row.get::<String>(2)?)?,
    })
}

fn task(row: &Row) -> Result<TaskRow, DbError> {
    Ok(TaskRow {
        id: TaskId(row.get(0)?),
        campaign: CampaignId(row.get(1)?),
        list: ContactListId(row.get(2)?),
        name: row.get(3)?,
        state: row.word(4)?,
        start_at: Wall(row.get(5)?),
        retries_max: row.count(6)?,
        created_at: Wall(row.get(7)?),
    })
}

impl ContactState {
    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Leased => "leased",
            Self::Done => "done",
        }
    }
}

impl FromStr for ContactState {
    type Err = DbError;
    fn from_str(text: &str) -> Result<Self, DbError> {
        let all = [Self::Ready, Self::Leased, Self::Done];
        all.into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| DbError::decode("contact state"))
    }
}
