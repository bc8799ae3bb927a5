//! Callees answer while Paceline is frozen or dead: their waiting time starts at the answer, not when we read the
//! event.

use crate::breakable::Breakable;
use crate::rig::{Site as _, System, wait_for};
use jiff::Timestamp;
use paceline_lab::{
    Audio, Behaviour, FreeSwitch, FreeSwitchLab, FreeSwitchOptions, Lab, LabOptions, SeenCall, Version,
};
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};

/// The time for which Paceline is frozen or dead; far beyond the limit of 2 s.
const AWAY: Duration = Duration::from_secs(8);
/// Longer than a PBX may be silent before its link counts as lost.
const LONG_AWAY: Duration = Duration::from_secs(20);
const CALLS: u32 = 4;

fn asterisk(version: Version) -> Lab {
    Lab::start_with(&LabOptions {
        version,
        agents: CALLS,
        audio: Audio::Tones,
        ..LabOptions::default()
    })
    .expect("the lab starts; run scripts/tools if something is missing")
}

fn freeswitch() -> Option<FreeSwitchLab> {
    FreeSwitch::program_or_skip("late answers on FreeSWITCH")?;
    let options = FreeSwitchOptions {
        agents: CALLS,
        ..FreeSwitchOptions::default()
    };
    Some(FreeSwitchLab::start(Audio::Tones, options).expect("the lab starts"))
}

/// A campaign with all its calls ringing.
struct Ringing<L: Breakable> {
    system: System<L>,
    campaign: i64,
    task: i64,
    agents: Vec<i64>,
}

impl<L: Breakable> Ringing<L> {
    async fn start(lab: L) -> Self {
        let system = System::start_at(lab, None).await;
        let settings = json!({"answering": {"abandon_message": "sound:message"}});
        let campaign = system.campaign_over("late", &[(L::PBX, L::DIAL)], settings).await;
        let agents = system.agents_at(L::PBX, campaign, 1, CALLS).await;
        system.wait_for_agents(campaign, agents.len()).await;
        let numbers: Vec<String> = (0..CALLS).map(|n| Behaviour::RingsThenTalks.number(n)).collect();
        let task = system.task(campaign, "late", &numbers, 0).await;
        let ringing = Self {
            system,
            campaign,
            task,
            agents,
        };
        wait_for("ringing calls", Duration::from_secs(20), async || {
            let live = ringing.live().await?;
            (live["attempts"]["ringing"].as_u64()? == u64::from(CALLS)).then_some(())
        })
        .await;
        ringing
    }

    async fn live(&self) -> Option<Value> {
        let path = format!("/campaigns/{}/live", self.campaign);
        self.system.api.try_get(&path).await
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([name, &self.system.pid().to_string()])
            .status()
            .expect("kill runs");
        assert!(sent.success());
    }

    /// Every attempt, after all have ended.
    async fn attempts(&self) -> Vec<Value> {
        wait_for("the calls' ends", Duration::from_secs(30), async || {
            let path = format!("/attempts?task_id={}", self.task);
            let attempts = self.system.api.all(&path).await;
            let over = attempts.iter().all(|attempt| attempt["ended_at"].is_string());
            (attempts.len() == CALLS as usize && over).then_some(attempts)
        })
        .await
    }

    /// The carrier's record of the call, after it has ended there too.
    async fn at_the_carrier(&self, attempt: &Value) -> SeenCall {
        wait_for(
            "the call's end at the carrier",
            Duration::from_secs(10),
            async || {
                let mut calls = self.system.lab.calls().into_iter();
                calls.find(|call| attempt["number"] == call.number.as_str() && call.end.is_some())
            },
        )
        .await
    }

    /// Checks that every callee was abandoned and heard the message, and that the time of its answer is stored.
    async fn all_are_abandoned(&self) {
        for attempt in self.attempts().await {
            let call = self.at_the_carrier(&attempt).await;
            let context = format!("{call:?} {attempt}");
            assert_eq!(attempt["outcome"], "abandoned", "{context}");
            assert_eq!(attempt["connected_at"], Value::Null, "{context}");
            assert!(attempt["abandoned_at"].is_string(), "{context}");
            assert!(call.heard_agent.is_none(), "{context}");
            let (from, _) = call.heard_message.expect(&context);
            assert!(from > Duration::from_secs(2), "{context}");
            let answered_at_ms = i64::try_from(call.answered_at_ms.expect("it answered")).expect("ms");
            let apart_ms = ms(&attempt["answered_at"]).abs_diff(answered_at_ms);
            assert!(apart_ms < 1_000, "{apart_ms} ms apart: {context}");
            let waited_ms = ms(&attempt["ended_at"]) - ms(&attempt["answered_at"]);
            // The phones ring for a second, so the callees answer within the first seconds.
            assert!(waited_ms > 5_000, "{waited_ms} ms: {context}");
        }
        let live = wait_for("the live state", Duration::from_secs(5), async || {
            self.live().await
        })
        .await;
        println!("abandoned: {}", live["abandon"]);
    }
}

fn ms(time: &Value) -> i64 {
    let time: Timestamp = time.as_str().expect("a time").parse().expect("a time");
    time.as_millisecond()
}

async fn callees_answer_a_frozen_paceline<L: Breakable>(lab: L, frozen: Duration) {
    let ringing = Ringing::start(lab).await;
    ringing.signal("-STOP");
    tokio::time::sleep(frozen).await;
    ringing.signal("-CONT");
    ringing.all_are_abandoned().await;
    ringing.system.finish(&ringing.agents).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_who_answers_while_paceline_is_frozen_is_recorded_as_abandoned_on_asterisk_22() {
    callees_answer_a_frozen_paceline(asterisk(Version::V22), LONG_AWAY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_who_answers_while_paceline_is_frozen_is_recorded_as_abandoned_on_asterisk_16() {
    callees_answer_a_frozen_paceline(asterisk(Version::V16), AWAY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_who_answers_while_paceline_is_frozen_is_recorded_as_abandoned_on_freeswitch() {
    if let Some(lab) = freeswitch() {
        callees_answer_a_frozen_paceline(lab, AWAY).await;
    }
}

/// If Paceline is dead, a FreeSWITCH keeps a callee who answers for some seconds. An Asterisk hangs up, because its
/// application has no listener.
#[tokio::test(flavor = "multi_thread")]
async fn a_callee_who_answers_while_paceline_is_dead_for_a_moment_is_recorded_as_abandoned_on_freeswitch() {
    let Some(lab) = freeswitch() else { return };
    let mut ringing = Ringing::start(lab).await;
    ringing.system.kill();
    tokio::time::sleep(AWAY).await;
    ringing.system.launch().await;
    ringing.all_are_abandoned().await;
    ringing.system.finish(&ringing.agents).await;
}

/// If the PBX ended a callee in the meantime, Paceline did not see it: the outcome is unknown, and no call follows.
#[tokio::test(flavor = "multi_thread")]
async fn freeswitch_ends_a_callee_who_answers_while_paceline_stays_dead() {
    let Some(lab) = freeswitch() else { return };
    let mut ringing = Ringing::start(lab).await;
    ringing.system.kill();
    let died_at = Instant::now();
    wait_for(
        "the PBX to end every callee",
        Duration::from_secs(20),
        async || {
            let calls = ringing.system.lab.calls();
            calls.iter().all(|call| call.end.is_some()).then_some(())
        },
    )
    .await;
    println!(
        "the last callee was ended {:?} after the crash",
        died_at.elapsed()
    );
    wait_for("only agents to be left", Duration::from_secs(5), async || {
        (ringing.system.lab.channels().len() == CALLS as usize).then_some(())
    })
    .await;
    ringing.system.launch().await;
    for attempt in ringing.attempts().await {
        let call = ringing.at_the_carrier(&attempt).await;
        let context = format!("{call:?} {attempt}");
        let (answered_at_ms, ended_at_ms) = (
            call.answered_at_ms.expect(&context),
            call.ended_at_ms.expect(&context),
        );
        assert!(
            (11_500..15_500).contains(&(ended_at_ms - answered_at_ms)),
            "{context}"
        );
        assert_eq!(attempt["outcome"], "unknown", "{context}");
        assert_eq!(attempt["connected_at"], Value::Null, "{context}");
        assert!(call.heard_agent.is_none(), "{context}");
    }
    assert_eq!(ringing.system.lab.calls().len(), CALLS as usize);
    ringing.system.finish(&ringing.agents).await;
}
