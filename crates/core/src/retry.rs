//! Whether a contact is tried again, and when. One rule until redial rules come: outcomes that another try may change
//! wait [`RETRY_DELAY`], up to the task's `max_retries`.

use crate::outcome::Outcome;
use std::time::Duration;

/// Between two attempts at one contact.
pub const RETRY_DELAY: Duration = Duration::from_secs(30 * 60);

/// How long to wait before the next attempt, or `None` if there is to be none. `attempts_made` counts the one that just
/// ended.
pub fn next_attempt(outcome: Outcome, attempts_made: u32, retries_max: u32) -> Option<Duration> {
    let may_change = match outcome {
        Outcome::Busy | Outcome::NoAnswer | Outcome::Congestion | Outcome::Failed => true,
        // We took it back: that is no fault of the contact, and spends none of its tries.
        Outcome::Cancelled => return Some(RETRY_DELAY),
        // Abandoned: calling back without a reserved agent is what the rules forbid. Unknown: never blindly again.
        Outcome::Answered
        | Outcome::Machine
        | Outcome::Rejected
        | Outcome::Invalid
        | Outcome::Fax
        | Outcome::Screened
        | Outcome::Abandoned
        | Outcome::Blocked
        | Outcome::Unknown => false,
    };
    (may_change && attempts_made <= retries_max).then_some(RETRY_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_stop_at_the_tasks_maximum() {
        assert_eq!(next_attempt(Outcome::Busy, 1, 0), None);
        assert_eq!(next_attempt(Outcome::Busy, 1, 1), Some(RETRY_DELAY));
        assert_eq!(next_attempt(Outcome::Busy, 2, 1), None);
    }

    #[test]
    fn a_call_that_we_took_back_spends_no_try() {
        assert_eq!(next_attempt(Outcome::Cancelled, 1, 0), Some(RETRY_DELAY));
    }

    #[test]
    fn what_another_try_cannot_change_is_left_alone() {
        for outcome in [
            Outcome::Answered,
            Outcome::Invalid,
            Outcome::Abandoned,
            Outcome::Unknown,
        ] {
            assert_eq!(next_attempt(outcome, 1, 9), None, "{outcome}");
        }
    }
}
