//! The result of an import: the contacts in the store, as text.

use paceline::store::{ContactFilter, ContactRow, Store};
use paceline_core::contact::Contact;
use paceline_core::ids::ContactListId;

/// The first hundred contacts of a list.
pub(crate) async fn contacts(store: &Store, list: ContactListId) -> Vec<ContactRow> {
    let all = ContactFilter::default();
    store
        .contacts(list, &all, None, 100)
        .await
        .unwrap()
        .whole()
        .unwrap()
}

/// One line for a contact: its numbers, name and attributes, and all its other fields as JSON.
pub(crate) fn told_of(row: ContactRow) -> String {
    let numbers = row.contact.numbers.iter().skip(1).map(|n| {
        let label = n.label.as_ref().map_or("", |label| label.as_str());
        format!(" and {} ({label})", n.number.expose())
    });
    let numbers: String = numbers.collect();
    let first = row.contact.numbers[0].number.expose().to_owned();
    let name = row.contact.name.clone().unwrap_or_default();
    let more = Contact {
        numbers: Vec::new(),
        name: None,
        time_zone: None,
        ..row.contact
    };
    let more = match serde_json::to_string(&more).unwrap().as_str() {
        "{}" => String::new(),
        more => format!(" {more}"),
    };
    format!("> {first} {name} {:?}{numbers}{more}\n", row.attributes)
}
