//! Numbers that must not be called any more. Their contacts go back to the store, whose gate denies them, and their
//! unanswered calls are cancelled. Answered calls go on. A callee can opt out by a key.

use super::{Engine, Refill};
use crate::attempt::AttemptState;
use crate::command::Command;
use crate::ids::{AttemptId, LegId};
use crate::number::E164;
use crate::pbx::Digit;
use crate::time::Now;
use std::collections::BTreeSet;

impl Engine {
    pub(super) fn stop_calls_to(&mut self, now: Now, numbers: Vec<E164>) {
        let numbers: BTreeSet<E164> = numbers.into_iter().collect();
        self.return_hopper(|lead| numbers.contains(&lead.number));
        let to_them = self
            .attempts
            .values()
            .filter(|open| numbers.contains(&open.lead.number));
        let to_them: Vec<AttemptId> = to_them.map(|open| open.id).collect();
        for attempt in to_them {
            self.stop_call(now, attempt);
        }
        if self.refill == Refill::Asked {
            self.opted_out.extend(numbers);
        }
    }

    /// The abandon rules want a minimum ring time, but an opt-out goes before it.
    fn stop_call(&mut self, now: Now, attempt: AttemptId) {
        if let Some(open) = self.attempts.get_mut(&attempt)
            && matches!(
                open.state,
                AttemptState::Preparing { .. } | AttemptState::Dialing { .. } | AttemptState::Ringing { .. }
            )
        {
            open.opted_out = true;
            self.cancel_unanswered(now, attempt);
        }
    }

    /// The callee pressed a key. Tones before the answer may be early media, so they mean nothing.
    pub(super) fn pressed(&mut self, then: Now, leg: LegId, digit: Digit) {
        let Some(attempt) = self.attempt_of(leg) else {
            return;
        };
        let opts_out = self.config.settings.suppression.opt_out_digit == Some(digit);
        let Some(open) = self.attempts.get_mut(&attempt).filter(|_| opts_out) else {
            return;
        };
        if open.answered.is_some() && !open.opted_out {
            open.opted_out = true;
            self.commands.push_back(Command::OptOut {
                attempt,
                number: open.lead.number.clone(),
                at: then.wall,
            });
        }
    }

    /// The store has answered with contacts: returns those whose number was opted out in the meantime.
    pub(super) fn return_opted_out(&mut self) {
        let opted_out = std::mem::take(&mut self.opted_out);
        if !opted_out.is_empty() {
            self.return_hopper(|lead| opted_out.contains(&lead.number));
        }
    }
}
