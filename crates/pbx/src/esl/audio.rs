//! Whether a phone sends audio. In: how many packets came from it, asked now and then. Pure.
//!
//! A phone that sends nothing for a while was switched off, or lost its network, and nobody tells: SIP has no word for it. Only one
//! that has sent before is missed: there are phones that send when somebody speaks, and conversations whose audio passes the PBX by.

use std::time::{Duration, Instant};

/// A phone that is silent for this long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(9);

/// What is known of one phone's audio.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Audio {
    packets: Option<u64>,
    /// When more came, or its silence began to count.
    since: Option<Instant>,
    parked: bool,
    /// Whether it has sent while parked.
    sent_parked: bool,
    /// Whether its silence means something now.
    missed: bool,
}

impl Audio {
    /// It is parked now, or talks.
    pub(super) fn begins(&mut self, parked: bool, now: Instant) {
        self.parked = parked;
        self.missed = parked && self.sent_parked;
        self.since = Some(now);
    }

    /// So many packets have come from it by now. On hold a phone need not send.
    pub(super) fn counted(&mut self, packets: u64, on_hold: bool, now: Instant) {
        let more = self.packets.is_some_and(|known| packets > known);
        self.packets = Some(packets);
        if more {
            self.missed = true;
            self.sent_parked |= self.parked;
        }
        if more || on_hold {
            self.since = Some(now);
        }
    }

    pub(super) fn is_gone(&self, now: Instant) -> bool {
        self.missed
            && self
                .since
                .is_some_and(|since| now.duration_since(since) >= SILENCE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_phone_that_sent_and_sends_no_more_is_gone() {
        let start = Instant::now();
        let mut audio = Audio::default();
        audio.begins(true, start);
        for second in 0..5 {
            audio.counted(second * 50, false, after(start, second));
        }
        audio.counted(200, false, after(start, 12));
        assert!(!audio.is_gone(after(start, 12)));
        audio.counted(200, false, after(start, 13));
        assert!(audio.is_gone(after(start, 13)));
        audio.counted(201, false, after(start, 14));
        assert!(!audio.is_gone(after(start, 14)));
    }

    #[test]
    fn a_phone_that_never_sent_or_is_on_hold_is_not_missed() {
        let start = Instant::now();
        let mut audio = Audio::default();
        audio.begins(true, start);
        for second in 0..60 {
            audio.counted(0, false, after(start, second));
        }
        assert!(!audio.is_gone(after(start, 60)));
        audio.counted(50, false, after(start, 60));
        for second in 61..120 {
            audio.counted(50, true, after(start, second));
        }
        assert!(!audio.is_gone(after(start, 120)));
        assert!(audio.is_gone(after(start, 130)));
    }

    #[test]
    fn audio_that_passes_the_switch_by_in_a_conversation_is_not_missed_until_it_is_over() {
        let start = Instant::now();
        let mut audio = Audio::default();
        audio.begins(true, start);
        audio.counted(0, false, start);
        audio.counted(50, false, after(start, 1));
        audio.begins(false, after(start, 2));
        assert!(!audio.is_gone(after(start, 600)));
        audio.begins(true, after(start, 600));
        assert!(!audio.is_gone(after(start, 608)));
        assert!(audio.is_gone(after(start, 609)));
    }
}
