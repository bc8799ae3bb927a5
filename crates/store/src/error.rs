//! The errors of the store. They contain no personal data: a database's own error may quote values, so an error here
//! keeps only the parts that are known to contain none.

use paceline_core::ids::{CampaignId, ContactId, ImportId, TaskId};

/// A failing operation of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL is not one of SQLite or PostgreSQL.
    #[error("the database must be `sqlite:PATH` or `postgres://USER@HOST/DATABASE`")]
    Url,
    /// The database could not be opened.
    #[error("cannot open the database; check that it exists, can be reached, and accepts this user")]
    Open(#[source] DbError),
    /// The schema could not be updated.
    #[error("cannot update the schema of the database; restore the backup, or run the version that wrote it")]
    Migrate(#[source] DbError),
    /// Reading the campaigns for the dialer failed.
    #[error("cannot read campaigns to dial")]
    DialCampaigns(#[source] DbError),
    /// Reading the open attempts and agents of the last run failed.
    #[error("cannot read what the last run left open in campaign {campaign}")]
    Recover {
        /// The campaign.
        campaign: CampaignId,
        /// The cause.
        #[source]
        source: DbError,
    },
    /// Leasing contacts failed.
    #[error("cannot lease contacts of campaign {campaign}")]
    Lease {
        /// The campaign.
        campaign: CampaignId,
        /// Contacts that may be leased although the commit failed, because its result is unknown. Give them back.
        in_doubt: Vec<(TaskId, ContactId)>,
        /// The cause.
        #[source]
        source: DbError,
    },
    /// Giving back leased contacts failed.
    #[error("cannot give leased contacts back")]
    GiveBack(#[source] DbError),
    /// Any other read or write failed.
    #[error("cannot {doing}")]
    Query {
        /// The failed operation, for example `list tasks`.
        doing: &'static str,
        /// The cause.
        #[source]
        source: DbError,
    },
    /// Another row has the same unique value, such as a name or an extension.
    #[error("this name is already in use; choose another")]
    Taken,
    /// A trunk of the list does not exist or is listed twice.
    #[error("trunk {index} of the list does not exist or is listed twice; correct or remove it")]
    NoTrunk {
        /// Its position in the list; the first is 0.
        index: usize,
    },
    /// The task's contact list does not exist or is empty.
    #[error("the contact list of task {index} does not exist or is empty; add contacts first")]
    EmptyList {
        /// The task's position among the requested tasks; the first is 0.
        index: usize,
    },
    /// A task with one of these idempotency keys exists.
    #[error("a task with this idempotency key exists; read it, or use a new key")]
    IdempotencyKeyTaken,
    /// The campaign does not exist.
    #[error("there is no such campaign; create it first")]
    NoCampaign,
    /// The contact list does not exist.
    #[error("there is no such contact list; create it first")]
    NoList,
    /// Another import into the list has not ended.
    #[error("import {import} into the same list has not ended; publish, resume or cancel it first")]
    ListBusy {
        /// The other import.
        import: ImportId,
    },
    /// The suppression lists were made with another key, or no key was given.
    #[error(
        "the key of the suppression lists is missing, or it is another one: restore its file from a backup"
    )]
    SuppressionKey,
    /// A list never changes its kind.
    #[error("the list has another kind; delete it first, or choose another name")]
    OtherKind,
    /// The process is stopping.
    #[error("the process is stopping; try again after its restart")]
    Stopped,
    /// Some items of a piece of work failed. The others are done.
    #[error("{items} failed, and everything else was done")]
    Items {
        /// The items that failed, such as `import 4`.
        items: String,
        /// The cause of the first failure.
        #[source]
        source: Box<StoreError>,
    },
    /// No checkpoint of the ledger can be published.
    #[error("cannot publish a checkpoint of the ledger")]
    Ledger(#[source] Box<super::LedgerError>),
    /// The import does not exist, or another worker has it now.
    #[error("there is no such import; start one")]
    NoImport,
}

/// The failed items of a piece of work. One item that cannot be done, such as an import with an unreadable row, must not stop
/// the others.
#[derive(Debug, Default)]
pub struct Failures {
    items: Vec<String>,
    first: Option<StoreError>,
}

impl Failures {
    /// Notes the failure of an item.
    pub fn note(&mut self, item: impl Into<String>, error: StoreError) {
        self.items.push(item.into());
        self.first.get_or_insert(error);
    }

    /// [`StoreError::Items`] if an item has failed.
    pub fn none(self) -> Result<(), StoreError> {
        const NAMED_MAX: usize = 10;
        let Some(first) = self.first else { return Ok(()) };
        let mut items = self.items;
        let others = items.len().saturating_sub(NAMED_MAX);
        items.truncate(NAMED_MAX);
        let mut items = items.join(", ");
        if others > 0 {
            items.push_str(&format!(" and {others} more"));
        }
        Err(StoreError::Items {
            items,
            source: Box::new(first),
        })
    }
}

/// The reason why a transaction stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The database failed.
    Db(DbError),
    /// The request cannot be carried out.
    Refused(StoreError),
}

impl From<DbError> for Stop {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl Stop {
    /// Converts a unique violation to `means`, and keeps any other error.
    pub(crate) fn if_unique(error: DbError, means: StoreError) -> Self {
        match error.kind {
            DbErrorKind::Unique => Self::Refused(means),
            _ => Self::Db(error),
        }
    }
}

/// The result of deleting a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// The row is deleted.
    Done,
    /// The row does not exist.
    Missing,
    /// The row is in use and was not deleted.
    InUse,
}

/// A database error without the values that it may have quoted.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct DbError {
    pub(crate) kind: DbErrorKind,
    text: String,
}

/// The kind of a database error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DbErrorKind {
    /// A unique constraint was violated.
    Unique,
    /// Another row refers to this row, or this row refers to one that does not exist.
    ForeignKey,
    /// Another constraint was violated, or a value does not fit its column: the same statement will fail again.
    Value,
    /// A stored value is not one that this version writes.
    Decode,
    /// Any failure that may end with time or by an operator's action: connection, lock, disk, permissions.
    Passing,
}

impl DbError {
    pub(crate) fn new(kind: DbErrorKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
    }

    /// The error for a stored value that this version does not understand.
    pub(crate) fn decode(what: &'static str) -> Self {
        Self::new(
            DbErrorKind::Decode,
            format!("a stored {what} is not one that this version writes"),
        )
    }

    /// True if the same transaction may succeed later.
    pub fn is_passing(&self) -> bool {
        self.kind == DbErrorKind::Passing
    }
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => from_database(&*error),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Self::decode("value"),
            sqlx::Error::Io(error) => {
                Self::new(DbErrorKind::Passing, format!("connection: {}", error.kind()))
            }
            sqlx::Error::PoolTimedOut => Self::new(DbErrorKind::Passing, "no connection became free in time"),
            sqlx::Error::PoolClosed => Self::new(DbErrorKind::Passing, "the store is closed"),
            sqlx::Error::WorkerCrashed => Self::new(DbErrorKind::Passing, "the connection's thread ended"),
            sqlx::Error::Protocol(_) => Self::new(DbErrorKind::Passing, "the connection broke the protocol"),
            sqlx::Error::Tls(_) => Self::new(DbErrorKind::Passing, "TLS could not be set up"),
            sqlx::Error::Configuration(_) => {
                Self::new(DbErrorKind::Passing, "the database's URL cannot be used")
            }
            _ => Self::new(DbErrorKind::Passing, "the database driver failed"),
        }
    }
}

fn from_database(error: &dyn sqlx::error::DatabaseError) -> DbError {
    use sqlx::error::ErrorKind;
    let code = error.code().unwrap_or_default();
    let sqlstate = error
        .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
        .is_some();
    let kind = match error.kind() {
        ErrorKind::UniqueViolation => DbErrorKind::Unique,
        ErrorKind::ForeignKeyViolation => DbErrorKind::ForeignKey,
        ErrorKind::NotNullViolation | ErrorKind::CheckViolation | ErrorKind::ExclusionViolation => {
            DbErrorKind::Value
        }
        // SQLSTATE data exceptions and constraints; SQLITE_TOOBIG, SQLITE_CONSTRAINT (any other), SQLITE_MISMATCH,
        // SQLITE_RANGE.
        _ if sqlstate && (code.starts_with("22") || code.starts_with("23")) => DbErrorKind::Value,
        _ if !sqlstate && matches!(code.parse::<u32>().map(|c| c & 0xff), Ok(18..=20 | 25)) => {
            DbErrorKind::Value
        }
        _ => DbErrorKind::Passing,
    };
    // PostgreSQL quotes the wrong value in messages of class 22. Messages of the other classes name only constraints.
    // The details also quote values, so they are not kept.
    let text = if sqlstate && code.starts_with("22") {
        format!("a value does not fit its column (SQLSTATE {code})")
    } else if sqlstate {
        format!("{} (SQLSTATE {code})", error.message())
    } else {
        format!("{} (SQLite {code})", error.message())
    };
    DbError::new(kind, text)
}
