//! A mix of all behaviours of callees: every outcome is the one that the carrier played, every answered call reaches an
//! agent, and both ends hear each other.

use crate::rig::{Attempt, Site, System, full, seed, wait_for};
use paceline_lab::{Behaviour, LabOptions, MediaReport, Version};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The number of callees with each behaviour in a hundred.
const MIX: &[(Behaviour, u32)] = &[
    (Behaviour::TalksBriefly, 22),
    (Behaviour::Talks, 8),
    (Behaviour::RingsThenTalks, 5),
    (Behaviour::AnswersAtOnce, 5),
    (Behaviour::EarlyMedia, 5),
    (Behaviour::HangsUpEarly, 5),
    (Behaviour::Busy, 12),
    (Behaviour::Rings, 8),
    (Behaviour::Declines, 6),
    (Behaviour::NotFound, 8),
    (Behaviour::Unavailable, 4),
    (Behaviour::Congested, 5),
    (Behaviour::ServerError, 3),
    (Behaviour::Silent, 4),
];

/// `count` numbers in that mix, each once, in an order drawn by the seed. Ten busy numbers in a row, as in the order of
/// the table, would look like a trunk that refuses every call.
pub(crate) fn mixed_numbers(count: usize) -> Vec<String> {
    let mut numbers = Vec::new();
    let mut nth = 0;
    while numbers.len() < count {
        for (behaviour, weight) in MIX {
            let share = (*weight as usize * count)
                .div_ceil(100)
                .min(count.saturating_sub(numbers.len()));
            for _ in 0..share {
                numbers.push(behaviour.number(nth));
                nth += 1;
            }
        }
    }
    numbers.shuffle(&mut StdRng::seed_from_u64(seed()));
    numbers
}

/// Checks that every number has exactly one attempt, with the outcome that was played. Returns the number of answered
/// calls.
pub(crate) async fn check_outcomes<S: Site>(system: &System<S>, task: i64, numbers: &[String]) -> usize {
    let attempts = system.attempts(task).await;
    assert_eq!(attempts.len(), numbers.len(), "numbers with attempts");
    let seen = system.lab.calls();
    let mut dialed: BTreeMap<&str, usize> = BTreeMap::new();
    for call in &seen {
        *dialed.entry(call.number.as_str()).or_default() += 1;
    }
    let mut wrong = Vec::new();
    let mut answered = 0;
    for number in numbers {
        let behaviour = Behaviour::of(number).expect("a behaviour");
        let of_number = &attempts[number];
        let outcome = of_number[0].outcome.as_deref().unwrap_or("none");
        if of_number.len() != 1 || outcome != behaviour.expected_outcome() {
            let detail = system.api.get(&format!("/attempts/{}", of_number[0].id)).await;
            wrong.push(format!(
                "{behaviour:?}: {} attempts, {outcome}; {}",
                of_number.len(),
                detail["legs"]
            ));
        }
        let times = dialed.get(number.as_str()).copied().unwrap_or(0);
        if times != 1 {
            wrong.push(format!("{behaviour:?}: the carrier saw it {times} times"));
        }
        if behaviour.answers() {
            answered += 1;
            if of_number[0].connected_at.is_none() || of_number[0].agent.is_none() {
                wrong.push(format!("{behaviour:?}: answered and not connected"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} went wrong:\n{}",
        wrong.len(),
        numbers.len(),
        wrong.join("\n")
    );
    answered
}

/// Checks that every callee who was connected for some time heard an agent, and the agent the callee. Returns their
/// number.
pub(crate) async fn check_audio<S: Site>(system: &System<S>, task: i64, heard: &MediaReport) -> u64 {
    let calls = system.lab.calls();
    let long = |n: &str| !matches!(Behaviour::of(n), Some(Behaviour::HangsUpEarly));
    let deaf: Vec<_> = calls
        .iter()
        .filter(|c| c.answered && long(&c.number) && c.heard_agent.is_none())
        .collect();
    assert!(
        deaf.is_empty(),
        "{} callees heard no agent: {:?}",
        deaf.len(),
        deaf.first()
    );
    let expected = calls.iter().filter(|c| c.answered && long(&c.number)).count() as u64;
    // The phones separate two conversations by 1.5 s of silence. Sometimes the pause between two of an agent's is
    // shorter.
    let spells_min = expected * 9 / 10;
    assert!(
        heard.spells >= spells_min,
        "agents heard {} conversations of {expected}: {heard:?}",
        heard.spells
    );
    check_agents(&system.attempts(task).await, heard);
    expected
}

/// Checks that every agent who had a callee for some time heard one, and always by the same leg. In a short mix, all
/// callees of an agent may have been silent or have hung up at once.
fn check_agents(attempts: &BTreeMap<String, Vec<Attempt>>, heard: &MediaReport) {
    let short = |number: &str| Behaviour::of(number) == Some(Behaviour::HangsUpEarly);
    let served = |with_short: bool| {
        let connected = attempts.values().flatten().filter(|a| a.connected_at.is_some());
        let of = connected.filter(|a| with_short || !short(&a.number));
        of.filter_map(|a| a.agent).collect::<BTreeSet<_>>().len() as u64
    };
    assert!(
        (served(false)..=served(true)).contains(&heard.flows_heard),
        "{} to {} agents had a callee: {heard:?}",
        served(false),
        served(true)
    );
}

async fn mixed(version: Version, dial: &str) {
    let count = if full() { 500 } else { 60 };
    // A call through the dialplan costs the PBX twice as much, and the PBX shares two cores with the carrier and the
    // phones.
    let agents = match (full(), dial.starts_with("Local/")) {
        (true, false) => 50,
        (true, true) => 20,
        (false, _) => 12,
    };
    let system = System::start(&LabOptions {
        version,
        agents,
        ..LabOptions::default()
    })
    .await;
    // The wrap-up is a pause that separates one callee from the next in the audio that an agent hears.
    let campaign = system
        .campaign("mixed", dial, json!({"agents": {"wrap_up_ms": 2500}}))
        .await;
    let ids = system.agents(campaign, 1, agents).await;
    system.wait_for_agents(campaign, ids.len()).await;
    let hang_up = system.agents_hang_up_after(campaign, Duration::from_secs(2));
    let numbers = mixed_numbers(count);
    let task = system.task(campaign, "mixed", &numbers, 0).await;
    system
        .wait_until_tried(task, numbers.len(), Duration::from_secs(240))
        .await;
    hang_up.abort();
    let answered = check_outcomes(&system, task, &numbers).await;

    let heard = system.lab.phones.media_report();
    let expected = check_audio(&system, task, &heard).await;
    println!(
        "{count} contacts on Asterisk {version:?} over `{dial}`: {answered} answered, all outcomes as played; agents heard {} \
         of {expected} conversations begin",
        heard.spells
    );
    system.finish(&ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_outcome_is_the_one_played_on_asterisk_22() {
    mixed(Version::V22, "PJSIP/{number}@carrier").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_outcome_is_the_one_played_on_asterisk_16() {
    mixed(Version::V16, "PJSIP/{number}@carrier").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_outcome_is_the_one_played_through_a_freepbx_dialplan_on_asterisk_22() {
    mixed(Version::V22, "Local/{number}@from-internal/n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_outcome_is_the_one_played_through_a_freepbx_dialplan_on_asterisk_16() {
    mixed(Version::V16, "Local/{number}@from-internal/n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_trunk_is_congestion_and_an_unknown_one_is_failed() {
    let system = System::start(&LabOptions {
        agents: 8,
        ..LabOptions::default()
    })
    .await;
    let numbers: Vec<String> = (0..4).map(|n| Behaviour::Talks.number(n)).collect();
    let mut all = Vec::new();
    for (n, (name, dial, outcome)) in [
        ("dead", "PJSIP/{number}@dead", "congestion"),
        ("unknown", "PJSIP/{number}@nowhere", "failed"),
    ]
    .into_iter()
    .enumerate()
    {
        let campaign = system.campaign(name, dial, json!({})).await;
        let ids = system.agents(campaign, 1 + 4 * n as u32, 4).await;
        let task = system.task(campaign, name, &numbers, 0).await;
        wait_for("an end of every attempt", Duration::from_secs(60), async || {
            let attempts = system.attempts(task).await;
            let ended = attempts.values().flatten().filter(|a| a.outcome.is_some());
            (ended.count() >= 4).then_some(())
        })
        .await;
        let attempts = system.attempts(task).await;
        let outcomes: Vec<_> = attempts
            .values()
            .flatten()
            .map(|a| a.outcome.clone().unwrap_or_default())
            .collect();
        assert_eq!(outcomes, vec![outcome; 4], "{name}");
        // A call that the PBX refused, or that the trunk did not carry, does not count as an attempt: its contact is
        // not done.
        let progress = system.api.get(&format!("/tasks/{task}")).await;
        assert_eq!(progress["progress"]["done"], 0, "{name}");
        system.api.post(&format!("/tasks/{task}/cancel"), json!({})).await;
        all.extend(ids);
    }
    assert!(system.lab.carrier.calls().is_empty());
    system.finish(&all).await;
}
