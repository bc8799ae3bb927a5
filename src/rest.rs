//! A short rest between two wakings of the runtime's thread. In: nothing but the clock. Out: a hook for
//! [`tokio::runtime::Builder::on_thread_park`].
//!
//! A switch tells of a busy minute in thousands of small frames. Being woken for each costs more than handling it, so a
//! thread that was woken a moment ago lets the next frames gather. One that was idle is woken at once.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Between two wakings: less than half of what an answered call may wait for us, which is 10 ms.
pub const REST: Duration = Duration::from_millis(4);

/// To be called whenever the thread has nothing left to do.
pub fn between_wakings() -> impl Fn() + Send + Sync + 'static {
    let started = Instant::now();
    let parked_at_us = AtomicU64::new(0);
    move || {
        let elapsed = started.elapsed();
        let before = Duration::from_micros(parked_at_us.load(Relaxed));
        if let Some(rest) = REST.checked_sub(elapsed.saturating_sub(before)) {
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
    fn who_was_woken_a_moment_ago_rests() {
        let park = between_wakings();
        park();
        let woken = Instant::now();
        park();
        let rested = woken.elapsed();
        assert!(rested >= REST.mul_f64(0.9), "rested {rested:?}");
    }
}
