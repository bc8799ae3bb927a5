//! What each behaviour of a callee becomes.

use crate::bench::{Bench, Way};
use paceline_core::pbx::{EndedBy, LegEnd, PbxCommand, PbxEvent};
use paceline_core::verdict;
use paceline_lab::{Behaviour, Version};
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
