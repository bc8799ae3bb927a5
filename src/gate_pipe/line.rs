//! One line of `paceline gate` as values. An error names the field by its JSON path, and never repeats text of the line,
//! because it may be a telephone number.
//!
//! Input: the bytes of a line. Output: a [`Line`], checked as far as it can be without the tables of numbers. Start at
//! [`read`].

use super::instant::instant;
use paceline_core::contact::{ConsentKind, CountryCode};
use paceline_core::gate::{DialingMode, Purpose, Zone};
use paceline_core::outcome::Outcome;
use paceline_core::time::Wall;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// Maximum length of a line in bytes. The rest of a longer line is skipped.
pub const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Maximum of `ring_timeout_ms`: a day.
const RING_MS_MAX: u64 = 86_400_000;
/// `at` is between the starts of these years: the calendars know the holidays of no others.
const AT_YEARS: (&str, &str) = ("1970-01-01T00:00:00Z", "2100-01-01T00:00:00Z");

/// A line that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Complaint {
    /// The problem or its correction, in words. It repeats no text of the line.
    pub error: Cow<'static, str>,
    /// The JSON path of the field. `None`: the line is no JSON object.
    pub field: Option<String>,
}

/// A text that borrows from the line if it has no escapes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text<'a>(pub Cow<'a, str>);

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// A JSON object. The reader of a plain structure would take an array too.
#[derive(Clone, Debug, Default)]
pub struct Object<T>(pub T);

/// A line as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line<'a> {
    #[serde(borrow)]
    at: Option<Text<'a>>,
    #[serde(borrow)]
    number: Option<Text<'a>>,
    purpose: Option<Purpose>,
    mode: Option<DialingMode>,
    #[serde(borrow)]
    pub(super) campaign: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) subject: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) debt: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) caller_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) profiles: Option<Vec<Text<'a>>>,
    ring_timeout_ms: Option<u64>,
    #[serde(borrow)]
    pub(super) contact: Option<Object<Contact<'a>>>,
    #[serde(borrow)]
    pub(super) history: Option<Vec<Object<Past<'a>>>>,
    #[serde(borrow)]
    pub(super) suppressed: Option<Vec<Text<'a>>>,
}

/// The contact.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Contact<'a> {
    #[serde(borrow)]
    time_zone: Option<Text<'a>>,
    #[serde(borrow)]
    country: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) state: Option<Text<'a>>,
    // No rule reads it.
    #[serde(borrow)]
    postal_code: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) tags: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    pub(super) consents: Option<Vec<Object<Consent<'a>>>>,
}

/// A consent.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consent<'a> {
    #[serde(borrow)]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    scope: Option<Text<'a>>,
    #[serde(borrow)]
    granted_at: Option<Text<'a>>,
    #[serde(borrow)]
    expires_at: Option<Text<'a>>,
    #[serde(borrow)]
    proof: Option<Text<'a>>,
}

/// An attempt of the past.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Past<'a> {
    #[serde(borrow)]
    at: Option<Text<'a>>,
    #[serde(borrow)]
    number: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) campaign: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) subject: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) debt: Option<Text<'a>>,
    outcome: Option<Outcome>,
    #[serde(borrow)]
    pub(super) disposition: Option<Text<'a>>,
}

/// The required fields of a line.
#[derive(Clone, Copy, Debug)]
pub struct Required<'l> {
    pub(super) at: Wall,
    pub(super) number: &'l str,
    pub(super) purpose: Purpose,
    pub(super) mode: DialingMode,
    pub(super) ring_ms: u64,
}

/// Reads a line.
///
/// # Errors
/// [`Complaint`].
pub fn read(line: &[u8]) -> Result<Line<'_>, Complaint> {
    if line.len() > LINE_BYTES_MAX {
        return Err(none("the line is too long: send at most 4 MiB"));
    }
    let Ok(text) = std::str::from_utf8(line) else {
        return Err(none("the line is not UTF-8 text: write one JSON object"));
    };
    match serde_json::from_str::<Object<Line>>(text) {
        Ok(Object(line)) => Ok(line),
        Err(err) if err.is_data() => Err(explained(text)),
        Err(_) => Err(none("the line is not one JSON object")),
    }
}

/// Reads the line again, to find the path of the field.
fn explained(text: &str) -> Complaint {
    let mut reader = serde_json::Deserializer::from_str(text);
    let Err(err) = serde_path_to_error::deserialize::<_, Object<Line>>(&mut reader) else {
        return none("the line is not one JSON object");
    };
    let mut path = err.path().to_string();
    let message = err.inner().to_string();
    if let Some(field) = message
        .strip_prefix("duplicate field `")
        .and_then(|rest| rest.split('`').next())
    {
        let parent = if path == "." {
            String::new()
        } else {
            format!("{path}.")
        };
        return wrong(format!("{parent}{field}"), "the field comes twice");
    }
    if path == "." {
        return none("the line is not one JSON object");
    }
    path.truncate(200);
    if message.starts_with("unknown field") {
        return wrong(path, "there is no such field");
    }
    // The text after `expected` is this program's. The text before it may repeat the line.
    let expected = message
        .rsplit_once("expected ")
        .map_or("", |(_, expected)| expected);
    let expected = expected.split(" at line ").next().unwrap_or_default();
    Complaint {
        error: format!("write {expected}").into(),
        field: Some(path),
    }
}

fn none(error: &'static str) -> Complaint {
    Complaint {
        error: error.into(),
        field: None,
    }
}

pub(super) fn wrong(field: impl Into<String>, error: &'static str) -> Complaint {
    Complaint {
        error: error.into(),
        field: Some(field.into()),
    }
}

const NUMBER: &str = "write `+`, the country code and the number: 8 to 15 digits in all";
const MISSING: &str = "the field is missing";
const INSTANT: &str = "write a time as RFC 3339 has it, such as 2026-11-20T15:04:05Z";

impl Line<'_> {
    /// The fields that every line has.
    pub(super) fn required(&self) -> Result<Required<'_>, Complaint> {
        let at = required_instant(self.at.as_ref(), || "at".to_owned())?;
        let [from, until] = [AT_YEARS.0, AT_YEARS.1].map(|year| instant(year).unwrap_or_default());
        if !(from..until).contains(&at) {
            return Err(wrong("at", "write a time from 1970 to 2099"));
        }
        let number = self.number.as_ref().ok_or_else(|| wrong("number", MISSING))?;
        if !is_number(&number.0, 8) {
            return Err(wrong("number", NUMBER));
        }
        if self.caller_id.as_ref().is_some_and(|id| !is_number(&id.0, 2)) {
            return Err(wrong(
                "caller_id",
                "write `+` and 2 to 15 digits, or null if it is withheld",
            ));
        }
        let ring_ms = self
            .ring_timeout_ms
            .ok_or_else(|| wrong("ring_timeout_ms", MISSING))?;
        if ring_ms > RING_MS_MAX {
            return Err(wrong("ring_timeout_ms", "write at most 86400000, a day"));
        }
        Ok(Required {
            at,
            number: &number.0,
            purpose: self.purpose.ok_or_else(|| wrong("purpose", MISSING))?,
            mode: self.mode.ok_or_else(|| wrong("mode", MISSING))?,
            ring_ms,
        })
    }
}

fn is_number(text: &str, digits_min: usize) -> bool {
    let digits = text.strip_prefix('+').unwrap_or_default().as_bytes();
    (digits_min..=15).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
}

fn required_instant(text: Option<&Text>, field: impl Fn() -> String) -> Result<Wall, Complaint> {
    let text = text.ok_or_else(|| wrong(field(), MISSING))?;
    instant(&text.0).ok_or_else(|| wrong(field(), INSTANT))
}

impl Contact<'_> {
    pub(super) fn zone(&self) -> Result<Option<Zone>, Complaint> {
        let zone = self
            .time_zone
            .as_ref()
            .map(|name| Zone::named(&name.0))
            .transpose();
        zone.map_err(|err| Complaint {
            error: err.to_string().into(),
            field: Some("contact.time_zone".to_owned()),
        })
    }

    pub(super) fn country(&self) -> Result<Option<CountryCode>, Complaint> {
        let country = self
            .country
            .as_ref()
            .map(|code| CountryCode::new(&code.0))
            .transpose();
        country.map_err(|err| Complaint {
            error: err.to_string().into(),
            field: Some("contact.country".to_owned()),
        })
    }
}

impl Consent<'_> {
    pub(super) fn fact(&self, index: usize) -> Result<paceline_core::gate::ConsentFact, Complaint> {
        let path = |field: &str| format!("contact.consents[{index}].{field}");
        let kind = self.kind.as_ref().ok_or_else(|| wrong(path("kind"), MISSING))?;
        let scope = self.scope.as_ref().ok_or_else(|| wrong(path("scope"), MISSING))?;
        let expires_at = self.expires_at.as_ref();
        Ok(paceline_core::gate::ConsentFact {
            kind: kind.0.parse::<ConsentKind>().ok(),
            scope: scope.0.parse::<Purpose>().ok(),
            granted_at: required_instant(self.granted_at.as_ref(), || path("granted_at"))?,
            expires_at: match expires_at {
                Some(text) => Some(required_instant(Some(text), || path("expires_at"))?),
                None => None,
            },
            proven: self
                .proof
                .as_ref()
                .is_some_and(|proof| !proof.0.trim().is_empty()),
        })
    }
}

impl Past<'_> {
    pub(super) fn at(&self, index: usize) -> Result<Wall, Complaint> {
        required_instant(self.at.as_ref(), || format!("history[{index}].at"))
    }

    /// The number, which may be unknown.
    pub(super) fn number(&self, index: usize) -> Result<Option<&str>, Complaint> {
        match self.number.as_ref().map(|number| &*number.0) {
            Some(number) if !is_number(number, 8) => Err(wrong(format!("history[{index}].number"), NUMBER)),
            number => Ok(number),
        }
    }

    pub(super) fn outcome(&self, index: usize) -> Result<Outcome, Complaint> {
        self.outcome
            .ok_or_else(|| wrong(format!("history[{index}].outcome"), MISSING))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}
