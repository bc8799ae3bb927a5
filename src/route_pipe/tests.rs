//! The protocol of `paceline route`.

use super::Session;
use serde_json::Value;

const CONFIG: &str = r#"{"type":"config","weights":{"connect":0.65,"idle":0.05,"asr":0.3},"trunks":[{"id":"t1","group":"g1","channels_max":30,"calls_per_s_max":5,"regions":["CN-11"],"carriers":["unicom"],"tier":1,"price_per_minute":0.02},{"id":"t2","group":"g2","channels_max":2}],"groups":[{"id":"g1","standby":"g2"}],"campaigns":[{"id":"c1","weight":1}]}"#;
const CHOOSE: &str = r#"{"at_ms":1000,"type":"choose","leg":"78","campaign":"c1","region":"CN-11","carrier":"unicom","tier":1,"tried":[]}"#;

fn said(session: &mut Session, lines: &[&str]) -> Vec<Value> {
    let mut out = String::new();
    for line in lines {
        session.take(line.as_bytes(), &mut out);
    }
    assert!(out.is_empty() || out.ends_with('\n'));
    out.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn only_a_choose_is_answered_with_trunk_kind_and_reasons() {
    let mut session = Session::default();
    let answers = said(
        &mut session,
        &[
            CONFIG,
            r#"{"at_ms":0,"type":"trunk","trunk":"t1","up":true}"#,
            CHOOSE,
            r#"{"at_ms":1000,"type":"leg","leg":"78","trunk":"t1","state":"dialing"}"#,
            r#"{"at_ms":1200,"type":"leg","leg":"78","trunk":"t1","state":"ended","outcome":"congestion","local_fault":false}"#,
            r#"{"at_ms":1200.5,"type":"choose","leg":79,"campaign":"c1","region":"CN-11","carrier":"unicom","tried":["t1"],"more":{"x":[1]}}"#,
        ],
    );
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0]["at_ms"], 1000);
    assert_eq!(answers[0]["leg"], "78");
    assert_eq!(
        (&answers[0]["trunk"], &answers[0]["kind"]),
        (&"t1".into(), &"best".into())
    );
    assert_eq!(answers[0]["retry_at_ms"], Value::Null);
    assert!(answers[0]["why"][0].as_str().unwrap().contains("t1 scores"));
    assert_eq!(answers[1]["at_ms"], 1200.5);
    assert_eq!(answers[1]["leg"], 79);
    assert_eq!(
        (&answers[1]["trunk"], &answers[1]["kind"]),
        (&"t2".into(), &"standby".into())
    );
    assert!(
        answers[1]["why"]
            .as_array()
            .unwrap()
            .iter()
            .any(|why| why == "t1: this attempt has tried it")
    );
}

#[test]
fn a_leg_without_a_trunk_is_told_when_to_ask_again() {
    let mut session = Session::default();
    let config = r#"{"type":"config","trunks":[{"id":"t1","calls_per_s_max":1,"regions":null}]}"#;
    let ask = |at: u64| format!(r#"{{"at_ms":{at},"type":"choose","leg":"{at}"}}"#);
    let answers = said(&mut session, &[config, &ask(0)]);
    assert_eq!(answers[0]["trunk"], "t1");
    let lines = [r#"{"at_ms":0,"type":"leg","leg":"0","trunk":"t1","state":"dialing"}"#];
    assert_eq!(said(&mut session, &lines), Vec::<Value>::new());
    let answers = said(&mut session, &[&ask(500)]);
    assert_eq!(
        (&answers[0]["trunk"], &answers[0]["retry_at_ms"]),
        (&Value::Null, &1001.into())
    );
    assert_eq!(answers[0]["why"][0], "t1: its calls per second are used up");
    let down = r#"{"at_ms":600,"type":"trunk","trunk":"t1","up":false}"#;
    let answers = said(&mut session, &[down, &ask(700)]);
    assert_eq!(
        (&answers[0]["trunk"], &answers[0]["retry_at_ms"]),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn a_line_that_cannot_be_used_gets_an_error_and_changes_nothing() {
    let mut session = Session::default();
    let errors = said(&mut session, &[CHOOSE]);
    assert_eq!(errors[0]["line"], 1);
    said(&mut session, &[CONFIG]);
    let mut plain = Session::default();
    said(&mut plain, &[CONFIG]);
    for line in [
        "",
        "x",
        "[]",
        "7",
        r#""78""#,
        "{",
        "{}",
        r#"{"type":"choose","leg":"78"}"#,
        r#"{"at_ms":-1,"type":"choose","leg":"78"}"#,
        r#"{"at_ms":1e300,"type":"choose","leg":"78"}"#,
        r#"{"at_ms":5,"type":"choose"}"#,
        r#"{"at_ms":5,"type":"choose","leg":""}"#,
        r#"{"at_ms":5,"type":"choose","leg":{"a":"+4915112345678"}}"#,
        r#"{"at_ms":5,"type":"choose","leg":"78","leg":"79"}"#,
        r#"{"at_ms":5,"type":"choose","leg":"78","tier":-1}"#,
        r#"{"at_ms":5,"type":"choose","leg":"78","tried":"t1"}"#,
        r#"{"at_ms":5,"type":"leg","leg":"78","trunk":"t9","state":"dialing"}"#,
        r#"{"at_ms":5,"type":"leg","leg":"78","trunk":"t1","state":"+4915112345678"}"#,
        r#"{"at_ms":5,"type":"leg","leg":"78","trunk":"t1","state":"ended","talk_ms":-1}"#,
        r#"{"at_ms":5,"type":"leg","leg":"78","trunk":"t1","state":"ended","loss_ratio":3}"#,
        r#"{"at_ms":5,"type":"trunk","trunk":"t1"}"#,
        r#"{"at_ms":5,"type":"trunk","trunk":"t9","up":false}"#,
        r#"{"at_ms":5,"type":"trunk","trunk":"t1","up":"+4915112345678"}"#,
        r#"{"type":"config"}"#,
        r#"{"type":"config","trunks":[{"group":"g1"}]}"#,
        r#"{"type":"config","trunks":[{"id":"t1"},{"id":"t1"}]}"#,
        r#"{"type":"config","trunks":[{"id":"t1","calls_per_s_max":-1}]}"#,
        r#"{"type":"config","weights":"+4915112345678","trunks":[]}"#,
        r#"{"type":"config","weights":{"connect":-1},"trunks":[]}"#,
        r#"{"type":"config","trunks":[],"campaigns":[{"id":"c1","weight":-1}]}"#,
    ] {
        let answers = said(&mut session, &[line]);
        if line.is_empty() {
            assert_eq!(answers, Vec::<Value>::new());
            continue;
        }
        assert_eq!(answers.len(), 1, "{line}");
        let error = answers[0]["error"]
            .as_str()
            .unwrap_or_else(|| panic!("{line}: {}", answers[0]));
        assert!(!error.contains("4915112345678"), "{error}");
        assert!(
            answers[0]["line"].is_u64() && error.len() < 300,
            "{line}: {error}"
        );
    }
    assert_eq!(said(&mut session, &[CHOOSE]), said(&mut plain, &[CHOOSE]));
}

#[test]
fn the_preset_document_is_chosen_by_its_name() {
    let mut session = Session::default();
    let config = r#"{"type":"config","weights":"document","trunks":[{"id":"a\"b\n\u0001"}]}"#;
    let answers = said(
        &mut session,
        &[config, r#"{"at_ms":1,"type":"choose","leg":"1"}"#],
    );
    assert_eq!(answers[0]["trunk"], "a\"b\n\u{1}");
}
