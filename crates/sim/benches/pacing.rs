//! Cost of a pacing decision: `cargo bench -p paceline-sim --bench pacing`.
//!
//! Runs half an hour of a call centre in virtual time. It times each decision with the clock, which other processes
//! disturb, and everything, including events and the call centre, in processor time. Then it runs fifty campaigns of 200
//! agents.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the real clock")]
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking, as tests do")]

use paceline_core::pacing::{AgentStep, CallStep, PacingMode};
use paceline_core::time::Mono;
use paceline_sim::pacing::{Dialer, Ours, Scenario, run};
use std::time::{Duration, Instant};

struct Timed {
    inner: Ours,
    ticks: Vec<Duration>,
}

impl Dialer for Timed {
    fn agent(&mut self, at: Mono, agent: u32, step: AgentStep) {
        self.inner.agent(at, agent, step);
    }

    fn call(&mut self, at: Mono, call: u64, step: CallStep) {
        self.inner.call(at, call, step);
    }

    fn tick(&mut self, at: Mono, channels: Option<u32>) -> u32 {
        let start = Instant::now();
        let launch = self.inner.tick(at, channels);
        self.ticks.push(start.elapsed());
        launch
    }
}

/// Processor time of this process so far.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

fn main() {
    let micros = |d: Duration| d.as_secs_f64() * 1e6;
    for agents in [2, 20, 100, 200, 300] {
        let mut scenario = Scenario::stationary(agents, 0.25);
        scenario.length = Duration::from_secs(1800);
        let mut timed = Timed {
            inner: Ours::new(PacingMode::Predictive, &scenario),
            ticks: Vec::new(),
        };
        let start = cpu();
        run(&scenario, 1, &mut timed);
        let all = cpu() - start;
        timed.ticks.sort_unstable();
        let last = timed.ticks.len() - 1;
        let at = |percent: usize| *timed.ticks.get(last * percent / 100).unwrap();
        println!(
            "{agents:4} agents: median {:5.1} µs a decision, 99 of 100 below {:6.1}; with all else {:5.1} µs of processor time each",
            micros(at(50)),
            micros(at(99)),
            micros(all) / timed.ticks.len() as f64,
        );
    }
    let mut scenario = Scenario::stationary(200, 0.25);
    scenario.length = Duration::from_secs(600);
    let start = cpu();
    for campaign in 0..50 {
        run(
            &scenario,
            campaign,
            &mut Ours::new(PacingMode::Predictive, &scenario),
        );
    }
    let share = (cpu() - start).as_secs_f64() / scenario.length.as_secs_f64();
    println!(
        "10,000 agents in 50 campaigns: {:.1} % of one core, the call centres themselves included",
        100.0 * share
    );
}
