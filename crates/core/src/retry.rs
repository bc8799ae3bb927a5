//! Decides whether and when a contact is called again. There is one rule until retry rules can be set: outcomes that a
//! further attempt may change wait [`RETRY_DELAY`], up to the task's `max_retries`. An attempt that never reached the
//! network does not count as a try. An `unknown` attempt does not count either, and its contact is called again only on
//! request ([`crate::requeue`]).

use crate::input::Lead;
use crate::outcome::Outcome;
use crate::pbx::EndedBy;
use std::time::Duration;

/// Time between two attempts at one contact.
pub const RETRY_DELAY: Duration = Duration::from_secs(30 * 60);
/// Added to [`RETRY_DELAY`] after a cancelled attempt, once for each earlier attempt. Otherwise an event that recurs at a
/// fixed time, such as the time limit of an agent's leg, could cancel every attempt at this contact.
const TAKEN_BACK_STEP: Duration = Duration::from_secs(7);
/// Wait after an attempt that was not placed, because the PBX refused it or no agent needed it any more. No phone rang.
pub const REFUSED_DELAY: Duration = Duration::from_secs(60);

/// The consequence of an ended attempt for its contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// True if the attempt counts against the task's `max_retries`.
    pub spends_try: bool,
    /// Wait before the next attempt. `None`: the contact is done.
    pub wait: Option<Duration>,
}

/// After a call that was cancelled because its number is on a do-not-call list: the next lease asks the gate at once, so that
/// the contact is `blocked`, or called by another number, without a wait.
pub const AFTER_OPT_OUT: Next = Next {
    spends_try: false,
    wait: Some(Duration::ZERO),
};

/// After this many attempts at one contact a refusal counts as a try, because the PBX will not accept this call later
/// either.
const REFUSED_MAX: u32 = 100;

/// The next step after an attempt with this outcome, whose leg was ended by `by`.
pub fn after(outcome: Outcome, by: EndedBy, lead: &Lead) -> Next {
    let unspent = |wait| Next {
        spends_try: false,
        wait: Some(wait),
    };
    let may_change = match outcome {
        Outcome::Failed if by == EndedBy::Refused && lead.attempts_made < REFUSED_MAX => {
            return unspent(REFUSED_DELAY);
        }
        // A trunk failure is not caused by the contact.
        Outcome::Congestion if lead.attempts_made < REFUSED_MAX => return unspent(RETRY_DELAY),
        // The call was never dialed.
        Outcome::Cancelled if matches!(by, EndedBy::NoRoom | EndedBy::Refused) => {
            return unspent(REFUSED_DELAY);
        }
        // Paceline cancelled the call, or the PBX stopped. The contact did not cause it.
        Outcome::Cancelled => {
            let later = TAKEN_BACK_STEP.saturating_mul(lead.attempts_made.saturating_add(1));
            return unspent(RETRY_DELAY.saturating_add(later));
        }
        // The call may have left and may have been answered, so it is never repeated automatically.
        Outcome::Unknown => {
            return Next {
                spends_try: false,
                wait: None,
            };
        }
        Outcome::Busy | Outcome::NoAnswer | Outcome::Congestion | Outcome::Failed => true,
        // After an abandoned call, the rules forbid a call without a reserved agent.
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
    fn retries_stop_at_the_maximum_of_the_task() {
        assert_eq!(wait(Outcome::Busy, 0, 0), None);
        assert_eq!(wait(Outcome::Busy, 0, 1), Some(RETRY_DELAY));
        assert_eq!(wait(Outcome::Busy, 1, 1), None);
    }

    #[test]
    fn a_cancelled_call_and_a_call_that_was_never_placed_do_not_count_as_a_try() {
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
    fn a_contact_is_not_called_again_after_an_outcome_that_will_not_change() {
        for outcome in [Outcome::Answered, Outcome::Invalid, Outcome::Abandoned] {
            assert_eq!(wait(outcome, 0, 9), None, "{outcome}");
        }
    }

    #[test]
    fn an_unknown_attempt_does_not_count_as_a_try_and_is_repeated_only_on_request() {
        let lost = after(Outcome::Unknown, EndedBy::Vanished, &lead(3, 1, 9));
        assert_eq!((lost.spends_try, lost.wait), (false, None));
    }
}
