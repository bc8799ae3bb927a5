//! What only an Asterisk does: its bridges, and a dialplan that answers for others. Against real Asterisk 22 and 16.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

// The contract suite uses all of these.
#[allow(dead_code)]
#[path = "switch_contract/double.rs"]
mod double;
#[allow(dead_code)]
#[path = "ari/proxy.rs"]
mod proxy;
#[allow(dead_code)]
#[path = "switch_contract/rig.rs"]
mod rig;

use paceline::pbx::ari::{self, AriConfig};
use paceline_core::ids::{AgentLegId, PbxName};
use paceline_core::pbx::{DialString, EndedBy, PbxCommand, PbxEvent};
use paceline_core::verdict;
use paceline_lab::{Asterisk, Audio, Behaviour, Lab, LabOptions, PhoneBehaviour, Version};
use rig::{Driver, Kind, Pbx, Rig, until};
use std::time::Duration;
use uuid::Uuid;

/// `dialplan` is added to `extensions.conf`.
async fn rig_with(version: Version, dialplan: &str) -> Rig {
    let lab = Lab::start_with(&LabOptions {
        version,
        audio: Audio::None,
        agents: 20,
        append: vec![("extensions.conf".to_owned(), dialplan.to_owned())],
        ..LabOptions::default()
    });
    let switch = Pbx::Asterisk(lab.expect("the lab starts"));
    let driver = switch.driver().await;
    Rig { switch, driver }
}

fn asterisk(rig: &Rig) -> &Asterisk {
    match &rig.switch {
        Pbx::Asterisk(lab) => &lab.asterisk,
        Pbx::FreeSwitch(_) | Pbx::Double(_) | Pbx::Sim(_) => panic!("this is an Asterisk"),
    }
}

fn bridges(rig: &Rig) -> String {
    asterisk(rig).ari("GET", "/bridges").expect("ARI answers").body
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_bridge_comes_and_goes_with_the_agent() {
    for kind in [Kind::Asterisk22, Kind::Asterisk16] {
        let mut rig = Rig::start(kind).await;
        let hangs_up = rig.driver.agent(1).await;
        let is_hung_up = rig.driver.agent(2).await;
        for agent in [hangs_up, is_hung_up] {
            assert!(bridges(&rig).contains(&agent.to_string()));
        }
        let leg = rig.call(&Behaviour::Talks.number(1)).await;
        rig.driver.answered(leg).await;
        rig.driver.connect(leg, hangs_up).await;
        rig.switch.phone_hangs_up(1);
        rig.driver.agent_ended(hangs_up).await;
        until("the bridge is gone", || {
            !bridges(&rig).contains(&hangs_up.to_string())
        })
        .await;
        // A driver that placed none of them clears up behind the last one too.
        rig.driver = rig.switch.driver().await;
        rig.driver.tell(PbxCommand::HangUp { leg }).await;
        rig.driver.tell(PbxCommand::HangUpAgent { leg: is_hung_up }).await;
        rig.switch.settled().await;
        until("no bridge is left", || bridges(&rig) == "[]").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_may_end_as_people_write_it_and_one_that_is_none_is_a_lost_link() {
    let rig = Rig::start(Kind::Asterisk22).await;
    let driver = |url: &str| {
        let config = AriConfig {
            name: PbxName::new("pbx"),
            url: url.to_owned(),
            username: asterisk(&rig).user().to_owned(),
            password: asterisk(&rig).password().to_owned().into(),
            app: "another".to_owned(),
            installation: Uuid::nil(),
            authorities: Vec::new(),
        };
        Driver::of(ari::spawn(config))
    };
    let mut none = driver("127.0.0.1");
    none.hears(PbxEvent::LinkLost).await;
    let agent = none.call_agent(1).await;
    assert_eq!(none.agent_ended(agent).await.by, EndedBy::Refused);
    let mut whole = driver(&format!("{}/ari/", asterisk(&rig).ari_url()));
    whole.resynchronised().await;
}

/// Routes that answer the caller before or after they dial, which a carrier's operator may have written.
const ANSWERING_ROUTES: &str = "
[after]
exten => _[+0-9].,1,Dial(PJSIP/${EXTEN}@carrier)
 same => n,Answer()
 same => n,Playback(message)
 same => n,Hangup()
[before]
exten => _[+0-9].,1,Answer()
 same => n,Dial(PJSIP/${EXTEN}@carrier)
 same => n,Hangup()
[failover]
exten => _[+0-9].,1,Dial(PJSIP/${EXTEN}@dead,1)
 same => n,Dial(PJSIP/${EXTEN}@carrier)
 same => n,Congestion()
[nowhere]
exten => _[+0-9].,1,Dial(PJSIP/${EXTEN}@no-such-trunk)
 same => n,Answer()
 same => n,Playback(message)
 same => n,Hangup()
";

async fn only_the_callee_can_answer(version: Version) {
    let mut rig = rig_with(version, ANSWERING_ROUTES).await;
    let mut legs = Vec::new();
    for context in ["after", "before", "failover", "nowhere"] {
        for behaviour in [Behaviour::Busy, Behaviour::NotFound, Behaviour::RingsThenTalks] {
            // Without the `n`, which the driver adds.
            let dial = format!("Local/{}@{context}", behaviour.number(3));
            let leg = rig
                .driver
                .dial(&dial, Duration::from_secs(8), Duration::from_secs(60))
                .await;
            legs.push((context, behaviour, leg));
        }
    }
    // The switch's own ring timeout ends with the dialplan's answer.
    let dial = format!("Local/{}@before", Behaviour::Rings.number(3));
    let unanswered = rig
        .driver
        .dial(&dial, Duration::from_secs(2), Duration::from_secs(60))
        .await;
    let end = rig.driver.ended(unanswered).await;
    assert_eq!((end.by, end.progressed), (EndedBy::RingTimeout, true), "{end:?}");
    for (context, behaviour, leg) in legs {
        let answers = behaviour.answers() && context != "nowhere";
        if answers {
            rig.driver.answered(leg).await;
            rig.driver.tell(PbxCommand::HangUp { leg }).await;
        }
        let end = rig.driver.ended(leg).await;
        let context = format!("{behaviour:?} {context} {version:?}: {end:?}");
        assert_eq!(end.answered, answers, "{context}");
        assert!(
            !rig.driver.said.contains(&PbxEvent::Answered { leg }),
            "{context}"
        );
        match (answers, context.contains("nowhere")) {
            (true, _) => assert_eq!(end.by, EndedBy::Us, "{context}"),
            (false, true) => assert_eq!(end.by, EndedBy::Network, "{context}"),
            (false, false) => assert_eq!(
                verdict::unanswered(&end).as_str(),
                behaviour.expected_outcome(),
                "{context}"
            ),
        }
    }
    rig.switch.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialplan_that_answers_is_not_taken_for_the_callee_on_asterisk_22() {
    only_the_callee_can_answer(Version::V22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialplan_that_answers_is_not_taken_for_the_callee_on_asterisk_16() {
    only_the_callee_can_answer(Version::V16).await;
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
        let mut rig = rig_with(version, EXTENSIONS).await;
        rig.switch.phone(2, PhoneBehaviour::Rings);
        let mut legs = Vec::new();
        for extension in 1..=2 {
            let leg = AgentLegId(Uuid::now_v7());
            rig.driver
                .tell(PbxCommand::CallAgent {
                    leg,
                    dial: DialString::new(&format!("Local/{extension}@office/n")).unwrap(),
                    caller_id: None,
                    ring_timeout: Duration::from_secs(5),
                    duration_max: Duration::from_secs(600),
                })
                .await;
            legs.push(leg);
        }
        let (answers, voicemail) = (legs[0], legs[1]);
        rig.driver.hears(PbxEvent::AgentReady { leg: answers }).await;
        let leg = rig.call(&Behaviour::Talks.number(1)).await;
        rig.driver.answered(leg).await;
        rig.driver.connect(leg, answers).await;

        // The voicemail box took the other.
        until("the box has answered", || {
            let reply = asterisk(&rig).ari("GET", &format!("/channels/{voicemail}"));
            reply.expect("ARI answers").body.contains(r#""state":"Up""#)
        })
        .await;
        rig.driver.tell(PbxCommand::HangUpAgent { leg: voicemail }).await;
        let end = rig.driver.agent_ended(voicemail).await;
        assert!(!end.answered, "{end:?}");
        assert!(!rig.driver.said.contains(&PbxEvent::AgentReady { leg: voicemail }));
        rig.driver.tell(PbxCommand::HangUp { leg }).await;
        rig.driver.tell(PbxCommand::HangUpAgent { leg: answers }).await;
        rig.switch.settled().await;
    }
}
