//! `paceline simulate`: the result of Paceline's pacing, and of others, on given days.

use super::say;
use crate::config::Config;
use crate::simulate::{fit, report, scenario, trunks};
use crate::store::{CampaignRow, Store, StoreMetrics};
use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;
use paceline_core::ids::CampaignId;
use paceline_core::time::Wall;
use paceline_sim::pacing::{Contender, Scenario, contest};
use paceline_sim::trunks::{TrunkContender, TrunkScenario, trunk_contest};
use secrecy::ExposeSecret as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Maximum number of call records that are read; the newest ones.
const RECORDS_MAX: i64 = 500_000;
/// Number of hours of records that are used without --since, back from the last call.
const HOURS_BACK: i64 = 24;

#[derive(Args, Debug)]
pub(super) struct SimulateArgs {
    /// Scenario file; docs/pacing.md lists its settings [default: 20 agents, one call in four answered, 6 h]
    scenario: Option<PathBuf>,
    /// Fit a scenario to the call records of this campaign (name or id) in the configured store
    #[arg(long, value_name = "CAMPAIGN", conflicts_with = "scenario")]
    from_records: Option<String>,
    /// Use only calls launched at or after this time, such as 2026-03-02T09:00:00Z [default: 24 h before the last call]
    #[arg(long, value_name = "TIME", requires = "from_records")]
    since: Option<Timestamp>,
    /// Use only calls launched before this time
    #[arg(long, value_name = "TIME", requires = "from_records")]
    until: Option<Timestamp>,
    /// Number of agents for the whole day, instead of the scenario's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    agents: Option<u32>,
    /// Share of calls answered by a person for the whole day, instead of the scenario's; 0 to 1
    #[arg(long, value_name = "RATIO")]
    live: Option<f64>,
    /// Number of days. Each has its own seed
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    seeds: u64,
    /// Seed of the first day
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Run only Paceline's pacing, not the others
    #[arg(long)]
    alone: bool,
    /// Compare choices of trunks instead: days of calls over six trunks with hidden outages, drift, regional quality and
    /// false answers; docs/trunks.md has the model
    #[arg(long, conflicts_with_all = ["scenario", "from_records", "agents", "live", "alone", "out"])]
    trunks: bool,
    /// Write summary.csv and day.svg into this folder; with --from-records also scenario.toml
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &SimulateArgs, config: Option<&Path>) -> anyhow::Result<()> {
    if args.trunks {
        return compare_trunks(args);
    }
    let fitted = match &args.from_records {
        None => None,
        Some(campaign) => Some(fitted(args, campaign, &Config::load(config)?)?),
    };
    let scenario = read(args, fitted.as_deref())?;
    let contenders: &[Contender] = if args.alone {
        &[Contender::Paceline]
    } else {
        &Contender::ALL
    };
    let seeds = args.seed..args.seed.saturating_add(args.seeds);
    say(&format!(
        "{}: {} days from seed {}\n",
        scenario.name, args.seeds, args.seed
    ))?;
    let mut standings = Vec::new();
    let mut rows = Vec::new();
    for contender in contenders {
        let standing = contest(&scenario, seeds.clone(), *contender);
        rows.extend(report::rows(&scenario, &standing));
        standings.push(standing);
    }
    say(&report::table(&rows))?;
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder).with_context(|| format!("make the folder `{}`", folder.display()))?;
        write(folder, "summary.csv", &report::csv(&rows)?)?;
        if let Some(text) = &fitted {
            write(folder, "scenario.toml", text.as_bytes())?;
        }
        write(folder, "day.svg", report::svg(&scenario, &standings).as_bytes())?;
    }
    Ok(())
}

fn compare_trunks(args: &SimulateArgs) -> anyhow::Result<()> {
    say(&format!(
        "six trunks: {} days from seed {}\n",
        args.seeds, args.seed
    ))?;
    let seeds = args.seed..args.seed.saturating_add(args.seeds);
    let day = TrunkScenario::default();
    let standings: Vec<_> = TrunkContender::ALL
        .into_iter()
        .map(|contender| trunk_contest(&day, seeds.clone(), contender))
        .collect();
    Ok(say(&trunks::table(&standings))?)
}

/// The text of a scenario fitted to call records.
fn fitted(args: &SimulateArgs, campaign: &str, config: &Config) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(async {
        let store = Store::open(config.store.url.expose_secret(), StoreMetrics::default()).await;
        let store = store.with_context(|| format!("cannot open the store `{}`", config.store.shown))?;
        let text = fit_in(&store, args, campaign).await;
        store.close().await;
        text
    })
}

async fn fit_in(store: &Store, args: &SimulateArgs, campaign: &str) -> anyhow::Result<String> {
    let campaign = find(store, campaign).await?;
    let wall = |at: Timestamp| Wall(at.as_millisecond());
    let until = args.until.map(wall);
    let since = match args.since {
        Some(since) => Some(wall(since)),
        None => {
            let last = store.call_records(campaign.id, None, until, 1).await?;
            last.first()
                .map(|record| Wall(record.created_at.0.saturating_sub(HOURS_BACK * 3_600_000)))
        }
    };
    let records = store.call_records(campaign.id, since, until, RECORDS_MAX).await?;
    fit::fit(campaign.id, &campaign.settings, &records).with_context(|| {
        format!(
            "no scenario can be made from the records of campaign {}",
            campaign.id
        )
    })
}

async fn find(store: &Store, campaign: &str) -> anyhow::Result<CampaignRow> {
    if let Some(found) = store.campaign_by_name(campaign).await? {
        return Ok(found);
    }
    let by_id = match campaign.parse() {
        Ok(id) => store.campaign(CampaignId(id)).await?,
        Err(_) => None,
    };
    by_id.with_context(|| format!("the store has no campaign with the name or id `{campaign}`"))
}

fn read(args: &SimulateArgs, fitted: Option<&str>) -> anyhow::Result<Scenario> {
    let mut scenario = match (&args.scenario, fitted) {
        (_, Some(text)) => scenario::parse(text).context("the fitted scenario cannot be used")?,
        (None, None) => Scenario::default(),
        (Some(file), None) => {
            let text = std::fs::read_to_string(file).with_context(|| format!("read `{}`", file.display()))?;
            scenario::parse(&text).with_context(|| format!("`{}` cannot be used", file.display()))?
        }
    };
    if let Some(agents) = args.agents {
        scenario.agents = vec![(Duration::ZERO, f64::from(agents))];
        scenario.name.push_str(&format!(", {agents} agents"));
    }
    if let Some(live) = args.live {
        anyhow::ensure!((0.0..=1.0).contains(&live), "--live must be a ratio from 0 to 1");
        scenario.live = vec![(Duration::ZERO, live)];
        scenario.name.push_str(&format!(", {live} live"));
    }
    Ok(scenario)
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let file = folder.join(name);
    std::fs::write(&file, bytes).with_context(|| format!("write `{}`", file.display()))
}
