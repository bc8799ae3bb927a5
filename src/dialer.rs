//! The shell around the engines. Each campaign has a task that gives inputs to its engine and carries out the engine's
//! commands. Each PBX has a task that hands each event to the campaign that owns the leg. This module decides nothing.
//!
//! Start at [`Dialer::start`]. `dialer/campaign.rs` is the loop around one engine, `dialer/link.rs` reads the events of
//! one PBX, `dialer/routes.rs` maps each leg to its campaign, and `dialer/changes.rs` hands changes in the store to the
//! engines.

use crate::api::control::{AgentRefusal, PbxStatus};
use crate::clock::Clock;
use crate::events::Events;
use crate::metrics::{CampaignMetrics, Metrics};
use crate::pbx::{LinkStats, PbxHandle, Stamped};
use crate::store::{DialCampaign, Store, StoreError, Writer};
use changes::Changes;
use decisions::Decisions;
use opt_outs::OptOuts;
use paceline_core::campaign::CampaignState;
use paceline_core::dial::{AgentTemplate, DialRules};
use paceline_core::event::{AlarmKind, What};
use paceline_core::gate::Rulebook;
use paceline_core::ids::{AgentId, CampaignId, PbxName, TaskId};
use paceline_core::input::{AgentRequest, OpenAgent, Recovered};
use paceline_core::live::{Decision, LiveCampaign};
use paceline_core::number::E164;
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
mod control;
mod decisions;
mod lag;
mod link;
mod maintenance;
mod opt_outs;
mod routes;
mod stop;
mod stranded;
mod tell;
mod trunks;

/// Maximum number of inputs that wait for one campaign's engine. If the queue is full, the senders wait.
const INPUTS_WAITING_MAX: usize = 8192;
/// If an engine does not answer an agent's request within this time, the request fails with [`AgentRefusal::Busy`].
const REQUEST_PATIENCE: Duration = Duration::from_secs(5);

/// A configured PBX with its running driver.
#[derive(Debug)]
pub struct AttachedPbx {
    /// The name in the configuration.
    pub name: PbxName,
    /// The driver: `ari`, `esl` or `sim`.
    pub kind: &'static str,
    /// The template that makes a dial string from an agent's extension.
    pub agent_dial: AgentTemplate,
    /// The dial strings that the configuration allows for its trunks.
    pub dial_allowed: DialRules,
    /// The driver's queue of commands, its queue of events, and its counters.
    pub handle: PbxHandle,
}

/// The running dialer. All clones are the same dialer.
#[derive(Clone, Debug)]
pub struct Dialer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    writer: Writer,
    clock: Clock,
    /// The rules of regulators.
    rules: Arc<Rulebook>,
    metrics: Metrics,
    events: Events,
    /// The runtime of the engines and drivers. API requests run on other threads. An engine that a request starts must run
    /// here, because slow requests would delay its calls.
    home: Handle,
    pbxes: BTreeMap<PbxName, CampaignPbx>,
    routes: Routes,
    /// The campaign of each logged-in agent.
    agents: Mutex<BTreeMap<AgentId, CampaignId>>,
    state: Mutex<State>,
    changes: Mutex<Changes>,
    opt_outs: OptOuts,
    stopping: AtomicBool,
    /// Deadline of the requested drain. `None` if no drain was requested.
    drain_until: watch::Sender<Option<tokio::time::Instant>>,
}

/// The part of an attached PBX that campaigns use.
#[derive(Debug)]
struct CampaignPbx {
    kind: &'static str,
    agent_dial: AgentTemplate,
    dial_allowed: DialRules,
    commands: mpsc::Sender<PbxCommand>,
    stats: Arc<LinkStats>,
}

#[derive(Debug, Default)]
struct State {
    /// The campaigns whose tasks run.
    campaigns: BTreeMap<CampaignId, Running>,
    /// The PBXes whose links are up. A campaign that starts later gets them as its first inputs.
    links_up: Vec<PbxName>,
    /// The PBXes in maintenance, each with the start of its maintenance.
    maintained: BTreeMap<PbxName, Wall>,
    links: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Running {
    inputs: mpsc::Sender<CampaignInput>,
    live: watch::Receiver<Arc<LiveCampaign>>,
    decisions: Decisions,
    task: JoinHandle<()>,
}

/// An input of a campaign's task.
#[derive(Debug)]
enum CampaignInput {
    /// An event of a PBX.
    Event { pbx: PbxName, stamped: Stamped },
    /// The campaign's settings, trunks or state have changed.
    Settings(Box<DialCampaign>),
    /// A task was created, started or resumed, or contacts were given back.
    WorkAdded,
    /// A task was paused, cancelled or completed.
    TaskStopped { task: TaskId, hang_up: bool },
    /// These numbers of the campaign were put on a do-not-call list.
    OptedOut { numbers: Vec<E164> },
    /// The maintenance of a PBX began (`on`) or ended.
    Maintenance { pbx: PbxName, on: bool },
    /// `true`: the system clock has jumped and is not trusted. `false`: it is trusted again.
    ClockDoubted(bool),
    /// A request for an agent. `reply` gets the engine's answer.
    Agent {
        agent: AgentId,
        request: AgentRequest,
        reply: oneshot::Sender<Result<(), AgentRefusal>>,
    },
    /// Launch no more calls. Those that ring are served, or cancelled. Answered calls and held legs stay up.
    Stop { cancel: bool },
    /// Launch no more calls and cancel ringing ones. The task ends when no call is left and every agent is logged out.
    Drain,
    /// Hang up all calls and log out all agents.
    HangUpAll,
}

/// The dialer could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store could not read the campaigns.
    #[error("read the campaigns from the store")]
    Campaigns(#[source] StoreError),
    /// The store could not close the recordings that the last run left open.
    #[error("close recordings that the last run left open")]
    Recordings(#[source] StoreError),
    /// The store could not read which PBXes are in maintenance.
    #[error("read which PBXes are in maintenance")]
    Maintenance(#[source] StoreError),
    /// The store could not read the campaign's open attempts, its agents or its history.
    #[error("read what the last run left open in campaign `{campaign}`")]
    Recover {
        /// The campaign's name.
        campaign: String,
        /// The cause.
        #[source]
        source: StoreError,
    },
}

impl Dialer {
    /// Takes over the calls and agents that the last run left open, then starts to read the PBXes' events.
    pub async fn start(
        store: Store,
        writer: Writer,
        clock: Clock,
        rules: Arc<Rulebook>,
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
                CampaignPbx {
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
            rules,
            metrics,
            events: Events::new(clock.now().wall),
            home: Handle::current(),
            pbxes: faces,
            routes,
            agents: Mutex::default(),
            state,
            changes: Mutex::default(),
            opt_outs: OptOuts::default(),
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
        let opt_outs = tokio::spawn(opt_outs::watch(dialer.0.clone()));
        dialer.0.state().links.push(opt_outs);
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

    /// Starts a campaign's engine with the attempts and agents that the last run left open.
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
                last_call: agent.last_call,
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
            let _ = inputs.try_send(CampaignInput::Drain);
        }
        let mut state = self.0.state();
        if self.0.stopping.load(Ordering::Acquire) {
            return Ok(());
        }
        if self.0.clock.is_doubted() {
            let _ = inputs.try_send(CampaignInput::ClockDoubted(true));
        }
        for pbx in state.maintained.keys() {
            let pbx = pbx.clone();
            let _ = inputs.try_send(CampaignInput::Maintenance { pbx, on: true });
        }
        for pbx in &state.links_up {
            let event = PbxEvent::Resynchronised(Snapshot::default());
            let stamped = Stamped::now(event);
            let _ = inputs.try_send(CampaignInput::Event {
                pbx: pbx.clone(),
                stamped,
            });
        }
        let inner = self.0.clone();
        let task = tokio::spawn(async move {
            task.run(told).await;
            info!(campaign.name = %name, "campaign `{name}` has stopped");
            inner.state().campaigns.remove(&id);
            // While the process stops, its metrics stay readable until the end.
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
        drop(state);
        // The last run may have stopped before it cancelled the calls to a number that was opted out.
        self.0.opt_outs.notice();
        Ok(())
    }

    /// Hands an agent's request to the campaign's engine, and returns the engine's answer.
    ///
    /// After [`AgentRefusal::Busy`], the engine may still carry out the request.
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
        let told = CampaignInput::Agent {
            agent,
            request,
            reply,
        };
        let until = tokio::time::Instant::now() + REQUEST_PATIENCE;
        let never_told = match tokio::time::timeout_at(until, inputs.send(told)).await {
            Ok(Ok(())) => match tokio::time::timeout_at(until, answer).await {
                Ok(Ok(result)) => return result,
                // The request is still in the engine's queue, so the agent stays entered.
                Err(_) => return Err(AgentRefusal::Busy),
                Ok(Err(_)) => AgentRefusal::NotRunning,
            },
            Ok(Err(_)) => AgentRefusal::NotRunning,
            Err(_) => AgentRefusal::Busy,
        };
        // The engine never got the request, so no log-out would remove this entry.
        if is_new {
            self.0.agents().remove(&agent);
        }
        Err(never_told)
    }

    /// The campaign that the agent is logged in to. `None` if the agent is logged out.
    pub fn campaign_of(&self, agent: AgentId) -> Option<CampaignId> {
        self.0.agents().get(&agent).copied()
    }

    /// The campaign's present state, which is updated at most every 250 ms. `None` if no engine runs for it.
    pub fn live(&self, campaign: CampaignId) -> Option<Arc<LiveCampaign>> {
        self.0
            .state()
            .campaigns
            .get(&campaign)
            .map(|running| running.live.borrow().clone())
    }

    /// At most `limit` pacing decisions of the campaign, newest first. Empty if no engine runs for it.
    pub fn decisions(&self, campaign: CampaignId, limit: usize) -> Vec<Decision> {
        let state = self.0.state();
        let running = state.campaigns.get(&campaign);
        running.map_or_else(Vec::new, |running| running.decisions.latest(limit))
    }

    /// The event stream.
    pub fn events(&self) -> Events {
        self.0.events.clone()
    }

    /// Every configured PBX, by name.
    pub fn pbxes(&self) -> Vec<PbxStatus> {
        let state = self.0.state();
        let refuses = |pbx: &PbxName| {
            let mut campaigns = state.campaigns.values();
            campaigns.any(|running| running.live.borrow().full.contains(pbx))
        };
        let status = |(name, face): (&PbxName, &CampaignPbx)| PbxStatus {
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

    /// The numbers of live calls and of logged-in agents in all campaigns. A drain waits until both are 0.
    pub fn busy(&self) -> (usize, usize) {
        let state = self.0.state();
        state
            .campaigns
            .values()
            .filter(|running| !running.task.is_finished())
            .fold((0, 0), |(calls, agents), r| {
                let live = r.live.borrow();
                (
                    calls + live.attempts.values().sum::<usize>(),
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

    fn inputs_of(&self, campaign: CampaignId) -> Option<mpsc::Sender<CampaignInput>> {
        self.state()
            .campaigns
            .get(&campaign)
            .map(|running| running.inputs.clone())
    }

    /// Hands a link's event to every running campaign, and keeps the link's state for campaigns that start later.
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
                .send(CampaignInput::Event {
                    pbx: pbx.clone(),
                    stamped,
                })
                .await;
        }
    }
}

impl State {
    fn all_inputs(&self) -> Vec<mpsc::Sender<CampaignInput>> {
        self.campaigns
            .values()
            .map(|running| running.inputs.clone())
            .collect()
    }
}

impl Inner {
    fn all_inputs(&self) -> Vec<mpsc::Sender<CampaignInput>> {
        self.state().all_inputs()
    }

    /// True if the campaign may launch calls. If its settings cannot be used, it may not, and calls that are up go on.
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
