//! Checks the whole ledger in the store: the bytes of each entry against its hash, the hashes against every checkpoint of the table and
//! of the append-only file, and each checkpoint against the key that the log names at its place. Finds the first broken entry, or the range between two checkpoints in which it is.

use super::Keys;
use crate::store::{CheckpointRow, LedgerBundle, Store, StoreError};
use paceline_core::time::Wall;
use paceline_ledger::{Entry, Frontier, Hash, PublicKey, SignedCheckpoint, Tile};
use std::collections::VecDeque;

const CHECKPOINTS_AT_ONCE: i64 = 500;
const TILE_WIDTH: u64 = 256;

/// The contents of a ledger that passed the check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Number of entries.
    pub entries: u64,
    /// Those whose bodies were erased. Their hashes were checked.
    pub erased: u64,
    /// Checkpoints of the table.
    pub checkpoints: u64,
    /// The size of the last one.
    pub covered: u64,
}

/// The ledger is broken, or it cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The first fault that was found.
    #[error("the ledger is broken: {0}")]
    Broken(String),
    /// The file of checkpoints cannot be read.
    #[error("cannot read the file of checkpoints")]
    File(#[source] std::io::Error),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn broken<T>(what: String) -> Result<T, VerifyError> {
    Err(VerifyError::Broken(what))
}

struct Verifying<'a> {
    store: &'a Store,
    keys: &'a Keys,
    tree: Frontier,
    /// The leaf hashes from a multiple of 256 on.
    leaves: (u64, Vec<u8>),
    rows: VecDeque<CheckpointRow>,
    read_to: u64,
    file: VecDeque<SignedCheckpoint>,
    /// The log's key here. `None`: the log has not named it yet.
    key: Option<PublicKey>,
    /// The key that the log names since the last checkpoint.
    next_key: Option<PublicKey>,
    /// The key that signed the last checkpoint.
    signer: Option<PublicKey>,
    found: Verified,
}

/// Checks the whole ledger. It may run while `serve` runs: entries that come meanwhile are not looked at.
pub async fn verify(store: &Store, keys: &Keys) -> Result<Verified, VerifyError> {
    // The file is written before the table, so it is read first.
    let file = read_file(keys)?;
    let size = store.ledger_size().await?;
    let mut verifying = Verifying {
        store,
        keys,
        tree: Frontier::default(),
        leaves: (u64::MAX, Vec::new()),
        rows: VecDeque::new(),
        read_to: 0,
        file,
        key: None,
        next_key: None,
        signer: None,
        found: Verified::default(),
    };
    verifying.run(size).await?;
    Ok(verifying.found)
}

/// The checkpoints of the file in their order. Each must be larger than the one before.
fn read_file(keys: &Keys) -> Result<VecDeque<SignedCheckpoint>, VerifyError> {
    let text = match std::fs::read_to_string(keys.checkpoints.path()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(VecDeque::new()),
        text => text.map_err(VerifyError::File)?,
    };
    let (mut notes, mut rest, mut last) = (VecDeque::new(), text.as_str(), 0);
    while !rest.is_empty() {
        let end = rest.match_indices("\n\n").nth(1);
        let note = end.and_then(|(at, _)| rest.split_at_checked(at + 1));
        let read = note.and_then(|(note, after)| Some((note.parse().ok()?, after.strip_prefix('\n')?)));
        let Some((note, after)): Option<(SignedCheckpoint, &str)> = read else {
            return broken(format!(
                "the file of checkpoints is damaged after the checkpoint at {last}"
            ));
        };
        let size = note.checkpoint.size;
        if size <= last {
            return broken(format!(
                "in the file, the checkpoint at {size} comes after that at {last}"
            ));
        }
        (rest, last) = (after, size);
        notes.push_back(note);
    }
    Ok(notes)
}

impl Verifying<'_> {
    async fn run(&mut self, size: u64) -> Result<(), VerifyError> {
        while self.tree.size() < size {
            let at = self.tree.size();
            let always = Wall(i64::MIN)..Wall(i64::MAX);
            let bundles = self.store.ledger_bundles(at, always).await?;
            if bundles.is_empty() {
                return broken(format!("entry {at} is missing, and all that follow"));
            }
            for bundle in bundles.iter().filter(|bundle| bundle.first < size) {
                self.bundle(bundle).await?;
            }
        }
        self.end(size).await
    }

    async fn bundle(&mut self, bundle: &LedgerBundle) -> Result<(), VerifyError> {
        let at = self.tree.size();
        if bundle.first != at {
            return broken(format!("entry {at} is missing: the next one is {}", bundle.first));
        }
        let Ok(entries) = bundle.entries() else {
            return broken(format!("the row of entries from {at} is damaged"));
        };
        if entries.len() as u64 != bundle.size {
            return broken(format!(
                "entries were added to or dropped from the row of entry {at}"
            ));
        }
        for (index, entry) in entries {
            let Some(leaf) = self.leaf(index).await? else {
                return broken(format!("the hash of entry {index} is missing"));
            };
            match entry {
                Some(bytes) if Hash::of_leaf(bytes) != leaf => {
                    return broken(format!("entry {index} is not what it was when it got its place"));
                }
                Some(bytes) => {
                    let key = Entry::decode(bytes).ok();
                    let key = key.and_then(|entry| PublicKey::of_change(&entry));
                    self.next_key = key.or(self.next_key.take());
                }
                None => self.found.erased += 1,
            }
            self.tree.push(leaf);
            self.found.entries += 1;
            self.checkpoints().await?;
        }
        Ok(())
    }

    /// The hash of an entry as the tiles have it.
    async fn leaf(&mut self, index: u64) -> Result<Option<Hash>, VerifyError> {
        let number = index / TILE_WIDTH;
        if self.leaves.0 != number {
            self.leaves = (number, self.store.ledger_tile(Tile { level: 0, number }).await?);
        }
        let within = usize::try_from(index % TILE_WIDTH).unwrap_or(0) * Hash::LEN;
        let bytes = self.leaves.1.get(within..within + Hash::LEN);
        Ok(bytes.and_then(Hash::from_bytes))
    }

    /// Compares the tree with the checkpoints of its present size.
    async fn checkpoints(&mut self) -> Result<(), VerifyError> {
        let size = self.tree.size();
        let covered = self.found.covered;
        let changed = || {
            format!(
                "one of the entries {covered} to {} is not what was signed at {size}, and its hash was changed too",
                size - 1
            )
        };
        let key = self.key.as_ref().or(self.next_key.as_ref());
        let key = key.unwrap_or(self.keys.signing.public()).clone();
        let signed =
            |note: &SignedCheckpoint| note.checkpoint.origin == key.name() && note.is_signed_by(&key);
        let next = self.file.front().is_some_and(|note| note.checkpoint.size == size);
        let in_file = if next { self.file.pop_front() } else { None };
        if in_file.as_ref().is_some_and(|note| !signed(note)) {
            return broken(format!(
                "in the file, the checkpoint at {size} is not signed by the log's key"
            ));
        }
        if in_file
            .as_ref()
            .is_some_and(|note| note.checkpoint.root != self.tree.root())
        {
            return broken(changed());
        }
        let in_table = self.next_row(size).await?;
        if in_table.is_none() && in_file.is_none() {
            return Ok(());
        }
        if let Some(row) = in_table {
            let Some(note) = row
                .note
                .filter(|note| note.checkpoint.size == size && signed(note))
            else {
                return broken(format!(
                    "in the database, the checkpoint at {size} is damaged or not signed by the log's key"
                ));
            };
            if note.checkpoint.root != self.tree.root() {
                return broken(changed());
            }
            if in_file.is_none() {
                return broken(format!("the file of checkpoints lacks that at {size}"));
            }
            self.found.checkpoints += 1;
        }
        self.found.covered = size;
        self.key = self.next_key.take().or(self.key.take());
        self.signer = Some(key);
        Ok(())
    }

    /// The stored checkpoint of this size.
    async fn next_row(&mut self, size: u64) -> Result<Option<CheckpointRow>, VerifyError> {
        if self.rows.is_empty() && self.read_to < size {
            let rows = self.store.ledger_checkpoints(size, CHECKPOINTS_AT_ONCE).await?;
            // Nothing more is read before the last of these, or ever.
            self.read_to = rows.last().map_or(u64::MAX, |row| row.size);
            self.rows = rows.into();
        }
        let is_next = self.rows.front().is_some_and(|row| row.size == size);
        Ok(if is_next { self.rows.pop_front() } else { None })
    }

    async fn end(&mut self, size: u64) -> Result<(), VerifyError> {
        if let Some(note) = self.file.front() {
            let signed = note.checkpoint.size;
            return broken(format!(
                "the ledger ends at {size}, and the file has a checkpoint at {signed}: the end was cut off"
            ));
        }
        let own = [Some(self.keys.signing.public()), self.keys.replaced()];
        if self.signer.is_some() && !own.contains(&self.signer.as_ref()) {
            return broken(
                "the last checkpoint is signed by another key than that of the key file".to_owned(),
            );
        }
        let root = self.store.ledger_hashes(std::slice::from_ref(&(0..size))).await;
        if size > 0 && root.ok().and_then(|root| root.first().copied()) != Some(self.tree.root()) {
            return broken("the hashes above the entries are not those of the entries".to_owned());
        }
        Ok(())
    }
}
