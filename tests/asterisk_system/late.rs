//! Callees answer while Paceline stands still: they have waited since they answered, not since we read of it.

use crate::breakable::asterisk;
use crate::rig::{System, wait_for};
use paceline_lab::{Behaviour, Version};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

/// How long Paceline stands still, in seconds; far beyond the limit of 2 s.
const STOOD_STILL_S: u64 = 8;

#[tokio::test(flavor = "multi_thread")]
async fn who_answers_a_frozen_paceline_is_abandoned_and_booked_so_on_asterisk_22() {
    callees_answer_a_frozen_paceline(Version::V22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_answers_a_frozen_paceline_is_abandoned_and_booked_so_on_asterisk_16() {
    callees_answer_a_frozen_paceline(Version::V16).await;
}

async fn callees_answer_a_frozen_paceline(version: Version) {
    let system = System::start_at(asterisk(version, 4), None).await;
    let campaign = system
        .campaign("frozen", "PJSIP/{number}@carrier", json!({}))
        .await;
    let ids = system.agents(campaign, 1, 4).await;
    system.wait_for_agents(campaign, 4).await;
    let numbers: Vec<String> = (0..4).map(|n| Behaviour::RingsThenTalks.number(n)).collect();
    let task = system.task(campaign, "frozen", &numbers, 0).await;
    wait_for("four ringing calls", Duration::from_secs(20), async || {
        let live = system.api.try_get(&format!("/campaigns/{campaign}/live")).await?;
        (live["calls"]["ringing"].as_u64()? == 4).then_some(())
    })
    .await;
    let signal = |name: &str| {
        let sent = Command::new("kill")
            .args([name, &system.pid().to_string()])
            .status()
            .expect("kill runs");
        assert!(sent.success());
    };
    signal("-STOP");
    tokio::time::sleep(Duration::from_secs(STOOD_STILL_S)).await;
    signal("-CONT");
    let attempts = wait_for("the calls' ends", Duration::from_secs(30), async || {
        let attempts = system.api.all(&format!("/attempts?task_id={task}")).await;
        let over = attempts.len() == 4 && attempts.iter().all(|a| a["ended_at"].is_string());
        over.then_some(attempts)
    })
    .await;
    for attempt in &attempts {
        assert_eq!(attempt["outcome"], "abandoned", "{attempt}");
        assert_eq!(attempt["connected_at"], Value::Null, "{attempt}");
        assert!(attempt["abandoned_at"].is_string(), "{attempt}");
        let at = |field: &str| {
            let text = attempt[field].as_str().expect(field);
            text.parse::<jiff::Timestamp>().expect("a time").as_millisecond()
        };
        let waited_ms = at("ended_at") - at("answered_at");
        // They ring for a second, and answer within the first seconds of the standstill.
        assert!(
            waited_ms > 5_000,
            "booked as having waited {waited_ms} ms: {attempt}"
        );
    }
    system.finish(&ids).await;
}
