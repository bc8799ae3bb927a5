//! The rows to write for the attempts of a batch: asks the gate about each, with the facts of this transaction.

use super::apply::Answer;
use super::batch::Prepare;
use super::suppressed::{Suppressed, suppressed};
use crate::bulk_statement::BulkStatement;
use crate::db::{Arg, Row, Rows, Tx, args};
use crate::error::DbError;
use crate::facts::{Callee, Case, Histories, Past, add_tags, callee_columns, histories};
use crate::lease::{Decided, Over, SETTLE};
use crate::outside::{Checked, checked};
use crate::suppression::Lists;
use paceline_core::gate::{CampaignPolicy, GateStage, GateVerdict};
use paceline_core::ids::{AttemptId, ContactId, TaskId};
use paceline_core::input::Prepared;
use paceline_core::outcome::Outcome;
use paceline_core::time::Wall;
use std::collections::BTreeMap;
use std::time::Duration;

/// The stored facts about a contact that is about to be called.
pub(super) struct Facts {
    attempts_made: i64,
    /// The contact is leased and has no open attempt.
    may_start: bool,
    /// The task runs and its campaign is active.
    task_runs: bool,
    callee: Callee,
    /// The latest end of the number's do-not-call entries with the scope `all`, Unix time in milliseconds; `i64::MAX` if one
    /// holds for good, `None` if there is none.
    pub(super) dnc_until: Option<i64>,
    /// The same for its entries with other scopes.
    pub(super) scoped_until: Option<i64>,
}

/// Facts about the leased number.
pub(super) static FACTS: BulkStatement = BulkStatement::locking(
    3,
    concat!(
        "WITH v(task_id, contact_id, number) AS (VALUES {rows}) \
     SELECT tc.task_id, tc.contact_id, tc.attempts_made, tc.state = 'leased' AND NOT EXISTS (SELECT 1 FROM attempts a \
         WHERE a.contact_id = tc.contact_id AND a.task_id = tc.task_id AND a.ended_at_ms IS NULL), \
       t.state = 'running' AND ca.state = 'active', \
       (SELECT max(coalesce(d.expires_at_ms, 9223372036854775807)) FROM dnc d WHERE d.number = v.number AND d.scope = 'all'), \
       (SELECT max(coalesce(d.expires_at_ms, 9223372036854775807)) FROM dnc d WHERE d.number = v.number AND d.scope <> 'all'), ",
        callee_columns!(),
        " FROM v JOIN task_contacts tc ON tc.task_id = v.task_id AND tc.contact_id = v.contact_id \
       JOIN tasks t ON t.id = tc.task_id JOIN campaigns ca ON ca.id = t.campaign_id \
       JOIN contacts c ON c.id = tc.contact_id"
    ),
    " FOR UPDATE OF tc",
);

static ATTEMPTS: BulkStatement = BulkStatement::new(
    9,
    "INSERT INTO attempts (id, campaign_id, task_id, contact_id, number, ordinal, created_at_ms, subject, debt) VALUES {rows}",
);

pub(super) static LEGS: BulkStatement = BulkStatement::new(
    5,
    "INSERT INTO legs (id, attempt_id, pbx, trunk_id, created_at_ms) VALUES {rows}",
);

/// A contact whose caller id was wrong is due again after this time. The engine chooses the trunk without the gate, so it may choose the
/// same one again, and each such choice is a decision.
const OTHER_TRUNK_AFTER: Duration = Duration::from_secs(60);

/// The rows to write for the attempts of a batch.
#[derive(Default)]
pub(super) struct Plan<'a> {
    pub(super) answers: BTreeMap<AttemptId, Answer>,
    pub(super) due: Vec<(TaskId, ContactId, Wall)>,
    pub(super) decisions: Vec<Decided>,
    pub(super) started: Vec<Started<'a>>,
    pub(super) legs: Vec<Arg<'a>>,
    pub(super) settled: Vec<Settled>,
    /// With the attempts that this batch starts.
    histories: Histories,
    outside: Checked,
    pub(super) freed: Vec<(TaskId, ContactId)>,
}

/// A contact whose attempt the gate refused.
pub(super) struct Settled {
    task: TaskId,
    contact: ContactId,
    due: Wall,
    /// The rule that denied the attempt. `None`: the contact is ready again.
    denied_by: Option<String>,
}

/// An attempt that the gate allows.
pub(super) struct Started<'a> {
    prepare: &'a Prepare,
    ordinal: i64,
    debt: Option<String>,
}

pub(super) async fn settle(tx: &mut Tx, settled: &[Settled]) -> Result<(), DbError> {
    let mut rows = Vec::with_capacity(settled.len() * 6);
    for settled in settled {
        let (state, outcome) = match settled.denied_by {
            Some(_) => ("done", Some(Outcome::Blocked.as_str())),
            None => ("ready", None),
        };
        let (task, contact, due) = (settled.task.0, settled.contact.0, settled.due.0);
        rows.extend_from_slice(args![
            task,
            contact,
            state,
            due,
            outcome,
            settled.denied_by.as_deref()
        ]);
    }
    SETTLE.run(tx, &rows).await.map(drop)
}

pub(super) async fn insert_attempts(tx: &mut Tx, started: &[Started<'_>]) -> Result<(), DbError> {
    let mut rows = Vec::with_capacity(started.len() * 9);
    for Started {
        prepare,
        ordinal,
        debt,
    } in started
    {
        let new = &prepare.attempt;
        rows.extend_from_slice(args![
            new.attempt.0,
            prepare.policy.config().id.0,
            new.lead.task.0,
            new.lead.contact.0,
            new.lead.number.expose(),
            *ordinal,
            new.created_at.0,
            prepare.policy.subject(),
            debt.as_deref(),
        ]);
    }
    ATTEMPTS.run(tx, &rows).await?;
    Ok(())
}

pub(super) async fn plan<'a>(
    tx: &mut Tx,
    prepares: &[&'a Prepare],
    lists: &Lists,
) -> Result<Plan<'a>, DbError> {
    let mut plan = Plan::default();
    let mut keys = Vec::with_capacity(prepares.len() * 3);
    for prepare in prepares {
        let lead = &prepare.attempt.lead;
        keys.extend_from_slice(args![lead.task.0, lead.contact.0, lead.number.expose()]);
    }
    let policies: BTreeMap<_, _> = prepares
        .iter()
        .map(|prepare| {
            (
                (prepare.attempt.lead.task, prepare.attempt.lead.contact),
                &*prepare.policy,
            )
        })
        .collect();
    let mut facts = BTreeMap::new();
    for row in FACTS.rows(tx, &keys).await? {
        let key = (TaskId(row.get(0)?), ContactId(row.get(1)?));
        if let Some(policy) = policies.get(&key) {
            facts.insert(key, read_facts(&row, policy)?);
        }
    }
    let read_tags = facts.iter_mut().filter_map(|(key, facts)| {
        let reads_tags = policies.get(key)?.rules().reads_tags();
        reads_tags.then_some((key.1, &mut facts.callee))
    });
    add_tags(Rows::In(tx), read_tags).await?;
    let called = prepares.iter().map(|prepare| &prepare.attempt.lead);
    let called = called.map(|lead| (lead.contact, &lead.number));
    plan.histories = histories(Rows::In(tx), called).await?;
    let suppressed = suppressed(tx, prepares, &facts, lists).await?;
    let mut to_check = Vec::new();
    for prepare in prepares {
        if needs_check(prepare) {
            to_check.push(&prepare.attempt.lead.number);
        }
    }
    if !to_check.is_empty() {
        plan.outside = checked(Rows::In(tx), &to_check).await?;
    }
    for prepare in prepares {
        // Removed from the map, so that a second attempt at the same contact finds nothing and is refused.
        let facts = facts.remove(&(prepare.attempt.lead.task, prepare.attempt.lead.contact));
        plan.add(prepare, facts, suppressed.get(&prepare.attempt.lead.contact));
    }
    Ok(plan)
}

/// True if the campaign calls only numbers that the outside check allows.
fn needs_check(prepare: &Prepare) -> bool {
    prepare.policy.config().settings.suppression.outside_check
}

fn read_facts(row: &Row, policy: &CampaignPolicy) -> Result<Facts, DbError> {
    Ok(Facts {
        attempts_made: row.get(2)?,
        may_start: row.get(3)?,
        task_runs: row.get(4)?,
        dnc_until: row.get(5)?,
        scoped_until: row.get(6)?,
        callee: Callee::read(row, 7, policy)?,
    })
}

impl<'a> Plan<'a> {
    fn add(&mut self, prepare: &'a Prepare, facts: Option<Facts>, suppressed: Option<&Suppressed>) {
        let new = &prepare.attempt;
        let (task, contact) = (new.lead.task, new.lead.contact);
        let mut answer = |prepared| {
            let answer = Answer {
                prepared,
                task,
                contact,
            };
            self.answers.insert(new.attempt, answer);
        };
        // The contact was taken back, or has another attempt. Its state belongs to that, so it is not settled here.
        let Some(facts) = facts.filter(|facts| facts.may_start) else {
            return answer(Prepared::Refused);
        };
        // Calling hours are checked at the present time, which includes the time in the queue.
        let now = prepare.now();
        if !facts.task_runs {
            answer(Prepared::Refused);
            return self.settle(task, contact, now, None);
        }
        let case = Case {
            policy: &prepare.policy,
            at: now,
            ring_timeout: new.ring_timeout,
            number: &new.lead.number,
            callee: &facts.callee,
            history: self
                .histories
                .get(&contact)
                .map(Vec::as_slice)
                .unwrap_or_default(),
            refused_by: suppressed.map(|suppressed| suppressed.reason),
            outside: needs_check(prepare).then(|| self.outside.of(&new.lead.number)),
        };
        let decision = case.decide(Some(new.trunk));
        let (verdict, rule) = (decision.verdict, decision.rule.clone());
        let by_other_trunk = verdict == GateVerdict::Deny && case.decide(None).verdict != GateVerdict::Deny;
        answer(if verdict == GateVerdict::Allow {
            Prepared::Allowed
        } else {
            Prepared::Refused
        });
        self.decisions.push(Decided {
            at: now,
            task,
            over: Over::Contact(contact),
            campaign: prepare.policy.config().id,
            number: Some(new.lead.number.clone()),
            attempt: (verdict == GateVerdict::Allow).then_some((new.attempt, new.leg)),
            stage: GateStage::Originate,
            decision,
        });
        match verdict {
            GateVerdict::Allow => {
                self.start(prepare, facts.attempts_made.saturating_add(1), facts.callee.debt)
            }
            // The next lease asks the gate again and defers the whole bucket.
            GateVerdict::Defer { .. } => self.settle(task, contact, now, None),
            // The next lease takes the contact's other number.
            GateVerdict::Deny if suppressed.is_some_and(|suppressed| suppressed.has_other_number) => {
                self.settle(task, contact, now, None)
            }
            // A rule about caller ids denies this trunk, and allows another one.
            GateVerdict::Deny if by_other_trunk => {
                self.settle(task, contact, now.plus(OTHER_TRUNK_AFTER), None);
            }
            GateVerdict::Deny => self.settle(task, contact, now, Some(rule)),
        }
    }

    fn start(&mut self, prepare: &'a Prepare, ordinal: i64, debt: Option<String>) {
        let new = &prepare.attempt;
        // Another attempt of the batch may be to the same contact, in another task.
        self.histories.entry(new.lead.contact).or_default().push(Past {
            at: new.created_at,
            number: new.lead.number.expose().to_owned(),
            campaign: prepare.policy.config().id.0.to_string(),
            subject: prepare.policy.subject().map(str::to_owned),
            debt: debt.clone(),
            outcome: Outcome::Unknown,
            disposition: None,
        });
        self.started.push(Started {
            prepare,
            ordinal,
            debt,
        });
        self.legs.extend_from_slice(args![
            new.leg.0,
            new.attempt.0,
            new.pbx.as_str(),
            new.trunk.0,
            new.created_at.0,
        ]);
    }

    fn settle(&mut self, task: TaskId, contact: ContactId, due: Wall, denied_by: Option<String>) {
        self.freed.push((task, contact));
        if denied_by.is_none() {
            self.due.push((task, contact, due));
        }
        self.settled.push(Settled {
            task,
            contact,
            due,
            denied_by,
        });
    }
}
