//! Decides how many calls to launch now. Agents must wait little, and few callees may find no agent.
//!
//! Input: the events of agents and calls as they happen, and a regular tick. Output: one [`PacingReport`] for each tick,
//! with the number of calls to launch and the reason why it is not one more.
//!
//! The controller learns how calls and agents behave (`pacing/learner.rs`). It forecasts which calls will need an agent and
//! which agents will be free (`pacing/forecast.rs`, `pacing/poisson_binomial.rs`). It launches calls while the risk that
//! the next callee finds no agent stays below what the abandon rules still allow (`pacing/budget.rs`). It knows no contact,
//! no trunk and no store. Start at [`PacingController::tick`]. `docs/pacing.md` has the model and its constants.

mod budget;
mod drift;
mod forecast;
mod hazards;
mod learner;
mod observe;
mod poisson_binomial;
mod report;
pub mod rules;
mod snapshot;
mod surplus;
mod tracked;

pub use budget::{LearntGain, RuleAccount};
pub use hazards::LearntBin;
pub use learner::Learnt;
pub use observe::CallStep;
pub use report::{EffectiveMode, Fallback, LaunchLimit, PacingReport};
pub use tracked::{AgentKey, AgentStep, CallKey};

use crate::time::{Mono, Now, Wall};
use budget::Budget;
use forecast::Tables;
use jiff::tz::TimeZone;
use learner::Learner;
use observe::TrunkTrouble;
use poisson_binomial::PoissonBinomial;
use rules::{AbandonRule, AnswerResult, Answers};
use snapshot::{Snapshot, weighted};
use std::time::Duration;
use tracked::{CallPhase, EndedAs, Tracked};

/// If a requested call is not seen dialing within this time, the controller assumes that it was not placed.
const ASKED_SECS_MAX: f64 = 3.0;
/// A state that lasts this much longer than it can is over: its last event was lost.
const DIALING_SECS_MARGIN: f64 = 15.0;
const RINGING_SECS_MARGIN: f64 = 10.0;
const LISTENING_SECS_MAX: f64 = 15.0;
const WAITING_SECS_MARGIN: f64 = 1.5;
/// After this many trunk failures in a row, the controller sends only probes.
const FAILURES_MAX: u32 = 5;
const PROBE_EVERY_SECS: f64 = 1.0;
/// The forecast of calls is rebuilt this often while events arrive; all tables are rebuilt every `TABLES_SECS`.
const CALL_TABLES_SECS: f64 = 1.0;
const TABLES_SECS: f64 = 10.0;
/// If the allowed risk is below this, a predictive campaign dials progressively and reports it.
const RISK_MIN: f64 = 0.001;
/// This many calls must have ended before the controller launches ahead of free agents.
const CALLS_SEEN_MIN: u32 = 10;
/// Maximum number of calls in flight for each agent.
const IN_FLIGHT_PER_AGENT: usize = 40;
/// Maximum number of calls launched at one tick, for any number of agents.
const LAUNCH_MAX: usize = 2_000;
/// Time constant of the average of live answers per second.
const LIVE_RATE_SECS: f64 = 600.0;

/// The pacing settings of one campaign on one PBX.
#[derive(Clone, Debug, PartialEq)]
pub struct PacingConfig {
    /// The pacing mode.
    pub mode: PacingMode,
    /// The abandon rules of the campaign. All of them hold at the same time.
    pub rules: Vec<AbandonRule>,
    /// Maximum time from the moment when a person is recognised until an agent is connected.
    pub connect_limit: Duration,
    /// Ring timeout of a call. After it the call ends as not answered.
    pub ring_timeout: Duration,
    /// The time zone of rules that count by calendar day or month.
    pub zone: TimeZone,
}

/// The pacing mode of a controller.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PacingMode {
    /// Launch ahead of free agents, as far as the abandon rules allow.
    Predictive,
    /// Keep this many calls in flight for each free agent, while the abandon rules allow it.
    Power(f64),
    /// Keep as many calls in flight as agents are free.
    Progressive,
}

/// Further limits on a launch. `None` means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Number of free trunk channels.
    pub channels: Option<u32>,
    /// Number of contacts that are ready to be dialed.
    pub contacts: Option<u32>,
    /// Number of requested calls that are still being stored, if the caller knows it. If `None`, a requested call that is
    /// not seen dialing within 3 s counts as not placed.
    pub storing: Option<u32>,
}

/// The pacing controller of one campaign on one PBX.
#[derive(Clone, Debug)]
pub struct PacingController {
    settings: PacingConfig,
    tracked: Tracked,
    learner: Learner,
    budget: Budget,
    trunks: TrunkTrouble,
    tables: Tables,
    tables_at: f64,
    call_tables_at: f64,
    /// An event arrived after the tables of calls were built.
    calls_changed: bool,
    /// Something was learnt after [`PacingController::take_unsaved`] was last called.
    unsaved: bool,
    probed_at: f64,
    live_rate: LiveRate,
}

/// Running average of live answers per second.
#[derive(Clone, Copy, Debug)]
struct LiveRate {
    answers: f64,
    weight: f64,
    at: Option<f64>,
}

impl LiveRate {
    fn fade(&mut self, at: f64) {
        if let Some(before) = self.at
            && at > before
        {
            let keep = (-(at - before) / LIVE_RATE_SECS).exp();
            self.answers *= keep;
            self.weight = self.weight * keep + (1.0 - keep) * LIVE_RATE_SECS;
        }
        self.at = Some(self.at.map_or(at, |before| before.max(at)));
    }

    /// Live answers per second. The time before the start counts as one minute without answers, so that the first answer
    /// does not look like a flood.
    fn rate(&self) -> f64 {
        self.answers / self.weight.max(60.0)
    }
}

impl PacingController {
    /// Creates a controller. `learnt` is what an earlier controller had learnt; without it, the built-in prior rates apply.
    pub fn new(settings: PacingConfig, learnt: Option<&Learnt>) -> Self {
        let mut learner = Learner::new(ring_secs(&settings) + DIALING_SECS_MARGIN);
        let mut budget = Budget::new(&settings.rules, settings.zone.clone());
        if let Some(learnt) = learnt {
            learner.recall(learnt);
            budget.recall_gains(&learnt.gains);
        }
        let limit = settings.connect_limit.as_secs_f64();
        let tables = Tables::new(&learner.sources(0.0, ring_secs(&settings), limit));
        Self {
            settings,
            tracked: Tracked::default(),
            learner,
            budget,
            trunks: TrunkTrouble::default(),
            tables,
            tables_at: f64::NEG_INFINITY,
            call_tables_at: f64::NEG_INFINITY,
            calls_changed: false,
            unsaved: false,
            probed_at: f64::NEG_INFINITY,
            live_rate: LiveRate {
                answers: 0.0,
                weight: 0.0,
                at: None,
            },
        }
    }

    /// Applies new settings. What the controller has learnt and counted stays.
    pub fn configure(&mut self, settings: PacingConfig) {
        if settings == self.settings {
            return;
        }
        self.budget.configure(&settings.rules, settings.zone.clone());
        self.settings = settings;
        self.learner.at_risk_secs_max = ring_secs(&self.settings) + DIALING_SECS_MARGIN;
        self.tables_at = f64::NEG_INFINITY;
    }

    /// True if something was learnt after the last call of this function, so that [`PacingController::learnt`] should be
    /// stored again.
    pub fn take_unsaved(&mut self) -> bool {
        std::mem::take(&mut self.unsaved)
    }

    /// The learnt rates, to store and to pass to [`PacingController::new`] after a restart.
    pub fn learnt(&self) -> Learnt {
        self.learner.learnt(self.budget.gains())
    }

    /// Number of events that were ignored because too many calls or agents were known.
    pub fn dropped(&self) -> u64 {
        self.tracked.dropped
    }

    /// Reports a new state of an agent.
    pub fn agent(&mut self, at: Mono, agent: AgentKey, step: AgentStep) {
        (self.calls_changed, self.unsaved) = (true, true);
        observe::agent(&mut self.tracked, &mut self.learner, secs(at), agent, step);
    }

    /// Reports when an agent will log out. If a call runs at that time, the agent stays until it ends. `None`: the agent
    /// stays.
    pub fn agent_leaves(&mut self, agent: AgentKey, at: Option<Mono>) {
        if let Some(spell) = self.tracked.agents.get_mut(&agent) {
            spell.leaves_at = at.map(secs);
        }
    }

    /// Reports a step of a call. If a live answer ended, it is counted in the abandon rules. The result is derived from the
    /// events that this controller saw.
    pub fn call(&mut self, now: Now, call: CallKey, step: CallStep) {
        if let Some(result) = self.observe(now, call, step) {
            self.count(now, now.wall, result);
        }
    }

    /// Counts one live answer in the abandon rules. Call it once for each live answer.
    pub fn count(&mut self, now: Now, answered_at: Wall, result: AnswerResult) {
        self.unsaved = true;
        self.budget
            .count(now.wall, answered_at, result, self.live_rate.rate());
    }

    /// Loads the answers before the start, as the store has them.
    pub fn recall(&mut self, answers: &[Answers]) {
        self.budget.recall(answers);
    }

    /// Copies the counters of another controller of the same campaign, because an abandon rule holds for the campaign as a
    /// whole.
    pub fn share_account(&mut self, other: &PacingController) {
        let gains = self.budget.gains();
        self.budget = other.budget.clone();
        self.budget.recall_gains(&gains);
    }

    /// The counters of each abandon rule in its current window.
    pub fn accounts(&self, now: Now) -> Vec<RuleAccount> {
        self.budget.accounts(now.wall)
    }

    /// Reports a step of a call without counting it. If a live answer ended, returns its result as this controller saw it.
    pub fn observe(&mut self, now: Now, call: CallKey, step: CallStep) -> Option<AnswerResult> {
        let at = secs(now.mono);
        (self.calls_changed, self.unsaved) = (true, true);
        let step = match step {
            CallStep::Dialing { answer_probability } => CallStep::Dialing {
                answer_probability: answer_probability.map(|p| self.odds(p)),
            },
            other => other,
        };
        let observation = observe::call(
            &mut self.tracked,
            &mut self.learner,
            &mut self.trunks,
            at,
            call,
            step,
        );
        self.learner
            .drift
            .expect(observation.expected, self.live_rate.rate());
        if observation.person {
            self.live_rate.fade(at);
            self.live_rate.answers += 1.0;
            self.learner.drift.see(self.live_rate.rate());
        }
        observation.result
    }

    /// Ratio of the odds of a live answer at probability `p` to the odds for an average call.
    fn odds(&self, p: f64) -> f64 {
        let any = self.tables.answer_probability.clamp(0.001, 0.999);
        let p = if p.is_finite() { p.clamp(0.001, 0.999) } else { any };
        (p / (1.0 - p) / (any / (1.0 - any))).clamp(0.02, 50.0)
    }

    /// Decides how many calls to launch now. The caller must launch `launch` calls.
    pub fn tick(&mut self, now: Now, room: Room) -> PacingReport {
        let at = secs(now.mono);
        self.live_rate.fade(at);
        let live_per_sec = self.live_rate.rate();
        observe::accrue(&mut self.tracked, &mut self.learner, at, live_per_sec);
        self.expire(at, room.storing);
        self.renew_tables(at, live_per_sec);
        let snapshot = self.snapshot(at);
        let mut report = self.decide(now.wall, &snapshot);
        self.bound(at, room, &mut report);
        for _ in 0..report.launch {
            self.tracked.asked.push_back(at);
        }
        report
    }

    fn renew_tables(&mut self, at: f64, live_per_sec: f64) {
        let young = self.learner.is_young();
        let all = at - self.tables_at >= if young { CALL_TABLES_SECS } else { TABLES_SECS };
        let calls = self.calls_changed && (young || at - self.call_tables_at >= CALL_TABLES_SECS);
        if !(all || calls) {
            return;
        }
        (self.calls_changed, self.call_tables_at) = (false, at);
        let limit = self.settings.connect_limit.as_secs_f64();
        let sources = self
            .learner
            .sources(live_per_sec, ring_secs(&self.settings), limit);
        if all {
            self.tables = Tables::new(&sources);
            self.tables_at = at;
        } else {
            self.tables.renew_calls(&sources);
        }
    }

    /// Removes calls whose last event was lost. Otherwise they would reserve an agent for ever.
    fn expire(&mut self, at: f64, storing: Option<u32>) {
        let ring_secs_max = ring_secs(&self.settings);
        let limit = self.settings.connect_limit.as_secs_f64();
        let mut overdue = Vec::new();
        self.tracked.calls.retain(|key, spell| {
            let secs_max = match spell.state {
                CallPhase::Dialing => ring_secs_max + DIALING_SECS_MARGIN,
                CallPhase::Ringing => ring_secs_max + RINGING_SECS_MARGIN,
                CallPhase::Listening(_) => LISTENING_SECS_MAX,
                CallPhase::Waiting => limit + WAITING_SECS_MARGIN,
            };
            let stays = at - spell.since < secs_max;
            if !stays && spell.state == CallPhase::Waiting {
                overdue.push((*key, spell.since));
            }
            stays
        });
        for (key, since) in overdue {
            self.tracked.end(key, EndedAs::Overdue(since));
        }
        if let Some(storing) = storing {
            let asked = self.tracked.asked.len();
            self.tracked
                .asked
                .resize(usize::try_from(storing).unwrap_or(asked), at);
            return;
        }
        while self
            .tracked
            .asked
            .front()
            .is_some_and(|asked| at - asked >= ASKED_SECS_MAX)
        {
            self.tracked.asked.pop_front();
        }
    }

    fn decide(&mut self, wall: Wall, snapshot: &Snapshot) -> PacingReport {
        let live_per_sec = self.live_rate.rate();
        let fresh = *self.tables.dialing(0.0);
        let answer_probability = self.tables.answer_probability;
        let allowance = self.budget.allowance(wall, live_per_sec);
        let (allowed, rule) = match &allowance {
            Some(allowance) => (allowance.risk_max, Some(allowance.rule.clone())),
            None => (1.0, None),
        };
        let learning = self.learner.calls_ended < CALLS_SEEN_MIN;
        let fallback = match self.settings.mode {
            PacingMode::Progressive => None,
            PacingMode::Predictive if learning => Some(Fallback::Learning),
            PacingMode::Predictive | PacingMode::Power(_) => (allowed < RISK_MIN).then_some(Fallback::Budget),
        };
        let mode = match self.settings.mode {
            _ if fallback.is_some() => EffectiveMode::Progressive,
            PacingMode::Predictive => EffectiveMode::Predictive,
            PacingMode::Power(_) => EffectiveMode::Power,
            PacingMode::Progressive => EffectiveMode::Progressive,
        };
        // The risk is limited by the number of answers seen: with many agents, a forecast from few answers could abandon
        // many callees at once.
        let evidence = (self.learner.answers_seen() + 2.0) / snapshot.seats.max(1) as f64;
        let risk_max = match mode {
            EffectiveMode::Predictive => allowed * evidence.min(1.0),
            EffectiveMode::Power | EffectiveMode::Progressive => 0.0,
        };
        // Number of calls in flight that the free agents cover without a forecast.
        let per_free = match (mode, self.settings.mode) {
            (EffectiveMode::Power, PacingMode::Power(ratio)) if ratio.is_finite() => ratio.clamp(0.0, 100.0),
            _ => 1.0,
        };
        let covered = (snapshot.free as f64 * per_free) as usize;
        let in_flight_max = (snapshot.seats.saturating_mul(IN_FLIGHT_PER_AGENT))
            .min(snapshot.in_flight.saturating_add(LAUNCH_MAX));

        let mut demand = PoissonBinomial::new(
            snapshot.seats,
            &snapshot.busy,
            &snapshot.calls,
            self.learner.doubt(),
        );
        let mut arrivals = snapshot.arrivals;
        let mut wanted = 0_usize;
        let (limit, risk) = loop {
            let full = demand.full(0);
            let risk = weighted(&fresh.steps(), &full);
            let in_flight = snapshot.in_flight + wanted;
            if snapshot.seats == 0 {
                break (LaunchLimit::Agents, risk);
            }
            if in_flight >= covered && (mode != EffectiveMode::Predictive || risk > risk_max) {
                let limit = match mode {
                    EffectiveMode::Predictive => LaunchLimit::Risk,
                    EffectiveMode::Power => LaunchLimit::Ratio,
                    EffectiveMode::Progressive => LaunchLimit::FreeAgents,
                };
                break (limit, risk);
            }
            if in_flight >= in_flight_max {
                break (LaunchLimit::Bound, risk);
            }
            demand.add(&fresh);
            for (sum, p) in arrivals.0.iter_mut().zip(fresh.0) {
                *sum += p;
            }
            wanted += 1;
        };
        let launch = u32::try_from(wanted).unwrap_or(u32::MAX);
        PacingReport {
            launch,
            wanted: launch,
            limit,
            mode,
            fallback,
            risk,
            risk_max,
            expected_abandon_ratio: weighted(&arrivals.steps(), &demand.full(1)),
            rule,
            budget_left: allowance.as_ref().map_or(0.0, |a| a.left),
            live: allowance.as_ref().map_or(0.0, |a| a.live),
            abandoned: allowance.as_ref().map_or(0.0, |a| a.abandoned),
            agents: u32::try_from(snapshot.seats).unwrap_or(u32::MAX),
            agents_free: u32::try_from(snapshot.free).unwrap_or(u32::MAX),
            in_flight: u32::try_from(snapshot.in_flight).unwrap_or(u32::MAX),
            answer_probability,
            drift: self.learner.drift(live_per_sec),
        }
    }

    /// Applies the limits of trunk channels, contacts and failing trunks.
    fn bound(&mut self, at: f64, room: Room, report: &mut PacingReport) {
        for (most, limit) in [
            (room.contacts, LaunchLimit::Contacts),
            (room.channels, LaunchLimit::Channels),
        ] {
            if let Some(most) = most
                && report.launch > most
            {
                (report.launch, report.limit) = (most, limit);
            }
        }
        if self.trunks.failures >= FAILURES_MAX && report.launch > 0 {
            let due = at - self.probed_at >= PROBE_EVERY_SECS || at < self.probed_at;
            report.launch = u32::from(due);
            report.limit = LaunchLimit::Congestion;
            if due {
                self.probed_at = at;
            }
        }
    }
}

fn secs(at: Mono) -> f64 {
    at.0.as_secs_f64()
}

fn ring_secs(settings: &PacingConfig) -> f64 {
    settings.ring_timeout.as_secs_f64().clamp(5.0, 120.0)
}

#[cfg(test)]
mod tests;
