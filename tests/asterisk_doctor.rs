//! `paceline doctor` before real Asterisks, most of them wrongly set: each fault is named with its cure.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

use paceline::metrics::Metrics;
use paceline::store::{NewAgent, NewTrunk, Store};
use paceline_core::dial::{Extension, TrunkTemplate};
use paceline_core::ids::PbxName;
use paceline_core::time::Wall;
use paceline_lab::{Asterisk, Behaviour, Lab, LabOptions, Options, Version};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};

/// A Paceline that is configured for a switch, with trunks and an agent.
struct Office {
    folder: tempfile::TempDir,
    password: String,
}

impl Office {
    async fn new(url: &str, password: &str, trunks: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:1\"\n\n[[pbx]]\nname = \"main\"\nkind = \"ari\"\nurl = \"{url}\"\n\
             username = \"paceline\"\npassword_env = \"PACELINE_TEST_ARI_PASSWORD\"\nagent_dial = \"PJSIP/{{extension}}\"\n"
        );
        std::fs::write(folder.path().join("paceline.toml"), text).unwrap();
        let store = format!("sqlite:{}", folder.path().join("paceline.db").display());
        let store = Store::open(&store, &Metrics::new()).await.unwrap();
        for (n, dial) in trunks.iter().enumerate() {
            let trunk = NewTrunk {
                name: format!("t{}", n + 1),
                pbx: PbxName::new("main"),
                dial: TrunkTemplate::new(dial).unwrap(),
                caller_id: None,
            };
            store.create_trunk(&trunk).await.unwrap();
        }
        let agent = NewAgent {
            name: "anna".into(),
            pbx: PbxName::new("main"),
            extension: Extension::new("agent-1").unwrap(),
        };
        store.create_agent(&agent, Wall(0)).await.unwrap();
        store.close().await;
        Self {
            folder,
            password: password.to_owned(),
        }
    }

    async fn at(asterisk: &Asterisk, trunks: &[&str]) -> Self {
        Self::new(&asterisk.ari_url(), asterisk.password(), trunks).await
    }

    fn doctor(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_paceline"))
            .arg("doctor")
            .args(args)
            .current_dir(self.folder.path())
            .env("PACELINE_TEST_ARI_PASSWORD", &self.password)
            .env_remove("RUST_LOG")
            .output()
            .unwrap()
    }

    /// The exit code, and what is not fine.
    fn complaints(&self) -> String {
        let output = self.doctor(&[]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(!text.contains(&self.password) || self.password.len() < 8);
        let complaint =
            |line: &&str| line.contains("FAULT") || line.contains("look ") || line.contains("cure:");
        let lines: Vec<_> = text.lines().filter(complaint).map(without_ports).collect();
        format!("exit {}\n{}", output.status.code().unwrap(), lines.join("\n"))
    }
}

fn without_ports(line: &str) -> String {
    let mut parts = line.split("127.0.0.1:");
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        text.push_str("127.0.0.1:PORT");
        text.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    text
}

fn asterisk(version: Version, append: &[(&str, &str)]) -> Asterisk {
    let options = Options {
        agents: 2,
        append: append
            .iter()
            .map(|(file, text)| ((*file).to_owned(), (*text).to_owned()))
            .collect(),
        ..Options::default()
    };
    Asterisk::start(version, &options).expect("Asterisk starts; run scripts/tools if it is missing")
}

#[tokio::test]
async fn a_switch_that_is_rightly_set_has_no_fault_and_a_test_call_is_heard() {
    let lab = Lab::start_with(&LabOptions {
        agents: 2,
        ..LabOptions::default()
    })
    .unwrap();
    let trunks = ["PJSIP/{number}@carrier", "Local/{number}@from-internal/n"];
    let office = Office::at(&lab.asterisk, &trunks).await;
    assert_eq!(office.complaints(), "exit 0\n");
    let number = Behaviour::Talks.number(1);
    for (trunk, says) in [
        ("t1", "it was answered and can be heard"),
        ("t2", "it was answered: the trunk works"),
    ] {
        let output = office.doctor(&["--call", &number, "--trunk", trunk]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(says) && output.status.success(), "{text}");
    }
    for (behaviour, says) in [
        (Behaviour::NotFound, "does not know the number in this form"),
        (Behaviour::Busy, "the line was busy"),
        (Behaviour::Congested, "has no way to that number now"),
    ] {
        let output = office.doctor(&["--call", &behaviour.number(1), "--trunk", "t1", "--json"]);
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let verdict = told["report"]["call"]["verdict"].as_str().unwrap();
        assert!(verdict.contains(says), "{told:#}");
        assert_eq!(
            (told["healthy"].as_bool(), output.status.code()),
            (Some(false), Some(1))
        );
    }
    lab.settled(std::time::Duration::from_secs(10)).unwrap();
}

#[tokio::test]
async fn an_old_asterisk_works_and_is_told_so() {
    let asterisk = asterisk(Version::V16, &[]);
    let office = Office::at(&asterisk, &["Local/{number}@from-internal/n"]).await;
    let told = office.complaints();
    let version = told
        .split("Asterisk ")
        .nth(1)
        .unwrap()
        .split(':')
        .next()
        .unwrap()
        .to_owned();
    insta::assert_snapshot!(told.replace(&version, "16"), @"
    exit 0
      look  Asterisk 16: works, gets no security fixes any more, and does not take requests over the event stream, so that calls cost it more
            cure: plan to upgrade to 22
    ");
}

#[tokio::test]
async fn no_server_no_ari_and_a_wrong_password_are_told_apart() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let office = Office::new(&format!("http://127.0.0.1:{free}"), "x", &[]).await;
    insta::assert_snapshot!(office.complaints(), @"
    exit 1
      FAULT ARI: nothing answers at http://127.0.0.1:PORT
            cure: let Asterisk run, and in http.conf write under [general] `enabled = yes`, `bindaddr` and `bindport` as the `url` of paceline.toml has them; then `module reload http`
    ");
    let asterisk = asterisk(Version::V22, &[]);
    let office = Office::new(&asterisk.ari_url(), "wrong", &[]).await;
    insta::assert_snapshot!(office.complaints(), @"
    exit 1
      FAULT ARI: does not let user `paceline` in
            cure: in ari.conf have a section [paceline] with `type = user` and the `password` that paceline.toml points to; then `module reload res_ari.so`
    ");
    let conf = asterisk.folder().join("etc/ari.conf");
    let text = std::fs::read_to_string(&conf).unwrap();
    let read_only = format!("{text}read_only = yes\n");
    std::fs::write(&conf, read_only).unwrap();
    asterisk.cli("module reload res_ari.so").unwrap();
    let office = Office::at(&asterisk, &["PJSIP/{number}@carrier"]).await;
    insta::assert_snapshot!(office.complaints(), @"
    exit 1
      FAULT ARI user: `paceline` may only read
            cure: in ari.conf write `read_only = no` under [paceline]
    ");
    std::fs::write(&conf, text.replace("enabled = yes", "enabled = no")).unwrap();
    asterisk.cli("module reload res_ari.so").unwrap();
    insta::assert_snapshot!(office.complaints(), @"
    exit 1
      FAULT ARI: a web server answers at http://127.0.0.1:PORT, but it has no ARI
            cure: in ari.conf write under [general] `enabled = yes`, and have res_ari.so loaded; or correct `url` in paceline.toml
    ");
}

#[tokio::test]
async fn an_application_that_another_dialer_owns_is_refused() {
    let asterisk = asterisk(Version::V22, &[]);
    let url = format!(
        "ws://127.0.0.1:{}/ari/events?app=paceline&api_key={}:{}",
        asterisk.ports().http,
        asterisk.user(),
        asterisk.password()
    );
    let (_other, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let office = Office::at(&asterisk, &["PJSIP/{number}@carrier"]).await;
    insta::assert_snapshot!(office.complaints(), @"
    exit 1
      FAULT application: `paceline` is in use by another program, such as another dialer
            cure: stop that program, or give Paceline an application of its own with `app` in paceline.toml
    ");
}

#[tokio::test]
async fn missing_and_dead_trunks_and_codecs_that_do_not_meet_are_named() {
    let endpoint = |name: &str, codec: &str| {
        format!(
            "\n[{name}]\ntype = endpoint\ntransport = udp\ndisallow = all\nallow = {codec}\naors = {name}\n\
             [{name}]\ntype = aor\ncontact = sip:127.0.0.1:9\n"
        )
    };
    let mut pjsip = endpoint("down", "ulaw");
    pjsip.push_str("qualify_frequency = 1\nqualify_timeout = 0.3\n");
    pjsip.push_str(&endpoint("wide", "g722"));
    pjsip.push_str(&endpoint("foreign", "gsm"));
    let asterisk = asterisk(Version::V22, &[("pjsip.conf", &pjsip)]);
    let down = |asterisk: &Asterisk| {
        let reply = asterisk.ari("GET", "/endpoints/PJSIP/down").unwrap();
        reply.body.contains("\"offline\"")
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !down(&asterisk) {
        assert!(
            std::time::Instant::now() < deadline,
            "the dead trunk is not found dead"
        );
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let trunks = [
        "PJSIP/{number}@carier",
        "PJSIP/{number}@down",
        "PJSIP/wide/sip:{number}@127.0.0.1",
        "PJSIP/{number}@foreign",
    ];
    let office = Office::at(&asterisk, &trunks).await;
    insta::assert_snapshot!(office.complaints(), @"
    exit 1
      FAULT trunk t1: there is no endpoint `PJSIP/carier`
            cure: in pjsip.conf have a section [carier] with `type = endpoint`, or correct the dial string `PJSIP/{number}@carier`: there is `PJSIP/carrier`
      FAULT trunk t2: `PJSIP/down` is offline: none of its contacts answers
            cure: see `pjsip show contacts` and `pjsip show registrations`; correct the contact of its aor, or reach the carrier
      FAULT trunk t4: has no codec in common with agent anna: gsm against ulaw; and gsm cannot be translated, so nobody would be heard
            cure: in pjsip.conf `allow` the same codec on both, or load codec_gsm.so
      look  trunk t3: has no codec in common with agent anna: g722 against ulaw; every call is translated
            cure: in pjsip.conf `allow` the same codec on both
    ");
}

#[tokio::test]
async fn few_http_sessions_and_no_folder_for_recordings_are_named() {
    let asterisk = asterisk(Version::V22, &[("http.conf", "sessionlimit = 5\n")]);
    std::fs::remove_dir_all(asterisk.recordings_dir()).unwrap();
    let office = Office::at(&asterisk, &["PJSIP/{number}@carrier"]).await;
    insta::assert_snapshot!(office.complaints(), @"
    exit 1
      FAULT HTTP sessions: only 4 of 20 at once are served
            cure: in http.conf write under [general] `sessionlimit = 200`, or end what keeps connections open; then `module reload http`
      look  recordings: cannot be listed, so none can be made: there is no folder for them
            cure: make the folder `recording` below `astspooldir` (see asterisk.conf) and give it to the user that Asterisk runs as
    ");
}

#[tokio::test]
async fn a_module_that_calls_need_is_named_where_it_is_not_loaded() {
    let asterisk = asterisk(Version::V22, &[]);
    asterisk.cli("module unload chan_bridge_media.so").unwrap();
    let office = Office::at(&asterisk, &["PJSIP/{number}@carrier"]).await;
    insta::assert_snapshot!(office.complaints(), @"
    exit 1
      FAULT modules: not loaded: chan_bridge_media.so (announcements and music to a bridge)
            cure: in modules.conf write `load = chan_bridge_media.so`, or `autoload = yes`
    ");
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_told() {
    let asterisk = asterisk(Version::V22, &[]);
    let port = with_last_years_clock(asterisk.ports().http);
    let office = Office::new(
        &format!("http://127.0.0.1:{port}"),
        asterisk.password(),
        &["PJSIP/{number}@carrier"],
    )
    .await;
    let told = office.complaints();
    let seconds: String = told
        .split("the switch is ")
        .nth(1)
        .unwrap()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    assert!(
        (364 * 86_400..=367 * 86_400).contains(&seconds.parse::<i64>().unwrap()),
        "{told}"
    );
    insta::assert_snapshot!(told.replace(&seconds, "N"), @"
    exit 0
      look  clock: the switch is N s behind this machine
            cure: let both run NTP (`timedatectl set-ntp true`): calling hours and reports go by the clock
    ");
}

/// A port that leads to the switch, whose clock seems to be a year behind.
fn with_last_years_clock(to: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
            let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
            std::thread::spawn(move || falsify(server, client));
        }
    });
    port
}

fn falsify(mut server: TcpStream, mut client: TcpStream) {
    let year = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).year();
    let (now, then) = (format!(" {year} "), format!(" {} ", year - 1));
    let mut block = [0; 65_536];
    while let Ok(read @ 1..) = server.read(&mut block) {
        let mut bytes = block[..read].to_vec();
        if let Some(date) = bytes.windows(6).position(|w| w.eq_ignore_ascii_case(b"Date: "))
            && let Some(at) = bytes[date..].windows(6).position(|w| w == now.as_bytes())
        {
            bytes[date + at..date + at + 6].copy_from_slice(then.as_bytes());
        }
        if client.write_all(&bytes).is_err() {
            return;
        }
    }
}
