//! `paceline key`: it creates, lists and revokes keys, and shows a secret only once.
#![allow(
    clippy::unwrap_used,
    reason = "a test's helpers fail by panicking, as tests do"
)]

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn key(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_paceline"))
        .arg("key")
        .args(args)
        .current_dir(folder)
        .env_remove("RUST_LOG")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_key_is_made_once_listed_without_its_secret_and_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let made = key(folder.path(), &["create", "crm", "--role", "write", "--json"]);
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let secret = made["key"].as_str().unwrap();
    assert!(secret.starts_with("pl_1_"), "{made}");

    let again = key(folder.path(), &["create", "crm", "--role", "read"]);
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(
        text(&again.stderr),
        "error: another key has this name: choose a new one\n"
    );

    assert!(
        key(
            folder.path(),
            &["create", "board", "--role", "read", "--sees-numbers"]
        )
        .status
        .success()
    );
    assert!(key(folder.path(), &["revoke", "crm"]).status.success());
    let listed = key(folder.path(), &["list", "--json"]);
    assert!(!text(&listed.stdout).contains(&secret["pl_1_".len()..]));
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed[0]["name"], "crm");
    assert!(listed[0]["revoked_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(listed[1]["sees_numbers"], true);
    assert_eq!(listed[1]["revoked_at"], Value::Null);
    assert!(text(&key(folder.path(), &["list"]).stdout).lines().count() == 3);
}

#[test]
fn a_name_that_would_garble_a_terminal_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "two\nlines",
        "\u{1b}[2Jx",
        "turned\u{202e}round",
        "  ",
        &"x".repeat(201),
    ] {
        let made = key(folder.path(), &["create", name, "--role", "read"]);
        assert_eq!(made.status.code(), Some(1), "{name:?}");
        assert!(text(&made.stderr).contains("1 to 200 characters"), "{name:?}");
    }
    assert!(text(&key(folder.path(), &["list"]).stdout).starts_with("there is no key yet"));
}

#[test]
fn an_unknown_role_and_an_unknown_key_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let output = key(folder.path(), &["create", "crm", "--role", "root"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("use one of read, agent, write"));
    let output = key(folder.path(), &["revoke", "crm"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("there is no key `crm`"));
}
