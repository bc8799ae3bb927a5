//! Which finished contacts a task may call again when somebody asks for it, by what is known of their last attempt.
//!
//! An `unknown` attempt can hide a conversation or an abandoned call: Paceline, its link or the PBX died, and nobody saw the
//! end. What its rows say decides. A stored answer was either talked with or abandoned, so such a contact is never called
//! again by this. Ringing shows that the call left, and somebody may have answered unseen: those are called again only where
//! `unknown` is asked for by name. An attempt without any sign of life may have left all the same, in the last moment before
//! the crash; neither the rows nor the PBX can tell. Calling its contact again is a second attempt at worst, and both count.

use crate::outcome::Outcome;
use std::collections::BTreeSet;

/// A contact's last attempt, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastAttempt {
    /// How it ended.
    pub outcome: Outcome,
    /// A leg of it rang, or had early media.
    pub rang: bool,
    /// It was answered.
    pub answered: bool,
}

/// Which contacts to call again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requeue {
    outcomes: BTreeSet<Outcome>,
    rang_too: bool,
}

/// An outcome after which nobody is called again on request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a contact whose last attempt is `{0}` is not called again by this; use one of unknown, failed, congestion, cancelled, no_answer, busy"
)]
pub struct NotAgain(pub Outcome);

/// Outcomes without a phone that rang, as a rule.
const UNREACHED: [Outcome; 4] = [
    Outcome::Unknown,
    Outcome::Failed,
    Outcome::Congestion,
    Outcome::Cancelled,
];

impl Requeue {
    /// Those whose call reached no phone, as far as anybody knows.
    pub fn unreached() -> Self {
        Self {
            outcomes: UNREACHED.into(),
            rang_too: false,
        }
    }

    /// Those whose last attempt ended in one of these ways.
    ///
    /// # Errors
    /// [`NotAgain`]: for the first outcome that is a callee's answer, a machine's, or a list's.
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

    /// The outcomes, each once.
    pub fn outcomes(&self) -> impl Iterator<Item = Outcome> {
        self.outcomes.iter().copied()
    }

    /// Whether contacts are called again whose phone rang.
    pub fn rang_too(&self) -> bool {
        self.rang_too
    }

    /// Whether a finished contact is called again. The store says the same in SQL.
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
        fn who_answered_is_never_called_again(
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
        fn who_is_asked_for_by_name_is_called_again_and_nobody_else(
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
        fn unless_asked_by_name_nobody_is_called_again_whose_phone_rang(last in outcome()) {
            let takes = |rang| Requeue::unreached().takes(LastAttempt { outcome: last, rang, answered: false });
            prop_assert!(!takes(true));
            prop_assert_eq!(takes(false), UNREACHED.contains(&last));
        }
    }

    #[test]
    fn outcomes_that_callees_machines_and_lists_gave_cannot_be_asked_for() {
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
        // What the message tells to use.
        let message = NotAgain(Outcome::Blocked).to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
}
