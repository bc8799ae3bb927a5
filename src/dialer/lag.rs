//! How late the dialer's thread is: a moment is waited for, and how long ago it was when its turn comes is counted. An
//! answered call is late by as much before anything of ours sees it, so that no other metric has it.

use crate::metrics::Seconds;
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
