//! One callee: its plan, drawn when it is dialed, and its next step.
//!
//! Input: the configuration of the callees, the number, and how often it was dialed before. Output: a [`Plan`]. The SIP
//! codes and Q.850 causes are those that a real Asterisk reports for each refusal.

use crate::config::Callees;
use crate::random::{happens, stream};
use paceline_core::ids::AgentLegId;
use paceline_core::pbx::Progress;
use paceline_core::time::Mono;
use rand::RngExt;
use std::time::Duration;

/// Behaviour of a callee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Behaviour {
    /// A person answers and talks.
    Person,
    /// A machine answers.
    Machine,
    /// A person answers and hangs up at once.
    HangsUpAtOnce,
    /// Busy (SIP 486).
    Busy,
    /// The phone rings and nobody answers. After a minute the network ends the call (SIP 480).
    NoAnswer,
    /// The phone rings, then the callee declines (SIP 603).
    Declined,
    /// The number does not exist (SIP 404).
    Invalid,
    /// The trunk has no free channel (SIP 503).
    Congestion,
    /// There is no reply (SIP 408 after 32 s).
    Silence,
    /// A protocol error (SIP 488).
    Incompatible,
    /// The PBX cannot place the call because it has no such endpoint.
    Unplaceable,
}

/// The plan of a callee, drawn when it is dialed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The callee's behaviour.
    pub behaviour: Behaviour,
    /// Time from the originate to the first sign of life, or to the start of `ring` if there is none.
    pub setup: Duration,
    /// The first sign of life before the answer, if there is one.
    pub progress: Option<Progress>,
    /// Time from then to the answer or the refusal.
    pub ring: Duration,
    /// The event after that.
    pub after_ringing: AfterRinging,
}

/// The event after the ringing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterRinging {
    /// The callee answers.
    Answer {
        /// Talk time of the callee with an agent.
        talk: Duration,
        /// Maximum time that the callee waits alone on the line.
        patience: Duration,
    },
    /// The network or the callee refuses the call.
    Refuse {
        /// The SIP status.
        sip: u16,
        /// The Q.850 cause.
        q850: u16,
    },
    /// The PBX cannot place the call.
    Unplaceable,
}

/// The plan of a number by its last two digits, used if [`Callees::scripted`] is set. `None`: the plan is drawn. The
/// carrier of `paceline-lab`, which real PBXes call, has the same table.
///
/// | digits | what happens | outcome |
/// |---|---|---|
/// | 00 to 39 | rings 0.2 s, a person talks 2.5 s | answered |
/// | 40 to 49 | rings 0.2 s, a person talks until hung up | answered |
/// | 50 to 54 | rings 1 s, a person talks until hung up | answered |
/// | 55 to 59 | no ringing, a person talks until hung up | answered |
/// | 60 to 64 | early media for 1 s, a person talks until hung up | answered |
/// | 65 to 69 | rings 0.2 s, hangs up 0.3 s after the answer | answered |
/// | 70 to 74 | busy (486) | busy |
/// | 75 to 79 | rings and never answers | no_answer |
/// | 80 to 82 | rings 0.3 s, declines (603) | rejected |
/// | 83 to 85 | no such number (404) | invalid |
/// | 86, 87 | unavailable (480) | no_answer |
/// | 88, 89 | no room (503) | congestion |
/// | 90, 91 | server error (500) | congestion |
/// | 92, 93 | no reply at all, given up after 6.4 s | congestion |
/// | 94 to 97, 99 | rings 0.2 s, a machine for 15 s | answered until answers are judged |
/// | 98 | rings 0.2 s, an announcement for 5 s | answered until answers are judged |
pub fn script(last_two_digits: u8) -> Option<Plan> {
    let ms = Duration::from_millis;
    let (ringing, early, none) = (Some(Progress::Ringing), Some(Progress::EarlyMedia), None);
    let stays = |time: Duration| AfterRinging::Answer {
        talk: time,
        patience: time,
    };
    let refuses = |sip: u16, q850: u16| AfterRinging::Refuse { sip, q850 };
    let until_hung_up = stays(Duration::from_secs(600));
    let (behaviour, progress, ring, after_ringing) = match last_two_digits {
        0..=39 => (Behaviour::Person, ringing, ms(200), stays(ms(2500))),
        40..=49 => (Behaviour::Person, ringing, ms(200), until_hung_up),
        50..=54 => (Behaviour::Person, ringing, ms(1000), until_hung_up),
        55..=59 => (Behaviour::Person, none, ms(0), until_hung_up),
        60..=64 => (Behaviour::Person, early, ms(1000), until_hung_up),
        65..=69 => (Behaviour::HangsUpAtOnce, ringing, ms(200), stays(ms(300))),
        70..=74 => (Behaviour::Busy, none, ms(0), refuses(486, 17)),
        75..=79 => (Behaviour::NoAnswer, ringing, ms(300_000), refuses(408, 18)),
        80..=82 => (Behaviour::Declined, ringing, ms(300), refuses(603, 21)),
        83..=85 => (Behaviour::Invalid, none, ms(0), refuses(404, 1)),
        86..=87 => (Behaviour::NoAnswer, none, ms(0), refuses(480, 19)),
        88..=89 => (Behaviour::Congestion, none, ms(0), refuses(503, 34)),
        90..=91 => (Behaviour::Congestion, none, ms(0), refuses(500, 38)),
        92..=93 => (Behaviour::Silence, none, ms(6400), refuses(408, 18)),
        94..=97 | 99 => (Behaviour::Machine, ringing, ms(200), stays(ms(15_000))),
        98 => (Behaviour::Machine, ringing, ms(200), stays(ms(5000))),
        _ => return None,
    };
    Some(Plan {
        behaviour,
        setup: SCRIPTED_SETUP,
        progress,
        ring,
        after_ringing,
    })
}

/// Setup time of SIP on loopback.
const SCRIPTED_SETUP: Duration = Duration::from_millis(20);

fn after_ringing(behaviour: Behaviour, talk: Duration, patience: Duration) -> AfterRinging {
    match behaviour {
        Behaviour::Person | Behaviour::Machine | Behaviour::HangsUpAtOnce => {
            AfterRinging::Answer { talk, patience }
        }
        Behaviour::Busy => AfterRinging::Refuse { sip: 486, q850: 17 },
        Behaviour::NoAnswer => AfterRinging::Refuse { sip: 480, q850: 19 },
        Behaviour::Declined => AfterRinging::Refuse { sip: 603, q850: 21 },
        Behaviour::Invalid => AfterRinging::Refuse { sip: 404, q850: 1 },
        Behaviour::Congestion => AfterRinging::Refuse { sip: 503, q850: 34 },
        Behaviour::Silence => AfterRinging::Refuse { sip: 408, q850: 18 },
        Behaviour::Incompatible => AfterRinging::Refuse { sip: 488, q850: 58 },
        Behaviour::Unplaceable => AfterRinging::Unplaceable,
    }
}

impl Plan {
    /// A dial string without a number.
    const UNPLACEABLE: Self = Self {
        behaviour: Behaviour::Unplaceable,
        setup: Duration::ZERO,
        progress: None,
        ring: Duration::ZERO,
        after_ringing: AfterRinging::Unplaceable,
    };

    /// The plan of the callee at `number` (digits only), dialed over `trunk` (the dial string without the number) for the
    /// `nth` time, counted from 0.
    pub fn draw(callees: &Callees, seed: u64, trunk: &str, number: &str, nth: u64) -> Self {
        if number.is_empty() {
            return Self::UNPLACEABLE;
        }
        let tail = number
            .get(number.len().saturating_sub(2)..)
            .and_then(|t| t.parse().ok());
        if callees.scripted
            && let Some(plan) = tail.and_then(script)
        {
            return plan;
        }
        let setup = callees.setup.draw(&mut stream(seed, trunk, number, nth));
        let mut rng = stream(seed, "callee", number, nth);
        let behaviour = draw_behaviour(&callees.mix, rng.random_range(0..u32::MAX));
        // Everything is drawn for every behaviour, so that a change of the mix does not change the other values.
        let early_media = happens(&mut rng, callees.early_media);
        let person = callees.ring_person.draw(&mut rng);
        let machine = callees.ring_machine.draw(&mut rng);
        let declined = callees.ring_declined.draw(&mut rng);
        let talk = callees.talk.draw(&mut rng);
        let patience = callees.patience.draw(&mut rng);
        let message = callees.machine_message.draw(&mut rng);
        let busy_rings = happens(&mut rng, 0.5);

        let alive = Some(if early_media {
            Progress::EarlyMedia
        } else {
            Progress::Ringing
        });
        let none = Duration::ZERO;
        let (progress, ring, talk, patience) = match behaviour {
            Behaviour::Person => (alive, person, talk, patience),
            Behaviour::Machine => (alive, machine, message, message),
            Behaviour::HangsUpAtOnce => (alive, person, talk.min(AT_ONCE_MAX), patience / 16),
            Behaviour::Busy => (alive.filter(|_| busy_rings), none, none, none),
            Behaviour::NoAnswer => (alive, Duration::from_secs(60), none, none),
            Behaviour::Declined => (alive, declined, none, none),
            Behaviour::Silence => (None, Duration::from_secs(32), none, none),
            Behaviour::Invalid | Behaviour::Congestion | Behaviour::Incompatible | Behaviour::Unplaceable => {
                (None, none, none, none)
            }
        };
        Plan {
            behaviour,
            setup,
            progress,
            ring,
            after_ringing: after_ringing(behaviour, talk, patience),
        }
    }
}

const AT_ONCE_MAX: Duration = Duration::from_millis(400);

fn draw_behaviour(mix: &[(Behaviour, u32)], draw: u32) -> Behaviour {
    let total: u64 = mix.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let mut point = (u64::from(draw) * total) >> 32;
    for (behaviour, weight) in mix {
        match point.checked_sub(u64::from(*weight)) {
            Some(rest) => point = rest,
            None => return *behaviour,
        }
    }
    Behaviour::Person
}

/// A leg to a callee.
#[derive(Clone, Debug)]
pub(crate) struct Callee {
    pub(crate) plan: Plan,
    pub(crate) placed_at: Mono,
    pub(crate) ring_until: Mono,
    pub(crate) ends_by: Mono,
    pub(crate) progressed: bool,
    pub(crate) phase: CalleePhase,
}

/// The state of a leg to a callee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CalleePhase {
    Dialing,
    Ringing,
    Alone {
        since: Mono,
    },
    Hears {
        since: Mono,
        until: Mono,
    },
    With {
        agent_leg: AgentLegId,
        since: Mono,
    },
    /// The callee was transferred out of this agent's bridge, to a colleague who hangs up at `until`.
    Elsewhere {
        agent_leg: AgentLegId,
        since: Mono,
        until: Mono,
    },
}

/// The next step of a callee's leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CalleeStep {
    Progress(Progress),
    Answer,
    Refuse { sip: u16, q850: u16 },
    RingTimeout,
    MessageOver,
    Deserted,
    HangUp,
    DurationMax,
}

impl Callee {
    /// The next step and its time.
    pub(crate) fn next(&self) -> (Mono, CalleeStep) {
        let first = self.placed_at + self.plan.setup;
        let ringing = first + self.plan.ring;
        let (at, step) = match (self.phase, self.plan.after_ringing) {
            (CalleePhase::Dialing, _) if let Some(kind) = self.plan.progress => {
                (first, CalleeStep::Progress(kind))
            }
            (CalleePhase::Dialing | CalleePhase::Ringing, AfterRinging::Answer { .. }) => {
                (ringing, CalleeStep::Answer)
            }
            (CalleePhase::Dialing | CalleePhase::Ringing, AfterRinging::Refuse { sip, q850 }) => {
                (ringing, CalleeStep::Refuse { sip, q850 })
            }
            (CalleePhase::Alone { since }, AfterRinging::Answer { patience, .. }) => {
                (since + patience, CalleeStep::HangUp)
            }
            // Some callees hang up before the message ends.
            (CalleePhase::Hears { since, until }, AfterRinging::Answer { patience, .. }) => {
                if since + patience < until {
                    (since + patience, CalleeStep::HangUp)
                } else {
                    (until, CalleeStep::MessageOver)
                }
            }
            (CalleePhase::With { since, .. }, AfterRinging::Answer { talk, .. }) => {
                (since + talk, CalleeStep::HangUp)
            }
            (CalleePhase::Elsewhere { since, until, .. }, AfterRinging::Answer { talk, .. }) => {
                if since + talk < until {
                    (since + talk, CalleeStep::HangUp)
                } else {
                    (until, CalleeStep::Deserted)
                }
            }
            (
                CalleePhase::Elsewhere { since, .. }
                | CalleePhase::Alone { since }
                | CalleePhase::Hears { since, .. }
                | CalleePhase::With { since, .. },
                _,
            ) => (since, CalleeStep::HangUp),
            (CalleePhase::Dialing | CalleePhase::Ringing, AfterRinging::Unplaceable) => {
                (ringing, CalleeStep::RingTimeout)
            }
        };
        let unanswered = matches!(self.phase, CalleePhase::Dialing | CalleePhase::Ringing);
        if unanswered && self.ring_until <= at {
            (self.ring_until, CalleeStep::RingTimeout)
        } else if self.ends_by <= at {
            (self.ends_by, CalleeStep::DurationMax)
        } else {
            (at, step)
        }
    }

    /// The agent who talks with this callee.
    pub(crate) fn with(&self) -> Option<AgentLegId> {
        match self.phase {
            CalleePhase::With { agent_leg, .. } => Some(agent_leg),
            CalleePhase::Dialing
            | CalleePhase::Ringing
            | CalleePhase::Alone { .. }
            | CalleePhase::Elsewhere { .. }
            | CalleePhase::Hears { .. } => None,
        }
    }

    /// True if the call was answered.
    pub(crate) fn answered(&self) -> bool {
        matches!(
            self.phase,
            CalleePhase::Alone { .. }
                | CalleePhase::Hears { .. }
                | CalleePhase::With { .. }
                | CalleePhase::Elsewhere { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn each_behaviour_is_drawn_as_often_as_its_weight_says() {
        let callees = Callees::default();
        let total: u32 = callees.mix.iter().map(|(_, w)| w).sum();
        let n = 20_000;
        let mut seen = BTreeMap::new();
        for i in 0..n {
            let plan = Plan::draw(&callees, 1, "trunk", &i.to_string(), 0);
            *seen.entry(plan.behaviour).or_insert(0_u32) += 1;
        }
        for (behaviour, weight) in callees.mix {
            let want = f64::from(weight) / f64::from(total);
            let got = f64::from(seen[&behaviour]) / f64::from(n);
            assert!((got - want).abs() < 0.01, "{behaviour:?}: {got} not {want}");
        }
    }

    #[test]
    fn the_last_two_digits_decide_the_behaviour() {
        let callees = Callees {
            scripted: true,
            ..Callees::default()
        };
        let behaviour = |number: &str| Plan::draw(&callees, 7, "", number, 3).behaviour;
        assert_eq!(behaviour("12025550100"), Behaviour::Person);
        assert_eq!(behaviour("12025550170"), Behaviour::Busy);
        assert_eq!(behaviour("12025550199"), Behaviour::Machine);
        assert!((0..100).all(|digits| script(digits).is_some()));
    }
}
