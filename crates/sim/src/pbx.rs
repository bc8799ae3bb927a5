//! The simulated PBX. It behaves like a real PBX behind its driver, in virtual time and from a seed.
//!
//! Input: [`PbxCommand`]s, the time, and calls that break something. Output: [`PbxEvent`]s and the [`Truth`]. It does no
//! I/O: call [`SimPbx::handle`], or [`SimPbx::handle_timeout`] when [`SimPbx::poll_timeout`] says so, then take all
//! [`SimPbx::next_event`]s. Even if it is called late, everything happens in order at its own time.

use crate::callee::{Callee, CalleePhase};
use crate::config::{Faults, Phones, SimConfig};
use crate::link::Link;
use crate::phone::{Answer, Phone, PhonePhase};
use crate::truth::{TrueEnd, Truth, Violation};
use paceline_core::ids::{AgentLegId, LegId};
use paceline_core::pbx::{
    ChannelPhase, ChannelState, Destination, EndedBy, LegEnd, PbxCommand, PbxEvent, RecordingName, Snapshot,
};
use paceline_core::time::Mono;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

/// Time that the driver waits for a reply before it reports a command as failed.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

mod agents;
mod callees;
mod recordings;

/// A PBX with its callees and phones, and the link to it.
#[derive(Debug)]
pub struct SimPbx {
    config: SimConfig,
    seed: u64,
    now: Mono,
    link: Link,
    agenda: BTreeSet<(Mono, Who)>,
    callees: BTreeMap<LegId, Callee>,
    phones: BTreeMap<AgentLegId, Phone>,
    /// The behaviour that was set for the phones at these dial strings.
    answers: BTreeMap<String, Answer>,
    recordings: BTreeMap<RecordingName, Recording>,
    /// The PBX shuts down gracefully: it accepts no call and restarts once it is empty. The value is the length of the
    /// restart.
    closing: Option<Duration>,
    truth: Truth,
}

/// An actor. Each has one entry in the agenda.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    WorldPbx,
    Callee(LegId),
    Phone(AgentLegId),
    Recording(RecordingName),
}

#[derive(Debug)]
struct Recording {
    leg: LegId,
    agent_leg: AgentLegId,
    starts_at: Mono,
    started: bool,
}

impl SimPbx {
    /// Creates an empty PBX whose link is up. Its first event is [`PbxEvent::Resynchronised`].
    pub fn new(config: SimConfig, seed: u64) -> Self {
        let mut sim_pbx = Self {
            seed,
            now: Mono::default(),
            link: Link::new(&config, seed),
            agenda: BTreeSet::new(),
            callees: BTreeMap::new(),
            phones: BTreeMap::new(),
            answers: BTreeMap::new(),
            recordings: BTreeMap::new(),
            closing: None,
            truth: Truth::default(),
            config,
        };
        sim_pbx.resynchronise();
        sim_pbx
    }

    /// Executes a command, after everything that is due by `now`.
    pub fn handle(&mut self, now: Mono, command: PbxCommand) {
        self.handle_timeout(now);
        self.link.send(self.now, command);
    }

    /// Time of the next change.
    pub fn poll_timeout(&self) -> Option<Mono> {
        let own = self.agenda.first().map(|(at, _)| *at);
        match (own, self.link.next_at()) {
            (Some(own), Some(link)) => Some(own.min(link)),
            (own, link) => own.or(link),
        }
    }

    /// Executes everything that is due by `now`.
    pub fn handle_timeout(&mut self, now: Mono) {
        while let Some(at) = self.poll_timeout().filter(|at| *at <= now) {
            self.now = self.now.max(at);
            if self.link.next_at() == Some(at) {
                if let Some(command) = self.link.arrive() {
                    self.carry_out(command);
                }
            } else if let Some((_, who)) = self.agenda.pop_first() {
                self.step(who);
            }
            self.restart_if_empty();
        }
        self.now = self.now.max(now);
    }

    /// The next event, if there is one.
    pub fn next_event(&mut self) -> Option<PbxEvent> {
        self.link.next_event()
    }

    /// The true history so far.
    pub fn truth(&mut self) -> &Truth {
        self.truth.events_lost = self.link.events_lost;
        self.truth.commands_lost = self.link.commands_lost;
        &self.truth
    }

    /// True if this agent's leg existed and has ended.
    pub(crate) fn has_ended(&self, leg: AgentLegId) -> bool {
        let truth = self.truth.agent_legs.get(&leg);
        truth.is_some_and(|truth| truth.ended.is_some())
    }

    /// Number of Paceline's channels on the PBX.
    pub fn channels(&self) -> usize {
        self.callees.len() + self.phones.len()
    }

    /// The ids of these channels.
    pub fn channel_ids(&self) -> impl Iterator<Item = Uuid> + '_ {
        let callees = self.callees.keys().map(|leg| leg.0);
        callees.chain(self.phones.keys().map(|leg| leg.0))
    }

    /// The leg to the phone at this dial string, once it is answered.
    pub fn held_at(&self, dial: &str) -> Option<AgentLegId> {
        let mut held = self.phones.iter().filter(|(_, phone)| phone.held());
        held.find(|(_, phone)| phone.dial == dial).map(|(leg, _)| *leg)
    }

    /// Sets how the phone at this dial string behaves at its next calls, instead of drawing it.
    pub fn set_phone(&mut self, dial: &str, answer: Answer) {
        self.answers.insert(dial.to_owned(), answer);
    }

    /// The far end of this channel hangs up.
    pub fn far_end_hangs_up(&mut self, now: Mono, channel: Uuid) {
        self.handle_timeout(now);
        let codes = (None, Some(16));
        self.end_callee(LegId(channel), TrueEnd::FarEnd, EndedBy::Network, codes);
        self.end_phone(AgentLegId(channel), TrueEnd::FarEnd, EndedBy::Network, codes);
    }

    /// Answered callees who are alone on the line and hear no message, and since when.
    pub fn alone(&self) -> impl Iterator<Item = (LegId, Mono)> + '_ {
        self.callees
            .iter()
            .filter_map(|(leg, callee)| match callee.phase {
                CalleePhase::Alone { since } => Some((*leg, since)),
                CalleePhase::Dialing
                | CalleePhase::Ringing
                | CalleePhase::Hears { .. }
                | CalleePhase::With { .. }
                | CalleePhase::Elsewhere { .. } => None,
            })
    }

    /// Changes the faults from now on. Messages on their way are not changed.
    pub fn set_faults(&mut self, faults: Faults) {
        self.link.faults = faults;
    }

    /// Arrival time of the last message in transit. `None`: no message is in transit.
    pub(crate) fn last_arrival(&self) -> Option<Mono> {
        self.link.last_arrival()
    }

    /// Changes what the agents' phones do from their next choice on.
    pub fn set_phones(&mut self, phones: Phones) {
        self.config.phones = phones;
    }

    /// Cuts the link. Events on their way, and events until it is restored, are lost. Callees and agents who answer
    /// meanwhile are hung up by the PBX. The engine's side gets [`PbxEvent::LinkLost`] `notice_after` later. Until then
    /// half of the commands are still executed; after it all of them fail at once.
    pub fn cut_link(&mut self, now: Mono, notice_after: Duration) {
        self.handle_timeout(now);
        self.link.cut(self.now, notice_after);
    }

    /// Restores the link. The engine's side gets [`PbxEvent::LinkLost`] if it had not noticed the cut, then
    /// [`PbxEvent::Resynchronised`] with everything that exists now. It also ends the wait of a restarted PBX.
    pub fn restore_link(&mut self, now: Mono) {
        self.handle_timeout(now);
        self.agenda.retain(|(_, who)| *who != Who::WorldPbx);
        self.resynchronise();
    }

    /// Replaces the driver by a new one, which does not know the legs that ended while the link was cut.
    pub fn forget_unseen(&mut self) {
        self.link.forget();
    }

    /// Restarts the PBX: all channels end without an event, the link breaks at once, and it is up again after `takes`, or
    /// earlier with [`SimPbx::restore_link`].
    pub fn restart(&mut self, now: Mono, takes: Duration) {
        self.closing = None;
        self.handle_timeout(now);
        self.link.cut(self.now, Duration::ZERO);
        for leg in std::mem::take(&mut self.callees).into_keys() {
            self.truth.end_leg(leg, self.now, TrueEnd::Restart);
            self.report(leg.0, PbxEvent::LegEnded { leg, end: gone() });
        }
        for leg in std::mem::take(&mut self.phones).into_keys() {
            self.truth.end_agent_leg(leg, self.now, TrueEnd::Restart);
            self.report(leg.0, PbxEvent::AgentEnded { leg, end: gone() });
        }
        self.recordings.clear();
        self.agenda.clear();
        self.agenda.insert((self.now + takes, Who::WorldPbx));
    }

    /// Accepts no more calls. Once no channel of Paceline is left, the PBX restarts, which takes `takes`. Like `core
    /// restart gracefully` of Asterisk.
    pub fn restart_gracefully(&mut self, now: Mono, takes: Duration) {
        self.handle_timeout(now);
        self.closing = Some(takes);
        self.restart_if_empty();
    }

    /// Accepts calls again, unless the PBX has already restarted.
    pub fn abort_restart(&mut self, now: Mono) {
        self.handle_timeout(now);
        self.closing = None;
    }

    fn restart_if_empty(&mut self) {
        if self.channels() == 0
            && let Some(takes) = self.closing.take()
        {
            self.restart(self.now, takes);
        }
    }

    fn resynchronise(&mut self) {
        if !self.link.stands() {
            for command in self.link.settle_commands() {
                self.carry_out(command);
            }
            let mut snapshot = self.snapshot();
            let mut mended = Vec::new();
            for (leg, phone) in &self.phones {
                if phone.held()
                    && phone.with().is_none()
                    && self.link.bridge_broken()
                    && let Some(channel) = snapshot.channels.get_mut(&leg.0)
                {
                    channel.bridge = None;
                    mended.push(*leg);
                }
            }
            self.link.restore(self.now, snapshot);
            for leg in mended {
                self.report(leg.0, PbxEvent::AgentReady { leg });
            }
            let out = |phone: &Phone| matches!(phone.phase, PhonePhase::Out { moved: false, .. });
            let out = self.phones.iter().filter(|(_, phone)| out(phone));
            for leg in out.map(|(leg, _)| *leg).collect::<Vec<_>>() {
                self.put_back(leg);
            }
        }
    }

    fn snapshot(&self) -> Snapshot {
        let mut channels = BTreeMap::new();
        for n in 0..self.config.foreign_channels {
            channels.insert(
                foreign(n),
                ChannelState {
                    phase: ChannelPhase::Up,
                    bridge: None,
                    in_our_app: false,
                    up_for: None,
                    trouble: None,
                    with_others: false,
                },
            );
        }
        for (leg, callee) in &self.callees {
            let elsewhere = match callee.phase {
                CalleePhase::Elsewhere { agent_leg, .. } => Some(agent_leg),
                _ => None,
            };
            let phase = match callee.phase {
                CalleePhase::Dialing => ChannelPhase::Dialing,
                CalleePhase::Ringing => ChannelPhase::Ringing,
                CalleePhase::Alone { .. }
                | CalleePhase::Hears { .. }
                | CalleePhase::With { .. }
                | CalleePhase::Elsewhere { .. } => ChannelPhase::Up,
            };
            channels.insert(
                leg.0,
                ChannelState {
                    phase,
                    bridge: elsewhere.or(callee.with()),
                    in_our_app: true,
                    up_for: self
                        .truth
                        .legs
                        .get(leg)
                        .and_then(|truth| truth.answered_at)
                        .map(|at| self.now.since(at)),
                    trouble: None,
                    with_others: elsewhere.is_some(),
                },
            );
        }
        for (leg, phone) in &self.phones {
            let phase = match phone.phase {
                PhonePhase::Dialing => ChannelPhase::Dialing,
                PhonePhase::Ringing => ChannelPhase::Ringing,
                PhonePhase::Held { .. } | PhonePhase::Out { .. } => ChannelPhase::Up,
            };
            let bridge = phone.held().then_some(*leg);
            channels.insert(
                leg.0,
                ChannelState {
                    phase,
                    bridge,
                    up_for: None,
                    in_our_app: !matches!(phone.phase, PhonePhase::Out { moved: true, .. }),
                    trouble: phone.trouble,
                    with_others: false,
                },
            );
        }
        Snapshot { channels }
    }

    fn step(&mut self, who: Who) {
        match who {
            Who::WorldPbx => self.resynchronise(),
            Who::Callee(leg) => self.step_callee(leg),
            Who::Phone(leg) => self.step_phone(leg),
            Who::Recording(name) => {
                if let Some(recording) = self.recordings.get_mut(&name) {
                    recording.started = true;
                    let leg = recording.leg.0;
                    self.report(leg, PbxEvent::RecordingStarted { recording: name });
                }
            }
        }
    }

    fn report(&mut self, subject: Uuid, event: PbxEvent) {
        self.link.report(self.now, subject, event);
    }

    fn carry_out(&mut self, command: PbxCommand) {
        match command {
            PbxCommand::CallContact {
                leg,
                dial,
                ring_timeout,
                duration_max,
                caller_id: _,
            } => {
                self.call_contact(leg, &dial, ring_timeout, duration_max);
            }
            PbxCommand::CallAgent {
                leg,
                dial,
                ring_timeout,
                duration_max,
                caller_id: _,
                report_keys: _,
            } => {
                self.call_agent(leg, &dial, ring_timeout, duration_max);
            }
            PbxCommand::Connect {
                leg,
                to: Destination::HeldLeg(agent_leg),
            } => self.connect(leg, agent_leg),
            PbxCommand::Play { leg, sound: _ } => self.play(leg),
            PbxCommand::HangUp { leg } => self.hang_up(leg.0, PbxEvent::LegEnded { leg, end: gone() }),
            PbxCommand::HangUpAgent { leg } => self.hang_up(leg.0, PbxEvent::AgentEnded { leg, end: gone() }),
            PbxCommand::Record {
                leg,
                agent_leg,
                recording,
                announcement,
            } => {
                self.record(leg, agent_leg, recording, announcement.is_some());
            }
            PbxCommand::StopRecording { recording } => {
                if !self.end_recording(&recording) {
                    let reason = "no such recording".to_owned();
                    self.report(Uuid::nil(), PbxEvent::RecordingFailed { recording, reason });
                }
            }
        }
    }

    /// Ends the channel with this id, of whatever kind. If there is none, reports `if_gone`.
    fn hang_up(&mut self, channel: Uuid, if_gone: PbxEvent) {
        let codes = (None, Some(16));
        if self.callees.contains_key(&LegId(channel)) {
            self.end_callee(LegId(channel), TrueEnd::Us, EndedBy::Us, codes);
        } else if self.phones.contains_key(&AgentLegId(channel)) {
            let moved = |phone: &Phone| matches!(phone.phase, PhonePhase::Out { moved: true, .. });
            if self.phones.get(&AgentLegId(channel)).is_some_and(moved) {
                let (truth, by) = (TrueEnd::TakenAway, EndedBy::TakenAway);
                self.end_phone(AgentLegId(channel), truth, by, (None, None));
            } else {
                self.end_phone(AgentLegId(channel), TrueEnd::Us, EndedBy::Us, codes);
            }
        } else {
            if (0..self.config.foreign_channels).any(|n| foreign(n) == channel) {
                self.truth.violated(Violation::ForeignHungUp(channel));
            }
            self.report(channel, if_gone);
        }
    }

    /// True if the PBX accepts one more channel with this id.
    fn has_room(&mut self, channel: Uuid) -> bool {
        let used = self.truth.legs.contains_key(&LegId(channel))
            || self.truth.agent_legs.contains_key(&AgentLegId(channel));
        if used {
            self.truth.violated(Violation::LegTwice(channel));
        }
        !used && self.closing.is_none() && self.channels() < self.config.channels_max
    }

    /// The end of a leg that was not placed.
    fn not_placed(&self) -> LegEnd {
        LegEnd {
            by: if self.closing.is_some() {
                EndedBy::NoRoom
            } else {
                EndedBy::Refused
            },
            detail: "Allocation failed".to_owned(),
            ..LegEnd::default()
        }
    }
}

fn gone() -> LegEnd {
    LegEnd {
        by: EndedBy::Vanished,
        detail: "no such channel".to_owned(),
        ..LegEnd::default()
    }
}

fn foreign(n: u8) -> Uuid {
    Uuid::from_u128(0x0f0e_1600_0000_4000_8000_0000_0000_0000 | u128::from(n))
}
