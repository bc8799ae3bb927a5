//! The engine of one campaign. It decides what to launch, which agent gets which callee, and the outcome of each attempt.
//!
//! It takes [`Input`]s and the time, and gives [`Command`]s and the time of its next timer. It knows no database, no socket
//! and no clock. If events are late, duplicated, out of order or missing, it still strands no call and no agent, and gives
//! no agent two calls.
//!
//! Start at [`Engine::handle`]. Attempts are in `engine/attempts.rs` and `engine/connects.rs`, trunk failures in
//! `engine/trunks.rs`, agents in `engine/agents.rs` and `engine/phones.rs`, lost links and crashes in `engine/links.rs` and
//! `engine/adopt.rs`, launches and the hopper in `engine/launches.rs`, pacing ahead of agents in `engine/pacing.rs`, a PBX
//! that takes no calls in `engine/full.rs`, a PBX in maintenance in `engine/maintenance.rs`, the message to an abandoned
//! callee in `engine/message.rs`, opt-outs in `engine/opt_outs.rs`.

use crate::agent::{Agent, Phone, Work};
use crate::attempt::{Attempt, AttemptState, Judged};
use crate::breaker::Breaker;
use crate::campaign::CampaignConfig;
use crate::command::Command;
use crate::ids::{AgentId, AgentLegId, AttemptId, LegId, PbxName, TrunkId};
use crate::input::{Input, Lead};
use crate::live::{AttemptPhase, LiveAgent, LiveCampaign};
use crate::number::E164;
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
mod opt_outs;
mod pacing;
mod phones;
mod stops;
mod stranded;
mod trunks;
mod warnings;

/// If no event confirms a hang-up within this time, it is sent again.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// If the event of a leg's end is overdue by this much, the engine asks the PBX to end the leg.
const SILENCE_MARGIN: Duration = Duration::from_secs(10);

/// If a timer is this late, the process was stopped or frozen.
const STOOD_STILL: Duration = Duration::from_millis(500);
/// After such a stop, the engine reads events of the PBX for this long before it handles timers.
const CATCH_UP: Duration = Duration::from_millis(200);

/// The engine of one campaign. The module documentation says what it guarantees.
#[derive(Debug)]
pub struct Engine {
    config: Arc<CampaignConfig>,
    /// The last change of the settings or trunks.
    configured_at: Mono,
    rng: ChaCha8Rng,
    active: bool,
    draining: bool,
    /// The process stops for good, so the calls that ring are cancelled.
    cancels_ringing: bool,
    /// The wall clock may be wrong because it jumped, so calling hours cannot be checked.
    clock_doubted: bool,
    /// PBXes whose link is up.
    links_up: BTreeSet<PbxName>,
    attempts: BTreeMap<AttemptId, Attempt>,
    legs: BTreeMap<LegId, AttemptId>,
    /// Attempts in [`AttemptState::Waiting`].
    waiting: BTreeSet<AttemptId>,
    agents: BTreeMap<AgentId, Agent>,
    agent_legs: BTreeMap<AgentLegId, AgentId>,
    /// Free agents whose leg is held, the longest free first.
    free: BTreeSet<(Mono, AgentId)>,
    /// Contacts that may be dialed, each with the time of its lease, the oldest first.
    hopper: VecDeque<(Mono, Lead)>,
    /// When contacts were returned unused. `None` once calls have emptied the hopper.
    hopper_unused: Option<Mono>,
    /// Time when the oldest contact in the hopper must be returned. Armed as [`Timer::Hopper`].
    hopper_due: Option<Mono>,
    refill: Refill,
    /// Numbers that were opted out since the store was asked for contacts. Its answer may be older than the opt-out.
    opted_out: BTreeSet<E164>,
    /// Nothing is launched before this time, because the store failed.
    hold_until: Mono,
    /// The last request to the store failed.
    store_fails: bool,
    /// PBXes that refused the last leg.
    full: BTreeMap<PbxName, full::Full>,
    /// PBXes in maintenance.
    maintained: BTreeSet<PbxName>,
    timers: BTreeSet<(Mono, Timer)>,
    /// The process was stopped or frozen: timers wait until this time.
    catching_up: Option<Mono>,
    /// Time when the link to a PBX was lost. The entry is removed when the PBX is resynchronised.
    lost_at: BTreeMap<PbxName, Mono>,
    commands: VecDeque<Command>,
    counts: Counts,
    pacing: pacing::Pacing,
    /// The breakers of the trunks over which calls were launched.
    breakers: BTreeMap<TrunkId, Breaker>,
    /// Attempts whose leg has ended and whose outcome waits until their trunk is judged.
    judged: Vec<Judged>,
    /// An agent has changed, or a PBX is in maintenance: look for calls that no agent can take, and for agents' legs that
    /// no call needs.
    look_for_stranded: bool,
    failures: warnings::Failures,
    /// Time of the next search for more calls than the remaining agents can take. Set when an agent stops taking calls.
    surplus_at: Option<Mono>,
}

/// Counters of the engine since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Late events, duplicate events, and events of legs that are not ours.
    pub stale: u64,
    /// Attempts sent to be dialed.
    pub launched: u64,
    /// Ended attempts by outcome.
    pub outcomes: BTreeMap<Outcome, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refill {
    /// The store was asked and has not answered yet.
    Asked,
    /// The store may be asked from this time on.
    From(Mono),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Attempt(AttemptId),
    Agent(AgentId),
    Launch,
    Hopper,
}

/// The engine cannot accept this input in its present state. The input has no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The agent is not logged in here.
    #[error("agent {0} is not logged in to this campaign: log the agent in first")]
    NotLoggedIn(AgentId),
    /// The agent is logged in with another phone.
    #[error("agent {0} is logged in with another phone: log the agent out first")]
    OtherPhone(AgentId),
    /// The agent is in no conversation that could be ended.
    #[error("agent {0} is not on a call")]
    NotOnCall(AgentId),
    /// The process is stopping, so no agent can log in or ask for calls.
    #[error("Paceline is stopping: log in again once it runs")]
    Draining,
    /// A fault in the shell: it answered a [`Command::Prepare`] that is not open.
    #[error("attempt {0} was answered as prepared without having been asked for")]
    NotAsked(AttemptId),
}

impl Engine {
    /// A new engine. It launches nothing before [`Input::SetActive`], and dials nothing through a PBX before that PBX is
    /// resynchronised. `seed` decides the ids of its attempts and legs.
    pub fn new(config: CampaignConfig, seed: u64, mut recovered: crate::input::Recovered, now: Now) -> Self {
        let mut engine = Self {
            config: Arc::new(config),
            configured_at: Mono::default(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            active: false,
            draining: false,
            cancels_ringing: false,
            clock_doubted: false,
            links_up: BTreeSet::new(),
            attempts: BTreeMap::new(),
            legs: BTreeMap::new(),
            waiting: BTreeSet::new(),
            agents: BTreeMap::new(),
            agent_legs: BTreeMap::new(),
            free: BTreeSet::new(),
            hopper: VecDeque::new(),
            hopper_unused: None,
            hopper_due: None,
            refill: Refill::From(now.mono),
            opted_out: BTreeSet::new(),
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

    /// Replaces the settings. A leg that was dialed keeps its ring timeout and its maximum duration.
    pub fn configure(&mut self, now: Now, config: CampaignConfig) {
        self.failures.configured(&self.config, &config);
        let (trunks, attempts) = (&config.trunks, &self.attempts);
        let used = |id: &TrunkId| {
            trunks.iter().any(|t| t.id == *id) || attempts.values().any(|a| a.leg.trunk == *id)
        };
        self.breakers.retain(|id, _| used(id));
        if *self.config != config {
            self.configured_at = now.mono;
        }
        self.config = Arc::new(config);
        self.configure_pacing();
        self.look_for_stranded = true;
        self.move_on(now);
    }

    /// The present settings.
    pub fn config(&self) -> &Arc<CampaignConfig> {
        &self.config
    }

    /// Handles one input. After an error, the input has had no effect.
    pub fn handle(&mut self, now: Now, input: Input) -> Result<(), EngineError> {
        let result = self.take(now, input);
        self.move_on(now);
        result
    }

    /// Takes the oldest command that the shell has not got yet. `None` if there is none.
    pub fn next_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// Time when the shell must call [`Engine::handle_timeout`]. `None` if no timer is armed.
    pub fn poll_timeout(&self) -> Option<Mono> {
        let first = self.timers.first().map(|(at, _)| *at)?;
        Some(self.catching_up.map_or(first, |until| first.max(until)))
    }

    /// Handles every timer that is due.
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

    /// Free agents get the waiting callees first; only then are new calls launched.
    fn move_on(&mut self, now: Now) {
        self.serve_waiting(now);
        if std::mem::take(&mut self.look_for_stranded) {
            self.take_back_stranded(now);
            // A cancelled call may have freed its agent.
            self.serve_waiting(now);
            self.release_phones(now);
        }
        self.settle_judged(now);
        self.tell_controllers(now);
        self.take_back_surplus(now);
        self.launch(now);
    }

    /// The counters.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The present state of the calls and agents, for metrics and the API.
    pub fn live(&self, now: Now) -> LiveCampaign {
        let mut live = LiveCampaign {
            active: self.active,
            hopper: self.hopper.len(),
            trunks_held: self.trunks_held(),
            ..LiveCampaign::default()
        };
        for phase in AttemptPhase::ALL {
            live.attempts.insert(*phase, 0);
        }
        for open in self.attempts.values() {
            *live.attempts.entry(open.state.phase()).or_default() += 1;
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

    /// The legs that this engine controls: those of callees, then those of agents.
    pub fn owned_legs(
        &self,
    ) -> (
        impl Iterator<Item = LegId> + '_,
        impl Iterator<Item = AgentLegId> + '_,
    ) {
        (self.legs.keys().copied(), self.agent_legs.keys().copied())
    }

    /// Checks for simulators and tests that calls and agents fit together: an agent is tied to at most one call, and that
    /// call names the agent. The error describes the first violation.
    pub fn check(&self) -> Result<(), String> {
        for agent in self.agents.values() {
            if let Work::Reserved { attempt } | Work::OnCall { attempt } = agent.work {
                let named = self.attempts.get(&attempt).and_then(|open| open.state.agent());
                if named != Some(agent.id) {
                    return Err(format!(
                        "agent {} is tied to attempt {attempt}, but that attempt names {named:?}",
                        agent.id
                    ));
                }
            }
            // Before the first snapshot, the state of legs of a former run is unknown.
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
                return Err(format!(
                    "the engine does not know the leg of agent {} as an agent's leg",
                    agent.id
                ));
            }
        }
        for open in self.attempts.values() {
            if let Some(id) = open.state.agent() {
                let tied = self.agents.get(&id).map(|agent| agent.work);
                let theirs = tied.and_then(Work::attempt);
                if theirs != Some(open.id) || matches!(tied, Some(Work::WrapUp { .. })) {
                    return Err(format!(
                        "attempt {} names agent {id}, but the agent's work is {tied:?}",
                        open.id
                    ));
                }
            }
            if self.legs.get(&open.leg.id) != Some(&open.id) {
                return Err(format!(
                    "the engine does not know the leg of attempt {} as that attempt's leg",
                    open.id
                ));
            }
        }
        let free = self.agents.values().filter_map(|a| Some((a.free_since()?, a.id)));
        if free.collect::<BTreeSet<_>>() != self.free {
            return Err(format!("the list of free agents is wrong: {:?}", self.free));
        }
        let waits = |open: &&Attempt| matches!(open.state, AttemptState::Waiting { .. });
        if self
            .attempts
            .values()
            .filter(waits)
            .map(|open| open.id)
            .ne(self.waiting.iter().copied())
        {
            return Err(format!(
                "the list of waiting attempts is wrong: {:?}",
                self.waiting
            ));
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
                "attempt {} waits for the verdict on its trunk, but still has a leg",
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
            Input::Stop { cancel } => {
                self.stop(now, cancel);
                Ok(())
            }
            Input::Drain => {
                self.drain(now);
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
            Input::OptedOut { numbers } => {
                self.stop_calls_to(now, numbers);
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
                self.opted_out.clear();
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
