//! `paceline serve`: runs the dialer, its API and `/metrics` until a signal.

use super::progress::Progress;
use super::screen::Screen;
use super::signals::Signals;
use crate::app::App;
use crate::config::Config;
use anyhow::Context as _;
use paceline_core::live::AttemptPhase;
use std::time::Duration;

/// Interval of the message about what a stop waits for.
const TELL_EVERY: Duration = Duration::from_secs(10);

pub(super) async fn run(config: &Config, screen: &Screen, as_json: bool) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("cannot listen for signals")?;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    let app = App::start(config, config.clock()).await?;
    let addr = app.addr;
    screen.tell(&format!(
        "Paceline listens on http://{addr}: API page /api/docs, metrics /metrics. Ctrl-C stops it.\n"
    ));
    let progress = tokio::spawn(Progress::new(&app.metrics, screen, as_json).run());
    let mut taken = None;
    tokio::select! {
        () = signals.next() => {
            screen.tell("Stopping: no new calls. Calls that ring are served, for 30 s at most; Ctrl-C stops now. Agents stay logged in and conversations go on; the next start takes them over.\n");
            tokio::select! {
                () = app.settle() => {}
                () = signals.next() => {}
            }
        }
        () = app.drain_asked() => let_end(&app, screen, &mut signals).await,
        by = app.lost() => taken = Some(by),
    }
    progress.abort();
    screen.clear();
    app.stop().await;
    match taken {
        None => Ok(()),
        Some(by) => anyhow::bail!(
            "while the connection to the store was lost, another Paceline took the store: {by}. It now controls the calls that are up, so this process exits. Stop one of the two"
        ),
    }
}

/// Launches no more calls, waits until conversations have ended, and logs agents out. A signal ends the wait. The app must
/// still be stopped.
pub(super) async fn let_end(app: &App, screen: &Screen, signals: &mut Signals) {
    let telling = async {
        loop {
            let glance = app.metrics.glance();
            let calls: i64 = glance.in_progress.values().sum();
            let talking = glance
                .in_progress
                .get(&AttemptPhase::Connected)
                .copied()
                .unwrap_or(0);
            if calls > 0 {
                screen.tell(&format!(
                    "Stopping: no new calls. Waiting for {calls} calls to end, of which {talking} are conversations. \
                     Ctrl-C stops now; calls then stay up, and the next start takes them over.\n"
                ));
            }
            tokio::time::sleep(TELL_EVERY).await;
        }
    };
    tokio::select! {
        () = app.drain() => {}
        () = telling => {}
        () = signals.next() => screen.tell("Stopping now. Conversations go on, and the next start takes them over.\n"),
    }
}
