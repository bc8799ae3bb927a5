//! Checks briefly that the whole engine on a simulated PBX gives about the same result as the call centre model. The
//! example `agree` runs longer.

#[expect(dead_code, reason = "its command line")]
#[path = "../examples/agree.rs"]
mod agree;

use std::time::Duration;

#[test]
fn the_engine_on_a_simulated_pbx_gives_about_the_same_result_as_the_model() {
    let (engine, model) = agree::compare(Duration::from_secs(7200), 1);
    let told = format!("engine {engine:?}; model {model:?}");
    assert!((engine.utilisation() - model.utilisation()).abs() < 0.1, "{told}");
    assert!(engine.live > 50 && engine.abandon_ratio() < 0.12, "{told}");
}
