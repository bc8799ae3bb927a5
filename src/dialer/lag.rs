//! How late the dialer's thread is, and whether the system's clock is believed. A moment is waited for, and how long ago it was when
//! its turn comes is counted: an answered call is late by as much before anything of ours sees it, so that no other metric has it.

use super::{Inner, Told};
use std::sync::Arc;
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_millis(250);

/// Looks until it is dropped.
pub(super) async fn watch(dialer: Arc<Inner>) {
    let (lag, shown) = (dialer.metrics.dialer_lag(), dialer.metrics.clock_doubted());
    let mut clock = dialer.clock.watch();
    let mut told = false;
    loop {
        let due = Instant::now() + EVERY;
        tokio::time::sleep_until(due.into()).await;
        lag.observe(due.elapsed());
        clock.look();
        let doubted = dialer.clock.is_doubted();
        if std::mem::replace(&mut told, doubted) != doubted {
            shown.set(i64::from(doubted));
            for inputs in dialer.all_inputs() {
                // A campaign that has stopped needs no telling.
                let _ = inputs.send(Told::ClockDoubted(doubted)).await;
            }
        }
    }
}
