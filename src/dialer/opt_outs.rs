//! Tells the engines which of their numbers must not be called any more. Every leased, dialed or ringing number is in the
//! store's table of leased numbers, so one read finds those to stop, however they came on a list. The read is retried until
//! it succeeds. A restart repeats it, so a crash after the opt-out loses nothing.
//!
//! In: the notice that a list has changed. Out: [`CampaignInput::OptedOut`]. Start at [`watch`].

use super::{CampaignInput, Chain, Dialer, Inner, REQUEST_PATIENCE};
use crate::store::NewDnc;
use paceline_core::ids::{AttemptId, CampaignId};
use paceline_core::number::E164;
use paceline_core::suppression::DncSource;
use paceline_core::time::Wall;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tracing::{info, warn};

const READ_RETRY_MIN: Duration = Duration::from_millis(50);
const READ_RETRY_MAX: Duration = Duration::from_secs(1);

/// Counts the notices, and the notices that the engines know of. Notices that arrive during a read share the next one.
#[derive(Debug)]
pub(super) struct OptOuts {
    noticed: watch::Sender<u64>,
    told: watch::Sender<u64>,
}

impl Default for OptOuts {
    fn default() -> Self {
        Self {
            noticed: watch::Sender::new(0),
            told: watch::Sender::new(0),
        }
    }
}

impl OptOuts {
    /// A list has changed, or a campaign has started. Returns the number of this notice.
    pub(super) fn notice(&self) -> u64 {
        let mut number = 0;
        self.noticed.send_modify(|noticed| {
            *noticed = noticed.saturating_add(1);
            number = *noticed;
        });
        number
    }
}

impl Dialer {
    /// Call this after a number was put on a do-not-call list in the store. Returns once the engines' queues have it, or after
    /// 5 s; then the dialer goes on in the background.
    pub async fn suppression_changed(&self) {
        let notice = self.0.opt_outs.notice();
        let mut told = self.0.opt_outs.told.subscribe();
        let told = told.wait_for(|told| *told >= notice);
        let _ = tokio::time::timeout(REQUEST_PATIENCE, told).await;
    }
}

/// Runs until the task is aborted.
pub(super) async fn watch(dialer: Arc<Inner>) {
    let mut noticed = dialer.opt_outs.noticed.subscribe();
    // The sender lives as long as the dialer, so the wait does not fail.
    while noticed.changed().await.is_ok() {
        let notice = *noticed.borrow_and_update();
        for (campaign, numbers) in read(&dialer).await {
            let Some(inputs) = dialer.inputs_of(campaign) else {
                continue;
            };
            info!(campaign.id = %campaign, "{} leased numbers of campaign {campaign} are on a do-not-call list: unanswered calls to them are \
                cancelled", numbers.len());
            // If the send fails, the campaign has stopped.
            let _ = inputs.send(CampaignInput::OptedOut { numbers }).await;
        }
        dialer.opt_outs.told.send_replace(notice);
    }
}

async fn read(dialer: &Inner) -> BTreeMap<CampaignId, Vec<E164>> {
    let mut delay = READ_RETRY_MIN;
    loop {
        match dialer.store.suppressed_leases(dialer.clock.now().wall).await {
            Ok(numbers) => return numbers,
            Err(err) => {
                warn!(error = %Chain(&err), "the opt-outs in the store could not be read yet; trying again");
            }
        }
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(READ_RETRY_MAX);
    }
}

/// Stores the opt-out of a callee who pressed the campaign's key, and repeats it until the store accepts it. Then calls to the
/// number are stopped.
pub(super) async fn store(dialer: Arc<Inner>, attempt: AttemptId, number: E164, at: Wall) {
    let entry = NewDnc {
        attempt: Some(attempt),
        ..NewDnc::new(DncSource::Keypress, "the callee's keypress", at)
    };
    let mut delay = READ_RETRY_MIN;
    while let Err(err) = dialer.store.add_dnc(std::slice::from_ref(&number), &entry).await {
        warn!(attempt.id = %attempt, error = %Chain(&err), "the opt-out of a callee could not be stored yet; trying again");
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(READ_RETRY_MAX);
    }
    dialer.opt_outs.notice();
}
