//! Behaviour that only a FreeSWITCH has: its parsers, its limits, the channels of others. On a real one, if there is
//! one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

// The contract suite uses the whole file.
#[allow(dead_code)]
#[path = "pbx_contract/double.rs"]
mod double;
#[path = "esl/left.rs"]
mod left;
#[allow(dead_code)]
#[path = "ari/proxy.rs"]
mod proxy;
#[allow(dead_code)]
#[path = "pbx_contract/rig.rs"]
mod rig;

use paceline_core::ids::{AgentLegId, LegId};
use paceline_core::outcome::Outcome;
use paceline_core::pbx::{Departure, EndedBy, LegTrouble, PbxCommand, PbxEvent};
use paceline_core::verdict;
use paceline_esl::originate;
use paceline_lab::{Audio, Behaviour, FreeSwitch, FreeSwitchLab, FreeSwitchOptions, PhoneBehaviour};
use rig::{Kind, Pbx, Rig, until};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use uuid::Uuid;

fn freeswitch(rig: &Rig) -> &FreeSwitch {
    match &rig.pbx {
        Pbx::FreeSwitch(lab) => &lab.freeswitch,
        Pbx::Asterisk(_) | Pbx::Double(_) | Pbx::Sim(_) => panic!("this is a FreeSWITCH"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_value_ends_or_extends_another_in_the_real_parsers() {
    if FreeSwitch::program_or_skip("quoting against the real parsers").is_none() {
        return;
    }
    let rig = Rig::start(Kind::FreeSwitch).await;
    let freeswitch = freeswitch(&rig);
    let values = [
        "+12025550123",
        "O'Brien",
        "'quoted'",
        "\"double\"",
        "a,b=c,uuid=x",
        "two  words ",
        " leading",
        "back\\slash\\",
        "\\s\\n\\'",
        "a|b&c;d<e>[f]^",
        "café Łódź",
        "'",
        "\\",
        "x' ,y='z",
        "100%25",
    ];
    for value in values {
        let leg = Uuid::new_v4().to_string();
        let variables = [
            ("origination_uuid", leg.as_str()),
            ("before", "1"),
            ("value", value),
            ("after", "2"),
        ];
        let command = originate(&variables, "user/agent-1", &[]).expect("it can be quoted");
        let placed = freeswitch.api(&command).expect("it answers");
        assert_eq!(placed.trim(), format!("+OK {leg}"), "{value:?}: {command}");
        let variable = |name: &str| {
            let text = freeswitch
                .api(&format!("uuid_getvar {leg} {name}"))
                .expect("it answers");
            text.trim_end_matches('\n').to_owned()
        };
        assert_eq!(
            (variable("before"), variable("value"), variable("after")),
            ("1".to_owned(), value.to_owned(), "2".to_owned()),
            "{command}"
        );
        freeswitch.api(&format!("uuid_kill {leg}")).expect("it answers");
    }
    rig.pbx.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pbx_that_fills_up_behind_a_dialplan_is_no_fault_either() {
    if FreeSwitch::program_or_skip("a full PBX behind a dialplan").is_none() {
        return;
    }
    let lab = FreeSwitchLab::start(Audio::None, FreeSwitchOptions::default()).expect("the lab starts");
    let pbx = Pbx::FreeSwitch(lab);
    let driver = pbx.driver().await;
    let mut rig = Rig { pbx, driver };
    // First there is capacity for both halves of a loopback and none for the trunk's channel behind them, then for the
    // first half only.
    for (sessions, cause) in [(2, "DESTINATION_OUT_OF_ORDER"), (1, "NO_ANSWER")] {
        let limit = format!("fsctl max_sessions {sessions}");
        freeswitch(&rig).api(&limit).expect("it answers");
        let dial = rig.pbx.dial_routed(&Behaviour::Talks.number(1));
        let (ring_timeout, duration_max) = (Duration::from_secs(2), Duration::from_secs(60));
        let leg = rig.driver.dial(&dial, ring_timeout, duration_max).await;
        let end = rig.driver.ended(leg).await;
        assert_eq!((end.by, end.detail.as_str()), (EndedBy::NoRoom, cause), "{end:?}");
        rig.pbx.settled().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_or_full_pbx_is_no_fault_of_the_trunk_or_the_contact() {
    if FreeSwitch::program_or_skip("a full PBX").is_none() {
        return;
    }
    let lab = FreeSwitchLab::start(
        Audio::None,
        FreeSwitchOptions {
            agents: 2,
            // Fewer calls per second than even an overloaded machine places.
            sessions_per_second: 3,
            ..FreeSwitchOptions::default()
        },
    )
    .expect("the lab starts");
    let pbx = Pbx::FreeSwitch(lab);
    let driver = pbx.driver().await;
    let mut rig = Rig { pbx, driver };

    freeswitch(&rig).api("fsctl pause").expect("it answers");
    let leg = rig.call(&Behaviour::Talks.number(1)).await;
    let end = rig.driver.ended(leg).await;
    assert_eq!(
        (end.by, end.detail.as_str()),
        (EndedBy::NoRoom, "DESTINATION_OUT_OF_ORDER")
    );
    assert_eq!(verdict::unanswered(&end), Outcome::Cancelled);
    freeswitch(&rig).api("fsctl resume").expect("it answers");

    let mut legs = Vec::new();
    for nth in 0..40 {
        legs.push(rig.call(&Behaviour::Busy.number(nth)).await);
    }
    let (mut busy, mut no_room) = (0, 0);
    for leg in legs {
        let end = rig.driver.ended(leg).await;
        match end.by {
            EndedBy::NoRoom => no_room += 1,
            EndedBy::Network if end.sip == Some(486) => busy += 1,
            _ => panic!("{end:?}; {:?}; {:?}", rig.driver.said, rig.driver.handle.stats),
        }
    }
    assert!(busy > 0 && no_room > 0, "{busy} busy, {no_room} without room");
    assert_eq!(rig.pbx.carrier().calls().len(), busy);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undialable_endpoint_is_refused_with_the_pbxs_own_words() {
    if FreeSwitch::program_or_skip("what cannot be dialed").is_none() {
        return;
    }
    let mut rig = Rig::start(Kind::FreeSwitch).await;
    for (dial, words) in [
        ("sofia/gateway/nobody/1", "INVALID_GATEWAY"),
        ("user/nobody", "SUBSCRIBER_ABSENT"),
    ] {
        let leg = rig
            .driver
            .dial(dial, Duration::from_secs(3), Duration::from_secs(60))
            .await;
        let end = rig.driver.ended(leg).await;
        assert_eq!(end.by, EndedBy::Refused, "{dial} {end:?}");
        assert!(end.detail.starts_with(words), "{dial} {end:?}");
    }
    // If nothing listens at the trunk's address, the trunk has failed.
    let leg = rig
        .driver
        .dial(
            "sofia/gateway/dead/12025550123",
            Duration::from_secs(12),
            Duration::from_secs(60),
        )
        .await;
    let end = rig.driver.ended(leg).await;
    assert_eq!(
        (end.by, verdict::unanswered(&end)),
        (EndedBy::Network, Outcome::Congestion),
        "{end:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ring_timeout_that_passes_while_the_pbx_is_stopped_is_still_a_ring_timeout() {
    if FreeSwitch::program_or_skip("a ring timeout that it sleeps through").is_none() {
        return;
    }
    let mut rig = Rig::start(Kind::FreeSwitch).await;
    let leg = rig
        .driver
        .dial(
            &rig.pbx.dial(&Behaviour::Rings.number(1)),
            Duration::from_secs(2),
            Duration::from_secs(60),
        )
        .await;
    rig.driver.rings(leg).await;
    freeswitch(&rig).freeze().expect("it runs");
    // Two seconds longer than the ring timeout, but shorter than the link may be silent.
    tokio::time::sleep(Duration::from_secs(5)).await;
    freeswitch(&rig).thaw().expect("it runs");
    let end = rig.driver.ended(leg).await;
    assert_eq!(
        (end.by, end.detail.as_str(), verdict::unanswered(&end)),
        (EndedBy::RingTimeout, "PROGRESS_TIMEOUT", Outcome::NoAnswer),
        "{end:?}"
    );
    rig.pbx.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_others_give_no_events_and_are_not_changed() {
    if FreeSwitch::program_or_skip("bystanders").is_none() {
        return;
    }
    let mut rig = Rig::start(Kind::FreeSwitch).await;
    let before = rig.driver.handle.stats.events_read.load(Relaxed);
    let since = Instant::now();
    let stranger = Uuid::new_v4();
    let number = Behaviour::Talks.number(1);
    let placed = freeswitch(&rig)
        .api(&format!(
            "originate {{origination_uuid={stranger}}}sofia/gateway/carrier/{number} &park()"
        ))
        .expect("it answers");
    assert!(placed.starts_with("+OK"), "{placed}");
    let leg = rig.call(&Behaviour::Busy.number(1)).await;
    rig.driver.ended(leg).await;
    // Events of our own: a leg created, a leg ended, the job, and the answer to a ping every second, which may be late.
    let heard = rig.driver.handle.stats.events_read.load(Relaxed) - before;
    let pings = since.elapsed().as_secs() + 2;
    assert!(heard <= 3 + pings, "{heard} events in {:?}", since.elapsed());

    rig.driver = rig.pbx.spawn(rig.pbx.port());
    let snapshot = rig.driver.resynchronised().await;
    assert_eq!(snapshot.channels.len(), 1);
    assert!(!snapshot.channels[&stranger].in_our_app, "{snapshot:?}");
    // The PBX's list still contains a leg for a moment after the event of its end.
    until("only the other's call is left", || {
        rig.pbx.channels() == [stranger.to_string()]
    })
    .await;
    rig.pbx.hang_up(stranger);
    rig.pbx.settled().await;
}

/// An agent's held leg, connected to a callee who talks.
async fn talking(rig: &mut Rig) -> (LegId, AgentLegId) {
    let agent = rig.driver.agent(1).await;
    let leg = rig.call(&Behaviour::Talks.number(1)).await;
    rig.driver.answered(leg).await;
    rig.driver.connect(leg, agent).await;
    (leg, agent)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_change_of_a_leg_is_reported() {
    if FreeSwitch::program_or_skip("operators").is_none() {
        return;
    }
    let mut rig = Rig::start(Kind::FreeSwitch).await;
    // An operator connects the callee to a colleague, who hangs up; the agent can take the next callee.
    let (leg, agent) = talking(&mut rig).await;
    let told = freeswitch(&rig).api(&format!("uuid_transfer {leg} agent-2 XML default"));
    assert!(told.expect("it answers").starts_with("+OK"));
    rig.driver.hears(PbxEvent::Transferred { leg }).await;
    until("the colleague has the callee", || rig.pbx.is_on_call(2)).await;
    let next = rig.call(&Behaviour::Talks.number(2)).await;
    rig.driver.answered(next).await;
    rig.driver.connect(next, agent).await;
    rig.pbx.phone_hangs_up(2);
    rig.driver.hears(PbxEvent::CalleeAlone { leg }).await;
    rig.driver.tell(PbxCommand::HangUp { leg }).await;
    rig.driver.ended(leg).await;

    // An operator connects the agent to a colleague: the callee can get another agent, and the driver does not disturb
    // the conversation of the two.
    let moved = freeswitch(&rig).api(&format!("uuid_transfer {next} -bleg agent-2 XML default"));
    assert!(moved.expect("it answers").starts_with("+OK"));
    assert_eq!(rig.driver.agent_ended(agent).await.by, EndedBy::TakenAway);
    until("the colleague has the agent", || rig.pbx.is_on_call(2)).await;
    rig.driver.tell(PbxCommand::HangUpAgent { leg: agent }).await;
    let other = rig.driver.agent(3).await;
    rig.driver.connect(next, other).await;
    assert!(rig.pbx.is_on_call(1) && rig.pbx.is_on_call(2));
    // After that conversation has ended, the agent's leg is hung up.
    rig.pbx.phone_hangs_up(2);
    until("the agent's phone is free", || !rig.pbx.is_on_call(1)).await;

    // An operator joins a waiting agent with a foreign channel, and a waiting callee too.
    let agent = rig.driver.agent(1).await;
    let waiting = rig.call(&Behaviour::Talks.number(4)).await;
    rig.driver.answered(waiting).await;
    for (phone, leg) in [(5, agent.0), (6, waiting.0)] {
        let stranger = Uuid::new_v4();
        let commands = [
            format!("originate {{origination_uuid={stranger}}}user/agent-{phone} &park()"),
            format!("uuid_bridge {stranger} {leg}"),
        ];
        freeswitch(&rig).apis(&commands).expect("it answers");
    }
    assert_eq!(rig.driver.agent_ended(agent).await.by, EndedBy::TakenAway);
    rig.driver.hears(PbxEvent::Transferred { leg: waiting }).await;

    // A new driver finds all of them in this state.
    rig.driver = rig.pbx.spawn(rig.pbx.port());
    let snapshot = rig.driver.resynchronised().await;
    assert!(snapshot.holds(other), "{snapshot:?}");
    assert!(snapshot.channels[&waiting.0].with_others, "{snapshot:?}");
    assert_eq!(snapshot.channels[&next.0].bridge, Some(other));
    assert_eq!(rig.driver.agent_ended(agent).await.by, EndedBy::TakenAway);
    // The PBX keeps a callee only if an agent of ours has left it.
    rig.pbx.phone_hangs_up(6);
    assert_eq!(rig.driver.ended(waiting).await.by, EndedBy::Network);
    rig.driver.tell(PbxCommand::HangUp { leg: next }).await;
    rig.driver.ended(next).await;
    rig.driver.tell(PbxCommand::HangUpAgent { leg: other }).await;
    rig.pbx.phone_hangs_up(5);
    rig.pbx.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_driver_finds_a_waiting_callee() {
    if FreeSwitch::program_or_skip("callees found by a new driver").is_none() {
        return;
    }
    let mut rig = Rig::start(Kind::FreeSwitch).await;
    let agent = rig.driver.agent(1).await;
    let mut waiting = Vec::new();
    for nth in 0..8 {
        waiting.push(rig.call_routed(&Behaviour::Talks.number(nth)).await);
        waiting.push(rig.call(&Behaviour::Talks.number(8 + nth)).await);
    }
    for leg in &waiting {
        rig.driver.answered(*leg).await;
    }
    rig.driver = rig.pbx.spawn(rig.pbx.port());
    rig.driver.resynchronised().await;
    for leg in waiting {
        rig.driver.connect(leg, agent).await;
        rig.driver.tell(PbxCommand::HangUp { leg }).await;
        rig.driver.ended(leg).await;
    }
    rig.driver.tell(PbxCommand::HangUpAgent { leg: agent }).await;
    rig.pbx.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_an_agent_that_a_colleague_picks_up_is_no_agent() {
    if FreeSwitch::program_or_skip("pickup").is_none() {
        return;
    }
    let mut rig = Rig::start(Kind::FreeSwitch).await;
    // After a call the phones know the PBX.
    rig.driver.agent(3).await;
    rig.pbx.phone(1, PhoneBehaviour::Rings);
    let ringing = rig.driver.call_agent(1).await;
    rig.driver.hears(PbxEvent::AgentRinging { leg: ringing }).await;
    let phones = rig.pbx.phones();
    phones.dial(2, &format!("*8{ringing}")).expect("the PBX is there");
    let how = Departure::PickedUp;
    rig.driver.hears(PbxEvent::AgentLeft { leg: ringing, how }).await;
    rig.driver.agent_ended(ringing).await;
    until("the colleague is let go", || !rig.pbx.is_on_call(2)).await;
    assert!(!rig.driver.said.contains(&PbxEvent::AgentReady { leg: ringing }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_without_power_or_audio_is_found_by_its_packets() {
    if FreeSwitch::program_or_skip("phones without audio").is_none() {
        return;
    }
    let mut rig = Rig::start_with(Kind::FreeSwitch, Audio::Tones).await;
    let (dead, quiet) = (rig.driver.agent(1).await, rig.driver.agent(2).await);
    let trouble_event = |leg, trouble| PbxEvent::AgentTrouble { leg, trouble };
    // One agent waits and one talks; the driver has counted some packets of each.
    let leg = rig.call(&Behaviour::Talks.number(1)).await;
    rig.driver.answered(leg).await;
    rig.driver.connect(leg, quiet).await;
    for agent in [dead, quiet] {
        let counted = || {
            let asked = format!("uuid_getvar {agent} rtp_audio_in_media_packet_count");
            let count = freeswitch(&rig).api(&asked).expect("it answers");
            count.trim().parse().is_ok_and(|count: u64| count > 100)
        };
        until("its audio was counted twice", counted).await;
    }
    rig.pbx.phones().power_off(1);
    rig.pbx.phones().mute(2, true).expect("it is on a call");
    for agent in [dead, quiet] {
        rig.driver
            .hears(trouble_event(agent, Some(LegTrouble::NoAudio)))
            .await;
    }
    rig.driver.tell(PbxCommand::HangUpAgent { leg: dead }).await;
    rig.driver.agent_ended(dead).await;
    // A phone that is off cannot be called. A phone that is on again can.
    let away = rig.driver.call_agent(1).await;
    let end = rig.driver.agent_ended(away).await;
    assert!(!end.progressed && !end.answered, "{end:?}");
    rig.pbx.phones().power_on(1);
    rig.driver.agent(1).await;
    rig.pbx.phones().mute(2, false).expect("it is on a call");
    rig.driver.hears(trouble_event(quiet, None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_events_do_not_grow_with_every_callee() {
    if FreeSwitch::program_or_skip("an agent's many callees").is_none() {
        return;
    }
    let mut rig = Rig::start(Kind::FreeSwitch).await;
    let agent = rig.driver.agent(1).await;
    for nth in 0..4 {
        let leg = rig.call(&Behaviour::AnswersAtOnce.number(nth)).await;
        rig.driver.answered(leg).await;
        rig.driver.connect(leg, agent).await;
        rig.driver.tell(PbxCommand::HangUp { leg }).await;
        rig.driver.ended(leg).await;
    }
    until("the history of its callees is forgotten", || {
        let history = freeswitch(&rig)
            .api(&format!("uuid_getvar {agent} transfer_history"))
            .expect("it answers");
        history.trim() == "_undef_"
    })
    .await;
    rig.driver.tell(PbxCommand::HangUpAgent { leg: agent }).await;
    rig.pbx.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn early_media_behind_a_dialplan_is_a_sign_of_life() {
    if FreeSwitch::program_or_skip("early media behind a dialplan").is_none() {
        return;
    }
    let mut rig = Rig::start(Kind::FreeSwitch).await;
    let dial = rig.pbx.dial_routed(&Behaviour::EarlyMedia.number(1));
    let (ring_timeout, duration_max) = (Duration::from_secs(5), Duration::from_secs(60));
    let leg = rig.driver.dial(&dial, ring_timeout, duration_max).await;
    rig.driver.rings(leg).await;
    rig.driver.answered(leg).await;
    rig.driver.tell(PbxCommand::HangUp { leg }).await;
    let end = rig.driver.ended(leg).await;
    assert!(end.answered && end.progressed, "{end:?}");
    rig.pbx.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leg_that_the_pbx_ends_for_missing_audio_has_that_cause() {
    if FreeSwitch::program_or_skip("a leg without audio").is_none() {
        return;
    }
    let options = FreeSwitchOptions {
        agents: 20,
        media_timeout_ms: 2_000,
        ..FreeSwitchOptions::default()
    };
    let lab = FreeSwitchLab::start(Audio::None, options).expect("the lab starts");
    let pbx = Pbx::FreeSwitch(lab);
    let mut driver = pbx.driver().await;
    let leg = driver.agent(1).await;
    let end = driver.agent_ended(leg).await;
    assert_eq!(
        (end.by, end.q850, end.answered),
        (EndedBy::Network, Some(44), true)
    );
    pbx.settled().await;
}
