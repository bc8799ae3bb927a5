//! Stops launches over a trunk that does not work, so that an outage costs a few probes and not the whole contact list.
//!
//! Input: the end of each call over the trunk. Output: the number of calls that may still be launched, and the decision
//! whether the trunk caused the end. A trunk that gives every number the same final answer (404, 480 or 486) at once does
//! not work either: a list may contain wrong numbers, but not ten in a row without one call that goes on. A "sign of life"
//! is ringing, early media or an answer. Until a trunk shows one, only few calls go out over it.

use crate::outcome::Outcome;
use crate::pbx::{EndedBy, LegEnd};
use crate::time::Mono;
use std::time::Duration;

/// Number of failures in a row that may be chance.
const CHANCE: u32 = 4;
/// Number of equal final answers in a row, each at once, that may be chance.
const CHANCE_FINAL: u32 = 9;
/// If a call ends within this time after dialing, the trunk itself may have ended it, without any callee.
pub(crate) const AT_ONCE: Duration = Duration::from_millis(500);
/// Maximum number of calls over a trunk since its last sign of life.
const UNPROVEN_MAX: u32 = 20;
/// Wait before the first probe. It doubles after each failed probe, up to `WAIT_MAX`.
const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(30);

/// The state of one trunk: its failures in a row, its probes, and its calls since the last sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Breaker {
    /// Number of calls in a row that failed, or that got the same final answer at once.
    failures: u32,
    /// That final answer. `None`: they failed.
    answer: Option<Outcome>,
    /// True if each of them ended at once.
    at_once: bool,
    /// Dialing time of the first of them.
    began: Mono,
    wait: Duration,
    /// Time of the next probe. `None` while calls are launched as usual.
    probe_at: Option<Mono>,
    /// Number of launched calls without any event so far.
    unheard: u32,
    /// Number of calls launched since the last sign of life.
    since_life: u32,
}

/// The end of one call over the trunk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TrunkEnd<'a> {
    pub(crate) outcome: Outcome,
    pub(crate) end: &'a LegEnd,
    /// Dialing time of the call.
    pub(crate) dialed_at: Mono,
    /// True if the call ended within [`AT_ONCE`].
    pub(crate) at_once: bool,
}

/// The conclusion from the end of a call about its trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The trunk works. Doubtful answers before it were real.
    Works,
    /// The end shows nothing about the trunk.
    Unclear,
    /// Not known until more calls have ended.
    Doubted,
    /// The trunk does not work, and it also caused the doubtful answers before.
    Trunk,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures: 0,
            answer: None,
            at_once: true,
            began: Mono::default(),
            wait: WAIT_MIN,
            probe_at: None,
            unheard: 0,
            since_life: 0,
        }
    }
}

impl Breaker {
    /// Number of calls that may be launched now.
    pub(crate) fn room(&self, now: Mono) -> u32 {
        match self.probe_at {
            Some(at) => u32::from(at <= now),
            None => {
                UNPROVEN_MAX.saturating_sub(self.failures.saturating_add(self.unheard.min(self.since_life)))
            }
        }
    }

    /// Time of the next probe, while launches are stopped.
    pub(crate) fn probe_at(&self) -> Option<Mono> {
        self.probe_at
    }

    /// Records a launch. While launches are stopped it is the probe, and the next one waits.
    pub(crate) fn launched(&mut self, now: Mono) {
        self.unheard = self.unheard.saturating_add(1);
        self.since_life = self.since_life.saturating_add(1);
        if self.probe_at.is_some() {
            self.probe_at = Some(now + self.wait);
            self.wait = (self.wait * 2).min(WAIT_MAX);
        }
    }

    /// Records that a call had its first event, or that it will not be dialed.
    pub(crate) fn heard(&mut self) {
        self.unheard = self.unheard.saturating_sub(1);
    }

    /// Records a sign of life of a call that was dialed at `dialed_at`. Returns whether it proves that the trunk works: a
    /// call from before a run of failures at once proves nothing about the time after them.
    pub(crate) fn lives(&mut self, dialed_at: Mono) -> bool {
        self.since_life = 0;
        if self.failures > 0 && self.at_once && dialed_at < self.began {
            return false;
        }
        *self = Self {
            unheard: self.unheard,
            ..Self::default()
        };
        true
    }

    /// Records the end of a call. `lives_on(t)` tells whether a call dialed at or after `t` has been up for longer than
    /// [`AT_ONCE`].
    pub(crate) fn ended(&mut self, now: Mono, of: TrunkEnd, lives_on: impl Fn(Mono) -> bool) -> Blame {
        let no_sign = !of.end.progressed && !of.end.answered;
        let (answer, chance) = match of.outcome {
            Outcome::Failed | Outcome::Congestion if no_sign => (None, CHANCE),
            Outcome::Invalid | Outcome::Busy | Outcome::NoAnswer | Outcome::Rejected
                if no_sign && of.at_once && of.end.by == EndedBy::Network =>
            {
                (Some(of.outcome), CHANCE_FINAL)
            }
            Outcome::Cancelled | Outcome::Unknown | Outcome::Blocked => return Blame::Unclear,
            _ => {
                return if self.lives(of.dialed_at) {
                    Blame::Works
                } else {
                    Blame::Unclear
                };
            }
        };
        // Different answers show that the trunk looked at the numbers. Failures after answers start a new run.
        if self.failures > 0 && self.answer != answer {
            match answer {
                Some(_) => _ = self.lives(now),
                None if self.probe_at.is_none() => self.failures = 0,
                None => {}
            }
        }
        if self.failures == 0 {
            (self.at_once, self.began) = (true, of.dialed_at);
        }
        self.began = self.began.min(of.dialed_at);
        self.at_once &= of.at_once;
        self.answer = answer;
        if self.probe_at.is_none() && self.at_once && lives_on(self.began) {
            self.lives(now);
            (self.failures, self.began, self.answer) = (1, of.dialed_at, answer);
        } else {
            self.failures = self.failures.saturating_add(1);
        }
        if self.failures > chance && self.probe_at.is_none() {
            self.probe_at = Some(now + self.wait);
        }
        match (self.probe_at, answer) {
            (Some(_), _) => Blame::Trunk,
            (None, Some(_)) => Blame::Doubted,
            (None, None) => Blame::Unclear,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(breaker: &mut Breaker, now: Mono, outcome: Outcome, lives_on: bool) -> Blame {
        let end = LegEnd::default();
        let of = TrunkEnd {
            outcome,
            end: &end,
            dialed_at: now,
            at_once: true,
        };
        breaker.heard();
        breaker.ended(now, of, |_| lives_on)
    }

    #[test]
    fn a_trunk_that_refuses_every_call_is_probed_less_and_less_often_until_it_works() {
        let (mut breaker, mut now) = (Breaker::default(), Mono::default());
        for _ in 0..CHANCE {
            ends(&mut breaker, now, Outcome::Failed, false);
            assert!(breaker.room(now) > 0);
        }
        ends(&mut breaker, now, Outcome::Failed, false);
        let mut waits = Vec::new();
        for _ in 0..7 {
            assert_eq!(breaker.room(now), 0);
            let at = breaker.probe_at().unwrap();
            waits.push(at.since(now).as_secs());
            now = at;
            assert_eq!(breaker.room(now), 1);
            breaker.launched(now);
            ends(&mut breaker, now, Outcome::Failed, false);
        }
        assert_eq!(waits, [1, 1, 2, 4, 8, 16, 30]);
        assert!(breaker.lives(now));
        assert_eq!(breaker.room(now), UNPROVEN_MAX);
    }

    #[test]
    fn a_run_of_one_final_answer_is_the_trunks_fault_unless_other_calls_go_on_or_get_another_answer() {
        for (lives_on, held) in [(false, true), (true, false)] {
            let (mut breaker, now) = (Breaker::default(), Mono::default());
            for n in 0..40 {
                let blame = ends(&mut breaker, now, Outcome::Invalid, lives_on);
                let expected = if held && n >= CHANCE_FINAL {
                    Blame::Trunk
                } else {
                    Blame::Doubted
                };
                assert_eq!(blame, expected, "{n}");
            }
            assert_eq!(breaker.room(now) == 0, held);
        }
        let (mut breaker, now) = (Breaker::default(), Mono::default());
        for _ in 0..40 {
            ends(&mut breaker, now, Outcome::Invalid, false);
            ends(&mut breaker, now, Outcome::Busy, false);
        }
        assert!(breaker.room(now) > 0);
    }

    #[test]
    fn a_trunk_without_a_sign_of_life_gets_few_calls_and_each_sign_allows_more() {
        let (mut breaker, now) = (Breaker::default(), Mono::default());
        for _ in 0..UNPROVEN_MAX {
            breaker.launched(now);
        }
        assert_eq!(breaker.room(now), 0);
        breaker.heard();
        breaker.lives(now);
        assert_eq!(breaker.room(now), UNPROVEN_MAX);
    }
}
