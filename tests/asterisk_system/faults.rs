//! Paceline dies in mid-run and starts again: nothing is lost, nothing is doubled, no channel is orphaned.

use crate::mixed::mixed_numbers;
use crate::rig::{Attempt, Site, System, full, wait_for};
use jiff::Timestamp;
use paceline_lab::{Behaviour, LabOptions};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn killed_with_9_in_mid_run_it_loses_and_doubles_nothing() {
    let (count, agents, kills) = if full() { (500, 50, 5) } else { (100, 20, 2) };
    let system = System::start(&LabOptions {
        agents,
        ..LabOptions::default()
    })
    .await;
    killed_in_mid_run(system, ("main", "PJSIP/{number}@carrier"), (count, agents, kills)).await;
}

pub(crate) async fn killed_in_mid_run<S: Site>(
    mut system: System<S>,
    (pbx, dial): (&str, &str),
    (count, agents, kills): (usize, u32, usize),
) {
    let campaign = system.campaign_over("mixed", &[(pbx, dial)], json!({})).await;
    let ids = system.agents_at(pbx, campaign, 1, agents).await;
    system.wait_for_agents(campaign, ids.len()).await;
    let hang_up = system.agents_hang_up_after(campaign, Duration::from_secs(2));
    let numbers = mixed_numbers(count);
    let task = system.task(campaign, "mixed", &numbers, 0).await;
    let mut cuts: Vec<(Timestamp, Timestamp)> = Vec::new();
    for n in 1..=kills {
        let goal = count * n / (kills + 2);
        wait_for("some contacts to be done", Duration::from_secs(120), async || {
            let progress = system.api.try_get(&format!("/tasks/{task}")).await?;
            (progress["progress"]["done"].as_u64()? >= goal as u64).then_some(())
        })
        .await;
        let killed_at = Timestamp::now();
        system.kill();
        system.launch().await;
        // What was about to be stored is lost with the process, and the PBX is read again just after the start.
        cuts.push((
            killed_at - Duration::from_millis(500),
            Timestamp::now() + Duration::from_secs(1),
        ));
    }
    system.wait_until_completed(task, Duration::from_secs(240)).await;
    hang_up.abort();

    let (exact, touched) = check_but_for_cuts(&system, task, &numbers, &cuts).await;
    println!("{count} contacts, {kills} kills: {exact} exact, others by a kill: {touched:?}");
    assert!(
        exact >= numbers.len() - kills * agents as usize,
        "only {exact} exact"
    );
    system.finish(&ids).await;
}

/// Every number was dialed once at most and has one attempt but for such as the switch refused; its outcome is the one played,
/// unless a cut came into it. How many are exact, and what became of the others.
async fn check_but_for_cuts<S: Site>(
    system: &System<S>,
    task: i64,
    numbers: &[String],
    cuts: &[(Timestamp, Timestamp)],
) -> (usize, BTreeMap<String, usize>) {
    let attempts = system.attempts(task).await;
    let mut dialed: BTreeMap<String, usize> = BTreeMap::new();
    for call in system.lab.calls() {
        *dialed.entry(call.number).or_default() += 1;
    }
    let (mut exact, mut touched, mut wrong) = (0, BTreeMap::new(), Vec::new());
    for number in numbers {
        let behaviour = Behaviour::of(number).expect("a behaviour");
        let times = dialed.get(number).copied().unwrap_or(0);
        if times > 1 {
            wrong.push(format!("{behaviour:?} was dialed {times} times"));
        }
        let mut of_number: Vec<_> = attempts.get(number).into_iter().flatten().collect();
        of_number.sort_by_key(|attempt| attempt.created_at);
        let Some((last, before)) = of_number.split_last() else {
            wrong.push(format!("{behaviour:?} was lost"));
            continue;
        };
        let in_a_cut = |attempt: &Attempt| {
            cuts.iter()
                .any(|(from, until)| attempt.created_at <= *until && attempt.ended_at >= *from)
        };
        // Refused: it never left us, or the switch had just come back.
        if !before
            .iter()
            .all(|a| a.outcome.as_deref() == Some("failed") && in_a_cut(a))
        {
            wrong.push(format!("{behaviour:?} has {} attempts", of_number.len()));
        }
        let outcome = last.outcome.as_deref().unwrap_or("none");
        match outcome {
            _ if outcome == behaviour.expected_outcome() => exact += 1,
            // Unknown: it ended unseen. Cancelled: it rang, and no agent was free any more. Abandoned: it was answered
            // while nobody was there to connect it.
            "unknown" | "cancelled" | "abandoned" if in_a_cut(last) => {
                *touched.entry(format!("{behaviour:?} as {outcome}")).or_insert(0) += 1;
            }
            other => wrong.push(format!(
                "{behaviour:?} ended as {other}, in a cut: {}, dialed {times} times",
                in_a_cut(last)
            )),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    (exact, touched)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_killed_and_one_that_stops_reading_in_mid_run_lose_and_double_nothing() {
    let (count, agents) = if full() { (500, 50) } else { (80, 12) };
    let mut system = System::start(&LabOptions {
        agents,
        ..LabOptions::default()
    })
    .await;
    let campaign = system
        .campaign("mixed", "PJSIP/{number}@carrier", json!({}))
        .await;
    let ids = system.agents(campaign, 1, agents).await;
    system.wait_for_agents(campaign, ids.len()).await;
    let hang_up = system.agents_hang_up_after(campaign, Duration::from_secs(2));
    let numbers = mixed_numbers(count);
    let task = system.task(campaign, "mixed", &numbers, 0).await;
    let mut cuts: Vec<(Timestamp, Timestamp)> = Vec::new();
    for (n, killed) in [(1, true), (2, false)] {
        wait_for("some contacts to be done", Duration::from_secs(120), async || {
            let progress = system.api.try_get(&format!("/tasks/{task}")).await?;
            (progress["progress"]["done"].as_u64()? >= (count * n / 4) as u64).then_some(())
        })
        .await;
        let from = Timestamp::now() - Duration::from_millis(500);
        if killed {
            system.lab.asterisk.restart().expect("it starts again");
        } else {
            system.lab.asterisk.freeze().expect("it runs");
            wait_for("the link to be given up", Duration::from_secs(30), async || {
                let live = system.api.try_get("/live").await?;
                (live["pbxes"][0]["connected"] == false).then_some(())
            })
            .await;
            system.lab.asterisk.thaw().expect("it runs");
        }
        wait_for("the link", Duration::from_secs(60), async || {
            let live = system.api.try_get("/live").await?;
            (live["pbxes"][0]["connected"] == true).then_some(())
        })
        .await;
        cuts.push((from, Timestamp::now() + Duration::from_secs(2)));
    }
    // Who was taken back is due in half an hour; who was refused, in a minute.
    wait_for("an end of every attempt", Duration::from_secs(240), async || {
        let attempts = system.attempts(task).await;
        let over = |number: &String| {
            let last = attempts.get(number)?.iter().max_by_key(|a| a.created_at)?;
            last.outcome.as_deref().filter(|outcome| *outcome != "failed")
        };
        numbers.iter().all(|number| over(number).is_some()).then_some(())
    })
    .await;
    hang_up.abort();
    let (exact, touched) = check_but_for_cuts(&system, task, &numbers, &cuts).await;
    println!("{count} contacts, a switch killed and frozen: {exact} exact, others by a cut: {touched:?}");
    assert!(exact >= count - 2 * agents as usize, "only {exact} exact");
    system.wait_for_agents(campaign, ids.len()).await;
    system.finish(&ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_stop_lets_conversations_end_and_leaves_nothing_behind() {
    let mut system = System::start(&LabOptions {
        agents: 4,
        ..LabOptions::default()
    })
    .await;
    let campaign = system
        .campaign("talks", "PJSIP/{number}@carrier", json!({}))
        .await;
    let ids = system.agents(campaign, 1, 4).await;
    system.wait_for_agents(campaign, 4).await;
    let numbers: Vec<String> = (0..20).map(|n| Behaviour::TalksBriefly.number(n)).collect();
    let task = system.task(campaign, "talks", &numbers, 0).await;
    wait_for("a conversation", Duration::from_secs(20), async || {
        let live = system.api.try_get(&format!("/campaigns/{campaign}/live")).await?;
        (live["calls"]["connected"].as_u64()? > 0).then_some(())
    })
    .await;
    system.terminate(Duration::from_secs(30)).await;
    assert_eq!(
        system
            .lab
            .asterisk
            .channels_after(Duration::from_secs(5))
            .expect("channels"),
        Vec::<String>::new()
    );
    system.launch().await;
    let attempts = system.attempts(task).await;
    let open = attempts
        .values()
        .flatten()
        .filter(|a| a.outcome.is_none())
        .count();
    let answered = attempts
        .values()
        .flatten()
        .filter(|a| a.outcome.as_deref() == Some("answered"))
        .count();
    assert_eq!(open, 0);
    assert!(
        answered > 0 && attempts.len() < numbers.len(),
        "{answered} answered, {} tried",
        attempts.len()
    );
    system.finish(&[]).await;
    drop(ids);
}
