//! Agents' phones that act by themselves: they transfer callees, put them on hold, and send no audio.

use crate::on_every_pbx;
use crate::rig::{Kind, PATIENCE, Pbx, Rig, until};
use paceline_core::ids::{AgentLegId, LegId};
use paceline_core::pbx::{ConnectFault, Departure, EndedBy, LegTrouble, PbxCommand, PbxEvent};
use paceline_lab::{Audio, Behaviour, Hold, PhoneBehaviour};

/// An agent's held leg, connected to a callee who talks until the call is hung up.
async fn talking(rig: &mut Rig) -> (LegId, AgentLegId) {
    let agent_leg = rig.driver.agent(1).await;
    let leg = rig.call(&Behaviour::Talks.number(1)).await;
    rig.driver.answered(leg).await;
    rig.driver.connect(leg, agent_leg).await;
    (leg, agent_leg)
}

/// The agent has left the callee: no callee can be connected to its leg, which is then hung up.
async fn agent_goes(rig: &mut Rig, leg: LegId, agent_leg: AgentLegId) {
    rig.driver.hears(PbxEvent::Transferred { leg }).await;
    rig.driver
        .hears(PbxEvent::AgentLeft {
            leg: agent_leg,
            how: Departure::Transferred,
        })
        .await;
    let next = rig.call(&Behaviour::Talks.number(2)).await;
    rig.driver.answered(next).await;
    assert_eq!(rig.driver.fault(next, agent_leg).await, ConnectFault::AgentGone);
    rig.driver.tell(PbxCommand::HangUp { leg: next }).await;
    rig.driver.ended(next).await;
    rig.driver.tell(PbxCommand::HangUpAgent { leg: agent_leg }).await;
    rig.driver.agent_ended(agent_leg).await;
    until("the agent's phone is free", || !rig.pbx.is_on_call(1)).await;
}

async fn a_transferred_callee_talks_on_with_the_colleague_until_it_hangs_up(kind: Kind) {
    let mut rig = Rig::start_with(kind, Audio::Tones).await;
    let (leg, agent_leg) = talking(&mut rig).await;
    until("the agent hears the callee", || {
        rig.pbx.phones().media_report().flows_heard == 1
    })
    .await;
    rig.pbx.phones().transfer(1, "agent-2").expect("it is on a call");
    agent_goes(&mut rig, leg, agent_leg).await;
    until("the colleague hears the callee", || {
        let heard = rig.pbx.phones().media_report();
        rig.pbx.is_on_call(2) && heard.flows_heard == 2
    })
    .await;
    assert!(rig.pbx.channels().contains(&leg.to_string()));
    // The next agent leg has a bridge of its own, and its callees do not meet the transferred callee.
    let again = rig.driver.agent(1).await;
    let next = rig.call(&Behaviour::TalksBriefly.number(3)).await;
    rig.driver.answered(next).await;
    rig.driver.connect(next, again).await;
    rig.driver.ended(next).await;
    rig.pbx.hang_up(leg.0);
    rig.driver.ended(leg).await;
    until("the colleague does not stay alone", || !rig.pbx.is_on_call(2)).await;
    rig.driver.tell(PbxCommand::HangUpAgent { leg: again }).await;
    rig.driver.agent_ended(again).await;
    rig.pbx.settled().await;
}

async fn an_agent_asks_a_colleague_and_then_transfers_the_callee(kind: Kind) {
    let mut rig = Rig::start_with(kind, Audio::Tones).await;
    let (leg, agent_leg) = talking(&mut rig).await;
    rig.pbx.phones().dial(1, "agent-2").expect("the PBX is there");
    until("the colleague answers", || rig.pbx.phones().has_own_call(1)).await;
    rig.pbx
        .phones()
        .transfer_to_own_call(1)
        .expect("both calls are up");
    agent_goes(&mut rig, leg, agent_leg).await;
    until("the colleague has the callee", || rig.pbx.is_on_call(2)).await;
    // After the colleague has hung up, the callee is alone. The engine decides to end the call.
    rig.pbx.phone_hangs_up(2);
    rig.driver.hears(PbxEvent::CalleeAlone { leg }).await;
    rig.driver.tell(PbxCommand::HangUp { leg }).await;
    assert_eq!(rig.driver.ended(leg).await.by, EndedBy::Us);
    rig.pbx.settled().await;
}

async fn a_callee_whose_transfer_the_colleague_refuses_is_reported_as_alone(kind: Kind) {
    let mut rig = Rig::start(kind).await;
    rig.pbx.phone(2, PhoneBehaviour::Busy);
    let (leg, agent_leg) = talking(&mut rig).await;
    rig.pbx.phones().transfer(1, "agent-2").expect("it is on a call");
    agent_goes(&mut rig, leg, agent_leg).await;
    rig.driver.hears(PbxEvent::CalleeAlone { leg }).await;
    rig.driver.tell(PbxCommand::HangUp { leg }).await;
    rig.driver.ended(leg).await;
    rig.pbx.settled().await;
}

async fn a_transferred_callee_is_known_as_such_after_a_lost_link(kind: Kind) {
    let pbx = Pbx::start(kind, Audio::None);
    let (link, driver) = pbx.driver_over_a_breakable_link().await;
    let mut rig = Rig { pbx, driver };
    let (leg, agent_leg) = talking(&mut rig).await;
    rig.pbx.phones().transfer(1, "agent-2").expect("it is on a call");
    until("the colleague has the callee", || rig.pbx.is_on_call(2)).await;
    link.cut();
    rig.driver.hears(PbxEvent::LinkLost).await;
    link.mend();
    let snapshot = rig.driver.resynchronised().await;
    assert!(!snapshot.holds(agent_leg), "{snapshot:?}");
    let callee = snapshot.channels[&leg.0];
    assert!(callee.with_others, "{snapshot:?}");
    rig.driver.tell(PbxCommand::HangUpAgent { leg: agent_leg }).await;
    rig.driver.agent_ended(agent_leg).await;
    until("only the agent's phone is free", || !rig.pbx.is_on_call(1)).await;
    assert!(rig.pbx.channels().contains(&leg.to_string()));
    rig.pbx.phone_hangs_up(2);
    rig.driver.hears(PbxEvent::CalleeAlone { leg }).await;
    rig.driver.tell(PbxCommand::HangUp { leg }).await;
    rig.driver.ended(leg).await;
    rig.pbx.settled().await;
}

async fn the_start_and_the_end_of_a_hold_are_reported(kind: Kind) {
    let mut rig = Rig::start_with(kind, Audio::Tones).await;
    let agent_leg = rig.driver.agent(1).await;
    let trouble_event = |trouble| PbxEvent::AgentTrouble {
        leg: agent_leg,
        trouble,
    };
    let hold = |rig: &Rig, hold| rig.pbx.phones().hold(1, hold).expect("it is on a call");
    for way in [Hold::SendOnly, Hold::Inactive, Hold::NoAddress] {
        hold(&rig, Some(way));
        rig.driver.hears(trouble_event(Some(LegTrouble::OnHold))).await;
        hold(&rig, None);
        rig.driver.hears(trouble_event(None)).await;
    }
    let leg = rig.call(&Behaviour::Talks.number(1)).await;
    rig.driver.answered(leg).await;
    rig.driver.connect(leg, agent_leg).await;
    hold(&rig, Some(Hold::SendOnly));
    rig.driver.hears(trouble_event(Some(LegTrouble::OnHold))).await;
    // A driver that starts after a crash sees the hold too.
    rig = rig.restarted();
    let snapshot = rig.driver.resynchronised().await;
    assert_eq!(
        snapshot.channels[&agent_leg.0].trouble,
        Some(LegTrouble::OnHold),
        "{snapshot:?}"
    );
    hold(&rig, None);
    rig.driver.hears(trouble_event(None)).await;
    rig.driver.tell(PbxCommand::HangUp { leg }).await;
    rig.driver.ended(leg).await;
    rig.driver.tell(PbxCommand::HangUpAgent { leg: agent_leg }).await;
    rig.driver.agent_ended(agent_leg).await;
    rig.pbx.settled().await;
}

async fn a_hold_that_begins_or_ends_during_a_gap_is_found(kind: Kind) {
    let pbx = Pbx::start(kind, Audio::Tones);
    let (link, driver) = pbx.driver_over_a_breakable_link().await;
    let mut rig = Rig { pbx, driver };
    let agent_leg = rig.driver.agent(1).await;
    // First the link is cut, later the driver is replaced.
    for hold in [Some(Hold::SendOnly), None, Some(Hold::Inactive), None] {
        link.cut();
        rig.driver.hears(PbxEvent::LinkLost).await;
        rig.pbx.phones().hold(1, hold).expect("it is on a call");
        link.mend();
        let trouble = rig.driver.resynchronised().await.channels[&agent_leg.0].trouble;
        assert_eq!(trouble, hold.map(|_| LegTrouble::OnHold), "{hold:?}");
    }
    for hold in [Some(Hold::NoAddress), None] {
        let Rig { pbx, driver } = rig;
        drop(driver);
        pbx.phones().hold(1, hold).expect("it is on a call");
        let driver = pbx.spawn(pbx.port());
        rig = Rig { pbx, driver };
        let trouble = rig.driver.resynchronised().await.channels[&agent_leg.0].trouble;
        assert_eq!(trouble, hold.map(|_| LegTrouble::OnHold), "{hold:?}");
    }
    rig.driver.tell(PbxCommand::HangUpAgent { leg: agent_leg }).await;
    rig.driver.agent_ended(agent_leg).await;
    rig.pbx.settled().await;
}

async fn an_agent_whose_callee_says_nothing_for_long_is_sent_silence(kind: Kind) {
    // Neither side sends audio.
    let mut rig = Rig::start(kind).await;
    let (leg, agent_leg) = talking(&mut rig).await;
    // Phones hang up after 30 s without a packet.
    let deadline = std::time::Instant::now() + PATIENCE + PATIENCE / 2;
    while rig.pbx.phones().media_report().packets_in < 10 {
        assert!(
            std::time::Instant::now() < deadline,
            "the phone hears nothing at all"
        );
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    rig.driver.tell(PbxCommand::HangUp { leg }).await;
    rig.driver.ended(leg).await;
    rig.driver.tell(PbxCommand::HangUpAgent { leg: agent_leg }).await;
    rig.driver.agent_ended(agent_leg).await;
    rig.pbx.settled().await;
}

on_every_pbx! {
    ; over a socket:
    ; over the Event Socket:
    ; with routes:
    ; for real:
    a_transferred_callee_talks_on_with_the_colleague_until_it_hangs_up
    an_agent_asks_a_colleague_and_then_transfers_the_callee
    a_callee_whose_transfer_the_colleague_refuses_is_reported_as_alone
    a_transferred_callee_is_known_as_such_after_a_lost_link
    the_start_and_the_end_of_a_hold_are_reported
    a_hold_that_begins_or_ends_during_a_gap_is_found
    an_agent_whose_callee_says_nothing_for_long_is_sent_silence
}
