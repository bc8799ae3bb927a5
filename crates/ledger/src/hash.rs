//! The hash of a leaf or of a subtree.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{Context, SHA256, digest};
use std::fmt;

/// A SHA-256 hash of RFC 9162, section 2.1.1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hash([u8; Hash::LEN]);

impl Hash {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// The hash of an empty tree.
    pub fn of_nothing() -> Self {
        Self::of(digest(&SHA256, b""))
    }

    /// The hash of a leaf with these bytes.
    pub fn of_leaf(entry: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&[0]);
        context.update(entry);
        Self::of(context.finish())
    }

    /// The hash of a node with these two children.
    pub fn of_children(left: Self, right: Self) -> Self {
        let mut both = [1; 1 + 2 * Self::LEN];
        let (_, hashes) = both.split_at_mut(1);
        let (first, second) = hashes.split_at_mut(Self::LEN);
        first.copy_from_slice(&left.0);
        second.copy_from_slice(&right.0);
        Self::of(digest(&SHA256, &both))
    }

    fn of(digest: ring::digest::Digest) -> Self {
        let mut bytes = [0; Self::LEN];
        // SHA-256 has this length.
        for (to, from) in bytes.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }

    /// The hash with these bytes. `None` if they are not 32.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}
