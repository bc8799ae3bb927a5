//! One test call over one trunk, and what was seen of it. In: a trunk and a number. Out: [`Call`]. The call has a Stasis
//! application of its own, so that a running Paceline is not disturbed, and a time limit on the switch.

use super::ari::{Ari, Reply};
use crate::store::TrunkRow;
use futures_util::StreamExt as _;
use paceline_core::number::E164;
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use uuid::Uuid;

/// How long the phone may ring.
const RING_S: u64 = 30;
/// How long an answered call is listened to; statistics of its media come after five seconds.
const LISTEN: Duration = Duration::from_secs(6);
/// Nothing outlives this, even if we die.
const LIMIT_S: u64 = 60;

/// A call to be placed.
#[derive(Clone, Debug)]
pub struct CallPlan {
    /// Over which trunk.
    pub trunk: String,
    /// To whom.
    pub number: E164,
    /// From which number; the trunk's if left out.
    pub caller_id: Option<String>,
}

/// What was seen of a call.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Call {
    /// Whether it was answered, and audio came.
    pub worked: bool,
    /// What happened, in order, with seconds since the start.
    pub seen: Vec<String>,
    /// What it means, and what to do.
    pub verdict: String,
}

impl Call {
    fn saw(&mut self, started: Instant, what: impl std::fmt::Display) {
        let seconds = started.elapsed().as_secs_f64();
        self.seen.push(format!("{seconds:.1} s: {what}"));
    }

    fn ends(mut self, verdict: impl Into<String>) -> Self {
        self.verdict = verdict.into();
        self
    }
}

/// Places it, waits for its end, and tells.
pub(super) async fn place(ari: &Ari, trunk: &TrunkRow, plan: &CallPlan) -> Call {
    let mut call = Call::default();
    let started = Instant::now();
    let app = format!("paceline-doctor-{}", Uuid::new_v4().simple());
    let mut socket = match connect(ari, &app).await {
        Ok(socket) => socket,
        Err(()) => return call.ends("the event stream cannot be opened: see what is said of ARI above"),
    };
    let id = Uuid::new_v4();
    let caller_id = plan.caller_id.as_deref().or(trunk.caller_id.as_deref());
    let body = json!({
        "endpoint": trunk.dial.render(&plan.number).0, "app": app, "timeout": RING_S, "callerId": caller_id,
        "variables": {"TIMEOUT(absolute)": LIMIT_S.to_string()},
    });
    let placed = ari
        .ask(Method::POST, &format!("/channels/{id}"), Some(body))
        .await;
    match placed {
        Ok(Reply { status, .. }) if status == StatusCode::OK => call.saw(started, "placed"),
        Ok(Reply { status, .. }) => {
            call.saw(
                started,
                format!("refused by Asterisk with HTTP {}", status.as_u16()),
            );
            return call.ends(
                "Asterisk cannot place it: the endpoint does not exist, has no contact, or is offline; `pjsip show endpoints` tells",
            );
        }
        Err(_) => return call.ends("Asterisk did not answer the request for the call"),
    }
    let deadline = started + Duration::from_secs(RING_S + 10);
    let (mut answered, mut rang) = (None, false);
    loop {
        let until = answered.map_or(deadline, |at: Instant| at + LISTEN);
        let Ok(message) = tokio::time::timeout_at(until.into(), socket.next()).await else {
            break;
        };
        let Some(Ok(Message::Text(text))) = message else {
            if matches!(message, None | Some(Err(_))) {
                return call.ends("the event stream broke in the middle of the call");
            }
            continue;
        };
        let event: Value = serde_json::from_str(&text).unwrap_or_default();
        let of_ours = event.pointer("/channel/id").or_else(|| event.pointer("/peer/id"));
        if of_ours.and_then(Value::as_str) != Some(id.to_string().as_str()) {
            continue;
        }
        match event.get("type").and_then(Value::as_str) {
            Some("ChannelStateChange")
                if event.pointer("/channel/state") == Some(&json!("Ringing")) && !rang =>
            {
                rang = true;
                call.saw(started, "rings");
            }
            Some("StasisStart") => {
                call.saw(started, "answered");
                answered = Some(Instant::now());
            }
            Some("ChannelDestroyed") => {
                let cause = event.get("cause").and_then(Value::as_i64).unwrap_or(0);
                let sip = event.get("tech_cause").and_then(Value::as_i64);
                let words = event.get("cause_txt").and_then(Value::as_str).unwrap_or_default();
                let sip_words = sip.map(|sip| format!(", SIP {sip}")).unwrap_or_default();
                call.saw(started, format!("ended: {words} (cause {cause}{sip_words})"));
                return match answered {
                    Some(_) => call
                        .ends("it was answered and hung up before audio could be counted: the trunk works"),
                    None => call.ends(meaning(cause, sip)),
                };
            }
            _ => {}
        }
    }
    if answered.is_some() {
        listen(ari, id, started, &mut call).await;
    } else {
        call.verdict = "nobody answered within half a minute".to_owned();
    }
    // The time limit on the switch ends it where this does not get through.
    drop(ari.ask(Method::DELETE, &format!("/channels/{id}"), None).await);
    drop(socket.close(None).await);
    call
}

async fn listen(ari: &Ari, id: Uuid, started: Instant, call: &mut Call) {
    let statistics = ari
        .ask(Method::GET, &format!("/channels/{id}/rtp_statistics"), None)
        .await;
    let statistics: Option<Value> = statistics
        .ok()
        .filter(|reply| reply.status == StatusCode::OK)
        .and_then(|reply| serde_json::from_slice(&reply.body).ok());
    let Some(statistics) = statistics else {
        call.saw(
            started,
            "its media cannot be counted, as it goes through the dialplan",
        );
        call.worked = true;
        call.verdict =
            "it was answered: the trunk works; whether it can be heard is for a person to say".to_owned();
        return;
    };
    let received = statistics.get("rxcount").and_then(Value::as_u64).unwrap_or(0);
    call.saw(started, format!("{received} packets of audio received"));
    call.worked = received > 0;
    call.verdict = if call.worked {
        "it was answered and can be heard: the trunk works".to_owned()
    } else {
        "it was answered and no audio came: open the RTP ports of rtp.conf to the carrier, and behind NAT set \
         external_media_address on the transport"
            .to_owned()
    };
}

/// What an unanswered call's end says of the trunk.
fn meaning(cause: i64, sip: Option<i64>) -> &'static str {
    match (sip, cause) {
        (Some(401 | 407), _) | (Some(403), _) => {
            "the carrier does not let us in: correct the credentials of the trunk's auth section, or have our address allowed"
        }
        (Some(488 | 606), _) | (_, 58 | 65) => {
            "the carrier takes none of the codecs that are offered: `allow` one of its codecs on the trunk's endpoint"
        }
        (Some(404 | 484 | 485 | 604), _) | (_, 1 | 3 | 28) => {
            "the carrier does not know the number in this form: see whether it wants {digits} in place of {number}, or a prefix"
        }
        (Some(486 | 600), _) | (_, 17) => "the line was busy: the trunk works as far as that",
        (Some(480 | 483), _) | (_, 19) => "it rang and nobody answered: the trunk works as far as that",
        (Some(408), _) | (_, 18 | 20) => {
            "the carrier does not answer: correct the contact of the trunk's aor, or reach the carrier"
        }
        (Some(603), _) | (_, 21) => {
            "the call was refused: by the callee, or by the carrier for its caller id"
        }
        (Some(500..=599), _) | (_, 27 | 34 | 38 | 41 | 42) => {
            "the carrier has no way to that number now: try another number, then ask the carrier"
        }
        _ => "it was not answered; the cause says why",
    }
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn connect(ari: &Ari, app: &str) -> Result<Socket, ()> {
    use base64::Engine as _;
    let url = ari.url.replacen("http", "ws", 1);
    let url = format!("{url}/ari/events?app={app}");
    let mut request = url.into_client_request().map_err(drop)?;
    let credentials = format!("{}:{}", ari.username, ari.password.expose_secret());
    let credentials = base64::engine::general_purpose::STANDARD.encode(credentials);
    let header = format!("Basic {credentials}").parse().map_err(drop)?;
    request.headers_mut().insert("authorization", header);
    let connected = tokio::time::timeout(Duration::from_secs(5), tokio_tungstenite::connect_async(request));
    connected
        .await
        .map_err(drop)?
        .map(|(socket, _)| socket)
        .map_err(drop)
}
