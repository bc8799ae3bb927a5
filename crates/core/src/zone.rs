//! Time zones for calling hours. Only zones of a place are accepted. `EST` is five hours behind UTC all year, but New York
//! is four hours behind in summer, so calling by `EST` would call an hour too late.

use jiff::tz::TimeZone;

/// The error of a name that cannot be used for calling hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZoneError {
    /// There is no such zone.
    #[error("this is not an IANA time zone: use one such as America/New_York")]
    Unknown,
    /// The zone has no place, such as `EST`, `UTC` or `Etc/GMT+5`.
    #[error("this zone has no place, so its daylight saving is not known: use {example}")]
    NoPlace {
        /// A zone that was probably meant.
        example: &'static str,
    },
}

/// The first part of accepted names such as `Europe/Berlin`.
const AREAS: [&str; 15] = [
    "Africa",
    "America",
    "Antarctica",
    "Arctic",
    "Asia",
    "Atlantic",
    "Australia",
    "Brazil",
    "Canada",
    "Chile",
    "Europe",
    "Indian",
    "Mexico",
    "Pacific",
    "US",
];
/// Older names of countries, and the US zones that name their daylight saving rule.
#[rustfmt::skip]
const COUNTRIES: [&str; 28] = [
    "Cuba", "Egypt", "Eire", "GB", "GB-Eire", "Hongkong", "Iceland", "Iran", "Israel", "Jamaica", "Japan", "Kwajalein",
    "Libya", "NZ", "NZ-CHAT", "Navajo", "PRC", "Poland", "Portugal", "ROC", "ROK", "Singapore", "Turkey", "W-SU",
    "EST5EDT", "CST6CDT", "MST7MDT", "PST8PDT",
];
/// The zone that is probably meant by a name without a place.
const MEANT: [(&str, &str); 7] = [
    ("EST", "America/New_York"),
    ("MST", "America/Denver, or America/Phoenix"),
    ("HST", "Pacific/Honolulu"),
    ("GMT", "Europe/London"),
    ("WET", "Europe/Lisbon"),
    ("CET", "Europe/Berlin"),
    ("EET", "Europe/Athens"),
];

/// The zone of a place. Upper and lower case are equal.
///
/// # Errors
/// [`ZoneError`].
pub fn of_place(name: &str) -> Result<TimeZone, ZoneError> {
    match TimeZone::get(name) {
        Ok(zone) if is_place(name) => Ok(zone),
        Ok(_) => {
            let meant = MEANT.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            Err(ZoneError::NoPlace {
                example: meant.map_or("one such as America/New_York", |(_, example)| example),
            })
        }
        Err(_) => Err(ZoneError::Unknown),
    }
}

/// True if a name has the form of a place's name. The time-zone database may still not have it.
pub(crate) fn is_place(name: &str) -> bool {
    let (known, part): (&[&str], _) = match name.split_once('/') {
        Some((area, _)) => (&AREAS, area),
        None => (&COUNTRIES, name),
    };
    known.iter().any(|known| known.eq_ignore_ascii_case(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_accepted_in_any_case() {
        for name in [
            "America/New_York",
            "america/new_york",
            "US/Eastern",
            "Europe/Berlin",
            "Japan",
            "GB",
            "EST5EDT",
            "Atlantic/Reykjavik",
        ] {
            assert!(of_place(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_name_without_a_place_is_refused_in_any_case() {
        #[rustfmt::skip]
        let names = [
            "EST", "est", "MST", "HST", "GMT", "gmt", "GMT0", "GMT+0", "Greenwich", "UTC", "utc", "UCT", "Zulu", "Universal",
            "Etc/UTC", "etc/gmt+5", "Etc/GMT-14", "CET", "EET",
        ];
        for name in names {
            assert!(matches!(of_place(name), Err(ZoneError::NoPlace { .. })), "{name}");
        }
        for name in [
            "PST",
            "EDT",
            "EST5",
            "",
            "Mars/Base",
            "America/Nowhere",
            "Etc/Unknown/x",
        ] {
            assert_eq!(of_place(name), Err(ZoneError::Unknown), "{name}");
        }
        let told = of_place("EST").unwrap_err().to_string();
        assert_eq!(
            told,
            "this zone has no place, so its daylight saving is not known: use America/New_York"
        );
    }
}
