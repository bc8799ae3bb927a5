//! The record of what the gate decided and of what changed its rules, as a log that can be checked without trust in its
//! owner.
//!
//! In: entries, hashes of subtrees, keys. Out: the bytes of an entry, tree hashes, proofs and signed checkpoints. The crate
//! does no I/O: the store keeps the rows, the shell keeps the files.
//!
//! Sources: Merkle trees and proofs are those of RFC 9162, section 2.1. Checkpoints follow C2SP `tlog-checkpoint`,
//! `signed-note` and `tlog-cosignature`; tiles of hashes follow C2SP `tlog-tiles`. Start at [`Entry`], [`Edge`] and
//! [`Checkpoint`].

mod bundle;
mod checkpoint;
mod entry;
mod export;
mod hash;
mod key;
mod proof;
#[cfg(test)]
mod tests;
mod tiles;
mod tree;

pub use bundle::{Bundle, BundleError, pack};
pub use checkpoint::{Checkpoint, NoteError, NoteSignature, SignedCheckpoint};
pub use entry::{Entry, EntryError, Kind, Subject};
pub use export::ExportLine;
pub use hash::Hash;
pub use key::{KeyError, KeyKind, NumberKey, NumberMac, PublicKey, SigningKey};
pub use proof::{InclusionProof, ProofError};
pub use tiles::{Edge, Tile, TileError, Tiles};
pub use tree::{Frontier, consistency_path, follows, inclusion_path, inclusion_path_len, root_of_path};
