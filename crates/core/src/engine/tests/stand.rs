//! Campaigns that must launch nothing: the trunk answers by itself, the agents are gone, or the store does not answer. Each
//! gives its reason.

use super::*;

fn sip(code: u16) -> LegEnd {
    LegEnd {
        sip: Some(code),
        ..LegEnd::default()
    }
}

/// The carrier ends every call with this SIP code after 100 ms. Returns the number of calls that were launched before the
/// trunk was held.
fn storm(rig: &mut Rig, code: u16, secs: u64) -> usize {
    let (mut ended, mut before_hold) = (0, None);
    for _ in 0..secs * 10 {
        rig.wait(Duration::from_millis(100));
        for leg in rig.legs().split_off(ended) {
            ended += 1;
            rig.event(PbxEvent::LegEnded { leg, end: sip(code) });
        }
        if before_hold.is_none() && rig.engine.live(rig.now).idle.contains(&Idle::TrunkFailing) {
            before_hold = Some(ended);
        }
    }
    before_hold.expect("the trunk is held")
}

fn is_hung_up(rig: &Rig, leg: LegId) -> bool {
    rig.commands().any(|c| c == &PbxCommand::HangUp { leg })
}

/// The legs for which a hang-up was requested, in the order of their dialing.
fn hung_up(rig: &Rig) -> Vec<LegId> {
    rig.legs()
        .into_iter()
        .filter(|leg| is_hung_up(rig, *leg))
        .collect()
}

#[test]
fn a_trunk_that_is_taken_from_the_campaign_is_not_held_any_more() {
    let mut rig = Rig::at_work(5);
    storm(&mut rig, 503, 6);
    assert!(!rig.engine.live(rig.now).trunks_held.is_empty());
    let mut other = config();
    other.trunks[0].id = TrunkId(2);
    rig.engine.configure(rig.now, other);
    assert!(rig.engine.live(rig.now).trunks_held.is_empty());
}

fn spent(rig: &Rig) -> usize {
    let ends = rig.said.iter().filter(|c| {
        matches!(c, Command::Store(Change::AttemptEnded { spends_try, retry_at, .. }) if *spends_try || retry_at.is_none())
    });
    ends.count()
}

#[test]
fn a_carrier_that_answers_for_every_number_gets_few_calls_and_finishes_no_contact() {
    for mode in [Mode::Progressive, Mode::Predictive] {
        for agents in [5, 200] {
            for code in [401, 403, 407, 404, 480, 486, 503] {
                let mut rig = Rig::at_work_in(mode, agents);
                let calls = storm(&mut rig, code, 6);
                let told = format!(
                    "{mode}, {agents} agents, {code}: {calls} calls, {:?}",
                    rig.outcomes()
                );
                assert!(calls <= 20, "{told}");
                assert_eq!(spent(&rig), 0, "{told}");
                assert!(rig.outcomes().iter().all(|o| *o == Outcome::Congestion), "{told}");
                assert!(rig.outcomes().len() >= calls, "{told}");
            }
        }
    }
}

#[test]
fn wrong_numbers_in_an_honest_list_are_done_and_hold_no_trunk() {
    let mut rig = Rig::at_work(6);
    let mut ended = 0;
    for _ in 0..200 {
        rig.wait(Duration::from_millis(100));
        for leg in rig.legs().split_off(ended) {
            ended += 1;
            // Two of three numbers are wrong. The third rings.
            if ended % 3 == 0 {
                rig.event(PbxEvent::Progress {
                    leg,
                    kind: Progress::Ringing,
                });
                rig.event(PbxEvent::LegEnded { leg, end: sip(480) });
            } else {
                rig.event(PbxEvent::LegEnded { leg, end: sip(404) });
            }
        }
    }
    rig.wait(Duration::from_secs(6));
    let invalid = rig.outcomes().iter().filter(|o| **o == Outcome::Invalid).count();
    assert!(ended > 1_000 && invalid > ended / 2, "{invalid} of {ended}");
    assert!(!rig.outcomes().contains(&Outcome::Congestion));
}

#[test]
fn a_wrong_number_is_finished_without_waiting_for_another_call() {
    let mut rig = Rig::at_work(1);
    let leg = rig.leg();
    rig.ask(1, AgentRequest::Pause);
    rig.event(PbxEvent::LegEnded { leg, end: sip(404) });
    assert_eq!(rig.outcomes(), []);
    rig.wait(Duration::from_secs(5));
    assert_eq!(rig.outcomes(), [Outcome::Invalid]);
}

#[test]
fn calls_without_any_agent_left_are_cancelled_after_the_minimum_ring_time() {
    for request in [AgentRequest::Pause, AgentRequest::LogOut { by: Asker::Agent }] {
        let rule = AbandonRule {
            ring_ms_min: 15_000,
            ..AbandonRule::daily(0.03, Duration::from_secs(2))
        };
        let mut rig = Rig::at_work_in(Mode::Power, 2);
        let mut config = config_of(Mode::Power);
        config.settings.pacing.abandon_rules = vec![rule];
        rig.engine.configure(rig.now, config);
        rig.wait(Duration::from_secs(1));
        let legs = rig.legs();
        assert_eq!(legs.len(), 3);
        rig.event(PbxEvent::Progress {
            leg: legs[0],
            kind: Progress::Ringing,
        });
        rig.wait(Duration::from_secs(5));
        rig.ask(1, request.clone());
        assert_eq!(hung_up(&rig), [], "the other agent is there");
        rig.ask(2, request.clone());
        assert_eq!(hung_up(&rig), legs[1..], "what has not rung yet, at once");
        for leg in &legs[1..] {
            rig.event(PbxEvent::LegEnded {
                leg: *leg,
                end: end(EndedBy::Us, false),
            });
        }
        rig.wait(Duration::from_millis(9_900));
        assert_eq!(hung_up(&rig), legs[1..]);
        rig.wait(Duration::from_millis(200));
        assert_eq!(hung_up(&rig), legs, "15 s after it began to ring");
    }
}

#[test]
fn calls_launched_ahead_are_for_the_free_agents_of_a_campaign_that_is_progressive_now() {
    let mut rig = Rig::at_work_in(Mode::Power, 4);
    rig.wait(Duration::from_secs(1));
    assert_eq!(rig.legs().len(), 6);
    rig.engine.configure(rig.now, config());
    rig.wait(Duration::from_secs(3));
    assert_eq!(rig.legs().len(), 6, "four free agents, six calls");
    let (gone, kept): (Vec<LegId>, Vec<LegId>) = rig
        .legs()
        .into_iter()
        .partition(|leg| hung_up(&rig).contains(leg));
    assert_eq!(
        (gone.len(), kept.len()),
        (2, 4),
        "two too many, that do not ring yet"
    );
    for leg in kept.into_iter().take(3) {
        let end = LegEnd {
            progressed: true,
            ..sip(486)
        };
        rig.event(PbxEvent::LegEnded { leg, end });
    }
    assert_eq!(rig.legs().len(), 9, "one call for each of three free agents");
}

/// A progressive campaign whose rules ask for 15 s of ringing. The call of agent 1 rings.
fn rings_for_one_agent() -> Rig {
    let mut config = config();
    config.settings.pacing.abandon_rules[0].ring_ms_min = 15_000;
    let mut rig = Rig::from(config, Recovered::default());
    rig.tell(Input::SetActive(true));
    rig.event(PbxEvent::Resynchronised(Snapshot::default()));
    rig.log_in(1);
    let leg = rig.agent_leg(1);
    rig.event(PbxEvent::AgentReady { leg });
    let (leg, kind) = (rig.leg(), Progress::Ringing);
    rig.event(PbxEvent::Progress { leg, kind });
    rig
}

#[test]
fn a_callees_phone_rings_for_the_minimum_time_although_its_agent_is_lost() {
    let mut rig = rings_for_one_agent();
    let (leg, agent_leg) = (rig.leg(), rig.agent_leg(1));
    rig.wait(Duration::from_secs(1));
    let end = end(EndedBy::Network, true);
    rig.event(PbxEvent::AgentEnded { leg: agent_leg, end });
    rig.ask(1, AgentRequest::Pause);
    rig.wait(Duration::from_millis(13_900));
    assert_eq!(hung_up(&rig), [], "it rings for 14.9 s");
    rig.wait(Duration::from_millis(200));
    assert_eq!(hung_up(&rig), [leg]);
}

#[test]
fn the_next_free_agent_is_reserved_for_a_call_that_rings_for_a_lost_agent() {
    let mut rig = rings_for_one_agent();
    let (leg, lost) = (rig.leg(), rig.agent_leg(1));
    let end = end(EndedBy::Network, true);
    rig.event(PbxEvent::AgentEnded { leg: lost, end });
    rig.wait(Duration::from_secs(5));
    rig.log_in(2);
    let agent_leg = rig.agent_leg(2);
    rig.event(PbxEvent::AgentReady { leg: agent_leg });
    assert_eq!(rig.state(2), AgentState::Reserved);
    assert_eq!(rig.legs(), [leg], "nobody else is called for this agent");
    rig.event(PbxEvent::Answered { leg });
    let to = Destination::HeldLeg(agent_leg);
    assert_eq!(rig.last(), &PbxCommand::Connect { leg, to });
}

#[test]
fn a_phone_that_rings_after_a_crash_with_no_agent_left_is_let_ring_for_as_long_as_the_rules_ask() {
    let mut config = config();
    config.settings.pacing.abandon_rules[0].ring_ms_min = 15_000;
    let open = crash::open_attempt(1, None, None);
    let leg = open.leg;
    let recovered = Recovered {
        attempts: vec![open],
        ..Recovered::default()
    };
    let mut rig = Rig::from(config, recovered);
    let rings = ChannelState {
        phase: ChannelPhase::Ringing,
        bridge: None,
        in_our_app: true,
        up_for: None,
        trouble: None,
        with_others: false,
    };
    let channels = BTreeMap::from([(leg.0, rings)]);
    rig.event(PbxEvent::Resynchronised(Snapshot { channels }));
    rig.wait(Duration::from_millis(14_900));
    assert!(!is_hung_up(&rig, leg));
    rig.wait(Duration::from_millis(200));
    assert!(is_hung_up(&rig, leg));
}

#[test]
fn calls_that_a_silent_store_has_not_stored_yet_are_in_flight() {
    let mut rig = Rig::at_work_in(Mode::Predictive, 0);
    rig.store_answers = false;
    rig.contacts = 100;
    for n in 1..=10 {
        rig.log_in(n);
        let leg = rig.agent_leg(n);
        rig.event(PbxEvent::AgentReady { leg });
    }
    rig.lease(1..=90);
    rig.wait(Duration::from_secs(20));
    assert_eq!(rig.asked_to_store().count(), 10);
}

#[test]
fn a_predictive_campaign_whose_only_agent_is_paused_says_so() {
    for mode in [Mode::Progressive, Mode::Predictive, Mode::Power] {
        let mut rig = Rig::at_work_in(mode, 1);
        rig.ask(1, AgentRequest::Pause);
        rig.wait(Duration::from_secs(30));
        assert_eq!(rig.engine.live(rig.now).idle, [Idle::NoFreeAgent], "{mode}");
    }
}

#[test]
fn a_campaign_that_waits_for_its_store_says_so() {
    for mode in [Mode::Progressive, Mode::Predictive, Mode::Power] {
        let mut rig = Rig::from(config_of(mode), Recovered::default());
        rig.tell(Input::SetActive(true));
        rig.event(PbxEvent::Resynchronised(Snapshot::default()));
        rig.store_answers = false;
        rig.log_in(1);
        let leg = rig.agent_leg(1);
        rig.event(PbxEvent::AgentReady { leg });
        assert_eq!(rig.engine.live(rig.now).idle, [Idle::Refilling], "{mode}");
        rig.lease([]);
        assert_eq!(rig.engine.live(rig.now).idle, [Idle::NoContacts], "{mode}");
    }
}

#[test]
fn a_campaign_with_as_many_calls_as_allowed_has_pacing_as_its_idle_reason() {
    let mut rig = Rig::at_work_in(Mode::Power, 2);
    rig.wait(Duration::from_secs(2));
    assert_eq!(rig.engine.live(rig.now).idle, [Idle::Pacing]);
    let mut rig = Rig::at_work_in(Mode::Progressive, 30);
    assert_eq!(
        rig.engine.live(rig.now).idle,
        [Idle::TrunkSilent],
        "twenty calls, none of which rings"
    );
    for leg in rig.legs() {
        rig.event(PbxEvent::Progress {
            leg,
            kind: Progress::Ringing,
        });
    }
    assert_eq!(
        (rig.legs().len(), rig.engine.live(rig.now).idle),
        (30, vec![Idle::NoFreeAgent])
    );
}
