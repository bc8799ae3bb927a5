//! Makes finished contacts of a task ready again, in short transactions so that the dialer can work in between. Each
//! transaction leaves the task consistent. After a failure, a second call does the rest.

use super::Store;
use crate::db::{Arg, Dialect, Row, Tx, args};
use crate::error::{DbError, StoreError};
use paceline_core::campaign::{CampaignState, TaskState};
use paceline_core::ids::TaskId;
use paceline_core::outcome::Outcome;
use paceline_core::requeue::Requeue;
use paceline_core::time::Wall;
use std::collections::{BTreeMap, BTreeSet};

/// The result of queueing contacts again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requeued {
    /// The number of contacts made ready, by the outcome of their last attempt.
    Done(BTreeMap<Outcome, u64>),
    /// The task does not exist.
    NoTask,
    /// The task is cancelled, which is final.
    Cancelled,
    /// The task's campaign is archived.
    Archived,
}

const DOING: &str = "queue a task's contacts again";

/// Contacts that one transaction looks at: about 10 ms if all of them are queued.
const SLICE: i64 = 500;
/// The number of outcomes that a statement has parameters for.
const OUTCOMES: usize = 6;

/// The last contact of the next slice, and how many of its contacts may be queued.
const LOOK: &str = "SELECT max(contact_id), \
      coalesce(sum(CASE WHEN state = 'done' AND last_outcome IN ($4, $5, $6, $7, $8, $9) THEN 1 ELSE 0 END), 0) \
    FROM (SELECT contact_id, state, last_outcome FROM task_contacts WHERE task_id = $1 AND contact_id > $2 \
      ORDER BY contact_id LIMIT $3) slice";

/// The conditions must agree with [`Requeue::takes`]. A contact whose outcome comes from the gate has no attempt with
/// that outcome.
pub(crate) const QUEUE: &str = "UPDATE task_contacts SET state = 'ready', due_at_ms = $10, tries_made = 0 \
    WHERE task_id = $1 AND contact_id > $2 AND contact_id <= $3 AND state = 'done' \
      AND last_outcome IN ($4, $5, $6, $7, $8, $9) \
      AND EXISTS (SELECT 1 FROM attempts a WHERE a.contact_id = task_contacts.contact_id AND a.task_id = task_contacts.task_id \
        AND a.ordinal = task_contacts.attempts_made AND a.outcome = task_contacts.last_outcome AND a.answered_at_ms IS NULL \
        AND ($11 OR NOT EXISTS (SELECT 1 FROM legs l WHERE l.attempt_id = a.id AND l.progress IS NOT NULL))) \
    RETURNING bucket_id, last_outcome";

const LOWER_BUCKET: &str =
    "UPDATE task_buckets SET next_due_at_ms = $2 WHERE id = $1 AND next_due_at_ms > $2";

/// A completed task runs again, because it has contacts to call.
const LOWER_TASK: &str = "UPDATE tasks SET state = CASE WHEN state = 'completed' THEN 'running' ELSE state END, \
      next_due_at_ms = CASE WHEN next_due_at_ms > $2 THEN $2 ELSE next_due_at_ms END \
    WHERE id = $1";

/// On PostgreSQL it locks the task's row, as does every transaction that makes a contact of the task due.
fn states(dialect: Dialect) -> &'static str {
    macro_rules! sql {
        ($lock:literal) => {
            concat!(
                "SELECT t.state, c.state FROM tasks t JOIN campaigns c ON c.id = t.campaign_id WHERE t.id = $1",
                $lock
            )
        };
    }
    match dialect {
        Dialect::Sqlite => sql!(""),
        Dialect::Postgres => sql!(" FOR UPDATE OF t"),
    }
}

/// The result of one transaction.
enum Slice {
    Queued(BTreeMap<Outcome, u64>),
    Refused(Requeued),
}

impl Store {
    /// Makes finished contacts of a task ready, due `now`, with all their tries before them. Attempts made stay
    /// counted. A completed task runs again.
    pub async fn requeue(&self, id: TaskId, which: &Requeue, now: Wall) -> Result<Requeued, StoreError> {
        let mut queued = BTreeMap::new();
        let (mut after, mut is_first) = (0, true);
        loop {
            let look = bound([id.0, after, SLICE], which);
            let read = |row: &Row| Ok((row.get::<Option<i64>>(0)?, row.size(1)?));
            let seen = self.read_all(DOING, LOOK, &look, read).await?;
            let (last, candidates) = seen.into_iter().next().unwrap_or_default();
            // The first slice is always written, even if empty, to check the states of the task and campaign.
            if candidates > 0 || is_first {
                let until = last.unwrap_or(after);
                match self.requeue_slice(id, which, (after, until), now).await? {
                    Slice::Queued(some) => {
                        for (outcome, n) in some {
                            *queued.entry(outcome).or_default() += n;
                        }
                    }
                    Slice::Refused(why) => return Ok(why),
                }
            }
            is_first = false;
            match last {
                Some(last) => after = last,
                None => return Ok(Requeued::Done(queued)),
            }
        }
    }

    async fn requeue_slice(
        &self,
        id: TaskId,
        which: &Requeue,
        (after, until): (i64, i64),
        now: Wall,
    ) -> Result<Slice, StoreError> {
        self.write(DOING, async |tx| {
            let states = tx.rows(states(tx.dialect()), args![id.0]).await?;
            let Some(row) = states.first() else {
                return Ok(Slice::Refused(Requeued::NoTask));
            };
            if row.word::<TaskState>(0)? == TaskState::Cancelled {
                return Ok(Slice::Refused(Requeued::Cancelled));
            }
            if row.word::<CampaignState>(1)? == CampaignState::Archived {
                return Ok(Slice::Refused(Requeued::Archived));
            }
            let mut args = bound([id.0, after, until], which);
            args.extend_from_slice(args![now.0, which.rang_too()]);
            let rows = tx.rows(QUEUE, &args).await?;
            Ok(Slice::Queued(lower_next_due(tx, id, &rows, now).await?))
        })
        .await
    }
}

/// Notes that these contacts are due. Returns their number by outcome.
async fn lower_next_due(
    tx: &mut Tx,
    id: TaskId,
    rows: &[Row],
    now: Wall,
) -> Result<BTreeMap<Outcome, u64>, DbError> {
    let mut queued: BTreeMap<Outcome, u64> = BTreeMap::new();
    let mut buckets = BTreeSet::new();
    for row in rows {
        buckets.insert(row.get::<i64>(0)?);
        *queued.entry(row.word(1)?).or_default() += 1;
    }
    if buckets.is_empty() {
        return Ok(queued);
    }
    for bucket in buckets {
        tx.run(LOWER_BUCKET, args![bucket, now.0]).await?;
    }
    tx.run(LOWER_TASK, args![id.0, now.0]).await?;
    Ok(queued)
}

/// The bound values: three numbers, then the outcomes, then nulls in the unused parameters.
fn bound(numbers: [i64; 3], which: &Requeue) -> Vec<Arg<'static>> {
    let words = which.outcomes().map(|outcome| Some(outcome.as_str()));
    let words = words.chain(std::iter::repeat(None)).take(OUTCOMES);
    numbers
        .into_iter()
        .map(Arg::from)
        .chain(words.map(Arg::from))
        .collect()
}
