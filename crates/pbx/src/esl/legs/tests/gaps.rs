//! Gaps in the events: the link was down, or an earlier run was stopped.

use super::*;
use crate::esl::esl_event::StoppedBy;
use crate::esl::recordings::Folders;
use paceline_core::pbx::RecordingName;

#[test]
fn a_join_that_no_event_told_of_is_told_by_the_end_of_the_callee() {
    let mut bench = Bench::new();
    bench.ready();
    bench.connect();
    let mut end = facts("NORMAL_CLEARING", 16, None);
    end.bridged_with = Some(AGENT.0);
    bench.ended(CALLEE.0, end);
    let heard = bench.heard();
    let connected = PbxEvent::Connected {
        leg: CALLEE,
        agent_leg: AGENT,
    };
    assert_eq!(heard.first(), Some(&connected));
    assert!(matches!(heard[1..], [PbxEvent::LegEnded { leg: CALLEE, .. }]));
}

#[test]
fn after_a_gap_existing_legs_are_taken_over_and_missing_ones_vanish() {
    let mut bench = Bench::new();
    bench.ready();
    bench.legs.unlinked(bench.now);
    bench
        .legs
        .command_unlinked(PbxCommand::HangUpAgent { leg: AGENT });
    let found = Found {
        side: Side::Agent,
        stage: FoundStage::Held,
        progress: ProgressSeen::Ringing,
        with: None,
        elsewhere: false,
        on_hold: false,
        recording: None,
    };
    bench.legs.adopt(&HashMap::from([(AGENT.0, found)]), bench.now);
    assert_eq!(bench.asked(), [OnReply::HungUp(AGENT.0)]);
    bench.tick_after(END_LATE_MAX);
    let end = bench.end();
    assert_eq!((end.by, end.answered), (EndedBy::Vanished, true));
    bench.ended(AGENT.0, facts("NORMAL_CLEARING", 16, None));
    assert!(matches!(
        bench.heard()[..],
        [PbxEvent::AgentEnded {
            end: LegEnd {
                by: EndedBy::Us,
                answered: true,
                ..
            },
            ..
        }]
    ));
}

#[test]
fn an_end_that_an_earlier_run_did_not_see_is_reported_once() {
    let mut bench = Bench::new();
    let busy = Facts {
        side: Some(Side::Callee),
        ..facts("USER_BUSY", 17, Some(486))
    };
    bench.ended(CALLEE.0, busy.clone());
    let end = bench.end();
    assert_eq!((end.by, end.sip), (EndedBy::Network, Some(486)));
    bench.ended(CALLEE.0, busy);
    bench.legs.command(PbxCommand::HangUp { leg: CALLEE }, bench.now);
    assert_eq!((bench.asked(), bench.heard()), (vec![], vec![]));
}

#[test]
fn an_end_that_was_not_reported_before_the_link_broke_is_reported_after_it() {
    let mut bench = Bench::new();
    bench.call();
    bench.event(EslEvent::Created(CALLEE.0));
    bench.event(EslEvent::Ringing(CALLEE.0));
    bench.ended(CALLEE.0, facts("USER_BUSY", 17, Some(486)));
    bench.legs.unlinked(bench.now);
    assert!(matches!(
        bench.heard()[..],
        [PbxEvent::LegEnded { leg: CALLEE, .. }]
    ));
}

#[test]
fn an_originate_that_was_never_sent_is_refused_when_the_link_breaks() {
    let mut bench = Bench::new();
    let leg = PbxCommand::CallContact {
        leg: CALLEE,
        dial: DialString::new("sofia/gateway/carrier/+12025550123").unwrap(),
        caller_id: None,
        ring_timeout: Duration::from_secs(20),
        duration_max: Duration::from_secs(60),
    };
    bench.legs.command(leg, bench.now);
    bench.legs.unlinked(bench.now);
    assert_eq!(bench.end().by, EndedBy::Refused);
    assert_eq!(bench.asked(), []);
}

/// A recording without a mark on its channel is not taken over after a gap.
#[test]
fn a_recording_that_has_ended_or_failed_leaves_no_mark_on_a_living_channel() {
    let recording = RecordingName::of(CALLEE);
    let name = recording.as_str().to_owned();
    let unmarked = |by: &dyn Fn(&mut Bench)| {
        let mut bench = Bench::new();
        bench.ready();
        bench.legs.set_folders(Folders {
            recordings: "/rec".to_owned(),
            sounds: "/sounds".to_owned(),
        });
        let record = PbxCommand::Record {
            leg: CALLEE,
            agent_leg: AGENT,
            recording: recording.clone(),
            announcement: None,
        };
        bench.legs.command(record, bench.now);
        let is_free = OnReply::AnnouncementFound(name.clone());
        bench.legs.replied(is_free, "false", bench.now);
        bench.asked();
        by(&mut bench);
        let mut asks = bench.legs.out.asks.drain(..);
        asks.any(|ask| ask.command == crate::esl::command::unmark_recording(CALLEE.0))
    };
    let stopped = |by| EslEvent::RecordingStopped(name.clone(), Some(900), by);
    assert!(unmarked(&|bench| bench.event(stopped(StoppedBy::Other))));
    assert!(!unmarked(&|bench| bench.event(stopped(StoppedBy::HangUp))));
    assert!(unmarked(&|bench| {
        let refused = OnReply::Recorded(name.clone());
        bench
            .legs
            .replied(refused, "-ERR Cannot record session!", bench.now);
    }));
}
