//! Publishes checkpoints: signs size and root, appends them to a file outside the database, and stores them. The file comes
//! first, so a checkpoint in the table is always in the file. Before each one the file is compared with the log: a file or a
//! database that went back, or was changed, stops publishing and is an alarm, because a signature would then confirm it.

use super::{NODE, whole};
use crate::db::args;
use crate::error::StoreError;
use crate::{Store, query};
use paceline_core::time::Wall;
use paceline_ledger::{Checkpoint, PublicKey, SignedCheckpoint, SigningKey};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// More than the longest checkpoint, witnesses included.
const TAIL_BYTES: u64 = 64 * 1024;

/// Checkpoints cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file cannot be read or written.
    #[error("cannot use the file of checkpoints `{}`; make its folder writable, or set `checkpoints` under [ledger]", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file does not end with a checkpoint of this log's key.
    #[error(
        "the file of checkpoints does not end with one that this log's key has signed: it was changed, or it belongs to another store; `paceline ledger verify` shows more"
    )]
    NotOurs,
    /// The file is older than the database.
    #[error(
        "the file of checkpoints went back: it ends at {file}, and the database has a checkpoint at {table}; put the newest copy of the file back"
    )]
    FileWentBack {
        /// Its last size.
        file: u64,
        /// The last size in the database.
        table: u64,
    },
    /// The database is older than the file.
    #[error(
        "the database went back: it has {size} ledger entries, and the file of checkpoints ends at {file}; put the newest backup back, or read docs/ledger.md"
    )]
    DatabaseWentBack {
        /// Number of entries.
        size: u64,
        /// The last size in the file.
        file: u64,
    },
    /// The log has other entries than those that were signed.
    #[error(
        "the ledger was changed: at {size} entries its root is not the one that was signed; `paceline ledger verify` shows where"
    )]
    Changed {
        /// The size of the checkpoint.
        size: u64,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The last published checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The size of the last checkpoint.
    pub size: u64,
    /// True if it is new.
    pub is_new: bool,
}

/// The append-only file of checkpoints.
#[derive(Clone, Debug)]
pub struct CheckpointFile(PathBuf);

impl CheckpointFile {
    /// The file at this path. It may not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    fn failed(&self) -> impl Fn(std::io::Error) -> LedgerError + use<> {
        let path = self.0.clone();
        move |source| LedgerError::File {
            path: path.clone(),
            source,
        }
    }

    /// The last checkpoint; `None` if the file is empty or missing. One of these keys of one log must have signed it.
    pub fn last(&self, keys: &[PublicKey]) -> Result<Option<SignedCheckpoint>, LedgerError> {
        let mut tail = Vec::new();
        match File::open(&self.0) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed()(error)),
            Ok(mut file) => {
                let len = file.metadata().map_err(self.failed())?.len();
                let from = SeekFrom::Start(len.saturating_sub(TAIL_BYTES));
                file.seek(from).map_err(self.failed())?;
                file.read_to_end(&mut tail).map_err(self.failed())?;
            }
        }
        if tail.is_empty() {
            return Ok(None);
        }
        let tail = String::from_utf8_lossy(&tail);
        // An empty line ends each checkpoint and divides it in two.
        let whole = tail.strip_suffix("\n\n").ok_or(LedgerError::NotOurs)?;
        let (before, signatures) = whole.rsplit_once("\n\n").ok_or(LedgerError::NotOurs)?;
        let text = before.rsplit_once("\n\n").map_or(before, |(_, text)| text);
        let note: SignedCheckpoint = format!("{text}\n\n{signatures}\n")
            .parse()
            .map_err(|_| LedgerError::NotOurs)?;
        let signed = |key: &PublicKey| note.checkpoint.origin == key.name() && note.is_signed_by(key);
        let is_ours = keys.iter().any(signed);
        is_ours.then_some(Some(note)).ok_or(LedgerError::NotOurs)
    }

    /// Appends a checkpoint. When it returns, a power failure cannot undo it.
    pub fn append(&self, note: &SignedCheckpoint) -> Result<(), LedgerError> {
        let mut options = File::options();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let append = || {
            let mut file = options.open(&self.0)?;
            let before = file.metadata()?.len();
            let written = file
                .write_all(format!("{note}\n").as_bytes())
                .and_then(|()| file.sync_all());
            // Half a checkpoint, left by a full disk, would look like a changed file.
            if written.is_err() {
                file.set_len(before)?;
            }
            written
        };
        append().map_err(self.failed())
    }
}

/// Works with the file where a slow disk stops nobody else.
async fn with_file<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, LedgerError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or(Err(LedgerError::Store(StoreError::Stopped)))
}

impl Store {
    /// Publishes a checkpoint if the log has grown since the last one. Checks first that file, table and log agree. The last
    /// checkpoint may be signed by the key that was `replaced`.
    pub async fn publish_ledger(
        &self,
        key: &SigningKey,
        replaced: Option<&PublicKey>,
        file: &CheckpointFile,
        now: Wall,
    ) -> Result<Published, LedgerError> {
        let size = self.ledger_size().await?;
        let in_table = self.last_ledger_checkpoint().await?;
        let path = file.clone();
        let keys: Vec<_> = replaced.into_iter().chain([key.public()]).cloned().collect();
        let in_file = with_file(move || path.last(&keys)).await?;
        let table = in_table.as_ref().map_or(0, |row| row.size);
        let filed = in_file.as_ref().map_or(0, |note| note.checkpoint.size);
        if filed > size {
            return Err(LedgerError::DatabaseWentBack { size, file: filed });
        }
        if filed < table || table > size {
            return Err(LedgerError::FileWentBack { file: filed, table });
        }
        if let Some(note) = &in_file {
            self.check_root(&note.checkpoint).await?;
            // The process ended between the file and the table.
            if filed > table {
                self.store_checkpoint(note, now).await?;
            }
        }
        let (newest, is_new) = (filed.max(table), size > filed);
        if !is_new {
            return Ok(Published { size: newest, is_new });
        }
        // The file must never be ahead of a database that a power failure has set back.
        self.pools.sync().await.map_err(query("sync the ledger"))?;
        let root = self.ledger_hashes(std::slice::from_ref(&(0..size))).await?;
        let root = root.first().copied().ok_or(LedgerError::Changed { size })?;
        let origin = key.public().name().to_owned();
        let checkpoint = Checkpoint { origin, size, root };
        let seconds = u64::try_from(now.0).unwrap_or(0) / 1000;
        let note = SignedCheckpoint {
            signatures: vec![key.sign(&checkpoint, seconds)],
            checkpoint,
        };
        let (path, appended) = (file.clone(), note.clone());
        with_file(move || path.append(&appended)).await?;
        self.store_checkpoint(&note, now).await?;
        Ok(Published { size, is_new })
    }

    /// Checks that the log still has the entries that a checkpoint was signed over.
    async fn check_root(&self, checkpoint: &Checkpoint) -> Result<(), LedgerError> {
        let size = checkpoint.size;
        let root = self.ledger_hashes(std::slice::from_ref(&(0..size))).await?;
        let is_same = root.first() == Some(&checkpoint.root);
        is_same.then_some(()).ok_or(LedgerError::Changed { size })
    }

    /// Stores a checkpoint. One that is stored already gets these signatures.
    pub async fn store_checkpoint(&self, note: &SignedCheckpoint, now: Wall) -> Result<(), StoreError> {
        const DOING: &str = "store a ledger checkpoint";
        let upsert = "INSERT INTO ledger_checkpoints (node, size, at_ms, note) VALUES ($1, $2, $3, $4) \
            ON CONFLICT (node, size) DO UPDATE SET note = excluded.note";
        let size = whole(note.checkpoint.size).map_err(query(DOING))?;
        let text = note.to_string();
        self.write(DOING, async |tx| {
            Ok(tx.run(upsert, args![NODE, size, now.0, &text]).await?)
        })
        .await?;
        Ok(())
    }
}
