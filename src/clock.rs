//! The one place where the shell reads the time. A demo's clock runs faster than the wall's.

use paceline_core::time::{Mono, Now, Wall};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Real time, or real time multiplied.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    started_wall_ms: i64,
    speed: f64,
}

impl Clock {
    /// Real time.
    pub fn real() -> Self {
        Self::with_speed(1.0)
    }

    /// Time that passes `speed` times as fast as real time, starting at the present; `speed` is clipped to 0.01 to 1000.
    pub fn with_speed(speed: f64) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            started: Instant::now(),
            started_wall_ms: i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX),
            speed: speed.clamp(0.01, 1000.0),
        }
    }

    /// Both clocks at this moment. At real speed, `wall` follows changes of the system's clock.
    pub fn now(&self) -> Now {
        let mono = Mono::START + self.started.elapsed().mul_f64(self.speed);
        let wall = if self.speed == 1.0 {
            let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Wall(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
        } else {
            Wall(self.started_wall_ms).plus(mono.since(Mono::START))
        };
        Now { mono, wall }
    }

    /// The runtime's instant at which this clock will show `at`.
    pub fn instant_of(&self, at: Mono) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.started + at.since(Mono::START).div_f64(self.speed))
    }

    /// How much of this clock's time passes in `d` of real time.
    pub fn passed_in(&self, d: Duration) -> Duration {
        d.mul_f64(self.speed)
    }

    /// How long `d` of this clock takes in real time.
    pub fn real_duration(&self, d: Duration) -> Duration {
        d.div_f64(self.speed)
    }
}
