//! `paceline config check`, and the help, version and exit codes of the command line, run as a user runs them.
#![allow(
    clippy::unwrap_used,
    reason = "a test's helpers fail by panicking, as tests do"
)]

use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

fn paceline(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_paceline"))
        .args(args)
        .current_dir(folder)
        .env_remove("RUST_LOG")
        .env("PBX_PASSWORD", "hunter2")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn folder_with(config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("paceline.toml"), config).unwrap();
    folder
}

#[test]
fn a_good_file_is_described_without_its_passwords() {
    let folder = folder_with(
        "[numbers]\ndefault_region = \"US\"\n\n[[pbx]]\nname = \"office\"\nkind = \"ari\"\n\
         url = \"http://127.0.0.1:8088\"\nusername = \"paceline\"\npassword_file = \"ari.password\"\n",
    );
    std::fs::write(folder.path().join("ari.password"), "hunter2\n").unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(
        folder.path().join("ari.password"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    let output = paceline(folder.path(), &["config", "check"]);
    assert!(output.status.success());
    insta::assert_snapshot!(text(&output.stdout), @"
    `paceline.toml` is valid.
      listens on      127.0.0.1:8080
      keeps state in  sqlite:paceline.db
      default region  US
      PBX `office`    Asterisk at http://127.0.0.1:8088, user `paceline`, application `paceline`, agents by PJSIP/{extension}, trunks by PJSIP/*, Local/*
    ");

    let output = paceline(folder.path(), &["config", "check", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        report,
        json!({
            "ok": true,
            "file": "paceline.toml",
            "settings": {
                "server": {"listen": "127.0.0.1:8080"},
                "store": {"url": "sqlite:paceline.db"},
                "numbers": {"default_region": "US"},
                "ledger": {"checkpoints": null},
                "retention": {"audit_days": 1827, "decisions_days": 1827, "import_rejects_days": 90, "opt_outs_days": 3653, "outside_answers_days": 30},
                "outside_check": null,
                "log": {"json": false},
                "pbx": [{
                    "name": "office",
                    "kind": "ari",
                    "url": "http://127.0.0.1:8088",
                    "username": "paceline",
                    "app": "paceline",
                    "ami": null,
                    "agent_dial": "PJSIP/{extension}",
                    "dial_allowed": ["PJSIP/*", "Local/*"],
                }],
            },
            "warnings": [],
        })
    );
}

#[test]
fn a_bad_file_fails_with_every_problem_shown_in_place() {
    let folder = folder_with(
        "[server]\nlisten = \"localhost\"\n\n[[pbx]]\nname = \"office\"\nkind = \"ari\"\n\
         url = \"http://127.0.0.1:8088/ari\"\nuser = \"paceline\"\npassword_file = \"absent\"\n",
    );
    let output = paceline(folder.path(), &["config", "check"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    insta::assert_snapshot!(text(&output.stderr), @r#"
    error: invalid `listen` in [server]
     --> paceline.toml:2:10
    2 | listen = "localhost"
      |          ^^^^^^^^^^^ an IP address and a port, such as "127.0.0.1:8080"

    error: missing setting `username` in [[pbx]]
     --> paceline.toml:4:1
    4 | [[pbx]]
      | ^^^^^^^ this section needs it
    hint: add `username = "paceline"`

    error: invalid `url` in [[pbx]]
     --> paceline.toml:7:7
    7 | url = "http://127.0.0.1:8088/ari"
      |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^ only the start of the URL, without /ari and all that follows

    error: unknown setting `user` in [[pbx]]
     --> paceline.toml:8:1
    8 | user = "paceline"
      | ^^^^ unknown
    hint: did you mean `username`?

    error: invalid `password_file` in [[pbx]]
     --> paceline.toml:9:17
    9 | password_file = "absent"
      |                 ^^^^^^^^ cannot be read: No such file or directory (os error 2)
    hint: put the password, and nothing else, into `absent`
    "#);

    let output = paceline(folder.path(), &["config", "check", "--json"]);
    assert_eq!(
        (output.status.code(), text(&output.stderr)),
        (Some(1), String::new())
    );
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], false);
    assert_eq!(report["problems"].as_array().map(Vec::len), Some(5));
}

#[test]
fn a_file_that_is_not_there_is_an_error_only_if_it_was_named() {
    let folder = tempfile::tempdir().unwrap();
    assert!(paceline(folder.path(), &["config", "check"]).status.success());
    let output = paceline(folder.path(), &["config", "check", "--config", "mine.toml"]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(text(&output.stderr), @"
    error: cannot read the configuration file `mine.toml`: name another file with --config, or make this one readable
      because: No such file or directory (os error 2)
    ");
}

#[test]
fn help_and_version_work_and_wrong_arguments_have_their_own_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let version = paceline(folder.path(), &["--version"]);
    assert_eq!(
        text(&version.stdout),
        format!("paceline {}\n", env!("CARGO_PKG_VERSION"))
    );
    let help = text(&paceline(folder.path(), &["--help"]).stdout);
    assert!(
        help.contains("paceline demo") && help.contains("--config <FILE>"),
        "{help}"
    );
    assert_eq!(paceline(folder.path(), &["serv"]).status.code(), Some(2));
}

#[test]
fn a_doctor_without_any_pbx_says_so_and_fails() {
    let folder = folder_with("");
    let output = paceline(folder.path(), &["doctor"]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(text(&output.stdout), @"
      FAULT PBX: none is configured, so nobody can be called
            cure: name one in a section [[pbx]] of paceline.toml (README.md shows it)
    ");
}
