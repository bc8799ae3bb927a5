//! The input of the engine after a gap in the random test: a snapshot of the PBX, and the stored state after a crash.

use super::*;

impl Hunt {
    /// A random half of the legs that were ever dialed, each in a random state.
    pub(super) fn snapshot(&self, seed: u64) -> BTreeMap<uuid::Uuid, ChannelState> {
        let mut channels = BTreeMap::new();
        let bit = |n: usize| seed.rotate_right(u32::try_from(n % 64).unwrap()) & 1 == 1;
        for (n, leg) in self.agent_legs.iter().enumerate().filter(|(n, _)| bit(*n)) {
            let bridge = bit(n + 3).then_some(*leg);
            channels.insert(
                leg.0,
                ChannelState {
                    phase: ChannelPhase::Up,
                    bridge,
                    in_our_app: true,
                    up_for: None,
                    trouble: bit(n + 11).then_some(LegTrouble::OnHold),
                    with_others: false,
                },
            );
        }
        for (n, leg) in self.legs.iter().enumerate().filter(|(n, _)| bit(n + 17)) {
            let bridge = if bit(n + 5) {
                self.agent_legs.get(n % self.agent_legs.len().max(1)).copied()
            } else {
                None
            };
            let phase = if bit(n + 29) || bridge.is_some() {
                ChannelPhase::Up
            } else {
                ChannelPhase::Ringing
            };
            channels.insert(
                leg.0,
                ChannelState {
                    phase,
                    bridge,
                    in_our_app: true,
                    up_for: None,
                    trouble: None,
                    with_others: bit(n + 41),
                },
            );
        }
        channels
    }

    /// The stored rows of attempts without an outcome.
    fn open_attempts(&self) -> Vec<OpenAttempt> {
        let open = self
            .stored
            .values()
            .filter(|new| !self.ended.contains_key(&new.attempt));
        let attempts = open.map(|new| {
            let answer = self.rows.answer(new.attempt);
            OpenAttempt {
                attempt: new.attempt,
                leg: new.leg,
                pbx: new.pbx.clone(),
                trunk: new.trunk,
                leg_end: self.leg_ends.get(&new.leg).cloned(),
                lead: new.lead.clone(),
                created_at: new.created_at,
                answered_at: answer.map(|row| row.answered_at),
                abandoned_at: answer.and_then(|row| row.abandoned_at),
                connected: self.connected.get(&new.attempt).copied(),
            }
        });
        attempts.collect()
    }

    /// Crashes the process. The next one starts from the stored state. If `half` is set, the newest outcome was not stored.
    pub(super) fn crash(&mut self, half: bool) {
        if let Some(attempt) = self.last_ended.take().filter(|_| half) {
            self.ended.remove(&attempt);
            self.last_calls.retain(|_, last| last.attempt != attempt);
            self.rows.reopen(attempt);
        }
        let attempts = self.open_attempts();
        let engine = &self.rig.engine;
        let agents = engine.agents.values().map(|a| OpenAgent {
            agent: a.id,
            pbx: a.pbx.clone(),
            template: a.template.clone(),
            extension: a.extension.clone(),
            leg: a.phone.leg(),
            wants: a.wants,
            last_call: self.last_calls.get(&a.id).copied(),
        });
        let agents = agents.collect();
        self.prepares.clear();
        self.refills = 0;
        self.crashes += 1;
        self.messaged.clear();
        self.left.clear();
        self.sent.clear();
        let seed = 100 + self.crashes;
        let recovered = Recovered {
            attempts,
            agents,
            learnt: self.learnt.clone().into_iter().collect(),
            answers: self.rows.answers(self.rule()),
        };
        self.rig.engine = Engine::new(self.config.clone(), seed, recovered, self.rig.now);
        self.rig.settle();
        self.opt_out_again();
        let on = self.maintained;
        self.rig.tell(Input::Maintenance { pbx: pbx(), on });
        self.rig.tell(Input::SetActive(true));
    }
}
