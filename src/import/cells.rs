//! One row of a contact file as text, in a buffer that is used again for the next.

/// The cells of a row.
#[derive(Clone, Debug, Default)]
pub(super) struct Cells {
    text: String,
    ends: Vec<usize>,
    kinds: Vec<Kind>,
    /// Quotation marks in it were escaped with a backslash.
    pub(super) escaped: bool,
}

/// What a spreadsheet takes a cell for. Everything in a text file is text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text, or a number with all of its digits.
    Text,
    /// A number that has lost digits: spreadsheets keep 15.
    Rounded,
    /// A date or a time.
    Date,
    /// `#N/A` and the like.
    Fault,
}

impl Cells {
    /// Empties it.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.kinds.clear();
        self.escaped = false;
    }

    /// Adds a cell. Bytes that are no UTF-8 become U+FFFD, which nothing else is read as.
    pub(super) fn push_bytes(&mut self, bytes: &[u8]) {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.text.push_str(text),
            Err(_) => self.text.push_str(&String::from_utf8_lossy(bytes)),
        }
        self.end(Kind::Text);
    }

    /// Adds a cell.
    pub(super) fn push(&mut self, text: &str, kind: Kind) {
        self.text.push_str(text);
        self.end(kind);
    }

    fn end(&mut self, kind: Kind) {
        self.ends.push(self.text.len());
        self.kinds.push(kind);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// How long all of them are.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// A cell, from 0; empty past the last.
    pub(super) fn get(&self, index: usize) -> &str {
        let start = index
            .checked_sub(1)
            .map_or(Some(0), |before| self.ends.get(before).copied());
        let end = self.ends.get(index).copied();
        match (start, end) {
            (Some(start), Some(end)) => self.text.get(start..end).unwrap_or_default(),
            _ => "",
        }
    }

    /// What a cell is.
    pub(super) fn kind(&self, index: usize) -> Kind {
        self.kinds.get(index).copied().unwrap_or(Kind::Text)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|n| self.get(n))
    }

    /// Whether nothing stands in any of them.
    pub(super) fn is_blank(&self) -> bool {
        self.text.bytes().all(|b| b.is_ascii_whitespace()) || self.text.trim().is_empty()
    }
}
