//! Trees and proofs of RFC 9162, section 2.1. A hash of a range of leaves is made of the hashes of perfect subtrees, which
//! a caller reads from its tiles.

use crate::hash::Hash;
use std::ops::Range;

/// A perfect subtree: `level` 0 is a leaf, and it covers the leaves from `index << level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) level: u32,
    pub(crate) index: u64,
}

/// The hashes of the perfect subtrees of a growing tree, the largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    roots: Vec<Hash>,
}

impl Frontier {
    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut right = leaf;
        let mut rest = self.size;
        while rest & 1 == 1 {
            // There is one root for each set bit of the size.
            let Some(left) = self.roots.pop() else { break };
            right = Hash::of_children(left, right);
            rest >>= 1;
        }
        self.roots.push(right);
        self.size = self.size.saturating_add(1);
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        fold(&self.roots)
    }
}

/// The hash above perfect subtrees that decrease in size.
pub(crate) fn fold(roots: &[Hash]) -> Hash {
    let mut left_of = roots.iter().rev();
    let Some(last) = left_of.next() else {
        return Hash::of_nothing();
    };
    left_of.fold(*last, |right, left| Hash::of_children(*left, right))
}

/// The perfect subtrees of a range that begins at a multiple of its largest one.
pub(crate) fn perfect(range: Range<u64>) -> Vec<Node> {
    let (mut start, mut left) = (range.start, range.end.saturating_sub(range.start));
    let mut nodes = Vec::new();
    while left > 0 {
        let level = left.ilog2();
        nodes.push(Node {
            level,
            index: start >> level,
        });
        start = start.saturating_add(1 << level);
        left -= 1 << level;
    }
    nodes
}

/// The largest power of two below `size`, which is 2 at least.
fn split(size: u64) -> u64 {
    1 << size.saturating_sub(1).ilog2()
}

/// The ranges whose hashes prove that a leaf is in a tree, from the leaf upwards (section 2.1.3.1). `None` if the tree has
/// no such leaf.
pub fn inclusion_path(index: u64, size: u64) -> Option<Vec<Range<u64>>> {
    if index >= size {
        return None;
    }
    let (mut range, mut path) = (0..size, Vec::new());
    while range.end - range.start > 1 {
        let middle = range.start + split(range.end - range.start);
        if index < middle {
            path.push(middle..range.end);
            range.end = middle;
        } else {
            path.push(range.start..middle);
            range.start = middle;
        }
    }
    path.reverse();
    Some(path)
}

/// Number of hashes in the proof that a leaf is in a tree.
pub fn inclusion_path_len(index: u64, size: u64) -> Option<usize> {
    inclusion_path(index, size).map(|path| path.len())
}

/// The ranges whose hashes prove that a tree of `first` leaves is the beginning of a tree of `second` leaves (section
/// 2.1.4.1). `None` unless `0 < first <= second`.
pub fn consistency_path(first: u64, second: u64) -> Option<Vec<Range<u64>>> {
    if first == 0 || first > second {
        return None;
    }
    let (mut range, mut path, mut known) = (0..second, Vec::new(), true);
    while range.end != first {
        let middle = range.start + split(range.end - range.start);
        if first <= middle {
            path.push(middle..range.end);
            range.end = middle;
        } else {
            path.push(range.start..middle);
            range.start = middle;
            known = false;
        }
    }
    if !known {
        path.push(range);
    }
    path.reverse();
    Some(path)
}

/// The root that a leaf and its path lead to (section 2.1.3.2). `None` if the path does not fit the place of the leaf.
pub fn root_of_path(leaf: Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    let (mut node, mut last, mut root) = (index, size.checked_sub(1)?, leaf);
    if node > last {
        return None;
    }
    for sibling in path {
        if last == 0 {
            return None;
        }
        if node & 1 == 1 || node == last {
            root = Hash::of_children(*sibling, root);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            root = Hash::of_children(root, *sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    (last == 0).then_some(root)
}

/// True if the path proves that the first tree is the beginning of the second (section 2.1.4.2). Everything follows an
/// empty tree.
pub fn follows(first: (u64, Hash), second: (u64, Hash), path: &[Hash]) -> bool {
    let ((first_size, first_root), (second_size, second_root)) = (first, second);
    if first_size > second_size {
        return false;
    }
    if first_size == second_size {
        return path.is_empty() && first_root == second_root;
    }
    if first_size == 0 {
        return path.is_empty() && first_root == Hash::of_nothing();
    }
    let known = first_size.is_power_of_two().then_some(first_root);
    let mut hashes = known.into_iter().chain(path.iter().copied());
    let Some(start) = hashes.next() else { return false };
    let (mut node, mut last) = (first_size - 1, second_size - 1);
    while node & 1 == 1 {
        (node, last) = (node >> 1, last >> 1);
    }
    let (mut old, mut new) = (start, start);
    for sibling in hashes {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old = Hash::of_children(sibling, old);
            new = Hash::of_children(sibling, new);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            new = Hash::of_children(new, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    last == 0 && old == first_root && new == second_root
}
