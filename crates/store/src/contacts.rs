//! Contact lists and their contacts.

pub(super) mod insert;
pub(super) mod owners;
pub(super) mod rows;

use super::bulk_statement::BulkStatement;
use super::db::{Arg, Row, Tx, args};
use super::error::{DbError, StoreError};
use super::readable::Rows;
use super::select::Select;
use super::{Store, query};
use owners::{Owner, Owners, lock_list};
use paceline_core::contact::merge::Belongs;
use paceline_core::contact::{Contact, ContactNumber, ExternalId, Tag};
use paceline_core::ids::{ContactId, ContactListId};
use paceline_core::number::E164;
use paceline_core::time::Wall;
use rows::{contact, contact_columns};
use std::collections::BTreeMap;

/// A contact to be stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewContact {
    /// The contact, checked by [`Contact::check`].
    pub contact: Contact,
    /// Additional values by name.
    pub attributes: BTreeMap<String, String>,
}

/// The result of adding contacts to a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Contacts that are new in the list.
    pub contacts: u64,
    /// Numbers of new contacts that were left out because another contact of the list has them.
    pub numbers_left: u64,
}

/// Conditions on contacts; `None` accepts every contact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContactFilter {
    /// Only the contact with this external id.
    pub external_id: Option<ExternalId>,
    /// Only contacts with this tag.
    pub tag: Option<Tag>,
}

/// A contact list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactListRow {
    /// Its id.
    pub id: ContactListId,
    /// The list's name.
    pub name: String,
    /// The time of creation.
    pub created_at: Wall,
}

/// A contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactRow {
    /// The contact's id.
    pub id: ContactId,
    /// The contact's list.
    pub list: ContactListId,
    /// The contact's numbers, time zone and other typed fields.
    pub contact: Contact,
    /// Additional values by name.
    pub attributes: BTreeMap<String, String>,
}

/// Removes numbers from the staged contacts of unpublished imports, because those imports may be cancelled.
static UNSTAGE_NUMBERS: BulkStatement = BulkStatement::new(
    2,
    "DELETE FROM contact_numbers WHERE (number, list_id) IN (VALUES {rows}) AND import_id IN (SELECT id FROM imports \
       WHERE state IN ('running', 'stopped', 'staged', 'clearing')) RETURNING contact_id",
);
static UNSTAGE_EXTERNAL_IDS: BulkStatement = BulkStatement::new(
    2,
    "UPDATE contacts SET external_id = NULL WHERE (external_id, list_id) IN (VALUES {rows}) AND import_id IN \
       (SELECT id FROM imports WHERE state IN ('running', 'stopped', 'staged', 'clearing'))",
);
/// A contact must have a number.
static UNSTAGE_CONTACTS: BulkStatement = BulkStatement::new(
    1,
    "DELETE FROM contacts WHERE id IN (VALUES {rows}) \
       AND NOT EXISTS (SELECT 1 FROM contact_numbers n WHERE n.contact_id = contacts.id)",
);
static UNSTAGE_TAGS: BulkStatement = BulkStatement::new(
    1,
    "DELETE FROM contact_tags WHERE contact_id IN (VALUES {rows}) \
       AND NOT EXISTS (SELECT 1 FROM contacts c WHERE c.id = contact_tags.contact_id)",
);
/// Deletes the data that an import adds to a deleted contact, because SQLite gives the contact's id to the next one.
static UNSTAGE_FILLS: BulkStatement = BulkStatement::new(
    1,
    "DELETE FROM import_fills WHERE contact_id IN (VALUES {rows}) AND import_id IN \
         (SELECT id FROM imports WHERE state IN ('running', 'stopped', 'staged', 'clearing')) \
       AND NOT EXISTS (SELECT 1 FROM contacts c WHERE c.id = import_fills.contact_id)",
);

const LISTS: &str = "SELECT id, name, created_at_ms FROM contact_lists WHERE NOT importing";
const CONTACTS: &str = concat!("SELECT ", contact_columns!(), " FROM seen_contacts c WHERE 1 = 1");
const WITH_TAG: &str = concat!(
    "SELECT ",
    contact_columns!(),
    " FROM contact_tags t JOIN seen_contacts c ON c.id = t.contact_id WHERE 1 = 1"
);
const WITH_NUMBER: &str = concat!(
    "SELECT ",
    contact_columns!(),
    " FROM seen_numbers n JOIN seen_contacts c ON c.id = n.contact_id WHERE n.number = $1 ORDER BY c.id DESC LIMIT $2"
);

impl Store {
    /// Stores a list with its first contacts, all or none. See [`Store::add_contacts`].
    pub async fn create_contact_list(
        &self,
        name: &str,
        contacts: &[NewContact],
        now: Wall,
    ) -> Result<(ContactListRow, Added), StoreError> {
        self.write("create a contact list", async |tx| {
            let list = insert_list(tx, name, false, now).await?;
            let added = insert_contacts(tx, list.id, contacts).await?;
            Ok((list, added))
        })
        .await
    }

    /// Adds contacts to a list, all or none. A contact is left out if the list, or an earlier contact of the request,
    /// has its first number or its external id. Tasks that were made from the list before do not get the new
    /// contacts.
    pub async fn add_contacts(
        &self,
        list: ContactListId,
        contacts: &[NewContact],
    ) -> Result<Added, StoreError> {
        self.write("add contacts", async |tx| {
            let there = "SELECT 1 FROM contact_lists WHERE id = $1 AND NOT importing";
            if tx.rows(there, args![list.0]).await?.is_empty() {
                return Err(StoreError::NoList.into());
            }
            lock_list(tx, list).await?;
            let unseen = "SELECT 1 FROM imports WHERE list_id = $1 \
                AND state IN ('running', 'stopped', 'staged', 'clearing') LIMIT 1";
            if !tx.rows(unseen, args![list.0]).await?.is_empty() {
                unstage(tx, list, contacts).await?;
            }
            Ok(insert_contacts(tx, list, contacts).await?)
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

    /// Up to ten older lists with the same name, the newest first.
    pub async fn lists_of_same_name(&self, list: ContactListId) -> Result<Vec<ContactListId>, StoreError> {
        let sql = "SELECT o.id FROM contact_lists l JOIN contact_lists o ON o.name = l.name AND o.id < l.id \
            WHERE l.id = $1 AND NOT o.importing ORDER BY o.id DESC LIMIT 10";
        let read = |row: &Row| Ok(ContactListId(row.get(0)?));
        self.read_all("find lists of the same name", sql, args![list.0], read)
            .await
    }

    /// The number of visible contacts of a list.
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
        filter: &ContactFilter,
        after: Option<ContactId>,
        limit: i64,
    ) -> Result<Rows<ContactRow>, StoreError> {
        const DOING: &str = "list contacts";
        let external_id = filter.external_id.as_ref().map(ExternalId::as_str);
        let rows = match &filter.tag {
            Some(tag) => {
                let (sql, args) = Select::new(WITH_TAG)
                    .and("t.list_id =", Some(list.0))
                    .and("t.tag =", Some(tag.as_str()))
                    .and("t.contact_id >", after.map(|id| id.0))
                    .and("c.external_id =", external_id)
                    .order("t.contact_id", limit);
                self.read_each(DOING, sql, &args, |row| contact(row, 0)).await?
            }
            None => {
                let (sql, args) = Select::new(CONTACTS)
                    .and("c.list_id =", Some(list.0))
                    .and("c.external_id =", external_id)
                    .and("c.id >", after.map(|id| id.0))
                    .order("c.id", limit);
                self.read_each(DOING, sql, &args, |row| contact(row, 0)).await?
            }
        };
        self.complete(DOING, rows).await
    }

    /// One contact.
    pub async fn contact(&self, id: ContactId) -> Result<Option<ContactRow>, StoreError> {
        const DOING: &str = "read a contact";
        let (sql, args) = Select::new(CONTACTS).and("c.id =", Some(id.0)).order("c.id", 1);
        let rows = self.read_each(DOING, sql, &args, |row| contact(row, 0)).await?;
        self.complete(DOING, rows).await?.only().map_err(query(DOING))
    }

    /// The contacts that have this number, the newest first.
    pub async fn contacts_with_number(
        &self,
        number: &E164,
        limit: i64,
    ) -> Result<Vec<ContactRow>, StoreError> {
        const DOING: &str = "find contacts";
        let args = args![number.expose(), limit];
        let rows = self
            .read_each(DOING, WITH_NUMBER, args, |row| contact(row, 0))
            .await?;
        self.complete(DOING, rows).await?.whole().map_err(query(DOING))
    }

    async fn complete(
        &self,
        doing: &'static str,
        mut contacts: Rows<ContactRow>,
    ) -> Result<Rows<ContactRow>, StoreError> {
        let faults = rows::complete(&self.pools, contacts.readable_mut().collect()).await;
        let mut faults = faults.map_err(query(doing))?;
        Ok(contacts.refuse(|row| Some((row.id.0, faults.remove(&row.id)?))))
    }
}

/// Stores an empty list. It is invisible while it is `importing`.
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

/// Stores those contacts that are new in the list. The caller has locked the list or created it in this transaction.
async fn insert_contacts(
    tx: &mut Tx,
    list: ContactListId,
    contacts: &[NewContact],
) -> Result<Added, DbError> {
    let mut owners = Owners::read(tx, list, None, contacts.iter().map(|c| &c.contact)).await?;
    let (mut new, mut added) = (Vec::with_capacity(contacts.len()), Added::default());
    for NewContact { contact, attributes } in contacts {
        match owners.whose(contact) {
            Belongs::Nobody => {}
            Belongs::To(_) | Belongs::Unclear(_) => continue,
        }
        let mut contact = contact.clone();
        added.numbers_left += owners.claim_new(Owner::New(new.len()), &mut contact) as u64;
        let attributes = serde_json::to_string(attributes).map_err(|_| DbError::decode("attribute"))?;
        new.push((contact, attributes));
    }
    added.contacts = new.len() as u64;
    let rows: Vec<_> = new
        .iter()
        .map(|(contact, attributes)| (contact, attributes.as_str()))
        .collect();
    insert::insert(tx, list, None, &rows).await?;
    Ok(added)
}

/// Removes the numbers and external ids of these contacts from unpublished imports.
async fn unstage(tx: &mut Tx, list: ContactListId, contacts: &[NewContact]) -> Result<(), DbError> {
    let key = |value| [Arg::from(value), Arg::from(list.0)];
    let contacts = || contacts.iter().map(|c| &c.contact);
    let ids = contacts().filter_map(|c| c.external_id.as_ref());
    let ids: Vec<Arg<'_>> = ids.flat_map(|id| key(id.as_str())).collect();
    UNSTAGE_EXTERNAL_IDS.run(tx, &ids).await?;
    let numbers = contacts().flat_map(|c| &c.numbers);
    let numbers: Vec<Arg<'_>> = numbers.flat_map(|n| key(n.number.expose())).collect();
    let left = UNSTAGE_NUMBERS.rows(tx, &numbers).await?;
    let left = left
        .iter()
        .map(|row| row.get::<i64>(0))
        .collect::<Result<Vec<_>, _>>()?;
    let left: Vec<Arg<'_>> = left.into_iter().map(Arg::from).collect();
    UNSTAGE_CONTACTS.run(tx, &left).await?;
    UNSTAGE_TAGS.run(tx, &left).await?;
    UNSTAGE_FILLS.run(tx, &left).await?;
    Ok(())
}

/// Stores contacts that consist of a number only.
pub(super) async fn insert_numbers(
    tx: &mut Tx,
    list: ContactListId,
    numbers: &[ContactNumber],
) -> Result<(), DbError> {
    let contacts = numbers.iter().map(|number| NewContact {
        contact: Contact {
            numbers: vec![number.clone()],
            ..Contact::default()
        },
        attributes: BTreeMap::new(),
    });
    let contacts: Vec<_> = contacts.collect();
    insert_contacts(tx, list, &contacts).await.map(drop)
}

fn list(row: &Row) -> Result<ContactListRow, DbError> {
    Ok(ContactListRow {
        id: ContactListId(row.get(0)?),
        name: row.get(1)?,
        created_at: Wall(row.get(2)?),
    })
}
