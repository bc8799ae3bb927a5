//! The ledger of the gate's decisions.

use super::Store;
use super::db::{Row, args};
use super::error::{DbError, StoreError};
use paceline_core::gate::{GateStage, GateVerdict, RuleReason};
use paceline_core::ids::{AttemptId, ContactId, TaskId};
use paceline_core::time::Wall;

/// A decision of the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionRow {
    /// Time, Unix time in milliseconds.
    pub at: Wall,
    /// The task.
    pub task: TaskId,
    /// The contact that the decision is about.
    pub contact: ContactId,
    /// The attempt that the decision allowed. Only an `allow` just before an originate has one.
    pub attempt: Option<AttemptId>,
    /// The stage of the decision: the lease, or just before the originate.
    pub stage: GateStage,
    /// Allowed, deferred or denied.
    pub verdict: GateVerdict,
    /// For an `allow` every rule that was asked, otherwise those that defer or deny.
    pub reasons: Vec<RuleReason>,
}

/// Decisions about the contact itself, and about its bucket while the contact waited in it. A bucket's decision that
/// is newer than the contact's own last one counts only while the contact is still ready.
const OF_CONTACT: &str = "SELECT d.id, d.at_ms, d.task_id, d.attempt_id, d.stage, d.verdict, d.reasons, d.until_ms \
      FROM gate_decisions d WHERE d.contact_id = $1 AND ($2 IS NULL OR d.task_id = $2) \
    UNION ALL \
    SELECT d.id, d.at_ms, d.task_id, d.attempt_id, d.stage, d.verdict, d.reasons, d.until_ms \
      FROM contacts c JOIN tasks t ON t.list_id = c.list_id JOIN task_contacts tc ON tc.task_id = t.id AND tc.contact_id = c.id \
      JOIN gate_decisions d ON d.bucket_id = tc.bucket_id \
      WHERE c.id = $1 AND ($2 IS NULL OR t.id = $2) AND (tc.state = 'ready' \
        OR d.id < (SELECT max(o.id) FROM gate_decisions o WHERE o.contact_id = $1 AND o.task_id = tc.task_id)) \
    ORDER BY 1 DESC LIMIT $3";

impl Store {
    /// Decisions about a contact, the newest first.
    pub async fn decisions_of_contact(
        &self,
        contact: ContactId,
        limit: i64,
    ) -> Result<Vec<DecisionRow>, StoreError> {
        self.decisions(contact, None, limit).await
    }

    /// The decisions that led to an attempt, the newest first: the one just before its originate, and those of the
    /// same task since the contact's previous attempt.
    pub async fn decisions_of_attempt(
        &self,
        contact: ContactId,
        task: TaskId,
        attempt: AttemptId,
    ) -> Result<Vec<DecisionRow>, StoreError> {
        const LIMIT: i64 = 1000;
        let all = self.decisions(contact, Some(task), LIMIT).await?;
        let mut of_attempt = all.into_iter().skip_while(|row| row.attempt != Some(attempt));
        let last: Vec<_> = of_attempt.next().into_iter().collect();
        Ok(last
            .into_iter()
            .chain(of_attempt.take_while(|row| row.attempt.is_none()))
            .collect())
    }

    async fn decisions(
        &self,
        contact: ContactId,
        task: Option<TaskId>,
        limit: i64,
    ) -> Result<Vec<DecisionRow>, StoreError> {
        let args = args![contact.0, task.map(|id| id.0), limit];
        let read = |row: &Row| decision(row, contact);
        self.read_all("read gate decisions", OF_CONTACT, args, read).await
    }
}

/// Reads the reasons of a stored decision.
pub(super) fn reasons(stored: &str) -> Result<Vec<RuleReason>, DbError> {
    serde_json::from_str(stored).map_err(|_| DbError::decode("reason"))
}

fn decision(row: &Row, contact: ContactId) -> Result<DecisionRow, DbError> {
    let verdict = match (row.get::<String>(5)?.as_str(), row.get::<Option<i64>>(7)?) {
        ("allow", _) => GateVerdict::Allow,
        ("deny", _) => GateVerdict::Deny,
        ("defer", Some(until)) => GateVerdict::Defer {
            until_ms: Wall(until),
        },
        _ => return Err(DbError::decode("verdict")),
    };
    Ok(DecisionRow {
        at: Wall(row.get(1)?),
        task: TaskId(row.get(2)?),
        contact,
        attempt: row.get::<Option<uuid::Uuid>>(3)?.map(AttemptId),
        stage: row.word(4)?,
        verdict,
        reasons: reasons(&row.get::<String>(6)?)?,
    })
}
