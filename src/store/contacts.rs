//! Contact lists and the people in them.

use super::Store;
use super::db::{Row, Tx, args};
use super::error::{DbError, StoreError};
use super::many::Many;
use super::select::Select;
use paceline_core::ids::{ContactId, ContactListId};
use paceline_core::number::E164;
use paceline_core::time::Wall;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

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
}

/// Rows in one transaction of an import: some 10 ms, so that the dialer hardly notices.
const CHUNK: usize = 2_000;
/// An import without a sign of life for so long is dead.
const IMPORT_DEAD_AFTER: Duration = Duration::from_secs(3600);

static INSERT: Many = Many::new(
    5,
    "INSERT INTO contacts (list_id, number, name, time_zone, attributes) VALUES {rows} \
     ON CONFLICT (number, list_id) DO NOTHING",
);

const LISTS: &str = "SELECT id, name, created_at_ms FROM contact_lists WHERE importing_at_ms IS NULL";
const CONTACTS: &str = "SELECT id, list_id, number, name, time_zone, attributes FROM contacts WHERE 1 = 1";

impl Store {
    /// Stores a list with its first contacts, all or none. Also tells how many were stored: a number counts once.
    pub async fn create_contact_list(
        &self,
        name: &str,
        contacts: &[NewContact],
        now: Wall,
    ) -> Result<(ContactListRow, u64), StoreError> {
        self.write("create a contact list", async |tx| {
            let list = insert_list(tx, name, None, now).await?;
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
            let there = "SELECT 1 FROM contact_lists WHERE id = $1 AND importing_at_ms IS NULL";
            if tx.rows(there, args![list.0]).await?.is_empty() {
                return Err(StoreError::NoList.into());
            }
            Ok(insert_contacts(tx, list, contacts).await?)
        })
        .await
    }

    /// Starts an import into a new list, which nobody sees before [`Import::finish`].
    pub async fn begin_import(&self, name: &str, now: Wall) -> Result<Import, StoreError> {
        self.delete_dead_imports(now).await?;
        let list = self
            .write("begin an import", async |tx| {
                Ok(insert_list(tx, name, Some(now), now).await?)
            })
            .await?;
        Ok(Import {
            store: self.clone(),
            list,
        })
    }

    async fn delete_dead_imports(&self, now: Wall) -> Result<(), StoreError> {
        const DOING: &str = "delete a dead import";
        let died = i64::try_from(IMPORT_DEAD_AFTER.as_millis()).unwrap_or(i64::MAX);
        let dead = "SELECT id FROM contact_lists WHERE importing_at_ms < $1";
        let dead = self
            .read_all(DOING, dead, args![now.0.saturating_sub(died)], |row| row.get(0))
            .await?;
        for list in dead {
            self.delete_import(ContactListId(list)).await?;
        }
        Ok(())
    }

    /// Deletes a list that is being imported, bit by bit.
    async fn delete_import(&self, list: ContactListId) -> Result<(), StoreError> {
        let some = "DELETE FROM contacts WHERE id IN (SELECT id FROM contacts WHERE list_id = $1 LIMIT $2)";
        let chunk = i64::try_from(CHUNK).unwrap_or(i64::MAX);
        let mut deleted = 1;
        while deleted > 0 {
            deleted = self
                .write("delete an import", async |tx| {
                    Ok(tx.run(some, args![list.0, chunk]).await?)
                })
                .await?;
        }
        let gone = "DELETE FROM contact_lists WHERE id = $1 AND importing_at_ms IS NOT NULL";
        self.write("delete an import", async |tx| {
            Ok(tx.run(gone, args![list.0]).await.map(drop)?)
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

    /// How many contacts a list has.
    pub async fn count_contacts(&self, list: ContactListId) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM contacts WHERE list_id = $1";
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

/// An import under way. Dropped unfinished, its list is never seen, and is deleted by a later import.
#[derive(Debug)]
pub struct Import {
    store: Store,
    list: ContactListRow,
}

impl Import {
    /// Stores contacts; how many of them were new in the list. In transactions of 2,000, each followed by a pause as long
    /// as itself, so that an import from another process leaves SQLite's one writer to the dialer half of the time.
    pub async fn add(&mut self, contacts: &[NewContact], now: Wall) -> Result<u64, StoreError> {
        let id = self.list.id;
        let sign_of_life = "UPDATE contact_lists SET importing_at_ms = $2 WHERE id = $1";
        let mut added = 0;
        for chunk in contacts.chunks(CHUNK) {
            let started = Instant::now();
            added += self
                .store
                .write("import contacts", async |tx| {
                    tx.run(sign_of_life, args![id.0, now.0]).await?;
                    Ok(insert_contacts(tx, id, chunk).await?)
                })
                .await?;
            tokio::time::sleep(started.elapsed().min(Duration::from_millis(100))).await;
        }
        Ok(added)
    }

    /// Makes the list seen.
    pub async fn finish(self) -> Result<ContactListRow, StoreError> {
        let sql = "UPDATE contact_lists SET importing_at_ms = NULL WHERE id = $1";
        self.store
            .write("finish an import", async |tx| {
                Ok(tx.run(sql, args![self.list.id.0]).await.map(drop)?)
            })
            .await?;
        Ok(self.list)
    }

    /// Deletes what was imported so far.
    pub async fn abandon(self) -> Result<(), StoreError> {
        self.store.delete_import(self.list.id).await
    }
}

/// Stores an empty list.
pub(super) async fn insert_list(
    tx: &mut Tx,
    name: &str,
    importing_at: Option<Wall>,
    now: Wall,
) -> Result<ContactListRow, DbError> {
    let sql =
        "INSERT INTO contact_lists (name, importing_at_ms, created_at_ms) VALUES ($1, $2, $3) RETURNING id";
    let row = tx
        .one(sql, args![name, importing_at.map(|at| at.0), now.0])
        .await?;
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

/// Reads a contact from six columns, the first of which is `column`.
pub(super) fn contact(row: &Row, column: usize) -> Result<ContactRow, DbError> {
    let attributes = row.get::<String>(column + 5)?;
    Ok(ContactRow {
        id: ContactId(row.get(column)?),
        list: ContactListId(row.get(column + 1)?),
        number: row.number(column + 2)?,
        name: row.get(column + 3)?,
        time_zone: row.get(column + 4)?,
        attributes: serde_json::from_str(&attributes).map_err(|_| DbError::decode("attribute"))?,
    })
}
