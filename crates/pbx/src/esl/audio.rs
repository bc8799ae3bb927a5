//! Detects whether a phone sends audio, from the number of packets that have come from it, counted at intervals. Pure.
//!
//! If a phone is switched off or loses its network, it sends nothing, and no SIP message says so. Only a phone that has sent before
//! can be missed: some phones send only while the agent speaks, and the audio of some conversations does not pass through the PBX.

use std::time::{Duration, Instant};

/// A phone that is silent for this long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(9);

/// The audio of one phone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Audio {
    packets: Option<u64>,
    silence: Silence,
    place: Place,
    /// The audio from it while it was parked, this time and before.
    while_parked: Sent,
}

/// The place of the leg.
#[derive(Clone, Copy, Debug)]
enum Place {
    Parked,
    /// In a conversation, with the audio from the phone in it.
    Talking(Sent),
}

impl Default for Place {
    fn default() -> Self {
        Self::Talking(Sent::Nothing)
    }
}

/// The audio that has come from the phone.
#[derive(Clone, Copy, Debug, Default)]
enum Sent {
    #[default]
    Nothing,
    Packets,
}

/// The silence of the phone, with its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Silence {
    #[default]
    NotCounted,
    Since(Instant),
    /// A phone on hold need not send.
    OnHold,
}

impl Audio {
    pub(super) fn parked(&mut self, now: Instant) {
        self.place = Place::Parked;
        self.restart(now);
    }

    /// A conversation begins.
    pub(super) fn talks(&mut self, now: Instant) {
        self.place = Place::Talking(Sent::Nothing);
        self.restart(now);
    }

    pub(super) fn hold(&mut self, on: bool, now: Instant) {
        match (self.silence, on) {
            (_, true) => self.silence = Silence::OnHold,
            (Silence::OnHold, false) => self.silence = Silence::Since(now),
            (Silence::NotCounted | Silence::Since(_), false) => {}
        }
    }

    pub(super) fn is_on_hold(&self) -> bool {
        self.silence == Silence::OnHold
    }

    /// Takes the number of packets that have come from it so far.
    pub(super) fn counted(&mut self, packets: u64, now: Instant) {
        let more = self.packets.is_some_and(|known| packets > known);
        self.packets = Some(packets);
        if more {
            match &mut self.place {
                Place::Parked => self.while_parked = Sent::Packets,
                Place::Talking(sent) => *sent = Sent::Packets,
            }
            self.restart(now);
        }
    }

    fn restart(&mut self, now: Instant) {
        if !self.is_on_hold() {
            self.silence = Silence::Since(now);
        }
    }

    pub(super) fn is_gone(&self, now: Instant) -> bool {
        let sent = match self.place {
            Place::Parked => self.while_parked,
            Place::Talking(sent) => sent,
        };
        match (self.silence, sent) {
            (Silence::Since(since), Sent::Packets) => now.duration_since(since) >= SILENCE_MAX,
            (Silence::Since(_), Sent::Nothing) | (Silence::NotCounted | Silence::OnHold, _) => false,
        }
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
        audio.parked(start);
        for second in 0..5 {
            audio.counted(second * 50, after(start, second));
        }
        audio.counted(200, after(start, 12));
        assert!(!audio.is_gone(after(start, 12)));
        audio.counted(200, after(start, 13));
        assert!(audio.is_gone(after(start, 13)));
        audio.counted(201, after(start, 14));
        assert!(!audio.is_gone(after(start, 14)));
    }

    #[test]
    fn a_phone_that_never_sent_or_is_on_hold_is_not_missed() {
        let start = Instant::now();
        let mut audio = Audio::default();
        audio.parked(start);
        for second in 0..60 {
            audio.counted(0, after(start, second));
        }
        assert!(!audio.is_gone(after(start, 60)));
        audio.counted(50, after(start, 60));
        audio.hold(true, after(start, 61));
        for second in 61..120 {
            audio.counted(50, after(start, second));
        }
        assert!(!audio.is_gone(after(start, 120)));
        audio.hold(false, after(start, 120));
        assert!(audio.is_gone(after(start, 130)));
    }

    #[test]
    fn a_phone_whose_audio_bypasses_the_pbx_in_a_conversation_is_not_missed_until_it_is_over() {
        let start = Instant::now();
        let mut audio = Audio::default();
        audio.parked(start);
        audio.counted(0, start);
        audio.counted(50, after(start, 1));
        audio.talks(after(start, 2));
        assert!(!audio.is_gone(after(start, 600)));
        audio.parked(after(start, 600));
        assert!(!audio.is_gone(after(start, 608)));
        assert!(audio.is_gone(after(start, 609)));
    }
}
