//! Measures the delay of the dialer's thread, and tells the campaigns whether the system clock is trusted. The task sleeps until a
//! moment and measures how late it wakes. An answered call waits as long before Paceline reads it, and no other metric contains this
//! delay.

use super::{CampaignInput, Inner};
use crate::clock::{self, Clock};
use futures_util::future::join_all;
use paceline_runtime::wakings;
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

const EVERY: Duration = Duration::from_millis(250);
/// The two clocks that show a suspension are read one after the other, so smaller differences prove nothing.
const SUSPENSION_MIN: Duration = Duration::from_millis(100);

/// Runs until the task is aborted.
pub(super) async fn watch(dialer: Arc<Inner>) {
    let (lag, shown) = (dialer.metrics.dialer_lag(), dialer.metrics.clock_doubted());
    let mut clock = dialer.clock.watch();
    let mut told = false;
    let mut moved_ms = Clock::moved_ms();
    let mut suspended = clock::suspended();
    let mut ticks = wakings::ticks_together(EVERY);
    loop {
        let due = ticks.tick().await;
        lag.observe(due.elapsed());
        clock.look();
        let doubted = dialer.clock.is_doubted();
        if std::mem::replace(&mut told, doubted) != doubted {
            shown.set(i64::from(doubted));
            tell_all(&dialer, || CampaignInput::ClockDoubted(doubted)).await;
        }
        let suspended_now = clock::suspended();
        let slept = suspended_now.saturating_sub(std::mem::replace(&mut suspended, suspended_now));
        if slept > SUSPENSION_MIN {
            warn!(
                "this machine was suspended for {} s: callees who answered meanwhile have waited as long",
                slept.as_secs()
            );
            // It wakes the campaigns, whose timers stood still.
            tell_all(&dialer, || CampaignInput::ClockDoubted(doubted)).await;
        }
        let now_ms = Clock::moved_ms();
        if std::mem::replace(&mut moved_ms, now_ms) != now_ms {
            // Contacts may be due that were not due at the old time.
            tell_all(&dialer, || CampaignInput::WorkAdded).await;
        }
    }
}

/// Tells all campaigns at once, so that a campaign with a full queue delays no other. If a send fails, the campaign has stopped.
async fn tell_all(dialer: &Inner, input: impl Fn() -> CampaignInput) {
    let tell = dialer.all_inputs().into_iter().map(|inputs| {
        let input = input();
        async move { inputs.send(input).await }
    });
    join_all(tell).await;
}
