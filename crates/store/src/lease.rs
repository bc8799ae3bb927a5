//! Leasing: chooses the contacts to call next, if the gate allows them and their number is free. One lease is one
//! transaction that looks at a bounded number of contacts, so contacts that must wait neither starve nor block others.
//!
//! Contacts whose numbers may be in the same places share one bucket of their task: the rules of hours say the same of all. A lease asks the
//! gate about the bucket first. If the gate defers it, the whole bucket waits as one row with one decision in the
//! ledger, and the lease does not look at its contacts. Tasks take turns.

mod buckets;
mod choose;
mod decided;

use buckets::{Bucket, BucketLease, read_bucket};
pub(super) use decided::{Decided, Over, insert_decisions};

use super::Store;
use super::bulk_statement::BulkStatement;
use super::db::{Arg, CommitError, Dialect, Row, Rows, TRANSACTION_TIMEOUT, Tx, args};
use super::dial::complete_tasks;
use super::error::{DbError, DbErrorKind, StoreError};
use super::facts::{Callee, Case, Histories, Judgement, add_tags, callee_columns, histories};
use super::outside::Checked;
use super::suppression::Lists;
use super::tasks::recheck::policy_changed;
use paceline_core::campaign::suppression::SuppressionSettings;
use paceline_core::gate::{CampaignPolicy, GateStage, GateVerdict};
use paceline_core::ids::{CampaignId, ContactId, TaskId};
use paceline_core::input::Lead;
use paceline_core::outcome::Outcome;
use paceline_core::suppression::ListRefusal;
use paceline_core::time::Wall;
use std::sync::Arc;
use std::time::Duration;

/// The result of a lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leased {
    /// Leased contacts that the gate allowed, in due order within each task.
    pub leads: Vec<Lead>,
    /// The earliest time at which a contact of a running task may be due. Not after `now` if this lease stopped at
    /// its limits: then lease again. `None` if no contact waits.
    pub next_due: Option<Wall>,
    /// Contacts that the gate deferred one by one.
    pub deferred: u64,
    /// Buckets that the gate deferred as a whole.
    pub deferred_buckets: u64,
    /// Contacts that the gate denied. They are done with the outcome `blocked`.
    pub denied: u64,
    /// Contacts deferred because another contact holds their number.
    pub locked: u64,
}

/// A contact whose number is held by another contact is due again after this time.
const LOCKED_RETRY: Duration = Duration::from_secs(60);
/// Contacts that one lease may defer or deny in addition to those that it leases.
const SETTLED_MAX: usize = 512;
const TASKS_PER_ROUND: i64 = 32;
const ROUNDS_MAX: usize = 32;
/// Contacts read at a time, so that a few contacts that must wait do not cost a query each.
const PAGE_MIN: usize = 16;
const PAGE_MAX: usize = 256;
/// A list of a whole country has 50 to 100 open buckets. With an equal share each would cost a query for one contact.
const BUCKET_SHARE_MIN: usize = 8;
/// The value of `next_due_at_ms` if no contact is ready.
pub(super) const NEVER: i64 = i64::MAX;

pub(super) const IS_ACTIVE: &str =
    "SELECT gate_fingerprint FROM campaigns WHERE id = $1 AND state = 'active'";

/// The earliest time at which a contact of a running task may be due; [`NEVER`] if none is ready.
pub(super) const NEXT_DUE: &str = "SELECT next_due_at_ms FROM tasks WHERE campaign_id = $1 AND state = 'running' ORDER BY next_due_at_ms LIMIT 1";

/// Run it after [`RAISE_BUCKETS`] and [`DEFER_BUCKETS`].
pub(super) const RAISE_NEXT_DUE: &str = "UPDATE tasks SET next_due_at_ms = coalesce((SELECT min(b.next_due_at_ms) \
      FROM task_buckets b WHERE b.task_id = tasks.id), $2) WHERE id = $1";

/// Buckets of a task that may contain due contacts. The caller holds the lock on the task's row.
pub(super) const DUE_BUCKETS: &str = "SELECT id, localities, waits_from_ms, waits_until_ms, wait_reasons FROM task_buckets \
    WHERE task_id = $1 AND next_due_at_ms <= $2 ORDER BY next_due_at_ms, id";

/// The number in the text is [`NEVER`], because a statement over many rows has no other parameter.
pub(super) static RAISE_BUCKETS: BulkStatement = BulkStatement::new(
    1,
    "WITH v(id) AS (VALUES {rows}) UPDATE task_buckets SET next_due_at_ms = coalesce((SELECT c.due_at_ms \
       FROM task_contacts c WHERE c.bucket_id = task_buckets.id AND c.state = 'ready' ORDER BY c.due_at_ms LIMIT 1), \
       9223372036854775807) WHERE id IN (SELECT id FROM v)",
);

pub(super) static DEFER_BUCKETS: BulkStatement = BulkStatement::new(
    4,
    "WITH v(id, waits_from_ms, waits_until_ms, wait_reasons) AS (VALUES {rows}) \
     UPDATE task_buckets SET next_due_at_ms = v.waits_until_ms, waits_from_ms = v.waits_from_ms, \
       waits_until_ms = v.waits_until_ms, wait_reasons = v.wait_reasons FROM v WHERE task_buckets.id = v.id",
);

/// Due tasks, starting with those after the task that was served last.
///
/// SQLite allows one writing transaction at a time; on PostgreSQL the statement must lock the rows that it reads. It
/// waits for a locked task, because a skipped task would look empty. [`due_contacts`] skips locked contacts, because
/// another transaction is settling them.
pub(super) fn due_tasks(dialect: Dialect) -> &'static str {
    macro_rules! sql {
        ($lock:literal) => {
            concat!(
                "SELECT id, retries_max FROM tasks WHERE campaign_id = $1 AND state = 'running' ",
                "AND next_due_at_ms <= $2 ORDER BY id <= $3, id LIMIT $4",
                $lock
            )
        };
    }
    match dialect {
        Dialect::Sqlite => sql!(""),
        Dialect::Postgres => sql!(" FOR UPDATE"),
    }
}

/// The position of the contact's first number that is not part of an unpublished import and that meets the condition.
macro_rules! first_number {
    ($and:literal) => {
        concat!(
            "(SELECT min(cm.position) FROM contact_numbers cm WHERE cm.contact_id = tc.contact_id ",
            "AND NOT EXISTS (SELECT 1 FROM imports i WHERE i.id = cm.import_id ",
            "AND i.state IN ('running', 'stopped', 'staged', 'clearing')) ",
            $and,
            ")"
        )
    };
}

/// Due contacts with the number to dial: the first number without a do-not-call entry for every campaign, or the first of
/// all if every number has one. `Lease::choose` looks at the other lists.
pub(super) fn due_contacts(dialect: Dialect) -> &'static str {
    macro_rules! sql {
        ($lock:literal) => {
            concat!(
                "SELECT tc.contact_id, tc.due_at_ms, tc.attempts_made, tc.tries_made, cn.number, ",
                "EXISTS (SELECT 1 FROM dnc d WHERE d.number = cn.number AND d.scope = 'all' ",
                "AND (d.expires_at_ms IS NULL OR d.expires_at_ms > $2)), ",
                "EXISTS (SELECT 1 FROM dnc d WHERE d.number = cn.number AND d.scope <> 'all'), ",
                "EXISTS (SELECT 1 FROM number_leases n WHERE n.number = cn.number), ",
                callee_columns!(),
                " ",
                "FROM task_contacts tc JOIN contacts c ON c.id = tc.contact_id ",
                "JOIN contact_numbers cn ON cn.contact_id = tc.contact_id AND cn.position = coalesce(",
                first_number!(
                    "AND NOT EXISTS (SELECT 1 FROM dnc d WHERE d.number = cm.number AND d.scope = 'all' \
                     AND (d.expires_at_ms IS NULL OR d.expires_at_ms > $2))"
                ),
                ", ",
                first_number!(""),
                ") ",
                "WHERE tc.bucket_id = $1 AND tc.state = 'ready' AND tc.due_at_ms <= $2 ",
                "ORDER BY tc.due_at_ms, tc.contact_id LIMIT $3",
                $lock
            )
        };
    }
    match dialect {
        Dialect::Sqlite => sql!(""),
        Dialect::Postgres => sql!(" FOR UPDATE OF tc SKIP LOCKED"),
    }
}

pub(super) static SETTLE: BulkStatement = BulkStatement::new(
    6,
    "WITH v(task_id, contact_id, state, due_at_ms, outcome, held_by) AS (VALUES {rows}) \
     UPDATE task_contacts SET state = v.state, due_at_ms = v.due_at_ms, held_by = v.held_by, \
       last_outcome = coalesce(v.outcome, task_contacts.last_outcome) \
     FROM v WHERE task_contacts.task_id = v.task_id AND task_contacts.contact_id = v.contact_id",
);

struct Due {
    lead: Lead,
    due_at_ms: i64,
    callee: Callee,
    refused_by: Option<ListRefusal>,
    /// The number has entries with a scope of their own, which may be one of the campaign's.
    scoped: bool,
    held: bool,
}

enum LeaseResult {
    Leased,
    Deferred(Wall),
    Denied,
    Locked,
}

impl Store {
    /// Leases up to `limit` due contacts of an active campaign's running tasks, which share the limit. Asks the gate
    /// about each contact, stores the decision, and locks the number. If the campaign is not active, leases nothing.
    pub async fn lease(
        &self,
        policy: &CampaignPolicy,
        limit: usize,
        now: Wall,
    ) -> Result<Leased, StoreError> {
        let campaign = policy.config().id;
        let mut in_doubt = Vec::new();
        let leasing = async {
            self.pools.ledger().check_room()?;
            let mut tx = self.pools.begin().await?;
            let mut lease = Lease {
                campaign,
                policy,
                lists: self.lists()?,
                now,
                limit,
                settled_left: SETTLED_MAX,
                served: self.turns().get(&campaign).copied().unwrap_or(TaskId(0)),
                decisions: Vec::new(),
                leased: Leased::default(),
            };
            let timeout = |_| DbError::new(DbErrorKind::Passing, "the transaction took too long");
            tokio::time::timeout(TRANSACTION_TIMEOUT, lease.run(&mut tx, campaign))
                .await
                .map_err(timeout)??;
            if let Err(error) = tx.commit().await {
                if let CommitError::Unknown(_) = error {
                    in_doubt.extend(lease.leased.leads.iter().map(|lead| (lead.task, lead.contact)));
                }
                return Err(DbError::from(error));
            }
            self.turns().insert(campaign, lease.served);
            self.count_decisions(&lease.decisions);
            Ok(lease.leased)
        };
        leasing.await.map_err(|source| StoreError::Lease {
            campaign,
            in_doubt,
            source,
        })
    }

    pub(super) fn count_decisions(&self, decisions: &[Decided]) {
        for d in decisions {
            self.metrics
                .count_decision(d.stage, d.decision.verdict, &d.decision.rule);
        }
    }
}

struct Lease<'a> {
    campaign: CampaignId,
    policy: &'a CampaignPolicy,
    lists: Arc<Lists>,
    now: Wall,
    limit: usize,
    settled_left: usize,
    served: TaskId,
    decisions: Vec<Decided>,
    leased: Leased,
}

impl Lease<'_> {
    async fn run(&mut self, tx: &mut Tx, campaign: CampaignId) -> Result<(), DbError> {
        // The campaign's engine may not know yet that the campaign was paused.
        let Some(row) = tx.rows(IS_ACTIVE, args![campaign.0]).await?.pop() else {
            return Ok(());
        };
        let before = row.get::<Option<String>>(0)?;
        if before.as_deref() != Some(self.policy.fingerprint()) {
            policy_changed(tx, before.as_deref(), self.policy, self.now).await?;
        }
        for _ in 0..ROUNDS_MAX {
            let tasks = due_tasks(tx.dialect());
            let tasks = tx
                .rows(
                    tasks,
                    args![campaign.0, self.now.0, self.served.0, TASKS_PER_ROUND],
                )
                .await?;
            if tasks.is_empty() || self.is_full() {
                break;
            }
            self.round(tx, &tasks).await?;
        }
        insert_decisions(tx, &self.decisions).await?;
        let next = tx.rows(NEXT_DUE, args![campaign.0]).await?;
        let next = next.first().map(|row| row.get::<i64>(0)).transpose()?;
        self.leased.next_due = next.filter(|at| *at != NEVER).map(Wall);
        Ok(())
    }

    fn suppression(&self) -> &SuppressionSettings {
        &self.policy.config().settings.suppression
    }

    /// The longest ring time.
    fn ring_timeout(&self) -> Duration {
        self.policy.config().settings.dialing.ring_timeout()
    }

    fn is_full(&self) -> bool {
        self.leased.leads.len() >= self.limit || self.settled_left == 0
    }

    /// Gives every task an equal share of the remaining limits, including the limit on deferred and denied contacts.
    /// Later tasks also get what earlier ones could not use.
    async fn round(&mut self, tx: &mut Tx, tasks: &[Row]) -> Result<(), DbError> {
        let mut empty = Vec::new();
        for (n, row) in tasks.iter().enumerate() {
            if self.is_full() {
                break;
            }
            let tasks_left = tasks.len().saturating_sub(n).max(1);
            let left = self.limit.saturating_sub(self.leased.leads.len());
            let settled_later = self.settled_left - self.settled_left.div_ceil(tasks_left);
            self.settled_left -= settled_later;
            let (task, retries_max) = (TaskId(row.get(0)?), row.count(1)?);
            let is_empty = self
                .lease_of_task(tx, task, retries_max, left.div_ceil(tasks_left))
                .await?;
            self.settled_left += settled_later;
            self.served = task;
            if is_empty {
                empty.push(Arg::from(task.0));
            }
        }
        complete_tasks(tx, &empty).await
    }

    /// Leases up to `share` contacts of a task. Returns true if the task has no other due contacts.
    async fn lease_of_task(
        &mut self,
        tx: &mut Tx,
        task: TaskId,
        retries_max: u32,
        share: usize,
    ) -> Result<bool, DbError> {
        let rows = tx.rows(DUE_BUCKETS, args![task.0, self.now.0]).await?;
        let buckets = rows.iter().map(read_bucket).collect::<Result<Vec<_>, _>>()?;
        let mut open = self.defer_closed(tx, task, buckets).await?;
        // The first bucket is random, so that no bucket is always served first.
        let first = rand::random_range(0..open.len().max(1));
        open.rotate_left(first);
        let (mut raised, mut waiting) = (Vec::new(), Vec::new());
        let (mut wanted, count) = (share, open.len());
        for (n, bucket) in open.into_iter().enumerate() {
            let share = wanted.div_ceil(count.saturating_sub(n).max(1));
            let share = share.max(BUCKET_SHARE_MIN).min(wanted);
            let before = self.leased.leads.len();
            match self
                .lease_of_bucket(tx, &bucket, task, retries_max, share)
                .await?
            {
                BucketLease::MoreDue => {}
                BucketLease::NoneDue => raised.push(Arg::from(bucket.id)),
                BucketLease::Waits(until, decision) => waiting.push((bucket, until, decision)),
            }
            wanted = wanted.saturating_sub(self.leased.leads.len().saturating_sub(before));
        }
        self.defer_buckets(tx, task, waiting).await?;
        RAISE_BUCKETS.run(tx, &raised).await?;
        tx.run(RAISE_NEXT_DUE, args![task.0, NEVER]).await?;
        Ok(raised.len() == count)
    }

    /// Leases up to `share` contacts of a bucket.
    async fn lease_of_bucket(
        &mut self,
        tx: &mut Tx,
        bucket: &Bucket,
        task: TaskId,
        retries_max: u32,
        share: usize,
    ) -> Result<BucketLease, DbError> {
        let (mut wanted, mut page) = (share, share.clamp(PAGE_MIN, PAGE_MAX));
        while wanted > 0 && self.settled_left > 0 {
            let limit = i64::try_from(page).unwrap_or(i64::MAX);
            let rows = tx
                .rows(due_contacts(tx.dialect()), args![bucket.id, self.now.0, limit])
                .await?;
            let all_read = rows.len() < page;
            let mut due = Vec::with_capacity(rows.len());
            for row in &rows {
                match self.read_due(row, task, retries_max) {
                    Ok(contact) => due.push(contact),
                    Err(error) if error.kind == DbErrorKind::Decode => {
                        let contact = ContactId(row.get(0)?);
                        self.set_aside(tx, task, contact, &error).await?;
                    }
                    Err(error) => return Err(error),
                }
            }
            let set_aside = rows.len() - due.len();
            if self.policy.rules().reads_tags() {
                add_tags(
                    Rows::In(tx),
                    due.iter_mut().map(|due| (due.lead.contact, &mut due.callee)),
                )
                .await?;
            }
            self.choose(tx, &mut due).await?;
            let checked = self.checked(tx, &due).await?;
            if let Some((until, decision)) = self.unanswered(&due, checked.as_ref()) {
                return Ok(BucketLease::Waits(until, decision));
            }
            let (taken, looked_at) = self.settle(tx, due, checked.as_ref(), wanted).await?;
            wanted = wanted.saturating_sub(taken);
            if looked_at + set_aside == rows.len() && all_read {
                return Ok(BucketLease::NoneDue);
            }
            // If most contacts cannot be leased, larger pages need fewer statements.
            page = (page * 2).min(PAGE_MAX);
        }
        Ok(BucketLease::MoreDue)
    }

    /// Decides over due contacts in order until `wanted` are allowed. Returns how many were leased and how many were
    /// looked at.
    async fn settle(
        &mut self,
        tx: &mut Tx,
        due: Vec<Due>,
        checked: Option<&Checked>,
        wanted: usize,
    ) -> Result<(usize, usize), DbError> {
        let histories = histories(
            Rows::In(tx),
            due.iter().map(|due| (due.lead.contact, &due.lead.number)),
        )
        .await?;
        let mut results = Vec::with_capacity(due.len());
        let mut allowed = 0;
        for due in due {
            if allowed == wanted || self.settled_left == 0 {
                break;
            }
            let (result, decision) = self.decide(&due, &histories, checked);
            match result {
                LeaseResult::Leased => allowed += 1,
                LeaseResult::Deferred(_) | LeaseResult::Denied | LeaseResult::Locked => {
                    self.settled_left -= 1
                }
            }
            results.push((due, result, decision));
        }
        let looked_at = results.len();
        let taken = self.take_numbers(tx, &results).await?;
        for (due, result, _) in &mut results {
            if matches!(result, LeaseResult::Leased) && !taken.contains(&due.lead.contact) {
                *result = LeaseResult::Locked;
            }
        }
        self.store_results(tx, results).await?;
        Ok((taken.len(), looked_at))
    }

    fn read_due(&self, row: &Row, task: TaskId, retries_max: u32) -> Result<Due, DbError> {
        Ok(Due {
            lead: Lead {
                contact: ContactId(row.get(0)?),
                task,
                number: row.number(4)?,
                attempts_made: row.count(2)?,
                tries_made: row.count(3)?,
                retries_max,
            },
            due_at_ms: row.get(1)?,
            refused_by: row.get::<bool>(5)?.then_some(ListRefusal::Dnc),
            scoped: row.get(6)?,
            held: row.get(7)?,
            callee: Callee::read(row, 8, self.policy)?,
        })
    }

    fn decide(
        &self,
        due: &Due,
        histories: &Histories,
        checked: Option<&Checked>,
    ) -> (LeaseResult, Option<Judgement>) {
        if due.held {
            return (LeaseResult::Locked, None);
        }
        let case = Case {
            policy: self.policy,
            at: self.now,
            ring_timeout: self.ring_timeout(),
            number: &due.lead.number,
            callee: &due.callee,
            history: histories
                .get(&due.lead.contact)
                .map(Vec::as_slice)
                .unwrap_or_default(),
            refused_by: due.refused_by,
            outside: checked.map(|checked| checked.of(&due.lead.number)),
        };
        let decision = case.decide(None);
        let result = match decision.verdict {
            GateVerdict::Allow => LeaseResult::Leased,
            GateVerdict::Defer { until_ms } => LeaseResult::Deferred(until_ms),
            GateVerdict::Deny => LeaseResult::Denied,
        };
        (result, Some(decision))
    }

    async fn store_results(
        &mut self,
        tx: &mut Tx,
        results: Vec<(Due, LeaseResult, Option<Judgement>)>,
    ) -> Result<(), DbError> {
        let mut held_by = Vec::with_capacity(results.len());
        for (_, result, decision) in &results {
            held_by.push(match result {
                LeaseResult::Deferred(_) | LeaseResult::Denied => decision.as_ref().map(|d| d.rule.clone()),
                LeaseResult::Leased | LeaseResult::Locked => None,
            });
        }
        let mut rows = Vec::with_capacity(results.len() * 6);
        for ((due, result, decision), held_by) in results.into_iter().zip(&held_by) {
            let (state, due_at_ms, outcome) = match result {
                LeaseResult::Leased => ("leased", due.due_at_ms, None),
                LeaseResult::Deferred(until) => ("ready", until.0, None),
                LeaseResult::Denied => ("done", due.due_at_ms, Some(Outcome::Blocked.as_str())),
                LeaseResult::Locked => ("ready", self.now.plus(LOCKED_RETRY).0, None),
            };
            let (task, contact) = (due.lead.task, due.lead.contact);
            rows.extend_from_slice(args![
                task.0,
                contact.0,
                state,
                due_at_ms,
                outcome,
                held_by.as_deref()
            ]);
            // If the number was held, the gate's answer was not used, so it is not written to the ledger.
            if let (LeaseResult::Leased | LeaseResult::Deferred(_) | LeaseResult::Denied, Some(decision)) =
                (&result, decision)
            {
                self.decisions.push(Decided {
                    at: self.now,
                    task,
                    over: Over::Contact(contact),
                    campaign: self.campaign,
                    number: Some(due.lead.number.clone()),
                    attempt: None,
                    stage: GateStage::Lease,
                    decision,
                });
            }
            match result {
                LeaseResult::Leased => self.leased.leads.push(due.lead),
                LeaseResult::Deferred(_) => self.leased.deferred += 1,
                LeaseResult::Denied => self.leased.denied += 1,
                LeaseResult::Locked => self.leased.locked += 1,
            }
        }
        SETTLE.run(tx, &rows).await?;
        Ok(())
    }
}
