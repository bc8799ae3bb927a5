//! The load that one Paceline carries: `paceline serve` on SQLite, with a simulated PBX ten times as fast as a real
//! one, for several numbers of agents, campaigns and contacts. For each: attempts per second, the share of a core (with
//! the simulated PBX), the peak of the memory, how long answered calls waited, and how long `GET /api/v1/live` took.
//!
//! Run by `scripts/bench scale`. Arguments: `--agents N --campaigns N --contacts N` for one line, otherwise the lines
//! of `docs/load.md`; `--seconds N` (30).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use http::{Asked, ask};
use paceline::store::{NewAgent, NewTask, NewTaskContacts, NewTrunk, Store, StoreMetrics};
use paceline_core::campaign::hours::CallingHours;
use paceline_core::campaign::settings::CampaignSettings;
use paceline_core::campaign::{CampaignState, TaskState};
use paceline_core::dial::{Extension, TrunkTemplate};
use paceline_core::ids::{AgentId, CampaignId, PbxName};
use paceline_core::time::Wall;
use serde_json::json;
use serve::Serve;
use spread::Spread;
use std::path::Path;
use std::time::{Duration, Instant};

#[path = "hostile/http.rs"]
mod http;
#[allow(dead_code)]
#[path = "hostile/serve.rs"]
mod serve;
#[path = "hostile/spread.rs"]
mod spread;

const SPEED: u32 = 10;
/// The numbers of agents, campaigns and contacts.
const LINES: [[u32; 3]; 7] = [
    [20, 1, 10_000],
    [300, 1, 100_000],
    [1000, 1, 100_000],
    [1000, 1, 3_000_000],
    [1000, 20, 1_000_000],
    [200, 200, 3_000_000],
    [1000, 200, 3_000_000],
];

fn argument(name: &str) -> Option<u32> {
    let mut args = std::env::args().skip_while(|a| a != name);
    args.next().and_then(|_| args.next()).and_then(|v| v.parse().ok())
}

#[tokio::main]
async fn main() {
    println!(
        "{:>6} {:>9} {:>9} | {:>10} {:>6} {:>8} {:>5} | {:>17} {:>17} {:>8}",
        "agents",
        "campaigns",
        "contacts",
        "attempts/s",
        "core %",
        "ms/call",
        "MB",
        "connect, p99 ms",
        "connected, p99 ms",
        "live ms"
    );
    let lines = match [
        argument("--agents"),
        argument("--campaigns"),
        argument("--contacts"),
    ] {
        [None, None, None] => LINES.to_vec(),
        [agents, campaigns, contacts] => {
            vec![[
                agents.unwrap_or(1000),
                campaigns.unwrap_or(1),
                contacts.unwrap_or(100_000),
            ]]
        }
    };
    for [agents, campaigns, contacts] in lines {
        measure(agents, campaigns, contacts).await;
    }
}

async fn measure(agents: u32, campaigns: u32, contacts: u32) {
    let folder = tempfile::tempdir().unwrap();
    let logged_in = fill(folder.path(), agents, campaigns, contacts).await;
    let serve = Serve::start(folder.path(), SPEED);
    for (nth, (agent, campaign)) in logged_in.iter().enumerate() {
        let log_in = json!({"campaign_id": campaign.0});
        serve
            .api(nth, "POST", &format!("/agents/{agent}/log-in"), &log_in)
            .await;
        serve
            .api(nth, "POST", &format!("/agents/{agent}/ready"), &json!({}))
            .await;
    }
    tokio::time::sleep(Duration::from_secs(15)).await;
    serve.reset_peak();
    let (before, cpu, from) = (serve.metrics().await, serve.cpu_seconds(), Instant::now());
    let seconds = u64::from(argument("--seconds").unwrap_or(30));
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let (cpu, took) = (serve.cpu_seconds() - cpu, from.elapsed().as_secs_f64());
    let peak = serve.peak_mb();
    let after = serve.metrics().await;
    let made = attempts(&after) - attempts(&before);
    let asked = Instant::now();
    let live = ask(serve.addr, 9, "GET", "/api/v1/live", &serve.keys[5], b"").await;
    assert!(matches!(live, Ok(Asked { status: 200, .. })), "no live state");
    let live_ms = asked.elapsed().as_millis();
    let p99 = |name| Spread::between(&before, &after, name).within(0.99);
    println!(
        "{agents:>6} {campaigns:>9} {contacts:>9} | {:>10.1} {:>6.1} {:>8.2} {peak:>5} | {:>17} {:>17} {live_ms:>8}",
        made / took,
        100.0 * cpu / took,
        1000.0 * cpu / made,
        p99("paceline_answer_to_connect_command_seconds"),
        p99("paceline_answer_to_connected_seconds"),
    );
}

fn attempts(metrics: &str) -> f64 {
    let lines = metrics
        .lines()
        .filter(|line| line.starts_with("paceline_attempts_total"));
    lines
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}

/// Makes a store with all campaigns, contacts and agents.
async fn fill(folder: &Path, agents: u32, campaigns: u32, contacts: u32) -> Vec<(AgentId, CampaignId)> {
    let url = format!("sqlite:{}", folder.join("paceline.db").display());
    let store = Store::open(&url, StoreMetrics::default()).await.unwrap();
    let direct = sqlx::SqlitePool::connect(&url).await.unwrap();
    let now = paceline::clock::Clock::real().now().wall;
    let trunk = NewTrunk {
        name: "carrier".into(),
        pbx: PbxName::new("main"),
        dial: TrunkTemplate::new("PJSIP/{number}@carrier").unwrap(),
        caller_id: None,
    };
    let trunk = store.create_trunk(&trunk).await.unwrap().id;
    let mut settings = CampaignSettings {
        hours: CallingHours::always(),
        ..CampaignSettings::default()
    };
    settings.agents.wrap_up_ms = 1000;
    let mut ids = Vec::new();
    for n in 0..campaigns {
        let made = store
            .create_campaign(&format!("campaign {n}"), &settings, &[trunk], now)
            .await;
        let id = made.unwrap().id;
        let draft = [CampaignState::Draft];
        assert!(
            store
                .move_campaign(id, &draft, CampaignState::Active)
                .await
                .unwrap()
        );
        give_work(&store, &direct, id, contacts / campaigns, now).await;
        ids.push(id);
    }
    let mut logged_in = Vec::new();
    for (n, campaign) in (0..agents).zip(ids.iter().cycle()) {
        let agent = NewAgent {
            name: format!("agent {n}"),
            pbx: PbxName::new("main"),
            extension: Extension::new(&format!("{}", 1000 + n)).unwrap(),
        };
        logged_in.push((store.create_agent(&agent, now).await.unwrap().id, *campaign));
    }
    direct.close().await;
    store.close().await;
    logged_in
}

async fn give_work(store: &Store, direct: &sqlx::SqlitePool, campaign: CampaignId, contacts: u32, now: Wall) {
    let list = store
        .create_contact_list(&format!("list {campaign}"), &[], now)
        .await
        .unwrap()
        .0
        .id;
    let insert = "INSERT INTO contacts (list_id, name) WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n \
        WHERE i < $2 - 1) SELECT $1, '+1' || ($1 * 10000000 + i) FROM n";
    let numbers = "INSERT INTO contact_numbers (contact_id, position, list_id, number) \
        SELECT id, 0, list_id, name FROM contacts WHERE list_id = $1";
    for (sql, more) in [(insert, Some(contacts)), (numbers, None)] {
        let query = sqlx::query(sql).bind(list.0);
        let query = match more {
            Some(contacts) => query.bind(contacts),
            None => query,
        };
        query.execute(direct).await.unwrap();
    }
    let task = NewTask {
        campaign,
        name: "task".into(),
        state: TaskState::Running,
        start_at: now,
        retries_max: 0,
        contacts: NewTaskContacts::List(list),
        idempotency: None,
    };
    store.create_tasks(&[task], now).await.unwrap();
    store.prepare_tasks(now).await.unwrap();
}
