//! Contact files into contact lists. In: a CSV file. Out: a new list in the store, whole or not at all, and a word on
//! each row that was not taken. Start at [`run`].

pub mod header;
pub mod rows;

use crate::clock::Clock;
use crate::numbers::NumberError;
use crate::store::{Import, Store, StoreError};
use header::Columns;
use paceline_core::ids::ContactListId;
use rows::{Rejection, Row, Rows};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Read;
use tokio::sync::mpsc;

/// Rows handed to the store at once.
const BATCH_ROWS: usize = 2_000;
/// Batches read ahead of the store: memory stays the same however long the file is.
const BATCHES_AHEAD_MAX: usize = 4;

/// A file that cannot be imported. Nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be opened or read on.
    #[error("cannot read the file at line {line}; nothing was imported")]
    Read {
        /// How far reading came.
        line: u64,
        /// Why not.
        #[source]
        err: std::io::Error,
    },
    /// Nothing in it.
    #[error("the file is empty: its first line must name the columns, one of them `number`")]
    Empty,
    /// No text, or text in another encoding.
    #[error("the file is no UTF-8 text: export it again as `CSV UTF-8`")]
    NotUtf8Text,
    /// No column can be the number.
    #[error(
        "no column is called `number`, `phone` or the like: the first line must name the columns, so add or change it"
    )]
    NoNumberColumn,
    /// What it holds could not be kept.
    #[error("column {column} has no name: name it in the first line, or take it out")]
    UnnamedColumn {
        /// From 1.
        column: usize,
    },
    /// One would overwrite the other.
    #[error("two columns are called `{header}`: rename one of them")]
    TwoColumnsOfOneName {
        /// Their name.
        header: String,
    },
    /// Too wide.
    #[error("{columns} columns; at most {max} can be imported")]
    TooManyColumns {
        /// How many there are.
        columns: usize,
        /// How many there may be.
        max: usize,
    },
    /// Too long.
    #[error(
        "the row at line {line} does not end within 1 MiB: is a quotation mark never closed? Nothing was imported"
    )]
    RecordTooLong {
        /// Where it begins.
        line: u64,
    },
    /// No such region.
    #[error("the default region cannot be used; nothing was imported")]
    Region(#[source] NumberError),
    /// The store failed.
    #[error("the store did not take the contacts; nothing was imported")]
    Store(#[source] StoreError),
    /// The reading thread is gone.
    #[error("reading the file ended unexpectedly; nothing was imported")]
    Gone,
}

/// What became of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The new list; none where nothing was imported.
    pub list_id: Option<ContactListId>,
    /// Rows read, the header not counted: the sum of the next three.
    pub rows: u64,
    /// Contacts in the new list.
    pub imported: u64,
    /// Rows whose number came before in the file.
    pub duplicates: u64,
    /// Rows that could not be taken.
    pub rejected: u64,
    /// The same, by reason.
    pub reasons: BTreeMap<String, u64>,
}

/// What is told while a file is being read.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// First of all: what the columns mean.
    Columns(&'a Columns),
    /// A row that cannot be taken.
    Rejected(&'a Rejection),
    /// So far, and how many bytes of the file that was.
    SoFar(&'a Report, u64),
}

/// What the reading thread hands over.
enum FromFile {
    Columns(Columns),
    /// With how many bytes of the file were read by then.
    Rows(Vec<Row>, u64),
    Failed(ImportError),
}

/// Imports `input` into a new list called `list`, and tells `watch` what goes on. Nobody sees the list before all of it
/// is there; where nothing can be taken, or anything fails, there is none.
pub async fn run<R: Read + Send + 'static>(
    store: &Store,
    input: R,
    list: &str,
    default_region: Option<&str>,
    mut watch: impl FnMut(Seen<'_>),
) -> Result<Report, ImportError> {
    let (sender, mut read) = mpsc::channel(BATCHES_AHEAD_MAX);
    let region = default_region.map(str::to_owned);
    let reading = tokio::task::spawn_blocking(move || read_all(input, region.as_deref(), &sender));
    let clock = Clock::real();
    let import = store.begin_import(list, clock.now().wall).await;
    let mut import = import.map_err(ImportError::Store)?;
    let mut report = Report::default();
    let stored = take_all(&mut import, &mut read, &mut report, clock, &mut watch).await;
    drop(read);
    let stored = stored.and(reading.await.map_err(|_| ImportError::Gone));
    match stored {
        Ok(()) if report.imported > 0 => {
            report.list_id = Some(import.finish().await.map_err(ImportError::Store)?.id);
            Ok(report)
        }
        stored => {
            if let Err(err) = import.abandon().await {
                tracing::warn!(error = %err, "an import that came to nothing is left; the next import deletes it");
            }
            stored.map(|()| report)
        }
    }
}

async fn take_all(
    import: &mut Import,
    read: &mut mpsc::Receiver<FromFile>,
    report: &mut Report,
    clock: Clock,
    watch: &mut impl FnMut(Seen<'_>),
) -> Result<(), ImportError> {
    while let Some(next) = read.recv().await {
        let (rows, bytes_read) = match next {
            FromFile::Columns(columns) => {
                watch(Seen::Columns(&columns));
                continue;
            }
            FromFile::Rows(rows, bytes_read) => (rows, bytes_read),
            FromFile::Failed(err) => return Err(err),
        };
        let mut contacts = Vec::with_capacity(rows.len());
        for row in rows {
            report.rows += 1;
            match row {
                Row::Contact(contact) => contacts.push(contact),
                Row::Rejected(rejection) => {
                    report.rejected += 1;
                    *report.reasons.entry(rejection.reason.clone()).or_default() += 1;
                    watch(Seen::Rejected(&rejection));
                }
            }
        }
        let new = import.add(&contacts, clock.now().wall).await;
        let new = new.map_err(ImportError::Store)?;
        report.imported += new;
        report.duplicates += (contacts.len() as u64).saturating_sub(new);
        watch(Seen::SoFar(report, bytes_read));
    }
    Ok(())
}

/// Reads to the end, or to the first failure, or until nobody listens.
fn read_all(input: impl Read, region: Option<&str>, sender: &mpsc::Sender<FromFile>) {
    let failed = match read_rows(input, region, sender) {
        Ok(()) => return,
        Err(err) => err,
    };
    // Whoever does not listen any more has failed already.
    drop(sender.blocking_send(FromFile::Failed(failed)));
}

fn read_rows(
    input: impl Read,
    region: Option<&str>,
    sender: &mpsc::Sender<FromFile>,
) -> Result<(), ImportError> {
    let mut rows = Rows::open(input, region)?;
    let mut listened = sender
        .blocking_send(FromFile::Columns(rows.columns().clone()))
        .is_ok();
    let mut ended = false;
    while listened && !ended {
        let mut batch = Vec::with_capacity(BATCH_ROWS);
        while batch.len() < BATCH_ROWS && !ended {
            match rows.next_row()? {
                Some(row) => batch.push(row),
                None => ended = true,
            }
        }
        listened = sender
            .blocking_send(FromFile::Rows(batch, rows.bytes_read()))
            .is_ok();
    }
    Ok(())
}
