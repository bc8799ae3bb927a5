//! How often a key may ask: a token bucket per key, kept as the one moment at which it will be full again (GCRA).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Requests a second that each key may make, with as many at once.
pub const REQUESTS_PER_SECOND: u32 = 100;
/// Buckets kept before the full ones are dropped; only verified keys have one.
const BUCKETS_MAX: usize = 10_000;

/// The buckets of all keys.
#[derive(Debug)]
pub(super) struct Limiter {
    full_at: Mutex<HashMap<i64, Instant>>,
    interval: Duration,
    burst: Duration,
}

impl Limiter {
    /// Lets each key ask `per_second` times a second (at least once).
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            full_at: Mutex::default(),
            interval: Duration::from_secs(1) / per_second.max(1),
            burst: Duration::from_secs(1),
        }
    }

    /// Takes one request from the key's bucket, or says how long to wait for the next.
    pub(super) fn take(&self, key: i64, now: Instant) -> Result<(), Duration> {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() >= BUCKETS_MAX && !full_at.contains_key(&key) {
            full_at.retain(|_, at| *at > now);
        }
        let bucket = full_at.entry(key).or_insert(now);
        let next = (*bucket).max(now) + self.interval;
        let wait = next.saturating_duration_since(now + self.burst);
        if wait.is_zero() {
            *bucket = next;
            Ok(())
        } else {
            Err(wait)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
