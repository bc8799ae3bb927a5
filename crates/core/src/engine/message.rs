//! The message for an abandoned callee, if the campaign has one, and the hang-up after it. The callee is abandoned from the
//! start of the message. No later event changes that: the callee gets no agent any more and is counted once.

use super::Engine;
use crate::attempt::{AttemptState, EndReason};
use crate::command::Change;
use crate::ids::{AttemptId, LegId};
use crate::outcome::MessageResult;
use crate::pbx::PbxCommand;
use crate::time::{Now, Wall};
use std::time::Duration;

/// Time limit for the message. If the PBX has not reported its end by then, the engine ends the call.
const MESSAGE_MAX: Duration = Duration::from_secs(60);

/// If a callee hangs up during the message, the PBX may report the broken message before the hang-up. The engine waits this
/// long for the hang-up.
const END_LATE_MAX: Duration = Duration::from_millis(50);

impl Engine {
    /// The connect limit of a waiting callee has passed: plays the message, or hangs up if there is none.
    pub(super) fn abandon(&mut self, now: Now, attempt: AttemptId) {
        let Some(sound) = self.config.settings.answering.abandon_message.clone() else {
            return self.end(now, attempt, EndReason::Limit);
        };
        let Some((leg, pbx)) = self
            .attempts
            .get(&attempt)
            .map(|open| (open.leg.id, open.leg.pbx.clone()))
        else {
            return;
        };
        self.give_up(now, attempt);
        let state = AttemptState::Message {
            asked_at: now.wall,
            until: now.mono + MESSAGE_MAX,
            broken: false,
        };
        self.set_state(attempt, state);
        self.tell(&pbx, PbxCommand::Play { leg, sound });
    }

    /// The PBX has stopped playing the message. `whole`: it played all of it.
    pub(super) fn played(&mut self, now: Now, leg: LegId, whole: bool) {
        let Some(attempt) = self.attempt_of(leg) else {
            return;
        };
        match self.state_of(attempt) {
            Some(AttemptState::Message { .. }) if whole => {
                self.message_over(now, attempt, MessageResult::Whole)
            }
            Some(AttemptState::Message { asked_at, .. }) => {
                let state = AttemptState::Message {
                    asked_at,
                    until: now.mono + END_LATE_MAX,
                    broken: true,
                };
                self.set_state(attempt, state);
            }
            Some(
                AttemptState::Preparing { .. }
                | AttemptState::Dialing { .. }
                | AttemptState::Ringing { .. }
                | AttemptState::Waiting { .. }
                | AttemptState::Connecting { .. }
                | AttemptState::Connected { .. }
                | AttemptState::Transferred { .. }
                | AttemptState::Ending { .. },
            )
            | None => self.counts.stale += 1,
        }
    }

    /// The message is over, or the engine waits no longer for its end. The call is ended.
    pub(super) fn message_over(&mut self, now: Now, attempt: AttemptId, result: MessageResult) {
        if let Some(AttemptState::Message { asked_at, .. }) = self.state_of(attempt) {
            self.note_message(attempt, result, asked_at);
            self.end(now, attempt, EndReason::Limit);
        }
    }

    pub(super) fn note_message(&mut self, attempt: AttemptId, result: MessageResult, at: Wall) {
        if let Some(open) = self.attempts.get(&attempt) {
            self.failures.message_ended(&open.leg.pbx, result);
        }
        self.store(Change::Messaged { attempt, result, at });
    }
}
