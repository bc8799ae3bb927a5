//! A slow and obvious model of the gate: it judges one instant by going through all rules, and finds `until` by judging
//! every instant at which the answer can change, one after the other.

use crate::book::{Asks, CallerId, ChosenFor, Per, Profile, Rule, profiles};
use crate::calendar::{DAY, MINUTE, QUARTER, SECOND, local, millis, zone};
use crate::line::{Answer, Consent, Line, Past};
use crate::places::{self, NumberPlaces};
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use std::collections::BTreeSet;
use std::sync::LazyLock;

const FORESEEN: i64 = 400 * DAY;
/// Outcomes that count as an attempt. All others (congestion, failed, blocked) did not reach the callee.
const COUNTED: [&str; 11] = [
    "answered",
    "machine",
    "busy",
    "no_answer",
    "rejected",
    "invalid",
    "fax",
    "screened",
    "abandoned",
    "cancelled",
    "unknown",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allow,
    Defer,
    Deny,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Allow => "allow",
            Verdict::Defer => "defer",
            Verdict::Deny => "deny",
        }
    }
}

type Reason = (&'static str, &'static str, Verdict);

/// The instants that the model judges when it looks for `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Steps {
    /// Only borders. Windows open and close on whole quarters of an hour of UTC; everything else begins or ends a fixed
    /// span after an instant of the line.
    Borders,
    /// Every whole second. Slow; it proves that `Borders` misses nothing.
    Seconds,
}

/// A line, with everything already looked up that does not depend on the instant.
pub(crate) struct Reference<'a> {
    line: &'a Line,
    at: i64,
    ring: i64,
    zones: Vec<TimeZone>,
    rules: Vec<(&'static str, &'static Rule)>,
    past: Vec<PastAttempt<'a>>,
    consents: Vec<Agreed<'a>>,
    /// The reasons that come from no regulator. They hold at every instant.
    own: Vec<Reason>,
}

struct PastAttempt<'a> {
    at: i64,
    counted: bool,
    row: &'a Past,
}

struct Agreed<'a> {
    from: i64,
    to: Option<i64>,
    row: &'a Consent,
}

struct Where {
    /// Country codes (`US`, `FR`) of the number and of the address.
    countries: BTreeSet<String>,
    /// Country and state.
    states: BTreeSet<(String, String)>,
    zones: BTreeSet<String>,
    country_unknown: bool,
}

fn place(line: &Line, number: &NumberPlaces) -> Where {
    let contact = &line.contact;
    let mut countries: BTreeSet<String> = number.country.iter().cloned().collect();
    countries.extend(contact.country.clone());
    let home = contact
        .country
        .clone()
        .or_else(|| number.country.clone())
        .unwrap_or_default();
    let state = contact.state.clone().filter(|_| home == "US" || home == "CA");
    let own = |country: &str, state: &str| (country.to_owned(), state.to_owned());

    let of_number = || {
        number
            .states
            .iter()
            .map(|state| own(number.country.as_deref().unwrap_or_default(), state))
    };
    let mut states = BTreeSet::new();
    let mut zones = BTreeSet::new();
    let elsewhere = contact.country.is_some() && contact.country != number.country;
    if elsewhere || state.is_none() {
        states.extend(of_number());
        zones.extend(number.zones.iter().cloned());
    }
    match &state {
        Some(state) => {
            states.insert(own(&home, state));
            let known = places::of_state(&home, state).unwrap_or_else(|| panic!("no state {home} {state}"));
            zones.extend(known.iter().map(|zone| (*zone).to_owned()));
        }
        None if elsewhere => {
            states.extend(
                places::states_of(&home)
                    .into_iter()
                    .map(|state| own(&home, state)),
            );
            zones.extend(places::of_country(&home).into_iter().map(str::to_owned));
        }
        None => {}
    }
    if let Some(zone) = &contact.time_zone {
        zones = BTreeSet::from([zone.clone()]);
    }
    // If the number has no time zone, the contact's data give it none.
    if number.zones.is_empty() {
        zones.clear();
    }
    Where {
        countries,
        states,
        zones,
        country_unknown: number.country.is_none(),
    }
}

static BOOK: LazyLock<Vec<Profile>> = LazyLock::new(profiles);

impl<'a> Reference<'a> {
    pub(crate) fn new(line: &'a Line, number: &NumberPlaces) -> Self {
        let found = place(line, number);
        let named: Vec<_> = BOOK
            .iter()
            .filter(|p| line.profiles.iter().any(|n| n == p.name))
            .collect();
        let here = |profile: &&Profile| match profile.chosen_for {
            ChosenFor::Country => found
                .countries
                .iter()
                .any(|c| profile.countries.contains(&c.as_str())),
            ChosenFor::State(state) => found.states.contains(&("US".to_owned(), state.to_owned())),
            ChosenFor::Nobody => false,
        };
        let mut chosen = if line.profiles.is_empty() {
            BOOK.iter().filter(here).collect()
        } else {
            named
        };
        let of_country = |country: &String| chosen.iter().any(|p| p.countries.contains(&country.as_str()));
        let foreign = found.country_unknown || !found.countries.iter().all(of_country);

        let mut own = vec![
            ("suppressed", !line.suppressed.is_empty()),
            (
                "dnc_disposition",
                line.history
                    .iter()
                    .any(|past| past.disposition.as_deref() == Some("dnc")),
            ),
        ];
        // If it is unknown which rules apply to the number, no rule is asked.
        if !number.possible {
            own.push(("impossible_number", true));
            chosen.clear();
        } else if found.zones.is_empty() {
            own.push(("no_zone", true));
            chosen.clear();
        } else if foreign && line.profiles.is_empty() {
            own.push(("no_profile", true));
            chosen.clear();
        } else if foreign {
            own.push(("other_country", true));
        }
        let verdict = |denies| if denies { Verdict::Deny } else { Verdict::Allow };
        let own = own
            .into_iter()
            .map(|(rule, denies)| ("paceline", rule, verdict(denies)))
            .collect();
        Reference {
            line,
            at: millis(&line.at),
            ring: line.ring_timeout_ms,
            zones: found.zones.iter().map(|name| zone(name)).collect(),
            rules: chosen
                .into_iter()
                .flat_map(|p| p.rules.iter().map(|rule| (p.name, rule)))
                .collect(),
            past: line.history.iter().map(PastAttempt::new).collect(),
            consents: line.contact.consents.iter().map(Agreed::new).collect(),
            own,
        }
    }

    pub(crate) fn answer(&self, steps: Steps) -> Answer {
        let now = self.judge(self.at, steps);
        let said = |verdict: Verdict| now.iter().any(|(_, _, v)| *v == verdict);
        if said(Verdict::Deny) {
            return answer(Verdict::Deny, None, &refusals(&now));
        }
        if !said(Verdict::Defer) {
            return answer(Verdict::Allow, None, &now);
        }
        match self.until(steps, self.at + FORESEEN) {
            Some(until) => answer(Verdict::Defer, Some(until), &refusals(&now)),
            None => {
                let mut reasons = refusals(&now);
                reasons.push(("paceline", "never", Verdict::Deny));
                answer(Verdict::Deny, None, &reasons)
            }
        }
    }

    /// The first whole second after `at`, up to `last`, at which all rules allow the call.
    pub(crate) fn until(&self, steps: Steps, last: i64) -> Option<i64> {
        let first = next_second(self.at + 1);
        match steps {
            Steps::Seconds => (first..=last)
                .step_by(usize::try_from(SECOND).unwrap())
                .find(|t| self.allows(*t, steps)),
            Steps::Borders => {
                let mut ends = self.ends_of_waiting();
                ends.push(first);
                ends.retain(|t| (first..=last).contains(t));
                ends.sort_unstable();
                let mut ends = ends.into_iter().peekable();
                let mut quarter = first.div_euclid(QUARTER) * QUARTER + QUARTER;
                loop {
                    let t = match ends.peek() {
                        Some(end) if *end <= quarter => {
                            let end = *end;
                            ends.next();
                            end
                        }
                        Some(_) | None => {
                            quarter += QUARTER;
                            quarter - QUARTER
                        }
                    };
                    if t > last {
                        return None;
                    }
                    if self.allows(t, steps) {
                        return Some(t);
                    }
                }
            }
        }
    }

    /// Every instant at which a wait can end, apart from the quarters of an hour.
    fn ends_of_waiting(&self) -> Vec<i64> {
        let mut spans = Vec::new();
        for (_, rule) in &self.rules {
            match rule.asks {
                Asks::Cap { span, .. }
                | Asks::Conversation { span }
                | Asks::Abandoned { span }
                | Asks::Refusal { span: Some(span) } => spans.push(span),
                Asks::Hours { .. }
                | Asks::NoSundays
                | Asks::NoHolidays(_)
                | Asks::Refusal { span: None }
                | Asks::Consent { .. }
                | Asks::AgentlessConsent
                | Asks::CallerId(_)
                | Asks::RingAtLeast(_) => {}
            }
        }
        let mut ends = Vec::new();
        for past in &self.past {
            ends.extend(spans.iter().map(|span| next_second(past.at + span)));
        }
        ends.extend(self.consents.iter().map(|consent| next_second(consent.from)));
        ends
    }

    pub(crate) fn allows(&self, at: i64, steps: Steps) -> bool {
        self.own.iter().all(|(_, _, verdict)| *verdict == Verdict::Allow)
            && self
                .rules
                .iter()
                .all(|(_, rule)| !matches!(self.ask(rule, at, steps), Some(Verdict::Defer | Verdict::Deny)))
    }

    fn judge(&self, at: i64, steps: Steps) -> Vec<Reason> {
        let mut reasons = self.own.clone();
        for (profile, rule) in &self.rules {
            if let Some(verdict) = self.ask(rule, at, steps) {
                reasons.push((profile, rule.name, verdict));
            }
        }
        reasons
    }

    /// `None`: the rule does not apply to this call.
    fn ask(&self, rule: &Rule, at: i64, steps: Steps) -> Option<Verdict> {
        if !self.binds(&rule.asks) {
            return None;
        }
        if let Asks::Hours { .. } | Asks::NoSundays | Asks::NoHolidays(_) = rule.asks {
            if self
                .instants(at, steps)
                .any(|t| self.in_effect(rule, t) && !self.open(&rule.asks, t))
            {
                return Some(Verdict::Defer);
            }
            return self.in_effect(rule, at).then_some(Verdict::Allow);
        }
        if !self.in_effect(rule, at) {
            return None;
        }
        let (holds, otherwise) = self.holds(&rule.asks, at);
        Some(if holds { Verdict::Allow } else { otherwise })
    }

    fn binds(&self, asks: &Asks) -> bool {
        let marketing = self.line.purpose == "marketing";
        match asks {
            Asks::Hours { .. }
            | Asks::NoSundays
            | Asks::NoHolidays(_)
            | Asks::CallerId(CallerId::Shown | CallerId::NoSpanishMobile)
            | Asks::RingAtLeast(_) => true,
            Asks::Abandoned { .. } => self.line.mode != "progressive" && self.line.mode != "preview",
            Asks::Cap { per: Per::Debt, .. } | Asks::Conversation { .. } => self.line.purpose == "debt",
            Asks::Cap {
                per: Per::Contact | Per::Subject,
                ..
            }
            | Asks::Refusal { .. }
            | Asks::Consent { .. }
            | Asks::CallerId(CallerId::Indian140) => marketing,
            Asks::AgentlessConsent => marketing && self.line.mode == "agentless",
        }
    }

    fn in_effect(&self, rule: &Rule, at: i64) -> bool {
        rule.from
            .is_none_or(|from| self.zones.iter().any(|zone| local(zone, at).date >= from))
    }

    /// The instants of a call at which the answer about calling hours can differ: its start, and every border before
    /// the ringing ends.
    fn instants(&self, at: i64, steps: Steps) -> impl Iterator<Item = i64> {
        let step = match steps {
            Steps::Borders => QUARTER,
            Steps::Seconds => SECOND,
        };
        let first = at.div_euclid(step) * step + step;
        std::iter::once(at).chain((first..at + self.ring).step_by(usize::try_from(step).unwrap()))
    }

    fn open(&self, asks: &Asks, at: i64) -> bool {
        let open_in = |zone: &TimeZone| {
            let now = local(zone, at);
            match asks {
                Asks::Hours { open, .. } => open(now.weekday)
                    .iter()
                    .any(|(from, to)| (from * MINUTE..to * MINUTE).contains(&now.clock_ms)),
                Asks::NoSundays => now.weekday != Weekday::Sunday,
                Asks::NoHolidays(days) => !days.contains(now.date),
                Asks::Cap { .. }
                | Asks::Conversation { .. }
                | Asks::Refusal { .. }
                | Asks::Consent { .. }
                | Asks::AgentlessConsent
                | Asks::CallerId(_)
                | Asks::RingAtLeast(_)
                | Asks::Abandoned { .. } => true,
            }
        };
        match asks {
            Asks::Hours {
                beside: Some(name), ..
            } => open_in(&zone(name)),
            _ => self.zones.iter().all(open_in),
        }
    }

    /// Whether the rule is satisfied, and its verdict if it is not.
    fn holds(&self, asks: &Asks, at: i64) -> (bool, Verdict) {
        match asks {
            Asks::Hours { .. } | Asks::NoSundays | Asks::NoHolidays(_) => (true, Verdict::Defer),
            Asks::Cap {
                fewer_than,
                span,
                per,
            } => {
                let within = self
                    .past
                    .iter()
                    .filter(|p| p.counted && self.same(p, *per) && p.at + span > at);
                (within.count() < *fewer_than, Verdict::Defer)
            }
            Asks::Conversation { span } => {
                let talked = |p: &PastAttempt| {
                    p.row.outcome == "answered" && self.same(p, Per::Debt) && p.at + span > at
                };
                (!self.past.iter().any(talked), Verdict::Defer)
            }
            Asks::Refusal { span } => {
                let refused = |p: &PastAttempt| p.row.disposition.as_deref() == Some("refused");
                match span {
                    Some(span) => (
                        !self.past.iter().any(|p| refused(p) && p.at + span > at),
                        Verdict::Defer,
                    ),
                    None => (!self.past.iter().any(refused), Verdict::Deny),
                }
            }
            Asks::Consent { kinds, proof } => (self.agreed(kinds, *proof, at), Verdict::Deny),
            Asks::AgentlessConsent => (self.agreed(&["express_written"], false, at), Verdict::Deny),
            Asks::CallerId(asks) => (self.caller_id(*asks), Verdict::Deny),
            Asks::RingAtLeast(least) => (self.ring >= *least, Verdict::Deny),
            Asks::Abandoned { span } => {
                let abandoned = |p: &PastAttempt| p.row.outcome == "abandoned" && p.at + span > at;
                (!self.past.iter().any(abandoned), Verdict::Defer)
            }
        }
    }

    fn same(&self, past: &PastAttempt, per: Per) -> bool {
        match per {
            Per::Contact => true,
            Per::Subject => past.row.subject == self.line.subject,
            Per::Debt => past.row.debt == self.line.debt,
        }
    }

    fn agreed(&self, kinds: &[&str], proof: bool, at: i64) -> bool {
        self.consents.iter().any(|consent| {
            kinds.contains(&consent.row.kind.as_str())
                && consent.row.scope == self.line.purpose
                && consent.from <= at
                && consent.to.is_none_or(|to| at + self.ring <= to)
                && (!proof
                    || consent
                        .row
                        .proof
                        .as_deref()
                        .is_some_and(|proof| !proof.trim().is_empty()))
        })
    }

    fn caller_id(&self, asks: CallerId) -> bool {
        let shown = self.line.caller_id.as_deref();
        match asks {
            CallerId::Shown => shown.is_some(),
            CallerId::NoSpanishMobile => {
                !shown.is_some_and(|id| id.starts_with("+346") || id.starts_with("+347"))
            }
            CallerId::Indian140 => shown.is_some_and(|id| id.starts_with("+91140")),
        }
    }
}

impl<'a> PastAttempt<'a> {
    fn new(row: &'a Past) -> Self {
        PastAttempt {
            at: millis(&row.at),
            counted: COUNTED.contains(&row.outcome.as_str()),
            row,
        }
    }
}

impl<'a> Agreed<'a> {
    fn new(row: &'a Consent) -> Self {
        Agreed {
            from: millis(&row.granted_at),
            to: row.expires_at.as_deref().map(millis),
            row,
        }
    }
}

fn next_second(at: i64) -> i64 {
    (at + SECOND - 1).div_euclid(SECOND) * SECOND
}

fn refusals(reasons: &[Reason]) -> Vec<Reason> {
    reasons
        .iter()
        .filter(|(_, _, verdict)| *verdict != Verdict::Allow)
        .copied()
        .collect()
}

fn answer(decision: Verdict, until: Option<i64>, reasons: &[Reason]) -> Answer {
    let mut reasons: Vec<_> = reasons
        .iter()
        .map(|(p, r, v)| ((*p).to_owned(), (*r).to_owned(), v.word().to_owned()))
        .collect();
    reasons.sort();
    Answer {
        decision: decision.word().to_owned(),
        until,
        reasons,
    }
}
