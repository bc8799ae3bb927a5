//! Conversations and what follows them: recordings, an agent's hang-up, a lost phone, retries, a cancelled task.

use crate::rig::{System, wait_for};
use paceline_lab::{Behaviour, LabOptions, PhoneBehaviour, Version};
use serde_json::json;
use std::time::Duration;

fn some(agents: u32) -> LabOptions {
    LabOptions {
        agents,
        ..LabOptions::default()
    }
}

async fn recorded(version: Version) {
    let system = System::start(&LabOptions { version, ..some(2) }).await;
    let recording = json!({"recording": {"enabled": true, "announcement": "sound:beep"}});
    let campaign = system
        .campaign("recorded", "PJSIP/{number}@carrier", recording)
        .await;
    let ids = system.agents(campaign, 1, 2).await;
    let numbers: Vec<String> = (0..4).map(|n| Behaviour::TalksBriefly.number(n)).collect();
    let task = system.task(campaign, "recorded", &numbers, 0).await;
    system.wait_until_completed(task, Duration::from_secs(60)).await;
    let recordings = wait_for(
        "the recordings to be complete",
        Duration::from_secs(10),
        async || {
            let all = system.api.all("/recordings").await;
            all.iter().all(|r| r["state"] == "complete").then_some(all)
        },
    )
    .await;
    assert_eq!(recordings.len(), 4);
    for recording in recordings {
        let name = recording["name"].as_str().expect("a name");
        let file = system.lab.asterisk.recordings_dir().join(format!("{name}.wav"));
        let bytes = std::fs::metadata(&file).expect("a file").len();
        // The conversation lasts 2.5 s, less a beep, at 16,000 bytes a second.
        assert!((20_000..60_000).contains(&bytes), "{bytes} bytes");
        assert!(
            recording["duration_ms"].as_i64().is_some_and(|ms| ms > 1000),
            "{recording}"
        );
    }
    system.finish(&ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_are_recorded_after_the_announcement_on_asterisk_22() {
    recorded(Version::V22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_are_recorded_after_the_announcement_on_asterisk_16() {
    recorded(Version::V16).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_is_hung_up_is_called_again_and_one_that_declines_pauses_its_agent() {
    let system = System::start(&some(2)).await;
    let campaign = system
        .campaign("phones", "PJSIP/{number}@carrier", json!({}))
        .await;
    system.lab.phones.set(2, PhoneBehaviour::Declines);
    let ids = system.agents(campaign, 1, 2).await;
    let state_of = async |id: i64| {
        let live = system.api.get(&format!("/campaigns/{campaign}/live")).await;
        let found = live["agents"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|a| a["agent_id"] == id)
            .cloned();
        found
            .map(|a| a["state"].as_str().unwrap_or_default().to_owned())
            .unwrap_or_default()
    };
    wait_for("the first to be available", Duration::from_secs(10), async || {
        (state_of(ids[0]).await == "available").then_some(())
    })
    .await;
    let calls_to = |agent| {
        system
            .lab
            .phones
            .calls()
            .iter()
            .filter(|c| c.agent == agent)
            .count()
    };
    wait_for("three calls to the second", Duration::from_secs(20), async || {
        (calls_to(2) == 3).then_some(())
    })
    .await;
    wait_for("the second to be paused", Duration::from_secs(10), async || {
        let agent = system.api.get(&format!("/agents/{}", ids[1])).await;
        (agent["wants"] == "pause" && state_of(ids[1]).await == "paused").then_some(())
    })
    .await;
    system.lab.phones.hang_up(1).expect("it was up");
    wait_for(
        "the first to be called again",
        Duration::from_secs(10),
        async || (system.lab.phones.calls().iter().filter(|c| c.agent == 1).count() == 2).then_some(()),
    )
    .await;
    wait_for(
        "the first to be available again",
        Duration::from_secs(10),
        async || (state_of(ids[0]).await == "available").then_some(()),
    )
    .await;
    system.finish(&ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_contact_waits_for_its_retry_and_a_cancelled_task_cancels_its_ringing_calls() {
    let system = System::start(&some(2)).await;
    let campaign = system
        .campaign(
            "retries",
            "PJSIP/{number}@carrier",
            json!({"dialing": {"ring_timeout_ms": 60000}}),
        )
        .await;
    let ids = system.agents(campaign, 1, 2).await;
    let busy = vec![Behaviour::Busy.number(0)];
    let task = system.task(campaign, "busy", &busy, 1).await;
    let contact = wait_for("the attempt to end", Duration::from_secs(20), async || {
        let detail = system.api.get(&format!("/tasks/{task}")).await;
        (detail["progress"]["last_outcomes"]["busy"] == 1).then_some(detail)
    })
    .await;
    assert_eq!(
        (&contact["state"], &contact["progress"]["ready"]),
        (&json!("running"), &json!(1))
    );
    let due = contact["progress"]["next_due_at"]
        .as_str()
        .expect("a time")
        .parse::<jiff::Timestamp>()
        .expect("a time");
    let minutes = due.duration_since(jiff::Timestamp::now()).as_secs() / 60;
    assert!((28..=30).contains(&minutes), "due in {minutes} minutes");

    let ringing = vec![Behaviour::Rings.number(0), Behaviour::Rings.number(1)];
    let second = system.task(campaign, "ringing", &ringing, 0).await;
    wait_for("both to ring", Duration::from_secs(20), async || {
        let live = system.api.get(&format!("/campaigns/{campaign}/live")).await;
        (live["attempts"]["ringing"] == 2).then_some(())
    })
    .await;
    system
        .api
        .post(&format!("/tasks/{second}/cancel"), json!({}))
        .await;
    wait_for("both to be taken back", Duration::from_secs(10), async || {
        let attempts = system.attempts(second).await;
        let cancelled = attempts
            .values()
            .flatten()
            .filter(|a| a.outcome.as_deref() == Some("cancelled"));
        (cancelled.count() == 2).then_some(())
    })
    .await;
    system.finish(&ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_on_the_do_not_call_list_is_never_dialed_and_the_reason_is_stored() {
    let system = System::start(&some(1)).await;
    let campaign = system.campaign("dnc", "PJSIP/{number}@carrier", json!({})).await;
    let (listed, free) = (Behaviour::Busy.number(0), Behaviour::Busy.number(1));
    system
        .api
        .post("/dnc", json!({"numbers": [listed], "reason": "asked us to"}))
        .await;
    let ids = system.agents(campaign, 1, 1).await;
    let task = system
        .task(campaign, "dnc", &[listed.clone(), free.clone()], 0)
        .await;
    system.wait_until_completed(task, Duration::from_secs(30)).await;
    let dialed: Vec<String> = system.lab.carrier.calls().into_iter().map(|c| c.number).collect();
    assert_eq!(dialed, [free]);
    let detail = system.api.get(&format!("/tasks/{task}")).await;
    assert_eq!(
        detail["progress"]["last_outcomes"],
        json!({"blocked": 1, "busy": 1})
    );
    system.finish(&ids).await;
}
