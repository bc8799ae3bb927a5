//! One agent's phone: whether and when it answers, and when the held leg drops.

use crate::config::Phones;
use crate::random::{ChaCha8Rng, happens, stream};
use paceline_core::ids::LegId;
use paceline_core::pbx::LegTrouble;
use paceline_core::time::Mono;
use rand::RngExt;
use std::time::Duration;

/// A leg to an agent's phone.
#[derive(Clone, Debug)]
pub(crate) struct Phone {
    pub(crate) dial: String,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) answer: Answer,
    pub(crate) placed_at: Mono,
    pub(crate) ring_until: Mono,
    pub(crate) ends_by: Mono,
    pub(crate) phase: PhonePhase,
    /// The reason that the agent cannot hear a callee although the leg is held.
    pub(crate) trouble: Option<LegTrouble>,
    /// Time of the phone's next action while it is held.
    pub(crate) acts_at: Option<Mono>,
    /// True if it has acted at least once.
    pub(crate) acted: bool,
}

/// Behaviour of a phone that is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It answers.
    PicksUp {
        /// Time from the start of ringing.
        after: Duration,
        /// Length of the held leg. `None`: until it is hung up.
        drops_after: Option<Duration>,
    },
    /// It rings, then declines (603, cause 21) or is busy (486, cause 17).
    Refuses {
        /// Time from the start of ringing.
        after: Duration,
        /// The SIP status.
        sip: u16,
        /// The Q.850 cause.
        q850: u16,
    },
    /// It rings and is not answered.
    Ignores,
    /// The PBX does not know this phone.
    Unregistered,
}

/// The state of a leg to an agent's phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PhonePhase {
    Dialing,
    Ringing,
    Held {
        since: Mono,
        call: Option<Conversation>,
    },
    /// The leg is out of its bridge until it hangs up. `moved`: an operator moved it out of Paceline's application.
    Out {
        moved: bool,
        until: Mono,
    },
}

/// The callee in an agent's bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conversation {
    pub(crate) leg: LegId,
    pub(crate) hangs_up_at: Option<Mono>,
}

/// The next step of an agent's leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PhoneStep {
    Ring,
    PickUp,
    Refuse { sip: u16, q850: u16 },
    RingTimeout,
    Act,
    HangUp,
    DurationMax,
}

/// An action of a held phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Transfers(LegId),
    IsMoved,
    Troubles(LegTrouble),
    Listens,
}

/// Time from the originate until the phone rings.
const SETUP: Duration = Duration::from_millis(80);

/// Draws how a phone behaves at its `nth` call, and returns the stream for its later draws.
pub(crate) fn draw(phones: &Phones, seed: u64, dial: &str, nth: u64) -> (Answer, ChaCha8Rng) {
    let mut rng = stream(seed, "phone", dial, nth);
    let after = phones.pick_up.draw(&mut rng);
    let ignored = happens(&mut rng, phones.ignored);
    let declined = happens(&mut rng, phones.declined);
    let unregistered = happens(&mut rng, phones.unregistered);
    let drops_after = phones.drops_after.map(|spread| spread.draw(&mut rng));
    let answer = if unregistered {
        Answer::Unregistered
    } else if declined {
        Answer::Refuses {
            after,
            sip: 603,
            q850: 21,
        }
    } else if ignored {
        Answer::Ignores
    } else {
        Answer::PicksUp { after, drops_after }
    };
    (answer, rng)
}

impl Phone {
    /// The next step and its time.
    pub(crate) fn next(&self) -> (Mono, PhoneStep) {
        let rings_at = self.placed_at + SETUP;
        let (at, step) = match (self.phase, self.answer) {
            (PhonePhase::Dialing, _) => (rings_at, PhoneStep::Ring),
            (PhonePhase::Ringing, Answer::PicksUp { after, .. }) => (rings_at + after, PhoneStep::PickUp),
            (PhonePhase::Ringing, Answer::Refuses { after, sip, q850 }) => {
                (rings_at + after, PhoneStep::Refuse { sip, q850 })
            }
            (PhonePhase::Ringing, Answer::Ignores | Answer::Unregistered) => {
                (self.ring_until, PhoneStep::RingTimeout)
            }
            (PhonePhase::Held { since, call }, answer) => {
                let drops = match answer {
                    Answer::PicksUp {
                        drops_after: Some(after),
                        ..
                    } => since + after,
                    _ => self.ends_by,
                };
                let hangs_up = call.and_then(|c| c.hangs_up_at).unwrap_or(self.ends_by);
                let ends = drops.min(hangs_up);
                match self.acts_at.filter(|acts| *acts < ends) {
                    Some(acts) => (acts, PhoneStep::Act),
                    None => (ends, PhoneStep::HangUp),
                }
            }
            (PhonePhase::Out { until, .. }, _) => (until, PhoneStep::HangUp),
        };
        let unanswered = matches!(self.phase, PhonePhase::Dialing | PhonePhase::Ringing);
        if unanswered && self.ring_until <= at {
            (self.ring_until, PhoneStep::RingTimeout)
        } else if self.ends_by <= at {
            (self.ends_by, PhoneStep::DurationMax)
        } else {
            (at, step)
        }
    }

    /// Draws the time of the phone's next action.
    pub(crate) fn draw_act(&mut self, phones: &Phones, now: Mono) {
        self.acts_at = phones.acts_every.map(|every| now + every.draw(&mut self.rng));
    }

    /// Draws how long a person stays on the line.
    pub(crate) fn draw_linger(&mut self) -> Duration {
        Duration::from_millis(self.rng.random_range(10..8_000))
    }

    /// Draws the phone's action.
    pub(crate) fn choose_act(&mut self) -> Act {
        match (self.trouble, self.with(), self.rng.random_range(0..6)) {
            (Some(LegTrouble::OnHold), _, _) => Act::Listens,
            (_, Some(callee), 0..=2) => Act::Transfers(callee),
            (_, _, 3) => Act::IsMoved,
            (None, _, 4) => Act::Troubles(LegTrouble::NoAudio),
            (Some(_), _, 4) => Act::Listens,
            (_, _, _) => Act::Troubles(LegTrouble::OnHold),
        }
    }

    /// Draws whether and when this agent ends a conversation of this length by hanging up the held leg.
    fn draw_hang_up(&mut self, phones: &Phones, now: Mono, talk: Duration) -> Option<Mono> {
        let hangs_up = happens(&mut self.rng, phones.hangs_up_on_callee);
        let after = talk.mul_f64(self.rng.random::<f64>());
        hangs_up.then(|| now + after)
    }

    /// Starts a conversation with a callee who wants to talk for this long.
    pub(crate) fn talk_with(&mut self, leg: LegId, phones: &Phones, now: Mono, talk: Duration) {
        let hangs_up_at = self.draw_hang_up(phones, now, talk);
        if let PhonePhase::Held { call, .. } = &mut self.phase {
            *call = Some(Conversation { leg, hangs_up_at });
        }
    }

    /// Ends the conversation, if it is with this callee.
    pub(crate) fn part_from(&mut self, leg: LegId) {
        if let PhonePhase::Held { call, .. } = &mut self.phase {
            call.take_if(|c| c.leg == leg);
        }
    }

    /// The callee who talks with this agent.
    pub(crate) fn with(&self) -> Option<LegId> {
        match self.phase {
            PhonePhase::Held { call, .. } => call.map(|c| c.leg),
            PhonePhase::Dialing | PhonePhase::Ringing | PhonePhase::Out { .. } => None,
        }
    }

    /// True if the leg is held in its bridge.
    pub(crate) fn held(&self) -> bool {
        matches!(self.phase, PhonePhase::Held { .. })
    }
}
