//! Where everything that must survive a crash is kept: SQLite by default, PostgreSQL by URL, with one set of queries.
//!
//! In: values of the core. Out: rows, typed. It asks the gate where a decision must be made in the transaction that
//! stores it, and decides nothing else. The dialer uses [`Store::recover`], [`Store::lease`], [`Store::give_back`] and
//! the [`Writer`]; all else is for the API, the importer and the command line. Start at [`Store::open`].
//!
//! Invariants kept here: no attempt without its leg row and its `allow` decision (one transaction); a number is held by
//! one task at a time (`number_leases`); a contact is leased exactly while its number is held.

mod db;
mod dial;
mod error;
mod lease;
mod many;
mod writer;

pub use dial::{DialCampaign, Recovery, StoredAgent};
pub use error::{DbError, StoreError};
pub use lease::Leased;
pub use writer::{PendingPrepare, Writer, WriterStats};

use crate::metrics::Metrics;
use db::Pools;
use std::sync::Arc;

/// The database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pools: Arc<Pools>,
    metrics: Metrics,
}

impl Store {
    /// Opens the database and brings its schema up to date. `url` is `sqlite:PATH`, created if missing, or
    /// `postgres://USER@HOST/DATABASE`. Gate decisions, commits and the writer's queue are counted in `metrics`.
    ///
    /// Fails where the place cannot be opened or its schema is from a newer Paceline.
    pub async fn open(url: &str, metrics: &Metrics) -> Result<Self, StoreError> {
        let pools = Pools::open(url).await?;
        Ok(Self {
            pools: Arc::new(pools),
            metrics: metrics.clone(),
        })
    }

    /// Closes every connection once it is free. SQLite folds its write-ahead log into the database file.
    pub async fn close(&self) {
        self.pools.close().await;
    }
}
