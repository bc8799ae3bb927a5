//! Name and help text of each metric.

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
            "Attempts stored; each is dialed next",
            self.attempts.clone(),
        );
        registry.register(
            "paceline_agent_state_changes",
            "Changes of agents' states, by new state and reason",
            self.agent_changes.clone(),
        );
        registry.register(
            "paceline_outcomes",
            "Attempts ended, by outcome",
            self.outcomes.clone(),
        );
        registry.register(
            "paceline_abandon_messages",
            "Messages to abandoned callees, by result; `failed`: the PBX could not play it, for example because it has no such sound",
            self.messages.clone(),
        );
        registry.register(
            "paceline_pbx_maintenance",
            "Whether a PBX is in maintenance",
            self.pbx_maintenance.clone(),
        );
        registry.register(
            "paceline_outside_check_asked",
            "Numbers sent to the service of the outside check",
            self.outside.asked.clone(),
        );
        registry.register(
            "paceline_outside_check_answers",
            "Answers of the outside check, by verdict; `unanswered`: the service said nothing usable about the number",
            self.outside.answers.clone(),
        );
        registry.register(
            "paceline_outside_check_failures",
            "Requests of the outside check that failed",
            self.outside.failures.clone(),
        );
        registry.register(
            "paceline_outside_check_waiting",
            "Numbers of the next request of the outside check; 0 if every contact that is due soon has an answer",
            self.outside.waiting.clone(),
        );
        registry.register(
            "paceline_outside_check_out",
            "1 while the service of the outside check does not answer; else 0",
            self.outside.out.clone(),
        );
        registry.register(
            "paceline_outside_check_succeeded_timestamp_seconds",
            "Time of the last reply of the outside check, Unix time; 0 before the first",
            self.outside.succeeded_at.clone(),
        );
        registry.register(
            "paceline_suppression_list_age_seconds",
            "Age of the data of a suppression list",
            self.suppression_age.clone(),
        );
        registry.register(
            "paceline_suppression_list_numbers",
            "Numbers in a suppression list",
            self.suppression_numbers.clone(),
        );
        registry.register(
            "paceline_attempts_in_progress",
            "Attempts in progress, by phase",
            self.in_progress.clone(),
        );
        registry.register(
            "paceline_agents",
            "Agents logged into a campaign, by state",
            self.agents.clone(),
        );
        registry.register(
            "paceline_job_stuck",
            "1 while the present run of a background job makes no progress",
            self.job_stuck.clone(),
        );
        registry.register(
            "paceline_job_failures",
            "Failed runs of background jobs; each is run again",
            self.job_failures.clone(),
        );
        registry.register(
            "paceline_hopper_contacts",
            "Contacts ready to be dialed",
            self.hopper.clone(),
        );
        registry.register(
            "paceline_campaign_settings_unusable",
            "1 if the campaign's settings in the store cannot be used, so that it dials nothing; else 0",
            self.settings_unusable.clone(),
        );
        registry.register(
            "paceline_gate_decisions",
            "Decisions of the gate, by their most important reason",
            self.gate_decisions.clone(),
        );
        registry.register(
            "paceline_engine_illegal",
            "Inputs that are not allowed in the engine's state; each is a bug of Paceline or the PBX",
            self.illegal.clone(),
        );
        registry.register(
            "paceline_engine_stale",
            "Inputs that arrived too late and were ignored",
            self.stale.clone(),
        );
        registry.register(
            "paceline_queue_depth",
            "Items waiting in a bounded queue",
            self.queue_depth.clone(),
        );
        registry.register(
            "paceline_queue_dropped",
            "Items lost because a queue was full",
            self.queue_dropped.clone(),
        );
        registry.register(
            "paceline_queue_stalls",
            "How often a producer waited because a queue was full",
            self.queue_stalls.clone(),
        );
        registry.register(
            "paceline_answer_to_connect_command_seconds",
            "Time from reading an answer to sending the connect command: the delay that Paceline adds",
            self.answer_to_connect_command.clone(),
        );
        registry.register(
            "paceline_answer_to_connected_seconds",
            "Time from reading an answer until callee and agent are in one bridge",
            self.answer_to_connected.clone(),
        );
        registry.register(
            "paceline_ring_duration_seconds",
            "Time from storing an attempt to its answer: dialing and ringing, for answered calls only",
            self.ring.clone(),
        );
        registry.register(
            "paceline_talk_duration_seconds",
            "Length of conversations",
            self.talk.clone(),
        );
        registry.register(
            "paceline_store_commit_seconds",
            "Time of a commit in the store",
            self.store_commit.clone(),
        );
        registry.register(
            "paceline_store_failing",
            "1 while the store cannot write: changes are kept and repeated, and nothing is launched",
            self.store_failing.clone(),
        );
        self.ledger.register(registry);
        registry.register(
            "paceline_clock_doubted",
            "1 while the system clock has jumped and is not trusted: nothing is launched",
            self.clock_doubted.clone(),
        );
        registry.register(
            "paceline_api_requests",
            "API requests, by route and status",
            self.api_requests.clone(),
        );
        registry.register(
            "paceline_api_request_duration_seconds",
            "Time of API requests",
            self.api_durations.clone(),
        );
        registry.register(
            "paceline_dialer_lag_seconds",
            "Delay of the dialer's thread: how long an answer may wait before it is read",
            self.dialer_lag.clone(),
        );
        self.pacing.register(registry);
        registry.register_collector(Box::new(self.links.clone()));
        registry.register_collector(Box::new(Process));
    }
}
