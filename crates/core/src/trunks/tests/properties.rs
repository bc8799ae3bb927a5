//! Random histories against a simple model of what a carrier sees.

use super::rig::{group, ms};
use crate::ids::{CampaignId, LegId, TrunkGroupId, TrunkId};
use crate::outcome::Outcome;
use crate::trunks::{Arbiter, Condition, Kind, LegResult, LegStep, Request, Trunk, TrunkSettings};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Clone, Debug)]
enum Act {
    Wait(u16),
    Choose {
        region: u8,
        campaign: u8,
        tried: u8,
        dials_after: Option<u16>,
    },
    Step {
        which: prop::sample::Index,
        step: u8,
    },
    Link {
        trunk: u8,
        up: bool,
    },
    Mood {
        trunk: u8,
        mood: u8,
    },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0..1_500_u16).prop_map(Act::Wait),
        6 => (0..4_u8, 0..3_u8, 0..16_u8, prop_oneof![
            4 => Just(Some(0)),
            2 => (0..2_999_u16).prop_map(Some),
            1 => Just(None),
        ])
            .prop_map(|(region, campaign, tried, dials_after)| Act::Choose {
                region,
                campaign,
                tried: if tried < 12 { 0 } else { tried },
                dials_after,
            }),
        6 => (any::<prop::sample::Index>(), 0..8_u8).prop_map(|(which, step)| Act::Step { which, step }),
        1 => (0..5_u8, any::<bool>()).prop_map(|(trunk, up)| Act::Link { trunk, up }),
        1 => (0..5_u8, 0..3_u8).prop_map(|(trunk, mood)| Act::Mood { trunk, mood }),
    ]
}

fn trunks() -> impl Strategy<Value = Vec<Trunk>> {
    let one = (
        prop::option::of(0..6_u32),
        prop::option::of(prop_oneof![Just(0.4), Just(1.0), Just(2.0), Just(5.0)]),
        prop::collection::vec(0..3_u8, 0..2),
        prop::option::of(1..4_i64),
    );
    prop::collection::vec(one, 1..5).prop_map(|trunks| {
        let trunk =
            |(index, (channels, calls_per_s, regions, group)): (usize, (_, _, Vec<u8>, Option<i64>))| Trunk {
                channels_max: channels,
                calls_per_s_max: calls_per_s,
                regions: regions.iter().map(u8::to_string).collect(),
                group: group.map(TrunkGroupId),
                ..Trunk::new(TrunkId(i64::try_from(index).unwrap()))
            };
        trunks.into_iter().enumerate().map(trunk).collect()
    })
}

/// What the carriers and the dialer know. It is simple and slow.
struct World {
    arbiter: Arbiter,
    settings: TrunkSettings,
    now: u64,
    legs: u128,
    /// Grants with the time at which the dialer dials, and the time of the grant.
    granted: Vec<(u64, LegId, TrunkId)>,
    live: Vec<(LegId, TrunkId)>,
    dialed: BTreeMap<TrunkId, Vec<u64>>,
    probes: BTreeMap<TrunkId, Vec<u64>>,
    moods: BTreeMap<TrunkId, u8>,
}

impl World {
    fn trunk(&self, id: TrunkId) -> &Trunk {
        self.settings.trunks.iter().find(|trunk| trunk.id == id).unwrap()
    }

    /// Dials what is due up to now, each at its time.
    fn dial(&mut self) {
        self.granted.sort_unstable();
        while let Some((at, leg, trunk)) = self.granted.first().copied()
            && at <= self.now
        {
            self.granted.remove(0);
            self.arbiter.leg(ms(at), leg, trunk, LegStep::Dialing);
            self.live.push((leg, trunk));
            let times = self.dialed.entry(trunk).or_default();
            times.push(at);
            let in_window = times.iter().filter(|time| **time + 1_000 >= at).count();
            let longer = times.iter().filter(|time| **time + 2_500 >= at).count();
            let of = self.trunk(trunk);
            if let Some(max) = of.calls_per_s_max {
                if max < 1.0 {
                    assert!(longer <= 1, "{longer} legs in 2.5 s over {of:?}");
                } else {
                    assert!(
                        in_window <= max as usize,
                        "{in_window} legs in a second over {of:?}"
                    );
                }
            }
            let used = self.live.iter().filter(|(_, over)| *over == trunk).count();
            if let Some(max) = of.channels_max {
                assert!(used <= max as usize, "{used} channels of {of:?}");
            }
        }
    }

    fn choose(&mut self, region: u8, campaign: u8, tried: u8, dials_after: Option<u16>) {
        self.legs += 1;
        let leg = LegId(uuid::Uuid::from_u128(self.legs));
        let tried: Vec<TrunkId> = (0..4)
            .filter(|bit| tried & (1 << bit) != 0)
            .map(TrunkId)
            .collect();
        let region = region.to_string();
        let request = Request {
            leg,
            campaign: CampaignId(campaign.into()),
            region: (region != "3").then_some(&region),
            carrier: None,
            tier: None,
            tried: &tried,
        };
        let choice = self.arbiter.choose(ms(self.now), &request);
        assert!(!choice.reasons.is_empty());
        let Some((trunk, kind)) = choice.trunk else {
            assert!(choice.retry_at.is_none_or(|at| at > ms(self.now)));
            return;
        };
        assert!(choice.retry_at.is_none());
        let of = self.trunk(trunk);
        assert!(of.regions.is_empty() || (of.regions.contains(&region) && region != "3"));
        assert!(!tried.contains(&trunk), "it was tried");
        let condition = self
            .arbiter
            .view()
            .iter()
            .find(|view| view.trunk == trunk)
            .unwrap()
            .condition;
        assert!(condition != Condition::Down);
        if let Condition::Out(_) = condition {
            assert!(kind == Kind::Probe && tried.is_empty(), "{kind:?}");
            let probes = self.probes.entry(trunk).or_default();
            assert!(
                probes.last().is_none_or(|last| last + 2_000 <= self.now),
                "{probes:?} {}",
                self.now
            );
            probes.push(self.now);
        }
        if let Some(after) = dials_after {
            self.granted.push((self.now + u64::from(after), leg, trunk));
        }
    }

    fn step(&mut self, which: prop::sample::Index, step: u8) {
        if self.live.is_empty() {
            return;
        }
        let index = which.index(self.live.len());
        let (leg, trunk) = self.live[index];
        let mood = self.moods.get(&trunk).copied().unwrap_or(0);
        let outcome = match (mood, step) {
            (1, _) => Outcome::Congestion,
            (_, 3) => Outcome::Failed,
            (_, 4) => Outcome::Answered,
            (_, 5) => Outcome::Busy,
            (_, 6) => Outcome::Cancelled,
            (_, _) => Outcome::NoAnswer,
        };
        let step = match (mood, step) {
            (2, _) => return,
            (0, 0 | 1) => LegStep::Ringing,
            (0, 2) => LegStep::Answered,
            (_, last) => LegStep::Ended(LegResult {
                outcome: Some(outcome),
                talk: Some(Duration::from_secs(u64::from(last) * 4)),
                mos: Some(3.0),
                loss: Some(0.01),
                local_fault: last == 7,
            }),
        };
        if matches!(step, LegStep::Ended(_)) {
            self.live.remove(index);
        }
        self.arbiter.leg(ms(self.now), leg, trunk, step);
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Wait(ms) => self.now += u64::from(ms),
            Act::Choose {
                region,
                campaign,
                tried,
                dials_after,
            } => self.choose(region, campaign, tried, dials_after),
            Act::Step { which, step } => self.step(which, step),
            Act::Link { trunk, up } => {
                let trunk = TrunkId(trunk.into());
                // What comes after the link is another outage, with probes of its own.
                self.probes.remove(&trunk);
                self.arbiter.link(ms(self.now), trunk, up);
            }
            Act::Mood { trunk, mood } => _ = self.moods.insert(TrunkId(trunk.into()), mood),
        }
        self.dial();
    }
}

proptest! {
    // PROPTEST_CASES asks for more.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(2_000)))]

    #[test]
    fn no_history_makes_a_trunk_pass_its_caps_or_a_probe_come_early(
        trunks in trunks(),
        acts in prop::collection::vec(act(), 0..150),
    ) {
        let settings = TrunkSettings {
            trunks,
            groups: vec![group(1, Some(2)), group(2, Some(3))],
            ..TrunkSettings::default()
        };
        let mut world = World {
            arbiter: Arbiter::new(&settings),
            settings,
            now: 0,
            legs: 0,
            granted: Vec::new(),
            live: Vec::new(),
            dialed: BTreeMap::new(),
            probes: BTreeMap::new(),
            moods: BTreeMap::new(),
        };
        for act in acts {
            world.act(act);
        }
        // When all is over, nothing is held.
        world.now += 3_100;
        world.dial();
        for (leg, trunk) in std::mem::take(&mut world.live) {
            let end = LegStep::Ended(LegResult::default());
            world.arbiter.leg(ms(world.now), leg, trunk, end);
        }
        world.arbiter.advance(ms(world.now));
        for view in world.arbiter.view() {
            prop_assert_eq!(view.channels_used, 0);
        }
    }
}
