//! Reads rule files: TOML that must have no unknown field. An error names the file, the rule and the field.

use jiff::civil::Date;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

/// A rule file that cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FileError {
    /// The text is not TOML.
    #[error("{file} is not TOML: {source}")]
    Syntax {
        /// The file.
        file: String,
        /// The error of the TOML reader.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A field is missing, unknown, or has a wrong value.
    #[error("{file}{rule}, field `{field}`: {problem}")]
    Field {
        /// The file.
        file: String,
        /// The rule, as in `, rule hours`; empty for the head of the file.
        rule: String,
        /// The field.
        field: String,
        /// The problem, in words.
        problem: String,
    },
}

/// The place of a value, for errors.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) file: &'a str,
    pub(super) rule: &'a str,
}

impl Place<'_> {
    pub(super) fn table(self, text: &str) -> Result<toml::Value, FileError> {
        let table: Result<toml::Table, _> = text.parse();
        table.map(toml::Value::Table).map_err(|source| FileError::Syntax {
            file: self.file.to_owned(),
            source: Box::new(source),
        })
    }

    pub(super) fn parse<T: DeserializeOwned>(self, value: toml::Value) -> Result<T, FileError> {
        serde_path_to_error::deserialize(value).map_err(|err| {
            let field = err.path().to_string();
            self.problem(&field, err.inner().message().to_owned())
        })
    }

    pub(super) fn wrong(self, field: &str, expected: &str) -> FileError {
        self.problem(field, format!("write {expected}"))
    }

    pub(super) fn problem(self, field: &str, problem: String) -> FileError {
        let rule = match self.rule {
            "" => String::new(),
            rule => format!(", rule {rule}"),
        };
        FileError::Field {
            file: self.file.to_owned(),
            rule,
            field: field.to_owned(),
            problem,
        }
    }
}

/// A day, such as `2026-10-18`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(Date);

impl Day {
    /// Days since 1970-01-01.
    pub(super) fn days(self) -> i64 {
        days_of(self.0)
    }
}

impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = String::deserialize(deserializer)?;
        let date = written.parse::<Date>();
        date.map(Day)
            .map_err(|_| serde::de::Error::custom("write a day, such as 2026-10-18"))
    }
}

/// Days since 1970-01-01.
pub(super) fn days_of(date: Date) -> i64 {
    let start = Date::new(1970, 1, 1).map(|start| date.since(start));
    start
        .ok()
        .and_then(Result::ok)
        .map_or(0, |span| i64::from(span.get_days()))
}

/// Milliseconds from midnight to a time of the day.
pub(super) const fn millis_of_day(hour: i64, minute: i64) -> i64 {
    (hour * 60 + minute) * 60_000
}
