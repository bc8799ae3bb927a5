//! The ledger's rows. What must be proved later is recorded in the transaction that stores it ([`record`]), as one row that
//! has no place in the log yet, so that transactions do not wait for each other. A job gives the entries their places
//! ([`Store::number_ledger`]) and publishes checkpoints (`publish`). The form of entries, tree and checkpoints is that of
//! `paceline-ledger`; a body is opaque here.
//!
//! **Invariant:** an entry is deleted from the pending rows in the transaction that gives it its place.

mod erase;
mod publish;
mod read;

pub use publish::{CheckpointFile, LedgerError, Published};
pub use read::{CheckpointRow, LedgerBundle, NumberedEntry, PlacedEntry};

use super::Store;
use super::db::{Dialect, Row, Tx, args};
use super::error::{DbError, DbErrorKind, StoreError};
use super::lease::{Decided, Over};
use paceline_core::gate::GateVerdict;
use paceline_core::ids::CampaignId;
use paceline_core::number::E164;
use paceline_core::time::Wall;
use paceline_ledger::{
    Bundle, Edge, Entry, Hash, Kind, NumberKey, NumberMac, Subject, Tile, TileError, Tiles, pack,
};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The one node. Several nodes on one store would have a log each.
pub(super) const NODE: i64 = 0;
/// Transactions whose entries get their places at once.
const PENDING_AT_ONCE: i64 = 256;
/// A bundle is not continued after it has this many entries.
const BUNDLE_ENTRIES: usize = 256;
/// After this many runs that found nothing, the job does not write to the database until something is recorded. A transaction that has
/// recorded something commits long before.
const IDLE_MAX: u32 = 30;
/// If this many transactions wait for their places, contacts are no longer leased: half an hour of 50 calls per second.
const PENDING_MAX: i64 = 100_000;

/// The state that this process needs to keep the ledger. All stores of the process share it.
#[derive(Debug, Default)]
pub(crate) struct Keeping {
    /// The key that hides numbers. Without it nothing is recorded. Commands that decide nothing have no key.
    numbers: OnceLock<NumberKey>,
    /// Too many entries wait for their places.
    full: AtomicBool,
    /// Runs of the job in a row that found nothing, since this process last recorded something.
    idle: AtomicU32,
}

impl Keeping {
    /// Fails if the ledger cannot take more entries.
    pub(crate) fn check_room(&self) -> Result<(), DbError> {
        let full = || {
            DbError::new(
                DbErrorKind::Passing,
                "too many ledger entries wait for the job `ledger`, so nothing is dialed; its last error is in the log",
            )
        };
        if self.full.load(Ordering::Relaxed) {
            Err(full())
        } else {
            Ok(())
        }
    }
}

/// The counts of ledger entries with and without a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerState {
    /// Entries that got their places in this run.
    pub numbered: u64,
    /// Entries with a place.
    pub size: u64,
    /// Transactions whose entries have no place yet.
    pub pending: u64,
    /// Time at which the oldest of them was stored. `None`: none is pending.
    pub oldest_pending_at: Option<Wall>,
}

/// A fact about no contact, such as changed rules or an opt-out.
#[derive(Clone, Debug)]
pub struct NewFact<'a> {
    /// The kind.
    pub kind: Kind,
    /// Time of the fact.
    pub at: Wall,
    /// The number that it is about.
    pub number: Option<&'a E164>,
    /// The campaign that it is about.
    pub campaign: Option<CampaignId>,
    /// The fact as JSON. It must contain no personal data and no free text of a person.
    pub body: String,
}

/// Records facts in the transaction that stores what they describe.
pub(crate) async fn record(tx: &mut Tx, facts: &[NewFact<'_>]) -> Result<(), DbError> {
    let Some(numbers) = tx.ledger().numbers.get() else {
        return Ok(());
    };
    let mut bundle = Vec::with_capacity(facts.len() * 128);
    for fact in facts {
        let subject = Subject {
            number: fact.number.map(|number| numbers.mac(number.expose())),
            campaign: fact.campaign.and_then(|id| id.0.try_into().ok()),
            ..Subject::default()
        };
        add(&mut bundle, fact.kind, fact.at, subject, &fact.body);
    }
    let at = facts.first().map_or(Wall(0), |fact| fact.at);
    store_pending(tx, at, &bundle).await
}

/// Records decisions of the gate, each with the rules that it names.
pub(super) async fn record_decisions(tx: &mut Tx, decided: &[Decided]) -> Result<(), DbError> {
    let Some(numbers) = tx.ledger().numbers.get() else {
        return Ok(());
    };
    let mut bundle = Vec::with_capacity(decided.len() * 176);
    for d in decided {
        let (contact, bucket) = match d.over {
            Over::Contact(contact) => (contact.0.try_into().ok(), None),
            Over::Bucket(bucket) => (None, bucket.try_into().ok()),
        };
        let subject = Subject {
            number: d.number.as_ref().map(|number| numbers.mac(number.expose())),
            campaign: d.campaign.0.try_into().ok(),
            task: d.task.0.try_into().ok(),
            contact,
            bucket,
            attempt: d.attempt.map(|(attempt, _)| *attempt.0.as_bytes()),
            leg: d.attempt.map(|(_, leg)| *leg.0.as_bytes()),
        };
        let until = match d.decision.verdict {
            GateVerdict::Defer { until_ms } => format!("\"until_ms\":{},", until_ms.0),
            GateVerdict::Allow | GateVerdict::Deny => String::new(),
        };
        // Names of profiles and rules are plain words.
        let body = format!(
            "{{\"stage\":\"{}\",\"verdict\":\"{}\",{until}\"reasons\":{}}}",
            d.stage.as_str(),
            d.decision.verdict.as_str(),
            d.decision.rules,
        );
        add(&mut bundle, Kind::Decision, d.at, subject, &body);
    }
    let at = decided.first().map_or(Wall(0), |d| d.at);
    store_pending(tx, at, &bundle).await
}

fn add(bundle: &mut Vec<u8>, kind: Kind, at: Wall, subject: Subject, body: &str) {
    let entry = Entry {
        kind,
        at_ms: at.0,
        subject,
        body: body.as_bytes(),
    };
    pack(bundle, Some(&entry.encode()));
}

async fn store_pending(tx: &mut Tx, at: Wall, bundle: &[u8]) -> Result<(), DbError> {
    if !bundle.is_empty() {
        tx.ledger().idle.store(0, Ordering::Relaxed);
        let insert = "INSERT INTO ledger_pending (at_ms, entries) VALUES ($1, $2)";
        tx.run(insert, args![at.0, bundle]).await?;
    }
    Ok(())
}

impl Store {
    /// Records decisions and facts from now on, with numbers hidden by this key. Only the first key counts.
    pub fn keep_ledger(&self, numbers: NumberKey) {
        self.pools.ledger().numbers.set(numbers).ok();
    }

    /// The keyed hash of a number in the ledger; `None` if this process does not keep it.
    pub fn number_in_ledger(&self, number: &E164) -> Option<NumberMac> {
        let numbers = self.pools.ledger().numbers.get();
        numbers.map(|numbers| numbers.mac(number.expose()))
    }

    /// Records a fact about no contact.
    pub async fn record_fact(&self, fact: &NewFact<'_>) -> Result<(), StoreError> {
        let facts = std::slice::from_ref(fact);
        self.write("record a fact in the ledger", async |tx| {
            Ok(record(tx, facts).await?)
        })
        .await
    }

    /// Records the rules in force (JSON) if they are others than those recorded last. Returns true if they are.
    pub async fn record_rules(&self, rules: &str, now: Wall) -> Result<bool, StoreError> {
        let lock = match self.pools.dialect() {
            Dialect::Sqlite => "SELECT rules FROM ledger_logs WHERE node = $1",
            Dialect::Postgres => "SELECT rules FROM ledger_logs WHERE node = $1 FOR UPDATE",
        };
        let update = "UPDATE ledger_logs SET rules = $2 WHERE node = $1";
        self.write("record the rules in force", async |tx| {
            let before = tx.one(lock, args![NODE]).await?.get::<Option<String>>(0)?;
            if before.as_deref() == Some(rules) || tx.ledger().numbers.get().is_none() {
                return Ok(false);
            }
            let fact = NewFact {
                kind: Kind::Overlay,
                at: now,
                number: None,
                campaign: None,
                body: rules.to_owned(),
            };
            record(tx, &[fact]).await?;
            tx.run(update, args![NODE, rules]).await?;
            Ok(true)
        })
        .await
    }

    /// Gives places to a slice of the pending entries, in the order of their commits. On PostgreSQL the order of ids is not
    /// that of commits; an entry that is not visible yet comes later. Call it until nothing is pending.
    pub async fn number_ledger(&self) -> Result<LedgerState, StoreError> {
        const DOING: &str = "give ledger entries their places";
        let keeping = self.pools.ledger();
        if keeping.idle.load(Ordering::Relaxed) >= IDLE_MAX {
            let size = self.ledger_size().await?;
            return Ok(LedgerState {
                size,
                ..LedgerState::default()
            });
        }
        // Before the work, so that what is recorded meanwhile makes the job look again.
        keeping.idle.fetch_add(1, Ordering::Relaxed);
        let state = self.write(DOING, async |tx| Ok(number(tx).await?)).await?;
        if state.numbered > 0 {
            keeping.idle.store(0, Ordering::Relaxed);
        }
        let is_full = state.pending > PENDING_MAX.unsigned_abs();
        keeping.full.store(is_full, Ordering::Relaxed);
        Ok(state)
    }
}

/// The size of the log. Its row stays locked until the transaction ends.
async fn locked_size(tx: &mut Tx) -> Result<u64, DbError> {
    let sql = match tx.dialect() {
        Dialect::Sqlite => "SELECT size FROM ledger_logs WHERE node = $1",
        Dialect::Postgres => "SELECT size FROM ledger_logs WHERE node = $1 FOR UPDATE",
    };
    tx.one(sql, args![NODE]).await?.size(0)
}

async fn number(tx: &mut Tx) -> Result<LedgerState, DbError> {
    let size = locked_size(tx).await?;
    let taken = "DELETE FROM ledger_pending WHERE id IN (SELECT id FROM ledger_pending ORDER BY id LIMIT $1) \
        RETURNING id, entries";
    let mut rows = Vec::new();
    for row in tx.rows(taken, args![PENDING_AT_ONCE]).await? {
        rows.push((row.get::<i64>(0)?, row.get::<Vec<u8>>(1)?));
    }
    rows.sort_unstable_by_key(|(id, _)| *id);
    let mut edge = edge(tx, size).await?;
    let mut bundle = NewBundle::at(size);
    for (_, entries) in &rows {
        for entry in Bundle::new(entries) {
            let entry = entry
                .ok()
                .flatten()
                .ok_or_else(|| DbError::decode("ledger entry"))?;
            edge.push(Hash::of_leaf(entry));
            bundle.add(entry)?;
        }
        if bundle.size >= BUNDLE_ENTRIES {
            bundle.store(tx).await?;
            bundle = NewBundle::at(edge.size());
        }
    }
    bundle.store(tx).await?;
    let numbered = edge.size().saturating_sub(size);
    if numbered > 0 {
        store_edge(tx, &edge).await?;
    }
    let pending = "SELECT count(*), min(at_ms) FROM ledger_pending";
    let left = tx.one(pending, &[]).await?;
    Ok(LedgerState {
        numbered,
        size: edge.size(),
        pending: left.size(0)?,
        oldest_pending_at: left.get::<Option<i64>>(1)?.map(Wall),
    })
}

/// Entries that become one row.
struct NewBundle {
    first: u64,
    size: usize,
    from_ms: i64,
    to_ms: i64,
    bytes: Vec<u8>,
}

impl NewBundle {
    fn at(first: u64) -> Self {
        Self {
            first,
            size: 0,
            from_ms: i64::MAX,
            to_ms: i64::MIN,
            bytes: Vec::new(),
        }
    }

    fn add(&mut self, entry: &[u8]) -> Result<(), DbError> {
        let at_ms = Entry::decode(entry)
            .map_err(|_| DbError::decode("ledger entry"))?
            .at_ms;
        self.size += 1;
        self.from_ms = self.from_ms.min(at_ms);
        self.to_ms = self.to_ms.max(at_ms);
        pack(&mut self.bytes, Some(entry));
        Ok(())
    }

    async fn store(&self, tx: &mut Tx) -> Result<(), DbError> {
        if self.size > 0 {
            let insert = "INSERT INTO ledger_bundles (node, first, size, from_ms, to_ms, entries) \
                VALUES ($1, $2, $3, $4, $5, $6)";
            let (first, size) = (whole(self.first)?, whole(self.size as u64)?);
            let args = args![NODE, first, size, self.from_ms, self.to_ms, self.bytes.as_slice()];
            tx.run(insert, args).await?;
        }
        Ok(())
    }
}

async fn edge(tx: &mut Tx, size: u64) -> Result<Edge, DbError> {
    let mut tiles = Tiles::default();
    for tile in Edge::tiles(size) {
        let row = tx.rows(TILE, &tile_args(tile)?).await?.pop();
        if let Some(row) = row {
            tiles.add(tile, &row.get::<Vec<u8>>(0)?);
        }
    }
    Edge::new(size, &tiles).map_err(damaged)
}

async fn store_edge(tx: &mut Tx, edge: &Edge) -> Result<(), DbError> {
    let upsert = "INSERT INTO ledger_tiles (node, level, number, hashes) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (node, level, number) DO UPDATE SET hashes = excluded.hashes";
    for (tile, hashes) in edge.changed() {
        let number = whole(tile.number)?;
        let args = args![NODE, i64::from(tile.level), number, hashes.as_slice()];
        tx.run(upsert, args).await?;
    }
    let grow = "UPDATE ledger_logs SET size = $2 WHERE node = $1";
    tx.run(grow, args![NODE, whole(edge.size())?]).await?;
    Ok(())
}

const TILE: &str = "SELECT hashes FROM ledger_tiles WHERE node = $1 AND level = $2 AND number = $3";

fn tile_args(tile: Tile) -> Result<[super::db::Arg<'static>; 3], DbError> {
    Ok([
        NODE.into(),
        i64::from(tile.level).into(),
        whole(tile.number)?.into(),
    ])
}

fn whole(value: u64) -> Result<i64, DbError> {
    i64::try_from(value).map_err(|_| DbError::new(DbErrorKind::Value, "the ledger is too large"))
}

fn damaged(error: TileError) -> DbError {
    DbError::new(DbErrorKind::Decode, error.to_string())
}

/// A place or a size.
fn place(row: &Row, column: usize) -> Result<u64, DbError> {
    row.size(column)
}
