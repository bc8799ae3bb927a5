//! Hard limits, scores, tiers, prices and reasons.

use super::rig::{Rig, ms, of, trunk};
use crate::ids::{CampaignId, TrunkId};
use crate::outcome::Outcome;
use crate::trunks::{Choice, Kind, LegStep, Reason, Request, Trunk, Weights};

fn ask(rig: &mut Rig, at: u64, region: Option<&str>, carrier: Option<&str>, tier: Option<u32>) -> Choice {
    let request = Request {
        leg: rig.new_leg(),
        campaign: CampaignId(1),
        region,
        carrier,
        tier,
        tried: &[],
    };
    rig.arbiter.choose(ms(at), &request)
}

#[test]
fn regions_and_carriers_are_hard_limits_where_given() {
    let only = |id, region: &str, carrier: &str| Trunk {
        regions: vec![region.to_owned()],
        carriers: vec![carrier.to_owned()],
        ..trunk(id)
    };
    let mut rig = Rig::new(&of(vec![only(1, "CN-11", "unicom"), only(2, "CN-44", "telecom")]));
    for n in 0..50 {
        let used = |choice: Choice| choice.trunk.map(|(trunk, _)| trunk.0);
        assert_eq!(
            used(ask(&mut rig, n, Some("CN-11"), Some("unicom"), None)),
            Some(1)
        );
        assert_eq!(
            used(ask(&mut rig, n, Some("CN-44"), Some("telecom"), None)),
            Some(2)
        );
        assert_eq!(used(ask(&mut rig, n, Some("CN-44"), Some("unicom"), None)), None);
        assert_eq!(used(ask(&mut rig, n, None, None, None)), None);
    }
    let choice = ask(&mut rig, 60, Some("CN-31"), None, None);
    assert_eq!((choice.retry_at, choice.reasons), (None, vec![Reason::NoTrunk]));
}

/// Calls over both trunks; `good` and `bad` are the numbers of answers in ten legs of each.
fn taught(settings: &crate::trunks::TrunkSettings, good: u64, bad: u64) -> Rig {
    let mut rig = Rig::new(settings);
    for n in 0..400 {
        let at = n * 500;
        for (trunk, answers) in [(1, bad), (2, good)] {
            let leg = rig.dial_over(at, trunk);
            rig.rings(at, leg, trunk);
            if n % 10 < answers {
                rig.talks(at + 10, leg, trunk, 30_000);
            } else {
                rig.ends(at + 10, leg, trunk, Outcome::NoAnswer);
            }
        }
    }
    rig
}

#[test]
fn the_trunk_that_connects_more_is_used_and_the_reasons_say_why() {
    let mut rig = taught(&of(vec![trunk(1), trunk(2)]), 3, 2);
    for n in 0..20 {
        let choice = ask(&mut rig, 200_000 + n, None, None, None);
        assert_eq!(
            choice.trunk.map(|(trunk, kind)| (trunk.0, kind)),
            Some((2, Kind::Best))
        );
        let Some(Reason::Score { connect, next, .. }) = choice.reasons.first() else {
            panic!("{choice:?}")
        };
        assert!((connect - 1.0).abs() < 1e-9);
        assert_eq!(next.map(|(trunk, _)| trunk), Some(TrunkId(1)));
    }
}

#[test]
fn a_tier_is_a_preference_and_no_filter() {
    let tiered = |id, tier| Trunk {
        tier: Some(tier),
        channels_max: Some(5),
        ..trunk(id)
    };
    let mut rig = Rig::new(&of(vec![tiered(1, 2), tiered(2, 1)]));
    for (tier, trunk) in [(1, 2), (2, 1)] {
        for n in 0..5 {
            let choice = ask(&mut rig, n, None, None, Some(tier));
            assert_eq!(choice.trunk.map(|(trunk, _)| trunk.0), Some(trunk));
        }
    }
    let mut rig = Rig::new(&of(vec![tiered(1, 2), tiered(2, 1)]));
    let used: Vec<_> = (0..10)
        .filter_map(|n| ask(&mut rig, n, None, None, Some(1)).trunk)
        .collect();
    assert_eq!(used.len(), 10, "the other tier takes what the own one cannot");
    let mut rig = taught(&of(vec![tiered(1, 1), tiered(2, 2)]), 4, 1);
    // One leg goes to the poor trunk, to see whether it is still poor.
    ask(&mut rig, 205_000, None, None, Some(1));
    let choice = ask(&mut rig, 205_100, None, None, Some(1));
    let used = choice.trunk.map(|(trunk, _)| trunk.0);
    assert_eq!(used, Some(2), "a poor trunk loses its tier's calls: {choice:?}");
}

#[test]
fn among_equals_the_cheaper_is_used() {
    let priced = |id, price| Trunk {
        price_per_minute: Some(price),
        ..trunk(id)
    };
    let mut rig = Rig::new(&of(vec![priced(1, 0.05), priced(2, 0.01)]));
    assert_eq!(
        ask(&mut rig, 0, None, None, None).trunk.map(|(trunk, _)| trunk.0),
        Some(2)
    );
}

#[test]
fn poor_sound_costs_a_trunk_its_calls() {
    let mut rig = Rig::trunks(2);
    for n in 0..60 {
        let at = n * 500;
        for (trunk, mos) in [(1, 2.0), (2, 4.2)] {
            let leg = rig.dial_over(at, trunk);
            rig.step(at, leg, trunk, LegStep::Answered);
            let result = crate::trunks::LegResult {
                outcome: Some(Outcome::Answered),
                talk: Some(std::time::Duration::from_secs(30)),
                mos: Some(mos),
                loss: Some(0.0),
                local_fault: false,
            };
            rig.step(at + 10, leg, trunk, LegStep::Ended(result));
        }
    }
    assert_eq!(rig.dial(40_000).unwrap().1, 2);
}

#[test]
fn a_list_that_nobody_answers_makes_no_trunk_worse() {
    // Trunk 1 has the cold list; trunk 2 is used before and after it.
    let mut rig = Rig::trunks(2);
    for n in 0..600_u64 {
        let at = n * 500;
        let every = if n / 200 == 1 { 20 } else { 3 };
        for trunk in [1, 2] {
            let leg = rig.dial_over(at, trunk);
            rig.rings(at, leg, trunk);
            if n % every == 0 {
                rig.talks(at + 10, leg, trunk, 30_000);
            } else {
                rig.ends(at + 10, leg, trunk, Outcome::NoAnswer);
            }
        }
    }
    for view in rig.arbiter.view() {
        assert!((view.connect_ratio - 1.0).abs() < 0.15, "{view:?}");
    }
}

#[test]
fn the_presets_are_those_of_the_documents() {
    let document = Weights::preset("document").unwrap();
    assert_eq!((document.connect, document.idle, document.asr), (0.5, 0.3, 0.2));
    assert!(!document.relative);
    let default = Weights::preset("default").unwrap();
    assert_eq!((default.connect, default.idle, default.asr), (0.65, 0.05, 0.3));
    assert!(default.relative && default == Weights::default());
}

#[test]
fn new_settings_keep_what_is_known_of_a_trunk_that_stays() {
    let settings = of(vec![trunk(1), trunk(2)]);
    let mut rig = taught(&settings, 3, 1);
    rig.arbiter.configure(&of(vec![trunk(3), trunk(1)]));
    let views = rig.arbiter.view();
    assert_eq!(views.iter().map(|view| view.trunk.0).collect::<Vec<_>>(), [1, 3]);
    assert!(views[0].connect_ratio < 0.9);
    let used: Vec<i64> = (0..5)
        .filter_map(|n| rig.dial(210_000 + n))
        .map(|(_, trunk, _)| trunk)
        .collect();
    assert_eq!(used[1..], [3; 4], "the first looks whether trunk 1 is still poor");
}
