//! The output of the state machines: commands for the PBX and events for the engine. Plain data.

use paceline_core::ids::{AgentLegId, LegId};
use paceline_core::pbx::PbxEvent;
use std::collections::VecDeque;
use uuid::Uuid;

/// The reason that the driver looks at an agent's leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// The callee ended before the two were joined.
    AfterFailedJoin,
    /// The callee ended after the join. The PBX may not have finished the join.
    AfterTalk,
}

/// The purpose of a command. It decides how the reply is handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OnReply {
    Placed(Uuid),
    Joined(LegId, AgentLegId),
    /// A join was refused. The reply tells whether the callee still exists; if it does, the agent is gone.
    WhichIsGone(LegId, AgentLegId),
    HungUp(Uuid),
    /// A check that the message's file exists.
    SoundFound(LegId),
    Playing(LegId),
    /// A check that the announcement's file exists, or the file of the recording that is about to start.
    AnnouncementFound(String),
    Announced(String),
    /// The latest SDP of this agent's phone.
    Described(Uuid),
    /// The numbers of packets that have come from some agents' phones.
    Counted,
    /// The state of this transferred callee's leg, and whether its other party exists.
    Looked(Uuid),
    /// The state of this callee's leg after a failed join.
    Settled(Uuid),
    /// The state of this agent's leg after the end of its callee, and whether its other party exists.
    LeftBehind(Uuid, Look),
    Recorded(String),
    /// The reply changes nothing.
    Nothing,
}

impl OnReply {
    /// True if the command goes over the connection for originates.
    pub(super) const fn places(&self) -> bool {
        matches!(self, Self::Placed(_))
    }
}

/// A command, and how its reply is handled.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) command: String,
    pub(super) then: OnReply,
}

/// The output so far. To be drained after every call of the state machines.
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
