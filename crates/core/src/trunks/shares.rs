//! Fair shares of the trunks among campaigns, and among the legs of one campaign.
//!
//! Start-time fair queueing: a grant costs its campaign 1 ÷ weight of virtual time, and the leg with the earliest start goes
//! first. A leg that got nothing asks again; around that time it goes before all that come after it. So a leg waits for
//! those before it, and for nobody else.

use crate::ids::{CampaignId, LegId};
use crate::time::Mono;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A waiting leg is expected this long before the time at which it was told to ask again.
const EARLY: Duration = Duration::from_millis(300);
/// It loses its turn this long after that time.
const LATE: Duration = Duration::from_secs(1);
/// A bound for the memory. A leg beyond it has no turn to lose.
const WAITING_MAX: usize = 20_000;
/// Campaigns without a share of their own beyond this number count as one.
const CAMPAIGNS_MAX: usize = 10_000;
/// So many legs of a campaign ask again at short intervals, so that no channel stays free for long.
const NEXT: usize = 4;
/// Only so many of the first waiting legs of a campaign are looked at.
const LOOKED_AT: usize = 64;

/// Most virtual time that a campaign can be owed: five legs of weight 1.
const OWED_MAX: f64 = 5.0;

type Turn = (Mono, u64);

#[derive(Clone, Debug)]
struct Campaign {
    weight: f64,
    /// The end of its last grant in virtual time.
    served: f64,
    waiting: BTreeMap<Turn, Waiting>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    leg: LegId,
    place: usize,
    retry_at: Mono,
    /// It has asked again. A leg that never does holds up nobody.
    is_back: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Shares {
    campaigns: Vec<Campaign>,
    by_id: BTreeMap<CampaignId, usize>,
    by_leg: BTreeMap<LegId, (usize, Turn)>,
    lost: BTreeSet<(Mono, usize, Turn)>,
    virtual_time: f64,
    asked: u64,
}

impl Shares {
    pub(super) fn configure(&mut self, id: CampaignId, weight: f64) {
        let index = self.campaign(id);
        if let Some(campaign) = self.campaigns.get_mut(index) {
            campaign.weight = weight.clamp(1e-3, 1e6);
        }
    }

    pub(super) fn campaign(&mut self, id: CampaignId) -> usize {
        if let Some(index) = self.by_id.get(&id) {
            return *index;
        }
        if self.campaigns.len() < CAMPAIGNS_MAX {
            self.campaigns.push(Campaign {
                weight: 1.0,
                served: 0.0,
                waiting: BTreeMap::new(),
            });
            self.by_id.insert(id, self.campaigns.len() - 1);
        }
        self.campaigns.len() - 1
    }

    /// Legs that did not ask again in time lose their turns.
    pub(super) fn advance(&mut self, now: Mono) {
        while let Some((at, campaign, turn)) = self.lost.first().copied()
            && at < now
        {
            self.lost.pop_first();
            if let Some(waiting) = self
                .campaigns
                .get_mut(campaign)
                .and_then(|campaign| campaign.waiting.remove(&turn))
            {
                self.by_leg.remove(&waiting.leg);
            }
        }
    }

    /// Number of waiting legs that go before this one, up to `most`. `competes`: whether the legs of a place want the same
    /// trunks.
    pub(super) fn before(
        &self,
        now: Mono,
        campaign: usize,
        leg: LegId,
        most: u32,
        competes: impl Fn(usize) -> bool,
    ) -> u32 {
        if self.by_leg.is_empty() || most == 0 {
            return 0;
        }
        let start = self.start(campaign);
        let turn = self.by_leg.get(&leg).map(|(_, turn)| *turn);
        let mut before = 0;
        for (index, other) in self.campaigns.iter().enumerate() {
            if other.waiting.is_empty() {
                continue;
            }
            let mut theirs = self.start(index);
            for (their_turn, waiting) in other.waiting.iter().take(LOOKED_AT) {
                let is_first = if index == campaign {
                    turn.is_none_or(|turn| *their_turn < turn)
                } else {
                    theirs < start
                };
                if !is_first {
                    break;
                }
                let is_due = now + EARLY >= waiting.retry_at;
                if waiting.leg != leg && waiting.is_back && is_due && competes(waiting.place) {
                    before += 1;
                    theirs += 1.0 / other.weight;
                    if before >= most {
                        return before;
                    }
                }
            }
        }
        before
    }

    /// Virtual time at which the next leg of a campaign starts. While legs wait, the campaign keeps what it is owed, up to a
    /// limit.
    fn start(&self, campaign: usize) -> f64 {
        let Some(campaign) = self.campaigns.get(campaign) else {
            return self.virtual_time;
        };
        let owed = if campaign.waiting.is_empty() {
            0.0
        } else {
            OWED_MAX
        };
        campaign.served.max(self.virtual_time - owed)
    }

    /// The leg got a trunk.
    pub(super) fn granted(&mut self, campaign: usize, leg: LegId) {
        let start = self.start(campaign);
        self.left(leg);
        self.virtual_time = self.virtual_time.max(start);
        if let Some(campaign) = self.campaigns.get_mut(campaign) {
            campaign.served = start + 1.0 / campaign.weight;
        }
    }

    /// The leg got nothing and asks again at `retry_at`. It keeps its turn.
    pub(super) fn waits(&mut self, now: Mono, campaign: usize, leg: LegId, place: usize, retry_at: Mono) {
        let (turn, is_back) = match self.by_leg.get(&leg) {
            Some((of, turn)) if *of == campaign => (*turn, true),
            Some(_) | None => {
                self.asked += 1;
                ((now, self.asked), false)
            }
        };
        let start = self.start(campaign);
        self.left(leg);
        if self.by_leg.len() >= WAITING_MAX {
            return;
        }
        let Some(of) = self.campaigns.get_mut(campaign) else {
            return;
        };
        of.served = start;
        of.waiting.insert(
            turn,
            Waiting {
                leg,
                place,
                retry_at,
                is_back,
            },
        );
        self.by_leg.insert(leg, (campaign, turn));
        self.lost.insert((retry_at + LATE, campaign, turn));
    }

    /// True if the leg is one of the first of its campaign.
    pub(super) fn is_next(&self, campaign: usize, leg: LegId) -> bool {
        self.campaigns.get(campaign).is_some_and(|campaign| {
            campaign
                .waiting
                .values()
                .take(NEXT)
                .any(|waiting| waiting.leg == leg)
        })
    }

    /// The leg does not wait any more.
    pub(super) fn left(&mut self, leg: LegId) {
        if let Some((campaign, turn)) = self.by_leg.remove(&leg)
            && let Some(waiting) = self
                .campaigns
                .get_mut(campaign)
                .and_then(|campaign| campaign.waiting.remove(&turn))
        {
            self.lost.remove(&(waiting.retry_at + LATE, campaign, turn));
        }
    }
}
