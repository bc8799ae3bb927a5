//! A database that the first schema made, with rows in every table: after all later migrations, this version opens it
//! and reads all of it, and its schema equals that of a new database.

use super::support::NOW;
use paceline_core::contact::ExternalId;
use paceline_core::ids::{CampaignId, ContactId, ContactListId, ImportId, TaskId};
use paceline_core::number::E164;
use paceline_store::{AttemptFilter, ContactFilter, Store, StoreMetrics, TaskFilter};
use serde_json::Value;
use sqlx::migrate::Migrator;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::str::FromStr as _;

/// Every table of the first schema with its rows, in an order in which they can be inserted. `{"uuid": hex}` and
/// `{"bytes": hex}` are values for which JSON has no type.
const FILLED: &str = include_str!("../data/filled.json");

/// The SHA-384 of every migration. Databases were made by them, and a change of one prevents Paceline from opening
/// these. Change the schema by a new migration whose number is its date, and add a line here.
const FROZEN: &str = include_str!("../data/migrations.txt");

fn is_frozen(database: &str, all: &Migrator) {
    let frozen: BTreeSet<&str> = FROZEN.lines().filter(|line| line.starts_with(database)).collect();
    let mut present = BTreeSet::new();
    for migration in all.iter() {
        let mut line = format!("{database} {} ", migration.version);
        for byte in &*migration.checksum {
            write!(line, "{byte:02x}").unwrap();
        }
        present.insert(line);
    }
    let present: BTreeSet<&str> = present.iter().map(String::as_str).collect();
    let changed: Vec<_> = frozen.difference(&present).collect();
    assert!(
        changed.is_empty(),
        "take the changes of these migrations back, and write a new one: {changed:?}"
    );
    let new: Vec<_> = present.difference(&frozen).collect();
    assert!(
        new.is_empty(),
        "add these lines to tests/data/migrations.txt: {new:#?}"
    );
}

/// The first migration alone.
fn first(all: &Migrator) -> Migrator {
    let migrations: Vec<_> = all.iter().filter(|it| it.version == 1).cloned().collect();
    Migrator {
        migrations: migrations.into(),
        ..Migrator::DEFAULT
    }
}

/// One INSERT per table.
fn inserts(postgres: bool) -> Vec<String> {
    let literal = |value: &Value| match value {
        Value::Null => "NULL".to_owned(),
        Value::Bool(yes) => yes.to_string().to_uppercase(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("'{}'", text.replace('\'', "''")),
        Value::Object(bytes) => match bytes.iter().next().unwrap() {
            (kind, Value::String(hex)) if postgres && kind == "bytes" => format!("'\\x{hex}'"),
            (_, Value::String(hex)) if postgres => format!("'{hex}'"),
            (_, Value::String(hex)) => format!("x'{hex}'"),
            (_, other) => panic!("{other}"),
        },
        Value::Array(_) => panic!("no column is a list"),
    };
    let tables: serde_json::Map<String, Value> = serde_json::from_str(FILLED).unwrap();
    let mut made = Vec::new();
    for (table, content) in &tables {
        let columns: Vec<&str> = content["columns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it.as_str().unwrap())
            .collect();
        let rows: Vec<String> = content["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| {
                row.as_array()
                    .unwrap()
                    .iter()
                    .map(literal)
                    .collect::<Vec<_>>()
                    .join(", ")
            })
            .map(|row| format!("({row})"))
            .collect();
        made.push(format!(
            "INSERT INTO {table} ({}) {} VALUES {}",
            columns.join(", "),
            if postgres { "OVERRIDING SYSTEM VALUE" } else { "" },
            rows.join(", ")
        ));
    }
    made
}

/// Everything that the store reads from the database, followed by the recovery at a start.
async fn everything(store: &Store) -> String {
    let mut all = String::new();
    macro_rules! tell {
        ($($what:expr;)*) => { $(
            writeln!(all, "\n{}", stringify!($what).trim_start_matches("store.")).unwrap();
            for row in $what.await.unwrap() {
                writeln!(all, "  {row:?}").unwrap();
            }
        )* };
    }
    let list = ContactListId(1);
    let import = ImportId(2);
    let known = ContactFilter {
        external_id: Some(ExternalId::new("C-17").unwrap()),
        ..ContactFilter::default()
    };
    tell! {
        store.api_keys(None, 50);
        store.audit(None, None, None, 50);
        store.trunks(None, 50);
        store.maintained();
        store.contact_lists(None, 50);
        store.imports(None, 50);
        store.import_rejects(import, None, 50);
        store.contacts(list, &ContactFilter::default(), None, 50);
        store.contacts(list, &known, None, 50);
        store.contacts_with_number(&E164::new("+4915123456789").unwrap(), 50);
        store.tasks(&TaskFilter::default(), None, 50);
        store.task_contacts(TaskId(2), None, 50);
        store.tasks_of_contact(ContactId(5001), 50);
        store.dnc_entries(None, 50);
        store.attempts(&AttemptFilter::default(), None, 50);
        store.agents(None, 50);
        store.recordings(None, None, 50);
    }
    for attempt in store.attempts(&AttemptFilter::default(), None, 50).await.unwrap() {
        writeln!(all, "\n{:?}", attempt.id).unwrap();
        for leg in store.legs_of_attempt(attempt.id).await.unwrap() {
            writeln!(all, "  {leg:?}").unwrap();
        }
        let decisions = store.decisions_of_attempt(attempt.contact, attempt.task, attempt.id);
        for decision in decisions.await.unwrap() {
            writeln!(all, "  {decision:?}").unwrap();
        }
    }
    for row in store.campaigns(None, 50).await.unwrap() {
        // Without the other settings, because later versions add some.
        let mode = row.settings.pacing.mode;
        let told = (
            row.id,
            row.name,
            row.state,
            mode,
            row.fault,
            row.trunks,
            row.created_at,
        );
        writeln!(all, "\n{told:?}").unwrap();
    }
    assert!(
        store
            .dial_campaigns()
            .await
            .unwrap()
            .iter()
            .all(|it| it.fault.is_none())
    );
    let learnt = store.pacing_learnt(CampaignId(1)).await.unwrap();
    assert_eq!(learnt.len(), 1, "what pacing has learnt is read");
    let installation = store.installation().await.unwrap();
    let recovery = store.recover(CampaignId(1), NOW).await.unwrap();
    writeln!(all, "\n{installation}\n{recovery:?}").unwrap();
    all
}

fn check(all: &str) {
    insta::with_settings!({prepend_module_to_snapshot => false, snapshot_path => "../snapshots"}, {
        insta::assert_snapshot!("filled", all);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filled_sqlite_database_of_the_first_schema_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let url = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    let options = sqlx::sqlite::SqliteConnectOptions::from_str(&url("old.db")).unwrap();
    let old = sqlx::SqlitePool::connect_with(options.create_if_missing(true))
        .await
        .unwrap();
    let all = sqlx::migrate!("../../migrations/sqlite");
    is_frozen("sqlite", &all);
    first(&all).run(&old).await.unwrap();
    for insert in inserts(false) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(insert))
            .execute(&old)
            .await
            .unwrap();
    }
    let store = Store::open(&url("old.db"), StoreMetrics::default())
        .await
        .unwrap();
    let made_anew = Store::open(&url("new.db"), StoreMetrics::default())
        .await
        .unwrap();
    let new = sqlx::SqlitePool::connect(&url("new.db")).await.unwrap();
    let schema = "SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_schema ORDER BY 1";
    let of_old: Vec<String> = sqlx::query_scalar(schema).fetch_all(&old).await.unwrap();
    let of_new: Vec<String> = sqlx::query_scalar(schema).fetch_all(&new).await.unwrap();
    assert_eq!(of_old, of_new);
    check(&everything(&store).await);
    made_anew.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filled_postgres_database_of_the_first_schema_is_opened() {
    let server = paceline_lab::Postgres::start().unwrap();
    let old = sqlx::PgPool::connect(&server.url()).await.unwrap();
    sqlx::raw_sql("CREATE DATABASE made_anew")
        .execute(&old)
        .await
        .unwrap();
    let all = sqlx::migrate!("../../migrations/postgres");
    is_frozen("postgres", &all);
    first(&all).run(&old).await.unwrap();
    for insert in inserts(true) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(insert))
            .execute(&old)
            .await
            .unwrap();
    }
    let new_url = format!("{}/made_anew", server.url().rsplit_once('/').unwrap().0);
    let store = Store::open(&server.url(), StoreMetrics::default()).await.unwrap();
    let made_anew = Store::open(&new_url, StoreMetrics::default()).await.unwrap();
    let new = sqlx::PgPool::connect(&new_url).await.unwrap();
    let schema = "SELECT concat_ws(' ', table_name, column_name, data_type, collation_name, is_nullable, column_default, \
          is_identity) FROM information_schema.columns WHERE table_schema = 'public' \
        UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' \
        UNION ALL SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint \
          WHERE connamespace = 'public'::regnamespace \
        UNION ALL SELECT viewname || ' ' || definition FROM pg_views WHERE schemaname = 'public' ORDER BY 1";
    let of_old: Vec<String> = sqlx::query_scalar(schema).fetch_all(&old).await.unwrap();
    let of_new: Vec<String> = sqlx::query_scalar(schema).fetch_all(&new).await.unwrap();
    assert_eq!(of_old, of_new);
    check(&everything(&store).await);
    made_anew.close().await;
}
