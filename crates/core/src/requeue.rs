//! Decides which finished contacts a task may call again on request, by their last attempt.
//!
//! An `unknown` attempt can hide a conversation or an abandoned call: Paceline, its link or the PBX failed, and nobody saw
//! the end. The attempt's row decides. If an answer is stored, the callee talked or was abandoned, so the contact is never
//! called again by this. If ringing is stored, the call left, and somebody may have answered unseen: such a contact is
//! called again only if the request names `unknown`. An attempt without any event may also have left, just before the
//! failure. Neither the store nor the PBX can tell. Calling its contact again is a second attempt in the worst case, and
//! both attempts count.

use crate::outcome::Outcome;
use std::collections::BTreeSet;

/// The last attempt of a contact, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastAttempt {
    /// Its outcome.
    pub outcome: Outcome,
    /// True if one of its legs rang or had early media.
    pub rang: bool,
    /// True if it was answered.
    pub answered: bool,
}

/// The selection of the contacts that are called again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requeue {
    outcomes: BTreeSet<Outcome>,
    rang_too: bool,
}

/// The outcome after which a contact is never called again on request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "contacts whose last attempt is `{0}` cannot be called again on request; use one of unknown, failed, congestion, cancelled, no_answer, busy"
)]
pub struct NotAgain(pub Outcome);

/// Outcomes that usually mean that no phone rang.
const UNREACHED: [Outcome; 4] = [
    Outcome::Unknown,
    Outcome::Failed,
    Outcome::Congestion,
    Outcome::Cancelled,
];

impl Requeue {
    /// Selects contacts whose last call reached no phone, as far as is known.
    pub fn unreached() -> Self {
        Self {
            outcomes: UNREACHED.into(),
            rang_too: false,
        }
    }

    /// Selects contacts whose last attempt ended with one of these outcomes.
    ///
    /// # Errors
    /// [`NotAgain`] with the first outcome that came from a callee, a machine or a do-not-call list.
    pub fn after(outcomes: impl IntoIterator<Item = Outcome>) -> Result<Self, NotAgain> {
        let check = |outcome| match outcome {
            Outcome::Unknown
            | Outcome::Failed
            | Outcome::Congestion
            | Outcome::Cancelled
            | Outcome::NoAnswer
            | Outcome::Busy => Ok(outcome),
            Outcome::Answered
            | Outcome::Machine
            | Outcome::Rejected
            | Outcome::Invalid
            | Outcome::Fax
            | Outcome::Screened
            | Outcome::Abandoned
            | Outcome::Blocked => Err(NotAgain(outcome)),
        };
        Ok(Self {
            outcomes: outcomes.into_iter().map(check).collect::<Result<_, _>>()?,
            rang_too: true,
        })
    }

    /// The selected outcomes, each once.
    pub fn outcomes(&self) -> impl Iterator<Item = Outcome> {
        self.outcomes.iter().copied()
    }

    /// True if contacts whose phone rang are called again too.
    pub fn rang_too(&self) -> bool {
        self.rang_too
    }

    /// True if a finished contact is called again. The store has the same rule in SQL.
    pub fn takes(&self, last: LastAttempt) -> bool {
        self.outcomes.contains(&last.outcome) && !last.answered && (self.rang_too || !last.rang)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn outcome() -> impl Strategy<Value = Outcome> {
        prop::sample::select(Outcome::ALL)
    }

    proptest! {
        #[test]
        fn a_callee_who_answered_is_never_called_again(
            asked in prop::collection::vec(outcome(), 0..6),
            last in outcome(),
            rang in any::<bool>(),
        ) {
            let answered = LastAttempt { outcome: last, rang, answered: true };
            prop_assert!(!Requeue::unreached().takes(answered));
            if let Ok(requeue) = Requeue::after(asked) {
                prop_assert!(!requeue.takes(answered));
            }
        }

        #[test]
        fn only_contacts_with_a_requested_outcome_are_called_again(
            asked in prop::collection::vec(outcome(), 0..6),
            last in outcome(),
            rang in any::<bool>(),
        ) {
            let last = LastAttempt { outcome: last, rang, answered: false };
            match Requeue::after(asked.clone()) {
                Ok(requeue) => prop_assert_eq!(requeue.takes(last), asked.contains(&last.outcome)),
                Err(NotAgain(refused)) => prop_assert!(asked.contains(&refused)),
            }
        }

        #[test]
        fn a_contact_whose_phone_rang_is_called_again_only_if_the_outcome_is_named(last in outcome()) {
            let takes = |rang| Requeue::unreached().takes(LastAttempt { outcome: last, rang, answered: false });
            prop_assert!(!takes(true));
            prop_assert_eq!(takes(false), UNREACHED.contains(&last));
        }
    }

    #[test]
    fn outcomes_from_callees_machines_and_lists_cannot_be_requested() {
        let can = |outcome: &&Outcome| Requeue::after([**outcome]).is_ok();
        let words: Vec<&str> = Outcome::ALL
            .iter()
            .filter(can)
            .map(|outcome| outcome.as_str())
            .collect();
        assert_eq!(
            words,
            [
                "busy",
                "no_answer",
                "congestion",
                "failed",
                "cancelled",
                "unknown"
            ]
        );
        // The outcomes that the error message recommends.
        let message = NotAgain(Outcome::Blocked).to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
}
