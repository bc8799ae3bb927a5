//! Callees opt out by a key of their phones, on real PBXes: in a conversation, while they wait for an agent, and during
//! the abandon message. Another campaign does not call these numbers any more.

use crate::breakable::Breakable;
use crate::rig::{Attempt, System, wait_for};
use jiff::Timestamp;
use paceline_lab::{
    Behaviour, CallEnd, Callee, FreeSwitch, FreeSwitchLab, FreeSwitchOptions, Lab, LabOptions, Postgres,
    SeenCall, Version,
};
use serde_json::{Value, json};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use std::time::Duration;

/// How the callees' phones send a key.
#[derive(Clone, Copy)]
enum Sent {
    /// In the audio stream (RTP), as almost all phones and trunks do.
    Rfc4733,
    /// In a SIP INFO request.
    SipInfo,
}

const LIMIT: Duration = Duration::from_secs(20);
const TALK: Duration = Duration::from_secs(600);

fn number(nth: u32) -> String {
    Behaviour::Talks.number(nth)
}

/// The first of three callees answers before the others and gets the only agent. The second presses the key while it waits, the
/// third during the message, which begins 2 s after the answer and takes 3 s.
fn three(key: char, sent: Sent) -> Vec<Callee> {
    let ring_and_press_ms = [(200, 1_500), (1_500, 700), (1_500, 3_300)];
    let callee = |(nth, (ring_ms, press_ms))| Callee {
        number: number(nth),
        setup: Duration::from_millis(10),
        ring: Duration::from_millis(ring_ms),
        talk: Some(TALK),
        refusal: 486,
        key: match sent {
            Sent::Rfc4733 => None,
            Sent::SipInfo => Some((Duration::from_millis(press_ms), key)),
        },
    };
    (0..).zip(ring_and_press_ms).map(callee).collect()
}

fn asterisk(version: Version, callees: Vec<Callee>, agents: u32) -> Lab {
    let options = LabOptions {
        version,
        agents,
        callees,
        ..LabOptions::default()
    };
    Lab::start_with(&options).expect("the lab starts; run scripts/tools if something is missing")
}

fn freeswitch(callees: &[Callee], agents: u32) -> FreeSwitchLab {
    let options = FreeSwitchOptions {
        agents,
        ..FreeSwitchOptions::default()
    };
    FreeSwitchLab::start_with(paceline_lab::Audio::Tones, options, callees).expect("the lab starts")
}

async fn the_call<L: Breakable>(system: &System<L>, of: &str, is: impl Fn(&SeenCall) -> bool) -> SeenCall {
    wait_for("a call at the carrier", LIMIT, async || {
        let calls = system.lab.calls();
        calls.into_iter().find(|call| call.number == of && is(call))
    })
    .await
}

/// Waits until this SQL gives the expected value for the attempt.
async fn the_attempt<L: Breakable>(
    system: &System<L>,
    task: i64,
    number: &str,
    is: impl Fn(&Attempt) -> bool,
) -> Attempt {
    wait_for("an attempt", LIMIT, async || {
        let mut attempts = system.attempts(task).await.remove(number)?;
        attempts.pop().filter(|attempt| is(attempt))
    })
    .await
}

/// Waits for the entry of the keypress in this attempt. Returns the time of the keypress.
async fn opted_out<L: Breakable>(system: &System<L>, attempt: &Attempt) -> Timestamp {
    let entry = wait_for("the entry of the keypress", LIMIT, async || {
        let entries = system.api.all("/dnc").await;
        let mut entries = entries.into_iter();
        entries.find(|entry| entry["attempt_id"] == attempt.id.as_str())
    })
    .await;
    assert_eq!(
        (&entry["number"], &entry["source"], &entry["scope"]),
        (&json!(attempt.number), &json!("keypress"), &json!("all"))
    );
    let at = entry["added_at"].as_str().expect("a time");
    at.parse().expect("a time")
}

async fn press<L: Breakable>(system: &System<L>, number: &str, key: char) {
    assert!(system.lab.carrier().press(number, key), "the callee is in a call");
}

fn settings(key: char) -> Value {
    let rule = json!({
        "name": "test", "ratio_max": 1.0, "window": "campaign", "clock": "connected", "limit_ms": 2000,
        "early_hangup": "ignored", "ring_ms_min": 0, "message": true,
    });
    json!({
        "pacing": {"mode": "power", "power_ratio": 3.0, "abandon_rules": [rule]},
        "answering": {"abandon_message": "sound:message"},
        "suppression": {"opt_out_digit": key.to_string()},
    })
}

/// Each callee presses the key at another step of its call. The call goes on, and no campaign calls the number again.
async fn a_key_opts_out_at_every_step<L: Breakable>(lab: L, dial: &str, key: char, sent: Sent) {
    let system = System::start_at(lab, None).await;
    let pressing = system
        .campaign_over("pressing", &[(L::PBX, dial)], settings(key))
        .await;
    let other = system
        .campaign_over("other", &[(L::PBX, L::DIAL)], json!({}))
        .await;
    let mut ids = system.agents_at(L::PBX, pressing, 1, 1).await;
    system.wait_for_agents(pressing, 1).await;
    let numbers: Vec<String> = (0..3).map(number).collect();
    let [talks, waits, hears] = numbers.as_slice() else {
        panic!("three numbers");
    };
    let task = system.task(pressing, "pressing", &numbers, 0).await;
    let rfc4733 = match sent {
        Sent::Rfc4733 => true,
        Sent::SipInfo => false,
    };

    the_call(&system, waits, |call| call.answered).await;
    if rfc4733 {
        press(&system, waits, key).await;
    }
    let waiting = the_attempt(&system, task, waits, |attempt| attempt.answered_at.is_some()).await;
    let waited = opted_out(&system, &waiting).await;
    let talking = the_attempt(&system, task, talks, |attempt| attempt.connected_at.is_some()).await;
    if rfc4733 {
        press(&system, talks, key).await;
    }
    let talked = opted_out(&system, &talking).await;
    let hearing = the_attempt(&system, task, hears, |attempt| attempt.abandoned_at.is_some()).await;
    if rfc4733 {
        press(&system, hears, key).await;
    }
    let heard = opted_out(&system, &hearing).await;

    // These two callees have heard the whole message, and the conversation goes on.
    let over = |attempt: &Attempt| attempt.outcome.is_some();
    let waiting = the_attempt(&system, task, waits, over).await;
    let hearing = the_attempt(&system, task, hears, over).await;
    for attempt in [&waiting, &hearing] {
        let detail = system.api.get(&format!("/attempts/{}", attempt.id)).await;
        assert_eq!(
            (&detail["outcome"], &detail["message"], &detail["connected_at"]),
            (&json!("abandoned"), &json!("whole"), &json!(null)),
            "{detail}"
        );
        let call = the_call(&system, &attempt.number, |call| call.end.is_some()).await;
        let (from, until) = call.heard_message.expect("it heard the message");
        assert!(until - from > Duration::from_millis(2_800), "{call:?}");
    }
    let at = |at: Option<Timestamp>| at.expect("it has happened");
    assert!(at(waiting.answered_at) < waited && waited < at(waiting.abandoned_at));
    assert!(at(hearing.abandoned_at) < heard && heard < hearing.ended_at);
    let still = the_attempt(&system, task, talks, |_| true).await;
    assert_eq!(still.outcome, None, "the conversation goes on");
    let live = system.api.get(&format!("/campaigns/{pressing}/live")).await;
    assert_eq!(live["agents"][0]["state"], "on_call", "{live}");
    assert!(at(still.connected_at) < talked);

    ids.extend(system.agents_at(L::PBX, other, 2, 1).await);
    system.wait_for_agents(other, 1).await;
    let hang_up = format!("/agents/{}/hang-up", ids[0]);
    system.api.post(&hang_up, json!({})).await;
    let ended = the_attempt(&system, task, talks, over).await;
    assert_eq!(ended.outcome.as_deref(), Some("answered"));
    let again = system.task(other, "other", &numbers, 0).await;
    blocked(&system, again, 3).await;
    assert_eq!(system.lab.calls().len(), 3, "nobody is called again");
    assert_eq!(
        system.lab.carrier().complaints().expect("they can be read"),
        Vec::<String>::new()
    );
    system.finish(&ids).await;
}

/// Waits until this many contacts of the task were denied because of an opt-out.
async fn blocked<L: Breakable>(system: &System<L>, task: i64, count: i64) {
    wait_for("the numbers to be blocked", LIMIT, async || {
        let detail = system.api.get(&format!("/tasks/{task}")).await;
        let blocked = detail["progress"]["last_outcomes"]["blocked"].as_i64();
        (blocked == Some(count)).then_some(())
    })
    .await;
}

async fn count(database: &mut PgConnection, sql: &'static str) -> i64 {
    let count = sqlx::query_scalar(sql).fetch_one(database).await;
    count.expect("the database answers")
}

async fn wait_for_count(database: &mut PgConnection, sql: &'static str, wanted: i64) {
    wait_for(sql, LIMIT, async || {
        (count(database, sql).await == wanted).then_some(())
    })
    .await;
}

/// Two callees press the key and are hung up, but the database cannot store their opt-outs yet. So another campaign calls them: one
/// rings, and the other is leased. As soon as the database has the opt-outs, the ringing call is hung up, and the leased number is not
/// dialed.
async fn a_key_stops_calls_of_another_campaign<L: Breakable>(lab: L) {
    let server = Postgres::start().expect("it starts; run scripts/tools if it is missing");
    let system = System::start_at(lab, Some(server.url())).await;
    let by_nine = json!({"suppression": {"opt_out_digit": "9"}});
    let trunks = [(L::PBX, L::DIAL)];
    let first = system.campaign_over("first", &trunks, by_nine).await;
    let second = system.campaign_over("second", &trunks, json!({})).await;
    let mut ids = system.agents_at(L::PBX, first, 1, 2).await;
    ids.extend(system.agents_at(L::PBX, second, 3, 1).await);
    system.wait_for_agents(first, 2).await;
    system.wait_for_agents(second, 1).await;
    let numbers = [number(0), number(1)];
    let task = system.task(first, "first", &numbers, 0).await;
    for number in &numbers {
        the_attempt(&system, task, number, |attempt| attempt.connected_at.is_some()).await;
    }

    let mut database = PgConnection::connect(&server.url()).await.expect("it answers");
    let mut holder = PgConnection::connect(&server.url()).await.expect("it answers");
    let mut held = holder.begin().await.expect("a transaction");
    let lock = sqlx::query("LOCK TABLE dnc IN SHARE MODE").execute(&mut *held);
    lock.await.expect("nobody else has locked it");
    for number in &numbers {
        press(&system, number, '9').await;
    }
    let waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'dnc'::regclass AND NOT granted";
    wait_for_count(&mut database, waiting, 2).await;
    for agent in &ids[..2] {
        system
            .api
            .post(&format!("/agents/{agent}/hang-up"), json!({}))
            .await;
    }
    for number in &numbers {
        the_attempt(&system, task, number, |attempt| attempt.outcome.is_some()).await;
    }
    let again = system.task(second, "second", &numbers, 0).await;
    let leased = "SELECT count(*) FROM number_leases";
    wait_for_count(&mut database, leased, 2).await;
    wait_for("a phone to ring again", LIMIT, async || {
        (system.lab.calls().len() == 3).then_some(())
    })
    .await;
    held.rollback().await.expect("it answers");

    wait_for_count(&mut database, leased, 0).await;
    let calls = system.lab.calls();
    assert_eq!(calls.len(), 3, "the leased number is not dialed: {calls:?}");
    let rang = calls.last().expect("three calls");
    let rang = the_call(&system, &rang.number, |call| {
        call.at_ms == rang.at_ms && call.end.is_some()
    })
    .await;
    assert_eq!((rang.end, rang.answered), (Some(CallEnd::Cancelled), false));
    let cancelled = the_attempt(&system, again, &rang.number, |attempt| attempt.outcome.is_some()).await;
    assert_eq!(cancelled.outcome.as_deref(), Some("cancelled"));
    blocked(&system, again, 1).await;
    system.finish(&ids).await;
}

/// The phones ring so long that the second campaign's call still rings when the opt-out is stored.
fn two_slow() -> Vec<Callee> {
    let callee = |nth| Callee {
        number: number(nth),
        setup: Duration::from_millis(10),
        ring: Duration::from_secs(5),
        talk: Some(TALK),
        refusal: 486,
        key: None,
    };
    (0..2).map(callee).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_opts_out_by_a_key_on_asterisk_22() {
    let lab = asterisk(Version::V22, three('9', Sent::Rfc4733), 2);
    a_key_opts_out_at_every_step(lab, Lab::DIAL, '9', Sent::Rfc4733).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_opts_out_by_a_key_on_asterisk_16() {
    let lab = asterisk(Version::V16, three('#', Sent::Rfc4733), 2);
    a_key_opts_out_at_every_step(lab, Lab::DIAL, '#', Sent::Rfc4733).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_behind_the_dialplan_opts_out_by_a_key_on_asterisk_22() {
    let lab = asterisk(Version::V22, three('9', Sent::Rfc4733), 2);
    a_key_opts_out_at_every_step(lab, "Local/{number}@from-internal/n", '9', Sent::Rfc4733).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_opts_out_by_sip_info_on_asterisk_22() {
    let lab = asterisk(Version::V22, three('9', Sent::SipInfo), 2);
    a_key_opts_out_at_every_step(lab, Lab::DIAL, '9', Sent::SipInfo).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_opts_out_by_sip_info_on_asterisk_16() {
    let lab = asterisk(Version::V16, three('9', Sent::SipInfo), 2);
    a_key_opts_out_at_every_step(lab, Lab::DIAL, '9', Sent::SipInfo).await;
}

/// FreeSWITCH stops a playback at `*` unless the driver changes this setting.
#[tokio::test(flavor = "multi_thread")]
async fn a_callee_opts_out_by_a_key_on_freeswitch() {
    if FreeSwitch::program_or_skip("a key on FreeSWITCH").is_none() {
        return;
    }
    let lab = freeswitch(&three('*', Sent::Rfc4733), 2);
    a_key_opts_out_at_every_step(lab, FreeSwitchLab::DIAL, '*', Sent::Rfc4733).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_behind_the_dialplan_opts_out_by_a_key_on_freeswitch() {
    if FreeSwitch::program_or_skip("a key behind FreeSWITCH's dialplan").is_none() {
        return;
    }
    let lab = freeswitch(&three('9', Sent::Rfc4733), 2);
    a_key_opts_out_at_every_step(lab, "loopback/{number}/from-internal", '9', Sent::Rfc4733).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_opts_out_by_sip_info_on_freeswitch() {
    if FreeSwitch::program_or_skip("a key by SIP INFO on FreeSWITCH").is_none() {
        return;
    }
    let lab = freeswitch(&three('9', Sent::SipInfo), 2);
    a_key_opts_out_at_every_step(lab, FreeSwitchLab::DIAL, '9', Sent::SipInfo).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_stops_calls_of_another_campaign_on_asterisk_22() {
    a_key_stops_calls_of_another_campaign(asterisk(Version::V22, two_slow(), 3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_stops_calls_of_another_campaign_on_asterisk_16() {
    a_key_stops_calls_of_another_campaign(asterisk(Version::V16, two_slow(), 3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_stops_calls_of_another_campaign_on_freeswitch() {
    if FreeSwitch::program_or_skip("a key that stops calls of another campaign on FreeSWITCH").is_none() {
        return;
    }
    a_key_stops_calls_of_another_campaign(freeswitch(&two_slow(), 3)).await;
}
