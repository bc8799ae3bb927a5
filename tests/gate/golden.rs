//! Lines whose answers were reasoned by hand.

use crate::book;
use crate::calendar::{millis, written};
use crate::line::Line;
use crate::pipe;
use crate::reference::{Reference, Steps};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    /// The line. If it is not a JSON object, `raw` has its exact text.
    line: Option<Value>,
    raw: Option<String>,
    decision: Option<String>,
    until: Option<String>,
    /// Profile and rule of all refusals.
    refused_by: Option<Vec<String>>,
    /// Profile and rule of some of the refusals; there may be others.
    refused_at_least: Option<Vec<String>>,
    /// The field that is wrong; null if the whole line is wrong.
    #[serde(default, with = "told")]
    error: Option<Option<String>>,
    why: String,
}

mod told {
    use serde::{Deserialize, Deserializer};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Option<String>>, D::Error> {
        Option::<String>::deserialize(from).map(Some)
    }
}

fn all() -> Vec<Golden> {
    let lines = include_str!("golden.jsonl").lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect()
}

impl Golden {
    fn text(&self) -> String {
        match (&self.line, &self.raw) {
            (Some(line), None) => serde_json::to_string(line).unwrap(),
            (None, Some(raw)) => raw.clone(),
            (Some(_), Some(_)) | (None, None) => panic!("{}: one of line and raw", self.why),
        }
    }

    /// What is wrong with an answer.
    fn complaint(&self, answer: &crate::line::Answer) -> Option<String> {
        let refusals: Vec<String> = answer
            .reasons
            .iter()
            .filter(|(_, _, verdict)| verdict != "allow")
            .map(|(profile, rule, _)| format!("{profile} {rule}"))
            .collect();
        let until = self.until.as_deref().map(millis);
        let right = Some(&answer.decision) == self.decision.as_ref()
            && answer.until == until
            && self.refused_by.as_ref().is_none_or(|all| *all == refusals)
            && self
                .refused_at_least
                .iter()
                .flatten()
                .all(|one| refusals.contains(one));
        let until = answer.until.map(written);
        (!right).then(|| {
            format!(
                "{}\n  {}\n  says {} {until:?} {refusals:?}",
                self.why,
                self.text(),
                answer.decision
            )
        })
    }
}

/// The rules of the model. Some golden line must exercise each of them.
pub(crate) fn rules() -> Vec<(&'static str, &'static str)> {
    let of = |profile: &book::Profile| {
        profile
            .rules
            .iter()
            .map(|r| (profile.name, r.name))
            .collect::<Vec<_>>()
    };
    book::profiles().iter().flat_map(of).collect()
}

#[test]
fn the_model_gives_the_answers_reasoned_by_hand() {
    let mut wrong = Vec::new();
    for golden in all().iter().filter(|golden| golden.decision.is_some()) {
        let line: Line = serde_json::from_str(&golden.text()).unwrap();
        let answer = Reference::new(&line, &pipe::places(&line.number)).answer(Steps::Borders);
        wrong.extend(golden.complaint(&answer));
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_gate_gives_the_answers_reasoned_by_hand() {
    let mut wrong = Vec::new();
    for golden in all().iter().filter(|golden| golden.decision.is_some()) {
        match pipe::answer(&golden.text()) {
            Ok(answer) => wrong.extend(golden.complaint(&answer)),
            Err(said) => wrong.push(format!("{}\n  {}\n  says {said:?}", golden.why, golden.text())),
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_line_that_is_wrong_gets_an_error_that_names_the_field() {
    let mut wrong = Vec::new();
    for golden in all() {
        let Some(field) = &golden.error else { continue };
        match pipe::answer(&golden.text()) {
            Err(said) if said.field == *field && !said.error.is_empty() => {}
            said => wrong.push(format!(
                "{}\n  {}\n  says {said:?}, not {field:?}",
                golden.why,
                golden.text()
            )),
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_rule_allows_in_one_golden_line_and_refuses_in_another() {
    let (mut allowed, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for golden in all().iter().filter(|golden| golden.decision.is_some()) {
        let line: Line = serde_json::from_str(&golden.text()).unwrap();
        for (profile, rule, verdict) in Reference::new(&line, &pipe::places(&line.number))
            .answer(Steps::Borders)
            .reasons
        {
            let seen = if verdict == "allow" {
                &mut allowed
            } else {
                &mut refused
            };
            seen.insert((profile, rule));
        }
    }
    for (profile, rule) in rules() {
        let rule = (profile.to_owned(), rule.to_owned());
        assert!(allowed.contains(&rule), "{rule:?} allows nowhere");
        assert!(refused.contains(&rule), "{rule:?} refuses nowhere");
    }
}

/// An auditor reads `--list`, so it must name all rules of the model, with the same dates.
#[test]
fn the_list_names_every_rule_of_the_model_with_its_date() {
    let field = |row: &Value, name: &str| row[name].as_str().map(str::to_owned);
    let listed: BTreeSet<_> = pipe::list()
        .iter()
        .map(|row| {
            (
                field(row, "profile").unwrap(),
                field(row, "rule").unwrap(),
                field(row, "effective_from"),
            )
        })
        .collect();
    for profile in book::profiles() {
        for rule in &profile.rules {
            let row = (
                profile.name.to_owned(),
                rule.name.to_owned(),
                rule.from.map(|day| day.to_string()),
            );
            assert!(listed.contains(&row), "{row:?} is not in the list: {listed:#?}");
        }
    }
}
