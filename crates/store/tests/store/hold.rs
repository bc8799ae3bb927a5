//! Only one `serve` may use a store.

use paceline_lab::Postgres;
use paceline_store::{Hold, HoldError};
use std::time::Duration;

async fn server() -> Postgres {
    tokio::task::spawn_blocking(|| Postgres::start().unwrap())
        .await
        .unwrap()
}

/// Ends the sessions that hold locks, as a restart of the server does.
async fn end_sessions(url: &str) {
    let pool = sqlx::PgPool::connect(url).await.unwrap();
    let end =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'paceline %: %'";
    sqlx::query(end).execute(&pool).await.unwrap();
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql_the_second_holder_is_refused_with_the_name_of_the_first() {
    let server = server().await;
    let url = server.url();
    let first = Hold::take(&url).await.unwrap();
    let refused = Hold::take(&url).await;
    let Err(HoldError::Held { holder }) = refused else {
        panic!("{refused:?}");
    };
    let us = format!("pid {}, since 2", std::process::id());
    assert!(holder.starts_with("host ") && holder.contains(&us), "{holder}");
    drop(first);
    Hold::take(&url).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_holder_of_another_schema_is_not_named_as_the_holder_of_this_one() {
    let server = server().await;
    let other = format!("{}?options=-csearch_path%3Dother", server.url());
    let pool = sqlx::PgPool::connect(&server.url()).await.unwrap();
    sqlx::query("CREATE SCHEMA other").execute(&pool).await.unwrap();
    // The session below belongs to this process too; another application name tells them apart.
    let rename = "SELECT set_config('application_name', 'paceline 0: host elsewhere', false), \
        pg_advisory_lock(1885430629, hashtext('other'))";
    let mut elsewhere = pool.acquire().await.unwrap();
    sqlx::query(rename).execute(&mut *elsewhere).await.unwrap();
    let _ours = Hold::take(&server.url()).await.unwrap();
    for (url, is_elsewhere) in [(server.url(), false), (other, true)] {
        let refused = Hold::take(&url).await;
        let Err(HoldError::Held { holder }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(holder == "host elsewhere", is_elsewhere, "{holder}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_session_is_opened_again_and_the_faster_holder_is_named() {
    let server = server().await;
    let url = server.url();
    let first = Hold::take(&url).await.unwrap();
    end_sessions(&url).await;
    // The second takes the lock before the first checks its session, which it does every two seconds.
    let second = Hold::take(&url).await;
    match second {
        Ok(_second) => {
            let by = tokio::time::timeout(Duration::from_secs(60), first.lost()).await;
            assert!(by.unwrap().starts_with("host "));
        }
        // On a slow machine the first may have connected again before.
        Err(HoldError::Held { .. }) => {}
        Err(other) => panic!("{other:?}"),
    }
}

/// The pids of the sessions that hold the lock or wait for it.
const SESSIONS: &str =
    "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'paceline %: %' ORDER BY pid";

/// Waits until these sessions differ from `before`.
async fn sessions_other_than(before: &[i32], pool: &sqlx::PgPool) {
    loop {
        // If the server is frozen, the pool gives an error after a time.
        let now: Vec<i32> = sqlx::query_scalar(SESSIONS)
            .fetch_all(pool)
            .await
            .unwrap_or_default();
        if !now.is_empty() && now != before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_goes_on_if_its_own_old_session_still_has_the_lock() {
    let server = server().await;
    let url = server.url();
    let first = Hold::take(&url).await.unwrap();
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    let before: Vec<i32> = sqlx::query_scalar(SESSIONS).fetch_all(&pool).await.unwrap();
    let [old] = before.as_slice() else {
        panic!("{before:?}");
    };
    let signal = |name| {
        let kill = format!("kill -s {name} {old}");
        let killed = std::process::Command::new("sh").args(["-c", &kill]).status();
        assert!(killed.unwrap().success());
    };
    signal("STOP");
    let replaced = async {
        // At first both sessions exist. After the old one can end, only the new one is left.
        sessions_other_than(&before, &pool).await;
        signal("CONT");
        while sqlx::query_scalar::<_, i32>(SESSIONS)
            .fetch_all(&pool)
            .await
            .unwrap()
            .contains(old)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        by = first.lost() => panic!("it takes itself for another process: {by}"),
        () = replaced => {}
    }
    // The process still holds the store.
    let refused = Hold::take(&url).await;
    assert!(matches!(refused, Err(HoldError::Held { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_goes_on_after_its_server_stood_still_for_20_seconds() {
    let server = server().await;
    let url = server.url();
    let first = Hold::take(&url).await.unwrap();
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    let before: Vec<i32> = sqlx::query_scalar(SESSIONS).fetch_all(&pool).await.unwrap();
    server.freeze().unwrap();
    // The length of the fault: longer than the time that the checks of the session wait for an answer.
    tokio::time::sleep(Duration::from_secs(20)).await;
    server.thaw().unwrap();
    tokio::select! {
        by = first.lost() => panic!("it takes itself for another process: {by}"),
        () = sessions_other_than(&before, &pool) => {}
    }
    let refused = Hold::take(&url).await;
    assert!(matches!(refused, Err(HoldError::Held { .. })), "{refused:?}");
}

#[tokio::test]
async fn two_names_of_one_sqlite_file_are_one_store() {
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().join("real");
    std::fs::create_dir(&real).unwrap();
    let links = [("folder", real.clone()), ("link.db", real.join("p.db"))];
    for (link, to) in &links {
        std::os::unix::fs::symlink(to, folder.path().join(link)).unwrap();
    }
    let url = |path: &str| format!("sqlite://{}", folder.path().join(path).display());
    // A symbolic link to a file that does not exist yet is a name of that file too.
    let names = [
        url("link.db"),
        url("real/p.db"),
        url("folder/p.db"),
        url("real/../folder/p.db"),
    ];
    for (first, second) in names.iter().zip(names.iter().cycle().skip(1)) {
        let _held = Hold::take(first).await.unwrap();
        let refused = Hold::take(second).await;
        assert!(
            matches!(refused, Err(HoldError::Held { .. })),
            "{first} {second} {refused:?}"
        );
    }
    // SQLite's log is beside the real file, and it must be private and synced there.
    let store = paceline_store::Store::open(&url("link.db"), Default::default())
        .await
        .unwrap();
    store.installation().await.unwrap();
    assert!(real.join("p.db-wal").exists());
    store.close().await;
}
