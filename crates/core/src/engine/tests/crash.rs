//! Tests of the start after a crash.

mod ended_legs;

use super::*;

pub(super) fn open_attempt(
    n: u128,
    connected: Option<(Wall, AgentId)>,
    answered_at: Option<Wall>,
) -> OpenAttempt {
    OpenAttempt {
        attempt: AttemptId(uuid::Uuid::from_u128(1000 + n)),
        leg: LegId(uuid::Uuid::from_u128(2000 + n)),
        pbx: pbx(),
        trunk: TrunkId(1),
        leg_end: None,
        lead: lead(n as i64),
        created_at: Wall(1_800_000_000_000),
        answered_at,
        abandoned_at: None,
        connected,
    }
}

pub(super) fn open_agent(n: i64) -> OpenAgent {
    OpenAgent {
        agent: AgentId(n),
        pbx: pbx(),
        template: AgentTemplate::new("PJSIP/{extension}").unwrap(),
        extension: Extension::new(&format!("agent-{n}")).unwrap(),
        leg: Some(AgentLegId(uuid::Uuid::from_u128(3000 + n as u128))),
        wants: Wants::Calls,
        last_call: None,
    }
}

/// The legs of [`open_agent`] 1 and [`open_attempt`] 1, both up, the second one as `callee` says.
fn with_callee(callee: impl Fn(ChannelState) -> ChannelState) -> Snapshot {
    let own = AgentLegId(uuid::Uuid::from_u128(3001));
    let up = ChannelState {
        phase: ChannelPhase::Up,
        bridge: Some(own),
        in_our_app: true,
        up_for: None,
        trouble: None,
        with_others: false,
    };
    let alone = ChannelState { bridge: None, ..up };
    Snapshot {
        channels: BTreeMap::from([(own.0, up), (uuid::Uuid::from_u128(2001), callee(alone))]),
    }
}

/// An engine whose former run abandoned its callee.
fn after_an_abandoned_call() -> Rig {
    let answered_at = Wall(1_800_000_000_000);
    let abandoned = OpenAttempt {
        abandoned_at: Some(answered_at.plus(Duration::from_secs(2))),
        ..open_attempt(1, None, Some(answered_at))
    };
    let recovered = Recovered {
        attempts: vec![abandoned],
        agents: vec![open_agent(1)],
        ..Recovered::default()
    };
    let mut rig = Rig::from(config(), recovered);
    rig.wait(Duration::from_secs(3));
    assert_eq!(rig.commands().count(), 0, "the PBX has shown nothing yet");
    rig
}

#[test]
fn after_a_crash_an_abandoned_callee_who_talks_with_a_colleague_is_left_alone() {
    let mut rig = after_an_abandoned_call();
    let with_colleague = |c| ChannelState {
        with_others: true,
        ..c
    };
    rig.event(PbxEvent::Resynchronised(with_callee(with_colleague)));
    rig.wait(Duration::from_secs(600));
    // Another gap of the link changes nothing.
    rig.event(PbxEvent::LinkLost);
    rig.event(PbxEvent::Resynchronised(with_callee(with_colleague)));
    assert_eq!(rig.commands().count(), 0, "{:?}", rig.said);
    let leg = LegId(uuid::Uuid::from_u128(2001));
    rig.event(PbxEvent::LegEnded {
        leg,
        end: end(EndedBy::Network, true),
    });
    assert_eq!(rig.outcomes(), [Outcome::Abandoned]);
}

#[test]
fn after_a_crash_an_abandoned_callee_who_is_alone_or_with_our_agent_is_hung_up() {
    let leg = LegId(uuid::Uuid::from_u128(2001));
    let own = AgentLegId(uuid::Uuid::from_u128(3001));
    for bridge in [None, Some(own)] {
        let mut rig = after_an_abandoned_call();
        rig.event(PbxEvent::Resynchronised(with_callee(|c| ChannelState {
            bridge,
            ..c
        })));
        let said: Vec<_> = rig.commands().cloned().collect();
        assert_eq!(said, [PbxCommand::HangUp { leg }], "{bridge:?}");
        let expected = match bridge {
            None => AgentState::Available,
            // Until the callee's end is confirmed.
            Some(_) => AgentState::Reserved,
        };
        assert_eq!(rig.state(1), expected);
        rig.event(PbxEvent::LegEnded {
            leg,
            end: end(EndedBy::Us, true),
        });
        assert_eq!(rig.outcomes(), [Outcome::Abandoned]);
        assert_eq!(rig.state(1), AgentState::Available);
    }
}

#[test]
fn after_a_restart_an_agent_gets_the_rest_of_its_wrap_up() {
    let now = Wall(1_800_000_000_000);
    // The wrap-up takes 5 s.
    for (ended_ms, wants, rest_ms) in [
        (2_000, Wants::Calls, 3_000),
        (2_000, Wants::Pause, 3_000),
        (2_000, Wants::LogOut, 0),
        (6_000, Wants::Calls, 0),
        (-1_000, Wants::Calls, 5_000),
    ] {
        let last_call = Some(crate::input::LastCall {
            attempt: AttemptId(uuid::Uuid::from_u128(1001)),
            ended_at: Wall(now.0 - ended_ms),
        });
        let agent = OpenAgent {
            wants,
            last_call,
            ..open_agent(1)
        };
        let recovered = Recovered {
            agents: vec![agent],
            ..Recovered::default()
        };
        let mut rig = Rig::from(config(), recovered);
        rig.tell(Input::SetActive(true));
        let mut channels = with_callee(|c| c).channels;
        channels.remove(&uuid::Uuid::from_u128(2001));
        rig.event(PbxEvent::Resynchronised(Snapshot { channels }));
        let case = format!("{ended_ms} {wants:?}");
        if rest_ms > 0 {
            assert_eq!(rig.state(1), AgentState::WrapUp, "{case}");
            rig.wait(Duration::from_millis(rest_ms - 1));
            assert_eq!((rig.state(1), rig.legs()), (AgentState::WrapUp, vec![]), "{case}");
            rig.wait(Duration::from_millis(1));
        }
        assert_ne!(rig.state(1), AgentState::WrapUp, "{case}");
        assert_eq!(rig.legs().len(), usize::from(wants == Wants::Calls), "{case}");
    }
}

#[test]
fn an_agent_who_talks_again_at_the_crash_is_not_put_into_the_wrap_up_before() {
    let began = Wall(1_800_000_000_000);
    let last_call = Some(crate::input::LastCall {
        attempt: AttemptId(uuid::Uuid::from_u128(1009)),
        ended_at: began.minus(Duration::from_secs(1)),
    });
    // The connection of the second one was not stored before the crash.
    for connected in [Some((began, AgentId(1))), None] {
        let agent = OpenAgent {
            last_call,
            ..open_agent(1)
        };
        let recovered = Recovered {
            attempts: vec![open_attempt(1, connected, Some(began))],
            agents: vec![agent],
            ..Recovered::default()
        };
        let mut rig = Rig::from(config(), recovered);
        let bridge = Some(AgentLegId(uuid::Uuid::from_u128(3001)));
        rig.event(PbxEvent::Resynchronised(with_callee(|c| ChannelState {
            bridge,
            ..c
        })));
        assert_eq!(rig.state(1), AgentState::OnCall, "{connected:?}");
        assert_eq!(rig.commands().count(), 0, "{connected:?}");
    }
}

#[test]
fn after_a_crash_a_conversation_goes_on_with_the_agent_whose_bridge_it_is_in() {
    // Attempt 1 was stored as connected. Attempt 2: the crash came before its answer was stored.
    let connected = Some((Wall(1_800_000_000_000), AgentId(1)));
    let attempts = vec![
        open_attempt(1, connected, connected.map(|c| c.0)),
        open_attempt(2, None, None),
    ];
    let mut rig = Rig::from(
        config(),
        Recovered {
            attempts,
            agents: vec![open_agent(1), open_agent(2), open_agent(3)],
            ..Recovered::default()
        },
    );
    let mut channels = BTreeMap::new();
    for n in 1..=3u128 {
        let own = AgentLegId(uuid::Uuid::from_u128(3000 + n));
        let up = ChannelState {
            phase: ChannelPhase::Up,
            bridge: Some(own),
            in_our_app: true,
            up_for: None,
            trouble: None,
            with_others: false,
        };
        channels.insert(own.0, up);
        if n < 3 {
            channels.insert(uuid::Uuid::from_u128(2000 + n), up);
        }
    }
    rig.event(PbxEvent::Resynchronised(Snapshot { channels }));
    assert_eq!(
        [1, 2, 3].map(|n| rig.state(n)),
        [AgentState::OnCall, AgentState::OnCall, AgentState::Available]
    );
    assert_eq!(rig.commands().count(), 0, "nobody is disturbed");
}

#[test]
fn after_a_crash_a_ringing_call_gets_a_free_agent_or_is_cancelled() {
    let attempts = vec![open_attempt(1, None, None), open_attempt(2, None, None)];
    let mut rig = Rig::from(
        config(),
        Recovered {
            attempts,
            agents: vec![open_agent(1)],
            ..Recovered::default()
        },
    );
    let own = AgentLegId(uuid::Uuid::from_u128(3001));
    let ringing = ChannelState {
        phase: ChannelPhase::Ringing,
        bridge: None,
        in_our_app: false,
        up_for: None,
        trouble: None,
        with_others: false,
    };
    let channels = BTreeMap::from([
        (
            own.0,
            ChannelState {
                phase: ChannelPhase::Up,
                bridge: Some(own),
                in_our_app: true,
                up_for: None,
                trouble: None,
                with_others: false,
            },
        ),
        (uuid::Uuid::from_u128(2001), ringing),
        (uuid::Uuid::from_u128(2002), ringing),
    ]);
    rig.event(PbxEvent::Resynchronised(Snapshot { channels }));
    assert_eq!(rig.state(1), AgentState::Reserved);
    let hung_up: Vec<_> = rig
        .commands()
        .filter(|c| matches!(c, PbxCommand::HangUp { .. }))
        .collect();
    assert_eq!(hung_up.len(), 1);
}

#[test]
fn an_agent_who_asked_to_log_out_during_a_call_logs_out_after_it_in_spite_of_a_crash() {
    let connected = Some((Wall(1_800_000_000_000), AgentId(1)));
    let leaving = |n| OpenAgent {
        wants: Wants::LogOut,
        ..open_agent(n)
    };
    let mut rig = Rig::from(
        config(),
        Recovered {
            attempts: vec![open_attempt(1, connected, connected.map(|c| c.0))],
            agents: vec![leaving(1), leaving(2)],
            ..Recovered::default()
        },
    );
    let mut channels = BTreeMap::new();
    for (leg, bridge) in [(3001, 3001), (3002, 3002), (2001, 3001)] {
        let up = ChannelState {
            phase: ChannelPhase::Up,
            bridge: Some(AgentLegId(uuid::Uuid::from_u128(bridge))),
            in_our_app: true,
            up_for: None,
            trouble: None,
            with_others: false,
        };
        channels.insert(uuid::Uuid::from_u128(leg), up);
    }
    rig.event(PbxEvent::Resynchronised(Snapshot { channels }));
    let let_go = |n: u128| PbxCommand::HangUpAgent {
        leg: AgentLegId(uuid::Uuid::from_u128(3000 + n)),
    };
    assert_eq!(
        rig.commands().collect::<Vec<_>>(),
        [&let_go(2)],
        "the other talks"
    );
    rig.event(PbxEvent::LegEnded {
        leg: LegId(uuid::Uuid::from_u128(2001)),
        end: LegEnd::default(),
    });
    rig.wait(Duration::from_secs(5));
    assert!(rig.commands().any(|c| *c == let_go(1)), "wrap-up is over");
}

#[test]
fn a_ringing_call_found_in_a_strangers_bridge_is_ended_and_frees_the_agent_kept_for_it() {
    let mut rig = Rig::at_work(1);
    let (leg, own) = (rig.leg(), rig.agent_leg(1));
    assert_eq!(rig.state(1), AgentState::Reserved);
    let up_in = |bridge: AgentLegId| ChannelState {
        phase: ChannelPhase::Up,
        bridge: Some(bridge),
        in_our_app: true,
        up_for: None,
        trouble: None,
        with_others: false,
    };
    let stranger = AgentLegId(uuid::Uuid::from_u128(9_999));
    let channels = BTreeMap::from([
        (own.0, up_in(own)),
        (stranger.0, up_in(stranger)),
        (leg.0, up_in(stranger)),
    ]);
    rig.event(PbxEvent::Resynchronised(Snapshot { channels }));
    assert!(rig.commands().any(|c| *c == PbxCommand::HangUp { leg }));
    assert_ne!(rig.leg(), leg, "the agent has the next call");
    rig.event(PbxEvent::LegEnded {
        leg,
        end: end(EndedBy::Us, true),
    });
    assert_eq!(rig.outcomes(), [Outcome::Abandoned]);
    assert_eq!(rig.checked_account(), (1.0, 1.0));
}

/// A channel that is up in this bridge, and was answered this long ago.
fn up(bridge: Option<AgentLegId>, up_for: Option<Duration>) -> ChannelState {
    ChannelState {
        phase: ChannelPhase::Up,
        bridge,
        in_our_app: true,
        up_for,
        trouble: None,
        with_others: false,
    }
}

fn leg_of(n: u128) -> LegId {
    LegId(uuid::Uuid::from_u128(2000 + n))
}

fn agent_leg_of(n: u128) -> AgentLegId {
    AgentLegId(uuid::Uuid::from_u128(3000 + n))
}

/// A snapshot with agents 1 and 2 in their bridges, and these callees.
fn snapshot(callees: &[(u128, ChannelState)]) -> PbxEvent {
    let agents = [1, 2].map(|n| (agent_leg_of(n).0, up(Some(agent_leg_of(n)), None)));
    let callees = callees.iter().map(|(n, channel)| (leg_of(*n).0, *channel));
    PbxEvent::Resynchronised(Snapshot {
        channels: agents.into_iter().chain(callees).collect(),
    })
}

#[test]
fn existing_conversations_are_restored_before_any_callee_gets_an_agent() {
    let ringing = ChannelState {
        phase: ChannelPhase::Ringing,
        ..up(None, None)
    };
    for first in [ringing, up(None, Some(Duration::from_millis(100)))] {
        let mut rig = Rig::from(
            config(),
            Recovered {
                attempts: vec![open_attempt(1, None, None), open_attempt(2, None, None)],
                agents: vec![open_agent(1), open_agent(2)],
                ..Recovered::default()
            },
        );
        let talks = up(Some(agent_leg_of(1)), Some(Duration::from_secs(9)));
        rig.event(snapshot(&[(1, first), (2, talks)]));
        assert_eq!(
            [1, 2].map(|n| rig.state(n)),
            [AgentState::OnCall, AgentState::Reserved]
        );
        assert!(!rig.commands().any(|c| matches!(c, PbxCommand::HangUp { .. })));
    }
}

#[test]
fn an_agent_is_free_once_the_hang_up_of_its_callee_is_confirmed() {
    let answered = Some(Wall(1_800_000_000_000));
    let abandoned = OpenAttempt {
        abandoned_at: answered,
        ..open_attempt(1, None, answered)
    };
    let mut rig = Rig::from(
        config(),
        Recovered {
            attempts: vec![abandoned],
            agents: vec![open_agent(1), open_agent(2)],
            ..Recovered::default()
        },
    );
    let there = up(Some(agent_leg_of(1)), Some(Duration::from_secs(9)));
    rig.event(snapshot(&[(1, there)]));
    let leg = leg_of(1);
    assert!(rig.commands().any(|c| c == &PbxCommand::HangUp { leg }));
    let states = |rig: &Rig| [1, 2].map(|n| rig.state(n));
    assert_eq!(states(&rig), [AgentState::Reserved, AgentState::Available]);
    let end = end(EndedBy::Us, true);
    rig.event(PbxEvent::LegEnded { leg, end });
    assert_eq!(states(&rig), [AgentState::Available; 2]);
}

#[test]
fn an_answer_that_was_not_served_before_the_crash_ends_as_abandoned_once_its_limit_is_over() {
    let answered_at = Wall(1_800_000_000_000 - 20_000);
    let recovered = || Recovered {
        attempts: vec![OpenAttempt {
            created_at: Wall(1_800_000_000_000 - 30_000),
            ..open_attempt(1, None, Some(answered_at))
        }],
        agents: vec![open_agent(1), open_agent(2)],
        ..Recovered::default()
    };
    // First with a stored answer: the callee is gone, or it still waits. Then without one: the PBX can tell how long the
    // leg has been up, or cannot.
    let gone = |rig: &mut Rig| rig.event(snapshot(&[]));
    let waits = |rig: &mut Rig| rig.event(snapshot(&[(1, up(None, None))]));
    let cases: [&dyn Fn(&mut Rig); 2] = [&gone, &waits];
    for case in cases {
        let mut rig = Rig::from(config(), recovered());
        case(&mut rig);
        rig.wait(Duration::from_secs(1));
        assert!(!rig.commands().any(|c| matches!(c, PbxCommand::Connect { .. })));
        rig.event(PbxEvent::LegEnded {
            leg: leg_of(1),
            end: end(EndedBy::Vanished, false),
        });
        assert_eq!(rig.outcomes(), [Outcome::Abandoned]);
        assert_eq!(rig.account(), (1.0, 1.0));
    }
    for up_for in [None, Some(Duration::from_secs(20))] {
        let mut recovered = recovered();
        recovered.attempts[0].answered_at = None;
        let mut rig = Rig::from(config(), recovered);
        rig.event(snapshot(&[(1, up(None, up_for))]));
        rig.wait(Duration::from_secs(1));
        assert!(!rig.commands().any(|c| matches!(c, PbxCommand::Connect { .. })));
        rig.event(PbxEvent::LegEnded {
            leg: leg_of(1),
            end: end(EndedBy::Us, true),
        });
        assert_eq!(rig.outcomes(), [Outcome::Abandoned]);
        assert_eq!(rig.checked_account(), (1.0, 1.0));
    }
}

#[test]
fn a_callee_who_hung_up_before_the_limit_while_paceline_was_down_counts_in_neither_term() {
    let mut rig = Rig::from(
        config(),
        Recovered {
            attempts: vec![OpenAttempt {
                created_at: Wall(1_800_000_000_000 - 30_000),
                ..open_attempt(1, None, Some(Wall(1_800_000_000_000 - 1_500)))
            }],
            agents: vec![open_agent(1)],
            ..Recovered::default()
        },
    );
    rig.event(snapshot(&[]));
    // The driver waits one second in case the event of the end is only late.
    rig.wait(Duration::from_secs(1));
    rig.event(PbxEvent::LegEnded {
        leg: leg_of(1),
        end: end(EndedBy::Vanished, false),
    });
    assert_eq!(rig.outcomes(), [Outcome::Answered]);
    assert_eq!(rig.account(), (0.0, 0.0));
}

#[test]
fn after_any_number_of_crashes_the_abandon_counters_agree_with_the_attempts() {
    let rule = AbandonRule::daily(0.03, Duration::from_secs(2));
    let mut rig = Rig::at_work_in(Mode::Power, 2);
    rig.wait(Duration::from_secs(1));
    let legs = rig.legs();
    for leg in &legs {
        rig.event(PbxEvent::Answered { leg: *leg });
    }
    for n in [1, 2] {
        let (leg, agent_leg) = (legs[n as usize - 1], rig.agent_leg(n));
        rig.event(PbxEvent::Connected { leg, agent_leg });
    }
    rig.wait(Duration::from_millis(2_100));
    assert_eq!(rig.checked_account(), (3.0, 1.0));
    let rows = Rows::of(&rig.said);
    let mut attempts: Vec<OpenAttempt> = Vec::new();
    for (n, open) in rig
        .engine
        .attempts
        .values()
        .filter(|c| c.connected_at.is_some())
        .enumerate()
    {
        attempts.push(OpenAttempt {
            attempt: open.id,
            leg: leg_of(n as u128 + 1),
            answered_at: open.answered.map(|a| a.wall),
            connected: open.connected_at.map(|at| (at, AgentId(n as i64 + 1))),
            ..open_attempt(0, None, None)
        });
    }
    for _ in 0..3 {
        let mut again = Rig::from(
            config_of(Mode::Power),
            Recovered {
                attempts: attempts.clone(),
                agents: vec![open_agent(1), open_agent(2)],
                answers: rows.answers(&rule),
                ..Recovered::default()
            },
        );
        assert_eq!(again.account(), (3.0, 1.0), "before anything is heard");
        again.event(snapshot(&[1, 2].map(|n| (n, up(Some(agent_leg_of(n)), None)))));
        again.wait(Duration::from_secs(5));
        assert_eq!(again.state(1), AgentState::OnCall);
        assert_eq!(again.account(), (3.0, 1.0));
    }
}

fn up_in(bridge: u128) -> ChannelState {
    ChannelState {
        phase: ChannelPhase::Up,
        bridge: Some(AgentLegId(uuid::Uuid::from_u128(bridge))),
        in_our_app: true,
        up_for: None,
        trouble: None,
        with_others: false,
    }
}

#[test]
fn a_conversation_is_not_cut_because_the_agent_had_transferred_another_callee_before_the_restart() {
    let at = |ms: i64| Wall(1_800_000_000_000 + ms);
    // Attempt 1 was transferred, and ended while Paceline was down. Attempt 2 talks with the agent.
    let attempts = vec![
        open_attempt(1, Some((at(0), AgentId(1))), Some(at(0))),
        open_attempt(2, Some((at(60_000), AgentId(1))), Some(at(60_000))),
    ];
    let recovered = Recovered {
        attempts,
        agents: vec![open_agent(1)],
        ..Recovered::default()
    };
    let mut rig = Rig::from(config(), recovered);
    let channels = [3001, 2002].map(|leg| (uuid::Uuid::from_u128(leg), up_in(3001)));
    rig.event(PbxEvent::Resynchronised(Snapshot {
        channels: channels.into(),
    }));
    let leg = LegId(uuid::Uuid::from_u128(2002));
    assert!(rig.commands().all(|c| *c != PbxCommand::HangUp { leg }));
    rig.event(PbxEvent::LegEnded {
        leg: LegId(uuid::Uuid::from_u128(2001)),
        end: end(EndedBy::Vanished, true),
    });
    assert_eq!(rig.state(1), AgentState::OnCall);
    assert!(rig.commands().all(|c| *c != PbxCommand::HangUp { leg }));
}

#[test]
fn an_answer_that_a_lost_link_hid_is_joined_once() {
    let mut rig = Rig::at_work(1);
    let (leg, agent_leg) = (rig.leg(), rig.agent_leg(1));
    rig.event(PbxEvent::LinkLost);
    rig.wait(Duration::from_secs(1));
    let answered = ChannelState {
        bridge: None,
        up_for: Some(Duration::from_millis(500)),
        ..up_in(0)
    };
    let held = ChannelState {
        bridge: Some(agent_leg),
        ..up_in(0)
    };
    let channels = BTreeMap::from([(leg.0, answered), (agent_leg.0, held)]);
    rig.event(PbxEvent::Resynchronised(Snapshot { channels }));
    let joins = rig.commands().filter(|c| matches!(c, PbxCommand::Connect { .. }));
    assert_eq!(joins.count(), 1);
}
