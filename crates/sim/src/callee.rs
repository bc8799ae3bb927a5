//! One called party: what it is going to do, drawn when it is dialed, and what it does next.
//!
//! In: the callees' configuration, the number, how often it was dialed before. Out: a [`Plan`]. Sources of the SIP
//! codes and Q.850 causes: those that a real Asterisk reports for each refusal.

use crate::config::Callees;
use crate::random::{happens, stream};
use paceline_core::ids::AgentLegId;
use paceline_core::pbx::Progress;
use paceline_core::time::Mono;
use rand::RngExt;
use std::time::Duration;

/// What becomes of a call to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// A person answers and talks.
    Person,
    /// A machine answers.
    Machine,
    /// A person answers and hangs up before anybody could speak.
    HangsUpAtOnce,
    /// Busy (SIP 486).
    Busy,
    /// Rings until somebody gives up; the network does after a minute (SIP 480).
    NoAnswer,
    /// Rings, then is declined (SIP 603).
    Declined,
    /// No such number (SIP 404).
    Invalid,
    /// The trunk has no room (SIP 503).
    Congestion,
    /// No reply at all (SIP 408 after 32 s).
    Silence,
    /// A protocol fault (SIP 488).
    Incompatible,
    /// The switch does not even try: no such endpoint.
    Unplaceable,
}

/// What a callee will do, as drawn when it was dialed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The fate that this plan carries out.
    pub fate: Fate,
    /// From the originate to the first sign of life or, where there is none, to the start of `ring`.
    pub setup: Duration,
    /// How life shows before the answer, if it does.
    pub progress: Option<Progress>,
    /// From then to the answer or the refusal.
    pub ring: Duration,
    /// What comes then.
    pub then: Then,
}

/// What comes after the ringing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// An answer.
    Answer {
        /// How long the callee stays once connected to an agent.
        talk: Duration,
        /// How long the callee stays with nobody on the line.
        patience: Duration,
    },
    /// A refusal.
    Refuse {
        /// The SIP status.
        sip: u16,
        /// The Q.850 cause.
        q850: u16,
    },
    /// The switch cannot place the call at all.
    Unplaceable,
}

/// What the last two digits of a number decide where [`Callees::scripted`] is set; `None`: drawn as ever. The same
/// table as that of the lab's carrier, which real switches call.
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
    let stays = |time: Duration| Then::Answer {
        talk: time,
        patience: time,
    };
    let refuses = |sip: u16, q850: u16| Then::Refuse { sip, q850 };
    let until_hung_up = stays(Duration::from_secs(600));
    let (fate, progress, ring, then) = match last_two_digits {
        0..=39 => (Fate::Person, ringing, ms(200), stays(ms(2500))),
        40..=49 => (Fate::Person, ringing, ms(200), until_hung_up),
        50..=54 => (Fate::Person, ringing, ms(1000), until_hung_up),
        55..=59 => (Fate::Person, none, ms(0), until_hung_up),
        60..=64 => (Fate::Person, early, ms(1000), until_hung_up),
        65..=69 => (Fate::HangsUpAtOnce, ringing, ms(200), stays(ms(300))),
        70..=74 => (Fate::Busy, none, ms(0), refuses(486, 17)),
        75..=79 => (Fate::NoAnswer, ringing, ms(300_000), refuses(408, 18)),
        80..=82 => (Fate::Declined, ringing, ms(300), refuses(603, 21)),
        83..=85 => (Fate::Invalid, none, ms(0), refuses(404, 1)),
        86..=87 => (Fate::NoAnswer, none, ms(0), refuses(480, 19)),
        88..=89 => (Fate::Congestion, none, ms(0), refuses(503, 34)),
        90..=91 => (Fate::Congestion, none, ms(0), refuses(500, 38)),
        92..=93 => (Fate::Silence, none, ms(6400), refuses(408, 18)),
        94..=97 | 99 => (Fate::Machine, ringing, ms(200), stays(ms(15_000))),
        98 => (Fate::Machine, ringing, ms(200), stays(ms(5000))),
        _ => return None,
    };
    Some(Plan {
        fate,
        setup: SCRIPTED_SETUP,
        progress,
        ring,
        then,
    })
}

/// What SIP takes on loopback.
const SCRIPTED_SETUP: Duration = Duration::from_millis(20);

fn then(fate: Fate, talk: Duration, patience: Duration) -> Then {
    match fate {
        Fate::Person | Fate::Machine | Fate::HangsUpAtOnce => Then::Answer { talk, patience },
        Fate::Busy => Then::Refuse { sip: 486, q850: 17 },
        Fate::NoAnswer => Then::Refuse { sip: 480, q850: 19 },
        Fate::Declined => Then::Refuse { sip: 603, q850: 21 },
        Fate::Invalid => Then::Refuse { sip: 404, q850: 1 },
        Fate::Congestion => Then::Refuse { sip: 503, q850: 34 },
        Fate::Silence => Then::Refuse { sip: 408, q850: 18 },
        Fate::Incompatible => Then::Refuse { sip: 488, q850: 58 },
        Fate::Unplaceable => Then::Unplaceable,
    }
}

impl Plan {
    /// A dial string that names nobody.
    const UNPLACEABLE: Self = Self {
        fate: Fate::Unplaceable,
        setup: Duration::ZERO,
        progress: None,
        ring: Duration::ZERO,
        then: Then::Unplaceable,
    };

    /// What somebody at `number` (digits only) does when dialed over `trunk` (the dial string without the number)
    /// for the `nth` time, counted from 0.
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
        let fate = draw_fate(&callees.mix, rng.random_range(0..u32::MAX));
        // All are drawn whatever the fate, so that a changed mix leaves the rest alone.
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
        let (progress, ring, talk, patience) = match fate {
            Fate::Person => (alive, person, talk, patience),
            Fate::Machine => (alive, machine, message, message),
            Fate::HangsUpAtOnce => (alive, person, talk.min(AT_ONCE_MAX), patience / 16),
            Fate::Busy => (alive.filter(|_| busy_rings), none, none, none),
            Fate::NoAnswer => (alive, Duration::from_secs(60), none, none),
            Fate::Declined => (alive, declined, none, none),
            Fate::Silence => (None, Duration::from_secs(32), none, none),
            Fate::Invalid | Fate::Congestion | Fate::Incompatible | Fate::Unplaceable => {
                (None, none, none, none)
            }
        };
        Plan {
            fate,
            setup,
            progress,
            ring,
            then: then(fate, talk, patience),
        }
    }
}

const AT_ONCE_MAX: Duration = Duration::from_millis(400);

fn draw_fate(mix: &[(Fate, u32)], draw: u32) -> Fate {
    let total: u64 = mix.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let mut point = (u64::from(draw) * total) >> 32;
    for (fate, weight) in mix {
        match point.checked_sub(u64::from(*weight)) {
            Some(rest) => point = rest,
            None => return *fate,
        }
    }
    Fate::Person
}

/// A live leg to a callee.
#[derive(Clone, Debug)]
pub(crate) struct Callee {
    pub(crate) plan: Plan,
    pub(crate) placed_at: Mono,
    pub(crate) ring_until: Mono,
    pub(crate) ends_by: Mono,
    pub(crate) progressed: bool,
    pub(crate) phase: CalleePhase,
}

/// Where a live leg to a callee is.
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
    /// Was transferred in that agent's bridge, to somebody who leaves at `until`.
    Elsewhere {
        agent_leg: AgentLegId,
        since: Mono,
        until: Mono,
    },
}

/// What a callee's leg does next by itself.
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
    /// What comes next, and when.
    pub(crate) fn next(&self) -> (Mono, CalleeStep) {
        let first = self.placed_at + self.plan.setup;
        let ringing = first + self.plan.ring;
        let (at, step) = match (self.phase, self.plan.then) {
            (CalleePhase::Dialing, _) if let Some(kind) = self.plan.progress => {
                (first, CalleeStep::Progress(kind))
            }
            (CalleePhase::Dialing | CalleePhase::Ringing, Then::Answer { .. }) => {
                (ringing, CalleeStep::Answer)
            }
            (CalleePhase::Dialing | CalleePhase::Ringing, Then::Refuse { sip, q850 }) => {
                (ringing, CalleeStep::Refuse { sip, q850 })
            }
            (CalleePhase::Alone { since }, Then::Answer { patience, .. }) => {
                (since + patience, CalleeStep::HangUp)
            }
            // Some hang up in the middle of it.
            (CalleePhase::Hears { since, until }, Then::Answer { patience, .. }) => {
                if since + patience < until {
                    (since + patience, CalleeStep::HangUp)
                } else {
                    (until, CalleeStep::MessageOver)
                }
            }
            (CalleePhase::With { since, .. }, Then::Answer { talk, .. }) => {
                (since + talk, CalleeStep::HangUp)
            }
            (CalleePhase::Elsewhere { since, until, .. }, Then::Answer { talk, .. }) => {
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
            (CalleePhase::Dialing | CalleePhase::Ringing, Then::Unplaceable) => {
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

    /// The agent it talks with.
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

    /// Whether it was answered.
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
    fn fates_come_as_often_as_their_weights() {
        let callees = Callees::default();
        let total: u32 = callees.mix.iter().map(|(_, w)| w).sum();
        let n = 20_000;
        let mut seen = BTreeMap::new();
        for i in 0..n {
            let plan = Plan::draw(&callees, 1, "trunk", &i.to_string(), 0);
            *seen.entry(plan.fate).or_insert(0_u32) += 1;
        }
        for (fate, weight) in callees.mix {
            let want = f64::from(weight) / f64::from(total);
            let got = f64::from(seen[&fate]) / f64::from(n);
            assert!((got - want).abs() < 0.01, "{fate:?}: {got} not {want}");
        }
    }

    #[test]
    fn the_last_two_digits_pin_what_happens() {
        let callees = Callees {
            scripted: true,
            ..Callees::default()
        };
        let fate = |number: &str| Plan::draw(&callees, 7, "", number, 3).fate;
        assert_eq!(fate("12025550100"), Fate::Person);
        assert_eq!(fate("12025550170"), Fate::Busy);
        assert_eq!(fate("12025550199"), Fate::Machine);
        assert!((0..100).all(|digits| script(digits).is_some()));
    }
}
