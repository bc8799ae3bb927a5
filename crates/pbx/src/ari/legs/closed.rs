//! Check that the PBX takes new calls. An Asterisk that shuts down refuses a leg as if the endpoint were unknown, and when it stops
//! it ends calls without a cause. The driver creates one channel without dialing it to find the reason.

use super::{Leg, Legs};
use crate::ari::leg::EndState;
use crate::ari::outbox::Purpose;
use crate::ari::requests;
use paceline_core::pbx::{EndedBy, LegEnd};
use std::time::Instant;
use uuid::Uuid;

impl Legs {
    /// A leg has ended with `end`, unless the PBX takes no new calls: then that is the reason.
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

    /// The PBX has answered whether it takes new calls.
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

/// The end of a leg on a PBX that takes no new calls. It refused the leg because it is full or shuts down, or it ended the leg
/// because it stops.
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
