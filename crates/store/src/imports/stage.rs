//! Stages the contacts of an import in transactions that are so short that a running campaign hardly notices them.

use super::fill;
use crate::Store;
use crate::bulk_statement::BulkStatement;
use crate::contacts::insert::insert;
use crate::contacts::owners::{Owner, Owners, lock_list};
use crate::db::{Arg, Tx, args};
use crate::error::{DbError, Stop, StoreError};
use paceline_core::contact::Contact;
use paceline_core::contact::merge::{Belongs, fill_attributes};
use paceline_core::ids::{ContactId, ContactListId, ImportId};
use paceline_core::time::Wall;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The target duration of a transaction while a campaign is active. It is far below the permitted 50 ms, because some
/// transactions take twice as long.
const AIM: Duration = Duration::from_millis(18);
const ROWS_MAX: usize = 4_000;
/// The target while no campaign is active. Each transaction writes each changed page of the index once, so a few
/// large transactions write less than many small ones.
const AIM_ALONE: Duration = Duration::from_millis(150);
const ROWS_ALONE_MAX: usize = 16_000;
const ROWS_MIN: usize = 100;
/// While no campaign is active, SQLite's log is copied to the database after this many transactions.
const CHECKPOINT_EVERY: u32 = 8;
/// While a campaign is active, more often: otherwise another process whose commit finds a long log copies it and
/// makes its caller wait.
const CHECKPOINT_BUSY_EVERY: u32 = 4;

/// A checked contact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StagedContact {
    /// The first line of its row; the first line of the file is 1.
    pub line: u64,
    /// The contact, checked by [`Contact::check`].
    pub contact: Contact,
    /// The other columns: a JSON object of texts.
    pub attributes: String,
}

/// A rejected row, without its content.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct StagedReject {
    /// The first line of the row; the first line of the file is 1.
    pub line: u64,
    /// The header of the wrong column; `None` if the whole row is rejected.
    pub field: Option<String>,
    /// The reason.
    pub reason: String,
}

/// Consecutive rows, and the progress of the import after they are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Staged {
    /// Contacts, in the order of the file.
    pub contacts: Vec<StagedContact>,
    /// Rejected rows.
    pub rejects: Vec<StagedReject>,
    /// Rows read since the beginning, including these.
    pub rows_read: u64,
    /// The part of the file that is read, in thousandths.
    pub done_permille: u32,
    /// JSON: cells repaired since the beginning, by kind of repair.
    pub repairs: String,
    /// JSON: rows accepted since the beginning, by country and kind of their number.
    pub numbers: String,
}

/// The right to stage contacts of one import, which belongs to its worker.
#[derive(Debug)]
pub struct Staging {
    store: Store,
    id: ImportId,
    list: ContactListId,
    worker: Uuid,
    rows: usize,
    /// True if a campaign was active after the last transaction.
    busy: bool,
    since_checkpoint: u32,
    longest_us: Arc<AtomicU64>,
}

static REJECTS: BulkStatement = BulkStatement::new(
    4,
    "INSERT INTO import_rejects (import_id, line, field, reason) VALUES {rows} ON CONFLICT (import_id, line) DO NOTHING",
);
const PROGRESS: &str = "UPDATE imports SET alive_at_ms = $3, rows_read = $4, rejected = rejected + $5, listed = listed + $6, \
      numbers_left = numbers_left + $7, done_permille = $8, repairs = $9, numbers = $10 \
    WHERE id = $1 AND worker = $2 AND state = 'running'";

impl Staging {
    pub(super) fn new(store: &Store, id: ImportId, list: ContactListId, worker: Uuid) -> Self {
        Self {
            store: store.clone(),
            id,
            list,
            worker,
            rows: 1_000,
            busy: false,
            since_checkpoint: 0,
            longest_us: Arc::default(),
        }
    }

    /// The import's id.
    pub fn id(&self) -> ImportId {
        self.id
    }

    /// The wanted number of rows for the next transaction.
    pub fn rows_wanted(&self) -> usize {
        self.rows
    }

    /// The longest transaction so far, in microseconds.
    pub fn longest_us(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.longest_us)
    }

    /// Stores rows and the import's progress in one transaction. Returns the rows that were rejected because it is
    /// unclear which contact they belong to; `None` if this worker no longer has the import, because a user stopped
    /// or cancelled it. While a campaign is active, a pause as long as the transaction follows (at most 36 ms),
    /// because another process gets SQLite's one lock only in pauses.
    pub async fn stage(
        &mut self,
        staged: Staged,
        now: Wall,
    ) -> Result<Option<Vec<StagedReject>>, StoreError> {
        let rows = staged.contacts.len() + staged.rejects.len();
        let started = Instant::now();
        let stored = self.store(staged, now).await;
        let took = started.elapsed();
        let rejects = match stored {
            Ok(rejects) => Some(rejects),
            Err(Stop::Refused(StoreError::NoImport)) => None,
            Err(Stop::Refused(error)) => return Err(error),
            Err(Stop::Db(source)) => {
                return Err(StoreError::Query {
                    doing: "stage contacts",
                    source,
                });
            }
        };
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.longest_us.fetch_max(took_us, Ordering::Relaxed);
        self.make_room(took).await?;
        self.adapt(rows, took);
        Ok(rejects)
    }

    /// Notes that all rows are stored. Returns false if this worker no longer has the import.
    pub async fn finish(self, now: Wall) -> Result<bool, StoreError> {
        // Counted before the transaction to keep it short. No other worker stages contacts of this import.
        let counted = "SELECT (SELECT count(*) FROM contacts WHERE list_id = $1 AND import_id = $2), \
              (SELECT count(*) FROM import_fills f JOIN contacts c ON c.id = f.contact_id \
                WHERE f.import_id = $2 AND c.import_id <> $2)";
        let args = args![self.list.0, self.id.0];
        let counted = self
            .store
            .read_all("count staged contacts", counted, args, |row| {
                Ok((row.get::<i64>(0)?, row.get::<i64>(1)?))
            })
            .await?;
        let (imported, filled) = counted.first().copied().unwrap_or_default();
        let done = "UPDATE imports SET state = 'staged', worker = NULL, alive_at_ms = $3, imported = $4, filled = $5, \
              done_permille = 1000 WHERE id = $1 AND worker = $2 AND state = 'running'";
        let args = args![self.id.0, self.worker, now.0, imported, filled];
        let done = self.store.changes("finish an import", done, args).await?;
        self.store.checkpoint().await?;
        Ok(done)
    }

    /// Interrupts the import. It can be resumed.
    pub async fn stop(self) -> Result<(), StoreError> {
        let stop = "UPDATE imports SET state = 'stopped', worker = NULL WHERE id = $1 AND worker = $2 AND state = 'running'";
        let args = args![self.id.0, self.worker];
        self.store.changes("stop an import", stop, args).await.map(drop)
    }

    async fn store(&self, staged: Staged, now: Wall) -> Result<Vec<StagedReject>, Stop> {
        let mut tx = self.store.pools.begin_bulk().await?;
        match self.store_in(&mut tx, staged, now).await {
            Ok(rejects) => {
                tx.commit().await.map_err(DbError::from)?;
                Ok(rejects)
            }
            Err(stop) => {
                // If the rollback fails too, dropping the transaction closes its connection.
                tx.rollback().await.ok();
                Err(stop)
            }
        }
    }

    async fn store_in(&self, tx: &mut Tx, mut staged: Staged, now: Wall) -> Result<Vec<StagedReject>, Stop> {
        // If the import was cleared, the list that it made no longer exists.
        lock_list(tx, self.list).await.map_err(|stop| match stop {
            Stop::Refused(_) => StoreError::NoImport.into(),
            Stop::Db(error) => Stop::Db(error),
        })?;
        let contacts = std::mem::take(&mut staged.contacts);
        let all = contacts.iter().map(|row| &row.contact);
        let mut owners = Owners::read(tx, self.list, Some(self.id), all).await?;
        let sorted = sort(contacts, &mut owners);
        let new: Vec<_> = sorted
            .new
            .iter()
            .map(|row| (&row.contact, row.attributes.as_str()))
            .collect();
        insert(tx, self.list, Some(self.id), &new).await?;
        let listed = fill::stage(tx, self.id, self.list, sorted.fills).await?;
        let rejects = staged.rejects.iter().chain(&sorted.rejects);
        let rejects: Vec<Arg<'_>> = rejects
            .flat_map(|r| {
                let line = i64::try_from(r.line).unwrap_or(i64::MAX);
                [
                    Arg::from(self.id.0),
                    Arg::from(line),
                    Arg::from(r.field.as_deref()),
                    Arg::from(&r.reason),
                ]
            })
            .collect();
        REJECTS.run(tx, &rejects).await?;
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let progress = args![
            self.id.0,
            self.worker,
            now.0,
            i64::try_from(staged.rows_read).unwrap_or(i64::MAX),
            count(staged.rejects.len() + sorted.rejects.len()),
            count(listed),
            count(sorted.numbers_left),
            i64::from(staged.done_permille),
            &staged.repairs,
            &staged.numbers,
        ];
        if tx.run(PROGRESS, progress).await? == 0 {
            return Err(Stop::from(StoreError::NoImport));
        }
        Ok(sorted.rejects)
    }

    /// Sets the rows of the next transaction so that it takes the target time, with limited steps.
    fn adapt(&mut self, rows: usize, took: Duration) {
        let (aim, rows_max) = if self.busy {
            (AIM, ROWS_MAX)
        } else {
            (AIM_ALONE, ROWS_ALONE_MAX)
        };
        let aimed = aim.as_micros().saturating_mul(rows as u128) / took.as_micros().max(1);
        let aimed = usize::try_from(aimed).unwrap_or(rows_max);
        self.rows = aimed
            .clamp(self.rows / 4, self.rows.saturating_mul(3) / 2)
            .clamp(ROWS_MIN, rows_max);
    }

    async fn make_room(&mut self, took: Duration) -> Result<(), StoreError> {
        let active = "SELECT 1 FROM campaigns WHERE state = 'active' LIMIT 1";
        self.busy = !self
            .store
            .read("look for active campaigns", active, &[])
            .await?
            .is_empty();
        self.since_checkpoint += 1;
        let every = if self.busy {
            CHECKPOINT_BUSY_EVERY
        } else {
            CHECKPOINT_EVERY
        };
        if self.since_checkpoint >= every {
            self.store.checkpoint().await?;
            self.since_checkpoint = 0;
        }
        if self.busy {
            tokio::time::sleep(took.min(2 * AIM)).await;
        }
        Ok(())
    }
}

impl Store {
    async fn checkpoint(&self) -> Result<(), StoreError> {
        let done = self.pools.checkpoint().await;
        done.map_err(|source| StoreError::Query {
            doing: "empty the database's log",
            source,
        })
    }
}

/// Rows, sorted by what is done with them.
#[derive(Default)]
struct Sorted {
    /// Contacts that the list does not have, merged with the additions of their later rows.
    new: Vec<StagedContact>,
    /// Rows of stored contacts.
    fills: BTreeMap<ContactId, Vec<StagedContact>>,
    rejects: Vec<StagedReject>,
    /// Numbers left out because another contact has them.
    numbers_left: usize,
}

fn sort(rows: Vec<StagedContact>, owners: &mut Owners) -> Sorted {
    let mut sorted = Sorted {
        new: Vec::with_capacity(rows.len()),
        ..Sorted::default()
    };
    for mut row in rows {
        let (owner, left_out) = match owners.whose(&row.contact) {
            Belongs::Nobody => {
                let owner = Owner::New(sorted.new.len());
                (owner, owners.claim_new(owner, &mut row.contact))
            }
            Belongs::To(owner) => (owner, owners.claim_further(owner, &mut row.contact)),
            Belongs::Unclear(why) => {
                sorted.rejects.push(StagedReject {
                    line: row.line,
                    field: None,
                    reason: why.to_string(),
                });
                continue;
            }
        };
        sorted.numbers_left += left_out;
        match owner {
            Owner::Stored(id) => sorted.fills.entry(id).or_default().push(row),
            Owner::New(place) => match sorted.new.get_mut(place) {
                Some(first) => fill_in(first, &row),
                None => sorted.new.push(row),
            },
        }
    }
    sorted
}

fn fill_in(first: &mut StagedContact, later: &StagedContact) {
    first.contact.fill(&later.contact);
    type Attributes = BTreeMap<String, String>;
    let read = |text: &str| serde_json::from_str::<Attributes>(text);
    if let (Ok(mut all), Ok(later)) = (read(&first.attributes), read(&later.attributes))
        && fill_attributes(&mut all, &later)
        && let Ok(text) = serde_json::to_string(&all)
    {
        first.attributes = text;
    }
}
