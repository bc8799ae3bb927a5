//! Tests of the whole controller: any order of events gives decisions within the bounds.

use super::rules::{AnswerResult, Waits};
use super::*;
use crate::outcome::Outcome;
use proptest::prelude::*;

const CAP: f64 = 0.03;

fn settings(mode: PacingMode) -> PacingConfig {
    PacingConfig {
        mode,
        rules: vec![AbandonRule::daily(CAP, Duration::from_secs(2))],
        connect_limit: Duration::from_secs(2),
        ring_timeout: Duration::from_secs(25),
        zone: TimeZone::UTC,
    }
}

fn at(ms: u64) -> Now {
    Now {
        mono: Mono(Duration::from_millis(ms)),
        wall: Wall(1_700_000_000_000 + ms as i64),
    }
}

fn dialing() -> CallStep {
    CallStep::Dialing {
        answer_probability: None,
    }
}

fn ended(outcome: Outcome) -> CallStep {
    CallStep::Ended {
        outcome: Some(outcome),
        waits: Waits::default(),
    }
}

#[derive(Clone, Debug)]
enum Move {
    Agent(u8, AgentStep),
    Leaves(u8, Option<u16>),
    Call(u16, CallStep),
    Tick(Room),
    Pass(u32),
    Save,
}

fn any_agent_step() -> impl Strategy<Value = AgentStep> {
    prop_oneof![
        Just(AgentStep::Offline),
        Just(AgentStep::Available),
        Just(AgentStep::Available),
        Just(AgentStep::OnCall),
        Just(AgentStep::WrapUp),
        Just(AgentStep::Paused),
    ]
}

fn any_call_step() -> impl Strategy<Value = CallStep> {
    let odd = prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(-1.0), 0.0..1.0_f64];
    prop_oneof![
        proptest::option::of(odd).prop_map(|answer_probability| CallStep::Dialing { answer_probability }),
        Just(CallStep::Ringing),
        Just(CallStep::Answered),
        Just(CallStep::Person),
        Just(CallStep::Machine),
        Just(CallStep::Connected(Waits::default())),
        Just(CallStep::Abandoned),
        proptest::sample::select(Outcome::ALL).prop_map(ended),
    ]
}

fn any_move() -> impl Strategy<Value = Move> {
    let room = (proptest::option::of(0..20_u32), proptest::option::of(0..20_u32));
    prop_oneof![
        3 => (0..6_u8, any_agent_step()).prop_map(|(a, s)| Move::Agent(a, s)),
        1 => (0..6_u8, any::<Option<u16>>()).prop_map(|(a, s)| Move::Leaves(a, s)),
        8 => (0..40_u16, any_call_step()).prop_map(|(c, s)| Move::Call(c, s)),
        4 => room.prop_map(|(channels, contacts)| Move::Tick(Room { channels, contacts, storing: None })),
        3 => (0..4_000_u32).prop_map(Move::Pass),
        1 => (0..9_000_000_u32).prop_map(Move::Pass),
        1 => Just(Move::Save),
    ]
}

fn any_mode() -> impl Strategy<Value = PacingMode> {
    prop_oneof![
        Just(PacingMode::Predictive),
        Just(PacingMode::Progressive),
        (0.0..5.0_f64).prop_map(PacingMode::Power),
        Just(PacingMode::Power(f64::NAN)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_sequence_of_events_gives_a_decision_within_its_bounds(
        mode in any_mode(),
        moves in proptest::collection::vec(any_move(), 1..300),
    ) {
        let mut pacer = PacingController::new(settings(mode), None);
        let mut ms = 0;
        for what in moves {
            match what {
                Move::Agent(agent, step) => pacer.agent(at(ms).mono, AgentKey(agent.into()), step),
                Move::Leaves(agent, secs) => {
                    let when = secs.map(|s| Mono(Duration::from_secs(s.into())));
                    pacer.agent_leaves(AgentKey(agent.into()), when);
                }
                Move::Call(call, step) => pacer.call(at(ms), CallKey(call.into()), step),
                Move::Pass(more) => ms += u64::from(more),
                Move::Save => {
                    let learnt = pacer.learnt();
                    let again = PacingController::new(settings(mode), Some(&learnt));
                    prop_assert_eq!(near(&again.learnt()), near(&learnt));
                }
                Move::Tick(room) => {
                    let before = pacer.tracked.calls.len() + pacer.tracked.asked.len();
                    let report = pacer.tick(at(ms), room);
                    prop_assert!(report.launch <= report.wanted);
                    prop_assert!(report.launch <= room.channels.unwrap_or(u32::MAX));
                    prop_assert!(report.launch <= room.contacts.unwrap_or(u32::MAX));
                    prop_assert!(before.max(240) >= report.wanted as usize);
                    prop_assert!(report.agents_free <= report.agents);
                    if report.agents == 0 {
                        prop_assert_eq!(report.launch, 0);
                    }
                    if report.mode == EffectiveMode::Progressive {
                        let covered = report.agents_free.saturating_sub(report.in_flight);
                        prop_assert!(report.wanted <= covered);
                    }
                    for number in [report.risk, report.risk_max, report.expected_abandon_ratio, report.answer_probability] {
                        prop_assert!((0.0..=1.0).contains(&number), "{report:?}");
                    }
                    prop_assert!(report.drift.is_finite() && report.budget_left.is_finite());
                    prop_assert!(!report.to_string().contains("NaN"));
                }
            }
        }
    }
}

/// The learnt rates, rounded for comparison.
fn near(learnt: &Learnt) -> String {
    let round = |x: &f64| format!("{x:.6}");
    let bins = |bins: &[LearntBin]| -> Vec<String> {
        bins.iter()
            .map(|b| {
                format!(
                    "{} {:?}",
                    round(&b.exposure),
                    b.events.iter().map(round).collect::<Vec<_>>()
                )
            })
            .collect()
    };
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?}",
        bins(&learnt.dialing),
        bins(&learnt.ringing),
        bins(&learnt.talk),
        bins(&learnt.wrap_up),
        learnt.gains,
        learnt.calls_ended
    )
}

/// A controller that has seen 400 calls. One in four was answered, after 8 s of ringing.
fn experienced(mode: PacingMode) -> (PacingController, u64) {
    let mut pacer = PacingController::new(settings(mode), None);
    let mut ms = 0;
    for call in 0..400_u32 {
        let (key, agent) = (CallKey(call.into()), AgentKey(1000));
        pacer.agent(at(ms).mono, agent, AgentStep::Available);
        pacer.call(at(ms), key, dialing());
        pacer.call(at(ms + 2_500), key, CallStep::Ringing);
        if call % 4 == 0 {
            let _ = pacer.tick(at(ms + 8_000), Room::default());
            pacer.call(at(ms + 10_500), key, CallStep::Person);
            pacer.call(at(ms + 10_500), key, CallStep::Connected(Waits::default()));
            pacer.agent(at(ms + 10_500).mono, agent, AgentStep::OnCall);
            let _ = pacer.tick(at(ms + 60_000), Room::default());
            pacer.agent(at(ms + 100_000).mono, agent, AgentStep::WrapUp);
            pacer.agent(at(ms + 120_000).mono, agent, AgentStep::Available);
        } else {
            pacer.call(at(ms + 27_500), key, ended(Outcome::NoAnswer));
        }
        ms += 130_000;
    }
    pacer.agent(at(ms).mono, AgentKey(1000), AgentStep::Offline);
    (pacer, ms)
}

fn with_agents(mode: PacingMode, agents: u32) -> (PacingController, u64) {
    let (mut pacer, ms) = experienced(mode);
    for agent in 0..agents {
        pacer.agent(at(ms).mono, AgentKey(agent.into()), AgentStep::Available);
    }
    (pacer, ms)
}

#[test]
fn a_predictive_campaign_launches_ahead_and_a_progressive_one_does_not() {
    let (mut pacer, ms) = with_agents(PacingMode::Predictive, 10);
    let report = pacer.tick(at(ms), Room::default());
    assert!((15..=40).contains(&report.launch), "{report}");
    assert_eq!(report.mode, EffectiveMode::Predictive);
    assert!((report.answer_probability - 0.25).abs() < 0.07, "{report}");
    let (mut pacer, ms) = with_agents(PacingMode::Progressive, 10);
    assert_eq!(pacer.tick(at(ms), Room::default()).launch, 10);
    let (mut pacer, ms) = with_agents(PacingMode::Power(1.5), 10);
    assert_eq!(pacer.tick(at(ms), Room::default()).launch, 15);
}

#[test]
fn a_campaign_that_has_seen_no_call_dials_progressively_and_reports_it() {
    let mut pacer = PacingController::new(settings(PacingMode::Predictive), None);
    for agent in 0..10 {
        pacer.agent(at(0).mono, AgentKey(agent), AgentStep::Available);
    }
    let report = pacer.tick(at(0), Room::default());
    assert_eq!((report.launch, report.fallback), (10, Some(Fallback::Learning)));
    assert_eq!(
        report.to_string(),
        "launch 10: one call for each free agent; 0 in flight, 10 of 10 agents free, 29 % of calls reach a person; \
         progressive until enough calls have ended; rule daily: 0 of 0 live answers abandoned, 1.2 more allowed, \
         0.0 % expected"
    );
}

#[test]
fn a_new_controller_uses_the_first_answers_at_once() {
    let mut pacer = PacingController::new(settings(PacingMode::Predictive), None);
    for agent in 0..30 {
        pacer.agent(at(0).mono, AgentKey(agent), AgentStep::Available);
    }
    assert_eq!(pacer.tick(at(0), Room::default()).launch, 30);
    for call in 0..30 {
        pacer.call(at(0), CallKey(call), dialing());
        pacer.call(at(50), CallKey(call), CallStep::Ringing);
    }
    for call in 0..24 {
        pacer.call(at(200), CallKey(call), CallStep::Person);
        pacer.call(at(200), CallKey(call), CallStep::Connected(Waits::default()));
        pacer.agent(at(200).mono, AgentKey(call), AgentStep::OnCall);
    }
    let report = pacer.tick(at(200), Room::default());
    assert!(report.launch == 0 && report.answer_probability > 0.5, "{report}");
}

#[test]
fn a_call_older_than_any_call_seen_reserves_an_agent() {
    let mut pacer = PacingController::new(settings(PacingMode::Predictive), None);
    for agent in 0..30 {
        pacer.agent(at(0).mono, AgentKey(agent), AgentStep::Available);
    }
    assert_eq!(pacer.tick(at(0), Room::default()).launch, 30);
    for call in 0..30 {
        pacer.call(at(0), CallKey(call), dialing());
        pacer.call(at(50), CallKey(call), CallStep::Ringing);
    }
    // For 19 s nobody answers, and ten calls end. It is not known if the others answer a second later.
    let launched: u32 = (1..190)
        .map(|tenth| {
            let now = at(tenth * 100);
            if (20..30).contains(&tenth) {
                pacer.call(now, CallKey(u128::from(tenth)), ended(Outcome::NoAnswer));
            }
            let report = pacer.tick(now, Room::default());
            for call in 0..report.launch {
                let key = CallKey(u128::from(1_000 * tenth + u64::from(call)));
                pacer.call(now, key, dialing());
                pacer.call(now, key, CallStep::Ringing);
            }
            report.launch
        })
        .sum();
    assert!((10..=12).contains(&launched), "{launched}");
}

#[test]
fn a_used_up_budget_makes_the_campaign_progressive_until_the_window_moves_on() {
    let (mut pacer, ms) = with_agents(PacingMode::Predictive, 10);
    for call in 0..60_u128 {
        pacer.call(at(ms), CallKey(1_000_000 + call), CallStep::Abandoned);
    }
    let report = pacer.tick(at(ms), Room::default());
    assert_eq!((report.launch, report.fallback), (10, Some(Fallback::Budget)));
    assert!(report.budget_left < 0.0);
    let day = 25 * 3_600_000;
    for agent in 0..10 {
        pacer.agent(at(ms + day).mono, AgentKey(agent), AgentStep::Available);
    }
    assert_eq!(pacer.tick(at(ms + day), Room::default()).fallback, None);
}

#[test]
fn requested_calls_count_until_they_are_dialed_or_three_seconds_old() {
    let (mut pacer, ms) = with_agents(PacingMode::Predictive, 10);
    let first = pacer.tick(at(ms), Room::default()).launch;
    assert!(pacer.tick(at(ms + 200), Room::default()).launch <= 1);
    assert!(pacer.tick(at(ms + 3_200), Room::default()).launch + 5 >= first);
}

#[test]
fn no_call_is_launched_for_agents_who_are_about_to_log_out() {
    let (mut pacer, ms) = with_agents(PacingMode::Predictive, 10);
    for agent in 0..8 {
        pacer.agent_leaves(AgentKey(agent), Some(at(ms + 2_000).mono));
    }
    let some = pacer.tick(at(ms), Room::default());
    assert_eq!(some.agents_free, 2, "{some}");
    assert!(some.launch <= 8, "{some}");
}

#[test]
fn failing_trunks_get_one_probe_a_second_until_a_call_rings() {
    let (mut pacer, ms) = with_agents(PacingMode::Predictive, 10);
    pacer.call(at(ms), CallKey(2_999_999), dialing());
    pacer.call(at(ms), CallKey(2_999_999), CallStep::Ringing);
    for call in 0..5_u128 {
        pacer.call(at(ms), CallKey(2_000_000 + call), dialing());
        pacer.call(at(ms), CallKey(2_000_000 + call), ended(Outcome::Congestion));
    }
    let launches: Vec<u32> = (0..20)
        .map(|i| pacer.tick(at(ms + i * 200), Room::default()).launch)
        .collect();
    assert_eq!(launches.iter().sum::<u32>(), 4, "{launches:?}");
    // A call that rang before the failures shows nothing about the trunks now.
    pacer.call(at(ms + 4_000), CallKey(2_999_999), CallStep::Answered);
    assert_eq!(pacer.tick(at(ms + 4_000), Room::default()).launch, 1);
    pacer.call(at(ms + 4_000), CallKey(3_000_000), dialing());
    pacer.call(at(ms + 4_100), CallKey(3_000_000), CallStep::Ringing);
    assert!(pacer.tick(at(ms + 4_200), Room::default()).launch > 5);
}

#[test]
fn fewer_calls_are_launched_to_contacts_who_answer_more_often() {
    let launch_with = |p: f64| {
        let (mut pacer, ms) = with_agents(PacingMode::Predictive, 10);
        for call in 0..10_u128 {
            let step = CallStep::Dialing {
                answer_probability: Some(p),
            };
            pacer.call(at(ms), CallKey(4_000_000 + call), step);
        }
        pacer.tick(at(ms), Room::default()).launch
    };
    assert!(launch_with(0.9) + 5 < launch_with(0.05));
}

#[test]
fn the_strictest_of_several_rules_decides() {
    let mut several = settings(PacingMode::Predictive);
    several.rules = crate::gate::Rulebook::shipped().unwrap().abandon_rules();
    let mut pacer = PacingController::new(several, None);
    for agent in 0..10 {
        pacer.agent(at(0).mono, AgentKey(agent), AgentStep::Available);
    }
    let report = pacer.tick(at(0), Room::default());
    assert_eq!(report.rule.as_deref(), Some("us-ftc (day)"));
}

#[test]
fn a_late_agent_counts_as_abandoned_only_by_the_clock_of_each_rule() {
    let rule = AbandonRule::daily(CAP, Duration::from_secs(2));
    let waits = Waits {
        connected: Duration::from_secs(5),
        greeting_start: None,
        greeting_end: Some(Duration::from_millis(1_900)),
    };
    let counts = |rule: &AbandonRule, result| rule.weigh(&rule.tally(result));
    assert_eq!(counts(&rule, AnswerResult::Connected(waits)), (1.0, 0.0));
    let from_answer = AbandonRule {
        clock: rules::AbandonClock::Connected,
        ..rule
    };
    assert_eq!(counts(&from_answer, AnswerResult::Connected(waits)), (1.0, 1.0));
    assert_eq!(
        counts(&from_answer, AnswerResult::HungUp(Waits::default())),
        (0.0, 0.0)
    );
}

#[test]
fn a_process_that_stood_still_does_not_lower_the_answer_rate() {
    let (mut pacer, ms) = with_agents(PacingMode::Predictive, 10);
    for call in 0..40_u128 {
        pacer.call(at(ms), CallKey(5_000_000 + call), dialing());
        pacer.call(at(ms + 2_500), CallKey(5_000_000 + call), CallStep::Ringing);
    }
    let before = pacer.tick(at(ms + 3_000), Room::default());
    let after = pacer.tick(at(ms + 600_000), Room::default());
    assert!(after.drift > 0.5, "{} {}", before.drift, after.drift);
}

#[test]
fn answers_dated_a_year_ahead_leave_the_window_once_the_clock_is_right() {
    let day = Duration::from_secs(24 * 3_600);
    let rule = |window| AbandonRule {
        window,
        ..AbandonRule::daily(CAP, Duration::from_secs(2))
    };
    for window in [
        rules::AbandonWindow::Hours(24),
        rules::AbandonWindow::CalendarMonth,
    ] {
        let mut budget = Budget::new(&[rule(window)], TimeZone::UTC);
        let now = at(0).wall;
        let ahead = now.plus(365 * day);
        budget.count(ahead, ahead, AnswerResult::Abandoned, 0.1);
        budget.count(now, now, AnswerResult::Abandoned, 0.1);
        let abandoned = |budget: &mut Budget, days: u32| {
            let allowance = budget.allowance(now.plus(days * day), 0.1);
            allowance.map(|a| a.abandoned)
        };
        assert_eq!(abandoned(&mut budget, 0), Some(2.0), "{window:?}");
        assert_eq!(abandoned(&mut budget, 40), Some(0.0), "{window:?}");
    }
}

#[test]
fn a_clock_that_was_a_year_ahead_for_a_moment_removes_no_answer() {
    let day = Duration::from_secs(24 * 3_600);
    let mut budget = Budget::new(&[AbandonRule::daily(CAP, Duration::from_secs(2))], TimeZone::UTC);
    let now = at(0).wall;
    budget.count(now, now, AnswerResult::Abandoned, 0.1);
    assert_eq!(
        budget.allowance(now.plus(365 * day), 0.1).map(|a| a.abandoned),
        Some(0.0)
    );
    assert_eq!(
        budget.allowance(now.plus(day / 24), 0.1).map(|a| a.abandoned),
        Some(1.0)
    );
}

#[test]
fn an_answer_counts_on_the_day_when_it_was_answered() {
    let rule = AbandonRule {
        window: rules::AbandonWindow::CalendarDay,
        ..AbandonRule::daily(CAP, Duration::from_secs(2))
    };
    let mut budget = Budget::new(&[rule], TimeZone::UTC);
    let today = Wall(at(0).wall.0.div_euclid(86_400_000) * 86_400_000);
    let just_now = today.plus(Duration::from_secs(5));
    let _ = budget.allowance(just_now, 0.1);
    budget.count(
        just_now,
        today.minus(Duration::from_secs(1)),
        AnswerResult::Abandoned,
        0.1,
    );
    let later = today.plus(Duration::from_secs(60));
    assert_eq!(budget.allowance(later, 0.1).map(|a| a.abandoned), Some(0.0));
}

#[test]
fn answers_from_the_store_count_like_answers_that_were_seen() {
    let now = at(0).wall;
    let rules = [
        rules::AbandonWindow::Hours(24),
        rules::AbandonWindow::Hours(30 * 24),
        rules::AbandonWindow::CalendarDay,
        rules::AbandonWindow::CalendarMonth,
        rules::AbandonWindow::Campaign,
    ]
    .map(|window| AbandonRule {
        name: format!("{window:?}"),
        window,
        ..AbandonRule::daily(CAP, Duration::from_secs(2))
    });
    let mut seen = Budget::new(&rules, TimeZone::UTC);
    let mut told = Vec::new();
    // Forty days in order, with one answer of each result every hour.
    let waits = |ms| Waits {
        connected: Duration::from_millis(ms),
        ..Waits::default()
    };
    for hour in (0..40 * 24_u32).rev() {
        let answered = now.minus(Duration::from_secs(u64::from(hour) * 3_600));
        for result in [
            AnswerResult::Abandoned,
            AnswerResult::Connected(waits(300)),
            AnswerResult::Connected(waits(3_000)),
            AnswerResult::HungUp(waits(300)),
            AnswerResult::HungUp(waits(3_000)),
        ] {
            seen.count(answered.plus(Duration::from_secs(3)), answered, result, 0.1);
            told.push(rules::Answers {
                from: answered,
                limit_ms: 2_000,
                tally: rules[0].tally(result),
            });
        }
    }
    let mut recalled = Budget::new(&rules, TimeZone::UTC);
    recalled.recall(&told);
    // As in a progressive campaign, nobody asks for an allowance. Old answers must leave the window all the same.
    let later = now.plus(Duration::from_secs(60));
    assert_eq!(recalled.accounts(later), seen.accounts(later));
    assert_eq!(
        seen.accounts(later).last().map(|a| (a.live, a.abandoned)),
        Some((3840.0, 2880.0))
    );

    // A changed rule counts the same answers.
    let mut other = rules[1].clone();
    other.name = "another month".into();
    recalled.configure(&[other], TimeZone::UTC);
    let _ = recalled.allowance(now, 0.1);
    let month = |budget: &Budget, name: &str| {
        let account = budget.accounts(now).into_iter().find(|a| &*a.rule == name);
        account.map(|a| (a.live, a.abandoned))
    };
    assert_eq!(month(&recalled, "another month"), month(&seen, "Hours(720)"));
}

#[test]
fn an_agent_who_logs_out_before_a_new_call_is_answered_gets_none() {
    let free_with = |leaves_ms: u64| {
        let (mut pacer, ms) = with_agents(PacingMode::Progressive, 2);
        pacer.agent_leaves(AgentKey(0), Some(at(ms + leaves_ms).mono));
        pacer.tick(at(ms), Room::default()).launch
    };
    assert_eq!((free_with(5_000), free_with(60_000)), (1, 2));
}

#[test]
fn a_callee_connected_after_the_limit_is_abandoned_even_if_no_wait_was_reported() {
    for (late_ms, abandoned) in [(1_900, 0.0), (2_600, 1.0), (60_000, 1.0)] {
        let (mut pacer, ms) = with_agents(PacingMode::Predictive, 2);
        let before = pacer.tick(at(ms), Room::default());
        let call = CallKey(6_000_000);
        pacer.call(at(ms), call, dialing());
        pacer.call(at(ms), call, CallStep::Person);
        let _ = pacer.tick(at(ms + late_ms), Room::default());
        pacer.call(at(ms + late_ms), call, CallStep::Connected(Waits::default()));
        let after = pacer.tick(at(ms + late_ms), Room::default());
        assert_eq!(
            (after.live - before.live, after.abandoned - before.abandoned),
            (1.0, abandoned),
            "{late_ms}"
        );
    }
}
