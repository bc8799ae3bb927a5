//! The loop around one engine. It gives inputs to the engine, carries out the engine's commands, and shows the engine's state.

use super::decisions::Decisions;
use super::{CampaignInput, Chain, Inner, opt_outs, tell, trunks};
use crate::api::control::AgentRefusal;
use crate::metrics::{CampaignMetrics, QueueMetrics, TrunkMetrics};
use crate::pbx::{Stamped, refusal};
use crate::store::{DialCampaign, Leased, StoreError};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use paceline_core::agent::{AgentReason, AgentState};
use paceline_core::campaign::CampaignConfig;
use paceline_core::command::{Change, Command, NewAttempt};
use paceline_core::engine::{Engine, EngineError};
use paceline_core::event::What;
use paceline_core::gate::CampaignPolicy;
use paceline_core::ids::{
    AgentId, AgentLegId, AttemptId, CampaignId, ContactId, LegId, PbxName, TaskId, TrunkId,
};
use paceline_core::input::{AgentRequest, Input, Prepared, Recovered};
use paceline_core::live::LiveCampaign;
use paceline_core::pbx::{PbxCommand, PbxEvent};
use paceline_core::time::Mono;
use paceline_runtime::wakings;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tracing::{debug, error, info, warn};

/// Minimum time between two updates of the shown state.
const SHOW_EVERY: Duration = Duration::from_millis(250);
const GIVE_BACK_RETRY_MIN: Duration = Duration::from_millis(100);
const GIVE_BACK_RETRY_MAX: Duration = Duration::from_secs(10);
/// The sleep if the engine has no timeout. Any long time works, because each input wakes the task.
const NEVER: Duration = Duration::from_secs(86_400);

/// One campaign's engine with its queues and metrics.
pub(super) struct Task {
    dialer: Arc<Inner>,
    id: CampaignId,
    name: String,
    engine: Engine,
    /// The rules of the campaign as it is now configured.
    policy: Arc<CampaignPolicy>,
    /// The sending end of the campaign's own queue, for the routes of its legs.
    inputs: mpsc::Sender<CampaignInput>,
    /// Requests to the store that have no answer yet.
    asked: FuturesUnordered<BoxFuture<'static, Input>>,
    /// Events that this task made because it could not hand a command to a PBX.
    own_events: Vec<(PbxName, PbxEvent)>,
    show: watch::Sender<Arc<LiveCampaign>>,
    metrics: CampaignMetrics,
    trunks: HashMap<TrunkId, TrunkMetrics>,
    pbx_queue: QueueMetrics,
    inputs_queue: QueueMetrics,
    /// Times of the legs, for metrics only. The engine's records decide.
    timings: HashMap<LegId, Timing>,
    stale_shown: u64,
    held_told: BTreeSet<TrunkId>,
    /// The answered leg of the present input, and the time at which the driver read the answer.
    answer: Option<(LegId, Instant)>,
    decisions: Decisions,
}

struct Timing {
    attempt: AttemptId,
    /// The event that tells of the dialing. `None` once the call is dialed.
    dialing: Option<What>,
    trunk: TrunkId,
    dialed: Mono,
    answered: Option<Instant>,
    connected: Option<Mono>,
}

impl Task {
    pub(super) fn new(
        dialer: Arc<Inner>,
        campaign: DialCampaign,
        recovered: Recovered,
        inputs: mpsc::Sender<CampaignInput>,
        show: watch::Sender<Arc<LiveCampaign>>,
        decisions: Decisions,
    ) -> Self {
        let now = dialer.clock.now();
        let metrics = dialer.metrics.campaign(&campaign.name);
        let active = dialer.is_active(&campaign, &metrics);
        let trunks = campaign
            .trunks
            .iter()
            .map(|t| (t.id, metrics.trunk(&t.name)))
            .collect();
        let timing = |attempt, trunk| Timing {
            attempt,
            dialing: None,
            trunk,
            dialed: now.mono,
            answered: None,
            connected: None,
        };
        let timings = recovered
            .attempts
            .iter()
            .map(|a| (a.leg, timing(a.attempt, a.trunk)))
            .collect();
        let usable = trunks::usable(&dialer, &campaign);
        let (id, name) = (campaign.id, campaign.name);
        let config = CampaignConfig {
            id,
            settings: campaign.settings,
            trunks: usable,
        };
        let mut engine = Engine::new(config, rand::random(), recovered, now);
        let policy = Arc::new(CampaignPolicy::new(&dialer.rules, Arc::clone(engine.config())));
        let (legs, agent_legs) = engine.owned_legs();
        for leg in legs.map(|leg| leg.0).chain(agent_legs.map(|leg| leg.0)) {
            dialer.routes.enter(leg, &inputs);
        }
        // The engine refuses only inputs about attempts and agents, so it accepts this one.
        let _ = engine.handle(now, Input::SetActive(active));
        let pbx_queue = dialer.metrics.queue("pbx_commands");
        let inputs_queue = dialer.metrics.queue("campaign_inputs");
        Self {
            dialer,
            id,
            name,
            engine,
            policy,
            inputs,
            asked: FuturesUnordered::new(),
            own_events: Vec::new(),
            show,
            metrics,
            trunks,
            pbx_queue,
            inputs_queue,
            timings,
            stale_shown: 0,
            held_told: BTreeSet::new(),
            answer: None,
            decisions,
        }
    }

    /// Runs until the engine is drained, or until the dialer aborts the task.
    pub(super) async fn run(mut self, mut told: mpsc::Receiver<CampaignInput>) {
        let mut show = wakings::ticks_together(SHOW_EVERY);
        let mut changed = true;
        self.carry_out().await;
        while !self.engine.is_drained() {
            let wake = self.engine.poll_timeout().map_or_else(
                || tokio::time::Instant::now() + NEVER,
                |at| self.dialer.clock.instant_of(at),
            );
            tokio::select! {
                biased;
                Some(input) = self.asked.next(), if !self.asked.is_empty() => self.answered_by_store(input),
                Some(one) = told.recv() => self.take(one),
                () = tokio::time::sleep_until(wake) => self.engine.handle_timeout(self.dialer.clock.now()),
                _ = show.tick(), if changed => {
                    self.draw();
                    changed = false;
                    continue;
                }
            }
            changed = true;
            self.carry_out().await;
        }
        self.draw();
    }

    fn take(&mut self, told: CampaignInput) {
        match told {
            CampaignInput::Event { pbx, stamped } => self.event(pbx, stamped),
            CampaignInput::Settings(campaign) => self.settings(*campaign),
            CampaignInput::ClockDoubted(doubted) => self.feed(Input::ClockDoubted(doubted)),
            CampaignInput::WorkAdded => self.feed(Input::WorkAdded),
            CampaignInput::OptedOut { numbers } => self.feed(Input::OptedOut { numbers }),
            CampaignInput::Maintenance { pbx, on } => self.feed(Input::Maintenance { pbx, on }),
            CampaignInput::TaskStopped { task, hang_up } => self.feed(Input::TaskStopped { task, hang_up }),
            CampaignInput::Agent {
                agent,
                request,
                reply,
            } => {
                let logs_in = matches!(request, AgentRequest::LogIn { .. });
                let result = self
                    .engine
                    .handle(self.dialer.clock.now(), Input::Agent { agent, request });
                if logs_in && matches!(result, Err(EngineError::Draining)) {
                    self.dialer.agents().remove(&agent);
                }
                // The requester may have stopped waiting.
                let _ = reply.send(result.map_err(AgentRefusal::Engine));
            }
            CampaignInput::Stop { cancel } => self.feed(Input::Stop { cancel }),
            CampaignInput::Drain => self.feed(Input::Drain),
            CampaignInput::HangUpAll => self.feed(Input::HangUpAll),
        }
    }

    fn feed(&mut self, input: Input) {
        if let Err(err) = self.engine.handle(self.dialer.clock.now(), input) {
            self.metrics.illegal.inc();
            error!(campaign.name = %self.name, error = %err, "campaign `{}` got an input that is not allowed in its state; report this as a bug", self.name);
        }
    }

    fn answered_by_store(&mut self, input: Input) {
        if let Input::Prepared { attempt, result } = &input {
            match result {
                Prepared::Allowed => {
                    self.metrics.attempts.inc();
                }
                Prepared::Refused | Prepared::Failed => self.timings.retain(|_, t| t.attempt != *attempt),
            }
        }
        self.feed(input);
    }

    fn event(&mut self, pbx: PbxName, stamped: Stamped) {
        let now = self.dialer.clock.now().mono;
        match stamped.event {
            PbxEvent::Answered { leg } => {
                self.answer = Some((leg, stamped.read_at));
                if let Some(timing) = self.timings.get_mut(&leg).filter(|t| t.answered.is_none()) {
                    self.metrics.ring_duration.observe(now.since(timing.dialed));
                    timing.answered = Some(stamped.read_at);
                }
            }
            PbxEvent::Connected { leg, .. } => {
                if let Some(timing) = self.timings.get_mut(&leg).filter(|t| t.connected.is_none()) {
                    timing.connected = Some(now);
                    if let Some(answered) = timing.answered {
                        self.metrics
                            .answer_to_connected
                            .observe(stamped.read_at.duration_since(answered));
                    }
                }
            }
            _ => {}
        }
        let ago = stamped.ago + stamped.read_at.elapsed();
        self.feed(Input::Pbx {
            pbx,
            ago: self.dialer.clock.passed_in(ago),
            event: stamped.event,
        });
    }

    fn settings(&mut self, campaign: DialCampaign) {
        let active = self.dialer.is_active(&campaign, &self.metrics);
        for trunk in &campaign.trunks {
            self.trunks
                .entry(trunk.id)
                .or_insert_with(|| self.metrics.trunk(&trunk.name));
        }
        let (trunks, timings) = (&campaign.trunks, &self.timings);
        let used = |id| trunks.iter().any(|t| t.id == id) || timings.values().any(|t| t.trunk == id);
        for (_, gone) in self.trunks.extract_if(|id, _| !used(*id)) {
            self.dialer.metrics.forget_trunk(&self.name, &gone);
        }
        let usable = trunks::usable(&self.dialer, &campaign);
        let config = CampaignConfig {
            id: campaign.id,
            settings: campaign.settings,
            trunks: usable,
        };
        self.engine.configure(self.dialer.clock.now(), config);
        let config = Arc::clone(self.engine.config());
        self.policy = Arc::new(CampaignPolicy::new(&self.dialer.rules, config));
        self.feed(Input::SetActive(active));
        // New calling hours can make contacts due. So can a pause and an activation that arrive as one change.
        self.feed(Input::WorkAdded);
    }

    async fn carry_out(&mut self) {
        loop {
            while let Some(command) = self.engine.next_command() {
                match command {
                    Command::Pbx { pbx, command } => self.tell(pbx, command),
                    Command::Store(change) => self.store(change).await,
                    Command::Prepare(new) => self.prepare(new).await,
                    Command::Refill { limit } => self.refill(limit),
                    Command::Return { contacts } => self.give_back(contacts),
                    Command::OptOut { attempt, number, at } => {
                        tokio::spawn(opt_outs::store(self.dialer.clone(), attempt, number, at));
                    }
                    Command::AgentIs { agent, state, reason } => self.agent_is(agent, state, reason),
                    Command::Paced { pbx, report } => {
                        self.metrics.pacing.count(&pbx, &report);
                        self.decisions.keep(self.dialer.clock.now().wall, pbx, *report);
                    }
                }
            }
            self.answer = None;
            if self.own_events.is_empty() {
                return;
            }
            for (pbx, event) in std::mem::take(&mut self.own_events) {
                self.feed(Input::Pbx {
                    pbx,
                    ago: Duration::ZERO,
                    event,
                });
            }
        }
    }

    fn tell(&mut self, pbx: PbxName, command: PbxCommand) {
        let answered = match &command {
            PbxCommand::CallContact { leg, .. } => {
                self.dialer.routes.enter(leg.0, &self.inputs);
                if let Some(what) = self.timings.get_mut(leg).and_then(|timing| timing.dialing.take()) {
                    self.show_event(what);
                }
                None
            }
            PbxCommand::CallAgent { leg, .. } => {
                self.dialer.routes.enter(leg.0, &self.inputs);
                None
            }
            PbxCommand::Connect { leg, .. } => self.answer.filter(|(answered, _)| answered == leg),
            _ => None,
        };
        let sent = match self.dialer.pbxes.get(&pbx) {
            Some(face) => face
                .commands
                .try_send(command)
                .map_err(mpsc::error::TrySendError::into_inner),
            None => Err(command),
        };
        match (sent, answered) {
            (Ok(()), Some((_, read_at))) => self.metrics.answer_to_connect_command.observe(read_at.elapsed()),
            (Ok(()), None) => {}
            (Err(command), _) => self.not_told(pbx, command),
        }
    }

    fn show_event(&self, what: What) {
        let now = self.dialer.clock.now().wall;
        self.dialer.events.tell(now, Some(self.id), what);
    }

    fn tell_held(&mut self, held: &BTreeSet<TrunkId>) {
        for trunk in held.symmetric_difference(&self.held_told) {
            let what = What::Trunk {
                trunk: *trunk,
                held: held.contains(trunk),
            };
            self.show_event(what);
        }
        self.held_told.clone_from(held);
    }

    /// The PBX's queue is full, or the PBX is not configured, so the command had no effect. The engine gets the event of a
    /// refused command. Hang-ups have no such event, and the engine sends them again later.
    fn not_told(&mut self, pbx: PbxName, command: PbxCommand) {
        self.pbx_queue.dropped.inc();
        if let PbxCommand::CallContact { leg: LegId(leg), .. }
        | PbxCommand::CallAgent {
            leg: AgentLegId(leg), ..
        } = &command
        {
            self.dialer.routes.ended(*leg);
        }
        if let Some(event) = refusal(&command, "no room in the queue to the PBX") {
            self.own_events.push((pbx, event));
        }
    }

    async fn store(&mut self, change: Change) {
        if let Change::AttemptEnded { leg, outcome, .. } = &change
            && let Some(timing) = self.timings.remove(leg)
        {
            if let Some(trunk) = self.trunks.get(&timing.trunk) {
                trunk.ended(*outcome);
            }
            if let Some(connected) = timing.connected {
                self.metrics
                    .talk_duration
                    .observe(self.dialer.clock.now().mono.since(connected));
            }
        }
        if let Change::Messaged { result, .. } = &change {
            self.metrics.messaged(*result);
        }
        if let Change::Agent {
            agent,
            state: AgentState::Offline,
            ..
        } = &change
        {
            self.dialer.agents().remove(agent);
        }
        if let Some((at, what)) = tell::change(&change) {
            self.dialer.events.tell(at, Some(self.id), what);
        }
        self.dialer.writer.change(self.id, change).await;
    }

    fn agent_is(&self, agent: AgentId, state: AgentState, reason: AgentReason) {
        self.metrics.agent_is(state, reason);
        let what = What::Agent { agent, state, reason };
        self.show_event(what);
        if reason.is_trouble() {
            info!(campaign.name = %self.name, agent.id = %agent, %state, %reason, "agent {agent} is {state}: {reason}");
        } else {
            debug!(campaign.name = %self.name, agent.id = %agent, %state, %reason, "agent {agent} is {state}: {reason}");
        }
    }

    async fn prepare(&mut self, new: NewAttempt) {
        let attempt = new.attempt;
        let dialed = self.dialer.clock.now().mono;
        let timing = Timing {
            attempt,
            dialing: Some(tell::dialing(&new)),
            trunk: new.trunk,
            dialed,
            answered: None,
            connected: None,
        };
        self.timings.insert(new.leg, timing);
        let pending = self.dialer.writer.prepare(new, Arc::clone(&self.policy)).await;
        self.asked.push(Box::pin(async move {
            Input::Prepared {
                attempt,
                result: pending.await,
            }
        }));
    }

    fn refill(&mut self, limit: usize) {
        let (dialer, policy) = (self.dialer.clone(), Arc::clone(&self.policy));
        let (name, inputs) = (self.name.clone(), self.inputs.clone());
        self.asked.push(Box::pin(async move {
            let now = dialer.clock.now().wall;
            match dialer.store.lease(&policy, limit, now).await {
                Ok(Leased { leads, next_due, .. }) => Input::Leads { leads, next_due },
                Err(err) => {
                    warn!(campaign.name = %name, error = %Chain(&err), "no contacts could be leased for `{name}`; trying again");
                    if let StoreError::Lease { in_doubt, .. } = err
                        && !in_doubt.is_empty()
                    {
                        tokio::spawn(give_back(dialer, name, inputs, in_doubt));
                    }
                    Input::RefillFailed
                }
            }
        }));
    }

    fn give_back(&mut self, contacts: Vec<(TaskId, ContactId)>) {
        let (dialer, name, inputs) = (self.dialer.clone(), self.name.clone(), self.inputs.clone());
        tokio::spawn(give_back(dialer, name, inputs, contacts));
    }

    fn draw(&mut self) {
        let live = self.engine.live(self.dialer.clock.now());
        self.metrics.show(&live);
        let waiting = self.inputs.max_capacity().saturating_sub(self.inputs.capacity());
        self.inputs_queue
            .depth
            .set(i64::try_from(waiting).unwrap_or(i64::MAX));
        let waiting = self.dialer.pbxes.values().map(|face| {
            face.commands
                .max_capacity()
                .saturating_sub(face.commands.capacity())
        });
        self.pbx_queue
            .depth
            .set(i64::try_from(waiting.sum::<usize>()).unwrap_or(i64::MAX));
        let stale = self.engine.counts().stale;
        self.dialer
            .metrics
            .stale()
            .inc_by(stale.saturating_sub(self.stale_shown));
        self.stale_shown = stale;
        self.tell_held(&live.trunks_held);
        self.tell_refusals(&live);
        self.tell_warnings(&live);
        self.show.send_replace(Arc::new(live));
    }

    /// Logs each PBX that begins to refuse new calls, and each that accepts them again.
    fn tell_refusals(&self, live: &LiveCampaign) {
        let shown = self.show.borrow();
        for pbx in live.full.iter().filter(|pbx| !shown.full.contains(pbx)) {
            warn!(pbx.name = %pbx, campaign.name = %self.name, "`{pbx}` refuses new calls, so only one at a time is sent: it has no free channel, is \
                paused, or shuts down gracefully. Held legs of agents keep it from restarting: POST /api/v1/pbxes/{pbx}/maintenance \
                releases them");
        }
        for pbx in shown.full.iter().filter(|pbx| !live.full.contains(pbx)) {
            info!(pbx.name = %pbx, campaign.name = %self.name, "`{pbx}` accepts calls again");
        }
    }

    /// Logs the beginning and the end of each warning, and raises an alarm at the beginning.
    fn tell_warnings(&self, live: &LiveCampaign) {
        let (name, shown) = (&self.name, self.show.borrow());
        for warning in live.warnings.iter().filter(|w| !shown.warnings.contains(w)) {
            if let Some((alarm, text)) = tell::warning(*warning, name) {
                warn!(campaign.name = %name, "{text}");
                self.show_event(What::Alarm { alarm, text });
            }
        }
        for warning in shown.warnings.iter().filter(|w| !live.warnings.contains(w)) {
            info!(campaign.name = %name, %warning, "what was warned of in campaign `{name}` is over: {warning}");
        }
    }
}

/// Gives contacts back to the store, and retries until the store accepts them. If the process stops first, the next start
/// gives them back.
async fn give_back(
    dialer: Arc<Inner>,
    name: String,
    inputs: mpsc::Sender<CampaignInput>,
    contacts: Vec<(TaskId, ContactId)>,
) {
    let mut delay = GIVE_BACK_RETRY_MIN;
    while let Err(err) = dialer.store.give_back(&contacts, dialer.clock.now().wall).await {
        warn!(campaign.name = %name, error = %Chain(&err), "{} contacts of `{name}` could not be given back; trying again", contacts.len());
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(GIVE_BACK_RETRY_MAX);
    }
    // A lease in the meantime may have found no contacts, so the engine must ask again. If the send fails, the campaign has
    // stopped.
    let _ = inputs.send(CampaignInput::WorkAdded).await;
}
