//! The Poisson-binomial distribution: the number of independent events that happen, at several horizons at once.
//!
//! Input: for each event, one probability for each horizon. Output: the probability that at least `n` of them happen. It is
//! exact (by convolution) while that is cheap. Otherwise it is a normal distribution with the skewness corrected (Cornish
//! and Fisher).
//!
//! The probabilities are themselves uncertain, and their error is the same for all calls, so it does not average out.
//! `doubt` is the relative variance of that error.

use super::forecast::{HORIZONS, Row};

/// Maximum number of convolution steps (events × seats); about 15 µs.
const EXACT_STEPS_MAX: usize = 3_000;

/// A smaller doubt is ignored.
const DOUBT_MIN: f64 = 0.01;

/// The number of events that happen, compared with a number of seats. An event is a call that needs an agent or an agent
/// who stays busy; a seat is an agent.
#[derive(Clone, Debug)]
pub(super) struct PoissonBinomial {
    seats: usize,
    /// Relative variance of the probabilities of the events that are added.
    doubt: f64,
    sums: Sums,
    /// Probability of each count from 0 to `seats`, for each horizon. Empty if the approximation is used. With doubt there
    /// are two distributions: one with higher and one with lower probabilities.
    exact: Vec<Exact>,
}

#[derive(Clone, Debug)]
struct Exact {
    /// Factor on the odds of the doubted events.
    odds: f64,
    counts: Vec<Row>,
}

#[derive(Clone, Copy, Debug)]
struct Sums {
    mean: Row,
    variance: Row,
    third: Row,
    /// The part of `mean` that comes from doubted events.
    doubted: Row,
}

impl PoissonBinomial {
    /// The probabilities of `sure` events are exact. Those of `doubted` events, and of events added later, share one error
    /// of relative variance `doubt`.
    pub(super) fn new(seats: usize, sure: &[Row], doubted: &[Row], doubt: f64) -> Self {
        let mut distribution = Self {
            seats,
            doubt,
            sums: Sums {
                mean: Row::ZERO,
                variance: Row::ZERO,
                third: Row::ZERO,
                doubted: Row::ZERO,
            },
            exact: Vec::new(),
        };
        if (sure.len() + doubted.len()).saturating_mul(seats + 1) <= EXACT_STEPS_MAX {
            let spread = 1.0 + doubt.sqrt();
            let odds: &[f64] = if doubt > DOUBT_MIN {
                &[spread, 1.0 / spread]
            } else {
                &[1.0]
            };
            distribution.exact = odds.iter().map(|odds| Exact::none(seats, *odds)).collect();
        }
        for event in sure {
            distribution.add_sure(event);
        }
        for event in doubted {
            distribution.add(event);
        }
        distribution
    }

    /// Adds one event.
    pub(super) fn add(&mut self, event: &Row) {
        for (sum, p) in self.sums.doubted.0.iter_mut().zip(event.0) {
            *sum += p;
        }
        self.sum(event);
        for exact in &mut self.exact {
            let event = if exact.odds == 1.0 {
                *event
            } else {
                event.with_odds(exact.odds)
            };
            exact.add(&event);
        }
    }

    fn add_sure(&mut self, event: &Row) {
        self.sum(event);
        for exact in &mut self.exact {
            exact.add(event);
        }
    }

    fn sum(&mut self, event: &Row) {
        for (i, p) in event.0.iter().enumerate() {
            let spread = p * (1.0 - p);
            self.sums.mean.add_at(i, *p);
            self.sums.variance.add_at(i, spread);
            self.sums.third.add_at(i, spread * (1.0 - 2.0 * p));
        }
    }

    /// Probability that at least as many events happen as there are seats. `more` is added to the seats; at most one.
    pub(super) fn full(&self, more: usize) -> Row {
        let seats = self.seats + more;
        let mut full = Row::ZERO;
        if self.exact.is_empty() {
            let Sums {
                mean,
                variance,
                third,
                doubted,
            } = self.sums;
            let moments = mean.0.iter().zip(variance.0).zip(third.0).zip(doubted.0);
            for (p, (((mean, variance), third), m)) in full.0.iter_mut().zip(moments) {
                // The common error is modelled as a gamma-distributed factor.
                let spread = self.doubt * m * m;
                let skewed = self.doubt * m * (3.0 * variance + 2.0 * spread);
                *p = tail(seats as f64, *mean, variance + spread, third + skewed);
            }
            return full;
        }
        let share = 1.0 / self.exact.len() as f64;
        let mut below = Row::ZERO;
        for exact in &self.exact {
            for count in exact.counts.iter().take(seats) {
                for (sum, p) in below.0.iter_mut().zip(count.0) {
                    *sum += share * p;
                }
            }
        }
        for (p, below) in full.0.iter_mut().zip(below.0) {
            *p = (1.0 - below).clamp(0.0, 1.0);
        }
        full
    }
}

impl Exact {
    fn none(seats: usize, odds: f64) -> Self {
        let mut counts = vec![Row::ZERO; seats + 1];
        if let Some(none) = counts.first_mut() {
            *none = Row([1.0; HORIZONS]);
        }
        Self { odds, counts }
    }

    fn add(&mut self, event: &Row) {
        // From the highest count down, because each count needs the old value of the count below it.
        let mut counts = self.counts.iter_mut().rev();
        let Some(mut upper) = counts.next() else { return };
        for lower in counts {
            for ((u, l), p) in upper.0.iter_mut().zip(lower.0.iter()).zip(event.0.iter()) {
                *u += p * (l - *u);
            }
            upper = lower;
        }
        for (none, p) in upper.0.iter_mut().zip(event.0.iter()) {
            *none *= 1.0 - p;
        }
    }
}

/// P(S ≥ n) by the normal distribution with skewness.
fn tail(n: f64, mean: f64, variance: f64, third: f64) -> f64 {
    if variance < 1e-9 {
        return if mean >= n - 0.5 { 1.0 } else { 0.0 };
    }
    let sigma = variance.sqrt();
    let u = (n - 0.5 - mean) / sigma;
    let skew = third / (variance * sigma);
    let density = (-u * u / 2.0).exp() / (std::f64::consts::TAU).sqrt();
    (1.0 - (normal_cdf(u) + skew * (1.0 - u * u) * density / 6.0)).clamp(0.0, 1.0)
}

/// Φ, by Abramowitz and Stegun 26.2.17 (error below 10⁻⁷).
fn normal_cdf(u: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * u.abs());
    let poly = t
        * (0.319_381_530
            + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let upper = (-u * u / 2.0).exp() / (std::f64::consts::TAU).sqrt() * poly;
    if u >= 0.0 { 1.0 - upper } else { upper }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binomial_tail(n: u32, p: f64, at_least: u32) -> f64 {
        let choose = |k: u32| {
            (0..k)
                .map(|i| f64::from(n - i) / f64::from(i + 1))
                .product::<f64>()
        };
        (at_least..=n)
            .map(|k| choose(k) * p.powi(k as i32) * (1.0 - p).powi((n - k) as i32))
            .sum()
    }

    #[test]
    fn equal_things_are_binomial() {
        let events = vec![Row([0.3; HORIZONS]); 20];
        let distribution = PoissonBinomial::new(8, &[], &events, 0.0);
        for p in distribution.full(0).0 {
            assert!((p - binomial_tail(20, 0.3, 8)).abs() < 1e-12);
        }
        for p in distribution.full(1).0 {
            assert!((p - binomial_tail(20, 0.3, 9)).abs() < 1e-12);
        }
    }

    #[test]
    fn the_approximation_agrees_with_the_convolution() {
        let events: Vec<Row> = (0..200)
            .map(|i| Row([0.05 + 0.9 * f64::from(i) / 200.0; HORIZONS]))
            .collect();
        for seats in [90, 100, 110, 115] {
            let approximate = PoissonBinomial::new(seats, &events, &[], 0.0).full(0).0[0];
            let mut exact = PoissonBinomial::new(seats, &[], &[], 0.0);
            exact.exact = vec![Exact::none(seats, 1.0)];
            for event in &events {
                exact.add(event);
            }
            let exact = exact.full(0).0[0];
            assert!(
                (approximate - exact).abs() < 0.0005,
                "{seats}: {approximate} {exact}"
            );
        }
    }

    #[test]
    fn doubt_in_the_probabilities_makes_a_full_house_likelier() {
        let events = vec![Row([0.1; HORIZONS]); 1_000];
        let full = |doubt| PoissonBinomial::new(130, &[], &events, doubt).full(0).0[0];
        // Without doubt the standard deviation is 9.5, so 130 is 3.1 of them away. With doubt it is 17, so 130 is 1.7 away.
        assert!((full(0.0) - 0.0014).abs() < 0.0006, "{}", full(0.0));
        assert!((full(0.02) - 0.05).abs() < 0.02, "{}", full(0.02));
    }

    #[test]
    fn no_calls_and_no_agents_are_valid_input() {
        assert_eq!(PoissonBinomial::new(0, &[], &[], 0.0).full(0).0, [1.0; HORIZONS]);
        assert_eq!(PoissonBinomial::new(3, &[], &[], 0.0).full(0).0, [0.0; HORIZONS]);
        assert_eq!(
            PoissonBinomial::new(1000, &vec![Row::ZERO; 50], &[], 0.0)
                .full(0)
                .0,
            [0.0; HORIZONS]
        );
    }
}
