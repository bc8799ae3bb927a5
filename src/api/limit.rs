//! Limits the requests of each key, so that one key cannot block the others. In: keys and times. Out: permission, or
//! the time to wait.
//!
//! The rate is limited by a token bucket per key, stored as the time at which the bucket will be full again (GCRA).
//! Concurrency is limited too: only a few requests of a key run at once, and only a few dozen more may wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests per second that each key may make, and the size of a burst.
pub const REQUESTS_PER_SECOND: u32 = 100;
/// Maximum number of requests of one key that run at once. It is smaller than the number of the store's connections.
const RUNNING_PER_KEY_MAX: usize = 4;
/// Maximum number of requests of one key that wait for these.
const WAITING_PER_KEY_MAX: usize = 64;
/// Maximum number of requests of all keys that run at once.
const RUNNING_MAX: usize = 64;
/// Number of keys above which idle keys are forgotten. Only verified keys are counted.
const KEYS_MAX: usize = 10_000;

/// The state of all keys.
#[derive(Debug)]
pub(super) struct Limiter {
    keys: Mutex<HashMap<i64, Key>>,
    interval: Duration,
    burst: Duration,
    running: Arc<Semaphore>,
}

#[derive(Clone, Debug)]
struct Key {
    full_at: Instant,
    running: Arc<Semaphore>,
    /// Counts running requests too.
    waiting: Arc<Semaphore>,
}

/// The permits of a running request. Dropping it frees them.
#[derive(Debug)]
pub(super) struct Turn {
    _waiting: OwnedSemaphorePermit,
    _of_key: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Limiter {
    /// Limits each key to `per_second` requests per second (at least 1).
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            keys: Mutex::default(),
            interval: Duration::from_secs(1) / per_second.max(1),
            burst: Duration::from_secs(1),
            running: Arc::new(Semaphore::new(RUNNING_MAX)),
        }
    }

    /// Takes one request from the key's bucket. The error is the time until the next one is possible.
    pub(super) fn take(&self, key: i64, now: Instant) -> Result<(), Duration> {
        let mut keys = self.lock();
        let bucket = &mut entry(&mut keys, key, now).full_at;
        let next = (*bucket).max(now) + self.interval;
        let wait = next.saturating_duration_since(now + self.burst);
        if wait.is_zero() {
            *bucket = next;
            Ok(())
        } else {
            Err(wait)
        }
    }

    /// Waits until one more request of the key may run. `None`: too many wait already.
    pub(super) async fn turn(&self, key: i64, now: Instant) -> Option<Turn> {
        let Key { running, waiting, .. } = entry(&mut self.lock(), key, now).clone();
        Some(Turn {
            _waiting: waiting.try_acquire_owned().ok()?,
            // Neither is ever closed.
            _of_key: running.acquire_owned().await.ok()?,
            _of_all: Arc::clone(&self.running).acquire_owned().await.ok()?,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i64, Key>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn entry(keys: &mut HashMap<i64, Key>, key: i64, now: Instant) -> &mut Key {
    if keys.len() >= KEYS_MAX && !keys.contains_key(&key) {
        keys.retain(|_, key| key.full_at > now || Arc::strong_count(&key.waiting) > 1);
    }
    keys.entry(key).or_insert_with(|| Key {
        full_at: now,
        running: Arc::new(Semaphore::new(RUNNING_PER_KEY_MAX)),
        waiting: Arc::new(Semaphore::new(RUNNING_PER_KEY_MAX + WAITING_PER_KEY_MAX)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[test]
    fn a_bucket_empties_and_refills_for_its_own_key_only() {
        let (limiter, start) = (Limiter::new(10), Instant::now());
        let granted = (0..25).filter(|_| limiter.take(1, start).is_ok()).count();
        assert_eq!(granted, 10);
        assert_eq!(limiter.take(2, start), Ok(()));
        assert_eq!(limiter.take(1, start), Err(Duration::from_millis(100)));
        let later = start + Duration::from_millis(350);
        assert_eq!((0..25).filter(|_| limiter.take(1, later).is_ok()).count(), 3);
    }

    #[test]
    fn a_slow_key_makes_no_other_key_wait() {
        let (limiter, now) = (Limiter::new(10), Instant::now());
        let run = |key| limiter.turn(key, now).now_or_never();
        let running: Vec<_> = (0..RUNNING_PER_KEY_MAX).map(|_| run(1)).collect();
        assert!(running.iter().all(|turn| matches!(turn, Some(Some(_)))));
        assert!(run(1).is_none(), "it waits");
        assert!(matches!(run(2), Some(Some(_))), "another key does not");
        let waiting: Vec<_> = (0..WAITING_PER_KEY_MAX)
            .map(|_| {
                let mut waiting = Box::pin(limiter.turn(1, now));
                assert!(waiting.as_mut().now_or_never().is_none());
                waiting
            })
            .collect();
        assert!(matches!(run(1), Some(None)), "too many wait");
        drop((waiting, running));
        assert!(matches!(run(1), Some(Some(_))));
    }
}
