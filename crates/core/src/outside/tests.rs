use super::*;
use crate::number::E164;
use crate::time::Mono;
use proptest::prelude::*;

const NOW: Wall = Wall(1_795_186_800_000);

fn number(n: usize) -> E164 {
    E164::new(&format!("+1202555{:04}", 100 + n)).unwrap()
}

fn answer(verdict: OutsideVerdict, expires_at: Wall) -> OutsideAnswer {
    OutsideAnswer {
        verdict,
        line: None,
        reason: "vacant".into(),
        evidence: None,
        answered_at: NOW,
        expires_at,
    }
}

fn claim(n: usize, verdict: OutsideVerdict) -> ClaimedAnswer {
    ClaimedAnswer {
        number: number(n),
        verdict,
        until: (verdict == OutsideVerdict::Defer).then_some(Wall(NOW.0 + 60_000)),
        line: None,
        reason: "in service".into(),
        evidence: Some("e-1".into()),
        expires_at: Wall(NOW.0 + 3_600_000),
    }
}

fn out() -> OutsideService {
    OutsideService::Out { since: NOW }
}

fn open() -> OutsideService {
    OutsideService::OutAndOpen {
        since: NOW,
        because: "the service is advisory".into(),
    }
}

fn rule(answer: Option<&OutsideAnswer>, service: &OutsideService, at: Wall) -> OutsideRuling {
    OutsideFact { answer, service }.rule(at)
}

#[test]
fn an_answer_counts_until_it_expires_whatever_the_service_does() {
    let end = Wall(NOW.0 + 1_000);
    for service in [OutsideService::Missing, OutsideService::Works, out(), open()] {
        let ruled = |verdict, at: i64| rule(Some(&answer(verdict, end)), &service, Wall(at));
        let last = end.0 - 1;
        assert_eq!(
            ruled(OutsideVerdict::Allow, last),
            OutsideRuling::Allow(OutsideReason::Answer)
        );
        assert_eq!(ruled(OutsideVerdict::Deny, last), OutsideRuling::Deny);
        for verdict in [OutsideVerdict::Defer, OutsideVerdict::Unanswered] {
            let because = OutsideReason::Answer;
            assert_eq!(ruled(verdict, last), OutsideRuling::Defer { until: end, because });
        }
        for verdict in OutsideVerdict::ALL {
            assert_ne!(ruled(*verdict, end.0), OutsideRuling::Deny);
            assert_ne!(
                ruled(*verdict, end.0),
                OutsideRuling::Allow(OutsideReason::Answer)
            );
        }
    }
}

#[test]
fn only_an_outage_that_the_configuration_opens_lets_a_number_without_an_answer_through() {
    let expired = |verdict| Some(answer(verdict, NOW));
    let answers = OutsideVerdict::ALL
        .iter()
        .map(|verdict| expired(*verdict))
        .chain([None]);
    for answer in answers {
        for (service, because) in [
            (OutsideService::Missing, OutsideReason::NoService),
            (OutsideService::Works, OutsideReason::NotAsked),
            (out(), OutsideReason::Outage),
        ] {
            let OutsideRuling::Defer { until, because: told } = rule(answer.as_ref(), &service, NOW) else {
                panic!("{answer:?} {service:?}");
            };
            assert!(until > NOW && told == because);
        }
        let refused = answer
            .as_ref()
            .is_some_and(|a| matches!(a.verdict, OutsideVerdict::Defer | OutsideVerdict::Deny));
        let allowed = rule(answer.as_ref(), &open(), NOW) == OutsideRuling::Allow(OutsideReason::Outage);
        assert_eq!(allowed, !refused, "{answer:?}");
    }
}

#[test]
fn half_of_the_answers_leaves_the_other_numbers_unanswered() {
    let asked: Vec<E164> = (0..4).map(number).collect();
    let claims = vec![
        claim(0, OutsideVerdict::Allow),
        claim(1, OutsideVerdict::Allow),
        claim(1, OutsideVerdict::Deny),
        claim(2, OutsideVerdict::Defer),
        claim(7, OutsideVerdict::Allow),
    ];
    let accepted = accept(&asked, claims, NOW);
    let verdicts: Vec<OutsideVerdict> = accepted.answers.values().map(|answer| answer.verdict).collect();
    assert_eq!(
        verdicts,
        [
            OutsideVerdict::Allow,
            OutsideVerdict::Unanswered,
            OutsideVerdict::Defer,
            OutsideVerdict::Unanswered
        ]
    );
    assert_eq!((accepted.unanswered, accepted.unasked), (2, 1));
    assert_eq!(accepted.answers[&number(2)].expires_at, Wall(NOW.0 + 60_000));
}

#[test]
fn a_reason_and_an_evidence_id_never_contain_the_number() {
    for written in ["+12025550100", "1 202-555-0100", "(202) 555 0100", "202.555.0100"] {
        let claimed = ClaimedAnswer {
            reason: format!("no subscriber {written}\n404"),
            evidence: Some(format!("check-{}", number(0).expose_digits())),
            ..claim(0, OutsideVerdict::Deny)
        };
        let accepted = accept(&[number(0)], vec![claimed], NOW);
        let answer = &accepted.answers[&number(0)];
        let digits = answer.reason.chars().filter(char::is_ascii_digit).count();
        assert!(digits < 8 && !answer.reason.contains("0100"), "{}", answer.reason);
        assert!(!answer.reason.contains('\n') && answer.evidence.is_none());
    }
}

fn claims() -> impl Strategy<Value = ClaimedAnswer> {
    let verdict = proptest::sample::select(OutsideVerdict::ALL);
    let until = proptest::option::of(any::<i64>().prop_map(Wall));
    (
        0_usize..6,
        verdict,
        until,
        any::<String>(),
        any::<Option<String>>(),
        any::<i64>(),
    )
        .prop_map(
            |(n, verdict, until, reason, evidence, expires_at)| ClaimedAnswer {
                number: number(n),
                verdict,
                until,
                line: None,
                reason,
                evidence,
                expires_at: Wall(expires_at),
            },
        )
}

proptest! {
    #[test]
    fn every_asked_number_gets_one_answer_that_ends_within_a_month(
        asked in 0_usize..6, claims in proptest::collection::vec(claims(), 0..12)
    ) {
        let asked: Vec<E164> = (0..asked).map(number).collect();
        let accepted = accept(&asked, claims, NOW);
        prop_assert_eq!(accepted.answers.keys().cloned().collect::<Vec<_>>(), asked);
        for answer in accepted.answers.values() {
            prop_assert!(NOW < answer.expires_at && answer.expires_at.since(NOW) <= Duration::from_secs(31 * 86_400));
            prop_assert!(answer.reason.chars().count() <= OutsideAnswer::TEXT_MAX);
        }
    }

    /// Random successes and failures with random waits, at any limits.
    #[test]
    fn requests_keep_to_the_rate_and_the_size_and_an_outage_is_probed_by_single_numbers(
        batch_max in 1_usize..600, per_minute in 1_u32..6_000,
        steps in proptest::collection::vec((any::<bool>(), 0_u64..400_000, proptest::option::of(0_u64..1_000)), 1..60)
    ) {
        let mut asking = Asking::new(AskingLimits { batch_max, requests_per_minute: per_minute });
        let gap = Duration::from_secs(60) / per_minute;
        let (mut now, mut last): (Mono, Option<Mono>) = (Mono::START, None);
        let mut failures = 0;
        for (works, took_ms, retry_after_s) in steps {
            if let Turn::Wait(wait) = asking.turn(now) {
                // No wait is endless: a service that works again is found.
                prop_assert!(wait <= Duration::from_secs(300));
                now = now + wait;
            }
            let Turn::Send(size) = asking.turn(now) else { panic!("it waits after the wait") };
            prop_assert!((1..=batch_max).contains(&size));
            prop_assert!(!asking.is_out() || size == 1);
            prop_assert!(last.is_none_or(|last| now.since(last) >= gap));
            last = Some(now);
            asking.sent(now);
            now = now + Duration::from_millis(took_ms);
            if works {
                prop_assert_eq!(asking.succeeded(), failures >= 3);
                failures = 0;
            } else {
                failures += 1;
                prop_assert_eq!(asking.failed(now, retry_after_s.map(Duration::from_secs)), failures == 3);
            }
            prop_assert_eq!(asking.is_out(), failures >= 3);
        }
    }
}

#[test]
fn waits_double_and_a_service_may_ask_for_longer_ones_within_a_bound() {
    let mut asking = Asking::new(AskingLimits {
        batch_max: 8,
        requests_per_minute: 6_000,
    });
    let now = Mono::START;
    let mut waits = Vec::new();
    let mut at = now;
    for _ in 0..8 {
        asking.failed(at, None);
        let Turn::Wait(wait) = asking.turn(at) else {
            panic!()
        };
        waits.push(wait.as_secs());
        at = at + wait;
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    asking.succeeded();
    asking.failed(at, Some(Duration::from_secs(100_000)));
    assert_eq!(asking.turn(at), Turn::Wait(Duration::from_secs(300)));
}
