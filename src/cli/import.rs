//! `paceline import`: a contact file into a new contact list, with a word on every row that was not taken.

use super::screen::Screen;
use super::{AlreadyTold, say};
use crate::config::Config;
use crate::import::{self, Report, Seen};
use crate::metrics::Metrics;
use crate::store::Store;
use anyhow::Context as _;
use clap::Args;
use secrecy::ExposeSecret as _;
use serde_json::json;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Longest name, in characters; the API has the same.
const NAME_CHARS_MAX: usize = 200;

#[derive(Args, Debug)]
pub(super) struct ImportArgs {
    /// A CSV file in UTF-8 whose first line names the columns. One must be called `number`, `phone` or the like; `name`
    /// and `time_zone` are known too, and all others are kept as attributes.
    file: PathBuf,
    /// What to call the new contact list.
    #[arg(long, value_name = "NAME")]
    list: String,
    /// How numbers without a country code are read, such as US [default: the configuration's default_region].
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// As JSON lines: one for each rejected row, then a summary.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(config: &Config, args: ImportArgs, screen: &Screen) -> anyhow::Result<()> {
    if !(1..=NAME_CHARS_MAX).contains(&args.list.chars().count()) {
        anyhow::bail!("a list's name has 1 to {NAME_CHARS_MAX} characters");
    }
    let unreadable = || format!("cannot read `{}`", args.file.display());
    let file = std::fs::File::open(&args.file).with_context(unreadable)?;
    let size = file.metadata().with_context(unreadable)?.len();
    let store = Store::open(config.store.url.expose_secret(), &Metrics::new()).await;
    let store = store.with_context(|| format!("cannot open the store `{}`", config.store.shown))?;
    let region = args.region.as_deref().or(config.default_region.as_deref());

    let started = Instant::now();
    let line = screen.line();
    let mut broken = Ok(());
    let mut told = |text: String| {
        // The first failure is kept; the import goes on, as its list matters more than its report.
        let said = screen.around(|| say(&text));
        if broken.is_ok() {
            broken = said;
        }
    };
    let watch = |seen: Seen<'_>| match seen {
        Seen::Columns(columns) if args.json => told(format!("{}\n", json!({"columns": columns}))),
        Seen::Columns(columns) => told(format!("{}\n", columns.describe())),
        Seen::Rejected(rejection) if args.json => told(format!("{}\n", json!({"rejected": rejection}))),
        Seen::Rejected(rejection) => told(format!("{rejection}\n")),
        Seen::SoFar(report, bytes) => {
            let percent = bytes
                .saturating_mul(100)
                .checked_div(size)
                .unwrap_or(100)
                .min(100);
            let rate = per_second(report.rows, started.elapsed());
            line.set_message(format!("{percent} % · {} rows, {rate}/s", report.rows));
        }
    };
    let imported = import::run(&store, file, &args.list, region, watch).await;
    line.finish_and_clear();
    store.close().await;
    let report = imported.with_context(|| format!("cannot import `{}`", args.file.display()))?;
    let elapsed = started.elapsed();
    if args.json {
        let seconds = elapsed.as_secs_f64();
        say(&format!("{}\n", json!({"summary": report, "seconds": seconds})))?;
    } else {
        say(&summary(&report, &args.list, elapsed))?;
    }
    broken?;
    if report.imported == 0 {
        return Err(AlreadyTold.into());
    }
    Ok(())
}

fn per_second(rows: u64, elapsed: Duration) -> u64 {
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    rows.saturating_mul(1000).checked_div(millis).unwrap_or(0)
}

fn summary(report: &Report, list: &str, elapsed: Duration) -> String {
    let Report {
        list_id,
        rows,
        imported,
        duplicates,
        rejected,
        reasons,
    } = report;
    let rate = per_second(*rows, elapsed);
    let seconds = elapsed.as_secs_f64();
    let mut text = format!(
        "{rows} rows = {imported} imported + {duplicates} duplicates + {rejected} rejected, in {seconds:.1} s ({rate}/s)\n"
    );
    for (reason, count) in reasons {
        text.push_str(&format!("  {count} rejected: {reason}\n"));
    }
    text.push_str(&match list_id {
        Some(id) => format!("The new contact list `{list}` has the id {id}.\n"),
        None => "Nothing could be imported, so there is no new contact list.\n".to_owned(),
    });
    text
}
