//! What each metric is called, and what it tells.

use super::collect::Process;
use super::{BuildLabels, Inner};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

impl Inner {
    pub(super) fn register(&mut self) {
        let registry = &mut self.registry;
        let build = Family::<BuildLabels, Gauge>::default();
        let version = env!("CARGO_PKG_VERSION");
        build.get_or_create(&BuildLabels { version }).set(1);
        registry.register("paceline_build_info", "The version that runs, always 1", build);
        registry.register(
            "paceline_attempts",
            "Attempts stored, each about to be dialed",
            self.attempts.clone(),
        );
        registry.register(
            "paceline_agent_state_changes",
            "Changes of agents' states, by the new state and the reason",
            self.agent_changes.clone(),
        );
        registry.register(
            "paceline_outcomes",
            "Attempts ended, by what the line did",
            self.outcomes.clone(),
        );
        registry.register(
            "paceline_abandon_messages",
            "Abandon messages, by what became of them; `failed`: the PBX could not play it, as where it has no such sound",
            self.messages.clone(),
        );
        registry.register(
            "paceline_pbx_maintenance",
            "Whether a PBX is in maintenance",
            self.pbx_maintenance.clone(),
        );
        registry.register("paceline_calls", "Live attempts by phase", self.calls.clone());
        registry.register(
            "paceline_agents",
            "Agents logged into a campaign, by state",
            self.agents.clone(),
        );
        registry.register(
            "paceline_job_failures",
            "Turns of jobs beside the calls that failed; each is tried again",
            self.job_failures.clone(),
        );
        registry.register(
            "paceline_hopper_contacts",
            "Contacts ready to be dialed",
            self.hopper.clone(),
        );
        registry.register(
            "paceline_campaign_settings_unusable",
            "1 where a campaign's settings in the store cannot be used, so that nothing is dialed for it",
            self.settings_unusable.clone(),
        );
        registry.register(
            "paceline_gate_decisions",
            "Answers of the gate, by the most important reason",
            self.gate_decisions.clone(),
        );
        registry.register(
            "paceline_engine_illegal",
            "Inputs that the engine's states forbid; each is a bug",
            self.illegal.clone(),
        );
        registry.register(
            "paceline_engine_stale",
            "Inputs that came too late to matter",
            self.stale.clone(),
        );
        registry.register(
            "paceline_queue_depth",
            "Items that wait in a bounded queue",
            self.queue_depth.clone(),
        );
        registry.register(
            "paceline_queue_dropped",
            "Items lost because a queue was full",
            self.queue_dropped.clone(),
        );
        registry.register(
            "paceline_queue_stalls",
            "Times that a producer waited for room in a queue",
            self.queue_stalls.clone(),
        );
        registry.register(
            "paceline_answer_to_connect_command_seconds",
            "From reading an answer to sending the command that connects: what Paceline adds",
            self.answer_to_connect_command.clone(),
        );
        registry.register(
            "paceline_answer_to_connected_seconds",
            "From reading an answer to callee and agent in one bridge",
            self.answer_to_connected.clone(),
        );
        registry.register(
            "paceline_ring_duration_seconds",
            "From asking the store for an attempt to its answer: dialing and ringing, of answered calls only",
            self.ring.clone(),
        );
        registry.register(
            "paceline_talk_duration_seconds",
            "How long callees and agents talked",
            self.talk.clone(),
        );
        registry.register(
            "paceline_store_commit_seconds",
            "How long the store took to commit",
            self.store_commit.clone(),
        );
        registry.register(
            "paceline_store_failing",
            "1 while the store cannot write: changes are kept and tried again, and nothing is launched",
            self.store_failing.clone(),
        );
        registry.register(
            "paceline_clock_doubted",
            "1 while the system's clock has jumped and is not believed: nothing is launched",
            self.clock_doubted.clone(),
        );
        registry.register(
            "paceline_api_requests",
            "API requests answered, by route and status",
            self.api_requests.clone(),
        );
        registry.register(
            "paceline_api_request_duration_seconds",
            "How long API requests took",
            self.api_durations.clone(),
        );
        registry.register(
            "paceline_dialer_lag_seconds",
            "How late the dialer's thread comes to what is due: what an answered call may wait before it is even seen",
            self.dialer_lag.clone(),
        );
        self.pacing.register(registry);
        registry.register_collector(Box::new(self.links.clone()));
        registry.register_collector(Box::new(Process));
    }
}
