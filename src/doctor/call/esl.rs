//! A test call over a FreeSWITCH. The call has its own mark, and FreeSWITCH parks it after the answer.

use super::{Call, CallPlan, Cures, LIMIT_S, LISTEN, RING_S, heard, hung_up_early, meant};
use crate::doctor::esl::Esl;
use crate::pbx::esl::{Connection, ConnectionError};
use crate::store::WayOut;
use paceline_esl::{Event, EventKind, Frame, Value, originate};
use std::time::{Duration, Instant};
use uuid::Uuid;

const CURES: Cures = Cures {
    credentials: "correct the username and password of the gateway, or have our address allowed",
    codecs: "write one of its codecs into `outbound-codec-prefs` of the gateway's SIP profile",
    reach: "correct the proxy of the gateway, or reach the carrier",
    media: "open the RTP ports of switch.conf.xml to the carrier, and behind NAT set `ext-rtp-ip` in the SIP profile",
};
const BROKE: &str = "the Event Socket broke in the middle of the call";

/// Maximum wait for the end of the channel after its originate has failed. If there was no channel, that event never comes.
const END_LATE_MAX: Duration = Duration::from_secs(1);

/// An event of the call.
enum Heard {
    Rings,
    EarlyMedia,
    Answered,
    /// FreeSWITCH's name of the cause, the Q.850 cause, and the SIP status if it is 300 or more.
    Ended(String, u64, Option<u64>),
    /// FreeSWITCH did not place the call, for this reason.
    NotPlaced(String),
}

/// Places the call, waits for its result, and reports it.
pub(in crate::doctor) async fn place(esl: &Esl, way: &WayOut, plan: &CallPlan) -> Call {
    let mut call = Call::default();
    let started = Instant::now();
    let id = Uuid::new_v4();
    let (mut events, mut commands) = match open(esl, id).await {
        Ok(both) => both,
        Err(_) => return call.ends("the Event Socket cannot be used: see what is said of it above"),
    };
    let Some(placement) = placement(way, plan, id) else {
        return call.ends(
            "the dial string or the caller id contains characters that FreeSWITCH does not accept: correct the trunk",
        );
    };
    if commands.demand("bgapi", &placement).await.is_err() {
        return call.ends("FreeSWITCH did not take the request for the call");
    }
    call.saw(started, "placed");
    let deadline = started + Duration::from_secs(RING_S + 10);
    let (mut answered, mut rang, mut not_placed) = (None, false, None);
    loop {
        let until = match (&not_placed, answered) {
            (Some((at, _)), _) => *at + END_LATE_MAX,
            (None, Some(at)) => at + LISTEN,
            (None, None) => deadline,
        };
        let Ok(heard) = tokio::time::timeout_at(until.into(), next(&mut events, id)).await else {
            break;
        };
        match heard {
            Err(_) => return call.ends(BROKE),
            Ok(Heard::Rings) if !rang => {
                rang = true;
                call.saw(started, "rings");
            }
            Ok(Heard::EarlyMedia) if !rang => {
                rang = true;
                call.saw(started, "is heard before it is answered");
            }
            Ok(Heard::Rings | Heard::EarlyMedia) => {}
            Ok(Heard::Answered) => {
                call.saw(started, "answered");
                answered = Some(Instant::now());
            }
            Ok(Heard::Ended(words, cause, sip)) => {
                let sip_words = sip.map(|sip| format!(", SIP {sip}")).unwrap_or_default();
                call.saw(started, format!("ended: {words} (cause {cause}{sip_words})"));
                return match answered {
                    Some(_) => hung_up_early(call),
                    None => meant(call, cause, sip, &CURES),
                };
            }
            Ok(Heard::NotPlaced(words)) => not_placed = Some((Instant::now(), words)),
        }
    }
    if let (Some((_, words)), None) = (not_placed, answered) {
        call.saw(started, format!("refused by FreeSWITCH: {words}"));
        return call.ends(refused(&words));
    }
    let call = if answered.is_some() {
        match packets(&mut commands, id).await {
            Ok(received) => heard(call, started, received, &CURES),
            Err(_) => return call.ends(BROKE),
        }
    } else {
        call.ends("nobody answered within half a minute")
    };
    // If this request does not arrive, the time limit on the PBX ends the call.
    drop(commands.ask(&format!("api uuid_kill {id}")).await);
    call
}

fn refused(words: &str) -> &'static str {
    match words {
        "INVALID_GATEWAY" => {
            "FreeSWITCH cannot place it: there is no such gateway; `sofia status` lists those there are"
        }
        "GATEWAY_DOWN" => {
            "FreeSWITCH cannot place it: the gateway is down; `sofia status gateway NAME` says why"
        }
        "INVALID_PROFILE" => {
            "FreeSWITCH cannot place it: there is no such SIP profile; `sofia status` lists those there are"
        }
        "CHAN_NOT_IMPLEMENTED" => {
            "FreeSWITCH cannot place it: no loaded module knows what the dial string begins with"
        }
        "DESTINATION_OUT_OF_ORDER" => {
            "FreeSWITCH cannot place it: it is full or paused; `status` in fs_cli tells"
        }
        _ => "FreeSWITCH cannot place it; the cause says why",
    }
}

/// Opens two connections: the first for the events of the call, the second for commands.
async fn open(esl: &Esl, id: Uuid) -> Result<(Connection, Connection), ConnectionError> {
    let mut events = esl.connect().await?;
    for filter in ["Unique-ID", "Job-UUID"] {
        events.demand("filter", &format!("filter {filter} {id}")).await?;
    }
    let kinds = "event plain CHANNEL_PROGRESS CHANNEL_PROGRESS_MEDIA CHANNEL_ANSWER CHANNEL_HANGUP_COMPLETE BACKGROUND_JOB";
    events.demand("event", kinds).await?;
    Ok((events, esl.connect().await?))
}

fn placement(way: &WayOut, plan: &CallPlan, id: Uuid) -> Option<String> {
    let leg = id.to_string();
    let (ring, limit) = (
        RING_S.to_string(),
        format!("sched_hangup +{LIMIT_S} {leg} ALLOTTED_TIMEOUT"),
    );
    let mut variables = vec![
        ("origination_uuid", leg.as_str()),
        ("originate_timeout", &ring),
        ("ignore_early_media", "true"),
        ("api_on_answer", &limit),
        // Else a call through the dialplan is another channel once it is joined.
        ("loopback_bowout", "false"),
        ("loopback_bowout_on_execute", "false"),
    ];
    if let Some(number) = plan.caller_id.as_ref().or(way.caller_id.as_ref()) {
        variables.push(("origination_caller_id_number", number.as_str()));
        variables.push(("origination_caller_id_name", number.as_str()));
    }
    let originate = originate(&variables, way.dial.render(&plan.number).expose(), &[]).ok()?;
    Some(format!("bgapi {originate}\nJob-UUID: {leg}"))
}

async fn next(events: &mut Connection, id: Uuid) -> Result<Heard, ConnectionError> {
    loop {
        while let Some(frame) = events.reading.decoder.next().map_err(ConnectionError::Codec)? {
            match frame {
                Frame::Event(body) => {
                    if let Some(heard) = understood(&Event::decode(body), &id.to_string()) {
                        return Ok(heard);
                    }
                }
                Frame::Disconnect => return Err(ConnectionError::Closed),
                _ => {}
            }
        }
        events.reading.fill().await?;
    }
}

fn understood(event: &Event<'_>, id: &str) -> Option<Heard> {
    let is = |value: Value<'_>| value.0 == id.as_bytes();
    match event.kind {
        EventKind::BackgroundJob if is(event.job) => {
            let words = String::from_utf8_lossy(event.body);
            let refused = words.trim().strip_prefix("-ERR")?;
            Some(Heard::NotPlaced(refused.trim().to_owned()))
        }
        EventKind::Progress if is(event.channel) => Some(Heard::Rings),
        EventKind::ProgressMedia if is(event.channel) => Some(Heard::EarlyMedia),
        EventKind::Answer if is(event.channel) => Some(Heard::Answered),
        EventKind::HangupComplete if is(event.channel) => Some(Heard::Ended(
            event.cause.text().into_owned(),
            event.q850.number().unwrap_or(0),
            event.sip.number().filter(|sip| *sip >= 300),
        )),
        _ => None,
    }
}

/// Number of received audio packets. `None`: they cannot be counted.
async fn packets(commands: &mut Connection, id: Uuid) -> Result<Option<u64>, ConnectionError> {
    commands.ask(&format!("api uuid_set_media_stats {id}")).await?;
    let variable = "rtp_audio_in_media_packet_count";
    let counted = commands.ask(&format!("api uuid_getvar {id} {variable}")).await?;
    Ok(String::from_utf8_lossy(&counted).trim().parse().ok())
}
