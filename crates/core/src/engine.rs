//! The engine of one campaign: what to launch, whom to connect, which outcome each attempt has.
//!
//! In: [`Input`]s and the time. Out: [`Command`]s, and when to wake it. Knows no database, no socket, no clock. Whatever
//! comes late, twice, out of order or not at all, it strands no call and no agent, and gives no agent two calls.
//! Start at [`Engine::handle`]. Attempts move in `engine/attempts.rs` and `engine/connects.rs`, trunks are judged by ended legs in
//! `engine/trunks.rs`, agents are in `engine/agents.rs` and `engine/phones.rs`, lost links and crashes in `engine/links.rs` and
//! `engine/adopt.rs`, launches and the hopper in `engine/launches.rs`, pacing ahead of agents in `engine/pacing.rs`, a PBX that takes
//! no calls in `engine/full.rs`, one in maintenance in `engine/maintenance.rs`, the message to an abandoned callee in
//! `engine/message.rs`.

use crate::agent::{Agent, Phone, Work};
use crate::attempt::{Attempt, AttemptState, Judged};
use crate::breaker::Breaker;
use crate::campaign::CampaignConfig;
use crate::command::Command;
use crate::ids::{AgentId, AgentLegId, AttemptId, LegId, PbxName, TrunkId};
use crate::input::{Input, Lead};
use crate::live::{CallPhase, LiveAgent, LiveCampaign};
use crate::outcome::Outcome;
use crate::time::{Mono, Now};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

mod adopt;
mod agents;
mod attempts;
mod connects;
mod full;
mod idle;
mod launches;
mod links;
mod maintenance;
mod message;
mod pacing;
mod phones;
mod stops;
mod stranded;
mod trunks;
mod warnings;

/// If no event confirms a hang-up within this time, it is sent again.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// If a leg's end is overdue by this much, the PBX is asked about it.
const SILENCE_MARGIN: Duration = Duration::from_secs(10);

/// If a timer is this late, the process was stopped or frozen.
const STOOD_STILL: Duration = Duration::from_millis(500);
/// After that, events of the PBX are read for this long before timers count.
const CATCH_UP: Duration = Duration::from_millis(200);

/// The engine of one campaign. See the module for its contract.
#[derive(Debug)]
pub struct Engine {
    config: Arc<CampaignConfig>,
    rng: ChaCha8Rng,
    active: bool,
    draining: bool,
    /// The wall clock has jumped: no calling hours can be kept by it.
    clock_doubted: bool,
    /// PBXes whose event stream stands and is resynchronised.
    links_up: BTreeSet<PbxName>,
    attempts: BTreeMap<AttemptId, Attempt>,
    legs: BTreeMap<LegId, AttemptId>,
    /// Attempts in [`AttemptState::Waiting`].
    waiting: BTreeSet<AttemptId>,
    agents: BTreeMap<AgentId, Agent>,
    agent_legs: BTreeMap<AgentLegId, AgentId>,
    /// Agents who are held and free, the longest free first.
    free: BTreeSet<(Mono, AgentId)>,
    /// Each with the time of its lease, the oldest first.
    hopper: VecDeque<(Mono, Lead)>,
    /// Nobody used what was leased last.
    hopper_unused: bool,
    /// When the oldest of them goes back: armed as [`Timer::Hopper`].
    hopper_due: Option<Mono>,
    refill: Refill,
    /// Nothing is launched before this: the store had trouble.
    hold_until: Mono,
    /// The store's last answer was that it cannot.
    store_fails: bool,
    /// PBXes that refused the last leg.
    full: BTreeMap<PbxName, full::Full>,
    /// PBXes in maintenance.
    maintained: BTreeSet<PbxName>,
    timers: BTreeSet<(Mono, Timer)>,
    /// We stood still: timers wait until then.
    catching_up: Option<Mono>,
    /// When the link to a PBX was lost, until it is resynchronised.
    lost_at: BTreeMap<PbxName, Mono>,
    commands: VecDeque<Command>,
    counts: Counts,
    pacing: pacing::Pacing,
    /// Trunks over which something was launched.
    breakers: BTreeMap<TrunkId, Breaker>,
    /// Attempts whose legs have ended, and that have no outcome before their trunks are judged.
    judged: Vec<Judged>,
    /// An agent has changed, or a PBX is in maintenance: there may be calls that nobody can take, and legs that nobody needs.
    look_for_stranded: bool,
    failures: warnings::Failures,
    /// An agent has left: when to look for calls that are too many.
    surplus_at: Option<Mono>,
}

/// What the engine counts of its inputs and results.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that came late, twice, or for legs that are no longer ours.
    pub stale: u64,
    /// Attempts sent to be dialed.
    pub launched: u64,
    /// Ended attempts by outcome.
    pub outcomes: BTreeMap<Outcome, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refill {
    /// The store is being asked.
    Asked,
    /// It may be asked from then on.
    From(Mono),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Attempt(AttemptId),
    Agent(AgentId),
    Launch,
    Hopper,
}

/// An input that makes no sense where the engine stands. The engine's state is as before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The agent is not logged in here.
    #[error("agent {0} is not logged in to this campaign: log the agent in first")]
    NotLoggedIn(AgentId),
    /// The agent is logged in with another phone.
    #[error("agent {0} is logged in with another phone: log the agent out first")]
    OtherPhone(AgentId),
    /// There is no conversation to end.
    #[error("agent {0} is not on a call")]
    NotOnCall(AgentId),
    /// The process is about to stop.
    #[error("Paceline is stopping: log in again once it runs")]
    Draining,
    /// The shell broke the contract.
    #[error("attempt {0} was answered as prepared without having been asked for")]
    NotAsked(AttemptId),
}

impl Engine {
    /// An engine that launches nothing until told [`Input::SetActive`], and touches nothing on a PBX until that
    /// PBX is resynchronised. `seed` decides its ids.
    pub fn new(config: CampaignConfig, seed: u64, mut recovered: crate::input::Recovered, now: Now) -> Self {
        let mut engine = Self {
            config: Arc::new(config),
            rng: ChaCha8Rng::seed_from_u64(seed),
            active: false,
            draining: false,
            clock_doubted: false,
            links_up: BTreeSet::new(),
            attempts: BTreeMap::new(),
            legs: BTreeMap::new(),
            waiting: BTreeSet::new(),
            agents: BTreeMap::new(),
            agent_legs: BTreeMap::new(),
            free: BTreeSet::new(),
            hopper: VecDeque::new(),
            hopper_unused: false,
            hopper_due: None,
            refill: Refill::From(now.mono),
            hold_until: now.mono,
            store_fails: false,
            full: BTreeMap::new(),
            maintained: BTreeSet::new(),
            timers: BTreeSet::new(),
            catching_up: None,
            lost_at: BTreeMap::new(),
            commands: VecDeque::new(),
            counts: Counts::default(),
            pacing: pacing::Pacing::new(
                recovered.learnt.drain(..),
                std::mem::take(&mut recovered.answers),
                now,
            ),
            breakers: BTreeMap::new(),
            judged: Vec::new(),
            look_for_stranded: false,
            failures: warnings::Failures::default(),
            surplus_at: None,
        };
        engine.adopt(now, recovered);
        engine
    }

    /// Takes new settings. Attempts that are open keep what they were launched with.
    pub fn configure(&mut self, now: Now, config: CampaignConfig) {
        self.failures.configured(&self.config, &config);
        let (trunks, attempts) = (&config.trunks, &self.attempts);
        let used = |id: &TrunkId| {
            trunks.iter().any(|t| t.id == *id) || attempts.values().any(|a| a.leg.trunk == *id)
        };
        self.breakers.retain(|id, _| used(id));
        self.config = Arc::new(config);
        self.configure_pacing();
        self.look_for_stranded = true;
        self.move_on(now);
    }

    /// What it goes by at present.
    pub fn config(&self) -> &Arc<CampaignConfig> {
        &self.config
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Now, input: Input) -> Result<(), EngineError> {
        let result = self.take(now, input);
        self.move_on(now);
        result
    }

    /// The next thing to do, oldest first.
    pub fn next_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// When [`Engine::handle_timeout`] wants to be called. Only looks.
    pub fn poll_timeout(&self) -> Option<Mono> {
        let first = self.timers.first().map(|(at, _)| *at)?;
        Some(self.catching_up.map_or(first, |until| first.max(until)))
    }

    /// Wakes whatever is due.
    pub fn handle_timeout(&mut self, now: Now) {
        let late = self.timers.first().map(|(at, _)| now.mono.since(*at));
        match self.catching_up {
            None if late >= Some(STOOD_STILL) => {
                self.catching_up = Some(now.mono + CATCH_UP);
                return;
            }
            Some(until) if until > now.mono => return,
            Some(_) | None => self.catching_up = None,
        }
        while let Some((at, timer)) = self.timers.first().copied().filter(|(at, _)| *at <= now.mono) {
            self.timers.remove(&(at, timer));
            match timer {
                Timer::Attempt(attempt) => self.attempt_due(now, attempt),
                Timer::Agent(agent) => self.agent_due(now, agent),
                Timer::Launch => self.look_for_stranded = true,
                Timer::Hopper => {}
            }
        }
        self.move_on(now);
    }

    /// Whoever became free serves those who wait before anybody else is called.
    fn move_on(&mut self, now: Now) {
        self.serve_waiting(now);
        if std::mem::take(&mut self.look_for_stranded) {
            self.take_back_stranded(now);
            // What was taken back may have freed agents.
            self.serve_waiting(now);
            self.release_phones(now);
        }
        self.settle_judged(now);
        self.tell_controllers(now);
        self.take_back_surplus(now);
        self.launch(now);
    }

    /// What it counted so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Everything live, for metrics and the API.
    pub fn live(&self, now: Now) -> LiveCampaign {
        let mut live = LiveCampaign {
            active: self.active,
            hopper: self.hopper.len(),
            trunks_held: self.trunks_held(),
            ..LiveCampaign::default()
        };
        for phase in CallPhase::ALL {
            live.calls.insert(*phase, 0);
        }
        for open in self.attempts.values() {
            *live.calls.entry(open.state.phase()).or_default() += 1;
        }
        for agent in self.agents.values() {
            *live.agents_by_state.entry(agent.state()).or_default() += 1;
            live.agents.push(LiveAgent {
                agent: agent.id,
                state: agent.state(),
                reason: agent.reason,
                since_ms: agent.since,
                pbx: agent.pbx.clone(),
                leg: agent.phone.leg(),
                attempt: agent.work.attempt(),
            });
        }
        live.pacing = self.live_pacing();
        live.abandon = self.accounts(now);
        live.full = self.full.keys().cloned().collect();
        live.idle = self.idle(now);
        live.warnings = self.warnings();
        live.settled = self.is_settled();
        live
    }

    /// Legs that this engine still answers for: callees' and agents'.
    pub fn owned_legs(
        &self,
    ) -> (
        impl Iterator<Item = LegId> + '_,
        impl Iterator<Item = AgentLegId> + '_,
    ) {
        (self.legs.keys().copied(), self.agent_legs.keys().copied())
    }

    /// Names the first broken promise between calls and agents, for simulators and tests: an agent is tied to one call at
    /// most, and that call names the agent.
    pub fn check(&self) -> Result<(), String> {
        for agent in self.agents.values() {
            if let Work::Reserved { attempt } | Work::OnCall { attempt } = agent.work {
                let named = self.attempts.get(&attempt).and_then(|open| open.state.agent());
                if named != Some(agent.id) {
                    return Err(format!(
                        "agent {} is tied to attempt {attempt}, which names {named:?}",
                        agent.id
                    ));
                }
            }
            // Before the first snapshot nothing is known of what a former run left.
            if let Work::OnCall { attempt } = agent.work
                && !matches!(agent.phone, Phone::Held { .. })
                && self.links_up.contains(&agent.pbx)
                && self
                    .attempts
                    .get(&attempt)
                    .is_some_and(|open| matches!(open.state, AttemptState::Connected { .. }))
            {
                return Err(format!(
                    "attempt {attempt} is connected with agent {}, whose leg is not in its bridge",
                    agent.id
                ));
            }
            if agent
                .phone
                .leg()
                .is_some_and(|leg| self.agent_legs.get(&leg) != Some(&agent.id))
            {
                return Err(format!("the leg of agent {} is not known as such", agent.id));
            }
        }
        for open in self.attempts.values() {
            if let Some(id) = open.state.agent() {
                let tied = self.agents.get(&id).map(|agent| agent.work);
                let theirs = tied.and_then(Work::attempt);
                if theirs != Some(open.id) || matches!(tied, Some(Work::WrapUp { .. })) {
                    return Err(format!(
                        "attempt {} names agent {id}, who is in {tied:?}",
                        open.id
                    ));
                }
            }
            if self.legs.get(&open.leg.id) != Some(&open.id) {
                return Err(format!("the leg of attempt {} is not known as such", open.id));
            }
        }
        let free = self.agents.values().filter_map(|a| Some((a.free_since()?, a.id)));
        if free.collect::<BTreeSet<_>>() != self.free {
            return Err(format!("not the free agents: {:?}", self.free));
        }
        let waits = |open: &&Attempt| matches!(open.state, AttemptState::Waiting { .. });
        if self
            .attempts
            .values()
            .filter(waits)
            .map(|open| open.id)
            .ne(self.waiting.iter().copied())
        {
            return Err(format!("not the waiting attempts: {:?}", self.waiting));
        }
        if let Some(open) = self
            .attempts
            .values()
            .filter(
                |open| matches!(open.state, AttemptState::Waiting { limit_at, look_at } if look_at <= limit_at),
            )
            .find(|open| self.longest_free(&open.leg.pbx).is_some())
        {
            return Err(format!("attempt {} waits while an agent is free", open.id));
        }
        if let Some(judged) = self.judged.iter().find(|judged| {
            let ended = &judged.ended;
            self.attempts.contains_key(&ended.attempt) || self.legs.contains_key(&ended.leg)
        }) {
            return Err(format!(
                "attempt {} is judged, and has a leg",
                judged.ended.attempt
            ));
        }
        if self.legs.len() != self.attempts.len() {
            return Err(format!(
                "{} legs for {} attempts",
                self.legs.len(),
                self.attempts.len()
            ));
        }
        Ok(())
    }

    fn take(&mut self, now: Now, input: Input) -> Result<(), EngineError> {
        match input {
            Input::SetActive(active) => {
                self.active = active;
                if !active {
                    self.return_hopper(|_| true);
                }
                Ok(())
            }
            Input::Stop => {
                self.stop(now);
                Ok(())
            }
            Input::Drain => {
                self.stop(now);
                self.log_out_all(now);
                Ok(())
            }
            Input::HangUpAll => {
                self.hang_up_all(now);
                self.log_out_all(now);
                Ok(())
            }
            Input::ClockDoubted(doubted) => {
                self.clock_doubted = doubted;
                if doubted {
                    self.return_hopper(|_| true);
                }
                Ok(())
            }
            Input::TaskStopped { task, hang_up } => {
                self.return_hopper(|lead| lead.task == task);
                if hang_up {
                    self.take_back_where(now, |open| open.lead.task == task);
                }
                Ok(())
            }
            Input::Maintenance { pbx, on } => {
                self.set_maintenance(now, pbx, on);
                Ok(())
            }
            Input::WorkAdded => {
                if let Refill::From(at) = &mut self.refill {
                    *at = (*at).min(now.mono);
                }
                Ok(())
            }
            Input::Leads { leads, next_due } => {
                self.store_fails = false;
                self.leads_arrived(now, leads, next_due);
                Ok(())
            }
            Input::RefillFailed => {
                self.refill = Refill::From(now.mono + launches::STORE_TROUBLE_HOLD);
                self.store_failed(now);
                Ok(())
            }
            Input::Prepared { attempt, result } => self.prepared(now, attempt, result),
            Input::Agent { agent, request } => self.agent_asks(now, agent, request),
            Input::Pbx { pbx, ago, event } => {
                self.pbx_event(now, pbx, ago, event);
                Ok(())
            }
        }
    }

    fn tell(&mut self, pbx: &PbxName, command: crate::pbx::PbxCommand) {
        self.commands.push_back(Command::Pbx {
            pbx: pbx.clone(),
            command,
        });
    }

    fn store(&mut self, change: crate::command::Change) {
        self.commands.push_back(Command::Store(change));
    }

    fn rearm(&mut self, before: Option<Mono>, after: Option<Mono>, timer: Timer) {
        if let Some(at) = before {
            self.timers.remove(&(at, timer));
        }
        if let Some(at) = after {
            self.timers.insert((at, timer));
        }
    }
}

#[cfg(test)]
mod tests;
