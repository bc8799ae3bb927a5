//! Erases bodies of entries: those that are older than their class is kept, and those about a number that must be
//! forgotten. The leaf hashes stay in the tiles, so every proof and checkpoint stays right.

use super::read::bundle;
use super::{LedgerBundle, NODE, NewFact, place, record, whole};
use crate::Store;
use crate::db::{Tx, args};
use crate::error::{DbError, StoreError};
use crate::retention::Expiring;
use paceline_core::number::E164;
use paceline_core::time::Wall;
use paceline_ledger::{Bundle, Entry, Kind, pack};

/// Rows that one transaction looks at.
const SLICE: i64 = 16;

impl Store {
    /// Erases bodies of one class from before a time, a slice at a time, the oldest first. Returns the number of entries that it
    /// has looked at; 0 if none is left.
    pub(crate) async fn erase_expired(
        &self,
        kind: Expiring,
        before: Wall,
        now: Wall,
    ) -> Result<u64, StoreError> {
        let (read, update, class) = match kind {
            Expiring::LedgerOptOuts => (
                "SELECT opt_outs_erased_to FROM ledger_logs WHERE node = $1",
                "UPDATE ledger_logs SET opt_outs_erased_to = $2 WHERE node = $1",
                [Kind::OptOut, Kind::OptOutLifted],
            ),
            Expiring::LedgerDecisions
            | Expiring::Decisions
            | Expiring::Audit
            | Expiring::ImportRejects
            | Expiring::OutsideAnswers => (
                "SELECT decisions_erased_to FROM ledger_logs WHERE node = $1",
                "UPDATE ledger_logs SET decisions_erased_to = $2 WHERE node = $1",
                [Kind::Decision, Kind::Decision],
            ),
        };
        self.write("erase old ledger entries", async |tx| {
            let from = place(&tx.one(read, args![NODE]).await?, 0)?;
            let (mut looked_at, mut erased, mut to) = (0, 0, from);
            for bundle in bundles(tx, from).await? {
                if bundle.until >= before {
                    break;
                }
                let is_old = |entry: &Entry<'_>| class.contains(&entry.kind);
                erased += erase(tx, &bundle, is_old).await?;
                looked_at += bundle.size;
                to = bundle.first + bundle.size;
            }
            if looked_at > 0 {
                tx.run(update, args![NODE, whole(to)?]).await?;
            }
            if erased > 0 {
                let class = class.first().map_or("", |kind| kind.as_str());
                let body = format!(
                    "{{\"class\":\"{class}\",\"before_ms\":{},\"erased\":{erased}}}",
                    before.0
                );
                record(tx, &[fact(Kind::Retention, now, body)]).await?;
            }
            Ok(looked_at)
        })
        .await
    }

    /// Erases the bodies of all entries about a number. Returns how many. It reads the whole ledger in slices; entries that have
    /// no place yet are not erased, so call it after [`Store::number_ledger`].
    pub async fn erase_number_from_ledger(&self, number: &E164, now: Wall) -> Result<u64, StoreError> {
        let Some(mac) = self.number_in_ledger(number) else {
            return Ok(0);
        };
        let (mut from, mut erased) = (0, 0);
        loop {
            let (looked_to, done) = self
                .write("erase a number from the ledger", async |tx| {
                    let (mut to, mut done) = (from, 0);
                    for bundle in bundles(tx, from).await? {
                        // The record of the erasure itself stays.
                        let is_of = |entry: &Entry<'_>| {
                            entry.subject.number == Some(mac) && entry.kind != Kind::Erasure
                        };
                        done += erase(tx, &bundle, is_of).await?;
                        to = bundle.first + bundle.size;
                    }
                    Ok((to, done))
                })
                .await?;
            erased += done;
            if looked_to == from {
                break;
            }
            from = looked_to;
        }
        let body = format!("{{\"erased\":{erased}}}");
        let fact = fact(Kind::Erasure, now, body);
        self.record_fact(&fact).await?;
        Ok(erased)
    }
}

fn fact(kind: Kind, at: Wall, body: String) -> NewFact<'static> {
    NewFact {
        kind,
        at,
        number: None,
        campaign: None,
        body,
    }
}

async fn bundles(tx: &mut Tx, from: u64) -> Result<Vec<LedgerBundle>, DbError> {
    let sql = "SELECT first, size, to_ms, entries FROM ledger_bundles WHERE node = $1 AND first >= $2 \
        ORDER BY first LIMIT $3";
    let rows = tx.rows(sql, args![NODE, whole(from)?, SLICE]).await?;
    rows.iter().map(bundle).collect()
}

/// Erases those entries of a row. Returns how many.
async fn erase(
    tx: &mut Tx,
    bundle: &LedgerBundle,
    which: impl Fn(&Entry<'_>) -> bool,
) -> Result<u64, DbError> {
    let (mut left, mut erased) = (Vec::new(), 0);
    for entry in Bundle::new(bundle.bytes()) {
        let entry = entry.map_err(|_| DbError::decode("ledger entry"))?;
        let is_erased = entry.is_some_and(|bytes| Entry::decode(bytes).is_ok_and(|entry| which(&entry)));
        pack(&mut left, entry.filter(|_| !is_erased));
        erased += u64::from(is_erased);
    }
    if erased > 0 {
        let update = "UPDATE ledger_bundles SET entries = $3 WHERE node = $1 AND first = $2";
        tx.run(update, args![NODE, whole(bundle.first)?, left.as_slice()])
            .await?;
    }
    Ok(erased)
}
