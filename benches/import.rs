//! An import of a million rows of CSV into the store: read, check, remove duplicates, store; compared with plain
//! inserts of the same rows in the same run. `scripts/bench import`; the number of rows may follow, then `sqlite` or
//! `postgres`, or a file.
//!
//! The numbers are in random order, one row in fifty repeats an earlier number, one in a hundred cannot be called; each
//! row has a name, a time zone and two attributes. As with an active campaign, transactions are short, with pauses of
//! the same length.

use paceline::clock::Clock;
use paceline::import::{ContactFile, Ended, Job, Settings};
use paceline::store::{ImportInto, Store, StoreMetrics};
use paceline_core::campaign::CampaignState;
use paceline_core::campaign::settings::CampaignSettings;
use paceline_core::ids::ContactListId;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The same allocator as the binary's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rows = args.iter().find_map(|arg| arg.parse().ok()).unwrap_or(1_000_000);
    let wanted =
        |name: &str| !args.iter().any(|a| a == "sqlite" || a == "postgres") || args.iter().any(|a| a == name);
    let folder = tempfile::tempdir_in(std::env::var_os("PACELINE_BENCH_DIR").unwrap_or_else(|| ".".into()))?;
    let own = args.iter().map(PathBuf::from).find(|arg| arg.is_file());
    let file = own.map_or_else(|| write_file(folder.path(), rows), Ok)?;
    let megabytes = std::fs::metadata(&file)?.len() / 1_000_000;
    println!("{rows} rows, {megabytes} MB of CSV");
    // The same settings as `paceline import`'s.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        if wanted("sqlite") {
            bare_sqlite(folder.path(), rows).await?;
            let url = format!("sqlite:{}", folder.path().join("import.db").display());
            import(&url, &file, rows, "SQLite", false).await?;
            let url = format!("sqlite:{}", folder.path().join("busy.db").display());
            import(&url, &file, rows, "SQLite, beside an active campaign", true).await?;
        }
        if wanted("postgres") {
            let server = paceline_lab::Postgres::start()?;
            bare_postgres(&server.url(), rows).await?;
            import(&server.url(), &file, rows, "PostgreSQL", false).await?;
        }
        Ok(())
    })
}

/// Numbers in an order that looks random, each once: the multiplier and the modulus have no common divisor.
fn number(n: u64) -> u64 {
    const MODULUS: u64 = 7_900_000;
    (n * 1_548_647 + 17) % MODULUS
}

fn e164(n: u64) -> String {
    let n = number(n);
    // Area codes that exist.
    const AREAS: [u64; 8] = [202, 212, 303, 312, 404, 415, 503, 617];
    let area = AREAS
        .get(usize::try_from(n % 8).unwrap_or(0))
        .copied()
        .unwrap_or(202);
    format!("{area}{}", 2_000_000 + n / 8)
}

fn write_file(folder: &Path, rows: u64) -> Result<PathBuf, Failure> {
    let path = folder.join("contacts.csv");
    let mut file = BufWriter::new(File::create(&path)?);
    writeln!(file, "Name,Phone,Time Zone,City,Plan")?;
    for n in 0..rows {
        let number = match n {
            n if n % 100 == 99 => "call me".to_owned(),
            n if n % 50 == 25 => e164(n / 2),
            n => e164(n),
        };
        writeln!(file, "Contact {n},{number},America/New_York,Boston,gold")?;
    }
    file.flush()?;
    Ok(path)
}

async fn import(url: &str, file: &Path, rows: u64, what: &str, busy: bool) -> Result<(), Failure> {
    let store = Store::open(url, StoreMetrics::default()).await?;
    let clock = Clock::real();
    if busy {
        let settings = CampaignSettings::default();
        let campaign = store
            .create_campaign("c", &settings, &[], clock.now().wall)
            .await?
            .id;
        store
            .move_campaign(campaign, &[CampaignState::Draft], CampaignState::Active)
            .await?;
    }
    let list = pass(&store, file, rows, what, ImportInto::NewList("bench".into())).await?;
    // Every number is in the list now.
    pass(
        &store,
        file,
        rows,
        &format!("{what}, again"),
        ImportInto::List(list),
    )
    .await?;
    store.close().await;
    Ok(())
}

async fn pass(
    store: &Store,
    file: &Path,
    rows: u64,
    what: &str,
    into: ImportInto,
) -> Result<ContactListId, Failure> {
    let clock = Clock::real();
    let started = Instant::now();
    let opened = File::open(file)?;
    let settings = Settings {
        region: Some("US".into()),
        ..Settings::default()
    };
    let opened = tokio::task::spawn_blocking(move || ContactFile::open(opened, settings)).await??;
    let looked = started.elapsed();
    let job = Job::begin(store, Arc::new(opened), &into, clock).await?;
    let id = job.row().id;
    let list = job.row().list.ok_or("the import has no list")?;
    let longest = job.longest_us();
    let ended = job.run(clock, |_| (), std::future::pending()).await?;
    let staged = started.elapsed();
    store.publish_import(id, clock.now().wall).await?;
    let published = started.elapsed() - staged;
    let report = paceline::import::report(store, id).await?;
    println!(
        "{what}: {} ({}/s); looked over in {}, published in {} us; longest transaction {} ms; memory at most {} MB",
        seconds(staged),
        paceline::import::per_second(rows, staged),
        seconds(looked),
        published.as_micros(),
        longest.load(std::sync::atomic::Ordering::Relaxed) / 1000,
        memory_peak_mb()?,
    );
    if !matches!(ended, Ended::Staged(_)) {
        return Err(format!("{what}: {ended:?}").into());
    }
    println!(
        "  {} imported, {} duplicates, {} rejected",
        report.imported, report.duplicates, report.rejected
    );
    Ok(list)
}

fn seconds(took: Duration) -> String {
    format!("{:.2} s", took.as_secs_f64())
}

/// The same rows, unchecked, by plain inserts of 250 rows in one transaction, into a table with one index.
async fn bare_sqlite(folder: &Path, rows: u64) -> Result<(), Failure> {
    use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
    use sqlx::{ConnectOptions as _, Executor as _};
    let mut conn = SqliteConnectOptions::new()
        .filename(folder.join("bare.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .connect()
        .await?;
    conn.execute("CREATE TABLE c (id INTEGER PRIMARY KEY, list BIGINT, number TEXT, name TEXT, zone TEXT, more TEXT, UNIQUE (number, list))")
        .await?;
    let started = Instant::now();
    conn.execute("BEGIN").await?;
    const ROWS: u64 = 250;
    let values =
        vec!["(1,?,?,'America/New_York','{\"City\":\"Boston\",\"Plan\":\"gold\"}')"; usize::try_from(ROWS)?]
            .join(",");
    let sql = format!("INSERT INTO c (list, number, name, zone, more) VALUES {values}");
    for first in (0..rows).step_by(usize::try_from(ROWS)?) {
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql.clone()));
        for n in first..first + ROWS {
            query = query.bind(format!("+1{}", e164(n))).bind(format!("Contact {n}"));
        }
        query.execute(&mut conn).await?;
    }
    conn.execute("COMMIT").await?;
    println!(
        "bare inserts into SQLite, one transaction: {}",
        seconds(started.elapsed())
    );
    Ok(())
}

/// The same rows, unchecked, by COPY into a table with the same keys.
async fn bare_postgres(url: &str, rows: u64) -> Result<(), Failure> {
    use sqlx::postgres::PgConnectOptions;
    use sqlx::{ConnectOptions as _, Executor as _};
    let mut conn = url.parse::<PgConnectOptions>()?.connect().await?;
    conn.execute("CREATE TABLE bare (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, list BIGINT, number TEXT, name TEXT, zone TEXT, more TEXT, UNIQUE (number, list))")
        .await?;
    let started = Instant::now();
    let mut copy = conn
        .copy_in_raw("COPY bare (list, number, name, zone, more) FROM STDIN")
        .await?;
    for first in (0..rows).step_by(10_000) {
        let mut text = String::new();
        for n in first..(first + 10_000).min(rows) {
            text.push_str(&format!(
                "1\t+1{}\tContact {n}\tAmerica/New_York\t{{\"City\":\"Boston\",\"Plan\":\"gold\"}}\n",
                e164(n)
            ));
        }
        copy.send(text.into_bytes()).await?;
    }
    copy.finish().await?;
    println!("plain COPY into PostgreSQL: {}", seconds(started.elapsed()));
    conn.execute("DROP TABLE bare").await?;
    Ok(())
}

/// The peak of this process's memory so far, from proc(5).
fn memory_peak_mb() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes: u64 = line.ok_or("no VmHWM")?.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes / 1000)
}
