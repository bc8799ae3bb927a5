//! Contact lists and contacts; and why a contact was or was not dialed, which [`why`] puts together.

pub(super) mod why;

use super::check::{self, Faults, NUMBERS_MAX};
use super::extract::{Id, Json, Query};
use super::page::{Page, PageQuery, Window};
use super::problem::{ApiResult, Problem};
use super::words::Utc;
use super::{ApiState, Caller};
use crate::store::{ContactListRow, ContactRow, NewContact};
use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;
use paceline_core::ids::{ContactId, ContactListId};
use paceline_core::zone;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A list of contacts.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ContactList {
    /// Its id.
    #[schema(example = 7)]
    id: i64,
    /// What it is called.
    #[schema(example = "customers up for renewal")]
    name: String,
    /// When it was created.
    created_at: Utc,
}

/// A list of contacts, and how many there are.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ContactListDetail {
    #[serde(flatten)]
    list: ContactList,
    /// Contacts in it.
    #[schema(example = 1000)]
    contacts: u64,
}

/// Somebody to call.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Contact {
    /// Its id.
    #[schema(example = 1234)]
    id: i64,
    /// The list that it is in.
    #[schema(example = 7)]
    contact_list_id: i64,
    /// In E.164; all but the last two digits masked, unless the key may see numbers.
    #[schema(example = "+*********23")]
    number: String,
    /// What the contact is called.
    #[schema(example = "A. Example")]
    name: Option<String>,
    /// IANA time zone that the contact's calling hours are in; the campaign's where null.
    #[schema(example = "America/New_York")]
    time_zone: Option<String>,
    /// Anything else that is known.
    #[schema(example = json!({"plan": "gold"}))]
    attributes: BTreeMap<String, String>,
    /// Their other numbers, from an import's other telephone columns. They are kept and not dialed.
    further_numbers: Vec<FurtherNumber>,
}

/// Another number of a contact.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct FurtherNumber {
    /// In E.164; masked as the contact's number is.
    #[schema(example = "+*********24")]
    number: String,
    /// What it was called in the file that it is from.
    #[schema(example = "Home Phone")]
    label: String,
}

impl Contact {
    /// As this caller may see it.
    pub(super) fn new(row: ContactRow, caller: Caller) -> Self {
        Self {
            id: row.id.0,
            contact_list_id: row.list.0,
            number: caller.show(&row.number),
            name: row.name,
            time_zone: row.time_zone,
            attributes: row.attributes,
            further_numbers: (row.further_numbers.into_iter())
                .map(|further| FurtherNumber {
                    number: caller.show(&further.number),
                    label: further.label,
                })
                .collect(),
        }
    }
}

impl From<ContactListRow> for ContactList {
    fn from(row: ContactListRow) -> Self {
        Self {
            id: row.id.0,
            name: row.name,
            created_at: Utc(row.created_at),
        }
    }
}

/// A contact to be added.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ContactInput {
    /// As people write it; without a country code it is read in the configured default region.
    #[schema(example = "+1 202 555 0123")]
    number: String,
    /// What the contact is called.
    #[serde(default)]
    #[schema(example = "A. Example")]
    name: Option<String>,
    /// IANA time zone of the place where the contact is; the campaign's if left out.
    #[serde(default)]
    #[schema(example = "America/New_York")]
    time_zone: Option<String>,
    /// Anything else that is known: up to 64 texts of up to 2,000 characters, by name.
    #[serde(default)]
    #[schema(example = json!({"plan": "gold"}))]
    attributes: BTreeMap<String, String>,
}

/// A contact list to be created.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateContactList {
    /// What to call it. 1 to 200 characters.
    #[schema(example = "customers up for renewal")]
    name: String,
    /// Its first contacts, up to 10,000; more can be added.
    #[serde(default)]
    contacts: Vec<ContactInput>,
}

/// Contacts to be added to a list.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddContacts {
    /// 1 to 10,000 contacts. A number that the list has already, or that comes twice, is not added again.
    contacts: Vec<ContactInput>,
}

/// What became of contacts that were to be added.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct AddedContacts {
    /// Contacts that are new in the list.
    #[schema(example = 998)]
    added: u64,
    /// Contacts whose number was in the list already, or came twice.
    #[schema(example = 2)]
    duplicates: u64,
}

/// A contact list that was created.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct CreatedContactList {
    #[serde(flatten)]
    list: ContactList,
    #[serde(flatten)]
    contacts: AddedContacts,
}

/// List contact lists, the newest first.
#[utoipa::path(get, path = "/contact-lists", operation_id = "list_contact_lists", tag = "contacts", params(PageQuery),
    responses((status = 200, body = Page<ContactList>)))]
pub(super) async fn lists(
    State(state): State<ApiState>,
    Query(query): Query<PageQuery>,
) -> ApiResult<Body<Page<ContactList>>> {
    let window = Window::new("contact-lists", query.limit, query.cursor.as_deref())?;
    let rows = state
        .store
        .contact_lists(window.after.map(ContactListId), window.fetch())
        .await?;
    Ok(Body(window.page(rows, |row| row.id.0, ContactList::from)))
}

/// Create a contact list.
///
/// With its first contacts, or empty. Larger lists are imported from a file, with POST /api/v1/imports or `paceline import`.
#[utoipa::path(post, path = "/contact-lists", operation_id = "create_contact_list", tag = "contacts",
    request_body = CreateContactList, responses((status = 201, body = CreatedContactList)))]
pub(super) async fn create_list(
    State(state): State<ApiState>,
    Json(input): Json<CreateContactList>,
) -> ApiResult<(StatusCode, Body<CreatedContactList>)> {
    let mut faults = Faults::default();
    faults.name("/name", &input.name);
    let given = input.contacts.len();
    let contacts = check_contacts(&state, input.contacts, &mut faults).await?;
    faults.none()?;
    let (row, added) = state
        .store
        .create_contact_list(&input.name, &contacts, state.clock.now().wall)
        .await?;
    let created = CreatedContactList {
        list: row.into(),
        contacts: AddedContacts {
            added,
            duplicates: (given as u64).saturating_sub(added),
        },
    };
    Ok((StatusCode::CREATED, Body(created)))
}

/// Get a contact list.
#[utoipa::path(get, path = "/contact-lists/{id}", operation_id = "get_contact_list", tag = "contacts",
    params(("id" = i64, Path, description = "The contact list")),
    responses((status = 200, body = ContactListDetail), (status = 404, description = "No such contact list")))]
pub(super) async fn get_list(
    State(state): State<ApiState>,
    Id(id): Id<i64>,
) -> ApiResult<Body<ContactListDetail>> {
    let row = find_list(&state, id).await?;
    let contacts = state.store.count_contacts(row.id).await?;
    Ok(Body(ContactListDetail {
        list: row.into(),
        contacts,
    }))
}

/// List the contacts of a list.
#[utoipa::path(get, path = "/contact-lists/{id}/contacts", operation_id = "list_contacts", tag = "contacts",
    params(("id" = i64, Path, description = "The contact list"), PageQuery),
    responses((status = 200, body = Page<Contact>), (status = 404, description = "No such contact list")))]
pub(super) async fn in_list(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id<i64>,
    Query(query): Query<PageQuery>,
) -> ApiResult<Body<Page<Contact>>> {
    let window = Window::new("contacts", query.limit, query.cursor.as_deref())?;
    let list = find_list(&state, id).await?.id;
    let rows = state
        .store
        .contacts(list, window.after.map(ContactId), window.fetch())
        .await?;
    Ok(Body(window.page(
        rows,
        |row| row.id.0,
        |row| Contact::new(row, caller),
    )))
}

/// Add contacts to a list.
///
/// If one cannot be used, every such contact is named in `errors` by its place, and none is added. Tasks that were
/// created from the list before do not get the new ones. `duplicates` tells any key that may write whether a number was
/// in the list.
#[utoipa::path(post, path = "/contact-lists/{id}/contacts", operation_id = "add_contacts", tag = "contacts",
    request_body = AddContacts, params(("id" = i64, Path, description = "The contact list")),
    responses((status = 200, body = AddedContacts), (status = 404, description = "No such contact list")))]
pub(super) async fn add(
    State(state): State<ApiState>,
    Id(id): Id<i64>,
    Json(input): Json<AddContacts>,
) -> ApiResult<Body<AddedContacts>> {
    let mut faults = Faults::default();
    let given = input.contacts.len();
    if given == 0 {
        faults.add("/contacts", "there is nobody in it");
    }
    let contacts = check_contacts(&state, input.contacts, &mut faults).await?;
    faults.none()?;
    let list = find_list(&state, id).await?.id;
    let added = state.store.add_contacts(list, &contacts).await?;
    Ok(Body(AddedContacts {
        added,
        duplicates: (given as u64).saturating_sub(added),
    }))
}

/// Get a contact.
#[utoipa::path(get, path = "/contacts/{id}", operation_id = "get_contact", tag = "contacts",
    params(("id" = i64, Path, description = "The contact")),
    responses((status = 200, body = Contact), (status = 404, description = "No such contact")))]
pub(super) async fn get(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id<i64>,
) -> ApiResult<Body<Contact>> {
    Ok(Body(Contact::new(find(&state, id).await?, caller)))
}

async fn find(state: &ApiState, id: i64) -> ApiResult<ContactRow> {
    state
        .store
        .contact(ContactId(id))
        .await?
        .ok_or_else(|| Problem::no("contact", id))
}

async fn find_list(state: &ApiState, id: i64) -> ApiResult<ContactListRow> {
    state
        .store
        .contact_list(ContactListId(id))
        .await?
        .ok_or_else(|| Problem::no("contact list", id))
}

/// The contacts to store, each number once.
async fn check_contacts(
    state: &ApiState,
    mut inputs: Vec<ContactInput>,
    faults: &mut Faults,
) -> ApiResult<Vec<NewContact>> {
    if inputs.len() > NUMBERS_MAX {
        faults.add(
            "/contacts",
            format!("more than {NUMBERS_MAX} contacts in one request: send several, or import a file"),
        );
        return Ok(Vec::new());
    }
    let texts = inputs
        .iter_mut()
        .map(|input| std::mem::take(&mut input.number))
        .collect();
    let numbers = check::numbers(state, texts).await?;
    let (mut contacts, mut seen) = (Vec::with_capacity(inputs.len()), BTreeSet::new());
    for (n, (input, number)) in inputs.into_iter().zip(numbers).enumerate() {
        check_contact(n, &input, faults);
        let number = faults.take(format!("/contacts/{n}/number"), number);
        if let Some(number) = number.filter(|number| seen.insert(number.clone())) {
            contacts.push(NewContact {
                number,
                name: input.name,
                time_zone: input.time_zone,
                attributes: input.attributes,
            });
        }
    }
    Ok(contacts)
}

fn check_contact(n: usize, input: &ContactInput, faults: &mut Faults) {
    let at = |field: &str| format!("/contacts/{n}/{field}");
    if let Some(name) = &input.name {
        faults.name(at("name"), name);
    }
    let zone = input.time_zone.as_deref();
    if let Some(Err(error)) = zone.map(zone::of_place) {
        faults.add(at("time_zone"), error.to_string());
    }
    let fits =
        |(key, value): (&String, &String)| (1..=100).contains(&key.len()) && value.chars().count() <= 2000;
    if input.attributes.len() > 64 || !input.attributes.iter().all(fits) {
        faults.add(
            at("attributes"),
            "up to 64 attributes, names of 1 to 100 bytes, texts of up to 2,000 characters",
        );
    }
}
