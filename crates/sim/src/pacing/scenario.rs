//! The configuration of a simulated call centre. The default is the stationary model of docs/pacing.md.

use crate::random::Spread;
use std::time::Duration;

/// A value that changes at given times. Each entry is valid from its time on.
pub type Level = Vec<(Duration, f64)>;

/// The value at a time; 0 before the first entry.
pub fn level_at(level: &Level, at: Duration) -> f64 {
    level
        .iter()
        .take_while(|(from, _)| *from <= at)
        .last()
        .map_or(0.0, |(_, value)| *value)
}

/// A day of a call centre.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The name in reports.
    pub name: String,
    /// Length of the day.
    pub length: Duration,
    /// Number of agents who are logged in.
    pub agents: Level,
    /// Share of calls that a person answers.
    pub live: Level,
    /// Factor on talk times.
    pub talk_factor: Level,
    /// Share of the calls without a person that a machine answers.
    pub machine_share: f64,
    /// Share of the calls without a person that end soon after dialing: busy, refused, not in service.
    pub refused_share: f64,
    /// Time from the launch to ringing or to an early end.
    pub setup: Spread,
    /// Ring time before a person answers.
    pub ring_person: Spread,
    /// Ring time before a machine answers.
    pub ring_machine: Spread,
    /// Ring timeout.
    pub ring_timeout: Duration,
    /// Time until detection recognises a person.
    pub amd_person: Spread,
    /// Time until detection recognises a machine.
    pub amd_machine: Spread,
    /// Share of wrong verdicts.
    pub amd_wrong: f64,
    /// Talk time of a person with an agent.
    pub talk: Spread,
    /// Wrap-up time of an agent.
    pub wrap_up: Spread,
    /// Maximum time from the verdict until an agent is connected.
    pub connect_limit: Duration,
    /// Highest allowed ratio of abandoned calls to live answers.
    pub abandon_ratio_max: f64,
    /// Trunk outages: start and length of each.
    pub outages: Vec<(Duration, Duration)>,
    /// Number of trunk channels. `None`: no limit.
    pub channels: Option<u32>,
    /// Time between two decisions of the dialer.
    pub tick: Duration,
    /// Delay of all events to the dialer.
    pub event_latency: Duration,
    /// Share of events that are lost.
    pub event_loss: f64,
    /// Number of agents who never become free after their first call.
    pub agents_stuck: u32,
    /// Periods of the day that are reported separately.
    pub windows: Vec<Window>,
}

/// A period of a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The name in reports.
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
    /// The stationary model with this number of agents and this share of live answers.
    pub fn stationary(agents: u32, live: f64) -> Self {
        Self {
            name: format!("{agents} agents, {live} live"),
            agents: vec![(Duration::ZERO, f64::from(agents))],
            live: vec![(Duration::ZERO, live)],
            ..Self::default()
        }
    }
}
