//! Adds the new data of a published import to the contacts that its list already had, and tells the dialer of their tasks. An import
//! of this process wakes the job. The job finds the imports of another process or of an earlier run within a minute.

use super::Job;
use crate::api::control::Dialer;
use crate::store::{Store, StoreError};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

/// The job that adds the data of published imports to older contacts.
pub struct Filling {
    /// The store with the imports.
    pub store: Store,
    /// The dialer, which is told of each task whose contacts have changed.
    pub dialer: Arc<dyn Dialer>,
}

impl Filling {
    /// The job's name in reports and metrics.
    pub const NAME: &'static str = "filling";

    async fn fill(&self) -> Result<u64, StoreError> {
        let (filled, changed, failures) = self.store.fill_published_imports().await?;
        for (campaign, task) in changed {
            self.dialer.task_changed(campaign, task).await;
        }
        failures.none()?;
        Ok(filled)
    }
}

impl Job for Filling {
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
        Box::pin(self.fill())
    }
}
