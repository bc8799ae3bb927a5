//! Writes the ledger, or some of it with proofs, for the offline verifier.

use crate::store::{NumberedEntry, Store, StoreError};
use paceline_core::time::Wall;
use paceline_ledger::{
    Entry, ExportLine, Hash, InclusionProof, NumberMac, ProofError, SignedCheckpoint, Tile, Tiles,
    inclusion_path, inclusion_path_len,
};
use std::collections::BTreeSet;
use std::io::Write;
use std::ops::Range;

/// Of this many checkpoints after an entry, the one with the shortest proof is taken.
const CHECKPOINTS_TRIED: i64 = 64;
/// Tiles that are kept while a selection is written: 8 MiB.
const TILES_KEPT: usize = 1024;

/// The entries to export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Only this campaign.
    pub campaign: Option<u64>,
    /// Only this number.
    pub number: Option<NumberMac>,
    /// Only these times.
    pub times: Range<Wall>,
}

impl Selection {
    /// All entries.
    pub fn everything() -> Self {
        Self {
            campaign: None,
            number: None,
            times: Wall(i64::MIN)..Wall(i64::MAX),
        }
    }

    fn has(&self, bytes: &[u8]) -> bool {
        Entry::decode(bytes).is_ok_and(|entry| {
            self.campaign.is_none_or(|id| entry.subject.campaign == Some(id))
                && self.number.is_none_or(|mac| entry.subject.number == Some(mac))
                && self.times.contains(&Wall(entry.at_ms))
        })
    }
}

/// The ledger cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The output cannot be written.
    #[error("cannot write the export")]
    Write(#[from] std::io::Error),
    /// There is nothing that could be proved.
    #[error(
        "the ledger has no checkpoint yet: `paceline serve` publishes one every ten seconds while calls are made"
    )]
    NoCheckpoint,
    /// The ledger is broken.
    #[error("the hash of entry {0} is missing: `paceline ledger verify` shows more")]
    NoHash(u64),
    /// An entry cannot be proved.
    #[error("an entry is too long for a proof")]
    Proof(#[from] ProofError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The proof of an entry. `None` if no checkpoint covers it yet.
pub async fn prove(store: &Store, entry: NumberedEntry) -> Result<Option<InclusionProof>, StoreError> {
    let rows = store
        .ledger_checkpoints(entry.index + 1, CHECKPOINTS_TRIED)
        .await?;
    let notes = rows.into_iter().filter_map(|row| row.note);
    let Some(note) = notes.min_by_key(|note| inclusion_path_len(entry.index, note.checkpoint.size)) else {
        return Ok(None);
    };
    let path = inclusion_path(entry.index, note.checkpoint.size).unwrap_or_default();
    let path = store.ledger_hashes(&path).await?;
    Ok(proof(entry, &note, path))
}

fn proof(entry: NumberedEntry, note: &SignedCheckpoint, path: Vec<Hash>) -> Option<InclusionProof> {
    let mut signatures = note.signatures.iter();
    let own = signatures.find(|signature| signature.name == note.checkpoint.origin)?;
    Some(InclusionProof {
        entry: entry.bytes,
        index: entry.index,
        size: note.checkpoint.size,
        path,
        signature: own.bytes.as_slice().try_into().ok()?,
    })
}

/// Writes all entries up to the last checkpoint, and every checkpoint. Returns the number of entries.
pub async fn whole(store: &Store, mut out: impl Write) -> Result<u64, ExportError> {
    let last = store
        .last_ledger_checkpoint()
        .await?
        .ok_or(ExportError::NoCheckpoint)?
        .size;
    writeln!(out, "{}", ExportLine::Headline)?;
    let (mut at, mut leaves, mut notes) = (0_u64, (u64::MAX, Vec::new()), Vec::new());
    while at < last {
        let bundles = store.ledger_bundles(at, Selection::everything().times).await?;
        if bundles.is_empty() {
            return Err(ExportError::NoHash(at));
        }
        for bundle in &bundles {
            for (index, entry) in bundle.entries()? {
                if index >= last {
                    break;
                }
                match entry {
                    Some(bytes) => writeln!(out, "{}", ExportLine::Entry(bytes))?,
                    None => {
                        let tile = Tile {
                            level: 0,
                            number: index / 256,
                        };
                        if leaves.0 != tile.number {
                            leaves = (tile.number, store.ledger_tile(tile).await?);
                        }
                        let within = usize::try_from(index % 256).unwrap_or(0) * Hash::LEN;
                        let hash = leaves
                            .1
                            .get(within..within + Hash::LEN)
                            .and_then(Hash::from_bytes);
                        writeln!(
                            out,
                            "{}",
                            ExportLine::Erased(hash.ok_or(ExportError::NoHash(index))?)
                        )?;
                    }
                }
                at = index + 1;
                if notes.is_empty() {
                    notes = store.ledger_checkpoints(at, CHECKPOINTS_TRIED).await?;
                    notes.reverse();
                }
                if let Some(row) = notes.pop_if(|row| row.size == at) {
                    let note = row.note.ok_or(ExportError::NoHash(at))?;
                    writeln!(out, "{}", ExportLine::Checkpoint(&note))?;
                }
            }
        }
    }
    out.flush()?;
    Ok(at)
}

/// Writes each entry of the selection with its proof against the last checkpoint. Erased entries have no subject, so they are in no
/// selection. Returns the number of entries.
pub async fn selected(store: &Store, selection: &Selection, mut out: impl Write) -> Result<u64, ExportError> {
    let last = store.last_ledger_checkpoint().await?.and_then(|row| row.note);
    let last = last.ok_or(ExportError::NoCheckpoint)?;
    let (mut from, mut written, mut tiles) = (0, 0_u64, KnownTiles::default());
    loop {
        let bundles = store.ledger_bundles(from, selection.times.clone()).await?;
        let Some(end) = bundles.last() else { break };
        from = end.first + end.size;
        for bundle in &bundles {
            for (index, entry) in bundle.entries()? {
                let Some(bytes) = entry.filter(|bytes| index < last.checkpoint.size && selection.has(bytes))
                else {
                    continue;
                };
                let path = inclusion_path(index, last.checkpoint.size).unwrap_or_default();
                let path = tiles.hashes(store, index, &path).await?;
                let bytes = bytes.to_vec();
                let proof = proof(NumberedEntry { index, bytes }, &last, path);
                let proof = proof.ok_or(ExportError::NoCheckpoint)?;
                out.write_all(&proof.encode()?)?;
                written += 1;
            }
        }
    }
    out.flush()?;
    Ok(written)
}

/// Tiles that were read.
#[derive(Default)]
struct KnownTiles {
    tiles: Tiles,
    known: BTreeSet<Tile>,
}

impl KnownTiles {
    async fn hashes(
        &mut self,
        store: &Store,
        index: u64,
        path: &[Range<u64>],
    ) -> Result<Vec<Hash>, ExportError> {
        if self.known.len() > TILES_KEPT {
            *self = Self::default();
        }
        for tile in Tiles::needed(path) {
            if self.known.insert(tile) {
                self.tiles.add(tile, &store.ledger_tile(tile).await?);
            }
        }
        self.tiles.hashes(path).map_err(|_| ExportError::NoHash(index))
    }
}
