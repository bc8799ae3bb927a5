//! Splits a line of text into cells. In: bytes, which may be several lines if a cell has several. Out: [`Cells`], and
//! whether their quotation marks are well-formed.

use super::super::cells::Cells;

/// Splits a line without quotation marks.
pub(super) fn split_plain(text: &[u8], separator: u8, cells: &mut Cells) {
    cells.clear();
    let mut start = 0;
    for end in memchr::memchr_iter(separator, text) {
        cells.push_bytes(unless_null(text.get(start..end).unwrap_or_default()));
        start = end + 1;
    }
    cells.push_bytes(unless_null(text.get(start..).unwrap_or_default()));
}

/// Exports of databases write `\N` for a null value.
fn unless_null(cell: &[u8]) -> &[u8] {
    if cell == b"\\N" { b"" } else { cell }
}

pub(super) fn has_backslash(text: &[u8]) -> bool {
    memchr::memchr(b'\\', text).is_some()
}

/// Splits a line with quotation marks by RFC 4180. If only escaping by a backslash gives well-formed cells, or an
/// earlier row was escaped in that way (`escaped`), it uses that. Returns the end of the row, and `escaped` for the
/// next row.
pub(super) fn split_marked(
    text: &[u8],
    separator: u8,
    width: Option<usize>,
    escaped: bool,
    cells: &mut Cells,
) -> (Quoted, bool) {
    let backslash = has_backslash(text);
    if escaped && backslash && split_escaped(text, separator, cells) == Quoted::Neat {
        return (Quoted::Neat, true);
    }
    let by_rules = split_quoted(text, separator, cells);
    if by_rules == Quoted::Neat || !backslash || memchr::memmem::find(text, b"\\\"").is_none() {
        return (by_rules, escaped);
    }
    let fits = |cells: &Cells| width.is_none_or(|width| cells.len() == width);
    let fitted = fits(cells);
    match split_escaped(text, separator, cells) {
        Quoted::Neat if fits(cells) => return (Quoted::Neat, true),
        // The row continues in the next line.
        Quoted::Open if escaped || !fitted => return (Quoted::Open, escaped),
        Quoted::Neat | Quoted::Untidy | Quoted::Open => {}
    }
    (split_quoted(text, separator, cells), escaped)
}

/// Splits a line in which a backslash removes the meaning of the next character.
fn split_escaped(text: &[u8], separator: u8, cells: &mut Cells) -> Quoted {
    cells.clear();
    let (mut ended, mut cell) = (Quoted::Neat, Vec::new());
    let mut bytes = text.iter().copied().peekable();
    loop {
        cell.clear();
        let marked = bytes.next_if_eq(&b'"').is_some();
        let (mut open, mut null, mut more) = (marked, false, false);
        while let Some(byte) = bytes.next() {
            match byte {
                b'\\' => match bytes.next() {
                    Some(b'N') if cell.is_empty() => null = true,
                    Some(b'n') => cell.push(b'\n'),
                    Some(b't') => cell.push(b'\t'),
                    Some(b'r') => cell.push(b'\r'),
                    Some(b'0') => {}
                    Some(other) => cell.push(other),
                    None => cell.push(b'\\'),
                },
                b'"' if open && bytes.next_if_eq(&b'"').is_some() => cell.push(b'"'),
                b'"' if open => open = false,
                _ if byte == separator && !open => {
                    more = true;
                    break;
                }
                _ => {
                    if marked && !open && !byte.is_ascii_whitespace() {
                        ended = Quoted::Untidy;
                    }
                    cell.push(byte);
                }
            }
        }
        if open {
            return Quoted::Open;
        }
        cells.push_bytes(if null && cell.is_empty() { b"" } else { &cell });
        if !more {
            cells.escaped = true;
            return ended;
        }
    }
}

/// The end of a row with quotation marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quoted {
    /// Well-formed (RFC 4180, section 2).
    Neat,
    /// With text after a closing mark. The text is kept.
    Untidy,
    /// In a cell whose mark is still open.
    Open,
}

/// Splits a line with quotation marks by RFC 4180. A mark in a cell that does not begin with one is text.
pub(super) fn split_quoted(text: &[u8], separator: u8, cells: &mut Cells) -> Quoted {
    cells.clear();
    let (mut rest, mut ended) = (text, Quoted::Neat);
    let mut cell = Vec::new();
    loop {
        cell.clear();
        if let Some(inside) = rest.strip_prefix(b"\"") {
            let mut inside = inside;
            loop {
                let Some(mark) = memchr::memchr(b'"', inside) else {
                    return Quoted::Open;
                };
                let (before, after) = inside.split_at_checked(mark).unwrap_or((inside, &[]));
                cell.extend_from_slice(before);
                let after = after.get(1..).unwrap_or_default();
                match after.strip_prefix(b"\"") {
                    Some(after) => {
                        cell.push(b'"');
                        inside = after;
                    }
                    None => {
                        rest = after;
                        break;
                    }
                }
            }
        }
        let end = memchr::memchr(separator, rest);
        let tail = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        if rest.len() < text.len() && !cell.is_empty() && !tail.trim_ascii().is_empty() {
            ended = Quoted::Untidy;
        }
        cell.extend_from_slice(tail);
        cells.push_bytes(unless_null(&cell));
        match end {
            Some(end) => rest = rest.get(end + 1..).unwrap_or_default(),
            None => return ended,
        }
    }
}
