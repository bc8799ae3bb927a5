//! The channels and the calls per second of one trunk.
//!
//! A grant holds a channel and a call per second before the leg is dialed. Every other leg that is dialed within the window
//! before a leg's dialing was either dialed or still granted when that leg was granted, so no window has more legs than
//! allowed, as long as nobody dials a lapsed grant.

use super::settings::Trunk;
use crate::time::Mono;
use std::collections::VecDeque;
use std::time::Duration;

/// The window of `calls_per_s_max`.
const WINDOW: Duration = Duration::from_millis(1_000);
/// The longest window, of a trunk with less than one call per second.
const WINDOW_MAX_SECS: f64 = 86_400.0;
/// A window that has just closed has room from the next millisecond on.
const AFTER: Duration = Duration::from_millis(1);

/// Why a trunk has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// All channels are in use.
    Channels {
        /// Channels in use.
        used: u32,
        /// Channels for outbound calls.
        of: u32,
    },
    /// The calls of this second are used up.
    CallsPerSecond,
}

#[derive(Clone, Debug)]
pub(super) struct Capacity {
    channels: Option<u32>,
    starts_max: Option<usize>,
    window: Duration,
    /// Legs that are granted or dialed, and have not ended.
    in_use: u32,
    /// Grants that are not dialed yet.
    granted: usize,
    /// Dialing times within the window.
    starts: VecDeque<Mono>,
}

impl Capacity {
    pub(super) fn new(trunk: &Trunk) -> Self {
        let mut this = Self {
            channels: None,
            starts_max: None,
            window: WINDOW,
            in_use: 0,
            granted: 0,
            starts: VecDeque::new(),
        };
        this.configure(trunk);
        this
    }

    pub(super) fn configure(&mut self, trunk: &Trunk) {
        self.channels = trunk
            .channels_max
            .map(|max| max.saturating_sub(trunk.channels_inbound));
        (self.starts_max, self.window) = match trunk.calls_per_s_max {
            None => (None, WINDOW),
            Some(max) if max >= 1.0 => (Some(max.min(1e9) as usize), WINDOW),
            Some(max) if max > 1.0 / WINDOW_MAX_SECS => (Some(1), Duration::from_secs_f64(1.0 / max)),
            Some(_) => (Some(0), WINDOW),
        };
    }

    /// Number of legs that may be granted now. `carrier`: the channels that the carrier seems to have.
    pub(super) fn room(&self, now: Mono, carrier: Option<u32>) -> u32 {
        let channels = self.channel_limit(carrier);
        let free = channels.map_or(u32::MAX, |max| max.saturating_sub(self.in_use));
        let starts = match self.starts_max {
            None => u32::MAX,
            Some(max) => {
                u32::try_from(max.saturating_sub(self.recent(now) + self.granted)).unwrap_or(u32::MAX)
            }
        };
        free.min(starts)
    }

    /// Why there is no room, and when there may be some. `None`: never. `pause`: when to look whether a channel is free.
    pub(super) fn no_room(&self, now: Mono, carrier: Option<u32>, pause: Duration) -> (NoRoom, Option<Mono>) {
        if let Some(of) = self.channel_limit(carrier).filter(|max| *max <= self.in_use) {
            let used = self.in_use;
            let retry = (of > 0 || carrier.is_some()).then(|| now + pause);
            return (NoRoom::Channels { used, of }, retry);
        }
        let max = self.starts_max.unwrap_or(usize::MAX);
        if max == 0 {
            return (NoRoom::CallsPerSecond, None);
        }
        // The grants are dialed soon, or they lapse.
        let recent = self.recent(now);
        let beyond = (recent + self.granted).saturating_sub(max);
        let oldest = self.starts.len().saturating_sub(recent);
        let opens = self
            .starts
            .get(oldest + beyond)
            .map_or(now + pause, |at| *at + self.window + AFTER);
        (NoRoom::CallsPerSecond, Some(opens.max(now + AFTER)))
    }

    fn channel_limit(&self, carrier: Option<u32>) -> Option<u32> {
        match (self.channels, carrier) {
            (Some(own), Some(carrier)) => Some(own.min(carrier)),
            (own, carrier) => own.or(carrier),
        }
    }

    /// Legs dialed within the window that ends now, both ends included.
    fn recent(&self, now: Mono) -> usize {
        let from = self
            .starts
            .partition_point(|at| now.0 > at.0.saturating_add(self.window));
        self.starts.len() - from
    }

    pub(super) fn granted(&mut self) {
        self.in_use = self.in_use.saturating_add(1);
        self.granted += 1;
    }

    /// A grant is dialed, or `was_granted` is false: the leg was dialed without a grant.
    pub(super) fn dialed(&mut self, now: Mono, was_granted: bool) {
        if was_granted {
            self.granted = self.granted.saturating_sub(1);
        } else {
            self.in_use = self.in_use.saturating_add(1);
        }
        while self
            .starts
            .front()
            .is_some_and(|at| now.0 > at.0.saturating_add(self.window))
        {
            self.starts.pop_front();
        }
        // Without a limit nobody counts them.
        if self.starts_max.is_some() {
            self.starts.push_back(now);
        }
    }

    /// A leg has ended, or its grant has lapsed.
    pub(super) fn freed(&mut self, was_dialed: bool) {
        self.in_use = self.in_use.saturating_sub(1);
        if !was_dialed {
            self.granted = self.granted.saturating_sub(1);
        }
    }

    pub(super) fn in_use(&self) -> u32 {
        self.in_use
    }

    /// Share of the channels in use. Without a limit, a hundred legs are half of them.
    pub(super) fn occupancy(&self) -> f64 {
        let used = f64::from(self.in_use);
        match self.channels {
            Some(max) => (used / f64::from(max.max(1))).min(1.0),
            None => used / (used + 100.0),
        }
    }
}
