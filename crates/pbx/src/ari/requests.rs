//! Requests to ARI as values, and their form on the wire. Input: an operation and its parameters. Output: method, path and body.
//! Nothing is sent here.

use super::leg::Mixing;
use paceline_core::pbx::{CallerId, DialString, Sound};
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Duration;
use uuid::Uuid;

/// The types of event that the driver reads. Asterisk sends an application only the types that are named here. Even the replies
/// to requests on the event stream must be named.
const EVENTS: [&str; 14] = [
    "RESTResponse",
    "Dial",
    "StasisStart",
    "ChannelDestroyed",
    "ChannelLeftBridge",
    "ChannelHold",
    "ChannelUnhold",
    "ChannelDtmfReceived",
    "EndpointStateChange",
    "PlaybackFinished",
    "RecordingStarted",
    "RecordingFinished",
    "RecordingFailed",
    "ApplicationReplaced",
];
/// Needed if legs go through the dialplan. This event gives the trunk's cause. The later end of our leg gives only the
/// dialplan's.
const EVENT_FOR_TRUNKS: &str = "ChannelHangupRequest";

/// The HTTP method of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads something.
    Get,
    /// Creates something, or starts an action.
    Post,
    /// Sets something.
    Put,
    /// Removes or stops something.
    Delete,
}

impl Method {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// One request. The path of an originate contains the callee's number, so there is no `Debug`.
pub struct Request {
    /// The HTTP method.
    pub method: Method,
    /// The path below `/ari/`, with its query. It is already escaped.
    pub path: String,
    /// The body as JSON. `None` if the request has no body.
    pub body: Option<String>,
}

impl Request {
    /// A request without a body. `path` must be escaped.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            body: None,
        }
    }

    /// The request as a frame of the event stream. Asterisk 20.14, 21.9, 22.4 and later accept it.
    pub(super) fn frame(&self, request_id: u64) -> Result<String, serde_json::Error> {
        #[derive(Serialize)]
        struct Frame<'a> {
            r#type: &'static str,
            request_id: &'a str,
            method: &'static str,
            uri: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            content_type: Option<&'static str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            message_body: Option<&'a str>,
        }
        serde_json::to_string(&Frame {
            r#type: "RESTRequest",
            request_id: &request_id.to_string(),
            method: self.method.as_str(),
            uri: &self.path,
            content_type: self.body.as_ref().map(|_| "application/json"),
            message_body: self.body.as_deref(),
        })
    }
}

/// Appends `text` to a path or a query, percent-encoded.
pub fn escape(path: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            let _ = write!(path, "%{byte:02X}");
        }
    }
}

/// `text` as a JSON string, with its quotes.
fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The duration in whole seconds, rounded up.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// The id of the dialplan's half of a leg that was placed over `Local/`. It is the leg's id with a changed version nibble, so
/// each of the two ids gives the other. No UUID of ours has this version.
pub(super) fn far_half(leg: Uuid) -> Uuid {
    let mut bytes = *leg.as_bytes();
    if let Some(byte) = bytes.get_mut(6) {
        *byte ^= 0xa0;
    }
    Uuid::from_bytes(bytes)
}

/// The parameters of a new leg.
pub(super) struct Placement<'a> {
    pub(super) leg: Uuid,
    /// Asterisk gives it back as the first argument when the leg enters the application.
    pub(super) argument: &'static str,
    /// Asterisk gives it back as the second argument.
    pub(super) mark: &'a str,
    pub(super) dial: &'a DialString,
    pub(super) caller_id: Option<&'a CallerId>,
    pub(super) ring_timeout: Duration,
    pub(super) duration_max: Duration,
}

/// The variable that distinguishes an agent's leg from a callee's while the PBX still dials it. Its value is our mark, a comma,
/// and `agent` or `callee`.
pub(super) const SIDE_VARIABLE: &str = "PACELINE_SIDE";

/// The variable of an agent's leg with the name of the last recording that was started in its bridge.
pub(super) const RECORDING_VARIABLE: &str = "PACELINE_RECORDING";

/// The variable of an agent's leg that is set while its phone has put it on hold. It is needed for legs that are called through the
/// dialplan, because the PBX does not show this for them.
pub(super) const HOLD_VARIABLE: &str = "PACELINE_HOLD";

/// A function that gives `1` if the phone at the end of a PJSIP channel has put it on hold, and else `0`.
pub(super) const ON_HOLD: &str = "CHANNEL(rtp,hold,audio)";

/// The variable of an agent's leg that is set once its phone has sent audio steadily.
pub(super) const STEADY_VARIABLE: &str = "PACELINE_STEADY";

/// An endpoint, as `PJSIP/desk-1`, in the form of an event source.
pub(super) fn endpoint_source(endpoint: &str) -> String {
    format!("endpoint:{endpoint}")
}

/// The codecs between the two halves of a `Local` channel. Without this list, Asterisk 22 takes its widest codec, 192 kHz. Every
/// call is then resampled at both ends, and from an agent's second call on the agent hears nothing (measured on 22.10).
const LOCAL_FORMATS: &str = "ulaw,alaw";

pub(super) fn originate(app: &str, place: &Placement<'_>) -> Request {
    let mut path = String::with_capacity(256);
    let _ = write!(path, "channels/{}?endpoint=", place.leg);
    let dial = place.dial.expose();
    escape(&mut path, dial);
    if goes_through_dialplan(place.dial) {
        // Without `/n`, the PBX replaces the leg by the trunk's channel when the call is answered, and the leg's id is lost.
        if !dial.ends_with("/n") {
            path.push_str("%2Fn");
        }
        let _ = write!(
            path,
            "&otherChannelId={}&formats={LOCAL_FORMATS}",
            far_half(place.leg)
        );
    }
    path.push_str("&app=");
    escape(&mut path, app);
    let _ = write!(
        path,
        "&appArgs={}%2C{}&timeout={}",
        place.argument,
        place.mark,
        seconds(place.ring_timeout).max(1)
    );
    if let Some(caller_id) = place.caller_id {
        path.push_str("&callerId=");
        escape(&mut path, caller_id.as_str());
    }
    Request {
        // The PBX enforces this limit itself, in or outside a bridge, with or without a connected client (measured on 16 and 22).
        body: Some(format!(
            r#"{{"variables":{{"TIMEOUT(absolute)":"{}","{SIDE_VARIABLE}":{}}}}}"#,
            seconds(place.duration_max).max(1),
            json_text(&format!("{},{}", place.mark, place.argument)),
        )),
        ..Request::new(Method::Post, path)
    }
}

/// Creates a channel that dials nobody, to find out whether the PBX accepts new calls. While the PBX shuts down, it answers every
/// originate as if the endpoint were unknown, and this request too (`core restart gracefully`, measured on 16 and 22). The
/// channel has our mark, so it is hung up as a stray as soon as it appears.
pub(super) fn try_channel(app: &str, mark: &str, id: Uuid) -> Request {
    let far_half = far_half(id);
    let mut path = format!(
        "channels/create?endpoint=Local%2Fpaceline%40paceline%2Fn&channelId={id}&otherChannelId={far_half}\
         &formats={LOCAL_FORMATS}&app="
    );
    escape(&mut path, app);
    path.push_str("&appArgs=callee%2C");
    escape(&mut path, mark);
    Request::new(Method::Post, path)
}

/// True if this dial string leads into the dialplan. The dialplan then dials a trunk behind our leg.
pub(super) fn goes_through_dialplan(dial: &DialString) -> bool {
    dial.expose().starts_with("Local/")
}

pub(super) fn hang_up(channel: &str) -> Request {
    Request::new(Method::Delete, format!("channels/{channel}"))
}

pub(super) fn send_silence(channel: Uuid) -> Request {
    Request::new(Method::Post, format!("channels/{channel}/silence"))
}

pub(super) fn stop_silence(channel: Uuid) -> Request {
    Request::new(Method::Delete, format!("channels/{channel}/silence"))
}

pub(super) fn variable(channel: Uuid, name: &str) -> Request {
    let mut path = format!("channels/{channel}/variable?variable=");
    escape(&mut path, name);
    Request::new(Method::Get, path)
}

pub(super) fn set_variable(channel: Uuid, name: &str, value: &str) -> Request {
    let mut path = format!("channels/{channel}/variable?variable={name}&value=");
    escape(&mut path, value);
    Request::new(Method::Post, path)
}

/// The id of an agent's bridge. It is not the bare UUID, because Asterisk keeps an application's subscriptions to channels and
/// bridges in one table, by id. An application with a subscription to a channel gets no events of a bridge with the same id.
pub(super) fn bridge_id(mark: &str, agent: Uuid) -> String {
    format!("{mark}-{agent}")
}

/// An agent's bridge in the form of an event source.
pub(super) fn bridge_source(mark: &str, agent: Uuid) -> String {
    format!("bridge:{}", bridge_id(mark, agent))
}

/// The agent's leg of a bridge. `None` if the bridge is not ours.
pub(super) fn agent_of(mark: &str, bridge: &str) -> Option<Uuid> {
    let uuid = bridge.strip_prefix(mark)?.strip_prefix('-')?;
    (uuid.len() == 36).then(|| Uuid::try_parse(uuid).ok()).flatten()
}

/// The path `bridges/{id}`, followed by `rest`.
fn bridge(mark: &str, agent: Uuid, rest: &str) -> String {
    let mut path = "bridges/".to_owned();
    escape(&mut path, &bridge_id(mark, agent));
    path.push_str(rest);
    path
}

pub(super) fn make_bridge(mark: &str, agent: Uuid, mixing: Mixing) -> Request {
    let kind = match mixing {
        Mixing::Core => "?type=mixing,dtmf_events",
        Mixing::Native => "?type=mixing",
    };
    Request::new(Method::Post, bridge(mark, agent, kind))
}

pub(super) fn add_to_bridge(mark: &str, agent: Uuid, channel: Uuid) -> Request {
    let path = bridge(mark, agent, &format!("/addChannel?channel={channel}"));
    Request::new(Method::Post, path)
}

/// Asks for the number of packets from and to a channel.
pub(super) fn rtp_statistics(channel: Uuid) -> Request {
    Request::new(Method::Get, format!("channels/{channel}/rtp_statistics"))
}

/// The packets received from the phone and sent to it, from the reply to [`rtp_statistics`]. `body` is JSON, or a JSON string
/// that contains JSON. `None` if the numbers cannot be read.
pub(super) fn packets(body: &[u8]) -> Option<(u64, u64)> {
    #[derive(serde::Deserialize)]
    struct Packets {
        rxcount: u64,
        txcount: u64,
    }
    let unpacked: Option<String> = serde_json::from_slice(body).ok();
    let packets: Packets = serde_json::from_slice(unpacked.as_ref().map_or(body, String::as_bytes)).ok()?;
    Some((packets.rxcount, packets.txcount))
}

pub(super) fn endpoints() -> Request {
    Request::new(Method::Get, "endpoints/PJSIP".to_owned())
}

pub(super) fn destroy_bridge(mark: &str, agent: Uuid) -> Request {
    Request::new(Method::Delete, bridge(mark, agent, ""))
}

pub(super) fn play(mark: &str, agent: Uuid, playback: &str, sound: &Sound) -> Request {
    let mut path = bridge(mark, agent, "/play?playbackId=");
    escape(&mut path, playback);
    path.push_str("&media=");
    escape(&mut path, sound.as_str());
    Request::new(Method::Post, path)
}

/// The prefix of the playback ids of messages to abandoned callees. The leg's id follows.
const MESSAGE_PREFIX: &str = "paceline-message-";

pub(super) fn play_message(leg: Uuid, sound: &Sound) -> Request {
    let mut path = format!("channels/{leg}/play?playbackId={MESSAGE_PREFIX}{leg}&media=");
    escape(&mut path, sound.as_str());
    Request::new(Method::Post, path)
}

/// The callee's leg for this message. `None` if the playback is not such a message.
pub(super) fn message_of(playback: &str) -> Option<Uuid> {
    Uuid::try_parse(playback.strip_prefix(MESSAGE_PREFIX)?).ok()
}

pub(super) fn stop_playback(playback: &str) -> Request {
    let mut path = "playbacks/".to_owned();
    escape(&mut path, playback);
    Request::new(Method::Delete, path)
}

pub(super) fn record(mark: &str, agent: Uuid, recording: &str) -> Request {
    let mut path = bridge(mark, agent, "/record?format=wav&ifExists=fail&name=");
    escape(&mut path, recording);
    Request::new(Method::Post, path)
}

pub(super) fn stop_recording(recording: &str) -> Request {
    let mut path = "recordings/live/".to_owned();
    escape(&mut path, recording);
    path.push_str("/stop");
    Request::new(Method::Post, path)
}

pub(super) fn live_recording(recording: &str) -> Request {
    let mut path = "recordings/live/".to_owned();
    escape(&mut path, recording);
    Request::new(Method::Get, path)
}

pub(super) fn event_filter(app: &str, trunks: bool) -> Request {
    let mut path = "applications/".to_owned();
    escape(&mut path, app);
    path.push_str("/eventFilter");
    let mut body = r#"{"allowed":["#.to_owned();
    let events = EVENTS.iter().chain(trunks.then_some(&EVENT_FOR_TRUNKS));
    for (position, event) in events.enumerate() {
        let comma = if position == 0 { "" } else { "," };
        let _ = write!(body, r#"{comma}{{"type":"{event}"}}"#);
    }
    body.push_str("]}");
    Request {
        body: Some(body),
        ..Request::new(Method::Put, path)
    }
}

pub(super) fn subscribe(app: &str, source: &str) -> Request {
    let mut path = "applications/".to_owned();
    escape(&mut path, app);
    path.push_str("/subscription?eventSource=");
    escape(&mut path, source);
    Request::new(Method::Post, path)
}

/// The PBX's global variables about our application.
#[derive(Clone, Copy)]
pub(super) enum OwnerVariable {
    /// The mark of the installation that uses the application.
    Owner,
    /// A value that changes every second while that installation runs. It is needed because Asterisk does not distinguish an
    /// application with a connected client from one that only has channels left.
    Alive,
}

fn told(app: &str, what: OwnerVariable) -> String {
    let name = match what {
        OwnerVariable::Owner => "PACELINE_OWNER_",
        OwnerVariable::Alive => "PACELINE_ALIVE_",
    };
    let mut path = format!("asterisk/variable?variable={name}");
    escape(&mut path, app);
    path
}

pub(super) fn read_told(app: &str, what: OwnerVariable) -> Request {
    Request::new(Method::Get, told(app, what))
}

pub(super) fn tell(app: &str, what: OwnerVariable, value: &str) -> Request {
    let mut path = told(app, what);
    path.push_str("&value=");
    escape(&mut path, value);
    Request::new(Method::Post, path)
}

pub(super) fn application(app: &str) -> Request {
    let mut path = "applications/".to_owned();
    escape(&mut path, app);
    Request::new(Method::Get, path)
}

pub(super) fn info() -> Request {
    Request::new(Method::Get, "asterisk/info?only=system".to_owned())
}

pub(super) fn channels() -> Request {
    Request::new(Method::Get, "channels".to_owned())
}

pub(super) fn bridges() -> Request {
    Request::new(Method::Get, "bridges".to_owned())
}

/// The PBX's words about a refusal, free of personal data. If its words could contain a number or a dial string, the text has
/// only the status. `body` is JSON, or, in a reply on the event stream, a JSON string that contains JSON.
pub(super) fn words(status: u16, body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Refusal {
        message: Option<String>,
        error: Option<String>,
    }
    let unpacked: Option<String> = serde_json::from_slice(body).ok();
    let refusal: Option<Refusal> =
        serde_json::from_slice(unpacked.as_ref().map_or(body, String::as_bytes)).ok();
    refusal
        .and_then(|refusal| refusal.message.or(refusal.error))
        .filter(|words| {
            words.len() <= 120
                && words
                    .chars()
                    .all(|c| c.is_ascii_alphabetic() || " .,'()".contains(c))
        })
        .unwrap_or_else(|| format!("refused with status {status}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(dial: &str) -> Request {
        originate(
            "paceline",
            &Placement {
                leg: Uuid::nil(),
                argument: "callee",
                mark: "paceline-1",
                dial: &DialString::new(dial).unwrap(),
                caller_id: Some(&CallerId::new("+12025550100").unwrap()),
                ring_timeout: Duration::from_millis(2001),
                duration_max: Duration::from_millis(999),
            },
        )
    }

    #[test]
    fn times_are_rounded_up_and_text_is_escaped() {
        let request = placed("PJSIP/+12025550140#@carrier");
        assert_eq!(
            request.path,
            "channels/00000000-0000-0000-0000-000000000000?endpoint=PJSIP%2F%2B12025550140%23%40carrier\
             &app=paceline&appArgs=callee%2Cpaceline-1&timeout=3&callerId=%2B12025550100"
        );
        assert_eq!(
            request.body.as_deref(),
            Some(r#"{"variables":{"TIMEOUT(absolute)":"1","PACELINE_SIDE":"paceline-1,callee"}}"#)
        );
    }

    #[test]
    fn a_leg_through_the_dialplan_keeps_its_channel_and_has_a_known_far_half() {
        for (dial, placed_as) in [
            ("Local/12@ctx", "Local%2F12%40ctx%2Fn&"),
            ("Local/12@ctx/n", "Local%2F12%40ctx%2Fn&"),
        ] {
            let path = placed(dial).path;
            assert!(path.contains(placed_as), "{path}");
            assert!(
                path.contains("&otherChannelId=00000000-0000-a000-0000-000000000000"),
                "{path}"
            );
        }
        for leg in [Uuid::now_v7(), Uuid::new_v4()] {
            assert_ne!(far_half(leg), leg);
            assert!(far_half(leg).get_version_num() > 8);
            assert_eq!(far_half(far_half(leg)), leg);
        }
    }

    proptest::proptest! {
        #[test]
        fn an_originate_holds_one_dial_string_and_nothing_else_that_a_trunk_brought(
            (dial, caller_id) in crate::hostile::trunk(),
        ) {
            let request = originate(
                "paceline",
                &Placement {
                    leg: Uuid::nil(),
                    argument: "callee",
                    mark: "paceline-1",
                    dial: &dial,
                    caller_id: caller_id.as_ref(),
                    ring_timeout: Duration::from_secs(20),
                    duration_max: Duration::from_secs(60),
                },
            );
            let (path, query) = request.path.split_once('?').unwrap();
            proptest::prop_assert_eq!(path, "channels/00000000-0000-0000-0000-000000000000");
            let plain = |text: &str| {
                let text = text.replace("%2F", "").replace("%2B", "").replace("%23", "").replace("%2A", "").replace("%40", "").replace("%2C", "");
                text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.,".contains(&byte))
            };
            let keys: Vec<&str> = query.split('&').map(|pair| {
                let (key, value) = pair.split_once('=').unwrap();
                assert!(plain(value), "{pair}");
                key
            }).collect();
            let local = if goes_through_dialplan(&dial) { vec!["otherChannelId", "formats"] } else { vec![] };
            let shown = if caller_id.is_some() { vec!["callerId"] } else { vec![] };
            let wanted = [vec!["endpoint"], local, vec!["app", "appArgs", "timeout"], shown].concat();
            proptest::prop_assert_eq!(keys, wanted);
        }
    }

    #[test]
    fn an_agents_bridge_is_known_by_its_id() {
        let agent = Uuid::now_v7();
        assert_eq!(agent_of("paceline", &bridge_id("paceline", agent)), Some(agent));
        for other in [
            agent.to_string(),
            bridge_id("pace", agent),
            "paceline-".to_owned(),
            "paceline-x".to_owned(),
        ] {
            assert_eq!(agent_of("paceline", &other), None, "{other}");
        }
    }

    #[test]
    fn a_refusals_words_are_kept_unless_they_could_hold_a_number() {
        for (body, expected) in [
            (r#"{"error":"Allocation failed"}"#, "Allocation failed"),
            (r#""{\"message\":\"Channel not found\"}""#, "Channel not found"),
            (
                r#"{"message":"No such endpoint PJSIP/+12025550140"}"#,
                "refused with status 500",
            ),
            ("<html>", "refused with status 500"),
            ("", "refused with status 500"),
        ] {
            assert_eq!(words(500, body.as_bytes()), expected);
        }
    }

    #[test]
    fn a_request_on_the_event_stream_is_one_json_object() {
        let frame = placed("PJSIP/x").frame(7).unwrap();
        let value: serde_json::Value = serde_json::from_str(&frame).unwrap();
        assert_eq!(value["type"], "RESTRequest");
        assert_eq!(value["request_id"], "7");
        assert_eq!(value["method"], "POST");
        let body: serde_json::Value = serde_json::from_str(value["message_body"].as_str().unwrap()).unwrap();
        assert_eq!(body["variables"]["PACELINE_SIDE"], "paceline-1,callee");
    }
}
