//! Why the contacts of a task are not called: how many wait together, how many one by one, and what the gate said.

use super::ForecastPage;
use crate::Store;
use crate::db::{Row, args};
use crate::decisions;
use crate::error::{DbError, StoreError};
use crate::facts::{closed, localities};
use paceline_core::gate::{CampaignPolicy, Decision, Locality, RuleReason, RuleVerdict};
use paceline_core::ids::TaskId;
use paceline_core::outcome::Outcome;
use paceline_core::time::Wall;
use std::collections::BTreeMap;

/// Contacts of each kind that are looked at one by one.
const LOOKED_AT_MAX: i64 = 1_000;
/// Buckets whose due contacts are looked at, those with the most.
const BUCKETS_MAX: usize = 16;

const DOING: &str = "find out why contacts wait";

const BUCKETS: &str = "SELECT b.id, b.localities, sum(CASE WHEN c.due_at_ms <= $2 THEN 1 ELSE 0 END), count(*) \
    FROM task_buckets b JOIN task_contacts c ON c.bucket_id = b.id AND c.state = 'ready' \
    WHERE b.task_id = $1 GROUP BY b.id, b.localities";

/// Contacts that are due later, with the last decision about each.
const LATER: &str = "SELECT s.due_at_ms, s.last_outcome, d.reasons, d.until_ms \
    FROM (SELECT c.contact_id, c.due_at_ms, c.last_outcome FROM task_buckets b \
        JOIN task_contacts c ON c.bucket_id = b.id AND c.state = 'ready' AND c.due_at_ms > $2 WHERE b.task_id = $1 LIMIT $3) s \
      LEFT JOIN gate_decisions d ON d.id = (SELECT o.id FROM gate_decisions o WHERE o.contact_id = s.contact_id \
        AND o.task_id = $1 ORDER BY o.id DESC LIMIT 1)";

const DENIED: &str = "SELECT d.reasons FROM (SELECT contact_id FROM task_contacts WHERE task_id = $1 AND state = 'done' \
        AND last_outcome = 'blocked' LIMIT $2) s \
      JOIN gate_decisions d ON d.id = (SELECT o.id FROM gate_decisions o WHERE o.contact_id = s.contact_id \
        AND o.task_id = $1 AND o.verdict = 'deny' ORDER BY o.id DESC LIMIT 1)";

/// Why the contacts of a task are not called.
pub struct TaskStanding {
    /// Contacts that are due, in places where it is a time to call.
    pub due: u64,
    /// The next of them, for the gate to be asked about.
    pub due_pages: Vec<ForecastPage>,
    /// Contacts that wait together, because it is no time to call in their places. Those with the most contacts first.
    pub waiting: Vec<WaitingBucket>,
    /// Contacts that are due later, each at its own time.
    pub later: u64,
    /// The reasons for up to 1,000 of them.
    pub later_by: Vec<(LaterBy, u64)>,
    /// The rules that denied up to 1,000 of the contacts that the gate denied for good.
    pub denied_by: Vec<(RuleReason, u64)>,
}

/// Contacts of a task for which it is no time to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingBucket {
    /// The time zones in which they may be.
    pub time_zones: Vec<String>,
    /// The end of the wait.
    pub until: Wall,
    /// The rules that defer them.
    pub reasons: Vec<RuleReason>,
    /// The number of contacts.
    pub contacts: u64,
}

/// Why a contact is due later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaterBy {
    /// The gate deferred it; this rule decided.
    Gate(RuleReason),
    /// It waits for a retry after an attempt with this outcome.
    Retry(Outcome),
    /// Another contact had its number, or the campaign took it back.
    Other,
}

impl Store {
    /// Why the contacts of a task are not called at `now`. It counts all waiting contacts of the task.
    pub async fn task_standing(
        &self,
        policy: &CampaignPolicy,
        task: TaskId,
        now: Wall,
    ) -> Result<TaskStanding, StoreError> {
        let buckets = self
            .read_all(DOING, BUCKETS, args![task.0, now.0], |row| {
                Ok((
                    row.get::<i64>(0)?,
                    localities(&row.get::<String>(1)?),
                    row.size(2)?,
                    row.size(3)?,
                ))
            })
            .await?;
        let (mut due, mut later, mut waiting, mut open) = (0, 0, Vec::new(), Vec::new());
        for (id, places, due_now, all) in buckets {
            later += all.saturating_sub(due_now);
            if due_now == 0 {
                continue;
            }
            match closed(policy, now, &places, reasons) {
                Some((until, reasons)) => waiting.push(WaitingBucket {
                    time_zones: zones(&places),
                    until,
                    reasons,
                    contacts: due_now,
                }),
                None => {
                    due += due_now;
                    open.push((due_now, id));
                }
            }
        }
        waiting.sort_by_key(|bucket| std::cmp::Reverse(bucket.contacts));
        open.sort_unstable_by_key(|(due, id)| (std::cmp::Reverse(*due), *id));
        open.truncate(BUCKETS_MAX);
        let each = LOOKED_AT_MAX / i64::try_from(open.len().max(1)).unwrap_or(1);
        let mut due_pages = Vec::with_capacity(open.len());
        for (_, bucket) in open {
            due_pages.push(self.forecast_due(policy, bucket, each, now).await?);
        }
        Ok(TaskStanding {
            due,
            due_pages,
            waiting,
            later,
            later_by: self.later_by(task, now).await?,
            denied_by: self.denied_by(task).await?,
        })
    }

    async fn later_by(&self, task: TaskId, now: Wall) -> Result<Vec<(LaterBy, u64)>, StoreError> {
        let args = args![task.0, now.0, LOOKED_AT_MAX];
        let read = self.read_all(DOING, LATER, args, |row| {
            let due_at_ms = row.get::<i64>(0)?;
            let said = row.get::<Option<String>>(2)?;
            let said = said.filter(|_| row.get::<Option<i64>>(3).ok().flatten() == Some(due_at_ms));
            let rule = said.map(|said| deciding(&said)).transpose()?.flatten();
            Ok(match (rule, row.maybe_word(1)?) {
                (Some(rule), _) => LaterBy::Gate(rule),
                (None, Some(outcome)) => LaterBy::Retry(outcome),
                (None, None) => LaterBy::Other,
            })
        });
        let name = |by: &LaterBy| match by {
            LaterBy::Gate(rule) => (rule.profile.clone(), rule.rule.clone()),
            LaterBy::Retry(outcome) => (String::new(), outcome.as_str().to_owned()),
            LaterBy::Other => (String::new(), String::new()),
        };
        Ok(counted(read.await?, name))
    }

    async fn denied_by(&self, task: TaskId) -> Result<Vec<(RuleReason, u64)>, StoreError> {
        let args = args![task.0, LOOKED_AT_MAX];
        let read = |row: &Row| deciding(&row.get::<String>(0)?);
        let rules = self.read_all(DOING, DENIED, args, read).await?;
        let name = |rule: &RuleReason| (rule.profile.clone(), rule.rule.clone());
        Ok(counted(rules.into_iter().flatten().collect(), name))
    }
}

/// Each thing once with its number, those with the highest numbers first.
fn counted<T>(all: Vec<T>, name: impl Fn(&T) -> (String, String)) -> Vec<(T, u64)> {
    let mut counts = BTreeMap::new();
    for one in all {
        counts.entry(name(&one)).or_insert((one, 0)).1 += 1;
    }
    let mut counts: Vec<_> = counts.into_values().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

fn reasons(decision: &Decision) -> Vec<RuleReason> {
    decision.reasons.iter().map(RuleReason::from).collect()
}

fn zones(places: &[Locality]) -> Vec<String> {
    let mut zones: Vec<_> = places
        .iter()
        .flat_map(Locality::zones)
        .map(str::to_owned)
        .collect();
    zones.sort_unstable();
    zones.dedup();
    zones
}

/// The rule that decided: the first that denies, or else the first that defers.
fn deciding(stored: &str) -> Result<Option<RuleReason>, DbError> {
    let reasons = decisions::reasons(stored)?;
    let first = |verdict| reasons.iter().find(|reason| reason.verdict == verdict);
    Ok(first(RuleVerdict::Deny)
        .or_else(|| first(RuleVerdict::Defer))
        .cloned())
}
