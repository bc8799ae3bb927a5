//! Calling hours of a rule: open windows by weekday and on holidays, in local time.
//!
//! A call from `at` until `at + ring` fits if one open stretch holds all of it; its end may be the end of the stretch.
//! Windows that touch, at midnight too, are one stretch. Start at [`Hours::fits`] and [`Hours::next_opening`].

use super::Zone;
use super::calendar::{Calendar, DAY_MS, weekday};
use super::file::{FileError, Place, millis_of_day};
use crate::campaign::hours::{CallingHours, WINDOWS_MAX};
use serde::Deserialize;
use std::sync::Arc;

/// Open windows by day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hours {
    /// Monday first. Windows are in order and do not touch.
    week: [Vec<Window>; 7],
    holidays: Option<(Arc<Calendar>, Vec<Window>)>,
    /// The zone whose clock decides, instead of the callee's.
    pub(super) zone: Option<Zone>,
}

/// Milliseconds from midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Window {
    from: i64,
    until: i64,
}

const WHOLE_DAY: Window = Window {
    from: 0,
    until: DAY_MS,
};

/// Windows in a file, such as `mon_fri = ["10:00-13:00", "14:00-20:00"]`. A day's own key counts before the others.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct HoursFile {
    every_day: Vec<String>,
    mon_fri: Option<Vec<String>>,
    sat_sun: Option<Vec<String>>,
    mon: Option<Vec<String>>,
    tue: Option<Vec<String>>,
    wed: Option<Vec<String>>,
    thu: Option<Vec<String>>,
    fri: Option<Vec<String>>,
    sat: Option<Vec<String>>,
    sun: Option<Vec<String>>,
    /// The windows on the days of `calendar`, instead of those of the weekday.
    holidays: Option<Vec<String>>,
    calendar: Option<String>,
    time_zone: Option<String>,
}

impl Hours {
    /// Open windows, or closed ones (`closed`), as a file has them.
    pub(super) fn read(
        place: Place,
        file: &HoursFile,
        closed: bool,
        calendars: &[Arc<Calendar>],
    ) -> Result<Self, FileError> {
        let kind = if closed { "closed" } else { "hours" };
        let field = |name: &str| format!("{kind}.{name}");
        let read = |name: &str, texts: &[String]| {
            let windows = texts.iter().map(|text| window(text)).collect::<Option<Vec<_>>>();
            let windows = windows.ok_or_else(|| {
                place.wrong(&field(name), "windows such as \"08:00-20:30\", up to \"24:00\"")
            })?;
            let windows = joined(windows);
            Ok(if closed { others(&windows) } else { windows })
        };
        let day = |name: &str, own: &Option<Vec<String>>, part: &Option<Vec<String>>| {
            read(name, own.as_ref().or(part.as_ref()).unwrap_or(&file.every_day))
        };
        let week = [
            day("mon", &file.mon, &file.mon_fri)?,
            day("tue", &file.tue, &file.mon_fri)?,
            day("wed", &file.wed, &file.mon_fri)?,
            day("thu", &file.thu, &file.mon_fri)?,
            day("fri", &file.fri, &file.mon_fri)?,
            day("sat", &file.sat, &file.sat_sun)?,
            day("sun", &file.sun, &file.sat_sun)?,
        ];
        let holidays = match (&file.holidays, &file.calendar) {
            (Some(windows), Some(name)) => {
                let found = calendars.iter().find(|calendar| calendar.name == *name);
                let found =
                    found.ok_or_else(|| place.wrong(&field("calendar"), "the name of a calendar file"))?;
                Some((found.clone(), read("holidays", windows)?))
            }
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err(place.wrong(&field("holidays"), "`holidays` and `calendar` together"));
            }
        };
        let zone = file.time_zone.as_deref().map(Zone::named).transpose();
        let zone = zone.map_err(|err| place.problem(&field("time_zone"), err.to_string()))?;
        Ok(Self { week, holidays, zone })
    }

    /// The calling hours of a campaign.
    pub(super) fn of_campaign(hours: &CallingHours) -> Self {
        let minutes = |minutes: u16| i64::from(minutes) * 60_000;
        let day = |day: u8| {
            let windows = hours.windows.iter().take(WINDOWS_MAX);
            let windows = windows.filter(|window| window.days.contains(&day));
            joined(
                windows
                    .map(|window| Window {
                        from: minutes(window.from_minute),
                        until: minutes(window.until_minute),
                    })
                    .collect(),
            )
        };
        Self {
            week: [day(1), day(2), day(3), day(4), day(5), day(6), day(7)],
            holidays: None,
            zone: None,
        }
    }

    fn windows(&self, day: i64) -> &[Window] {
        match &self.holidays {
            Some((calendar, windows)) if calendar.contains(day) => windows,
            Some(_) | None => self.week.get(weekday(day)).map_or(&[], Vec::as_slice),
        }
    }

    /// True if all of this local time is open.
    fn covers(&self, from: i64, until: i64) -> bool {
        let mut cursor = from;
        loop {
            let day = cursor.div_euclid(DAY_MS);
            let of_day = cursor.rem_euclid(DAY_MS);
            let windows = self.windows(day).iter();
            let mut holding = windows.filter(|w| w.from <= of_day && of_day < w.until);
            let Some(window) = holding.next() else {
                return false;
            };
            let end = day * DAY_MS + window.until;
            if end >= until {
                return true;
            }
            if window.until < DAY_MS {
                return false;
            }
            cursor = end;
        }
    }

    /// True if a call that may ring from `at` until `end` fits in this zone. Unix times in milliseconds.
    pub(super) fn fits(&self, zone: Zone, at: i64, end: i64) -> bool {
        let mut cursor = at;
        loop {
            let stretch = zone.stretch(cursor);
            let part = end.min(stretch.until);
            if !self.covers(
                cursor.saturating_add(stretch.offset_ms),
                part.saturating_add(stretch.offset_ms),
            ) {
                return false;
            }
            if end <= stretch.until {
                return true;
            }
            cursor = stretch.until;
        }
    }

    /// The first time after `after`, at which a call that may ring for `ring` fits in this zone, but not after `limit`.
    pub(super) fn next_opening(&self, zone: Zone, after: i64, ring: i64, limit: i64) -> Option<i64> {
        let mut cursor = after;
        while cursor <= limit {
            let stretch = zone.stretch(cursor);
            let last = stretch.until.min(limit.saturating_add(1));
            let local = cursor.saturating_add(stretch.offset_ms);
            let opening = self.next_open(local, last.saturating_add(stretch.offset_ms));
            cursor = match opening {
                None => last,
                Some((from, until)) => {
                    let at = from - stretch.offset_ms;
                    if self.fits(zone, at, at.saturating_add(ring)) {
                        return Some(at);
                    }
                    // No later start in this window fits either.
                    (until - stretch.offset_ms).min(last)
                }
            };
        }
        None
    }

    /// The first open local time from `from` on and before `limit`, with the end of its window.
    fn next_open(&self, from: i64, limit: i64) -> Option<(i64, i64)> {
        let mut day = from.div_euclid(DAY_MS);
        loop {
            let midnight = day * DAY_MS;
            if midnight >= limit {
                return None;
            }
            let mut later = self.windows(day).iter().filter(|w| midnight + w.until > from);
            if let Some(window) = later.next() {
                let start = from.max(midnight + window.from);
                return (start < limit).then_some((start, midnight + window.until));
            }
            day += 1;
        }
    }
}

fn window(text: &str) -> Option<Window> {
    let (from, until) = text.split_once('-')?;
    let time = |text: &str| {
        let (hour, minute) = text.trim().split_once(':')?;
        let digits = |text: &str| match text.as_bytes() {
            [b'0'..=b'9', b'0'..=b'9'] => text.parse::<i64>().ok(),
            _ => None,
        };
        let (hour, minute) = (digits(hour)?, digits(minute)?);
        let ms = millis_of_day(hour, minute);
        (minute < 60 && ms <= DAY_MS).then_some(ms)
    };
    let (from, until) = (time(from)?, time(until)?);
    (from < until).then_some(Window { from, until })
}

/// In order, with those that touch made one.
fn joined(mut windows: Vec<Window>) -> Vec<Window> {
    windows.sort_unstable();
    let mut joined: Vec<Window> = Vec::new();
    for window in windows {
        match joined.last_mut() {
            Some(last) if window.from <= last.until => last.until = last.until.max(window.until),
            _ => joined.push(window),
        }
    }
    joined
}

/// The rest of the day.
fn others(windows: &[Window]) -> Vec<Window> {
    let ends = std::iter::once(0).chain(windows.iter().map(|w| w.until));
    let starts = windows
        .iter()
        .map(|w| w.from)
        .chain(std::iter::once(WHOLE_DAY.until));
    let gaps = ends.zip(starts).map(|(from, until)| Window { from, until });
    gaps.filter(|gap| gap.from < gap.until).collect()
}

/// The first moment at which a day, counted from 1970-01-01, has begun in a zone.
pub(super) fn midnight(zone: Zone, day: i64) -> i64 {
    let local = day * DAY_MS;
    // No zone is further than this from UTC.
    let mut cursor = local - 16 * 3_600_000;
    loop {
        let stretch = zone.stretch(cursor);
        let at = local - stretch.offset_ms;
        if at < stretch.until {
            return at.max(cursor);
        }
        cursor = stretch.until;
    }
}
