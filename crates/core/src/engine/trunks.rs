//! What ends of calls say of their trunk, and what its trouble means for contacts that it met.

use super::{Engine, Timer};
use crate::breaker::{AT_ONCE, Blame, TrunkEnd};
use crate::call::{Call, CallState};
use crate::command::Change;
use crate::ids::TrunkId;
use crate::outcome::Outcome;
use crate::pbx::LegEnd;
use crate::retry::RETRY_DELAY;
use crate::time::{Mono, Now};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long an end is held back at most, until it is known whether it was the trunk's doing.
const DOUBT_MAX: Duration = Duration::from_secs(5);

/// The end of an attempt that may have been its trunk's doing.
#[derive(Debug)]
pub(super) struct Doubt {
    trunk: TrunkId,
    until: Mono,
    change: Change,
}

impl Engine {
    /// Judges the end of a call by its trunk.
    pub(super) fn judge_trunk(
        &mut self,
        now: Now,
        then: Now,
        call: &Call,
        outcome: Outcome,
        end: &LegEnd,
    ) -> Blame {
        let (trunk, this) = (call.trunk, call.attempt);
        let of = TrunkEnd {
            outcome,
            end,
            dialed_at: call.launched_at,
            at_once: then.mono.since(call.launched_at) <= AT_ONCE,
        };
        let calls = &self.calls;
        let lives_on = |began: Mono| {
            calls.values().any(|other| {
                other.trunk == trunk
                    && other.attempt != this
                    && other.launched_at >= began
                    && now.mono.since(other.launched_at) > AT_ONCE
                    && !matches!(
                        other.state,
                        CallState::Preparing { .. } | CallState::Ending { .. }
                    )
            })
        };
        let breaker = self.breakers.entry(trunk).or_default();
        breaker.ended(now.mono, of, lives_on)
    }

    /// Stores the end of an attempt, or holds it back while it is not known whose doing it was.
    pub(super) fn store_end(&mut self, now: Now, trunk: TrunkId, blame: Blame, change: Change) {
        match blame {
            Blame::Doubted if !self.draining => {
                let until = now.mono + DOUBT_MAX;
                self.timers.insert((until, Timer::Launch));
                self.doubts.push(Doubt { trunk, until, change });
            }
            Blame::Doubted | Blame::Unclear => self.store_outcome(change),
            Blame::Works => {
                self.trust(trunk);
                self.store_outcome(change);
            }
            Blame::Trunk => {
                let all = std::mem::take(&mut self.doubts);
                let (theirs, others): (Vec<Doubt>, Vec<Doubt>) =
                    all.into_iter().partition(|d| d.trunk == trunk);
                self.doubts = others;
                for doubt in theirs {
                    self.store_outcome(by_trunk(now, doubt.change));
                }
                self.store_outcome(by_trunk(now, change));
            }
        }
    }

    /// Trunks over which launches are held.
    pub(super) fn trunks_held(&self) -> BTreeSet<TrunkId> {
        let held = self.breakers.iter().filter(|(_, b)| b.probe_at().is_some());
        held.map(|(trunk, _)| *trunk).collect()
    }

    /// The trunk works: what it said of numbers is so.
    pub(super) fn trust(&mut self, trunk: TrunkId) {
        self.store_doubts(|doubt| doubt.trunk == trunk);
    }

    /// Stores what was held back for long enough, and all of it before a stop.
    pub(super) fn settle_doubts(&mut self, now: Now) {
        if !self.doubts.is_empty() {
            let draining = self.draining;
            self.store_doubts(|doubt| draining || doubt.until <= now.mono);
        }
    }

    fn store_doubts(&mut self, which: impl Fn(&Doubt) -> bool) {
        let all = std::mem::take(&mut self.doubts);
        let (settled, others): (Vec<Doubt>, Vec<Doubt>) = all.into_iter().partition(which);
        self.doubts = others;
        for doubt in settled {
            self.store_outcome(doubt.change);
        }
    }

    fn store_outcome(&mut self, change: Change) {
        if let Change::Ended { outcome, .. } = &change {
            *self.counts.outcomes.entry(*outcome).or_default() += 1;
        }
        self.store(change);
    }
}

/// The same end as the trunk's doing: it spends no try, and the contact is called again.
fn by_trunk(now: Now, change: Change) -> Change {
    match change {
        Change::Ended {
            attempt,
            leg,
            task,
            contact,
            outcome: Outcome::Invalid | Outcome::Busy | Outcome::NoAnswer | Outcome::Rejected,
            end,
            at,
            retry_at: _,
            spends_try: _,
        } => Change::Ended {
            attempt,
            leg,
            task,
            contact,
            outcome: Outcome::Congestion,
            end,
            at,
            retry_at: Some(now.wall.plus(RETRY_DELAY)),
            spends_try: false,
        },
        other => other,
    }
}
