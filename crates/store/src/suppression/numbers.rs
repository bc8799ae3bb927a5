//! The lists that hold the numbers of contacts: do-not-call entries, and the suppression lists in memory.

use super::Lists;
use crate::bulk_statement::BulkStatement;
use crate::db::{Arg, Rows};
use crate::error::DbError;
use paceline_core::ids::ContactId;
use paceline_core::number::E164;
use paceline_core::suppression::Listed;
use paceline_core::time::Wall;
use std::collections::BTreeMap;

/// A number of a contact.
pub(crate) struct NumberFacts {
    pub(crate) number: E164,
    pub(crate) listed: Listed,
    /// A contact holds the number at present.
    pub(crate) held: bool,
}

/// A number that has several entries gives several rows, one after the other.
pub(crate) static NUMBERS: BulkStatement = BulkStatement::new(
    1,
    "WITH v(contact_id) AS (VALUES {rows}) SELECT cn.contact_id, cn.number, d.scope, d.expires_at_ms, \
       EXISTS (SELECT 1 FROM number_leases n WHERE n.number = cn.number) \
     FROM v JOIN contact_numbers cn ON cn.contact_id = v.contact_id LEFT JOIN dnc d ON d.number = cn.number \
     WHERE NOT EXISTS (SELECT 1 FROM imports i WHERE i.id = cn.import_id AND i.state IN ('running', 'stopped', 'staged', 'clearing')) \
     ORDER BY cn.contact_id, cn.position",
);

/// The numbers of these contacts in the order in which they are dialed.
pub(crate) async fn numbers_of(
    mut from: Rows<'_>,
    lists: &Lists,
    contacts: impl Iterator<Item = ContactId>,
    now: Wall,
) -> Result<BTreeMap<ContactId, Vec<NumberFacts>>, DbError> {
    let contacts: Vec<Arg<'_>> = contacts.map(|contact| Arg::from(contact.0)).collect();
    let mut found: BTreeMap<ContactId, Vec<NumberFacts>> = BTreeMap::new();
    for row in from.bulk(&NUMBERS, &contacts).await? {
        let number = row.number(1)?;
        let numbers = found.entry(ContactId(row.get(0)?)).or_default();
        if numbers.last().is_none_or(|last| last.number != number) {
            numbers.push(NumberFacts {
                listed: Listed {
                    scopes: Vec::new(),
                    lists: lists.holding(&number),
                },
                number,
                held: row.get(4)?,
            });
        }
        let scope = row.get::<Option<String>>(2)?;
        let holds = row.get::<Option<i64>>(3)?.is_none_or(|until| until > now.0);
        if let (Some(scope), Some(last)) = (scope.filter(|_| holds), numbers.last_mut()) {
            last.listed
                .scopes
                .push(scope.parse().map_err(|_| DbError::decode("scope"))?);
        }
    }
    Ok(found)
}
