use super::{fit, report, scenario};
use crate::store::CallRecord;
use paceline_core::campaign::settings::CampaignSettings;
use paceline_core::ids::{AgentId, AttemptId, CampaignId};
use paceline_core::outcome::Outcome;
use paceline_core::time::Wall;
use paceline_sim::pacing::{Contender, contest, level_at};
use paceline_sim::random::Spread;
use std::path::Path;
use std::time::Duration;

#[test]
fn every_shipped_scenario_can_be_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(files.len() >= 5);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let scenario = scenario::parse(&text).unwrap_or_else(|err| panic!("{}: {err:?}", file.display()));
        assert!(!scenario.agents.is_empty());
    }
}

#[test]
fn a_wrong_scenario_names_the_setting() {
    for (text, complaint) in [
        (
            "live_ratio = 3.0",
            "`live_ratio` must be a number within its range, or [[hour, number], …] with ascending hours that start at 0",
        ),
        (
            "agents = [[2, 5], [1, 6]]",
            "`agents` must be a number within its range, or [[hour, number], …] with ascending hours that start at 0",
        ),
        (
            "event_loss_ratio = -1",
            "`event_loss_ratio` must be a ratio from 0 to 1",
        ),
        ("colour = 1", "the scenario cannot be read"),
    ] {
        assert_eq!(scenario::parse(text).unwrap_err().to_string(), complaint);
    }
}

#[test]
fn a_short_day_is_reported_in_every_form() {
    let scenario = scenario::parse(
        "hours = 0.5\nagents = 5\nlive_ratio = 0.5\nwindows = [{name = \"start\", from_minute = 0, until_minute = 5}]",
    )
    .unwrap();
    let standings = [Contender::Paceline, Contender::Progressive].map(|c| contest(&scenario, 1..3, c));
    let rows: Vec<_> = standings
        .iter()
        .flat_map(|s| report::rows(&scenario, s))
        .collect();
    assert_eq!(rows.len(), 4);
    for row in &rows {
        assert!(
            row.sum.utilisation() > 0.3 && row.sum.utilisation() <= 1.0,
            "{row:?}"
        );
        assert!(row.sum.staffed_secs > 0.0);
    }
    assert!(
        rows[2].sum.abandoned == 0,
        "progressive never abandons here: {rows:?}"
    );
    assert_eq!(report::table(&rows).lines().count(), 5);
    assert_eq!(
        String::from_utf8(report::csv(&rows).unwrap())
            .unwrap()
            .lines()
            .count(),
        5
    );
    assert_eq!(report::svg(&scenario, &standings).matches("<polyline").count(), 6);
}

/// Two agents for two hours, ten for two more; one call in four answered, then one in two; 60 s of talk, 15 s of wrap-up.
fn records() -> Vec<CallRecord> {
    let mut records = Vec::new();
    let mut answers = 0;
    let mut call = |at_ms: i64, outcome: Outcome, agent: Option<i64>| {
        answers += i64::from(agent.is_some());
        let rang = at_ms + 2_000 + 500 * (records.len() as i64 % 3);
        let answered = agent.map(|_| Wall(rang + 6_000 + 2_000 * (answers % 4)));
        let talk_ms = 30_000 + 20_000 * (answers % 4);
        records.push(CallRecord {
            attempt: AttemptId(uuid::Uuid::from_u128(records.len() as u128)),
            created_at: Wall(at_ms),
            rang_at: (outcome != Outcome::Busy).then_some(Wall(rang)),
            answered_at: answered,
            connected_at: answered,
            agent: agent.map(AgentId),
            ended_at: answered.map_or(Wall(at_ms + 27_000), |at| Wall(at.0 + talk_ms)),
            outcome,
        });
    };
    let (hour, second) = (3_600_000, 1_000);
    for (begins, agents, misses) in [(0, 2, 3), (2 * hour, 10, 1), (60 * hour, 10, 1)] {
        for turn in 0..60 {
            for agent in 1..=agents {
                let at = begins + turn * 120 * second + agent * 3 * second;
                call(at, Outcome::Answered, Some(agent));
                for miss in 0..misses {
                    let outcome = if miss == 0 {
                        Outcome::NoAnswer
                    } else {
                        Outcome::Busy
                    };
                    call(at + second, outcome, None);
                }
            }
        }
    }
    call(hour, Outcome::Congestion, None);
    records
}

#[test]
fn a_scenario_is_fitted_to_call_records_and_can_be_run() {
    let mut settings = CampaignSettings::default();
    settings.agents.wrap_up_ms = 15_000;
    let text = fit::fit(CampaignId(7), &settings, &records()).unwrap();
    let scenario = scenario::parse(&text).unwrap_or_else(|err| panic!("{err:?} in\n{text}"));
    let hours = scenario.length.as_secs_f64() / 3600.0;
    assert!(
        (hours - 6.0).abs() < 0.1,
        "the gap of two days is left out: {hours}\n{text}"
    );
    let at =
        |level: &Vec<(Duration, f64)>, hour: f64| level_at(level, Duration::from_secs_f64(hour * 3600.0));
    assert_eq!(
        (at(&scenario.agents, 1.0), at(&scenario.agents, 3.0)),
        (2.0, 10.0),
        "{text}"
    );
    assert!((at(&scenario.live, 1.0) - 0.25).abs() < 0.01, "{text}");
    assert!((at(&scenario.live, 3.0) - 0.5).abs() < 0.01, "{text}");
    assert!((scenario.refused_share - 240.0 / 1560.0).abs() < 0.01, "{text}");
    assert_eq!(
        scenario.wrap_up,
        Spread::Constant(Duration::from_secs(15)),
        "{text}"
    );
    assert_eq!(scenario.abandon_ratio_max, 0.03);
    match scenario.talk {
        Spread::LogNormal { mean, sigma } => {
            assert!((mean.as_secs_f64() - 60.0).abs() < 2.0, "{text}");
            assert!((0.3..0.45).contains(&sigma), "{text}");
        }
        other => panic!("{other:?}"),
    }
    let day = contest(&scenario, 1..2, Contender::Progressive);
    assert!(day.days[0].total().utilisation() > 0.3);
}

#[test]
fn too_few_records_are_refused_with_advice() {
    let few: Vec<_> = records().into_iter().take(150).collect();
    let error = fit::fit(CampaignId(7), &CampaignSettings::default(), &few).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the records have 150 calls that a trunk carried and 38 conversations, but 200 and 30 are needed; take a longer period with \
         --since and --until"
    );
    assert!(fit::fit(CampaignId(7), &CampaignSettings::default(), &[]).is_err());
}

#[test]
fn records_of_a_clock_that_was_put_right_do_not_stretch_the_day() {
    let settings = CampaignSettings::default();
    let right = fit::fit(CampaignId(7), &settings, &records()).unwrap();
    let mut odd = records();
    for (created_at, ended_at) in [(0, i64::MAX), (i64::MIN, 5), (9_000, 8_000)] {
        let mut record = odd[0];
        (record.created_at, record.ended_at) = (Wall(created_at), Wall(ended_at));
        odd.push(record);
    }
    assert_eq!(fit::fit(CampaignId(7), &settings, &odd).unwrap(), right);
}
