//! The results of days over six trunks as a table.

use paceline_sim::trunks::{TrunkContender, TrunkStanding};
use std::fmt::Write as _;

/// The results, the oracle's first: answered calls by the oracle's, contacts burnt.
pub fn table(standings: &[TrunkStanding]) -> String {
    let mut text =
        String::from("of the oracle  answered  attempts  burnt  unplaced   legs  over caps  who\n");
    let oracle = standings
        .iter()
        .find(|standing| standing.contender == TrunkContender::Oracle)
        .map_or(0, |standing| standing.total().answered);
    for standing in standings {
        let sum = standing.total();
        let _ = writeln!(
            text,
            "{:11.1} %  {:8}  {:8}  {:5}  {:8}  {:5}  {:9}  {}",
            100.0 * sum.answered as f64 / oracle.max(1) as f64,
            sum.answered,
            sum.attempts,
            sum.burnt,
            sum.unplaced,
            sum.legs,
            sum.over_caps,
            standing.contender.name(),
        );
    }
    text
}
