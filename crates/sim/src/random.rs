//! Random numbers in independent streams, and the distributions of the simulator.
//!
//! A stream is named by the seed, a kind, a key and a count. The third call to a number always draws the same values,
//! whatever else was drawn before. So a change in one place does not change the draws of another.

use rand::{RngExt, SeedableRng};
pub use rand_chacha::ChaCha8Rng;
use std::time::Duration;

/// Maximum of a drawn time.
const DRAWN_MAX_SECS: f64 = 24.0 * 3600.0;

/// The stream with this name.
pub fn stream(seed: u64, kind: &str, key: &str, nth: u64) -> ChaCha8Rng {
    // FNV-1a is enough, because names are short and the generator mixes its seed further.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let parts: [&[u8]; 6] = [
        &seed.to_le_bytes(),
        kind.as_bytes(),
        &[0],
        key.as_bytes(),
        &[0],
        &nth.to_le_bytes(),
    ];
    for byte in parts.into_iter().flatten() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    ChaCha8Rng::seed_from_u64(hash)
}

/// Draws whether an event of this probability happens. It also draws if the probability is 0 or 1, so that a disabled fault
/// does not shift the stream.
pub fn happens(rng: &mut ChaCha8Rng, probability: f64) -> bool {
    rng.random::<f64>() < probability
}

/// A distribution of times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Spread {
    /// Always this time.
    Constant(Duration),
    /// Uniform between these two times.
    Uniform(Duration, Duration),
    /// Exponential, with this mean.
    Exponential(Duration),
    /// Gamma: the sum of `shape` exponentials.
    Gamma {
        /// Number of exponentials. A greater number gives a narrower distribution.
        shape: u8,
        /// Mean of the sum.
        mean: Duration,
    },
    /// Log-normal.
    LogNormal {
        /// Mean of the time, not of its logarithm.
        mean: Duration,
        /// Standard deviation of the logarithm.
        sigma: f64,
    },
}

impl Spread {
    /// Draws one time, at most a day.
    pub fn draw(&self, rng: &mut ChaCha8Rng) -> Duration {
        let secs = match *self {
            Spread::Constant(d) => d.as_secs_f64(),
            Spread::Uniform(min, max) => {
                let (min, max) = (min.as_secs_f64(), max.as_secs_f64());
                min + (max - min) * rng.random::<f64>()
            }
            Spread::Exponential(mean) => mean.as_secs_f64() * exponential(rng),
            Spread::Gamma { shape, mean } => {
                let shape = shape.max(1);
                let sum: f64 = (0..shape).map(|_| exponential(rng)).sum();
                mean.as_secs_f64() * sum / f64::from(shape)
            }
            Spread::LogNormal { mean, sigma } => {
                mean.as_secs_f64() * (sigma * normal(rng) - sigma * sigma / 2.0).exp()
            }
        };
        Duration::try_from_secs_f64(secs.clamp(0.0, DRAWN_MAX_SECS)).unwrap_or_default()
    }
}

fn exponential(rng: &mut ChaCha8Rng) -> f64 {
    -(1.0 - rng.random::<f64>()).ln()
}

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    // Box-Muller; only one of the two values is used.
    let radius = (2.0 * exponential(rng)).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn every_distribution_has_its_mean() {
        for (spread, mean) in [
            (Spread::Constant(9 * SECOND), 9.0),
            (Spread::Uniform(SECOND, 3 * SECOND), 2.0),
            (Spread::Exponential(9 * SECOND), 9.0),
            (
                Spread::Gamma {
                    shape: 3,
                    mean: 9 * SECOND,
                },
                9.0,
            ),
            (
                Spread::LogNormal {
                    mean: 90 * SECOND,
                    sigma: 0.8,
                },
                90.0,
            ),
        ] {
            let mut rng = stream(1, "test", "", 0);
            let n = 20_000;
            let sum: f64 = (0..n).map(|_| spread.draw(&mut rng).as_secs_f64()).sum();
            let got = sum / f64::from(n);
            assert!((got / mean - 1.0).abs() < 0.03, "{spread:?} has mean {got}");
        }
    }

    #[test]
    fn streams_are_equal_exactly_if_their_names_are_equal() {
        let first = |seed, kind, key, nth| stream(seed, kind, key, nth).random::<u64>();
        let one = first(1, "callee", "12", 0);
        assert_eq!(one, first(1, "callee", "12", 0));
        for other in [
            first(2, "callee", "12", 0),
            first(1, "phone", "12", 0),
            first(1, "callee", "13", 0),
            first(1, "callee", "12", 1),
        ] {
            assert_ne!(one, other);
        }
    }
}
