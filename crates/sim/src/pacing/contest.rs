//! Compares pacing algorithms on the same days. A rival with settings gets the best of them in hindsight, which nobody
//! knows on the day.

use super::{Dialer, DropRule, FixedRatio, Ours, Sample, Scenario, Tally, Vicidial, run};
use paceline_core::pacing::PacingMode;

/// The pacing algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// The controller of `paceline-core`.
    Paceline,
    /// One call for each free agent.
    Progressive,
    /// The fixed ratio with the best result within the cap.
    FixedRatio,
    /// VICIdial with its default settings.
    Vicidial,
    /// VICIdial with the settings that gave the best result within the cap.
    VicidialTuned,
}

/// The result of one algorithm.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The algorithm.
    pub contender: Contender,
    /// Its settings. Empty if it has none.
    pub settings: String,
    /// The counters of each day.
    pub days: Vec<Tally>,
}

/// A rival whose abandon ratio is up to this factor over the cap counts as within it.
const CAP_GRACE: f64 = 1.02;

impl Contender {
    /// All algorithms, Paceline first.
    pub const ALL: [Contender; 5] = [
        Contender::Paceline,
        Contender::Progressive,
        Contender::FixedRatio,
        Contender::Vicidial,
        Contender::VicidialTuned,
    ];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Contender::Paceline => "paceline",
            Contender::Progressive => "progressive",
            Contender::FixedRatio => "fixed ratio, best in hindsight",
            Contender::Vicidial => "vicidial, default",
            Contender::VicidialTuned => "vicidial, best in hindsight",
        }
    }
}

/// Runs the day of each seed.
pub fn contest(scenario: &Scenario, seeds: std::ops::Range<u64>, contender: Contender) -> Standing {
    let days = |make: &dyn Fn() -> Box<dyn Dialer>| -> Vec<Tally> {
        seeds
            .clone()
            .map(|seed| run(scenario, seed, make().as_mut()))
            .collect()
    };
    let (settings, days) = match contender {
        Contender::Paceline => (
            String::new(),
            days(&|| Box::new(Ours::new(PacingMode::Predictive, scenario))),
        ),
        Contender::Progressive => (String::new(), days(&|| Box::new(FixedRatio::new(1.0)))),
        Contender::Vicidial => (
            String::new(),
            days(&|| Box::new(Vicidial::new(DropRule::HardLimit, 3.0, 0.0, scenario))),
        ),
        Contender::FixedRatio => best(
            scenario,
            (0..=40).map(|i| {
                let ratio = 1.0 + f64::from(i) * 0.1 + f64::from(i * i) * 0.005;
                (format!("{ratio:.1}"), days(&|| Box::new(FixedRatio::new(ratio))))
            }),
        ),
        Contender::VicidialTuned => best(
            scenario,
            vicidial_settings().map(|(rule, level_max, target)| {
                (
                    format!("{rule:?}, level up to {level_max}, target {target}"),
                    days(&|| Box::new(Vicidial::new(rule, level_max, target, scenario))),
                )
            }),
        ),
    };
    Standing {
        contender,
        settings,
        days,
    }
}

fn vicidial_settings() -> impl Iterator<Item = (DropRule, f64, f64)> {
    let rules = [DropRule::HardLimit, DropRule::Average, DropRule::Tapered];
    rules.into_iter().flat_map(|rule| {
        [1.0, 1.1, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0]
            .into_iter()
            .flat_map(move |level_max| {
                [-3.0, -2.0, -1.0, 0.0, 1.0]
                    .into_iter()
                    .map(move |target| (rule, level_max, target))
            })
    })
}

/// The settings with the highest utilisation within the cap. If none is within it, those with the fewest abandoned calls.
fn best(scenario: &Scenario, all: impl Iterator<Item = (String, Vec<Tally>)>) -> (String, Vec<Tally>) {
    let cap = scenario.abandon_ratio_max * CAP_GRACE;
    let score = |days: &[Tally]| {
        let mut sum = Sample::default();
        for day in days {
            sum.add(&day.total());
        }
        let over = (sum.abandon_ratio() - cap).max(0.0);
        if over > 0.0 { -over } else { sum.utilisation() }
    };
    all.map(|(settings, days)| (score(&days), settings, days))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(Default::default, |(_, settings, days)| (settings, days))
}
