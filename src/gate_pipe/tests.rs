use super::*;
use serde_json::{Value, json};

fn answer(line: &[u8]) -> Value {
    let mut out = Vec::new();
    let mut pipe = Pipe::new(Rulebook::shipped().unwrap().clone());
    pipe.answer(line, &mut out).unwrap();
    assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
    serde_json::from_slice(&out).unwrap()
}

fn line() -> Value {
    json!({
        "at": "2026-11-20T15:04:05Z", "number": "+12125550123", "purpose": "marketing", "mode": "predictive", "campaign": "c1",
        "subject": "loans", "debt": null, "caller_id": "+12125550100", "profiles": ["us-ftc", "us-fcc"],
        "ring_timeout_ms": 20000,
        "contact": {
            "time_zone": null, "country": null, "state": null, "postal_code": null, "tags": [],
            "consents": [{
                "kind": "express_written", "scope": "marketing", "granted_at": "2026-01-01T00:00:00Z", "expires_at": null,
                "proof": "form 7",
            }],
        },
        "history": [{
            "at": "2026-11-19T15:04:05Z", "number": "+12125550123", "campaign": "c1", "subject": "loans", "debt": null,
            "outcome": "no_answer", "disposition": null,
        }],
        "suppressed": [],
    })
}

fn with(pointer: &str, value: Value) -> Value {
    let mut changed = line();
    match changed.pointer_mut(pointer) {
        Some(place) => *place = value,
        None => {
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            changed.pointer_mut(parent).unwrap()[field] = value;
        }
    }
    answer(changed.to_string().as_bytes())
}

#[test]
fn a_call_is_allowed_with_every_rule_that_was_asked() {
    let said = answer(line().to_string().as_bytes());
    assert_eq!(
        (&said["decision"], &said["until"]),
        (&json!("allow"), &json!(null))
    );
    let reasons = said["reasons"].as_array().unwrap();
    assert_eq!(reasons.len(), 6, "{reasons:?}");
    assert_eq!(
        reasons[2],
        json!({
            "profile": "us-ftc", "rule": "hours", "verdict": "allow", "citation": "16 CFR 310.4(c)",
            "text": "2026-11-20T10:04:05 in America/New_York is within the calling hours",
        })
    );
}

#[test]
fn a_deferred_call_says_when_and_why() {
    let said = with("/at", json!("2026-11-20T22:00:00-05:00"));
    assert_eq!(said["decision"], "defer");
    assert_eq!(said["until"], "2026-11-21T13:00:00Z");
    assert_eq!(said["reasons"][0]["verdict"], "defer");
}

#[test]
fn profiles_are_chosen_by_number_and_address() {
    let mut florida = line();
    florida["profiles"] = json!([]);
    florida["contact"] = json!({"state": "Florida"});
    let said = answer(florida.to_string().as_bytes());
    assert_eq!(said["reasons"][0]["profile"], "us-fl");
    assert_eq!(said["reasons"][0]["rule"], "consent");
    let only = json!({"at": "2026-11-20T15:04:05Z", "number": "+442079460123", "purpose": "service", "mode": "preview", "ring_timeout_ms": 15000});
    assert_eq!(answer(only.to_string().as_bytes())["decision"], "allow");
}

#[test]
fn an_error_names_the_field_and_repeats_nothing_of_the_line() {
    let cases = [
        ("/at", json!("2026-11-20"), "at"),
        ("/at", json!(null), "at"),
        ("/at", json!("2100-01-01T00:00:00Z"), "at"),
        ("/number", json!("12125550123"), "number"),
        ("/number", json!("+1212555"), "number"),
        ("/number", json!("+1212555012345678"), "number"),
        ("/number", json!(12125550123_u64), "number"),
        ("/purpose", json!("+12125550123"), "purpose"),
        ("/mode", json!(["manual"]), "mode"),
        ("/ring_timeout_ms", json!("+12125550123"), "ring_timeout_ms"),
        ("/ring_timeout_ms", json!(-1), "ring_timeout_ms"),
        ("/ring_timeout_ms", json!(12125550123_u64), "ring_timeout_ms"),
        ("/caller_id", json!("+1212555012x"), "caller_id"),
        ("/profiles", json!(["us-ftc", "us-xx"]), "profiles[1]"),
        ("/profiles", json!("us-ftc"), "profiles"),
        ("/profiles/1", json!(1), "profiles[1]"),
        ("/contact", json!([]), "contact"),
        ("/contact/zone", json!("x"), "contact.zone"),
        ("/contact/time_zone", json!("EST"), "contact.time_zone"),
        ("/contact/time_zone", json!("Etc/GMT+5"), "contact.time_zone"),
        ("/contact/country", json!("usa"), "contact.country"),
        ("/contact/state", json!("Narnia"), "contact.state"),
        ("/contact/state", json!("ON"), "contact.state"),
        ("/contact/tags", json!([1]), "contact.tags[0]"),
        ("/contact/consents/0", json!(["express"]), "contact.consents[0]"),
        (
            "/contact/consents/0/granted_at",
            json!("yesterday"),
            "contact.consents[0].granted_at",
        ),
        (
            "/contact/consents/0/granted_at",
            json!(null),
            "contact.consents[0].granted_at",
        ),
        (
            "/contact/consents/0/expires_at",
            json!(5),
            "contact.consents[0].expires_at",
        ),
        ("/history/0/at", json!("+12125550123"), "history[0].at"),
        ("/history/0/outcome", json!("fine"), "history[0].outcome"),
        ("/history/0/number", json!("911"), "history[0].number"),
        ("/history/0/+12125550123", json!(1), "history[0].+12125550123"),
        ("/suppressed", json!({}), "suppressed"),
        ("/call", json!(1), "call"),
    ];
    for (pointer, value, field) in cases {
        let said = with(pointer, value.clone());
        assert_eq!(said["field"], field, "{pointer} {value}: {said}");
        let error = said["error"].as_str().unwrap();
        assert!(!error.is_empty() && !error.contains("1212555"), "{error}");
    }
}

#[test]
fn a_line_that_is_not_an_object_has_no_fields() {
    let good = line().to_string();
    let array = format!("[{good}]");
    let two = format!("{good}{good}");
    let deep = "[".repeat(5_000);
    let deep_object = "{\"contact\":".repeat(5_000);
    for bad in [
        "",
        " ",
        "{",
        "null",
        "1",
        "\u{feff}{}",
        &array,
        &two,
        &deep,
        &deep_object,
        &good[..100],
    ] {
        let said = answer(bad.as_bytes());
        assert!(said["error"].is_string(), "{bad}");
        if !bad.starts_with("{\"contact") {
            assert_eq!(said["field"], Value::Null, "{bad}");
        }
    }
    assert_eq!(answer(b"{\"at\":\"\xff\"}")["field"], Value::Null);
    assert_eq!(answer(b"{}")["field"], "at");
    let twice = good.replacen("\"mode\":", "\"at\":\"2026-11-20T15:04:05Z\",\"mode\":", 1);
    assert_eq!(answer(twice.as_bytes())["field"], "at");
    let twice = good.replacen("\"kind\":", "\"kind\":\"express\",\"kind\":", 1);
    assert_eq!(answer(twice.as_bytes())["field"], "contact.consents[0].kind");
}

#[test]
fn an_impossible_number_is_denied_and_is_no_error() {
    for number in ["+12125550", "+01234567890", "+999999999999999"] {
        let said = with("/number", json!(number));
        assert_eq!(said["decision"], "deny", "{number}");
        assert_eq!(said["reasons"][0]["rule"], "impossible_number");
    }
    assert_eq!(
        with("/number", json!("+18005550123"))["reasons"][0]["rule"],
        "no_zone"
    );
}

#[test]
fn an_escaped_text_is_read() {
    let mut escaped = line();
    escaped["suppressed"] = json!(["int\"ernal"]);
    let said = answer(escaped.to_string().as_bytes());
    assert_eq!(said["reasons"][0]["text"], "on a suppression list: int\"ernal");
}

#[test]
fn the_list_has_every_rule() {
    let mut out = Vec::new();
    Pipe::new(Rulebook::shipped().unwrap().clone())
        .list(&mut out)
        .unwrap();
    let text = String::from_utf8(out).unwrap();
    let rules: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let pa = rules
        .iter()
        .find(|rule| rule["profile"] == "us-pa" && rule["rule"] == "no_sundays")
        .unwrap();
    assert_eq!(pa["effective_from"], "2026-10-18");
    assert_eq!(pa["effective_to"], Value::Null);
    assert_eq!(pa["verified_on"], "2026-11-28");
    assert!(rules.iter().any(|rule| rule["rule"] == "abandon_rate"));
    assert!(
        rules
            .iter()
            .all(|rule| rule["time_zone_data"].as_str() >= Some("2026e"))
    );
}

#[test]
fn a_territory_of_the_us_is_read_as_a_state_with_federal_rules() {
    let mut call = line();
    call["profiles"] = json!([]);
    call["contact"] = json!({"state": "PR"});
    // 08:30 in New York, 09:30 in San Juan; then 20:30 and 21:30.
    call["at"] = json!("2026-11-20T13:30:00Z");
    assert_eq!(answer(call.to_string().as_bytes())["decision"], "allow");
    call["at"] = json!("2026-11-21T01:30:00Z");
    assert_eq!(
        answer(call.to_string().as_bytes())["until"],
        "2026-11-21T12:00:00Z"
    );
}
