//! All that the rules of hours read of a contact: where it may be. Contacts with equal localities have equal hours, so the
//! store lets them wait together.

use super::policy::Whereabouts;
use super::{Facts, State, Zone};
use crate::contact::CountryCode;

/// Where a callee may be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Locality {
    /// Of the number, and of the address if it is another.
    countries: [Option<CountryCode>; 2],
    states: Vec<State>,
    zones: Vec<Zone>,
}

impl Locality {
    /// Where the callee may be. `None`: the gate denies such a call, at any time.
    pub fn of(facts: &Facts) -> Option<Self> {
        let place = Whereabouts::of(facts);
        if !facts.number.possible || !place.known(facts) {
            return None;
        }
        let mut states: Vec<_> = place.states.concat();
        let mut zones: Vec<_> = place.zones.concat();
        states.sort_unstable();
        states.dedup();
        zones.sort_unstable_by_key(|zone| zone.name());
        zones.dedup();
        Some(Self {
            countries: place.countries,
            states,
            zones,
        })
    }

    /// A text that is equal for equal localities, such as `US;NJ,NY;America/New_York`.
    pub fn key(&self) -> String {
        let codes = self.countries.iter().map(|country| country.as_ref());
        let countries: Vec<_> = codes.map(|code| code.map_or("", |code| code.as_str())).collect();
        let countries = countries.join(",");
        let states: Vec<_> = self.states.iter().map(State::as_str).collect();
        let zones: Vec<_> = self.zones.iter().map(|zone| zone.name()).collect();
        format!(
            "{};{};{}",
            countries.trim_end_matches(','),
            states.join(","),
            zones.join(",")
        )
    }

    /// Reads [`Self::key`]. `None` if the text is none, or names a place that this version does not know.
    pub fn of_key(key: &str) -> Option<Self> {
        let [countries, states, zones] = <[&str; 3]>::try_from(key.split(';').collect::<Vec<_>>()).ok()?;
        let country = |code: &str| match code {
            "" => Some(None),
            code => CountryCode::new(code).ok().map(Some),
        };
        let (number, address) = countries.split_once(',').unwrap_or((countries, ""));
        let words = |text| str::split(text, ',').filter(|word: &&str| !word.is_empty());
        let states = words(states).map(|code| State::new(code).ok());
        let zones = words(zones).map(|name| Zone::named(name).ok());
        let locality = Self {
            countries: [country(number)?, country(address)?],
            states: states.collect::<Option<_>>()?,
            zones: zones.collect::<Option<_>>()?,
        };
        (!locality.zones.is_empty()).then_some(locality)
    }

    /// The names of the time zones.
    pub fn zones(&self) -> impl Iterator<Item = &'static str> {
        self.zones.iter().map(|zone| zone.name())
    }

    pub(super) fn whereabouts(&self) -> Whereabouts<'_> {
        Whereabouts {
            countries: self.countries,
            states: [&self.states, &[]],
            zones: [&self.zones, &[]],
        }
    }
}
