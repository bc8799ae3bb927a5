//! The SIPp scenario, made from [`Behaviour::TABLE`]. SIPp logs a line per call and event, which [`super`] reads:
//!
//! - `I seconds microseconds call-id number port`: an INVITE of a call not seen before, and the caller's RTP port
//! - `E call-id`: early media begins; `A call-id`: answered
//! - `X end call-id`: over; the end is a letter for a [`super::CallEnd`]

use std::fmt::Write as _;

use super::behaviour::{Behaviour, Step};
use super::callees::{self, Callee};

/// Our side's tag.
const TAG: &str = "[pid]t[call_number]";
/// Headers that copy the request's, with our tag.
const COPIED: &str =
    "[last_Via:]\n[last_From:]\n[last_To:];tag=[pid]t[call_number]\n[last_Call-ID:]\n[last_CSeq:]\n";
pub(super) const CONTACT: &str = "Contact: <sip:[local_ip]:[local_port];transport=[transport]>\n";
const REPLY_TO_BYE: &str = "SIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]\n\
     Content-Length: 0\n";
pub(super) const RETRANSMIT: &str = " retrans=\"500\"";

/// The scenario file; the lab's own callees announce `media_port`, and `callees` are looked up in a table.
pub(super) fn scenario(media_port: u16, callees: &[Callee]) -> String {
    let table = !callees.is_empty();
    let mut text = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\n<!DOCTYPE scenario SYSTEM \"sipp.dtd\">\n<scenario name=\"carrier\">\n",
    );
    text.push_str(
        r#"<recv request="INVITE" rrs="true" next="start"><action>
<gettimeofday assign_to="s,us"/>
<ereg regexp=".*" search_in="hdr" header="From:" assign_to="from"/>
<ereg regexp=".*" search_in="hdr" header="To:" assign_to="to"/>
<ereg regexp=".*" search_in="hdr" header="CSeq:" assign_to="cseq"/>
<ereg regexp="sip:([^@]*)([0-9][0-9])@" search_in="hdr" header="To:" assign_to="uri,head,ending"/>
<ereg regexp="m=audio ([0-9]+)" search_in="msg" assign_to="m,port"/>
<log message="I [$s] [$us] [call_id] [$head][$ending] [$port]"/>
<todouble assign_to="n" variable="ending"/>
"#,
    );
    if table {
        text.push_str(callees::LOOK_UP);
    }
    let first = if table { 7 } else { 6 };
    let _ = writeln!(text, "<add assign_to=\"n\" value=\"{first}\"/>\n</action></recv>");
    text.push_str(
        r#"<recv request="CANCEL" optional="global" next="cancelled"/>
<recv request="BYE" optional="global" next="caller_hung_up"/>
<recv request="CANCEL" next="cancelled"/>
<label id="start"/>
"#,
    );
    if table {
        text.push_str(callees::BRANCH);
    }
    text.push_str("<nop><action><jump variable=\"n\"/></action></nop>\n");
    // Message n + 5, or n + 6 behind the branch, leads to what ending n does (SIPp's jump goes one less far than it is told): two steps instead of a
    // chain of comparisons. The three `recv` before are never waited at: the global ones catch a CANCEL or a BYE that comes
    // in between, which SIPp would otherwise take for an error, and the other is there because SIPp insists.
    for (behaviour, first, last) in Behaviour::TABLE {
        for _ in first..=last {
            let _ = writeln!(text, "<nop next=\"{behaviour:?}\"/>");
        }
    }
    for (behaviour, ..) in Behaviour::TABLE {
        let _ = writeln!(text, "<label id=\"{behaviour:?}\"/>");
        for (nth, step) in behaviour.steps().iter().enumerate() {
            push_step(&mut text, &format!("{behaviour:?}{nth}"), *step, media_port);
        }
    }
    if table {
        callees::push_steps(&mut text, media_port, &callees::refusals(callees));
    }
    push_endings(&mut text);
    // SIPp refuses a scenario that does not use one of its variables.
    let unused = if table { "uri,m,refusal_number" } else { "uri,m" };
    let _ = writeln!(text, "<Reference variables=\"{unused}\"/>\n</scenario>");
    text
}

fn push_step(text: &mut String, name: &str, step: Step, media_port: u16) {
    match step {
        Step::Ring(wait_ms) => {
            send(text, &reply("180 Ringing", CONTACT), "", "");
            wait_for_cancel(text, name, wait_ms);
        }
        Step::Progress(wait_ms) => {
            send(
                text,
                &reply_with_media("183 Session Progress", media_port),
                "",
                "E",
            );
            wait_for_cancel(text, name, wait_ms);
        }
        Step::Talk(talk_ms) => {
            push_answer(text, name, media_port);
            let _ = writeln!(
                text,
                "<recv request=\"BYE\" timeout=\"{talk_ms}\" ontimeout=\"callee_hangs_up\" next=\"caller_hung_up\"/>"
            );
        }
        Step::Refuse(status, reason) => push_refusal(text, name, &format!("{status} {reason}")),
        Step::Ignore => {
            // SIPp drops the INVITE's retransmissions itself; what may come beyond them is a CANCEL, ignored as well.
            text.push_str("<nop><action><log message=\"X I [call_id]\"/></action></nop>\n");
            text.push_str("<recv request=\"CANCEL\" timeout=\"40000\" ontimeout=\"end\" next=\"end\"/>\n");
        }
    }
}

/// Answers, up to the ACK.
pub(super) fn push_answer(text: &mut String, name: &str, media_port: u16) {
    // Retransmitted by SIPp until the ACK. A CANCEL that crossed our 200 is too late: say so, go on.
    send(text, &reply_with_media("200 OK", media_port), RETRANSMIT, "A");
    let _ = writeln!(
        text,
        "<recv request=\"CANCEL\" optional=\"true\" next=\"{name}late\"/>"
    );
    let _ = writeln!(text, "<recv request=\"ACK\" next=\"{name}talk\"/>");
    let _ = writeln!(text, "<label id=\"{name}late\"/>");
    send(text, &reply("200 OK", ""), "", "");
    let _ = writeln!(text, "<recv request=\"ACK\"/>");
    let _ = writeln!(text, "<label id=\"{name}talk\"/>");
}

/// Refuses, up to the end. As with an answer, a CANCEL that crossed it changes nothing.
pub(super) fn push_refusal(text: &mut String, name: &str, status: &str) {
    send(text, &reply(status, ""), RETRANSMIT, "X R");
    let _ = writeln!(
        text,
        "<recv request=\"CANCEL\" optional=\"true\" next=\"{name}too_late\"/>"
    );
    wait_for_last_ack(text);
    let _ = writeln!(text, "<label id=\"{name}too_late\"/>");
    send(text, &reply("200 OK", ""), "", "");
    wait_for_last_ack(text);
}

fn wait_for_cancel(text: &mut String, name: &str, wait_ms: u32) {
    let _ = writeln!(
        text,
        "<recv request=\"CANCEL\" timeout=\"{wait_ms}\" ontimeout=\"{name}on\" next=\"cancelled\"/>\n\
         <label id=\"{name}on\"/>"
    );
}

fn wait_for_last_ack(text: &mut String) {
    text.push_str("<recv request=\"ACK\" next=\"end\" timeout=\"8000\" ontimeout=\"end\"/>\n");
}

/// Adds the endings that calls of all behaviours share.
fn push_endings(text: &mut String) {
    text.push_str("<label id=\"cancelled\"/>\n");
    send(text, &reply("200 OK", ""), "", "X C");
    let terminated = format!(
        "SIP/2.0 487 Request Terminated\n[last_Via:]\nFrom:[$from]\nTo:[$to];tag={TAG}\n[last_Call-ID:]\n\
         CSeq:[$cseq]\nContent-Length: 0\n"
    );
    send(text, &terminated, RETRANSMIT, "");
    wait_for_last_ack(text);

    text.push_str("<label id=\"caller_hung_up\"/>\n");
    send(text, REPLY_TO_BYE, "", "X B");
    text.push_str("<nop next=\"end\"/>\n");

    text.push_str("<label id=\"callee_hangs_up\"/>\n");
    // The callee may have sent an INFO before.
    send(text, &request("BYE", 2, "Content-Length: 0\n"), RETRANSMIT, "X H");
    // Both sides may hang up at once; each BYE gets its reply.
    text.push_str("<recv request=\"BYE\" optional=\"true\" next=\"both\"/>\n");
    text.push_str("<recv response=\"481\" optional=\"true\" next=\"end\"/>\n");
    text.push_str("<recv response=\"200\" next=\"end\" timeout=\"8000\" ontimeout=\"end\"/>\n");
    text.push_str("<label id=\"both\"/>\n");
    send(text, REPLY_TO_BYE, "", "");
    // Replies to retransmissions for a while.
    text.push_str("<label id=\"end\"/>\n<timewait milliseconds=\"500\"/>\n");
}

/// A request of the callee in its call. `end`: the other headers, and the body.
pub(super) fn request(method: &str, cseq: u32, end: &str) -> String {
    format!(
        "{method} [next_url] SIP/2.0\nVia: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n\
         From:[$to];tag={TAG}\nTo:[$from]\nCall-ID: [call_id]\nCSeq: {cseq} {method}\nMax-Forwards: 70\n{CONTACT}{end}"
    )
}

/// A reply to the last request, with our tag and no body; `extra` holds whole header lines.
pub(super) fn reply(status: &str, extra: &str) -> String {
    format!("SIP/2.0 {status}\n{COPIED}{extra}Content-Length: 0\n")
}

/// The same with our Contact and a session description.
fn reply_with_media(status: &str, media_port: u16) -> String {
    format!(
        "SIP/2.0 {status}\n{COPIED}{CONTACT}Content-Type: application/sdp\nContent-Length: [len]\n\n\
         v=0\no=callee 1 1 IN IP4 [local_ip]\ns=-\nc=IN IP4 [local_ip]\nt=0 0\n\
         m=audio {media_port} RTP/AVP 0 101\na=rtpmap:0 PCMU/8000\na=rtpmap:101 telephone-event/8000\na=ptime:20\n"
    )
}

/// A message to send, and the event to log with it. Not in a step of its own after it: the next message from the PBX
/// could come before that step, and SIPp would take it for an error.
pub(super) fn send(text: &mut String, message: &str, attributes: &str, event: &str) {
    // A body's length is counted from the first empty line, so headers alone must end with one.
    let end = if message.contains("\n\n") { "" } else { "\n" };
    let _ = write!(text, "<send{attributes}><![CDATA[\n{message}{end}\n]]>");
    if !event.is_empty() {
        let _ = write!(text, "<action><log message=\"{event} [call_id]\"/></action>");
    }
    text.push_str("</send>\n");
}
