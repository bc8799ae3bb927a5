//! A checked contact file: its kind, its header, and the meaning of its columns. In: a file and the user's settings.
//! Out: a [`ContactFile`], whose rows can be read several times.

use super::ImportError;
use super::cells::Cells;
use super::contact::visible;
use super::header::{Columns, Mapping, names_number};
use super::look::{FileKind, Looked, look};
use super::sheet::SheetRows;
use super::text::{Found, TextRows};
use crate::numbers::allowed::Allowed;
use crate::numbers::{Notation, NumberError, is_region, normalise};
use encoding_rs::{Encoding, GB18030, GBK};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Seek};
use std::ops::ControlFlow;

/// The header must be within this number of rows.
const HEADER_WITHIN_ROWS: usize = 50;
/// The first rows, by which Paceline judges how numbers are written: at most this number of rows and of bytes.
const FIRST_ROWS: usize = 500;
const FIRST_BYTES: usize = 4 * 1024 * 1024;
/// If at least `UNCLEAR_MIN` of them, and at least one in `UNCLEAR_ONE_IN`, can be read in two ways, the user must
/// state how they are written.
const UNCLEAR_MIN: u64 = 3;
const UNCLEAR_ONE_IN: u64 = 20;

/// The user's settings for a file. They are stored with the import, and a resumed import uses the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Region of numbers without a country code (ISO 3166-1).
    pub region: Option<String>,
    /// The encoding, by its name on the web. Guessed if `None`.
    pub encoding: Option<String>,
    /// The sheet of a spreadsheet. The first visible one if `None`.
    pub sheet: Option<String>,
    /// The meaning of columns. Guessed for columns that it does not name.
    pub mapping: Mapping,
    /// Notation of numbers without a `+`.
    pub numbers: Notation,
    /// Countries whose numbers are accepted (ISO 3166-1), or [`ANY_COUNTRY`](crate::numbers::allowed::ANY_COUNTRY). If `None`: the region, and a
    /// country that the row states; without a region, every country.
    pub countries: Option<Vec<String>>,
    /// True if premium-rate numbers are accepted.
    pub premium_rate: bool,
}

/// The findings about a file, for the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shape {
    /// `csv` or `xlsx`.
    pub format: &'static str,
    /// The encoding of a text file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<&'static str>,
    /// True if the encoding is a guess.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub encoding_guessed: bool,
    /// The separator of a text file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<char>,
    /// The sheet that is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sheet: Option<String>,
    /// The sheets that are not read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub other_sheets: Vec<String>,
    /// The line of the header, from 1. `None` if the user said that there is none.
    pub header_line: Option<u64>,
    /// Number of rows above the header, which are left out.
    #[serde(skip_serializing_if = "is_zero")]
    pub rows_above_header: u64,
    /// The meaning of the columns.
    pub columns: Columns,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// A file that can be imported.
#[derive(Debug)]
pub struct ContactFile {
    file: File,
    looked: Looked,
    settings: Settings,
    shape: Shape,
}

/// The ways in which the first numbers of a column can be read, with the count of each.
#[derive(Clone, Copy, Default)]
struct Looks {
    clear: u64,
    either: u64,
    plus_missing: u64,
}

/// A row of the file.
pub(super) enum Entry<'a> {
    Row(&'a Cells),
    /// A line with a quotation mark that is never closed.
    Unclosed,
}

impl ContactFile {
    /// Checks a file. It reads the whole file once, so do not call it from an async task.
    pub fn open(file: File, settings: Settings) -> Result<Self, ImportError> {
        if settings
            .region
            .as_deref()
            .is_some_and(|region| !is_region(region))
        {
            return Err(ImportError::Region(NumberError::UnknownRegion));
        }
        let countries = settings.countries.as_deref().unwrap_or_default();
        if let Some(country) = Allowed::unknown(countries) {
            return Err(ImportError::NoSuchCountry {
                country: country.clone(),
            });
        }
        let encoding = match &settings.encoding {
            None => None,
            Some(label) => {
                let known = Encoding::for_label(label.as_bytes()).ok_or(ImportError::NoSuchEncoding)?;
                Some(if known == GBK { GB18030 } else { known })
            }
        };
        let looked = look(from_start(&file)?, encoding, settings.region.as_deref())?;
        let (mut first, mut width, mut separator, mut sheets) = (Vec::new(), 0, None, None);
        let mut bytes = 0_usize;
        let mut gather = |line: u64, cells: &Cells| {
            width = width.max(cells.len());
            bytes = bytes.saturating_add(cells.bytes());
            first.push((line, cells.clone()));
            let enough = first.len() >= HEADER_WITHIN_ROWS && bytes >= FIRST_BYTES;
            if first.len() < FIRST_ROWS && !enough {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        };
        match looked.kind {
            FileKind::Text { encoding, .. } => {
                let mut rows = TextRows::new(from_start(&file)?, encoding)?;
                separator = Some(char::from(rows.separator()));
                let mut cells = Cells::default();
                while let Some(found) = rows.next(&mut cells)? {
                    if let Found::Row { line } = found
                        && !cells.is_blank()
                        && gather(line, &cells).is_break()
                    {
                        break;
                    }
                }
            }
            FileKind::Xlsx => {
                let mut rows = SheetRows::open(from_start(&file)?, settings.sheet.as_deref())?;
                rows.rows(|line, _, cells| {
                    if cells.is_blank() {
                        return ControlFlow::Continue(());
                    }
                    gather(line, cells)
                })?;
                sheets = Some(rows.sheets);
            }
        }
        let head = first.iter().take(HEADER_WITHIN_ROWS);
        let head: Vec<Line> = head
            .map(|(line, cells)| (*line, cells.iter().map(visible).collect()))
            .collect();
        let (header_line, rows_above_header, columns) = find_header(&head, width, &settings)?;
        let (encoding, encoding_guessed) = match looked.kind {
            FileKind::Text { encoding, guessed } => (Some(encoding.name()), guessed),
            FileKind::Xlsx => (None, false),
        };
        let shape = Shape {
            format: if sheets.is_some() { "xlsx" } else { "csv" },
            encoding,
            encoding_guessed,
            separator,
            other_sheets: sheets.as_ref().map(|s| s.others.clone()).unwrap_or_default(),
            sheet: sheets.map(|s| s.chosen),
            header_line,
            rows_above_header,
            columns,
        };
        let opened = Self {
            file,
            looked,
            settings,
            shape,
        };
        opened.ask_how_numbers_are_written(&first)?;
        Ok(opened)
    }

    /// A column of international numbers without `+` looks like one of national numbers of another country. If many of
    /// a column's first numbers can be read in two ways, the user must state how they are written.
    fn ask_how_numbers_are_written(&self, first: &[(u64, Cells)]) -> Result<(), ImportError> {
        if self.settings.numbers != Notation::Unstated {
            return Ok(());
        }
        let mut checker = super::checker(self, super::Counted::default())?;
        let mut columns = vec![Looks::default(); self.shape.columns.numbers.len()];
        let header = self.shape.header_line.unwrap_or(0);
        for (_, cells) in first.iter().filter(|(line, _)| *line > header) {
            let Some((column, read)) = checker.written(cells) else {
                continue;
            };
            let Some(looks) = columns.get_mut(column) else {
                continue;
            };
            match read {
                Ok(_) => looks.clear += 1,
                Err(NumberError::Ambiguous { .. }) => looks.either += 1,
                Err(NumberError::PlusMissing { .. }) => looks.plus_missing += 1,
                Err(_) => {}
            }
        }
        let region = self.settings.region.clone().unwrap_or_default();
        for (column, looks) in self.shape.columns.numbers.iter().zip(columns) {
            let unclear = looks.either + looks.plus_missing;
            let all = unclear + looks.clear;
            if unclear >= UNCLEAR_MIN && unclear * UNCLEAR_ONE_IN >= all {
                return Err(ImportError::HowWritten {
                    column: column.header.clone(),
                    all,
                    either: looks.either,
                    plus_missing: looks.plus_missing,
                    region,
                });
            }
        }
        Ok(())
    }

    /// The findings about the file.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The user's settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// SHA-256 of the whole file.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.looked.sha256
    }

    /// Calls `each` for every row below the header, with its line and the part of the file that is read (0 to 1000),
    /// until `each` breaks. Returns the number of blank rows.
    pub(super) fn rows(
        &self,
        mut each: impl FnMut(u64, u32, Entry<'_>) -> ControlFlow<()>,
    ) -> Result<u64, ImportError> {
        let header = self.shape.header_line.unwrap_or(0);
        let mut blank = 0_u64;
        match self.looked.kind {
            FileKind::Text { encoding, .. } => {
                let mut rows = TextRows::new(from_start(&self.file)?, encoding)?;
                let position = rows.position();
                let mut cells = Cells::default();
                while let Some(found) = rows.next(&mut cells)? {
                    let (line, entry) = match found {
                        Found::Row { line } if line <= header => {
                            if line == header {
                                rows.width = Some(self.shape.columns.width);
                            }
                            continue;
                        }
                        Found::Row { .. } if cells.is_blank() => {
                            blank += 1;
                            continue;
                        }
                        Found::Row { line } => (line, Entry::Row(&cells)),
                        Found::Unclosed { line } if line <= header => continue,
                        Found::Unclosed { line } => (line, Entry::Unclosed),
                    };
                    let done = position
                        .get()
                        .saturating_mul(1000)
                        .checked_div(self.looked.bytes)
                        .unwrap_or(1000)
                        .min(1000);
                    if each(line, u32::try_from(done).unwrap_or(1000), entry).is_break() {
                        break;
                    }
                }
            }
            FileKind::Xlsx => {
                let mut rows = SheetRows::open(from_start(&self.file)?, self.settings.sheet.as_deref())?;
                rows.rows(|line, done, cells| {
                    if line <= header {
                        return ControlFlow::Continue(());
                    }
                    if cells.is_blank() {
                        blank += 1;
                        return ControlFlow::Continue(());
                    }
                    each(line, done, Entry::Row(cells))
                })?;
            }
        }
        Ok(blank)
    }
}

/// The file from its beginning. Use only one reader at a time: all readers share one file position.
fn from_start(mut file: &File) -> Result<impl Read + Seek, ImportError> {
    file.rewind()
        .map_err(|err| ImportError::Read { line: None, err })?;
    Ok(file)
}

type Line = (u64, Vec<String>);

/// The line of the header, the number of rows above it, and the meaning of its columns.
fn find_header(
    first: &[Line],
    width: usize,
    settings: &Settings,
) -> Result<(Option<u64>, u64, Columns), ImportError> {
    let Some((line, cells)) = first.first() else {
        return Err(ImportError::Empty);
    };
    let mapping = &settings.mapping;
    let region = settings.region.as_deref();
    if mapping.no_header {
        let names: Vec<_> = (1..=width).map(|n| format!("column {n}")).collect();
        let mut mapping = mapping.clone();
        if mapping.number.is_none()
            && let Some(index) = looks_like_numbers(first, region)
        {
            mapping.add(&format!("number=#{}", index + 1)).ok();
        }
        return Ok((None, 0, Columns::guess(&names, &mapping)?));
    }
    if let Some(above) = first
        .iter()
        .position(|(_, cells)| is_header(cells, mapping, region))
        && let Some((line, cells)) = first.get(above)
    {
        return Ok((Some(*line), above as u64, Columns::guess(cells, mapping)?));
    }
    // Otherwise the first contact would be lost as a header, and a message would repeat its number as a column's name.
    if let Some(index) = cells.iter().position(|cell| is_number(cell, region)) {
        return Err(ImportError::NoHeader {
            line: *line,
            column: index + 1,
        });
    }
    if mapping.number.is_some() {
        // The user named the column by its place, or by a header that does not exist; the second gives an error.
        return Ok((Some(*line), 0, Columns::guess(cells, mapping)?));
    }
    match looks_like_numbers(first.get(1..).unwrap_or_default(), region) {
        Some(index) => Err(ImportError::NumberColumnUnnamed {
            column: index + 1,
            header: cells.get(index).cloned().unwrap_or_default(),
        }),
        None => Err(ImportError::NoNumberColumn),
    }
}

/// True for a header row: one of its cells is the header that the user named. If the user named none: one of its cells
/// is a known name for numbers, and no cell is a number. `mobile` is such a name, but it may also be the kind of a
/// contact's number.
fn is_header(cells: &[String], mapping: &Mapping, region: Option<&str>) -> bool {
    match mapping.number_is_named(cells) {
        Some(named) => named,
        None => names_number(cells) && !cells.iter().any(|cell| is_number(cell, region)),
    }
}

fn is_number(cell: &str, region: Option<&str>) -> bool {
    match normalise(cell, region) {
        Ok(_) => true,
        Err(error) if error.is_doubt() => true,
        Err(NumberError::NoCountry) => cell.chars().filter(char::is_ascii_digit).count() >= 8,
        Err(_) => false,
    }
}

/// The column with numbers in most rows.
fn looks_like_numbers(rows: &[Line], region: Option<&str>) -> Option<usize> {
    let width = rows.iter().map(|(_, cells)| cells.len()).max()?;
    let numbers = |index: usize| {
        let cells = rows.iter().filter_map(|(_, cells)| cells.get(index));
        cells.filter(|cell| is_number(cell, region)).count()
    };
    // The leftmost of equal columns.
    let best = (0..width).rev().max_by_key(|index| numbers(*index))?;
    (numbers(best) * 2 > rows.len()).then_some(best)
}
