//! Tiles: the hashes of a tree in rows of up to 256, as in C2SP `tlog-tiles`. A tile of level 0 has hashes of leaves; a
//! hash in a tile of a higher level is the root of a whole tile of the level below. Appending changes one tile of each
//! level, and any proof needs few tiles.

use crate::hash::Hash;
use crate::tree::{Node, fold, perfect};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Hashes in a whole tile, as a power of two.
const HEIGHT: u32 = 8;
const WIDTH: u64 = 1 << HEIGHT;

/// The place of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tile {
    /// Its level; 0 has the leaves.
    pub level: u32,
    /// Its position in the level, from 0.
    pub number: u64,
}

/// A tile is missing or too short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("hash tile {} of level {} is missing or too short; restore the database from a backup", tile.number, tile.level)]
pub struct TileError {
    /// The tile.
    pub tile: Tile,
}

/// Tiles that were read.
#[derive(Clone, Debug, Default)]
pub struct Tiles(BTreeMap<Tile, Vec<Hash>>);

impl Tiles {
    /// The tiles that the hashes of these ranges are made of. The ranges are those of a path, or begin at 0.
    pub fn needed(ranges: &[Range<u64>]) -> BTreeSet<Tile> {
        let nodes = ranges.iter().cloned().flat_map(perfect);
        nodes.map(|node| place(node).0).collect()
    }

    /// Adds a tile as it is stored: its hashes one after the other.
    pub fn add(&mut self, tile: Tile, hashes: &[u8]) {
        let hashes = hashes.chunks_exact(Hash::LEN).filter_map(Hash::from_bytes);
        self.0.insert(tile, hashes.collect());
    }

    /// The hash of a range of leaves, which is one of a path, or begins at 0.
    pub fn hash(&self, range: Range<u64>) -> Result<Hash, TileError> {
        let roots: Result<Vec<_>, _> = perfect(range).into_iter().map(|node| self.node(node)).collect();
        Ok(fold(&roots?))
    }

    /// The hashes of these ranges.
    pub fn hashes(&self, ranges: &[Range<u64>]) -> Result<Vec<Hash>, TileError> {
        ranges.iter().cloned().map(|range| self.hash(range)).collect()
    }

    fn node(&self, node: Node) -> Result<Hash, TileError> {
        let (tile, within) = place(node);
        let hashes = self.0.get(&tile).and_then(|hashes| hashes.get(within));
        hashes.map(perfect_root).ok_or(TileError { tile })
    }
}

/// The tile of a perfect subtree, and the hashes in it that it is made of.
fn place(node: Node) -> (Tile, Range<usize>) {
    let (level, above) = (node.level / HEIGHT, node.level % HEIGHT);
    let tile = Tile {
        level,
        number: node.index >> (HEIGHT - above),
    };
    // Below 256, so it fits.
    let start = usize::try_from((node.index << above) % WIDTH).unwrap_or(0);
    (tile, start..start + (1 << above))
}

/// The root above a power of two of hashes.
fn perfect_root(hashes: &[Hash]) -> Hash {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        let pairs = row.chunks_exact(2).filter_map(|pair| match pair {
            [left, right] => Some(Hash::of_children(*left, *right)),
            _ => None,
        });
        row = pairs.collect();
    }
    row.first().copied().unwrap_or_else(Hash::of_nothing)
}

/// The right edge of a tree: all that appending needs to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    /// The last tile of each level, if it is not whole.
    open: Vec<Vec<Hash>>,
    /// Tiles that appending has completed.
    whole: Vec<(Tile, Vec<Hash>)>,
    changed: BTreeSet<u32>,
}

impl Edge {
    /// The tiles to read before appending to a tree of this size.
    pub fn tiles(size: u64) -> Vec<Tile> {
        let levels = (0..u64::BITS / HEIGHT).filter(|level| open_len(size, *level) > 0);
        let tile = |level| Tile {
            level,
            number: count(size, level) / WIDTH,
        };
        levels.map(tile).collect()
    }

    /// The edge of a tree of this size, with the tiles of [`Edge::tiles`].
    pub fn new(size: u64, tiles: &Tiles) -> Result<Self, TileError> {
        let mut open = Vec::new();
        for tile in Self::tiles(size) {
            let level = usize::try_from(tile.level).unwrap_or(usize::MAX);
            open.resize(level, Vec::new());
            let hashes = tiles
                .0
                .get(&tile)
                .and_then(|all| all.get(..open_len(size, tile.level)));
            open.push(hashes.ok_or(TileError { tile })?.to_vec());
        }
        Ok(Self {
            size,
            open,
            whole: Vec::new(),
            changed: BTreeSet::new(),
        })
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for level in 0.. {
            let at = usize::try_from(level).unwrap_or(usize::MAX);
            if self.open.len() <= at {
                self.open.push(Vec::new());
            }
            let Some(open) = self.open.get_mut(at) else { break };
            open.push(hash);
            self.changed.insert(level);
            if (open.len() as u64) < WIDTH {
                break;
            }
            hash = perfect_root(open);
            self.whole.push((
                Tile {
                    level,
                    number: count(self.size, level) / WIDTH,
                },
                std::mem::take(open),
            ));
        }
        self.size = self.size.saturating_add(1);
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        let mut roots = Vec::new();
        for open in self.open.iter().rev() {
            for node in perfect(0..open.len() as u64) {
                let start = usize::try_from(node.index << node.level).unwrap_or(usize::MAX);
                let within = open.get(start..start.saturating_add(1 << node.level));
                roots.extend(within.map(perfect_root));
            }
        }
        fold(&roots)
    }

    /// The tiles that appending has changed, with their hashes one after the other, as they are stored.
    pub fn changed(&self) -> Vec<(Tile, Vec<u8>)> {
        let whole = self.whole.iter().map(|(tile, hashes)| (*tile, bytes(hashes)));
        let open = self.changed.iter().filter_map(|level| {
            let hashes = self.open.get(usize::try_from(*level).ok()?)?;
            let tile = Tile {
                level: *level,
                number: count(self.size, *level) / WIDTH,
            };
            (!hashes.is_empty()).then(|| (tile, bytes(hashes)))
        });
        whole.chain(open).collect()
    }
}

/// Number of hashes of a level.
fn count(size: u64, level: u32) -> u64 {
    size.checked_shr(HEIGHT * level).unwrap_or(0)
}

fn open_len(size: u64, level: u32) -> usize {
    usize::try_from(count(size, level) % WIDTH).unwrap_or(0)
}

fn bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}
