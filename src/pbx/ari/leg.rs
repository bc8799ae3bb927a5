//! One leg: what is known of it, and what its end means as raw facts. Pure.

use super::decode::Cause;
use paceline_core::pbx::{EndedBy, LegEnd};
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
    /// The dialplan answered, and no trunk did: an announcement, perhaps.
    DialplanOnly,
    /// Answered. An agent's leg is being put into its bridge.
    Answered,
    /// An agent's leg in its bridge.
    Held,
}

/// What is known of the trunk behind a leg that goes through the dialplan.
#[derive(Debug, Default)]
pub(super) struct Behind {
    pub(super) answered: bool,
    /// Trunks, or phones, that are being dialed now.
    pub(super) dialing: usize,
    /// The newest cause that a trunk's channel gave.
    pub(super) cause: Cause,
    /// What the last one said that refused.
    pub(super) failed: Option<Cause>,
    /// The switch keeps our ring timeout only until the dialplan answers; from then on we do.
    pub(super) ring_until: Option<Instant>,
    /// We did.
    pub(super) gave_up: bool,
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
    /// The switch said how the dialing came out, so that its own end is not our ring timeout.
    pub(super) dial_over: bool,
    pub(super) hang_up_asked: bool,
    pub(super) behind: Option<Box<Behind>>,
    /// A callee's agent, an agent's callee, while they are connected.
    pub(super) with: Option<Uuid>,
    /// What an agent alone in its bridge is sent.
    pub(super) quiet: Quiet,
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
            dial_over: false,
            hang_up_asked: false,
            behind: through_dialplan.then(Box::default),
            with: None,
            quiet: Quiet::No,
        }
    }

    pub(super) fn answered(&self) -> bool {
        matches!(self.stage, Stage::Answered | Stage::Held)
    }

    pub(super) fn end(&self, cause: Cause) -> LegEnd {
        // A cause of its own means that the far end was faster than our hang-up.
        let ours = self.hang_up_asked
            && (self.answered() || !self.dial_over || matches!(cause.q850, None | Some(16)));
        let refusal = self.behind.as_ref().and_then(|behind| behind.refusal());
        let gave_up = self.behind.as_ref().is_some_and(|behind| behind.gave_up);
        let (by, cause) = match refusal {
            Some(trunk) if !self.answered() => (EndedBy::Network, trunk),
            _ if gave_up && !self.answered() => (EndedBy::RingTimeout, cause),
            _ if ours => (EndedBy::Us, cause),
            _ if self.dial_over || self.answered() => (EndedBy::Network, cause),
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

/// A channel of ours found on the switch after a gap.
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
}
