//! How many calls to launch now, so that agents wait little and few callees find no agent.
//!
//! In: what agents and calls do, as it happens, and ticks. Out: at each tick a [`PacingReport`]: how many calls to
//! launch, and why not one more. Learns how calls and agents behave (`pacing/learner.rs`), forecasts who will need an
//! agent and which agents will be free (`pacing/forecast.rs`, `pacing/crowd.rs`), and launches while the risk that the
//! next callee finds none stays below what the abandon rules still allow (`pacing/budget.rs`). Knows no contact, no trunk
//! and no store. Start at [`Pacer::tick`]. The model and its figures: docs/pacing.md.

mod book;
mod budget;
mod crowd;
mod drift;
mod forecast;
mod hazards;
mod learner;
mod observe;
mod report;
pub mod rules;
mod surplus;

pub use book::{AgentKey, AgentStep, CallKey};
pub use budget::{LearntGain, RuleAccount};
pub use hazards::LearntBin;
pub use learner::Learnt;
pub use observe::CallStep;
pub use report::{EffectiveMode, Fallback, PaceLimit, PacingReport};

use crate::time::{Mono, Now, Wall};
use book::{AgentSpell, Book, Flight, Landed};
use budget::Budget;
use crowd::Crowd;
use forecast::{HORIZONS, Row, Tables, dial, horizons, ring};
use jiff::tz::TimeZone;
use learner::Learner;
use observe::TrunkTrouble;
use rules::{AbandonRule, Answers, LiveFate};
use std::time::Duration;

/// A call asked for and not seen dialing after this was not placed.
const ASKED_SECS_MAX: f64 = 3.0;
/// Time after which a state that nothing ended is taken to be over.
const DIALING_SECS_MARGIN: f64 = 15.0;
const RINGING_SECS_MARGIN: f64 = 10.0;
const LISTENING_SECS_MAX: f64 = 15.0;
const WAITING_SECS_MARGIN: f64 = 1.5;
/// Consecutive trunk failures after which only probes are sent.
const FAILURES_MAX: u32 = 5;
const PROBE_EVERY_SECS: f64 = 1.0;
/// How often what is told of calls is made anew where something has happened, and all tables whatever has.
const CALL_TABLES_SECS: f64 = 1.0;
const TABLES_SECS: f64 = 10.0;
/// Below this risk a predictive campaign is progressive, and says so.
const RISK_MIN: f64 = 0.001;
/// Calls whose end must have been seen before any is launched ahead.
const CALLS_SEEN_MIN: u32 = 10;
/// Calls in flight for each agent, at most.
const IN_FLIGHT_PER_AGENT: usize = 40;
/// Calls launched at one tick, at most, however many agents there are.
const LAUNCH_MAX: usize = 2_000;
/// Over which time the pace of live answers is taken.
const PACE_SECS: f64 = 600.0;

/// How a campaign is paced.
#[derive(Clone, Debug, PartialEq)]
pub struct PacerConfig {
    /// How calls are launched.
    pub mode: PacingMode,
    /// The abandon rules that it keeps, all at once.
    pub rules: Vec<AbandonRule>,
    /// From a person's verdict until an agent must be there.
    pub connect_limit: Duration,
    /// How long a callee's phone rings.
    pub ring_timeout: Duration,
    /// For rules that go by the calendar.
    pub zone: TimeZone,
}

/// How calls are launched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PacingMode {
    /// As far ahead of free agents as the rules allow.
    Predictive,
    /// This many calls in flight for each free agent, while the rules allow.
    Power(f64),
    /// As many calls in flight as agents are free.
    Progressive,
}

/// What else bounds a launch. None: no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Free trunk channels.
    pub channels: Option<u32>,
    /// Contacts that are ready.
    pub contacts: Option<u32>,
    /// Calls asked for that are still being stored, where that is known. Else one that is not seen dialing within three
    /// seconds is taken as not placed.
    pub storing: Option<u32>,
}

/// The controller of one campaign on one switch.
#[derive(Clone, Debug)]
pub struct Pacer {
    settings: PacerConfig,
    book: Book,
    learner: Learner,
    budget: Budget,
    trunks: TrunkTrouble,
    tables: Tables,
    tables_at: f64,
    call_tables_at: f64,
    /// Something has happened since the calls' tables were made.
    news: bool,
    /// Something has happened since somebody asked.
    lesson: bool,
    probed_at: f64,
    pace: Pace,
}

/// Live answers per second, of late.
#[derive(Clone, Copy, Debug)]
struct Pace {
    answers: f64,
    weight: f64,
    at: Option<f64>,
}

impl Pace {
    fn fade(&mut self, at: f64) {
        if let Some(before) = self.at
            && at > before
        {
            let keep = (-(at - before) / PACE_SECS).exp();
            self.answers *= keep;
            self.weight = self.weight * keep + (1.0 - keep) * PACE_SECS;
        }
        self.at = Some(self.at.map_or(at, |before| before.max(at)));
    }

    /// Per second; what was before the start is taken as a minute without answers.
    fn rate(&self) -> f64 {
        self.answers / self.weight.max(60.0)
    }
}

impl Pacer {
    /// A controller that knows nothing yet but what `learnt` says.
    pub fn new(settings: PacerConfig, learnt: Option<&Learnt>) -> Self {
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
            book: Book::default(),
            learner,
            budget,
            trunks: TrunkTrouble::default(),
            tables,
            tables_at: f64::NEG_INFINITY,
            call_tables_at: f64::NEG_INFINITY,
            news: false,
            lesson: false,
            probed_at: f64::NEG_INFINITY,
            pace: Pace {
                answers: 0.0,
                weight: 0.0,
                at: None,
            },
        }
    }

    /// Takes new settings; what was learnt, and what was counted, stays.
    pub fn configure(&mut self, settings: PacerConfig) {
        if settings == self.settings {
            return;
        }
        self.budget.configure(&settings.rules, settings.zone.clone());
        self.settings = settings;
        self.learner.at_risk_secs_max = ring_secs(&self.settings) + DIALING_SECS_MARGIN;
        self.tables_at = f64::NEG_INFINITY;
    }

    /// Whether anything has happened since this was last asked, so that what was learnt is worth keeping again.
    pub fn take_lesson(&mut self) -> bool {
        std::mem::take(&mut self.lesson)
    }

    /// What was learnt so far.
    pub fn learnt(&self) -> Learnt {
        self.learner.learnt(self.budget.gains())
    }

    /// Events that were not taken because too many calls or agents are known.
    pub fn dropped(&self) -> u64 {
        self.book.dropped
    }

    /// An agent has come, gone, or changed state.
    pub fn agent(&mut self, at: Mono, agent: AgentKey, step: AgentStep) {
        (self.news, self.lesson) = (true, true);
        observe::agent(&mut self.book, &mut self.learner, secs(at), agent, step);
    }

    /// An agent will leave at this time, or once the present call is over if that is later. None: stays.
    pub fn agent_leaves(&mut self, agent: AgentKey, at: Option<Mono>) {
        if let Some(spell) = self.book.agents.get_mut(&agent) {
            spell.leaves_at = at.map(secs);
        }
    }

    /// Something has happened to a call, and what became of a person who answered is counted as it appears from here.
    pub fn call(&mut self, now: Now, call: CallKey, step: CallStep) {
        if let Some(fate) = self.observe(now, call, step) {
            self.count(now, now.wall, fate);
        }
    }

    /// How an answer by a person has ended, to be said once for each.
    pub fn count(&mut self, now: Now, answered_at: Wall, fate: LiveFate) {
        self.lesson = true;
        self.budget.count(now.wall, answered_at, fate, self.pace.rate());
    }

    /// Takes in what the store knows of answers before the start.
    pub fn recall(&mut self, answers: &[Answers]) {
        self.budget.recall(answers);
    }

    /// Takes over what another controller of the same campaign has counted: the rules hold for the campaign as a whole.
    pub fn share_account(&mut self, other: &Pacer) {
        let gains = self.budget.gains();
        self.budget = other.budget.clone();
        self.budget.recall_gains(&gains);
    }

    /// What every rule has counted in its window.
    pub fn accounts(&self, now: Now) -> Vec<RuleAccount> {
        self.budget.accounts(now.wall)
    }

    /// Something has happened to a call. Returns how it appears from here that an answer has ended; counts nothing.
    pub fn observe(&mut self, now: Now, call: CallKey, step: CallStep) -> Option<LiveFate> {
        let at = secs(now.mono);
        (self.news, self.lesson) = (true, true);
        let step = match step {
            CallStep::Dialing { answer_probability } => CallStep::Dialing {
                answer_probability: answer_probability.map(|p| self.odds(p)),
            },
            other => other,
        };
        let noted = observe::call(
            &mut self.book,
            &mut self.learner,
            &mut self.trunks,
            at,
            call,
            step,
        );
        self.learner.drift.expect(noted.expected, self.pace.rate());
        if noted.person {
            self.pace.fade(at);
            self.pace.answers += 1.0;
            self.learner.drift.see(self.pace.rate());
        }
        noted.fate
    }

    /// Odds of a person at this probability, over those of any call.
    fn odds(&self, p: f64) -> f64 {
        let any = self.tables.answer_probability.clamp(0.001, 0.999);
        let p = if p.is_finite() { p.clamp(0.001, 0.999) } else { any };
        (p / (1.0 - p) / (any / (1.0 - any))).clamp(0.02, 50.0)
    }

    /// How many calls to launch now.
    pub fn tick(&mut self, now: Now, room: Room) -> PacingReport {
        let at = secs(now.mono);
        self.pace.fade(at);
        let pace = self.pace.rate();
        observe::accrue(&mut self.book, &mut self.learner, at, pace);
        self.expire(at, room.storing);
        self.renew_tables(at, pace);
        let scene = self.scene(at);
        let mut report = self.decide(now.wall, &scene);
        self.bound(at, room, &mut report);
        for _ in 0..report.launch {
            self.book.asked.push_back(at);
        }
        report
    }

    fn renew_tables(&mut self, at: f64, pace: f64) {
        let young = self.learner.is_young();
        let all = at - self.tables_at >= if young { CALL_TABLES_SECS } else { TABLES_SECS };
        let calls = self.news && (young || at - self.call_tables_at >= CALL_TABLES_SECS);
        if !(all || calls) {
            return;
        }
        (self.news, self.call_tables_at) = (false, at);
        let limit = self.settings.connect_limit.as_secs_f64();
        let sources = self.learner.sources(pace, ring_secs(&self.settings), limit);
        if all {
            self.tables = Tables::new(&sources);
            self.tables_at = at;
        } else {
            self.tables.renew_calls(&sources);
        }
    }

    /// Drops what a lost event would otherwise keep for ever.
    fn expire(&mut self, at: f64, storing: Option<u32>) {
        let ring_secs_max = ring_secs(&self.settings);
        let limit = self.settings.connect_limit.as_secs_f64();
        let mut overdue = Vec::new();
        self.book.calls.retain(|key, spell| {
            let secs_max = match spell.state {
                Flight::Dialing => ring_secs_max + DIALING_SECS_MARGIN,
                Flight::Ringing => ring_secs_max + RINGING_SECS_MARGIN,
                Flight::Listening(_) => LISTENING_SECS_MAX,
                Flight::Waiting => limit + WAITING_SECS_MARGIN,
            };
            let stays = at - spell.since < secs_max;
            if !stays && spell.state == Flight::Waiting {
                overdue.push((*key, spell.since));
            }
            stays
        });
        for (key, since) in overdue {
            self.book.land(key, Landed::Overdue(since));
        }
        if let Some(storing) = storing {
            let asked = self.book.asked.len();
            self.book
                .asked
                .resize(usize::try_from(storing).unwrap_or(asked), at);
            return;
        }
        while self
            .book
            .asked
            .front()
            .is_some_and(|asked| at - asked >= ASKED_SECS_MAX)
        {
            self.book.asked.pop_front();
        }
    }

    /// Everything that may need an agent or keep one, now.
    fn scene(&self, at: f64) -> Scene {
        let mut scene = Scene {
            busy: Vec::with_capacity(self.book.agents.len()),
            calls: Vec::with_capacity(self.book.calls.len() + self.book.asked.len()),
            arrivals: Row::ZERO,
            seats: 0,
            free: 0,
            in_flight: self.book.calls.len() + self.book.asked.len(),
        };
        for asked in &self.book.asked {
            scene.arrives(*self.tables.dialing((at - asked).min(ASKED_SECS_MAX)));
        }
        for spell in self.book.calls.values() {
            scene.arrives(self.row(spell, at));
        }
        let limit = self.settings.connect_limit.as_secs_f64();
        let answered = self.tables.dialing(0.0).steps();
        for spell in self.book.agents.values() {
            scene.agent(spell, at, limit, &self.tables, &answered);
        }
        scene
    }

    /// A call being judged: the longer it takes, the likelier the verdict that usually takes so long.
    fn verdict_row(&self, answer: book::Answer, listened: f64) -> Row {
        let (live, machine) = if answer.rang {
            let rates = self.learner.ringing.rates(answer.age);
            (rates.get(ring::LIVE).copied(), rates.get(ring::MACHINE).copied())
        } else {
            let rates = self.learner.dialing.rates(answer.age);
            (rates.get(dial::LIVE).copied(), rates.get(dial::MACHINE).copied())
        };
        let drift = self.learner.drift(self.pace.rate());
        let (person, other) = (&self.learner.person_delay, &self.learner.machine_delay);
        let undecided = 1.0 - person.share(listened);
        let weight = live.unwrap_or(0.0) * drift;
        let all = weight * undecided + machine.unwrap_or(0.0) * (1.0 - other.share(listened));
        if all < 1e-9 {
            return Row::ZERO;
        }
        Row(horizons()
            .map(|t| (weight * (person.share(listened + t) - person.share(listened)) / all).clamp(0.0, 1.0)))
    }

    fn decide(&mut self, wall: Wall, scene: &Scene) -> PacingReport {
        let pace = self.pace.rate();
        let fresh = *self.tables.dialing(0.0);
        let answer_probability = self.tables.answer_probability;
        let allowance = self.budget.allowance(wall, pace);
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
        // No bet is larger than the evidence: with many agents a wrong one costs many callees.
        let evidence = (self.learner.answers_seen() + 2.0) / scene.seats.max(1) as f64;
        let risk_max = match mode {
            EffectiveMode::Predictive => allowed * evidence.min(1.0),
            EffectiveMode::Power | EffectiveMode::Progressive => 0.0,
        };
        // Calls in flight that free agents alone allow.
        let per_free = match (mode, self.settings.mode) {
            (EffectiveMode::Power, PacingMode::Power(ratio)) if ratio.is_finite() => ratio.clamp(0.0, 100.0),
            _ => 1.0,
        };
        let covered = (scene.free as f64 * per_free) as usize;
        let in_flight_max =
            (scene.seats.saturating_mul(IN_FLIGHT_PER_AGENT)).min(scene.in_flight.saturating_add(LAUNCH_MAX));

        let mut crowd = Crowd::new(scene.seats, &scene.busy, &scene.calls, self.learner.doubt());
        let mut arrivals = scene.arrivals;
        let mut wanted = 0_usize;
        let (limit, risk) = loop {
            let full = crowd.full(0);
            let risk = weighted(&fresh.steps(), &full);
            let in_flight = scene.in_flight + wanted;
            if scene.seats == 0 {
                break (PaceLimit::Agents, risk);
            }
            if in_flight >= covered && (mode != EffectiveMode::Predictive || risk > risk_max) {
                let limit = match mode {
                    EffectiveMode::Predictive => PaceLimit::Risk,
                    EffectiveMode::Power => PaceLimit::Ratio,
                    EffectiveMode::Progressive => PaceLimit::FreeAgents,
                };
                break (limit, risk);
            }
            if in_flight >= in_flight_max {
                break (PaceLimit::Bound, risk);
            }
            crowd.add(&fresh);
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
            expected_abandon_ratio: weighted(&arrivals.steps(), &crowd.full(1)),
            rule,
            budget_left: allowance.as_ref().map_or(0.0, |a| a.left),
            live: allowance.as_ref().map_or(0.0, |a| a.live),
            abandoned: allowance.as_ref().map_or(0.0, |a| a.abandoned),
            agents: u32::try_from(scene.seats).unwrap_or(u32::MAX),
            agents_free: u32::try_from(scene.free).unwrap_or(u32::MAX),
            in_flight: u32::try_from(scene.in_flight).unwrap_or(u32::MAX),
            answer_probability,
            drift: self.learner.drift(pace),
        }
    }

    /// What trunks and the hopper have room for.
    fn bound(&mut self, at: f64, room: Room, report: &mut PacingReport) {
        for (most, limit) in [
            (room.contacts, PaceLimit::Contacts),
            (room.channels, PaceLimit::Channels),
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
            report.limit = PaceLimit::Congestion;
            if due {
                self.probed_at = at;
            }
        }
    }
}

/// Calls and agents at one tick, as probabilities.
struct Scene {
    /// Each agent who may stay busy.
    busy: Vec<Row>,
    /// Each call that may need an agent.
    calls: Vec<Row>,
    /// Sum over the calls alone.
    arrivals: Row,
    /// Agents who are counted on.
    seats: usize,
    /// Of them free.
    free: usize,
    in_flight: usize,
}

impl Scene {
    fn arrives(&mut self, row: Row) {
        for (sum, p) in self.arrivals.0.iter_mut().zip(row.0) {
            *sum += p;
        }
        if row.last() > 1e-9 {
            self.calls.push(row);
        }
    }

    /// `answered`: when a person would answer a call launched now.
    fn agent(&mut self, spell: &AgentSpell, at: f64, limit: f64, tables: &Tables, answered: &Row) {
        let age = at - spell.since;
        let leaves_in = spell.leaves_at.map(|leaves| leaves - at);
        let busy = match spell.step {
            AgentStep::Offline | AgentStep::Paused => return,
            AgentStep::Available => Row::ZERO,
            AgentStep::OnCall => *tables.talk(age),
            AgentStep::WrapUp => *tables.wrap_up(age),
        };
        self.seats += 1;
        match leaves_in {
            Some(leaves_in) => {
                let mut gone = busy;
                for (p, t) in gone.0.iter_mut().zip(horizons()) {
                    if t + limit > leaves_in {
                        *p = 1.0;
                    }
                }
                let stays = weighted(answered, &gone) < 0.5;
                if stays && spell.step == AgentStep::Available {
                    self.free += 1;
                }
                self.busy.push(gone);
            }
            None if spell.step == AgentStep::Available => self.free += 1,
            None => self.busy.push(busy),
        }
    }
}

/// The mean of `values` where each horizon weighs as `weights` says.
fn weighted(weights: &Row, values: &Row) -> f64 {
    let (mut sum, mut total) = (0.0, 0.0);
    for (weight, value) in weights.0.iter().zip(values.0).take(HORIZONS) {
        sum += weight * value;
        total += weight;
    }
    if total > 1e-12 {
        (sum / total).clamp(0.0, 1.0)
    } else {
        0.0
    }
}

fn secs(at: Mono) -> f64 {
    at.0.as_secs_f64()
}

fn ring_secs(settings: &PacerConfig) -> f64 {
    settings.ring_timeout.as_secs_f64().clamp(5.0, 120.0)
}

#[cfg(test)]
mod tests;
