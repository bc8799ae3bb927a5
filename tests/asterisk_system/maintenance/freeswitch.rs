//! The tests of maintenance on a FreeSWITCH, and a FreeSWITCH that is stopped at once or killed during calls.

use super::SOON;
use crate::breakable::{Breakable as _, freeswitch};
use crate::rig::{System, wait_for};
use paceline_lab::{Behaviour, FreeSwitch, FreeSwitchLab};
use serde_json::json;

const DIAL: &str = FreeSwitchLab::DIAL;

impl System<FreeSwitchLab> {
    fn told(&self, command: &str) {
        // FreeSWITCH may stop before it replies.
        let _ = self.lab.freeswitch.api(command);
    }

    /// Starts FreeSWITCH again after it has ended by itself, as a supervisor would do.
    async fn comes_back(&mut self) {
        wait_for("FreeSWITCH to end", SOON, async || {
            (!self.lab.freeswitch.is_running()).then_some(())
        })
        .await;
        // A BYE of the ended FreeSWITCH may have been lost.
        self.lab.crash();
        self.lab.freeswitch.restart().expect("it starts");
    }

    async fn agents_are_held(&self, campaign: i64, count: usize) {
        wait_for("the agents to be held", SOON, async || {
            (self.live_of(campaign).await?["agents_by_state"]["available"] == count).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeswitch_in_maintenance_stops_once_its_calls_have_ended_and_no_contact_pays_for_it() {
    if FreeSwitch::program_or_skip("maintenance of a FreeSWITCH").is_none() {
        return;
    }
    let mut system = System::start_at(freeswitch(3), None).await;
    let settings = json!({"dialing": {"ring_timeout_ms": 60_000}});
    let campaign = system
        .campaign_over("maintained", &[("other", DIAL)], settings)
        .await;
    let ids = system.agents_at("other", campaign, 1, 3).await;
    system.wait_for_agents(campaign, 3).await;
    let early = vec![Behaviour::Talks.number(0), Behaviour::Rings.number(0)];
    let before = system.task(campaign, "before", &early, 0).await;
    system.waits_for_calls(campaign, "connected", 1).await;
    system.waits_for_calls(campaign, "ringing", 1).await;
    system.maintenance("other", true).await;
    let numbers: Vec<String> = (0..8).map(|n| Behaviour::TalksBriefly.number(n)).collect();
    let task = system.task(campaign, "during", &numbers, 0).await;
    wait_for("the idle phones to be released", SOON, async || {
        (system.shown(campaign, "paused", "pbx_maintenance").await? == 2).then_some(())
    })
    .await;
    // FreeSWITCH does not stop during the conversation.
    system.told("fsctl shutdown asap");
    system.waits_for_calls(campaign, "connected", 1).await;
    assert!(system.lab.freeswitch.is_running());
    for id in &ids {
        let path = format!("/agents/{id}/hang-up");
        let _ = system
            .api
            .send(reqwest::Method::POST, &path, Some(json!({})))
            .await;
    }
    system.comes_back().await;
    wait_for("the link", SOON, async || {
        (system.pbx().await?["connected"] == true).then_some(())
    })
    .await;
    assert_eq!(system.shown(campaign, "paused", "pbx_maintenance").await, Some(3));
    assert_eq!(
        system.lab.freeswitch.channels().expect("channels"),
        Vec::<String>::new()
    );
    // Nothing was launched after the command, and the contact whose only attempt met it is due again.
    assert_eq!(system.lab.carrier.calls().len(), 2);
    assert!(system.attempts(task).await.is_empty());
    assert_eq!(system.turned_away(before).await, 1);
    system.maintenance("other", false).await;
    system.wait_until_completed(task, SOON * 2).await;
    for attempt in system.attempts(task).await.values().flatten() {
        assert_eq!(attempt.outcome.as_deref(), Some("answered"), "{attempt:?}");
        assert!(attempt.connected_at.is_some(), "{attempt:?}");
    }
    let talked = &system.attempts(before).await[&early[0]];
    assert_eq!(talked[0].outcome.as_deref(), Some("answered"), "{talked:?}");
    system.agents_are_held(campaign, 3).await;
    system.finish(&ids).await;
}

/// FreeSWITCH ends during two calls, one in conversation and one ringing. Returns what the store has for each: the
/// outcome, and who ended the leg.
async fn ends_under_calls(end: impl FnOnce(&mut System<FreeSwitchLab>)) -> [(String, String); 2] {
    let mut system = System::start_at(freeswitch(2), None).await;
    let settings = json!({"dialing": {"ring_timeout_ms": 60_000}});
    let campaign = system.campaign_over("ended", &[("other", DIAL)], settings).await;
    let ids = system.agents_at("other", campaign, 1, 2).await;
    system.wait_for_agents(campaign, 2).await;
    let numbers = [Behaviour::Talks.number(0), Behaviour::Rings.number(0)];
    let task = system.task(campaign, "ended", &numbers, 0).await;
    system.waits_for_calls(campaign, "connected", 1).await;
    system.waits_for_calls(campaign, "ringing", 1).await;
    end(&mut system);
    system.comes_back().await;
    system.wait_until_tried(task, 2, SOON).await;
    let attempts = system.attempts(task).await;
    let mut told = Vec::new();
    for number in &numbers {
        let [attempt] = &attempts[number][..] else {
            panic!("dialed again: {attempts:?}");
        };
        let path = format!("/attempts/{}", attempt.id);
        let leg = system.api.get(&path).await["legs"][0].clone();
        assert_eq!(leg["ended_by"].is_string(), leg["ended_at"].is_string(), "{leg}");
        let by = leg["ended_by"].as_str().unwrap_or_default().to_owned();
        told.push((attempt.outcome.clone().expect("an outcome"), by));
    }
    // The first call was in conversation until the PBX ended. The second was never answered.
    let of = |number: &str| &attempts[number][0];
    assert!(of(&numbers[0]).connected_at.is_some(), "{attempts:?}");
    assert_eq!(of(&numbers[1]).answered_at, None, "{attempts:?}");
    // Both agents' phones are held again, and no contact is called again.
    system.agents_are_held(campaign, 2).await;
    assert_eq!(system.lab.carrier.calls().len(), 2);
    system.finish(&ids).await;
    told.try_into().expect("two calls")
}

fn told(of: [(&str, &str); 2]) -> [(String, String); 2] {
    of.map(|(outcome, by)| (outcome.to_owned(), by.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeswitch_that_is_stopped_says_so_of_every_call() {
    if FreeSwitch::program_or_skip("a FreeSWITCH that is stopped").is_none() {
        return;
    }
    let ended = ends_under_calls(|system| system.told("fsctl shutdown")).await;
    let expected = [("answered", "pbx_stopped"), ("cancelled", "pbx_stopped")];
    assert_eq!(ended, told(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_on_a_killed_freeswitch_end_with_only_what_was_seen() {
    if FreeSwitch::program_or_skip("a FreeSWITCH that is killed").is_none() {
        return;
    }
    let ended = ends_under_calls(|system| system.lab.crash()).await;
    assert_eq!(ended, told([("answered", "vanished"), ("unknown", "vanished")]));
}
