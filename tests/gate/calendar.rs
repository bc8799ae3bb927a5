//! Local time and holidays by the simplest means: jiff converts, a table gives Easter, weekdays are counted day by day.

use jiff::civil::{Date, Weekday, date};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan};
use std::collections::BTreeSet;
use std::sync::LazyLock;

pub(crate) const SECOND: i64 = 1_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
/// Every offset and every change of an offset since 1990 lies on a whole quarter of an hour of UTC.
pub(crate) const QUARTER: i64 = 15 * MINUTE;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// The zone in the bundled time-zone database.
pub(crate) fn zone(name: &str) -> TimeZone {
    ZONES
        .get(name)
        .unwrap_or_else(|_| panic!("no zone {name} in the bundled database"))
}

/// Local date and time.
#[derive(Clone, Copy)]
pub(crate) struct Local {
    pub date: Date,
    pub weekday: Weekday,
    /// Milliseconds since 00:00 on the local clock.
    pub clock_ms: i64,
}

pub(crate) fn local(zone: &TimeZone, at_ms: i64) -> Local {
    let now = zone.to_datetime(Timestamp::from_millisecond(at_ms).unwrap());
    let clock_ms = i64::from(now.hour()) * HOUR
        + i64::from(now.minute()) * MINUTE
        + i64::from(now.second()) * SECOND
        + i64::from(now.millisecond());
    Local {
        date: now.date(),
        weekday: now.weekday(),
        clock_ms,
    }
}

/// The first instant of a local day.
pub(crate) fn local_midnight(zone: &TimeZone, day: Date) -> i64 {
    day.to_zoned(zone.clone())
        .unwrap()
        .start_of_day()
        .unwrap()
        .timestamp()
        .as_millisecond()
}

pub(crate) fn millis(text: &str) -> i64 {
    let at: Timestamp = text.parse().unwrap_or_else(|_| panic!("no RFC 3339: {text}"));
    at.as_nanosecond().div_euclid(1_000_000).try_into().unwrap()
}

pub(crate) fn written(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms).unwrap().to_string()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holidays {
    UnitedStates,
    Australia,
    France,
}

impl Holidays {
    pub(crate) fn contains(self, day: Date) -> bool {
        static TABLES: LazyLock<[BTreeSet<Date>; 3]> = LazyLock::new(|| {
            [united_states, australia, france].map(|days| (2020..2035).flat_map(days).collect())
        });
        let [us, au, fr] = &*TABLES;
        match self {
            Holidays::UnitedStates => us.contains(&day),
            Holidays::Australia => au.contains(&day),
            Holidays::France => fr.contains(&day),
        }
    }

    /// All holidays of one year, so that cases can be drawn near them.
    pub(crate) fn of_year(self, year: i16) -> Vec<Date> {
        match self {
            Holidays::UnitedStates => united_states(year),
            Holidays::Australia => australia(year),
            Holidays::France => france(year),
        }
    }
}

/// Easter Sunday: the first Sunday after the paschal full moon. The full moons come from the table of the Book of
/// Common Prayer for the years 1900 to 2199, by golden number.
pub(crate) fn easter(year: i16) -> Date {
    const FULL_MOONS: [(i8, i8); 19] = [
        (4, 14),
        (4, 3),
        (3, 23),
        (4, 11),
        (3, 31),
        (4, 18),
        (4, 8),
        (3, 28),
        (4, 16),
        (4, 5),
        (3, 25),
        (4, 13),
        (4, 2),
        (3, 22),
        (4, 10),
        (3, 30),
        (4, 17),
        (4, 7),
        (3, 27),
    ];
    assert!((1900..2200).contains(&year));
    let (month, day) = FULL_MOONS[usize::try_from(year % 19).unwrap()];
    let mut sunday = date(year, month, day).tomorrow().unwrap();
    while sunday.weekday() != Weekday::Sunday {
        sunday = sunday.tomorrow().unwrap();
    }
    sunday
}

/// The `n`th of this weekday in a month, counted day by day. If `n` is 0, the last one.
fn nth(year: i16, month: i8, n: usize, weekday: Weekday) -> Date {
    let mut found = Vec::new();
    let mut day = date(year, month, 1);
    while day.month() == month {
        if day.weekday() == weekday {
            found.push(day);
        }
        day = day.tomorrow().unwrap();
    }
    if n == 0 {
        *found.last().unwrap()
    } else {
        found[n - 1]
    }
}

/// 5 U.S.C. 6103: the eleven days, and the Friday before or the Monday after a day that falls on a weekend.
fn united_states(year: i16) -> Vec<Date> {
    let fixed = [
        date(year, 1, 1),
        date(year, 6, 19),
        date(year, 7, 4),
        date(year, 11, 11),
        date(year, 12, 25),
    ];
    let mut days = vec![
        nth(year, 1, 3, Weekday::Monday),
        nth(year, 2, 3, Weekday::Monday),
        nth(year, 5, 0, Weekday::Monday),
        nth(year, 9, 1, Weekday::Monday),
        nth(year, 10, 2, Weekday::Monday),
        nth(year, 11, 4, Weekday::Thursday),
    ];
    for day in fixed {
        days.push(day);
        match day.weekday() {
            Weekday::Saturday => days.push(day.yesterday().unwrap()),
            Weekday::Sunday => days.push(day.tomorrow().unwrap()),
            Weekday::Monday | Weekday::Tuesday | Weekday::Wednesday | Weekday::Thursday | Weekday::Friday => {
            }
        }
    }
    days
}

/// The national days. If one falls on a weekend, the next weekday that is not itself a holiday replaces it, except for
/// Anzac Day.
fn australia(year: i16) -> Vec<Date> {
    let easter = easter(year);
    let mut days = vec![easter - 2.days(), easter + 1.day(), date(year, 4, 25)];
    let moving = [
        date(year, 1, 1),
        date(year, 1, 26),
        date(year, 12, 25),
        date(year, 12, 26),
    ];
    days.extend(moving);
    for day in moving {
        let mut instead = day;
        if matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday) {
            while matches!(instead.weekday(), Weekday::Saturday | Weekday::Sunday) || days.contains(&instead)
            {
                instead = instead.tomorrow().unwrap();
            }
            days.push(instead);
        }
    }
    days
}

/// Code du travail, L3133-1.
fn france(year: i16) -> Vec<Date> {
    let easter = easter(year);
    vec![
        date(year, 1, 1),
        easter + 1.day(),
        date(year, 5, 1),
        date(year, 5, 8),
        easter + 39.days(),
        easter + 50.days(),
        date(year, 7, 14),
        date(year, 8, 15),
        date(year, 11, 1),
        date(year, 11, 11),
        date(year, 12, 25),
    ]
}

#[test]
fn easter_and_the_days_around_it_are_those_of_the_published_calendars() {
    let published = [
        (2024, 3, 31),
        (2025, 4, 20),
        (2026, 4, 5),
        (2027, 3, 28),
        (2028, 4, 16),
        (2029, 4, 1),
        (2030, 4, 21),
    ];
    for (year, month, day) in published {
        assert_eq!(easter(year), date(year, month, day));
    }
    assert!(Holidays::France.contains(date(2026, 5, 14)), "Ascension");
    assert!(Holidays::France.contains(date(2026, 5, 25)), "Whit Monday");
    assert!(
        Holidays::Australia.contains(date(2026, 12, 28)),
        "Boxing Day is a Saturday"
    );
    assert!(
        Holidays::Australia.contains(date(2027, 12, 27)),
        "Christmas is a Saturday"
    );
    assert!(
        Holidays::Australia.contains(date(2027, 12, 28)),
        "Boxing Day is a Sunday"
    );
    assert!(
        Holidays::Australia.contains(date(2028, 1, 3)),
        "New Year is a Saturday"
    );
    assert!(
        !Holidays::Australia.contains(date(2027, 4, 26)),
        "Anzac Day is a Sunday"
    );
    assert!(
        Holidays::UnitedStates.contains(date(2027, 12, 31)),
        "New Year 2028 is a Saturday"
    );
    assert!(
        Holidays::UnitedStates.contains(date(2026, 7, 3)),
        "4 July is a Saturday"
    );
    assert!(
        Holidays::UnitedStates.contains(date(2026, 11, 26)),
        "Thanksgiving"
    );
}
