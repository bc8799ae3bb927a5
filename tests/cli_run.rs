//! `paceline serve` and `paceline demo` as processes: what they print, what they serve, and how they stop.
#![allow(
    clippy::unwrap_used,
    reason = "a test's helpers fail by panicking, as tests do"
)]
#![allow(clippy::panic, reason = "a test's helpers fail by panicking, as tests do")]

use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Generous: the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `paceline`, killed if the test fails.
struct Paceline {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
}

impl Paceline {
    fn start(folder: &Path, args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_paceline"))
            .args(args)
            .current_dir(folder)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (out, err) = (
            lines(child.stdout.take().unwrap()),
            lines(child.stderr.take().unwrap()),
        );
        Self { child, out, err }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the end. Returns the exit status and the rest of standard error.
    fn wait(mut self) -> (ExitStatus, String) {
        let rest: Vec<String> = self.err.iter().collect();
        (self.child.wait().unwrap(), rest.join("\n"))
    }
}

impl Drop for Paceline {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            if line.is_err() || line.is_ok_and(|line| sender.send(line).is_err()) {
                return;
            }
        }
    });
    receiver
}

/// The result of `find` for the first line for which it is not `None`.
fn await_line<T>(lines: &Receiver<String>, find: impl Fn(&str) -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => match find(&line) {
                Some(found) => return found,
                None => seen.push(line),
            },
            Err(RecvTimeoutError::Timeout) => panic!("no such line in time:\n{}", seen.join("\n")),
            Err(RecvTimeoutError::Disconnected) => panic!("ended without such a line:\n{}", seen.join("\n")),
        }
    }
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

fn get(addr: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn serve_shows_its_address_serves_metrics_and_stops_at_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let config = "[server]\nlisten = \"127.0.0.1:0\"\n[[pbx]]\nname = \"try\"\nkind = \"sim\"\n";
    std::fs::write(folder.path().join("paceline.toml"), config).unwrap();
    for signal in ["-INT", "-TERM"] {
        let paceline = Paceline::start(folder.path(), &["serve", "--json"]);
        let addr = await_line(&paceline.err, |line| {
            let (_, rest) = line.split_once("http://")?;
            Some(rest.split(':').take(2).collect::<Vec<_>>().join(":"))
        });
        await_line(&paceline.out, |line| {
            let up = &json(line)["now"]["pbxes"]["try"];
            (up == &Value::Bool(true)).then_some(())
        });
        let page = get(&addr, "/metrics");
        assert!(
            page.starts_with("HTTP/1.1 200") && page.contains("paceline_pbx_up{pbx=\"try\"} 1"),
            "{page}"
        );
        assert!(get(&addr, "/api/v1/campaigns").starts_with("HTTP/1.1 401"));
        paceline.signal(signal);
        let (status, rest) = paceline.wait();
        assert!(status.success(), "{rest}");
        assert!(!rest.contains("ERROR") && !rest.contains("WARN"), "{rest}");
    }
}

#[test]
fn serve_says_why_it_cannot_start() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let config = format!("[server]\nlisten = \"{addr}\"\n");
    std::fs::write(folder.path().join("paceline.toml"), config).unwrap();
    let (status, rest) = Paceline::start(folder.path(), &["serve"]).wait();
    assert_eq!(status.code(), Some(1));
    assert!(
        rest.contains("choose another address") && rest.contains("because: "),
        "{rest}"
    );
}

#[test]
fn a_demo_dials_and_ends_with_a_summary_that_adds_up() {
    let folder = tempfile::tempdir().unwrap();
    let args = [
        "demo",
        "--for",
        "4s",
        "--speed",
        "50",
        "--listen",
        "127.0.0.1:0",
        "--json",
    ];
    let paceline = Paceline::start(folder.path(), &args);
    let summary = await_line(&paceline.out, |line| json(line).get("summary").cloned());
    let (status, rest) = paceline.wait();
    assert!(status.success(), "{rest}");
    assert!(!rest.contains("ERROR") && !rest.contains("WARN"), "{rest}");
    assert_eq!(summary["contradictions"], json("[]"));
    assert_eq!(summary["contacts"]["total"], 4_000);
    assert_eq!(summary["attempts"]["open"], 0);
    assert!(summary["connected"].as_u64().unwrap() > 0, "{summary}");
    assert!(
        std::fs::read_dir(folder.path()).unwrap().next().is_none(),
        "it left something behind"
    );
}

#[test]
fn a_second_signal_stops_at_once_and_leaves_conversations_up() {
    let folder = tempfile::tempdir().unwrap();
    // The demo runs so slowly that conversations last longer than the test waits.
    let args = [
        "demo",
        "--for",
        "1h",
        "--speed",
        "4",
        "--listen",
        "127.0.0.1:0",
        "--json",
        "--dir",
        "kept",
    ];
    let paceline = Paceline::start(folder.path(), &args);
    await_line(&paceline.out, |line| {
        let connected = json(line)["now"]["in_progress"]["connected"].as_u64();
        (connected >= Some(5)).then_some(())
    });
    paceline.signal("-INT");
    await_line(&paceline.err, |line| line.contains("no new calls").then_some(()));
    paceline.signal("-INT");
    await_line(&paceline.err, |line| line.contains("Stopping now").then_some(()));
    let summary = await_line(&paceline.out, |line| json(line).get("summary").cloned());
    let (status, rest) = paceline.wait();
    assert!(status.success(), "{rest}");
    assert!(summary["attempts"]["open"].as_u64().unwrap() > 0, "{summary}");
    assert!(folder.path().join("kept/paceline.db").exists());

    let (status, rest) = Paceline::start(folder.path(), &["demo", "--dir", "kept"]).wait();
    assert_eq!(status.code(), Some(1));
    assert!(rest.contains("name an empty folder"), "{rest}");
}

#[test]
fn a_second_serve_on_one_store_is_refused_with_the_name_of_the_first_and_other_commands_work() {
    let folder = tempfile::tempdir().unwrap();
    let config = "[server]\nlisten = \"127.0.0.1:0\"\n[[pbx]]\nname = \"a\"\nkind = \"sim\"\n";
    std::fs::write(folder.path().join("paceline.toml"), config).unwrap();
    let address = |line: &str| line.contains("Paceline listens on").then_some(());
    let first = Paceline::start(folder.path(), &["serve"]);
    await_line(&first.err, address);
    let second = Paceline::start(folder.path(), &["serve"]);
    let (status, said) = second.wait();
    assert_eq!(status.code(), Some(1), "{said}");
    let holder = format!("pid {}, since 2", first.child.id());
    assert!(
        said.contains("another Paceline serves this store: host ") && said.contains(&holder),
        "{said}"
    );
    // Commands that read the store or import contacts may run beside `serve`.
    std::fs::write(folder.path().join("c.csv"), "phone\n+12025550123\n").unwrap();
    for args in [
        ["key", "create", "a", "--role", "write"].as_slice(),
        &["key", "list"],
        &["import", "c.csv", "--list", "l", "--yes"],
    ] {
        let (status, said) = Paceline::start(folder.path(), args).wait();
        assert!(status.success(), "{args:?} {said}");
    }
    // The lock ends with its process, even if the process is killed.
    first.signal("-KILL");
    first.wait();
    let next = Paceline::start(folder.path(), &["serve"]);
    await_line(&next.err, address);
}

#[test]
fn two_processes_that_make_a_store_at_once_both_succeed() {
    for _ in 0..10 {
        let folder = tempfile::tempdir().unwrap();
        let both = ["a", "b", "c"]
            .map(|name| Paceline::start(folder.path(), &["key", "create", name, "--role", "write"]));
        for one in both {
            let (status, said) = one.wait();
            assert!(status.success(), "{said}");
        }
    }
}
