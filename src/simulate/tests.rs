use super::{report, scenario};
use paceline_sim::pacing::{Contender, contest};
use std::path::Path;

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
            "`live_ratio` must be a number in its range, or [[hour, number], …] with rising hours from 0",
        ),
        (
            "agents = [[2, 5], [1, 6]]",
            "`agents` must be a number in its range, or [[hour, number], …] with rising hours from 0",
        ),
        (
            "event_loss_ratio = -1",
            "`event_loss_ratio` must be a ratio from 0 to 1",
        ),
        ("colour = 1", "read the scenario"),
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
