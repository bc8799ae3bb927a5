//! The protocol between the engine and the PBX drivers: commands out, events in. Every driver, real or simulated, uses it.
//!
//! An agent's leg is held in a bridge of its own, whose id is made from the leg's UUID. To connect a callee, one step moves
//! the callee's leg into that bridge. So after a crash the PBX itself shows which callee talks with which agent.

use crate::dial::is_dial_string;
use crate::ids::{AgentLegId, LegId};
use crate::words::words;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A dial string as the PBX understands it, such as `PJSIP/+12025550123@carrier`. It has one of the forms of [`crate::dial`].
/// It contains a telephone number, so `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct DialString(String);

/// Not a [`DialString`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not one of the allowed dial strings: see `dial` in the documentation of trunks")]
pub struct DialStringError;

impl DialString {
    /// Checks a dial string.
    ///
    /// # Errors
    /// [`DialStringError`].
    pub fn new(text: &str) -> Result<Self, DialStringError> {
        if is_dial_string(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(DialStringError)
        }
    }

    /// Wraps the text that a template has rendered from checked parts.
    pub(crate) fn checked(text: String) -> Self {
        debug_assert!(is_dial_string(&text));
        Self(text)
    }

    /// As the PBX is told.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for DialString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DialString(redacted)")
    }
}

/// The number that the callee sees, as the PBX takes it: 1 to 64 letters, digits, `+`, `*`, `#`, `-`, `_` or `.`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CallerId(String);

/// Not a [`CallerId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a caller id is 1 to 64 letters, digits, `+`, `*`, `#`, `-`, `_` or `.`")]
pub struct CallerIdError;

impl CallerId {
    /// Checks a caller id.
    ///
    /// # Errors
    /// [`CallerIdError`].
    pub fn new(text: &str) -> Result<Self, CallerIdError> {
        let shown = |b: u8| b.is_ascii_alphanumeric() || b"+*#-_.".contains(&b);
        if (1..=64).contains(&text.len()) && text.bytes().all(shown) {
            Ok(Self(text.to_owned()))
        } else {
            Err(CallerIdError)
        }
    }

    /// As the PBX is told.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CallerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallerId(redacted)")
    }
}

impl TryFrom<String> for CallerId {
    type Error = CallerIdError;
    fn try_from(text: String) -> Result<Self, CallerIdError> {
        Self::new(&text)
    }
}

impl From<CallerId> for String {
    fn from(caller_id: CallerId) -> String {
        caller_id.0
    }
}

/// The name under which a recording is kept on the PBX: 1 to 128 letters, digits, `-` and `_`, no extension.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordingName(String);

/// Not a [`RecordingName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a recording's name is 1 to 128 letters, digits, `-` or `_`")]
pub struct RecordingNameError;

impl RecordingName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`RecordingNameError`].
    pub fn new(text: &str) -> Result<Self, RecordingNameError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
        if (1..=128).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(RecordingNameError)
        }
    }

    /// The recording of this callee's conversation.
    pub fn of(leg: LegId) -> Self {
        Self(leg.0.to_string())
    }

    /// As the PBX is told.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A sound on the PBX's own disk: `sound:` and its name or path, without its ending, as Asterisk writes it. On FreeSWITCH
/// it is that `.wav` file, below the PBX's `sounds_dir` unless the path begins with `/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sound(String);

/// Not a [`Sound`]. A PBX can also play scripts, addresses and whole applications; these are not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a sound is `sound:` and its name or path on the PBX without its ending, such as sound:custom/sorry: letters, digits, \
     `-`, `_`, `.` and `/`, at most 200 of them, no part of it empty, `.` or `..`"
)]
pub struct SoundError;

impl Sound {
    /// Checks a reference.
    ///
    /// # Errors
    /// [`SoundError`].
    pub fn new(reference: &str) -> Result<Self, SoundError> {
        let path = reference.strip_prefix("sound:").ok_or(SoundError)?;
        let plain = |part: &str| {
            !matches!(part, "" | "." | "..")
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        let parts = path.strip_prefix('/').unwrap_or(path);
        if path.len() <= 200 && parts.split('/').all(plain) {
            Ok(Self(reference.to_owned()))
        } else {
            Err(SoundError)
        }
    }

    /// The reference as written, with its `sound:`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Sound {
    type Error = SoundError;
    fn try_from(text: String) -> Result<Self, SoundError> {
        Self::new(&text)
    }
}

impl From<Sound> for String {
    fn from(sound: Sound) -> String {
        sound.0
    }
}

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

/// A key of a phone (DTMF): `0` to `9`, `*` or `#`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digit(char);

/// The text is not a [`Digit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key of a phone is `0` to `9`, `*` or `#`")]
pub struct NotADigit;

impl Digit {
    /// Checks a key.
    ///
    /// # Errors
    /// [`NotADigit`].
    pub fn new(text: &str) -> Result<Self, NotADigit> {
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(key @ ('0'..='9' | '*' | '#')), None) => Ok(Self(key)),
            _ => Err(NotADigit),
        }
    }
}

impl TryFrom<String> for Digit {
    type Error = NotADigit;
    fn try_from(text: String) -> Result<Self, NotADigit> {
        Self::new(&text)
    }
}

impl From<Digit> for String {
    fn from(digit: Digit) -> String {
        digit.0.into()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sound_is_a_name_or_a_path_and_nothing_that_a_pbx_would_carry_out() {
        for good in [
            "sound:sorry",
            "sound:custom/we-are.sorry_1",
            "sound:/var/lib/sounds/sorry",
        ] {
            assert_eq!(Sound::new(good).map(String::from).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "sorry",
            "sound:",
            "sound:/",
            "sound:a//b",
            "sound:../a",
            "sound:a/./b",
            "sound:a b",
            "sound:a,sound:b",
            "sound:a\nb",
            "sound:system::reboot",
            "sound:shell_stream://x",
            "sound:${x}",
            "tone_stream://%(1,0,1)",
            "sound:a&b=c",
            "recording:a",
            "sound:\u{e9}",
        ] {
            assert_eq!(Sound::new(bad), Err(SoundError), "{bad}");
        }
        assert_eq!(Sound::new(&format!("sound:{}", "a".repeat(201))), Err(SoundError));
    }

    #[test]
    fn caller_ids_and_names_of_recordings_are_single_plain_words() {
        for good in ["+12025550100", "anonymous", "1*2#3"] {
            assert_eq!(CallerId::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "Acme <+12025550100>",
            "1,2",
            "1\n",
            "1\r\nAction: Command",
            "${x}",
            "{x=1}",
            "'1'",
            "\"1\"",
            "1;2",
            "^^1",
            "1:_:2",
            "\u{e9}",
        ] {
            assert_eq!(CallerId::new(bad), Err(CallerIdError), "{bad:?}");
            assert_eq!(RecordingName::new(bad), Err(RecordingNameError), "{bad:?}");
        }
        for bad in ["../a", "a/b", "a.wav", "a b", "|reboot", "a\0"] {
            assert_eq!(RecordingName::new(bad), Err(RecordingNameError), "{bad:?}");
        }
        let leg = LegId(uuid::Uuid::from_u128(7));
        assert_eq!(RecordingName::new(&leg.0.to_string()), Ok(RecordingName::of(leg)));
        assert_eq!(CallerId::new(&"1".repeat(65)), Err(CallerIdError));
        assert_eq!(RecordingName::new(&"a".repeat(129)), Err(RecordingNameError));
    }
}
