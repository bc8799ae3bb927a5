//! Held agents' legs, and callees who are connected to them.

use crate::on_every_pbx;
use crate::rig::{Kind, Rig};
use paceline_core::ids::LegId;
use paceline_core::pbx::{ConnectFault, EndedBy, PbxCommand, PbxEvent};
use paceline_lab::{Audio, Behaviour, PhoneBehaviour};
use std::time::Duration;
use uuid::Uuid;

async fn agents_are_held_between_calls(kind: Kind) {
    let mut rig = Rig::start(kind).await;
    let agent_leg = rig.driver.agent(1).await;

    // The callee hangs up: the agent's leg stays and can take the next callee at once.
    for nth in 1..=3 {
        let number = Behaviour::TalksBriefly.number(nth);
        let leg = match nth {
            2 => rig.call_routed(&number).await,
            _ => rig.call(&number).await,
        };
        rig.driver.answered(leg).await;
        rig.driver.connect(leg, agent_leg).await;
        let end = rig.driver.ended(leg).await;
        assert_eq!((end.by, end.answered), (EndedBy::Network, true), "{end:?}");
        assert!(rig.pbx.is_on_call(1));
    }

    // We hang up the callee: the agent's leg stays too.
    let leg = rig.call(&Behaviour::Talks.number(1)).await;
    let next = rig.call(&Behaviour::Talks.number(2)).await;
    rig.driver.answered(leg).await;
    rig.driver.answered(next).await;
    rig.driver.connect(leg, agent_leg).await;
    rig.driver.tell(PbxCommand::HangUp { leg }).await;
    assert_eq!(rig.driver.ended(leg).await.by, EndedBy::Us);
    assert!(rig.pbx.is_on_call(1));

    // The agent hangs up: the callee stays until the next command.
    rig.driver.connect(next, agent_leg).await;
    rig.pbx.phone_hangs_up(1);
    assert_eq!(rig.driver.agent_ended(agent_leg).await.by, EndedBy::Network);
    assert_eq!(rig.driver.fault(next, agent_leg).await, ConnectFault::AgentGone);
    let another = rig.driver.agent(3).await;
    rig.driver.connect(next, another).await;
    rig.driver.tell(PbxCommand::HangUp { leg: next }).await;
    assert_eq!(rig.driver.ended(next).await.by, EndedBy::Us);

    // We hang up an agent's leg.
    assert_eq!(rig.driver.fault(next, another).await, ConnectFault::CalleeGone);
    rig.driver.tell(PbxCommand::HangUpAgent { leg: another }).await;
    assert_eq!(rig.driver.agent_ended(another).await.by, EndedBy::Us);
    rig.pbx.settled().await;
}

async fn an_agent_who_does_not_answer_and_an_unknown_leg_give_an_end(kind: Kind) {
    let mut rig = Rig::start(kind).await;
    rig.pbx.phone(3, PhoneBehaviour::Busy);
    rig.pbx.phone(4, PhoneBehaviour::Rings);
    let busy = rig.driver.call_agent(3).await;
    let ringing = rig.driver.call_agent(4).await;
    // No driver placed this leg.
    let nothing = LegId(Uuid::now_v7());
    rig.driver.tell(PbxCommand::HangUp { leg: nothing }).await;
    let nowhere = rig.pbx.dial_nowhere();
    let unknown = rig
        .driver
        .dial(nowhere, Duration::from_secs(3), Duration::from_secs(60))
        .await;

    assert_eq!(rig.driver.agent_ended(busy).await.q850, Some(17));
    rig.driver.hears(PbxEvent::AgentRinging { leg: ringing }).await;
    let end = rig.driver.agent_ended(ringing).await;
    assert_eq!(
        (end.by, end.progressed, end.answered),
        (EndedBy::RingTimeout, true, false),
        "{end:?}"
    );
    assert_eq!(rig.driver.ended(nothing).await.by, EndedBy::Vanished);
    let end = rig.driver.ended(unknown).await;
    assert_eq!(end.by, EndedBy::Refused, "{end:?}");
    assert!(!end.detail.is_empty());
    rig.pbx.settled().await;
}

async fn both_sides_hear_each_other(kind: Kind) {
    let mut rig = Rig::start_with(kind, Audio::Tones).await;
    let agent_leg = rig.driver.agent(1).await;
    for nth in 1..=2 {
        let leg = rig.call(&Behaviour::TalksBriefly.number(nth)).await;
        rig.driver.answered(leg).await;
        rig.driver.connect(leg, agent_leg).await;
        rig.driver.ended(leg).await;
    }
    rig.driver.tell(PbxCommand::HangUpAgent { leg: agent_leg }).await;
    rig.driver.agent_ended(agent_leg).await;
    rig.pbx.settled().await;
    let calls = rig.pbx.carrier().calls();
    assert!(calls.iter().all(|call| call.heard_agent.is_some()), "{calls:?}");
    let heard = rig.pbx.phones().media_report();
    assert_eq!((heard.flows, heard.flows_heard), (1, 1), "{heard:?}");
    // The phones may count the first two spells as one.
    assert!(heard.spells >= 1, "{heard:?}");
}

on_every_pbx! {
    agents_are_held_between_calls
    an_agent_who_does_not_answer_and_an_unknown_leg_give_an_end
    ; over a socket:
    ; over the Event Socket:
    ; with routes:
    ; for real:
    both_sides_hear_each_other
}
