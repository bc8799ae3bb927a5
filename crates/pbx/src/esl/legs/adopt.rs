//! Takes over the legs that exist on the PBX after a gap in its events.

use super::{END_LATE_MAX, Legs};
use crate::esl::command;
use crate::esl::leg::{FarHalf, Found, Join, Leg, Side};
use crate::esl::outbox::OnReply;
use paceline_core::ids::LegId;
use std::collections::HashMap;
use std::time::Instant;
use uuid::Uuid;

impl Legs {
    /// `found` has every channel of ours on the PBX.
    pub(in crate::esl) fn adopt(&mut self, found: &HashMap<Uuid, Found>, now: Instant) {
        self.missing.clear();
        self.not_placed.clear();
        self.joins.clear();
        for leg in self.legs.values_mut() {
            leg.join = Join::Alone;
            leg.unpark();
            leg.far_half = FarHalf::Unknown;
        }
        self.unparked.clear();
        for (id, found) in found {
            if found.side == Side::Agent && found.elsewhere {
                self.taken_away_unseen(*id, now);
                continue;
            }
            let leg = self.legs.entry(*id).or_insert_with(|| Leg::new(found.side));
            leg.adopt(found);
            leg.phone.audio.hold(found.on_hold, now);
            if leg.is_parked() {
                leg.phone.audio.parked(now);
            } else {
                leg.phone.audio.talks(now);
            }
            leg.phone.reported = found.trouble();
            if found.elsewhere {
                leg.join = Join::Elsewhere { missed: false };
                self.out.ask(OnReply::Nothing, command::hold_once_left(*id));
            } else if let Some(with) = found.with {
                leg.join = Join::Talking { with };
            }
            self.ended.forget(id);
            if leg.is_hang_up_requested() {
                self.out.ask(OnReply::HungUp(*id), command::hang_up(*id));
            }
            if let (Side::Callee, Some(name)) = (found.side, &found.recording) {
                self.recordings.adopt(LegId(*id), found.with, name);
            }
        }
        // The other party of an agent may be gone since, or no leg of ours.
        for (id, found) in found {
            if let (Side::Agent, Some(with)) = (found.side, found.with)
                && !self.legs.contains_key(&with)
            {
                self.must_be_parked(*id, now);
            }
        }
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
        self.recordings.relinked(&mut self.out);
    }

    /// An operator has moved this agent's leg while the link was down.
    fn taken_away_unseen(&mut self, agent: Uuid, now: Instant) {
        self.legs.entry(agent).or_insert_with(|| Leg::new(Side::Agent));
        self.taken_away(agent, now);
    }
}
