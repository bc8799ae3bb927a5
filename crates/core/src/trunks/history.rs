//! Counters that forget: an event counts less the older it is.

use crate::time::Mono;

/// Above this exponent, counters are scaled down so that they stay finite.
const EXPONENT_MAX: f64 = 60.0;

/// A rate of forgetting. New events are counted with a growing gain instead of shrinking every old counter, so that a
/// counter that nothing happens to costs nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forgetting {
    secs: f64,
    origin: f64,
}

impl Forgetting {
    /// After `secs`, an event counts 1/e.
    pub(super) const fn new(secs: f64) -> Self {
        Self { secs, origin: 0.0 }
    }

    /// The gain of an event that happens now.
    pub(super) fn gain(&self, now: Mono) -> f64 {
        ((now.0.as_secs_f64() - self.origin) / self.secs)
            .clamp(0.0, EXPONENT_MAX * 2.0)
            .exp()
    }

    /// The factor by which all counters must be multiplied before events of `now` are counted, if one is needed.
    pub(super) fn renewed(&mut self, now: Mono) -> Option<f64> {
        let now = now.0.as_secs_f64();
        let exponent = (now - self.origin) / self.secs;
        if exponent <= EXPONENT_MAX {
            return None;
        }
        self.origin = now;
        Some((-exponent).exp())
    }
}

/// What was observed of what was expected.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ratio {
    pub(super) observed: f64,
    pub(super) expected: f64,
}

impl Ratio {
    /// The ratio, shrunk to 1 by `prior` more expected events.
    pub(super) fn value(&self, prior: f64) -> f64 {
        (self.observed.max(0.0) + prior) / (self.expected + prior)
    }

    pub(super) fn add(&mut self, observed: f64, expected: f64) {
        self.observed += observed;
        self.expected += expected;
    }

    pub(super) fn scale(&mut self, factor: f64) {
        self.observed *= factor;
        self.expected *= factor;
    }
}

/// A share of the last legs that forgets by number of legs, not by time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    pub(super) hits: f64,
    pub(super) legs: f64,
}

impl Share {
    /// Counts one leg. About the last `memory` legs count.
    pub(super) fn count(&mut self, hit: bool, memory: f64) {
        let keep = 1.0 - 1.0 / memory;
        self.hits = self.hits * keep + f64::from(u8::from(hit));
        self.legs = self.legs * keep + 1.0;
    }

    pub(super) fn value(&self) -> f64 {
        if self.legs > 0.0 {
            self.hits / self.legs
        } else {
            0.0
        }
    }
}
