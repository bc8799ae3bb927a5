//! A PBX in maintenance: no leg of ours is left on it, and the agents' phones are called when the maintenance ends.

use super::*;
use crate::agent::AgentReason;

fn maintain(rig: &mut Rig, on: bool) {
    rig.tell(Input::Maintenance { pbx: pbx(), on });
}

fn hung_up(rig: &Rig, leg: LegId) -> bool {
    rig.commands().any(|c| c == &PbxCommand::HangUp { leg })
}

fn released(rig: &Rig, leg: AgentLegId) -> bool {
    rig.commands().any(|c| c == &PbxCommand::HangUpAgent { leg })
}

fn shown(rig: &Rig, n: i64) -> (AgentState, AgentReason) {
    (rig.state(n), rig.engine.agents[&AgentId(n)].reason)
}

fn ends(rig: &mut Rig, leg: LegId, by: EndedBy, answered: bool) {
    let end = end(by, answered);
    rig.event(PbxEvent::LegEnded { leg, end });
}

fn phone_ends(rig: &mut Rig, leg: AgentLegId) {
    let end = end(EndedBy::Us, true);
    rig.event(PbxEvent::AgentEnded { leg, end });
}

fn rings(rig: &mut Rig, leg: LegId) {
    let kind = Progress::Ringing;
    rig.event(PbxEvent::Progress { leg, kind });
}

/// Agent 1 talks and agent 2's callee rings, in a campaign whose rules ask for 15 s of ringing.
fn talking_and_ringing() -> (Rig, LegId, LegId) {
    let mut config = config_of(Mode::Progressive);
    config.settings.pacing.abandon_rules[0].ring_ms_min = 15_000;
    let mut rig = Rig::from(config, Recovered::default());
    rig.tell(Input::SetActive(true));
    rig.event(PbxEvent::Resynchronised(Snapshot::default()));
    for n in 1..=2 {
        rig.log_in(n);
        let leg = rig.agent_leg(n);
        rig.event(PbxEvent::AgentReady { leg });
    }
    let (talking, ringing) = (rig.legs()[0], rig.legs()[1]);
    let agent_leg = rig.agent_leg(1);
    rig.event(PbxEvent::Answered { leg: talking });
    rig.event(PbxEvent::Connected {
        leg: talking,
        agent_leg,
    });
    rings(&mut rig, ringing);
    (rig, talking, ringing)
}

#[test]
fn maintenance_cancels_ringing_calls_lets_conversations_end_and_then_releases_every_phone() {
    let (mut rig, talking, ringing) = talking_and_ringing();
    let phones = [rig.agent_leg(1), rig.agent_leg(2)];
    maintain(&mut rig, true);
    assert_eq!(
        rig.engine.live(rig.now).idle,
        [Idle::PbxMaintenance, Idle::NoFreeAgent]
    );
    rig.wait(Duration::from_millis(14_900));
    assert!(
        !hung_up(&rig, ringing),
        "a phone rings for as long as the rules ask"
    );
    assert!(!released(&rig, phones[1]), "its callee may answer");
    rig.wait(Duration::from_millis(100));
    assert!(hung_up(&rig, ringing) && released(&rig, phones[1]));
    ends(&mut rig, ringing, EndedBy::Us, false);
    phone_ends(&mut rig, phones[1]);
    assert_eq!(shown(&rig, 2), (AgentState::Paused, AgentReason::PbxMaintenance));
    assert!(!hung_up(&rig, talking) && !released(&rig, phones[0]));
    ends(&mut rig, talking, EndedBy::Network, true);
    // The wrap-up needs no held leg.
    assert_eq!(rig.state(1), AgentState::WrapUp);
    assert!(released(&rig, phones[0]));
    phone_ends(&mut rig, phones[0]);
    rig.wait(Duration::from_secs(3600));
    assert_eq!(shown(&rig, 1), (AgentState::Paused, AgentReason::PbxMaintenance));
    assert_eq!(rig.legs().len(), 2, "nothing is launched");
    assert_eq!(rig.outcomes(), [Outcome::Cancelled, Outcome::Answered]);
    assert!(rig.engine.agent_legs.is_empty());

    maintain(&mut rig, false);
    for n in 1..=2 {
        assert_eq!(rig.state(n), AgentState::Ringing);
        let leg = rig.agent_leg(n);
        rig.event(PbxEvent::AgentReady { leg });
    }
    assert_eq!(rig.legs().len(), 4, "dialing goes on by itself");
}

#[test]
fn a_callee_who_answers_before_the_call_is_cancelled_gets_the_agent() {
    let (mut rig, _, ringing) = talking_and_ringing();
    let agent_leg = rig.agent_leg(2);
    maintain(&mut rig, true);
    rig.wait(Duration::from_secs(10));
    rig.event(PbxEvent::Answered { leg: ringing });
    let leg = ringing;
    assert_eq!(
        rig.last(),
        &PbxCommand::Connect {
            leg,
            to: Destination::HeldLeg(agent_leg)
        }
    );
    rig.event(PbxEvent::Connected { leg, agent_leg });
    rig.wait(Duration::from_secs(60));
    assert!(!hung_up(&rig, ringing) && !released(&rig, agent_leg));
}

#[test]
fn calls_launched_ahead_are_cancelled_and_a_call_that_is_being_stored_is_not_dialed() {
    let mut rig = Rig::at_work_in(Mode::Power, 2);
    rig.wait(Duration::from_secs(1));
    let legs = rig.legs();
    assert_eq!(legs.len(), 3);
    rings(&mut rig, legs[0]);
    rig.store_answers = false;
    ends(&mut rig, legs[1], EndedBy::Us, false);
    rig.wait(Duration::from_millis(300));
    let attempt = rig.last_being_stored();
    maintain(&mut rig, true);
    assert!(hung_up(&rig, legs[0]) && hung_up(&rig, legs[2]));
    rig.prepared(attempt, Prepared::Allowed);
    assert_eq!(rig.legs().len(), 3);
    assert!(rig.said.iter().any(|c| matches!(c, Command::Return { .. })));
}

#[test]
fn agents_who_log_in_during_maintenance_are_called_when_it_ends() {
    let mut rig = Rig::at_work(0);
    maintain(&mut rig, true);
    for n in 1..=2 {
        rig.log_in(n);
        rig.ask(n, AgentRequest::Ready);
        assert_eq!(shown(&rig, n), (AgentState::Paused, AgentReason::PbxMaintenance));
    }
    rig.ask(2, AgentRequest::LogOut { by: Asker::Agent });
    assert_eq!(rig.state(2), AgentState::Offline);
    let calls = |c: &&PbxCommand| matches!(c, PbxCommand::CallAgent { .. });
    assert_eq!(rig.commands().filter(calls).count(), 0);
    maintain(&mut rig, false);
    assert_eq!(rig.commands().filter(calls).count(), 1);
    assert_eq!(rig.state(1), AgentState::Ringing);
}

#[test]
fn a_pbx_that_restarts_in_maintenance_or_paceline_with_it_finds_all_as_it_was() {
    let (mut rig, talking, ringing) = talking_and_ringing();
    let phones = [rig.agent_leg(1), rig.agent_leg(2)];
    let open = |attempt, leg, connected| OpenAttempt {
        attempt: AttemptId(uuid::Uuid::from_u128(attempt)),
        leg,
        pbx: pbx(),
        trunk: TrunkId(1),
        leg_end: None,
        lead: lead(1),
        created_at: rig.now.wall,
        answered_at: connected,
        connected: connected.map(|at| (at, AgentId(1))),
        abandoned_at: None,
    };
    let agent = |n: i64| OpenAgent {
        agent: AgentId(n),
        pbx: pbx(),
        template: AgentTemplate::new("PJSIP/{extension}").unwrap(),
        extension: Extension::new(&format!("agent-{n}")).unwrap(),
        leg: Some(phones[n as usize - 1]),
        wants: Wants::Calls,
        last_call: None,
    };
    let recovered = Recovered {
        attempts: vec![open(1, talking, Some(rig.now.wall)), open(2, ringing, None)],
        agents: vec![agent(1), agent(2)],
        ..Recovered::default()
    };
    let channel = |phase, bridge| ChannelState {
        phase,
        bridge,
        in_our_app: true,
        up_for: None,
        trouble: None,
        with_others: false,
    };
    let up = |bridge| channel(ChannelPhase::Up, Some(bridge));
    let channels = BTreeMap::from([
        (phones[0].0, up(phones[0])),
        (phones[1].0, up(phones[1])),
        (talking.0, up(phones[0])),
        (ringing.0, channel(ChannelPhase::Ringing, None)),
    ]);
    rig = Rig::from(config(), recovered);
    maintain(&mut rig, true);
    rig.tell(Input::SetActive(true));
    assert_eq!(rig.commands().count(), 0, "nothing is known yet");
    rig.event(PbxEvent::Resynchronised(Snapshot { channels }));
    assert!(hung_up(&rig, ringing) && !hung_up(&rig, talking));
    assert!(released(&rig, phones[1]) && !released(&rig, phones[0]));
    // The PBX restarts.
    rig.event(PbxEvent::LinkLost);
    rig.event(PbxEvent::Resynchronised(Snapshot::default()));
    ends(&mut rig, ringing, EndedBy::Vanished, false);
    ends(&mut rig, talking, EndedBy::Vanished, true);
    for leg in phones {
        let end = end(EndedBy::Vanished, true);
        rig.event(PbxEvent::AgentEnded { leg, end });
    }
    rig.wait(Duration::from_secs(600));
    let placed = |c: &&PbxCommand| matches!(c, PbxCommand::CallAgent { .. } | PbxCommand::CallContact { .. });
    assert_eq!(rig.commands().filter(placed).count(), 0);
    for n in 1..=2 {
        assert_eq!(shown(&rig, n), (AgentState::Paused, AgentReason::PbxMaintenance));
    }
    maintain(&mut rig, false);
    assert_eq!(
        (rig.state(1), rig.state(2)),
        (AgentState::Ringing, AgentState::Ringing)
    );
}

#[test]
fn another_pbx_of_the_campaign_goes_on_as_before() {
    let mut config = config();
    let mut second = config.trunks[0].clone();
    (second.id, second.pbx) = (TrunkId(2), PbxName::new("other"));
    config.trunks.push(second);
    let mut rig = Rig::from(config, Recovered::default());
    rig.tell(Input::SetActive(true));
    rig.event(PbxEvent::Resynchronised(Snapshot::default()));
    rig.log_in(1);
    let leg = rig.agent_leg(1);
    rig.event(PbxEvent::AgentReady { leg });
    rig.tell(Input::Maintenance {
        pbx: PbxName::new("other"),
        on: true,
    });
    let first = rig.leg();
    ends(&mut rig, first, EndedBy::Network, false);
    assert_eq!((rig.state(1), rig.legs().len()), (AgentState::Reserved, 2));
    assert!(!rig.engine.live(rig.now).idle.contains(&Idle::PbxMaintenance));
}

#[test]
fn a_waiting_callee_gets_the_agent_whose_call_the_maintenance_cancelled() {
    let mut rig = Rig::at_work(2);
    let (leg, dialed) = (rig.legs()[0], rig.legs()[1]);
    let agent_leg = rig.agent_leg(1);
    rig.event(PbxEvent::Answered { leg });
    rig.event(PbxEvent::ConnectFailed {
        leg,
        agent_leg,
        fault: ConnectFault::Refused,
    });
    assert_eq!(rig.engine.waiting.len(), 1);
    maintain(&mut rig, true);
    assert!(hung_up(&rig, dialed));
    let agent_leg = rig.agent_leg(2);
    let connect = PbxCommand::Connect {
        leg,
        to: Destination::HeldLeg(agent_leg),
    };
    assert!(rig.commands().any(|c| c == &connect));
}
