//! The proof that a log has an entry, as bytes. It carries the signature of a checkpoint but not its root, which follows from entry
//! and path.
//!
//! ```text
//! paceline ledger proof v1\n | place (8) | size (8) | signature (64) | number of hashes (1) | the hashes | length (2) | the entry
//! ```
//!
//! Numbers are big-endian. It has 108 bytes beside the entry and the hashes, of which a log of 2^n entries has n at most.

use crate::checkpoint::{Checkpoint, NoteSignature};
use crate::entry::take;
use crate::hash::Hash;
use crate::key::PublicKey;
use crate::tree::root_of_path;

const HEADER: &[u8; 25] = b"paceline ledger proof v1\n";
const SIGNATURE_LEN: usize = 64;

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
    pub signature: [u8; SIGNATURE_LEN],
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
            bytes: self.signature.to_vec(),
        };
        let is_signed = key.signed(&checkpoint, &signature);
        is_signed.then_some(checkpoint).ok_or(ProofError::Signature)
    }

    /// The proof's bytes.
    ///
    /// # Errors
    /// [`ProofError::Form`] if the entry has more than 65,535 bytes, which no entry of Paceline has.
    pub fn encode(&self) -> Result<Vec<u8>, ProofError> {
        let hashes = u8::try_from(self.path.len()).map_err(|_| ProofError::Form)?;
        let len = u16::try_from(self.entry.len()).map_err(|_| ProofError::Form)?;
        let mut out = HEADER.to_vec();
        out.extend(self.index.to_be_bytes());
        out.extend(self.size.to_be_bytes());
        out.extend(self.signature);
        out.push(hashes);
        out.extend(self.path.iter().flat_map(|hash| *hash.as_bytes()));
        out.extend(len.to_be_bytes());
        out.extend(&self.entry);
        Ok(out)
    }

    /// Reads the bytes of one proof.
    pub fn decode(bytes: &[u8]) -> Result<Self, ProofError> {
        Self::read(bytes).ok_or(ProofError::Form)
    }

    fn read(mut bytes: &[u8]) -> Option<Self> {
        let rest = &mut bytes;
        if take::<25>(rest)? != *HEADER {
            return None;
        }
        let (index, size) = (u64::from_be_bytes(take(rest)?), u64::from_be_bytes(take(rest)?));
        let signature = take(rest)?;
        let hashes = u8::from_be_bytes(take(rest)?);
        let path = (0..hashes).map(|_| Hash::from_bytes(&take::<{ Hash::LEN }>(rest)?));
        let path = path.collect::<Option<Vec<_>>>()?;
        let len = u16::from_be_bytes(take(rest)?);
        let is_whole = rest.len() == usize::from(len);
        is_whole.then(|| Self {
            entry: rest.to_vec(),
            index,
            size,
            path,
            signature,
        })
    }
}
