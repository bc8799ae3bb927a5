//! The store hangs or is slow, or the whole process hangs; then the trouble ends. Agents are served meanwhile, nothing
//! is lost, and dialing is back at its full rate within seconds. The ordinary tests use 300 agents;
//! `scripts/prove overload` uses 1,000 agents and a trouble of two minutes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use paceline::clock::Clock;
use paceline::dialer::{AttachedPbx, Dialer};
use paceline::metrics::Metrics;
use paceline::pbx::sim;
use paceline::store::{NewAgent, NewTask, NewTaskContacts, NewTrunk, Store};
use paceline_core::agent::AgentState;
use paceline_core::campaign::hours::CallingHours;
use paceline_core::campaign::settings::CampaignSettings;
use paceline_core::campaign::{CampaignState, TaskState};
use paceline_core::dial::{AgentTemplate, DialRules, Extension, TrunkTemplate};
use paceline_core::ids::{AgentId, CampaignId, PbxName};
use paceline_core::input::AgentRequest;
use paceline_core::live::Idle;
use paceline_runtime::wakings;
use paceline_sim::SimConfig;
use std::fmt;
use std::time::{Duration, Instant};
use support::{Db, number, until};

#[path = "overload/crowds.rs"]
mod crowds;
#[allow(dead_code)]
#[path = "../crates/store/tests/store/support.rs"]
mod support;

const PBX: &str = "main";

/// The size of the test and its limits.
struct Scale {
    agents: u32,
    contacts: u32,
    speed: f64,
    /// Rates are measured over this time. Each agent must have several calls in it.
    window: Duration,
    /// After each trouble, every agent must have a call again within this time.
    back_within: Duration,
    /// The least share of the full rate after each trouble, 0 to 1.
    least: f64,
}

/// Small enough for a machine on which other tests run, and for a build without optimisation. There the test checks
/// that dialing comes back, not how fast the machine is.
const SHORT: Scale = Scale {
    agents: 300,
    contacts: 25_000,
    speed: 10.0,
    window: Duration::from_secs(4),
    back_within: Duration::from_secs(20),
    least: 0.4,
};
const FULL: Scale = Scale {
    agents: 1000,
    contacts: 150_000,
    speed: 10.0,
    window: Duration::from_secs(12),
    back_within: Duration::from_secs(5),
    least: 0.9,
};

fn is_full() -> bool {
    std::env::var("PACELINE_PROOF").is_ok_and(|proof| proof == "full")
}

fn scale() -> Scale {
    if is_full() { FULL } else { SHORT }
}

/// The seed for the order and the length of the troubles.
fn seed() -> u64 {
    let given = std::env::var("PACELINE_SEED").ok();
    let seed = given.map_or_else(rand::random, |seed| {
        seed.parse().expect("PACELINE_SEED is a number")
    });
    println!("PACELINE_SEED={seed}");
    seed
}

/// The same runtime as in `paceline serve`: one thread that rests between two wake-ups.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .on_thread_park(wakings::between_wakings())
        .enable_all()
        .build()
        .unwrap()
}

/// A call centre at work.
struct Centre {
    db: Db,
    store: Store,
    dialer: Dialer,
    metrics: Metrics,
    campaign: CampaignId,
    agents: Vec<AgentId>,
    scale: Scale,
    /// The load before any trouble.
    full: Load,
}

/// The rate of dialing.
#[derive(Clone, Copy, Default)]
struct Load {
    attempts_per_s: f64,
    /// The mean number of attempts that had not ended.
    in_flight: f64,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.1} attempts/s, {:.0} in flight",
            self.attempts_per_s, self.in_flight
        )
    }
}

impl Centre {
    async fn start(db: Db, scale: Scale, seed: u64) -> Self {
        let metrics = Metrics::new();
        let store = Store::open(&db.url, metrics.store()).await.unwrap();
        store.keep_ledger(paceline_ledger::NumberKey::new(&[5; 32]).unwrap());
        let now = Clock::real().now().wall;
        let pbx = PbxName::new(PBX);
        let trunk = NewTrunk {
            name: "carrier".into(),
            pbx: pbx.clone(),
            dial: TrunkTemplate::new("PJSIP/{number}@carrier").unwrap(),
            caller_id: None,
        };
        let trunk = store.create_trunk(&trunk).await.unwrap().id;
        let mut settings = CampaignSettings {
            hours: CallingHours::always(),
            ..CampaignSettings::default()
        };
        settings.agents.wrap_up_ms = 1000;
        settings.dialing.call_duration_ms_max = 60_000;
        let campaign = store
            .create_campaign("c", &settings, &[trunk], now)
            .await
            .unwrap()
            .id;
        let draft = [CampaignState::Draft];
        assert!(
            store
                .move_campaign(campaign, &draft, CampaignState::Active)
                .await
                .unwrap()
        );
        let task = NewTask {
            campaign,
            name: "t".into(),
            state: TaskState::Running,
            start_at: now,
            retries_max: 0,
            contacts: NewTaskContacts::Numbers((0..scale.contacts).map(|n| number(n).into()).collect()),
            idempotency: None,
        };
        store.create_tasks(&[task], now).await.unwrap();
        store.prepare_tasks(now).await.unwrap();
        let mut agents = Vec::new();
        for n in 1..=scale.agents {
            let extension = Extension::new(&format!("{n}")).unwrap();
            let agent = NewAgent {
                name: format!("agent {n}"),
                pbx: pbx.clone(),
                extension,
            };
            agents.push(store.create_agent(&agent, now).await.unwrap().id);
        }
        let clock = Clock::with_speed(scale.speed);
        let config = SimConfig {
            channels_max: 10_000,
            ..SimConfig::default()
        };
        let (handle, _) = sim::spawn_seeded(config, seed, clock);
        let agent_dial = AgentTemplate::new("PJSIP/{extension}").unwrap();
        let pbx = AttachedPbx {
            name: pbx,
            kind: "sim",
            agent_dial,
            dial_allowed: DialRules::any(),
            handle,
        };
        let writer = store.writer_in(&clock);
        let dialer = Dialer::start(
            store.clone(),
            writer,
            clock,
            paceline::demo::loopback_rules().unwrap(),
            metrics.clone(),
            vec![pbx],
        )
        .await
        .unwrap();
        let centre = Self {
            db,
            store,
            dialer,
            metrics,
            campaign,
            agents,
            scale,
            full: Load::default(),
        };
        for agent in &centre.agents {
            let log_in = AgentRequest::LogIn {
                pbx: PbxName::new(PBX),
                template: AgentTemplate::new("PJSIP/{extension}").unwrap(),
                extension: Extension::new(&agent.to_string()).unwrap(),
            };
            centre.dialer.agent(campaign, *agent, log_in).await.unwrap();
            centre
                .dialer
                .agent(campaign, *agent, AgentRequest::Ready)
                .await
                .unwrap();
        }
        centre
    }

    async fn attempts(&self) -> i64 {
        self.db.count("SELECT count(*) FROM attempts").await
    }

    /// Measures the load over one window.
    async fn load(&self) -> Load {
        let (before, from) = (self.attempts().await, Instant::now());
        let (mut in_flight, mut samples) = (0, 0);
        while from.elapsed() < self.scale.window {
            tokio::time::sleep(Duration::from_millis(100)).await;
            in_flight += u32::try_from(self.dialer.busy().0).unwrap();
            samples += 1;
        }
        let made = u32::try_from(self.attempts().await - before).unwrap();
        Load {
            attempts_per_s: f64::from(made) / from.elapsed().as_secs_f64(),
            in_flight: f64::from(in_flight) / f64::from(samples),
        }
    }

    /// Waits until calls end as often as they begin.
    async fn warm_up(&mut self) {
        let half = usize::try_from(self.scale.agents / 2).unwrap();
        until("half of the agents have been busy", async || {
            self.dialer.busy().1 >= self.agents.len() && self.dialer.busy().0 >= half / 2
        })
        .await;
        let first = self.load().await;
        self.full = self.load().await;
        println!("full: {}", self.full);
        let window = self.scale.window.as_secs_f64();
        assert!(
            self.full.attempts_per_s * window >= 5.0,
            "{first} and then {}",
            self.full
        );
    }

    /// While the store hangs, agents' requests are answered, and the live state and the metrics report the fault.
    async fn is_served_and_told(&self) {
        until("it is told that the store cannot write", async || {
            let told = self
                .dialer
                .live(self.campaign)
                .is_some_and(|live| live.idle.contains(&Idle::StoreTrouble));
            told && self.store.cannot_write() && self.metrics.render().contains("\npaceline_store_failing 1")
        })
        .await;
        for request in [AgentRequest::Pause, AgentRequest::Ready] {
            let asked = Instant::now();
            self.dialer
                .agent(self.campaign, self.agents[0], request)
                .await
                .unwrap();
            assert!(
                asked.elapsed() < Duration::from_secs(1),
                "the agent waited {:?}",
                asked.elapsed()
            );
        }
    }

    /// Waits until the agents have calls again, and checks that dialing is back at its rate.
    async fn is_back(&self, what: &str) {
        let over = Instant::now();
        let before = self.attempts().await;
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let live = self.dialer.live(self.campaign).unwrap();
            let free = live
                .agents_by_state
                .get(&AgentState::Available)
                .copied()
                .unwrap_or(0);
            let made = self.attempts().await - before;
            if made > 0 && free * 10 < self.agents.len() {
                break;
            }
            let took = over.elapsed();
            assert!(
                took < self.scale.back_within,
                "{what}: after {took:?} {free} agents are free, {made} attempts: {:?}",
                live.idle
            );
        }
        let took = over.elapsed().as_secs_f64();
        until("it is told that the store writes again", async || {
            !self.store.cannot_write() && self.metrics.render().contains("\npaceline_store_failing 0")
        })
        .await;
        let load = self.load().await;
        let since = over.elapsed().as_secs_f64();
        let made = u32::try_from(self.attempts().await - before).unwrap();
        let after = Load {
            attempts_per_s: f64::from(made) / since,
            ..load
        };
        println!("{what}: every agent had a call after {took:.1} s; {after}");
        let least = self.scale.least;
        assert!(
            after.attempts_per_s >= self.full.attempts_per_s * least
                && after.in_flight >= self.full.in_flight * least,
            "{what}: {after}; before: {}",
            self.full
        );
    }

    /// Another process locks the store, so nothing can be written.
    async fn locked(&self, length: Duration) {
        let blocked = self.db.block_writing().await;
        let from = Instant::now();
        if length > Duration::from_secs(4) {
            self.is_served_and_told().await;
        }
        tokio::time::sleep(length.saturating_sub(from.elapsed())).await;
        drop(blocked);
        self.is_back(&format!("locked for {} s", length.as_secs())).await;
    }

    /// Every transaction waits about 50 ms for the store.
    async fn slow(&self, length: Duration) {
        let (from, before) = (Instant::now(), self.attempts().await);
        while from.elapsed() < length {
            let blocked = self.db.block_writing().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            drop(blocked);
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        let made = self.attempts().await - before;
        println!(
            "slow for {} s: {:.1} attempts/s",
            length.as_secs(),
            made as f64 / length.as_secs_f64()
        );
        assert!(made > 0, "nothing was dialed on a slow store");
        self.is_back("slow").await;
    }

    /// The whole process hangs, and afterwards its clocks jump.
    async fn frozen(&self, length: Duration) {
        std::thread::sleep(length);
        self.is_back(&format!("frozen for {} s", length.as_secs())).await;
    }

    /// Checks that nothing was lost: attempts have an end, contacts have a valid state, and no call was abandoned.
    async fn end(self) {
        self.dialer.drain().await;
        for (rule, broken) in [
            (
                "no attempt is open",
                "SELECT count(*) FROM attempts WHERE outcome IS NULL",
            ),
            (
                "no outcome is unknown",
                "SELECT count(*) FROM attempts WHERE outcome = 'unknown'",
            ),
            ("no number is held", "SELECT count(*) FROM number_leases"),
            (
                "no contact is leased",
                "SELECT count(*) FROM task_contacts WHERE state = 'leased'",
            ),
            (
                "nobody is logged in",
                "SELECT count(*) FROM agents WHERE state <> 'offline'",
            ),
            (
                "every contact that is done was called",
                "SELECT count(*) FROM task_contacts tc WHERE state = 'done' AND NOT EXISTS \
                   (SELECT 1 FROM attempts a WHERE a.contact_id = tc.contact_id AND a.task_id = tc.task_id)",
            ),
        ] {
            assert_eq!(self.db.count(broken).await, 0, "{rule}");
        }
        self.db.check().await;
    }
}

#[test]
fn dialing_is_back_after_the_store_stood_still() {
    runtime().block_on(async {
        let mut centre = Centre::start(Db::sqlite().await, scale(), seed()).await;
        centre.warm_up().await;
        if is_full() {
            for length in [5, 30, 120] {
                centre.locked(Duration::from_secs(length)).await;
            }
            centre.slow(Duration::from_secs(20)).await;
            centre.frozen(Duration::from_secs(20)).await;
        } else {
            centre.locked(Duration::from_secs(7)).await;
            centre.slow(Duration::from_secs(2)).await;
            centre.frozen(Duration::from_secs(3)).await;
        }
        centre.end().await;
    });
}

#[test]
fn dialing_is_back_after_postgres_stood_still_or_died() {
    runtime().block_on(async {
        let mut server = paceline_lab::Postgres::start().unwrap();
        let mut centre = Centre::start(Db::postgres(&server).await, scale(), seed()).await;
        centre.warm_up().await;
        let lengths: &[u64] = if is_full() { &[5, 30, 120] } else { &[7] };
        for length in lengths {
            centre.locked(Duration::from_secs(*length)).await;
        }
        let (slow, down) = if is_full() { (20, 20) } else { (2, 4) };
        centre.slow(Duration::from_secs(slow)).await;
        server.kill();
        tokio::time::sleep(Duration::from_secs(down)).await;
        server.restart().unwrap();
        centre.is_back(&format!("killed for {down} s")).await;
        centre.end().await;
    });
}
