//! Suppression lists: registries of millions of numbers, the team's own lists, and allowlists. The store keeps only keyed hashes of
//! their numbers. The process keeps the hashes of every list in memory, sorted, so that a look-up waits for nothing
//! (`scripts/bench suppression` measures it).
//!
//! A hash is the first 64 bits of an HMAC-SHA256. With 10 million numbers in a list, one look-up in 1.8 * 10^12 finds a number that is
//! not listed.
//!
//! [`Store::open_suppression`] loads the lists, `suppression/replace` replaces one, and `suppression/numbers` reads where the numbers
//! of contacts are listed.

mod numbers;
mod replace;

#[cfg(test)]
pub(crate) use numbers::NUMBERS;
pub(crate) use numbers::{NumberFacts, numbers_of};
pub use replace::NewList;

use super::Store;
use super::db::{Row, args};
use super::error::{DbError, DbErrorKind, StoreError};
use paceline_core::number::E164;
use paceline_core::suppression::{ListKind, ListName};
use paceline_core::time::Wall;
use ring::hmac;
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tracing::error;

/// Rows of hashes in one list.
pub(crate) const CHUNKS: u64 = 4_096;
/// Rows that are read at a time.
const CHUNKS_READ: i64 = 256;

/// The key that hides the numbers of suppression lists.
#[derive(Clone)]
pub struct SuppressionKey(hmac::Key);

impl fmt::Debug for SuppressionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SuppressionKey(redacted)")
    }
}

impl SuppressionKey {
    /// The key for suppression lists, derived from the installation's secret for numbers.
    pub fn new(secret: &[u8]) -> Self {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derived = hmac::sign(&secret, b"paceline suppression");
        Self(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
    }

    /// The keyed hash of a number.
    pub fn hash(&self, number: &E164) -> u64 {
        self.first_bits(number.expose().as_bytes())
    }

    /// A check value that identifies the key of hashes. No number has this hash's input.
    fn check(&self) -> [u8; 8] {
        self.first_bits(b"key check").to_be_bytes()
    }

    fn first_bits(&self, text: &[u8]) -> u64 {
        let tag = hmac::sign(&self.0, text);
        let first = tag.as_ref().first_chunk::<8>();
        first.map_or(0, |first| u64::from_be_bytes(*first))
    }
}

/// The present version of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRow {
    /// The list's name.
    pub name: ListName,
    /// The use of the list.
    pub kind: ListKind,
    /// The version's id, higher than those before.
    pub version: i64,
    /// The date of its data.
    pub as_of: Wall,
    /// Its data is too old this long after its date.
    pub max_age: Duration,
    /// The time when it replaced the version before.
    pub loaded_at: Wall,
    /// Number of different numbers.
    pub numbers: u64,
    /// Numbers that the version before did not have.
    pub added: u64,
    /// Numbers that only the version before had.
    pub removed: u64,
    /// Lines of the upload that were no number.
    pub rejected: u64,
}

impl ListRow {
    /// The age of its data.
    pub fn age(&self, now: Wall) -> Duration {
        now.since(self.as_of)
    }

    /// True if its data is too old.
    pub fn is_too_old(&self, now: Wall) -> bool {
        self.age(now) > self.max_age
    }
}

/// The lists in memory.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    /// `None` if no list was ever opened or uploaded.
    key: Option<SuppressionKey>,
    lists: Vec<Loaded>,
    /// Lists whose stored hashes are not those that were uploaded. Nothing is leased until they are uploaded again.
    damaged: Vec<ListName>,
}

#[derive(Clone, Debug)]
struct Loaded {
    name: ListName,
    kind: ListKind,
    /// Sorted, each once.
    hashes: Arc<Vec<u64>>,
}

impl Lists {
    /// The lists that hold the number.
    pub(crate) fn holding(&self, number: &E164) -> Vec<(ListName, ListKind)> {
        let Some(key) = self.key.as_ref().filter(|_| !self.lists.is_empty()) else {
            return Vec::new();
        };
        let hash = key.hash(number);
        let holding = self
            .lists
            .iter()
            .filter(|list| list.hashes.binary_search(&hash).is_ok());
        holding.map(|list| (list.name.clone(), list.kind)).collect()
    }

    /// The same lists with this one in place of the one of its name; without it if `list` is `None`.
    fn with(&self, name: &ListName, list: Option<Loaded>) -> Self {
        let others = self.lists.iter().filter(|list| list.name != *name).cloned();
        let damaged = self.damaged.iter().filter(|other| *other != name).cloned();
        Self {
            key: self.key.clone(),
            lists: others.chain(list).collect(),
            damaged: damaged.collect(),
        }
    }
}

const LISTS: &str = "SELECT l.name, l.kind, l.version_id, v.as_of_ms, l.max_age_ms, v.loaded_at_ms, v.numbers, v.added, v.removed, \
    v.rejected, v.key_check FROM suppression_lists l JOIN suppression_versions v ON v.id = l.version_id ORDER BY l.name";
const VERSIONS: &str = "SELECT l.name, l.kind, v.id, v.as_of_ms, l.max_age_ms, v.loaded_at_ms, v.numbers, v.added, v.removed, v.rejected \
    FROM suppression_versions v JOIN suppression_lists l ON l.name = v.list WHERE v.list = $1 ORDER BY v.id DESC LIMIT $2";
const HASHES: &str = "SELECT hashes FROM suppression_chunks WHERE version_id = $1 AND chunk >= $2 AND chunk < $3 ORDER BY chunk";

impl Store {
    /// Loads every list into memory. Until then, a store that has lists leases and prepares nothing. It leases and prepares
    /// nothing either while a list is damaged.
    pub async fn open_suppression(&self, key: SuppressionKey) -> Result<(), StoreError> {
        self.read_suppression(key).await?;
        self.clear_old_versions().await
    }

    /// As [`Store::open_suppression`], and changes nothing: for a process beside the one that serves the store and may be replacing a
    /// list.
    pub async fn read_suppression(&self, key: SuppressionKey) -> Result<(), StoreError> {
        const DOING: &str = "read the suppression lists";
        let rows = self.read(DOING, LISTS, &[]).await?;
        let (mut lists, mut damaged) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in &rows {
            let check = row.get::<Vec<u8>>(10).map_err(super::query(DOING))?;
            if check != key.check() {
                return Err(StoreError::SuppressionKey);
            }
            let row = list_row(row).map_err(super::query(DOING))?;
            match self.load(&row).await? {
                Some(list) => lists.push(list),
                None => {
                    error!(list = %row.name, "the suppression list is damaged, so nothing is dialed: upload it again, or delete it");
                    damaged.push(row.name);
                }
            }
        }
        let key = Some(key);
        self.set_lists(Lists { key, lists, damaged });
        Ok(())
    }

    /// The names of the lists that hold the number. Fails only if the lists are not loaded.
    pub fn lists_holding(&self, number: &E164) -> Result<Vec<(ListName, ListKind)>, StoreError> {
        let lists = self.lists().map_err(super::query("look a number up"))?;
        Ok(lists.holding(number))
    }

    /// The present version of every list, by name.
    pub async fn suppression_lists(&self) -> Result<Vec<ListRow>, StoreError> {
        self.read_all("list the suppression lists", LISTS, &[], list_row)
            .await
    }

    /// The versions that a list has had, the newest first. Empty if there is no such list.
    pub async fn suppression_versions(
        &self,
        name: &ListName,
        limit: i64,
    ) -> Result<Vec<ListRow>, StoreError> {
        let args = args![name.as_str(), limit];
        self.read_all(
            "list the versions of a suppression list",
            VERSIONS,
            args,
            list_row,
        )
        .await
    }

    /// `None` if the list is damaged.
    async fn load(&self, row: &ListRow) -> Result<Option<Loaded>, StoreError> {
        const DOING: &str = "read a suppression list";
        let capacity = usize::try_from(row.numbers).unwrap_or(0).min(100_000_000);
        let mut hashes: Vec<u64> = Vec::with_capacity(capacity);
        let mut chunk = 0;
        while chunk < i64::try_from(CHUNKS).unwrap_or(i64::MAX) {
            let args = args![row.version, chunk, chunk.saturating_add(CHUNKS_READ)];
            for row in self.read(DOING, HASHES, args).await? {
                let bytes = row.get::<Vec<u8>>(0).map_err(super::query(DOING))?;
                hashes.extend(
                    bytes
                        .as_chunks::<8>()
                        .0
                        .iter()
                        .map(|bytes| u64::from_be_bytes(*bytes)),
                );
            }
            chunk = chunk.saturating_add(CHUNKS_READ);
        }
        if u64::try_from(hashes.len()).ok() != Some(row.numbers) || !hashes.is_sorted() {
            return Ok(None);
        }
        Ok(Some(Loaded {
            name: row.name.clone(),
            kind: row.kind,
            hashes: Arc::new(hashes),
        }))
    }

    /// The lists in memory. Fails if the store has lists that are not loaded or damaged: their numbers would be called.
    pub(crate) fn lists(&self) -> Result<Arc<Lists>, DbError> {
        let lists = self.loaded_lists()?;
        match lists.damaged.first() {
            Some(_) => Err(DbError::new(
                DbErrorKind::Passing,
                "a suppression list is damaged: upload it again, or delete it",
            )),
            None => Ok(lists),
        }
    }

    fn loaded_lists(&self) -> Result<Arc<Lists>, DbError> {
        let lists = self.lists.read().unwrap_or_else(PoisonError::into_inner).clone();
        lists.ok_or_else(|| DbError::new(DbErrorKind::Passing, "the suppression lists are not loaded"))
    }

    fn set_lists(&self, lists: Lists) {
        *self.lists.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(lists));
    }
}

fn list_row(row: &Row) -> Result<ListRow, DbError> {
    let name = ListName::new(&row.get::<String>(0)?).map_err(|_| DbError::decode("name of a list"))?;
    Ok(ListRow {
        name,
        kind: row.word(1)?,
        version: row.get(2)?,
        as_of: Wall(row.get(3)?),
        max_age: Duration::from_millis(row.size(4)?),
        loaded_at: Wall(row.get(5)?),
        numbers: row.size(6)?,
        added: row.size(7)?,
        removed: row.size(8)?,
        rejected: row.size(9)?,
    })
}
