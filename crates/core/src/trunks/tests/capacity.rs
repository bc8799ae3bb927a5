//! Channels, calls per second, grants, and fair shares.

use super::rig::{Rig, ms, of, trunk};
use crate::outcome::Outcome;
use crate::trunks::{CampaignShare, LegStep, Trunk, TrunkSettings};
use std::collections::BTreeMap;

fn limited(channels: Option<u32>, calls_per_s: Option<f64>) -> TrunkSettings {
    of(vec![Trunk {
        channels_max: channels,
        calls_per_s_max: calls_per_s,
        ..trunk(1)
    }])
}

#[test]
fn no_window_of_a_second_has_more_legs_than_allowed_and_the_answer_says_when_there_is_room() {
    let mut rig = Rig::new(&limited(None, Some(3.0)));
    for at in [0, 400, 900] {
        assert!(rig.dial(at).is_some());
    }
    let leg = rig.new_leg();
    let choice = rig.ask(950, leg, 1, &[]);
    assert_eq!((choice.trunk, choice.retry_at), (None, Some(ms(1_001))));
    assert!(rig.dial(1_000).is_none());
    assert!(rig.ask(1_001, leg, 1, &[]).trunk.is_some());
    let mut slow = Rig::new(&limited(None, Some(0.5)));
    assert!(slow.dial(0).is_some());
    assert!(slow.dial(1_999).is_none());
    assert!(slow.dial(2_300).is_some());
    assert!(Rig::new(&limited(None, Some(0.0))).dial(0).is_none());
}

#[test]
fn a_grant_that_is_not_dialed_within_three_seconds_lapses() {
    let mut rig = Rig::new(&limited(Some(1), None));
    let leg = rig.new_leg();
    assert!(rig.ask(0, leg, 1, &[]).trunk.is_some());
    assert!(rig.dial(2_900).is_none());
    let (dialed, ..) = rig.dial(3_200).unwrap();
    assert!(rig.dial(10_000).is_none(), "a dialed leg does not lapse");
    rig.ends(11_000, dialed, 1, Outcome::NoAnswer);
    assert!(rig.dial(11_000).is_some());
}

#[test]
fn a_grant_counts_as_a_call_of_every_second_until_it_is_dialed() {
    let mut rig = Rig::new(&limited(None, Some(2.0)));
    let legs = [rig.new_leg(), rig.new_leg()];
    for leg in legs {
        assert!(rig.ask(0, leg, 1, &[]).trunk.is_some());
    }
    assert!(rig.dial(1_500).is_none(), "both may be dialed at any moment");
    for leg in legs {
        rig.step(2_000, leg, 1, LegStep::Dialing);
    }
    assert!(rig.dial(3_000).is_none());
    assert!(rig.dial(3_600).is_some());
}

#[test]
fn channels_are_left_for_inbound_calls() {
    let mut settings = limited(Some(10), None);
    settings.trunks[0].channels_inbound = 4;
    let mut rig = Rig::new(&settings);
    assert_eq!((0..10).filter(|n| rig.dial(n * 10).is_some()).count(), 6);
}

#[test]
fn events_that_come_twice_or_late_change_nothing() {
    let mut rig = Rig::new(&limited(Some(2), None));
    let (leg, ..) = rig.dial(0).unwrap();
    rig.step(0, leg, 1, LegStep::Dialing);
    rig.rings(10, leg, 1);
    rig.rings(10, leg, 1);
    rig.ends(20, leg, 1, Outcome::NoAnswer);
    rig.ends(20, leg, 1, Outcome::NoAnswer);
    rig.rings(30, leg, 1);
    rig.step(30, leg, 1, LegStep::Dialing);
    assert_eq!(rig.arbiter.view()[0].channels_used, 0);
    assert!(rig.dial(40).is_some() && rig.dial(40).is_some() && rig.dial(40).is_none());
}

/// Three campaigns that always have twenty legs waiting, over one trunk.
fn compete(settings: &TrunkSettings, leg_ms: u64) -> BTreeMap<i64, u32> {
    let mut rig = Rig::new(settings);
    let mut waiting = Vec::new();
    let mut live: Vec<(u64, crate::ids::LegId)> = Vec::new();
    let mut granted = BTreeMap::new();
    for at in (0..120_000).step_by(50) {
        for campaign in 1..=3 {
            while waiting.iter().filter(|(_, of, _, _)| *of == campaign).count() < 20 {
                let leg = rig.new_leg();
                waiting.push((at, campaign, leg, at));
            }
        }
        live.retain(|(ends, leg)| {
            if *ends <= at {
                rig.ends(at, *leg, 1, Outcome::NoAnswer);
            }
            *ends > at
        });
        waiting.retain_mut(|(retry_at, campaign, leg, since)| {
            if *retry_at > at {
                return true;
            }
            let choice = rig.ask(at, *leg, *campaign, &[]);
            if choice.trunk.is_some() {
                rig.step(at, *leg, 1, LegStep::Dialing);
                rig.rings(at, *leg, 1);
                live.push((at + leg_ms, *leg));
                // The first legs find free channels, and nobody competes yet.
                if at >= 20_000 {
                    *granted.entry(*campaign).or_default() += 1;
                }
                assert!(at - *since < 60_000, "a leg waited {} ms", at - *since);
                return false;
            }
            *retry_at = u64::try_from(choice.retry_at.unwrap().since(ms(0)).as_millis()).unwrap();
            true
        });
    }
    granted
}

#[test]
fn campaigns_share_a_trunk_by_their_weights_and_nobody_starves() {
    let share = |id, weight| CampaignShare {
        id: crate::ids::CampaignId(id),
        weight,
    };
    for mut settings in [limited(Some(20), None), limited(None, Some(5.0))] {
        settings.campaigns = vec![share(1, 1.0), share(2, 2.0), share(3, 5.0)];
        let granted = compete(&settings, 4_000);
        let sum: u32 = granted.values().sum();
        for (campaign, weight) in [(1, 1.0), (2, 2.0), (3, 5.0)] {
            let got = f64::from(granted[&campaign]) / f64::from(sum);
            let fair = weight / 8.0;
            assert!(
                (got / fair - 1.0).abs() < 0.15,
                "{campaign}: {got} of {fair}; {granted:?}"
            );
        }
        assert!(sum >= 450, "{sum}: the trunk is used");
    }
}
