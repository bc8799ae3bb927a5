//! Reads the rows of a spreadsheet (.xlsx) as a stream. Only its table of shared texts is held in memory. In: a file.
//! Out: [`Cells`], row by row. The unpacked size is measured first, so that a zip bomb is refused.

use super::ImportError;
use super::cells::{Cells, Kind};
use super::format::Shown;
use super::text::LINE_BYTES_MAX;
use super::weigh::{self, TooMuch};
use calamine::{DataRef, Reader as _, SheetType, SheetVisible, Xlsx, XlsxError};
use std::io::{BufReader, Read, Seek};
use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};
use zip::ZipArchive;

/// Maximum memory that a spreadsheet may hold. A million rows with three texts each take about 200 MiB.
const HELD_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Only one spreadsheet that holds more than this is read at a time.
const LARGE_BYTES: u64 = 32 * 1024 * 1024;
static LARGE: Mutex<()> = Mutex::new(());
/// Parts that the reader keeps in memory, in whichever folder they are.
const KEPT: [&str; 5] = [
    "sharedstrings.xml",
    "styles.xml",
    "workbook.xml",
    "theme1.xml",
    ".rels",
];
/// Maximum unpacked size of one sheet. It is the largest that a spreadsheet program writes: 1,048,576 rows of some 50
/// columns.
const SHEET_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
const PARTS_MAX: usize = 10_000;

/// The sheet that is read, and the sheets that are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sheets {
    pub(super) chosen: String,
    pub(super) others: Vec<String>,
}

/// A spreadsheet being read.
pub(super) struct SheetRows<R: Read + Seek> {
    book: Xlsx<BufReader<R>>,
    /// Other large spreadsheets wait for this lock.
    _large: Option<MutexGuard<'static, ()>>,
    pub(super) sheets: Sheets,
}

impl<R: Read + Seek> SheetRows<R> {
    /// Measures the spreadsheet and opens it. It reads the sheet with the given name, otherwise the first one that is
    /// not hidden.
    pub(super) fn open(mut file: R, sheet: Option<&str>) -> Result<Self, ImportError> {
        let held = measure(&mut file, HELD_BYTES_MAX)?;
        let large = (held > LARGE_BYTES).then(|| LARGE.lock().unwrap_or_else(PoisonError::into_inner));
        file.rewind()
            .map_err(|err| ImportError::Read { line: None, err })?;
        let book = contained(|| Xlsx::new(BufReader::new(file)).map_err(damaged))?;
        let all = book.sheets_metadata();
        let is_sheet = |s: &&calamine::Sheet| s.typ == SheetType::WorkSheet;
        let names = || all.iter().filter(is_sheet).map(|s| s.name.clone());
        let chosen = match sheet {
            Some(name) => names().find(|n| n == name).ok_or_else(|| ImportError::NoSheet {
                sheets: names().collect::<Vec<_>>().join("`, `"),
            })?,
            None => all
                .iter()
                .filter(is_sheet)
                .find(|s| s.visible == SheetVisible::Visible)
                .map(|s| s.name.clone())
                .ok_or(ImportError::Empty)?,
        };
        let others = names().filter(|n| *n != chosen).collect();
        Ok(Self {
            sheets: Sheets { chosen, others },
            book,
            _large: large,
        })
    }

    /// Calls `each` for every row, with its number and the part of the sheet that is read (0 to 1000), until `each`
    /// breaks.
    pub(super) fn rows(
        &mut self,
        each: impl FnMut(u64, u32, &Cells) -> ControlFlow<()>,
    ) -> Result<(), ImportError> {
        contained(|| self.read(each))
    }

    fn read(&mut self, mut each: impl FnMut(u64, u32, &Cells) -> ControlFlow<()>) -> Result<(), ImportError> {
        let mut reader = match self.book.worksheet_cells_reader(&self.sheets.chosen) {
            Ok(reader) => reader,
            // An empty sheet may have no element for rows.
            Err(XlsxError::XmlEof(_)) => return Ok(()),
            Err(err) => return Err(damaged(err)),
        };
        let rows = u64::from(reader.dimensions().end.0).saturating_add(1);
        let (mut cells, mut row) = (Cells::default(), None);
        let done = |row: u32| {
            let part = u64::from(row).saturating_mul(1000).checked_div(rows);
            u32::try_from(part.unwrap_or(0).min(1000)).unwrap_or(1000)
        };
        // The styles that show more of a whole number than its digits. Few do.
        let code = |style: &calamine::Style| Shown::new(&style.number_format.as_ref()?.format_code);
        let shown: Vec<Option<Shown>> = reader.styles().iter().map(code).collect();
        while let Some((cell, style)) = reader.next_cell_with_style_id().map_err(damaged)? {
            let (at, column) = cell.get_position();
            if matches!(cell.get_value(), DataRef::Empty) {
                continue;
            }
            if row != Some(at) {
                if let Some(row) = row
                    && each(u64::from(row) + 1, done(row), &cells).is_break()
                {
                    return Ok(());
                }
                cells.clear();
                row = Some(at);
            }
            let column = usize::try_from(column).unwrap_or(usize::MAX).min(COLUMNS_MAX);
            while cells.len() < column {
                cells.push("", Kind::Text);
            }
            push(
                &mut cells,
                cell.get_value(),
                shown.get(style).and_then(Option::as_ref),
            );
            // A shared text takes little space in the file, but it may be in every cell.
            if cells.bytes() > LINE_BYTES_MAX {
                return Err(ImportError::LineTooLong {
                    line: u64::from(at) + 1,
                });
            }
        }
        if let Some(row) = row {
            // This is the last row, so the answer does not matter.
            let _ = each(u64::from(row) + 1, 1000, &cells);
        }
        Ok(())
    }
}

/// Maximum number of columns in a spreadsheet program.
const COLUMNS_MAX: usize = 16_384;

fn push(cells: &mut Cells, value: &DataRef<'_>, shown: Option<&Shown>) {
    /// Below this, every whole number has all of its digits, because spreadsheets keep 15.
    const EXACT_MAX: f64 = 1e15;
    match value {
        DataRef::String(text) => cells.push(text, Kind::Text),
        DataRef::SharedString(text) => cells.push(text, Kind::Text),
        DataRef::Int(n) => match (shown, u64::try_from(*n)) {
            (Some(shown), Ok(n)) => cells.push(&shown.show(n), Kind::Text),
            _ => cells.push(&n.to_string(), Kind::Text),
        },
        DataRef::Float(n) if n.abs() >= EXACT_MAX => cells.push(&n.to_string(), Kind::Rounded),
        // A number without a fraction is written without one.
        DataRef::Float(n) => {
            let text = n.to_string();
            match (shown, text.parse()) {
                (Some(shown), Ok(n)) => cells.push(&shown.show(n), Kind::Text),
                _ => cells.push(&text, Kind::Text),
            }
        }
        DataRef::Bool(yes) => cells.push(if *yes { "true" } else { "false" }, Kind::Text),
        DataRef::DateTime(at) if at.is_datetime() => {
            let (year, month, day, hour, minute, second, _) = at.to_ymd_hms_milli();
            let mut text = format!("{year:04}-{month:02}-{day:02}");
            if (hour, minute, second) != (0, 0, 0) {
                text.push_str(&format!(" {hour:02}:{minute:02}:{second:02}"));
            }
            cells.push(&text, Kind::Date);
        }
        DataRef::DateTime(span) => cells.push(&span.as_f64().to_string(), Kind::Date),
        DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => cells.push(text, Kind::Date),
        DataRef::Error(_) => cells.push("", Kind::Fault),
        DataRef::Empty => cells.push("", Kind::Text),
    }
}

/// Bytes of memory that the spreadsheet will take. They are measured by unpacking it without keeping anything, because
/// the sizes that an archive states may be false.
fn measure(file: &mut (impl Read + Seek), held_bytes_max: u64) -> Result<u64, ImportError> {
    let bomb = |what| Err(ImportError::Bomb { what });
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|_| ImportError::DamagedSheet)?;
    if archive.len() > PARTS_MAX {
        return bomb("more than 10,000 parts");
    }
    if archive.index_for_name("xl/workbook.xml").is_none() && !has_workbook(&archive) {
        let what = "a zip archive, but no Excel workbook";
        let instead = "unpack it, and import the list in it as .xlsx or CSV UTF-8";
        return Err(ImportError::OtherKind { what, instead });
    }
    let (mut held, mut block) = (0_u64, vec![0_u8; 64 * 1024]);
    for index in 0..archive.len() {
        let mut part = archive.by_index(index).map_err(|_| ImportError::DamagedSheet)?;
        let name = part
            .name()
            .map_err(|_| ImportError::DamagedSheet)?
            .to_ascii_lowercase();
        // Pictures and similar parts are never opened.
        if !name.ends_with(".xml") && !name.ends_with(".rels") {
            continue;
        }
        // The archive can declare any part to be a workbook, so parts of these names are never measured as a sheet.
        let sheet = name.contains("/worksheets/") && !KEPT.iter().any(|kept| name.ends_with(kept));
        let (mut part_weight, mut bytes, mut first) = (weigh::Part::default(), 0_u64, true);
        loop {
            let read = part.read(&mut block).map_err(|_| ImportError::DamagedSheet)?;
            let unpacked = block.get(..read).unwrap_or_default();
            if unpacked.is_empty() {
                break;
            }
            if first && name.ends_with("sharedstrings.xml") && !honest_count(unpacked) {
                return bomb("a false number of texts");
            }
            first = false;
            bytes = bytes.saturating_add(read as u64);
            if part_weight.feed(unpacked) == Err(TooMuch::Stretch) {
                return bomb("a text of more than 1 MiB");
            }
            if bytes > SHEET_BYTES_MAX {
                return bomb("more than 4 GiB in one sheet");
            }
            if held.saturating_add(part_weight.weight(sheet)) > held_bytes_max {
                return bomb("more than 256 MiB of texts and styles");
            }
        }
        held = held.saturating_add(part_weight.weight(sheet));
    }
    Ok(held)
}

fn has_workbook<R: Read + Seek>(archive: &ZipArchive<R>) -> bool {
    archive
        .file_names()
        .any(|name| name.is_ok_and(|name| name.to_ascii_lowercase().ends_with("workbook.xml")))
}

/// True if the stated number of shared texts is plausible. The reader reserves memory for that number.
fn honest_count(head: &[u8]) -> bool {
    const TEXTS_MAX: u64 = 20_000_000;
    let head = head.get(..4096).unwrap_or(head);
    let text = String::from_utf8_lossy(head);
    let counts = text.split("niqueCount").skip(1).map(|rest| {
        let digits: String = rest
            .chars()
            .skip_while(|c| !c.is_ascii_digit())
            .take_while(char::is_ascii_digit)
            .collect();
        digits.parse::<u64>().unwrap_or(u64::MAX)
    });
    counts.into_iter().all(|count| count <= TEXTS_MAX)
}

/// The reader of spreadsheets may panic if a file has content that no spreadsheet program writes.
fn contained<T>(work: impl FnOnce() -> Result<T, ImportError>) -> Result<T, ImportError> {
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    done.unwrap_or(Err(ImportError::DamagedSheet))
}

fn damaged(err: XlsxError) -> ImportError {
    match err {
        XlsxError::Io(err) => ImportError::Read { line: None, err },
        XlsxError::Password => ImportError::OtherKind {
            what: "a spreadsheet with a password",
            instead: "save it without one",
        },
        // Any other message may quote a cell.
        _ => ImportError::DamagedSheet,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Cursor, Write as _};

    fn book(shared: &str) -> Cursor<Vec<u8>> {
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, text) in [
            ("xl/workbook.xml", "<workbook/>"),
            ("xl/sharedStrings.xml", shared),
        ] {
            archive
                .start_file(name, zip::write::SimpleFileOptions::default())
                .unwrap();
            archive.write_all(text.as_bytes()).unwrap();
        }
        archive.finish().unwrap()
    }

    #[test]
    fn a_file_that_would_fill_the_memory_is_refused_before_it_is_unpacked() {
        let texts = "<si><t>a</t></si>".repeat(10_000);
        let measured = |shared: &str, max| measure(&mut book(shared), max);
        assert!(measured(&texts, 1_000_000).is_ok());
        assert!(matches!(measured(&texts, 100_000), Err(ImportError::Bomb { .. })));
        let stretch = format!("<si><t>{}</t></si>", "a".repeat(2_000_000));
        assert!(matches!(
            measured(&stretch, u64::MAX),
            Err(ImportError::Bomb { .. })
        ));
        for (count, honest) in [
            ("12", true),
            ("99999999999", false),
            ("184467440737095516150", false),
        ] {
            let head = format!("<sst uniqueCount=\"{count}\">{texts}</sst>");
            assert_eq!(measured(&head, u64::MAX).is_ok(), honest, "{count}");
        }
    }

    #[test]
    fn a_panic_of_the_reader_is_a_damaged_file() {
        let broken = contained::<()>(|| panic!("as a reader may"));
        assert!(matches!(broken, Err(ImportError::DamagedSheet)));
    }

    #[test]
    fn a_row_that_would_fill_the_memory_is_refused() {
        let cell = |column: char| {
            let text = "a".repeat(500_000);
            format!("<c r=\"{column}1\" t=\"inlineStr\"><is><t>{text}</t></is></c>")
        };
        let office = "http://schemas.openxmlformats.org";
        let read = |columns: &str| {
            let row: String = columns.chars().map(cell).collect();
            let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
            for (name, text) in [
                (
                    "_rels/.rels",
                    format!(
                        "<Relationships xmlns=\"{office}/package/2006/relationships\"><Relationship Id=\"rId1\" \
                         Type=\"{office}/officeDocument/2006/relationships/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>"
                    ),
                ),
                (
                    "xl/workbook.xml",
                    format!(
                        "<workbook xmlns=\"{office}/spreadsheetml/2006/main\" xmlns:r=\"{office}/officeDocument/2006/relationships\">\
                         <sheets><sheet name=\"a\" sheetId=\"1\" r:id=\"rId1\"/></sheets></workbook>"
                    ),
                ),
                (
                    "xl/_rels/workbook.xml.rels",
                    format!(
                        "<Relationships xmlns=\"{office}/package/2006/relationships\"><Relationship Id=\"rId1\" \
                         Type=\"{office}/officeDocument/2006/relationships/worksheet\" Target=\"worksheets/sheet1.xml\"/></Relationships>"
                    ),
                ),
                (
                    "xl/worksheets/sheet1.xml",
                    format!(
                        "<worksheet xmlns=\"{office}/spreadsheetml/2006/main\"><sheetData><row r=\"1\">{row}</row></sheetData></worksheet>"
                    ),
                ),
            ] {
                archive
                    .start_file(name, zip::write::SimpleFileOptions::default())
                    .unwrap();
                archive.write_all(text.as_bytes()).unwrap();
            }
            let mut rows = SheetRows::open(archive.finish().unwrap(), None).unwrap();
            rows.rows(|_, _, _| ControlFlow::Continue(()))
        };
        assert!(read("AB").is_ok());
        assert!(matches!(read("ABC"), Err(ImportError::LineTooLong { line: 1 })));
    }
}
