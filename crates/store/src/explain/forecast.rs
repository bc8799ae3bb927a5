//! The contacts of a list with all that the gate is told of them, page by page, so that a list of any length takes the same memory.

use crate::bulk_statement::BulkStatement;
use crate::db::{Arg, Pools, Row, Rows, args};
use crate::error::{DbError, StoreError};
use crate::facts::{Callee, Case, Histories, add_tags, callee_columns, histories};
use crate::outside::{Checked, checked};
use crate::suppression::{Lists, numbers_of};
use crate::{Store, query};
use paceline_core::gate::{CampaignPolicy, Forecast};
use paceline_core::ids::{ContactId, ContactListId};
use paceline_core::number::E164;
use paceline_core::suppression::{ListRefusal, Listed};
use paceline_core::time::Wall;
use std::time::Duration;

/// Contacts on a page.
const PAGE: i64 = 2_000;

const DOING: &str = "read contacts for a forecast";

/// Contacts with their numbers, and whether there is more to read about each number.
macro_rules! numbered_contacts {
    ($contacts:literal) => {
        concat!(
            "SELECT c.id, n.number, EXISTS (SELECT 1 FROM dnc d WHERE d.number = n.number), \
               EXISTS (SELECT 1 FROM attempts a WHERE a.number = n.number), \
               EXISTS (SELECT 1 FROM attempts a WHERE a.contact_id = c.id), ",
            callee_columns!(),
            " FROM (",
            $contacts,
            ") c JOIN seen_numbers n ON n.contact_id = c.id ORDER BY c.id, n.position"
        )
    };
}

const OF_LIST: &str = numbered_contacts!(
    "SELECT id, time_zone, country, state, consents, attributes FROM seen_contacts \
       WHERE list_id = $1 AND id > $2 ORDER BY id LIMIT $3"
);

const DUE: &str = numbered_contacts!(
    "SELECT s.id, s.time_zone, s.country, s.state, s.consents, s.attributes FROM task_contacts t \
       JOIN seen_contacts s ON s.id = t.contact_id \
     WHERE t.bucket_id = $1 AND t.state = 'ready' AND t.due_at_ms <= $2 ORDER BY t.due_at_ms, t.contact_id LIMIT $3"
);

/// The column at which the callee's begin.
const CALLEE: usize = 5;

static LISTED: BulkStatement = BulkStatement::new(
    2,
    "WITH v(id, number) AS (VALUES {rows}) SELECT v.id, d.scope, d.expires_at_ms FROM v JOIN dnc d ON d.number = v.number",
);

/// Some contacts with all that the gate is told of them.
pub struct ForecastPage {
    candidates: Vec<Candidate>,
    histories: Histories,
    checked: Option<Checked>,
    /// The last contact of the page. `None`: the list has no more.
    pub next: Option<ContactId>,
}

/// A contact with the number that the lease would choose.
struct Candidate {
    contact: ContactId,
    number: E164,
    callee: Callee,
    refused_by: Option<ListRefusal>,
    /// There are attempts to the contact or to the number.
    called: bool,
}

/// A contact before its number is chosen.
struct Numbered {
    contact: ContactId,
    callee: Callee,
    /// Each with whether it was called.
    numbers: Vec<(E164, bool)>,
    contact_called: bool,
    /// One of the numbers has a do-not-call entry, which may be for another campaign.
    doubtful: bool,
}

impl Store {
    /// The contacts of a list after this one, in the order of their ids, a page of them.
    pub async fn forecast_page(
        &self,
        policy: &CampaignPolicy,
        list: ContactListId,
        after: ContactId,
        now: Wall,
    ) -> Result<ForecastPage, StoreError> {
        self.forecast_of(policy, OF_LIST, args![list.0, after.0, PAGE], now)
            .await
    }

    /// The next due contacts of a bucket, at most `limit`.
    pub(super) async fn forecast_due(
        &self,
        policy: &CampaignPolicy,
        bucket: i64,
        limit: i64,
        now: Wall,
    ) -> Result<ForecastPage, StoreError> {
        self.forecast_of(policy, DUE, args![bucket, now.0, limit], now)
            .await
    }

    async fn forecast_of(
        &self,
        policy: &CampaignPolicy,
        sql: &'static str,
        args: &[Arg<'_>],
        now: Wall,
    ) -> Result<ForecastPage, StoreError> {
        let rows = self.read(DOING, sql, args).await?;
        let read = async {
            let contacts = rows.chunk_by(|a, b| a.get::<i64>(0).ok() == b.get::<i64>(0).ok());
            let contacts = contacts.filter_map(|rows| numbered(rows, policy).transpose());
            let contacts = contacts.collect::<Result<Vec<_>, _>>()?;
            let next = contacts.last().map(|last| last.contact);
            let lists = self.lists()?;
            let candidates = choose(&self.pools, policy, &lists, contacts, now).await?;
            page(&self.pools, policy, candidates, next).await
        };
        read.await.map_err(query(DOING))
    }

    /// These numbers, as if each were a contact of which nothing else is known.
    pub async fn forecast_numbers(
        &self,
        policy: &CampaignPolicy,
        numbers: &[E164],
        now: Wall,
    ) -> Result<ForecastPage, StoreError> {
        let read = async {
            let lists = self.lists()?;
            let mut keys = Vec::with_capacity(numbers.len().saturating_mul(2));
            for (id, number) in (0_i64..).zip(numbers) {
                keys.extend_from_slice(args![id, number.expose()]);
            }
            let mut listed: Vec<Listed> = numbers
                .iter()
                .map(|number| Listed {
                    scopes: Vec::new(),
                    lists: lists.holding(number),
                })
                .collect();
            for row in LISTED.read(&self.pools, &keys).await? {
                let holds = row.get::<Option<i64>>(2)?.is_none_or(|until| until > now.0);
                let index = usize::try_from(row.get::<i64>(0)?).ok();
                if let Some(listed) = index.and_then(|index| listed.get_mut(index)).filter(|_| holds) {
                    let scope = row.get::<String>(1)?.parse();
                    listed.scopes.push(scope.map_err(|_| DbError::decode("scope"))?);
                }
            }
            let suppression = &policy.config().settings.suppression;
            let candidate = |(id, (number, listed)): (i64, (&E164, Listed))| Candidate {
                // No contact has this id.
                contact: ContactId(-1 - id),
                number: number.clone(),
                callee: Callee::default(),
                refused_by: suppression.refuses(&listed),
                called: true,
            };
            let candidates = (0_i64..).zip(numbers.iter().zip(listed)).map(candidate);
            page(&self.pools, policy, candidates.collect(), None).await
        };
        read.await.map_err(query(DOING))
    }
}

fn numbered(rows: &[Row], policy: &CampaignPolicy) -> Result<Option<Numbered>, DbError> {
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let mut contact = Numbered {
        contact: ContactId(first.get(0)?),
        callee: Callee::read(first, CALLEE, policy)?,
        numbers: Vec::with_capacity(rows.len()),
        contact_called: first.get(4)?,
        doubtful: false,
    };
    for row in rows {
        contact.doubtful |= row.get::<bool>(2)?;
        contact.numbers.push((row.number(1)?, row.get(3)?));
    }
    Ok(Some(contact))
}

/// Chooses the number of each contact as the lease does: the first that the campaign's lists allow, or else the first.
async fn choose(
    pools: &Pools,
    policy: &CampaignPolicy,
    lists: &Lists,
    contacts: Vec<Numbered>,
    now: Wall,
) -> Result<Vec<Candidate>, DbError> {
    let suppression = &policy.config().settings.suppression;
    let doubtful = contacts.iter().filter(|contact| contact.doubtful);
    let mut entries = numbers_of(Rows::Committed(pools), lists, doubtful.map(|c| c.contact), now).await?;
    let mut candidates = Vec::with_capacity(contacts.len());
    for contact in contacts {
        let entries = entries.remove(&contact.contact).unwrap_or_default();
        let refuses = |number: &E164| match entries.iter().find(|facts| facts.number == *number) {
            Some(facts) => suppression.refuses(&facts.listed),
            None => suppression.refuses(&Listed {
                scopes: Vec::new(),
                lists: lists.holding(number),
            }),
        };
        let allowed = contact
            .numbers
            .iter()
            .find(|(number, _)| refuses(number).is_none());
        let Some((number, number_called)) = allowed.or(contact.numbers.first()).cloned() else {
            continue;
        };
        candidates.push(Candidate {
            refused_by: refuses(&number),
            contact: contact.contact,
            number,
            callee: contact.callee,
            called: contact.contact_called || number_called,
        });
    }
    Ok(candidates)
}

/// Reads what else the gate is told.
async fn page(
    pools: &Pools,
    policy: &CampaignPolicy,
    mut candidates: Vec<Candidate>,
    next: Option<ContactId>,
) -> Result<ForecastPage, DbError> {
    if policy.rules().reads_tags() {
        let callees = candidates.iter_mut().map(|c| (c.contact, &mut c.callee));
        add_tags(Rows::Committed(pools), callees).await?;
    }
    let called = candidates.iter().filter(|candidate| candidate.called);
    let histories = histories(Rows::Committed(pools), called.map(|c| (c.contact, &c.number))).await?;
    let checked = if policy.config().settings.suppression.outside_check {
        let numbers: Vec<_> = candidates.iter().map(|candidate| &candidate.number).collect();
        Some(checked(Rows::Committed(pools), &numbers).await?)
    } else {
        None
    };
    Ok(ForecastPage {
        candidates,
        histories,
        checked,
        next,
    })
}

impl ForecastPage {
    /// Asks the gate about each contact. It computes for some milliseconds: call it on a thread that nothing waits for.
    pub fn judge(&self, policy: &CampaignPolicy, forecast: &mut Forecast) {
        for candidate in &self.candidates {
            let case = Case {
                policy,
                at: Wall::default(),
                ring_timeout: Duration::ZERO,
                number: &candidate.number,
                callee: &candidate.callee,
                history: self.histories.get(&candidate.contact).map_or(&[], Vec::as_slice),
                refused_by: candidate.refused_by,
                outside: self.checked.as_ref().map(|checked| checked.of(&candidate.number)),
            };
            // The forecast has its own times.
            case.lend(|call, facts| forecast.add(call.number, call.debt, facts));
        }
    }
}
