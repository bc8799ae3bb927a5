//! Finds agents' phones that do not listen: they are on hold, or they have been silent for so long that they must be gone.
//!
//! Measured on 1.11: if a conversation ends while a phone holds it, FreeSWITCH assumes the end of the hold, and the phone's own
//! unhold raises no event later. So the driver reads the latest SDP of each phone on hold, until that SDP no longer says hold.

use super::Legs;
use crate::esl::command;
use crate::esl::esl_event::on_hold;
use crate::esl::leg::{Leg, Side};
use crate::esl::outbox::OnReply;
use paceline_core::ids::AgentLegId;
use paceline_core::pbx::PbxEvent;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Interval at which the driver asks for the SDP of phones on hold.
const HOLD_ASKED_EVERY: Duration = Duration::from_secs(1);
/// Interval at which the driver asks for the packet counts of all phones.
const COUNTED_EVERY: Duration = Duration::from_secs(3);
/// Maximum number of phones in one command.
const COUNTED_AT_ONCE: usize = 16;

/// Times of the next questions about phones and transferred callees.
#[derive(Debug, Default)]
pub(super) struct Asking {
    hold_at: Option<Instant>,
    count_at: Option<Instant>,
    /// Number of counts without a reply. The driver asks for no other count meanwhile.
    counting: usize,
    pub(super) look_at: Option<Instant>,
    /// The same for transferred callees.
    pub(super) looking: usize,
}

pub(super) fn is_due(at: &mut Option<Instant>, every: Duration, now: Instant) -> bool {
    let due = at.is_none_or(|at| at <= now);
    if due {
        *at = Some(now + every);
    }
    due
}

impl Legs {
    pub(super) fn hold(&mut self, id: Uuid, on_hold: bool, now: Instant) {
        if let Some(leg) = self.legs.get_mut(&id).filter(|leg| leg.side == Side::Agent) {
            leg.phone.audio.hold(on_hold, now);
            self.tell_trouble(id, now);
        }
    }

    /// Reports the trouble of a held agent's phone, if it has changed.
    pub(super) fn tell_trouble(&mut self, id: Uuid, now: Instant) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let trouble = leg.trouble(now);
        if leg.side == Side::Agent && leg.is_held() && trouble != leg.phone.reported {
            leg.phone.reported = trouble;
            let leg = AgentLegId(id);
            self.out.events.push_back(PbxEvent::AgentTrouble { leg, trouble });
        }
    }

    pub(super) fn described(&mut self, id: Uuid, reply: &str, now: Instant) {
        // `_undef_` and `-ERR` say nothing.
        if reply.starts_with("v=") {
            self.hold(id, on_hold(reply), now);
        }
    }

    pub(super) fn counted(&mut self, printed: &str, now: Instant) {
        self.asking.counting = self.asking.counting.saturating_sub(1);
        for (id, packets) in command::packets_counted(printed) {
            if let Some(leg) = self.legs.get_mut(&id) {
                leg.phone.audio.counted(packets, now);
                self.tell_trouble(id, now);
            }
        }
    }

    fn agents(&self, of: impl Fn(&Leg) -> bool) -> Vec<Uuid> {
        let held = |leg: &Leg| leg.side == Side::Agent && leg.is_held();
        let mut agents: Vec<Uuid> = self
            .legs
            .iter()
            .filter(|(_, leg)| held(leg) && of(leg))
            .map(|(id, _)| *id)
            .collect();
        agents.sort_unstable();
        agents
    }

    pub(super) fn tick_phones(&mut self, now: Instant) {
        if is_due(&mut self.asking.hold_at, HOLD_ASKED_EVERY, now) {
            for id in self.agents(|leg| leg.phone.audio.is_on_hold()) {
                self.out.ask(OnReply::Described(id), command::far_description(id));
            }
        }
        if self.asking.counting == 0 && is_due(&mut self.asking.count_at, COUNTED_EVERY, now) {
            for some in self.agents(|_| true).chunks(COUNTED_AT_ONCE) {
                self.asking.counting += 1;
                self.out.ask(OnReply::Counted, command::count_packets(some));
            }
        }
    }
}
