//! `paceline demo`: everything at work on a simulated PBX, with nothing to install.

use super::progress::Progress;
use super::screen::Screen;
use super::serve::let_end;
use super::signals::Signals;
use super::{AlreadyTold, say};
use crate::app::App;
use crate::demo::summary::Summary;
use crate::demo::{self, Demo};
use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Args, Debug)]
pub(super) struct DemoArgs {
    /// Length in real time, such as 90s or 5m
    #[arg(long = "for", value_name = "DURATION", default_value = "60s", value_parser = duration)]
    duration: Duration,
    /// Speed of the calls, as a factor of real time; 0.1 to 100
    #[arg(long, value_name = "N", default_value_t = 40.0, value_parser = speed)]
    speed: f64,
    /// Seed of the callees. The same seed gives the same callees
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Address of the API and /metrics. If the port is in use, the next free port is taken
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Keep the database in this folder instead of a temporary one
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Write progress and summary as JSON lines to standard output
    #[arg(long)]
    json: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    let span: jiff::Span = text
        .parse()
        .map_err(|_| "write a number with a unit, such as 90s or 5m")?;
    let span = jiff::SignedDuration::try_from(span).map_err(|_| "use only seconds, minutes or hours")?;
    let duration = Duration::try_from(span).map_err(|_| "the duration cannot be negative")?;
    let fine = (Duration::from_secs(1)..=Duration::from_secs(86_400)).contains(&duration);
    fine.then_some(duration)
        .ok_or_else(|| "use a duration from 1s to 24h".to_owned())
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().ok().filter(|n| (0.1..=100.0).contains(n));
    speed.ok_or_else(|| "use a number from 0.1 to 100".to_owned())
}

pub(super) async fn run(args: DemoArgs, screen: &Screen) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let temporary = match &args.dir {
        Some(_) => None,
        None => Some(tempfile::tempdir().context("cannot make a temporary folder: name one with --dir")?),
    };
    let folder = match (&args.dir, &temporary) {
        (Some(folder), _) => folder.as_path(),
        (None, Some(temporary)) => temporary.path(),
        (None, None) => bail!("no folder"),
    };
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
    let config = demo::config(folder, args.listen, args.seed, args.speed)?;
    let clock = config.clock();
    let app = App::start(&config, clock).await?;
    let demo = Demo::begin(&app, clock).await?;
    screen.tell(&introduction(&app, &demo, &args));

    let progress = tokio::spawn(Progress::new(&app.metrics, screen, args.json).run());
    tokio::select! {
        () = tokio::time::sleep(args.duration) => {}
        () = signals.next() => {}
    }
    let stopped_at = clock.now().wall;
    let_end(&app, screen, &mut signals).await;
    progress.abort();
    screen.clear();
    app.dialer.stop().await;
    let summary = Summary::of(&demo, &app.store, stopped_at, &app.metrics).await?;
    app.stop().await;
    if args.json {
        say(&format!("{}\n", json!({"summary": summary})))?;
    } else {
        say(&format!("\n{summary}"))?;
    }
    if summary.contradictions.is_empty() {
        Ok(())
    } else {
        Err(AlreadyTold.into())
    }
}

fn introduction(app: &App, demo: &Demo, args: &DemoArgs) -> String {
    let (addr, key) = (app.addr, &demo.key);
    format!(
        "A simulated PBX, 20 agents and 4,000 fictional contacts; {} times real time, for {} s, seed {}.\n\
         API page  http://{addr}/api/docs\n\
         metrics   http://{addr}/metrics\n\
         look      curl -H 'Authorization: Bearer {key}' http://{addr}/api/v1/live\n\n",
        args.speed,
        args.duration.as_secs(),
        args.seed,
    )
}
