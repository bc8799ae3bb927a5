//! Paceline dies without a word, again and again, with the switch's link cut in between; each next run takes over from
//! the store and the switch, and nothing is lost or dialed twice. Real dialer, real store, simulated switch that lives on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use paceline::clock::Clock;
use paceline::dialer::{Dialer, Switch};
use paceline::metrics::Metrics;
use paceline::pbx::PbxHandle;
use paceline::pbx::sim::{self, SimControl};
use paceline::store::Store;
use paceline_core::agent::AgentState;
use paceline_core::campaign::hours::CallingHours;
use paceline_core::campaign::settings::CampaignSettings;
use paceline_core::dial::{AgentTemplate, DialRules, Extension};
use paceline_core::ids::{AgentId, CampaignId, LegId, PbxName};
use paceline_core::input::AgentRequest;
use paceline_core::number::E164;
use paceline_sim::SimConfig;
use sqlx::Row;
use sqlx::sqlite::SqlitePool;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const SPEED: f64 = 100.0;
const CAMPAIGN: CampaignId = CampaignId(1);
const CONTACTS: i64 = 200;
const AGENTS: i64 = 12;
/// How many contacts are done when a run dies.
const DEATHS: [i64; 4] = [15, 50, 90, 140];

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

fn number(n: i64) -> String {
    format!("+1{}55501{:02}", 200 + n / 100, n % 100)
}

async fn fill(rows: &SqlitePool) {
    let mut settings = CampaignSettings {
        hours: CallingHours::always(),
        ..CampaignSettings::default()
    };
    settings.agents.wrap_up_ms = 1000;
    let settings = paceline::store::settings::write(&settings).expect("a row");
    for sql in [
        "INSERT INTO trunks (id, name, pbx, dial) VALUES (1, 'carrier', 'main', 'PJSIP/{number}@carrier')",
        "INSERT INTO campaigns (id, name, state, settings, created_at_ms) VALUES (1, 'test', 'active', $1, 0)",
        "INSERT INTO campaign_trunks (campaign_id, position, trunk_id) VALUES (1, 0, 1)",
        "INSERT INTO contact_lists (id, name, created_at_ms) VALUES (1, 'test', 0)",
        "INSERT INTO tasks (id, campaign_id, list_id, name, state, start_at_ms, retries_max, next_due_at_ms, created_at_ms) \
         VALUES (1, 1, 1, 'test', 'running', 0, 1, 0, 0)",
        "INSERT INTO task_buckets (id, task_id, time_zone, next_due_at_ms) VALUES (1, 1, '', 0)",
    ] {
        sqlx::query(sql).bind(&settings).execute(rows).await.expect(sql);
    }
    for n in 0..CONTACTS {
        let sql = "INSERT INTO contacts (id, list_id, number) VALUES ($1, 1, $2)";
        sqlx::query(sql)
            .bind(n + 1)
            .bind(number(n))
            .execute(rows)
            .await
            .expect("a contact");
    }
    let sql = "INSERT INTO task_contacts (task_id, contact_id, bucket_id, state, due_at_ms) SELECT 1, id, 1, 'ready', 0 FROM contacts";
    sqlx::query(sql).execute(rows).await.expect(sql);
    for n in 1..=AGENTS {
        let sql = "INSERT INTO agents (id, name, pbx, extension, state_at_ms) VALUES ($1, $2, 'main', $2, 0)";
        sqlx::query(sql)
            .bind(n)
            .bind(format!("agent-{n}"))
            .execute(rows)
            .await
            .expect("an agent");
    }
}

async fn start(url: &str, clock: Clock, handle: PbxHandle) -> Dialer {
    let metrics = Metrics::new();
    let store = Store::open(url, &metrics).await.expect("a store");
    let writer = store.writer();
    let agent_dial = AgentTemplate::new("PJSIP/{extension}").expect("a template");
    let switches = vec![Switch {
        name: PbxName::new("main"),
        kind: "sim",
        agent_dial,
        dial_allowed: DialRules::any(),
        handle,
    }];
    Dialer::start(store, writer, clock, metrics, switches)
        .await
        .expect("it starts")
}

/// Every agent who is not at work goes to work.
async fn all_to_work(dialer: &Dialer) {
    let at_work: BTreeMap<AgentId, AgentState> = dialer
        .live(CAMPAIGN)
        .iter()
        .flat_map(|live| &live.agents)
        .map(|a| (a.agent, a.state))
        .collect();
    for n in 1..=AGENTS {
        match at_work.get(&AgentId(n)) {
            None => {
                let request = AgentRequest::LogIn {
                    pbx: PbxName::new("main"),
                    template: AgentTemplate::new("PJSIP/{extension}").expect("a template"),
                    extension: Extension::new(&format!("agent-{n}")).expect("an extension"),
                };
                dialer
                    .agent(CAMPAIGN, AgentId(n), request)
                    .await
                    .expect("logged in");
                dialer
                    .agent(CAMPAIGN, AgentId(n), AgentRequest::Ready)
                    .await
                    .expect("ready");
            }
            Some(AgentState::Paused) => {
                dialer
                    .agent(CAMPAIGN, AgentId(n), AgentRequest::Ready)
                    .await
                    .expect("ready");
            }
            Some(_) => {}
        }
    }
}

async fn count(rows: &SqlitePool, sql: &'static str) -> i64 {
    sqlx::query(sql).fetch_one(rows).await.expect(sql).get(0)
}

const DONE: &str = "SELECT count(*) FROM task_contacts WHERE state = 'done'";

/// Works on until so many contacts are done.
async fn work_until(dialer: &Dialer, rows: &SqlitePool, done: i64) {
    let until = Instant::now() + Duration::from_secs(120);
    while count(rows, DONE).await < done {
        let live = dialer.live(CAMPAIGN);
        assert!(
            Instant::now() < until,
            "waited in vain for {done} contacts to be done: {live:?}"
        );
        all_to_work(dialer).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn a_paceline_that_dies_again_and_again_loses_nothing_and_dials_nothing_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", folder.path().join("paceline.db").display());
    let clock = Clock::with_speed(SPEED);
    let watching = runtime();
    let rows = watching.block_on(async {
        Store::open(&url, &Metrics::new())
            .await
            .expect("a store")
            .close()
            .await;
        let rows = SqlitePool::connect(&url).await.expect("the same store");
        fill(&rows).await;
        rows
    });
    let mut control: Option<SimControl> = None;
    for (nth, done) in DEATHS.into_iter().enumerate() {
        let run = runtime();
        run.block_on(async {
            let handle = match &control {
                Some(control) => control.attach(),
                None => {
                    let (handle, new) = sim::spawn_seeded(SimConfig::default(), 7, clock);
                    control = Some(new);
                    handle
                }
            };
            let dialer = start(&url, clock, handle).await;
            if let Some(control) = control.as_ref().filter(|_| nth % 2 == 1) {
                work_until(&dialer, &rows, done - 10).await;
                control.cut_link(Duration::from_millis(500));
                tokio::time::sleep(Duration::from_millis(20)).await;
                control.restore_link();
            }
            work_until(&dialer, &rows, done).await;
        });
        // Kills every task where it stands.
        run.shutdown_background();
    }
    let control = control.expect("a switch");
    watching.block_on(async {
        let dialer = start(&url, clock, control.attach()).await;
        work_until(&dialer, &rows, CONTACTS).await;
        dialer.drain().await;
        for (sql, expected) in [
            ("SELECT count(*) FROM attempts WHERE ended_at_ms IS NULL", 0),
            ("SELECT count(*) FROM number_leases", 0),
            ("SELECT count(*) FROM agents WHERE state <> 'offline'", 0),
        ] {
            assert_eq!(count(&rows, sql).await, expected, "{sql}");
        }
        assert_eq!(control.channels(), 0);
        compare_with_truth(&rows, &control).await;
    });
}

/// What the store says against what the switch did.
async fn compare_with_truth(rows: &SqlitePool, control: &SimControl) {
    assert_eq!(control.truth(|t| t.violations().to_vec()), []);
    let sql = "SELECT l.id, a.outcome, a.connected_at_ms IS NOT NULL FROM legs l JOIN attempts a ON a.id = l.attempt_id";
    let stored = sqlx::query(sql).fetch_all(rows).await.expect(sql);
    let stored: BTreeMap<LegId, (String, bool)> = stored
        .iter()
        .map(|r| (LegId(r.get::<uuid::Uuid, _>(0)), (r.get(1), r.get(2))))
        .collect();
    let dialed = control.truth(|t| t.legs().clone());
    let mut connected = 0;
    for (leg, truth) in &dialed {
        let (outcome, was_connected) = stored.get(leg).expect("every leg on the switch is stored");
        let answered = truth.answered_at.is_some();
        match outcome.as_str() {
            "answered" | "abandoned" => assert!(answered, "{leg} {outcome}: {truth:?}"),
            "unknown" => {}
            _ => assert!(!answered, "{leg} {outcome}: {truth:?}"),
        }
        assert!(!was_connected || !truth.connected.is_empty(), "{leg}: {truth:?}");
        connected += u32::from(*was_connected);
    }
    assert!(connected > 30, "{connected}");
    for n in 0..CONTACTS {
        let e164 = E164::new(&number(n)).expect("a number");
        let sql = "SELECT count(*) FROM attempts WHERE contact_id = $1";
        let attempts: i64 = sqlx::query(sql)
            .bind(n + 1)
            .fetch_one(rows)
            .await
            .expect(sql)
            .get(0);
        let times = control.truth(|t| t.dialed(&e164));
        assert!(
            times <= attempts as u64,
            "contact {n} was dialed {times} times in {attempts} attempts"
        );
    }
}
