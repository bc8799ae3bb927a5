//! Applies events to the tracked calls and agents, and to the learner. An event that is duplicate or late changes nothing.

use super::forecast::{dial, ring};
use super::learner::Learner;
use super::rules::{AnswerResult, Waits};
use super::tracked::{
    AgentKey, AgentSpell, AgentStep, Answer, CallKey, CallPhase, CallSpell, EndedAs, Tracked,
};
use crate::outcome::Outcome;
use std::time::Duration;

/// A step of a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CallStep {
    /// The originate was sent.
    Dialing {
        /// Probability of a live answer for this contact, 0 to 1. `None`: the average.
        answer_probability: Option<f64>,
    },
    /// The callee's phone rings.
    Ringing,
    /// The call was answered. It is not known yet if a person answered.
    Answered,
    /// A person answered and needs an agent now.
    Person,
    /// A machine answered, or nobody spoke.
    Machine,
    /// An agent was connected after these waits.
    Connected(Waits),
    /// The person was hung up because no agent was free in time, or because a wrong verdict said "machine".
    Abandoned,
    /// The call is over.
    Ended {
        /// The outcome, if it is known.
        outcome: Option<Outcome>,
        /// The waits of a person who was waiting for an agent. Ignored for any other call.
        waits: Waits,
    },
}

/// Counts trunk failures in a row.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TrunkTrouble {
    pub(super) failures: u32,
}

/// The effect of an event on the budget and on the average of live answers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Observation {
    /// Number of live answers that the learnt rates predict for the newly counted time at risk.
    pub(super) expected: f64,
    /// True if a person answered.
    pub(super) person: bool,
    /// The result of a live answer that ended with this event.
    pub(super) result: Option<AnswerResult>,
}

/// Counts the time at risk of all running spells up to `at`.
pub(super) fn accrue(tracked: &mut Tracked, learner: &mut Learner, at: f64, live_per_sec: f64) {
    let mut expected = 0.0;
    for spell in tracked.calls.values_mut() {
        expected += accrue_call(spell, learner, at);
    }
    for spell in tracked.agents.values_mut() {
        accrue_agent(spell, learner, at);
    }
    learner.drift.expect(expected, live_per_sec);
}

/// Counts the time at risk of a call. Returns the expected number of live answers in it.
fn accrue_call(spell: &mut CallSpell, learner: &mut Learner, at: f64) -> f64 {
    let from = spell.counted - spell.since;
    let until = (at - spell.since).min(learner.at_risk_secs_max);
    if until <= from {
        return 0.0;
    }
    spell.counted = at;
    let expected = match spell.state {
        CallPhase::Dialing => learner.dialing.accrue(from, until, dial::LIVE),
        CallPhase::Ringing => learner.ringing.accrue(from, until, ring::LIVE),
        CallPhase::Listening(_) | CallPhase::Waiting => 0.0,
    };
    expected * spell.odds
}

fn accrue_agent(spell: &mut AgentSpell, learner: &mut Learner, at: f64) {
    let (from, until) = (spell.counted - spell.since, at - spell.since);
    if until <= from {
        return;
    }
    spell.counted = at;
    match spell.step {
        AgentStep::OnCall => learner.talk.accrue(from, until, 0),
        AgentStep::WrapUp => learner.wrap_up.accrue(from, until, 0),
        AgentStep::Available | AgentStep::Paused | AgentStep::Offline => 0.0,
    };
}

/// Applies a new state of an agent.
pub(super) fn agent(tracked: &mut Tracked, learner: &mut Learner, at: f64, key: AgentKey, step: AgentStep) {
    let Some(spell) = tracked.agents.get_mut(&key) else {
        if step != AgentStep::Offline {
            let spell = AgentSpell {
                step,
                since: at,
                counted: at,
                leaves_at: None,
            };
            tracked.put_agent(key, spell);
        }
        return;
    };
    if spell.step == step {
        return;
    }
    accrue_agent(spell, learner, at);
    let age = at - spell.since;
    match (spell.step, step) {
        (AgentStep::OnCall, AgentStep::WrapUp | AgentStep::Paused) => learner.talk.event(age, 0),
        (AgentStep::OnCall, AgentStep::Available) => {
            learner.talk.event(age, 0);
            learner.wrap_up.event(0.0, 0);
        }
        (AgentStep::WrapUp, AgentStep::Available | AgentStep::OnCall) => learner.wrap_up.event(age, 0),
        // The spell was cut short, or nothing is learnt from this state.
        (AgentStep::OnCall | AgentStep::WrapUp, AgentStep::Offline)
        | (AgentStep::WrapUp, AgentStep::Paused)
        | (AgentStep::Available | AgentStep::Paused | AgentStep::Offline, _)
        | (AgentStep::OnCall, AgentStep::OnCall)
        | (AgentStep::WrapUp, AgentStep::WrapUp) => {}
    }
    (spell.step, spell.since, spell.counted) = (step, at, at);
    if step == AgentStep::Offline {
        tracked.agents.remove(&key);
    }
}

/// Applies a step of a call.
pub(super) fn call(
    tracked: &mut Tracked,
    learner: &mut Learner,
    trunks: &mut TrunkTrouble,
    at: f64,
    key: CallKey,
    step: CallStep,
) -> Observation {
    let ended_as = tracked.ended_as(key);
    let flight = tracked.calls.get(&key).copied();
    match ended_as {
        // Detection may correct itself: first "machine", then "person".
        Some(EndedAs::Machine) if step == CallStep::Person => tracked.reopen(key),
        Some(EndedAs::Machine) if step == CallStep::Abandoned => {
            tracked.end(key, EndedAs::Over);
            return Observation {
                result: Some(AnswerResult::Abandoned),
                ..Observation::default()
            };
        }
        // The event was late, not lost: it counts as it arrives.
        Some(EndedAs::Overdue(since)) => {
            let (result, how) = match step {
                CallStep::Connected(waits) => (
                    AnswerResult::Connected(waited(waits, at - since)),
                    EndedAs::Connected,
                ),
                CallStep::Abandoned => (AnswerResult::Abandoned, EndedAs::Over),
                // These events do not show if an agent was connected before.
                CallStep::Dialing { .. }
                | CallStep::Ringing
                | CallStep::Answered
                | CallStep::Person
                | CallStep::Machine
                | CallStep::Ended { .. } => return Observation::default(),
            };
            tracked.end(key, how);
            return Observation {
                result: Some(result),
                ..Observation::default()
            };
        }
        Some(_) => return Observation::default(),
        None => {}
    }
    let mut spell = flight.unwrap_or(CallSpell {
        state: CallPhase::Dialing,
        since: at,
        counted: at,
        odds: 1.0,
    });
    let expected = accrue_call(&mut spell, learner, at);
    let age = at - spell.since;
    let known = flight.is_some();
    let enter = |state| CallSpell {
        state,
        since: at,
        counted: at,
        ..spell
    };
    // A call that gets past dialing shows that trunks work now. A call that was ringing before shows nothing new.
    let got_through = match step {
        CallStep::Dialing { .. } | CallStep::Ended { .. } => false,
        CallStep::Ringing
        | CallStep::Answered
        | CallStep::Person
        | CallStep::Machine
        | CallStep::Connected(_)
        | CallStep::Abandoned => spell.state == CallPhase::Dialing,
    };
    if known && got_through {
        trunks.failures = 0;
    }
    let mut observation = Observation {
        expected,
        ..Observation::default()
    };
    match step {
        CallStep::Dialing { answer_probability } => {
            if !known {
                tracked.asked.pop_front();
                let odds = answer_probability.map_or(1.0, |p| p);
                tracked.put(key, CallSpell { odds, ..spell });
            }
        }
        CallStep::Ringing => match spell.state {
            CallPhase::Dialing => {
                if known {
                    learner.dialing.event(age, dial::RING);
                }
                tracked.put(key, enter(CallPhase::Ringing));
            }
            CallPhase::Ringing | CallPhase::Listening(_) | CallPhase::Waiting => {}
        },
        CallStep::Answered => match spell.state {
            CallPhase::Dialing | CallPhase::Ringing => {
                let rang = spell.state == CallPhase::Ringing;
                tracked.put(key, enter(CallPhase::Listening(Answer { rang, age })));
            }
            CallPhase::Listening(_) | CallPhase::Waiting => {}
        },
        CallStep::Person => {
            if spell.state != CallPhase::Waiting {
                learn_verdict(learner, &spell, age, known, true);
                observation.person = true;
                tracked.put(key, enter(CallPhase::Waiting));
            }
        }
        CallStep::Machine => {
            if spell.state != CallPhase::Waiting {
                learn_verdict(learner, &spell, age, known, false);
            }
            tracked.end(key, EndedAs::Machine);
        }
        CallStep::Connected(_) | CallStep::Abandoned => {
            // The event with the verdict may have been lost.
            if spell.state != CallPhase::Waiting {
                observation.person = true;
                if known {
                    learn_verdict(learner, &spell, age, known, true);
                }
            }
            observation.result = match step {
                CallStep::Connected(waits) if spell.state == CallPhase::Waiting => {
                    Some(AnswerResult::Connected(waited(waits, age)))
                }
                CallStep::Connected(waits) => Some(AnswerResult::Connected(waits)),
                _ => Some(AnswerResult::Abandoned),
            };
            let how = match step {
                CallStep::Connected(_) => EndedAs::Connected,
                _ => EndedAs::Over,
            };
            tracked.end(key, how);
        }
        CallStep::Ended { outcome, waits } => {
            if !known {
                return observation;
            }
            let trunk_failed = matches!(outcome, Some(Outcome::Congestion | Outcome::Failed));
            // A call that Paceline or a trunk cut short says nothing about whether the callee would have answered.
            let cut_short = trunk_failed || matches!(outcome, Some(Outcome::Cancelled | Outcome::Unknown));
            match spell.state {
                CallPhase::Dialing if trunk_failed => trunks.failures = trunks.failures.saturating_add(1),
                CallPhase::Dialing | CallPhase::Ringing if cut_short => {}
                CallPhase::Dialing => {
                    trunks.failures = 0;
                    learner.dialing.event(age, dial::END);
                }
                CallPhase::Ringing => learner.ringing.event(age, ring::END),
                CallPhase::Listening(answer) if answer.rang => learner.ringing.event(answer.age, ring::END),
                CallPhase::Listening(answer) => learner.dialing.event(answer.age, dial::END),
                CallPhase::Waiting => observation.result = Some(AnswerResult::HungUp(waited(waits, age))),
            }
            learner.calls_ended = learner.calls_ended.saturating_add(u32::from(!cut_short));
            tracked.end(key, EndedAs::Over);
        }
    }
    if let Some(unchanged) = tracked.calls.get_mut(&key) {
        unchanged.counted = unchanged.counted.max(spell.counted);
    }
    if observation.person || step == CallStep::Machine {
        learner.calls_ended = learner.calls_ended.saturating_add(1);
    }
    observation
}

/// The waits as reported, but since the answer at least as long as this controller saw.
fn waited(waits: Waits, secs: f64) -> Waits {
    let seen = Duration::try_from_secs_f64(secs).unwrap_or_default();
    Waits {
        connected: waits.connected.max(seen),
        ..waits
    }
}

/// Records a verdict at the age at which the call was answered.
fn learn_verdict(learner: &mut Learner, spell: &CallSpell, age: f64, known: bool, person: bool) {
    if !known {
        return;
    }
    let (answer, delay) = match spell.state {
        CallPhase::Dialing => (Answer { rang: false, age }, 0.0),
        CallPhase::Ringing => (Answer { rang: true, age }, 0.0),
        CallPhase::Listening(answer) => (answer, age),
        CallPhase::Waiting => return,
    };
    match (answer.rang, person) {
        (true, true) => learner.ringing.event(answer.age, ring::LIVE),
        (true, false) => learner.ringing.event(answer.age, ring::MACHINE),
        (false, true) => learner.dialing.event(answer.age, dial::LIVE),
        (false, false) => learner.dialing.event(answer.age, dial::MACHINE),
    }
    if person {
        learner.person_delay.event(delay);
    } else {
        learner.machine_delay.event(delay);
    }
}
