//! Tests of attempts whose leg had ended before the crash.

use super::*;

fn refused(by: EndedBy, sip: u16) -> LegEnd {
    LegEnd {
        by,
        sip: Some(sip),
        ..LegEnd::default()
    }
}

/// A rig with `count` attempts whose legs ended with `end` before Paceline crashed.
fn with_ended_legs(count: u128, end: &LegEnd) -> Rig {
    let ended_at = Wall(1_800_000_000_000 - 800);
    let attempt = |n| OpenAttempt {
        created_at: Wall(1_800_000_000_000 - 3_000),
        leg_end: Some((ended_at, end.clone())),
        ..open_attempt(n, None, None)
    };
    let attempts = (1..=count).map(attempt).collect();
    let mut rig = Rig::from(
        config(),
        Recovered {
            attempts,
            ..Recovered::default()
        },
    );
    rig.settle();
    rig.wait(Duration::from_secs(6));
    let at = rig.said.iter().filter_map(|c| match c {
        Command::Store(Change::AttemptEnded { at, .. }) => Some(*at),
        _ => None,
    });
    assert!(at.clone().all(|at| at == ended_at), "each ended with its leg");
    assert!(
        !rig.said
            .iter()
            .any(|c| matches!(c, Command::Store(Change::LegEnded { .. }))),
        "stored before"
    );
    assert_eq!(rig.commands().count(), 0, "the PBX is not asked");
    rig
}

#[test]
fn an_attempt_whose_leg_had_ended_before_the_crash_gets_its_outcome_without_asking_the_pbx() {
    for (end, outcome, spends) in [
        (refused(EndedBy::Network, 404), Outcome::Invalid, true),
        (refused(EndedBy::Network, 486), Outcome::Busy, true),
        (refused(EndedBy::NoRoom, 503), Outcome::Cancelled, false),
        (refused(EndedBy::Refused, 503), Outcome::Failed, false),
    ] {
        let rig = with_ended_legs(1, &end);
        assert_eq!(rig.outcomes(), [outcome]);
        let spent = rig
            .said
            .iter()
            .any(|c| matches!(c, Command::Store(Change::AttemptEnded { spends_try: true, .. })));
        assert_eq!(spent, spends, "{end:?}");
    }
}

#[test]
fn legs_that_ended_alike_before_the_crash_are_judged_together_after_it() {
    let rig = with_ended_legs(20, &refused(EndedBy::Network, 404));
    assert_eq!(rig.outcomes(), [Outcome::Congestion; 20]);
    assert_eq!(rig.engine.trunks_held().len(), 1);
}

#[test]
fn a_conversation_whose_leg_had_ended_before_the_crash_was_one() {
    let at = Wall(1_800_000_000_000 - 60_000);
    let open = OpenAttempt {
        created_at: at,
        leg_end: Some((Wall(1_800_000_000_000 - 500), end(EndedBy::Network, true))),
        ..open_attempt(1, Some((at, AgentId(1))), Some(at))
    };
    let recovered = Recovered {
        attempts: vec![open],
        agents: vec![open_agent(1)],
        ..Recovered::default()
    };
    let mut rig = Rig::from(config(), recovered);
    rig.settle();
    assert_eq!(rig.outcomes(), [Outcome::Answered]);
    rig.event(snapshot(&[]));
    assert!(!rig.commands().any(|c| matches!(c, PbxCommand::HangUp { .. })));
}
