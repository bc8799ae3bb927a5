//! Tests of abandoned callees in a campaign with a message for them.

use super::*;
use crate::outcome::MessageResult;

fn sorry() -> Sound {
    Sound::new("sound:custom/sorry").unwrap()
}

fn with_message() -> CampaignConfig {
    let mut config = config();
    config.settings.answering.abandon_message = Some(sorry());
    config
}

/// One agent, whose phone hangs up when the callee answers. Two seconds later the message starts.
fn rig_with_an_abandoned_person() -> (Rig, LegId) {
    let mut rig = Rig::from(with_message(), Recovered::default());
    rig.tell(Input::SetActive(true));
    rig.event(PbxEvent::Resynchronised(Snapshot::default()));
    rig.log_in(1);
    let agent_leg = rig.agent_leg(1);
    rig.event(PbxEvent::AgentReady { leg: agent_leg });
    let leg = rig.leg();
    rig.event(PbxEvent::Answered { leg });
    rig.event(PbxEvent::AgentEnded {
        leg: agent_leg,
        end: end(EndedBy::Network, true),
    });
    rig.wait(Duration::from_millis(1999));
    assert!(!rig.commands().any(|c| matches!(c, PbxCommand::Play { .. })));
    rig.wait(Duration::from_millis(1));
    let sound = sorry();
    assert!(rig.commands().any(|c| c
        == &PbxCommand::Play {
            leg,
            sound: sound.clone()
        }));
    (rig, leg)
}

fn results(rig: &Rig) -> Vec<MessageResult> {
    let results = rig.said.iter().filter_map(|c| match c {
        Command::Store(Change::Messaged { result, .. }) => Some(*result),
        _ => None,
    });
    results.collect()
}

fn hung_up(rig: &Rig, leg: LegId) -> bool {
    rig.commands().any(|c| c == &PbxCommand::HangUp { leg })
}

#[test]
fn an_abandoned_person_hears_the_message_to_its_end_and_is_hung_up() {
    let (mut rig, leg) = rig_with_an_abandoned_person();
    assert_eq!(
        rig.engine.live(rig.now).attempts[&crate::live::AttemptPhase::Message],
        1
    );
    // An agent is free now, but the callee is abandoned and gets no agent.
    let agent_leg = rig.agent_leg(1);
    rig.event(PbxEvent::AgentReady { leg: agent_leg });
    rig.wait(Duration::from_secs(20));
    assert!(!hung_up(&rig, leg));
    assert!(!rig.commands().any(
        |c| matches!(c, PbxCommand::Connect { leg: of, to: Destination::HeldLeg(with) } if (*of, *with) == (leg, agent_leg))
    ));
    rig.event(PbxEvent::Played { leg, whole: true });
    assert!(hung_up(&rig, leg));
    rig.event(PbxEvent::Played { leg, whole: false });
    rig.event(PbxEvent::LegEnded {
        leg,
        end: end(EndedBy::Us, true),
    });
    assert_eq!(
        (results(&rig), rig.outcomes()),
        (vec![MessageResult::Whole], vec![Outcome::Abandoned])
    );
}

#[test]
fn a_message_that_cannot_be_played_or_never_ends_is_followed_by_the_hang_up_too() {
    let (mut rig, leg) = rig_with_an_abandoned_person();
    rig.event(PbxEvent::Played { leg, whole: false });
    rig.wait(Duration::from_millis(50));
    assert!(hung_up(&rig, leg));
    assert_eq!(results(&rig), [MessageResult::Failed]);

    let (mut rig, leg) = rig_with_an_abandoned_person();
    rig.wait(Duration::from_secs(59));
    assert!(!hung_up(&rig, leg));
    rig.wait(Duration::from_secs(1));
    assert!(hung_up(&rig, leg));
    assert_eq!(results(&rig), [MessageResult::CutShort]);
}

#[test]
fn messages_and_recordings_that_fail_are_warned_of_until_they_go_well_or_are_set_anew() {
    use crate::live::Warning;
    use crate::pbx::RecordingName;
    let (mut rig, leg) = rig_with_an_abandoned_person();
    rig.event(PbxEvent::Played { leg, whole: false });
    assert!(
        rig.engine.live(rig.now).warnings.is_empty(),
        "the callee may have hung up"
    );
    rig.wait(Duration::from_millis(50));
    let warnings = |rig: &Rig| rig.engine.live(rig.now).warnings;
    assert_eq!(warnings(&rig), [Warning::MessageFailed]);
    rig.engine.configure(rig.now, with_message());
    assert_eq!(warnings(&rig), [Warning::MessageFailed]);
    let mut other = with_message();
    other.settings.answering.abandon_message = Some(Sound::new("sound:other").unwrap());
    rig.engine.configure(rig.now, other);
    assert!(warnings(&rig).is_empty());

    let recording = RecordingName::of(leg);
    for failed in 1..=5 {
        assert!(warnings(&rig).is_empty(), "{failed}");
        rig.event(PbxEvent::RecordingFailed {
            recording: recording.clone(),
            reason: "the announcement could not be played".into(),
        });
    }
    assert_eq!(warnings(&rig), [Warning::RecordingsFailed]);
    let duration = None;
    rig.event(PbxEvent::RecordingEnded { recording, duration });
    assert!(warnings(&rig).is_empty());
}

#[test]
fn a_callee_who_hangs_up_during_the_message_was_abandoned() {
    let (mut rig, leg) = rig_with_an_abandoned_person();
    rig.event(PbxEvent::Played { leg, whole: false });
    rig.event(PbxEvent::LegEnded {
        leg,
        end: end(EndedBy::Network, true),
    });
    assert_eq!(
        (results(&rig), rig.outcomes()),
        (vec![MessageResult::CutShort], vec![Outcome::Abandoned])
    );
    assert!(!hung_up(&rig, leg), "there is nobody to hang up on");
}

#[test]
fn after_a_lost_link_no_callee_waits_in_silence_for_a_message() {
    let (mut rig, leg) = rig_with_an_abandoned_person();
    rig.event(PbxEvent::LinkLost);
    rig.wait(Duration::from_secs(5));
    let up = ChannelState {
        phase: ChannelPhase::Up,
        bridge: None,
        in_our_app: true,
        up_for: None,
        trouble: None,
        with_others: false,
    };
    let channels = BTreeMap::from([(leg.0, up)]);
    rig.event(PbxEvent::Resynchronised(Snapshot { channels }));
    assert!(hung_up(&rig, leg));
    rig.event(PbxEvent::LegEnded {
        leg,
        end: end(EndedBy::Us, true),
    });
    assert_eq!(
        (results(&rig), rig.outcomes()),
        (vec![MessageResult::CutShort], vec![Outcome::Abandoned])
    );
}

#[test]
fn after_a_crash_a_callee_past_the_limit_gets_no_agent() {
    // Two seconds before the start of the rig's clock.
    let answered_at = Wall(1_799_999_998_000);
    for given_up in [true, false] {
        let open = OpenAttempt {
            created_at: answered_at,
            abandoned_at: given_up.then_some(answered_at),
            ..crash::open_attempt(1, None, Some(answered_at))
        };
        let recovered = Recovered {
            attempts: vec![open],
            agents: vec![crash::open_agent(1)],
            ..Recovered::default()
        };
        let mut rig = Rig::from(with_message(), recovered);
        let (agent, leg) = (uuid::Uuid::from_u128(3001), LegId(uuid::Uuid::from_u128(2001)));
        let up = |bridge| ChannelState {
            phase: ChannelPhase::Up,
            bridge,
            in_our_app: true,
            up_for: None,
            trouble: None,
            with_others: false,
        };
        let channels = BTreeMap::from([(agent, up(Some(AgentLegId(agent)))), (leg.0, up(None))]);
        rig.event(PbxEvent::Resynchronised(Snapshot { channels }));
        rig.wait(Duration::from_secs(1));
        assert_eq!(rig.state(1), AgentState::Available);
        let sound = Sound::new("sound:custom/sorry").unwrap();
        // The former run may have played the message, so it is not played again.
        let expected = if given_up {
            PbxCommand::HangUp { leg }
        } else {
            PbxCommand::Play { leg, sound }
        };
        assert_eq!(rig.commands().collect::<Vec<_>>(), [&expected]);
        rig.event(PbxEvent::LegEnded {
            leg,
            end: end(EndedBy::Us, true),
        });
        assert_eq!(rig.outcomes(), [Outcome::Abandoned]);
    }
}
