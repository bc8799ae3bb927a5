//! What others can do to calls over HTTP: `paceline serve` with a simulated PBX and 300 agents is attacked in every way that
//! we know, for some seconds each, over loopback. For each attack: how long answered calls waited for their agents, how late
//! the dialer's thread was, the most memory it took, and whether health was told.
//!
//! Run by `scripts/prove hostile`. Arguments: `--agents N` (300), `--seconds N` (10), `--only WORD`: attacks whose name has
//! it. Fails where p99 is above 20 ms, memory at or above 512 MB, or health was not told.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use attacks::{ATTACKS, Target};
use http::{Asked, ask};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[path = "hostile/attacks.rs"]
mod attacks;
#[path = "hostile/http.rs"]
mod http;

const P99_MAX_MS: f64 = 20.0;
const RESIDENT_MB_MAX: u64 = 512;
/// So many times as fast as real, for more calls in less time.
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
        // An attacker is not on the machine that is attacked.
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

/// A running `paceline serve`, killed with this.
struct Serve {
    child: Child,
    addr: SocketAddr,
    keys: Vec<String>,
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Serve {
    fn start(folder: &Path) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = port.local_addr().unwrap();
        drop(port);
        let config = format!(
            "[server]\nlisten = \"{addr}\"\n[[pbx]]\nname = \"main\"\nkind = \"sim\"\nspeed = {SPEED}.0\n"
        );
        std::fs::write(folder.join("paceline.toml"), config).unwrap();
        let paceline = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
            command.current_dir(folder).env("RUST_LOG", "warn");
            command
        };
        let keys = (0..8).map(|n| {
            let name = format!("key-{n}");
            let made = paceline()
                .args(["key", "create", &name, "--role", "write", "--sees-numbers"])
                .output()
                .unwrap();
            let out = String::from_utf8(made.stdout).unwrap();
            let key = out.split_whitespace().find(|word| word.starts_with("pl_"));
            key.unwrap_or_else(|| panic!("no key in {out}")).to_owned()
        });
        let keys = keys.collect();
        let child = paceline().arg("serve").stderr(Stdio::null()).spawn().unwrap();
        Self { child, addr, keys }
    }

    /// With a key of ours, as often as it takes.
    async fn api(&self, nth: usize, method: &str, path: &str, body: &Value) -> Value {
        let key = &self.keys[nth % 4];
        for _ in 0..200 {
            let body = if body.is_null() {
                String::new()
            } else {
                body.to_string()
            };
            match ask(
                self.addr,
                9,
                method,
                &format!("/api/v1{path}"),
                key,
                body.as_bytes(),
            )
            .await
            {
                Ok(Asked { status, body }) if status < 300 => {
                    return serde_json::from_slice(&body).unwrap_or(Value::Null);
                }
                Ok(Asked {
                    status: 429 | 503, ..
                })
                | Err(_) => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Ok(Asked { status, body }) => {
                    panic!(
                        "{method} {path} answered {status} {}",
                        String::from_utf8_lossy(&body)
                    )
                }
            }
        }
        panic!("{method} {path} is not answered");
    }

    /// A campaign at work.
    async fn begin(&self, agents: u32) {
        let trunk = json!({"name": "carrier", "pbx": "main", "dial": "PJSIP/{number}@carrier"});
        let trunk = self.api(0, "POST", "/trunks", &trunk).await["id"].clone();
        let day = json!({"days": [1, 2, 3, 4, 5, 6, 7], "from_minute": 0, "until_minute": 1440});
        let settings = json!({"agents": {"wrap_up_ms": 1000}, "hours": {"time_zone": "America/New_York", "windows": [day]}});
        let campaign = json!({"name": "load", "settings": settings, "trunk_ids": [trunk]});
        let campaign = self.api(0, "POST", "/campaigns", &campaign).await["id"].clone();
        self.api(0, "POST", &format!("/campaigns/{campaign}/activate"), &json!({}))
            .await;
        for task in 0..TASKS {
            let numbers = (0..NUMBERS_PER_TASK).map(|n| 2_000_000 + task * NUMBERS_PER_TASK + n);
            let pool: Vec<String> = numbers.map(|n| format!("+1202{n}")).collect();
            let task = json!({"name": format!("task {task}"), "campaign_id": campaign, "number_pool": pool});
            self.api(0, "POST", "/tasks", &task).await;
        }
        let log_in = json!({"campaign_id": campaign});
        for n in 0..agents {
            let nth = n as usize;
            let agent =
                json!({"name": format!("agent {n}"), "pbx": "main", "extension": format!("{}", 1000 + n)});
            let id = self.api(nth, "POST", "/agents", &agent).await["id"].clone();
            self.api(nth, "POST", &format!("/agents/{id}/log-in"), &log_in)
                .await;
            self.api(nth, "POST", &format!("/agents/{id}/ready"), &json!({}))
                .await;
        }
    }

    async fn metrics(&self) -> String {
        for _ in 0..50 {
            if let Ok(Asked { status: 200, body }) = ask(self.addr, 9, "GET", "/metrics", "", b"").await {
                return String::from_utf8(body).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no metrics");
    }

    /// From now on, the most memory.
    fn reset_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }

    fn peak_mb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib / 1024
    }
}

async fn run() -> bool {
    let (agents, seconds) = (number("--agents", 300), number("--seconds", 10));
    let only = argument("--only").unwrap_or_default();
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path());
    serve.begin(agents).await;
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

/// Whether health was told.
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

/// Asks for health twice a second, as a supervisor does.
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

/// What a histogram has counted in some time.
struct Spread {
    /// Upper ends in seconds, and how many were at most that.
    buckets: Vec<(f64, f64)>,
    total: f64,
}

impl Spread {
    fn between(before: &str, after: &str, name: &str) -> Self {
        let (before, after) = (read(before, name), read(after, name));
        let counted = |(le, n): &(f64, f64)| {
            let earlier = before.iter().find(|(other, _)| other == le);
            (*le, n - earlier.map_or(0.0, |(_, n)| *n))
        };
        let buckets: Vec<(f64, f64)> = after.iter().map(counted).collect();
        let total = buckets.last().map_or(0.0, |(_, n)| *n);
        Self { buckets, total }
    }

    /// Milliseconds within which this part of all was.
    fn within(&self, part: f64) -> f64 {
        let found = self.buckets.iter().find(|(_, n)| *n >= part * self.total);
        found.map_or(f64::NAN, |(le, _)| le * 1000.0)
    }
}

/// The buckets of all campaigns together.
fn read(metrics: &str, name: &str) -> Vec<(f64, f64)> {
    let bucket = format!("{name}_bucket{{");
    let mut buckets: Vec<(f64, f64)> = Vec::new();
    for line in metrics.lines().filter(|l| l.starts_with(&bucket)) {
        let le = line
            .split_once("le=\"")
            .and_then(|(_, rest)| rest.split_once('"'));
        let (Some((le, _)), Some((_, count))) = (le, line.rsplit_once(' ')) else {
            continue;
        };
        let (le, count) = (le.parse().unwrap_or(f64::INFINITY), count.parse().unwrap_or(0.0));
        match buckets.iter_mut().find(|(other, _)| *other == le) {
            Some((_, n)) => *n += count,
            None => buckets.push((le, count)),
        }
    }
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    buckets
}
