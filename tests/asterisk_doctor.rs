//! `paceline doctor` on real Asterisks, most of them badly configured: it names each fault and its cure.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

#[path = "doctor/office.rs"]
mod office;

use office::{Office, through, without_number};
use paceline_lab::{Asterisk, Audio, Behaviour, Lab, LabOptions, Version};
use std::net::TcpListener;
use std::time::{Duration, Instant};

fn settings(url: &str) -> String {
    format!(
        "kind = \"ari\"\nurl = \"{url}\"\nusername = \"paceline\"\npassword_env = \"PACELINE_TEST_PASSWORD\"\n\
         agent_dial = \"PJSIP/{{extension}}\"\n"
    )
}

async fn office_of(url: &str, password: &str, trunks: &[&str]) -> Office {
    Office::new(&settings(url), password, trunks).await
}

async fn office_at(asterisk: &Asterisk, trunks: &[&str]) -> Office {
    office_of(&asterisk.ari_url(), asterisk.password(), trunks).await
}

/// A lab with phones that answer, and an Asterisk that would notice a lost phone.
fn lab(version: Version, append: &[(&str, &str)]) -> Lab {
    let options = LabOptions {
        version,
        audio: Audio::None,
        append: append
            .iter()
            .map(|(file, text)| ((*file).to_owned(), (*text).to_owned()))
            .collect(),
        ..LabOptions::default()
    };
    watchful(options)
}

fn watchful(options: LabOptions) -> Lab {
    let lab = Lab::start_with(&LabOptions {
        agents: 2,
        qualify_s: 15,
        rtp_timeout_s: 60,
        ..options
    })
    .expect("the lab starts; run scripts/tools if it is missing");
    until_phones_are_online(&lab.asterisk);
    lab
}

fn until_phones_are_online(asterisk: &Asterisk) {
    let deadline = Instant::now() + Duration::from_secs(20);
    for agent in ["agent-1", "agent-2"] {
        let told = || {
            let path = format!("/endpoints/PJSIP/{agent}");
            asterisk.ari("GET", &path).unwrap().body
        };
        while !told().contains("online") {
            assert!(Instant::now() < deadline, "{}", told());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[tokio::test]
async fn a_correctly_configured_pbx_has_no_fault_and_a_test_call_is_heard() {
    let lab = watchful(LabOptions::default());
    let trunks = ["PJSIP/{number}@carrier", "Local/{number}@from-internal/n"];
    let office = office_at(&lab.asterisk, &trunks).await;
    assert_eq!(office.complaints(), "exit 0\n");
    let number = Behaviour::Talks.number(1);
    for (trunk, says) in [
        ("t1", "it was answered and can be heard"),
        ("t2", "it was answered: the trunk works"),
    ] {
        let output = office.doctor(&["--call", &number, "--trunk", trunk, "--without-gate"]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(says) && output.status.success(), "{text}");
        assert!(text.contains("the gate was not asked, as told"), "{text}");
    }
    // A toll-free number has no time zone, so the gate refuses it at any time of the day.
    let asked = office.doctor(&["--call", "+18005550123", "--trunk", "t1"]);
    let text = String::from_utf8(asked.stdout).unwrap();
    assert!(text.contains("not placed: ") && !asked.status.success(), "{text}");
    for (behaviour, says) in [
        (Behaviour::NotFound, "does not know the number in this form"),
        (Behaviour::Busy, "the line was busy"),
        (Behaviour::Congested, "has no way to that number now"),
    ] {
        let verdict = office.verdict("t1", &behaviour.number(1));
        assert!(verdict.contains(says), "{verdict}");
    }
    lab.settled(Duration::from_secs(10)).unwrap();
}

#[tokio::test]
async fn an_old_asterisk_works_and_is_reported() {
    let lab = lab(Version::V16, &[]);
    let asterisk = &lab.asterisk;
    let office = office_at(asterisk, &["Local/{number}@from-internal/n"]).await;
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
      look  Asterisk 16: works, but gets no security fixes any more and accepts no requests over the event stream, so that calls cost it more
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
    let office = office_of(&format!("http://127.0.0.1:{free}"), "x", &[]).await;
    insta::assert_snapshot!(office.complaints(), @"
    exit 1
      FAULT ARI: nothing answers at http://127.0.0.1:PORT
            cure: start Asterisk, and in http.conf write under [general] `enabled = yes`, `bindaddr` and `bindport` as the `url` of paceline.toml has them; then `module reload http`
    ");
    let lab = lab(Version::V22, &[]);
    let asterisk = &lab.asterisk;
    let office = office_of(&asterisk.ari_url(), "wrong", &[]).await;
    insta::assert_snapshot!(office.complaints(), @"
    exit 1
      FAULT ARI: refuses the user `paceline`
            cure: in ari.conf add a section [paceline] with `type = user` and the `password` that paceline.toml points to; then `module reload res_ari.so`
    ");
    let conf = asterisk.folder().join("etc/ari.conf");
    let text = std::fs::read_to_string(&conf).unwrap();
    let read_only = format!("{text}read_only = yes\n");
    std::fs::write(&conf, read_only).unwrap();
    asterisk.cli("module reload res_ari.so").unwrap();
    let office = office_at(asterisk, &["PJSIP/{number}@carrier"]).await;
    insta::assert_snapshot!(office.complaints(), @"
    exit 1
      FAULT ARI user: `paceline` is read-only
            cure: in ari.conf write `read_only = no` under [paceline]
    ");
    std::fs::write(&conf, text.replace("enabled = yes", "enabled = no")).unwrap();
    asterisk.cli("module reload res_ari.so").unwrap();
    insta::assert_snapshot!(office.complaints(), @"
    exit 1
      FAULT ARI: the web server at http://127.0.0.1:PORT has no ARI
            cure: in ari.conf write under [general] `enabled = yes`, and have res_ari.so loaded; or correct `url` in paceline.toml
    ");
}

#[tokio::test]
async fn an_application_that_another_dialer_owns_is_refused() {
    let lab = lab(Version::V22, &[]);
    let asterisk = &lab.asterisk;
    let url = format!(
        "ws://127.0.0.1:{}/ari/events?app=paceline&api_key={}:{}",
        asterisk.ports().http,
        asterisk.user(),
        asterisk.password()
    );
    let (_other, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let office = office_at(asterisk, &["PJSIP/{number}@carrier"]).await;
    insta::assert_snapshot!(office.complaints(), @"
    exit 1
      FAULT application: `paceline` is used by another program, such as another dialer
            cure: stop that program, or set another application name with `app` in paceline.toml
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
    let lab = lab(Version::V22, &[("pjsip.conf", &pjsip)]);
    let asterisk = &lab.asterisk;
    let down = |asterisk: &Asterisk| {
        let reply = asterisk.ari("GET", "/endpoints/PJSIP/down").unwrap();
        reply.body.contains("\"offline\"")
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while !down(asterisk) {
        assert!(Instant::now() < deadline, "the dead trunk is not found dead");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let trunks = [
        "PJSIP/{number}@carier",
        "PJSIP/{number}@down",
        "PJSIP/{number}@wide",
        "PJSIP/{number}@foreign",
    ];
    let office = office_at(asterisk, &trunks).await;
    insta::assert_snapshot!(office.complaints(), @"
    exit 1
      FAULT trunk t1: there is no endpoint `PJSIP/carier`
            cure: in pjsip.conf add a section [carier] with `type = endpoint`, or correct the dial string `PJSIP/{number}@carier`: there is `PJSIP/carrier`
      FAULT trunk t2: `PJSIP/down` is offline: none of its contacts answers
            cure: check `pjsip show contacts` and `pjsip show registrations`; correct the contact of its aor, or call the carrier
      FAULT trunk t4: has no codec in common with agent anna: gsm and ulaw; and gsm cannot be translated, so nobody would be heard
            cure: in pjsip.conf `allow` the same codec on both, or load codec_gsm.so
      look  trunk t3: has no codec in common with agent anna: g722 and ulaw; every call is translated
            cure: in pjsip.conf `allow` the same codec on both
    ");
}

#[tokio::test]
async fn a_limit_of_channels_is_listed_and_a_small_one_named() {
    for version in [Version::V22, Version::V16] {
        let mut lab = lab(version, &[]);
        let asterisk = &mut lab.asterisk;
        let conf = asterisk.folder().join("etc/asterisk.conf");
        let text = std::fs::read_to_string(&conf).unwrap();
        std::fs::write(&conf, text.replace("[options]\n", "[options]\nmaxcalls = 1\n")).unwrap();
        asterisk.restart().unwrap();
        until_phones_are_online(asterisk);
        let office = office_at(asterisk, &["PJSIP/{number}@carrier"]).await;
        let told = office.told(&[]);
        let pbx = &told["report"]["pbxes"][0];
        assert_eq!(pbx["channels_max"], 1, "{pbx:#}");
        let endpoints = pbx["endpoints"].as_array().unwrap();
        let carrier = endpoints.iter().find(|e| e["name"] == "PJSIP/carrier").unwrap();
        assert_eq!(carrier["codecs"], serde_json::json!(["ulaw"]));
        let complaints = office.complaints();
        let small = "FAULT channels: the limit is 1, 0 in use now; more than 2 are needed for 1 agent(s) with one call each\n        \
                     cure: in asterisk.conf raise `maxcalls`, then restart Asterisk";
        assert!(complaints.contains(small), "{complaints}");
    }
}

#[tokio::test]
async fn few_http_sessions_and_no_folder_for_recordings_are_named() {
    let lab = lab(Version::V22, &[("http.conf", "sessionlimit = 5\n")]);
    let asterisk = &lab.asterisk;
    std::fs::remove_dir_all(asterisk.recordings_dir()).unwrap();
    let office = office_at(asterisk, &["PJSIP/{number}@carrier"]).await;
    insta::assert_snapshot!(office.complaints(), @"
    exit 1
      FAULT HTTP sessions: the HTTP server accepts only 4 connections, 20 are needed
            cure: in http.conf write under [general] `sessionlimit = 200`, or stop other programs that keep connections open; then `module reload http`
      look  recordings: cannot be listed, so none can be made: there is no folder for them
            cure: create the folder `recording` below `astspooldir` (see asterisk.conf) and give it to the user that Asterisk runs as
    ");
}

#[tokio::test]
async fn a_missing_module_that_calls_need_is_named() {
    let lab = lab(Version::V22, &[]);
    let asterisk = &lab.asterisk;
    asterisk.cli("module unload chan_bridge_media.so").unwrap();
    let office = office_at(asterisk, &["PJSIP/{number}@carrier"]).await;
    insta::assert_snapshot!(office.complaints(), @"
    exit 1
      FAULT modules: not loaded: chan_bridge_media.so (announcements and music to a bridge)
            cure: in modules.conf write `load = chan_bridge_media.so`, or `autoload = yes`
    ");
}

#[tokio::test]
async fn a_wrong_clock_is_reported() {
    let lab = lab(Version::V22, &[]);
    let asterisk = &lab.asterisk;
    let port = through(asterisk.ports().http, |bytes| {
        let year = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).year();
        let (now, then) = (format!(" {year} "), format!(" {} ", year - 1));
        if let Some(date) = bytes.windows(6).position(|w| w.eq_ignore_ascii_case(b"Date: "))
            && let Some(at) = bytes[date..].windows(6).position(|w| w == now.as_bytes())
        {
            bytes[date + at..date + at + 6].copy_from_slice(then.as_bytes());
        }
    });
    let office = office_of(
        &format!("http://127.0.0.1:{port}"),
        asterisk.password(),
        &["PJSIP/{number}@carrier"],
    )
    .await;
    let (told, seconds) = without_number(&office.complaints(), "the PBX's clock is ");
    assert!((364 * 86_400..=367 * 86_400).contains(&seconds), "{told}");
    insta::assert_snapshot!(told, @"
    exit 0
      look  clock: the PBX's clock is N s behind this machine's
            cure: run NTP on both (`timedatectl set-ntp true`), because calling hours and reports use the clock
    ");
}

#[tokio::test]
async fn queues_and_who_takes_their_calls_are_listed() {
    // Queue members as a plain Asterisk and as FreePBX write them.
    let queues = "[general]\n[sales]\nmember => PJSIP/agent-1,0,carl\nmember => PJSIP/agent-9,0,dora\n\
                  [7000]\nmember => Local/5001@from-queue/n,0,emil,hint:5001@ext-local\n\
                  member => Local/5002@from-queue/n,0,fay,hint:5002@ext-local\n[empty]\n";
    let hint = "\n[ext-local]\nexten => 5001,hint,PJSIP/agent-2\n";
    for version in [Version::V22, Version::V16] {
        let lab = lab(version, &[("queues.conf", queues), ("extensions.conf", hint)]);
        let asterisk = &lab.asterisk;
        let ami = |port: u16| {
            format!(
                "{}[pbx.ami]\naddress = \"127.0.0.1:{port}\"\nusername = \"paceline\"\n\
                 password_env = \"PACELINE_TEST_PASSWORD\"\n",
                settings(&asterisk.ari_url())
            )
        };
        let trunks = ["PJSIP/{number}@carrier"];
        let office = Office::new(&ami(asterisk.ami_port()), asterisk.password(), &trunks).await;
        let complaints = office.complaints();
        let told = office.told(&[]);
        let mut queues = told["report"]["pbxes"][0]["queues"].as_array().unwrap().clone();
        queues.sort_by_key(|queue| queue["name"].to_string());
        let listed: Vec<_> = queues
            .iter()
            .map(|queue| {
                let members = queue["members"].as_array().unwrap();
                let mut members: Vec<_> = members
                    .iter()
                    .map(|m| format!("{} at {}: {}", m["name"], m["interface"], m["state"]))
                    .collect();
                members.sort();
                format!("{}: {}", queue["name"], members.join("; "))
            })
            .collect();
        insta::allow_duplicates! {
            insta::assert_snapshot!(listed.join("\n"), @r#"
            "7000": "emil" at "Local/5001@from-queue/n": "not in use"; "fay" at "Local/5002@from-queue/n": "invalid"
            "empty": 
            "sales": "carl" at "PJSIP/agent-1": "not in use"; "dora" at "PJSIP/agent-9": "invalid"
            "#);
        }
        let mut complaints: Vec<_> = complaints
            .lines()
            .filter(|line| !line.contains("Asterisk 16") && !line.contains("upgrade"))
            .collect();
        complaints.sort();
        insta::allow_duplicates! {
            insta::assert_snapshot!(complaints.join("\n"), @"
                    cure: correct the member's interface, or the hint or device after it (see `queue show`)
                    cure: in pjsip.conf add this endpoint, or remove `PJSIP/agent-9` from the queue
                    cure: in queues.conf add a `member`, or let agents log in to the queue
              look  queue 7000: the calls to its member fay go to `Local/5002@from-queue/n`, whose state Asterisk does not know
              look  queue empty: has no members, so its calls are never answered
              look  queue sales: the calls to its member dora go to `PJSIP/agent-9`, which is not an endpoint
            exit 0
            ");
        }
        let nobody = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let office = Office::new(&ami(nobody), asterisk.password(), &trunks).await;
        let told = office.complaints();
        assert!(
            told.contains("queues: cannot be listed: nothing answers"),
            "{told}"
        );
        let settings = ami(asterisk.ami_port());
        let (before, after) = settings.split_once("[pbx.ami]").unwrap();
        let stranger = format!("{before}[pbx.ami]{}", after.replace("paceline", "stranger"));
        let office = Office::new(&stranger, asterisk.password(), &trunks).await;
        let told = office.complaints();
        assert!(told.contains("does not let this user in"), "{told}");
    }
}

#[tokio::test]
async fn a_message_missing_on_the_pbx_and_a_trunk_without_a_caller_id_are_named() {
    let lab = lab(Version::V22, &[]);
    let asterisk = &lab.asterisk;
    let office = office_at(asterisk, &["PJSIP/{number}@carrier"]).await;
    office
        .campaign("sound:custom/nobody-has-this", "PJSIP/{number}@carrier")
        .await;
    insta::assert_snapshot!(office.complaints(), @"
    exit 1
      FAULT campaign sound:custom/nobody-has-this: `answering/abandon_message`: the PBX has no sound `custom/nobody-has-this`, so an abandoned callee hears nothing, and nothing is recorded
            cure: put the file below `sounds/en/` in `astdatadir` (see asterisk.conf) as `custom/nobody-has-this` with the ending of its format, such as .ulaw or .wav; a file elsewhere is named by its whole path, `sound:/…`, and is not looked for
      look  trunk bare: has no caller id, so callees see the default of the PBX, or nothing
            cure: set `caller_id` with PUT /api/v1/trunks/{id}: many countries require a number that can be called back, and carriers refuse calls without one
    ");
}

#[tokio::test]
async fn agents_phones_whose_loss_the_pbx_would_not_notice_are_named_or_the_check_for_them_is_explained() {
    for version in [Version::V22, Version::V16] {
        // Asterisk qualifies only the third agent's phone.
        let pjsip = "\n[asked](endpoint)\naors = asked\n[asked]\ntype = aor\nqualify_frequency = 30\n";
        let lab = Lab::start_with(&LabOptions {
            version,
            agents: 2,
            append: vec![("pjsip.conf".to_owned(), pjsip.to_owned())],
            ..LabOptions::default()
        })
        .unwrap();
        let url = lab.asterisk.ari_url();
        let office = office_at(&lab.asterisk, &["PJSIP/{number}@carrier"]).await;
        office.hire("bert", "agent-2").await;
        office.hire("cora", "asked").await;
        let complaints = office.complaints();
        let complaints: Vec<_> = complaints
            .lines()
            .filter(|line| !line.contains("Asterisk 16") && !line.contains("upgrade"))
            .collect();
        insta::allow_duplicates! {
            insta::assert_snapshot!(complaints.join("\n"), @"
            exit 0
              look  agent cora: `PJSIP/asked` is offline
                    cure: turn on the phone, or correct its registration; until then this agent cannot log in
              look  agents' phones: `PJSIP/agent-1` and 1 more: Asterisk never asks whether the phone is there (`qualify_frequency` is 0), so an agent whose phone loses its power counts as free for 24 to 36 s, or for hours if the phone sends no audio in silence, and is given callees
                    cure: in pjsip.conf write `qualify_frequency = 15` in the aor of each agent (FreePBX: Qualify Frequency of the extension), then `module reload res_pjsip.so`: Paceline hears of a dead phone within 18 s and calls it again
              look  agents' phones: `PJSIP/agent-1` and 2 more: Asterisk keeps a leg whose phone sends no audio any more (`rtp_timeout` is 0): while Paceline is stopped nobody ends it, and a phone that answers but is not heard counts as free for 24 to 36 s, or for hours if it sends no audio in silence
                    cure: in pjsip.conf write `rtp_timeout = 60` in the endpoint of each agent (FreePBX: RTP Timeout), then `module reload res_pjsip.so`; switch silence suppression off on the phones, and leave `rtp_timeout_hold` at 0 or far higher, so that agents may hold
            ");
        }
        let dialplan = settings(&url).replace("PJSIP/{extension}", "Local/{extension}@from-internal/n");
        let office = Office::new(&dialplan, lab.asterisk.password(), &["PJSIP/{number}@carrier"]).await;
        let told = office.told(&[]).to_string();
        assert!(
            told.contains("`Local/agent-1@from-internal/n`: whether Asterisk notices"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn a_busy_callee_is_no_fault_of_its_trunk_and_trunks_are_shown_before_the_phones() {
    let lab = Lab::start_with(&LabOptions {
        agents: 40,
        ..LabOptions::default()
    })
    .unwrap();
    let text = |office: &Office, args: &[&str]| {
        let output = office.doctor(args);
        (String::from_utf8(output.stdout).unwrap(), output.status.success())
    };
    // Asterisk has trunks, but Paceline has none configured.
    let (told, _) = text(&office_at(&lab.asterisk, &[]).await, &[]);
    assert!(
        told.contains("trunks: Paceline has no trunk on this PBX yet"),
        "{told}"
    );
    let office = office_at(&lab.asterisk, &["PJSIP/{number}@carrier"]).await;
    let (told, healthy) = text(&office, &[]);
    let place = |what: &str| told.find(what).unwrap_or(usize::MAX);
    assert!(
        healthy && place("PJSIP/carrier: ") < place("PJSIP/agent-1: "),
        "{told}"
    );
    for behaviour in [Behaviour::Busy, Behaviour::Declines] {
        let call = ["--call", &behaviour.number(1), "--trunk", "t1", "--without-gate"];
        let (told, healthy) = text(&office, &call);
        assert!(healthy && !told.contains("FAULT"), "{told}");
    }
    let call = [
        "--call",
        &Behaviour::Congested.number(1),
        "--trunk",
        "t1",
        "--without-gate",
    ];
    let (told, healthy) = text(&office, &call);
    assert!(!healthy && told.contains("FAULT"), "{told}");
}
