//! The tests of `mixed` and `conversations` on a real FreeSWITCH, and a campaign over both PBXes at once.

use crate::mixed::{check_audio, check_outcomes, mixed_numbers};
use crate::rig::{Attempt, System, full, wait_for};
use paceline_lab::{Audio, Behaviour, FreeSwitch, FreeSwitchLab, FreeSwitchOptions, Lab, LabOptions};
use serde_json::json;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

const DIAL: &str = "sofia/gateway/carrier/{number}";

fn lab(agents: u32, audio: Audio) -> FreeSwitchLab {
    let options = FreeSwitchOptions {
        agents,
        ..FreeSwitchOptions::default()
    };
    FreeSwitchLab::start(audio, options).expect("the lab starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_outcome_is_the_one_played_on_freeswitch() {
    if FreeSwitch::program_or_skip("mixed contacts on FreeSWITCH").is_none() {
        return;
    }
    let (count, agents) = if full() { (500, 50) } else { (60, 12) };
    let system = System::start_at(lab(agents, Audio::Tones), None).await;
    // The wrap-up is a pause that separates one callee from the next in the audio that an agent hears.
    let campaign = system
        .campaign_over(
            "mixed",
            &[("other", DIAL)],
            json!({"agents": {"wrap_up_ms": 2500}}),
        )
        .await;
    let ids = system.agents_at("other", campaign, 1, agents).await;
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
        "{count} contacts on FreeSWITCH: {answered} answered, all outcomes as played; agents heard {} of {expected} \
         conversations begin",
        heard.spells
    );
    system.finish(&ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_on_freeswitch_are_recorded_after_the_announcement() {
    if FreeSwitch::program_or_skip("recordings on FreeSWITCH").is_none() {
        return;
    }
    let system = System::start_at(lab(2, Audio::Tones), None).await;
    let recording = json!({"recording": {"enabled": true, "announcement": "sound:beep"}});
    let campaign = system
        .campaign_over("recorded", &[("other", DIAL)], recording)
        .await;
    let ids = system.agents_at("other", campaign, 1, 2).await;
    let numbers: Vec<String> = (0..4).map(|n| Behaviour::TalksBriefly.number(n)).collect();
    let task = system.task(campaign, "recorded", &numbers, 0).await;
    system.wait_until_completed(task, Duration::from_secs(60)).await;
    let recordings = wait_for(
        "the recordings to be complete",
        Duration::from_secs(10),
        async || {
            let all = system.api.all("/recordings").await;
            all.iter().all(|r| r["state"] == "complete").then_some(all)
        },
    )
    .await;
    assert_eq!(recordings.len(), 4);
    for recording in recordings {
        let name = recording["name"].as_str().expect("a name");
        let file = system.lab.freeswitch.recordings_dir().join(format!("{name}.wav"));
        let bytes = std::fs::metadata(&file).expect("a file").len();
        // The conversation lasts 2.5 s, less a beep and the time of the join, at 16,000 bytes a second.
        assert!((16_000..60_000).contains(&bytes), "{bytes} bytes");
    }
    system.finish(&ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_campaign_over_both_pbxes_goes_on_over_the_other_when_one_is_killed() {
    if FreeSwitch::program_or_skip("both PBXes in one campaign").is_none() {
        return;
    }
    let (count, agents) = if full() { (400, 20) } else { (100, 6) };
    let asterisk = Lab::start_with(&LabOptions {
        agents,
        audio: Audio::None,
        ..LabOptions::default()
    })
    .expect("the lab starts");
    let mut system = System::start_at((asterisk, lab(agents, Audio::None)), None).await;
    let trunks = [("main", "PJSIP/{number}@carrier"), ("other", DIAL)];
    let campaign = system.campaign_over("both", &trunks, json!({})).await;
    let mut ids = system.agents_at("main", campaign, 1, agents).await;
    ids.extend(system.agents_at("other", campaign, 1, agents).await);
    system.wait_for_agents(campaign, ids.len()).await;
    let hang_up = system.agents_hang_up_after(campaign, Duration::from_millis(500));
    let numbers = mixed_numbers(count);
    let task = system.task(campaign, "both", &numbers, 0).await;
    // If a trunk did not carry a contact's call, the contact has an attempt but is not done: it is due again in half an
    // hour.
    let tried = async |system: &System<(Lab, FreeSwitchLab)>| {
        let attempts = system.attempts(task).await;
        let over = |of: &&Vec<Attempt>| of.iter().all(|attempt| attempt.outcome.is_some());
        attempts.values().filter(over).count()
    };
    wait_for("a third to be tried", Duration::from_secs(120), async || {
        (tried(&system).await >= count / 3).then_some(())
    })
    .await;
    let (on_asterisk, on_freeswitch) = (
        system.lab.0.carrier.calls().len(),
        system.lab.1.carrier.calls().len(),
    );
    assert!(
        on_asterisk > count / 10 && on_freeswitch > count / 10,
        "{on_asterisk} and {on_freeswitch}"
    );
    system.lab.1.crash();
    let killed_at = Instant::now();
    // The calls on the killed PBX are left out: their results are unknown until the PBX answers again.
    let at_it = agents as usize;
    wait_for(
        "the rest to be tried over the other",
        Duration::from_secs(180),
        async || (tried(&system).await + at_it >= count).then_some(()),
    )
    .await;
    let went_on = system.lab.0.carrier.calls().len() - on_asterisk;
    system.lab.1.freeswitch.restart().expect("it starts again");
    // We do not wait for the completed task: a contact that was not dialed because its PBX was down is due again in
    // half an hour.
    let attempts = wait_for(
        "every attempt to have ended",
        Duration::from_secs(60),
        async || {
            let attempts = system.attempts(task).await;
            let all = attempts.len() == numbers.len();
            let mut ended = attempts.values().flatten();
            (all && ended.all(|attempt| attempt.outcome.is_some())).then_some(attempts)
        },
    )
    .await;
    hang_up.abort();

    let mut dialed: BTreeMap<String, usize> = BTreeMap::new();
    for call in system
        .lab
        .0
        .carrier
        .calls()
        .into_iter()
        .chain(system.lab.1.carrier.calls())
    {
        *dialed.entry(call.number).or_default() += 1;
    }
    let (mut exact, mut touched) = (0, 0);
    for number in &numbers {
        let behaviour = Behaviour::of(number).expect("a behaviour");
        assert!(
            dialed.get(number).copied().unwrap_or(0) <= 1,
            "{behaviour:?} was dialed twice"
        );
        let outcome = attempts[number][0].outcome.as_deref().unwrap_or("none");
        match outcome {
            _ if outcome == behaviour.expected_outcome() => exact += 1,
            // The killed PBX had this call.
            "unknown" | "failed" | "abandoned" | "answered" | "cancelled" => touched += 1,
            other => panic!("{behaviour:?} ended as {other}"),
        }
    }
    println!(
        "{count} contacts over both PBXes, one killed after {on_freeswitch} calls there and {on_asterisk} here: {exact} exact, \
         {touched} touched, {went_on} more calls over the other, all over {:?} later",
        killed_at.elapsed()
    );
    assert!(touched <= agents as usize * 2, "{touched} touched");
    assert!(system.lab.0.carrier.calls().len() > on_asterisk + count / 10);

    // The PBX restarts and gets calls again.
    system.lab.1.freeswitch.restart().expect("it starts again");
    wait_for(
        "both PBXes to be connected",
        Duration::from_secs(30),
        async || {
            let live = system.api.try_get("/live").await?;
            let mut pbxes = live["pbxes"].as_array()?.iter();
            pbxes.all(|pbx| pbx["connected"] == true).then_some(())
        },
    )
    .await;
    system.finish(&ids).await;
}

/// Our process stops reading events while calls go on. This must not disturb the PBX.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_paceline_leaves_the_pbx_working_for_others() {
    if FreeSwitch::program_or_skip("SIGSTOP beside FreeSWITCH").is_none() {
        return;
    }
    let stopped_s = if full() { 60 } else { 10 };
    let per_second: u32 = 50;
    let system = System::start_at(lab(4, Audio::None), None).await;
    let campaign = system.campaign_over("talks", &[("other", DIAL)], json!({})).await;
    let ids = system.agents_at("other", campaign, 1, 4).await;
    system.wait_for_agents(campaign, ids.len()).await;
    let signal = |name: &str| {
        let sent = Command::new("kill")
            .args([name, &system.pid().to_string()])
            .status()
            .expect("kill runs");
        assert!(sent.success());
    };
    signal("-STOP");
    // These calls have our mark, so the PBX sends their events to us. Other events would not fill the buffers.
    let freeswitch = &system.lab.freeswitch;
    let owner = freeswitch
        .api("global_getvar paceline_owner_paceline")
        .expect("it answers");
    let (mark, _) = owner.trim().rsplit_once('.').expect("our mark");
    let (mut placed, mut slowest) = (0_u32, Duration::ZERO);
    let started = Instant::now();
    for second in 1..=stopped_s {
        let commands: Vec<String> = (placed..placed + per_second)
            .map(|nth| {
                let number = Behaviour::HangsUpEarly.number(nth);
                format!(
                    "bgapi originate {{paceline_app={mark},ignore_early_media=true}}sofia/gateway/carrier/{number} &park()"
                )
            })
            .collect();
        let asked_at = Instant::now();
        let replies = freeswitch.apis(&commands).expect("the PBX answers others");
        slowest = slowest.max(asked_at.elapsed());
        assert!(
            replies.iter().all(|reply| reply.starts_with("+OK")),
            "{replies:?}"
        );
        placed += per_second;
        let next = started + Duration::from_secs(second);
        tokio::time::sleep(next.saturating_duration_since(Instant::now())).await;
    }
    let seen = system.lab.carrier.calls().len() as u32;
    signal("-CONT");
    println!(
        "stopped for {stopped_s} s: {placed} calls placed by others, {seen} at the carrier, the slowest {per_second} commands took {slowest:?}"
    );
    assert!(
        seen * 10 >= placed * 9,
        "{seen} of {placed} calls reached the carrier"
    );
    // Paceline works again.
    let numbers: Vec<String> = (0..8).map(|n| Behaviour::TalksBriefly.number(n)).collect();
    let task = system.task(campaign, "after", &numbers, 0).await;
    system.wait_until_completed(task, Duration::from_secs(120)).await;
    system.finish(&ids).await;
}
