//! The gate's decisions as rows of the ledger.

use crate::bulk_statement::BulkStatement;
use crate::db::{Tx, args};
use crate::error::DbError;
use crate::facts::Judgement;
use crate::ledger;
use paceline_core::gate::{GateStage, GateVerdict};
use paceline_core::ids::{AttemptId, CampaignId, ContactId, LegId, TaskId};
use paceline_core::number::E164;
use paceline_core::time::Wall;

static DECISIONS: BulkStatement = BulkStatement::new(
    9,
    "INSERT INTO gate_decisions (at_ms, task_id, contact_id, bucket_id, attempt_id, stage, verdict, reasons, until_ms) \
     VALUES {rows}",
);

/// A decision of the gate, to be written to the ledger.
pub(crate) struct Decided {
    pub(crate) at: Wall,
    pub(crate) task: TaskId,
    pub(crate) over: Over,
    pub(crate) campaign: CampaignId,
    /// The number of the contact; `None` for a bucket.
    pub(crate) number: Option<E164>,
    /// The attempt that the decision allowed, with its leg; `None` for every other decision.
    pub(crate) attempt: Option<(AttemptId, LegId)>,
    pub(crate) stage: GateStage,
    pub(crate) decision: Judgement,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    Contact(ContactId),
    /// All contacts that wait in the bucket.
    Bucket(i64),
}

pub(crate) async fn insert_decisions(tx: &mut Tx, decisions: &[Decided]) -> Result<(), DbError> {
    let mut rows = Vec::with_capacity(decisions.len() * 9);
    for d in decisions {
        let until = match d.decision.verdict {
            GateVerdict::Defer { until_ms } => Some(until_ms.0),
            GateVerdict::Allow | GateVerdict::Deny => None,
        };
        let (contact, bucket) = match d.over {
            Over::Contact(contact) => (Some(contact.0), None),
            Over::Bucket(bucket) => (None, Some(bucket)),
        };
        rows.extend_from_slice(args![
            d.at.0,
            d.task.0,
            contact,
            bucket,
            d.attempt.map(|(id, _)| id.0),
            d.stage.as_str(),
            d.decision.verdict.as_str(),
            &d.decision.reasons,
            until,
        ]);
    }
    DECISIONS.run(tx, &rows).await?;
    ledger::record_decisions(tx, decisions).await
}
