//! Compares the tables for numbers, countries and states with lists and rules written by hand.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use paceline_core::contact::{CountryCode, NumberKind};
use paceline_core::gate::{Places, State, Zone};
use paceline_core::number::E164;
use paceline_places::{carrier, of_country, of_number, of_state, region};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// The area codes of the states and provinces, as NANPA and CNA assign them.
#[rustfmt::skip]
const AREA_CODES: [(&str, &str); 61] = [
    ("AL", "205 251 256 334 659 938"), ("AK", "907"), ("AZ", "480 520 602 623 928"), ("AR", "327 479 501 870"),
    ("CA", "209 213 279 310 323 341 350 369 408 415 424 442 510 530 559 562 619 626 628 650 657 661 669 707 714 738 747 760 805 \
            818 820 831 840 858 909 916 925 949 951"),
    ("CO", "303 719 720 748 970 983"), ("CT", "203 475 860 959"), ("DE", "302"), ("DC", "202 771"),
    ("FL", "239 305 321 324 352 386 407 448 561 645 656 689 727 728 754 772 786 813 850 863 904 941 954"),
    ("GA", "229 404 470 478 678 706 762 770 912 943"), ("HI", "808"), ("ID", "208 986"),
    ("IL", "217 224 309 312 331 447 464 618 630 708 730 773 779 815 847 872"), ("IN", "219 260 317 463 574 765 812 930"),
    ("IA", "319 515 563 641 712"), ("KS", "316 620 785 913"), ("KY", "270 364 502 606 859"), ("LA", "225 318 337 504 985"),
    ("ME", "207"), ("MD", "227 240 301 410 443 667"), ("MA", "339 351 413 508 617 774 781 857 978"),
    ("MI", "231 248 269 313 517 586 616 734 810 906 947 989"), ("MN", "218 320 507 612 651 763 952"), ("MS", "228 601 662 769"),
    ("MO", "235 314 417 557 573 636 660 816 975"), ("MT", "406"), ("NE", "308 402 531"), ("NV", "702 725 775"), ("NH", "603"),
    ("NJ", "201 551 609 640 732 848 856 862 908 973"), ("NM", "505 575"),
    ("NY", "212 315 329 332 347 363 516 518 585 607 631 646 680 716 718 838 845 914 917 929 934"),
    ("NC", "252 336 472 704 743 828 910 919 980 984"), ("ND", "701"),
    ("OH", "216 220 234 283 326 330 380 419 440 513 567 614 740 937"), ("OK", "405 539 572 580 918"), ("OR", "458 503 541 971"),
    ("PA", "215 223 267 272 412 445 484 570 582 610 717 724 814 835 878"), ("RI", "401"), ("SC", "803 821 839 843 854 864"),
    ("SD", "605"), ("TN", "423 615 629 731 865 901 931"),
    ("TX", "210 214 254 281 325 346 361 409 430 432 469 512 682 713 726 737 806 817 830 832 903 915 936 940 945 956 972 979"),
    ("UT", "385 435 801"), ("VT", "802"), ("VA", "276 434 540 571 686 703 757 804 826 948"), ("WA", "206 253 360 425 509 564"),
    ("WV", "304 681"), ("WI", "262 274 353 414 534 608 715 920"), ("WY", "307"),
    ("AB", "368 403 587 780 825"), ("BC", "236 250 257 604 672 778"), ("MB", "204 431 584"), ("NB", "428 506"), ("NL", "709 879"),
    ("NS PE", "782 902"), ("NT NU YT", "867"),
    ("ON", "226 249 289 343 365 382 416 437 519 548 613 647 683 705 742 753 807 905 942"),
    ("QC", "263 273 354 367 418 438 450 468 514 579 581 819 873"), ("SK", "306 474 639"),
];
/// The area codes of other countries of +1.
#[rustfmt::skip]
const ELSEWHERE: [(&str, &str); 23] = [
    ("AG", "268"), ("AI", "264"), ("AS", "684"), ("BB", "246"), ("BM", "441"), ("BS", "242"), ("DM", "767"),
    ("DO", "809 829 849"), ("GD", "473"), ("GU", "671"), ("JM", "658 876"), ("KN", "869"), ("KY", "345"), ("LC", "758"),
    ("MP", "670"), ("MS", "664"), ("PR", "787 939"), ("SX", "721"), ("TC", "649"), ("TT", "868"), ("VC", "784"), ("VG", "284"),
    ("VI", "340"),
];
/// Area codes whose rows name a zone that no place of the state has. A row is never dropped, so the calling hours of these codes
/// are one hour shorter.
const MISLEADING: [&str; 3] = ["474", "867", "879"];

/// The area codes of +1 whose rows name several zones, and these zones (phonenumbers 9.0.43).
const ROWS: [(&str, &str); 25] = [
    ("208", "America/Boise America/Denver America/Los_Angeles"),
    ("219", "America/Chicago America/New_York"),
    ("250", "America/Edmonton America/Vancouver"),
    ("270", "America/Chicago America/New_York"),
    ("308", "America/Chicago America/Denver"),
    ("418", "America/Halifax America/Toronto"),
    ("423", "America/Chicago America/New_York"),
    ("541", "America/Denver America/Los_Angeles"),
    ("574", "America/Chicago America/New_York"),
    (
        "605",
        "America/Chicago America/Denver America/North_Dakota/Center",
    ),
    ("606", "America/Chicago America/New_York"),
    ("620", "America/Chicago America/Denver"),
    (
        "701",
        "America/Chicago America/Denver America/North_Dakota/Center",
    ),
    ("709", "America/Halifax America/St_Johns"),
    ("775", "America/Boise America/Denver America/Los_Angeles"),
    ("785", "America/Chicago America/Denver"),
    ("807", "America/Toronto America/Winnipeg"),
    ("812", "America/Chicago America/New_York"),
    ("850", "America/Chicago America/New_York"),
    (
        "867",
        "America/Edmonton America/Fort_Nelson America/Toronto America/Vancouver America/Winnipeg",
    ),
    ("879", "America/Puerto_Rico America/St_Johns"),
    ("906", "America/Chicago America/New_York"),
    (
        "907",
        "America/Adak America/Anchorage America/Juneau Pacific/Honolulu",
    ),
    ("928", "America/Denver America/Phoenix"),
    ("986", "America/Boise America/Los_Angeles"),
];

fn number(text: &str) -> E164 {
    E164::new(text).unwrap()
}

fn places(text: &str) -> Places<'static> {
    of_number(&number(text))
}

fn country(code: &str) -> CountryCode {
    CountryCode::new(code).unwrap()
}

fn names(zones: &[Zone]) -> BTreeSet<&'static str> {
    zones.iter().map(|zone| zone.name()).collect()
}

fn in_area(code: &str) -> Places<'static> {
    places(&format!("+1{code}5550123"))
}

fn offset_minutes(zone: Zone, at: Timestamp) -> i32 {
    TimeZone::get(zone.name()).unwrap().to_offset(at).seconds() / 60
}

/// Noon UTC of every fifth day of 2026 and 2027.
fn days() -> impl Iterator<Item = Timestamp> {
    let first: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    (0..146).map(move |day| first + (day * 120).hours())
}

/// The fewest minutes a day that are between 8 and 21 o'clock in all zones.
fn open_minutes(zones: &[Zone]) -> i32 {
    let open = |at| {
        let offsets = zones.iter().map(|zone| offset_minutes(*zone, at));
        13 * 60 - (offsets.clone().max().unwrap() - offsets.min().unwrap())
    };
    days().map(open).min().unwrap()
}

#[test]
fn every_area_code_is_in_the_states_that_it_is_assigned_to_and_no_other_code_has_a_place() {
    let mut assigned = BTreeSet::new();
    for (states, codes) in AREA_CODES {
        for code in codes.split_whitespace() {
            let found = in_area(code);
            let found_states: Vec<_> = found.states.iter().map(State::as_str).collect();
            assert_eq!(found_states.join(" "), states, "{code}");
            assert!(!found.zones.is_empty() && found.possible, "{code}");
            let expected = if State::of_country(country("US"), &states[..2]).is_some() {
                "US"
            } else {
                "CA"
            };
            assert_eq!(found.country, Some(country(expected)), "{code}");
            assigned.insert(code.to_owned());
        }
    }
    for (expected, codes) in ELSEWHERE {
        for code in codes.split_whitespace() {
            let found = in_area(code);
            assert_eq!(found.country, Some(country(expected)), "{code}");
            assert!(found.states.is_empty() && !found.zones.is_empty(), "{code}");
            assigned.insert(code.to_owned());
        }
    }
    assert_eq!(assigned.len(), 442);
    for code in 0..1_000 {
        let code = format!("{code:03}");
        if !assigned.contains(&code) {
            let found = in_area(&code);
            assert!(
                found.zones.is_empty() && found.states.is_empty() && found.possible,
                "{code}"
            );
        }
    }
}

#[test]
fn an_area_code_has_no_clock_that_its_states_lack() {
    for (states, codes) in AREA_CODES {
        let of_states: Vec<Zone> = states
            .split_whitespace()
            .flat_map(|state| {
                of_state(State::new(state).unwrap())
                    .unwrap()
                    .zones
                    .iter()
                    .copied()
            })
            .collect();
        for code in codes.split_whitespace().filter(|code| !MISLEADING.contains(code)) {
            for (zone, at) in in_area(code)
                .zones
                .iter()
                .flat_map(|zone| days().map(move |at| (zone, at)))
            {
                let clock = offset_minutes(*zone, at);
                // A row of Dutch Harbor (907-581) names Honolulu, which is an hour behind Adak in summer.
                let known = code == "907" && zone.name() == "Pacific/Honolulu";
                let has = of_states.iter().any(|zone| offset_minutes(*zone, at) == clock);
                assert!(has || known, "{code} {zone} {at}");
            }
        }
    }
}

#[test]
fn an_area_code_has_every_zone_that_a_row_of_the_data_names() {
    for (code, zones) in ROWS {
        let found = names(in_area(code).zones);
        assert!(zones.split(' ').all(|zone| found.contains(zone)), "{code}");
    }
}

#[test]
fn an_overlay_has_the_zones_of_the_area_that_it_shares() {
    #[rustfmt::skip]
    let groups = [
        ("850", "448"), ("812", "930"), ("270", "364"), ("541", "458"), ("418", "367 581"), ("208", "986"), ("709", "879"),
        ("306", "474 639"), ("639", "474"), ("604", "236 257 672 778"), ("250", "236 257 672 778"), ("407", "689"), ("321", "689"),
    ];
    for (older, overlays) in groups {
        for overlay in overlays.split_whitespace() {
            let (older, overlay) = (names(in_area(older).zones), names(in_area(overlay).zones));
            assert!(overlay.is_superset(&older), "{older:?} {overlay:?}");
        }
    }
    assert_eq!(names(in_area("604").zones), BTreeSet::from(["America/Vancouver"]));
    assert_eq!(
        names(in_area("850").zones),
        BTreeSet::from(["America/Chicago", "America/New_York"])
    );
    assert!(names(in_area("689").zones).contains("America/New_York"));
    assert!(names(in_area("474").zones).contains("America/Regina"));
}

#[test]
fn as_many_hours_stay_between_8_and_21_o_clock_as_were_counted_by_hand() {
    let codes = || {
        AREA_CODES
            .iter()
            .chain(&ELSEWHERE)
            .flat_map(|(_, codes)| codes.split_whitespace())
    };
    // 417 have one clock by their own rows. Twelve more share an area of two clocks as overlays, and Lloydminster, in
    // Saskatchewan, kept Alberta's winter time until 2026.
    let full = codes()
        .filter(|code| open_minutes(in_area(code).zones) == 13 * 60)
        .count();
    assert_eq!(full, 403);
    let us = of_country(country("US")).unwrap();
    assert_eq!((us.states.len(), open_minutes(us.zones)), (51, 7 * 60));
    let contiguous = us
        .states
        .iter()
        .filter(|state| !["AK", "HI"].contains(&state.as_str()));
    let contiguous: Vec<Zone> = contiguous
        .flat_map(|state| of_state(*state).unwrap().zones.iter().copied())
        .collect();
    assert_eq!(open_minutes(&contiguous), 10 * 60);
}

#[test]
fn a_brazilian_number_is_where_its_area_code_is_even_if_it_is_a_mobile() {
    #[rustfmt::skip]
    let zones = [
        (11, "America/Sao_Paulo", true), (61, "America/Sao_Paulo", true), (65, "America/Cuiaba", false),
        (68, "America/Rio_Branco", true), (69, "America/Porto_Velho", false), (81, "America/Noronha", true),
        (81, "America/Recife", true), (92, "America/Manaus", true), (95, "America/Boa_Vista", false),
        (97, "America/Eirunepe", true), (97, "America/Manaus", true),
    ];
    let noon: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
    for (area, zone, by_name) in zones {
        let clock = offset_minutes(Zone::named(zone).unwrap(), noon);
        for text in [format!("+55{area}912345678"), format!("+55{area}32345678")] {
            let found = places(&text);
            assert_eq!(found.country, Some(country("BR")));
            assert!(
                found
                    .zones
                    .iter()
                    .any(|zone| offset_minutes(*zone, noon) == clock),
                "{area} {zone}"
            );
            assert!(!by_name || names(found.zones).contains(zone), "{area} {zone}");
        }
    }
    assert_eq!(
        names(places("+5511912345678").zones),
        BTreeSet::from(["America/Sao_Paulo"])
    );
    for service in ["+55800123456", "+5530012345", "+552312345678"] {
        assert!(places(service).zones.is_empty(), "{service}");
    }
}

#[test]
fn mobile_and_voip_numbers_without_an_area_are_in_all_zones_of_their_country() {
    let australia = names(of_country(country("AU")).unwrap().zones);
    let mobile = names(places("+61412345678").zones);
    assert!(mobile.is_superset(&australia));
    assert!(mobile.contains("Indian/Cocos") && mobile.contains("Australia/Lord_Howe"));
    assert_eq!(
        names(places("+34612345678").zones),
        names(of_country(country("ES")).unwrap().zones)
    );
    assert_eq!(
        names(places("+34922123456").zones),
        BTreeSet::from(["Atlantic/Canary"])
    );
    assert_eq!(
        names(places("+34912345678").zones),
        BTreeSet::from(["Europe/Madrid"])
    );
    assert_eq!(places("+447400123456").line, Some(NumberKind::Mobile));
    assert_eq!(names(places("+447400123456").zones).len(), 4);
    assert_eq!(
        names(places("+8613912345678").zones),
        BTreeSet::from(["Asia/Shanghai"])
    );
}

#[test]
fn an_australian_area_has_all_its_zones() {
    for (text, zone) in [
        ("+61731234567", "Australia/Brisbane"),
        ("+61731234567", "Australia/Sydney"),
        ("+61889123456", "Australia/Darwin"),
        ("+61889123456", "Australia/Perth"),
        ("+61361234567", "Australia/Hobart"),
        ("+61261234567", "Australia/Lord_Howe"),
    ] {
        assert!(names(places(text).zones).contains(zone), "{text} {zone}");
    }
    assert!(!names(places("+61731234567").zones).contains("Australia/Perth"));
}

#[test]
fn numbers_of_services_and_unassigned_codes_are_in_no_zone() {
    for (text, line) in [
        ("+18005550123", Some(NumberKind::TollFree)),
        ("+18885550123", Some(NumberKind::TollFree)),
        ("+19005550123", Some(NumberKind::PremiumRate)),
        ("+15005550123", Some(NumberKind::Personal)),
        ("+15335550123", Some(NumberKind::Personal)),
        ("+16005550123", Some(NumberKind::Voip)),
        ("+17005550123", None),
        ("+19995550123", None),
        ("+448001234567", Some(NumberKind::TollFree)),
        ("+61190012345", None),
        ("+611800123456", Some(NumberKind::TollFree)),
        ("+80012345678", Some(NumberKind::TollFree)),
    ] {
        let found = places(text);
        assert_eq!(found.line, line, "{text}");
        assert!(
            found.zones.is_empty() || line.is_none() && !text.starts_with("+1"),
            "{text}"
        );
    }
    assert_eq!(places("+80012345678").country, None);
    assert_eq!(places("+12422250069").country, Some(country("BS")));
}

#[test]
fn a_number_that_is_too_short_or_too_long_for_its_country_is_impossible() {
    for text in [
        "+1212555012",
        "+121255501234",
        "+4930",
        "+99912345678",
        "+12",
        "+447400",
        "+21012345678",
    ] {
        let found = places(text);
        assert!(
            !found.possible && found.zones.is_empty() && found.country.is_none(),
            "{text}"
        );
    }
}

#[test]
fn territories_are_countries_of_their_own() {
    for (text, code, zone) in [
        ("+17875550123", "PR", "America/Puerto_Rico"),
        ("+13405550123", "VI", "America/St_Thomas"),
        ("+16715550123", "GU", "Pacific/Guam"),
        ("+16845550123", "AS", "Pacific/Pago_Pago"),
        ("+16705550123", "MP", "Pacific/Saipan"),
        ("+262692123456", "RE", "Indian/Reunion"),
        ("+441534123456", "JE", "Europe/Jersey"),
        ("+18765550123", "JM", "America/Jamaica"),
    ] {
        let found = places(text);
        assert_eq!(
            (found.country, names(found.zones)),
            (Some(country(code)), BTreeSet::from([zone])),
            "{text}"
        );
        assert_eq!(
            names(of_country(country(code)).unwrap().zones),
            BTreeSet::from([zone])
        );
    }
}

#[test]
fn every_state_and_every_country_with_numbers_has_zones() {
    for code in ["US", "CA"] {
        let code = country(code);
        let all = of_country(code).unwrap();
        assert_eq!(all.states, State::all_of(code));
        for state in all.states {
            let found = of_state(*state).unwrap();
            assert_eq!((found.country, found.states), (Some(code), [*state].as_slice()));
            assert!(!found.zones.is_empty());
            let national: BTreeSet<i32> = all
                .zones
                .iter()
                .map(|zone| offset_minutes(*zone, days().next().unwrap()))
                .collect();
            for zone in found.zones {
                assert!(
                    national.contains(&offset_minutes(*zone, days().next().unwrap())),
                    "{state:?}"
                );
            }
        }
    }
    for code in [
        "GB", "DE", "FR", "ES", "AU", "IN", "CN", "HK", "SG", "JP", "BR", "XK", "AQ",
    ] {
        assert!(!of_country(country(code)).unwrap().zones.is_empty(), "{code}");
    }
    let florida = of_state(State::new("FL").unwrap()).unwrap();
    assert_eq!(
        names(florida.zones),
        BTreeSet::from(["America/Chicago", "America/New_York"])
    );
}

#[test]
fn regions_and_carriers_are_named() {
    for (text, name) in [
        ("+12125550123", Some("New York")),
        ("+12035550123", Some("Connecticut")),
        ("+12025550123", Some("Washington D.C.")),
        ("+17825550123", Some("Nova Scotia/Prince Edward Island")),
        ("+8613912345678", Some("Jiangsu")),
        ("+493012345678", Some("Berlin")),
        ("+18005550123", None),
    ] {
        assert_eq!(region(&number(text)), name, "{text}");
    }
    assert_eq!(carrier(&number("+8613912345678")), Some("China Mobile"));
    assert_eq!(carrier(&number("+12125550123")), None);
}

proptest! {
    #[test]
    fn any_number_has_an_answer(digits in "[1-9][0-9]{1,14}") {
        let number = number(&format!("+{digits}"));
        let found = of_number(&number);
        let _ = (region(&number), carrier(&number));
        prop_assert!(found.possible || found == Places::default());
        prop_assert!(found.states.is_empty() || !found.zones.is_empty());
    }

    #[test]
    fn a_number_of_the_us_or_canada_is_where_its_area_code_is(area in 0_u16..1_000, rest in 0_u32..10_000_000) {
        let found = places(&format!("+1{area:03}{rest:07}"));
        let beside = in_area(&format!("{area:03}"));
        if !found.zones.is_empty() {
            prop_assert_eq!((found.country, found.states, found.zones), (beside.country, beside.states, beside.zones));
        }
    }
}
