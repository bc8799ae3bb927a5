//! Choices of trunks on the same days. `paceline simulate --trunks` runs more of them.

use paceline_sim::trunks::{TrunkContender, TrunkScenario, trunk_contest};

#[test]
fn the_arbiter_answers_more_calls_than_quality_based_routing_and_passes_no_cap() {
    let total = |contender| trunk_contest(&TrunkScenario::default(), 901..903, contender).total();
    let oracle = total(TrunkContender::Oracle);
    let ours = total(TrunkContender::Paceline);
    assert_eq!(ours.over_caps, 0);
    let of_oracle = |answered: u64| answered as f64 / oracle.answered as f64;
    assert!(of_oracle(ours.answered) > 0.85, "{ours:?} of {oracle:?}");
    for rival in [TrunkContender::DynamicWeights, TrunkContender::BestDestFirst] {
        let rival = total(rival);
        assert!(
            ours.answered > rival.answered && ours.burnt < rival.burnt,
            "{ours:?}; {rival:?}"
        );
    }
}
