//! Automatons over digits. `xtask/src/numbers/automaton.rs` writes them.

/// The words of an automaton. A state is a word of marks and digits (bit `d`: the digit `d` leads on), its value if it has one,
/// and the states that it leads to, each as its place in units of two words.
pub(crate) struct Automaton {
    words: Box<[u16]>,
}

/// All digits lead to the same state, which is written once.
const SAME: u16 = 1 << 10;
/// A value follows.
const VALUE: u16 = 1 << 11;

impl Automaton {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let (words, _) = bytes.as_chunks::<2>();
        Self {
            words: words.iter().map(|word| u16::from_le_bytes(*word)).collect(),
        }
    }

    fn word(&self, at: usize) -> u16 {
        self.words.get(at).copied().unwrap_or_default()
    }

    /// The value after all digits; 0: none.
    pub(crate) fn exact(&self, start: u16, digits: &[u8]) -> u16 {
        let mut state = start;
        for digit in digits {
            state = self.next(state, *digit);
            if state == 0 {
                return 0;
            }
        }
        self.value(state)
    }

    /// The last value on the way through the digits; 0: none.
    pub(crate) fn longest(&self, start: u16, digits: &[u8]) -> u16 {
        let (mut state, mut found) = (start, 0);
        for digit in digits {
            state = self.next(state, *digit);
            if state == 0 {
                break;
            }
            match self.value(state) {
                0 => {}
                value => found = value,
            }
        }
        found
    }

    fn value(&self, state: u16) -> u16 {
        let at = usize::from(state) * 2;
        if self.word(at) & VALUE == 0 {
            0
        } else {
            self.word(at + 1)
        }
    }

    /// 0 if the digit leads nowhere.
    fn next(&self, state: u16, digit: u8) -> u16 {
        let at = usize::from(state) * 2;
        let head = self.word(at);
        let bit = 1 << (digit.wrapping_sub(b'0') & 15);
        if head & bit & 0x3ff == 0 {
            return 0;
        }
        let before = if head & SAME == 0 {
            (head & (bit - 1)).count_ones() as usize
        } else {
            0
        };
        self.word(at + 1 + usize::from(head & VALUE != 0) + before)
    }
}
