//! The numbers that were listed since their contacts were leased. The check runs in the transaction that stores the attempts.

use super::batch::Prepare;
use super::plan::Facts;
use crate::db::{Rows, Tx};
use crate::error::DbError;
use crate::suppression::{Lists, numbers_of};
use paceline_core::ids::{ContactId, TaskId};
use paceline_core::suppression::{ListRefusal, Listed};
use std::collections::BTreeMap;

/// The reason why a number must not be called. `has_other_number`: the contact has another number that may be called.
pub(super) struct Suppressed {
    pub(super) reason: ListRefusal,
    pub(super) has_other_number: bool,
}

/// The contacts whose leased number must not be called.
pub(super) async fn suppressed(
    tx: &mut Tx,
    prepares: &[&Prepare],
    facts: &BTreeMap<(TaskId, ContactId), Facts>,
    lists: &Lists,
) -> Result<BTreeMap<ContactId, Suppressed>, DbError> {
    let mut doubtful = Vec::new();
    for prepare in prepares {
        let lead = &prepare.attempt.lead;
        let Some(facts) = facts.get(&(lead.task, lead.contact)) else {
            continue;
        };
        let settings = &prepare.policy.config().settings.suppression;
        let now = prepare.now();
        let holds = |until: Option<i64>| until.is_some_and(|until| until > now.0);
        let in_lists = Listed {
            scopes: Vec::new(),
            lists: lists.holding(&lead.number),
        };
        let certain = holds(facts.dnc_until).then_some(ListRefusal::Dnc);
        let certain = certain.or_else(|| settings.refuses(&in_lists));
        let scoped = holds(facts.scoped_until) && !settings.lists.is_empty();
        if certain.is_some() || scoped {
            doubtful.push((lead, settings, certain, now));
        }
    }
    let Some(now) = doubtful.iter().map(|(.., now)| *now).max() else {
        return Ok(BTreeMap::new());
    };
    let contacts = doubtful.iter().map(|(lead, ..)| lead.contact);
    let numbers = numbers_of(Rows::In(tx), lists, contacts, now).await?;
    let mut suppressed = BTreeMap::new();
    for (lead, settings, certain, _) in doubtful {
        let numbers = numbers.get(&lead.contact).map(Vec::as_slice).unwrap_or_default();
        let own = numbers.iter().find(|facts| facts.number == lead.number);
        // The contact may have lost the number since. Then its entries with a scope are not known, and it is not called.
        let scoped = own.map_or(Some(ListRefusal::Dnc), |own| settings.refuses(&own.listed));
        let Some(reason) = certain.or(scoped) else {
            continue;
        };
        let mut others = numbers.iter().filter(|facts| facts.number != lead.number);
        let has_other_number = others.any(|facts| settings.refuses(&facts.listed).is_none());
        let found = Suppressed {
            reason,
            has_other_number,
        };
        suppressed.insert(lead.contact, found);
    }
    Ok(suppressed)
}
