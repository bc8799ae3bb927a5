//! Finds a trunk that does not react any more, from legs that should have had an event by now.
//!
//! Input: the times of dialing and of first events. Output: how improbable the silence of the newest legs is, if the trunk
//! works. How fast a trunk reacts is learnt, because one trunk rings after 1 s and another never rings before the answer.

use crate::ids::LegId;
use crate::time::Mono;
use std::collections::VecDeque;
use std::time::Duration;

/// Bins of half a second up to 10 s, then one of all longer times.
const BINS: usize = 21;
const BIN: Duration = Duration::from_millis(500);
/// About this many first events count.
const MEMORY: f64 = 100.0;
/// First events that the prior stands for.
const PRIOR: f64 = 6.0;
/// Share of legs without an event after each whole second, before anything is learnt: mean 2.5 s.
const PRIOR_SILENT: [f64; 11] = [1.0, 0.85, 0.6, 0.38, 0.22, 0.12, 0.07, 0.045, 0.03, 0.025, 0.02];
/// One leg is never better evidence than this: it may be lost alone.
const EVIDENCE_OF_ONE_MAX: f64 = 3.0;
/// Silence this improbable means that the trunk is dead: e^-12 is one in 160,000.
pub(super) const DEAD: f64 = 12.0;
/// Number of silent legs that a dead trunk has at least.
pub(super) const LEGS_MIN: usize = 4;
/// Silence this improbable is a doubt: others are preferred.
const DOUBT: f64 = 4.5;
/// Only so many of the oldest silent legs are looked at: they are enough.
const LOOKED_AT: usize = 40;
/// A bound for the memory. Older ones are forgotten.
const UNHEARD_MAX: usize = 4_096;

/// The legs of one trunk that had no event yet, and how long a first event takes on it.
#[derive(Clone, Debug)]
pub(super) struct Silence {
    /// In the order of their dialing.
    unheard: VecDeque<(Mono, LegId)>,
    /// Dialing time of the newest leg that had an event.
    newest_heard: Option<Mono>,
    first_events: [f64; BINS],
    total: f64,
}

impl Default for Silence {
    fn default() -> Self {
        Self {
            unheard: VecDeque::new(),
            newest_heard: None,
            first_events: [0.0; BINS],
            total: 0.0,
        }
    }
}

impl Silence {
    pub(super) fn dialed(&mut self, at: Mono, leg: LegId) {
        if self.unheard.len() >= UNHEARD_MAX {
            self.unheard.pop_front();
        }
        self.unheard.push_back((at, leg));
    }

    /// A leg had its first event.
    pub(super) fn heard(&mut self, now: Mono, dialed_at: Mono, leg: LegId) {
        if !self.forget(dialed_at, leg) {
            return;
        }
        self.newest_heard = self.newest_heard.max(Some(dialed_at));
        let bin = bin(now.since(dialed_at));
        let keep = 1.0 - 1.0 / MEMORY;
        for count in &mut self.first_events {
            *count *= keep;
        }
        self.total = self.total * keep + 1.0;
        if let Some(count) = self.first_events.get_mut(bin) {
            *count += 1.0;
        }
    }

    /// A leg is over, and its end shows nothing. True if it had no event before.
    pub(super) fn forget(&mut self, dialed_at: Mono, leg: LegId) -> bool {
        let from = self.unheard.partition_point(|(at, _)| *at < dialed_at);
        let found = self.unheard.iter().skip(from).position(|(_, id)| *id == leg);
        found.is_some_and(|at| self.unheard.remove(from + at).is_some())
    }

    /// Dialing time of the first leg of the silent run.
    pub(super) fn since(&self) -> Option<Mono> {
        self.run().next().map(|(at, _)| *at)
    }

    /// How improbable the silence is, and from how many legs that is known.
    pub(super) fn evidence(&self, now: Mono) -> (f64, usize) {
        let mut sum = 0.0;
        let mut legs = 0;
        for (at, _) in self.run().take(LOOKED_AT) {
            let silent = self.silent_share(now.since(*at));
            sum += (-silent.ln()).min(EVIDENCE_OF_ONE_MAX);
            legs += 1;
        }
        (sum, legs)
    }

    pub(super) fn is_doubtful(&self, now: Mono) -> bool {
        // Without an old enough leg there is no evidence, and most trunks have none.
        self.since()
            .is_some_and(|since| now.since(since) > BIN * 3 && self.evidence(now).0 > DOUBT)
    }

    /// The legs after the newest that had an event.
    fn run(&self) -> impl Iterator<Item = &(Mono, LegId)> {
        let from = self
            .newest_heard
            .map_or(0, |heard| self.unheard.partition_point(|(at, _)| *at <= heard));
        self.unheard.iter().skip(from)
    }

    /// Share of legs that have no event within this time while the trunk works.
    pub(super) fn silent_share(&self, age: Duration) -> f64 {
        let whole = (age.as_secs() as usize).min(PRIOR_SILENT.len() - 1);
        let prior = PRIOR_SILENT.get(whole).copied().unwrap_or(1.0);
        let later: f64 = self.first_events.iter().skip(bin(age)).sum();
        ((later + PRIOR * prior) / (self.total + PRIOR)).clamp(1e-6, 1.0)
    }
}

fn bin(age: Duration) -> usize {
    let bin = age.as_millis() / BIN.as_millis();
    usize::try_from(bin).unwrap_or(BINS).min(BINS - 1)
}
