//! What the ends of legs say of their trunk, and what its trouble means for the attempts that it met.

use super::{Engine, Timer};
use crate::attempt::{Attempt, AttemptState, Ended, Judged};
use crate::breaker::{AT_ONCE, Blame, TrunkEnd};
use crate::command::Change;
use crate::ids::TrunkId;
use crate::outcome::Outcome;
use crate::pbx::LegEnd;
use crate::retry;
use crate::time::{Mono, Now};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long an attempt waits at most, until it is known whether its leg's end was the trunk's doing.
const JUDGED_MAX: Duration = Duration::from_secs(5);

impl Engine {
    /// What the end of this attempt's leg says of its trunk.
    pub(super) fn judge_trunk(
        &mut self,
        now: Now,
        then: Now,
        open: &Attempt,
        outcome: Outcome,
        end: &LegEnd,
    ) -> Blame {
        let (trunk, this) = (open.leg.trunk, open.id);
        let of = TrunkEnd {
            outcome,
            end,
            dialed_at: open.leg.launched_at,
            at_once: then.mono.since(open.leg.launched_at) <= AT_ONCE,
        };
        let attempts = &self.attempts;
        let lives_on = |began: Mono| {
            attempts.values().any(|other| {
                other.leg.trunk == trunk
                    && other.id != this
                    && other.leg.launched_at >= began
                    && now.mono.since(other.leg.launched_at) > AT_ONCE
                    && !matches!(
                        other.state,
                        AttemptState::Preparing { .. } | AttemptState::Ending { .. }
                    )
            })
        };
        let breaker = self.breakers.entry(trunk).or_default();
        breaker.ended(now.mono, of, lives_on)
    }

    /// Ends an attempt whose last leg has ended, or keeps it while its trunk is judged.
    pub(super) fn end_attempt(&mut self, now: Now, trunk: TrunkId, blame: Blame, ended: Ended) {
        match blame {
            Blame::Doubted if !self.draining => {
                let until = now.mono + JUDGED_MAX;
                self.timers.insert((until, Timer::Launch));
                self.judged.push(Judged { trunk, until, ended });
            }
            Blame::Doubted | Blame::Unclear => self.store_outcome(now, ended),
            Blame::Works => {
                self.trust(now, trunk);
                self.store_outcome(now, ended);
            }
            Blame::Trunk => {
                for judged in self
                    .judged
                    .extract_if(.., |judged| judged.trunk == trunk)
                    .collect::<Vec<_>>()
                {
                    self.store_outcome(now, by_trunk(judged.ended));
                }
                self.store_outcome(now, by_trunk(ended));
            }
        }
    }

    /// Trunks over which launches are held.
    pub(super) fn trunks_held(&self) -> BTreeSet<TrunkId> {
        let held = self.breakers.iter().filter(|(_, b)| b.probe_at().is_some());
        held.map(|(trunk, _)| *trunk).collect()
    }

    /// The trunk works: what it said of numbers is so.
    pub(super) fn trust(&mut self, now: Now, trunk: TrunkId) {
        self.end_judged(now, |judged| judged.trunk == trunk);
    }

    /// Ends attempts that were judged for long enough, and all of them before a stop.
    pub(super) fn settle_judged(&mut self, now: Now) {
        if !self.judged.is_empty() {
            let draining = self.draining;
            self.end_judged(now, |judged| draining || judged.until <= now.mono);
        }
    }

    fn end_judged(&mut self, now: Now, which: impl Fn(&Judged) -> bool) {
        for judged in self
            .judged
            .extract_if(.., |judged| which(judged))
            .collect::<Vec<_>>()
        {
            self.store_outcome(now, judged.ended);
        }
    }

    /// The attempt has its outcome, and its contact what follows from that.
    fn store_outcome(&mut self, now: Now, ended: Ended) {
        let next = retry::after(ended.outcome, ended.by, &ended.lead);
        *self.counts.outcomes.entry(ended.outcome).or_default() += 1;
        self.store(Change::AttemptEnded {
            attempt: ended.attempt,
            leg: ended.leg,
            task: ended.lead.task,
            contact: ended.lead.contact,
            outcome: ended.outcome,
            at: ended.at,
            retry_at: next.wait.map(|wait| now.wall.plus(wait)),
            spends_try: next.spends_try,
        });
    }
}

/// The same end as the trunk's doing: whatever was said of the number, the trunk did not carry the call.
fn by_trunk(ended: Ended) -> Ended {
    match ended.outcome {
        Outcome::Invalid | Outcome::Busy | Outcome::NoAnswer | Outcome::Rejected => Ended {
            outcome: Outcome::Congestion,
            ..ended
        },
        Outcome::Answered
        | Outcome::Machine
        | Outcome::Congestion
        | Outcome::Failed
        | Outcome::Fax
        | Outcome::Screened
        | Outcome::Abandoned
        | Outcome::Cancelled
        | Outcome::Blocked
        | Outcome::Unknown => ended,
    }
}
