//! Lines that no client should send. The gate answers each with one line, in order, and ends with exit code 0.

use crate::cases::{Random, draw};
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};

const GOOD: &str = r#"{"at":"2026-11-20T12:00:00-05:00","number":"+12125550123","purpose":"service","mode":"manual","ring_timeout_ms":20000}"#;
/// Digits that no error may repeat, because they may be a telephone number.
const DIGITS: &str = "2125550123";

/// The lines that `paceline gate` writes for this input. It must end with exit code 0 and write nothing else.
fn run(input: &[u8]) -> Vec<String> {
    let mut gate = Command::new(env!("CARGO_BIN_EXE_paceline"))
        .arg("gate")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = gate.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || stdin.write_all(&input));
    let output = gate.wait_with_output().unwrap();
    feeder.join().unwrap().unwrap();
    assert!(output.status.success(), "{:?}", output.status);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(str::to_owned).collect()
}

fn is_error(said: &Value) -> bool {
    said["error"].as_str().is_some_and(|text| !text.is_empty())
}

fn around(hostile: &[Vec<u8>]) -> Vec<u8> {
    let mut input = Vec::new();
    for line in hostile {
        input.extend_from_slice(line);
        input.push(b'\n');
        input.extend_from_slice(GOOD.as_bytes());
        input.push(b'\n');
    }
    input
}

/// A good line follows each hostile line, so a lost or a doubled answer shifts all answers after it.
fn each_gets_an_error(hostile: &[Vec<u8>]) {
    let said = run(&around(hostile));
    assert_eq!(said.len(), 2 * hostile.len());
    for (line, pair) in hostile.iter().zip(said.chunks(2)) {
        let shown = String::from_utf8_lossy(&line[..line.len().min(300)]);
        let [error, answer] = pair else { panic!("a pair") };
        assert!(error.len() < 1_000, "the error of {shown} is long: {error}");
        assert!(!error.contains(DIGITS), "{error} repeats a number of {shown}");
        assert!(
            is_error(&serde_json::from_str(error).unwrap()),
            "{shown} is no error: {error}"
        );
        let answer: Value = serde_json::from_str(answer).unwrap();
        assert_eq!(answer["decision"], "allow", "after {shown}");
    }
}

fn with(from: &str, to: &str) -> Vec<u8> {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1).into_bytes()
}

#[test]
fn bytes_that_are_no_text_or_no_json_get_an_error_each() {
    let mut hostile: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b" \t ".to_vec(),
        b"\r".to_vec(),
        b"\0".to_vec(),
        b"\0\0\0\0".to_vec(),
        b"\xff\xfe".to_vec(),
        b"\xef\xbb\xbf".to_vec(),
        b"{".to_vec(),
        b"}".to_vec(),
        b"\"".to_vec(),
        b"nul".to_vec(),
        b"NaN".to_vec(),
        b"42".to_vec(),
        b"true".to_vec(),
        br#""text""#.to_vec(),
        b"[".repeat(5_000),
        b"{".repeat(5_000),
        b"]".repeat(5_000),
        br#"{"a":"#.repeat(5_000),
        br#"{"contact":"#.repeat(5_000),
        b"[{\"at\":".repeat(100_000),
        format!("{GOOD}{GOOD}").into_bytes(),
        format!("{GOOD},").into_bytes(),
        format!("[{GOOD}]").into_bytes(),
    ];
    hostile.push([&GOOD.as_bytes()[..40], b"\xc3\x28", &GOOD.as_bytes()[40..]].concat());
    hostile.push([&GOOD.as_bytes()[..40], b"\0", &GOOD.as_bytes()[40..]].concat());
    hostile.push([&GOOD.as_bytes()[..1], b"\xed\xa0\x80", &GOOD.as_bytes()[1..]].concat());
    hostile.extend(
        (1..GOOD.len())
            .step_by(7)
            .map(|cut| GOOD.as_bytes()[..cut].to_vec()),
    );
    each_gets_an_error(&hostile);
}

#[test]
fn a_field_that_comes_twice_gets_an_error() {
    let deep = |inside: &str| with(r#""ring_timeout_ms""#, &format!(r#"{inside},"ring_timeout_ms""#));
    let hostile = vec![
        deep(r#""at":"2026-11-20T03:00:00Z""#),
        deep(r#""number":"+12125550123""#),
        deep(r#""purpose":"service""#),
        deep(r#""suppressed":[],"suppressed":["internal"]"#),
        deep(r#""suppressed":["internal"],"suppressed":[]"#),
        deep(r#""contact":{"state":"FL","state":null}"#),
        deep(r#""contact":{},"contact":{"state":"FL"}"#),
        deep(
            r#""contact":{"consents":[{"kind":"express","kind":"express_written","scope":"marketing","granted_at":"2025-01-01T00:00:00Z"}]}"#,
        ),
        deep(
            r#""history":[{"at":"2025-01-01T00:00:00Z","number":"+12125550123","outcome":"busy","outcome":"failed"}]"#,
        ),
        deep(r#""subject":null,"subject":null"#),
    ];
    each_gets_an_error(&hostile);
}

#[test]
fn numbers_and_instants_out_of_range_get_an_error_or_an_answer_and_stop_nothing() {
    let rings = [
        "-1",
        "-0.5",
        "1e400",
        "1e19",
        "18446744073709551615",
        "18446744073709551616",
        "9223372036854775807",
        "4294967296",
        "1e-400",
    ];
    let rings = rings.map(|ring| with("20000", ring));
    let instants = [
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59-23:59",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "1883-11-18T12:00:00Z",
        "-009999-01-02T01:59:59Z",
        "+10000-01-01T00:00:00Z",
        "2026-12-31T23:59:60Z",
        "2026-11-20T24:00:00Z",
        "2026-11-20T12:00:00.999999999Z",
        "2026-11-20T12:00:00.0000000000000000000000001Z",
        "2026-11-20T12:00:00+24:00",
        "2026-11-20T12:00:00+99:99",
    ];
    let hostile: Vec<_> = rings
        .into_iter()
        .chain(instants.map(|at| with("2026-11-20T12:00:00-05:00", at)))
        .collect();
    let said = run(&around(&hostile));
    assert_eq!(said.len(), 2 * hostile.len());
    for (line, pair) in hostile.iter().zip(said.chunks(2)) {
        let answers = pair
            .iter()
            .map(|text| serde_json::from_str::<Value>(text).unwrap());
        let [first, second] = answers.collect::<Vec<_>>().try_into().unwrap();
        assert!(
            is_error(&first) || first["decision"].is_string(),
            "{}",
            String::from_utf8_lossy(line)
        );
        assert_eq!(
            second["decision"],
            "allow",
            "after {}",
            String::from_utf8_lossy(line)
        );
    }
}

#[test]
fn lines_of_16_mb_are_answered_one_by_one() {
    const LONG: usize = 16 << 20;
    let row = r#"{"at":"2025-01-01T00:00:00Z","number":"+12125550123","outcome":"busy"},"#;
    let rows = row.repeat(LONG / row.len());
    let history = format!(r#""history":[{}],"ring_timeout_ms""#, rows.trim_end_matches(','));
    let hostile = vec![
        vec![b'a'; LONG],
        vec![b' '; LONG],
        vec![0; LONG],
        vec![b'['; LONG],
        with("manual", &"m".repeat(LONG)),
        with("+12125550123", &format!("+{}", "1".repeat(LONG))),
        with(r#""ring_timeout_ms""#, &history),
    ];
    let said = run(&around(&hostile));
    assert_eq!(said.len(), 2 * hostile.len());
    for pair in said.chunks(2) {
        let first: Value = serde_json::from_str(&pair[0]).unwrap();
        assert!(pair[0].len() < 10_000, "{} bytes for a long line", pair[0].len());
        assert!(is_error(&first) || first["decision"].is_string());
        let second: Value = serde_json::from_str(&pair[1]).unwrap();
        assert_eq!(second["decision"], "allow");
    }
}

#[test]
fn windows_line_ends_a_last_line_without_an_end_and_no_line_at_all_are_accepted() {
    assert!(run(b"").is_empty());
    for input in [
        format!("{GOOD}\r\n{GOOD}\r\n"),
        format!("{GOOD}\n{GOOD}"),
        format!(" {GOOD} \n\t{GOOD}\n"),
    ] {
        let said = run(input.as_bytes());
        assert_eq!(said.len(), 2, "{input:?}");
        for line in said {
            assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["decision"], "allow");
        }
    }
}

#[test]
fn good_lines_damaged_at_random_get_one_line_each() {
    let mut random = Random::of_case(20_261_128, 0);
    let mut input = Vec::new();
    let lines = 3_000;
    for _ in 0..lines {
        let mut text = serde_json::to_vec(&draw(&mut random)).unwrap();
        for _ in 0..random.below(4) {
            let at = random.below(text.len());
            match random.below(4) {
                0 => text[at] = u8::try_from(random.below(256)).unwrap(),
                1 => text.truncate(at + 1),
                2 => drop(text.remove(at)),
                _ => text.insert(at, random.of(b"\"{}[],:0\\+\xff")),
            }
        }
        text.retain(|byte| *byte != b'\n');
        input.extend(text);
        input.push(b'\n');
    }
    let said = run(&input);
    assert_eq!(said.len(), lines);
    for line in said {
        let said: Value = serde_json::from_str(&line).unwrap();
        assert!(is_error(&said) != said["decision"].is_string(), "{line}");
    }
}

/// The field that the error must name, and the change that makes it wrong.
type Wrong = (&'static str, fn(&mut Value));

#[test]
fn the_error_names_the_wrong_field_of_a_random_line() {
    let wrong: &[Wrong] = &[
        ("at", |line| line["at"] = "2026-11-20T12:00:00".into()),
        ("at", |line| drop(line.as_object_mut().unwrap().remove("at"))),
        ("number", |line| line["number"] = "2125550123".into()),
        ("number", |line| line["number"] = "+1212555".into()),
        ("purpose", |line| line["purpose"] = "sales".into()),
        ("mode", |line| line["mode"] = Value::Null),
        ("mode", |line| drop(line.as_object_mut().unwrap().remove("mode"))),
        ("campaign", |line| line["campaign"] = 7.into()),
        ("subject", |line| line["subject"] = Value::Array(Vec::new())),
        ("debt", |line| line["debt"] = true.into()),
        ("caller_id", |line| line["caller_id"] = "withheld".into()),
        ("profiles[0]", |line| line["profiles"] = vec!["us-xx"].into()),
        ("ring_timeout_ms", |line| line["ring_timeout_ms"] = (-1).into()),
        ("ring_timeout_ms", |line| line["ring_timeout_ms"] = "20000".into()),
        ("contact.time_zone", |line| {
            line["contact"]["time_zone"] = "Etc/GMT+5".into()
        }),
        ("contact.country", |line| line["contact"]["country"] = "us".into()),
        ("contact.town", |line| line["contact"]["town"] = "Oslo".into()),
        ("contact.tags", |line| line["contact"]["tags"] = "vip".into()),
        ("contact.consents[0].granted_at", |line| {
            line["contact"]["consents"] =
                serde_json::json!([{"kind": "express", "scope": "debt", "granted_at": "soon"}]);
        }),
        ("history[0].outcome", |line| {
            line["history"] = serde_json::json!([{"at": "2026-01-01T00:00:00Z", "outcome": "lost"}]);
        }),
        ("suppressed[1]", |line| {
            line["suppressed"] = serde_json::json!(["internal", null])
        }),
        ("weather", |line| line["weather"] = "fine".into()),
    ];
    for number in 0..1_000 {
        let mut random = Random::of_case(20_261_128, number);
        let mut line = serde_json::to_value(draw(&mut random)).unwrap();
        let (field, spoil) = wrong[random.below(wrong.len())];
        spoil(&mut line);
        let said = crate::pipe::answer(&line.to_string());
        assert_eq!(said.unwrap_err().field.as_deref(), Some(field), "{line}");
    }
}
