//! Replaces a suppression list. The new version is written beside the present one, in slices, so that the dialer's writes wait for one
//! slice at most. One small transaction then makes it the present version. If the process stops before that, the list is
//! unchanged, and the next start or upload deletes what was written.

use super::{CHUNKS, ListRow, Lists, Loaded, SuppressionKey};
use crate::bulk_statement::BulkStatement;
use crate::db::args;
use crate::error::{DbError, StoreError};
use crate::ledger::{self, NewFact};
use crate::tasks::recheck::lists_changed;
use crate::{Store, query};
use paceline_core::suppression::{ListKind, ListName};
use paceline_core::time::Wall;
use paceline_ledger::Kind;
use serde_json::json;
use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

/// Rows of hashes that one transaction writes.
const CHUNKS_WRITTEN: usize = 64;
/// SQLite's log is copied to the database after this many transactions.
const CHECKPOINT_EVERY: usize = 8;

/// A new version of a list.
#[derive(Clone, Debug)]
pub struct NewList {
    /// The list's name.
    pub name: ListName,
    /// The use of the list. It never changes.
    pub kind: ListKind,
    /// The date of its data.
    pub as_of: Wall,
    /// Its data is too old this long after its date.
    pub max_age: Duration,
    /// Lines of the upload that were no number.
    pub rejected: u64,
    /// The key of the request.
    pub api_key: Option<i64>,
}

static WRITE: BulkStatement = BulkStatement::new(
    3,
    "INSERT INTO suppression_chunks (version_id, chunk, hashes) VALUES {rows}",
);

/// Higher than every id that was used, also by a version that was not completed.
const NEXT_VERSION: &str = "SELECT 1 + greatest_id FROM (SELECT max(id) AS greatest_id FROM (SELECT id FROM suppression_versions \
    UNION ALL SELECT max(version_id) FROM suppression_chunks UNION ALL SELECT 0) ids) greatest";
const ADD_VERSION: &str = "INSERT INTO suppression_versions (id, list, as_of_ms, loaded_at_ms, numbers, added, removed, rejected, key_check, \
    api_key_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
const SWITCH: &str = "INSERT INTO suppression_lists (name, kind, version_id, max_age_ms) VALUES ($1, $2, $3, $4) \
    ON CONFLICT (name) DO UPDATE SET version_id = excluded.version_id, max_age_ms = excluded.max_age_ms";
const VERSION: &str = "SELECT version_id FROM suppression_lists WHERE name = $1";
const OLD_VERSIONS: &str = "SELECT DISTINCT version_id FROM suppression_chunks WHERE version_id NOT IN (SELECT version_id FROM suppression_lists)";
const CLEAR: &str = "DELETE FROM suppression_chunks WHERE version_id = $1 AND chunk >= $2 AND chunk < $3";

impl Store {
    /// The key for the numbers of a list. `None` if [`Store::open_suppression`] was not called.
    pub fn suppression_key(&self) -> Option<SuppressionKey> {
        self.loaded_lists().ok()?.key.clone()
    }

    /// Replaces a list, or makes it, with these hashes in any order. When it returns, the new version is used and a power failure
    /// cannot undo it. Only one list may be replaced at a time.
    ///
    /// Fails with [`StoreError::OtherKind`] if the list has another kind, and with [`StoreError::SuppressionKey`] if the lists are not
    /// loaded.
    pub async fn replace_list(
        &self,
        new: NewList,
        hashes: Vec<u64>,
        now: Wall,
    ) -> Result<ListRow, StoreError> {
        const DOING: &str = "replace a suppression list";
        let lists = self.loaded_lists().map_err(query(DOING))?;
        let key = lists.key.clone().ok_or(StoreError::SuppressionKey)?;
        let before = lists.lists.iter().find(|list| list.name == new.name);
        if before.is_some_and(|before| before.kind != new.kind) {
            return Err(StoreError::OtherKind);
        }
        let before = before
            .map(|before| Arc::clone(&before.hashes))
            .unwrap_or_default();
        let sorted = tokio::task::spawn_blocking(move || {
            let mut hashes = hashes;
            hashes.sort_unstable();
            // What is left over was never written to. To give it back, the vector would have to be copied.
            hashes.dedup();
            let changes = changes(&before, &hashes);
            (hashes, changes)
        });
        let (hashes, (added, removed)) = sorted.await.map_err(|_| StoreError::Stopped)?;
        self.clear_old_versions().await?;
        let next = self.read_all(DOING, NEXT_VERSION, &[], |row| row.get::<i64>(0));
        let version = next.await?.pop().unwrap_or(1);
        self.write_chunks(version, &hashes).await.map_err(query(DOING))?;
        let row = ListRow {
            name: new.name.clone(),
            kind: new.kind,
            version,
            as_of: new.as_of,
            max_age: new.max_age,
            loaded_at: now,
            numbers: hashes.len().try_into().unwrap_or(u64::MAX),
            added,
            removed,
            rejected: new.rejected,
        };
        self.switch(&row, &key, new.api_key).await?;
        let hashes = Arc::new(hashes);
        let loaded = Loaded {
            name: new.name,
            kind: new.kind,
            hashes,
        };
        self.change_lists(|lists| lists.with(&row.name, Some(loaded)));
        self.look_at_tasks_again(DOING).await?;
        self.clear_old_versions().await?;
        Ok(row)
    }

    /// Deletes a list. Its versions stay in the history. Returns false if it does not exist.
    pub async fn remove_list(&self, name: &ListName, now: Wall) -> Result<bool, StoreError> {
        const DOING: &str = "delete a suppression list";
        let sql = "DELETE FROM suppression_lists WHERE name = $1";
        let removed = self
            .write(DOING, async |tx| {
                lists_changed(tx).await?;
                let removed = tx.run(sql, args![name.as_str()]).await? > 0;
                if removed {
                    let body = json!({"suppression_list": name.as_str(), "deleted": true});
                    ledger::record(tx, &[rule_change(now, body)]).await?;
                }
                Ok(removed)
            })
            .await?;
        self.pools.sync().await.map_err(query(DOING))?;
        self.change_lists(|lists| lists.with(name, None));
        self.look_at_tasks_again(DOING).await?;
        self.clear_old_versions().await?;
        Ok(removed)
    }

    /// Between the commit of a change and the change in memory, a lease denies by the old lists, and the job that looks at
    /// the held contacts reads them.
    async fn look_at_tasks_again(&self, doing: &'static str) -> Result<(), StoreError> {
        self.write(doing, async |tx| Ok(lists_changed(tx).await?)).await
    }

    fn change_lists(&self, change: impl FnOnce(&Lists) -> Lists) {
        if let Ok(lists) = self.loaded_lists() {
            self.set_lists(change(&lists));
        }
    }

    async fn write_chunks(&self, version: i64, hashes: &[u64]) -> Result<(), DbError> {
        let chunks: Vec<(i64, Vec<u8>)> = Vec::with_capacity(CHUNKS_WRITTEN);
        let (mut chunks, mut written) = (chunks, 0_usize);
        for part in hashes.chunk_by(|a, b| chunk_of(*a) == chunk_of(*b)) {
            let chunk = part.first().map_or(0, |first| chunk_of(*first));
            let bytes = part.iter().flat_map(|hash| hash.to_be_bytes()).collect();
            chunks.push((chunk, bytes));
            if chunks.len() == CHUNKS_WRITTEN {
                self.write_slice(version, &chunks).await?;
                chunks.clear();
                written += 1;
                if written.is_multiple_of(CHECKPOINT_EVERY) {
                    self.pools.checkpoint().await?;
                }
            }
        }
        self.write_slice(version, &chunks).await?;
        self.pools.checkpoint().await
    }

    async fn write_slice(&self, version: i64, chunks: &[(i64, Vec<u8>)]) -> Result<(), DbError> {
        let mut rows = Vec::with_capacity(chunks.len() * 3);
        for (chunk, bytes) in chunks {
            rows.extend_from_slice(args![version, *chunk, bytes.as_slice()]);
        }
        let mut tx = self.pools.begin_bulk().await?;
        WRITE.run(&mut tx, &rows).await?;
        Ok(tx.commit().await?)
    }

    /// Makes the version the present one.
    async fn switch(
        &self,
        row: &ListRow,
        key: &SuppressionKey,
        api_key: Option<i64>,
    ) -> Result<(), StoreError> {
        const DOING: &str = "replace a suppression list";
        let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let max_age_ms = i64::try_from(row.max_age.as_millis()).unwrap_or(i64::MAX);
        let check = key.check();
        let switched = self
            .write(DOING, async |tx| {
                let version = args![
                    row.version,
                    row.name.as_str(),
                    row.as_of.0,
                    row.loaded_at.0,
                    count(row.numbers),
                    count(row.added),
                    count(row.removed),
                    count(row.rejected),
                    check.as_slice(),
                    api_key,
                ];
                tx.run(ADD_VERSION, version).await?;
                let list = args![row.name.as_str(), row.kind.as_str(), row.version, max_age_ms];
                tx.run(SWITCH, list).await?;
                lists_changed(tx).await?;
                let body = json!({
                    "suppression_list": row.name.as_str(),
                    "kind": row.kind.as_str(),
                    "as_of_ms": row.as_of.0,
                    "numbers": row.numbers,
                    "added": row.added,
                    "removed": row.removed,
                });
                Ok(ledger::record(tx, &[rule_change(row.loaded_at, body)]).await?)
            })
            .await;
        if let Err(error) = switched {
            // The commit may have succeeded although its answer was lost.
            let name = args![row.name.as_str()];
            let present = self.read_all(DOING, VERSION, name, |row| row.get::<i64>(0)).await;
            if present?.pop() != Some(row.version) {
                return Err(error);
            }
        }
        self.pools.sync().await.map_err(query(DOING))
    }

    /// Deletes the hashes of versions that were replaced or not completed.
    pub(super) async fn clear_old_versions(&self) -> Result<(), StoreError> {
        const DOING: &str = "delete old versions of suppression lists";
        const SLICE: i64 = 128;
        let old = self.read_all(DOING, OLD_VERSIONS, &[], |row| row.get::<i64>(0));
        for version in old.await? {
            let mut chunk = 0_i64;
            while chunk < i64::try_from(CHUNKS).unwrap_or(i64::MAX) {
                let end = chunk.saturating_add(SLICE);
                self.write(DOING, async |tx| {
                    Ok(tx.run(CLEAR, args![version, chunk, end]).await?)
                })
                .await?;
                chunk = end;
            }
        }
        Ok(())
    }
}

/// A list decides which numbers may be called, so its change is one of the rules.
fn rule_change(at: Wall, body: serde_json::Value) -> NewFact<'static> {
    NewFact {
        kind: Kind::RuleChange,
        at,
        number: None,
        campaign: None,
        body: body.to_string(),
    }
}

/// The row that contains a hash.
fn chunk_of(hash: u64) -> i64 {
    i64::try_from(hash / (u64::MAX / CHUNKS + 1)).unwrap_or(0)
}

/// Counts the hashes that are only in `after`, and those that are only in `before`. Both are sorted.
fn changes(before: &[u64], after: &[u64]) -> (u64, u64) {
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    let (mut added, mut removed) = (0, 0);
    loop {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return (added, removed),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.cmp(new),
        };
        if order != Ordering::Greater {
            before.next();
        }
        if order != Ordering::Less {
            after.next();
        }
        removed += u64::from(order == Ordering::Less);
        added += u64::from(order == Ordering::Greater);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_counted_on_both_sides() {
        assert_eq!(changes(&[], &[1, 2]), (2, 0));
        assert_eq!(changes(&[1, 2], &[]), (0, 2));
        assert_eq!(changes(&[1, 3, 5], &[2, 3, 4, 5, 6]), (3, 1));
    }

    #[test]
    fn every_hash_has_a_chunk_in_the_order_of_the_hashes() {
        assert_eq!((chunk_of(0), chunk_of(u64::MAX)), (0, 4_095));
        assert_eq!((chunk_of(1 << 52), chunk_of((1 << 52) - 1)), (1, 0));
    }
}
