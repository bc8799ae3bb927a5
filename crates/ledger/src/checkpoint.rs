//! Checkpoints: the size and root of a log at one moment, signed. The text is that of C2SP `tlog-checkpoint` in a
//! `signed-note`. Reading is strict: of two different texts at most one is read as the same checkpoint.

use crate::hash::Hash;
use crate::key::PublicKey;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use std::str::FromStr;

/// Begins a signature line.
const DASH: &str = "\u{2014} ";

/// The text is not a signed checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a signed checkpoint: name of the log, size, root, an empty line, and signatures")]
pub struct NoteError;

/// The size and root of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// Number of entries.
    pub size: u64,
    /// The root of the tree of their hashes.
    pub root: Hash,
}

impl Checkpoint {
    /// The text that is signed.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root)
    }
}

/// One signature of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// The name of the key.
    pub name: String,
    /// The id of the key, see [`PublicKey::id`].
    pub id: [u8; 4],
    /// The signature. A witness's begins with its time.
    pub bytes: Vec<u8>,
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.id, self.bytes.as_slice()].concat();
        writeln!(f, "{DASH}{} {}", self.name, STANDARD.encode(bytes))
    }
}

impl FromStr for NoteSignature {
    type Err = NoteError;
    /// Reads a line without its end.
    fn from_str(line: &str) -> Result<Self, NoteError> {
        let rest = line.strip_prefix(DASH).ok_or(NoteError)?;
        let (name, bytes) = rest.split_once(' ').ok_or(NoteError)?;
        let bytes = STANDARD.decode(bytes).map_err(|_| NoteError)?;
        let (id, bytes) = bytes.split_first_chunk().ok_or(NoteError)?;
        Ok(Self {
            name: name.to_owned(),
            id: *id,
            bytes: bytes.to_vec(),
        })
    }
}

/// A checkpoint with its signatures. Nothing of it is checked until [`SignedCheckpoint::is_signed_by`] says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// The log's signature and those of witnesses.
    pub signatures: Vec<NoteSignature>,
}

impl SignedCheckpoint {
    /// True if the key has signed the checkpoint.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        self.signatures
            .iter()
            .any(|signature| key.signed(&self.checkpoint, signature))
    }
}

impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.checkpoint.text())?;
        self.signatures.iter().try_for_each(|signature| signature.fmt(f))
    }
}

impl FromStr for SignedCheckpoint {
    type Err = NoteError;
    fn from_str(text: &str) -> Result<Self, NoteError> {
        let (checkpoint, signatures) = text.split_once("\n\n").ok_or(NoteError)?;
        let mut lines = checkpoint.split('\n');
        let mut line = || lines.next().ok_or(NoteError);
        let checkpoint = Checkpoint {
            origin: line()?.to_owned(),
            size: line()?.parse().map_err(|_| NoteError)?,
            root: STANDARD
                .decode(line()?)
                .ok()
                .and_then(|bytes| Hash::from_bytes(&bytes))
                .ok_or(NoteError)?,
        };
        let signatures: Result<Vec<_>, _> = signatures.lines().map(str::parse).collect();
        let read = Self {
            checkpoint,
            signatures: signatures?,
        };
        // Refuses further lines, zeros before a number, and line ends of other systems.
        let is_whole = !read.signatures.is_empty() && read.to_string() == text;
        is_whole.then_some(read).ok_or(NoteError)
    }
}
