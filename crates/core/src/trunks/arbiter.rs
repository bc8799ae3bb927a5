//! One arbiter for all campaigns: it gives each leg a trunk, and keeps the books of every trunk.

mod books;
mod choosing;
mod places;

use super::capacity::Capacity;
use super::choice::Candidate;
use super::groups::Groups;
use super::health::{Health, State};
use super::quality::{Place, Quality};
use super::settings::{Trunk, TrunkSettings, Weights};
use super::shares::Shares;
use super::view::{Condition, TrunkView};
use crate::ids::{CampaignId, LegId, TrunkGroupId, TrunkId};
use crate::time::Mono;
use books::{EndedLegs, OpenLeg};
use places::Places;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A grant whose leg is not dialed within this time lapses.
const GRANT: Duration = Duration::from_secs(3);
/// Verdicts that need time to pass are looked at this often.
const REVIEW_EVERY: Duration = Duration::from_millis(200);

/// A request for a trunk.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The leg. If it waits for its turn, it asks again with the same id.
    pub leg: LegId,
    /// Its campaign.
    pub campaign: CampaignId,
    /// The region of the number. `None`: only trunks for all regions may call it.
    pub region: Option<&'a str>,
    /// The carrier of the number. `None`: only trunks for all carriers may call it.
    pub carrier: Option<&'a str>,
    /// The tier of the contact; 1 is the most valuable.
    pub tier: Option<u32>,
    /// The trunks that the attempt has tried.
    pub tried: &'a [TrunkId],
}

/// Trunks, legs and campaigns, and what is known of them.
#[derive(Clone, Debug, Default)]
pub struct Arbiter {
    now: Mono,
    weights: Weights,
    slots: Vec<Slot>,
    by_id: BTreeMap<TrunkId, usize>,
    price_max: f64,
    has_standbys: bool,
    groups: Groups,
    group_indexes: BTreeMap<GroupKey, usize>,
    places: Places,
    quality: Quality,
    shares: Shares,
    legs: BTreeMap<LegId, OpenLeg>,
    grants: VecDeque<(Mono, LegId)>,
    ended: EndedLegs,
    review_at: Mono,
    legs_seen: u64,
    scratch: Vec<Candidate>,
    open_groups: Vec<bool>,
}

/// A group, or a trunk without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum GroupKey {
    Group(TrunkGroupId),
    Alone(TrunkId),
}

#[derive(Clone, Debug)]
struct Slot {
    trunk: Trunk,
    removed: bool,
    group: usize,
    capacity: Capacity,
    health: Health,
    /// Legs that the trunk has taken: they ring or are answered.
    taken: u32,
    /// Answered legs among them.
    talking: u32,
}

impl Slot {
    fn room(&self, now: Mono) -> u32 {
        self.capacity.room(now, self.health.channels(now))
    }
}

impl Arbiter {
    /// An arbiter with these trunks.
    pub fn new(settings: &TrunkSettings) -> Self {
        let mut this = Self::default();
        this.configure(settings);
        this
    }

    /// Takes new settings. What is known of a trunk that stays is kept.
    pub fn configure(&mut self, settings: &TrunkSettings) {
        self.weights = settings.weights;
        self.slots.iter_mut().for_each(|slot| slot.removed = true);
        for trunk in &settings.trunks {
            let index = *self.by_id.entry(trunk.id).or_insert_with(|| {
                self.slots.push(Slot {
                    trunk: trunk.clone(),
                    removed: false,
                    group: 0,
                    capacity: Capacity::new(trunk),
                    health: Health::default(),
                    taken: 0,
                    talking: 0,
                });
                self.slots.len() - 1
            });
            if let Some(slot) = self.slots.get_mut(index) {
                slot.capacity.configure(trunk);
                (slot.trunk, slot.removed) = (trunk.clone(), false);
            }
        }
        let prices = settings.trunks.iter().filter_map(|trunk| trunk.price_per_minute);
        self.price_max = prices.fold(0.0, f64::max);
        self.quality.trunks(self.slots.len());
        self.group_trunks(settings);
        self.places.configure(&self.slots);
        for share in &settings.campaigns {
            self.shares.configure(share.id, share.weight);
        }
    }

    fn group_trunks(&mut self, settings: &TrunkSettings) {
        let indexes = &mut self.group_indexes;
        let mut index = |key: GroupKey| {
            let next = indexes.len();
            *indexes.entry(key).or_insert(next)
        };
        // In the order of the settings, which decides in a ring of standbys.
        for group in &settings.groups {
            index(GroupKey::Group(group.id));
        }
        let mut standbys = Vec::new();
        for group in &settings.groups {
            let standby = group.standby.map(|id| index(GroupKey::Group(id)));
            standbys.push((index(GroupKey::Group(group.id)), standby));
        }
        for slot in &mut self.slots {
            let alone = GroupKey::Alone(slot.trunk.id);
            slot.group = index(slot.trunk.group.map_or(alone, GroupKey::Group));
        }
        let mut of = vec![None; self.group_indexes.len()];
        for (group, standby) in standbys {
            if let Some(slot) = of.get_mut(group) {
                *slot = standby.filter(|target| *target != group);
            }
        }
        self.has_standbys = of.iter().any(Option::is_some);
        self.groups.configure(&of);
    }

    /// Lets time pass: grants lapse, and trunks that are silent too long are out.
    pub fn advance(&mut self, now: Mono) {
        self.now = self.now.max(now);
        let now = self.now;
        self.quality.renew(now);
        self.groups.renew(now);
        while let Some((lapses_at, leg)) = self.grants.front().copied()
            && lapses_at <= now
        {
            self.grants.pop_front();
            self.lapse(leg, lapses_at);
        }
        self.shares.advance(now);
        if self.review_at <= now {
            self.review_at = now + REVIEW_EVERY;
            self.slots.iter_mut().for_each(|slot| slot.health.review(now));
        }
    }

    /// The time at which something may change without an event: a grant lapses, a verdict is due, a probe may go out.
    pub fn poll_timeout(&self) -> Option<Mono> {
        let lapse = self.grants.front().map(|(at, _)| *at);
        let busy = self
            .slots
            .iter()
            .any(|slot| slot.health.silence.since().is_some() || slot.health.verdict_at().is_some());
        let review = busy.then_some(self.review_at);
        let probes = self.slots.iter().filter_map(|slot| slot.health.probe_at());
        let probe = probes.filter(|at| *at > self.now).min();
        [lapse, review, probe].into_iter().flatten().min()
    }

    /// Number of legs that all trunks together could take now. A trunk that must be probed counts as one.
    pub fn room(&self, now: Mono) -> u32 {
        let room = |slot: &Slot| match &slot.health.state {
            State::Working if slot.health.is_sound() => slot.room(now),
            State::Working | State::Out(_) => {
                let due = slot.health.probe_at().is_some_and(|at| at <= now);
                slot.room(now).min(u32::from(due))
            }
            State::Standby(_) => slot.room(now),
            State::Down => 0,
        };
        let slots = self.slots.iter().filter(|slot| !slot.removed);
        slots.fold(0, |sum, slot| sum.saturating_add(room(slot)))
    }

    /// What is known of each trunk.
    pub fn view(&self) -> Vec<TrunkView> {
        let now = self.now;
        let gains = self.quality.gains(now, Place::default());
        let view = |(index, slot): (usize, &Slot)| {
            let rates = self.quality.rates(gains, Place::default(), index);
            TrunkView {
                trunk: slot.trunk.id,
                condition: match &slot.health.state {
                    State::Working if slot.health.is_sound() => Condition::Working,
                    State::Working => Condition::InDoubt,
                    State::Standby(trial) => Condition::Standby(trial.cause),
                    State::Out(trial) => Condition::Out(trial.cause),
                    State::Down => Condition::Down,
                },
                probe_at: slot.health.probe_at(),
                channels_used: slot.capacity.in_use(),
                room: slot.room(now),
                failure_ratio: slot.health.failure_rate(),
                false_answer_ratio: slot.health.false_share(),
                connect_ratio: rates.connect,
                asr_ratio: rates.asr,
                poor_group: self.groups.has_failed(slot.group),
            }
        };
        let slots = self.slots.iter().enumerate();
        slots.filter(|(_, slot)| !slot.removed).map(view).collect()
    }
}
