//! Every way in which the other side leaves the callee of a conversation, on a real FreeSWITCH. The driver reports
//! every callee who is left alone.

use super::{freeswitch, talking};
use crate::rig::{Kind, Rig, until};
use paceline_core::ids::{AgentLegId, LegId};
use paceline_core::pbx::{Departure, Destination, EndedBy, PbxCommand, PbxEvent};
use paceline_lab::{Behaviour, FreeSwitch, Hold};
use std::time::Duration;
use uuid::Uuid;

const COLLEAGUE: u32 = 2;
const SECOND: u32 = 3;

async fn operator(rig: &Rig, commands: &[String]) {
    for reply in freeswitch(rig).apis(commands).expect("it answers") {
        assert!(reply.starts_with("+OK"), "{commands:?}: {reply}");
    }
}

/// A colleague's phone, called by an operator.
async fn called_colleague(rig: &Rig, phone: u32) -> Uuid {
    let stranger = Uuid::new_v4();
    let call = format!("originate {{origination_uuid={stranger}}}user/agent-{phone} &park()");
    operator(rig, &[call]).await;
    stranger
}

/// Hangs up both legs and clears the events for the next round.
async fn all_end(rig: &mut Rig, leg: LegId, agent: AgentLegId) {
    rig.driver.tell(PbxCommand::HangUp { leg }).await;
    rig.driver.ended(leg).await;
    rig.driver.tell(PbxCommand::HangUpAgent { leg: agent }).await;
    rig.pbx.settled().await;
    rig.driver.said.clear();
}

fn variable(rig: &Rig, leg: Uuid, name: &str) -> String {
    let asked = format!("uuid_getvar {leg} {name}");
    freeswitch(rig).api(&asked).expect("it answers")
}

/// The present state of a leg's channel on the PBX.
fn doing(rig: &Rig, leg: Uuid) -> String {
    let asked = format!("eval uuid:{leg} ${{channel-state}}");
    freeswitch(rig).api(&asked).expect("it answers")
}

/// Waits until the colleague talks with the callee, hangs up the colleague, and waits for the event.
async fn is_left_by(rig: &mut Rig, leg: LegId, phone: u32) {
    until("the colleague's phone is on a call", || rig.pbx.is_on_call(phone)).await;
    let with = |rig: &Rig| Uuid::try_parse(variable(rig, leg.0, "bridge_to").trim()).is_ok();
    until("the two talk", || with(rig)).await;
    let early = rig.driver.said.contains(&PbxEvent::CalleeAlone { leg });
    assert!(!early, "{:?}", rig.driver.said);
    rig.pbx.phone_hangs_up(phone);
    rig.driver.hears(PbxEvent::CalleeAlone { leg }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_picked_up_from_its_agent_is_alone_once_the_colleague_hangs_up() {
    if FreeSwitch::program_or_skip("pickup in a conversation").is_none() {
        return;
    }
    let mut rig = Rig::start(Kind::FreeSwitch).await;
    let (leg, agent) = talking(&mut rig).await;
    let pick_up = |rig: &Rig, phone| {
        let phones = rig.pbx.phones();
        phones.dial(phone, &format!("*8{leg}")).expect("the PBX is there");
    };
    pick_up(&rig, COLLEAGUE);
    rig.driver.hears(PbxEvent::Transferred { leg }).await;
    let how = Departure::PickedUp;
    rig.driver.hears(PbxEvent::AgentLeft { leg: agent, how }).await;
    rig.driver.agent_ended(agent).await;
    until("the colleague has the callee", || rig.pbx.is_on_call(COLLEAGUE)).await;
    // The next colleague picks the callee up from the first.
    pick_up(&rig, SECOND);
    until("the first colleague is let go", || !rig.pbx.is_on_call(COLLEAGUE)).await;
    is_left_by(&mut rig, leg, SECOND).await;
    // If we do not hang up the callee then, a colleague can pick the callee up again.
    pick_up(&rig, COLLEAGUE);
    rig.driver.hears(PbxEvent::Transferred { leg }).await;
    is_left_by(&mut rig, leg, COLLEAGUE).await;
    all_end(&mut rig, leg, agent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_picked_up_from_its_callee_leaves_neither_alone() {
    if FreeSwitch::program_or_skip("pickup of an agent").is_none() {
        return;
    }
    let mut rig = Rig::start(Kind::FreeSwitch).await;
    let (leg, agent) = talking(&mut rig).await;
    let phones = rig.pbx.phones();
    phones
        .dial(COLLEAGUE, &format!("*8{agent}"))
        .expect("the PBX is there");
    // The PBX hangs up the callee.
    assert_eq!(rig.driver.ended(leg).await.by, EndedBy::Network);
    assert_eq!(rig.driver.agent_ended(agent).await.by, EndedBy::TakenAway);
    rig.pbx.phone_hangs_up(COLLEAGUE);
    until("the agent's phone is free", || !rig.pbx.is_on_call(1)).await;
    rig.pbx.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_moved_by_an_operator_is_alone_once_the_other_side_hangs_up() {
    if FreeSwitch::program_or_skip("callees that operators move").is_none() {
        return;
    }
    let mut rig = Rig::start(Kind::FreeSwitch).await;
    for by in [
        "uuid_bridge THEM US",
        "uuid_bridge US THEM",
        "uuid_transfer US agent-2 XML default",
    ] {
        let (leg, agent) = talking(&mut rig).await;
        let mut command = by.replace("US", &leg.to_string());
        if by.contains("THEM") {
            let them = called_colleague(&rig, COLLEAGUE).await;
            command = command.replace("THEM", &them.to_string());
        }
        operator(&rig, &[command]).await;
        rig.driver.hears(PbxEvent::Transferred { leg }).await;
        is_left_by(&mut rig, leg, COLLEAGUE).await;
        // The same with the next colleague who takes the callee.
        let them = called_colleague(&rig, SECOND).await;
        operator(&rig, &[format!("uuid_bridge {them} {leg}")]).await;
        rig.driver.hears(PbxEvent::Transferred { leg }).await;
        is_left_by(&mut rig, leg, SECOND).await;
        all_end(&mut rig, leg, agent).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transferred_callee_found_after_a_crash_is_alone_once_the_colleague_hangs_up() {
    if FreeSwitch::program_or_skip("transferred callees after a crash").is_none() {
        return;
    }
    let mut rig = Rig::start(Kind::FreeSwitch).await;
    let (leg, agent) = talking(&mut rig).await;
    let Rig { pbx, driver } = rig;
    drop(driver);
    let (link, driver) = pbx.driver_over_a_breakable_link().await;
    let mut rig = Rig { pbx, driver };
    link.cut();
    rig.driver.hears(PbxEvent::LinkLost).await;
    let phones = rig.pbx.phones();
    phones
        .dial(COLLEAGUE, &format!("*8{leg}"))
        .expect("the PBX is there");
    until("the agent's phone is free", || !rig.pbx.is_on_call(1)).await;
    link.mend();
    let snapshot = rig.driver.resynchronised().await;
    assert!(snapshot.channels[&leg.0].with_others, "{snapshot:?}");
    is_left_by(&mut rig, leg, COLLEAGUE).await;
    all_end(&mut rig, leg, agent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_whose_transfer_target_is_gone_before_the_join_is_alone() {
    if FreeSwitch::program_or_skip("callees whom nobody has after all").is_none() {
        return;
    }
    let mut rig = Rig::start(Kind::FreeSwitch).await;
    for by in ["uuid_bridge THEM US", "uuid_bridge US THEM"] {
        let (leg, agent) = talking(&mut rig).await;
        let them = called_colleague(&rig, COLLEAGUE).await.to_string();
        let bridge = by.replace("US", &leg.to_string()).replace("THEM", &them);
        operator(&rig, &[bridge, format!("uuid_kill {them}")]).await;
        rig.driver.hears(PbxEvent::CalleeAlone { leg }).await;
        all_end(&mut rig, leg, agent).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_callee_is_gone_before_the_two_are_joined_is_parked_again() {
    if FreeSwitch::program_or_skip("agents whose callees are gone at once").is_none() {
        return;
    }
    let mut rig = Rig::start(Kind::FreeSwitch).await;
    let agent = rig.driver.agent(1).await;
    for nth in 0..5 {
        let leg = rig.call(&Behaviour::Talks.number(nth)).await;
        rig.driver.answered(leg).await;
        let agent_leg = agent;
        rig.driver
            .tell(PbxCommand::Connect {
                leg,
                to: Destination::HeldLeg(agent_leg),
            })
            .await;
        rig.driver.tell(PbxCommand::HangUp { leg }).await;
        rig.driver.ended(leg).await;
        let parked = || matches!(doing(&rig, agent.0).as_str(), "CS_PARK" | "CS_EXECUTE");
        until("the agent's leg is parked", parked).await;
    }
    let leg = rig.call(&Behaviour::Talks.number(9)).await;
    rig.driver.answered(leg).await;
    rig.driver.connect(leg, agent).await;
    all_end(&mut rig, leg, agent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_whose_agents_leg_ends_gets_another_agent_or_ends() {
    if FreeSwitch::program_or_skip("agents' legs that end").is_none() {
        return;
    }
    let mut rig = Rig::start(Kind::FreeSwitch).await;
    let (leg, agent) = talking(&mut rig).await;
    rig.pbx.hang_up(agent.0);
    rig.driver.agent_ended(agent).await;
    let other = rig.driver.agent(COLLEAGUE).await;
    rig.driver.connect(leg, other).await;
    all_end(&mut rig, leg, other).await;

    // If a phone has put a callee on hold and then leaves, the PBX ends the callee.
    let (leg, agent) = talking(&mut rig).await;
    let phones = rig.pbx.phones();
    phones.hold(1, Some(Hold::SendOnly)).expect("it is on a call");
    let on_hold = || variable(&rig, agent.0, "switch_r_sdp").contains("sendonly");
    until("the PBX knows of the hold", on_hold).await;
    rig.pbx.phone_hangs_up(1);
    rig.driver.agent_ended(agent).await;
    assert_eq!(rig.driver.ended(leg).await.by, EndedBy::Network);
    rig.pbx.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_whose_agent_hangs_up_while_the_two_are_joined_goes_to_the_next_agent() {
    if FreeSwitch::program_or_skip("agents who hang up at once").is_none() {
        return;
    }
    let mut rig = Rig::start(Kind::FreeSwitch).await;
    let next = rig.driver.agent(COLLEAGUE).await;
    // A join takes up to 60 ms.
    for wait_ms in [0, 5, 10, 20, 30, 40, 50, 70] {
        let agent = rig.driver.agent(1).await;
        let leg = rig.call(&Behaviour::Talks.number(1)).await;
        rig.driver.answered(leg).await;
        let agent_leg = agent;
        rig.driver
            .tell(PbxCommand::Connect {
                leg,
                to: Destination::HeldLeg(agent_leg),
            })
            .await;
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        rig.pbx.phone_hangs_up(1);
        rig.driver.agent_ended(agent).await;
        rig.driver.connect(leg, next).await;
        let moved = [PbxEvent::Transferred { leg }, PbxEvent::CalleeAlone { leg }];
        let said = &rig.driver.said;
        assert!(
            !moved.iter().any(|event| said.contains(event)),
            "{wait_ms} ms: {said:?}"
        );
        rig.driver.tell(PbxCommand::HangUp { leg }).await;
        rig.driver.ended(leg).await;
        rig.driver.said.clear();
    }
    rig.driver.tell(PbxCommand::HangUpAgent { leg: next }).await;
    rig.pbx.settled().await;
}
