//! Events in the plain format. Input: the body of a frame. Output: an [`Event`] that borrows from it.
//!
//! An event has up to 250 headers, and Paceline uses about thirty of them. The others are skipped by a search for line
//! ends. Nothing is decoded before it is used.
//!
//! FreeSWITCH percent-encodes values, but it leaves a `%XX` that was already in the value. The two cannot be distinguished.

use crate::codec::{parse_length, split_header};
use std::borrow::Cow;

/// The kind of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventKind {
    /// A channel was created.
    Create,
    /// The channel rings.
    Progress,
    /// The channel has early media.
    ProgressMedia,
    /// The channel was answered.
    Answer,
    /// The channel was parked: it waits for commands.
    Park,
    /// The channel left the park: it was bridged, moved, or it ended.
    Unpark,
    /// The channel was bridged with another.
    Bridge,
    /// The bridge of the channel ended.
    Unbridge,
    /// The far end put the channel on hold.
    Hold,
    /// The far end ended the hold, or FreeSWITCH assumes it.
    Unhold,
    /// The channel ended. This event has all causes and times.
    HangupComplete,
    /// A `bgapi` command is done. The body is its output.
    BackgroundJob,
    /// A recording started.
    RecordStart,
    /// A recording ended.
    RecordStop,
    /// A playback ended or failed.
    PlaybackStop,
    /// The far end pressed a key.
    Dtmf,
    /// A periodic sign of life of FreeSWITCH.
    Heartbeat,
    /// Anything else.
    #[default]
    Other,
}

/// The value of a header as received. Empty if the header is missing.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Value<'a>(pub &'a [u8]);

impl std::fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text())
    }
}

impl<'a> Value<'a> {
    /// True if the header is missing or empty.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The value as a number, if it is one and fits.
    pub fn number(self) -> Option<u64> {
        std::str::from_utf8(self.0).ok()?.parse().ok()
    }

    /// True if this is a time or count other than 0. FreeSWITCH writes 0 for "never".
    pub fn is_some_time(self) -> bool {
        self.number().is_some_and(|number| number != 0)
    }

    /// The text, percent-decoded once. Bytes that are not UTF-8 are read as Latin-1, which is the usual encoding of such
    /// names.
    pub fn text(self) -> Cow<'a, str> {
        if memchr::memchr(b'%', self.0).is_none() {
            return match std::str::from_utf8(self.0) {
                Ok(text) => Cow::Borrowed(text),
                Err(_) => Cow::Owned(latin_1(self.0)),
            };
        }
        let mut bytes = Vec::with_capacity(self.0.len());
        let mut rest = self.0;
        while let Some((first, after)) = rest.split_first() {
            let decoded = (*first == b'%').then(|| Some((hex(*after.first()?)?, hex(*after.get(1)?)?)));
            if let Some(Some((high, low))) = decoded {
                bytes.push(high << 4 | low);
                rest = after.get(2..).unwrap_or_default();
            } else {
                bytes.push(*first);
                rest = after;
            }
        }
        Cow::Owned(String::from_utf8(bytes).unwrap_or_else(|err| latin_1(err.as_bytes())))
    }
}

fn latin_1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// An event, reduced to the headers that Paceline uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event<'a> {
    /// The kind.
    pub kind: EventKind,
    /// Time of the event by FreeSWITCH's clock, µs since 1970 (`Event-Date-Timestamp`).
    pub at: Value<'a>,
    /// The channel (`Unique-ID`).
    pub channel: Value<'a>,
    /// The other channel of the call (`Other-Leg-Unique-ID`).
    pub other: Value<'a>,
    /// First channel of a bridge (`Bridge-A-Unique-ID`).
    pub bridge_a: Value<'a>,
    /// Second channel of a bridge (`Bridge-B-Unique-ID`).
    pub bridge_b: Value<'a>,
    /// The finished job (`Job-UUID`).
    pub job: Value<'a>,
    /// `answered`, `early`, `ringing` or `hangup` (`Answer-State`).
    pub answer_state: Value<'a>,
    /// `CS_PARK` and so on (`Channel-State`).
    pub state: Value<'a>,
    /// The application that the channel executes in `CS_EXECUTE` (`variable_current_application`).
    pub current_application: Value<'a>,
    /// FreeSWITCH's name of the hang-up cause (`Hangup-Cause`).
    pub cause: Value<'a>,
    /// The hang-up cause as a Q.850 number (`variable_hangup_cause_q850`).
    pub q850: Value<'a>,
    /// The final SIP status, if there was one (`variable_sip_term_status`).
    pub sip: Value<'a>,
    /// The SIP request that ended the channel and its direction, such as `recv_bye` (`variable_sip_hangup_disposition`).
    pub sip_end: Value<'a>,
    /// Time of the answer, µs since 1970; 0 if never (`Caller-Channel-Answered-Time`).
    pub answered_at: Value<'a>,
    /// Time of ringing, likewise (`Caller-Channel-Progress-Time`).
    pub rang_at: Value<'a>,
    /// Time of early media, likewise (`Caller-Channel-Progress-Media-Time`).
    pub early_media_at: Value<'a>,
    /// The latest SDP of the far end (`variable_switch_r_sdp`).
    pub far_sdp: Value<'a>,
    /// The transfer that the far end requested by REFER: `blind:…` or `att:…` (`variable_transfer_to`).
    pub transfer: Value<'a>,
    /// Hang-up cause of the channel that this one was last bridged with (`variable_last_bridge_hangup_cause`).
    pub beyond: Value<'a>,
    /// The channel that this one was last bridged with (`variable_last_bridge_to`).
    pub bridged_with: Value<'a>,
    /// The Paceline application that placed the channel (`variable_paceline_app`).
    pub app: Value<'a>,
    /// The leg that the channel was placed for. The second half of a loopback has it too (`variable_paceline_leg`).
    pub leg: Value<'a>,
    /// The side of the call (`variable_paceline_side`).
    pub side: Value<'a>,
    /// The recording that was last started on this channel (`variable_paceline_recording`).
    pub recording: Value<'a>,
    /// Path of the recorded file (`Record-File-Path`).
    pub record_path: Value<'a>,
    /// Length of the recording, ms (`variable_record_ms`).
    pub record_ms: Value<'a>,
    /// Path of the played file (`Playback-File-Path`).
    pub playback_path: Value<'a>,
    /// `done` or `break` (`Playback-Status`).
    pub playback_status: Value<'a>,
    /// The pressed key (`DTMF-Digit`).
    pub digit: Value<'a>,
    /// The body of the event, such as the output of a job.
    pub body: &'a [u8],
}

impl<'a> Event<'a> {
    /// Reads the body of a frame. Lines that are not headers are skipped. If a header comes twice, the first one counts.
    pub fn decode(frame: &'a [u8]) -> Self {
        let mut event = Self::default();
        let mut body_length = 0;
        let mut at = 0;
        for end in memchr::memchr_iter(b'\n', frame) {
            let line = frame.get(at..end).unwrap_or_default();
            at = end + 1;
            if line.is_empty() {
                let body = frame.get(at..).unwrap_or_default();
                event.body = body.get(..body_length).unwrap_or(body);
                return event;
            }
            event.header(line, &mut body_length);
        }
        // The last header, if the empty line at the end is missing.
        event.header(frame.get(at..).unwrap_or_default(), &mut body_length);
        event
    }

    fn header(&mut self, line: &'a [u8], body_length: &mut usize) {
        // Nine of ten headers are variables or parts of caller profiles that Paceline does not use.
        match line.first() {
            Some(b'v') => {
                if let Some(line) = line.strip_prefix(b"variable_") {
                    self.variable(line);
                }
            }
            Some(b'C') => self.channel_header(line, body_length),
            Some(b'A' | b'B' | b'D' | b'E' | b'H' | b'J' | b'O' | b'P' | b'R' | b'U') => {
                self.other_header(line)
            }
            _ => {}
        }
    }

    fn variable(&mut self, line: &'a [u8]) {
        if !matches!(line.first(), Some(b'c' | b'h' | b'l' | b'p' | b'r' | b's' | b't')) {
            return;
        }
        let Some((name, value)) = split_header(line) else {
            return;
        };
        let slot = match name {
            b"hangup_cause_q850" => &mut self.q850,
            b"current_application" => &mut self.current_application,
            b"sip_term_status" => &mut self.sip,
            b"sip_hangup_disposition" => &mut self.sip_end,
            b"switch_r_sdp" => &mut self.far_sdp,
            b"transfer_to" => &mut self.transfer,
            b"last_bridge_hangup_cause" => &mut self.beyond,
            b"last_bridge_to" => &mut self.bridged_with,
            b"paceline_app" => &mut self.app,
            b"paceline_leg" => &mut self.leg,
            b"paceline_side" => &mut self.side,
            b"paceline_recording" => &mut self.recording,
            b"record_ms" => &mut self.record_ms,
            _ => return,
        };
        set(slot, value);
    }

    fn channel_header(&mut self, line: &'a [u8], body_length: &mut usize) {
        let Some((name, value)) = split_header(line) else {
            return;
        };
        let slot = match name {
            b"Caller-Channel-Answered-Time" => &mut self.answered_at,
            b"Caller-Channel-Progress-Time" => &mut self.rang_at,
            b"Caller-Channel-Progress-Media-Time" => &mut self.early_media_at,
            b"Channel-State" => &mut self.state,
            b"Content-Length" => {
                *body_length = parse_length(value).unwrap_or(0);
                return;
            }
            _ => return,
        };
        set(slot, value);
    }

    fn other_header(&mut self, line: &'a [u8]) {
        let Some((name, value)) = split_header(line) else {
            return;
        };
        let slot = match name {
            b"Event-Name" => {
                if self.kind == EventKind::Other {
                    self.kind = EventKind::of(value);
                }
                return;
            }
            b"Event-Date-Timestamp" => &mut self.at,
            b"Unique-ID" => &mut self.channel,
            b"Other-Leg-Unique-ID" => &mut self.other,
            b"Bridge-A-Unique-ID" => &mut self.bridge_a,
            b"Bridge-B-Unique-ID" => &mut self.bridge_b,
            b"Job-UUID" => &mut self.job,
            b"Answer-State" => &mut self.answer_state,
            b"DTMF-Digit" => &mut self.digit,
            b"Hangup-Cause" => &mut self.cause,
            b"Record-File-Path" => &mut self.record_path,
            b"Playback-File-Path" => &mut self.playback_path,
            b"Playback-Status" => &mut self.playback_status,
            _ => return,
        };
        set(slot, value);
    }
}

fn set<'a>(slot: &mut Value<'a>, value: &'a [u8]) {
    if slot.is_empty() {
        *slot = Value(value);
    }
}

impl EventKind {
    fn of(name: &[u8]) -> Self {
        match name {
            b"CHANNEL_CREATE" => Self::Create,
            b"CHANNEL_PROGRESS" => Self::Progress,
            b"CHANNEL_PROGRESS_MEDIA" => Self::ProgressMedia,
            b"CHANNEL_ANSWER" => Self::Answer,
            b"CHANNEL_PARK" => Self::Park,
            b"CHANNEL_UNPARK" => Self::Unpark,
            b"CHANNEL_BRIDGE" => Self::Bridge,
            b"CHANNEL_UNBRIDGE" => Self::Unbridge,
            b"CHANNEL_HOLD" => Self::Hold,
            b"CHANNEL_UNHOLD" => Self::Unhold,
            b"DTMF" => Self::Dtmf,
            b"CHANNEL_HANGUP_COMPLETE" => Self::HangupComplete,
            b"BACKGROUND_JOB" => Self::BackgroundJob,
            b"RECORD_START" => Self::RecordStart,
            b"RECORD_STOP" => Self::RecordStop,
            b"PLAYBACK_STOP" => Self::PlaybackStop,
            b"HEARTBEAT" => Self::Heartbeat,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_of_an_event_are_skipped() {
        let event = Event::decode(
            b"Event-Name: CHANNEL_HANGUP_COMPLETE\nCore-UUID: 1\nUnique-ID: leg\nHangup-Cause: USER_BUSY\n\
              Caller-Channel-Answered-Time: 0\nCaller-Channel-Progress-Time: 1795175310133000\nno header\n: \n\
              variable_hangup_cause_q850: 17\nvariable_sip_term_status: 486\nvariable_paceline_side: callee\n\
              Unique-ID: another\nvariable_record_ms:\n\n",
        );
        assert_eq!(event.kind, EventKind::HangupComplete);
        assert_eq!(event.channel.0, b"leg");
        assert_eq!(event.cause.0, b"USER_BUSY");
        assert_eq!((event.q850.number(), event.sip.number()), (Some(17), Some(486)));
        assert!(event.rang_at.is_some_time() && !event.answered_at.is_some_time());
        assert!(!event.early_media_at.is_some_time() && event.record_ms.is_empty());
        assert_eq!(event.side.0, b"callee");
    }

    #[test]
    fn a_jobs_output_is_the_body_lines_and_all() {
        let event =
            Event::decode(b"Event-Name: BACKGROUND_JOB\nJob-UUID: 7\nContent-Length: 9\n\n-ERR a\n\nb");
        assert_eq!(
            (event.kind, event.job.0, event.body),
            (EventKind::BackgroundJob, &b"7"[..], &b"-ERR a\n\nb"[..])
        );
        let short = Event::decode(b"Event-Name: BACKGROUND_JOB\nContent-Length: 900\n\n-ERR a");
        assert_eq!(short.body, b"-ERR a");
        let none = Event::decode(b"Event-Name: BACKGROUND_JOB\nContent-Length: x\n\n-ERR a");
        assert_eq!(none.body, b"");
        assert_eq!(Event::decode(b"Event-Name: CHANNEL_PARK").kind, EventKind::Park);
        assert_eq!(Event::decode(b""), Event::default());
    }

    #[test]
    fn values_are_decoded_once_and_bad_percents_stay() {
        for (wire, text) in [
            (&b"plain"[..], "plain"),
            (b"a%20b%2Cc", "a b,c"),
            (b"100%", "100%"),
            (b"100%2", "100%2"),
            (b"%zz%41", "%zzA"),
            (b"%2541", "%41"),
            (b"%C3%A9", "é"),
            (b"caf%E9", "café"),
            (b"caf\xe9", "café"),
            (b"%E9\xe9%", "éé%"),
            (b"", ""),
        ] {
            assert_eq!(Value(wire).text(), text);
        }
        assert_eq!(Value(b"18446744073709551616").number(), None);
    }
}
