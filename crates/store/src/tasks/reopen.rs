//! Makes contacts ready again that the gate has denied, because what it decided by has changed: a consent was imported, or the
//! number is no longer on the do-not-call list. The next lease asks the gate again. The caller tells the dialer of the tasks.

use crate::bulk_statement::BulkStatement;
use crate::db::{Dialect, Tx};
use crate::dial::LOCK_TASKS;
use crate::error::DbError;
use crate::facts::ids;
use paceline_core::ids::{CampaignId, TaskId};
use std::collections::BTreeSet;

/// Tasks with contacts that may be due now, to tell the dialer of them.
pub type TasksToDial = BTreeSet<(CampaignId, TaskId)>;

/// The tasks and buckets in which these contacts are denied.
pub(crate) static DENIED: BulkStatement = BulkStatement::new(
    1,
    "WITH v(id) AS (VALUES {rows}) SELECT tc.task_id, tc.bucket_id, t.campaign_id FROM v JOIN contacts c ON c.id = v.id \
       JOIN tasks t ON t.list_id = c.list_id JOIN campaigns p ON p.id = t.campaign_id \
       JOIN task_contacts tc ON tc.task_id = t.id AND tc.contact_id = c.id \
     WHERE tc.state = 'done' AND tc.last_outcome = 'blocked' AND t.state IN ('running', 'paused', 'scheduled', 'completed') \
       AND p.state <> 'archived'",
);

/// A completed task runs again, because it has contacts to call.
static OPEN_TASKS: BulkStatement = BulkStatement::new(
    1,
    "WITH v(id) AS (VALUES {rows}) UPDATE tasks SET next_due_at_ms = created_at_ms, \
       state = CASE WHEN state = 'completed' THEN 'running' ELSE state END WHERE id IN (SELECT id FROM v)",
);

static OPEN_BUCKETS: BulkStatement = BulkStatement::new(
    1,
    "WITH v(id) AS (VALUES {rows}) UPDATE task_buckets SET next_due_at_ms = (SELECT t.created_at_ms FROM tasks t \
       WHERE t.id = task_buckets.task_id) WHERE id IN (SELECT id FROM v)",
);

static OPEN_CONTACTS: BulkStatement = BulkStatement::new(
    1,
    "WITH v(id) AS (VALUES {rows}) UPDATE task_contacts SET state = 'ready', due_at_ms = t.created_at_ms \
       FROM v JOIN contacts c ON c.id = v.id JOIN tasks t ON t.list_id = c.list_id JOIN campaigns p ON p.id = t.campaign_id \
     WHERE task_contacts.task_id = t.id AND task_contacts.contact_id = c.id AND task_contacts.state = 'done' \
       AND task_contacts.last_outcome = 'blocked' AND t.state IN ('running', 'paused', 'scheduled') AND p.state <> 'archived'",
);

/// Makes these contacts ready in every task in which the gate has denied them. Returns the tasks.
pub(crate) async fn reopen_denied(
    tx: &mut Tx,
    contacts: impl Iterator<Item = i64>,
) -> Result<TasksToDial, DbError> {
    let contacts = ids(contacts);
    let (mut reopened, mut buckets) = (TasksToDial::new(), BTreeSet::new());
    for row in DENIED.rows(tx, &contacts).await? {
        reopened.insert((CampaignId(row.get(2)?), TaskId(row.get(0)?)));
        buckets.insert(row.get::<i64>(1)?);
    }
    let tasks: BTreeSet<i64> = reopened.iter().map(|(_, task)| task.0).collect();
    let tasks = ids(tasks.into_iter());
    if tx.dialect() == Dialect::Postgres {
        LOCK_TASKS.rows(tx, &tasks).await?;
    }
    OPEN_TASKS.run(tx, &tasks).await?;
    OPEN_BUCKETS.run(tx, &ids(buckets.into_iter())).await?;
    if !tasks.is_empty() {
        OPEN_CONTACTS.run(tx, &contacts).await?;
    }
    Ok(reopened)
}
