//! Finds the owners of new contacts' numbers and external ids among the contacts of a list.
//! [`paceline_core::contact::merge`] decides what follows.

use crate::bulk_statement::BulkStatement;
use crate::db::{Arg, Dialect, Tx, args};
use crate::error::{DbError, Stop, StoreError};
use paceline_core::contact::merge::{Belongs, ByNumber, belongs};
use paceline_core::contact::{Contact, ExternalId};
use paceline_core::ids::{ContactId, ContactListId, ImportId};
use paceline_core::number::E164;
use std::collections::HashMap;

/// The owner of a number or an external id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    /// A new contact, by its position among the new ones.
    New(usize),
    /// A stored contact.
    Stored(ContactId),
}

/// The numbers and external ids of a list that matter for the new contacts.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    /// The second value is true for an owner's first number.
    numbers: HashMap<E164, (Owner, bool)>,
    external_ids: HashMap<ExternalId, Owner>,
    ids_of: HashMap<Owner, ExternalId>,
}

/// Numbers of visible contacts and of this import.
static NUMBERS: BulkStatement = BulkStatement::new(
    3,
    "WITH v(import_id, list_id, number) AS (VALUES {rows}) \
     SELECT n.number, n.contact_id, coalesce(c.external_id, f.external_id), n.position \
     FROM v JOIN contact_numbers n ON n.number = v.number AND n.list_id = v.list_id \
       JOIN contacts c ON c.id = n.contact_id \
       LEFT JOIN import_fills f ON f.import_id = v.import_id AND f.contact_id = n.contact_id \
     WHERE n.import_id = v.import_id OR NOT EXISTS (SELECT 1 FROM imports i WHERE i.id = n.import_id \
       AND i.state IN ('running', 'stopped', 'staged', 'clearing'))",
);

/// Includes the external ids that this import fills in when it is published.
static EXTERNAL_IDS: BulkStatement = BulkStatement::new(
    3,
    "WITH v(import_id, list_id, external_id) AS (VALUES {rows}) \
     SELECT v.external_id, c.id FROM v JOIN contacts c ON c.list_id = v.list_id AND c.external_id = v.external_id \
       WHERE c.import_id = v.import_id OR NOT EXISTS (SELECT 1 FROM imports i WHERE i.id = c.import_id \
         AND i.state IN ('running', 'stopped', 'staged', 'clearing')) \
     UNION ALL SELECT v.external_id, f.contact_id FROM v JOIN import_fills f ON f.list_id = v.list_id \
       AND f.external_id = v.external_id AND f.import_id = v.import_id",
);

/// Locks a list until the transaction ends, so that no other transaction adds to it after this transaction has read it. Fails
/// with [`StoreError::NoList`].
pub(crate) async fn lock_list(tx: &mut Tx, list: ContactListId) -> Result<(), Stop> {
    let lock = "UPDATE contact_lists SET name = name WHERE id = $1";
    match tx.run(lock, args![list.0]).await? {
        0 => Err(StoreError::NoList.into()),
        _ => Ok(()),
    }
}

/// Locks a list for a transaction that adds its contacts to a task. An import that writes time zones into contacts of the list
/// must wait, so that each contact gets into the bucket of its zone. Call it before the transaction locks the row of a
/// task, because such an import locks the list first. On SQLite only one transaction writes at a time.
pub(crate) async fn keep_list(tx: &mut Tx, list: ContactListId) -> Result<(), DbError> {
    let keep = "SELECT 1 FROM contact_lists WHERE id = $1 FOR SHARE";
    if tx.dialect() == Dialect::Postgres {
        tx.rows(keep, args![list.0]).await?;
    }
    Ok(())
}

impl Owners {
    /// Reads the entries that matter for these contacts. The caller has locked the list.
    pub(crate) async fn read<'a>(
        tx: &mut Tx,
        list: ContactListId,
        import: Option<ImportId>,
        contacts: impl Iterator<Item = &'a Contact> + Clone,
    ) -> Result<Self, DbError> {
        let import = import.map_or(0, |import| import.0);
        let mut owners = Self::default();
        let mut numbers: Vec<&str> = contacts
            .clone()
            .flat_map(|c| c.numbers.iter().map(|n| n.number.expose()))
            .collect();
        // Sorted, so that the database walks the index once.
        numbers.sort_unstable();
        numbers.dedup();
        let keys = |values: Vec<&'a str>| -> Vec<Arg<'a>> {
            let row = |value| [Arg::from(import), Arg::from(list.0), Arg::from(value)];
            values.into_iter().flat_map(row).collect()
        };
        for row in NUMBERS.rows(tx, &keys(numbers)).await? {
            let owner = Owner::Stored(ContactId(row.get(1)?));
            if let Some(id) = row.get::<Option<String>>(2)? {
                owners.ids_of.insert(owner, read_id(&id)?);
            }
            let is_first = row.get::<i64>(3)? == 0;
            owners.numbers.insert(row.number(0)?, (owner, is_first));
        }
        let ids: Vec<&str> = contacts
            .filter_map(|c| c.external_id.as_ref().map(ExternalId::as_str))
            .collect();
        for row in EXTERNAL_IDS.rows(tx, &keys(ids)).await? {
            let owner = Owner::Stored(ContactId(row.get(1)?));
            let id = read_id(&row.get::<String>(0)?)?;
            owners.ids_of.insert(owner, id.clone());
            owners.external_ids.insert(id, owner);
        }
        Ok(owners)
    }

    /// The owner of a contact's record.
    pub(crate) fn whose(&self, contact: &Contact) -> Belongs<Owner> {
        let id = contact.external_id.as_ref();
        let by_id = id.and_then(|id| self.external_ids.get(id)).copied();
        let first = contact.numbers.first();
        let by_number = first.and_then(|n| self.numbers.get(&n.number));
        let by_number = by_number.map(|&(owner, is_first)| ByNumber {
            contact: owner,
            external_id: self.ids_of.get(&owner),
            is_first,
        });
        belongs(id, by_id, by_number)
    }

    /// Registers the numbers and the external id of a new contact. Removes the numbers that another contact has from
    /// `contact`, and returns how many.
    pub(crate) fn claim_new(&mut self, owner: Owner, contact: &mut Contact) -> usize {
        let left_out = self.claim_further(owner, contact);
        if let Some(first) = contact.numbers.first() {
            self.numbers.insert(first.number.clone(), (owner, true));
        }
        left_out
    }

    /// As [`Owners::claim_new`], for a record of a contact that has a first number already.
    pub(crate) fn claim_further(&mut self, owner: Owner, contact: &mut Contact) -> usize {
        let before = contact.numbers.len();
        contact.numbers.retain(|n| {
            let entry = self.numbers.entry(n.number.clone());
            entry.or_insert((owner, false)).0 == owner
        });
        if let Some(id) = &contact.external_id
            && !self.ids_of.contains_key(&owner)
        {
            self.external_ids.insert(id.clone(), owner);
            self.ids_of.insert(owner, id.clone());
        }
        before - contact.numbers.len()
    }
}

fn read_id(text: &str) -> Result<ExternalId, DbError> {
    ExternalId::new(text).map_err(|_| DbError::decode("external id"))
}
