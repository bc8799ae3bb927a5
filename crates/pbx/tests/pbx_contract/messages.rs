//! The message to an abandoned callee.

use crate::on_every_pbx;
use crate::rig::{Kind, Rig};
use paceline_core::ids::LegId;
use paceline_core::pbx::{EndedBy, PbxCommand, PbxEvent, Sound};
use paceline_lab::{Audio, Behaviour, CallEnd};
use std::time::Duration;
use uuid::Uuid;

async fn play(rig: &Rig, leg: LegId, sound: &str) {
    let sound = Sound::new(sound).unwrap();
    rig.driver.tell(PbxCommand::Play { leg, sound }).await;
}

/// Waits for the end of the message. True if all of it was played.
async fn played(rig: &mut Rig, leg: LegId) -> bool {
    rig.driver
        .wait(&format!("word that {leg} has heard it"), |event| match event {
            PbxEvent::Played { leg: of, whole } if *of == leg => Some(*whole),
            _ => None,
        })
        .await
}

async fn a_callee_hears_the_whole_message_and_another_leaves_in_the_middle(kind: Kind) {
    let mut rig = Rig::start_with(kind, Audio::Tones).await;
    let (hears, leaves) = (Behaviour::Talks.number(1), Behaviour::TalksBriefly.number(2));
    let patient = rig.call(&hears).await;
    rig.driver.answered(patient).await;
    play(&rig, patient, "sound:message").await;
    assert!(played(&mut rig, patient).await);
    rig.driver.tell(PbxCommand::HangUp { leg: patient }).await;
    let end = rig.driver.ended(patient).await;
    assert_eq!((end.by, end.answered), (EndedBy::Us, true), "{end:?}");

    // Hangs up 2.5 s after the answer; the message takes 3 s.
    let hasty = rig.call(&leaves).await;
    rig.driver.answered(hasty).await;
    play(&rig, hasty, "sound:message").await;
    let end = rig.driver.ended(hasty).await;
    assert_eq!((end.by, end.answered), (EndedBy::Network, true), "{end:?}");
    let whole = PbxEvent::Played {
        leg: hasty,
        whole: true,
    };
    assert!(!rig.driver.said.contains(&whole));
    rig.pbx.settled().await;

    let calls = rig.pbx.carrier().calls();
    let of = |number: &String| calls.iter().find(|call| call.number == *number).unwrap();
    assert_eq!(of(&hears).end, Some(CallEnd::CallerHungUp));
    assert_eq!(of(&leaves).end, Some(CallEnd::CalleeHungUp));
    for (number, least) in [(&hears, 2_800), (&leaves, 1_500)] {
        let (from, until) = of(number).heard_message.expect("the message is heard");
        assert!(from < Duration::from_secs(1), "began {from:?} after the answer");
        let heard = until - from;
        assert!(heard >= Duration::from_millis(least), "heard {heard:?} of it");
        assert!(of(number).heard_agent.is_none());
    }
}

async fn the_end_of_a_message_is_reported_unless_we_cut_it_short(kind: Kind) {
    let mut rig = Rig::start(kind).await;
    let (hears, cut) = (Behaviour::Talks.number(1), Behaviour::Talks.number(2));
    let (hears, cut) = (rig.call(&hears).await, rig.call(&cut).await);
    for leg in [hears, cut] {
        rig.driver.answered(leg).await;
        play(&rig, leg, "sound:message").await;
    }
    rig.driver.tell(PbxCommand::HangUp { leg: cut }).await;
    assert_eq!(rig.driver.ended(cut).await.by, EndedBy::Us);
    assert!(played(&mut rig, hears).await);
    rig.driver.tell(PbxCommand::HangUp { leg: hears }).await;
    assert_eq!(rig.driver.ended(hears).await.by, EndedBy::Us);
    let whole = PbxEvent::Played {
        leg: cut,
        whole: true,
    };
    assert!(!rig.driver.said.contains(&whole), "{:?}", rig.driver.said);
    rig.pbx.settled().await;
}

async fn a_missing_message_or_callee_is_reported(kind: Kind) {
    let mut rig = Rig::start(kind).await;
    let leg = rig.call(&Behaviour::Talks.number(1)).await;
    rig.driver.answered(leg).await;
    play(&rig, leg, "sound:no-such-sound").await;
    assert!(!played(&mut rig, leg).await);
    rig.driver.tell(PbxCommand::HangUp { leg }).await;
    assert_eq!(rig.driver.ended(leg).await.by, EndedBy::Us);
    // Neither leg exists, so no message plays. Only the hang-up of the unknown leg gives an event.
    play(&rig, leg, "sound:message").await;
    let nobody = LegId(Uuid::now_v7());
    play(&rig, nobody, "sound:message").await;
    rig.driver.tell(PbxCommand::HangUp { leg: nobody }).await;
    assert_eq!(rig.driver.ended(nobody).await.by, EndedBy::Vanished);
    let said = |event: &PbxEvent| matches!(event, PbxEvent::Played { .. });
    assert!(!rig.driver.said.iter().any(said), "{:?}", rig.driver.said);
    rig.pbx.settled().await;
}

on_every_pbx! {
    the_end_of_a_message_is_reported_unless_we_cut_it_short
    ; over a socket:
    a_missing_message_or_callee_is_reported
    ; over the Event Socket:
    ; with routes:
    ; for real:
    a_callee_hears_the_whole_message_and_another_leaves_in_the_middle
}
