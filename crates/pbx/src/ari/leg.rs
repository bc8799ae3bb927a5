//! The state of one leg, and its end as raw facts. Pure.

use super::decode::Cause;
use crate::progress::ProgressSeen;
use paceline_core::pbx::{EndedBy, LegEnd};
use std::time::Instant;
use uuid::Uuid;

mod phone;

pub(super) use phone::{Endpoint, Mixing, Phone};

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

    pub(super) fn of(word: &str) -> Option<Self> {
        match word {
            "callee" => Some(Self::Callee),
            "agent" => Some(Self::Agent),
            _ => None,
        }
    }
}

/// The stage that a leg has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Placed, and not answered.
    Dialing,
    /// The PBX has said how the dialing ended. The leg enters our application or ends next, and its end is not our ring timeout.
    DialOver,
    /// The dialplan has answered, and no trunk has: perhaps an announcement is played.
    DialplanOnly,
    /// Answered. An agent's leg is on its way into its bridge.
    Answered,
    /// An agent's leg in its bridge.
    Held(Sent),
    /// An agent's leg that has come out of its bridge. The driver puts it back, and the leg takes no callee until then.
    OutOfBridge(Sent),
    /// An agent's leg whose phone has transferred the call. It ends when the phone hangs up.
    Transferred,
    /// An agent's leg that an operator has taken out of our application.
    Moved,
}

/// The audio that the PBX sends to the phone of a held agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// The agent is alone, and the PBX has sent nothing since then.
    Nothing { since: Instant },
    /// The audio of its callee, who is there since then.
    Callee { since: Instant },
    /// Silence. It must stop when a callee speaks, or the phone gets both streams.
    Silence,
}

/// The other party of a leg.
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

/// The state of the trunk's answer to a leg that goes through the dialplan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trunk {
    /// No trunk has answered. The PBX enforces our ring timeout only until the dialplan answers. After that the driver does, if
    /// it knows the timeout.
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

/// The trunks behind a leg that goes through the dialplan.
#[derive(Debug, Default)]
pub(super) struct Behind {
    pub(super) trunk: Trunk,
    /// Trunks, or phones, that are being dialed now.
    pub(super) dialing: usize,
    /// The newest cause that a trunk's channel gave.
    pub(super) cause: Cause,
    /// The cause of the trunk that refused last. A new dial clears it.
    pub(super) failed: Option<Cause>,
}

impl Behind {
    /// The cause of the last refusal. `None`: a trunk is being dialed, or none has refused.
    fn refusal(&self) -> Option<Cause> {
        self.failed.filter(|_| self.dialing == 0)
    }
}

/// The state of a leg's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EndState {
    /// Nothing is known of an end.
    Open,
    /// We have asked the PBX to hang it up, or do so when the link is up again.
    HangUpRequested,
    /// The leg has ended, with this end if the PBX takes new calls. The driver waits for that answer.
    Unexplained(LegEnd),
}

#[derive(Debug)]
pub(super) struct Leg {
    pub(super) side: Side,
    pub(super) stage: Stage,
    pub(super) progress: ProgressSeen,
    pub(super) end_state: EndState,
    /// `None` if the PBX dials the trunk or phone without its dialplan.
    pub(super) behind: Option<Box<Behind>>,
    pub(super) with: With,
    /// Of an agent's leg only.
    pub(super) phone: Phone,
}

impl Leg {
    pub(super) fn new(side: Side, through_dialplan: bool) -> Self {
        Self {
            side,
            stage: Stage::Dialing,
            progress: ProgressSeen::default(),
            end_state: EndState::Open,
            behind: through_dialplan.then(Box::default),
            with: With::Nobody,
            phone: Phone::default(),
        }
    }

    pub(super) fn answered(&self) -> bool {
        match self.stage {
            Stage::Dialing | Stage::DialOver | Stage::DialplanOnly => false,
            Stage::Answered | Stage::Held(_) | Stage::OutOfBridge(_) | Stage::Transferred | Stage::Moved => {
                true
            }
        }
    }

    pub(super) fn is_held(&self) -> bool {
        self.sent_while_held().is_some()
    }

    /// `None` unless it is an agent's leg in its bridge.
    pub(super) fn sent_while_held(&self) -> Option<Sent> {
        match self.stage {
            Stage::Held(sent) => Some(sent),
            Stage::Dialing
            | Stage::DialOver
            | Stage::DialplanOnly
            | Stage::Answered
            | Stage::OutOfBridge(_)
            | Stage::Transferred
            | Stage::Moved => None,
        }
    }

    /// The audio for an agent whose leg comes into its bridge now.
    pub(super) fn sent_from(&self, now: Instant) -> Sent {
        match self.with {
            With::Nobody => Sent::Nothing { since: now },
            With::Leg(_) | With::Others(_) => Sent::Callee { since: now },
        }
    }

    /// The agent has no callee any more. Silence goes on.
    pub(super) fn callee_is_gone(&mut self, now: Instant) {
        self.with = With::Nobody;
        if let Stage::Held(sent) | Stage::OutOfBridge(sent) = &mut self.stage
            && *sent != Sent::Silence
        {
            *sent = Sent::Nothing { since: now };
        }
    }

    pub(super) fn request_hang_up(&mut self) {
        if self.end_state == EndState::Open {
            self.end_state = EndState::HangUpRequested;
        }
    }

    pub(super) fn end(&self, cause: Cause) -> LegEnd {
        // A cause of its own means that the far end was faster than our hang-up.
        let dialing = self.stage == Stage::Dialing;
        let ours = self.end_state == EndState::HangUpRequested
            && (self.answered() || dialing || matches!(cause.q850, None | Some(16)));
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
            progressed: self.progress.is_any(),
            answered: self.answered(),
            detail: String::new(),
        }
    }
}

/// The stage of a leg that was found on the PBX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FoundStage {
    Dialing,
    DialplanOnly,
    Answered,
    /// An agent's leg in its bridge.
    Held,
}

/// A channel of ours found on the PBX after a gap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) side: Side,
    pub(super) stage: FoundStage,
    pub(super) progress: ProgressSeen,
    pub(super) through_dialplan: bool,
    /// It is in our application, so no operator has moved it.
    pub(super) in_app: bool,
    /// The agent whose bridge it is in.
    pub(super) bridge: Option<Uuid>,
    /// A party that is no leg of ours is in that bridge, or has it outside our application.
    pub(super) with_others: bool,
}

/// The endpoint of a channel, from the channel's name: `PJSIP/desk-1` of `PJSIP/desk-1-0000002a`.
pub(super) fn endpoint_of(name: &str) -> Option<&str> {
    name.strip_prefix("PJSIP/")?;
    Some(name.rsplit_once('-')?.0)
}
