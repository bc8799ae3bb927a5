//! Simulated worlds with troubles keep every promise. A failure prints the command that runs the world again: the
//! example `hunt` finds the few troubles that cause it and prints its trace. Its seed is then added to [`ONCE_FAILED`].

use paceline_core::outcome::Outcome;
use paceline_sim::world::{Failure, Report, Trouble, WorldOptions, run, run_quickly};
use proptest::prelude::*;

/// Seeds of worlds that once failed.
const ONCE_FAILED: [u64; 9] = [
    // A callee waited although maintenance had freed an agent.
    1_000_607, 1_007_080, 1_008_427, 1_008_471,
    // A transfer crossed the command that connects the callee to the next agent, who then got a second callee.
    1_003_281,
    // After a crash an agent got a second callee before the first had left the bridge.
    1_007_551, // The end of a leg on hold was missed.
    1_032_086, 1_034_205, // An event came later than the engine waits for an end.
    1_032_361,
];
/// Seeds of worlds whose troubles are given here, not drawn from the seed.
const ONCE_FAILED_WITH: [(u64, u32); 1] = [(1_535_116_173_784_895_222, 196_535_635)];

fn told(result: Result<Report, Box<Failure>>) -> Report {
    result.unwrap_or_else(|failure| unreachable!("{failure}"))
}

#[test]
fn a_world_without_troubles_loses_nothing_and_every_outcome_is_certain() {
    for seed in 0..10 {
        let report = told(run(&WorldOptions::calm(seed)));
        assert!(report.dialed >= 30 && report.connected > 5, "{report:?}");
        for never in [Outcome::Abandoned, Outcome::Unknown, Outcome::Cancelled] {
            assert_eq!(report.outcomes.get(&never), None, "seed {seed}: {report:?}");
        }
    }
}

#[test]
fn equal_options_give_equal_worlds() {
    for seed in [1, 2, 3] {
        let options = WorldOptions::troubled(seed);
        assert_eq!(told(run(&options)), told(run(&options)));
    }
}

#[test]
fn worlds_that_once_failed_break_no_promise() {
    for seed in ONCE_FAILED {
        told(run(&WorldOptions::troubled(seed)));
    }
    for (seed, troubles) in ONCE_FAILED_WITH {
        told(run(&WorldOptions::with(seed, &Trouble::set(troubles))));
    }
}

#[test]
fn worlds_with_troubles_break_no_promise() {
    let mut dialed = 0;
    for seed in 0..40 {
        dialed += told(run(&WorldOptions::troubled(seed))).dialed;
    }
    assert!(dialed > 1500, "{dialed}");
}

#[test]
fn each_trouble_alone_breaks_no_promise() {
    for trouble in Trouble::ALL {
        for seed in 0..2 {
            told(run(&WorldOptions::with(seed, &[trouble])));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_combination_of_troubles_breaks_a_promise(seed in any::<u64>(), troubles in 0_u32..1 << Trouble::ALL.len()) {
        let options = WorldOptions::with(seed, &Trouble::set(troubles));
        if let Err(failure) = run_quickly(&options) {
            let again = format!("cargo run --release -p paceline-sim --example hunt -- {seed} 1 60 {troubles}");
            return Err(TestCaseError::fail(format!("{}; {again}", failure.reason)));
        }
    }
}
