//! The gate over a pipe, for another dialer or a regulator's test set: one JSON object a line in, one out.
//! `docs/compliance.md` describes the fields.
//!
//! No line changes how another is answered. Start at [`Pipe::answer`].

mod instant;
pub mod line;

use line::{Complaint, Line, Required, wrong};
use paceline_core::contact::CountryCode;
use paceline_core::gate::{
    ConsentFact, ContactFacts, Decision, Facts, GateVerdict, PastAttempt, Places, PlannedCall, Policy,
    Profile, Rule, Rulebook, State, TIME_ZONE_DATA,
};
use paceline_core::number::{E164, NumberText};
use serde::Serialize;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

/// The gate with its rules, for any number of lines.
#[derive(Debug)]
pub struct Pipe {
    book: Arc<Rulebook>,
    by_place: Policy,
    text: String,
}

/// A rule as `paceline gate --list` prints it.
#[derive(Serialize)]
struct Listed<'a> {
    profile: &'a str,
    regulator: &'a str,
    place: &'a str,
    rule: &'a str,
    effective_from: Option<String>,
    effective_to: Option<String>,
    citation: &'a str,
    verified_on: Option<String>,
    voluntary: bool,
    unconfirmed: bool,
    time_zone_data: &'a str,
}

impl Pipe {
    /// A pipe with these rules.
    pub fn new(book: Arc<Rulebook>) -> Self {
        Self {
            by_place: Policy::by_place(book.clone()),
            book,
            text: String::new(),
        }
    }

    /// Writes the answer to one line, with its line end.
    ///
    /// # Errors
    /// Those of the output.
    pub fn answer(&mut self, line: &[u8], out: &mut impl Write) -> io::Result<()> {
        let Err(complaint) = self.understand(line, out)? else {
            return Ok(());
        };
        serde_json::to_writer(&mut *out, &complaint)?;
        out.write_all(b"\n")
    }

    fn understand(&mut self, line: &[u8], out: &mut impl Write) -> io::Result<Result<(), Complaint>> {
        let asked = line::read(line);
        let known = asked
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|line| Known::of(line));
        let (line, known) = match (&asked, &known) {
            (Ok(line), Ok(known)) => (line, known),
            (Err(complaint), _) | (_, Err(complaint)) => return Ok(Err(complaint.clone())),
        };
        let named;
        let policy = match line.profiles.as_deref() {
            None | Some([]) => &self.by_place,
            Some(names) => match Policy::named(self.book.clone(), names) {
                Ok(policy) => {
                    named = policy;
                    &named
                }
                Err(unknown) => {
                    let path = format!("profiles[{}]", unknown.index);
                    let error = "there is no such profile: `paceline gate --list` prints all";
                    return Ok(Err(wrong(path, error)));
                }
            },
        };
        let call = known.call(line);
        let facts = known.facts();
        write_decision(&policy.decide(&call, &facts), &mut self.text, out).map(Ok)
    }

    /// Writes every rule, also those that the gate does not ask: abandon rates and the age of registry lists.
    ///
    /// # Errors
    /// Those of the output.
    pub fn list(&self, out: &mut impl Write) -> io::Result<()> {
        for profile in self.book.profiles() {
            for rule in &profile.rules {
                serde_json::to_writer(&mut *out, &listed(profile, rule))?;
                out.write_all(b"\n")?;
            }
        }
        Ok(())
    }
}

fn listed<'a>(profile: &'a Profile, rule: &'a Rule) -> Listed<'a> {
    Listed {
        profile: &profile.name,
        regulator: &profile.regulator,
        place: &profile.place,
        rule: &rule.id,
        effective_from: rule.effective_from.map(|day| day.to_string()),
        effective_to: rule.effective_to.map(|day| day.to_string()),
        citation: &rule.citation,
        verified_on: rule.verified_on.map(|day| day.to_string()),
        voluntary: rule.voluntary,
        unconfirmed: rule.unconfirmed,
        time_zone_data: TIME_ZONE_DATA,
    }
}

/// The values of a line as the gate takes them.
struct Known<'l> {
    required: Required<'l>,
    number: Places<'static>,
    address: Option<Places<'static>>,
    country: Option<CountryCode>,
    state: Option<State>,
    zone: Option<paceline_core::gate::Zone>,
    tags: Vec<&'l str>,
    consents: Vec<ConsentFact>,
    history: Vec<PastAttempt<'l>>,
    suppressed: Vec<&'l str>,
}

impl<'l> Known<'l> {
    fn of(line: &'l Line<'_>) -> Result<Self, Complaint> {
        let required = line.required()?;
        let number = E164::new(required.number).map_or_else(|_| Places::default(), |number| places(&number));
        let contact = line.contact.as_ref().map(|contact| &contact.0);
        let (zone, country) = match contact {
            Some(contact) => (contact.zone()?, contact.country()?),
            None => (None, None),
        };
        let state = state(
            contact.and_then(|c| c.state.as_ref()).map(|state| &*state.0),
            country.or(number.country),
        )?;
        let consents = contact
            .and_then(|contact| contact.consents.as_deref())
            .unwrap_or_default();
        let consents = consents
            .iter()
            .enumerate()
            .map(|(index, consent)| consent.0.fact(index));
        let history = line.history.as_deref().unwrap_or_default().iter().enumerate();
        Ok(Self {
            address: address(country, state),
            tags: texts(contact.and_then(|contact| contact.tags.as_deref())),
            consents: consents.collect::<Result<_, _>>()?,
            history: history
                .map(|(index, past)| attempt(index, &past.0))
                .collect::<Result<_, _>>()?,
            suppressed: texts(line.suppressed.as_deref()),
            required,
            number,
            country,
            state,
            zone,
        })
    }

    fn call(&self, line: &'l Line<'_>) -> PlannedCall<'_> {
        PlannedCall {
            at: self.required.at,
            ring_timeout: Duration::from_millis(self.required.ring_ms),
            purpose: self.required.purpose,
            mode: self.required.mode,
            campaign: text(line.campaign.as_ref()),
            subject: text(line.subject.as_ref()),
            debt: text(line.debt.as_ref()),
            caller_id: text(line.caller_id.as_ref()).map(NumberText),
            number: NumberText(self.required.number),
        }
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            number: self.number,
            address: self.address,
            contact: ContactFacts {
                time_zone: self.zone,
                country: self.country,
                state: self.state,
                tags: &self.tags,
                consents: &self.consents,
            },
            history: &self.history,
            suppressed: &self.suppressed,
            outside: None,
        }
    }
}

fn text<'t>(text: Option<&'t line::Text<'_>>) -> Option<&'t str> {
    text.map(|text| &*text.0)
}

fn texts<'t>(texts: Option<&'t [line::Text<'_>]>) -> Vec<&'t str> {
    texts.unwrap_or_default().iter().map(|text| &*text.0).collect()
}

fn attempt<'l>(index: usize, past: &'l line::Past<'_>) -> Result<PastAttempt<'l>, Complaint> {
    Ok(PastAttempt {
        at: past.at(index)?,
        number: past.number(index)?.map(NumberText),
        campaign: text(past.campaign.as_ref()),
        subject: text(past.subject.as_ref()),
        debt: text(past.debt.as_ref()),
        outcome: past.outcome(index)?,
        disposition: text(past.disposition.as_ref()),
    })
}

fn places(number: &E164) -> Places<'static> {
    paceline_places::of_number(number)
}

/// The places in which an address may be: those of its state, or else of its country.
fn address(country: Option<CountryCode>, state: Option<State>) -> Option<Places<'static>> {
    match (state, country) {
        (Some(state), _) => paceline_places::of_state(state),
        (None, Some(country)) => paceline_places::of_country(country),
        (None, None) => None,
    }
}

/// A state of the US or a province of Canada. Elsewhere no rule reads it.
fn state(text: Option<&str>, country: Option<CountryCode>) -> Result<Option<State>, Complaint> {
    match (text, country.filter(|country| State::matter_in(*country))) {
        (Some(text), Some(country)) => match State::of_country(country, text) {
            Some(state) => Ok(Some(state)),
            None => Err(wrong(
                "contact.state",
                "write a state of the US or a province of Canada, such as CA or ON",
            )),
        },
        (Some(_) | None, _) => Ok(None),
    }
}

fn write_decision(decision: &Decision, text: &mut String, out: &mut impl Write) -> io::Result<()> {
    text.clear();
    let _ = write!(
        text,
        "{{\"decision\":\"{}\",\"until\":",
        decision.verdict.as_str()
    );
    let until = match decision.verdict {
        GateVerdict::Defer { until_ms } => jiff::Timestamp::from_millisecond(until_ms.0).ok(),
        GateVerdict::Allow | GateVerdict::Deny => None,
    };
    let _ = match until {
        Some(until) => write!(text, "\"{until}\""),
        None => write!(text, "null"),
    };
    text.push_str(",\"reasons\":[");
    out.write_all(text.as_bytes())?;
    for (index, reason) in decision.reasons.iter().enumerate() {
        out.write_all(if index == 0 {
            b"{\"profile\":"
        } else {
            b",{\"profile\":"
        })?;
        serde_json::to_writer(&mut *out, reason.profile)?;
        out.write_all(b",\"rule\":")?;
        serde_json::to_writer(&mut *out, reason.rule)?;
        out.write_all(b",\"verdict\":")?;
        serde_json::to_writer(&mut *out, reason.verdict.as_str())?;
        out.write_all(b",\"citation\":")?;
        serde_json::to_writer(&mut *out, reason.citation)?;
        text.clear();
        let _ = write!(text, "{}", reason.datum);
        out.write_all(b",\"text\":")?;
        serde_json::to_writer(&mut *out, text.as_str())?;
        out.write_all(b"}")?;
    }
    out.write_all(b"]}\n")
}

#[cfg(test)]
mod tests;
