//! One leg: what is known of it, and what its end means as raw facts. Pure.

use super::audio::Audio;
use super::esl_event::Facts;
use paceline_core::mask::mask_numbers;
use paceline_core::pbx::{Departure, EndedBy, LegEnd, LegTrouble};
use std::time::Instant;
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

    pub(super) fn of(word: &[u8]) -> Option<Self> {
        match word {
            b"callee" => Some(Self::Callee),
            b"agent" => Some(Self::Agent),
            _ => None,
        }
    }
}

/// How far a leg is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// To be placed, or the PBX has not made a channel of it yet.
    Asked,
    /// There is a channel; nobody answered.
    Dialing,
    /// Answered; the PBX has not parked it yet, and would take it amiss to be joined.
    Answered,
    /// Parked, or was: it can be joined.
    Held,
}

/// Who it is joined with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Join {
    /// Nobody.
    Alone,
    /// Wanted, as soon as both are parked.
    Wanted { with: Uuid },
    /// Asked for; the PBX must say that they talk before then.
    Asked { with: Uuid, until: Instant },
    /// They talk.
    Talking { with: Uuid },
    /// A callee whose conversation with that agent is over, and nothing is known yet of where it went.
    Parted { from: Uuid },
    /// A callee who is with somebody that is none of our agents, or on the way there; whether nobody was there when last asked.
    Elsewhere { missed: bool },
}

impl Join {
    pub(super) const fn with(self) -> Option<Uuid> {
        match self {
            Self::Alone | Self::Parted { .. } | Self::Elsewhere { .. } => None,
            Self::Wanted { with } | Self::Asked { with, .. } | Self::Talking { with } => Some(with),
        }
    }
}

/// The message to a callee whom no agent took in time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Message {
    /// None, or it is over.
    #[default]
    No,
    /// Whether its file is there was asked.
    Looking { path: String },
    /// Its file is there; the leg is not parked yet, and would not take it.
    Soon { path: String },
    /// Asked for.
    Playing,
}

/// The far half of a leg's loopback, which the PBX may have no room for though it had for the leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FarHalf {
    /// There is none, or nobody watched.
    Unknown,
    /// To come with the leg. Without room for it the leg stays alone until its ring timeout.
    Awaited,
    Seen,
    /// It found no room for the trunk's channel.
    Full,
}

#[derive(Debug)]
pub(super) struct Leg {
    pub(super) side: Side,
    pub(super) far_half: FarHalf,
    pub(super) stage: Stage,
    pub(super) rang: bool,
    pub(super) early_media: bool,
    pub(super) hang_up_asked: bool,
    /// Whether it waits in `park` now.
    pub(super) parked: bool,
    pub(super) message: Message,
    pub(super) join: Join,
    /// Whether its phone has asked for a transfer.
    pub(super) transfers: bool,
    /// Until then, a callee that is not parked any more has not been moved: a join of ours may have begun and come to nothing.
    pub(super) settles_until: Option<Instant>,
    /// Whether it was said that its agent has left it: it takes no callee until it ends.
    pub(super) left: bool,
    pub(super) on_hold: bool,
    pub(super) audio: Audio,
    /// What was last said of its phone.
    pub(super) trouble_told: Option<LegTrouble>,
}

/// What the PBX says where it, and nobody else, has no room or no time for a leg, or is told to take none.
pub(super) const NO_ROOM: &str = "DESTINATION_OUT_OF_ORDER";
/// What FreeSWITCH calls the end of every leg when it stops.
const STOPPED: &str = "SYSTEM_SHUTDOWN";
/// Why a leg ends whose conversation another phone took.
const PICKED_UP: &str = "PICKED_OFF";
/// What it says where the trunk's gateway does not answer its pings.
const GATEWAY_DOWN: &str = "GATEWAY_DOWN";
/// Why it ends a leg from which no audio comes any more.
const MEDIA_TIMEOUT: &str = "MEDIA_TIMEOUT";
/// What it says besides `NO_ANSWER` where nobody answered in time, whether the far end rang or not. The first: it did not run for
/// more than a second at the limit, so that it finds the limit exceeded instead of reached. Both: limits of a directory's dial string.
const PROGRESS_TIMEOUT: &str = "PROGRESS_TIMEOUT";
const ALLOTTED_TIMEOUT: &str = "ALLOTTED_TIMEOUT";

/// The Q.850 number of a word that the PBX says only after a far end, or the wait for one: there was a channel, and its
/// own events are late, or were lost with a link.
pub(super) fn far_ends_cause(words: &str) -> Option<u16> {
    Some(match words {
        "UNALLOCATED_NUMBER" => 1,
        "USER_BUSY" => 17,
        "NO_USER_RESPONSE" => 18,
        "NO_ANSWER" | PROGRESS_TIMEOUT | ALLOTTED_TIMEOUT => 19,
        "CALL_REJECTED" => 21,
        "NUMBER_CHANGED" => 22,
        "INVALID_NUMBER_FORMAT" => 28,
        "NETWORK_OUT_OF_ORDER" => 38,
        "NORMAL_TEMPORARY_FAILURE" => 41,
        "RECOVERY_ON_TIMER_EXPIRE" => 102,
        _ => return None,
    })
}

impl Leg {
    pub(super) fn new(side: Side) -> Self {
        Self {
            side,
            far_half: FarHalf::Unknown,
            stage: Stage::Asked,
            rang: false,
            early_media: false,
            hang_up_asked: false,
            parked: false,
            message: Message::No,
            join: Join::Alone,
            transfers: false,
            settles_until: None,
            left: false,
            on_hold: false,
            audio: Audio::default(),
            trouble_told: None,
        }
    }

    /// Why its phone does not listen.
    pub(super) fn trouble(&self, now: Instant) -> Option<LegTrouble> {
        match (self.on_hold, self.audio.is_gone(now)) {
            (true, _) => Some(LegTrouble::OnHold),
            (false, true) => Some(LegTrouble::NoAudio),
            (false, false) => None,
        }
    }

    /// How an agent's leg that ends left its callee, if not by hanging up: another phone took the call, be it up or still ringing,
    /// or its own transferred it, and hung up before it was parked.
    pub(super) fn departure(&self, facts: &Facts) -> Option<Departure> {
        let rang = self.rang && !self.answered() && !facts.answered;
        let picked_up = facts.cause == PICKED_UP || (rang && facts.cause == NO_ROOM);
        match self.side {
            Side::Agent if picked_up && !self.hang_up_asked => Some(Departure::PickedUp),
            Side::Agent if facts.transfers && matches!(self.join, Join::Talking { .. }) => {
                Some(Departure::Transferred)
            }
            Side::Agent | Side::Callee => None,
        }
    }

    pub(super) fn answered(&self) -> bool {
        self.stage >= Stage::Answered
    }

    /// The end as the channel's last event tells it.
    pub(super) fn end(&self, facts: &Facts) -> LegEnd {
        let answered = self.answered() || facts.answered;
        let progressed = facts.progressed || self.rang || self.early_media;
        let no_room = match self.far_half {
            FarHalf::Full => facts.cause == NO_ROOM,
            FarHalf::Awaited => facts.q850 == Some(19),
            FarHalf::Unknown | FarHalf::Seen => false,
        };
        let q850 = match facts.cause.as_str() {
            // The PBX says 16 besides these, as if somebody had hung up (measured on 1.11).
            MEDIA_TIMEOUT => Some(44),
            PROGRESS_TIMEOUT | ALLOTTED_TIMEOUT if !answered => Some(19),
            _ => facts.q850,
        };
        // The PBX that stops ends one leg after the other, so that we may have asked for the end of a callee whose agent went first.
        // A refusal of the far end's means that it was faster than our hang-up.
        let by = if facts.cause == STOPPED {
            EndedBy::Stopped
        } else if self.hang_up_asked && (answered || facts.sip.is_none()) {
            EndedBy::Us
        } else if no_room && !answered && !progressed {
            EndedBy::NoRoom
        } else if !answered && facts.sip.is_none() && q850 == Some(19) {
            EndedBy::RingTimeout
        } else {
            EndedBy::Network
        };
        LegEnd {
            by,
            q850,
            sip: facts.sip,
            progressed,
            answered,
            detail: mask_numbers(&facts.cause).into_owned(),
        }
    }

    /// The end of a leg that never became a channel, with the PBX's word for why.
    pub(super) fn never_placed(&self, words: &str) -> LegEnd {
        let (by, q850) = match words {
            "NO_ANSWER" | PROGRESS_TIMEOUT | ALLOTTED_TIMEOUT => (EndedBy::RingTimeout, Some(19)),
            _ if far_ends_cause(words).is_some() => (EndedBy::Network, far_ends_cause(words)),
            _ if self.hang_up_asked => (EndedBy::Us, None),
            NO_ROOM => (EndedBy::NoRoom, None),
            STOPPED => (EndedBy::Stopped, None),
            GATEWAY_DOWN => (EndedBy::Network, Some(38)),
            _ => (EndedBy::Refused, None),
        };
        LegEnd {
            by,
            q850,
            // The PBX repeats what it could not dial.
            detail: mask_numbers(words).into_owned(),
            ..LegEnd::default()
        }
    }

    /// The end of a leg that was missing when the link came back.
    pub(super) fn vanished(&self) -> LegEnd {
        LegEnd {
            by: EndedBy::Vanished,
            progressed: self.rang || self.early_media,
            answered: self.answered(),
            ..LegEnd::default()
        }
    }
}

/// A channel of ours found on the PBX after a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) side: Side,
    pub(super) stage: Stage,
    pub(super) rang: bool,
    pub(super) early_media: bool,
    /// Whom it talks with.
    pub(super) with: Option<Uuid>,
    /// Whether it is with somebody who is no leg of ours, or in the PBX's dialplan.
    pub(super) elsewhere: bool,
    pub(super) on_hold: bool,
    /// The recording that it was last told to make.
    pub(super) recording: Option<String>,
}

impl Found {
    /// Why its phone does not listen, as far as can be seen at once.
    pub(super) fn trouble(&self) -> Option<LegTrouble> {
        (self.side == Side::Agent && self.on_hold).then_some(LegTrouble::OnHold)
    }
}
