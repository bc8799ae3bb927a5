//! The outcome of each behaviour of a callee.

use crate::on_every_pbx;
use crate::rig::{Kind, Pbx, Rig};
use paceline_core::pbx::{EndedBy, PbxCommand, PbxEvent};
use paceline_core::verdict;
use paceline_lab::Behaviour;
use std::time::Duration;

fn hangs_up_by_itself(behaviour: Behaviour) -> bool {
    matches!(behaviour, Behaviour::TalksBriefly | Behaviour::HangsUpEarly)
}

/// Calls every behaviour at once, hangs up the calls that are answered, and checks all ends.
async fn every_behaviour_has_its_outcome(kind: Kind) {
    let rig = Rig::start(kind).await;
    call_everybody(rig, kind, Pbx::dial, kind != Kind::Asterisk16).await;
}

/// The same over the routes of an office, which hide the SIP status on some PBXes.
async fn every_behaviour_has_its_outcome_behind_a_dialplan(kind: Kind) {
    let rig = Rig::start(kind).await;
    call_everybody(rig, kind, Pbx::dial_routed, kind == Kind::Asterisk22).await;
}

async fn call_everybody(mut rig: Rig, kind: Kind, dial: fn(&Pbx, &str) -> String, tells_sip: bool) {
    let mut legs = Vec::new();
    for (behaviour, ..) in Behaviour::TABLE {
        // A trunk that does not reply gives up after 6.4 s. Every other end must come before that.
        let ring_timeout = Duration::from_secs(if behaviour == Behaviour::Silent { 12 } else { 3 });
        let dial = dial(&rig.pbx, &behaviour.number(7));
        let leg = rig
            .driver
            .dial(&dial, ring_timeout, Duration::from_secs(60))
            .await;
        legs.push((behaviour, leg));
    }
    for (behaviour, leg) in &legs {
        if behaviour.answers() {
            rig.driver.answered(*leg).await;
            if !hangs_up_by_itself(*behaviour) {
                rig.driver.tell(PbxCommand::HangUp { leg: *leg }).await;
            }
        }
    }
    for (behaviour, leg) in legs {
        let end = rig.driver.ended(leg).await;
        let context = format!("{behaviour:?} {kind:?}: {end:?}");
        assert!(
            !rig.driver.said.contains(&PbxEvent::Answered { leg }),
            "{context}"
        );
        assert_eq!(end.answered, behaviour.answers(), "{context}");
        match behaviour {
            _ if hangs_up_by_itself(behaviour) => assert_eq!(end.by, EndedBy::Network, "{context}"),
            Behaviour::Rings => {
                assert_eq!(end.by, EndedBy::RingTimeout, "{context}");
                assert!(end.progressed, "{context}");
            }
            _ if end.answered => assert_eq!(end.by, EndedBy::Us, "{context}"),
            _ => assert_eq!(end.by, EndedBy::Network, "{context}"),
        }
        // After a 480, a FreeSWITCH goes on in its dialplan and ends the call with another cause.
        let told = behaviour != Behaviour::Unavailable || tells_sip || kind != Kind::FreeSwitch;
        if !end.answered && told {
            let outcome = verdict::unanswered(&end);
            assert_eq!(outcome.as_str(), behaviour.expected_outcome(), "{context}");
        }
        if tells_sip && behaviour.sip_status().is_some() && end.by == EndedBy::Network {
            assert_eq!(end.sip, behaviour.sip_status(), "{context}");
        }
    }
    rig.pbx.settled().await;
}

async fn a_call_cancelled_before_its_answer_is_ended_by_us(kind: Kind) {
    let mut rig = Rig::start(kind).await;
    let patience = Duration::from_secs(20);
    let mut legs = Vec::new();
    for dial in [Pbx::dial, Pbx::dial_routed] {
        for behaviour in [Behaviour::Rings, Behaviour::Silent] {
            let dial = dial(&rig.pbx, &behaviour.number(1));
            let leg = rig.driver.dial(&dial, patience, Duration::from_secs(60)).await;
            if behaviour == Behaviour::Rings {
                rig.driver.rings(leg).await;
            }
            legs.push((leg, Some(behaviour == Behaviour::Rings)));
        }
    }
    // The hang-up may come before or after this phone rings.
    legs.push((rig.call_for(&Behaviour::Rings.number(2), patience).await, None));
    for (leg, _) in &legs {
        rig.driver.tell(PbxCommand::HangUp { leg: *leg }).await;
    }
    for (leg, rang) in legs {
        let end = rig.driver.ended(leg).await;
        assert_eq!((end.by, end.answered), (EndedBy::Us, false), "{kind:?} {end:?}");
        assert!(rang.is_none_or(|rang| rang == end.progressed), "{kind:?} {end:?}");
    }
    rig.pbx.settled().await;
}

/// No phone rings for less than its ring timeout, at whatever part of a second the call starts. A rule may require 15 s.
async fn a_phone_rings_for_at_least_its_ring_timeout(kind: Kind) {
    let mut rig = Rig::start(kind).await;
    let least = Duration::from_secs(15);
    let mut legs = Vec::new();
    for nth in 0..5 {
        legs.push(rig.call_for(&Behaviour::Rings.number(nth), least).await);
        tokio::time::sleep(Duration::from_millis(230)).await;
    }
    for leg in legs {
        assert_eq!(rig.driver.ended(leg).await.by, EndedBy::RingTimeout);
    }
    rig.pbx.settled().await;
    let calls = rig.pbx.carrier().calls();
    assert_eq!(calls.len(), 5);
    for call in calls {
        // The carrier may notice the end late. That makes the measured time longer, not shorter.
        let rang = Duration::from_millis(call.ended_at_ms.unwrap() - call.at_ms);
        let seen = Duration::from_millis(20);
        assert!(
            rang + seen >= least && rang < least + Duration::from_secs(3),
            "rang {rang:?}"
        );
    }
}

on_every_pbx! {
    every_behaviour_has_its_outcome
    a_call_cancelled_before_its_answer_is_ended_by_us
    ; over a socket:
    ; over the Event Socket:
    ; with routes:
    every_behaviour_has_its_outcome_behind_a_dialplan
    ; for real:
    a_phone_rings_for_at_least_its_ring_timeout
}
