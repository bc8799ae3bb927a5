//! Reads contacts from their tables.

use super::ContactRow;
use crate::bulk_statement::BulkStatement;
use crate::db::{Arg, Pools, Row, Tx};
use crate::error::DbError;
use paceline_core::contact::{Address, Contact, ContactNumber, CountryCode, ExternalId, Label, Language};
use paceline_core::contact::{PostalCode, State, Tag, Tier};
use paceline_core::ids::{ContactId, ContactListId};
use std::collections::BTreeMap;

/// The columns of contact `c` for [`contact`].
macro_rules! contact_columns {
    () => {
        "c.id, c.list_id, c.external_id, c.name, c.time_zone, c.tier, c.language, c.country, c.state, c.postal_code, c.consents, \
         c.attributes"
    };
}
pub(crate) use contact_columns;

/// The number of columns in [`contact_columns`].
pub(crate) const CONTACT_COLUMNS: usize = 12;

static SEEN_NUMBERS: BulkStatement = BulkStatement::new(
    1,
    "WITH v(id) AS (VALUES {rows}) SELECT n.contact_id, n.number, n.kind, n.label FROM v JOIN seen_numbers n ON n.contact_id = v.id \
     ORDER BY n.contact_id, n.position",
);
static ALL_NUMBERS: BulkStatement = BulkStatement::new(
    1,
    "WITH v(id) AS (VALUES {rows}) SELECT n.contact_id, n.number, n.kind, n.label, n.position FROM v \
       JOIN contact_numbers n ON n.contact_id = v.id ORDER BY n.contact_id, n.position",
);
static TAGS: BulkStatement = BulkStatement::new(
    1,
    "WITH v(id) AS (VALUES {rows}) SELECT t.contact_id, t.tag FROM v JOIN contact_tags t ON t.contact_id = v.id",
);
static CONTACTS: BulkStatement = BulkStatement::new(
    1,
    concat!(
        "WITH v(id) AS (VALUES {rows}) SELECT ",
        contact_columns!(),
        " FROM v JOIN contacts c ON c.id = v.id"
    ),
);

/// Reads a contact from [`contact_columns`], starting at `column`. [`complete`] adds its numbers and tags.
pub(crate) fn contact(row: &Row, column: usize) -> Result<ContactRow, DbError> {
    fn value<T, E>(
        row: &Row,
        column: usize,
        what: &'static str,
        read: fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, DbError> {
        let text = row.get::<Option<String>>(column)?;
        text.map(|text| read(&text).map_err(|_| DbError::decode(what)))
            .transpose()
    }
    let tier = row.get::<Option<i64>>(column + 5)?;
    let consents = row.get::<Option<String>>(column + 10)?;
    let attributes = row.get::<String>(column + 11)?;
    Ok(ContactRow {
        id: ContactId(row.get(column)?),
        list: ContactListId(row.get(column + 1)?),
        contact: Contact {
            numbers: Vec::new(),
            external_id: value(row, column + 2, "external id", ExternalId::new)?,
            name: row.get(column + 3)?,
            time_zone: row.get(column + 4)?,
            tier: tier
                .map(|tier| Tier::new(tier).map_err(|_| DbError::decode("tier")))
                .transpose()?,
            language: value(row, column + 6, "language", Language::new)?,
            address: Address {
                country: value(row, column + 7, "country", CountryCode::new)?,
                state: value(row, column + 8, "state", State::new)?,
                postal_code: value(row, column + 9, "postal code", PostalCode::new)?,
            },
            tags: std::collections::BTreeSet::new(),
            consents: match consents {
                Some(text) => serde_json::from_str(&text).map_err(|_| DbError::decode("consent"))?,
                None => Vec::new(),
            },
        },
        attributes: serde_json::from_str(&attributes).map_err(|_| DbError::decode("attribute"))?,
    })
}

/// Adds the visible numbers and the tags to contacts. Returns the contacts with a number or a tag that cannot be read.
pub(crate) async fn complete(
    pools: &Pools,
    contacts: Vec<&mut ContactRow>,
) -> Result<BTreeMap<ContactId, DbError>, DbError> {
    let ids: Vec<Arg<'_>> = contacts.iter().map(|c| Arg::from(c.id.0)).collect();
    let numbers = SEEN_NUMBERS.read(pools, &ids).await?;
    let tags = TAGS.read(pools, &ids).await?;
    add(contacts, &numbers, &tags)
}

/// Reads these contacts completely, with numbers that are not visible yet, and the first free position after their
/// numbers.
pub(crate) async fn whole(
    tx: &mut Tx,
    ids: &[ContactId],
) -> Result<BTreeMap<ContactId, (ContactRow, i64)>, DbError> {
    let ids: Vec<Arg<'_>> = ids.iter().map(|id| Arg::from(id.0)).collect();
    let rows = CONTACTS.rows(tx, &ids).await?;
    let mut contacts = rows
        .iter()
        .map(|row| contact(row, 0))
        .collect::<Result<Vec<_>, _>>()?;
    let numbers = ALL_NUMBERS.rows(tx, &ids).await?;
    let tags = TAGS.rows(tx, &ids).await?;
    let faults = add(contacts.iter_mut().collect(), &numbers, &tags)?;
    if let Some(fault) = faults.into_values().next() {
        return Err(fault);
    }
    let mut after = BTreeMap::<ContactId, i64>::new();
    for row in &numbers {
        after.insert(ContactId(row.get(0)?), row.get::<i64>(4)?.saturating_add(1));
    }
    let contacts = contacts.into_iter();
    Ok(contacts
        .map(|c| (c.id, (after.get(&c.id).copied().unwrap_or(0), c)))
        .map(|(id, (after, c))| (id, (c, after)))
        .collect())
}

/// Adds numbers and tags to their contacts. Returns the contacts with one that cannot be read.
fn add(
    contacts: Vec<&mut ContactRow>,
    numbers: &[Row],
    tags: &[Row],
) -> Result<BTreeMap<ContactId, DbError>, DbError> {
    let mut by_id: BTreeMap<ContactId, &mut Contact> = contacts
        .into_iter()
        .map(|row| (row.id, &mut row.contact))
        .collect();
    let mut faults = BTreeMap::new();
    for row in numbers {
        let id = ContactId(row.get(0)?);
        match (number(row), by_id.get_mut(&id)) {
            (Ok(number), Some(contact)) => contact.numbers.push(number),
            (Ok(_), None) => {}
            (Err(fault), _) => drop(faults.insert(id, fault)),
        }
    }
    for row in tags {
        let id = ContactId(row.get(0)?);
        let tag = row.get::<String>(1)?;
        match (Tag::new(&tag), by_id.get_mut(&id)) {
            (Ok(tag), Some(contact)) => drop(contact.tags.insert(tag)),
            (Ok(_), None) => {}
            (Err(_), _) => drop(faults.insert(id, DbError::decode("tag"))),
        }
    }
    Ok(faults)
}

fn number(row: &Row) -> Result<ContactNumber, DbError> {
    let label = row.get::<Option<String>>(3)?;
    Ok(ContactNumber {
        number: row.number(1)?,
        kind: row.maybe_word(2)?,
        label: label
            .map(|label| Label::new(&label).map_err(|_| DbError::decode("label")))
            .transpose()?,
    })
}
