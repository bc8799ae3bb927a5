//! What has changed in the store and must reach an engine. It is read until it can be read, and for one campaign one
//! after the other, so that the last word an engine hears is the newest.
//!
//! In: that something has changed. Out: what the campaign's task is told, or a new one. Start at [`Dialer::changed`].

use super::{Chain, Dialer, Inner, REQUEST_PATIENCE, StartError, Told};
use crate::store::StoreError;
use paceline_core::campaign::{CampaignState, TaskState};
use paceline_core::event::What;
use paceline_core::ids::{CampaignId, TaskId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;
use tracing::warn;

const READ_RETRY_MIN: Duration = Duration::from_millis(100);
const READ_RETRY_MAX: Duration = Duration::from_secs(5);

/// Something that has changed in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Changed {
    Campaign(CampaignId),
    Task(CampaignId, TaskId),
    /// Which PBXes are in maintenance.
    Maintenance,
}

/// What is to be read still, each thing once, and whose turn it is in each campaign, and for all of them.
#[derive(Debug, Default)]
pub(super) struct Changes {
    unread: BTreeSet<Changed>,
    turns: BTreeMap<Option<CampaignId>, Arc<tokio::sync::Mutex<()>>>,
}

#[derive(Debug, thiserror::Error)]
enum TellError {
    #[error("cannot read the changes in the store")]
    Read(#[source] StoreError),
    #[error("start the campaign")]
    Start(#[source] StartError),
}

impl Changed {
    /// Whose it is; none where it is everybody's.
    fn campaign(self) -> Option<CampaignId> {
        match self {
            Self::Campaign(campaign) | Self::Task(campaign, _) => Some(campaign),
            Self::Maintenance => None,
        }
    }
}

impl Inner {
    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dialer {
    /// The campaign's state, settings or trunks have changed in the store.
    pub async fn campaign_changed(&self, id: CampaignId) {
        self.changed(Changed::Campaign(id)).await;
    }

    /// A task has changed in the store: a running one may have work, a paused or cancelled one gives back its
    /// contacts, and a cancelled one also its calls that nobody answered yet.
    pub async fn task_changed(&self, campaign: CampaignId, task: TaskId) {
        self.changed(Changed::Task(campaign, task)).await;
    }

    /// Which PBXes are in maintenance has changed in the store.
    pub async fn maintenance_changed(&self) {
        self.changed(Changed::Maintenance).await;
    }

    /// Returns once the engine has been told, or before where the store cannot be read: then it is tried on.
    async fn changed(&self, what: Changed) {
        let turn = {
            let mut changes = self.0.changes();
            if !changes.unread.insert(what) {
                // Whoever waits for the turn has not read it yet.
                return;
            }
            Arc::clone(changes.turns.entry(what.campaign()).or_default())
        };
        let dialer = self.clone();
        let told = self.0.home.spawn(async move {
            let _turn = turn.lock().await;
            dialer.0.changes().unread.remove(&what);
            dialer.tell_until_told(what).await;
        });
        // Either way the task goes on.
        let _ = tokio::time::timeout(REQUEST_PATIENCE, told).await;
    }

    async fn tell_until_told(&self, what: Changed) {
        let mut delay = READ_RETRY_MIN;
        while let Err(err) = self.tell(what).await {
            if self.has_stopped() {
                return;
            }
            let id = what.campaign().map(tracing::field::display);
            warn!(campaign.id = id, error = %Chain(&err), "changes in the store could not be read yet; trying again");
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(READ_RETRY_MAX);
        }
    }

    /// The task's state, told to those who follow.
    async fn task_state(&self, campaign: CampaignId, task: TaskId) -> Result<Option<TaskState>, TellError> {
        let state = self.0.store.task_state(task).await.map_err(TellError::Read)?;
        if let Some(state) = state {
            let now = self.0.clock.now().wall;
            self.0
                .events
                .tell(now, Some(campaign), What::Task { task, state });
        }
        Ok(state)
    }

    async fn tell(&self, what: Changed) -> Result<(), TellError> {
        let running = what.campaign().and_then(|id| self.0.inputs_of(id));
        let told = match what {
            Changed::Maintenance => {
                let stored = self.0.store.maintained().await.map_err(TellError::Read)?;
                self.0.maintain(stored).await;
                return Ok(());
            }
            Changed::Campaign(id) => {
                let campaign = self.0.store.dial_campaign(id).await.map_err(TellError::Read)?;
                match campaign {
                    Some(campaign) if running.is_none() => {
                        return self.run_campaign(campaign).await.map_err(TellError::Start);
                    }
                    Some(campaign) if campaign.state != CampaignState::Archived => {
                        Told::Settings(Box::new(campaign))
                    }
                    Some(_) | None => Told::Drain,
                }
            }
            Changed::Task(campaign, task) => match self.task_state(campaign, task).await? {
                Some(TaskState::Running | TaskState::Scheduled) => Told::WorkAdded,
                Some(TaskState::Preparing | TaskState::Paused | TaskState::Completed) | None => {
                    Told::TaskStopped { task, hang_up: false }
                }
                Some(TaskState::Cancelled) => Told::TaskStopped { task, hang_up: true },
            },
        };
        if let Some(inputs) = running {
            // A campaign that has stopped meanwhile needs no telling.
            let _ = inputs.send(told).await;
        }
        Ok(())
    }

    fn has_stopped(&self) -> bool {
        self.0.stopping.load(Ordering::Acquire) && self.0.state().campaigns.is_empty()
    }
}
