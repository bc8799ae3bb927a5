//! The do-not-call list.

use super::bulk_statement::BulkStatement;
use super::campaigns::read_settings;
use super::db::{Row, Tx, args};
use super::error::{DbError, StoreError};
use super::ledger::{self, NewFact};
use super::select::Select;
use super::tasks::reopen::{TasksToDial, reopen_numbers};
use super::{Store, query};
use paceline_core::ids::{AgentId, AttemptId, CampaignId};
use paceline_core::number::E164;
use paceline_core::suppression::{DncScope, DncSource, Listed};
use paceline_core::time::Wall;
use paceline_ledger::Kind;
use std::collections::{BTreeMap, BTreeSet};

/// A do-not-call entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DncRow {
    /// The entry's id.
    pub id: i64,
    /// The number.
    pub number: E164,
    /// The campaigns for which it holds.
    pub scope: DncScope,
    /// The way by which the number came on the list.
    pub source: DncSource,
    /// The reason for the entry.
    pub reason: String,
    /// The time when it was added.
    pub added_at: Wall,
    /// The time from which it does not hold any more; `None` if it holds for good.
    pub expires_at: Option<Wall>,
    /// The key of the request, if it came by one.
    pub api_key: Option<i64>,
    /// The agent of the conversation, if it came by one.
    pub agent: Option<AgentId>,
    /// The attempt in which the callee asked for it.
    pub attempt: Option<AttemptId>,
}

/// The common properties of new entries.
#[derive(Clone, Debug)]
pub struct NewDnc<'a> {
    /// The campaigns for which they hold.
    pub scope: DncScope,
    /// The way by which the numbers came on the list.
    pub source: DncSource,
    /// The reason.
    pub reason: &'a str,
    /// The time of the request.
    pub added_at: Wall,
    /// The time from which they do not hold any more; `None` if they hold for good.
    pub expires_at: Option<Wall>,
    /// The key of the request, if it came by one.
    pub api_key: Option<i64>,
    /// The agent of the conversation, if it came by one.
    pub agent: Option<AgentId>,
    /// The attempt in which the callee asked for it.
    pub attempt: Option<AttemptId>,
}

impl<'a> NewDnc<'a> {
    /// Entries that hold for every campaign and for good.
    pub fn new(source: DncSource, reason: &'a str, added_at: Wall) -> Self {
        Self {
            scope: DncScope::All,
            source,
            reason,
            added_at,
            expires_at: None,
            api_key: None,
            agent: None,
            attempt: None,
        }
    }
}

/// An entry that holds longer replaces one that ends; otherwise the first one is kept.
static INSERT: BulkStatement = BulkStatement::new(
    9,
    "INSERT INTO dnc (number, scope, source, reason, added_at_ms, expires_at_ms, api_key_id, agent_id, attempt_id) VALUES {rows} \
     ON CONFLICT (number, scope) DO UPDATE SET source = excluded.source, reason = excluded.reason, added_at_ms = excluded.added_at_ms, \
       expires_at_ms = excluded.expires_at_ms, api_key_id = excluded.api_key_id, agent_id = excluded.agent_id, \
       attempt_id = excluded.attempt_id \
     WHERE dnc.expires_at_ms IS NOT NULL AND (excluded.expires_at_ms IS NULL OR excluded.expires_at_ms > dnc.expires_at_ms)",
);

/// The leased numbers are few: contacts in hoppers, and calls.
pub(super) const LEASED: &str = "SELECT t.campaign_id, n.number, d.scope, d.expires_at_ms FROM number_leases n JOIN tasks t ON t.id = n.task_id \
    LEFT JOIN dnc d ON d.number = n.number";
pub(super) const LEASING: &str = "SELECT c.id, c.settings FROM campaigns c WHERE c.id IN (SELECT t.campaign_id FROM number_leases n \
    JOIN tasks t ON t.id = n.task_id)";

const COLUMNS: &str = "SELECT id, number, scope, source, reason, added_at_ms, expires_at_ms, api_key_id, agent_id, attempt_id \
    FROM dnc WHERE 1 = 1";

impl Store {
    /// Adds numbers to the list, all or none. Returns the number of new entries and of those that now hold longer. When it
    /// returns, a power failure cannot undo it.
    pub async fn add_dnc(&self, numbers: &[E164], new: &NewDnc<'_>) -> Result<u64, StoreError> {
        const DOING: &str = "add to the do-not-call list";
        let added = self
            .write(DOING, async |tx| Ok(insert(tx, numbers, new).await?))
            .await?;
        self.pools.sync().await.map_err(query(DOING))?;
        Ok(added)
    }

    /// Removes the entry with this id. Returns the tasks that may call the number now; `None` if there is no such entry.
    pub async fn remove_dnc(&self, id: i64, now: Wall) -> Result<Option<TasksToDial>, StoreError> {
        let delete = "DELETE FROM dnc WHERE id = $1 RETURNING number";
        self.write("take off the do-not-call list", async |tx| {
            let Some(row) = tx.rows(delete, args![id]).await?.pop() else {
                return Ok(None);
            };
            let number = row.number(0)?;
            let lifted = NewFact {
                kind: Kind::OptOutLifted,
                at: now,
                number: Some(&number),
                campaign: None,
                body: "{}".to_owned(),
            };
            ledger::record(tx, &[lifted]).await?;
            let held = reopen_numbers(tx, std::iter::once(&number), "suppressed");
            Ok(Some(held.await?))
        })
        .await
    }

    /// The numbers that are leased, dialed or in a call although their campaign must not call them, by campaign.
    pub async fn suppressed_leases(&self, now: Wall) -> Result<BTreeMap<CampaignId, Vec<E164>>, StoreError> {
        const DOING: &str = "read which leased numbers must not be called";
        let lists = self.lists().map_err(query(DOING))?;
        let leased = |row: &Row| {
            let scope = row.get::<Option<String>>(2)?;
            let holds = row.get::<Option<i64>>(3)?.is_none_or(|until| until > now.0);
            let scope = scope.filter(|_| holds).map(|scope| scope.parse::<DncScope>());
            let scope = scope.transpose().map_err(|_| DbError::decode("scope"))?;
            Ok(((CampaignId(row.get(0)?), row.number(1)?), scope))
        };
        let mut listed: BTreeMap<(CampaignId, E164), Listed> = BTreeMap::new();
        for (key, scope) in self.read_all(DOING, LEASED, &[], leased).await? {
            let entry = listed.entry(key);
            let listed = entry.or_insert_with_key(|(_, number)| Listed {
                scopes: Vec::new(),
                lists: lists.holding(number),
            });
            listed.scopes.extend(scope);
        }
        // A campaign whose settings cannot be read launches nothing.
        let settings = |row: &Row| {
            let (settings, _) = read_settings(&row.get::<String>(1)?);
            Ok((CampaignId(row.get(0)?), settings.suppression))
        };
        let settings = self.read_all(DOING, LEASING, &[], settings).await?;
        let settings: BTreeMap<_, _> = settings.into_iter().collect();
        let mut leases: BTreeMap<_, Vec<E164>> = BTreeMap::new();
        for ((campaign, number), listed) in listed {
            let settings = settings.get(&campaign);
            if settings.is_some_and(|settings| settings.refuses(&listed).is_some()) {
                leases.entry(campaign).or_default().push(number);
            }
        }
        Ok(leases)
    }

    /// The entries and lists that hold the number at present.
    pub async fn listed(&self, number: &E164, now: Wall) -> Result<Listed, StoreError> {
        let entries = self.dnc_entries_of(number).await?;
        let holds = |entry: &DncRow| entry.expires_at.is_none_or(|until| until > now);
        Ok(Listed {
            scopes: entries
                .into_iter()
                .filter(holds)
                .map(|entry| entry.scope)
                .collect(),
            lists: self.lists_holding(number)?,
        })
    }

    /// Entries, the newest first.
    pub async fn dnc_entries(&self, after: Option<i64>, limit: i64) -> Result<Vec<DncRow>, StoreError> {
        let (sql, args) = Select::new(COLUMNS).and("id <", after).order("id DESC", limit);
        self.read_all("list the do-not-call list", sql, &args, dnc).await
    }

    /// The entries of a number, also those that have ended.
    pub async fn dnc_entries_of(&self, number: &E164) -> Result<Vec<DncRow>, StoreError> {
        const ENTRIES_MAX: i64 = 1_000;
        let (sql, args) = Select::new(COLUMNS)
            .and("number =", Some(number.expose()))
            .order("scope", ENTRIES_MAX);
        self.read_all("read the do-not-call list", sql, &args, dnc).await
    }
}

/// Adds numbers to the list. Returns the number of new entries and of those that now hold longer.
pub(super) async fn insert(tx: &mut Tx, numbers: &[E164], new: &NewDnc<'_>) -> Result<u64, DbError> {
    // PostgreSQL cannot update a row twice in one statement.
    let numbers: BTreeSet<&E164> = numbers.iter().collect();
    let mut rows = Vec::with_capacity(numbers.len() * 9);
    for number in &numbers {
        rows.extend_from_slice(args![
            number.expose(),
            new.scope.as_str(),
            new.source.as_str(),
            new.reason,
            new.added_at.0,
            new.expires_at.map(|at| at.0),
            new.api_key,
            new.agent.map(|agent| agent.0),
            new.attempt.map(|attempt| attempt.0),
        ]);
    }
    let added = INSERT.run(tx, &rows).await?;
    let facts: Vec<_> = numbers.iter().map(|number| opt_out(number, new)).collect();
    ledger::record(tx, &facts).await?;
    Ok(added)
}

/// An opt-out counts whether or not the number was on the list. The reason may be a person's own text, so it is not recorded.
fn opt_out<'a>(number: &'a E164, new: &NewDnc<'_>) -> NewFact<'a> {
    NewFact {
        kind: Kind::OptOut,
        at: new.added_at,
        number: Some(number),
        campaign: None,
        body: format!("{{\"source\":\"{}\"}}", new.source.as_str()),
    }
}

fn dnc(row: &Row) -> Result<DncRow, DbError> {
    let scope = row.get::<String>(2)?;
    Ok(DncRow {
        id: row.get(0)?,
        number: row.number(1)?,
        scope: scope.parse().map_err(|_| DbError::decode("scope"))?,
        source: row.word(3)?,
        reason: row.get(4)?,
        added_at: Wall(row.get(5)?),
        expires_at: row.get::<Option<i64>>(6)?.map(Wall),
        api_key: row.get(7)?,
        agent: row.get::<Option<i64>>(8)?.map(AgentId),
        attempt: row.get::<Option<uuid::Uuid>>(9)?.map(AttemptId),
    })
}
