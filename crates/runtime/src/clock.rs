//! The one place where the shell reads the time. A demo's clock runs faster than real time.
//!
//! A person or a bad time server can set the system clock to a wrong time. Paceline would then call at night, or delay retries
//! by years, so it does not trust a jump at once. Its own time goes on and it launches no calls. It accepts the new time only
//! if the jump lasts.
//!
//! Monotonic time goes on while the machine is suspended. The runtime's `Instant` does not.

use paceline_core::time::{Mono, Now, Wall};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tracing::{error, info, warn};

/// A larger step of the system clock is a jump, and is not trusted at once.
const STEP_MAX: Duration = Duration::from_secs(60);
/// Paceline accepts a jump that has lasted this long. Until then the operator can correct the clock: if the new time is wrong,
/// Paceline calls at wrong hours from then on.
const BELIEVED_AFTER: Duration = Duration::from_secs(15 * 60);

/// The trusted time of the whole process. A [`ClockWatch`] writes it.
static BELIEVED: LazyLock<Believed> = LazyLock::new(|| Believed {
    began: passed(),
    offset_ms: AtomicI64::new(shown().0),
    doubted: AtomicBool::new(false),
});

/// How far ahead of the trusted time all clocks are, in milliseconds. Only [`Clock::move_wall`] writes it.
static MOVED_MS: AtomicI64 = AtomicI64::new(0);

struct Believed {
    /// As [`passed`] gave it.
    began: Duration,
    /// The trusted wall time at `began`, Unix time in milliseconds.
    offset_ms: AtomicI64,
    /// True while the system clock has jumped and is not trusted.
    doubted: AtomicBool,
}

/// The trusted difference between wall time and monotonic time.
#[derive(Debug)]
struct Belief {
    /// The trusted wall time at the start, Unix time in milliseconds.
    offset_ms: i64,
    /// After a jump: the wall time at the start according to the system clock, and the time from the start to the jump.
    doubted: Option<(i64, Duration)>,
}

impl Belief {
    /// Compares the trusted time with `shown`, the time of the system clock `elapsed` after the start.
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

/// The time that has passed since the machine started, with the time in which it was suspended.
fn passed() -> Duration {
    #[cfg(target_os = "linux")]
    {
        let at = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(
            u64::try_from(at.tv_sec).unwrap_or(0),
            u32::try_from(at.tv_nsec).unwrap_or(0),
        )
    }
    #[cfg(not(target_os = "linux"))]
    {
        static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
        BEGAN.elapsed()
    }
}

/// The time in which this machine was suspended since this function was first called.
pub fn suspended() -> Duration {
    static BEGAN: LazyLock<(Instant, Duration)> = LazyLock::new(|| (Instant::now(), passed()));
    let (began, passed_then) = *BEGAN;
    passed()
        .saturating_sub(passed_then)
        .saturating_sub(began.elapsed())
}

/// A moment on all clocks of this machine. Its age counts the time in which the machine was suspended.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// On the clock that stands still meanwhile.
    pub at: Instant,
    /// What [`suspended`] gave.
    pub suspended: Duration,
    /// The time of the system clock, which anybody can set.
    pub shown: Wall,
}

impl Moment {
    /// The present moment.
    pub fn now() -> Self {
        Self::of(Instant::now())
    }

    /// A moment that has only just passed.
    pub fn of(at: Instant) -> Self {
        Self {
            at,
            suspended: suspended(),
            shown: shown(),
        }
    }

    /// The time since this moment.
    pub fn elapsed(&self) -> Duration {
        self.at.elapsed() + suspended().saturating_sub(self.suspended)
    }
}

/// The time of the system clock.
fn shown() -> Wall {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(ms(since_epoch))
}

/// Reads the system clock for the whole process. Between two reads, Paceline's time follows the monotonic clock.
#[derive(Debug)]
pub struct ClockWatch(Option<Belief>);

impl ClockWatch {
    /// Accepts small changes of the system clock at once, and jumps of more than 60 s after 15 minutes. Call it several times a
    /// second.
    pub fn look(&mut self) {
        let Some(belief) = &mut self.0 else { return };
        belief.look(passed().saturating_sub(BELIEVED.began), shown());
        BELIEVED.offset_ms.store(belief.offset_ms, Relaxed);
        BELIEVED.doubted.store(belief.doubted.is_some(), Relaxed);
    }
}

/// Real time, or time that runs faster or slower.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// As [`passed`] gave it.
    started: Duration,
    started_wall_ms: i64,
    speed: f64,
}

impl Clock {
    /// A clock that runs at real speed.
    pub fn real() -> Self {
        Self::with_speed(1.0)
    }

    /// A clock that starts at the present time and runs `speed` times as fast as real time. `speed` is clipped to 0.01 to 1000.
    pub fn with_speed(speed: f64) -> Self {
        Self {
            started: passed(),
            started_wall_ms: shown().0,
            speed: speed.clamp(0.01, 1000.0),
        }
    }

    /// The monotonic time and the wall time. At real speed, `wall` is the time that the [`ClockWatch`] trusts, plus
    /// [`Clock::moved_ms`].
    pub fn now(&self) -> Now {
        let at = passed();
        let mono = Mono::START + at.saturating_sub(self.started).mul_f64(self.speed);
        let wall = if self.speed == 1.0 {
            let elapsed = at.saturating_sub(BELIEVED.began);
            Wall(BELIEVED.offset_ms.load(Relaxed).saturating_add(ms(elapsed)))
        } else {
            Wall(self.started_wall_ms).plus(mono.since(Mono::START))
        };
        Now {
            mono,
            wall: Wall(wall.0.saturating_add(Self::moved_ms())),
        }
    }

    /// For tests of rules that depend on the time of day: from now on, the wall time of every clock in this process is `by_ms` ahead of
    /// the time that it would show otherwise. Monotonic time does not change. A step is no fault: the [`ClockWatch`] compares the
    /// system clock with the trusted time without it.
    pub fn move_wall(by_ms: i64) {
        MOVED_MS.store(by_ms, Relaxed);
    }

    /// The last value given to [`Clock::move_wall`], or 0.
    pub fn moved_ms() -> i64 {
        MOVED_MS.load(Relaxed)
    }

    /// The reader of the system clock for this clock. A clock that does not run at real speed ignores changes of the system
    /// clock, and its reader does nothing.
    pub fn watch(&self) -> ClockWatch {
        let real = self.speed == 1.0;
        ClockWatch(real.then(|| Belief {
            offset_ms: BELIEVED.offset_ms.load(Relaxed),
            doubted: None,
        }))
    }

    /// True if the last [`ClockWatch::look`] found that the system clock has jumped and is not trusted yet.
    pub fn is_doubted(&self) -> bool {
        self.speed == 1.0 && BELIEVED.doubted.load(Relaxed)
    }

    /// The runtime's instant at which this clock shows `at`, or the present one if that has passed. A suspension of the machine
    /// in between makes it too late.
    pub fn instant_of(&self, at: Mono) -> tokio::time::Instant {
        let left = at.since(self.now().mono).div_f64(self.speed);
        tokio::time::Instant::now() + left
    }

    /// The time that passes on this clock in `d` of real time.
    pub fn passed_in(&self, d: Duration) -> Duration {
        d.mul_f64(self.speed)
    }

    /// The real time in which `d` passes on this clock.
    pub fn real_duration(&self, d: Duration) -> Duration {
        d.div_f64(self.speed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_MS: i64 = 1_800_000_000_000;
    const YEAR_MS: i64 = 365 * 86_400_000;

    /// The trusted offset from the start, and whether the clock is doubted, if the system clock is wrong by `off_ms`.
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
    fn a_moved_clock_is_ahead_at_every_speed_and_raises_no_doubt() {
        let (real, fast) = (Clock::real(), Clock::with_speed(2.0));
        let mut watch = real.watch();
        let before = [real.now(), fast.now()];
        for by_ms in [YEAR_MS, -YEAR_MS, 0] {
            Clock::move_wall(by_ms);
            watch.look();
            assert!(!real.is_doubted());
            for (clock, before) in [real, fast].into_iter().zip(before) {
                let now = clock.now();
                let passed_ms = ms(now.mono.since(before.mono));
                let off_ms = now.wall.0 - before.wall.0 - passed_ms;
                // A thread may be late, and the system clock may be corrected meanwhile.
                assert!((off_ms - by_ms).abs() < 60_000, "{off_ms} for {by_ms}");
            }
        }
    }

    #[test]
    fn a_clock_jump_is_accepted_after_a_time_and_a_small_step_at_once() {
        let mut belief = belief();
        assert_eq!(believed(&mut belief, 1, 900), (900, false));
        assert_eq!(believed(&mut belief, 2, -20_000), (-20_000, false));
        assert_eq!(believed(&mut belief, 3, YEAR_MS), (-20_000, true));
        // A second jump starts a new wait.
        assert_eq!(believed(&mut belief, 100, -YEAR_MS), (-20_000, true));
        assert_eq!(believed(&mut belief, 999, -YEAR_MS), (-20_000, true));
        assert_eq!(believed(&mut belief, 1_000, -YEAR_MS), (-YEAR_MS, false));
    }
}
