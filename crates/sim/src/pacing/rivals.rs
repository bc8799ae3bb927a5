//! Pacing algorithms: Paceline's controller, one call for each free agent, a fixed ratio, and VICIdial's formulas from its
//! source and manuals. Each sees only events.

use super::Dialer;
use paceline_core::pacing::rules::AbandonRule;
use paceline_core::pacing::{
    AgentKey, AgentStep, CallKey, CallStep, PacingConfig, PacingController, PacingMode, PacingReport, Room,
};
use paceline_core::time::{Mono, Now, Wall};
use std::collections::BTreeMap;
use std::time::Duration;

/// The controller of `paceline-core` as a [`Dialer`].
#[derive(Debug)]
pub struct Ours {
    /// The controller.
    pub controller: PacingController,
    /// Its latest decision.
    pub report: Option<PacingReport>,
}

impl Ours {
    /// Creates a controller with a daily abandon rule.
    pub fn new(mode: PacingMode, scenario: &super::Scenario) -> Self {
        Self {
            controller: PacingController::new(
                PacingConfig {
                    mode,
                    rules: vec![AbandonRule::daily(
                        scenario.abandon_ratio_max,
                        scenario.connect_limit,
                    )],
                    connect_limit: scenario.connect_limit,
                    ring_timeout: scenario.ring_timeout,
                    zone: jiff::tz::TimeZone::UTC,
                },
                None,
            ),
            report: None,
        }
    }
}

fn now(at: Mono) -> Now {
    Now {
        mono: at,
        wall: Wall(i64::try_from(at.0.as_millis()).unwrap_or(i64::MAX)),
    }
}

impl Dialer for Ours {
    fn agent(&mut self, at: Mono, agent: u32, step: AgentStep) {
        self.controller.agent(at, AgentKey(u128::from(agent)), step);
    }

    fn call(&mut self, at: Mono, call: u64, step: CallStep) {
        self.controller.call(now(at), CallKey(u128::from(call)), step);
    }

    fn tick(&mut self, at: Mono, channels: Option<u32>) -> u32 {
        let report = self.controller.tick(
            now(at),
            Room {
                channels,
                ..Room::default()
            },
        );
        let launch = report.launch;
        self.report = Some(report);
        launch
    }
}

/// The counters of a dialer without a forecast.
#[derive(Clone, Debug, Default)]
struct Counts {
    agents: BTreeMap<u32, AgentStep>,
    /// Calls without an agent. True if a person waits.
    calls: BTreeMap<u64, bool>,
    live: u64,
    abandoned: u64,
    /// Number of requested calls that are not dialing yet.
    asked: u32,
}

impl Counts {
    fn agent(&mut self, agent: u32, step: AgentStep) {
        if step == AgentStep::Offline {
            self.agents.remove(&agent);
        } else {
            self.agents.insert(agent, step);
        }
    }

    fn call(&mut self, call: u64, step: CallStep) {
        match step {
            CallStep::Dialing { .. } => {
                self.asked = self.asked.saturating_sub(1);
                self.calls.insert(call, false);
            }
            CallStep::Ringing | CallStep::Answered => {}
            CallStep::Person => {
                self.calls.insert(call, true);
            }
            CallStep::Machine | CallStep::Ended { .. } => {
                self.calls.remove(&call);
            }
            CallStep::Connected(_) => {
                self.calls.remove(&call);
                self.live += 1;
            }
            CallStep::Abandoned => {
                self.calls.remove(&call);
                self.live += 1;
                self.abandoned += 1;
            }
        }
    }

    fn agents_in(&self, step: AgentStep) -> usize {
        self.agents.values().filter(|s| **s == step).count()
    }

    /// Number of launched calls without an agent.
    fn open(&self) -> usize {
        self.calls.len() + self.asked as usize
    }

    fn launch_up_to(&mut self, goal: f64, channels: Option<u32>) -> u32 {
        let room = (goal - self.open() as f64).max(0.0).floor() as u32;
        let launch = room.min(channels.unwrap_or(u32::MAX));
        self.asked += launch;
        launch
    }
}

/// This many calls in flight for each free agent. A ratio of 1 is progressive.
#[derive(Clone, Debug)]
pub struct FixedRatio {
    ratio: f64,
    counts: Counts,
}

impl FixedRatio {
    /// Creates the dialer.
    pub fn new(ratio: f64) -> Self {
        Self {
            ratio,
            counts: Counts::default(),
        }
    }
}

impl Dialer for FixedRatio {
    fn agent(&mut self, _at: Mono, agent: u32, step: AgentStep) {
        self.counts.agent(agent, step);
    }

    fn call(&mut self, _at: Mono, call: u64, step: CallStep) {
        self.counts.call(call, step);
    }

    fn tick(&mut self, _at: Mono, channels: Option<u32>) -> u32 {
        let goal = self.counts.agents_in(AgentStep::Available) as f64 * self.ratio;
        self.counts.launch_up_to(goal, channels)
    }
}

/// VICIdial's reaction when the day's drop rate is over its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropRule {
    /// Dial level 1 at once.
    HardLimit,
    /// Half the dial level.
    Average,
    /// The dial level times the remaining hours, at most the present level.
    Tapered,
}

/// VICIdial: every 15 s it adapts a dial level from the numbers of ready agents and waiting calls.
#[derive(Clone, Debug)]
pub struct Vicidial {
    rule: DropRule,
    level_max: f64,
    diff_target: f64,
    drop_max: f64,
    length: Duration,
    level: f64,
    counts: Counts,
    next_dial: Duration,
    next_adapt: Duration,
    ready: f64,
    waiting: f64,
    agents: f64,
    looks: f64,
}

const DIAL_EVERY: Duration = Duration::from_millis(2500);
const ADAPT_EVERY: Duration = Duration::from_secs(15);

impl Vicidial {
    /// Creates the dialer. The defaults of VICIdial are `HardLimit`, 3.0 and 0.
    pub fn new(rule: DropRule, level_max: f64, diff_target: f64, scenario: &super::Scenario) -> Self {
        Self {
            rule,
            level_max,
            diff_target,
            drop_max: scenario.abandon_ratio_max,
            length: scenario.length,
            level: 1.0,
            counts: Counts::default(),
            next_dial: Duration::ZERO,
            next_adapt: ADAPT_EVERY,
            ready: 0.0,
            waiting: 0.0,
            agents: 0.0,
            looks: 0.0,
        }
    }

    fn adapt(&mut self, at: Duration) {
        let looks = self.looks.max(1.0);
        let agents = (self.agents / looks).max(1.0);
        let d = (self.ready / looks - self.waiting / looks + self.diff_target) / agents;
        (self.ready, self.waiting, self.agents, self.looks) = (0.0, 0.0, 0.0, 0.0);
        self.level = (self.level * (1.0 + d)).clamp(1.0, self.level_max);
        let drops = self.counts.abandoned as f64 / (self.counts.live.max(1)) as f64;
        if drops > self.drop_max && self.counts.live > 50 {
            let hours_left = self.length.saturating_sub(at).as_secs_f64() / 3600.0;
            self.level = match self.rule {
                DropRule::HardLimit => 1.0,
                DropRule::Average => (self.level / 2.0).max(1.0),
                DropRule::Tapered => (self.level * hours_left.min(1.0)).max(1.0),
            };
        }
    }
}

impl Dialer for Vicidial {
    fn agent(&mut self, _at: Mono, agent: u32, step: AgentStep) {
        self.counts.agent(agent, step);
    }

    fn call(&mut self, _at: Mono, call: u64, step: CallStep) {
        self.counts.call(call, step);
    }

    fn tick(&mut self, at: Mono, channels: Option<u32>) -> u32 {
        if at.0 < self.next_dial {
            return 0;
        }
        self.next_dial = at.0 + DIAL_EVERY;
        let ready = self.counts.agents_in(AgentStep::Available);
        let talking = self.counts.agents_in(AgentStep::OnCall);
        self.ready += ready as f64;
        self.waiting += self.counts.calls.values().filter(|waits| **waits).count() as f64;
        self.agents += (ready + talking) as f64;
        self.looks += 1.0;
        if at.0 >= self.next_adapt {
            self.next_adapt = at.0 + ADAPT_EVERY;
            self.adapt(at.0);
        }
        // Calls for agents who are ready or talking, minus the calls that have an agent.
        let goal = (self.level * ((ready + talking) as f64 + self.diff_target)).round() - talking as f64;
        self.counts.launch_up_to(goal, channels)
    }
}
