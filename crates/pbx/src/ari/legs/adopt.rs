//! Taking over what lives on the switch after a gap in its events.

use super::{END_LATE_MAX, Legs};
use crate::ari::leg::{Found, Leg, Quiet, Side, Stage};
use crate::ari::out::Then;
use crate::ari::rest;
use paceline_core::ids::AgentLegId;
use paceline_core::pbx::{Departure, PbxEvent};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long a leg may go on ringing whose ring timeout a former run of ours took with it.
const RING_AFTER_GAP_MAX: Duration = Duration::from_secs(60);

impl Legs {
    /// Takes over what was found on the switch: `found` is every channel of ours, `trunks_watched` whether the switch
    /// still tells us about trunks.
    pub(in crate::ari) fn adopt(&mut self, found: &HashMap<Uuid, Found>, trunks_watched: bool, now: Instant) {
        self.trunks_watched = trunks_watched;
        self.missing.clear();
        for leg in self.legs.values_mut() {
            leg.with = None;
        }
        for (id, found) in found {
            let leg = self
                .legs
                .entry(*id)
                .or_insert_with(|| Leg::new(found.side, found.through_dialplan));
            leg.rang |= found.rang;
            if found.stage != Stage::Dialing {
                leg.dial_over = true;
                // What the trunk did was seen then; it cannot be read back now.
                if !(found.stage == Stage::DialplanOnly && leg.answered()) {
                    leg.stage = found.stage;
                }
            }
            if let Some(behind) = leg.behind.as_deref_mut() {
                behind.ring_until.get_or_insert(now + RING_AFTER_GAP_MAX);
            }
            if leg.answered()
                && let Some(behind) = leg.behind.as_deref_mut()
            {
                behind.answered = true;
            }
            leg.transferred |= leg.side == Side::Callee && found.with_others;
            let needs_holding = leg.side == Side::Agent && leg.stage == Stage::Answered && found.in_app;
            let hang_up_asked = leg.hang_up_asked;
            self.ended.forget(id);
            if hang_up_asked {
                self.out
                    .ask(*id, Then::HungUp(*id), rest::hang_up(&id.to_string()));
            } else if needs_holding && self.has_guests(*id) {
                // Its phone has transferred the callee who is in its bridge still.
                self.out.events.push_back(PbxEvent::AgentLeft {
                    leg: AgentLegId(*id),
                    how: Departure::Transferred,
                });
            } else if needs_holding {
                self.hold(*id);
            }
        }
        self.adopt_conversations(found, now);
        // Their ends may still be among the events that follow.
        let mut gone: Vec<Uuid> = self
            .legs
            .keys()
            .filter(|id| !found.contains_key(id))
            .copied()
            .collect();
        gone.sort_unstable();
        self.missing
            .extend(gone.into_iter().map(|id| (now + END_LATE_MAX, id)));
        self.recordings.check(&mut self.out);
    }

    fn adopt_conversations(&mut self, found: &HashMap<Uuid, Found>, now: Instant) {
        for (id, found) in found {
            if let (Side::Callee, Some(agent)) = (found.side, found.bridge) {
                if let Some(callee) = self.legs.get_mut(id) {
                    callee.with = Some(agent);
                }
                if let Some(agent) = self.legs.get_mut(&agent)
                    && agent.stage == Stage::Held
                {
                    agent.with = Some(*id);
                }
            }
        }
        for (id, leg) in &mut self.legs {
            leg.quiet = match (leg.stage, leg.with) {
                (Stage::Held, None) => Quiet::Nothing(now),
                (Stage::Held, Some(_)) => {
                    // Whether a former run of ours sent silence is not known.
                    self.out.ask(*id, Then::Nothing, rest::stop_silence(*id));
                    Quiet::No
                }
                _ => Quiet::No,
            };
        }
    }
}
