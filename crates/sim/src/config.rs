//! The configuration of a simulated PBX: its callees, its agents' phones and its faults.

use crate::callee::Behaviour;
use crate::random::Spread;
use std::time::Duration;

/// The configuration of a [`crate::SimPbx`], without the seed.
#[derive(Clone, Debug, PartialEq)]
pub struct SimConfig {
    /// The callees.
    pub callees: Callees,
    /// The agents' phones.
    pub phones: Phones,
    /// Time from a command of the driver until the PBX executes it.
    pub command_latency: Spread,
    /// Time from a change on the PBX until its event arrives.
    pub event_latency: Spread,
    /// Length of the announcement before a recording.
    pub announcement: Duration,
    /// Length of the message to an abandoned callee.
    pub message: Duration,
    /// Number of channels. Further calls are refused.
    pub channels_max: usize,
    /// Number of channels of another application. Their ids are UUIDs, and every snapshot shows them.
    pub foreign_channels: u8,
    /// The faults.
    pub faults: Faults,
}

/// Behaviour of the callees. The default is the stationary model of docs/pacing.md, with one live answer in four calls.
#[derive(Clone, Debug, PartialEq)]
pub struct Callees {
    /// Each behaviour with its weight. Not used for numbers that [`Callees::scripted`] decides.
    pub mix: Vec<(Behaviour, u32)>,
    /// True: the last two digits of the number decide the behaviour, see [`crate::callee::script`].
    pub scripted: bool,
    /// Time from the originate to the first sign of life.
    pub setup: Spread,
    /// Ring time before a person answers.
    pub ring_person: Spread,
    /// Ring time before a machine answers.
    pub ring_machine: Spread,
    /// Ring time before a callee declines.
    pub ring_declined: Spread,
    /// Talk time of a person with an agent before the person hangs up.
    pub talk: Spread,
    /// Time that a person waits alone before hanging up.
    pub patience: Spread,
    /// Time that an answering machine stays on the line.
    pub machine_message: Spread,
    /// Probability that the first sign of life is early media instead of ringing.
    pub early_media: f64,
}

/// Behaviour of the agents' phones.
#[derive(Clone, Debug, PartialEq)]
pub struct Phones {
    /// Time until an agent picks up.
    pub pick_up: Spread,
    /// Probability that the agent does not pick up.
    pub ignored: f64,
    /// Probability that the agent declines.
    pub declined: f64,
    /// Probability that the phone is not registered.
    pub unregistered: f64,
    /// Time until a held leg drops by itself. `None`: never.
    pub drops_after: Option<Spread>,
    /// Probability that the agent ends a conversation by hanging up the held leg.
    pub hangs_up_on_callee: f64,
    /// Time between two actions of a held phone: it holds, transfers its callee, sends no audio, or is moved by an
    /// operator. `None`: no actions.
    pub acts_every: Option<Spread>,
}

/// Faults, as probabilities for each event or command. The default of all is 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    /// An event is lost.
    pub event_lost: f64,
    /// An event arrives a second time, after [`Faults::event_delay`].
    pub event_twice: f64,
    /// An event is late by [`Faults::event_delay`], behind events of other legs.
    pub event_late: f64,
    /// Delay of late and duplicate events.
    pub event_delay: Spread,
    /// A command is lost, and its failure is reported after [`crate::pbx::REPLY_TIMEOUT`]. Half of the lost connects are
    /// executed all the same; only their reply is lost.
    pub command_lost: f64,
    /// The PBX refuses a command.
    pub command_refused: f64,
    /// A command is late by [`Faults::command_delay`], behind commands for other legs.
    pub command_late: f64,
    /// Delay of late commands.
    pub command_delay: Spread,
    /// A recording cannot be started.
    pub recording_fails: f64,
    /// A message cannot be played.
    pub message_fails: f64,
    /// After a resynchronisation a held agent is outside the bridge. The driver puts it back and reports it.
    pub bridge_broken: f64,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            callees: Callees::default(),
            phones: Phones::default(),
            command_latency: Spread::Uniform(Duration::from_micros(300), Duration::from_micros(900)),
            event_latency: Spread::Uniform(Duration::from_micros(200), Duration::from_micros(900)),
            announcement: Duration::from_secs(4),
            message: Duration::from_secs(6),
            channels_max: 10_000,
            foreign_channels: 0,
            faults: Faults::none(),
        }
    }
}

impl SimConfig {
    /// The default without callees whose calls end in congestion or cannot be placed, so no contact waits half an hour for its retry.
    pub fn carried() -> Self {
        let mut config = Self::default();
        let carried =
            |behaviour: &Behaviour| !matches!(behaviour, Behaviour::Congestion | Behaviour::Unplaceable);
        config.callees.mix.retain(|(behaviour, _)| carried(behaviour));
        config
    }
}

impl Default for Callees {
    fn default() -> Self {
        let secs = Duration::from_secs;
        Self {
            mix: vec![
                (Behaviour::Person, 250),
                (Behaviour::Machine, 300),
                (Behaviour::NoAnswer, 280),
                (Behaviour::Busy, 50),
                (Behaviour::Declined, 35),
                (Behaviour::Invalid, 30),
                (Behaviour::HangsUpAtOnce, 20),
                (Behaviour::Congestion, 20),
                (Behaviour::Silence, 5),
                (Behaviour::Incompatible, 5),
                (Behaviour::Unplaceable, 5),
            ],
            scripted: false,
            setup: Spread::Gamma {
                shape: 5,
                mean: Duration::from_millis(2500),
            },
            ring_person: Spread::Gamma {
                shape: 3,
                mean: secs(9),
            },
            ring_machine: Spread::Gamma {
                shape: 25,
                mean: secs(20),
            },
            ring_declined: Spread::Gamma {
                shape: 2,
                mean: secs(5),
            },
            talk: Spread::LogNormal {
                mean: secs(90),
                sigma: 0.9,
            },
            patience: Spread::Gamma {
                shape: 3,
                mean: secs(8),
            },
            machine_message: Spread::Uniform(secs(20), secs(60)),
            early_media: 0.15,
        }
    }
}

impl Default for Phones {
    fn default() -> Self {
        Self {
            pick_up: Spread::Uniform(Duration::from_secs(1), Duration::from_secs(4)),
            ignored: 0.0,
            declined: 0.0,
            unregistered: 0.0,
            drops_after: None,
            hangs_up_on_callee: 0.0,
            acts_every: None,
        }
    }
}

impl Faults {
    /// No faults.
    pub fn none() -> Self {
        Self {
            event_lost: 0.0,
            event_twice: 0.0,
            event_late: 0.0,
            event_delay: Spread::Exponential(Duration::from_secs(1)),
            command_lost: 0.0,
            command_refused: 0.0,
            command_late: 0.0,
            command_delay: Spread::Exponential(Duration::from_secs(1)),
            recording_fails: 0.0,
            message_fails: 0.0,
            bridge_broken: 0.0,
        }
    }
}
