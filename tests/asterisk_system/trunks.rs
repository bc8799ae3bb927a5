//! Trunks that refuse every call, and a PBX without capacity, on real PBXes: few calls go out, and no contact loses an
//! attempt.

use crate::breakable::Breakable;
use crate::rig::{System, wait_for};
use jiff::Timestamp;
use paceline_lab::{
    Audio, Behaviour, Callee, FreeSwitch, FreeSwitchLab, FreeSwitchOptions, Lab, LabOptions, Version,
};
use serde_json::json;
use std::time::Duration;

/// The answers of carriers to every call if the account, the caller id or the carrier has a fault.
const REFUSALS: [u16; 8] = [401, 402, 403, 404, 407, 480, 486, 503];
const AGENTS: u32 = 5;
const CONTACTS: u32 = 40;
/// The most calls over one trunk before Paceline holds it.
const CALLS_MAX: usize = 20;
const RING_MS: u32 = 20_000;

/// The contacts of the trunk with this refusal.
fn numbers(nth: usize) -> Vec<String> {
    let first = u32::try_from(nth).expect("few") * CONTACTS;
    (first..first + CONTACTS)
        .map(|n| Behaviour::Talks.number(n))
        .collect()
}

fn refused() -> Vec<Callee> {
    let refused = |(nth, refusal): (usize, u16)| {
        let callee = move |number| Callee {
            number,
            setup: Duration::from_millis(50),
            ring: Duration::from_millis(1),
            talk: None,
            refusal,
            key: None,
        };
        numbers(nth).into_iter().map(callee)
    };
    REFUSALS.into_iter().enumerate().flat_map(refused).collect()
}

/// One predictive campaign and one task for each refusal, all at the same time.
async fn a_trunk_that_refuses_everything_is_held<L: Breakable>(lab: L) {
    let system = System::start_at(lab, None).await;
    let mut storms = Vec::new();
    let mut agents = Vec::new();
    for (nth, refusal) in REFUSALS.into_iter().enumerate() {
        let settings = json!({
            "pacing": {"mode": "predictive"}, "dialing": {"ring_timeout_ms": RING_MS},
            "answering": {"abandon_message": "sound:message"},
        });
        let trunks = [(L::PBX, L::DIAL)];
        let campaign = system
            .campaign_over(&refusal.to_string(), &trunks, settings)
            .await;
        let first = u32::try_from(nth).expect("few") * AGENTS + 1;
        agents.extend(system.agents_at(L::PBX, campaign, first, AGENTS).await);
        system.wait_for_agents(campaign, AGENTS as usize).await;
        storms.push((refusal, campaign, numbers(nth)));
    }
    let mut tasks = Vec::new();
    for (refusal, campaign, numbers) in &storms {
        tasks.push(system.task(*campaign, &refusal.to_string(), numbers, 0).await);
    }
    for ((refusal, campaign, numbers), task) in storms.iter().zip(tasks) {
        wait_for(
            &format!("the trunk that says {refusal} to be held"),
            Duration::from_secs(30),
            async || {
                let live = system.api.try_get(&format!("/campaigns/{campaign}/live")).await?;
                let idle = live["idle"].to_string();
                let calls = live["attempts"].as_object()?.values().all(|calls| calls == 0);
                (idle.contains("trunk_failing") && calls).then_some(())
            },
        )
        .await;
        let carried = system
            .lab
            .calls()
            .into_iter()
            .filter(|call| numbers.contains(&call.number))
            .count();
        println!("{refusal}: {carried} calls");
        assert!(carried <= CALLS_MAX, "{refusal}: {carried} calls");
        let attempts = wait_for("every end to be stored", Duration::from_secs(10), async || {
            let attempts = system.attempts(task).await;
            let stored = attempts
                .values()
                .flatten()
                .all(|attempt| attempt.outcome.is_some());
            stored.then_some(attempts)
        })
        .await;
        assert!(attempts.len() <= CALLS_MAX, "{refusal}: {attempts:?}");
        for attempt in attempts.values().flatten() {
            assert_eq!(
                attempt.outcome.as_deref(),
                Some("congestion"),
                "{refusal}: {attempt:?}"
            );
        }
        let told = system.api.get(&format!("/tasks/{task}")).await;
        assert_eq!(told["progress"]["done"], 0, "{refusal}: {told}");
    }
    system.finish(&agents).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trunk_that_refuses_everything_is_held_and_finishes_no_contact_on_freeswitch() {
    if FreeSwitch::program_or_skip("refusing trunks on FreeSWITCH").is_none() {
        return;
    }
    let options = FreeSwitchOptions {
        agents: AGENTS * 8,
        ..FreeSwitchOptions::default()
    };
    let lab = FreeSwitchLab::start_with(Audio::None, options, &refused()).expect("the lab starts");
    a_trunk_that_refuses_everything_is_held(lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trunk_that_refuses_everything_is_held_and_finishes_no_contact_on_asterisk_22() {
    let lab = Lab::start_with(&LabOptions {
        version: Version::V22,
        agents: AGENTS * 8,
        audio: Audio::None,
        callees: refused(),
        ..LabOptions::default()
    });
    let lab = lab.expect("the lab starts; run scripts/tools if something is missing");
    a_trunk_that_refuses_everything_is_held(lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeswitch_without_room_is_probed_by_one_call_at_a_time() {
    if FreeSwitch::program_or_skip("probes of a full FreeSWITCH").is_none() {
        return;
    }
    let agents = 10;
    let options = FreeSwitchOptions {
        agents,
        ..FreeSwitchOptions::default()
    };
    let lab = FreeSwitchLab::start(Audio::None, options).expect("the lab starts");
    let system = System::start_at(lab, None).await;
    let settings = json!({
        "pacing": {"mode": "predictive"}, "dialing": {"ring_timeout_ms": RING_MS},
        "answering": {"abandon_message": "sound:message"},
    });
    let campaign = system
        .campaign_over("full", &[("other", FreeSwitchLab::DIAL)], settings)
        .await;
    let ids = system.agents_at("other", campaign, 1, agents).await;
    system.wait_for_agents(campaign, ids.len()).await;
    // The agents' legs use all its capacity.
    let limit = |sessions: u32| {
        let told = system
            .lab
            .freeswitch
            .api(&format!("fsctl max_sessions {sessions}"));
        told.expect("it answers");
    };
    limit(agents);
    let numbers: Vec<String> = (0..60).map(|n| Behaviour::TalksBriefly.number(n)).collect();
    let task = system.task(campaign, "full", &numbers, 0).await;
    let tried = wait_for("the fourth probe", Duration::from_secs(40), async || {
        let attempts = system.attempts(task).await;
        let mut ended: Vec<_> = attempts
            .into_values()
            .flatten()
            .filter(|a| a.outcome.is_some())
            .collect();
        ended.sort_by_key(|attempt| attempt.created_at);
        let probes = bursts(&ended.iter().map(|attempt| attempt.created_at).collect::<Vec<_>>());
        (probes.len() > 4).then_some((ended, probes))
    })
    .await;
    let (ended, bursts) = tried;
    println!("calls at a time: {bursts:?}");
    assert!(bursts[0] <= CALLS_MAX, "{bursts:?}");
    assert!(bursts[1..].iter().all(|calls| *calls == 1), "{bursts:?}");
    assert!(
        ended
            .iter()
            .all(|attempt| attempt.outcome.as_deref() == Some("cancelled")),
        "{ended:?}"
    );
    let told = system.api.get(&format!("/tasks/{task}")).await;
    assert_eq!(told["progress"]["done"], 0, "{told}");
    assert!(system.lab.carrier.calls().is_empty());
    let live = system.api.get(&format!("/campaigns/{campaign}/live")).await;
    assert!(live["idle"].to_string().contains("pbx_full"), "{live}");
    // The PBX has capacity again, and calls go on: contacts that were not dialed are due within a minute.
    limit(2_000);
    wait_for("a conversation", Duration::from_secs(60), async || {
        let live = system.api.try_get(&format!("/campaigns/{campaign}/live")).await?;
        (live["attempts"]["connected"].as_u64()? > 0).then_some(())
    })
    .await;
    system.api.post(&format!("/tasks/{task}/cancel"), json!({})).await;
    system.finish(&ids).await;
}

/// The numbers of calls that were launched within half a second of each other. `times` is in order.
fn bursts(times: &[Timestamp]) -> Vec<usize> {
    let mut bursts: Vec<(Timestamp, usize)> = Vec::new();
    for at in times {
        match bursts.last_mut() {
            Some((since, calls)) if at.duration_since(*since).as_millis() < 500 => *calls += 1,
            _ => bursts.push((*at, 1)),
        }
    }
    bursts.into_iter().map(|(_, calls)| calls).collect()
}
