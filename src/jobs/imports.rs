//! Goes on with imports that the last run published or cancelled and did not finish: filling in, and clearing away.

use super::Job;
use crate::store::{Store, StoreError};
use futures_util::future::BoxFuture;
use std::time::Duration;

/// The job.
#[derive(Debug)]
pub struct UnfinishedImports {
    /// Where they are.
    pub store: Store,
}

impl Job for UnfinishedImports {
    fn name(&self) -> &'static str {
        "unfinished_imports"
    }

    fn period(&self) -> Option<Duration> {
        None
    }

    fn turn(&mut self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async { self.store.finish_imports().await.map(|()| 0) })
    }
}
