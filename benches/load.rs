//! The cost of Paceline compared with its PBX: CPU seconds per call of both, in one run, and how long an answered call
//! waits for its agent. No media; SQLite, gate and metrics on.
//!
//! Run by `scripts/bench`. Arguments: `--agents N` (150), `--calls N` (3000), `--asterisk 22|16` (22), `--freeswitch`,
//! `--bar RATIO`: fails if the ratio is above it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use paceline_lab::{Audio, Behaviour, FreeSwitchLab, FreeSwitchOptions, LabOptions, Version};
use rig::{Site, System, wait_for};
use serde_json::json;
use std::time::{Duration, Instant};

#[allow(dead_code)]
#[path = "../tests/asterisk_system/rig.rs"]
mod rig;

fn argument(name: &str) -> Option<String> {
    let mut args = std::env::args().skip_while(|a| a != name);
    args.next().and_then(|_| args.next())
}

fn number(name: &str, default: u32) -> u32 {
    argument(name).and_then(|v| v.parse().ok()).unwrap_or(default)
}

#[tokio::main]
async fn main() {
    let agents = number("--agents", 150);
    let calls = number("--calls", 3000);
    if std::env::args().any(|argument| argument == "--freeswitch") {
        let options = FreeSwitchOptions {
            agents,
            ..FreeSwitchOptions::default()
        };
        let lab = FreeSwitchLab::start(Audio::None, options).expect("the lab starts");
        let system = System::start_at(lab, None).await;
        let dial = "sofia/gateway/carrier/{number}";
        return measure(system, "FreeSWITCH", ("other", dial), agents, calls).await;
    }
    let (version, name) = if argument("--asterisk").as_deref() == Some("16") {
        (Version::V16, "Asterisk 16")
    } else {
        (Version::V22, "Asterisk 22")
    };
    let options = LabOptions {
        version,
        agents,
        audio: Audio::None,
        ..LabOptions::default()
    };
    let system = System::start(&options).await;
    measure(system, name, ("main", "PJSIP/{number}@carrier"), agents, calls).await;
}

async fn measure<S: Site>(system: System<S>, name: &str, (pbx, dial): (&str, &str), agents: u32, calls: u32) {
    let campaign = system.campaign_over("load", &[(pbx, dial)], json!({})).await;
    let ids = system.agents_at(pbx, campaign, 1, agents).await;
    system.wait_for_agents(campaign, ids.len()).await;
    let numbers: Vec<String> = (0..calls).map(|n| Behaviour::TalksBriefly.number(n)).collect();

    // The PBX's cost of holding the agents' legs, which is not a cost of the calls.
    let held_from = (system.lab.cpu_seconds(), Instant::now());
    tokio::time::sleep(Duration::from_secs(5)).await;
    let holding = (system.lab.cpu_seconds() - held_from.0) / held_from.1.elapsed().as_secs_f64();

    let (ours, theirs, started) = (system.cpu_seconds(), system.lab.cpu_seconds(), Instant::now());
    let task = system.task(campaign, "load", &numbers, 0).await;
    let path = format!("/tasks/{task}");
    wait_for("every call to be over", Duration::from_secs(600), async || {
        // We poll rarely, so that the polls do not change the measurement.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let task = system.api.try_get(&path).await?;
        (task["progress"]["done"] == u64::from(calls)).then_some(())
    })
    .await;
    let (ours, theirs, took) = (
        system.cpu_seconds() - ours,
        system.lab.cpu_seconds() - theirs,
        started.elapsed().as_secs_f64(),
    );

    let metrics = system.metrics().await;
    let per_call_ms = |seconds: f64| seconds * 1000.0 / f64::from(calls);
    println!(
        "{calls} calls of 2.5 s with {agents} agents on {name}: {took:.1} s, {:.1} calls/s",
        f64::from(calls) / took
    );
    println!(
        "CPU per call (user + system): Paceline {:.3} ms, {name} {:.3} ms",
        per_call_ms(ours),
        per_call_ms(theirs)
    );
    let ratio = ours / theirs;
    println!("ratio Paceline / {name}: {ratio:.3}");
    println!(
        "holding {agents} agents' legs without a call costs {name} {:.2} of a core; without that {:.3} ms a call, ratio {:.3}",
        holding,
        per_call_ms(theirs - holding * took),
        ours / (theirs - holding * took)
    );
    for (metric, what) in [
        (
            "paceline_answer_to_connect_command_seconds",
            "answer read -> connect command given (what Paceline adds, after up to 4 ms of rest before reading)",
        ),
        (
            "paceline_answer_to_connected_seconds",
            "answer read -> connected, the PBX's part included",
        ),
    ] {
        println!("{what}: {}", quantiles(&metrics, metric));
    }
    system.finish(&ids).await;
    if argument("--bar")
        .and_then(|bar| bar.parse().ok())
        .is_some_and(|bar: f64| ratio > bar)
    {
        eprintln!("the ratio is above the bar");
        std::process::exit(1);
    }
}

/// The buckets that p50, p99 and all observations fall into.
fn quantiles(metrics: &str, name: &str) -> String {
    let bucket = format!("{name}_bucket{{");
    let mut buckets: Vec<(f64, f64)> = Vec::new();
    for line in metrics.lines().filter(|l| l.starts_with(&bucket)) {
        let Some((_, rest)) = line.split_once("le=\"") else {
            continue;
        };
        let Some((le, _)) = rest.split_once('"') else {
            continue;
        };
        let count: f64 = line
            .rsplit(' ')
            .next()
            .and_then(|v| v.parse().ok())
            .unwrap_or(0.0);
        buckets.push((le.parse().unwrap_or(f64::INFINITY), count));
    }
    let total = buckets.iter().map(|(_, n)| *n).fold(0.0, f64::max);
    let at = |q: f64| {
        buckets
            .iter()
            .find(|(_, n)| *n >= q * total)
            .map_or(f64::NAN, |(le, _)| le * 1000.0)
    };
    format!(
        "p50 <= {} ms, p99 <= {} ms, max <= {} ms ({total} calls)",
        at(0.5),
        at(0.99),
        at(1.0)
    )
}
