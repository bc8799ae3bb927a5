//! The dialer over a real store and the simulated PBX, in accelerated time: from logged-in agents to a completed task.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use paceline::api::control::AgentRefusal;
use paceline::clock::Clock;
use paceline::dialer::{AttachedPbx, Dialer};
use paceline::events::Next;
use paceline::metrics::Metrics;
use paceline::pbx::sim::{self, SimControl};
use paceline::store::{Store, StoreMetrics};
use paceline_core::agent::{AgentReason, AgentState};
use paceline_core::campaign::Mode;
use paceline_core::campaign::hours::CallingHours;
use paceline_core::campaign::settings::CampaignSettings;
use paceline_core::dial::{AgentTemplate, DialRules, Extension};
use paceline_core::event::{CallProgress, CallStep, What};
use paceline_core::ids::{AgentId, AttemptId, CampaignId, PbxName};
use paceline_core::input::AgentRequest;
use paceline_core::live::Decision;
use paceline_core::outcome::Outcome;
use paceline_core::pacing::EffectiveMode;
use paceline_core::time::Wall;
use paceline_sim::{Answer, SimConfig};
use sqlx::Row;
use sqlx::sqlite::SqlitePool;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

#[path = "dialer/opt_outs.rs"]
mod opt_outs;
#[path = "dialer/stops.rs"]
mod stops;

const SPEED: f64 = 100.0;
const CAMPAIGN: CampaignId = CampaignId(1);

struct Rig {
    dialer: Dialer,
    metrics: Metrics,
    rows: SqlitePool,
    control: SimControl,
    folder: tempfile::TempDir,
    url: String,
}

async fn dialer(url: &str, clock: Clock) -> (Dialer, SimControl) {
    dialer_on("main", url, clock, Metrics::new(), SimConfig::carried()).await
}

async fn dialer_on(
    pbx: &str,
    url: &str,
    clock: Clock,
    metrics: Metrics,
    config: SimConfig,
) -> (Dialer, SimControl) {
    let store = Store::open(url, metrics.store()).await.expect("a store");
    let (handle, control) = sim::spawn_seeded(config, 7, clock);
    let agent_dial = AgentTemplate::new("PJSIP/{extension}").expect("a template");
    let pbxes = vec![AttachedPbx {
        name: PbxName::new(pbx),
        kind: "sim",
        agent_dial,
        dial_allowed: DialRules::any(),
        handle,
    }];
    let writer = store.writer();
    (
        Dialer::start(
            store,
            writer,
            clock,
            paceline::demo::loopback_rules().unwrap(),
            metrics,
            pbxes,
        )
        .await
        .expect("it starts"),
        control,
    )
}

/// `contacts` numbers without any trunk failure, and `agents` agents who are ready.
async fn rig(contacts: i64, agents: i64) -> Rig {
    rig_in(Mode::Progressive, contacts, agents).await
}

async fn rig_in(mode: Mode, contacts: i64, agents: i64) -> Rig {
    rig_at(SPEED, mode, contacts, agents, SimConfig::carried()).await
}

async fn rig_at(speed: f64, mode: Mode, contacts: i64, agents: i64, config: SimConfig) -> Rig {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", folder.path().join("paceline.db").display());
    Store::open(&url, StoreMetrics::default())
        .await
        .expect("a store")
        .close()
        .await;
    let rows = SqlitePool::connect(&url).await.expect("the same store");
    let mut settings = CampaignSettings {
        hours: CallingHours::always(),
        ..CampaignSettings::default()
    };
    settings.pacing.mode = mode;
    settings.answering.abandon_message = paceline_core::pbx::Sound::new("sound:sorry").ok();
    settings.agents.wrap_up_ms = 1000;
    let settings = paceline::store::settings::write(&settings).expect("a row");
    let run = async |sql: &'static str, settings: &str| {
        sqlx::query(sql).bind(settings).execute(&rows).await.expect(sql);
    };
    run(
        "INSERT INTO trunks (id, name, pbx, dial) VALUES (1, 'carrier', 'main', 'PJSIP/{number}@carrier')",
        "",
    )
    .await;
    run("INSERT INTO campaigns (id, name, state, settings, created_at_ms) VALUES (1, 'test', 'active', $1, 0)", &settings)
        .await;
    run(
        "INSERT INTO campaign_trunks (campaign_id, position, trunk_id) VALUES (1, 0, 1)",
        "",
    )
    .await;
    run(
        "INSERT INTO contact_lists (id, name, created_at_ms) VALUES (1, 'test', 0)",
        "",
    )
    .await;
    run(
        "INSERT INTO tasks (id, campaign_id, list_id, name, state, start_at_ms, retries_max, next_due_at_ms, created_at_ms) \
         VALUES (1, 1, 1, 'test', 'running', 0, 0, 0, 0)",
        "",
    )
    .await;
    run(
        "INSERT INTO task_buckets (id, task_id, localities, next_due_at_ms) VALUES (1, 1, '', 0)",
        "",
    )
    .await;
    for n in 0..contacts {
        let number = format!("+120255{n:05}");
        sqlx::query("INSERT INTO contacts (id, list_id, name) VALUES ($1, 1, $2)")
            .bind(n + 1)
            .bind(number)
            .execute(&rows)
            .await
            .expect("a contact");
    }
    run("INSERT INTO contact_numbers (contact_id, position, list_id, number) SELECT id, 0, list_id, name FROM contacts", "")
        .await;
    run("INSERT INTO task_contacts (task_id, contact_id, bucket_id, state, due_at_ms) SELECT 1, id, 1, 'ready', 0 FROM contacts", "")
        .await;
    for n in 1..=agents {
        sqlx::query(
            "INSERT INTO agents (id, name, pbx, extension, state_at_ms) VALUES ($1, $2, 'main', $2, 0)",
        )
        .bind(n)
        .bind(format!("agent-{n}"))
        .execute(&rows)
        .await
        .expect("an agent");
    }
    let metrics = Metrics::new();
    let clock = Clock::with_speed(speed);
    let (dialer, control) = dialer_on("main", &url, clock, metrics.clone(), config).await;
    for n in 1..=agents {
        dialer
            .agent(CAMPAIGN, AgentId(n), log_in(n))
            .await
            .expect("logged in");
        dialer
            .agent(CAMPAIGN, AgentId(n), AgentRequest::Ready)
            .await
            .expect("ready");
    }
    Rig {
        dialer,
        metrics,
        rows,
        control,
        folder,
        url,
    }
}

fn log_in(n: i64) -> AgentRequest {
    AgentRequest::LogIn {
        pbx: PbxName::new("main"),
        template: AgentTemplate::new("PJSIP/{extension}").expect("a template"),
        extension: Extension::new(&format!("agent-{n}")).expect("an extension"),
    }
}

impl Rig {
    async fn run(&self, sql: &'static str) {
        sqlx::query(sql).execute(&self.rows).await.expect(sql);
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query(sql).fetch_one(&self.rows).await.expect(sql).get(0)
    }

    async fn wait_until(&self, sql: &'static str, value: i64) {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let found = self.count(sql).await;
            if found == value {
                return;
            }
            assert!(
                Instant::now() < until,
                "waited in vain for `{sql}` to be {value}: {found}; {:?}",
                self.dialer.live(CAMPAIGN)
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

const DONE: &str = "SELECT count(*) FROM task_contacts WHERE state = 'done'";
const OPEN: &str = "SELECT count(*) FROM attempts WHERE ended_at_ms IS NULL";

#[tokio::test]
async fn every_contact_of_a_task_is_dialed_once_and_ends_with_an_outcome() {
    // After a trunk failure the contact is due again in half an hour, so this rig runs faster.
    let rig = rig_at(4.0 * SPEED, Mode::Progressive, 200, 10, SimConfig::default()).await;
    rig.wait_until(DONE, 200).await;
    // Calls that the PBX refused or that the trunk failed. They use up no retry.
    let refused = rig
        .count(
            "SELECT count(*) FROM attempts a JOIN legs l ON l.attempt_id = a.id \
             WHERE l.ended_by = 'refused' OR a.outcome = 'congestion'",
        )
        .await;
    assert_eq!(rig.count("SELECT count(*) FROM attempts").await, 200 + refused);
    assert_eq!(
        rig.count("SELECT count(*) FROM gate_decisions WHERE verdict = 'allow' AND stage = 'originate'")
            .await,
        200 + refused
    );
    rig.wait_until("SELECT count(*) FROM tasks WHERE state = 'completed'", 1)
        .await;
    assert_eq!(rig.count("SELECT count(*) FROM number_leases").await, 0);
    let talked = rig
        .count("SELECT count(*) FROM attempts WHERE outcome = 'answered' AND agent_id IS NOT NULL")
        .await;
    assert!(talked > 20, "{talked}");
    rig.dialer.drain().await;
    assert_eq!(
        rig.count("SELECT count(*) FROM agents WHERE state <> 'offline'")
            .await,
        0
    );
    rig.folder.close().expect("removed");
}

#[tokio::test]
async fn a_predictive_campaign_shows_its_decisions_and_keeps_its_learnt_rates() {
    // Decisions are kept for one hour of the rig's time, so the run must be shorter than that, also on a slow machine.
    let rig = rig_in(Mode::Predictive, 100, 5).await;
    rig.wait_until(DONE, 100).await;
    let decisions = rig.dialer.decisions(CAMPAIGN, 18_000);
    let launched: u32 = decisions.iter().map(|d| d.report.launch).sum();
    let attempts = rig.count("SELECT count(*) FROM attempts").await;
    assert_eq!(i64::from(launched), attempts, "every call was decided on");
    let ticks: u32 = decisions.iter().map(|d| d.ticks).sum();
    assert!(ticks > launched && decisions.len() < ticks as usize, "{ticks}");
    // With so few calls, the length of the conversations in this run decides whether a call is launched ahead.
    let ahead = |d: &Decision| d.report.mode == EffectiveMode::Predictive;
    assert!(
        decisions.iter().any(ahead),
        "none was decided on ahead of free agents"
    );
    assert_eq!(rig.count(OPEN).await, 0);
    rig.dialer.drain().await;
    assert_eq!(rig.count("SELECT count(*) FROM number_leases").await, 0);
    assert_eq!(rig.count("SELECT count(*) FROM pacing_learnt").await, 1);
}

#[tokio::test]
async fn every_step_of_a_call_is_an_event_that_agrees_with_the_store() {
    let rig = rig(30, 4).await;
    let mut reader = rig.dialer.events().read("0-0".parse().ok());
    assert_eq!(reader.next().await, Next::Missed, "of a run before this one");
    let mut steps: BTreeMap<AttemptId, Vec<CallStep>> = BTreeMap::new();
    let mut outcomes: BTreeMap<AttemptId, Outcome> = BTreeMap::new();
    let (mut agents_told, mut links) = (0, 0);
    while rig.count(DONE).await < 30 || outcomes.len() < steps.len() {
        let next = tokio::time::timeout(Duration::from_secs(1), reader.next()).await;
        let Ok(Next::Event(event)) = next else { continue };
        match &event.what {
            What::Call { attempt, progress } => {
                steps.entry(*attempt).or_default().push(progress.step());
                if let CallProgress::Ended { outcome, .. } = progress {
                    outcomes.insert(*attempt, *outcome);
                }
            }
            What::Agent { .. } => agents_told += 1,
            What::Pbx { .. } => links += 1,
            What::Task { .. } | What::Trunk { .. } | What::Maintenance { .. } | What::Alarm { .. } => {}
        }
    }
    assert!(agents_told > 0 && links <= 1, "{agents_told} {links}");
    // The first steps of calls that were dialed before the reader began are missing.
    let whole = |steps: &&Vec<CallStep>| steps.first() == Some(&CallStep::Dialing);
    assert!(steps.values().filter(whole).count() >= 20);
    for (attempt, steps) in &steps {
        assert!(steps.is_sorted(), "{attempt}: {steps:?}");
        assert_eq!(steps.last(), Some(&CallStep::Ended), "{attempt}: {steps:?}");
    }
    rig.dialer.stop().await;
    for (attempt, outcome) in outcomes {
        let stored: String = sqlx::query("SELECT outcome FROM attempts WHERE id = ?")
            .bind(attempt.0.as_bytes().as_slice())
            .fetch_one(&rig.rows)
            .await
            .expect("the attempt")
            .get(0);
        assert_eq!(stored, outcome.as_str());
    }
}

#[tokio::test]
async fn a_cut_link_and_a_restarted_pbx_lose_nothing() {
    let rig = rig(150, 10).await;
    for fraction in [
        "SELECT count(*) >= 20 FROM task_contacts WHERE state = 'done'",
        "SELECT count(*) >= 60 FROM task_contacts WHERE state = 'done'",
        "SELECT count(*) >= 100 FROM task_contacts WHERE state = 'done'",
    ] {
        rig.wait_until(fraction, 1).await;
        rig.control.cut_link(Duration::ZERO);
        tokio::time::sleep(Duration::from_millis(50)).await;
        rig.control.restore_link();
    }
    rig.wait_until(DONE, 150).await;
    assert_eq!(rig.count(OPEN).await, 0);
    assert_eq!(
        rig.count("SELECT count(DISTINCT contact_id) FROM attempts").await,
        150
    );
    rig.dialer.drain().await;
}

#[tokio::test]
async fn a_pause_that_cannot_be_read_at_first_reaches_the_engine() {
    let rig = rig(100, 2).await;
    rig.wait_until("SELECT count(*) >= 5 FROM attempts", 1).await;
    rig.run("ALTER TABLE campaign_trunks RENAME TO hidden").await;
    rig.run("UPDATE campaigns SET state = 'paused'").await;
    let telling = rig.dialer.campaign_changed(CAMPAIGN);
    // The dialer continues to read the campaign after this call has timed out.
    let _ = tokio::time::timeout(Duration::from_millis(200), telling).await;
    rig.run("ALTER TABLE hidden RENAME TO campaign_trunks").await;
    let until = Instant::now() + Duration::from_secs(30);
    while rig.dialer.live(CAMPAIGN).expect("it runs").active {
        assert!(Instant::now() < until, "the engine never heard of the pause");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    rig.wait_until("SELECT count(*) FROM number_leases", 0).await;
    assert!(rig.count("SELECT count(*) FROM attempts").await < 100);
}

#[tokio::test]
async fn a_pbx_that_is_no_longer_configured_leaves_no_open_call_and_no_agent_logged_in() {
    let rig = rig(100, 5).await;
    let talking_and_over = "SELECT count(CASE WHEN ended_at_ms IS NULL AND connected_at_ms > 0 THEN 1 END) > 0 \
        AND count(ended_at_ms) > 0 FROM attempts";
    rig.wait_until(talking_and_over, 1).await;
    rig.dialer.stop().await;
    assert!(rig.count(OPEN).await > 0);
    rig.run(
        "INSERT INTO recordings (name, attempt_id, agent_id, pbx, state, asked_at_ms) \
         SELECT 'lost', id, 1, 'main', 'running', 0 FROM attempts WHERE ended_at_ms IS NOT NULL LIMIT 1",
    )
    .await;
    // A callee had answered, and no agent was connected yet.
    rig.run("UPDATE attempts SET connected_at_ms = NULL, agent_id = NULL WHERE ended_at_ms IS NULL AND connected_at_ms > 0")
        .await;
    let clock = Clock::with_speed(SPEED);
    let (next, _control) = dialer_on("other", &rig.url, clock, Metrics::new(), SimConfig::carried()).await;
    rig.wait_until(OPEN, 0).await;
    rig.wait_until("SELECT count(*) FROM number_leases", 0).await;
    rig.wait_until("SELECT count(*) FROM agents WHERE state <> 'offline'", 0)
        .await;
    let unknown = "SELECT count(*) FROM attempts a JOIN legs l ON l.attempt_id = a.id \
        WHERE a.outcome = 'unknown' AND l.detail LIKE '%no longer configured%'";
    assert!(rig.count(unknown).await > 0);
    assert_eq!(next.campaign_of(AgentId(1)), None);
    // A callee who was connected after more than 2 s counts as well. On a busy machine this happens.
    let abandoned = "SELECT count(*) FROM attempts WHERE abandoned_at_ms IS NOT NULL OR connected_at_ms > answered_at_ms + 2000 \
        OR connected_at_ms IS NULL AND answered_at_ms IS NOT NULL \
          AND (outcome IN ('abandoned', 'unknown') OR outcome = 'answered' AND ended_at_ms > answered_at_ms + 2000)";
    // Waits for the first live state.
    let account = async {
        loop {
            let live = next.live(CAMPAIGN).expect("it runs");
            if let Some(account) = live.abandon.first() {
                return account.abandoned as i64;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert_eq!(account.await, rig.count(abandoned).await, "what the rows say");
    assert_eq!(
        rig.count("SELECT count(*) FROM recordings WHERE state = 'failed' AND ended_at_ms > 0")
            .await,
        1,
        "nobody hears of its end any more"
    );
}

#[tokio::test]
async fn an_agent_whose_phone_declines_is_paused_and_the_reason_is_shown_and_counted() {
    let rig = rig(0, 1).await;
    let agent_is = async |state: AgentState, reason: AgentReason| {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let live = rig.dialer.live(CAMPAIGN).expect("a live campaign");
            let agent = live.agents.first();
            if agent.is_some_and(|agent| (agent.state, agent.reason) == (state, reason)) {
                return;
            }
            assert!(Instant::now() < until, "not {state}, {reason}: {agent:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    agent_is(AgentState::Available, AgentReason::PhoneAnswered).await;
    let declines = Answer::Refuses {
        after: Duration::from_secs(1),
        sip: 603,
        q850: 21,
    };
    rig.control.set_phone("PJSIP/agent-1", declines);
    let held = rig.control.held_at("PJSIP/agent-1").expect("a held leg");
    rig.control.far_end_hangs_up(held.0);
    agent_is(AgentState::Paused, AgentReason::PhoneDeclined).await;
    let text = rig.metrics.render();
    let counted = r#"paceline_agent_state_changes_total{state="paused",reason="phone_declined"} "#;
    assert!(text.contains(counted), "{text}");
    rig.dialer.stop().await;
}

/// Another program, or an earlier version, wrote these rows.
#[tokio::test]
async fn rows_that_cannot_be_dialed_stop_neither_the_start_nor_the_other_rows() {
    let rig = rig(20, 2).await;
    rig.wait_until(DONE, 20).await;
    rig.dialer.stop().await;
    for sql in [
        "INSERT INTO trunks (id, name, pbx, dial) VALUES (2, 'shell', 'main', 'loopback/app=system:reboot{number}')",
        "INSERT INTO trunks (id, name, pbx, dial) VALUES (3, 'elsewhere', 'main', 'sofia/gateway/a/{number}@203.0.113.9')",
        "INSERT INTO trunks (id, name, pbx, dial, caller_id) VALUES (4, 'id', 'main', 'PJSIP/{number}@a', '1,2')",
        "UPDATE campaign_trunks SET position = 3 WHERE trunk_id = 1",
        "INSERT INTO campaign_trunks (campaign_id, position, trunk_id) VALUES (1, 0, 2), (1, 1, 3), (1, 2, 4)",
        "INSERT INTO campaigns (id, name, state, settings, created_at_ms) \
         VALUES (2, 'old', 'active', '{\"version\": 1, \"settings\": {\"answering\": {\"abandon_message\": \"shell_stream://reboot\"}}}', 0)",
        "INSERT INTO campaign_trunks (campaign_id, position, trunk_id) VALUES (2, 0, 1)",
        "INSERT INTO agents (id, name, pbx, extension, state, state_at_ms, campaign_id) \
         VALUES (9, 'evil', 'main', '7&SIP/1', 'available', 0, 1)",
        "UPDATE tasks SET state = 'running', next_due_at_ms = 0",
        "UPDATE task_buckets SET next_due_at_ms = 0",
        "UPDATE task_contacts SET state = 'ready', due_at_ms = 0",
        "DELETE FROM legs",
        "DELETE FROM attempts",
    ] {
        sqlx::query(sql).execute(&rig.rows).await.expect(sql);
    }
    let (dialer, _control) = dialer(&rig.url, Clock::with_speed(SPEED)).await;
    rig.wait_until(DONE, 20).await;
    let over = "SELECT count(*) FROM legs WHERE trunk_id <> 1";
    assert_eq!(rig.count(over).await, 0);
    assert!(rig.count("SELECT count(*) FROM legs").await >= 20);
    let evil = "SELECT count(*) FROM agents WHERE id = 9 AND state = 'offline'";
    assert_eq!(rig.count(evil).await, 1);
    assert!(
        dialer
            .live(CampaignId(2))
            .is_some_and(|live| live.idle.contains(&paceline_core::live::Idle::NotActive))
    );
    dialer.stop().await;
}
