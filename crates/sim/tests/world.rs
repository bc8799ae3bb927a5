//! Whole worlds with troubles keep every promise. A failure prints its options, the seed and the end of its trace. `cargo
//! run -p paceline-sim --example hunt -- SEED 1` reduces it to the troubles that cause it.

use paceline_core::outcome::Outcome;
use paceline_sim::world::{Failure, Report, Trouble, WorldOptions, run, run_quickly};
use proptest::prelude::*;

/// Seeds of worlds that once failed.
const ONCE_FAILED: [u64; 0] = [];

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
        let troubles = Trouble::set(troubles);
        if let Err(failure) = run_quickly(&WorldOptions::with(seed, &troubles)) {
            return Err(TestCaseError::fail(format!("{} with {troubles:?}", failure.reason)));
        }
    }
}
