//! Attacks on `paceline serve` over HTTP: with a simulated PBX and 300 agents, every attack that we know runs for some
//! seconds over loopback. For each attack: how long answered calls waited for their agents, how late the dialer's
//! thread was, the peak of its memory, and whether the health check was answered.
//!
//! Run by `scripts/prove hostile`. Arguments: `--agents N` (300), `--seconds N` (10), `--only WORD`: only attacks whose
//! name contains it. Fails if p99 is above 20 ms, memory is at or above 512 MB, or a health check was not answered.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use attacks::{ATTACKS, Target};
use http::{Asked, ask};
use serde_json::json;
use serve::Serve;
use spread::Spread;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

#[path = "hostile/attacks.rs"]
mod attacks;
#[path = "hostile/http.rs"]
mod http;
#[allow(dead_code)]
#[path = "hostile/serve.rs"]
mod serve;
#[path = "hostile/spread.rs"]
mod spread;

const P99_MAX_MS: f64 = 20.0;
const RESIDENT_MB_MAX: u64 = 512;
/// The speed of the simulation relative to real time, for more calls in less time.
const SPEED: u32 = 5;
const NUMBERS_PER_TASK: u32 = 10_000;
const TASKS: u32 = 4;

fn argument(name: &str) -> Option<String> {
    let mut args = std::env::args().skip_while(|a| a != name);
    args.next().and_then(|_| args.next())
}

fn number(name: &str, default: u32) -> u32 {
    argument(name).and_then(|v| v.parse().ok()).unwrap_or(default)
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // In reality an attacker does not share the machine.
        .on_thread_start(|| rustix::process::setpriority_process(None, 10).unwrap())
        .enable_all()
        .build()
        .unwrap();
    let held = runtime.block_on(async { tokio::spawn(run()).await.unwrap() });
    runtime.shutdown_background();
    if !held {
        eprintln!("a bar was not held");
        std::process::exit(1);
    }
}

/// A running campaign.
async fn begin(serve: &Serve, agents: u32) {
    let trunk = json!({"name": "carrier", "pbx": "main", "dial": "PJSIP/{number}@carrier"});
    let trunk = serve.api(0, "POST", "/trunks", &trunk).await["id"].clone();
    let day = json!({"days": [1, 2, 3, 4, 5, 6, 7], "from_minute": 0, "until_minute": 1440});
    let settings =
        json!({"agents": {"wrap_up_ms": 1000}, "hours": {"time_zone": "America/New_York", "windows": [day]}});
    let campaign = json!({"name": "load", "settings": settings, "trunk_ids": [trunk]});
    let campaign = serve.api(0, "POST", "/campaigns", &campaign).await["id"].clone();
    serve
        .api(0, "POST", &format!("/campaigns/{campaign}/activate"), &json!({}))
        .await;
    for task in 0..TASKS {
        let numbers = (0..NUMBERS_PER_TASK).map(|n| 2_000_000 + task * NUMBERS_PER_TASK + n);
        let pool: Vec<String> = numbers.map(|n| format!("+1202{n}")).collect();
        let task = json!({"name": format!("task {task}"), "campaign_id": campaign, "number_pool": pool});
        serve.api(0, "POST", "/tasks", &task).await;
    }
    let log_in = json!({"campaign_id": campaign});
    for n in 0..agents {
        let nth = n as usize;
        let agent =
            json!({"name": format!("agent {n}"), "pbx": "main", "extension": format!("{}", 1000 + n)});
        let id = serve.api(nth, "POST", "/agents", &agent).await["id"].clone();
        serve
            .api(nth, "POST", &format!("/agents/{id}/log-in"), &log_in)
            .await;
        serve
            .api(nth, "POST", &format!("/agents/{id}/ready"), &json!({}))
            .await;
    }
}

async fn run() -> bool {
    let (agents, seconds) = (number("--agents", 300), number("--seconds", 10));
    let only = argument("--only").unwrap_or_default();
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), SPEED);
    begin(&serve, agents).await;
    println!(
        "{agents} agents, {seconds} s each; answer -> connected and the thread's lag: within so many ms"
    );
    println!(
        "{:<34} {:>7} {:>7} {:>7} {:>7} {:>7} {:>6} {:>16}",
        "attack", "answers", "p50", "p99", "lag p99", "max", "MB", "health"
    );
    let mut held = true;
    for (name, attack) in ATTACKS.iter().filter(|(name, _)| name.contains(&only)) {
        let target = Target {
            addr: serve.addr,
            key: serve.keys[7].clone(),
        };
        serve.reset_peak();
        let before = serve.metrics().await;
        let attacking = tokio::spawn(attack(target));
        let health = watch_health(serve.addr, Duration::from_secs(seconds.into())).await;
        attacking.abort();
        let _ = attacking.await;
        let after = serve.metrics().await;
        let connected = Spread::between(&before, &after, "paceline_answer_to_connected_seconds");
        let lag = Spread::between(&before, &after, "paceline_dialer_lag_seconds");
        let peak = serve.peak_mb();
        println!(
            "{name:<34} {:>7} {:>7} {:>7} {:>7} {:>7} {peak:>6} {:>16}",
            connected.total,
            connected.within(0.5),
            connected.within(0.99),
            lag.within(0.99),
            connected.within(1.0),
            health.to_string(),
        );
        held &= connected.total > 0.0
            && connected.within(0.99) <= P99_MAX_MS
            && lag.within(0.99) <= P99_MAX_MS
            && peak < RESIDENT_MB_MAX
            && health.failed == 0;
    }
    held
}

/// The answers to the health checks.
struct Health {
    told: u32,
    failed: u32,
    slowest: Duration,
}

impl std::fmt::Display for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let asked = self.told + self.failed;
        write!(
            f,
            "{}/{asked} {:.0} ms",
            self.told,
            self.slowest.as_secs_f64() * 1000.0
        )
    }
}

/// Requests the health check twice a second, as a supervisor does.
async fn watch_health(addr: SocketAddr, lasts: Duration) -> Health {
    let (until, mut health) = (
        Instant::now() + lasts,
        Health {
            told: 0,
            failed: 0,
            slowest: Duration::ZERO,
        },
    );
    while Instant::now() < until {
        for path in ["/healthz", "/readyz"] {
            let begun = Instant::now();
            match ask(addr, 8, "GET", path, "", b"").await {
                Ok(Asked { status: 200, .. }) => health.told += 1,
                _ => health.failed += 1,
            }
            health.slowest = health.slowest.max(begun.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    health
}
