//! Looks again at contacts that the gate makes wait one by one or has denied, after the rules or settings of their campaign or a
//! suppression list have changed or a do-not-call entry has ended, and tells the dialer of their tasks. After each slice the job sleeps for as long as the slice took, so
//! that the dialer's writes wait for one slice at most.

use super::Job;
use crate::api::control::Dialer;
use crate::clock::Clock;
use crate::store::{EntryEnd, Store, StoreError};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The job that looks at held contacts again.
pub struct Rechecking {
    /// The store with the tasks.
    pub store: Store,
    /// The clock that says when the contacts are due.
    pub clock: Clock,
    /// The dialer, which is told of each task with contacts that are due now.
    pub dialer: Arc<dyn Dialer>,
    /// The last do-not-call entry whose end was seen. The first run after a start sees all that have ended.
    pub seen: EntryEnd,
}

impl Rechecking {
    /// The job's name, by which the API wakes it when a list has changed.
    pub const NAME: &'static str = "rechecking";

    async fn recheck(&mut self) -> Result<u64, StoreError> {
        self.see_ended_entries().await?;
        let mut done = 0_u64;
        loop {
            let tasks = self.store.tasks_to_recheck().await?;
            if tasks.is_empty() {
                return Ok(done);
            }
            for task in tasks {
                let began = Instant::now();
                let rechecked = self.store.recheck_some(task, self.clock.now().wall).await?;
                let rechecked = rechecked.unwrap_or_default();
                done = done.saturating_add(rechecked.contacts);
                for (campaign, task) in rechecked.tasks {
                    self.dialer.task_changed(campaign, task).await;
                }
                tokio::time::sleep(began.elapsed()).await;
            }
        }
    }

    async fn see_ended_entries(&mut self) -> Result<(), StoreError> {
        loop {
            let began = Instant::now();
            let now = self.clock.now().wall;
            let (last, tasks) = self.store.reopen_ended_entries(self.seen, now).await?;
            for (campaign, task) in tasks {
                self.dialer.task_changed(campaign, task).await;
            }
            if last == self.seen {
                return Ok(());
            }
            self.seen = last;
            tokio::time::sleep(began.elapsed()).await;
        }
    }
}

impl Job for Rechecking {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn period(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// One slice is short, but there may be millions of contacts.
    fn patience(&self) -> Duration {
        Duration::from_secs(2 * 60 * 60)
    }

    fn run_once(&mut self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.recheck())
    }
}
