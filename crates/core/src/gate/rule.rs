//! One rule of a regulator as a value, read from a rule file.

use super::calendar::Calendar;
use super::file::{Day, FileError, Place};
use super::hours::{Hours, HoursFile};
use super::{DialingMode, Purpose};
use crate::campaign::hours::CallingHours;
use crate::contact::ConsentKind;
use crate::pacing::rules::{AbandonClock, AbandonRule, AbandonWindow, EarlyHangup};
use crate::words::words;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

/// A rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its id, unique within the profile, such as `attempts_24h`.
    pub id: String,
    /// The law or regulation.
    pub citation: String,
    /// The first day on which it is in effect, from local midnight on. `None`: it always was.
    pub effective_from: Option<Day>,
    /// The first day on which it is no longer in effect.
    pub effective_to: Option<Day>,
    /// The day on which the rule was compared with a source. `None`: it was not.
    pub verified_on: Option<Day>,
    /// True if the rule binds nobody by law, such as an industry's own code. It is asked all the same.
    pub voluntary: bool,
    /// True if no source was found that confirms the rule.
    pub unconfirmed: bool,
    /// A remark on the rule, in words.
    pub note: Option<String>,
    pub(super) purposes: Mask,
    pub(super) modes: Mask,
    pub(super) kind: Kind,
}

/// A set of words of one kind, by their place in `ALL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mask(u8);

/// The requirement of a rule.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Hours(Hours),
    Attempts {
        max: usize,
        span: Option<Duration>,
        per: Per,
    },
    Pause {
        after: PauseAfter,
        span: Option<Duration>,
        per: Per,
    },
    Consent {
        kinds: Vec<ConsentKind>,
        proof: bool,
        needs: String,
    },
    CallerId(CallerIdRule),
    RingTime {
        ring_ms_min: u64,
    },
    Allowlist {
        tags: Vec<String>,
        needs: String,
    },
    /// Not asked by the gate: the pacing controller keeps it.
    Abandon(AbandonFile),
    /// Not asked by the gate: the store refuses a list that is too old.
    Registry(RegistryFile),
}

/// A rule about the number that the callee sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CallerIdRule {
    required: bool,
    forbidden: Vec<String>,
    only: Vec<String>,
    pub(super) needs: String,
}

words! {
    /// The attempts of the contact that a cap or a pause counts.
    Per {
        /// All of them.
        Contact = "contact",
        /// Those to the same number.
        Number = "number",
        /// Those of the same campaign.
        Campaign = "campaign",
        /// Those on the same subject.
        Subject = "subject",
        /// Those about the same debt.
        Debt = "debt",
    }
}

words! {
    /// The result of an attempt that begins a pause.
    PauseAfter {
        /// The disposition `refused`.
        Refusal = "refusal",
        /// The outcome `answered`.
        Conversation = "conversation",
        /// The outcome `abandoned`.
        Abandoned = "abandoned",
    }
}

/// A rule in a file. Exactly one of the kinds is given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    id: String,
    citation: String,
    effective_from: Option<Day>,
    effective_to: Option<Day>,
    verified_on: Option<Day>,
    #[serde(default)]
    voluntary: bool,
    #[serde(default)]
    unconfirmed: bool,
    note: Option<String>,
    purposes: Option<Vec<Purpose>>,
    modes: Option<Vec<DialingMode>>,
    hours: Option<HoursFile>,
    closed: Option<HoursFile>,
    attempts: Option<AttemptsFile>,
    pause: Option<PauseFile>,
    consent: Option<ConsentFile>,
    caller_id: Option<CallerIdFile>,
    ring_time: Option<RingTimeFile>,
    allowlist: Option<AllowlistFile>,
    abandon: Option<AbandonFile>,
    registry: Option<RegistryFile>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AttemptsFile {
    max: usize,
    span: Option<String>,
    #[serde(default = "per_contact")]
    per: Per,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PauseFile {
    after: PauseAfter,
    span: Option<String>,
    #[serde(default = "per_contact")]
    per: Per,
}

fn per_contact() -> Per {
    Per::Contact
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsentFile {
    kinds: Vec<ConsentKind>,
    #[serde(default)]
    proof: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct CallerIdFile {
    required: bool,
    forbidden_prefixes: Vec<String>,
    only_prefixes: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RingTimeFile {
    ring_ms_min: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AllowlistFile {
    tags: Vec<String>,
}

/// An abandon rule in a file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AbandonFile {
    ratio_max: f64,
    window: AbandonWindow,
    clock: AbandonClock,
    limit_ms: u32,
    early_hangup: EarlyHangup,
    #[serde(default)]
    ring_ms_min: u32,
    #[serde(default)]
    message: bool,
}

/// A registry's list in a file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegistryFile {
    pub(super) list: String,
    pub(super) age_days_max: Option<u32>,
}

impl Rule {
    /// Reads one `[[rule]]` of a file.
    pub(super) fn read(
        file: &str,
        value: toml::Value,
        calendars: &[Arc<Calendar>],
    ) -> Result<Self, FileError> {
        let id = value
            .get("id")
            .and_then(toml::Value::as_str)
            .unwrap_or("without an id")
            .to_owned();
        let place = Place { file, rule: &id };
        let read: RuleFile = place.parse(value)?;
        if read.id.is_empty()
            || read
                .effective_to
                .is_some_and(|to| Some(to) <= read.effective_from)
        {
            return Err(place.wrong("effective_to", "an `id`, and a day after `effective_from`"));
        }
        let kind = kind(place, &read, calendars)?;
        Ok(Self {
            purposes: Mask::of(read.purposes.as_deref(), Purpose::ALL),
            modes: Mask::of(read.modes.as_deref(), DialingMode::ALL),
            kind,
            id: read.id,
            citation: read.citation,
            effective_from: read.effective_from,
            effective_to: read.effective_to,
            verified_on: read.verified_on,
            voluntary: read.voluntary,
            unconfirmed: read.unconfirmed,
            note: read.note,
        })
    }

    /// The calling hours of a campaign, as a rule of its own.
    pub(super) fn campaign_hours(hours: &CallingHours) -> Self {
        Self {
            id: "campaign_hours".to_owned(),
            citation: String::new(),
            effective_from: None,
            effective_to: None,
            verified_on: None,
            voluntary: false,
            unconfirmed: false,
            note: None,
            purposes: Mask::of(None, Purpose::ALL),
            modes: Mask::of(None, DialingMode::ALL),
            kind: Kind::Hours(Hours::of_campaign(hours)),
        }
    }

    /// Whether the rule is about the time of day or the day, and so reads nothing of a contact but its places.
    pub(super) fn is_hours(&self) -> bool {
        matches!(self.kind, Kind::Hours(_))
    }

    pub(super) fn reads_tags(&self) -> bool {
        matches!(self.kind, Kind::Allowlist { .. })
    }

    /// Whether the rule counts attempts of the past.
    pub(super) fn counts_attempts(&self) -> bool {
        matches!(self.kind, Kind::Attempts { .. } | Kind::Pause { .. })
    }

    /// The word of its kind in a file, such as `hours`.
    pub fn kind(&self) -> &'static str {
        match self.kind {
            Kind::Hours(_) => "hours",
            Kind::Attempts { .. } => "attempts",
            Kind::Pause { .. } => "pause",
            Kind::Consent { .. } => "consent",
            Kind::CallerId(_) => "caller_id",
            Kind::RingTime { .. } => "ring_time",
            Kind::Allowlist { .. } => "allowlist",
            Kind::Abandon(_) => "abandon",
            Kind::Registry(_) => "registry",
        }
    }

    /// True if the gate asks the rule. The pacing controller keeps abandon rates, and the store checks the age of registry lists.
    pub fn asked(&self) -> bool {
        !matches!(self.kind, Kind::Abandon(_) | Kind::Registry(_))
    }

    /// The registry's list, and the age in days that a copy may have, if the rule is about one.
    pub fn registry(&self) -> Option<(&str, Option<u32>)> {
        match &self.kind {
            Kind::Registry(registry) => Some((&registry.list, registry.age_days_max)),
            _ => None,
        }
    }

    pub(super) fn abandon(&self) -> Option<&AbandonFile> {
        match &self.kind {
            Kind::Abandon(abandon) => Some(abandon),
            _ => None,
        }
    }
}

impl AbandonFile {
    /// The rule as a campaign uses it.
    pub(super) fn rule(&self, name: &str) -> AbandonRule {
        AbandonRule {
            name: name.to_owned(),
            ratio_max: self.ratio_max,
            window: self.window,
            clock: self.clock,
            limit_ms: self.limit_ms,
            early_hangup: self.early_hangup,
            ring_ms_min: self.ring_ms_min,
            message: self.message,
        }
    }
}

impl Mask {
    fn of<T: Copy + PartialEq>(chosen: Option<&[T]>, all: &[T]) -> Self {
        let chosen = chosen.unwrap_or(all);
        let bits = all.iter().enumerate().filter(|(_, word)| chosen.contains(word));
        Self(bits.fold(0, |mask, (bit, _)| mask | 1 << bit))
    }

    /// True if the set contains the word at this index of `ALL`.
    pub(super) fn has(self, word: u8) -> bool {
        self.0 >> word & 1 == 1
    }
}

fn kind(place: Place, file: &RuleFile, calendars: &[Arc<Calendar>]) -> Result<Kind, FileError> {
    let mut kinds = Vec::new();
    if let Some(hours) = &file.hours {
        kinds.push(Kind::Hours(Hours::read(place, hours, false, calendars)?));
    }
    if let Some(closed) = &file.closed {
        kinds.push(Kind::Hours(Hours::read(place, closed, true, calendars)?));
    }
    if let Some(AttemptsFile { max, span: text, per }) = &file.attempts {
        if *max == 0 {
            return Err(place.wrong("attempts.max", "1 or more"));
        }
        let span = span(place, "attempts.span", text.as_deref())?;
        kinds.push(Kind::Attempts {
            max: *max,
            span,
            per: *per,
        });
    }
    if let Some(PauseFile {
        after,
        span: text,
        per,
    }) = &file.pause
    {
        let span = span(place, "pause.span", text.as_deref())?;
        kinds.push(Kind::Pause {
            after: *after,
            span,
            per: *per,
        });
    }
    kinds.extend(file.consent.as_ref().map(consent));
    kinds.extend(file.caller_id.as_ref().map(caller_id));
    kinds.extend(file.ring_time.as_ref().map(|ring| Kind::RingTime {
        ring_ms_min: ring.ring_ms_min,
    }));
    kinds.extend(file.allowlist.as_ref().map(|allowlist| Kind::Allowlist {
        tags: allowlist.tags.clone(),
        needs: allowlist.tags.join(", "),
    }));
    kinds.extend(file.abandon.clone().map(Kind::Abandon));
    kinds.extend(file.registry.clone().map(Kind::Registry));
    match (kinds.pop(), kinds.is_empty()) {
        (Some(kind), true) => Ok(kind),
        _ => Err(place.wrong(
            "id",
            "exactly one of hours, closed, attempts, pause, consent, caller_id, ring_time, allowlist, abandon, registry",
        )),
    }
}

fn consent(file: &ConsentFile) -> Kind {
    let mut kinds = file.kinds.clone();
    // A written consent is an express one.
    if kinds.contains(&ConsentKind::Express) && !kinds.contains(&ConsentKind::ExpressWritten) {
        kinds.push(ConsentKind::ExpressWritten);
    }
    let words: Vec<_> = file.kinds.iter().map(|kind| kind.as_str()).collect();
    let proof = if file.proof { ", with a proof" } else { "" };
    Kind::Consent {
        kinds,
        proof: file.proof,
        needs: format!("needs {} for the purpose of the call{proof}", words.join(" or ")),
    }
}

fn caller_id(file: &CallerIdFile) -> Kind {
    let mut needs = Vec::new();
    if file.required || !file.only_prefixes.is_empty() {
        needs.push("one must be shown".to_owned());
    }
    if !file.forbidden_prefixes.is_empty() {
        needs.push(format!(
            "none that begins with {}",
            file.forbidden_prefixes.join(", ")
        ));
    }
    if !file.only_prefixes.is_empty() {
        needs.push(format!(
            "only one that begins with {}",
            file.only_prefixes.join(", ")
        ));
    }
    Kind::CallerId(CallerIdRule {
        required: file.required,
        forbidden: file.forbidden_prefixes.clone(),
        only: file.only_prefixes.clone(),
        needs: needs.join("; "),
    })
}

impl CallerIdRule {
    /// True if a call may show this caller id. `None`: the caller id is withheld.
    pub(super) fn allows(&self, caller_id: Option<&str>) -> bool {
        match caller_id {
            None => !self.required && self.only.is_empty(),
            Some(id) => {
                let starts =
                    |prefixes: &[String]| prefixes.iter().any(|prefix| id.starts_with(prefix.as_str()));
                !starts(&self.forbidden) && (self.only.is_empty() || starts(&self.only))
            }
        }
    }
}

/// `24 hours`, `30 days` or `5 minutes`. A day has 86,400 seconds. `None`: for ever.
fn span(place: Place, field: &str, text: Option<&str>) -> Result<Option<Duration>, FileError> {
    let Some(text) = text else {
        return Ok(None);
    };
    let parsed = text.split_once(' ').and_then(|(number, unit)| {
        let number: u32 = number.parse().ok()?;
        let seconds = match unit {
            "minute" | "minutes" => 60,
            "hour" | "hours" => 3_600,
            "day" | "days" => 86_400,
            _ => return None,
        };
        // Ten years.
        let total = u64::from(number) * seconds;
        (1..=315_360_000)
            .contains(&total)
            .then(|| Duration::from_secs(total))
    });
    parsed.map(Some).ok_or_else(|| {
        place.wrong(
            field,
            "a span such as \"24 hours\", \"30 days\" or \"5 minutes\", up to ten years",
        )
    })
}
