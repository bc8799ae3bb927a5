//! Callees who do something of their own, one for each number: a table that SIPp looks them up in.

use std::{fmt::Write as _, time::Duration};

use super::scenario::{self, CONTACT};

/// The table's name in the carrier's folder.
pub(super) const FILE: &str = "callees.csv";

/// What one called party does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callee {
    /// The number, as it is dialed.
    pub number: String,
    /// From the INVITE to the ringing, or to the refusal.
    pub setup: Duration,
    /// From the ringing to the answer.
    pub ring: Duration,
    /// From the answer to the hang-up; none: busy (486), without ringing.
    pub talk: Option<Duration>,
}

/// As SIPp reads it: number, and milliseconds of set-up, ringing and talk.
pub(super) fn table(callees: &[Callee]) -> String {
    let mut text = String::from("SEQUENTIAL\n");
    for callee in callees {
        let talk_ms = callee.talk.map_or(0, |talk| talk.as_millis().max(1));
        let _ = writeln!(
            text,
            "{};{};{};{talk_ms};",
            callee.number,
            callee.setup.as_millis().max(1),
            callee.ring.as_millis().max(1),
        );
    }
    text
}

/// To stand among the actions on an INVITE: whether the number is in the table.
pub(super) const LOOK_UP: &str = r#"<lookup assign_to="line" file="callees.csv" key="[$head][$ending]"/>
<test assign_to="drawn" variable="line" compare="greater_than_equal" value="0"/>
"#;

/// To stand before what the number's ending leads to.
pub(super) const BRANCH: &str = "<nop test=\"drawn\" next=\"drawn\"/>\n";

/// What such a callee does.
pub(super) fn push_steps(text: &mut String, media_port: u16) {
    text.push_str("<label id=\"drawn\"/>\n");
    scenario::send(text, &scenario::reply("100 Trying", ""), "", "");
    text.push_str("<nop><action>\n");
    for (nth, name) in ["setup", "ring", "talk"].iter().enumerate() {
        let _ = writeln!(
            text,
            "<assignstr assign_to=\"{name}_text\" value=\"[field{field} file=&quot;{FILE}&quot; line=&quot;[$line]&quot;]\"/>\n\
             <todouble assign_to=\"{name}_ms\" variable=\"{name}_text\"/>",
            field = nth + 1,
        );
    }
    text.push_str(
        "<test assign_to=\"refuses\" variable=\"talk_ms\" compare=\"equal\" value=\"0\"/>\n</action></nop>\n\
         <pause variable=\"setup_ms\"/>\n<nop test=\"refuses\" next=\"drawn_refuses\"/>\n",
    );
    scenario::send(text, &scenario::reply("180 Ringing", CONTACT), "", "");
    text.push_str("<pause variable=\"ring_ms\"/>\n");
    scenario::push_answer(text, "drawn", media_port);
    text.push_str("<pause variable=\"talk_ms\" next=\"callee_hangs_up\"/>\n<label id=\"drawn_refuses\"/>\n");
    scenario::push_refusal(text, "drawn", 486, "Busy Here");
}
