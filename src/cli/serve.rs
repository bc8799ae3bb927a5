//! `paceline serve`: the dialer, its API and `/metrics`, until a signal.

use super::progress::Progress;
use super::screen::Screen;
use super::signals::Signals;
use crate::app::App;
use crate::config::Config;
use anyhow::Context as _;
use paceline_core::live::CallPhase;
use std::time::Duration;

/// How often it is told again what a stop waits for.
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
            screen.tell("Stopping. Agents stay logged in and conversations up; the next start takes them over.\n");
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
            "another Paceline has taken the store while the connection to it was lost: {by}; calls that are up are its own now"
        ),
    }
}

/// Launches nothing more, lets conversations end, and logs agents out; a signal ends the waiting. The app is still to be stopped.
pub(super) async fn let_end(app: &App, screen: &Screen, signals: &mut Signals) {
    let telling = async {
        loop {
            let glance = app.metrics.glance();
            let calls: i64 = glance.calls.values().sum();
            let talking = glance.calls.get(&CallPhase::Connected).copied().unwrap_or(0);
            if calls > 0 {
                screen.tell(&format!(
                    "Stopping: no new calls. Still up, and waited for: {calls}, of them conversations: {talking}. \
                     Ctrl-C stops now; calls then stay up, and the next start takes them over.\n"
                ));
            }
            tokio::time::sleep(TELL_EVERY).await;
        }
    };
    tokio::select! {
        () = app.drain() => {}
        () = telling => {}
        () = signals.next() => screen.tell("Stopping now. Calls stay up, and the next start takes them over.\n"),
    }
}
