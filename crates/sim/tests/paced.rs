//! A short look at whether the whole engine on a simulated switch still does what the call centre model says. The example
//! has the long one.

#[expect(dead_code, reason = "its command line")]
#[path = "../examples/agree.rs"]
mod agree;

use std::time::Duration;

#[test]
fn the_engine_on_a_switch_and_the_model_come_to_about_the_same() {
    let (engine, model) = agree::compare(Duration::from_secs(7200), 1);
    let told = format!("engine {engine:?}; model {model:?}");
    assert!((engine.utilisation() - model.utilisation()).abs() < 0.1, "{told}");
    assert!(engine.live > 50 && engine.abandon_ratio() < 0.12, "{told}");
}
