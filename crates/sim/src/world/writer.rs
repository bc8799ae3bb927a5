//! The path to the store and back. Attempts and changes of one engine are written in order. Contacts are leased and given
//! back independently, in any order. Everything takes time and can fail.

use super::store::{ContactKey, Gate};
use super::{Happening, World};
use crate::random::happens;
use paceline_core::command::{Change, NewAttempt};
use paceline_core::input::{Input, Prepared};
use rand::RngExt;
use std::time::Duration;

/// A write, in order with the others of its engine.
#[derive(Clone, Debug)]
pub(super) enum Writing {
    Prepare(NewAttempt),
    Change(Change),
}

/// A request that needs no order.
#[derive(Debug)]
pub(super) enum Aside {
    Refill { limit: usize },
    Return { contacts: Vec<ContactKey> },
}

/// A reply of the store on its way to an engine.
#[derive(Debug)]
pub(super) struct Reply(Input);

impl World {
    pub(super) fn write(&mut self, campaign: usize, writing: Writing) {
        let Some(process) = self.process.as_mut() else {
            return;
        };
        let start = process.start;
        let Some(queue) = process.writing.get_mut(campaign) else {
            return;
        };
        queue.push_back(writing);
        if queue.len() == 1 {
            self.plan_write(start, campaign);
        }
    }

    fn plan_write(&mut self, start: u64, campaign: usize) {
        let latency = self.options.store_latency.draw(&mut self.rng_store);
        self.plan(latency, Happening::StoreWrites { start, campaign });
    }

    pub(super) fn ask_aside(&mut self, campaign: usize, asked: Aside) {
        let Some(start) = self.process.as_ref().map(|p| p.start) else {
            return;
        };
        let latency = self.options.store_latency.draw(&mut self.rng_store);
        self.plan(
            latency,
            Happening::StoreAside {
                start,
                campaign,
                asked,
            },
        );
    }

    /// The store executes the first write of an engine's queue.
    pub(super) fn store_writes(&mut self, start: u64, campaign: usize) -> Result<(), String> {
        let fails = happens(&mut self.rng_store, self.options.store_fails);
        let stored_all_the_same = happens(&mut self.rng_store, 0.5);
        let gate = self.draw_gate();
        let Some(process) = self.process.as_mut().filter(|p| p.start == start) else {
            return Ok(());
        };
        let Some(queue) = process.writing.get_mut(campaign) else {
            return Ok(());
        };
        // A change is repeated until it is written.
        if fails && matches!(queue.front(), Some(Writing::Change(_))) {
            self.plan_write(start, campaign);
            return Ok(());
        }
        let Some(writing) = queue.pop_front() else {
            return Ok(());
        };
        if !queue.is_empty() {
            self.plan_write(start, campaign);
        }
        match writing {
            Writing::Change(change) => self.store.apply(change),
            Writing::Prepare(new) => {
                let (attempt, key) = (new.attempt, (new.lead.task, new.lead.contact));
                let wall = self.now().wall;
                let stored = if fails && !stored_all_the_same {
                    None
                } else {
                    Some(self.store.prepare(campaign, new, gate, wall)?)
                };
                let result = match stored {
                    Some(true) if !fails => Prepared::Allowed,
                    Some(false) if !fails => Prepared::Refused,
                    Some(false) => Prepared::Failed,
                    Some(true) | None => {
                        self.store.stuck.insert(key);
                        Prepared::Failed
                    }
                };
                self.plan_reply(start, campaign, Input::Prepared { attempt, result });
                Ok(())
            }
        }
    }

    /// The store leases contacts or takes them back.
    pub(super) fn store_aside(&mut self, start: u64, campaign: usize, asked: Aside) -> Result<(), String> {
        let fails = happens(&mut self.rng_store, self.options.store_fails);
        let done_all_the_same = happens(&mut self.rng_store, 0.5);
        let wall = self.now().wall;
        if self.process.as_ref().is_none_or(|p| p.start != start) {
            return Ok(());
        }
        match asked {
            Aside::Refill { .. } if fails && !done_all_the_same => {
                self.plan_reply(start, campaign, Input::RefillFailed);
            }
            Aside::Refill { limit } => {
                let (leads, next_due) = self.store.lease(campaign, limit, wall);
                if fails {
                    self.store.stuck.extend(leads.iter().map(|l| (l.task, l.contact)));
                    self.plan_reply(start, campaign, Input::RefillFailed);
                } else {
                    self.plan_reply(start, campaign, Input::Leads { leads, next_due });
                }
            }
            Aside::Return { contacts } if fails => self.store.stuck.extend(contacts),
            Aside::Return { contacts } => {
                for key in contacts {
                    self.store.give_back(key, wall)?;
                }
            }
        }
        Ok(())
    }

    fn plan_reply(&mut self, start: u64, campaign: usize, input: Input) {
        let latency = Duration::from_micros(self.rng_store.random_range(50..1000));
        let reply = Reply(input);
        self.plan(
            latency,
            Happening::StoreReplies {
                start,
                campaign,
                reply,
            },
        );
    }

    fn draw_gate(&mut self) -> Gate {
        let refuses = happens(&mut self.rng_store, self.options.gate_refuses);
        let defers = happens(&mut self.rng_store, 0.7);
        let by = Duration::from_secs(self.rng_store.random_range(1..3600));
        match (refuses, defers) {
            (false, _) => Gate::Allow,
            (true, true) => Gate::Defer(by),
            (true, false) => Gate::Deny,
        }
    }

    pub(super) fn store_replies(&mut self, start: u64, campaign: usize, reply: Reply) -> Result<(), String> {
        if self.process.as_ref().is_none_or(|p| p.start != start) {
            return Ok(());
        }
        self.tell(campaign, reply.0)
    }
}
