//! What a pacing decision costs: `cargo bench -p paceline-sim --bench pacing`.
//!
//! Runs half an hour of a call centre in virtual time and times only the decisions, with all that the controller learns
//! from events in between counted apart.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the real clock")]

use paceline_core::pacing::{AgentStep, CallStep, PacingMode};
use paceline_core::time::Mono;
use paceline_sim::pacing::{Dialer, Ours, Scenario, run};
use std::time::{Duration, Instant};

struct Timed {
    inner: Ours,
    ticks: u32,
    in_ticks: Duration,
    slowest: Duration,
    events: u32,
    in_events: Duration,
}

impl Dialer for Timed {
    fn agent(&mut self, at: Mono, agent: u32, step: AgentStep) {
        let start = Instant::now();
        self.inner.agent(at, agent, step);
        self.in_events += start.elapsed();
        self.events += 1;
    }

    fn call(&mut self, at: Mono, call: u64, step: CallStep) {
        let start = Instant::now();
        self.inner.call(at, call, step);
        self.in_events += start.elapsed();
        self.events += 1;
    }

    fn tick(&mut self, at: Mono, channels: Option<u32>) -> u32 {
        let start = Instant::now();
        let launch = self.inner.tick(at, channels);
        let took = start.elapsed();
        self.in_ticks += took;
        self.slowest = self.slowest.max(took);
        self.ticks += 1;
        launch
    }
}

fn main() {
    for agents in [2, 20, 100, 200, 300] {
        let mut scenario = Scenario::stationary(agents, 0.25);
        scenario.length = Duration::from_secs(1800);
        let mut timed = Timed {
            inner: Ours::new(PacingMode::Predictive, &scenario),
            ticks: 0,
            in_ticks: Duration::ZERO,
            slowest: Duration::ZERO,
            events: 0,
            in_events: Duration::ZERO,
        };
        run(&scenario, 1, &mut timed);
        let per = |all: Duration, n: u32| all.as_secs_f64() * 1e6 / f64::from(n.max(1));
        let core = (timed.in_ticks + timed.in_events).as_secs_f64() / scenario.length.as_secs_f64();
        println!(
            "{agents:4} agents: {:6.1} µs a decision (slowest {:6.1}), {:5.2} µs an event; {:.2} % of a core at 5 decisions a second",
            per(timed.in_ticks, timed.ticks),
            timed.slowest.as_secs_f64() * 1e6,
            per(timed.in_events, timed.events),
            100.0 * core,
        );
    }
}
