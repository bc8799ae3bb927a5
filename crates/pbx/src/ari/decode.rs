//! Decodes the frames of Asterisk's event stream. Input: one text frame, as bytes. Output: an [`Event`] that borrows from it.
//!
//! Only the fields that the driver uses are read. All others are skipped without being stored. No frame makes this code panic,
//! and it keeps no state.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// An event of the PBX, reduced to the fields that the driver uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The state of a dialing changed. Asterisk gives the caller if the dialplan dials, and not if we originate.
    Dial {
        /// The channel that dials. `None` if no channel dials.
        caller: Option<Cow<'a, str>>,
        /// The channel that is dialed.
        peer: Cow<'a, str>,
        /// The new state.
        status: DialStatus,
    },
    /// A channel entered our application.
    StasisStart {
        /// The channel's id.
        channel: Cow<'a, str>,
        /// The channel's name, with its technology and endpoint, as `PJSIP/desk-1-0000002a`.
        name: Option<Cow<'a, str>>,
        /// The first argument. We gave it when we originated the channel.
        argument: Option<Cow<'a, str>>,
        /// The second argument. It is our mark if the channel is ours.
        mark: Option<Cow<'a, str>>,
        /// The channel whose place in a bridge this one took. A transfer does this.
        replaced: Option<Cow<'a, str>>,
    },
    /// A channel left a bridge.
    LeftBridge {
        /// The bridge's id.
        bridge: Cow<'a, str>,
        /// The channel's id.
        channel: Cow<'a, str>,
    },
    /// A phone put a channel on hold, or ended the hold.
    Hold {
        /// The channel's id.
        channel: Cow<'a, str>,
        /// True if the hold begins.
        on: bool,
    },
    /// The far end pressed a key.
    Pressed {
        /// The channel's id.
        channel: Cow<'a, str>,
        /// The key, as `5` or `#`.
        digit: Cow<'a, str>,
    },
    /// The state of an endpoint changed.
    Endpoint {
        /// The endpoint's technology and name, as `PJSIP/desk-1`.
        endpoint: String,
        /// True if the PBX cannot reach the endpoint.
        offline: bool,
    },
    /// The far end, or a user or client of the PBX, asked for the end of a channel.
    HangupRequest {
        /// The channel's id.
        channel: Cow<'a, str>,
        /// The hang-up cause.
        cause: Cause,
    },
    /// A channel ended.
    Destroyed {
        /// The channel's id.
        channel: Cow<'a, str>,
        /// The hang-up cause.
        cause: Cause,
        /// The dialplan application in the channel at its end. `None` if the PBX does not give it. Empty if there is none.
        application: Option<Cow<'a, str>>,
    },
    /// The playback of a sound ended, or the sound could not be played.
    PlaybackFinished {
        /// The playback's id.
        playback: Cow<'a, str>,
        /// False if the PBX could not play the sound.
        played: bool,
    },
    /// A recording started.
    RecordingStarted {
        /// The recording's name.
        recording: Cow<'a, str>,
    },
    /// A recording is complete.
    RecordingFinished {
        /// The recording's name.
        recording: Cow<'a, str>,
        /// The length in seconds. `None` if the PBX does not give it.
        duration_s: Option<u64>,
    },
    /// A recording failed.
    RecordingFailed {
        /// The recording's name.
        recording: Cow<'a, str>,
        /// The reason in the PBX's words.
        cause: Option<Cow<'a, str>>,
    },
    /// Another client has taken our application.
    ApplicationReplaced,
    /// The reply to a request that we sent over the event stream.
    Reply {
        /// The request's id, as we gave it.
        request_id: Cow<'a, str>,
        /// The HTTP status.
        status: u16,
        /// The body as it is in the frame: a JSON string that contains JSON.
        body: Option<&'a str>,
    },
    /// An event of a type that the driver does not use.
    Other,
}

/// The state of a dialing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialStatus {
    /// The dialing began.
    Begun,
    /// The far end rings.
    Ringing,
    /// The far end sends early media.
    Progress,
    /// The far end answered.
    Answered,
    /// The caller cancelled it.
    Cancelled,
    /// It ended without an answer. Asterisk's word does not give the reason: SIP 404 and 603 are `NOANSWER` too.
    Failed,
    /// Another state, which changes nothing for the driver.
    Other,
}

/// The reason for the end of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// The Q.850 cause. `None` if Asterisk does not know the cause, which it writes as 0.
    pub q850: Option<u16>,
    /// The SIP status. Asterisk 16 never gives it.
    pub sip: Option<u16>,
}

/// A frame that does not have the form of Asterisk's events.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The frame is not JSON, or a field has the wrong type.
    #[error("a frame of the event stream cannot be read; report it with the version of Asterisk")]
    Json(#[source] serde_json::Error),
    /// The event lacks a required field. The value is the field's name.
    #[error("an event of the event stream lacks its `{0}`; report it with the version of Asterisk")]
    Missing(&'static str),
}

/// A text that is borrowed unless it contains escapes. It is a type of its own, because serde never borrows a bare `Option<Cow>`.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Channel<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    dialplan: Option<Dialplan<'a>>,
}

#[derive(Deserialize)]
struct Dialplan<'a> {
    #[serde(borrow)]
    app_name: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Endpoint<'a> {
    #[serde(borrow)]
    technology: Option<Text<'a>>,
    #[serde(borrow)]
    resource: Option<Text<'a>>,
    #[serde(borrow)]
    state: Option<Text<'a>>,
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
    duration: Option<i64>,
    #[serde(borrow)]
    cause: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    channel: Option<Channel<'a>>,
    #[serde(borrow)]
    replace_channel: Option<Named<'a>>,
    #[serde(borrow)]
    bridge: Option<Named<'a>>,
    #[serde(borrow)]
    endpoint: Option<Endpoint<'a>>,
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
    digit: Option<Text<'a>>,
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

fn channel_id<'a>(channel: Option<Channel<'a>>) -> Result<Cow<'a, str>, DecodeError> {
    channel
        .and_then(|channel| channel.id)
        .map(|text| text.0)
        .ok_or(DecodeError::Missing("channel"))
}

fn endpoint_state<'a>(endpoint: Option<Endpoint<'a>>) -> Result<Event<'a>, DecodeError> {
    let endpoint = endpoint.ok_or(DecodeError::Missing("endpoint"))?;
    let (Some(technology), Some(resource)) = (endpoint.technology, endpoint.resource) else {
        return Err(DecodeError::Missing("endpoint"));
    };
    Ok(Event::Endpoint {
        endpoint: format!("{}/{}", technology.0, resource.0),
        offline: endpoint.state.is_some_and(|state| state.0 == "offline"),
    })
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

/// Decodes one frame.
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
        "StasisStart" => {
            let mut args = frame.args.unwrap_or_default().into_iter().map(|text| text.0);
            let channel = frame.channel.ok_or(DecodeError::Missing("channel"))?;
            Event::StasisStart {
                channel: channel.id.ok_or(DecodeError::Missing("channel"))?.0,
                name: channel.name.map(|text| text.0),
                argument: args.next(),
                mark: args.next(),
                replaced: frame
                    .replace_channel
                    .and_then(|replaced| replaced.id)
                    .map(|text| text.0),
            }
        }
        "ChannelLeftBridge" => Event::LeftBridge {
            bridge: id(frame.bridge, "bridge")?,
            channel: channel_id(frame.channel)?,
        },
        "ChannelHold" | "ChannelUnhold" => Event::Hold {
            channel: channel_id(frame.channel)?,
            on: frame.kind == "ChannelHold",
        },
        "ChannelDtmfReceived" => Event::Pressed {
            channel: channel_id(frame.channel)?,
            digit: frame.digit.ok_or(DecodeError::Missing("digit"))?.0,
        },
        "EndpointStateChange" => endpoint_state(frame.endpoint)?,
        "ChannelHangupRequest" => Event::HangupRequest {
            channel: channel_id(frame.channel)?,
            cause,
        },
        "ChannelDestroyed" => {
            let channel = frame.channel.ok_or(DecodeError::Missing("channel"))?;
            Event::Destroyed {
                channel: channel.id.ok_or(DecodeError::Missing("channel"))?.0,
                cause,
                application: channel
                    .dialplan
                    .and_then(|dialplan| dialplan.app_name)
                    .map(|text| text.0),
            }
        }
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
                    duration_s: recording.duration.and_then(|seconds| u64::try_from(seconds).ok()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ASTERISK_22: &str = include_str!("decode/asterisk-22.jsonl");
    const ASTERISK_16: &str = include_str!("decode/asterisk-16.jsonl");

    fn recorded(frames: &'static str) -> Vec<Event<'static>> {
        frames
            .lines()
            .map(|frame| decode(frame.as_bytes()).unwrap())
            .collect()
    }

    #[test]
    fn events_of_asterisk_22_and_16_are_decoded_alike_except_for_the_sip_status() {
        let words = |frames| -> Vec<String> {
            recorded(frames)
                .into_iter()
                .filter(|event| !matches!(event, Event::Reply { .. }))
                .map(|event| match event {
                    Event::Dial { status, .. } => format!("dial {status:?}"),
                    Event::HangupRequest { cause, .. } => format!("hangup request {:?}", cause.q850),
                    Event::Destroyed {
                        cause, application, ..
                    } => format!("destroyed {:?} {application:?}", cause.q850),
                    Event::StasisStart { argument, .. } => format!("start {argument:?}"),
                    Event::PlaybackFinished { playback, played } => format!("played {playback} {played}"),
                    Event::RecordingStarted { .. } => "recording".to_owned(),
                    Event::RecordingFinished { duration_s, .. } => format!("recorded {duration_s:?}"),
                    other => format!("{other:?}"),
                })
                .collect()
        };
        let expected = [
            "dial Begun",
            "dial Ringing",
            "hangup request Some(17)",
            "dial Failed",
            "destroyed Some(17) Some(\"AppDial\")",
            "dial Answered",
            "start Some(\"callee\")",
            "played paceline-r1 false",
            "recording",
            "recorded Some(0)",
            "destroyed Some(16) Some(\"AppDial2\")",
            "ApplicationReplaced",
            "Other",
        ];
        assert_eq!(words(ASTERISK_22), expected);
        assert_eq!(words(ASTERISK_16), expected);
        let sip = |frames| {
            recorded(frames).into_iter().find_map(|event| match event {
                Event::HangupRequest { cause, .. } => Some(cause.sip),
                _ => None,
            })
        };
        assert_eq!(sip(ASTERISK_22), Some(Some(486)));
        assert_eq!(sip(ASTERISK_16), Some(None));
    }

    #[test]
    fn the_channel_that_the_dialplan_dials_comes_with_the_half_that_dials_it() {
        for frames in [ASTERISK_22, ASTERISK_16] {
            let behind = recorded(frames).into_iter().find_map(|event| match event {
                Event::Dial {
                    caller: Some(caller),
                    peer,
                    status: DialStatus::Failed,
                } => Some((caller, peer)),
                _ => None,
            });
            let (caller, peer) = behind.unwrap();
            assert!(matches!(caller, Cow::Borrowed(_)));
            assert_eq!((caller.len(), peer.starts_with("17951753")), (36, true));
        }
    }

    #[test]
    fn a_reply_carries_its_request_status_and_body() {
        let replies: Vec<_> = recorded(ASTERISK_22)
            .into_iter()
            .filter_map(|event| match event {
                Event::Reply {
                    request_id,
                    status,
                    body,
                } => Some((request_id, status, body.map(str::len).unwrap_or_default())),
                _ => None,
            })
            .collect();
        assert_eq!(replies.len(), 2);
        assert_eq!((&*replies[0].0, replies[0].1), ("7", 200));
        assert!(replies[0].2 > 400);
        assert_eq!((&*replies[1].0, replies[1].1), ("8", 404));
    }

    #[test]
    fn the_end_of_a_picked_up_leg_names_no_application() {
        // Shortened from frames of 22.10 and 16.28, which are the same here.
        let frame = br#"{"type":"ChannelDestroyed","cause":16,"channel":{"id":"x","state":"Ringing",
            "dialplan":{"context":"from-internal","exten":"*8","priority":1,"app_name":"","app_data":""}}}"#;
        assert!(matches!(
            decode(frame).unwrap(),
            Event::Destroyed { application: Some(application), .. } if application.is_empty()
        ));
    }

    #[test]
    fn frames_that_say_nothing_are_errors_and_unknown_ones_are_other() {
        for bad in [
            "",
            "{",
            "[]",
            "null",
            r#"{"type":5}"#,
            r#"{"kind":"Dial"}"#,
            r#"{"type":"Dial"}"#,
            r#"{"type":"Dial","peer":{}}"#,
            r#"{"type":"StasisStart","channel":"x"}"#,
            r#"{"type":"ChannelDestroyed","cause":"busy","channel":{"id":"x"}}"#,
            r#"{"type":"RecordingStarted","recording":{}}"#,
            r#"{"type":"RESTResponse","request_id":"1"}"#,
            r#"{"type":"RESTResponse","request_id":"1","status_code":70000}"#,
        ] {
            assert!(decode(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(decode(b"{\"type\":\"Dial\",\"peer\":{\"id\":\"\xff\"}}").is_err());
        assert_eq!(
            decode(br#"{"type":"ContactStatusChange","new":[1,{"a":null}]}"#).unwrap(),
            Event::Other
        );
    }

    #[test]
    fn causes_out_of_range_are_none_and_escapes_are_undone() {
        let event =
            decode(br#"{"type":"ChannelDestroyed","cause":-1,"tech_cause":0,"channel":{"id":"a\u0062\"c"}}"#);
        assert_eq!(
            event.unwrap(),
            Event::Destroyed {
                channel: "ab\"c".into(),
                cause: Cause::default(),
                application: None,
            }
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }

        #[test]
        fn no_damage_to_a_real_frame_makes_it_panic(
            nth in 0usize..15, cut in 0usize..2000, place in 0usize..2000, byte: u8,
        ) {
            let mut frame = ASTERISK_22.lines().nth(nth).unwrap().as_bytes().to_vec();
            frame.truncate(cut.max(1));
            let place = place % frame.len();
            frame[place] = byte;
            let _ = decode(&frame);
        }
    }
}
