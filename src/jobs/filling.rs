//! Adds the new data of a published import to the contacts that its list already had. An import of this process wakes the job. The
//! job finds the imports of another process or of an earlier run within a minute.

use super::Job;
use crate::store::{Store, StoreError};
use futures_util::future::BoxFuture;
use std::time::Duration;

/// The job that adds the data of published imports to older contacts.
#[derive(Debug)]
pub struct Filling {
    /// The store with the imports.
    pub store: Store,
}

impl Filling {
    /// The job's name in reports and metrics.
    pub const NAME: &'static str = "filling";
}

impl Job for Filling {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn period(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn run_once(&mut self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.store.fill_published_imports())
    }
}
