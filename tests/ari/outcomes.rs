//! What each behaviour of a callee becomes.

use crate::bench::{Bench, PATIENCE, Way, lab_with};
use paceline_core::pbx::{EndedBy, LegEnd, PbxCommand, PbxEvent};
use paceline_core::verdict;
use paceline_lab::{Audio, Behaviour, Version};
use std::time::Duration;

/// What was seen of one call.
#[derive(Debug)]
struct Seen {
    behaviour: Behaviour,
    way: Way,
    answered: bool,
    end: LegEnd,
}

/// Calls every behaviour at once, hangs up on those that answer, and waits for all ends.
async fn call_everybody(bench: &mut Bench) -> Vec<Seen> {
    let mut legs = Vec::new();
    let ways = [Way::Direct, Way::Dialplan];
    for (behaviour, way) in Behaviour::TABLE
        .iter()
        .flat_map(|(behaviour, ..)| ways.map(|way| (*behaviour, way)))
    {
        // A trunk that does not reply gives up after 6.4 s; everything else must come out before.
        let ring_timeout = Duration::from_secs(if behaviour == Behaviour::Silent { 12 } else { 3 });
        let leg = bench
            .driver
            .call_for(&behaviour.number(7), way, ring_timeout)
            .await;
        legs.push((behaviour, way, leg));
    }
    for (behaviour, _, leg) in &legs {
        if behaviour.answers() {
            bench.driver.answered(*leg).await;
            if !hangs_up_by_itself(*behaviour) {
                bench.driver.tell(PbxCommand::HangUp { leg: *leg }).await;
            }
        }
    }
    let mut seen = Vec::new();
    for (behaviour, way, leg) in legs {
        let end = bench.driver.ended(leg).await;
        let answered_unasked = bench.driver.said.contains(&PbxEvent::Answered { leg });
        seen.push(Seen {
            behaviour,
            way,
            answered: behaviour.answers() || answered_unasked,
            end,
        });
    }
    seen
}

fn hangs_up_by_itself(behaviour: Behaviour) -> bool {
    matches!(behaviour, Behaviour::TalksBriefly | Behaviour::HangsUpEarly)
}

async fn every_behaviour_is_told_apart(version: Version) {
    let mut bench = Bench::start(version).await;
    for Seen {
        behaviour,
        way,
        answered,
        end,
    } in call_everybody(&mut bench).await
    {
        {
            let context = format!("{behaviour:?} {way:?} {version:?}: {end:?}");
            assert_eq!(answered, behaviour.answers(), "{context}");
            assert_eq!(end.answered, answered, "{context}");
            match behaviour {
                _ if hangs_up_by_itself(behaviour) => {
                    assert_eq!(end.by, EndedBy::Network, "{context}");
                }
                Behaviour::Rings => {
                    assert_eq!(end.by, EndedBy::RingTimeout, "{context}");
                    assert!(end.progressed, "{context}");
                }
                _ if answered => assert_eq!(end.by, EndedBy::Us, "{context}"),
                _ => assert_eq!(end.by, EndedBy::Network, "{context}"),
            }
            if !answered {
                let outcome = verdict::unanswered(&end);
                assert_eq!(outcome.as_str(), behaviour.expected_outcome(), "{context}");
                if version == Version::V22 && behaviour.sip_status().is_some() && end.by == EndedBy::Network {
                    assert_eq!(end.sip, behaviour.sip_status(), "{context}");
                }
            }
        }
    }
    bench
        .lab
        .settled(Duration::from_secs(5))
        .expect("nothing is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_behaviour_of_a_callee_is_told_apart_on_asterisk_22() {
    every_behaviour_is_told_apart(Version::V22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_behaviour_of_a_callee_is_told_apart_on_asterisk_16() {
    every_behaviour_is_told_apart(Version::V16).await;
}

/// Routes that answer the caller before or after they dial, which a carrier's operator may have written.
const ANSWERING_ROUTES: &str = "
[after]
exten => _[+0-9].,1,Dial(PJSIP/${EXTEN}@carrier)
 same => n,Answer()
 same => n,Playback(message)
 same => n,Hangup()
[before]
exten => _[+0-9].,1,Answer()
 same => n,Dial(PJSIP/${EXTEN}@carrier)
 same => n,Hangup()
[failover]
exten => _[+0-9].,1,Dial(PJSIP/${EXTEN}@dead,1)
 same => n,Dial(PJSIP/${EXTEN}@carrier)
 same => n,Congestion()
[nowhere]
exten => _[+0-9].,1,Dial(PJSIP/${EXTEN}@no-such-trunk)
 same => n,Answer()
 same => n,Playback(message)
 same => n,Hangup()
";

async fn only_the_callee_can_answer(version: Version) {
    let mut bench = Bench::on(lab_with(version, Audio::None, ANSWERING_ROUTES)).await;
    let mut legs = Vec::new();
    for context in ["after", "before", "failover", "nowhere"] {
        for behaviour in [Behaviour::Busy, Behaviour::NotFound, Behaviour::RingsThenTalks] {
            // Without the `n`, which the driver adds.
            let dial = format!("Local/{}@{context}", behaviour.number(3));
            let leg = bench
                .driver
                .dial(&dial, Duration::from_secs(8), Duration::from_secs(60))
                .await;
            legs.push((context, behaviour, leg));
        }
    }
    // The switch's own ring timeout ends with the dialplan's answer.
    let dial = format!("Local/{}@before", Behaviour::Rings.number(3));
    let unanswered = bench
        .driver
        .dial(&dial, Duration::from_secs(2), Duration::from_secs(60))
        .await;
    let end = bench.driver.ended(unanswered).await;
    assert_eq!((end.by, end.progressed), (EndedBy::RingTimeout, true), "{end:?}");
    for (context, behaviour, leg) in legs {
        let answers = behaviour.answers() && context != "nowhere";
        if answers {
            bench.driver.answered(leg).await;
            bench.driver.tell(PbxCommand::HangUp { leg }).await;
        }
        let end = bench.driver.ended(leg).await;
        let context = format!("{behaviour:?} {context} {version:?}: {end:?}");
        assert_eq!(end.answered, answers, "{context}");
        assert!(
            !bench.driver.said.contains(&PbxEvent::Answered { leg }),
            "{context}"
        );
        match (answers, context.contains("nowhere")) {
            (true, _) => assert_eq!(end.by, EndedBy::Us, "{context}"),
            (false, true) => assert_eq!(end.by, EndedBy::Network, "{context}"),
            (false, false) => assert_eq!(
                verdict::unanswered(&end).as_str(),
                behaviour.expected_outcome(),
                "{context}"
            ),
        }
    }
    bench.lab.settled(PATIENCE).expect("nothing is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialplan_that_answers_is_not_taken_for_the_callee_on_asterisk_22() {
    only_the_callee_can_answer(Version::V22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialplan_that_answers_is_not_taken_for_the_callee_on_asterisk_16() {
    only_the_callee_can_answer(Version::V16).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_taken_back_before_its_answer_is_ours_to_have_ended() {
    for version in [Version::V22, Version::V16] {
        let mut bench = Bench::start(version).await;
        let mut legs = Vec::new();
        for way in [Way::Direct, Way::Dialplan] {
            for behaviour in [Behaviour::Rings, Behaviour::Silent] {
                let leg = bench
                    .driver
                    .call_for(&behaviour.number(1), way, Duration::from_secs(20))
                    .await;
                if behaviour == Behaviour::Rings {
                    bench
                        .driver
                        .wait("ringing", |event| match event {
                            PbxEvent::Progress { leg: of, .. } if *of == leg => Some(()),
                            _ => None,
                        })
                        .await;
                }
                bench.driver.tell(PbxCommand::HangUp { leg }).await;
                legs.push((way, behaviour, leg));
            }
        }
        for (way, behaviour, leg) in legs {
            let end = bench.driver.ended(leg).await;
            let context = format!("{way:?} {behaviour:?} {version:?} {end:?}");
            assert_eq!((end.by, end.answered), (EndedBy::Us, false), "{context}");
            assert_eq!(end.progressed, behaviour == Behaviour::Rings, "{context}");
        }
    }
}
