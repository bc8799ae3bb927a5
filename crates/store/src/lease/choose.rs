//! Chooses another number of a contact, if the first one is on a list, and locks the numbers that are leased.

use super::{Due, Judgement, Lease, LeaseResult, SETTLE};
use crate::bulk_statement::BulkStatement;
use crate::db::{Rows, Tx, args};
use crate::error::DbError;
use crate::suppression::{NumberFacts, numbers_of};
use paceline_core::ids::{ContactId, TaskId};
use paceline_core::input::Lead;
use paceline_core::outcome::Outcome;
use paceline_core::suppression::Listed;
use std::collections::BTreeSet;
use tracing::error;

static TAKE_NUMBERS: BulkStatement = BulkStatement::new(
    4,
    "INSERT INTO number_leases (number, task_id, contact_id, leased_at_ms) VALUES {rows} \
     ON CONFLICT (number) DO NOTHING RETURNING contact_id",
);

impl Lease<'_> {
    /// A contact whose row cannot be read is done, so that it does not keep the others of its task from being called.
    pub(super) async fn set_aside(
        &mut self,
        tx: &mut Tx,
        task: TaskId,
        contact: ContactId,
        error: &DbError,
    ) -> Result<(), DbError> {
        error!(%error, %task, %contact, "the contact is not called, because its row in the store cannot be read: correct or delete it");
        let blocked = Outcome::Blocked.as_str();
        let row = args![task.0, contact.0, "done", self.now.0, Some(blocked), None::<&str>];
        SETTLE.run(tx, row).await?;
        self.settled_left = self.settled_left.saturating_sub(1);
        self.leased.denied += 1;
        Ok(())
    }

    /// Locks the numbers of the allowed contacts. Returns the contacts whose numbers are now held for them.
    pub(super) async fn take_numbers(
        &self,
        tx: &mut Tx,
        results: &[(Due, LeaseResult, Option<Judgement>)],
    ) -> Result<BTreeSet<ContactId>, DbError> {
        let mut leads: Vec<&Lead> = results
            .iter()
            .filter(|(_, result, _)| matches!(result, LeaseResult::Leased))
            .map(|(due, _, _)| &due.lead)
            .collect();
        // All transactions take numbers in the same order, so that two nodes never wait for each other's numbers.
        leads.sort_by(|a, b| a.number.cmp(&b.number));
        let mut rows = Vec::with_capacity(leads.len() * 4);
        for lead in leads {
            rows.extend_from_slice(args![
                lead.number.expose(),
                lead.task.0,
                lead.contact.0,
                self.now.0
            ]);
        }
        let taken = TAKE_NUMBERS.rows(tx, &rows).await?;
        taken.iter().map(|row| Ok(ContactId(row.get(0)?))).collect()
    }

    /// For contacts whose number is on a list that the query does not know: takes the first number that the campaign's lists
    /// allow, or keeps the number with the reason against it.
    pub(super) async fn choose(&self, tx: &mut Tx, due: &mut [Due]) -> Result<(), DbError> {
        let mut doubtful = Vec::new();
        for due in due.iter_mut().filter(|due| due.refused_by.is_none()) {
            let listed = Listed {
                scopes: Vec::new(),
                lists: self.lists.holding(&due.lead.number),
            };
            due.refused_by = self.suppression().refuses(&listed);
            if due.refused_by.is_some() || due.scoped && !self.suppression().lists.is_empty() {
                doubtful.push(due);
            }
        }
        let contacts = doubtful.iter().map(|due| due.lead.contact);
        let mut numbers = numbers_of(Rows::In(tx), &self.lists, contacts, self.now).await?;
        for due in doubtful {
            let numbers = numbers.remove(&due.lead.contact).unwrap_or_default();
            let refuses = |facts: &NumberFacts| self.suppression().refuses(&facts.listed);
            let own = numbers.iter().find(|facts| facts.number == due.lead.number);
            due.refused_by = own.map_or(due.refused_by, refuses);
            if due.refused_by.is_some()
                && let Some(other) = numbers.into_iter().find(|facts| refuses(facts).is_none())
            {
                due.refused_by = None;
                due.held = other.held;
                due.lead.number = other.number;
            }
        }
        Ok(())
    }
}
