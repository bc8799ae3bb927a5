//! Calls whose end Paceline did not see, because the PBX or Paceline died first: they do not count as attempts, and a
//! user can queue them again. Also calls that ended just before the crash.

use crate::breakable::asterisk;
use crate::rig::{System, wait_for};
use paceline_lab::{Behaviour, Lab, Version};
use serde_json::{Value, json};
use std::time::Duration;

async fn ended(system: &System<Lab>, task: i64, count: usize) -> Vec<Value> {
    wait_for("the attempts' ends", Duration::from_secs(60), async || {
        let attempts = system.api.all(&format!("/attempts?task_id={task}")).await;
        let over = attempts.len() == count && attempts.iter().all(|a| a["ended_at"].is_string());
        over.then_some(attempts)
    })
    .await
}

fn outcomes(attempts: &[Value]) -> Vec<&str> {
    attempts.iter().map(|a| a["outcome"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_never_left_is_queued_again_and_called_once() {
    let mut system = System::start_at(asterisk(Version::V22, 2), None).await;
    let campaign = system
        .campaign("never left", "PJSIP/{number}@carrier", json!({}))
        .await;
    let ids = system.agents(campaign, 1, 2).await;
    system.wait_for_agents(campaign, 2).await;
    // The requests stay in the frozen PBX's socket and are lost with it.
    system.lab.asterisk.freeze().expect("it runs");
    let numbers: Vec<String> = (0..2).map(|n| Behaviour::TalksBriefly.number(n)).collect();
    let task = system.task(campaign, "never left", &numbers, 0).await;
    wait_for("both attempts to be stored", Duration::from_secs(8), async || {
        let attempts = system.api.all(&format!("/attempts?task_id={task}")).await;
        (attempts.len() == 2).then_some(())
    })
    .await;
    system.kill();
    system.lab.crash();
    system.lab.asterisk.restart().expect("it starts again");
    system.launch().await;
    let attempts = ended(&system, task, 2).await;
    assert_eq!(outcomes(&attempts), ["unknown", "unknown"]);
    assert!(system.lab.carrier.calls().is_empty(), "the carrier saw a call");
    system.wait_until_completed(task, Duration::from_secs(10)).await;
    let requeued = system
        .api
        .post(&format!("/tasks/{task}/requeue"), json!({}))
        .await;
    assert_eq!(
        (&requeued["queued"], &requeued["task"]["state"]),
        (&json!(2), &json!("running"))
    );
    let attempts = ended(&system, task, 4).await;
    assert_eq!(outcomes(&attempts[..2]), ["answered", "answered"]);
    let mut called: Vec<String> = system
        .lab
        .carrier
        .calls()
        .into_iter()
        .map(|call| call.number)
        .collect();
    called.sort();
    assert_eq!(called, numbers, "each was called once");
    system.finish(&ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_refused_at_once_keep_their_outcome_when_paceline_is_killed_while_it_judges_the_trunk() {
    let mut system = System::start_at(asterisk(Version::V22, 2), None).await;
    let campaign = system
        .campaign("judged", "PJSIP/{number}@carrier", json!({}))
        .await;
    let ids = system.agents(campaign, 1, 2).await;
    system.wait_for_agents(campaign, 2).await;
    let numbers: Vec<String> = (0..2).map(|n| Behaviour::NotFound.number(n)).collect();
    let task = system.task(campaign, "judged", &numbers, 0).await;
    wait_for(
        "the ends of both legs, and no outcome",
        Duration::from_secs(10),
        async || {
            let attempts = system.api.all(&format!("/attempts?task_id={task}")).await;
            let mut legs = Vec::new();
            for attempt in &attempts {
                assert_eq!(attempt["outcome"], Value::Null, "the trunk is not judged yet");
                let id = attempt["id"].as_str()?;
                legs.push(system.api.get(&format!("/attempts/{id}")).await["legs"][0].clone());
            }
            (legs.len() == 2 && legs.iter().all(|leg| leg["sip"] == 404)).then_some(())
        },
    )
    .await;
    system.kill();
    system.launch().await;
    let attempts = ended(&system, task, 2).await;
    assert_eq!(outcomes(&attempts), ["invalid", "invalid"]);
    system.wait_until_completed(task, Duration::from_secs(10)).await;
    assert_eq!(system.lab.carrier.calls().len(), 2, "each was called once");
    system.finish(&ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_end_with_the_pbxs_restart_spend_no_try_on_asterisk_22() {
    calls_end_with_the_pbxs_restart(Version::V22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_end_with_the_pbxs_restart_spend_no_try_on_asterisk_16() {
    calls_end_with_the_pbxs_restart(Version::V16).await;
}

async fn calls_end_with_the_pbxs_restart(version: Version) {
    let mut system = System::start_at(asterisk(version, 3), None).await;
    let campaign = system
        .campaign("restarted", "PJSIP/{number}@carrier", json!({}))
        .await;
    let ids = system.agents(campaign, 1, 3).await;
    system.wait_for_agents(campaign, 3).await;
    let numbers: Vec<String> = (0..3).map(|n| Behaviour::Rings.number(n)).collect();
    let task = system.task(campaign, "restarted", &numbers, 0).await;
    wait_for("three ringing calls", Duration::from_secs(20), async || {
        let live = system.api.try_get(&format!("/campaigns/{campaign}/live")).await?;
        (live["attempts"]["ringing"].as_u64()? == 3).then_some(())
    })
    .await;
    system.lab.asterisk.cli("core restart now").expect("it is told");
    let attempts = ended(&system, task, 3).await;
    assert_eq!(outcomes(&attempts), ["cancelled", "cancelled", "cancelled"]);
    let progress = &system.api.get(&format!("/tasks/{task}")).await["progress"];
    assert_eq!(
        (&progress["ready"], &progress["done"]),
        (&json!(3), &json!(0)),
        "all three are called again"
    );
    // In the lab, Asterisk does not restart by itself.
    system.lab.asterisk.restart().expect("it starts again");
    wait_for("the link to stand again", Duration::from_secs(30), async || {
        system.api.is_connected().await.then_some(())
    })
    .await;
    system.finish(&ids).await;
}
