//! Adds a list's contacts to a task in short transactions, so that a task of a million contacts does not delay other
//! writers. The transaction that creates the task adds the first slice. If the list has more, the task stays
//! `preparing`, and is not dialed, until all are added. The task's row stores the progress, so a crash loses nothing.

use crate::Store;
use crate::bulk_statement::BulkStatement;
use crate::contacts::owners::keep_list;
use crate::db::{Row, Tx, args};
use crate::error::{DbError, Stop, StoreError};
use crate::facts::{RESIDENTS, buckets};
use paceline_core::ids::{CampaignId, ContactListId, TaskId};
use paceline_core::time::Wall;
use std::collections::{BTreeMap, BTreeSet};

/// Contacts that one transaction adds, which takes about 10 ms.
pub(super) const SLICE: i64 = 1_000;

/// The last contact of the next slice, and the number of contacts in it.
const LOOK: &str = "SELECT max(id), count(*) FROM (SELECT id FROM seen_contacts WHERE list_id = $1 AND id > $2 \
    ORDER BY id LIMIT $3) slice";

static FILL_BUCKETS: BulkStatement = BulkStatement::new(
    3,
    "INSERT INTO task_buckets (task_id, localities, next_due_at_ms) VALUES {rows} ON CONFLICT (task_id, localities) DO NOTHING",
);

const BUCKETS: &str = "SELECT localities, id FROM task_buckets WHERE task_id = $1";

static FILL: BulkStatement = BulkStatement::new(
    5,
    "INSERT INTO task_contacts (task_id, contact_id, bucket_id, state, due_at_ms) VALUES {rows}",
);

const LIST: &str = "SELECT list_id FROM tasks WHERE id = $1 AND state = 'preparing'";

/// Changes nothing, but locks the task's row, which every transaction locks first.
const HOLD: &str = "UPDATE tasks SET prepared_to = prepared_to WHERE id = $1 AND state = 'preparing' \
    RETURNING list_id, prepared_to, created_at_ms";

const GO_ON: &str = "UPDATE tasks SET state = 'preparing', prepared_to = $2 WHERE id = $1";

const DONE: &str = "UPDATE tasks SET state = CASE WHEN start_at_ms > $2 THEN 'scheduled' ELSE 'running' END, prepared_to = NULL \
    WHERE id = $1";

/// The result of one transaction.
pub(super) struct Slice {
    pub(super) contacts: u64,
    /// The last contact added, if there may be more; `None` if the list has no more.
    pub(super) more_after: Option<i64>,
}

/// Adds up to `limit` contacts of a list after `after`. They are due from the creation of the task, so that they are
/// due if the task is started early. Call [`keep_list`] before.
pub(super) async fn take(
    tx: &mut Tx,
    task: i64,
    list: i64,
    due_at_ms: i64,
    after: i64,
    limit: i64,
) -> Result<Slice, DbError> {
    let row = tx.one(LOOK, args![list, after, limit]).await?;
    let (last, seen) = (row.get::<Option<i64>>(0)?, row.get::<i64>(1)?);
    let Some(last) = last else {
        return Ok(Slice {
            contacts: 0,
            more_after: None,
        });
    };
    let residents = tx.rows(RESIDENTS, args![list, after, last]).await?;
    let contacts = buckets(&residents)?;
    let keys: BTreeSet<&str> = contacts.iter().map(|(_, key)| key.as_str()).collect();
    let mut rows = Vec::with_capacity(keys.len() * 3);
    for key in keys {
        rows.extend_from_slice(args![task, key, due_at_ms]);
    }
    FILL_BUCKETS.run(tx, &rows).await?;
    let made = tx.rows(BUCKETS, args![task]).await?;
    let made = made
        .iter()
        .map(|row| Ok((row.get::<String>(0)?, row.get::<i64>(1)?)));
    let made = made.collect::<Result<BTreeMap<_, _>, DbError>>()?;
    let mut rows = Vec::with_capacity(contacts.len() * 5);
    for (contact, key) in &contacts {
        let bucket = made.get(key).ok_or_else(|| DbError::decode("bucket"))?;
        rows.extend_from_slice(args![task, *contact, *bucket, "ready", due_at_ms]);
    }
    Ok(Slice {
        contacts: FILL.run(tx, &rows).await?,
        more_after: (seen == limit).then_some(last),
    })
}

/// Notes that the rest of a task's contacts are still to be added.
pub(super) async fn go_on_after(tx: &mut Tx, task: i64, last: i64) -> Result<(), DbError> {
    tx.run(GO_ON, args![task, last]).await.map(drop)
}

impl Store {
    /// Tasks in preparation, the oldest first.
    pub async fn preparing_tasks(&self) -> Result<Vec<(CampaignId, TaskId)>, StoreError> {
        let sql = "SELECT campaign_id, id FROM tasks WHERE state = 'preparing' ORDER BY id";
        let read = |row: &Row| Ok((CampaignId(row.get(0)?), TaskId(row.get(1)?)));
        self.read_all("find tasks to be prepared", sql, &[], read).await
    }

    /// Adds some more contacts to a task in preparation. Returns their number. Returns `None` if all contacts are
    /// added and the task is now scheduled or running, or if it is not in preparation.
    pub async fn prepare_some(&self, id: TaskId, now: Wall) -> Result<Option<u64>, StoreError> {
        self.write("prepare a task", async |tx| {
            let Some(list) = tx.rows(LIST, args![id.0]).await?.pop() else {
                return Ok(None);
            };
            keep_list(tx, ContactListId(list.get(0)?)).await?;
            let Some(row) = tx.rows(HOLD, args![id.0]).await?.pop() else {
                return Ok(None);
            };
            let (list, after, created_at_ms) = (row.get::<i64>(0)?, row.get::<i64>(1)?, row.get::<i64>(2)?);
            let slice = take(tx, id.0, list, created_at_ms, after, SLICE).await?;
            match slice.more_after {
                Some(last) => {
                    go_on_after(tx, id.0, last).await?;
                    Ok::<_, Stop>(Some(slice.contacts))
                }
                None => {
                    tx.run(DONE, args![id.0, now.0]).await?;
                    Ok(None)
                }
            }
        })
        .await
    }

    /// Prepares every task completely, for callers that have no job for it. It may run beside the job.
    pub async fn prepare_tasks(&self, now: Wall) -> Result<(), StoreError> {
        for (_, task) in self.preparing_tasks().await? {
            while self.prepare_some(task, now).await?.is_some() {}
        }
        Ok(())
    }
}
