//! Tests of late events: the connect limit counts from the time of the answer at the PBX.

use super::*;

const LIMIT: Duration = Duration::from_secs(2);

fn message() -> CampaignConfig {
    let mut config = config();
    config.settings.answering.abandon_message = Some(Sound::new("sound:sorry").unwrap());
    config
}

fn at_work(config: CampaignConfig) -> (Rig, LegId) {
    let mut rig = Rig::from(config, Recovered::default());
    rig.tell(Input::SetActive(true));
    rig.event(PbxEvent::Resynchronised(Snapshot::default()));
    rig.log_in(1);
    let leg = rig.agent_leg(1);
    rig.event(PbxEvent::AgentReady { leg });
    rig.wait(Duration::from_secs(20));
    let leg = rig.leg();
    (rig, leg)
}

fn connects(rig: &Rig) -> usize {
    rig.commands()
        .filter(|c| matches!(c, PbxCommand::Connect { .. }))
        .count()
}

#[test]
fn a_callee_whose_answer_is_read_past_the_limit_gets_the_message_and_no_agent() {
    let (mut rig, leg) = at_work(message());
    let answered_at = rig.now.wall.minus(Duration::from_secs(8));
    rig.late_event(Duration::from_secs(8), PbxEvent::Answered { leg });
    rig.wait(Duration::from_secs(1));
    assert_eq!(connects(&rig), 0);
    assert!(rig.commands().any(|c| matches!(c, PbxCommand::Play { .. })));
    assert!(
        rig.said
            .iter()
            .any(|c| matches!(c, Command::Store(Change::Answered { at, .. }) if *at == answered_at))
    );
    rig.event(PbxEvent::LegEnded {
        leg,
        end: end(EndedBy::Network, true),
    });
    assert_eq!(rig.outcomes(), [Outcome::Abandoned]);
    assert_eq!(rig.checked_account(), (1.0, 1.0));
}

#[test]
fn a_callee_who_hung_up_in_time_before_the_answer_was_read_counts_in_neither_term() {
    let (mut rig, leg) = at_work(message());
    rig.late_event(Duration::from_secs(8), PbxEvent::Answered { leg });
    let end = end(EndedBy::Network, true);
    rig.late_event(Duration::from_millis(6_500), PbxEvent::LegEnded { leg, end });
    assert_eq!(rig.outcomes(), [Outcome::Answered]);
    assert_eq!(rig.checked_account(), (0.0, 0.0));
}

#[test]
fn a_callee_who_hangs_up_past_the_limit_was_abandoned() {
    let (mut rig, leg) = at_work(config());
    rig.late_event(Duration::from_secs(8), PbxEvent::Answered { leg });
    let end = end(EndedBy::Network, true);
    rig.late_event(Duration::from_millis(5_500), PbxEvent::LegEnded { leg, end });
    assert_eq!(rig.outcomes(), [Outcome::Abandoned]);
    assert_eq!(rig.checked_account(), (1.0, 1.0));
}

#[test]
fn a_conversation_that_began_in_time_is_in_time_however_late_it_is_heard_of() {
    let (mut rig, leg) = at_work(config());
    let agent_leg = rig.agent_leg(1);
    rig.event(PbxEvent::Answered { leg });
    assert_eq!(connects(&rig), 1);
    // The process was frozen. The timer is handled first, and the PBX's events are still unread.
    rig.advance_to(rig.now.mono + Duration::from_secs(20));
    rig.engine.handle_timeout(rig.now);
    rig.settle();
    let joined = PbxEvent::Connected { leg, agent_leg };
    rig.late_event(Duration::from_millis(19_900), joined);
    rig.wait(Duration::from_secs(5));
    assert_eq!(rig.state(1), AgentState::OnCall);
    assert!(!rig.commands().any(|c| *c == PbxCommand::HangUp { leg }));
    assert_eq!(rig.checked_account(), (1.0, 0.0));
}

#[test]
fn a_callee_past_the_limit_when_the_link_is_back_gets_no_agent() {
    for (bridged, outcome) in [(false, Outcome::Abandoned), (true, Outcome::Answered)] {
        let (mut rig, leg) = at_work(config());
        let agent_leg = rig.agent_leg(1);
        rig.event(PbxEvent::Answered { leg });
        rig.event(PbxEvent::LinkLost);
        rig.wait(Duration::from_secs(10));
        let up = |bridge| ChannelState {
            phase: ChannelPhase::Up,
            bridge,
            in_our_app: true,
            up_for: None,
            trouble: None,
            with_others: false,
        };
        let channels = BTreeMap::from([
            (agent_leg.0, up(Some(agent_leg))),
            (leg.0, up(bridged.then_some(agent_leg))),
        ]);
        let before = connects(&rig);
        rig.event(PbxEvent::Resynchronised(Snapshot { channels }));
        rig.wait(LIMIT);
        assert_eq!(connects(&rig), before);
        rig.event(PbxEvent::LegEnded {
            leg,
            end: end(EndedBy::Us, true),
        });
        assert_eq!(rig.outcomes()[0], outcome);
        // If they are in one bridge, they were connected in time, before the link was lost.
        let abandoned = if bridged { 0.0 } else { 1.0 };
        assert_eq!(rig.checked_account(), (1.0, abandoned));
    }
}

#[test]
fn an_answer_is_never_before_its_call_and_a_clock_that_jumps_makes_no_wait() {
    let (mut rig, leg) = at_work(config());
    let launched = rig.now.wall.minus(Duration::from_secs(20));
    rig.late_event(Duration::from_secs(3_600), PbxEvent::Answered { leg });
    let Some(at) = rig.said.iter().find_map(|c| match c {
        Command::Store(Change::Answered { at, .. }) => Some(*at),
        _ => None,
    }) else {
        panic!("not stored");
    };
    assert_eq!(at, launched);

    let (mut rig, leg) = at_work(config());
    let agent_leg = rig.agent_leg(1);
    rig.event(PbxEvent::Answered { leg });
    // The clock jumps by more than the connect limit and by less than the period of the rule.
    rig.now.wall = rig.now.wall.plus(Duration::from_secs(3_600));
    rig.event(PbxEvent::Connected { leg, agent_leg });
    assert_eq!(rig.checked_account(), (1.0, 0.0));
}
