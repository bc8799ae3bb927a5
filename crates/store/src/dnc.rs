//! The do-not-call list.

use super::bulk_statement::BulkStatement;
use super::db::{Row, Tx, args};
use super::error::{DbError, StoreError};
use super::select::Select;
use super::{Store, query};
use paceline_core::number::E164;
use paceline_core::time::Wall;

/// A number that must not be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DncRow {
    /// The entry's id.
    pub id: i64,
    /// The number.
    pub number: E164,
    /// The reason for the entry.
    pub reason: String,
    /// The time when it was added.
    pub added_at: Wall,
}

static INSERT: BulkStatement = BulkStatement::new(
    3,
    "INSERT INTO dnc (number, reason, added_at_ms) VALUES {rows} ON CONFLICT (number) DO NOTHING",
);

const COLUMNS: &str = "SELECT id, number, reason, added_at_ms FROM dnc WHERE 1 = 1";

impl Store {
    /// Adds numbers to the list, all or none. Returns the number of new entries. Existing entries keep their reason.
    /// When it returns, a power failure cannot undo it.
    pub async fn add_dnc(&self, numbers: &[E164], reason: &str, now: Wall) -> Result<u64, StoreError> {
        const DOING: &str = "add to the do-not-call list";
        let added = self
            .write(DOING, async |tx| Ok(insert(tx, numbers, reason, now).await?))
            .await?;
        self.pools.sync().await.map_err(query(DOING))?;
        Ok(added)
    }

    /// Removes the entry with this id. Returns false if it does not exist.
    pub async fn remove_dnc(&self, id: i64) -> Result<bool, StoreError> {
        self.write("take off the do-not-call list", async |tx| {
            Ok(tx.run("DELETE FROM dnc WHERE id = $1", args![id]).await? > 0)
        })
        .await
    }

    /// Entries, the newest first.
    pub async fn dnc_entries(&self, after: Option<i64>, limit: i64) -> Result<Vec<DncRow>, StoreError> {
        let (sql, args) = Select::new(COLUMNS).and("id <", after).order("id DESC", limit);
        self.read_all("list the do-not-call list", sql, &args, dnc).await
    }

    /// The entry of a number; `None` if the number is not on the list.
    pub async fn dnc_entry(&self, number: &E164) -> Result<Option<DncRow>, StoreError> {
        let (sql, args) = Select::new(COLUMNS)
            .and("number =", Some(number.expose()))
            .order("id", 1);
        Ok(self
            .read_all("read the do-not-call list", sql, &args, dnc)
            .await?
            .pop())
    }
}

/// Adds numbers to the list. Returns the number of new entries.
pub(super) async fn insert(tx: &mut Tx, numbers: &[E164], reason: &str, now: Wall) -> Result<u64, DbError> {
    let mut rows = Vec::with_capacity(numbers.len() * 3);
    for number in numbers {
        rows.extend_from_slice(args![number.expose(), reason, now.0]);
    }
    INSERT.run(tx, &rows).await
}

fn dnc(row: &Row) -> Result<DncRow, DbError> {
    Ok(DncRow {
        id: row.get(0)?,
        number: row.number(1)?,
        reason: row.get(2)?,
        added_at: Wall(row.get(3)?),
    })
}
