//! Holds launches over a trunk that takes none, so that an outage costs a probe now and then and not the contact list.
//!
//! In: how each call over the trunk came out. Out: how many more may be launched, and whether an end was the trunk's doing.
//! A trunk that gives every number the same final answer (404, 480, 486) at once is as bad as one that refuses: lists hold wrong
//! numbers, but not ten in a row without one call that lives on. Until a trunk shows a sign of life, few calls go out over it.
//! Knows no contact and no agent.

use crate::outcome::Outcome;
use crate::pbx::{EndedBy, LegEnd};
use crate::time::Mono;
use std::time::Duration;

/// Failures in a row that may be chance.
const CHANCE: u32 = 4;
/// Equal final answers in a row, each at once, that may be chance.
const CHANCE_FINAL: u32 = 9;
/// An end so soon after the dialing may be the trunk's own, without any callee.
pub(crate) const AT_ONCE: Duration = Duration::from_millis(500);
/// Calls over a trunk without a sign of life since the first of them, at most.
const UNPROVEN_MAX: u32 = 20;
/// The first wait; it doubles with every failed probe.
const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(30);

/// What is known of one trunk. Starts closed: launches pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Breaker {
    /// Calls in a row that failed, or got the same final answer at once.
    failures: u32,
    /// That answer; none: they failed.
    answer: Option<Outcome>,
    /// Whether each of them ended at once.
    at_once: bool,
    /// When the first of them was dialed.
    began: Mono,
    wait: Duration,
    /// Once open: when the next probe may go.
    probe_at: Option<Mono>,
    /// Calls of which nothing was heard yet.
    unheard: u32,
    /// Calls launched since the last sign of life.
    since_life: u32,
}

/// How one call over the trunk ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TrunkEnd<'a> {
    pub(crate) outcome: Outcome,
    pub(crate) end: &'a LegEnd,
    /// When it was dialed.
    pub(crate) dialed_at: Mono,
    /// Whether it ended within [`AT_ONCE`].
    pub(crate) at_once: bool,
}

/// Whose doing an end was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The trunk works: what was in doubt is as it was said.
    Works,
    /// It says nothing of the trunk.
    Unclear,
    /// Known only once more calls have ended.
    Doubted,
    /// The trunk's: what was in doubt, too.
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
    /// How many calls may be launched now.
    pub(crate) fn room(&self, now: Mono) -> u32 {
        match self.probe_at {
            Some(at) => u32::from(at <= now),
            None => {
                UNPROVEN_MAX.saturating_sub(self.failures.saturating_add(self.unheard.min(self.since_life)))
            }
        }
    }

    /// When the next probe may go, while it is open.
    pub(crate) fn probe_at(&self) -> Option<Mono> {
        self.probe_at
    }

    /// A call was launched: while open, it is the probe, and the next waits its turn.
    pub(crate) fn launched(&mut self, now: Mono) {
        self.unheard = self.unheard.saturating_add(1);
        self.since_life = self.since_life.saturating_add(1);
        if self.probe_at.is_some() {
            self.probe_at = Some(now + self.wait);
            self.wait = (self.wait * 2).min(WAIT_MAX);
        }
    }

    /// Something was heard of a call, be it its end, or it will not be dialed.
    pub(crate) fn heard(&mut self) {
        self.unheard = self.unheard.saturating_sub(1);
    }

    /// A call dialed then gave a sign of life. Whether the trunk works by that: one from before a run of ends at once says
    /// nothing of what became of the trunk since.
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

    /// A call is over. `lives_on`: whether one dialed at or after a time is up for longer than [`AT_ONCE`].
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
        // Numbers that get different answers were looked at; failures after answers begin a run of their own.
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
    fn a_trunk_that_takes_nothing_is_probed_less_and_less_often_until_it_works() {
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
    fn a_run_of_one_final_answer_is_the_trunks_unless_other_calls_live_on_or_get_another() {
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
    fn a_trunk_without_a_sign_of_life_gets_few_calls_and_each_sign_lets_more_go() {
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
