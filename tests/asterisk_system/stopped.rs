//! Paceline is gone for good: the switch's own limits end every call, talking or ringing, and every agent's leg. When
//! it comes back after all, it settles its books and calls nobody again.

use crate::rig::{Site, System, wait_for};
use paceline_lab::{Audio, Behaviour, CallEnd, Lab, LabOptions, PhoneState};
use serde_json::json;
use std::time::{Duration, Instant};

const RING_MS: u64 = 8_000;
const CALL_MS: u64 = 15_000;
const AGENT_LEG_MS: u64 = 35_000;
/// The switch counts whole seconds, and hanging up takes a moment.
const SLACK: Duration = Duration::from_secs(3);

async fn stopped_for_good(dial: &str, talks: u32, rings: u32) {
    let agents = talks + rings;
    let mut system: System<Lab> = System::start(&LabOptions {
        agents,
        audio: Audio::None,
        ..LabOptions::default()
    })
    .await;
    let limits = json!({
        "dialing": {"ring_timeout_ms": RING_MS, "call_duration_ms_max": CALL_MS},
        "agents": {"leg_duration_ms_max": AGENT_LEG_MS},
    });
    let campaign = system.campaign("short", dial, limits).await;
    let ids = system.agents(campaign, 1, agents).await;
    system.wait_for_agents(campaign, ids.len()).await;
    let held_at = Instant::now();
    let numbers: Vec<String> = (0..talks)
        .map(|n| Behaviour::Talks.number(n))
        .chain((0..rings).map(|n| Behaviour::Rings.number(n)))
        .collect();
    let task = system.task(campaign, "short", &numbers, 0).await;
    let in_phase = async |phase: &str| {
        let live = system.api.try_get(&format!("/campaigns/{campaign}/live")).await?;
        live["calls"][phase].as_u64()
    };
    wait_for("all calls to talk or ring", Duration::from_secs(20), async || {
        let is = in_phase("connected").await == Some(talks.into())
            && in_phase("ringing").await == Some(rings.into());
        is.then_some(())
    })
    .await;
    wait_for(
        "the conversations to be stored",
        Duration::from_secs(5),
        async || {
            let attempts = system.attempts(task).await;
            let stored = attempts
                .values()
                .flatten()
                .filter(|attempt| attempt.connected_at.is_some());
            (stored.count() == talks as usize).then_some(())
        },
    )
    .await;
    system.kill();
    let killed_at = Instant::now();
    let channels = system.lab.asterisk.channels().expect("channels").len();
    assert!(channels >= 2 * agents as usize, "{channels} channels");

    let over = |behaviour, end| {
        let calls = system.lab.calls();
        let of = calls.iter().filter(|call| call.behaviour == Some(behaviour));
        of.filter(|call| call.end == Some(end)).count()
    };
    let ringing_until = Duration::from_millis(RING_MS) + SLACK;
    wait_for("the ringing calls to be cleared", ringing_until, async || {
        (over(Behaviour::Rings, CallEnd::Cancelled) == rings as usize).then_some(())
    })
    .await;
    let rang = killed_at.elapsed();
    // The switch counts from the originate, so that it may have rung as long as it may ring.
    let talking_until =
        (Duration::from_millis(RING_MS + CALL_MS) + SLACK).saturating_sub(killed_at.elapsed());
    wait_for("the talking calls to be cleared", talking_until, async || {
        (over(Behaviour::Talks, CallEnd::CallerHungUp) == talks as usize).then_some(())
    })
    .await;
    let talked = killed_at.elapsed();
    let held_until = (Duration::from_millis(AGENT_LEG_MS) + SLACK).saturating_sub(held_at.elapsed());
    assert_eq!(system.lab.channels_after(held_until), Vec::<String>::new());
    let phones = system.lab.phones.calls();
    assert!(
        phones.iter().all(|call| call.state == PhoneState::SwitchHungUp),
        "{phones:?}"
    );
    println!(
        "over `{dial}`: {rings} ringing calls were cleared {rang:?} after the kill, {talks} talking ones {talked:?}, and all of \
         {channels} channels {:?}",
        killed_at.elapsed()
    );

    // And should it come back after all: everything is settled, nobody is called again, and the agents' phones are.
    system.launch().await;
    wait_for("every agent to be free", Duration::from_secs(30), async || {
        (available(&system, campaign).await? == ids.len()).then_some(())
    })
    .await;
    for (number, attempts) in system.attempts(task).await {
        let expected = match Behaviour::of(&number) {
            Some(Behaviour::Talks) => "answered",
            _ => "unknown",
        };
        let outcomes: Vec<_> = attempts.iter().map(|a| a.outcome.as_deref()).collect();
        assert_eq!(outcomes, [Some(expected)]);
    }
    assert_eq!(system.lab.calls().len(), numbers.len(), "nobody was called again");
    system.finish(&ids).await;
}

/// How many agents are available.
async fn available(system: &System<Lab>, campaign: i64) -> Option<usize> {
    let live = system.api.try_get(&format!("/campaigns/{campaign}/live")).await?;
    let agents = live["agents"].as_array()?;
    Some(
        agents
            .iter()
            .filter(|agent| agent["state"] == "available")
            .count(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_for_good_during_twenty_conversations_the_switch_clears_every_leg() {
    stopped_for_good("PJSIP/{number}@carrier", 20, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_for_good_the_switch_clears_every_leg_through_a_freepbx_dialplan() {
    stopped_for_good("Local/{number}@from-internal/n", 6, 2).await;
}
