//! Tests of the protocol, with correct and wrong lines.

use super::*;
use paceline_core::pacing::{AgentStep, CallStep};
use paceline_sim::pacing::{Dialer, Scenario, run};
use paceline_sim::random::Spread;
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
fn only_a_tick_gets_a_reply() {
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
fn a_line_that_cannot_be_used_is_named_and_changes_nothing() {
    let mut session = Session::default();
    assert_eq!(
        error(&mut session, r#"{"at_ms":0,"type":"tick"}"#),
        "line 1: there is no config yet: send a line of type config first"
    );
    tell(&mut session, CONFIG);
    assert_eq!(
        error(&mut session, CONFIG),
        "line 3: there is already a config: send it only once"
    );
    tell(
        &mut session,
        r#"{"at_ms":1000,"type":"agent","agent":"7","state":"available"}"#,
    );
    for (line, complaint) in [
        (
            "hello",
            "the line is not JSON from column 1 on: write one JSON object per line",
        ),
        ("[1]", "the line is not a JSON object"),
        (
            r#"{"at_ms":1000,"type":"tick""#,
            "the line is not JSON from column 27 on: write one JSON object per line",
        ),
        (r#"{"at_ms":1000}"#, "the field `type` is missing"),
        (
            r#"{"at_ms":1000,"type":"tock"}"#,
            "the field `type` must be config, agent, call or tick",
        ),
        (r#"{"type":"tick"}"#, "the field `at_ms` is missing"),
        (
            r#"{"at_ms":"1000","type":"tick"}"#,
            "the field `at_ms` must be a time in milliseconds, 0 or more",
        ),
        (
            r#"{"at_ms":-1,"type":"tick"}"#,
            "the field `at_ms` must be a time in milliseconds, 0 or more",
        ),
        (
            r#"{"at_ms":999,"type":"tick"}"#,
            "`at_ms` is earlier than in a previous line: send lines in order of time",
        ),
        (
            r#"{"at_ms":1000,"type":"agent","agent":"7","state":"asleep"}"#,
            "the field `state` must be offline, available, on_call, wrap_up or paused",
        ),
        (
            r#"{"at_ms":1000,"type":"agent","state":"paused"}"#,
            "the field `agent` is missing",
        ),
        (
            r#"{"at_ms":1000,"type":"call","call":["+12025550123"],"state":"dialing"}"#,
            "the field `call` must be an id: a string that is not empty",
        ),
        (
            r#"{"at_ms":1000,"type":"tick","channels_free":-2}"#,
            "the field `channels_free` must be a number of channels, 0 or more",
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
fn a_wrong_config_is_refused_and_a_correct_one_may_follow() {
    let mut session = Session::default();
    for bad in ["3", "-0.1", "\"0.03\"", "1e999"] {
        error(
            &mut session,
            &format!(r#"{{"at_ms":0,"type":"config","max_abandon_ratio":{bad}}}"#),
        );
    }
    assert_eq!(
        error(&mut session, r#"{"at_ms":0,"type":"config"}"#),
        "line 5: the field `max_abandon_ratio` is missing"
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
        why.contains("0 in flight") && why.contains("1 of 2 live answers abandoned"),
        "{why}"
    );
}

/// A call centre that is paced over the pipe, until 100 live answers are counted.
struct Piped {
    session: Session,
    answers: u32,
    abandoned: u32,
}

impl Dialer for Piped {
    fn agent(&mut self, at: Mono, agent: u32, step: AgentStep) {
        let state = match step {
            AgentStep::Offline => "offline",
            AgentStep::Available => "available",
            AgentStep::OnCall => "on_call",
            AgentStep::WrapUp => "wrap_up",
            AgentStep::Paused => "paused",
        };
        let at_ms = at.0.as_millis();
        let line = format!(r#"{{"at_ms":{at_ms},"type":"agent","agent":"{agent}","state":"{state}"}}"#);
        assert_eq!(tell(&mut self.session, &line), None);
    }

    fn call(&mut self, at: Mono, call: u64, step: CallStep) {
        let state = match step {
            CallStep::Dialing { .. } => "dialing",
            CallStep::Ringing => "ringing",
            CallStep::Answered => "answered",
            CallStep::Person => "person",
            CallStep::Machine => "machine",
            CallStep::Connected(_) => "connected",
            CallStep::Abandoned => "abandoned",
            CallStep::Ended { .. } => "ended",
        };
        if self.answers < 100 && matches!(step, CallStep::Connected(_) | CallStep::Abandoned) {
            self.answers += 1;
            self.abandoned += u32::from(step == CallStep::Abandoned);
        }
        let at_ms = at.0.as_millis();
        let line = format!(r#"{{"at_ms":{at_ms},"type":"call","call":"{call}","state":"{state}"}}"#);
        assert_eq!(tell(&mut self.session, &line), None);
    }

    fn tick(&mut self, at: Mono, _: Option<u32>) -> u32 {
        let line = format!(r#"{{"at_ms":{},"type":"tick"}}"#, at.0.as_millis());
        let reply = tell(&mut self.session, &line).unwrap();
        u32::try_from(reply["launch"].as_u64().unwrap()).unwrap()
    }
}

#[test]
fn a_cold_start_over_the_pipe_stays_within_the_cap_plus_three() {
    for (agents, live, answer_ms) in [(5, 0.8, 200), (30, 0.8, 200), (30, 0.3, 20_000)] {
        let constant = |ms| Spread::Constant(Duration::from_millis(ms));
        let scenario = Scenario {
            length: Duration::from_secs(120),
            machine_share: 0.0,
            setup: constant(50),
            ring_person: constant(answer_ms),
            amd_person: constant(0),
            talk: constant(20_000),
            wrap_up: constant(5_000),
            ..Scenario::stationary(agents, live)
        };
        let mut piped = Piped {
            session: started(),
            answers: 0,
            abandoned: 0,
        };
        run(&scenario, 1, &mut piped);
        let told = format!(
            "{agents} agents: {} of {} abandoned",
            piped.abandoned, piped.answers
        );
        assert!(piped.answers > 10 && piped.abandoned <= 6, "{told}");
    }
}
