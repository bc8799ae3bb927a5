//! Rules of phones that act by themselves, where a real PBX would take too long or be too seldom wrong.

use super::*;
use paceline_core::pbx::{Departure, Destination, LegTrouble};

impl Script {
    fn connected(&mut self, agent: AgentLegId) -> LegId {
        let leg = self.answered();
        let command = PbxCommand::Connect {
            leg,
            to: Destination::HeldLeg(agent),
        };
        self.legs.command(command, self.now);
        self.reply(Purpose::Connected(leg, agent), 204);
        assert_eq!(
            self.said(),
            [PbxEvent::Connected {
                leg,
                agent_leg: agent
            }]
        );
        self.asked();
        leg
    }

    fn replaced(&mut self, channel: &'static str, replaced: &str) {
        self.event(&Event::StasisStart {
            channel: channel.into(),
            name: None,
            argument: None,
            mark: None,
            replaced: Some(replaced.to_owned().into()),
        });
    }

    fn left(&mut self, agent: AgentLegId, channel: &str) {
        self.event(&Event::LeftBridge {
            bridge: format!("paceline-{agent}").into(),
            channel: channel.to_owned().into(),
        });
    }

    fn rings(&mut self, phone: &str) -> AgentLegId {
        let leg = AgentLegId(Uuid::now_v7());
        let command = PbxCommand::CallAgent {
            leg,
            dial: DialString::new(phone).unwrap(),
            caller_id: None,
            ring_timeout: Duration::from_secs(30),
            duration_max: Duration::from_secs(3600),
            report_keys: false,
        };
        self.legs.command(command, self.now);
        self.dial(leg.0, DialStatus::Begun);
        self.dial(leg.0, DialStatus::Ringing);
        assert_eq!(self.said(), [PbxEvent::AgentRinging { leg }]);
        self.asked();
        leg
    }

    /// The channel of a colleague who has picked up comes into our application.
    fn colleague(&mut self) {
        self.event(&Event::StasisStart {
            channel: "1795865018.2".into(),
            name: Some("PJSIP/agent-2-00000002".into()),
            argument: Some("agent".into()),
            mark: Some("paceline".into()),
            replaced: None,
        });
    }

    /// `ChannelDestroyed` of a leg that a colleague has picked up.
    fn destroyed_picked_up(&mut self, leg: AgentLegId) {
        self.event(&Event::Destroyed {
            channel: leg.to_string().into(),
            cause: cause(16),
            application: Some("".into()),
        });
    }

    /// Packets from and to the phone after so many seconds, counted every 12.
    fn count(&mut self, agent: AgentLegId, from_phone: u64, to_phone: u64) {
        self.pass(Duration::from_secs(12));
        self.asked();
        self.legs.packets(agent.0, Some((from_phone, to_phone)), self.now);
    }
}

#[test]
fn a_callee_that_is_transferred_again_is_alone_only_after_the_last_colleague_leaves() {
    let mut script = Script::new();
    let agent = script.agent();
    let leg = script.connected(agent);
    script.replaced("1.1", &agent.to_string());
    script.left(agent, &agent.to_string());
    let how = Departure::Transferred;
    assert_eq!(
        script.said(),
        [
            PbxEvent::Transferred { leg },
            PbxEvent::AgentLeft { leg: agent, how }
        ]
    );
    script.replaced("1.2", "1.1");
    script.left(agent, "1.1");
    assert_eq!(script.said(), []);
    script.destroyed(agent.0, 16);
    assert!(
        !script
            .paths()
            .contains(&format!("DELETE bridges/paceline-{agent}")),
        "the callee talks on in it"
    );
    script.said();
    script.left(agent, "1.2");
    assert_eq!(script.said(), [PbxEvent::CalleeAlone { leg }]);
    script.destroyed(leg.0, 16);
    assert_eq!(script.paths(), [format!("DELETE bridges/paceline-{agent}")]);
}

#[test]
fn a_transfer_without_a_callee_leaves_no_colleague_in_an_empty_bridge() {
    let mut script = Script::new();
    let agent = script.agent();
    script.replaced("1.1", &agent.to_string());
    assert!(script.paths().contains(&"DELETE channels/1.1".to_owned()));
    assert!(matches!(
        script.said().as_slice(),
        [PbxEvent::AgentLeft { leg, .. }] if *leg == agent
    ));
}

#[test]
fn no_callee_is_connected_while_the_agents_leg_is_out_of_its_bridge_and_the_leg_is_put_back() {
    let mut script = Script::new();
    let agent = script.agent();
    script.left(agent, &agent.to_string());
    let leg = script.answered();
    let command = PbxCommand::Connect {
        leg,
        to: Destination::HeldLeg(agent),
    };
    script.legs.command(command, script.now);
    script.reply(Purpose::Connected(leg, agent), 204);
    assert!(matches!(
        script.said().as_slice(),
        [PbxEvent::ConnectFailed {
            fault: ConnectFault::AgentGone,
            ..
        }]
    ));
    script.asked();
    script.pass(Duration::from_millis(250));
    assert_eq!(
        script.paths(),
        [format!("POST bridges/paceline-{agent}/addChannel")]
    );
    script.reply(Purpose::Returned(agent.0), 204);
    assert_eq!(script.said(), []);
    script.connected(agent);
}

#[test]
fn a_steady_phone_that_falls_silent_is_reported_and_one_that_sends_only_speech_is_not() {
    let mut script = Script::new();
    let (steady, speech) = (script.agent(), script.agent());
    for (from_steady, from_speech) in [(600, 600), (1200, 700), (1500, 700), (1500, 700), (1500, 700)] {
        script.count(steady, from_steady, 0);
        script.legs.packets(speech.0, Some((from_speech, 0)), script.now);
    }
    let trouble = Some(LegTrouble::NoAudio);
    assert_eq!(script.said(), [PbxEvent::AgentTrouble { leg: steady, trouble }]);
    script.count(steady, 1800, 0);
    assert_eq!(
        script.said(),
        [PbxEvent::AgentTrouble {
            leg: steady,
            trouble: None
        }]
    );
}

#[test]
fn silence_for_an_agent_stops_as_soon_as_the_callee_speaks() {
    let mut script = Script::new();
    let agent = script.agent();
    script.pass(Duration::from_secs(1));
    script.connected(agent);
    script.legs.packets(agent.0, Some((600, 0)), script.now);
    let silence = format!("channels/{agent}/silence");
    script.pass(Duration::from_secs(12));
    script.asked();
    script.legs.packets(agent.0, Some((1200, 0)), script.now);
    assert_eq!(script.paths(), [format!("POST {silence}")]);
    for (to_phone, asked) in [(100, vec![]), (300, vec![format!("DELETE {silence}")])] {
        script.pass(Duration::from_secs(2));
        script.asked();
        script.legs.packets(agent.0, Some((1300, to_phone)), script.now);
        let mut paths = script.paths();
        paths.retain(|path| path.ends_with("silence"));
        assert_eq!(paths, asked, "{to_phone}");
    }
}

#[test]
fn an_agent_whose_callee_was_moved_hears_silence_after_ten_seconds_like_any_agent_alone() {
    let mut script = Script::new();
    let agent = script.agent();
    let leg = script.connected(agent);
    script.left(agent, &leg.to_string());
    script.pass(Duration::from_millis(250));
    script.asked();
    script.reply(Purpose::CalleeOut(leg.0), 409);
    assert_eq!(script.said(), [PbxEvent::Transferred { leg }]);
    script.pass(Duration::from_secs(11));
    assert!(script.paths().contains(&format!("POST channels/{agent}/silence")));
}

#[test]
fn a_conversation_taken_over_with_a_callee_who_sends_nothing_gets_silence_too() {
    let mut script = Script::new();
    let (agent, leg) = (AgentLegId(Uuid::now_v7()), LegId(Uuid::now_v7()));
    let held = Found {
        side: Side::Agent,
        stage: FoundStage::Held,
        progress: ProgressSeen::Nothing,
        through_dialplan: false,
        in_app: true,
        bridge: Some(agent.0),
        with_others: false,
    };
    let callee = Found {
        side: Side::Callee,
        stage: FoundStage::Answered,
        ..held
    };
    let found = HashMap::from([(agent.0, held), (leg.0, callee)]);
    script.legs.adopt(&found, false, script.now);
    script.asked();
    for (from_phone, to_phone) in [(600, 0), (1200, 0)] {
        script.pass(Duration::from_secs(12));
        script
            .legs
            .packets(agent.0, Some((from_phone, to_phone)), script.now);
    }
    assert_eq!(script.paths(), [format!("POST channels/{agent}/silence")]);
}

const COLLEAGUE_ENDS: &str = "DELETE channels/1795865018.2";

#[test]
fn a_pickup_is_reported_in_either_order_of_the_pbxs_two_events() {
    for colleague_first in [true, false] {
        let mut script = Script::new();
        let leg = script.rings("PJSIP/agent-1");
        if colleague_first {
            script.colleague();
            script.destroyed_picked_up(leg);
        } else {
            script.destroyed_picked_up(leg);
            script.colleague();
        }
        let how = Departure::PickedUp;
        assert!(matches!(
            script.said().as_slice(),
            [left, PbxEvent::AgentEnded { leg: ended, end }]
                if *left == PbxEvent::AgentLeft { leg, how } && *ended == leg && !end.answered
        ));
        assert_eq!(script.paths(), [COLLEAGUE_ENDS]);
    }
}

#[test]
fn a_phone_that_rings_too_long_is_not_picked_up_because_another_was() {
    let mut script = Script::new();
    let (picked_up, too_long) = (script.rings("PJSIP/agent-1"), script.rings("PJSIP/agent-3"));
    script.colleague();
    script.destroyed(too_long.0, 16);
    assert!(matches!(
        script.said().as_slice(),
        [PbxEvent::AgentEnded { leg, end }] if *leg == too_long && end.by == EndedBy::RingTimeout
    ));
    script.destroyed_picked_up(picked_up);
    assert!(matches!(
        script.said().as_slice(),
        [PbxEvent::AgentLeft { leg, .. }, PbxEvent::AgentEnded { .. }] if *leg == picked_up
    ));
}

#[test]
fn a_colleagues_channel_that_the_pbx_does_not_list_yet_is_ended_by_a_later_request_of_a_limited_number() {
    let mut script = Script::new();
    script.rings("PJSIP/agent-1");
    script.colleague();
    let mut asked = 0;
    for _ in 0..20 {
        for (path, purpose) in script.asked() {
            assert_eq!(path, COLLEAGUE_ENDS);
            asked += 1;
            assert!(script.reply(purpose, 404), "no fault of the PBX");
        }
        script.pass(Duration::from_millis(250));
    }
    assert_eq!(asked, 9, "every 250 ms for two seconds");
    script.colleague();
    let (_, purpose) = script.asked().remove(0);
    script.reply(purpose, 204);
    script.pass(Duration::from_millis(250));
    assert_eq!(script.paths(), [""; 0]);
}
