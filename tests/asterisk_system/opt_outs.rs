//! Opt-outs at every step between lease and answer, on real PBXes: after an opt-out no call is launched, and a ringing
//! call is cancelled.

use crate::rig::{Site, System, wait_for};
use paceline_lab::{Audio, Behaviour, FreeSwitch, FreeSwitchLab, FreeSwitchOptions, LabOptions, Version};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// The moments of the opt-outs after the task was created, in milliseconds: while contacts are leased, stored, dialed, and
/// while they ring.
const MOMENTS_MS: [u64; 12] = [0, 3, 6, 10, 20, 40, 80, 120, 200, 350, 700, 1_500];
/// From the reply to the opt-out until the carrier has seen the CANCEL.
const HANG_UP_MAX: Duration = Duration::from_millis(1_500);

fn now_ms() -> u64 {
    jiff::Timestamp::now()
        .as_millisecond()
        .try_into()
        .expect("after 1970")
}

/// Two campaigns have the same contacts, whose phones ring without end. Each number is opted out at another moment.
async fn stops_at_every_step<S: Site>(system: System<S>, pbx: &str, dial: &str, agents: u32) {
    let settings = json!({"dialing": {"ring_timeout_ms": 60000}});
    let first = system
        .campaign_over("first", &[(pbx, dial)], settings.clone())
        .await;
    let second = system.campaign_over("second", &[(pbx, dial)], settings).await;
    let half = agents / 2;
    let mut ids = system.agents_at(pbx, first, 1, half).await;
    ids.extend(system.agents_at(pbx, second, 1 + half, half).await);
    system.wait_for_agents(first, half as usize).await;
    system.wait_for_agents(second, half as usize).await;
    for round in 0..3 {
        let count = u32::try_from(MOMENTS_MS.len()).expect("few");
        let numbers: Vec<String> = (0..count)
            .map(|n| Behaviour::Rings.number(round * count + n))
            .collect();
        let begun = tokio::time::Instant::now();
        let tasks = [
            system.task(first, "a", &numbers, 0).await,
            system.task(second, "b", &numbers, 0).await,
        ];
        let mut opted_out = Vec::new();
        for (number, moment) in numbers.iter().zip(MOMENTS_MS) {
            tokio::time::sleep_until(begun + Duration::from_millis(moment)).await;
            let asked = json!({"numbers": [number], "reason": "asked"});
            system.api.post("/dnc", asked).await;
            opted_out.push((number.clone(), now_ms()));
        }
        wait_for("every attempt to end", Duration::from_secs(20), async || {
            let mut attempts = Vec::new();
            for task in tasks {
                attempts.extend(system.attempts(task).await.into_values().flatten());
            }
            let cancelled = |outcome: &Option<String>| outcome.as_deref() == Some("cancelled");
            let ended = attempts.iter().all(|attempt| attempt.outcome.is_some());
            assert!(
                !ended || attempts.iter().all(|attempt| cancelled(&attempt.outcome)),
                "{attempts:?}"
            );
            ended.then_some(())
        })
        .await;
        let calls = system.lab.calls();
        for (number, at_ms) in &opted_out {
            for call in calls.iter().filter(|call| call.number == *number) {
                // An originate may be on its way to the carrier while the request is answered.
                assert!(
                    call.at_ms <= at_ms + 300,
                    "dialed {} ms after the opt-out",
                    call.at_ms - at_ms
                );
                let ended = call.ended_at_ms.expect("no phone rings on");
                let limit = at_ms + u64::try_from(HANG_UP_MAX.as_millis()).expect("short");
                assert!(ended <= limit, "rang for {} ms after the opt-out", ended - at_ms);
                assert!(!call.answered);
            }
        }
        let dialed: BTreeSet<&str> = calls.iter().map(|call| call.number.as_str()).collect();
        println!("round {round}: {} numbers were dialed so far", dialed.len());
    }
    let blocked = async |task: i64| {
        let detail = system.api.get(&format!("/tasks/{task}")).await;
        detail["progress"]["last_outcomes"]["blocked"]
            .as_i64()
            .unwrap_or(0)
    };
    let last = system
        .task(first, "again", &[Behaviour::Rings.number(0)], 0)
        .await;
    wait_for("the number to be blocked", Duration::from_secs(10), async || {
        (blocked(last).await == 1).then_some(())
    })
    .await;
    system.finish(&ids).await;
}

async fn on_asterisk(version: Version) {
    let options = LabOptions {
        version,
        agents: 8,
        audio: Audio::None,
        ..LabOptions::default()
    };
    let system = System::start(&options).await;
    stops_at_every_step(system, "main", "PJSIP/{number}@carrier", 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_stops_a_call_at_every_step_on_asterisk_22() {
    on_asterisk(Version::V22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_stops_a_call_at_every_step_on_asterisk_16() {
    on_asterisk(Version::V16).await;
}

fn freeswitch(agents: u32) -> FreeSwitchLab {
    let options = FreeSwitchOptions {
        agents,
        ..FreeSwitchOptions::default()
    };
    FreeSwitchLab::start(Audio::None, options).expect("the lab starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_stops_a_call_at_every_step_on_freeswitch() {
    if FreeSwitch::program_or_skip("opt-outs on FreeSWITCH").is_none() {
        return;
    }
    let system = System::start_at(freeswitch(8), None).await;
    stops_at_every_step(system, "other", "sofia/gateway/carrier/{number}", 8).await;
}
