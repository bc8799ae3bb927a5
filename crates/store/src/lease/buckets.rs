//! Buckets that wait as one row with one decision: it is no time to call in their places, or the outside check has not answered for
//! their contacts.

use super::{DEFER_BUCKETS, Decided, Due, Lease, Over};
use crate::db::{Row, Rows, Tx, args};
use crate::error::DbError;
use crate::facts::{Judgement, closed, localities};
use crate::outside::{Checked, checked};
use paceline_core::gate::{GateStage, GateVerdict, Locality, Policy};
use paceline_core::ids::TaskId;
use paceline_core::time::Wall;

/// Contacts of one task for which the gate's rules of time give the same answer.
pub(super) struct Bucket {
    pub(super) id: i64,
    /// Where the numbers of its contacts may be. Empty: each contact must be asked about.
    localities: Vec<Locality>,
    /// The gate's last deferral: its time, its end and its reasons.
    waits: Option<(Wall, Wall, String)>,
}

/// The end of a lease of one bucket.
pub(super) enum BucketLease {
    /// The bucket may have more due contacts.
    MoreDue,
    /// It has no other due contacts.
    NoneDue,
    /// The outside check has not answered for its contacts: none was looked at.
    Waits(Wall, Judgement),
}

impl Lease<'_> {
    /// Defers the buckets whose contacts cannot be called now. Returns the others.
    pub(super) async fn defer_closed(
        &mut self,
        tx: &mut Tx,
        task: TaskId,
        buckets: Vec<Bucket>,
    ) -> Result<Vec<Bucket>, DbError> {
        let (mut open, mut waiting) = (Vec::with_capacity(buckets.len()), Vec::new());
        for bucket in buckets {
            match closed(self.policy, self.now, &bucket.localities, Judgement::of) {
                Some((until, decision)) => waiting.push((bucket, until, decision)),
                None => open.push(bucket),
            }
        }
        self.defer_buckets(tx, task, waiting).await?;
        Ok(open)
    }

    pub(super) async fn defer_buckets(
        &mut self,
        tx: &mut Tx,
        task: TaskId,
        buckets: Vec<(Bucket, Wall, Judgement)>,
    ) -> Result<(), DbError> {
        let mut waits = Vec::with_capacity(buckets.len());
        for (bucket, until_ms, decision) in buckets {
            self.leased.deferred_buckets += 1;
            // A bucket can be looked at before its wait ends, because a contact in it may be due. If the gate's
            // answer is unchanged, no new decision is written.
            match bucket.waits {
                Some((from, until, said)) if until == until_ms && from <= self.now && self.now < until => {
                    waits.push((bucket.id, from, until, said));
                }
                _ => {
                    waits.push((bucket.id, self.now, until_ms, decision.reasons.clone()));
                    self.decisions.push(Decided {
                        at: self.now,
                        task,
                        over: Over::Bucket(bucket.id),
                        campaign: self.campaign,
                        number: None,
                        attempt: None,
                        stage: GateStage::Lease,
                        decision,
                    });
                }
            }
        }
        let mut rows = Vec::with_capacity(waits.len() * 4);
        for (id, from, until, why) in &waits {
            rows.extend_from_slice(args![*id, from.0, until.0, why.as_str()]);
        }
        DEFER_BUCKETS.run(tx, &rows).await?;
        Ok(())
    }

    pub(super) async fn checked(&self, tx: &mut Tx, due: &[Due]) -> Result<Option<Checked>, DbError> {
        if !self.suppression().outside_check {
            return Ok(None);
        }
        let numbers: Vec<_> = due.iter().map(|due| &due.lead.number).collect();
        checked(Rows::In(tx), &numbers).await.map(Some)
    }

    /// The outside check is asked about contacts in the order of the lease. If it has answered for none of the first ones, the
    /// whole bucket waits, so that a million contacts do not wait with a decision for each.
    pub(super) fn unanswered(&self, due: &[Due], checked: Option<&Checked>) -> Option<(Wall, Judgement)> {
        let checked = checked?;
        let waits = |due: &Due| checked.of(&due.lead.number).waits_for_answer(self.now);
        if due.is_empty() || !due.iter().all(waits) {
            return None;
        }
        let decision = Policy::unanswered(&checked.service, self.now)?;
        match decision.verdict {
            GateVerdict::Defer { until_ms } => Some((until_ms, Judgement::of(&decision))),
            GateVerdict::Allow | GateVerdict::Deny => None,
        }
    }
}

pub(super) fn read_bucket(row: &Row) -> Result<Bucket, DbError> {
    let from = row.get::<Option<i64>>(2)?.map(Wall);
    let until = row.get::<Option<i64>>(3)?.map(Wall);
    let said = row.get::<Option<String>>(4)?;
    Ok(Bucket {
        id: row.get(0)?,
        localities: localities(&row.get::<String>(1)?),
        waits: from
            .zip(until)
            .zip(said)
            .map(|((from, until), said)| (from, until, said)),
    })
}
