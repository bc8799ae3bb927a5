//! A predictive campaign on real PBXes, with callees drawn from a scenario. Compares the carrier's log, the agents'
//! phones and Paceline's records with the simulator's result for the same callees.

use crate::rig::{Api, Site, System, full, seed, wait_for};
use paceline_core::pacing::PacingMode;
use paceline_lab::{
    Audio, Behaviour, CallEnd, Callee, FreeSwitch, FreeSwitchLab, FreeSwitchOptions, Lab, LabOptions,
    MediaReport, SeenCall,
};
use paceline_sim::pacing::{DrawnCallee, Ours, Sample, Scenario, run};
use paceline_sim::random::Spread;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The longest time from the limit until the callee hears the agent or the message. It is longer only if the machine is
/// overloaded.
const LATE_MAX: Duration = Duration::from_millis(600);
const STARVED_MAX: Duration = Duration::from_secs(2);
/// The same by Paceline's own clock.
const RECORDED_LATE_MAX: Duration = Duration::from_millis(100);
/// The least time that every callee stays on the line beyond the limit.
const PATIENCE_MIN: Duration = Duration::from_secs(1);
/// A call without an answer rings for longer than any ring timeout.
const FOR_EVER: Duration = Duration::from_secs(300);

/// The parameters of a run.
struct Plan {
    scenario: Scenario,
    seed: u64,
    agents: u32,
    calls: u32,
    /// The scenario's mean setup time. The ring timeout of a PBX starts this much earlier than the scenario's.
    setup: Duration,
}

impl Plan {
    fn new() -> Self {
        let secs = Duration::from_secs_f64;
        let (agents, calls, setup) = if full() { (20, 2_600, 2.5) } else { (8, 600, 0.3) };
        let live = if full() { 0.25 } else { 0.4 };
        // No answering machine detection: every answer is a live answer at once.
        let mut scenario = Scenario {
            length: secs(1800.0),
            machine_share: 0.0,
            amd_person: Spread::Constant(Duration::ZERO),
            ..Scenario::stationary(agents, live)
        };
        if !full() {
            let gamma = |shape, mean| Spread::Gamma {
                shape,
                mean: secs(mean),
            };
            scenario = Scenario {
                length: secs(50.0),
                setup: gamma(4, setup),
                ring_person: gamma(3, 2.0),
                ring_timeout: secs(6.0),
                talk: gamma(4, 8.0),
                wrap_up: gamma(2, 2.0),
                // With so few answers, one abandoned call would exceed 3 %.
                abandon_ratio_max: 0.2,
                ..scenario
            };
        }
        Self {
            scenario,
            seed: seed(),
            agents,
            calls,
            setup: secs(setup),
        }
    }

    fn number(nth: u32) -> String {
        Behaviour::Talks.number(nth)
    }

    fn drawn(&self, nth: u32) -> DrawnCallee {
        DrawnCallee::nth(&self.scenario, self.seed, u64::from(nth))
    }

    fn callees(&self) -> Vec<Callee> {
        let callee = |nth| {
            let drawn = self.drawn(nth);
            Callee {
                number: Self::number(nth),
                setup: drawn.setup,
                ring: drawn.ring.unwrap_or(FOR_EVER),
                // The scenario's talk time starts when the agent is connected. No callee hangs up near the limit.
                talk: (!drawn.refuses).then_some(drawn.talk.max(self.scenario.connect_limit + PATIENCE_MIN)),
                refusal: 486,
                key: None,
            }
        };
        (0..self.calls).map(callee).collect()
    }

    fn wrap_ups(&self) -> BTreeMap<String, Duration> {
        let of = |nth| (Self::number(nth), self.drawn(nth).wrap_up);
        (0..self.calls).map(of).collect()
    }

    fn settings(&self) -> Value {
        // The same rule as the simulator's.
        let rule = json!({
            "name": "daily", "ratio_max": self.scenario.abandon_ratio_max, "window": {"hours": 24}, "clock": "greeting_end",
            "limit_ms": 2000, "early_hangup": "ignored", "ring_ms_min": 0, "message": true,
        });
        json!({
            "pacing": {"mode": "predictive", "abandon_rules": [rule]},
            "answering": {"abandon_message": "sound:message"},
            "dialing": {"ring_timeout_ms": (self.scenario.ring_timeout + self.setup).as_millis()},
            "agents": {"wrap_up_ms": 3_600_000},
        })
    }
}

/// Seconds that agents were logged in, and that they were busy, as Paceline's API reports them.
#[derive(Clone, Copy, Default)]
struct Staff {
    staffed: f64,
    busy: f64,
}

/// Ends each agent's wrap-up after the time that was drawn with the callee. Meanwhile sums up the agents' states.
fn wrap_up(
    api: Api,
    campaign: i64,
    wrap_ups: BTreeMap<String, Duration>,
    staff: Arc<Mutex<Staff>>,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let mut done: BTreeMap<String, Instant> = BTreeMap::new();
        let mut looked_at = Instant::now();
        loop {
            if let Some(live) = api.try_get(&format!("/campaigns/{campaign}/live")).await {
                let now = Instant::now();
                let passed = now
                    .duration_since(std::mem::replace(&mut looked_at, now))
                    .as_secs_f64();
                let agents = live["agents"].as_array().cloned().unwrap_or_default();
                let busy = agents
                    .iter()
                    .filter(|a| a["state"] == "on_call" || a["state"] == "wrap_up");
                let busy = busy.count() as f64;
                {
                    let mut staff = staff.lock().unwrap();
                    staff.staffed += agents.len() as f64 * passed;
                    staff.busy += busy * passed;
                }
                for agent in agents.iter().filter(|a| a["state"] == "wrap_up") {
                    let attempt = agent["attempt_id"].as_str().unwrap_or_default().to_owned();
                    if !done.contains_key(&attempt) {
                        let Some(told) = api.try_get(&format!("/attempts/{attempt}")).await else {
                            continue;
                        };
                        let number = told["number"].as_str().unwrap_or_default();
                        let after = wrap_ups.get(number).copied().unwrap_or_default();
                        done.insert(attempt.clone(), now + after);
                    }
                    if done[&attempt] <= Instant::now() {
                        let path = format!("/agents/{}/ready", agent["agent_id"]);
                        // The API refuses requests that come too often. The next round sends it again.
                        let _ = api.send(reqwest::Method::POST, &path, Some(json!({}))).await;
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

/// The results of a run from one point of view.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct View {
    live: u32,
    abandoned: u32,
    talk_s: f64,
    wrap_up_s: f64,
}

impl View {
    fn print(&self, who: &str, staffed_s: f64) {
        let percent = |part: f64, whole: f64| 100.0 * part / whole.max(1e-9);
        println!(
            "{who:<28} talking {:5.1} %  busy {:5.1} %  {} abandoned of {} live answers, {:4.1} %",
            percent(self.talk_s, staffed_s),
            percent(self.talk_s + self.wrap_up_s, staffed_s),
            self.abandoned,
            self.live,
            percent(f64::from(self.abandoned), f64::from(self.live)),
        );
    }
}

/// The part of a period, given by its start and length, that lies before `until_ms`; in seconds.
fn within(from_ms: u64, length: Duration, until_ms: u64) -> f64 {
    let length_ms = u64::try_from(length.as_millis()).unwrap();
    until_ms.min(from_ms + length_ms).saturating_sub(from_ms) as f64 / 1_000.0
}

/// The carrier's view. Panics if an answered callee got neither an agent nor the message in time.
fn carriers_view(
    calls: &[SeenCall],
    limit: Duration,
    until_ms: u64,
    wrap_ups: &BTreeMap<String, Duration>,
) -> View {
    let mut view = View::default();
    let (mut cut_off, mut late) = (0, 0);
    for call in calls.iter().filter(|call| call.answered) {
        let (Some(answered_ms), Some(ended_ms)) = (call.answered_at_ms, call.ended_at_ms) else {
            panic!("it has not ended: {call:?}");
        };
        let lasted = Duration::from_millis(ended_ms - answered_ms);
        view.live += 1;
        match (call.heard_agent, call.heard_message) {
            (Some(after), None) => {
                assert!(after < limit + STARVED_MAX, "{call:?}");
                late += u32::from(after > limit + LATE_MAX);
                let from_ms = answered_ms + u64::try_from(after.as_millis()).unwrap();
                let length = Duration::from_millis(ended_ms.saturating_sub(from_ms));
                view.talk_s += within(from_ms, length, until_ms);
                view.wrap_up_s += within(ended_ms, wrap_ups[&call.number], until_ms);
            }
            (None, Some((from, _))) => {
                let early = Duration::from_millis(100);
                assert!(from + early > limit && from < limit + STARVED_MAX, "{call:?}");
                late += u32::from(from > limit + LATE_MAX);
                view.abandoned += 1;
            }
            // The limit passed while an agent was being joined: Paceline hung up at once.
            (None, None) if call.end == Some(CallEnd::CallerHungUp) && lasted < limit + STARVED_MAX => {
                view.abandoned += 1;
                cut_off += 1;
            }
            // The message was late, and the callee left before it had lasted long enough to be recognised.
            (None, None)
                if call.end == Some(CallEnd::CalleeHungUp)
                    && (limit..limit + STARVED_MAX).contains(&lasted) =>
            {
                view.abandoned += 1;
                late += 1;
            }
            _ => panic!("neither connected nor abandoned in time: {call:?}"),
        }
    }
    assert!(
        late * 20 <= view.live,
        "{late} of {} heard something late",
        view.live
    );
    if cut_off > 0 {
        println!(
            "{cut_off} of the abandoned were hung up without the message, while an agent was being joined"
        );
    }
    view
}

/// True if at some time more calls were waiting for an answer than agents were free.
fn launched_ahead(calls: &[SeenCall], agents: u32) -> bool {
    calls.iter().any(|new| {
        let at = new.at_ms;
        let up = |call: &&SeenCall| call.at_ms <= at && call.ended_at_ms.is_none_or(|ended| ended > at);
        let answered = |call: &&SeenCall| call.answered_at_ms.is_some_and(|answered| answered <= at);
        let (talking, in_flight): (Vec<_>, Vec<_>) = calls.iter().filter(up).partition(answered);
        in_flight.len() + talking.len() > agents as usize
    })
}

async fn predictive_run<S: Site>(
    system: System<S>,
    (pbx, dial): (&str, &str),
    plan: &Plan,
    heard_by_agents: impl Fn(&System<S>) -> MediaReport,
) {
    let campaign = system
        .campaign_over("pacing", &[(pbx, dial)], plan.settings())
        .await;
    let ids = system.agents_at(pbx, campaign, 1, plan.agents).await;
    system.wait_for_agents(campaign, ids.len()).await;
    let wrap_ups = plan.wrap_ups();
    let staff = Arc::new(Mutex::new(Staff::default()));
    let wrapping_up = wrap_up(system.api.clone(), campaign, wrap_ups.clone(), Arc::clone(&staff));
    let numbers: Vec<String> = (0..plan.calls).map(Plan::number).collect();
    *staff.lock().unwrap() = Staff::default();
    let from_ms = now_ms();
    let task = system.task(campaign, "pacing", &numbers, 0).await;
    tokio::time::sleep(plan.scenario.length).await;
    let until_ms = now_ms();
    let staff = *staff.lock().unwrap();
    let heard = heard_by_agents(&system);
    let decisions = system
        .api
        .get(&format!("/campaigns/{campaign}/pacing?limit=18000"))
        .await;
    system
        .api
        .post(&format!("/campaigns/{campaign}/pause"), json!({}))
        .await;
    let phases = async |phases: &[&str]| {
        let live = system.api.get(&format!("/campaigns/{campaign}/live")).await;
        phases
            .iter()
            .map(|phase| live["attempts"][phase].as_u64().unwrap_or(0))
            .sum::<u64>()
    };
    let unanswered = ["preparing", "dialing", "ringing", "answered", "message"];
    let limit = plan.scenario.ring_timeout + Duration::from_secs(30);
    wait_for("calls on their way to be over", limit, async || {
        (phases(&unanswered).await == 0).then_some(())
    })
    .await;
    let hang_up = system.agents_hang_up_after(campaign, Duration::ZERO);
    wait_for("conversations to be over", Duration::from_secs(30), async || {
        (phases(&["connected", "ending"]).await == 0).then_some(())
    })
    .await;
    hang_up.abort();
    wrapping_up.abort();

    let staffed_s = f64::from(plan.agents) * (until_ms - from_ms) as f64 / 1_000.0;
    // The carrier's log is up to 20 ms late.
    let calls = wait_for(
        "the carrier to see all ends",
        Duration::from_secs(5),
        async || {
            let calls = system.lab.calls();
            calls.iter().all(|call| call.end.is_some()).then_some(calls)
        },
    )
    .await;
    let carrier = carriers_view(&calls, plan.scenario.connect_limit, until_ms, &wrap_ups);
    let mut records = View::default();
    // The store is some hundred milliseconds late.
    let attempts = wait_for(
        "every attempt to be stored as ended",
        Duration::from_secs(10),
        async || {
            let attempts = system.api.all(&format!("/attempts?task_id={task}")).await;
            attempts
                .iter()
                .all(|a| !a["ended_at"].is_null())
                .then_some(attempts)
        },
    )
    .await;
    for call in calls.iter().filter(|call| call.answered) {
        let told = attempts.iter().find(|a| a["number"] == call.number.as_str());
        let told = told.expect("every call is an attempt");
        assert_eq!(
            call.heard_agent.is_some(),
            !told["connected_at"].is_null(),
            "{call:?} {told}"
        );
    }
    for attempt in attempts {
        let at = |field: &str| -> Option<u64> {
            let at: jiff::Timestamp = attempt[field].as_str()?.parse().ok()?;
            u64::try_from(at.as_millisecond()).ok()
        };
        if let (Some(connected_ms), Some(ended_ms)) = (at("connected_at"), at("ended_at")) {
            let waited = Duration::from_millis(connected_ms - at("answered_at").unwrap());
            assert!(
                waited <= plan.scenario.connect_limit + RECORDED_LATE_MAX,
                "{attempt}"
            );
            records.live += 1;
            let length = Duration::from_millis(ended_ms - connected_ms);
            records.talk_s += within(connected_ms, length, until_ms);
            let number = attempt["number"].as_str().unwrap();
            records.wrap_up_s += within(ended_ms, wrap_ups[number], until_ms);
        }
        if attempt["outcome"] == "abandoned" {
            records.live += 1;
            records.abandoned += 1;
        }
    }
    let forecast = |seed| -> Sample {
        let mut ours = Ours::new(PacingMode::Predictive, &plan.scenario);
        run(&plan.scenario, seed, &mut ours).total()
    };
    let foretold = forecast(plan.seed);
    let others: Vec<f64> = (1..=20)
        .map(|n| 100.0 * forecast(plan.seed + n).utilisation())
        .collect();
    let (least, most) = others
        .iter()
        .fold((100.0_f64, 0.0_f64), |(l, m), u| (l.min(*u), m.max(*u)));

    println!(
        "{pbx}: {} agents for {} s, seed {}, {} calls",
        plan.agents,
        plan.scenario.length.as_secs(),
        plan.seed,
        calls.len()
    );
    carrier.print("carrier", staffed_s);
    records.print("Paceline's records", staffed_s);
    println!(
        "{:<28} talking {:5.1} %  {} conversations heard begin",
        "agents' phones",
        100.0 * heard.heard.as_secs_f64() / staffed_s,
        heard.spells
    );
    println!(
        "{:<28} busy {:.1} %",
        "Paceline's live state",
        100.0 * staff.busy / staff.staffed.max(1e-9)
    );
    println!(
        "{:<28} busy {:.1} %  {} abandoned of {} live answers, {:.1} %  (20 other seeds: busy {least:.1} to {most:.1} %)",
        "simulator, same callees",
        100.0 * foretold.utilisation(),
        foretold.abandoned,
        foretold.live,
        100.0 * foretold.abandon_ratio(),
    );

    assert_eq!(
        (carrier.live, carrier.abandoned),
        (records.live, records.abandoned),
        "carrier and records agree"
    );
    let mut modes = decisions["decisions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| &d["mode"]);
    assert!(modes.any(|mode| mode == "predictive"), "it never was predictive");
    assert!(
        launched_ahead(&calls, plan.agents),
        "no call was launched ahead of free agents"
    );
    assert!(carrier.live > plan.agents, "{carrier:?}");
    if full() {
        let busy = (carrier.talk_s + carrier.wrap_up_s) / staffed_s;
        assert!(busy > foretold.utilisation() - 0.08, "busy {busy:.3}");
        let ratio = f64::from(carrier.abandoned) / f64::from(carrier.live);
        assert!(
            ratio <= 2.0 * plan.scenario.abandon_ratio_max,
            "abandoned {ratio:.3}"
        );
    }
    system.finish(&ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_predictive_run_on_asterisk() {
    let plan = Plan::new();
    let lab = Lab::start_with(&LabOptions {
        audio: Audio::Tones,
        agents: plan.agents,
        callees: plan.callees(),
        ..LabOptions::default()
    });
    let system = System::start_at(lab.expect("the lab starts"), None).await;
    let heard = |system: &System<Lab>| system.lab.phones.media_report();
    predictive_run(system, ("main", "PJSIP/{number}@carrier"), &plan, heard).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_predictive_run_on_freeswitch() {
    if FreeSwitch::program_or_skip("a predictive run on FreeSWITCH").is_none() {
        return;
    }
    let plan = Plan::new();
    let options = FreeSwitchOptions {
        agents: plan.agents,
        ..FreeSwitchOptions::default()
    };
    let lab = FreeSwitchLab::start_with(Audio::Tones, options, &plan.callees());
    let system = System::start_at(lab.expect("the lab starts"), None).await;
    let heard = |system: &System<FreeSwitchLab>| system.lab.phones.media_report();
    predictive_run(system, ("other", "sofia/gateway/carrier/{number}"), &plan, heard).await;
}
