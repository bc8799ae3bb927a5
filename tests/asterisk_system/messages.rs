//! Abandoned callees on real PBXes: what they hear, and what Paceline reports of them.

use crate::rig::{Site, System};
use paceline_lab::{
    Audio, Behaviour, CallEnd, FreeSwitch, FreeSwitchLab, FreeSwitchOptions, Lab, LabOptions, Version,
};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// As [`an_abandoned_callee_hears_the_message`], but the file of the message is removed after the campaign was
/// activated: no callee hears it, and Paceline reports that.
async fn a_message_that_disappears_is_reported<S: Site>(
    system: System<S>,
    pbx: &str,
    dial: &str,
    message: &Path,
) {
    let campaign = system
        .campaign_over("message", &[(pbx, dial)], three_at_once())
        .await;
    std::fs::remove_file(message).expect("the message is there");
    let ids = system.agents_at(pbx, campaign, 1, 1).await;
    system.wait_for_agents(campaign, 1).await;
    let hang_up = system.agents_hang_up_after(campaign, Duration::from_secs(3));
    let numbers: Vec<String> = (0..3).map(|n| Behaviour::Talks.number(n)).collect();
    let task = system.task(campaign, "message", &numbers, 0).await;
    system.wait_until_completed(task, Duration::from_secs(60)).await;
    hang_up.abort();
    let live = system.api.get(&format!("/campaigns/{campaign}/live")).await;
    assert_eq!(live["warnings"][0]["warning"], "message_failed", "{live}");
    let metrics = system.metrics().await;
    assert!(
        metrics.contains("paceline_abandon_messages_total{campaign=\"message\",outcome=\"failed\"} 2"),
        "{metrics}"
    );
    let log = system.log();
    let told = log.matches("could not play the abandon message of campaign `message`");
    assert_eq!(
        told.count(),
        1,
        "of the second there is nothing new to tell: {log}"
    );
    system.finish(&ids).await;
}

fn three_at_once() -> Value {
    let rule = json!({
        "name": "test", "ratio_max": 1.0, "window": "campaign", "clock": "connected", "limit_ms": 2000,
        "early_hangup": "ignored", "ring_ms_min": 0, "message": true,
    });
    json!({
        "pacing": {"mode": "power", "power_ratio": 3.0, "abandon_rules": [rule]},
        "answering": {"abandon_message": "sound:message"},
    })
}

/// Three callees answer at once. There is one agent, who is free again while two of them hear the message.
async fn an_abandoned_callee_hears_the_message<S: Site>(system: System<S>, pbx: &str, dial: &str) {
    let settings = three_at_once();
    let campaign = system.campaign_over("message", &[(pbx, dial)], settings).await;
    let ids = system.agents_at(pbx, campaign, 1, 1).await;
    system.wait_for_agents(campaign, 1).await;
    let hang_up = system.agents_hang_up_after(campaign, Duration::from_secs(3));
    let numbers: Vec<String> = (0..3).map(|n| Behaviour::Talks.number(n)).collect();
    let task = system.task(campaign, "message", &numbers, 0).await;
    system.wait_until_completed(task, Duration::from_secs(60)).await;
    hang_up.abort();

    let attempts = system.api.all(&format!("/attempts?task_id={task}")).await;
    let mut abandoned = 0;
    for call in system.lab.calls() {
        let told = attempts.iter().find(|a| a["number"] == call.number.as_str());
        let told = told.expect("every call is an attempt");
        let context = format!("{call:?} {told}");
        assert!(
            call.answered && call.end == Some(CallEnd::CallerHungUp),
            "{context}"
        );
        let Some((from, until)) = call.heard_message else {
            assert!(call.heard_agent.is_some(), "{context}");
            assert_eq!(
                (&told["outcome"], &told["message"]),
                (&json!("answered"), &json!(null)),
                "{context}"
            );
            continue;
        };
        abandoned += 1;
        // Just after the limit, and so within two seconds of the greeting's end, however short the greeting was.
        assert!((1_900..2_600).contains(&from.as_millis()), "{context}");
        assert!(
            until - from > Duration::from_millis(2_800),
            "all 3 s of it: {context}"
        );
        assert!(call.heard_agent.is_none(), "{context}");
        assert_eq!(
            (&told["outcome"], &told["message"]),
            (&json!("abandoned"), &json!("whole")),
            "{context}"
        );
        assert!(
            told["message_at"].as_str() > told["answered_at"].as_str(),
            "{context}"
        );
        assert!(told["connected_at"].is_null(), "{context}");
        assert!(
            told["abandoned_at"].as_str() > told["answered_at"].as_str(),
            "{context}"
        );
        println!("the message began {} ms after the answer", from.as_millis());
    }
    assert_eq!((abandoned, attempts.len()), (2, 3));
    let metrics = system.metrics().await;
    assert!(
        metrics.contains("paceline_abandon_messages_total{campaign=\"message\",outcome=\"whole\"} 2"),
        "{metrics}"
    );
    system.finish(&ids).await;
}

async fn on_asterisk(version: Version) {
    let options = LabOptions {
        version,
        audio: Audio::Tones,
        agents: 1,
        ..LabOptions::default()
    };
    let lab = Lab::start_with(&options).expect("the lab starts");
    let system = System::start_at(lab, None).await;
    an_abandoned_callee_hears_the_message(system, "main", "PJSIP/{number}@carrier").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_callee_hears_the_message_on_asterisk_22() {
    on_asterisk(Version::V22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_callee_hears_the_message_on_asterisk_16() {
    on_asterisk(Version::V16).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_callee_hears_the_message_on_freeswitch() {
    if FreeSwitch::program_or_skip("the message to abandoned callees on FreeSWITCH").is_none() {
        return;
    }
    let options = FreeSwitchOptions {
        agents: 1,
        ..FreeSwitchOptions::default()
    };
    let lab = FreeSwitchLab::start(Audio::Tones, options).expect("the lab starts");
    let system = System::start_at(lab, None).await;
    an_abandoned_callee_hears_the_message(system, "other", "sofia/gateway/carrier/{number}").await;
}

async fn without_its_message_on_asterisk(version: Version) {
    let options = LabOptions {
        version,
        audio: Audio::Tones,
        agents: 1,
        ..LabOptions::default()
    };
    let lab = Lab::start_with(&options).expect("the lab starts");
    let message = lab.asterisk.sounds_dir().join("message.ulaw");
    let system = System::start_at(lab, None).await;
    a_message_that_disappears_is_reported(system, "main", "PJSIP/{number}@carrier", &message).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_disappears_is_reported_on_asterisk_22() {
    without_its_message_on_asterisk(Version::V22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_disappears_is_reported_on_asterisk_16() {
    without_its_message_on_asterisk(Version::V16).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_disappears_is_reported_on_freeswitch() {
    if FreeSwitch::program_or_skip("a message that goes away on FreeSWITCH").is_none() {
        return;
    }
    let options = FreeSwitchOptions {
        agents: 1,
        ..FreeSwitchOptions::default()
    };
    let lab = FreeSwitchLab::start(Audio::Tones, options).expect("the lab starts");
    let message = lab.freeswitch.sounds_dir().join("message.wav");
    let system = System::start_at(lab, None).await;
    a_message_that_disappears_is_reported(system, "other", "sofia/gateway/carrier/{number}", &message).await;
}
