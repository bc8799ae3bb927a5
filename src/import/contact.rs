//! Converts a row of a contact file to a contact. In: [`Cells`] and the meaning of the columns. Out: a
//! [`StagedContact`], or a [`StagedReject`] with the reason; repairs are counted. It does not use the file or the
//! store.

mod fields;
mod numbers;

use super::cells::{Cells, Kind};
use super::file::{Entry, Settings};
use super::header::{Column, Columns};
use crate::numbers::allowed::Allowed;
use crate::numbers::{NumberError, Numbered, Plan};
use crate::store::{StagedContact, StagedReject};
use paceline_core::contact::{Contact, Label};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Maximum length of a cell in characters.
const CELL_CHARS_MAX: usize = 1000;
/// Maximum length of a number's label, which is the start of the column's header, in characters.
const LABEL_CHARS: usize = 100;

/// Checks the rows of a file, one after the other.
pub(super) struct Checker<'a> {
    columns: &'a Columns,
    /// The attributes' names as JSON, in the columns' order.
    keys: Vec<String>,
    /// Columns that must be blank.
    nameless: Vec<usize>,
    /// The labels of numbers, in the order of their columns. Empty if there is only one such column.
    labels: Vec<Option<Label>>,
    plan: Plan,
    allowed: Allowed,
    encoding: &'a str,
    /// The last valid time zone. Most rows repeat it, so it is not checked again.
    zone_known: String,
    /// Fields of this row that cannot be read, by header. They are kept as attributes.
    unread: Vec<(String, String)>,
    /// Number of repaired cells by kind of repair.
    pub(super) repairs: BTreeMap<Cow<'static, str>, u64>,
    /// Number of rows by the country and kind of their first number.
    pub(super) numbers: Counts,
}

/// Counts by country and kind of number.
pub(super) type Counts = BTreeMap<String, BTreeMap<String, u64>>;

/// The column with a fault, and the reason.
type Fault = (Option<String>, String);

impl<'a> Checker<'a> {
    /// `encoding` is for messages. Counting continues from the given counts.
    pub(super) fn new(
        columns: &'a Columns,
        settings: &Settings,
        encoding: &'a str,
        repairs: BTreeMap<String, u64>,
        numbers: Counts,
    ) -> Result<Self, NumberError> {
        let plan = Plan::new(settings.region.as_deref(), settings.numbers)?;
        let key = |c: &Column| serde_json::to_string(&c.header).unwrap_or_default();
        Ok(Self {
            columns,
            keys: columns.attributes.iter().map(key).collect(),
            nameless: (0..columns.width).filter(|n| columns.is_nameless(*n)).collect(),
            labels: labels(columns),
            plan,
            allowed: Allowed::new(settings.countries.as_deref(), settings.premium_rate, &plan),
            encoding,
            zone_known: String::new(),
            unread: Vec::new(),
            repairs: repairs
                .into_iter()
                .map(|(what, count)| (Cow::Owned(what), count))
                .collect(),
            numbers,
        })
    }

    /// The contact of a line, or its rejection.
    pub(super) fn entry(&mut self, line: u64, entry: &Entry<'_>) -> Result<StagedContact, StagedReject> {
        match entry {
            Entry::Row(cells) => self.row(line, cells),
            Entry::Unclosed => Err(StagedReject {
                line,
                field: None,
                reason: "a quotation mark is opened and never closed: close it, or take it out".to_owned(),
            }),
        }
    }

    fn row(&mut self, line: u64, cells: &Cells) -> Result<StagedContact, StagedReject> {
        self.contact(line, cells)
            .map_err(|(field, reason)| StagedReject { line, field, reason })
    }

    fn contact(&mut self, line: u64, cells: &Cells) -> Result<StagedContact, Fault> {
        self.fits(cells)?;
        self.unread.clear();
        if cells.escaped {
            self.repaired("repaired: quotation marks escaped with a backslash");
        }
        let (first, numbers, country) = self.numbers(cells)?;
        if let Some(repair) = first.repair {
            self.repaired(repair.as_str());
        }
        let mut contact = Contact {
            numbers,
            ..Contact::default()
        };
        contact.address.country = country;
        self.fields(cells, &mut contact)?;
        let attributes = self.attributes(cells)?;
        self.count(&first);
        Ok(StagedContact {
            line,
            contact,
            attributes,
        })
    }

    /// Fails if a cell has no column, or its column has no name.
    fn fits(&self, cells: &Cells) -> Result<(), Fault> {
        let width = self.columns.width;
        // Spreadsheets write empty cells far to the right.
        if (width..cells.len()).any(|n| !cells.get(n).trim().is_empty()) {
            let has = cells.len();
            let reason = format!(
                "{has} columns, but the header has {width}: put quotation marks around cells that hold a separator"
            );
            return Err((None, reason));
        }
        let nameless = |n: &usize| {
            let text = cells.get(*n);
            !text.is_empty() && self.nameless.contains(n) && !text.trim().is_empty()
        };
        if !self.nameless.is_empty()
            && let Some(n) = (0..width).find(nameless)
        {
            let reason = format!(
                "a value in column {0}, which has no name in the header: name it, or say that it is to be ignored",
                n + 1
            );
            return Err((None, reason));
        }
        Ok(())
    }

    /// The attributes as a JSON object. It is built by hand because most rows have the same names in the same order,
    /// which is faster.
    fn attributes(&mut self, cells: &Cells) -> Result<String, Fault> {
        let columns = self.columns;
        let mut json = String::from("{");
        for (n, column) in columns.attributes.iter().enumerate() {
            if cells.kind(column.index) == Kind::Fault {
                self.repaired("left blank: an error of the spreadsheet, such as #N/A");
            }
            let value = self.text(cells, column)?;
            if value.is_empty() {
                continue;
            }
            let key = self.keys.get(n).map_or("\"\"", String::as_str);
            add(&mut json, key, &value);
        }
        for (header, value) in &self.unread {
            // A column that is also an attribute is in the object already.
            if !columns.attributes.iter().any(|column| column.header == *header) {
                add(&mut json, &quoted(header), value);
            }
        }
        json.push('}');
        Ok(json)
    }

    /// A cell without surrounding spaces and invisible characters.
    fn text<'c>(&mut self, cells: &'c Cells, column: &Column) -> Result<Cow<'c, str>, Fault> {
        let at = |reason: String| (Some(column.header.clone()), reason);
        let text = cells.get(column.index).trim();
        if text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
            return if text.len() > CELL_CHARS_MAX {
                Err(at(too_long()))
            } else {
                Ok(Cow::Borrowed(text))
            };
        }
        if text.contains('\u{fffd}') {
            return Err(at(format!(
                "has characters that are damaged, or no {} text",
                self.encoding
            )));
        }
        let text = if text.contains(is_invisible) {
            self.repaired("repaired: invisible characters taken out");
            let visible: String = text
                .chars()
                .filter(|c| !is_invisible(*c) || c.is_whitespace())
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect();
            Cow::Owned(visible.trim().to_owned())
        } else {
            Cow::Borrowed(text)
        };
        if text.len() > CELL_CHARS_MAX && text.chars().count() > CELL_CHARS_MAX {
            return Err(at(too_long()));
        }
        Ok(text)
    }

    fn count(&mut self, first: &Numbered) {
        let kinds = self.numbers.entry(first.country.to_string()).or_default();
        *kinds.entry(first.kind.as_str().to_owned()).or_default() += 1;
    }

    fn repaired(&mut self, what: &'static str) {
        *self.repairs.entry(Cow::Borrowed(what)).or_default() += 1;
    }
}

/// Adds a field to a JSON object.
fn add(json: &mut String, key: &str, value: &str) {
    if json.len() > 1 {
        json.push(',');
    }
    json.push_str(key);
    json.push(':');
    if value.bytes().all(|b| b >= b' ' && b != b'"' && b != b'\\') {
        json.push('"');
        json.push_str(value);
        json.push('"');
    } else {
        json.push_str(&quoted(value));
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned())
}

fn labels(columns: &Columns) -> Vec<Option<Label>> {
    if columns.numbers.len() < 2 {
        return Vec::new();
    }
    let label = |c: &Column| Label::new(&c.header.chars().take(LABEL_CHARS).collect::<String>()).ok();
    columns.numbers.iter().map(label).collect()
}

fn too_long() -> String {
    format!("longer than {CELL_CHARS_MAX} characters")
}

/// The text without invisible characters.
pub(super) fn visible(cell: &str) -> String {
    cell.chars()
        .filter(|c| !is_invisible(*c) || c.is_whitespace())
        .collect()
}

/// Control characters, and marks of width or direction that are copied together with text.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{ad}')
}
