//! The simulated switch: behaves like a real one behind its driver, in virtual time, from a seed.
//!
//! In: [`PbxCommand`]s, the time, and orders to break something. Out: [`PbxEvent`]s, and the [`Truth`]. Sans-I/O: call
//! [`SimSwitch::handle`] or [`SimSwitch::handle_timeout`] when [`SimSwitch::poll_timeout`] says so, then drain
//! [`SimSwitch::next_event`]. However late it is woken, everything happens in order at its own time.

use crate::callee::{Callee, CalleePhase};
use crate::config::{Faults, SimConfig};
use crate::link::Link;
use crate::phone::{Answer, Phone, PhonePhase};
use crate::truth::{TrueEnd, Truth, Violation};
use paceline_core::ids::{AgentLegId, LegId};
use paceline_core::pbx::{
    ChannelPhase, ChannelState, EndedBy, LegEnd, PbxCommand, PbxEvent, RecordingName, Snapshot,
};
use paceline_core::time::Mono;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

/// How long the driver waits for a reply before it reports a command as failed.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

mod agents;
mod callees;
mod recordings;

/// A switch with its callees and phones, and the link to it.
#[derive(Debug)]
pub struct SimSwitch {
    config: SimConfig,
    seed: u64,
    now: Mono,
    link: Link,
    agenda: BTreeSet<(Mono, Who)>,
    callees: BTreeMap<LegId, Callee>,
    phones: BTreeMap<AgentLegId, Phone>,
    /// What phones at these dial strings were told to do.
    answers: BTreeMap<String, Answer>,
    recordings: BTreeMap<RecordingName, Recording>,
    /// Shuts down gracefully: takes no call, and once it is empty restarts, which takes so long.
    closing: Option<Duration>,
    truth: Truth,
}

/// Who does something next. One entry each, removed when it changes its mind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Switch,
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

impl SimSwitch {
    /// An empty switch whose link stands. Its first event is [`PbxEvent::Resynchronised`].
    pub fn new(config: SimConfig, seed: u64) -> Self {
        let mut switch = Self {
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
        switch.resynchronise();
        switch
    }

    /// Takes a command. Whatever is due by `now` happens first.
    pub fn handle(&mut self, now: Mono, command: PbxCommand) {
        self.handle_timeout(now);
        self.link.send(self.now, command);
    }

    /// When something happens next.
    pub fn poll_timeout(&self) -> Option<Mono> {
        let own = self.agenda.first().map(|(at, _)| *at);
        match (own, self.link.next_at()) {
            (Some(own), Some(link)) => Some(own.min(link)),
            (own, link) => own.or(link),
        }
    }

    /// Lets everything happen that is due by `now`.
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

    /// Hands out the next event, if there is one now.
    pub fn next_event(&mut self) -> Option<PbxEvent> {
        self.link.next_event()
    }

    /// What really happened so far.
    pub fn truth(&mut self) -> &Truth {
        self.truth.events_lost = self.link.events_lost;
        self.truth.commands_lost = self.link.commands_lost;
        &self.truth
    }

    /// Channels of ours that live on the switch.
    pub fn channels(&self) -> usize {
        self.callees.len() + self.phones.len()
    }

    /// The ids of these channels.
    pub fn channel_ids(&self) -> impl Iterator<Item = Uuid> + '_ {
        let callees = self.callees.keys().map(|leg| leg.0);
        callees.chain(self.phones.keys().map(|leg| leg.0))
    }

    /// The leg to the phone at this dial string, once it is picked up.
    pub fn held_at(&self, dial: &str) -> Option<AgentLegId> {
        let mut held = self.phones.iter().filter(|(_, phone)| phone.held());
        held.find(|(_, phone)| phone.dial == dial).map(|(leg, _)| *leg)
    }

    /// What the phone at this dial string does with the next calls, in place of what would be drawn.
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

    /// Callees who are up with nobody on the line and nothing to hear, and since when.
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

    /// Changes what goes wrong from now on; [`Faults::none`] heals. What is on its way stays as it is.
    pub fn set_faults(&mut self, faults: Faults) {
        self.link.faults = faults;
    }

    /// Cuts the link. Events on the way and until it is restored are lost; callees and agents who answer meanwhile
    /// are hung up by the switch. Our side notices, as [`PbxEvent::LinkLost`], `notice_after` later; until then half of the commands still
    /// get through, later all fail at once.
    pub fn cut_link(&mut self, now: Mono, notice_after: Duration) {
        self.handle_timeout(now);
        self.link.cut(self.now, notice_after);
    }

    /// Restores the link: [`PbxEvent::LinkLost`] if it was not noticed before, then [`PbxEvent::Resynchronised`] with all that lives now. Also
    /// ends the wait of a restarted switch.
    pub fn restore_link(&mut self, now: Mono) {
        self.handle_timeout(now);
        self.agenda.retain(|(_, who)| *who != Who::Switch);
        self.resynchronise();
    }

    /// The driver is replaced by a new one, which knows nothing of legs that ended while the link was cut.
    pub fn forget_unseen(&mut self) {
        self.link.forget();
    }

    /// Restarts the switch: every channel dies unseen, the link breaks at once and comes back
    /// after `takes`, or earlier by [`SimSwitch::restore_link`].
    pub fn restart(&mut self, now: Mono, takes: Duration) {
        self.closing = None;
        self.handle_timeout(now);
        self.link.cut(self.now, Duration::ZERO);
        for leg in std::mem::take(&mut self.callees).into_keys() {
            self.truth.end_leg(leg, self.now, TrueEnd::Restart);
            self.report(leg.0, PbxEvent::Ended { leg, end: gone() });
        }
        for leg in std::mem::take(&mut self.phones).into_keys() {
            self.truth.end_agent_leg(leg, self.now, TrueEnd::Restart);
            self.report(leg.0, PbxEvent::AgentEnded { leg, end: gone() });
        }
        self.recordings.clear();
        self.agenda.clear();
        self.agenda.insert((self.now + takes, Who::Switch));
    }

    /// Takes no more calls, and restarts once no channel of ours is left, which takes `takes`; as Asterisk's
    /// `core restart gracefully`.
    pub fn restart_gracefully(&mut self, now: Mono, takes: Duration) {
        self.handle_timeout(now);
        self.closing = Some(takes);
        self.restart_if_empty();
    }

    /// Takes calls again, if it has not restarted yet.
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
            Who::Switch => self.resynchronise(),
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
            } => {
                self.call_agent(leg, &dial, ring_timeout, duration_max);
            }
            PbxCommand::Connect { leg, agent_leg } => self.connect(leg, agent_leg),
            PbxCommand::Play { leg, sound: _ } => self.play(leg),
            PbxCommand::HangUp { leg } => self.hang_up(leg.0, PbxEvent::Ended { leg, end: gone() }),
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

    /// Ends the channel of this id, whatever kind of leg it was thought to be; `if_gone` says that there is none.
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

    /// Whether the switch takes one more channel of this id.
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
