//! Contact files into contact lists. In: a CSV file. Out: contacts in the store, all or none of them, and a word on each
//! row that was not taken. Start at [`rows::Rows`].

pub mod header;
pub mod rows;

use crate::numbers::NumberError;

pub use crate::store::NewContact;

/// A file that cannot be imported. Nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be opened or read on.
    #[error("cannot read the file at line {line}; nothing was imported")]
    Read {
        /// How far reading came.
        line: u64,
        /// Why not.
        #[source]
        err: std::io::Error,
    },
    /// Nothing in it.
    #[error("the file is empty: its first line must name the columns, one of them `number`")]
    Empty,
    /// No text, or text in another encoding.
    #[error("the file is no UTF-8 text: export it again as `CSV UTF-8`")]
    NotUtf8Text,
    /// No column can be the number.
    #[error(
        "no column is called `number`, `phone` or the like: the first line must name the columns, so add or change it"
    )]
    NoNumberColumn,
    /// What it holds could not be kept.
    #[error("column {column} has no name: name it in the first line, or take it out")]
    UnnamedColumn {
        /// From 1.
        column: usize,
    },
    /// One would overwrite the other.
    #[error("two columns are called `{header}`: rename one of them")]
    TwoColumnsOfOneName {
        /// Their name.
        header: String,
    },
    /// Too wide.
    #[error("{columns} columns; at most {max} can be imported")]
    TooManyColumns {
        /// How many there are.
        columns: usize,
        /// How many there may be.
        max: usize,
    },
    /// Too long.
    #[error(
        "the row at line {line} does not end within 1 MiB: is a quotation mark never closed? Nothing was imported"
    )]
    RecordTooLong {
        /// Where it begins.
        line: u64,
    },
    /// No such region.
    #[error("the region cannot be used")]
    Region(#[source] NumberError),
}
