//! Minimal automatons over digits: what ends alike is stored once.

use anyhow::Context;
use std::collections::HashMap;

/// A state: its value (0: none), and the next state for each digit (0: none).
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) value: u16,
    pub(super) next: [u32; 10],
}

/// States, each once. Every state comes after those that it leads to.
pub(super) struct Automaton {
    nodes: Vec<Node>,
    known: HashMap<Node, u32>,
}

/// The words of an automaton, and where its states begin.
pub(super) struct Encoded {
    pub(super) words: Vec<u16>,
    starts: Vec<u32>,
}

/// Set if all digits of the state lead to the same state, which is then written once.
const SAME: u16 = 1 << 10;
/// Set if the state has a value, which is then the next word.
const VALUE: u16 = 1 << 11;

impl Automaton {
    pub(super) fn new() -> Self {
        Self {
            nodes: vec![Node::default()],
            known: HashMap::new(),
        }
    }

    /// The state equal to this one. 0: it says nothing.
    pub(super) fn intern(&mut self, node: Node) -> anyhow::Result<u32> {
        if node == Node::default() {
            return Ok(0);
        }
        if let Some(known) = self.known.get(&node) {
            return Ok(*known);
        }
        let index = u32::try_from(self.nodes.len())?;
        self.nodes.push(node.clone());
        self.known.insert(node, index);
        Ok(index)
    }

    /// Adds the automaton of the longest prefix. Returns its first state.
    pub(super) fn prefixes(&mut self, rows: &[(String, u16)]) -> anyhow::Result<u32> {
        let rows: Vec<_> = rows
            .iter()
            .map(|(prefix, value)| (prefix.as_bytes(), *value))
            .collect();
        self.branch(&rows, 0)
    }

    /// `rows` are sorted, and behind the prefix of this state; a value equal to the `inherited` one is not repeated.
    fn branch(&mut self, rows: &[(&[u8], u16)], inherited: u16) -> anyhow::Result<u32> {
        let (own, longer): (Vec<_>, Vec<_>) = rows.iter().copied().partition(|(rest, _)| rest.is_empty());
        let value = own.first().map_or(inherited, |(_, value)| *value);
        let mut node = Node {
            value: if value == inherited { 0 } else { value },
            ..Node::default()
        };
        for (digit, next) in (b'0'..).zip(&mut node.next) {
            let behind: Vec<_> = longer
                .iter()
                .filter_map(|(rest, value)| Some((rest.strip_prefix(&[digit])?, *value)))
                .collect();
            if !behind.is_empty() {
                *next = self.branch(&behind, value)?;
            }
        }
        self.intern(node)
    }

    /// Writes all states as words: digits and marks, the value, the states that it leads to in units of two words.
    pub(super) fn encode(&self) -> anyhow::Result<Encoded> {
        // Nothing starts at 0, so that 0 can mean no state.
        let mut words = vec![0, 0];
        let mut starts = vec![0];
        for node in self.nodes.iter().skip(1) {
            starts.push(u32::try_from(words.len() / 2)?);
            let targets: Vec<u32> = node.next.iter().copied().filter(|next| *next > 0).collect();
            let same = targets.len() > 1 && targets.iter().all(|next| Some(next) == targets.first());
            let mut head = if same { SAME } else { 0 };
            for (bit, next) in node.next.iter().enumerate() {
                head |= u16::from(*next > 0) << bit;
            }
            if node.value > 0 {
                words.extend([head | VALUE, node.value]);
            } else {
                words.push(head);
            }
            for next in targets.iter().take(if same { 1 } else { targets.len() }) {
                let start = starts
                    .get(usize::try_from(*next)?)
                    .context("a state comes after its next ones")?;
                words.push(u16::try_from(*start).context("the automaton is too large for its encoding")?);
            }
            if words.len() % 2 == 1 {
                words.push(0);
            }
        }
        Ok(Encoded { words, starts })
    }
}

impl Encoded {
    /// Where a state begins, in units of two words.
    pub(super) fn start(&self, node: u32) -> anyhow::Result<u16> {
        let start = self.starts.get(usize::try_from(node)?).context("no such state")?;
        u16::try_from(*start).context("the automaton is too large for its encoding")
    }
}
