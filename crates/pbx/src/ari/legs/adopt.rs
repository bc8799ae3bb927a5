//! Takes over the legs that exist on the PBX after a gap in its events.

use super::{END_LATE_MAX, Legs};
use crate::ari::leg::{EndState, Found, FoundStage, Leg, Sent, Side, Stage, Trunk, With};
use crate::ari::outbox::Purpose;
use crate::ari::requests;
use paceline_core::ids::AgentLegId;
use paceline_core::pbx::{Departure, PbxEvent};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Maximum ring time of a leg after a gap, if an earlier run set its ring timeout and this run does not know it.
const RING_AFTER_GAP_MAX: Duration = Duration::from_secs(60);

impl Legs {
    /// Takes over the channels found on the PBX. `found` has every channel of ours. `trunks_watched`: our application gets the
    /// trunks' events.
    pub(in crate::ari) fn adopt(&mut self, found: &HashMap<Uuid, Found>, trunks_watched: bool, now: Instant) {
        self.trunks_watched = trunks_watched;
        self.missing.clear();
        for leg in self.legs.values_mut() {
            leg.with = match leg.with {
                With::Others(_) => With::Others(None),
                With::Leg(_) | With::Nobody => With::Nobody,
            };
        }
        for (id, found) in found {
            let leg = self
                .legs
                .entry(*id)
                .or_insert_with(|| Leg::new(found.side, found.through_dialplan));
            leg.progress = leg.progress.and(found.progress);
            leg.stage = match (found.stage, leg.stage) {
                (FoundStage::Dialing, known) => known,
                // The trunk's answer was seen before the gap. It cannot be read back.
                (FoundStage::DialplanOnly, known) if leg.answered() => known,
                (FoundStage::DialplanOnly, _) => Stage::DialplanOnly,
                (FoundStage::Answered, Stage::Moved) if !found.in_app => Stage::Moved,
                (FoundStage::Answered, _) => Stage::Answered,
                (FoundStage::Held, _) => Stage::Held(Sent::Nothing { since: now }),
            };
            let answered = leg.answered();
            if let Some(behind) = leg.behind.as_deref_mut() {
                behind.trunk = match behind.trunk {
                    Trunk::Awaited { .. } | Trunk::GivenUp if answered => Trunk::Answered,
                    Trunk::Awaited { ring_until } => Trunk::Awaited {
                        ring_until: ring_until.or(Some(now + RING_AFTER_GAP_MAX)),
                    },
                    known @ (Trunk::GivenUp | Trunk::Answered) => known,
                };
            }
            if leg.side == Side::Callee && found.with_others {
                leg.with = leg.with.transferred();
            }
            let needs_holding = leg.side == Side::Agent && leg.stage == Stage::Answered && found.in_app;
            let hang_up_requested = leg.end_state == EndState::HangUpRequested;
            self.ended.forget(id);
            if hang_up_requested {
                self.out
                    .ask(*id, Purpose::HungUp(*id), requests::hang_up(&id.to_string()));
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
                    callee.with = match callee.with {
                        With::Others(_) => With::Others(Some(agent)),
                        With::Leg(_) | With::Nobody => With::Leg(agent),
                    };
                }
                if let Some(agent) = self.legs.get_mut(&agent)
                    && agent.is_held()
                {
                    agent.with = With::Leg(*id);
                }
            }
        }
        for (id, leg) in &mut self.legs {
            if leg.is_held() {
                leg.stage = Stage::Held(leg.sent_from(now));
                if leg.with != With::Nobody {
                    // An earlier run of ours may have sent silence.
                    self.out.ask(*id, Purpose::Nothing, requests::stop_silence(*id));
                }
            }
        }
    }
}
