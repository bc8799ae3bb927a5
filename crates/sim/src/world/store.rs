//! A model of the store. It checks the order of operations as strictly as the real one: one lease for each number, an
//! attempt is stored before it is dialed, each attempt has one outcome, and a new run finds what was stored.

use paceline_core::agent::{AgentState, Wants};
use paceline_core::command::{Change, NewAttempt};
use paceline_core::ids::{AgentId, AgentLegId, AttemptId, CampaignId, ContactId, LegId, PbxName, TaskId};
use paceline_core::input::{LastCall, Lead, OpenAttempt};
use paceline_core::number::E164;
use paceline_core::outcome::Outcome;
use paceline_core::pacing::Learnt;
use paceline_core::pacing::rules::{AbandonRule, AnswerRow, Answers};
use paceline_core::pbx::{LegEnd, RecordingName};
use paceline_core::time::Wall;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Wait of a contact whose number is leased for another contact.
const LOCKED_RETRY: Duration = Duration::from_secs(60);

pub(crate) type ContactKey = (TaskId, ContactId);

#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) tasks: BTreeMap<TaskId, Task>,
    pub(crate) contacts: BTreeMap<ContactKey, Contact>,
    pub(crate) attempts: BTreeMap<AttemptId, Attempt>,
    pub(crate) legs: BTreeMap<LegId, AttemptId>,
    pub(crate) agents: BTreeMap<AgentId, AgentRow>,
    open: BTreeMap<ContactKey, AttemptId>,
    numbers: BTreeMap<E164, ContactKey>,
    recordings: BTreeSet<RecordingName>,
    learnt: BTreeMap<(CampaignId, PbxName), Learnt>,
    /// Contacts whose preparation failed. They stay leased until the next start.
    pub(crate) stuck: BTreeSet<ContactKey>,
}

#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) campaign: usize,
    pub(crate) running: bool,
}

#[derive(Debug)]
pub(crate) struct Contact {
    pub(crate) number: E164,
    pub(crate) state: ContactState,
    attempts_made: u32,
    tries_made: u32,
    retries_max: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContactState {
    Ready { due: Wall },
    Leased,
    Done,
}

#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) campaign: usize,
    pub(crate) new: NewAttempt,
    pub(crate) dialed: bool,
    answered_at: Option<Wall>,
    connected: Option<(Wall, AgentId)>,
    abandoned_at: Option<Wall>,
    messaged_at: Option<Wall>,
    leg_end: Option<(Wall, LegEnd)>,
    ended_at: Option<Wall>,
    pub(crate) outcome: Option<Outcome>,
}

#[derive(Debug)]
pub(crate) struct AgentRow {
    pub(crate) state: AgentState,
    pub(crate) leg: Option<AgentLegId>,
    pub(crate) wants: Wants,
}

/// The decision of the gate just before the originate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    Allow,
    Defer(Duration),
    Deny,
}

impl Store {
    pub(crate) fn add_contact(&mut self, key: ContactKey, number: E164, retries_max: u32, due: Wall) {
        let state = ContactState::Ready { due };
        self.contacts.insert(
            key,
            Contact {
                number,
                state,
                attempts_made: 0,
                tries_made: 0,
                retries_max,
            },
        );
    }

    /// Leases due contacts of the campaign's running tasks.
    pub(crate) fn lease(&mut self, campaign: usize, limit: usize, now: Wall) -> (Vec<Lead>, Option<Wall>) {
        let mut leads = Vec::new();
        let mut next_due = None::<Wall>;
        for (key, contact) in &mut self.contacts {
            if !self
                .tasks
                .get(&key.0)
                .is_some_and(|t| t.campaign == campaign && t.running)
            {
                continue;
            }
            let ContactState::Ready { due } = &mut contact.state else {
                continue;
            };
            if *due <= now && leads.len() < limit {
                if self.numbers.contains_key(&contact.number) {
                    *due = now.plus(LOCKED_RETRY);
                } else {
                    self.numbers.insert(contact.number.clone(), *key);
                    contact.state = ContactState::Leased;
                    leads.push(contact.lead(*key));
                    continue;
                }
            }
            next_due = Some(next_due.map_or(*due, |next| next.min(*due)));
        }
        (leads, next_due)
    }

    /// Makes a leased contact without an open attempt ready again.
    pub(crate) fn give_back(&mut self, key: ContactKey, due: Wall) -> Result<(), String> {
        if self.open.contains_key(&key) {
            return Err(format!(
                "contact {key:?} was given back in the middle of an attempt"
            ));
        }
        let contact = self.contacts.get_mut(&key).ok_or("no such contact")?;
        if contact.state != ContactState::Leased {
            return Err(format!(
                "contact {key:?} was given back while it was {:?}",
                contact.state
            ));
        }
        contact.state = ContactState::Ready { due };
        self.numbers.remove(&contact.number);
        Ok(())
    }

    /// Stores an attempt if its contact is still leased, its task is running and the gate allows it. Returns whether it was
    /// stored.
    pub(crate) fn prepare(
        &mut self,
        campaign: usize,
        new: NewAttempt,
        gate: Gate,
        now: Wall,
    ) -> Result<bool, String> {
        let key = (new.lead.task, new.lead.contact);
        let contact = self
            .contacts
            .get(&key)
            .ok_or("an attempt for an unknown contact")?;
        if contact.state != ContactState::Leased || self.numbers.get(&contact.number) != Some(&key) {
            return Err(format!("contact {key:?} is prepared without a lease"));
        }
        if let Some(open) = self.open.get(&key) {
            return Err(format!(
                "contact {key:?} is prepared while attempt {open} is open"
            ));
        }
        if self.legs.contains_key(&new.leg) || self.attempts.contains_key(&new.attempt) {
            return Err(format!("attempt {} or its leg is stored twice", new.attempt));
        }
        let running = self.tasks.get(&key.0).is_some_and(|t| t.running);
        let settled = match gate {
            Gate::Allow if running => None,
            Gate::Allow => Some(ContactState::Ready { due: now }),
            Gate::Defer(by) => Some(ContactState::Ready { due: now.plus(by) }),
            Gate::Deny => Some(ContactState::Done),
        };
        let contact = self
            .contacts
            .get_mut(&key)
            .ok_or("an attempt for an unknown contact")?;
        if let Some(state) = settled {
            contact.state = state;
            self.numbers.remove(&contact.number);
            return Ok(false);
        }
        contact.attempts_made += 1;
        self.legs.insert(new.leg, new.attempt);
        self.open.insert(key, new.attempt);
        let attempt = Attempt {
            campaign,
            new,
            dialed: false,
            answered_at: None,
            connected: None,
            abandoned_at: None,
            messaged_at: None,
            leg_end: None,
            ended_at: None,
            outcome: None,
        };
        self.attempts.insert(attempt.new.attempt, attempt);
        Ok(true)
    }

    /// Writes a change.
    pub(crate) fn apply(&mut self, change: Change) -> Result<(), String> {
        match change {
            Change::LegProgressed { leg, .. } => self
                .legs
                .get(&leg)
                .map(|_| ())
                .ok_or(format!("leg {leg} rings and is not stored")),
            Change::Answered { attempt, at, .. } => {
                self.open(attempt)?.answered_at.get_or_insert(at);
                Ok(())
            }
            Change::Abandoned { attempt, at } => {
                let open = self.open(attempt)?;
                if open.answered_at.is_none() || open.connected.is_some() {
                    return Err(format!("attempt {attempt} cannot be abandoned: {open:?}"));
                }
                open.abandoned_at.get_or_insert(at);
                Ok(())
            }
            Change::Connected { attempt, agent, at } => {
                let open = self.open(attempt)?;
                if open.abandoned_at.is_some() {
                    return Err(format!("attempt {attempt} was abandoned and is connected"));
                }
                open.connected = Some((at, agent));
                Ok(())
            }
            Change::Messaged { attempt, at, .. } => {
                let open = self.open(attempt)?;
                match open.messaged_at.replace(at) {
                    Some(_) => Err(format!("attempt {attempt} has two messages")),
                    None if open.connected.is_some() => {
                        Err(format!("attempt {attempt} was connected and has a message"))
                    }
                    None => Ok(()),
                }
            }
            Change::LegEnded {
                attempt,
                leg,
                end,
                at,
            } => {
                let open = self.open(attempt)?;
                if open.new.leg != leg {
                    return Err(format!("leg {leg} ends as another attempt's"));
                }
                match open.leg_end.replace((at, end)) {
                    Some(_) => Err(format!("leg {leg} ends twice")),
                    None => Ok(()),
                }
            }
            Change::AttemptEnded {
                attempt,
                leg,
                task,
                contact,
                outcome,
                retry_at,
                spends_try,
                at,
            } => {
                let open = self.open(attempt)?;
                if open.leg_end.is_none() {
                    return Err(format!("attempt {attempt} ends before its leg"));
                }
                if open.new.leg != leg || (open.new.lead.task, open.new.lead.contact) != (task, contact) {
                    return Err(format!("attempt {attempt} ends with another contact"));
                }
                (open.ended_at, open.outcome) = (Some(at), Some(outcome));
                let contact_id = contact;
                let contact = self
                    .contacts
                    .get_mut(&(task, contact_id))
                    .ok_or("no such contact")?;
                contact.tries_made += u32::from(spends_try);
                contact.state = retry_at.map_or(ContactState::Done, |due| ContactState::Ready { due });
                self.numbers.remove(&contact.number);
                self.open.remove(&(task, contact_id));
                Ok(())
            }
            Change::Agent {
                agent,
                state,
                leg,
                wants,
                ..
            } => {
                if state == AgentState::Offline {
                    self.agents.remove(&agent);
                } else {
                    self.agents.insert(agent, AgentRow { state, leg, wants });
                }
                Ok(())
            }
            Change::Learnt {
                campaign,
                pbx,
                learnt,
                ..
            } => {
                self.learnt.insert((campaign, pbx), *learnt);
                Ok(())
            }
            Change::RecordingAsked {
                recording, attempt, ..
            } => {
                self.open(attempt)?;
                if !self.recordings.insert(recording) {
                    return Err(format!("the conversation of attempt {attempt} is recorded twice"));
                }
                Ok(())
            }
            // A crash can have lost the row, but the recording exists all the same.
            Change::RecordingStarted { .. } | Change::RecordingEnded { .. } => Ok(()),
        }
    }

    fn open(&mut self, attempt: AttemptId) -> Result<&mut Attempt, String> {
        let row = self
            .attempts
            .get_mut(&attempt)
            .ok_or(format!("attempt {attempt} changes and is not stored"))?;
        match row.outcome {
            Some(outcome) => Err(format!("attempt {attempt} changes after it ended as {outcome}")),
            None => Ok(row),
        }
    }

    /// The agent's conversation that ended last.
    pub(crate) fn last_call(&self, agent: AgentId) -> Option<LastCall> {
        let ended = self.attempts.iter().filter_map(|(attempt, row)| {
            let with = row.connected.map(|(_, with)| with);
            let ended_at = row.ended_at.filter(|_| with == Some(agent))?;
            Some(LastCall {
                attempt: *attempt,
                ended_at,
            })
        });
        ended.max_by_key(|last| last.ended_at)
    }

    /// The learnt pacing rates of the campaign.
    pub(crate) fn learnt(&self, campaign: usize) -> Vec<(PbxName, Learnt)> {
        let ours = |((of, pbx), learnt): (&(CampaignId, PbxName), &Learnt)| {
            (of.0 == campaign as i64 + 1).then(|| (pbx.clone(), learnt.clone()))
        };
        self.learnt.iter().filter_map(ours).collect()
    }

    /// The campaign's ended answers from the attempts, for every connect limit of its rules.
    pub(crate) fn answers(&self, campaign: usize, rules: &[AbandonRule]) -> Vec<Answers> {
        let mut answers = Vec::new();
        // One rule for each limit is enough.
        let limits: BTreeMap<u32, &AbandonRule> = rules.iter().map(|rule| (rule.limit_ms, rule)).collect();
        for attempt in self.attempts.values().filter(|a| a.campaign == campaign) {
            let Some(row) = attempt.answer_row() else { continue };
            let Some(behaviour) = row.result() else { continue };
            for rule in limits.values() {
                answers.push(Answers {
                    from: row.answered_at,
                    limit_ms: rule.limit_ms,
                    tally: rule.tally(behaviour),
                });
            }
        }
        answers
    }

    /// Live answers and abandoned calls of all stored attempts of a campaign, as the rule weighs them. A rule that counts
    /// since the beginning of the campaign must have counted the same.
    pub(crate) fn account(&self, campaign: usize, rule: &AbandonRule) -> (f64, f64) {
        let weigh = |attempt: &Attempt| Some(rule.weigh(&rule.tally(attempt.answer_row()?.result()?)));
        self.attempts
            .values()
            .filter(|a| a.campaign == campaign)
            .filter_map(weigh)
            .fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Cleans up after earlier runs: leased contacts are ready again, and open attempts are returned.
    pub(crate) fn recover(&mut self, campaign: usize, now: Wall) -> Vec<OpenAttempt> {
        let open: BTreeMap<ContactKey, OpenAttempt> = self
            .attempts
            .values()
            .filter(|a| a.campaign == campaign && a.outcome.is_none())
            .map(|a| ((a.new.lead.task, a.new.lead.contact), a.open()))
            .collect();
        for (key, contact) in &mut self.contacts {
            let ours = self.tasks.get(&key.0).is_some_and(|t| t.campaign == campaign);
            if ours && contact.state == ContactState::Leased && !open.contains_key(key) {
                contact.state = ContactState::Ready { due: now };
                self.numbers.remove(&contact.number);
            }
            if ours {
                self.stuck.remove(key);
            }
        }
        open.into_values().collect()
    }

    /// True if this contact, or the contact that has the lease of its number, must wait for the next start.
    pub(crate) fn is_stuck(&self, key: ContactKey, contact: &Contact) -> bool {
        let holder = self.numbers.get(&contact.number);
        self.stuck.contains(&key) || holder.is_some_and(|holder| self.stuck.contains(holder))
    }

    /// Describes the first contact that is neither done nor waiting for its time.
    pub(crate) fn unsettled(&self) -> Option<String> {
        let contact = self
            .contacts
            .iter()
            .find(|(_, c)| c.state == ContactState::Leased);
        if let Some((key, _)) = contact {
            return Some(format!("contact {key:?} is still leased"));
        }
        let attempt = self.attempts.values().find(|a| a.outcome.is_none());
        if let Some(attempt) = attempt {
            return Some(format!("attempt {} has no outcome", attempt.new.attempt));
        }
        self.numbers
            .values()
            .next()
            .map(|key| format!("the number of contact {key:?} is still held"))
    }
}

impl Contact {
    fn lead(&self, key: ContactKey) -> Lead {
        Lead {
            contact: key.1,
            task: key.0,
            number: self.number.clone(),
            attempts_made: self.attempts_made,
            tries_made: self.tries_made,
            retries_max: self.retries_max,
        }
    }
}

impl Attempt {
    fn open(&self) -> OpenAttempt {
        OpenAttempt {
            attempt: self.new.attempt,
            leg: self.new.leg,
            pbx: self.new.pbx.clone(),
            trunk: self.new.trunk,
            leg_end: self.leg_end.clone(),
            lead: self.new.lead.clone(),
            created_at: self.new.created_at,
            answered_at: self.answered_at,
            abandoned_at: self.abandoned_at,
            connected: self.connected,
        }
    }

    fn answer_row(&self) -> Option<AnswerRow> {
        Some(AnswerRow {
            answered_at: self.answered_at?,
            connected_at: self.connected.map(|(at, _)| at),
            abandoned_at: self.abandoned_at,
            ended: self.ended_at.zip(self.outcome),
        })
    }

    pub(crate) fn pbx(&self) -> &PbxName {
        &self.new.pbx
    }
}
