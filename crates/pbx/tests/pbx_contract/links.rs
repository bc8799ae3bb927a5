//! Every way to lose the link, and the state after the resynchronisation.

use crate::on_every_pbx;
use crate::rig::{BreakableLink, Kind, Pbx, Rig, until};
use paceline_core::pbx::{ChannelPhase, ConnectFault, EndedBy, PbxCommand, PbxEvent};
use paceline_lab::{Audio, Behaviour, PhoneBehaviour};
use std::time::{Duration, Instant};

async fn a_cut_link_is_made_again_and_the_state_read_back(kind: Kind) {
    let pbx = Pbx::start(kind, Audio::None);
    let (link, driver) = pbx.driver_over_a_breakable_link().await;
    pbx.phone(
        2,
        PhoneBehaviour::Answers {
            after: Duration::from_secs(3),
        },
    );
    let mut rig = Rig { pbx, driver };
    let talking_agent = rig.driver.agent(1).await;
    let idle_agent = rig.driver.agent(3).await;
    let ringing_agent = rig.driver.call_agent(2).await;
    let brief = rig.call(&Behaviour::Talks.number(4)).await;
    let waiting = rig.call(&Behaviour::Talks.number(1)).await;
    let later = rig.call_routed(&Behaviour::Talks.number(2)).await;
    let ringing = rig
        .call_for(&Behaviour::Rings.number(1), Duration::from_secs(20))
        .await;
    for leg in [brief, waiting, later] {
        rig.driver.answered(leg).await;
    }
    rig.driver.connect(brief, talking_agent).await;
    rig.driver.rings(ringing).await;

    link.cut();
    rig.driver.hears(PbxEvent::LinkLost).await;
    // While the link is cut, the driver refuses commands that it can refuse, and one call ends.
    assert_eq!(rig.driver.fault(waiting, idle_agent).await, ConnectFault::Refused);
    let refused = rig.call(&Behaviour::Talks.number(3)).await;
    assert_eq!(rig.driver.ended(refused).await.by, EndedBy::Refused);
    rig.driver.tell(PbxCommand::HangUp { leg: waiting }).await;
    rig.pbx.hang_up(brief.0);
    until("the brief talker is gone", || {
        !rig.pbx.channels().contains(&brief.to_string())
    })
    .await;

    link.mend();
    let snapshot = rig.driver.resynchronised().await;
    let phase = |id| snapshot.channels.get(&id).map(|channel| channel.phase);
    assert_eq!(phase(brief.0), None, "{snapshot:?}");
    assert_eq!(phase(waiting.0), Some(ChannelPhase::Up));
    assert_eq!(phase(later.0), Some(ChannelPhase::Up));
    assert!(!snapshot.channels[&later.0].with_others, "{snapshot:?}");
    assert_eq!(phase(ringing.0), Some(ChannelPhase::Ringing));
    for agent in [talking_agent, idle_agent] {
        let channel = snapshot.channels[&agent.0];
        assert_eq!(
            (channel.phase, channel.bridge, channel.in_our_app),
            (ChannelPhase::Up, Some(agent), true)
        );
    }
    // The other half of a leg, a recorder or a trunk channel does not count as a leg.
    let ours = snapshot.channels.values().filter(|channel| channel.in_our_app);
    assert_eq!(ours.count(), 6, "{snapshot:?}");
    assert_eq!(rig.driver.ended(brief).await.by, EndedBy::Vanished);

    // The driver carries out the command that it got while the link was cut. Later ends say who ended the leg, and
    // whether it was answered.
    let end = rig.driver.ended(waiting).await;
    assert_eq!((end.by, end.answered), (EndedBy::Us, true));
    rig.driver
        .hears(PbxEvent::AgentReady { leg: ringing_agent })
        .await;
    rig.driver.connect(later, ringing_agent).await;
    rig.pbx.phone_hangs_up(2);
    let end = rig.driver.agent_ended(ringing_agent).await;
    assert_eq!((end.by, end.answered), (EndedBy::Network, true));
    for leg in [ringing, later] {
        rig.driver.tell(PbxCommand::HangUp { leg }).await;
        assert_eq!(rig.driver.ended(leg).await.by, EndedBy::Us);
    }
    for leg in [talking_agent, idle_agent] {
        rig.driver.tell(PbxCommand::HangUpAgent { leg }).await;
        assert_eq!(rig.driver.agent_ended(leg).await.by, EndedBy::Us);
    }
    rig.pbx.settled().await;
}

async fn a_new_driver_takes_over_what_a_dead_one_left(kind: Kind) {
    let mut rig = Rig::start(kind).await;
    rig.pbx.phone(2, PhoneBehaviour::Rings);
    let agent = rig.driver.agent(1).await;
    let ringing_agent = rig.driver.call_agent(2).await;
    let talking = rig.call_routed(&Behaviour::Talks.number(1)).await;
    let ringing = rig
        .call_for(&Behaviour::Rings.number(1), Duration::from_secs(20))
        .await;
    rig.driver.answered(talking).await;
    rig.driver.connect(talking, agent).await;
    rig.driver.rings(ringing).await;
    rig.driver
        .hears(PbxEvent::AgentRinging { leg: ringing_agent })
        .await;

    rig.driver = rig.pbx.spawn(rig.pbx.port());
    let snapshot = rig.driver.resynchronised().await;
    let ours = snapshot.channels.values().filter(|channel| channel.in_our_app);
    assert_eq!(ours.count(), 4, "{snapshot:?}");
    assert_eq!(snapshot.channels[&talking.0].bridge, Some(agent));
    assert_eq!(snapshot.channels[&talking.0].phase, ChannelPhase::Up);

    // Each end is reported for the right kind of leg, though this driver placed none of them.
    rig.pbx.phone(2, PhoneBehaviour::Declines);
    rig.driver.tell(PbxCommand::HangUp { leg: ringing }).await;
    assert_eq!(rig.driver.ended(ringing).await.by, EndedBy::Us);
    let end = rig.driver.agent_ended(ringing_agent).await;
    assert_eq!((end.by, end.progressed), (EndedBy::RingTimeout, true), "{end:?}");
    rig.driver.tell(PbxCommand::HangUp { leg: talking }).await;
    assert!(rig.driver.ended(talking).await.answered);
    // The agent can take the next callee.
    assert!(rig.pbx.is_on_call(1));
    let next = rig.call(&Behaviour::Talks.number(2)).await;
    rig.driver.answered(next).await;
    rig.driver.connect(next, agent).await;
    rig.driver.tell(PbxCommand::HangUp { leg: next }).await;
    rig.driver.ended(next).await;
    rig.pbx.phone_hangs_up(1);
    assert_eq!(rig.driver.agent_ended(agent).await.by, EndedBy::Network);
    rig.pbx.settled().await;
}

async fn a_killed_and_restarted_pbx_is_found_empty_and_used_again(kind: Kind) {
    let mut rig = Rig::start(kind).await;
    let agent = rig.driver.agent(1).await;
    let leg = rig.call(&Behaviour::Talks.number(1)).await;
    rig.driver.answered(leg).await;
    rig.pbx.kill();
    rig.driver.hears(PbxEvent::LinkLost).await;
    rig.pbx.restart();
    assert!(rig.driver.resynchronised().await.channels.is_empty());
    assert_eq!(rig.driver.ended(leg).await.by, EndedBy::Vanished);
    assert_eq!(rig.driver.agent_ended(agent).await.by, EndedBy::Vanished);

    let number = Behaviour::NotFound.number(1);
    for wrong in [rig.call(&number).await, rig.call_routed(&number).await] {
        assert_eq!(rig.driver.ended(wrong).await.q850, Some(1));
    }
    let agent = rig.driver.agent(1).await;
    rig.driver.tell(PbxCommand::HangUpAgent { leg: agent }).await;
    rig.driver.agent_ended(agent).await;
    rig.pbx.settled().await;
}

async fn a_frozen_pbx_is_noticed_and_its_late_originates_are_undone(kind: Kind) {
    let mut rig = Rig::start(kind).await;
    let leg = rig.call(&Behaviour::Talks.number(1)).await;
    rig.driver.answered(leg).await;
    rig.pbx.freeze();
    let frozen_at = Instant::now();
    // The PBX's socket receives these originates, and the PBX carries them out when it continues.
    let mut ghosts = Vec::new();
    for nth in 0..5 {
        ghosts.push(rig.call(&Behaviour::Talks.number(nth)).await);
    }
    rig.driver.hears(PbxEvent::LinkLost).await;
    let noticed_after = frozen_at.elapsed();
    assert!(noticed_after < Duration::from_secs(13), "{noticed_after:?}");
    let refused = rig.call(&Behaviour::Talks.number(9)).await;
    assert_eq!(rig.driver.ended(refused).await.by, EndedBy::Refused);

    rig.pbx.thaw();
    let snapshot = rig.driver.resynchronised().await;
    assert!(snapshot.channels.contains_key(&leg.0), "{snapshot:?}");
    // Each of these legs is in the snapshot, so that we can end it, or the driver ends it when it appears.
    for ghost in ghosts {
        if snapshot.channels.contains_key(&ghost.0) {
            rig.driver.tell(PbxCommand::HangUp { leg: ghost }).await;
        }
        rig.driver.ended(ghost).await;
    }
    rig.driver.tell(PbxCommand::HangUp { leg }).await;
    assert!(rig.driver.ended(leg).await.answered);
    rig.pbx.settled().await;
}

async fn the_first_event_without_a_link_is_link_lost(kind: Kind) {
    let pbx = Pbx::start(kind, Audio::None);
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port")
        .port();
    for mut driver in [pbx.spawn(nowhere), pbx.spawn_with(pbx.port(), Some("wrong"))] {
        let first = driver.wait("a first word", |event| Some(event.clone())).await;
        assert_eq!(first, PbxEvent::LinkLost);
        // The driver still answers commands.
        let agent = driver.call_agent(1).await;
        assert_eq!(driver.agent_ended(agent).await.by, EndedBy::Refused);
    }
}

/// A copy or a restored backup of a store has the same marks as the Paceline that still runs.
async fn a_copy_of_the_installation_takes_nothing_from_the_first(kind: Kind) {
    let mut rig = Rig::start(kind).await;
    let agent = rig.driver.agent(1).await;
    let talking = rig.call(&Behaviour::Talks.number(1)).await;
    rig.driver.answered(talking).await;
    rig.driver.connect(talking, agent).await;
    let mut copy = rig.pbx.spawn(rig.pbx.port());
    copy.hears(PbxEvent::LinkLost).await;
    // The driver still answers commands.
    let refused = copy.call_agent(2).await;
    assert_eq!(copy.agent_ended(refused).await.by, EndedBy::Refused);
    // The first one works as before.
    rig.driver.tell(PbxCommand::HangUp { leg: talking }).await;
    rig.driver.ended(talking).await;
    assert!(!rig.driver.said.contains(&PbxEvent::LinkLost), "it is cut off");
    // After the first one has ended, the copy takes over.
    let Rig { pbx, driver } = rig;
    drop(driver);
    let snapshot = copy.resynchronised().await;
    assert!(snapshot.holds(agent), "{snapshot:?}");
    copy.tell(PbxCommand::HangUpAgent { leg: agent }).await;
    assert_eq!(copy.agent_ended(agent).await.by, EndedBy::Us);
    pbx.settled().await;
}

async fn the_pbx_ends_every_leg_in_time_with_the_driver_gone(kind: Kind) {
    let mut rig = Rig::start(kind).await;
    let agent = rig.driver.agent(1).await;
    let mut legs = Vec::new();
    for (nth, dial) in (1..).zip([Pbx::dial, Pbx::dial, Pbx::dial_routed]) {
        let dial = dial(&rig.pbx, &Behaviour::Talks.number(nth));
        let leg = rig
            .driver
            .dial(&dial, Duration::from_secs(3), Duration::from_secs(4))
            .await;
        rig.driver.answered(leg).await;
        legs.push(leg);
    }
    rig.driver.connect(legs[1], agent).await;
    let Rig { pbx, driver } = rig;
    drop(driver);
    until("only the agent is left, whose limit is longer", || {
        pbx.channels() == [agent.to_string()]
    })
    .await;
}

/// A callee may answer while the link is held up or cut and no event reaches us. The waiting time starts at the answer.
async fn a_late_answer_is_reported_with_its_age(kind: Kind) {
    let pbx = Pbx::start(kind, Audio::None);
    let (link, driver) = pbx.driver_over_a_breakable_link().await;
    let mut rig = Rig { pbx, driver };
    let BreakableLink::Proxy(proxy) = &link else {
        panic!("there is a socket")
    };
    // If its event stream is gone, an Asterisk hangs up a callee who answers.
    let outlives_the_link = matches!(kind, Kind::FreeSwitch | Kind::Double);
    for cut in [false, true].into_iter().filter(|cut| !cut || outlives_the_link) {
        let leg = rig.call(&Behaviour::RingsThenTalks.number(u32::from(cut))).await;
        rig.driver.rings(leg).await;
        let rang_at = Instant::now();
        if cut {
            proxy.cut()
        } else {
            proxy.hold()
        };
        // The callee answers after one second of ringing.
        tokio::time::sleep(Duration::from_secs(4)).await;
        proxy.mend();
        let (least, most) = (Duration::from_millis(2_500), rang_at.elapsed());
        let age = if cut {
            let snapshot = rig.driver.resynchronised().await;
            snapshot.channels[&leg.0].up_for.expect("it is up")
        } else {
            rig.driver.age_of(PbxEvent::Answered { leg }).await
        };
        assert!(age >= least && age <= most + Duration::from_secs(3), "{age:?}");
        rig.driver.tell(PbxCommand::HangUp { leg }).await;
        rig.driver.ended(leg).await;
    }
    // An event without a delay is reported as new.
    let leg = rig.call(&Behaviour::AnswersAtOnce.number(7)).await;
    let age = rig.driver.age_of(PbxEvent::Answered { leg }).await;
    assert!(age < Duration::from_secs(1), "{age:?}");
    rig.driver.tell(PbxCommand::HangUp { leg }).await;
    rig.pbx.settled().await;
}

/// If Paceline is dead, the PBX ends every callee who waits in silence: after the answer, or after the agent has left.
async fn the_pbx_ends_every_callee_who_waits_in_silence(kind: Kind) {
    let mut rig = Rig::start(kind).await;
    let agent = rig.driver.agent(1).await;
    let talking = rig.call(&Behaviour::Talks.number(1)).await;
    rig.driver.answered(talking).await;
    rig.driver.connect(talking, agent).await;
    let waiting = rig.call(&Behaviour::Talks.number(2)).await;
    rig.driver.answered(waiting).await;
    let routed = rig.call_routed(&Behaviour::Talks.number(3)).await;
    rig.driver.answered(routed).await;
    let ringing = rig.call(&Behaviour::RingsThenTalks.number(4)).await;
    rig.driver.rings(ringing).await;
    let Rig { pbx, driver } = rig;
    drop(driver);

    let untaken = [waiting.0, routed.0, ringing.0].map(|leg| leg.to_string());
    let dead_since = Instant::now();
    until("who is not taken is ended", || {
        let channels = pbx.channels();
        !untaken.iter().any(|leg| channels.contains(leg))
    })
    .await;
    assert!(dead_since.elapsed() < Duration::from_secs(16));
    let mut left = [talking.to_string(), agent.to_string()];
    let mut channels = pbx.channels();
    left.sort_unstable();
    channels.sort_unstable();
    assert_eq!(channels, left, "a conversation goes on, and agents are held");

    pbx.phone_hangs_up(1);
    let left_since = Instant::now();
    until("the callee whom the agent left is ended", || {
        pbx.channels().is_empty()
    })
    .await;
    assert!(left_since.elapsed() < Duration::from_secs(16));
}

/// A test machine with a copy of the configuration must not touch the legs of the first installation.
async fn another_installation_takes_nothing_from_the_first(kind: Kind) {
    let mut rig = Rig::start(kind).await;
    let agent = rig.driver.agent(1).await;
    let talking = rig.call(&Behaviour::Talks.number(1)).await;
    let ringing = rig
        .call_for(&Behaviour::Rings.number(1), Duration::from_secs(60))
        .await;
    rig.driver.answered(talking).await;
    rig.driver.connect(talking, agent).await;
    rig.driver.rings(ringing).await;
    // While the first is there, the second gets no link.
    let mut stranger = rig.pbx.stranger();
    stranger.hears(PbxEvent::LinkLost).await;
    // Once the first is gone, the second works. It does not touch legs that it does not own.
    let port = rig.pbx.port();
    let Rig { pbx, driver } = rig;
    assert!(!driver.said.contains(&PbxEvent::LinkLost), "the first is cut off");
    drop(driver);
    let snapshot = stranger.resynchronised().await;
    let ours = snapshot.channels.values().filter(|channel| channel.in_our_app);
    assert_eq!(ours.count(), 0, "{snapshot:?}");
    assert!(pbx.is_on_call(1));
    for leg in [talking.0, agent.0] {
        assert!(pbx.channels().contains(&leg.to_string()));
    }
    // Once the second is gone, the first finds its legs again.
    drop(stranger);
    let mut driver = pbx.spawn(port);
    let snapshot = driver.resynchronised().await;
    assert_eq!(snapshot.channels[&talking.0].bridge, Some(agent));
    let ours = snapshot.channels.values().filter(|channel| channel.in_our_app);
    assert_eq!(ours.count(), 3, "{snapshot:?}");
    for leg in [talking, ringing] {
        driver.tell(PbxCommand::HangUp { leg }).await;
        driver.ended(leg).await;
    }
    driver.tell(PbxCommand::HangUpAgent { leg: agent }).await;
    driver.agent_ended(agent).await;
    pbx.settled().await;
}

on_every_pbx! {
    a_cut_link_is_made_again_and_the_state_read_back
    a_new_driver_takes_over_what_a_dead_one_left
    a_killed_and_restarted_pbx_is_found_empty_and_used_again
    the_pbx_ends_every_leg_in_time_with_the_driver_gone
    ; over a socket:
    the_first_event_without_a_link_is_link_lost
    another_installation_takes_nothing_from_the_first
    a_copy_of_the_installation_takes_nothing_from_the_first
    a_late_answer_is_reported_with_its_age
    ; over the Event Socket:
    the_pbx_ends_every_callee_who_waits_in_silence
    ; with routes:
    ; for real:
    a_frozen_pbx_is_noticed_and_its_late_originates_are_undone
}
