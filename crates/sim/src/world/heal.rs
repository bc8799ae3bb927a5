//! The end of a world: troubles stop, and everything must come right within bounds.

use super::store::ContactState;
use super::{Happening, Wish, World};
use crate::callee::Fate;
use crate::config::Faults;
use crate::random::Spread;
use crate::truth::{LegTruth, TrueEnd};
use paceline_core::agent::AgentState;
use paceline_core::input::Input;
use paceline_core::outcome::Outcome;
use paceline_core::pacing::rules::{AbandonRule, AbandonWindow};
use paceline_core::time::Mono;
use std::time::Duration;

/// How long a callee may be up with nobody on the line and nothing to hear: the connect limit of the campaigns.
const WAITING_MAX: Duration = Duration::from_secs(2);
/// For commands and events to travel.
const SLACK: Duration = Duration::from_millis(100);
/// Once a switch is read afresh, how soon the books must match it.
const BOOKS_WITHIN: Duration = Duration::from_secs(15);
const MINUTE: Duration = Duration::from_secs(60);
/// How much virtual time may pass until all contacts are done. Retries wait half an hour each.
const DONE_WITHIN: Duration = Duration::from_secs(48 * 3600);

impl World {
    /// Troubles stop; demands what must then be true.
    pub(super) fn heal(&mut self) -> Result<(), String> {
        self.end_troubles()?;
        let read_afresh = self.options.resynchronise_at_heal;
        if read_afresh {
            self.run_until(self.now + WAITING_MAX + SLACK)?;
            self.nobody_waits_since(self.healed_at)?;
            self.run_until(self.now + BOOKS_WITHIN)?;
            self.books_match()?;
            self.bridges_match()?;
        }
        let limit = self.now + DONE_WITHIN;
        self.wait_for(limit, "contacts are left", World::all_contacts_done)?;
        // Where phones are lost all the time, and called again after seconds, it takes a while until all are held at once.
        let limit = self.now + self.longest_call() + 20 * MINUTE;
        self.wait_for(limit, "calls or agents are stranded", World::all_agents_free)?;
        self.all_attempts_ended()?;
        if read_afresh {
            self.books_match()?;
        }
        self.accounts_match()?;
        self.go_home()?;

        // What a failing store left unknown, the next start must settle.
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
        // Where phones are lost all the time, and called again after seconds, it takes a while until all are held at once.
        let limit = self.now + self.longest_call() + 20 * MINUTE;
        self.wait_for(
            limit,
            "calls or agents are stranded after the last start",
            World::all_agents_free,
        )?;
        self.store.unsettled().map_or(Ok(()), Err)?;
        self.accounts_match()?;
        self.go_home()?;
        self.compare_with_truth()
    }

    fn end_troubles(&mut self) -> Result<(), String> {
        self.note(|| "all heals".to_owned());
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
        for switch in &mut self.switches {
            switch.sim.abort_restart(self.now);
            switch.sim.set_faults(Faults::none());
            if self.options.resynchronise_at_heal {
                switch.sim.cut_link(self.now, Duration::ZERO);
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
            let config = super::campaign_config(&self.options, campaign, &self.switches);
            self.configure(campaign, config)?;
        }
        for switch in 0..self.switches.len() {
            self.maintain(switch, false)?;
        }
        self.settle()?;
        for switch in 0..self.switches.len() {
            self.restore_link(switch);
        }
        if self.process.is_none() {
            self.start()?;
        }
        self.settle()
    }

    /// The longest that an honest call can take, from the launch to the end of wrap-up, with all our own patience.
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

    /// No callee has been up with nobody on the line since then.
    fn nobody_waits_since(&mut self, since: Mono) -> Result<(), String> {
        for switch in &self.switches {
            if let Some((leg, from)) = switch.sim.alone().find(|(_, from)| *from <= since) {
                return Err(format!("leg {leg} waits since {:.3} s", from.0.as_secs_f64()));
            }
        }
        Ok(())
    }

    /// Every leg that an engine answers for lives on a switch, and every channel of ours there is some engine's.
    fn books_match(&mut self) -> Result<(), String> {
        let (mut legs, mut agent_legs) = self.owned();
        let just_now = self.now - SLACK;
        for switch in &mut self.switches {
            let truth = switch.sim.truth();
            for (leg, truth) in truth.legs() {
                let known = legs.remove(leg);
                match truth.ended {
                    Some((at, _)) if known && at < just_now => {
                        return Err(format!("leg {leg} is kept and is gone"));
                    }
                    None if !known && truth.placed_at < just_now => {
                        return Err(format!("leg {leg} is nobody's"));
                    }
                    _ => {}
                }
            }
            for (leg, truth) in truth.agent_legs() {
                let known = agent_legs.remove(leg);
                match truth.ended {
                    Some((at, _)) if known && at < just_now => {
                        return Err(format!("agent's leg {leg} is kept and is gone"));
                    }
                    None if !known && truth.placed_at < just_now => {
                        return Err(format!("agent's leg {leg} is nobody's"));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Nobody talks with an agent whose leg is out of its bridge.
    fn bridges_match(&mut self) -> Result<(), String> {
        let engines = self.process.iter().flat_map(|p| p.engines.iter());
        let lives: Vec<_> = engines.map(|engine| engine.live(self.now())).collect();
        let on_call = lives.iter().flat_map(|live| &live.agents);
        let just_now = self.now - SLACK;
        for agent in on_call.filter(|agent| agent.state == AgentState::OnCall) {
            for switch in &mut self.switches {
                let truths = switch.sim.truth().agent_legs();
                let left = agent.leg.and_then(|leg| truths.get(&leg)?.left_at);
                if left.is_some_and(|at| at < just_now) {
                    return Err(format!("agent {} talks and has left the bridge", agent.agent));
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
            if live.calls.values().any(|n| *n > 0) {
                return Err(format!("{live:?}"));
            }
        }
        for person in 0..self.people.len() {
            let state = self.state_of(person);
            if state != Some(AgentState::Available) {
                return Err(format!("person {person} wants to work and is {state:?}"));
            }
        }
        Ok(())
    }

    fn all_attempts_ended(&self) -> Result<(), String> {
        let open = self.store.attempts.values().find(|a| {
            a.outcome.is_none() && !self.store.stuck.contains(&(a.new.lead.task, a.new.lead.contact))
        });
        open.map_or(Ok(()), |a| {
            Err(format!("attempt {} has no outcome", a.new.attempt))
        })
    }

    /// An orderly stop, after which nothing of ours is left anywhere.
    fn go_home(&mut self) -> Result<(), String> {
        self.healing = true;
        if let Some(process) = &mut self.process {
            process.draining = true;
        }
        for campaign in 0..self.campaigns.len() {
            self.tell(campaign, Input::Drain)?;
        }
        self.settle()?;
        let limit = self.now + MINUTE;
        self.wait_for(limit, "the engine does not come to an end", |world| {
            let engines = world.process.iter().flat_map(|p| p.engines.iter());
            match engines.enumerate().find(|(_, e)| !e.is_drained()) {
                Some((n, e)) => Err(format!("campaign {n}: {:?}", e.live(world.now()))),
                None => Ok(()),
            }
        })?;
        for switch in &mut self.switches {
            switch.sim.cut_link(self.now, Duration::ZERO);
            switch.sim.restore_link(self.now);
        }
        self.settle()?;
        self.run_until(self.now + MINUTE)?;
        for switch in &self.switches {
            if switch.sim.channels() > 0 {
                return Err(format!(
                    "{} channels are left on {}",
                    switch.sim.channels(),
                    switch.name
                ));
            }
        }
        self.store.agents.iter().next().map_or(Ok(()), |(agent, row)| {
            Err(format!("agent {agent} went home and is stored as {}", row.state))
        })
    }

    /// What every engine has counted for the law is what the attempts say, whatever happened before. To be asked while no
    /// write is under way.
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
                    "campaign {campaign} has counted {counted:?} live and abandoned; its attempts say {stored:?}"
                ));
            }
        }
        Ok(())
    }

    /// The engine's story of each attempt against what the switch really did.
    fn compare_with_truth(&mut self) -> Result<(), String> {
        let mut legs = std::collections::BTreeMap::new();
        for switch in &mut self.switches {
            legs.extend(switch.sim.truth().legs().clone());
        }
        for attempt in self.store.attempts.values() {
            let Some(outcome) = attempt.outcome else { continue };
            let truth = legs.remove(&attempt.new.leg);
            if !plausible(outcome, truth.as_ref()) {
                return Err(format!(
                    "attempt {} is said to be {outcome}; in truth {truth:?}",
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
                    "attempt {} is said to be {outcome}, not {expected}: {truth:?}",
                    attempt.new.attempt
                ));
            }
        }
        legs.first_key_value()
            .map_or(Ok(()), |(leg, _)| Err(format!("leg {leg} is nobody's attempt")))
    }
}

/// Whether an attempt can have this outcome after its leg really did that, whatever was seen of it.
fn plausible(outcome: Outcome, truth: Option<&LegTruth>) -> bool {
    let Some(truth) = truth else {
        // Never reached the switch.
        return matches!(outcome, Outcome::Failed | Outcome::Cancelled | Outcome::Unknown);
    };
    let answered = truth.answered_at.is_some();
    let timed_out = matches!(truth.ended, Some((_, TrueEnd::RingTimeout)));
    let refused = |fate: Fate| truth.fate == Some(fate) && matches!(truth.ended, Some((_, TrueEnd::Refused)));
    match outcome {
        Outcome::Answered | Outcome::Abandoned => answered,
        Outcome::Busy => refused(Fate::Busy),
        Outcome::NoAnswer => !answered,
        Outcome::Rejected => refused(Fate::Declined),
        Outcome::Invalid => refused(Fate::Invalid),
        Outcome::Congestion => {
            refused(Fate::Congestion)
                || refused(Fate::Silence)
                || (timed_out && truth.progressed_at.is_none())
        }
        Outcome::Failed => !answered,
        Outcome::Cancelled => !answered,
        Outcome::Unknown => true,
        Outcome::Machine | Outcome::Fax | Outcome::Screened | Outcome::Blocked => false,
    }
}

/// The one outcome that a leg must have where nothing is lost on the way; none where two things crossed.
fn certain(truth: &LegTruth) -> Option<Outcome> {
    let (ended_at, end) = truth.ended?;
    let met = truth.connected.last().map(|(at, _)| ended_at.since(*at));
    let waited = truth.alone.last().map(|(from, until)| until.since(*from));
    Some(match end {
        TrueEnd::NotPlaced => Outcome::Failed,
        TrueEnd::RingTimeout if truth.progressed_at.is_none() => Outcome::Congestion,
        TrueEnd::RingTimeout => Outcome::NoAnswer,
        TrueEnd::Refused => match truth.fate? {
            Fate::Busy => Outcome::Busy,
            Fate::NoAnswer => Outcome::NoAnswer,
            Fate::Declined => Outcome::Rejected,
            Fate::Invalid => Outcome::Invalid,
            Fate::Congestion | Fate::Silence => Outcome::Congestion,
            Fate::Incompatible => Outcome::Failed,
            Fate::Person | Fate::Machine | Fate::HangsUpAtOnce | Fate::Unplaceable => return None,
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
