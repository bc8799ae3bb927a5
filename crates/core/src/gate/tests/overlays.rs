//! Tests of the profile `paceline`, whose rules belong to no regulator, and of the overlays of a team.

use super::*;

#[test]
fn a_listed_number_and_a_wish_not_to_be_called_deny_everything() {
    let call = new_york("2026-11-20T15:00:00Z").with(|call| {
        call.purpose = Purpose::Service;
        call.consents = vec![consent(ConsentKind::ExpressWritten)];
    });
    assert_eq!(
        call.with(|call| call.suppressed = vec!["internal"]).blockers(),
        ["paceline/suppressed"]
    );
    let mut wish = attempt("2020-01-01T00:00:00Z", Outcome::Answered);
    wish.disposition = Some("dnc");
    assert_eq!(
        call.with(|call| call.history = vec![wish]).blockers(),
        ["paceline/dnc_disposition"]
    );
}

#[test]
fn a_number_without_a_zone_is_denied_whatever_the_contact_says() {
    let call = call("US", &[], &[], "2026-11-20T15:00:00Z").with(|call| {
        call.own_zone = Some(Zone::named("America/New_York").unwrap());
    });
    assert_eq!(call.blockers(), ["paceline/no_zone"]);
    assert_eq!(
        call.with(|call| call.possible = false).blockers(),
        ["paceline/impossible_number"]
    );
}

#[test]
fn a_country_without_rules_is_denied() {
    assert_eq!(
        call("JM", &[], &["America/Jamaica"], "2026-11-20T15:00:00Z").blockers(),
        ["paceline/no_profile"]
    );
    let guam = call("GU", &[], &["Pacific/Guam"], "2026-11-20T01:00:00Z");
    assert_eq!(guam.verdict(), "allow", "the territories have the federal rules");
    let abroad = new_york("2026-11-20T15:00:00Z").with(|call| {
        call.address = Some(("JM", Vec::new(), vec![Zone::named("America/Jamaica").unwrap()]));
    });
    assert_eq!(abroad.blockers(), ["paceline/no_profile"]);
}

#[test]
fn an_address_in_another_country_adds_its_rules_and_zones() {
    let sydney = Zone::named("Australia/Sydney").unwrap();
    let call =
        new_york("2026-11-20T15:00:00Z").with(|call| call.address = Some(("AU", Vec::new(), vec![sydney])));
    assert_eq!(call.blockers(), ["us-ftc/hours", "us-fcc/hours", "au/hours"]);
    // Friday 17:00 in New York is Saturday 09:00 in Sydney.
    assert_eq!(call.verdict(), "2026-11-20T22:00:00Z");
    let unknown = call.with(|call| call.address = Some(("AU", Vec::new(), Vec::new())));
    assert_eq!(unknown.blockers(), ["paceline/no_zone"]);
}

#[test]
fn a_state_replaces_those_of_the_area_code_and_a_zone_replaces_zones_only() {
    let zone = |name| Zone::named(name).unwrap();
    let florida = State::new("FL").unwrap();
    let call = new_york("2026-11-20T13:30:00Z");
    let moved = call.with(|call| {
        call.own_state = Some(florida);
        call.address = Some((
            "US",
            vec![florida],
            vec![zone("America/New_York"), zone("America/Chicago")],
        ));
    });
    assert_eq!(
        moved.blockers(),
        ["us-ftc/hours", "us-fcc/hours", "us-fl/hours", "us-fl/consent"]
    );
    let both = moved.with(|call| call.own_zone = Some(zone("America/New_York")));
    assert_eq!(both.blockers(), ["us-fl/consent"]);
    // A country alone, equal to the number's, says nothing new.
    let home = call.with(|call| call.address = Some(("US", vec![florida], vec![zone("America/Chicago")])));
    assert_eq!(home.verdict(), "allow");
}

#[test]
fn named_profiles_are_asked_alone_and_only_in_their_countries() {
    let call = call("US", &["FL"], &["America/New_York"], "2026-11-20T15:00:00Z");
    let ftc = call.with(|call| call.named = vec!["us-ftc"]);
    assert_eq!(
        ftc.decide().1,
        [
            "paceline/suppressed",
            "paceline/dnc_disposition",
            "us-ftc/hours",
            "us-ftc/ring_time"
        ]
    );
    assert_eq!(
        call.with(|call| call.named = vec!["ca"]).blockers(),
        ["paceline/other_country"]
    );
    let book = Rulebook::shipped().unwrap().clone();
    let unknown = Policy::named(book, &["us-ftc", "us-zz"]).unwrap_err();
    assert_eq!(unknown, UnknownProfile { index: 1 });
    let litigation = call.with(|call| call.named = vec!["us-ftc", "litigation"]);
    assert_eq!(litigation.blockers(), ["litigation/consent"]);
}

fn overlay(text: &str) -> Result<Rulebook, FileError> {
    Rulebook::shipped().unwrap().with_overlay("acme.toml", text)
}

const STRICTER: &str = "
name = 'acme'
[[calendar]]
name = 'storm'
citation = 'our own'
[[calendar.holiday]]
name = 'storm'
from = 2026-11-23
to = 2026-11-24
[[rule]]
id = 'lunch'
citation = 'our own'
closed = { every_day = ['12:00-14:00'] }
[[rule]]
id = 'storm'
citation = 'our own'
closed = { holidays = ['00:00-24:00'], calendar = 'storm' }
[[rule]]
id = 'interval'
citation = 'our own'
attempts = { max = 1, span = '6 hours', per = 'number' }
[[rule]]
id = 'lifetime'
citation = 'our own'
attempts = { max = 10, per = 'campaign' }
[[rule]]
id = 'chosen'
citation = 'our own'
purposes = ['service']
allowlist = { tags = ['chosen'] }
";

#[test]
fn an_overlay_makes_the_rules_stricter() {
    let book = Arc::new(overlay(STRICTER).unwrap());
    let call = new_york("2026-11-20T17:30:00Z").with(|call| call.book = book);
    assert_eq!(
        (call.verdict(), call.blockers()),
        ("2026-11-20T19:00:00Z".into(), vec!["acme/lunch".into()])
    );
    let monday = call.with(|call| call.at = at("2026-11-23T15:00:00Z"));
    assert_eq!(monday.verdict(), "2026-11-25T13:00:00Z");
    let just_called = call.with(|call| {
        call.at = at("2026-11-20T16:00:00Z");
        call.history = vec![attempt("2026-11-20T15:00:00Z", Outcome::Busy)];
    });
    assert_eq!(just_called.verdict(), "2026-11-20T21:00:00Z");
    let often =
        just_called.with(|call| call.history = vec![attempt("2026-11-01T15:00:00Z", Outcome::Busy); 10]);
    assert_eq!(
        (often.verdict(), often.blockers()),
        ("deny".into(), vec!["acme/lifetime".into()])
    );
    assert_eq!(often.with(|call| call.history.truncate(9)).verdict(), "allow");
    let service = just_called.with(|call| {
        call.history.clear();
        call.purpose = Purpose::Service;
    });
    assert_eq!(service.blockers(), ["acme/chosen"]);
    assert_eq!(service.with(|call| call.tags = vec!["chosen"]).verdict(), "allow");
}

#[test]
fn a_rule_is_switched_off_only_with_a_reason() {
    let off = "name = 'acme'\n[[switch_off]]\nprofile = 'hk'\nrule = 'hours'\noverride = 'the code binds members only'\n";
    let book = overlay(off).unwrap();
    assert_eq!(book.overrides()[0].reason, "the code binds members only");
    let call = call("HK", &[], &["Asia/Hong_Kong"], "2026-11-22T18:00:00Z");
    assert_eq!(call.blockers(), ["hk/hours"]);
    assert_eq!(call.with(|call| call.book = Arc::new(book)).verdict(), "allow");
    let silent = overlay("name = 'acme'\n[[switch_off]]\nprofile = 'hk'\nrule = 'hours'\noverride = ' '\n");
    assert!(silent.unwrap_err().to_string().contains("reason in words"));
    let missing = overlay("name = 'acme'\n[[switch_off]]\nprofile = 'hk'\nrule = 'hours'\n");
    assert!(missing.unwrap_err().to_string().contains("override"));
}

#[test]
fn a_bad_file_names_file_rule_and_field() {
    let rule = |lines: &str| {
        let text = format!("name = 'acme'\n[[rule]]\nid = 'mine'\ncitation = 'our own'\n{lines}\n");
        overlay(&text).unwrap_err().to_string()
    };
    for (lines, field) in [
        ("hours = { every_day = ['8:00-20:00'] }", "hours.mon"),
        ("hours = { every_day = ['20:00-08:00'] }", "hours.mon"),
        ("hours = { every_day = [], time_zone = 'EST' }", "hours.time_zone"),
        ("hours = { holidays = [], calendar = 'none' }", "hours.calendar"),
        ("hours = { holidays = [] }", "hours.holidays"),
        ("hours = { weekdays = [] }", "hours.weekdays"),
        ("attempts = { max = 0, span = '1 day' }", "attempts.max"),
        ("attempts = { max = 1, span = '1 year' }", "attempts.span"),
        ("attempts = { max = 1, per = 'person' }", "attempts.per"),
        ("pause = { span = '1 day' }", "pause"),
        ("consent = { kinds = ['implied'] }", "consent.kinds[0]"),
        ("ring_time = { ring_ms_min = -1 }", "ring_time.ring_ms_min"),
        ("attempts = { max = 1 }\nring_time = { ring_ms_min = 1 }", "id"),
        ("", "id"),
        (
            "effective_from = 'soon'\nring_time = { ring_ms_min = 1 }",
            "effective_from",
        ),
        (
            "effective_from = 2026-02-01\neffective_to = 2026-01-01\nring_time = { ring_ms_min = 1 }",
            "effective_to",
        ),
        (
            "purposes = ['fun']\nring_time = { ring_ms_min = 1 }",
            "purposes[0]",
        ),
    ] {
        let said = rule(lines);
        let begins = format!("acme.toml, rule mine, field `{field}`");
        assert!(said.starts_with(&begins), "{lines}: {said}");
    }
    assert!(
        overlay("name = 'us-fl'")
            .unwrap_err()
            .to_string()
            .contains("field `name`")
    );
    assert!(
        overlay("name = ")
            .unwrap_err()
            .to_string()
            .contains("acme.toml is not TOML")
    );
    assert!(
        overlay("nam = 'x'")
            .unwrap_err()
            .to_string()
            .contains("acme.toml, field")
    );
}

#[test]
fn the_abandon_rules_come_from_the_files() {
    let rules = Rulebook::shipped().unwrap().abandon_rules();
    let named: Vec<_> = rules
        .iter()
        .map(|rule| (rule.name.as_str(), rule.ratio_max, rule.ring_ms_min))
        .collect();
    assert_eq!(
        named,
        [
            ("us-ftc", 0.03, 15_000),
            ("us-fcc", 0.03, 15_000),
            ("uk-ofcom", 0.03, 15_000),
            ("ca", 0.05, 0)
        ]
    );
}
