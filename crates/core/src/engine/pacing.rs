//! Launches ahead of free agents. Each PBX has one pacing controller. It gets the events of its calls and agents, and
//! decides five times a second how many calls to launch. It learns in every mode, but only `predictive` and `power` use its
//! decisions.

use super::{Engine, Timer};
use crate::agent::AgentState;
use crate::attempt::{Attempt, AttemptState, EndReason};
use crate::campaign::Mode;
use crate::command::{Change, Command};
use crate::ids::{AgentId, AttemptId, PbxName};
use crate::live::Decision;
use crate::outcome::Outcome;
use crate::pacing::rules::{AnswerResult, Answers, Waits};
use crate::pacing::{AgentKey, AgentStep, CallKey, CallStep, Learnt, PacingController, Room, RuleAccount};
use crate::time::{Mono, Now, Wall};
use std::collections::BTreeMap;
use std::time::Duration;

/// Interval of the decisions.
const TICK: Duration = Duration::from_millis(200);
/// Interval at which the learnt rates are stored.
const KEEP_EVERY: Duration = Duration::from_secs(60);

/// The pacing controllers, and the events that they have not got yet.
#[derive(Debug)]
pub(super) struct Pacing {
    controllers: BTreeMap<PbxName, PacingController>,
    latest: BTreeMap<PbxName, Decision>,
    recovered: BTreeMap<PbxName, Learnt>,
    /// The stored answers, for the first controller. The others copy its counters.
    answers: Vec<Answers>,
    pending: Vec<(PbxName, PacingEvent)>,
    next_tick: Mono,
    next_keep: Mono,
}

#[derive(Debug)]
enum PacingEvent {
    Agent(AgentKey, AgentStep, bool),
    Call(CallKey, CallStep),
    /// A callee who answered at this time had this result.
    Answer(Wall, AnswerResult),
}

impl Pacing {
    pub(super) fn new(
        learnt: impl Iterator<Item = (PbxName, Learnt)>,
        answers: Vec<Answers>,
        now: Now,
    ) -> Self {
        Self {
            controllers: BTreeMap::new(),
            latest: BTreeMap::new(),
            recovered: learnt.collect(),
            answers,
            pending: Vec::new(),
            next_tick: now.mono,
            next_keep: now.mono + KEEP_EVERY,
        }
    }

    /// See [`PacingController::surplus`]. 0 if there is no controller for this PBX.
    pub(super) fn surplus(&mut self, now: Now, pbx: &PbxName, may_go: &[CallKey], storing: usize) -> usize {
        let controller = self.controllers.get_mut(pbx);
        controller.map_or(0, |controller| controller.surplus(now, may_go, storing))
    }
}

impl Engine {
    /// Reports a change of an agent's state, or a request to log out.
    pub(super) fn pace_agent(&mut self, id: AgentId, state: AgentState, leaving: bool) {
        let step = match state {
            AgentState::Offline => AgentStep::Offline,
            // An agent reserved for a call counts as available, because the call itself is counted.
            AgentState::Available | AgentState::Reserved => AgentStep::Available,
            AgentState::OnCall => AgentStep::OnCall,
            AgentState::WrapUp => AgentStep::WrapUp,
            AgentState::Ringing | AgentState::Paused => AgentStep::Paused,
        };
        if let Some(agent) = self.agents.get(&id) {
            let event = PacingEvent::Agent(AgentKey(agent_key(id)), step, leaving);
            self.pacing.pending.push((agent.pbx.clone(), event));
        }
    }

    /// Reports a change of a call's state.
    pub(super) fn pace_attempt(&mut self, attempt: AttemptId, state: AttemptState) {
        let step = match state {
            AttemptState::Dialing { .. } => CallStep::Dialing {
                answer_probability: None,
            },
            AttemptState::Ringing { .. } => CallStep::Ringing,
            // Without answering-machine detection every answer counts as a person.
            AttemptState::Waiting { .. } => CallStep::Person,
            AttemptState::Connected { .. } => CallStep::Connected(Waits::default()),
            AttemptState::Message { .. }
            | AttemptState::Transferred { connected: false, .. }
            | AttemptState::Ending {
                why: EndReason::Limit | EndReason::AnsweredMeanwhile,
                ..
            } => CallStep::Abandoned,
            // A callee who answers after the cancellation is abandoned.
            AttemptState::Ending {
                why: EndReason::Cancelled,
                ..
            } => CallStep::Ended {
                outcome: Some(Outcome::Cancelled),
                waits: Waits::default(),
            },
            AttemptState::Preparing { .. }
            | AttemptState::Connecting { .. }
            | AttemptState::Transferred { connected: true, .. }
            | AttemptState::Ending { .. } => return,
        };
        self.pace_step(attempt, step);
    }

    /// Reports the end of a call.
    pub(super) fn pace_ended(&mut self, attempt: AttemptId, outcome: Outcome) {
        let step = match outcome {
            Outcome::Abandoned => CallStep::Abandoned,
            outcome => CallStep::Ended {
                outcome: Some(outcome),
                waits: Waits::default(),
            },
        };
        self.pace_step(attempt, step);
    }

    fn pace_step(&mut self, attempt: AttemptId, step: CallStep) {
        if let Some(open) = self.attempts.get(&attempt) {
            let event = PacingEvent::Call(CallKey(attempt.0.as_u128()), step);
            self.pacing.pending.push((open.leg.pbx.clone(), event));
        }
    }

    /// Counts an answer, once: an agent was connected, the call was given up, or it ended without either. The attempt's row
    /// says the same, so a later run counts it in the same way.
    pub(super) fn count_answer(&mut self, attempt: AttemptId, ended: Option<(Wall, Outcome)>) {
        let Some(open) = self.attempts.get(&attempt) else {
            return;
        };
        let counted_before = ended.is_some() && (open.connected_at.is_some() || open.abandoned_at.is_some());
        if counted_before {
            return;
        }
        let row = open.answer_row(ended);
        if let Some((row, result)) = row.and_then(|row| Some((row, row.result()?))) {
            let event = PacingEvent::Answer(row.answered_at, result);
            self.pacing.pending.push((open.leg.pbx.clone(), event));
        }
    }

    /// Gives the events of each PBX to its controller. Answers go to all controllers, because an abandon rule holds for the
    /// campaign as a whole.
    pub(super) fn tell_controllers(&mut self, now: Now) {
        for (pbx, event) in std::mem::take(&mut self.pacing.pending) {
            if !self.pacing.controllers.contains_key(&pbx) {
                let controller = self.new_controller(&pbx);
                self.pacing.controllers.insert(pbx.clone(), controller);
            }
            let Some(controller) = self.pacing.controllers.get_mut(&pbx) else {
                continue;
            };
            match event {
                PacingEvent::Agent(agent, step, leaving) => {
                    controller.agent(now.mono, agent, step);
                    controller.agent_leaves(agent, leaving.then_some(now.mono));
                }
                PacingEvent::Call(call, step) => {
                    // The answer is counted by a separate event.
                    let _ = controller.observe(now, call, step);
                }
                PacingEvent::Answer(answered_at, result) => {
                    for controller in self.pacing.controllers.values_mut() {
                        controller.count(now, answered_at, result);
                    }
                }
            }
        }
        if self.pacing.next_keep <= now.mono {
            self.keep_learnt(now);
        }
    }

    fn new_controller(&mut self, pbx: &PbxName) -> PacingController {
        let learnt = self.pacing.recovered.remove(pbx);
        let mut controller = PacingController::new(self.config.pacing_config(), learnt.as_ref());
        match self.pacing.controllers.values().next() {
            Some(other) => controller.share_account(other),
            None => controller.recall(&std::mem::take(&mut self.pacing.answers)),
        }
        controller
    }

    /// The counters of each abandon rule.
    pub(super) fn accounts(&self, now: Now) -> Vec<RuleAccount> {
        match self.pacing.controllers.values().next() {
            Some(controller) => controller.accounts(now),
            None => {
                let mut controller = PacingController::new(self.config.pacing_config(), None);
                controller.recall(&self.pacing.answers);
                controller.accounts(now)
            }
        }
    }

    /// Stores the learnt rates.
    pub(super) fn keep_learnt(&mut self, now: Now) {
        self.pacing.next_keep = now.mono + KEEP_EVERY;
        for (pbx, controller) in &mut self.pacing.controllers {
            if controller.take_unsaved() {
                self.commands.push_back(Command::Store(Change::Learnt {
                    campaign: self.config.id,
                    pbx: pbx.clone(),
                    learnt: Box::new(controller.learnt()),
                    at: now.wall,
                }));
            }
        }
    }

    pub(super) fn configure_pacing(&mut self) {
        let settings = self.config.pacing_config();
        for controller in self.pacing.controllers.values_mut() {
            controller.configure(settings.clone());
        }
        if self.config.settings.pacing.mode == Mode::Progressive {
            self.pacing.latest.clear();
        }
    }

    /// Asks the controller of each PBX, if it is time, and launches the calls that it decides.
    pub(super) fn pace(&mut self, now: Now) {
        if self.agents.is_empty() {
            self.pacing.latest.clear();
            return;
        }
        let due = self.pacing.next_tick <= now.mono;
        if due {
            self.pacing.next_tick = now.mono + TICK;
        }
        // A PBX that has just connected gets a decision at once.
        let undecided = |pbx: &&PbxName| due || !self.pacing.latest.contains_key(*pbx);
        let pbxes: Vec<PbxName> = self
            .pacing
            .controllers
            .keys()
            .filter(undecided)
            .cloned()
            .collect();
        for pbx in pbxes {
            self.pace_on(now, pbx);
        }
        self.timers.insert((self.pacing.next_tick, Timer::Launch));
    }

    fn pace_on(&mut self, now: Now, pbx: PbxName) {
        let closed = !self.links_up.contains(&pbx) || self.is_maintained(&pbx);
        if closed || !self.config.trunks.iter().any(|t| t.pbx == pbx) {
            self.pacing.latest.remove(&pbx);
            return;
        }
        let trunk = self.open_trunk(now, &pbx).filter(|_| !self.is_full(now, &pbx));
        let channels = match trunk {
            None => Some(0),
            Some(_) if self.was_full(&pbx) => Some(1),
            Some(trunk) => Some(
                self.breakers
                    .get(&trunk)
                    .copied()
                    .unwrap_or_default()
                    .room(now.mono),
            ),
        };
        let preparing =
            |open: &&Attempt| open.leg.pbx == pbx && matches!(open.state, AttemptState::Preparing { .. });
        let storing = u32::try_from(self.attempts.values().filter(preparing).count()).ok();
        let contacts = Some(u32::try_from(self.contacts_at_hand()).unwrap_or(u32::MAX));
        let Some(controller) = self.pacing.controllers.get_mut(&pbx) else {
            return;
        };
        let room = Room {
            channels,
            contacts,
            storing,
        };
        let report = controller.tick(now, room);
        if let Some(trunk) = trunk {
            for _ in 0..report.launch {
                self.launch_over(now, pbx.clone(), trunk, None);
            }
        }
        let latest = Decision {
            pbx: pbx.clone(),
            since_ms: now.wall,
            at_ms: now.wall,
            ticks: 1,
            report: report.clone(),
        };
        self.pacing.latest.insert(pbx.clone(), latest);
        let report = Box::new(report);
        self.commands.push_back(Command::Paced { pbx, report });
    }

    /// True if calls on this PBX need no reserved agent, because an agent who can take them is logged in.
    pub(super) fn is_paced_ahead(&self, pbx: &PbxName) -> bool {
        self.config.settings.pacing.mode != Mode::Progressive && self.has_agent(pbx)
    }

    pub(super) fn live_pacing(&self) -> Vec<Decision> {
        self.pacing.latest.values().cloned().collect()
    }
}

fn agent_key(id: AgentId) -> u128 {
    u128::from(id.0.unsigned_abs())
}
