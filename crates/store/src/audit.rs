//! The audit: accepted changes and refused requests, with their keys.

use super::Store;
use super::db::{Row, args};
use super::error::{DbError, StoreError};
use super::select::Select;
use paceline_core::time::Wall;
use uuid::Uuid;

/// Refusals older than this many entries are deleted regularly, so that an attacker cannot fill the disk. Accepted
/// changes stay.
const REFUSALS_WITHIN: i64 = 100_000;
/// The interval of these deletions, in entries.
const DROP_EVERY: i64 = 1_000;

/// One audited request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// The time of the answer.
    pub at: Wall,
    /// The request id, under which the log has more.
    pub request: Uuid,
    /// The key of the request; `None` if it had no valid key.
    pub key: Option<i64>,
    /// The address of the client, if known.
    pub peer: Option<String>,
    /// `POST`, `PUT` or `DELETE`; also `GET` if the request was refused.
    pub method: String,
    /// The template of the path.
    pub route: String,
    /// The id in the path, or the id of the created object.
    pub object: Option<String>,
    /// The HTTP status of the answer.
    pub status: u16,
    /// True if it was refused because the key lacks the right or because of too many requests.
    pub refused: bool,
    /// Refusals since the last stored one that were not stored, because there were too many.
    pub suppressed: u64,
}

/// A stored entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// The entry's id. Later entries have larger ids.
    pub id: i64,
    /// The entry.
    pub entry: AuditEntry,
}

const COLUMNS: &str = "SELECT id, at_ms, request_id, api_key_id, peer, method, route, object, status, refused, suppressed \
    FROM audit WHERE 1 = 1";

impl Store {
    /// Adds an entry.
    pub async fn add_audit(&self, new: &AuditEntry) -> Result<(), StoreError> {
        let sql = "INSERT INTO audit (at_ms, request_id, api_key_id, peer, method, route, object, status, refused, suppressed) \
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING id";
        self.write("write the audit", async |tx| {
            let suppressed = i64::try_from(new.suppressed).unwrap_or(i64::MAX);
            let row = tx
                .one(
                    sql,
                    args![
                        new.at.0,
                        new.request,
                        new.key,
                        new.peer.as_deref(),
                        new.method.as_str(),
                        new.route.as_str(),
                        new.object.as_deref(),
                        i64::from(new.status),
                        new.refused,
                        suppressed
                    ],
                )
                .await?;
            let id: i64 = row.get(0)?;
            if id % DROP_EVERY == 0 {
                let old = "DELETE FROM audit WHERE refused = TRUE AND id <= $1";
                tx.run(old, args![id - REFUSALS_WITHIN]).await?;
            }
            Ok(())
        })
        .await
    }

    /// Entries, the newest first. `key` and `refused` limit them to one key, and to refused or accepted requests.
    pub async fn audit(
        &self,
        key: Option<i64>,
        refused: Option<bool>,
        after: Option<i64>,
        limit: i64,
    ) -> Result<Vec<AuditRow>, StoreError> {
        let (sql, args) = Select::new(COLUMNS)
            .and("api_key_id =", key)
            .and("refused =", refused)
            .and("id <", after)
            .order("id DESC", limit);
        self.read_all("list the audit", sql, &args, audit).await
    }
}

fn audit(row: &Row) -> Result<AuditRow, DbError> {
    Ok(AuditRow {
        id: row.get(0)?,
        entry: AuditEntry {
            at: Wall(row.get(1)?),
            request: row.get(2)?,
            key: row.get(3)?,
            peer: row.get(4)?,
            method: row.get(5)?,
            route: row.get(6)?,
            object: row.get(7)?,
            status: u16::try_from(row.get::<i64>(8)?).unwrap_or_default(),
            refused: row.get(9)?,
            suppressed: u64::try_from(row.get::<i64>(10)?).unwrap_or_default(),
        },
    })
}
