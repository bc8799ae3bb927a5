//! The states of all legs: a pure state machine. Input: commands, decoded events, replies, a snapshot, and the time.
//! Output, through [`Outbox`]: requests to send and events to deliver.
//!
//! Measured on 22.10 and 16.28, and nowhere in the manuals:
//! - If an originate fails, a last `Dial` comes before `ChannelDestroyed`. If our own ring timeout ends it, none comes.
//!   Nothing else distinguishes that from a real 480.
//! - Ending a leg ourselves gives cause 16, ringing or not; before the dialing began, with SIP status 603 and no `Dial`.
//! - A leg placed over `Local/` shows only the dialplan's view: a failure announcement, answered or not, hides what the
//!   trunk said. What the dialplan dials is told by `Dial` with our far half as the caller, and the trunk's cause by
//!   the trunk's own `ChannelHangupRequest`.

use super::decode::{Cause, DialStatus, Event};
use super::leg::{EndState, Endpoint, Leg, Mixing, Sent, Side, Stage, Trunk, With, endpoint_of};
use super::outbox::{Outbox, Purpose};
use super::recordings::Recordings;
use super::requests::{self, Placement};
use crate::ended::EndedLegs;
use crate::{NO_LINK, refusal};
use paceline_core::ids::{AgentLegId, LegId};
use paceline_core::pbx::{Destination, EndedBy, LegEnd, PbxCommand, PbxEvent, Progress};
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};
use uuid::Uuid;

mod adopt;
mod behind;
mod closed;
mod connects;
mod message;
mod phones;
#[cfg(test)]
mod tests;

/// An agent who gets no audio for this long is sent silence, because some phones hang up after 30 s without RTP. Silence costs
/// the PBX 50 packets a second, so agents who soon get the next call are not sent any.
const UNHEARD_MAX: Duration = Duration::from_secs(10);
/// The period of counting the packets from and to an agent's phone. If a callee sends nothing, its agent gets silence after twice
/// this time at the latest.
const COUNT_EVERY: Duration = Duration::from_secs(12);
/// The period while silence is sent to an agent with a callee.
const COUNT_EVERY_SILENCED: Duration = Duration::from_secs(2);
/// Number of remembered ends of channels that may turn out to belong to our trunks some milliseconds later.
const STRAYS_MAX: usize = 256;
/// Maximum time until the event of the end of a leg that the PBX no longer knows.
const END_LATE_MAX: Duration = Duration::from_secs(1);

/// The state of the driver.
pub(super) struct Legs {
    app: String,
    mark: String,
    legs: HashMap<Uuid, Leg>,
    ended: EndedLegs,
    /// Channels that the dialplan dials behind our legs, by their ids.
    trunks: HashMap<String, Uuid>,
    /// The causes of ended channels of others, newest last. The dialplan's event that it dials a trunk comes after the dialing, and a
    /// refusal can be faster.
    strays: VecDeque<(String, Cause)>,
    /// Legs that the PBX does not know, without an event of their end, and when to stop waiting for it.
    missing: VecDeque<(Instant, Uuid)>,
    /// Channels of others in agents' bridges, by their ids: the targets of transfers.
    guests: HashMap<String, Uuid>,
    /// Legs that came out of their bridges, and when to check them.
    strayed: VecDeque<(Instant, Uuid)>,
    /// Channels that the PBX did not know yet when it was asked to end them, and until when the driver asks again.
    to_let_go: Vec<(String, Instant)>,
    /// Endpoints whose state the PBX reports to us.
    endpoints_watched: HashSet<String>,
    /// True if the PBX reports channels of trunks to us too.
    trunks_watched: bool,
    /// The driver waits for the answer whether the PBX takes new calls.
    trying: bool,
    pub(super) recordings: Recordings,
    pub(super) out: Outbox,
}

fn uuid(id: &str) -> Option<Uuid> {
    // Asterisk's own ids are not UUIDs, and shorter.
    (id.len() == 36).then(|| Uuid::try_parse(id).ok()).flatten()
}

impl Legs {
    pub(super) fn new(app: String, mark: String) -> Self {
        Self {
            legs: HashMap::new(),
            ended: EndedLegs::default(),
            trunks: HashMap::new(),
            strays: VecDeque::new(),
            missing: VecDeque::new(),
            guests: HashMap::new(),
            strayed: VecDeque::new(),
            to_let_go: Vec::new(),
            endpoints_watched: HashSet::new(),
            trunks_watched: false,
            trying: false,
            recordings: Recordings::new(mark.clone()),
            out: Outbox::default(),
            app,
            mark,
        }
    }

    // --- commands ---------------------------------------------------------------------------------------------

    pub(super) fn command(&mut self, command: PbxCommand, now: Instant) {
        let (side, mixing) = match command {
            PbxCommand::CallAgent { report_keys, .. } => (Side::Agent, Mixing::with_keys(report_keys)),
            _ => (Side::Callee, Mixing::default()),
        };
        match command {
            PbxCommand::CallContact {
                leg: LegId(leg),
                dial,
                caller_id,
                ring_timeout,
                duration_max,
            }
            | PbxCommand::CallAgent {
                leg: AgentLegId(leg),
                dial,
                caller_id,
                ring_timeout,
                duration_max,
                report_keys: _,
            } => {
                let placement = Placement {
                    leg,
                    argument: side.word(),
                    mark: &self.mark.clone(),
                    dial: &dial,
                    caller_id: caller_id.as_ref(),
                    ring_timeout,
                    duration_max,
                };
                self.place(side, &placement, now);
                if let Some(leg) = self.legs.get_mut(&leg) {
                    leg.phone.mixing = mixing;
                }
            }
            PbxCommand::Connect {
                leg,
                to: Destination::HeldLeg(agent_leg),
            } => self.connect(leg, agent_leg, now),
            PbxCommand::Play { leg, sound } => self.play(leg, &sound),
            PbxCommand::HangUp { leg } => self.hang_up(Side::Callee, leg.0),
            PbxCommand::HangUpAgent { leg } => self.hang_up_agent(leg.0, now),
            PbxCommand::Record {
                leg,
                agent_leg,
                recording,
                announcement,
            } => {
                let callee_lives = self.legs.contains_key(&leg.0);
                self.recordings.start(
                    leg,
                    agent_leg,
                    &recording,
                    announcement.as_ref(),
                    callee_lives,
                    &mut self.out,
                );
            }
            PbxCommand::StopRecording { recording } => self.recordings.stop(&recording, &mut self.out),
        }
    }

    /// Handles a command while the link is down. A command that needs the PBX is refused. A hang-up is remembered.
    pub(super) fn command_unlinked(&mut self, command: PbxCommand) {
        match command {
            PbxCommand::HangUp { leg } => self.hang_up_later(Side::Callee, leg.0),
            PbxCommand::HangUpAgent { leg } => self.hang_up_later(Side::Agent, leg.0),
            PbxCommand::StopRecording { recording } => self.recordings.stop_later(&recording),
            other => self.out.events.extend(refusal(&other, NO_LINK)),
        }
    }

    /// The hang-up is sent when the link is up again and the leg is found. Otherwise the leg has vanished.
    fn hang_up_later(&mut self, side: Side, leg: Uuid) {
        if !self.ended.ids.contains(&leg) {
            let leg = self.legs.entry(leg).or_insert_with(|| Leg::new(side, false));
            leg.request_hang_up();
        }
    }

    fn place(&mut self, side: Side, placement: &Placement<'_>, now: Instant) {
        let through_dialplan = requests::goes_through_dialplan(placement.dial);
        if through_dialplan {
            self.watch_trunks();
        }
        let mut leg = Leg::new(side, through_dialplan);
        if let Some(behind) = leg.behind.as_deref_mut() {
            behind.trunk = Trunk::Awaited {
                ring_until: Some(now + placement.ring_timeout),
            };
        }
        self.legs.insert(placement.leg, leg);
        let request = requests::originate(&self.app, placement);
        self.out
            .ask(placement.leg, Purpose::Placed(placement.leg), request);
    }

    /// Subscribes to all channels of the PBX's SIP endpoints, for the causes that trunks give. Only if it is needed, because every
    /// step of every call on the PBX raises an event then.
    fn watch_trunks(&mut self) {
        if self.trunks_watched {
            return;
        }
        self.trunks_watched = true;
        self.out.ask(
            Uuid::nil(),
            Purpose::Watched,
            requests::event_filter(&self.app, true),
        );
        self.out.ask(
            Uuid::nil(),
            Purpose::Watched,
            requests::subscribe(&self.app, "endpoint:PJSIP"),
        );
        for technology in ["endpoint:SIP", "endpoint:IAX2"] {
            self.out.ask(
                Uuid::nil(),
                Purpose::Nothing,
                requests::subscribe(&self.app, technology),
            );
        }
    }

    /// Every live leg.
    pub(super) fn known(&self) -> HashSet<Uuid> {
        self.legs.keys().copied().collect()
    }

    /// The link broke. Unsent requests are dropped, so legs that were to be placed were not. Undelivered ends are kept, because
    /// they are reported only once; the next snapshot has the rest. Returns the number of dropped events.
    pub(super) fn unlinked(&mut self, now: Instant) -> u64 {
        for ask in std::mem::take(&mut self.out.asks) {
            if let Purpose::Placed(leg) = ask.purpose {
                let end = LegEnd {
                    by: EndedBy::Refused,
                    detail: "the link broke before it was asked for".to_owned(),
                    ..LegEnd::default()
                };
                self.ended(leg, end, now);
            }
        }
        self.tried(false, now);
        let before = self.out.events.len();
        self.out
            .events
            .retain(|event| matches!(event, PbxEvent::LegEnded { .. } | PbxEvent::AgentEnded { .. }));
        (before - self.out.events.len()) as u64
    }

    fn hang_up(&mut self, side: Side, leg: Uuid) {
        if self.ended.ids.contains(&leg) {
            return;
        }
        self.legs
            .entry(leg)
            .or_insert_with(|| Leg::new(side, false))
            .request_hang_up();
        self.out
            .ask(leg, Purpose::HungUp(leg), requests::hang_up(&leg.to_string()));
    }

    /// Shows other installations that this one runs.
    pub(super) fn show_life(&mut self) {
        let now = Uuid::now_v7().to_string();
        let request = requests::tell(&self.app, requests::OwnerVariable::Alive, &now);
        // Behind no leg's requests, and before none.
        self.out.ask(Uuid::max(), Purpose::Nothing, request);
    }

    // --- events -----------------------------------------------------------------------------------------------

    pub(super) fn event(&mut self, event: &Event<'_>, now: Instant) {
        match event {
            Event::Dial { caller, peer, status } => self.dial(caller.as_deref(), peer, *status),
            Event::StasisStart {
                channel,
                name,
                argument,
                mark,
                replaced,
            } => {
                // A channel without our mark belongs to others.
                let ours = mark.as_deref() == Some(&self.mark);
                match (replaced, uuid(channel)) {
                    (Some(replaced), _) => self.replaced(replaced, channel),
                    (None, Some(id)) if ours => self.entered(id, name.as_deref()),
                    (None, None) if ours => self.picked_up(channel, argument.as_deref(), now),
                    (None, Some(_) | None) => {}
                }
            }
            Event::LeftBridge { bridge, channel } => self.left_bridge(bridge, channel, now),
            Event::Hold { channel, on } => self.held_by_phone(channel, *on),
            Event::Pressed { channel, digit } => self.pressed(channel, digit),
            Event::Endpoint { endpoint, offline } => self.endpoint_is(endpoint, *offline),
            Event::HangupRequest { channel, cause } => {
                if let Some(behind) = self.behind(channel) {
                    behind.cause = *cause;
                } else if uuid(channel).is_none() {
                    if self.strays.len() >= STRAYS_MAX {
                        self.strays.pop_front();
                    }
                    self.strays.push_back((channel.to_string(), *cause));
                }
            }
            Event::Destroyed {
                channel,
                cause,
                application,
            } => match uuid(channel) {
                Some(id) => self.destroyed(id, *cause, application.as_deref(), now),
                None => {
                    self.trunks.remove(&**channel);
                }
            },
            Event::PlaybackFinished { playback, played } => match requests::message_of(playback) {
                Some(leg) => self.played(leg, *played),
                None => self
                    .recordings
                    .playback_finished(playback, *played, &mut self.out),
            },
            Event::RecordingStarted { recording } => self.recordings.started(recording, &mut self.out),
            Event::RecordingFinished {
                recording,
                duration_s,
            } => self.recordings.finished(recording, *duration_s, &mut self.out),
            Event::RecordingFailed { recording, cause } => {
                self.recordings.failed(recording, cause.as_deref(), &mut self.out);
            }
            Event::ApplicationReplaced | Event::Reply { .. } | Event::Other => {}
        }
    }

    fn dial(&mut self, caller: Option<&str>, peer: &str, status: DialStatus) {
        if let Some(half) = caller {
            if let Some(leg) = uuid(half).map(requests::far_half) {
                self.dial_behind(leg, peer, status);
            }
            return;
        }
        let Some(id) = uuid(peer) else { return };
        let Some(leg) = self.legs.get_mut(&id) else {
            // An originate that was still on its way when its link broke. While trunks or phones are watched, it may also be a
            // channel of others.
            let hears_others = self.trunks_watched || !self.endpoints_watched.is_empty();
            if status == DialStatus::Begun && (self.ended.ids.contains(&id) || !hears_others) {
                self.out.ask(id, Purpose::Nothing, requests::hang_up(peer));
            }
            return;
        };
        match status {
            DialStatus::Answered | DialStatus::Cancelled | DialStatus::Failed
                if leg.stage == Stage::Dialing =>
            {
                leg.stage = Stage::DialOver;
            }
            DialStatus::Ringing if leg.behind.is_none() => self.progressed(id, Progress::Ringing),
            DialStatus::Progress if leg.behind.is_none() => self.progressed(id, Progress::EarlyMedia),
            _ => {}
        }
    }

    fn progressed(&mut self, id: Uuid, kind: Progress) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let is_new = leg.progress.add(kind);
        if !is_new || !matches!(leg.stage, Stage::Dialing | Stage::DialOver) {
            return;
        }
        self.out.events.extend(match (leg.side, kind) {
            (Side::Callee, kind) => Some(PbxEvent::Progress { leg: LegId(id), kind }),
            (Side::Agent, Progress::Ringing) => Some(PbxEvent::AgentRinging { leg: AgentLegId(id) }),
            (Side::Agent, Progress::EarlyMedia) => None,
        });
    }

    /// The leg has entered our application, so it is up.
    fn entered(&mut self, id: Uuid, name: Option<&str>) {
        let Some(leg) = self.legs.get_mut(&id) else {
            self.out
                .ask(id, Purpose::Nothing, requests::hang_up(&id.to_string()));
            return;
        };
        if leg.side == Side::Agent {
            let endpoint = name.and_then(endpoint_of).map(str::to_owned);
            leg.phone.endpoint = endpoint.map_or(Endpoint::Unknown, Endpoint::Online);
        }
        if matches!(leg.stage, Stage::Dialing | Stage::DialOver) {
            leg.stage = Stage::DialplanOnly;
        }
        self.answered_if_proven(id);
    }

    fn answered_if_proven(&mut self, id: Uuid) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let proven = leg
            .behind
            .as_ref()
            .is_none_or(|behind| behind.trunk == Trunk::Answered);
        if !proven || leg.stage != Stage::DialplanOnly {
            return;
        }
        leg.stage = Stage::Answered;
        match leg.side {
            Side::Callee => self.out.events.push_back(PbxEvent::Answered { leg: LegId(id) }),
            Side::Agent => self.hold(id),
        }
    }

    fn hold(&mut self, agent: Uuid) {
        let mixing = self.legs.get(&agent).map(|leg| leg.phone.mixing);
        let bridge = requests::make_bridge(&self.mark, agent, mixing.unwrap_or_default());
        self.out.ask(agent, Purpose::Nothing, bridge);
        self.out.ask(
            agent,
            Purpose::Held(agent),
            requests::add_to_bridge(&self.mark, agent, agent),
        );
    }

    fn destroyed(&mut self, id: Uuid, cause: Cause, application: Option<&str>, now: Instant) {
        if let Some(leg) = self.legs.get(&id) {
            let end = leg.end(cause);
            if matches!(leg.end_state, EndState::Unexplained(_)) {
                return;
            }
            // A PBX that stops at once ends all channels without a cause (`core restart now`, measured on 16 and 22).
            let causeless = (end.by, end.q850, end.sip) == (EndedBy::Network, None, None);
            if causeless && leg.side == Side::Callee && !leg.answered() {
                return self.ends_unless_closed(id, end);
            }
            self.told_if_picked_up(id, application);
            self.ended(id, end, now);
        }
    }

    fn ended(&mut self, id: Uuid, end: LegEnd, now: Instant) {
        let Some(leg) = self.legs.remove(&id) else { return };
        self.ended.insert(id);
        if let (Side::Callee, Some(agent)) = (leg.side, leg.with.bridge()) {
            self.parted(id, agent, now);
        }
        if leg.behind.is_some() {
            self.trunks.retain(|_, behind| *behind != id);
        }
        if let With::Others(Some(bridge)) = leg.with {
            self.clear_bridge(bridge);
        }
        match leg.side {
            Side::Callee => {
                self.recordings.callee_left(LegId(id), &mut self.out);
                self.out
                    .events
                    .push_back(PbxEvent::LegEnded { leg: LegId(id), end });
            }
            Side::Agent => {
                if let With::Leg(callee) = leg.with
                    && let Some(callee) = self.legs.get_mut(&callee)
                {
                    callee.with = With::Nobody;
                }
                self.recordings.agent_left(AgentLegId(id), &mut self.out);
                // A callee whom its phone has transferred talks on in there.
                if leg.answered() && !self.has_guests(id) {
                    self.out
                        .ask(id, Purpose::Nothing, requests::destroy_bridge(&self.mark, id));
                }
                self.out.events.push_back(PbxEvent::AgentEnded {
                    leg: AgentLegId(id),
                    end,
                });
            }
        }
    }

    /// To be called several times a second.
    pub(super) fn tick(&mut self, now: Instant) {
        while let Some((due, id)) = self.missing.front().copied()
            && due <= now
        {
            self.missing.pop_front();
            self.vanished(id, now);
        }
        self.let_go_again();
        self.see_strayed(now);
        self.count_packets(now);
        for (id, leg) in &mut self.legs {
            if let Stage::Held(sent) = &mut leg.stage
                && let Sent::Nothing { since } = *sent
                && now.duration_since(since) >= UNHEARD_MAX
            {
                *sent = Sent::Silence;
                self.out.ask(*id, Purpose::Nothing, requests::send_silence(*id));
            }
            if leg.stage == Stage::DialplanOnly
                && let Some(behind) = leg.behind.as_deref_mut()
                && let Trunk::Awaited {
                    ring_until: Some(until),
                } = behind.trunk
                && until <= now
            {
                behind.trunk = Trunk::GivenUp;
                self.out
                    .ask(*id, Purpose::HungUp(*id), requests::hang_up(&id.to_string()));
            }
        }
    }

    fn vanished(&mut self, id: Uuid, now: Instant) {
        if let Some(leg) = self.legs.get(&id) {
            let end = LegEnd {
                by: EndedBy::Vanished,
                ..leg.end(Cause::default())
            };
            self.ended(id, end, now);
            // If its events are only late, no call needs it any more.
            self.out
                .ask(id, Purpose::Nothing, requests::hang_up(&id.to_string()));
        }
    }

    // --- replies ----------------------------------------------------------------------------------------------

    /// Handles the reply to a request. `words` are the PBX's own, free of personal data. Returns false if the PBX refused a request
    /// that it should have executed.
    pub(super) fn replied(&mut self, purpose: Purpose, status: u16, words: &str, now: Instant) -> bool {
        let fine = (200..300).contains(&status);
        match purpose {
            // 409: it exists already, so its events will come.
            Purpose::Placed(_) if fine || status == 409 => {}
            Purpose::Placed(leg) => {
                let end = LegEnd {
                    by: EndedBy::Refused,
                    detail: words.to_owned(),
                    ..LegEnd::default()
                };
                self.ends_unless_closed(leg, end);
            }
            Purpose::Tried => {
                self.tried(fine, now);
                return true;
            }
            Purpose::Connected(leg, agent_leg) => self.connected(leg, agent_leg, status, now),
            Purpose::Playing(leg) if !fine => self.played(leg.0, false),
            Purpose::HungUp(leg) if status == 404 => {
                self.missing.push_back((now + END_LATE_MAX, leg));
                return true;
            }
            Purpose::LetGo { channel, until } => {
                if status == 404 && now < until && self.to_let_go.len() < STRAYS_MAX {
                    self.to_let_go.push((channel, until));
                }
                return true;
            }
            Purpose::Held(agent) => self.held(agent, fine, now),
            Purpose::Returned(agent) => {
                self.returned(agent, status, now);
                return true;
            }
            Purpose::CalleeOut(leg) => {
                self.callee_out(leg, status, now);
                return true;
            }
            Purpose::Announced(recording) => {
                self.recordings.announced(&recording, fine, words, &mut self.out)
            }
            Purpose::Recorded(recording) => self.recordings.recorded(&recording, fine, words, &mut self.out),
            Purpose::RecordingChecked(recording) => {
                self.recordings.checked(&recording, fine, &mut self.out);
                return true;
            }
            Purpose::Nothing | Purpose::Unsilenced | Purpose::Packets(_) => return true,
            Purpose::HungUp(_) | Purpose::Playing(_) | Purpose::Watched => {}
        }
        fine
    }

    fn held(&mut self, id: Uuid, fine: bool, now: Instant) {
        let Some(leg) = self.legs.get_mut(&id) else {
            // It ended while the bridge was being made.
            self.out
                .ask(id, Purpose::Nothing, requests::destroy_bridge(&self.mark, id));
            return;
        };
        if fine {
            leg.stage = Stage::Held(leg.sent_from(now));
            leg.phone.audio.begin(now, COUNT_EVERY);
            leg.phone.reported = None;
            self.out
                .events
                .push_back(PbxEvent::AgentReady { leg: AgentLegId(id) });
            self.watch_endpoint(id);
            self.tell_trouble(id);
        } else {
            self.hang_up(Side::Agent, id);
        }
    }
}
