//! The store's cost per call on SQLite, in CPU time of this process: leases, attempts and every other change that a
//! call stores, at a steady rate, without and with the ledger. `cargo bench --bench store`; a rate in calls per second
//! may follow `--`.
//!
//! Each call is leased (50 at a time), prepared, rings, and ends; of three calls one is answered, connected and followed
//! by wrap-up. Its agent changes state two times, or four. Half of the unanswered calls are to be retried.

use paceline::store::{NewAgent, NewTask, NewTaskContacts, NewTrunk, Store, StoreMetrics, Writer};
use paceline_core::agent::{AgentReason, AgentState, Wants};
use paceline_core::campaign::hours::CallingHours;
use paceline_core::campaign::settings::CampaignSettings;
use paceline_core::campaign::{CampaignConfig, CampaignState, TaskState};
use paceline_core::command::{Change, NewAttempt};
use paceline_core::dial::{Extension, TrunkTemplate};
use paceline_core::gate::CampaignPolicy;
use paceline_core::ids::{AgentId, AttemptId, LegId, PbxName, TrunkId};
use paceline_core::input::{Lead, Prepared};
use paceline_core::number::E164;
use paceline_core::outcome::Outcome;
use paceline_core::pbx::{LegEnd, Progress};
use paceline_core::time::Wall;
use paceline_ledger::NumberKey;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const RING: Duration = Duration::from_millis(700);
const TALK: Duration = Duration::from_millis(900);
const WRAP_UP: Duration = Duration::from_millis(300);
const LEASE_SIZE: usize = 50;
const MEASURED: Duration = Duration::from_secs(15);
const AGENTS: u64 = 200;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let rates: Vec<u64> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let rates = if rates.is_empty() {
        vec![10, 50, 200]
    } else {
        rates
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    for rate in rates {
        for ledger in [false, true] {
            runtime.block_on(measure(rate, ledger))?;
        }
    }
    Ok(())
}

struct Bench {
    store: Store,
    writer: Writer,
    policy: Arc<CampaignPolicy>,
    trunk: TrunkId,
    prepared_us: AtomicU64,
    refused: AtomicU64,
}

async fn measure(rate: u64, ledger: bool) -> Result<(), Failure> {
    let folder = tempfile::tempdir_in(std::env::var_os("PACELINE_BENCH_DIR").unwrap_or_else(|| ".".into()))?;
    let bench = Arc::new(
        open(
            &format!("sqlite:{}", folder.path().join("bench.db").display()),
            rate,
        )
        .await?,
    );
    let numbering = tokio::spawn(number(bench.store.clone()));
    if ledger {
        bench.store.keep_ledger(NumberKey::new(&[1; 32])?);
    }
    let (cpu, started) = (cpu()?, Instant::now());
    let mut tick = tokio::time::interval(Duration::from_secs(1) / u32::try_from(rate)?);
    let (mut calls, mut running, mut leads) = (0, tokio::task::JoinSet::new(), Vec::new());
    let mut leases = Duration::ZERO;
    while started.elapsed() < MEASURED {
        tick.tick().await;
        if leads.is_empty() {
            let at = Instant::now();
            let leased = bench.store.lease(&bench.policy, LEASE_SIZE, now()).await?;
            leases += at.elapsed();
            leads = leased.leads;
        }
        let lead = leads.pop().ok_or("no lead")?;
        calls += 1;
        running.spawn(call(Arc::clone(&bench), lead, calls));
    }
    while running.join_next().await.is_some() {}
    bench.writer.flush().await;
    numbering.abort();
    let spent = self::cpu()? - cpu;
    // The cost of the load itself: the same tasks and timers without a store.
    let idle = self::cpu()?;
    for n in 0..calls {
        running.spawn(tokio::time::sleep(RING * u32::try_from(n % 2)?));
    }
    while running.join_next().await.is_some() {}
    let load = self::cpu()? - idle;
    let per_call = |d: Duration| d.as_secs_f64() * 1e6 / calls as f64;
    let stats = bench.writer.stats();
    println!(
        "{rate:>4} calls/s, {}: {:>6.1} us CPU per call (load {:.1}), {:.2} transactions and {:.1} items per call, prepare {:.1} ms, \
         lease of {LEASE_SIZE} {:.1} ms, refused {}, {} calls in {:.1} s",
        if ledger { "with the ledger" } else { "without" },
        per_call(spent),
        per_call(load),
        stats.batches as f64 / calls as f64,
        stats.items as f64 / calls as f64,
        bench.prepared_us.load(Ordering::Relaxed) as f64 / 1e3 / calls as f64,
        leases.as_secs_f64() * 1e3 / (calls as f64 / LEASE_SIZE as f64).ceil(),
        bench.refused.load(Ordering::Relaxed),
        calls,
        started.elapsed().as_secs_f64(),
    );
    bench.store.close().await;
    Ok(())
}

/// As the job `ledger` does it.
async fn number(store: Store) {
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        while store.number_ledger().await.is_ok_and(|state| state.numbered > 0) {}
    }
}

async fn open(url: &str, rate: u64) -> Result<Bench, Failure> {
    let store = Store::open(url, StoreMetrics::default()).await?;
    let pbx = PbxName::new("office");
    let trunk = NewTrunk {
        name: "carrier".into(),
        pbx: pbx.clone(),
        dial: TrunkTemplate::new("PJSIP/{number}@carrier")?,
        caller_id: None,
    };
    let trunk = store.create_trunk(&trunk).await?.id;
    let campaign = store
        .create_campaign("bench", &CampaignSettings::default(), &[trunk], now())
        .await?
        .id;
    store
        .move_campaign(campaign, &[CampaignState::Draft], CampaignState::Active)
        .await?;
    for n in 0..AGENTS {
        let extension = Extension::new(&n.to_string())?;
        store
            .create_agent(
                &NewAgent {
                    name: format!("agent-{n}"),
                    pbx: pbx.clone(),
                    extension,
                },
                now(),
            )
            .await?;
    }
    // As in practice, the list is far larger than the number of calls.
    let count = (rate * 20).max(50_000);
    let numbers = (0..count)
        .map(|n| E164::new(&format!("+1202{:07}", 5_550_000 + n)).map(Into::into))
        .collect::<Result<_, _>>()?;
    let task = NewTask {
        campaign,
        name: "bench".into(),
        state: TaskState::Running,
        start_at: now(),
        retries_max: 2,
        contacts: NewTaskContacts::Numbers(numbers),
        idempotency: None,
    };
    store.create_tasks(&[task], now()).await?;
    store.prepare_tasks(now()).await?;
    let config = CampaignConfig {
        id: campaign,
        settings: CampaignSettings {
            hours: CallingHours::always(),
            ..CampaignSettings::default()
        },
        trunks: Vec::new(),
    };
    Ok(Bench {
        writer: store.writer(),
        store,
        policy: Arc::new(CampaignPolicy::new(
            &paceline::demo::loopback_rules()?,
            Arc::new(config),
        )),
        trunk,
        prepared_us: AtomicU64::new(0),
        refused: AtomicU64::new(0),
    })
}

async fn call(bench: Arc<Bench>, lead: Lead, n: u64) {
    let (attempt, leg) = (AttemptId(uuid::Uuid::now_v7()), LegId(uuid::Uuid::new_v4()));
    let (task, contact) = (lead.task, lead.contact);
    let agent = AgentId(i64::try_from(n % AGENTS).unwrap_or(0) + 1);
    let change = |change| bench.writer.change(bench.policy.config().id, change);
    let agent_is = |state| Change::Agent {
        agent,
        state,
        pbx: Some(PbxName::new("office")),
        leg: None,
        wants: Wants::Calls,
        reason: AgentReason::TakenOver,
        at: now(),
    };
    let new = NewAttempt {
        attempt,
        leg,
        pbx: PbxName::new("office"),
        trunk: bench.trunk,
        lead,
        created_at: now(),
        ring_timeout: RING,
    };
    change(agent_is(AgentState::Reserved)).await;
    let asked = Instant::now();
    let prepared = bench.writer.prepare(new, Arc::clone(&bench.policy)).await.await;
    bench.prepared_us.fetch_add(
        u64::try_from(asked.elapsed().as_micros()).unwrap_or(0),
        Ordering::Relaxed,
    );
    if prepared != Prepared::Allowed {
        bench.refused.fetch_add(1, Ordering::Relaxed);
        return;
    }
    tokio::time::sleep(RING / 3).await;
    change(Change::LegProgressed {
        attempt,
        leg,
        kind: Progress::Ringing,
        at: now(),
    })
    .await;
    tokio::time::sleep(RING).await;
    let answered = n.is_multiple_of(3);
    if answered {
        change(Change::Answered {
            attempt,
            leg,
            at: now(),
        })
        .await;
        change(Change::Connected {
            attempt,
            agent,
            at: now(),
        })
        .await;
        change(agent_is(AgentState::OnCall)).await;
        tokio::time::sleep(TALK).await;
    }
    let retry_at = (!answered && n.is_multiple_of(2)).then(|| now().plus(Duration::from_secs(1800)));
    let ended_at = now();
    change(Change::LegEnded {
        attempt,
        leg,
        end: LegEnd {
            q850: Some(16),
            ..LegEnd::default()
        },
        at: ended_at,
    })
    .await;
    change(Change::AttemptEnded {
        attempt,
        leg,
        task,
        contact,
        outcome: if answered {
            Outcome::Answered
        } else {
            Outcome::NoAnswer
        },
        at: ended_at,
        retry_at,
        spends_try: true,
    })
    .await;
    if answered {
        change(agent_is(AgentState::WrapUp)).await;
        tokio::time::sleep(WRAP_UP).await;
    }
    change(agent_is(AgentState::Available)).await;
}

fn now() -> Wall {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// CPU time of all threads of this process so far, in the kernel's own nanoseconds.
fn cpu() -> Result<Duration, Failure> {
    let mut spent = 0;
    for thread in std::fs::read_dir("/proc/self/task")? {
        let stat = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        spent += stat
            .split(' ')
            .next()
            .ok_or("no time in schedstat")?
            .parse::<u64>()?;
    }
    Ok(Duration::from_nanos(spent))
}
