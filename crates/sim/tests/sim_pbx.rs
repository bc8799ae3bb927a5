//! Tests of the simulated PBX against its documentation.

#![allow(
    clippy::unwrap_used,
    reason = "clippy's exception for tests does not reach their helpers"
)]

use paceline_core::ids::{AgentLegId, LegId};
use paceline_core::outcome::Outcome;
use paceline_core::pbx::{
    ChannelPhase, ConnectFault, Destination, DialString, EndedBy, PbxCommand, PbxEvent, RecordingName,
    Snapshot,
};
use paceline_core::time::Mono;
use paceline_core::verdict;
use paceline_sim::config::{Callees, Phones};
use paceline_sim::truth::{TrueEnd, Violation};
use paceline_sim::{Faults, SimConfig, SimPbx};
use std::time::Duration;
use uuid::Uuid;

const RING_TIMEOUT: Duration = Duration::from_secs(25);

fn leg(n: u128) -> LegId {
    LegId(Uuid::from_u128(n))
}

fn agent_leg(n: u128) -> AgentLegId {
    AgentLegId(Uuid::from_u128(1 << 64 | n))
}

fn scripted() -> SimConfig {
    SimConfig {
        callees: Callees {
            scripted: true,
            ..Callees::default()
        },
        ..SimConfig::default()
    }
}

fn call(n: u128, last_two_digits: u8) -> PbxCommand {
    originate(
        n,
        &format!("+120255501{last_two_digits:02}"),
        Duration::from_secs(3600),
    )
}

fn originate(n: u128, number: &str, duration_max: Duration) -> PbxCommand {
    PbxCommand::CallContact {
        leg: leg(n),
        dial: DialString::new(&format!("PJSIP/{number}@carrier")).unwrap(),
        caller_id: None,
        ring_timeout: RING_TIMEOUT,
        duration_max,
    }
}

fn call_agent(n: u128) -> PbxCommand {
    PbxCommand::CallAgent {
        leg: agent_leg(n),
        dial: DialString::new(&format!("PJSIP/{n}")).unwrap(),
        caller_id: None,
        ring_timeout: RING_TIMEOUT,
        duration_max: Duration::from_secs(8 * 3600),
        report_keys: false,
    }
}

/// A PBX, its time, and all events so far.
struct Rig {
    sim_pbx: SimPbx,
    now: Mono,
    events: Vec<PbxEvent>,
}

impl Rig {
    fn new(config: SimConfig) -> Self {
        Self {
            sim_pbx: SimPbx::new(config, 7),
            now: Mono::default(),
            events: Vec::new(),
        }
    }

    fn send(&mut self, command: PbxCommand) {
        self.sim_pbx.handle(self.now, command);
    }

    fn run(&mut self, by: Duration) {
        let until = self.now + by;
        while let Some(at) = self.sim_pbx.poll_timeout().filter(|at| *at <= until) {
            self.sim_pbx.handle_timeout(at);
            self.drain();
        }
        self.now = until;
        self.sim_pbx.handle_timeout(until);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(event) = self.sim_pbx.next_event() {
            self.events.push(event);
        }
    }

    fn take(&mut self) -> Vec<PbxEvent> {
        std::mem::take(&mut self.events)
    }

    /// Creates a PBX with a held agent and an answered callee with these last digits.
    fn with_agent_and_callee(config: SimConfig, last_two_digits: u8) -> Self {
        let mut rig = Rig::new(config);
        rig.send(call_agent(1));
        rig.run(Duration::from_secs(10));
        rig.send(call(1, last_two_digits));
        rig.run(Duration::from_millis(400));
        assert!(matches!(rig.take().last(), Some(PbxEvent::Answered { .. })));
        rig
    }
}

#[test]
fn scripted_numbers_end_as_a_carrier_would_report_them() {
    for (digits, outcome) in [
        (70, Outcome::Busy),
        (75, Outcome::NoAnswer),
        (80, Outcome::Rejected),
        (83, Outcome::Invalid),
        (86, Outcome::NoAnswer),
        (88, Outcome::Congestion),
        (90, Outcome::Congestion),
        (92, Outcome::Congestion),
    ] {
        let mut rig = Rig::new(scripted());
        rig.send(call(1, digits));
        rig.run(Duration::from_secs(60));
        let Some(PbxEvent::LegEnded { end, .. }) = rig.events.last() else {
            panic!("{:?}", rig.events)
        };
        assert_eq!(verdict::unanswered(end), outcome, "{digits}: {end:?}");
        assert_eq!(rig.sim_pbx.channels(), 0);
    }
}

#[test]
fn the_ring_timeout_ends_a_call_over_a_dead_trunk() {
    let mut rig = Rig::new(scripted());
    let short = Duration::from_secs(5);
    let mut command = call(1, 92);
    if let PbxCommand::CallContact { ring_timeout, .. } = &mut command {
        *ring_timeout = short;
    }
    rig.send(command);
    rig.run(short + Duration::from_millis(10));
    let Some(PbxEvent::LegEnded { end, .. }) = rig.events.last() else {
        panic!("{:?}", rig.events)
    };
    assert_eq!((end.by, end.progressed), (EndedBy::RingTimeout, false));
}

#[test]
fn a_connected_call_is_recorded_and_ends_with_the_callee() {
    let mut rig = Rig::with_agent_and_callee(scripted(), 0);
    let recording = RecordingName::new("r").unwrap();
    rig.send(PbxCommand::Connect {
        leg: leg(1),
        to: Destination::HeldLeg(agent_leg(1)),
    });
    rig.send(PbxCommand::Record {
        leg: leg(1),
        agent_leg: agent_leg(1),
        recording: recording.clone(),
        announcement: None,
    });
    rig.run(Duration::from_millis(10));
    assert_eq!(
        rig.take(),
        [
            PbxEvent::Connected {
                leg: leg(1),
                agent_leg: agent_leg(1)
            },
            PbxEvent::RecordingStarted {
                recording: recording.clone()
            }
        ]
    );
    rig.run(Duration::from_secs(5));
    let events = rig.take();
    let [
        PbxEvent::RecordingEnded {
            recording: ended,
            duration: Some(duration),
        },
        PbxEvent::LegEnded { end, .. },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(*ended, recording);
    assert!((2.4..2.6).contains(&duration.as_secs_f64()), "{duration:?}");
    assert_eq!((end.by, end.answered), (EndedBy::Network, true));
    assert_eq!(rig.sim_pbx.channels(), 1, "the agent's leg stays up");
    let truth = rig.sim_pbx.truth();
    assert_eq!(truth.legs()[&leg(1)].connected.len(), 1);
    assert_eq!(truth.violations(), []);
}

#[test]
fn an_agent_who_hangs_up_leaves_the_callee_alone_on_the_pbx() {
    let mut rig = Rig::with_agent_and_callee(scripted(), 40);
    rig.send(PbxCommand::Connect {
        leg: leg(1),
        to: Destination::HeldLeg(agent_leg(1)),
    });
    rig.run(Duration::from_secs(1));
    rig.send(PbxCommand::HangUpAgent { leg: agent_leg(1) });
    rig.take();
    rig.run(Duration::from_secs(1));
    assert!(matches!(rig.take()[..], [PbxEvent::AgentEnded { .. }]));
    assert_eq!(rig.sim_pbx.channels(), 1);
    rig.send(PbxCommand::HangUp { leg: leg(1) });
    rig.run(Duration::from_secs(1));
    assert!(matches!(rig.take()[..], [PbxEvent::LegEnded { .. }]));
    rig.send(PbxCommand::HangUp { leg: leg(1) });
    rig.run(Duration::from_secs(1));
    assert!(
        matches!(rig.take()[..], [PbxEvent::LegEnded { .. }]),
        "a hang-up of an ended leg is answered too"
    );
}

#[test]
fn a_failed_connect_tells_which_leg_caused_it() {
    let mut rig = Rig::with_agent_and_callee(scripted(), 40);
    rig.send(PbxCommand::Connect {
        leg: leg(1),
        to: Destination::HeldLeg(agent_leg(9)),
    });
    rig.send(PbxCommand::Connect {
        leg: leg(9),
        to: Destination::HeldLeg(agent_leg(1)),
    });
    rig.run(Duration::from_secs(1));
    let faults: Vec<ConnectFault> = rig
        .take()
        .into_iter()
        .filter_map(|e| match e {
            PbxEvent::ConnectFailed { fault, leg: l, .. } => Some((l, fault)),
            _ => None,
        })
        .map(|(_, fault)| fault)
        .collect();
    assert_eq!(faults.len(), 2);
    assert!(faults.contains(&ConnectFault::AgentGone) && faults.contains(&ConnectFault::CalleeGone));
}

#[test]
fn commands_that_no_engine_may_send_are_recorded() {
    let mut rig = Rig::with_agent_and_callee(scripted(), 40);
    rig.send(call(2, 41));
    rig.send(call(2, 41));
    rig.run(Duration::from_secs(2));
    rig.send(PbxCommand::Connect {
        leg: leg(1),
        to: Destination::HeldLeg(agent_leg(1)),
    });
    rig.run(Duration::from_secs(1));
    rig.send(PbxCommand::Connect {
        leg: leg(2),
        to: Destination::HeldLeg(agent_leg(1)),
    });
    rig.run(Duration::from_secs(1));
    let taken = Violation::AgentTaken {
        agent_leg: agent_leg(1),
        first: leg(1),
        second: leg(2),
    };
    assert_eq!(
        rig.sim_pbx.truth().violations(),
        [Violation::LegTwice(leg(2).0), taken]
    );
}

#[test]
fn while_the_link_is_down_answers_are_hung_up_and_conversations_go_on() {
    let mut rig = Rig::with_agent_and_callee(scripted(), 40);
    rig.send(PbxCommand::Connect {
        leg: leg(1),
        to: Destination::HeldLeg(agent_leg(1)),
    });
    rig.send(call(2, 41));
    rig.run(Duration::from_millis(100));
    rig.take();
    rig.sim_pbx.cut_link(rig.now, Duration::from_millis(300));
    rig.run(Duration::from_secs(3));
    assert_eq!(rig.take(), [PbxEvent::LinkLost]);
    assert_eq!(
        rig.sim_pbx.truth().legs()[&leg(2)].ended.map(|(_, end)| end),
        Some(TrueEnd::NobodyListened)
    );
    rig.send(call(3, 41));
    rig.run(Duration::from_millis(1));
    assert!(
        matches!(&rig.take()[..], [PbxEvent::LegEnded { end, .. }] if end.by == EndedBy::Refused),
        "nothing is dialed while the link is down"
    );
    rig.sim_pbx.restore_link(rig.now);
    rig.drain();
    let events = rig.take();
    let [PbxEvent::Resynchronised(Snapshot { channels })] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(channels.len(), 2);
    for id in [leg(1).0, agent_leg(1).0] {
        assert_eq!(channels[&id].bridge, Some(agent_leg(1)));
        assert_eq!(channels[&id].phase, ChannelPhase::Up);
    }
}

#[test]
fn a_restart_ends_every_channel_and_the_pbx_is_empty_afterwards() {
    let mut rig = Rig::with_agent_and_callee(scripted(), 40);
    rig.sim_pbx.restart(rig.now, Duration::from_secs(2));
    rig.run(Duration::from_millis(2500));
    assert_eq!(
        rig.take(),
        [PbxEvent::LinkLost, PbxEvent::Resynchronised(Snapshot::default())]
    );
    rig.run(Duration::from_secs(1));
    let vanished = |e: &PbxEvent| matches!(e, PbxEvent::LegEnded { end, .. } | PbxEvent::AgentEnded { end, .. } if end.by == EndedBy::Vanished);
    let events = rig.take();
    assert!(
        events.len() == 2 && events.iter().all(vanished),
        "the driver misses both legs: {events:?}"
    );
    assert_eq!(rig.sim_pbx.channels(), 0);
    rig.send(call(2, 70));
    rig.run(Duration::from_secs(1));
    assert!(
        matches!(rig.take()[..], [PbxEvent::LegEnded { .. }]),
        "the PBX works again"
    );
}

#[test]
fn the_pbx_ends_each_leg_at_its_time_limit() {
    let mut rig = Rig::new(scripted());
    rig.send(originate(1, "+12025550140", Duration::from_secs(8)));
    rig.run(Duration::from_secs(9));
    assert_eq!(
        rig.sim_pbx.truth().legs()[&leg(1)].ended.map(|(_, end)| end),
        Some(TrueEnd::DurationMax)
    );
}

/// All events of a busy hour with faults, with the PBX called every `step` or exactly on time.
fn busy_hour(seed: u64, step: Option<Duration>) -> Vec<PbxEvent> {
    let config = SimConfig {
        faults: Faults {
            event_lost: 0.02,
            event_twice: 0.05,
            event_late: 0.1,
            ..Faults::none()
        },
        phones: Phones {
            hangs_up_on_callee: 0.3,
            ..Phones::default()
        },
        ..SimConfig::default()
    };
    let mut sim_pbx = SimPbx::new(config, seed);
    let mut events = Vec::new();
    let mut now = Mono::default();
    for n in 0..300 {
        let number = format!("+1202555{n:04}");
        sim_pbx.handle(now, originate(n, &number, Duration::from_secs(3600)));
        now = now + Duration::from_secs(12);
        if let Some(step) = step {
            let mut at = now - Duration::from_secs(12);
            while at < now {
                at = (at + step).min(now);
                sim_pbx.handle_timeout(at);
            }
        } else {
            while let Some(at) = sim_pbx.poll_timeout().filter(|at| *at <= now) {
                sim_pbx.handle_timeout(at);
            }
        }
        while let Some(event) = sim_pbx.next_event() {
            events.push(event);
        }
    }
    events
}

#[test]
fn equal_seeds_give_equal_runs_even_if_the_pbx_is_called_late() {
    let exact = busy_hour(3, None);
    assert!(exact.len() > 500, "{}", exact.len());
    assert_eq!(exact, busy_hour(3, None));
    assert_eq!(exact, busy_hour(3, Some(Duration::from_secs(5))));
    assert_ne!(exact, busy_hour(4, None));
}

#[test]
fn a_further_call_does_not_change_how_other_callees_behave() {
    let ends = |extra: bool| -> Vec<Option<(Mono, TrueEnd)>> {
        let config = SimConfig {
            command_latency: paceline_sim::random::Spread::Constant(Duration::ZERO),
            ..SimConfig::default()
        };
        let mut rig = Rig::new(config);
        for n in 0..50 {
            if extra && n % 7 == 0 {
                rig.send(call(1000 + n, 99));
            }
            rig.send(call(n, n as u8));
        }
        rig.run(Duration::from_secs(4000));
        let truth = rig.sim_pbx.truth();
        (0..50).map(|n| truth.legs()[&leg(n)].ended).collect()
    };
    assert_eq!(ends(false), ends(true));
}

#[test]
fn faults_lose_repeat_and_refuse_as_configured() {
    let lossy = |faults| {
        let mut rig = Rig::new(SimConfig { faults, ..scripted() });
        for n in 0..200 {
            rig.send(call(n, 70));
            rig.run(Duration::from_millis(1));
        }
        rig.run(Duration::from_secs(60));
        let ended = rig
            .take()
            .iter()
            .filter(|e| matches!(e, PbxEvent::LegEnded { .. }))
            .count();
        (
            ended,
            rig.sim_pbx.truth().events_lost,
            rig.sim_pbx.truth().commands_lost,
        )
    };
    let (ended, lost, _) = lossy(Faults {
        event_lost: 0.5,
        ..Faults::none()
    });
    assert!(
        (60..140).contains(&ended) && lost == 200 - ended as u64,
        "{ended} {lost}"
    );
    let (ended, ..) = lossy(Faults {
        event_twice: 0.5,
        ..Faults::none()
    });
    assert!((260..340).contains(&ended), "{ended}");
    let (ended, _, commands_lost) = lossy(Faults {
        command_lost: 0.25,
        command_refused: 0.25,
        ..Faults::none()
    });
    assert!(
        ended == 200 && commands_lost > 50,
        "{ended} {commands_lost}: every failed originate is reported"
    );
}
