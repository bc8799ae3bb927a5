//! Agents held on the line, and callees put through to them.

use crate::bench::{Bench, PATIENCE, Way, lab_with, until};
use paceline_core::ids::{AgentLegId, LegId};
use paceline_core::pbx::{ConnectFault, DialString, EndedBy, PbxCommand, PbxEvent};
use paceline_lab::{Audio, Behaviour, PhoneBehaviour, Version};
use std::time::Duration;
use uuid::Uuid;

fn bridges(bench: &Bench) -> String {
    bench
        .lab
        .asterisk
        .ari("GET", "/bridges")
        .expect("ARI answers")
        .body
}

async fn fault(bench: &mut Bench, leg: LegId, agent_leg: AgentLegId) -> ConnectFault {
    bench.driver.tell(PbxCommand::Connect { leg, agent_leg }).await;
    bench
        .driver
        .wait("ConnectFailed", |event| match event {
            PbxEvent::ConnectFailed {
                leg: callee,
                agent_leg: agent,
                fault,
            } if (*callee, *agent) == (leg, agent_leg) => Some(*fault),
            _ => None,
        })
        .await
}

async fn agents_are_held_and_connected(version: Version) {
    let mut bench = Bench::start(version).await;
    let agent_leg = bench.driver.agent(1).await;
    assert!(bridges(&bench).contains(&agent_leg.to_string()));

    // The callee leaves: the agent stays for the next one.
    for way in [Way::Direct, Way::Dialplan] {
        let leg = bench.driver.call(&Behaviour::TalksBriefly.number(1), way).await;
        bench.driver.answered(leg).await;
        bench.driver.connect(leg, agent_leg).await;
        let end = bench.driver.ended(leg).await;
        assert_eq!((end.by, end.answered), (EndedBy::Network, true), "{end:?}");
        assert!(bench.lab.phones.is_on_call(1));
    }

    // We end the callee: the same.
    let leg = bench.driver.call(&Behaviour::Talks.number(1), Way::Direct).await;
    bench.driver.answered(leg).await;
    bench.driver.connect(leg, agent_leg).await;
    bench.driver.tell(PbxCommand::HangUp { leg }).await;
    assert_eq!(bench.driver.ended(leg).await.by, EndedBy::Us);
    assert!(bench.lab.phones.is_on_call(1));

    // The agent hangs up: the bridge goes, the callee stays until told otherwise.
    let leg = bench.driver.call(&Behaviour::Talks.number(2), Way::Direct).await;
    bench.driver.answered(leg).await;
    bench.driver.connect(leg, agent_leg).await;
    bench.lab.phones.hang_up(1).expect("the phone hangs up");
    assert_eq!(bench.driver.agent_ended(agent_leg).await.by, EndedBy::Network);
    until("the bridge is gone", || bridges(&bench) == "[]").await;
    assert_eq!(fault(&mut bench, leg, agent_leg).await, ConnectFault::AgentGone);
    bench.driver.tell(PbxCommand::HangUp { leg }).await;
    assert_eq!(bench.driver.ended(leg).await.by, EndedBy::Us);

    // We end an agent's leg.
    let agent_leg = bench.driver.agent(2).await;
    assert_eq!(fault(&mut bench, leg, agent_leg).await, ConnectFault::CalleeGone);
    bench
        .driver
        .tell(PbxCommand::HangUpAgent { leg: agent_leg })
        .await;
    assert_eq!(bench.driver.agent_ended(agent_leg).await.by, EndedBy::Us);
    bench.lab.settled(PATIENCE).expect("nothing is left");
    until("no bridge is left", || bridges(&bench) == "[]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_held_between_calls_on_asterisk_22() {
    agents_are_held_and_connected(Version::V22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_held_between_calls_on_asterisk_16() {
    agents_are_held_and_connected(Version::V16).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_who_does_not_answer_and_a_hang_up_of_nothing_are_ends_too() {
    let mut bench = Bench::start(Version::V22).await;
    bench.lab.phones.set(3, PhoneBehaviour::Busy);
    bench.lab.phones.set(4, PhoneBehaviour::Rings);
    let busy = bench.driver.call_agent(3).await;
    let ringing = bench.driver.call_agent(4).await;
    // Nobody placed this one.
    let nothing = LegId(Uuid::now_v7());
    bench.driver.tell(PbxCommand::HangUp { leg: nothing }).await;
    let unknown = bench
        .driver
        .dial("PJSIP/nobody", Duration::from_secs(3), Duration::from_secs(60))
        .await;

    assert_eq!(bench.driver.agent_ended(busy).await.q850, Some(17));
    bench
        .driver
        .wait("AgentRinging", |event| {
            (*event == PbxEvent::AgentRinging { leg: ringing }).then_some(())
        })
        .await;
    let end = bench.driver.agent_ended(ringing).await;
    assert_eq!(
        (end.by, end.progressed, end.answered),
        (EndedBy::RingTimeout, true, false)
    );
    assert_eq!(bench.driver.ended(nothing).await.by, EndedBy::Vanished);
    let end = bench.driver.ended(unknown).await;
    assert_eq!(
        (end.by, end.detail.as_str()),
        (EndedBy::Refused, "Allocation failed")
    );
}

/// Extensions with voicemail behind them, as an office PBX has them.
const EXTENSIONS: &str = "
[office]
exten => _X,1,Dial(PJSIP/agent-${EXTEN},1)
 same => n,Answer()
 same => n,Playback(message)
 same => n,Wait(30)
";

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_reached_through_the_dialplan_is_ready_only_if_the_phone_answers() {
    for version in [Version::V22, Version::V16] {
        let mut bench = Bench::on(lab_with(version, Audio::None, EXTENSIONS)).await;
        bench.lab.phones.set(2, PhoneBehaviour::Rings);
        let mut legs = Vec::new();
        for extension in 1..=2 {
            let leg = AgentLegId(Uuid::now_v7());
            bench
                .driver
                .tell(PbxCommand::CallAgent {
                    leg,
                    dial: DialString(format!("Local/{extension}@office/n")),
                    caller_id: None,
                    ring_timeout: Duration::from_secs(5),
                    duration_max: Duration::from_secs(600),
                })
                .await;
            legs.push(leg);
        }
        let (answers, voicemail) = (legs[0], legs[1]);
        bench.driver.agent_ready(answers).await;
        let leg = bench.driver.call(&Behaviour::Talks.number(1), Way::Direct).await;
        bench.driver.answered(leg).await;
        bench.driver.connect(leg, answers).await;

        // The voicemail box took the other.
        until("the box has answered", || {
            let reply = bench.lab.asterisk.ari("GET", &format!("/channels/{voicemail}"));
            reply.expect("ARI answers").body.contains(r#""state":"Up""#)
        })
        .await;
        bench
            .driver
            .tell(PbxCommand::HangUpAgent { leg: voicemail })
            .await;
        let end = bench.driver.agent_ended(voicemail).await;
        assert!(!end.answered, "{end:?}");
        assert!(
            !bench
                .driver
                .said
                .contains(&PbxEvent::AgentReady { leg: voicemail })
        );
        bench.driver.tell(PbxCommand::HangUp { leg }).await;
        bench.driver.tell(PbxCommand::HangUpAgent { leg: answers }).await;
        bench.lab.settled(PATIENCE).expect("nothing is left");
    }
}
