//! Each rule on both sides of its limit, and of the day from which it is in effect.

use super::*;

#[test]
fn every_shipped_rule_has_what_an_auditor_asks_for() {
    let book = Rulebook::shipped().unwrap();
    assert_eq!(book.profiles().len(), 29);
    for profile in book.profiles() {
        assert!(!profile.regulator.is_empty() && !profile.place.is_empty() && !profile.rules.is_empty());
        for rule in &profile.rules {
            let marked = rule.verified_on.is_some() || rule.unconfirmed || profile.chosen == Chosen::ByName;
            assert!(
                !rule.citation.is_empty() && marked,
                "{} {}",
                profile.name,
                rule.id
            );
        }
    }
}

#[test]
fn an_allowed_call_lists_every_rule_that_was_asked() {
    let (verdict, reasons) = new_york("2026-11-20T15:04:05Z").decide();
    assert_eq!(verdict, "allow");
    #[rustfmt::skip]
    assert_eq!(reasons, [
        "paceline/suppressed", "paceline/dnc_disposition", "us-ftc/hours", "us-ftc/ring_time", "us-fcc/hours", "us-fcc/ring_time",
    ]);
}

#[test]
fn a_call_fits_the_hours_if_its_ring_time_ends_with_them() {
    let call = new_york("2026-11-21T01:59:40Z"); // Friday 20:59:40
    assert_eq!(call.verdict(), "allow");
    let late = call.with(|call| call.at = at("2026-11-21T01:59:40.001Z"));
    assert_eq!(late.verdict(), "2026-11-21T13:00:00Z");
    assert_eq!(late.blockers(), ["us-ftc/hours", "us-fcc/hours"]);
    assert_eq!(
        call.with(|call| call.at = at("2026-11-20T12:59:59.999Z"))
            .verdict(),
        "2026-11-20T13:00:00Z"
    );
    assert_eq!(
        call.with(|call| call.at = at("2026-11-20T13:00:00Z")).verdict(),
        "allow"
    );
}

#[test]
fn every_plausible_zone_and_state_must_allow() {
    // 850: Florida, Eastern and Central.
    let call = call(
        "US",
        &["FL"],
        &["America/New_York", "America/Chicago"],
        "2026-11-20T13:30:00Z",
    )
    .with(|call| call.consents = vec![consent(ConsentKind::ExpressWritten)]);
    assert_eq!(call.verdict(), "2026-11-20T14:00:00Z", "08:30 and 07:30");
    assert_eq!(
        call.with(|call| call.at = at("2026-11-21T00:30:00Z")).verdict(),
        "allow",
        "19:30 and 18:30"
    );
    let evening = call.with(|call| call.at = at("2026-11-21T01:00:00Z")); // 20:00
    assert_eq!(evening.blockers(), ["us-fl/hours"]);
}

#[test]
fn written_consent_must_be_valid_until_the_phone_stops_ringing() {
    let call = call("US", &["FL"], &["America/New_York"], "2026-11-20T15:00:00Z");
    assert_eq!(
        (call.verdict(), call.blockers()),
        ("deny".into(), vec!["us-fl/consent".into()])
    );
    let given = consent(ConsentKind::ExpressWritten);
    let with = |consent: ConsentFact| call.with(|call| call.consents = vec![consent]).verdict();
    let now = call.at;
    let ring = Duration::from_secs(20);
    let second = Duration::from_millis(1);
    assert_eq!(with(given), "allow");
    assert_eq!(
        with(ConsentFact {
            proven: false,
            ..given
        }),
        "allow"
    );
    assert_eq!(with(consent(ConsentKind::Express)), "deny");
    assert_eq!(with(consent(ConsentKind::Contract)), "deny");
    assert_eq!(with(ConsentFact { kind: None, ..given }), "deny");
    assert_eq!(
        with(ConsentFact {
            scope: Some(Purpose::Debt),
            ..given
        }),
        "deny"
    );
    assert_eq!(
        with(ConsentFact {
            granted_at: now,
            ..given
        }),
        "allow"
    );
    assert_eq!(
        with(ConsentFact {
            granted_at: now.plus(second),
            ..given
        }),
        "deny"
    );
    assert_eq!(
        with(ConsentFact {
            expires_at: Some(now.plus(ring)),
            ..given
        }),
        "allow"
    );
    assert_eq!(
        with(ConsentFact {
            expires_at: Some(now.plus(ring).minus(second)),
            ..given
        }),
        "deny"
    );
    assert_eq!(
        call.with(|call| call.purpose = Purpose::Service).verdict(),
        "allow"
    );
}

#[test]
fn germany_needs_a_proof_and_a_caller_id() {
    let call = call("DE", &[], &["Europe/Berlin"], "2026-11-20T15:00:00Z")
        .with(|call| call.consents = vec![consent(ConsentKind::Express)]);
    assert_eq!(call.verdict(), "allow");
    assert_eq!(
        call.with(|call| call.consents[0].kind = Some(ConsentKind::ExpressWritten))
            .verdict(),
        "allow"
    );
    assert_eq!(
        call.with(|call| call.consents[0].proven = false).blockers(),
        ["de/consent"]
    );
    assert_eq!(
        call.with(|call| call.consents[0].kind = Some(ConsentKind::Contract))
            .blockers(),
        ["de/consent"]
    );
    assert_eq!(
        call.with(|call| call.caller_id = None).blockers(),
        ["de/caller_id"]
    );
}

#[test]
fn france_asks_for_consent_from_11_august_2026_on() {
    let before = call("FR", &[], &["Europe/Paris"], "2026-08-10T17:59:40Z");
    assert_eq!(before.verdict(), "allow");
    let morning = before.with(|call| call.at = at("2026-08-10T21:59:59Z"));
    assert_eq!(
        morning.blockers(),
        ["fr/hours", "paceline/never"],
        "no consent after midnight"
    );
    let after = before.with(|call| call.at = at("2026-08-11T08:00:00Z"));
    assert_eq!(after.blockers(), ["fr/consent"]);
    let given = |kind| after.with(|call| call.consents = vec![consent(kind)]);
    assert_eq!(given(ConsentKind::Express).verdict(), "allow");
    assert_eq!(given(ConsentKind::Contract).verdict(), "allow");
    assert_eq!(
        given(ConsentKind::Contract)
            .with(|call| call.consents[0].proven = false)
            .verdict(),
        "deny"
    );
    // Granted later than the first opening under the new rule.
    let later = morning.with(|call| {
        call.consents = vec![ConsentFact {
            granted_at: at("2026-08-12T09:30:00.500Z"),
            ..consent(ConsentKind::Express)
        }];
    });
    assert_eq!(later.verdict(), "2026-08-12T09:30:01Z");
}

#[test]
fn french_hours_have_a_meal_break_and_no_holidays() {
    let call = call("FR", &[], &["Europe/Paris"], "2026-11-20T12:30:00Z")
        .with(|call| call.consents = vec![consent(ConsentKind::Express)]);
    assert_eq!(call.verdict(), "2026-11-20T13:00:00Z");
    assert_eq!(
        call.with(|call| call.at = at("2026-11-11T10:00:00Z")).verdict(),
        "2026-11-12T09:00:00Z"
    );
    assert_eq!(
        call.with(|call| call.at = at("2026-11-11T10:00:00Z")).blockers(),
        ["fr/no_holidays"]
    );
    assert_eq!(
        call.with(|call| call.at = at("2026-11-20T19:00:00Z")).verdict(),
        "2026-11-23T09:00:00Z"
    );
}

#[test]
fn a_cap_counts_attempts_younger_than_its_span() {
    let three = [
        attempt("2026-11-19T15:00:00.250Z", Outcome::NoAnswer),
        attempt("2026-11-19T20:00:00Z", Outcome::Busy),
        attempt("2026-11-20T14:00:00Z", Outcome::Unknown),
    ];
    let call = call("US", &["MD"], &["America/New_York"], "2026-11-20T15:00:00.250Z").with(|call| {
        call.consents = vec![consent(ConsentKind::ExpressWritten)];
        call.history = three.to_vec();
    });
    assert_eq!(
        call.verdict(),
        "allow",
        "an attempt that is exactly 24 h old is out"
    );
    let earlier = call.with(|call| call.at = at("2026-11-20T15:00:00.249Z"));
    assert_eq!(earlier.verdict(), "2026-11-20T15:00:01Z");
    assert_eq!(earlier.blockers(), ["us-md/attempts_24h"]);
    for outcome in [Outcome::Congestion, Outcome::Failed, Outcome::Blocked] {
        assert_eq!(
            earlier.with(|call| call.history[1].outcome = outcome).verdict(),
            "allow"
        );
    }
    assert_eq!(
        earlier.with(|call| call.purpose = Purpose::Service).verdict(),
        "allow"
    );
    let future = earlier.with(|call| call.history[0].at = at("2026-11-20T16:00:00Z"));
    assert_eq!(
        future.verdict(),
        "2026-11-20T20:00:00Z",
        "an attempt of a fast clock counts too"
    );
}

#[test]
fn florida_counts_by_subject_and_maryland_does_not() {
    let case = |state: &'static str| {
        call("US", &[state], &["America/New_York"], "2026-11-20T15:00:00Z").with(|call| {
            call.consents = vec![consent(ConsentKind::ExpressWritten)];
            call.subject = Some("loans");
            call.history = vec![attempt("2026-11-20T14:00:00Z", Outcome::NoAnswer); 3];
        })
    };
    assert_eq!(case("FL").verdict(), "allow");
    assert_eq!(case("MD").verdict(), "2026-11-21T14:00:00Z");
    let same = case("FL").with(|call| call.history.iter_mut().for_each(|a| a.subject = Some("loans")));
    assert_eq!(same.verdict(), "2026-11-21T14:00:00Z");
    assert_eq!(
        case("FL").with(|call| call.subject = None).verdict(),
        "2026-11-21T14:00:00Z"
    );
}

#[test]
fn debts_have_seven_attempts_in_seven_days_and_a_pause_after_a_conversation() {
    let call = new_york("2026-11-20T15:00:00Z").with(|call| {
        call.purpose = Purpose::Debt;
        call.debt = Some("d1");
        call.history = (0..7)
            .map(|_| attempt("2026-11-19T15:00:00Z", Outcome::NoAnswer))
            .collect();
        call.history
            .iter_mut()
            .for_each(|attempt| attempt.debt = Some("d1"));
    });
    assert_eq!(call.verdict(), "2026-11-26T15:00:00Z");
    assert_eq!(call.blockers(), ["us-cfpb/debt_attempts_7d"]);
    assert_eq!(call.with(|call| call.history.truncate(6)).verdict(), "allow");
    assert_eq!(call.with(|call| call.debt = Some("d2")).verdict(), "allow");
    assert_eq!(
        call.with(|call| call.purpose = Purpose::Marketing).verdict(),
        "allow"
    );
    let talked = call.with(|call| {
        call.history.truncate(1);
        call.history[0].outcome = Outcome::Answered;
    });
    assert_eq!(talked.blockers(), ["us-cfpb/debt_conversation_7d"]);
    assert_eq!(talked.verdict(), "2026-11-26T15:00:00Z");
    assert_eq!(
        talked.with(|call| call.at = at("2026-11-26T15:00:00Z")).verdict(),
        "allow"
    );
}

#[test]
fn a_refusal_pauses_or_stops() {
    let refused = |country, states: &[&str], zone| {
        call(country, states, &[zone], "2026-11-20T02:00:00Z").with(|call| {
            let mut attempt = attempt("2026-11-01T10:00:00Z", Outcome::Answered);
            attempt.disposition = Some("refused");
            call.history = vec![attempt];
            call.consents = vec![consent(ConsentKind::ExpressWritten)];
        })
    };
    assert_eq!(refused("JP", &[], "Asia/Tokyo").blockers(), ["jp/refusal_stop"]);
    assert_eq!(
        refused("CN", &[], "Asia/Shanghai").blockers(),
        ["cn/refusal_stop"]
    );
    assert_eq!(refused("JP", &[], "Asia/Tokyo").verdict(), "deny");
    let paris = refused("FR", &[], "Europe/Paris");
    assert_eq!(paris.verdict(), "2026-12-31T10:00:00Z", "60 days");
    // 1 November 2027 at 10:00 UTC is 02:00 on the west coast, still on summer time.
    let seattle = refused("US", &["WA"], "America/Los_Angeles");
    assert_eq!(seattle.verdict(), "2027-11-01T15:00:00Z", "365 days, then 08:00");
    assert_eq!(
        seattle.with(|call| call.purpose = Purpose::Debt).verdict(),
        "allow"
    );
}

#[test]
fn an_abandoned_call_is_not_repeated_for_72_hours_without_a_reserved_agent() {
    let call = call("GB", &[], &["Europe/London"], "2026-11-20T15:00:00Z")
        .with(|call| call.history = vec![attempt("2026-11-18T15:00:00Z", Outcome::Abandoned)]);
    assert_eq!(call.verdict(), "2026-11-21T15:00:00Z");
    assert_eq!(
        call.with(|call| call.mode = DialingMode::Manual).verdict(),
        "2026-11-21T15:00:00Z"
    );
    for mode in [DialingMode::Progressive, DialingMode::Preview] {
        assert_eq!(call.with(|call| call.mode = mode).verdict(), "allow");
    }
}

#[test]
fn the_phone_rings_for_15_seconds_in_the_us_and_the_uk() {
    for (country, zone) in [("US", "America/New_York"), ("GB", "Europe/London")] {
        let call = call(country, &[], &[zone], "2026-11-20T15:00:00Z");
        let ring = |ms| call.with(|call| call.ring = Duration::from_millis(ms)).verdict();
        assert_eq!((ring(14_999).as_str(), ring(15_000).as_str()), ("deny", "allow"));
    }
    let paris = call("FR", &[], &["Europe/Paris"], "2026-08-05T15:00:00Z");
    assert_eq!(
        paris.with(|call| call.ring = Duration::from_secs(1)).verdict(),
        "allow"
    );
}

#[test]
fn caller_ids_are_required_refused_or_of_one_series() {
    let shows = |country, zone, caller_id| {
        call(country, &[], &[zone], "2026-11-20T04:30:00Z")
            .with(|call| {
                call.caller_id = caller_id;
                call.ring = Duration::from_secs(15);
            })
            .blockers()
    };
    assert_eq!(shows("AU", "Australia/Sydney", None), ["au/caller_id"]);
    assert!(shows("AU", "Australia/Sydney", Some("+61255501234")).is_empty());
    assert_eq!(shows("IN", "Asia/Kolkata", None), ["in/caller_id"]);
    assert_eq!(
        shows("IN", "Asia/Kolkata", Some("+919876543210")),
        ["in/caller_id"]
    );
    assert!(shows("IN", "Asia/Kolkata", Some("+911401234567")).is_empty());
    let madrid = |caller_id| {
        call("ES", &[], &["Europe/Madrid"], "2026-11-20T15:00:00Z")
            .with(|call| call.caller_id = caller_id)
            .blockers()
    };
    assert_eq!(madrid(Some("+34612345678")), ["es/caller_id"]);
    assert_eq!(madrid(Some("+34712345678")), ["es/caller_id"]);
    assert!(madrid(Some("+34912345678")).is_empty() && madrid(None).is_empty());
}

#[test]
fn a_recorded_voice_needs_written_consent_in_the_us() {
    let call = new_york("2026-11-20T15:00:00Z").with(|call| call.mode = DialingMode::Agentless);
    assert_eq!(call.blockers(), ["us-fcc/agentless_consent"]);
    let given = call.with(|call| call.consents = vec![consent(ConsentKind::ExpressWritten)]);
    assert_eq!(given.verdict(), "allow");
}

#[test]
fn pennsylvania_has_no_holidays_and_from_18_october_2026_no_sundays() {
    let call = call("US", &["PA"], &["America/New_York"], "2026-10-11T15:00:00Z");
    assert_eq!(call.verdict(), "allow", "a Sunday before");
    let columbus = call.with(|call| call.at = at("2026-10-12T15:00:00Z"));
    assert_eq!(columbus.blockers(), ["us-pa/no_holidays"]);
    let sunday = call.with(|call| call.at = at("2026-10-18T15:00:00Z"));
    assert_eq!(
        (sunday.verdict(), sunday.blockers()),
        ("2026-10-19T12:00:00Z".into(), vec!["us-pa/no_sundays".into()])
    );
    // The night before: the first opening is on the first forbidden Sunday, so it is the Monday.
    let night = call.with(|call| call.at = at("2026-10-18T02:00:00Z"));
    assert_eq!(night.verdict(), "2026-10-19T12:00:00Z");
}

#[test]
fn oregon_is_stricter_from_2026_on_in_any_plausible_zone() {
    let call = call(
        "US",
        &["OR"],
        &["America/Los_Angeles", "America/Boise"],
        "2025-12-31T04:30:00Z",
    );
    assert_eq!(call.verdict(), "2025-12-31T16:00:00Z", "21:30 in one zone");
    let call = call.with(|call| call.at = at("2026-01-01T03:30:00Z")); // 19:30 and 20:30
    assert_eq!(call.verdict(), "allow", "still 2025 in both");
    let call = call.with(|call| call.at = at("2026-01-02T03:30:00Z"));
    assert_eq!(call.blockers(), ["us-or/hours"]);
    assert_eq!(
        call.with(|call| call.named = vec!["us-or"]).blockers(),
        ["us-or/hours"]
    );
}

#[test]
fn texas_opens_at_noon_on_sundays_and_kentucky_at_ten() {
    let texas = call("US", &["TX"], &["America/Chicago"], "2026-11-22T16:00:00Z");
    assert_eq!(texas.verdict(), "2026-11-22T18:00:00Z");
    let kentucky = call("US", &["KY"], &["America/New_York"], "2026-11-20T14:00:00Z");
    assert_eq!(kentucky.verdict(), "2026-11-20T15:00:00Z");
}

#[test]
fn chinese_hours_are_beijing_time_and_short_bursts_are_capped() {
    let call = call("CN", &[], &["Asia/Shanghai"], "2026-11-20T12:30:00Z").with(|call| {
        call.consents = vec![consent(ConsentKind::Express)];
        call.own_zone = Some(Zone::named("Asia/Urumqi").unwrap());
    });
    assert_eq!(call.verdict(), "allow", "20:30 in Beijing");
    assert_eq!(
        call.with(|call| call.at = at("2026-11-20T13:00:00Z")).blockers(),
        ["cn/hours"]
    );
    let burst = call.with(|call| call.history = vec![attempt("2026-11-20T12:26:00Z", Outcome::Busy); 3]);
    assert_eq!(
        (burst.verdict(), burst.blockers()),
        ("2026-11-20T12:31:00Z".into(), vec!["cn/attempts_5min".into()])
    );
}

#[test]
fn weekends_of_canada_brazil_australia_and_hong_kong_differ() {
    let opens = |country, zone, from| call(country, &[], &[zone], from).verdict();
    assert_eq!(
        opens("CA", "America/Toronto", "2026-11-21T14:00:00Z"),
        "2026-11-21T15:00:00Z"
    );
    assert_eq!(opens("CA", "America/Toronto", "2026-11-20T14:00:00Z"), "allow");
    assert_eq!(
        opens("BR", "America/Sao_Paulo", "2026-11-21T12:30:00Z"),
        "2026-11-21T13:00:00Z"
    );
    assert_eq!(
        opens("BR", "America/Sao_Paulo", "2026-11-22T15:00:00Z"),
        "2026-11-23T12:00:00Z"
    );
    assert_eq!(
        opens("AU", "Australia/Sydney", "2026-12-24T22:30:00Z"),
        "2026-12-28T22:00:00Z"
    );
    assert_eq!(
        opens("HK", "Asia/Hong_Kong", "2026-11-22T14:00:00Z"),
        "2026-11-23T01:00:00Z"
    );
    assert_eq!(opens("SG", "Asia/Singapore", "2026-11-22T20:00:00Z"), "allow");
}
