//! A campaign's own calling hours beside the rules of regulators, and contacts that wait together.

use super::*;
use crate::campaign::CampaignConfig;
use crate::campaign::hours::{CallingHours, CallingWindow};
use crate::campaign::settings::CampaignSettings;
use crate::ids::CampaignId;
use crate::number::NumberText;

const RING: Duration = Duration::from_secs(20);

fn policy(from_minute: u16, until_minute: u16) -> CampaignPolicy {
    let mut settings = CampaignSettings::default();
    settings.hours.windows = vec![CallingWindow {
        days: vec![1, 2, 3, 4, 5],
        from_minute,
        until_minute,
    }];
    let config = CampaignConfig {
        id: CampaignId(1),
        settings,
        trunks: Vec::new(),
    };
    CampaignPolicy::new(Rulebook::shipped().unwrap(), Arc::new(config))
}

fn facts<'a>(states: &'a [State], zones: &'a [Zone]) -> Facts<'a> {
    Facts {
        number: Places {
            possible: true,
            country: CountryCode::new("US").ok(),
            line: None,
            states,
            zones,
        },
        address: None,
        contact: ContactFacts::default(),
        history: &[],
        suppressed: &[],
        outside: None,
    }
}

fn decided(policy: &CampaignPolicy, facts: &Facts, when: &str) -> (GateVerdict, Vec<String>) {
    let call = PlannedCall {
        number: NumberText("+12125550123"),
        ..policy.call(at(when), RING)
    };
    let decision = policy.rules().decide(&call, facts);
    let named = |reason: &Reason| format!("{}/{}", reason.profile, reason.rule);
    (decision.verdict, decision.reasons.iter().map(named).collect())
}

fn until(text: &str) -> GateVerdict {
    GateVerdict::Defer { until_ms: at(text) }
}

#[test]
fn a_campaigns_hours_and_a_regulators_are_one_decision_with_one_end() {
    let (states, zones) = (
        [State::new("NY").unwrap()],
        [Zone::named("America/New_York").unwrap()],
    );
    let facts = facts(&states, &zones);
    let mornings = policy(6 * 60, 10 * 60);
    // Friday 07:00 in New York: the campaign is open, the regulators wait for 08:00.
    assert_eq!(
        decided(&mornings, &facts, "2026-11-20T12:00:00Z"),
        (
            until("2026-11-20T13:00:00Z"),
            vec!["us-ftc/hours".to_owned(), "us-fcc/hours".to_owned()]
        )
    );
    // Friday 22:00: all are closed, and the campaign opens on Monday, the regulators two hours later.
    assert_eq!(
        decided(&mornings, &facts, "2026-11-21T03:00:00Z"),
        (
            until("2026-11-23T13:00:00Z"),
            vec![
                "paceline/campaign_hours".to_owned(),
                "us-ftc/hours".to_owned(),
                "us-fcc/hours".to_owned()
            ]
        )
    );
    let (verdict, reasons) = decided(&mornings, &facts, "2026-11-20T14:00:00Z");
    assert_eq!(verdict, GateVerdict::Allow);
    assert!(
        reasons.contains(&"paceline/campaign_hours".to_owned()),
        "{reasons:?}"
    );
    // 09:59:45: the phone may ring past 10:00.
    assert_ne!(
        decided(&mornings, &facts, "2026-11-20T14:59:45Z").0,
        GateVerdict::Allow
    );
    let night = policy(60, 120);
    assert_eq!(
        decided(&night, &facts, "2026-11-20T14:00:00Z").1.last().unwrap(),
        "paceline/never"
    );
}

#[test]
fn a_campaigns_hours_hold_in_every_zone_of_the_callee() {
    let zones = ["America/New_York", "America/Chicago"].map(|name| Zone::named(name).unwrap());
    let states = [State::new("FL").unwrap()];
    let facts = facts(&states, &zones);
    let policy = policy(9 * 60, 17 * 60);
    let locality = Locality::of(&facts).unwrap();
    let closed = |when: &str| {
        let call = policy.call(at(when), RING);
        policy
            .rules()
            .closed(&call, &locality)
            .map(|decision| decision.verdict)
    };
    // 09:30 in New York, 08:30 in Chicago.
    assert_eq!(
        closed("2026-11-20T14:30:00Z"),
        Some(until("2026-11-20T15:00:00Z"))
    );
    assert_eq!(
        closed("2026-11-20T15:00:00Z"),
        None,
        "consent is asked of each contact"
    );
    // 17:00 in New York, 16:00 in Chicago.
    assert_eq!(
        closed("2026-11-20T22:00:00Z"),
        Some(until("2026-11-23T15:00:00Z"))
    );
}

#[test]
fn a_locality_is_read_from_its_key_and_has_none_where_every_call_is_denied() {
    let zones = ["America/New_York", "America/Chicago"].map(|name| Zone::named(name).unwrap());
    let states = [State::new("FL").unwrap(), State::new("AL").unwrap()];
    let mut facts = facts(&states, &zones);
    let locality = Locality::of(&facts).unwrap();
    assert_eq!(locality.key(), "US;AL,FL;America/Chicago,America/New_York");
    assert_eq!(Locality::of_key(&locality.key()), Some(locality));
    facts.contact.time_zone = Some(zones[0]);
    facts.contact.country = CountryCode::new("CA").ok();
    let abroad = Locality::of(&facts).unwrap();
    assert_eq!(abroad.key(), "US,CA;AL,FL;America/New_York");
    assert_eq!(Locality::of_key(&abroad.key()), Some(abroad));
    for none in [
        "",
        "America/New_York",
        "US;FL;",
        "US;FL;Mars/Base",
        "US;FL;America/New_York;",
        "USA;;Asia/Tokyo",
    ] {
        assert_eq!(Locality::of_key(none), None, "{none}");
    }
    facts.number.zones = &[];
    assert_eq!(Locality::of(&facts), None);
}

#[test]
fn hours_without_a_window_on_any_day_are_never_open() {
    let hours = CallingHours {
        time_zone: None,
        windows: Vec::new(),
    };
    let zones = [Zone::named("Asia/Singapore").unwrap()];
    let mut facts = facts(&[], &zones);
    facts.number.country = CountryCode::new("SG").ok();
    let mut config = CampaignConfig {
        id: CampaignId(1),
        settings: CampaignSettings::default(),
        trunks: Vec::new(),
    };
    config.settings.hours = hours;
    let policy = CampaignPolicy::new(Rulebook::shipped().unwrap(), Arc::new(config));
    let (verdict, reasons) = decided(&policy, &facts, "2026-11-20T14:00:00Z");
    assert_eq!(verdict, GateVerdict::Deny);
    assert_eq!(reasons, ["paceline/campaign_hours", "paceline/never"]);
    let locality = Locality::of(&facts).unwrap();
    let call = policy.call(at("2026-11-20T14:00:00Z"), RING);
    assert_eq!(
        policy.rules().closed(&call, &locality),
        None,
        "each contact is denied"
    );
}

/// Saturdays and Sundays are open too.
fn with_profiles(names: &[&str]) -> CampaignPolicy {
    let mut settings = CampaignSettings {
        hours: CallingHours::always(),
        ..CampaignSettings::default()
    };
    settings.compliance.profiles = names.iter().map(|name| (*name).to_owned()).collect();
    let config = CampaignConfig {
        id: CampaignId(1),
        settings,
        trunks: Vec::new(),
    };
    CampaignPolicy::new(Rulebook::shipped().unwrap(), Arc::new(config))
}

#[test]
fn a_campaigns_profiles_add_to_the_rules_of_the_place() {
    let states = [State::new("PA").unwrap()];
    let zones = [Zone::named("America/New_York").unwrap()];
    let facts = facts(&states, &zones);
    // A Sunday, on which Pennsylvania allows no call.
    let sunday = "2026-11-22T17:00:00Z";
    for names in [&[] as &[&str], &["us-ftc"], &["litigation"]] {
        let (verdict, reasons) = decided(&with_profiles(names), &facts, sunday);
        assert_ne!(verdict, GateVerdict::Allow, "{names:?}");
        assert!(
            reasons.iter().any(|it| it.starts_with("us-pa/")),
            "{names:?}: {reasons:?}"
        );
    }
    let (_, reasons) = decided(&with_profiles(&["litigation"]), &facts, sunday);
    assert!(reasons.contains(&"litigation/consent".to_owned()), "{reasons:?}");
    let (verdict, reasons) = decided(&with_profiles(&["de"]), &facts, sunday);
    assert_eq!(verdict, GateVerdict::Deny);
    assert!(
        reasons.contains(&"paceline/other_country".to_owned()),
        "{reasons:?}"
    );
}
