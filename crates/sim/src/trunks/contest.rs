//! Compares choices of trunks on the same days.

use super::{OpenSips, Oracle, Order, Ours, TrunkScenario, TrunkTally, run};
use paceline_core::trunks::Weights;

/// A choice of trunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrunkContender {
    /// Knows the present rates of every trunk.
    Oracle,
    /// The arbiter of `paceline-core`.
    Paceline,
    /// The same with the preset `document`.
    Document,
    /// OpenSIPS with its default algorithm.
    DynamicWeights,
    /// OpenSIPS with the other one.
    BestDestFirst,
}

/// The result of one choice of trunks.
#[derive(Clone, Debug)]
pub struct TrunkStanding {
    /// The choice.
    pub contender: TrunkContender,
    /// The counters of each day.
    pub days: Vec<TrunkTally>,
}

impl TrunkStanding {
    /// The sum of all days.
    pub fn total(&self) -> TrunkTally {
        let mut sum = TrunkTally::default();
        self.days.iter().for_each(|day| sum.add(day));
        sum
    }
}

impl TrunkContender {
    /// All, the oracle first.
    pub const ALL: [TrunkContender; 5] = [
        TrunkContender::Oracle,
        TrunkContender::Paceline,
        TrunkContender::Document,
        TrunkContender::DynamicWeights,
        TrunkContender::BestDestFirst,
    ];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            TrunkContender::Oracle => "oracle",
            TrunkContender::Paceline => "paceline",
            TrunkContender::Document => "paceline, preset document",
            TrunkContender::DynamicWeights => "opensips, dynamic-weights",
            TrunkContender::BestDestFirst => "opensips, best-dest-first",
        }
    }
}

/// Runs the day of each seed.
pub fn trunk_contest(
    scenario: &TrunkScenario,
    seeds: std::ops::Range<u64>,
    contender: TrunkContender,
) -> TrunkStanding {
    let day = |seed| match contender {
        TrunkContender::Oracle => run(scenario, seed, &mut Oracle::new(scenario, seed)),
        TrunkContender::Paceline => run(scenario, seed, &mut Ours::new(scenario, seed, Weights::DEFAULT)),
        TrunkContender::Document => run(scenario, seed, &mut Ours::new(scenario, seed, Weights::DOCUMENT)),
        TrunkContender::DynamicWeights => {
            run(scenario, seed, &mut OpenSips::new(Order::DynamicWeights, seed))
        }
        TrunkContender::BestDestFirst => run(scenario, seed, &mut OpenSips::new(Order::BestDestFirst, seed)),
    };
    TrunkStanding {
        contender,
        days: seeds.map(day).collect(),
    }
}
