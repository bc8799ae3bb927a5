//! Agents' phones that act by themselves: they transfer, hold, disappear and refuse calls.

use super::*;
use crate::agent::AgentReason;
use crate::live::AttemptPhase;

fn connected(rig: &mut Rig) -> (LegId, AgentLegId) {
    let (leg, agent_leg) = (rig.legs()[0], rig.agent_leg(1));
    rig.event(PbxEvent::Answered { leg });
    rig.event(PbxEvent::Connected { leg, agent_leg });
    assert_eq!(rig.state(1), AgentState::OnCall);
    (leg, agent_leg)
}

fn reason(rig: &Rig, n: i64) -> AgentReason {
    let live = rig.engine.live(rig.now);
    let agent = live.agents.iter().find(|a| a.agent == AgentId(n));
    agent.expect("the agent is logged in").reason
}

fn hangs_up(rig: &Rig, leg: LegId) -> bool {
    rig.commands().any(|c| c == &PbxCommand::HangUp { leg })
}

fn trouble(rig: &mut Rig, leg: AgentLegId, trouble: Option<LegTrouble>) {
    rig.event(PbxEvent::AgentTrouble { leg, trouble });
}

fn up(bridge: Option<AgentLegId>) -> ChannelState {
    ChannelState {
        phase: ChannelPhase::Up,
        bridge,
        in_our_app: true,
        trouble: None,
        with_others: false,
        up_for: None,
    }
}

#[test]
fn a_transferred_callee_is_left_alone_and_its_agent_gets_nobody_before_the_phone_is_back() {
    let mut rig = Rig::at_work(1);
    let (leg, agent_leg) = connected(&mut rig);
    rig.event(PbxEvent::Transferred { leg });
    assert_eq!(
        (rig.state(1), reason(&rig, 1)),
        (AgentState::WrapUp, AgentReason::CallTransferred)
    );
    rig.event(PbxEvent::AgentLeft {
        leg: agent_leg,
        how: Departure::Transferred,
    });
    assert_eq!(rig.last(), &PbxCommand::HangUpAgent { leg: agent_leg });
    rig.wait(Duration::from_secs(60));
    assert_eq!(
        (rig.state(1), reason(&rig, 1)),
        (AgentState::Paused, AgentReason::PhoneTransferred)
    );
    assert_eq!(rig.legs().len(), 1, "nobody else is called");
    rig.event(PbxEvent::AgentEnded {
        leg: agent_leg,
        end: end(EndedBy::Us, true),
    });
    let again = rig.agent_leg(1);
    assert_ne!(again, agent_leg);
    rig.event(PbxEvent::AgentReady { leg: again });
    assert_eq!(rig.state(1), AgentState::Reserved);
    let live = rig.engine.live(rig.now);
    assert_eq!(live.attempts[&AttemptPhase::Transferred], 1);
    rig.event(PbxEvent::LegEnded {
        leg,
        end: end(EndedBy::Network, true),
    });
    assert!(!hangs_up(&rig, leg));
    assert_eq!(rig.outcomes(), [Outcome::Answered]);
}

/// The driver reports the transfer of the callee first. Without wrap-up, its agent is free until the next event.
#[test]
fn a_callee_given_to_an_agent_whose_phone_has_just_left_goes_to_the_next_agent() {
    let mut config = config_of(Mode::Progressive);
    config.settings.agents.wrap_up_ms = 0;
    let mut rig = Rig::from(config, Recovered::default());
    rig.tell(Input::SetActive(true));
    rig.event(PbxEvent::Resynchronised(Snapshot::default()));
    for n in 1..=2 {
        rig.log_in(n);
        let leg = rig.agent_leg(n);
        rig.event(PbxEvent::AgentReady { leg });
    }
    let [first, second] = rig.legs()[..] else {
        panic!("two calls are launched");
    };
    let (transfers, moved) = (rig.agent_leg(1), rig.agent_leg(2));
    rig.event(PbxEvent::Answered { leg: first });
    let agent_leg = transfers;
    rig.event(PbxEvent::Connected {
        leg: first,
        agent_leg,
    });
    // The second callee waits.
    rig.event(PbxEvent::Answered { leg: second });
    let how = Departure::Moved;
    rig.event(PbxEvent::AgentLeft { leg: moved, how });
    assert_eq!(rig.engine.waiting.len(), 1);
    rig.event(PbxEvent::Transferred { leg: first });
    let given = PbxCommand::Connect {
        leg: second,
        to: Destination::HeldLeg(agent_leg),
    };
    assert_eq!(rig.last(), &given);
    let how = Departure::Transferred;
    rig.event(PbxEvent::AgentLeft { leg: transfers, how });
    rig.event(PbxEvent::ConnectFailed {
        leg: second,
        agent_leg,
        fault: ConnectFault::AgentGone,
    });
    assert_eq!(rig.engine.waiting.len(), 1);
    rig.log_in(3);
    let leg = rig.agent_leg(3);
    rig.event(PbxEvent::AgentReady { leg });
    let given = PbxCommand::Connect {
        leg: second,
        to: Destination::HeldLeg(leg),
    };
    assert!(rig.commands().any(|command| *command == given));
    assert!(!hangs_up(&rig, first) && !hangs_up(&rig, second));
}

#[test]
fn a_failed_transfer_leaves_no_callee_alone() {
    let mut rig = Rig::at_work(1);
    let (leg, agent_leg) = connected(&mut rig);
    rig.event(PbxEvent::Transferred { leg });
    rig.event(PbxEvent::AgentLeft {
        leg: agent_leg,
        how: Departure::Transferred,
    });
    rig.event(PbxEvent::CalleeAlone { leg });
    assert!(hangs_up(&rig, leg));
    rig.event(PbxEvent::LegEnded {
        leg,
        end: end(EndedBy::Us, true),
    });
    assert_eq!(rig.outcomes(), [Outcome::Answered]);
}

#[test]
fn a_callee_whose_agent_was_moved_away_is_not_left_in_the_bridge() {
    let mut rig = Rig::at_work(2);
    let (leg, agent_leg) = connected(&mut rig);
    rig.event(PbxEvent::AgentLeft {
        leg: agent_leg,
        how: Departure::Moved,
    });
    assert!(hangs_up(&rig, leg));
    // A callee on the way to a bridge that the agent has left goes to another agent.
    let (leg, agent_leg) = (rig.leg(), rig.agent_leg(2));
    rig.event(PbxEvent::Answered { leg });
    assert_eq!(
        rig.last(),
        &PbxCommand::Connect {
            leg,
            to: Destination::HeldLeg(agent_leg)
        }
    );
    rig.log_in(3);
    let third = rig.agent_leg(3);
    rig.event(PbxEvent::AgentReady { leg: third });
    rig.event(PbxEvent::AgentLeft {
        leg: agent_leg,
        how: Departure::Moved,
    });
    rig.event(PbxEvent::Connected { leg, agent_leg });
    assert_eq!(rig.engine.waiting.len(), 1);
    // The call of the third agent has ended.
    let third_call = rig.leg();
    rig.event(PbxEvent::LegEnded {
        leg: third_call,
        end: end(EndedBy::Network, false),
    });
    assert!(rig.commands().any(|c| {
        c == &PbxCommand::Connect {
            leg,
            to: Destination::HeldLeg(third),
        }
    }));
    assert!(
        !rig.said
            .iter()
            .any(|c| matches!(c, Command::Store(Change::Connected { agent, .. }) if *agent == AgentId(2)))
    );
}

/// The PBX may have connected the second agent to the callee that the first agent transferred.
#[test]
fn a_transfer_that_crosses_the_order_for_the_next_agent_leaves_that_agent_no_second_callee() {
    let mut rig = Rig::at_work(1);
    let (leg, agent_leg) = (rig.leg(), rig.agent_leg(1));
    rig.event(PbxEvent::Answered { leg });
    rig.event(PbxEvent::AgentLeft {
        leg: agent_leg,
        how: Departure::Transferred,
    });
    rig.log_in(2);
    let second = rig.agent_leg(2);
    rig.event(PbxEvent::AgentReady { leg: second });
    let connect = PbxCommand::Connect {
        leg,
        to: Destination::HeldLeg(second),
    };
    assert_eq!(rig.last(), &connect);
    rig.event(PbxEvent::Transferred { leg });
    assert_eq!(reason(&rig, 2), AgentReason::PbxUnclear);
    assert!(
        rig.commands()
            .any(|c| c == &PbxCommand::HangUpAgent { leg: second })
    );
    assert_eq!(rig.legs().len(), 1, "nobody else is called for a leg that goes");
}

#[test]
fn a_phone_on_hold_is_not_free_and_is_again_once_it_listens() {
    let mut rig = Rig::at_work(1);
    let (leg, agent_leg) = (rig.leg(), rig.agent_leg(1));
    trouble(&mut rig, agent_leg, Some(LegTrouble::OnHold));
    assert!(hangs_up(&rig, leg), "the call kept for the agent is taken back");
    assert_eq!(
        (rig.state(1), reason(&rig, 1)),
        (AgentState::Paused, AgentReason::PhoneOnHold)
    );
    rig.event(PbxEvent::LegEnded {
        leg,
        end: end(EndedBy::Us, false),
    });
    rig.wait(Duration::from_secs(600));
    assert_eq!((rig.legs().len(), rig.agent_leg(1)), (1, agent_leg));
    trouble(&mut rig, agent_leg, None);
    assert_eq!(rig.state(1), AgentState::Reserved);
    assert_eq!(rig.legs().len(), 2);
}

/// An agent on hold gets no call, and only a call would show that the leg is gone.
#[test]
fn an_agent_on_hold_whose_legs_end_was_missed_is_called_again_after_the_legs_time_limit() {
    let mut rig = Rig::at_work(1);
    let (leg, agent_leg) = (rig.leg(), rig.agent_leg(1));
    trouble(&mut rig, agent_leg, Some(LegTrouble::OnHold));
    let end = end(EndedBy::Us, false);
    rig.event(PbxEvent::LegEnded { leg, end });
    let released = |rig: &Rig| {
        rig.commands()
            .any(|c| c == &PbxCommand::HangUpAgent { leg: agent_leg })
    };
    rig.wait(Duration::from_secs(36_000));
    assert!(!released(&rig), "it may be alive");
    rig.wait(Duration::from_secs(60));
    assert!(released(&rig));
}

#[test]
fn hold_in_a_conversation_is_shown_and_changes_nothing_until_it_is_over() {
    let mut rig = Rig::at_work(1);
    let (leg, agent_leg) = connected(&mut rig);
    assert_eq!(reason(&rig, 1), AgentReason::CallConnected);
    for (reported, shown) in [
        (Some(LegTrouble::OnHold), AgentReason::PhoneOnHold),
        (None, AgentReason::PhoneBack),
        (Some(LegTrouble::OnHold), AgentReason::PhoneOnHold),
    ] {
        trouble(&mut rig, agent_leg, reported);
        assert_eq!((rig.state(1), reason(&rig, 1)), (AgentState::OnCall, shown));
    }
    rig.event(PbxEvent::LegEnded {
        leg,
        end: end(EndedBy::Network, true),
    });
    rig.wait(Duration::from_secs(60));
    assert_eq!(
        (rig.state(1), reason(&rig, 1)),
        (AgentState::Paused, AgentReason::PhoneOnHold)
    );
    trouble(&mut rig, agent_leg, None);
    assert_eq!(rig.state(1), AgentState::Reserved);
}

#[test]
fn a_phone_that_cannot_be_reached_or_heard_is_called_again_but_no_conversation_is_cut() {
    for deaf in [LegTrouble::Unreachable, LegTrouble::NoAudio] {
        let mut rig = Rig::at_work(1);
        let (leg, agent_leg) = connected(&mut rig);
        trouble(&mut rig, agent_leg, Some(deaf));
        assert_eq!(
            (rig.state(1), reason(&rig, 1)),
            (AgentState::OnCall, AgentReason::from(deaf))
        );
        assert!(!hangs_up(&rig, leg));
        rig.event(PbxEvent::LegEnded {
            leg,
            end: end(EndedBy::Network, true),
        });
        assert!(
            rig.commands()
                .any(|c| c == &PbxCommand::HangUpAgent { leg: agent_leg })
        );
        rig.wait(Duration::from_secs(6));
        assert_eq!(reason(&rig, 1), AgentReason::from(deaf));
        rig.event(PbxEvent::AgentEnded {
            leg: agent_leg,
            end: end(EndedBy::Us, true),
        });
        assert_eq!(rig.state(1), AgentState::Ringing);
        assert_eq!(rig.legs().len(), 1);
    }
}

#[test]
fn an_agent_whose_phone_fails_is_paused_with_the_reason() {
    let sip = |status| LegEnd {
        sip: Some(status),
        ..end(EndedBy::Network, false)
    };
    for (end, expected) in [
        (sip(486), AgentReason::PhoneBusy),
        (sip(603), AgentReason::PhoneDeclined),
        (sip(480), AgentReason::PhoneNoAnswer),
        (end(EndedBy::Refused, false), AgentReason::PhoneUnreachable),
    ] {
        let mut rig = Rig::at_work(0);
        rig.log_in(1);
        for _ in 0..20 {
            if let Some(leg) = rig.engine.agents[&AgentId(1)].phone.leg() {
                rig.event(PbxEvent::AgentEnded {
                    leg,
                    end: end.clone(),
                });
            }
            rig.wait(Duration::from_secs(31));
        }
        let agent = &rig.engine.agents[&AgentId(1)];
        assert_eq!((agent.wants, agent.reason), (Wants::Pause, expected));
        let shown = rig.said.iter().rev().find_map(|c| match c {
            Command::AgentIs { state, reason, .. } => Some((*state, *reason)),
            _ => None,
        });
        assert_eq!(shown, Some((AgentState::Paused, expected)));
        rig.ask(1, AgentRequest::Ready);
        assert_eq!(reason(&rig, 1), AgentReason::AskedForCalls);
    }
}

#[test]
fn a_phone_whose_leg_the_pbx_ended_for_want_of_audio_has_not_hung_up() {
    for (q850, expected) in [(16, AgentReason::PhoneHungUp), (44, AgentReason::PhoneNoAudio)] {
        let mut rig = Rig::at_work(0);
        rig.contacts = 0;
        rig.log_in(1);
        let end = LegEnd {
            q850: Some(q850),
            ..end(EndedBy::Network, true)
        };
        let leg = rig.agent_leg(1);
        rig.event(PbxEvent::AgentReady { leg });
        rig.event(PbxEvent::AgentEnded { leg, end });
        assert_eq!((rig.state(1), reason(&rig, 1)), (AgentState::Paused, expected));
    }
}

#[test]
fn a_call_picked_up_by_another_phone_is_no_agent() {
    let mut rig = Rig::at_work(0);
    rig.log_in(1);
    let leg = rig.agent_leg(1);
    rig.event(PbxEvent::AgentLeft {
        leg,
        how: Departure::PickedUp,
    });
    assert_eq!(rig.last(), &PbxCommand::HangUpAgent { leg });
    rig.event(PbxEvent::AgentReady { leg });
    assert_eq!(
        (rig.state(1), reason(&rig, 1)),
        (AgentState::Paused, AgentReason::PhonePickedUp)
    );
    assert!(rig.legs().is_empty());
}

#[test]
fn a_snapshot_leaves_the_transferred_alone_and_believes_no_bridge_without_its_agent() {
    for with_others in [true, false] {
        let mut rig = Rig::at_work(1);
        let (leg, agent_leg) = connected(&mut rig);
        rig.event(PbxEvent::LinkLost);
        // The agent's leg is gone. The callee is still in its bridge.
        let channels = BTreeMap::from([(
            leg.0,
            ChannelState {
                with_others,
                ..up(Some(agent_leg))
            },
        )]);
        rig.event(PbxEvent::Resynchronised(Snapshot { channels }));
        assert_eq!(hangs_up(&rig, leg), !with_others);
        let attempts = rig.engine.live(rig.now).attempts;
        assert_eq!(attempts[&AttemptPhase::Transferred], usize::from(with_others));
        assert_eq!(attempts[&AttemptPhase::Connected], 0);
    }
}

#[test]
fn of_two_conversations_that_a_former_run_left_with_one_agent_the_one_in_the_bridge_goes_on() {
    let mut before = Rig::at_work(1);
    let (transferred, agent_leg) = connected(&mut before);
    let talking = LegId(uuid::Uuid::from_u128(7));
    let open = |attempt, leg| OpenAttempt {
        attempt,
        leg,
        pbx: pbx(),
        trunk: TrunkId(1),
        leg_end: None,
        lead: lead(1),
        created_at: before.now.wall,
        answered_at: Some(before.now.wall),
        connected: Some((before.now.wall, AgentId(1))),
        abandoned_at: None,
    };
    for ids in [[1, 2], [2, 1]] {
        let [first, second] = ids.map(|n| AttemptId(uuid::Uuid::from_u128(n)));
        let recovered = Recovered {
            attempts: vec![open(first, transferred), open(second, talking)],
            agents: vec![OpenAgent {
                agent: AgentId(1),
                pbx: pbx(),
                template: AgentTemplate::new("PJSIP/{extension}").unwrap(),
                extension: Extension::new("agent-1").unwrap(),
                leg: Some(agent_leg),
                wants: Wants::Calls,
                last_call: None,
            }],
            ..Recovered::default()
        };
        let mut rig = Rig::from(config(), recovered);
        let channels = BTreeMap::from([
            (agent_leg.0, up(Some(agent_leg))),
            (talking.0, up(Some(agent_leg))),
            (
                transferred.0,
                ChannelState {
                    with_others: true,
                    ..up(None)
                },
            ),
        ]);
        rig.event(PbxEvent::Resynchronised(Snapshot { channels }));
        assert!(!hangs_up(&rig, talking) && !hangs_up(&rig, transferred));
        assert_eq!(rig.engine.agents[&AgentId(1)].work.attempt(), Some(second));
        assert_eq!(rig.state(1), AgentState::OnCall);
    }
}
