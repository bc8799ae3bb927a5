use super::*;
use crate::demo::{self, Demo};
use paceline_core::outcome::Outcome;
use paceline_core::time::Wall;
use paceline_ledger::Kind;
use std::net::Ipv4Addr;
use std::sync::{Arc, mpsc};

/// The number of blocking tasks of each kind. The API has no more threads than this of either kind.
const THREADS: usize = 16;

#[tokio::test]
async fn calls_are_dialed_and_jobs_run_while_every_thread_of_the_api_is_blocked() {
    let folder = tempfile::tempdir().unwrap();
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = demo::config(folder.path(), anywhere, 1, 40.0).unwrap();
    let clock = config.clock();
    let app = Arc::new(App::start(&config, clock).await.unwrap());
    // The demo begins on the API's threads, as a request does. Its engines must not run there.
    let begun = app.clone();
    let begun = app
        .api_threads
        .handle()
        .spawn(async move { Demo::begin(&begun, clock).await.map(drop) });
    begun.await.unwrap().unwrap();

    let (release, blocked) = mpsc::channel::<()>();
    let blocked = Arc::new(std::sync::Mutex::new(blocked));
    let (told, mut entered) = tokio::sync::mpsc::unbounded_channel();
    for n in 0..THREADS {
        let (blocked, told) = (blocked.clone(), told.clone());
        let block = move || {
            let _ = told.send(n);
            // Blocks until the test drops the sender.
            let _ = blocked.lock().unwrap().recv();
        };
        app.api_threads.handle().spawn_blocking(block.clone());
        app.api_threads.handle().spawn(async move { block() });
    }
    for _ in 0..crate::threads::API_THREADS {
        entered.recv().await.unwrap();
    }
    let before = app.metrics.glance();
    let talked = |glance: &crate::metrics::Glance| glance.outcomes.get(&Outcome::Answered).copied();
    // The job writes. If it were stopped within a transaction, nothing could be dialed.
    let numbered = || app.jobs.reports().get("ledger").map(|report| report.done);
    let numbered_before = numbered().or(Some(0));
    let goes_on = async {
        while talked(&app.metrics.glance()) < talked(&before).or(Some(0)).map(|n| n + 20)
            || numbered() <= numbered_before
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), goes_on)
        .await
        .expect("twenty more conversations are had, and their decisions get places in the ledger");
    drop(release);
    app.dialer.stop().await;
}

#[tokio::test]
async fn a_start_records_the_overlays_and_the_reasons_of_the_rules_that_they_switch_off() {
    let folder = tempfile::tempdir().unwrap();
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = demo::config(folder.path(), anywhere, 1, 40.0).unwrap();
    let app = App::start(&config, config.clock()).await.unwrap();
    let always = Wall(0)..Wall(i64::MAX);
    let found = async {
        loop {
            let bundles = app.store.ledger_bundles(0, always.clone()).await.unwrap();
            let entries = bundles.iter().flat_map(|bundle| bundle.entries().unwrap());
            let entries = entries.filter_map(|(_, entry)| paceline_ledger::Entry::decode(entry?).ok());
            let mut overlay = entries.filter(|entry| entry.kind == Kind::Overlay);
            if let Some(entry) = overlay.next_back() {
                break serde_json::from_slice::<serde_json::Value>(entry.body).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let body = tokio::time::timeout(Duration::from_secs(20), found)
        .await
        .unwrap();
    let off = body["switched_off"].as_array().unwrap();
    let hours = |off: &serde_json::Value| off["profile"] == "us-ftc" && off["rule"] == "hours";
    assert_eq!(
        off.iter().find(|off| hours(off)).unwrap()["reason"],
        "no call leaves this machine"
    );
    assert_eq!(body["overlays"][0]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(body["shipped"]["rules/us-ftc.toml"].as_str().unwrap().len(), 64);
    app.stop().await;
}
