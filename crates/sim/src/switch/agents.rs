//! The agents' side of the switch: their legs, held in bridges of their own.

use super::{SimSwitch, Who, not_placed};
use crate::callee::CalleePhase;
use crate::phone::{self, Answer, Phone, PhonePhase, PhoneStep};
use crate::truth::{AgentLegTruth, TrueEnd};
use paceline_core::ids::{AgentLegId, LegId};
use paceline_core::pbx::{DialString, EndedBy, LegEnd, PbxEvent};
use std::time::Duration;

impl SimSwitch {
    pub(super) fn call_agent(
        &mut self,
        leg: AgentLegId,
        dial: &DialString,
        ring_timeout: Duration,
        duration_max: Duration,
    ) {
        if !self.has_room(leg.0) {
            return self.report(
                leg.0,
                PbxEvent::AgentEnded {
                    leg,
                    end: not_placed(),
                },
            );
        }
        let nth = self.truth.count_dialed(&dial.0);
        let (drawn, rng) = phone::draw(&self.config.phones, self.seed, &dial.0, nth);
        let answer = self.answers.get(&dial.0).copied().unwrap_or(drawn);
        self.truth.agent_legs.insert(
            leg,
            AgentLegTruth {
                placed_at: self.now,
                held_at: None,
                ended: None,
            },
        );
        if answer == Answer::Unregistered {
            self.truth.end_agent_leg(leg, self.now, TrueEnd::NotPlaced);
            return self.report(
                leg.0,
                PbxEvent::AgentEnded {
                    leg,
                    end: not_placed(),
                },
            );
        }
        let phone = Phone {
            dial: dial.0.clone(),
            rng,
            answer,
            placed_at: self.now,
            ring_until: self.now + ring_timeout,
            ends_by: self.now + duration_max,
            phase: PhonePhase::Dialing,
        };
        self.agenda.insert((phone.next().0, Who::Phone(leg)));
        self.phones.insert(leg, phone);
    }

    /// Changes a phone and its place in the agenda.
    pub(super) fn with_phone<R>(
        &mut self,
        leg: AgentLegId,
        change: impl FnOnce(&mut Phone) -> R,
    ) -> Option<R> {
        let phone = self.phones.get_mut(&leg)?;
        self.agenda.remove(&(phone.next().0, Who::Phone(leg)));
        let result = change(phone);
        self.agenda.insert((phone.next().0, Who::Phone(leg)));
        Some(result)
    }

    pub(super) fn step_phone(&mut self, leg: AgentLegId) {
        let now = self.now;
        let Some(step) = self.phones.get(&leg).map(|p| p.next().1) else {
            return;
        };
        match step {
            PhoneStep::Ring => {
                self.with_phone(leg, |p| p.phase = PhonePhase::Ringing);
                self.report(leg.0, PbxEvent::AgentRinging { leg });
            }
            PhoneStep::PickUp => {
                self.with_phone(leg, |p| {
                    p.phase = PhonePhase::Held {
                        since: now,
                        call: None,
                    }
                });
                if let Some(truth) = self.truth.agent_legs.get_mut(&leg) {
                    truth.held_at = Some(now);
                }
                self.report(leg.0, PbxEvent::AgentReady { leg });
                if !self.link.stands() {
                    self.end_phone(leg, TrueEnd::NobodyListened, EndedBy::Network, (None, Some(16)));
                }
            }
            PhoneStep::Refuse { sip, q850 } => {
                self.end_phone(leg, TrueEnd::Refused, EndedBy::Network, (Some(sip), Some(q850)));
            }
            PhoneStep::RingTimeout => {
                self.end_phone(
                    leg,
                    TrueEnd::RingTimeout,
                    EndedBy::RingTimeout,
                    (Some(480), Some(19)),
                );
            }
            PhoneStep::HangUp => {
                self.end_phone(leg, TrueEnd::FarEnd, EndedBy::Network, (None, Some(16)));
            }
            PhoneStep::DurationMax => {
                self.end_phone(leg, TrueEnd::DurationMax, EndedBy::Network, (None, Some(16)));
            }
        }
    }

    /// Ends an agent's leg and its bridge. A callee in it stays on the switch, alone.
    pub(super) fn end_phone(
        &mut self,
        leg: AgentLegId,
        truth: TrueEnd,
        by: EndedBy,
        codes: (Option<u16>, Option<u16>),
    ) {
        let now = self.now;
        let Some(phone) = self.phones.remove(&leg) else {
            return;
        };
        self.agenda.remove(&(phone.next().0, Who::Phone(leg)));
        self.truth.end_agent_leg(leg, now, truth);
        let left: Vec<LegId> = self
            .callees
            .iter()
            .filter(|(_, c)| c.with() == Some(leg))
            .map(|(leg, _)| *leg)
            .collect();
        for callee in left {
            self.with_callee(callee, |c| c.phase = CalleePhase::Alone { since: now });
        }
        self.end_recordings(|recording| recording.agent_leg == leg);
        let (sip, q850) = codes;
        let progressed = phone.phase != PhonePhase::Dialing;
        let end = LegEnd {
            by,
            q850,
            sip,
            progressed,
            answered: phone.held(),
            detail: String::new(),
        };
        self.report(leg.0, PbxEvent::AgentEnded { leg, end });
    }
}
