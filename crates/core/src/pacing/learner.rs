//! What has been learnt of how calls and agents behave. In: spells and how they ended. Out: the tables of
//! [`super::forecast`], and a [`Learnt`] that outlives the process.

use super::budget::LearntGain;
use super::drift::Drift;
use super::forecast::{Sources, dial, ring};
use super::hazards::{Delays, Hazards, LearntBin};
use serde::{Deserialize, Serialize};

/// Ends of spells remembered: of calls, and of agents.
const CALL_EVENTS_EFF: f64 = 2000.0;
const AGENT_EVENTS_EFF: f64 = 500.0;
/// How many spells the priors are worth.
const CALL_PRIOR_SPELLS: f64 = 20.0;
/// And how many live answers the prior of calls is.
const CALL_PRIOR_ANSWERS: f64 = 2.0;
/// A greater doubt than this is one of fewer than a hundred live answers.
const YOUNG_DOUBT: f64 = 0.01;
const AGENT_PRIOR_SPELLS: f64 = 4.0;
const TALK_PRIOR_SECS: f64 = 100.0;
const WRAP_UP_PRIOR_SECS: f64 = 17.0;

/// What was learnt, for keeping across restarts and days. Made by [`super::Pacer::learnt`].
/// A row of another version lacks fields: the rest still is taken.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Learnt {
    /// Dialing.
    pub dialing: Vec<LearntBin>,
    /// Ringing.
    pub ringing: Vec<LearntBin>,
    /// Talk.
    pub talk: Vec<LearntBin>,
    /// Wrap-up.
    pub wrap_up: Vec<LearntBin>,
    /// Verdicts of a person, by delay.
    pub person_delay: Vec<f64>,
    /// Verdicts of a machine, by delay.
    pub machine_delay: Vec<f64>,
    /// Calls that have ended, as far as it matters whether there were enough.
    pub calls_ended: u32,
    /// Of each rule.
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
    /// No call is in one state for longer, seconds: a clock that jumps, or a process that stood still, is no time at risk.
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

    /// How today's answer rate differs from what was learnt. Where little was learnt yet, today's evidence is all that there
    /// is of both, and may not lower the rate twice.
    pub(super) fn drift(&self, pace: f64) -> f64 {
        let factor = self.drift.factor(pace);
        if self.is_young() { factor.max(1.0) } else { factor }
    }

    /// Whether the answer rate is still in so much doubt that each event matters at once.
    pub(super) fn is_young(&self) -> bool {
        self.doubt() > YOUNG_DOUBT
    }

    /// What tables are made of, as it is known now.
    pub(super) fn sources(&mut self, pace: f64, ring_secs_max: f64, connect_limit_secs: f64) -> Sources<'_> {
        self.person_delay.refresh();
        self.machine_delay.refresh();
        Sources {
            dialing: &self.dialing,
            ringing: &self.ringing,
            talk: &self.talk,
            wrap_up: &self.wrap_up,
            person_delay: &self.person_delay,
            drift: self.drift(pace),
            ring_secs_max,
            connect_limit_secs,
        }
    }

    /// Relative variance of the answer rate, as few or many live answers leave it.
    pub(super) fn doubt(&self) -> f64 {
        1.0 / (self.answers_seen() + CALL_PRIOR_ANSWERS)
    }

    /// Live answers remembered.
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

/// Half seconds to 10 s, then seconds. Dialing as long as ringing: a trunk that shows no ringing has callees answer while
/// dialing.
fn call_edges() -> Vec<f64> {
    (1..=20)
        .map(|i| f64::from(i) * 0.5)
        .chain((11..=60).map(f64::from))
        .collect()
}

/// Half seconds to 10 s, seconds to 30 s, since wrap-up often is of fixed length; then each a fifth longer.
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

/// It begins to ring after two or three seconds.
fn dialing_prior(_age: f64) -> [f64; dial::CAUSES] {
    [0.4, 0.0005, 0.0005, 0.03]
}

fn ringing_prior(_age: f64) -> [f64; ring::CAUSES] {
    [0.02, 0.01, 0.01]
}
