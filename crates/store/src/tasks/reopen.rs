//! Makes contacts ready again that the gate makes wait one by one or has denied, because what it decided by has changed for these
//! contacts: a consent was imported, a number is no longer on the do-not-call list, the outside check has answered. The next lease asks
//! the gate again. The caller tells the dialer of the tasks.

use crate::bulk_statement::BulkStatement;
use crate::db::{Arg, Dialect, Row, Tx, args};
use crate::dial::{LOCK_TASKS, lower_next_due};
use crate::error::DbError;
use crate::facts::ids;
use paceline_core::ids::{CampaignId, ContactId, TaskId};
use paceline_core::number::E164;
use paceline_core::time::Wall;
use std::collections::BTreeSet;

/// Tasks with contacts that may be due now, to tell the dialer of them.
pub type TasksToDial = BTreeSet<(CampaignId, TaskId)>;

/// A contact of a task that the gate holds.
pub(crate) struct Held {
    pub(crate) campaign: CampaignId,
    pub(crate) task: TaskId,
    pub(crate) contact: ContactId,
    /// Due at this time from now on.
    pub(crate) due: Wall,
}

macro_rules! held {
    ($v:literal, $and:literal) => {
        concat!(
            "WITH ",
            $v,
            "JOIN tasks t ON t.list_id = c.list_id JOIN campaigns p ON p.id = t.campaign_id \
               JOIN task_contacts tc ON tc.task_id = t.id AND tc.contact_id = c.id \
             WHERE tc.held_by IS NOT NULL AND t.state IN ('running', 'paused', 'scheduled', 'completed') AND p.state <> 'archived'",
            $and
        )
    };
}

/// Where the gate holds these contacts, by any rule.
pub(crate) static HELD_CONTACTS: BulkStatement = BulkStatement::new(
    1,
    held!(
        "v(id) AS (VALUES {rows}) SELECT t.campaign_id, tc.task_id, tc.contact_id, t.created_at_ms \
         FROM v JOIN contacts c ON c.id = v.id ",
        ""
    ),
);

/// Where this rule holds contacts with these numbers.
pub(crate) static HELD_NUMBERS: BulkStatement = BulkStatement::new(
    2,
    held!(
        "v(number, rule) AS (VALUES {rows}) SELECT t.campaign_id, tc.task_id, tc.contact_id, t.created_at_ms \
         FROM v JOIN contact_numbers n ON n.number = v.number JOIN contacts c ON c.id = n.contact_id ",
        " AND tc.held_by = v.rule"
    ),
);

/// A completed task runs again, because it has contacts to call.
static OPEN_TASKS: BulkStatement = BulkStatement::new(
    1,
    "WITH v(id) AS (VALUES {rows}) UPDATE tasks SET state = 'running' WHERE id IN (SELECT id FROM v) AND state = 'completed'",
);

pub(crate) static OPEN_CONTACTS: BulkStatement = BulkStatement::new(
    3,
    "WITH v(task_id, contact_id, due_at_ms) AS (VALUES {rows}) \
     UPDATE task_contacts SET state = 'ready', due_at_ms = v.due_at_ms, held_by = NULL FROM v \
     WHERE task_contacts.task_id = v.task_id AND task_contacts.contact_id = v.contact_id \
       AND task_contacts.held_by IS NOT NULL AND task_contacts.state IN ('ready', 'done')",
);

/// Makes these contacts ready in every task in which the gate holds them. Returns the tasks.
pub(crate) async fn reopen_contacts(
    tx: &mut Tx,
    contacts: impl Iterator<Item = i64>,
) -> Result<TasksToDial, DbError> {
    let rows = HELD_CONTACTS.rows(tx, &ids(contacts)).await?;
    open(tx, &read(&rows)?).await
}

/// Makes the contacts with these numbers ready in every task in which this rule holds them. Returns the tasks.
pub(crate) async fn reopen_numbers(
    tx: &mut Tx,
    numbers: impl Iterator<Item = &E164>,
    rule: &str,
) -> Result<TasksToDial, DbError> {
    let mut keys: Vec<Arg<'_>> = Vec::new();
    for number in numbers {
        keys.extend_from_slice(args![number.expose(), rule]);
    }
    let rows = HELD_NUMBERS.rows(tx, &keys).await?;
    open(tx, &read(&rows)?).await
}

fn read(rows: &[Row]) -> Result<Vec<Held>, DbError> {
    let held = rows.iter().map(|row| {
        Ok(Held {
            campaign: CampaignId(row.get(0)?),
            task: TaskId(row.get(1)?),
            contact: ContactId(row.get(2)?),
            due: Wall(row.get(3)?),
        })
    });
    held.collect()
}

/// Makes held contacts ready. Returns their tasks.
pub(crate) async fn open(tx: &mut Tx, held: &[Held]) -> Result<TasksToDial, DbError> {
    let opened: TasksToDial = held.iter().map(|held| (held.campaign, held.task)).collect();
    let tasks: BTreeSet<i64> = opened.iter().map(|(_, task)| task.0).collect();
    let tasks = ids(tasks.into_iter());
    if tx.dialect() == Dialect::Postgres {
        LOCK_TASKS.rows(tx, &tasks).await?;
    }
    OPEN_TASKS.run(tx, &tasks).await?;
    let due: Vec<_> = held
        .iter()
        .map(|held| (held.task, held.contact, held.due))
        .collect();
    lower_next_due(tx, &due).await?;
    let mut rows = Vec::with_capacity(held.len() * 3);
    for (task, contact, due) in due {
        rows.extend_from_slice(args![task.0, contact.0, due.0]);
    }
    OPEN_CONTACTS.run(tx, &rows).await?;
    Ok(opened)
}
