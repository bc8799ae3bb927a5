//! The acts of a phone in its calls: it places a call, transfers, holds, loses its power.

use super::{Call, Datagram, Lines, Stage, VOICE, contact, end};
use crate::media::{Media, Sound};
use crate::phones::sip::{Message, session};
use crate::phones::{Hold, PhoneCall, PhoneState};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

const NOTHING: [Sound; 0] = [];

/// A call that the phone placed.
#[derive(Debug)]
pub(super) struct Placed {
    /// The To header, with the other end's tag once it has one.
    remote: String,
    target: String,
}

/// From, To and target of the next request in this dialog.
fn dialog(call: &Call) -> (String, String, String) {
    let header = |name| call.invite.header(name).unwrap_or_default().to_owned();
    match &call.placed {
        Some(placed) => (header("from"), placed.remote.clone(), placed.target.clone()),
        None => (
            format!("{};tag={}", header("to"), call.tag),
            header("from"),
            call.invite
                .contact_uri()
                .unwrap_or("sip:asterisk@127.0.0.1")
                .to_owned(),
        ),
    }
}

/// The next request in a call's dialog. `extra` holds whole header lines.
pub(super) fn request(call: &mut Call, sip_port: u16, method: &str, extra: &str, body: &str) -> Datagram {
    call.cseq += 1;
    let (from, to, target) = dialog(call);
    let (tag, cseq) = (&call.tag, call.cseq);
    let text = format!(
        "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{sip_port};branch=z9hG4bK{tag}b{cseq};rport\r\n\
         From: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n\
         {contact}{extra}Content-Length: {length}\r\n\r\n{body}",
        call_id = call.invite.call_id(),
        contact = contact(call.agent, sip_port),
        length = body.len(),
    );
    (call.peer, text)
}

/// A final response to an INVITE of ours: to the first one, or to a change of the session.
pub(super) fn invite_answered(
    call: &mut Call,
    calls: &mut [PhoneCall],
    sip_port: u16,
    response: &Message,
    now: Instant,
    media: &Media,
) -> Vec<Datagram> {
    call.inviting = false;
    let accepted = response.status().is_some_and(|status| status < 300);
    let number = response.cseq().map_or(call.cseq, |(number, _)| number);
    if let Some(placed) = &mut call.placed {
        if let Some(to) = response.header("to") {
            placed.remote = to.to_owned();
        }
        if let Some(target) = response.contact_uri() {
            placed.target = target.to_owned();
        }
    }
    if matches!(call.stage, Stage::Calling) {
        call.stage = if accepted {
            Stage::Answered { retry: None }
        } else {
            Stage::Ended { at: now }
        };
        if let Some(seen) = calls.get_mut(call.place) {
            seen.state = if accepted {
                PhoneState::Answered
            } else {
                PhoneState::Refused
            };
        }
    }
    if accepted
        && call.flow.is_none()
        && let Some(port) = response.audio_port()
    {
        call.flow = Some(media.open(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), &VOICE));
    }
    let (from, to, target) = dialog(call);
    // A refusal is acknowledged within its own transaction.
    let branch = if accepted { "a" } else { "b" };
    let ack = format!(
        "ACK {target} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{sip_port};branch=z9hG4bK{tag}{branch}{number};rport\r\n\
         From: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {number} ACK\r\nMax-Forwards: 70\r\n\
         Content-Length: 0\r\n\r\n",
        tag = call.tag,
        call_id = call.invite.call_id(),
    );
    vec![(call.peer, ack)]
}

impl Lines {
    /// Handles a NOTIFY about a transfer. The phone hangs up once the PBX says that the transfer is done.
    pub(super) fn notified(
        &mut self,
        notify: &Message,
        from: SocketAddr,
        now: Instant,
        media: &Media,
    ) -> Vec<Datagram> {
        let mut out = vec![(from, notify.response("200 OK", "o", "", ""))];
        if notify.body.starts_with("SIP/2.0 2") {
            let transferred = |call: &Call| call.invite.call_id() == notify.call_id();
            out.extend(self.hang_up_where(transferred, now, media));
        }
        out
    }

    /// True if an INVITE of this agent's phone waits for its answer.
    pub(in crate::phones) fn is_inviting(&self, agent: u32) -> bool {
        self.live
            .values()
            .any(|call| call.agent == agent && call.inviting)
    }

    /// True if the message is for a phone without power.
    pub(super) fn is_off(&self, message: &Message) -> bool {
        let number = |user: &str| user.strip_prefix("agent-")?.parse::<u32>().ok();
        let agent = match self.live.get(message.call_id()) {
            Some(call) => Some(call.agent),
            None => message.user().and_then(number),
        };
        agent.is_some_and(|agent| self.off.contains(&agent))
    }

    /// Takes an agent's phone off the net, or puts it back with its calls forgotten.
    pub(in crate::phones) fn power(&mut self, agent: u32, on: bool, media: &Media) {
        if on {
            self.off.remove(&agent);
            return;
        }
        self.off.insert(agent);
        let lost: Vec<String> = self
            .live
            .iter()
            .filter(|(_, call)| call.agent == agent)
            .map(|(call_id, _)| call_id.clone())
            .collect();
        for call_id in lost {
            if let Some(mut call) = self.live.remove(&call_id) {
                end(&mut call, &mut self.calls, PhoneState::Lost, media);
            }
        }
    }

    /// An agent's phone calls an extension of the PBX.
    pub(in crate::phones) fn dial(&mut self, agent: u32, extension: &str, media: &Media) -> Vec<Datagram> {
        let Some(peer) = self.pbx else {
            return Vec::new();
        };
        self.next_tag += 1;
        let (tag, port) = (format!("o{}", self.next_tag), self.sip_port);
        let body = session(media.port(), "sendrecv");
        let target = format!("sip:{extension}@{peer}");
        let text = format!(
            "INVITE {target} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{tag}b1;rport\r\n\
             From: <sip:agent-{agent}@127.0.0.1>;tag={tag}\r\nTo: <{target}>\r\nCall-ID: {tag}-{port}\r\n\
             CSeq: 1 INVITE\r\nMax-Forwards: 70\r\n{contact}Content-Type: application/sdp\r\n\
             Content-Length: {length}\r\n\r\n{body}",
            contact = contact(agent, port),
            length = body.len(),
        );
        let Some(invite) = Message::parse(text.as_bytes()) else {
            return Vec::new();
        };
        let call_id = invite.call_id().to_owned();
        let call = Call {
            place: self.calls.len(),
            agent,
            peer,
            placed: Some(Placed {
                remote: format!("<{target}>"),
                target,
            }),
            invite,
            tag,
            last_reply: String::new(),
            stage: Stage::Calling,
            flow: None,
            cseq: 1,
            inviting: true,
        };
        self.calls.push(PhoneCall {
            agent,
            call_id: call_id.clone(),
            state: PhoneState::Ringing,
        });
        self.live.insert(call_id, call);
        vec![(peer, text)]
    }

    /// The agent's answered call that the PBX placed, or the one that the phone placed.
    fn answered(&mut self, agent: u32, placed: bool) -> Option<&mut Call> {
        self.live.values_mut().find(|call| {
            call.agent == agent
                && call.placed.is_some() == placed
                && matches!(call.stage, Stage::Answered { .. })
        })
    }

    /// True if a call that this agent's phone placed was answered.
    pub(in crate::phones) fn has_own_call(&mut self, agent: u32) -> bool {
        self.answered(agent, true).is_some()
    }

    /// Transfers the call that the PBX placed, without consultation (a blind transfer).
    pub(in crate::phones) fn transfer(&mut self, agent: u32, extension: &str) -> Vec<Datagram> {
        let sip_port = self.sip_port;
        let Some(call) = self.answered(agent, false) else {
            return Vec::new();
        };
        let refer = format!("Refer-To: <sip:{extension}@{}>\r\n", call.peer);
        vec![request(call, sip_port, "REFER", &refer, "")]
    }

    /// Transfers the call that the PBX placed to the party of the phone's own call.
    pub(in crate::phones) fn transfer_to_own_call(&mut self, agent: u32) -> Vec<Datagram> {
        let sip_port = self.sip_port;
        let Some(own) = self.answered(agent, true) else {
            return Vec::new();
        };
        let (_, to, target) = dialog(own);
        let theirs = to.rsplit_once("tag=").map_or("", |(_, tag)| tag).to_owned();
        let replaces = format!(
            "{}%3Bto-tag%3D{theirs}%3Bfrom-tag%3D{}",
            own.invite.call_id(),
            own.tag
        );
        let Some(call) = self.answered(agent, false) else {
            return Vec::new();
        };
        let refer = format!("Refer-To: <{target}?Replaces={replaces}>\r\n");
        vec![request(call, sip_port, "REFER", &refer, "")]
    }

    /// Changes the direction of the call that the PBX placed.
    pub(in crate::phones) fn hold(&mut self, agent: u32, hold: Option<Hold>, media: &Media) -> Vec<Datagram> {
        let sip_port = self.sip_port;
        let Some(call) = self.answered(agent, false) else {
            return Vec::new();
        };
        if let Some(flow) = call.flow {
            media.play(flow, if hold.is_none() { &VOICE } else { &NOTHING });
        }
        let version = call.cseq + 2;
        let body = match hold {
            None => session(media.port(), "sendrecv"),
            Some(Hold::SendOnly) => session(media.port(), "sendonly"),
            Some(Hold::Inactive) => session(media.port(), "inactive"),
            Some(Hold::NoAddress) => {
                session(media.port(), "sendrecv").replace("IN IP4 127.0.0.1\r\nt=", "IN IP4 0.0.0.0\r\nt=")
            }
        };
        call.inviting = true;
        // A description of the same version is no change (RFC 3264).
        let body = body.replace("o=phone 1 1 ", &format!("o=phone 1 {version} "));
        vec![request(
            call,
            sip_port,
            "INVITE",
            "Content-Type: application/sdp\r\n",
            &body,
        )]
    }

    /// Stops or resumes an agent's voice, with the call as it is.
    pub(in crate::phones) fn mute(&mut self, agent: u32, muted: bool, media: &Media) -> bool {
        let flow = self.answered(agent, false).and_then(|call| call.flow);
        if let Some(flow) = flow {
            media.play(flow, if muted { &NOTHING } else { &VOICE });
        }
        flow.is_some()
    }
}
