//! Chooses another number of a contact, if the first one is on a list.

use super::{Due, Lease};
use crate::db::{Rows, Tx};
use crate::error::DbError;
use crate::suppression::{NumberFacts, numbers_of};
use paceline_core::suppression::Listed;

impl Lease<'_> {
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
