//! The message for an abandoned callee, if the campaign has one, and the hang-up after it. From the start of the message on the
//! callee is abandoned, whatever happens: it gets no agent any more, and it is counted once.

use super::Engine;
use crate::attempt::{AttemptState, Why};
use crate::command::Change;
use crate::ids::{AttemptId, LegId};
use crate::outcome::MessageResult;
use crate::pbx::PbxCommand;
use crate::time::{Now, Wall};
use std::time::Duration;

/// Longer than any message. If the PBX has not reported its end by then, the call is hung up.
const MESSAGE_MAX: Duration = Duration::from_secs(60);

/// When a callee hangs up, the PBX may report the broken message before the hang-up, by this much at most.
const END_LATE_MAX: Duration = Duration::from_millis(50);

impl Engine {
    /// The connect limit of a waiting callee has passed.
    pub(super) fn abandon(&mut self, now: Now, attempt: AttemptId) {
        let Some(sound) = self.config.settings.answering.abandon_message.clone() else {
            return self.end(now, attempt, Why::Limit);
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

    /// The PBX says that it has played something.
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

    /// The message is over, or is not waited for any longer.
    pub(super) fn message_over(&mut self, now: Now, attempt: AttemptId, fate: MessageResult) {
        if let Some(AttemptState::Message { asked_at, .. }) = self.state_of(attempt) {
            self.note_message(attempt, fate, asked_at);
            self.end(now, attempt, Why::Limit);
        }
    }

    pub(super) fn note_message(&mut self, attempt: AttemptId, fate: MessageResult, at: Wall) {
        if let Some(open) = self.attempts.get(&attempt) {
            self.failures.message_ended(&open.leg.pbx, fate);
        }
        self.store(Change::Messaged { attempt, fate, at });
    }
}
