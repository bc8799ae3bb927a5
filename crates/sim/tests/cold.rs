//! A controller without any history keeps the abandon budget from the first call on, with any kind of callees.

use paceline_core::pacing::{AgentStep, CallStep, PacingMode};
use paceline_core::time::Mono;
use paceline_sim::pacing::{Dialer, Ours, Scenario, run};
use paceline_sim::random::Spread;
use std::time::Duration;

/// Number of live answers that count as the cold start.
const ANSWERS: u32 = 100;
/// Maximum number of abandoned calls among them: the cap of 3 %, and three more.
const ABANDONED_MAX: u32 = 6;

/// Runs until 100 live answers are counted.
struct Start {
    ours: Ours,
    answers: u32,
    abandoned: u32,
}

impl Dialer for Start {
    fn agent(&mut self, at: Mono, agent: u32, step: AgentStep) {
        self.ours.agent(at, agent, step);
    }

    fn call(&mut self, at: Mono, call: u64, step: CallStep) {
        let abandoned = step == CallStep::Abandoned;
        if self.answers < ANSWERS && (abandoned || matches!(step, CallStep::Connected(_))) {
            self.answers += 1;
            self.abandoned += u32::from(abandoned);
        }
        self.ours.call(at, call, step);
    }

    fn tick(&mut self, at: Mono, channels: Option<u32>) -> u32 {
        if self.answers < ANSWERS {
            self.ours.tick(at, channels)
        } else {
            0
        }
    }
}

/// `answer_secs`: constant ring time before a person answers. `talk_secs`: constant talk time; `None`: the default
/// distribution.
fn scenario(agents: u32, live: f64, answer_secs: f64, detection: bool, talk_secs: Option<f64>) -> Scenario {
    let constant = |secs| Spread::Constant(Duration::from_secs_f64(secs));
    let usual = Scenario::default();
    Scenario {
        length: Duration::from_secs(if live < 0.1 {
            300
        } else {
            (60 + 15_000 / u64::from(agents)).min(400)
        }),
        machine_share: if detection { 0.35 } else { 0.0 },
        setup: constant(0.05),
        ring_person: constant(answer_secs),
        amd_person: if detection {
            usual.amd_person
        } else {
            constant(0.0)
        },
        talk: talk_secs.map_or(usual.talk, constant),
        wrap_up: talk_secs.map_or(usual.wrap_up, |_| constant(5.0)),
        ..Scenario::stationary(agents, live)
    }
}

fn check(cells: &[(u32, f64)], answers_secs: &[f64], seeds: std::ops::Range<u64>) {
    let mut told = Vec::new();
    for ((agents, live), seed) in cells
        .iter()
        .flat_map(|cell| seeds.clone().map(move |seed| (cell, seed)))
    {
        for answer_secs in answers_secs {
            for (detection, talk_secs) in [(false, Some(20.0)), (true, None)] {
                let scenario = scenario(*agents, *live, *answer_secs, detection, talk_secs);
                let ours = Ours::new(PacingMode::Predictive, &scenario);
                let mut start = Start {
                    ours,
                    answers: 0,
                    abandoned: 0,
                };
                run(&scenario, seed, &mut start);
                if start.abandoned > ABANDONED_MAX {
                    told.push(format!(
                            "{agents} agents, {live} answer after {answer_secs} s, detection {detection}, talk {talk_secs:?}, seed {seed}: {} of {} abandoned",
                            start.abandoned, start.answers
                        ));
                }
            }
        }
    }
    assert!(told.is_empty(), "{}", told.join("\n"));
}

#[test]
fn a_cold_start_with_most_callees_answering_stays_within_the_cap_plus_three() {
    check(
        &[(2, 0.8), (30, 0.8), (30, 1.0), (100, 0.8), (300, 0.9)],
        &[0.1, 2.0, 20.0],
        0..1,
    );
}

#[test]
fn a_cold_start_with_some_callees_answering_stays_within_the_cap_plus_three() {
    check(&[(2, 0.3), (10, 0.2), (30, 0.1), (30, 0.3)], &[0.2, 20.0], 0..1);
}

#[test]
fn a_cold_start_with_few_callees_answering_stays_within_the_cap_plus_three() {
    check(&[(5, 0.02), (30, 0.02)], &[0.5, 20.0], 0..1);
}

/// The whole range, with several seeds: `scripts/prove cold`.
#[test]
#[ignore = "takes minutes: scripts/prove cold"]
fn a_cold_start_of_any_size_with_any_callees_stays_within_the_cap_plus_three() {
    let sizes = [2, 5, 10, 30, 100, 300];
    let odds = [0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0];
    let cells: Vec<(u32, f64)> = sizes
        .into_iter()
        .flat_map(|agents| odds.map(|live| (agents, live)))
        .collect();
    check(&cells, &[0.1, 0.5, 2.0, 8.0, 20.0], 1..6);
}
