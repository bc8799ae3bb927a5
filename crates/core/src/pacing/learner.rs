//! The rates of calls and agents that the controller has learnt. Input: spells and their ends. Output: the input of
//! [`super::forecast`], and a [`Learnt`] that is stored across restarts.

use super::budget::LearntGain;
use super::drift::Drift;
use super::forecast::{Sources, dial, ring};
use super::hazards::{Delays, Hazards, LearntBin};
use serde::{Deserialize, Serialize};

/// Number of remembered ends of spells, for calls and for agents.
const CALL_EVENTS_EFF: f64 = 2000.0;
const AGENT_EVENTS_EFF: f64 = 500.0;
/// Weight of the prior of calls, as a number of spells.
const CALL_PRIOR_SPELLS: f64 = 20.0;
/// Weight of the prior of calls, as a number of live answers.
const CALL_PRIOR_ANSWERS: f64 = 2.0;
/// The doubt is greater than this until about 100 live answers were seen.
const YOUNG_DOUBT: f64 = 0.01;
const AGENT_PRIOR_SPELLS: f64 = 4.0;
const TALK_PRIOR_SECS: f64 = 100.0;
const WRAP_UP_PRIOR_SECS: f64 = 17.0;

/// The learnt rates, stored across restarts. Made by [`super::PacingController::learnt`]. A row that another version stored
/// may lack fields; they take their default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Learnt {
    /// Evidence of dialing.
    pub dialing: Vec<LearntBin>,
    /// Evidence of ringing.
    pub ringing: Vec<LearntBin>,
    /// Evidence of talk time.
    pub talk: Vec<LearntBin>,
    /// Evidence of wrap-up time.
    pub wrap_up: Vec<LearntBin>,
    /// Verdicts "person" by delay, in bins of a quarter of a second.
    pub person_delay: Vec<f64>,
    /// Verdicts "machine" by delay, in bins of a quarter of a second.
    pub machine_delay: Vec<f64>,
    /// Number of calls that ended, without those that a trunk or Paceline cut short.
    pub calls_ended: u32,
    /// The learnt factor of each abandon rule.
    pub gains: Vec<LearntGain>,
}

#[derive(Clone, Debug)]
pub(super) struct Learner {
    pub(super) dialing: Hazards<{ dial::CAUSES }>,
    pub(super) ringing: Hazards<{ ring::CAUSES }>,
    pub(super) talk: Hazards<1>,
    pub(super) wrap_up: Hazards<1>,
    pub(super) person_delay: Delays,
    pub(super) machine_delay: Delays,
    pub(super) drift: Drift,
    pub(super) calls_ended: u32,
    /// No state of a call lasts longer, seconds. If the clock jumps or the process stands still, the excess is not counted
    /// as time at risk.
    pub(super) at_risk_secs_max: f64,
}

impl Learner {
    pub(super) fn new(at_risk_secs_max: f64) -> Self {
        Self {
            dialing: Hazards::new(&call_edges(), dialing_prior, CALL_PRIOR_SPELLS, CALL_EVENTS_EFF),
            ringing: Hazards::new(&call_edges(), ringing_prior, CALL_PRIOR_SPELLS, CALL_EVENTS_EFF),
            talk: Hazards::new(
                &busy_edges(),
                |_| [1.0 / TALK_PRIOR_SECS],
                AGENT_PRIOR_SPELLS,
                AGENT_EVENTS_EFF,
            ),
            wrap_up: Hazards::new(
                &busy_edges(),
                |_| [1.0 / WRAP_UP_PRIOR_SECS],
                AGENT_PRIOR_SPELLS,
                AGENT_EVENTS_EFF,
            ),
            person_delay: Delays::new(1.2, 10.0),
            machine_delay: Delays::new(2.6, 10.0),
            drift: Drift::default(),
            calls_ended: 0,
            at_risk_secs_max,
        }
    }

    /// The factor of today's answer rate. While little is learnt, both rates come from the same answers, so the factor must
    /// not lower the rate a second time.
    pub(super) fn drift(&self, live_per_sec: f64) -> f64 {
        let factor = self.drift.factor(live_per_sec);
        if self.is_young() { factor.max(1.0) } else { factor }
    }

    /// True while the answer rate is so uncertain that each event should change the forecast at once.
    pub(super) fn is_young(&self) -> bool {
        self.doubt() > YOUNG_DOUBT
    }

    /// The current input of the forecast tables.
    pub(super) fn sources(
        &mut self,
        live_per_sec: f64,
        ring_secs_max: f64,
        connect_limit_secs: f64,
    ) -> Sources<'_> {
        self.person_delay.refresh();
        self.machine_delay.refresh();
        Sources {
            dialing: &self.dialing,
            ringing: &self.ringing,
            talk: &self.talk,
            wrap_up: &self.wrap_up,
            person_delay: &self.person_delay,
            drift: self.drift(live_per_sec),
            ring_secs_max,
            connect_limit_secs,
        }
    }

    /// Relative variance of the answer rate. It is large while few live answers were seen.
    pub(super) fn doubt(&self) -> f64 {
        1.0 / (self.answers_seen() + CALL_PRIOR_ANSWERS)
    }

    /// Number of remembered live answers.
    pub(super) fn answers_seen(&self) -> f64 {
        self.ringing.events(ring::LIVE) + self.dialing.events(dial::LIVE)
    }

    pub(super) fn learnt(&self, gains: Vec<LearntGain>) -> Learnt {
        Learnt {
            dialing: self.dialing.learnt(),
            ringing: self.ringing.learnt(),
            talk: self.talk.learnt(),
            wrap_up: self.wrap_up.learnt(),
            person_delay: self.person_delay.learnt(),
            machine_delay: self.machine_delay.learnt(),
            calls_ended: self.calls_ended,
            gains,
        }
    }

    pub(super) fn recall(&mut self, learnt: &Learnt) {
        self.dialing.recall(&learnt.dialing);
        self.ringing.recall(&learnt.ringing);
        self.talk.recall(&learnt.talk);
        self.wrap_up.recall(&learnt.wrap_up);
        self.person_delay.recall(&learnt.person_delay);
        self.machine_delay.recall(&learnt.machine_delay);
        self.calls_ended = learnt.calls_ended;
    }
}

/// Bins of half a second to 10 s, then of one second. Dialing has as many bins as ringing, because on a trunk that reports
/// no ringing callees answer while the call is dialing.
fn call_edges() -> Vec<f64> {
    (1..=20)
        .map(|i| f64::from(i) * 0.5)
        .chain((11..=60).map(f64::from))
        .collect()
}

/// Bins of half a second to 10 s and of one second to 30 s, because wrap-up often has a fixed length. Each further bin ends
/// 20 % later.
fn busy_edges() -> Vec<f64> {
    let mut edges: Vec<f64> = (1..=20)
        .map(|i| f64::from(i) * 0.5)
        .chain((11..=30).map(f64::from))
        .collect();
    let mut edge = 30.0_f64;
    while edge < 1500.0 {
        edge = (edge * 1.2).ceil();
        edges.push(edge);
    }
    edges
}

/// A call begins to ring after two or three seconds on average.
fn dialing_prior(_age: f64) -> [f64; dial::CAUSES] {
    [0.4, 0.0005, 0.0005, 0.03]
}

fn ringing_prior(_age: f64) -> [f64; ring::CAUSES] {
    [0.02, 0.01, 0.01]
}
