//! Rows of a file whose number is in the list already: what they add to a contact is staged beside it, and filled in once
//! the import is published, in short transactions. What a contact has is never replaced.

use super::{CLEAR_ROWS, Store};
use crate::db::{Arg, Dialect, Tx, args};
use crate::error::{DbError, StoreError};
use crate::imports::StagedContact;
use crate::many::Many;
use paceline_core::ids::{ContactListId, ImportId};

/// With a row's import, list, number, name, time zone, attributes and further numbers.
static SQLITE: Many = Many::new(
    7,
    "INSERT INTO import_fills AS f (import_id, contact_id, name, time_zone, attributes, further_numbers) \
     SELECT v.column1, c.id, v.column4, v.column5, v.column6, v.column7 FROM (VALUES {rows}) AS v \
       JOIN contacts c ON c.number = v.column3 AND c.list_id = v.column2 AND c.import_id <> v.column1 \
     WHERE (c.name IS NULL AND v.column4 IS NOT NULL) OR (c.time_zone IS NULL AND v.column5 IS NOT NULL) \
       OR (c.further_numbers IS NULL AND v.column7 IS NOT NULL) \
       OR EXISTS (SELECT 1 FROM json_each(v.column6) WHERE key NOT IN (SELECT key FROM json_each(c.attributes))) \
     ON CONFLICT (import_id, contact_id) DO UPDATE SET name = coalesce(f.name, excluded.name), \
       time_zone = coalesce(f.time_zone, excluded.time_zone), attributes = json_patch(excluded.attributes, f.attributes), \
       further_numbers = coalesce(f.further_numbers, excluded.further_numbers)",
);
static POSTGRES: Many = Many::new(
    7,
    "INSERT INTO import_fills AS f (import_id, contact_id, name, time_zone, attributes, further_numbers) \
     SELECT v.column1, c.id, v.column4, v.column5, v.column6, v.column7 FROM (VALUES {rows}) AS v \
       JOIN contacts c ON c.number = v.column3 AND c.list_id = v.column2 AND c.import_id <> v.column1 \
     WHERE (c.name IS NULL AND v.column4 IS NOT NULL) OR (c.time_zone IS NULL AND v.column5 IS NOT NULL) \
       OR (c.further_numbers IS NULL AND v.column7 IS NOT NULL) \
       OR NOT c.attributes::jsonb ?& ARRAY(SELECT jsonb_object_keys(v.column6::jsonb)) \
     ON CONFLICT (import_id, contact_id) DO UPDATE SET name = coalesce(f.name, excluded.name), \
       time_zone = coalesce(f.time_zone, excluded.time_zone), attributes = (excluded.attributes::jsonb || f.attributes::jsonb)::text, \
       further_numbers = coalesce(f.further_numbers, excluded.further_numbers)",
);
const FILL_SQLITE: &str = "UPDATE contacts SET name = coalesce(contacts.name, f.name), \
      time_zone = coalesce(contacts.time_zone, f.time_zone), attributes = json_patch(f.attributes, contacts.attributes), \
      further_numbers = coalesce(contacts.further_numbers, f.further_numbers) \
    FROM import_fills f WHERE f.import_id = $1 AND f.contact_id > $2 AND f.contact_id <= $3 AND contacts.id = f.contact_id";
const FILL_POSTGRES: &str = "UPDATE contacts SET name = coalesce(contacts.name, f.name), \
      time_zone = coalesce(contacts.time_zone, f.time_zone), \
      attributes = (f.attributes::jsonb || contacts.attributes::jsonb)::text, \
      further_numbers = coalesce(contacts.further_numbers, f.further_numbers) \
    FROM import_fills f WHERE f.import_id = $1 AND f.contact_id > $2 AND f.contact_id <= $3 AND contacts.id = f.contact_id";
/// Contacts whose zone is filled in wait with those of that zone from then on. Tasks first, as every transaction locks them
/// first.
const LOOK_AT_TASKS: &str = "UPDATE tasks SET next_due_at_ms = created_at_ms WHERE id IN (SELECT tc.task_id FROM import_fills f \
      JOIN contacts c ON c.id = f.contact_id JOIN tasks t ON t.list_id = c.list_id \
      JOIN task_contacts tc ON tc.task_id = t.id AND tc.contact_id = c.id \
    WHERE f.import_id = $1 AND f.contact_id > $2 AND f.contact_id <= $3 AND f.time_zone IS NOT NULL AND c.time_zone IS NULL)";
const MAKE_BUCKETS: &str = "INSERT INTO task_buckets (task_id, time_zone, next_due_at_ms) \
    SELECT DISTINCT t.id, f.time_zone, t.created_at_ms FROM import_fills f JOIN contacts c ON c.id = f.contact_id \
      JOIN tasks t ON t.list_id = c.list_id JOIN task_contacts tc ON tc.task_id = t.id AND tc.contact_id = c.id \
    WHERE f.import_id = $1 AND f.contact_id > $2 AND f.contact_id <= $3 AND f.time_zone IS NOT NULL AND c.time_zone IS NULL \
    ON CONFLICT (task_id, time_zone) DO UPDATE SET next_due_at_ms = excluded.next_due_at_ms";
const MOVE_CONTACTS: &str = "UPDATE task_contacts SET bucket_id = b.id FROM import_fills f JOIN contacts c ON c.id = f.contact_id \
      JOIN tasks t ON t.list_id = c.list_id JOIN task_buckets b ON b.task_id = t.id AND b.time_zone = f.time_zone \
    WHERE f.import_id = $1 AND f.contact_id > $2 AND f.contact_id <= $3 AND c.time_zone IS NULL \
      AND task_contacts.task_id = t.id AND task_contacts.contact_id = c.id";
const FORGET: &str = "DELETE FROM import_fills WHERE import_id = $1 AND contact_id > $2 AND contact_id <= $3";

/// Stages what these rows add to contacts of the list that were there before the import.
pub(super) async fn stage<'a>(
    tx: &mut Tx,
    import: ImportId,
    list: ContactListId,
    contacts: impl Iterator<Item = &'a StagedContact>,
) -> Result<(), DbError> {
    let rows: Vec<Arg<'_>> = contacts
        .flat_map(|contact| {
            [
                Arg::from(import.0),
                Arg::from(list.0),
                Arg::from(contact.number.expose()),
                Arg::from(contact.name.as_deref()),
                Arg::from(contact.time_zone.as_deref()),
                Arg::from(&contact.attributes),
                Arg::from(contact.further_numbers.as_deref()),
            ]
        })
        .collect();
    let statement = match tx.dialect() {
        Dialect::Sqlite => &SQLITE,
        Dialect::Postgres => &POSTGRES,
    };
    statement.run(tx, &rows).await.map(drop)
}

impl Store {
    /// Fills in, bit by bit, what a published import adds to contacts that were in its list before; nothing where it is not
    /// published, or that is done. A crash in between is made good by [`Store::fill_published_imports`].
    pub async fn finish_publishing(&self, id: ImportId) -> Result<(), StoreError> {
        const DOING: &str = "fill in what an import adds to contacts in its list";
        let window = "SELECT max(contact_id) FROM (SELECT f.contact_id FROM import_fills f JOIN imports i ON i.id = f.import_id \
              WHERE f.import_id = $1 AND i.state = 'published' AND f.contact_id > $2 ORDER BY f.contact_id LIMIT $3) w";
        let mut after = 0;
        loop {
            let last = self
                .read_all(DOING, window, args![id.0, after, CLEAR_ROWS], |row| {
                    row.get::<Option<i64>>(0)
                })
                .await?;
            let Some(last) = last.into_iter().flatten().next() else {
                return Ok(());
            };
            self.write(DOING, async |tx| {
                let fill = match tx.dialect() {
                    Dialect::Sqlite => FILL_SQLITE,
                    Dialect::Postgres => FILL_POSTGRES,
                };
                for sql in [LOOK_AT_TASKS, MAKE_BUCKETS, MOVE_CONTACTS, fill] {
                    tx.run(sql, args![id.0, after, last]).await?;
                }
                tx.run(FORGET, args![id.0, after, last]).await?;
                Ok(())
            })
            .await?;
            after = last;
        }
    }

    /// Forgets, bit by bit, what an import would have added to contacts in its list.
    pub(super) async fn forget_fills(&self, id: ImportId) -> Result<(), StoreError> {
        const DOING: &str = "forget what an import adds to contacts in its list";
        let some = "DELETE FROM import_fills WHERE import_id = $1 AND contact_id IN \
              (SELECT contact_id FROM import_fills WHERE import_id = $1 ORDER BY contact_id LIMIT $2)";
        while self.changes(DOING, some, args![id.0, CLEAR_ROWS]).await? {}
        Ok(())
    }
}
