//! Holds launches over a trunk that takes none, so that an outage costs a probe now and then and not the contact list.
//!
//! In: how each call over the trunk came out. Out: whether the next may be launched. Knows no contact and no agent.

use crate::outcome::Outcome;
use crate::pbx::LegEnd;
use crate::time::Mono;
use std::time::Duration;

/// Failures in a row that may be chance.
const CHANCE: u32 = 4;
/// The first wait; it doubles with every failed probe.
const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(30);

/// What is known of one trunk. Starts closed: launches pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Breaker {
    failures: u32,
    wait: Duration,
    /// Once open: when the next probe may go.
    probe_at: Option<Mono>,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures: 0,
            wait: WAIT_MIN,
            probe_at: None,
        }
    }
}

impl Breaker {
    /// Whether a call may be launched now.
    pub(crate) fn allows(&self, now: Mono) -> bool {
        self.probe_at.is_none_or(|at| at <= now)
    }

    /// When the next probe may go, while it is open.
    pub(crate) fn probe_at(&self) -> Option<Mono> {
        self.probe_at
    }

    /// A call was launched: while open, it is the probe, and the next waits its turn.
    pub(crate) fn launched(&mut self, now: Mono) {
        if self.probe_at.is_some() {
            self.probe_at = Some(now + self.wait);
            self.wait = (self.wait * 2).min(WAIT_MAX);
        }
    }

    /// The far end gave a sign of life.
    pub(crate) fn works(&mut self) {
        *self = Self::default();
    }

    /// A call is over.
    pub(crate) fn ended(&mut self, now: Mono, outcome: Outcome, end: &LegEnd) {
        let failed =
            matches!(outcome, Outcome::Failed | Outcome::Congestion) && !end.progressed && !end.answered;
        match outcome {
            _ if failed => {
                self.failures = self.failures.saturating_add(1);
                if self.failures > CHANCE && self.probe_at.is_none() {
                    self.probe_at = Some(now + self.wait);
                }
            }
            // These say nothing of the trunk.
            Outcome::Cancelled | Outcome::Unknown | Outcome::Blocked => {}
            _ => self.works(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(breaker: &mut Breaker, now: Mono) {
        breaker.ended(now, Outcome::Failed, &LegEnd::default());
    }

    #[test]
    fn a_trunk_that_takes_nothing_is_probed_less_and_less_often_until_it_works() {
        let (mut breaker, mut now) = (Breaker::default(), Mono::default());
        for _ in 0..CHANCE {
            fail(&mut breaker, now);
            assert!(breaker.allows(now));
        }
        fail(&mut breaker, now);
        let mut waits = Vec::new();
        for _ in 0..7 {
            assert!(!breaker.allows(now));
            let at = breaker.probe_at().unwrap();
            waits.push(at.since(now).as_secs());
            now = at;
            assert!(breaker.allows(now));
            breaker.launched(now);
            fail(&mut breaker, now);
        }
        assert_eq!(waits, [1, 1, 2, 4, 8, 16, 30]);
        breaker.works();
        assert!(breaker.allows(now));
    }

    #[test]
    fn a_busy_callee_says_that_the_trunk_works() {
        let (mut breaker, now) = (Breaker::default(), Mono::default());
        for _ in 0..20 {
            fail(&mut breaker, now);
            fail(&mut breaker, now);
            breaker.ended(now, Outcome::Busy, &LegEnd::default());
        }
        assert!(breaker.allows(now));
    }
}
