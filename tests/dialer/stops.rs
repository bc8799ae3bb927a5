//! Dialers, campaigns and PBXs that stop during calls.

use super::*;

#[tokio::test]
async fn a_drained_dialer_leaves_no_open_attempt_and_no_channel() {
    let rig = rig(200, 10).await;
    rig.wait_until(
        "SELECT count(*) >= 20 FROM attempts WHERE ended_at_ms IS NOT NULL",
        1,
    )
    .await;
    rig.dialer.drain().await;
    assert_eq!(rig.count(OPEN).await, 0);
    assert_eq!(rig.count("SELECT count(*) FROM number_leases").await, 0);
    assert_eq!(
        rig.count("SELECT count(*) FROM agents WHERE state <> 'offline'")
            .await,
        0
    );
    assert!(rig.count("SELECT count(*) FROM attempts").await < 200);
}

#[tokio::test]
async fn maintenance_releases_every_leg_outlives_a_restart_and_ends_with_agents_at_work_again() {
    let rig = rig(200, 5).await;
    rig.wait_until(
        "SELECT count(*) > 0 FROM attempts WHERE ended_at_ms IS NULL AND connected_at_ms > 0",
        1,
    )
    .await;
    let in_maintenance = |dialer: &Dialer| {
        let live = dialer.live(CAMPAIGN).expect("it runs");
        let mut agents = live.agents.iter();
        live.agents.len() == 5
            && live.attempts.values().all(|n| *n == 0)
            && agents.all(|a| a.leg.is_none() && a.reason == AgentReason::PbxMaintenance)
    };
    let mut events = rig.dialer.events().read(None);
    rig.run("INSERT INTO pbx_maintenance (pbx, since_ms) VALUES ('main', 7)")
        .await;
    rig.dialer.maintenance_changed().await;
    assert_eq!(rig.dialer.pbxes()[0].maintenance_since, Some(Wall(7)));
    let begun = What::Maintenance {
        pbx: PbxName::new("main"),
        on: true,
    };
    loop {
        match events.next().await {
            Next::Event(event) if event.what == begun => break,
            Next::Event(_) | Next::Missed => {}
        }
    }
    let until = Instant::now() + Duration::from_secs(60);
    while !in_maintenance(&rig.dialer) {
        assert!(Instant::now() < until, "{:?}", rig.dialer.live(CAMPAIGN));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    rig.wait_until(OPEN, 0).await;
    let before = rig.count("SELECT count(*) FROM attempts").await;
    rig.dialer.stop().await;
    let (next, _control) = dialer(&rig.url, Clock::with_speed(SPEED)).await;
    // One minute of the dialer's accelerated time.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(in_maintenance(&next), "{:?}", next.live(CAMPAIGN));
    assert_eq!(rig.count("SELECT count(*) FROM attempts").await, before);
    rig.run("DELETE FROM pbx_maintenance").await;
    next.maintenance_changed().await;
    rig.wait_until(DONE, 200).await;
    next.drain().await;
}

#[tokio::test]
async fn calls_of_an_archived_campaign_end_after_a_restart_and_no_new_call_starts() {
    let rig = rig(100, 5).await;
    rig.wait_until(
        "SELECT count(*) > 0 FROM attempts WHERE ended_at_ms IS NULL AND connected_at_ms > 0",
        1,
    )
    .await;
    rig.dialer.stop().await;
    assert!(rig.count(OPEN).await > 0);
    rig.run("UPDATE campaigns SET state = 'archived'").await;
    let before = rig.count("SELECT count(*) FROM attempts").await;
    let (next, _control) = dialer(&rig.url, Clock::with_speed(SPEED)).await;
    rig.wait_until(OPEN, 0).await;
    rig.wait_until("SELECT count(*) FROM number_leases", 0).await;
    rig.wait_until("SELECT count(*) FROM agents WHERE state <> 'offline'", 0)
        .await;
    assert_eq!(rig.count("SELECT count(*) FROM attempts").await, before);
    next.drain().await;
    assert!(next.live(CAMPAIGN).is_none());
}

#[tokio::test]
async fn agents_are_served_and_shown_while_a_drain_waits_for_conversations() {
    let rig = rig_at(20.0, Mode::Progressive, 60, 6, SimConfig::carried()).await;
    let connected = "SELECT count(*) > 0 FROM attempts WHERE ended_at_ms IS NULL AND connected_at_ms > 0";
    rig.wait_until(connected, 1).await;
    let dialer = rig.dialer.clone();
    let draining = tokio::spawn(async move { dialer.drain().await });
    // A dialer that drains still gets changes of the link's state.
    rig.control.cut_link(Duration::ZERO);
    rig.control.restore_link();
    let until = Instant::now() + Duration::from_secs(30);
    let ask = async |agent, request| rig.dialer.agent(CAMPAIGN, AgentId(agent), request).await;
    while ask(1, log_in(1)).await != Err(AgentRefusal::Stopping) {
        assert!(Instant::now() < until, "it never began to stop");
    }
    assert_eq!(ask(1, AgentRequest::Ready).await, Err(AgentRefusal::Stopping));
    let mut hung_up = 0;
    while !draining.is_finished() {
        let Some(live) = rig.dialer.live(CAMPAIGN) else {
            break;
        };
        for agent in &live.agents {
            if agent.state == AgentState::OnCall {
                hung_up += usize::from(ask(agent.agent.0, AgentRequest::HangUp).await.is_ok());
            }
        }
        assert!(Instant::now() < until, "it never ended: {live:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(hung_up > 0, "nobody could hang up");
    draining.await.expect("drained");
    assert_eq!(rig.count(OPEN).await, 0);
}
