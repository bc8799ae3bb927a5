//! Contacts that the gate makes wait one by one or has denied (`held_by` names the rule) are asked about again when what it decided by
//! has changed for many: the rules or settings of their campaign, or a suppression list. The change marks the tasks. A job then looks at
//! their held contacts in slices ([`Store::recheck_some`]); an index finds these, so nobody reads a whole list. The same job finds the
//! do-not-call entries that have ended.

use super::reopen::{Held, TasksToDial, open, reopen_numbers};
use crate::Store;
use crate::bulk_statement::BulkStatement;
use crate::db::{Dialect, Row, Rows, Tx, args};
use crate::error::{DbError, StoreError};
use crate::facts::ids;
use crate::suppression::{Lists, numbers_of};
use paceline_core::campaign::suppression::SuppressionSettings;
use paceline_core::gate::CampaignPolicy;
use paceline_core::ids::{CampaignId, ContactId, TaskId};
use paceline_core::time::Wall;
use std::collections::BTreeSet;

/// Held contacts that one transaction looks at.
const SLICE: i64 = 500;

/// Makes the deferred buckets due, so that the gate is asked about them again. This changes a few rows per task,
/// however many contacts wait.
pub(crate) const LOOK_AGAIN: &str = "UPDATE task_buckets SET next_due_at_ms = (SELECT t.created_at_ms FROM tasks t WHERE t.id = task_buckets.task_id), \
      waits_from_ms = NULL, waits_until_ms = NULL, \
      wait_reasons = NULL \
    WHERE task_id IN (SELECT id FROM tasks WHERE campaign_id = $1 AND state IN ('running', 'paused', 'scheduled')) \
      AND waits_until_ms > $2";

/// Run before [`LOOK_AGAIN`], because every transaction locks tasks first.
pub(crate) const LOOK_AT_TASKS_AGAIN: &str = "UPDATE tasks SET next_due_at_ms = created_at_ms WHERE campaign_id = $1 \
      AND state IN ('running', 'paused', 'scheduled') \
      AND EXISTS (SELECT 1 FROM task_buckets b WHERE b.task_id = tasks.id AND b.waits_until_ms > $2)";

const KEEP_FINGERPRINT: &str = "UPDATE campaigns SET gate_fingerprint = $2 WHERE id = $1";

/// Also completed tasks: with the rules before, all of their contacts may have been denied.
const RECHECK_RULES: &str = "UPDATE tasks SET recheck = 'rules', rechecked_to = 0 WHERE campaign_id = $1 \
      AND state IN ('running', 'paused', 'scheduled', 'completed') \
      AND EXISTS (SELECT 1 FROM task_contacts c WHERE c.task_id = tasks.id AND c.held_by IS NOT NULL)";

fn tasks_held_by_lists(dialect: Dialect) -> &'static str {
    macro_rules! sql {
        ($lock:literal) => {
            concat!(
                "SELECT t.id FROM tasks t JOIN campaigns p ON p.id = t.campaign_id ",
                "WHERE t.state IN ('running', 'paused', 'scheduled') AND p.state <> 'archived' AND EXISTS ",
                "(SELECT 1 FROM task_contacts c WHERE c.task_id = t.id AND c.held_by = 'suppressed') ORDER BY t.id",
                $lock
            )
        };
    }
    match dialect {
        Dialect::Sqlite => sql!(""),
        Dialect::Postgres => sql!(" FOR UPDATE OF t"),
    }
}

static RECHECK_LISTS: BulkStatement = BulkStatement::new(
    1,
    "WITH v(id) AS (VALUES {rows}) UPDATE tasks SET recheck = coalesce(recheck, 'lists'), rechecked_to = 0 \
     WHERE id IN (SELECT id FROM v)",
);

const RECHECKED: &str = "SELECT id FROM tasks WHERE recheck IS NOT NULL ORDER BY id";

fn recheck(dialect: Dialect) -> &'static str {
    macro_rules! sql {
        ($lock:literal) => {
            concat!(
                "SELECT t.campaign_id, t.recheck, t.rechecked_to, p.settings, t.state <> 'cancelled' AND p.state <> 'archived' ",
                "FROM tasks t JOIN campaigns p ON p.id = t.campaign_id WHERE t.id = $1 AND t.recheck IS NOT NULL",
                $lock
            )
        };
    }
    match dialect {
        Dialect::Sqlite => sql!(""),
        Dialect::Postgres => sql!(" FOR UPDATE OF t"),
    }
}

pub(crate) const HELD: &str = "SELECT contact_id, bucket_id, held_by FROM task_contacts WHERE task_id = $1 AND contact_id > $2 \
    AND held_by IS NOT NULL ORDER BY contact_id LIMIT $3";

const GO_ON: &str = "UPDATE tasks SET rechecked_to = $2 WHERE id = $1";

const DONE: &str = "UPDATE tasks SET recheck = NULL, rechecked_to = NULL WHERE id = $1";

/// Makes the buckets that wait due.
pub(crate) async fn look_again(tx: &mut Tx, campaign: CampaignId, now: Wall) -> Result<(), DbError> {
    tx.run(LOOK_AT_TASKS_AGAIN, args![campaign.0, now.0]).await?;
    tx.run(LOOK_AGAIN, args![campaign.0, now.0]).await?;
    Ok(())
}

/// Notes the rules and settings by which the gate is asked from now on. Buckets that wait are due at once; the contacts that are held one
/// by one are looked at by the job. `before`: the fingerprint of the last rules and settings, if the gate was asked before.
pub(crate) async fn policy_changed(
    tx: &mut Tx,
    before: Option<&str>,
    policy: &CampaignPolicy,
    now: Wall,
) -> Result<(), DbError> {
    let campaign = policy.config().id.0;
    tx.run(KEEP_FINGERPRINT, args![campaign, policy.fingerprint()])
        .await?;
    look_again(tx, policy.config().id, now).await?;
    if before.is_some() {
        tx.run(RECHECK_RULES, args![campaign]).await?;
    }
    Ok(())
}

/// Notes that suppression lists have changed.
pub(crate) async fn lists_changed(tx: &mut Tx) -> Result<(), DbError> {
    let tasks = tx.rows(tasks_held_by_lists(tx.dialect()), &[]).await?;
    let tasks = tasks.iter().map(|row| row.get::<i64>(0));
    let tasks = ids(tasks.collect::<Result<Vec<_>, _>>()?.into_iter());
    RECHECK_LISTS.run(tx, &tasks).await.map(drop)
}

/// Do-not-call entries that have ended, in the order of their ends.
pub(crate) const ENDED: &str = "SELECT expires_at_ms, id, number FROM dnc WHERE expires_at_ms >= $1 AND expires_at_ms <= $3 \
      AND (expires_at_ms > $1 OR id > $2) ORDER BY expires_at_ms, id LIMIT $4";

/// A place in the list of do-not-call entries by their ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryEnd {
    at_ms: i64,
    id: i64,
}

/// The result of one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rechecked {
    /// Contacts of which the next lease asks the gate again.
    pub contacts: u64,
    /// Their tasks.
    pub tasks: TasksToDial,
}

impl Store {
    /// Tasks whose held contacts are to be looked at again.
    pub async fn tasks_to_recheck(&self) -> Result<Vec<TaskId>, StoreError> {
        let read = |row: &Row| Ok(TaskId(row.get(0)?));
        self.read_all("find tasks to look at again", RECHECKED, &[], read)
            .await
    }

    /// Makes contacts ready that were denied because of do-not-call entries which have ended by `now`, up to some after this one. Returns
    /// the last entry, if there may be more, and the tasks.
    pub async fn reopen_ended_entries(
        &self,
        after: EntryEnd,
        now: Wall,
    ) -> Result<(EntryEnd, TasksToDial), StoreError> {
        self.write("look for do-not-call entries that have ended", async |tx| {
            let rows = tx.rows(ENDED, args![after.at_ms, after.id, now.0, SLICE]).await?;
            let numbers = rows.iter().map(|row| row.number(2));
            let numbers = numbers.collect::<Result<Vec<_>, _>>()?;
            let tasks = reopen_numbers(tx, numbers.iter(), "suppressed").await?;
            let last = match rows.last() {
                Some(row) => EntryEnd {
                    at_ms: row.get(0)?,
                    id: row.get(1)?,
                },
                None => after,
            };
            Ok((last, tasks))
        })
        .await
    }

    /// Looks at some more held contacts of a task. Returns `None` if there are no more.
    pub async fn recheck_some(&self, task: TaskId, now: Wall) -> Result<Option<Rechecked>, StoreError> {
        const DOING: &str = "look at contacts again that the gate holds";
        let lists = self.lists().map_err(crate::query(DOING))?;
        self.write(DOING, async |tx| {
            let Some(row) = tx.rows(recheck(tx.dialect()), args![task.0]).await?.pop() else {
                return Ok(None);
            };
            let after = row.get::<Option<i64>>(2)?.unwrap_or(0);
            let held = tx.rows(HELD, args![task.0, after, SLICE]).await?;
            let last = held.last().map(|row| row.get::<i64>(0)).transpose()?;
            let (Some(last), true) = (last, row.get::<bool>(4)?) else {
                tx.run(DONE, args![task.0]).await?;
                return Ok(None);
            };
            let campaign = CampaignId(row.get(0)?);
            let mut held = held
                .iter()
                .map(|row| read_held(row, campaign, task, now))
                .collect::<Result<Vec<_>, _>>()?;
            if row.get::<String>(1)? == "lists" {
                held.retain(|(_, rule)| rule == "suppressed");
                let settings = crate::settings::read(&row.get::<String>(3)?);
                let suppression = settings.map(|settings| settings.suppression).unwrap_or_default();
                let allowed = allowed(tx, &lists, &suppression, &held, now).await?;
                held.retain(|(held, _)| allowed.contains(&held.contact));
            }
            let held: Vec<Held> = held.into_iter().map(|(held, _)| held).collect();
            let tasks = open(tx, &held).await?;
            tx.run(GO_ON, args![task.0, last]).await?;
            Ok(Some(Rechecked {
                contacts: held.len() as u64,
                tasks,
            }))
        })
        .await
    }
}

fn read_held(row: &Row, campaign: CampaignId, task: TaskId, now: Wall) -> Result<(Held, String), DbError> {
    let held = Held {
        campaign,
        task,
        contact: ContactId(row.get(0)?),
        // Behind the contacts of which the gate was not asked yet.
        due: now,
    };
    Ok((held, row.get(2)?))
}

/// The contacts with a number that the campaign's lists allow.
async fn allowed(
    tx: &mut Tx,
    lists: &Lists,
    suppression: &SuppressionSettings,
    held: &[(Held, String)],
    now: Wall,
) -> Result<BTreeSet<ContactId>, DbError> {
    let contacts = held.iter().map(|(held, _)| held.contact);
    let numbers = numbers_of(Rows::In(tx), lists, contacts, now).await?;
    let is_allowed = numbers.into_iter().filter(|(_, numbers)| {
        let mut numbers = numbers.iter();
        numbers.any(|number| suppression.refuses(&number.listed).is_none())
    });
    Ok(is_allowed.map(|(contact, _)| contact).collect())
}
