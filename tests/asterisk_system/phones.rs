//! Agents' phones that cannot be called or that act by themselves, on a real FreeSWITCH: the state of their agents, and
//! the end of their callees.

use crate::breakable::Breakable;
use crate::rig::{System, wait_for};
use paceline_lab::{
    Audio, Behaviour, FreeSwitch, FreeSwitchLab, FreeSwitchOptions, Hold, PhoneBehaviour, PhoneState,
};
use serde_json::{Value, json};
use std::time::Duration;

const DIAL: &str = FreeSwitchLab::DIAL;

fn freeswitch(agents: u32, audio: Audio) -> Option<FreeSwitchLab> {
    FreeSwitch::program_or_skip("agents' phones on FreeSWITCH")?;
    let options = FreeSwitchOptions {
        agents,
        ..FreeSwitchOptions::default()
    };
    Some(FreeSwitchLab::start(audio, options).expect("the lab starts"))
}

/// The state of an agent and its reason.
async fn agent(system: &System<FreeSwitchLab>, campaign: i64, id: i64) -> Option<(String, String)> {
    let live = system.api.try_get(&format!("/campaigns/{campaign}/live")).await?;
    let mut agents = live["agents"].as_array()?.iter();
    let agent = agents.find(|agent| agent["agent_id"] == id)?;
    let text = |field: &str| agent[field].as_str().map(str::to_owned);
    Some((text("state")?, text("reason")?))
}

async fn shows(system: &System<FreeSwitchLab>, campaign: i64, id: i64, state: &str, reason: &str) {
    wait_for(
        &format!("agent {id} to be {state}, {reason}"),
        Duration::from_secs(60),
        async || {
            let (is, why) = agent(system, campaign, id).await?;
            (is == state && why == reason).then_some(())
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_phone_cannot_be_called_is_paused_with_the_reason_on_freeswitch() {
    // The PBX does not know the sixth agent.
    let Some(lab) = freeswitch(5, Audio::None) else {
        return;
    };
    let system = System::start_at(lab, None).await;
    let phones = &system.lab.phones;
    phones.set(1, PhoneBehaviour::Busy);
    phones.set(2, PhoneBehaviour::Declines);
    phones.set(3, PhoneBehaviour::Unreachable);
    phones.set(4, PhoneBehaviour::Rings);
    phones.power_off(5);
    let campaign = system
        .campaign_over("phones", &[("other", DIAL)], json!({}))
        .await;
    let ids = system.agents_at("other", campaign, 1, 6).await;
    let reasons = [
        "phone_busy",
        "phone_declined",
        "phone_no_answer",
        "phone_no_answer",
        "phone_unreachable",
        "phone_unreachable",
    ];
    for (id, reason) in ids.iter().zip(reasons) {
        shows(&system, campaign, *id, "paused", reason).await;
    }
    let metrics = system.metrics().await;
    for reason in reasons {
        let shown = format!("state=\"paused\",reason=\"{reason}\"");
        assert!(metrics.contains(&shown), "no {shown} in {metrics}");
    }
    // A phone that is on again can be called again.
    phones.power_on(5);
    let ready = format!("/agents/{}/ready", ids[4]);
    system.api.post(&ready, json!({})).await;
    shows(&system, campaign, ids[4], "available", "phone_answered").await;
    system.finish(&ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_transfers_or_holds_is_no_agent_meanwhile_on_freeswitch() {
    let Some(lab) = freeswitch(3, Audio::None) else {
        return;
    };
    let system = System::start_at(lab, None).await;
    // Without a wrap-up the next call would be launched before Paceline knows that the phone has left.
    let campaign = system
        .campaign_over(
            "acts",
            &[("other", DIAL)],
            json!({"agents": {"wrap_up_ms": 1_000}}),
        )
        .await;
    let ids = system.agents_at("other", campaign, 1, 1).await;
    let first = ids[0];
    system.wait_for_agents(campaign, 1).await;
    let numbers: Vec<String> = (0..2).map(|n| Behaviour::Talks.number(n)).collect();
    let task = system.task(campaign, "acts", &numbers, 0).await;
    shows(&system, campaign, first, "on_call", "call_connected").await;
    let phones = &system.lab.phones;
    // The target is a phone without an agent of ours.
    phones.transfer(1, "agent-3").expect("it is on a call");
    wait_for(
        "the callee to be transferred",
        Duration::from_secs(20),
        async || {
            let live = system.api.try_get(&format!("/campaigns/{campaign}/live")).await?;
            (live["attempts"]["transferred"] == 1).then_some(())
        },
    )
    .await;
    // The PBX calls the agent's phone again, and the next callee is alone with the agent.
    shows(&system, campaign, first, "on_call", "call_connected").await;
    assert!(phones.is_on_call(3));
    phones.hold(1, Some(Hold::SendOnly)).expect("it is on a call");
    system
        .api
        .post(&format!("/agents/{first}/hang-up"), json!({}))
        .await;
    shows(&system, campaign, first, "paused", "phone_on_hold").await;
    phones.hold(1, None).expect("it is on a call");
    wait_for("the agent to be free", Duration::from_secs(20), async || {
        let (state, _) = agent(&system, campaign, first).await?;
        (state == "available").then_some(())
    })
    .await;
    // The transferred callee stays until the colleague hangs up.
    assert!(phones.is_on_call(3));
    phones.hang_up(3).expect("it is on a call");
    system.wait_until_completed(task, Duration::from_secs(20)).await;
    for attempt in system.api.all(&format!("/attempts?task_id={task}")).await {
        assert_eq!(attempt["outcome"], "answered", "{attempt}");
        assert_ne!(attempt["connected_at"], Value::Null, "{attempt}");
    }
    let answered = |agent| {
        let calls = phones.calls().into_iter();
        calls
            .filter(|call| call.agent == agent && call.state != PhoneState::Refused)
            .count()
    };
    assert_eq!((answered(1), answered(3)), (2, 1));
    system.finish(&ids).await;
}
