//! Deletes the contacts of imports that were cancelled or failed. An import of this process wakes the job. The job finds the imports
//! of another process or of an earlier run within a minute.

use super::Job;
use crate::store::{Store, StoreError};
use futures_util::future::BoxFuture;
use std::time::Duration;

/// The job that deletes the contacts of cancelled and failed imports.
#[derive(Debug)]
pub struct Clearing {
    /// The store with the imports.
    pub store: Store,
}

impl Clearing {
    /// The job's name in reports and metrics.
    pub const NAME: &'static str = "clearing";
}

impl Job for Clearing {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn period(&self) -> Duration {
        Duration::from_secs(60)
    }

    /// One slice is short, but there may be millions of rows.
    fn patience(&self) -> Duration {
        Duration::from_secs(2 * 60 * 60)
    }

    fn run_once(&mut self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.store.clear_cancelled_imports())
    }
}
