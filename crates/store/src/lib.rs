//! The store keeps everything that must survive a crash: SQLite by default, PostgreSQL by URL, with one set of
//! queries.
//!
//! In: values of the core. Out: typed rows. The store asks the gate if the decision must be in the same transaction
//! as its result; it decides nothing else. The dialer uses [`Store::recover`], [`Store::lease`], [`Store::give_back`]
//! and the [`Writer`]. The API, the importer and the command line use the rest. Start at [`Store::open`].
//!
//! Invariants kept here: every attempt has its leg row and its `allow` decision (one transaction); at most one task
//! holds a number (`number_leases`); a contact is leased exactly while its number is held.

mod agents;
mod api_keys;
mod attempts;
mod audit;
mod bulk_statement;
mod campaigns;
mod contacts;
mod db;
mod decisions;
mod dial;
mod dnc;
mod error;
mod explain;
mod facts;
mod hold;
mod imports;
mod installation;
mod lease;
mod ledger;
mod maintenance;
mod metrics;
mod outside;
mod readable;
mod recordings;
mod retention;
mod select;
pub mod settings;
mod suppression;
mod sync;
mod tasks;
#[cfg(test)]
mod tests;
mod trunks;
mod writer;

pub use agents::{AgentRow, NewAgent};
pub use api_keys::{ApiKeyRow, NewApiKey, Role, UnknownRole};
pub use attempts::{AttemptFilter, AttemptRow, CallRecord, LegRow};
pub use audit::{AuditEntry, AuditRow};
pub use campaigns::{Archiving, CampaignRow, CampaignWork};
pub use contacts::{Added, ContactFilter, ContactListRow, ContactRow, NewContact};
pub use decisions::DecisionRow;
pub use dial::{DialCampaign, Recovery, StoredAgent};
pub use dnc::{DncRow, NewDnc};
pub use error::{DbError, Deleted, Failures, StoreError};
pub use explain::{ForecastPage, LaterBy, NumberJudgement, TaskStanding, WaitingBucket};
pub use hold::{Hold, HoldError};
pub use imports::{
    IMPORT_DEAD_AFTER, ImportInto, ImportRow, ImportState, NewImport, Staged, StagedContact, StagedReject,
    Staging,
};
pub use lease::Leased;
pub use ledger::{
    CheckpointFile, CheckpointRow, LedgerBundle, LedgerError, LedgerState, NewFact, NumberedEntry,
    PlacedEntry, Published,
};
pub use metrics::{GateLabels, StoreMetrics};
pub use readable::{Rows, Unreadable};
pub use recordings::{RecordingRow, RecordingState};
pub use retention::Expiring;
pub use suppression::{ListRow, NewList, SuppressionKey};
pub use tasks::{
    ContactState, ContactTaskRow, EntryEnd, NewTask, NewTaskContacts, Rechecked, Requeued, RunningTasks,
    TaskContactRow, TaskFilter, TaskProgress, TaskRow, TaskWait, TasksToDial,
};
pub use trunks::{NewTrunk, TrunkFault, TrunkRow, WayOut};
pub use writer::{PendingPrepare, Writer, WriterStats};

use db::{Arg, Pools, Row, Tx};
use error::Stop;
use paceline_core::ids::{CampaignId, TaskId};
use sqlx::SqlSafeStr;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use suppression::Lists;

/// The database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pools: Arc<Pools>,
    metrics: StoreMetrics,
    /// True while the writer cannot write. The writer sets it.
    failing: Arc<AtomicBool>,
    /// For each campaign, the task that the last lease served. It is not stored: after a restart the turns start
    /// again at the first task.
    turns: Arc<Mutex<BTreeMap<CampaignId, TaskId>>>,
    /// The suppression lists in memory. `None`: there are some, and they are not loaded yet.
    lists: Arc<RwLock<Option<Arc<Lists>>>>,
}

impl Store {
    /// Opens the database and updates its schema. Call it on the runtime of the dialer. `url` is `sqlite:PATH`, created if missing, or
    /// `postgres://USER@HOST/DATABASE`. `metrics` counts gate decisions, commits and the writer's queue.
    ///
    /// If the store has suppression lists, it leases and prepares nothing before [`Store::open_suppression`].
    ///
    /// Fails if the database cannot be opened or if a newer Paceline wrote its schema.
    pub async fn open(url: &str, metrics: StoreMetrics) -> Result<Self, StoreError> {
        let pools = Pools::open(url).await?;
        let any = pools
            .rows("SELECT name FROM suppression_lists LIMIT 1", &[])
            .await;
        let no_list = any.map_err(StoreError::Open)?.is_empty();
        Ok(Self {
            lists: Arc::new(RwLock::new(no_list.then(Arc::default))),
            pools: Arc::new(pools),
            metrics,
            failing: Arc::default(),
            turns: Arc::default(),
        })
    }

    /// True if the writer's last transaction failed or the present one takes too long. Until it recovers, the dialer
    /// can store nothing.
    pub fn cannot_write(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// The same store with its own connections, for every user except the dialer. Under any load from these users,
    /// the dialer waits for at most one of their transactions. Reads that take too long fail. Call it on the runtime
    /// that will use it.
    pub fn beside(&self) -> Self {
        Self {
            pools: Arc::new(self.pools.beside()),
            ..self.clone()
        }
    }

    /// Checks that the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.pools.ping().await.map_err(query("reach the database"))
    }

    /// Closes every connection of this store once it is free. A store made by [`Store::beside`] closes only its own.
    /// SQLite moves its write-ahead log into the database file when the last connection closes.
    pub async fn close(&self) {
        self.pools.close().await;
    }

    fn turns(&self) -> MutexGuard<'_, BTreeMap<CampaignId, TaskId>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rows as of the last commit.
    async fn read(
        &self,
        doing: &'static str,
        sql: impl SqlSafeStr + Send,
        args: &[Arg<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        self.pools.rows(sql, args).await.map_err(query(doing))
    }

    /// Reads rows as of the last commit and converts each with `into`.
    async fn read_all<T>(
        &self,
        doing: &'static str,
        sql: impl SqlSafeStr + Send,
        args: &[Arg<'_>],
        into: impl Fn(&Row) -> Result<T, DbError> + Send,
    ) -> Result<Vec<T>, StoreError> {
        let rows = self.read(doing, sql, args).await?;
        rows.iter()
            .map(into)
            .collect::<Result<_, _>>()
            .map_err(query(doing))
    }

    /// Runs `work` in a transaction. Commits it if `work` succeeds, and rolls it back otherwise.
    async fn write<T>(
        &self,
        doing: &'static str,
        work: impl AsyncFnOnce(&mut Tx) -> Result<T, Stop>,
    ) -> Result<T, StoreError> {
        let mut tx = self.pools.begin().await.map_err(query(doing))?;
        match work(&mut tx).await {
            Ok(value) => {
                tx.commit().await.map_err(|error| query(doing)(error.into()))?;
                Ok(value)
            }
            Err(stop) => {
                // If the rollback fails too, dropping the transaction closes its connection.
                tx.rollback().await.ok();
                Err(match stop {
                    Stop::Db(error) => query(doing)(error),
                    Stop::Refused(error) => error,
                })
            }
        }
    }
}

fn query(doing: &'static str) -> impl Fn(DbError) -> StoreError {
    move |source| StoreError::Query { doing, source }
}
