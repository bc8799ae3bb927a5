//! The link between the engine's side and the simulated PBX: latency, faults, and cuts.
//!
//! Input: commands of the engine and changes on the PBX. Output: commands as they arrive at the PBX, and events as they
//! arrive at the engine, including the driver's own events. Events and commands of one leg keep their order. Duplicate
//! events do not.

use crate::config::{Faults, SimConfig};
use crate::pbx::REPLY_TIMEOUT;
use crate::random::{ChaCha8Rng, Spread, happens, stream};
use paceline_core::ids::{AgentLegId, LegId};
use paceline_core::pbx::{ConnectFault, Destination, EndedBy, LegEnd, PbxCommand, PbxEvent, Snapshot};
use paceline_core::time::Mono;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use uuid::Uuid;

/// Maximum delay of the end of a missing leg after a resynchronisation.
const END_LATE_MAX: Duration = Duration::from_secs(1);
/// Maximum number of missing legs that the driver reports without being asked.
const UNSEEN_MAX: usize = 10_000;

#[derive(Debug)]
pub(crate) struct Link {
    standing: Standing,
    transit: BTreeMap<(Mono, u64), Transit>,
    sent: u64,
    /// Latest arrival for each leg and direction, to keep the events and commands of one leg in order.
    last: BTreeMap<(Direction, Uuid), Mono>,
    ready: VecDeque<PbxEvent>,
    /// Ends of legs that happened while the link was down. The driver finds that these legs are missing when the link is up
    /// again.
    unseen: Vec<PbxEvent>,
    /// Hang-ups requested while the link was down, by leg. The driver sends them when it is up again.
    hang_ups: BTreeMap<Uuid, PbxCommand>,
    /// The reply to the present command is lost.
    muted: bool,
    command_latency: Spread,
    event_latency: Spread,
    pub(crate) faults: Faults,
    rng_command: ChaCha8Rng,
    rng_event: ChaCha8Rng,
    rng_fault_command: ChaCha8Rng,
    rng_fault_event: ChaCha8Rng,
    pub(crate) events_lost: u64,
    pub(crate) commands_lost: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Up,
    /// The link is cut, and the engine's side has not noticed it yet.
    Unnoticed,
    Down,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Direction {
    Event,
    Command,
}

#[derive(Debug)]
enum Transit {
    Event(PbxEvent),
    Command(PbxCommand),
    /// A command whose reply will be lost.
    Muted(PbxCommand),
    NoReply(PbxCommand),
    LossNoticed,
}

impl Link {
    /// Creates a link that is not up yet.
    pub(crate) fn new(config: &SimConfig, seed: u64) -> Self {
        Self {
            standing: Standing::Down,
            transit: BTreeMap::new(),
            sent: 0,
            last: BTreeMap::new(),
            ready: VecDeque::new(),
            unseen: Vec::new(),
            hang_ups: BTreeMap::new(),
            muted: false,
            command_latency: config.command_latency,
            event_latency: config.event_latency,
            faults: config.faults.clone(),
            rng_command: stream(seed, "link", "command", 0),
            rng_event: stream(seed, "link", "event", 0),
            rng_fault_command: stream(seed, "fault", "command", 0),
            rng_fault_event: stream(seed, "fault", "event", 0),
            events_lost: 0,
            commands_lost: 0,
        }
    }

    /// True if the driver receives what happens on the PBX.
    pub(crate) fn stands(&self) -> bool {
        self.standing == Standing::Up
    }

    pub(crate) fn next_event(&mut self) -> Option<PbxEvent> {
        self.ready.pop_front()
    }

    /// Time of the next arrival.
    pub(crate) fn next_at(&self) -> Option<Mono> {
        self.transit.first_key_value().map(|((at, _), _)| *at)
    }

    /// Arrival time of the last message in transit. `None`: no message is in transit.
    pub(crate) fn last_arrival(&self) -> Option<Mono> {
        self.transit.last_key_value().map(|((at, _), _)| *at)
    }

    /// Delivers the next message. Returns it if it is a command for the PBX.
    pub(crate) fn arrive(&mut self) -> Option<PbxCommand> {
        let ((at, _), transit) = self.transit.pop_first()?;
        self.last.retain(|_, last| *last > at);
        self.muted = matches!(transit, Transit::Muted(_));
        match transit {
            Transit::Event(event) => self.ready.push_back(event),
            Transit::Command(command) | Transit::Muted(command) => return Some(command),
            Transit::NoReply(command) => self.fail(&command, "no reply"),
            Transit::LossNoticed => {
                self.standing = Standing::Down;
                self.ready.push_back(PbxEvent::LinkLost);
            }
        }
        None
    }

    /// Sends a command to the PBX.
    pub(crate) fn send(&mut self, now: Mono, command: PbxCommand) {
        let latency = self.command_latency.draw(&mut self.rng_command);
        let rng = &mut self.rng_fault_command;
        let lost = happens(rng, self.faults.command_lost);
        let refused = happens(rng, self.faults.command_refused);
        let late = happens(rng, self.faults.command_late);
        let delay = self.faults.command_delay.draw(rng);
        let lost_in_cut = happens(rng, 0.5);
        let carried_out = happens(rng, 0.5);
        match self.standing {
            Standing::Down => match command {
                PbxCommand::HangUp { .. } | PbxCommand::HangUpAgent { .. } => {
                    if self.hang_ups.len() < UNSEEN_MAX {
                        self.hang_ups.insert(command_subject(&command), command);
                    }
                }
                command => self.fail(&command, "no link"),
            },
            // There is no reply; the later event "link lost" covers it.
            Standing::Unnoticed if lost_in_cut => self.commands_lost += 1,
            Standing::Up | Standing::Unnoticed if lost => {
                self.commands_lost += 1;
                if carried_out && matches!(command, PbxCommand::Connect { .. }) {
                    let at = self.in_order(Direction::Command, command_subject(&command), now + latency);
                    self.put(at, Transit::Muted(command.clone()));
                }
                self.put(now + REPLY_TIMEOUT, Transit::NoReply(command));
            }
            Standing::Up | Standing::Unnoticed if refused => {
                self.commands_lost += 1;
                self.fail(&command, "refused");
            }
            Standing::Up | Standing::Unnoticed => {
                let at = now + latency + if late { delay } else { Duration::ZERO };
                let at = self.in_order(Direction::Command, command_subject(&command), at);
                self.put(at, Transit::Command(command));
            }
        }
    }

    /// Sends the event of a change on the PBX. `subject` is the leg.
    pub(crate) fn report(&mut self, now: Mono, subject: Uuid, event: PbxEvent) {
        let latency = self.event_latency.draw(&mut self.rng_event);
        let rng = &mut self.rng_fault_event;
        let lost = happens(rng, self.faults.event_lost);
        let twice = happens(rng, self.faults.event_twice);
        let late = happens(rng, self.faults.event_late);
        let delay = self.faults.event_delay.draw(rng);
        let again = self.faults.event_delay.draw(rng);
        if !self.stands() {
            self.miss(event);
            return;
        }
        if lost
            || (self.muted && matches!(event, PbxEvent::Connected { .. } | PbxEvent::ConnectFailed { .. }))
        {
            self.events_lost += 1;
            return;
        }
        let at = now + latency + if late { delay } else { Duration::ZERO };
        let at = self.in_order(Direction::Event, subject, at);
        if twice {
            self.put(at + again, Transit::Event(event.clone()));
        }
        self.put(at, Transit::Event(event));
    }

    /// Cuts the link. Events on their way are lost. The engine's side notices it `notice_after` later.
    pub(crate) fn cut(&mut self, now: Mono, notice_after: Duration) {
        if self.standing != Standing::Up {
            return;
        }
        self.standing = Standing::Unnoticed;
        self.drop_events();
        self.put(now + notice_after, Transit::LossNoticed);
    }

    /// Commands on their way when the link is restored: half of them reach the PBX now, the others are lost. A driver reads
    /// its snapshot only after none of its commands is on its way.
    pub(crate) fn settle_commands(&mut self) -> Vec<PbxCommand> {
        let mut arrived = Vec::new();
        self.last.clear();
        for transit in std::mem::take(&mut self.transit).into_values() {
            match transit {
                Transit::Command(command) if happens(&mut self.rng_fault_command, 0.5) => {
                    arrived.push(command)
                }
                Transit::Command(_) | Transit::Muted(_) => self.commands_lost += 1,
                Transit::Event(_) | Transit::NoReply(_) | Transit::LossNoticed => {}
            }
        }
        arrived
    }

    /// Restores the link. From now on events follow `snapshot` without a gap. A little later the driver reports the legs
    /// whose end was not seen.
    pub(crate) fn restore(&mut self, now: Mono, snapshot: Snapshot) {
        match self.standing {
            Standing::Up => return,
            Standing::Unnoticed => self.ready.push_back(PbxEvent::LinkLost),
            Standing::Down => {}
        }
        self.standing = Standing::Up;
        self.ready.push_back(PbxEvent::Resynchronised(snapshot));
        let mut hang_ups = std::mem::take(&mut self.hang_ups);
        for event in std::mem::take(&mut self.unseen) {
            if let PbxEvent::LegEnded { leg: LegId(leg), .. }
            | PbxEvent::AgentEnded {
                leg: AgentLegId(leg), ..
            } = &event
            {
                hang_ups.remove(leg);
            }
            self.put(now + END_LATE_MAX, Transit::Event(event));
        }
        for (leg, command) in hang_ups {
            let latency = self.command_latency.draw(&mut self.rng_command);
            let at = self.in_order(Direction::Command, leg, now + latency);
            self.put(at, Transit::Command(command));
        }
    }

    /// Forgets what a driver remembers over a gap.
    pub(crate) fn forget(&mut self) {
        self.unseen.clear();
        self.hang_ups.clear();
    }

    /// Draws whether a held agent is outside the bridge after a resynchronisation.
    pub(crate) fn bridge_broken(&mut self) -> bool {
        happens(&mut self.rng_fault_event, self.faults.bridge_broken)
    }

    /// Draws whether the requested recording fails.
    pub(crate) fn recording_fails(&mut self) -> bool {
        happens(&mut self.rng_fault_command, self.faults.recording_fails)
    }

    /// Draws whether the requested message fails.
    pub(crate) fn message_fails(&mut self) -> bool {
        happens(&mut self.rng_fault_command, self.faults.message_fails)
    }

    fn drop_events(&mut self) {
        let (events, others) = std::mem::take(&mut self.transit)
            .into_iter()
            .partition(|(_, t)| matches!(t, Transit::Event(_)));
        self.transit = others;
        self.last
            .retain(|(direction, _), _| *direction == Direction::Command);
        let events: BTreeMap<_, _> = events;
        for transit in events.into_values() {
            if let Transit::Event(event) = transit {
                self.miss(event);
            }
        }
    }

    fn miss(&mut self, event: PbxEvent) {
        self.events_lost += 1;
        let end = LegEnd {
            by: EndedBy::Vanished,
            ..LegEnd::default()
        };
        let unseen = match event {
            PbxEvent::LegEnded { leg, .. } => PbxEvent::LegEnded { leg, end },
            PbxEvent::AgentEnded { leg, .. } => PbxEvent::AgentEnded { leg, end },
            _ => return,
        };
        if self.unseen.len() < UNSEEN_MAX {
            self.unseen.push(unseen);
        }
    }

    fn put(&mut self, at: Mono, transit: Transit) {
        self.sent += 1;
        self.transit.insert((at, self.sent), transit);
    }

    fn in_order(&mut self, direction: Direction, subject: Uuid, at: Mono) -> Mono {
        let last = self.last.entry((direction, subject)).or_default();
        *last = at.max(*last);
        *last
    }

    /// Reports a failed command as a driver does. A failed hang-up is not reported, because the leg still exists.
    fn fail(&mut self, command: &PbxCommand, why: &str) {
        let end = || LegEnd {
            by: EndedBy::Refused,
            detail: why.to_owned(),
            ..LegEnd::default()
        };
        let event = match command {
            PbxCommand::CallContact { leg, .. } => PbxEvent::LegEnded {
                leg: *leg,
                end: end(),
            },
            PbxCommand::CallAgent { leg, .. } => PbxEvent::AgentEnded {
                leg: *leg,
                end: end(),
            },
            PbxCommand::Connect {
                leg,
                to: Destination::HeldLeg(agent_leg),
            } => PbxEvent::ConnectFailed {
                leg: *leg,
                agent_leg: *agent_leg,
                fault: ConnectFault::Refused,
            },
            PbxCommand::Play { leg, .. } => PbxEvent::Played {
                leg: *leg,
                whole: false,
            },
            PbxCommand::Record { recording, .. } => PbxEvent::RecordingFailed {
                recording: recording.clone(),
                reason: why.to_owned(),
            },
            PbxCommand::HangUp { .. } | PbxCommand::HangUpAgent { .. } | PbxCommand::StopRecording { .. } => {
                return;
            }
        };
        self.ready.push_back(event);
    }
}

fn command_subject(command: &PbxCommand) -> Uuid {
    match command {
        PbxCommand::CallContact { leg, .. }
        | PbxCommand::Connect { leg, .. }
        | PbxCommand::Play { leg, .. }
        | PbxCommand::HangUp { leg }
        | PbxCommand::Record { leg, .. } => leg.0,
        PbxCommand::CallAgent { leg, .. } | PbxCommand::HangUpAgent { leg } => leg.0,
        PbxCommand::StopRecording { .. } => Uuid::nil(),
    }
}
