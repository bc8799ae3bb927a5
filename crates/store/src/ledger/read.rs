//! Reads the ledger: entries in order or by what they are about, hashes for proofs, checkpoints.

use super::{NODE, TILE, damaged, place, tile_args, whole};
use crate::db::{Row, args};
use crate::error::{DbError, DbErrorKind, StoreError};
use crate::{Store, query};
use paceline_core::ids::AttemptId;
use paceline_core::time::Wall;
use paceline_ledger::{Bundle, Entry, Hash, SignedCheckpoint, Tile, Tiles};
use std::ops::Range;

/// Bundles read at a time.
const BUNDLES_AT_ONCE: i64 = 64;
/// The entry of an attempt is searched in this many rows. It is nearly always in the first.
const SEARCHED_MAX: i64 = 2_000;

/// Entries that follow each other in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerBundle {
    /// The place of the first.
    pub first: u64,
    /// Number of entries.
    pub size: u64,
    /// The latest time in them.
    pub until: Wall,
    bytes: Vec<u8>,
}

impl LedgerBundle {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its entries with their places; `None`: an erased one. Fails if the row is damaged.
    pub fn entries(&self) -> Result<Vec<PlacedEntry<'_>>, StoreError> {
        let read: Result<Vec<_>, _> = Bundle::new(&self.bytes).collect();
        let read = read.map_err(|error| DbError::new(DbErrorKind::Decode, error.to_string()));
        let read = read.map_err(query("read ledger entries"))?;
        Ok((self.first..).zip(read).collect())
    }
}

/// The place of an entry and its bytes; `None`: they are erased.
pub type PlacedEntry<'a> = (u64, Option<&'a [u8]>);

/// An entry with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberedEntry {
    /// The place in the log, from 0.
    pub index: u64,
    /// The entry's bytes.
    pub bytes: Vec<u8>,
}

/// A stored checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointRow {
    /// Time at which it was made.
    pub at: Wall,
    /// The checkpoint with its signatures. `None` if the row is damaged.
    pub note: Option<SignedCheckpoint>,
    /// Number of entries.
    pub size: u64,
}

impl Store {
    /// Number of entries with a place.
    pub async fn ledger_size(&self) -> Result<u64, StoreError> {
        let sql = "SELECT size FROM ledger_logs WHERE node = $1";
        let rows = self.read("read the size of the ledger", sql, args![NODE]).await?;
        let size = rows.first().map_or(Ok(0), |row| place(row, 0));
        size.map_err(query("read the size of the ledger"))
    }

    /// The next rows of entries from this place on that have times in this range; empty at the end.
    pub async fn ledger_bundles(
        &self,
        from: u64,
        times: Range<Wall>,
    ) -> Result<Vec<LedgerBundle>, StoreError> {
        const DOING: &str = "read ledger entries";
        let sql = "SELECT first, size, to_ms, entries FROM ledger_bundles WHERE node = $1 AND first >= $2 \
            AND to_ms >= $3 AND from_ms < $4 ORDER BY first LIMIT $5";
        let from = whole(from).map_err(query(DOING))?;
        let args = args![NODE, from, times.start.0, times.end.0, BUNDLES_AT_ONCE];
        self.read_all(DOING, sql, args, bundle).await
    }

    /// The entry of the `allow` just before the originate of an attempt that was created at this time. `None` if it has no
    /// place yet, or if it is erased.
    pub async fn ledger_entry_of_attempt(
        &self,
        attempt: AttemptId,
        created_at: Wall,
    ) -> Result<Option<NumberedEntry>, StoreError> {
        // An entry is no older than its attempt, and its row ends with no earlier time.
        let sql = "SELECT first, size, to_ms, entries FROM ledger_bundles WHERE node = $1 AND to_ms >= $2 \
            ORDER BY to_ms LIMIT $3 OFFSET $4";
        for page in 0..SEARCHED_MAX / BUNDLES_AT_ONCE {
            let args = args![NODE, created_at.0, BUNDLES_AT_ONCE, page * BUNDLES_AT_ONCE];
            let bundles = self.read_all("find a ledger entry", sql, args, bundle).await?;
            for bundle in &bundles {
                for (index, entry) in bundle.entries()? {
                    let Some(bytes) = entry else { continue };
                    let is_of = |entry: &Entry<'_>| entry.subject.attempt == Some(*attempt.0.as_bytes());
                    if Entry::decode(bytes).is_ok_and(|entry| is_of(&entry)) {
                        let bytes = bytes.to_vec();
                        return Ok(Some(NumberedEntry { index, bytes }));
                    }
                }
            }
            if bundles.is_empty() {
                break;
            }
        }
        Ok(None)
    }

    /// One tile of hashes as it is stored; empty if there is none.
    pub async fn ledger_tile(&self, tile: Tile) -> Result<Vec<u8>, StoreError> {
        const DOING: &str = "read hashes of the ledger";
        let args = tile_args(tile).map_err(query(DOING))?;
        let rows = self.read_all(DOING, TILE, &args, |row| row.get::<Vec<u8>>(0));
        Ok(rows.await?.pop().unwrap_or_default())
    }

    /// The hashes of ranges of entries: those of a path, or ranges that begin at 0.
    pub async fn ledger_hashes(&self, ranges: &[Range<u64>]) -> Result<Vec<Hash>, StoreError> {
        let mut tiles = Tiles::default();
        for tile in Tiles::needed(ranges) {
            tiles.add(tile, &self.ledger_tile(tile).await?);
        }
        let hashes = tiles.hashes(ranges);
        hashes.map_err(|error| query("read hashes of the ledger")(damaged(error)))
    }

    /// The next checkpoints with at least this size; empty at the end.
    pub async fn ledger_checkpoints(&self, from: u64, limit: i64) -> Result<Vec<CheckpointRow>, StoreError> {
        const DOING: &str = "read ledger checkpoints";
        let sql = "SELECT size, at_ms, note FROM ledger_checkpoints WHERE node = $1 AND size >= $2 \
            ORDER BY size LIMIT $3";
        let from = whole(from).map_err(query(DOING))?;
        self.read_all(DOING, sql, args![NODE, from, limit], checkpoint)
            .await
    }

    /// The newest checkpoint.
    pub async fn last_ledger_checkpoint(&self) -> Result<Option<CheckpointRow>, StoreError> {
        let sql =
            "SELECT size, at_ms, note FROM ledger_checkpoints WHERE node = $1 ORDER BY size DESC LIMIT 1";
        let rows = self
            .read_all("read ledger checkpoints", sql, args![NODE], checkpoint)
            .await;
        Ok(rows?.pop())
    }
}

pub(super) fn bundle(row: &Row) -> Result<LedgerBundle, DbError> {
    Ok(LedgerBundle {
        first: place(row, 0)?,
        size: place(row, 1)?,
        until: Wall(row.get(2)?),
        bytes: row.get(3)?,
    })
}

fn checkpoint(row: &Row) -> Result<CheckpointRow, DbError> {
    Ok(CheckpointRow {
        size: place(row, 0)?,
        at: Wall(row.get(1)?),
        note: row.get::<String>(2)?.parse().ok(),
    })
}
