//! One row of a contact file as text. The buffer is used again for the next row.

/// The cells of a row.
#[derive(Clone, Debug, Default)]
pub(super) struct Cells {
    text: String,
    ends: Vec<usize>,
    kinds: Vec<Kind>,
    /// True if quotation marks in the row were escaped with a backslash.
    pub(super) escaped: bool,
}

/// The type of a cell in a spreadsheet. Every cell of a text file is text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text, or a number with all of its digits.
    Text,
    /// A number that has lost digits, because spreadsheets keep 15.
    Rounded,
    /// A date or a time.
    Date,
    /// An error value such as `#N/A`.
    Fault,
}

impl Cells {
    /// Removes all cells.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.kinds.clear();
        self.escaped = false;
    }

    /// Adds a cell. Bytes that are not UTF-8 become U+FFFD, which no field accepts.
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

    /// Number of cells.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Length of all cells in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// The cell at an index from 0. Empty after the last cell.
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

    /// The type of a cell.
    pub(super) fn kind(&self, index: usize) -> Kind {
        self.kinds.get(index).copied().unwrap_or(Kind::Text)
    }

    /// All cells.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|n| self.get(n))
    }

    /// True if all cells are blank.
    pub(super) fn is_blank(&self) -> bool {
        self.text.bytes().all(|b| b.is_ascii_whitespace()) || self.text.trim().is_empty()
    }
}
