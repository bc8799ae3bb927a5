//! How late the dialer's thread is: a moment is waited for, and how long ago it was when its turn comes is counted. An
//! answered call is late by as much before anything of ours sees it, so that no other metric has it. And whether the system's
//! clock is believed.

use crate::clock::Clock;
use crate::metrics::Seconds;
use prometheus_client::metrics::gauge::Gauge;
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_millis(100);

/// Counts until it is dropped.
pub(super) async fn count(lag: Seconds) {
    loop {
        let due = Instant::now() + EVERY;
        tokio::time::sleep_until(due.into()).await;
        lag.observe(due.elapsed());
    }
}

/// Shows it until it is dropped. The clock is read even where nothing else happens.
pub(super) async fn show_doubt(clock: Clock, shown: Gauge) {
    loop {
        clock.now();
        shown.set(i64::from(clock.is_doubted()));
        tokio::time::sleep(EVERY).await;
    }
}
