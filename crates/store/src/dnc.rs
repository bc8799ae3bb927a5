//! The do-not-call list.

use super::bulk_statement::BulkStatement;
use super::db::{Row, Tx, args};
use super::error::{DbError, StoreError};
use super::select::Select;
use super::{Store, query};
use paceline_core::ids::CampaignId;
use paceline_core::number::E164;
use paceline_core::time::Wall;
use std::collections::BTreeMap;

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

/// The leased numbers are few: contacts in hoppers, and calls.
pub(super) const SUPPRESSED_LEASES: &str = "SELECT t.campaign_id, n.number FROM number_leases n JOIN tasks t ON t.id = n.task_id \
    WHERE EXISTS (SELECT 1 FROM dnc d WHERE d.number = n.number)";

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

    /// The numbers that are leased, dialed or in a call although they are on the list, by campaign.
    pub async fn suppressed_leases(&self) -> Result<BTreeMap<CampaignId, Vec<E164>>, StoreError> {
        const DOING: &str = "read which leased numbers are on the do-not-call list";
        let row = |row: &Row| Ok((CampaignId(row.get(0)?), row.number(1)?));
        let mut leases: BTreeMap<_, Vec<E164>> = BTreeMap::new();
        for (campaign, number) in self.read_all(DOING, SUPPRESSED_LEASES, &[], row).await? {
            leases.entry(campaign).or_default().push(number);
        }
        Ok(leases)
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
