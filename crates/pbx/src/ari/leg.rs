//! One leg: what is known of it, and what its end means as raw facts. Pure.

use super::decode::Cause;
use paceline_core::pbx::{EndedBy, LegEnd, LegTrouble};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Whose leg it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Callee,
    Agent,
}

impl Side {
    /// As written into the leg when it is placed.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Callee => "callee",
            Self::Agent => "agent",
        }
    }

    pub(super) fn of(word: &str) -> Option<Self> {
        match word {
            "callee" => Some(Self::Callee),
            "agent" => Some(Self::Agent),
            _ => None,
        }
    }
}

/// How far a leg is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Placed; nobody answered.
    Dialing,
    /// The PBX said how the dialing came out: the leg enters our application or ends, and its end is not our ring timeout.
    DialOver,
    /// The dialplan answered, and no trunk did: an announcement, perhaps.
    DialplanOnly,
    /// Answered. An agent's leg is outside its bridge: on its way into it, or it has come out.
    Answered,
    /// An agent's leg in its bridge.
    Held,
    /// An agent's leg that somebody has taken out of our application.
    Moved,
}

/// Whom somebody on a leg can talk with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum With {
    Nobody,
    /// A callee's agent, an agent's callee.
    Leg(Uuid),
    /// A callee's transfer target: in the bridge of this agent's leg, or outside our application.
    Others(Option<Uuid>),
}

impl With {
    /// Of a callee, the agent whose bridge it is in.
    pub(super) const fn bridge(self) -> Option<Uuid> {
        match self {
            Self::Leg(agent) => Some(agent),
            Self::Others(bridge) => bridge,
            Self::Nobody => None,
        }
    }

    /// Of a callee whose agent has transferred it: it stays in the bridge.
    pub(super) const fn transferred(self) -> Self {
        Self::Others(self.bridge())
    }
}

/// Whether a trunk has answered a leg that goes through the dialplan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trunk {
    /// No. The PBX keeps our ring timeout only until the dialplan answers; from then on we do, where it is known.
    Awaited {
        ring_until: Option<Instant>,
    },
    /// Our ring timeout is over.
    GivenUp,
    Answered,
}

impl Default for Trunk {
    fn default() -> Self {
        Self::Awaited { ring_until: None }
    }
}

/// What is known of the trunk behind a leg that goes through the dialplan.
#[derive(Debug, Default)]
pub(super) struct Behind {
    pub(super) trunk: Trunk,
    /// Trunks, or phones, that are being dialed now.
    pub(super) dialing: usize,
    /// The newest cause that a trunk's channel gave.
    pub(super) cause: Cause,
    /// What the last one said that refused.
    pub(super) failed: Option<Cause>,
}

impl Behind {
    /// What was said by the last one that refused, if nobody is being dialed any more.
    fn refusal(&self) -> Option<Cause> {
        self.failed.filter(|_| self.dialing == 0)
    }
}

#[derive(Debug)]
pub(super) struct Leg {
    pub(super) side: Side,
    pub(super) stage: Stage,
    pub(super) rang: bool,
    pub(super) early_media: bool,
    pub(super) hang_up_asked: bool,
    pub(super) behind: Option<Box<Behind>>,
    pub(super) with: With,
    /// What an agent alone in its bridge is sent.
    pub(super) quiet: Quiet,
    /// It has ended so, if the PBX takes new calls: that is being asked.
    pub(super) ending: Option<LegEnd>,
    /// An agent's phone.
    pub(super) phone: Phone,
}

/// What is known of the phone at the end of an agent's leg.
#[derive(Debug, Default)]
pub(super) struct Phone {
    /// The PBX's endpoint: `PJSIP/desk-1`.
    pub(super) endpoint: Option<String>,
    pub(super) on_hold: bool,
    pub(super) offline: bool,
    pub(super) audio: Audio,
    /// Since when it has its callee.
    pub(super) callee_at: Option<Instant>,
    /// The trouble that was last said.
    pub(super) told: Option<LegTrouble>,
}

/// How much audio passes through an agent's leg.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Audio {
    /// When to count again.
    pub(super) count_at: Option<Instant>,
    /// The last count: when, from the phone, to the phone.
    pub(super) last: Option<(Instant, u64, u64)>,
    /// What came from the phone in the last interval in which anything did, packets a second, and whether the one before was
    /// alike: phones that send only while somebody speaks are not steady.
    rate: f64,
    steady: bool,
    /// As `steady`, one interval earlier: the last one with audio may have been cut short.
    was_steady: bool,
    /// Counts in a row without a packet from a steady phone.
    silent: u8,
}

/// Counts without a packet before a phone that had sent steadily is taken for dead.
const SILENT_COUNTS_MAX: u8 = 2;
/// More than one stream's packets a second: silence is sent into speech.
const TWO_STREAMS: f64 = 55.0;

/// What a count showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    /// Since when it was counted.
    pub(super) since: Instant,
    /// Nothing was sent to the phone.
    pub(super) unheard: bool,
    /// More was sent than one stream has.
    pub(super) doubled: bool,
}

impl Audio {
    /// Takes a count. Nothing is said of the first.
    pub(super) fn count(&mut self, now: Instant, from_phone: u64, to_phone: u64) -> Option<Counted> {
        let (then, from_before, to_before) = self.last.replace((now, from_phone, to_phone))?;
        let seconds = now.duration_since(then).as_secs_f64().max(0.001);
        #[allow(clippy::cast_precision_loss, reason = "counts of packets of some hours")]
        let rate = |packets: u64, before: u64| packets.saturating_sub(before) as f64 / seconds;
        let (from, to) = (rate(from_phone, from_before), rate(to_phone, to_before));
        if from > 0.0 {
            self.was_steady = self.steady;
            self.steady = (from - self.rate).abs() <= from * 0.1;
            self.rate = from;
            self.silent = 0;
        } else if self.steady || self.was_steady {
            self.silent = self.silent.saturating_add(1);
        }
        Some(Counted {
            since: then,
            unheard: to_phone == to_before,
            doubled: to > TWO_STREAMS,
        })
    }

    /// Counts from now on, when nothing had passed.
    pub(super) fn begin(&mut self, now: Instant, every: Duration) {
        self.count_at = Some(now + every);
        self.last = Some((now, 0, 0));
    }

    /// A phone on hold may send nothing.
    pub(super) fn forget_silence(&mut self) {
        self.silent = 0;
        self.last = None;
    }

    pub(super) fn is_dead(&self) -> bool {
        self.silent >= SILENT_COUNTS_MAX
    }
}

impl Phone {
    pub(super) fn trouble(&self) -> Option<LegTrouble> {
        if self.offline {
            Some(LegTrouble::Unreachable)
        } else if self.on_hold {
            Some(LegTrouble::OnHold)
        } else if self.audio.is_dead() {
            Some(LegTrouble::NoAudio)
        } else {
            None
        }
    }
}

/// What an agent is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quiet {
    /// What a callee says; or this is no held agent.
    No,
    /// Nothing, since then.
    Nothing(Instant),
    /// Silence. It must stop when a callee comes, or both are mixed up.
    Silence,
}

impl Leg {
    pub(super) fn new(side: Side, through_dialplan: bool) -> Self {
        Self {
            side,
            stage: Stage::Dialing,
            rang: false,
            early_media: false,
            hang_up_asked: false,
            behind: through_dialplan.then(Box::default),
            with: With::Nobody,
            quiet: Quiet::No,
            ending: None,
            phone: Phone::default(),
        }
    }

    pub(super) fn answered(&self) -> bool {
        match self.stage {
            Stage::Dialing | Stage::DialOver | Stage::DialplanOnly => false,
            Stage::Answered | Stage::Held | Stage::Moved => true,
        }
    }

    pub(super) fn end(&self, cause: Cause) -> LegEnd {
        // A cause of its own means that the far end was faster than our hang-up.
        let dialing = self.stage == Stage::Dialing;
        let ours =
            self.hang_up_asked && (self.answered() || dialing || matches!(cause.q850, None | Some(16)));
        let refusal = self.behind.as_ref().and_then(|behind| behind.refusal());
        let gave_up = self
            .behind
            .as_ref()
            .is_some_and(|behind| behind.trunk == Trunk::GivenUp);
        let (by, cause) = match refusal {
            Some(trunk) if !self.answered() => (EndedBy::Network, trunk),
            _ if gave_up && !self.answered() => (EndedBy::RingTimeout, cause),
            _ if ours => (EndedBy::Us, cause),
            _ if !dialing => (EndedBy::Network, cause),
            _ => (EndedBy::RingTimeout, cause),
        };
        LegEnd {
            by,
            q850: cause.q850,
            sip: cause.sip,
            progressed: self.rang || self.early_media,
            answered: self.answered(),
            detail: String::new(),
        }
    }
}

/// A channel of ours found on the PBX after a gap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) side: Side,
    pub(super) stage: Stage,
    pub(super) rang: bool,
    pub(super) through_dialplan: bool,
    /// In our application: nobody else took it.
    pub(super) in_app: bool,
    /// The agent's bridge that it is in.
    pub(super) bridge: Option<Uuid>,
    /// Somebody who is no leg of ours is in that bridge, or has it outside our application.
    pub(super) with_others: bool,
}

/// What kind of endpoint a channel of this name is on: `PJSIP/desk-1` of `PJSIP/desk-1-0000002a`.
pub(super) fn endpoint_of(name: &str) -> Option<&str> {
    name.strip_prefix("PJSIP/")?;
    Some(name.rsplit_once('-')?.0)
}
