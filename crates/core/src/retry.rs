//! Whether a contact is tried again, and when. One rule until redial rules come: outcomes that another try may change
//! wait [`RETRY_DELAY`], up to the task's `max_retries`. What never reached the network spends no try. What nobody saw the end
//! of spends none either, and is called again only if somebody asks for it ([`crate::requeue`]).

use crate::input::Lead;
use crate::outcome::Outcome;
use crate::pbx::EndedBy;
use std::time::Duration;

/// Between two attempts at one contact.
pub const RETRY_DELAY: Duration = Duration::from_secs(30 * 60);
/// What is added to it after an attempt that we took back, for each attempt before: what recurs by the clock, such as an
/// agent's leg that reaches its time limit, shall not meet the contact again and again.
const TAKEN_BACK_STEP: Duration = Duration::from_secs(7);
/// After an attempt that was not placed, by the switch's refusal or because nobody needed it any more: nobody's phone rang.
pub const REFUSED_DELAY: Duration = Duration::from_secs(60);

/// What an ended attempt means for its contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// Whether it counts against the task's `max_retries`.
    pub spends_try: bool,
    /// How long to wait before the next; `None`: the contact is done.
    pub wait: Option<Duration>,
}

/// Attempts at one contact after which a refusal counts: whatever the switch has against it will not pass by itself.
const REFUSED_MAX: u32 = 100;

/// What follows an attempt at this contact with this outcome, whose leg was ended by `by`.
pub fn after(outcome: Outcome, by: EndedBy, lead: &Lead) -> Next {
    let unspent = |wait| Next {
        spends_try: false,
        wait: Some(wait),
    };
    let may_change = match outcome {
        Outcome::Failed if by == EndedBy::Refused && lead.attempts_made < REFUSED_MAX => {
            return unspent(REFUSED_DELAY);
        }
        // The trunk's trouble is none of the contact's.
        Outcome::Congestion if lead.attempts_made < REFUSED_MAX => return unspent(RETRY_DELAY),
        // It was never dialed.
        Outcome::Cancelled if matches!(by, EndedBy::NoRoom | EndedBy::Refused) => {
            return unspent(REFUSED_DELAY);
        }
        // We took it back, or the PBX stopped: that is no fault of the contact.
        Outcome::Cancelled => {
            let later = TAKEN_BACK_STEP.saturating_mul(lead.attempts_made.saturating_add(1));
            return unspent(RETRY_DELAY.saturating_add(later));
        }
        // It may never have left, and it may have been answered: never blindly again.
        Outcome::Unknown => {
            return Next {
                spends_try: false,
                wait: None,
            };
        }
        Outcome::Busy | Outcome::NoAnswer | Outcome::Congestion | Outcome::Failed => true,
        // Abandoned: calling back without a reserved agent is what the rules forbid.
        Outcome::Answered
        | Outcome::Machine
        | Outcome::Rejected
        | Outcome::Invalid
        | Outcome::Fax
        | Outcome::Screened
        | Outcome::Abandoned
        | Outcome::Blocked => false,
    };
    Next {
        spends_try: true,
        wait: (may_change && lead.tries_made < lead.retries_max).then_some(RETRY_DELAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ContactId, TaskId};
    use crate::number::E164;

    fn lead(attempts_made: u32, tries_made: u32, retries_max: u32) -> Lead {
        Lead {
            contact: ContactId(1),
            task: TaskId(1),
            number: E164::new("+12025550123").unwrap(),
            attempts_made,
            tries_made,
            retries_max,
        }
    }

    fn wait(outcome: Outcome, tries_made: u32, retries_max: u32) -> Option<Duration> {
        let next = after(
            outcome,
            EndedBy::Network,
            &lead(tries_made, tries_made, retries_max),
        );
        assert!(next.spends_try);
        next.wait
    }

    #[test]
    fn retries_stop_at_the_tasks_maximum() {
        assert_eq!(wait(Outcome::Busy, 0, 0), None);
        assert_eq!(wait(Outcome::Busy, 0, 1), Some(RETRY_DELAY));
        assert_eq!(wait(Outcome::Busy, 1, 1), None);
    }

    #[test]
    fn what_was_taken_back_or_never_placed_spends_no_try() {
        let taken_back = after(Outcome::Cancelled, EndedBy::Us, &lead(0, 0, 0));
        assert_eq!(
            (taken_back.spends_try, taken_back.wait),
            (false, Some(RETRY_DELAY + TAKEN_BACK_STEP))
        );
        let not_dialed = after(Outcome::Cancelled, EndedBy::Refused, &lead(0, 0, 0));
        assert_eq!(
            (not_dialed.spends_try, not_dialed.wait),
            (false, Some(REFUSED_DELAY))
        );
        let stopped = after(Outcome::Cancelled, EndedBy::Stopped, &lead(0, 0, 0));
        assert_eq!(stopped, taken_back);
        let no_trunk = after(Outcome::Congestion, EndedBy::Network, &lead(0, 0, 0));
        assert_eq!((no_trunk.spends_try, no_trunk.wait), (false, Some(RETRY_DELAY)));
        let refused = |attempts| after(Outcome::Failed, EndedBy::Refused, &lead(attempts, 0, 0));
        let again = refused(REFUSED_MAX - 1);
        assert_eq!((again.spends_try, again.wait), (false, Some(REFUSED_DELAY)));
        let enough = refused(REFUSED_MAX);
        assert_eq!((enough.spends_try, enough.wait), (true, None));
    }

    #[test]
    fn what_another_try_cannot_change_is_left_alone() {
        for outcome in [Outcome::Answered, Outcome::Invalid, Outcome::Abandoned] {
            assert_eq!(wait(outcome, 0, 9), None, "{outcome}");
        }
    }

    #[test]
    fn what_nobody_saw_the_end_of_spends_no_try_and_waits_for_somebody_to_ask() {
        let lost = after(Outcome::Unknown, EndedBy::Vanished, &lead(3, 1, 9));
        assert_eq!((lost.spends_try, lost.wait), (false, None));
    }
}
