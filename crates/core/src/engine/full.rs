//! A PBX that takes no calls now: it has no room, is paused, or shuts down gracefully. Nothing is placed there but one probe at a
//! time, a call or an agent's phone, ever less often, until one shows life.

use super::{Engine, Timer};
use crate::agent::{AgentReason, Phone};
use crate::ids::{AgentId, AgentLegId, LegId, PbxName};
use crate::time::{Mono, Now};
use std::time::Duration;

/// A PBX that takes no calls is tried again after this long, and half as often each time that it refuses.
const FULL_HOLD_MIN: Duration = Duration::from_secs(1);
const FULL_HOLD_MAX: Duration = Duration::from_secs(30);

/// A PBX that refused a leg.
#[derive(Clone, Copy, Debug)]
pub(super) struct Full {
    /// Nothing is placed there before.
    until: Mono,
    wait: Duration,
    /// The one leg that tries whether it takes calls again.
    probe: Option<Probe>,
}

/// A leg that tries a PBX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    Callee(LegId),
    Phone(AgentLegId),
}

impl Engine {
    /// Takes in what a leg says about its PBX: whether it was taken.
    pub(super) fn switch_had_room(&mut self, now: Now, pbx: &PbxName, leg: Probe, had_room: bool) {
        let wait = match self.full.get(pbx) {
            None if had_room => return,
            None => FULL_HOLD_MIN,
            // Another of the same burst, or an older leg that is over only now, says nothing new.
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

    /// A leg is placed. On a PBX that refused the last one it is the probe, and no other goes before the probe's fate is known.
    /// One that was never dialed, or gives no sign, holds the others for one wait.
    pub(super) fn probes_if_full(&mut self, now: Now, pbx: &PbxName, leg: Probe) {
        if let Some(full) = self.full.get_mut(pbx) {
            full.probe = Some(leg);
            full.until = now.mono + full.wait;
            self.timers.insert((full.until, Timer::Launch));
        }
    }

    /// The link to the PBX stands again. It may have restarted, so it is tried at once.
    pub(super) fn try_full_again(&mut self, now: Now, pbx: &PbxName) {
        if let Some(full) = self.full.get_mut(pbx) {
            let (until, wait) = (now.mono, FULL_HOLD_MIN);
            let probe = None;
            *full = Full { until, wait, probe };
        }
    }

    /// Phones that the PBX refused to call are called now.
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

    /// Whether this PBX refused the last leg: it gets one at a time.
    pub(super) fn was_full(&self, pbx: &PbxName) -> bool {
        self.full.contains_key(pbx)
    }

    /// Until when nothing is placed on this PBX, if it refused the last leg.
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
