//! SQLite and PostgreSQL behind one interface: connections, transactions, arguments and rows. Only this file and the
//! files below it know which database is in use; both accept the same queries. `open` opens them.

mod arg;
pub(crate) mod open;
mod rows;

pub(crate) use arg::{Arg, args};
pub(crate) use rows::Rows;

use super::error::{DbError, DbErrorKind};
use super::ledger::Keeping;
use super::sync::LogSync;
use paceline_core::number::E164;
use paceline_runtime::wakings;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, Decode, Executor, Pool, Postgres, Row as _, SqlSafeStr, Sqlite, Type};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const POSTGRES_WRITERS_MAX: u32 = 6;
/// No page of a list takes this long. A read that takes longer has filters that match almost nothing of a very large
/// table.
const BESIDE_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// SQLite steps between two checks of the clock: much less than a millisecond.
const STEPS_BETWEEN_LOOKS: i32 = 5_000;
/// A wait for SQLite's one writer is normal: an import and the jobs write in slices, and so may another process.
const SQLITE_ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// A server answers `BEGIN` at once. If no answer comes, the connection died without notice: the server's machine
/// lost power, or the network failed.
const POSTGRES_BEGIN_TIMEOUT: Duration = Duration::from_secs(3);
/// The server itself stops a statement after 60 s and reports it. Longer than that, so that its report arrives first.
const POSTGRES_STATEMENT_TIMEOUT: Duration = Duration::from_secs(65);
/// A transaction of the dialer takes milliseconds. One that takes this long has lost its connection without notice.
pub(crate) const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) enum Pools {
    Sqlite {
        /// One connection for the whole process, so that waiting writers are served in the order of their requests.
        writer: Pool<Sqlite>,
        readers: Pool<Sqlite>,
        log: Arc<LogSync>,
        /// One connection with a cache for a large index, open only during an import.
        bulk: Pool<Sqlite>,
        beside: Option<Beside<Sqlite>>,
        ledger: Arc<Keeping>,
        home: Handle,
    },
    Postgres {
        writers: Pool<Postgres>,
        readers: Pool<Postgres>,
        beside: Option<Beside<Postgres>>,
        ledger: Arc<Keeping>,
    },
}

/// Additional parts of a store that must not delay the dialer, see [`Pools::beside`].
pub(crate) struct Beside<DB: sqlx::Database> {
    /// Limits how many of these users wait for a writing connection at once, so that they do not fill the queue
    /// before the dialer. The API and the jobs share it.
    turns: Arc<Semaphore>,
    /// Used only by [`Pools::ping`], so that it does not wait behind reads.
    pulse: Pool<DB>,
}

/// The database in use, for the few statements that must differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

enum Conn {
    Sqlite {
        conn: PoolConnection<Sqlite>,
        log: Arc<LogSync>,
        /// The runtime of the dialer, see [`Tx::over`].
        home: Handle,
    },
    Postgres(PoolConnection<Postgres>),
}

/// A transaction. If it is dropped without a commit or a rollback, it closes its connection, because a failure may
/// have left that connection in any state.
pub(crate) struct Tx {
    conn: Option<Conn>,
    /// SQLite's writing connection, held during a bulk transaction so that other writers of this process wait for it
    /// in order. SQLite's own file lock does not keep that order.
    turn: Option<PoolConnection<Sqlite>>,
    beside_turn: Option<OwnedSemaphorePermit>,
    ledger: Arc<Keeping>,
}

/// The failure of a commit.
#[derive(Debug)]
pub(crate) enum CommitError {
    /// Nothing is stored.
    NotStored(DbError),
    /// The connection was lost during the commit. The transaction may be stored or not.
    Unknown(DbError),
}

pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// Types that can be read from both databases.
pub(crate) trait Stored:
    for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}
impl<T> Stored for T where
    T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}

impl fmt::Debug for Pools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.dialect())
    }
}

impl Pools {
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite { .. } => Dialect::Sqlite,
            Self::Postgres { .. } => Dialect::Postgres,
        }
    }

    /// The state that this process needs to keep the ledger.
    pub(crate) fn ledger(&self) -> &Arc<Keeping> {
        match self {
            Self::Sqlite { ledger, .. } | Self::Postgres { ledger, .. } => ledger,
        }
    }

    /// Closes every connection of this store once it is free. A store made by `beside` closes only its own.
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite {
                writer,
                readers,
                bulk,
                beside,
                ..
            } => {
                bulk.close().await;
                readers.close().await;
                match beside {
                    Some(beside) => beside.pulse.close().await,
                    None => writer.close().await,
                }
            }
            Self::Postgres {
                writers,
                readers,
                beside,
                ..
            } => {
                readers.close().await;
                writers.close().await;
                if let Some(beside) = beside {
                    beside.pulse.close().await;
                }
            }
        }
    }

    /// Checks that the database answers.
    pub(crate) async fn ping(&self) -> Result<(), DbError> {
        const PING: &str = "SELECT 1";
        match self {
            Self::Sqlite { readers, beside, .. } => {
                let pulse = beside.as_ref().map_or(readers, |beside| &beside.pulse);
                pulse.execute(sqlx::query(PING)).await?;
            }
            Self::Postgres { readers, beside, .. } => {
                let pulse = beside.as_ref().map_or(readers, |beside| &beside.pulse);
                heard(POSTGRES_BEGIN_TIMEOUT, pulse.execute(sqlx::query(PING))).await?;
            }
        }
        Ok(())
    }

    /// Waits for a turn to write, if this store was made by `beside`.
    async fn turn(&self) -> Result<Option<OwnedSemaphorePermit>, DbError> {
        let turns = match self {
            Self::Sqlite { beside, .. } => beside.as_ref().map(|beside| &beside.turns),
            Self::Postgres { beside, .. } => beside.as_ref().map(|beside| &beside.turns),
        };
        let Some(turns) = turns else { return Ok(None) };
        let turn = tokio::time::timeout(SQLITE_ACQUIRE_TIMEOUT, Arc::clone(turns).acquire_owned());
        let turn = turn.await.ok().and_then(Result::ok);
        let busy = || DbError::new(DbErrorKind::Passing, "others write, and it took too long");
        turn.map(Some).ok_or_else(busy)
    }

    /// Starts a transaction that writes. SQLite has one at a time, in the order of the requests.
    pub(crate) async fn begin(&self) -> Result<Tx, DbError> {
        let mut turn = self.turn().await?;
        // A restart of the server leaves dead connections in the pool. The first statement finds them before anything
        // is done.
        let mut tries_left = match self {
            Self::Sqlite { .. } => 0,
            Self::Postgres { .. } => POSTGRES_WRITERS_MAX,
        };
        loop {
            let conn = match self {
                Self::Sqlite {
                    writer, log, home, ..
                } => Conn::Sqlite {
                    conn: writer.acquire().await?,
                    log: Arc::clone(log),
                    home: home.clone(),
                },
                Self::Postgres { writers, .. } => Conn::Postgres(writers.acquire().await?),
            };
            let mut tx = Tx {
                conn: Some(conn),
                turn: None,
                beside_turn: turn.take(),
                ledger: Arc::clone(self.ledger()),
            };
            match tx.control("BEGIN IMMEDIATE", "BEGIN").await {
                Ok(()) => return Ok(tx),
                Err(error) if tries_left == 0 => return Err(error),
                Err(_) => {
                    tries_left -= 1;
                    turn = tx.beside_turn.take();
                }
            }
        }
    }

    /// Starts a transaction for many rows; it waits its turn among the writers of this process. On SQLite, call
    /// [`Pools::checkpoint`] regularly afterwards.
    pub(crate) async fn begin_bulk(&self) -> Result<Tx, DbError> {
        let Self::Sqlite {
            writer,
            bulk,
            log,
            home,
            ..
        } = self
        else {
            return self.begin().await;
        };
        let beside_turn = self.turn().await?;
        let turn = writer.acquire().await?;
        let mut tx = Tx {
            conn: Some(Conn::Sqlite {
                conn: bulk.acquire().await?,
                log: Arc::clone(log),
                home: home.clone(),
            }),
            turn: Some(turn),
            beside_turn,
            ledger: Arc::clone(self.ledger()),
        };
        tx.control("BEGIN IMMEDIATE", "BEGIN").await?;
        Ok(tx)
    }

    /// Returns when all commits so far survive a power failure. PostgreSQL needs no action: it confirms a commit only
    /// then.
    pub(crate) async fn sync(&self) -> Result<(), DbError> {
        if let Self::Sqlite { log, .. } = self {
            let error = |error: std::io::Error| {
                DbError::new(DbErrorKind::Passing, format!("sync the log: {}", error.kind()))
            };
            log.sync().await.map_err(error)?;
        }
        Ok(())
    }

    /// Copies SQLite's log into the database file while others continue to write. Does nothing on PostgreSQL.
    pub(crate) async fn checkpoint(&self) -> Result<(), DbError> {
        if let Self::Sqlite { readers, .. } = self {
            readers
                .execute(sqlx::query("PRAGMA wal_checkpoint(PASSIVE)"))
                .await?;
        }
        Ok(())
    }

    /// Returns rows as of the last commit, outside any transaction.
    pub(crate) async fn rows(
        &self,
        sql: impl SqlSafeStr + Send,
        args: &[Arg<'_>],
    ) -> Result<Vec<Row>, DbError> {
        let _awake = wakings::stay_awake();
        Ok(match self {
            Self::Sqlite { readers, beside, .. } => {
                let query = sqlx::query_with(sql, sqlite_arguments(args)?);
                let mut conn = readers.acquire().await?;
                if beside.is_some() {
                    let until = Instant::now() + BESIDE_READ_TIMEOUT;
                    let mut handle = conn.lock_handle().await?;
                    handle.set_progress_handler(STEPS_BETWEEN_LOOKS, move || Instant::now() < until);
                }
                conn.fetch_all(query)
                    .await?
                    .into_iter()
                    .map(Row::Sqlite)
                    .collect()
            }
            Self::Postgres { readers, .. } => {
                let query = sqlx::query_with(sql, postgres_arguments(args)?);
                heard(POSTGRES_STATEMENT_TIMEOUT, readers.fetch_all(query))
                    .await?
                    .into_iter()
                    .map(Row::Postgres)
                    .collect()
            }
        })
    }
}

/// Waits for the server's answer, for `limit` at most.
async fn heard<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, DbError> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(DbError::new(
            DbErrorKind::Passing,
            "the database did not answer in time",
        )),
    }
}

impl Tx {
    pub(crate) fn dialect(&self) -> Dialect {
        match self.conn {
            Some(Conn::Postgres(_)) => Dialect::Postgres,
            Some(Conn::Sqlite { .. }) | None => Dialect::Sqlite,
        }
    }

    pub(crate) fn ledger(&self) -> &Arc<Keeping> {
        &self.ledger
    }

    fn conn(&mut self) -> Result<&mut Conn, DbError> {
        self.conn
            .as_mut()
            .ok_or_else(|| DbError::new(DbErrorKind::Passing, "the transaction is over"))
    }

    async fn control(&mut self, sqlite: &'static str, postgres: &'static str) -> Result<(), DbError> {
        let _awake = wakings::stay_awake();
        match self.conn()? {
            Conn::Sqlite { conn, .. } => conn.execute(sqlx::query(sqlite)).await.map(drop)?,
            Conn::Postgres(conn) => {
                heard(POSTGRES_BEGIN_TIMEOUT, conn.execute(sqlx::raw_sql(postgres)))
                    .await
                    .map(drop)?;
            }
        }
        Ok(())
    }

    /// Runs a statement. Returns the number of changed rows.
    pub(crate) async fn run(
        &mut self,
        sql: impl SqlSafeStr + Send,
        args: &[Arg<'_>],
    ) -> Result<u64, DbError> {
        let _awake = wakings::stay_awake();
        Ok(match self.conn()? {
            Conn::Sqlite { conn, .. } => {
                let query = sqlx::query_with(sql, sqlite_arguments(args)?);
                conn.execute(query).await?.rows_affected()
            }
            Conn::Postgres(conn) => {
                let query = sqlx::query_with(sql, postgres_arguments(args)?);
                heard(POSTGRES_STATEMENT_TIMEOUT, conn.execute(query))
                    .await?
                    .rows_affected()
            }
        })
    }

    /// Runs a statement. Returns the rows of its result.
    pub(crate) async fn rows(
        &mut self,
        sql: impl SqlSafeStr + Send,
        args: &[Arg<'_>],
    ) -> Result<Vec<Row>, DbError> {
        let _awake = wakings::stay_awake();
        Ok(match self.conn()? {
            Conn::Sqlite { conn, .. } => {
                let query = sqlx::query_with(sql, sqlite_arguments(args)?);
                conn.fetch_all(query)
                    .await?
                    .into_iter()
                    .map(Row::Sqlite)
                    .collect()
            }
            Conn::Postgres(conn) => {
                let query = sqlx::query_with(sql, postgres_arguments(args)?);
                heard(POSTGRES_STATEMENT_TIMEOUT, conn.fetch_all(query))
                    .await?
                    .into_iter()
                    .map(Row::Postgres)
                    .collect()
            }
        })
    }

    /// Runs a statement that gives one row, such as an insert with `RETURNING`.
    pub(crate) async fn one(
        &mut self,
        sql: impl SqlSafeStr + Send,
        args: &[Arg<'_>],
    ) -> Result<Row, DbError> {
        self.rows(sql, args)
            .await?
            .pop()
            .ok_or_else(|| DbError::decode("row"))
    }

    pub(crate) async fn commit(mut self) -> Result<(), CommitError> {
        let _awake = wakings::stay_awake();
        let done = match self.conn().map_err(CommitError::NotStored)? {
            Conn::Sqlite { conn, log, .. } => {
                let done = conn.execute(sqlx::query("COMMIT")).await.map(drop);
                log.committed();
                done.map_err(DbError::from)
            }
            Conn::Postgres(conn) => heard(POSTGRES_STATEMENT_TIMEOUT, conn.execute(sqlx::raw_sql("COMMIT")))
                .await
                .map(drop),
        };
        match done {
            Ok(()) => {
                self.over();
                Ok(())
            }
            Err(error) => {
                // Only a broken constraint proves that nothing is stored. A stopping server sends an error in place
                // of the commit's answer, and a failing disk may still have stored the data.
                if error.is_passing() {
                    Err(CommitError::Unknown(error))
                } else {
                    Err(CommitError::NotStored(error))
                }
            }
        }
    }

    /// Ends the transaction without storing anything, and keeps the connection.
    pub(crate) async fn rollback(mut self) -> Result<(), DbError> {
        self.control("ROLLBACK", "ROLLBACK").await?;
        self.over();
        Ok(())
    }

    /// Returns the connection and the turn to the pools. A connection returns by a task of its own. On SQLite everybody waits for
    /// the one that writes, so this task runs on the dialer's runtime: requests may keep that of the API busy.
    fn over(&mut self) {
        let conn = self.conn.take();
        let home = match &conn {
            Some(Conn::Sqlite { home, .. }) => Some(home.clone()),
            Some(Conn::Postgres(_)) | None => None,
        };
        let _at_home = home.as_ref().map(Handle::enter);
        drop(conn);
        self.turn.take();
        self.beside_turn.take();
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        match self.conn.take() {
            Some(Conn::Sqlite { conn, home, .. }) => {
                let _at_home = home.enter();
                drop(conn.detach());
                self.turn.take();
            }
            Some(Conn::Postgres(conn)) => drop(conn.detach()),
            None => {}
        }
    }
}

impl From<CommitError> for DbError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::NotStored(error) | CommitError::Unknown(error) => error,
        }
    }
}

macro_rules! arguments {
    ($name:ident, $arguments:ty, $texts:expr, $ints:expr) => {
        fn $name(args: &[Arg<'_>]) -> Result<$arguments, DbError> {
            let mut out = <$arguments>::default();
            out.reserve(args.len(), args.len() * 8);
            for arg in args {
                match arg {
                    Arg::Int(value) => out.add(*value),
                    Arg::Text(value) => out.add(*value),
                    Arg::Id(value) => out.add(*value),
                    Arg::Bytes(value) => out.add(*value),
                    Arg::Flag(value) => out.add(*value),
                    Arg::Texts(value) => $texts(&mut out, value),
                    Arg::Ints(value) => $ints(&mut out, value),
                }
                .map_err(|_| DbError::new(DbErrorKind::Value, "a value could not be encoded"))?;
            }
            Ok(out)
        }
    };
}
arguments!(
    sqlite_arguments,
    SqliteArguments,
    |_: &mut _, _: &_| Err("SQLite has no arrays".into()),
    |_: &mut _, _: &_| Err("SQLite has no arrays".into())
);
arguments!(
    postgres_arguments,
    PgArguments,
    |out: &mut PgArguments, texts: &[Option<&str>]| out.add(texts.to_vec()),
    |out: &mut PgArguments, ints: &[Option<i64>]| out.add(ints.to_vec())
);

impl Row {
    /// The value of a column. The first column is 0.
    pub(crate) fn get<T: Stored>(&self, column: usize) -> Result<T, DbError> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    /// A column that contains one word of a closed set. Fails with [`DbErrorKind::Decode`] on any other word.
    pub(crate) fn word<T: FromStr>(&self, column: usize) -> Result<T, DbError> {
        self.get::<String>(column)?
            .parse()
            .map_err(|_| DbError::decode("word"))
    }

    /// As [`Row::word`]; `None` if the column is null.
    pub(crate) fn maybe_word<T: FromStr>(&self, column: usize) -> Result<Option<T>, DbError> {
        let word = self.get::<Option<String>>(column)?;
        word.map(|word| word.parse().map_err(|_| DbError::decode("word")))
            .transpose()
    }

    /// A count, as `count(*)` returns it. Fails if it is negative.
    pub(crate) fn size(&self, column: usize) -> Result<u64, DbError> {
        u64::try_from(self.get::<i64>(column)?).map_err(|_| DbError::decode("count"))
    }

    /// A telephone number in E.164.
    pub(crate) fn number(&self, column: usize) -> Result<E164, DbError> {
        E164::new(&self.get::<String>(column)?).map_err(|_| DbError::decode("number"))
    }

    /// A count that fits `u32`. Fails if it does not fit.
    pub(crate) fn count(&self, column: usize) -> Result<u32, DbError> {
        u32::try_from(self.get::<i64>(column)?).map_err(|_| DbError::decode("count"))
    }
}
