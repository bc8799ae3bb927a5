//! A PBX that takes no calls now: it has no room, is paused, or shuts down gracefully. The engine sends it one probe at a
//! time, a call or an agent's phone, and waits longer after each refusal, until the PBX accepts one.

use super::{Engine, Timer};
use crate::agent::{AgentReason, Phone};
use crate::ids::{AgentId, AgentLegId, LegId, PbxName};
use crate::time::{Mono, Now};
use std::time::Duration;

/// The wait after the first refusal. It doubles after each refused probe, up to `FULL_HOLD_MAX`.
const FULL_HOLD_MIN: Duration = Duration::from_secs(1);
const FULL_HOLD_MAX: Duration = Duration::from_secs(30);

/// A PBX that refused a leg.
#[derive(Clone, Copy, Debug)]
pub(super) struct Full {
    /// No leg is placed there before this time.
    until: Mono,
    wait: Duration,
    /// The one leg that tests whether the PBX takes calls again.
    probe: Option<Probe>,
}

/// A leg that tests a PBX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    Callee(LegId),
    Phone(AgentLegId),
}

impl Engine {
    /// Handles what a leg shows about its PBX: `had_room` is true if the PBX accepted the leg.
    pub(super) fn pbx_had_room(&mut self, now: Now, pbx: &PbxName, leg: Probe, had_room: bool) {
        let wait = match self.full.get(pbx) {
            None if had_room => return,
            None => FULL_HOLD_MIN,
            // Only the probe shows something new. Other legs are of the same burst, or older.
            Some(full) if full.probe != Some(leg) => return,
            Some(_) if had_room => {
                self.full.remove(pbx);
                self.timers.insert((now.mono, Timer::Launch));
                return self.recall_refused(now, pbx);
            }
            Some(full) => (full.wait * 2).min(FULL_HOLD_MAX),
        };
        let until = now.mono + wait;
        let probe = None;
        self.full.insert(pbx.clone(), Full { until, wait, probe });
        self.timers.insert((until, Timer::Launch));
    }

    /// A leg is placed. If the PBX refused the last leg, this one is the probe, and other legs wait for its result. If the
    /// probe is never dialed or gives no event, they wait for `wait`.
    pub(super) fn probes_if_full(&mut self, now: Now, pbx: &PbxName, leg: Probe) {
        if let Some(full) = self.full.get_mut(pbx) {
            full.probe = Some(leg);
            full.until = now.mono + full.wait;
            self.timers.insert((full.until, Timer::Launch));
        }
    }

    /// The link to the PBX is up again. The PBX may have restarted, so the next leg need not wait.
    pub(super) fn try_full_again(&mut self, now: Now, pbx: &PbxName) {
        if let Some(full) = self.full.get_mut(pbx) {
            let (until, wait) = (now.mono, FULL_HOLD_MIN);
            let probe = None;
            *full = Full { until, wait, probe };
        }
    }

    /// Calls now the phones whose calls the PBX refused.
    fn recall_refused(&mut self, now: Now, pbx: &PbxName) {
        let refused = self.agents.values().filter(|agent| {
            let gone = matches!(
                agent.phone,
                Phone::Gone {
                    recall_at: Some(_),
                    ..
                }
            );
            let why = matches!(agent.why_phone, AgentReason::PbxFull | AgentReason::PbxStopped);
            &agent.pbx == pbx && gone && why
        });
        let refused: Vec<AgentId> = refused.map(|agent| agent.id).collect();
        for id in refused {
            self.recall_phone_now(now, id);
        }
    }

    /// True if this PBX refused the last leg, so that it gets one leg at a time.
    pub(super) fn was_full(&self, pbx: &PbxName) -> bool {
        self.full.contains_key(pbx)
    }

    /// Time until which no leg is placed on this PBX. `None` if one may be placed now.
    pub(super) fn full_until(&self, now: Now, pbx: &PbxName) -> Option<Mono> {
        self.full
            .get(pbx)
            .map(|full| full.until)
            .filter(|until| *until > now.mono)
    }

    pub(super) fn is_full(&self, now: Now, pbx: &PbxName) -> bool {
        self.full_until(now, pbx).is_some()
    }
}
