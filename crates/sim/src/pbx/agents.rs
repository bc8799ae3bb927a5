//! The agents' side of the simulated PBX: their legs, each held in its own bridge.

use super::{SimPbx, Who};
use crate::callee::CalleePhase;
use crate::phone::{self, Act, Answer, Phone, PhonePhase, PhoneStep};
use crate::truth::{AgentLegTruth, TrueEnd};
use paceline_core::ids::{AgentLegId, LegId};
use paceline_core::pbx::{Departure, DialString, EndedBy, LegEnd, LegTrouble, PbxEvent};
use paceline_core::time::Mono;
use std::time::Duration;

impl SimPbx {
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
                    end: self.not_placed(),
                },
            );
        }
        let nth = self.truth.count_dialed(dial.expose());
        let (drawn, rng) = phone::draw(&self.config.phones, self.seed, dial.expose(), nth);
        let answer = self.answers.get(dial.expose()).copied().unwrap_or(drawn);
        self.truth.agent_legs.insert(
            leg,
            AgentLegTruth {
                placed_at: self.now,
                held_at: None,
                left_at: None,
                ended: None,
            },
        );
        if answer == Answer::Unregistered {
            self.truth.end_agent_leg(leg, self.now, TrueEnd::NotPlaced);
            return self.report(
                leg.0,
                PbxEvent::AgentEnded {
                    leg,
                    end: self.not_placed(),
                },
            );
        }
        let phone = Phone {
            dial: dial.expose().to_owned(),
            rng,
            answer,
            placed_at: self.now,
            ring_until: self.now + ring_timeout,
            ends_by: self.now + duration_max,
            phase: PhonePhase::Dialing,
            trouble: None,
            acts_at: None,
            acted: false,
        };
        self.agenda.insert((phone.next().0, Who::Phone(leg)));
        self.phones.insert(leg, phone);
    }

    /// Changes a phone and its entry in the agenda.
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
                let config = self.config.phones.clone();
                self.with_phone(leg, |p| {
                    p.phase = PhonePhase::Held {
                        since: now,
                        call: None,
                    };
                    p.draw_act(&config, now);
                });
                if let Some(truth) = self.truth.agent_legs.get_mut(&leg) {
                    truth.held_at = Some(now);
                }
                self.report(leg.0, PbxEvent::AgentReady { leg });
                if !self.link.stands() {
                    self.end_phone(leg, TrueEnd::NobodyListened, EndedBy::Network, (None, Some(16)));
                }
            }
            PhoneStep::Act => self.phone_acts(leg),
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

    /// Ends an agent's leg and its bridge. A callee in the bridge stays on the PBX, alone.
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
        self.leave_callees(leg);
        self.end_recordings(|recording| recording.agent_leg == leg);
        let (sip, q850) = codes;
        let progressed = phone.phase != PhonePhase::Dialing;
        let end = LegEnd {
            by,
            q850,
            sip,
            progressed,
            answered: matches!(phone.phase, PhonePhase::Held { .. } | PhonePhase::Out { .. }),
            detail: String::new(),
        };
        self.report(leg.0, PbxEvent::AgentEnded { leg, end });
    }

    /// Marks the callees in this agent's bridge as alone.
    fn leave_callees(&mut self, leg: AgentLegId) {
        let now = self.now;
        let left: Vec<LegId> = self
            .callees
            .iter()
            .filter(|(_, c)| c.with() == Some(leg))
            .map(|(leg, _)| *leg)
            .collect();
        for callee in left {
            self.with_callee(callee, |c| c.phase = CalleePhase::Alone { since: now });
        }
    }

    fn phone_acts(&mut self, leg: AgentLegId) {
        let (now, config) = (self.now, self.config.phones.clone());
        let drawn = self.with_phone(leg, |phone| {
            phone.draw_act(&config, now);
            phone.acted = true;
            (phone.choose_act(), phone.draw_linger())
        });
        let Some((act, linger)) = drawn else { return };
        match act {
            Act::Troubles(trouble) => self.phone_listens(leg, Some(trouble)),
            Act::Listens => self.phone_listens(leg, None),
            Act::Transfers(callee) => {
                // The colleague stays for a while, or never answers.
                let until = now + linger * 8;
                self.with_callee(callee, |c| {
                    c.phase = CalleePhase::Elsewhere {
                        agent_leg: leg,
                        since: now,
                        until,
                    }
                });
                self.end_recordings(|recording| recording.leg == callee);
                self.report(callee.0, PbxEvent::Transferred { leg: callee });
                self.phone_leaves(leg, Departure::Transferred, now + linger);
            }
            Act::IsMoved => self.phone_leaves(leg, Departure::Moved, now + linger * 8),
        }
    }

    fn phone_listens(&mut self, leg: AgentLegId, trouble: Option<LegTrouble>) {
        let (now, short) = (self.now, Duration::from_secs(5));
        self.with_phone(leg, |phone| {
            phone.trouble = trouble;
            if trouble == Some(LegTrouble::OnHold) {
                phone.acts_at = Some(now + short);
            }
        });
        self.report(leg.0, PbxEvent::AgentTrouble { leg, trouble });
    }

    fn phone_leaves(&mut self, leg: AgentLegId, how: Departure, until: Mono) {
        let moved = how == Departure::Moved;
        self.with_phone(leg, |phone| {
            phone.phase = PhonePhase::Out { moved, until };
            phone.trouble = None;
        });
        self.leave_callees(leg);
        self.end_recordings(|recording| recording.agent_leg == leg);
        if let Some(truth) = self.truth.agent_legs.get_mut(&leg) {
            truth.left_at = Some(self.now);
        }
        self.report(leg.0, PbxEvent::AgentLeft { leg, how });
    }

    /// Puts a phone back that is out of its bridge but still in Paceline's application, as the driver does after a
    /// resynchronisation.
    pub(super) fn put_back(&mut self, leg: AgentLegId) {
        let now = self.now;
        self.with_phone(leg, |phone| {
            phone.phase = PhonePhase::Held {
                since: now,
                call: None,
            }
        });
        if let Some(truth) = self.truth.agent_legs.get_mut(&leg) {
            truth.left_at = None;
        }
        self.report(leg.0, PbxEvent::AgentReady { leg });
    }
}
