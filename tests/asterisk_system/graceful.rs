//! Paceline gets a request to end while it calls. To stop: conversations may end, and nothing is left on the PBX. To
//! restart: agents stay logged in and conversations go on.

use crate::rig::{System, wait_for};
use paceline_lab::{Behaviour, LabOptions};
use serde_json::json;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_lets_conversations_end_and_leaves_nothing_behind() {
    let mut system = System::start(&LabOptions {
        agents: 4,
        ..LabOptions::default()
    })
    .await;
    let campaign = system
        .campaign("talks", "PJSIP/{number}@carrier", json!({}))
        .await;
    let ids = system.agents(campaign, 1, 4).await;
    system.wait_for_agents(campaign, 4).await;
    let numbers: Vec<String> = (0..20).map(|n| Behaviour::TalksBriefly.number(n)).collect();
    let task = system.task(campaign, "talks", &numbers, 0).await;
    wait_for("a conversation", Duration::from_secs(20), async || {
        let live = system.api.try_get(&format!("/campaigns/{campaign}/live")).await?;
        (live["attempts"]["connected"].as_u64()? > 0).then_some(())
    })
    .await;
    system.api.post("/drain", json!({"deadline_s": 25})).await;
    system.ends(Duration::from_secs(40)).await;
    assert_eq!(
        system
            .lab
            .asterisk
            .channels_after(Duration::from_secs(5))
            .expect("channels"),
        Vec::<String>::new()
    );
    system.launch().await;
    let attempts = system.attempts(task).await;
    let open = attempts
        .values()
        .flatten()
        .filter(|a| a.outcome.is_none())
        .count();
    let answered = attempts
        .values()
        .flatten()
        .filter(|a| a.outcome.as_deref() == Some("answered"))
        .count();
    assert_eq!(open, 0);
    assert!(
        answered > 0 && attempts.len() < numbers.len(),
        "{answered} answered, {} tried",
        attempts.len()
    );
    system.finish(&[]).await;
    drop(ids);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_agents_logged_in_and_conversations_up() {
    let mut system = System::start(&LabOptions {
        agents: 3,
        ..LabOptions::default()
    })
    .await;
    let campaign = system
        .campaign("long talks", "PJSIP/{number}@carrier", json!({}))
        .await;
    let ids = system.agents(campaign, 1, 3).await;
    system.wait_for_agents(campaign, 3).await;
    let numbers: Vec<String> = (0..3).map(|n| Behaviour::Talks.number(n)).collect();
    let task = system.task(campaign, "long talks", &numbers, 0).await;
    let talking = async |system: &System| {
        let live = system.api.try_get(&format!("/campaigns/{campaign}/live")).await?;
        (live["attempts"]["connected"].as_u64()? == 3).then_some(())
    };
    wait_for("three conversations", Duration::from_secs(20), async || {
        talking(&system).await
    })
    .await;
    let before = system
        .lab
        .asterisk
        .channels_after(Duration::ZERO)
        .expect("channels");
    system.terminate(Duration::from_secs(10)).await;
    let after = system
        .lab
        .asterisk
        .channels_after(Duration::ZERO)
        .expect("channels");
    assert_eq!(after.len(), before.len(), "the stop has hung up nothing");
    system.launch().await;
    wait_for(
        "the conversations to be taken over",
        Duration::from_secs(10),
        async || talking(&system).await,
    )
    .await;
    let live = system.api.get(&format!("/campaigns/{campaign}/live")).await;
    assert_eq!(live["agents_by_state"]["on_call"], 3, "{live}");
    for id in &ids {
        system.api.post(&format!("/agents/{id}/hang-up"), json!({})).await;
    }
    wait_for("the task's end", Duration::from_secs(20), async || {
        let attempts = system.attempts(task).await;
        let all = attempts.values().flatten().collect::<Vec<_>>();
        (all.len() == 3 && all.iter().all(|a| a.outcome.as_deref() == Some("answered"))).then_some(())
    })
    .await;
    system.finish(&ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_serves_the_call_that_rings_before_the_process_stops() {
    let mut system = System::start(&LabOptions {
        agents: 1,
        ..LabOptions::default()
    })
    .await;
    let campaign = system
        .campaign("ringing", "PJSIP/{number}@carrier", json!({}))
        .await;
    let ids = system.agents(campaign, 1, 1).await;
    system.wait_for_agents(campaign, 1).await;
    let task = system
        .task(campaign, "ringing", &[Behaviour::RingsThenTalks.number(0)], 0)
        .await;
    let phase = async |system: &System, phase: &str| {
        let live = system.api.try_get(&format!("/campaigns/{campaign}/live")).await?;
        (live["attempts"][phase].as_u64()? == 1).then_some(())
    };
    wait_for("a phone that rings", Duration::from_secs(20), async || {
        phase(&system, "ringing").await
    })
    .await;
    system.terminate(Duration::from_secs(40)).await;
    system.launch().await;
    wait_for(
        "the conversation to be taken over",
        Duration::from_secs(10),
        async || phase(&system, "connected").await,
    )
    .await;
    system
        .api
        .post(&format!("/agents/{}/hang-up", ids[0]), json!({}))
        .await;
    wait_for("the task's end", Duration::from_secs(20), async || {
        let attempts = system.attempts(task).await;
        let outcome = attempts.values().flatten().next()?.outcome.clone()?;
        (outcome == "answered").then_some(())
    })
    .await;
    system.finish(&ids).await;
}
