//! Events in the plain format. In: a frame's body. Out: an [`Event`] that borrows from it.
//!
//! An event has up to 250 headers, of which a dozen say something to us. The others are skipped at the speed of a search
//! for line ends; nothing is stored, sorted or decoded before somebody asks.
//!
//! FreeSWITCH percent-encodes values, but leaves a `%XX` that was in one before as it is: that cannot be told apart.

use crate::codec::{parse_length, split_header};
use std::borrow::Cow;

/// What an event is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventKind {
    /// A channel exists now.
    Create,
    /// It rings.
    Progress,
    /// It has early media.
    ProgressMedia,
    /// It is answered.
    Answer,
    /// It waits for orders.
    Park,
    /// It does not any more: it is joined, moved or over.
    Unpark,
    /// It talks with another.
    Bridge,
    /// It does not any more.
    Unbridge,
    /// Its far end has put it on hold.
    Hold,
    /// And off again, or FreeSWITCH takes it for that.
    Unhold,
    /// It is over; this event has all causes and times.
    HangupComplete,
    /// A `bgapi` command is done; the body is what it printed.
    BackgroundJob,
    /// Something is recorded now.
    RecordStart,
    /// It is not any more.
    RecordStop,
    /// Something was played, or could not be.
    PlaybackStop,
    /// The switch says that it lives.
    Heartbeat,
    /// Anything else.
    #[default]
    Other,
}

/// A header's value as it stands on the wire. Empty where there is none.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Value<'a>(pub &'a [u8]);

impl std::fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text())
    }
}

impl<'a> Value<'a> {
    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The number, if it is one that fits.
    pub fn number(self) -> Option<u64> {
        std::str::from_utf8(self.0).ok()?.parse().ok()
    }

    /// Whether this is a time or a count other than 0, which is how FreeSWITCH says "never".
    pub fn is_some_time(self) -> bool {
        self.number().is_some_and(|number| number != 0)
    }

    /// The text, percent-decoded once. Bytes that are no UTF-8 are read as Latin-1, which is what they mostly are.
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

/// An event, reduced to what is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event<'a> {
    /// What it is about.
    pub kind: EventKind,
    /// When it happened by the switch's own clock, µs since 1970 (`Event-Date-Timestamp`).
    pub at: Value<'a>,
    /// The channel (`Unique-ID`).
    pub channel: Value<'a>,
    /// The channel that it talks with (`Other-Leg-Unique-ID`).
    pub other: Value<'a>,
    /// The one side of a bridge (`Bridge-A-Unique-ID`).
    pub bridge_a: Value<'a>,
    /// Its other side (`Bridge-B-Unique-ID`).
    pub bridge_b: Value<'a>,
    /// The job that is done (`Job-UUID`).
    pub job: Value<'a>,
    /// `answered`, `early`, `ringing`, `hangup` (`Answer-State`).
    pub answer_state: Value<'a>,
    /// `CS_PARK` and so on (`Channel-State`).
    pub state: Value<'a>,
    /// What the channel does in `CS_EXECUTE` (`variable_current_application`).
    pub current_application: Value<'a>,
    /// FreeSWITCH's word for why a channel ended (`Hangup-Cause`).
    pub cause: Value<'a>,
    /// The same as a Q.850 number (`variable_hangup_cause_q850`).
    pub q850: Value<'a>,
    /// The final SIP status, where there was one (`variable_sip_term_status`).
    pub sip: Value<'a>,
    /// Which SIP request ended it, and from which side: `recv_bye` (`variable_sip_hangup_disposition`).
    pub sip_end: Value<'a>,
    /// When the channel was answered, µs since 1970; 0 is never (`Caller-Channel-Answered-Time`).
    pub answered_at: Value<'a>,
    /// When it rang (`Caller-Channel-Progress-Time`).
    pub rang_at: Value<'a>,
    /// When it had early media (`Caller-Channel-Progress-Media-Time`).
    pub early_media_at: Value<'a>,
    /// What the far end last said of its audio (`variable_switch_r_sdp`).
    pub far_sdp: Value<'a>,
    /// What the far end asked us by REFER: `blind:…` or `att:…` (`variable_transfer_to`).
    pub transfer: Value<'a>,
    /// Why the channel ended that this one was last put through to (`variable_last_bridge_hangup_cause`).
    pub beyond: Value<'a>,
    /// Whose channel it is (`variable_paceline_app`).
    pub app: Value<'a>,
    /// The leg that it was placed for, which the far half of a loopback says too (`variable_paceline_leg`).
    pub leg: Value<'a>,
    /// Which side it is (`variable_paceline_side`).
    pub side: Value<'a>,
    /// The recording that this channel was last told to make (`variable_paceline_recording`).
    pub recording: Value<'a>,
    /// The recorded file (`Record-File-Path`).
    pub record_path: Value<'a>,
    /// How long the recording is, ms (`variable_record_ms`).
    pub record_ms: Value<'a>,
    /// What was played (`Playback-File-Path`).
    pub playback_path: Value<'a>,
    /// `done` or `break` (`Playback-Status`).
    pub playback_status: Value<'a>,
    /// What comes after the headers: a job's output.
    pub body: &'a [u8],
}

impl<'a> Event<'a> {
    /// Reads an event's body. Lines that are no headers are passed over; of a header that comes twice the first counts.
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
        // Without the empty line at its end.
        event.header(frame.get(at..).unwrap_or_default(), &mut body_length);
        event
    }

    fn header(&mut self, line: &'a [u8], body_length: &mut usize) {
        // Nine headers of ten are variables or parts of caller profiles that nobody asks for.
        match line.first() {
            Some(b'v') => {
                if let Some(line) = line.strip_prefix(b"variable_") {
                    self.variable(line);
                }
            }
            Some(b'C') => self.channel_header(line, body_length),
            Some(b'A' | b'B' | b'E' | b'H' | b'J' | b'O' | b'P' | b'R' | b'U') => self.other_header(line),
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
    fn what_is_used_is_read_and_the_rest_passed_over() {
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
