//! Holiday calendars and states of emergency as data: files in `rules/calendars/`.

use super::file::{Day, FileError, Place, days_of, millis_of_day};
use jiff::civil::{Date, Weekday, date};
use serde::Deserialize;

/// The days of one calendar. Start at [`Calendar::read`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Calendar {
    pub(super) name: String,
    /// One bit for each day since 1970-01-01.
    days: Vec<u64>,
}

/// Days are known for these years.
const YEARS: (i16, i16) = (1970, 2110);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CalendarFile {
    name: String,
    #[expect(dead_code, reason = "for the reader of the file")]
    citation: String,
    #[expect(dead_code, reason = "for the reader of the file")]
    verified_on: Option<Day>,
    #[serde(default)]
    observed: Observed,
    #[serde(default)]
    holiday: Vec<toml::Value>,
}

/// The substitute day of a holiday that falls on a weekend. The day itself stays a holiday.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Observed {
    #[default]
    None,
    /// Saturday: the Friday before; Sunday: the Monday after.
    NearestWeekday,
    /// The next weekday that is no holiday yet.
    NextWeekday,
}

/// One holiday: a fixed day, the nth weekday of a month, a distance from Easter, or exact dates.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Holiday {
    #[expect(dead_code, reason = "for the reader of the file")]
    name: String,
    month: Option<i8>,
    day: Option<i8>,
    /// With `weekday`: the nth of the month; -1 is the last.
    nth: Option<i8>,
    weekday: Option<DayName>,
    /// Days after Easter Sunday.
    easter: Option<i32>,
    from: Option<Day>,
    /// The last day.
    to: Option<Day>,
    /// False: the holiday has no substitute.
    #[serde(default = "yes")]
    observed: bool,
}

fn yes() -> bool {
    true
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DayName {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Calendar {
    /// Reads a calendar file.
    pub(super) fn read(file: &str, text: &str) -> Result<Self, FileError> {
        Self::of_value(file, Place { file, rule: "" }.table(text)?)
    }

    /// Reads a calendar that is a part of a file.
    pub(super) fn of_value(file: &str, value: toml::Value) -> Result<Self, FileError> {
        let parsed: CalendarFile = Place { file, rule: "" }.parse(value)?;
        let mut days = vec![0_u64; usize::try_from(epoch_day(date(YEARS.1, 1, 1)) / 64 + 1).unwrap_or(0)];
        let mut holidays = Vec::new();
        for (index, entry) in parsed.holiday.into_iter().enumerate() {
            let rule = format!("holiday {}", index + 1);
            let place = Place { file, rule: &rule };
            let holiday: Holiday = place.parse(entry)?;
            holiday
                .in_year(2000)
                .map_err(|problem| place.wrong(problem.field, problem.expected))?;
            holidays.push(holiday);
        }
        for year in YEARS.0..YEARS.1 {
            for day in year_of(&holidays, parsed.observed, year) {
                mark(&mut days, day);
            }
        }
        Ok(Self {
            name: parsed.name,
            days,
        })
    }

    /// True if the calendar has this day, in days since 1970-01-01.
    pub(super) fn contains(&self, day: i64) -> bool {
        let bits = usize::try_from(day / 64)
            .ok()
            .and_then(|word| self.days.get(word));
        day >= 0 && bits.is_some_and(|bits| bits >> (day % 64) & 1 == 1)
    }
}

fn mark(days: &mut [u64], day: i64) {
    if let Some(bits) = usize::try_from(day.div_euclid(64))
        .ok()
        .and_then(|word| days.get_mut(word))
    {
        *bits |= 1 << day.rem_euclid(64);
    }
}

fn epoch_day(date: Date) -> i64 {
    days_of(date)
}

struct Problem {
    field: &'static str,
    expected: &'static str,
}

/// The holidays of a year and the days on which they are observed, in days since 1970-01-01.
fn year_of(holidays: &[Holiday], observed: Observed, year: i16) -> Vec<i64> {
    let mut days: Vec<(i64, bool)> = Vec::new();
    for holiday in holidays {
        // Checked when the file was read.
        let found = holiday.in_year(year).unwrap_or_default();
        days.extend(found.into_iter().map(|day| (day, holiday.observed)));
    }
    days.sort_unstable();
    let mut all: Vec<i64> = days.iter().map(|(day, _)| *day).collect();
    for (day, _) in days.into_iter().filter(|(_, observed)| *observed) {
        let monday_zero = weekday(day);
        match observed {
            Observed::None => {}
            Observed::NearestWeekday => match monday_zero {
                5 => all.push(day - 1),
                6 => all.push(day + 1),
                _ => {}
            },
            Observed::NextWeekday if monday_zero >= 5 => {
                let free = (day + 1..day + 8).find(|day| weekday(*day) < 5 && !all.contains(day));
                all.extend(free);
            }
            Observed::NextWeekday => {}
        }
    }
    all
}

/// 0 is Monday. 1970-01-01 was a Thursday.
pub(super) fn weekday(day: i64) -> usize {
    usize::try_from((day + 3).rem_euclid(7)).unwrap_or(0)
}

impl Holiday {
    fn in_year(&self, year: i16) -> Result<Vec<i64>, Problem> {
        let wrong = |field, expected| Problem { field, expected };
        let fixed = |month, day| Date::new(year, month, day);
        match self {
            Holiday {
                month: Some(month),
                day: Some(day),
                nth: None,
                weekday: None,
                easter: None,
                from: None,
                to: None,
                ..
            } => {
                let found = fixed(*month, *day);
                // 29 February is none in most years.
                if found.is_err() && fixed(*month, 1).is_err() {
                    return Err(wrong("month", "a month, 1 to 12"));
                }
                Ok(found.ok().map(days_of).into_iter().collect())
            }
            Holiday {
                month: Some(month),
                nth: Some(nth),
                weekday: Some(weekday),
                day: None,
                easter: None,
                from: None,
                to: None,
                ..
            } => {
                let first = fixed(*month, 1).map_err(|_| wrong("month", "a month, 1 to 12"))?;
                let found = first.nth_weekday_of_month(*nth, weekday.day());
                let found = found.map_err(|_| wrong("nth", "1 to 4, or -1 for the last"))?;
                Ok(vec![days_of(found)])
            }
            Holiday {
                easter: Some(after),
                month: None,
                day: None,
                nth: None,
                weekday: None,
                from: None,
                to: None,
                ..
            } => Ok(vec![easter(year) + i64::from(*after)]),
            Holiday {
                from: Some(from),
                to,
                easter: None,
                month: None,
                day: None,
                nth: None,
                weekday: None,
                ..
            } => {
                let (first, last) = (from.days(), to.as_ref().unwrap_or(from).days());
                if !(0..=3_660).contains(&(last - first)) {
                    return Err(wrong("to", "a day on or after `from`, at most ten years later"));
                }
                let start = |year| Date::new(year, 1, 1).map_or(0, days_of);
                let of_year = |day: &i64| (start(year)..start(year + 1)).contains(day);
                Ok((first..=last).filter(of_year).collect())
            }
            _ => Err(wrong(
                "name",
                "one of: `month` and `day`; `month`, `nth` and `weekday`; `easter`; `from` and `to`",
            )),
        }
    }
}

impl DayName {
    fn day(self) -> Weekday {
        match self {
            DayName::Mon => Weekday::Monday,
            DayName::Tue => Weekday::Tuesday,
            DayName::Wed => Weekday::Wednesday,
            DayName::Thu => Weekday::Thursday,
            DayName::Fri => Weekday::Friday,
            DayName::Sat => Weekday::Saturday,
            DayName::Sun => Weekday::Sunday,
        }
    }
}

/// Easter Sunday of the Gregorian calendar, in days since 1970-01-01 (the "anonymous" algorithm; J. Meeus, "Astronomical
/// Algorithms", chapter 8).
fn easter(year: i16) -> i64 {
    let year = i64::from(year);
    let (a, b, c) = (year % 19, year / 100, year % 100);
    let (d, e) = (b / 4, b % 4);
    let g = (8 * b + 13) / 25;
    let h = (19 * a + b - d - g + 15) % 30;
    let (i, k) = (c / 4, c % 4);
    let l = (32 + 2 * e + 2 * i - h - k) % 7;
    let m = (a + 11 * h + 19 * l) / 433;
    let month = (h + l - 7 * m + 90) / 25;
    let day = (h + l - 7 * m + 33 * month + 19) % 32;
    let found = i16::try_from(year)
        .ok()
        .zip(i8::try_from(month).ok())
        .zip(i8::try_from(day).ok());
    let found = found.and_then(|((year, month), day)| Date::new(year, month, day).ok());
    found.map_or(0, days_of)
}

/// Milliseconds of a day, for the callers of [`millis_of_day`].
pub(super) const DAY_MS: i64 = millis_of_day(24, 0);

#[cfg(test)]
mod tests {
    use super::*;

    fn days(calendar: &Calendar, year: i16) -> Vec<String> {
        (days_of(date(year, 1, 1))..days_of(date(year + 1, 1, 1)))
            .filter(|day| calendar.contains(*day))
            .map(|day| (date(1970, 1, 1) + jiff::Span::new().days(day)).to_string())
            .collect()
    }

    fn shipped(text: &str) -> Calendar {
        Calendar::read("calendar", text).unwrap()
    }

    #[test]
    fn the_federal_holidays_of_the_us_and_the_days_on_which_they_are_observed() {
        let us = shipped(include_str!("../../../../rules/calendars/us-federal.toml"));
        #[rustfmt::skip]
        assert_eq!(days(&us, 2026), [
            "2026-01-01", "2026-01-19", "2026-02-16", "2026-05-25", "2026-06-19", "2026-07-03", "2026-07-04", "2026-09-07",
            "2026-10-12", "2026-11-11", "2026-11-26", "2026-12-25",
        ]);
        // 1 January 2028 is a Saturday.
        assert!(days(&us, 2027).contains(&"2027-12-31".to_owned()));
    }

    #[test]
    fn australian_holidays_have_substitutes_except_for_anzac_day() {
        let au = shipped(include_str!("../../../../rules/calendars/au-national.toml"));
        #[rustfmt::skip]
        assert_eq!(days(&au, 2026), [
            "2026-01-01", "2026-01-26", "2026-04-03", "2026-04-06", "2026-04-25", "2026-12-25", "2026-12-26", "2026-12-28",
        ]);
        #[rustfmt::skip]
        assert_eq!(days(&au, 2027), [
            "2027-01-01", "2027-01-26", "2027-03-26", "2027-03-29", "2027-04-25", "2027-12-25", "2027-12-26", "2027-12-27",
            "2027-12-28",
        ]);
        assert!(
            days(&au, 2022).contains(&"2022-12-27".to_owned()),
            "Christmas on a Sunday"
        );
    }

    #[test]
    fn french_holidays_move_with_easter() {
        let fr = shipped(include_str!("../../../../rules/calendars/fr-national.toml"));
        #[rustfmt::skip]
        assert_eq!(days(&fr, 2026), [
            "2026-01-01", "2026-04-06", "2026-05-01", "2026-05-08", "2026-05-14", "2026-05-25", "2026-07-14", "2026-08-15",
            "2026-11-01", "2026-11-11", "2026-12-25",
        ]);
    }

    #[test]
    fn easter_sundays_are_those_of_the_almanac() {
        for (year, month, day) in [
            (1970, 3, 29),
            (2000, 4, 23),
            (2024, 3, 31),
            (2038, 4, 25),
            (2076, 4, 19),
            (2100, 3, 28),
        ] {
            assert_eq!(easter(year), days_of(date(year, month, day)), "{year}");
        }
    }

    #[test]
    fn a_state_of_emergency_is_exact_dates() {
        let calendar = shipped(
            "name = 'x'\ncitation = ''\n[[holiday]]\nname = 'storm'\nfrom = 2026-12-30\nto = 2027-01-02\n",
        );
        assert_eq!(days(&calendar, 2026).len() + days(&calendar, 2027).len(), 4);
        let wrong = Calendar::read(
            "x",
            "name = 'x'\ncitation = ''\n[[holiday]]\nname = 'y'\nmonth = 13\nday = 1\n",
        );
        let said = wrong.unwrap_err().to_string();
        assert!(said.contains("holiday 1") && said.contains("month"), "{said}");
    }
}
