//! The checks for any bytes as lines of `paceline gate`, and as a team's rules. The input is the bytes. Panics if a
//! check fails.

use paceline::gate_pipe::Pipe;
use paceline_core::gate::Rulebook;

/// Each line gets one JSON object, a decision or an error. A file of rules is read, or the error gives its name.
pub(crate) fn check(data: &[u8]) {
    let book = Rulebook::shipped().unwrap();
    let mut pipe = Pipe::new(book.clone());
    for line in data.split(|byte| *byte == b'\n') {
        let mut out = Vec::new();
        pipe.answer(line, &mut out).unwrap();
        let said: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let has = |field| said.get(field).is_some_and(serde_json::Value::is_string);
        assert!(out.ends_with(b"\n") && has("decision") != has("error"));
    }
    let text = String::from_utf8_lossy(data);
    match book.with_overlay("team.toml", &text) {
        Ok(with) => assert_eq!(with.profiles().len(), book.profiles().len() + 1),
        Err(error) => assert!(error.to_string().contains("team.toml")),
    }
}
