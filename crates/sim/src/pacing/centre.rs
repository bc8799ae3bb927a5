//! The call centre: what callees and agents do, reported to a dialer as events.
//!
//! Times are whole microseconds, so that runs are the same on every machine. Each call draws its times from its own stream.

use super::{Dialer, Scenario, Tally, level_at};
use crate::random::{ChaCha8Rng, happens, stream};
use paceline_core::outcome::Outcome;
use paceline_core::pacing::rules::Waits;
use paceline_core::pacing::{AgentStep, CallStep};
use paceline_core::time::Mono;
use rand::RngExt;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::time::Duration;

/// Time that an agent listens to a machine before hanging up.
const MACHINE_TALK: Duration = Duration::from_secs(6);

/// Runs one day. Returns its counters.
pub fn run(scenario: &Scenario, seed: u64, dialer: &mut dyn Dialer) -> Tally {
    let mut centre = Centre::new(scenario, seed);
    centre.schedule(Duration::ZERO, Event::Shift);
    for (from, _) in scenario.agents.iter().filter(|(from, _)| *from > Duration::ZERO) {
        centre.schedule(*from, Event::Shift);
    }
    centre.schedule(Duration::ZERO, Event::Tick);
    while let Some(Reverse((at, _, event))) = centre.events.pop() {
        if at > scenario.length {
            break;
        }
        centre.advance(at);
        centre.happen(event, dialer);
    }
    centre.tally
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Shift,
    Tick,
    Call(u64, Turn),
    /// The agent's talk or wrap-up is over.
    AgentDone(u32, u64),
    Tell(u64),
}

/// The next step of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Setup,
    Answer,
    RingOut,
    Verdict,
    GiveUp,
}

#[derive(Clone, Copy, Debug)]
enum Callee {
    Person,
    Machine,
    Nobody,
    Refuses,
}

#[derive(Debug)]
struct Call {
    callee: Callee,
    rng: ChaCha8Rng,
}

#[derive(Clone, Copy, Debug)]
struct Agent {
    step: AgentStep,
    /// Number of the agent's present work. A timer of earlier work has a lower number and is ignored.
    turn: u64,
    call: Option<u64>,
    leaving: bool,
    stuck: bool,
}

#[derive(Clone, Copy, Debug)]
enum Heard {
    Agent(u32, AgentStep),
    Call(u64, CallStep),
}

struct Centre<'a> {
    scenario: &'a Scenario,
    seed: u64,
    now: Duration,
    sequence: u64,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    calls: BTreeMap<u64, Call>,
    calls_made: u64,
    waiting: VecDeque<u64>,
    agents: BTreeMap<u32, Agent>,
    agents_made: u32,
    /// Free agents, the one who has been free longest first.
    free: BTreeSet<(Duration, u32)>,
    busy: u32,
    flight: u32,
    heard: BTreeMap<u64, Heard>,
    loss: ChaCha8Rng,
    tally: Tally,
}

impl<'a> Centre<'a> {
    fn new(scenario: &'a Scenario, seed: u64) -> Self {
        Self {
            scenario,
            seed,
            now: Duration::ZERO,
            sequence: 0,
            events: BinaryHeap::new(),
            calls: BTreeMap::new(),
            calls_made: 0,
            waiting: VecDeque::new(),
            agents: BTreeMap::new(),
            agents_made: 0,
            free: BTreeSet::new(),
            busy: 0,
            flight: 0,
            heard: BTreeMap::new(),
            loss: stream(seed, "loss", "", 0),
            tally: Tally::default(),
        }
    }

    fn schedule(&mut self, at: Duration, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((at, self.sequence, event)));
    }

    fn after(&mut self, delay: Duration, event: Event) {
        self.schedule(self.now + delay, event);
    }

    /// Moves the clock and counts the time.
    fn advance(&mut self, to: Duration) {
        let secs = to.saturating_sub(self.now).as_secs_f64();
        if secs > 0.0 {
            let (staffed, busy, flight) = (
                self.agents.len() as f64,
                f64::from(self.busy),
                f64::from(self.flight),
            );
            let sample = self.tally.at(self.now);
            sample.staffed_secs += staffed * secs;
            sample.busy_secs += busy * secs;
            sample.flight_secs += flight * secs;
            self.now = to;
        }
    }

    fn tell(&mut self, heard: Heard, dialer: &mut dyn Dialer) {
        if happens(&mut self.loss, self.scenario.event_loss) {
            return;
        }
        if self.scenario.event_latency.is_zero() {
            hear(heard, self.now, dialer);
            return;
        }
        let id = self.sequence;
        self.heard.insert(id, heard);
        self.after(self.scenario.event_latency, Event::Tell(id));
    }

    fn happen(&mut self, event: Event, dialer: &mut dyn Dialer) {
        match event {
            Event::Shift => self.shift(dialer),
            Event::Tick => self.tick(dialer),
            Event::Call(id, turn) => self.call_turn(id, turn, dialer),
            Event::AgentDone(id, turn) => self.agent_done(id, turn, dialer),
            Event::Tell(id) => {
                if let Some(heard) = self.heard.remove(&id) {
                    hear(heard, self.now, dialer);
                }
            }
        }
    }

    fn shift(&mut self, dialer: &mut dyn Dialer) {
        let goal = level_at(&self.scenario.agents, self.now).max(0.0) as usize;
        let staying = self.agents.values().filter(|a| !a.leaving).count();
        for _ in staying..goal {
            let id = self.agents_made;
            self.agents_made += 1;
            let agent = Agent {
                step: AgentStep::Available,
                turn: 0,
                call: None,
                leaving: false,
                stuck: id < self.scenario.agents_stuck,
            };
            self.agents.insert(id, agent);
            self.free_again(id, dialer);
        }
        let leaving: Vec<u32> = self
            .agents
            .iter()
            .filter(|(_, a)| !a.leaving)
            .map(|(id, _)| *id)
            .take(staying.saturating_sub(goal))
            .collect();
        for id in leaving {
            let Some(agent) = self.agents.get_mut(&id) else {
                continue;
            };
            agent.leaving = true;
            if agent.step == AgentStep::Available {
                self.free.retain(|(_, free)| *free != id);
                self.agents.remove(&id);
                self.tell(Heard::Agent(id, AgentStep::Offline), dialer);
            }
        }
    }

    fn tick(&mut self, dialer: &mut dyn Dialer) {
        self.after(self.scenario.tick, Event::Tick);
        // Calls with an agent use a channel too.
        let used = self.flight + self.agents.values().filter(|a| a.call.is_some()).count() as u32;
        let channels = self.scenario.channels.map(|all| all.saturating_sub(used));
        let launch = dialer
            .tick(Mono(self.now), channels)
            .min(channels.unwrap_or(u32::MAX));
        for _ in 0..launch {
            self.launch(dialer);
        }
    }

    fn launch(&mut self, dialer: &mut dyn Dialer) {
        let id = self.calls_made;
        self.calls_made += 1;
        let mut rng = stream(self.seed, "callee", "", id);
        let scenario = self.scenario;
        let draw: f64 = rng.random();
        let live = level_at(&scenario.live, self.now);
        let rest = (draw - live) / (1.0 - live).max(1e-9);
        let callee = if draw < live {
            Callee::Person
        } else if rest < scenario.machine_share {
            Callee::Machine
        } else if rest < scenario.machine_share + scenario.refused_share {
            Callee::Refuses
        } else {
            Callee::Nobody
        };
        let setup = scenario.setup.draw(&mut rng);
        self.calls.insert(id, Call { callee, rng });
        self.flight += 1;
        self.tally.at(self.now).launched += 1;
        self.tell(
            Heard::Call(
                id,
                CallStep::Dialing {
                    answer_probability: None,
                },
            ),
            dialer,
        );
        self.after(setup, Event::Call(id, Turn::Setup));
    }

    fn outage(&self) -> bool {
        let hits = |(from, length): &(Duration, Duration)| *from <= self.now && self.now < *from + *length;
        self.scenario.outages.iter().any(hits)
    }

    fn call_turn(&mut self, id: u64, turn: Turn, dialer: &mut dyn Dialer) {
        let outage = self.outage();
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let scenario = self.scenario;
        match (turn, call.callee) {
            (Turn::Setup, _) if outage => {
                self.tally.refused_by_outage += 1;
                self.end(id, Outcome::Congestion, dialer);
            }
            (Turn::Setup, Callee::Refuses) => self.end(id, Outcome::Busy, dialer),
            (Turn::Setup, callee) => {
                let (ring, next) = match callee {
                    Callee::Person => (scenario.ring_person.draw(&mut call.rng), Turn::Answer),
                    Callee::Machine => (scenario.ring_machine.draw(&mut call.rng), Turn::Answer),
                    Callee::Nobody | Callee::Refuses => (scenario.ring_timeout, Turn::RingOut),
                };
                self.tell(Heard::Call(id, CallStep::Ringing), dialer);
                if ring < scenario.ring_timeout {
                    self.after(ring, Event::Call(id, next));
                } else {
                    self.after(scenario.ring_timeout, Event::Call(id, Turn::RingOut));
                }
            }
            (Turn::Answer, callee) => {
                let delay = match callee {
                    Callee::Person => scenario.amd_person.draw(&mut call.rng),
                    Callee::Machine | Callee::Nobody | Callee::Refuses => {
                        scenario.amd_machine.draw(&mut call.rng)
                    }
                };
                self.tell(Heard::Call(id, CallStep::Answered), dialer);
                self.after(delay, Event::Call(id, Turn::Verdict));
            }
            (Turn::RingOut, _) => self.end(id, Outcome::NoAnswer, dialer),
            (Turn::Verdict, callee) => {
                let wrong = happens(&mut call.rng, scenario.amd_wrong);
                if matches!(callee, Callee::Person) != wrong {
                    self.tell(Heard::Call(id, CallStep::Person), dialer);
                    self.waiting.push_back(id);
                    self.after(scenario.connect_limit, Event::Call(id, Turn::GiveUp));
                    self.serve(dialer);
                } else {
                    self.tell(Heard::Call(id, CallStep::Machine), dialer);
                    self.end(id, Outcome::Machine, dialer);
                }
            }
            (Turn::GiveUp, _) => {
                if let Some(at) = self.waiting.iter().position(|waits| *waits == id) {
                    self.waiting.remove(at);
                    self.calls.remove(&id);
                    self.flight -= 1;
                    let sample = self.tally.at(self.now);
                    sample.live += 1;
                    sample.abandoned += 1;
                    self.tell(Heard::Call(id, CallStep::Abandoned), dialer);
                }
            }
        }
    }

    fn end(&mut self, id: u64, outcome: Outcome, dialer: &mut dyn Dialer) {
        if self.calls.remove(&id).is_some() {
            self.flight -= 1;
        }
        let step = CallStep::Ended {
            outcome: Some(outcome),
            waits: Waits::default(),
        };
        self.tell(Heard::Call(id, step), dialer);
    }

    /// Connects waiting callees to free agents.
    fn serve(&mut self, dialer: &mut dyn Dialer) {
        while !self.waiting.is_empty() {
            let Some((_, id)) = self.free.pop_first() else {
                return;
            };
            let Some(call_id) = self.waiting.pop_front() else {
                return;
            };
            self.flight -= 1;
            self.busy += 1;
            self.tally.at(self.now).live += 1;
            let factor = level_at(&self.scenario.talk_factor, self.now);
            let talk = match self.calls.get_mut(&call_id) {
                Some(call) if matches!(call.callee, Callee::Person) => {
                    self.scenario.talk.draw(&mut call.rng).mul_f64(factor.max(0.0))
                }
                _ => MACHINE_TALK,
            };
            let Some(agent) = self.agents.get_mut(&id) else {
                continue;
            };
            agent.step = AgentStep::OnCall;
            agent.call = Some(call_id);
            agent.turn += 1;
            let (turn, stuck) = (agent.turn, agent.stuck);
            self.tell(
                Heard::Call(call_id, CallStep::Connected(Waits::default())),
                dialer,
            );
            self.tell(Heard::Agent(id, AgentStep::OnCall), dialer);
            if !stuck {
                self.after(talk, Event::AgentDone(id, turn));
            }
        }
    }

    fn agent_done(&mut self, id: u32, turn: u64, dialer: &mut dyn Dialer) {
        let Some(agent) = self.agents.get_mut(&id).filter(|a| a.turn == turn) else {
            return;
        };
        agent.turn += 1;
        let turn = agent.turn;
        if let Some(call) = agent.call.take() {
            agent.step = AgentStep::WrapUp;
            let leaving = agent.leaving;
            let wrap_up = match self.calls.remove(&call) {
                Some(mut call) => self.scenario.wrap_up.draw(&mut call.rng),
                None => Duration::ZERO,
            };
            let step = CallStep::Ended {
                outcome: Some(Outcome::Answered),
                waits: Waits::default(),
            };
            self.tell(Heard::Call(call, step), dialer);
            if leaving {
                self.busy -= 1;
                self.agents.remove(&id);
                self.tell(Heard::Agent(id, AgentStep::Offline), dialer);
            } else {
                self.tell(Heard::Agent(id, AgentStep::WrapUp), dialer);
                self.after(wrap_up, Event::AgentDone(id, turn));
            }
            return;
        }
        self.busy -= 1;
        if agent.leaving {
            self.agents.remove(&id);
            self.tell(Heard::Agent(id, AgentStep::Offline), dialer);
            return;
        }
        self.free_again(id, dialer);
    }

    fn free_again(&mut self, id: u32, dialer: &mut dyn Dialer) {
        if let Some(agent) = self.agents.get_mut(&id) {
            agent.step = AgentStep::Available;
        }
        self.tell(Heard::Agent(id, AgentStep::Available), dialer);
        self.free.insert((self.now, id));
        self.serve(dialer);
    }
}

fn hear(heard: Heard, at: Duration, dialer: &mut dyn Dialer) {
    match heard {
        Heard::Agent(agent, step) => dialer.agent(Mono(at), agent, step),
        Heard::Call(call, step) => dialer.call(Mono(at), call, step),
    }
}
