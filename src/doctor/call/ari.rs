//! A test call over an Asterisk, in a Stasis application of its own.

use super::{Call, CallPlan, Cures, LIMIT_S, LISTEN, RING_S, heard, hung_up_early, meant};
use crate::doctor::ari::Ari;
use crate::pbx::ari::{AriConfig, Client, ClientError, EventStream, Method, Reply};
use crate::store::WayOut;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

const CURES: Cures = Cures {
    credentials: "correct the credentials of the trunk's auth section, or have our address allowed",
    codecs: "`allow` one of its codecs on the trunk's endpoint",
    reach: "correct the contact of the trunk's aor, or reach the carrier",
    media: "open the RTP ports of rtp.conf to the carrier, and behind NAT set external_media_address on the transport",
};

/// Places the call, waits for its result, and reports it.
pub(in crate::doctor) async fn place(ari: &Ari, way: &WayOut, plan: &CallPlan) -> Call {
    let mut call = Call::default();
    let started = Instant::now();
    let app = format!("paceline-doctor-{}", Uuid::new_v4().simple());
    let mut socket = match connect(ari, &app).await {
        Ok(socket) => socket,
        Err(_) => return call.ends("the event stream cannot be opened: see what is said of ARI above"),
    };
    let id = Uuid::new_v4();
    let caller_id = plan.caller_id.as_ref().or(way.caller_id.as_ref());
    let body = json!({
        "endpoint": way.dial.render(&plan.number).expose(), "app": app, "timeout": RING_S, "callerId": caller_id,
        "variables": {"TIMEOUT(absolute)": LIMIT_S.to_string()},
    });
    let placed = ari.ask(Method::Post, &format!("channels/{id}"), Some(body)).await;
    match placed {
        Ok(Reply { status: 200, .. }) => call.saw(started, "placed"),
        Ok(Reply { status, .. }) => {
            call.saw(started, format!("refused by Asterisk with HTTP {status}"));
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
                let cause = event.get("cause").and_then(Value::as_u64).unwrap_or(0);
                let sip = event.get("tech_cause").and_then(Value::as_u64);
                let words = event.get("cause_txt").and_then(Value::as_str).unwrap_or_default();
                let sip_words = sip.map(|sip| format!(", SIP {sip}")).unwrap_or_default();
                call.saw(started, format!("ended: {words} (cause {cause}{sip_words})"));
                return match answered {
                    Some(_) => hung_up_early(call),
                    None => meant(call, cause, sip, &CURES),
                };
            }
            _ => {}
        }
    }
    let call = if answered.is_some() {
        let received = packets(ari, id).await;
        heard(call, started, received, &CURES)
    } else {
        call.ends("nobody answered within half a minute")
    };
    // If this request does not arrive, the time limit on the PBX ends the call.
    drop(ari.ask(Method::Delete, &format!("channels/{id}"), None).await);
    drop(socket.close(None).await);
    call
}

/// Number of received audio packets. `None`: they cannot be counted.
async fn packets(ari: &Ari, id: Uuid) -> Option<u64> {
    let path = format!("channels/{id}/rtp_statistics");
    let reply = ari.ask(Method::Get, &path, None).await.ok()?;
    if reply.status != 200 {
        return None;
    }
    let statistics: Value = serde_json::from_slice(&reply.body).ok()?;
    Some(statistics.get("rxcount").and_then(Value::as_u64).unwrap_or(0))
}

/// The event stream of an application of its own.
async fn connect(ari: &Ari, app: &str) -> Result<EventStream, ClientError> {
    let config = AriConfig {
        app: app.to_owned(),
        ..ari.config.clone()
    };
    Client::new(&config)?.open().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PbxKind;
    use paceline_lab::HttpsServer;

    #[tokio::test]
    async fn a_private_authority_is_trusted_for_a_test_call_too() {
        let HttpsServer { port, authority } = HttpsServer::start().unwrap();
        let kind = PbxKind::Ari {
            url: format!("https://127.0.0.1:{port}"),
            username: "paceline".to_owned(),
            password: "secret".to_owned().into(),
            app: "paceline".to_owned(),
            authorities: vec![authority],
            ami: None,
        };
        let answer = connect(&Ari::of(&kind).unwrap(), "app").await;
        assert!(
            matches!(answer, Err(ClientError::Unauthorised)),
            "it is believed, and does not let us in"
        );
    }
}
