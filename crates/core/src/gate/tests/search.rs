//! The first allowed moment is exact: the gate, asked at every whole second before it, never allows.

use super::*;
use proptest::prelude::*;

#[test]
fn a_window_that_never_opens_denies() {
    let book = Rulebook::shipped().unwrap();
    let night = "name = 'acme'\n[[rule]]\nid = 'night'\ncitation = 'our own'\nhours = { every_day = ['02:00-03:00'] }\n";
    let book = Arc::new(book.with_overlay("acme.toml", night).unwrap());
    let call = new_york("2026-11-20T15:00:00Z").with(|call| call.book = book);
    assert_eq!(
        (call.verdict(), call.blockers()),
        ("deny".into(), vec!["acme/night".into(), "paceline/never".into()])
    );
    let long = new_york("2026-11-20T15:00:00Z").with(|call| call.ring = Duration::from_secs(13 * 3_600 + 1));
    assert_eq!(long.verdict(), "deny");
    assert_eq!(
        long.with(|call| call.ring = Duration::from_secs(13 * 3_600))
            .verdict(),
        "2026-11-21T13:00:00Z"
    );
}

fn only(windows: &str) -> Call {
    let text = format!("name = 'acme'\n[[rule]]\nid = 'hours'\ncitation = 'our own'\n{windows}\n");
    let book = Arc::new(
        Rulebook::shipped()
            .unwrap()
            .with_overlay("acme.toml", &text)
            .unwrap(),
    );
    call("SG", &[], &["America/New_York"], "2026-03-08T06:00:00Z").with(|call| call.book = book)
}

#[test]
fn clock_changes_move_the_opening() {
    // 02:00 to 03:00 does not exist on 8 March 2026 in New York.
    let call = only("hours = { every_day = ['02:30-04:00'] }");
    assert_eq!(
        call.verdict(),
        "2026-03-08T07:00:00Z",
        "the first moment of the local 03:00"
    );
    let gone = only("hours = { every_day = ['02:00-03:00'] }");
    assert_eq!(gone.verdict(), "2026-03-09T06:00:00Z");
    // 01:00 to 02:00 comes twice on 1 November 2026.
    let twice =
        only("hours = { every_day = ['01:00-02:00'] }").with(|call| call.at = at("2026-11-01T05:59:50Z"));
    assert_eq!(twice.verdict(), "allow", "01:59:50, and then 01:00 again");
    let between =
        only("hours = { every_day = ['01:30-02:00'] }").with(|call| call.at = at("2026-11-01T05:59:50Z"));
    assert_eq!(between.verdict(), "2026-11-01T06:30:00Z");
}

#[test]
fn windows_that_touch_at_midnight_are_one() {
    let call = only("hours = { every_day = ['00:00-01:00', '23:00-24:00'] }");
    assert_eq!(
        call.with(|call| call.at = at("2026-06-02T03:59:50Z")).verdict(),
        "allow"
    );
    assert_eq!(
        call.with(|call| call.at = at("2026-06-02T04:59:50Z")).verdict(),
        "2026-06-03T03:00:00Z"
    );
}

#[test]
fn a_leap_day_is_a_day() {
    let call = call("FR", &[], &["Europe/Paris"], "2028-02-28T19:30:00Z")
        .with(|call| call.consents = vec![consent(ConsentKind::Express)]);
    assert_eq!(call.verdict(), "2028-02-29T09:00:00Z");
}

#[test]
fn a_rule_ends_at_the_last_zones_midnight() {
    let ends = only("effective_to = 2026-06-02\ncaller_id = { only_prefixes = ['+999'] }");
    let call = ends.with(|call| {
        call.zones = vec![
            Zone::named("America/New_York").unwrap(),
            Zone::named("America/Chicago").unwrap(),
        ];
        call.at = at("2026-06-02T04:59:59.999Z");
    });
    assert_eq!(call.blockers(), ["acme/hours"]);
    assert_eq!(
        call.with(|call| call.at = at("2026-06-02T05:00:00Z")).verdict(),
        "allow"
    );
}

#[test]
fn a_call_that_still_rings_when_new_hours_begin_must_fit_them() {
    let call = call("US", &["OR"], &["America/Los_Angeles"], "2026-01-01T07:59:41Z")
        .with(|call| call.named = vec!["us-or"]);
    assert_eq!(call.verdict(), "2026-01-01T16:00:00Z", "23:59:41, and 20 s");
    assert_eq!(
        call.with(|call| call.at = at("2026-01-01T07:59:40Z")).verdict(),
        "allow"
    );
    // Hours that end: only the part before the end must fit.
    let ends = only("effective_to = 2026-06-02\nhours = { every_day = ['10:00-11:00', '23:59-24:00'] }");
    let call = ends.with(|call| call.ring = Duration::from_secs(90));
    assert_eq!(
        call.with(|call| call.at = at("2026-06-01T15:00:00Z")).verdict(),
        "2026-06-02T03:59:00Z"
    );
}

fn cases() -> impl Strategy<Value = Call> {
    let zones = prop::sample::subsequence(
        vec![
            "America/New_York",
            "America/Chicago",
            "America/Los_Angeles",
            "Pacific/Honolulu",
            "Europe/Paris",
            "Asia/Kolkata",
        ],
        1..=2,
    );
    let states = prop::sample::subsequence(vec!["FL", "MD", "TX", "PA", "AL", "OR", "WA", "KY"], 0..=2);
    let history = prop::collection::vec((0..40 * 86_400_000_i64, 0..Outcome::ALL.len(), 0..6_u8), 0..12);
    let start = ms("2026-08-01T00:00:00Z")..ms("2027-05-01T00:00:00Z");
    let country = prop::sample::select(vec!["US", "US", "US", "FR", "GB", "CA", "AU"]);
    let purpose = prop::sample::select(Purpose::ALL);
    (zones, states, history, start, country, purpose, 0..40_000_u64).prop_map(
        |(zones, states, history, start, country, purpose, ring)| {
            call(country, &states, &zones, "2026-01-01T00:00:00Z").with(|call| {
                call.at = Wall(start);
                call.purpose = purpose;
                call.ring = Duration::from_millis(ring);
                call.consents = vec![consent(ConsentKind::ExpressWritten)];
                call.history = history
                    .into_iter()
                    .map(|(ago, outcome, said)| PastAttempt {
                        at: Wall(start - ago),
                        outcome: Outcome::ALL[outcome],
                        disposition: (said == 0).then_some("refused"),
                        ..attempt("2026-01-01T00:00:00Z", Outcome::Busy)
                    })
                    .collect();
            })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_earlier_moment_is_allowed(call in cases(), looks in prop::collection::vec(0.0..1.0_f64, 60)) {
        let verdict = call.verdict();
        let Ok(until) = verdict.parse::<Timestamp>() else {
            return Ok(());
        };
        let until = until.as_millisecond();
        prop_assert!(until % 1_000 == 0 && until > call.at.0);
        prop_assert_eq!(call.with(|call| call.at = Wall(until)).verdict(), "allow");
        let first = call.at.0.div_euclid(1_000) + 1;
        let seconds = until / 1_000 - first;
        // Every minute of the last hours, the last seconds, and some anywhere.
        let last = (0..600).map(|minutes| until / 1_000 - 60 * minutes).chain((1..90).map(|s| until / 1_000 - s));
        let any = looks.iter().map(|look| first + (*look * seconds as f64) as i64);
        for second in last.chain(any).filter(|second| (first..until / 1_000).contains(second)) {
            let verdict = call.with(|call| call.at = Wall(second * 1_000)).verdict();
            prop_assert_ne!(verdict, "allow", "at {}", second);
        }
    }

    #[test]
    fn more_rules_and_more_attempts_never_allow_more(call in cases(), ago in 0..2_000_000_000_i64) {
        let night = "name = 'acme'\n[[rule]]\nid = 'night'\ncitation = 'ours'\nhours = { every_day = ['09:30-23:00'] }\n";
        let book = Arc::new(call.book.with_overlay("acme.toml", night).unwrap());
        let stricter = call.with(|call| call.book = book);
        let tried = call.with(|call| {
            let last = PastAttempt { at: Wall(call.at.0 - ago), ..attempt("2026-01-01T00:00:00Z", Outcome::Answered) };
            call.history.push(last);
        });
        // Words and times are in this order.
        let rank = |call: &Call| match call.verdict().as_str() {
            "allow" => String::new(),
            "deny" => "9999".to_owned(),
            until => until.to_owned(),
        };
        prop_assert!(rank(&call) <= rank(&stricter));
        prop_assert!(rank(&call) <= rank(&tried));
    }

    #[test]
    fn a_rulebook_with_any_overlay_text_is_an_error_or_works(text in "[a-z\\[\\]='\" \n{}0-9:-]{0,200}") {
        if let Ok(book) = Rulebook::shipped().unwrap().with_overlay("x.toml", &text) {
            prop_assert!(book.profiles().len() == 30);
        }
    }
}
