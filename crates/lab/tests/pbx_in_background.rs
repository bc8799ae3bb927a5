//! `paceline-lab up|status|down`, and what happens to its programs when it is killed.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use paceline_lab::FreeSwitch;
use std::{
    fs,
    net::TcpStream,
    path::Path,
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

fn lab(verb: &str, folder: &Path) -> Output {
    lab_of(&[], verb, folder)
}

fn lab_of(kind: &[&str], verb: &str, folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paceline-lab"));
    command.arg(verb).arg("--folder").arg(folder);
    if verb == "up" {
        command.args(["--port", "0", "--agents", "3"]).args(kind);
    }
    command.output().unwrap()
}

/// The port in a line such as `sip_port = 5060` or `url = "http://127.0.0.1:8088"`.
fn port(summary: &str, key: &str) -> u16 {
    let line = summary.lines().find(|line| line.starts_with(key)).unwrap();
    line.rsplit([':', ' '])
        .next()
        .unwrap()
        .trim_matches('"')
        .parse()
        .unwrap()
}

fn nobody_listens_within(limit: Duration, port: u16) -> bool {
    becomes_true_within(limit, || TcpStream::connect(("127.0.0.1", port)).is_err())
}

fn becomes_true_within(limit: Duration, done: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !done() {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
    true
}

#[test]
fn a_lab_in_the_background_ends_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let up = lab("up", folder.path());
    assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
    assert!(
        !lab("up", folder.path()).status.success(),
        "a second lab in the same folder"
    );
    let status = lab("status", folder.path());
    assert!(status.status.success());
    let summary = String::from_utf8(status.stdout).unwrap();
    assert!(summary.contains("PJSIP/{number}@carrier"));
    let ari = port(&summary, "url");
    assert!(TcpStream::connect(("127.0.0.1", ari)).is_ok());
    assert!(lab("down", folder.path()).status.success());
    assert!(nobody_listens_within(Duration::ZERO, ari));
    assert!(!lab("status", folder.path()).status.success());
}

#[test]
fn a_freeswitch_lab_in_the_background_says_how_to_attach_to_it() {
    let what = "a_freeswitch_lab_in_the_background_says_how_to_attach_to_it";
    if FreeSwitch::program_or_skip(what).is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let up = lab_of(&["--freeswitch"], "up", folder.path());
    assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
    let summary = String::from_utf8(up.stdout).unwrap();
    for said in [
        "[[pbx]]\nname = \"lab\"\nkind = \"esl\"\naddress = \"127.0.0.1:",
        "password_file = ",
        "agent_dial = \"user/{extension}\"",
        "direct = \"sofia/gateway/carrier/{number}\"",
    ] {
        assert!(summary.contains(said), "{said}: {summary}");
    }
    let socket = port(&summary, "address");
    assert!(TcpStream::connect(("127.0.0.1", socket)).is_ok());
    assert!(lab("down", folder.path()).status.success());
    assert!(nobody_listens_within(Duration::ZERO, socket));
}

#[test]
fn a_killed_lab_leaves_no_program_behind() {
    let folder = tempfile::tempdir().unwrap();
    assert!(lab("up", folder.path()).status.success());
    let summary = fs::read_to_string(folder.path().join("lab.toml")).unwrap();
    let pid = fs::read_to_string(folder.path().join("pid")).unwrap();
    assert!(
        Command::new("sh")
            .args(["-c", "kill -9 $0", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert!(nobody_listens_within(
        Duration::from_secs(5),
        port(&summary, "url")
    ));
    let log = summary.lines().find(|line| line.starts_with("log")).unwrap();
    let left = log
        .split('"')
        .nth(1)
        .and_then(|log| Path::new(log).parent()?.parent())
        .unwrap();
    // The next lab on this machine removes the files that the killed lab left.
    assert!(lab("up", folder.path()).status.success());
    assert!(becomes_true_within(Duration::from_secs(5), || !left.exists()));
    assert!(lab("down", folder.path()).status.success());
}
