//! The link broken in every way, and the state found again.

use crate::bench::{Bench, Driver, PATIENCE, Way, config, lab, until};
use crate::proxy::Proxy;
use paceline::pbx::ari::AriConfig;
use paceline_core::ids::AgentLegId;
use paceline_core::pbx::{ChannelPhase, ConnectFault, EndedBy, PbxCommand, PbxEvent};
use paceline_lab::{Behaviour, PhoneBehaviour, Version};
use std::time::{Duration, Instant};

async fn a_cut_link_is_made_again(version: Version) {
    let lab = lab(version);
    let proxy = Proxy::to(lab.asterisk.ports().http).await;
    let mut driver = Driver::start(config(&lab, &format!("http://127.0.0.1:{}", proxy.port()))).await;
    lab.phones.set(
        2,
        PhoneBehaviour::Answers {
            after: Duration::from_secs(3),
        },
    );

    let talking_agent = driver.agent(1).await;
    let idle_agent = driver.agent(3).await;
    let ringing_agent = driver.call_agent(2).await;
    let brief = driver.call(&Behaviour::Talks.number(4), Way::Direct).await;
    let waiting = driver.call(&Behaviour::Talks.number(1), Way::Direct).await;
    let routed = driver.call(&Behaviour::Talks.number(2), Way::Dialplan).await;
    let ringing = driver
        .call_for(&Behaviour::Rings.number(1), Way::Direct, Duration::from_secs(20))
        .await;
    driver.answered(brief).await;
    driver.answered(waiting).await;
    driver.answered(routed).await;
    driver.connect(brief, talking_agent).await;
    driver
        .wait("ringing", |event| match event {
            PbxEvent::Progress { leg, .. } if *leg == ringing => Some(()),
            _ => None,
        })
        .await;

    proxy.cut();
    driver.link_lost().await;
    // While it is cut: what can be refused is, and one call ends.
    driver
        .tell(PbxCommand::Connect {
            leg: waiting,
            agent_leg: idle_agent,
        })
        .await;
    let fault = driver
        .wait("ConnectFailed", |event| match event {
            PbxEvent::ConnectFailed { fault, .. } => Some(*fault),
            _ => None,
        })
        .await;
    assert_eq!(fault, ConnectFault::Refused);
    let refused = driver.call(&Behaviour::Talks.number(3), Way::Direct).await;
    assert_eq!(driver.ended(refused).await.by, EndedBy::Refused);
    driver.tell(PbxCommand::HangUp { leg: waiting }).await;
    lab.asterisk
        .ari("DELETE", &format!("/channels/{brief}"))
        .expect("ARI answers");
    until("the brief talker is gone", || {
        !lab.asterisk
            .channels()
            .expect("ARI answers")
            .contains(&brief.to_string())
    })
    .await;

    proxy.mend();
    let snapshot = driver.resynchronised().await;
    let phase = |id| snapshot.channels.get(&id).map(|channel| channel.phase);
    assert_eq!(phase(brief.0), None, "{snapshot:?}");
    assert_eq!(phase(waiting.0), Some(ChannelPhase::Up));
    assert_eq!(phase(routed.0), Some(ChannelPhase::Up));
    assert_eq!(phase(ringing.0), Some(ChannelPhase::Ringing));
    for agent in [talking_agent, idle_agent] {
        let channel = snapshot.channels[&agent.0];
        assert_eq!(
            (channel.phase, channel.bridge, channel.in_our_app),
            (ChannelPhase::Up, Some(agent), true)
        );
    }
    // No half of a leg, no recorder, no trunk is taken for a leg.
    assert_eq!(snapshot.channels.len(), 6, "{snapshot:?}");
    assert_eq!(driver.ended(brief).await.by, EndedBy::Vanished);

    // What was asked while the link was cut is done, and later ends carry their facts.
    let end = driver.ended(waiting).await;
    assert_eq!((end.by, end.answered), (EndedBy::Us, true));
    driver.agent_ready(ringing_agent).await;
    driver.connect(routed, ringing_agent).await;
    lab.phones.hang_up(2).expect("the phone hangs up");
    let end = driver.agent_ended(ringing_agent).await;
    assert_eq!((end.by, end.answered), (EndedBy::Network, true));
    for leg in [ringing, routed] {
        driver.tell(PbxCommand::HangUp { leg }).await;
        assert_eq!(driver.ended(leg).await.by, EndedBy::Us);
    }
    for leg in [talking_agent, idle_agent] {
        driver.tell(PbxCommand::HangUpAgent { leg }).await;
        assert_eq!(driver.agent_ended(leg).await.by, EndedBy::Us);
    }
    lab.settled(PATIENCE).expect("nothing is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_link_is_made_again_and_the_state_read_back_on_asterisk_22() {
    a_cut_link_is_made_again(Version::V22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_link_is_made_again_and_the_state_read_back_on_asterisk_16() {
    a_cut_link_is_made_again(Version::V16).await;
}

async fn a_new_driver_takes_over(version: Version) {
    let lab = lab(version);
    let mut first = Driver::start(config(&lab, &lab.asterisk.ari_url())).await;
    lab.phones.set(2, PhoneBehaviour::Rings);
    let agent = first.agent(1).await;
    let ringing_agent = first.call_agent(2).await;
    let talking = first.call(&Behaviour::Talks.number(1), Way::Dialplan).await;
    let ringing = first
        .call_for(&Behaviour::Rings.number(1), Way::Direct, Duration::from_secs(20))
        .await;
    first.answered(talking).await;
    first.connect(talking, agent).await;
    first
        .wait("AgentRinging", |event| {
            (*event == PbxEvent::AgentRinging { leg: ringing_agent }).then_some(())
        })
        .await;
    drop(first);

    let mut second = Driver {
        handle: paceline::pbx::ari::spawn(config(&lab, &lab.asterisk.ari_url())),
        said: Vec::new(),
    };
    let snapshot = second.resynchronised().await;
    assert_eq!(snapshot.channels.len(), 4, "{snapshot:?}");
    assert!(
        snapshot.channels.values().all(|channel| channel.in_our_app),
        "{snapshot:?}"
    );
    assert_eq!(snapshot.channels[&talking.0].bridge, Some(agent));
    assert_eq!(snapshot.channels[&talking.0].phase, ChannelPhase::Up);

    // Each end comes as what the leg is, though this driver placed none of them.
    lab.phones.set(2, PhoneBehaviour::Declines);
    second.tell(PbxCommand::HangUp { leg: ringing }).await;
    assert_eq!(second.ended(ringing).await.by, EndedBy::Us);
    let end = second.agent_ended(ringing_agent).await;
    assert_eq!((end.by, end.progressed), (EndedBy::RingTimeout, true), "{end:?}");
    second.tell(PbxCommand::HangUp { leg: talking }).await;
    assert!(second.ended(talking).await.answered);
    assert!(lab.phones.is_on_call(1));
    lab.phones.hang_up(1).expect("the phone hangs up");
    assert_eq!(second.agent_ended(agent).await.by, EndedBy::Network);
    lab.settled(PATIENCE).expect("nothing is left");
    until("no bridge is left", || {
        lab.asterisk.ari("GET", "/bridges").expect("ARI answers").body == "[]"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_driver_takes_over_what_a_dead_one_left_on_asterisk_22() {
    a_new_driver_takes_over(Version::V22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_driver_takes_over_what_a_dead_one_left_on_asterisk_16() {
    a_new_driver_takes_over(Version::V16).await;
}

async fn a_restarted_switch_is_found_empty(version: Version) {
    let mut bench = Bench::start(version).await;
    let agent = bench.driver.agent(1).await;
    let leg = bench
        .driver
        .call(&Behaviour::Talks.number(1), Way::Dialplan)
        .await;
    bench.driver.answered(leg).await;
    bench.lab.asterisk.kill();
    bench.driver.link_lost().await;
    bench.lab.asterisk.restart().expect("it starts again");
    assert!(bench.driver.resynchronised().await.channels.is_empty());
    assert_eq!(bench.driver.ended(leg).await.by, EndedBy::Vanished);
    assert_eq!(bench.driver.agent_ended(agent).await.by, EndedBy::Vanished);

    // It works as before, though the switch forgot our application's filter and subscriptions.
    for way in [Way::Direct, Way::Dialplan] {
        let busy = bench.driver.call(&Behaviour::NotFound.number(1), way).await;
        assert_eq!(bench.driver.ended(busy).await.q850, Some(1), "{way:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_and_restarted_switch_is_found_empty_and_used_again_on_asterisk_22() {
    a_restarted_switch_is_found_empty(Version::V22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_and_restarted_switch_is_found_empty_and_used_again_on_asterisk_16() {
    a_restarted_switch_is_found_empty(Version::V16).await;
}

async fn a_frozen_switch_is_noticed(version: Version) {
    let mut bench = Bench::start(version).await;
    let leg = bench.driver.call(&Behaviour::Talks.number(1), Way::Direct).await;
    bench.driver.answered(leg).await;
    bench.lab.asterisk.freeze().expect("it runs");
    let frozen_at = Instant::now();
    // These reach the switch's socket, and it will act on them when it wakes.
    let mut ghosts = Vec::new();
    for nth in 0..5 {
        ghosts.push(
            bench
                .driver
                .call(&Behaviour::Talks.number(nth), Way::Direct)
                .await,
        );
    }
    bench.driver.link_lost().await;
    let noticed_after = frozen_at.elapsed();
    assert!(noticed_after < Duration::from_secs(12), "{noticed_after:?}");
    let refused = bench.driver.call(&Behaviour::Talks.number(9), Way::Direct).await;
    assert_eq!(bench.driver.ended(refused).await.by, EndedBy::Refused);

    bench.lab.asterisk.thaw().expect("it runs");
    let snapshot = bench.driver.resynchronised().await;
    assert!(snapshot.channels.contains_key(&leg.0), "{snapshot:?}");
    // Each of them was either found, and so is still ours to end, or is ended by the driver when it appears.
    for ghost in ghosts {
        if snapshot.channels.contains_key(&ghost.0) {
            bench.driver.tell(PbxCommand::HangUp { leg: ghost }).await;
        }
        bench.driver.ended(ghost).await;
    }
    bench.driver.tell(PbxCommand::HangUp { leg }).await;
    assert!(bench.driver.ended(leg).await.answered);
    bench.lab.settled(PATIENCE).expect("nothing is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_switch_is_noticed_and_its_late_originates_are_undone_on_asterisk_22() {
    a_frozen_switch_is_noticed(Version::V22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_switch_is_noticed_and_its_late_originates_are_undone_on_asterisk_16() {
    a_frozen_switch_is_noticed(Version::V16).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_word_is_the_links_state_whether_it_stands_or_not() {
    let lab = lab(Version::V22);
    let nowhere = AriConfig {
        url: format!("http://127.0.0.1:{}", lab.asterisk.ports().dead),
        ..config(&lab, "")
    };
    let wrong_password = AriConfig {
        password: "wrong".to_owned().into(),
        ..config(&lab, &lab.asterisk.ari_url())
    };
    let no_url = config(&lab, "127.0.0.1");
    for bad in [nowhere, wrong_password, no_url] {
        let mut driver = Driver {
            handle: paceline::pbx::ari::spawn(bad),
            said: Vec::new(),
        };
        let first = driver.wait("a first word", |event| Some(event.clone())).await;
        assert_eq!(first, PbxEvent::LinkLost);
        // And commands are answered all the same.
        let agent = driver.call_agent(1).await;
        assert_eq!(driver.agent_ended(agent).await.by, EndedBy::Refused);
    }
    // A second client of the same name cuts off the first.
    let mut first = Driver::start(config(&lab, &lab.asterisk.ari_url())).await;
    let agent: AgentLegId = first.agent(1).await;
    let mut second = Driver::start(config(&lab, &format!("{}/ari/", lab.asterisk.ari_url()))).await;
    first.link_lost().await;
    second.tell(PbxCommand::HangUpAgent { leg: agent }).await;
    assert_eq!(second.agent_ended(agent).await.by, EndedBy::Us);
}

async fn the_switch_keeps_the_time_limit(version: Version) {
    let mut bench = Bench::start(version).await;
    let agent = bench.driver.agent(1).await;
    for way in [Way::Direct, Way::Dialplan] {
        let dial = way.dial(&Behaviour::Talks.number(1));
        let alone = bench
            .driver
            .dial(&dial, Duration::from_secs(3), Duration::from_secs(4))
            .await;
        bench.driver.answered(alone).await;
    }
    let dial = Way::Direct.dial(&Behaviour::Talks.number(2));
    let talking = bench
        .driver
        .dial(&dial, Duration::from_secs(3), Duration::from_secs(4))
        .await;
    bench.driver.answered(talking).await;
    bench.driver.connect(talking, agent).await;
    let Bench { lab, driver } = bench;
    drop(driver);
    until("only the agent is left, whose limit is longer", || {
        lab.asterisk.channels().expect("ARI answers") == [agent.to_string()]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_switch_ends_every_leg_in_time_with_the_driver_gone_on_asterisk_22() {
    the_switch_keeps_the_time_limit(Version::V22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_switch_ends_every_leg_in_time_with_the_driver_gone_on_asterisk_16() {
    the_switch_keeps_the_time_limit(Version::V16).await;
}
