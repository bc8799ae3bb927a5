//! Opt-outs while the dialer runs.

use super::*;
use paceline_core::live::AttemptPhase;
use paceline_sim::callee::Behaviour;

#[tokio::test]
async fn a_number_that_is_opted_out_while_its_phone_rings_is_hung_up_and_not_called_again() {
    let mut config = SimConfig::carried();
    config.callees.mix = vec![(Behaviour::NoAnswer, 1)];
    let rig = rig_at(10.0, Mode::Progressive, 20, 2, config).await;
    let until = Instant::now() + Duration::from_secs(60);
    let ringing = || rig.dialer.live(CAMPAIGN).expect("it runs").attempts[&AttemptPhase::Ringing];
    while ringing() == 0 {
        assert!(Instant::now() < until, "{:?}", rig.dialer.live(CAMPAIGN));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let begun = rig.count("SELECT count(*) FROM attempts").await;
    rig.run("INSERT INTO dnc (number, reason, added_at_ms) SELECT number, 'asked', 0 FROM contact_numbers")
        .await;
    rig.dialer.suppression_changed().await;
    rig.wait_until(OPEN, 0).await;
    rig.wait_until("SELECT count(*) FROM task_contacts WHERE last_outcome IS NULL", 0)
        .await;
    let stopped = "SELECT count(*) FROM attempts a JOIN legs l ON l.attempt_id = a.id WHERE a.outcome = 'cancelled' \
        AND l.detail LIKE '%do-not-call%'";
    assert!(rig.count(stopped).await > 0);
    assert_eq!(
        rig.count("SELECT count(*) FROM attempts").await,
        begun,
        "nothing is dialed"
    );
    let blocked = "SELECT count(*) FROM task_contacts WHERE state = 'done' AND last_outcome = 'blocked'";
    assert_eq!(rig.count(blocked).await, 20 - begun, "all that were not dialed");
    rig.dialer.stop().await;
}
