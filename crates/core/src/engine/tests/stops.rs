//! The process stops: for a restart, for good, or for good at a deadline.

use super::rig::{Rig, end};
use crate::agent::{AgentReason, AgentState};
use crate::command::{Change, Command};
use crate::ids::AgentId;
use crate::input::{AgentRequest, Asker, Input, Prepared};
use crate::live::Idle;
use crate::outcome::Outcome;
use crate::pbx::{EndedBy, PbxCommand, PbxEvent, Progress};
use std::time::Duration;

#[test]
fn a_drain_cancels_ringing_calls_and_lets_conversations_continue() {
    let mut rig = Rig::at_work(2);
    let (talking, ringing) = (rig.legs()[0], rig.legs()[1]);
    let agent_leg = rig.agent_leg(1);
    rig.event(PbxEvent::Answered { leg: talking });
    rig.event(PbxEvent::Connected {
        leg: talking,
        agent_leg,
    });
    rig.tell(Input::Drain);
    assert!(rig.commands().any(|c| c == &PbxCommand::HangUp { leg: ringing }));
    rig.event(PbxEvent::LegEnded {
        leg: ringing,
        end: end(EndedBy::Us, false),
    });
    let second = rig.agent_leg(2);
    rig.event(PbxEvent::AgentEnded {
        leg: second,
        end: end(EndedBy::Us, true),
    });
    assert_eq!(
        (rig.state(1), rig.state(2)),
        (AgentState::OnCall, AgentState::Offline)
    );
    assert!(!rig.engine.is_drained());
    rig.event(PbxEvent::LegEnded {
        leg: talking,
        end: end(EndedBy::Network, true),
    });
    rig.wait(Duration::from_secs(5));
    rig.event(PbxEvent::AgentEnded {
        leg: agent_leg,
        end: end(EndedBy::Us, true),
    });
    assert!(rig.engine.is_drained());
}

#[test]
fn an_agent_who_is_offline_has_the_reason_of_its_log_out() {
    let ask = |by| AgentRequest::LogOut { by };
    let asked = |request: AgentRequest| Input::Agent {
        agent: AgentId(1),
        request,
    };
    for (input, expected) in [
        (asked(ask(Asker::Agent)), AgentReason::LoggedOut),
        (asked(ask(Asker::Supervisor)), AgentReason::LoggedOutBySupervisor),
        (Input::Drain, AgentReason::Drained),
    ] {
        let mut rig = Rig::at_work(1);
        let (leg, agent_leg) = (rig.leg(), rig.agent_leg(1));
        rig.tell(input);
        rig.event(PbxEvent::LegEnded {
            leg,
            end: end(EndedBy::Us, false),
        });
        rig.event(PbxEvent::AgentEnded {
            leg: agent_leg,
            end: end(EndedBy::Us, true),
        });
        let offline = rig.said.iter().filter_map(|command| match command {
            Command::AgentIs {
                state: AgentState::Offline,
                reason,
                ..
            } => Some(*reason),
            Command::Store(Change::Agent {
                state: AgentState::Offline,
                reason,
                ..
            }) => Some(*reason),
            _ => None,
        });
        assert_eq!(offline.collect::<Vec<_>>(), [expected, expected]);
    }
}

#[test]
fn a_stop_serves_the_calls_that_ring_and_leaves_agents_and_conversations_up() {
    let mut rig = Rig::at_work(3);
    let [talking, ringing, unanswered] = rig.legs()[..] else {
        panic!("{:?}", rig.legs());
    };
    let agent_leg = rig.agent_leg(1);
    rig.event(PbxEvent::Answered { leg: talking });
    rig.event(PbxEvent::Connected {
        leg: talking,
        agent_leg,
    });
    rig.tell(Input::Stop { cancel: false });
    assert!(!rig.commands().any(|c| matches!(c, PbxCommand::HangUp { .. })));
    assert!(!rig.engine.is_settled());
    rig.event(PbxEvent::Answered { leg: ringing });
    let agent_leg = rig.agent_leg(2);
    rig.event(PbxEvent::Connected {
        leg: ringing,
        agent_leg,
    });
    rig.event(PbxEvent::LegEnded {
        leg: unanswered,
        end: end(EndedBy::RingTimeout, false),
    });
    assert!(rig.engine.is_settled());
    rig.wait(Duration::from_secs(5));
    assert_eq!(
        [1, 2, 3].map(|n| rig.state(n)),
        [AgentState::OnCall, AgentState::OnCall, AgentState::Available]
    );
    let ends = |c: &PbxCommand| matches!(c, PbxCommand::HangUpAgent { .. } | PbxCommand::HangUp { .. });
    assert!(!rig.commands().any(ends));
    assert_eq!(rig.legs().len(), 3, "nothing new is launched");
}

#[test]
fn a_call_that_is_stored_but_not_dialed_at_a_stop_is_not_dialed() {
    let mut rig = Rig::at_work(0);
    rig.store_answers = false;
    rig.log_in(1);
    let leg = rig.agent_leg(1);
    rig.event(PbxEvent::AgentReady { leg });
    rig.tell(Input::Leads {
        leads: vec![super::rig::lead(1)],
        next_due: None,
    });
    let prepared = rig.said.iter().find_map(|c| match c {
        Command::Prepare(new) => Some(new.attempt),
        _ => None,
    });
    rig.tell(Input::Stop { cancel: false });
    rig.tell(Input::Prepared {
        attempt: prepared.expect("a call is being stored"),
        result: Prepared::Allowed,
    });
    assert_eq!((rig.legs(), rig.outcomes()), (vec![], vec![Outcome::Cancelled]));
    assert!(rig.engine.is_settled());
}

#[test]
fn a_stop_that_has_waited_long_enough_cancels_the_calls_that_ring() {
    let mut rig = Rig::at_work(1);
    let ringing = rig.leg();
    rig.tell(Input::Stop { cancel: false });
    rig.tell(Input::Stop { cancel: true });
    assert_eq!(rig.last(), &PbxCommand::HangUp { leg: ringing });
    rig.event(PbxEvent::LegEnded {
        leg: ringing,
        end: end(EndedBy::Us, false),
    });
    assert!(rig.engine.is_settled());
    assert_eq!(rig.state(1), AgentState::Available);
}

#[test]
fn a_drain_lets_a_phone_ring_for_the_minimum_time_of_the_rules() {
    let mut config = super::rig::config();
    config.settings.pacing.abandon_rules[0].ring_ms_min = 15_000;
    let mut rig = Rig::at_work(1);
    rig.engine.configure(rig.now, config);
    rig.settle();
    let leg = rig.leg();
    rig.event(PbxEvent::Progress {
        leg,
        kind: Progress::Ringing,
    });
    rig.wait(Duration::from_secs(5));
    rig.tell(Input::Drain);
    rig.wait(Duration::from_millis(9_999));
    assert!(!rig.commands().any(|c| matches!(c, PbxCommand::HangUp { .. })));
    rig.wait(Duration::from_millis(1));
    assert_eq!(rig.last(), &PbxCommand::HangUp { leg });
}

#[test]
fn a_drain_whose_deadline_has_passed_hangs_up_what_is_left() {
    let mut rig = Rig::at_work(1);
    let (talking, agent_leg) = (rig.leg(), rig.agent_leg(1));
    rig.event(PbxEvent::Answered { leg: talking });
    rig.event(PbxEvent::Connected {
        leg: talking,
        agent_leg,
    });
    rig.tell(Input::Drain);
    rig.tell(Input::HangUpAll);
    assert!(rig.commands().any(|c| c == &PbxCommand::HangUp { leg: talking }));
    rig.event(PbxEvent::LegEnded {
        leg: talking,
        end: end(EndedBy::Us, true),
    });
    // The shell repeats it until no leg is left. It also ends a wrap-up.
    rig.tell(Input::HangUpAll);
    assert_eq!(rig.last(), &PbxCommand::HangUpAgent { leg: agent_leg });
    rig.event(PbxEvent::AgentEnded {
        leg: agent_leg,
        end: end(EndedBy::Us, true),
    });
    assert_eq!(rig.outcomes(), [Outcome::Answered]);
    assert!(rig.engine.is_drained());
}

#[test]
fn while_the_clock_is_in_doubt_no_call_is_launched_and_calls_that_are_up_continue() {
    let mut rig = Rig::at_work(1);
    let (leg, agent_leg) = (rig.leg(), rig.agent_leg(1));
    rig.tell(Input::ClockDoubted(true));
    assert!(rig.said.iter().any(|c| matches!(c, Command::Return { .. })));
    rig.event(PbxEvent::Answered { leg });
    rig.event(PbxEvent::Connected { leg, agent_leg });
    rig.event(PbxEvent::LegEnded {
        leg,
        end: end(EndedBy::Network, true),
    });
    rig.wait(Duration::from_secs(60));
    assert_eq!(rig.outcomes(), [Outcome::Answered]);
    assert_eq!((rig.state(1), rig.legs().len()), (AgentState::Available, 1));
    assert_eq!(rig.engine.live(rig.now).idle, [Idle::ClockDoubted]);
    rig.tell(Input::ClockDoubted(false));
    assert_eq!(rig.legs().len(), 2);
    // The store allows the call, and then the clock becomes doubtful.
    rig.store_answers = false;
    let leg = rig.leg();
    rig.event(PbxEvent::LegEnded {
        leg,
        end: end(EndedBy::Network, false),
    });
    let attempt = rig.last_being_stored();
    rig.tell(Input::ClockDoubted(true));
    rig.prepared(attempt, Prepared::Allowed);
    assert_eq!(rig.legs().len(), 2);
}
