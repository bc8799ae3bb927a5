//! The message to an abandoned callee: the driver looks for its file, then plays it.
//!
//! Measured on 1.11: FreeSWITCH raises no event for a missing file, so the driver looks for the file first. `PLAYBACK_STOP` comes at
//! the file's end, or at a hang-up; then the event of the callee's end follows within milliseconds.

use super::Legs;
use crate::esl::command;
use crate::esl::leg::{Message, Side};
use crate::esl::outbox::OnReply;
use paceline_core::ids::LegId;
use paceline_core::pbx::{Digit, PbxEvent, Sound};
use uuid::Uuid;

impl Legs {
    /// A key of an agent's phone means nothing.
    pub(super) fn pressed(&mut self, id: Uuid, digit: Digit) {
        if self.legs.get(&id).is_some_and(|leg| leg.side == Side::Callee) {
            let leg = LegId(id);
            self.out.events.push_back(PbxEvent::Pressed { leg, digit });
        }
    }

    pub(super) fn play(&mut self, leg: LegId, sound: &Sound) {
        let path = command::sound_file(&self.recordings.folders.sounds, sound);
        let Some(callee) = self.legs.get_mut(&leg.0).filter(|leg| leg.side == Side::Callee) else {
            // Its end has been reported.
            return;
        };
        match path {
            Some(path) => {
                self.out
                    .ask(OnReply::SoundFound(leg), command::file_exists(&path));
                callee.message = Message::Looking { path };
            }
            None => self.out.events.push_back(PbxEvent::Played { leg, whole: false }),
        }
    }

    pub(super) fn sound_found(&mut self, leg: LegId, found: bool) {
        let Some(callee) = self.legs.get_mut(&leg.0) else {
            return;
        };
        if let Message::Looking { path } = &mut callee.message {
            let path = std::mem::take(path);
            callee.message = Message::Soon { path };
            if found {
                self.play_if_parked(leg.0);
            } else {
                self.message_over(leg.0, false);
            }
        }
    }

    pub(super) fn play_if_parked(&mut self, id: Uuid) {
        if let Some(callee) = self.legs.get_mut(&id).filter(|leg| leg.is_parked())
            && let Message::Soon { path } = &callee.message
        {
            self.out.ask(OnReply::Playing(LegId(id)), command::play(id, path));
            callee.message = Message::Playing;
        }
    }

    /// A file was played to this leg, or could not be. Returns true if it was the message.
    pub(super) fn message_over(&mut self, id: Uuid, whole: bool) -> bool {
        let message = self
            .legs
            .get_mut(&id)
            .is_some_and(|leg| std::mem::take(&mut leg.message) != Message::No);
        if message {
            self.out.events.push_back(PbxEvent::Played {
                leg: LegId(id),
                whole,
            });
        }
        message
    }
}
