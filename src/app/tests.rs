use super::*;
use crate::demo::{self, Demo};
use paceline_core::outcome::Outcome;
use std::net::Ipv4Addr;
use std::sync::{Arc, mpsc};

/// The number of blocking tasks of each kind. The API has no more threads than this of either kind.
const THREADS: usize = 16;

#[tokio::test]
async fn calls_are_dialed_and_answered_while_every_thread_of_the_api_is_blocked() {
    let folder = tempfile::tempdir().unwrap();
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = demo::config(folder.path(), anywhere, 1, 40.0).unwrap();
    let clock = config.clock();
    let app = Arc::new(App::start(&config, clock).await.unwrap());
    // The demo begins on the API's threads, as a request does. Its engines must not run there.
    let begun = app.clone();
    let begun = app
        .threads
        .handle()
        .spawn(async move { Demo::begin(&begun, clock).await.map(drop) });
    begun.await.unwrap().unwrap();

    // A job that is stopped within a transaction would hold SQLite's lock; this test is about HTTP requests.
    for job in &app.jobs_run {
        job.abort();
    }
    while !app.jobs_run.iter().all(JoinHandle::is_finished) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

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
        app.threads.handle().spawn_blocking(block.clone());
        app.threads.handle().spawn(async move { block() });
    }
    for _ in 0..super::api::threads::THREADS {
        entered.recv().await.unwrap();
    }
    let before = app.metrics.glance();
    let talked = |glance: &crate::metrics::Glance| glance.outcomes.get(&Outcome::Answered).copied();
    let goes_on = async {
        while talked(&app.metrics.glance()) < talked(&before).or(Some(0)).map(|n| n + 20) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), goes_on)
        .await
        .expect("twenty more conversations are had");
    drop(release);
    app.dialer.stop().await;
}
