//! Events into the book and the learner. Every event is taken as evidence of what it says and of nothing else: one that
//! repeats what is known, or comes from before it, changes nothing.

use super::book::{AgentKey, AgentSpell, AgentStep, Answer, Book, CallKey, CallSpell, Flight, Landed};
use super::forecast::{dial, ring};
use super::learner::Learner;
use super::rules::{LiveFate, Waits};
use crate::outcome::Outcome;
use std::time::Duration;

/// What happened to a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CallStep {
    /// It was sent out.
    Dialing {
        /// Probability that a person answers, from outside knowledge of this contact; none: as for any call.
        answer_probability: Option<f64>,
    },
    /// It rings.
    Ringing,
    /// It was answered; whether by a person is being judged.
    Answered,
    /// A person, who needs an agent now.
    Person,
    /// A machine, or nobody.
    Machine,
    /// An agent took it, after these waits.
    Connected(Waits),
    /// A person found no agent within the limit, or was dropped by a wrong verdict.
    Abandoned,
    /// It is over; if a person was still waiting for an agent, after these waits.
    Ended {
        /// What the line did, where it is known.
        outcome: Option<Outcome>,
        /// How long a person had waited.
        waits: Waits,
    },
}

/// Consecutive failures of trunks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TrunkTrouble {
    pub(super) failures: u32,
}

/// What an event means for the budget and the pace.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Noted {
    /// Live answers that the time at risk let expect.
    pub(super) expected: f64,
    /// A person was found.
    pub(super) person: bool,
    /// An answer by a person has ended so.
    pub(super) fate: Option<LiveFate>,
}

/// Counts the time at risk of every running spell up to `at`.
pub(super) fn accrue(book: &mut Book, learner: &mut Learner, at: f64, pace: f64) {
    let mut expected = 0.0;
    for spell in book.calls.values_mut() {
        expected += accrue_call(spell, learner, at);
    }
    for spell in book.agents.values_mut() {
        accrue_agent(spell, learner, at);
    }
    learner.drift.expect(expected, pace);
}

/// Returns the live answers to expect of this time at risk.
fn accrue_call(spell: &mut CallSpell, learner: &mut Learner, at: f64) -> f64 {
    let from = spell.counted - spell.since;
    let until = (at - spell.since).min(learner.at_risk_secs_max);
    if until <= from {
        return 0.0;
    }
    spell.counted = at;
    let expected = match spell.state {
        Flight::Dialing => learner.dialing.accrue(from, until, dial::LIVE),
        Flight::Ringing => learner.ringing.accrue(from, until, ring::LIVE),
        Flight::Listening(_) | Flight::Waiting => 0.0,
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

/// Takes an agent's step.
pub(super) fn agent(book: &mut Book, learner: &mut Learner, at: f64, key: AgentKey, step: AgentStep) {
    let Some(spell) = book.agents.get_mut(&key) else {
        if step != AgentStep::Offline {
            let spell = AgentSpell {
                step,
                since: at,
                counted: at,
                leaves_at: None,
            };
            book.put_agent(key, spell);
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
        // Cut short, or no spell that is learnt from.
        (AgentStep::OnCall | AgentStep::WrapUp, AgentStep::Offline)
        | (AgentStep::WrapUp, AgentStep::Paused)
        | (AgentStep::Available | AgentStep::Paused | AgentStep::Offline, _)
        | (AgentStep::OnCall, AgentStep::OnCall)
        | (AgentStep::WrapUp, AgentStep::WrapUp) => {}
    }
    (spell.step, spell.since, spell.counted) = (step, at, at);
    if step == AgentStep::Offline {
        book.agents.remove(&key);
    }
}

/// Takes a call's step.
pub(super) fn call(
    book: &mut Book,
    learner: &mut Learner,
    trunks: &mut TrunkTrouble,
    at: f64,
    key: CallKey,
    step: CallStep,
) -> Noted {
    let landed = book.landed(key);
    let flight = book.calls.get(&key).copied();
    match landed {
        // Detection may think better of it.
        Some(Landed::Machine) if step == CallStep::Person => book.take_off(key),
        Some(Landed::Machine) if step == CallStep::Abandoned => {
            book.land(key, Landed::Over);
            return Noted {
                fate: Some(LiveFate::Abandoned),
                ..Noted::default()
            };
        }
        // Not lost, but late: it counts as it is told.
        Some(Landed::Overdue(since)) => {
            let (fate, how) = match step {
                CallStep::Connected(waits) => {
                    (LiveFate::Connected(waited(waits, at - since)), Landed::Connected)
                }
                CallStep::Abandoned => (LiveFate::Abandoned, Landed::Over),
                // Whether an agent was there before is not known.
                CallStep::Dialing { .. }
                | CallStep::Ringing
                | CallStep::Answered
                | CallStep::Person
                | CallStep::Machine
                | CallStep::Ended { .. } => return Noted::default(),
            };
            book.land(key, how);
            return Noted {
                fate: Some(fate),
                ..Noted::default()
            };
        }
        Some(_) => return Noted::default(),
        None => {}
    }
    let mut spell = flight.unwrap_or(CallSpell {
        state: Flight::Dialing,
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
    // A call that gets past dialing shows that trunks work; one that rang already shows that they did.
    let got_through = match step {
        CallStep::Dialing { .. } | CallStep::Ended { .. } => false,
        CallStep::Ringing
        | CallStep::Answered
        | CallStep::Person
        | CallStep::Machine
        | CallStep::Connected(_)
        | CallStep::Abandoned => spell.state == Flight::Dialing,
    };
    if known && got_through {
        trunks.failures = 0;
    }
    let mut noted = Noted {
        expected,
        ..Noted::default()
    };
    match step {
        CallStep::Dialing { answer_probability } => {
            if !known {
                book.asked.pop_front();
                let odds = answer_probability.map_or(1.0, |p| p);
                book.put(key, CallSpell { odds, ..spell });
            }
        }
        CallStep::Ringing => match spell.state {
            Flight::Dialing => {
                if known {
                    learner.dialing.event(age, dial::RING);
                }
                book.put(key, enter(Flight::Ringing));
            }
            Flight::Ringing | Flight::Listening(_) | Flight::Waiting => {}
        },
        CallStep::Answered => match spell.state {
            Flight::Dialing | Flight::Ringing => {
                let rang = spell.state == Flight::Ringing;
                book.put(key, enter(Flight::Listening(Answer { rang, age })));
            }
            Flight::Listening(_) | Flight::Waiting => {}
        },
        CallStep::Person => {
            if spell.state != Flight::Waiting {
                learn_verdict(learner, &spell, age, known, true);
                noted.person = true;
                book.put(key, enter(Flight::Waiting));
            }
        }
        CallStep::Machine => {
            if spell.state != Flight::Waiting {
                learn_verdict(learner, &spell, age, known, false);
            }
            book.land(key, Landed::Machine);
        }
        CallStep::Connected(_) | CallStep::Abandoned => {
            // The verdict itself may have been lost.
            if spell.state != Flight::Waiting {
                noted.person = true;
                if known {
                    learn_verdict(learner, &spell, age, known, true);
                }
            }
            noted.fate = match step {
                CallStep::Connected(waits) if spell.state == Flight::Waiting => {
                    Some(LiveFate::Connected(waited(waits, age)))
                }
                CallStep::Connected(waits) => Some(LiveFate::Connected(waits)),
                _ => Some(LiveFate::Abandoned),
            };
            let how = match step {
                CallStep::Connected(_) => Landed::Connected,
                _ => Landed::Over,
            };
            book.land(key, how);
        }
        CallStep::Ended { outcome, waits } => {
            if !known {
                return noted;
            }
            let trunk_failed = matches!(outcome, Some(Outcome::Congestion | Outcome::Failed));
            // What we, or a trunk, cut short says nothing of who would have answered.
            let cut_short = trunk_failed || matches!(outcome, Some(Outcome::Cancelled | Outcome::Unknown));
            match spell.state {
                Flight::Dialing if trunk_failed => trunks.failures = trunks.failures.saturating_add(1),
                Flight::Dialing | Flight::Ringing if cut_short => {}
                Flight::Dialing => {
                    trunks.failures = 0;
                    learner.dialing.event(age, dial::END);
                }
                Flight::Ringing => learner.ringing.event(age, ring::END),
                Flight::Listening(answer) if answer.rang => learner.ringing.event(answer.age, ring::END),
                Flight::Listening(answer) => learner.dialing.event(answer.age, dial::END),
                Flight::Waiting => noted.fate = Some(LiveFate::HungUp(waited(waits, age))),
            }
            learner.calls_ended = learner.calls_ended.saturating_add(u32::from(!cut_short));
            book.land(key, Landed::Over);
        }
    }
    if let Some(unchanged) = book.calls.get_mut(&key) {
        unchanged.counted = unchanged.counted.max(spell.counted);
    }
    if noted.person || step == CallStep::Machine {
        learner.calls_ended = learner.calls_ended.saturating_add(1);
    }
    noted
}

/// These waits, and from the answer at least as long as was seen.
fn waited(waits: Waits, secs: f64) -> Waits {
    let seen = Duration::try_from_secs_f64(secs).unwrap_or_default();
    Waits {
        connected: waits.connected.max(seen),
        ..waits
    }
}

/// A verdict is credited to the age at which the call was answered.
fn learn_verdict(learner: &mut Learner, spell: &CallSpell, age: f64, known: bool, person: bool) {
    if !known {
        return;
    }
    let (answer, delay) = match spell.state {
        Flight::Dialing => (Answer { rang: false, age }, 0.0),
        Flight::Ringing => (Answer { rang: true, age }, 0.0),
        Flight::Listening(answer) => (answer, age),
        Flight::Waiting => return,
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
