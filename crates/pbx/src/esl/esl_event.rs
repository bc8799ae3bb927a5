//! Events of the PBX as owned values, small enough for a queue of tens of thousands. Input: a decoded event. Output: an
//! [`EslEvent`], or `None` if Paceline does not use the event. Pure.

use super::leg::{NO_ROOM, Side};
use paceline_core::pbx::Digit;
use paceline_esl::{Event, EventKind};
use uuid::Uuid;

/// Longer causes, file names and outputs of jobs are cut.
const TEXT_BYTES_MAX: usize = 256;

/// An event of a leg of ours, or of a background job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EslEvent {
    Created(Uuid),
    Ringing(Uuid),
    EarlyMedia(Uuid),
    Answered(Uuid),
    /// The leg is in `park` and waits for commands. `true`: its far end has requested a transfer.
    Parked(Uuid, bool),
    /// The leg has left `park` and still exists.
    Unparked(Uuid),
    /// The two talk with each other.
    Bridged(Uuid, Uuid),
    /// The two no longer talk with each other. The first one still exists.
    Unbridged(Uuid, Uuid),
    /// `true`: the far end has the leg on hold. `false`: it does not.
    OnHold(Uuid, bool),
    Ended(Uuid, Box<Facts>),
    /// The far half of this leg's loopback was created.
    FarHalf(Uuid),
    /// The far half of this leg's loopback ended because the PBX had no room for the trunk's channel.
    FarHalfFull(Uuid),
    /// An originate failed, for this reason in the PBX's words.
    NotPlaced(Uuid, String),
    /// The output of a job that is not an originate.
    Printed(Uuid, String),
    RecordingStarted(String),
    RecordingStopped(String, Option<u64>, StoppedBy),
    /// A playback to this channel ended. `true`: it was played to its end.
    Played(Uuid, bool),
    /// The far end of this channel pressed a key.
    Pressed(Uuid, Digit),
}

/// The way in which a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoppedBy {
    /// Its channel hangs up.
    HangUp,
    /// A command, or the PBX. The channel lives on.
    Other,
}

/// The facts in the last event of a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) side: Option<Side>,
    /// FreeSWITCH's name of the hang-up cause.
    pub(super) cause: String,
    pub(super) q850: Option<u16>,
    /// The SIP status with which the far end refused the call, 300 or more.
    pub(super) sip: Option<u16>,
    pub(super) answered: bool,
    pub(super) progressed: bool,
    /// True if the far end has requested a transfer.
    pub(super) transfers: bool,
    /// The channel that it was last bridged with.
    pub(super) bridged_with: Option<Uuid>,
}

pub(super) fn uuid(value: paceline_esl::Value<'_>) -> Option<Uuid> {
    // The parser also accepts other forms, but no id of ours has one.
    (value.0.len() == 36)
        .then(|| Uuid::try_parse_ascii(value.0).ok())
        .flatten()
}

fn bounded(text: &str) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

/// The id of a leg of ours. `None` for other channels, and for the far half of a loopback, which has the same variables.
pub(super) fn our_leg(event: &Event<'_>, app: &str) -> Option<Uuid> {
    (event.app.0 == app.as_bytes() && event.leg == event.channel)
        .then(|| uuid(event.channel))
        .flatten()
}

/// The name of a recording, from the path of its file.
fn recording(path: paceline_esl::Value<'_>) -> String {
    let path = path.text();
    let name = path.rsplit('/').next().unwrap_or_default();
    bounded(name.strip_suffix(".wav").unwrap_or(name))
}

pub(super) fn read_event(event: &Event<'_>, app: &str) -> Option<EslEvent> {
    if event.kind == EventKind::BackgroundJob {
        let job = uuid(event.job)?;
        let words = String::from_utf8_lossy(event.body);
        return match words.trim_end().strip_prefix("-ERR") {
            Some(words) => Some(EslEvent::NotPlaced(job, bounded(words.trim()))),
            // `-USAGE`: the PBX did not understand the command.
            None if words.starts_with('-') => {
                Some(EslEvent::NotPlaced(job, "command not understood".to_owned()))
            }
            None if words.starts_with("+OK") => None,
            None => Some(EslEvent::Printed(job, bounded(words.trim()))),
        };
    }
    // This event may lack the channel's variables. `Legs` knows by its id whether the channel is ours.
    if event.kind == EventKind::Dtmf {
        let digit = Digit::new(&event.digit.text()).ok()?;
        return Some(EslEvent::Pressed(uuid(event.channel)?, digit));
    }
    let Some(id) = our_leg(event, app) else {
        return far_half(event, app);
    };
    Some(match event.kind {
        EventKind::Create => EslEvent::Created(id),
        EventKind::Progress => EslEvent::Ringing(id),
        EventKind::ProgressMedia => EslEvent::EarlyMedia(id),
        EventKind::Answer => EslEvent::Answered(id),
        EventKind::Park | EventKind::Unpark if is_unanswered(event) => return None,
        EventKind::Park => EslEvent::Parked(id, !event.transfer.is_empty()),
        // The channel hangs up. The event of its end follows.
        EventKind::Unpark | EventKind::Unbridge if !event.cause.is_empty() => return None,
        EventKind::Unpark => EslEvent::Unparked(id),
        EventKind::Bridge => EslEvent::Bridged(uuid(event.bridge_a)?, uuid(event.bridge_b)?),
        EventKind::Unbridge => EslEvent::Unbridged(uuid(event.bridge_a)?, uuid(event.bridge_b)?),
        // FreeSWITCH also reports the end of a hold when the conversation ends, although the phone still holds. So the phone's SDP
        // decides.
        EventKind::Hold | EventKind::Unhold => EslEvent::OnHold(id, on_hold(&event.far_sdp.text())),
        EventKind::HangupComplete => EslEvent::Ended(id, Box::new(facts(event))),
        EventKind::RecordStart => EslEvent::RecordingStarted(recording(event.record_path)),
        EventKind::RecordStop => {
            let by = match event.cause.is_empty() {
                true => StoppedBy::Other,
                false => StoppedBy::HangUp,
            };
            EslEvent::RecordingStopped(recording(event.record_path), event.record_ms.number(), by)
        }
        // FreeSWITCH also reports `done` if the hang-up broke off the playback.
        EventKind::PlaybackStop => {
            EslEvent::Played(id, event.playback_status.0 == b"done" && event.cause.0.is_empty())
        }
        EventKind::BackgroundJob | EventKind::Dtmf | EventKind::Heartbeat | EventKind::Other => return None,
    })
}

/// True if the phone of this channel still rings. Measured on 1.11: `intercept` parks a channel that rings, sometimes with a
/// `CHANNEL_PARK` and a `CHANNEL_UNPARK`, and ends it. Nobody has answered this channel, so it is not a held leg.
fn is_unanswered(event: &Event<'_>) -> bool {
    matches!(event.answer_state.0, b"ringing" | b"early")
}

/// True if a far end with this SDP does not listen: `sendonly` or `inactive` (RFC 3264), or the address 0.0.0.0 (RFC 2543).
pub(super) fn on_hold(sdp: &str) -> bool {
    let (mut audio, mut session) = (None, None);
    let mut section = &mut session;
    for line in sdp.lines() {
        match line.trim_end() {
            line if line.starts_with("m=audio ") => section = &mut audio,
            // The direction of another stream does not matter.
            line if line.starts_with("m=") => break,
            "a=sendonly" | "a=inactive" | "c=IN IP4 0.0.0.0" => *section = Some(true),
            "a=sendrecv" | "a=recvonly" => *section = Some(false),
            _ => {}
        }
    }
    audio.or(session).unwrap_or(false)
}

/// Unix time in milliseconds by the PBX's clock at which the event happened. For an answer, this is the time of the answer, if known.
/// `None` if the event has no time.
pub(super) fn at_ms(event: &Event<'_>) -> Option<i64> {
    let answered = Some(event.answered_at).filter(|_| event.kind == EventKind::Answer);
    let us = answered
        .and_then(paceline_esl::Value::number)
        .filter(|us| *us > 0);
    i64::try_from(us.or_else(|| event.at.number())? / 1000).ok()
}

/// Reads an event of the far half of a loopback.
fn far_half(event: &Event<'_>, app: &str) -> Option<EslEvent> {
    let leg = (event.app.0 == app.as_bytes())
        .then(|| uuid(event.leg))
        .flatten()?;
    match event.kind {
        EventKind::Create => Some(EslEvent::FarHalf(leg)),
        // A carrier may give this cause, too. But then there was a channel to the carrier, and its cause is in `beyond`.
        EventKind::HangupComplete if event.cause.0 == NO_ROOM.as_bytes() && event.beyond.is_empty() => {
            Some(EslEvent::FarHalfFull(leg))
        }
        _ => None,
    }
}

fn facts(event: &Event<'_>) -> Facts {
    let code = |value: paceline_esl::Value<'_>| value.number().and_then(|code| u16::try_from(code).ok());
    Facts {
        side: Side::of(event.side.0),
        cause: bounded(&event.cause.text()),
        q850: code(event.q850).filter(|code| *code != 0),
        // After a BYE from the far end, this status is 200.
        sip: code(event.sip).filter(|code| *code >= 300),
        // Only an answered call ends with a BYE. If it has no time of the answer, the far end picked up, and the PBX ended the call
        // because the two had no common codec.
        answered: event.answered_at.is_some_time() || event.sip_end.0.ends_with(b"_bye"),
        progressed: event.rang_at.is_some_time() || event.early_media_at.is_some_time(),
        transfers: !event.transfer.is_empty(),
        bridged_with: uuid(event.bridged_with),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_far_half_of_a_loopback_distinguishes_a_full_pbx_from_a_carriers_refusal() {
        let leg = Uuid::from_u128(7);
        let far = Uuid::from_u128(8);
        let heard = |name: &str, app: &str, more: &str| {
            let text = format!(
                "Event-Name: {name}\nUnique-ID: {far}\nHangup-Cause: DESTINATION_OUT_OF_ORDER\n\
                 variable_paceline_app: {app}\nvariable_paceline_leg: {leg}\n{more}\n"
            );
            read_event(&Event::decode(text.as_bytes()), "paceline")
        };
        let ended = "CHANNEL_HANGUP_COMPLETE";
        assert_eq!(
            heard("CHANNEL_CREATE", "paceline", ""),
            Some(EslEvent::FarHalf(leg))
        );
        assert_eq!(heard(ended, "paceline", ""), Some(EslEvent::FarHalfFull(leg)));
        let carrier = "variable_last_bridge_hangup_cause: DESTINATION_OUT_OF_ORDER\n";
        assert_eq!(heard(ended, "paceline", carrier), None);
        assert_eq!(heard(ended, "another", ""), None);
        assert_eq!(heard("CHANNEL_ANSWER", "paceline", ""), None);
    }

    #[test]
    fn a_phone_on_hold_says_so_of_its_audio() {
        let start = "v=0\r\no=p 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
        for (sdp, held) in [
            (
                "c=IN IP4 127.0.0.1\r\nm=audio 4000 RTP/AVP 0\r\na=sendonly\r\n",
                true,
            ),
            (
                "c=IN IP4 127.0.0.1\r\nm=audio 4000 RTP/AVP 0\r\na=inactive\r\n",
                true,
            ),
            ("c=IN IP4 0.0.0.0\r\nm=audio 4000 RTP/AVP 0\r\n", true),
            ("a=sendonly\r\nm=audio 4000 RTP/AVP 0\r\n", true),
            ("a=sendonly\r\nm=audio 4000 RTP/AVP 0\r\na=sendrecv\r\n", false),
            (
                "m=audio 4000 RTP/AVP 0\r\na=sendrecv\r\nm=video 0 RTP/AVP 31\r\na=inactive\r\n",
                false,
            ),
            ("m=audio 4000 RTP/AVP 0\r\n", false),
            ("", false),
        ] {
            assert_eq!(on_hold(&format!("{start}{sdp}")), held, "{sdp}");
        }
    }

    #[test]
    fn a_callee_who_picked_up_and_got_a_bye_has_answered() {
        let leg = Uuid::from_u128(7);
        let answered = |end: &str| {
            let text = format!(
                "Event-Name: CHANNEL_HANGUP_COMPLETE\nUnique-ID: {leg}\nHangup-Cause: INCOMPATIBLE_DESTINATION\n\
                 Caller-Channel-Answered-Time: 0\nvariable_paceline_app: paceline\nvariable_paceline_leg: {leg}\n\
                 variable_sip_hangup_disposition: {end}\n\n"
            );
            match read_event(&Event::decode(text.as_bytes()), "paceline") {
                Some(EslEvent::Ended(_, facts)) => facts.answered,
                other => panic!("no end but {other:?}"),
            }
        };
        assert!(answered("send_bye") && answered("recv_bye"));
        assert!(!answered("recv_refuse") && !answered("send_cancel") && !answered(""));
    }
}
