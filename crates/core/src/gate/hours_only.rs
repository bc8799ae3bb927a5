//! Decides whether a number may be called now. The gate is asked when a contact is leased and again just before the
//! originate. Every decision is stored.
//!
//! Input: the campaign's calling hours, what the store knows about the number, the time. Output: a [`GateDecision`] with
//! its reasons. Start at [`decide`].

use crate::campaign::hours::{CallingHours, CallingWindow, WINDOWS_MAX};
use crate::time::Wall;
use crate::words::words;
use crate::zone;
use jiff::civil::{Time, Weekday};
use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The stored facts about a number, read in the transaction that uses the decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GateFacts {
    /// The contact's own IANA time zone, if it has one.
    pub time_zone: Option<String>,
    /// The reason why the campaign's lists refuse the number; `None` if they do not.
    pub suppressed: Option<GateReason>,
}

/// The decision as stored and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateDecision {
    /// The verdict.
    pub verdict: GateVerdict,
    /// The reasons, most important first. Never empty.
    pub reasons: Vec<GateReason>,
}

/// The verdict of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum GateVerdict {
    /// The number may be called now.
    Allow,
    /// The number may not be called before this time.
    Defer {
        /// Time to ask the gate again, Unix time in milliseconds.
        until_ms: Wall,
    },
    /// The number may not be called.
    Deny,
}

impl GateVerdict {
    /// The word in the store: `allow`, `defer` or `deny`.
    pub fn as_str(self) -> &'static str {
        match self {
            GateVerdict::Allow => "allow",
            GateVerdict::Defer { .. } => "defer",
            GateVerdict::Deny => "deny",
        }
    }
}

words! {
    /// The reason of a gate decision.
    GateReason {
        /// Within the calling hours and on no do-not-call list.
        Clear = "clear",
        /// The number is on the do-not-call list.
        Dnc = "dnc",
        /// The number is on a suppression list: a registry, or one of the team's own.
        Suppressed = "suppressed",
        /// The number is not on the campaign's allowlist.
        NotAllowlisted = "not_allowlisted",
        /// It is outside the calling hours in the contact's time zone.
        OutsideHours = "outside_hours",
        /// The contact's time zone is unknown, or is not the zone of a place. Such a contact is not called.
        UnknownTimeZone = "unknown_time_zone",
        /// Neither the contact nor the campaign has a time zone.
        NoTimeZone = "no_time_zone",
        /// No calling window opens within the next two weeks.
        NeverOpen = "never_open",
    }
}

words! {
    /// The step of a call at which the gate was asked.
    GateStage {
        /// The lease of the contact into the hopper.
        Lease = "lease",
        /// The last check, just before the originate.
        Originate = "originate",
    }
}

/// Wait of a contact without any time zone. If the calling hours change, the gate is asked again at once.
const NO_ZONE_WAIT: Duration = Duration::from_secs(3600);

/// Decides whether a number may be called at `now`. The phone may still ring `margin` later, so the calling window must be
/// open for that long.
pub fn decide(hours: &CallingHours, facts: &GateFacts, now: Wall, margin: Duration) -> GateDecision {
    let answer = |verdict, reason| GateDecision {
        verdict,
        reasons: vec![reason],
    };
    if let Some(reason) = facts.suppressed {
        return answer(GateVerdict::Deny, reason);
    }
    decide_alike(hours, facts.time_zone.as_deref(), now, margin)
}

/// The part of the decision that is the same for all contacts with the same time zone. If it is `Defer`, none of them can
/// be called before that time, so the store makes them wait together. A rule that needs more of a contact than its zone
/// must not be added here.
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

/// The next start of a window after `local`, within two weeks. If a clock change skips a start, it moves by the length of
/// the gap, as jiff does: 02:30 becomes 03:30.
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
    fn a_call_inside_the_hours_is_allowed_if_it_can_ring_until_its_timeout() {
        let facts = GateFacts::default();
        assert_eq!(ask(&facts, "2026-11-20T13:00:00Z").verdict, GateVerdict::Allow); // Friday 08:00
        assert_eq!(ask(&facts, "2026-11-21T01:59:30Z").verdict, GateVerdict::Allow); // 20:59:30 + 25 s
        assert_ne!(ask(&facts, "2026-11-21T01:59:40Z").verdict, GateVerdict::Allow);
    }

    #[test]
    fn a_call_outside_the_hours_waits_for_the_next_window_in_the_contacts_zone() {
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
            suppressed: None,
        };
        assert_eq!(
            ask(&berlin, "2026-11-20T05:00:00Z").verdict,
            GateVerdict::Defer {
                until_ms: at("2026-11-20T07:00:00Z")
            }
        );
    }

    #[test]
    fn a_number_on_the_dnc_list_and_an_unknown_zone_are_denied() {
        let listed = GateFacts {
            suppressed: Some(GateReason::Dnc),
            ..GateFacts::default()
        };
        assert_eq!(ask(&listed, "2026-11-20T15:00:00Z").reasons, [GateReason::Dnc]);
        let nowhere = GateFacts {
            time_zone: Some("Mars/Base".into()),
            suppressed: None,
        };
        let decision = ask(&nowhere, "2026-11-20T15:00:00Z");
        assert_eq!(
            (decision.verdict, decision.reasons),
            (GateVerdict::Deny, vec![GateReason::UnknownTimeZone])
        );
    }

    #[test]
    fn no_contact_is_called_without_a_stated_time_zone() {
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
                suppressed: None,
            };
            let decision = decide(&hours, &own, at(noon), Duration::ZERO);
            assert_eq!(decision.verdict, GateVerdict::Allow, "by the contact's own");
        }
    }

    #[test]
    fn a_contact_with_an_unknown_time_zone_is_denied() {
        // 21:30 in New York: by EST it would be 20:30, inside the hours.
        for name in ["EST", "est", "Etc/GMT+5", "UTC"] {
            let facts = GateFacts {
                time_zone: Some(name.into()),
                suppressed: None,
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
    fn a_window_start_that_a_clock_change_skips_moves_behind_it() {
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
