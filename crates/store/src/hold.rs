//! Allows one `serve` per store. Two would hang up each other's calls on the PBX and dial numbers twice. In: the
//! store's URL. Out: a [`Hold`], or the present holder. Commands that only read or import do not need it.
//!
//! SQLite: an operating system's lock on a file beside the database, which ends with its process. PostgreSQL: an
//! advisory lock of a session that stays open. The server frees the lock when the session ends, so the session is
//! checked regularly. A server that stood still, or a network that was cut, can leave an earlier session of this process
//! with the lock. A random word in the session's name shows that it is ours, and then we end it.

use super::db::open::sqlite_options;
use super::error::{DbError, StoreError};
use paceline_runtime::clock::Clock;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, Row as _};
use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, warn};
use uuid::Uuid;

/// A process that was just killed may hold the lock for a moment longer.
const PATIENCE: Duration = Duration::from_secs(3);
const TRY_EVERY: Duration = Duration::from_millis(100);
/// The interval of the checks of the PostgreSQL session, and the time limit of each.
const ASK_EVERY: Duration = Duration::from_secs(2);
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// The key begins with "pace" in ASCII, so that it differs from the keys of other programs in the same database.
const LOCK: &str = "1885430629, hashtext(current_schema())";

/// This process has the store to itself while this value lives.
#[derive(Debug)]
pub struct Hold {
    /// Closing the file frees its lock.
    _file: Option<File>,
    keeper: Option<JoinHandle<()>>,
    taken: watch::Receiver<Option<String>>,
}

/// The store could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// Another process holds the store.
    #[error(
        "another Paceline serves this store: {holder}; stop it first, or give this one its own store with `url` under \
         [store]"
    )]
    Held {
        /// Host, process id and start time of the holder.
        holder: String,
    },
    /// The lock file beside SQLite's database could not be used.
    #[error("cannot lock the file `{file}`; make its folder writable")]
    File {
        /// The path of the lock file.
        file: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The database failed.
    #[error("cannot check whether another Paceline serves this store; check the database")]
    Store(#[source] StoreError),
}

/// Describes this process, for the message of a second process.
fn ourselves() -> String {
    let host = rustix::system::uname();
    let host: String = host
        .nodename()
        .to_string_lossy()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c))
        .take(24)
        .collect();
    let now = Clock::real().now().wall;
    let since = jiff::Timestamp::from_millisecond(now.0)
        .unwrap_or_default()
        .strftime("%Y-%m-%dT%H:%M:%SZ");
    format!("host {host}, pid {}, since {since}", std::process::id())
}

impl Hold {
    /// Takes the store for this process. `url` as for [`super::Store::open`]. Waits up to 3 s for another holder to
    /// end.
    ///
    /// # Errors
    ///
    /// [`HoldError::Held`] with the holder, or the failure of the file or database.
    pub async fn take(url: &str) -> Result<Self, HoldError> {
        if url.starts_with("sqlite:") {
            let options = sqlite_options(url).map_err(HoldError::Store)?;
            Self::take_file(options.get_filename()).await
        } else {
            Self::take_session(url).await
        }
    }

    async fn take_file(database: &Path) -> Result<Self, HoldError> {
        let mut name = database.as_os_str().to_owned();
        name.push(".lock");
        let failed = |source| HoldError::File {
            file: Path::new(&name).display().to_string(),
            source,
        };
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&name).map_err(failed)?;
        let until = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < until => sleep(TRY_EVERY).await,
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    let read = (&mut file).take(200).read_to_string(&mut holder);
                    read.map_err(failed)?;
                    return Err(HoldError::Held { holder });
                }
                Err(TryLockError::Error(err)) => return Err(failed(err)),
            }
        }
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(ourselves().as_bytes()));
        written.map_err(failed)?;
        Ok(Self {
            _file: Some(file),
            keeper: None,
            taken: watch::channel(None).1,
        })
    }

    async fn take_session(url: &str) -> Result<Self, HoldError> {
        let options = PgConnectOptions::from_str(url).map_err(|_| HoldError::Store(StoreError::Url))?;
        let name = SessionName::new();
        let options = options
            // The server cuts a name after 63 bytes.
            .application_name(&format!("{}{}", name.ours, ourselves()))
            // With keep-alives the server soon notices that this machine has failed.
            .options([
                ("tcp_keepalives_idle", "10"),
                ("tcp_keepalives_interval", "5"),
                ("tcp_keepalives_count", "3"),
                // The wait for the end of an old session of ours.
                ("lock_timeout", "5s"),
            ])
            .disable_statement_logging();
        let failed = |err: sqlx::Error| HoldError::Store(StoreError::Open(DbError::from(err)));
        let until = Instant::now() + PATIENCE;
        let mut session = PgConnection::connect_with(&options).await.map_err(failed)?;
        loop {
            match lock(&mut session, &name).await.map_err(failed)? {
                Lock::Ours => break,
                Lock::Theirs(holder) if Instant::now() >= until => return Err(HoldError::Held { holder }),
                Lock::Theirs(_) | Lock::Free => sleep(TRY_EVERY).await,
            }
        }
        let (tell, taken) = watch::channel(None);
        Ok(Self {
            _file: None,
            keeper: Some(tokio::spawn(keep(session, options, name, tell))),
            taken,
        })
    }

    /// Returns the new holder when another process has taken the store. This can happen only after the connection to
    /// PostgreSQL was lost.
    pub async fn lost(&self) -> String {
        let mut taken = self.taken.clone();
        loop {
            if let Some(holder) = taken.borrow_and_update().clone() {
                return holder;
            }
            if taken.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(keeper) = &self.keeper {
            keeper.abort();
        }
    }
}

/// The begin of the names of this process's sessions. Another process has another random word.
struct SessionName {
    ours: String,
}

impl SessionName {
    fn new() -> Self {
        let word = Uuid::new_v4().simple().to_string();
        let word: String = word.chars().take(8).collect();
        Self {
            ours: format!("paceline {word}: "),
        }
    }
}

/// The state of the lock after a try.
enum Lock {
    /// This session has it.
    Ours,
    /// Another process has it, which the text describes.
    Theirs(String),
    /// It was just freed.
    Free,
}

async fn lock(session: &mut PgConnection, name: &SessionName) -> Result<Lock, sqlx::Error> {
    let locked = format!("SELECT pg_try_advisory_lock({LOCK})");
    let locked = sqlx::query(sqlx::AssertSqlSafe(locked));
    if locked.fetch_one(&mut *session).await?.try_get(0)? {
        return Ok(Lock::Ours);
    }
    let who = "SELECT a.application_name, a.pid FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
        WHERE l.locktype = 'advisory' AND l.classid = 1885430629 AND l.objsubid = 2 AND l.granted \
          AND l.objid::bigint = hashtext(current_schema())::bigint & 4294967295 \
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) LIMIT 1";
    let Some(row) = sqlx::query(who).fetch_optional(&mut *session).await? else {
        return Ok(Lock::Free);
    };
    let (holder, pid): (String, i32) = (row.try_get(0)?, row.try_get(1)?);
    if holder.starts_with(&name.ours) {
        let end = sqlx::query("SELECT pg_terminate_backend($1)").bind(pid);
        end.execute(&mut *session).await?;
        // Whoever waits gets the lock before those who only try. A session that stands still ends later.
        let wait = format!("SELECT pg_advisory_lock({LOCK})");
        sqlx::query(sqlx::AssertSqlSafe(wait)).execute(session).await?;
        return Ok(Lock::Ours);
    }
    let described = holder
        .strip_prefix("paceline ")
        .and_then(|name| name.split_once(": "));
    Ok(Lock::Theirs(described.map_or_else(
        || "the server does not name it".to_owned(),
        |(_, who)| who.to_owned(),
    )))
}

/// Checks the session regularly. If the session is lost, connects again and takes the lock again.
async fn keep(
    mut session: PgConnection,
    options: PgConnectOptions,
    name: SessionName,
    tell: watch::Sender<Option<String>>,
) {
    loop {
        sleep(ASK_EVERY).await;
        if let Ok(Ok(())) = timeout(ANSWER_MAX, session.ping()).await {
            continue;
        }
        warn!("the connection with the lock on this store is lost; connecting again");
        session = loop {
            match timeout(ANSWER_MAX, lock_again(&options, &name)).await {
                Ok(Ok((session, None))) => break session,
                Ok(Ok((_, Some(holder)))) => {
                    error!(
                        "another Paceline has taken this store meanwhile: {holder}; this process stops using it"
                    );
                    tell.send_replace(Some(holder));
                    return;
                }
                // The writer reports that the database cannot be reached.
                Ok(Err(_)) | Err(_) => sleep(ASK_EVERY).await,
            }
        };
    }
}

/// Opens a new session and takes the lock, also from an earlier session of this process. Returns also the other process
/// that has it.
async fn lock_again(
    options: &PgConnectOptions,
    name: &SessionName,
) -> Result<(PgConnection, Option<String>), sqlx::Error> {
    let mut session = PgConnection::connect_with(options).await?;
    loop {
        match lock(&mut session, name).await? {
            Lock::Ours => return Ok((session, None)),
            Lock::Theirs(holder) => return Ok((session, Some(holder))),
            Lock::Free => sleep(TRY_EVERY).await,
        }
    }
}
