//! What the state machines want done: commands for the PBX, events for everybody else. Plain data.

use paceline_core::ids::{AgentLegId, LegId};
use paceline_core::pbx::PbxEvent;
use std::collections::VecDeque;
use uuid::Uuid;

/// Why an agent's leg is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// The callee ended before the two were joined.
    AfterFailedJoin,
    /// The callee ended after that, and the PBX may still have been busy with the join.
    AfterTalk,
}

/// Why a command was sent, so that its reply finds its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OnReply {
    Placed(Uuid),
    Joined(LegId, AgentLegId),
    /// A join was refused; this tells which side is missing.
    WhichIsGone(LegId, AgentLegId),
    HungUp(Uuid),
    /// Whether the message's file is there.
    SoundFound(LegId),
    Playing(LegId),
    /// Whether the announcement's file is there.
    AnnouncementFound(String),
    Announced(String),
    /// What this agent's phone last said of its audio.
    Described(Uuid),
    /// How many packets have come from some agents' phones.
    Counted,
    /// Whom this transferred callee is with.
    Looked(Uuid),
    /// What this callee's leg does, whose agent was gone before the two were joined.
    Settled(Uuid),
    /// The party that this agent's leg is with, now that its callee has ended.
    LeftBehind(Uuid, Look),
    Recorded(String),
    /// The outcome changes nothing here.
    Nothing,
}

impl OnReply {
    /// Whether it goes over the connection for originates.
    pub(super) const fn places(&self) -> bool {
        matches!(self, Self::Placed(_))
    }
}

/// A command, and what its reply is for.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) command: String,
    pub(super) then: OnReply,
}

/// What came out: to be drained after every call.
#[derive(Debug, Default)]
pub(super) struct Out {
    pub(super) asks: VecDeque<Request>,
    pub(super) events: VecDeque<PbxEvent>,
}

impl Out {
    pub(super) fn ask(&mut self, then: OnReply, command: String) {
        self.asks.push_back(Request { command, then });
    }
}
