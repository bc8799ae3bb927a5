use super::*;
use crate::esl::leg::{Found, FoundStage};
use crate::progress::ProgressSeen;
use paceline_core::pbx::DialString;
use paceline_core::pbx::{Destination, EndedBy, Sound};

mod gaps;
mod phones;

const CALLEE: LegId = LegId(Uuid::from_u128(1));
const AGENT: AgentLegId = AgentLegId(Uuid::from_u128(2));

struct Bench {
    legs: Legs,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self {
            legs: Legs::new("paceline".to_owned()),
            now: Instant::now(),
        }
    }

    fn call(&mut self) {
        self.call_over("sofia/gateway/carrier/+12025550123");
    }

    fn call_over(&mut self, dial: &str) {
        self.legs.command(
            PbxCommand::CallContact {
                leg: CALLEE,
                dial: DialString::new(dial).unwrap(),
                caller_id: None,
                ring_timeout: Duration::from_secs(20),
                duration_max: Duration::from_secs(60),
            },
            self.now,
        );
        assert_eq!(self.asked().len(), 1);
    }

    fn call_agent(&mut self) {
        self.legs.command(
            PbxCommand::CallAgent {
                leg: AGENT,
                dial: DialString::new("user/agent-1").unwrap(),
                caller_id: None,
                ring_timeout: Duration::from_secs(20),
                duration_max: Duration::from_secs(60),
                report_keys: false,
            },
            self.now,
        );
        assert_eq!(self.asked().len(), 1);
    }

    /// Both are there and parked.
    fn ready(&mut self) {
        self.call();
        self.call_agent();
        for id in [CALLEE.0, AGENT.0] {
            for event in [
                EslEvent::Created(id),
                EslEvent::Answered(id),
                EslEvent::Parked(id, false),
            ] {
                self.event(event);
            }
        }
        self.heard();
    }

    fn event(&mut self, event: EslEvent) {
        self.legs.event(event, self.now);
    }

    fn ended(&mut self, id: Uuid, facts: Facts) {
        self.event(EslEvent::Ended(id, Box::new(facts)));
    }

    fn tick_after(&mut self, wait: Duration) {
        self.now += wait;
        self.legs.tick(self.now);
    }

    fn connect(&mut self) {
        let command = PbxCommand::Connect {
            leg: CALLEE,
            to: Destination::HeldLeg(AGENT),
        };
        self.legs.command(command, self.now);
    }

    fn asked(&mut self) -> Vec<OnReply> {
        let asked = self.legs.out.asks.drain(..).map(|ask| ask.then);
        asked.filter(|then| *then != OnReply::Counted).collect()
    }

    fn heard(&mut self) -> Vec<PbxEvent> {
        self.legs.out.events.drain(..).collect()
    }

    fn end(&mut self) -> LegEnd {
        match self.heard().pop() {
            Some(PbxEvent::LegEnded { leg: CALLEE, end }) => end,
            other => panic!("no end but {other:?}"),
        }
    }
}

fn facts(cause: &str, q850: u16, sip: Option<u16>) -> Facts {
    Facts {
        cause: cause.to_owned(),
        q850: Some(q850),
        sip,
        ..Facts::default()
    }
}

fn failed(fault: ConnectFault) -> PbxEvent {
    PbxEvent::ConnectFailed {
        leg: CALLEE,
        agent_leg: AGENT,
        fault,
    }
}

#[test]
fn a_jobs_failure_counts_only_if_there_never_was_a_channel() {
    let mut bench = Bench::new();
    bench.call();
    bench.event(EslEvent::NotPlaced(CALLEE.0, "USER_BUSY".to_owned()));
    assert_eq!(bench.heard(), []);
    bench.event(EslEvent::Created(CALLEE.0));
    bench.tick_after(Duration::from_secs(1));
    assert_eq!(bench.heard(), []);
    bench.ended(CALLEE.0, facts("USER_BUSY", 17, Some(486)));
    let end = bench.end();
    assert_eq!(
        (end.by, end.q850, end.sip),
        (EndedBy::Network, Some(17), Some(486))
    );

    bench.call();
    bench.event(EslEvent::NotPlaced(CALLEE.0, "INVALID_GATEWAY".to_owned()));
    bench.tick_after(CREATE_LATE_MAX);
    let end = bench.end();
    assert_eq!(
        (end.by, end.detail.as_str()),
        (EndedBy::Refused, "INVALID_GATEWAY")
    );
}

#[test]
fn a_full_pbx_is_told_from_a_trunk_that_is_down() {
    for (words, by, q850) in [
        ("DESTINATION_OUT_OF_ORDER", EndedBy::NoRoom, None),
        ("GATEWAY_DOWN", EndedBy::Network, Some(38)),
        ("SUBSCRIBER_ABSENT", EndedBy::Refused, None),
        // Its channel's own end was lost, or is late.
        ("USER_BUSY", EndedBy::Network, Some(17)),
        ("NO_ANSWER", EndedBy::RingTimeout, Some(19)),
        ("PROGRESS_TIMEOUT", EndedBy::RingTimeout, Some(19)),
    ] {
        let mut bench = Bench::new();
        bench.call();
        bench.event(EslEvent::NotPlaced(CALLEE.0, words.to_owned()));
        bench.tick_after(END_AFTER_JOB_MAX);
        let end = bench.end();
        assert_eq!((end.by, end.q850, end.detail.as_str()), (by, q850, words));
    }
}

#[test]
fn an_answer_counts_in_spite_of_the_jobs_result_and_our_hang_up() {
    let mut bench = Bench::new();
    bench.call();
    bench.event(EslEvent::Created(CALLEE.0));
    bench.legs.command(PbxCommand::HangUp { leg: CALLEE }, bench.now);
    bench.event(EslEvent::NotPlaced(CALLEE.0, "NORMAL_CLEARING".to_owned()));
    bench.ended(
        CALLEE.0,
        Facts {
            answered: true,
            ..facts("NORMAL_CLEARING", 16, None)
        },
    );
    let end = bench.end();
    assert_eq!((end.by, end.answered), (EndedBy::Us, true));
}

#[test]
fn the_side_that_ended_a_leg_follows_from_cause_and_status() {
    for (hang_up, facts, by) in [
        (false, facts("NO_ANSWER", 19, None), EndedBy::RingTimeout),
        (false, facts("PROGRESS_TIMEOUT", 16, None), EndedBy::RingTimeout),
        (false, facts("ALLOTTED_TIMEOUT", 16, None), EndedBy::RingTimeout),
        (false, facts("NO_ANSWER", 19, Some(480)), EndedBy::Network),
        (true, facts("NORMAL_CLEARING", 16, None), EndedBy::Us),
        (true, facts("USER_BUSY", 17, Some(486)), EndedBy::Network),
        (true, facts("SYSTEM_SHUTDOWN", 0, None), EndedBy::Stopped),
        (
            false,
            facts("RECOVERY_ON_TIMER_EXPIRE", 102, Some(408)),
            EndedBy::Network,
        ),
    ] {
        let mut bench = Bench::new();
        bench.call();
        bench.event(EslEvent::Created(CALLEE.0));
        if hang_up {
            bench.legs.command(PbxCommand::HangUp { leg: CALLEE }, bench.now);
        }
        let context = format!("{facts:?}");
        bench.ended(CALLEE.0, facts);
        assert_eq!(bench.end().by, by, "{context}");
    }
}

#[test]
fn a_hang_up_that_comes_before_the_channel_is_asked_again_when_it_appears() {
    let mut bench = Bench::new();
    bench.call();
    bench.legs.command(PbxCommand::HangUp { leg: CALLEE }, bench.now);
    assert_eq!(bench.asked(), [OnReply::HungUp(CALLEE.0)]);
    bench
        .legs
        .replied(OnReply::HungUp(CALLEE.0), "-ERR No such channel!", bench.now);
    bench.tick_after(END_LATE_MAX * 2);
    assert_eq!(bench.heard(), []);
    bench.event(EslEvent::Created(CALLEE.0));
    assert_eq!(bench.asked(), [OnReply::HungUp(CALLEE.0)]);
    bench.ended(CALLEE.0, facts("NORMAL_CLEARING", 16, None));
    assert_eq!(bench.end().by, EndedBy::Us);
    // One that is gone when it is hung up has ended unseen; one whose end was seen has not.
    bench.legs.command(PbxCommand::HangUp { leg: CALLEE }, bench.now);
    assert_eq!(bench.asked(), []);
    let unseen = LegId(Uuid::from_u128(9));
    bench.legs.command(PbxCommand::HangUp { leg: unseen }, bench.now);
    bench
        .legs
        .replied(OnReply::HungUp(unseen.0), "-ERR No such channel!", bench.now);
    bench.tick_after(END_LATE_MAX);
    assert!(matches!(
        bench.heard()[..],
        [PbxEvent::LegEnded { leg, end: LegEnd { by: EndedBy::Vanished, .. } }] if leg == unseen
    ));
}

#[test]
fn a_cancelled_originate_is_not_sent() {
    let mut bench = Bench::new();
    bench.call();
    let then = OnReply::Placed(CALLEE.0);
    assert!(bench.legs.still_wanted(&then, bench.now));
    bench.legs.command(PbxCommand::HangUp { leg: CALLEE }, bench.now);
    assert!(!bench.legs.still_wanted(&then, bench.now));
    assert_eq!(bench.end().by, EndedBy::Us);
}

#[test]
fn a_callee_is_joined_once_both_are_parked_and_connected_once_they_talk() {
    let mut bench = Bench::new();
    bench.call_agent();
    bench.call();
    for event in [
        EslEvent::Answered(AGENT.0),
        EslEvent::Parked(AGENT.0, false),
        EslEvent::Answered(CALLEE.0),
    ] {
        bench.event(event);
    }
    assert_eq!(
        bench.heard(),
        [
            PbxEvent::AgentReady { leg: AGENT },
            PbxEvent::Answered { leg: CALLEE }
        ]
    );
    bench.connect();
    assert_eq!(bench.asked(), []);
    bench.event(EslEvent::Parked(CALLEE.0, false));
    assert_eq!(bench.asked(), [OnReply::Nothing, OnReply::Joined(CALLEE, AGENT)]);
    bench
        .legs
        .replied(OnReply::Joined(CALLEE, AGENT), "+OK", bench.now);
    assert_eq!(bench.heard(), []);
    bench.event(EslEvent::Bridged(CALLEE.0, AGENT.0));
    let connected = PbxEvent::Connected {
        leg: CALLEE,
        agent_leg: AGENT,
    };
    assert_eq!(bench.heard(), [connected]);
    bench.event(EslEvent::Bridged(CALLEE.0, AGENT.0));
    bench.tick_after(JOIN_WAIT_MAX * 2);
    assert_eq!(bench.heard(), []);

    // The callee leaves; the next one can be wanted before the agent is parked.
    bench.ended(CALLEE.0, facts("NORMAL_CLEARING", 16, None));
    assert!(bench.end().answered);
    bench.event(EslEvent::Parked(AGENT.0, false));
    assert_eq!(bench.asked(), [OnReply::Nothing]);
    assert_eq!(bench.heard(), []);
}

#[test]
fn a_failed_join_names_the_leg_that_caused_it() {
    let mut bench = Bench::new();
    bench.connect();
    assert_eq!(bench.heard(), [failed(ConnectFault::AgentGone)]);
    bench.call_agent();
    bench.event(EslEvent::Parked(AGENT.0, false));
    bench.heard();
    bench.connect();
    assert_eq!(bench.heard(), [failed(ConnectFault::CalleeGone)]);

    // Either side goes while the PBX joins them.
    for (gone, fault) in [
        (CALLEE.0, ConnectFault::CalleeGone),
        (AGENT.0, ConnectFault::AgentGone),
    ] {
        let mut bench = Bench::new();
        bench.ready();
        bench.connect();
        bench.ended(gone, facts("NORMAL_CLEARING", 16, None));
        assert_eq!(bench.heard()[0], failed(fault));
    }
    // The PBX knows one of them no more, and says which when asked.
    for (exists, fault) in [
        ("true", ConnectFault::AgentGone),
        ("false", ConnectFault::CalleeGone),
    ] {
        let mut bench = Bench::new();
        bench.ready();
        bench.connect();
        bench
            .legs
            .replied(OnReply::Joined(CALLEE, AGENT), "-ERR Invalid uuid", bench.now);
        assert_eq!(
            bench.asked(),
            [
                OnReply::Nothing,
                OnReply::Joined(CALLEE, AGENT),
                OnReply::WhichIsGone(CALLEE, AGENT)
            ]
        );
        bench
            .legs
            .replied(OnReply::WhichIsGone(CALLEE, AGENT), exists, bench.now);
        assert_eq!(bench.heard(), [failed(fault)]);
    }
    // Nothing happens at all.
    let mut bench = Bench::new();
    bench.ready();
    bench.connect();
    bench.tick_after(JOIN_WAIT_MAX);
    assert_eq!(bench.heard(), [failed(ConnectFault::Refused)]);
}

#[test]
fn a_channel_of_no_known_leg_is_hung_up() {
    let mut bench = Bench::new();
    let ghost = Uuid::from_u128(7);
    bench.event(EslEvent::Created(ghost));
    assert_eq!(bench.asked(), [OnReply::Nothing]);
    bench.event(EslEvent::Answered(ghost));
    assert_eq!(bench.asked(), [OnReply::Nothing]);
    bench.ended(ghost, facts("NORMAL_CLEARING", 16, None));
    assert_eq!((bench.asked(), bench.heard()), (vec![], vec![]));
    // It can be asked for all the same, and is gone.
    bench
        .legs
        .command(PbxCommand::HangUp { leg: LegId(ghost) }, bench.now);
    assert_eq!(bench.asked(), [OnReply::HungUp(ghost)]);
}

#[test]
fn a_message_is_played_once_its_file_is_there_and_its_leg_is_parked() {
    let sound = Sound::new("sound:sorry").unwrap();
    let play = |bench: &mut Bench| {
        let sound = sound.clone();
        bench
            .legs
            .command(PbxCommand::Play { leg: CALLEE, sound }, bench.now);
    };
    let played = |whole| PbxEvent::Played { leg: CALLEE, whole };
    let looked = OnReply::SoundFound(CALLEE);

    let mut bench = Bench::new();
    bench.call();
    bench.event(EslEvent::Answered(CALLEE.0));
    bench.heard();
    play(&mut bench);
    assert_eq!(bench.asked(), std::slice::from_ref(&looked));
    bench.legs.replied(looked.clone(), "true", bench.now);
    assert_eq!(bench.asked(), [], "not parked yet");
    bench.event(EslEvent::Parked(CALLEE.0, false));
    assert_eq!(bench.asked(), [OnReply::Playing(CALLEE)]);
    bench.event(EslEvent::Played(CALLEE.0, true));
    bench.event(EslEvent::Played(CALLEE.0, true));
    assert_eq!(bench.heard(), [played(true)], "said once");

    for (then, reply) in [
        (looked.clone(), "false"),
        (OnReply::Playing(CALLEE), "-ERR invalid session id"),
    ] {
        let mut bench = Bench::new();
        bench.ready();
        play(&mut bench);
        if then != looked {
            bench.legs.replied(looked.clone(), "true", bench.now);
        }
        bench.legs.replied(then, reply, bench.now);
        assert_eq!(bench.heard(), [played(false)], "{reply}");
    }
    // Of one that has ended, the end was told.
    play(&mut Bench::new());
    assert_eq!(bench.heard(), []);
}

#[test]
fn a_loopback_whose_far_half_finds_no_room_is_no_fault_of_the_trunk() {
    let full = || facts("DESTINATION_OUT_OF_ORDER", 27, None);
    let silent = || facts("NO_ANSWER", 19, None);
    let rang = EslEvent::Ringing(CALLEE.0);
    let (there, no_room) = (EslEvent::FarHalf(CALLEE.0), EslEvent::FarHalfFull(CALLEE.0));
    for (heard, facts, by) in [
        (vec![there.clone(), no_room.clone()], full(), EndedBy::NoRoom),
        // The trunk's far end said so.
        (vec![there.clone()], full(), EndedBy::Network),
        // The far half itself was refused: nobody was called all the while.
        (vec![], silent(), EndedBy::NoRoom),
        (vec![there.clone()], silent(), EndedBy::RingTimeout),
        (vec![rang], silent(), EndedBy::RingTimeout),
        (
            vec![there, no_room],
            facts("USER_BUSY", 17, None),
            EndedBy::Network,
        ),
    ] {
        let mut bench = Bench::new();
        bench.call_over("loopback/+12025550123/from-internal");
        bench.event(EslEvent::Created(CALLEE.0));
        let context = format!("{heard:?} {facts:?}");
        heard.into_iter().for_each(|said| bench.event(said));
        bench.ended(CALLEE.0, facts);
        assert_eq!(bench.end().by, by, "{context}");
    }
    // The link was down, so the driver does not know whether the far half came.
    let mut bench = Bench::new();
    bench.call_over("loopback/+12025550123/from-internal");
    bench.event(EslEvent::Created(CALLEE.0));
    bench.legs.unlinked(bench.now);
    bench.legs.adopt(&HashMap::new(), bench.now);
    bench.ended(CALLEE.0, silent());
    assert_eq!(bench.end().by, EndedBy::RingTimeout);
}

#[test]
fn an_agent_whose_callee_has_ended_is_joined_with_the_next_once_parked() {
    let mut bench = Bench::new();
    bench.ready();
    bench.connect();
    bench.event(EslEvent::Bridged(CALLEE.0, AGENT.0));
    let next = LegId(Uuid::from_u128(3));
    bench.event(EslEvent::Answered(CALLEE.0));
    bench.legs.command(
        PbxCommand::CallContact {
            leg: next,
            dial: DialString::new("sofia/gateway/carrier/+12025550124").unwrap(),
            caller_id: None,
            ring_timeout: Duration::from_secs(20),
            duration_max: Duration::from_secs(60),
        },
        bench.now,
    );
    for event in [
        EslEvent::Created(next.0),
        EslEvent::Answered(next.0),
        EslEvent::Parked(next.0, false),
    ] {
        bench.event(event);
    }
    let connect = PbxCommand::Connect {
        leg: next,
        to: Destination::HeldLeg(AGENT),
    };
    bench.heard();
    bench.asked();
    // While the first is there the second may not throw it out.
    bench.legs.command(connect.clone(), bench.now);
    assert!(matches!(
        bench.heard()[..],
        [PbxEvent::ConnectFailed {
            fault: ConnectFault::Refused,
            ..
        }]
    ));
    bench.ended(CALLEE.0, facts("NORMAL_CLEARING", 16, Some(200)));
    bench.heard();
    bench.legs.command(connect, bench.now);
    assert_eq!((bench.asked(), bench.heard()), (vec![], vec![]));
    bench.event(EslEvent::Parked(AGENT.0, false));
    assert_eq!(bench.asked(), [OnReply::Nothing, OnReply::Joined(next, AGENT)]);
}
