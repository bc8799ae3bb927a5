//! The calls and agents at one tick, as probabilities.

use super::forecast::{HORIZONS, Row, Tables, dial, horizons, ring};
use super::tracked::{AgentSpell, Answer};
use super::{ASKED_SECS_MAX, AgentStep, PacingController};

impl PacingController {
    /// All calls that may need an agent and all agents that may stay busy, at the time `at`.
    pub(super) fn snapshot(&self, at: f64) -> Snapshot {
        let mut snapshot = Snapshot {
            busy: Vec::with_capacity(self.tracked.agents.len()),
            calls: Vec::with_capacity(self.tracked.calls.len() + self.tracked.asked.len()),
            arrivals: Row::ZERO,
            seats: 0,
            free: 0,
            in_flight: self.tracked.calls.len() + self.tracked.asked.len(),
        };
        for asked in &self.tracked.asked {
            snapshot.arrives(*self.tables.dialing((at - asked).min(ASKED_SECS_MAX)));
        }
        for spell in self.tracked.calls.values() {
            snapshot.arrives(self.row(spell, at));
        }
        let limit = self.settings.connect_limit.as_secs_f64();
        let answered = self.tables.dialing(0.0).steps();
        for spell in self.tracked.agents.values() {
            snapshot.agent(spell, at, limit, &self.tables, &answered);
        }
        snapshot
    }

    /// The forecast for an answered call that is still being judged. A machine usually takes longer to recognise than a
    /// person, so the longer it takes, the less likely is a person.
    pub(super) fn verdict_row(&self, answer: Answer, listened: f64) -> Row {
        let (live, machine) = if answer.rang {
            let rates = self.learner.ringing.rates(answer.age);
            (rates.get(ring::LIVE).copied(), rates.get(ring::MACHINE).copied())
        } else {
            let rates = self.learner.dialing.rates(answer.age);
            (rates.get(dial::LIVE).copied(), rates.get(dial::MACHINE).copied())
        };
        let drift = self.learner.drift(self.live_rate.rate());
        let (person, other) = (&self.learner.person_delay, &self.learner.machine_delay);
        let undecided = 1.0 - person.share(listened);
        let weight = live.unwrap_or(0.0) * drift;
        let all = weight * undecided + machine.unwrap_or(0.0) * (1.0 - other.share(listened));
        if all < 1e-9 {
            return Row::ZERO;
        }
        Row(horizons()
            .map(|t| (weight * (person.share(listened + t) - person.share(listened)) / all).clamp(0.0, 1.0)))
    }
}

/// The calls and agents at one tick, as probabilities.
pub(super) struct Snapshot {
    /// One row for each agent who may stay busy.
    pub(super) busy: Vec<Row>,
    /// One row for each call that may need an agent.
    pub(super) calls: Vec<Row>,
    /// Sum of all rows of `calls`.
    pub(super) arrivals: Row,
    /// Number of agents who are logged in, not paused and not about to log out.
    pub(super) seats: usize,
    /// Number of these agents who are available now.
    pub(super) free: usize,
    pub(super) in_flight: usize,
}

impl Snapshot {
    fn arrives(&mut self, row: Row) {
        for (sum, p) in self.arrivals.0.iter_mut().zip(row.0) {
            *sum += p;
        }
        if row.last() > 1e-9 {
            self.calls.push(row);
        }
    }

    /// `answered`: the distribution of the time at which a call launched now would be answered.
    fn agent(&mut self, spell: &AgentSpell, at: f64, limit: f64, tables: &Tables, answered: &Row) {
        let age = at - spell.since;
        let leaves_in = spell.leaves_at.map(|leaves| leaves - at);
        let busy = match spell.step {
            AgentStep::Offline | AgentStep::Paused => return,
            AgentStep::Available => Row::ZERO,
            AgentStep::OnCall => *tables.talk(age),
            AgentStep::WrapUp => *tables.wrap_up(age),
        };
        self.seats += 1;
        match leaves_in {
            Some(leaves_in) => {
                let mut gone = busy;
                for (p, t) in gone.0.iter_mut().zip(horizons()) {
                    if t + limit > leaves_in {
                        *p = 1.0;
                    }
                }
                let stays = weighted(answered, &gone) < 0.5;
                if stays && spell.step == AgentStep::Available {
                    self.free += 1;
                }
                self.busy.push(gone);
            }
            None if spell.step == AgentStep::Available => self.free += 1,
            None => self.busy.push(busy),
        }
    }
}

/// Mean of `values` over the horizons, weighted by `weights`.
pub(super) fn weighted(weights: &Row, values: &Row) -> f64 {
    let (mut sum, mut total) = (0.0, 0.0);
    for (weight, value) in weights.0.iter().zip(values.0).take(HORIZONS) {
        sum += weight * value;
        total += weight;
    }
    if total > 1e-12 {
        (sum / total).clamp(0.0, 1.0)
    } else {
        0.0
    }
}
