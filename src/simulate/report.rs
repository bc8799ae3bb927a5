//! The results of a simulation as a table, as CSV, and as a picture.

use paceline_sim::pacing::{Sample, Scenario, Standing};
use std::fmt::Write as _;

/// Minimum number of live answers in a half hour that is compared.
const HALF_HOUR_LIVE_MIN: u32 = 50;

/// One row of the results.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The pacing algorithm.
    pub who: &'static str,
    /// Its settings. Empty if it has none.
    pub settings: String,
    /// The period of the day. Empty: the whole day.
    pub window: String,
    /// Sum over all seeds.
    pub sum: Sample,
    /// Highest abandon ratio of one day.
    pub worst_day: f64,
    /// Highest abandon ratio of a half hour with enough answers.
    pub worst_half_hour: f64,
}

/// The rows of one algorithm: the whole days, then each period.
pub fn rows(scenario: &Scenario, standing: &Standing) -> Vec<Row> {
    let pooled = |name: &str, from: usize, until: usize| {
        let mut sum = Sample::default();
        let mut worst_day = 0.0_f64;
        for day in &standing.days {
            let part = day.between(from, until);
            worst_day = worst_day.max(part.abandon_ratio());
            sum.add(&part);
        }
        Row {
            who: standing.contender.name(),
            settings: standing.settings.clone(),
            window: name.to_owned(),
            sum,
            worst_day,
            worst_half_hour: 0.0,
        }
    };
    let mut rows = vec![pooled("", 0, usize::MAX)];
    let half_hours = standing
        .days
        .iter()
        .map(|day| day.worst_half_hour(HALF_HOUR_LIVE_MIN));
    if let Some(row) = rows.first_mut() {
        row.worst_half_hour = half_hours.fold(0.0, f64::max);
    }
    rows.extend(
        scenario
            .windows
            .iter()
            .map(|w| pooled(&w.name, w.from_minute, w.until_minute)),
    );
    rows
}

/// The results as a table.
pub fn table(rows: &[Row]) -> String {
    let mut text =
        String::from("utilisation  abandoned  worst day  worst half hour  live answers  calls  who\n");
    for row in rows {
        let half_hour = match row.window.as_str() {
            "" => format!("{:14.1} %", 100.0 * row.worst_half_hour),
            _ => " ".repeat(16),
        };
        let mut who = row.who.to_owned();
        for more in [&row.settings, &row.window] {
            if !more.is_empty() {
                let _ = write!(who, "; {more}");
            }
        }
        let _ = writeln!(
            text,
            "{:9.1} %  {:7.2} %  {:7.2} %  {half_hour}  {:12}  {:5}  {who}",
            100.0 * row.sum.utilisation(),
            100.0 * row.sum.abandon_ratio(),
            100.0 * row.worst_day,
            row.sum.live,
            row.sum.launched,
        );
    }
    text
}

/// The results as CSV.
pub fn csv(rows: &[Row]) -> Result<Vec<u8>, csv::Error> {
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record([
        "who",
        "settings",
        "window",
        "utilisation_ratio",
        "abandon_ratio",
        "worst_day_abandon_ratio",
        "worst_half_hour_abandon_ratio",
        "live_answers",
        "abandoned",
        "calls",
        "staffed_seconds",
        "busy_seconds",
    ])?;
    for row in rows {
        out.write_record([
            row.who.to_owned(),
            row.settings.clone(),
            row.window.clone(),
            format!("{:.5}", row.sum.utilisation()),
            format!("{:.5}", row.sum.abandon_ratio()),
            format!("{:.5}", row.worst_day),
            format!("{:.5}", row.worst_half_hour),
            row.sum.live.to_string(),
            row.sum.abandoned.to_string(),
            row.sum.launched.to_string(),
            format!("{:.0}", row.sum.staffed_secs),
            format!("{:.0}", row.sum.busy_secs),
        ])?;
    }
    out.into_inner().map_err(|err| csv::Error::from(err.into_error()))
}

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 180.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 40.0;
const GAP: f64 = 60.0;
/// Minutes for each point of the picture.
const POINT_MINUTES: usize = 5;
const COLOURS: [&str; 5] = ["#0b6e4f", "#888888", "#c17817", "#7a3e9d", "#b3261e"];

/// Draws utilisation, abandon ratio and calls in flight over the day of the first seed, one line for each algorithm.
pub fn svg(scenario: &Scenario, standings: &[Standing]) -> String {
    let minutes = (scenario.length.as_secs() / 60).max(1) as usize;
    let points: Vec<usize> = (0..minutes).step_by(POINT_MINUTES).collect();
    type Measure = fn(&Sample) -> f64;
    let panels: [(&str, usize, Measure); 3] = [
        ("agents busy, %", POINT_MINUTES, |s| 100.0 * s.utilisation()),
        ("abandoned of live answers, % over half an hour", 30, |s| {
            100.0 * s.abandon_ratio()
        }),
        ("calls in flight", POINT_MINUTES, |s| {
            s.flight_secs / (60.0 * POINT_MINUTES as f64)
        }),
    ];
    let height = TOP + 3.0 * (HEIGHT + GAP);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n",
        WIDTH + LEFT + 20.0
    );
    for (i, standing) in standings.iter().enumerate() {
        let colour = COLOURS.get(i % COLOURS.len()).copied().unwrap_or("black");
        let x = LEFT + 190.0 * i as f64;
        let _ = writeln!(
            out,
            "<text x=\"{x}\" y=\"16\" fill=\"{colour}\">{}</text>",
            standing.contender.name()
        );
    }
    for (panel, (title, span, measure)) in panels.into_iter().enumerate() {
        let top = TOP + panel as f64 * (HEIGHT + GAP);
        let lines: Vec<Vec<f64>> = standings
            .iter()
            .map(|standing| {
                let day = standing.days.first();
                let at = |minute: &usize| {
                    let until = minute + POINT_MINUTES;
                    day.map_or(0.0, |day| {
                        measure(&day.between(until.saturating_sub(span), until))
                    })
                };
                points.iter().map(at).collect()
            })
            .collect();
        let most = lines.iter().flatten().copied().fold(1.0, f64::max);
        let _ = writeln!(
            out,
            "<text x=\"{LEFT}\" y=\"{}\">{title}</text>\n<rect x=\"{LEFT}\" y=\"{top}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"none\" stroke=\"#ccc\"/>\n<text x=\"4\" y=\"{}\">{most:.0}</text><text x=\"4\" y=\"{}\">0</text>",
            top - 6.0,
            top + 10.0,
            top + HEIGHT
        );
        for (i, line) in lines.iter().enumerate() {
            let colour = COLOURS.get(i % COLOURS.len()).copied().unwrap_or("black");
            let path: Vec<String> = line
                .iter()
                .zip(&points)
                .map(|(value, minute)| {
                    let x = LEFT + WIDTH * *minute as f64 / minutes as f64;
                    format!("{x:.1},{:.1}", top + HEIGHT * (1.0 - value / most))
                })
                .collect();
            let _ = writeln!(
                out,
                "<polyline fill=\"none\" stroke=\"{colour}\" points=\"{}\"/>",
                path.join(" ")
            );
        }
    }
    out.push_str("</svg>\n");
    out
}
