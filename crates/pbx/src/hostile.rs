//! Trunks and caller ids as an attacker would store them, to test the requests that the drivers write.

use paceline_core::dial::TrunkTemplate;
use paceline_core::number::E164;
use paceline_core::pbx::{CallerId, DialString};
use proptest::prelude::*;

const PIECES: &[&str] = &[
    "PJSIP/",
    "Local/",
    "sofia/gateway/",
    "loopback/",
    "user/",
    "{number}",
    "{digits}",
    "@",
    "/",
    "/n",
    "carrier",
    "app=",
    "system:",
    "&",
    ",",
    "|",
    ":_:",
    "^^",
    "${",
    "}",
    "{",
    "[",
    "]",
    "<",
    "\\",
    "'",
    "\"",
    " ",
    "\n",
    "sip:",
    ";",
    "9",
    "*",
    "#",
    "+",
    "(x)",
    "\u{e9}",
    "\0",
    "%26",
    "?",
    "=",
];

fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        proptest::sample::select(PIECES).prop_map(str::to_owned),
        "\\PC{0,3}",
    ];
    proptest::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

/// A valid form of a dial string, with or without more text inserted in one place.
fn dial() -> impl Strategy<Value = String> {
    let form = proptest::sample::select(vec![
        ["PJSIP/", "{number}", "@", "carrier"],
        ["Local/", "{digits}", "@", "from-internal"],
        ["sofia/gateway/", "carrier", "/", "{number}"],
        ["loopback/", "{digits}", "/", "default"],
        ["user/", "{digits}", "@", "example.com"],
    ]);
    (form, 0..5_usize, prop_oneof![Just(String::new()), text()]).prop_map(|(form, place, more)| {
        let mut pieces: Vec<&str> = form.to_vec();
        pieces.insert(place, &more);
        pieces.concat()
    })
}

/// A dial string whose template is accepted, and a caller id. `None` if that caller id is refused.
pub(super) fn trunk() -> impl Strategy<Value = (DialString, Option<CallerId>)> {
    let number = E164::new("+12025550123");
    let dial = prop_oneof![dial(), text()].prop_filter_map("is refused", move |dial| {
        Some(TrunkTemplate::new(&dial).ok()?.render(number.as_ref().ok()?))
    });
    let caller_id = prop_oneof!["[+0-9a-z*#._-]{1,20}", text()];
    (dial, caller_id.prop_map(|id| CallerId::new(&id).ok()))
}
