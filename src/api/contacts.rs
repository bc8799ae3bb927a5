//! Contact lists and contacts. [`why`] explains why a contact was or was not dialed.

mod model;
pub(super) mod why;

pub(super) use model::Contact;

use super::check::{self, Faults};
use super::extract::{Id, Json, Query};
use super::page::{Page, PageQuery, Window};
use super::problem::{ApiResult, Fault, Kind, Problem};
use super::words::Utc;
use super::{ApiState, Caller};
use crate::store::{Added, ContactFilter, ContactListRow, ContactRow};
use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;
use model::{ContactInput, check_contacts};
use paceline_core::contact::{ExternalId, Tag, ValueError};
use paceline_core::ids::{ContactId, ContactListId};
use paceline_core::mask::mask_numbers;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A list of contacts.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ContactList {
    /// The list's id.
    #[schema(example = 7)]
    id: i64,
    /// The list's name.
    #[schema(example = "customers up for renewal")]
    name: String,
    /// The time of creation.
    created_at: Utc,
}

/// A contact list with the number of its contacts.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ContactListDetail {
    #[serde(flatten)]
    list: ContactList,
    /// Number of contacts in the list.
    #[schema(example = 1000)]
    contacts: u64,
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

/// A new contact list.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateContactList {
    /// The list's name, 1 to 200 characters.
    #[schema(example = "customers up for renewal")]
    name: String,
    /// The first contacts, up to 10,000. More can be added later.
    #[serde(default)]
    contacts: Vec<ContactInput>,
    /// Countries whose numbers are accepted (ISO 3166-1), or `any`. If left out: the configured default region and the
    /// contact's own country; without
    /// such a region, every country.
    #[serde(default)]
    #[schema(example = json!(["US", "CA"]))]
    countries: Option<Vec<String>>,
    /// `true`: premium-rate numbers are accepted too. Calls to them cost the caller extra.
    #[serde(default)]
    premium_rate: bool,
}

/// New contacts of a list.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddContacts {
    /// 1 to 10,000 contacts with up to 20,000 numbers. A contact is not added if its first number or its external id is
    /// in the list already or appears earlier in the request.
    contacts: Vec<ContactInput>,
    /// Countries whose numbers are accepted (ISO 3166-1), or `any`. If left out: the configured default region and the
    /// contact's own country; without
    /// such a region, every country.
    #[serde(default)]
    #[schema(example = json!(["US", "CA"]))]
    countries: Option<Vec<String>>,
    /// `true`: premium-rate numbers are accepted too. Calls to them cost the caller extra.
    #[serde(default)]
    premium_rate: bool,
}

/// The result of adding contacts.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct AddedContacts {
    /// Contacts that are new in the list.
    #[schema(example = 998)]
    added: u64,
    /// Contacts that were not added, because their first number or external id was in the list already or appeared
    /// twice.
    #[schema(example = 2)]
    duplicates: u64,
    /// Further numbers of new contacts that were left out because another contact of the list has them.
    #[schema(example = 0)]
    numbers_left_out: u64,
}

impl AddedContacts {
    fn new(added: Added, given: usize) -> Self {
        Self {
            added: added.contacts,
            duplicates: (given as u64).saturating_sub(added.contacts),
            numbers_left_out: added.numbers_left,
        }
    }
}

/// Filters of a list's contacts.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListContacts {
    /// Only the contact with this external id.
    external_id: Option<String>,
    /// Only contacts with this tag.
    tag: Option<String>,
    /// Items on a page, 1 to 200. Default 50.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before. The first page if left out.
    cursor: Option<String>,
}

impl ListContacts {
    fn filter(&self, caller: Caller) -> ApiResult<ContactFilter> {
        // A caller that searches for a number and finds a contact knows whose number it is.
        let is_number = |text: &&String| matches!(mask_numbers(text), Cow::Owned(_));
        if [&self.external_id, &self.tag]
            .into_iter()
            .flatten()
            .any(|text| is_number(&text))
        {
            caller.must_see_numbers()?;
        }
        let fault = |name: &str, error: ValueError| {
            Problem::new(
                Kind::BadParameter,
                "Correct the parameter that `errors` names, or leave it out.",
            )
            .with_errors(vec![Fault::parameter(name, error.to_string())])
        };
        let external_id = self.external_id.as_deref().map(ExternalId::new).transpose();
        let tag = self.tag.as_deref().map(Tag::new).transpose();
        Ok(ContactFilter {
            external_id: external_id.map_err(|error| fault("external_id", error))?,
            tag: tag.map_err(|error| fault("tag", error))?,
        })
    }
}

/// A created contact list.
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
/// The list is created with its first contacts or empty. Import larger lists from a file, with POST /api/v1/imports or
/// `paceline import`.
#[utoipa::path(post, path = "/contact-lists", operation_id = "create_contact_list", tag = "contacts",
    request_body = CreateContactList, responses((status = 201, body = CreatedContactList)))]
pub(super) async fn create_list(
    State(state): State<ApiState>,
    Json(input): Json<CreateContactList>,
) -> ApiResult<(StatusCode, Body<CreatedContactList>)> {
    let mut faults = Faults::default();
    faults.name("/name", &input.name);
    let given = input.contacts.len();
    let countries = input.countries.as_deref();
    let allowed = check::allowed(&state, countries, input.premium_rate, "", &mut faults);
    let contacts = check_contacts(&state, input.contacts, &allowed, &mut faults).await?;
    faults.none()?;
    let (row, added) = state
        .store
        .create_contact_list(&input.name, &contacts, state.clock.now().wall)
        .await?;
    let created = CreatedContactList {
        list: row.into(),
        contacts: AddedContacts::new(added, given),
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
    params(("id" = i64, Path, description = "The contact list"), ListContacts),
    responses((status = 200, body = Page<Contact>), (status = 404, description = "No such contact list")))]
pub(super) async fn in_list(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id<i64>,
    Query(query): Query<ListContacts>,
) -> ApiResult<Body<Page<Contact>>> {
    let filter = query.filter(caller)?;
    let window = Window::new("contacts", query.limit, query.cursor.as_deref())?;
    let list = find_list(&state, id).await?.id;
    let rows = state
        .store
        .contacts(list, &filter, window.after.map(ContactId), window.fetch())
        .await?;
    Ok(Body(window.page_of(
        rows,
        |row| row.id.0,
        |row| Contact::new(row, caller),
    )))
}

/// Add contacts to a list.
///
/// If a contact cannot be used, `errors` names every such contact by its place, and none is added. Tasks that were
/// created from the list earlier do not get the new contacts. It needs a key that may see numbers, because `duplicates`
/// tells whether a number was in the list. Any other key can create a list with its contacts.
#[utoipa::path(post, path = "/contact-lists/{id}/contacts", operation_id = "add_contacts", tag = "contacts",
    request_body = AddContacts, params(("id" = i64, Path, description = "The contact list")),
    responses((status = 200, body = AddedContacts), (status = 404, description = "No such contact list")))]
pub(super) async fn add(
    State(state): State<ApiState>,
    caller: Caller,
    Id(id): Id<i64>,
    Json(input): Json<AddContacts>,
) -> ApiResult<Body<AddedContacts>> {
    caller.must_see_numbers()?;
    let mut faults = Faults::default();
    let given = input.contacts.len();
    if given == 0 {
        faults.add("/contacts", "there is nobody in it");
    }
    let countries = input.countries.as_deref();
    let allowed = check::allowed(&state, countries, input.premium_rate, "", &mut faults);
    let contacts = check_contacts(&state, input.contacts, &allowed, &mut faults).await?;
    faults.none()?;
    let list = find_list(&state, id).await?.id;
    let added = state.store.add_contacts(list, &contacts).await?;
    Ok(Body(AddedContacts::new(added, given)))
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
