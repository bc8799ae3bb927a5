//! Helpers that call the gate's pipe and the number facts.

use crate::calendar::millis;
use crate::line::Answer;
use crate::places::NumberPlaces;
use paceline::gate_pipe::Pipe;
use paceline_core::gate::Rulebook;
use paceline_core::number::E164;
use serde_json::Value;
use std::cell::RefCell;

/// The pipe's error for a line that it cannot use.
#[derive(Debug)]
pub(crate) struct Complaint {
    pub error: String,
    pub field: Option<String>,
}

pub(crate) fn places(number: &str) -> NumberPlaces {
    let number = E164::new(number).unwrap();
    let found = paceline_places::of_number(&number);
    NumberPlaces {
        possible: found.possible,
        country: found.country.map(|country| country.as_str().to_owned()),
        states: found
            .states
            .iter()
            .map(|state| state.as_str().to_owned())
            .collect(),
        zones: found.zones.iter().map(|zone| zone.name().to_owned()).collect(),
    }
}

/// Each thread has its own pipe, because a pipe remembers the profiles of the line before.
fn write(line: &[u8]) -> Value {
    thread_local! {
        static PIPE: RefCell<Pipe> = RefCell::new(Pipe::new(Rulebook::shipped().unwrap().clone()));
    }
    let mut out = Vec::new();
    PIPE.with_borrow_mut(|pipe| pipe.answer(line, &mut out)).unwrap();
    assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
    serde_json::from_slice(&out).unwrap()
}

pub(crate) fn answer(line: &str) -> Result<Answer, Complaint> {
    let said = write(line.as_bytes());
    if let Some(error) = said["error"].as_str() {
        return Err(Complaint {
            error: error.to_owned(),
            field: said["field"].as_str().map(str::to_owned),
        });
    }
    let reasons = said["reasons"].as_array().unwrap();
    let text = |reason: &Value, name: &str| reason[name].as_str().unwrap().to_owned();
    let mut reasons: Vec<_> = reasons
        .iter()
        .map(|reason| {
            assert!(!text(reason, "text").is_empty());
            let profile = text(reason, "profile");
            assert!(
                profile == "paceline" || !text(reason, "citation").is_empty(),
                "{reason}"
            );
            (profile, text(reason, "rule"), text(reason, "verdict"))
        })
        .collect();
    reasons.sort();
    let until = said["until"].as_str().map(millis);
    Ok(Answer {
        decision: said["decision"].as_str().unwrap().to_owned(),
        until,
        reasons,
    })
}

pub(crate) fn ask(line: &str) -> Answer {
    answer(line).unwrap_or_else(|said| panic!("{said:?}"))
}

pub(crate) fn list() -> Vec<Value> {
    let mut out = Vec::new();
    Pipe::new(Rulebook::shipped().unwrap().clone())
        .list(&mut out)
        .unwrap();
    String::from_utf8(out)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
