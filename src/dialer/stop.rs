//! The ways to stop the dialer: for a restart, with held legs and conversations left up; after all calls have ended; or at once.

use super::{CampaignInput, Dialer, Running};
use paceline_core::live::LiveCampaign;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::error;

/// Maximum time that a stop waits for the end of the calls that it has cancelled.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);
/// Maximum time that a stop waits for the store to write the last changes.
const FLUSH_PATIENCE: Duration = Duration::from_secs(10);
/// Interval between two hang-ups of the legs that are still up after a drain's deadline.
const HANG_UP_AGAIN: Duration = Duration::from_secs(1);
/// Maximum number of those hang-ups. After them the process stops, and the legs may stay up.
const HANG_UPS_MAX: u32 = 30;

impl Dialer {
    /// Launches no more calls, and serves those that ring. After `patience` it cancels the calls that still ring. Returns once
    /// only conversations are left, or [`CANCEL_PATIENCE`] after the cancellation.
    pub async fn settle(&self, patience: Duration) {
        for (cancel, patience) in [(false, patience), (true, CANCEL_PATIENCE)] {
            let running = self.tell_running(|| CampaignInput::Stop { cancel }).await;
            let settled = async {
                for (_, mut live) in running {
                    let only_talks = |live: &Arc<LiveCampaign>| live.settled;
                    let _ = live.wait_for(only_talks).await;
                }
            };
            if tokio::time::timeout(patience, settled).await.is_ok() {
                return;
            }
        }
    }

    /// Requests a drain that ends within this time, and returns the time left until the deadline. A second request can make
    /// the deadline earlier, but not later.
    pub(super) fn ask_to_drain(&self, within: Duration) -> Duration {
        let mut until = Instant::now() + within;
        self.0.drain_until.send_modify(|asked| {
            until = asked.map_or(until, |earlier| earlier.min(until));
            *asked = Some(until);
        });
        until.saturating_duration_since(Instant::now())
    }

    /// Returns once a drain was requested.
    pub async fn drain_asked(&self) {
        // The wait cannot fail, because `self` holds the sender.
        let _ = self.0.drain_until.subscribe().wait_for(Option::is_some).await;
    }

    /// Launches no more calls, cancels those that ring once they have rung for the minimum time, and lets conversations go on.
    /// If a deadline was requested, hangs up the
    /// legs that are still up then. Returns once every call has ended, every agent is logged out and all changes are stored,
    /// or if a PBX does not confirm the hang-ups.
    pub async fn drain(&self) {
        let running = self.tell_running(|| CampaignInput::Drain).await;
        let ended = async {
            for (_, mut live) in running {
                // The task drops the sender when it ends.
                while live.changed().await.is_ok() {}
            }
        };
        let hung_up = async {
            self.deadline().await;
            for _ in 0..HANG_UPS_MAX {
                self.tell_running(|| CampaignInput::HangUpAll).await;
                tokio::time::sleep(HANG_UP_AGAIN).await;
            }
        };
        let all_ended = tokio::select! {
            () = ended => true,
            () = hung_up => false,
        };
        if !all_ended {
            error!("a PBX does not confirm hang-ups; its own time limits will end the remaining calls");
            return self.stop().await;
        }
        let ended = std::mem::take(&mut self.0.state().campaigns);
        for campaign in ended.into_values() {
            if let Err(err) = campaign.task.await {
                error!(error = %err, "the task of a campaign failed; the next start takes its calls over; report this as a bug");
            }
        }
        self.stop().await;
    }

    /// Returns at the deadline of the drain. A request in the meantime can make it earlier.
    async fn deadline(&self) {
        let mut asked = self.0.drain_until.subscribe();
        loop {
            let until = *asked.borrow_and_update();
            let passed = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = passed => return,
                _ = asked.changed() => {}
            }
        }
    }

    /// Stops at once and stores the changes that wait for the store, which takes 10 s at most. Calls stay up on the PBXes,
    /// and the next start takes them over.
    pub async fn stop(&self) {
        self.0.stopping.store(true, Ordering::Release);
        let mut state = std::mem::take(&mut *self.0.state());
        for link in state.links.drain(..) {
            link.abort();
        }
        for campaign in std::mem::take(&mut state.campaigns).into_values() {
            campaign.task.abort();
        }
        if tokio::time::timeout(FLUSH_PATIENCE, self.0.writer.flush())
            .await
            .is_err()
        {
            error!(
                "the store cannot write: the last changes are lost, and the next start resynchronises with the PBXes"
            );
        }
    }

    /// Sends an input to every campaign. The campaigns stay registered until they end, so that agents' requests and PBX
    /// events still reach them.
    async fn tell_running(
        &self,
        what: impl Fn() -> CampaignInput,
    ) -> Vec<(mpsc::Sender<CampaignInput>, watch::Receiver<Arc<LiveCampaign>>)> {
        self.0.stopping.store(true, Ordering::Release);
        let running: Vec<_> = {
            let state = self.0.state();
            let both = |running: &Running| (running.inputs.clone(), running.live.clone());
            state.campaigns.values().map(both).collect()
        };
        for (inputs, _) in &running {
            let _ = inputs.send(what()).await;
        }
        running
    }
}
