//! Hands changes in the store to the engines. A failed read is retried. The changes of one campaign are read one after the
//! other, so that the last input that an engine gets is the newest state.
//!
//! In: the notice that a campaign, a task or the maintenance has changed. Out: an input of the campaign's task, or a new
//! task. Start at [`Dialer::changed`].

use super::{CampaignInput, Chain, Dialer, Inner, REQUEST_PATIENCE, StartError};
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

/// A change in the store, without the new values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Changed {
    Campaign(CampaignId),
    Task(CampaignId, TaskId),
    /// The list of PBXes in maintenance.
    Maintenance,
}

/// The changes that are not read yet, each once, and one lock per campaign. The lock under `None` is for changes that
/// concern all campaigns.
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
    /// The campaign that the change concerns. `None` if it concerns all campaigns.
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
    /// Call this after the campaign's state, settings or trunks have changed in the store. Returns once the engine's queue
    /// has the change, or after 5 s; then the dialer goes on in the background.
    pub async fn campaign_changed(&self, id: CampaignId) {
        self.changed(Changed::Campaign(id)).await;
    }

    /// Call this after a task has changed in the store. A running task may have work. The engine gives back the contacts of a
    /// paused, completed or cancelled task, and cancels the unanswered calls of a cancelled one. Returns as
    /// [`Dialer::campaign_changed`] does.
    pub async fn task_changed(&self, campaign: CampaignId, task: TaskId) {
        self.changed(Changed::Task(campaign, task)).await;
    }

    /// Call this after the list of PBXes in maintenance has changed in the store. Returns as [`Dialer::campaign_changed`]
    /// does.
    pub async fn maintenance_changed(&self) {
        self.changed(Changed::Maintenance).await;
    }

    /// Returns once the engine's queue has the change, or after [`REQUEST_PATIENCE`]. Returns at once if the same change is
    /// already waiting to be read.
    async fn changed(&self, what: Changed) {
        let turn = {
            let mut changes = self.0.changes();
            if !changes.unread.insert(what) {
                // An earlier call waits for the lock and will read this change too.
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
        // After the timeout the spawned task goes on.
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

    /// Reads the task's state and sends it to the event stream.
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
                        CampaignInput::Settings(Box::new(campaign))
                    }
                    Some(_) | None => CampaignInput::Drain,
                }
            }
            Changed::Task(campaign, task) => match self.task_state(campaign, task).await? {
                Some(TaskState::Running | TaskState::Scheduled) => CampaignInput::WorkAdded,
                Some(TaskState::Preparing | TaskState::Paused | TaskState::Completed) | None => {
                    CampaignInput::TaskStopped { task, hang_up: false }
                }
                Some(TaskState::Cancelled) => CampaignInput::TaskStopped { task, hang_up: true },
            },
        };
        if let Some(inputs) = running {
            // If the send fails, the campaign has stopped.
            let _ = inputs.send(told).await;
        }
        Ok(())
    }

    fn has_stopped(&self) -> bool {
        self.0.stopping.load(Ordering::Acquire) && self.0.state().campaigns.is_empty()
    }
}
