//! Each number of the failover.

use super::rig::{Rig, ms, of, trunk};
use crate::ids::{LegId, TrunkId};
use crate::outcome::Outcome;
use crate::trunks::{Cause, Condition, Kind, LegResult, LegStep, TrunkVerdict};
use std::collections::BTreeMap;

/// What a carrier does with a leg.
#[derive(Clone, Copy, PartialEq)]
enum Does {
    Rings,
    Refuses,
    Silent,
}

/// One trunk, and what its legs will do.
struct Carrier {
    rig: Rig,
    due: BTreeMap<(u64, LegId), Option<Outcome>>,
    delay_ms: u64,
}

/// Times of dialing of the probes and of the other legs.
#[derive(Default)]
struct Seen {
    probes: Vec<u64>,
    legs: Vec<u64>,
}

impl Carrier {
    fn new(delay_ms: u64) -> Self {
        Self {
            rig: Rig::trunks(1),
            due: BTreeMap::new(),
            delay_ms,
        }
    }

    /// Asks `per_s` times a second. Legs of a working trunk ring after `delay_ms`, last 20 s, and are not answered; refusals
    /// come after 200 ms, and the end of a silent leg after 25 s.
    fn run(&mut self, (from, until): (u64, u64), per_s: u64, does: Does) -> Seen {
        let mut seen = Seen::default();
        let mut next = from;
        for at in (from..until).step_by(50) {
            while let Some(((when, leg), what)) = self.due.pop_first() {
                if when > at {
                    self.due.insert((when, leg), what);
                    break;
                }
                match what {
                    None => {
                        self.rig.rings(when, leg, 1);
                        self.due.insert((when + 20_000, leg), Some(Outcome::NoAnswer));
                    }
                    Some(outcome) => _ = self.rig.ends(when, leg, 1, outcome),
                }
            }
            if at < next {
                continue;
            }
            next += 1_000 / per_s;
            if let Some((leg, _, kind)) = self.rig.dial(at) {
                if kind == Kind::Probe {
                    seen.probes.push(at);
                } else {
                    seen.legs.push(at);
                }
                let (after, what) = match does {
                    Does::Rings => (self.delay_ms, None),
                    Does::Refuses => (200, Some(Outcome::Congestion)),
                    Does::Silent => (25_000, Some(Outcome::Congestion)),
                };
                self.due.insert((at + after, leg), what);
            }
        }
        seen.probes
            .windows(2)
            .for_each(|two| assert!(two[1] - two[0] >= 2_000, "{two:?}"));
        seen
    }
}

#[test]
fn a_trunk_that_refuses_every_leg_is_out_after_five_failed_legs_and_three_seconds() {
    for per_s in [1, 2, 4, 10] {
        let mut carrier = Carrier::new(1_500);
        carrier.run((0, 60_000), per_s, Does::Rings);
        let Seen { probes, legs } = carrier.run((60_000, 90_000), per_s, Does::Refuses);
        assert!(
            legs.len() <= 5 + 2,
            "{per_s}: {legs:?}: two are under way when the third fails"
        );
        assert!(*legs.last().unwrap() <= 60_200 + 5_000, "{per_s}: {legs:?}");
        assert_eq!(
            carrier.rig.condition(90_000, 1),
            Condition::Out(Cause::Fails),
            "{per_s}"
        );
        assert!(probes.len() >= 2, "{per_s}: {probes:?}");
    }
}

#[test]
fn five_failed_legs_within_three_seconds_are_waited_for_and_four_are_no_outage() {
    let mut rig = Rig::trunks(1);
    let fail = |rig: &mut Rig, at: u64| {
        let leg = rig.dial_over(at, 1);
        rig.ends(at, leg, 1, Outcome::Congestion)
    };
    for n in 0..4 {
        fail(&mut rig, n * 100);
    }
    assert_eq!(rig.condition(20_000, 1), Condition::InDoubt);
    assert_eq!(fail(&mut rig, 20_100), TrunkVerdict::Trunk);
    let mut rig = Rig::trunks(1);
    for n in 0..5 {
        fail(&mut rig, n * 100);
    }
    assert!(rig.dial(2_900).is_none());
    assert_eq!(rig.condition(2_900, 1), Condition::InDoubt);
    assert_eq!(rig.condition(3_300, 1), Condition::Out(Cause::Fails));
}

#[test]
fn a_silent_trunk_is_out_within_ten_seconds_also_one_of_which_nothing_is_known() {
    for (delay_ms, warm) in [(300, true), (1_500, true), (4_000, true), (1_500, false)] {
        let mut carrier = Carrier::new(delay_ms);
        if warm {
            carrier.run((0, 120_000), 3, Does::Rings);
        }
        let seen = carrier.run((120_000, 130_000), 3, Does::Silent);
        assert_eq!(
            carrier.rig.condition(130_000, 1),
            Condition::Out(Cause::Silent),
            "{delay_ms} {warm}"
        );
        assert!(seen.legs.len() <= 25, "{delay_ms} {warm}: {:?}", seen.legs);
    }
}

#[test]
fn a_trunk_that_rings_late_or_not_before_the_answer_is_not_silent() {
    for delay_ms in [7_000, 14_000] {
        let mut carrier = Carrier::new(delay_ms);
        carrier.run((0, 60_000), 3, Does::Rings);
        let seen = carrier.run((60_000, 240_000), 3, Does::Rings);
        assert!(seen.legs.len() >= 500, "{delay_ms}: {}", seen.legs.len());
        assert!(seen.probes.is_empty(), "{delay_ms}");
    }
}

#[test]
fn a_trunk_is_back_within_thirty_seconds_after_it_heals() {
    for outage in [Does::Refuses, Does::Silent] {
        for outage_ms in [8_000, 30_000, 61_000, 600_000] {
            let mut carrier = Carrier::new(2_500);
            carrier.run((0, 60_000), 3, Does::Rings);
            let heals = 60_000 + outage_ms;
            carrier.run((60_000, heals), 3, outage);
            carrier.run((heals, heals + 30_000), 3, Does::Rings);
            assert_eq!(
                carrier.rig.condition(heals + 30_000, 1),
                Condition::Working,
                "{outage_ms}"
            );
        }
    }
}

#[test]
fn a_gateway_that_is_down_is_out_at_once_and_proves_itself_when_it_is_up() {
    let mut rig = Rig::trunks(2);
    rig.arbiter.link(ms(0), TrunkId(1), false);
    for n in 0..20 {
        assert_eq!(rig.dial(n * 10).unwrap().1, 2);
    }
    assert_eq!(rig.condition(1_000, 1), Condition::Down);
    rig.arbiter.link(ms(2_000), TrunkId(1), true);
    let (leg, trunk, kind) = rig.dial(2_000).unwrap();
    assert_eq!((trunk, kind), (1, Kind::Probe));
    assert_eq!(rig.dial(2_100).unwrap().1, 2);
    rig.rings(3_000, leg, 1);
    let (leg, trunk, _) = rig.dial(4_000).unwrap();
    assert_eq!(trunk, 1);
    rig.rings(5_000, leg, 1);
    assert_eq!(rig.condition(5_000, 1), Condition::Working);
}

#[test]
fn a_leg_launched_before_the_first_failure_is_no_sign_of_life() {
    let mut rig = Rig::trunks(1);
    let early = rig.dial_over(0, 1);
    for n in 1..=5 {
        let leg = rig.dial_over(n * 700, 1);
        rig.ends(n * 700, leg, 1, Outcome::Failed);
        if n == 4 {
            assert_eq!(rig.rings(n * 700 + 100, early, 1), TrunkVerdict::Unclear);
        }
    }
    assert_eq!(rig.condition(5_000, 1), Condition::Out(Cause::Fails));
    // A later one is.
    let mut rig = Rig::trunks(1);
    for n in 1..=4 {
        let leg = rig.dial_over(n * 700, 1);
        rig.ends(n * 700, leg, 1, Outcome::Failed);
    }
    let late = rig.dial_over(2_900, 1);
    assert_eq!(rig.rings(3_000, late, 1), TrunkVerdict::Works);
    assert_eq!(rig.condition(5_000, 1), Condition::Working);
}

#[test]
fn a_refusal_while_others_talk_means_full_and_the_trunk_takes_legs_again_when_one_ends() {
    let mut rig = Rig::trunks(2);
    let talking: Vec<_> = (0..10)
        .map(|n| {
            let leg = rig.dial_over(n * 100, 1);
            rig.step(n * 100 + 50, leg, 1, LegStep::Answered);
            leg
        })
        .collect();
    let mut refused = 0;
    for n in 0..300 {
        let at = 2_000 + n * 200;
        if let Some((leg, trunk, kind)) = rig.dial(at) {
            assert_ne!(kind, Kind::Probe);
            if trunk == 1 {
                refused += 1;
                rig.ends(at + 100, leg, 1, Outcome::Congestion);
            } else {
                rig.rings(at + 50, leg, 2);
                rig.ends(at + 100, leg, 2, Outcome::NoAnswer);
            }
        }
        assert!(
            !matches!(
                rig.condition(at + 150, 1),
                Condition::Out(_) | Condition::Standby(_)
            ),
            "{at}"
        );
    }
    assert!(refused <= 20, "{refused} legs were refused in a minute");
    let at = 62_000;
    let result = LegResult {
        outcome: Some(Outcome::Answered),
        ..LegResult::default()
    };
    rig.step(at, talking[0], 1, LegStep::Ended(result));
    let used: Vec<i64> = (0..6)
        .filter_map(|n| rig.dial(at + 10 + n))
        .map(|(_, trunk, _)| trunk)
        .collect();
    assert_eq!(used.iter().filter(|trunk| **trunk == 1).count(), 1, "{used:?}");
}

#[test]
fn a_dead_trunk_is_out_also_while_old_calls_talk_on() {
    let mut rig = Rig::trunks(1);
    let mut talking = Vec::new();
    for n in 0..10 {
        let leg = rig.dial_over(n * 100, 1);
        rig.step(n * 100 + 50, leg, 1, LegStep::Answered);
        talking.push(leg);
    }
    let mut failed = 0;
    for n in 0..400 {
        let at = 2_000 + n * 100;
        if n % 40 == 0
            && let Some(leg) = talking.pop()
        {
            rig.talks(at, leg, 1, 60_000);
        }
        if let Some((leg, _, kind)) = rig.dial(at) {
            failed += u32::from(kind != Kind::Probe);
            rig.ends(at + 50, leg, 1, Outcome::Congestion);
        }
    }
    assert!(matches!(rig.condition(42_000, 1), Condition::Out(_)));
    assert!(failed <= 16, "{failed}");
}

#[test]
fn a_trunk_that_fails_a_tenth_of_its_legs_is_a_standby_and_one_that_fails_a_twentieth_is_not() {
    for (every, standby) in [(4, true), (7, true), (20, false)] {
        let mut rig = Rig::trunks(2);
        for n in 0..400 {
            let at = n * 300;
            let leg = rig.dial_over(at, 1);
            if n % every == 0 {
                rig.ends(at + 100, leg, 1, Outcome::Congestion);
            } else {
                rig.rings(at + 100, leg, 1);
                rig.ends(at + 200, leg, 1, Outcome::NoAnswer);
            }
            let expected = if standby && n > 150 {
                matches!(rig.condition(at + 250, 1), Condition::Standby(Cause::FailureRate))
            } else {
                true
            };
            assert!(expected, "{every}: {n}");
        }
        assert_eq!(
            rig.condition(120_000, 1) != Condition::Working,
            standby,
            "{every}"
        );
        // It is used only if nothing else has room.
        let used: Vec<_> = (0..40).map(|n| rig.dial(120_000 + n * 10).unwrap()).collect();
        let is_plain = |(_, trunk, kind): &(LegId, i64, Kind)| *trunk == 1 && *kind != Kind::Probe;
        assert!(!standby || !used.iter().any(is_plain), "{every}");
    }
}

#[test]
fn a_trunk_whose_answers_are_false_is_a_standby() {
    let mut rig = Rig::trunks(2);
    for n in 0..100 {
        let at = n * 1_000;
        for trunk in [1, 2] {
            let leg = rig.dial_over(at, trunk);
            rig.rings(at + 100, leg, trunk);
            match (trunk, n % 3) {
                (1, 0 | 1) if n > 50 => rig.talks(at + 200, leg, 1, 1_500),
                (_, 2) => rig.talks(at + 200, leg, trunk, 60_000),
                _ => _ = rig.ends(at + 300, leg, trunk, Outcome::NoAnswer),
            }
        }
        if n == 50 {
            assert_eq!(rig.condition(at + 500, 1), Condition::Working);
        }
    }
    assert_eq!(rig.condition(100_000, 1), Condition::Standby(Cause::FalseAnswers));
    assert_eq!(rig.condition(100_000, 2), Condition::Working);
}

#[test]
fn legs_dialed_before_false_answers_were_found_do_not_bring_a_trunk_back() {
    let mut rig = Rig::trunks(2);
    let early: Vec<LegId> = (0..20)
        .map(|n| {
            let leg = rig.dial_over(n * 10, 1);
            rig.step(n * 10 + 5, leg, 1, LegStep::Answered);
            leg
        })
        .collect();
    for n in 0..8 {
        let leg = rig.dial_over(1_000 + n * 100, 1);
        rig.talks(1_010 + n * 100, leg, 1, 1_000);
    }
    assert_eq!(rig.condition(2_000, 1), Condition::Standby(Cause::FalseAnswers));
    for leg in early {
        rig.talks(60_000, leg, 1, 59_000);
    }
    assert_eq!(rig.condition(60_000, 1), Condition::Standby(Cause::FalseAnswers));
}

#[test]
fn the_same_answer_at_once_to_every_number_is_no_answer_about_any() {
    let mut rig = Rig::trunks(1);
    let mut verdicts = Vec::new();
    for n in 0..12 {
        let leg = rig.dial_over(n * 500, 1);
        verdicts.push(rig.ends(n * 500 + 100, leg, 1, Outcome::Invalid));
    }
    assert_eq!(verdicts[..9], [TrunkVerdict::Doubted; 9]);
    assert_eq!(verdicts[9..], [TrunkVerdict::Trunk; 3]);
    let mut rig = Rig::trunks(1);
    for n in 0..40 {
        let leg = rig.dial_over(n * 500, 1);
        let outcome = if n % 8 == 0 {
            Outcome::Busy
        } else {
            Outcome::Invalid
        };
        rig.ends(n * 500 + 100, leg, 1, outcome);
    }
    assert_eq!(rig.condition(30_000, 1), Condition::Working);
}

#[test]
fn faults_of_our_own_pbx_count_against_nobody() {
    let mut rig = Rig::trunks(1);
    for n in 0..100 {
        let leg = rig.dial_over(n * 100, 1);
        let result = LegResult {
            outcome: Some(Outcome::Failed),
            local_fault: true,
            ..LegResult::default()
        };
        assert_eq!(
            rig.step(n * 100 + 50, leg, 1, LegStep::Ended(result)),
            TrunkVerdict::Unclear
        );
    }
    let view = rig.arbiter.view();
    assert_eq!(view[0].condition, Condition::Working);
    assert_eq!(view[0].channels_used, 0);
    assert!((view[0].connect_ratio - 1.0).abs() < 1e-9);
}

#[test]
fn a_probe_is_never_the_failover_of_another_leg() {
    let mut rig = Rig::trunks(2);
    for n in 0..6 {
        let leg = rig.dial_over(n * 700, 1);
        rig.ends(n * 700, leg, 1, Outcome::Failed);
    }
    for n in 0..50 {
        let leg = rig.new_leg();
        assert_eq!(rig.ask(10_000 + n * 200, leg, 1, &[2]).trunk, None);
        assert_eq!(rig.ask(10_000 + n * 200, leg, 1, &[2]).retry_at, None);
    }
    assert_eq!(rig.dial(21_000).unwrap().1, 1);
}

/// Whatever share of its legs fails, a trunk does not go in and out all the time.
#[test]
fn no_trunk_flaps() {
    for share in [2, 5, 8, 10, 12, 15, 20, 30, 50, 70, 90, 95, 100] {
        let mut rig = Rig::new(&of(vec![trunk(1), trunk(2)]));
        let mut random = 88_172_645_463_325_252_u64 + share;
        let (mut changes, mut last) = (0, Condition::Working);
        for n in 0..10_800 {
            let at = n * 333;
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            if let Some((leg, trunk, _)) = rig.dial(at) {
                if trunk == 1 && random % 100 < share {
                    rig.ends(at + 50, leg, 1, Outcome::Congestion);
                } else {
                    rig.rings(at + 50, leg, trunk);
                    rig.ends(at + 100, leg, trunk, Outcome::NoAnswer);
                }
            }
            let now = match rig.condition(at + 100, 1) {
                Condition::InDoubt => Condition::Working,
                other => other,
            };
            let is_used = |condition| matches!(condition, Condition::Working);
            changes += u32::from(is_used(now) != is_used(last));
            last = now;
        }
        assert!(changes <= 20, "{share} %: {changes} changes in an hour");
    }
}
