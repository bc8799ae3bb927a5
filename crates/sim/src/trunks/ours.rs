//! Paceline's arbiter as a router.

use super::carriers::Carriers;
use super::{Router, TRUNKS, TrunkCall, TrunkScenario};
use paceline_core::ids::{CampaignId, LegId, TrunkId};
use paceline_core::time::Mono;
use paceline_core::trunks::{Arbiter, LegStep, Request, Trunk, TrunkSettings, Weights};

const REGION_NAMES: [&str; 4] = ["north", "east", "south", "west"];
const CARRIER_NAMES: [&str; 3] = ["one", "two", "three"];

/// The arbiter of `paceline-core`, which knows the caps of the trunks and nothing else.
#[derive(Clone, Debug)]
pub struct Ours {
    arbiter: Arbiter,
}

impl Ours {
    /// An arbiter for the trunks of a seed.
    pub fn new(scenario: &TrunkScenario, seed: u64, weights: Weights) -> Self {
        let carriers = Carriers::new(scenario, seed);
        let trunk = |index: usize| {
            let (channels, calls_per_s) = carriers.caps(index);
            Trunk {
                channels_max: Some(channels),
                calls_per_s_max: Some(f64::from(calls_per_s)),
                ..Trunk::new(id(index))
            }
        };
        let settings = TrunkSettings {
            weights,
            trunks: (0..TRUNKS).map(trunk).collect(),
            ..TrunkSettings::default()
        };
        Self {
            arbiter: Arbiter::new(&settings),
        }
    }
}

fn id(trunk: usize) -> TrunkId {
    TrunkId(i64::try_from(trunk).unwrap_or(i64::MAX))
}

fn leg(call: &TrunkCall) -> LegId {
    LegId(uuid::Uuid::from_u128(u128::from(call.leg)))
}

impl Router for Ours {
    fn choose(&mut self, at: Mono, call: &TrunkCall, _room: &[bool]) -> Option<usize> {
        let tried: Vec<TrunkId> = call.tried.iter().map(|trunk| id(*trunk)).collect();
        let request = Request {
            leg: leg(call),
            campaign: CampaignId(1),
            region: REGION_NAMES.get(call.region).copied(),
            carrier: CARRIER_NAMES.get(call.carrier).copied(),
            tier: None,
            tried: &tried,
        };
        let (trunk, _) = self.arbiter.choose(at, &request).trunk?;
        usize::try_from(trunk.0).ok()
    }

    fn leg(&mut self, at: Mono, call: &TrunkCall, trunk: usize, step: LegStep) {
        self.arbiter.leg(at, leg(call), id(trunk), step);
    }
}
