use super::*;
use crate::contact::{ConsentKind, CountryCode};
use crate::number::NumberText;
use crate::outcome::Outcome;
use crate::time::Wall;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

mod campaign;
mod forecast;
mod kinds;
mod outside;
mod overlays;
mod search;

fn ms(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_millisecond()
}

fn at(text: &str) -> Wall {
    Wall(ms(text))
}

/// A call with its facts, as a test changes them. By default a marketing call to a number in one zone of a country.
#[derive(Clone, Debug)]
struct Call {
    at: Wall,
    ring: Duration,
    purpose: Purpose,
    mode: DialingMode,
    subject: Option<&'static str>,
    debt: Option<&'static str>,
    caller_id: Option<&'static str>,
    possible: bool,
    country: Option<&'static str>,
    states: Vec<State>,
    zones: Vec<Zone>,
    address: Option<(&'static str, Vec<State>, Vec<Zone>)>,
    own_zone: Option<Zone>,
    own_state: Option<State>,
    tags: Vec<&'static str>,
    consents: Vec<ConsentFact>,
    history: Vec<PastAttempt<'static>>,
    suppressed: Vec<&'static str>,
    named: Vec<&'static str>,
    book: Arc<Rulebook>,
}

fn call(country: &'static str, states: &[&str], zones: &[&str], at: &str) -> Call {
    Call {
        at: self::at(at),
        ring: Duration::from_secs(20),
        purpose: Purpose::Marketing,
        mode: DialingMode::Predictive,
        subject: None,
        debt: None,
        caller_id: Some("+12125550100"),
        possible: true,
        country: Some(country),
        states: states.iter().map(|state| State::new(state).unwrap()).collect(),
        zones: zones.iter().map(|zone| Zone::named(zone).unwrap()).collect(),
        address: None,
        own_zone: None,
        own_state: None,
        tags: Vec::new(),
        consents: Vec::new(),
        history: Vec::new(),
        suppressed: Vec::new(),
        named: Vec::new(),
        book: Rulebook::shipped().unwrap().clone(),
    }
}

fn new_york(at: &str) -> Call {
    call("US", &["NY"], &["America/New_York"], at)
}

fn attempt(at: &str, outcome: Outcome) -> PastAttempt<'static> {
    PastAttempt {
        at: self::at(at),
        number: Some(NumberText("+12125550123")),
        campaign: Some("c1"),
        subject: None,
        debt: None,
        outcome,
        disposition: None,
    }
}

fn consent(kind: ConsentKind) -> ConsentFact {
    ConsentFact {
        kind: Some(kind),
        scope: Some(Purpose::Marketing),
        granted_at: at("2020-01-01T00:00:00Z"),
        expires_at: None,
        proven: true,
    }
}

impl Call {
    /// The verdict in words (`allow`, `deny` or the time of a defer), and each reason as `profile/rule`.
    fn decide(&self) -> (String, Vec<String>) {
        let number = NumberText("+12125550123");
        let call = PlannedCall {
            at: self.at,
            ring_timeout: self.ring,
            purpose: self.purpose,
            mode: self.mode,
            campaign: Some("c1"),
            subject: self.subject,
            debt: self.debt,
            caller_id: self.caller_id.map(NumberText),
            number,
        };
        let places = |country, states, zones| Places {
            possible: self.possible,
            country: Some(country),
            line: None,
            states,
            zones,
        };
        let country = |code: &str| CountryCode::new(code).unwrap();
        let facts = Facts {
            number: Places {
                country: self.country.map(country),
                ..places(country("US"), &self.states, &self.zones)
            },
            address: self
                .address
                .as_ref()
                .map(|(code, states, zones)| places(country(code), states, zones)),
            contact: ContactFacts {
                time_zone: self.own_zone,
                country: self.address.as_ref().map(|(code, _, _)| country(code)),
                state: self.own_state,
                tags: &self.tags,
                consents: &self.consents,
            },
            history: &self.history,
            suppressed: &self.suppressed,
            outside: None,
        };
        let policy = match self.named.is_empty() {
            true => Policy::by_place(self.book.clone()),
            false => Policy::named(self.book.clone(), &self.named).unwrap(),
        };
        let decision = policy.decide(&call, &facts);
        assert!(
            decision
                .reasons
                .iter()
                .all(|reason| !reason.datum.to_string().is_empty())
        );
        let verdict = match decision.verdict {
            GateVerdict::Defer { until_ms } => Timestamp::from_millisecond(until_ms.0).unwrap().to_string(),
            verdict => verdict.as_str().to_owned(),
        };
        let reasons = decision
            .reasons
            .iter()
            .map(|reason| format!("{}/{}", reason.profile, reason.rule));
        (verdict, reasons.collect())
    }

    fn verdict(&self) -> String {
        self.decide().0
    }

    /// The rules that do not allow.
    fn blockers(&self) -> Vec<String> {
        let (verdict, reasons) = self.decide();
        if verdict == "allow" { Vec::new() } else { reasons }
    }

    fn with(&self, change: impl FnOnce(&mut Call)) -> Call {
        let mut changed = self.clone();
        change(&mut changed);
        changed
    }
}
