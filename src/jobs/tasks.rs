//! Starts scheduled tasks when their time has come, whether or not an agent is there, and tells the dialer of them and of tasks that
//! are complete.

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

/// The job.
pub struct Tasks {
    store: Store,
    clock: Clock,
    dialer: Arc<dyn Dialer>,
    /// Those that ran at the last turn.
    ran: BTreeSet<(CampaignId, TaskId)>,
}

impl Tasks {
    /// Over the tasks of this store.
    pub fn new(store: Store, clock: Clock, dialer: Arc<dyn Dialer>) -> Self {
        let ran = BTreeSet::new();
        Self {
            store,
            clock,
            dialer,
            ran,
        }
    }

    async fn look(&mut self) -> Result<u64, StoreError> {
        let RunningTasks { running, started } = self.store.start_due_tasks(self.clock.now().wall).await?;
        for (campaign, task) in &started {
            self.dialer.task_changed(*campaign, *task).await;
        }
        let run: BTreeSet<_> = running.into_iter().collect();
        for (campaign, task) in self.ran.difference(&run) {
            // Whoever paused or cancelled one has told the dialer.
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
        "tasks"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn turn(&mut self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.look())
    }
}
