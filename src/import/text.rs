//! Reads the rows of a text file with separators in constant memory. In: bytes and their encoding. Out: [`Cells`], row
//! by row. A quotation mark that is never closed spoils only its own line.

mod split;

use super::ImportError;
use super::cells::Cells;
use encoding_rs::{CoderResult, Decoder, Encoding, UTF_8};
use split::{Quoted, has_backslash, split_marked, split_plain, split_quoted};
use std::cell::Cell;
use std::io::Read;
use std::rc::Rc;

/// Maximum length of a line in bytes.
pub(super) const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Maximum number of lines of a cell in quotation marks, such as an address. A longer cell has a mark that was never
/// closed.
const CELL_LINES_MAX: usize = 50;
const CELL_BYTES_MAX: usize = 64 * 1024;
const BLOCK_BYTES: usize = 64 * 1024;

/// The kind of row that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A row, with the line in which it begins.
    Row { line: u64 },
    /// A line with a quotation mark that is never closed.
    Unclosed { line: u64 },
}

/// A text file being read.
pub(super) struct TextRows<R> {
    input: Decoded<R>,
    /// Bytes that are read. Those from `start` are not used yet.
    buffer: Vec<u8>,
    start: usize,
    ended: bool,
    separator: u8,
    /// `\r` in files of old Macintosh systems, otherwise `\n`.
    line_end: u8,
    /// Number of cells in a row, once it is known.
    pub(super) width: Option<usize>,
    /// True if an earlier row escaped quotation marks with a backslash, as MySQL and PHP do.
    escaped: bool,
    line: u64,
}

impl<R: Read> TextRows<R> {
    pub(super) fn new(input: R, encoding: &'static Encoding) -> Result<Self, ImportError> {
        let mut rows = Self {
            input: Decoded::new(input, encoding),
            buffer: Vec::new(),
            start: 0,
            ended: false,
            separator: b',',
            line_end: b'\n',
            width: None,
            escaped: false,
            line: 1,
        };
        rows.more()?;
        let head = &rows.buffer;
        if !head.contains(&b'\n') && head.contains(&b'\r') {
            rows.line_end = b'\r';
        }
        rows.separator = match separator_line(head) {
            Some((separator, length)) => {
                // Excel states the separator in the first line.
                rows.start = length;
                rows.line = 2;
                separator
            }
            None => guess_separator(head, rows.line_end),
        };
        Ok(rows)
    }

    /// The separator of cells.
    pub(super) fn separator(&self) -> u8 {
        self.separator
    }

    /// Number of bytes of the file that were read.
    pub(super) fn position(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.input.position)
    }

    /// Reads the next row into `cells`. `None` at the end. It skips blank lines.
    pub(super) fn next(&mut self, cells: &mut Cells) -> Result<Option<Found>, ImportError> {
        if self.start >= BLOCK_BYTES {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        loop {
            let Some(length) = self.line_length(self.start)? else {
                return Ok(None);
            };
            let line = self.line;
            let text = self.slice(self.start, length);
            if text.is_empty() {
                self.take(length, 1);
                continue;
            }
            if memchr::memchr(b'"', text).is_none() && !(self.escaped && has_backslash(text)) {
                split_plain(text, self.separator, cells);
                self.take(length, 1);
                return Ok(Some(Found::Row { line }));
            }
            return self.quoted(length, cells).map(Some);
        }
    }

    /// Reads a row with quotation marks, which may have several lines.
    fn quoted(&mut self, first_length: usize, cells: &mut Cells) -> Result<Found, ImportError> {
        let line = self.line;
        let (mut length, mut lines) = (first_length, 1);
        loop {
            let text = self.slice(self.start, length);
            let (closed, escaped) = split_marked(text, self.separator, self.width, self.escaped, cells);
            // In a row of several lines, a mark in the middle of a cell or a wrong number of cells shows that the first
            // mark was a stray one.
            let fine = match closed {
                Quoted::Neat => lines == 1 || self.width.is_none_or(|width| cells.len() == width),
                Quoted::Untidy => lines == 1,
                Quoted::Open => false,
            };
            if fine {
                self.escaped = escaped;
                self.take(length, lines);
                return Ok(Found::Row { line });
            }
            let next = if closed == Quoted::Open && lines < CELL_LINES_MAX && length < CELL_BYTES_MAX {
                self.line_length(self.start + length + 1)?
            } else {
                None
            };
            let Some(next) = next else {
                self.take(first_length, 1);
                return Ok(Found::Unclosed { line });
            };
            length += 1 + next;
            lines += 1;
        }
    }

    /// Length of the line that begins at `at`, without its end. `None` after the end of the file.
    fn line_length(&mut self, at: usize) -> Result<Option<usize>, ImportError> {
        let mut searched = at;
        loop {
            let unsearched = self.buffer.get(searched..).unwrap_or_default();
            if let Some(n) = memchr::memchr(self.line_end, unsearched) {
                return Ok(Some(searched + n - at));
            }
            let have = self.buffer.len();
            if self.ended {
                return Ok((at < have).then(|| have - at));
            }
            if have.saturating_sub(at) > LINE_BYTES_MAX {
                return Err(ImportError::LineTooLong { line: self.line });
            }
            searched = have.max(at);
            self.more()?;
        }
    }

    fn slice(&self, start: usize, length: usize) -> &[u8] {
        let text = self.buffer.get(start..start + length).unwrap_or_default();
        text.strip_suffix(b"\r").unwrap_or(text)
    }

    /// Marks lines as used, with the end of the last one.
    fn take(&mut self, length: usize, lines: usize) {
        self.start = (self.start + length + 1).min(self.buffer.len());
        self.line = self.line.saturating_add(lines as u64);
    }

    /// Reads more bytes and appends them to the buffer.
    fn more(&mut self) -> Result<(), ImportError> {
        let line = Some(self.line);
        let read = self.input.read_into(&mut self.buffer);
        if read.map_err(|err| ImportError::Read { line, err })? == 0 {
            self.ended = true;
        }
        Ok(())
    }
}

/// The separator of a first line such as `sep=;`, and the position of the second line.
fn separator_line(head: &[u8]) -> Option<(u8, usize)> {
    let (name, rest) = head.split_at_checked(4)?;
    let (separator, rest) = rest.split_first()?;
    let end = match rest {
        [b'\r', b'\n', ..] => 7,
        [b'\n', ..] => 6,
        _ => return None,
    };
    name.eq_ignore_ascii_case(b"sep=").then_some((*separator, end))
}

const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// The separator by which most of the first rows have the same number of cells, and more than one.
fn guess_separator(head: &[u8], line_end: u8) -> u8 {
    const LOOKED_AT: usize = 50;
    let mut best = (0, 0, b',');
    for separator in SEPARATORS {
        let mut widths = std::collections::BTreeMap::new();
        let mut cells = Cells::default();
        for line in head.split(|b| *b == line_end).take(LOOKED_AT) {
            if !line.is_empty()
                && split_quoted(line, separator, &mut cells) != Quoted::Open
                && cells.len() > 1
            {
                *widths.entry(cells.len()).or_insert(0) += 1;
            }
        }
        if let Some((width, rows)) = widths.into_iter().max_by_key(|(width, rows)| (*rows, *width))
            && (rows, width) > (best.0, best.1)
        {
            best = (rows, width, separator);
        }
    }
    best.2
}

/// Bytes of a file as UTF-8. Bytes that are not text in their encoding become U+FFFD. UTF-8 is passed on unchanged.
struct Decoded<R> {
    input: R,
    /// `None` for UTF-8.
    decoder: Option<Decoder>,
    block: Vec<u8>,
    begun: bool,
    position: Rc<Cell<u64>>,
}

impl<R: Read> Decoded<R> {
    fn new(input: R, encoding: &'static Encoding) -> Self {
        Self {
            input,
            decoder: (encoding != UTF_8).then(|| encoding.new_decoder_with_bom_removal()),
            block: vec![0; BLOCK_BYTES],
            begun: false,
            position: Rc::default(),
        }
    }

    /// Appends the next bytes. Returns their number, 0 at the end.
    fn read_into(&mut self, buffer: &mut Vec<u8>) -> std::io::Result<usize> {
        let had = buffer.len();
        while buffer.len() == had {
            let read = match self.input.read(&mut self.block) {
                Err(err) if err.kind() == std::io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            self.position.set(self.position.get().saturating_add(read as u64));
            let mut block = self.block.get(..read).unwrap_or_default();
            let Some(decoder) = &mut self.decoder else {
                if !self.begun {
                    block = block.strip_prefix(b"\xef\xbb\xbf").unwrap_or(block);
                    self.begun = true;
                }
                buffer.extend_from_slice(block);
                if read == 0 {
                    break;
                }
                continue;
            };
            decode(decoder, block, read == 0, buffer);
            if read == 0 {
                // A decoder panics if it is used again after its end.
                self.decoder = None;
                break;
            }
        }
        Ok(buffer.len() - had)
    }
}

fn decode(decoder: &mut Decoder, mut block: &[u8], last: bool, buffer: &mut Vec<u8>) {
    let mut text = String::with_capacity(block.len() * 3 + 16);
    loop {
        let (result, read, _) = decoder.decode_to_string(block, &mut text, last);
        block = block.get(read..).unwrap_or_default();
        match result {
            CoderResult::InputEmpty => break,
            CoderResult::OutputFull => text.reserve(block.len() * 3 + 16),
        }
    }
    buffer.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(file: &[u8], width: Option<usize>) -> Vec<String> {
        let mut rows = TextRows::new(file, UTF_8).unwrap();
        rows.width = width;
        let (mut cells, mut all) = (Cells::default(), Vec::new());
        while let Some(found) = rows.next(&mut cells).unwrap() {
            all.push(match found {
                Found::Row { line } => format!("{line}: {}", cells.iter().collect::<Vec<_>>().join("|")),
                Found::Unclosed { line } => format!("{line}: unclosed"),
            });
        }
        all
    }

    #[test]
    fn rows_are_read_by_the_rules() {
        let file = b"a,b\r\n\"x, y\",\"say \"\"hi\"\"\"\n\n\"two\nlines\",2\n,\nlast,row";
        assert_eq!(
            read(file, Some(2)),
            [
                "1: a|b",
                "2: x, y|say \"hi\"",
                "4: two\nlines|2",
                "6: |",
                "7: last|row"
            ]
        );
    }

    #[test]
    fn a_mark_that_is_never_closed_spoils_its_own_line_only() {
        let file = b"a,b\n\"Acme,1\nx,2\n\"neat\",3\ny,4\n";
        assert_eq!(
            read(file, Some(2)),
            ["1: a|b", "2: unclosed", "3: x|2", "4: neat|3", "5: y|4"]
        );
        let file = format!("a,b\n\"x,1\n{}", "y,2\n".repeat(100));
        let rows = read(file.as_bytes(), Some(2));
        assert_eq!((rows.len(), rows[1].as_str()), (102, "2: unclosed"));
    }

    #[test]
    fn marks_that_are_escaped_with_a_backslash_are_text() {
        let file = br#"name,phone,city
"Acme \"North\"",1,X
"Acme \"South, East\" Ltd",2,\N
"C:\\x \"",3,"two
\"lines\""
\N,4,"\N"
"#;
        assert_eq!(
            read(file, Some(3)),
            [
                "1: name|phone|city",
                "2: Acme \"North\"|1|X",
                "3: Acme \"South, East\" Ltd|2|",
                "4: C:\\x \"|3|two\n\"lines\"",
                "6: |4|"
            ]
        );
        // In RFC 4180 a backslash is a character like any other.
        let file = b"path,x\n\"C:\\new\\\",1\n\"D:\\\",\"2\"\n";
        assert_eq!(read(file, Some(2)), ["1: path|x", "2: C:\\new\\|1", "3: D:\\|2"]);
    }

    #[test]
    fn marks_within_cells_are_text() {
        assert_eq!(read(b"5\" pipe,x\n", None), ["1: 5\" pipe|x"]);
        assert_eq!(read(b"\"Bob\" Smith,x\n", None), ["1: Bob Smith|x"]);
    }

    #[test]
    fn separators_and_line_ends_are_recognised() {
        for separator in [",", ";", "\t", "|"] {
            let file = format!("name{separator}phone\n\"a, b; c\"{separator}2\n");
            assert_eq!(read(file.as_bytes(), None), ["1: name|phone", "2: a, b; c|2"]);
        }
        assert_eq!(read(b"sep=;\r\na,x;b\r\n", None), ["2: a,x|b"]);
        assert_eq!(read(b"a,b\rc,d\r", None), ["1: a|b", "2: c|d"]);
    }

    #[test]
    fn a_line_without_end_does_not_fill_the_memory() {
        let endless = b"a,b\n".chain(std::io::repeat(b'x').take(1 << 40));
        let mut rows = TextRows::new(endless, UTF_8).unwrap();
        let mut cells = Cells::default();
        assert!(rows.next(&mut cells).unwrap().is_some());
        assert!(matches!(
            rows.next(&mut cells),
            Err(ImportError::LineTooLong { line: 2 })
        ));
    }

    #[test]
    fn other_encodings_are_read_across_blocks() {
        let text = "号码,姓名\n".repeat(20_000);
        let (gbk, ..) = encoding_rs::GBK.encode(&text);
        let mut rows = TextRows::new(gbk.as_ref(), encoding_rs::GB18030).unwrap();
        let (mut cells, mut count) = (Cells::default(), 0);
        while rows.next(&mut cells).unwrap().is_some() {
            assert_eq!((cells.get(0), cells.get(1)), ("号码", "姓名"));
            count += 1;
        }
        assert_eq!(count, 20_000);
    }

    proptest! {
        #[test]
        fn a_written_value_is_read_back(
            rows in proptest::collection::vec(proptest::collection::vec("[a-z,\"\n ]{0,6}", 3), 1..20)
        ) {
            let quote = |cell: &String| format!("\"{}\"", cell.replace('"', "\"\""));
            let line = |row: &Vec<String>| row.iter().map(quote).collect::<Vec<_>>().join(",");
            let mut file = "\"one\",\"two\",\"three\"\n".to_owned();
            file.extend(rows.iter().map(|row| line(row) + "\n"));
            let mut reader = TextRows::new(file.as_bytes(), UTF_8).unwrap();
            reader.separator = b',';
            reader.width = Some(3);
            let mut cells = Cells::default();
            reader.next(&mut cells).unwrap();
            for row in &rows {
                let found = reader.next(&mut cells).unwrap();
                let is_row = matches!(found, Some(Found::Row { .. }));
                prop_assert!(is_row);
                prop_assert_eq!(&cells.iter().map(str::to_owned).collect::<Vec<_>>(), row);
            }
            prop_assert_eq!(reader.next(&mut cells).unwrap(), None);
        }

        #[test]
        fn any_bytes_end(file in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(read(&file, None).len() <= file.len());
        }
    }
}
