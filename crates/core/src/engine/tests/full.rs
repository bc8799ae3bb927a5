//! A PBX that takes no calls now: full, paused, or about to restart.

use super::*;
use crate::agent::AgentReason;

#[test]
fn a_full_pbx_is_probed_by_one_call_ever_less_often_and_no_contact_pays_for_it() {
    for mode in [Mode::Progressive, Mode::Power] {
        let mut rig = Rig::at_work_in(mode, 2);
        rig.wait(Duration::from_millis(300));
        let first = rig.legs();
        for leg in &first {
            let (leg, end) = (*leg, end(EndedBy::NoRoom, false));
            rig.event(PbxEvent::LegEnded { leg, end });
        }
        let mut legs = first.len();
        assert!(legs >= 2, "{mode:?}");
        for wait_s in [1, 2, 4] {
            assert_eq!(rig.engine.live(rig.now).idle, [Idle::PbxFull], "{mode:?}");
            rig.wait(Duration::from_millis(wait_s * 1000 - 1));
            assert_eq!(rig.legs().len(), legs, "{mode:?}");
            // Only the probe's result, or another wait, lets the next leg go.
            rig.wait(Duration::from_millis(301));
            legs += 1;
            assert_eq!(rig.legs().len(), legs, "{mode:?}");
            let (leg, end) = (rig.leg(), end(EndedBy::NoRoom, false));
            rig.event(PbxEvent::LegEnded { leg, end });
        }
        assert_eq!(rig.outcomes(), vec![Outcome::Cancelled; legs]);
        // The next one rings: the PBX had room for it, so it has room for others.
        rig.wait(Duration::from_millis(8_300));
        let (leg, kind) = (rig.leg(), Progress::Ringing);
        rig.event(PbxEvent::Progress { leg, kind });
        rig.wait(Duration::from_millis(300));
        assert!(rig.legs().len() >= legs + 2, "{mode:?}");
    }
}

#[test]
fn a_call_from_before_does_not_say_that_a_full_pbx_has_room_again() {
    let mut rig = Rig::at_work(2);
    let [first, second] = rig.legs()[..] else {
        panic!("two calls");
    };
    let no_room = end(EndedBy::NoRoom, false);
    rig.event(PbxEvent::LegEnded {
        leg: first,
        end: no_room,
    });
    let busy = LegEnd {
        sip: Some(486),
        ..LegEnd::default()
    };
    rig.event(PbxEvent::LegEnded {
        leg: second,
        end: busy,
    });
    assert_eq!(rig.engine.live(rig.now).idle, [Idle::PbxFull]);
    assert_eq!(rig.legs().len(), 2);
}

/// The end of a leg on a PBX that stops.
fn stopped(answered: bool) -> LegEnd {
    end(EndedBy::Stopped, answered)
}

fn shown(rig: &Rig, n: i64) -> (AgentState, AgentReason) {
    (rig.state(n), rig.engine.agents[&AgentId(n)].reason)
}

#[test]
fn calls_that_a_stopping_pbx_ends_spend_no_try_and_nothing_more_is_launched_there() {
    let mut rig = Rig::at_work(2);
    let [ringing, talking] = rig.legs()[..] else {
        panic!("two calls");
    };
    rig.event(PbxEvent::Progress {
        leg: ringing,
        kind: Progress::Ringing,
    });
    rig.event(PbxEvent::Answered { leg: talking });
    let agent_leg = rig.agent_leg(2);
    rig.event(PbxEvent::Connected {
        leg: talking,
        agent_leg,
    });
    rig.event(PbxEvent::LegEnded {
        leg: ringing,
        end: stopped(false),
    });
    rig.event(PbxEvent::LegEnded {
        leg: talking,
        end: stopped(true),
    });
    let ended = rig.said.iter().filter_map(|c| match c {
        Command::Store(Change::AttemptEnded {
            outcome,
            spends_try,
            retry_at,
            ..
        }) => Some((*outcome, *spends_try, retry_at.is_some())),
        _ => None,
    });
    assert_eq!(
        ended.collect::<Vec<_>>(),
        [
            (Outcome::Cancelled, false, true),
            (Outcome::Answered, true, false)
        ]
    );
    assert_eq!(rig.legs().len(), 2);
    assert_eq!(rig.engine.live(rig.now).full, [pbx()]);
}

#[test]
fn phones_that_a_pbx_refuses_are_tried_by_one_however_long_and_all_are_called_once_it_takes_calls() {
    let mut rig = Rig::at_work(0);
    for n in 1..=5 {
        rig.log_in(n);
    }
    let refuse = |rig: &mut Rig| {
        let calling: Vec<AgentLegId> = rig.engine.agent_legs.keys().copied().collect();
        for leg in &calling {
            let (leg, end) = (*leg, end(EndedBy::NoRoom, false));
            rig.event(PbxEvent::AgentEnded { leg, end });
        }
        calling.len()
    };
    assert_eq!(refuse(&mut rig), 5);
    for n in 1..=5 {
        assert_eq!(shown(&rig, n), (AgentState::Paused, AgentReason::PbxFull));
    }
    assert_eq!(rig.engine.live(rig.now).idle, [Idle::PbxFull, Idle::NoFreeAgent]);
    let mut refused = 0;
    for _ in 0..3600 {
        rig.wait(Duration::from_secs(1));
        let calling = refuse(&mut rig);
        assert!(calling <= 1, "one phone at a time");
        refused += calling;
    }
    assert!((100..130).contains(&refused), "{refused} tries in an hour");
    while rig.engine.agent_legs.is_empty() {
        rig.wait(Duration::from_millis(500));
    }
    let leg = *rig.engine.agent_legs.keys().next().unwrap();
    rig.event(PbxEvent::AgentRinging { leg });
    for n in 1..=5 {
        assert_eq!(rig.state(n), AgentState::Ringing, "{n}");
    }
    // The refusals of the PBX do not count against the phone: it may still fail as often as any other.
    let leg = rig.agent_leg(1);
    rig.event(PbxEvent::AgentEnded {
        leg,
        end: end(EndedBy::RingTimeout, false),
    });
    assert_eq!(rig.engine.agents[&AgentId(1)].wants, Wants::Calls);
}

#[test]
fn a_pbx_that_has_restarted_is_tried_at_once() {
    let mut rig = Rig::at_work(1);
    for wait_s in [1, 2, 4, 8, 16] {
        let (leg, end) = (rig.leg(), end(EndedBy::NoRoom, false));
        rig.event(PbxEvent::LegEnded { leg, end });
        rig.wait(Duration::from_secs(wait_s));
    }
    let (leg, end) = (rig.leg(), end(EndedBy::NoRoom, false));
    rig.event(PbxEvent::LegEnded { leg, end });
    let (agent_leg, launched) = (rig.agent_leg(1), rig.legs().len());
    rig.event(PbxEvent::AgentEnded {
        leg: agent_leg,
        end: stopped(true),
    });
    assert_eq!(shown(&rig, 1), (AgentState::Paused, AgentReason::PbxStopped));
    rig.event(PbxEvent::LinkLost);
    rig.event(PbxEvent::Resynchronised(Snapshot::default()));
    assert_eq!(rig.state(1), AgentState::Ringing);
    let leg = rig.agent_leg(1);
    rig.event(PbxEvent::AgentReady { leg });
    assert_eq!(rig.legs().len(), launched + 1);
}
