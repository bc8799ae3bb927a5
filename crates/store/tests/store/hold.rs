//! One `serve` per store.

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
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'paceline: %'";
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
    let rename = "SELECT set_config('application_name', 'paceline: host elsewhere', false), \
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
