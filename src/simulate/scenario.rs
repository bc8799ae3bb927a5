//! A scenario file: a day of a call centre, as TOML. Missing settings are as in the stationary model of docs/pacing.md.
//!
//! Input: text. Output: a [`Scenario`], or an error that names the setting. Start at [`parse`].

use paceline_sim::pacing::{Level, Scenario, Window};
use paceline_sim::random::Spread;
use serde::Deserialize;
use std::time::Duration;

const HOURS_MAX: f64 = 24.0 * 31.0;
const AGENTS_MAX: f64 = 10_000.0;

/// The reason why a scenario cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The text is not TOML, or has an unknown setting.
    #[error("the scenario cannot be read")]
    Toml(#[source] toml::de::Error),
    /// A value is out of range.
    #[error("`{field}` must be {expected}")]
    Wrong {
        /// The setting.
        field: &'static str,
        /// The allowed values.
        expected: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Option<String>,
    hours: Option<f64>,
    agents: Option<Steps>,
    live_ratio: Option<Steps>,
    talk_factor: Option<Steps>,
    machine_ratio: Option<f64>,
    refused_ratio: Option<f64>,
    setup: Option<Dist>,
    ring_person: Option<Dist>,
    ring_machine: Option<Dist>,
    ring_timeout_ms: Option<u32>,
    amd_person: Option<Dist>,
    amd_machine: Option<Dist>,
    amd_wrong_ratio: Option<f64>,
    talk: Option<Dist>,
    wrap_up: Option<Dist>,
    connect_limit_ms: Option<u32>,
    abandon_ratio_max: Option<f64>,
    #[serde(default)]
    outages: Vec<Outage>,
    channels: Option<u32>,
    tick_ms: Option<u32>,
    event_latency_ms: Option<u32>,
    event_loss_ratio: Option<f64>,
    agents_stuck: Option<u32>,
    #[serde(default)]
    windows: Vec<Watched>,
}

/// A value, or `[[hour, value], …]`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Steps {
    Always(f64),
    From(Vec<(f64, f64)>),
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Dist {
    Constant { ms: f64 },
    Uniform { min_ms: f64, max_ms: f64 },
    Exponential { mean_ms: f64 },
    Gamma { mean_ms: f64, shape: u8 },
    LogNormal { mean_ms: f64, sigma: f64 },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Outage {
    from_minute: f64,
    seconds: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Watched {
    name: String,
    from_minute: u32,
    until_minute: u32,
}

/// Reads a scenario.
///
/// # Errors
/// [`ScenarioError`].
pub fn parse(text: &str) -> Result<Scenario, ScenarioError> {
    let file: File = toml::from_str(text).map_err(ScenarioError::Toml)?;
    let mut scenario = Scenario {
        name: file.name.unwrap_or_else(|| "scenario".into()),
        channels: file.channels,
        ..Scenario::default()
    };
    if let Some(hours) = file.hours {
        let hours = within("hours", hours, 0.0, HOURS_MAX, "hours, up to a month")?;
        scenario.length = Duration::from_secs_f64(hours * 3600.0);
    }
    level("agents", file.agents, AGENTS_MAX, &mut scenario.agents)?;
    level("live_ratio", file.live_ratio, 1.0, &mut scenario.live)?;
    level("talk_factor", file.talk_factor, 100.0, &mut scenario.talk_factor)?;
    ratio("machine_ratio", file.machine_ratio, &mut scenario.machine_share)?;
    ratio("refused_ratio", file.refused_ratio, &mut scenario.refused_share)?;
    ratio("amd_wrong_ratio", file.amd_wrong_ratio, &mut scenario.amd_wrong)?;
    ratio(
        "event_loss_ratio",
        file.event_loss_ratio,
        &mut scenario.event_loss,
    )?;
    ratio(
        "abandon_ratio_max",
        file.abandon_ratio_max,
        &mut scenario.abandon_ratio_max,
    )?;
    spread("setup", file.setup, &mut scenario.setup)?;
    spread("ring_person", file.ring_person, &mut scenario.ring_person)?;
    spread("ring_machine", file.ring_machine, &mut scenario.ring_machine)?;
    spread("amd_person", file.amd_person, &mut scenario.amd_person)?;
    spread("amd_machine", file.amd_machine, &mut scenario.amd_machine)?;
    spread("talk", file.talk, &mut scenario.talk)?;
    spread("wrap_up", file.wrap_up, &mut scenario.wrap_up)?;
    let ms = |from: Option<u32>, to: &mut Duration| {
        if let Some(ms) = from {
            *to = Duration::from_millis(u64::from(ms));
        }
    };
    ms(file.ring_timeout_ms, &mut scenario.ring_timeout);
    ms(file.connect_limit_ms, &mut scenario.connect_limit);
    ms(file.event_latency_ms, &mut scenario.event_latency);
    ms(file.tick_ms.map(|ms| ms.max(10)), &mut scenario.tick);
    scenario.agents_stuck = file.agents_stuck.unwrap_or(0);
    for outage in file.outages {
        let from = within(
            "outages.from_minute",
            outage.from_minute,
            0.0,
            HOURS_MAX * 60.0,
            "a minute of the day",
        )?;
        let secs = within(
            "outages.seconds",
            outage.seconds,
            0.0,
            HOURS_MAX * 3600.0,
            "seconds",
        )?;
        let outage = (
            Duration::from_secs_f64(from * 60.0),
            Duration::from_secs_f64(secs),
        );
        scenario.outages.push(outage);
    }
    scenario.windows = file
        .windows
        .into_iter()
        .map(|w| Window {
            name: w.name,
            from_minute: w.from_minute as usize,
            until_minute: w.until_minute as usize,
        })
        .collect();
    Ok(scenario)
}

fn within(
    field: &'static str,
    value: f64,
    least: f64,
    most: f64,
    expected: &'static str,
) -> Result<f64, ScenarioError> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(ScenarioError::Wrong { field, expected })
    }
}

fn ratio(field: &'static str, from: Option<f64>, to: &mut f64) -> Result<(), ScenarioError> {
    if let Some(value) = from {
        *to = within(field, value, 0.0, 1.0, "a ratio from 0 to 1")?;
    }
    Ok(())
}

fn level(field: &'static str, from: Option<Steps>, most: f64, to: &mut Level) -> Result<(), ScenarioError> {
    let steps = match from {
        None => return Ok(()),
        Some(Steps::Always(value)) => vec![(0.0, value)],
        Some(Steps::From(steps)) => steps,
    };
    let expected = "a number within its range, or [[hour, number], …] with ascending hours that start at 0";
    let mut level = Vec::new();
    let mut before = 0.0;
    for (hour, value) in steps {
        let hour = within(field, hour, before, HOURS_MAX, expected)?;
        before = hour;
        let value = within(field, value, 0.0, most, expected)?;
        level.push((Duration::from_secs_f64(hour * 3600.0), value));
    }
    *to = level;
    Ok(())
}

fn spread(field: &'static str, from: Option<Dist>, to: &mut Spread) -> Result<(), ScenarioError> {
    let Some(dist) = from else { return Ok(()) };
    let expected = "times of 0 to an hour, and a sigma of 0 to 3";
    let ms = |ms: f64| {
        within(field, ms, 0.0, 3_600_000.0, expected).map(|ms| Duration::from_secs_f64(ms / 1000.0))
    };
    *to = match dist {
        Dist::Constant { ms: at } => Spread::Constant(ms(at)?),
        Dist::Uniform { min_ms, max_ms } => Spread::Uniform(ms(min_ms)?, ms(max_ms)?),
        Dist::Exponential { mean_ms } => Spread::Exponential(ms(mean_ms)?),
        Dist::Gamma { mean_ms, shape } => Spread::Gamma {
            shape,
            mean: ms(mean_ms)?,
        },
        Dist::LogNormal { mean_ms, sigma } => Spread::LogNormal {
            mean: ms(mean_ms)?,
            sigma: within(field, sigma, 0.0, 3.0, expected)?,
        },
    };
    Ok(())
}
