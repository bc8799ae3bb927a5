//! The message to an abandoned callee.

use super::Legs;
use crate::ari::leg::Side;
use crate::ari::outbox::Purpose;
use crate::ari::requests;
use paceline_core::ids::LegId;
use paceline_core::pbx::{Digit, PbxEvent, Sound};
use uuid::Uuid;

impl Legs {
    /// A key of an agent's phone, or of another channel, means nothing.
    pub(super) fn pressed(&mut self, channel: &str, digit: &str) {
        let leg =
            super::uuid(channel).filter(|id| self.legs.get(id).is_some_and(|leg| leg.side == Side::Callee));
        if let (Some(leg), Ok(digit)) = (leg, Digit::new(digit)) {
            let leg = LegId(leg);
            self.out.events.push_back(PbxEvent::Pressed { leg, digit });
        }
    }

    pub(super) fn play(&mut self, leg: LegId, sound: &Sound) {
        // The end of a leg that is gone has been reported.
        if self.legs.contains_key(&leg.0) {
            self.out
                .ask(leg.0, Purpose::Playing(leg), requests::play_message(leg.0, sound));
        }
    }

    /// The message was played, or could not be. If the callee has left, its end has been reported.
    pub(super) fn played(&mut self, id: Uuid, whole: bool) {
        if self.legs.get(&id).is_some_and(|leg| leg.side == Side::Callee) {
            self.out.events.push_back(PbxEvent::Played {
                leg: LegId(id),
                whole,
            });
        }
    }
}
