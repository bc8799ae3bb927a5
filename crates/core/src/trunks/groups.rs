//! Groups of trunks: which one takes calls now, and whether a whole group answers too little.
//!
//! A group fails over if it answers under 15 % of its legs and significantly less than its siblings answer for the same
//! regions and carriers in the same minutes. A list that nobody answers is cold over every group, and is no fault.

use super::history::{Forgetting, Ratio};
use crate::time::Mono;
use std::time::Duration;

/// A group that answers less than this may be at fault.
const ANSWERED_MIN: f64 = 0.15;
/// Legs for which siblings are known, before a group is judged.
const LEGS_MIN: f64 = 40.0;
/// Legs of siblings for one place, before they are compared with.
const SIBLING_LEGS_MIN: f64 = 8.0;
/// Standard deviations below the siblings.
const DEVIATIONS: f64 = 3.3;
/// And materially below them.
const OF_SIBLINGS_MAX: f64 = 0.7;
/// A group is back if it answers this share of what its siblings answer, over `BACK_EXPECTED` answers of theirs.
const BACK_RATIO: f64 = 0.8;
const BACK_EXPECTED: f64 = 5.0;
/// It doubles if a group fails again within this time.
const AGAIN: Duration = Duration::from_secs(900);
const BACK_EXPECTED_MAX: f64 = 40.0;
/// A failed group gets a leg this often, and so does a standby that a poor group must be compared with.
const LEG_EVERY: Duration = Duration::from_secs(2);
const SECS: f64 = 300.0;

#[derive(Clone, Copy, Debug, Default)]
struct Compared {
    legs: f64,
    answered: f64,
    expected: f64,
    variance: f64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    /// The index of its standby.
    pub(super) standby: Option<usize>,
    /// True if it is the standby of another one, and no group of its own right.
    pub(super) is_standby: bool,
    failed: Option<Failed>,
    compared: Compared,
    own: Ratio,
    /// The end of its last failure, and what that needed.
    before: Option<(Mono, f64)>,
    next_leg_at: Mono,
}

#[derive(Clone, Copy, Debug)]
struct Failed {
    needed: f64,
}

#[derive(Clone, Debug)]
pub(super) struct Groups {
    rate: Forgetting,
    pub(super) groups: Vec<Group>,
    /// For each place the answers and legs of each group, and of all.
    places: Vec<(Vec<Ratio>, Ratio)>,
}

impl Default for Groups {
    fn default() -> Self {
        Self {
            rate: Forgetting::new(SECS),
            groups: Vec::new(),
            places: Vec::new(),
        }
    }
}

impl Groups {
    pub(super) fn renew(&mut self, now: Mono) {
        let Some(factor) = self.rate.renewed(now) else {
            return;
        };
        for (groups, all) in &mut self.places {
            groups.iter_mut().for_each(|ratio| ratio.scale(factor));
            all.scale(factor);
        }
        for group in &mut self.groups {
            group.own.scale(factor);
            let Compared {
                legs,
                answered,
                expected,
                variance,
            } = &mut group.compared;
            for value in [legs, answered, expected, variance] {
                *value *= factor;
            }
        }
    }

    /// Which groups are standbys only. In a ring of standbys the first one is not.
    pub(super) fn configure(&mut self, standbys: &[Option<usize>]) {
        self.groups.resize_with(standbys.len(), Group::default);
        for (group, standby) in self.groups.iter_mut().zip(standbys) {
            (group.standby, group.is_standby) = (*standby, false);
        }
        let is_target = |index: usize| standbys.contains(&Some(index));
        let mut reached = vec![false; standbys.len()];
        let roots = (0..standbys.len()).filter(|index| !is_target(*index));
        for root in roots.chain(0..standbys.len()) {
            let mut at = Some(root);
            while let Some(index) = at {
                let Some(seen) = reached.get_mut(index).filter(|seen| !**seen) else {
                    break;
                };
                *seen = true;
                if let Some(group) = self.groups.get_mut(index) {
                    group.is_standby = index != root;
                    at = group.standby;
                } else {
                    at = None;
                }
            }
        }
    }

    pub(super) fn has_failed(&self, group: usize) -> bool {
        self.groups.get(group).is_some_and(|group| group.failed.is_some())
    }

    /// True if this group should get a leg so that it can be judged: it has failed, or it is the standby of a group that
    /// answers little while no sibling is known.
    pub(super) fn is_wanted(&self, now: Mono, group: usize, place: usize) -> bool {
        let Some(this) = self.groups.get(group) else {
            return false;
        };
        this.next_leg_at <= now
            && (this.failed.is_some()
                || (this.is_standby
                    && self
                        .groups
                        .iter()
                        .any(|of| self.must_compare(now, of, group, place))))
    }

    fn must_compare(&self, now: Mono, of: &Group, standby: usize, place: usize) -> bool {
        let gain = self.rate.gain(now);
        let known = self
            .places
            .get(place)
            .and_then(|(groups, _)| groups.get(standby))
            .map_or(0.0, |ratio| ratio.expected / gain);
        of.standby == Some(standby)
            && of.failed.is_none()
            && of.own.expected / gain >= LEGS_MIN
            && of.own.observed < of.own.expected * ANSWERED_MIN
            && known < LEGS_MIN
    }

    pub(super) fn granted_to_judge(&mut self, now: Mono, group: usize) {
        if let Some(group) = self.groups.get_mut(group) {
            group.next_leg_at = now + LEG_EVERY;
        }
    }

    /// Counts a leg: `answered` is 0 or 1, or a chance while that is not known.
    pub(super) fn count(&mut self, now: Mono, group: usize, place: usize, answered: f64) {
        let gain = self.rate.gain(now);
        if self.places.len() <= place {
            self.places.resize_with(place + 1, Default::default);
        }
        let (Some((groups, all)), Some(this)) = (self.places.get_mut(place), self.groups.get_mut(group))
        else {
            return;
        };
        if groups.len() <= group {
            groups.resize(group + 1, Ratio::default());
        }
        let Some(own) = groups.get_mut(group) else { return };
        let siblings = Ratio {
            observed: (all.observed - own.observed).max(0.0) / gain,
            expected: (all.expected - own.expected).max(0.0) / gain,
        };
        if siblings.expected >= SIBLING_LEGS_MIN {
            let rate = ((siblings.observed + 0.25) / (siblings.expected + 1.0)).clamp(0.0, 1.0);
            let compared = &mut this.compared;
            compared.legs += gain;
            compared.answered += answered * gain;
            compared.expected += rate * gain;
            // The siblings' rate is an estimate itself.
            let known = 1.0 + own.expected / gain / siblings.expected;
            compared.variance += rate * (1.0 - rate) * known * gain;
        }
        this.own.add(answered * gain, gain);
        own.add(answered * gain, gain);
        all.add(answered * gain, gain);
        this.judge(now, gain);
    }

    /// A leg that was counted turned out to be different.
    pub(super) fn correct(&mut self, now: Mono, group: usize, place: usize, by: f64) {
        let gain = self.rate.gain(now);
        if let Some((groups, all)) = self.places.get_mut(place)
            && let Some(own) = groups.get_mut(group)
        {
            own.observed += by * gain;
            all.observed += by * gain;
        }
        if let Some(this) = self.groups.get_mut(group) {
            this.own.observed += by * gain;
            this.compared.answered += by * gain;
            this.judge(now, gain);
        }
    }
}

impl Group {
    fn judge(&mut self, now: Mono, gain: f64) {
        let Compared {
            legs,
            answered,
            expected,
            variance,
        } = self.compared;
        let (legs, answered, expected) = (legs / gain, answered / gain, expected / gain);
        match self.failed {
            None => {
                let below = (expected - answered) / (variance / gain).max(0.25).sqrt();
                if legs >= LEGS_MIN
                    && answered < legs * ANSWERED_MIN
                    && answered < expected * OF_SIBLINGS_MAX
                    && below >= DEVIATIONS
                {
                    let needed = match self.before {
                        Some((at, needed)) if now.since(at) < AGAIN => (needed * 2.0).min(BACK_EXPECTED_MAX),
                        Some(_) | None => BACK_EXPECTED,
                    };
                    self.failed = Some(Failed { needed });
                    self.compared = Compared::default();
                }
            }
            Some(Failed { needed }) => {
                if expected >= needed && answered >= expected * BACK_RATIO {
                    self.failed = None;
                    self.before = Some((now, needed));
                    self.compared = Compared::default();
                }
            }
        }
    }
}
