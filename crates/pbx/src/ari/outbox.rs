//! Output of the state machines: requests for the PBX, and events for the engine. Plain data.

use super::requests::Request;
use paceline_core::ids::{AgentLegId, LegId};
use paceline_core::pbx::PbxEvent;
use std::collections::VecDeque;
use std::time::Instant;
use uuid::Uuid;

/// The purpose of a request. It decides how the reply is handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Placed(Uuid),
    /// A check that the PBX takes new calls, because a leg was not placed or has ended without a cause.
    Tried,
    Connected(LegId, AgentLegId),
    Playing(LegId),
    HungUp(Uuid),
    /// The hang-up of another phone's channel. The PBX may know the channel under its new id only a moment later, so the driver
    /// repeats the request until `until`.
    LetGo {
        channel: String,
        until: Instant,
    },
    Held(Uuid),
    Announced(String),
    Recorded(String),
    RecordingChecked(String),
    /// The return of an agent's leg that came out of its bridge.
    Returned(Uuid),
    /// A check that a callee that came out of its bridge is in our application.
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
    /// True if a party on the line waits for the request.
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

/// The output. The caller drains it after every call.
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
