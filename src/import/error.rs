//! Why a file cannot be imported, and what to do about it. Nothing of such a file is kept.

use crate::numbers::NumberError;
use crate::store::StoreError;

/// A file that cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be opened or read on.
    #[error("cannot read the file{}", .line.map(|n| format!(" on from line {n}")).unwrap_or_default())]
    Read {
        /// How far reading came.
        line: Option<u64>,
        /// The cause.
        #[source]
        err: std::io::Error,
    },
    /// Nothing in it.
    #[error("the file is empty: its first line must name the columns, one of them `number`")]
    Empty,
    /// Something else.
    #[error("the file is {what}: {instead}")]
    OtherKind {
        /// What it is.
        what: &'static str,
        /// What to do.
        instead: &'static str,
    },
    /// A spreadsheet that would fill the memory.
    #[error("the spreadsheet is too large when unpacked ({what}): save it as CSV UTF-8")]
    Bomb {
        /// Of what there is too much.
        what: &'static str,
    },
    /// A spreadsheet that breaks its own rules.
    #[error("the spreadsheet is damaged: open it and save it again, or save it as CSV UTF-8")]
    DamagedSheet,
    /// There is another.
    #[error("there is no sheet of that name; there are `{sheets}`")]
    NoSheet {
        /// Those that there are.
        sheets: String,
    },
    /// Unknown label.
    #[error("unknown encoding: use a name such as utf-8, windows-1252, gb18030, shift_jis, utf-16le")]
    NoSuchEncoding,
    /// A line of numbers where names should be.
    #[error(
        "line {line} should name the columns, but has a telephone number in column {column}: put a line above it that names \
         them, or say that there is none (`--no-header`; in the API `no_header=true`)"
    )]
    NoHeader {
        /// Where the header should be.
        line: u64,
        /// Where the number is, from 1.
        column: usize,
    },
    /// No column can be the number.
    #[error(
        "no column is called `number`, `phone` or the like, and none has telephone numbers in most rows: say which it is \
         (`--column number=HEADER`; in the API `number_column=HEADER`), or check that this is the right file"
    )]
    NoNumberColumn,
    /// One looks like it.
    #[error(
        "no column is called `number`, `phone` or the like. Column {column}, `{header}`, has telephone numbers: if they are \
         the ones to call, say so (`--column number=#{column}`; in the API `number_column=#{column}`)"
    )]
    NumberColumnUnnamed {
        /// From 1.
        column: usize,
        /// What it is called.
        header: String,
    },
    /// Named, and not there.
    #[error("there is no column `{column}`; there are `{columns}`")]
    NoSuchColumn {
        /// What was asked for.
        column: String,
        /// What there is.
        columns: String,
    },
    /// One would overwrite the other.
    #[error(
        "two columns are called `{header}`: rename one, or leave one out (`--column ignore=#{place}`; in the API \
         `ignore_columns=#{place}`)"
    )]
    TwoColumnsOfOneName {
        /// Their name.
        header: String,
        /// Where the second is, from 1.
        place: usize,
    },
    /// Too wide.
    #[error("{columns} columns; at most {max} can be imported: take out what calls do not need")]
    TooManyColumns {
        /// How many there are.
        columns: usize,
        /// How many there may be.
        max: usize,
    },
    /// Its name is no name.
    #[error("the name of column {column} is longer than {max} bytes: is the header in that line? Shorten it")]
    HeaderTooLong {
        /// Which, from 1.
        column: usize,
        /// How long it may be.
        max: usize,
    },
    /// Too long.
    #[error("line {line} is longer than 1 MiB: is this a list with one contact a line?")]
    LineTooLong {
        /// Line number, from 1.
        line: u64,
    },
    /// No such region.
    #[error("the default region cannot be used")]
    Region(#[source] NumberError),
    /// A country that no number plan is known for.
    #[error(
        "`{country}` is not a country: write two letters (ISO 3166-1) such as US, several separated by commas, or `any`"
    )]
    NoSuchCountry {
        /// What was written.
        country: String,
    },
    /// Its numbers can be read in two ways.
    #[error(
        "column `{column}`: of its first {all} numbers, {either} can be read as national numbers in {region} and as international \
         ones without their +, and {plus_missing} only as international ones. Say which they are: `--numbers national` or \
         `--numbers international` (in the API `numbers=…`)"
    )]
    HowWritten {
        /// The column's header.
        column: String,
        /// Numbers looked at.
        all: u64,
        /// Those that can be both.
        either: u64,
        /// Those that can only be numbers of elsewhere.
        plus_missing: u64,
        /// Where national numbers would be.
        region: String,
    },
    /// What is kept with the import.
    #[error("the findings about the file cannot be stored")]
    Settings(#[source] serde_json::Error),
    /// It was begun with another.
    #[error("this is not the file of the stopped import: use the same file, or start a new import")]
    OtherFile,
    /// It runs, or is over.
    #[error("only a stopped import can be resumed: check its state")]
    NotStopped,
    /// The store failed.
    #[error("the store could not write the contacts; none of them is visible; try again")]
    Store(#[source] StoreError),
    /// The reading thread is gone.
    #[error("the file could not be read to its end and may be damaged: save it again as CSV UTF-8")]
    Gone,
}

impl ImportError {
    /// Whether the fault is the file's, or of what was said of it.
    pub fn is_of_file(&self) -> bool {
        !matches!(self, Self::Store(_) | Self::Settings(_) | Self::Gone)
    }
}
