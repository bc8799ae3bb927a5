//! An engine with a store that answers at once, for tests that play the PBX and the agents.

use super::*;

pub(super) fn pbx() -> PbxName {
    PbxName::new("main")
}

pub(super) fn config_of(mode: Mode) -> CampaignConfig {
    let mut config = config();
    config.settings.pacing.mode = mode;
    config
}

pub(super) fn config() -> CampaignConfig {
    CampaignConfig {
        id: CampaignId(1),
        settings: settings(),
        trunks: vec![TrunkConfig {
            id: TrunkId(1),
            name: "carrier".to_owned(),
            pbx: pbx(),
            dial: TrunkTemplate::new("PJSIP/{number}@carrier").unwrap(),
            caller_id: None,
        }],
    }
}

fn settings() -> CampaignSettings {
    let mut settings = CampaignSettings {
        hours: CallingHours::always(),
        ..CampaignSettings::default()
    };
    settings.pacing.abandon_rules = vec![AbandonRule::daily(0.03, Duration::from_secs(2))];
    settings.dialing.call_duration_ms_max = 3_600_000;
    settings.agents.ring_timeout_ms = 20_000;
    settings.agents.leg_duration_ms_max = 36_000_000;
    settings.agents.wrap_up_ms = 5_000;
    settings
}

pub(super) fn lead(n: i64) -> Lead {
    let number = E164::new(&format!("+1202555{:04}", n % 10_000)).unwrap();
    Lead {
        contact: ContactId(n),
        task: TaskId(1),
        number,
        attempts_made: 0,
        tries_made: 0,
        retries_max: 1,
    }
}

pub(super) fn end(by: EndedBy, answered: bool) -> LegEnd {
    LegEnd {
        by,
        answered,
        ..LegEnd::default()
    }
}

/// An engine with its clock and store. It keeps every command for the test to read.
pub(super) struct Rig {
    pub(super) engine: Engine,
    pub(super) now: Now,
    pub(super) contacts: i64,
    /// If false, the store does not answer until the test does.
    pub(super) store_answers: bool,
    pub(super) said: Vec<Command>,
}

impl Rig {
    pub(super) fn from(config: CampaignConfig, recovered: Recovered) -> Self {
        let now = Now {
            mono: Mono::START,
            wall: Wall(1_800_000_000_000),
        };
        let engine = Engine::new(config, 7, recovered, now);
        Self {
            engine,
            now,
            contacts: 0,
            store_answers: true,
            said: Vec::new(),
        }
    }

    /// An active campaign whose PBX is up, with this number of agents who are held and ready.
    pub(super) fn at_work(agents: i64) -> Self {
        Self::at_work_in(Mode::Progressive, agents)
    }

    pub(super) fn at_work_in(mode: Mode, agents: i64) -> Self {
        let mut rig = Self::from(config_of(mode), Recovered::default());
        rig.tell(Input::SetActive(true));
        rig.event(PbxEvent::Resynchronised(Snapshot::default()));
        for n in 1..=agents {
            rig.log_in(n);
            let leg = rig.agent_leg(n);
            rig.event(PbxEvent::AgentReady { leg });
        }
        rig
    }

    /// One agent and one contact, whose attempt the store has been asked to store. The store does not answer until the test does.
    pub(super) fn with_an_attempt_being_stored() -> (Self, AttemptId) {
        let mut rig = Self::at_work(0);
        rig.store_answers = false;
        rig.log_in(1);
        let leg = rig.agent_leg(1);
        rig.event(PbxEvent::AgentReady { leg });
        rig.lease([1]);
        let attempt = rig.last_being_stored();
        (rig, attempt)
    }

    /// The store answers with these contacts.
    pub(super) fn lease(&mut self, contacts: impl IntoIterator<Item = i64>) {
        self.tell(Input::Leads {
            leads: contacts.into_iter().map(lead).collect(),
            next_due: None,
        });
    }

    /// The attempts that the store was asked to store.
    pub(super) fn asked_to_store(&self) -> impl DoubleEndedIterator<Item = AttemptId> {
        self.said.iter().filter_map(|command| match command {
            Command::Prepare(new) => Some(new.attempt),
            _ => None,
        })
    }

    pub(super) fn last_being_stored(&self) -> AttemptId {
        self.asked_to_store()
            .next_back()
            .expect("an attempt is being stored")
    }

    /// The store answers about an attempt.
    pub(super) fn prepared(&mut self, attempt: AttemptId, result: Prepared) {
        self.tell(Input::Prepared { attempt, result });
    }

    pub(super) fn log_in(&mut self, n: i64) {
        let template = AgentTemplate::new("PJSIP/{extension}").unwrap();
        let extension = Extension::new(&format!("agent-{n}")).unwrap();
        self.ask(
            n,
            AgentRequest::LogIn {
                pbx: pbx(),
                template,
                extension,
            },
        );
        self.ask(n, AgentRequest::Ready);
    }

    pub(super) fn ask(&mut self, n: i64, request: AgentRequest) {
        self.tell(Input::Agent {
            agent: AgentId(n),
            request,
        });
    }

    pub(super) fn tell(&mut self, input: Input) {
        self.engine.handle(self.now, input).unwrap();
        self.settle();
    }

    pub(super) fn event(&mut self, event: PbxEvent) {
        self.late_event(Duration::ZERO, event);
    }

    pub(super) fn late_event(&mut self, ago: Duration, event: PbxEvent) {
        self.tell(Input::Pbx {
            pbx: pbx(),
            ago,
            event,
        });
    }

    pub(super) fn wait(&mut self, d: Duration) {
        let until = self.now.mono + d;
        while let Some(at) = self.engine.poll_timeout().filter(|at| *at <= until) {
            self.advance_to(at.max(self.now.mono));
            self.engine.handle_timeout(self.now);
            self.settle();
        }
        self.advance_to(until);
    }

    pub(super) fn advance_to(&mut self, at: Mono) {
        self.now.wall = self.now.wall.plus(at.since(self.now.mono));
        self.now.mono = at;
    }

    pub(super) fn settle(&mut self) {
        self.engine.check().unwrap();
        while let Some(command) = self.engine.next_command() {
            self.said.push(command.clone());
            if !self.store_answers {
                continue;
            }
            match command {
                Command::Refill { limit } => {
                    let first = self.contacts + 1;
                    self.contacts += limit as i64;
                    let leads = (first..=self.contacts).map(lead).collect();
                    self.engine
                        .handle(
                            self.now,
                            Input::Leads {
                                leads,
                                next_due: None,
                            },
                        )
                        .unwrap();
                }
                Command::Prepare(new) => {
                    let input = Input::Prepared {
                        attempt: new.attempt,
                        result: Prepared::Allowed,
                    };
                    self.engine.handle(self.now, input).unwrap();
                }
                Command::Return { .. }
                | Command::OptOut { .. }
                | Command::Store(_)
                | Command::AgentIs { .. }
                | Command::Paced { .. }
                | Command::Pbx { .. } => {}
            }
            self.engine.check().unwrap();
        }
    }

    pub(super) fn commands(&self) -> impl Iterator<Item = &PbxCommand> {
        self.said.iter().filter_map(|c| match c {
            Command::Pbx { command, .. } => Some(command),
            _ => None,
        })
    }

    pub(super) fn legs(&self) -> Vec<LegId> {
        let legs = self.commands().filter_map(|c| match c {
            PbxCommand::CallContact { leg, .. } => Some(*leg),
            _ => None,
        });
        legs.collect()
    }

    pub(super) fn leg(&self) -> LegId {
        *self.legs().last().expect("a call was launched")
    }

    pub(super) fn agent_leg(&self, n: i64) -> AgentLegId {
        self.engine.agents[&AgentId(n)]
            .phone
            .leg()
            .expect("the agent has a leg")
    }

    pub(super) fn state(&self, n: i64) -> AgentState {
        self.engine
            .agents
            .get(&AgentId(n))
            .map_or(AgentState::Offline, |a| a.state())
    }

    pub(super) fn outcomes(&self) -> Vec<Outcome> {
        let ended = self.said.iter().filter_map(|c| match c {
            Command::Store(Change::AttemptEnded { outcome, .. }) => Some(*outcome),
            _ => None,
        });
        ended.collect()
    }

    pub(super) fn last(&self) -> &PbxCommand {
        self.commands().last().expect("something was said to the PBX")
    }
}

/// The answers in the rows of the attempts, built from the stored changes. The engine's counters must agree with them.
#[derive(Default)]
pub(super) struct Rows(BTreeMap<AttemptId, AnswerRow>, BTreeSet<AttemptId>);

impl Rows {
    pub(super) fn take(&mut self, change: &Change) {
        match change {
            Change::Answered { attempt, at, .. } => {
                if self.1.insert(*attempt) {
                    self.0.entry(*attempt).or_default().answered_at = *at;
                }
            }
            Change::Abandoned { attempt, at } => {
                self.0
                    .entry(*attempt)
                    .or_default()
                    .abandoned_at
                    .get_or_insert(*at);
            }
            Change::Connected { attempt, at, .. } => {
                self.0.entry(*attempt).or_default().connected_at = Some(*at);
            }
            Change::AttemptEnded {
                attempt, at, outcome, ..
            } => self.0.entry(*attempt).or_default().ended = Some((*at, *outcome)),
            Change::LegProgressed { .. }
            | Change::LegEnded { .. }
            | Change::Messaged { .. }
            | Change::Agent { .. }
            | Change::Learnt { .. }
            | Change::RecordingAsked { .. }
            | Change::RecordingStarted { .. }
            | Change::RecordingEnded { .. } => {}
        }
    }

    pub(super) fn of(said: &[Command]) -> Self {
        let mut rows = Self::default();
        for command in said {
            if let Command::Store(change) = command {
                rows.take(change);
            }
        }
        rows
    }

    /// The row of an attempt, if it was answered.
    pub(super) fn answer(&self, attempt: AttemptId) -> Option<&AnswerRow> {
        self.0.get(&attempt).filter(|_| self.1.contains(&attempt))
    }

    /// Removes the outcome from the row, as if it was not stored.
    pub(super) fn reopen(&mut self, attempt: AttemptId) {
        if let Some(row) = self.0.get_mut(&attempt) {
            row.ended = None;
        }
    }

    fn results(&self) -> impl Iterator<Item = (Wall, AnswerResult)> + '_ {
        let answered = self.0.iter().filter(|(attempt, _)| self.1.contains(*attempt));
        answered.filter_map(|(_, row)| Some((row.answered_at, row.result()?)))
    }

    /// The answers in the form in which the store gives them at a start.
    pub(super) fn answers(&self, rule: &AbandonRule) -> Vec<Answers> {
        let answers = |(from, result)| Answers {
            from,
            limit_ms: rule.limit_ms,
            tally: rule.tally(result),
        };
        self.results().map(answers).collect()
    }

    /// The numbers of live answers and of abandoned calls.
    pub(super) fn account(&self, rule: &AbandonRule) -> (f64, f64) {
        let weighed = self.results().map(|(_, result)| rule.weigh(&rule.tally(result)));
        weighed.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }
}

impl Rig {
    /// The engine's own numbers for its first rule: live answers and abandoned calls.
    pub(super) fn account(&self) -> (f64, f64) {
        let account = &self.engine.live(self.now).abandon[0];
        (account.live, account.abandoned)
    }

    /// The same, after a check that the rows agree.
    pub(super) fn checked_account(&self) -> (f64, f64) {
        let rule = AbandonRule::daily(0.03, Duration::from_secs(2));
        assert_eq!(self.account(), Rows::of(&self.said).account(&rule));
        self.account()
    }
}
