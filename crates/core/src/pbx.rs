//! The words spoken with a switch: commands out, events in. Every driver, real or simulated, speaks just these.
//!
//! An agent's leg is held in a bridge of its own whose id is made of the leg's UUID; connecting a callee moves the callee's
//! leg into that bridge in one step. So after a crash the switch itself says who talks with whom.

use crate::ids::{AgentLegId, LegId};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What to dial, as the switch understands it: `PJSIP/+12025550123@carrier`. Holds a number, so `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct DialString(pub String);

impl fmt::Debug for DialString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DialString(redacted)")
    }
}

/// The name under which a recording is kept on the switch: letters, digits, `-` and `_`, no extension.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordingName(pub String);

/// Something for a driver to do. A driver never refuses: what cannot be done comes back as an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PbxCommand {
    /// Place the callee's leg. Comes back as [`PbxEvent::Progress`], [`PbxEvent::Answered`] and, always,
    /// [`PbxEvent::Ended`].
    CallContact {
        /// Its id on the switch.
        leg: LegId,
        /// What to dial.
        dial: DialString,
        /// The number to show.
        caller_id: Option<String>,
        /// The switch gives up ringing after this.
        ring_timeout: Duration,
        /// The switch itself ends the leg after this, whatever becomes of us.
        duration_max: Duration,
    },
    /// Place an agent's leg and hold it in its bridge. Comes back as [`PbxEvent::AgentReady`] once held and, always,
    /// [`PbxEvent::AgentEnded`].
    CallAgent {
        /// Its id on the switch, and its bridge's.
        leg: AgentLegId,
        /// What to dial.
        dial: DialString,
        /// The number to show.
        caller_id: Option<String>,
        /// The switch gives up ringing after this.
        ring_timeout: Duration,
        /// The switch itself ends the leg after this.
        duration_max: Duration,
    },
    /// Move the callee's leg into the agent's bridge. Comes back as [`PbxEvent::Connected`] or
    /// [`PbxEvent::ConnectFailed`].
    Connect {
        /// The answered callee.
        leg: LegId,
        /// The held agent.
        agent_leg: AgentLegId,
    },
    /// End a callee's leg. Comes back as [`PbxEvent::Ended`], also where the leg was gone already.
    HangUp {
        /// Which.
        leg: LegId,
    },
    /// End an agent's leg. Comes back as [`PbxEvent::AgentEnded`], also where the leg was gone already.
    HangUpAgent {
        /// Which.
        leg: AgentLegId,
    },
    /// Record the conversation in the agent's bridge, after playing the announcement to both if there is one.
    /// Comes back as [`PbxEvent::RecordingStarted`] then [`PbxEvent::RecordingEnded`], or as
    /// [`PbxEvent::RecordingFailed`]. It ends by itself when the callee's leg ends.
    Record {
        /// The callee it belongs to.
        leg: LegId,
        /// The bridge that is recorded.
        agent_leg: AgentLegId,
        /// The file's name.
        recording: RecordingName,
        /// A media reference of the switch (`sound:...` for ARI) played first.
        announcement: Option<String>,
    },
    /// Stop a recording before the call ends. Comes back as [`PbxEvent::RecordingEnded`].
    StopRecording {
        /// Which.
        recording: RecordingName,
    },
}

/// Something that happened on a switch. Events can come late, twice, or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PbxEvent {
    /// The event stream broke: nothing is known until the next [`PbxEvent::Resynchronised`].
    LinkLost,
    /// The event stream stands again, and this is all that lives on the switch. Events follow from here without gap.
    Resynchronised(Snapshot),
    /// The callee's side shows life before an answer.
    Progress {
        /// Which leg.
        leg: LegId,
        /// Ringing or early media.
        kind: Progress,
    },
    /// The callee's leg was answered.
    Answered {
        /// Which leg.
        leg: LegId,
    },
    /// The callee's leg is in the agent's bridge.
    Connected {
        /// Which leg.
        leg: LegId,
        /// With which agent.
        agent_leg: AgentLegId,
    },
    /// The callee's leg could not be moved there.
    ConnectFailed {
        /// Which leg.
        leg: LegId,
        /// With which agent.
        agent_leg: AgentLegId,
        /// Whose fault, as far as the switch tells.
        fault: ConnectFault,
    },
    /// The callee's leg is gone.
    Ended {
        /// Which leg.
        leg: LegId,
        /// How.
        end: LegEnd,
    },
    /// The agent's leg rings.
    AgentRinging {
        /// Which leg.
        leg: AgentLegId,
    },
    /// The agent's leg is answered and held in its bridge.
    AgentReady {
        /// Which leg.
        leg: AgentLegId,
    },
    /// The agent's leg is gone.
    AgentEnded {
        /// Which leg.
        leg: AgentLegId,
        /// How.
        end: LegEnd,
    },
    /// A recording runs.
    RecordingStarted {
        /// Which.
        recording: RecordingName,
    },
    /// A recording is complete on the switch's disk.
    RecordingEnded {
        /// Which.
        recording: RecordingName,
        /// How long it is, where the switch tells.
        duration: Option<Duration>,
    },
    /// A recording could not be made.
    RecordingFailed {
        /// Which.
        recording: RecordingName,
        /// In the switch's words, free of personal data.
        reason: String,
    },
}

/// Signs of life before an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The far end rings (SIP 180).
    Ringing,
    /// Early media flows (SIP 183).
    EarlyMedia,
}

/// Why a callee could not be connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectFault {
    /// The callee's leg is gone or not answered; its end follows or has come.
    CalleeGone,
    /// The agent's leg or bridge is gone; its end follows or has come.
    AgentGone,
    /// The switch refused or did not reply.
    Refused,
}

/// How a leg ended, raw. What it means is [`crate::verdict`]'s to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LegEnd {
    /// Who or what ended it.
    pub by: EndedBy,
    /// Q.850 cause, where the switch gave one.
    pub q850: Option<u16>,
    /// Final SIP status code, where the switch gave one.
    pub sip: Option<u16>,
    /// Whether ringing or early media was seen on this leg.
    pub progressed: bool,
    /// Whether this leg was answered.
    pub answered: bool,
    /// The switch's own words (`Allocation failed`), free of personal data; empty where there are none.
    pub detail: String,
}

/// Who or what ended a leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EndedBy {
    /// The network or the far end.
    #[default]
    Network,
    /// Our own ring timeout, kept by the switch.
    RingTimeout,
    /// A hang-up that we asked for.
    Us,
    /// The switch refused to place the leg at all (unknown endpoint, no contact, rate limit): nothing was dialed.
    Refused,
    /// The switch itself has no room or no time for a leg, or was told to take none: nothing was dialed, and neither the
    /// trunk nor the contact is to blame.
    NoRoom,
    /// The leg was missing when the link came back: nobody saw its end.
    Vanished,
}

/// All that lives on a switch and concerns us, read after a gap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Every channel whose id is a UUID, by that UUID: callees and agents alike.
    pub channels: BTreeMap<uuid::Uuid, ChannelState>,
}

/// One channel of a [`Snapshot`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelState {
    /// How far it is.
    pub phase: ChannelPhase,
    /// The agent's bridge that it is in, be it the agent's own leg or a connected callee.
    pub bridge: Option<AgentLegId>,
    /// Whether it is in our application on the switch, so that nobody else owns it.
    pub in_our_app: bool,
}

/// How far a channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelPhase {
    /// Placed, no sign of life.
    Dialing,
    /// Rings.
    Ringing,
    /// Answered.
    Up,
}
