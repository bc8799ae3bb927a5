//! The metrics for Prometheus. They are typed families with handles for each label set, so that the hot paths look up no
//! labels.
//!
//! Labels are campaign, trunk, PBX, queue and closed sets of words, but never a number, a contact or a call. Names follow
//! Prometheus: base units, `_total`, and sums over labels are meaningful. Start at [`Metrics`].

mod collect;
mod jobs;
mod ledger;
mod names;
mod outside;
mod pacing;
mod page;
mod register;
mod suppression;
mod text;

pub use ledger::LedgerMetrics;

use collect::Links;
use jobs::JobLabel;
use names::label;
pub use outside::OutsideMetrics;
use paceline_core::agent::{AgentReason, AgentState};
use paceline_core::ids::PbxName;
use paceline_core::live::{AttemptPhase, LiveCampaign};
use paceline_core::outcome::{MessageResult, Outcome};
use paceline_pbx::LinkStats;
use paceline_runtime::metrics::sub_second;
pub use paceline_runtime::metrics::{QueueMetrics, Seconds};
use paceline_store::{GateLabels, StoreMetrics};
use pacing::PacingFamilies;
pub use pacing::PacingMetrics;
pub use page::Page;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// All metrics of this process. All clones count into the same registry.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    attempts: Family<CampaignLabel, Counter>,
    outcomes: Family<OutcomeLabels, Counter>,
    messages: Family<MessageLabels, Counter>,
    agent_changes: Family<AgentChangeLabels, Counter>,
    in_progress: Family<PhaseLabels, Gauge>,
    agents: Family<StateLabels, Gauge>,
    hopper: Family<CampaignLabel, Gauge>,
    settings_unusable: Family<CampaignLabel, Gauge>,
    illegal: Family<CampaignLabel, Counter>,
    stale: Counter,
    gate_decisions: Family<GateLabels, Counter>,
    queue_depth: Family<QueueLabel, Gauge>,
    queue_dropped: Family<QueueLabel, Counter>,
    queue_stalls: Family<QueueLabel, Counter>,
    job_failures: Family<JobLabel, Counter>,
    job_stuck: Family<JobLabel, Gauge>,
    answer_to_connect_command: Family<CampaignLabel, Histogram, Buckets>,
    answer_to_connected: Family<CampaignLabel, Histogram, Buckets>,
    ring: Family<CampaignLabel, Histogram, Buckets>,
    talk: Family<CampaignLabel, Histogram, Buckets>,
    store_commit: Histogram,
    store_failing: Gauge,
    ledger: LedgerMetrics,
    clock_doubted: Gauge,
    dialer_lag: Histogram,
    pbx_maintenance: Family<PbxLabel, Gauge>,
    outside: OutsideMetrics,
    suppression_age: Family<ListLabel, Gauge>,
    suppression_numbers: Family<ListLabel, Gauge>,
    api_requests: Family<RequestLabels, Counter>,
    api_durations: Family<MethodLabel, Histogram, Buckets>,
    pacing: PacingFamilies,
    links: Links,
    /// The handles of each campaign, which [`Metrics::glance`] adds up.
    campaigns: Mutex<BTreeMap<String, CampaignMetrics>>,
    /// The counters of ended campaigns.
    over: Mutex<Over>,
}

#[derive(Debug, Default)]
struct Over {
    attempts: u64,
    outcomes: BTreeMap<Outcome, u64>,
}

/// The totals of all campaigns at one moment, for the live display.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Glance {
    /// Attempts stored since the start.
    pub attempts: u64,
    /// Attempts ended since the start, by outcome. Outcomes that did not occur are missing.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Present attempts by phase. Phases without any are missing.
    pub in_progress: BTreeMap<AttemptPhase, i64>,
    /// Agents logged in, by state. States without any are missing.
    pub agents: BTreeMap<AgentState, i64>,
    /// Contacts in the hoppers.
    pub hopper: i64,
    /// Each PBX, and whether its link is up.
    pub pbxes: BTreeMap<PbxName, bool>,
}

type Buckets = fn() -> Histogram;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CampaignLabel {
    campaign: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PbxLabel {
    pbx: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabel {
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListLabel {
    list: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    campaign: String,
    trunk: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MessageLabels {
    campaign: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabels {
    campaign: String,
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AgentChangeLabels {
    state: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    campaign: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabel {
    queue: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabel {
    method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

/// The metrics of one campaign.
#[derive(Clone, Debug)]
pub struct CampaignMetrics {
    /// Attempts stored. Each is dialed next.
    pub attempts: Counter,
    /// Inputs that are not allowed in the engine's state. Each is a bug of Paceline or the PBX.
    pub illegal: Counter,
    /// Contacts ready in the hopper.
    pub hopper: Gauge,
    /// 1 if the campaign's settings in the store cannot be used, so that it dials nothing; else 0.
    pub settings_unusable: Gauge,
    /// Time from reading the answer to handing over the connect command: the delay that Paceline adds.
    pub answer_to_connect_command: Seconds,
    /// Time from reading the answer until callee and agent are in one bridge.
    pub answer_to_connected: Seconds,
    /// Time from the request to store an attempt to its answer. Unanswered calls are not counted.
    pub ring_duration: Seconds,
    /// Length of conversations.
    pub talk_duration: Seconds,
    /// Pacing decisions.
    pub pacing: PacingMetrics,
    in_progress: Vec<(AttemptPhase, Gauge)>,
    agents: Vec<(AgentState, Gauge)>,
    messages: Vec<(MessageResult, Counter)>,
    agent_changes: Family<AgentChangeLabels, Counter>,
    outcomes: Family<OutcomeLabels, Counter>,
    trunks: Arc<Mutex<BTreeMap<String, TrunkMetrics>>>,
    name: String,
}

/// The outcomes of one campaign's attempts over one trunk.
#[derive(Clone, Debug)]
pub struct TrunkMetrics {
    name: String,
    outcomes: Vec<(Outcome, Counter)>,
}

fn ring_seconds() -> Histogram {
    Histogram::new([1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 45.0, 60.0, 120.0])
}

fn talk_seconds() -> Histogram {
    Histogram::new([
        1.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0,
    ])
}

/// These maps are consistent at any moment, so a panic while one was locked cannot have damaged it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Content type of [`Metrics::render`].
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// Creates a registry with all counters at 0.
    pub fn new() -> Self {
        let mut inner = Inner {
            registry: Registry::default(),
            attempts: Family::default(),
            outcomes: Family::default(),
            messages: Family::default(),
            agent_changes: Family::default(),
            in_progress: Family::default(),
            agents: Family::default(),
            hopper: Family::default(),
            settings_unusable: Family::default(),
            illegal: Family::default(),
            stale: Counter::default(),
            gate_decisions: Family::default(),
            queue_depth: Family::default(),
            queue_dropped: Family::default(),
            queue_stalls: Family::default(),
            job_failures: Family::default(),
            job_stuck: Family::default(),
            answer_to_connect_command: Family::new_with_constructor(sub_second),
            answer_to_connected: Family::new_with_constructor(sub_second),
            ring: Family::new_with_constructor(ring_seconds),
            talk: Family::new_with_constructor(talk_seconds),
            store_commit: sub_second(),
            store_failing: Gauge::default(),
            ledger: LedgerMetrics::default(),
            clock_doubted: Gauge::default(),
            dialer_lag: sub_second(),
            pbx_maintenance: Family::default(),
            outside: OutsideMetrics::default(),
            suppression_age: Family::default(),
            suppression_numbers: Family::default(),
            api_requests: Family::default(),
            api_durations: Family::new_with_constructor(sub_second),
            pacing: PacingFamilies::default(),
            links: Links::default(),
            campaigns: Mutex::default(),
            over: Mutex::default(),
        };
        inner.register();
        Self(Arc::new(inner))
    }

    /// The handles of one campaign, by its name. Its series exist from now on, at 0.
    pub fn campaign(&self, name: &str) -> CampaignMetrics {
        let mut campaigns = lock(&self.0.campaigns);
        let new = || self.new_campaign(name);
        campaigns.entry(name.to_owned()).or_insert_with(new).clone()
    }

    fn new_campaign(&self, name: &str) -> CampaignMetrics {
        let inner = &self.0;
        let name = label(name);
        let name = name.as_str();
        let label = CampaignLabel {
            campaign: name.to_owned(),
        };
        let phase = |phase: &AttemptPhase| {
            let labels = PhaseLabels {
                campaign: name.to_owned(),
                phase: phase.as_str(),
            };
            (*phase, inner.in_progress.get_or_create_owned(&labels))
        };
        let state = |state: &AgentState| {
            let labels = StateLabels {
                campaign: name.to_owned(),
                state: state.as_str(),
            };
            (*state, inner.agents.get_or_create_owned(&labels))
        };
        let message = |result: &MessageResult| {
            let labels = MessageLabels {
                campaign: name.to_owned(),
                outcome: result.as_str(),
            };
            (*result, inner.messages.get_or_create_owned(&labels))
        };
        let seconds = |family: &Family<CampaignLabel, Histogram, Buckets>| {
            Seconds::from(family.get_or_create_owned(&label))
        };
        CampaignMetrics {
            attempts: inner.attempts.get_or_create_owned(&label),
            illegal: inner.illegal.get_or_create_owned(&label),
            hopper: inner.hopper.get_or_create_owned(&label),
            settings_unusable: inner.settings_unusable.get_or_create_owned(&label),
            answer_to_connect_command: seconds(&inner.answer_to_connect_command),
            answer_to_connected: seconds(&inner.answer_to_connected),
            ring_duration: seconds(&inner.ring),
            talk_duration: seconds(&inner.talk),
            in_progress: AttemptPhase::ALL.iter().map(phase).collect(),
            agents: AgentState::ALL.iter().map(state).collect(),
            messages: MessageResult::ALL.iter().map(message).collect(),
            agent_changes: inner.agent_changes.clone(),
            outcomes: inner.outcomes.clone(),
            trunks: Arc::default(),
            pacing: inner.pacing.campaign(name),
            name: name.to_owned(),
        }
    }

    /// Removes the series of a trunk that its campaign does not use any more. Its counters stay in [`Metrics::glance`].
    pub fn forget_trunk(&self, campaign: &str, trunk: &TrunkMetrics) {
        let campaigns = lock(&self.0.campaigns);
        let gone = campaigns
            .get(campaign)
            .and_then(|of| lock(&of.trunks).remove(&trunk.name));
        if let Some(gone) = gone {
            self.trunk_is_over(campaign, &gone);
        }
    }

    fn trunk_is_over(&self, campaign: &str, trunk: &TrunkMetrics) {
        let mut over = lock(&self.0.over);
        for (outcome, counter) in &trunk.outcomes {
            *over.outcomes.entry(*outcome).or_default() += counter.get();
            self.0.outcomes.remove(&OutcomeLabels {
                campaign: campaign.to_owned(),
                trunk: label(&trunk.name),
                outcome: outcome.as_str(),
            });
        }
    }

    /// Removes the series of an ended campaign. Its counters stay in [`Metrics::glance`].
    pub fn forget(&self, name: &str) {
        let Some(gone) = lock(&self.0.campaigns).remove(name) else {
            return;
        };
        lock(&self.0.over).attempts += gone.attempts.get();
        let inner = &self.0;
        for trunk in lock(&gone.trunks).values() {
            self.trunk_is_over(name, trunk);
        }
        for (phase, _) in &gone.in_progress {
            inner.in_progress.remove(&PhaseLabels {
                campaign: gone.name.clone(),
                phase: phase.as_str(),
            });
        }
        for (state, _) in &gone.agents {
            inner.agents.remove(&StateLabels {
                campaign: gone.name.clone(),
                state: state.as_str(),
            });
        }
        for (result, _) in &gone.messages {
            inner.messages.remove(&MessageLabels {
                campaign: gone.name.clone(),
                outcome: result.as_str(),
            });
        }
        gone.pacing.forget(inner.links.up().into_keys());
        let label = CampaignLabel { campaign: gone.name };
        for counters in [&inner.attempts, &inner.illegal] {
            counters.remove(&label);
        }
        for gauges in [&inner.hopper, &inner.settings_unusable] {
            gauges.remove(&label);
        }
        for durations in [
            &inner.answer_to_connect_command,
            &inner.answer_to_connected,
            &inner.ring,
            &inner.talk,
        ] {
            durations.remove(&label);
        }
    }

    /// The present totals of all campaigns.
    pub fn glance(&self) -> Glance {
        let mut glance = {
            let over = lock(&self.0.over);
            Glance {
                attempts: over.attempts,
                outcomes: over.outcomes.clone(),
                pbxes: self.0.links.up(),
                ..Glance::default()
            }
        };
        for campaign in lock(&self.0.campaigns).values() {
            glance.attempts += campaign.attempts.get();
            glance.hopper += campaign.hopper.get();
            for (phase, gauge) in &campaign.in_progress {
                *glance.in_progress.entry(*phase).or_default() += gauge.get();
            }
            for (state, gauge) in &campaign.agents {
                *glance.agents.entry(*state).or_default() += gauge.get();
            }
            for (outcome, counter) in lock(&campaign.trunks).values().flat_map(|t| &t.outcomes) {
                *glance.outcomes.entry(*outcome).or_default() += counter.get();
            }
        }
        glance.in_progress.retain(|_, n| *n != 0);
        glance.agents.retain(|_, n| *n != 0);
        glance.outcomes.retain(|_, n| *n != 0);
        glance
    }

    /// The handles of one queue. Use the name of the waiting items: `store_changes`, `pbx_commands`.
    pub fn queue(&self, name: &str) -> QueueMetrics {
        let label = QueueLabel {
            queue: name.to_owned(),
        };
        QueueMetrics {
            depth: self.0.queue_depth.get_or_create_owned(&label),
            dropped: self.0.queue_dropped.get_or_create_owned(&label),
            stalls: self.0.queue_stalls.get_or_create_owned(&label),
        }
    }

    /// Counts a request. `route` is the template of its path, of which there are few, and never the path itself.
    pub fn request_answered(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let labels = RequestLabels {
            method,
            route: route.to_owned(),
            status,
        };
        self.0.api_requests.get_or_create(&labels).inc();
        let durations = self.0.api_durations.get_or_create(&MethodLabel { method });
        durations.observe(took.as_secs_f64());
    }

    /// Delay of the dialer's thread.
    pub fn dialer_lag(&self) -> Seconds {
        Seconds::from(self.0.dialer_lag.clone())
    }

    /// Shows the link to a PBX from now on. A second call with the same name replaces the first.
    pub fn watch_link(&self, pbx: &PbxName, stats: Arc<LinkStats>) {
        self.0.links.watch(pbx, stats);
    }

    /// Shows whether a PBX is in maintenance.
    pub fn maintained(&self, pbx: &PbxName, on: bool) {
        let pbx = pbx.as_str().to_owned();
        let gauge = self.0.pbx_maintenance.get_or_create_owned(&PbxLabel { pbx });
        gauge.set(i64::from(on));
    }

    /// Inputs that arrived too late. A small number is normal, because events and commands cross on the wire.
    pub fn stale(&self) -> Counter {
        self.0.stale.clone()
    }

    /// The counters of the store.
    pub fn store(&self) -> StoreMetrics {
        StoreMetrics {
            changes: self.queue("store_changes"),
            commit: Seconds::from(self.0.store_commit.clone()),
            failing: self.0.store_failing.clone(),
            decisions: self.0.gate_decisions.clone(),
        }
    }

    /// The gauges of the ledger.
    pub fn ledger(&self) -> LedgerMetrics {
        self.0.ledger.clone()
    }

    /// 1 while the system clock has jumped and is not trusted.
    pub fn clock_doubted(&self) -> Gauge {
        self.0.clock_doubted.clone()
    }

    /// All metrics in Prometheus's text format. The content type is [`Metrics::CONTENT_TYPE`].
    pub fn render(&self) -> String {
        let mut open = String::with_capacity(16 * 1024);
        match prometheus_client::encoding::text::encode(&mut open, &self.0.registry) {
            Ok(()) => text::from_open_metrics(&open),
            Err(_) => {
                tracing::error!(
                    "the metrics could not be written, so /metrics is empty; report this as a bug"
                );
                String::new()
            }
        }
    }
}

impl CampaignMetrics {
    /// The handles of one trunk of the campaign, by its name.
    pub fn trunk(&self, name: &str) -> TrunkMetrics {
        let mut trunks = lock(&self.trunks);
        let new = || self.new_trunk(name);
        trunks.entry(name.to_owned()).or_insert_with(new).clone()
    }

    fn new_trunk(&self, name: &str) -> TrunkMetrics {
        let counter = |outcome: &Outcome| {
            let labels = OutcomeLabels {
                campaign: self.name.clone(),
                trunk: label(name),
                outcome: outcome.as_str(),
            };
            (*outcome, self.outcomes.get_or_create_owned(&labels))
        };
        TrunkMetrics {
            name: name.to_owned(),
            outcomes: Outcome::ALL.iter().map(counter).collect(),
        }
    }

    /// Counts a message to an abandoned callee.
    pub fn messaged(&self, result: MessageResult) {
        if let Some((_, counter)) = self.messages.iter().find(|(f, _)| *f == result) {
            counter.inc();
        }
    }

    /// Counts a change of an agent's state or of its reason.
    pub fn agent_is(&self, state: AgentState, reason: AgentReason) {
        let labels = AgentChangeLabels {
            state: state.as_str(),
            reason: reason.as_str(),
        };
        self.agent_changes.get_or_create(&labels).inc();
    }

    /// Sets all gauges to the present state of the campaign.
    pub fn show(&self, live: &LiveCampaign) {
        let count = |n: Option<&usize>| i64::try_from(n.copied().unwrap_or(0)).unwrap_or(i64::MAX);
        for (phase, gauge) in &self.in_progress {
            gauge.set(count(live.attempts.get(phase)));
        }
        for (state, gauge) in &self.agents {
            gauge.set(count(live.agents_by_state.get(state)));
        }
        self.hopper.set(count(Some(&live.hopper)));
    }
}

impl TrunkMetrics {
    /// Counts an ended attempt.
    pub fn ended(&self, outcome: Outcome) {
        if let Some((_, counter)) = self.outcomes.iter().find(|(o, _)| *o == outcome) {
            counter.inc();
        }
    }
}

#[cfg(test)]
mod tests;
