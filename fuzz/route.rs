//! The checks for any bytes as lines of `paceline route`. The input is the bytes. Panics if a check fails.

use paceline::route_pipe::Session;

/// Each line gets at most one JSON object: a choice or an error. After a good config, a good request is answered.
pub(crate) fn check(data: &[u8]) {
    let mut session = Session::default();
    for line in data.split(|byte| *byte == b'\n') {
        let mut out = String::new();
        session.take(line, &mut out);
        if out.is_empty() {
            continue;
        }
        let said: serde_json::Value = serde_json::from_str(&out).unwrap();
        let is_choice = said.get("why").is_some_and(serde_json::Value::is_array);
        let is_error = said.get("error").is_some_and(serde_json::Value::is_string);
        assert!(out.ends_with('\n') && is_choice != is_error);
    }
    let mut out = String::new();
    session.take(br#"{"type":"config","trunks":[{"id":"the last"}]}"#, &mut out);
    session.take(
        br#"{"at_ms":9007199254740992,"type":"choose","leg":"the last"}"#,
        &mut out,
    );
    let said: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        said.get("trunk").and_then(serde_json::Value::as_str),
        Some("the last")
    );
}
