//! Agents' phones that transfer, pick up, hold or fall silent, and agents' legs that an operator moves.
//!
//! Measured on 22.10 and 16.28, the same on both:
//! - Transfer (REFER, blind or attended): the PBX puts a `Local` channel into the bridge in the place of the agent's leg. It sends
//!   `StasisStart` with `replace_channel`, then `ChannelLeftBridge` of the agent's leg. The callee stays in the bridge. The agent's
//!   leg stays in our application until its phone sends BYE, but our subscription moves to the `Local` channel. If the colleague
//!   does not take the call, the PBX sends `ChannelLeftBridge` of the `Local` channel and nothing else.
//! - Pickup: the agent's leg and the channel of the other phone exchange their ids. The other phone's channel enters our
//!   application with our arguments. The PBX also sends `ChannelDestroyed` with the leg's id and cause 16. In this event the
//!   dialplan application is empty; in the `ChannelDestroyed` of every other leg of ours it is `AppDial2`. The two events come
//!   in either order. For a moment after them, the PBX answers 404 to requests for the other phone's channel.
//! - Redirect by an operator: the PBX sends `ChannelLeftBridge` of the agent's leg, and no other event about the redirect. The leg
//!   is then outside our application, and the PBX answers 409 to requests that need it there.
//! - While a callee sends no audio, the PBX sends no audio to its agent.

use super::{COUNT_EVERY, COUNT_EVERY_SILENCED, Legs, uuid};
use crate::ari::leg::{EndState, Endpoint, Leg, Sent, Side, Stage, With};
use crate::ari::outbox::Purpose;
use crate::ari::requests;
use crate::ari::survey::Survey;
use paceline_core::ids::{AgentLegId, LegId};
use paceline_core::pbx::{Departure, EndedBy, LegEnd, LegTrouble, PbxEvent};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// If a leg came out of its bridge and has not ended after this time, the driver checks where it is.
const STRAY_WAIT: Duration = Duration::from_millis(200);
/// Maximum number of legs that wait for this check.
const STRAYED_MAX: usize = 4096;
/// After a pickup the PBX may not know the other phone's channel yet. The driver repeats the hang-up for this time at most.
const LET_GO_MAX: Duration = Duration::from_secs(2);
/// The dialplan application in the events of a channel that was originated over ARI.
const ORIGINATED: &str = "AppDial2";

impl Legs {
    /// `channel` has taken the place of the channel `replaced` in a bridge of ours.
    pub(super) fn replaced(&mut self, replaced: &str, channel: &str) {
        if let Some(bridge) = self.guests.remove(replaced) {
            self.guests.insert(channel.to_owned(), bridge);
            return;
        }
        let Some(id) = uuid(replaced) else { return };
        let Some(leg) = self.legs.get_mut(&id) else { return };
        match leg.side {
            Side::Agent => {
                leg.stage = Stage::Transferred;
                if let With::Leg(callee) = std::mem::replace(&mut leg.with, With::Nobody)
                    && self.legs.contains_key(&callee)
                {
                    self.guests.insert(channel.to_owned(), id);
                    self.transferred(callee);
                } else {
                    // There is no callee. The colleague would be alone in the bridge.
                    self.out.ask(id, Purpose::Nothing, requests::hang_up(channel));
                }
                // The PBX has moved our subscription to `channel`. Without a new one it would not report the end of this leg.
                let source = format!("channel:{id}");
                self.out
                    .ask(id, Purpose::Nothing, requests::subscribe(&self.app, &source));
                self.out.events.push_back(PbxEvent::AgentLeft {
                    leg: AgentLegId(id),
                    how: Departure::Transferred,
                });
            }
            // The callee's phone or PBX has transferred our agent to another party. The callee is not on this call any more.
            Side::Callee => {
                self.out.ask(id, Purpose::Nothing, requests::hang_up(channel));
                self.out
                    .ask(id, Purpose::HungUp(id), requests::hang_up(&id.to_string()));
            }
        }
    }

    fn transferred(&mut self, callee: Uuid) {
        if let Some(leg) = self.legs.get_mut(&callee) {
            leg.with = leg.with.transferred();
        }
        self.recordings.callee_left(LegId(callee), &mut self.out);
        self.out
            .events
            .push_back(PbxEvent::Transferred { leg: LegId(callee) });
    }

    /// A channel of others came into our application with an argument that only we give.
    pub(super) fn picked_up(&mut self, channel: &str, argument: Option<&str>, now: Instant) {
        if argument.and_then(Side::of).is_some() {
            self.let_go(channel.to_owned(), now + LET_GO_MAX);
        }
    }

    fn let_go(&mut self, channel: String, until: Instant) {
        let request = requests::hang_up(&channel);
        self.out
            .ask(Uuid::new_v4(), Purpose::LetGo { channel, until }, request);
    }

    /// Asks again for the end of channels that the PBX did not know yet.
    pub(super) fn let_go_again(&mut self) {
        for (channel, until) in std::mem::take(&mut self.to_let_go) {
            self.let_go(channel, until);
        }
    }

    /// The leg ended unanswered by its own phone. Reports it if another phone has picked it up.
    pub(super) fn told_if_picked_up(&mut self, id: Uuid, application: Option<&str>) {
        let ringing = |leg: &Leg| {
            leg.side == Side::Agent
                && leg.stage == Stage::Dialing
                && leg.progress.rang()
                && leg.end_state == EndState::Open
        };
        let swapped = application.is_some_and(|application| application != ORIGINATED);
        if swapped && self.legs.get(&id).is_some_and(ringing) {
            self.out.events.push_back(PbxEvent::AgentLeft {
                leg: AgentLegId(id),
                how: Departure::PickedUp,
            });
        }
    }

    pub(super) fn left_bridge(&mut self, bridge: &str, channel: &str, now: Instant) {
        let Some(bridge) = requests::agent_of(&self.mark, bridge) else {
            return;
        };
        let Some(id) = uuid(channel) else {
            return self.guest_left(bridge, channel);
        };
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if leg.end_state != EndState::Open {
            return;
        }
        match (leg.side, leg.sent_while_held()) {
            (Side::Agent, Some(sent)) if id == bridge => leg.stage = Stage::OutOfBridge(sent),
            // We may have moved it to another agent.
            (Side::Callee, _) if leg.with.bridge() == Some(bridge) => {}
            (Side::Agent | Side::Callee, _) => return,
        }
        if self.strayed.len() < STRAYED_MAX {
            self.strayed.push_back((now + STRAY_WAIT, id));
        }
    }

    /// The target of a transfer is gone, or never came.
    fn guest_left(&mut self, bridge: Uuid, channel: &str) {
        if self.guests.remove(channel).is_none() || self.has_guests(bridge) {
            return;
        }
        let callee = |(_, leg): &(&Uuid, &Leg)| leg.with == With::Others(Some(bridge));
        if let Some((callee, _)) = self.legs.iter().find(callee) {
            let leg = LegId(*callee);
            self.out.events.push_back(PbxEvent::CalleeAlone { leg });
        }
    }

    pub(super) fn has_guests(&self, bridge: Uuid) -> bool {
        self.guests.values().any(|of| *of == bridge)
    }

    /// A transferred callee has left, so the bridge is cleared.
    pub(super) fn clear_bridge(&mut self, bridge: Uuid) {
        for (channel, _) in self.guests.extract_if(|_, of| *of == bridge) {
            self.out
                .ask(bridge, Purpose::Nothing, requests::hang_up(&channel));
        }
        self.out.ask(
            bridge,
            Purpose::Nothing,
            requests::destroy_bridge(&self.mark, bridge),
        );
    }

    /// Checks legs that came out of their bridges and have not ended since.
    pub(super) fn see_strayed(&mut self, now: Instant) {
        while let Some((due, id)) = self.strayed.front().copied()
            && due <= now
        {
            self.strayed.pop_front();
            let Some(leg) = self.legs.get(&id).filter(|leg| leg.end_state == EndState::Open) else {
                continue;
            };
            match leg.side {
                Side::Agent if matches!(leg.stage, Stage::OutOfBridge(_)) => {
                    let request = requests::add_to_bridge(&self.mark, id, id);
                    self.out.ask(id, Purpose::Returned(id), request);
                }
                Side::Callee if !matches!(leg.with, With::Others(_)) => {
                    self.out
                        .ask(id, Purpose::CalleeOut(id), requests::stop_silence(id));
                }
                Side::Agent | Side::Callee => {}
            }
        }
    }

    /// Takes over phones and bridges after a gap. Call it before [`Legs::adopt`].
    pub(in crate::ari) fn adopt_phones(&mut self, survey: &Survey) {
        self.strayed.clear();
        self.guests.clone_from(&survey.guests);
        self.endpoints_watched.clone_from(&survey.endpoints_watched);
        for id in survey.agents() {
            let leg = self
                .legs
                .entry(id)
                .or_insert_with(|| Leg::new(Side::Agent, false));
            leg.phone.endpoint = match survey.endpoints.get(&id).cloned() {
                Some(endpoint) if survey.offline.contains(&endpoint) => Endpoint::Offline(endpoint),
                Some(endpoint) => Endpoint::Online(endpoint),
                None => Endpoint::Unknown,
            };
            let on_hold = survey.on_hold.get(&id).copied();
            let on_hold = on_hold.unwrap_or(leg.phone.audio.is_on_hold());
            leg.phone.audio.resume(on_hold, survey.steady.contains(&id));
        }
    }

    /// The trouble of a held leg, for the snapshot that is reported next.
    pub(in crate::ari) fn trouble_for_snapshot(&mut self, id: Uuid, now: Instant) -> Option<LegTrouble> {
        let leg = self.legs.get_mut(&id).filter(|leg| leg.is_held())?;
        leg.phone.audio.count_at = Some(now + COUNT_EVERY);
        let trouble = leg.phone.trouble();
        leg.phone.reported = trouble;
        self.watch_endpoint(id);
        trouble
    }

    /// Handles the reply to putting the agent's leg back into its bridge.
    pub(super) fn returned(&mut self, id: Uuid, status: u16, now: Instant) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        match status {
            200..300 => {
                if let Stage::OutOfBridge(sent) = leg.stage {
                    leg.stage = Stage::Held(match leg.with {
                        With::Nobody => Sent::Nothing { since: now },
                        With::Leg(_) | With::Others(_) => sent,
                    });
                }
                self.tell_trouble(id);
            }
            // There is no such channel: its end is on its way.
            400 => {}
            _ => {
                // Not in our application, or its bridge is gone.
                if status == 422 {
                    leg.stage = Stage::Moved;
                }
                self.out.events.push_back(PbxEvent::AgentLeft {
                    leg: AgentLegId(id),
                    how: Departure::Moved,
                });
            }
        }
    }

    /// Handles the reply that tells whether a callee that came out of its agent's bridge is in our application.
    pub(super) fn callee_out(&mut self, id: Uuid, status: u16, now: Instant) {
        let Some(leg) = self.legs.get(&id) else {
            return;
        };
        match (status, leg.with.bridge()) {
            (404, _) | (_, None) => {}
            (200..300, Some(agent)) => {
                let request = requests::add_to_bridge(&self.mark, agent, id);
                self.out
                    .ask(id, Purpose::Connected(LegId(id), AgentLegId(agent)), request);
            }
            (_, Some(agent)) => {
                if let Some(agent) = self.legs.get_mut(&agent)
                    && agent.with == With::Leg(id)
                {
                    agent.callee_is_gone(now);
                }
                if let Some(callee) = self.legs.get_mut(&id) {
                    callee.with = With::Nobody;
                }
                self.transferred(id);
            }
        }
    }

    /// Hangs up an agent's leg, unless an operator has taken it out of our application.
    pub(super) fn hang_up_agent(&mut self, id: Uuid, now: Instant) {
        if self.legs.get(&id).is_some_and(|leg| leg.stage == Stage::Moved) {
            let end = LegEnd {
                by: EndedBy::TakenAway,
                answered: true,
                ..LegEnd::default()
            };
            return self.ended(id, end, now);
        }
        self.hang_up(Side::Agent, id);
    }

    pub(super) fn held_by_phone(&mut self, channel: &str, on: bool) {
        let Some(id) = uuid(channel) else { return };
        let Some(leg) = self.legs.get_mut(&id).filter(|leg| leg.side == Side::Agent) else {
            return;
        };
        if leg.phone.audio.is_on_hold() != on {
            leg.phone.audio.hold(on);
            // For the next run.
            let value = if on { "1" } else { "" };
            self.out.ask(
                id,
                Purpose::Nothing,
                requests::set_variable(id, requests::HOLD_VARIABLE, value),
            );
            self.tell_trouble(id);
        }
    }

    pub(super) fn endpoint_is(&mut self, endpoint: &str, offline: bool) {
        let on_it = self
            .legs
            .iter_mut()
            .filter(|(_, leg)| leg.phone.endpoint.name() == Some(endpoint));
        let mut changed: Vec<Uuid> = Vec::new();
        for (id, leg) in on_it {
            leg.phone.endpoint.set(offline);
            changed.push(*id);
        }
        for id in changed {
            self.tell_trouble(id);
        }
    }

    /// Subscribes to the endpoint of this agent's phone, once for each endpoint.
    pub(super) fn watch_endpoint(&mut self, id: Uuid) {
        let Some(endpoint) = self
            .legs
            .get(&id)
            .and_then(|leg| leg.phone.endpoint.name())
            .map(str::to_owned)
        else {
            return;
        };
        if self.trunks_watched || self.endpoints_watched.contains(&endpoint) {
            return;
        }
        let source = requests::endpoint_source(&endpoint);
        self.out.ask(
            Uuid::nil(),
            Purpose::Watched,
            requests::subscribe(&self.app, &source),
        );
        self.endpoints_watched.insert(endpoint);
    }

    /// Reports the trouble of a held leg, or its end.
    pub(super) fn tell_trouble(&mut self, id: Uuid) {
        let Some(leg) = self.legs.get_mut(&id).filter(|leg| leg.is_held()) else {
            return;
        };
        let trouble = leg.phone.trouble();
        if trouble != leg.phone.reported {
            leg.phone.reported = trouble;
            self.out.events.push_back(PbxEvent::AgentTrouble {
                leg: AgentLegId(id),
                trouble,
            });
        }
    }

    /// Counts the packets of phones whose turn it is.
    pub(super) fn count_packets(&mut self, now: Instant) {
        for (id, leg) in &mut self.legs {
            let due = leg.phone.audio.count_at.is_some_and(|at| at <= now);
            // Through the dialplan there is no RTP to be seen.
            if let Some(sent) = leg.sent_while_held().filter(|_| due)
                && leg.end_state == EndState::Open
                && leg.behind.is_none()
            {
                let every = match (sent, leg.with) {
                    (Sent::Silence, With::Leg(_) | With::Others(_)) => COUNT_EVERY_SILENCED,
                    (Sent::Silence, With::Nobody) | (Sent::Nothing { .. } | Sent::Callee { .. }, _) => {
                        COUNT_EVERY
                    }
                };
                leg.phone.audio.count_at = Some(now + every);
                self.out
                    .ask(*id, Purpose::Packets(*id), requests::rtp_statistics(*id));
            }
        }
    }

    /// Takes a count. `None` if the channel has no RTP of its own, or none yet.
    pub(in crate::ari) fn packets(&mut self, id: Uuid, counted: Option<(u64, u64)>, now: Instant) {
        let Some((from_phone, to_phone)) = counted else {
            return;
        };
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Stage::Held(sent) = &mut leg.stage else { return };
        if let Some(seen) = leg.phone.audio.count(now, from_phone, to_phone)
            && leg.with != With::Nobody
        {
            match *sent {
                Sent::Callee { since } if seen.unheard && since <= seen.since => {
                    *sent = Sent::Silence;
                    leg.phone.audio.count_at = Some(now + COUNT_EVERY_SILENCED);
                    self.out.ask(id, Purpose::Nothing, requests::send_silence(id));
                }
                Sent::Silence if seen.doubled => {
                    *sent = Sent::Callee { since: now };
                    self.out.ask(id, Purpose::Unsilenced, requests::stop_silence(id));
                }
                Sent::Nothing { .. } | Sent::Callee { .. } | Sent::Silence => {}
            }
        }
        if leg.phone.audio.has_proved_steady() {
            // For the next run.
            let request = requests::set_variable(id, requests::STEADY_VARIABLE, "1");
            self.out.ask(id, Purpose::Nothing, request);
        }
        self.tell_trouble(id);
    }
}
