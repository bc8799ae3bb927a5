//! Failing databases: the writer's answers agree with the tables, and nothing is lost or stored twice.

use crate::support::{Db, NOW, asked, later, numbers, until};
use paceline_core::agent::{AgentReason, AgentState, Wants};
use paceline_core::command::Change;
use paceline_core::input::Prepared;
use paceline_core::outcome::Outcome;
use paceline_store::{AttemptFilter, Store, StoreMetrics};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test(flavor = "multi_thread")]
async fn while_nothing_can_be_written_senders_wait_and_readers_do_not() {
    const CHANGES: usize = 70_000;
    let db = Db::sqlite().await;
    let campaign = db.campaign("c").await;
    let writer = db.store.writer();
    let blocked = db.block_writing().await;
    let (sender, id, agent) = (writer.clone(), campaign.id, campaign.agent);
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let sending = tokio::spawn(async move {
        for n in 1..=CHANGES {
            let at = later(u64::try_from(n).unwrap());
            let state = AgentState::Available;
            let change = Change::Agent {
                agent,
                state,
                pbx: None,
                leg: None,
                wants: Wants::Calls,
                reason: AgentReason::TakenOver,
                at,
            };
            sender.change(id, change).await;
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    until("the queue is full", async || writer.stats().queue_waits > 0).await;
    assert_eq!(db.store.campaigns(None, 10).await.unwrap().len(), 1);
    assert!(sent.load(Ordering::Relaxed) < CHANGES);
    until("the writer noticed", async || writer.stats().failing).await;
    drop(blocked);
    sending.await.unwrap();
    writer.flush().await;
    let (stats, changes) = (writer.stats(), u64::try_from(CHANGES).unwrap());
    assert_eq!(
        (stats.items, stats.changes_dropped, stats.failing),
        (changes, 0, false)
    );
    let shown = db.store.agent(agent).await.unwrap().unwrap();
    assert_eq!(shown.state_at, later(changes), "the last of them");
    db.check().await;
}

/// The answers given to the callers, to be compared with the tables.
#[derive(Default)]
struct Promises {
    allowed: BTreeSet<uuid::Uuid>,
    failed: BTreeSet<uuid::Uuid>,
}

/// Dials every contact once during `trouble`, then checks every answer.
async fn every_promise_is_kept(db: &Db, writer_store: Store, trouble: impl Future<Output = ()>) {
    const CALLS: u32 = 400;
    let campaign = db.campaign("c").await;
    campaign.task(&numbers(CALLS)).await;
    let leads = campaign.lease(usize::try_from(CALLS).unwrap(), NOW).await.leads;
    assert_eq!(leads.len(), usize::try_from(CALLS).unwrap());
    writer_store.keep_ledger(paceline_ledger::NumberKey::new(&[5; 32]).unwrap());
    let writer = writer_store.writer();
    let promises = Arc::new(Mutex::new(Promises::default()));
    let dialing = async {
        let mut calls = tokio::task::JoinSet::new();
        for lead in &leads {
            let new = campaign.new_attempt(lead, NOW);
            let pending = writer.prepare(new.clone(), campaign.policy()).await;
            let (writer, promises, id) = (writer.clone(), Arc::clone(&promises), campaign.id);
            calls.spawn(async move {
                match pending.await {
                    Prepared::Allowed => {
                        promises.lock().unwrap().allowed.insert(new.attempt.0);
                        writer.change(id, crate::support::leg_ended(&new, later(1))).await;
                        writer
                            .change(id, crate::support::ended(&new, Outcome::Busy, later(1), None))
                            .await;
                    }
                    Prepared::Failed => drop(promises.lock().unwrap().failed.insert(new.attempt.0)),
                    Prepared::Refused => panic!("nothing here is to be refused"),
                }
            });
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        while let Some(call) = calls.join_next().await {
            call.unwrap();
        }
        writer.flush().await;
    };
    tokio::join!(dialing, trouble);
    let promises = std::mem::take(&mut *promises.lock().unwrap());
    let stored = db
        .store
        .attempts(&AttemptFilter::default(), None, 10_000)
        .await
        .unwrap();
    let ended: BTreeSet<_> = stored
        .iter()
        .filter(|row| row.outcome == Some(Outcome::Busy))
        .map(|row| row.id.0)
        .collect();
    assert_eq!(
        ended, promises.allowed,
        "every attempt that was allowed is stored, and ended"
    );
    assert_eq!(stored.len(), ended.len(), "none that was given up is stored");
    println!(
        "allowed {}, failed {}, {:?}",
        ended.len(),
        promises.failed.len(),
        writer.stats()
    );
    let (allowed, failed) = (promises.allowed.len(), promises.failed.len());
    assert_eq!(allowed + failed, usize::try_from(CALLS).unwrap());
    let count = async |state: &str| {
        db.count(&format!(
            "SELECT count(*) FROM task_contacts WHERE state = '{state}'"
        ))
        .await
    };
    assert_eq!(count("done").await, i64::try_from(allowed).unwrap());
    assert_eq!(
        count("ready").await,
        i64::try_from(failed).unwrap(),
        "given back, as nobody called them"
    );
    assert!(
        failed > 0 || writer.stats().retries > 0,
        "the trouble was in time"
    );
    db.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_killed_and_restarted_in_mid_batch_loses_and_doubles_nothing() {
    let mut server = paceline_lab::Postgres::start().unwrap();
    let db = Db::postgres(&server).await;
    // The test server loses its last commits in a crash; this test needs durable commits.
    let name = db.url.rsplit_once('/').unwrap().1.to_owned();
    db.run(&format!("ALTER DATABASE {name} SET synchronous_commit = on"))
        .await;
    let store = Store::open(&db.url, StoreMetrics::default()).await.unwrap();
    let trouble = async {
        for down_for in [100, 2500] {
            tokio::time::sleep(Duration::from_millis(600)).await;
            server.kill();
            tokio::time::sleep(Duration::from_millis(down_for)).await;
            server.restart().unwrap();
        }
    };
    every_promise_is_kept(&db, store, trouble).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_lost_during_commit_is_settled_by_looking() {
    let server = paceline_lab::Postgres::start().unwrap();
    let db = Db::postgres(&server).await;
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = proxy.local_addr().unwrap().port();
    let url = db
        .url
        .replace(&format!(":{}/", server.port()), &format!(":{port}/"));
    assert_ne!(url, db.url);
    let commits = Arc::new(AtomicUsize::new(0));
    let cutting = tokio::spawn(cut_at_commits(proxy, server.port(), Arc::clone(&commits)));
    let store = Store::open(&url, StoreMetrics::default()).await.unwrap();
    every_promise_is_kept(&db, store, async {}).await;
    let commits = commits.load(Ordering::Relaxed);
    assert!(commits > 12, "some of {commits} commits were cut off");
    cutting.abort();
}

/// If the server loses power or its network, its connections stay open but give no answer.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_fall_silent_are_given_up_for_new_ones() {
    let server = paceline_lab::Postgres::start().unwrap();
    let db = Db::postgres(&server).await;
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = proxy.local_addr().unwrap().port();
    let url = db
        .url
        .replace(&format!(":{}/", server.port()), &format!(":{port}/"));
    let silenced = Arc::new(tokio::sync::Notify::new());
    let heard = Arc::clone(&silenced);
    let server_port = server.port();
    let passing = tokio::spawn(async move {
        loop {
            let (mut client, _) = proxy.accept().await.unwrap();
            let mut server = TcpStream::connect(("127.0.0.1", server_port)).await.unwrap();
            let silenced = Arc::clone(&heard);
            tokio::spawn(async move {
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                    () = silenced.notified() => std::future::pending().await,
                }
            });
        }
    });
    let store = Store::open(&url, StoreMetrics::default()).await.unwrap();
    let reader = store.clone();
    let begun = std::time::Instant::now();
    every_promise_is_kept(&db, store, async {
        tokio::time::sleep(Duration::from_millis(900)).await;
        silenced.notify_waiters();
    })
    .await;
    until("readers to be answered", async || reader.ping().await.is_ok()).await;
    println!("all was stored after {:?}", begun.elapsed());
    passing.abort();
}

/// Passes bytes on. Of each three commits it cuts the connection before the server gets the first, and after the
/// server has answered the second.
async fn cut_at_commits(proxy: TcpListener, server: u16, commits: Arc<AtomicUsize>) {
    loop {
        let (client, _) = proxy.accept().await.unwrap();
        let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
        tokio::spawn(pass(client, server, Arc::clone(&commits)));
    }
}

async fn pass(
    mut client: TcpStream,
    mut server: TcpStream,
    commits: Arc<AtomicUsize>,
) -> std::io::Result<()> {
    let (mut question, mut answer) = ([0; 64 * 1024], [0; 64 * 1024]);
    loop {
        tokio::select! {
            n = client.read(&mut question) => {
                let n = n?;
                let bytes = &question[..n];
                if n == 0 {
                    return Ok(());
                }
                let nth = if bytes.windows(7).any(|window| window == b"COMMIT\0") {
                    commits.fetch_add(1, Ordering::Relaxed) % 3
                } else {
                    2
                };
                if nth == 0 {
                    return Ok(());
                }
                server.write_all(bytes).await?;
                if nth == 1 {
                    // The server has answered, but the client must not get the answer.
                    let _heard = server.read(&mut answer).await?;
                    return Ok(());
                }
            }
            n = server.read(&mut answer) => {
                let n = n?;
                if n == 0 {
                    return Ok(());
                }
                client.write_all(&answer[..n]).await?;
            }
        }
    }
}

#[tokio::test]
async fn a_file_that_is_not_a_database_is_reported_as_such() {
    for url in [
        "mysql://localhost/x",
        "sqlite::memory:",
        "sqlite:x?mode=memory",
        "",
    ] {
        let refused = Store::open(url, StoreMetrics::default()).await;
        assert!(matches!(refused, Err(paceline_store::StoreError::Url)), "{url}");
    }
    let folder = tempfile::tempdir().unwrap();
    let nowhere = format!("sqlite:{}/no/such/folder.db", folder.path().display());
    let refused = Store::open(&nowhere, StoreMetrics::default()).await;
    assert!(matches!(refused, Err(paceline_store::StoreError::Open(_))));
}

#[tokio::test]
async fn the_log_is_cut_again_after_a_large_transaction() {
    let db = Db::sqlite().await;
    let log = format!("{}-wal", db.url.strip_prefix("sqlite:").unwrap());
    let log_mb = || std::fs::metadata(&log).unwrap().len() / (1024 * 1024);
    // One transaction of 60 MB.
    db.run(
        "INSERT INTO dnc (number, reason, added_at_ms) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
         WHERE i < 30000) SELECT i, hex(zeroblob(1000)), 0 FROM n",
    )
    .await;
    assert!(log_mb() > 50, "{} MB", log_mb());
    for n in numbers(3) {
        db.store.add_dnc(&[n], &asked(NOW)).await.unwrap();
    }
    assert!(log_mb() <= 32, "{} MB are left", log_mb());
}
