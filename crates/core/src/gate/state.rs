//! States of the US and provinces of Canada. Their codes differ from each other, so two letters name one.

use crate::contact::CountryCode;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A state of the US (or the District of Columbia, or a territory), or a province or territory of Canada, by its postal code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct State([u8; 2]);

/// The text names no state or province.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a state of the US or a province of Canada: write its two letters, such as CA or ON")]
pub struct NotAState;

#[rustfmt::skip]
const US: [(&str, &str); 51] = [
    ("AL", "Alabama"), ("AK", "Alaska"), ("AZ", "Arizona"), ("AR", "Arkansas"), ("CA", "California"), ("CO", "Colorado"),
    ("CT", "Connecticut"), ("DE", "Delaware"), ("DC", "District of Columbia"), ("FL", "Florida"), ("GA", "Georgia"),
    ("HI", "Hawaii"), ("ID", "Idaho"), ("IL", "Illinois"), ("IN", "Indiana"), ("IA", "Iowa"), ("KS", "Kansas"),
    ("KY", "Kentucky"), ("LA", "Louisiana"), ("ME", "Maine"), ("MD", "Maryland"), ("MA", "Massachusetts"), ("MI", "Michigan"),
    ("MN", "Minnesota"), ("MS", "Mississippi"), ("MO", "Missouri"), ("MT", "Montana"), ("NE", "Nebraska"), ("NV", "Nevada"),
    ("NH", "New Hampshire"), ("NJ", "New Jersey"), ("NM", "New Mexico"), ("NY", "New York"), ("NC", "North Carolina"),
    ("ND", "North Dakota"), ("OH", "Ohio"), ("OK", "Oklahoma"), ("OR", "Oregon"), ("PA", "Pennsylvania"), ("RI", "Rhode Island"),
    ("SC", "South Carolina"), ("SD", "South Dakota"), ("TN", "Tennessee"), ("TX", "Texas"), ("UT", "Utah"), ("VT", "Vermont"),
    ("VA", "Virginia"), ("WA", "Washington"), ("WV", "West Virginia"), ("WI", "Wisconsin"), ("WY", "Wyoming"),
];
#[rustfmt::skip]
const CANADA: [(&str, &str); 13] = [
    ("AB", "Alberta"), ("BC", "British Columbia"), ("MB", "Manitoba"), ("NB", "New Brunswick"),
    ("NL", "Newfoundland and Labrador"), ("NS", "Nova Scotia"), ("NT", "Northwest Territories"), ("NU", "Nunavut"),
    ("ON", "Ontario"), ("PE", "Prince Edward Island"), ("QC", "Quebec"), ("SK", "Saskatchewan"), ("YT", "Yukon"),
];

/// Territories of the US, which have an address like a state's. They are countries of their own in ISO 3166-1, and the number
/// plan has them so.
#[rustfmt::skip]
const TERRITORIES: [(&str, &str); 5] = [
    ("PR", "Puerto Rico"), ("VI", "Virgin Islands"), ("GU", "Guam"), ("AS", "American Samoa"), ("MP", "Northern Mariana Islands"),
];

impl State {
    /// A state by its two letters, in either case.
    ///
    /// # Errors
    /// [`NotAState`].
    pub fn new(code: &str) -> Result<Self, NotAState> {
        match code.to_ascii_uppercase().as_bytes() {
            [a, b] => {
                let state = Self([*a, *b]);
                let known = US
                    .iter()
                    .chain(&CANADA)
                    .chain(&TERRITORIES)
                    .any(|(known, _)| *known == state.as_str());
                if known { Ok(state) } else { Err(NotAState) }
            }
            _ => Err(NotAState),
        }
    }

    /// A state of a country by its code, with or without the country's (`CA`, `US-CA`), or by its English name. `None` if
    /// the country has no such state, or is not the US or Canada.
    pub fn of_country(country: CountryCode, text: &str) -> Option<Self> {
        let (states, territories): (&[_], &[_]) = match country.as_str() {
            "US" => (&US, &TERRITORIES),
            "CA" => (&CANADA, &[]),
            _ => return None,
        };
        let code = match text.split_once('-') {
            Some((prefix, code)) if prefix.eq_ignore_ascii_case(country.as_str()) => code,
            _ => text,
        };
        let found = states
            .iter()
            .chain(territories)
            .find(|(known, name)| known.eq_ignore_ascii_case(code) || name.eq_ignore_ascii_case(text))?;
        Self::new(found.0).ok()
    }

    /// True if gate rules read the states of this country: the US and Canada.
    pub fn matter_in(country: CountryCode) -> bool {
        matches!(country.as_str(), "US" | "CA")
    }

    /// The country that the number plan and ISO 3166-1 make of a territory of the US. `None`: it is no territory.
    pub fn territory(self) -> Option<CountryCode> {
        let known = TERRITORIES.iter().any(|(code, _)| *code == self.as_str());
        known.then(|| CountryCode::new(self.as_str()).ok()).flatten()
    }

    /// All states of a country without its territories, in alphabetical order of their names; empty if they do not matter there.
    pub fn all_of(country: CountryCode) -> Vec<Self> {
        let states: &[(&str, &str)] = match country.as_str() {
            "US" => &US,
            "CA" => &CANADA,
            _ => &[],
        };
        states
            .iter()
            .filter_map(|(code, _)| Self::new(code).ok())
            .collect()
    }

    /// The two letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for State {
    type Error = NotAState;
    fn try_from(text: String) -> Result<Self, NotAState> {
        Self::new(&text)
    }
}

impl From<State> for String {
    fn from(state: State) -> Self {
        state.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_found_by_code_and_by_name_only_in_its_country() {
        let (us, ca) = (CountryCode::new("US").unwrap(), CountryCode::new("CA").unwrap());
        let california = State::new("CA").unwrap();
        for text in ["CA", "ca", "US-CA", "California", "CALIFORNIA"] {
            assert_eq!(State::of_country(us, text), Some(california), "{text}");
        }
        for text in ["ON", "US-ON", "CA-CA", "Ontario", "", "ZZ"] {
            assert_eq!(State::of_country(us, text), None, "{text}");
        }
        assert_eq!(State::of_country(ca, "CA-ON"), Some(State::new("ON").unwrap()));
        assert_eq!(State::of_country(CountryCode::new("AU").unwrap(), "WA"), None);
        let puerto_rico = State::of_country(us, "Puerto Rico").unwrap();
        assert_eq!(
            (puerto_rico.territory(), california.territory()),
            (CountryCode::new("PR").ok(), None)
        );
        assert_eq!((State::all_of(us).len(), State::all_of(ca).len()), (51, 13));
    }
}
