//! Time in the core: timers use [`Mono`], dates and rows use [`Wall`].

use serde::{Deserialize, Serialize};
use std::ops::{Add, Sub};
use std::time::Duration;

/// Monotonic time since an arbitrary origin of the process. A process starts at [`Mono::START`], so that times before its
/// start can be expressed too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub Duration);

/// Wall-clock time in milliseconds since the Unix epoch (UTC).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Wall(pub i64);

/// Both clocks, read at the same moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For timers.
    pub mono: Mono,
    /// For dates and rows.
    pub wall: Wall,
}

impl Now {
    /// Both clocks a given time ago, but not before the origin of [`Mono`].
    pub fn before(self, ago: Duration) -> Now {
        let mono = self.mono - ago;
        Now {
            mono,
            wall: self.wall.minus(self.mono.since(mono)),
        }
    }
}

impl Now {
    /// This time, or `earliest` if this time is before it. Both clocks move by the same amount.
    pub fn no_earlier_than(self, earliest: Mono) -> Now {
        let by = earliest.since(self.mono);
        Now {
            mono: self.mono + by,
            wall: self.wall.plus(by),
        }
    }
}

impl Mono {
    /// The value of the shell's clock when its process starts: one week.
    pub const START: Mono = Mono(Duration::from_secs(7 * 24 * 3_600));

    /// Time passed since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Mono) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Mono {
    type Output = Mono;
    fn add(self, d: Duration) -> Mono {
        Mono(self.0.saturating_add(d))
    }
}

impl Sub<Duration> for Mono {
    type Output = Mono;
    fn sub(self, d: Duration) -> Mono {
        Mono(self.0.saturating_sub(d))
    }
}

impl Wall {
    /// Time passed since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Wall) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This time plus `d`, saturating.
    pub fn plus(self, d: Duration) -> Wall {
        Wall(
            self.0
                .saturating_add(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// This time minus `d`, saturating.
    pub fn minus(self, d: Duration) -> Wall {
        Wall(
            self.0
                .saturating_sub(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)),
        )
    }
}
