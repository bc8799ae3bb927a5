//! One day: attempts arrive, get trunks, fail over, and end.

use super::carriers::{Carriers, Fault};
use super::scenario::{CARRIERS, REGIONS, TRUNKS, TrunkScenario};
use super::{Router, TrunkCall};
use crate::random::{Spread, happens, stream};
use paceline_core::outcome::Outcome;
use paceline_core::time::Mono;
use paceline_core::trunks::{LegResult, LegStep};
use rand::RngExt;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::Duration;

/// An attempt without a trunk asks again after this time...
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// ...and is given back after this one.
const ASK_MAX: Duration = Duration::from_secs(30);
/// A refusal comes after this time.
const REFUSAL: Duration = Duration::from_millis(200);
const SECOND: Duration = Duration::from_secs(1);

/// The counters of a day.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TrunkTally {
    /// Attempts.
    pub attempts: u64,
    /// Attempts that reached a person.
    pub answered: u64,
    /// Attempts that ended by a fault of a trunk: no phone rang because of it, or a false answer.
    pub burnt: u64,
    /// Attempts that got no trunk in time. Their contacts are not burnt.
    pub unplaced: u64,
    /// Legs.
    pub legs: u64,
    /// Legs beyond the caps of their trunk.
    pub over_caps: u64,
}

impl TrunkTally {
    /// Adds the counters of another day.
    pub fn add(&mut self, other: &TrunkTally) {
        self.attempts += other.attempts;
        self.answered += other.answered;
        self.burnt += other.burnt;
        self.unplaced += other.unplaced;
        self.legs += other.legs;
        self.over_caps += other.over_caps;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives(u64),
    Asks(u64),
    Rings(u64),
    Answers(u64),
    Ends(u64),
}

struct Attempt {
    began: Duration,
    call: TrunkCall,
    /// Position of the callee among all: who answers at a rate, answers at every higher one.
    answers_at: f64,
    is_machine: bool,
    is_busy: bool,
    ring: Duration,
    talk: Duration,
}

/// What will happen to a leg.
struct Leg {
    attempt: Attempt,
    trunk: usize,
    result: LegResult,
    is_live: bool,
    is_fault: bool,
    may_fail_over: bool,
}

struct Day<'a> {
    scenario: &'a TrunkScenario,
    carriers: &'a Carriers,
    seed: u64,
    queue: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    events: u64,
    next_leg: u64,
    asking: BTreeMap<u64, Attempt>,
    legs: BTreeMap<u64, Leg>,
    in_use: [u32; TRUNKS],
    starts: [VecDeque<Duration>; TRUNKS],
    tally: TrunkTally,
}

/// Runs the day of a seed.
pub fn run(scenario: &TrunkScenario, seed: u64, router: &mut dyn Router) -> TrunkTally {
    let carriers = Carriers::new(scenario, seed);
    let mut day = Day {
        scenario,
        carriers: &carriers,
        seed,
        queue: BinaryHeap::new(),
        events: 0,
        next_leg: 0,
        asking: BTreeMap::new(),
        legs: BTreeMap::new(),
        in_use: [0; TRUNKS],
        starts: Default::default(),
        tally: TrunkTally::default(),
    };
    day.at(Duration::ZERO, Event::Arrives(0));
    while let Some(Reverse((at, _, event))) = day.queue.pop() {
        match event {
            Event::Arrives(nth) => day.arrives(at, nth, router),
            Event::Asks(leg) => {
                if let Some(attempt) = day.asking.remove(&leg) {
                    day.asks(at, attempt, router);
                }
            }
            Event::Rings(leg) => day.tell(at, leg, LegStep::Ringing, router),
            Event::Answers(leg) => day.tell(at, leg, LegStep::Answered, router),
            Event::Ends(leg) => day.ends(at, leg, router),
        }
    }
    day.tally
}

impl Day<'_> {
    fn at(&mut self, at: Duration, event: Event) {
        self.events += 1;
        self.queue.push(Reverse((at, self.events, event)));
    }

    fn arrives(&mut self, at: Duration, nth: u64, router: &mut dyn Router) {
        let mut rng = stream(self.seed, "attempt", "", nth);
        let gap = Spread::Exponential(Duration::from_secs_f64(1.0 / self.scenario.attempts_per_s));
        let next = at + gap.draw(&mut rng);
        if next < self.scenario.length {
            self.at(next, Event::Arrives(nth + 1));
        }
        let is_short = happens(&mut rng, self.scenario.hang_up_at_once);
        let attempt = Attempt {
            began: at,
            call: TrunkCall {
                leg: 0,
                region: rng.random_range(0..REGIONS),
                carrier: rng.random_range(0..CARRIERS),
                tried: Vec::new(),
            },
            answers_at: rng.random(),
            is_machine: happens(&mut rng, self.scenario.machines),
            is_busy: happens(&mut rng, self.scenario.busy),
            ring: self.scenario.ring.draw(&mut rng),
            talk: if is_short {
                Spread::Uniform(SECOND, SECOND * 5).draw(&mut rng)
            } else {
                SECOND * 5 + self.scenario.talk.draw(&mut rng)
            },
        };
        self.tally.attempts += 1;
        self.asks(at, attempt, router);
    }

    fn room(&mut self, at: Duration) -> [bool; TRUNKS] {
        let mut room = [false; TRUNKS];
        let state = room.iter_mut().zip(&mut self.starts).zip(&self.in_use);
        for (trunk, ((room, starts), in_use)) in state.enumerate() {
            while starts.front().is_some_and(|start| at > *start + SECOND) {
                starts.pop_front();
            }
            let (channels, calls_per_s) = self.carriers.caps(trunk);
            *room = *in_use < channels && starts.len() < calls_per_s as usize;
        }
        room
    }

    fn asks(&mut self, at: Duration, mut attempt: Attempt, router: &mut dyn Router) {
        if attempt.call.leg == 0 {
            self.next_leg += 1;
            attempt.call.leg = self.next_leg;
        }
        let room = self.room(at);
        match router.choose(Mono::START + at, &attempt.call, &room) {
            Some(trunk) => {
                let has_room = room.get(trunk).copied().unwrap_or(false);
                self.tally.over_caps += u64::from(!has_room);
                self.dials(at, attempt, trunk, router);
            }
            None if at < attempt.began + ASK_MAX && attempt.call.tried.is_empty() => {
                let leg = attempt.call.leg;
                self.asking.insert(leg, attempt);
                self.at(at + ASK_AGAIN, Event::Asks(leg));
            }
            None if attempt.call.tried.is_empty() => self.tally.unplaced += 1,
            None => self.tally.burnt += 1,
        }
    }

    fn dials(&mut self, at: Duration, attempt: Attempt, trunk: usize, router: &mut dyn Router) {
        let leg = attempt.call.leg;
        router.leg(Mono::START + at, &attempt.call, trunk, LegStep::Dialing);
        self.tally.legs += 1;
        if let (Some(in_use), Some(starts)) = (self.in_use.get_mut(trunk), self.starts.get_mut(trunk)) {
            *in_use += 1;
            starts.push_back(at);
        }
        let mut rng = stream(self.seed, "leg", &trunk.to_string(), leg);
        let delay = self.carriers.delay(trunk, &mut rng);
        let (fails, is_false) = (rng.random::<f64>(), rng.random::<f64>());
        let fault = self.carriers.fault(trunk, at);
        let refused = match fault {
            Some(Fault::Refuses) => true,
            Some(Fault::Partly(share)) => fails < share,
            Some(Fault::Silent | Fault::FalseAnswers(_)) | None => fails < self.carriers.failures(trunk),
        };
        let falsely = matches!(fault, Some(Fault::FalseAnswers(share)) if is_false < share);
        let timeout = self.scenario.ring_timeout;
        let of = |outcome: Outcome| LegResult {
            outcome: Some(outcome),
            ..LegResult::default()
        };
        let mut planned = Leg {
            trunk,
            result: of(Outcome::Congestion),
            is_live: false,
            is_fault: true,
            may_fail_over: true,
            attempt,
        };
        let ends = if refused {
            at + REFUSAL
        } else if fault == Some(Fault::Silent) {
            at + timeout
        } else if falsely {
            let answered = at + delay;
            let talk = Spread::Uniform(SECOND / 2, SECOND * 4).draw(&mut rng);
            self.at(answered, Event::Answers(leg));
            planned.may_fail_over = false;
            planned.result = LegResult {
                talk: Some(talk),
                ..of(Outcome::Answered)
            };
            answered + talk
        } else {
            (planned.is_fault, planned.may_fail_over) = (false, false);
            self.rings(at + delay, &mut planned)
        };
        self.at(ends, Event::Ends(leg));
        self.legs.insert(leg, planned);
    }

    /// A leg that reaches the callee's phone. Returns its end.
    fn rings(&mut self, rings: Duration, leg: &mut Leg) -> Duration {
        let attempt = &leg.attempt;
        let call = &attempt.call;
        let live = self.carriers.live(rings, call.region);
        let chance = live * self.carriers.quality(leg.trunk, rings, call.region, call.carrier);
        let answers = rings + attempt.ring;
        let gives_up = rings + self.scenario.ring_timeout;
        let (talk, ring, id) = (attempt.talk, attempt.ring, call.leg);
        let (is_machine, is_busy) = (attempt.is_machine, attempt.is_busy);
        let (outcome, answered, ends) = if attempt.answers_at < chance && answers < gives_up {
            leg.is_live = true;
            (Outcome::Answered, Some(answers), answers + talk)
        } else if is_machine {
            let answers = rings + Duration::from_secs(16) + ring / 4;
            (Outcome::Machine, Some(answers), answers + Duration::from_secs(8))
        } else if is_busy {
            (Outcome::Busy, None, rings + SECOND / 2)
        } else {
            (Outcome::NoAnswer, None, gives_up)
        };
        if outcome != Outcome::Busy {
            self.at(rings, Event::Rings(id));
        }
        if let Some(answered) = answered {
            self.at(answered, Event::Answers(id));
            leg.result.talk = Some(ends - answered);
        }
        leg.result.outcome = Some(outcome);
        ends
    }

    fn tell(&mut self, at: Duration, leg: u64, step: LegStep, router: &mut dyn Router) {
        if let Some(leg) = self.legs.get(&leg) {
            router.leg(Mono::START + at, &leg.attempt.call, leg.trunk, step);
        }
    }

    fn ends(&mut self, at: Duration, id: u64, router: &mut dyn Router) {
        let Some(leg) = self.legs.remove(&id) else { return };
        router.leg(
            Mono::START + at,
            &leg.attempt.call,
            leg.trunk,
            LegStep::Ended(leg.result),
        );
        if let Some(in_use) = self.in_use.get_mut(leg.trunk) {
            *in_use -= 1;
        }
        self.tally.answered += u64::from(leg.is_live);
        if !leg.is_fault {
            return;
        }
        let mut attempt = leg.attempt;
        attempt.call.tried.push(leg.trunk);
        attempt.call.leg = 0;
        let may = leg.may_fail_over
            && at < attempt.began + self.scenario.attempt_max
            && attempt.call.tried.len() < self.scenario.legs_max;
        if may {
            self.asks(at, attempt, router);
        } else {
            self.tally.burnt += 1;
        }
    }
}
