//! The ledger of the gate's decisions.

use super::Store;
use super::db::Row;
use super::error::{DbError, StoreError};
use super::select::Select;
use paceline_core::gate::{GateReason, GateStage, GateVerdict};
use paceline_core::ids::{AttemptId, ContactId, TaskId};
use paceline_core::time::Wall;

/// A decision of the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionRow {
    /// When.
    pub at: Wall,
    /// For which task.
    pub task: TaskId,
    /// Over whom.
    pub contact: ContactId,
    /// The attempt made upon it; only an `allow` just before an originate has one.
    pub attempt: Option<AttemptId>,
    /// At which of the two askings.
    pub stage: GateStage,
    /// Yes, later, or never.
    pub verdict: GateVerdict,
    /// Why, most important first.
    pub reasons: Vec<GateReason>,
}

const COLUMNS: &str = "SELECT at_ms, task_id, contact_id, attempt_id, stage, verdict, reasons, until_ms \
    FROM gate_decisions WHERE 1 = 1";

impl Store {
    /// Decisions over a contact, the newest first.
    pub async fn decisions_of_contact(
        &self,
        contact: ContactId,
        limit: i64,
    ) -> Result<Vec<DecisionRow>, StoreError> {
        let (sql, args) = Select::new(COLUMNS)
            .and("contact_id =", Some(contact.0))
            .order("id DESC", limit);
        self.read_all("read gate decisions", sql, &args, decision).await
    }

    /// The decisions that led to an attempt, the newest first: the one just before its originate and, in the same task,
    /// those before it and after the contact's attempt before.
    pub async fn decisions_of_attempt(
        &self,
        contact: ContactId,
        task: TaskId,
        attempt: AttemptId,
    ) -> Result<Vec<DecisionRow>, StoreError> {
        const LIMIT: i64 = 1000;
        let (sql, args) = Select::new(COLUMNS)
            .and("contact_id =", Some(contact.0))
            .and("task_id =", Some(task.0))
            .order("id DESC", LIMIT);
        let all = self.read_all("read gate decisions", sql, &args, decision).await?;
        let mut of_attempt = all.into_iter().skip_while(|row| row.attempt != Some(attempt));
        let last: Vec<_> = of_attempt.next().into_iter().collect();
        Ok(last
            .into_iter()
            .chain(of_attempt.take_while(|row| row.attempt.is_none()))
            .collect())
    }
}

fn decision(row: &Row) -> Result<DecisionRow, DbError> {
    let verdict = match (row.get::<String>(5)?.as_str(), row.get::<Option<i64>>(7)?) {
        ("allow", _) => GateVerdict::Allow,
        ("deny", _) => GateVerdict::Deny,
        ("defer", Some(until)) => GateVerdict::Defer {
            until_ms: Wall(until),
        },
        _ => return Err(DbError::decode("verdict")),
    };
    let reasons = row.get::<String>(6)?;
    Ok(DecisionRow {
        at: Wall(row.get(0)?),
        task: TaskId(row.get(1)?),
        contact: ContactId(row.get(2)?),
        attempt: row.get::<Option<uuid::Uuid>>(3)?.map(AttemptId),
        stage: row.word(4)?,
        verdict,
        reasons: reasons
            .split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map_err(|_| DbError::decode("reason"))?,
    })
}
