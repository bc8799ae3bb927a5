//! `paceline simulate`: what pacing would do on a given day, and what others would.

use super::say;
use crate::simulate::{report, scenario};
use anyhow::Context as _;
use clap::Args;
use paceline_sim::pacing::{Contender, Scenario, contest};
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Args, Debug)]
pub(super) struct SimulateArgs {
    /// A scenario file; docs/pacing.md says what it may hold [default: 20 agents, one call in four answered, for 6 h].
    scenario: Option<PathBuf>,
    /// So many agents, all day, whatever the scenario says.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    agents: Option<u32>,
    /// This share of calls answered by a person, all day, whatever the scenario says.
    #[arg(long, value_name = "RATIO")]
    live: Option<f64>,
    /// How many days, each with a seed of its own.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only Paceline's own pacing, without its rivals.
    #[arg(long)]
    alone: bool,
    /// Write summary.csv and day.svg into this folder.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &SimulateArgs) -> anyhow::Result<()> {
    let scenario = read(args)?;
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
        write(folder, "day.svg", report::svg(&scenario, &standings).as_bytes())?;
    }
    Ok(())
}

fn read(args: &SimulateArgs) -> anyhow::Result<Scenario> {
    let mut scenario = match &args.scenario {
        None => Scenario::default(),
        Some(file) => {
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
