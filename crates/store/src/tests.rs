//! Tests that need the inside of the store: the plans of its frequent queries, and a full disk.

use super::attempts::select_attempts;
use super::bulk_statement::BulkStatement;
use super::db::{Arg, Dialect, Pools, args};
use super::metrics::StoreMetrics;
use super::sync::LogSync;
use super::writer::statements;
use super::{
    AttemptFilter, NewDnc, NewTask, NewTaskContacts, NewTrunk, Store, dial, dnc, lease, suppression, tasks,
};
use paceline_core::campaign::hours::CallingHours;
use paceline_core::campaign::settings::CampaignSettings;
use paceline_core::campaign::{CampaignConfig, CampaignState, TaskState};
use paceline_core::command::{Change, NewAttempt};
use paceline_core::dial::TrunkTemplate;
use paceline_core::gate::{CampaignPolicy, Rulebook};
use paceline_core::ids::{AgentId, AttemptId, CampaignId, ContactId, LegId, PbxName, TaskId};
use paceline_core::input::Prepared;
use paceline_core::number::E164;
use paceline_core::outcome::Outcome;
use paceline_core::pbx::LegEnd;
use paceline_core::suppression::DncSource;
use paceline_core::time::Wall;
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, SqlSafeStr as _};
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;
use uuid::Uuid;

async fn sqlite() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("p.db").display());
    let store = Store::open(&url, StoreMetrics::default()).await.unwrap();
    (folder, store)
}

#[cfg(unix)]
#[tokio::test]
async fn the_database_and_its_companions_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.db");
    // A file that an older version, or a copy, has left readable for all users.
    std::fs::write(&file, "").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    let store = Store::open(&format!("sqlite:{}", file.display()), StoreMetrics::default())
        .await
        .unwrap();
    store
        .add_dnc(
            &[E164::new("+12025550123").unwrap()],
            &NewDnc::new(DncSource::Api, "x", Wall(1)),
        )
        .await
        .unwrap();
    let mut seen = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?} has mode {mode:o}", entry.file_name());
        seen += 1;
    }
    assert_eq!(seen, 3, "the database, its log, its shared memory");
    store.close().await;
}

/// One value per letter of `types`: `i` integer, `t` text, `u` UUID, `b` boolean.
fn values(types: &str) -> Vec<Arg<'static>> {
    let value = |kind| match kind {
        'i' => Arg::from(1),
        't' => Arg::from("x"),
        'u' => Arg::from(Uuid::nil()),
        _ => Arg::from(false),
    };
    types.chars().map(value).collect()
}

/// This table contains only leased contacts and calls in progress, so a scan of it is permitted. Its alias in the
/// statements is `n`.
const SMALL: &str = "number_leases";

/// Statements that run for every call or every few calls, with one value per parameter.
fn hot(dialect: Dialect) -> Vec<(&'static str, Vec<Arg<'static>>)> {
    let bulk = |statement: &'static BulkStatement, types: &str| {
        (statement.sql(dialect, 2), values(&types.repeat(2)))
    };
    let mut all = vec![
        (lease::IS_ACTIVE, values("i")),
        (tasks::recheck::LOOK_AGAIN, values("ii")),
        (tasks::recheck::LOOK_AT_TASKS_AGAIN, values("ii")),
        (tasks::recheck::HELD, values("iii")),
        (tasks::recheck::ENDED, values("iiii")),
        bulk(&tasks::reopen::HELD_CONTACTS, "i"),
        bulk(&tasks::reopen::HELD_NUMBERS, "tt"),
        bulk(&tasks::reopen::OPEN_CONTACTS, "iii"),
        (lease::due_tasks(dialect), values("iiii")),
        (lease::DUE_BUCKETS, values("ii")),
        (lease::due_contacts(dialect), values("iii")),
        (lease::RAISE_NEXT_DUE, values("ii")),
        (lease::NEXT_DUE, values("i")),
        (dial::OPEN_ATTEMPTS, values("i")),
        (dial::LOGGED_IN, values("i")),
        (dial::RUNNING, values("i")),
        (dnc::LEASED, values("")),
        (dnc::LEASING, values("")),
        (dial::ANSWERS, values("iiii")),
        (tasks::QUEUE, values("iiittttttib")),
        bulk(&suppression::NUMBERS, "i"),
        bulk(&lease::RAISE_BUCKETS, "i"),
        bulk(&lease::DEFER_BUCKETS, "iiit"),
        bulk(&dial::LOWER_BUCKETS, "iii"),
        bulk(&lease::SETTLE, "iititt"),
        bulk(&dial::MAKE_READY, "iii"),
        bulk(&dial::FREE_NUMBERS, "ii"),
        bulk(&dial::LOWER_NEXT_DUE, "ii"),
        bulk(&dial::COMPLETE_TASKS, "i"),
    ];
    all.extend(
        statements()
            .into_iter()
            .map(|(statement, types)| bulk(statement, types)),
    );
    all
}

#[tokio::test]
async fn no_hot_statement_scans_a_table_on_sqlite() {
    let (_folder, store) = sqlite().await;
    for (sql, _) in hot(Dialect::Sqlite) {
        let plan = store
            .pools
            .rows(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")), &[])
            .await
            .unwrap();
        for step in plan {
            let step = step.get::<String>(3).unwrap();
            let harmless = |of: &str| {
                ["v", "n", "m"].contains(&of) || of.contains("CONSTANT ROW") || of.starts_with("(subquery")
            };
            assert!(step.strip_prefix("SCAN ").is_none_or(harmless), "{step}\n{sql}");
        }
    }
}

#[tokio::test]
async fn no_hot_statement_need_scan_a_table_on_postgres() {
    let server = paceline_lab::Postgres::start().unwrap();
    let store = Store::open(&server.url(), StoreMetrics::default()).await.unwrap();
    for (sql, values) in hot(Dialect::Postgres) {
        let mut tx = store.pools.begin().await.unwrap();
        // With so few rows PostgreSQL would choose a scan. The test checks that an index can serve the query.
        tx.run("SET LOCAL enable_seqscan = off", &[]).await.unwrap();
        let plan = tx.rows(AssertSqlSafe(format!("EXPLAIN {sql}")), &values).await;
        let plan = plan.unwrap_or_else(|error| panic!("{error}\n{sql}"));
        for step in plan {
            let step = step.get::<String>(0).unwrap();
            let scans = step
                .split_once("Seq Scan on ")
                .is_some_and(|(_, of)| !of.starts_with(SMALL));
            assert!(!scans, "{step}\n{sql}");
        }
        tx.rollback().await.unwrap();
    }
}

#[tokio::test]
async fn the_answers_that_abandon_rules_count_are_found_by_their_index() {
    const INDEX: &str = "attempts_answered";
    let (_folder, store) = sqlite().await;
    let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", dial::ANSWERS));
    let plan = store.pools.rows(explain, &[]).await.unwrap();
    let steps: Vec<String> = plan.iter().map(|step| step.get(3).unwrap()).collect();
    assert!(steps.iter().any(|step| step.contains(INDEX)), "{steps:#?}");

    let server = paceline_lab::Postgres::start().unwrap();
    let store = Store::open(&server.url(), StoreMetrics::default()).await.unwrap();
    let mut tx = store.pools.begin().await.unwrap();
    tx.run("SET LOCAL enable_seqscan = off", &[]).await.unwrap();
    let explain = AssertSqlSafe(format!("EXPLAIN {}", dial::ANSWERS));
    let plan = tx.rows(explain, &values("iiii")).await.unwrap();
    let steps: Vec<String> = plan.iter().map(|step| step.get(0).unwrap()).collect();
    assert!(steps.iter().any(|step| step.contains(INDEX)), "{steps:#?}");
    tx.rollback().await.unwrap();
}

/// The filters of the list of attempts, each with the index that must serve it.
fn attempt_filters() -> Vec<(AttemptFilter, &'static str)> {
    let all = AttemptFilter::default;
    let (campaign, task) = (Some(CampaignId(1)), Some(TaskId(1)));
    let of = |outcome| AttemptFilter {
        outcome: Some(outcome),
        ..all()
    };
    let disposed = || AttemptFilter {
        disposition: Some("success".into()),
        ..all()
    };
    let every = AttemptFilter {
        campaign,
        task,
        agent: Some(AgentId(1)),
        outcome: Some(Outcome::Fax),
        created_from: Some(Wall(1)),
        created_until: Some(Wall(2)),
        ..disposed()
    };
    let contact = AttemptFilter {
        contact: Some(ContactId(1)),
        created_from: None,
        created_until: None,
        ..every.clone()
    };
    let of_campaign = |outcome| AttemptFilter {
        campaign,
        ..of(outcome)
    };
    vec![
        (of(Outcome::Fax), "attempts_by_outcome"),
        (of(Outcome::Answered), "attempts_by_outcome"),
        (of_campaign(Outcome::Fax), "attempts_by_outcome"),
        (of_campaign(Outcome::NoAnswer), "attempts_by_campaign"),
        (
            AttemptFilter {
                task,
                ..of(Outcome::Fax)
            },
            "attempts_by_outcome",
        ),
        (
            AttemptFilter {
                task,
                campaign,
                ..all()
            },
            "attempts_by_task",
        ),
        (
            AttemptFilter {
                campaign,
                ..disposed()
            },
            "attempts_by_disposition",
        ),
        (disposed(), "attempts_by_disposition"),
        (every, "attempts_by_agent"),
        (contact, "attempt_once_per_ordinal"),
    ]
}

#[tokio::test]
async fn a_list_of_attempts_reads_the_index_that_fits_the_fewest_on_sqlite() {
    let (_folder, store) = sqlite().await;
    for (filter, index) in attempt_filters() {
        let (sql, args) = select_attempts(&filter, None, 50);
        let sql = sql.into_sql_str().as_str().to_owned();
        let plan = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let plan = store.pools.rows(plan, &args).await.unwrap();
        let steps: Vec<String> = plan.iter().map(|step| step.get(3).unwrap()).collect();
        // SQLite chooses the name of an index that belongs to a constraint.
        let index = index.replace("attempt_once_per_ordinal", "sqlite_autoindex_attempts_2");
        assert!(steps[0].contains(&index), "{filter:?}: {steps:?}");
        let sorts = steps.iter().any(|step| step.contains("TEMP B-TREE"));
        assert_eq!(sorts, filter.contact.is_some(), "{filter:?}: {steps:?}");
    }
}

#[tokio::test]
async fn a_list_of_attempts_reads_the_index_that_fits_the_fewest_on_postgres() {
    let server = paceline_lab::Postgres::start().unwrap();
    let store = Store::open(&server.url(), StoreMetrics::default()).await.unwrap();
    for (filter, index) in attempt_filters() {
        let (sql, args) = select_attempts(&filter, None, 50);
        let sql = sql.into_sql_str().as_str().to_owned();
        let mut tx = store.pools.begin().await.unwrap();
        // With so few rows PostgreSQL would choose a scan or a sort. The test checks that an index can serve the
        // query.
        for off in [
            "SET LOCAL enable_seqscan = off",
            "SET LOCAL enable_bitmapscan = off",
        ] {
            tx.run(off, &[]).await.unwrap();
        }
        let plan = tx
            .rows(AssertSqlSafe(format!("EXPLAIN {sql}")), &args)
            .await
            .unwrap();
        let steps: Vec<String> = plan.iter().map(|step| step.get(0).unwrap()).collect();
        let steps = steps.join("\n");
        assert!(steps.contains(index), "{filter:?}: {steps}");
        tx.rollback().await.unwrap();
    }
}

/// A store with a limit on the database's pages. At the limit SQLite reports a full disk.
async fn limited(path: &str, pages_max: Arc<AtomicI64>) -> Store {
    let options = SqliteConnectOptions::from_str(path)
        .unwrap()
        .journal_mode(SqliteJournalMode::Wal)
        .foreign_keys(true);
    let log = Arc::new(LogSync::start(options.get_filename()));
    let readers = PoolOptions::new().connect_with(options.clone()).await.unwrap();
    let writer = PoolOptions::new()
        .max_connections(1)
        .before_acquire(move |conn, _| {
            let pages_max = pages_max.load(Ordering::Relaxed);
            Box::pin(async move {
                let limit = AssertSqlSafe(format!("PRAGMA max_page_count = {pages_max}"));
                sqlx::query(limit).execute(conn).await?;
                Ok(true)
            })
        })
        .connect_with(options)
        .await
        .unwrap();
    Store {
        pools: Arc::new(Pools::Sqlite {
            bulk: writer.clone(),
            writer,
            readers,
            log,
            beside: None,
            ledger: Arc::default(),
            home: tokio::runtime::Handle::current(),
        }),
        metrics: StoreMetrics::default(),
        failing: Arc::default(),
        turns: Arc::default(),
        lists: Arc::new(RwLock::new(Some(Arc::default()))),
    }
}

#[tokio::test]
async fn a_full_disk_delays_changes_and_loses_none() {
    let (folder, store) = sqlite().await;
    let trunk = NewTrunk {
        name: "t".into(),
        pbx: PbxName::new("office"),
        dial: TrunkTemplate::new("PJSIP/{number}@c").unwrap(),
        caller_id: None,
    };
    let trunk = store.create_trunk(&trunk).await.unwrap().id;
    let campaign = store
        .create_campaign("c", &CampaignSettings::default(), &[trunk], Wall(0))
        .await
        .unwrap()
        .id;
    let draft = [CampaignState::Draft];
    let moved = store.move_campaign(campaign, &draft, CampaignState::Active);
    assert!(moved.await.unwrap());
    let numbers: Vec<_> = (100..160)
        .map(|n| E164::new(&format!("+12025550{n}")).unwrap().into())
        .collect();
    let task = NewTask {
        campaign,
        name: "t".into(),
        state: TaskState::Running,
        start_at: Wall(0),
        retries_max: 0,
        contacts: NewTaskContacts::Numbers(numbers),
        idempotency: None,
    };
    store.create_tasks(&[task], Wall(0)).await.unwrap();
    let config = CampaignConfig {
        id: campaign,
        settings: CampaignSettings {
            hours: CallingHours::always(),
            ..CampaignSettings::default()
        },
        trunks: Vec::new(),
    };
    let text = include_str!("../../../data/loopback-rules.toml");
    let rules = Rulebook::shipped()
        .unwrap()
        .with_overlay("loopback", text)
        .unwrap();
    let policy = Arc::new(CampaignPolicy::new(&Arc::new(rules), Arc::new(config)));
    let leads = store.lease(&policy, 60, Wall(1)).await.unwrap().leads;
    store.close().await;

    let pages_max = Arc::new(AtomicI64::new(i64::from(u32::MAX)));
    let store = limited(
        &format!("sqlite:{}", folder.path().join("p.db").display()),
        Arc::clone(&pages_max),
    )
    .await;
    let writer = store.writer();
    let mut attempts = Vec::new();
    for lead in leads {
        let new = NewAttempt {
            attempt: AttemptId(Uuid::now_v7()),
            leg: LegId(Uuid::new_v4()),
            pbx: PbxName::new("office"),
            trunk,
            lead,
            created_at: Wall(2),
            ring_timeout: Duration::from_secs(25),
        };
        assert_eq!(
            writer.prepare(new.clone(), Arc::clone(&policy)).await.await,
            Prepared::Allowed
        );
        attempts.push(new);
    }
    // The database cannot grow further.
    pages_max.store(1, Ordering::Relaxed);
    for new in &attempts {
        let leg_ended = Change::LegEnded {
            attempt: new.attempt,
            leg: new.leg,
            end: LegEnd {
                detail: "x".repeat(4000),
                ..LegEnd::default()
            },
            at: Wall(3),
        };
        let ended = Change::AttemptEnded {
            attempt: new.attempt,
            leg: new.leg,
            task: new.lead.task,
            contact: new.lead.contact,
            outcome: Outcome::Failed,
            at: Wall(3),
            retry_at: None,
            spends_try: true,
        };
        writer.change(campaign, leg_ended).await;
        writer.change(campaign, ended).await;
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !writer.stats().failing {
        assert!(tokio::time::Instant::now() < deadline, "the disk is not full");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    pages_max.store(i64::from(u32::MAX), Ordering::Relaxed);
    writer.flush().await;
    let open = store
        .read(
            "count",
            "SELECT count(*) FROM attempts WHERE ended_at_ms IS NULL",
            args![],
        )
        .await
        .unwrap();
    assert_eq!(open[0].get::<i64>(0).unwrap(), 0);
    assert_eq!(
        (writer.stats().changes_dropped, writer.stats().failing),
        (0, false)
    );
}
