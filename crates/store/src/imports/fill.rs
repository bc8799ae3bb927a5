//! Rows of a file whose contact is already stored. Their additions are staged separately and filled in after the
//! import is published, in short transactions. An existing value is never replaced.

use super::{CLEAR_ROWS, StagedContact, Store};
use crate::bulk_statement::BulkStatement;
use crate::contacts::ContactRow;
use crate::contacts::insert::{columns, consents, insert_numbers, insert_tags};
use crate::contacts::owners::lock_list;
use crate::contacts::rows::whole;
use crate::db::{Arg, Dialect, Row, Tx, args};
use crate::dial::LOCK_TASKS;
use crate::error::{DbError, Stop, StoreError};
use crate::facts::{buckets, ids};
use crate::tasks::reopen::{TasksToDial, reopen_contacts};
use paceline_core::contact::Contact;
use paceline_core::contact::merge::fill_attributes;
use paceline_core::ids::{CampaignId, ContactId, ContactListId, ImportId, TaskId};
use std::collections::{BTreeMap, BTreeSet};

static FILLS: BulkStatement = BulkStatement::new(
    2,
    "WITH v(import_id, contact_id) AS (VALUES {rows}) SELECT f.contact_id, f.contact, f.attributes FROM v \
     JOIN import_fills f ON f.import_id = v.import_id AND f.contact_id = v.contact_id",
);
static STAGE: BulkStatement = BulkStatement::new(
    7,
    "INSERT INTO import_fills (import_id, contact_id, list_id, external_id, time_zone, contact, attributes) VALUES {rows} \
     ON CONFLICT (import_id, contact_id) DO UPDATE SET external_id = excluded.external_id, time_zone = excluded.time_zone, \
       contact = excluded.contact, attributes = excluded.attributes",
);
static MADE_BY: BulkStatement = BulkStatement::new(
    1,
    "WITH v(id) AS (VALUES {rows}) SELECT c.id, c.import_id FROM v JOIN contacts c ON c.id = v.id",
);
static EXTERNAL_IDS: BulkStatement = BulkStatement::new(
    2,
    "WITH v(list_id, external_id) AS (VALUES {rows}) SELECT c.external_id FROM v \
     JOIN contacts c ON c.list_id = v.list_id AND c.external_id = v.external_id",
);
static FILL: BulkStatement = BulkStatement::new(
    11,
    "WITH v(id, external_id, name, time_zone, tier, language, country, state, postal_code, consents, attributes) AS (VALUES {rows}) \
     UPDATE contacts SET external_id = v.external_id, name = v.name, time_zone = v.time_zone, tier = v.tier, \
       language = v.language, country = v.country, state = v.state, postal_code = v.postal_code, consents = v.consents, \
       attributes = v.attributes FROM v WHERE contacts.id = v.id",
);
const SLICE: &str = "SELECT contact_id, contact, attributes FROM import_fills \
    WHERE import_id = $1 AND contact_id > $2 AND contact_id <= $3 ORDER BY contact_id";
/// The tasks of contacts that gain something: where a contact lives, or a number, may move it to another bucket.
const TASKS: &str = "SELECT DISTINCT tc.task_id, t.campaign_id FROM import_fills f JOIN contacts c ON c.id = f.contact_id \
      JOIN tasks t ON t.list_id = c.list_id JOIN task_contacts tc ON tc.task_id = t.id AND tc.contact_id = c.id \
    WHERE f.import_id = $1 AND f.contact_id > $2 AND f.contact_id <= $3";
static LOOK_AT_TASKS: BulkStatement = BulkStatement::new(
    1,
    "WITH v(id) AS (VALUES {rows}) UPDATE tasks SET next_due_at_ms = created_at_ms WHERE id IN (SELECT id FROM v)",
);
static RESIDENTS: BulkStatement = BulkStatement::new(
    1,
    "WITH v(id) AS (VALUES {rows}) SELECT c.id, c.time_zone, c.country, c.state, n.number FROM v \
       JOIN seen_contacts c ON c.id = v.id JOIN seen_numbers n ON n.contact_id = c.id ORDER BY c.id",
);
static OLD_BUCKETS: BulkStatement = BulkStatement::new(
    1,
    "WITH v(id) AS (VALUES {rows}) SELECT tc.contact_id, tc.task_id, b.localities, t.created_at_ms FROM v \
       JOIN contacts c ON c.id = v.id JOIN tasks t ON t.list_id = c.list_id \
       JOIN task_contacts tc ON tc.task_id = t.id AND tc.contact_id = c.id JOIN task_buckets b ON b.id = tc.bucket_id",
);
static MAKE_BUCKETS: BulkStatement = BulkStatement::new(
    3,
    "INSERT INTO task_buckets (task_id, localities, next_due_at_ms) VALUES {rows} \
     ON CONFLICT (task_id, localities) DO UPDATE SET next_due_at_ms = excluded.next_due_at_ms",
);
static MOVE_CONTACTS: BulkStatement = BulkStatement::new(
    3,
    "WITH v(task_id, contact_id, localities) AS (VALUES {rows}) \
     UPDATE task_contacts SET bucket_id = b.id FROM v JOIN task_buckets b ON b.task_id = v.task_id AND b.localities = v.localities \
     WHERE task_contacts.task_id = v.task_id AND task_contacts.contact_id = v.contact_id",
);
const FORGET: &str = "DELETE FROM import_fills WHERE import_id = $1 AND contact_id > $2 AND contact_id <= $3";

/// The values that an import adds to one contact.
#[derive(Default)]
struct Fill {
    contact: Contact,
    attributes: BTreeMap<String, String>,
}

impl Fill {
    /// Reads a row of the contact's id, and the contact and its attributes as JSON.
    fn read(row: &Row) -> Result<(ContactId, Self), DbError> {
        let contact = serde_json::from_str(&row.get::<String>(1)?);
        Ok((
            ContactId(row.get(0)?),
            Self {
                contact: contact.map_err(|_| DbError::decode("contact"))?,
                attributes: read_attributes(&row.get::<String>(2)?)?,
            },
        ))
    }

    /// Fills the blank fields from `later`. Returns true if that changed anything.
    fn add(&mut self, later: &Fill) -> bool {
        self.contact.fill(&later.contact) | fill_attributes(&mut self.attributes, &later.attributes)
    }
}

impl From<ContactRow> for Fill {
    fn from(row: ContactRow) -> Self {
        Self {
            contact: row.contact,
            attributes: row.attributes,
        }
    }
}

/// Stages the additions of rows to stored contacts. Returns the number of rows whose contacts existed before the
/// import. Numbers are stored with the contact at once, and become visible when the import is published.
pub(super) async fn stage(
    tx: &mut Tx,
    import: ImportId,
    list: ContactListId,
    rows: BTreeMap<ContactId, Vec<StagedContact>>,
) -> Result<usize, DbError> {
    if rows.is_empty() {
        return Ok(0);
    }
    let ids: Vec<ContactId> = rows.keys().copied().collect();
    let listed = count_listed(tx, import, &ids, &rows).await?;
    let mut stored = whole(tx, &ids).await?;
    let mut fills = staged_fills(tx, import, &ids).await?;
    let (mut changed, mut numbers) = (Vec::new(), Vec::new());
    for (id, rows) in &rows {
        let Some((row, mut position)) = stored.remove(id) else {
            continue;
        };
        let had = row.contact.numbers.len();
        let mut whole = Fill::from(row);
        let mut fill = fills.remove(id).unwrap_or_default();
        whole.add(&fill);
        let mut gained = false;
        for row in rows {
            let mut later = Fill {
                contact: row.contact.clone(),
                attributes: read_attributes(&row.attributes)?,
            };
            if whole.add(&later) {
                gained = true;
                later.contact.numbers.clear();
                fill.add(&later);
            }
        }
        for number in whole.contact.numbers.into_iter().skip(had) {
            numbers.push((*id, position, number));
            position = position.saturating_add(1);
        }
        if gained {
            let text = serde_json::to_string(&fill.contact).map_err(|_| DbError::decode("contact"))?;
            let attributes =
                serde_json::to_string(&fill.attributes).map_err(|_| DbError::decode("attribute"))?;
            changed.push((*id, fill.contact, text, attributes));
        }
    }
    let mut numbers: Vec<_> = numbers
        .iter()
        .map(|(id, position, n)| (*id, *position, n))
        .collect();
    insert_numbers(tx, list, import.0, &mut numbers).await?;
    let mut values = Vec::with_capacity(changed.len() * 7);
    for (id, contact, text, attributes) in &changed {
        values.extend_from_slice(args![
            import.0,
            id.0,
            list.0,
            contact.external_id.as_ref().map(|id| id.as_str()),
            contact.time_zone.as_deref(),
            text,
            attributes,
        ]);
    }
    STAGE.run(tx, &values).await?;
    Ok(listed)
}

async fn count_listed(
    tx: &mut Tx,
    import: ImportId,
    ids: &[ContactId],
    rows: &BTreeMap<ContactId, Vec<StagedContact>>,
) -> Result<usize, DbError> {
    let ids: Vec<Arg<'_>> = ids.iter().map(|id| Arg::from(id.0)).collect();
    let mut listed = 0;
    for row in MADE_BY.rows(tx, &ids).await? {
        if row.get::<i64>(1)? != import.0 {
            listed += rows.get(&ContactId(row.get(0)?)).map_or(0, Vec::len);
        }
    }
    Ok(listed)
}

async fn staged_fills(
    tx: &mut Tx,
    import: ImportId,
    ids: &[ContactId],
) -> Result<BTreeMap<ContactId, Fill>, DbError> {
    let keys: Vec<Arg<'_>> = ids
        .iter()
        .flat_map(|id| [Arg::from(import.0), Arg::from(id.0)])
        .collect();
    let rows = FILLS.rows(tx, &keys).await?;
    rows.iter().map(Fill::read).collect()
}

impl Store {
    /// Fills in the additions of a published import, in slices. Does nothing if the import is not published or
    /// already complete. After a crash, [`Store::fill_published_imports`] completes it.
    /// Returns the tasks whose contacts it has changed.
    pub async fn finish_publishing(&self, id: ImportId) -> Result<TasksToDial, StoreError> {
        const DOING: &str = "fill in what an import adds to contacts in its list";
        let window = "SELECT max(contact_id), max(list_id) FROM (SELECT f.contact_id, f.list_id FROM import_fills f \
              JOIN imports i ON i.id = f.import_id \
              WHERE f.import_id = $1 AND i.state = 'published' AND f.contact_id > $2 ORDER BY f.contact_id LIMIT $3) w";
        let (mut after, mut changed) = (0, TasksToDial::new());
        loop {
            let last = self
                .read_all(DOING, window, args![id.0, after, CLEAR_ROWS], |row| {
                    Ok(row.get::<Option<i64>>(0)?.zip(row.get::<Option<i64>>(1)?))
                })
                .await?;
            let Some((last, list)) = last.into_iter().flatten().next() else {
                return Ok(changed);
            };
            let filled = self.write(DOING, async |tx| {
                fill_slice(tx, id, ContactListId(list), (after, last)).await
            });
            changed.extend(filled.await?);
            after = last;
        }
    }

    /// Deletes the additions of an import without using them, in slices.
    pub(super) async fn forget_fills(&self, id: ImportId) -> Result<(), StoreError> {
        const DOING: &str = "forget what an import adds to contacts in its list";
        let some = "DELETE FROM import_fills WHERE import_id = $1 AND contact_id IN \
              (SELECT contact_id FROM import_fills WHERE import_id = $1 ORDER BY contact_id LIMIT $2)";
        while self.changes(DOING, some, args![id.0, CLEAR_ROWS]).await? {}
        Ok(())
    }
}

/// Fills in the contacts with ids after `after`, up to `last`.
async fn fill_slice(
    tx: &mut Tx,
    id: ImportId,
    list: ContactListId,
    (after, last): (i64, i64),
) -> Result<TasksToDial, Stop> {
    lock_list(tx, list).await?;
    let mut changed = look_at_tasks(tx, id, (after, last)).await?;
    let rows = tx.rows(SLICE, args![id.0, after, last]).await?;
    let fills = rows.iter().map(Fill::read).collect::<Result<Vec<_>, _>>()?;
    let filled_ids: Vec<ContactId> = fills.iter().map(|(id, _)| *id).collect();
    let mut taken = taken_external_ids(tx, list, &fills).await?;
    let mut stored = whole(tx, &filled_ids).await?;
    let mut filled = Vec::with_capacity(fills.len());
    for (id, mut fill) in fills {
        let Some((row, _)) = stored.remove(&id) else {
            continue;
        };
        // A user may have added a contact with this external id since the import was staged.
        if let Some(external_id) = &fill.contact.external_id
            && !taken.insert(external_id.as_str().to_owned())
        {
            fill.contact.external_id = None;
        }
        let mut whole = Fill::from(row);
        whole.add(&fill);
        let attributes =
            serde_json::to_string(&whole.attributes).map_err(|_| DbError::decode("attribute"))?;
        filled.push((id, consents(&whole.contact)?, attributes, whole.contact));
    }
    let mut values = Vec::with_capacity(filled.len() * 11);
    for (id, consents, attributes, contact) in &filled {
        values.push(Arg::from(id.0));
        values.extend_from_slice(&columns(contact));
        values.extend_from_slice(args![consents.as_deref(), attributes]);
    }
    FILL.run(tx, &values).await?;
    let tags = filled.iter().map(|(id, _, _, contact)| (*id, contact));
    insert_tags(tx, list, tags).await?;
    move_contacts(tx, &filled_ids).await?;
    // The gate may decide otherwise with a consent, or if the contact lives elsewhere.
    changed.extend(reopen_contacts(tx, filled_ids.iter().map(|id| id.0)).await?);
    tx.run(FORGET, args![id.0, after, last]).await?;
    Ok(changed)
}

/// Moves contacts to the buckets of the places in which they may be now.
async fn move_contacts(tx: &mut Tx, contacts: &[ContactId]) -> Result<(), DbError> {
    let contacts = ids(contacts.iter().map(|id| id.0));
    let now: BTreeMap<i64, String> = buckets(&RESIDENTS.rows(tx, &contacts).await?)?
        .into_iter()
        .collect();
    let mut made = BTreeMap::new();
    let mut moved = Vec::new();
    for row in OLD_BUCKETS.rows(tx, &contacts).await? {
        let (contact, task) = (row.get::<i64>(0)?, row.get::<i64>(1)?);
        if let Some(key) = now
            .get(&contact)
            .filter(|key| row.get::<String>(2).ok().as_ref() != Some(key))
        {
            made.insert((task, key), row.get::<i64>(3)?);
            moved.extend_from_slice(args![task, contact, key]);
        }
    }
    let made: Vec<Arg<'_>> = made
        .iter()
        .flat_map(|((task, key), due)| args![*task, *key, *due].to_vec())
        .collect();
    MAKE_BUCKETS.run(tx, &made).await?;
    MOVE_CONTACTS.run(tx, &moved).await?;
    Ok(())
}

/// Updates the tasks of contacts that gain something. Every transaction locks tasks first, and in the order of their ids.
async fn look_at_tasks(tx: &mut Tx, id: ImportId, (after, last): (i64, i64)) -> Result<TasksToDial, DbError> {
    let rows = tx.rows(TASKS, args![id.0, after, last]).await?;
    let changed = rows
        .iter()
        .map(|row| Ok((CampaignId(row.get(1)?), TaskId(row.get(0)?))));
    let changed = changed.collect::<Result<TasksToDial, DbError>>()?;
    let tasks = ids(changed.iter().map(|(_, task)| task.0));
    if tx.dialect() == Dialect::Postgres {
        LOCK_TASKS.rows(tx, &tasks).await?;
    }
    LOOK_AT_TASKS.run(tx, &tasks).await?;
    Ok(changed)
}

/// The external ids among these additions that contacts of the list already have.
async fn taken_external_ids(
    tx: &mut Tx,
    list: ContactListId,
    fills: &[(ContactId, Fill)],
) -> Result<BTreeSet<String>, DbError> {
    let ids = fills
        .iter()
        .filter_map(|(_, fill)| fill.contact.external_id.as_ref());
    let keys: Vec<Arg<'_>> = ids
        .flat_map(|id| [Arg::from(list.0), Arg::from(id.as_str())])
        .collect();
    let rows = EXTERNAL_IDS.rows(tx, &keys).await?;
    rows.iter().map(|row| row.get(0)).collect()
}

fn read_attributes(text: &str) -> Result<BTreeMap<String, String>, DbError> {
    serde_json::from_str(text).map_err(|_| DbError::decode("attribute"))
}
