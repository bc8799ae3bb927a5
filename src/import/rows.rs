//! Reads a contact file row by row, in constant memory. In: bytes. Out: a [`Row`] each, checked. Knows no store.

use super::ImportError;
use super::header::{Column, Columns};
use crate::numbers::{NumberError, normalise};
use crate::store::NewContact;
use csv::{ByteRecord, ReaderBuilder};
use serde::Serialize;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::rc::Rc;

/// Longest cell that is kept.
const CELL_CHARS_MAX: usize = 1000;
/// Longest record; past it, a quotation mark was never closed.
const RECORD_BYTES_MAX: u64 = 1024 * 1024;
/// How much of the file is looked at to find out what separates its columns.
const HEAD_BYTES_MAX: u64 = 64 * 1024;

/// A contact file being read.
pub struct Rows<R: Read> {
    reader: csv::Reader<Bounded<std::io::Chain<Cursor<Vec<u8>>, R>>>,
    since_record: Rc<Cell<u64>>,
    columns: Columns,
    width: usize,
    record: ByteRecord,
    default_region: Option<String>,
    /// The last time zone that was found to exist: most rows repeat it.
    zone_known: String,
}

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// It can be called.
    Contact(NewContact),
    /// It cannot.
    Rejected(Rejection),
}

/// A row that cannot be taken, without what stands in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rejection {
    /// Where the row begins, from 1, the header included.
    pub line: u64,
    /// The header of the column at fault; none where it is the whole row.
    pub column: Option<String>,
    /// Why, in words.
    pub reason: String,
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.column {
            Some(column) => write!(f, "line {}, column `{column}`: {}", self.line, self.reason),
            None => write!(f, "line {}: {}", self.line, self.reason),
        }
    }
}

impl<R: Read> Rows<R> {
    /// Reads the header. `default_region` is for numbers without a country code.
    pub fn open(mut input: R, default_region: Option<&str>) -> Result<Self, ImportError> {
        if let Some(region) = default_region
            && !crate::numbers::is_region(region)
        {
            return Err(ImportError::Region(NumberError::UnknownRegion));
        }
        let mut head = Vec::new();
        let read = input.by_ref().take(HEAD_BYTES_MAX).read_to_end(&mut head);
        read.map_err(|err| ImportError::Read { line: 1, err })?;
        if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) || head.contains(&0) {
            return Err(ImportError::NotUtf8Text);
        }
        if head.starts_with(&[0xef, 0xbb, 0xbf]) {
            head.drain(..3);
        }
        let separator = guess_separator(&head);
        let since_record = Rc::new(Cell::new(0));
        let bounded = Bounded {
            inner: Cursor::new(head).chain(input),
            since_record: Rc::clone(&since_record),
        };
        let mut reader = ReaderBuilder::new()
            .delimiter(separator)
            .has_headers(false)
            .flexible(true)
            .from_reader(bounded);
        let mut record = ByteRecord::new();
        let read = reader.read_byte_record(&mut record);
        if !read.map_err(|err| read_error(1, err))? {
            return Err(ImportError::Empty);
        }
        let header: Option<Vec<String>> = record
            .iter()
            .map(|cell| std::str::from_utf8(cell).ok().map(str::to_owned))
            .collect();
        let header = header.ok_or(ImportError::NotUtf8Text)?;
        Ok(Self {
            columns: Columns::guess(&header)?,
            width: header.len(),
            reader,
            since_record,
            record,
            default_region: default_region.map(str::to_owned),
            zone_known: String::new(),
        })
    }

    /// What the columns mean.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// How much of the file was read, at least.
    pub fn bytes_read(&self) -> u64 {
        self.reader.position().byte()
    }

    /// The next row; none at the end. An error ends the file: what follows cannot be trusted.
    pub fn next_row(&mut self) -> Result<Option<Row>, ImportError> {
        self.since_record.set(0);
        let line = self.reader.position().line();
        let read = self.reader.read_byte_record(&mut self.record);
        if !read.map_err(|err| read_error(line, err))? {
            return Ok(None);
        }
        let line = self.record.position().map_or(line, csv::Position::line);
        Ok(Some(match self.contact() {
            Ok(contact) => Row::Contact(contact),
            Err((column, reason)) => Row::Rejected(Rejection { line, column, reason }),
        }))
    }

    fn contact(&mut self) -> Result<NewContact, (Option<String>, String)> {
        // Spreadsheets write empty cells far to the right.
        if self
            .record
            .iter()
            .skip(self.width)
            .any(|cell| !cell.trim_ascii().is_empty())
        {
            let (has, header) = (self.record.len(), self.width);
            let reason = format!(
                "{has} columns, but the header has {header}: put quotation marks around cells that hold a separator"
            );
            return Err((None, reason));
        }
        let cell = |column: &Column| cell(&self.record, column);
        let at = |column: &Column, reason: String| (Some(column.header.clone()), reason);

        let columns = &self.columns;
        let number = normalise(cell(&columns.number)?, self.default_region.as_deref())
            .map_err(|err| at(&columns.number, err.to_string()))?;
        let name = match &columns.name {
            Some(column) => Some(cell(column)?).filter(|n| !n.is_empty()).map(str::to_owned),
            None => None,
        };
        let zone = match &columns.time_zone {
            Some(column) => Some((column, cell(column)?)).filter(|(_, zone)| !zone.is_empty()),
            None => None,
        };
        if let Some((column, zone)) = zone
            && zone != self.zone_known
        {
            if jiff::tz::TimeZone::get(zone).is_err() {
                let reason = "not an IANA time zone: write one such as America/New_York";
                return Err(at(column, reason.to_owned()));
            }
            self.zone_known = zone.to_owned();
        }
        let mut attributes = BTreeMap::new();
        for column in &columns.attributes {
            let value = cell(column)?;
            if !value.is_empty() {
                attributes.insert(column.header.clone(), value.to_owned());
            }
        }
        Ok(NewContact {
            number,
            name,
            time_zone: zone.map(|(_, zone)| zone.to_owned()),
            attributes,
        })
    }
}

/// A cell as text, without the space around it; a missing cell is empty.
fn cell<'r>(record: &'r ByteRecord, column: &Column) -> Result<&'r str, (Option<String>, String)> {
    let wrong = |reason: String| (Some(column.header.clone()), reason);
    let bytes = record.get(column.index).unwrap_or_default();
    let text = std::str::from_utf8(bytes)
        .map_err(|_| wrong("not UTF-8 text".to_owned()))?
        .trim();
    // Bytes are an upper bound of characters, and cheap.
    if text.len() > CELL_CHARS_MAX && text.chars().count() > CELL_CHARS_MAX {
        return Err(wrong(format!("longer than {CELL_CHARS_MAX} characters")));
    }
    Ok(text)
}

/// The separator that the first line has most of, outside quotation marks.
fn guess_separator(head: &[u8]) -> u8 {
    let mut quoted = false;
    let line = head.split(|b| *b == b'\n').next().unwrap_or(head);
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0), (b'|', 0)];
    for byte in line {
        if *byte == b'"' {
            quoted = !quoted;
        }
        for (separator, count) in &mut counts {
            if !quoted && byte == separator {
                *count += 1;
            }
        }
    }
    let mut best = (b',', 0);
    for candidate in counts {
        if candidate.1 > best.1 {
            best = candidate;
        }
    }
    best.0
}

fn read_error(line: u64, err: csv::Error) -> ImportError {
    match err.into_kind() {
        csv::ErrorKind::Io(err) if err.kind() == std::io::ErrorKind::FileTooLarge => {
            ImportError::RecordTooLong { line }
        }
        csv::ErrorKind::Io(err) => ImportError::Read { line, err },
        // The reader is set to take rows of any width and any bytes, so this is not reached.
        other => ImportError::Read {
            line,
            err: std::io::Error::other(format!("{other:?}")),
        },
    }
}

/// Refuses to read on where one record has had enough.
struct Bounded<R> {
    inner: R,
    since_record: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.since_record.get() > RECORD_BYTES_MAX {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        let read = self.inner.read(buffer)?;
        self.since_record
            .set(self.since_record.get().saturating_add(read as u64));
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(file: &[u8]) -> Result<Vec<Row>, ImportError> {
        let mut rows = Rows::open(file, Some("US"))?;
        let mut all = Vec::new();
        while let Some(row) = rows.next_row()? {
            all.push(row);
        }
        Ok(all)
    }

    fn show(rows: &[Row]) -> String {
        let show = |row: &Row| match row {
            Row::Contact(c) => {
                let attributes: Vec<_> = c.attributes.iter().map(|(k, v)| format!("{k}={v}")).collect();
                let (name, zone) = (c.name.as_deref(), c.time_zone.as_deref());
                let (name, zone) = (name.unwrap_or("-"), zone.unwrap_or("-"));
                let line = format!("{} {name} {zone} {}", c.number.expose(), attributes.join(","));
                line.trim_end().to_owned()
            }
            Row::Rejected(rejection) => rejection.to_string(),
        };
        rows.iter().map(show).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn good_rows_are_read_and_bad_ones_named_without_their_numbers() {
        let file = "\u{feff}Name;Phone;Time Zone;City\r\n\
            Contact 1;(202) 555-0123;America/New_York;\"Washington; DC\"\r\n\
            Contact 2;202-555-01;;\r\n\
            \r\n\
            ;+1 202 555 0124;;;;\r\n\
            Contact 4;2025550125;New York;\r\n\
            \"Contact\r\n5\";2025550126;;;one too many\r\n\
            Contact 6;;;\r\n";
        insta::assert_snapshot!(show(&read(file.as_bytes()).unwrap()), @"
        +12025550123 Contact 1 America/New_York City=Washington; DC
        line 2, column `Phone`: too short for its country
        +12025550124 - -
        line 5, column `Time Zone`: not an IANA time zone: write one such as America/New_York
        line 6: 5 columns, but the header has 4: put quotation marks around cells that hold a separator
        line 8, column `Phone`: empty
        ");
    }

    #[test]
    fn every_usual_separator_is_recognised() {
        for separator in [",", ";", "\t", "|"] {
            let file = format!("\"a, b; c\"{separator}phone\nx{separator}2025550123\n");
            let rows = read(file.as_bytes()).unwrap();
            assert!(
                matches!(rows.as_slice(), [Row::Contact(c)] if c.attributes.len() == 1),
                "{file}"
            );
        }
    }

    #[test]
    fn text_in_another_encoding_is_refused_or_its_row_rejected() {
        assert!(matches!(read(b"\xff\xfen\0u\0"), Err(ImportError::NotUtf8Text)));
        assert!(matches!(read(b""), Err(ImportError::Empty)));
        let latin = read(b"number,name\n2025550123,Caf\xe9\n2025550124,x\n").unwrap();
        insta::assert_snapshot!(show(&latin), @"
        line 2, column `name`: not UTF-8 text
        +12025550124 x -
        ");
    }

    #[test]
    fn a_quotation_mark_that_is_never_closed_does_not_fill_the_memory() {
        let head = b"number,name\n2025550123,ok\n2025550124,\"".as_slice();
        let endless = head.chain(std::io::repeat(b'x').take(1 << 40));
        let mut rows = Rows::open(endless, Some("US")).unwrap();
        assert!(matches!(rows.next_row(), Ok(Some(Row::Contact(_)))));
        assert!(matches!(
            rows.next_row(),
            Err(ImportError::RecordTooLong { line: 3 })
        ));
    }

    #[test]
    fn a_long_cell_and_an_unknown_region_are_refused() {
        let file = format!("number,note\n2025550123,{}\n", "é".repeat(1001));
        assert_eq!(
            show(&read(file.as_bytes()).unwrap()),
            "line 2, column `note`: longer than 1000 characters"
        );
        let error = Rows::open(b"number\n".as_slice(), Some("us")).err();
        assert!(matches!(error, Some(ImportError::Region(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_rows_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut file = b"number,name,x\n".to_vec();
            file.extend(bytes);
            if let Ok(rows) = read(&file) {
                prop_assert!(rows.len() <= file.len());
            }
        }
    }
}
