//! The forecast of a list against the gate, asked about every contact and every hour.

use super::*;
use crate::campaign::CampaignConfig;
use crate::campaign::hours::CallingHours;
use crate::campaign::settings::CampaignSettings;
use crate::ids::CampaignId;

const HOUR_MS: i64 = 3_600_000;
const NUMBER: NumberText = NumberText("+12125550123");
const DAY: Duration = Duration::from_secs(86_400);

/// A contact of a test.
#[derive(Clone, Debug)]
struct Contact {
    country: &'static str,
    states: Vec<State>,
    zones: Vec<Zone>,
    consents: Vec<ConsentFact>,
    history: Vec<PastAttempt<'static>>,
    suppressed: Vec<&'static str>,
}

impl Contact {
    fn new(country: &'static str, states: &[&str], zones: &[&str]) -> Self {
        Self {
            country,
            states: states.iter().map(|state| State::new(state).unwrap()).collect(),
            zones: zones.iter().map(|zone| Zone::named(zone).unwrap()).collect(),
            consents: Vec::new(),
            history: Vec::new(),
            suppressed: Vec::new(),
        }
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            number: Places {
                possible: true,
                country: CountryCode::new(self.country).ok(),
                line: None,
                states: &self.states,
                zones: &self.zones,
            },
            address: None,
            contact: ContactFacts {
                consents: &self.consents,
                ..ContactFacts::default()
            },
            history: &self.history,
            suppressed: &self.suppressed,
            outside: None,
        }
    }
}

fn policy() -> Arc<CampaignPolicy> {
    let config = CampaignConfig {
        id: CampaignId(1),
        settings: CampaignSettings {
            hours: CallingHours::always(),
            ..CampaignSettings::default()
        },
        trunks: Vec::new(),
    };
    Arc::new(CampaignPolicy::new(
        Rulebook::shipped().unwrap(),
        Arc::new(config),
    ))
}

fn forecast(contacts: &[Contact], from: Wall) -> ForecastReport {
    let mut forecast = Forecast::new(policy(), from);
    for contact in contacts {
        forecast.add(NUMBER, None, &contact.facts());
    }
    forecast.report()
}

/// For each hour: the contacts that the gate allows at some time within it, and those of them that it did not allow before.
fn asked_hour_by_hour(contacts: &[Contact], from: Wall) -> Vec<(u64, u64)> {
    let policy = policy();
    let call = PlannedCall {
        number: NUMBER,
        ..policy.call(from, policy.config().settings.dialing.ring_timeout())
    };
    let mut counts = vec![(0, 0); FORECAST_HOURS];
    for contact in contacts {
        let facts = contact.facts();
        let verdict = |at| policy.decide(&PlannedCall { at, ..call }, &facts, |decision| decision.verdict);
        if verdict(from) == GateVerdict::Deny {
            continue;
        }
        let mut was_open = false;
        for (n, count) in counts.iter_mut().enumerate() {
            let hour = from.0.div_euclid(HOUR_MS) + n as i64;
            let (begin, end) = ((hour * HOUR_MS).max(from.0), (hour + 1) * HOUR_MS);
            let open = match verdict(Wall(begin)) {
                GateVerdict::Allow => true,
                GateVerdict::Defer { until_ms } => until_ms.0 < end,
                GateVerdict::Deny => false,
            };
            if open {
                count.0 += 1;
                count.1 += u64::from(!was_open);
            }
            was_open |= open;
        }
    }
    counts
}

fn draws(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |below| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

fn random_contact(draw: &mut impl FnMut(u64) -> u64, from: Wall) -> Contact {
    let mut contact = match draw(8) {
        0 => Contact::new("US", &["NY"], &["America/New_York"]),
        1 => Contact::new("US", &["FL"], &["America/New_York", "America/Chicago"]),
        2 => Contact::new("US", &["OK"], &["America/Chicago"]),
        3 => Contact::new("US", &["AL"], &["America/Chicago"]),
        4 => Contact::new("FR", &[], &["Europe/Paris"]),
        5 => Contact::new("GB", &[], &["Europe/London"]),
        6 => Contact::new("CN", &[], &["Asia/Shanghai"]),
        _ => Contact::new("AU", &[], &["Australia/Sydney", "Australia/Perth"]),
    };
    for _ in 0..draw(3) {
        let kind = [
            ConsentKind::Express,
            ConsentKind::ExpressWritten,
            ConsentKind::Contract,
        ];
        let granted_at = from
            .minus(DAY * draw(900) as u32)
            .plus(DAY * (draw(20) / 19) as u32);
        let expires_at = match draw(4) {
            0 => None,
            1 => Some(from.plus(Duration::from_secs(draw(9 * 86_400)))),
            2 => Some(from.plus(DAY * draw(600) as u32)),
            _ => Some(from.minus(DAY)),
        };
        contact.consents.push(ConsentFact {
            kind: Some(kind[draw(3) as usize]),
            scope: Some(Purpose::Marketing),
            granted_at,
            expires_at,
            proven: draw(3) > 0,
        });
    }
    for _ in 0..draw(2) * draw(7) {
        let outcomes = [
            Outcome::NoAnswer,
            Outcome::Busy,
            Outcome::Answered,
            Outcome::Abandoned,
            Outcome::Failed,
        ];
        contact.history.push(PastAttempt {
            at: from.minus(Duration::from_secs(draw(12 * 86_400) / (1 + draw(40)))),
            outcome: outcomes[draw(5) as usize],
            disposition: (draw(12) == 0).then_some("refused"),
            ..attempt("2026-01-01T00:00:00Z", Outcome::Busy)
        });
    }
    if draw(20) == 0 {
        contact.suppressed.push("do-not-call");
    }
    contact
}

#[test]
fn the_hours_of_a_list_are_those_that_the_gate_gives_for_each_contact_and_hour() {
    // A holiday of the US within the week, and the last days before a rule of Pennsylvania.
    for (seed, start) in [
        (1, "2026-11-24T13:20:00Z"),
        (2, "2027-03-12T23:59:59Z"),
        (3, "2026-10-15T04:00:00Z"),
        (4, "2027-07-03T17:45:12.345Z"),
    ] {
        let from = at(start);
        let mut draw = draws(seed);
        let contacts: Vec<_> = (0..150).map(|_| random_contact(&mut draw, from)).collect();
        let report = forecast(&contacts, from);
        let hours: Vec<_> = report
            .hours
            .iter()
            .map(|hour| (hour.callable, hour.first))
            .collect();
        assert_eq!(hours, asked_hour_by_hour(&contacts, from), "{start}");
        assert_eq!(report.contacts, 150);
        assert_eq!(report.callable + report.waiting + report.skipped, 150);
        let first: u64 = report.hours.iter().map(|hour| hour.first).sum();
        assert_eq!(first + report.later + report.skipped, 150, "{start}");
        let by = |reasons: &[ForecastReason]| reasons.iter().map(|reason| reason.contacts).sum::<u64>();
        assert_eq!(by(&report.skipped_by), report.skipped);
        assert_eq!(by(&report.waiting_by), report.waiting);
        assert!(report.callable > 0 || report.waiting > 0);
    }
}

#[test]
fn each_contact_counts_once_for_the_rule_that_decided() {
    let from = at("2026-11-20T11:30:00Z");
    let york = Contact::new("US", &["NY"], &["America/New_York"]);
    let florida = Contact::new("US", &["FL"], &["America/New_York"]);
    let mut listed = york.clone();
    listed.suppressed.push("do-not-call");
    let mut nowhere = york.clone();
    nowhere.zones.clear();
    let london = Contact::new("GB", &[], &["Europe/London"]);
    let report = forecast(&[york.clone(), york, florida, listed, nowhere, london], from);
    assert_eq!((report.callable, report.waiting, report.skipped), (1, 2, 3));
    let named = |reasons: &[ForecastReason]| -> Vec<(String, u64)> {
        let name = |reason: &ForecastReason| {
            let rule = format!("{}/{}", reason.example.profile, reason.example.rule);
            (rule, reason.contacts)
        };
        reasons.iter().map(name).collect()
    };
    assert_eq!(named(&report.waiting_by), [("us-ftc/hours".to_owned(), 2)]);
    let mut skipped = named(&report.skipped_by);
    skipped.sort();
    assert_eq!(skipped.iter().map(|(_, n)| n).sum::<u64>(), 3);
    assert!(
        skipped.contains(&("paceline/suppressed".to_owned(), 1)),
        "{skipped:?}"
    );
    assert!(
        skipped.contains(&("paceline/no_zone".to_owned(), 1)),
        "{skipped:?}"
    );
    // 06:30 in New York; the first hour of the forecast is half an hour, and the calls may begin at 08:00.
    assert_eq!(report.hours[0].from, from);
    assert_eq!(report.hours[1].from, at("2026-11-20T12:00:00Z"));
    assert_eq!((report.hours[0].callable, report.hours[0].first), (1, 1));
    assert_eq!((report.hours[2].callable, report.hours[2].first), (3, 2));
}

#[test]
fn a_contact_with_attempts_has_no_hour_before_its_cap_ends() {
    let from = at("2026-11-20T15:30:00Z");
    let mut called = Contact::new("US", &["FL"], &["America/New_York"]);
    called.consents.push(consent(ConsentKind::ExpressWritten));
    called.history = vec![
        attempt("2026-11-20T14:40:00Z", Outcome::NoAnswer),
        attempt("2026-11-19T19:10:00Z", Outcome::NoAnswer),
        attempt("2026-11-19T20:10:00Z", Outcome::NoAnswer),
    ];
    let report = forecast(&[called], from);
    assert_eq!(
        (report.waiting, report.waiting_by[0].example.rule.as_str()),
        (1, "attempts_24h")
    );
    let first = report.hours.iter().find(|hour| hour.first > 0).unwrap();
    assert_eq!(first.from, at("2026-11-20T19:00:00Z"));
}
