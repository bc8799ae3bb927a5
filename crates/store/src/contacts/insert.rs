//! Writes contacts with their numbers and tags. [`super::owners`] has checked that no other contact has them.

use crate::bulk_statement::BulkStatement;
use crate::db::{Arg, Dialect, Tx, args};
use crate::error::DbError;
use paceline_core::contact::{Contact, ContactNumber, NumberKind, Tier};
use paceline_core::ids::{ContactId, ContactListId, ImportId};

static CONTACTS: BulkStatement = BulkStatement::new(
    13,
    "INSERT INTO contacts (id, list_id, import_id, external_id, name, time_zone, tier, language, country, state, postal_code, \
       consents, attributes) VALUES {rows}",
);
/// Most contacts have no other columns.
static FEW_COLUMNS: BulkStatement = BulkStatement::new(
    6,
    "INSERT INTO contacts (id, list_id, import_id, name, time_zone, attributes) VALUES {rows}",
);
static NUMBERS: BulkStatement = BulkStatement::new(
    7,
    "INSERT INTO contact_numbers (contact_id, position, list_id, import_id, number, kind, label) VALUES {rows}",
);
static TAGS: BulkStatement = BulkStatement::new(
    3,
    "INSERT INTO contact_tags (contact_id, tag, list_id) VALUES {rows} ON CONFLICT (contact_id, tag) DO NOTHING",
);

/// PostgreSQL inserts arrays of columns faster than rows.
const CONTACTS_POSTGRES: &str = "INSERT INTO contacts (id, list_id, import_id, external_id, name, time_zone, tier, language, country, \
      state, postal_code, consents, attributes) OVERRIDING SYSTEM VALUE \
    SELECT u.id, $1, $2, u.external_id, u.name, u.time_zone, u.tier, u.language, u.country, u.state, u.postal_code, u.consents, \
      u.attributes \
    FROM unnest($3::bigint[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::text[], $9::text[], $10::text[], $11::text[], \
      $12::text[], $13::text[]) \
      AS u (id, external_id, name, time_zone, tier, language, country, state, postal_code, consents, attributes)";
const NUMBERS_POSTGRES: &str = "INSERT INTO contact_numbers (contact_id, position, list_id, import_id, number, kind, label) \
    SELECT u.contact_id, u.position, $1, $2, u.number, u.kind, u.label \
    FROM unnest($3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[]) AS u (contact_id, position, number, kind, label)";

/// Stores contacts that the list does not have, in their order, each with its attributes as a JSON object. The caller
/// has locked the list.
pub(crate) async fn insert(
    tx: &mut Tx,
    list: ContactListId,
    import: Option<ImportId>,
    contacts: &[(&Contact, &str)],
) -> Result<(), DbError> {
    if contacts.is_empty() {
        return Ok(());
    }
    let import = import.map_or(0, |import| import.0);
    let ids = new_ids(tx, contacts.len()).await?;
    let consents = contacts
        .iter()
        .map(|(contact, _)| consents(contact))
        .collect::<Result<Vec<_>, _>>()?;
    let rows: Vec<Row<'_>> = ids
        .iter()
        .zip(contacts)
        .zip(&consents)
        .map(|((id, (contact, attributes)), consents)| Row {
            id: *id,
            contact,
            attributes,
            consents: consents.as_deref(),
        })
        .collect();
    match tx.dialect() {
        Dialect::Sqlite => in_rows(tx, list, import, &rows).await?,
        Dialect::Postgres => in_columns(tx, list, import, &rows).await?,
    }
    let mut numbers: Vec<_> = rows
        .iter()
        .flat_map(|row| {
            let numbers = (0_i64..).zip(&row.contact.numbers);
            numbers.map(|(position, number)| (ContactId(row.id), position, number))
        })
        .collect();
    insert_numbers(tx, list, import, &mut numbers).await?;
    let tags = rows.iter().map(|row| (ContactId(row.id), row.contact));
    insert_tags(tx, list, tags).await
}

/// The values of a contact's row.
struct Row<'a> {
    id: i64,
    contact: &'a Contact,
    attributes: &'a str,
    consents: Option<&'a str>,
}

impl Row<'_> {
    fn has_few(&self) -> bool {
        let c = self.contact;
        self.consents.is_none()
            && c.external_id.is_none()
            && c.tier.is_none()
            && c.language.is_none()
            && c.address.is_empty()
    }
}

/// Unused ids, ascending. On SQLite they may have been ids of staged contacts that were deleted. Such a contact was never visible, and
/// the transaction that deletes it deletes all that refers to it.
async fn new_ids(tx: &mut Tx, count: usize) -> Result<Vec<i64>, DbError> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    match tx.dialect() {
        Dialect::Sqlite => {
            let last = tx.one("SELECT max(id) FROM contacts", &[]).await?;
            let first = last.get::<Option<i64>>(0)?.unwrap_or(0).saturating_add(1);
            Ok((first..first.saturating_add(count)).collect())
        }
        Dialect::Postgres => {
            let next = "SELECT nextval(pg_get_serial_sequence('contacts', 'id')) FROM generate_series(1, $1)";
            let rows = tx.rows(next, args![count]).await?;
            rows.iter().map(|row| row.get(0)).collect()
        }
    }
}

async fn in_rows(tx: &mut Tx, list: ContactListId, import: i64, rows: &[Row<'_>]) -> Result<(), DbError> {
    if rows.iter().all(Row::has_few) {
        let mut values = Vec::with_capacity(rows.len() * 6);
        for row in rows {
            let c = row.contact;
            values.extend_from_slice(args![
                row.id,
                list.0,
                import,
                c.name.as_deref(),
                c.time_zone.as_deref(),
                row.attributes,
            ]);
        }
        return FEW_COLUMNS.run(tx, &values).await.map(drop);
    }
    let mut values = Vec::with_capacity(rows.len() * 13);
    for row in rows {
        values.extend_from_slice(args![row.id, list.0, import]);
        values.extend_from_slice(&columns(row.contact));
        values.extend_from_slice(args![row.consents, row.attributes]);
    }
    CONTACTS.run(tx, &values).await.map(drop)
}

/// The columns external id, name, time zone, tier, language, country, state and postal code.
pub(crate) fn columns(c: &Contact) -> [Arg<'_>; 8] {
    [
        Arg::from(c.external_id.as_ref().map(|id| id.as_str())),
        Arg::from(c.name.as_deref()),
        Arg::from(c.time_zone.as_deref()),
        Arg::from(c.tier.map(|tier| i64::from(tier.number()))),
        Arg::from(c.language.as_ref().map(|language| language.as_str())),
        Arg::from(c.address.country.as_ref().map(|country| country.as_str())),
        Arg::from(c.address.state.as_ref().map(|state| state.as_str())),
        Arg::from(c.address.postal_code.as_ref().map(|code| code.as_str())),
    ]
}

async fn in_columns(tx: &mut Tx, list: ContactListId, import: i64, rows: &[Row<'_>]) -> Result<(), DbError> {
    let ids: Vec<_> = rows.iter().map(|row| Some(row.id)).collect();
    let tiers: Vec<_> = rows
        .iter()
        .map(|row| row.contact.tier.map(Tier::number).map(i64::from))
        .collect();
    fn texts<'a>(rows: &'a [Row<'a>], of: impl Fn(&'a Row<'a>) -> Option<&'a str>) -> Vec<Option<&'a str>> {
        rows.iter().map(of).collect()
    }
    let external_ids = texts(rows, |r| r.contact.external_id.as_ref().map(|id| id.as_str()));
    let names = texts(rows, |r| r.contact.name.as_deref());
    let zones = texts(rows, |r| r.contact.time_zone.as_deref());
    let languages = texts(rows, |r| r.contact.language.as_ref().map(|l| l.as_str()));
    let countries = texts(rows, |r| r.contact.address.country.as_ref().map(|c| c.as_str()));
    let states = texts(rows, |r| r.contact.address.state.as_ref().map(|s| s.as_str()));
    let codes = texts(rows, |r| {
        r.contact.address.postal_code.as_ref().map(|p| p.as_str())
    });
    let consents = texts(rows, |r| r.consents);
    let attributes = texts(rows, |r| Some(r.attributes));
    let args = args![
        list.0,
        import,
        ids.as_slice(),
        external_ids.as_slice(),
        names.as_slice(),
        zones.as_slice(),
        tiers.as_slice(),
        languages.as_slice(),
        countries.as_slice(),
        states.as_slice(),
        codes.as_slice(),
        consents.as_slice(),
        attributes.as_slice(),
    ];
    tx.run(CONTACTS_POSTGRES, args).await.map(drop)
}

/// Stores numbers of contacts, each with its position.
pub(crate) async fn insert_numbers(
    tx: &mut Tx,
    list: ContactListId,
    import: i64,
    numbers: &mut [(ContactId, i64, &ContactNumber)],
) -> Result<(), DbError> {
    if numbers.is_empty() {
        return Ok(());
    }
    // Sorted, so that the database walks the index once.
    numbers.sort_unstable_by(|(_, _, a), (_, _, b)| a.number.cmp(&b.number));
    let kind = |n: &ContactNumber| n.kind.map(NumberKind::as_str);
    match tx.dialect() {
        Dialect::Sqlite => {
            let mut rows = Vec::with_capacity(numbers.len() * 7);
            for (contact, position, n) in numbers.iter() {
                rows.extend_from_slice(args![
                    contact.0,
                    *position,
                    list.0,
                    import,
                    n.number.expose(),
                    kind(n),
                    n.label.as_ref().map(|label| label.as_str()),
                ]);
            }
            NUMBERS.run(tx, &rows).await.map(drop)
        }
        Dialect::Postgres => {
            let contacts: Vec<_> = numbers.iter().map(|(contact, _, _)| Some(contact.0)).collect();
            let positions: Vec<_> = numbers.iter().map(|(_, position, _)| Some(*position)).collect();
            let texts: Vec<_> = numbers.iter().map(|(_, _, n)| Some(n.number.expose())).collect();
            let kinds: Vec<_> = numbers.iter().map(|(_, _, n)| kind(n)).collect();
            let labels: Vec<_> = numbers
                .iter()
                .map(|(_, _, n)| n.label.as_ref().map(|label| label.as_str()))
                .collect();
            let args = args![
                list.0,
                import,
                contacts.as_slice(),
                positions.as_slice(),
                texts.as_slice(),
                kinds.as_slice(),
                labels.as_slice(),
            ];
            tx.run(NUMBERS_POSTGRES, args).await.map(drop)
        }
    }
}

/// Stores tags of contacts. Existing tags stay.
pub(crate) async fn insert_tags<'a>(
    tx: &mut Tx,
    list: ContactListId,
    contacts: impl Iterator<Item = (ContactId, &'a Contact)>,
) -> Result<(), DbError> {
    let rows: Vec<Arg<'_>> = contacts
        .flat_map(|(id, contact)| contact.tags.iter().map(move |tag| (id, tag)))
        .flat_map(|(id, tag)| [Arg::from(id.0), Arg::from(tag.as_str()), Arg::from(list.0)])
        .collect();
    TAGS.run(tx, &rows).await.map(drop)
}

/// A contact's consents as JSON; `None` if it has none.
pub(crate) fn consents(contact: &Contact) -> Result<Option<String>, DbError> {
    if contact.consents.is_empty() {
        return Ok(None);
    }
    let text = serde_json::to_string(&contact.consents);
    text.map(Some).map_err(|_| DbError::decode("consent"))
}
