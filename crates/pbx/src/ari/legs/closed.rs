//! Whether the PBX takes new calls. While it shuts down it refuses a leg as if the endpoint were unknown, and when it stops it ends
//! calls without a cause; one channel that nobody dials tells what it was.

use super::{Leg, Legs};
use crate::ari::leg::EndState;
use crate::ari::outbox::Purpose;
use crate::ari::requests;
use paceline_core::pbx::{EndedBy, LegEnd};
use std::time::Instant;
use uuid::Uuid;

impl Legs {
    /// A leg has ended so, unless the PBX takes no new calls at all: then that is why.
    pub(super) fn ends_unless_closed(&mut self, id: Uuid, end: LegEnd) {
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.end_state = EndState::Unexplained(end);
            if !std::mem::replace(&mut self.trying, true) {
                let tries = Uuid::new_v4();
                let request = requests::try_channel(&self.app, &self.mark, tries);
                self.out.ask(tries, Purpose::Tried, request);
            }
        }
    }

    /// It is known whether the PBX takes new calls.
    pub(super) fn tried(&mut self, takes_calls: bool, now: Instant) {
        self.trying = false;
        let unexplained = |(id, leg): (&Uuid, &Leg)| match &leg.end_state {
            EndState::Unexplained(end) => Some((*id, end.clone())),
            EndState::Open | EndState::HangUpRequested => None,
        };
        let ending: Vec<(Uuid, LegEnd)> = self.legs.iter().filter_map(unexplained).collect();
        for (leg, end) in ending {
            let end = if takes_calls { end } else { closed(end) };
            self.ended(leg, end, now);
        }
    }
}

/// What such an end is where the PBX takes no new calls: it refused the leg for want of room or because it shuts down, or it has
/// ended the leg because it stops.
fn closed(end: LegEnd) -> LegEnd {
    let by = match end.by {
        EndedBy::Refused | EndedBy::NoRoom => EndedBy::NoRoom,
        EndedBy::Network
        | EndedBy::RingTimeout
        | EndedBy::Us
        | EndedBy::Stopped
        | EndedBy::Vanished
        | EndedBy::TakenAway => EndedBy::Stopped,
    };
    LegEnd { by, ..end }
}
