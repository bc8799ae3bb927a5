//! The content of one transaction: queued entries, merged row by row. Pure.

use super::claim::Claim;
use paceline_core::agent::{AgentReason, AgentState, Wants};
use paceline_core::command::{Change, NewAttempt};
use paceline_core::gate::CampaignPolicy;
use paceline_core::ids::{AgentId, AgentLegId, AttemptId, CampaignId, ContactId, LegId, PbxName, TaskId};
use paceline_core::outcome::{MessageResult, Outcome};
use paceline_core::pacing::Learnt;
use paceline_core::pbx::{LegEnd, Progress, RecordingName};
use paceline_core::time::Wall;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A queued entry.
#[derive(Debug)]
pub(super) enum Entry {
    Prepare(Box<Prepare>),
    Change(CampaignId, Box<Change>),
    /// A contact whose attempt was given up. It becomes ready again, due at the given time.
    GiveBack(TaskId, ContactId, Wall),
}

/// An attempt that waits to be stored.
#[derive(Debug)]
pub(super) struct Prepare {
    pub(super) attempt: NewAttempt,
    pub(super) policy: Arc<CampaignPolicy>,
    pub(super) queued_at: Instant,
    pub(super) claim: Claim,
}

impl Prepare {
    /// The present time: the launch and the time in the queue.
    pub(super) fn now(&self) -> Wall {
        self.attempt.created_at.plus(self.queued_at.elapsed())
    }
}

/// Queued entries, merged so that each row is written once.
#[derive(Debug, Default)]
pub(super) struct Batch<'a> {
    pub(super) prepares: Vec<&'a Prepare>,
    pub(super) given_back: Vec<(TaskId, ContactId, Wall)>,
    pub(super) attempts: BTreeMap<AttemptId, AttemptChange>,
    pub(super) legs: BTreeMap<(AttemptId, LegId), LegChange<'a>>,
    pub(super) ended: Vec<Ended>,
    pub(super) agents: BTreeMap<AgentId, AgentChange<'a>>,
    pub(super) recordings: BTreeMap<&'a RecordingName, RecordingChange<'a>>,
    pub(super) learnt: BTreeMap<(CampaignId, &'a PbxName), (&'a Learnt, Wall)>,
}

#[derive(Debug, Default)]
pub(super) struct AttemptChange {
    pub(super) answered_at: Option<Wall>,
    pub(super) connected: Option<(Wall, AgentId)>,
    pub(super) abandoned_at: Option<Wall>,
    pub(super) message: Option<(Wall, MessageResult)>,
    pub(super) ended: Option<(Wall, Outcome)>,
}

#[derive(Debug, Default)]
pub(super) struct LegChange<'a> {
    pub(super) progress: Option<(Progress, Wall)>,
    pub(super) answered_at: Option<Wall>,
    pub(super) ended: Option<(&'a LegEnd, Wall)>,
}

/// The result for a contact whose attempt ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) attempt: AttemptId,
    pub(super) task: TaskId,
    pub(super) contact: ContactId,
    pub(super) outcome: Outcome,
    pub(super) retry_at: Option<Wall>,
    pub(super) spends_try: bool,
}

#[derive(Debug)]
pub(super) struct AgentChange<'a> {
    pub(super) campaign: CampaignId,
    pub(super) state: AgentState,
    pub(super) pbx: Option<&'a PbxName>,
    pub(super) leg: Option<AgentLegId>,
    pub(super) wants: Wants,
    pub(super) reason: AgentReason,
    pub(super) at: Wall,
}

#[derive(Debug, Default)]
pub(super) struct RecordingChange<'a> {
    pub(super) asked: Option<(AttemptId, AgentId, &'a PbxName, Wall)>,
    pub(super) started_at: Option<Wall>,
    pub(super) ended: Option<(Result<Option<Duration>, &'a str>, Wall)>,
}

impl<'a> Batch<'a> {
    /// Merges entries. The order of two rows in a batch does not matter, because they share one transaction. Of two
    /// values for one column the later one counts, except for columns that keep the first.
    pub(super) fn merge(entries: &'a [Entry]) -> Self {
        let mut batch = Self::default();
        for entry in entries {
            match entry {
                Entry::Prepare(prepare) => batch.prepares.push(prepare),
                Entry::GiveBack(task, contact, due) => batch.given_back.push((*task, *contact, *due)),
                Entry::Change(campaign, change) => batch.add(*campaign, change),
            }
        }
        batch
    }

    fn add(&mut self, campaign: CampaignId, change: &'a Change) {
        match change {
            Change::LegProgressed {
                attempt,
                leg,
                kind,
                at,
            } => {
                self.legs
                    .entry((*attempt, *leg))
                    .or_default()
                    .progress
                    .get_or_insert((*kind, *at));
            }
            Change::Answered { attempt, leg, at } => {
                self.legs
                    .entry((*attempt, *leg))
                    .or_default()
                    .answered_at
                    .get_or_insert(*at);
                self.attempts
                    .entry(*attempt)
                    .or_default()
                    .answered_at
                    .get_or_insert(*at);
            }
            Change::Abandoned { attempt, at } => {
                self.attempts
                    .entry(*attempt)
                    .or_default()
                    .abandoned_at
                    .get_or_insert(*at);
            }
            Change::Connected { attempt, agent, at } => {
                self.attempts.entry(*attempt).or_default().connected = Some((*at, *agent));
            }
            Change::Messaged { attempt, result, at } => {
                self.attempts.entry(*attempt).or_default().message = Some((*at, *result));
            }
            Change::LegEnded {
                attempt,
                leg,
                end,
                at,
            } => {
                self.legs
                    .entry((*attempt, *leg))
                    .or_default()
                    .ended
                    .get_or_insert((end, *at));
            }
            Change::AttemptEnded {
                attempt,
                leg: _,
                task,
                contact,
                outcome,
                at,
                retry_at,
                spends_try,
            } => {
                self.attempts
                    .entry(*attempt)
                    .or_default()
                    .ended
                    .get_or_insert((*at, *outcome));
                self.ended.push(Ended {
                    attempt: *attempt,
                    task: *task,
                    contact: *contact,
                    outcome: *outcome,
                    retry_at: *retry_at,
                    spends_try: *spends_try,
                });
            }
            Change::Agent {
                agent,
                state,
                pbx,
                leg,
                wants,
                reason,
                at,
            } => {
                let change = AgentChange {
                    campaign,
                    state: *state,
                    pbx: pbx.as_ref(),
                    leg: *leg,
                    wants: *wants,
                    reason: *reason,
                    at: *at,
                };
                self.agents.insert(*agent, change);
            }
            Change::Learnt {
                campaign,
                pbx,
                learnt,
                at,
            } => {
                self.learnt.insert((*campaign, pbx), (learnt, *at));
            }
            Change::RecordingAsked {
                recording,
                attempt,
                agent,
                pbx,
                at,
            } => {
                self.recordings.entry(recording).or_default().asked = Some((*attempt, *agent, pbx, *at));
            }
            Change::RecordingStarted { recording, at } => {
                self.recordings
                    .entry(recording)
                    .or_default()
                    .started_at
                    .get_or_insert(*at);
            }
            Change::RecordingEnded {
                recording,
                result,
                at,
            } => {
                let result = result.as_ref().map(|duration| *duration).map_err(String::as_str);
                self.recordings
                    .entry(recording)
                    .or_default()
                    .ended
                    .get_or_insert((result, *at));
            }
        }
    }

    /// Tasks that may be complete after this batch: those in which a contact is done.
    pub(super) fn tasks_touched(&self) -> impl Iterator<Item = TaskId> {
        self.ended
            .iter()
            .filter(|ended| ended.retry_at.is_none())
            .map(|ended| ended.task)
    }
}

/// The kind of a change, for logs.
pub(super) fn kind(change: &Change) -> &'static str {
    match change {
        Change::LegProgressed { .. } => "leg_progressed",
        Change::Answered { .. } => "answered",
        Change::Abandoned { .. } => "abandoned",
        Change::Connected { .. } => "connected",
        Change::Messaged { .. } => "messaged",
        Change::LegEnded { .. } => "leg_ended",
        Change::AttemptEnded { .. } => "attempt_ended",
        Change::Agent { .. } => "agent",
        Change::Learnt { .. } => "learnt",
        Change::RecordingAsked { .. } => "recording_asked",
        Change::RecordingStarted { .. } => "recording_started",
        Change::RecordingEnded { .. } => "recording_ended",
    }
}
