//! The launch of calls, and the hopper of contacts for them. In progressive mode, each free agent gets one call and is
//! reserved for it. The other modes launch ahead of free agents (`engine/pacing.rs`), and an answered call gets the agent
//! who has been free longest.

use super::full::Probe;
use super::{Engine, Refill, Timer};
use crate::agent::{Agent, AgentReason, AgentState, Work};
use crate::attempt::{Attempt, AttemptState, Leg};
use crate::campaign::Mode;
use crate::command::{Command, NewAttempt};
use crate::ids::{AgentId, AttemptId, LegId, PbxName, TrunkId};
use crate::input::Lead;
use crate::time::{Mono, Now, Wall};
use rand::RngExt;
use std::collections::VecDeque;
use std::time::Duration;

/// After a failure of the store, nothing is launched or leased for this long.
pub(super) const STORE_TROUBLE_HOLD: Duration = Duration::from_secs(1);
/// If the store had no contacts, it is asked again after this time at the latest.
const REFILL_EVERY_MAX: Duration = Duration::from_secs(30);
/// If the store had no contacts, it is asked again after this time at the earliest.
const REFILL_EVERY_MIN: Duration = Duration::from_millis(200);
/// Smallest target size of the hopper, so that one agent's calls do not need a query each.
const HOPPER_SIZE_MIN: usize = 10;
/// Largest target size of the hopper: each leased contact locks its number.
const HOPPER_SIZE_MAX: usize = 400;
/// A contact that is not dialed within this time is returned, so that others can use its number.
const LEASE_MAX: Duration = Duration::from_secs(90);
/// A hopper whose contacts were all returned unused stays empty for this long, so that others can use the numbers. Modes
/// that launch ahead fill it again afterwards although no agent is free.
const UNUSED_PAUSE: Duration = Duration::from_secs(15);
/// Contacts in the hopper for each agent in progressive mode.
const HOPPER_PER_AGENT: usize = 2;
/// The same in the modes that launch ahead: a burst may use this many before the store answers.
const HOPPER_PER_AGENT_AHEAD: usize = 6;

impl Engine {
    /// Launches the calls that may be launched, and asks the store for contacts when the hopper runs low.
    pub(super) fn launch(&mut self, now: Now) {
        self.return_unused(now);
        let may = self.active && !self.draining && !self.clock_doubted;
        if may && !self.hopper.is_empty() && self.hold_until <= now.mono {
            match self.config.settings.pacing.mode {
                Mode::Progressive => {
                    let room = self.contacts_at_hand();
                    for agent in self.free_agents().into_iter().take(room) {
                        if !self.launch_for(now, agent) {
                            break;
                        }
                    }
                }
                Mode::Predictive | Mode::Power => self.pace(now),
            }
        }
        self.refill(now);
        let due = self.hopper.front().map(|(leased_at, _)| *leased_at + LEASE_MAX);
        if due != self.hopper_due {
            self.rearm(self.hopper_due, due, Timer::Hopper);
            self.hopper_due = due;
        }
    }

    /// The number of contacts that may be launched now. After a failure, the store gets one attempt at a time until it
    /// succeeds: more would only wait there and be given up.
    pub(super) fn contacts_at_hand(&self) -> usize {
        if !self.store_fails {
            return self.hopper.len();
        }
        let preparing = |open: &Attempt| matches!(open.state, AttemptState::Preparing { .. });
        usize::from(!self.attempts.values().any(preparing)).min(self.hopper.len())
    }

    /// Launches one call and reserves this agent for it. False if the hopper is empty.
    fn launch_for(&mut self, now: Now, id: AgentId) -> bool {
        let Some(agent) = self.agents.get(&id) else {
            return true;
        };
        let pbx = agent.pbx.clone();
        if self.is_maintained(&pbx) || self.is_full(now, &pbx) {
            return true;
        }
        let Some(trunk) = self.open_trunk(now, &pbx) else {
            return true;
        };
        match self.launch_over(now, pbx, trunk, Some(id)) {
            Some(attempt) => {
                self.set_work(now, id, Work::Reserved { attempt }, AgentReason::CallLaunched);
                true
            }
            None => false,
        }
    }

    /// Launches one call, for `agent` if one is reserved. `None` if the hopper is empty.
    pub(super) fn launch_over(
        &mut self,
        now: Now,
        pbx: PbxName,
        trunk: TrunkId,
        agent: Option<AgentId>,
    ) -> Option<AttemptId> {
        let (_, lead) = self.hopper.pop_front()?;
        if self.hopper.is_empty() {
            self.hopper_unused = None;
        }
        self.breakers.entry(trunk).or_default().launched(now.mono);
        let unix_ms = u64::try_from(now.wall.0).unwrap_or(0);
        let random = self.rng.random();
        let attempt = AttemptId(uuid::Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid());
        let leg = LegId(uuid::Builder::from_random_bytes(self.rng.random()).into_uuid());
        self.probes_if_full(now, &pbx, Probe::Callee(leg));
        let state = AttemptState::Preparing { agent, wanted: true };
        self.legs.insert(leg, attempt);
        self.attempts.insert(
            attempt,
            Attempt {
                id: attempt,
                lead: lead.clone(),
                leg: Leg {
                    id: leg,
                    pbx: pbx.clone(),
                    trunk,
                    launched_at: now.mono,
                    rang_at: None,
                },
                answered: None,
                connected_at: None,
                abandoned_at: None,
                opted_out: false,
                state,
            },
        );
        self.commands.push_back(Command::Prepare(NewAttempt {
            attempt,
            leg,
            pbx,
            trunk,
            lead,
            created_at: now.wall,
            ring_timeout: self.config.settings.dialing.ring_timeout(),
        }));
        Some(attempt)
    }

    /// The first trunk on this PBX that takes calls. If all are held, a timer wakes the engine for the next probe.
    pub(super) fn open_trunk(&mut self, now: Now, pbx: &PbxName) -> Option<TrunkId> {
        let here = || self.config.trunks.iter().filter(|t| &t.pbx == pbx);
        let allows = |id: &TrunkId| self.breakers.get(id).is_none_or(|b| b.room(now.mono) > 0);
        let open = here().map(|t| t.id).find(allows);
        if open.is_none()
            && let Some(at) = here().filter_map(|t| self.breakers.get(&t.id)?.probe_at()).min()
        {
            self.timers.insert((at, Timer::Launch));
        }
        open
    }

    /// True if this trunk failed so often that it gets one call at a time.
    pub(super) fn is_probed(&self, trunk: TrunkId) -> bool {
        self.breakers.get(&trunk).is_some_and(|b| b.probe_at().is_some())
    }

    fn refill(&mut self, now: Now) {
        let Refill::From(from) = self.refill else { return };
        if !self.active || self.draining || self.clock_doubted || self.agents.is_empty() {
            return;
        }
        let per_agent = match self.config.settings.pacing.mode {
            Mode::Progressive => HOPPER_PER_AGENT,
            Mode::Predictive | Mode::Power => HOPPER_PER_AGENT_AHEAD,
        };
        let target = if self.hopper_unused.is_some() {
            HOPPER_SIZE_MIN
        } else {
            (self.agents.len() * per_agent).clamp(HOPPER_SIZE_MIN, HOPPER_SIZE_MAX)
        };
        if self.hopper.len() > target / 2 || !self.uses_contacts(now) {
            return;
        }
        if from > now.mono {
            self.timers.insert((from, Timer::Launch));
            return;
        }
        self.refill = Refill::Asked;
        self.commands.push_back(Command::Refill {
            limit: target - self.hopper.len(),
        });
    }

    /// True if contacts leased now would be dialed soon: an agent works here and, if the last contacts were returned
    /// unused, an agent is free or a call may soon be launched ahead.
    fn uses_contacts(&mut self, now: Now) -> bool {
        let works = |agent: &Agent| agent.state() != AgentState::Paused && !self.is_maintained(&agent.pbx);
        if !self.agents.values().any(works) {
            return false;
        }
        let Some(returned_at) = self.hopper_unused else {
            return true;
        };
        if !self.free_agents().is_empty() {
            return true;
        }
        match self.config.settings.pacing.mode {
            Mode::Progressive => false,
            Mode::Predictive | Mode::Power => {
                let until = returned_at + UNUSED_PAUSE;
                if !self.hopper.is_empty() || until <= now.mono {
                    return true;
                }
                self.timers.insert((until, Timer::Launch));
                false
            }
        }
    }

    /// Returns contacts whose lease is too old, and all contacts if no agent is logged in.
    fn return_unused(&mut self, now: Now) {
        let is_old = |leased_at: Mono| now.mono.since(leased_at) >= LEASE_MAX;
        if self.agents.is_empty() {
            self.return_hopper(|_| true);
        } else if self
            .hopper
            .front()
            .is_some_and(|(leased_at, _)| is_old(*leased_at))
        {
            let fresh = self.hopper.partition_point(|(leased_at, _)| is_old(*leased_at));
            let fresh = self.hopper.split_off(fresh);
            self.return_hopper(|_| true);
            self.hopper = fresh;
            self.hopper_unused = Some(now.mono);
        }
    }

    /// Stops launches for [`STORE_TROUBLE_HOLD`] after a failure of the store.
    pub(super) fn store_failed(&mut self, now: Now) {
        self.store_fails = true;
        self.hold_until = now.mono + STORE_TROUBLE_HOLD;
        self.timers.insert((self.hold_until, Timer::Launch));
    }

    pub(super) fn leads_arrived(&mut self, now: Now, leads: Vec<Lead>, next_due: Option<Wall>) {
        // If contacts came, there may be more now. If none came, ask when the next one is due.
        self.refill = Refill::From(if leads.is_empty() {
            let until_due = next_due.map_or(REFILL_EVERY_MAX, |at| {
                Duration::from_millis(u64::try_from(at.0.saturating_sub(now.wall.0)).unwrap_or(0))
            });
            now.mono + until_due.clamp(REFILL_EVERY_MIN, REFILL_EVERY_MAX)
        } else {
            now.mono
        });
        self.hopper.extend(leads.into_iter().map(|lead| (now.mono, lead)));
        self.return_opted_out();
        if !self.active || self.draining || self.clock_doubted {
            self.return_hopper(|_| true);
        }
    }

    pub(super) fn return_hopper(&mut self, which: impl Fn(&Lead) -> bool) {
        let hopper = std::mem::take(&mut self.hopper).into_iter();
        let (back, stay): (VecDeque<_>, VecDeque<_>) = hopper.partition(|(_, lead)| which(lead));
        self.hopper = stay;
        if !back.is_empty() {
            let contacts = back
                .into_iter()
                .map(|(_, lead)| (lead.task, lead.contact))
                .collect();
            self.commands.push_back(Command::Return { contacts });
        }
    }
}
