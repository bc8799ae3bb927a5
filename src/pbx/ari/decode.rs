//! Frames of Asterisk's event stream as values. In: one text frame, as bytes. Out: an [`Event`] that borrows from it.
//!
//! Only the fields that the driver uses are read; all others are skipped without being stored. Nothing here can panic
//! or keep anything.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Something that the switch said, reduced to what the driver uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A dial attempt moved on. Asterisk tells the caller where the dialplan dials, nothing where we originate.
    Dial {
        /// The channel that dials, if it is a channel.
        caller: Option<Cow<'a, str>>,
        /// The channel that is dialed.
        peer: Cow<'a, str>,
        /// How far it is.
        status: DialStatus,
    },
    /// A channel entered our application, with the first of its arguments.
    StasisStart {
        /// Which.
        channel: Cow<'a, str>,
        /// What we gave it when it was originated.
        argument: Option<Cow<'a, str>>,
    },
    /// Somebody, or the far end, wants a channel to end.
    HangupRequest {
        /// Which.
        channel: Cow<'a, str>,
        /// Why.
        cause: Cause,
    },
    /// A channel is gone.
    Destroyed {
        /// Which.
        channel: Cow<'a, str>,
        /// Why.
        cause: Cause,
    },
    /// A sound was played to its end, or could not be.
    PlaybackFinished {
        /// Which.
        playback: Cow<'a, str>,
        /// Whether it was heard.
        played: bool,
    },
    /// A recording runs.
    RecordingStarted {
        /// Its name.
        recording: Cow<'a, str>,
    },
    /// A recording is complete.
    RecordingFinished {
        /// Its name.
        recording: Cow<'a, str>,
        /// Its length in seconds.
        duration_s: Option<u64>,
    },
    /// A recording broke off.
    RecordingFailed {
        /// Its name.
        recording: Cow<'a, str>,
        /// In the switch's words.
        cause: Option<Cow<'a, str>>,
    },
    /// Another client took our application.
    ApplicationReplaced,
    /// The answer to a request that we sent over the event stream.
    Reply {
        /// The request's id, as we gave it.
        request_id: Cow<'a, str>,
        /// HTTP status.
        status: u16,
        /// The body as it stands in the frame: a JSON string whose content is JSON again.
        body: Option<&'a str>,
    },
    /// A type of event that the driver has no use for.
    Other,
}

/// How far a dial attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialStatus {
    /// It began.
    Begun,
    /// The far end rings.
    Ringing,
    /// Early media.
    Progress,
    /// Answered.
    Answered,
    /// The caller took it back.
    Cancelled,
    /// It ended without an answer. Which word Asterisk uses says nothing: 404 and 603 are `NOANSWER` too.
    Failed,
    /// Something in between that changes nothing.
    Other,
}

/// Why a channel ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// Q.850, unless it is 0, with which Asterisk says that it does not know.
    pub q850: Option<u16>,
    /// SIP status; Asterisk 16 never tells.
    pub sip: Option<u16>,
}

/// A frame that is not an event as Asterisk writes them.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON, or a field has the wrong type.
    #[error("a frame of the event stream is not readable; report it with the version of Asterisk")]
    Json(#[source] serde_json::Error),
    /// An event lacks a field without which it says nothing.
    #[error("an event of the event stream lacks its `{0}`; report it with the version of Asterisk")]
    Missing(&'static str),
}

/// Text that is borrowed unless it holds escapes. A type of its own, because serde borrows a bare `Option<Cow>` never.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Playback<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    state: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Recording<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    duration: Option<u64>,
    #[serde(borrow)]
    cause: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    channel: Option<Named<'a>>,
    #[serde(borrow)]
    caller: Option<Named<'a>>,
    #[serde(borrow)]
    peer: Option<Named<'a>>,
    #[serde(borrow)]
    playback: Option<Playback<'a>>,
    #[serde(borrow)]
    recording: Option<Recording<'a>>,
    #[serde(borrow)]
    dialstatus: Option<Text<'a>>,
    #[serde(borrow)]
    args: Option<Vec<Text<'a>>>,
    cause: Option<i64>,
    tech_cause: Option<i64>,
    #[serde(borrow)]
    request_id: Option<Text<'a>>,
    status_code: Option<u16>,
    #[serde(borrow)]
    message_body: Option<&'a RawValue>,
}

fn id<'a>(named: Option<Named<'a>>, field: &'static str) -> Result<Cow<'a, str>, DecodeError> {
    named
        .and_then(|named| named.id)
        .map(|text| text.0)
        .ok_or(DecodeError::Missing(field))
}

fn code(value: Option<i64>) -> Option<u16> {
    value
        .and_then(|value| u16::try_from(value).ok())
        .filter(|code| *code != 0)
}

impl DialStatus {
    fn of(word: &str) -> Self {
        match word {
            "" => Self::Begun,
            "RINGING" => Self::Ringing,
            "PROGRESS" => Self::Progress,
            "ANSWER" => Self::Answered,
            "CANCEL" => Self::Cancelled,
            "NOANSWER" | "BUSY" | "CONGESTION" | "CHANUNAVAIL" | "DONTCALL" | "TORTURE" | "INVALIDARGS" => {
                Self::Failed
            }
            _ => Self::Other,
        }
    }
}

/// Reads one frame.
pub fn decode(frame: &[u8]) -> Result<Event<'_>, DecodeError> {
    let frame: Frame<'_> = serde_json::from_slice(frame).map_err(DecodeError::Json)?;
    let cause = Cause {
        q850: code(frame.cause),
        sip: code(frame.tech_cause),
    };
    Ok(match &*frame.kind {
        "Dial" => Event::Dial {
            caller: frame.caller.and_then(|caller| caller.id).map(|text| text.0),
            peer: id(frame.peer, "peer")?,
            status: DialStatus::of(frame.dialstatus.as_ref().map_or("", |text| &text.0)),
        },
        "StasisStart" => Event::StasisStart {
            channel: id(frame.channel, "channel")?,
            argument: frame
                .args
                .and_then(|args| args.into_iter().next())
                .map(|text| text.0),
        },
        "ChannelHangupRequest" => Event::HangupRequest {
            channel: id(frame.channel, "channel")?,
            cause,
        },
        "ChannelDestroyed" => Event::Destroyed {
            channel: id(frame.channel, "channel")?,
            cause,
        },
        "PlaybackFinished" => {
            let playback = frame.playback.ok_or(DecodeError::Missing("playback"))?;
            Event::PlaybackFinished {
                playback: playback.id.ok_or(DecodeError::Missing("playback"))?.0,
                played: playback.state.is_none_or(|state| state.0 != "failed"),
            }
        }
        "RecordingStarted" | "RecordingFinished" | "RecordingFailed" => {
            let recording = frame.recording.ok_or(DecodeError::Missing("recording"))?;
            let name = recording.name.ok_or(DecodeError::Missing("recording"))?.0;
            match &*frame.kind {
                "RecordingStarted" => Event::RecordingStarted { recording: name },
                "RecordingFinished" => Event::RecordingFinished {
                    recording: name,
                    duration_s: recording.duration,
                },
                _ => Event::RecordingFailed {
                    recording: name,
                    cause: recording.cause.map(|text| text.0),
                },
            }
        }
        "ApplicationReplaced" => Event::ApplicationReplaced,
        "RESTResponse" => Event::Reply {
            request_id: frame.request_id.ok_or(DecodeError::Missing("request_id"))?.0,
            status: frame.status_code.ok_or(DecodeError::Missing("status_code"))?,
            body: frame.message_body.map(RawValue::get),
        },
        _ => Event::Other,
    })
}
