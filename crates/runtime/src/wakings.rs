//! A short rest between two wakings of the runtime's thread. In: the clock, and whether somebody waits for the store.
//! Out: a hook for [`tokio::runtime::Builder::on_thread_park`].
//!
//! A PBX tells of a busy minute in thousands of small frames. Being woken for each costs more than handling it, so a
//! thread that was woken a moment ago lets the next frames gather. One that was idle is woken at once, and so is one that
//! waits for a statement of the store: a transaction has a dozen of them, and a rest after each would make it last 50 ms
//! in place of 5.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Between two wakings: less than half of what an answered call may wait for us, which is 10 ms.
pub const REST: Duration = Duration::from_millis(4);

thread_local! {
    /// Answers that are awaited without a rest, on a thread whose runtime has but one: what the API awaits of the store, on
    /// threads of its own, is nothing to the dialer's.
    static AWAITED: Cell<usize> = const { Cell::new(0) };
}

/// While it lives, the thread that it was made on does not rest.
#[derive(Debug)]
pub struct Awake(());

/// Keeps the thread from resting until the answer is dropped: for waits that end within milliseconds.
pub fn stay_awake() -> Awake {
    AWAITED.with(|awaited| awaited.set(awaited.get().saturating_add(1)));
    Awake(())
}

impl Drop for Awake {
    fn drop(&mut self) {
        // On a runtime of several threads it may have moved to another one; none of those rests.
        AWAITED.with(|awaited| awaited.set(awaited.get().saturating_sub(1)));
    }
}

/// To be called whenever the thread has nothing left to do.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_woken_a_moment_ago_rests_unless_the_store_is_waited_for() {
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
