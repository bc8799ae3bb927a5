//! The outside check as a rule of the gate.

use super::*;
use crate::outside::{OutsideAnswer, OutsideFact, OutsideService, OutsideVerdict};

fn answer(verdict: OutsideVerdict, expires_at: &str) -> OutsideAnswer {
    OutsideAnswer {
        verdict,
        line: None,
        reason: "switched off".into(),
        evidence: Some("e-1".into()),
        answered_at: at("2026-11-20T14:00:00Z"),
        expires_at: at(expires_at),
    }
}

/// A call at 15:00 in New York. Returns the verdict and the texts of the reasons that are the check's.
fn asked(answer: Option<&OutsideAnswer>, service: &OutsideService) -> (GateVerdict, Vec<String>) {
    let (states, zones) = (
        [State::new("NY").unwrap()],
        [Zone::named("America/New_York").unwrap()],
    );
    let facts = Facts {
        number: Places {
            possible: true,
            country: CountryCode::new("US").ok(),
            line: None,
            states: &states,
            zones: &zones,
        },
        address: None,
        contact: ContactFacts::default(),
        history: &[],
        suppressed: &[],
        outside: Some(OutsideFact { answer, service }),
    };
    let call = PlannedCall {
        at: at("2026-11-20T20:00:00.500Z"),
        ring_timeout: Duration::from_secs(20),
        purpose: Purpose::Service,
        mode: DialingMode::Progressive,
        campaign: None,
        subject: None,
        debt: None,
        caller_id: None,
        number: NumberText("+12125550123"),
    };
    let policy = Policy::by_place(Rulebook::shipped().unwrap().clone());
    let decision = policy.decide(&call, &facts);
    let own = decision
        .reasons
        .iter()
        .filter(|reason| reason.rule == "outside_check");
    let texts = own.map(|reason| reason.datum.to_string()).collect();
    (decision.verdict, texts)
}

fn until(text: &str) -> GateVerdict {
    GateVerdict::Defer { until_ms: at(text) }
}

#[test]
fn an_answer_of_the_outside_check_decides_with_its_reason_and_its_evidence() {
    let works = OutsideService::Works;
    let end = "2026-11-20T22:00:00.200Z";
    let said = |text: &str| vec![text.to_owned()];
    let proven = "the service says: switched off; its evidence: e-1";
    let decided = |verdict| asked(Some(&answer(verdict, end)), &works);
    assert_eq!(decided(OutsideVerdict::Allow), (GateVerdict::Allow, said(proven)));
    assert_eq!(decided(OutsideVerdict::Deny), (GateVerdict::Deny, said(proven)));
    assert_eq!(
        decided(OutsideVerdict::Defer),
        (until("2026-11-20T22:00:01Z"), said(proven))
    );
    // The answer ends at 22:00 in New York, so the call waits for the morning.
    assert_eq!(
        asked(
            Some(&answer(OutsideVerdict::Defer, "2026-11-21T03:00:00Z")),
            &works
        )
        .0,
        until("2026-11-21T13:00:00Z")
    );
}

#[test]
fn a_number_without_an_answer_waits_unless_the_configuration_opens_the_outage() {
    let since = at("2026-11-20T19:00:00Z");
    let (verdict, texts) = asked(None, &OutsideService::Works);
    assert_eq!(verdict, until("2026-11-20T20:00:16Z"));
    assert_eq!(texts, ["the service has given no valid answer yet"]);
    let (verdict, texts) = asked(None, &OutsideService::Out { since });
    assert_eq!(verdict, until("2026-11-20T20:05:01Z"));
    assert_eq!(texts, ["the service does not answer"]);
    let open = OutsideService::OutAndOpen {
        since,
        because: "it only advises us".into(),
    };
    let (verdict, texts) = asked(None, &open);
    assert_eq!(verdict, GateVerdict::Allow);
    assert_eq!(
        texts,
        ["the service does not answer; called meanwhile because: it only advises us"]
    );
    assert_eq!(Policy::unanswered(&open, since), None);
    let out = OutsideService::Out { since };
    let decision = Policy::unanswered(&out, since).unwrap();
    assert_eq!(decision.verdict, until("2026-11-20T19:05:00Z"));
}
