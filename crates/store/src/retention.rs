//! Deletes old rows in slices from tables that grow with every request, decision and import, and that serve only
//! queries by users. Attempts, legs and recordings stay, because the abandon rules, the gate and requeueing read
//! them.

use super::Store;
use super::db::args;
use super::error::StoreError;
use paceline_core::time::Wall;

/// Kinds of rows that are deleted when they are old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiring {
    /// The audit.
    Audit,
    /// The gate's decisions.
    Decisions,
    /// The rows that imports rejected.
    ImportRejects,
    /// The bodies of the gate's decisions in the ledger.
    LedgerDecisions,
    /// The bodies of opt-outs in the ledger.
    LedgerOptOuts,
    /// Answers of the outside check that have expired.
    OutsideAnswers,
}

/// Rows that one transaction looks at: some milliseconds if all of them are deleted.
const SLICE: i64 = 250;

// Ids grow with time, so the oldest rows have the smallest ids, and no index by time is needed.
const AUDIT: &str = "DELETE FROM audit WHERE at_ms < $1 \
      AND id <= (SELECT max(id) FROM (SELECT id FROM audit ORDER BY id LIMIT $2) oldest)";
const DECISIONS: &str = "DELETE FROM gate_decisions WHERE at_ms < $1 \
      AND id <= (SELECT max(id) FROM (SELECT id FROM gate_decisions ORDER BY id LIMIT $2) oldest)";
const OUTSIDE_ANSWERS: &str = "DELETE FROM outside_answers WHERE number IN (SELECT number FROM outside_answers \
      WHERE expires_at_ms < $1 ORDER BY expires_at_ms LIMIT $2)";
const OLD_IMPORT: &str = "SELECT i.id FROM imports i WHERE i.state IN ('published', 'cancelled', 'failed') AND i.alive_at_ms < $1 \
      AND EXISTS (SELECT 1 FROM import_rejects r WHERE r.import_id = i.id) ORDER BY i.id LIMIT 1";
const REJECTS: &str = "DELETE FROM import_rejects WHERE import_id = $1 \
      AND line <= (SELECT max(line) FROM (SELECT line FROM import_rejects WHERE import_id = $1 ORDER BY line LIMIT $2) first)";

impl Expiring {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Audit,
        Self::Decisions,
        Self::ImportRejects,
        Self::LedgerDecisions,
        Self::LedgerOptOuts,
        Self::OutsideAnswers,
    ];

    /// The table of these rows.
    pub fn table(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Decisions => "gate_decisions",
            Self::ImportRejects => "import_rejects",
            Self::LedgerDecisions | Self::LedgerOptOuts => "ledger_bundles",
            Self::OutsideAnswers => "outside_answers",
        }
    }
}

impl Store {
    /// Deletes a slice of the rows from before a time, the oldest first. Returns their number; 0 if none is left.
    pub async fn delete_expired(&self, kind: Expiring, before: Wall, now: Wall) -> Result<u64, StoreError> {
        const DOING: &str = "delete expired rows";
        let (sql, first) = match kind {
            Expiring::LedgerDecisions | Expiring::LedgerOptOuts => {
                return self.erase_expired(kind, before, now).await;
            }
            Expiring::Audit => (AUDIT, before.0),
            Expiring::Decisions => (DECISIONS, before.0),
            Expiring::OutsideAnswers => (OUTSIDE_ANSWERS, before.0),
            Expiring::ImportRejects => {
                let old = self
                    .read_all(DOING, OLD_IMPORT, args![before.0], |row| row.get::<i64>(0))
                    .await?;
                let Some(import) = old.into_iter().next() else {
                    return Ok(0);
                };
                (REJECTS, import)
            }
        };
        self.write(DOING, async |tx| Ok(tx.run(sql, args![first, SLICE]).await?))
            .await
    }
}
