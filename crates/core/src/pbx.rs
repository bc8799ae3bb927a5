//! The protocol between the engine and the PBX drivers: commands out, events in. Every driver, real or simulated, uses it.
//!
//! An agent's leg is held in a bridge of its own, whose id is made from the leg's UUID. To connect a callee, one step moves
//! the callee's leg into that bridge. So after a crash the PBX itself shows which callee talks with which agent.

use crate::ids::{AgentLegId, LegId};
use crate::words::words;
use std::collections::BTreeMap;
use std::time::Duration;

mod values;

pub use values::{
    CallerId, CallerIdError, DialString, DialStringError, Digit, NotADigit, RecordingName,
    RecordingNameError, Sound, SoundError,
};

/// A command to a driver. A command that fails produces an event. Only a command that ends something may produce none, and the
/// engine sends it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PbxCommand {
    /// Place the callee's leg. The driver replies with [`PbxEvent::Progress`], [`PbxEvent::Answered`] and, always,
    /// [`PbxEvent::LegEnded`].
    CallContact {
        /// Its id on the PBX.
        leg: LegId,
        /// The dial string.
        dial: DialString,
        /// The number that the phone shows. `None`: the driver sets none.
        caller_id: Option<CallerId>,
        /// The PBX gives up ringing after this.
        ring_timeout: Duration,
        /// The PBX itself ends the leg after this time, also if Paceline has stopped.
        duration_max: Duration,
    },
    /// Place an agent's leg and hold it in its bridge. The driver replies with [`PbxEvent::AgentReady`] once the leg is held
    /// and, always, [`PbxEvent::AgentEnded`].
    CallAgent {
        /// Its id on the PBX, and its bridge's.
        leg: AgentLegId,
        /// The dial string.
        dial: DialString,
        /// The number that the phone shows. `None`: the driver sets none.
        caller_id: Option<CallerId>,
        /// The PBX gives up ringing after this.
        ring_timeout: Duration,
        /// The PBX itself ends the leg after this.
        duration_max: Duration,
        /// True: the PBX must report the keys of the callees who are connected to this leg. It needs more CPU for that.
        report_keys: bool,
    },
    /// Connect an answered callee. The driver replies with [`PbxEvent::Connected`] or [`PbxEvent::ConnectFailed`].
    Connect {
        /// The callee's leg.
        leg: LegId,
        /// The agent's held leg.
        to: Destination,
    },
    /// Play a sound to an answered callee who is connected with nobody. The driver replies with [`PbxEvent::Played`], or with
    /// the leg's end.
    Play {
        /// The answered callee.
        leg: LegId,
        /// The sound.
        sound: Sound,
    },
    /// End a callee's leg. The driver replies with [`PbxEvent::LegEnded`], also if the leg was gone already.
    HangUp {
        /// The leg.
        leg: LegId,
    },
    /// End an agent's leg. The driver replies with [`PbxEvent::AgentEnded`], also if the leg was gone already.
    HangUpAgent {
        /// The agent's held leg.
        leg: AgentLegId,
    },
    /// Record the conversation in the agent's bridge, after playing the announcement to both if there is one.
    /// The driver replies with [`PbxEvent::RecordingStarted`] then [`PbxEvent::RecordingEnded`], or with
    /// [`PbxEvent::RecordingFailed`]. It ends by itself when the callee's leg ends.
    Record {
        /// The callee's leg. The recording belongs to it.
        leg: LegId,
        /// The bridge that is recorded.
        agent_leg: AgentLegId,
        /// The file's name.
        recording: RecordingName,
        /// The sound that is played first.
        announcement: Option<Sound>,
    },
    /// Stop a recording before the call ends. The driver replies with [`PbxEvent::RecordingEnded`].
    StopRecording {
        /// The recording.
        recording: RecordingName,
    },
}

/// The destination of an answered callee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The bridge in which this agent's leg is held: one request to the PBX moves the callee there.
    HeldLeg(AgentLegId),
}

/// Something that happened on a PBX. Events can come late, twice, or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PbxEvent {
    /// The link broke. Until the next [`PbxEvent::Resynchronised`] the state of the PBX is not known.
    LinkLost,
    /// The link is up again, and the snapshot has the channels that are on the PBX. Later events follow without a gap.
    Resynchronised(Snapshot),
    /// The callee's leg rings or has early media, before an answer.
    Progress {
        /// The callee's leg.
        leg: LegId,
        /// Ringing or early media.
        kind: Progress,
    },
    /// The callee's leg was answered.
    Answered {
        /// The callee's leg.
        leg: LegId,
    },
    /// The callee's leg is in the agent's bridge.
    Connected {
        /// The callee's leg.
        leg: LegId,
        /// The agent's held leg.
        agent_leg: AgentLegId,
    },
    /// The callee's leg could not be moved into the agent's bridge.
    ConnectFailed {
        /// The callee's leg.
        leg: LegId,
        /// The agent's held leg.
        agent_leg: AgentLegId,
        /// The cause, as far as the PBX reports it.
        fault: ConnectFault,
    },
    /// The requested sound is over.
    Played {
        /// The callee's leg.
        leg: LegId,
        /// True if all of it was played. False: it could not be played, or was broken off.
        whole: bool,
    },
    /// A callee's leg ended. The engine decides the outcome of its attempt.
    LegEnded {
        /// Its id.
        leg: LegId,
        /// The cause and the details of the end.
        end: LegEnd,
    },
    /// The agent's leg rings.
    AgentRinging {
        /// The agent's leg.
        leg: AgentLegId,
    },
    /// The agent's leg is answered and held in its bridge.
    AgentReady {
        /// The agent's leg.
        leg: AgentLegId,
    },
    /// The agent's leg is gone, or somebody else has taken it out of our application (`EndedBy::TakenAway`).
    AgentEnded {
        /// The agent's leg.
        leg: AgentLegId,
        /// The cause and the details of the end.
        end: LegEnd,
    },
    /// The agent's leg is not in its bridge any more, or never came there, and we did not move it. The leg itself may live.
    AgentLeft {
        /// The agent's leg.
        leg: AgentLegId,
        /// The way in which it left.
        how: Departure,
    },
    /// The agent's leg is in its bridge, but the agent cannot listen there. After [`PbxEvent::AgentReady`]
    /// the engine assumes that there is no trouble, so the driver then reports a trouble that still lasts once more.
    AgentTrouble {
        /// The agent's leg.
        leg: AgentLegId,
        /// The trouble. `None`: it is over.
        trouble: Option<LegTrouble>,
    },
    /// An answered callee was transferred to a party that is none of our agents: from the agent's phone, or by an operator. It
    /// comes before the [`PbxEvent::AgentLeft`] of the same transfer. No recording of the callee goes on.
    Transferred {
        /// The callee's leg.
        leg: LegId,
    },
    /// A transferred callee is alone: the party that took the call is gone, or never came.
    CalleeAlone {
        /// The callee's leg.
        leg: LegId,
    },
    /// The callee pressed a key of the phone.
    Pressed {
        /// The callee's leg.
        leg: LegId,
        /// The key.
        digit: Digit,
    },
    /// A recording runs.
    RecordingStarted {
        /// The recording.
        recording: RecordingName,
    },
    /// A recording is complete on the PBX's disk.
    RecordingEnded {
        /// The recording.
        recording: RecordingName,
        /// Length of the recording. `None`: the PBX does not report it.
        duration: Option<Duration>,
    },
    /// A recording could not be made.
    RecordingFailed {
        /// The recording.
        recording: RecordingName,
        /// The reason in the PBX's words, free of personal data.
        reason: String,
    },
}

/// The way in which an agent's leg left its bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// The agent's phone transferred the call.
    Transferred,
    /// Another phone took the call that was meant for the agent's (pickup).
    PickedUp,
    /// An operator, or the dialplan, moved the leg.
    Moved,
}

/// The reason why the agent cannot listen, although the agent's leg is in its bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegTrouble {
    /// The phone has put the leg on hold.
    OnHold,
    /// The PBX cannot reach the phone.
    Unreachable,
    /// The phone sends no audio any more.
    NoAudio,
}

words! {
    /// The state of a callee's leg before an answer.
    Progress {
        /// The far end rings (SIP 180).
        Ringing = "ringing",
        /// Early media flows (SIP 183).
        EarlyMedia = "early_media",
    }
}

/// The reason why a callee could not be connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectFault {
    /// The callee's leg is gone or not answered; its end follows or has come.
    CalleeGone,
    /// The agent's leg or bridge is gone; its end follows or has come.
    AgentGone,
    /// The PBX refused or did not reply.
    Refused,
}

/// The cause and the details of a leg's end. [`crate::verdict`] makes the outcome from them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LegEnd {
    /// The cause of the end.
    pub by: EndedBy,
    /// Q.850 cause, if the PBX gave one.
    pub q850: Option<u16>,
    /// Final SIP status code, if the PBX gave one.
    pub sip: Option<u16>,
    /// True if ringing or early media was seen on this leg.
    pub progressed: bool,
    /// True if this leg was answered.
    pub answered: bool,
    /// The PBX's own words (`Allocation failed`), free of personal data; empty if there are none.
    pub detail: String,
}

impl LegEnd {
    /// True if the PBX accepted the leg, false if it did not. `None`: the end does not show it.
    pub fn was_taken(&self) -> Option<bool> {
        match self.by {
            EndedBy::NoRoom | EndedBy::Stopped => Some(false),
            EndedBy::Network | EndedBy::RingTimeout => Some(true),
            EndedBy::Us | EndedBy::Refused | EndedBy::Vanished | EndedBy::TakenAway => None,
        }
    }
}

words! {
    /// The cause of a leg's end.
    #[derive(Default)]
    EndedBy {
        /// The network or the far end.
        #[default]
        Network = "network",
        /// Our ring timeout, which the PBX runs.
        RingTimeout = "ring_timeout",
        /// A hang-up that Paceline requested.
        Us = "us",
        /// The PBX refused to place the leg (unknown endpoint, no contact, rate limit), or the request was not sent to the PBX.
        /// Nothing was dialed.
        Refused = "refused",
        /// The PBX itself has no room or no time for a leg, or is set to accept none. Nothing was dialed, and neither the trunk
        /// nor the contact is the cause.
        NoRoom = "no_room",
        /// The PBX itself ended the leg, because it stops or restarts. The far end did not end it.
        Stopped = "pbx_stopped",
        /// The leg was missing when the link came up again. Its end was not seen.
        Vanished = "vanished",
        /// The leg is still up, but an operator or the far end has moved it out of our application. It is not ours any more.
        TakenAway = "taken_away",
    }
}

/// All channels of a PBX that may be ours, read after a gap in its events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Every channel whose id is a UUID, by that UUID: callees and agents alike.
    pub channels: BTreeMap<uuid::Uuid, ChannelState>,
}

impl Snapshot {
    /// True if the agent's own leg is up and in its bridge.
    pub fn holds(&self, agent_leg: AgentLegId) -> bool {
        self.channels
            .get(&agent_leg.0)
            .is_some_and(|leg| leg.phase == ChannelPhase::Up && leg.bridge == Some(agent_leg))
    }
}

/// One channel of a [`Snapshot`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelState {
    /// The phase of the channel.
    pub phase: ChannelPhase,
    /// The agent's bridge that it is in, be it the agent's own leg or a connected callee.
    pub bridge: Option<AgentLegId>,
    /// True if it is in our application on the PBX, so that no other program controls it.
    pub in_our_app: bool,
    /// Time since the answer, by the PBX's own clock. `None`: it is not answered, or the PBX cannot report it.
    pub up_for: Option<Duration>,
    /// For an agent's leg: the reason why the agent cannot listen. `None`: no such trouble is known.
    pub trouble: Option<LegTrouble>,
    /// For a callee's leg: true if the callee talks with a party that is none of our agents, in the bridge or outside our
    /// application.
    pub with_others: bool,
}

/// The phase of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelPhase {
    /// Placed; neither ringing nor answered.
    Dialing,
    /// The phone rings.
    Ringing,
    /// Answered.
    Up,
}
