//! Callees who do something of their own, one for each number: a table that SIPp looks them up in.

use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

use super::scenario::{self, CONTACT};

/// The table's name in the carrier's folder.
pub(super) const FILE: &str = "callees.csv";

/// The behaviour of one callee of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callee {
    /// The number, as it is dialed.
    pub number: String,
    /// From the INVITE to the ringing, or to the refusal.
    pub setup: Duration,
    /// From the ringing to the answer.
    pub ring: Duration,
    /// From the answer, or from the pressed key, to the hang-up. `None`: the call is refused, without ringing.
    pub talk: Option<Duration>,
    /// Time from the answer until the callee presses this key, and the key; its phone sends it by SIP INFO. For RFC 4733, see
    /// [`super::Carrier::press`].
    pub key: Option<(Duration, char)>,
    /// The final SIP status of a refused call.
    pub refusal: u16,
}

/// The final SIP statuses of all refused calls.
pub(super) fn refusals(callees: &[Callee]) -> BTreeSet<u16> {
    let refused = |callee: &Callee| callee.talk.is_none().then_some(callee.refusal);
    callees.iter().filter_map(refused).collect()
}

/// The table as SIPp reads it: number, milliseconds of set-up, ringing and talk, the refusal, milliseconds until the key is
/// pressed, and the key.
pub(super) fn table(callees: &[Callee]) -> String {
    let mut text = String::from("SEQUENTIAL\n");
    for callee in callees {
        let (talk_ms, refusal) = match callee.talk {
            Some(talk) => (talk.as_millis().max(1), 0),
            None => (0, callee.refusal),
        };
        let (key_ms, key) = match callee.key {
            Some((after, key)) => (after.as_millis().max(1), key),
            None => (0, '0'),
        };
        let _ = writeln!(
            text,
            "{};{};{};{talk_ms};{refusal};{key_ms};{key};",
            callee.number,
            callee.setup.as_millis().max(1),
            callee.ring.as_millis().max(1),
        );
    }
    text
}

/// Looks up whether the number is in the table. To stand among the actions on an INVITE.
pub(super) const LOOK_UP: &str = r#"<lookup assign_to="line" file="callees.csv" key="[$head][$ending]"/>
<test assign_to="drawn" variable="line" compare="greater_than_equal" value="0"/>
"#;

/// Continues with the callee's own steps if the number is in the table. To stand before the steps by the number's ending.
pub(super) const BRANCH: &str = "<nop test=\"drawn\" next=\"drawn\"/>\n";

/// Adds the steps of a callee of the table.
pub(super) fn push_steps(text: &mut String, media_port: u16, refusals: &BTreeSet<u16>) {
    text.push_str("<label id=\"drawn\"/>\n");
    scenario::send(text, &scenario::reply("100 Trying", ""), "", "");
    text.push_str("<nop><action>\n");
    for (nth, name) in ["setup", "ring", "talk", "refusal", "press"].iter().enumerate() {
        let _ = writeln!(
            text,
            "<assignstr assign_to=\"{name}_text\" value=\"[field{field} file=&quot;{FILE}&quot; line=&quot;[$line]&quot;]\"/>\n\
             <todouble assign_to=\"{name}_number\" variable=\"{name}_text\"/>",
            field = nth + 1,
        );
    }
    let _ = writeln!(
        text,
        "<assignstr assign_to=\"key\" value=\"[field6 file=&quot;{FILE}&quot; line=&quot;[$line]&quot;]\"/>\n\
         <test assign_to=\"presses\" variable=\"press_number\" compare=\"greater_than\" value=\"0\"/>"
    );
    for refusal in refusals {
        let _ = writeln!(
            text,
            "<test assign_to=\"refuses_{refusal}\" variable=\"refusal_number\" compare=\"equal\" value=\"{refusal}\"/>"
        );
    }
    text.push_str("</action></nop>\n<pause variable=\"setup_number\"/>\n");
    for refusal in refusals {
        let _ = writeln!(
            text,
            "<nop test=\"refuses_{refusal}\" next=\"refuses_{refusal}\"/>"
        );
    }
    scenario::send(text, &scenario::reply("180 Ringing", CONTACT), "", "");
    text.push_str("<pause variable=\"ring_number\"/>\n");
    scenario::push_answer(text, "drawn", media_port);
    text.push_str("<nop test=\"presses\" next=\"presses\"/>\n<label id=\"talks\"/>\n");
    text.push_str("<pause variable=\"talk_number\" next=\"callee_hangs_up\"/>\n");
    text.push_str("<label id=\"presses\"/>\n<pause variable=\"press_number\"/>\n");
    let body = "Content-Type: application/dtmf-relay\nContent-Length: [len]\n\nSignal=[$key]\nDuration=160\n";
    scenario::send(
        text,
        &scenario::request("INFO", 1, body),
        scenario::RETRANSMIT,
        "",
    );
    text.push_str("<recv response=\"200\" next=\"talks\"/>\n");
    for refusal in refusals {
        let name = format!("refuses_{refusal}");
        let _ = writeln!(text, "<label id=\"{name}\"/>");
        scenario::push_refusal(text, &name, &format!("{refusal} Refused"));
    }
}
