use super::*;
use paceline_core::gate::{GateStage, GateVerdict};
use paceline_core::pacing::{EffectiveMode, LaunchLimit, PacingReport};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;

/// A registry in which every metric has at least one series.
fn busy() -> Metrics {
    let metrics = Metrics::new();
    let campaign = metrics.campaign("spring \"offer\"");
    campaign.attempts.inc_by(3);
    campaign.illegal.inc();
    campaign.trunk("carrier-a").ended(Outcome::NoAnswer);
    campaign.trunk("carrier-a").ended(Outcome::NoAnswer);
    campaign
        .answer_to_connect_command
        .observe(Duration::from_micros(300));
    campaign.answer_to_connected.observe(Duration::from_millis(40));
    campaign.ring_duration.observe(Duration::from_secs(12));
    campaign.talk_duration.observe(Duration::from_secs(95));
    campaign.show(&LiveCampaign {
        attempts: BTreeMap::from([(AttemptPhase::Ringing, 2)]),
        agents_by_state: BTreeMap::from([(AgentState::Reserved, 2)]),
        hopper: 40,
        ..LiveCampaign::default()
    });
    metrics.stale().inc();
    let store = metrics.store();
    store.commit.observe(Duration::from_millis(2));
    store.count_decision(GateStage::Lease, GateVerdict::Deny, "suppressed");
    let queue = metrics.queue("store_changes");
    queue.depth.set(7);
    queue.dropped.inc();
    queue.stalls.inc();
    let stats = Arc::new(LinkStats::default());
    stats.connected.store(true, Ordering::Relaxed);
    stats.events_read.store(11, Ordering::Relaxed);
    metrics.watch_link(&PbxName::new("office"), stats);
    metrics.request_answered("GET", "/api/v1/tasks/{id}", 200, Duration::from_millis(3));
    metrics
}

#[test]
fn the_shown_counters_equal_the_counted_answers() {
    let text = busy().render();
    for line in [
        r#"paceline_attempts_total{campaign="spring \"offer\""} 3"#,
        r#"paceline_outcomes_total{campaign="spring \"offer\"",trunk="carrier-a",outcome="no_answer"} 2"#,
        r#"paceline_outcomes_total{campaign="spring \"offer\"",trunk="carrier-a",outcome="busy"} 0"#,
        r#"paceline_attempts_in_progress{campaign="spring \"offer\"",phase="ringing"} 2"#,
        r#"paceline_agents{campaign="spring \"offer\"",state="reserved"} 2"#,
        r#"paceline_hopper_contacts{campaign="spring \"offer\""} 40"#,
        r#"paceline_gate_decisions_total{stage="lease",verdict="deny",reason="suppressed"} 1"#,
        r#"paceline_answer_to_connect_command_seconds_bucket{le="0.0005",campaign="spring \"offer\""} 1"#,
        r#"paceline_pbx_up{pbx="office"} 1"#,
        r#"paceline_api_requests_total{method="GET",route="/api/v1/tasks/{id}",status="200"} 1"#,
        r#"paceline_api_request_duration_seconds_count{method="GET"} 1"#,
        r#"paceline_pbx_events_total{pbx="office"} 11"#,
        r#"paceline_queue_depth{queue="store_changes"} 7"#,
        "paceline_engine_stale_total 1",
        "# TYPE paceline_attempts_total counter",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\nis missing in\n{text}");
    }
}

#[test]
fn a_glance_adds_up_all_campaigns_and_leaves_zeros_out() {
    let metrics = busy();
    let other = metrics.campaign("autumn");
    other.attempts.inc();
    other.trunk("carrier-a").ended(Outcome::NoAnswer);
    other.trunk("carrier-b").ended(Outcome::Answered);
    assert_eq!(
        metrics.glance(),
        Glance {
            attempts: 4,
            outcomes: BTreeMap::from([(Outcome::Answered, 1), (Outcome::NoAnswer, 3)]),
            in_progress: BTreeMap::from([(AttemptPhase::Ringing, 2)]),
            agents: BTreeMap::from([(AgentState::Reserved, 2)]),
            hopper: 40,
            pbxes: BTreeMap::from([(PbxName::new("office"), true)]),
        }
    );
}

#[test]
fn an_unused_trunk_has_no_series_any_more_and_still_counts_in_the_totals() {
    let metrics = Metrics::new();
    let campaign = metrics.campaign("spring");
    let (gone, stays) = (campaign.trunk("old"), campaign.trunk("new"));
    gone.ended(Outcome::Answered);
    stays.ended(Outcome::Answered);
    let before = metrics.glance();
    metrics.forget_trunk("spring", &gone);
    assert_eq!(metrics.glance(), before);
    let page = metrics.render();
    assert!(
        page.contains("trunk=\"new\"") && !page.contains("trunk=\"old\""),
        "{page}"
    );
}

#[test]
fn an_ended_campaign_has_no_series_any_more_and_still_counts_in_the_totals() {
    let metrics = busy();
    let before = metrics.glance();
    let report = PacingReport {
        limit: LaunchLimit::Agents,
        launch: 1,
        wanted: 1,
        mode: EffectiveMode::Predictive,
        fallback: None,
        risk: 0.1,
        risk_max: 0.2,
        expected_abandon_ratio: 0.01,
        rule: None,
        budget_left: 1.0,
        live: 100.0,
        abandoned: 1.0,
        agents: 2,
        agents_free: 1,
        in_flight: 1,
        answer_probability: 0.5,
        drift: 1.0,
    };
    metrics
        .campaign("spring \"offer\"")
        .pacing
        .count(&PbxName::new("office"), &report);
    metrics.forget("spring \"offer\"");
    let text = metrics.render();
    assert!(!text.contains("spring"), "{text}");
    let after = metrics.glance();
    assert_eq!(
        (after.attempts, after.outcomes),
        (before.attempts, before.outcomes)
    );
    assert!(after.in_progress.is_empty() && after.hopper == 0);
}

/// Maximum number of bytes that a campaign with one trunk may add to the page, with names of any length.
const CAMPAIGN_BYTES_MAX: usize = 16 * 1024;
const TRUNK_BYTES_MAX: usize = 3 * 1024;

#[test]
fn the_metrics_page_grows_with_configured_objects_and_never_with_requests() {
    let metrics = busy();
    let before = metrics.render().len();
    let long = "campaign ".repeat(22);
    let campaign = metrics.campaign(&long);
    let with_campaign = metrics.render().len() - before;
    assert!(with_campaign < CAMPAIGN_BYTES_MAX, "{with_campaign}");
    campaign.trunk(&long);
    let with_trunk = metrics.render().len() - before - with_campaign;
    assert!(with_trunk < TRUNK_BYTES_MAX, "{with_trunk}");
    metrics.forget(&long);
    // Every route with every existing status.
    for route in 0..60 {
        for status in [200, 201, 400, 401, 403, 404, 409, 413, 422, 429, 500, 503] {
            let route = format!("/api/v1/contact-lists/{{id}}/{route}");
            metrics.request_answered("POST", &route, status, Duration::from_millis(3));
        }
    }
    let asked = metrics.render().len() - before;
    assert!(asked < 100 * 1024, "{asked}");
}

#[test]
fn a_gauge_returns_to_zero_when_nothing_is_left() {
    let metrics = busy();
    metrics
        .campaign("spring \"offer\"")
        .show(&LiveCampaign::default());
    let text = metrics.render();
    assert!(text.contains("phase=\"ringing\"} 0\n"), "{text}");
}

#[test]
fn names_units_and_labels_follow_the_rules() {
    let text = busy().render();
    let mut types = BTreeMap::new();
    let mut helped = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(types.insert(name, kind).is_none(), "{name} is declared twice");
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(help.ends_with('.') && helped.insert(name), "{line}");
        }
    }
    for (name, kind) in &types {
        assert!(
            name.starts_with("paceline_") || name.starts_with("process_"),
            "{name} has no prefix"
        );
        assert!(helped.contains(name), "{name} has no help");
        assert_eq!(*kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        for unit in [
            "ms",
            "millis",
            "minutes",
            "hours",
            "percent",
            "kb",
            "kib",
            "mb",
            "ratio_total",
        ] {
            assert!(
                !name.split('_').any(|part| part == unit),
                "{name} is in no base unit"
            );
        }
        if *kind == "histogram" {
            assert!(name.ends_with("_seconds"), "{name} does not name its unit");
        }
    }
    let allowed = [
        "campaign", "trunk", "outcome", "phase", "state", "stage", "verdict", "reason", "pbx", "queue",
        "version", "method", "route", "status", "le",
    ];
    for sample in text.lines().filter(|l| !l.starts_with('#')) {
        let name = sample.split(['{', ' ']).next().unwrap();
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix))
            .unwrap_or(name);
        assert!(types.contains_key(family), "{name} is not declared");
        let labels = sample
            .split('{')
            .nth(1)
            .map_or("", |l| l.split('}').next().unwrap());
        for label in labels.split("\",").filter(|l| !l.is_empty()) {
            let key = label.split('=').next().unwrap();
            assert!(allowed.contains(&key), "{sample} has the label {key}");
        }
    }
}

#[test]
fn promtool_accepts_the_page() {
    let tools = std::env::var_os("PACELINE_PROMTOOL").unwrap_or_else(|| "promtool".into());
    let started = Command::new(&tools)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match started {
        Ok(child) => child,
        Err(err) => {
            eprintln!(
                "SKIPPED: promtool cannot be run ({err}): put it on PATH or name it in PACELINE_PROMTOOL"
            );
            return;
        }
    };
    let mut stdin = promtool.stdin.take().unwrap();
    stdin.write_all(busy().render().as_bytes()).unwrap();
    drop(stdin);
    let output = promtool.wait_with_output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{complaints}");
}
