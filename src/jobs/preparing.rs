//! Takes the contacts of new, large tasks from their lists, one slice of each task in turn. After each slice the job sleeps for as
//! long as the slice took, so that the dialer's writes wait for one slice at most.

use super::tasks::Tasks;
use super::{Job, Jobs};
use crate::api::control::Dialer;
use crate::clock::Clock;
use crate::store::{Failures, Store, StoreError};
use futures_util::future::BoxFuture;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The job that prepares new tasks.
pub struct Preparing {
    /// The store with the tasks.
    pub store: Store,
    /// The clock that is compared with a task's start time.
    pub clock: Clock,
    /// The dialer, which is told of each prepared task.
    pub dialer: Arc<dyn Dialer>,
    /// The jobs, of which [`Tasks`] is woken for each prepared task.
    pub jobs: Jobs,
}

impl Preparing {
    /// The job's name, by which the API wakes it when there is a task to prepare.
    pub const NAME: &'static str = "preparing";

    async fn prepare(&self) -> Result<u64, StoreError> {
        let (mut failed, mut failures) = (BTreeSet::new(), Failures::default());
        loop {
            let mut tasks = self.store.preparing_tasks().await?;
            tasks.retain(|(_, task)| !failed.contains(task));
            if tasks.is_empty() {
                failures.none()?;
                return Ok(0);
            }
            for (campaign, task) in tasks {
                let began = Instant::now();
                match self.store.prepare_some(task, self.clock.now().wall).await {
                    Ok(Some(contacts)) => self.jobs.progressed(Self::NAME, contacts),
                    Ok(None) => {
                        self.dialer.task_changed(campaign, task).await;
                        self.jobs.wake(Tasks::NAME);
                    }
                    Err(error) => {
                        failures.note(format!("task {task}"), error);
                        failed.insert(task);
                    }
                }
                tokio::time::sleep(began.elapsed()).await;
            }
        }
    }
}

impl Job for Preparing {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn period(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn run_once(&mut self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.prepare())
    }
}
