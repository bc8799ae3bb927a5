//! Tells people of what fails again and again: the first time at once, then now and then with how often. Pure.

use std::time::{Duration, Instant};

/// The least time between two tellings.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// One kind of failure.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    told_at: Option<Instant>,
    untold: u64,
}

impl Alarm {
    /// It failed once more: how many failures to tell of now, if any.
    pub(super) fn failed(&mut self, now: Instant) -> Option<u64> {
        self.untold = self.untold.saturating_add(1);
        let lately = |at: Instant| now.saturating_duration_since(at) < TOLD_EVERY;
        if self.told_at.is_some_and(lately) {
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_told_at_once_and_the_others_together() {
        let start = Instant::now();
        let mut alarm = Alarm::default();
        let told: Vec<_> = [0, 1, 30, 59, 60, 61, 300]
            .into_iter()
            .map(|second| alarm.failed(start + Duration::from_secs(second)))
            .collect();
        assert_eq!(told, [Some(1), None, None, None, Some(4), None, Some(2)]);
    }
}
