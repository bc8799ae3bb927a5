//! The contacts of a task that wait, counted by what they wait for.

use super::super::{RuleCount, moment};
use super::{Blocker, BlockerKind, Counted, utc};
use crate::api::ApiState;
use crate::store::{LaterBy, TaskStanding};
use paceline_core::gate::{ForecastReason, ForecastReport, RuleReason, RuleVerdict, Rulebook};
use paceline_core::time::Wall;
use std::collections::BTreeMap;

/// The contacts of a task that wait, or that the gate has denied.
pub(super) struct WaitingContacts {
    by: BTreeMap<BlockerKind, Waiting>,
    /// Contacts that may be dialed now.
    pub(super) callable: u64,
}

#[derive(Default)]
struct Waiting {
    contacts: u64,
    /// Those of them that are finished, or will be: the gate denies them.
    denied: u64,
    estimated: bool,
    first: Option<Wall>,
    rules: BTreeMap<(String, String), (RuleReason, u64)>,
}

/// A number of contacts, and those of them that were looked at.
#[derive(Clone, Copy)]
struct Sample {
    all: u64,
    looked_at: u64,
}

impl Sample {
    /// The number of contacts for which `part` of those that were looked at stand.
    fn of(self, part: u64) -> u64 {
        let scaled = u128::from(part) * u128::from(self.all) / u128::from(self.looked_at.max(1));
        u64::try_from(scaled).unwrap_or(u64::MAX)
    }

    fn is_estimate(self) -> bool {
        self.looked_at < self.all
    }
}

impl WaitingContacts {
    /// `said`: what the gate says of the next due contacts. `denied`: all contacts that the gate has denied.
    pub(super) fn new(state: &ApiState, standing: TaskStanding, said: &ForecastReport, denied: u64) -> Self {
        let mut by = BTreeMap::new();
        let book: &Rulebook = &state.rules;
        for bucket in standing.waiting {
            let whole = Sample {
                all: bucket.contacts,
                looked_at: bucket.contacts,
            };
            let deciding = bucket.reasons.into_iter().next();
            let until = Some(bucket.until);
            add_rule(&mut by, book, deciding, bucket.contacts, whole, until);
        }
        let due = Sample {
            all: standing.due,
            looked_at: said.contacts,
        };
        let reasons = said.skipped_by.iter().chain(&said.waiting_by);
        for ForecastReason { example, contacts } in reasons {
            add_rule(&mut by, book, Some(example.clone()), *contacts, due, None);
        }
        let later = sample(standing.later, &standing.later_by);
        for (reason, contacts) in standing.later_by {
            match reason {
                LaterBy::Gate(rule) => add_rule(&mut by, book, Some(rule), contacts, later, None),
                LaterBy::Retry(_) => add(&mut by, BlockerKind::Retry, contacts, later),
                LaterBy::Other => add(&mut by, BlockerKind::NumberInUse, contacts, later),
            }
        }
        let finished = sample(denied, &standing.denied_by);
        for (rule, contacts) in standing.denied_by {
            add_rule(&mut by, book, Some(rule), contacts, finished, None);
        }
        Self {
            by,
            callable: due.of(said.callable),
        }
    }

    pub(super) fn blockers(self) -> impl Iterator<Item = Blocker> {
        self.by.into_iter().map(|(kind, waiting)| waiting.blocker(kind))
    }
}

fn sample<T>(all: u64, looked_at: &[(T, u64)]) -> Sample {
    Sample {
        all,
        looked_at: looked_at.iter().map(|(_, contacts)| *contacts).sum(),
    }
}

fn add(by: &mut BTreeMap<BlockerKind, Waiting>, kind: BlockerKind, part: u64, of: Sample) {
    let waiting = by.entry(kind).or_default();
    waiting.contacts += of.of(part);
    waiting.estimated |= of.is_estimate();
}

fn add_rule(
    by: &mut BTreeMap<BlockerKind, Waiting>,
    book: &Rulebook,
    rule: Option<RuleReason>,
    part: u64,
    of: Sample,
    until: Option<Wall>,
) {
    let Some(rule) = rule else { return };
    let kind = BlockerKind::of_rule(book, &rule);
    add(by, kind, part, of);
    let waiting = by.entry(kind).or_default();
    let contacts = of.of(part);
    if rule.verdict == RuleVerdict::Deny {
        waiting.denied += contacts;
    }
    waiting.first = waiting.first.into_iter().chain(until).min();
    let key = (rule.profile.clone(), rule.rule.clone());
    waiting.rules.entry(key).or_insert((rule, 0)).1 += contacts;
}

impl Waiting {
    fn blocker(self, kind: BlockerKind) -> Blocker {
        let mut rules: Vec<_> = self.rules.into_values().collect();
        rules.sort_by_key(|(_, contacts)| std::cmp::Reverse(*contacts));
        let about = if self.estimated { "about " } else { "" };
        let count = self.contacts;
        let first = self
            .first
            .map_or_else(String::new, |at| format!(", the first until {}", moment(at)));
        let names: Vec<_> = rules
            .iter()
            .map(|(rule, _)| format!("{} {}", rule.profile, rule.rule))
            .collect();
        let names = match names.as_slice() {
            [] => String::new(),
            names => format!(" ({})", names.join(", ")),
        };
        let of = format!("{about}{count}{names}");
        let text = match kind {
            BlockerKind::CallingHours => format!("Contacts that wait for calling hours: {of}{first}."),
            BlockerKind::DoNotCall => format!(
                "Contacts whose numbers are listed: {of}. They are not called. POST /api/v1/dnc/check shows the lists of a number."
            ),
            BlockerKind::Consent => format!(
                "Contacts without a consent that a rule asks for: {of}. Import their consents: then the gate looks at them again."
            ),
            BlockerKind::AttemptCap => format!("Contacts with as many attempts as the rules allow: {of}."),
            BlockerKind::Pause => format!("Contacts in a pause after an earlier call: {of}."),
            BlockerKind::OutsideCheck => format!(
                "Contacts that wait for the outside check: {about}{}; contacts that it refuses: {about}{}. docs/outside-checks.md tells \
                 more.",
                count.saturating_sub(self.denied),
                self.denied
            ),
            BlockerKind::Place => format!("Contacts whose numbers are in no place with known rules: {of}."),
            BlockerKind::Retry => format!("Contacts that wait for a retry: {of}."),
            BlockerKind::NumberInUse => format!(
                "Contacts whose number another contact has in use, or that were given back a moment ago: {of}."
            ),
            _ => format!(
                "Contacts that other rules keep back: {of}. GET /api/v1/contacts/{{id}}/why has the reasons of one."
            ),
        };
        Blocker {
            count: Some(count),
            of: Some(Counted::Contacts),
            estimated: self.estimated,
            until: utc(self.first),
            rules: rules
                .into_iter()
                .map(|(rule, contacts)| RuleCount::new(rule, contacts))
                .collect(),
            ..Blocker::new(kind, text)
        }
    }
}
