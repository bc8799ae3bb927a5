//! A number is opted out at each step of a call to it.

use super::*;
use crate::pbx::Digit;

fn opt_out(rig: &mut Rig, contact: i64) {
    rig.tell(Input::OptedOut {
        numbers: vec![lead(contact).number],
    });
}

fn returned(rig: &Rig) -> Vec<ContactId> {
    let returned = rig.said.iter().filter_map(|command| match command {
        Command::Return { contacts } => Some(contacts.iter().map(|(_, contact)| *contact)),
        _ => None,
    });
    returned.flatten().collect()
}

#[test]
fn a_leased_contact_whose_number_is_opted_out_is_returned() {
    let mut rig = Rig::at_work(1);
    let hopper: Vec<_> = rig.engine.hopper.iter().map(|(_, lead)| lead.contact).collect();
    let first = hopper[0];
    opt_out(&mut rig, first.0);
    assert_eq!(returned(&rig), [first]);
    assert_eq!(rig.engine.hopper.len(), hopper.len() - 1);
}

#[test]
fn a_contact_that_the_store_leased_just_before_the_opt_out_is_returned_when_it_arrives() {
    let mut rig = Rig::from(config(), Recovered::default());
    rig.store_answers = false;
    rig.tell(Input::SetActive(true));
    rig.event(PbxEvent::Resynchronised(Snapshot::default()));
    rig.log_in(1);
    opt_out(&mut rig, 2);
    rig.lease([1, 2]);
    assert_eq!(returned(&rig), [ContactId(2)]);
}

#[test]
fn an_attempt_that_is_being_stored_is_not_dialed_after_the_opt_out() {
    let (mut rig, attempt) = Rig::with_an_attempt_being_stored();
    opt_out(&mut rig, 1);
    rig.prepared(attempt, Prepared::Allowed);
    assert_eq!(rig.legs(), []);
    assert_eq!(rig.outcomes(), [Outcome::Cancelled]);
    assert!(detail(&rig).contains("do-not-call"), "{}", detail(&rig));
    assert_eq!(rig.state(1), AgentState::Available);
}

/// The detail of the last leg that ended.
fn detail(rig: &Rig) -> &str {
    let mut details = rig.said.iter().filter_map(|command| match command {
        Command::Store(Change::LegEnded { end, .. }) => Some(end.detail.as_str()),
        _ => None,
    });
    details.next_back().expect("a leg ended")
}

#[test]
fn a_dialed_or_ringing_leg_is_hung_up_at_once_and_its_outcome_is_cancelled() {
    for rings in [false, true] {
        let mut rig = Rig::at_work(1);
        let leg = rig.leg();
        if rings {
            let kind = Progress::Ringing;
            rig.event(PbxEvent::Progress { leg, kind });
        }
        opt_out(&mut rig, 1);
        assert!(rig.commands().any(|c| c == &PbxCommand::HangUp { leg }));
        rig.event(PbxEvent::LegEnded {
            leg,
            end: end(EndedBy::Us, false),
        });
        assert_eq!(rig.outcomes(), [Outcome::Cancelled]);
        assert!(detail(&rig).contains("do-not-call"), "{}", detail(&rig));
        let retry = rig.said.iter().find_map(|command| match command {
            Command::Store(Change::AttemptEnded { retry_at, .. }) => Some(*retry_at),
            _ => None,
        });
        let now = Some(Some(rig.now.wall));
        assert_eq!(retry, now, "the next lease decides at once");
    }
}

#[test]
fn an_answered_call_goes_on_after_the_opt_out() {
    let mut rig = Rig::at_work(1);
    let (leg, agent_leg) = (rig.leg(), rig.agent_leg(1));
    rig.event(PbxEvent::Answered { leg });
    opt_out(&mut rig, 1);
    rig.event(PbxEvent::Connected { leg, agent_leg });
    opt_out(&mut rig, 1);
    assert_eq!(rig.state(1), AgentState::OnCall);
    assert!(!rig.commands().any(|c| c == &PbxCommand::HangUp { leg }));
}

#[test]
fn an_answer_that_comes_after_the_opt_out_is_an_abandoned_call() {
    let mut rig = Rig::at_work(1);
    let leg = rig.leg();
    opt_out(&mut rig, 1);
    rig.event(PbxEvent::Answered { leg });
    rig.event(PbxEvent::LegEnded {
        leg,
        end: end(EndedBy::Us, true),
    });
    assert_eq!(rig.outcomes(), [Outcome::Abandoned]);
}

#[test]
fn a_callee_opts_out_by_the_campaigns_key_once_and_the_conversation_goes_on() {
    let digit = |key| Digit::new(key).unwrap();
    let mut rig = Rig::at_work(1);
    let mut config = config();
    config.settings.suppression.opt_out_digit = Some(digit("9"));
    rig.engine.configure(rig.now, config);
    let (leg, agent_leg) = (rig.leg(), rig.agent_leg(1));
    let press = |rig: &mut Rig, key| {
        let digit = digit(key);
        rig.event(PbxEvent::Pressed { leg, digit });
    };
    // Early media may contain tones.
    press(&mut rig, "9");
    rig.event(PbxEvent::Answered { leg });
    rig.event(PbxEvent::Connected { leg, agent_leg });
    press(&mut rig, "1");
    let opted_out = |rig: &Rig| {
        let out = rig.said.iter().filter_map(|command| match command {
            Command::OptOut { number, .. } => Some(number.clone()),
            _ => None,
        });
        out.collect::<Vec<_>>()
    };
    assert_eq!(opted_out(&rig), []);
    press(&mut rig, "9");
    press(&mut rig, "9");
    assert_eq!(opted_out(&rig), [lead(1).number]);
    assert_eq!(rig.state(1), AgentState::OnCall);
}
