//! What the state machines want done: requests for the PBX, events for everybody else. Plain data.

use super::requests::Request;
use paceline_core::ids::{AgentLegId, LegId};
use paceline_core::pbx::PbxEvent;
use std::collections::VecDeque;
use std::time::Instant;
use uuid::Uuid;

/// Why a request was sent, so that its reply finds its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Placed(Uuid),
    /// Whether the PBX takes new calls, because a leg was not placed or has ended without a cause.
    Tried,
    Connected(LegId, AgentLegId),
    Playing(LegId),
    HungUp(Uuid),
    /// Another phone's channel is ended, which the PBX may know under its new id only a moment later.
    LetGo {
        channel: String,
        until: Instant,
    },
    Held(Uuid),
    Announced(String),
    Recorded(String),
    RecordingChecked(String),
    /// An agent's leg that came out of its bridge was asked back.
    Returned(Uuid),
    /// Whether a callee that came out of its bridge is in our application.
    CalleeOut(Uuid),
    /// Packets from and to an agent's phone.
    Packets(Uuid),
    /// An agent is no longer sent silence.
    Unsilenced,
    /// The outcome changes nothing here.
    Nothing,
    /// As `Nothing`, but worth a warning.
    Watched,
}

impl Purpose {
    /// Whether somebody on the line waits for it.
    pub(super) const fn urgent(&self) -> bool {
        matches!(
            self,
            Self::Connected(..) | Self::Playing(_) | Self::HungUp(_) | Self::Unsilenced
        )
    }
}

/// A request, the leg whose requests must stay in order, and what its reply is for.
pub(super) struct QueuedRequest {
    pub(super) request: Request,
    pub(super) key: Uuid,
    pub(super) purpose: Purpose,
}

/// What came out: to be drained after every call.
#[derive(Default)]
pub(super) struct Outbox {
    pub(super) asks: VecDeque<QueuedRequest>,
    pub(super) events: VecDeque<PbxEvent>,
}

impl Outbox {
    pub(super) fn ask(&mut self, key: Uuid, purpose: Purpose, request: Request) {
        self.asks.push_back(QueuedRequest {
            request,
            key,
            purpose,
        });
    }
}
