//! How the dialer ends: for a restart, after which agents and conversations are still up; for good; or at once.

use super::{Dialer, Running, Told};
use paceline_core::live::LiveCampaign;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::error;

/// How long a stop waits for the store to take the last changes.
const FLUSH_PATIENCE: Duration = Duration::from_secs(10);
/// What is still up after a drain's deadline is hung up so often, until it is gone.
const HANG_UP_AGAIN: Duration = Duration::from_secs(1);
/// And given up after so many times.
const HANG_UPS_MAX: u32 = 30;

impl Dialer {
    /// Launches nothing more and takes back what rings. Returns once only conversations are left, or after `patience`.
    pub async fn settle(&self, patience: Duration) {
        let running = self.tell_running(|| Told::Stop).await;
        let settled = async {
            for (_, mut live) in running {
                let only_talks = |live: &Arc<LiveCampaign>| live.settled;
                let _ = live.wait_for(only_talks).await;
            }
        };
        let _ = tokio::time::timeout(patience, settled).await;
    }

    /// Notes that a drain is wanted, until then at the latest, and tells how long it may last. A later call may only bring that
    /// forward.
    pub(super) fn ask_to_drain(&self, within: Duration) -> Duration {
        let mut until = Instant::now() + within;
        self.0.drain_until.send_modify(|asked| {
            until = asked.map_or(until, |earlier| earlier.min(until));
            *asked = Some(until);
        });
        until.saturating_duration_since(Instant::now())
    }

    /// Returns once a drain is wanted.
    pub async fn drain_asked(&self) {
        // The other end is our own.
        let _ = self.0.drain_until.subscribe().wait_for(Option::is_some).await;
    }

    /// Launches nothing more, takes back what rings, and lets conversations go on; what is up at the deadline, if one was asked
    /// for, is hung up. Returns once every call is over, every agent is logged out and everything is stored.
    pub async fn drain(&self) {
        let running = self.tell_running(|| Told::Drain).await;
        let ended = async {
            for (_, mut live) in running {
                // The other end goes with the task.
                while live.changed().await.is_ok() {}
            }
        };
        let hung_up = async {
            self.deadline().await;
            for _ in 0..HANG_UPS_MAX {
                self.tell_running(|| Told::HangUpAll).await;
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

    /// Returns at the deadline of the drain, which may be brought forward meanwhile.
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

    /// Stops at once and stores what is known. Calls stay up on the PBXes, and are taken over at the next start.
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

    /// Tells every campaign. They stay where agents and PBXes find them until they have ended.
    async fn tell_running(
        &self,
        what: impl Fn() -> Told,
    ) -> Vec<(mpsc::Sender<Told>, watch::Receiver<Arc<LiveCampaign>>)> {
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
