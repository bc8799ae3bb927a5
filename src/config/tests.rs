use super::*;
use insta::assert_snapshot;
use proptest::strategy::Strategy as _;

fn parse(text: &str) -> Result<Config, ConfigError> {
    let env = |name: &str| (name == "ARI_PASSWORD").then(|| "s3cret".to_owned());
    Config::parse(Path::new("paceline.toml"), text, env)
}

fn complaint(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn an_empty_file_gives_secure_defaults() {
    let config = parse("").unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.store.shown, "sqlite:paceline.db");
    assert!(config.default_region.is_none() && config.pbxes.is_empty() && !config.log_json);
}

#[test]
fn a_mark_that_freeswitch_would_read_as_a_negation_is_refused() {
    let with = |app: &str| {
        parse(&format!(
            "[[pbx]]\nname = \"a\"\nkind = \"esl\"\naddress = \"127.0.0.1:8021\"\n\
             password_env = \"ARI_PASSWORD\"\napp = \"{app}\"\n"
        ))
    };
    assert!(with("d-1").is_ok());
    assert!(
        with("-d")
            .unwrap_err()
            .to_string()
            .contains("does not begin with `-`")
    );
}

#[test]
fn a_refused_sound_or_extension_is_explained_and_no_hostile_text_is_accepted() {
    let with = |line: &str| {
        parse(&format!(
            "[[pbx]]\nname = \"a\"\nkind = \"esl\"\naddress = \"127.0.0.1:8021\"\n\
             password_env = \"ARI_PASSWORD\"\n{line}\n"
        ))
    };
    let allowed = |config: Config| config.pbxes[0].dial_allowed.to_string();
    assert_eq!(allowed(with("").unwrap()), "sofia/gateway/*, loopback/*, user/*");
    let listed = "dial_allowed = [\"sofia/gateway/carrier\", \"user/*\"]";
    assert_eq!(allowed(with(listed).unwrap()), "sofia/gateway/carrier, user/*");
    assert_eq!(allowed(with("dial_allowed = []").unwrap()), "");
    for hostile in [
        "dial_allowed = \"sofia/gateway/*\"",
        "dial_allowed = [\"sofia/external/*\"]",
        "dial_allowed = [\"PJSIP/*\"]",
        "dial_allowed = [\"*\"]",
        "dial_allowed = [\"loopback/app=system\"]",
        "dial_allowed = [1]",
        "agent_dial = \"PJSIP/{extension}\"",
        "agent_dial = \"loopback/app=system:{extension}\"",
        "agent_dial = \"user/{extension}@x,user/y\"",
        "agent_dial = \"{execute_on_answer=system x}user/{extension}\"",
        "agent_dial = \"sofia/internal/{extension}@203.0.113.9\"",
        "app = \"a b\"",
        "app = \"a\\nb\"",
        "app = \"a,b=c\"",
        "app = \"a}b\"",
        "app = \"${x}\"",
        "address = \"127.0.0.1:8021\\n\\nexit\"",
    ] {
        assert!(with(hostile).is_err(), "{hostile}");
    }
}

#[test]
fn an_outside_check_is_encrypted_bounded_and_opened_only_with_a_reason() {
    let with = |lines: &str| parse(&format!("[outside_check]\n{lines}"));
    let check = |lines: &str| with(lines).unwrap().outside_check.unwrap();
    let usual = check("url = \"https://checks.example/numbers\"");
    assert_eq!((usual.batch_size, usual.requests_per_minute), (100, 60));
    assert!(usual.secret.is_none() && usual.open_because.is_none());
    let near = "url = \"http://127.0.0.1:9000/\"\nsecret_env = \"ARI_PASSWORD\"\nbatch_size = 500\ntimeout_ms = 100\n\
        on_outage = \"open\"\nopen_because = \"it only advises us\"";
    let near = check(near);
    assert_eq!(near.open_because.as_deref(), Some("it only advises us"));
    assert!(near.secret.is_some() && !format!("{near:?}").contains("s3cret"));
    for wrong in [
        "",
        "url = \"http://checks.example/numbers\"",
        "url = \"ftp://checks.example/numbers\"",
        "url = \"https://me:s3cret@checks.example/\"",
        "url = \"https://checks.example/?token=s3cret\"",
        "url = \"https://checks.example/\"\nsecret = \"s3cret\"",
        "url = \"https://checks.example/\"\nbatch_size = 0",
        "url = \"https://checks.example/\"\nbatch_size = 501",
        "url = \"https://checks.example/\"\non_outage = \"open\"",
        "url = \"https://checks.example/\"\non_outage = \"maybe\"",
        "url = \"https://checks.example/\"\nopen_because = \"it only advises us\"",
        "url = \"https://checks.example/\"\non_outage = \"open\"\nopen_because = \" \"",
    ] {
        let told = with(wrong).unwrap_err().to_string();
        assert!(!told.contains("s3cret"), "{told}");
    }
}

#[test]
fn every_setting_is_read_and_no_secret_is_shown() {
    let config = parse(
        r#"
        [server]
        listen = "[::1]:9000"
        trusted_proxies = ["127.0.0.1"]
        [store]
        url = "postgres://paceline@db.example/calls?sslmode=verify-full"
        password_env = "ARI_PASSWORD"
        [numbers]
        default_region = "GB"
        [ledger]
        checkpoints = "/mnt/wo/checkpoints"
        [retention]
        decisions_days = 400
        [suppression]
        numbers_max = 250000000
        [log]
        json = true
        [[pbx]]
        name = "office"
        kind = "ari"
        url = "http://127.0.0.1:8088/"
        username = "paceline"
        password_env = "ARI_PASSWORD"
        app = "dialer"
        agent_dial = "Local/{extension}@agents/n"
        agent_digits_max = 10
        [pbx.ami]
        address = "127.0.0.1:5038"
        username = "paceline"
        password_env = "ARI_PASSWORD"
        [[pbx]]
        name = "other"
        kind = "esl"
        address = "localhost:8021"
        password_env = "ARI_PASSWORD"
        [[pbx]]
        name = "try"
        kind = "sim"
        seed = 7
        "#,
    )
    .unwrap();
    use secrecy::ExposeSecret as _;
    assert_eq!(
        config.store.url.expose_secret(),
        "postgres://paceline:s3cret@db.example/calls?sslmode=verify-full"
    );
    assert!(!format!("{config:?}").contains("s3cret"));
    let ten = paceline_core::dial::Extension::new("2025550123").unwrap();
    let permitted = |n: usize| {
        let pbx = &config.pbxes[n];
        pbx.dial_allowed
            .permit_agent(&AgentTemplate::new("Local/{extension}@agents/n").unwrap(), &ten)
            .is_ok()
    };
    assert_eq!((permitted(0), permitted(1)), (true, false));
    assert_snapshot!(format!("{config:#?}"), @r#"
    Config {
        file: None,
        listen: [::1]:9000,
        trusted_proxies: [
            127.0.0.1,
        ],
        store: StoreConfig(postgres://paceline@db.example/calls?sslmode=verify-full),
        default_region: Some(
            "GB",
        ),
        ledger: LedgerConfig {
            checkpoints: Some(
                "/mnt/wo/checkpoints",
            ),
        },
        overlays: [],
        retention: RetentionConfig {
            audit_days: 1827,
            decisions_days: 400,
            import_rejects_days: 90,
            opt_outs_days: 3653,
            outside_answers_days: 30,
        },
        suppression_numbers_max: 250000000,
        outside_check: None,
        log_json: true,
        pbxes: [
            PbxConfig {
                name: PbxName(
                    "office",
                ),
                agent_dial: AgentTemplate(
                    "Local/{extension}@agents/n",
                ),
                dial_allowed: DialRules(PJSIP/*, Local/*),
                kind: Ari {
                    url: "http://127.0.0.1:8088",
                    username: "paceline",
                    password: SecretBox<str>([REDACTED]),
                    app: "dialer",
                    authorities: [],
                    ami: Some(
                        AmiConfig {
                            address: "127.0.0.1:5038",
                            username: "paceline",
                            password: SecretBox<str>([REDACTED]),
                        },
                    ),
                },
            },
            PbxConfig {
                name: PbxName(
                    "other",
                ),
                agent_dial: AgentTemplate(
                    "user/{extension}",
                ),
                dial_allowed: DialRules(sofia/gateway/*, loopback/*, user/*),
                kind: Esl {
                    address: "localhost:8021",
                    password: SecretBox<str>([REDACTED]),
                    app: "paceline",
                },
            },
            PbxConfig {
                name: PbxName(
                    "try",
                ),
                agent_dial: AgentTemplate(
                    "PJSIP/{extension}",
                ),
                dial_allowed: DialRules(PJSIP/*, Local/*, sofia/gateway/*, loopback/*, user/*),
                kind: Sim {
                    seed: 7,
                    speed: 1.0,
                },
            },
        ],
        test_clock: None,
        open_secrets: [],
    }
    "#);
}

#[test]
fn relative_paths_start_at_the_files_folder() {
    let config = Config::parse(Path::new("/etc/pace%line/p.toml"), "", |_| None).unwrap();
    assert_eq!(config.store.shown, "sqlite:/etc/pace%25line/paceline.db");
    let text = "[store]\nurl = \"sqlite:///var/lib/p.db\"";
    let config = Config::parse(Path::new("/etc/p.toml"), text, |_| None).unwrap();
    assert_eq!(config.store.shown, "sqlite:/var/lib/p.db");
}

#[test]
fn a_wrong_value_is_shown_with_what_is_expected() {
    assert_snapshot!(complaint("[server]\nlisten = 8080\n"), @"
    error: invalid `listen` in [server]
     --> paceline.toml:2:10
    2 | listen = 8080
      |          ^^^^ a text in double quotes, not of type integer
    ");
    assert_snapshot!(complaint("[numbers]\ndefault_region = \"usa\" # home\n"), @r#"
    error: invalid `default_region` in [numbers]
     --> paceline.toml:2:18
    2 | default_region = "usa" # home
      |                  ^^^^^ two capital letters (ISO 3166-1), such as "US"
    "#);
    assert_snapshot!(complaint("[store]\nurl = \"sqlite::memory:\"\n"), @r#"
    error: invalid `url` in [store]
     --> paceline.toml:2:7
    2 | url = "sqlite::memory:"
      |       ^^^^^^^^^^^^^^^^^ a file, such as "sqlite:paceline.db"
    hint: the state must survive a crash of the process, so that Paceline can end the calls that it started
    "#);
    assert_snapshot!(complaint("[server]\nlisten = \"127.0.0.1:8080\n"), @r#"
    error: not valid TOML
     --> paceline.toml:2:25
    2 | listen = "127.0.0.1:8080
      |                         ^ invalid basic string, expected `"`
    "#);
}

#[test]
fn an_unknown_setting_is_an_error_that_names_the_nearest() {
    assert_snapshot!(complaint("[sever]\n[server]\nlisten_to = \"x\"\n[log]\nfile = \"x\"\n"), @r#"
    error: unknown setting `sever` in the configuration
     --> paceline.toml:1:2
    1 | [sever]
      |  ^^^^^ unknown
    hint: did you mean `server`?

    error: unknown setting `listen_to` in [server]
     --> paceline.toml:3:1
    3 | listen_to = "x"
      | ^^^^^^^^^ unknown
    hint: did you mean `listen`?

    error: unknown setting `file` in [log]
     --> paceline.toml:5:1
    5 | file = "x"
      | ^^^^ unknown
    hint: known here: json
    "#);
}

#[test]
fn every_problem_of_a_pbx_is_named_at_once() {
    assert_snapshot!(complaint(
        r#"
[[pbx]]
kind = "ari"
url = "127.0.0.1:8088"
password = "hunter2"
agent_dial = "PJSIP/7001"

[[pbx]]
name = "b"
kind = "freeswitch"

[[pbx]]
name = "c"
kind = "sim"
speed = 10
"#
    ), @r#"
    error: missing setting `name` in [[pbx]]
     --> paceline.toml:2:1
    2 | [[pbx]]
      | ^^^^^^^ this section needs it
    hint: add `name = "office"`

    error: missing setting `username` in [[pbx]]
     --> paceline.toml:2:1
    2 | [[pbx]]
      | ^^^^^^^ this section needs it
    hint: add `username = "paceline"`

    error: missing setting `password_file` in [[pbx]]
     --> paceline.toml:2:1
    2 | [[pbx]]
      | ^^^^^^^ this section needs it
    hint: add `password_file = "ari.password"`

    error: invalid `url` in [[pbx]]
     --> paceline.toml:4:7
    4 | url = "127.0.0.1:8088"
      |       ^^^^^^^^^^^^^^^^ a URL such as "http://127.0.0.1:8088"

    error: unknown setting `password` in [[pbx]]
     --> paceline.toml:5:1
    5 | password = "…"
      | ^^^^^^^^ not a setting
    hint: put the password into a file that only Paceline can read, and write `password_file = "FILE"`; or write `password_env = "NAME"`

    error: invalid `agent_dial` in [[pbx]]
     --> paceline.toml:6:14
    6 | agent_dial = "PJSIP/7001"
      |              ^^^^^^^^^^^^ an agent's dial string needs exactly one {extension}, e.g. PJSIP/{extension}

    error: invalid `kind` in [[pbx]]
      --> paceline.toml:10:8
    10 | kind = "freeswitch"
       |        ^^^^^^^^^^^^ "ari" (Asterisk), "esl" (FreeSWITCH) or "sim" (a simulated PBX, to try Paceline)

    error: invalid `speed` in [[pbx]]
      --> paceline.toml:15:9
    15 | speed = 10
       |         ^^ 1, because there is another PBX and all have the same clock
    "#);
}

#[test]
fn a_password_in_the_store_url_is_refused_and_not_repeated() {
    assert_snapshot!(complaint("[store]\nurl = \"postgres://me:hunter2@db/calls\"\n"), @r#"
    error: invalid `url` in [store]
     --> paceline.toml:2:7
    2 | url = "postgres://me:…@db/calls"
      |       ^^^^^^^^^^^^^^^^^^^^^^^^^^ no password here
    hint: put the password into a file that only Paceline can read, and write `password_file = "FILE"`; or write `password_env = "NAME"`
    "#);
}

#[test]
fn a_password_of_the_clients_own_key_is_refused_and_not_repeated() {
    let text = "[store]\nurl = \"postgres://me@db/calls?sslkey=k&sslpassword=hunter2\"\n";
    let complaint = complaint(text);
    assert!(complaint.contains("no password here"), "{complaint}");
    assert!(!complaint.contains("hunter2"), "{complaint}");
}

#[cfg(unix)]
#[test]
fn a_password_file_that_others_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ari.password");
    std::fs::write(&file, "hunter2\n").unwrap();
    let text = "[[pbx]]\nname = \"a\"\nkind = \"ari\"\nurl = \"http://127.0.0.1:8088\"\nusername = \"p\"\npassword_file = \"ari.password\"\n";
    for (mode, warned) in [(0o600, false), (0o640, true), (0o604, true)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let config = Config::parse(&folder.path().join("p.toml"), text, |_| None).unwrap();
        let warnings = config.warnings().join("\n");
        assert_eq!(warnings.contains("chmod 600"), warned, "{mode:o}: {warnings}");
    }
}

#[test]
fn plain_http_to_another_machine_and_an_open_port_are_warned_of() {
    let config = parse(
        "server.listen = \"0.0.0.0:8080\"\n[[pbx]]\nname = \"a\"\nkind = \"ari\"\nurl = \"http://10.0.0.5:8088\"\n\
         username = \"p\"\npassword_env = \"ARI_PASSWORD\"\n[[pbx]]\nname = \"b\"\nkind = \"esl\"\naddress = \"10.0.0.6:8021\"\n\
         password_env = \"ARI_PASSWORD\"\n",
    );
    assert_snapshot!(config.unwrap().warnings().join("\n"), @"
    the API listens on 0.0.0.0:8080 without encryption: keep this network private, or put a proxy with TLS in front of it
    PBX `a` is connected over unencrypted HTTP: its password and all numbers are sent unencrypted
    PBX `b` is connected over the unencrypted Event Socket: its password and all numbers are sent unencrypted
    ");
}

proptest::proptest! {
    #[test]
    fn any_text_is_a_configuration_or_is_complained_of_in_its_place(
        parts in proptest::collection::vec(
            proptest::prop_oneof![
                proptest::sample::select(vec![
                    "[server]\n", "[[pbx]]\n", "[pbx]\n", "listen", " = ", "\"é\"", "\"sim\"", "kind", "name", "\n",
                    "{", "}", "[", "]", "\"\"\"", "speed = 1e9\n", "url", "#", "'", "seed = -1\n", "\t", "\r\n",
                ]).prop_map(str::to_owned),
                "\\PC{0,6}",
            ],
            0..14,
        ),
    ) {
        use std::fmt::Write as _;
        let text = parts.concat();
        if let Err(ConfigError::Invalid(problems)) = parse(&text) {
            proptest::prop_assert!(!problems.is_empty());
            for problem in problems {
                proptest::prop_assert!(problem.line <= text.matches('\n').count() + 1);
                write!(String::new(), "{problem}").unwrap();
            }
        }
    }
}
