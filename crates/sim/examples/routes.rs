//! Days over six trunks: `cargo run --release -p paceline-sim --example routes -- SEED DAYS`.

use paceline_sim::trunks::{TrunkContender, TrunkScenario, trunk_contest};

fn main() {
    let mut args = std::env::args().skip(1).filter_map(|arg| arg.parse::<u64>().ok());
    let seed = args.next().unwrap_or(1);
    let days = args.next().unwrap_or(4);
    let scenario = TrunkScenario::default();
    let mut oracle = 1.0;
    for contender in TrunkContender::ALL {
        let standing = trunk_contest(&scenario, seed..seed + days, contender);
        let sum = standing.total();
        if contender == TrunkContender::Oracle {
            oracle = sum.answered as f64;
        }
        println!(
            "{:28} {:6.2} % of the oracle; answered {} of {}, burnt {}, unplaced {}, legs {}, over caps {}",
            contender.name(),
            100.0 * sum.answered as f64 / oracle,
            sum.answered,
            sum.attempts,
            sum.burnt,
            sum.unplaced,
            sum.legs,
            sum.over_caps
        );
    }
}
