//! What one key may ask, so that there is something left for the others. In: keys and moments. Out: leave to go on, or how
//! long to wait.
//!
//! How often: a token bucket per key, kept as the one moment at which it will be full again (GCRA). How much at once: a
//! few requests of each key run, the next ones wait for them, and no more than a few dozen wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests a second that each key may make, with as many at once.
pub const REQUESTS_PER_SECOND: u32 = 100;
/// Requests of one key that run at once. Fewer than the store has connections for them.
const RUNNING_PER_KEY_MAX: usize = 4;
/// Requests of one key that wait for these.
const WAITING_PER_KEY_MAX: usize = 64;
/// Of all keys together.
const RUNNING_MAX: usize = 64;
/// Keys remembered before those that ask nothing are forgotten; only verified keys are.
const KEYS_MAX: usize = 10_000;

/// What is known of all keys.
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
    /// Those that run included.
    waiting: Arc<Semaphore>,
}

/// A running request's, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _waiting: OwnedSemaphorePermit,
    _of_key: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Limiter {
    /// Lets each key ask `per_second` times a second (at least once).
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            keys: Mutex::default(),
            interval: Duration::from_secs(1) / per_second.max(1),
            burst: Duration::from_secs(1),
            running: Arc::new(Semaphore::new(RUNNING_MAX)),
        }
    }

    /// Takes one request from the key's bucket, or says how long to wait for the next.
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

    /// Waits until one more request of the key may run; nothing where too many wait already.
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
    fn a_key_waits_for_itself_and_nobody_else_does() {
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
