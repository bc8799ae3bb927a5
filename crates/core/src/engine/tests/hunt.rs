//! Random sequences of events, in any order, with duplicates and losses: none of them makes the engine panic, strand a call
//! or an agent, or give one agent two calls.

use super::*;
use proptest::test_runner::RngSeed;
use std::hash::{BuildHasher as _, RandomState};

mod opt_outs;
mod recovery;

/// One random step. An index selects among the legs that exist at that time.
#[derive(Clone, Debug)]
enum Move {
    /// The index of the leg, the kind of event, and the age of the event in milliseconds.
    Event(usize, u8, u64),
    AgentEvent(usize, u8),
    Ask(i64, u8),
    Wait(u64),
    Store(u8),
    LinkLost,
    Resynchronise(u64),
    Active(bool),
    TaskStopped(bool),
    Mode(Mode),
    Maintenance(bool),
    OptOut(usize),
    /// True if the newest outcome was not stored before the crash, although the leg's end was.
    Crash(bool),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        12 => (any::<usize>(), 0..16u8, prop_oneof![3 => Just(0), 1 => 0..40_000u64])
            .prop_map(|(i, k, ago_ms)| Move::Event(i, k, ago_ms)),
        8 => (any::<usize>(), 0..11u8).prop_map(|(i, k)| Move::AgentEvent(i, k)),
        4 => (1..4i64, 0..6u8).prop_map(|(n, k)| Move::Ask(n, k)),
        4 => (0..40_000u64).prop_map(Move::Wait),
        4 => (0..4u8).prop_map(Move::Store),
        1 => Just(Move::LinkLost),
        2 => any::<u64>().prop_map(Move::Resynchronise),
        1 => any::<bool>().prop_map(Move::Active),
        1 => any::<bool>().prop_map(Move::TaskStopped),
        1 => proptest::sample::select(Mode::ALL).prop_map(Move::Mode),
        1 => any::<bool>().prop_map(Move::Maintenance),
        2 => any::<usize>().prop_map(Move::OptOut),
        1 => any::<bool>().prop_map(Move::Crash),
    ];
    proptest::collection::vec(one, 1..120)
}

/// The state of one random run: every leg that was requested, and the store requests that wait for an answer.
struct Hunt {
    rig: Rig,
    legs: Vec<LegId>,
    agent_legs: Vec<AgentLegId>,
    prepares: Vec<crate::command::NewAttempt>,
    refills: usize,
    /// Number of times that each leg was dialed.
    dialed: BTreeMap<LegId, u32>,
    /// Legs whose attempt was stored, so that they may be dialed.
    allowed: BTreeSet<LegId>,
    /// The attempts as they were stored before dialing.
    stored: BTreeMap<AttemptId, crate::command::NewAttempt>,
    /// The stored ends of legs.
    leg_ends: BTreeMap<LegId, (Wall, LegEnd)>,
    /// Number of stored outcomes of each attempt.
    ended: BTreeMap<AttemptId, u32>,
    /// The attempt that ended last since the last crash.
    last_ended: Option<AttemptId>,
    /// The legs for which a message was requested since the last crash.
    messaged: BTreeSet<LegId>,
    /// The agents' legs that left their bridges since the last crash.
    left: BTreeSet<AgentLegId>,
    /// For each callee who may still be there: the agent's leg to which it was sent, since the last crash.
    sent: BTreeMap<LegId, AgentLegId>,
    /// True while the PBX is in maintenance. The engine was told so after all earlier commands were carried out.
    maintained: bool,
    opt_outs: opt_outs::OptOuts,
    read: usize,
    crashes: u64,
    config: CampaignConfig,
    learnt: BTreeMap<PbxName, crate::pacing::Learnt>,
    rows: Rows,
    connected: BTreeMap<AttemptId, (Wall, AgentId)>,
    last_calls: BTreeMap<AgentId, crate::input::LastCall>,
}

impl Hunt {
    fn new(config: CampaignConfig) -> Self {
        let mut rig = Rig::from(config.clone(), Recovered::default());
        rig.store_answers = false;
        Self {
            rig,
            legs: vec![],
            agent_legs: vec![],
            prepares: vec![],
            refills: 0,
            dialed: BTreeMap::new(),
            allowed: BTreeSet::new(),
            stored: BTreeMap::new(),
            leg_ends: BTreeMap::new(),
            ended: BTreeMap::new(),
            last_ended: None,
            messaged: BTreeSet::new(),
            left: BTreeSet::new(),
            sent: BTreeMap::new(),
            maintained: false,
            opt_outs: opt_outs::OptOuts::default(),
            read: 0,
            crashes: 0,
            config,
            learnt: BTreeMap::new(),
            rows: Rows::default(),
            connected: BTreeMap::new(),
            last_calls: BTreeMap::new(),
        }
    }

    fn read(&mut self) {
        let fresh: Vec<Command> = self.rig.said.iter().skip(self.read).cloned().collect();
        for command in fresh {
            self.check_maintenance(&command);
            self.check_not_opted_out(&command);
            if let Command::Store(change) = &command {
                self.rows.take(change);
                if let Change::Connected { attempt, agent, at } = change {
                    self.connected.insert(*attempt, (*at, *agent));
                }
            }
            match command {
                Command::Refill { .. } => self.refills += 1,
                Command::Prepare(new) => self.prepares.push(new),
                Command::Pbx {
                    command: PbxCommand::CallContact { leg, .. },
                    ..
                } => {
                    assert!(self.allowed.contains(&leg), "dialed without being stored");
                    let times = self.dialed.entry(leg).or_default();
                    *times += 1;
                    assert_eq!(*times, 1, "dialed twice");
                    self.legs.push(leg);
                }
                Command::Pbx {
                    command: PbxCommand::CallAgent { leg, .. },
                    ..
                } => self.agent_legs.push(leg),
                Command::Store(Change::LegEnded { leg, end, at, .. }) => {
                    assert_eq!(self.leg_ends.insert(leg, (at, end)), None, "a leg ended twice");
                }
                Command::Store(Change::AttemptEnded { attempt, leg, at, .. }) => {
                    if let Some((_, agent)) = self.connected.get(&attempt) {
                        let ended_at = at;
                        let last = crate::input::LastCall { attempt, ended_at };
                        self.last_calls.insert(*agent, last);
                    }
                    assert!(
                        self.leg_ends.contains_key(&leg),
                        "an outcome before the leg's end"
                    );
                    self.last_ended = Some(attempt);
                    let times = self.ended.entry(attempt).or_default();
                    *times += 1;
                    assert_eq!(*times, 1, "ended twice");
                }
                Command::Pbx {
                    command: PbxCommand::Play { leg, .. },
                    ..
                } => assert!(self.messaged.insert(leg), "heard the message twice"),
                Command::Pbx {
                    command:
                        PbxCommand::Connect {
                            leg,
                            to: Destination::HeldLeg(agent_leg),
                        },
                    ..
                } => {
                    assert!(!self.messaged.contains(&leg), "connected after the message");
                    assert!(
                        !self.left.contains(&agent_leg),
                        "connected to a bridge that its agent left"
                    );
                    assert!(
                        self.listens(agent_leg),
                        "connected to a phone that does not listen"
                    );
                    self.sent.insert(leg, agent_leg);
                    let there = self.sent.values().filter(|to| **to == agent_leg);
                    assert_eq!(there.count(), 1, "two callees in one agent's bridge");
                }
                Command::Store(Change::Learnt { pbx, learnt, .. }) => {
                    self.learnt.insert(pbx, *learnt);
                }
                Command::Paced { report, .. } => assert!(report.launch <= report.wanted),
                Command::Return { .. }
                | Command::OptOut { .. }
                | Command::AgentIs { .. }
                | Command::Pbx { .. }
                | Command::Store(_) => {}
            }
        }
        self.read = self.rig.said.len();
        self.check_opt_outs();
        self.check_account();
    }

    /// No leg is placed on a PBX in maintenance.
    fn check_maintenance(&self, command: &Command) {
        let places = matches!(
            command,
            Command::Prepare(_)
                | Command::Pbx {
                    command: PbxCommand::CallContact { .. } | PbxCommand::CallAgent { .. },
                    ..
                }
        );
        assert!(!(places && self.maintained), "placed in maintenance: {command:?}");
    }

    /// At any moment, the counters agree with the rows of the attempts.
    fn check_account(&self) {
        assert_eq!(self.rig.account(), self.rows.account(self.rule()));
    }

    /// No callee waits for an agent past the limit while the link is up.
    fn check_waits(&self) {
        let now = self.rig.now.mono;
        for open in self.rig.engine.attempts.values() {
            if let AttemptState::Waiting { limit_at, look_at }
            | AttemptState::Connecting {
                limit_at, look_at, ..
            } = open.state
                && self.rig.engine.links_up.contains(&open.leg.pbx)
            {
                assert!(limit_at >= now || look_at >= now, "waits for nothing: {open:?}");
                assert!(look_at.since(limit_at) <= Duration::from_secs(60), "{open:?}");
            }
        }
    }

    fn rule(&self) -> &AbandonRule {
        &self.config.settings.pacing.abandon_rules[0]
    }

    /// True if the engine knows this agent's leg as held, and its phone has no trouble.
    fn listens(&self, leg: AgentLegId) -> bool {
        let agent = self.rig.engine.agent_legs.get(&leg);
        agent.is_some_and(|agent| {
            let phone = self.rig.engine.agents[agent].phone;
            matches!(phone, crate::agent::Phone::Held { trouble: None, .. })
        })
    }

    /// A campaign that launches nothing for ten seconds gives a reason.
    fn wait(&mut self, ms: u64) {
        let before = self.rig.said.len();
        self.rig.wait(Duration::from_millis(ms));
        let launched = self
            .rig
            .said
            .iter()
            .skip(before)
            .any(|c| matches!(c, Command::Prepare(_)));
        self.check_waits();
        let live = self.rig.engine.live(self.rig.now);
        assert!(
            ms < 10_000 || launched || !live.idle.is_empty(),
            "launches nothing and does not say why: {live:?}"
        );
    }

    fn step(&mut self, step: Move) {
        let pick = |i: usize, n: usize| if n == 0 { None } else { Some(i % n) };
        match step {
            Move::Event(i, kind, ago_ms) => {
                let Some(leg) = pick(i, self.legs.len()).map(|i| self.legs[i]) else {
                    return;
                };
                let agent_leg = pick(i / 7, self.agent_legs.len()).map(|i| self.agent_legs[i]);
                let joined = agent_leg.unwrap_or(AgentLegId(leg.0));
                // A callee who is transferred while the PBX connects it may still reach the agent.
                let attempt = self.rig.engine.legs.get(&leg);
                let open = attempt.and_then(|attempt| self.rig.engine.attempts.get(attempt));
                let joins = open.is_some_and(|open| matches!(open.state, AttemptState::Connecting { .. }));
                if matches!(kind, 6 | 7 | 14 | 15) || kind == 10 && !joins {
                    self.sent.remove(&leg);
                }
                let event = match kind {
                    0 => PbxEvent::Progress {
                        leg,
                        kind: Progress::Ringing,
                    },
                    1 | 2 => PbxEvent::Answered { leg },
                    3 => PbxEvent::Connected {
                        leg,
                        agent_leg: joined,
                    },
                    4 => PbxEvent::ConnectFailed {
                        leg,
                        agent_leg: joined,
                        fault: ConnectFault::AgentGone,
                    },
                    5 => PbxEvent::ConnectFailed {
                        leg,
                        agent_leg: joined,
                        fault: ConnectFault::CalleeGone,
                    },
                    6 => PbxEvent::LegEnded {
                        leg,
                        end: end(EndedBy::Network, i % 2 == 0),
                    },
                    7 => PbxEvent::LegEnded {
                        leg,
                        end: end(EndedBy::Us, i % 2 == 0),
                    },
                    8 | 9 => PbxEvent::Played {
                        leg,
                        whole: kind == 8,
                    },
                    10 => PbxEvent::Transferred { leg },
                    12 => PbxEvent::LegEnded {
                        leg,
                        end: end(EndedBy::NoRoom, false),
                    },
                    13 => PbxEvent::LegEnded {
                        leg,
                        end: end(EndedBy::Stopped, i % 2 == 0),
                    },
                    // The trunk may have caused this end, so it is judged if it comes at once.
                    14 | 15 => PbxEvent::LegEnded {
                        leg,
                        end: LegEnd {
                            sip: Some(404),
                            ..LegEnd::default()
                        },
                    },
                    _ => PbxEvent::CalleeAlone { leg },
                };
                self.rig.late_event(Duration::from_millis(ago_ms), event);
            }
            Move::AgentEvent(i, kind) => {
                let Some(leg) = pick(i, self.agent_legs.len()).map(|i| self.agent_legs[i]) else {
                    return;
                };
                if kind == 4 || kind > 7 {
                    self.left.insert(leg);
                }
                self.rig.event(match kind {
                    0 => PbxEvent::AgentRinging { leg },
                    1..=3 => PbxEvent::AgentReady { leg },
                    4 => PbxEvent::AgentLeft {
                        leg,
                        how: Departure::Transferred,
                    },
                    5 => PbxEvent::AgentTrouble {
                        leg,
                        trouble: Some(LegTrouble::OnHold),
                    },
                    6 => PbxEvent::AgentTrouble {
                        leg,
                        trouble: Some(LegTrouble::NoAudio),
                    },
                    7 => PbxEvent::AgentTrouble { leg, trouble: None },
                    10 => PbxEvent::AgentEnded {
                        leg,
                        end: end(EndedBy::NoRoom, false),
                    },
                    _ => PbxEvent::AgentEnded {
                        leg,
                        end: end(EndedBy::Network, true),
                    },
                });
            }
            Move::Ask(n, kind) => {
                let agent = AgentId(n);
                let request = match kind {
                    0 => return self.rig.log_in(n),
                    1 => AgentRequest::LogOut { by: Asker::Agent },
                    2 => AgentRequest::Ready,
                    3 => AgentRequest::Pause,
                    4 => AgentRequest::EndWrapUp,
                    _ => AgentRequest::HangUp,
                };
                let known = self.rig.engine.agents.get(&agent);
                let talks = known.is_some_and(|a| matches!(a.work, crate::agent::Work::OnCall { .. }));
                let known = known.is_some();
                let hangs_up = request == AgentRequest::HangUp;
                let result = self
                    .rig
                    .engine
                    .handle(self.rig.now, Input::Agent { agent, request });
                assert_eq!(
                    result,
                    match known {
                        false => Err(EngineError::NotLoggedIn(agent)),
                        true if hangs_up && !talks => Err(EngineError::NotOnCall(agent)),
                        true => Ok(()),
                    }
                );
                self.rig.settle();
            }
            Move::Wait(ms) => self.wait(ms),
            Move::Store(kind) => self.answer_store(kind),
            Move::LinkLost => self.rig.event(PbxEvent::LinkLost),
            Move::Resynchronise(seed) => {
                let channels = self.snapshot(seed);
                self.sent.retain(|leg, to| {
                    let seen = channels.get(&leg.0);
                    seen.is_none_or(|channel| channel.bridge == Some(*to))
                });
                self.rig.event(PbxEvent::Resynchronised(Snapshot { channels }));
            }
            Move::Active(active) => self.rig.tell(Input::SetActive(active)),
            Move::TaskStopped(hang_up) => self.rig.tell(Input::TaskStopped {
                task: TaskId(1),
                hang_up,
            }),
            Move::Mode(mode) => {
                self.config.settings.pacing.mode = mode;
                self.rig.engine.configure(self.rig.now, self.config.clone());
                self.rig.settle();
            }
            Move::Maintenance(on) => {
                self.maintained = on;
                self.rig.tell(Input::Maintenance { pbx: pbx(), on });
            }
            Move::OptOut(i) => self.opt_out(i),
            Move::Crash(half) => self.crash(half),
        }
    }

    fn answer_store(&mut self, kind: u8) {
        if self.refills > 0 {
            self.refills -= 1;
            let leased_before = self.opt_outs.refill_over();
            let input = if kind == 3 {
                Input::RefillFailed
            } else {
                let first = self.rig.contacts + 1;
                self.rig.contacts += i64::from(kind) * 2;
                Input::Leads {
                    leads: (first..=self.rig.contacts)
                        .map(lead)
                        .filter(|lead| !leased_before.contains(&lead.number))
                        .collect(),
                    next_due: None,
                }
            };
            self.rig.tell(input);
        }
        for new in std::mem::take(&mut self.prepares) {
            let result = match kind {
                0 => Prepared::Refused,
                3 => Prepared::Failed,
                _ => Prepared::Allowed,
            };
            if result == Prepared::Allowed {
                self.allowed.insert(new.leg);
                self.stored.insert(new.attempt, new.clone());
            }
            self.rig.tell(Input::Prepared {
                attempt: new.attempt,
                result,
            });
        }
    }

    /// From here on the store answers every request and the PBX ends every leg. Then nothing may be left.
    fn heal(mut self) {
        self.answer_store(1);
        self.read();
        self.answer_store(1);
        self.read();
        self.rig.event(PbxEvent::LinkLost);
        self.sent.clear();
        self.rig.event(PbxEvent::Resynchronised(Snapshot::default()));
        self.rig.tell(Input::Drain);
        let mut heard = 0;
        for _ in 0..200 {
            self.answer_store(1);
            let pending: Vec<PbxCommand> = self.rig.commands().skip(heard).cloned().collect();
            heard += pending.len();
            self.read();
            for command in pending {
                match command {
                    PbxCommand::HangUp { leg } => {
                        self.sent.remove(&leg);
                        self.rig.event(PbxEvent::LegEnded {
                            leg,
                            end: end(EndedBy::Vanished, false),
                        });
                    }
                    PbxCommand::HangUpAgent { leg } => {
                        self.rig.event(PbxEvent::AgentEnded {
                            leg,
                            end: end(EndedBy::Vanished, false),
                        });
                    }
                    _ => {}
                }
            }
            self.rig.wait(Duration::from_secs(3));
            if self.rig.engine.is_drained() {
                break;
            }
        }
        self.read();
        assert!(
            self.rig.engine.is_drained(),
            "stranded: {:?}",
            self.rig.engine.live(self.rig.now)
        );
        assert!(
            self.rig.engine.timers.len() <= 2,
            "timers are left: {:?}",
            self.rig.engine.timers
        );
        assert!(self.rig.engine.agent_legs.is_empty() && self.rig.engine.legs.is_empty());
        for leg in self.dialed.keys() {
            assert!(self.legs.contains(leg));
        }
        assert_eq!(
            self.ended.len(),
            self.allowed.len(),
            "every stored attempt has an outcome"
        );
    }
}

/// Prints how to repeat this run. Keep the steps of a failed run as a test in one of the files beside this one.
fn told() -> ProptestConfig {
    let config = ProptestConfig::default();
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => RandomState::new().hash_one(0),
    };
    println!(
        "PROPTEST_RNG_SEED={seed} PROPTEST_CASES={} cargo nextest run -p paceline-core no_sequence_of_events",
        config.cases
    );
    ProptestConfig {
        rng_seed: RngSeed::Fixed(seed),
        ..config
    }
}

proptest! {
    #![proptest_config(told())]

    #[test]
    fn no_sequence_of_events_strands_a_call_or_an_agent(
        steps in moves(),
        mode in proptest::sample::select(Mode::ALL),
        message: bool,
    ) {
        hunt(steps, mode, message);
    }
}

fn hunt(steps: Vec<Move>, mode: Mode, message: bool) {
    let abandon_message = message.then(|| Sound::new("sound:sorry").unwrap());
    let mut hunt = {
        let mut config = config_of(mode);
        config.settings.answering.abandon_message = abandon_message;
        config.settings.pacing.abandon_rules[0].window = AbandonWindow::Campaign;
        Hunt::new(config)
    };
    hunt.rig.tell(Input::SetActive(true));
    hunt.rig.event(PbxEvent::Resynchronised(Snapshot::default()));
    hunt.rig.log_in(1);
    hunt.rig.log_in(2);
    hunt.read();
    for step in steps {
        hunt.step(step);
        hunt.read();
    }
    hunt.heal();
}

/// A snapshot shows a ringing callee in an agent's bridge. It was connected before the agent's leg was found to be gone.
#[test]
fn moves_that_once_failed_strand_nobody() {
    let steps = vec![
        Move::AgentEvent(0, 8),
        Move::Resynchronise(0),
        Move::Ask(2, 0),
        Move::Resynchronise(13_661_571_971_812_672_364),
        Move::Store(1),
        Move::Store(1),
        Move::Event(0, 1, 0),
        Move::Resynchronise(1_593_692_972_409_048_128),
    ];
    hunt(steps, Mode::Progressive, false);
}
