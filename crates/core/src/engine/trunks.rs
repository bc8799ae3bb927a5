//! The conclusion from the end of a leg about its trunk, and the effect of a trunk failure on the attempts over it.

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

/// An attempt waits at most this long for the decision whether its trunk caused the end of its leg.
const JUDGED_MAX: Duration = Duration::from_secs(5);

impl Engine {
    /// Reports the end of the attempt's leg to the trunk's breaker. Returns the conclusion about the trunk.
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

    /// Ends an attempt whose last leg has ended, or keeps it until its trunk is judged.
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

    /// The trunks over which launches are held.
    pub(super) fn trunks_held(&self) -> BTreeSet<TrunkId> {
        let held = self.breakers.iter().filter(|(_, b)| b.probe_at().is_some());
        held.map(|(trunk, _)| *trunk).collect()
    }

    /// The trunk works, so the attempts that waited for it end with the outcomes that their legs gave.
    pub(super) fn trust(&mut self, now: Now, trunk: TrunkId) {
        self.end_judged(now, |judged| judged.trunk == trunk);
    }

    /// Ends the attempts that have waited long enough, and all of them if the engine is stopping.
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

    /// Stores the outcome of the attempt, and the time from which its contact may be called again.
    fn store_outcome(&mut self, now: Now, ended: Ended) {
        let next = match ended.outcome {
            Outcome::Cancelled if ended.opted_out => retry::AFTER_OPT_OUT,
            outcome => retry::after(outcome, ended.by, &ended.lead),
        };
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

/// The end of an attempt after a trunk failure: the trunk did not carry the call, so its answer about the number does not
/// count.
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
