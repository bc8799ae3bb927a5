//! What a simulated switch, its callees, its agents' phones and its faults are like.

use crate::callee::Fate;
use crate::random::Spread;
use std::time::Duration;

/// Everything that shapes a [`crate::SimSwitch`] besides its seed.
#[derive(Clone, Debug, PartialEq)]
pub struct SimConfig {
    /// Those who are called.
    pub callees: Callees,
    /// The agents' phones.
    pub phones: Phones,
    /// From our command to its effect on the switch.
    pub command_latency: Spread,
    /// From something happening on the switch to its event.
    pub event_latency: Spread,
    /// How long an announcement before a recording takes.
    pub announcement: Duration,
    /// How long the message to a person takes whom no agent took in time.
    pub message: Duration,
    /// Channels that the switch carries; more are refused.
    pub channels_max: usize,
    /// Channels of somebody else with a UUID for an id, shown in every snapshot as not in our application.
    pub foreign_channels: u8,
    /// What goes wrong.
    pub faults: Faults,
}

/// How those who are called behave. The default is the stationary model of the pacing literature with one answer in
/// four by a person.
#[derive(Clone, Debug, PartialEq)]
pub struct Callees {
    /// Which fates, at which weights. Ignored for numbers that [`Callees::scripted`] pins.
    pub mix: Vec<(Fate, u32)>,
    /// Whether the number's last two digits decide what happens, see [`crate::callee::script`].
    pub scripted: bool,
    /// From the originate to the first sign of life.
    pub setup: Spread,
    /// How long it rings before a person answers.
    pub ring_person: Spread,
    /// How long it rings before a machine answers.
    pub ring_machine: Spread,
    /// How long it rings before a callee declines.
    pub ring_declined: Spread,
    /// How long a person talks with an agent before hanging up.
    pub talk: Spread,
    /// How long a person waits for somebody to talk to before hanging up.
    pub patience: Spread,
    /// How long an answering machine stays on the line.
    pub machine_message: Spread,
    /// Probability that life shows as early media and not as ringing.
    pub early_media: f64,
}

/// How agents' phones behave.
#[derive(Clone, Debug, PartialEq)]
pub struct Phones {
    /// How long an agent takes to pick up.
    pub pick_up: Spread,
    /// Probability that the agent does not pick up.
    pub ignored: f64,
    /// Probability that the agent declines.
    pub declined: f64,
    /// Probability that the phone is not registered.
    pub unregistered: f64,
    /// When a held leg drops by itself, if it does.
    pub drops_after: Option<Spread>,
    /// Probability that a conversation is ended by the agent hanging up the held leg.
    pub hangs_up_on_callee: f64,
    /// How long a held phone does nothing by itself: then it holds, transfers its callee, falls silent, or is moved elsewhere.
    pub acts_every: Option<Spread>,
}

/// What goes wrong, as probabilities per event or command. All are 0 by default.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    /// An event never comes.
    pub event_lost: f64,
    /// An event comes again, after [`Faults::event_delay`].
    pub event_twice: f64,
    /// An event is late by [`Faults::event_delay`], behind those of other legs.
    pub event_late: f64,
    /// How late.
    pub event_delay: Spread,
    /// A command never reaches the switch, and its failure shows after [`crate::switch::REPLY_TIMEOUT`]. Of lost
    /// connects, half are carried out all the same: only the reply is lost.
    pub command_lost: f64,
    /// The switch refuses a command.
    pub command_refused: f64,
    /// A command is late by [`Faults::command_delay`], behind those for other legs.
    pub command_late: f64,
    /// How late.
    pub command_delay: Spread,
    /// A recording cannot be made.
    pub recording_fails: f64,
    /// A message cannot be played.
    pub message_fails: f64,
    /// A held agent is outside the bridge when the link comes back; the driver puts that right and says so.
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
    /// As the default, with callees whom every trunk carries, so that no contact is due again in half an hour.
    pub fn carried() -> Self {
        let mut config = Self::default();
        let carried = |fate: &Fate| !matches!(fate, Fate::Congestion | Fate::Unplaceable);
        config.callees.mix.retain(|(fate, _)| carried(fate));
        config
    }
}

impl Default for Callees {
    fn default() -> Self {
        let secs = Duration::from_secs;
        Self {
            mix: vec![
                (Fate::Person, 250),
                (Fate::Machine, 300),
                (Fate::NoAnswer, 280),
                (Fate::Busy, 50),
                (Fate::Declined, 35),
                (Fate::Invalid, 30),
                (Fate::HangsUpAtOnce, 20),
                (Fate::Congestion, 20),
                (Fate::Silence, 5),
                (Fate::Incompatible, 5),
                (Fate::Unplaceable, 5),
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
    /// All is well.
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
