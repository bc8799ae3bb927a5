//! The n-th callee of a scenario, for tests that play the same callees on a real PBX.

use super::{Scenario, level_at};
use crate::random::{happens, stream};
use rand::RngExt;
use std::time::Duration;

/// The plan of the n-th callee of a seed, in a scenario where only persons answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrawnCallee {
    /// Time from the launch to ringing or to the refusal.
    pub setup: Duration,
    /// Ring time before a person answers. `None`: nobody answers.
    pub ring: Option<Duration>,
    /// True: refused without ringing.
    pub refuses: bool,
    /// Talk time of the person with an agent.
    pub talk: Duration,
    /// Wrap-up time of the agent.
    pub wrap_up: Duration,
}

impl DrawnCallee {
    /// Draws the same values as [`super::run`] for the `nth` call, counted from 0, at the levels of the scenario's start.
    pub fn nth(scenario: &Scenario, seed: u64, nth: u64) -> Self {
        let mut rng = stream(seed, "callee", "", nth);
        let draw: f64 = rng.random();
        let live = level_at(&scenario.live, Duration::ZERO);
        let rest = (draw - live) / (1.0 - live).max(1e-9);
        let setup = scenario.setup.draw(&mut rng);
        if draw >= live {
            return Self {
                setup,
                ring: None,
                refuses: rest < scenario.refused_share,
                talk: Duration::ZERO,
                wrap_up: Duration::ZERO,
            };
        }
        let ring = scenario.ring_person.draw(&mut rng);
        let _detected_after = scenario.amd_person.draw(&mut rng);
        let _wrongly = happens(&mut rng, scenario.amd_wrong);
        let factor = level_at(&scenario.talk_factor, Duration::ZERO);
        Self {
            setup,
            ring: Some(ring),
            refuses: false,
            talk: scenario.talk.draw(&mut rng).mul_f64(factor.max(0.0)),
            wrap_up: scenario.wrap_up.draw(&mut rng),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Dialer, run};
    use super::*;
    use crate::random::Spread;
    use paceline_core::pacing::{AgentStep, CallStep};
    use paceline_core::time::Mono;
    use std::collections::BTreeMap;

    /// Launches a call at each tick and records the times of its steps.
    #[derive(Default)]
    struct Watcher {
        calls: BTreeMap<u64, Vec<(Mono, &'static str)>>,
    }

    impl Dialer for Watcher {
        fn agent(&mut self, _: Mono, _: u32, _: AgentStep) {}

        fn call(&mut self, at: Mono, call: u64, step: CallStep) {
            let step = match step {
                CallStep::Dialing { .. } => "dialing",
                CallStep::Ringing => "ringing",
                CallStep::Person => "person",
                CallStep::Connected(_) => "connected",
                CallStep::Ended { .. } => "ended",
                CallStep::Answered | CallStep::Machine | CallStep::Abandoned => "other",
            };
            self.calls.entry(call).or_default().push((at, step));
        }

        fn tick(&mut self, _: Mono, _: Option<u32>) -> u32 {
            1
        }
    }

    #[test]
    fn the_model_draws_the_same_callees() {
        let scenario = Scenario {
            length: Duration::from_secs(600),
            machine_share: 0.0,
            amd_person: Spread::Constant(Duration::ZERO),
            ..Scenario::stationary(500, 0.3)
        };
        let mut watcher = Watcher::default();
        run(&scenario, 7, &mut watcher);
        let mut talks = 0;
        for (nth, steps) in watcher.calls {
            let callee = DrawnCallee::nth(&scenario, 7, nth);
            let at = |step| steps.iter().find(|(_, s)| *s == step).map(|(at, _)| *at);
            let between = |from, to| Some(at(to)?.since(at(from)?));
            if let Some(ended) = between("dialing", "ended").filter(|_| callee.refuses) {
                assert_eq!((ended, at("ringing")), (callee.setup, None));
            }
            if let Some(setup) = between("dialing", "ringing") {
                assert_eq!((setup, callee.refuses), (callee.setup, false));
            }
            if let Some(ring) = between("ringing", "person") {
                assert_eq!(Some(ring), callee.ring);
            }
            if let Some(talk) = between("connected", "ended") {
                assert_eq!(talk, callee.talk);
                talks += 1;
            }
        }
        assert!(talks > 200, "{talks}");
    }
}
