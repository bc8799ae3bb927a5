//! Paceline is stopped and does not restart: the PBX's own limits end every call, talking or ringing, and every agent's
//! leg. When Paceline starts later, it stores an outcome for each attempt and calls no number again.

use crate::rig::{Attempt, Site, System, wait_for};
use paceline_lab::{Audio, Behaviour, CallEnd, Lab, LabOptions, PhoneState};
use serde_json::json;
use std::time::{Duration, Instant};

const RING_MS: u64 = 8_000;
const CALL_MS: u64 = 10_000;
const AGENT_LEG_MS: u64 = 30_000;
/// The PBX counts whole seconds, and hanging up takes a moment.
const SLACK: Duration = Duration::from_secs(3);

/// A way to the carrier, with the number of callees who talk and of callees whose phones ring.
struct Route {
    name: &'static str,
    dial: &'static str,
    talks: u32,
    rings: u32,
}

/// Directly over a trunk, and through a dialplan like FreePBX's.
const ROUTES: [Route; 2] = [
    Route {
        name: "direct",
        dial: "PJSIP/{number}@carrier",
        talks: 14,
        rings: 4,
    },
    Route {
        name: "routed",
        dial: "Local/{number}@from-internal/n",
        talks: 6,
        rings: 2,
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn stopped_for_good_during_twenty_conversations_the_pbx_clears_every_leg() {
    let talks: u32 = ROUTES.iter().map(|route| route.talks).sum();
    let rings: u32 = ROUTES.iter().map(|route| route.rings).sum();
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
    let held_at = Instant::now();
    let mut ids = Vec::new();
    let mut campaigns = Vec::new();
    for route in &ROUTES {
        let campaign = system.campaign(route.name, route.dial, limits.clone()).await;
        let first = u32::try_from(ids.len()).expect("few") + 1;
        ids.extend(system.agents(campaign, first, route.talks + route.rings).await);
        campaigns.push(campaign);
    }
    for (campaign, route) in campaigns.iter().zip(&ROUTES) {
        let agents = route.talks + route.rings;
        system.wait_for_agents(*campaign, agents as usize).await;
    }
    let mut tasks = Vec::new();
    let (mut talkers, mut ringers) = (0..talks, 0..rings);
    for (campaign, route) in campaigns.iter().zip(&ROUTES) {
        let talkers = talkers.by_ref().take(route.talks as usize);
        let ringers = ringers.by_ref().take(route.rings as usize);
        let numbers: Vec<String> = talkers
            .map(|n| Behaviour::Talks.number(n))
            .chain(ringers.map(|n| Behaviour::Rings.number(n)))
            .collect();
        tasks.push(system.task(*campaign, route.name, &numbers, 0).await);
    }
    for (campaign, route) in campaigns.iter().zip(&ROUTES) {
        wait_for("all calls to talk or ring", Duration::from_secs(20), async || {
            let live = system.api.try_get(&format!("/campaigns/{campaign}/live")).await?;
            let calls = &live["attempts"];
            (calls["connected"] == route.talks && calls["ringing"] == route.rings).then_some(())
        })
        .await;
    }
    wait_for(
        "the conversations to be stored",
        Duration::from_secs(5),
        async || {
            let attempts = attempts(&system, &tasks).await;
            let stored = attempts.iter().filter(|attempt| attempt.connected_at.is_some());
            (stored.count() == talks as usize).then_some(())
        },
    )
    .await;
    system.kill();
    let killed_at = Instant::now();
    let channels = system.lab.asterisk.channels().expect("channels").len();
    assert!(channels >= 2 * agents as usize, "{channels} channels");

    are_cleared(&system, talks, rings, killed_at).await;
    let held_until = (Duration::from_millis(AGENT_LEG_MS) + SLACK).saturating_sub(held_at.elapsed());
    assert_eq!(system.lab.channels_after(held_until), Vec::<String>::new());
    let phones = system.lab.phones.calls();
    assert!(
        phones.iter().all(|call| call.state == PhoneState::PbxHungUp),
        "{phones:?}"
    );
    println!("all of {channels} channels {:?}", killed_at.elapsed());

    // Paceline starts after all: it settles every attempt, calls the agents' phones, and calls no contact again.
    system.launch().await;
    wait_for("every agent to be free", Duration::from_secs(30), async || {
        let mut free = 0;
        for campaign in &campaigns {
            free += available(&system, *campaign).await?;
        }
        (free == ids.len()).then_some(())
    })
    .await;
    let ended = attempts(&system, &tasks).await;
    for attempt in &ended {
        let expected = match Behaviour::of(&attempt.number) {
            Some(Behaviour::Talks) => "answered",
            _ => "unknown",
        };
        assert_eq!(attempt.outcome.as_deref(), Some(expected));
    }
    assert_eq!(ended.len(), agents as usize, "each was tried once");
    assert_eq!(system.lab.calls().len(), ended.len(), "nobody was called again");
    system.finish(&ids).await;
}

/// The PBX ends ringing and talking calls in time.
async fn are_cleared(system: &System<Lab>, talks: u32, rings: u32, killed_at: Instant) {
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
    // The PBX counts from the originate, so the longest ring time comes before the longest talk time.
    let talking_until =
        (Duration::from_millis(RING_MS + CALL_MS) + SLACK).saturating_sub(killed_at.elapsed());
    wait_for("the talking calls to be cleared", talking_until, async || {
        (over(Behaviour::Talks, CallEnd::CallerHungUp) == talks as usize).then_some(())
    })
    .await;
    let talked = killed_at.elapsed();
    println!("{rings} ringing calls were cleared {rang:?} after the kill, {talks} talking ones {talked:?}");
}

/// All attempts of these tasks.
async fn attempts(system: &System<Lab>, tasks: &[i64]) -> Vec<Attempt> {
    let mut all = Vec::new();
    for task in tasks {
        all.extend(system.attempts(*task).await.into_values().flatten());
    }
    all
}

/// The number of available agents.
async fn available(system: &System<Lab>, campaign: i64) -> Option<usize> {
    let live = system.api.try_get(&format!("/campaigns/{campaign}/live")).await?;
    let agents = live["agents"].as_array()?;
    let free = agents.iter().filter(|agent| agent["state"] == "available");
    Some(free.count())
}
