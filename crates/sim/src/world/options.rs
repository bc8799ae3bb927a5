//! The options of a simulated world: its size and its troubles, all drawn from one seed.

use crate::config::{Callees, Faults, Phones, SimConfig};
use crate::random::{ChaCha8Rng, Spread, happens, stream};
use paceline_core::campaign::Mode;
use rand::RngExt;
use std::time::Duration;

/// The options of a world. Two worlds with equal options do exactly the same.
#[derive(Clone, Debug, PartialEq)]
pub struct WorldOptions {
    /// The seed of everything that is drawn later.
    pub seed: u64,
    /// Number of campaigns. Each has its own engine.
    pub campaigns: usize,
    /// Number of PBXes. The agents are distributed over them.
    pub pbxes: usize,
    /// Number of agents of each campaign.
    pub agents: usize,
    /// Number of contacts of each task.
    pub contacts: usize,
    /// Number of tasks of each campaign.
    pub tasks: usize,
    /// True: every second contact has a number that another task has too.
    pub shared_numbers: bool,
    /// Maximum number of retries for a contact.
    pub retries_max: u32,
    /// The mode in which calls are launched.
    pub mode: Mode,
    /// Ring timeout of callees' phones.
    pub ring_timeout: Duration,
    /// Maximum length of a conversation.
    pub call_duration_max: Duration,
    /// Maximum length of an agent's held leg.
    pub agent_leg_duration_max: Duration,
    /// Wrap-up time of the agents.
    pub wrap_up: Duration,
    /// True: conversations are recorded.
    pub recording: bool,
    /// True: an abandoned callee hears a message.
    pub message: bool,
    /// Number of persons among 1,000 callees. More persons make the world busier.
    pub persons_per_mille: u32,
    /// Duration of the troubles.
    pub troubled: Duration,
    /// True: every link is resynchronised when the troubles stop.
    pub resynchronise_at_heal: bool,
    /// Faults between the engines and the PBXes.
    pub faults: Faults,
    /// Behaviour of the agents' phones.
    pub phones: Phones,
    /// Mean time between two cuts of a link. `None`: no cuts; likewise below.
    pub cut_every: Option<Duration>,
    /// Mean time between two restarts of a PBX.
    pub restart_every: Option<Duration>,
    /// Mean time between two crashes of the process.
    pub crash_every: Option<Duration>,
    /// Mean time between two orderly restarts of the process.
    pub drain_every: Option<Duration>,
    /// Mean time between two requests of an agent.
    pub restless_every: Option<Duration>,
    /// Mean time between two stops of a task.
    pub stop_every: Option<Duration>,
    /// Mean time between two pauses of a campaign.
    pub pause_every: Option<Duration>,
    /// Mean time between two maintenances of a PBX.
    pub maintain_every: Option<Duration>,
    /// Mean time between two graceful restarts of a PBX.
    pub close_every: Option<Duration>,
    /// Mean time between two changes of a campaign's settings.
    pub settings_every: Option<Duration>,
    /// Mean time between two jumps of the wall clock.
    pub jump_every: Option<Duration>,
    /// Duration of one operation of the store.
    pub store_latency: Spread,
    /// Probability that an operation of the store fails.
    pub store_fails: f64,
    /// Probability that the gate refuses a call just before the originate.
    pub gate_refuses: f64,
}

/// A kind of trouble. The hunt removes troubles one by one from a failed world, to find those that cause the failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Single events are lost.
    EventLost,
    /// Events are duplicate.
    EventTwice,
    /// Events overtake those of other legs.
    EventLate,
    /// Commands are lost.
    CommandLost,
    /// Commands are refused.
    CommandRefused,
    /// Commands overtake those for other legs.
    CommandLate,
    /// Recordings and messages fail.
    RecordingFails,
    /// Held agents are outside their bridges after a resynchronisation.
    BridgeBroken,
    /// Links are cut.
    Cuts,
    /// PBXes restart.
    Restarts,
    /// The process crashes.
    Crashes,
    /// The process restarts in order.
    Drains,
    /// Agents pause, log out and log in.
    Restless,
    /// Tasks are stopped and resumed.
    Stops,
    /// Campaigns are paused and resumed.
    Pauses,
    /// PBXes are put into maintenance.
    Maintenance,
    /// PBXes restart gracefully, or the restart is aborted. Until then they accept no calls.
    Closings,
    /// The store is slow.
    StoreSlow,
    /// The store fails.
    StoreFails,
    /// The gate refuses calls.
    GateRefuses,
    /// Agents' phones do not answer.
    PhonesSilent,
    /// Agents' legs drop, during and between calls.
    PhonesDrop,
    /// Agents' phones hold, transfer, send no audio and are moved.
    PhonesAct,
    /// Legs reach their time limits.
    TimeLimits,
    /// One number is in several tasks.
    SharedNumbers,
    /// There is more than one campaign, PBX and task.
    Several,
    /// Settings change, and trunks are added and removed.
    Settings,
    /// The wall clock jumps.
    ClockJumps,
}

impl Trouble {
    /// All kinds.
    pub const ALL: [Trouble; 28] = [
        Trouble::EventLost,
        Trouble::EventTwice,
        Trouble::EventLate,
        Trouble::CommandLost,
        Trouble::CommandRefused,
        Trouble::CommandLate,
        Trouble::RecordingFails,
        Trouble::BridgeBroken,
        Trouble::Cuts,
        Trouble::Restarts,
        Trouble::Crashes,
        Trouble::Drains,
        Trouble::Restless,
        Trouble::Stops,
        Trouble::Pauses,
        Trouble::StoreSlow,
        Trouble::StoreFails,
        Trouble::GateRefuses,
        Trouble::PhonesSilent,
        Trouble::PhonesDrop,
        Trouble::TimeLimits,
        Trouble::SharedNumbers,
        Trouble::Several,
        Trouble::Settings,
        Trouble::ClockJumps,
        Trouble::PhonesAct,
        Trouble::Maintenance,
        Trouble::Closings,
    ];

    /// True if this trouble hides events from the engine or commands from the PBX. Then no outcome is certain.
    fn hides(self) -> bool {
        match self {
            Trouble::EventLost
            | Trouble::EventLate
            | Trouble::CommandLost
            | Trouble::CommandRefused
            | Trouble::CommandLate
            | Trouble::Cuts
            | Trouble::Restarts
            | Trouble::Closings
            | Trouble::Crashes
            | Trouble::Drains => true,
            Trouble::EventTwice
            | Trouble::RecordingFails
            | Trouble::BridgeBroken
            | Trouble::Restless
            | Trouble::Stops
            | Trouble::Pauses
            | Trouble::Maintenance
            | Trouble::StoreSlow
            | Trouble::StoreFails
            | Trouble::GateRefuses
            | Trouble::PhonesSilent
            | Trouble::PhonesDrop
            | Trouble::PhonesAct
            | Trouble::TimeLimits
            | Trouble::SharedNumbers
            | Trouble::Several
            | Trouble::Settings
            | Trouble::ClockJumps => false,
        }
    }

    /// The kinds whose bits are set, in the order of [`Trouble::ALL`].
    pub fn set(bits: u32) -> Vec<Trouble> {
        Self::ALL
            .into_iter()
            .enumerate()
            .filter(|(n, _)| bits >> n & 1 == 1)
            .map(|(_, t)| t)
            .collect()
    }
}

/// Draws the mode. Half of all worlds are progressive.
pub(super) fn draw_mode(rng: &mut ChaCha8Rng) -> Mode {
    match rng.random_range(0..4) {
        0 => Mode::Power,
        1 => Mode::Predictive,
        _ => Mode::Progressive,
    }
}

impl WorldOptions {
    /// A small world without troubles.
    pub fn calm(seed: u64) -> Self {
        let secs = Duration::from_secs;
        Self {
            seed,
            campaigns: 1,
            pbxes: 1,
            agents: 3,
            contacts: 30,
            tasks: 1,
            shared_numbers: false,
            retries_max: 1,
            mode: Mode::Progressive,
            ring_timeout: secs(25),
            call_duration_max: secs(3600),
            agent_leg_duration_max: secs(24 * 3600),
            wrap_up: secs(10),
            recording: false,
            message: false,
            persons_per_mille: 400,
            troubled: secs(600),
            resynchronise_at_heal: false,
            faults: Faults::none(),
            phones: Phones::default(),
            cut_every: None,
            restart_every: None,
            crash_every: None,
            drain_every: None,
            restless_every: None,
            stop_every: None,
            pause_every: None,
            maintain_every: None,
            close_every: None,
            settings_every: None,
            jump_every: None,
            store_latency: Spread::Uniform(Duration::from_millis(1), Duration::from_millis(10)),
            store_fails: 0.0,
            gate_refuses: 0.0,
        }
    }

    /// A world with random troubles. Each kind is present or not, weak or strong. In one of four worlds nothing is lost, so
    /// that every outcome is certain.
    pub fn troubled(seed: u64) -> Self {
        Self::with(seed, &Self::troubles_of(seed))
    }

    /// The troubles of [`WorldOptions::troubled`].
    pub fn troubles_of(seed: u64) -> Vec<Trouble> {
        // Each kind has its own stream, so that a new kind does not change the others of a seed.
        let draw =
            |what: &str, probability| happens(&mut stream(seed, "options which", what, 0), probability);
        let honest = draw("honest", 0.25);
        let there = |t: &Trouble| draw(&format!("{t:?}"), 0.4) && !(honest && t.hides());
        Trouble::ALL.into_iter().filter(there).collect()
    }

    /// A world of this seed with exactly these troubles. The strength of each does not depend on the others.
    pub fn with(seed: u64, troubles: &[Trouble]) -> Self {
        let mut rng = stream(seed, "options", "size", 0);
        let mut options = Self::calm(seed);
        options.agents = rng.random_range(1..=5);
        options.contacts = rng.random_range(5..=40);
        options.retries_max = rng.random_range(0..=2);
        options.ring_timeout = Duration::from_secs(rng.random_range(10..=40));
        options.wrap_up = Duration::from_secs(rng.random_range(0..=20));
        options.recording = happens(&mut rng, 0.3);
        options.persons_per_mille = rng.random_range(100..=900);
        options.troubled = Duration::from_secs(rng.random_range(60..=1800));
        options.resynchronise_at_heal = happens(&mut rng, 0.5);
        options.message = happens(&mut stream(seed, "options", "message", 0), 0.5);
        options.mode = draw_mode(&mut stream(seed, "options", "mode", 0));
        for trouble in troubles {
            let mut rng = stream(seed, "options", &format!("{trouble:?}"), 0);
            options.add(*trouble, &mut rng);
        }
        options
    }

    fn add(&mut self, trouble: Trouble, rng: &mut ChaCha8Rng) {
        let secs = Duration::from_secs;
        let hard = happens(rng, 0.3);
        let rate = if hard {
            rng.random_range(0.05..0.4)
        } else {
            rng.random_range(0.001..0.05)
        };
        let every = Some(secs(if hard {
            rng.random_range(10..60)
        } else {
            rng.random_range(60..600)
        }));
        let delay = if hard {
            secs(rng.random_range(2..40))
        } else {
            Duration::from_millis(rng.random_range(1..2000))
        };
        match trouble {
            Trouble::EventLost => self.faults.event_lost = rate,
            Trouble::EventTwice => self.faults.event_twice = rate,
            Trouble::EventLate => {
                self.faults.event_late = rate;
                self.faults.event_delay = Spread::Exponential(delay);
            }
            Trouble::CommandLost => self.faults.command_lost = rate,
            Trouble::CommandRefused => self.faults.command_refused = rate,
            Trouble::CommandLate => {
                self.faults.command_late = rate;
                self.faults.command_delay = Spread::Exponential(delay);
            }
            Trouble::RecordingFails => {
                self.recording = true;
                self.faults.recording_fails = rate;
                self.faults.message_fails = rate;
            }
            Trouble::BridgeBroken => self.faults.bridge_broken = rate * 2.0,
            Trouble::Cuts => self.cut_every = every,
            Trouble::Restarts => self.restart_every = every,
            Trouble::Crashes => self.crash_every = every,
            Trouble::Drains => self.drain_every = every,
            Trouble::Restless => self.restless_every = every,
            Trouble::Stops => self.stop_every = every,
            Trouble::Pauses => self.pause_every = every,
            Trouble::Maintenance => self.maintain_every = every,
            Trouble::Closings => self.close_every = every,
            Trouble::StoreSlow => {
                self.store_latency = Spread::Exponential(Duration::from_millis(rng.random_range(20..3000)));
            }
            Trouble::StoreFails => self.store_fails = rate,
            Trouble::GateRefuses => self.gate_refuses = rate,
            Trouble::PhonesSilent => {
                self.phones.ignored = rate;
                self.phones.declined = rate / 2.0;
                self.phones.unregistered = rate / 2.0;
            }
            Trouble::PhonesDrop => {
                self.phones.drops_after = Some(Spread::Exponential(secs(rng.random_range(30..1800))));
                self.phones.hangs_up_on_callee = rng.random_range(0.0..0.7);
            }
            Trouble::PhonesAct => {
                self.phones.acts_every = Some(Spread::Exponential(secs(rng.random_range(20..200))));
            }
            Trouble::TimeLimits => {
                self.call_duration_max = secs(rng.random_range(5..120));
                self.agent_leg_duration_max = secs(rng.random_range(60..1200));
            }
            Trouble::SharedNumbers => self.shared_numbers = true,
            Trouble::Settings => self.settings_every = every,
            Trouble::ClockJumps => self.jump_every = every,
            Trouble::Several => {
                self.campaigns = rng.random_range(1..=3);
                self.pbxes = rng.random_range(1..=2);
                self.tasks = rng.random_range(1..=3);
            }
        }
    }

    /// True if nothing prevents the engine from connecting or hanging up a callee in time.
    pub(crate) fn is_prompt(&self) -> bool {
        let f = &self.faults;
        let lost = f.event_lost + f.event_late + f.command_lost + f.command_refused + f.command_late;
        let cut = [
            self.cut_every,
            self.restart_every,
            self.close_every,
            self.crash_every,
            self.drain_every,
        ];
        lost == 0.0 && cut.iter().all(Option::is_none)
    }

    /// The configuration of each PBX of this world.
    pub(crate) fn sim_config(&self) -> SimConfig {
        let mut callees = Callees::default();
        for (behaviour, weight) in &mut callees.mix {
            if *behaviour == crate::callee::Behaviour::Person {
                *weight = self.persons_per_mille.max(1);
            }
        }
        SimConfig {
            callees,
            phones: self.phones.clone(),
            foreign_channels: 2,
            faults: self.faults.clone(),
            ..SimConfig::default()
        }
    }
}
