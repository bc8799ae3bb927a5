//! The lines of an exported log. `paceline-ledger-verify` reads them.

use crate::checkpoint::SignedCheckpoint;
use crate::hash::Hash;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The lines of an exported log, each without its end: the headline, then all entries in order, each checkpoint directly after the last
/// entry that it covers. The last line is a checkpoint.
#[derive(Clone, Copy, Debug)]
pub enum ExportLine<'a> {
    /// The first line.
    Headline,
    /// An entry's bytes.
    Entry(&'a [u8]),
    /// The leaf hash of an entry whose bytes were erased.
    Erased(Hash),
    /// A checkpoint.
    Checkpoint(&'a SignedCheckpoint),
}

impl std::fmt::Display for ExportLine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Headline => f.write_str("paceline ledger v1"),
            Self::Entry(bytes) => write!(f, "entry {}", STANDARD.encode(bytes)),
            Self::Erased(hash) => write!(f, "erased {hash}"),
            Self::Checkpoint(note) => write!(f, "checkpoint {}", STANDARD.encode(note.to_string())),
        }
    }
}
