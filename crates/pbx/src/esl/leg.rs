//! The state of one leg, and its end as raw facts. Pure.

use super::audio::Audio;
use super::esl_event::Facts;
use crate::progress::ProgressSeen;
use paceline_core::mask::mask_numbers;
use paceline_core::pbx::{Departure, EndedBy, LegEnd, LegTrouble};
use std::time::Instant;
use uuid::Uuid;

/// The side of the call that the leg belongs to.
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

/// The stage that a leg has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The PBX has no channel for it yet.
    Asked,
    /// It has a channel, and is not answered.
    Dialing,
    /// Answered. The PBX has not parked it yet, and cannot join it before that.
    Answered,
    /// It has been parked since its answer, so it can be joined.
    Held(Place),
}

/// The place of a held leg on the PBX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In `park`. Until `settles_until`, a join of ours that failed may still take it out of `park` and bring it back.
    Parked { settles_until: Option<Instant> },
    /// A join of ours has failed. The PBX parks the leg again, or it was parked all the time.
    Settling { until: Instant },
    /// Not in `park`: in a conversation, or moved by another.
    Away,
}

/// The party that a leg is joined with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Join {
    Alone,
    /// To be joined as soon as both are parked.
    Wanted {
        with: Uuid,
    },
    /// The PBX was asked to join them, and must confirm it before `until`.
    Asked {
        with: Uuid,
        until: Instant,
    },
    /// The two talk.
    Talking {
        with: Uuid,
    },
    /// The conversation of this callee with that agent is over. The PBX has not told yet where the callee went.
    Parted {
        from: Uuid,
    },
    /// This callee is with a party that is none of our agents, or on its way there. `missed`: the last look found no other party.
    Elsewhere {
        missed: bool,
    },
}

impl Join {
    pub(super) const fn with(self) -> Option<Uuid> {
        match self {
            Self::Alone | Self::Parted { .. } | Self::Elsewhere { .. } => None,
            Self::Wanted { with } | Self::Asked { with, .. } | Self::Talking { with } => Some(with),
        }
    }
}

/// The message to an abandoned callee.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Message {
    /// There is none, or it is over.
    #[default]
    No,
    /// The PBX was asked whether the file exists.
    Looking { path: String },
    /// The file exists. The leg must be parked before the PBX can play to it.
    Soon { path: String },
    /// The PBX was asked to play it.
    Playing,
}

/// The far half of a leg's loopback. The PBX may have room for the leg and none for its far half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FarHalf {
    /// There is none, or it came while the link was down.
    Unknown,
    /// It comes with the leg. Without room for it the leg stays alone until its ring timeout.
    Awaited,
    Seen,
    /// The PBX had no room for the trunk's channel.
    Full,
}

/// The state of a leg's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndState {
    Open,
    /// We have asked the PBX to hang it up, or do so as soon as its channel appears.
    HangUpRequested,
}

/// The agent's ability to take callees over its leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Presence {
    #[default]
    Present,
    /// The phone has asked for a transfer.
    Transferring,
    /// The agent has left its callee, and the engine knows. The leg takes no callee until it ends.
    Left,
}

/// The phone at the end of an agent's leg.
#[derive(Debug, Default)]
pub(super) struct Phone {
    pub(super) presence: Presence,
    pub(super) audio: Audio,
    /// The trouble in the last event about it.
    pub(super) reported: Option<LegTrouble>,
}

#[derive(Debug)]
pub(super) struct Leg {
    pub(super) side: Side,
    pub(super) far_half: FarHalf,
    pub(super) stage: Stage,
    pub(super) progress: ProgressSeen,
    pub(super) end_state: EndState,
    /// Of a callee's leg only.
    pub(super) message: Message,
    pub(super) join: Join,
    /// Of an agent's leg only.
    pub(super) phone: Phone,
}

/// The cause if the PBX has no room or no time for a leg, or was told to take none. A far end can give the same cause.
pub(super) const NO_ROOM: &str = "DESTINATION_OUT_OF_ORDER";
/// FreeSWITCH's cause for the end of every leg when it stops.
const STOPPED: &str = "SYSTEM_SHUTDOWN";
/// The cause if another phone took the leg's conversation.
const PICKED_UP: &str = "PICKED_OFF";
/// The cause if the trunk's gateway does not answer the PBX's pings.
const GATEWAY_DOWN: &str = "GATEWAY_DOWN";
/// The cause if the PBX ends a leg from which no audio comes any more.
const MEDIA_TIMEOUT: &str = "MEDIA_TIMEOUT";
/// Causes besides `NO_ANSWER` if nobody answered in time, whether the far end rang or not. The first: the PBX did not run for more
/// than a second at the limit, so it finds the limit exceeded instead of reached. Limits in a directory's dial string cause both.
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
            progress: ProgressSeen::default(),
            end_state: EndState::Open,
            message: Message::No,
            join: Join::Alone,
            phone: Phone::default(),
        }
    }

    pub(super) fn is_parked(&self) -> bool {
        match self.stage {
            Stage::Held(Place::Parked { .. }) => true,
            Stage::Held(Place::Settling { .. } | Place::Away)
            | Stage::Asked
            | Stage::Dialing
            | Stage::Answered => false,
        }
    }

    pub(super) fn is_held(&self) -> bool {
        match self.stage {
            Stage::Held(_) => true,
            Stage::Asked | Stage::Dialing | Stage::Answered => false,
        }
    }

    /// The PBX has parked it. It has been answered. Returns whether that is the first time.
    pub(super) fn park(&mut self) -> bool {
        let settles_until = match self.stage {
            Stage::Held(Place::Parked { settles_until }) => settles_until,
            Stage::Held(Place::Settling { until }) => Some(until),
            Stage::Held(Place::Away) | Stage::Asked | Stage::Dialing | Stage::Answered => None,
        };
        let is_first = !self.is_held();
        self.stage = Stage::Held(Place::Parked { settles_until });
        is_first
    }

    /// If it is held, it is not in `park` any more.
    pub(super) fn unpark(&mut self) {
        if self.is_held() {
            self.stage = Stage::Held(Place::Away);
        }
    }

    /// Takes over what was found after a gap.
    pub(super) fn adopt(&mut self, found: &Found) {
        self.progress = self.progress.and(found.progress);
        self.stage = match (self.stage, found.stage) {
            (_, FoundStage::Held) if found.with.is_none() && !found.elsewhere => {
                Stage::Held(Place::Parked { settles_until: None })
            }
            (_, FoundStage::Held) | (Stage::Held(_), _) => Stage::Held(Place::Away),
            (_, FoundStage::Answered) | (Stage::Answered, FoundStage::Dialing) => Stage::Answered,
            (Stage::Asked | Stage::Dialing, FoundStage::Dialing) => Stage::Dialing,
        };
    }

    pub(super) fn request_hang_up(&mut self) {
        self.end_state = EndState::HangUpRequested;
    }

    pub(super) fn is_hang_up_requested(&self) -> bool {
        self.end_state == EndState::HangUpRequested
    }

    /// The reason that its phone does not hear.
    pub(super) fn trouble(&self, now: Instant) -> Option<LegTrouble> {
        if self.phone.audio.is_on_hold() {
            Some(LegTrouble::OnHold)
        } else {
            self.phone.audio.is_gone(now).then_some(LegTrouble::NoAudio)
        }
    }

    /// The way in which the agent of a leg that ends left its callee. `None`: it hung up. Else another phone picked the call up,
    /// answered or ringing; or the agent's phone transferred it and hung up before the PBX parked the leg.
    pub(super) fn departure(&self, facts: &Facts) -> Option<Departure> {
        let rang = self.progress.rang() && !self.answered() && !facts.answered;
        let picked_up = facts.cause == PICKED_UP || (rang && facts.cause == NO_ROOM);
        match self.side {
            Side::Agent if picked_up && !self.is_hang_up_requested() => Some(Departure::PickedUp),
            Side::Agent if facts.transfers && matches!(self.join, Join::Talking { .. }) => {
                Some(Departure::Transferred)
            }
            Side::Agent | Side::Callee => None,
        }
    }

    pub(super) fn answered(&self) -> bool {
        match self.stage {
            Stage::Answered | Stage::Held(_) => true,
            Stage::Asked | Stage::Dialing => false,
        }
    }

    /// The end as the channel's last event tells it.
    pub(super) fn end(&self, facts: &Facts) -> LegEnd {
        let answered = self.answered() || facts.answered;
        let progressed = facts.progressed || self.progress.is_any();
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
        } else if self.is_hang_up_requested() && (answered || facts.sip.is_none()) {
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
            _ if self.is_hang_up_requested() => (EndedBy::Us, None),
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
            progressed: self.progress.is_any(),
            answered: self.answered(),
            ..LegEnd::default()
        }
    }
}

/// The stage of a leg that was found on the PBX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FoundStage {
    Dialing,
    /// Answered, and not parked yet.
    Answered,
    Held,
}

/// A channel of ours found on the PBX after a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) side: Side,
    pub(super) stage: FoundStage,
    pub(super) progress: ProgressSeen,
    /// The leg that it talks with.
    pub(super) with: Option<Uuid>,
    /// It is with a party that is no leg of ours, or in the PBX's dialplan.
    pub(super) elsewhere: bool,
    pub(super) on_hold: bool,
    /// The recording that it was last told to make, unless its end was reported.
    pub(super) recording: Option<String>,
}

impl Found {
    /// The reason that its phone does not hear, as far as one look can tell.
    pub(super) fn trouble(&self) -> Option<LegTrouble> {
        (self.side == Side::Agent && self.on_hold).then_some(LegTrouble::OnHold)
    }
}
