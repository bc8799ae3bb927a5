//! May this number be called now? Asked when a contact is leased and again just before the originate; every answer is
//! stored.
//!
//! In: the campaign's hours, what the store knows of the number, the time. Out: a [`GateDecision`] with its reasons.
//! Knows no list, no row, no clock. Start at [`decide`].

use crate::campaign::hours::{CallingHours, CallingWindow, WINDOWS_MAX};
use crate::time::Wall;
use crate::words::words;
use crate::zone;
use jiff::civil::{Time, Weekday};
use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What the store knows of a number, read in the transaction that will use the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GateFacts {
    /// The contact's own IANA zone, where it has one.
    pub time_zone: Option<String>,
    /// On a do-not-call list.
    pub dnc: bool,
}

/// The answer, as stored and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateDecision {
    /// Yes, later, or never.
    pub verdict: GateVerdict,
    /// Why, most important first; never empty.
    pub reasons: Vec<GateReason>,
}

/// Yes, later, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum GateVerdict {
    /// It may be called now.
    Allow,
    /// Not before this time.
    Defer {
        /// When to ask again, Unix milliseconds.
        until_ms: Wall,
    },
    /// Not at all.
    Deny,
}

impl GateVerdict {
    /// `allow`, `defer` or `deny`, as stored.
    pub fn as_str(self) -> &'static str {
        match self {
            GateVerdict::Allow => "allow",
            GateVerdict::Defer { .. } => "defer",
            GateVerdict::Deny => "deny",
        }
    }
}

words! {
    /// Why the gate decided so.
    GateReason {
        /// Inside the hours, on no list.
        Clear = "clear",
        /// The number is on a do-not-call list.
        Dnc = "dnc",
        /// It is not a time to call there.
        OutsideHours = "outside_hours",
        /// The contact's time zone is unknown to us, or names no place: no zone, no call.
        UnknownTimeZone = "unknown_time_zone",
        /// Nobody has stated a time zone, neither for the contact nor in the campaign's hours.
        NoTimeZone = "no_time_zone",
        /// No window opens within the next two weeks.
        NeverOpen = "never_open",
    }
}

words! {
    /// At which of the two askings a decision was made.
    GateStage {
        /// When the contact was leased into the hopper.
        Lease = "lease",
        /// Just before the originate.
        Originate = "originate",
    }
}

/// How long a contact waits whose time zone nobody has stated. Changed hours are looked at at once.
const NO_ZONE_WAIT: Duration = Duration::from_secs(3600);

/// Decides whether a number may be called at `now`. A phone that starts to ring at `now` may still ring `margin` later,
/// so the window must be open for that long.
pub fn decide(hours: &CallingHours, facts: &GateFacts, now: Wall, margin: Duration) -> GateDecision {
    let answer = |verdict, reason| GateDecision {
        verdict,
        reasons: vec![reason],
    };
    if facts.dnc {
        return answer(GateVerdict::Deny, GateReason::Dnc);
    }
    decide_alike(hours, facts.time_zone.as_deref(), now, margin)
}

/// The part of the decision that is the same for all contacts of one time zone of their own, or of none: what the rules of
/// time say. Where it is to wait, none of them can be called before, so that they may wait together. A rule that looks at
/// more of a contact than its zone does not belong here.
pub fn decide_alike(
    hours: &CallingHours,
    own_zone: Option<&str>,
    now: Wall,
    margin: Duration,
) -> GateDecision {
    let answer = |verdict, reason| GateDecision {
        verdict,
        reasons: vec![reason],
    };
    let zone = match own_zone {
        Some(own) => zone::of_place(own).map_err(|_| (GateVerdict::Deny, GateReason::UnknownTimeZone)),
        None => {
            let stated = hours
                .time_zone
                .as_deref()
                .and_then(|name| zone::of_place(name).ok());
            let until_ms = now.plus(NO_ZONE_WAIT);
            stated.ok_or((GateVerdict::Defer { until_ms }, GateReason::NoTimeZone))
        }
    };
    let local = zone.and_then(|zone| {
        let at = Timestamp::from_millisecond(now.0);
        at.map(|at| at.to_zoned(zone))
            .map_err(|_| (GateVerdict::Deny, GateReason::UnknownTimeZone))
    });
    let local = match local {
        Ok(local) => local,
        Err((verdict, reason)) => return answer(verdict, reason),
    };
    if open_at(hours, &local) && local.checked_add(margin).is_ok_and(|end| open_at(hours, &end)) {
        return answer(GateVerdict::Allow, GateReason::Clear);
    }
    match next_opening(hours, &local) {
        Some(at) => {
            let until_ms = Wall(at.timestamp().as_millisecond());
            answer(GateVerdict::Defer { until_ms }, GateReason::OutsideHours)
        }
        None => answer(GateVerdict::Deny, GateReason::NeverOpen),
    }
}

fn open_at(hours: &CallingHours, at: &Zoned) -> bool {
    let minute = minute_of_day(at.time());
    windows(hours).any(|w| falls_on(w, at.weekday()) && (w.from_minute..w.until_minute).contains(&minute))
}

fn windows(hours: &CallingHours) -> impl Iterator<Item = &CallingWindow> {
    hours.windows.iter().take(WINDOWS_MAX)
}

fn falls_on(window: &CallingWindow, day: Weekday) -> bool {
    window
        .days
        .iter()
        .any(|d| i8::try_from(*d) == Ok(day.to_monday_one_offset()))
}

fn minute_of_day(time: Time) -> u16 {
    u16::try_from(i32::from(time.hour()) * 60 + i32::from(time.minute())).unwrap_or(0)
}

/// The earliest window start strictly after `local`, within two weeks. A start that a clock change skips lies as
/// long after the gap as it lay in it, as jiff resolves it: 02:30 becomes 03:30.
fn next_opening(hours: &CallingHours, local: &Zoned) -> Option<Zoned> {
    (0..=14i64)
        .filter_map(|days| local.date().checked_add(jiff::Span::new().days(days)).ok())
        .flat_map(|date| {
            windows(hours)
                .filter(move |w| falls_on(w, date.weekday()))
                .filter_map(move |w| {
                    let (hour, minute) = (w.from_minute / 60, w.from_minute % 60);
                    let time = Time::new(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0).ok()?;
                    date.to_datetime(time).to_zoned(local.time_zone().clone()).ok()
                })
        })
        .filter(|start| start > local)
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn business() -> CallingHours {
        CallingHours {
            time_zone: Some("America/New_York".into()),
            windows: vec![CallingWindow {
                days: vec![1, 2, 3, 4, 5],
                from_minute: 8 * 60,
                until_minute: 21 * 60,
            }],
        }
    }

    fn at(text: &str) -> Wall {
        Wall(text.parse::<Timestamp>().unwrap().as_millisecond())
    }

    fn ask(facts: &GateFacts, when: &str) -> GateDecision {
        decide(&business(), facts, at(when), Duration::from_secs(25))
    }

    #[test]
    fn inside_the_hours_is_allowed_and_the_edge_leaves_room_to_ring() {
        let facts = GateFacts::default();
        assert_eq!(ask(&facts, "2026-11-20T13:00:00Z").verdict, GateVerdict::Allow); // Friday 08:00
        assert_eq!(ask(&facts, "2026-11-21T01:59:30Z").verdict, GateVerdict::Allow); // 20:59:30 + 25 s
        assert_ne!(ask(&facts, "2026-11-21T01:59:40Z").verdict, GateVerdict::Allow);
    }

    #[test]
    fn outside_the_hours_waits_for_the_next_opening_in_the_contacts_zone() {
        let friday_night = ask(&GateFacts::default(), "2026-11-21T02:00:00Z");
        assert_eq!(
            friday_night.verdict,
            GateVerdict::Defer {
                until_ms: at("2026-11-23T13:00:00Z")
            }
        );
        assert_eq!(friday_night.reasons, [GateReason::OutsideHours]);
        let berlin = GateFacts {
            time_zone: Some("Europe/Berlin".into()),
            dnc: false,
        };
        assert_eq!(
            ask(&berlin, "2026-11-20T05:00:00Z").verdict,
            GateVerdict::Defer {
                until_ms: at("2026-11-20T07:00:00Z")
            }
        );
    }

    #[test]
    fn dnc_and_an_unknown_zone_deny() {
        let listed = GateFacts {
            dnc: true,
            ..GateFacts::default()
        };
        assert_eq!(ask(&listed, "2026-11-20T15:00:00Z").reasons, [GateReason::Dnc]);
        let nowhere = GateFacts {
            time_zone: Some("Mars/Base".into()),
            dnc: false,
        };
        let decision = ask(&nowhere, "2026-11-20T15:00:00Z");
        assert_eq!(
            (decision.verdict, decision.reasons),
            (GateVerdict::Deny, vec![GateReason::UnknownTimeZone])
        );
    }

    #[test]
    fn nobody_is_called_by_a_zone_that_nobody_stated() {
        let noon = "2027-07-01T16:00:00Z";
        for stated in [None, Some("UTC"), Some("EST")] {
            let mut hours = business();
            hours.time_zone = stated.map(str::to_owned);
            let decision = decide(&hours, &GateFacts::default(), at(noon), Duration::ZERO);
            let until_ms = at("2027-07-01T17:00:00Z");
            assert_eq!(decision.verdict, GateVerdict::Defer { until_ms }, "{stated:?}");
            assert_eq!(decision.reasons, [GateReason::NoTimeZone]);
            let own = GateFacts {
                time_zone: Some("America/New_York".into()),
                dnc: false,
            };
            let decision = decide(&hours, &own, at(noon), Duration::ZERO);
            assert_eq!(decision.verdict, GateVerdict::Allow, "by the contact's own");
        }
    }

    #[test]
    fn a_contacts_zone_that_names_no_place_denies() {
        // 21:30 in New York: by EST it would be 20:30, inside the hours.
        for name in ["EST", "est", "Etc/GMT+5", "UTC"] {
            let facts = GateFacts {
                time_zone: Some(name.into()),
                dnc: false,
            };
            let decision = ask(&facts, "2027-07-02T01:30:00Z");
            assert_eq!(
                (decision.verdict, decision.reasons),
                (GateVerdict::Deny, vec![GateReason::UnknownTimeZone]),
                "{name}"
            );
        }
    }

    #[test]
    fn an_opening_skipped_by_a_clock_change_is_deferred_past_it() {
        let mut hours = business();
        hours.windows = vec![CallingWindow {
            days: vec![7],
            from_minute: 150,
            until_minute: 600,
        }];
        let decision = decide(
            &hours,
            &GateFacts::default(),
            at("2026-03-08T06:00:00Z"),
            Duration::ZERO,
        );
        assert_eq!(
            decision.verdict,
            GateVerdict::Defer {
                until_ms: at("2026-03-08T07:30:00Z")
            }
        );
    }
}
