//! Contact lists and the people in them.

use super::Store;
use super::db::{Arg, Row, Tx, args};
use super::error::{DbError, StoreError};
use super::many::Many;
use super::select::Select;
use paceline_core::ids::{ContactId, ContactListId};
use paceline_core::number::E164;
use paceline_core::time::Wall;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A contact to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewContact {
    /// Where to reach them.
    pub number: E164,
    /// What to call them.
    pub name: Option<String>,
    /// Their IANA time zone, known to exist.
    pub time_zone: Option<String>,
    /// Everything else, by name.
    pub attributes: BTreeMap<String, String>,
}

/// Another number of a contact, kept and not dialed yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FurtherNumber {
    /// Where to reach them too.
    pub number: E164,
    /// What it was called, such as `Home Phone`.
    pub label: String,
}

/// A contact list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactListRow {
    /// Its id.
    pub id: ContactListId,
    /// What it is called.
    pub name: String,
    /// When it was created.
    pub created_at: Wall,
}

/// A contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactRow {
    /// Who.
    pub id: ContactId,
    /// In which list.
    pub list: ContactListId,
    /// Where to reach them.
    pub number: E164,
    /// What to call them.
    pub name: Option<String>,
    /// Their IANA time zone; `None`: their campaign's.
    pub time_zone: Option<String>,
    /// Everything else, by name.
    pub attributes: BTreeMap<String, String>,
    /// Their other numbers, in the order in which they were given.
    pub further_numbers: Vec<FurtherNumber>,
}

static INSERT: Many = Many::new(
    5,
    "INSERT INTO contacts (list_id, number, name, time_zone, attributes) VALUES {rows} \
     ON CONFLICT (number, list_id) DO NOTHING",
);

/// Takes numbers from imports that have staged but not published them, as those may come to nothing.
static UNSTAGE: Many = Many::new(
    2,
    "DELETE FROM contacts WHERE (number, list_id) IN (VALUES {rows}) \
     AND import_id IN (SELECT id FROM imports WHERE state IN ('running', 'stopped', 'staged', 'clearing'))",
);

const LISTS: &str = "SELECT id, name, created_at_ms FROM contact_lists WHERE NOT importing";
const CONTACTS: &str =
    "SELECT id, list_id, number, name, time_zone, attributes, further_numbers FROM seen_contacts WHERE 1 = 1";

impl Store {
    /// Stores a list with its first contacts, all or none. Also tells how many were stored: a number counts once.
    pub async fn create_contact_list(
        &self,
        name: &str,
        contacts: &[NewContact],
        now: Wall,
    ) -> Result<(ContactListRow, u64), StoreError> {
        self.write("create a contact list", async |tx| {
            let list = insert_list(tx, name, false, now).await?;
            let added = insert_contacts(tx, list.id, contacts).await?;
            Ok((list, added))
        })
        .await
    }

    /// Adds contacts to a list, all or none; how many of them were new in it. Tasks made from it before do not get them.
    pub async fn add_contacts(
        &self,
        list: ContactListId,
        contacts: &[NewContact],
    ) -> Result<u64, StoreError> {
        self.write("add contacts", async |tx| {
            let there = "SELECT 1 FROM contact_lists WHERE id = $1 AND NOT importing";
            if tx.rows(there, args![list.0]).await?.is_empty() {
                return Err(StoreError::NoList.into());
            }
            let unseen = "SELECT 1 FROM imports WHERE list_id = $1 \
                AND state IN ('running', 'stopped', 'staged', 'clearing') LIMIT 1";
            // This waits for a staging transaction that has one of them, so what is staged is looked at after it.
            let mut added = insert_contacts(tx, list, contacts).await?;
            if !tx.rows(unseen, args![list.0]).await?.is_empty() {
                let numbers = contacts
                    .iter()
                    .flat_map(|c| [Arg::from(c.number.expose()), Arg::from(list.0)]);
                let numbers: Vec<_> = numbers.collect();
                while UNSTAGE.run(tx, &numbers).await? > 0 {
                    added += insert_contacts(tx, list, contacts).await?;
                }
            }
            Ok(added)
        })
        .await
    }

    /// Contact lists, the newest first.
    pub async fn contact_lists(
        &self,
        after: Option<ContactListId>,
        limit: i64,
    ) -> Result<Vec<ContactListRow>, StoreError> {
        let (sql, args) = Select::new(LISTS)
            .and("id <", after.map(|id| id.0))
            .order("id DESC", limit);
        self.read_all("list contact lists", sql, &args, list).await
    }

    /// One contact list.
    pub async fn contact_list(&self, id: ContactListId) -> Result<Option<ContactListRow>, StoreError> {
        let (sql, args) = Select::new(LISTS).and("id =", Some(id.0)).order("id", 1);
        Ok(self
            .read_all("read a contact list", sql, &args, list)
            .await?
            .pop())
    }

    /// Lists that were there before this one and are called the same, the newest first, up to ten.
    pub async fn lists_of_same_name(&self, list: ContactListId) -> Result<Vec<ContactListId>, StoreError> {
        let sql = "SELECT o.id FROM contact_lists l JOIN contact_lists o ON o.name = l.name AND o.id < l.id \
            WHERE l.id = $1 AND NOT o.importing ORDER BY o.id DESC LIMIT 10";
        let read = |row: &Row| Ok(ContactListId(row.get(0)?));
        self.read_all("find lists of the same name", sql, args![list.0], read)
            .await
    }

    /// How many contacts a list has.
    pub async fn count_contacts(&self, list: ContactListId) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM seen_contacts WHERE list_id = $1";
        let counted = self
            .read_all("count contacts", sql, args![list.0], |row| row.size(0))
            .await?;
        Ok(counted.first().copied().unwrap_or(0))
    }

    /// The contacts of a list in the order of their ids.
    pub async fn contacts(
        &self,
        list: ContactListId,
        after: Option<ContactId>,
        limit: i64,
    ) -> Result<Vec<ContactRow>, StoreError> {
        let (sql, args) = Select::new(CONTACTS)
            .and("list_id =", Some(list.0))
            .and("id >", after.map(|id| id.0))
            .order("id", limit);
        self.read_all("list contacts", sql, &args, |row| contact(row, 0))
            .await
    }

    /// One contact.
    pub async fn contact(&self, id: ContactId) -> Result<Option<ContactRow>, StoreError> {
        let (sql, args) = Select::new(CONTACTS).and("id =", Some(id.0)).order("id", 1);
        Ok(self
            .read_all("read a contact", sql, &args, |row| contact(row, 0))
            .await?
            .pop())
    }

    /// The contacts with this number, the newest first.
    pub async fn contacts_with_number(
        &self,
        number: &E164,
        limit: i64,
    ) -> Result<Vec<ContactRow>, StoreError> {
        let (sql, args) = Select::new(CONTACTS)
            .and("number =", Some(number.expose()))
            .order("id DESC", limit);
        self.read_all("find contacts", sql, &args, |row| contact(row, 0))
            .await
    }
}

/// Stores an empty list. Nobody sees it while it is `importing`.
pub(super) async fn insert_list(
    tx: &mut Tx,
    name: &str,
    importing: bool,
    now: Wall,
) -> Result<ContactListRow, DbError> {
    let sql = "INSERT INTO contact_lists (name, importing, created_at_ms) VALUES ($1, $2, $3) RETURNING id";
    let row = tx.one(sql, args![name, importing, now.0]).await?;
    Ok(ContactListRow {
        id: ContactListId(row.get(0)?),
        name: name.to_owned(),
        created_at: now,
    })
}

async fn insert_contacts(tx: &mut Tx, list: ContactListId, contacts: &[NewContact]) -> Result<u64, DbError> {
    let attributes = contacts
        .iter()
        .map(|contact| serde_json::to_string(&contact.attributes));
    let attributes = attributes
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| DbError::decode("attribute"))?;
    let mut rows = Vec::with_capacity(contacts.len() * 5);
    for (contact, attributes) in contacts.iter().zip(&attributes) {
        rows.extend_from_slice(args![
            list.0,
            contact.number.expose(),
            contact.name.as_deref(),
            contact.time_zone.as_deref(),
            attributes,
        ]);
    }
    INSERT.run(tx, &rows).await
}

/// Stores contacts of which only the number is known; how many of them were new in the list.
pub(super) async fn insert_numbers(
    tx: &mut Tx,
    list: ContactListId,
    numbers: &[E164],
) -> Result<u64, DbError> {
    let mut rows = Vec::with_capacity(numbers.len() * 5);
    for number in numbers {
        rows.extend_from_slice(args![list.0, number.expose(), None::<&str>, None::<&str>, "{}"]);
    }
    INSERT.run(tx, &rows).await
}

fn list(row: &Row) -> Result<ContactListRow, DbError> {
    Ok(ContactListRow {
        id: ContactListId(row.get(0)?),
        name: row.get(1)?,
        created_at: Wall(row.get(2)?),
    })
}

/// Reads a contact from seven columns, the first of which is `column`.
pub(super) fn contact(row: &Row, column: usize) -> Result<ContactRow, DbError> {
    let attributes = row.get::<String>(column + 5)?;
    let further = row.get::<Option<String>>(column + 6)?;
    Ok(ContactRow {
        id: ContactId(row.get(column)?),
        list: ContactListId(row.get(column + 1)?),
        number: row.number(column + 2)?,
        name: row.get(column + 3)?,
        time_zone: row.get(column + 4)?,
        attributes: serde_json::from_str(&attributes).map_err(|_| DbError::decode("attribute"))?,
        further_numbers: match further {
            Some(further) => serde_json::from_str(&further).map_err(|_| DbError::decode("further number"))?,
            None => Vec::new(),
        },
    })
}
