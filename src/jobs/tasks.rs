//! Starts each scheduled task at its start time, even if no agent is logged in. Tells the dialer of started tasks and of completed
//! ones.

use super::Job;
use crate::api::control::Dialer;
use crate::clock::Clock;
use crate::store::{RunningTasks, Store, StoreError};
use futures_util::future::BoxFuture;
use paceline_core::campaign::TaskState;
use paceline_core::ids::{CampaignId, TaskId};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The job that starts scheduled tasks.
pub struct Tasks {
    store: Store,
    clock: Clock,
    dialer: Arc<dyn Dialer>,
    /// The tasks that were running at the job's last run.
    ran: BTreeSet<(CampaignId, TaskId)>,
    /// The time until the next run.
    wait: Duration,
}

/// A completed task is noticed within this time, and a start time at once. Each run is a query, so it is not less.
const LOOK_EVERY: Duration = Duration::from_secs(5);

impl Tasks {
    /// The job's name, by which the API wakes it when there is a new task.
    pub const NAME: &'static str = "tasks";

    /// Creates the job for the tasks of this store.
    pub fn new(store: Store, clock: Clock, dialer: Arc<dyn Dialer>) -> Self {
        let ran = BTreeSet::new();
        Self {
            store,
            clock,
            dialer,
            ran,
            wait: LOOK_EVERY,
        }
    }

    async fn look(&mut self) -> Result<u64, StoreError> {
        let now = self.clock.now().wall;
        let RunningTasks {
            running,
            started,
            next_start,
        } = self.store.start_due_tasks(now, LOOK_EVERY).await?;
        self.wait = next_start.map_or(LOOK_EVERY, |at| at.since(now));
        for (campaign, task) in &started {
            self.dialer.task_changed(*campaign, *task).await;
        }
        let run: BTreeSet<_> = running.into_iter().collect();
        for (campaign, task) in self.ran.difference(&run) {
            // The API tells the dialer of paused and cancelled tasks itself.
            if self.store.task_state(*task).await? == Some(TaskState::Completed) {
                self.dialer.task_changed(*campaign, *task).await;
            }
        }
        self.ran = run;
        Ok(started.len() as u64)
    }
}

impl Job for Tasks {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn period(&self) -> Duration {
        self.wait
    }

    fn run_once(&mut self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.look())
    }
}
