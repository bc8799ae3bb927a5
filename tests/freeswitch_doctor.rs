//! `paceline doctor` on real FreeSWITCHes, most of them badly configured: it names each fault and its cure.
//!
//! If no FreeSWITCH is installed, all tests are skipped, and each says so on stderr.

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
use paceline_lab::{Audio, Behaviour, FreeSwitch, FreeSwitchLab, FreeSwitchOptions};
use std::net::{TcpListener, UdpSocket};
use std::time::{Duration, Instant};

async fn office_of(address: &str, password: &str, trunks: &[&str]) -> Office {
    let settings =
        format!("kind = \"esl\"\naddress = \"{address}\"\npassword_env = \"PACELINE_TEST_PASSWORD\"\n");
    Office::new(&settings, password, trunks).await
}

async fn office_at(freeswitch: &FreeSwitch, trunks: &[&str]) -> Office {
    office_of(&freeswitch.address(), freeswitch.password(), trunks).await
}

/// A PBX in whose configuration, for each pair, the second text replaces the first.
fn freeswitch(what: &str, changes: &[(&str, &str)]) -> Option<FreeSwitch> {
    FreeSwitch::program_or_skip(what)?;
    let mut freeswitch = FreeSwitch::start(&FreeSwitchOptions {
        agents: 2,
        media_timeout_ms: 60_000,
        ..FreeSwitchOptions::default()
    })
    .unwrap();
    if !changes.is_empty() {
        change(&freeswitch, changes);
        freeswitch.restart().unwrap();
    }
    Some(freeswitch)
}

fn change(freeswitch: &FreeSwitch, changes: &[(&str, &str)]) {
    let path = freeswitch.folder().join("conf/freeswitch.xml");
    let mut text = std::fs::read_to_string(&path).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    std::fs::write(&path, text).unwrap();
}

const TRUNK: &str = "sofia/gateway/carrier/{number}";

#[tokio::test]
async fn a_correctly_configured_pbx_has_no_fault_and_a_test_call_is_heard() {
    let what = "a_switch_that_is_rightly_set_has_no_fault_and_a_test_call_is_heard";
    if FreeSwitch::program_or_skip(what).is_none() {
        return;
    }
    let options = FreeSwitchOptions {
        agents: 2,
        media_timeout_ms: 60_000,
        ..FreeSwitchOptions::default()
    };
    let lab = FreeSwitchLab::start(Audio::Tones, options).unwrap();
    let trunks = [
        TRUNK,
        "loopback/{number}/from-internal",
        "sofia/gateway/nobody/{number}",
    ];
    let office = office_at(&lab.freeswitch, &trunks[..2]).await;
    assert_eq!(office.complaints(), "exit 0\n");
    let told = office.told(&[]);
    let pbx = &told["report"]["pbxes"][0];
    assert_eq!(
        (&pbx["channels_max"], &pbx["channels_per_second_max"]),
        (&2000.into(), &399.into())
    );
    let endpoints = pbx["endpoints"].as_array().unwrap();
    let names: Vec<_> = endpoints.iter().map(|e| e["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "sofia/gateway/carrier",
            "sofia/gateway/dead",
            "sofia/lab",
            "user/agent-1@lab"
        ]
    );
    assert!(
        endpoints
            .iter()
            .all(|e| e["codecs"] == serde_json::json!(["PCMU"])),
        "{pbx:#}"
    );

    let office = office_at(&lab.freeswitch, &trunks).await;
    let number = Behaviour::Talks.number(1);
    for (trunk, says) in [
        ("t1", "it was answered and can be heard"),
        ("t2", "it was answered: the trunk works"),
    ] {
        let verdict = office.verdict(trunk, &number);
        assert!(verdict.contains(says), "{verdict}");
    }
    for (trunk, behaviour, says) in [
        ("t1", Behaviour::NotFound, "does not know the number in this form"),
        ("t1", Behaviour::Busy, "the line was busy"),
        ("t1", Behaviour::Congested, "has no way to that number now"),
        ("t3", Behaviour::Talks, "there is no such gateway"),
    ] {
        let verdict = office.verdict(trunk, &behaviour.number(1));
        assert!(verdict.contains(says), "{verdict}");
    }
    lab.settled(Duration::from_secs(10)).unwrap();
}

#[tokio::test]
async fn no_server_a_wrong_port_a_wrong_password_and_an_access_list_are_told_apart() {
    let what = "no_server_a_wrong_port_a_wrong_password_and_an_access_list_are_told_apart";
    let Some(freeswitch) = freeswitch(what, &[]) else {
        return;
    };
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let office = office_of(&free.to_string(), "x", &[]).await;
    insta::assert_snapshot!(office.complaints(), @"
    exit 1
      FAULT Event Socket: nothing answers at 127.0.0.1:PORT
            cure: start FreeSWITCH with mod_event_socket, and in event_socket.conf.xml write `listen-ip` and `listen-port` as the `address` of paceline.toml has them; then `reload mod_event_socket`
    ");
    let sip = format!("127.0.0.1:{}", freeswitch.ports().sip);
    let office = office_of(&sip, "x", &[]).await;
    insta::assert_snapshot!(office.complaints(), @"
    exit 1
      FAULT Event Socket: a server at 127.0.0.1:PORT accepts connections, but sends nothing
            cure: check that FreeSWITCH listens there; if it does, check its load and `status` in fs_cli
    ");
    let office = office_of(&freeswitch.address(), "wrong", &[]).await;
    insta::assert_snapshot!(office.complaints(), @"
    exit 1
      FAULT Event Socket: the password is refused at 127.0.0.1:PORT
            cure: write the `password` of event_socket.conf.xml into the file or variable that paceline.toml points to
    ");

    let deny = "<list name=\"machine\" default=\"deny\"></list><list name=\"nobody\" default=\"deny\"/>";
    change(
        &freeswitch,
        &[
            (
                "<list name=\"machine\" default=\"deny\">\n          <node type=\"allow\" cidr=\"127.0.0.0/8\"/>\n        </list>",
                deny,
            ),
            ("\"loopback.auto\"", "\"nobody\""),
        ],
    );
    freeswitch.api("reloadacl").unwrap();
    // The answer may be lost, because this command closes the connection that it would come on.
    drop(freeswitch.api("bgapi reload mod_event_socket"));
    let office = office_at(&freeswitch, &[TRUNK]).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut complaints = office.complaints();
    while !complaints.contains("access list") && Instant::now() < deadline {
        complaints = office.complaints();
    }
    insta::assert_snapshot!(complaints, @"
    exit 1
      FAULT Event Socket: the access list at 127.0.0.1:PORT refuses this machine
            cure: in event_socket.conf.xml name a list with this machine's address in `apply-inbound-acl` (for the PBX's own machine `loopback.auto`); then `reloadacl` and `reload mod_event_socket`
    ");
}

#[tokio::test]
async fn trunks_agents_and_codecs_that_do_not_meet_are_named() {
    let what = "trunks_agents_and_codecs_that_do_not_meet_are_named";
    let gateway = |name: &str, registers: bool| {
        format!(
            "<gateway name=\"{name}\"><param name=\"proxy\" value=\"127.0.0.1:$${{dead_port}}\"/><param name=\"register\" \
             value=\"{registers}\"/><param name=\"username\" value=\"lab\"/><param name=\"password\" value=\"x\"/></gateway>"
        )
    };
    let profile = |name: &str, codecs: &str| {
        format!(
            "<profile name=\"{name}\"><gateways>{}</gateways><settings><param name=\"sip-ip\" value=\"127.0.0.1\"/>\
             <param name=\"rtp-ip\" value=\"127.0.0.1\"/><param name=\"sip-port\" value=\"{}\"/>\
             <param name=\"outbound-codec-prefs\" value=\"{codecs}\"/></settings></profile>",
            gateway(&format!("of-{name}"), false),
            UdpSocket::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port()
        )
    };
    let more = format!(
        "{}{}<profile name=\"lab\">",
        profile("wide", "PCMA"),
        profile("foreign", "OPUS,G729")
    );
    let down = format!("{}<gateway name=\"dead\">", gateway("down", true));
    let Some(freeswitch) = freeswitch(
        what,
        &[
            ("<profile name=\"lab\">", &more),
            ("<gateway name=\"dead\">", &down),
        ],
    ) else {
        return;
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    let ready = |status: String| {
        let all = ["of-wide", "of-foreign", "FAIL_WAIT"];
        all.iter().all(|word| status.contains(word))
    };
    while !ready(freeswitch.api("sofia status").unwrap()) {
        assert!(Instant::now() < deadline, "the dead gateway is not found dead");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let trunks = [
        "sofia/gateway/carier/{number}",
        "sofia/gateway/down/{number}",
        "sofia/gateway/of-wide/{number}",
        "loopback/{number}/from-intern",
    ];
    let office = office_at(&freeswitch, &trunks).await;
    office.hire("bert", "agent-7").await;
    insta::assert_snapshot!(office.complaints(), @r#"
    exit 1
      FAULT trunk t1: there is no `sofia/gateway/carier`
            cure: in sip_profiles add a `<gateway name="carier">`, then run `sofia profile external rescan`, or correct the dial string `sofia/gateway/carier/{number}`: there is `sofia/gateway/carrier`
      FAULT trunk t2: `sofia/gateway/down` is down (FAIL_WAIT), so FreeSWITCH places no call over it
            cure: check `sofia status gateway down`; correct its proxy, username and password, or call the carrier
      FAULT agent bert: there is no `user/agent-7@lab`
            cure: add this user to the directory, then run `reloadxml`, or correct the dial string `user/agent-7`: there is `user/agent-1@lab`
      look  trunk t4: uses the context `from-intern`, which is not in FreeSWITCH's own dialplan
            cure: correct the dial string `loopback/{number}/from-intern`, unless a script or a server creates this context; place a test call to check it
      look  trunk t3: has no codec in common with agent anna: PCMA and PCMU; every call is translated
            cure: write a common codec into `outbound-codec-prefs` of both SIP profiles
    "#);
    let office = office_at(&freeswitch, &["sofia/gateway/of-foreign/{number}"]).await;
    insta::assert_snapshot!(office.complaints(), @"
    exit 1
      FAULT trunk t1: offers OPUS G729, but none of these codecs is loaded, so every call fails
            cure: in `outbound-codec-prefs` of its SIP profile (or vars.xml) write codecs that there are, such as PCMU,PCMA; or load the codec's module
    ");
}

#[tokio::test]
async fn a_pbx_that_takes_no_calls_is_reported() {
    let what = "a_switch_that_takes_no_calls_is_found_out";
    let Some(freeswitch) = freeswitch(what, &[]) else {
        return;
    };
    let office = office_at(&freeswitch, &[TRUNK]).await;
    for command in [
        "fsctl pause outbound",
        "fsctl max_sessions 1",
        "fsctl sps 1",
        "unload mod_sofia",
    ] {
        freeswitch.api(command).unwrap();
    }
    insta::assert_snapshot!(office.complaints(), @r#"
    exit 1
      FAULT modules: not loaded: mod_sofia (SIP)
            cure: in modules.conf.xml write `<load module="mod_sofia"/>`; until the restart `load mod_sofia` in fs_cli does
      FAULT calls: FreeSWITCH is paused and places no calls
            cure: run `fsctl resume` in fs_cli, after checking why it was paused
      FAULT channels: the limit is 1, 0 in use now; more than 2 are needed for 1 agent(s) with one call each
            cure: in switch.conf.xml raise `max-sessions`; until the restart `fsctl max_sessions N` does
      FAULT channels a second: FreeSWITCH creates up to 0 channels per second
            cure: in switch.conf.xml raise `sessions-per-second`; until the restart `fsctl sps N` does
      FAULT trunk t1: there is no `sofia/gateway/carrier`
            cure: in sip_profiles add a `<gateway name="carrier">`, then run `sofia profile external rescan`, or correct the dial string `sofia/gateway/carrier/{number}`
    "#);
}

#[tokio::test]
async fn an_event_socket_that_is_open_to_all_and_recordings_that_cannot_be_written_are_named() {
    let what = "an_event_socket_that_is_open_to_all_and_recordings_that_cannot_be_written_are_named";
    let Some(freeswitch) = freeswitch(what, &[]) else {
        return;
    };
    // FreeSWITCH uses the files on disk at its next reload.
    change(
        &freeswitch,
        &[
            (
                "            <param name=\"apply-inbound-acl\" value=\"loopback.auto\"/>\n",
                "",
            ),
            ("$${event_socket_password}", "ClueCon"),
        ]
        .map(|(from, to)| (from.trim_start_matches(' '), to)),
    );
    freeswitch.api("reloadxml").unwrap();
    let folder = freeswitch.recordings_dir();
    std::fs::remove_dir(&folder).unwrap();
    let office = office_at(&freeswitch, &[TRUNK]).await;
    // The PBX itself creates a missing folder.
    insta::assert_snapshot!(office.complaints(), @r#"
    exit 0
      look  event_socket.conf: has the well-known default password; has no `apply-inbound-acl`
            cure: choose another `password`, there and in paceline.toml; write `<param name="apply-inbound-acl" value="loopback.auto"/>`
    "#);
    std::fs::write(&folder, "in the way").unwrap();
    let complaints = office.complaints();
    let complaints = complaints.replace(&freeswitch.folder().display().to_string(), "FOLDER");
    insta::assert_snapshot!(complaints, @r#"
    exit 0
      look  event_socket.conf: has the well-known default password; has no `apply-inbound-acl`
            cure: choose another `password`, there and in paceline.toml; write `<param name="apply-inbound-acl" value="loopback.auto"/>`
      look  recordings: `FOLDER/recordings` cannot be written, so nothing can be recorded
            cure: use a folder that the user of the FreeSWITCH process can write
    "#);
}

#[tokio::test]
async fn queues_and_who_takes_their_calls_are_listed() {
    let what = "queues_and_who_takes_their_calls_are_listed";
    let queue = |name: &str| {
        format!("<queue name=\"{name}\"><param name=\"strategy\" value=\"round-robin\"/></queue>")
    };
    let agent = |name: &str, contact: &str, status: &str| {
        format!("<agent name=\"{name}\" type=\"callback\" contact=\"{contact}\" status=\"{status}\"/>")
    };
    let tier =
        |agent: &str| format!("<tier agent=\"{agent}\" queue=\"sales@lab\" level=\"1\" position=\"1\"/>");
    let queues = format!(
        "<configuration name=\"callcenter.conf\"><settings/><queues>{}{}</queues><agents>{}{}</agents><tiers>{}{}</tiers>\
         </configuration><configuration name=\"sofia.conf\">",
        queue("sales@lab"),
        queue("empty@lab"),
        agent("carl", "user/agent-1", "Available"),
        agent("dora", "[leg_timeout=10]user/agent-9@lab", "On Break"),
        tier("carl"),
        tier("dora"),
    );
    let Some(freeswitch) = freeswitch(
        what,
        &[
            ("<configuration name=\"sofia.conf\">", &queues),
            (
                "<load module=\"mod_sofia\"/>",
                "<load module=\"mod_sofia\"/><load module=\"mod_callcenter\"/>",
            ),
        ],
    ) else {
        return;
    };
    let office = office_at(&freeswitch, &[TRUNK]).await;
    insta::assert_snapshot!(office.complaints(), @"
    exit 0
      look  queue sales@lab: the calls to its member dora go to `user/agent-9@lab`, which does not exist
            cure: correct the contact of agent dora in callcenter.conf.xml
      look  queue empty@lab: has no members, so its calls are never answered
            cure: in callcenter.conf.xml give it a `tier`, or `callcenter_config tier add`
    ");
    let told = office.told(&[]);
    let queues = &told["report"]["pbxes"][0]["queues"];
    insta::assert_snapshot!(serde_json::to_string(queues).unwrap(), @r#"[{"name":"sales@lab","members":[{"name":"carl","interface":"user/agent-1","state":"Available","paused":false},{"name":"dora","interface":"[leg_timeout=10]user/agent-9@lab","state":"On Break","paused":true}]},{"name":"empty@lab","members":[]}]"#);
}

#[tokio::test]
async fn an_old_version_and_a_clock_that_is_behind_are_reported() {
    let what = "an_old_version_and_a_clock_that_is_behind_are_reported";
    let Some(freeswitch) = freeswitch(what, &[]) else {
        return;
    };
    let port = through(freeswitch.ports().event_socket, |bytes| {
        // Changes the first digits of the PBX's time, and its version: `1.11.2` becomes `1.01.9`.
        let now = jiff::Timestamp::now().as_second().to_string();
        let (now, version) = (&now.as_bytes()[..5], b"FreeSWITCH Version 1.11.");
        if let Some(at) = bytes.windows(5).position(|w| w == now) {
            bytes[at..at + 5].copy_from_slice(b"16000");
        }
        if let Some(at) = bytes.windows(version.len()).position(|w| w == version) {
            let end = at + version.len();
            bytes[end - 3..=end].copy_from_slice(b"01.9");
        }
    });
    let office = office_of(&format!("127.0.0.1:{port}"), freeswitch.password(), &[TRUNK]).await;
    let (told, seconds) = without_number(&office.complaints(), "the PBX's clock is ");
    assert!(seconds > 100_000_000);
    insta::assert_snapshot!(told, @"
    exit 1
      FAULT FreeSWITCH 1.01.9: is older than 1.6; Paceline was never tested with it
            cure: upgrade to the newest 1.10
      look  clock: the PBX's clock is N s behind this machine's
            cure: run NTP on both (`timedatectl set-ntp true`), because calling hours and reports use the clock
    ");
}

#[tokio::test]
async fn the_configurations_that_users_are_given_are_what_the_doctor_wants() {
    let what = "the_configurations_that_users_are_given_are_what_the_doctor_wants";
    let Some(mut freeswitch) = freeswitch(what, &[]) else {
        return;
    };
    let given = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("freeswitch-conf");
    let conf = freeswitch.folder().join("conf");
    let event_socket = freeswitch.ports().event_socket.to_string();

    // The complete small configuration, with the lab's ports and password.
    let ours = std::fs::read_to_string(conf.join("vars.xml")).unwrap();
    let value = |name: &str| {
        let (_, after) = ours.split_once(&format!("data=\"{name}=")).unwrap();
        after.split('"').next().unwrap().to_owned()
    };
    let mut vars = std::fs::read_to_string(given.join("lab/vars.xml")).unwrap();
    for (name, theirs) in [
        ("event_socket_port", "8021"),
        ("event_socket_password", "change-me"),
        ("sip_port", "5060"),
        ("rtp_first", "16384"),
        ("rtp_last", "17384"),
    ] {
        let line = format!("data=\"{name}={theirs}\"");
        assert!(vars.contains(&line), "{line}");
        vars = vars.replace(&line, &format!("data=\"{name}={}\"", value(name)));
    }
    std::fs::write(conf.join("vars.xml"), vars).unwrap();
    for file in ["agents.xml", "freeswitch.xml"] {
        std::fs::copy(given.join("lab").join(file), conf.join(file)).unwrap();
    }
    freeswitch.restart().unwrap();
    let office = office_at(&freeswitch, &[TRUNK, "loopback/{number}/from-internal"]).await;
    office.hire("dora", "agent-4").await;
    assert_eq!(office.complaints(), "exit 0\n");

    // The smallest configuration replaces the lab's own.
    let smallest = std::fs::read_to_string(given.join("existing/event_socket.conf.xml")).unwrap();
    let smallest = smallest
        .replace("\"8021\"", &format!("\"{event_socket}\""))
        .replace("a long random one", freeswitch.password());
    let path = conf.join("freeswitch.xml");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, after) = text
        .split_once("<configuration name=\"event_socket.conf\">")
        .unwrap();
    let (_, after) = after.split_once("</configuration>").unwrap();
    std::fs::write(&path, format!("{before}{smallest}{after}")).unwrap();
    freeswitch.restart().unwrap();
    assert_eq!(office.complaints(), "exit 0\n");
}

#[tokio::test]
async fn a_message_that_the_pbx_has_not_is_a_fault() {
    let what = "a_message_that_the_pbx_has_not_is_a_fault";
    let Some(freeswitch) = freeswitch(what, &[]) else {
        return;
    };
    let office = office_at(&freeswitch, &[TRUNK]).await;
    office.campaign("sound:nobody-has-this", TRUNK).await;
    insta::assert_snapshot!(office.complaints(), @"
    exit 1
      FAULT campaign sound:nobody-has-this: `answering/abandon_message`: the PBX has no sound `nobody-has-this`, so an abandoned callee hears nothing, and nothing is recorded
            cure: put the file nobody-has-this.wav below `sounds_dir` (`global_getvar sounds_dir` in fs_cli shows where)
      look  trunk bare: has no caller id, so callees see the default of the PBX, or nothing
            cure: set `caller_id` with PUT /api/v1/trunks/{id}: many countries require a number that can be called back, and carriers refuse calls without one
    ");
}

#[tokio::test]
async fn agents_phones_whose_loss_the_pbx_would_not_notice_are_named_or_the_check_for_them_is_explained() {
    let what =
        "agents_phones_whose_loss_the_pbx_would_not_notice_are_named_or_the_check_for_them_is_explained";
    let dial = "[media_timeout=$${media_timeout_ms}]sofia/lab/sip:${dialed_user}@127.0.0.1:$${phones_port}";
    let registered = (dial, "${sofia_contact(*/${dialed_user}@${dialed_domain})}");
    let open = "<param name=\"auth-calls\" value=\"false\"/>";
    let blind = format!("{open}<param name=\"accept-blind-reg\" value=\"true\"/>");
    let Some(freeswitch) = freeswitch(what, &[registered, (open, &blind)]) else {
        return;
    };
    let phone = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = phone.local_addr().unwrap();
    let register = format!(
        "REGISTER sip:lab SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
         From: <sip:agent-1@lab>;tag=1\r\nTo: <sip:agent-1@lab>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\n\
         Contact: <sip:agent-1@{at}>\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n"
    );
    phone
        .send_to(register.as_bytes(), ("127.0.0.1", freeswitch.ports().sip))
        .unwrap();
    let mut answer = [0; 4096];
    let read = phone.recv(&mut answer).unwrap();
    assert!(answer[..read].starts_with(b"SIP/2.0 200"));
    let office = office_at(&freeswitch, &[TRUNK]).await;
    insta::assert_snapshot!(office.complaints(), @r#"
    exit 0
      look  agents' phones: `user/agent-1`: FreeSWITCH never asks whether a registered phone is there (its SIP profile has no `all-reg-options-ping`), so an agent whose phone has lost its power is called for the whole `agent_ring_timeout_ms` until the registration runs out
            cure: in the SIP profile write `<param name="all-reg-options-ping" value="true"/>` and `<param name="unregister-on-options-fail" value="true"/>`, then `sofia profile NAME rescan`
      look  agents' phones: `user/agent-1`: FreeSWITCH keeps a leg whose phone sends no audio any more (no `media_timeout`): while Paceline is stopped nobody ends it, and an agent whose phone loses its power counts as free for 9 to 12 s, or for hours if the phone sends no audio in silence, and is given callees
            cure: in the directory begin the parameter `dial-string` of the agents with `[media_timeout=60000]` (milliseconds), then `reloadxml`; before FreeSWITCH 1.10 write `rtp-timeout-sec` into their SIP profile; switch silence suppression off on the phones
    "#);
    // Follow the cure that the doctor gives.
    let dial = "${sofia_contact(";
    change(
        &freeswitch,
        &[
            (dial, &format!("[media_timeout=60000]{dial}")),
            (
                open,
                &format!("{open}<param name=\"all-reg-options-ping\" value=\"true\"/>"),
            ),
        ],
    );
    freeswitch.api("reloadxml").unwrap();
    assert_eq!(office.complaints(), "exit 0\n");
    office.hire("bert", "agent-2").await;
    let told = office.told(&[]).to_string();
    assert!(
        told.contains("`user/agent-2`: whether FreeSWITCH notices"),
        "{told}"
    );
}
