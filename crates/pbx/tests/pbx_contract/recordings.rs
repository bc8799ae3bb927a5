//! Conversations recorded on the PBX.

use crate::on_every_pbx;
use crate::rig::{Kind, Rig, until};
use paceline_core::ids::{AgentLegId, LegId};
use paceline_core::pbx::{PbxCommand, PbxEvent, RecordingName, Sound};
use paceline_lab::{Audio, Behaviour};
use std::time::{Duration, Instant};

#[derive(Debug, PartialEq)]
enum RecordingEvent {
    Started,
    Ended(Option<Duration>),
    Failed(String),
}

async fn record(
    rig: &Rig,
    (leg, agent_leg): (LegId, AgentLegId),
    name: &str,
    announcement: Option<&str>,
) -> RecordingName {
    let recording = RecordingName::new(name).unwrap();
    rig.driver
        .tell(PbxCommand::Record {
            leg,
            agent_leg,
            recording: recording.clone(),
            announcement: announcement.map(|sound| Sound::new(sound).unwrap()),
        })
        .await;
    recording
}

async fn next_event(rig: &mut Rig, of: &RecordingName) -> RecordingEvent {
    rig.driver
        .wait(
            &format!("an event of recording {}", of.as_str()),
            |event| match event {
                PbxEvent::RecordingStarted { recording } if recording == of => Some(RecordingEvent::Started),
                PbxEvent::RecordingEnded { recording, duration } if recording == of => {
                    Some(RecordingEvent::Ended(*duration))
                }
                PbxEvent::RecordingFailed { recording, reason } if recording == of => {
                    Some(RecordingEvent::Failed(reason.clone()))
                }
                _ => None,
            },
        )
        .await
}

/// The file's size; 0 if there is no file.
fn size(rig: &Rig, recording: &RecordingName) -> u64 {
    let file = rig
        .pbx
        .recordings_dir()
        .join(format!("{}.wav", recording.as_str()));
    std::fs::metadata(file).map_or(0, |file| file.len())
}

async fn conversation(rig: &mut Rig, nth: u32) -> (LegId, AgentLegId) {
    let agent = rig.driver.agent(nth).await;
    let leg = rig.call(&Behaviour::Talks.number(nth)).await;
    rig.driver.answered(leg).await;
    rig.driver.connect(leg, agent).await;
    (leg, agent)
}

async fn conversations_are_recorded_after_their_announcement(kind: Kind) {
    let mut rig = Rig::start_with(kind, Audio::Tones).await;
    let first = conversation(&mut rig, 1).await;
    let asked_at = Instant::now();
    // One recording starts after its announcement and ends when the callee leaves.
    let announced = record(&rig, first, "announced_1", Some("sound:message")).await;

    // At the same time, another is stopped before the end of the call, and a second one with the same name is refused.
    let other = conversation(&mut rig, 2).await;
    let stopped = record(&rig, other, "stopped-1", None).await;
    assert_eq!(next_event(&mut rig, &stopped).await, RecordingEvent::Started);
    // FreeSWITCH deletes a recording that is stopped before any audio is in it.
    until("some audio is on disk", || size(&rig, &stopped) > 1_000).await;
    rig.driver
        .tell(PbxCommand::StopRecording {
            recording: stopped.clone(),
        })
        .await;
    assert!(matches!(
        next_event(&mut rig, &stopped).await,
        RecordingEvent::Ended(Some(_))
    ));
    record(&rig, other, stopped.as_str(), None).await;
    assert!(matches!(
        next_event(&mut rig, &stopped).await,
        RecordingEvent::Failed(_)
    ));

    // A missing announcement is an error.
    let unheard = record(&rig, other, "unheard", Some("sound:no-such-sound")).await;
    assert_eq!(
        next_event(&mut rig, &unheard).await,
        RecordingEvent::Failed("the announcement could not be played".to_owned())
    );
    assert_eq!(size(&rig, &unheard), 0);

    // The callee leaves during the announcement.
    let cut_short = record(&rig, other, "cut_short", Some("sound:message")).await;
    rig.driver.tell(PbxCommand::HangUp { leg: other.0 }).await;
    rig.driver.ended(other.0).await;
    let RecordingEvent::Failed(_) = next_event(&mut rig, &cut_short).await else {
        panic!("nothing was recorded");
    };
    let too_late = record(&rig, other, "too_late", None).await;
    assert_eq!(
        next_event(&mut rig, &too_late).await,
        RecordingEvent::Failed("the callee is gone".to_owned())
    );

    // The announcement is 3 s long.
    assert_eq!(next_event(&mut rig, &announced).await, RecordingEvent::Started);
    assert!(
        asked_at.elapsed() > Duration::from_millis(2900),
        "{:?}",
        asked_at.elapsed()
    );
    until("two seconds of conversation are on disk", || {
        size(&rig, &announced) > 32_000
    })
    .await;
    rig.driver.tell(PbxCommand::HangUp { leg: first.0 }).await;
    let RecordingEvent::Ended(Some(duration)) = next_event(&mut rig, &announced).await else {
        panic!("a recording that ends says how long it is");
    };
    assert!((1..=10).contains(&duration.as_secs()), "{duration:?}");
    assert!(rig.pbx.is_on_call(1));
    assert_eq!(size(&rig, &cut_short), 0);

    for agent in [first.1, other.1] {
        rig.driver.tell(PbxCommand::HangUpAgent { leg: agent }).await;
    }
    rig.pbx.settled().await;
}

async fn a_dead_drivers_recordings_end_with_their_callees(kind: Kind) {
    let mut rig = Rig::start_with(kind, Audio::Tones).await;
    let mut both = Vec::new();
    for nth in 1..=2 {
        let legs = conversation(&mut rig, nth).await;
        let recording = record(&rig, legs, &format!("left-{nth}"), None).await;
        assert_eq!(next_event(&mut rig, &recording).await, RecordingEvent::Started);
        both.push((legs, recording));
    }
    let (unheard, heard) = (both.remove(0), both.remove(0));
    // One callee leaves while no driver runs: its recording must not go on for the next callee.
    let Rig { pbx, driver } = rig;
    drop(driver);
    let gone = unheard.0.0.0;
    pbx.hang_up(gone);
    until("the callee is gone", || {
        !pbx.channels().contains(&gone.to_string())
    })
    .await;
    let driver = pbx.driver().await;
    let mut rig = Rig { pbx, driver };
    // A FreeSWITCH records on the callee's channel. That channel has ended, so there is nothing to report.
    if kind != Kind::FreeSwitch {
        assert!(matches!(
            next_event(&mut rig, &unheard.1).await,
            RecordingEvent::Ended(_)
        ));
    }
    rig.driver.tell(PbxCommand::HangUp { leg: heard.0.0 }).await;
    assert!(matches!(
        next_event(&mut rig, &heard.1).await,
        RecordingEvent::Ended(_)
    ));
    assert!(size(&rig, &heard.1) > 0 && size(&rig, &unheard.1) > 0);
    for (_, agent) in [unheard.0, heard.0] {
        rig.driver.tell(PbxCommand::HangUpAgent { leg: agent }).await;
    }
    rig.pbx.settled().await;
}

/// After a restart, a driver may not take over a recording that was already reported as ended: it would report a second
/// end.
async fn a_recording_that_was_stopped_is_not_taken_over_after_a_gap(kind: Kind) {
    let mut rig = Rig::start_with(kind, Audio::Tones).await;
    let legs = conversation(&mut rig, 1).await;
    let recording = record(&rig, legs, "stopped-2", None).await;
    assert_eq!(next_event(&mut rig, &recording).await, RecordingEvent::Started);
    until("some audio is on disk", || size(&rig, &recording) > 1_000).await;
    let stop = PbxCommand::StopRecording {
        recording: recording.clone(),
    };
    rig.driver.tell(stop).await;
    assert!(matches!(
        next_event(&mut rig, &recording).await,
        RecordingEvent::Ended(Some(_))
    ));
    // The reply to this command shows that the driver has handled the end of the recording.
    let unheard = record(&rig, legs, "unheard-2", Some("sound:no-such-sound")).await;
    next_event(&mut rig, &unheard).await;
    let Rig { pbx, driver } = rig;
    drop(driver);
    let driver = pbx.driver().await;
    let mut rig = Rig { pbx, driver };
    rig.driver.tell(PbxCommand::HangUp { leg: legs.0 }).await;
    rig.driver.ended(legs.0).await;
    let ended = |event: &&PbxEvent| matches!(event, PbxEvent::RecordingEnded { .. });
    assert_eq!(rig.driver.said.iter().find(ended), None);
    rig.driver.tell(PbxCommand::HangUpAgent { leg: legs.1 }).await;
    rig.pbx.settled().await;
}

on_every_pbx! {
    ; over a socket:
    ; over the Event Socket:
    ; with routes:
    ; for real:
    conversations_are_recorded_after_their_announcement
    a_dead_drivers_recordings_end_with_their_callees
    a_recording_that_was_stopped_is_not_taken_over_after_a_gap
}
