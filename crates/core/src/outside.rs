//! The outside check: a service of a third party says whether a number should be called (vacant, switched off, suspended,
//! reassigned, a litigator's). It is asked ahead of the calls, and its answers are kept until they expire.
//!
//! Input: the stored answer of a number, and whether the service works ([`OutsideFact`]). Output: an [`OutsideRuling`], which is
//! one of the gate's rules for campaigns that need the check. [`accept`] reads the answers to a request; [`Asking`] decides when the service is asked and for how many numbers.

mod accept;
mod asking;

pub use accept::{Accepted, ClaimedAnswer, accept};
pub use asking::{Asking, AskingLimits, Turn};

use crate::contact::NumberKind;
use crate::time::Wall;
use crate::words::words;
use std::fmt;
use std::time::Duration;

words! {
    /// The service's verdict on a number.
    OutsideVerdict {
        /// It may be called.
        Allow = "allow",
        /// It may not be called before the answer expires. Then the service is asked again.
        Defer = "defer",
        /// It may not be called.
        Deny = "deny",
        /// The service answered, but said nothing usable about this number. It is asked again after the answer's end.
        Unanswered = "unanswered",
    }
}

/// The service's answer about a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutsideAnswer {
    /// The verdict.
    pub verdict: OutsideVerdict,
    /// The kind of line. `None`: the service does not know.
    pub line: Option<NumberKind>,
    /// The reason in the service's words, such as `vacant`; at most [`OutsideAnswer::TEXT_MAX`] characters. It contains no number.
    pub reason: String,
    /// The service's own id of this answer, as a proof.
    pub evidence: Option<String>,
    /// Time at which it came.
    pub answered_at: Wall,
    /// The answer counts before this time.
    pub expires_at: Wall,
}

impl OutsideAnswer {
    /// Longest reason and longest evidence id, in characters.
    pub const TEXT_MAX: usize = 100;
}

/// The state of the service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OutsideService {
    /// The configuration names no service.
    #[default]
    Missing,
    /// It answers.
    Works,
    /// It does not answer, and numbers without an answer are not called.
    Out {
        /// Start of the outage.
        since: Wall,
    },
    /// It does not answer, and the configuration says that numbers without an answer are called meanwhile.
    OutAndOpen {
        /// Start of the outage.
        since: Wall,
        /// The reason in the words of the configuration. It is recorded with each such call.
        because: String,
    },
}

/// What the outside check knows of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutsideFact<'a> {
    /// The number's last answer, which may have expired.
    pub answer: Option<&'a OutsideAnswer>,
    /// The state of the service.
    pub service: &'a OutsideService,
}

words! {
    /// The reason why the outside check allows, defers or denies a call.
    OutsideReason {
        /// The service's answer says so.
        Answer = "answer",
        /// The number has no answer yet.
        NotAsked = "not_asked",
        /// The service does not answer.
        Outage = "outage",
        /// The campaign needs the check, and the configuration names no service.
        NoService = "no_service",
    }
}

/// The decision of the outside check about a call to a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutsideRuling {
    /// The number may be called.
    Allow(OutsideReason),
    /// The number may not be called now.
    Defer {
        /// Ask the gate again at this time.
        until: Wall,
        /// The reason.
        because: OutsideReason,
    },
    /// The number may not be called: the service's answer denies it.
    Deny,
}

/// A number without an answer is looked at again after this time: the job needs a few seconds to ask.
const ASKED_WITHIN: Duration = Duration::from_secs(15);
/// While the service is missing or does not answer, numbers without an answer are looked at again after this time.
const OUTAGE_RETRY: Duration = Duration::from_secs(5 * 60);

impl OutsideRuling {
    /// The reason.
    pub fn because(self) -> OutsideReason {
        match self {
            OutsideRuling::Allow(because) | OutsideRuling::Defer { because, .. } => because,
            OutsideRuling::Deny => OutsideReason::Answer,
        }
    }
}

impl OutsideFact<'_> {
    /// Decides about a call at `at`.
    ///
    /// During an outage with [`OutsideService::OutAndOpen`], a number whose last answer was no `allow` is still not called.
    pub fn rule(&self, at: Wall) -> OutsideRuling {
        use OutsideVerdict::{Allow, Defer, Deny, Unanswered};
        let later = |wait: Duration, because| OutsideRuling::Defer {
            until: at.plus(wait),
            because,
        };
        if let Some(answer) = self.answer.filter(|answer| at < answer.expires_at) {
            return match answer.verdict {
                Allow => OutsideRuling::Allow(OutsideReason::Answer),
                Defer | Unanswered => OutsideRuling::Defer {
                    until: answer.expires_at,
                    because: OutsideReason::Answer,
                },
                Deny => OutsideRuling::Deny,
            };
        }
        match self.service {
            OutsideService::Missing => later(OUTAGE_RETRY, OutsideReason::NoService),
            OutsideService::Works => later(ASKED_WITHIN, OutsideReason::NotAsked),
            OutsideService::Out { .. } => later(OUTAGE_RETRY, OutsideReason::Outage),
            OutsideService::OutAndOpen { .. } => match self.answer.map(|answer| answer.verdict) {
                Some(Defer | Deny) => later(OUTAGE_RETRY, OutsideReason::Outage),
                Some(Allow | Unanswered) | None => OutsideRuling::Allow(OutsideReason::Outage),
            },
        }
    }

    /// True if the number waits for its first answer, or for a new one after the last has expired.
    pub fn waits_for_answer(&self, at: Wall) -> bool {
        let ruling = self.rule(at);
        matches!(ruling, OutsideRuling::Defer { .. }) && ruling.because() != OutsideReason::Answer
    }

    /// The ruling as a sentence for the record of a decision, without a telephone number.
    pub(crate) fn sentence(&self, because: OutsideReason) -> OutsideSentence<'_> {
        OutsideSentence { fact: self, because }
    }
}

/// Written by `Display`.
pub(crate) struct OutsideSentence<'a> {
    fact: &'a OutsideFact<'a>,
    because: OutsideReason,
}

impl fmt::Display for OutsideSentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.because, self.fact.answer, self.fact.service) {
            (OutsideReason::Answer, Some(answer), _) => {
                let evidence = answer.evidence.as_deref().unwrap_or("none");
                let reason = match answer.reason.as_str() {
                    "" => answer.verdict.as_str(),
                    reason => reason,
                };
                write!(f, "the service says: {reason}; its evidence: {evidence}")
            }
            (OutsideReason::Answer, None, _) | (OutsideReason::NotAsked, _, _) => {
                f.write_str("the service has given no valid answer yet")
            }
            (OutsideReason::Outage, _, OutsideService::OutAndOpen { because, .. }) => {
                write!(
                    f,
                    "the service does not answer; called meanwhile because: {because}"
                )
            }
            (OutsideReason::Outage, _, _) => f.write_str("the service does not answer"),
            (OutsideReason::NoService, _, _) => f.write_str("paceline.toml has no [outside_check]"),
        }
    }
}

#[cfg(test)]
mod tests;
