//! Chooses the trunk of one leg among those that may call the number.

use super::{Arbiter, Request};
use crate::ids::TrunkId;
use crate::time::Mono;
use crate::trunks::choice::{Candidate, Choice, Excluded, Kind, Rank, Reason, Score, Siblings};
use crate::trunks::health::{Cause, State};
use crate::trunks::quality::Rates;
use std::time::Duration;

/// A leg whose turn is next asks again after this time.
const NEXT_RETRY: Duration = Duration::from_millis(50);
/// Nobody knows when a channel is free, so the others ask again after this time.
const CHANNEL_RETRY: Duration = Duration::from_millis(250);
/// Trunks that a choice tells why they are not used.
const NOT_USED_MAX: usize = 3;

impl Arbiter {
    /// Chooses a trunk for a leg and grants it, or says when to ask again.
    pub fn choose(&mut self, now: Mono, request: &Request) -> Choice {
        self.advance(now);
        let now = self.now;
        self.release(request.leg);
        let place = self.places.find(request, &self.slots, &mut self.quality);
        let campaign = self.shares.campaign(request.campaign);
        let allowed = self.places.allowed(place);
        if self.is_overfull() {
            return self.none(now, request, campaign, place, &[]);
        }
        if let Some((trunk, kind, reason)) = self.must_be_tried(now, request, place, &allowed) {
            let choice = Choice {
                trunk: self.slots.get(trunk).map(|slot| (slot.trunk.id, kind)),
                retry_at: None,
                reasons: vec![reason],
            };
            self.grant(now, request.leg, campaign, trunk, place);
            return choice;
        }
        let mut candidates = std::mem::take(&mut self.scratch);
        candidates.clear();
        self.candidates(now, request, place, &allowed, &mut candidates);
        let choice = self.decide(now, request, campaign, place, &allowed, &candidates);
        self.scratch = candidates;
        choice
    }

    fn decide(
        &mut self,
        now: Mono,
        request: &Request,
        campaign: usize,
        place: usize,
        allowed: &[usize],
        candidates: &[Candidate],
    ) -> Choice {
        if candidates.is_empty() {
            return self.none(now, request, campaign, place, allowed);
        }
        let room = candidates.iter().fold(0_u32, |sum, c| sum.saturating_add(c.room));
        if request.tried.is_empty() {
            let competes = |other: usize| {
                other == place
                    || self
                        .places
                        .allowed(other)
                        .iter()
                        .any(|trunk| candidates.iter().any(|c| c.trunk == *trunk))
            };
            let before = self.shares.before(now, campaign, request.leg, room, competes);
            if before >= room {
                let retry_at = now + NEXT_RETRY;
                self.shares.waits(now, campaign, request.leg, place, retry_at);
                return Choice {
                    trunk: None,
                    retry_at: Some(retry_at),
                    reasons: vec![Reason::Waits { before }],
                };
            }
        }
        let (trunk, kind, reasons) = self.best(now, request, place, allowed, candidates);
        let chosen = self.slots.get(trunk).map(|slot| (slot.trunk.id, kind));
        self.grant(now, request.leg, campaign, trunk, place);
        Choice {
            trunk: chosen,
            retry_at: None,
            reasons,
        }
    }

    /// A trunk that needs a leg now to show whether it works: never for an attempt that failed over another one.
    fn must_be_tried(
        &mut self,
        now: Mono,
        request: &Request,
        place: usize,
        allowed: &[usize],
    ) -> Option<(usize, Kind, Reason)> {
        if !request.tried.is_empty() {
            return None;
        }
        let mut due: Option<(Mono, usize)> = None;
        for index in allowed {
            let Some(slot) = self.slots.get(*index) else {
                continue;
            };
            if let Some(at) = slot.health.probe_at()
                && at <= now
                && due.is_none_or(|(first, _)| at < first)
                && slot.room(now) > 0
            {
                due = Some((at, *index));
            }
        }
        if let Some((_, index)) = due {
            let slot = self.slots.get(index)?;
            let trunk = slot.trunk.id;
            let (kind, cause) = match slot.health.state {
                State::Standby(trial) | State::Out(trial) => (Kind::Probe, Some(trial.cause)),
                State::Working | State::Down => (Kind::Explore, None),
            };
            return Some((index, kind, Reason::Probed { trunk, cause }));
        }
        let callees = self.places.place(place).callees;
        let wanted = |index: &&usize| {
            self.slots.get(**index).is_some_and(|slot| {
                slot.health.is_sound()
                    && self.groups.is_wanted(now, slot.group, callees)
                    && slot.room(now) > 0
            })
        };
        let may_want = self.has_standbys || self.groups.groups.len() > 1;
        let index = *allowed.iter().filter(|_| may_want).find(wanted)?;
        let slot = self.slots.get(index)?;
        let (group, trunk) = (slot.group, slot.trunk.id);
        self.groups.granted_to_judge(now, group);
        let kind = if self.groups.has_failed(group) {
            Kind::Probe
        } else {
            Kind::Explore
        };
        Some((index, kind, Reason::GroupCompared { trunk }))
    }

    /// The trunks that may take this leg now, with their ranks and rates.
    fn candidates(
        &mut self,
        now: Mono,
        request: &Request,
        place: usize,
        allowed: &[usize],
        out: &mut Vec<Candidate>,
    ) {
        let place = self.places.place(place);
        let gains = self.quality.gains(now, place);
        let mut any_works = false;
        for index in allowed {
            let Some(slot) = self.slots.get(*index) else {
                continue;
            };
            let rank = match &slot.health.state {
                State::Working if !slot.health.is_sound() => continue,
                State::Working if self.groups.has_failed(slot.group) => Rank::PoorGroup,
                State::Working => Rank::Works,
                State::Standby(trial) if trial.cause == Cause::FalseAnswers => Rank::FalseAnswers,
                State::Standby(_) => Rank::Standby,
                State::Out(_) | State::Down => continue,
            };
            any_works |= rank < Rank::FalseAnswers;
            if request.tried.contains(&slot.trunk.id) {
                continue;
            }
            let room = slot.room(now);
            if room == 0 {
                continue;
            }
            let price = slot.trunk.price_per_minute.unwrap_or(0.0);
            out.push(Candidate {
                trunk: *index,
                group: slot.group,
                rank,
                is_standby: false,
                room,
                rates: self.quality.rates(gains, place, *index),
                idle: 1.0 - slot.capacity.occupancy(),
                price: if self.price_max > 0.0 {
                    price / self.price_max
                } else {
                    0.0
                },
                tiers_away: match (slot.trunk.tier, request.tier) {
                    (Some(own), Some(wanted)) => own.abs_diff(wanted),
                    (Some(_) | None, _) => 0,
                },
                penalty: self.quality.penalty(*index).0,
            });
        }
        // A call over such a trunk is lost, so it waits for one that works.
        if any_works {
            out.retain(|candidate| candidate.rank < Rank::FalseAnswers);
        }
        if self.has_standbys {
            self.open_standbys(out);
        }
    }

    /// Drops the candidates of standby groups whose groups have room.
    fn open_standbys(&mut self, candidates: &mut Vec<Candidate>) {
        let mut open = std::mem::take(&mut self.open_groups);
        open.clear();
        let groups = &self.groups.groups;
        open.extend(groups.iter().map(|group| !group.is_standby));
        let has_room = |group: usize| {
            candidates
                .iter()
                .any(|c| c.group == group && c.rank == Rank::Works)
        };
        // A standby may have a standby of its own, which may come earlier in the list.
        for _ in 0..groups.len() {
            let mut changed = false;
            for (index, group) in groups.iter().enumerate() {
                let takes_calls = open.get(index).copied().unwrap_or(false);
                if let Some(standby) = group.standby.filter(|_| takes_calls)
                    && let Some(is_open) = open.get_mut(standby)
                    && !*is_open
                    && !has_room(index)
                {
                    (*is_open, changed) = (true, true);
                }
            }
            if !changed {
                break;
            }
        }
        candidates.retain_mut(|candidate| {
            candidate.is_standby = groups.get(candidate.group).is_some_and(|group| group.is_standby);
            open.get(candidate.group).copied().unwrap_or(true)
        });
        self.open_groups = open;
    }

    fn best(
        &self,
        now: Mono,
        request: &Request,
        place: usize,
        allowed: &[usize],
        candidates: &[Candidate],
    ) -> (usize, Kind, Vec<Reason>) {
        let siblings = self.siblings(now, place, allowed, candidates);
        let mut hoped: Option<Score> = None;
        let mut known: Option<Score> = None;
        let mut next: Option<Score> = None;
        for candidate in candidates {
            let parts = self.weights.parts(candidate, siblings);
            let score = |score| Score {
                rank: candidate.rank,
                score,
                trunk: candidate.trunk,
            };
            known = known.max(Some(score(parts.score)));
            let this = Some(score(parts.hoped));
            if this > hoped {
                next = hoped;
                hoped = this;
            } else if this > next {
                next = this;
            }
        }
        let Some(chosen) = hoped.and_then(|best| candidates.iter().find(|c| c.trunk == best.trunk)) else {
            return (0, Kind::Best, Vec::new());
        };
        let parts = self.weights.parts(chosen, siblings);
        let id = |index: usize| self.slots.get(index).map(|slot| slot.trunk.id);
        let trunk = id(chosen.trunk).unwrap_or(TrunkId(0));
        let kind = match chosen.rank {
            Rank::Works if chosen.is_standby => Kind::Standby,
            Rank::Works if known.is_some_and(|best| best.trunk != chosen.trunk) => Kind::Explore,
            Rank::Works => Kind::Best,
            Rank::PoorGroup | Rank::Standby | Rank::FalseAnswers => Kind::Standby,
        };
        let mut reasons = vec![Reason::Score {
            trunk,
            score: parts.score,
            connect: parts.connect,
            idle: chosen.idle,
            asr: parts.asr,
            next: next.and_then(|next| {
                let other = candidates.iter().find(|c| c.trunk == next.trunk)?;
                Some((id(next.trunk)?, self.weights.parts(other, siblings).score))
            }),
        }];
        if kind == Kind::Explore {
            let unsure = chosen.rates.unsure;
            reasons.push(Reason::TriedOut { trunk, unsure });
        }
        if chosen.penalty > 0.01 {
            let (_, [mos, loss, delay_secs]) = self.quality.penalty(chosen.trunk);
            reasons.push(Reason::Sound {
                trunk,
                mos,
                loss,
                delay_secs,
            });
        }
        if candidates.len() < allowed.len() {
            reasons.extend(self.not_used(now, request, allowed, candidates));
        }
        (chosen.trunk, kind, reasons)
    }

    /// The best rates of the trunks that work, with room or not, or the callees' rates.
    fn siblings(&self, now: Mono, place: usize, allowed: &[usize], candidates: &[Candidate]) -> Siblings {
        let place = self.places.place(place);
        if !self.weights.relative {
            let (connect, asr) = self.quality.callees(now, place);
            return Siblings { connect, asr };
        }
        let mut best = Siblings {
            connect: 1e-6,
            asr: 1e-6,
        };
        let mut take = |rates: Rates| {
            best.connect = best.connect.max(rates.connect);
            best.asr = best.asr.max(rates.asr);
        };
        if candidates.len() == allowed.len() {
            candidates.iter().for_each(|candidate| take(candidate.rates));
        } else {
            let gains = self.quality.gains(now, place);
            let works = |index: &&usize| self.slots.get(**index).is_some_and(|slot| slot.health.is_sound());
            let working = allowed.iter().filter(works);
            working.for_each(|index| take(self.quality.rates(gains, place, *index)));
            candidates.iter().for_each(|candidate| take(candidate.rates));
        }
        best
    }

    /// No trunk may take this leg now.
    fn none(
        &mut self,
        now: Mono,
        request: &Request,
        campaign: usize,
        place: usize,
        allowed: &[usize],
    ) -> Choice {
        let mut reasons = self.not_used(now, request, allowed, &[]);
        if reasons.is_empty() {
            reasons.push(Reason::NoTrunk);
        }
        let is_next = self.shares.is_next(campaign, request.leg);
        let pause = if is_next { NEXT_RETRY } else { CHANNEL_RETRY };
        let again = allowed.iter().filter_map(|index| {
            let slot = self.slots.get(*index)?;
            if request.tried.contains(&slot.trunk.id) {
                return None;
            }
            let is_first = request.tried.is_empty();
            let ready_at = match &slot.health.state {
                State::Down => return None,
                State::Out(_) if !is_first => return None,
                State::Out(trial) => trial.probe_at,
                State::Standby(_) => now,
                State::Working => slot.health.verdict_at().or(slot.health.probe_at()).unwrap_or(now),
            };
            let room_at = if slot.room(now) > 0 {
                now
            } else {
                slot.capacity.no_room(now, slot.health.channels(now), pause).1?
            };
            Some(ready_at.max(room_at).max(now + Duration::from_millis(1)))
        });
        let retry_at = again.min();
        if let Some(retry_at) = retry_at {
            self.shares.waits(now, campaign, request.leg, place, retry_at);
        } else {
            self.shares.left(request.leg);
        }
        Choice {
            trunk: None,
            retry_at,
            reasons,
        }
    }

    fn not_used(&self, now: Mono, request: &Request, allowed: &[usize], used: &[Candidate]) -> Vec<Reason> {
        let others = allowed
            .iter()
            .filter(|index| !used.iter().any(|c| c.trunk == **index));
        let why = |index: &usize| {
            let slot = self.slots.get(*index)?;
            let why = if request.tried.contains(&slot.trunk.id) {
                Excluded::Tried
            } else {
                match &slot.health.state {
                    State::Down => Excluded::Down,
                    State::Out(trial) => Excluded::Out(trial.cause),
                    State::Working if !slot.health.is_sound() => Excluded::InDoubt,
                    State::Working | State::Standby(_) if slot.room(now) == 0 => Excluded::NoRoom(
                        slot.capacity
                            .no_room(now, slot.health.channels(now), CHANNEL_RETRY)
                            .0,
                    ),
                    State::Standby(trial) => Excluded::Standby(Some(trial.cause)),
                    State::Working => Excluded::Standby(None),
                }
            };
            Some(Reason::NotUsed {
                trunk: slot.trunk.id,
                why,
            })
        };
        others.filter_map(why).take(NOT_USED_MAX).collect()
    }
}
