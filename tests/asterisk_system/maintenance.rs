//! An operator restarts a PBX. After a graceful restart in maintenance, every call has ended by itself. After an
//! immediate restart, no contact has lost an attempt.

use crate::rig::{System, wait_for};
use paceline_lab::{Audio, Behaviour, Lab, LabOptions, Version};
use serde_json::{Value, json};
use std::process::Child;
use std::time::Duration;

mod freeswitch;

const SOON: Duration = Duration::from_secs(20);

/// Sends Asterisk the command to stop or restart. The command ends when Asterisk ends.
fn told(system: &System, command: &str) -> Child {
    let mut client = system.lab.asterisk.cli_client(command).expect("a client");
    client.spawn().expect("it runs")
}

/// Starts Asterisk again after it has ended, as a supervisor or Asterisk itself would do.
async fn comes_back(system: &mut System, mut client: Child) {
    wait_for("Asterisk to end", SOON, async || {
        (!system.lab.asterisk.is_running()).then_some(())
    })
    .await;
    let _ = client.wait();
    system.lab.asterisk.restart().expect("it starts");
}

impl<S: crate::rig::Site> System<S> {
    async fn live_of(&self, campaign: i64) -> Option<Value> {
        self.api.try_get(&format!("/campaigns/{campaign}/live")).await
    }

    async fn pbx(&self) -> Option<Value> {
        Some(self.api.try_get("/live").await?["pbxes"][0].clone())
    }

    async fn maintenance(&self, pbx: &str, on: bool) {
        let method = if on {
            reqwest::Method::POST
        } else {
            reqwest::Method::DELETE
        };
        let path = format!("/pbxes/{pbx}/maintenance");
        let (status, reply) = self.api.send(method, &path, None).await.expect("the API answers");
        assert_eq!(
            (status, reply["maintenance_since"].is_string()),
            (200, on),
            "{reply}"
        );
    }

    /// The number of the campaign's agents with this state and reason.
    async fn shown(&self, campaign: i64, state: &str, reason: &str) -> Option<usize> {
        let live = self.live_of(campaign).await?;
        let agents = live["agents"].as_array()?.iter();
        Some(
            agents
                .filter(|a| a["state"] == state && a["reason"] == reason)
                .count(),
        )
    }

    async fn waits_for_calls(&self, campaign: i64, phase: &str, n: u64) {
        wait_for(&format!("{n} calls to be {phase}"), SOON, async || {
            (self.live_of(campaign).await?["attempts"][phase] == n).then_some(())
        })
        .await;
    }

    /// Contacts whose every attempt met a PBX that takes no calls: they wait, and have lost no attempt.
    async fn turned_away(&self, task: i64) -> usize {
        let contacts = self.api.all(&format!("/tasks/{task}/contacts")).await;
        let mut turned_away = 0;
        for contact in contacts {
            match contact["last_outcome"].as_str() {
                Some("cancelled") => {
                    assert_eq!(contact["state"], "ready", "{contact}");
                    turned_away += 1;
                }
                Some("answered") | None => {}
                other => panic!("{other:?}: {contact}"),
            }
        }
        turned_away
    }
}

async fn restarts_gracefully(version: Version) {
    let mut system = System::start(&LabOptions {
        version,
        agents: 3,
        audio: Audio::None,
        ..LabOptions::default()
    })
    .await;
    let campaign = system
        .campaign("restart", "PJSIP/{number}@carrier", json!({}))
        .await;
    let ids = system.agents(campaign, 1, 3).await;
    system.wait_for_agents(campaign, 3).await;
    let long = vec![Behaviour::Talks.number(0)];
    let long_task = system.task(campaign, "long", &long, 0).await;
    system.waits_for_calls(campaign, "connected", 1).await;
    let restart = told(&system, "core restart gracefully");
    // Asterisk refuses new calls, and the operator has not put it into maintenance in Paceline yet.
    wait_for("Asterisk to refuse calls", SOON, async || {
        system.lab.asterisk.cli("core show channels").ok()?;
        let refused = system
            .lab
            .asterisk
            .ari("POST", "/channels?endpoint=Local/x@y&app=paceline")
            .ok()?;
        (refused.status == 500).then_some(())
    })
    .await;
    let numbers: Vec<String> = (0..8).map(|n| Behaviour::TalksBriefly.number(n)).collect();
    let task = system.task(campaign, "brief", &numbers, 0).await;
    wait_for("the refusals to be told", SOON, async || {
        let live = system.live_of(campaign).await?;
        let idle = live["idle"].as_array()?.iter();
        let told = idle.filter(|why| why["reason"] == "pbx_full").count() == 1;
        (told && system.pbx().await?["refuses_calls"] == true).then_some(())
    })
    .await;
    system.maintenance("main", true).await;
    wait_for("the idle phones to be released", SOON, async || {
        (system.shown(campaign, "paused", "pbx_maintenance").await? == 2).then_some(())
    })
    .await;
    assert!(system.lab.asterisk.is_running());
    system.waits_for_calls(campaign, "connected", 1).await;
    let turned_away = system.turned_away(task).await;
    assert!(
        (1..=6).contains(&turned_away),
        "{turned_away}: bursts are not repeated"
    );
    // The conversation ends, and with it the last leg.
    for id in &ids {
        let _ = system
            .api
            .send(
                reqwest::Method::POST,
                &format!("/agents/{id}/hang-up"),
                Some(json!({})),
            )
            .await;
    }
    comes_back(&mut system, restart).await;
    wait_for("the link", SOON, async || {
        (system.pbx().await?["connected"] == true).then_some(())
    })
    .await;
    assert_eq!(system.shown(campaign, "paused", "pbx_maintenance").await, Some(3));
    assert_eq!(
        system.lab.asterisk.channels().expect("channels"),
        Vec::<String>::new()
    );
    system.maintenance("main", false).await;
    // All contacts except those that met the restart, which are due in a minute.
    let answered = async |task: i64| {
        let attempts = system.attempts(task).await;
        let all = attempts.values().flatten();
        all.filter(|a| a.outcome.as_deref() == Some("answered")).count()
    };
    wait_for(
        "the others to be talked with",
        Duration::from_secs(40),
        async || (answered(task).await >= numbers.len() - turned_away).then_some(()),
    )
    .await;
    assert_eq!(answered(long_task).await, 1);
    assert_eq!(system.pbx().await.expect("live")["refuses_calls"], false);
    system.finish(&ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_restart_in_maintenance_hurts_no_call_and_finishes_no_contact() {
    restarts_gracefully(Version::V22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_restart_of_an_asterisk_16_in_maintenance_hurts_no_call_and_finishes_no_contact() {
    restarts_gracefully(Version::V16).await;
}

async fn restarts_at_once(version: Version) {
    let mut system: System<Lab> = System::start(&LabOptions {
        version,
        agents: 2,
        audio: Audio::None,
        ..LabOptions::default()
    })
    .await;
    let settings = json!({"dialing": {"ring_timeout_ms": 60_000}});
    let campaign = system
        .campaign("restart", "PJSIP/{number}@carrier", settings)
        .await;
    let ids = system.agents(campaign, 1, 2).await;
    system.wait_for_agents(campaign, 2).await;
    let numbers = vec![Behaviour::Talks.number(0), Behaviour::Rings.number(0)];
    let task = system.task(campaign, "restart", &numbers, 0).await;
    system.waits_for_calls(campaign, "connected", 1).await;
    system.waits_for_calls(campaign, "ringing", 1).await;
    let restart = told(&system, "core restart now");
    comes_back(&mut system, restart).await;
    system.wait_until_tried(task, 2, SOON).await;
    let attempts = system.attempts(task).await;
    let of = |number: &str| {
        attempts[number]
            .iter()
            .map(|a| a.outcome.as_deref())
            .collect::<Vec<_>>()
    };
    assert_eq!(of(&numbers[0]), [Some("answered")]);
    assert_eq!(of(&numbers[1]), [Some("cancelled")]);
    let ringing = system
        .api
        .get(&format!("/attempts/{}", attempts[&numbers[1]][0].id))
        .await;
    assert_eq!(ringing["legs"][0]["ended_by"], "pbx_stopped", "{ringing}");
    assert_eq!(
        system.turned_away(task).await,
        1,
        "the contact whose phone rang is due again"
    );
    wait_for("the agents to be held again", SOON, async || {
        (system.live_of(campaign).await?["agents_by_state"]["available"] == 2).then_some(())
    })
    .await;
    system.finish(&ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_at_once_finishes_no_contact_whose_phone_rang() {
    restarts_at_once(Version::V22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_at_once_of_an_asterisk_16_finishes_no_contact_whose_phone_rang() {
    restarts_at_once(Version::V16).await;
}
