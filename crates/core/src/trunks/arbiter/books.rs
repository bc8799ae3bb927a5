//! The legs of every trunk: grants, events, ends.

use super::{Arbiter, GRANT, Slot};
use crate::ids::{LegId, TrunkId};
use crate::outcome::Outcome;
use crate::time::Mono;
use crate::trunks::health::Failed;
use crate::trunks::legs::{LegResult, LegStep, TrunkVerdict};
use crate::trunks::quality::{Counted, Place};
use std::time::Duration;

/// An answer that ends before this time is false, or a callee who hung up at once: in either case there was no conversation.
const TALK_MIN: Duration = Duration::from_secs(6);
/// Answers that stand for those of an honest trunk.
const HONEST_ANSWERS: f64 = 3.0;
/// A bound for the memory: no PBX has so many legs.
const LEGS_MAX: usize = 1_000_000;
/// Ended legs whose late events are recognised.
const ENDED_MAX: usize = 4_096;
/// Without progress, a leg that nobody answered was silent if so few legs are silent that long.
const SILENT_MAX: f64 = 0.25;

/// A leg that has a grant or is dialed.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenLeg {
    trunk: usize,
    /// `None`: the leg was dialed without a request.
    place: Option<usize>,
    serial: u64,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Granted { at: Mono },
    Dialing { dialed_at: Mono },
    Ringing { dialed_at: Mono },
    Answered { dialed_at: Mono, at: Mono, counted: f64 },
}

impl Phase {
    fn was_dialed(self) -> bool {
        match self {
            Phase::Granted { .. } => false,
            Phase::Dialing { .. } | Phase::Ringing { .. } | Phase::Answered { .. } => true,
        }
    }
}

impl Arbiter {
    /// True if no more legs can be known.
    pub(super) fn is_overfull(&self) -> bool {
        self.legs.len() >= LEGS_MAX
    }

    pub(super) fn grant(&mut self, now: Mono, leg: LegId, campaign: usize, trunk: usize, place: usize) {
        self.shares.granted(campaign, leg);
        let Some(slot) = self.slots.get_mut(trunk) else {
            return;
        };
        slot.health.granted(now, slot.capacity.in_use());
        slot.capacity.granted();
        self.quality.launched(self.places.place(place), trunk);
        self.legs_seen += 1;
        let open = OpenLeg {
            trunk,
            place: Some(place),
            serial: self.legs_seen,
            phase: Phase::Granted { at: now },
        };
        self.legs.insert(leg, open);
        self.grants.push_back((now + GRANT, leg));
    }

    pub(super) fn lapse(&mut self, leg: LegId, lapses_at: Mono) {
        if let Some(OpenLeg {
            phase: Phase::Granted { at },
            ..
        }) = self.legs.get(&leg)
            && *at + GRANT == lapses_at
        {
            self.release(leg);
        }
    }

    /// The leg is over or never was, and that shows nothing.
    pub(super) fn release(&mut self, leg: LegId) {
        self.ended.forget(leg);
        let Some(open) = self.legs.remove(&leg) else {
            return;
        };
        let place = self.place_of(&open);
        if !matches!(open.phase, Phase::Answered { .. }) {
            self.quality.landed(place, open.trunk);
        }
        if let Some(slot) = self.slots.get_mut(open.trunk) {
            slot.closed(leg, &open);
        }
    }

    fn place_of(&self, open: &OpenLeg) -> Place {
        open.place
            .map_or_else(Place::default, |place| self.places.place(place))
    }

    /// The PBX says whether the trunk's gateway or link is up.
    pub fn link(&mut self, now: Mono, trunk: TrunkId, up: bool) {
        self.advance(now);
        let now = self.now;
        if let Some(slot) = self
            .by_id
            .get(&trunk)
            .and_then(|index| self.slots.get_mut(*index))
        {
            slot.health.link(now, up);
        }
    }

    /// True if this trunk is in the settings.
    pub fn has_trunk(&self, trunk: TrunkId) -> bool {
        let index = self.by_id.get(&trunk);
        index
            .and_then(|index| self.slots.get(*index))
            .is_some_and(|slot| !slot.removed)
    }

    /// Takes what happened to a leg. Returns what that shows about its trunk. Events that come twice or late show nothing.
    pub fn leg(&mut self, now: Mono, leg: LegId, trunk: TrunkId, step: LegStep) -> TrunkVerdict {
        self.advance(now);
        let now = self.now;
        let Some(trunk) = self.by_id.get(&trunk).copied() else {
            return TrunkVerdict::Unclear;
        };
        if let LegStep::Dialing = step {
            self.dialed(now, leg, trunk);
            return TrunkVerdict::Unclear;
        }
        let Some(open) = self.legs.get(&leg).copied().filter(|open| open.trunk == trunk) else {
            return TrunkVerdict::Unclear;
        };
        match step {
            LegStep::Dialing => TrunkVerdict::Unclear,
            LegStep::Ringing => self.rings(now, leg, open),
            LegStep::Answered => self.answered(now, leg, open),
            LegStep::Ended(result) => self.leg_ended(now, leg, open, &result),
        }
    }

    fn dialed(&mut self, now: Mono, leg: LegId, trunk: usize) {
        let mut open = match self.legs.get(&leg).copied() {
            Some(open) if open.phase.was_dialed() => return,
            Some(open) if open.trunk == trunk => open,
            // It is dialed over another trunk than the granted one, or without a grant.
            Some(_) | None => {
                if self.ended.has(leg) || self.is_overfull() {
                    return;
                }
                let place = self.legs.get(&leg).and_then(|open| open.place);
                self.release(leg);
                self.legs_seen += 1;
                OpenLeg {
                    trunk,
                    place,
                    serial: self.legs_seen,
                    phase: Phase::Dialing { dialed_at: now },
                }
            }
        };
        let was_granted = !open.phase.was_dialed();
        if !was_granted {
            self.quality.launched(self.place_of(&open), trunk);
        }
        open.phase = Phase::Dialing { dialed_at: now };
        if let Some(slot) = self.slots.get_mut(trunk) {
            slot.capacity.dialed(now, was_granted);
            slot.health.silence.dialed(now, leg);
        }
        self.legs.insert(leg, open);
    }

    /// The time of dialing. If that event was missed, the leg was dialed when it was granted.
    fn dialed_at(&mut self, now: Mono, leg: LegId, open: &mut OpenLeg) -> Mono {
        match open.phase {
            Phase::Granted { at } => {
                self.dialed(now, leg, open.trunk);
                open.phase = Phase::Dialing { dialed_at: now };
                at
            }
            Phase::Dialing { dialed_at }
            | Phase::Ringing { dialed_at }
            | Phase::Answered { dialed_at, .. } => dialed_at,
        }
    }

    fn rings(&mut self, now: Mono, leg: LegId, mut open: OpenLeg) -> TrunkVerdict {
        if matches!(open.phase, Phase::Ringing { .. } | Phase::Answered { .. }) {
            return TrunkVerdict::Unclear;
        }
        let dialed_at = self.dialed_at(now, leg, &mut open);
        let verdict = self.taken(now, leg, &open, dialed_at);
        if let Some(slot) = self.slots.get_mut(open.trunk) {
            slot.health.rings(now, dialed_at, open.serial);
        }
        let delay = Some(now.since(dialed_at));
        self.quality.media(open.trunk, None, None, delay);
        open.phase = Phase::Ringing { dialed_at };
        self.legs.insert(leg, open);
        verdict
    }

    /// The trunk has taken the leg.
    fn taken(&mut self, now: Mono, leg: LegId, open: &OpenLeg, dialed_at: Mono) -> TrunkVerdict {
        let Some(slot) = self.slots.get_mut(open.trunk) else {
            return TrunkVerdict::Unclear;
        };
        slot.taken = slot.taken.saturating_add(1);
        slot.health.silence.heard(now, dialed_at, leg);
        works(slot.health.lives(now, dialed_at, slot.taken))
    }

    fn answered(&mut self, now: Mono, leg: LegId, mut open: OpenLeg) -> TrunkVerdict {
        if matches!(open.phase, Phase::Answered { .. }) {
            return TrunkVerdict::Unclear;
        }
        let rang = matches!(open.phase, Phase::Ringing { .. });
        let dialed_at = self.dialed_at(now, leg, &mut open);
        let verdict = if rang {
            TrunkVerdict::Unclear
        } else {
            self.taken(now, leg, &open, dialed_at)
        };
        let Some(slot) = self.slots.get_mut(open.trunk) else {
            return verdict;
        };
        slot.talking = slot.talking.saturating_add(1);
        slot.health.answered(open.serial);
        let (hits, answers) = slot.health.false_answers();
        let counted = 1.0 - hits / (answers + HONEST_ANSWERS);
        self.count(now, &open, counted, Some(counted));
        open.phase = Phase::Answered {
            dialed_at,
            at: now,
            counted,
        };
        self.legs.insert(leg, open);
        verdict
    }

    /// Counts the result of a leg in the rates of its trunk and group.
    fn count(&mut self, now: Mono, open: &OpenLeg, connect: f64, asr: Option<f64>) {
        let place = self.place_of(open);
        self.quality.landed(place, open.trunk);
        self.quality
            .count(now, place, open.trunk, Counted { connect, asr });
        if let Some(slot) = self.slots.get(open.trunk) {
            self.groups.count(now, slot.group, place.callees, connect);
        }
    }

    fn leg_ended(&mut self, now: Mono, leg: LegId, mut open: OpenLeg, result: &LegResult) -> TrunkVerdict {
        let shows = match result.outcome {
            None | Some(Outcome::Cancelled | Outcome::Blocked | Outcome::Unknown) => None,
            Some(_) if result.local_fault => None,
            Some(outcome) => Some(outcome),
        };
        let verdict = match (shows, open.phase) {
            (None, _) => {
                self.release(leg);
                self.ended.add(leg);
                return TrunkVerdict::Unclear;
            }
            (
                Some(_),
                Phase::Answered {
                    dialed_at,
                    at,
                    counted,
                },
            ) => {
                self.answer_ended(now, &open, result, (dialed_at, at), counted);
                TrunkVerdict::Unclear
            }
            (Some(outcome), Phase::Granted { .. } | Phase::Dialing { .. } | Phase::Ringing { .. }) => {
                let progressed = matches!(open.phase, Phase::Ringing { .. });
                let dialed_at = self.dialed_at(now, leg, &mut open);
                match outcome {
                    Outcome::Answered
                    | Outcome::Machine
                    | Outcome::Fax
                    | Outcome::Screened
                    | Outcome::Abandoned => {
                        let verdict = self.answered(now, leg, open);
                        return match self.legs.get(&leg).copied() {
                            Some(answered) if matches!(answered.phase, Phase::Answered { .. }) => {
                                self.leg_ended(now, leg, answered, result);
                                verdict
                            }
                            Some(_) | None => verdict,
                        };
                    }
                    Outcome::Congestion | Outcome::Failed if !progressed => {
                        self.leg_failed(now, leg, &open, dialed_at)
                    }
                    Outcome::Congestion
                    | Outcome::Failed
                    | Outcome::Busy
                    | Outcome::NoAnswer
                    | Outcome::Rejected
                    | Outcome::Invalid => {
                        let verdict = if progressed {
                            TrunkVerdict::Unclear
                        } else {
                            self.final_answer(now, leg, &open, dialed_at, outcome)
                        };
                        if verdict == TrunkVerdict::Trunk {
                            self.quality.landed(self.place_of(&open), open.trunk);
                        } else {
                            self.count(now, &open, 0.0, Some(0.0));
                        }
                        verdict
                    }
                    Outcome::Cancelled | Outcome::Blocked | Outcome::Unknown => TrunkVerdict::Unclear,
                }
            }
        };
        if let Some(slot) = self.slots.get_mut(open.trunk) {
            slot.closed(leg, &open);
        }
        self.legs.remove(&leg);
        self.ended.add(leg);
        verdict
    }

    fn leg_failed(&mut self, now: Mono, leg: LegId, open: &OpenLeg, dialed_at: Mono) -> TrunkVerdict {
        let Some(slot) = self.slots.get_mut(open.trunk) else {
            return TrunkVerdict::Unclear;
        };
        slot.health.silence.forget(dialed_at, leg);
        match slot.health.failed(now, dialed_at, slot.taken, slot.talking > 0) {
            // The health of the trunk keeps calls away, so its rates need not tell the same again when it is back.
            Failed::Out => {
                self.quality.landed(self.place_of(open), open.trunk);
                TrunkVerdict::Trunk
            }
            Failed::Full => {
                self.quality.landed(self.place_of(open), open.trunk);
                TrunkVerdict::Unclear
            }
            Failed::Counted => {
                self.count(now, open, 0.0, None);
                TrunkVerdict::Unclear
            }
        }
    }

    /// A final answer about the callee without any progress.
    fn final_answer(
        &mut self,
        now: Mono,
        leg: LegId,
        open: &OpenLeg,
        dialed_at: Mono,
        outcome: Outcome,
    ) -> TrunkVerdict {
        let Some(slot) = self.slots.get_mut(open.trunk) else {
            return TrunkVerdict::Unclear;
        };
        let silence = &mut slot.health.silence;
        if outcome == Outcome::NoAnswer && silence.silent_share(now.since(dialed_at)) < SILENT_MAX {
            silence.forget(dialed_at, leg);
            return TrunkVerdict::Unclear;
        }
        silence.heard(now, dialed_at, leg);
        if slot.health.answered_at_once(now, dialed_at, outcome, slot.taken) {
            TrunkVerdict::Works
        } else if slot.health.is_out() {
            TrunkVerdict::Trunk
        } else {
            TrunkVerdict::Doubted
        }
    }

    fn answer_ended(
        &mut self,
        now: Mono,
        open: &OpenLeg,
        result: &LegResult,
        (dialed_at, at): (Mono, Mono),
        counted: f64,
    ) {
        let measured = Some(now.since(at)).filter(|talk| !talk.is_zero());
        let is_short = result.talk.or(measured).is_some_and(|talk| talk < TALK_MIN);
        let is_false = match result.outcome {
            Some(Outcome::Answered | Outcome::Machine) => is_short,
            // The carrier said that it was answered, and then that it was not.
            Some(Outcome::Congestion | Outcome::Failed | Outcome::NoAnswer | Outcome::Invalid) => true,
            Some(
                Outcome::Fax
                | Outcome::Screened
                | Outcome::Abandoned
                | Outcome::Busy
                | Outcome::Rejected
                | Outcome::Cancelled
                | Outcome::Blocked
                | Outcome::Unknown,
            )
            | None => false,
        };
        let is_live = !is_false && matches!(result.outcome, Some(Outcome::Answered | Outcome::Abandoned));
        let place = self.place_of(open);
        let one = |is: bool| f64::from(u8::from(is));
        let by = Counted {
            connect: one(is_live) - counted,
            asr: Some(one(!is_false) - counted),
        };
        self.quality.correct(now, place, open.trunk, by);
        self.quality.media(open.trunk, result.mos, result.loss, None);
        let (hits, answers) = self
            .slots
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != open.trunk)
            .fold((0.0, 0.0), |(hits, answers), (_, slot)| {
                let (more_hits, more) = slot.health.false_answers();
                (hits + more_hits, answers + more)
            });
        let usual = if answers > 0.0 { hits / answers } else { 0.0 };
        if let Some(slot) = self.slots.get_mut(open.trunk) {
            self.groups.correct(now, slot.group, place.callees, by.connect);
            slot.health.answer_ended(now, dialed_at, is_false, usual);
        }
    }
}

impl Slot {
    /// A leg of the trunk is over.
    fn closed(&mut self, leg: LegId, open: &OpenLeg) {
        self.capacity.freed(open.phase.was_dialed());
        match open.phase {
            Phase::Granted { .. } => {}
            Phase::Dialing { dialed_at } => _ = self.health.silence.forget(dialed_at, leg),
            Phase::Ringing { .. } => {
                self.taken = self.taken.saturating_sub(1);
                self.health.answered(open.serial);
            }
            Phase::Answered { .. } => {
                self.taken = self.taken.saturating_sub(1);
                self.talking = self.talking.saturating_sub(1);
            }
        }
    }
}

/// The last legs that ended, so that a late event does not open one again.
#[derive(Clone, Debug, Default)]
pub(super) struct EndedLegs {
    order: std::collections::VecDeque<LegId>,
    legs: std::collections::BTreeSet<LegId>,
}

impl EndedLegs {
    fn add(&mut self, leg: LegId) {
        if self.legs.insert(leg) {
            self.order.push_back(leg);
        }
        if self.order.len() > ENDED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.legs.remove(&oldest);
        }
    }

    fn has(&self, leg: LegId) -> bool {
        self.legs.contains(&leg)
    }

    /// The leg's id is used again.
    fn forget(&mut self, leg: LegId) {
        self.legs.remove(&leg);
    }
}

fn works(lives: bool) -> TrunkVerdict {
    if lives {
        TrunkVerdict::Works
    } else {
        TrunkVerdict::Unclear
    }
}
