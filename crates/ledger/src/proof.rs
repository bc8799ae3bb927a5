//! The proof that a log has an entry, as a text of 1 KB at most for logs of up to a million entries, the entry's bytes not
//! counted. It carries the signature of a checkpoint but not its root, which follows from entry and path.

use crate::checkpoint::{Checkpoint, NoteSignature};
use crate::hash::Hash;
use crate::key::PublicKey;
use crate::tree::root_of_path;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use std::str::FromStr;

const HEADER: &str = "paceline ledger proof v1";

/// The proof is not right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// It is not a proof.
    #[error("this is not a proof of `paceline ledger prove`")]
    Form,
    /// The path has another length than the entry's place needs.
    #[error("the path does not fit the place of the entry: the proof was changed")]
    Path,
    /// No checkpoint with this root was signed.
    #[error("the key has not signed what this proof says: the proof was changed, or it is of another log")]
    Signature,
}

/// The proof that a log has an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof {
    /// The entry's bytes.
    pub entry: Vec<u8>,
    /// Its place in the log, from 0.
    pub index: u64,
    /// The size of the log at the checkpoint.
    pub size: u64,
    /// The hashes that lead from the entry to the root.
    pub path: Vec<Hash>,
    /// The log's signature of the checkpoint.
    pub signature: Vec<u8>,
}

impl InclusionProof {
    /// The checkpoint that the proof shows to be signed.
    pub fn check(&self, key: &PublicKey) -> Result<Checkpoint, ProofError> {
        let leaf = Hash::of_leaf(&self.entry);
        let checkpoint = Checkpoint {
            origin: key.name().to_owned(),
            size: self.size,
            root: root_of_path(leaf, self.index, self.size, &self.path).ok_or(ProofError::Path)?,
        };
        let signature = NoteSignature {
            name: key.name().to_owned(),
            id: key.id(),
            bytes: self.signature.clone(),
        };
        let is_signed = key.signed(&checkpoint, &signature);
        is_signed.then_some(checkpoint).ok_or(ProofError::Signature)
    }
}

impl fmt::Display for InclusionProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path: Vec<u8> = self.path.iter().flat_map(|hash| *hash.as_bytes()).collect();
        writeln!(f, "{HEADER}")?;
        writeln!(f, "entry {}", STANDARD.encode(&self.entry))?;
        writeln!(f, "index {}\nsize {}", self.index, self.size)?;
        writeln!(f, "path {}", STANDARD.encode(path))?;
        writeln!(f, "signature {}", STANDARD.encode(&self.signature))
    }
}

impl FromStr for InclusionProof {
    type Err = ProofError;
    fn from_str(text: &str) -> Result<Self, ProofError> {
        let mut lines = text.lines().skip(1);
        let mut field = |name: &str| {
            let line = lines.next().and_then(|line| line.strip_prefix(name));
            line.and_then(|line| line.strip_prefix(' '))
                .ok_or(ProofError::Form)
        };
        let bytes = |text: &str| STANDARD.decode(text).map_err(|_| ProofError::Form);
        let whole = |text: &str| text.parse().map_err(|_| ProofError::Form);
        let entry = bytes(field("entry")?)?;
        let (index, size) = (whole(field("index")?)?, whole(field("size")?)?);
        let path = bytes(field("path")?)?;
        let read = Self {
            entry,
            index,
            size,
            path: path
                .chunks_exact(Hash::LEN)
                .filter_map(Hash::from_bytes)
                .collect(),
            signature: bytes(field("signature")?)?,
        };
        (read.to_string() == text).then_some(read).ok_or(ProofError::Form)
    }
}
