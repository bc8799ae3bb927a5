//! The simulated PBX behind the same handle as real ones, in accelerated time.

#![allow(
    clippy::unwrap_used,
    reason = "clippy's exception for tests does not reach their helpers"
)]

use paceline_core::ids::{AgentLegId, LegId};
use paceline_core::outcome::Outcome;
use paceline_core::pbx::{Destination, DialString, PbxCommand, PbxEvent};
use paceline_core::verdict;
use paceline_pbx::{EVENTS_WAITING_MAX, PbxHandle, sim};
use paceline_runtime::clock::Clock;
use paceline_sim::SimConfig;
use paceline_sim::config::Callees;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use uuid::Uuid;

const DEADLINE: Duration = Duration::from_secs(20);

fn start() -> (PbxHandle, sim::SimControl) {
    let callees = Callees {
        scripted: true,
        ..Callees::default()
    };
    sim::spawn_seeded(
        SimConfig {
            callees,
            ..SimConfig::default()
        },
        7,
        Clock::with_speed(100.0),
    )
}

async fn next(handle: &mut PbxHandle) -> PbxEvent {
    match tokio::time::timeout(DEADLINE, handle.events.recv()).await {
        Ok(Some(stamped)) => stamped.event,
        silence => unreachable!("no event: {silence:?}"),
    }
}

fn call(n: u128, number: &str) -> PbxCommand {
    PbxCommand::CallContact {
        leg: LegId(Uuid::from_u128(n)),
        dial: DialString::new(&format!("PJSIP/{number}@carrier")).unwrap(),
        caller_id: None,
        ring_timeout: Duration::from_secs(25),
        duration_max: Duration::from_secs(3600),
    }
}

#[tokio::test]
async fn a_call_is_answered_connected_and_ends() {
    let (mut handle, control) = start();
    assert!(matches!(next(&mut handle).await, PbxEvent::Resynchronised(s) if s.channels.is_empty()));
    let agent_leg = AgentLegId(Uuid::from_u128(1 << 64));
    let dial = DialString::new("PJSIP/agent-1").unwrap();
    let (ring_timeout, duration_max) = (Duration::from_secs(25), Duration::from_secs(3600));
    let call_agent = PbxCommand::CallAgent {
        leg: agent_leg,
        dial,
        caller_id: None,
        ring_timeout,
        duration_max,
        report_keys: false,
    };
    handle.commands.send(call_agent).await.unwrap();
    assert_eq!(next(&mut handle).await, PbxEvent::AgentRinging { leg: agent_leg });
    assert_eq!(next(&mut handle).await, PbxEvent::AgentReady { leg: agent_leg });
    handle.commands.send(call(1, "+12025550140")).await.unwrap();
    assert!(matches!(next(&mut handle).await, PbxEvent::Progress { .. }));
    assert!(matches!(next(&mut handle).await, PbxEvent::Answered { .. }));
    let leg = LegId(Uuid::from_u128(1));
    handle
        .commands
        .send(PbxCommand::Connect {
            leg,
            to: Destination::HeldLeg(agent_leg),
        })
        .await
        .unwrap();
    assert_eq!(next(&mut handle).await, PbxEvent::Connected { leg, agent_leg });
    control.cut_link(Duration::from_secs(1));
    assert_eq!(next(&mut handle).await, PbxEvent::LinkLost);
    control.restore_link();
    let PbxEvent::Resynchronised(snapshot) = next(&mut handle).await else {
        unreachable!()
    };
    assert_eq!(snapshot.channels.len(), 2);
    handle.commands.send(PbxCommand::HangUp { leg }).await.unwrap();
    assert!(matches!(next(&mut handle).await, PbxEvent::LegEnded { .. }));
    assert_eq!(control.channels(), 1);
    assert_eq!(control.truth(|t| t.violations().len()), 0);
    assert_eq!(
        (
            handle.stats.connects.load(Relaxed),
            handle.stats.losses.load(Relaxed)
        ),
        (2, 1)
    );
}

#[tokio::test]
async fn events_that_nobody_reads_break_the_link_and_it_resynchronises() {
    let (mut handle, _control) = start();
    let calls = EVENTS_WAITING_MAX + 1000;
    for n in 0..calls {
        handle
            .commands
            .send(call(n as u128, "+12025550170"))
            .await
            .unwrap();
    }
    let stats = handle.stats.clone();
    let overflow = async {
        while stats.dropped.load(Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(DEADLINE, overflow).await.unwrap();
    let mut busy = 0;
    let mut resynchronised = 0;
    while resynchronised < 2 {
        match next(&mut handle).await {
            PbxEvent::LegEnded { end, .. } => {
                assert_eq!(verdict::unanswered(&end), Outcome::Busy);
                busy += 1;
            }
            PbxEvent::Resynchronised(_) => resynchronised += 1,
            PbxEvent::LinkLost => {}
            other => unreachable!("{other:?}"),
        }
    }
    assert!(busy < calls);
    assert!(handle.stats.connected.load(Relaxed));
}

#[tokio::test]
async fn a_dropped_handle_stops_the_driver() {
    let (handle, _control) = start();
    let PbxHandle { commands, events, .. } = handle;
    drop(events);
    tokio::time::timeout(DEADLINE, commands.closed()).await.unwrap();
}
