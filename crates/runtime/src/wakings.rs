//! A short sleep between two wake-ups of the runtime's thread. In: the clock, and whether a task waits for the store. Out: a
//! hook for [`tokio::runtime::Builder::on_thread_park`].
//!
//! In a busy minute a PBX sends thousands of small frames. A wake-up costs more than handling one frame, so a thread that
//! woke up a moment ago sleeps while more frames arrive. A thread that was idle wakes up at once. So does a thread that waits
//! for a statement of the store: a transaction has about twelve statements, and a sleep after each would make it last 50 ms
//! instead of 5 ms.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::time::{Interval, MissedTickBehavior, interval_at};

/// Minimum time between two wake-ups. It is less than half of the 10 ms that Paceline may add to an answered call.
pub const REST: Duration = Duration::from_millis(4);

thread_local! {
    /// Number of [`Awake`] values on this thread. It is counted per thread, because the API waits for the store on its own
    /// threads, and that must not keep the dialer's thread awake.
    static AWAITED: Cell<usize> = const { Cell::new(0) };
}

/// While this value exists, the thread that created it does not sleep between wake-ups.
#[derive(Debug)]
pub struct Awake(());

/// Keeps the thread from sleeping between wake-ups until the result is dropped. Use it for waits that end within milliseconds.
pub fn stay_awake() -> Awake {
    AWAITED.with(|awaited| awaited.set(awaited.get().saturating_add(1)));
    Awake(())
}

impl Drop for Awake {
    fn drop(&mut self) {
        // On a runtime with several threads the value may have moved to another thread. Those threads never sleep this way.
        AWAITED.with(|awaited| awaited.set(awaited.get().saturating_sub(1)));
    }
}

/// The hook. The runtime calls it each time the thread has nothing to do. If less than [`REST`] has passed since the last call
/// and no [`Awake`] exists on the thread, it sleeps until [`REST`] has passed.
pub fn between_wakings() -> impl Fn() + Send + Sync + 'static {
    let started = Instant::now();
    let parked_at_us = AtomicU64::new(0);
    move || {
        let elapsed = started.elapsed();
        let before = Duration::from_micros(parked_at_us.load(Relaxed));
        if let Some(rest) = REST.checked_sub(elapsed.saturating_sub(before))
            && AWAITED.with(Cell::get) == 0
        {
            std::thread::sleep(rest);
        }
        let us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        parked_at_us.store(us, Relaxed);
    }
}

/// Ticks at once, and then at every multiple of `period` since the process first called this. So tasks with the same period tick
/// together, and the thread wakes once for all of them. A missed tick is skipped.
pub fn ticks_together(period: Duration) -> Interval {
    static STARTED: OnceLock<tokio::time::Instant> = OnceLock::new();
    let now = tokio::time::Instant::now();
    let since = now.saturating_duration_since(*STARTED.get_or_init(|| now));
    let behind = since.as_nanos().checked_rem(period.as_nanos()).unwrap_or(0);
    let behind = Duration::from_nanos(u64::try_from(behind).unwrap_or(0));
    let mut ticks = interval_at(now.checked_sub(behind).unwrap_or(now), period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tasks_with_the_same_period_tick_together() {
        const PERIOD: Duration = Duration::from_millis(250);
        let mut first = ticks_together(PERIOD);
        let started = first.tick().await;
        tokio::time::advance(Duration::from_millis(610)).await;
        let mut second = ticks_together(PERIOD);
        assert_eq!(second.tick().await, started + PERIOD * 2, "at once");
        first.tick().await; // the missed ones
        assert_eq!(first.tick().await, started + PERIOD * 3);
        assert_eq!(second.tick().await, started + PERIOD * 3);
    }

    #[test]
    fn a_thread_that_was_woken_a_moment_ago_rests_unless_it_waits_for_the_store() {
        let park = between_wakings();
        park();
        let woken = Instant::now();
        park();
        let rested = woken.elapsed();
        assert!(rested >= REST.mul_f64(0.9), "rested {rested:?}");
        let awake = stay_awake();
        let woken = Instant::now();
        for _ in 0..100 {
            park();
        }
        assert!(woken.elapsed() < REST * 100, "it rested all the same");
        drop(awake);
        let others = std::thread::spawn(stay_awake).join().unwrap();
        let woken = Instant::now();
        park();
        park();
        assert!(
            woken.elapsed() >= REST.mul_f64(0.9),
            "another thread's wait is not ours"
        );
        drop(others);
    }
}
