//! Behaviour that only an Asterisk has: its bridges, and a dialplan that answers before the callee. On real Asterisk 22
//! and 16.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

// The contract suite uses the whole file.
#[allow(dead_code)]
#[path = "pbx_contract/double.rs"]
mod double;
#[allow(dead_code)]
#[path = "ari/proxy.rs"]
mod proxy;
#[allow(dead_code)]
#[path = "pbx_contract/rig.rs"]
mod rig;

use paceline_core::ids::{AgentLegId, PbxName};
use paceline_core::pbx::{Departure, DialString, EndedBy, LegTrouble, PbxCommand, PbxEvent};
use paceline_core::verdict;
use paceline_lab::{Asterisk, Audio, Behaviour, Lab, LabOptions, PhoneBehaviour, Version};
use paceline_pbx::ari::{self, AriConfig};
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
    let pbx = Pbx::Asterisk(lab.expect("the lab starts"));
    let driver = pbx.driver().await;
    Rig { pbx, driver }
}

fn asterisk(rig: &Rig) -> &Asterisk {
    match &rig.pbx {
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
        rig.pbx.phone_hangs_up(1);
        rig.driver.agent_ended(hangs_up).await;
        until("the bridge is gone", || {
            !bridges(&rig).contains(&hangs_up.to_string())
        })
        .await;
        // A driver that placed no leg also removes the bridge after the last one.
        rig = rig.restarted();
        rig.driver.resynchronised().await;
        rig.driver.tell(PbxCommand::HangUp { leg }).await;
        rig.driver.tell(PbxCommand::HangUpAgent { leg: is_hung_up }).await;
        rig.pbx.settled().await;
        until("no bridge is left", || bridges(&rig) == "[]").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_may_end_with_ari_and_a_wrong_address_is_a_lost_link() {
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

/// Routes that answer the caller before or after they dial. A carrier's operator may have written them.
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
    // The PBX's own ring timeout ends with the dialplan's answer.
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
    rig.pbx.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialplan_that_answers_is_not_taken_for_the_callee_on_asterisk_22() {
    only_the_callee_can_answer(Version::V22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialplan_that_answers_is_not_taken_for_the_callee_on_asterisk_16() {
    only_the_callee_can_answer(Version::V16).await;
}

/// Extensions with voicemail, as an office PBX has them.
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
        rig.pbx.phone(2, PhoneBehaviour::Rings);
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
                    report_keys: false,
                })
                .await;
            legs.push(leg);
        }
        let (answers, voicemail) = (legs[0], legs[1]);
        rig.driver.hears(PbxEvent::AgentReady { leg: answers }).await;
        let leg = rig.call(&Behaviour::Talks.number(1)).await;
        rig.driver.answered(leg).await;
        rig.driver.connect(leg, answers).await;

        // The voicemail answered the other call.
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
        rig.pbx.settled().await;
    }
}

/// The name of the leg's channel on Asterisk.
fn channel_name(rig: &Rig, leg: Uuid) -> String {
    let reply = asterisk(rig).ari("GET", &format!("/channels/{leg}"));
    let body = reply.expect("ARI answers").body;
    let (_, rest) = body.split_once(r#""name":""#).expect("it has a name");
    rest.split('"').next().expect("it ends").to_owned()
}

const WAITING_ROOM: &str = "
[waiting-room]
exten => s,1,Wait(60)
";

async fn an_operator_moves_legs(version: Version) {
    let mut rig = rig_with(version, WAITING_ROOM).await;
    let redirect = |rig: &Rig, leg: Uuid| {
        let name = channel_name(rig, leg);
        asterisk(rig)
            .cli(&format!("channel redirect {name} waiting-room,s,1"))
            .expect("the command line answers");
    };
    let (idle, talks) = (rig.driver.agent(1).await, rig.driver.agent(2).await);
    let leg = rig.call(&Behaviour::Talks.number(1)).await;
    rig.driver.answered(leg).await;
    rig.driver.connect(leg, talks).await;
    for agent_leg in [idle, talks] {
        redirect(&rig, agent_leg.0);
        rig.driver
            .hears(PbxEvent::AgentLeft {
                leg: agent_leg,
                how: Departure::Moved,
            })
            .await;
        rig.driver.tell(PbxCommand::HangUpAgent { leg: agent_leg }).await;
        assert_eq!(rig.driver.agent_ended(agent_leg).await.by, EndedBy::TakenAway);
        let channels = asterisk(&rig).channels().expect("ARI answers");
        assert!(
            channels.contains(&agent_leg.to_string()),
            "what was moved is the operator's"
        );
    }
    // The callee without an agent is connected to another agent, and then an operator moves the callee.
    let another = rig.driver.agent(3).await;
    rig.driver.connect(leg, another).await;
    redirect(&rig, leg.0);
    rig.driver.hears(PbxEvent::Transferred { leg }).await;
    // Its agent can take the next callee.
    let next = rig.call(&Behaviour::TalksBriefly.number(2)).await;
    rig.driver.answered(next).await;
    rig.driver.connect(next, another).await;
    rig.driver.ended(next).await;
    for channel in asterisk(&rig).channels().expect("ARI answers") {
        asterisk(&rig)
            .ari("DELETE", &format!("/channels/{channel}"))
            .expect("ARI answers");
    }
    rig.driver.ended(leg).await;
    rig.driver.agent_ended(another).await;
    rig.pbx.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leg_that_an_operator_moves_is_neither_agent_nor_callee_of_ours_on_asterisk_22() {
    an_operator_moves_legs(Version::V22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leg_that_an_operator_moves_is_neither_agent_nor_callee_of_ours_on_asterisk_16() {
    an_operator_moves_legs(Version::V16).await;
}

async fn a_colleague_picks_up(kind: Kind) {
    let mut rig = Rig::start(kind).await;
    // After a call the phones know the PBX.
    rig.driver.agent(3).await;
    rig.pbx.phone(1, PhoneBehaviour::Rings);
    let leg = rig.driver.call_agent(1).await;
    rig.driver.hears(PbxEvent::AgentRinging { leg }).await;
    rig.pbx.phones().dial(2, "*8").expect("the PBX is there");
    let how = Departure::PickedUp;
    rig.driver.hears(PbxEvent::AgentLeft { leg, how }).await;
    rig.driver.agent_ended(leg).await;
    until("the colleague is let go", || !rig.pbx.is_on_call(2)).await;
    assert!(!rig.driver.said.contains(&PbxEvent::AgentReady { leg }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_an_agent_that_a_colleague_picks_up_is_no_agent_on_asterisk_22() {
    a_colleague_picks_up(Kind::Asterisk22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_an_agent_that_a_colleague_picks_up_is_no_agent_on_asterisk_16() {
    a_colleague_picks_up(Kind::Asterisk16).await;
}

async fn phones_without_power_or_voice(version: Version) {
    let lab = Lab::start_with(&LabOptions {
        version,
        audio: Audio::Tones,
        agents: 20,
        qualify_s: 2,
        ..LabOptions::default()
    });
    let pbx = Pbx::Asterisk(lab.expect("the lab starts"));
    let driver = pbx.driver().await;
    let mut rig = Rig { pbx, driver };
    let online = |rig: &Rig| {
        let reply = asterisk(rig).ari("GET", "/endpoints/PJSIP/agent-1");
        reply.expect("ARI answers").body.contains("online")
    };
    until("the phone was asked", || online(&rig)).await;
    let (dead, quiet) = (rig.driver.agent(1).await, rig.driver.agent(2).await);
    // Half a minute of audio shows that this phone always sends packets.
    let shown = tokio::time::Instant::now() + Duration::from_secs(26);
    let trouble_event = |leg, trouble| PbxEvent::AgentTrouble { leg, trouble };
    rig.pbx.phones().power_off(1);
    rig.driver
        .hears(trouble_event(dead, Some(LegTrouble::Unreachable)))
        .await;
    rig.driver.tell(PbxCommand::HangUpAgent { leg: dead }).await;
    rig.driver.agent_ended(dead).await;
    // A phone that is off cannot be called. A phone that is on again can.
    let away = rig.driver.call_agent(1).await;
    assert_eq!(rig.driver.agent_ended(away).await.by, EndedBy::Refused);
    rig.pbx.phones().power_on(1);
    until("the phone is asked again", || online(&rig)).await;
    rig.driver.agent(1).await;
    tokio::time::sleep_until(shown).await;
    rig.pbx.phones().mute(2, true).expect("it is on a call");
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    let silent = trouble_event(quiet, Some(LegTrouble::NoAudio));
    while !rig.driver.said.contains(&silent) {
        assert!(std::time::Instant::now() < deadline, "{:?}", rig.driver.said);
        if let Ok(Some(stamped)) =
            tokio::time::timeout(Duration::from_millis(200), rig.driver.handle.events.recv()).await
        {
            rig.driver.said.push(stamped.event);
        }
    }
    rig.pbx.phones().mute(2, false).expect("it is on a call");
    rig.driver.hears(trouble_event(quiet, None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_without_power_is_found_by_its_endpoint_and_one_without_audio_by_its_packets_on_asterisk_22()
{
    phones_without_power_or_voice(Version::V22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_without_power_is_found_by_its_endpoint_and_one_without_audio_by_its_packets_on_asterisk_16()
{
    phones_without_power_or_voice(Version::V16).await;
}

/// The phone stops sending audio after a restarted driver has taken its leg over.
async fn a_phone_falls_silent_after_a_restart(version: Version) {
    let lab = Lab::start_with(&LabOptions {
        version,
        audio: Audio::Tones,
        agents: 20,
        ..LabOptions::default()
    });
    let pbx = Pbx::Asterisk(lab.expect("the lab starts"));
    let driver = pbx.driver().await;
    let mut rig = Rig { pbx, driver };
    let leg = rig.driver.agent(1).await;
    let path = format!("/channels/{leg}/variable?variable=PACELINE_STEADY");
    let steady = |rig: &Rig| {
        asterisk(rig)
            .ari("GET", &path)
            .expect("ARI answers")
            .body
            .contains("\"1\"")
    };
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !steady(&rig) {
        assert!(std::time::Instant::now() < deadline, "the phone sends steadily");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    rig = rig.restarted();
    let snapshot = rig.driver.resynchronised().await;
    assert!(snapshot.holds(leg), "{snapshot:?}");
    rig.pbx.phones().mute(1, true).expect("it is on a call");
    let silent = PbxEvent::AgentTrouble {
        leg,
        trouble: Some(LegTrouble::NoAudio),
    };
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !rig.driver.said.contains(&silent) {
        assert!(std::time::Instant::now() < deadline, "{:?}", rig.driver.said);
        if let Ok(Some(stamped)) =
            tokio::time::timeout(Duration::from_millis(200), rig.driver.handle.events.recv()).await
        {
            rig.driver.said.push(stamped.event);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_falls_silent_after_a_restart_is_found_on_asterisk_22() {
    a_phone_falls_silent_after_a_restart(Version::V22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_falls_silent_after_a_restart_is_found_on_asterisk_16() {
    a_phone_falls_silent_after_a_restart(Version::V16).await;
}

/// Another client takes over the application for a moment, while an agent's leg is up.
async fn another_client_takes_the_application(kind: Kind) {
    let mut rig = Rig::start(kind).await;
    let leg = rig.driver.agent(1).await;
    let asterisk = asterisk(&rig);
    let url = format!(
        "ws://127.0.0.1:{}/ari/events?app={}&api_key={}:{}",
        asterisk.ports().http,
        AriConfig::APP,
        asterisk.user(),
        asterisk.password()
    );
    let (client, _) = tokio_tungstenite::connect_async(url).await.expect("it is let in");
    rig.driver.hears(PbxEvent::LinkLost).await;
    drop(client);
    // The leg keeps the application active on the PBX. The first wait is 30 s.
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    let snapshot = loop {
        assert!(std::time::Instant::now() < deadline, "it stays out");
        let next = tokio::time::timeout(Duration::from_millis(200), rig.driver.handle.events.recv());
        if let Ok(Some(stamped)) = next.await
            && let PbxEvent::Resynchronised(snapshot) = stamped.event
        {
            break snapshot;
        }
    };
    assert!(snapshot.holds(leg), "{snapshot:?}");
    rig.driver.tell(PbxCommand::HangUpAgent { leg }).await;
    rig.driver.agent_ended(leg).await;
    rig.pbx.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_comes_back_once_another_client_has_gone_on_asterisk_22() {
    another_client_takes_the_application(Kind::Asterisk22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_comes_back_once_another_client_has_gone_on_asterisk_16() {
    another_client_takes_the_application(Kind::Asterisk16).await;
}

async fn a_leg_ended_for_want_of_audio(version: Version) {
    let lab = Lab::start_with(&LabOptions {
        version,
        audio: Audio::None,
        agents: 20,
        rtp_timeout_s: 2,
        ..LabOptions::default()
    });
    let pbx = Pbx::Asterisk(lab.expect("the lab starts"));
    let mut driver = pbx.driver().await;
    let leg = driver.agent(1).await;
    let end = driver.agent_ended(leg).await;
    assert_eq!(
        (end.by, end.q850, end.answered),
        (EndedBy::Network, Some(44), true)
    );
    pbx.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leg_that_the_pbx_ends_for_missing_audio_has_that_cause_on_asterisk_22() {
    a_leg_ended_for_want_of_audio(Version::V22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leg_that_the_pbx_ends_for_missing_audio_has_that_cause_on_asterisk_16() {
    a_leg_ended_for_want_of_audio(Version::V16).await;
}
