//! Writes a batch as SQL: one statement per table, in one transaction. If the result of a commit is unknown, the
//! batch may run again; it then changes nothing.

use super::batch::Batch;
#[cfg(test)]
use super::plan::FACTS;
use super::plan::{LEGS, insert_attempts, plan, settle};
use crate::Store;
use crate::bulk_statement::BulkStatement;
use crate::db::{Arg, CommitError, TRANSACTION_TIMEOUT, Tx, args};
use crate::dial::{complete_tasks, lower_next_due, make_ready};
use crate::error::{DbError, DbErrorKind};
use crate::lease::{Decided, insert_decisions};
use crate::suppression::Lists;
use paceline_core::agent::AgentState;
use paceline_core::ids::{AttemptId, ContactId, TaskId};
use paceline_core::input::Prepared;
use std::collections::{BTreeMap, BTreeSet};

/// The failure of a batch.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing of the batch is stored.
    NotStored(DbError),
    /// The batch may be stored or not. The answers are valid if it is stored.
    Unknown(DbError, BTreeMap<AttemptId, Answer>),
}

/// The answer for each attempt, and the stored decisions.
pub(super) type Written = (BTreeMap<AttemptId, Answer>, Vec<Decided>);

/// The result of preparing an attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) prepared: Prepared,
    pub(super) task: TaskId,
    pub(super) contact: ContactId,
}

/// Applies only to an open attempt: if the batch runs again after its commit, it must not settle a later lease.
static SETTLE_ENDED: BulkStatement = BulkStatement::new(
    7,
    "WITH v(attempt_id, task_id, contact_id, state, due_at_ms, outcome, tries) AS (VALUES {rows}) \
     UPDATE task_contacts SET state = v.state, due_at_ms = coalesce(v.due_at_ms, task_contacts.due_at_ms), \
       last_outcome = v.outcome, attempts_made = attempts_made + 1, tries_made = tries_made + v.tries \
     FROM v WHERE task_contacts.task_id = v.task_id AND task_contacts.contact_id = v.contact_id \
       AND task_contacts.state = 'leased' \
       AND EXISTS (SELECT 1 FROM attempts a WHERE a.id = v.attempt_id AND a.ended_at_ms IS NULL)",
);

/// The number of an open attempt is always leased for it.
static FREE_ENDED: BulkStatement = BulkStatement::new(
    1,
    "WITH v(attempt_id) AS (VALUES {rows}) \
     DELETE FROM number_leases WHERE number IN (SELECT a.number FROM v JOIN attempts a ON a.id = v.attempt_id \
       WHERE a.ended_at_ms IS NULL)",
);

static UPDATE_ATTEMPTS: BulkStatement = BulkStatement::new(
    9,
    "WITH v(id, answered_at_ms, connected_at_ms, agent_id, abandoned_at_ms, ended_at_ms, outcome, message, message_at_ms) \
       AS (VALUES {rows}) \
     UPDATE attempts SET answered_at_ms = coalesce(attempts.answered_at_ms, v.answered_at_ms), \
       connected_at_ms = coalesce(attempts.connected_at_ms, v.connected_at_ms), \
       agent_id = coalesce(attempts.agent_id, v.agent_id), \
       abandoned_at_ms = coalesce(attempts.abandoned_at_ms, v.abandoned_at_ms), \
       ended_at_ms = coalesce(attempts.ended_at_ms, v.ended_at_ms), \
       outcome = coalesce(attempts.outcome, v.outcome), \
       message = coalesce(attempts.message, v.message), \
       message_at_ms = coalesce(attempts.message_at_ms, v.message_at_ms) \
     FROM v WHERE attempts.id = v.id",
);

static UPDATE_LEGS: BulkStatement = BulkStatement::new(
    10,
    "WITH v(attempt_id, id, progress, progress_at_ms, answered_at_ms, ended_at_ms, ended_by, q850, sip, detail) \
       AS (VALUES {rows}) \
     UPDATE legs SET progress = coalesce(legs.progress, v.progress), \
       progress_at_ms = coalesce(legs.progress_at_ms, v.progress_at_ms), \
       answered_at_ms = coalesce(legs.answered_at_ms, v.answered_at_ms), \
       ended_at_ms = coalesce(legs.ended_at_ms, v.ended_at_ms), ended_by = coalesce(legs.ended_by, v.ended_by), \
       q850 = coalesce(legs.q850, v.q850), sip = coalesce(legs.sip, v.sip), detail = coalesce(legs.detail, v.detail) \
     FROM v WHERE legs.attempt_id = v.attempt_id AND legs.id = v.id",
);

static UPDATE_AGENTS: BulkStatement = BulkStatement::new(
    8,
    "WITH v(id, state, state_at_ms, pbx, leg_id, campaign_id, wants, state_reason) AS (VALUES {rows}) \
     UPDATE agents SET state = v.state, state_at_ms = v.state_at_ms, pbx = coalesce(v.pbx, agents.pbx), \
       leg_id = v.leg_id, campaign_id = v.campaign_id, wants = v.wants, \
       state_reason = v.state_reason \
     FROM v WHERE agents.id = v.id",
);

static ASK_RECORDINGS: BulkStatement = BulkStatement::new(
    6,
    "INSERT INTO recordings (name, attempt_id, agent_id, pbx, state, asked_at_ms) VALUES {rows} \
     ON CONFLICT (name) DO NOTHING",
);

static KEEP_LEARNT: BulkStatement = BulkStatement::new(
    4,
    "INSERT INTO pacing_learnt (campaign_id, pbx, learnt, learnt_at_ms) VALUES {rows} \
     ON CONFLICT (campaign_id, pbx) DO UPDATE SET learnt = excluded.learnt, learnt_at_ms = excluded.learnt_at_ms",
);

static UPDATE_RECORDINGS: BulkStatement = BulkStatement::new(
    6,
    "WITH v(name, state, started_at_ms, ended_at_ms, duration_ms, failure) AS (VALUES {rows}) \
     UPDATE recordings SET state = CASE WHEN recordings.ended_at_ms IS NULL THEN v.state ELSE recordings.state END, \
       started_at_ms = coalesce(recordings.started_at_ms, v.started_at_ms), \
       ended_at_ms = coalesce(recordings.ended_at_ms, v.ended_at_ms), \
       duration_ms = coalesce(recordings.duration_ms, v.duration_ms), \
       failure = coalesce(recordings.failure, v.failure) \
     FROM v WHERE recordings.name = v.name",
);

static LOCK_CONTACTS: BulkStatement = BulkStatement::locking(
    2,
    "WITH v(task_id, contact_id) AS (VALUES {rows}) SELECT tc.contact_id FROM v JOIN task_contacts tc \
     ON tc.task_id = v.task_id AND tc.contact_id = v.contact_id",
    " FOR UPDATE OF tc",
);

static FIND_ATTEMPTS: BulkStatement = BulkStatement::new(
    1,
    "WITH v(id) AS (VALUES {rows}) SELECT a.id FROM v JOIN attempts a ON a.id = v.id",
);

impl Store {
    /// True if the transaction with these answers was committed. Also false if it stored no attempts, since then it
    /// can safely run again.
    pub(super) async fn was_stored(&self, answers: &BTreeMap<AttemptId, Answer>) -> Result<bool, DbError> {
        let allowed = || {
            answers
                .iter()
                .filter(|(_, answer)| answer.prepared == Prepared::Allowed)
        };
        let ids: Vec<Arg<'_>> = allowed().map(|(id, _)| Arg::from(id.0)).collect();
        let keys = allowed().flat_map(|(_, answer)| [Arg::from(answer.task.0), Arg::from(answer.contact.0)]);
        let keys: Vec<Arg<'_>> = keys.collect();
        let mut tx = self.pools.begin().await?;
        // The server may still be committing. It holds these rows until it ends, so this read waits for it.
        LOCK_CONTACTS.rows(&mut tx, &keys).await?;
        let found = FIND_ATTEMPTS.rows(&mut tx, &ids).await?;
        tx.rollback().await?;
        Ok(!found.is_empty())
    }

    /// Completes each of these tasks that has no contact left to call.
    pub(super) async fn complete_tasks(&self, tasks: &BTreeSet<TaskId>) -> Result<(), DbError> {
        let tasks: Vec<Arg<'_>> = tasks.iter().map(|task| Arg::from(task.0)).collect();
        let mut tx = self.pools.begin().await?;
        complete_tasks(&mut tx, &tasks).await?;
        Ok(tx.commit().await?)
    }
}

/// Writes and commits a batch. Returns the answer for each attempt, and the gate's decisions.
pub(super) async fn write(mut tx: Tx, batch: &Batch<'_>, lists: &Lists) -> Result<Written, Failure> {
    let timeout = || DbError::new(DbErrorKind::Passing, "the transaction took too long");
    let written = tokio::time::timeout(TRANSACTION_TIMEOUT, write_rows(&mut tx, batch, lists));
    let written = written
        .await
        .map_err(|_| Failure::NotStored(timeout()))?
        .map_err(Failure::NotStored)?;
    match tokio::time::timeout(TRANSACTION_TIMEOUT, tx.commit()).await {
        Ok(Ok(())) => Ok(written),
        Ok(Err(CommitError::NotStored(error))) => Err(Failure::NotStored(error)),
        Ok(Err(CommitError::Unknown(error))) => Err(Failure::Unknown(error, written.0)),
        Err(_) => Err(Failure::Unknown(timeout(), written.0)),
    }
}

async fn write_rows(tx: &mut Tx, batch: &Batch<'_>, lists: &Lists) -> Result<Written, DbError> {
    let plan = plan(tx, &batch.prepares, lists).await?;
    let retries = batch
        .ended
        .iter()
        .filter_map(|ended| Some((ended.task, ended.contact, ended.retry_at?)));
    let due: Vec<_> = plan.due.iter().copied().chain(retries).collect();
    lower_next_due(tx, &due).await?;
    make_ready(tx, &batch.given_back).await?;
    insert_decisions(tx, &plan.decisions).await?;
    insert_attempts(tx, &plan.started).await?;
    LEGS.run(tx, &plan.legs).await?;
    settle(tx, &plan.settled).await?;
    settle_ended(tx, batch, &plan.freed).await?;
    update_attempts(tx, batch).await?;
    update_legs(tx, batch).await?;
    update_agents(tx, batch).await?;
    update_recordings(tx, batch).await?;
    keep_learnt(tx, batch).await?;
    Ok((plan.answers, plan.decisions))
}

async fn settle_ended(tx: &mut Tx, batch: &Batch<'_>, freed: &[(TaskId, ContactId)]) -> Result<(), DbError> {
    let mut contacts = Vec::with_capacity(batch.ended.len() * 7);
    let mut numbers = Vec::with_capacity(batch.ended.len());
    for ended in &batch.ended {
        let state = if ended.retry_at.is_some() { "ready" } else { "done" };
        let (attempt, task, contact) = (ended.attempt.0, ended.task.0, ended.contact.0);
        let due = ended.retry_at.map(|at| at.0);
        let tries = i64::from(ended.spends_try);
        contacts.extend_from_slice(args![
            attempt,
            task,
            contact,
            state,
            due,
            ended.outcome.as_str(),
            tries
        ]);
        numbers.push(Arg::from(attempt));
    }
    SETTLE_ENDED.run(tx, &contacts).await?;
    FREE_ENDED.run(tx, &numbers).await?;
    crate::dial::free_numbers(tx, freed).await
}

async fn update_attempts(tx: &mut Tx, batch: &Batch<'_>) -> Result<(), DbError> {
    let mut rows = Vec::with_capacity(batch.attempts.len() * 9);
    for (id, change) in &batch.attempts {
        rows.extend_from_slice(args![
            id.0,
            change.answered_at.map(|at| at.0),
            change.connected.map(|(at, _)| at.0),
            change.connected.map(|(_, agent)| agent.0),
            change.abandoned_at.map(|at| at.0),
            change.ended.map(|(at, _)| at.0),
            change.ended.map(|(_, outcome)| outcome.as_str()),
            change.message.map(|(_, result)| result.as_str()),
            change.message.map(|(at, _)| at.0),
        ]);
    }
    UPDATE_ATTEMPTS.run(tx, &rows).await?;
    Ok(())
}

async fn update_legs(tx: &mut Tx, batch: &Batch<'_>) -> Result<(), DbError> {
    let mut rows = Vec::with_capacity(batch.legs.len() * 10);
    for ((attempt, id), change) in &batch.legs {
        let end = change.ended.map(|(end, _)| end);
        let detail = end
            .map(|end| end.detail.as_str())
            .filter(|detail| !detail.is_empty());
        rows.extend_from_slice(args![
            attempt.0,
            id.0,
            change.progress.map(|(kind, _)| kind.as_str()),
            change.progress.map(|(_, at)| at.0),
            change.answered_at.map(|at| at.0),
            change.ended.map(|(_, at)| at.0),
            end.map(|end| end.by.as_str()),
            end.and_then(|end| end.q850).map(i64::from),
            end.and_then(|end| end.sip).map(i64::from),
            detail,
        ]);
    }
    UPDATE_LEGS.run(tx, &rows).await?;
    Ok(())
}

async fn update_agents(tx: &mut Tx, batch: &Batch<'_>) -> Result<(), DbError> {
    let mut rows = Vec::with_capacity(batch.agents.len() * 8);
    for (id, change) in &batch.agents {
        let campaign = (change.state != AgentState::Offline).then_some(change.campaign.0);
        rows.extend_from_slice(args![
            id.0,
            change.state.as_str(),
            change.at.0,
            change.pbx.map(|pbx| pbx.as_str()),
            change.leg.map(|leg| leg.0),
            campaign,
            change.wants.as_str(),
            change.reason.as_str(),
        ]);
    }
    UPDATE_AGENTS.run(tx, &rows).await?;
    Ok(())
}

async fn update_recordings(tx: &mut Tx, batch: &Batch<'_>) -> Result<(), DbError> {
    let (mut asked, mut changed) = (Vec::new(), Vec::new());
    for (name, change) in &batch.recordings {
        if let Some((attempt, agent, pbx, at)) = change.asked {
            asked.extend_from_slice(args![
                name.as_str(),
                attempt.0,
                agent.0,
                pbx.as_str(),
                "asked",
                at.0
            ]);
        }
        let (state, duration, failure) = match &change.ended {
            Some((Ok(duration), _)) => ("complete", *duration, None),
            Some((Err(failure), _)) => ("failed", None, Some(*failure)),
            None if change.started_at.is_some() => ("running", None, None),
            None => continue,
        };
        let duration_ms = duration.map(|d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
        let started_at = change.started_at.map(|at| at.0);
        let ended_at = change.ended.as_ref().map(|(_, at)| at.0);
        changed.extend_from_slice(args![
            name.as_str(),
            state,
            started_at,
            ended_at,
            duration_ms,
            failure,
        ]);
    }
    ASK_RECORDINGS.run(tx, &asked).await?;
    UPDATE_RECORDINGS.run(tx, &changed).await?;
    Ok(())
}

async fn keep_learnt(tx: &mut Tx, batch: &Batch<'_>) -> Result<(), DbError> {
    let mut texts = Vec::with_capacity(batch.learnt.len());
    for ((campaign, pbx), (learnt, at)) in &batch.learnt {
        // Serialising finite numbers to JSON cannot fail.
        if let Ok(text) = serde_json::to_string(learnt) {
            texts.push((campaign.0, pbx.as_str(), text, at.0));
        }
    }
    let mut rows = Vec::with_capacity(texts.len() * 4);
    for (campaign, pbx, text, at) in &texts {
        rows.extend_from_slice(args![*campaign, *pbx, text, *at]);
    }
    KEEP_LEARNT.run(tx, &rows).await?;
    Ok(())
}

/// The statements of a batch that find rows, with the types of their columns, so that a test can check their query
/// plans.
#[cfg(test)]
pub(crate) fn statements() -> Vec<(&'static BulkStatement, &'static str)> {
    vec![
        (&FACTS, "iit"),
        (&crate::facts::HISTORY, "it"),
        (&SETTLE_ENDED, "uiititi"),
        (&FREE_ENDED, "u"),
        (&UPDATE_ATTEMPTS, "uiiiiitti"),
        (&UPDATE_LEGS, "uutiiitiit"),
        (&UPDATE_AGENTS, "itituibt"),
        (&UPDATE_RECORDINGS, "ttiiit"),
        (&LOCK_CONTACTS, "ii"),
        (&FIND_ATTEMPTS, "u"),
    ]
}
