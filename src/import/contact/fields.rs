//! Reads the fields of a row other than numbers and attributes. A field that cannot be read does not reject the
//! contact: it is kept as an attribute and counted. Exceptions are the external id and the time zone: if they cannot be
//! read, the row is rejected. In: [`Cells`] and the meaning of the columns. Out: the fields of a [`Contact`].

use super::{Checker, Fault};
use crate::import::cells::Cells;
use crate::import::header::{Column, Field};
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use paceline_core::contact::{
    Consent, Contact, ExternalId, Language, PostalCode, Proof, State, TAGS_MAX, Tag, Tier,
};
use paceline_core::time::Wall;
use paceline_core::zone;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// The places with the latest and the earliest local time: UTC-12 and UTC+14.
const LAST_PLACE: SignedDuration = SignedDuration::from_hours(12);
const FIRST_PLACE: SignedDuration = SignedDuration::from_hours(14);
const DAY: SignedDuration = SignedDuration::from_hours(24);

impl Checker<'_> {
    /// Reads all fields into the contact.
    pub(super) fn fields(&mut self, cells: &Cells, contact: &mut Contact) -> Result<(), Fault> {
        let columns = self.columns;
        if columns.fields.is_empty() {
            return Ok(());
        }
        if let Some(column) = columns.field(Field::Name) {
            let name = self.text(cells, column)?;
            contact.name = (!name.is_empty()).then(|| name.into_owned());
        }
        contact.time_zone = self.zone(cells)?;
        if let Some(column) = columns.field(Field::ExternalId) {
            let text = self.text(cells, column)?;
            if !text.is_empty() {
                // Without an external id the row could become a second contact.
                let at = |error: paceline_core::contact::ValueError| {
                    (Some(column.header.clone()), error.to_string())
                };
                contact.external_id = Some(ExternalId::new(&text).map_err(at)?);
            }
        }
        let what = "kept as an attribute: a tier that is neither 1 to 9 nor A to I";
        contact.tier = self.or_attribute(cells, Field::Tier, what, |text| Tier::read(text).ok())?;
        let what = "kept as an attribute: a language that is no tag (BCP 47) such as en or es-MX";
        let language = |text: &str| Language::new(&text.replace('_', "-")).ok();
        contact.language = self.or_attribute(cells, Field::Language, what, language)?;
        let what = "kept as an attribute: a state of more than 60 characters";
        contact.address.state = self.or_attribute(cells, Field::State, what, |text| State::new(text).ok())?;
        let what = "kept as an attribute: a postal code of more than 20 characters";
        let code = |text: &str| PostalCode::new(text).ok();
        contact.address.postal_code = self.or_attribute(cells, Field::PostalCode, what, code)?;
        let what =
            "kept as an attribute: tags of which one is longer than 60 characters, or more than 50 of them";
        let tags = self.or_attribute(cells, Field::Tags, what, tags)?;
        contact.tags = tags.unwrap_or_default();
        contact.consents.extend(self.consent(cells)?);
        Ok(())
    }

    fn zone(&mut self, cells: &Cells) -> Result<Option<String>, Fault> {
        let Some(column) = self.columns.field(Field::TimeZone) else {
            return Ok(None);
        };
        let zone = self.text(cells, column)?;
        if zone.is_empty() {
            return Ok(None);
        }
        if *zone != self.zone_known {
            if let Err(error) = zone::of_place(&zone) {
                return Err((Some(column.header.clone()), error.to_string()));
            }
            self.zone_known = zone.clone().into_owned();
        }
        Ok(Some(zone.into_owned()))
    }

    /// The value of a field. If it cannot be read, it is kept as an attribute, and `what` is counted as the repair.
    fn or_attribute<T>(
        &mut self,
        cells: &Cells,
        field: Field,
        what: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        let Some(column) = self.columns.field(field) else {
            return Ok(None);
        };
        let text = self.text(cells, column)?;
        if text.is_empty() {
            return Ok(None);
        }
        let value = read(&text);
        if value.is_none() {
            self.keep(column, &text, what);
        }
        Ok(value)
    }

    fn keep(&mut self, column: &Column, text: &str, what: &'static str) {
        self.unread.push((column.header.clone(), text.to_owned()));
        self.repaired(what);
    }

    /// The consent. It needs its kind, its scope and the time when it was given.
    fn consent(&mut self, cells: &Cells) -> Result<Option<Consent>, Fault> {
        const PARTS: [Field; 5] = [
            Field::Consent,
            Field::ConsentScope,
            Field::ConsentGrantedAt,
            Field::ConsentExpiresAt,
            Field::ConsentProof,
        ];
        let columns = self.columns;
        let mut parts = [const { Cow::Borrowed("") }; PARTS.len()];
        for (part, field) in parts.iter_mut().zip(PARTS) {
            if let Some(column) = columns.field(field) {
                *part = self.text(cells, column)?;
            }
        }
        let [kind, scope, granted_at, expires_at, proof] = &parts;
        if parts.iter().all(|part| part.is_empty()) {
            return Ok(None);
        }
        let consent = || {
            let consent = Consent {
                kind: word(kind)?,
                scope: word(scope)?,
                granted_at: moment(granted_at, DAY + LAST_PLACE)?,
                expires_at: optional(expires_at, |text| moment(text, -FIRST_PLACE))?,
                proof: optional(proof, |text| Proof::new(text).ok())?,
            };
            let ends_first = consent.expires_at.is_some_and(|ends| ends <= consent.granted_at);
            (!ends_first).then_some(consent)
        };
        let consent = consent();
        if consent.is_none() {
            self.repaired(
                "kept as an attribute: a consent without a kind (express, express_written, contract), a scope (marketing, debt, \
                 service) and a date such as 2026-03-31 that can be read",
            );
            for (part, field) in parts.iter().zip(PARTS) {
                if let Some(column) = columns.field(field)
                    && !part.is_empty()
                {
                    self.unread
                        .push((column.header.clone(), part.clone().into_owned()));
                }
            }
        }
        Ok(consent)
    }
}

/// The outer `None` means that the text cannot be read; the inner one that it is blank.
fn optional<T>(text: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    if text.is_empty() {
        return Some(None);
    }
    read(text).map(Some)
}

fn word<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.to_lowercase().replace([' ', '-'], "_").parse().ok()
}

/// The tags of a text such as `vip; renewal, 2026 | new`.
fn tags(text: &str) -> Option<BTreeSet<Tag>> {
    let mut tags = BTreeSet::new();
    for tag in text.split([';', ',', '|', '；', '，', '、', '\n']) {
        if !tag.trim().is_empty() {
            tags.insert(Tag::new(tag).ok()?);
        }
    }
    (tags.len() <= TAGS_MAX).then_some(tags)
}

/// A time with its offset, or midnight UTC of a day moved by `by`. A day or a time without an offset may be of any time
/// zone, and the consent must hold in all of them.
fn moment(text: &str, by: SignedDuration) -> Option<Wall> {
    let wall = |at: Timestamp| Wall(at.as_millisecond());
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(wall(at));
    }
    let day = match text.parse::<Date>() {
        Ok(day) => day,
        Err(_) => text.parse::<DateTime>().ok()?.date(),
    };
    let midnight = day.to_zoned(TimeZone::UTC).ok()?.timestamp();
    midnight.checked_add(by).ok().map(wall)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calling_day_begins_in_the_last_zone_and_ends_in_the_first() {
        let at = |text: &str| Wall(text.parse::<Timestamp>().unwrap().as_millisecond());
        let granted = |text| moment(text, DAY + LAST_PLACE);
        for day in ["2026-03-31", "2026-03-31 12:00:00", "2026-03-31T00:00"] {
            assert_eq!(granted(day), Some(at("2026-04-01T12:00:00Z")), "{day}");
            assert_eq!(
                moment(day, -FIRST_PLACE),
                Some(at("2026-03-30T10:00:00Z")),
                "{day}"
            );
        }
        assert_eq!(
            granted("2026-03-31T12:00:00+02:00"),
            Some(at("2026-03-31T10:00:00Z"))
        );
        for bad in ["", "31.03.2026", "03/31/2026", "yes", "9999-12-31", "2026-02-30"] {
            assert_eq!(granted(bad), None, "{bad}");
        }
    }

    #[test]
    fn tags_are_separated_in_the_usual_ways() {
        let told = |text| {
            tags(text).map(|all| {
                all.iter()
                    .map(|t| t.as_str().to_owned())
                    .collect::<Vec<_>>()
                    .join("+")
            })
        };
        assert_eq!(
            told("vip; renewal,2026 | vip|").as_deref(),
            Some("2026+renewal+vip")
        );
        assert_eq!(told(&"x".repeat(61)), None);
    }
}
