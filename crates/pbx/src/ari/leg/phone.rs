//! State of an agent's phone as the PBX reports it: reachable or not, on hold or not, and the audio that passes.

use paceline_core::pbx::LegTrouble;
use std::time::{Duration, Instant};

/// The phone at the end of an agent's leg.
#[derive(Debug, Default)]
pub(in crate::ari) struct Phone {
    pub(in crate::ari) endpoint: Endpoint,
    pub(in crate::ari) audio: Audio,
    pub(in crate::ari) mixing: Mixing,
    /// The trouble in the last event about it.
    pub(in crate::ari) reported: Option<LegTrouble>,
}

impl Phone {
    /// The reason that the phone does not hear; the worst one, if there are several.
    pub(in crate::ari) fn trouble(&self) -> Option<LegTrouble> {
        match (&self.endpoint, &self.audio.flow) {
            (Endpoint::Offline(_), _) => Some(LegTrouble::Unreachable),
            (Endpoint::Unknown | Endpoint::Online(_), Flow::OnHold) => Some(LegTrouble::OnHold),
            (Endpoint::Unknown | Endpoint::Online(_), Flow::Counted { silent, .. })
                if *silent >= SILENT_COUNTS_MAX =>
            {
                Some(LegTrouble::NoAudio)
            }
            (Endpoint::Unknown | Endpoint::Online(_), Flow::Uncounted | Flow::Counted { .. }) => None,
        }
    }
}

/// The way of the audio through the agent's bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::ari) enum Mixing {
    /// Through the PBX's core, which reports the keys of the callee. Also the way if an earlier run has placed the leg.
    #[default]
    Core,
    /// From one RTP socket to the other if the PBX can do that. Then it passes a key on and raises no event. Measured on 22.10: it
    /// needs 0.28 % of a core for a conversation, and with [`Self::Core`] 0.42 %.
    Native,
}

impl Mixing {
    pub(in crate::ari) const fn with_keys(report_keys: bool) -> Self {
        if report_keys { Self::Core } else { Self::Native }
    }
}

/// The PBX's endpoint of a phone, as `PJSIP/desk-1`.
#[derive(Debug, Default)]
pub(in crate::ari) enum Endpoint {
    /// The phone is called through the dialplan.
    #[default]
    Unknown,
    Online(String),
    Offline(String),
}

impl Endpoint {
    pub(in crate::ari) fn name(&self) -> Option<&str> {
        match self {
            Self::Unknown => None,
            Self::Online(name) | Self::Offline(name) => Some(name),
        }
    }

    pub(in crate::ari) fn set(&mut self, offline: bool) {
        *self = match (std::mem::take(self), offline) {
            (Self::Unknown, _) => Self::Unknown,
            (Self::Online(name) | Self::Offline(name), true) => Self::Offline(name),
            (Self::Online(name) | Self::Offline(name), false) => Self::Online(name),
        };
    }
}

/// The audio that passes through an agent's leg.
#[derive(Debug, Default)]
pub(in crate::ari) struct Audio {
    /// Time of the next count.
    pub(in crate::ari) count_at: Option<Instant>,
    flow: Flow,
    /// Packets a second from the phone, in the last interval in which there were any.
    rate: f64,
    /// True if that rate was within 10 % of the rate in the interval before. A phone that sends only while the agent speaks is not
    /// steady.
    steady: bool,
    /// `steady` one interval earlier: the last interval with audio may have been cut short.
    was_steady: bool,
    /// True once [`Self::has_proved_steady`] has said so.
    proved: bool,
}

#[derive(Debug, Default)]
enum Flow {
    /// The phone may send nothing.
    OnHold,
    #[default]
    Uncounted,
    /// The last count.
    Counted {
        at: Instant,
        from_phone: u64,
        to_phone: u64,
        /// Counts in a row without a packet from a steady phone.
        silent: u8,
    },
}

/// After so many counts without a packet from a phone that had sent steadily, the phone is taken for dead.
const SILENT_COUNTS_MAX: u8 = 2;
/// More packets a second than one stream has: silence is sent between the packets of a speaker.
const TWO_STREAMS: f64 = 55.0;

/// The difference between two counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ari) struct Counted {
    /// The time of the first of the two.
    pub(in crate::ari) since: Instant,
    /// Nothing was sent to the phone.
    pub(in crate::ari) unheard: bool,
    /// More was sent than one stream has.
    pub(in crate::ari) doubled: bool,
}

impl Audio {
    /// Counts again after a gap. What the phone sent before still shows whether it is steady. `was_steady`: a former run found that.
    pub(in crate::ari) fn resume(&mut self, on_hold: bool, was_steady: bool) {
        self.hold(on_hold);
        self.count_at = None;
        self.was_steady |= self.steady || was_steady;
        self.steady = self.was_steady;
        self.proved |= was_steady;
    }

    /// True once, when the phone has sent audio steadily.
    pub(in crate::ari) fn has_proved_steady(&mut self) -> bool {
        let news = self.steady && !self.proved;
        self.proved |= news;
        news
    }

    pub(in crate::ari) fn is_on_hold(&self) -> bool {
        match self.flow {
            Flow::OnHold => true,
            Flow::Uncounted | Flow::Counted { .. } => false,
        }
    }

    /// Takes a count. `None` for the first one, and on hold.
    pub(in crate::ari) fn count(&mut self, now: Instant, from_phone: u64, to_phone: u64) -> Option<Counted> {
        let (since, from_before, to_before, silent) = match self.flow {
            Flow::OnHold => return None,
            Flow::Uncounted => {
                self.flow = Flow::Counted {
                    at: now,
                    from_phone,
                    to_phone,
                    silent: 0,
                };
                return None;
            }
            Flow::Counted {
                at,
                from_phone,
                to_phone,
                silent,
            } => (at, from_phone, to_phone, silent),
        };
        let seconds = now.duration_since(since).as_secs_f64().max(0.001);
        #[allow(clippy::cast_precision_loss, reason = "counts of packets of some hours")]
        let rate = |packets: u64, before: u64| packets.saturating_sub(before) as f64 / seconds;
        let (from, to) = (rate(from_phone, from_before), rate(to_phone, to_before));
        let silent = if from > 0.0 {
            self.was_steady = self.steady;
            self.steady = (from - self.rate).abs() <= from * 0.1;
            self.rate = from;
            0
        } else if self.steady || self.was_steady {
            silent.saturating_add(1)
        } else {
            silent
        };
        self.flow = Flow::Counted {
            at: now,
            from_phone,
            to_phone,
            silent,
        };
        Some(Counted {
            since,
            unheard: to_phone == to_before,
            doubled: to > TWO_STREAMS,
        })
    }

    /// Counts from now on. No packet has passed yet.
    pub(in crate::ari) fn begin(&mut self, now: Instant, every: Duration) {
        self.count_at = Some(now + every);
        if !self.is_on_hold() {
            self.flow = Flow::Counted {
                at: now,
                from_phone: 0,
                to_phone: 0,
                silent: 0,
            };
        }
    }

    /// The phone says that it is on hold, or that it is not any more.
    pub(in crate::ari) fn hold(&mut self, on: bool) {
        self.flow = if on { Flow::OnHold } else { Flow::Uncounted };
    }
}
