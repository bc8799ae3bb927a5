//! Plans the requests to the service: their rate, the telephone numbers in each, and the breaker.
//!
//! A failed request is repeated after a wait that doubles, with half as many numbers, since a service may fail only at large
//! requests. After several failures in a row the service is out: one number at a time finds out whether it works again.

use crate::time::Mono;
use std::time::Duration;

/// The limits of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskingLimits {
    /// Most numbers in one request; at least 1.
    pub batch_max: usize,
    /// Most requests in one minute; at least 1.
    pub requests_per_minute: u32,
}

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Send a request about this many numbers at most.
    Send(usize),
    /// Wait for this long.
    Wait(Duration),
}

/// Plans the requests to the service.
#[derive(Clone, Debug)]
pub struct Asking {
    limits: AskingLimits,
    /// Numbers in the next request.
    batch: usize,
    /// No request before this time.
    next_at: Mono,
    /// Failures in a row.
    failures: u32,
}

/// Failures in a row after which the service is out.
const FAILURES_MAX: u32 = 3;
/// The wait after the first failure. It doubles with each failure up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// The longest wait that a service may ask for (`Retry-After`).
const ASKED_WAIT_MAX: Duration = Duration::from_secs(5 * 60);
const MINUTE: Duration = Duration::from_secs(60);

impl Asking {
    /// Nothing has been asked yet.
    pub fn new(limits: AskingLimits) -> Self {
        Self {
            limits,
            batch: limits.batch_max.max(1),
            next_at: Mono::default(),
            failures: 0,
        }
    }

    /// The next step at `now`: a request, or a wait.
    pub fn turn(&self, now: Mono) -> Turn {
        if now < self.next_at {
            return Turn::Wait(self.next_at.since(now));
        }
        Turn::Send(if self.is_out() { 1 } else { self.batch })
    }

    /// Records that a request is sent.
    pub fn sent(&mut self, now: Mono) {
        self.next_at = now + MINUTE / self.limits.requests_per_minute.max(1);
    }

    /// Records that the service answered. Returns true if it was out.
    pub fn succeeded(&mut self) -> bool {
        let was_out = self.is_out();
        self.failures = 0;
        self.batch = self.batch.saturating_mul(2).min(self.limits.batch_max.max(1));
        was_out
    }

    /// Records that the request failed. `retry_after`: the wait that the service asks for. Returns true if the service is out
    /// from now on and was not before.
    pub fn failed(&mut self, now: Mono, retry_after: Option<Duration>) -> bool {
        let was_out = self.is_out();
        let wait = RETRY_MIN
            .saturating_mul(2_u32.saturating_pow(self.failures))
            .min(RETRY_MAX);
        let wait = wait.max(retry_after.unwrap_or_default().min(ASKED_WAIT_MAX));
        self.next_at = self.next_at.max(now + wait);
        self.failures = self.failures.saturating_add(1);
        self.batch = (self.batch / 2).max(1);
        self.is_out() && !was_out
    }

    /// True while the service is out.
    pub fn is_out(&self) -> bool {
        self.failures >= FAILURES_MAX
    }
}
