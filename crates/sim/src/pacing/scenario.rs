//! What a simulated call centre is like. In: values. The default is the stationary model of docs/pacing.md.

use crate::random::Spread;
use std::time::Duration;

/// A value that changes at given times: from each time on, the value beside it.
pub type Level = Vec<(Duration, f64)>;

/// The value at a time; 0 before the first.
pub fn level_at(level: &Level, at: Duration) -> f64 {
    level
        .iter()
        .take_while(|(from, _)| *from <= at)
        .last()
        .map_or(0.0, |(_, value)| *value)
}

/// A call centre's day.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// What it is called in reports.
    pub name: String,
    /// How long it lasts.
    pub length: Duration,
    /// Agents logged in.
    pub agents: Level,
    /// Share of calls that a person answers.
    pub live: Level,
    /// Factor on talk times.
    pub talk_factor: Level,
    /// Of the calls that no person answers, the share that a machine does.
    pub machine_share: f64,
    /// And the share that ends soon after dialing: busy, refused, not in service.
    pub refused_share: f64,
    /// From the launch to ringing, or to an early end.
    pub setup: Spread,
    /// How long it rings before a person answers.
    pub ring_person: Spread,
    /// How long it rings before a machine answers.
    pub ring_machine: Spread,
    /// How long it rings unanswered.
    pub ring_timeout: Duration,
    /// How long detection takes to know a person.
    pub amd_person: Spread,
    /// How long it takes to know a machine.
    pub amd_machine: Spread,
    /// Share of verdicts that are wrong.
    pub amd_wrong: f64,
    /// How long a person talks with an agent.
    pub talk: Spread,
    /// How long an agent needs afterwards.
    pub wrap_up: Spread,
    /// From the verdict until an agent must be there.
    pub connect_limit: Duration,
    /// Abandoned over live answers, at most.
    pub abandon_ratio_max: f64,
    /// When trunks fail, and for how long.
    pub outages: Vec<(Duration, Duration)>,
    /// Trunk channels.
    pub channels: Option<u32>,
    /// How often the dialer decides.
    pub tick: Duration,
    /// How late events reach the dialer.
    pub event_latency: Duration,
    /// Share of events that never do.
    pub event_loss: f64,
    /// Agents who never free after their first call.
    pub agents_stuck: u32,
    /// Stretches of the day that are reported by themselves.
    pub windows: Vec<Window>,
}

/// A stretch of a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// What it is called in reports.
    pub name: String,
    /// Its first minute.
    pub from_minute: usize,
    /// The minute after its last.
    pub until_minute: usize,
}

impl Default for Scenario {
    fn default() -> Self {
        let secs = Duration::from_secs_f64;
        Self {
            name: "stationary".into(),
            length: secs(6.0 * 3600.0),
            agents: vec![(Duration::ZERO, 20.0)],
            live: vec![(Duration::ZERO, 0.25)],
            talk_factor: vec![(Duration::ZERO, 1.0)],
            machine_share: 0.35,
            refused_share: 0.20,
            setup: Spread::Gamma {
                shape: 4,
                mean: secs(2.5),
            },
            ring_person: Spread::Gamma {
                shape: 3,
                mean: secs(9.0),
            },
            ring_machine: Spread::Uniform(secs(18.0), secs(22.0)),
            ring_timeout: secs(25.0),
            amd_person: Spread::Gamma {
                shape: 4,
                mean: secs(1.2),
            },
            amd_machine: Spread::Gamma {
                shape: 6,
                mean: secs(2.6),
            },
            amd_wrong: 0.0,
            talk: Spread::LogNormal {
                mean: secs(90.0),
                sigma: 0.8,
            },
            wrap_up: Spread::Gamma {
                shape: 2,
                mean: secs(20.0),
            },
            connect_limit: secs(2.0),
            abandon_ratio_max: 0.03,
            outages: Vec::new(),
            channels: None,
            tick: Duration::from_millis(200),
            event_latency: Duration::ZERO,
            event_loss: 0.0,
            agents_stuck: 0,
            windows: Vec::new(),
        }
    }
}

impl Scenario {
    /// The stationary model with so many agents and this share of live answers.
    pub fn stationary(agents: u32, live: f64) -> Self {
        Self {
            name: format!("{agents} agents, {live} live"),
            agents: vec![(Duration::ZERO, f64::from(agents))],
            live: vec![(Duration::ZERO, live)],
            ..Self::default()
        }
    }
}
