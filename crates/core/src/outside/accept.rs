//! Reads the answers to one request. Each number that was asked gets exactly one answer.

use super::{OutsideAnswer, OutsideVerdict};
use crate::contact::NumberKind;
use crate::number::E164;
use crate::time::Wall;
use std::collections::BTreeMap;
use std::time::Duration;

/// One answer as the service claims it, before it is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedAnswer {
    /// The number that it is about.
    pub number: E164,
    /// The verdict.
    pub verdict: OutsideVerdict,
    /// For a `defer`: the time from which the number may be called.
    pub until: Option<Wall>,
    /// The kind of line.
    pub line: Option<NumberKind>,
    /// The reason in the service's words.
    pub reason: String,
    /// The service's id of this answer.
    pub evidence: Option<String>,
    /// Time of expiry: the answer counts before it.
    pub expires_at: Wall,
}

/// The answers to one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// One answer for each number that was asked.
    pub answers: BTreeMap<E164, OutsideAnswer>,
    /// Numbers without a usable answer. They are among the answers, as [`OutsideVerdict::Unanswered`].
    pub unanswered: usize,
    /// Answers about numbers that were not asked. They are ignored.
    pub unasked: usize,
}

/// An answer counts for this long at most, whatever the service says: the Reassigned Numbers Database is updated monthly (47
/// CFR 64.1200(l)).
const KEPT_MAX: Duration = Duration::from_secs(31 * 24 * 3_600);
/// A number without a usable answer is asked again after this time.
const UNANSWERED_RETRY: Duration = Duration::from_secs(15 * 60);
/// A run of this many digits may be a telephone number, so a reason never has it.
const DIGITS_MAX: usize = 5;

/// Reads the answers to one request. A number with no answer, with an expired one, or with answers that differ, is unanswered.
pub fn accept(asked: &[E164], claimed: Vec<ClaimedAnswer>, now: Wall) -> Accepted {
    let mut accepted = Accepted::default();
    let mut usable: BTreeMap<E164, Option<OutsideAnswer>> =
        asked.iter().map(|number| (number.clone(), None)).collect();
    let mut doubted = Vec::new();
    for claim in claimed {
        let Some(slot) = usable.get_mut(&claim.number) else {
            accepted.unasked = accepted.unasked.saturating_add(1);
            continue;
        };
        let number = claim.number.clone();
        let Some(answer) = checked(claim, now) else {
            continue;
        };
        match slot {
            None => *slot = Some(answer),
            Some(first) if *first == answer => {}
            Some(_) => doubted.push(number),
        }
    }
    for number in doubted {
        usable.insert(number, None);
    }
    for (number, answer) in usable {
        let answer = answer.unwrap_or_else(|| {
            accepted.unanswered = accepted.unanswered.saturating_add(1);
            OutsideAnswer {
                verdict: OutsideVerdict::Unanswered,
                line: None,
                reason: "no usable answer".to_owned(),
                evidence: None,
                answered_at: now,
                expires_at: now.plus(UNANSWERED_RETRY),
            }
        });
        accepted.answers.insert(number, answer);
    }
    accepted
}

/// The answer with its end; `None` if it is not usable.
fn checked(claim: ClaimedAnswer, now: Wall) -> Option<OutsideAnswer> {
    let expires_at = match (claim.verdict, claim.until) {
        (OutsideVerdict::Allow | OutsideVerdict::Deny, None) => claim.expires_at,
        (OutsideVerdict::Defer, Some(until)) => claim.expires_at.min(until),
        (OutsideVerdict::Allow | OutsideVerdict::Deny, Some(_))
        | (OutsideVerdict::Defer, None)
        | (OutsideVerdict::Unanswered, _) => return None,
    };
    let evidence = claim.evidence.filter(|id| {
        let fits = !id.is_empty() && id.chars().count() <= OutsideAnswer::TEXT_MAX;
        fits && !id.contains(claim.number.expose_digits()) && !id.chars().any(char::is_control)
    });
    (now < expires_at).then(|| OutsideAnswer {
        verdict: claim.verdict,
        line: claim.line,
        reason: without_numbers(&claim.reason),
        evidence,
        answered_at: now,
        expires_at: expires_at.min(now.plus(KEPT_MAX)),
    })
}

/// The text without runs of digits that may be a telephone number and without control characters, in one line.
fn without_numbers(text: &str) -> String {
    let mut clean = String::new();
    let mut digits = 0_usize;
    for c in text.chars().take(OutsideAnswer::TEXT_MAX) {
        // A number may be written in groups, so separators do not end a run.
        let in_a_number = c.is_numeric() || (digits > 0 && matches!(c, ' ' | '-' | '.' | '(' | ')' | '/'));
        if c.is_numeric() {
            digits = digits.saturating_add(1);
        } else if !in_a_number {
            digits = 0;
        }
        if c.is_control() || (c.is_numeric() && digits >= DIGITS_MAX) {
            continue;
        }
        clean.push(c);
    }
    clean.trim().to_owned()
}
