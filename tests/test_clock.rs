//! `paceline serve --test-clock`: a test moves the time of day in steps.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's helpers fail by panicking, as tests do"
)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use paceline_ledger::{Entry, Kind};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const SIM: &str = "[[pbx]]\nname = \"try\"\nkind = \"sim\"\n";

fn serve(folder: &Path, config: &str) -> Child {
    std::fs::write(folder.join("paceline.toml"), config).unwrap();
    Command::new(env!("CARGO_BIN_EXE_paceline"))
        .args(["serve", "--test-clock", "ahead"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The message with which it refuses to start.
fn refusal(folder: &Path, config: &str) -> String {
    let ended = serve(folder, config).wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    String::from_utf8(ended.stderr).unwrap()
}

fn say(folder: &Path, ahead: &str) {
    std::fs::write(folder.join("new"), ahead).unwrap();
    std::fs::rename(folder.join("new"), folder.join("ahead")).unwrap();
}

fn readyz(addr: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    write!(
        stream,
        "GET /readyz HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_test_clock_is_refused_unless_every_pbx_and_the_api_are_on_loopback() {
    let folder = tempfile::tempdir().unwrap();
    say(folder.path(), "3600");
    let ari = |url: &str| {
        format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n{SIM}[[pbx]]\nname = \"office\"\nkind = \"ari\"\nurl = \"{url}\"\nusername = \"a\"\n\
             password_file = \"p\"\nagent_dial = \"PJSIP/{{extension}}\"\n"
        )
    };
    std::fs::write(folder.path().join("p"), "secret").unwrap();
    let far = [
        (
            format!("[server]\nlisten = \"0.0.0.0:0\"\n{SIM}"),
            "the API listens on 0.0.0.0",
        ),
        (
            ari("http://192.0.2.7:8088"),
            "PBX `office` is not on a loopback address",
        ),
        (
            ari("https://pbx.example.com"),
            "PBX `office` is not on a loopback address",
        ),
    ];
    for (config, why) in far {
        let said = refusal(folder.path(), &config);
        assert!(
            said.contains("--test-clock is for tests") && said.contains(why),
            "{said}"
        );
    }
}

#[test]
fn a_test_clock_without_a_number_of_seconds_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = format!("[server]\nlisten = \"127.0.0.1:0\"\n{SIM}");
    let said = refusal(folder.path(), &config);
    assert!(said.contains("cannot read `ahead`"), "{said}");
    for text in ["", "soon", "1.5", "9999999999"] {
        say(folder.path(), text);
        let said = refusal(folder.path(), &config);
        assert!(said.contains("must hold one whole number"), "{said}");
    }
}

#[test]
fn each_step_of_a_test_clock_is_logged_shown_and_recorded_before_it_is_in_force_and_is_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    say(folder.path(), "3600");
    let config = format!("[server]\nlisten = \"127.0.0.1:0\"\n{SIM}");
    let mut paceline = serve(folder.path(), &config);
    let mut lines = BufReader::new(paceline.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let mut log = Vec::new();
    let mut until = |part: &str| -> String {
        let line = lines
            .by_ref()
            .inspect(|line| log.push(line.clone()))
            .find(|line| line.contains(part));
        line.unwrap_or_else(|| panic!("no `{part}` in {log:?}"))
    };
    until("3600 s ahead of the machine's");
    let shown = until("Paceline listens on http://");
    let addr = shown
        .split("http://")
        .nth(1)
        .unwrap()
        .split(": ")
        .next()
        .unwrap()
        .to_owned();
    assert!(
        readyz(&addr).contains("\"clock_ahead_s\":3600"),
        "{}",
        readyz(&addr)
    );
    // Two days ahead, then back.
    for ahead in ["172800", "-7200", "0"] {
        say(folder.path(), ahead);
        until(&format!(" {ahead} s ahead of the machine's"));
    }
    assert!(!readyz(&addr).contains("clock_ahead_s"), "{}", readyz(&addr));
    let pid = paceline.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert!(paceline.wait().unwrap().success());
    log.extend(lines);
    let troubles = log
        .iter()
        .filter(|line| line.contains("ERROR") || line.contains("has jumped"));
    assert_eq!(troubles.count(), 0, "{log:?}");
    let steps = log
        .iter()
        .filter(|line| line.contains("WARN") && line.contains("--test-clock"));
    assert_eq!(steps.count(), 4, "{log:?}");

    let export = Command::new(env!("CARGO_BIN_EXE_paceline"))
        .args(["ledger", "export"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(
        export.status.success(),
        "{}",
        String::from_utf8_lossy(&export.stderr)
    );
    let export = String::from_utf8(export.stdout).unwrap();
    let entries = export.lines().filter_map(|line| line.strip_prefix("entry "));
    let mut moved = Vec::new();
    for entry in entries {
        let bytes = STANDARD.decode(entry).unwrap();
        let entry = Entry::decode(&bytes).unwrap();
        if entry.kind == Kind::ClockMoved {
            moved.push((String::from_utf8(entry.body.to_vec()).unwrap(), entry.at_ms));
        }
    }
    let ahead: Vec<i64> = [3_600, 172_800, -7_200, 0].to_vec();
    let bodies: Vec<_> = ahead
        .iter()
        .map(|ahead_s| format!("{{\"ahead_s\":{ahead_s}}}"))
        .collect();
    assert_eq!(
        moved.iter().map(|(body, _)| body).collect::<Vec<_>>(),
        bodies.iter().collect::<Vec<_>>()
    );
    // The entry has the time after the step.
    for (pair, ahead) in moved.windows(2).zip(ahead.windows(2)) {
        let [before, after] = pair else { panic!() };
        let [from_s, to_s] = ahead else { panic!() };
        let passed_ms = after.1 - before.1 - (to_s - from_s) * 1_000;
        assert!(
            (0..60_000).contains(&passed_ms),
            "{passed_ms} ms between two steps"
        );
    }
}
