//! Selects the rules for a call and makes the decision from their verdicts. Start at [`Policy::decide`].

use super::judge::{Asked, Case};
use super::rule::Rule;
use super::rulebook::{Chosen, Profile, Rulebook};
use super::{
    ContactFacts, Datum, Decision, Facts, GateVerdict, Locality, Places, PlannedCall, Reason, RuleVerdict,
    State, Zone,
};
use crate::campaign::hours::CallingHours;
use crate::contact::CountryCode;
use crate::outside::{OutsideFact, OutsideRuling, OutsideService};
use crate::time::Wall;
use std::sync::Arc;

/// The rules of a campaign: those of the place of each call, or those of named profiles; and all overlays.
#[derive(Clone, Debug)]
pub struct Policy {
    book: Arc<Rulebook>,
    /// The named profiles, one bit for each profile of the book. `None`: chosen by place.
    named: Option<u64>,
    /// True: the profiles of the place are asked besides the named ones.
    by_place_too: bool,
    /// The campaign's own calling hours: rules that every call is asked.
    own: Option<Arc<Profile>>,
}

/// No profile has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no profile of this name: `paceline gate --list` prints all")]
pub struct UnknownProfile {
    /// Its place in the list of names, from 0.
    pub index: usize,
}

/// All places in which the callee may be, by the number and by the contact's address.
#[derive(Clone, Copy)]
pub(super) struct Whereabouts<'a> {
    pub(super) countries: [Option<CountryCode>; 2],
    pub(super) states: [&'a [State]; 2],
    pub(super) zones: [&'a [Zone]; 2],
}

const PACELINE: &str = "paceline";

impl Policy {
    /// The rules of the number's place and of the contact's address.
    pub fn by_place(book: Arc<Rulebook>) -> Self {
        Self {
            book,
            named: None,
            by_place_too: true,
            own: None,
        }
    }

    /// The rules of these profiles, whatever the place. A number or an address in none of their countries is denied.
    ///
    /// # Errors
    /// [`UnknownProfile`].
    pub fn named<S: AsRef<str>>(book: Arc<Rulebook>, names: &[S]) -> Result<Self, UnknownProfile> {
        let mut named = 0;
        for (index, name) in names.iter().enumerate() {
            let found = book
                .profiles()
                .iter()
                .position(|profile| profile.name == name.as_ref());
            named |= 1 << found.ok_or(UnknownProfile { index })?;
        }
        Ok(Self {
            book,
            named: Some(named),
            by_place_too: false,
            own: None,
        })
    }

    /// The same rules, and besides them those of the number's place and of the contact's address. A number or an address in none
    /// of the countries of the named profiles is still denied.
    #[must_use]
    pub fn and_by_place(self) -> Self {
        Self {
            by_place_too: true,
            ..self
        }
    }

    /// No rules for any place: every call is denied.
    pub(super) fn nowhere(book: Arc<Rulebook>) -> Self {
        Self {
            book,
            named: Some(0),
            by_place_too: false,
            own: None,
        }
    }

    /// The same rules, and beside them a campaign's own calling hours, in every plausible zone of the callee.
    #[must_use]
    pub fn with_hours(self, hours: &CallingHours) -> Self {
        let own = Profile {
            name: PACELINE.to_owned(),
            regulator: PACELINE.to_owned(),
            place: String::new(),
            countries: Vec::new(),
            states: Vec::new(),
            chosen: Chosen::Always,
            note: None,
            rules: vec![Rule::campaign_hours(hours)],
        };
        Self {
            own: Some(Arc::new(own)),
            ..self
        }
    }

    /// All profiles.
    pub fn book(&self) -> &Rulebook {
        &self.book
    }

    /// True if a rule that may be asked reads the tags of the contact.
    pub fn reads_tags(&self) -> bool {
        let profiles = self.book.profiles().iter().enumerate();
        let mut asked = profiles.filter(|(index, profile)| match (self.named, profile.chosen) {
            (_, Chosen::Always) | (None, Chosen::ByPlace) => true,
            (Some(named), Chosen::ByPlace | Chosen::ByName) if named >> index & 1 == 1 => true,
            (Some(_), Chosen::ByPlace) => self.by_place_too,
            (_, Chosen::ByName) => false,
        });
        asked.any(|(_, profile)| profile.rules.iter().any(Rule::reads_tags))
    }

    /// Decides about a call.
    ///
    /// If any rule denies, the call is denied. If all rules allow, it is allowed. Otherwise it waits until the first whole
    /// second at which all rules, asked then with the same facts, would allow; if there is none within 400 days, it is
    /// denied.
    pub fn decide<'a>(&'a self, call: &'a PlannedCall<'a>, facts: &'a Facts<'a>) -> Decision<'a> {
        let mut reasons = Vec::with_capacity(24);
        listed(facts, &mut reasons);
        reasons.extend(checked(call, facts));
        let place = Whereabouts::of(facts);
        if !facts.number.possible {
            reasons.push(denied("impossible_number", "the number plan has no such number"));
        } else if !place.known(facts) {
            reasons.push(denied(
                "no_zone",
                "the number, or the address, is in no known time zone",
            ));
        } else if let Some(misplaced) = self.misplaced(&place) {
            reasons.push(misplaced);
            if self.named.is_some() {
                return self.judged(call, facts, place, reasons);
            }
        } else {
            return self.judged(call, facts, place, reasons);
        }
        decision(GateVerdict::Deny, reasons)
    }

    fn judged<'a>(
        &'a self,
        call: &'a PlannedCall<'a>,
        facts: &'a Facts<'a>,
        place: Whereabouts<'a>,
        mut reasons: Vec<Reason<'a>>,
    ) -> Decision<'a> {
        let case = Case::new(call, facts, place.zones);
        let mut rules: Vec<Asked> = Vec::with_capacity(24);
        for profile in self.profiles(&place) {
            let asked = profile.rules.iter().filter_map(|rule| case.ask(profile, rule));
            rules.extend(asked);
        }
        reasons.extend(rules.iter().filter_map(|rule| case.reason(rule, call.at.0)));
        let said = |verdict| reasons.iter().any(|reason: &Reason| reason.verdict == verdict);
        if said(RuleVerdict::Deny) {
            return decision(GateVerdict::Deny, reasons);
        }
        if !said(RuleVerdict::Defer) {
            return decision(GateVerdict::Allow, reasons);
        }
        let from = match facts.outside.map(|outside| outside.rule(call.at)) {
            Some(OutsideRuling::Defer { until, .. }) => until,
            Some(OutsideRuling::Allow(_) | OutsideRuling::Deny) | None => call.at,
        };
        match case.next_allowed(&rules, from) {
            Some(at) => decision(GateVerdict::Defer { until_ms: Wall(at) }, reasons),
            None => {
                reasons.push(denied(
                    "never",
                    "no moment within 400 days is allowed by all rules",
                ));
                decision(GateVerdict::Deny, reasons)
            }
        }
    }

    /// Whether the rules of hours alone let nobody in these places be called now. Such a decision holds for all contacts with
    /// this locality, whatever else is known of them: none of them may be called before its `until`. `None`: the hours are
    /// open, or each contact must be asked about.
    pub fn closed<'a>(&'a self, call: &'a PlannedCall<'a>, locality: &'a Locality) -> Option<Decision<'a>> {
        const NOTHING: &Facts<'static> = &Facts {
            number: Places {
                possible: true,
                country: None,
                line: None,
                states: &[],
                zones: &[],
            },
            address: None,
            contact: ContactFacts {
                time_zone: None,
                country: None,
                state: None,
                tags: &[],
                consents: &[],
            },
            history: &[],
            suppressed: &[],
            outside: None,
        };
        let place = locality.whereabouts();
        if self.misplaced(&place).is_some() {
            return None;
        }
        let case = Case::new(call, NOTHING, place.zones);
        let profiles = self.profiles(&place);
        let rules = profiles.flat_map(|profile| profile.rules.iter().map(move |rule| (profile, rule)));
        let hours = rules.filter(|(_, rule)| rule.is_hours());
        let rules: Vec<Asked> = hours
            .filter_map(|(profile, rule)| case.ask(profile, rule))
            .collect();
        let reasons = rules.iter().filter_map(|rule| case.reason(rule, call.at.0));
        let reasons: Vec<_> = reasons
            .filter(|reason| reason.verdict != RuleVerdict::Allow)
            .collect();
        if reasons.is_empty() {
            return None;
        }
        let until_ms = Wall(case.next_allowed(&rules, call.at)?);
        Some(decision(GateVerdict::Defer { until_ms }, reasons))
    }

    /// The decision over all calls to numbers without an answer of the outside check, in this state of the service. `None`: they may
    /// be made.
    pub fn unanswered(service: &OutsideService, at: Wall) -> Option<Decision<'_>> {
        let fact = OutsideFact {
            answer: None,
            service,
        };
        match fact.rule(at) {
            OutsideRuling::Defer { until, .. } => Some(decision(
                GateVerdict::Defer { until_ms: until },
                vec![outside(fact, at)],
            )),
            OutsideRuling::Allow(_) | OutsideRuling::Deny => None,
        }
    }

    /// Whether a rule that counts attempts may take effect between these times, somewhere.
    pub(super) fn a_cap_begins(&self, from: Wall, until: Wall) -> bool {
        const DAY_MS: i64 = 86_400_000;
        // No zone is further than this from UTC.
        const OFFSET_MS: i64 = 16 * 3_600_000;
        let rules = self.book.profiles().iter().flat_map(|profile| &profile.rules);
        let begins = rules.filter(|rule| rule.counts_attempts());
        let mut begins = begins.filter_map(|rule| rule.effective_from);
        begins.any(|day| {
            let begins = day.days().saturating_mul(DAY_MS);
            begins.saturating_add(OFFSET_MS) >= from.0 && begins.saturating_sub(OFFSET_MS) <= until.0
        })
    }

    /// The profiles whose rules are asked about a call to this place.
    fn profiles<'a>(&'a self, place: &Whereabouts<'a>) -> impl Iterator<Item = &'a Profile> {
        let own = self.own.as_deref();
        let book = self.book.profiles().iter().enumerate();
        let chosen = book.filter(move |(index, profile)| self.chosen(*index, profile, place));
        own.into_iter().chain(chosen.map(|(_, profile)| profile))
    }

    fn chosen(&self, index: usize, profile: &Profile, place: &Whereabouts) -> bool {
        match (self.named, profile.chosen) {
            (Some(named), Chosen::ByPlace | Chosen::ByName) if named >> index & 1 == 1 => true,
            (Some(_), Chosen::ByPlace) => self.by_place_too && place.is_in(profile),
            (_, Chosen::ByName) => false,
            (None, Chosen::ByPlace) | (_, Chosen::Always) => place.is_in(profile),
        }
    }

    /// The number or the address is in a country for which there are no rules, or no named ones.
    fn misplaced(&self, place: &Whereabouts) -> Option<Reason<'static>> {
        let profiles = self.book.profiles().iter().enumerate();
        let asked = profiles.filter(|(index, profile)| match self.named {
            Some(named) => named >> index & 1 == 1,
            None => profile.chosen == Chosen::ByPlace && profile.states.is_empty(),
        });
        let covered = |country: &CountryCode| {
            asked
                .clone()
                .any(|(_, profile)| profile.countries.contains(country))
        };
        let [number, address] = &place.countries;
        if number.as_ref().is_some_and(covered) && address.as_ref().is_none_or(covered) {
            return None;
        }
        Some(match self.named {
            Some(_) => denied(
                "other_country",
                "the number or the address is in none of the countries of the profiles",
            ),
            None => denied(
                "no_profile",
                "no profile has rules for the country of the number or of the address",
            ),
        })
    }
}

impl<'a> Whereabouts<'a> {
    pub(super) fn of(facts: &'a Facts<'a>) -> Self {
        let number = &facts.number;
        let other = facts
            .contact
            .country
            .filter(|country| Some(*country) != number.country);
        let (states, zones) = match &facts.address {
            Some(address) if other.is_some() => {
                ([number.states, address.states], [number.zones, address.zones])
            }
            Some(address) if facts.contact.state.is_some() => ([address.states, &[]], [address.zones, &[]]),
            Some(_) | None => ([number.states, &[]], [number.zones, &[]]),
        };
        Self {
            countries: [number.country, other],
            states,
            zones: match &facts.contact.time_zone {
                Some(own) => [std::slice::from_ref(own), &[]],
                None => zones,
            },
        }
    }

    /// True if a time zone is known for the number, and for the address if it has a state or is in another country.
    pub(super) fn known(&self, facts: &Facts) -> bool {
        let [first, second] = self.zones;
        let zoned = |zones: &[Zone]| facts.contact.time_zone.is_some() || !zones.is_empty();
        let [_, abroad] = self.countries;
        let address_known = match (abroad, facts.contact.state) {
            (Some(_), _) => zoned(second),
            (None, Some(_)) => facts.address.is_some() && zoned(first),
            (None, None) => true,
        };
        !facts.number.zones.is_empty() && address_known
    }

    fn is_in(&self, profile: &Profile) -> bool {
        let country = |country: &CountryCode| self.countries.contains(&Some(*country));
        let in_country = profile.countries.is_empty() || profile.countries.iter().any(country);
        let state = |state: &State| self.states.iter().any(|states| states.contains(state));
        in_country && (profile.states.is_empty() || profile.states.iter().any(state))
    }
}

/// A decision with the reasons that belong to it.
fn decision(verdict: GateVerdict, mut reasons: Vec<Reason>) -> Decision {
    if verdict != GateVerdict::Allow {
        reasons.retain(|reason| reason.verdict != RuleVerdict::Allow);
    }
    Decision { verdict, reasons }
}

fn own<'a>(rule: &'static str, verdict: RuleVerdict, datum: Datum<'a>) -> Reason<'a> {
    Reason {
        profile: PACELINE,
        rule,
        citation: "",
        verdict,
        datum,
    }
}

fn denied(rule: &'static str, text: &'static str) -> Reason<'static> {
    own(rule, RuleVerdict::Deny, Datum::Text(text))
}

/// Adds the verdicts of the suppression lists and of the disposition `dnc`. They apply to every call.
fn listed<'a>(facts: &'a Facts<'a>, reasons: &mut Vec<Reason<'a>>) {
    let verdict = |denies: bool| {
        if denies {
            RuleVerdict::Deny
        } else {
            RuleVerdict::Allow
        }
    };
    let lists = Datum::Lists(facts.suppressed);
    reasons.push(own("suppressed", verdict(!facts.suppressed.is_empty()), lists));
    let dnc = facts
        .history
        .iter()
        .filter(|attempt| attempt.disposition == Some("dnc"));
    let since = dnc.map(|attempt| attempt.at).max();
    let datum = Datum::Pause { since, span: None };
    reasons.push(own("dnc_disposition", verdict(since.is_some()), datum));
}

/// The verdict of the outside check, if the campaign needs it.
fn checked<'a>(call: &PlannedCall, facts: &Facts<'a>) -> Option<Reason<'a>> {
    facts.outside.map(|fact| outside(fact, call.at))
}

fn outside(fact: OutsideFact, at: Wall) -> Reason {
    let ruling = fact.rule(at);
    let verdict = match ruling {
        OutsideRuling::Allow(_) => RuleVerdict::Allow,
        OutsideRuling::Defer { .. } => RuleVerdict::Defer,
        OutsideRuling::Deny => RuleVerdict::Deny,
    };
    let because = ruling.because();
    own("outside_check", verdict, Datum::Outside { fact, because })
}
