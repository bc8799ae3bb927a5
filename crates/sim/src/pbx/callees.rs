//! The callees' side of the simulated PBX: their legs from the originate to the end, and their moves into agents' bridges.

use super::{SimPbx, Who};
use crate::callee::{AfterRinging, Callee, CalleePhase, CalleeStep, Plan};
use crate::truth::{LegTruth, TrueEnd, Violation};
use paceline_core::ids::{AgentLegId, LegId};
use paceline_core::pbx::{ConnectFault, DialString, EndedBy, LegEnd, PbxEvent};
use std::time::Duration;

impl SimPbx {
    pub(super) fn call_contact(
        &mut self,
        leg: LegId,
        dial: &DialString,
        ring_timeout: Duration,
        duration_max: Duration,
    ) {
        if !self.has_room(leg.0) {
            return self.report(
                leg.0,
                PbxEvent::LegEnded {
                    leg,
                    end: self.not_placed(),
                },
            );
        }
        let (trunk, number) = split_dial(dial.expose());
        let nth = self.truth.count_dialed(number);
        let plan = Plan::draw(&self.config.callees, self.seed, &trunk, number, nth);
        let placed = plan.after_ringing != AfterRinging::Unplaceable;
        self.truth.legs.insert(
            leg,
            LegTruth {
                behaviour: placed.then_some(plan.behaviour),
                placed_at: self.now,
                progressed_at: None,
                answered_at: None,
                connected: Vec::new(),
                message: None,
                alone: Vec::new(),
                ended: None,
            },
        );
        if !placed {
            self.truth.end_leg(leg, self.now, TrueEnd::NotPlaced);
            return self.report(
                leg.0,
                PbxEvent::LegEnded {
                    leg,
                    end: self.not_placed(),
                },
            );
        }
        let callee = Callee {
            plan,
            placed_at: self.now,
            ring_until: self.now + ring_timeout,
            ends_by: self.now + duration_max,
            progressed: false,
            phase: CalleePhase::Dialing,
        };
        self.agenda.insert((callee.next().0, Who::Callee(leg)));
        self.callees.insert(leg, callee);
    }

    /// Changes a callee and its entry in the agenda.
    pub(super) fn with_callee<R>(&mut self, leg: LegId, change: impl FnOnce(&mut Callee) -> R) -> Option<R> {
        let callee = self.callees.get_mut(&leg)?;
        self.agenda.remove(&(callee.next().0, Who::Callee(leg)));
        let result = change(callee);
        self.agenda.insert((callee.next().0, Who::Callee(leg)));
        Some(result)
    }

    pub(super) fn step_callee(&mut self, leg: LegId) {
        let now = self.now;
        let Some(step) = self.callees.get(&leg).map(|c| c.next().1) else {
            return;
        };
        match step {
            CalleeStep::Progress(kind) => {
                self.with_callee(leg, |c| {
                    c.progressed = true;
                    c.phase = CalleePhase::Ringing;
                });
                if let Some(truth) = self.truth.legs.get_mut(&leg) {
                    truth.progressed_at = Some(now);
                }
                self.report(leg.0, PbxEvent::Progress { leg, kind });
            }
            CalleeStep::Answer => {
                self.with_callee(leg, |c| c.phase = CalleePhase::Alone { since: now });
                if let Some(truth) = self.truth.legs.get_mut(&leg) {
                    truth.answered_at = Some(now);
                }
                self.report(leg.0, PbxEvent::Answered { leg });
                if !self.link.stands() {
                    self.end_callee(leg, TrueEnd::NobodyListened, EndedBy::Network, (None, Some(16)));
                }
            }
            CalleeStep::Refuse { sip, q850 } => {
                self.end_callee(leg, TrueEnd::Refused, EndedBy::Network, (Some(sip), Some(q850)));
            }
            CalleeStep::RingTimeout => {
                self.end_callee(
                    leg,
                    TrueEnd::RingTimeout,
                    EndedBy::RingTimeout,
                    (Some(480), Some(19)),
                );
            }
            CalleeStep::MessageOver => {
                self.with_callee(leg, |c| c.phase = CalleePhase::Alone { since: now });
                if let Some((_, until)) = self.truth.legs.get_mut(&leg).and_then(|t| t.message.as_mut()) {
                    *until = Some(now);
                }
                self.report(leg.0, PbxEvent::Played { leg, whole: true });
            }
            CalleeStep::Deserted => {
                self.with_callee(leg, |c| c.phase = CalleePhase::Alone { since: now });
                self.report(leg.0, PbxEvent::CalleeAlone { leg });
            }
            CalleeStep::HangUp => {
                self.end_callee(leg, TrueEnd::FarEnd, EndedBy::Network, (None, Some(16)));
            }
            CalleeStep::DurationMax => {
                self.end_callee(leg, TrueEnd::DurationMax, EndedBy::Network, (None, Some(16)));
            }
        }
    }

    pub(super) fn end_callee(
        &mut self,
        leg: LegId,
        truth: TrueEnd,
        by: EndedBy,
        codes: (Option<u16>, Option<u16>),
    ) {
        let Some(callee) = self.callees.remove(&leg) else {
            return;
        };
        self.agenda.remove(&(callee.next().0, Who::Callee(leg)));
        self.no_longer_alone(leg, callee.phase);
        self.truth.end_leg(leg, self.now, truth);
        if let Some(agent_leg) = callee.with() {
            self.with_phone(agent_leg, |phone| phone.part_from(leg));
        }
        self.end_recordings(|recording| recording.leg == leg);
        let (sip, q850) = codes;
        let answered = callee.answered();
        let end = LegEnd {
            by,
            q850,
            sip,
            progressed: callee.progressed,
            answered,
            detail: String::new(),
        };
        self.report(leg.0, PbxEvent::LegEnded { leg, end });
    }

    fn no_longer_alone(&mut self, leg: LegId, phase: CalleePhase) {
        if let (CalleePhase::Alone { since }, Some(truth)) = (phase, self.truth.legs.get_mut(&leg)) {
            truth.alone.push((since, self.now));
        }
    }

    pub(super) fn play(&mut self, leg: LegId) {
        let now = self.now;
        let fails = self.link.message_fails();
        let phase = self.callees.get(&leg).map(|callee| callee.phase);
        match phase {
            Some(alone @ CalleePhase::Alone { .. }) if !fails => self.no_longer_alone(leg, alone),
            Some(_) => return self.report(leg.0, PbxEvent::Played { leg, whole: false }),
            // Its end was already reported.
            None => return,
        }
        let until = now + self.config.message;
        self.with_callee(leg, |c| c.phase = CalleePhase::Hears { since: now, until });
        if let Some(truth) = self.truth.legs.get_mut(&leg) {
            truth.message = Some((now, None));
        }
    }

    pub(super) fn connect(&mut self, leg: LegId, agent_leg: AgentLegId) {
        let now = self.now;
        let failed = |fault| PbxEvent::ConnectFailed {
            leg,
            agent_leg,
            fault,
        };
        let Some(callee) = self.callees.get(&leg).filter(|c| c.answered()) else {
            return self.report(leg.0, failed(ConnectFault::CalleeGone));
        };
        let AfterRinging::Answer { talk, .. } = callee.plan.after_ringing else {
            return self.report(leg.0, failed(ConnectFault::CalleeGone));
        };
        let (before, phase) = (callee.with(), callee.phase);
        let Some(phone) = self.phones.get(&agent_leg).filter(|p| p.held()) else {
            return self.report(leg.0, failed(ConnectFault::AgentGone));
        };
        if let Some(first) = phone.with().filter(|first| *first != leg) {
            self.truth.violated(Violation::AgentTaken {
                agent_leg,
                first,
                second: leg,
            });
        }
        if before != Some(agent_leg) {
            if let Some(before) = before {
                // Moving a callee is allowed only away from a phone that no longer listens.
                if self.phones.get(&before).is_none_or(|phone| !phone.acted) {
                    self.truth.violated(Violation::CalleeMoved(leg));
                }
                self.with_phone(before, |phone| phone.part_from(leg));
            }
            self.no_longer_alone(leg, phase);
            self.with_callee(leg, |c| {
                c.phase = CalleePhase::With {
                    agent_leg,
                    since: now,
                }
            });
            let config = self.config.phones.clone();
            self.with_phone(agent_leg, |phone| phone.talk_with(leg, &config, now, talk));
            if let Some(truth) = self.truth.legs.get_mut(&leg) {
                truth.connected.push((now, agent_leg));
            }
        }
        self.report(leg.0, PbxEvent::Connected { leg, agent_leg });
    }
}

/// Splits a dial string into the number (its longest run of digits) and the rest.
fn split_dial(dial: &str) -> (String, &str) {
    let longest = dial
        .split(|c: char| !c.is_ascii_digit())
        .reduce(|longest, run| if run.len() > longest.len() { run } else { longest })
        .unwrap_or_default();
    (dial.replacen(longest, "", 1), longest)
}
