//! Opens the database: the connections, their users and their time limits.

use super::super::error::{DbError, DbErrorKind, StoreError};
use super::super::sync::LogSync;
use super::{BESIDE_READ_TIMEOUT, Beside, POSTGRES_WRITERS_MAX, Pools, SQLITE_ACQUIRE_TIMEOUT};
use sqlx::migrate::Migrator;
use sqlx::pool::PoolOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Postgres, Sqlite, SqlitePool};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/sqlite");
static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/postgres");
/// Readers see the last commit and never wait for a writer. The dialer reads little.
const SQLITE_READERS_MAX: u32 = 2;
const POSTGRES_READERS_MAX: u32 = 3;
/// Readers of a store made by [`Pools::beside`].
const BESIDE_READERS_MAX: u32 = 6;
const BESIDE_POSTGRES_WRITERS_MAX: u32 = 4;
const POSTGRES_ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// SQLite frees the memory of the import's connection this long after the import ends.
const BULK_IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Size limit of SQLite's log between large transactions.
pub(crate) const LOG_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Room for every statement with every row count that it is prepared for.
const STATEMENTS_CACHED_MAX: usize = 512;

/// The time that SQLite waits for a lock of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// `SQLITE_BUSY`, <https://www.sqlite.org/rescode.html>.
const SQLITE_BUSY: &str = "5";

/// Connects to SQLite. The first connection switches a new database to a write-ahead log, and SQLite does not wait
/// while another process does so.
async fn connect_when_free(
    pool: PoolOptions<Sqlite>,
    options: &SqliteConnectOptions,
) -> Result<SqlitePool, sqlx::Error> {
    let give_up_at = tokio::time::Instant::now() + BUSY_TIMEOUT;
    loop {
        let connected = pool.clone().connect_with(options.clone()).await;
        let busy = |error: &sqlx::Error| {
            let code = error.as_database_error().and_then(|error| error.code());
            code.is_some_and(|code| code == SQLITE_BUSY)
        };
        match connected {
            Err(error) if busy(&error) && tokio::time::Instant::now() < give_up_at => {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            connected => return connected,
        }
    }
}

/// Settings of PostgreSQL for connections that write: find rows by their keys through an index. PostgreSQL keeps the plan that it made
/// while the tables were small, and without statistics it overestimates an index. It read a whole table for each lease, and
/// for every 256 rows of an import (measured on 15: 300,000 rows took 47 s instead of 6 s).
const PLANS_BY_INDEX: [(&str, &str); 4] = [
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_seqscan", "off"),
    ("plan_cache_mode", "force_custom_plan"),
];

impl Pools {
    pub(crate) async fn open(url: &str) -> Result<Self, StoreError> {
        if url.starts_with("sqlite:") {
            Self::open_sqlite(url).await
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Self::open_postgres(url).await
        } else {
            Err(StoreError::Url)
        }
    }

    async fn open_sqlite(url: &str) -> Result<Self, StoreError> {
        let open = |error: sqlx::Error| StoreError::Open(error.into());
        let options = sqlite_options(url)?
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .statement_cache_capacity(STATEMENTS_CACHED_MAX)
            .pragma("cache_size", "-16384")
            // Pages that are written repeatedly reach the database file less often; the log grows to 16 MB.
            .pragma("wal_autocheckpoint", "4000")
            // A large transaction makes the log as large as itself. SQLite cuts the log to this size when it starts
            // from the beginning again, after the next commits.
            .pragma("journal_size_limit", LOG_BYTES_MAX.to_string())
            .disable_statement_logging();
        make_private(options.get_filename());
        let pool = sqlite_pool();
        let writer = connect_when_free(pool.clone().max_connections(1), &options)
            .await
            .map_err(open)?;
        // If two processes create the database at once, the second waits here and then finds the schema complete.
        let mut alone = writer.begin_with("BEGIN IMMEDIATE").await.map_err(open)?;
        migrated(SQLITE_MIGRATIONS.run_direct(None, &mut *alone, false).await)?;
        alone.commit().await.map_err(open)?;
        let log = Arc::new(LogSync::start(options.get_filename()));
        // No automatic checkpoint, because it would make single commits slow. The bulk writer makes checkpoints
        // between its transactions.
        let bulk = pool
            .clone()
            .max_connections(1)
            .idle_timeout(BULK_IDLE_TIMEOUT)
            .connect_lazy_with(
                options
                    .clone()
                    .pragma("cache_size", "-20480")
                    .pragma("wal_autocheckpoint", "0"),
            );
        let readers = pool
            .max_connections(SQLITE_READERS_MAX)
            .connect_with(options.pragma("query_only", "on"))
            .await
            .map_err(open)?;
        Ok(Self::Sqlite {
            writer,
            readers,
            log,
            bulk,
            beside: None,
            ledger: Arc::default(),
            home: Handle::current(),
        })
    }

    async fn open_postgres(url: &str) -> Result<Self, StoreError> {
        let open = |error: sqlx::Error| StoreError::Open(error.into());
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| StoreError::Url)?
            .application_name("paceline")
            .statement_cache_capacity(STATEMENTS_CACHED_MAX)
            // Our transactions take milliseconds. One that hangs must not keep its locks for ever.
            .options([
                ("statement_timeout", "60s"),
                ("lock_timeout", "10s"),
                ("idle_in_transaction_session_timeout", "60s"),
                // Compiling a statement that PostgreSQL wrongly believes to be long took 300 ms of a lease (measured on 15).
                ("jit", "off"),
            ])
            .disable_statement_logging();
        let pool = postgres_pool();
        let writers = pool
            .clone()
            .max_connections(POSTGRES_WRITERS_MAX)
            .connect_with(options.clone().options(PLANS_BY_INDEX))
            .await
            .map_err(open)?;
        migrated(POSTGRES_MIGRATIONS.run(&writers).await)?;
        // A write tests its connection with `BEGIN`. A read has no such test, so the pool tests its connection first;
        // that costs a round trip.
        let readers = pool
            .max_connections(POSTGRES_READERS_MAX)
            .test_before_acquire(true)
            .connect_with(options)
            .await
            .map_err(open)?;
        Ok(Self::Postgres {
            writers,
            readers,
            beside: None,
            ledger: Arc::default(),
        })
    }

    /// The same database for users that must not delay the dialer. They get their own connections and reads with a
    /// time limit, and on SQLite only one of them at a time waits for the writer; all stores that come from one call share this
    /// limit. The connections open when needed and belong to the calling runtime.
    pub(crate) fn beside(&self) -> Self {
        match self {
            Self::Sqlite {
                writer,
                readers,
                log,
                bulk,
                ledger,
                beside,
                home,
            } => {
                let options = readers.connect_options();
                Self::Sqlite {
                    writer: writer.clone(),
                    readers: sqlite_pool()
                        .max_connections(BESIDE_READERS_MAX)
                        .connect_lazy_with((*options).clone()),
                    log: Arc::clone(log),
                    bulk: bulk.clone(),
                    ledger: Arc::clone(ledger),
                    home: home.clone(),
                    beside: Some(Beside {
                        turns: turns(beside.as_ref(), 1),
                        pulse: sqlite_pool()
                            .max_connections(1)
                            .connect_lazy_with((*options).clone()),
                    }),
                }
            }
            Self::Postgres {
                writers,
                readers,
                ledger,
                beside,
            } => {
                let statements_end = format!("{}ms", BESIDE_READ_TIMEOUT.as_millis());
                let read = (*readers.connect_options()).clone();
                let read = read.options([("statement_timeout", statements_end)]);
                let pool = || postgres_pool().test_before_acquire(true);
                Self::Postgres {
                    writers: postgres_pool()
                        .max_connections(BESIDE_POSTGRES_WRITERS_MAX)
                        .connect_lazy_with((*writers.connect_options()).clone()),
                    readers: pool()
                        .max_connections(BESIDE_READERS_MAX)
                        .connect_lazy_with(read.clone()),
                    ledger: Arc::clone(ledger),
                    beside: Some(Beside {
                        turns: turns(beside.as_ref(), BESIDE_POSTGRES_WRITERS_MAX as usize),
                        pulse: pool().max_connections(1).connect_lazy_with(read),
                    }),
                }
            }
        }
    }
}

/// The turns that the store has already, or new ones.
fn turns<DB: sqlx::Database>(beside: Option<&Beside<DB>>, max: usize) -> Arc<Semaphore> {
    beside.map_or_else(
        || Arc::new(Semaphore::new(max)),
        |beside| Arc::clone(&beside.turns),
    )
}

/// The options for a database file, under the file's real path. SQLite puts its log beside the real file, and two names of
/// one file must not look like two stores. Creates the file if it is missing.
pub(crate) fn sqlite_options(url: &str) -> Result<SqliteConnectOptions, StoreError> {
    // Each connection would have its own database in memory, and a crash would lose it.
    if url.contains(":memory:") || url.contains("mode=memory") {
        return Err(StoreError::Url);
    }
    let options = SqliteConnectOptions::from_str(url).map_err(|_| StoreError::Url)?;
    let options = options.create_if_missing(true);
    let failed = |error: std::io::Error| StoreError::Open(sqlx::Error::Io(error).into());
    let file = options.get_filename();
    let real = match file.canonicalize() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut create = std::fs::OpenOptions::new();
            create.write(true).create(true).truncate(false);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut create, 0o600);
            create.open(file).map_err(failed)?;
            file.canonicalize()
        }
        found => found,
    };
    Ok(options.clone().filename(real.map_err(failed)?))
}

/// Gives the database's files to their owner only, whatever the umask was. SQLite gives its log and shared memory the same
/// mode as the file.
fn make_private(file: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        for ending in ["", "-wal", "-shm"] {
            let mut name = file.as_os_str().to_owned();
            name.push(ending);
            let open_to_others =
                std::fs::metadata(&name).is_ok_and(|file| file.permissions().mode() & 0o077 != 0);
            if open_to_others
                && std::fs::set_permissions(&name, std::fs::Permissions::from_mode(0o600)).is_err()
            {
                let file = Path::new(&name).display();
                tracing::warn!(
                    "other users of this machine can read `{file}`, which contains personal data: run `chmod 600 {file}` as its owner"
                );
            }
        }
    }
}

fn sqlite_pool() -> PoolOptions<Sqlite> {
    PoolOptions::new()
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .acquire_timeout(SQLITE_ACQUIRE_TIMEOUT)
}

fn postgres_pool() -> PoolOptions<Postgres> {
    PoolOptions::new()
        .test_before_acquire(false)
        .acquire_timeout(POSTGRES_ACQUIRE_TIMEOUT)
}

fn migrated(result: Result<(), sqlx::migrate::MigrateError>) -> Result<(), StoreError> {
    result.map_err(|error| {
        StoreError::Migrate(match error {
            sqlx::migrate::MigrateError::Execute(error)
            | sqlx::migrate::MigrateError::ExecuteMigration(error, _) => error.into(),
            // These messages contain only versions and tables, no personal data.
            other => DbError::new(DbErrorKind::Passing, other.to_string()),
        })
    })
}
