//! What Paceline's choice is compared with: an oracle, and quality-based routing as OpenSIPS has it.

use super::carriers::Carriers;
use super::{REGIONS, Router, TRUNKS, TrunkCall, TrunkScenario};
use crate::random::{ChaCha8Rng, stream};
use paceline_core::outcome::Outcome;
use paceline_core::time::Mono;
use paceline_core::trunks::{LegResult, LegStep};
use rand::RngExt;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Knows the present rates of every trunk, and takes the best that has room.
#[derive(Clone, Debug)]
pub struct Oracle {
    carriers: Carriers,
}

impl Oracle {
    /// The oracle of a seed.
    pub fn new(scenario: &TrunkScenario, seed: u64) -> Self {
        Self {
            carriers: Carriers::new(scenario, seed),
        }
    }
}

impl Router for Oracle {
    fn choose(&mut self, at: Mono, call: &TrunkCall, room: &[bool]) -> Option<usize> {
        let at = at.since(Mono::START);
        let chance = |trunk: usize| self.carriers.chance(trunk, at, call.region, call.carrier);
        usable(call, room)
            .map(|trunk| (trunk, chance(trunk)))
            .filter(|(_, chance)| *chance > 0.0)
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(trunk, _)| trunk)
    }

    fn leg(&mut self, _at: Mono, _call: &TrunkCall, _trunk: usize, _step: LegStep) {}
}

fn usable<'a>(call: &'a TrunkCall, room: &'a [bool]) -> impl Iterator<Item = usize> + 'a {
    (0..TRUNKS).filter(|trunk| !call.tried.contains(trunk) && room.get(*trunk) == Some(&true))
}

/// `algorithm` of the module qrouting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// At random, in proportion to the penalties: the default.
    DynamicWeights,
    /// By the penalties; equals in the order of the rule.
    BestDestFirst,
}

/// History of 30 minutes, sampled every 5 s: the defaults of the module.
const SAMPLE: Duration = Duration::from_secs(5);
const SAMPLES: usize = 360;
/// Samples below which a statistic counts as healthy: ASR, CCR, PDD, AST, ACD.
const SAMPLES_MIN: [f64; 5] = [30.0, 30.0, 10.0, 10.0, 20.0];
/// A profile as an operator would set it for these callees: warning and critical thresholds.
const ASR: (f64, f64) = (0.25, 0.12);
const CCR: (f64, f64) = (0.90, 0.70);
const PDD_SECS: (f64, f64) = (5.0, 10.0);
const AST_SECS: (f64, f64) = (20.0, 30.0);
const ACD_SECS: (f64, f64) = (25.0, 12.0);
/// Penalties, which multiply.
const WARNING: f64 = 0.5;
const CRITICAL: f64 = 0.05;

#[derive(Clone, Copy, Debug, Default)]
struct Stats {
    calls: f64,
    answered: f64,
    completed: f64,
    pdd: (f64, f64),
    setup: (f64, f64),
    talk: (f64, f64),
}

impl Stats {
    fn add(&mut self, other: &Stats, sign: f64) {
        self.calls += sign * other.calls;
        self.answered += sign * other.answered;
        self.completed += sign * other.completed;
        for (own, other) in [
            (&mut self.pdd, other.pdd),
            (&mut self.setup, other.setup),
            (&mut self.talk, other.talk),
        ] {
            own.0 += sign * other.0;
            own.1 += sign * other.1;
        }
    }

    fn penalty(&self) -> f64 {
        let low = |value: f64, (warning, critical): (f64, f64)| {
            if value < critical {
                CRITICAL
            } else if value < warning {
                WARNING
            } else {
                1.0
            }
        };
        let high = |value: f64, (warning, critical): (f64, f64)| low(-value, (-warning, -critical));
        let [asr, ccr, pdd, ast, acd] = SAMPLES_MIN;
        let mut penalty = 1.0;
        if self.calls >= asr {
            penalty *= low(self.answered / self.calls, ASR);
        }
        if self.calls >= ccr {
            penalty *= low(self.completed / self.calls, CCR);
        }
        for ((sum, count), least, thresholds) in [(self.pdd, pdd, PDD_SECS), (self.setup, ast, AST_SECS)] {
            if count >= least {
                penalty *= high(sum / count, thresholds);
            }
        }
        if self.talk.1 >= acd {
            penalty *= low(self.talk.0 / self.talk.1, ACD_SECS);
        }
        penalty
    }
}

#[derive(Clone, Debug, Default)]
struct History {
    sum: Stats,
    now: Stats,
    samples: VecDeque<Stats>,
}

/// Quality-based routing of OpenSIPS (modules drouting and qrouting), per region and trunk, with failover to the next.
#[derive(Clone, Debug)]
pub struct OpenSips {
    order: Order,
    rng: ChaCha8Rng,
    histories: Vec<History>,
    next_sample: Duration,
    legs: BTreeMap<u64, (Duration, Option<Duration>)>,
}

impl OpenSips {
    /// One with an empty history.
    pub fn new(order: Order, seed: u64) -> Self {
        Self {
            order,
            rng: stream(seed, "opensips", "", 0),
            histories: vec![History::default(); TRUNKS * REGIONS],
            next_sample: SAMPLE,
            legs: BTreeMap::new(),
        }
    }

    fn history(&mut self, call: &TrunkCall, trunk: usize) -> Option<&mut History> {
        self.histories.get_mut(call.region * TRUNKS + trunk)
    }

    fn sample(&mut self, at: Duration) {
        while self.next_sample <= at {
            self.next_sample += SAMPLE;
            for history in &mut self.histories {
                let now = std::mem::take(&mut history.now);
                history.sum.add(&now, 1.0);
                history.samples.push_back(now);
                if history.samples.len() > SAMPLES
                    && let Some(oldest) = history.samples.pop_front()
                {
                    history.sum.add(&oldest, -1.0);
                }
            }
        }
    }

    fn count(&mut self, call: &TrunkCall, trunk: usize, stats: Stats) {
        if let Some(history) = self.history(call, trunk) {
            history.now.add(&stats, 1.0);
        }
    }
}

impl Router for OpenSips {
    fn choose(&mut self, at: Mono, call: &TrunkCall, room: &[bool]) -> Option<usize> {
        self.sample(at.since(Mono::START));
        let weights: Vec<(usize, f64)> = usable(call, room)
            .map(|trunk| {
                let history = self.histories.get(call.region * TRUNKS + trunk);
                (trunk, history.map_or(1.0, |history| history.sum.penalty()))
            })
            .collect();
        match self.order {
            Order::BestDestFirst => weights
                .iter()
                .rev()
                .max_by(|a, b| a.1.total_cmp(&b.1))
                .map(|(trunk, _)| *trunk),
            Order::DynamicWeights => {
                let sum: f64 = weights.iter().map(|(_, weight)| weight).sum();
                let mut left = sum * self.rng.random::<f64>();
                let picked = weights.iter().find(|(_, weight)| {
                    left -= weight;
                    left <= 0.0
                });
                picked.or(weights.last()).map(|(trunk, _)| *trunk)
            }
        }
    }

    fn leg(&mut self, at: Mono, call: &TrunkCall, trunk: usize, step: LegStep) {
        let at = at.since(Mono::START);
        self.sample(at);
        match step {
            LegStep::Dialing => _ = self.legs.insert(call.leg, (at, None)),
            LegStep::Ringing => {
                let Some((dialed, _)) = self.legs.get(&call.leg).copied() else {
                    return;
                };
                let pdd = ((at - dialed).as_secs_f64(), 1.0);
                self.count(
                    call,
                    trunk,
                    Stats {
                        pdd,
                        ..Stats::default()
                    },
                );
            }
            LegStep::Answered => {
                let Some((dialed, answered)) = self.legs.get_mut(&call.leg) else {
                    return;
                };
                *answered = Some(at);
                let setup = ((at - *dialed).as_secs_f64(), 1.0);
                self.count(
                    call,
                    trunk,
                    Stats {
                        calls: 1.0,
                        answered: 1.0,
                        completed: 1.0,
                        setup,
                        ..Stats::default()
                    },
                );
            }
            LegStep::Ended(LegResult { outcome, .. }) => {
                let Some((_, answered)) = self.legs.remove(&call.leg) else {
                    return;
                };
                let stats = match answered {
                    Some(answered) => Stats {
                        talk: ((at - answered).as_secs_f64(), 1.0),
                        ..Stats::default()
                    },
                    None => Stats {
                        calls: 1.0,
                        completed: f64::from(u8::from(!matches!(
                            outcome,
                            Some(Outcome::Congestion | Outcome::Failed)
                        ))),
                        ..Stats::default()
                    },
                };
                self.count(call, trunk, stats);
            }
        }
    }
}
