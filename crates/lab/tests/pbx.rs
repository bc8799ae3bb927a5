//! The lab itself: real PBXes start, callees behave as the dialed number says, audio is heard at both ends.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    collections::BTreeSet,
    fs, thread,
    time::{Duration, Instant},
};

use paceline_lab::{
    Asterisk, Audio, Behaviour, CallEnd, Carrier, Lab, LabOptions, Options, PhoneBehaviour, PhoneState,
    Phones, Version,
};

/// Dialplan of the answered calls.
const CONTEXT: &str = "\
[lab]
exten => hold,1,Wait(60)
exten => _age[n]t-X,1,Dial(PJSIP/${EXTEN})
exten => key,1,Read(KEY,,1,,1,5)
 same => n,Set(GLOBAL(PRESSED)=${KEY})
 same => n,Wait(60)
exten => _amd-X,1,AMD()
 same => n,Set(GLOBAL(VERDICT_${EXTEN:4})=${AMDSTATUS})
";

fn lab(version: Version) -> Lab {
    let append = vec![("extensions.conf".to_owned(), CONTEXT.to_owned())];
    Lab::start_with(&LabOptions {
        version,
        append,
        ..LabOptions::default()
    })
    .unwrap()
}

fn originate(lab: &Lab, endpoint: &str, extension: &str) {
    let endpoint = endpoint.replace('+', "%2B");
    let path =
        format!("/channels?endpoint={endpoint}&context=lab&extension={extension}&priority=1&timeout=3");
    let reply = lab.asterisk.ari("POST", &path).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.body);
}

fn wait_until(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !done() {
        assert!(Instant::now() < deadline, "waited {limit:?} in vain for: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn has_global(lab: &Lab, assignment: &str) -> bool {
    lab.asterisk
        .cli("dialplan show globals")
        .unwrap()
        .contains(assignment)
}

fn hang_up_everything(lab: &Lab) {
    for channel in lab.asterisk.channels().unwrap() {
        lab.asterisk
            .ari("DELETE", &format!("/channels/{channel}"))
            .unwrap();
    }
}

fn problems(asterisk: &Asterisk) -> Vec<String> {
    let log = fs::read_to_string(asterisk.log_path()).unwrap();
    log.lines()
        .filter(|line| line.contains("WARNING[") || line.contains("ERROR["))
        .map(str::to_owned)
        .collect()
}

#[test]
fn both_versions_start_clean_and_come_back_after_a_crash() {
    for version in [Version::V22, Version::V16] {
        let started = Instant::now();
        let mut asterisk = Asterisk::start(version, &Options::default()).unwrap();
        eprintln!("{version:?} ready after {:?}", started.elapsed());
        assert_eq!(asterisk.ari("GET", "/asterisk/info").unwrap().status, 200);
        assert_eq!(problems(&asterisk), Vec::<String>::new());
        assert!(asterisk.cli("core show version").unwrap().contains("Asterisk"));
        assert!(
            asterisk
                .cli("pjsip show endpoint agent-200")
                .unwrap()
                .contains("agent-200")
        );

        asterisk.kill();
        assert!(!asterisk.is_running());
        assert!(asterisk.ari("GET", "/asterisk/info").is_err());
        asterisk.restart().unwrap();
        assert_eq!(asterisk.channels().unwrap(), Vec::<String>::new());
        asterisk.freeze().unwrap();
        asterisk.thaw().unwrap();
        assert_eq!(asterisk.ari("GET", "/asterisk/info").unwrap().status, 200);
        assert!(asterisk.cpu_seconds().unwrap() > 0.0);
    }
}

#[test]
fn every_callee_behaves_as_its_number_says() {
    let lab = lab(Version::V22);
    // The first and the last ending of each behaviour, so that the limits of the table are tested in SIPp's scenario
    // too.
    for (behaviour, first, last) in Behaviour::TABLE {
        for nth in [0, last - first]
            .into_iter()
            .take(if first == last { 1 } else { 2 })
        {
            originate(&lab, &format!("PJSIP/{}@carrier", behaviour.number(nth)), "hold");
        }
    }
    let seen = |behaviour| {
        let calls = lab.carrier.calls();
        let mut numbers = BTreeSet::new();
        let of_it: Vec<_> = calls
            .into_iter()
            .filter(|call| call.behaviour == Some(behaviour))
            .collect();
        assert!(
            of_it.iter().all(|call| numbers.insert(call.number.clone())),
            "{behaviour:?} was dialed twice"
        );
        of_it
    };
    for (behaviour, ..) in Behaviour::TABLE {
        let answered = behaviour.answers();
        wait_until(&format!("{behaviour:?}"), Duration::from_secs(5), || {
            let calls = seen(behaviour);
            !calls.is_empty()
                && calls.iter().all(|call| {
                    if answered {
                        call.answered
                    } else {
                        call.end.is_some()
                    }
                })
        });
    }
    for (behaviour, end) in [
        (Behaviour::TalksBriefly, CallEnd::CalleeHungUp),
        (Behaviour::HangsUpEarly, CallEnd::CalleeHungUp),
        (Behaviour::Busy, CallEnd::Refused),
        (Behaviour::Declines, CallEnd::Refused),
        (Behaviour::NotFound, CallEnd::Refused),
        (Behaviour::Rings, CallEnd::Cancelled),
        (Behaviour::Silent, CallEnd::Ignored),
    ] {
        wait_until(&format!("{end:?}"), Duration::from_secs(5), || {
            seen(behaviour).iter().all(|call| call.end == Some(end))
        });
    }
    hang_up_everything(&lab);
    lab.settled(Duration::from_secs(10)).unwrap();
    assert!(
        seen(Behaviour::Talks)
            .iter()
            .all(|call| call.end == Some(CallEnd::CallerHungUp))
    );
    assert_eq!(lab.carrier.complaints().unwrap(), Vec::<String>::new());
}

#[test]
fn a_dead_trunk_fails_in_seven_seconds() {
    let lab = lab(Version::V22);
    let started = Instant::now();
    let path =
        "/channels?endpoint=PJSIP/%2B12125550140@dead&context=lab&extension=hold&priority=1&timeout=30";
    assert_eq!(lab.asterisk.ari("POST", path).unwrap().status, 200);
    assert_eq!(
        lab.asterisk.channels_after(Duration::from_secs(10)).unwrap(),
        Vec::<String>::new()
    );
    assert!(
        started.elapsed() > Duration::from_secs(5),
        "it failed at once: the port is not dead but closed"
    );
}

#[test]
fn callees_and_agents_hear_each_other() {
    for version in [Version::V22, Version::V16] {
        let lab = lab(version);
        for (nth, agent) in [(0, 1), (1, 2)] {
            originate(
                &lab,
                &format!("PJSIP/{}@carrier", Behaviour::Talks.number(nth)),
                &format!("agent-{agent}"),
            );
        }
        wait_until("both ends hear the other", Duration::from_secs(8), || {
            lab.carrier.media_report().flows_heard == 2 && lab.phones.media_report().spells == 2
        });
        assert!(lab.phones.is_on_call(1));
        lab.phones.hang_up(1).unwrap();
        hang_up_everything(&lab);
        lab.settled(Duration::from_secs(5)).unwrap();
        assert!(lab.carrier.calls().iter().all(|call| call.heard_agent.is_some()));
        assert!(
            lab.phones
                .calls()
                .iter()
                .any(|call| call.state == PhoneState::AgentHungUp)
        );
    }
}

#[test]
fn callees_sound_like_what_they_are() {
    let lab = lab(Version::V22);
    let callees = [
        Behaviour::Talks,
        Behaviour::Machine,
        Behaviour::Fax,
        Behaviour::Screener,
    ];
    for (nth, behaviour) in callees.into_iter().enumerate() {
        originate(
            &lab,
            &format!("PJSIP/{}@carrier", behaviour.number(0)),
            &format!("amd-{nth}"),
        );
    }
    for (nth, verdict) in ["HUMAN", "MACHINE", "MACHINE", "MACHINE"].into_iter().enumerate() {
        let assignment = format!("VERDICT_{nth}={verdict}");
        wait_until(&assignment, Duration::from_secs(8), || {
            has_global(&lab, &assignment)
        });
    }
    hang_up_everything(&lab);
    lab.settled(Duration::from_secs(5)).unwrap();
}

#[test]
fn calls_of_a_crashed_pbx_are_lost() {
    let mut lab = lab(Version::V22);
    originate(
        &lab,
        &format!("PJSIP/{}@carrier", Behaviour::AnswersAtOnce.number(0)),
        "agent-1",
    );
    wait_until("the agent is on the call", Duration::from_secs(5), || {
        lab.phones.is_on_call(1)
    });
    lab.crash();
    lab.asterisk.restart().unwrap();
    assert_eq!(lab.carrier.calls()[0].end, Some(CallEnd::Lost));
    assert_eq!(lab.phones.calls()[0].state, PhoneState::Lost);
    originate(
        &lab,
        &format!("PJSIP/{}@carrier", Behaviour::HangsUpEarly.number(0)),
        "hold",
    );
    wait_until("a new call passes", Duration::from_secs(5), || {
        lab.carrier.calls().len() == 2
    });
    lab.settled(Duration::from_secs(5)).unwrap();
}

#[test]
fn phones_follow_their_commands() {
    let lab = lab(Version::V22);
    for (agent, behaviour) in [
        (2, PhoneBehaviour::Busy),
        (3, PhoneBehaviour::Rings),
        (4, PhoneBehaviour::Silent),
    ] {
        lab.phones.set(agent, behaviour);
    }
    for agent in 1..=4 {
        originate(&lab, &format!("PJSIP/agent-{agent}"), "key");
    }
    let state = |agent| {
        lab.phones
            .calls()
            .iter()
            .find(|call| call.agent == agent)
            .map(|call| call.state)
    };
    for (agent, expected) in [
        (1, PhoneState::Answered),
        (2, PhoneState::Refused),
        (3, PhoneState::Cancelled),
        (4, PhoneState::Refused),
    ] {
        wait_until(&format!("agent-{agent}"), Duration::from_secs(5), || {
            state(agent) == Some(expected)
        });
    }
    lab.phones.press(1, '5').unwrap();
    wait_until("the key arrives", Duration::from_secs(5), || {
        has_global(&lab, "PRESSED=5")
    });
    assert!(lab.phones.press(2, '5').is_err());
    lab.phones.hang_up(1).unwrap();
    lab.settled(Duration::from_secs(10)).unwrap();
}

#[test]
fn a_lab_without_audio_sends_none() {
    let carrier = Carrier::start(Audio::None).unwrap();
    let phones = Phones::start(Audio::None).unwrap();
    let append = vec![("extensions.conf".to_owned(), CONTEXT.to_owned())];
    let (carrier_port, phones_port) = (Some(carrier.sip_port()), Some(phones.sip_port()));
    let options = Options {
        agents: 1,
        carrier_port,
        phones_port,
        append,
        ..Options::default()
    };
    let asterisk = Asterisk::start(Version::V22, &options).unwrap();
    let lab = Lab {
        asterisk,
        carrier,
        phones,
    };
    originate(
        &lab,
        &format!("PJSIP/{}@carrier", Behaviour::AnswersAtOnce.number(0)),
        "agent-1",
    );
    wait_until("the agent is on the call", Duration::from_secs(5), || {
        lab.phones.is_on_call(1)
    });
    hang_up_everything(&lab);
    lab.settled(Duration::from_secs(5)).unwrap();
    assert_eq!(
        (
            lab.carrier.media_report().packets_out,
            lab.phones.media_report().packets_out
        ),
        (0, 0)
    );
}

#[test]
fn a_freepbx_route_reaches_the_carrier_and_announces_its_failure() {
    let lab = lab(Version::V22);
    for number in [
        Behaviour::Talks.number(0),
        Behaviour::NotFound.number(0),
        Behaviour::Busy.number(0),
    ] {
        originate(&lab, &format!("Local/{number}@from-internal/n"), "hold");
    }
    wait_until("all three arrive", Duration::from_secs(5), || {
        let calls = lab.carrier.calls();
        calls.len() == 3
            && calls
                .iter()
                .all(|call| call.answered || call.end == Some(CallEnd::Refused))
    });
    hang_up_everything(&lab);
    lab.settled(Duration::from_secs(8)).unwrap();
    assert_eq!(problems(&lab.asterisk), Vec::<String>::new());
}
