//! `POST /api/v1/tasks?dry_run=true` with a list of a million contacts in seven countries, over HTTP to a running
//! Paceline: the time that it takes, and the peak of the memory. A third of the contacts has a consent, and some of
//! these expire within the week; a quarter has past attempts; one in 33 is on the do-not-call list. `scripts/bench
//! dry-run`; the number of contacts may follow, then `sqlite` or `postgres`.

use paceline::api::{Role, keys};
use paceline::app::App;
use paceline::clock::Clock;
use paceline::config::{Config, StoreConfig};
use paceline::store::{NewTrunk, Store, StoreMetrics};
use paceline_core::campaign::CampaignState;
use paceline_core::campaign::settings::CampaignSettings;
use paceline_core::contact::{Consent, ConsentKind, Proof};
use paceline_core::dial::TrunkTemplate;
use paceline_core::gate::Purpose;
use paceline_core::ids::PbxName;
use paceline_core::time::Wall;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// The same allocator as the binary's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error>;

const RUNS: usize = 3;
const DAY_MS: i64 = 86_400_000;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let contacts = args.iter().find_map(|arg| arg.parse().ok()).unwrap_or(1_000_000);
    let wanted =
        |name: &str| !args.iter().any(|a| a == "sqlite" || a == "postgres") || args.iter().any(|a| a == name);
    let folder = tempfile::tempdir_in(std::env::var_os("PACELINE_BENCH_DIR").unwrap_or_else(|| ".".into()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        if wanted("sqlite") {
            let store = StoreConfig::sqlite(&folder.path().join("paceline.db"));
            let url = format!("sqlite:{}", folder.path().join("paceline.db").display());
            measure("SQLite", &url, store, folder.path(), contacts).await?;
        }
        if wanted("postgres") {
            let server = paceline_lab::Postgres::start()?;
            let store = StoreConfig {
                url: server.url().into(),
                shown: "postgres".into(),
                keys: Some(folder.path().to_owned()),
            };
            measure("PostgreSQL", &server.url(), store, folder.path(), contacts).await?;
        }
        Ok(())
    })
}

async fn measure(
    what: &str,
    url: &str,
    store: StoreConfig,
    folder: &Path,
    contacts: i64,
) -> Result<(), Failure> {
    let key = fill(url, contacts).await?;
    let config = Config {
        store,
        listen: ([127, 0, 0, 1], 0).into(),
        file: Some(folder.join("paceline.toml")),
        ..Config::default()
    };
    let app = App::start(&config, Clock::real()).await?;
    // The client needs a provider of TLS, though it uses plain HTTP here.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build()?;
    let task = json!({"name": "bench", "contact_list_id": 1, "campaign_id": 1});
    let url = format!("http://{}/api/v1/tasks?dry_run=true", app.addr);
    for run in 1..=RUNS {
        std::fs::write("/proc/self/clear_refs", "5")?;
        let before = memory_mb("VmRSS:")?;
        let started = Instant::now();
        let reply = client.post(&url).bearer_auth(&key).json(&task).send().await?;
        let status = reply.status();
        let answer: Value = reply.json().await?;
        let took = started.elapsed();
        if !status.is_success() {
            return Err(format!("{status}: {answer}").into());
        }
        println!(
            "{what}, run {run}: {} contacts in {:.2} s ({:.2} us each); memory at most {} MB, {before} MB before",
            answer.get("contacts").unwrap_or(&Value::Null),
            took.as_secs_f64(),
            took.as_secs_f64() * 1e6 / contacts as f64,
            memory_mb("VmHWM:")?,
        );
        if run == 1 {
            println!("  {}", answer.get("summary").unwrap_or(&Value::Null));
        }
        // Anything that a run stores, such as PostgreSQL's statistics, may change the next run.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    app.stop().await;
    Ok(())
}

/// Numbers by the remainder of the contact's index: the prefix, and the lowest number after it.
const AREAS: [(&str, i64); 12] = [
    ("+1212", 2_000_000),
    ("+1305", 2_000_000),
    ("+1850", 2_000_000),
    ("+1405", 2_000_000),
    ("+1503", 2_000_000),
    ("+1415", 2_000_000),
    ("+4420", 70_000_000),
    ("+331", 40_000_000),
    ("+4930", 20_000_000),
    ("+612", 50_000_000),
    ("+55119", 80_000_000),
    ("+3491", 2_000_000),
];

/// Makes a store with a campaign and a list. Returns an API key.
async fn fill(url: &str, contacts: i64) -> Result<String, Failure> {
    let started = Instant::now();
    let store = Store::open(url, StoreMetrics::default()).await?;
    let now = Clock::real().now().wall;
    let trunk = NewTrunk {
        name: "carrier".into(),
        pbx: PbxName::new("main"),
        dial: TrunkTemplate::new("PJSIP/{number}@carrier")?,
        caller_id: None,
    };
    let trunk = store.create_trunk(&trunk).await?.id;
    let settings = CampaignSettings::default();
    let campaign = store.create_campaign("c", &settings, &[trunk], now).await?.id;
    let draft = [CampaignState::Draft];
    store
        .move_campaign(campaign, &draft, CampaignState::Active)
        .await?;
    store.create_contact_list("l", &[], now).await?;
    let key = keys::NewKey {
        name: "bench",
        role: Role::Write,
        agent: None,
        sees_numbers: true,
    };
    let key = keys::create(&store, &key, now).await?;
    store.close().await;
    let sqlite = url.starts_with("sqlite:");
    for sql in statements(sqlite, contacts, now)? {
        let sql = sqlx::AssertSqlSafe(sql);
        if sqlite {
            let pool = sqlx::SqlitePool::connect(url).await?;
            sqlx::raw_sql(sql).execute(&pool).await?;
            pool.close().await;
        } else {
            let pool = sqlx::PgPool::connect(url).await?;
            sqlx::raw_sql(sql).execute(&pool).await?;
            pool.close().await;
        }
    }
    println!(
        "{contacts} contacts stored in {:.0} s",
        started.elapsed().as_secs_f64()
    );
    Ok(key)
}

fn statements(sqlite: bool, contacts: i64, now: Wall) -> Result<Vec<String>, Failure> {
    let series = if sqlite {
        format!("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {contacts} - 1)")
    } else {
        format!("WITH n(i) AS (SELECT i FROM generate_series(0, {contacts} - 1) AS s(i))")
    };
    let number = AREAS
        .iter()
        .enumerate()
        .map(|(n, (begin, least))| format!("WHEN {n} THEN '{begin}' || ({least} + n.i / 12)"));
    let number = format!("CASE n.i % 12 {} END", number.collect::<Vec<_>>().join(" "));
    // Every sixth contact has a consent that ends at its own time, some of them within a week.
    let consent = |expires_at| {
        let consent = Consent {
            kind: ConsentKind::ExpressWritten,
            scope: Purpose::Marketing,
            granted_at: Wall(now.0 - 30 * DAY_MS),
            expires_at,
            proof: Some(Proof::new("form 7")?),
        };
        Ok::<_, Failure>(serde_json::to_string(&[consent])?)
    };
    const PLACE: i64 = 4_444_444_444_444;
    let ends = consent(Some(Wall(PLACE)))?;
    let end = format!("' || ({} + n.i % 400 * {DAY_MS} + n.i) || '", now.0 + DAY_MS / 2);
    let ends = ends.replace(&PLACE.to_string(), &end);
    let consents = format!(
        "CASE n.i % 6 WHEN 0 THEN '{}' WHEN 3 THEN '{ends}' END",
        consent(None)?
    );
    let id = if sqlite {
        "randomblob(16)"
    } else {
        "gen_random_uuid()"
    };
    let attempts = |ordinal: i64, hours_ago: i64| {
        let at = now.0 - hours_ago * 3_600_000;
        format!(
            "INSERT INTO attempts (id, campaign_id, task_id, contact_id, number, ordinal, created_at_ms, ended_at_ms, outcome) \
             SELECT {id}, 1, 1, contact_id, number, {ordinal}, {at}, {at} + 30000, 'no_answer' \
             FROM contact_numbers WHERE contact_id % 4 = 0"
        )
    };
    Ok(vec![
        format!(
            "{series} INSERT INTO contacts (list_id, name, consents, attributes) \
             SELECT 1, 'Contact ' || n.i, {consents}, '{{\"City\":\"Boston\",\"Plan\":\"gold\"}}' FROM n"
        ),
        format!(
            "{series} INSERT INTO contact_numbers (contact_id, position, list_id, number) SELECT n.i + 1, 0, 1, {number} FROM n"
        ),
        attempts(1, 5),
        attempts(2, 20),
        format!(
            "INSERT INTO dnc (number, reason, added_at_ms) SELECT number, 'bench', {} FROM contact_numbers WHERE contact_id % 33 = 0",
            now.0
        ),
    ])
}

/// The value of a line of the process's status.
fn memory_mb(field: &str) -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib: u64 = line
        .ok_or("no such field")?
        .trim()
        .trim_end_matches(" kB")
        .parse()?;
    Ok(kib / 1_024)
}
