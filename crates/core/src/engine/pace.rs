//! Launching ahead of free agents: one controller for each switch is told what happens to its calls and agents, and is
//! asked five times a second how many calls to launch. Every mode teaches it; only `predictive` and `power` ask it.

use super::{Engine, Timer};
use crate::agent::AgentState;
use crate::attempt::{Attempt, AttemptState, Why};
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

/// How often it is decided.
const TICK: Duration = Duration::from_millis(200);
/// How often what was learnt is stored.
const KEEP_EVERY: Duration = Duration::from_secs(60);

/// The controllers, and what they have not been told yet.
#[derive(Debug)]
pub(super) struct Pacing {
    pacers: BTreeMap<PbxName, PacingController>,
    latest: BTreeMap<PbxName, Decision>,
    recovered: BTreeMap<PbxName, Learnt>,
    /// For the first controller; the others share its account.
    answers: Vec<Answers>,
    news: Vec<(PbxName, News)>,
    next_tick: Mono,
    next_keep: Mono,
}

#[derive(Debug)]
enum News {
    Agent(AgentKey, AgentStep, bool),
    Call(CallKey, CallStep),
    /// Somebody who answered then has had this fate.
    Answer(Wall, AnswerResult),
}

impl Pacing {
    pub(super) fn new(
        learnt: impl Iterator<Item = (PbxName, Learnt)>,
        answers: Vec<Answers>,
        now: Now,
    ) -> Self {
        Self {
            pacers: BTreeMap::new(),
            latest: BTreeMap::new(),
            recovered: learnt.collect(),
            answers,
            news: Vec::new(),
            next_tick: now.mono,
            next_keep: now.mono + KEEP_EVERY,
        }
    }

    /// As [`PacingController::surplus`]; none where nothing is known of this PBX.
    pub(super) fn surplus(&mut self, now: Now, pbx: &PbxName, may_go: &[CallKey], storing: usize) -> usize {
        let pacer = self.pacers.get_mut(pbx);
        pacer.map_or(0, |pacer| pacer.surplus(now, may_go, storing))
    }
}

impl Engine {
    /// An agent's state, or wish to go, has changed.
    pub(super) fn pace_agent(&mut self, id: AgentId, state: AgentState, leaving: bool) {
        let step = match state {
            AgentState::Offline => AgentStep::Offline,
            // An agent kept for a call is free for it: the call itself is counted.
            AgentState::Available | AgentState::Reserved => AgentStep::Available,
            AgentState::OnCall => AgentStep::OnCall,
            AgentState::WrapUp => AgentStep::WrapUp,
            AgentState::Ringing | AgentState::Paused => AgentStep::Paused,
        };
        if let Some(agent) = self.agents.get(&id) {
            let news = News::Agent(AgentKey(agent_key(id)), step, leaving);
            self.pacing.news.push((agent.pbx.clone(), news));
        }
    }

    /// A call is in another state.
    pub(super) fn pace_attempt(&mut self, attempt: AttemptId, state: AttemptState) {
        let step = match state {
            AttemptState::Dialing { .. } => CallStep::Dialing {
                answer_probability: None,
            },
            AttemptState::Ringing { .. } => CallStep::Ringing,
            // Until answers are judged, every answer is a person.
            AttemptState::Waiting { .. } => CallStep::Person,
            AttemptState::Connected { .. } => CallStep::Connected(Waits::default()),
            AttemptState::Message { .. }
            | AttemptState::Transferred { connected: false, .. }
            | AttemptState::Ending {
                why: Why::Limit | Why::TakenBackAnswered,
                ..
            } => CallStep::Abandoned,
            // Who answers all the same is given up.
            AttemptState::Ending {
                why: Why::TakenBack, ..
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

    /// A call is over.
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
            let news = News::Call(CallKey(attempt.0.as_u128()), step);
            self.pacing.news.push((open.leg.pbx.clone(), news));
        }
    }

    /// What is decided about an answer, once for each: an agent was there, it was given up, or it ended so without either.
    /// It is what its row says, as a later run reads it.
    pub(super) fn count_answer(&mut self, attempt: AttemptId, ended: Option<(Wall, Outcome)>) {
        let Some(open) = self.attempts.get(&attempt) else {
            return;
        };
        let counted_before = ended.is_some() && (open.connected_at.is_some() || open.abandoned_at.is_some());
        if counted_before {
            return;
        }
        let row = open.answer_row(ended);
        if let Some((row, fate)) = row.and_then(|row| Some((row, row.result()?))) {
            let news = News::Answer(row.answered_at, fate);
            self.pacing.news.push((open.leg.pbx.clone(), news));
        }
    }

    /// Tells each switch's controller what happened there, and all of them how answers ended: the abandon rules hold for the
    /// campaign as a whole.
    pub(super) fn tell_pacers(&mut self, now: Now) {
        for (pbx, news) in std::mem::take(&mut self.pacing.news) {
            if !self.pacing.pacers.contains_key(&pbx) {
                let pacer = self.new_pacer(&pbx);
                self.pacing.pacers.insert(pbx.clone(), pacer);
            }
            let Some(pacer) = self.pacing.pacers.get_mut(&pbx) else {
                continue;
            };
            match news {
                News::Agent(agent, step, leaving) => {
                    pacer.agent(now.mono, agent, step);
                    pacer.agent_leaves(agent, leaving.then_some(now.mono));
                }
                News::Call(call, step) => {
                    // Whether it counts is told apart.
                    let _ = pacer.observe(now, call, step);
                }
                News::Answer(answered_at, fate) => {
                    for pacer in self.pacing.pacers.values_mut() {
                        pacer.count(now, answered_at, fate);
                    }
                }
            }
        }
        if self.pacing.next_keep <= now.mono {
            self.keep_learnt(now);
        }
    }

    fn new_pacer(&mut self, pbx: &PbxName) -> PacingController {
        let learnt = self.pacing.recovered.remove(pbx);
        let mut pacer = PacingController::new(self.config.pacing_config(), learnt.as_ref());
        match self.pacing.pacers.values().next() {
            Some(other) => pacer.share_account(other),
            None => pacer.recall(&std::mem::take(&mut self.pacing.answers)),
        }
        pacer
    }

    /// What each abandon rule has counted.
    pub(super) fn accounts(&self, now: Now) -> Vec<RuleAccount> {
        match self.pacing.pacers.values().next() {
            Some(pacer) => pacer.accounts(now),
            None => {
                let mut pacer = PacingController::new(self.config.pacing_config(), None);
                pacer.recall(&self.pacing.answers);
                pacer.accounts(now)
            }
        }
    }

    /// Stores what was learnt.
    pub(super) fn keep_learnt(&mut self, now: Now) {
        self.pacing.next_keep = now.mono + KEEP_EVERY;
        for (pbx, pacer) in &mut self.pacing.pacers {
            if pacer.take_unsaved() {
                self.commands.push_back(Command::Store(Change::Learnt {
                    campaign: self.config.id,
                    pbx: pbx.clone(),
                    learnt: Box::new(pacer.learnt()),
                    at: now.wall,
                }));
            }
        }
    }

    pub(super) fn configure_pacing(&mut self) {
        let settings = self.config.pacing_config();
        for pacer in self.pacing.pacers.values_mut() {
            pacer.configure(settings.clone());
        }
        if self.config.settings.pacing.mode == Mode::Progressive {
            self.pacing.latest.clear();
        }
    }

    /// Asks each switch's controller, if it is time, and launches what it says.
    pub(super) fn pace(&mut self, now: Now) {
        if self.agents.is_empty() {
            self.pacing.latest.clear();
            return;
        }
        let due = self.pacing.next_tick <= now.mono;
        if due {
            self.pacing.next_tick = now.mono + TICK;
        }
        // A switch that has come up is not kept waiting.
        let undecided = |pbx: &&PbxName| due || !self.pacing.latest.contains_key(*pbx);
        let pbxes: Vec<PbxName> = self.pacing.pacers.keys().filter(undecided).cloned().collect();
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
        let Some(pacer) = self.pacing.pacers.get_mut(&pbx) else {
            return;
        };
        let room = Room {
            channels,
            contacts,
            storing,
        };
        let report = pacer.tick(now, room);
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

    /// Whether calls on this switch need no agent kept for them: an agent who may take them is there.
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
