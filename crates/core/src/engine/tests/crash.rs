//! Stories of what a crash left behind.

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
        lead: lead(n as i64),
        created_at: Wall(1_800_000_000_000),
        answered_at,
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
    }
}

#[test]
fn after_a_crash_a_conversation_goes_on_with_the_agent_whose_bridge_it_is_in() {
    // 1: stored as connected. 2: the crash came before even the answer was stored.
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
fn after_a_crash_a_ringing_call_gets_a_free_agent_or_is_taken_back() {
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
fn who_asked_to_go_home_during_a_call_goes_after_it_though_we_crashed_meanwhile() {
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
    rig.event(PbxEvent::Ended {
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
    rig.event(PbxEvent::Ended {
        leg,
        end: end(EndedBy::Us, true),
    });
    assert_eq!(rig.outcomes(), [Outcome::Answered]);
}
