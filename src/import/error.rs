//! The reasons why a file cannot be imported, and what to do. A file that cannot be read to its end leaves nothing in
//! the store.

use crate::numbers::NumberError;
use crate::store::StoreError;

/// A file that cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be opened, or reading failed.
    #[error("cannot read the file{}", .line.map(|n| format!(" on from line {n}")).unwrap_or_default())]
    Read {
        /// The line that was reached, from 1. `None` if it is not known.
        line: Option<u64>,
        /// The cause.
        #[source]
        err: std::io::Error,
    },
    /// The file is empty.
    #[error("the file is empty: its first line must name the columns, one of them `number`")]
    Empty,
    /// The file is of another kind, for example a PDF.
    #[error("the file is {what}: {instead}")]
    OtherKind {
        /// The kind of file.
        what: &'static str,
        /// The advice.
        instead: &'static str,
    },
    /// The spreadsheet would use too much memory or is too large when unpacked.
    #[error("the spreadsheet is too large when unpacked ({what}): save it as CSV UTF-8")]
    Bomb {
        /// The part that is too large.
        what: &'static str,
    },
    /// The spreadsheet does not follow its file format.
    #[error("the spreadsheet is damaged: open it and save it again, or save it as CSV UTF-8")]
    DamagedSheet,
    /// There is no sheet with the given name.
    #[error("there is no sheet of that name; there are `{sheets}`")]
    NoSheet {
        /// The sheets that exist.
        sheets: String,
    },
    /// There is no encoding of the given name.
    #[error("unknown encoding: use a name such as utf-8, windows-1252, gb18030, shift_jis, utf-16le")]
    NoSuchEncoding,
    /// The header line has a telephone number.
    #[error(
        "line {line} should name the columns, but has a telephone number in column {column}: put a line above it that names \
         them, or say that there is none (`--no-header`; in the API `no_header=true`)"
    )]
    NoHeader {
        /// The line, from 1.
        line: u64,
        /// The column of the number, from 1.
        column: usize,
    },
    /// No header names a column of numbers, and no column has numbers in most rows.
    #[error(
        "no column is called `number`, `phone` or the like, and none has telephone numbers in most rows: say which it is \
         (`--column number=HEADER`; in the API `number_column=HEADER`), or check that this is the right file"
    )]
    NoNumberColumn,
    /// A column has numbers, but its header does not say so.
    #[error(
        "no column is called `number`, `phone` or the like. Column {column}, `{header}`, has telephone numbers: if they are \
         the ones to call, say so (`--column number=#{column}`; in the API `number_column=#{column}`)"
    )]
    NumberColumnUnnamed {
        /// The column, from 1.
        column: usize,
        /// The column's header.
        header: String,
    },
    /// The user named a column that does not exist.
    #[error("there is no column `{column}`; there are `{columns}`")]
    NoSuchColumn {
        /// The column that the user named.
        column: String,
        /// The columns that exist.
        columns: String,
    },
    /// Two attributes have the same header, so one would overwrite the other.
    #[error(
        "two columns are called `{header}`: rename one, or leave one out (`--column ignore=#{place}`; in the API \
         `ignore_columns=#{place}`)"
    )]
    TwoColumnsOfOneName {
        /// The header.
        header: String,
        /// The second column, from 1.
        place: usize,
    },
    /// The file has too many columns.
    #[error("{columns} columns; at most {max} can be imported: take out what calls do not need")]
    TooManyColumns {
        /// Number of columns in the file.
        columns: usize,
        /// Maximum number of columns.
        max: usize,
    },
    /// A column's header is too long.
    #[error("the name of column {column} is longer than {max} bytes: is the header in that line? Shorten it")]
    HeaderTooLong {
        /// The column, from 1.
        column: usize,
        /// Maximum length in bytes.
        max: usize,
    },
    /// A line is too long.
    #[error("line {line} is longer than 1 MiB: is this a list with one contact a line?")]
    LineTooLong {
        /// Line number, from 1.
        line: u64,
    },
    /// There is no number plan for the default region.
    #[error("the default region cannot be used")]
    Region(#[source] NumberError),
    /// There is no number plan for a country of the `countries` option.
    #[error(
        "`{country}` is not a country: write two letters (ISO 3166-1) such as US, several separated by commas, or `any`"
    )]
    NoSuchCountry {
        /// The text that the user gave.
        country: String,
    },
    /// Many numbers of a column can be read in two ways.
    #[error(
        "column `{column}`: of its first {all} numbers, {either} can be read as national numbers in {region} and as international \
         ones without their +, and {plus_missing} only as international ones. Say which they are: `--numbers national` or \
         `--numbers international` (in the API `numbers=…`)"
    )]
    HowWritten {
        /// The column's header.
        column: String,
        /// Number of numbers that were examined.
        all: u64,
        /// Number of those that can be read in both ways.
        either: u64,
        /// Number of those that can only be international numbers.
        plus_missing: u64,
        /// The region of national numbers.
        region: String,
    },
    /// The settings or the findings cannot be converted to JSON.
    #[error("the findings about the file cannot be stored")]
    Settings(#[source] serde_json::Error),
    /// The import was begun with another file.
    #[error("this is not the file of the stopped import: use the same file, or start a new import")]
    OtherFile,
    /// The import is not stopped.
    #[error("only a stopped import can be resumed: check its state")]
    NotStopped,
    /// The store failed.
    #[error("the store could not write the contacts; none of them is visible; try again")]
    Store(#[source] StoreError),
    /// The reading thread panicked.
    #[error("the file could not be read to its end and may be damaged: save it again as CSV UTF-8")]
    Gone,
}

impl ImportError {
    /// True if the fault is in the file or in the settings, and not in the store or in Paceline.
    pub fn is_of_file(&self) -> bool {
        !matches!(self, Self::Store(_) | Self::Settings(_) | Self::Gone)
    }
}
