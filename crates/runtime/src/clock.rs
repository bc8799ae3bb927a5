//! The one place where the shell reads the time. A demo's clock runs faster than the wall's.
//!
//! A system's clock can be set by mistake, by hand or by a bad time server. Callees would be called at night, and retries put
//! off by years, so a jump is not believed at once: our own time goes on, nothing is launched, and only a jump that lasts is
//! taken over.

use paceline_core::time::{Mono, Now, Wall};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tracing::{error, info, warn};

/// A step of the system's clock beyond this is not believed at once.
const STEP_MAX: Duration = Duration::from_secs(60);
/// It is believed once it has lasted for this long, in which people can hear of it and look: where the new time is wrong, callees
/// would be called at wrong hours from then on.
const BELIEVED_AFTER: Duration = Duration::from_secs(15 * 60);

/// What is believed of the system's clock: one for the process, as it has one system. A [`ClockWatch`] writes it.
static BELIEVED: LazyLock<Believed> = LazyLock::new(|| Believed {
    began: Instant::now(),
    offset_ms: AtomicI64::new(shown().0),
    doubted: AtomicBool::new(false),
});

struct Believed {
    began: Instant,
    /// The wall's time when it began.
    offset_ms: AtomicI64,
    /// Whether the system's clock shows another time at present.
    doubted: AtomicBool,
}

/// How the wall's time follows from the monotonic time since the start.
#[derive(Debug)]
struct Belief {
    /// The wall's time at the start.
    offset_ms: i64,
    /// Another one that the system's clock has told, and since when.
    doubted: Option<(i64, Duration)>,
}

impl Belief {
    /// The system's clock shows this, `elapsed` after the start.
    fn look(&mut self, elapsed: Duration, shown: Wall) {
        let offset_ms = shown.0.saturating_sub(ms(elapsed));
        let near = |other: i64| Duration::from_millis(other.abs_diff(offset_ms)) <= STEP_MAX;
        match self.doubted {
            _ if near(self.offset_ms) => {
                if self.doubted.take().is_some() {
                    info!("the system clock is right again, and launching resumes");
                }
                self.offset_ms = offset_ms;
            }
            Some((doubted_ms, since)) if near(doubted_ms) => {
                if elapsed.saturating_sub(since) >= BELIEVED_AFTER {
                    warn!(
                        "the system clock still shows the new time, so it is accepted as right from now on"
                    );
                    (self.offset_ms, self.doubted) = (offset_ms, None);
                }
            }
            Some(_) | None => {
                let by_s = offset_ms.saturating_sub(self.offset_ms) / 1_000;
                error!(
                    by_s,
                    "the system clock has jumped by {by_s} s: nothing is launched until it is right or {} s have passed; check \
                     the machine's time service",
                    BELIEVED_AFTER.as_secs()
                );
                self.doubted = Some((offset_ms, elapsed));
            }
        }
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// What the system's clock shows.
fn shown() -> Wall {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(ms(since_epoch))
}

/// Looks at the system's clock for the whole process: until somebody does, and in between, our own time goes on.
#[derive(Debug)]
pub struct ClockWatch(Option<Belief>);

impl ClockWatch {
    /// Follows small changes of the system's clock at once, and jumps once they have lasted. To be called several times a second.
    pub fn look(&mut self) {
        let Some(belief) = &mut self.0 else { return };
        belief.look(BELIEVED.began.elapsed(), shown());
        BELIEVED.offset_ms.store(belief.offset_ms, Relaxed);
        BELIEVED.doubted.store(belief.doubted.is_some(), Relaxed);
    }
}

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
        Self {
            started: Instant::now(),
            started_wall_ms: shown().0,
            speed: speed.clamp(0.01, 1000.0),
        }
    }

    /// Both clocks at this moment. At real speed, `wall` is what the [`ClockWatch`] believes.
    pub fn now(&self) -> Now {
        let at = Instant::now();
        let mono = Mono::START + at.duration_since(self.started).mul_f64(self.speed);
        let wall = if self.speed == 1.0 {
            let elapsed = at.duration_since(BELIEVED.began);
            Wall(BELIEVED.offset_ms.load(Relaxed).saturating_add(ms(elapsed)))
        } else {
            Wall(self.started_wall_ms).plus(mono.since(Mono::START))
        };
        Now { mono, wall }
    }

    /// Who is to look at the system's clock for this one. One that runs faster is its own.
    pub fn watch(&self) -> ClockWatch {
        let real = self.speed == 1.0;
        ClockWatch(real.then(|| Belief {
            offset_ms: BELIEVED.offset_ms.load(Relaxed),
            doubted: None,
        }))
    }

    /// Whether the system's clock has jumped, and it is not known yet whether that is right. As of the last [`ClockWatch::look`].
    pub fn is_doubted(&self) -> bool {
        self.speed == 1.0 && BELIEVED.doubted.load(Relaxed)
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

#[cfg(test)]
mod tests {
    use super::*;

    const START_MS: i64 = 1_800_000_000_000;
    const YEAR_MS: i64 = 365 * 86_400_000;

    /// What is believed, from the start, while the system's clock is off by so much.
    fn believed(belief: &mut Belief, at_s: u64, off_ms: i64) -> (i64, bool) {
        let at_ms = i64::try_from(at_s * 1_000).unwrap();
        belief.look(Duration::from_secs(at_s), Wall(START_MS + at_ms + off_ms));
        (belief.offset_ms - START_MS, belief.doubted.is_some())
    }

    fn belief() -> Belief {
        Belief {
            offset_ms: START_MS,
            doubted: None,
        }
    }

    #[test]
    fn a_jump_that_is_put_right_within_a_quarter_of_an_hour_moves_no_time() {
        for off_ms in [YEAR_MS, -YEAR_MS, 61_000] {
            let mut belief = belief();
            for at_s in 0..30 {
                assert_eq!(believed(&mut belief, at_s, 0), (0, false));
            }
            for at_s in 30..60 {
                assert_eq!(believed(&mut belief, at_s, off_ms), (0, true));
            }
            assert_eq!(believed(&mut belief, 60, 0), (0, false));
        }
    }

    #[test]
    fn a_jump_that_lasts_is_believed_and_small_steps_are_at_once() {
        let mut belief = belief();
        assert_eq!(believed(&mut belief, 1, 900), (900, false));
        assert_eq!(believed(&mut belief, 2, -20_000), (-20_000, false));
        assert_eq!(believed(&mut belief, 3, YEAR_MS), (-20_000, true));
        // Another jump is doubted anew.
        assert_eq!(believed(&mut belief, 100, -YEAR_MS), (-20_000, true));
        assert_eq!(believed(&mut belief, 999, -YEAR_MS), (-20_000, true));
        assert_eq!(believed(&mut belief, 1_000, -YEAR_MS), (-YEAR_MS, false));
    }
}
