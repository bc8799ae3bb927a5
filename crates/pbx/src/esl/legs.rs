//! The states of all legs: a pure state machine. Input: commands, events of the PBX, replies, a survey, and the time.
//! Output, through [`Out`]: commands to send and events to deliver.
//!
//! Measured on 1.11, and nowhere in the manuals:
//! - A leg can be joined only once it is parked: between its answer and that, the originate still works on it.
//! - `uuid_bridge` says `+OK` before anything happened; `CHANNEL_BRIDGE` comes 40 to 60 ms later. If the second of the two is gone by
//!   then, the first is parked; if the first is, the second stays in `CS_RESET` or `CS_SOFT_EXECUTE`: nobody reads its audio, and it is
//!   sent none.
//! - The survivor's `CHANNEL_PARK` comes before the other's `CHANNEL_HANGUP_COMPLETE`.
//! - `uuid_kill` of a leg whose originate has not begun yet fails because there is no such channel. The channel appears afterwards.
//! - Our own ring timeout has `sip_invite_failure_status` 487, from our CANCEL, but no `sip_term_status`.

use super::command::{self, Placement};
use super::esl_event::{EslEvent, Facts, StoppedBy};
use super::leg::{FarHalf, Join, Leg, Message, Presence, Side, Stage, far_ends_cause};
use super::outbox::{Look, OnReply, Out};
use super::recordings::{Folders, Recordings};
use crate::ended::EndedLegs;
use crate::{NO_LINK, refusal};
use paceline_core::ids::{AgentLegId, LegId};
use paceline_core::pbx::{ConnectFault, Destination, LegEnd, PbxCommand, PbxEvent, Progress};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};
use uuid::Uuid;

mod adopt;
mod joins;
mod message;
mod moves;
mod phones;
#[cfg(test)]
mod tests;

/// Maximum time until the event of the end of a leg that the PBX no longer knows.
const END_LATE_MAX: Duration = Duration::from_secs(1);
/// Maximum time from the job's result that an originate failed until the channel's own events.
const CREATE_LATE_MAX: Duration = Duration::from_millis(300);
/// The same if the job's words mean that there was a channel.
const END_AFTER_JOB_MAX: Duration = Duration::from_secs(2);
/// Maximum time until the PBX begins a join. A leg that is told to park earlier is joined nevertheless, and stays joined.
const JOIN_BEGINS_MAX: Duration = Duration::from_millis(300);
/// Maximum time until the PBX has joined two parked legs.
const JOIN_WAIT_MAX: Duration = Duration::from_secs(3);

/// The state of the driver.
pub(super) struct Legs {
    app: String,
    legs: HashMap<Uuid, Leg>,
    ended: EndedLegs,
    /// Legs that the PBX does not know, without an event of their end, and when to stop waiting for it.
    missing: VecDeque<(Instant, Uuid)>,
    /// Legs whose originate failed before a channel was seen, the PBX's word for the reason, and when to accept it.
    not_placed: Vec<(Instant, Uuid, String)>,
    /// Joins that the PBX has not confirmed yet: callees, by their time limit.
    joins: BTreeMap<(Instant, Uuid), ()>,
    /// Agents without a callee, and when they must have been parked.
    unparked: VecDeque<(Instant, Uuid)>,
    /// Transferred callees who were parked, and when to conclude that they are alone.
    parked_elsewhere: VecDeque<(Instant, Uuid)>,
    /// Agents whose callee has ended around a join, and when to look at the agent's leg.
    left_behind: Vec<(Instant, Uuid, Look)>,
    asking: phones::Asking,
    pub(super) recordings: Recordings,
    pub(super) out: Out,
}

impl Legs {
    pub(super) fn new(app: String) -> Self {
        Self {
            app,
            legs: HashMap::new(),
            ended: EndedLegs::default(),
            missing: VecDeque::new(),
            not_placed: Vec::new(),
            joins: BTreeMap::new(),
            unparked: VecDeque::new(),
            parked_elsewhere: VecDeque::new(),
            left_behind: Vec::new(),
            asking: phones::Asking::default(),
            recordings: Recordings::default(),
            out: Out::default(),
        }
    }

    /// The PBX's folders, which are read again with every link.
    pub(super) fn set_folders(&mut self, folders: Folders) {
        self.recordings.folders = folders;
    }

    // --- commands ---------------------------------------------------------------------------------------------

    pub(super) fn command(&mut self, command: PbxCommand, now: Instant) {
        match command {
            PbxCommand::CallContact {
                leg,
                dial,
                caller_id,
                ring_timeout,
                duration_max,
            } => self.place(
                &Placement {
                    leg: leg.0,
                    side: Side::Callee,
                    dial: &dial,
                    caller_id: caller_id.as_ref(),
                    ring_timeout,
                    duration_max,
                },
                now,
            ),
            PbxCommand::CallAgent {
                leg,
                dial,
                caller_id,
                ring_timeout,
                duration_max,
                // FreeSWITCH reports the keys of every leg.
                report_keys: _,
            } => self.place(
                &Placement {
                    leg: leg.0,
                    side: Side::Agent,
                    dial: &dial,
                    caller_id: caller_id.as_ref(),
                    ring_timeout,
                    duration_max,
                },
                now,
            ),
            PbxCommand::Connect {
                leg,
                to: Destination::HeldLeg(agent_leg),
            } => self.connect(leg, agent_leg, now),
            PbxCommand::Play { leg, sound } => self.play(leg, &sound),
            PbxCommand::HangUp { leg } => self.hang_up(Side::Callee, leg.0),
            PbxCommand::HangUpAgent { leg } => self.hang_up(Side::Agent, leg.0),
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
            PbxCommand::HangUp { leg: LegId(leg) } | PbxCommand::HangUpAgent { leg: AgentLegId(leg) } => {
                if let Some(leg) = self.legs.get_mut(&leg) {
                    leg.request_hang_up();
                }
            }
            PbxCommand::StopRecording { recording } => self.recordings.stop_later(&recording),
            other => self.out.events.extend(refusal(&other, NO_LINK)),
        }
    }

    fn place(&mut self, placement: &Placement<'_>, now: Instant) {
        let mut leg = Leg::new(placement.side);
        if command::is_loopback(placement.dial) {
            leg.far_half = FarHalf::Awaited;
        }
        self.legs.insert(placement.leg, leg);
        match command::place(&self.app, placement) {
            Ok(text) => self.out.ask(OnReply::Placed(placement.leg), text),
            Err(err) => self.refused(placement.leg, &err.to_string(), now),
        }
    }

    /// True if a command that still waits here is worth sending. An originate is not if its end was requested; then its leg ends as
    /// never placed.
    pub(super) fn still_wanted(&mut self, then: &OnReply, now: Instant) -> bool {
        let OnReply::Placed(id) = then else { return true };
        let cancelled = self.legs.get(id).is_none_or(Leg::is_hang_up_requested);
        if cancelled {
            self.refused(*id, "cancelled before the PBX was asked to place it", now);
        }
        !cancelled
    }

    fn refused(&mut self, id: Uuid, words: &str, now: Instant) {
        if let Some(leg) = self.legs.get(&id) {
            let end = leg.never_placed(words);
            self.ended(id, end, now);
        }
    }

    /// Every live leg.
    pub(super) fn known(&self) -> HashSet<Uuid> {
        self.legs.keys().copied().collect()
    }

    /// The link broke. Unsent commands are dropped.
    pub(super) fn unlinked(&mut self, now: Instant) {
        for ask in std::mem::take(&mut self.out.asks) {
            if let OnReply::Placed(leg) = ask.then {
                self.refused(leg, "the link broke before it was asked for", now);
            }
        }
        // Ends must be reported, or the engine would request them for ever.
        let is_end =
            |event: &PbxEvent| matches!(event, PbxEvent::LegEnded { .. } | PbxEvent::AgentEnded { .. });
        self.out.events.retain(is_end);
        self.not_placed.clear();
        self.joins.clear();
        self.unparked.clear();
        self.parked_elsewhere.clear();
        self.left_behind.clear();
        self.asking = phones::Asking::default();
    }

    fn hang_up(&mut self, side: Side, id: Uuid) {
        if self.ended.ids.contains(&id) {
            return;
        }
        self.legs
            .entry(id)
            .or_insert_with(|| {
                // Not placed by this run. If it exists, it has a channel.
                let mut leg = Leg::new(side);
                leg.stage = Stage::Dialing;
                leg
            })
            .request_hang_up();
        self.out.ask(OnReply::HungUp(id), command::hang_up(id));
    }

    // --- what the PBX says ---------------------------------------------------------------------------------

    pub(super) fn event(&mut self, event: EslEvent, now: Instant) {
        match event {
            EslEvent::Created(id) => self.created(id),
            EslEvent::Ringing(id) => self.progressed(id, Progress::Ringing),
            EslEvent::EarlyMedia(id) => self.progressed(id, Progress::EarlyMedia),
            EslEvent::Answered(id) => self.answered(id),
            EslEvent::Parked(id, transfers) => self.parked(id, transfers, now),
            EslEvent::Unparked(id) => self.unparked(id, now),
            EslEvent::Bridged(a, b) => self.bridged(a, b, now),
            EslEvent::Unbridged(a, b) => self.unbridged(a, b),
            EslEvent::OnHold(id, on_hold) => self.hold(id, on_hold, now),
            EslEvent::Pressed(id, digit) => self.pressed(id, digit),
            EslEvent::Ended(id, facts) => self.over(id, &facts, now),
            EslEvent::FarHalf(id) => self.far_half(id, FarHalf::Seen),
            EslEvent::FarHalfFull(id) => self.far_half(id, FarHalf::Full),
            EslEvent::NotPlaced(id, words) => self.not_placed(id, words, now),
            // No originate's.
            EslEvent::Printed(..) => {}
            EslEvent::RecordingStarted(name) => self.recordings.started(&name, &mut self.out),
            EslEvent::RecordingStopped(name, ms, StoppedBy::HangUp) => {
                self.recordings.stopped(&name, ms, &mut self.out);
            }
            EslEvent::RecordingStopped(name, ms, StoppedBy::Other) => {
                self.recordings.forget(&name, &mut self.out);
                self.recordings.stopped(&name, ms, &mut self.out);
            }
            EslEvent::Played(id, done) => {
                if !self.message_over(id, done) {
                    self.recordings.played(LegId(id), done, &mut self.out);
                }
            }
        }
    }

    fn created(&mut self, id: Uuid) {
        match self.legs.get_mut(&id) {
            Some(leg) => {
                if leg.stage == Stage::Asked {
                    leg.stage = Stage::Dialing;
                }
                if leg.is_hang_up_requested() {
                    self.out.ask(OnReply::HungUp(id), command::hang_up(id));
                }
            }
            // An originate that was still on its way when its link broke.
            None => self.out.ask(OnReply::Nothing, command::hang_up(id)),
        }
    }

    fn far_half(&mut self, id: Uuid, now: FarHalf) {
        // It may be another phone of the same user, which has the leg's variables too.
        if let Some(leg) = self
            .legs
            .get_mut(&id)
            .filter(|leg| leg.far_half != FarHalf::Unknown)
        {
            leg.far_half = now;
        }
    }

    fn progressed(&mut self, id: Uuid, kind: Progress) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if !leg.progress.add(kind) || leg.answered() {
            return;
        }
        leg.stage = Stage::Dialing;
        self.out.events.extend(match (leg.side, kind) {
            (Side::Callee, kind) => Some(PbxEvent::Progress { leg: LegId(id), kind }),
            (Side::Agent, Progress::Ringing) => Some(PbxEvent::AgentRinging { leg: AgentLegId(id) }),
            (Side::Agent, Progress::EarlyMedia) => None,
        });
    }

    fn answered(&mut self, id: Uuid) {
        let Some(leg) = self.legs.get_mut(&id) else {
            self.out.ask(OnReply::Nothing, command::hang_up(id));
            return;
        };
        if leg.answered() {
            return;
        }
        leg.stage = Stage::Answered;
        if leg.side == Side::Callee {
            self.out.events.push_back(PbxEvent::Answered { leg: LegId(id) });
        }
    }

    /// It waits in `park`: after its answer, and whenever the other side has left it.
    fn parked(&mut self, id: Uuid, transfers: bool, now: Instant) {
        self.answered(id);
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let first = leg.park();
        if transfers && leg.phone.presence == Presence::Present {
            leg.phone.presence = Presence::Transferring;
        }
        leg.phone.audio.parked(now);
        let (side, join) = (leg.side, leg.join);
        let message = leg.message != Message::No;
        match side {
            Side::Agent => {
                if first {
                    let leg = AgentLegId(id);
                    self.out.events.push_back(PbxEvent::AgentReady { leg });
                    self.tell_trouble(id, now);
                }
                self.agent_parked(id, join, now);
            }
            Side::Callee => self.callee_parked(id, join, now),
        }
        if message {
            self.play_if_parked(id);
        }
    }

    fn over(&mut self, id: Uuid, facts: &Facts, now: Instant) {
        // If the link was down during the join, the end of the leg is the first to tell of it.
        if let Some(Leg {
            side: Side::Callee,
            join: Join::Asked { with, .. },
            ..
        }) = self.legs.get(&id)
            && facts.bridged_with == Some(*with)
        {
            self.bridged(id, *with, now);
        }
        match self.legs.get(&id) {
            Some(leg) => {
                let (end, departure) = (leg.end(facts), leg.departure(facts));
                if let Some(how) = departure {
                    self.departed(id, how);
                }
                self.ended(id, end, now);
            }
            // A leg of an earlier run that has ended since the survey. Its attempt needs the end.
            None => {
                if let Some(side) = facts.side
                    && !self.ended.ids.contains(&id)
                {
                    let leg = Leg::new(side);
                    let end = leg.end(facts);
                    self.legs.insert(id, leg);
                    self.ended(id, end, now);
                }
            }
        }
    }

    fn not_placed(&mut self, id: Uuid, words: String, now: Instant) {
        // Once there is a channel, its own end has more and better facts.
        if self.legs.get(&id).is_some_and(|leg| leg.stage == Stage::Asked) {
            let wait = match far_ends_cause(&words) {
                Some(_) => END_AFTER_JOB_MAX,
                None => CREATE_LATE_MAX,
            };
            self.not_placed.push((now + wait, id, words));
        }
    }

    fn ended(&mut self, id: Uuid, end: LegEnd, now: Instant) {
        let Some(leg) = self.legs.remove(&id) else { return };
        self.ended.insert(id);
        let unjoined = matches!(leg.join, Join::Wanted { .. } | Join::Asked { .. });
        if let Join::Asked { until, .. } = leg.join {
            self.joins.remove(&(until, id));
        }
        if let Some(with) = leg.join.with() {
            let (callee, agent, fault) = match leg.side {
                Side::Callee => (id, with, ConnectFault::CalleeGone),
                Side::Agent => (with, id, ConnectFault::AgentGone),
            };
            if unjoined {
                if leg.side == Side::Callee && matches!(leg.join, Join::Asked { .. }) {
                    self.look_after_failed_join(agent, now);
                }
                self.connect_failed(callee, agent, fault, now);
            } else if leg.side == Side::Agent {
                self.part(callee, agent);
            } else {
                // The agent is `Talking` until it is parked again.
                self.look_after_talk(agent, now);
                self.must_be_parked(agent, now);
            }
        }
        match leg.side {
            Side::Callee => {
                self.recordings.callee_left(LegId(id), &mut self.out);
                self.out
                    .events
                    .push_back(PbxEvent::LegEnded { leg: LegId(id), end });
            }
            Side::Agent => {
                self.recordings.agent_left(AgentLegId(id), &mut self.out);
                self.out.events.push_back(PbxEvent::AgentEnded {
                    leg: AgentLegId(id),
                    end,
                });
            }
        }
    }

    /// To be called several times a second.
    pub(super) fn tick(&mut self, now: Instant) {
        for (_, id, words) in self
            .not_placed
            .extract_if(.., |(due, ..)| *due <= now)
            .collect::<Vec<_>>()
        {
            if self.legs.get(&id).is_some_and(|leg| leg.stage == Stage::Asked) {
                self.refused(id, &words, now);
            }
        }
        while let Some((due, id)) = self.missing.front().copied()
            && due <= now
        {
            self.missing.pop_front();
            self.vanished(id, now);
        }
        self.tick_unparked(now);
        self.tick_left_behind(now);
        self.tick_phones(now);
        self.tick_elsewhere(now);
        while let Some(((until, callee), ())) = self.joins.first_key_value()
            && *until <= now
        {
            let callee = *callee;
            self.joins.pop_first();
            if let Some(agent) = self.legs.get(&callee).and_then(|leg| leg.join.with()) {
                self.connect_failed(callee, agent, ConnectFault::Refused, now);
            }
        }
    }

    fn vanished(&mut self, id: Uuid, now: Instant) {
        if let Some(leg) = self.legs.get(&id) {
            let end = leg.vanished();
            self.ended(id, end, now);
            // If its events are only late, no call needs it any more.
            self.out.ask(OnReply::Nothing, command::hang_up(id));
        }
    }

    // --- replies ----------------------------------------------------------------------------------------------

    /// Handles the reply to a command: `+OK …`, `-ERR …`, or the requested value. Returns false if the PBX refused a command that it
    /// should have executed.
    pub(super) fn replied(&mut self, then: OnReply, reply: &str, now: Instant) -> bool {
        let fine = !reply.starts_with('-');
        match then {
            OnReply::Placed(leg) if !fine => {
                let words = reply.trim_start_matches("-ERR").trim();
                self.refused(leg, words, now);
            }
            OnReply::Joined(leg, agent_leg) if !fine => {
                self.out
                    .ask(OnReply::WhichIsGone(leg, agent_leg), command::exists(leg.0));
                return true;
            }
            OnReply::WhichIsGone(leg, agent_leg) => {
                let waiting = matches!(
                    self.legs.get(&leg.0).map(|leg| leg.join),
                    Some(Join::Asked { with, .. }) if with == agent_leg.0
                );
                let fault = match reply.trim() {
                    "true" => ConnectFault::AgentGone,
                    _ => ConnectFault::CalleeGone,
                };
                if waiting {
                    self.connect_failed(leg.0, agent_leg.0, fault, now);
                }
                return true;
            }
            OnReply::HungUp(leg) if !fine => {
                // Before it was placed it cannot be found; it will be hung up as soon as it appears.
                let placed = self.legs.get(&leg).is_some_and(|leg| leg.stage != Stage::Asked);
                if placed && !self.missing.iter().any(|(_, id)| *id == leg) {
                    self.missing.push_back((now + END_LATE_MAX, leg));
                }
                return true;
            }
            OnReply::SoundFound(leg) => {
                self.sound_found(leg, reply.trim() == "true");
                return true;
            }
            OnReply::Playing(leg) if !fine => {
                self.message_over(leg.0, false);
            }
            OnReply::AnnouncementFound(name) => {
                self.recordings
                    .announcement_found(&name, reply.trim() == "true", &mut self.out);
                return true;
            }
            OnReply::Described(leg) => {
                self.described(leg, reply, now);
                return true;
            }
            OnReply::Counted => {
                self.counted(reply, now);
                return true;
            }
            OnReply::Looked(callee) => {
                self.looked(callee, reply);
                return true;
            }
            OnReply::Settled(callee) => {
                self.settled(callee, reply, now);
                return true;
            }
            OnReply::LeftBehind(agent, look) => {
                self.left_behind(agent, look, reply, now);
                return true;
            }
            OnReply::Announced(name) => self.recordings.announced(&name, fine, reply, &mut self.out),
            OnReply::Recorded(name) => self.recordings.recorded(&name, fine, reply, &mut self.out),
            OnReply::Nothing => return true,
            OnReply::Placed(_) | OnReply::Joined(..) | OnReply::Playing(_) | OnReply::HungUp(_) => {}
        }
        fine
    }
}
