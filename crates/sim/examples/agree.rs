//! Compares the whole engine on a simulated PBX with the call centre model, both with the same controller, to show that the
//! model can replace it. `cargo run --release -p paceline-sim --example agree -- HOURS DAYS`.
#![allow(clippy::unwrap_used, reason = "a proof fails by panicking, as tests do")]

use paceline_core::campaign::hours::CallingHours;
use paceline_core::campaign::settings::CampaignSettings;
use paceline_core::campaign::{CampaignConfig, Mode, TrunkConfig};
use paceline_core::command::{Change, Command};
use paceline_core::dial::{AgentTemplate, Extension, TrunkTemplate};
use paceline_core::engine::Engine;
use paceline_core::ids::{AgentId, CampaignId, ContactId, PbxName, TaskId, TrunkId};
use paceline_core::input::{AgentRequest, Input, Lead, Prepared, Recovered};
use paceline_core::number::E164;
use paceline_core::outcome::Outcome;
use paceline_core::pacing::PacingMode;
use paceline_core::pacing::rules::AbandonRule;
use paceline_core::time::{Mono, Now, Wall};
use paceline_sim::callee::Behaviour;
use paceline_sim::config::Callees;
use paceline_sim::pacing::{Ours, Sample, Scenario, run};
use paceline_sim::random::Spread;
use paceline_sim::{SimConfig, SimPbx};
use std::collections::BTreeMap;
use std::time::Duration;

const AGENTS: u32 = 10;
const WRAP_UP: Duration = Duration::from_secs(20);
const RING_TIMEOUT: Duration = Duration::from_secs(25);
const LIVE: f64 = 0.3;

fn callees() -> Callees {
    Callees {
        mix: vec![(Behaviour::Person, 300), (Behaviour::NoAnswer, 700)],
        talk: Spread::LogNormal {
            mean: Duration::from_secs(90),
            sigma: 0.8,
        },
        ..Callees::default()
    }
}

/// The same callees in the model.
fn scenario(length: Duration) -> Scenario {
    let callees = callees();
    Scenario {
        length,
        machine_share: 0.0,
        refused_share: 0.0,
        setup: callees.setup,
        ring_person: callees.ring_person,
        ring_timeout: RING_TIMEOUT,
        amd_person: Spread::Constant(Duration::ZERO),
        talk: callees.talk,
        wrap_up: Spread::Constant(WRAP_UP),
        ..Scenario::stationary(AGENTS, LIVE)
    }
}

fn config(pbx: &PbxName) -> CampaignConfig {
    CampaignConfig {
        id: CampaignId(1),
        settings: settings(),
        trunks: vec![TrunkConfig {
            id: TrunkId(1),
            name: "carrier".to_owned(),
            pbx: pbx.clone(),
            dial: TrunkTemplate::new("PJSIP/{number}@carrier").unwrap(),
            caller_id: None,
        }],
    }
}

fn settings() -> CampaignSettings {
    let mut settings = CampaignSettings {
        hours: CallingHours::always(),
        ..CampaignSettings::default()
    };
    settings.pacing.mode = Mode::Predictive;
    settings.pacing.abandon_rules = vec![AbandonRule::daily(0.03, Duration::from_secs(2))];
    settings.dialing.ring_timeout_ms = RING_TIMEOUT.as_millis() as u64;
    settings.agents.wrap_up_ms = WRAP_UP.as_millis() as u64;
    settings.agents.leg_duration_ms_max = 24 * 3_600_000;
    settings
}

/// A day of the engine: agents' times and the results of answers.
struct Day {
    engine: Engine,
    sim_pbx: SimPbx,
    pbx: PbxName,
    now: Mono,
    contacts: i64,
    talks: BTreeMap<paceline_core::ids::AttemptId, Mono>,
    sum: Sample,
}

impl Day {
    fn new(seed: u64) -> Self {
        let pbx = PbxName::new("main");
        let config_of_pbx = SimConfig {
            callees: callees(),
            ..SimConfig::default()
        };
        let mut day = Self {
            engine: Engine::new(config(&pbx), seed, Recovered::default(), now(Mono::default())),
            sim_pbx: SimPbx::new(config_of_pbx, seed),
            pbx,
            now: Mono::default(),
            contacts: 0,
            talks: BTreeMap::new(),
            sum: Sample::default(),
        };
        day.tell(Input::SetActive(true));
        for n in 1..=i64::from(AGENTS) {
            let log_in = AgentRequest::LogIn {
                pbx: day.pbx.clone(),
                template: AgentTemplate::new("PJSIP/{extension}").unwrap(),
                extension: Extension::new(&format!("agent-{n}")).unwrap(),
            };
            for request in [log_in, AgentRequest::Ready] {
                day.tell(Input::Agent {
                    agent: AgentId(n),
                    request,
                });
            }
        }
        day
    }

    fn tell(&mut self, input: Input) {
        self.engine.handle(now(self.now), input).unwrap();
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(command) = self.engine.next_command() {
            match command {
                Command::Refill { limit } => {
                    let leads = (0..limit).map(|_| self.lead()).collect();
                    let input = Input::Leads {
                        leads,
                        next_due: None,
                    };
                    self.engine.handle(now(self.now), input).unwrap();
                }
                Command::Prepare(new) => {
                    let input = Input::Prepared {
                        attempt: new.attempt,
                        result: Prepared::Allowed,
                    };
                    self.engine.handle(now(self.now), input).unwrap();
                }
                Command::Store(Change::Connected { attempt, .. }) => {
                    self.talks.insert(attempt, self.now);
                }
                Command::Store(Change::AttemptEnded { attempt, outcome, .. }) => {
                    self.sum.abandoned += u32::from(outcome == Outcome::Abandoned);
                    self.sum.live += u32::from(outcome == Outcome::Abandoned);
                    if let Some(since) = self.talks.remove(&attempt) {
                        self.sum.live += 1;
                        self.sum.busy_secs += (self.now.since(since) + WRAP_UP).as_secs_f64();
                    }
                }
                Command::Pbx { command, .. } => self.sim_pbx.handle(self.now, command),
                Command::Return { .. }
                | Command::Store(_)
                | Command::OptOut { .. }
                | Command::AgentIs { .. }
                | Command::Paced { .. } => {}
            }
        }
    }

    fn lead(&mut self) -> Lead {
        self.contacts += 1;
        let number = E164::new(&format!(
            "+1{:03}55501{:02}",
            200 + self.contacts / 100 % 700,
            self.contacts % 100
        ));
        Lead {
            contact: ContactId(self.contacts),
            task: TaskId(1),
            number: number.unwrap(),
            attempts_made: 0,
            tries_made: 0,
            retries_max: 0,
        }
    }

    fn run(mut self, length: Duration) -> Sample {
        let until = Mono(length);
        while self.now < until {
            let next = [self.sim_pbx.poll_timeout(), self.engine.poll_timeout()]
                .into_iter()
                .flatten()
                .min();
            self.now = next.unwrap_or(until).max(self.now).min(until);
            self.sim_pbx.handle_timeout(self.now);
            while let Some(event) = self.sim_pbx.next_event() {
                let pbx = self.pbx.clone();
                self.tell(Input::Pbx {
                    pbx,
                    ago: Duration::ZERO,
                    event,
                });
            }
            self.engine.handle_timeout(now(self.now));
            self.carry_out();
        }
        self.sum.staffed_secs = length.as_secs_f64() * f64::from(AGENTS);
        self.sum
    }
}

fn now(mono: Mono) -> Now {
    Now {
        mono,
        wall: Wall(1_800_000_000_000).plus(mono.0),
    }
}

/// Runs the engine and the model for this number of days of this length.
pub(crate) fn compare(length: Duration, days: u64) -> (Sample, Sample) {
    let (mut engine, mut model) = (Sample::default(), Sample::default());
    let scenario = scenario(length);
    for seed in 1..=days {
        engine.add(&Day::new(seed).run(length));
        model.add(&run(&scenario, seed, &mut Ours::new(PacingMode::Predictive, &scenario)).total());
    }
    (engine, model)
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<u64>());
    let (Some(Ok(hours)), Some(Ok(days))) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: agree HOURS DAYS");
        return;
    };
    let (engine, model) = compare(
        Duration::from_secs(hours.clamp(1, 24) * 3600),
        days.clamp(1, 1000),
    );
    for (who, sum) in [("engine", engine), ("model", model)] {
        println!(
            "{who}: {:.1} % busy, {:.2} % of {} live answers abandoned",
            100.0 * sum.utilisation(),
            100.0 * sum.abandon_ratio(),
            sum.live
        );
    }
}
