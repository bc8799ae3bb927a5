//! A whole Paceline in virtual time: engines, PBXes with callees and agents, a store, a process that crashes, and agents
//! and operators who change things. Everything follows from [`WorldOptions`].
//!
//! [`run`] lets the troubles happen for a while, then stops them all. At the end every attempt must have an outcome, every
//! agent must be free, every contact must be accounted for, and no channel may be left. At every step no promise may be
//! broken. Start at [`run`]. The troubles are in `world/troubles.rs`, the process with its engines in `world/process.rs`,
//! its path to the store in `world/writer.rs`, and the final checks in `world/heal.rs`.

use crate::pbx::SimPbx;
use crate::random::{ChaCha8Rng, stream};
use paceline_core::campaign::agents::AgentSettings;
use paceline_core::campaign::answering::AnsweringSettings;
use paceline_core::campaign::compliance::ComplianceSettings;
use paceline_core::campaign::dialing::DialingSettings;
use paceline_core::campaign::hours::CallingHours;
use paceline_core::campaign::pacing::PacingSettings;
use paceline_core::campaign::recording::RecordingSettings;
use paceline_core::campaign::settings::CampaignSettings;
use paceline_core::campaign::suppression::SuppressionSettings;
use paceline_core::campaign::{CampaignConfig, TrunkConfig};
use paceline_core::dial::{AgentTemplate, Extension, TrunkTemplate};
use paceline_core::ids::{AgentId, AgentLegId, CampaignId, ContactId, LegId, PbxName, TaskId, TrunkId};
use paceline_core::number::E164;
use paceline_core::outcome::Outcome;
use paceline_core::pacing::rules::{AbandonRule, AbandonWindow};
use paceline_core::pbx::Sound;
use paceline_core::time::{Mono, Now, Wall};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

mod heal;
mod options;
mod process;
mod store;
mod troubles;
mod writer;

pub use options::{Trouble, WorldOptions};
use process::Process;
use store::Store;
use writer::{Aside, Reply};

/// The start of virtual time.
const STARTS_AT: Wall = Wall(1_800_000_000_000);
/// More steps than this at one instant mean an endless loop.
const STEPS_PER_INSTANT_MAX: u32 = 100_000;
/// Maximum number of trace lines that are kept.
const TRACE_LINES_MAX: usize = 4000;

/// The result of a world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Number of attempts that were dialed.
    pub dialed: u64,
    /// Number of ended attempts by outcome.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Number of conversations.
    pub connected: u64,
    /// Number of lost events.
    pub events_lost: u64,
    /// Number of starts of the process.
    pub starts: u64,
    /// Virtual time that passed.
    pub lasted: Duration,
}

/// A broken promise. Its text contains the seed, the reason, and the end of the trace if it was recorded.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The options of the failed world.
    pub options: WorldOptions,
    /// Description of the violation.
    pub reason: String,
    /// Virtual time of the violation.
    pub at: Mono,
    /// The last steps, oldest first. Empty unless they were recorded.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "{:#?}", self.options)?;
        write!(
            f,
            "seed {} broke a promise at {:.3} s: {}",
            self.options.seed,
            self.at.0.as_secs_f64(),
            self.reason
        )
    }
}

/// Runs a world to its end. If it fails, it runs again to record its trace.
///
/// # Errors
/// The first broken promise.
pub fn run(options: &WorldOptions) -> Result<Report, Box<Failure>> {
    run_once(options, false).or_else(|_| run_once(options, true))
}

/// Like [`run`], without a trace.
///
/// # Errors
/// The first broken promise.
pub fn run_quickly(options: &WorldOptions) -> Result<Report, Box<Failure>> {
    run_once(options, false)
}

fn run_once(options: &WorldOptions, tell: bool) -> Result<Report, Box<Failure>> {
    let mut world = World::new(options.clone(), tell);
    let result = world.live();
    let (at, trace) = (world.now, world.trace.into_iter().collect());
    match result {
        Ok(report) => Ok(report),
        Err(reason) => Err(Box::new(Failure {
            options: options.clone(),
            reason,
            at,
            trace,
        })),
    }
}

struct World {
    options: WorldOptions,
    now: Mono,
    agenda: BTreeMap<(Mono, u64), Happening>,
    planned: u64,
    pbxes: Vec<WorldPbx>,
    store: Store,
    process: Option<Process>,
    people: Vec<Person>,
    campaigns: Vec<Campaign>,
    /// PBXes in maintenance, as stored.
    maintained: BTreeSet<PbxName>,
    legs: BTreeMap<LegId, usize>,
    /// The newest leg to each number.
    last_legs: BTreeMap<E164, (PbxName, LegId)>,
    agent_legs: BTreeMap<AgentLegId, usize>,
    /// Legs for which this run of the process started the message.
    messaged: BTreeSet<LegId>,
    starts: u64,
    connected: u64,
    dialed: u64,
    /// Sum of the jumps of the wall clock, in milliseconds. Negative: backwards.
    jumped_ms: i64,
    healing: bool,
    healed_at: Mono,
    rng_store: ChaCha8Rng,
    rng_trouble: ChaCha8Rng,
    rng_people: ChaCha8Rng,
    tell: bool,
    trace: VecDeque<String>,
}

struct WorldPbx {
    name: PbxName,
    sim: SimPbx,
    /// True while the network to the PBX is cut.
    cut: bool,
}

struct Campaign {
    config: CampaignConfig,
    active: bool,
}

/// An agent, and what the agent wants.
struct Person {
    agent: AgentId,
    campaign: usize,
    pbx: PbxName,
    extension: Extension,
    wants: Wish,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Work,
    Pause,
    Home,
}

/// An entry of the agenda.
#[derive(Debug)]
enum Happening {
    StoreWrites {
        start: u64,
        campaign: usize,
    },
    StoreAside {
        start: u64,
        campaign: usize,
        asked: Aside,
    },
    StoreReplies {
        start: u64,
        campaign: usize,
        reply: Reply,
    },
    PersonLooks(usize),
    PersonChangesMind(usize),
    LinkCut(usize),
    LinkRestored(usize),
    PbxRestarts(usize),
    MaintenanceBegins(usize),
    MaintenanceEnds(usize),
    PbxClosesDown(usize),
    PbxOpens(usize),
    Crash,
    Drain,
    Stop {
        start: u64,
    },
    Start,
    TaskStops(TaskId),
    TaskResumes(TaskId),
    CampaignPauses(usize),
    CampaignResumes(usize),
    SettingsChange(usize),
    ClockJumps,
}

impl World {
    fn new(options: WorldOptions, tell: bool) -> Self {
        let seed = options.seed;
        let pbxes = (0..options.pbxes.max(1)).map(|n| WorldPbx {
            name: PbxName::new(&format!("pbx-{n}")),
            sim: SimPbx::new(options.sim_config(), seed.wrapping_add(n as u64)),
            cut: false,
        });
        let pbxes: Vec<WorldPbx> = pbxes.collect();
        let campaigns = (0..options.campaigns).map(|n| Campaign {
            config: campaign_config(&options, n, &pbxes),
            active: true,
        });
        let mut world = Self {
            campaigns: campaigns.collect(),
            pbxes,
            now: Mono(Duration::from_secs(1)),
            agenda: BTreeMap::new(),
            planned: 0,
            store: Store::default(),
            process: None,
            people: Vec::new(),
            maintained: BTreeSet::new(),
            legs: BTreeMap::new(),
            last_legs: BTreeMap::new(),
            agent_legs: BTreeMap::new(),
            messaged: BTreeSet::new(),
            starts: 0,
            connected: 0,
            dialed: 0,
            jumped_ms: 0,
            healing: false,
            healed_at: Mono::default(),
            rng_store: stream(seed, "world", "store", 0),
            rng_trouble: stream(seed, "world", "trouble", 0),
            rng_people: stream(seed, "world", "people", 0),
            tell,
            trace: VecDeque::new(),
            options,
        };
        world.hire();
        world.fill_lists();
        world
    }

    fn hire(&mut self) {
        for campaign in 0..self.options.campaigns {
            for n in 0..self.options.agents {
                let id = (campaign * self.options.agents + n) as i64 + 1;
                let Ok(extension) = Extension::new(&format!("agent-{id}")) else {
                    continue;
                };
                let Some(sim_pbx) = self.pbxes.get(n % self.pbxes.len()) else {
                    continue;
                };
                self.people.push(Person {
                    agent: AgentId(id),
                    campaign,
                    pbx: sim_pbx.name.clone(),
                    extension,
                    wants: Wish::Work,
                });
            }
        }
    }

    fn fill_lists(&mut self) {
        let mut next = 0_i64;
        for campaign in 0..self.options.campaigns {
            for task in 0..self.options.tasks {
                let task = TaskId((campaign * self.options.tasks + task) as i64 + 1);
                self.store.tasks.insert(
                    task,
                    store::Task {
                        campaign,
                        running: true,
                    },
                );
                for n in 0..self.options.contacts as i64 {
                    next += 1;
                    // With shared numbers, the same place in every list has the same number.
                    let number = if self.options.shared_numbers && n % 2 == 0 {
                        n
                    } else {
                        1000 + next
                    };
                    let Ok(number) = E164::new(&format!("+1202555{number:07}")) else {
                        continue;
                    };
                    let retries_max = self.options.retries_max;
                    self.store
                        .add_contact((task, ContactId(next)), number, retries_max, STARTS_AT);
                }
            }
        }
    }

    fn live(&mut self) -> Result<Report, String> {
        self.plan_troubles();
        self.start()?;
        let until = self.now + self.options.troubled;
        self.run_until(until)?;
        self.heal()?;
        let mut report = Report {
            dialed: self.dialed,
            connected: self.connected,
            ..Report::default()
        };
        report.starts = self.starts;
        report.lasted = self.now.0;
        for attempt in self.store.attempts.values() {
            if let Some(outcome) = attempt.outcome {
                *report.outcomes.entry(outcome).or_default() += 1;
            }
        }
        for sim_pbx in &mut self.pbxes {
            report.events_lost += sim_pbx.sim.truth().events_lost;
        }
        Ok(report)
    }

    fn now(&self) -> Now {
        Now {
            mono: self.now,
            wall: Wall(STARTS_AT.plus(self.now.0).0.saturating_add(self.jumped_ms)),
        }
    }

    fn plan(&mut self, after: Duration, happening: Happening) {
        self.planned += 1;
        self.agenda.insert((self.now + after, self.planned), happening);
    }

    /// Time of the next change anywhere.
    fn next_at(&self) -> Option<Mono> {
        let own = self.agenda.first_key_value().map(|((at, _), _)| *at);
        let pbxes = self.pbxes.iter().filter_map(|s| s.sim.poll_timeout());
        let engines = self
            .process
            .iter()
            .flat_map(|p| p.engines.iter())
            .filter_map(|e| e.poll_timeout());
        own.into_iter().chain(pbxes).chain(engines).min()
    }

    fn run_until(&mut self, until: Mono) -> Result<(), String> {
        let mut steps = 0;
        while let Some(at) = self.next_at().filter(|at| *at <= until) {
            steps = if at > self.now { 0 } else { steps + 1 };
            if steps > STEPS_PER_INSTANT_MAX {
                return Err(
                    "time stands still: one part asks to be called again and again at the same instant"
                        .to_owned(),
                );
            }
            self.now = self.now.max(at);
            self.step()?;
        }
        self.now = self.now.max(until);
        Ok(())
    }

    fn step(&mut self) -> Result<(), String> {
        for sim_pbx in &mut self.pbxes {
            sim_pbx.sim.handle_timeout(self.now);
        }
        while let Some(entry) = self.agenda.first_entry().filter(|e| e.key().0 <= self.now) {
            let happening = entry.remove();
            self.happen(happening)?;
            self.settle()?;
        }
        self.wake_engines()?;
        self.settle()
    }

    /// Adds a line to the trace.
    fn note(&mut self, line: impl FnOnce() -> String) {
        if self.tell {
            if self.trace.len() == TRACE_LINES_MAX {
                self.trace.pop_front();
            }
            self.trace
                .push_back(format!("{:10.3} {}", self.now.0.as_secs_f64(), line()));
        }
    }
}

fn campaign_config(options: &WorldOptions, n: usize, pbxes: &[WorldPbx]) -> CampaignConfig {
    let trunks = pbxes.iter().enumerate().filter_map(|(i, sim_pbx)| {
        Some(TrunkConfig {
            id: TrunkId(i as i64 + 1),
            name: format!("carrier-{i}"),
            pbx: sim_pbx.name.clone(),
            dial: TrunkTemplate::new("PJSIP/{number}@carrier").ok()?,
            caller_id: None,
        })
    });
    CampaignConfig {
        id: CampaignId(n as i64 + 1),
        settings: settings(options),
        trunks: trunks.collect(),
    }
}

fn settings(options: &WorldOptions) -> CampaignSettings {
    CampaignSettings {
        dialing: DialingSettings {
            ring_timeout_ms: ms(options.ring_timeout),
            call_duration_ms_max: ms(options.call_duration_max),
        },
        pacing: PacingSettings {
            mode: options.mode,
            power_ratio: 1.5,
            abandon_rules: vec![
                AbandonRule::daily(0.03, Duration::from_secs(2)),
                AbandonRule {
                    name: "ever".into(),
                    window: AbandonWindow::Campaign,
                    ..AbandonRule::daily(0.03, Duration::from_secs(2))
                },
            ],
        },
        hours: CallingHours::always(),
        compliance: ComplianceSettings::default(),
        answering: AnsweringSettings {
            connect_limit_ms: 2_000,
            abandon_message: options.message.then(|| Sound::new("sound:sorry").ok()).flatten(),
        },
        agents: AgentSettings {
            ring_timeout_ms: 20_000,
            leg_duration_ms_max: ms(options.agent_leg_duration_max),
            wrap_up_ms: ms(options.wrap_up),
        },
        recording: RecordingSettings {
            enabled: options.recording,
            announcement: None,
        },
        suppression: SuppressionSettings::default(),
    }
}

/// Whole milliseconds, the unit of settings.
fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn agent_template() -> Result<AgentTemplate, String> {
    AgentTemplate::new("PJSIP/{extension}").map_err(|e| e.to_string())
}

/// The legs that an engine is responsible for.
type Owned = (BTreeSet<LegId>, BTreeSet<AgentLegId>);
