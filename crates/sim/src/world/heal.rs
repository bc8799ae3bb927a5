//! The end of a world: the troubles stop, and everything must be in order within limits.

use super::store::ContactState;
use super::{Happening, Wish, World};
use crate::callee::Behaviour;
use crate::config::{Faults, Phones};
use crate::random::Spread;
use crate::truth::{LegTruth, TrueEnd};
use paceline_core::agent::{AgentReason, AgentState};
use paceline_core::input::Input;
use paceline_core::outcome::Outcome;
use paceline_core::pacing::rules::{AbandonRule, AbandonWindow};
use paceline_core::time::Mono;
use std::time::Duration;

/// Maximum time that a callee may wait alone without a message: the connect limit of the campaigns.
const WAITING_MAX: Duration = Duration::from_secs(2);
/// Allowance for the time that commands and events travel.
const SLACK: Duration = Duration::from_millis(100);
/// After a resynchronisation, the engines must know exactly the existing channels within this time.
const CHANNELS_MATCH_WITHIN: Duration = Duration::from_secs(15);
const MINUTE: Duration = Duration::from_secs(60);
/// Virtual time until all contacts must be done. Each retry waits half an hour.
const DONE_WITHIN: Duration = Duration::from_secs(48 * 3600);

impl World {
    /// Stops the troubles and checks everything that must then be true.
    pub(super) fn heal(&mut self) -> Result<(), String> {
        self.end_troubles()?;
        let read_afresh = self.options.resynchronise_at_heal;
        if read_afresh {
            self.run_until(self.now + WAITING_MAX + SLACK)?;
            self.nobody_waits_since(self.healed_at)?;
            self.run_until(self.now + CHANNELS_MATCH_WITHIN)?;
            self.channels_match()?;
            self.bridges_match()?;
        }
        // An event that was late holds up all that comes after it from its leg.
        let late = self.pbxes.iter().filter_map(|s| s.sim.last_arrival()).max();
        self.run_until(late.unwrap_or_default())?;
        let limit = self.now + DONE_WITHIN;
        self.wait_for(limit, "contacts are left", World::all_contacts_done)?;
        self.calm_phones();
        let limit = self.now + self.longest_call() + 20 * MINUTE;
        self.wait_for(limit, "calls or agents are stuck", World::all_agents_free)?;
        self.all_attempts_ended()?;
        if read_afresh {
            self.channels_match()?;
        }
        self.accounts_match()?;
        self.shut_down()?;

        // The next start must settle what a failing store left open.
        self.die();
        self.run_until(self.now + MINUTE)?;
        self.process = None;
        self.start()?;
        let limit = self.now + DONE_WITHIN;
        self.wait_for(
            limit,
            "contacts are left after the last start",
            World::all_contacts_done,
        )?;
        let limit = self.now + self.longest_call() + 20 * MINUTE;
        self.wait_for(
            limit,
            "calls or agents are stuck after the last start",
            World::all_agents_free,
        )?;
        self.store.unsettled().map_or(Ok(()), Err)?;
        self.accounts_match()?;
        self.shut_down()?;
        self.compare_with_truth()
    }

    fn end_troubles(&mut self) -> Result<(), String> {
        self.note(|| "the troubles stop".to_owned());
        self.healing = true;
        self.healed_at = self.now;
        self.options.store_fails = 0.0;
        self.options.gate_refuses = 0.0;
        self.options.store_latency = Spread::Constant(Duration::from_millis(2));
        self.agenda.retain(|_, h| {
            matches!(
                h,
                Happening::StoreWrites { .. }
                    | Happening::StoreAside { .. }
                    | Happening::StoreReplies { .. }
                    | Happening::PersonLooks(_)
            )
        });
        for sim_pbx in &mut self.pbxes {
            sim_pbx.sim.abort_restart(self.now);
            sim_pbx.sim.set_faults(Faults::none());
            if self.options.resynchronise_at_heal {
                sim_pbx.sim.cut_link(self.now, Duration::ZERO);
            }
        }
        for person in &mut self.people {
            person.wants = Wish::Work;
        }
        if self.process.as_ref().is_some_and(|p| p.draining) {
            self.die();
        }
        let tasks: Vec<_> = self.store.tasks.keys().copied().collect();
        for task in tasks {
            self.set_task(task, true, Input::WorkAdded)?;
        }
        for campaign in 0..self.campaigns.len() {
            self.set_active(campaign, true)?;
            let config = super::campaign_config(&self.options, campaign, &self.pbxes);
            self.configure(campaign, config)?;
        }
        for sim_pbx in 0..self.pbxes.len() {
            self.maintain(sim_pbx, false)?;
        }
        self.settle()?;
        for sim_pbx in 0..self.pbxes.len() {
            self.restore_link(sim_pbx);
        }
        if self.process.is_none() {
            self.start()?;
        }
        self.settle()
    }

    /// Phones that drop all the time may never be held all at once.
    fn calm_phones(&mut self) {
        for pbx in &mut self.pbxes {
            pbx.sim.set_phones(Phones::default());
        }
    }

    /// The longest time that a call may take, from the launch to the end of wrap-up, with all timeouts.
    fn longest_call(&self) -> Duration {
        self.options.ring_timeout * 2 + self.options.call_duration_max + self.options.wrap_up + 10 * MINUTE
    }

    fn wait_for(
        &mut self,
        limit: Mono,
        or: &str,
        done: fn(&World) -> Result<(), String>,
    ) -> Result<(), String> {
        loop {
            match done(self) {
                Ok(()) => return Ok(()),
                Err(why) if self.now >= limit => return Err(format!("{or}: {why}")),
                Err(_) => self.run_until(self.now + Duration::from_secs(10))?,
            }
        }
    }

    /// Checks that no callee has been alone on the line since then.
    fn nobody_waits_since(&mut self, since: Mono) -> Result<(), String> {
        for sim_pbx in &self.pbxes {
            if let Some((leg, from)) = sim_pbx.sim.alone().find(|(_, from)| *from <= since) {
                return Err(format!("leg {leg} waits since {:.3} s", from.0.as_secs_f64()));
            }
        }
        Ok(())
    }

    /// Checks that every leg known to an engine exists on a PBX, and that an engine knows every channel of Paceline there.
    fn channels_match(&mut self) -> Result<(), String> {
        let (mut legs, mut agent_legs) = self.owned();
        let just_now = self.now - SLACK;
        for sim_pbx in &mut self.pbxes {
            let truth = sim_pbx.sim.truth();
            for (leg, truth) in truth.legs() {
                let known = legs.remove(leg);
                match truth.ended {
                    Some((at, _)) if known && at < just_now => {
                        return Err(format!("an engine still has leg {leg}, which has ended"));
                    }
                    None if !known && truth.placed_at < just_now => {
                        return Err(format!("no engine knows leg {leg}"));
                    }
                    _ => {}
                }
            }
            for (leg, truth) in truth.agent_legs() {
                let known = agent_legs.remove(leg);
                match truth.ended {
                    Some((at, _)) if known && at < just_now => {
                        return Err(format!("an engine still has agent's leg {leg}, which has ended"));
                    }
                    None if !known && truth.placed_at < just_now => {
                        return Err(format!("no engine knows agent's leg {leg}"));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Checks that no callee talks with an agent whose leg is out of its bridge.
    fn bridges_match(&mut self) -> Result<(), String> {
        let engines = self.process.iter().flat_map(|p| p.engines.iter());
        let lives: Vec<_> = engines.map(|engine| engine.live(self.now())).collect();
        let on_call = lives.iter().flat_map(|live| &live.agents);
        let just_now = self.now - SLACK;
        for agent in on_call.filter(|agent| agent.state == AgentState::OnCall) {
            for sim_pbx in &mut self.pbxes {
                let truths = sim_pbx.sim.truth().agent_legs();
                let left = agent.leg.and_then(|leg| truths.get(&leg)?.left_at);
                if left.is_some_and(|at| at < just_now) {
                    return Err(format!(
                        "agent {} is shown on a call, but its leg has left the bridge",
                        agent.agent
                    ));
                }
            }
        }
        Ok(())
    }

    fn all_contacts_done(&self) -> Result<(), String> {
        for (key, contact) in &self.store.contacts {
            if contact.state != ContactState::Done && !self.store.is_stuck(*key, contact) {
                let live: Vec<_> = self
                    .process
                    .iter()
                    .flat_map(|p| p.engines.iter())
                    .map(|e| e.live(self.now()))
                    .collect();
                return Err(format!("contact {key:?} is {:?}; {live:?}", contact.state));
            }
        }
        Ok(())
    }

    fn all_agents_free(&self) -> Result<(), String> {
        for engine in self.process.iter().flat_map(|p| p.engines.iter()) {
            let live = engine.live(self.now());
            if live.attempts.values().any(|n| *n > 0) {
                return Err(format!("{live:?}"));
            }
        }
        for person in 0..self.people.len() {
            let state = self.state_of(person);
            if state != Some(AgentState::Available) && !self.ended_on_hold_unheard(person) {
                return Err(format!("agent {person} wants calls and is {state:?}"));
            }
        }
        Ok(())
    }

    /// True if the event of the end of this agent's leg was lost while the leg was on hold. An agent on hold gets no call, so only
    /// the leg's time limit shows that end.
    fn ended_on_hold_unheard(&self, person: usize) -> bool {
        let Some(person) = self.people.get(person) else {
            return false;
        };
        let engine = self.process.as_ref().and_then(|p| p.engines.get(person.campaign));
        let live = engine.map(|e| e.live(self.now())).unwrap_or_default();
        let agent = live.agents.iter().find(|a| a.agent == person.agent);
        let held = agent.filter(|a| a.reason == AgentReason::PhoneOnHold);
        let Some(leg) = held.and_then(|a| a.leg) else {
            return false;
        };
        self.pbxes.iter().any(|pbx| pbx.sim.has_ended(leg))
    }

    fn all_attempts_ended(&self) -> Result<(), String> {
        let open = self.store.attempts.values().find(|a| {
            a.outcome.is_none() && !self.store.stuck.contains(&(a.new.lead.task, a.new.lead.contact))
        });
        open.map_or(Ok(()), |a| {
            Err(format!("attempt {} has no outcome", a.new.attempt))
        })
    }

    /// Stops the process in order and checks that no channel is left.
    fn shut_down(&mut self) -> Result<(), String> {
        self.healing = true;
        if let Some(process) = &mut self.process {
            process.draining = true;
        }
        for campaign in 0..self.campaigns.len() {
            self.tell(campaign, Input::Drain)?;
        }
        self.settle()?;
        let limit = self.now + MINUTE;
        self.wait_for(limit, "the engine does not stop", |world| {
            let engines = world.process.iter().flat_map(|p| p.engines.iter());
            match engines.enumerate().find(|(_, e)| !e.is_drained()) {
                Some((n, e)) => Err(format!("campaign {n}: {:?}", e.live(world.now()))),
                None => Ok(()),
            }
        })?;
        for sim_pbx in &mut self.pbxes {
            sim_pbx.sim.cut_link(self.now, Duration::ZERO);
            sim_pbx.sim.restore_link(self.now);
        }
        self.settle()?;
        self.run_until(self.now + MINUTE)?;
        for sim_pbx in &self.pbxes {
            if sim_pbx.sim.channels() > 0 {
                return Err(format!(
                    "{} channels are left on {}",
                    sim_pbx.sim.channels(),
                    sim_pbx.name
                ));
            }
        }
        self.store.agents.iter().next().map_or(Ok(()), |(agent, row)| {
            Err(format!("agent {agent} logged out and is stored as {}", row.state))
        })
    }

    /// Checks that the abandon counters of every engine equal what the attempts say, whatever happened before. Call it
    /// while no write is on its way.
    pub(super) fn accounts_match(&self) -> Result<(), String> {
        for (campaign, engine) in self.process.iter().flat_map(|p| p.engines.iter().enumerate()) {
            let Some(config) = self.campaigns.get(campaign).map(|c| &c.config) else {
                continue;
            };
            let ever = |rule: &&AbandonRule| rule.window == AbandonWindow::Campaign;
            let Some(rule) = config.settings.pacing.abandon_rules.iter().find(ever) else {
                continue;
            };
            let counted = engine.live(self.now()).abandon;
            let counted = counted.iter().find(|account| *account.rule == rule.name);
            let counted = counted.map(|account| (account.live, account.abandoned));
            let stored = self.store.account(campaign, rule);
            if counted != Some(stored) {
                return Err(format!(
                    "campaign {campaign} counted {counted:?} live and abandoned calls, but its attempts say {stored:?}"
                ));
            }
        }
        Ok(())
    }

    /// Compares the stored attempts with what really happened on the PBX.
    fn compare_with_truth(&mut self) -> Result<(), String> {
        let mut legs = std::collections::BTreeMap::new();
        for sim_pbx in &mut self.pbxes {
            legs.extend(sim_pbx.sim.truth().legs().clone());
        }
        for attempt in self.store.attempts.values() {
            let Some(outcome) = attempt.outcome else { continue };
            let truth = legs.remove(&attempt.new.leg);
            if !plausible(outcome, truth.as_ref()) {
                return Err(format!(
                    "attempt {} is stored as {outcome}, but its leg was {truth:?}",
                    attempt.new.attempt
                ));
            }
            let prompt_from = if self.options.is_prompt() {
                Mono::default()
            } else {
                self.healed_at + MINUTE
            };
            let waits = truth.iter().flat_map(|t| &t.alone);
            if let Some((from, until)) = waits
                .filter(|(from, _)| *from >= prompt_from)
                .find(|(f, u)| u.since(*f) > WAITING_MAX + SLACK)
            {
                let waited = until.since(*from);
                return Err(format!(
                    "leg {} waited for {waited:?} from {from:?}",
                    attempt.new.leg
                ));
            }
            let expected = truth
                .as_ref()
                .filter(|t| !t.spans(self.healed_at))
                .and_then(certain);
            if self.options.is_prompt()
                && let Some(expected) = expected.filter(|expected| *expected != outcome)
            {
                return Err(format!(
                    "attempt {} is stored as {outcome} instead of {expected}: {truth:?}",
                    attempt.new.attempt
                ));
            }
        }
        legs.first_key_value()
            .map_or(Ok(()), |(leg, _)| Err(format!("no attempt has leg {leg}")))
    }
}

/// True if an attempt can have this outcome after its leg did this, whichever events were lost.
fn plausible(outcome: Outcome, truth: Option<&LegTruth>) -> bool {
    let Some(truth) = truth else {
        // The command never reached the PBX.
        return matches!(outcome, Outcome::Failed | Outcome::Cancelled | Outcome::Unknown);
    };
    let answered = truth.answered_at.is_some();
    let timed_out = matches!(truth.ended, Some((_, TrueEnd::RingTimeout)));
    let refused = |behaviour: Behaviour| {
        truth.behaviour == Some(behaviour) && matches!(truth.ended, Some((_, TrueEnd::Refused)))
    };
    match outcome {
        Outcome::Answered | Outcome::Abandoned => answered,
        Outcome::Busy => refused(Behaviour::Busy),
        Outcome::NoAnswer => !answered,
        Outcome::Rejected => refused(Behaviour::Declined),
        Outcome::Invalid => refused(Behaviour::Invalid),
        Outcome::Congestion => {
            refused(Behaviour::Congestion)
                || refused(Behaviour::Silence)
                || (timed_out && truth.progressed_at.is_none())
        }
        Outcome::Failed => !answered,
        Outcome::Cancelled => !answered,
        Outcome::Unknown => true,
        Outcome::Machine | Outcome::Fax | Outcome::Screened | Outcome::Blocked => false,
    }
}

/// The only outcome that a leg may have if no event or command was lost. `None` if two of them crossed.
fn certain(truth: &LegTruth) -> Option<Outcome> {
    let (ended_at, end) = truth.ended?;
    let met = truth.connected.last().map(|(at, _)| {
        let alone = truth.alone.iter().map(|(from, _)| *from).find(|from| from >= at);
        alone.unwrap_or(ended_at).since(*at)
    });
    let waited = truth.alone.last().map(|(from, until)| until.since(*from));
    Some(match end {
        TrueEnd::NotPlaced => Outcome::Failed,
        TrueEnd::RingTimeout if truth.progressed_at.is_none() => Outcome::Congestion,
        TrueEnd::RingTimeout => Outcome::NoAnswer,
        TrueEnd::Refused => match truth.behaviour? {
            Behaviour::Busy => Outcome::Busy,
            Behaviour::NoAnswer => Outcome::NoAnswer,
            Behaviour::Declined => Outcome::Rejected,
            Behaviour::Invalid => Outcome::Invalid,
            Behaviour::Congestion | Behaviour::Silence => Outcome::Congestion,
            Behaviour::Incompatible => Outcome::Failed,
            Behaviour::Person | Behaviour::Machine | Behaviour::HangsUpAtOnce | Behaviour::Unplaceable => {
                return None;
            }
        },
        TrueEnd::FarEnd | TrueEnd::Us | TrueEnd::DurationMax if met.is_some_and(|met| met < SLACK) => {
            return None;
        }
        TrueEnd::FarEnd | TrueEnd::Us | TrueEnd::DurationMax if met.is_some() => Outcome::Answered,
        TrueEnd::FarEnd | TrueEnd::Us | TrueEnd::DurationMax if truth.message.is_some() => Outcome::Abandoned,
        TrueEnd::FarEnd if waited.is_some_and(|waited| waited + SLACK < WAITING_MAX) => Outcome::Answered,
        TrueEnd::Us if truth.answered_at.is_some() => Outcome::Abandoned,
        TrueEnd::Us => Outcome::Cancelled,
        TrueEnd::FarEnd
        | TrueEnd::DurationMax
        | TrueEnd::NobodyListened
        | TrueEnd::TakenAway
        | TrueEnd::Restart => return None,
    })
}
