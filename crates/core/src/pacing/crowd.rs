//! How many of many independent things happen: the Poisson-binomial distribution, at several horizons at once.
//!
//! In: one probability per horizon for each thing that may happen. Out: the probability that at least `n` do. Exact by
//! convolution while that is cheap, else a normal distribution with its skewness corrected (Cornish and Fisher), and with
//! what is not known of the probabilities themselves: an error in them is the same for all, so it does not average out.
//! Knows neither calls nor agents.

use super::forecast::{HORIZONS, Row};

/// Convolution steps (things × seats) that are still cheap; about 15 µs.
const EXACT_STEPS_MAX: usize = 3_000;

/// Doubt below this changes nothing.
const DOUBT_MIN: f64 = 0.01;

/// A sum of things that may happen, against `n` seats.
#[derive(Clone, Debug)]
pub(super) struct Crowd {
    seats: usize,
    /// Relative variance of the probabilities of the things that are added.
    doubt: f64,
    sums: Sums,
    /// Probability of each count from 0 to `seats`, per horizon; empty where the approximation is used. Where the
    /// probabilities are in doubt, twice: with higher ones, and with lower ones.
    exact: Vec<Exact>,
}

#[derive(Clone, Debug)]
struct Exact {
    /// Factor on the odds of what is doubted.
    odds: f64,
    counts: Vec<Row>,
}

#[derive(Clone, Copy, Debug)]
struct Sums {
    mean: Row,
    variance: Row,
    third: Row,
    /// Of the mean, what is in doubt.
    doubted: Row,
}

impl Crowd {
    /// `sure` things have probabilities that are known well; those of `doubted` ones share an error of relative variance
    /// `doubt`, as do those of things added later.
    pub(super) fn new(seats: usize, sure: &[Row], doubted: &[Row], doubt: f64) -> Self {
        let mut crowd = Self {
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
            crowd.exact = odds.iter().map(|odds| Exact::none(seats, *odds)).collect();
        }
        for thing in sure {
            crowd.add_sure(thing);
        }
        for thing in doubted {
            crowd.add(thing);
        }
        crowd
    }

    /// One more thing that may happen.
    pub(super) fn add(&mut self, thing: &Row) {
        for (sum, p) in self.sums.doubted.0.iter_mut().zip(thing.0) {
            *sum += p;
        }
        self.sum(thing);
        for exact in &mut self.exact {
            let thing = if exact.odds == 1.0 {
                *thing
            } else {
                thing.with_odds(exact.odds)
            };
            exact.add(&thing);
        }
    }

    fn add_sure(&mut self, thing: &Row) {
        self.sum(thing);
        for exact in &mut self.exact {
            exact.add(thing);
        }
    }

    fn sum(&mut self, thing: &Row) {
        for (i, p) in thing.0.iter().enumerate() {
            let spread = p * (1.0 - p);
            self.sums.mean.add_at(i, *p);
            self.sums.variance.add_at(i, spread);
            self.sums.third.add_at(i, spread * (1.0 - 2.0 * p));
        }
    }

    /// Probability that at least as many happen as there are seats, `more` seats added (at most one).
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
                // A gamma-distributed factor on all that is doubted.
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

    fn add(&mut self, thing: &Row) {
        // From the top down: each count takes from the one below it, which is still the old one.
        let mut counts = self.counts.iter_mut().rev();
        let Some(mut upper) = counts.next() else { return };
        for lower in counts {
            for ((u, l), p) in upper.0.iter_mut().zip(lower.0.iter()).zip(thing.0.iter()) {
                *u += p * (l - *u);
            }
            upper = lower;
        }
        for (none, p) in upper.0.iter_mut().zip(thing.0.iter()) {
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
        let things = vec![Row([0.3; HORIZONS]); 20];
        let crowd = Crowd::new(8, &[], &things, 0.0);
        for p in crowd.full(0).0 {
            assert!((p - binomial_tail(20, 0.3, 8)).abs() < 1e-12);
        }
        for p in crowd.full(1).0 {
            assert!((p - binomial_tail(20, 0.3, 9)).abs() < 1e-12);
        }
    }

    #[test]
    fn the_approximation_agrees_with_the_convolution() {
        let things: Vec<Row> = (0..200)
            .map(|i| Row([0.05 + 0.9 * f64::from(i) / 200.0; HORIZONS]))
            .collect();
        for seats in [90, 100, 110, 115] {
            let approximate = Crowd::new(seats, &things, &[], 0.0).full(0).0[0];
            let mut exact = Crowd::new(seats, &[], &[], 0.0);
            exact.exact = vec![Exact::none(seats, 1.0)];
            for thing in &things {
                exact.add(thing);
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
        let things = vec![Row([0.1; HORIZONS]); 1_000];
        let full = |doubt| Crowd::new(130, &[], &things, doubt).full(0).0[0];
        // A standard deviation of 9.5 without, of 17 with: 3.1 of the one, 1.7 of the other.
        assert!((full(0.0) - 0.0014).abs() < 0.0006, "{}", full(0.0));
        assert!((full(0.02) - 0.05).abs() < 0.02, "{}", full(0.02));
    }

    #[test]
    fn nobody_and_no_seat_are_fine() {
        assert_eq!(Crowd::new(0, &[], &[], 0.0).full(0).0, [1.0; HORIZONS]);
        assert_eq!(Crowd::new(3, &[], &[], 0.0).full(0).0, [0.0; HORIZONS]);
        assert_eq!(
            Crowd::new(1000, &vec![Row::ZERO; 50], &[], 0.0).full(0).0,
            [0.0; HORIZONS]
        );
    }
}
