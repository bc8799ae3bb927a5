//! The settings of a day.

use crate::random::Spread;
use std::time::Duration;

/// Number of trunks.
pub const TRUNKS: usize = 6;
/// Number of regions.
pub const REGIONS: usize = 4;
/// Number of carriers.
pub const CARRIERS: usize = 3;

/// A day of calls over six trunks.
#[derive(Clone, Debug, PartialEq)]
pub struct TrunkScenario {
    /// Its length.
    pub length: Duration,
    /// Attempts a second.
    pub attempts_per_s: f64,
    /// Channels of a trunk, from and to.
    pub channels: (u32, u32),
    /// Calls per second of a trunk, from and to.
    pub calls_per_s: (u32, u32),
    /// Share of persons who answer over a good trunk, from the worst to the best hour.
    pub live: (f64, f64),
    /// Periods of a cold list, whose contacts answer a third as often: the mean time between two, and their mean length.
    pub cold: (Duration, Duration),
    /// Share of machines among the others.
    pub machines: f64,
    /// Share of busy lines among the rest.
    pub busy: f64,
    /// Standard deviation of the logarithm of a trunk's connect rate, and the time after which it is another one.
    pub drift: (f64, Duration),
    /// Standard deviation of the logarithm for a region, and for a carrier.
    pub regional: (f64, f64),
    /// Outages of a trunk: the mean time between two, and their mean length.
    pub outages: (Duration, Duration),
    /// Periods of false answers of a trunk: the same.
    pub false_answers: (Duration, Duration),
    /// Share of failed legs of a good trunk, up to.
    pub failures: f64,
    /// Post-dial delay of a trunk, from and to.
    pub delay: (Duration, Duration),
    /// Time for which a person's phone rings.
    pub ring: Spread,
    /// Length of a conversation.
    pub talk: Spread,
    /// Share of persons who hang up within five seconds.
    pub hang_up_at_once: f64,
    /// Maximum time without an answer.
    pub ring_timeout: Duration,
    /// After a refusal, an attempt goes on over another trunk up to this age.
    pub attempt_max: Duration,
    /// Number of legs of an attempt.
    pub legs_max: usize,
}

impl Default for TrunkScenario {
    fn default() -> Self {
        let secs = Duration::from_secs;
        Self {
            length: secs(3 * 3_600),
            attempts_per_s: 3.0,
            channels: (30, 80),
            calls_per_s: (2, 5),
            live: (0.22, 0.35),
            cold: (secs(2_400), secs(600)),
            machines: 0.15,
            busy: 0.12,
            drift: (0.25, secs(2_400)),
            regional: (0.2, 0.12),
            outages: (secs(4_500), secs(360)),
            false_answers: (secs(7_200), secs(600)),
            failures: 0.03,
            delay: (secs(1), secs(4)),
            ring: Spread::Gamma {
                shape: 3,
                mean: secs(9),
            },
            talk: Spread::LogNormal {
                mean: secs(50),
                sigma: 0.8,
            },
            hang_up_at_once: 0.06,
            ring_timeout: secs(25),
            attempt_max: secs(20),
            legs_max: 3,
        }
    }
}
