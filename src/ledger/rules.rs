//! The rules in force as one entry of the ledger: the rule files of Paceline and of the team with their hashes, and each rule that the
//! team switches off, with the words that say why. The store records it at the start if it has changed.

use crate::config::Overlay;
use paceline_core::gate::{Rulebook, TIME_ZONE_DATA};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// The body of the entry.
pub fn in_force(overlays: &[Overlay], book: &Rulebook) -> String {
    let shipped: Map<String, Value> = Rulebook::files()
        .map(|(file, text)| (file.to_owned(), hash(text).into()))
        .collect();
    let overlays = overlays
        .iter()
        .map(|Overlay { file, text }| json!({"file": file, "sha256": hash(text)}));
    let switched_off = book.overrides().iter().map(
        |off| json!({"overlay": off.overlay, "profile": off.profile, "rule": off.rule, "reason": off.reason}),
    );
    let body = json!({
        "paceline": env!("CARGO_PKG_VERSION"),
        "time_zone_data": TIME_ZONE_DATA,
        "shipped": shipped,
        "overlays": overlays.collect::<Vec<_>>(),
        "switched_off": switched_off.collect::<Vec<_>>(),
    });
    body.to_string()
}

fn hash(text: &str) -> String {
    let mut digits = String::with_capacity(64);
    for byte in Sha256::digest(text) {
        // Writing to a string cannot fail.
        write!(digits, "{byte:02x}").ok();
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::rules;

    #[test]
    fn the_entry_has_the_hash_of_each_file_and_the_words_for_each_rule_that_is_off() {
        let overlay = |reason: &str| Overlay {
            file: "our.toml".to_owned(),
            text: format!(
                "name = 'our-team'\n[[switch_off]]\nprofile = 'hk'\nrule = 'hours'\noverride = '{reason}'\n"
            ),
        };
        let body = |overlays: &[Overlay]| {
            let body = in_force(overlays, &rules(overlays).unwrap());
            serde_json::from_str::<Value>(&body).unwrap()
        };
        let none = body(&[]);
        assert_eq!(
            (&none["overlays"], &none["switched_off"]),
            (&json!([]), &json!([]))
        );
        assert_eq!(
            none["shipped"]["rules/us-ftc.toml"].as_str().map(str::len),
            Some(64)
        );
        let some = body(&[overlay("the code binds members only")]);
        assert_eq!(some["shipped"], none["shipped"]);
        assert_eq!(
            some["switched_off"],
            json!([{"overlay": "our-team", "profile": "hk", "rule": "hours", "reason": "the code binds members only"}])
        );
        let other = body(&[overlay("counsel agreed")]);
        assert_ne!(other["overlays"], some["overlays"]);
    }
}
