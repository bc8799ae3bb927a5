//! Contacts of an import on their way into the table, in transactions so short that a running campaign hardly notices.

use super::fill;
use crate::Store;
use crate::db::{Arg, Dialect, Tx, args};
use crate::error::{DbError, Stop, StoreError};
use crate::many::Many;
use paceline_core::ids::{ContactListId, ImportId};
use paceline_core::number::E164;
use paceline_core::time::Wall;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// What a transaction is aimed at beside campaigns: well under the 50 ms that are allowed, as some take twice as long.
const AIM: Duration = Duration::from_millis(18);
const ROWS_MAX: usize = 4_000;
/// With nobody to disturb. Each transaction writes the pages of the index that it touches once, so few large ones write less.
const AIM_ALONE: Duration = Duration::from_millis(150);
const ROWS_ALONE_MAX: usize = 16_000;
const ROWS_MIN: usize = 100;
/// Without anybody to disturb, SQLite's log is emptied after so many transactions.
const CHECKPOINT_EVERY: u32 = 8;
/// Beside a campaign more often: another process whose commit finds a long log empties it, and its caller waits.
const CHECKPOINT_BUSY_EVERY: u32 = 4;

/// A checked contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedContact {
    /// Where to reach them.
    pub number: E164,
    /// What to call them.
    pub name: Option<String>,
    /// Their IANA time zone, known to exist.
    pub time_zone: Option<String>,
    /// Everything else: a JSON object of texts.
    pub attributes: String,
    /// Their other numbers: JSON of a list of [`FurtherNumber`](crate::FurtherNumber).
    pub further_numbers: Option<String>,
}

/// A row that could not be taken, without what stands in it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct StagedReject {
    /// Where the row begins, from 1.
    pub line: u64,
    /// The header of the column at fault; none where it is the whole row.
    pub field: Option<String>,
    /// Why, in words.
    pub reason: String,
}

/// Rows that follow each other, and what is known when all of them are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Staged {
    /// Contacts, in the file's order.
    pub contacts: Vec<StagedContact>,
    /// Rows that could not be taken.
    pub rejects: Vec<StagedReject>,
    /// Rows read since the beginning, these included.
    pub rows_read: u64,
    /// How much of the file is read, of 1000.
    pub done_permille: u32,
    /// JSON: cells repaired since the beginning, by what was.
    pub repairs: String,
    /// JSON: rows taken since the beginning, by country and kind of their number.
    pub numbers: String,
}

/// The right to stage contacts of one import.
#[derive(Debug)]
pub struct Staging {
    store: Store,
    id: ImportId,
    list: ContactListId,
    worker: Uuid,
    rows: usize,
    /// Whether a campaign was active after the last transaction.
    busy: bool,
    since_checkpoint: u32,
    longest_us: Arc<AtomicU64>,
}

/// A row whose number this import has staged already fills what that left blank; of one whose number was in the list before,
/// see [`fill`].
static SQLITE: Many = Many::new(
    8,
    "INSERT INTO contacts AS c (id, list_id, import_id, number, name, time_zone, attributes, further_numbers) VALUES {rows} \
     ON CONFLICT (number, list_id) DO UPDATE SET name = coalesce(c.name, excluded.name), \
       time_zone = coalesce(c.time_zone, excluded.time_zone), attributes = json_patch(excluded.attributes, c.attributes), \
       further_numbers = coalesce(c.further_numbers, excluded.further_numbers) \
     WHERE c.import_id = excluded.import_id",
);
const POSTGRES: &str = "INSERT INTO contacts AS c (list_id, import_id, number, name, time_zone, attributes, further_numbers) \
    SELECT $1, $2, u.number, u.name, u.time_zone, u.attributes, u.further_numbers \
    FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[]) \
      WITH ORDINALITY AS u (number, name, time_zone, attributes, further_numbers, n) \
    ORDER BY u.n \
    ON CONFLICT (number, list_id) DO UPDATE SET name = coalesce(c.name, excluded.name), \
      time_zone = coalesce(c.time_zone, excluded.time_zone), \
      attributes = (excluded.attributes::jsonb || c.attributes::jsonb)::text, \
      further_numbers = coalesce(c.further_numbers, excluded.further_numbers) \
    WHERE c.import_id = excluded.import_id";
static REJECTS: Many = Many::new(
    4,
    "INSERT INTO import_rejects (import_id, line, field, reason) VALUES {rows} ON CONFLICT (import_id, line) DO NOTHING",
);
const PROGRESS: &str = "UPDATE imports SET alive_at_ms = $3, rows_read = $4, rejected = rejected + $5, listed = listed + $6, \
      done_permille = $7, repairs = $8, numbers = $9 WHERE id = $1 AND worker = $2 AND state = 'running'";

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

    /// Which import.
    pub fn id(&self) -> ImportId {
        self.id
    }

    /// How many rows the next transaction should have.
    pub fn rows_wanted(&self) -> usize {
        self.rows
    }

    /// The longest transaction so far, in microseconds.
    pub fn longest_us(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.longest_us)
    }

    /// Stores rows with what is known of the import then, in one transaction; false where the import is not this
    /// worker's any more: somebody has stopped or cancelled it. While a campaign is active, a pause as long as the
    /// transaction follows, as another process gets at SQLite's one lock in pauses only.
    pub async fn stage(&mut self, mut staged: Staged, now: Wall) -> Result<bool, StoreError> {
        let order = merge(&mut staged.contacts);
        let started = Instant::now();
        let ours = self.store(&staged, &order, now).await;
        let took = started.elapsed();
        let ours = match ours {
            Ok(()) => true,
            Err(Stop::Refused(StoreError::NoImport)) => false,
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
        self.adapt(staged.contacts.len() + staged.rejects.len(), took);
        Ok(ours)
    }

    /// Tells that everything is stored; false where the import is not this worker's any more.
    pub async fn finish(self, now: Wall) -> Result<bool, StoreError> {
        // Counted before, so that the transaction stays short; nobody else stages contacts of this import.
        let counted = "SELECT (SELECT count(*) FROM contacts WHERE list_id = $1 AND import_id = $2), \
              (SELECT count(*) FROM import_fills WHERE import_id = $2)";
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

    /// Gives the import up for now; it can be resumed.
    pub async fn stop(self) -> Result<(), StoreError> {
        let stop = "UPDATE imports SET state = 'stopped', worker = NULL WHERE id = $1 AND worker = $2 AND state = 'running'";
        let args = args![self.id.0, self.worker];
        self.store.changes("stop an import", stop, args).await.map(drop)
    }

    async fn store(&self, staged: &Staged, order: &[usize], now: Wall) -> Result<(), Stop> {
        let mut tx = self.store.pools.begin_bulk().await?;
        let done = async {
            let taken = match tx.dialect() {
                Dialect::Sqlite => self.store_in_sqlite(&mut tx, &staged.contacts, order).await?,
                Dialect::Postgres => self.store_in_postgres(&mut tx, &staged.contacts, order).await?,
            };
            let rejects: Vec<Arg<'_>> = staged
                .rejects
                .iter()
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
            REJECTS.run(&mut tx, &rejects).await?;
            let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
            let listed = order.len().saturating_sub(usize::try_from(taken).unwrap_or(0));
            if listed > 0 {
                let contacts = order.iter().filter_map(|n| staged.contacts.get(*n));
                fill::stage(&mut tx, self.id, self.list, contacts).await?;
            }
            let progress = args![
                self.id.0,
                self.worker,
                now.0,
                i64::try_from(staged.rows_read).unwrap_or(i64::MAX),
                count(staged.rejects.len()),
                count(listed),
                i64::from(staged.done_permille),
                &staged.repairs,
                &staged.numbers,
            ];
            if tx.run(PROGRESS, progress).await? == 0 {
                return Err(Stop::from(StoreError::NoImport));
            }
            Ok(())
        }
        .await;
        match done {
            Ok(()) => Ok(tx.commit().await.map_err(DbError::from)?),
            Err(stop) => {
                // Where even that fails, the connection goes with the transaction.
                tx.rollback().await.ok();
                Err(stop)
            }
        }
    }

    /// In the order of the numbers, so that the index is walked once; the ids keep the order of the file.
    async fn store_in_sqlite(
        &self,
        tx: &mut Tx,
        contacts: &[StagedContact],
        order: &[usize],
    ) -> Result<u64, DbError> {
        let last = tx.rows("SELECT max(id) FROM contacts", &[]).await?;
        let last = last
            .first()
            .and_then(|row| row.get::<Option<i64>>(0).transpose())
            .transpose()?;
        let first_id = last.unwrap_or(0).saturating_add(1);
        let mut rows = Vec::with_capacity(contacts.len() * 8);
        for index in order {
            let Some(contact) = contacts.get(*index) else {
                continue;
            };
            let id = first_id.saturating_add(i64::try_from(*index).unwrap_or(i64::MAX));
            rows.extend_from_slice(args![
                id,
                self.list.0,
                self.id.0,
                contact.number.expose(),
                contact.name.as_deref(),
                contact.time_zone.as_deref(),
                &contact.attributes,
                contact.further_numbers.as_deref(),
            ]);
        }
        SQLITE.run(tx, &rows).await
    }

    async fn store_in_postgres(
        &self,
        tx: &mut Tx,
        contacts: &[StagedContact],
        order: &[usize],
    ) -> Result<u64, DbError> {
        if order.is_empty() {
            return Ok(0);
        }
        let mut in_file = order.to_vec();
        in_file.sort_unstable();
        let contacts: Vec<_> = in_file.iter().filter_map(|n| contacts.get(*n)).collect();
        let numbers: Vec<_> = contacts.iter().map(|c| Some(c.number.expose())).collect();
        let names: Vec<_> = contacts.iter().map(|c| c.name.as_deref()).collect();
        let zones: Vec<_> = contacts.iter().map(|c| c.time_zone.as_deref()).collect();
        let attributes: Vec<_> = contacts.iter().map(|c| Some(c.attributes.as_str())).collect();
        let further: Vec<_> = contacts.iter().map(|c| c.further_numbers.as_deref()).collect();
        let args = args![
            self.list.0,
            self.id.0,
            numbers.as_slice(),
            names.as_slice(),
            zones.as_slice(),
            attributes.as_slice(),
            further.as_slice(),
        ];
        tx.run(POSTGRES, args).await
    }

    /// As many rows next time as would have taken what is aimed at, but not suddenly.
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

/// Which contacts to store, in the order of their numbers: each number once, later rows filling what the first left
/// blank. A statement cannot meet a row twice.
fn merge(contacts: &mut [StagedContact]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..contacts.len()).collect();
    order.sort_by(|a, b| {
        let number = |n: &usize| contacts.get(*n).map(|c| &c.number);
        number(a).cmp(&number(b))
    });
    let mut first: Option<usize> = None;
    order.retain(|n| {
        let same = match (first, contacts.get(*n)) {
            (Some(first), Some(this)) => contacts.get(first).is_some_and(|f| f.number == this.number),
            _ => false,
        };
        if !same {
            first = Some(*n);
            return true;
        }
        let later = contacts.get(*n).cloned();
        if let (Some(first), Some(later)) = (first.and_then(|n| contacts.get_mut(n)), later) {
            fill(first, &later);
        }
        false
    });
    order
}

fn fill(first: &mut StagedContact, later: &StagedContact) {
    if first.name.is_none() {
        first.name.clone_from(&later.name);
    }
    if first.time_zone.is_none() {
        first.time_zone.clone_from(&later.time_zone);
    }
    if first.further_numbers.is_none() {
        first.further_numbers.clone_from(&later.further_numbers);
    }
    type Object = serde_json::Map<String, serde_json::Value>;
    let read = |text: &str| serde_json::from_str::<Object>(text);
    if let (Ok(mut all), Ok(later)) = (read(&first.attributes), read(&later.attributes)) {
        for (key, value) in later {
            all.entry(key).or_insert(value);
        }
        first.attributes = serde_json::Value::Object(all).to_string();
    }
}
