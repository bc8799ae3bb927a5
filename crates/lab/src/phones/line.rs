//! The calls of all agents' phones, without sockets: requests and time in, datagrams out.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use super::{
    PhoneBehaviour, PhoneCall, PhoneState,
    sip::{Message, session},
};
use crate::media::{AGENT_HZ, FlowId, Media, Sound};

mod acts;

const VOICE: [Sound; 1] = [Sound {
    hz: AGENT_HZ,
    length_ms: u32::MAX,
}];
/// RFC 3261's T1, and 64 × T1 after which a retransmission is given up.
const T1: Duration = Duration::from_millis(500);
const GIVE_UP: Duration = Duration::from_secs(32);
/// Time for which an ended call still replies to retransmissions.
const LINGER: Duration = Duration::from_secs(5);

/// A datagram to send.
pub(super) type Datagram = (SocketAddr, String);

#[derive(Debug)]
struct Call {
    /// Place in [`Lines::calls`].
    place: usize,
    agent: u32,
    peer: SocketAddr,
    invite: Message,
    tag: String,
    /// The reply to retransmissions of the INVITE.
    last_reply: String,
    stage: Stage,
    flow: Option<FlowId>,
    cseq: u32,
    /// The To header and the target of a call that the phone placed. `None`: the PBX placed the call.
    placed: Option<acts::Placed>,
    /// An INVITE of the phone's own waits for its answer: another one would be refused (491).
    inviting: bool,
}

#[derive(Debug)]
enum Stage {
    Ringing {
        answer_at: Option<Instant>,
    },
    /// The phone placed the call, and it is not answered yet.
    Calling,
    /// The 200 is repeated until the ACK comes.
    Answered {
        retry: Option<Retry>,
    },
    /// Our BYE is repeated until its reply comes.
    HangingUp {
        bye: String,
        retry: Retry,
    },
    Ended {
        at: Instant,
    },
}

#[derive(Debug)]
struct Retry {
    next: Instant,
    wait: Duration,
    since: Instant,
}

impl Retry {
    fn new(now: Instant) -> Self {
        Self {
            next: now + T1,
            wait: T1,
            since: now,
        }
    }

    /// Returns true if it is time to send again, and sets the next time.
    fn is_due(&mut self, now: Instant) -> bool {
        if now < self.next || now.duration_since(self.since) >= GIVE_UP {
            return false;
        }
        self.wait = (self.wait * 2).min(Duration::from_secs(4));
        self.next = now + self.wait;
        true
    }
}

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Lines {
    sip_port: u16,
    live: BTreeMap<String, Call>,
    pub(super) calls: Vec<PhoneCall>,
    behaviours: BTreeMap<u32, PhoneBehaviour>,
    pub(super) default: PhoneBehaviour,
    next_tag: u64,
    /// Phones without power. They reply to nothing.
    off: BTreeSet<u32>,
    /// The address of the PBX in the last message from it.
    pbx: Option<SocketAddr>,
}

impl Lines {
    pub(super) fn new(sip_port: u16) -> Self {
        Self {
            sip_port,
            ..Self::default()
        }
    }

    pub(super) fn set(&mut self, agent: u32, behaviour: PhoneBehaviour) {
        self.behaviours.insert(agent, behaviour);
    }

    /// The replies to a datagram from the PBX.
    pub(super) fn receive(
        &mut self,
        bytes: &[u8],
        from: SocketAddr,
        now: Instant,
        media: &Media,
    ) -> Vec<Datagram> {
        let Some(message) = Message::parse(bytes) else {
            return Vec::new();
        };
        if self.is_off(&message) {
            return Vec::new();
        }
        self.pbx = Some(from);
        match message.method() {
            Some("INVITE") => self.invite(message, from, now, media),
            Some("ACK") => {
                self.acknowledged(&message, media);
                Vec::new()
            }
            Some("CANCEL") => self.cancel(&message, from, now),
            Some("BYE") => self.bye(&message, from, now, media),
            Some("NOTIFY") => self.notified(&message, from, now, media),
            Some("OPTIONS" | "INFO" | "UPDATE" | "MESSAGE") => {
                vec![(from, message.response("200 OK", "o", "", ""))]
            }
            Some(_) => vec![(from, message.response("405 Method Not Allowed", "o", "", ""))],
            None => self.response(&message, now, media),
        }
    }

    /// The datagrams that have become due: answers, repeated 200s and BYEs.
    pub(super) fn tick(&mut self, now: Instant, media: &Media) -> Vec<Datagram> {
        let mut out = Vec::new();
        for call in self.live.values_mut() {
            match &mut call.stage {
                Stage::Ringing { answer_at: Some(at) } if now >= *at => {
                    out.push(answer(call, &mut self.calls, self.sip_port, now, media));
                }
                Stage::Answered { retry: Some(retry) } => {
                    if retry.is_due(now) {
                        out.push((call.peer, call.last_reply.clone()));
                    }
                }
                Stage::HangingUp { bye, retry } => {
                    if retry.is_due(now) {
                        out.push((call.peer, bye.clone()));
                    } else if now.duration_since(retry.since) >= GIVE_UP {
                        call.stage = Stage::Ended { at: now };
                    }
                }
                Stage::Ringing { .. }
                | Stage::Calling
                | Stage::Answered { retry: None }
                | Stage::Ended { .. } => {}
            }
        }
        self.live
            .retain(|_, call| !matches!(call.stage, Stage::Ended { at } if now.duration_since(at) > LINGER));
        out
    }

    /// Hangs up all answered calls of an agent; nothing when there is none.
    pub(super) fn hang_up(&mut self, agent: u32, now: Instant, media: &Media) -> Vec<Datagram> {
        self.hang_up_where(|call| call.agent == agent, now, media)
    }

    fn hang_up_where(&mut self, which: impl Fn(&Call) -> bool, now: Instant, media: &Media) -> Vec<Datagram> {
        let mut out = Vec::new();
        for call in self.live.values_mut() {
            if !which(call) || !matches!(call.stage, Stage::Answered { .. }) {
                continue;
            }
            let (_, bye) = acts::request(call, self.sip_port, "BYE", "", "");
            out.push((call.peer, bye.clone()));
            end(call, &mut self.calls, PhoneState::AgentHungUp, media);
            call.stage = Stage::HangingUp {
                bye,
                retry: Retry::new(now),
            };
        }
        out
    }

    /// Ends all calls without a word to the PBX.
    pub(super) fn lose_calls(&mut self, media: &Media) {
        for mut call in std::mem::take(&mut self.live).into_values() {
            if matches!(
                call.stage,
                Stage::Ringing { .. } | Stage::Calling | Stage::Answered { .. }
            ) {
                end(&mut call, &mut self.calls, PhoneState::Lost, media);
            }
        }
    }

    /// The audio of an agent's answered call.
    pub(super) fn flow(&self, agent: u32) -> Option<FlowId> {
        let on_call = |call: &&Call| call.agent == agent && matches!(call.stage, Stage::Answered { .. });
        self.live.values().find(on_call).and_then(|call| call.flow)
    }

    fn invite(&mut self, invite: Message, from: SocketAddr, now: Instant, media: &Media) -> Vec<Datagram> {
        if let Some(call) = self.live.get_mut(invite.call_id()) {
            return again(call, invite, from, self.sip_port, media.port());
        }
        let Some(agent) = invite
            .user()
            .and_then(|user| user.strip_prefix("agent-")?.parse::<u32>().ok())
        else {
            return vec![(from, invite.response("404 Not Found", "x", "", ""))];
        };
        self.next_tag += 1;
        let tag = format!("p{}", self.next_tag);
        let behaviour = self.behaviours.get(&agent).copied().unwrap_or(self.default);
        let contact = contact(agent, self.sip_port);
        let refuse = |status: &str| {
            (
                invite.response(status, &tag, "", ""),
                PhoneState::Refused,
                Stage::Ended { at: now },
            )
        };
        let ring = |answer_at| {
            (
                invite.response("180 Ringing", &tag, &contact, ""),
                PhoneState::Ringing,
                Stage::Ringing { answer_at },
            )
        };
        let (last_reply, state, stage) = match behaviour {
            PhoneBehaviour::Answers { after } => ring(Some(now + after)),
            PhoneBehaviour::Rings => ring(None),
            PhoneBehaviour::Busy => refuse("486 Busy Here"),
            PhoneBehaviour::Declines => refuse("603 Decline"),
            PhoneBehaviour::Unreachable => refuse("480 Temporarily Unavailable"),
            PhoneBehaviour::Silent => (String::new(), PhoneState::Refused, Stage::Ended { at: now }),
        };
        let out = if last_reply.is_empty() {
            Vec::new()
        } else {
            vec![(from, last_reply.clone())]
        };
        let call_id = invite.call_id().to_owned();
        let place = self.calls.len();
        self.calls.push(PhoneCall {
            agent,
            call_id: call_id.clone(),
            state,
        });
        let call = Call {
            place,
            agent,
            peer: from,
            invite,
            tag,
            last_reply,
            stage,
            flow: None,
            cseq: 0,
            placed: None,
            inviting: false,
        };
        self.live.insert(call_id, call);
        out
    }

    fn acknowledged(&mut self, ack: &Message, media: &Media) {
        let Some(call) = self.live.get_mut(ack.call_id()) else {
            return;
        };
        if let Stage::Answered { retry } = &mut call.stage {
            *retry = None;
            // The INVITE may have left it to us to offer; then the address comes now.
            if call.flow.is_none()
                && let Some(port) = ack.audio_port()
            {
                call.flow = Some(media.open(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), &VOICE));
            }
        }
    }

    fn cancel(&mut self, cancel: &Message, from: SocketAddr, now: Instant) -> Vec<Datagram> {
        let Some(call) = self.live.get_mut(cancel.call_id()) else {
            return vec![(
                from,
                cancel.response("481 Call/Transaction Does Not Exist", "x", "", ""),
            )];
        };
        let mut out = vec![(from, cancel.response("200 OK", &call.tag, "", ""))];
        if matches!(call.stage, Stage::Ringing { .. }) {
            call.last_reply = call.invite.response("487 Request Terminated", &call.tag, "", "");
            call.stage = Stage::Ended { at: now };
            out.push((from, call.last_reply.clone()));
            if let Some(seen) = self.calls.get_mut(call.place) {
                seen.state = PhoneState::Cancelled;
            }
        }
        out
    }

    fn bye(&mut self, bye: &Message, from: SocketAddr, now: Instant, media: &Media) -> Vec<Datagram> {
        let Some(call) = self.live.get_mut(bye.call_id()) else {
            return vec![(
                from,
                bye.response("481 Call/Transaction Does Not Exist", "x", "", ""),
            )];
        };
        if matches!(call.stage, Stage::Answered { .. }) {
            end(call, &mut self.calls, PhoneState::PbxHungUp, media);
        }
        call.stage = Stage::Ended { at: now };
        vec![(from, bye.response("200 OK", &call.tag, "", ""))]
    }

    fn response(&mut self, response: &Message, now: Instant, media: &Media) -> Vec<Datagram> {
        let Some(call) = self.live.get_mut(response.call_id()) else {
            return Vec::new();
        };
        let (Some((_, method)), Some(status)) = (response.cseq(), response.status()) else {
            return Vec::new();
        };
        match method {
            "BYE" if status >= 200 => {
                call.stage = Stage::Ended { at: now };
                Vec::new()
            }
            "INVITE" if status >= 200 => {
                acts::invite_answered(call, &mut self.calls, self.sip_port, response, now, media)
            }
            _ => Vec::new(),
        }
    }
}

fn contact(agent: u32, sip_port: u16) -> String {
    format!(
        "Contact: <sip:agent-{agent}@127.0.0.1:{sip_port}>\r\nAllow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE\r\n"
    )
}

fn answer(call: &mut Call, calls: &mut [PhoneCall], sip_port: u16, now: Instant, media: &Media) -> Datagram {
    call.last_reply = accept(&call.invite, call.agent, &call.tag, sip_port, media.port());
    if let Some(port) = call.invite.audio_port() {
        call.flow = Some(media.open(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), &VOICE));
    }
    call.stage = Stage::Answered {
        retry: Some(Retry::new(now)),
    };
    if let Some(seen) = calls.get_mut(call.place) {
        seen.state = PhoneState::Answered;
    }
    (call.peer, call.last_reply.clone())
}

/// An INVITE of a call that is there: a retransmission, or a change of the session, which is accepted.
fn again(
    call: &mut Call,
    invite: Message,
    from: SocketAddr,
    sip_port: u16,
    media_port: u16,
) -> Vec<Datagram> {
    if invite.cseq() == call.invite.cseq() {
        return if call.last_reply.is_empty() {
            Vec::new()
        } else {
            vec![(from, call.last_reply.clone())]
        };
    }
    if !matches!(call.stage, Stage::Answered { .. }) {
        return vec![(
            from,
            invite.response("481 Call/Transaction Does Not Exist", &call.tag, "", ""),
        )];
    }
    vec![(from, accept(&invite, call.agent, &call.tag, sip_port, media_port))]
}

fn accept(invite: &Message, agent: u32, tag: &str, sip_port: u16, media_port: u16) -> String {
    let headers = format!("{}Content-Type: application/sdp\r\n", contact(agent, sip_port));
    invite.response(
        "200 OK",
        tag,
        &headers,
        &session(media_port, invite.answering_direction()),
    )
}

/// Notes that a call is over.
fn end(call: &mut Call, calls: &mut [PhoneCall], state: PhoneState, media: &Media) {
    if let Some(seen) = calls.get_mut(call.place) {
        seen.state = state;
    }
    if let Some(flow) = call.flow.take() {
        media.close(flow);
    }
}
