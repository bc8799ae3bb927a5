//! Everything that happens to the world besides calls: cuts, restarts, crashes, and requests of agents and operators.

use super::ms;
use super::{Happening, Wish, World, agent_template};
use crate::random::{Spread, happens};
use paceline_core::agent::AgentState;
use paceline_core::campaign::CampaignConfig;
use paceline_core::engine::EngineError;
use paceline_core::ids::TaskId;
use paceline_core::input::{AgentRequest, Asker, Input};
use rand::RngExt;
use std::time::Duration;

/// Interval at which an agent checks whether it is logged in and takes calls.
const LOOKS_EVERY: Duration = Duration::from_secs(20);
/// Maximum time that an orderly stop waits for conversations to end.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

impl World {
    pub(super) fn plan_troubles(&mut self) {
        for person in 0..self.people.len() {
            let after = Duration::from_millis(self.rng_people.random_range(0..30_000));
            self.plan(after, Happening::PersonLooks(person));
            self.plan_next(self.options.restless_every, Happening::PersonChangesMind(person));
        }
        for sim_pbx in 0..self.pbxes.len() {
            self.plan_next(self.options.cut_every, Happening::LinkCut(sim_pbx));
            self.plan_next(self.options.restart_every, Happening::PbxRestarts(sim_pbx));
            self.plan_next(self.options.maintain_every, Happening::MaintenanceBegins(sim_pbx));
            self.plan_next(self.options.close_every, Happening::PbxClosesDown(sim_pbx));
        }
        self.plan_next(self.options.crash_every, Happening::Crash);
        self.plan_next(self.options.drain_every, Happening::Drain);
        let tasks: Vec<TaskId> = self.store.tasks.keys().copied().collect();
        for task in tasks {
            self.plan_next(self.options.stop_every, Happening::TaskStops(task));
        }
        for campaign in 0..self.campaigns.len() {
            self.plan_next(self.options.pause_every, Happening::CampaignPauses(campaign));
            self.plan_next(self.options.settings_every, Happening::SettingsChange(campaign));
        }
        self.plan_next(self.options.jump_every, Happening::ClockJumps);
    }

    /// Plans the next trouble of this kind, if there is one and the troubles have not been stopped.
    fn plan_next(&mut self, every: Option<Duration>, trouble: Happening) {
        if let Some(every) = every.filter(|_| !self.healing) {
            let after = Spread::Exponential(every).draw(&mut self.rng_trouble);
            self.plan(after, trouble);
        }
    }

    fn draw_pause(&mut self, mean_secs: u64) -> Duration {
        Spread::Exponential(Duration::from_secs(mean_secs)).draw(&mut self.rng_trouble)
    }

    pub(super) fn happen(&mut self, happening: Happening) -> Result<(), String> {
        if !matches!(
            happening,
            Happening::StoreWrites { .. }
                | Happening::StoreAside { .. }
                | Happening::StoreReplies { .. }
                | Happening::PersonLooks(_)
        ) {
            self.note(|| format!("{happening:?}"));
        }
        match happening {
            Happening::StoreWrites { start, campaign } => self.store_writes(start, campaign),
            Happening::StoreAside {
                start,
                campaign,
                asked,
            } => self.store_aside(start, campaign, asked),
            Happening::StoreReplies {
                start,
                campaign,
                reply,
            } => self.store_replies(start, campaign, reply),
            Happening::PersonLooks(person) => {
                self.plan(LOOKS_EVERY, Happening::PersonLooks(person));
                self.person_looks(person)
            }
            Happening::PersonChangesMind(person) => {
                self.plan_next(self.options.restless_every, Happening::PersonChangesMind(person));
                self.person_changes_mind(person)
            }
            Happening::LinkCut(sim_pbx) => {
                let (lasts, notice_after) = (self.draw_pause(15), self.draw_pause(2));
                self.plan(lasts, Happening::LinkRestored(sim_pbx));
                if let Some(sim_pbx) = self.pbxes.get_mut(sim_pbx) {
                    sim_pbx.cut = true;
                    sim_pbx.sim.cut_link(self.now, notice_after);
                }
                Ok(())
            }
            Happening::LinkRestored(sim_pbx) => {
                self.plan_next(self.options.cut_every, Happening::LinkCut(sim_pbx));
                self.restore_link(sim_pbx);
                Ok(())
            }
            Happening::PbxRestarts(sim_pbx) => {
                self.plan_next(self.options.restart_every, Happening::PbxRestarts(sim_pbx));
                let takes = self.draw_pause(5);
                if let Some(sim_pbx) = self.pbxes.get_mut(sim_pbx) {
                    sim_pbx.sim.restart(self.now, takes);
                }
                Ok(())
            }
            Happening::MaintenanceBegins(sim_pbx) => {
                let lasts = self.draw_pause(60);
                self.plan(lasts, Happening::MaintenanceEnds(sim_pbx));
                self.maintain(sim_pbx, true)
            }
            Happening::MaintenanceEnds(sim_pbx) => {
                self.plan_next(self.options.maintain_every, Happening::MaintenanceBegins(sim_pbx));
                self.maintain(sim_pbx, false)
            }
            Happening::PbxClosesDown(sim_pbx) => {
                let (takes, lasts) = (self.draw_pause(5), self.draw_pause(60));
                self.plan(lasts, Happening::PbxOpens(sim_pbx));
                if let Some(sim_pbx) = self.pbxes.get_mut(sim_pbx) {
                    sim_pbx.sim.restart_gracefully(self.now, takes);
                }
                Ok(())
            }
            Happening::PbxOpens(sim_pbx) => {
                self.plan_next(self.options.close_every, Happening::PbxClosesDown(sim_pbx));
                if let Some(sim_pbx) = self.pbxes.get_mut(sim_pbx) {
                    sim_pbx.sim.abort_restart(self.now);
                }
                Ok(())
            }
            Happening::Crash if self.process.is_some() => {
                self.die();
                let down = self.draw_pause(8);
                self.plan(down, Happening::Start);
                Ok(())
            }
            Happening::Drain if self.process.as_ref().is_some_and(|p| !p.draining) => self.drain(),
            Happening::Stop { start } if self.process.as_ref().is_some_and(|p| p.start == start) => {
                self.die();
                let down = self.draw_pause(3);
                self.plan(down, Happening::Start);
                Ok(())
            }
            Happening::Start if self.process.is_none() => {
                self.plan_next(self.options.crash_every, Happening::Crash);
                self.plan_next(self.options.drain_every, Happening::Drain);
                self.start()
            }
            Happening::Crash | Happening::Drain | Happening::Stop { .. } | Happening::Start => Ok(()),
            Happening::TaskStops(task) => {
                let lasts = self.draw_pause(30);
                let hang_up = happens(&mut self.rng_trouble, 0.5);
                self.plan(lasts, Happening::TaskResumes(task));
                self.set_task(task, false, Input::TaskStopped { task, hang_up })
            }
            Happening::TaskResumes(task) => {
                self.plan_next(self.options.stop_every, Happening::TaskStops(task));
                self.set_task(task, true, Input::WorkAdded)
            }
            Happening::SettingsChange(campaign) => {
                self.plan_next(self.options.settings_every, Happening::SettingsChange(campaign));
                let settings = self.draw_settings(campaign);
                self.configure(campaign, settings)
            }
            Happening::ClockJumps => {
                self.plan_next(self.options.jump_every, Happening::ClockJumps);
                self.jumped_ms += self.rng_trouble.random_range(-3_600_000..3_600_000);
                Ok(())
            }
            Happening::CampaignPauses(campaign) => {
                let lasts = self.draw_pause(30);
                self.plan(lasts, Happening::CampaignResumes(campaign));
                self.set_active(campaign, false)
            }
            Happening::CampaignResumes(campaign) => {
                self.plan_next(self.options.pause_every, Happening::CampaignPauses(campaign));
                self.set_active(campaign, true)
            }
        }
    }

    pub(super) fn restore_link(&mut self, sim_pbx: usize) {
        let listened = self.process.is_some();
        if let Some(sim_pbx) = self.pbxes.get_mut(sim_pbx) {
            sim_pbx.cut = false;
            if listened {
                sim_pbx.sim.restore_link(self.now);
            }
        }
    }

    pub(super) fn maintain(&mut self, sim_pbx: usize, on: bool) -> Result<(), String> {
        let Some(pbx) = self.pbxes.get(sim_pbx).map(|s| s.name.clone()) else {
            return Ok(());
        };
        if on {
            self.maintained.insert(pbx.clone());
        } else {
            self.maintained.remove(&pbx);
        }
        for campaign in 0..self.campaigns.len() {
            let pbx = pbx.clone();
            self.tell(campaign, Input::Maintenance { pbx, on })?;
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<(), String> {
        let Some(process) = self.process.as_mut() else {
            return Ok(());
        };
        process.draining = true;
        let start = process.start;
        self.plan(STOP_PATIENCE, Happening::Stop { start });
        for campaign in 0..self.campaigns.len() {
            self.tell(campaign, Input::Drain)?;
        }
        Ok(())
    }

    pub(super) fn set_task(&mut self, task: TaskId, running: bool, input: Input) -> Result<(), String> {
        let Some(row) = self.store.tasks.get_mut(&task) else {
            return Ok(());
        };
        row.running = running;
        let campaign = row.campaign;
        self.tell(campaign, input)
    }

    pub(super) fn set_active(&mut self, campaign: usize, active: bool) -> Result<(), String> {
        if let Some(campaign) = self.campaigns.get_mut(campaign) {
            campaign.active = active;
        }
        self.tell(campaign, Input::SetActive(active))
    }

    /// Draws other settings for a campaign: shorter times, with or without recordings, sometimes without trunks.
    fn draw_settings(&mut self, campaign: usize) -> CampaignConfig {
        let mut config = super::campaign_config(&self.options, campaign, &self.pbxes);
        let settings = &mut config.settings;
        let rng = &mut self.rng_trouble;
        let ring_timeout = settings.dialing.ring_timeout();
        settings.dialing.ring_timeout_ms = ms(ring_timeout.mul_f64(rng.random_range(0.5..1.0)));
        settings.agents.wrap_up_ms = ms(settings.agents.wrap_up().mul_f64(rng.random_range(0.0..1.0)));
        settings.recording.enabled = happens(rng, 0.5);
        if happens(&mut self.rng_trouble, 0.3) {
            config.trunks.clear();
        }
        if happens(&mut self.rng_trouble, 0.3) {
            config.settings.answering.abandon_message = None;
        }
        config.settings.pacing.mode = super::options::draw_mode(&mut self.rng_trouble);
        config
    }

    pub(super) fn configure(&mut self, campaign: usize, config: CampaignConfig) -> Result<(), String> {
        self.note(|| format!("campaign {campaign} is configured: {config:?}"));
        let now = self.now();
        if let Some(engine) = self.process.as_mut().and_then(|p| p.engines.get_mut(campaign)) {
            engine.configure(now, config.clone());
            engine.check()?;
        }
        if let Some(campaign) = self.campaigns.get_mut(campaign) {
            campaign.config = config;
        }
        Ok(())
    }

    /// The state of an agent in its engine. `None` if the engine does not know the agent or is not running.
    pub(super) fn state_of(&self, person: usize) -> Option<AgentState> {
        let person = self.people.get(person)?;
        let engine = self.process.as_ref()?.engines.get(person.campaign)?;
        let live = engine.live(self.now());
        live.agents
            .iter()
            .find(|a| a.agent == person.agent)
            .map(|a| a.state)
    }

    /// An agent who wants calls and takes none asks for them.
    fn person_looks(&mut self, person: usize) -> Result<(), String> {
        self.idleness_is_explained()?;
        let state = self.state_of(person);
        match (self.people.get(person).map(|p| p.wants), state) {
            (Some(Wish::Work), None) => {
                self.log_in(person)?;
                self.request(person, AgentRequest::Ready)
            }
            (Some(Wish::Work), Some(AgentState::Paused)) => self.request(person, AgentRequest::Ready),
            (Some(Wish::Pause), None) => self.log_in(person),
            (Some(Wish::Home), Some(_)) => self.request(person, AgentRequest::LogOut { by: Asker::Agent }),
            _ => Ok(()),
        }
    }

    /// Checks that the engine gives a reason whenever an agent is free and contacts wait, and that a campaign that does not
    /// dial keeps no leased contacts.
    fn idleness_is_explained(&self) -> Result<(), String> {
        let draining = self.process.as_ref().is_some_and(|p| p.draining);
        for engine in self.process.iter().flat_map(|p| p.engines.iter()) {
            let live = engine.live(self.now());
            let free = live
                .agents_by_state
                .get(&AgentState::Available)
                .is_some_and(|n| *n > 0);
            if free && live.hopper > 0 && live.idle.is_empty() && live.pacing.is_empty() {
                return Err(format!(
                    "an agent is free, contacts wait, and the engine gives no reason: {live:?}"
                ));
            }
            if (draining || !live.active) && live.hopper > 0 {
                return Err(format!(
                    "a campaign that does not dial keeps leased contacts: {live:?}"
                ));
            }
        }
        Ok(())
    }

    fn person_changes_mind(&mut self, person: usize) -> Result<(), String> {
        let choice = self.rng_people.random_range(0..10);
        let Some(of) = self.people.get_mut(person).filter(|_| !self.healing) else {
            return Ok(());
        };
        match choice {
            0..=1 => self.request(person, AgentRequest::HangUp),
            2..=4 => {
                of.wants = Wish::Work;
                self.log_in(person)?;
                self.request(person, AgentRequest::Ready)
            }
            5..=7 => {
                of.wants = Wish::Pause;
                self.request(person, AgentRequest::Pause)
            }
            _ => {
                of.wants = Wish::Home;
                self.request(person, AgentRequest::LogOut { by: Asker::Agent })
            }
        }
    }

    fn log_in(&mut self, person: usize) -> Result<(), String> {
        let Some(who) = self.people.get(person) else {
            return Ok(());
        };
        let (pbx, template, extension) = (who.pbx.clone(), agent_template()?, who.extension.clone());
        self.request(
            person,
            AgentRequest::LogIn {
                pbx,
                template,
                extension,
            },
        )
    }

    /// Sends an agent's request. The engine must refuse exactly the requests that it documents.
    pub(super) fn request(&mut self, person: usize, request: AgentRequest) -> Result<(), String> {
        let state = self.state_of(person);
        let Some((agent, campaign)) = self.people.get(person).map(|p| (p.agent, p.campaign)) else {
            return Ok(());
        };
        let Some(process) = &self.process else {
            return Ok(());
        };
        let draining = process.draining;
        let expected = match request {
            AgentRequest::LogIn { .. } => draining.then_some(EngineError::Draining),
            _ if state.is_none() => Some(EngineError::NotLoggedIn(agent)),
            AgentRequest::Ready => draining.then_some(EngineError::Draining),
            AgentRequest::HangUp => {
                (state != Some(AgentState::OnCall)).then_some(EngineError::NotOnCall(agent))
            }
            AgentRequest::LogOut { .. } | AgentRequest::Pause | AgentRequest::EndWrapUp => None,
        };
        let refused = self.ask(campaign, Input::Agent { agent, request })?;
        if refused == expected {
            Ok(())
        } else {
            Err(format!(
                "the engine answers agent {agent} with {refused:?} instead of {expected:?}"
            ))
        }
    }
}
