//! The rules of legs that real PBXes break too rarely, or keep too long, to be tested with.

use super::*;
use crate::ari::leg::{Found, FoundStage};
use crate::progress::ProgressSeen;
use paceline_core::pbx::{ConnectFault, Destination, DialString};
use std::borrow::Cow;

mod closed;
mod phones;

struct Script {
    legs: Legs,
    now: Instant,
}

impl Script {
    fn new() -> Self {
        Self {
            legs: Legs::new("paceline".to_owned(), "paceline".to_owned()),
            now: Instant::now(),
        }
    }

    /// The requests to the PBX since the previous call of this function, in order.
    fn asked(&mut self) -> Vec<(String, Purpose)> {
        self.legs
            .out
            .asks
            .drain(..)
            .map(|ask| {
                let path = ask.request.path.split('?').next().unwrap_or_default().to_owned();
                (format!("{} {path}", ask.request.method.as_str()), ask.purpose)
            })
            .collect()
    }

    /// The same as paths, but for the counting of packets.
    fn paths(&mut self) -> Vec<String> {
        let asked = self.asked().into_iter();
        let paths = asked.filter(|(_, purpose)| !matches!(purpose, Purpose::Packets(_)));
        paths.map(|(path, _)| path).collect()
    }

    fn said(&mut self) -> Vec<PbxEvent> {
        self.legs.out.events.drain(..).collect()
    }

    fn event(&mut self, event: &Event<'_>) {
        self.legs.event(event, self.now);
    }

    fn dial(&mut self, peer: Uuid, status: DialStatus) {
        self.event(&Event::Dial {
            caller: None,
            peer: peer.to_string().into(),
            status,
        });
    }

    fn behind(&mut self, leg: Uuid, trunk: &'static str, status: DialStatus) {
        self.event(&Event::Dial {
            caller: Some(requests::far_half(leg).to_string().into()),
            peer: trunk.into(),
            status,
        });
    }

    fn start(&mut self, channel: Uuid) {
        self.event(&Event::StasisStart {
            channel: channel.to_string().into(),
            name: Some("PJSIP/agent-1-00000001".into()),
            argument: None,
            mark: Some("paceline".into()),
            replaced: None,
        });
    }

    fn destroyed(&mut self, channel: Uuid, q850: u16) {
        self.event(&Event::Destroyed {
            channel: channel.to_string().into(),
            cause: cause(q850),
            application: Some("AppDial2".into()),
        });
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.legs.tick(self.now);
    }

    fn reply(&mut self, purpose: Purpose, status: u16) -> bool {
        self.legs.replied(purpose, status, "Allocation failed", self.now)
    }

    fn call(&mut self, dial: &str) -> LegId {
        let leg = LegId(Uuid::now_v7());
        self.legs.command(
            PbxCommand::CallContact {
                leg,
                dial: DialString::new(dial).unwrap(),
                caller_id: None,
                ring_timeout: Duration::from_secs(30),
                duration_max: Duration::from_secs(3600),
            },
            self.now,
        );
        leg
    }

    fn answered(&mut self) -> LegId {
        let leg = self.call("PJSIP/+12025550140@carrier");
        self.start(leg.0);
        assert_eq!(self.said(), [PbxEvent::Answered { leg }]);
        self.asked();
        leg
    }

    fn agent(&mut self) -> AgentLegId {
        let leg = AgentLegId(Uuid::now_v7());
        self.legs.command(
            PbxCommand::CallAgent {
                leg,
                dial: DialString::new("PJSIP/agent-1").unwrap(),
                caller_id: None,
                ring_timeout: Duration::from_secs(30),
                duration_max: Duration::from_secs(3600),
                report_keys: false,
            },
            self.now,
        );
        self.start(leg.0);
        assert_eq!(
            self.paths(),
            [
                format!("POST channels/{leg}"),
                format!("POST bridges/paceline-{leg}"),
                format!("POST bridges/paceline-{leg}/addChannel"),
            ]
        );
        self.reply(Purpose::Held(leg.0), 204);
        assert_eq!(self.said(), [PbxEvent::AgentReady { leg }]);
        // Its endpoint is watched, once.
        self.asked();
        leg
    }
}

fn cause(q850: u16) -> Cause {
    Cause {
        q850: Some(q850).filter(|q850| *q850 != 0),
        sip: None,
    }
}

fn end_of(events: &[PbxEvent]) -> &LegEnd {
    match events {
        [PbxEvent::LegEnded { end, .. } | PbxEvent::AgentEnded { end, .. }] => end,
        other => panic!("one end, not {other:?}"),
    }
}

#[test]
fn an_agent_who_hears_nothing_for_long_gets_silence_until_a_callee_comes() {
    let mut script = Script::new();
    let agent = script.agent();
    let silence = format!("channels/{agent}/silence");
    script.pass(Duration::from_secs(9));
    assert!(script.paths().is_empty());
    script.pass(Duration::from_secs(2));
    assert_eq!(script.paths(), [format!("POST {silence}")]);
    script.pass(Duration::from_secs(60));
    assert!(script.paths().is_empty());

    let leg = script.answered();
    script.legs.command(
        PbxCommand::Connect {
            leg,
            to: Destination::HeldLeg(agent),
        },
        script.now,
    );
    // The callee comes first, because the callee waits.
    assert_eq!(
        script.paths(),
        [
            format!("POST bridges/paceline-{agent}/addChannel"),
            format!("DELETE {silence}"),
        ]
    );
    script.reply(Purpose::Connected(leg, agent), 204);
    script.pass(Duration::from_secs(60));
    script.destroyed(leg.0, 16);
    assert!(script.paths().is_empty());
    script.pass(Duration::from_secs(11));
    assert_eq!(script.paths(), [format!("POST {silence}")]);

    script.destroyed(agent.0, 16);
    assert_eq!(script.paths(), [format!("DELETE bridges/paceline-{agent}")]);
    script.pass(Duration::from_secs(60));
    assert!(script.paths().is_empty());
}

#[test]
fn an_unknown_leg_is_hung_up_as_soon_as_it_appears() {
    let mut script = Script::new();
    let ghost = Uuid::now_v7();
    script.dial(ghost, DialStatus::Begun);
    assert_eq!(script.paths(), [format!("DELETE channels/{ghost}")]);
    script.start(ghost);
    assert_eq!(script.paths(), [format!("DELETE channels/{ghost}")]);
    script.destroyed(ghost, 16);
    assert!(script.said().is_empty());
}

#[test]
fn with_events_of_all_trunks_only_our_own_ended_legs_are_hung_up_early() {
    let mut script = Script::new();
    let ours = script.call("Local/12025550140@from-internal/n");
    script.legs.adopt(&HashMap::new(), true, script.now);
    script.asked();
    script.pass(Duration::from_secs(2));
    assert_eq!(end_of(&script.said()).by, EndedBy::Vanished);
    assert_eq!(script.paths(), [format!("DELETE channels/{ours}")]);
    script.dial(Uuid::now_v7(), DialStatus::Begun);
    assert!(script.paths().is_empty());
    script.dial(ours.0, DialStatus::Begun);
    assert_eq!(script.paths(), [format!("DELETE channels/{ours}")]);
}

#[test]
fn an_end_is_reported_once_although_it_arrives_twice() {
    let mut script = Script::new();
    let leg = script.answered();
    script.destroyed(leg.0, 16);
    script.destroyed(leg.0, 16);
    script.legs.command(PbxCommand::HangUp { leg }, script.now);
    assert!(script.paths().is_empty());
    let said = script.said();
    assert_eq!(
        (end_of(&said).by, end_of(&said).answered),
        (EndedBy::Network, true)
    );
}

#[test]
fn a_hang_up_of_an_unknown_leg_waits_a_moment_for_the_event_of_its_end() {
    let mut script = Script::new();
    for real_end_comes in [true, false] {
        let leg = script.answered();
        script.legs.command(PbxCommand::HangUp { leg }, script.now);
        assert!(script.reply(Purpose::HungUp(leg.0), 404));
        script.pass(Duration::from_millis(500));
        assert!(script.said().is_empty());
        if real_end_comes {
            script.destroyed(leg.0, 16);
        }
        script.pass(Duration::from_secs(1));
        let said = script.said();
        let by = if real_end_comes {
            EndedBy::Us
        } else {
            EndedBy::Vanished
        };
        assert_eq!(end_of(&said).by, by);
    }
}

#[test]
fn a_busy_that_crosses_our_hang_up_is_still_a_busy() {
    let mut script = Script::new();
    for (q850, by) in [(17, EndedBy::Network), (16, EndedBy::Us)] {
        let leg = script.call("PJSIP/+12025550170@carrier");
        script.dial(leg.0, DialStatus::Begun);
        script.legs.command(PbxCommand::HangUp { leg }, script.now);
        script.dial(leg.0, DialStatus::Failed);
        script.destroyed(leg.0, q850);
        assert_eq!(end_of(&script.said()).by, by);
    }
}

#[test]
fn a_trunks_cause_counts_although_it_arrives_before_the_dialplans_dial_event() {
    let mut script = Script::new();
    let leg = script.call("Local/12025550183@from-internal/n");
    let placed = script.paths();
    assert_eq!(placed.len(), 5, "{placed:?}");
    assert!(placed.first().is_some_and(|path| path.ends_with("/eventFilter")));
    for trunk in ["1.1", "1.2"] {
        // The second refuses before it is heard of.
        if trunk == "1.2" {
            script.event(&Event::HangupRequest {
                channel: trunk.into(),
                cause: cause(1),
            });
        }
        script.behind(leg.0, trunk, DialStatus::Begun);
        if trunk == "1.1" {
            script.event(&Event::HangupRequest {
                channel: trunk.into(),
                cause: cause(34),
            });
        }
        script.behind(leg.0, trunk, DialStatus::Failed);
    }
    // An announcement, answered by the dialplan.
    script.dial(leg.0, DialStatus::Progress);
    script.start(leg.0);
    script.destroyed(leg.0, 16);
    let said = script.said();
    let end = end_of(&said);
    assert_eq!(
        (end.by, end.q850, end.answered, end.progressed),
        (EndedBy::Network, Some(1), false, false)
    );
    assert!(script.legs.trunks.is_empty());
}

#[test]
fn the_answer_of_a_leg_through_the_dialplan_is_its_trunks() {
    let mut script = Script::new();
    let leg = script.call("Local/12025550140@from-internal/n");
    script.behind(leg.0, "1.1", DialStatus::Begun);
    script.start(leg.0);
    assert!(script.said().is_empty());
    script.behind(leg.0, "1.1", DialStatus::Ringing);
    script.behind(leg.0, "1.1", DialStatus::Answered);
    assert_eq!(script.said(), [PbxEvent::Answered { leg }]);
    script.start(leg.0);
    assert!(script.said().is_empty());
}

#[test]
fn a_connect_that_fails_names_the_leg_that_left() {
    let mut script = Script::new();
    let agent = script.agent();
    let leg = script.answered();
    for (status, agent_left, callee_left, fault) in [
        (500, false, false, ConnectFault::Refused),
        (404, false, false, ConnectFault::AgentGone),
        (422, false, false, ConnectFault::CalleeGone),
        (204, false, true, ConnectFault::CalleeGone),
        (204, true, true, ConnectFault::AgentGone),
    ] {
        if callee_left {
            script.destroyed(leg.0, 16);
        }
        if agent_left {
            script.destroyed(agent.0, 16);
        }
        script.said();
        script.legs.command(
            PbxCommand::Connect {
                leg,
                to: Destination::HeldLeg(agent),
            },
            script.now,
        );
        script.reply(Purpose::Connected(leg, agent), status);
        assert_eq!(
            script.said(),
            [PbxEvent::ConnectFailed {
                leg,
                agent_leg: agent,
                fault
            }]
        );
    }
}

#[test]
fn an_agent_who_cannot_be_held_is_hung_up() {
    let mut script = Script::new();
    let agent = AgentLegId(Uuid::now_v7());
    script.legs.command(
        PbxCommand::CallAgent {
            leg: agent,
            dial: DialString::new("PJSIP/agent-1").unwrap(),
            caller_id: None,
            ring_timeout: Duration::from_millis(1),
            duration_max: Duration::from_millis(1),
            report_keys: false,
        },
        script.now,
    );
    script.start(agent.0);
    script.asked();
    assert!(!script.reply(Purpose::Held(agent.0), 500));
    assert_eq!(script.paths(), [format!("DELETE channels/{agent}")]);
    script.destroyed(agent.0, 16);
    assert_eq!(end_of(&script.said()).by, EndedBy::Us);
}

#[test]
fn after_a_gap_agents_are_held_again_and_missing_legs_have_a_second_to_report_their_end() {
    let mut script = Script::new();
    let agent = script.agent();
    let gone = script.answered();
    let explained = script.answered();
    let wanted_down = script.answered();
    script
        .legs
        .command_unlinked(PbxCommand::HangUp { leg: wanted_down });
    let found = Found {
        side: Side::Agent,
        stage: FoundStage::Answered,
        progress: ProgressSeen::Nothing,
        through_dialplan: false,
        in_app: true,
        bridge: None,
        with_others: false,
    };
    let callee = Found {
        side: Side::Callee,
        ..found
    };
    let survey = HashMap::from([(agent.0, found), (wanted_down.0, callee)]);
    script.legs.adopt(&survey, true, script.now);
    let mut paths = script.paths();
    paths.sort();
    assert_eq!(
        paths,
        [
            format!("DELETE channels/{wanted_down}"),
            format!("POST bridges/paceline-{agent}"),
            format!("POST bridges/paceline-{agent}/addChannel"),
        ]
    );
    script.destroyed(explained.0, 17);
    assert_eq!(end_of(&script.said()).q850, Some(17));
    script.pass(Duration::from_millis(1100));
    let said = script.said();
    assert_eq!(end_of(&said).by, EndedBy::Vanished);
    assert!(matches!(said.first(), Some(PbxEvent::LegEnded { leg, .. }) if *leg == gone));
}

#[test]
fn ids_of_others_are_passed_over() {
    let mut script = Script::new();
    for id in ["", "1795175310.133", "not-a-uuid-but-of-just-the-same-len!!"] {
        script.event(&Event::StasisStart {
            channel: Cow::Borrowed(id),
            name: None,
            argument: None,
            mark: Some("paceline".into()),
            replaced: None,
        });
        script.event(&Event::Destroyed {
            channel: Cow::Borrowed(id),
            cause: Cause::default(),
            application: None,
        });
    }
    assert!(script.paths().is_empty() && script.said().is_empty());
}

#[test]
fn a_leg_whose_dialplan_answers_has_its_ring_timeout_kept_by_us() {
    let mut script = Script::new();
    for refused in [false, true] {
        let leg = script.call("Local/12025550175@from-internal/n");
        script.start(leg.0);
        script.behind(leg.0, "1.1", DialStatus::Begun);
        script.behind(leg.0, "1.1", DialStatus::Ringing);
        if refused {
            script.event(&Event::HangupRequest {
                channel: "1.1".into(),
                cause: cause(17),
            });
            script.behind(leg.0, "1.1", DialStatus::Failed);
        }
        script.asked();
        script.said();
        script.pass(Duration::from_secs(29));
        assert!(script.paths().is_empty());
        script.pass(Duration::from_secs(2));
        assert_eq!(script.paths(), [format!("DELETE channels/{leg}")]);
        script.pass(Duration::from_secs(2));
        assert!(script.paths().is_empty());
        script.destroyed(leg.0, 16);
        let said = script.said();
        let by = if refused {
            EndedBy::Network
        } else {
            EndedBy::RingTimeout
        };
        assert_eq!((end_of(&said).by, end_of(&said).answered), (by, false));
    }
}

#[test]
fn one_phone_of_several_that_is_busy_does_not_end_the_ringing() {
    let mut script = Script::new();
    let leg = script.call("Local/600@from-internal/n");
    for phone in ["1.1", "1.2"] {
        script.behind(leg.0, phone, DialStatus::Begun);
    }
    script.event(&Event::HangupRequest {
        channel: "1.1".into(),
        cause: cause(17),
    });
    script.behind(leg.0, "1.1", DialStatus::Failed);
    script.behind(leg.0, "1.2", DialStatus::Ringing);
    // Our ring timeout, kept by the PBX.
    script.destroyed(leg.0, 19);
    let said = script.said();
    assert!(matches!(
        said.last(),
        Some(PbxEvent::LegEnded { end, .. }) if end.by == EndedBy::RingTimeout && end.progressed
    ));
}

#[test]
fn a_hang_up_requested_before_the_first_link_is_executed_or_reported_as_late() {
    let mut script = Script::new();
    let (there, gone) = (LegId(Uuid::now_v7()), AgentLegId(Uuid::now_v7()));
    script.legs.command_unlinked(PbxCommand::HangUp { leg: there });
    script
        .legs
        .command_unlinked(PbxCommand::HangUpAgent { leg: gone });
    let found = Found {
        side: Side::Callee,
        stage: FoundStage::Answered,
        progress: ProgressSeen::Nothing,
        through_dialplan: false,
        in_app: true,
        bridge: None,
        with_others: false,
    };
    script
        .legs
        .adopt(&HashMap::from([(there.0, found)]), false, script.now);
    assert_eq!(script.paths(), [format!("DELETE channels/{there}")]);
    script.pass(Duration::from_secs(2));
    assert!(matches!(
        script.said().as_slice(),
        [PbxEvent::AgentEnded { leg, end }] if *leg == gone && end.by == EndedBy::Vanished
    ));
}

#[test]
fn an_end_that_could_not_be_delivered_is_reported_after_the_gap() {
    let mut script = Script::new();
    let never_sent = script.call("PJSIP/102@a");
    let asks: Vec<_> = script.legs.out.asks.drain(..).collect();
    let (over, ringing) = (script.call("PJSIP/100@a").0, script.call("PJSIP/101@a").0);
    for leg in [over, ringing] {
        script.dial(leg, DialStatus::Begun);
        script.dial(leg, DialStatus::Ringing);
    }
    script.dial(over, DialStatus::Failed);
    let busy = Cause {
        q850: Some(17),
        sip: Some(486),
    };
    script.event(&Event::Destroyed {
        channel: over.to_string().into(),
        cause: busy,
        application: None,
    });
    script.asked();
    script.legs.out.asks.extend(asks);
    assert_eq!(
        script.legs.unlinked(script.now),
        2,
        "signs of life are in the snapshot to come"
    );
    let said = script.said();
    let ends: Vec<_> = said
        .iter()
        .filter_map(|event| match event {
            PbxEvent::LegEnded { leg, end } => Some((leg.0, end.by, end.q850)),
            _ => None,
        })
        .collect();
    let expected = [
        (over, EndedBy::Network, Some(17)),
        (never_sent.0, EndedBy::Refused, None),
    ];
    assert_eq!((ends.len(), said.len()), (2, 2));
    assert!(expected.iter().all(|end| ends.contains(end)), "{ends:?}");
}
