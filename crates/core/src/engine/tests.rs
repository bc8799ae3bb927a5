//! Tests of single calls.

use super::*;
use crate::agent::{AgentState, Wants};
use crate::campaign::hours::CallingHours;
use crate::campaign::recording::RecordingSettings;
use crate::campaign::settings::CampaignSettings;
use crate::campaign::{Mode, TrunkConfig};
use crate::command::Change;
use crate::dial::{AgentTemplate, Extension, TrunkTemplate};
use crate::ids::{CampaignId, ContactId, TaskId, TrunkId};
use crate::input::{AgentRequest, Asker, OpenAgent, OpenAttempt, Prepared, Recovered};
use crate::live::Idle;
use crate::number::E164;
use crate::pacing::rules::{AbandonRule, AbandonWindow, AnswerResult, AnswerRow, Answers};
use crate::pbx::{
    ChannelPhase, ChannelState, ConnectFault, Departure, Destination, EndedBy, LegEnd, LegTrouble,
    PbxCommand, PbxEvent, Progress, Snapshot, Sound,
};
use crate::time::Wall;
use proptest::prelude::*;

mod crash;
mod full;
mod hunt;
mod late;
mod maintenance;
mod message;
mod opt_outs;
mod phones;
mod rig;
mod stand;
mod stops;
mod surplus;

use rig::{Rig, Rows, config, config_of, end, lead, pbx};

#[test]
fn an_answered_call_reaches_the_agent_kept_for_it_and_the_next_one_follows_wrap_up() {
    let mut rig = Rig::at_work(1);
    let leg = rig.leg();
    assert_eq!(rig.state(1), AgentState::Reserved);
    rig.event(PbxEvent::Progress {
        leg,
        kind: Progress::Ringing,
    });
    rig.event(PbxEvent::Answered { leg });
    let agent_leg = rig.agent_leg(1);
    assert_eq!(
        rig.last(),
        &PbxCommand::Connect {
            leg,
            to: Destination::HeldLeg(agent_leg)
        }
    );
    rig.event(PbxEvent::Connected { leg, agent_leg });
    assert_eq!(rig.state(1), AgentState::OnCall);
    rig.event(PbxEvent::LegEnded {
        leg,
        end: end(EndedBy::Network, true),
    });
    assert_eq!(
        (rig.state(1), rig.outcomes()),
        (AgentState::WrapUp, vec![Outcome::Answered])
    );
    assert_eq!(rig.legs().len(), 1);
    rig.wait(Duration::from_secs(5));
    assert_eq!((rig.state(1), rig.legs().len()), (AgentState::Reserved, 2));
}

#[test]
fn progressive_launches_one_call_for_each_free_agent_and_no_more() {
    let mut rig = Rig::at_work(3);
    assert_eq!(rig.legs().len(), 3);
    rig.ask(1, AgentRequest::Pause);
    let leg = rig.legs()[0];
    rig.event(PbxEvent::LegEnded {
        leg,
        end: LegEnd {
            sip: Some(486),
            ..LegEnd::default()
        },
    });
    assert_eq!((rig.state(1), rig.legs().len()), (AgentState::Paused, 3));
    rig.ask(1, AgentRequest::Ready);
    assert_eq!(rig.legs().len(), 4);
}

#[test]
fn an_answer_to_a_call_launched_ahead_gets_a_free_agent_or_is_abandoned_and_counted() {
    let mut rig = Rig::at_work_in(Mode::Power, 2);
    rig.wait(Duration::from_secs(1));
    let legs = rig.legs();
    assert_eq!(legs.len(), 3, "one and a half calls for each of two agents");
    for leg in &legs {
        rig.event(PbxEvent::Answered { leg: *leg });
    }
    let connects: Vec<LegId> = rig
        .commands()
        .filter_map(|c| match c {
            PbxCommand::Connect { leg, .. } => Some(*leg),
            _ => None,
        })
        .collect();
    assert_eq!(connects, legs[..2], "the longest waiting first");
    for (n, leg) in connects.into_iter().enumerate() {
        let agent_leg = rig.agent_leg(n as i64 + 1);
        rig.event(PbxEvent::Connected { leg, agent_leg });
    }
    rig.wait(Duration::from_millis(2_100));
    rig.event(PbxEvent::LegEnded {
        leg: legs[2],
        end: end(EndedBy::Us, true),
    });
    assert_eq!(rig.outcomes(), [Outcome::Abandoned]);
    let report = rig.engine.live(rig.now).pacing[0].report.clone();
    assert_eq!((report.live, report.abandoned), (3.0, 1.0), "{report}");
}

#[test]
fn learnt_rates_of_pacing_are_stored_and_loaded() {
    let mut rig = Rig::at_work_in(Mode::Predictive, 3);
    rig.wait(Duration::from_secs(70));
    let learnt = rig.said.iter().rev().find_map(|command| match command {
        Command::Store(Change::Learnt { pbx, learnt, .. }) => Some((pbx.clone(), (**learnt).clone())),
        _ => None,
    });
    let (on, learnt) = learnt.unwrap();
    assert!(learnt.dialing.iter().any(|bin| bin.exposure > 0.0));
    let recovered = Recovered {
        learnt: vec![(on, learnt.clone())],
        ..Recovered::default()
    };
    let mut again = Rig::from(config_of(Mode::Predictive), recovered);
    again.log_in(1);
    again.tell(Input::Drain);
    let kept = again.said.iter().find_map(|command| match command {
        Command::Store(Change::Learnt { learnt, .. }) => Some((**learnt).clone()),
        _ => None,
    });
    assert_eq!(kept.map(|l| l.dialing), Some(learnt.dialing));
}

#[test]
fn nothing_is_dialed_before_it_is_stored() {
    let (mut rig, attempt) = Rig::with_an_attempt_being_stored();
    assert_eq!(rig.legs(), []);
    rig.prepared(attempt, Prepared::Refused);
    assert_eq!((rig.legs(), rig.state(1)), (vec![], AgentState::Available));
    let result = Prepared::Allowed;
    assert_eq!(
        rig.engine.handle(rig.now, Input::Prepared { attempt, result }),
        Err(EngineError::NotAsked(attempt))
    );
}

#[test]
fn a_callee_without_an_agent_is_abandoned_at_the_limit() {
    let mut rig = Rig::at_work(1);
    let (leg, agent_leg) = (rig.leg(), rig.agent_leg(1));
    rig.event(PbxEvent::Answered { leg });
    rig.event(PbxEvent::AgentEnded {
        leg: agent_leg,
        end: end(EndedBy::Network, true),
    });
    rig.wait(Duration::from_millis(1999));
    assert!(!rig.commands().any(|c| c == &PbxCommand::HangUp { leg }));
    rig.wait(Duration::from_millis(1));
    assert!(rig.commands().any(|c| c == &PbxCommand::HangUp { leg }));
    rig.event(PbxEvent::LegEnded {
        leg,
        end: end(EndedBy::Us, true),
    });
    assert_eq!(rig.outcomes(), [Outcome::Abandoned]);
}

#[test]
fn an_agent_whose_phone_drops_while_a_call_rings_is_replaced_or_the_call_is_cancelled() {
    let mut rig = Rig::at_work(2);
    let (first, agent_leg) = (rig.legs()[0], rig.agent_leg(1));
    let last = rig.legs()[1];
    rig.event(PbxEvent::AgentEnded {
        leg: agent_leg,
        end: end(EndedBy::Network, true),
    });
    assert!(rig.commands().any(|c| c == &PbxCommand::HangUp { leg: first }));
    rig.event(PbxEvent::LegEnded {
        leg: first,
        end: end(EndedBy::Us, false),
    });
    assert_eq!(rig.outcomes(), [Outcome::Cancelled]);
    assert!(!rig.commands().any(|c| c == &PbxCommand::HangUp { leg: last }));
    rig.wait(Duration::from_secs(2));
    assert_eq!(rig.state(1), AgentState::Ringing);
}

#[test]
fn a_dropped_phone_is_called_again_twice_and_then_its_agent_is_paused() {
    let mut rig = Rig::at_work(0);
    rig.log_in(1);
    for (calls, wait_s) in [(1, 0), (2, 2), (3, 4)] {
        rig.wait(Duration::from_secs(wait_s));
        assert_eq!(
            rig.commands()
                .filter(|c| matches!(c, PbxCommand::CallAgent { .. }))
                .count(),
            calls
        );
        let leg = rig.agent_leg(1);
        rig.event(PbxEvent::AgentReady { leg });
        rig.event(PbxEvent::AgentEnded {
            leg,
            end: end(EndedBy::Network, true),
        });
    }
    rig.wait(Duration::from_secs(600));
    assert_eq!(
        rig.commands()
            .filter(|c| matches!(c, PbxCommand::CallAgent { .. }))
            .count(),
        3
    );
    assert_eq!(rig.state(1), AgentState::Paused);
    rig.ask(1, AgentRequest::Ready);
    assert_eq!(rig.state(1), AgentState::Ringing);
}

#[test]
fn a_phone_that_is_not_back_yet_after_its_pbx_is_called_for_minutes() {
    let mut rig = Rig::at_work(0);
    rig.log_in(1);
    let registered_at = rig.now.mono + Duration::from_secs(240);
    while rig.now.mono < registered_at {
        let leg = rig.agent_leg(1);
        rig.event(PbxEvent::AgentEnded {
            leg,
            end: end(EndedBy::Refused, false),
        });
        rig.wait(Duration::from_secs(30));
        assert_eq!(rig.state(1), AgentState::Ringing, "called again");
    }
    let leg = rig.agent_leg(1);
    rig.event(PbxEvent::AgentReady { leg });
    assert_eq!(rig.state(1), AgentState::Reserved, "at work");
}

#[test]
fn a_trunk_that_refuses_everything_costs_a_probe_now_and_then_and_no_contact() {
    let mut rig = Rig::at_work(1);
    let until = rig.now.mono + Duration::from_secs(60);
    while rig.now.mono < until {
        if let Some(leg) = rig.legs().last().copied() {
            rig.event(PbxEvent::LegEnded {
                leg,
                end: end(EndedBy::Refused, false),
            });
        }
        rig.wait(Duration::from_secs(1));
    }
    assert!(
        (6..=12).contains(&rig.legs().len()),
        "{} launched",
        rig.legs().len()
    );
    assert!(
        rig.engine
            .live(rig.now)
            .idle
            .contains(&crate::live::Idle::TrunkFailing)
    );
    let spent = rig.said.iter().filter(|c| {
        matches!(c, Command::Store(Change::AttemptEnded { spends_try, retry_at, .. }) if *spends_try || retry_at.is_none())
    });
    assert_eq!(spent.count(), 0);
}

#[test]
fn an_old_allow_decision_is_not_dialed() {
    for paused in [true, false] {
        let (mut rig, attempt) = Rig::with_an_attempt_being_stored();
        if paused {
            rig.tell(Input::SetActive(false));
        } else {
            rig.wait(Duration::from_secs(121));
        }
        rig.prepared(attempt, Prepared::Allowed);
        assert_eq!((rig.legs(), rig.outcomes()), (vec![], vec![Outcome::Cancelled]));
    }
}

#[test]
fn an_allow_decision_over_other_settings_is_not_dialed() {
    for changed in [true, false] {
        let (mut rig, attempt) = Rig::with_an_attempt_being_stored();
        let mut config = (**rig.engine.config()).clone();
        if changed {
            config.settings.dialing.ring_timeout_ms += 5_000;
        }
        rig.wait(Duration::from_millis(1));
        rig.engine.configure(rig.now, config);
        rig.prepared(attempt, Prepared::Allowed);
        assert_eq!(rig.legs().is_empty(), changed);
    }
}

#[test]
fn a_hang_up_that_no_event_confirms_is_sent_again() {
    let mut rig = Rig::at_work(1);
    let leg = rig.leg();
    rig.tell(Input::TaskStopped {
        task: TaskId(1),
        hang_up: true,
    });
    let asked = |rig: &Rig| {
        rig.commands()
            .filter(|c| *c == &PbxCommand::HangUp { leg })
            .count()
    };
    assert_eq!(asked(&rig), 1);
    rig.wait(Duration::from_secs(11));
    assert_eq!(asked(&rig), 3);
    rig.event(PbxEvent::LegEnded {
        leg,
        end: end(EndedBy::Vanished, false),
    });
    assert_eq!(rig.outcomes(), [Outcome::Unknown]);
}

#[test]
fn an_answer_to_a_call_that_is_being_cancelled_is_an_abandoned_call() {
    let mut rig = Rig::at_work(1);
    let leg = rig.leg();
    rig.tell(Input::TaskStopped {
        task: TaskId(1),
        hang_up: true,
    });
    rig.event(PbxEvent::Answered { leg });
    rig.event(PbxEvent::LegEnded {
        leg,
        end: end(EndedBy::Us, true),
    });
    assert_eq!(rig.outcomes(), [Outcome::Abandoned]);
}

#[test]
fn no_call_is_launched_on_a_lost_link_and_the_snapshot_ends_the_missing_legs() {
    let mut rig = Rig::at_work(2);
    let (gone, ringing) = (rig.legs()[0], rig.legs()[1]);
    rig.event(PbxEvent::LinkLost);
    rig.wait(Duration::from_secs(60));
    assert_eq!(rig.legs().len(), 2, "nothing new");
    let mut channels = BTreeMap::new();
    let up = |bridge| ChannelState {
        phase: ChannelPhase::Up,
        bridge,
        in_our_app: true,
        up_for: None,
        trouble: None,
        with_others: false,
    };
    for n in 1..=2 {
        channels.insert(rig.agent_leg(n).0, up(Some(rig.agent_leg(n))));
    }
    channels.insert(
        ringing.0,
        ChannelState {
            phase: ChannelPhase::Ringing,
            bridge: None,
            in_our_app: false,
            up_for: None,
            trouble: None,
            with_others: false,
        },
    );
    rig.event(PbxEvent::Resynchronised(Snapshot { channels }));
    assert!(rig.commands().any(|c| c == &PbxCommand::HangUp { leg: gone }));
    rig.event(PbxEvent::LegEnded {
        leg: gone,
        end: end(EndedBy::Vanished, false),
    });
    assert_eq!(rig.outcomes(), [Outcome::Unknown]);
    rig.event(PbxEvent::Answered { leg: ringing });
    assert!(matches!(rig.last(), PbxCommand::Connect { leg, .. } if *leg == ringing));
}

#[test]
fn a_recorded_campaign_asks_for_a_recording_once_the_two_are_joined() {
    let announcement = Some(crate::pbx::Sound::new("sound:notice").unwrap());
    let mut config = config();
    config.settings.recording = RecordingSettings {
        enabled: true,
        announcement: announcement.clone(),
    };
    let mut rig = Rig::at_work(1);
    rig.engine.configure(rig.now, config);
    let (leg, agent_leg) = (rig.leg(), rig.agent_leg(1));
    rig.event(PbxEvent::Answered { leg });
    rig.event(PbxEvent::Connected { leg, agent_leg });
    let recording = crate::pbx::RecordingName::of(leg);
    assert_eq!(
        rig.last(),
        &PbxCommand::Record {
            leg,
            agent_leg,
            recording,
            announcement
        }
    );
}

#[test]
fn an_agent_can_end_the_conversation_and_keeps_the_phone() {
    let mut rig = Rig::at_work(1);
    let (leg, agent_leg) = (rig.leg(), rig.agent_leg(1));
    let hang_up = Input::Agent {
        agent: AgentId(1),
        request: AgentRequest::HangUp,
    };
    assert_eq!(
        rig.engine.handle(rig.now, hang_up.clone()),
        Err(EngineError::NotOnCall(AgentId(1)))
    );
    rig.event(PbxEvent::Answered { leg });
    rig.event(PbxEvent::Connected { leg, agent_leg });
    rig.tell(hang_up);
    assert_eq!(rig.last(), &PbxCommand::HangUp { leg });
    rig.event(PbxEvent::LegEnded {
        leg,
        end: end(EndedBy::Us, true),
    });
    assert_eq!(
        (rig.state(1), rig.outcomes()),
        (AgentState::WrapUp, vec![Outcome::Answered])
    );
    assert_eq!(rig.agent_leg(1), agent_leg);
}

#[test]
fn a_free_agent_serves_waiting_callees_before_a_new_call() {
    let mut rig = Rig::at_work(2);
    let (waits, busy) = (rig.legs()[0], rig.legs()[1]);
    let first = rig.agent_leg(1);
    rig.event(PbxEvent::Answered { leg: waits });
    rig.event(PbxEvent::ConnectFailed {
        leg: waits,
        agent_leg: first,
        fault: ConnectFault::AgentGone,
    });
    rig.event(PbxEvent::LegEnded {
        leg: busy,
        end: end(EndedBy::Network, false),
    });
    let agent_leg = rig.agent_leg(2);
    assert_eq!(
        rig.last(),
        &PbxCommand::Connect {
            leg: waits,
            to: Destination::HeldLeg(agent_leg)
        }
    );
}

#[test]
fn a_failing_store_is_tested_with_one_attempt_at_a_time() {
    for mode in [Mode::Progressive, Mode::Power] {
        let mut rig = Rig::at_work_in(mode, 0);
        rig.store_answers = false;
        for n in 1..=5 {
            rig.log_in(n);
            let leg = rig.agent_leg(n);
            rig.event(PbxEvent::AgentReady { leg });
        }
        rig.tell(Input::RefillFailed);
        let asked = |rig: &Rig| rig.asked_to_store().collect::<Vec<_>>();
        rig.wait(Duration::from_secs(2));
        rig.lease(1..=20);
        rig.wait(Duration::from_secs(1));
        let first = asked(&rig);
        assert!(first.len() >= 5, "the lease has shown that it can: {first:?}");
        for attempt in &first {
            rig.prepared(*attempt, Prepared::Failed);
        }
        rig.wait(Duration::from_millis(900));
        assert_eq!(asked(&rig).len(), first.len(), "a moment's peace");
        rig.wait(Duration::from_secs(30));
        let probe = asked(&rig);
        assert_eq!(probe.len(), first.len() + 1, "one at a time");
        rig.prepared(probe[first.len()], Prepared::Allowed);
        rig.wait(Duration::from_secs(1));
        assert!(asked(&rig).len() >= probe.len() + 4, "and all goes on");
    }
}

fn returned(rig: &Rig) -> usize {
    let back = rig.said.iter().map(|c| match c {
        Command::Return { contacts } => contacts.len(),
        _ => 0,
    });
    back.sum()
}

fn refills(rig: &Rig) -> usize {
    rig.said
        .iter()
        .filter(|c| matches!(c, Command::Refill { .. }))
        .count()
}

#[test]
fn unused_contacts_are_returned_and_leased_again_once_an_agent_is_free() {
    let mut rig = Rig::at_work(1);
    let (leg, agent_leg) = (rig.leg(), rig.agent_leg(1));
    rig.event(PbxEvent::Answered { leg });
    rig.event(PbxEvent::Connected { leg, agent_leg });
    let held = rig.engine.live(rig.now).hopper;
    assert!(held > 0);
    rig.wait(Duration::from_secs(120));
    assert_eq!((rig.engine.live(rig.now).hopper, returned(&rig)), (0, held));
    let asked = refills(&rig);
    rig.wait(Duration::from_secs(1200));
    assert_eq!(refills(&rig), asked, "a long conversation leases nothing");
    rig.event(PbxEvent::LegEnded {
        leg,
        end: end(EndedBy::Network, true),
    });
    rig.wait(Duration::from_secs(30));
    assert_eq!(rig.legs().len(), 2, "the next call follows wrap-up");
}

#[test]
fn a_predictive_campaign_gives_its_numbers_free_for_a_while_and_can_then_call_ahead_again() {
    let mut rig = Rig::at_work_in(Mode::Predictive, 1);
    rig.wait(Duration::from_secs(2));
    let (leg, agent_leg) = (rig.leg(), rig.agent_leg(1));
    rig.event(PbxEvent::Answered { leg });
    rig.event(PbxEvent::Connected { leg, agent_leg });
    let (mut held, mut free) = (0, 0);
    for _ in 0..600 {
        rig.wait(Duration::from_secs(1));
        match rig.engine.live(rig.now) {
            live if live.hopper == 0 => {
                free += 1;
                assert_eq!(live.idle, [Idle::Pacing]);
            }
            _ => held += 1,
        }
    }
    assert!(free >= 60, "{free} s of 600 without a contact");
    assert!(held >= 300, "{held} s of 600 with contacts");
}

#[test]
fn a_campaign_whose_agents_left_or_paused_holds_no_contacts() {
    for request in [AgentRequest::LogOut { by: Asker::Agent }, AgentRequest::Pause] {
        let mut rig = Rig::at_work(1);
        let leg = rig.leg();
        rig.event(PbxEvent::LegEnded {
            leg,
            end: end(EndedBy::Network, false),
        });
        rig.ask(1, request);
        for leg in rig.legs() {
            rig.event(PbxEvent::LegEnded {
                leg,
                end: end(EndedBy::Us, false),
            });
        }
        let leg = rig.agent_leg(1);
        rig.event(PbxEvent::AgentEnded {
            leg,
            end: end(EndedBy::Us, true),
        });
        rig.wait(Duration::from_secs(120));
        assert_eq!(rig.engine.live(rig.now).hopper, 0);
        let asked = refills(&rig);
        rig.wait(Duration::from_secs(1200));
        assert_eq!(refills(&rig), asked);
    }
}
