//! The protocol, as a stranger would use and misuse it.

use super::*;
use serde_json::Value;

const CONFIG: &str = r#"{"at_ms":0,"type":"config","max_abandon_ratio":0.03,"connect_limit_ms":2000,"ring_timeout_ms":25000,"tick_ms":200}"#;

fn started() -> Session {
    let mut session = Session::default();
    assert_eq!(session.take(CONFIG.as_bytes()), None);
    session
}

fn tell(session: &mut Session, line: &str) -> Option<Value> {
    let reply = session.take(line.as_bytes())?;
    assert!(reply.ends_with('\n') && reply.matches('\n').count() == 1);
    Some(serde_json::from_str(&reply).unwrap())
}

fn error(session: &mut Session, line: &str) -> String {
    let reply = tell(session, line).unwrap();
    assert!(reply.get("launch").is_none());
    reply["error"].as_str().unwrap().to_owned()
}

#[test]
fn a_tick_is_answered_and_nothing_else_is() {
    let mut session = started();
    for agent in 0..3 {
        let line =
            format!(r#"{{"at_ms":10,"type":"agent","agent":"{agent}","state":"available","colour":"red"}}"#);
        assert_eq!(tell(&mut session, &line), None);
    }
    let reply = tell(&mut session, r#"{"at_ms":200,"type":"tick","channels_free":2}"#).unwrap();
    let keys: Vec<&str> = reply.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "at_ms",
            "launch",
            "wanted",
            "limit",
            "expected_abandon_ratio",
            "mode",
            "why"
        ]
    );
    assert_eq!((&reply["launch"], &reply["wanted"]), (&2.into(), &3.into()));
    assert_eq!(
        (&reply["limit"], &reply["mode"]),
        (&"channels".into(), &"progressive".into())
    );
    assert_eq!(reply["at_ms"].to_string(), "200");
}

#[test]
fn without_a_number_of_channels_there_is_no_limit() {
    let mut session = started();
    for agent in 0..3 {
        tell(
            &mut session,
            &format!(r#"{{"at_ms":1,"type":"agent","agent":{agent},"state":"available"}}"#),
        );
    }
    assert_eq!(
        tell(&mut session, r#"{"at_ms":1.5,"type":"tick"}"#).unwrap()["launch"],
        3
    );
}

#[test]
fn what_cannot_be_taken_is_named_and_changes_nothing() {
    let mut session = Session::default();
    assert_eq!(
        error(&mut session, r#"{"at_ms":0,"type":"tick"}"#),
        "line 1: no config yet: the first line must be of type config"
    );
    tell(&mut session, CONFIG);
    assert_eq!(
        error(&mut session, CONFIG),
        "line 3: a second config: the first one stands"
    );
    tell(
        &mut session,
        r#"{"at_ms":1000,"type":"agent","agent":"7","state":"available"}"#,
    );
    for (line, complaint) in [
        (
            "hello",
            "not JSON, from column 1 on: write one JSON object a line",
        ),
        ("[1]", "not a JSON object"),
        (
            r#"{"at_ms":1000,"type":"tick""#,
            "not JSON, from column 27 on: write one JSON object a line",
        ),
        (r#"{"at_ms":1000}"#, "`type` is missing"),
        (
            r#"{"at_ms":1000,"type":"tock"}"#,
            "`type` must be config, agent, call or tick",
        ),
        (r#"{"type":"tick"}"#, "`at_ms` is missing"),
        (
            r#"{"at_ms":"1000","type":"tick"}"#,
            "`at_ms` must be a time in milliseconds, 0 or more",
        ),
        (
            r#"{"at_ms":-1,"type":"tick"}"#,
            "`at_ms` must be a time in milliseconds, 0 or more",
        ),
        (
            r#"{"at_ms":999,"type":"tick"}"#,
            "`at_ms` is earlier than a line before: time must not go backwards",
        ),
        (
            r#"{"at_ms":1000,"type":"agent","agent":"7","state":"asleep"}"#,
            "`state` must be offline, available, on_call, wrap_up or paused",
        ),
        (
            r#"{"at_ms":1000,"type":"agent","state":"paused"}"#,
            "`agent` is missing",
        ),
        (
            r#"{"at_ms":1000,"type":"call","call":["+12025550123"],"state":"dialing"}"#,
            "`call` must be an id: a string that is not empty",
        ),
        (
            r#"{"at_ms":1000,"type":"tick","channels_free":-2}"#,
            "`channels_free` must be a number of channels, 0 or more",
        ),
    ] {
        let got = error(&mut session, line);
        assert_eq!(got, format!("line {}: {complaint}", session.lines), "{line}");
        assert!(!got.contains("5550123"));
    }
    // The agent is as before: one call for one free agent.
    assert_eq!(
        tell(&mut session, r#"{"at_ms":1000,"type":"tick"}"#).unwrap()["launch"],
        1
    );
}

#[test]
fn an_absurd_config_is_refused_and_a_good_one_may_follow() {
    let mut session = Session::default();
    for bad in ["3", "-0.1", "\"0.03\"", "1e999"] {
        error(
            &mut session,
            &format!(r#"{{"at_ms":0,"type":"config","max_abandon_ratio":{bad}}}"#),
        );
    }
    assert_eq!(
        error(&mut session, r#"{"at_ms":0,"type":"config"}"#),
        "line 5: `max_abandon_ratio` is missing"
    );
    assert_eq!(tell(&mut session, CONFIG), None);
}

#[test]
fn calls_may_skip_and_repeat_states_and_end_without_an_outcome() {
    let mut session = started();
    for line in [
        r#"{"at_ms":1,"type":"call","call":"1","state":"dialing"}"#,
        r#"{"at_ms":2,"type":"call","call":"1","state":"person"}"#,
        r#"{"at_ms":2,"type":"call","call":"1","state":"person"}"#,
        r#"{"at_ms":2,"type":"call","call":"1","state":"abandoned"}"#,
        r#"{"at_ms":3,"type":"call","call":"1","state":"ringing"}"#,
        r#"{"at_ms":3,"type":"call","call":"2","state":"ringing"}"#,
        r#"{"at_ms":4,"type":"call","call":"2","state":"ended"}"#,
        r#"{"at_ms":4,"type":"call","call":"3","state":"ended","outcome":"teapot"}"#,
        r#"{"at_ms":4,"type":"call","call":"4","state":"connected"}"#,
        r#"{"at_ms":4,"type":"call","call":"4","state":"ended","outcome":"answered"}"#,
    ] {
        assert_eq!(tell(&mut session, line), None, "{line}");
    }
    let reply = tell(&mut session, r#"{"at_ms":5,"type":"tick"}"#).unwrap();
    assert_eq!(reply["limit"], "agents");
    let why = reply["why"].as_str().unwrap();
    assert!(
        why.contains("0 in flight") && why.contains("1 of 2 abandoned"),
        "{why}"
    );
}
