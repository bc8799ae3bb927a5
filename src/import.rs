//! Imports contact files into contact lists. In: a CSV or Excel file. Out: its contacts in the store, which become
//! visible all at once or not at all, and a reason for each rejected row. Start at [`ContactFile::open`], then
//! [`Job::begin`] and [`Job::run`]. The states of an import are in [`crate::store::ImportState`].

mod cells;
mod contact;
mod country;
mod error;
mod file;
mod format;
mod header;
mod look;
mod sheet;
mod text;
mod weigh;

pub use error::ImportError;
pub use file::{ContactFile, Settings, Shape};
pub use header::{Column, ColumnRef, Columns, Field, Mapping, NotAColumn};

use crate::clock::Clock;
use crate::store::{
    ImportInto, ImportRow, NewImport, Staged, StagedContact, StagedReject, Staging, Store, StoreError,
};
use contact::{Checker, Counts};
use paceline_core::ids::{ContactListId, ImportId};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::sync::mpsc;

/// Maximum number of rows in a batch for the store.
const BATCH_ROWS: usize = 500;
/// Maximum size of a batch, approximately: a single row may have 1 MiB.
const BATCH_BYTES: usize = 256 * 1024;
/// Maximum number of batches in one transaction.
const BATCHES_STORED_MAX: usize = 32;
/// Maximum number of batches read ahead of the store, so that memory does not grow with the file.
const BATCHES_AHEAD_MAX: usize = 16;

/// The result of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The import's id.
    pub import_id: i64,
    /// The list of the contacts. `None` if nothing was imported.
    pub list_id: Option<ContactListId>,
    /// Rows read, without the header. It is the sum of `imported`, `duplicates`, `listed` and `rejected`.
    pub rows: u64,
    /// Contacts that are new in the list.
    pub imported: u64,
    /// Rows of a contact that an earlier row of the file has too. They fill what the earlier row left blank.
    pub duplicates: u64,
    /// Rows of a contact that was in the list before the import. They fill what is blank there.
    pub listed: u64,
    /// Contacts of the list that such rows add something to.
    pub filled: u64,
    /// Further numbers that were left out because another contact of the list has them.
    pub numbers_left_out: u64,
    /// Rows that were rejected.
    pub rejected: u64,
    /// Rejected rows by reason.
    pub reasons: BTreeMap<String, u64>,
    /// Repaired cells by kind of repair, and blank rows that were left out.
    pub repairs: BTreeMap<String, u64>,
    /// Rows with a usable number, by the country and the kind of the first number.
    pub numbers: BTreeMap<String, BTreeMap<String, u64>>,
}

/// The progress of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Rows read.
    pub rows: u64,
    /// Part of the file that is read, 0 to 1000.
    pub done_permille: u32,
}

/// An observation while a file is being read.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// A rejected row.
    Rejected(&'a StagedReject),
    /// The progress after a transaction.
    SoFar(Progress),
}

/// The end of a run of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All rows are staged, and the import can be published.
    Staged(Report),
    /// No row was accepted, so everything that was staged is deleted.
    Nothing(Report),
    /// `stop` ended the run. The import can be resumed.
    Stopped,
    /// Another caller stopped or cancelled the import.
    TakenAway,
}

/// An import that is ready to run.
#[derive(Debug)]
pub struct Job {
    store: Store,
    file: Arc<ContactFile>,
    staging: Staging,
    row: ImportRow,
}

impl Job {
    /// Begins an import. Errors: the list does not exist, another import into it has not ended, or the store fails.
    pub async fn begin(
        store: &Store,
        file: Arc<ContactFile>,
        into: &ImportInto,
        clock: Clock,
    ) -> Result<Self, ImportError> {
        let settings = serde_json::to_string(file.settings()).map_err(ImportError::Settings)?;
        let shape = serde_json::to_string(file.shape()).map_err(ImportError::Settings)?;
        let new = NewImport {
            into,
            file_sha256: file.sha256(),
            settings: &settings,
            shape: &shape,
        };
        let begun = store.begin_import(&new, clock.now().wall).await;
        let (row, staging) = begun.map_err(ImportError::Store)?;
        Ok(Self {
            store: store.clone(),
            file,
            staging,
            row,
        })
    }

    /// Resumes an interrupted import after its last transaction. It fails if the file is another one or the import is
    /// not stopped.
    pub async fn resume(
        store: &Store,
        file: Arc<ContactFile>,
        id: ImportId,
        clock: Clock,
    ) -> Result<Self, ImportError> {
        let row = store.import(id).await.map_err(ImportError::Store)?;
        let row = row.ok_or(ImportError::Store(StoreError::NoImport))?;
        if row.file_sha256 != file.sha256() {
            return Err(ImportError::OtherFile);
        }
        let resumed = store.resume_import(id, clock.now().wall).await;
        let (row, staging) = resumed
            .map_err(ImportError::Store)?
            .ok_or(ImportError::NotStopped)?;
        Ok(Self {
            store: store.clone(),
            file,
            staging,
            row,
        })
    }

    /// The import's row in the store.
    pub fn row(&self) -> &ImportRow {
        &self.row
    }

    /// The longest staging transaction so far, in microseconds.
    pub fn longest_us(&self) -> Arc<AtomicU64> {
        self.staging.longest_us()
    }

    /// Reads the file to its end or until `stop`, and reports to `watch`. It does not publish. If the file cannot be
    /// read to its end, the staged contacts are deleted; if the store fails, they stay and the import can be resumed.
    pub async fn run(
        mut self,
        clock: Clock,
        mut watch: impl FnMut(Seen<'_>),
        stop: impl Future<Output = ()>,
    ) -> Result<Ended, ImportError> {
        let (sender, read) = mpsc::channel(BATCHES_AHEAD_MAX);
        let (file, skip) = (Arc::clone(&self.file), self.row.rows_read);
        let counted = Counted::of(&self.row);
        let reading = tokio::task::spawn_blocking(move || read_rows(&file, skip, counted, &sender));
        let staged = self.take_all(read, clock, &mut watch, stop).await;
        let read = reading.await.unwrap_or(Err(ImportError::Gone));
        let (id, store) = (self.staging.id(), self.store.clone());
        match (staged, read) {
            (Ok(Taken::All), Ok(())) => self.finish(clock).await,
            (Ok(Taken::All), Err(err)) => {
                store
                    .clear_import(id, Some(&err.to_string()))
                    .await
                    .map_err(ImportError::Store)?;
                Err(err)
            }
            (Ok(Taken::Stopped), _) => {
                self.staging.stop().await.map_err(ImportError::Store)?;
                Ok(Ended::Stopped)
            }
            (Ok(Taken::Away), _) => Ok(Ended::TakenAway),
            (Err(err), _) => {
                if let Err(error) = self.staging.stop().await {
                    tracing::warn!(error = %error, "import {id} cannot be marked as stopped now; in a minute it counts as stopped");
                }
                Err(ImportError::Store(err))
            }
        }
    }

    async fn take_all(
        &mut self,
        mut read: mpsc::Receiver<Staged>,
        clock: Clock,
        watch: &mut impl FnMut(Seen<'_>),
        stop: impl Future<Output = ()>,
    ) -> Result<Taken, StoreError> {
        let mut stop = std::pin::pin!(stop);
        loop {
            let next = tokio::select! {
                biased;
                () = &mut stop => return Ok(Taken::Stopped),
                next = read.recv() => next,
            };
            let Some(mut staged) = next else {
                return Ok(Taken::All);
            };
            for _ in 1..BATCHES_STORED_MAX {
                if staged.contacts.len() + staged.rejects.len() >= self.staging.rows_wanted() {
                    break;
                }
                let Some(more) = read.recv().await else {
                    break;
                };
                staged.contacts.extend(more.contacts);
                staged.rejects.extend(more.rejects);
                (staged.rows_read, staged.done_permille) = (more.rows_read, more.done_permille);
                (staged.repairs, staged.numbers) = (more.repairs, more.numbers);
            }
            let progress = Progress {
                rows: staged.rows_read,
                done_permille: staged.done_permille,
            };
            for rejected in &staged.rejects {
                watch(Seen::Rejected(rejected));
            }
            let Some(unclear) = self.staging.stage(staged, clock.now().wall).await? else {
                return Ok(Taken::Away);
            };
            for rejected in &unclear {
                watch(Seen::Rejected(rejected));
            }
            watch(Seen::SoFar(progress));
        }
    }

    async fn finish(self, clock: Clock) -> Result<Ended, ImportError> {
        let id = self.staging.id();
        if !self
            .staging
            .finish(clock.now().wall)
            .await
            .map_err(ImportError::Store)?
        {
            return Ok(Ended::TakenAway);
        }
        let mut report = report(&self.store, id).await?;
        if report.imported > 0 || report.listed > 0 {
            return Ok(Ended::Staged(report));
        }
        self.store
            .clear_import(id, Some("no row of the file could be taken"))
            .await
            .map_err(ImportError::Store)?;
        report.list_id = None;
        Ok(Ended::Nothing(report))
    }
}

/// The end of reading and storing.
enum Taken {
    All,
    Stopped,
    Away,
}

/// Imports a whole file and publishes it.
pub async fn run(
    store: &Store,
    file: ContactFile,
    into: &ImportInto,
    clock: Clock,
    watch: impl FnMut(Seen<'_>),
) -> Result<Report, ImportError> {
    let job = Job::begin(store, Arc::new(file), into, clock).await?;
    let id = job.row().id;
    match job.run(clock, watch, std::future::pending()).await? {
        Ended::Staged(report) => {
            if publish(store, id, clock).await.map_err(ImportError::Store)? {
                Ok(report)
            } else {
                Err(ImportError::NotStopped)
            }
        }
        Ended::Nothing(report) => Ok(report),
        Ended::Stopped | Ended::TakenAway => Err(ImportError::NotStopped),
    }
}

/// Makes the staged contacts of an import visible, and adds what its other rows add to contacts that were in the list
/// before. False if the import is not staged.
pub async fn publish(store: &Store, id: ImportId, clock: Clock) -> Result<bool, StoreError> {
    let published = store.publish_import(id, clock.now().wall).await?;
    if published {
        store.finish_publishing(id).await?;
    }
    Ok(published)
}

/// A warning if another list has the same name as the list that the import creates.
pub async fn same_name(store: &Store, row: &ImportRow) -> Result<Option<String>, StoreError> {
    let (true, Some(list)) = (row.makes_list, row.list) else {
        return Ok(None);
    };
    let others = store.lists_of_same_name(list).await?;
    Ok(others.first().map(|other| {
        format!(
            "contact list {other} has this name already: this import makes list {list} beside it, and whoever is in both may \
             be called for both; to add to list {other} instead, cancel it and import into that list (`--into {other}`; in the \
             API `contact_list_id={other}`)"
        )
    }))
}

/// The report on an import.
pub async fn report(store: &Store, id: ImportId) -> Result<Report, ImportError> {
    let row = store.import(id).await.map_err(ImportError::Store)?;
    let row = row.ok_or(ImportError::Store(StoreError::NoImport))?;
    let imported = row.imported.unwrap_or(0);
    let others = imported + row.listed + row.rejected;
    Ok(Report {
        import_id: id.0,
        list_id: row.list,
        rows: row.rows_read,
        imported,
        duplicates: row.rows_read.saturating_sub(others),
        listed: row.listed,
        filled: row.filled.unwrap_or(0),
        numbers_left_out: row.numbers_left,
        rejected: row.rejected,
        reasons: store.import_reasons(id).await.map_err(ImportError::Store)?,
        repairs: serde_json::from_str(&row.repairs).unwrap_or_default(),
        numbers: serde_json::from_str(&row.numbers).unwrap_or_default(),
    })
}

/// Checks every row of a file without storing anything. It calls `each` with the contact or the rejection until `each`
/// breaks.
pub fn check(
    file: &ContactFile,
    mut each: impl FnMut(Result<StagedContact, StagedReject>) -> ControlFlow<()>,
) -> Result<(), ImportError> {
    let mut checker = checker(file, Counted::default())?;
    file.rows(|line, _, entry| each(checker.entry(line, &entry)))
        .map(drop)
}

/// The counts of an import so far.
#[derive(Default)]
struct Counted {
    repairs: BTreeMap<String, u64>,
    numbers: Counts,
}

impl Counted {
    fn of(row: &ImportRow) -> Self {
        Self {
            repairs: serde_json::from_str(&row.repairs).unwrap_or_default(),
            numbers: serde_json::from_str(&row.numbers).unwrap_or_default(),
        }
    }
}

fn checker(file: &ContactFile, counted: Counted) -> Result<Checker<'_>, ImportError> {
    let shape = file.shape();
    let encoding = shape.encoding.unwrap_or("Excel");
    let Counted { repairs, numbers } = counted;
    Checker::new(&shape.columns, file.settings(), encoding, repairs, numbers).map_err(ImportError::Region)
}

/// Reads to the end, to the first failure, or until the receiver is closed. The first `skip` rows are already stored.
fn read_rows(
    file: &ContactFile,
    skip: u64,
    counted: Counted,
    sender: &mpsc::Sender<Staged>,
) -> Result<(), ImportError> {
    let mut checker = checker(file, counted)?;
    let mut batch = Staged::default();
    let (mut rows, mut bytes) = (0_u64, 0_usize);
    let full = |batch: &mut Staged, checker: &Checker<'_>| {
        batch.repairs = serde_json::to_string(&checker.repairs).unwrap_or_else(|_| "{}".to_owned());
        batch.numbers = serde_json::to_string(&checker.numbers).unwrap_or_else(|_| "{}".to_owned());
        let send = std::mem::take(batch);
        sender.blocking_send(send).is_ok()
    };
    let blank = file.rows(|line, done_permille, entry| {
        rows += 1;
        if rows <= skip {
            return ControlFlow::Continue(());
        }
        match checker.entry(line, &entry) {
            Ok(contact) => {
                bytes += contact.attributes.len() + contact.contact.name.as_ref().map_or(0, String::len);
                batch.contacts.push(contact);
            }
            Err(reject) => batch.rejects.push(reject),
        }
        (batch.rows_read, batch.done_permille) = (rows, done_permille);
        if batch.contacts.len() + batch.rejects.len() >= BATCH_ROWS || bytes >= BATCH_BYTES {
            bytes = 0;
            if !full(&mut batch, &checker) {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    if blank > 0 {
        let what = "left out: rows in which nothing stands";
        checker.repairs.insert(what.into(), blank);
    }
    (batch.rows_read, batch.done_permille) = (rows.max(skip), 1000);
    full(&mut batch, &checker);
    Ok(())
}

/// Rows per second.
pub fn per_second(rows: u64, elapsed: Duration) -> u64 {
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    rows.saturating_mul(1000).checked_div(millis).unwrap_or(0)
}
