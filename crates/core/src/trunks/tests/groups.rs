//! Standby groups, and groups that answer too little.

use super::rig::{Rig, group, grouped, ms};
use crate::ids::TrunkId;
use crate::outcome::Outcome;
use crate::trunks::{Kind, Trunk, TrunkSettings};

fn settings(trunks: Vec<Trunk>) -> TrunkSettings {
    TrunkSettings {
        trunks,
        groups: vec![group(1, Some(2)), group(2, None), group(3, None)],
        ..TrunkSettings::default()
    }
}

#[test]
fn a_standby_group_takes_calls_while_its_group_is_full_or_out_and_no_longer() {
    let small = Trunk {
        channels_max: Some(3),
        ..grouped(1, 1)
    };
    let mut rig = Rig::new(&settings(vec![grouped(2, 2), small]));
    let mut legs = Vec::new();
    for n in 0..3 {
        let (leg, trunk, kind) = rig.dial(n).unwrap();
        assert_eq!((trunk, kind), (1, Kind::Best));
        legs.push(leg);
    }
    let (_, trunk, kind) = rig.dial(10).unwrap();
    assert_eq!((trunk, kind), (2, Kind::Standby));
    rig.ends(20, legs[0], 1, Outcome::NoAnswer);
    assert_eq!(rig.dial(30).unwrap().1, 1);
    rig.arbiter.link(ms(40), TrunkId(1), false);
    rig.ends(45, legs[1], 1, Outcome::NoAnswer);
    assert_eq!(rig.dial(50).unwrap().1, 2);
}

#[test]
fn groups_that_are_each_others_standby_are_no_knot() {
    let mut both = settings(vec![grouped(1, 1), grouped(2, 2)]);
    both.groups = vec![group(1, Some(2)), group(2, Some(1))];
    let mut rig = Rig::new(&both);
    assert_eq!(rig.dial(0).unwrap().1, 1);
    rig.arbiter.link(ms(10), TrunkId(1), false);
    assert_eq!(rig.dial(20).unwrap().1, 2);
    both.groups = vec![group(1, Some(1))];
    assert!(Rig::new(&both).dial(0).is_some());
}

/// A leg a second over trunk 1 (group 1) and one over trunk 3 (group 3), of which so many in a hundred are answered.
fn compare(of_first: u64, of_sibling: u64) -> Rig {
    let mut rig = Rig::new(&settings(vec![grouped(1, 1), grouped(2, 2), grouped(3, 3)]));
    for n in 0..300 {
        let at = n * 1_000;
        for (trunk, answers) in [(1, of_first), (3, of_sibling)] {
            let leg = rig.dial_over(at, trunk);
            rig.rings(at, leg, trunk);
            if (n * 37) % 100 < answers {
                rig.talks(at + 10, leg, trunk, 30_000);
            } else {
                rig.ends(at + 10, leg, trunk, Outcome::NoAnswer);
            }
        }
    }
    rig
}

#[test]
fn a_group_that_answers_under_fifteen_percent_and_less_than_its_siblings_fails_over() {
    let poor = |mut rig: Rig| {
        rig.arbiter.advance(ms(300_000));
        rig.arbiter.view()[0].poor_group
    };
    assert!(poor(compare(5, 30)));
    assert!(!poor(compare(10, 12)), "a cold list is no fault");
    assert!(!poor(compare(8, 8)), "a cold list is no fault");
    assert!(!poor(compare(18, 40)), "18 % is enough");
}

#[test]
fn a_poor_group_is_replaced_by_its_standby_and_comes_back_when_it_answers_again() {
    let mut rig = compare(3, 30);
    rig.arbiter.link(ms(300_000), TrunkId(3), false);
    let mut used = [0; 4];
    let mut poor_until = 0;
    for n in 0..1_200_u64 {
        let at = 300_000 + n * 500;
        let (leg, trunk, _) = rig.dial(at).unwrap();
        if n < 200 {
            used[usize::try_from(trunk).unwrap()] += 1;
        }
        rig.rings(at, leg, trunk);
        if (n * 37) % 100 < 30 {
            rig.talks(at + 10, leg, trunk, 30_000);
        } else {
            rig.ends(at + 10, leg, trunk, Outcome::NoAnswer);
        }
        if rig.arbiter.view()[0].poor_group {
            poor_until = n;
        }
    }
    assert!(
        used[1] < 60,
        "{used:?}: a leg in two seconds shows whether it answers again"
    );
    assert!(used[2] > 0, "{used:?}");
    assert!((10..1_000).contains(&poor_until), "{poor_until}");
}

#[test]
fn a_standby_that_nobody_knows_is_tried_before_a_group_is_called_poor() {
    let mut rig = Rig::new(&settings(vec![grouped(1, 1), grouped(2, 2)]));
    let mut kinds = Vec::new();
    for n in 0..400_u64 {
        let at = n * 500;
        let (leg, trunk, kind) = rig.dial(at).unwrap();
        kinds.push((trunk, kind));
        rig.rings(at, leg, trunk);
        let answers = if trunk == 1 { 4 } else { 35 };
        if (n * 37) % 100 < answers {
            rig.talks(at + 10, leg, trunk, 30_000);
        } else {
            rig.ends(at + 10, leg, trunk, Outcome::NoAnswer);
        }
    }
    assert!(kinds.contains(&(2, Kind::Explore)));
    assert!(rig.arbiter.view()[0].poor_group);
    assert!(
        kinds[390..]
            .iter()
            .any(|(trunk, kind)| (*trunk, *kind) == (2, Kind::Standby))
    );
}
