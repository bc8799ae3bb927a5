//! The shell around the engines: one task a campaign feeds its engine and carries out its commands; one task a PBX
//! hands events to the campaign that owns the leg. Nothing is decided here.
//!
//! Start at [`Dialer::start`]. `dialer/campaign.rs` is the loop around one engine, `dialer/link.rs` the reading end of
//! one PBX, `dialer/routes.rs` who owns which leg, `dialer/changes.rs` how what has changed in the store gets there.

use crate::api::control::{AgentRefusal, PbxStatus};
use crate::clock::Clock;
use crate::events::Events;
use crate::metrics::{CampaignMetrics, Metrics};
use crate::pbx::{LinkStats, PbxHandle, Stamped};
use crate::store::{DialCampaign, Store, StoreError, Writer};
use changes::Changes;
use decisions::Decisions;
use futures_util::future::BoxFuture;
use paceline_core::campaign::CampaignState;
use paceline_core::dial::{AgentTemplate, DialRules};
use paceline_core::event::{AlarmKind, What};
use paceline_core::ids::{AgentId, CampaignId, PbxName, TaskId};
use paceline_core::input::{AgentRequest, OpenAgent, Recovered};
use paceline_core::live::{Decision, LiveCampaign};
use paceline_core::pbx::{PbxCommand, PbxEvent, Snapshot};
use paceline_core::time::Wall;
use routes::Routes;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{error, info};

mod campaign;
mod changes;
mod decisions;
mod lag;
mod link;
mod maintenance;
mod routes;
mod stop;
mod stranded;
mod tell;
mod trunks;

/// Inputs that may wait for one campaign's engine; past that the PBX's events wait too.
const INPUTS_WAITING_MAX: usize = 8192;
/// An engine that does not take an agent's request within this is busy.
const REQUEST_PATIENCE: Duration = Duration::from_secs(5);

/// A configured PBX with its running driver.
#[derive(Debug)]
pub struct AttachedPbx {
    /// As configured.
    pub name: PbxName,
    /// How it is attached: `ari`, `sim`.
    pub kind: &'static str,
    /// How agents' phones are reached there.
    pub agent_dial: AgentTemplate,
    /// What its trunks may lead to.
    pub dial_allowed: DialRules,
    /// Both ends of the driver.
    pub handle: PbxHandle,
}

/// The running dialer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Dialer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    writer: Writer,
    clock: Clock,
    metrics: Metrics,
    events: Events,
    /// Where engines and drivers run. The API calls from threads of its own, on which none of them may end up.
    home: Handle,
    pbxes: BTreeMap<PbxName, PbxFace>,
    routes: Routes,
    /// Where each logged-in agent works.
    agents: Mutex<BTreeMap<AgentId, CampaignId>>,
    state: Mutex<State>,
    changes: Mutex<Changes>,
    stopping: AtomicBool,
    /// Until when a drain that was asked for may last.
    drain_until: watch::Sender<Option<tokio::time::Instant>>,
}

/// What a campaign needs of a PBX.
#[derive(Debug)]
struct PbxFace {
    kind: &'static str,
    agent_dial: AgentTemplate,
    dial_allowed: DialRules,
    commands: mpsc::Sender<PbxCommand>,
    stats: Arc<LinkStats>,
}

#[derive(Debug, Default)]
struct State {
    /// Until their tasks end.
    campaigns: BTreeMap<CampaignId, Running>,
    /// PBXes that are resynchronised, for campaigns that start later.
    links_up: Vec<PbxName>,
    /// PBXes in maintenance, and since when.
    maintained: BTreeMap<PbxName, Wall>,
    links: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Running {
    inputs: mpsc::Sender<Told>,
    live: watch::Receiver<Arc<LiveCampaign>>,
    decisions: Decisions,
    task: JoinHandle<()>,
}

/// What a campaign's task is told.
#[derive(Debug)]
enum Told {
    /// By a PBX.
    Event { pbx: PbxName, stamped: Stamped },
    /// Settings, trunks or state have changed.
    Settings(Box<DialCampaign>),
    /// Work was added: a task was created, started or resumed.
    WorkAdded,
    /// A task was paused, cancelled or completed.
    TaskStopped { task: TaskId, hang_up: bool },
    /// A PBX is in maintenance, or is no more.
    Maintenance { pbx: PbxName, on: bool },
    /// The system's clock has jumped and is not believed, or is believed again.
    ClockDoubted(bool),
    /// By or for an agent.
    Agent {
        agent: AgentId,
        request: AgentRequest,
        reply: oneshot::Sender<Result<(), AgentRefusal>>,
    },
    /// Stop launching; what is up stays up.
    Stop,
    /// Stop launching; end once nothing is left.
    Drain,
    /// Hang up whatever is still up.
    HangUpAll,
}

/// The dialer could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The campaigns could not be read.
    #[error("read the campaigns from the store")]
    Campaigns(#[source] StoreError),
    /// Recordings that a former run left open could not be closed.
    #[error("close recordings that the last run left open")]
    Recordings(#[source] StoreError),
    /// Which PBXes are in maintenance could not be read.
    #[error("read which PBXes are in maintenance")]
    Maintenance(#[source] StoreError),
    /// What a former run left open could not be read.
    #[error("read what the last run left open in campaign `{campaign}`")]
    Recover {
        /// Its name.
        campaign: String,
        /// The cause.
        #[source]
        source: StoreError,
    },
}

impl Dialer {
    /// Takes over what a former run left open, then starts listening to the PBXes.
    pub async fn start(
        store: Store,
        writer: Writer,
        clock: Clock,
        metrics: Metrics,
        pbxes: Vec<AttachedPbx>,
    ) -> Result<Self, StartError> {
        let mut faces = BTreeMap::new();
        let mut events = Vec::new();
        for pbx in pbxes {
            metrics.watch_link(&pbx.name, pbx.handle.stats.clone());
            metrics.maintained(&pbx.name, false);
            events.push((pbx.name.clone(), pbx.handle.events));
            let commands = pbx.handle.commands;
            let (kind, agent_dial, stats) = (pbx.kind, pbx.agent_dial, pbx.handle.stats);
            faces.insert(
                pbx.name,
                PbxFace {
                    kind,
                    agent_dial,
                    dial_allowed: pbx.dial_allowed,
                    commands,
                    stats,
                },
            );
        }
        let (routes, state) = (Routes::default(), Mutex::new(State::default()));
        let stopping = AtomicBool::new(false);
        let inner = Inner {
            store,
            writer,
            clock,
            metrics,
            events: Events::new(clock.now().wall),
            home: Handle::current(),
            pbxes: faces,
            routes,
            agents: Mutex::default(),
            state,
            changes: Mutex::default(),
            stopping,
            drain_until: watch::Sender::new(None),
        };
        let dialer = Self(Arc::new(inner));
        let now = dialer.0.clock.now().wall;
        let closed = dialer.0.store.close_recordings(now).await;
        let closed = closed.map_err(StartError::Recordings)?;
        if closed > 0 {
            info!("{closed} recordings of the last run have no known end and count as failed");
        }
        let maintained = dialer.0.store.maintained().await;
        dialer
            .0
            .maintain(maintained.map_err(StartError::Maintenance)?)
            .await;
        for campaign in dialer
            .0
            .store
            .dial_campaigns()
            .await
            .map_err(StartError::Campaigns)?
        {
            dialer.run_campaign(campaign).await?;
        }
        for (pbx, events) in events {
            let task = tokio::spawn(link::run(dialer.0.clone(), pbx, events));
            dialer.0.state().links.push(task);
        }
        let lag = tokio::spawn(lag::watch(dialer.0.clone()));
        dialer.0.state().links.push(lag);
        Ok(dialer)
    }

    /// Starts a campaign's engine with whatever a former run left open.
    async fn run_campaign(&self, campaign: DialCampaign) -> Result<(), StartError> {
        let now = self.0.clock.now();
        let recovery = self.0.store.recover(campaign.id, now.wall).await;
        let recovery = recovery.map_err(|source| StartError::Recover {
            campaign: campaign.name.clone(),
            source,
        })?;
        if !recovery.attempts.is_empty() || !recovery.agents.is_empty() {
            info!(
                campaign.name = %campaign.name,
                attempts = recovery.attempts.len(),
                agents = recovery.agents.len(),
                "taking over the calls and agents of the last run in `{}`", campaign.name
            );
        }
        let recovery = self.settle_stranded(campaign.id, recovery, now.wall).await;
        let learnt = self.0.store.pacing_learnt(campaign.id).await;
        let learnt = learnt.map_err(|source| StartError::Recover {
            campaign: campaign.name.clone(),
            source,
        })?;
        let rules = &campaign.settings.pacing.abandon_rules;
        let answers = self.0.store.answers(campaign.id, rules, now.wall).await;
        let answers = answers.map_err(|source| StartError::Recover {
            campaign: campaign.name.clone(),
            source,
        })?;
        let (id, name) = (campaign.id, campaign.name.clone());
        let campaign_is_over = campaign.state == CampaignState::Archived;
        let mut agents = Vec::new();
        for agent in recovery.agents {
            let Some(face) = self.0.pbxes.get(&agent.pbx) else {
                continue;
            };
            self.0.agents().insert(agent.agent, id);
            agents.push(OpenAgent {
                agent: agent.agent,
                pbx: agent.pbx,
                template: face.agent_dial.clone(),
                extension: agent.extension,
                leg: agent.leg,
                wants: agent.wants,
            });
        }
        let recovered = Recovered {
            attempts: recovery.attempts,
            agents,
            learnt,
            answers,
        };
        let (inputs, told) = mpsc::channel(INPUTS_WAITING_MAX);
        let (show, live) = watch::channel(Arc::default());
        let decisions = Decisions::default();
        let told_decisions = decisions.clone();
        let task = campaign::Task::new(
            self.0.clone(),
            campaign,
            recovered,
            inputs.clone(),
            show,
            decisions,
        );
        if campaign_is_over {
            // The channel is new and empty.
            let _ = inputs.try_send(Told::Drain);
        }
        let mut state = self.0.state();
        if self.0.stopping.load(Ordering::Acquire) {
            return Ok(());
        }
        if self.0.clock.is_doubted() {
            let _ = inputs.try_send(Told::ClockDoubted(true));
        }
        for pbx in state.maintained.keys() {
            let pbx = pbx.clone();
            let _ = inputs.try_send(Told::Maintenance { pbx, on: true });
        }
        for pbx in &state.links_up {
            let event = PbxEvent::Resynchronised(Snapshot::default());
            let stamped = Stamped::now(event);
            let _ = inputs.try_send(Told::Event {
                pbx: pbx.clone(),
                stamped,
            });
        }
        let inner = self.0.clone();
        let task = tokio::spawn(async move {
            task.run(told).await;
            info!(campaign.name = %name, "campaign `{name}` has stopped");
            inner.state().campaigns.remove(&id);
            // At the end of the process they are still looked at.
            if !inner.stopping.load(Ordering::Acquire) {
                inner.metrics.forget(&name);
            }
        });
        let decisions = told_decisions;
        state.campaigns.insert(
            id,
            Running {
                inputs,
                live,
                decisions,
                task,
            },
        );
        Ok(())
    }

    /// Hands an agent's request to the campaign's engine.
    pub async fn agent(
        &self,
        campaign: CampaignId,
        agent: AgentId,
        request: AgentRequest,
    ) -> Result<(), AgentRefusal> {
        let comes_to_work = matches!(request, AgentRequest::LogIn { .. } | AgentRequest::Ready);
        if comes_to_work && self.0.stopping.load(Ordering::Acquire) {
            return Err(AgentRefusal::Stopping);
        }
        let inputs = self.0.inputs_of(campaign).ok_or(AgentRefusal::NotRunning)?;
        let mut is_new = false;
        if matches!(request, AgentRequest::LogIn { .. }) {
            let mut agents = self.0.agents();
            match agents.get(&agent) {
                Some(other) if *other != campaign => return Err(AgentRefusal::LoggedInElsewhere(*other)),
                Some(_) => {}
                None => is_new = agents.insert(agent, campaign).is_none(),
            }
        }
        let (reply, answer) = oneshot::channel();
        let told = Told::Agent {
            agent,
            request,
            reply,
        };
        let until = tokio::time::Instant::now() + REQUEST_PATIENCE;
        let never_told = match tokio::time::timeout_at(until, inputs.send(told)).await {
            Ok(Ok(())) => match tokio::time::timeout_at(until, answer).await {
                Ok(Ok(result)) => return result,
                // The engine has it still, and keeps the agent.
                Err(_) => return Err(AgentRefusal::Busy),
                Ok(Err(_)) => AgentRefusal::NotRunning,
            },
            Ok(Err(_)) => AgentRefusal::NotRunning,
            Err(_) => AgentRefusal::Busy,
        };
        // Nobody would ever log this agent out.
        if is_new {
            self.0.agents().remove(&agent);
        }
        Err(never_told)
    }

    /// Where the agent is logged in, if so.
    pub fn campaign_of(&self, agent: AgentId) -> Option<CampaignId> {
        self.0.agents().get(&agent).copied()
    }

    /// The campaign at this moment; `None` where no engine runs for it.
    pub fn live(&self, campaign: CampaignId) -> Option<Arc<LiveCampaign>> {
        self.0
            .state()
            .campaigns
            .get(&campaign)
            .map(|running| running.live.borrow().clone())
    }

    /// The latest pacing decisions of the campaign, newest first.
    pub fn decisions(&self, campaign: CampaignId, limit: usize) -> Vec<Decision> {
        let state = self.0.state();
        let running = state.campaigns.get(&campaign);
        running.map_or_else(Vec::new, |running| running.decisions.latest(limit))
    }

    /// Every configured PBX, by name.
    pub fn pbxes(&self) -> Vec<PbxStatus> {
        let state = self.0.state();
        let refuses = |pbx: &PbxName| {
            let mut campaigns = state.campaigns.values();
            campaigns.any(|running| running.live.borrow().full.contains(pbx))
        };
        let status = |(name, face): (&PbxName, &PbxFace)| PbxStatus {
            name: name.clone(),
            kind: face.kind,
            connected: face.stats.connected.load(Ordering::Acquire),
            version: face.stats.version(),
            maintenance_since: state.maintained.get(name).copied(),
            refuses_calls: refuses(name),
            agent_dial: face.agent_dial.clone(),
            dial_allowed: face.dial_allowed.clone(),
        };
        self.0.pbxes.iter().map(status).collect()
    }

    /// Live calls and logged-in agents over all campaigns: what a graceful stop waits for.
    pub fn busy(&self) -> (usize, usize) {
        let state = self.0.state();
        state
            .campaigns
            .values()
            .filter(|running| !running.task.is_finished())
            .fold((0, 0), |(calls, agents), r| {
                let live = r.live.borrow();
                (
                    calls + live.calls.values().sum::<usize>(),
                    agents + live.agents.len(),
                )
            })
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn agents(&self) -> MutexGuard<'_, BTreeMap<AgentId, CampaignId>> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inputs_of(&self, campaign: CampaignId) -> Option<mpsc::Sender<Told>> {
        self.state()
            .campaigns
            .get(&campaign)
            .map(|running| running.inputs.clone())
    }

    /// Remembers a link's state for campaigns to come, and hands its event to every campaign that is there.
    async fn tell_all(&self, pbx: &PbxName, stamped: Stamped) {
        let all: Vec<_> = {
            let mut state = self.state();
            state.links_up.retain(|name| name != pbx);
            if matches!(stamped.event, PbxEvent::Resynchronised(_)) {
                state.links_up.push(pbx.clone());
            }
            state.all_inputs()
        };
        for inputs in all {
            let stamped = Stamped {
                event: stamped.event.clone(),
                read_at: stamped.read_at,
                ago: stamped.ago,
            };
            let _ = inputs
                .send(Told::Event {
                    pbx: pbx.clone(),
                    stamped,
                })
                .await;
        }
    }
}

impl crate::api::control::Dialer for Dialer {
    fn campaign_changed(&self, campaign: CampaignId) -> BoxFuture<'_, ()> {
        Box::pin(self.campaign_changed(campaign))
    }

    fn task_changed(&self, campaign: CampaignId, task: TaskId) -> BoxFuture<'_, ()> {
        Box::pin(self.task_changed(campaign, task))
    }

    fn agent(
        &self,
        campaign: CampaignId,
        agent: AgentId,
        request: AgentRequest,
    ) -> BoxFuture<'_, Result<(), AgentRefusal>> {
        Box::pin(self.agent(campaign, agent, request))
    }

    fn campaign_of(&self, agent: AgentId) -> Option<CampaignId> {
        self.campaign_of(agent)
    }

    fn live(&self, campaign: CampaignId) -> Option<Arc<LiveCampaign>> {
        self.live(campaign)
    }

    fn decisions(&self, campaign: CampaignId, limit: usize) -> Vec<Decision> {
        self.decisions(campaign, limit)
    }

    fn drain(&self, within: Duration) -> Duration {
        self.ask_to_drain(within)
    }

    fn maintenance_changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.maintenance_changed())
    }

    fn pbxes(&self) -> Vec<PbxStatus> {
        self.pbxes()
    }

    fn events(&self) -> Events {
        self.0.events.clone()
    }
}

impl State {
    fn all_inputs(&self) -> Vec<mpsc::Sender<Told>> {
        self.campaigns
            .values()
            .map(|running| running.inputs.clone())
            .collect()
    }
}

impl Inner {
    fn all_inputs(&self) -> Vec<mpsc::Sender<Told>> {
        self.state().all_inputs()
    }

    /// Whether calls may be launched. Without settings that can be used none are; calls that are up go on.
    fn is_active(&self, campaign: &DialCampaign, metrics: &CampaignMetrics) -> bool {
        metrics.settings_unusable.set(i64::from(campaign.fault.is_some()));
        if let Some(fault) = &campaign.fault {
            let name = &campaign.name;
            error!(campaign.name = %name, "nothing is dialed for campaign `{name}`: {fault}");
            let alarm = What::Alarm {
                alarm: AlarmKind::SettingsUnusable,
                text: format!("Nothing is dialed for campaign `{name}`: {fault}."),
            };
            self.events.tell(self.clock.now().wall, Some(campaign.id), alarm);
        }
        campaign.state == CampaignState::Active && campaign.fault.is_none()
    }
}

/// An error with all its sources, on one line.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(err) = source {
            write!(f, ": {err}")?;
            source = err.source();
        }
        Ok(())
    }
}
