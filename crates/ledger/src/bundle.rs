//! Entries one after the other, each with its length before it. An erased entry has lost its bytes; its leaf hash is in the
//! tiles.

use crate::entry::{put_varint, take_varint};

/// The bytes are not a bundle of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored bundle of ledger entries is damaged; restore the database from a backup")]
pub struct BundleError;

/// Appends an entry to a bundle; `None`: an erased one.
pub fn pack(bundle: &mut Vec<u8>, entry: Option<&[u8]>) {
    match entry {
        // An entry is never empty, so 0 is free.
        None => bundle.push(0),
        Some(entry) => {
            put_varint(bundle, entry.len() as u64);
            bundle.extend(entry);
        }
    }
}

/// The entries of a bundle in their order; `None` is an erased one.
#[derive(Clone, Copy, Debug)]
pub struct Bundle<'a>(&'a [u8]);

impl<'a> Bundle<'a> {
    /// The entries in these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a> Iterator for Bundle<'a> {
    type Item = Result<Option<&'a [u8]>, BundleError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let entry = take_varint(&mut self.0)
            .and_then(|len| usize::try_from(len).ok())
            .and_then(|len| self.0.split_at_checked(len));
        let Some((entry, rest)) = entry else {
            self.0 = &[];
            return Some(Err(BundleError));
        };
        self.0 = rest;
        Some(Ok((!entry.is_empty()).then_some(entry)))
    }
}
