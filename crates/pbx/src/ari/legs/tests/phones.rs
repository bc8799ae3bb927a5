//! Rules of phones that act by themselves, where a real switch would take too long or be too seldom wrong.

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

    /// Packets from and to the phone after so many seconds, counted every 12.
    fn count(&mut self, agent: AgentLegId, from_phone: u64, to_phone: u64) {
        self.pass(Duration::from_secs(12));
        self.asked();
        self.legs.packets(agent.0, Some((from_phone, to_phone)), self.now);
    }
}

#[test]
fn a_colleague_who_passes_the_callee_on_is_replaced_and_only_the_last_one_leaves_it_alone() {
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
fn a_transfer_with_nobody_on_the_line_leaves_no_colleague_in_an_empty_bridge() {
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
fn nobody_is_connected_while_the_agents_leg_is_out_of_its_bridge_and_it_is_asked_back() {
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
fn a_steady_phone_that_falls_silent_is_told_and_one_that_sends_only_speech_is_not() {
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
        assert_eq!(script.paths(), asked, "{to_phone}");
    }
}
