//! The process: the engines, and the small part of the shell that they need. It executes commands and delivers events.
//!
//! The shell must keep the order of writes to the store, deliver no event to an engine of an earlier run, and hang up every
//! channel of Paceline that no engine knows when a snapshot or an answer shows one.

use super::writer::{Aside, Writing};
use super::{Owned, World, agent_template};
use crate::truth::Violation;
use paceline_core::command::{Change, Command};
use paceline_core::engine::{Engine, EngineError};
use paceline_core::ids::{AgentLegId, LegId, PbxName};
use paceline_core::input::{Input, OpenAgent, Recovered};
use paceline_core::pbx::{PbxCommand, PbxEvent, Snapshot};
use std::collections::VecDeque;
use std::time::Duration;

pub(super) struct Process {
    pub(super) start: u64,
    pub(super) engines: Vec<Engine>,
    pub(super) draining: bool,
    /// The pending writes of each engine, in order.
    pub(super) writing: Vec<VecDeque<Writing>>,
}

impl World {
    /// Starts the process with what is stored.
    pub(super) fn start(&mut self) -> Result<(), String> {
        self.starts += 1;
        self.messaged.clear();
        self.note(|| "the process starts".to_owned());
        let now = self.now();
        let mut engines = Vec::new();
        for campaign in 0..self.campaigns.len() {
            let attempts = self.store.recover(campaign, now.wall);
            for open in &attempts {
                self.legs.insert(open.leg, campaign);
            }
            let agents = self.open_agents(campaign)?;
            let learnt = self.store.learnt(campaign);
            let Some(config) = self.campaigns.get(campaign).map(|c| c.config.clone()) else {
                continue;
            };
            let answers = self
                .store
                .answers(campaign, &config.settings.pacing.abandon_rules);
            let recovered = Recovered {
                attempts,
                agents,
                learnt,
                answers,
            };
            self.note(|| format!("campaign {campaign} recovers {recovered:?}"));
            let seed = self.options.seed ^ (self.starts << 32) ^ campaign as u64;
            engines.push(Engine::new(config, seed, recovered, now));
        }
        let writing = engines.iter().map(|_| VecDeque::new()).collect();
        self.process = Some(Process {
            start: self.starts,
            engines,
            draining: false,
            writing,
        });
        self.accounts_match()?;
        for campaign in 0..self.campaigns.len() {
            for pbx in self.maintained.clone() {
                self.tell(campaign, Input::Maintenance { pbx, on: true })?;
            }
        }
        for sim_pbx in &mut self.pbxes {
            sim_pbx.sim.cut_link(self.now, Duration::ZERO);
            sim_pbx.sim.handle_timeout(self.now);
            while sim_pbx.sim.next_event().is_some() {}
            sim_pbx.sim.forget_unseen();
            if !sim_pbx.cut {
                sim_pbx.sim.restore_link(self.now);
            }
        }
        for campaign in 0..self.campaigns.len() {
            let active = self.campaigns.get(campaign).is_some_and(|c| c.active);
            self.tell(campaign, Input::SetActive(active))?;
        }
        self.settle()
    }

    /// The process dies with everything that it had not stored. Nothing receives the events of the PBXes any more.
    pub(super) fn die(&mut self) {
        self.process = None;
        for sim_pbx in &mut self.pbxes {
            sim_pbx.sim.cut_link(self.now, Duration::ZERO);
        }
    }

    fn open_agents(&self, campaign: usize) -> Result<Vec<OpenAgent>, String> {
        let mut open = Vec::new();
        for person in self.people.iter().filter(|p| p.campaign == campaign) {
            if let Some(row) = self.store.agents.get(&person.agent) {
                open.push(OpenAgent {
                    agent: person.agent,
                    pbx: person.pbx.clone(),
                    template: agent_template()?,
                    extension: person.extension.clone(),
                    leg: row.leg,
                    wants: row.wants,
                    last_call: self.store.last_call(person.agent),
                });
            }
        }
        Ok(open)
    }

    /// Gives an engine an input that it must accept.
    pub(super) fn tell(&mut self, campaign: usize, input: Input) -> Result<(), String> {
        let refused = self.ask(campaign, input)?;
        refused.map_or(Ok(()), |e| {
            Err(format!("the engine refuses an input that it must accept: {e}"))
        })
    }

    /// Gives an engine an input and returns its error.
    pub(super) fn ask(&mut self, campaign: usize, input: Input) -> Result<Option<EngineError>, String> {
        self.note(|| format!("campaign {campaign} << {input:?}"));
        let now = self.now();
        let Some(engine) = self.process.as_mut().and_then(|p| p.engines.get_mut(campaign)) else {
            return Ok(None);
        };
        let refused = engine.handle(now, input).err();
        engine.check()?;
        Ok(refused)
    }

    pub(super) fn wake_engines(&mut self) -> Result<(), String> {
        let now = self.now();
        for engine in self.process.iter_mut().flat_map(|p| p.engines.iter_mut()) {
            if engine.poll_timeout().is_some_and(|at| at <= now.mono) {
                engine.handle_timeout(now);
                engine.check()?;
            }
        }
        Ok(())
    }

    /// Executes commands and delivers events until none are left at this instant.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        for _ in 0..super::STEPS_PER_INSTANT_MAX {
            let command = self.process.as_mut().and_then(|p| {
                p.engines
                    .iter_mut()
                    .enumerate()
                    .find_map(|(n, e)| Some((n, e.next_command()?)))
            });
            if let Some((campaign, command)) = command {
                self.carry_out(campaign, command)?;
                continue;
            }
            let event = self
                .pbxes
                .iter_mut()
                .enumerate()
                .find_map(|(n, s)| Some((n, s.sim.next_event()?)));
            match event {
                Some((sim_pbx, event)) => self.hand_on(sim_pbx, event)?,
                None => return self.no_violation(),
            }
        }
        Err("engine and PBX exchange messages without end at one instant".to_owned())
    }

    fn no_violation(&mut self) -> Result<(), String> {
        for sim_pbx in &mut self.pbxes {
            if let Some(violation) = sim_pbx.sim.truth().violations().first() {
                return Err(match violation {
                    Violation::AgentTaken { .. } => format!("an agent was given two calls: {violation:?}"),
                    _ => format!("a command that no engine may send: {violation:?}"),
                });
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, campaign: usize, command: Command) -> Result<(), String> {
        self.note(|| format!("campaign {campaign} >> {command:?}"));
        match command {
            Command::Refill { limit } => self.ask_aside(campaign, Aside::Refill { limit }),
            Command::Return { contacts } => self.ask_aside(campaign, Aside::Return { contacts }),
            Command::Prepare(new) => {
                self.may_place(&new.pbx)?;
                self.write(campaign, Writing::Prepare(new));
            }
            Command::Paced { report, .. } => {
                if report.launch > report.wanted {
                    return Err(format!("more calls are launched than wanted: {report:?}"));
                }
            }
            // No callee of the simulator presses a key.
            Command::AgentIs { .. } | Command::OptOut { .. } => {}
            Command::Store(change) => {
                if let Change::Connected { .. } = change {
                    self.connected += 1;
                }
                self.write(campaign, Writing::Change(change));
            }
            Command::Pbx { pbx, command } => {
                match &command {
                    PbxCommand::CallContact { leg, .. } => {
                        self.may_place(&pbx)?;
                        self.dials(*leg, campaign, &pbx)?;
                    }
                    PbxCommand::CallAgent { leg, .. } => {
                        self.may_place(&pbx)?;
                        self.agent_legs.insert(*leg, campaign);
                    }
                    PbxCommand::Play { leg, .. } if !self.messaged.insert(*leg) => {
                        return Err(format!("the message for leg {leg} is started twice"));
                    }
                    PbxCommand::Connect { leg, .. } if self.messaged.contains(leg) => {
                        return Err(format!("leg {leg} is connected to an agent after the message"));
                    }
                    _ => {}
                }
                self.send(&pbx, command)?;
            }
        }
        Ok(())
    }

    /// Checks that nothing is placed on a PBX in maintenance.
    fn may_place(&self, pbx: &PbxName) -> Result<(), String> {
        if self.maintained.contains(pbx) {
            Err(format!("a call is placed on {pbx} during its maintenance"))
        } else {
            Ok(())
        }
    }

    /// Checks that each originate has a stored and allowed attempt, and that no leg is dialed twice.
    fn dials(&mut self, leg: LegId, campaign: usize, pbx: &PbxName) -> Result<(), String> {
        let attempt = self
            .store
            .legs
            .get(&leg)
            .and_then(|a| self.store.attempts.get_mut(a));
        let attempt = attempt.ok_or(format!("leg {leg} is dialed and not stored"))?;
        if attempt.dialed {
            return Err(format!("leg {leg} is dialed twice"));
        }
        if attempt.outcome.is_some() {
            return Err(format!("leg {leg} is dialed after its attempt ended"));
        }
        if attempt.pbx() != pbx || attempt.campaign != campaign {
            return Err(format!("leg {leg} is dialed on another PBX than stored"));
        }
        attempt.dialed = true;
        let number = attempt.new.lead.number.clone();
        if let Some((on, before)) = self.last_legs.insert(number, (pbx.clone(), leg)) {
            let sim_pbx = self.pbxes.iter_mut().find(|s| s.name == on);
            let truth = sim_pbx.and_then(|s| s.sim.truth().legs().get(&before).cloned());
            if truth.is_some_and(|t| t.ended.is_none()) {
                return Err(format!("leg {leg} calls a number that leg {before} still calls"));
            }
        }
        self.dialed += 1;
        self.legs.insert(leg, campaign);
        Ok(())
    }

    fn send(&mut self, pbx: &PbxName, command: PbxCommand) -> Result<(), String> {
        let sim_pbx = self.pbxes.iter_mut().find(|s| &s.name == pbx);
        let sim_pbx = sim_pbx.ok_or(format!("a command for the unknown PBX {pbx}"))?;
        sim_pbx.sim.handle(self.now, command);
        Ok(())
    }

    fn hand_on(&mut self, sim_pbx: usize, event: PbxEvent) -> Result<(), String> {
        let Some(pbx) = self.pbxes.get(sim_pbx).map(|s| s.name.clone()) else {
            return Ok(());
        };
        if self.process.is_none() {
            // The PBX came back while the process is not running.
            if let (PbxEvent::Resynchronised(_), Some(sim_pbx)) = (&event, self.pbxes.get_mut(sim_pbx)) {
                sim_pbx.sim.cut_link(self.now, Duration::ZERO);
            }
            return Ok(());
        }
        let input = |event| Input::Pbx {
            pbx: pbx.clone(),
            ago: Duration::ZERO,
            event,
        };
        match self.addressee(&event) {
            Addressee::All => {
                for campaign in 0..self.campaigns.len() {
                    self.tell(campaign, input(event.clone()))?;
                }
                if let PbxEvent::Resynchronised(snapshot) = &event {
                    self.reap(&pbx, snapshot)?;
                }
                Ok(())
            }
            Addressee::One(campaign) => {
                self.reap_unowned(&pbx, &event)?;
                self.tell(campaign, input(event))
            }
            Addressee::Nobody => Ok(()),
        }
    }

    fn addressee(&self, event: &PbxEvent) -> Addressee {
        let campaign = match event {
            PbxEvent::LinkLost | PbxEvent::Resynchronised(_) => return Addressee::All,
            PbxEvent::Progress { leg, .. }
            | PbxEvent::Answered { leg }
            | PbxEvent::Connected { leg, .. }
            | PbxEvent::ConnectFailed { leg, .. }
            | PbxEvent::Played { leg, .. }
            | PbxEvent::Transferred { leg }
            | PbxEvent::Pressed { leg, .. }
            | PbxEvent::CalleeAlone { leg }
            | PbxEvent::LegEnded { leg, .. } => self.legs.get(leg),
            PbxEvent::AgentRinging { leg }
            | PbxEvent::AgentReady { leg }
            | PbxEvent::AgentLeft { leg, .. }
            | PbxEvent::AgentTrouble { leg, .. }
            | PbxEvent::AgentEnded { leg, .. } => self.agent_legs.get(leg),
            PbxEvent::RecordingStarted { recording }
            | PbxEvent::RecordingEnded { recording, .. }
            | PbxEvent::RecordingFailed { recording, .. } => recording
                .as_str()
                .parse()
                .ok()
                .and_then(|leg| self.legs.get(&LegId(leg))),
        };
        campaign.map_or(Addressee::Nobody, |campaign| Addressee::One(*campaign))
    }

    pub(super) fn owned(&self) -> Owned {
        let mut owned = Owned::default();
        for engine in self.process.iter().flat_map(|p| p.engines.iter()) {
            let (legs, agent_legs) = engine.owned_legs();
            owned.0.extend(legs);
            owned.1.extend(agent_legs);
        }
        owned
    }

    /// Hangs up every channel of Paceline that no engine knows.
    fn reap(&mut self, pbx: &PbxName, snapshot: &Snapshot) -> Result<(), String> {
        let (legs, agent_legs) = self.owned();
        for (channel, state) in &snapshot.channels {
            let known = legs.contains(&LegId(*channel)) || agent_legs.contains(&AgentLegId(*channel));
            if state.in_our_app && !known {
                self.note(|| format!("no engine knows channel {channel} on {pbx}"));
                self.send(pbx, PbxCommand::HangUp { leg: LegId(*channel) })?;
            }
        }
        Ok(())
    }

    /// Hangs up an answered leg that no engine knows.
    fn reap_unowned(&mut self, pbx: &PbxName, event: &PbxEvent) -> Result<(), String> {
        match event {
            PbxEvent::Answered { leg } if !self.owned().0.contains(leg) => {
                self.send(pbx, PbxCommand::HangUp { leg: *leg })
            }
            PbxEvent::AgentReady { leg } if !self.owned().1.contains(leg) => {
                self.send(pbx, PbxCommand::HangUpAgent { leg: *leg })
            }
            _ => Ok(()),
        }
    }
}

enum Addressee {
    All,
    One(usize),
    Nobody,
}
