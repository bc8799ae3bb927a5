//! The difference between a PBX's clock and ours, to convert the times in its events into our time. In: times that the PBX wrote,
//! and when we read them. Out: the time from an event on the PBX until we read it. Pure.
//!
//! The PBX writes a time before we read it, so the smallest difference that we saw is too large by at most the shortest delay on
//! the way. A PBX's clock can also be set, or drift. A round trip shows that, because the PBX wrote its time after we asked and
//! before we read. A clock that is set back by more than a second is found at once, because events come in the order of their times.
//!
//! While this machine is suspended, its monotonic clock stands still, but the time counts. If a virtual machine is paused, only its
//! wall clock may be put forward afterwards. That counts if the PBX's time has gone forward too.

use paceline_runtime::clock::Moment;
use std::time::Duration;

/// Maximum lag of the times that a PBX writes behind its own clock: FreeSWITCH writes the time of its last tick.
const LAG_MS_MAX: i64 = 50;

/// A PBX writes its events in the order of their times, except for small differences between its threads. A time that lies further
/// back than this is the time of a clock that was set back.
const DISORDER_MS_MAX: i64 = 1_000;

/// If the PBX's time and our wall clock both gain more than this on our monotonic clock, this machine stood still.
const GAIN_MS_MAX: i64 = 1_000;

/// The measured difference to one PBX's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PbxClock {
    base: Moment,
    /// The time in which this machine stood still and its monotonic clock did not show it.
    stood_still_ms: i64,
    /// The system clock's time less ours, at the last round trip.
    shown_less_ours_ms: Option<i64>,
    /// Our time less the PBX's, as far as we know; too large by at most the shortest delay on the way.
    ours_less_theirs_ms: Option<i64>,
    /// The latest time that it wrote.
    latest_ms: Option<i64>,
}

impl PbxClock {
    pub(crate) fn new() -> Self {
        Self {
            base: Moment::now(),
            stood_still_ms: 0,
            shown_less_ours_ms: None,
            ours_less_theirs_ms: None,
            latest_ms: None,
        }
    }

    fn ours_ms(&self, moment: Moment) -> i64 {
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let running_ms = match moment.at.checked_duration_since(self.base.at) {
            Some(after) => ms(after),
            None => -ms(self.base.at.duration_since(moment.at)),
        };
        let suspended_ms = ms(moment.suspended).saturating_sub(ms(self.base.suspended));
        running_ms
            .saturating_add(suspended_ms)
            .saturating_add(self.stood_still_ms)
    }

    fn shown_less_ours_ms(&self, moment: Moment) -> i64 {
        moment.shown.0.saturating_sub(self.ours_ms(moment))
    }

    /// Notes that this machine stood still, if the PBX's time shows it and our wall clock has been put forward.
    fn see_if_we_stood_still(&mut self, pbx_ms: i64, read_at: Moment) {
        let (Some(known), Some(shown_before)) = (self.ours_less_theirs_ms, self.shown_less_ours_ms) else {
            return;
        };
        let seen = self.ours_ms(read_at).saturating_sub(pbx_ms);
        let gained_ms = self.shown_less_ours_ms(read_at).saturating_sub(shown_before);
        if known.saturating_sub(seen) > GAIN_MS_MAX && gained_ms > GAIN_MS_MAX {
            self.stood_still_ms = self.stood_still_ms.saturating_add(gained_ms);
        }
    }

    /// The PBX wrote this time, and we read it then.
    pub(crate) fn heard(&mut self, pbx_ms: i64, read_at: Moment) {
        self.see_if_we_stood_still(pbx_ms, read_at);
        let seen = self.ours_ms(read_at).saturating_sub(pbx_ms);
        let set_back = |latest_ms: i64| pbx_ms.saturating_add(DISORDER_MS_MAX) < latest_ms;
        if self.latest_ms.is_some_and(set_back) {
            (self.ours_less_theirs_ms, self.latest_ms) = (None, None);
        }
        self.ours_less_theirs_ms = Some(self.ours_less_theirs_ms.map_or(seen, |known| known.min(seen)));
        self.latest_ms = self.latest_ms.max(Some(pbx_ms));
    }

    /// The PBX wrote this time after we sent something, and before we read it.
    pub(crate) fn round_trip(&mut self, sent_at: Moment, pbx_ms: i64, read_at: Moment) {
        self.see_if_we_stood_still(pbx_ms, read_at);
        let least = self.ours_ms(sent_at).saturating_sub(pbx_ms);
        let impossible = |known: i64| known.saturating_add(LAG_MS_MAX) < least;
        // Its clock was set back by little, or is slow.
        if self.ours_less_theirs_ms.is_some_and(impossible) {
            self.ours_less_theirs_ms = None;
        }
        self.heard(pbx_ms, read_at);
        self.shown_less_ours_ms = Some(self.shown_less_ours_ms(read_at));
    }

    /// Time from an event on the PBX until we read it. Zero while the difference of the clocks is not known.
    pub(crate) fn ago(&self, pbx_ms: i64, read_at: Moment) -> Duration {
        let Some(known) = self.ours_less_theirs_ms else {
            return Duration::ZERO;
        };
        let late_ms = self.ours_ms(read_at).saturating_sub(pbx_ms).saturating_sub(known);
        Duration::from_millis(u64::try_from(late_ms).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_core::time::Wall;

    /// A PBX whose clock shows `theirs_ms` at `base`.
    struct Bench {
        clock: PbxClock,
        theirs_ms: i64,
        /// The time for which our monotonic clock stood still.
        still_ms: u64,
        /// The part of it that the kernel knows.
        suspended_ms: u64,
        /// The error of our wall clock.
        wrong_ms: i64,
    }

    impl Bench {
        /// Our clocks at a moment of real time.
        fn at(&self, ms: u64) -> Moment {
            let base = self.clock.base;
            Moment {
                at: base.at + Duration::from_millis(ms) - Duration::from_millis(self.still_ms),
                suspended: base.suspended + Duration::from_millis(self.suspended_ms),
                shown: Wall(base.shown.0 + ms as i64 + self.wrong_ms),
            }
        }

        /// This machine stands still for 20 s. `suspended`: its kernel knows that.
        fn stand_still(&mut self, suspended: bool) {
            self.still_ms += 20_000;
            self.suspended_ms += if suspended { 20_000 } else { 0 };
        }

        /// Written at one moment, read at another.
        fn heard(&mut self, written_ms: u64, read_ms: u64) -> u128 {
            let pbx_ms = self.theirs_ms + written_ms as i64;
            let read_at = self.at(read_ms);
            self.clock.heard(pbx_ms, read_at);
            self.clock.ago(pbx_ms, read_at).as_millis()
        }

        fn round_trip(&mut self, sent_ms: u64, written_ms: u64, read_ms: u64) {
            let (sent_at, read_at) = (self.at(sent_ms), self.at(read_ms));
            let pbx_ms = self.theirs_ms + written_ms as i64;
            self.clock.round_trip(sent_at, pbx_ms, read_at);
        }
    }

    fn bench(theirs_ms: i64) -> Bench {
        Bench {
            clock: PbxClock::new(),
            theirs_ms,
            still_ms: 0,
            suspended_ms: 0,
            wrong_ms: 0,
        }
    }

    #[test]
    fn an_event_that_came_while_this_machine_stood_still_has_waited_as_long() {
        for suspended in [true, false] {
            let mut bench = bench(1_795_182_369_264);
            bench.round_trip(0, 1, 1);
            assert_eq!(bench.heard(500, 500), 0);
            bench.stand_still(suspended);
            // The PBX wrote both while we stood still, which ended at 21 s.
            assert_eq!(bench.heard(6_000, 21_000), 15_000, "{suspended}");
            assert_eq!(bench.heard(20_000, 21_001), 1_001, "{suspended}");
            bench.round_trip(21_500, 21_501, 21_502);
            assert_eq!(bench.heard(22_000, 22_000), 0, "{suspended}");
            assert_eq!(bench.heard(23_000, 26_000), 3_000, "{suspended}");
        }
        // An event from just before.
        let mut bench = bench(0);
        bench.round_trip(0, 1, 1);
        bench.stand_still(true);
        assert_eq!(bench.heard(900, 21_000), 20_100);
    }

    #[test]
    fn a_wall_clock_that_is_put_forward_makes_no_callee_late() {
        let mut bench = bench(0);
        bench.round_trip(0, 0, 0);
        bench.wrong_ms += 60_000;
        assert_eq!(bench.heard(500, 500), 0, "ours");
        bench.round_trip(1_000, 1_000, 1_000);
        bench.theirs_ms += 60_000;
        assert_eq!(bench.heard(1_500, 1_500), 0, "theirs");
    }

    #[test]
    fn an_event_that_is_read_late_keeps_its_own_time_for_any_clock_of_the_pbx() {
        for theirs_ms in [0, 1_795_182_369_264, -86_400_000] {
            let mut bench = bench(theirs_ms);
            let nothing = bench.clock.ago(5, bench.at(10));
            assert_eq!(nothing, Duration::ZERO, "nothing is known");
            bench.round_trip(1_000, 1_001, 1_003);
            // Read after we stood still for 20 s.
            assert_eq!(bench.heard(2_000, 22_000), 19_998);
            // A faster way shows that the first was slow by 2 ms.
            assert_eq!(bench.heard(23_000, 23_000), 0);
            assert_eq!(bench.heard(24_000, 32_000), 8_000);
        }
    }

    #[test]
    fn setting_the_clock_makes_no_callee_late() {
        let mut bench = bench(1_000_000);
        bench.round_trip(0, 0, 1);
        bench.theirs_ms -= 60_000;
        assert_eq!(bench.heard(500, 500), 0, "set back by a minute");
        assert_eq!(bench.heard(1_500, 3_500), 2_000);
        // Set back by less than events may be out of order: until the next round trip all seem late.
        bench.theirs_ms -= 900;
        assert_eq!(bench.heard(4_000, 4_000), 900);
        bench.round_trip(5_000, 5_001, 5_002);
        assert_eq!(bench.heard(5_500, 5_500), 0);
        // Set forward by a minute: the next word shows it.
        bench.theirs_ms += 60_000;
        assert_eq!(bench.heard(6_000, 6_000), 0);
        assert_eq!(bench.heard(6_500, 9_500), 3_000);
    }

    #[test]
    fn events_in_disorder_are_no_clock_that_was_set() {
        let mut bench = bench(0);
        bench.round_trip(0, 0, 0);
        assert_eq!(bench.heard(10_000, 10_000), 0);
        assert_eq!(bench.heard(9_100, 10_001), 901);
    }

    #[test]
    fn a_round_trip_that_took_long_changes_nothing() {
        let mut bench = bench(0);
        bench.round_trip(0, 0, 0);
        // Asked before we stood still, read after.
        bench.round_trip(1_000, 1_001, 21_000);
        assert_eq!(bench.heard(22_000, 25_000), 3_000);
    }
}
