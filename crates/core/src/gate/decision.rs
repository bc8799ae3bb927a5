//! The decision of the gate, with every rule that decided and the datum that it used.

use super::Zone;
use crate::outside::{OutsideFact, OutsideReason};
use crate::time::Wall;
use crate::words::words;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

words! {
    /// The verdict of one rule about a call.
    RuleVerdict {
        /// It may be made now.
        Allow = "allow",
        /// Not now, but later.
        Defer = "defer",
        /// Not at all, unless the datum changes.
        Deny = "deny",
    }
}

/// The verdict of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum GateVerdict {
    /// The number may be called now.
    Allow,
    /// The number may not be called before this time.
    Defer {
        /// Time to ask the gate again, Unix time in milliseconds.
        until_ms: Wall,
    },
    /// The number may not be called.
    Deny,
}

impl GateVerdict {
    /// The word in the store: `allow`, `defer` or `deny`.
    pub fn as_str(self) -> &'static str {
        match self {
            GateVerdict::Allow => "allow",
            GateVerdict::Defer { .. } => "defer",
            GateVerdict::Deny => "deny",
        }
    }
}

words! {
    /// The step of a call at which the gate was asked.
    GateStage {
        /// The lease of the contact into the hopper.
        Lease = "lease",
        /// The last check, just before the originate.
        Originate = "originate",
    }
}

/// The decision about one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<'p> {
    /// The verdict. `Defer` has the first whole second at which the same call would be allowed.
    pub verdict: GateVerdict,
    /// For `Allow` every rule that was asked, otherwise every rule that defers or denies. Never empty.
    pub reasons: Vec<Reason<'p>>,
}

impl Decision<'_> {
    /// The reason that decided: the first that denies, or else the first that defers. `None` for `Allow`.
    pub fn deciding(&self) -> Option<&Reason<'_>> {
        let first = |verdict| self.reasons.iter().find(|reason| reason.verdict == verdict);
        first(RuleVerdict::Deny).or_else(|| first(RuleVerdict::Defer))
    }
}

/// The answer of one rule, with the datum that it used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason<'p> {
    /// The profile, such as `us-fl`; `paceline` for what belongs to no regulator.
    pub profile: &'p str,
    /// The rule's id within the profile, such as `hours`.
    pub rule: &'p str,
    /// The law or regulation. Empty for the profile `paceline`.
    pub citation: &'p str,
    /// The rule's verdict.
    pub verdict: RuleVerdict,
    /// The datum that the rule used. `Display` writes it as a sentence, without a telephone number.
    pub datum: Datum<'p>,
}

/// A reason as it is stored and shown, without what it borrows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RuleReason {
    /// The profile, such as `us-fl`; `paceline` for what belongs to no regulator.
    #[cfg_attr(feature = "openapi", schema(example = "us-ftc"))]
    pub profile: String,
    /// The rule's id within the profile.
    #[cfg_attr(feature = "openapi", schema(example = "hours"))]
    pub rule: String,
    /// The verdict of the rule.
    pub verdict: RuleVerdict,
    /// The law or regulation. Empty for the profile `paceline`.
    #[cfg_attr(feature = "openapi", schema(example = "16 CFR 310.4(c)"))]
    pub citation: String,
    /// The datum that decided, as a sentence.
    #[cfg_attr(
        feature = "openapi",
        schema(example = "2026-11-20T07:12:00 in America/New_York is outside the calling hours")
    )]
    pub text: String,
}

impl From<&Reason<'_>> for RuleReason {
    fn from(reason: &Reason) -> Self {
        Self {
            profile: reason.profile.to_owned(),
            rule: reason.rule.to_owned(),
            verdict: reason.verdict,
            citation: reason.citation.to_owned(),
            text: reason.datum.to_string(),
        }
    }
}

/// The datum that decided. Times of attempts and consents are those of the facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datum<'p> {
    /// Calling hours: the first plausible zone in which the call does not fit, or else the first zone.
    Hours {
        /// The zone.
        zone: Zone,
        /// Local time in the zone at the call, in milliseconds since 1970-01-01T00:00 of that zone.
        local_ms: i64,
        /// True if the call fits.
        open: bool,
    },
    /// The number of counted attempts within the span.
    Attempts {
        /// Attempts that count now.
        counted: u32,
        /// Fewer than this are needed.
        max: u32,
        /// The span. `None`: for ever.
        span: Option<Duration>,
    },
    /// The last attempt that begins a pause. `None`: there is none.
    Pause {
        /// Time of the attempt.
        since: Option<Wall>,
        /// Length of the pause. `None`: for ever.
        span: Option<Duration>,
    },
    /// The consent that satisfies the rule, or the lack of one.
    Consent {
        /// The words of the kinds that satisfy it.
        needs: &'p str,
        /// Time of the grant. `None`: no consent satisfies the rule.
        granted_at: Option<Wall>,
    },
    /// The caller id is as the rule wants it, is missing, or is forbidden.
    CallerId {
        /// The rule's requirement, in words.
        needs: &'p str,
    },
    /// The ring timeout of the call and the least that the rule allows.
    RingTime {
        /// Ring timeout of the call, in milliseconds.
        ring_ms: u64,
        /// Least ring timeout that the rule allows, in milliseconds.
        ring_ms_min: u64,
    },
    /// The contact has, or lacks, one of the tags of an allowlist.
    Allowlist {
        /// The words of the tags.
        needs: &'p str,
    },
    /// The suppression lists that hold the number.
    Lists(&'p [&'p str]),
    /// What the outside check knows of the number.
    Outside {
        /// The last answer and the state of the service.
        fact: OutsideFact<'p>,
        /// The reason for the verdict.
        because: OutsideReason,
    },
    /// A complete sentence, without other data.
    Text(&'p str),
}

impl fmt::Display for Datum<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Datum::Hours { zone, local_ms, open } => {
                let place = if open { "within" } else { "outside" };
                write!(f, "{} in {zone} is {place} the calling hours", Local(local_ms))
            }
            Datum::Attempts { counted, max, span } => {
                write!(f, "{counted} of at most {max} attempts")?;
                match span {
                    Some(span) => write!(f, " in {}", Span(span)),
                    None => Ok(()),
                }
            }
            Datum::Pause { since: None, .. } => f.write_str("no attempt of the past begins a pause"),
            Datum::Pause {
                since: Some(since),
                span,
            } => {
                write!(f, "the attempt of {} begins a pause", Utc(since))?;
                match span {
                    Some(span) => write!(f, " of {}", Span(span)),
                    None => f.write_str(" without end"),
                }
            }
            Datum::Consent { needs, granted_at } => match granted_at {
                Some(at) => write!(f, "the consent of {} is valid: {needs}", Utc(at)),
                None => write!(f, "no valid consent: {needs}"),
            },
            Datum::CallerId { needs } => write!(f, "caller id: {needs}"),
            Datum::RingTime { ring_ms, ring_ms_min } => {
                write!(f, "the phone rings for {ring_ms} ms; at least {ring_ms_min} ms")
            }
            Datum::Allowlist { needs } => write!(f, "only contacts with one of these tags: {needs}"),
            Datum::Lists([]) => f.write_str("on no suppression list"),
            Datum::Lists(names) => write!(f, "on a suppression list: {}", names.join(", ")),
            Datum::Outside { fact, because } => write!(f, "{}", fact.sentence(because)),
            Datum::Text(text) => f.write_str(text),
        }
    }
}

struct Local(i64);
struct Utc(Wall);
struct Span(Duration);

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.0.div_euclid(86_400_000));
        let second = self.0.rem_euclid(86_400_000) / 1_000;
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )
    }
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}Z", Local(self.0.0))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            seconds if seconds % 86_400 == 0 && seconds > 86_400 => write!(f, "{} days", seconds / 86_400),
            seconds if seconds % 3_600 == 0 => write!(f, "{} hours", seconds / 3_600),
            seconds => write!(f, "{} minutes", seconds / 60),
        }
    }
}

/// Year, month and day of a number of days since 1970-01-01 in the Gregorian calendar.
/// (H. Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.)
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datum_is_written_as_a_sentence() {
        let zone = Zone::named("America/New_York").unwrap();
        let said = |datum: Datum| datum.to_string();
        let local_ms = 1_709_211_599_000; // 2024-02-29
        assert_eq!(
            said(Datum::Hours {
                zone,
                local_ms,
                open: false
            }),
            "2024-02-29T12:59:59 in America/New_York is outside the calling hours"
        );
        let span = Some(Duration::from_secs(86_400));
        assert_eq!(
            said(Datum::Attempts {
                counted: 3,
                max: 3,
                span
            }),
            "3 of at most 3 attempts in 24 hours"
        );
        let span = Some(Duration::from_secs(60 * 86_400));
        let since = Some(Wall(951_782_400_500));
        assert_eq!(
            said(Datum::Pause { since, span }),
            "the attempt of 2000-02-29T00:00:00Z begins a pause of 60 days"
        );
        assert_eq!(
            said(Datum::Attempts {
                counted: 0,
                max: 3,
                span: Some(Duration::from_secs(300))
            }),
            "0 of at most 3 attempts in 5 minutes"
        );
    }
}
