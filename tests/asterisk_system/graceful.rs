//! Paceline is asked to stop in mid-run: what talks may end, what rings is taken back, nothing is left behind.

use crate::rig::{System, wait_for};
use paceline_lab::{Behaviour, LabOptions};
use serde_json::json;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_stop_lets_conversations_end_and_leaves_nothing_behind() {
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
        (live["calls"]["connected"].as_u64()? > 0).then_some(())
    })
    .await;
    system.terminate(Duration::from_secs(30)).await;
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
