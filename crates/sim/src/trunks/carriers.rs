//! What the trunks of a day really do at each moment. No router but the oracle sees it.

use super::scenario::{CARRIERS, REGIONS, TRUNKS, TrunkScenario};
use crate::random::{ChaCha8Rng, Spread, stream};
use rand::RngExt;
use std::time::Duration;

/// The quality drifts in steps of this length.
const STEP: Duration = Duration::from_secs(10);

/// What is wrong with a trunk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// It refuses every leg.
    Refuses,
    /// Nothing comes back.
    Silent,
    /// It refuses this share of the legs.
    Partly(f64),
    /// This share of the legs is answered by nobody.
    FalseAnswers(f64),
}

#[derive(Clone, Debug)]
struct Truth {
    channels: u32,
    calls_per_s: u32,
    failures: f64,
    delay: Spread,
    /// Connect rate, one for each step.
    quality: Vec<f64>,
    regions: [f64; REGIONS],
    carriers: [f64; CARRIERS],
    faults: Vec<(Duration, Duration, Fault)>,
}

/// The trunks and callees of a day.
#[derive(Clone, Debug)]
pub struct Carriers {
    trunks: Vec<Truth>,
    regions: [f64; REGIONS],
    cold: Vec<(Duration, Duration)>,
    live: (f64, f64),
    length: Duration,
}

impl Carriers {
    /// The trunks of this seed.
    pub fn new(scenario: &TrunkScenario, seed: u64) -> Self {
        let mut rng = stream(seed, "callees", "", 0);
        let mut regions = [1.0; REGIONS];
        regions
            .iter_mut()
            .for_each(|region| *region = between(&mut rng, 0.75, 1.15));
        Self {
            trunks: (0..TRUNKS)
                .map(|trunk| Truth::new(scenario, seed, trunk))
                .collect(),
            regions,
            cold: periods(scenario.length, scenario.cold, &mut stream(seed, "cold", "", 0)),
            live: scenario.live,
            length: scenario.length,
        }
    }

    /// Share of persons who answer over a good trunk.
    pub fn live(&self, at: Duration, region: usize) -> f64 {
        let (low, high) = self.live;
        let phase = at.as_secs_f64() / self.length.as_secs_f64() * std::f64::consts::TAU;
        let level = low + (high - low) * (1.0 - phase.cos()) / 2.0;
        let is_cold = self
            .cold
            .iter()
            .any(|(from, until)| (*from..*until).contains(&at));
        let region = self.regions.get(region).copied().unwrap_or(1.0);
        level * region * if is_cold { 1.0 / 3.0 } else { 1.0 }
    }

    /// What a trunk makes of it if it carries the leg.
    pub fn quality(&self, trunk: usize, at: Duration, region: usize, carrier: usize) -> f64 {
        let Some(truth) = self.trunks.get(trunk) else {
            return 0.0;
        };
        let step = usize::try_from(at.as_secs() / STEP.as_secs()).unwrap_or(usize::MAX);
        let now = truth
            .quality
            .get(step)
            .or(truth.quality.last())
            .copied()
            .unwrap_or(0.0);
        let region = truth.regions.get(region).copied().unwrap_or(1.0);
        let carrier = truth.carriers.get(carrier).copied().unwrap_or(1.0);
        (now * region * carrier).min(1.25)
    }

    /// What is wrong with a trunk now.
    pub fn fault(&self, trunk: usize, at: Duration) -> Option<Fault> {
        let faults = &self.trunks.get(trunk)?.faults;
        let now = |(from, until, _): &&(Duration, Duration, Fault)| (*from..*until).contains(&at);
        faults.iter().find(now).map(|(_, _, fault)| *fault)
    }

    /// The chance that a leg reaches a person who answers.
    pub fn chance(&self, trunk: usize, at: Duration, region: usize, carrier: usize) -> f64 {
        let carried = match self.fault(trunk, at) {
            Some(Fault::Refuses | Fault::Silent) => 0.0,
            Some(Fault::Partly(refused)) => 1.0 - refused,
            Some(Fault::FalseAnswers(share)) => 1.0 - share,
            None => 1.0 - self.failures(trunk),
        };
        carried * self.quality(trunk, at, region, carrier) * self.live(at, region)
    }

    /// Share of failed legs without a fault.
    pub fn failures(&self, trunk: usize) -> f64 {
        self.trunks.get(trunk).map_or(0.0, |truth| truth.failures)
    }

    /// Maximum numbers of legs at the same time and in a second.
    pub fn caps(&self, trunk: usize) -> (u32, u32) {
        self.trunks
            .get(trunk)
            .map_or((0, 0), |truth| (truth.channels, truth.calls_per_s))
    }

    /// Draws a post-dial delay.
    pub fn delay(&self, trunk: usize, rng: &mut ChaCha8Rng) -> Duration {
        self.trunks
            .get(trunk)
            .map_or(Duration::ZERO, |truth| truth.delay.draw(rng))
    }
}

impl Truth {
    fn new(scenario: &TrunkScenario, seed: u64, trunk: usize) -> Self {
        let mut rng = stream(seed, "trunk", &trunk.to_string(), 0);
        let steps = scenario.length.as_secs() / STEP.as_secs() + 1;
        let (deviation, every) = scenario.drift;
        let keep = (-STEP.as_secs_f64() / every.as_secs_f64()).exp();
        let centre = 0.85_f64.ln() + 0.1 * normal(&mut rng);
        let mut now = deviation * normal(&mut rng);
        let quality = (0..steps)
            .map(|_| {
                now = now * keep + deviation * (1.0 - keep * keep).sqrt() * normal(&mut rng);
                (centre + now).exp().min(1.1)
            })
            .collect();
        let (by_region, by_carrier) = scenario.regional;
        let mut regions = [1.0; REGIONS];
        regions
            .iter_mut()
            .for_each(|factor| *factor = (by_region * normal(&mut rng)).exp().min(1.2));
        let mut carriers = [1.0; CARRIERS];
        carriers
            .iter_mut()
            .for_each(|factor| *factor = (by_carrier * normal(&mut rng)).exp().min(1.2));
        let mut faults = Vec::new();
        for (from, until) in periods(scenario.length, scenario.outages, &mut rng) {
            let fault = match rng.random::<f64>() {
                kind if kind < 0.45 => Fault::Refuses,
                kind if kind < 0.75 => Fault::Silent,
                _ => Fault::Partly(between(&mut rng, 0.3, 0.7)),
            };
            faults.push((from, until, fault));
        }
        for (from, until) in periods(scenario.length, scenario.false_answers, &mut rng) {
            faults.push((from, until, Fault::FalseAnswers(between(&mut rng, 0.5, 0.9))));
        }
        let whole = |rng: &mut ChaCha8Rng, (from, to): (u32, u32)| rng.random_range(from..=to);
        let (from, to) = scenario.delay;
        Self {
            channels: whole(&mut rng, scenario.channels),
            calls_per_s: whole(&mut rng, scenario.calls_per_s),
            failures: scenario.failures * rng.random::<f64>(),
            delay: Spread::Gamma {
                shape: 4,
                mean: Duration::from_secs_f64(between(&mut rng, from.as_secs_f64(), to.as_secs_f64())),
            },
            quality,
            regions,
            carriers,
            faults,
        }
    }
}

fn between(rng: &mut ChaCha8Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

/// Periods at random: the mean time between two, and their mean length.
fn periods(
    day: Duration,
    (between, mean): (Duration, Duration),
    rng: &mut ChaCha8Rng,
) -> Vec<(Duration, Duration)> {
    let (gap, length) = (Spread::Exponential(between), Spread::Exponential(mean));
    let mut periods = Vec::new();
    let mut at = gap.draw(rng);
    while at < day {
        let until = at + length.draw(rng).max(mean / 4);
        periods.push((at, until));
        at = until + gap.draw(rng);
    }
    periods
}
