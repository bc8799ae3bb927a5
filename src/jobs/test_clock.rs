//! The time of day of tests (`paceline serve --test-clock`): a file holds how many seconds Paceline's wall time is ahead of the
//! machine's. So that it moves no times of real calls, it is refused unless every PBX and the API are on loopback.

use super::Job;
use crate::clock::Clock;
use crate::config::{Config, NotOnLoopback};
use crate::store::{NewFact, Store, StoreError};
use futures_util::future::BoxFuture;
use paceline_core::time::Wall;
use paceline_ledger::Kind;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing::warn;

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A file of more bytes holds no number of seconds.
const FILE_BYTES_MAX: u64 = 64;
/// Ten years.
const AHEAD_S_MAX: u64 = 10 * 366 * 86_400;

/// The job that follows the file.
#[derive(Debug)]
pub struct TestClock {
    file: PathBuf,
    store: Store,
    clock: Clock,
    trouble: Option<String>,
}

/// The clock of tests cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TestClockError {
    /// Real calls could be placed at wrong hours.
    #[error("--test-clock is for tests without real calls")]
    NotOnLoopback(#[source] NotOnLoopback),
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The step cannot be recorded.
    #[error("cannot record the step of --test-clock in the ledger")]
    Ledger(#[source] StoreError),
}

/// The file holds no time.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read `{file}` of --test-clock: {source}")]
    Read {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// It holds something else.
    #[error(
        "`{file}` of --test-clock must hold one whole number: the seconds that Paceline's time is ahead of the machine's, ten years at most"
    )]
    Text {
        /// The file.
        file: PathBuf,
    },
}

impl TestClock {
    /// Moves the clock to where the file says. Call it before anything is dialed.
    pub async fn start(
        config: &Config,
        file: &Path,
        store: &Store,
        clock: Clock,
    ) -> Result<Self, TestClockError> {
        config.is_on_loopback().map_err(TestClockError::NotOnLoopback)?;
        let mut started = Self {
            file: file.to_owned(),
            store: store.clone(),
            clock,
            trouble: None,
        };
        let ahead_ms = read(file)?;
        started.step(ahead_ms).await.map_err(TestClockError::Ledger)?;
        Ok(started)
    }

    /// Later runs use this store.
    pub fn with_store(self, store: Store) -> Self {
        Self { store, ..self }
    }

    async fn look(&mut self) -> Result<u64, StoreError> {
        match read(&self.file) {
            Ok(ahead_ms) => {
                self.trouble = None;
                if ahead_ms == Clock::moved_ms() {
                    return Ok(0);
                }
                self.step(ahead_ms).await?;
                Ok(1)
            }
            Err(error) => {
                self.trouble = Some(error.to_string());
                Ok(0)
            }
        }
    }

    /// The ledger has the step before any decision with the new time.
    async fn step(&mut self, ahead_ms: i64) -> Result<(), StoreError> {
        let by_ms = ahead_ms.saturating_sub(Clock::moved_ms());
        let at = Wall(self.clock.now().wall.0.saturating_add(by_ms));
        let ahead_s = ahead_ms / 1_000;
        let fact = NewFact {
            kind: Kind::ClockMoved,
            at,
            number: None,
            campaign: None,
            body: format!("{{\"ahead_s\":{ahead_s}}}"),
        };
        self.store.record_fact(&fact).await?;
        Clock::move_wall(ahead_ms);
        let time = jiff::Timestamp::from_millisecond(at.0).unwrap_or_default();
        warn!(
            ahead_s,
            "--test-clock: Paceline's time is now {time:.0}, {ahead_s} s ahead of the machine's"
        );
        Ok(())
    }
}

/// The milliseconds that the file says.
fn read(file: &Path) -> Result<i64, FileError> {
    let opened = std::fs::File::open(file);
    let mut text = String::new();
    let done = opened.and_then(|opened| opened.take(FILE_BYTES_MAX).read_to_string(&mut text));
    done.map_err(|source| FileError::Read {
        file: file.to_owned(),
        source,
    })?;
    let seconds = text.trim().parse().ok();
    let seconds = seconds.filter(|seconds: &i64| seconds.unsigned_abs() <= AHEAD_S_MAX);
    let ms = seconds.and_then(|seconds| seconds.checked_mul(1_000));
    ms.ok_or_else(|| FileError::Text {
        file: file.to_owned(),
    })
}

impl Job for TestClock {
    fn name(&self) -> &'static str {
        "test_clock"
    }

    fn period(&self) -> Duration {
        LOOK_EVERY
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }

    fn run_once(&mut self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.look())
    }
}
