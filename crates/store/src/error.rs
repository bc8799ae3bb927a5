//! What can go wrong in the store, free of personal data: a database's own error may quote values, so only what is
//! known to quote none is kept of it.

use paceline_core::ids::{CampaignId, ContactId, ImportId, TaskId};

/// A failing operation of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL names no database that we know.
    #[error("the database must be `sqlite:PATH` or `postgres://USER@HOST/DATABASE`")]
    Url,
    /// The database could not be opened.
    #[error("cannot open the database; check that it exists, can be reached, and accepts this user")]
    Open(#[source] DbError),
    /// The schema could not be brought up to date.
    #[error("cannot update the schema of the database; restore the backup, or run the version that wrote it")]
    Migrate(#[source] DbError),
    /// The dialer's view of the campaigns.
    #[error("cannot read campaigns to dial")]
    DialCampaigns(#[source] DbError),
    /// Taking up what a former run left.
    #[error("cannot read what the last run left open in campaign {campaign}")]
    Recover {
        /// The campaign.
        campaign: CampaignId,
        /// The cause.
        #[source]
        source: DbError,
    },
    /// Leasing contacts.
    #[error("cannot lease contacts of campaign {campaign}")]
    Lease {
        /// The campaign.
        campaign: CampaignId,
        /// Contacts that may be leased all the same, since the commit's end was not seen: to be given back.
        in_doubt: Vec<(TaskId, ContactId)>,
        /// The cause.
        #[source]
        source: DbError,
    },
    /// Giving leased contacts back.
    #[error("cannot give leased contacts back")]
    GiveBack(#[source] DbError),
    /// Any other reading or writing.
    #[error("cannot {doing}")]
    Query {
        /// What was being done: `list tasks`.
        doing: &'static str,
        /// The cause.
        #[source]
        source: DbError,
    },
    /// Another row has this name, extension or the like.
    #[error("this name is already in use; choose another")]
    Taken,
    /// One of the trunks named does not exist, or is named twice.
    #[error("trunk {index} of the list does not exist or is listed twice; correct or remove it")]
    NoTrunk {
        /// Which, counted from 0.
        index: usize,
    },
    /// A task has nobody to call: there is no such contact list, or nobody is in it.
    #[error("the contact list of task {index} does not exist or is empty; add contacts first")]
    EmptyList {
        /// Which of the tasks, counted from 0.
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
    /// Another import into the list is not over.
    #[error("import {import} into the same list has not ended; publish, resume or cancel it first")]
    ListBusy {
        /// The import.
        import: ImportId,
    },
    /// The import does not exist, or is not this worker's any more.
    #[error("there is no such import; start one")]
    NoImport,
}

/// Why a transaction stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The database failed.
    Db(DbError),
    /// What was asked cannot be done.
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
    /// A broken unique constraint as what it means.
    pub(crate) fn if_unique(error: DbError, means: StoreError) -> Self {
        match error.kind {
            DbErrorKind::Unique => Self::Refused(means),
            _ => Self::Db(error),
        }
    }
}

/// What became of a row that was to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone.
    Done,
    /// There was none.
    Missing,
    /// It is in use and stays.
    InUse,
}

/// What a database said, without any value it may have quoted.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct DbError {
    pub(crate) kind: DbErrorKind,
    text: String,
}

/// What to make of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DbErrorKind {
    /// A unique constraint was in the way.
    Unique,
    /// A row is referred to, or refers to none.
    ForeignKey,
    /// Another constraint, or a value that the column cannot hold: the same statement fails again.
    Value,
    /// A stored value is not what this version writes.
    Decode,
    /// Anything that time or a human may mend: connection, lock, disk, permissions.
    Passing,
}

impl DbError {
    pub(crate) fn new(kind: DbErrorKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
    }

    /// A stored value that this version does not understand.
    pub(crate) fn decode(what: &'static str) -> Self {
        Self::new(
            DbErrorKind::Decode,
            format!("a stored {what} is not one that this version writes"),
        )
    }

    /// Whether the same transaction may succeed later.
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
        // Data exceptions; SQLITE_TOOBIG, SQLITE_CONSTRAINT (any other), SQLITE_MISMATCH, SQLITE_RANGE.
        _ if sqlstate && (code.starts_with("22") || code.starts_with("23")) => DbErrorKind::Value,
        _ if !sqlstate && matches!(code.parse::<u32>().map(|c| c & 0xff), Ok(18..=20 | 25)) => {
            DbErrorKind::Value
        }
        _ => DbErrorKind::Passing,
    };
    // PostgreSQL quotes the offending value in the messages of class 22 and names only constraints in the others'; the
    // details, which quote too, are left behind.
    let text = if sqlstate && code.starts_with("22") {
        format!("a value does not fit its column (SQLSTATE {code})")
    } else if sqlstate {
        format!("{} (SQLSTATE {code})", error.message())
    } else {
        format!("{} (SQLite {code})", error.message())
    };
    DbError::new(kind, text)
}
