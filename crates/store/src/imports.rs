//! Imports of contact files: the rows with the progress of each, and the staging of its contacts in short
//! transactions.
//!
//! An import is a state machine: `running` → `staged` → `published`, with `stopped` if it is interrupted, or
//! `clearing` → `cancelled` or `failed`. Its contacts are in their table from the start but become visible only when
//! it is published, so publishing is an update of one row, and cancelling disturbs no other work. Additions to
//! contacts that the list already had wait in `import_fills` until then. The process that runs an import is its
//! `worker`; a staging transaction of any other worker stores nothing. Start at [`Store::begin_import`].

mod fill;
mod stage;

pub use stage::{Staged, StagedContact, StagedReject, Staging};

use super::Store;
use super::contacts::insert_list;
use super::db::{Row, args};
use super::error::{DbError, Failures, Stop, StoreError};
use super::select::Select;
use super::tasks::reopen::TasksToDial;
use paceline_core::ids::{ContactListId, ImportId};
use paceline_core::time::Wall;
use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;
use uuid::Uuid;

/// A running import without progress for this long has lost its worker.
pub const IMPORT_DEAD_AFTER: Duration = Duration::from_secs(60);
/// Contacts that one transaction looks at when it clears or fills in an import.
const CLEAR_ROWS: i64 = 1_000;

/// The state of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportState {
    /// The file is being read.
    Running,
    /// The import was interrupted and can be resumed.
    Stopped,
    /// All contacts are staged and none is visible.
    Staged,
    /// All contacts are visible.
    Published,
    /// The staged contacts are being deleted.
    Clearing,
    /// A user cancelled the import.
    Cancelled,
    /// The file could not be read to the end.
    Failed,
}

/// The destination of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportInto {
    /// A new list of this name.
    NewList(String),
    /// This list.
    List(ContactListId),
}

/// An import to begin.
#[derive(Clone, Debug)]
pub struct NewImport<'a> {
    /// The destination of the contacts.
    pub into: &'a ImportInto,
    /// SHA-256 of the whole file.
    pub file_sha256: &'a [u8; 32],
    /// JSON: the settings for reading the file.
    pub settings: &'a str,
    /// JSON: the format found in the file.
    pub shape: &'a str,
}

/// An import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportRow {
    /// Its id.
    pub id: ImportId,
    /// The list of the import's contacts; `None` after a list that this import made was deleted.
    pub list: Option<ContactListId>,
    /// True if this import made the list.
    pub makes_list: bool,
    /// The state as stored; see [`ImportRow::state_at`].
    pub state: ImportState,
    /// The time of the worker's last progress.
    pub alive_at: Wall,
    /// SHA-256 of the whole file.
    pub file_sha256: Vec<u8>,
    /// JSON: the settings for reading the file.
    pub settings: String,
    /// JSON: the format found in the file.
    pub shape: String,
    /// The part of the file that is read, in thousandths.
    pub done_permille: u32,
    /// Rows read.
    pub rows_read: u64,
    /// Rows that were rejected.
    pub rejected: u64,
    /// Rows whose contacts were already in the list.
    pub listed: u64,
    /// Additional numbers that were left out because another contact of the list has them.
    pub numbers_left: u64,
    /// Contacts staged or published; `None` before all are staged.
    pub imported: Option<u64>,
    /// Contacts already in the list to which the file adds something; `None` before all are staged.
    pub filled: Option<u64>,
    /// JSON: the number of repaired cells, by kind of repair.
    pub repairs: String,
    /// JSON: the number of accepted rows, by country and kind of their number.
    pub numbers: String,
    /// The reason of a failure.
    pub failure: Option<String>,
    /// The time when the import began.
    pub created_at: Wall,
    /// The time of publication; `None` before.
    pub published_at: Option<Wall>,
}

const COLUMNS: &str = "SELECT id, list_id, makes_list, state, alive_at_ms, file_sha256, settings, shape, done_permille, \
    rows_read, rejected, listed, imported, filled, repairs, numbers, failure, created_at_ms, published_at_ms, numbers_left \
    FROM imports WHERE 1 = 1";

impl Store {
    /// Begins an import, and makes its list if it needs one. Fails with [`StoreError::NoList`], or with
    /// [`StoreError::ListBusy`] if another import into the list has not ended: its staged numbers are neither in the
    /// list nor new.
    pub async fn begin_import(
        &self,
        new: &NewImport<'_>,
        now: Wall,
    ) -> Result<(ImportRow, Staging), StoreError> {
        let insert = "INSERT INTO imports (list_id, makes_list, state, worker, alive_at_ms, file_sha256, settings, shape, \
              created_at_ms) VALUES ($1, $2, 'running', $3, $4, $5, $6, $7, $4) RETURNING id";
        let worker = Uuid::now_v7();
        let (id, list) = self
            .write("begin an import", async |tx| {
                let (list, makes_list) = match new.into {
                    ImportInto::NewList(name) => (insert_list(tx, name, true, now).await?.id, true),
                    ImportInto::List(list) => {
                        // Changes nothing, but locks the list, so that a second import into it waits for this
                        // transaction.
                        let hold = "UPDATE contact_lists SET name = name WHERE id = $1 AND NOT importing";
                        if tx.run(hold, args![list.0]).await? == 0 {
                            return Err(Stop::from(StoreError::NoList));
                        }
                        let other = "SELECT id FROM imports WHERE list_id = $1 \
                            AND state IN ('running', 'stopped', 'staged', 'clearing') ORDER BY id LIMIT 1";
                        let others = tx.rows(other, args![list.0]).await?;
                        if let Some(row) = others.first() {
                            let import = ImportId(row.get(0)?);
                            return Err(Stop::from(StoreError::ListBusy { import }));
                        }
                        (*list, false)
                    }
                };
                let args = args![
                    list.0,
                    makes_list,
                    worker,
                    now.0,
                    new.file_sha256.as_slice(),
                    new.settings,
                    new.shape
                ];
                Ok((ImportId(tx.one(insert, args).await?.get(0)?), list))
            })
            .await?;
        let row = self.import(id).await?.ok_or(StoreError::NoImport)?;
        Ok((row, Staging::new(self, id, list, worker)))
    }

    /// Resumes an interrupted import. `None` if its state does not allow it.
    pub async fn resume_import(
        &self,
        id: ImportId,
        now: Wall,
    ) -> Result<Option<(ImportRow, Staging)>, StoreError> {
        let resume = "UPDATE imports SET state = 'running', worker = $2, alive_at_ms = $3 \
            WHERE id = $1 AND (state = 'stopped' OR (state = 'running' AND alive_at_ms < $4))";
        let worker = Uuid::now_v7();
        let args = args![id.0, worker, now.0, dead_before(now)];
        if !self.changes("resume an import", resume, args).await? {
            return Ok(None);
        }
        let row = self.import(id).await?.ok_or(StoreError::NoImport)?;
        let list = row.list.ok_or(StoreError::NoImport)?;
        Ok(Some((row, Staging::new(self, id, list, worker))))
    }

    /// Interrupts a running import of any worker. Returns true if it ran.
    pub async fn stop_import(&self, id: ImportId) -> Result<bool, StoreError> {
        let stop = "UPDATE imports SET state = 'stopped', worker = NULL WHERE id = $1 AND state = 'running'";
        self.changes("stop an import", stop, args![id.0]).await
    }

    /// Makes the contacts of a staged import visible. Returns false if the import was not staged.
    /// [`Store::finish_publishing`] then adds to the contacts that the list already had.
    pub async fn publish_import(&self, id: ImportId, now: Wall) -> Result<bool, StoreError> {
        let publish =
            "UPDATE imports SET state = 'published', published_at_ms = $2 WHERE id = $1 AND state = 'staged'";
        let show = "UPDATE contact_lists SET importing = FALSE \
            WHERE importing AND id = (SELECT list_id FROM imports WHERE id = $1)";
        self.write("publish an import", async |tx| {
            let staged = tx.run(publish, args![id.0, now.0]).await? > 0;
            if staged {
                tx.run(show, args![id.0]).await?;
            }
            Ok(staged)
        })
        .await
    }

    /// Deletes the contacts that an import has staged, in slices. Returns false if its state did not allow it.
    /// `failure` is the reason, if the import failed.
    pub async fn clear_import(&self, id: ImportId, failure: Option<&str>) -> Result<bool, StoreError> {
        let clearing = self.begin_clearing(id, failure).await?;
        self.finish_clearing(id).await?;
        Ok(clearing)
    }

    /// Marks an import for deletion of its staged contacts; [`Store::finish_clearing`] deletes them. Returns false if
    /// its state does not allow it. `failure` is the reason, if the import failed.
    pub async fn begin_clearing(&self, id: ImportId, failure: Option<&str>) -> Result<bool, StoreError> {
        let clear = "UPDATE imports SET state = 'clearing', worker = NULL, failure = $2 \
            WHERE id = $1 AND state IN ('running', 'stopped', 'staged')";
        self.changes("cancel an import", clear, args![id.0, failure])
            .await
    }

    /// Deletes the staged contacts of every import in the state `clearing`. Returns the number of imports. Fails with
    /// [`StoreError::Items`] if this failed for some imports.
    pub async fn clear_cancelled_imports(&self) -> Result<u64, StoreError> {
        let cancelled = "SELECT id FROM imports WHERE state = 'clearing' ORDER BY id";
        let (mut cleared, mut failures) = (0, Failures::default());
        for id in self
            .read_all("find cancelled imports", cancelled, &[], |row| row.get(0))
            .await?
        {
            match self.finish_clearing(ImportId(id)).await {
                Ok(()) => cleared += 1,
                Err(error) => failures.note(format!("import {id}"), error),
            }
        }
        failures.none()?;
        Ok(cleared)
    }

    /// Completes every published import that still has additions to contacts of its list. Returns the number of
    /// imports, the tasks whose contacts they have changed, and the imports that failed.
    pub async fn fill_published_imports(&self) -> Result<(u64, TasksToDial, Failures), StoreError> {
        let published = "SELECT id FROM imports i WHERE state = 'published' \
            AND EXISTS (SELECT 1 FROM import_fills f WHERE f.import_id = i.id) ORDER BY id";
        let (mut filled, mut changed, mut failures) = (0, TasksToDial::new(), Failures::default());
        for id in self
            .read_all("find published imports", published, &[], |row| row.get(0))
            .await?
        {
            match self.finish_publishing(ImportId(id)).await {
                Ok(tasks) => {
                    changed.extend(tasks);
                    filled += 1;
                }
                Err(error) => failures.note(format!("import {id}"), error),
            }
        }
        Ok((filled, changed, failures))
    }

    /// Deletes the staged contacts of an import in the state `clearing`, in slices. Does nothing in any other state.
    pub async fn finish_clearing(&self, id: ImportId) -> Result<(), StoreError> {
        const DOING: &str = "delete what an import has staged";
        let Some(row) = self.import(id).await? else {
            return Ok(());
        };
        let (ImportState::Clearing, Some(list)) = (row.state, row.list) else {
            return Ok(());
        };
        let window = "SELECT max(id) FROM (SELECT id FROM contacts WHERE list_id = $1 AND id > $2 ORDER BY id LIMIT $3) w";
        let delete = [
            "DELETE FROM contact_tags WHERE list_id = $1 AND contact_id > $2 AND contact_id <= $3 \
               AND EXISTS (SELECT 1 FROM contacts c WHERE c.id = contact_tags.contact_id AND c.import_id = $4)",
            // This includes numbers added to contacts that the list already had.
            "DELETE FROM contact_numbers WHERE list_id = $1 AND contact_id > $2 AND contact_id <= $3 AND import_id = $4",
            "DELETE FROM contacts WHERE list_id = $1 AND id > $2 AND id <= $3 AND import_id = $4",
        ];
        let mut after = 0;
        loop {
            let last = self
                .read_all(DOING, window, args![list.0, after, CLEAR_ROWS], |row| {
                    row.get::<Option<i64>>(0)
                })
                .await?;
            let Some(last) = last.into_iter().flatten().next() else {
                break;
            };
            self.write(DOING, async |tx| {
                for sql in delete {
                    tx.run(sql, args![list.0, after, last, id.0]).await?;
                }
                Ok(())
            })
            .await?;
            after = last;
        }
        self.forget_fills(id).await?;
        let done = "UPDATE imports SET list_id = CASE WHEN makes_list THEN NULL ELSE list_id END, \
              state = CASE WHEN failure IS NULL THEN 'cancelled' ELSE 'failed' END \
            WHERE id = $1 AND state = 'clearing'";
        let gone = "DELETE FROM contact_lists WHERE id = $1 AND importing";
        self.write(DOING, async |tx| {
            if tx.run(done, args![id.0]).await? > 0 && row.makes_list {
                tx.run(gone, args![list.0]).await?;
            }
            Ok(())
        })
        .await
    }

    /// Imports, the newest first.
    pub async fn imports(&self, after: Option<ImportId>, limit: i64) -> Result<Vec<ImportRow>, StoreError> {
        let (sql, args) = Select::new(COLUMNS)
            .and("id <", after.map(|id| id.0))
            .order("id DESC", limit);
        self.read_all("list imports", sql, &args, import).await
    }

    /// One import.
    pub async fn import(&self, id: ImportId) -> Result<Option<ImportRow>, StoreError> {
        let (sql, args) = Select::new(COLUMNS).and("id =", Some(id.0)).order("id", 1);
        Ok(self.read_all("read an import", sql, &args, import).await?.pop())
    }

    /// The rejected rows of an import, in the order of their lines.
    pub async fn import_rejects(
        &self,
        id: ImportId,
        after_line: Option<i64>,
        limit: i64,
    ) -> Result<Vec<StagedReject>, StoreError> {
        let (sql, args) = Select::new("SELECT line, field, reason FROM import_rejects WHERE 1 = 1")
            .and("import_id =", Some(id.0))
            .and("line >", after_line)
            .order("line", limit);
        let read = |row: &Row| {
            Ok(StagedReject {
                line: row.size(0)?,
                field: row.get(1)?,
                reason: row.get(2)?,
            })
        };
        self.read_all("list rejected rows", sql, &args, read).await
    }

    /// The number of rejected rows of an import, by reason.
    pub async fn import_reasons(&self, id: ImportId) -> Result<BTreeMap<String, u64>, StoreError> {
        let sql = "SELECT reason, count(*) FROM import_rejects WHERE import_id = $1 GROUP BY reason";
        let read = |row: &Row| Ok((row.get(0)?, row.size(1)?));
        let counts = self
            .read_all("count rejected rows", sql, args![id.0], read)
            .await?;
        Ok(counts.into_iter().collect())
    }

    /// Returns true if the statement changed a row.
    async fn changes(
        &self,
        doing: &'static str,
        sql: &'static str,
        args: &[super::db::Arg<'_>],
    ) -> Result<bool, StoreError> {
        self.write(doing, async |tx| Ok(tx.run(sql, args).await? > 0))
            .await
    }
}

/// A running import whose last progress is before this time has lost its worker. Unix time in milliseconds.
fn dead_before(now: Wall) -> i64 {
    let after = i64::try_from(IMPORT_DEAD_AFTER.as_millis()).unwrap_or(i64::MAX);
    now.0.saturating_sub(after)
}

impl ImportRow {
    /// The state at a given time: a running import that has lost its worker is [`ImportState::Stopped`].
    pub fn state_at(&self, now: Wall) -> ImportState {
        match self.state {
            ImportState::Running if self.alive_at.0 < dead_before(now) => ImportState::Stopped,
            state => state,
        }
    }
}

fn import(row: &Row) -> Result<ImportRow, DbError> {
    let count = |column| -> Result<Option<u64>, DbError> {
        let count = row.get::<Option<i64>>(column)?;
        count
            .map(|n| u64::try_from(n).map_err(|_| DbError::decode("count")))
            .transpose()
    };
    Ok(ImportRow {
        id: ImportId(row.get(0)?),
        list: row.get::<Option<i64>>(1)?.map(ContactListId),
        makes_list: row.get(2)?,
        state: row.word(3)?,
        alive_at: Wall(row.get(4)?),
        file_sha256: row.get(5)?,
        settings: row.get(6)?,
        shape: row.get(7)?,
        done_permille: row.count(8)?,
        rows_read: row.size(9)?,
        rejected: row.size(10)?,
        listed: row.size(11)?,
        imported: count(12)?,
        filled: count(13)?,
        repairs: row.get(14)?,
        numbers: row.get(15)?,
        failure: row.get(16)?,
        created_at: Wall(row.get(17)?),
        published_at: row.get::<Option<i64>>(18)?.map(Wall),
        numbers_left: row.size(19)?,
    })
}

impl ImportState {
    const ALL: [Self; 7] = [
        Self::Running,
        Self::Stopped,
        Self::Staged,
        Self::Published,
        Self::Clearing,
        Self::Cancelled,
        Self::Failed,
    ];

    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Staged => "staged",
            Self::Published => "published",
            Self::Clearing => "clearing",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

impl FromStr for ImportState {
    type Err = DbError;
    fn from_str(text: &str) -> Result<Self, DbError> {
        let all = Self::ALL.into_iter();
        all.clone()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| DbError::decode("import state"))
    }
}
