//! What the gate would say of a whole list of contacts: how many it allows, defers and denies at the start, by which rules, and
//! how many may be called in each hour to come.
//!
//! Input: contacts with their facts, one by one ([`Forecast::add`]). Output: [`ForecastReport`]. The memory does not grow with the
//! list: contacts without past attempts that are in the same places, with consents that count alike, have the same answer at every
//! time, so the gate is asked about one of them. A contact with past attempts, or one that the outside check knows, is asked about
//! once more, for the end of its caps, its pauses and its wait for the check; from then on its hours are those of the others. Calls
//! that the list itself will cause are not foreseen.

use super::{
    CampaignPolicy, ConsentFact, Datum, Decision, Facts, GateVerdict, Locality, PlannedCall, Reason,
    RuleReason,
};
use crate::number::NumberText;
use crate::time::Wall;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Hours of a forecast: one week. The first may be shorter than an hour.
pub const FORECAST_HOURS: usize = 168;

const HOUR_MS: i64 = 3_600_000;
/// How far ahead a decision may look, and one day more.
const SEARCH: Duration = Duration::from_secs(401 * 86_400);
/// Groups that are kept. Contacts of further groups are asked about one by one, which takes longer.
const GROUPS_MAX: usize = 8_192;
/// Groups that are kept beside them for consents that expire within the forecast: every contact may have an end of its own.
const EXPIRING_MAX: usize = 4_096;

/// A forecast in the making.
#[derive(Clone, Debug)]
pub struct Forecast {
    policy: Arc<CampaignPolicy>,
    from: Wall,
    ring_timeout: Duration,
    /// A cap or a pause takes effect within the forecast, so past attempts may block a contact anew.
    caps_begin: bool,
    places: BTreeMap<Alike, usize>,
    groups: Vec<Group>,
    /// How many of the groups have consents that expire.
    expiring: usize,
    totals: ForecastReport,
    skipped: BTreeMap<ReasonKey, ForecastReason>,
    waiting: BTreeMap<ReasonKey, ForecastReason>,
}

/// What the gate would say of a list of contacts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForecastReport {
    /// Contacts that the gate was asked about.
    pub contacts: u64,
    /// Contacts that it allows at the start.
    pub callable: u64,
    /// Contacts that it defers at the start.
    pub waiting: u64,
    /// Contacts that it denies at the start. They are not called.
    pub skipped: u64,
    /// Contacts that wait until after the last hour.
    pub later: u64,
    /// The rules that deny, those with the most contacts first. Each contact counts once, for the rule that decided.
    pub skipped_by: Vec<ForecastReason>,
    /// The rules that defer, likewise.
    pub waiting_by: Vec<ForecastReason>,
    /// The hours, [`FORECAST_HOURS`] of them.
    pub hours: Vec<ForecastHour>,
}

/// The contacts that one rule denies or defers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForecastReason {
    /// What the rule says of one of these contacts.
    pub example: RuleReason,
    /// Number of contacts.
    pub contacts: u64,
}

/// One hour of a forecast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForecastHour {
    /// Its beginning, a whole hour of UTC, or the start of the forecast.
    pub from: Wall,
    /// Contacts that may be called at some time within the hour.
    pub callable: u64,
    /// Those of them that may not be called earlier.
    pub first: u64,
}

/// Profile, rule, and for suppression lists the list.
type ReasonKey = (String, String, String);

/// What the gate's answers depend on, for a contact without past attempts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Alike {
    locality: Locality,
    tags: Vec<String>,
    consents: Vec<ConsentFact>,
}

/// Contacts that are alike.
#[derive(Clone, Debug)]
struct Group {
    open: OpenHours,
    /// A consent that expires at this time or later counts like one that never does.
    decided_until: Wall,
    verdict: Said,
    /// Contacts without past attempts.
    contacts: u64,
    /// Contacts whose past attempts let them be called first within this hour, later than their group.
    from_hour: BTreeMap<usize, u64>,
}

/// A decision, as far as the forecast counts it.
#[derive(Clone, Debug)]
struct Said {
    verdict: GateVerdict,
    reason: Option<(ReasonKey, RuleReason)>,
}

/// The hours in which a contact may be called, by their place, and the place of the first.
#[derive(Clone, Debug, Default)]
struct OpenHours {
    open: Vec<usize>,
    later: bool,
}

impl Forecast {
    /// A forecast of calls from this time on.
    pub fn new(policy: Arc<CampaignPolicy>, from: Wall) -> Self {
        let hours = (0..FORECAST_HOURS).map(|hour| ForecastHour {
            from: Wall(begin(from, hour)),
            ..ForecastHour::default()
        });
        let until = Wall(begin(from, FORECAST_HOURS));
        Self {
            ring_timeout: policy.config().settings.dialing.ring_timeout(),
            caps_begin: policy.rules().a_cap_begins(from, until),
            from,
            places: BTreeMap::new(),
            groups: Vec::new(),
            expiring: 0,
            totals: ForecastReport {
                hours: hours.collect(),
                ..ForecastReport::default()
            },
            skipped: BTreeMap::new(),
            waiting: BTreeMap::new(),
            policy,
        }
    }

    /// Asks the gate about a call to a contact by this number and about this debt.
    pub fn add(&mut self, number: NumberText, debt: Option<&str>, facts: &Facts) {
        let policy = Arc::clone(&self.policy);
        let call = PlannedCall {
            number,
            debt,
            ..policy.call(self.from, self.ring_timeout)
        };
        self.totals.contacts += 1;
        let alike = facts.suppressed.is_empty().then(|| Locality::of(facts)).flatten();
        let Some(locality) = alike else {
            // Denied, whatever the rules of regulators say.
            let said = self.said(&call, facts);
            self.count(&said, 1);
            return;
        };
        let base = Facts {
            history: &[],
            outside: None,
            ..*facts
        };
        if facts.history.is_empty() && facts.outside.is_none() {
            match self.group(locality, &call, &base) {
                Some(group) => group.contacts += 1,
                None => self.count_alone(&call, facts),
            }
            return;
        }
        if self.caps_begin {
            return self.count_alone(&call, facts);
        }
        let said = self.said(&call, facts);
        let first = match said.verdict {
            GateVerdict::Allow => Some(0),
            GateVerdict::Defer { until_ms } => self.hour_of(until_ms),
            GateVerdict::Deny => {
                self.count(&said, 1);
                return;
            }
        };
        match self.group(locality, &call, &base) {
            Some(group) => {
                *group
                    .from_hour
                    .entry(first.unwrap_or(FORECAST_HOURS))
                    .or_default() += 1;
                self.count(&said, 1);
            }
            None => self.count_alone(&call, facts),
        }
    }

    /// The result.
    pub fn report(mut self) -> ForecastReport {
        for group in std::mem::take(&mut self.groups) {
            self.count(&group.verdict, group.contacts);
            self.count_hours(&group.open, group.contacts);
            for (first, contacts) in group.from_hour {
                let mut open = vec![first];
                open.extend(group.open.open.iter().filter(|hour| **hour > first));
                open.retain(|hour| *hour < FORECAST_HOURS);
                let later = open.is_empty();
                self.count_hours(&OpenHours { open, later }, contacts);
            }
        }
        let sorted = |reasons: BTreeMap<ReasonKey, ForecastReason>| {
            let mut reasons: Vec<_> = reasons.into_values().collect();
            reasons.sort_by_key(|reason| std::cmp::Reverse(reason.contacts));
            reasons
        };
        ForecastReport {
            skipped_by: sorted(self.skipped),
            waiting_by: sorted(self.waiting),
            ..self.totals
        }
    }

    fn said(&self, call: &PlannedCall, facts: &Facts) -> Said {
        self.policy.decide(call, facts, |decision| Said {
            verdict: decision.verdict,
            reason: decision.deciding().map(|reason| (key(reason), reason.into())),
        })
    }

    fn count(&mut self, said: &Said, contacts: u64) {
        let (total, reasons) = match said.verdict {
            GateVerdict::Allow => {
                self.totals.callable += contacts;
                return;
            }
            GateVerdict::Defer { .. } => (&mut self.totals.waiting, &mut self.waiting),
            GateVerdict::Deny => (&mut self.totals.skipped, &mut self.skipped),
        };
        *total += contacts;
        if let Some((key, example)) = said.reason.as_ref().filter(|_| contacts > 0) {
            let reason = reasons.entry(key.clone()).or_insert_with(|| ForecastReason {
                example: example.clone(),
                contacts: 0,
            });
            reason.contacts += contacts;
        }
    }

    fn count_hours(&mut self, open: &OpenHours, contacts: u64) {
        for (n, hour) in open.open.iter().enumerate() {
            if let Some(hour) = self.totals.hours.get_mut(*hour) {
                hour.callable += contacts;
                hour.first += if n == 0 { contacts } else { 0 };
            }
        }
        if open.later {
            self.totals.later += contacts;
        }
    }

    /// Asks the gate about every hour of one contact.
    fn count_alone(&mut self, call: &PlannedCall, facts: &Facts) {
        let (said, open, _) = self.open_hours(call, facts);
        self.count(&said, 1);
        self.count_hours(&open, 1);
    }

    /// The group of a contact. `None`: there are too many groups.
    fn group(&mut self, locality: Locality, call: &PlannedCall, facts: &Facts) -> Option<&mut Group> {
        let purpose = self.policy.purpose();
        let begins = self.from.plus(self.ring_timeout);
        let counts = |consent: &&ConsentFact| {
            let is_over = consent.expires_at.is_some_and(|at| at < begins);
            consent.kind.is_some() && consent.scope == Some(purpose) && !is_over
        };
        let mut consents: Vec<ConsentFact> = facts.contact.consents.iter().filter(counts).copied().collect();
        for consent in &mut consents {
            consent.granted_at = consent.granted_at.max(self.from);
        }
        let tags = facts.contact.tags.iter().map(|tag| (*tag).to_owned());
        let mut alike = Alike {
            locality,
            tags: tags.collect(),
            consents,
        };
        let exact = alike.consents.clone();
        let mut expires = None;
        for consent in &mut alike.consents {
            expires = expires.into_iter().chain(consent.expires_at.take()).min();
        }
        alike.consents.sort_unstable();
        alike.consents.dedup();
        let found = self.place(&alike, call, facts)?;
        let decided_until = self.groups.get(found)?.decided_until;
        if expires.is_none_or(|expires| expires >= decided_until) {
            return self.groups.get_mut(found);
        }
        alike.consents = exact;
        alike.consents.sort_unstable();
        alike.consents.dedup();
        let found = self.place(&alike, call, facts)?;
        self.groups.get_mut(found)
    }

    fn place(&mut self, alike: &Alike, call: &PlannedCall, facts: &Facts) -> Option<usize> {
        if let Some(found) = self.places.get(alike) {
            return Some(*found);
        }
        let expires = alike.consents.iter().any(|consent| consent.expires_at.is_some());
        let full = match expires {
            true => self.expiring >= EXPIRING_MAX,
            false => self.groups.len() - self.expiring >= GROUPS_MAX,
        };
        if full {
            return None;
        }
        let mut facts = *facts;
        facts.contact.consents = &alike.consents;
        let (verdict, open, decided_until) = self.open_hours(call, &facts);
        let index = self.groups.len();
        self.expiring += usize::from(expires);
        self.groups.push(Group {
            open,
            decided_until,
            verdict,
            contacts: 0,
            from_hour: BTreeMap::new(),
        });
        self.places.insert(alike.clone(), index);
        Some(index)
    }

    /// The decision at the start, the hours in which the gate allows the call, and the last time that a decision looked at.
    fn open_hours(&self, call: &PlannedCall, facts: &Facts) -> (Said, OpenHours, Wall) {
        let said = self.said(call, facts);
        let mut hours = OpenHours::default();
        let mut decided_until = Wall(begin(self.from, FORECAST_HOURS));
        // A contact that is denied at the start is not called later either.
        let mut hour = match said.verdict {
            GateVerdict::Allow | GateVerdict::Defer { .. } => 0,
            GateVerdict::Deny => FORECAST_HOURS,
        };
        if said.verdict == GateVerdict::Deny {
            decided_until = self.from.plus(SEARCH);
        }
        while hour < FORECAST_HOURS {
            let at = Wall(begin(self.from, hour));
            let verdict = self
                .policy
                .decide(&PlannedCall { at, ..*call }, facts, verdict_of);
            match verdict {
                GateVerdict::Allow => hours.open.push(hour),
                GateVerdict::Defer { until_ms } => {
                    decided_until = decided_until.max(until_ms);
                    match self.hour_of(until_ms) {
                        Some(found) => {
                            hours.open.push(found);
                            hour = found;
                        }
                        None => hour = FORECAST_HOURS,
                    }
                }
                GateVerdict::Deny => decided_until = self.from.plus(SEARCH),
            }
            hour += 1;
        }
        hours.later = hours.open.is_empty() && said.verdict != GateVerdict::Deny;
        (said, hours, decided_until.plus(self.ring_timeout))
    }

    /// The place of the hour that holds this time. `None`: it is after the last.
    fn hour_of(&self, at: Wall) -> Option<usize> {
        let hours = at.0.div_euclid(HOUR_MS) - self.from.0.div_euclid(HOUR_MS);
        let hour = usize::try_from(hours).ok();
        hour.filter(|hour| *hour < FORECAST_HOURS)
    }
}

fn verdict_of(decision: &Decision) -> GateVerdict {
    decision.verdict
}

fn key(reason: &Reason) -> ReasonKey {
    let lists = match reason.datum {
        Datum::Lists(names) => names.join(", "),
        Datum::Hours { .. }
        | Datum::Attempts { .. }
        | Datum::Pause { .. }
        | Datum::Consent { .. }
        | Datum::CallerId { .. }
        | Datum::RingTime { .. }
        | Datum::Allowlist { .. }
        | Datum::Outside { .. }
        | Datum::Text(_) => String::new(),
    };
    (reason.profile.to_owned(), reason.rule.to_owned(), lists)
}

/// The beginning of an hour by its place. The first begins with the forecast, the others with a whole hour of UTC.
fn begin(from: Wall, hour: usize) -> i64 {
    let whole = from.0.div_euclid(HOUR_MS);
    let hour = i64::try_from(hour).unwrap_or(i64::MAX / HOUR_MS);
    (whole.saturating_add(hour)).saturating_mul(HOUR_MS).max(from.0)
}
