//! Conversations recorded on the switch.

use crate::bench::{Bench, Driver, PATIENCE, Way, config, lab_with, until};
use paceline_core::ids::{AgentLegId, LegId};
use paceline_core::pbx::{PbxCommand, PbxEvent, RecordingName};
use paceline_lab::{Audio, Behaviour, Version};
use std::time::{Duration, Instant};

#[derive(Debug, PartialEq)]
enum Said {
    Started,
    Ended(Option<Duration>),
    Failed(String),
}

async fn record(
    bench: &Bench,
    leg: LegId,
    agent_leg: AgentLegId,
    name: &str,
    announcement: Option<&str>,
) -> RecordingName {
    let recording = RecordingName(name.to_owned());
    bench
        .driver
        .tell(PbxCommand::Record {
            leg,
            agent_leg,
            recording: recording.clone(),
            announcement: announcement.map(str::to_owned),
        })
        .await;
    recording
}

async fn said(bench: &mut Bench, of: &RecordingName) -> Said {
    bench
        .driver
        .wait(&format!("word on recording {}", of.0), |event| match event {
            PbxEvent::RecordingStarted { recording } if recording == of => Some(Said::Started),
            PbxEvent::RecordingEnded { recording, duration } if recording == of => {
                Some(Said::Ended(*duration))
            }
            PbxEvent::RecordingFailed { recording, reason } if recording == of => {
                Some(Said::Failed(reason.clone()))
            }
            _ => None,
        })
        .await
}

/// The file's size, 0 where there is none.
fn size(bench: &Bench, recording: &RecordingName) -> u64 {
    let file = bench
        .lab
        .asterisk
        .recordings_dir()
        .join(format!("{}.wav", recording.0));
    std::fs::metadata(file).map_or(0, |file| file.len())
}

async fn conversations_are_recorded(version: Version) {
    let mut bench = Bench::on(lab_with(version, Audio::Tones, "")).await;
    let agent = bench.driver.agent(1).await;
    let other_agent = bench.driver.agent(2).await;

    // After its announcement, until the callee leaves.
    let leg = bench.driver.call(&Behaviour::Talks.number(1), Way::Direct).await;
    bench.driver.answered(leg).await;
    bench.driver.connect(leg, agent).await;
    let asked_at = Instant::now();
    let announced = record(&bench, leg, agent, "announced_1", Some("sound:message")).await;

    // Meanwhile: stopped before the end of the call, then another with the same name is refused.
    let other = bench
        .driver
        .call(&Behaviour::Talks.number(2), Way::Dialplan)
        .await;
    bench.driver.answered(other).await;
    bench.driver.connect(other, other_agent).await;
    let stopped = record(&bench, other, other_agent, "stopped-1", None).await;
    assert_eq!(said(&mut bench, &stopped).await, Said::Started);
    bench
        .driver
        .tell(PbxCommand::StopRecording {
            recording: stopped.clone(),
        })
        .await;
    assert!(matches!(said(&mut bench, &stopped).await, Said::Ended(Some(_))));
    record(&bench, other, other_agent, &stopped.0, None).await;
    assert!(matches!(said(&mut bench, &stopped).await, Said::Failed(_)));

    // An announcement that does not exist must not be passed over.
    let unheard = record(&bench, other, other_agent, "unheard", Some("sound:no-such-sound")).await;
    assert_eq!(
        said(&mut bench, &unheard).await,
        Said::Failed("the announcement could not be played".to_owned())
    );
    assert_eq!(size(&bench, &unheard), 0);

    // The callee leaves during the announcement.
    let cut_short = record(&bench, other, other_agent, "cut_short", Some("sound:message")).await;
    bench.driver.tell(PbxCommand::HangUp { leg: other }).await;
    bench.driver.ended(other).await;
    assert_eq!(
        said(&mut bench, &cut_short).await,
        Said::Failed("the callee left during the announcement".to_owned())
    );
    let too_late = record(&bench, other, other_agent, "too_late", None).await;
    assert_eq!(
        said(&mut bench, &too_late).await,
        Said::Failed("the callee is gone".to_owned())
    );

    // The announcement is 3 s long.
    assert_eq!(said(&mut bench, &announced).await, Said::Started);
    assert!(
        asked_at.elapsed() > Duration::from_millis(2900),
        "{:?}",
        asked_at.elapsed()
    );
    until("two seconds of conversation are on disk", || {
        size(&bench, &announced) > 32_000
    })
    .await;
    bench.driver.tell(PbxCommand::HangUp { leg }).await;
    let Said::Ended(Some(duration)) = said(&mut bench, &announced).await else {
        panic!("a recording that ends says how long it is");
    };
    assert!((1..=10).contains(&duration.as_secs()), "{duration:?}");
    assert!(size(&bench, &announced) > 32_000);
    assert!(bench.lab.phones.is_on_call(1));
    assert_eq!(size(&bench, &cut_short), 0);

    for agent in [agent, other_agent] {
        bench.driver.tell(PbxCommand::HangUpAgent { leg: agent }).await;
    }
    bench.lab.settled(PATIENCE).expect("nothing is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_are_recorded_after_their_announcement_on_asterisk_22() {
    conversations_are_recorded(Version::V22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_are_recorded_after_their_announcement_on_asterisk_16() {
    conversations_are_recorded(Version::V16).await;
}

async fn a_dead_drivers_recordings_end(version: Version) {
    let mut bench = Bench::on(lab_with(version, Audio::Tones, "")).await;
    let mut recordings = Vec::new();
    for nth in 1..=2 {
        let agent = bench.driver.agent(nth).await;
        let leg = bench
            .driver
            .call(&Behaviour::Talks.number(nth), Way::Direct)
            .await;
        bench.driver.answered(leg).await;
        bench.driver.connect(leg, agent).await;
        let recording = record(&bench, leg, agent, &format!("left-{nth}"), None).await;
        assert_eq!(said(&mut bench, &recording).await, Said::Started);
        recordings.push((leg, recording));
    }
    let Bench { lab, driver } = bench;
    drop(driver);
    // One callee leaves while nobody listens: its recorder must not stay for the next callee.
    let unheard = recordings.remove(0);
    lab.asterisk
        .ari("DELETE", &format!("/channels/{}", unheard.0))
        .expect("ARI answers");
    until("the callee is gone", || {
        !lab.asterisk
            .channels()
            .expect("ARI answers")
            .contains(&unheard.0.to_string())
    })
    .await;
    let driver = Driver::start(config(&lab, &lab.asterisk.ari_url())).await;
    let mut bench = Bench { lab, driver };
    assert!(matches!(said(&mut bench, &unheard.1).await, Said::Ended(_)));

    let (leg, recording) = recordings.remove(0);
    bench.driver.tell(PbxCommand::HangUp { leg }).await;
    assert!(matches!(said(&mut bench, &recording).await, Said::Ended(_)));
    assert!(size(&bench, &recording) > 0 && size(&bench, &unheard.1) > 0);
    until("only the two agents are left", || {
        bench.lab.asterisk.channels().expect("ARI answers").len() == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recordings_of_a_dead_driver_end_with_their_callee_on_asterisk_22() {
    a_dead_drivers_recordings_end(Version::V22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recordings_of_a_dead_driver_end_with_their_callee_on_asterisk_16() {
    a_dead_drivers_recordings_end(Version::V16).await;
}
