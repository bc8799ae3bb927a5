//! Paceline is killed several times, and the link to the PBX is cut in between. Each next run takes over from the store
//! and the PBX; nothing is lost or dialed twice. Real dialer, real store; the simulated PBX keeps running.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use paceline::clock::Clock;
use paceline::dialer::{AttachedPbx, Dialer};
use paceline::metrics::Metrics;
use paceline::pbx::sim::{self, SimControl};
use paceline::pbx::{COMMANDS_WAITING_MAX, PbxHandle};
use paceline::store::{Requeued, Store, StoreMetrics};
use paceline_core::agent::AgentState;
use paceline_core::campaign::hours::CallingHours;
use paceline_core::campaign::settings::CampaignSettings;
use paceline_core::dial::{AgentTemplate, DialRules, Extension};
use paceline_core::ids::{AgentId, CampaignId, LegId, PbxName, TaskId};
use paceline_core::input::AgentRequest;
use paceline_core::number::E164;
use paceline_core::outcome::Outcome;
use paceline_core::pbx::PbxCommand;
use paceline_core::requeue::Requeue;
use paceline_sim::SimConfig;
use sqlx::Row;
use sqlx::sqlite::SqlitePool;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

const SPEED: f64 = 100.0;
const CAMPAIGN: CampaignId = CampaignId(1);
const CONTACTS: i64 = 200;
const AGENTS: i64 = 12;
/// How many contacts are done when each run is killed.
const DEATHS: [i64; 4] = [15, 50, 90, 140];

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

fn number(n: i64) -> String {
    format!("+120255{n:05}")
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
        "INSERT INTO task_buckets (id, task_id, localities, next_due_at_ms) VALUES (1, 1, '', 0)",
    ] {
        sqlx::query(sql).bind(&settings).execute(rows).await.expect(sql);
    }
    for n in 0..CONTACTS {
        let sql = "INSERT INTO contacts (id, list_id, name) VALUES ($1, 1, $2)";
        sqlx::query(sql)
            .bind(n + 1)
            .bind(number(n))
            .execute(rows)
            .await
            .expect("a contact");
    }
    let sql = "INSERT INTO contact_numbers (contact_id, position, list_id, number) SELECT id, 0, list_id, name FROM contacts";
    sqlx::query(sql).execute(rows).await.expect(sql);
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
    let store = Store::open(url, metrics.store()).await.expect("a store");
    let writer = store.writer();
    let agent_dial = AgentTemplate::new("PJSIP/{extension}").expect("a template");
    let pbxes = vec![AttachedPbx {
        name: PbxName::new("main"),
        kind: "sim",
        agent_dial,
        dial_allowed: DialRules::any(),
        handle,
    }];
    Dialer::start(
        store,
        writer,
        clock,
        paceline::demo::loopback_rules().unwrap(),
        metrics,
        pbxes,
    )
    .await
    .expect("it starts")
}

/// Logs in every agent who is not logged in, and makes them ready.
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

/// Keeps the agents working until `done` contacts are done.
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
fn a_paceline_that_is_killed_repeatedly_loses_nothing_and_dials_nothing_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", folder.path().join("paceline.db").display());
    let clock = Clock::with_speed(SPEED);
    let watching = runtime();
    let rows = watching.block_on(async {
        Store::open(&url, StoreMetrics::default())
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
                    let (handle, new) = sim::spawn_seeded(SimConfig::carried(), 7, clock);
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
        // Kills every task at once, wherever it is.
        run.shutdown_background();
    }
    let control = control.expect("a PBX");
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

/// A driver that drops every command to call a contact: the store has the attempt, and the PBX never gets the call.
fn that_places_nothing(handle: PbxHandle) -> PbxHandle {
    let (commands, mut asked) = mpsc::channel(COMMANDS_WAITING_MAX);
    let placed = handle.commands;
    tokio::spawn(async move {
        while let Some(command) = asked.recv().await {
            if !matches!(command, PbxCommand::CallContact { .. }) {
                placed.send(command).await.ok();
            }
        }
    });
    PbxHandle { commands, ..handle }
}

#[test]
fn a_stored_attempt_that_was_never_originated_uses_no_retry_and_is_called_again_on_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", folder.path().join("paceline.db").display());
    let clock = Clock::with_speed(SPEED);
    let watching = runtime();
    let rows = watching.block_on(async {
        let store = Store::open(&url, StoreMetrics::default()).await.expect("a store");
        store.close().await;
        let rows = SqlitePool::connect(&url).await.expect("the same store");
        fill(&rows).await;
        let sql = "DELETE FROM task_contacts WHERE contact_id > $1";
        sqlx::query(sql).bind(AGENTS).execute(&rows).await.expect(sql);
        rows
    });
    let dying = runtime();
    let control = dying.block_on(async {
        let (handle, control) = sim::spawn_seeded(SimConfig::carried(), 7, clock);
        let dialer = start(&url, clock, that_places_nothing(handle)).await;
        all_to_work(&dialer).await;
        wait_for(&rows, "SELECT count(*) FROM attempts", AGENTS).await;
        control
    });
    // Kills every task at once, wherever it is.
    dying.shutdown_background();
    watching.block_on(async {
        let dialer = start(&url, clock, control.attach()).await;
        let lost = "SELECT count(*) FROM attempts a JOIN task_contacts tc ON tc.contact_id = a.contact_id \
            WHERE a.ordinal = 1 AND a.outcome = 'unknown' AND tc.state = 'done' AND tc.attempts_made = 1 AND tc.tries_made = 0";
        wait_for(&rows, lost, AGENTS).await;
        let sql = "SELECT contact_id FROM attempts WHERE outcome = 'unknown'";
        let lost = sqlx::query(sql).fetch_all(&rows).await.expect(sql);
        let lost: Vec<i64> = lost.iter().map(|row| row.get(0)).collect();
        let times = |contact: i64| {
            let e164 = E164::new(&number(contact - 1)).expect("a number");
            control.truth(|t| t.dialed(&e164))
        };
        assert!(lost.iter().all(|contact| times(*contact) == 0));
        let store = Store::open(&url, StoreMetrics::default()).await.expect("a store");
        let which = Requeue::unreached();
        let queued = store.requeue(TaskId(1), &which, clock.now().wall).await;
        let queued = queued.expect("queued");
        let expected = BTreeMap::from([(Outcome::Unknown, AGENTS as u64)]);
        assert_eq!(queued, Requeued::Done(expected));
        dialer.task_changed(CAMPAIGN, TaskId(1)).await;
        work_until(&dialer, &rows, AGENTS).await;
        dialer.drain().await;
        for contact in lost {
            let sql = "SELECT attempts_made FROM task_contacts WHERE contact_id = $1";
            let made: i64 = sqlx::query(sql).bind(contact).fetch_one(&rows).await.expect(sql).get(0);
            // If the PBX refuses the call, the dialer places it again, so `made` may be more than 2.
            assert!(made >= 2 && times(contact) < made as u64, "{contact}: {made}");
        }
    });
}

#[test]
fn a_completed_task_calls_its_failed_contacts_again_on_request() {
    const COMPLETED: &str = "SELECT count(*) FROM tasks WHERE state = 'completed'";
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", folder.path().join("paceline.db").display());
    let clock = Clock::with_speed(SPEED);
    runtime().block_on(async {
        let store = Store::open(&url, StoreMetrics::default()).await.expect("a store");
        let rows = SqlitePool::connect(&url).await.expect("the same store");
        fill(&rows).await;
        for sql in [
            "DELETE FROM task_contacts WHERE contact_id > 60",
            // A retry is due after half an hour.
            "UPDATE tasks SET retries_max = 0",
        ] {
            sqlx::query(sql).execute(&rows).await.expect(sql);
        }
        let (handle, _control) = sim::spawn_seeded(SimConfig::carried(), 7, clock);
        let dialer = start(&url, clock, handle).await;
        work_until(&dialer, &rows, 60).await;
        wait_for(&rows, COMPLETED, 1).await;
        let sql = "SELECT contact_id, last_outcome, attempts_made FROM task_contacts";
        let read = async || {
            let found = sqlx::query(sql).fetch_all(&rows).await.expect(sql);
            let read = |row: &sqlx::sqlite::SqliteRow| {
                let outcome: Outcome = row.get::<&str, _>(1).parse().expect("an outcome");
                (row.get::<i64, _>(0), (outcome, row.get::<i64, _>(2)))
            };
            found.iter().map(read).collect::<BTreeMap<_, _>>()
        };
        let before = read().await;
        let again = [Outcome::Failed, Outcome::NoAnswer, Outcome::Busy];
        let mut expected: BTreeMap<Outcome, u64> = BTreeMap::new();
        for (outcome, _) in before.values().filter(|(outcome, _)| again.contains(outcome)) {
            *expected.entry(*outcome).or_default() += 1;
        }
        assert!(!expected.is_empty(), "every call was answered");
        let which = Requeue::after(again).expect("outcomes");
        let queued = store.requeue(TaskId(1), &which, clock.now().wall).await;
        assert_eq!(queued.expect("queued"), Requeued::Done(expected));
        assert_eq!(count(&rows, COMPLETED).await, 0);
        dialer.task_changed(CAMPAIGN, TaskId(1)).await;
        work_until(&dialer, &rows, 60).await;
        wait_for(&rows, COMPLETED, 1).await;
        for (contact, (_, made)) in read().await {
            let (outcome, made_before) = before[&contact];
            assert_eq!(
                made > made_before,
                again.contains(&outcome),
                "{contact}: {outcome}"
            );
        }
        dialer.drain().await;
    });
}

async fn wait_for(rows: &SqlitePool, sql: &'static str, value: i64) {
    let until = Instant::now() + Duration::from_secs(60);
    while count(rows, sql).await != value {
        assert!(Instant::now() < until, "waited in vain for {value}: {sql}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Compares the records in the store with the calls on the PBX.
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
        let (outcome, was_connected) = stored.get(leg).expect("every leg on the PBX is stored");
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
