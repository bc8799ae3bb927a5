//! An arbiter, a clock, and legs with short names.

use crate::ids::{CampaignId, LegId, TrunkGroupId, TrunkId};
use crate::outcome::Outcome;
use crate::time::Mono;
use crate::trunks::{
    Arbiter, Choice, Condition, Kind, LegResult, LegStep, Request, Trunk, TrunkGroup, TrunkSettings,
    TrunkVerdict,
};
use std::time::Duration;

pub(super) fn ms(ms: u64) -> Mono {
    Mono::START + Duration::from_millis(ms)
}

pub(super) fn trunk(id: i64) -> Trunk {
    Trunk::new(TrunkId(id))
}

pub(super) fn of(trunks: Vec<Trunk>) -> TrunkSettings {
    TrunkSettings {
        trunks,
        ..TrunkSettings::default()
    }
}

pub(super) struct Rig {
    pub(super) arbiter: Arbiter,
    legs: u128,
}

impl Rig {
    pub(super) fn new(settings: &TrunkSettings) -> Self {
        Self {
            arbiter: Arbiter::new(settings),
            legs: 0,
        }
    }

    pub(super) fn trunks(count: i64) -> Self {
        Self::new(&of((1..=count).map(trunk).collect()))
    }

    pub(super) fn new_leg(&mut self) -> LegId {
        self.legs += 1;
        LegId(uuid::Uuid::from_u128(self.legs))
    }

    pub(super) fn ask(&mut self, at: u64, leg: LegId, campaign: i64, tried: &[i64]) -> Choice {
        let tried: Vec<TrunkId> = tried.iter().copied().map(TrunkId).collect();
        let request = Request {
            leg,
            campaign: CampaignId(campaign),
            region: None,
            carrier: None,
            tier: None,
            tried: &tried,
        };
        self.arbiter.choose(ms(at), &request)
    }

    /// Asks for a new leg's trunk and dials it.
    pub(super) fn dial(&mut self, at: u64) -> Option<(LegId, i64, Kind)> {
        self.dial_after(at, &[])
    }

    pub(super) fn dial_after(&mut self, at: u64, tried: &[i64]) -> Option<(LegId, i64, Kind)> {
        let leg = self.new_leg();
        let (trunk, kind) = self.ask(at, leg, 1, tried).trunk?;
        self.step(at, leg, trunk.0, LegStep::Dialing);
        Some((leg, trunk.0, kind))
    }

    /// A leg over this trunk, whatever the arbiter would choose.
    pub(super) fn dial_over(&mut self, at: u64, trunk: i64) -> LegId {
        let leg = self.new_leg();
        self.step(at, leg, trunk, LegStep::Dialing);
        leg
    }

    pub(super) fn step(&mut self, at: u64, leg: LegId, trunk: i64, step: LegStep) -> TrunkVerdict {
        self.arbiter.leg(ms(at), leg, TrunkId(trunk), step)
    }

    pub(super) fn rings(&mut self, at: u64, leg: LegId, trunk: i64) -> TrunkVerdict {
        self.step(at, leg, trunk, LegStep::Ringing)
    }

    pub(super) fn ends(&mut self, at: u64, leg: LegId, trunk: i64, outcome: Outcome) -> TrunkVerdict {
        let result = LegResult {
            outcome: Some(outcome),
            ..LegResult::default()
        };
        self.step(at, leg, trunk, LegStep::Ended(result))
    }

    /// A whole conversation, or one that ends at once.
    pub(super) fn talks(&mut self, at: u64, leg: LegId, trunk: i64, talk_ms: u64) {
        self.step(at, leg, trunk, LegStep::Answered);
        let result = LegResult {
            outcome: Some(Outcome::Answered),
            talk: Some(Duration::from_millis(talk_ms)),
            ..LegResult::default()
        };
        self.step(at, leg, trunk, LegStep::Ended(result));
    }

    pub(super) fn condition(&mut self, at: u64, trunk: i64) -> Condition {
        self.arbiter.advance(ms(at));
        let view = self.arbiter.view();
        view.iter()
            .find(|view| view.trunk == TrunkId(trunk))
            .unwrap()
            .condition
    }
}

pub(super) fn grouped(id: i64, group: i64) -> Trunk {
    Trunk {
        group: Some(TrunkGroupId(group)),
        ..trunk(id)
    }
}

pub(super) fn group(id: i64, standby: Option<i64>) -> TrunkGroup {
    TrunkGroup {
        id: TrunkGroupId(id),
        standby: standby.map(TrunkGroupId),
    }
}
