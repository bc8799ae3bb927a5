//! Phones and operators that act by themselves.

use super::*;
use crate::esl::esl_event::read_event;
use paceline_core::pbx::{Departure, Destination, LegTrouble};

/// Each case: the events after a conversation that Paceline did not end, and the events that the engine gets.
#[test]
fn legs_that_move_by_themselves_are_distinguished() {
    let (callee, agent) = (CALLEE.0, AGENT.0);
    let transferred = PbxEvent::Transferred { leg: CALLEE };
    let alone = PbxEvent::CalleeAlone { leg: CALLEE };
    let left = |how| PbxEvent::AgentLeft { leg: AGENT, how };
    let taken_away = PbxEvent::AgentEnded {
        leg: AGENT,
        end: LegEnd {
            by: EndedBy::TakenAway,
            answered: true,
            ..LegEnd::default()
        },
    };
    let unbridged = EslEvent::Unbridged(callee, agent);
    let parked = |id| EslEvent::Parked(id, false);
    let with_other = |id| EslEvent::Bridged(id, Uuid::from_u128(99));
    for (what, heard, told) in [
        (
            "the agent's phone transfers",
            vec![
                EslEvent::Parked(agent, true),
                unbridged.clone(),
                with_other(callee),
            ],
            vec![transferred.clone(), left(Departure::Transferred)],
        ),
        (
            "an operator transfers the callee, whose new partner leaves",
            vec![
                parked(agent),
                unbridged.clone(),
                with_other(callee),
                parked(callee),
            ],
            vec![transferred.clone(), alone.clone()],
        ),
        (
            "the same, said in another order",
            vec![unbridged.clone(), parked(agent), with_other(callee)],
            vec![transferred.clone()],
        ),
        (
            "an operator moves the agent",
            vec![unbridged.clone(), parked(callee), with_other(agent)],
            vec![taken_away.clone()],
        ),
        (
            "an operator parks both",
            vec![parked(agent), unbridged.clone(), parked(callee)],
            vec![transferred.clone(), alone.clone()],
        ),
        (
            "the same, and the callee first",
            vec![unbridged.clone(), parked(callee), parked(agent)],
            vec![transferred.clone(), alone.clone()],
        ),
    ] {
        let mut bench = Bench::new();
        bench.ready();
        bench.connect();
        bench.event(EslEvent::Bridged(callee, agent));
        bench.heard();
        heard.into_iter().for_each(|said| bench.event(said));
        bench.tick_after(moves::PARK_WAIT_MAX);
        assert_eq!(bench.heard(), told, "{what}");
    }
    // The end of an agent who hangs up may be said last.
    let mut bench = Bench::new();
    bench.ready();
    bench.connect();
    for said in [
        EslEvent::Bridged(callee, agent),
        unbridged.clone(),
        parked(callee),
    ] {
        bench.event(said);
    }
    bench.heard();
    bench.ended(agent, facts("NORMAL_CLEARING", 16, Some(200)));
    bench.tick_after(moves::PARK_WAIT_MAX);
    let told = bench.heard();
    assert!(
        matches!(&told[..], [PbxEvent::AgentEnded { end, .. }] if end.by == EndedBy::Network),
        "{told:?}"
    );
    // Those who wait are moved.
    for (id, told) in [(callee, transferred.clone()), (agent, taken_away.clone())] {
        let mut bench = Bench::new();
        bench.ready();
        bench.event(EslEvent::Unparked(id));
        bench.event(with_other(id));
        assert_eq!(bench.heard(), [told]);
    }
    // Another phone takes the call, and its CHANNEL_UNBRIDGE comes before the end or after it.
    for before in [true, false] {
        let mut bench = Bench::new();
        bench.ready();
        bench.connect();
        bench.event(EslEvent::Bridged(callee, agent));
        bench.heard();
        if before {
            bench.event(unbridged.clone());
        }
        bench.ended(agent, facts("PICKED_OFF", 0, None));
        bench.event(unbridged.clone());
        let told = bench.heard();
        assert_eq!(told[..2], [transferred.clone(), left(Departure::PickedUp)]);
        assert!(matches!(told[2..], [PbxEvent::AgentEnded { .. }]), "{told:?}");
    }
}

#[test]
fn a_phone_that_hangs_up_at_once_after_its_transfer_leaves_the_callee_to_the_colleague() {
    let mut bench = Bench::new();
    bench.ready();
    bench.connect();
    bench.event(EslEvent::Bridged(CALLEE.0, AGENT.0));
    bench.heard();
    let hung_up = Facts {
        transfers: true,
        ..facts("NORMAL_CLEARING", 16, Some(200))
    };
    bench.ended(AGENT.0, hung_up);
    bench.event(EslEvent::Unbridged(CALLEE.0, AGENT.0));
    let how = Departure::Transferred;
    let told = bench.heard();
    let left = PbxEvent::AgentLeft { leg: AGENT, how };
    assert_eq!(told[..2], [PbxEvent::Transferred { leg: CALLEE }, left]);
    assert!(matches!(told[2..], [PbxEvent::AgentEnded { .. }]), "{told:?}");
    // The colleague refuses.
    bench.event(EslEvent::Parked(CALLEE.0, false));
    bench.tick_after(moves::BRIEF_PARK_MAX);
    assert_eq!(bench.heard(), [PbxEvent::CalleeAlone { leg: CALLEE }]);
}

#[test]
fn an_agent_who_is_not_parked_once_the_callee_is_gone_was_taken_away() {
    let mut bench = Bench::new();
    bench.ready();
    bench.connect();
    bench.event(EslEvent::Bridged(CALLEE.0, AGENT.0));
    bench.ended(CALLEE.0, facts("PICKED_OFF", 0, None));
    bench.heard();
    bench.tick_after(moves::PARK_WAIT_MAX);
    let told = bench.heard();
    assert!(
        matches!(
            told[..],
            [PbxEvent::AgentEnded {
                leg: AGENT,
                end: LegEnd {
                    by: EndedBy::TakenAway,
                    ..
                }
            }]
        ),
        "{told:?}"
    );
    // The leg is parked again, and the driver hangs it up.
    bench.asked();
    bench.event(EslEvent::Parked(AGENT.0, false));
    assert_eq!((bench.asked(), bench.heard()), (vec![OnReply::Nothing], vec![]));
}

/// The events as the PBX sends them, where it tells of the park and where it does not.
#[test]
fn a_phone_that_rings_and_is_picked_up_by_a_colleague_is_never_ready() {
    for park_told in [true, false] {
        let mut bench = Bench::new();
        bench.call_agent();
        let mut events = vec![("CREATE", "ringing", ""), ("PROGRESS", "ringing", "")];
        if park_told {
            events.extend([("PARK", "ringing", ""), ("UNPARK", "ringing", "")]);
        }
        events.push(("HANGUP_COMPLETE", "hangup", "DESTINATION_OUT_OF_ORDER"));
        for (name, answer_state, cause) in events {
            let text = format!(
                "Event-Name: CHANNEL_{name}\nUnique-ID: {id}\nAnswer-State: {answer_state}\nHangup-Cause: {cause}\n\
                 Caller-Channel-Answered-Time: 0\nvariable_paceline_app: paceline\nvariable_paceline_leg: {id}\n\
                 variable_paceline_side: agent\n\n",
                id = AGENT.0
            );
            if let Some(said) = read_event(&paceline_esl::Event::decode(text.as_bytes()), "paceline") {
                bench.event(said);
            }
        }
        let told = bench.heard();
        let how = Departure::PickedUp;
        let rings = PbxEvent::AgentRinging { leg: AGENT };
        assert_eq!(told[..2], [rings, PbxEvent::AgentLeft { leg: AGENT, how }]);
        assert!(
            matches!(&told[2..], [PbxEvent::AgentEnded { end, .. }] if !end.answered),
            "{told:?}"
        );
    }
}

#[test]
fn a_phone_on_hold_is_polled_until_the_hold_ends() {
    let told = |trouble| PbxEvent::AgentTrouble { leg: AGENT, trouble };
    let mut bench = Bench::new();
    bench.ready();
    bench.event(EslEvent::OnHold(AGENT.0, true));
    assert_eq!(bench.heard(), [told(Some(LegTrouble::OnHold))]);
    for (described, heard) in [
        ("_undef_", vec![]),
        ("v=0\r\nm=audio 4000 RTP/AVP 0\r\na=sendonly\r\n", vec![]),
        (
            "v=0\r\nm=audio 4000 RTP/AVP 0\r\na=sendrecv\r\n",
            vec![told(None)],
        ),
    ] {
        bench.tick_after(Duration::from_secs(1));
        assert_eq!(bench.asked(), [OnReply::Described(AGENT.0)]);
        bench
            .legs
            .replied(OnReply::Described(AGENT.0), described, bench.now);
        assert_eq!(bench.heard(), heard, "{described}");
    }
    bench.tick_after(Duration::from_secs(1));
    assert_eq!((bench.asked(), bench.heard()), (vec![], vec![]));
    // A callee on hold is the callee's affair.
    bench.event(EslEvent::OnHold(CALLEE.0, true));
    assert_eq!(bench.heard(), []);
}

#[test]
fn a_phone_that_stops_sending_is_reported() {
    let mut bench = Bench::new();
    bench.ready();
    let told = |trouble| PbxEvent::AgentTrouble { leg: AGENT, trouble };
    let count = |bench: &mut Bench, packets: u64| {
        bench.tick_after(Duration::from_secs(3));
        let printed = format!("{} +OK:\n{packets};", AGENT.0);
        bench.legs.replied(OnReply::Counted, &printed, bench.now);
        bench.heard()
    };
    assert_eq!(count(&mut bench, 100), []);
    assert_eq!(count(&mut bench, 250), []);
    assert_eq!(count(&mut bench, 250), []);
    assert_eq!(count(&mut bench, 250), []);
    assert_eq!(count(&mut bench, 250), [told(Some(LegTrouble::NoAudio))]);
    assert_eq!(count(&mut bench, 260), [told(None)]);
}

#[test]
fn a_transferred_callee_without_a_partner_is_alone_after_two_looks() {
    let mut bench = Bench::new();
    bench.ready();
    bench.event(EslEvent::Unparked(CALLEE.0));
    assert_eq!(bench.heard(), [PbxEvent::Transferred { leg: CALLEE }]);
    // It is to be held once it is left again.
    assert_eq!(bench.asked(), [OnReply::Nothing]);
    let mut looks = ["CS_RESET false", "CS_EXECUTE false", "CS_SOFT_EXECUTE true"].to_vec();
    // In a conversation whose audio passes the PBX by, and gone: its end follows.
    looks.extend(["CS_HIBERNATE false", " false", "CS_SOFT_EXECUTE false"]);
    for printed in looks {
        bench.tick_after(Duration::from_secs(2));
        assert_eq!(bench.asked(), [OnReply::Looked(CALLEE.0)]);
        bench.tick_after(Duration::from_secs(2));
        assert_eq!(bench.asked(), [], "one at a time");
        bench.legs.replied(OnReply::Looked(CALLEE.0), printed, bench.now);
        assert_eq!(bench.heard(), [], "{printed}");
    }
    bench
        .legs
        .replied(OnReply::Looked(CALLEE.0), "CS_EXCHANGE_MEDIA false", bench.now);
    assert_eq!(bench.heard(), [PbxEvent::CalleeAlone { leg: CALLEE }]);
}

#[test]
fn an_agent_left_between_two_conversations_is_parked_unless_the_next_has_begun() {
    for (printed, parks) in [
        ("CS_SOFT_EXECUTE false", true),
        ("CS_RESET true", true),
        ("CS_EXCHANGE_MEDIA false", true),
        ("CS_EXCHANGE_MEDIA true", false),
        ("CS_PARK false", false),
        ("CS_EXECUTE false", false),
        ("", false),
    ] {
        let mut bench = Bench::new();
        bench.ready();
        bench.connect();
        bench.ended(CALLEE.0, facts("NORMAL_CLEARING", 16, Some(200)));
        bench.asked();
        bench.tick_after(JOIN_BEGINS_MAX);
        assert_eq!(
            bench.asked(),
            [OnReply::LeftBehind(AGENT.0, Look::AfterFailedJoin)]
        );
        bench.legs.replied(
            OnReply::LeftBehind(AGENT.0, Look::AfterFailedJoin),
            printed,
            bench.now,
        );
        let asked = bench.asked();
        assert_eq!(asked.len(), usize::from(parks), "{printed}: {asked:?}");
        // Until it is.
        bench.tick_after(JOIN_BEGINS_MAX);
        assert_eq!(bench.asked().len(), usize::from(parks));
        // And a PBX that is short of CPU may not have begun before.
        bench.tick_after(JOIN_WAIT_MAX - JOIN_BEGINS_MAX * 2);
        assert_eq!(
            bench.asked(),
            [OnReply::LeftBehind(AGENT.0, Look::AfterFailedJoin)],
            "{printed}"
        );
    }
}

#[test]
fn an_agent_whose_callee_ends_just_after_the_join_is_parked_and_kept() {
    for (printed, parks) in [("CS_RESET false", true), ("CS_PARK false", false)] {
        let mut bench = Bench::new();
        bench.ready();
        bench.connect();
        bench.event(EslEvent::Bridged(CALLEE.0, AGENT.0));
        bench.ended(CALLEE.0, facts("NORMAL_CLEARING", 16, Some(200)));
        bench.heard();
        bench.asked();
        bench.tick_after(JOIN_BEGINS_MAX);
        let looked = OnReply::LeftBehind(AGENT.0, Look::AfterTalk);
        assert_eq!(bench.asked(), std::slice::from_ref(&looked));
        bench.legs.replied(looked, printed, bench.now);
        assert_eq!(bench.asked().len(), usize::from(parks), "{printed}");
        bench.event(EslEvent::Parked(AGENT.0, false));
        bench.tick_after(moves::PARK_WAIT_MAX);
        assert_eq!(bench.heard(), [], "the leg is the agent's still");
    }
    // One that is parked in time costs no question.
    let mut bench = Bench::new();
    bench.ready();
    bench.connect();
    bench.event(EslEvent::Bridged(CALLEE.0, AGENT.0));
    bench.ended(CALLEE.0, facts("NORMAL_CLEARING", 16, Some(200)));
    bench.event(EslEvent::Parked(AGENT.0, false));
    bench.asked();
    bench.tick_after(JOIN_BEGINS_MAX);
    assert_eq!(bench.asked(), []);
}

#[test]
fn an_agent_whose_join_begins_after_the_callees_end_is_parked_and_kept() {
    let mut bench = Bench::new();
    bench.ready();
    bench.connect();
    bench.ended(CALLEE.0, facts("NORMAL_CLEARING", 16, Some(200)));
    bench.heard();
    bench.event(EslEvent::Unparked(AGENT.0));
    bench.asked();
    bench.tick_after(JOIN_BEGINS_MAX);
    let looked = OnReply::LeftBehind(AGENT.0, Look::AfterFailedJoin);
    assert_eq!(bench.asked(), std::slice::from_ref(&looked));
    bench.legs.replied(looked, "CS_RESET false", bench.now);
    assert_eq!(bench.asked(), [OnReply::Nothing], "it is parked");
    bench.event(EslEvent::Parked(AGENT.0, false));
    bench.tick_after(JOIN_WAIT_MAX);
    assert_eq!(bench.heard(), [], "the leg is the agent's still");
}

#[test]
fn an_agent_whose_leg_another_party_has_after_a_failed_join_is_taken_away() {
    let mut bench = Bench::new();
    bench.ready();
    bench.connect();
    bench.ended(CALLEE.0, facts("NORMAL_CLEARING", 16, Some(200)));
    bench.event(EslEvent::Unparked(AGENT.0));
    bench.heard();
    bench.tick_after(JOIN_BEGINS_MAX);
    let looked = OnReply::LeftBehind(AGENT.0, Look::AfterFailedJoin);
    bench.legs.replied(looked, "CS_EXCHANGE_MEDIA true", bench.now);
    bench.tick_after(moves::PARK_WAIT_MAX);
    let heard = bench.heard();
    assert!(
        matches!(heard[..], [PbxEvent::AgentEnded { leg: AGENT, .. }]),
        "{heard:?}"
    );
    bench.asked();
    bench.tick_after(JOIN_WAIT_MAX);
    assert_eq!(bench.asked(), [], "nobody asks for it any more");
}

#[test]
fn an_agent_who_has_left_gets_no_callee_although_the_leg_is_parked() {
    let mut bench = Bench::new();
    bench.ready();
    bench.connect();
    bench.event(EslEvent::Bridged(CALLEE.0, AGENT.0));
    bench.event(EslEvent::Parked(AGENT.0, true));
    bench.event(EslEvent::Unbridged(CALLEE.0, AGENT.0));
    let how = Departure::Transferred;
    assert_eq!(
        bench.heard().last(),
        Some(&PbxEvent::AgentLeft { leg: AGENT, how })
    );
    bench.asked();
    // With no wrap-up the engine offers it the next one before it has read so.
    let leg = LegId(Uuid::from_u128(3));
    bench.legs.command(
        PbxCommand::Connect {
            leg,
            to: Destination::HeldLeg(AGENT),
        },
        bench.now,
    );
    let fault = ConnectFault::AgentGone;
    let failed = PbxEvent::ConnectFailed {
        leg,
        agent_leg: AGENT,
        fault,
    };
    assert_eq!(bench.heard(), [failed]);
    assert_eq!(bench.asked(), []);
}

#[test]
fn a_callee_whose_agent_is_gone_before_the_two_are_joined_is_joined_with_the_next_once_parked() {
    let next = Uuid::from_u128(5);
    // Each case: the PBX's reply about the callee, and its events after that. In the first case it had begun to join the two.
    let begun = vec![EslEvent::Unparked(CALLEE.0), EslEvent::Parked(CALLEE.0, false)];
    for (printed, said) in [("CS_RESET true", begun), ("CS_PARK false", Vec::new())] {
        let mut bench = Bench::new();
        bench.ready();
        bench.connect();
        bench.ended(AGENT.0, facts("NORMAL_CLEARING", 16, Some(200)));
        let heard = bench.heard();
        assert!(heard.contains(&failed(ConnectFault::AgentGone)), "{heard:?}");
        for said in [
            EslEvent::Created(next),
            EslEvent::Answered(next),
            EslEvent::Parked(next, false),
        ] {
            bench
                .legs
                .legs
                .entry(next)
                .or_insert_with(|| Leg::new(Side::Agent));
            bench.event(said);
        }
        bench.asked();
        bench.legs.command(
            PbxCommand::Connect {
                leg: CALLEE,
                to: Destination::HeldLeg(AgentLegId(next)),
            },
            bench.now,
        );
        assert_eq!(bench.asked(), [], "nobody knows yet whether it is parked");
        bench.legs.replied(OnReply::Settled(CALLEE.0), printed, bench.now);
        said.into_iter().for_each(|said| bench.event(said));
        let joined = OnReply::Joined(CALLEE, AgentLegId(next));
        assert!(bench.asked().contains(&joined), "{printed}");
        bench.event(EslEvent::Bridged(CALLEE.0, next));
        bench.tick_after(moves::PARK_WAIT_MAX);
        let moved = PbxEvent::Transferred { leg: CALLEE };
        assert!(!bench.heard().contains(&moved), "{printed}");
    }
}

#[test]
fn a_transferred_callee_that_is_parked_during_a_pickup_is_not_alone() {
    let mut bench = Bench::new();
    bench.ready();
    bench.event(EslEvent::Unparked(CALLEE.0));
    assert_eq!(bench.heard(), [PbxEvent::Transferred { leg: CALLEE }]);
    assert_eq!(bench.asked(), [OnReply::Nothing]);
    bench.event(EslEvent::Parked(CALLEE.0, false));
    bench.event(EslEvent::Unparked(CALLEE.0));
    // It is to be held once it is left again: `park` has forgotten it.
    assert_eq!(bench.asked(), [OnReply::Nothing]);
    bench.tick_after(moves::BRIEF_PARK_MAX / 2);
    bench.event(EslEvent::Parked(CALLEE.0, false));
    bench.tick_after(moves::BRIEF_PARK_MAX / 2);
    assert_eq!(bench.heard(), []);
    bench.tick_after(moves::BRIEF_PARK_MAX);
    assert_eq!(bench.heard(), [PbxEvent::CalleeAlone { leg: CALLEE }]);
}
