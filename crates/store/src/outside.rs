//! The outside check: the service's answers, its state, and the numbers to ask ahead of the calls.

use super::Store;
use super::bulk_statement::BulkStatement;
use super::db::{Arg, Dialect, Row, Rows, Tx, args};
use super::dial::{LOCK_TASKS, LOWER_NEXT_DUE};
use super::error::{DbError, StoreError};
use super::facts::ids;
use super::tasks::reopen::reopen_numbers;
use paceline_core::campaign::CampaignState;
use paceline_core::ids::CampaignId;
use paceline_core::number::E164;
use paceline_core::outside::{OutsideAnswer, OutsideFact, OutsideRuling, OutsideService};
use paceline_core::time::Wall;
use std::collections::{BTreeMap, BTreeSet};

/// Contacts of a bucket that are looked at, in the order in which the lease takes them. The hoppers hold fewer.
const CONTACTS_AHEAD: i64 = 1_024;
/// Buckets that are looked at, those that are due first.
const BUCKETS_MAX: i64 = 64;

const BUCKETS: &str = "SELECT b.id FROM tasks t JOIN task_buckets b ON b.task_id = t.id \
    WHERE t.campaign_id = $1 AND t.state = 'running' AND t.next_due_at_ms <= $2 AND b.next_due_at_ms <= $2 \
    ORDER BY b.next_due_at_ms, b.id LIMIT $3";

/// All numbers of the next contacts, because the gate may choose any of them.
const UNCHECKED: &str = "SELECT cn.number FROM (SELECT tc.contact_id, tc.due_at_ms FROM task_contacts tc \
      WHERE tc.bucket_id = $1 AND tc.state = 'ready' AND tc.due_at_ms <= $2 ORDER BY tc.due_at_ms, tc.contact_id LIMIT $3) due \
      JOIN seen_numbers cn ON cn.contact_id = due.contact_id \
    WHERE NOT EXISTS (SELECT 1 FROM outside_answers o WHERE o.number = cn.number AND o.expires_at_ms > $4) \
    ORDER BY due.due_at_ms, due.contact_id, cn.position LIMIT $5";

static SAVE: BulkStatement = BulkStatement::new(
    7,
    "INSERT INTO outside_answers (number, verdict, line, reason, evidence, answered_at_ms, expires_at_ms) VALUES {rows} \
     ON CONFLICT (number) DO UPDATE SET verdict = excluded.verdict, line = excluded.line, reason = excluded.reason, \
       evidence = excluded.evidence, answered_at_ms = excluded.answered_at_ms, expires_at_ms = excluded.expires_at_ms",
);

static ANSWERS: BulkStatement = BulkStatement::new(
    1,
    "WITH v(number) AS (VALUES {rows}) SELECT o.number, o.verdict, o.line, o.reason, o.evidence, o.answered_at_ms, \
       o.expires_at_ms FROM v JOIN outside_answers o ON o.number = v.number",
);

/// Buckets that wait for the outside check, with contacts that have these numbers.
static WAITING: BulkStatement = BulkStatement::new(
    1,
    "WITH v(number) AS (VALUES {rows}) SELECT DISTINCT b.task_id, b.id, t.created_at_ms FROM v \
       JOIN contact_numbers n ON n.number = v.number JOIN contacts c ON c.id = n.contact_id JOIN tasks t ON t.list_id = c.list_id \
       JOIN task_contacts tc ON tc.task_id = t.id AND tc.contact_id = c.id JOIN task_buckets b ON b.id = tc.bucket_id \
     WHERE t.state = 'running' AND tc.state = 'ready' AND b.next_due_at_ms = b.waits_until_ms \
       AND b.wait_reasons LIKE '%\"outside_check\"%'",
);

static OPEN_BUCKETS: BulkStatement = BulkStatement::new(
    2,
    "WITH v(id, due_at_ms) AS (VALUES {rows}) UPDATE task_buckets SET next_due_at_ms = v.due_at_ms, waits_from_ms = NULL, \
       waits_until_ms = NULL, wait_reasons = NULL FROM v WHERE task_buckets.id = v.id AND task_buckets.next_due_at_ms > v.due_at_ms",
);

const ANSWER: &str = "SELECT number, verdict, line, reason, evidence, answered_at_ms, expires_at_ms FROM outside_answers \
    WHERE number = $1";

const SERVICE: &str = "SELECT since_ms, because FROM outside_service";

impl Store {
    /// The last answer of the outside check for a number, which may have expired. `None` if it was never asked, or if the
    /// answer was deleted after its retention.
    pub async fn check_of(&self, number: &E164) -> Result<Option<OutsideAnswer>, StoreError> {
        const DOING: &str = "read an answer of the outside check";
        let rows = self
            .read_all(DOING, ANSWER, args![number.expose()], answer)
            .await?;
        Ok(rows.into_iter().next().map(|(_, answer)| answer))
    }

    /// Stores answers, and makes contacts ready that waited for them. When it returns, a power failure cannot undo it, so that no number is asked (and paid for) twice.
    pub async fn add_outside_answers(
        &self,
        answers: &BTreeMap<E164, OutsideAnswer>,
    ) -> Result<(), StoreError> {
        const DOING: &str = "store answers of the outside check";
        let mut rows = Vec::with_capacity(answers.len().saturating_mul(7));
        for (number, answer) in answers {
            rows.extend_from_slice(args![
                number.expose(),
                answer.verdict.as_str(),
                answer.line.map(|line| line.as_str()),
                &answer.reason,
                answer.evidence.as_deref(),
                answer.answered_at.0,
                answer.expires_at.0,
            ]);
        }
        self.write(DOING, async |tx| {
            SAVE.run(tx, &rows).await?;
            open_buckets(tx, answers).await?;
            Ok(reopen_numbers(tx, answers.keys(), "outside_check").await?)
        })
        .await?;
        self.pools.sync().await.map_err(super::query(DOING))
    }

    /// Active campaigns whose numbers are asked before they are called.
    pub async fn campaigns_with_outside_check(&self) -> Result<Vec<CampaignId>, StoreError> {
        let campaigns = self.dial_campaigns().await?.into_iter();
        let checked = campaigns.filter(|campaign| {
            campaign.state == CampaignState::Active && campaign.settings.suppression.outside_check
        });
        Ok(checked.map(|campaign| campaign.id).collect())
    }

    /// Numbers without a valid answer, of contacts of a campaign's running tasks that are due by `due_by`: those that the lease
    /// takes next, at most `limit`. Buckets share the limit.
    pub async fn unchecked_numbers(
        &self,
        campaign: CampaignId,
        now: Wall,
        due_by: Wall,
        limit: usize,
    ) -> Result<Vec<E164>, StoreError> {
        const DOING: &str = "read which numbers the outside check is asked next";
        let id = |row: &Row| row.get::<i64>(0);
        let buckets = args![campaign.0, due_by.0, BUCKETS_MAX];
        let buckets = self.read_all(DOING, BUCKETS, buckets, id).await?;
        let (mut numbers, mut seen) = (Vec::new(), BTreeSet::new());
        for (n, bucket) in buckets.iter().enumerate() {
            let left = limit.saturating_sub(numbers.len());
            let share = left.div_ceil(buckets.len().saturating_sub(n).max(1));
            let share = i64::try_from(share).unwrap_or(i64::MAX);
            let args = args![*bucket, due_by.0, CONTACTS_AHEAD, now.0, share];
            for number in self.read_all(DOING, UNCHECKED, args, |row| row.number(0)).await? {
                if seen.insert(number.clone()) {
                    numbers.push(number);
                }
            }
        }
        Ok(numbers)
    }

    /// Stores the state of the service. The gate reads it in the transaction of each decision.
    pub async fn set_outside_service(&self, service: &OutsideService) -> Result<(), StoreError> {
        let (since, because) = match service {
            OutsideService::Missing => {
                return self
                    .write("store that there is no outside check", async |tx| {
                        tx.run("DELETE FROM outside_service", &[]).await?;
                        Ok(())
                    })
                    .await;
            }
            OutsideService::Works => (None, None),
            OutsideService::Out { since } => (Some(since.0), None),
            OutsideService::OutAndOpen { since, because } => (Some(since.0), Some(because.as_str())),
        };
        self.write("store the state of the outside check", async |tx| {
            let sql = "INSERT INTO outside_service (one, since_ms, because) VALUES (1, $1, $2) \
                ON CONFLICT (one) DO UPDATE SET since_ms = excluded.since_ms, because = excluded.because";
            tx.run(sql, args![since, because]).await?;
            Ok(())
        })
        .await
    }

    /// The state of the service.
    pub async fn outside_service(&self) -> Result<OutsideService, StoreError> {
        let rows = self.read_all("read the state of the outside check", SERVICE, &[], service);
        Ok(rows.await?.pop().unwrap_or_default())
    }

    /// The outside check's decision about a call to each of these numbers at `now`.
    pub async fn outside_rulings(
        &self,
        numbers: &[E164],
        now: Wall,
    ) -> Result<BTreeMap<E164, OutsideRuling>, StoreError> {
        self.write("read what the outside check says", async |tx| {
            let checked = checked(Rows::In(tx), &numbers.iter().collect::<Vec<_>>()).await?;
            let ruled = numbers
                .iter()
                .map(|number| (number.clone(), checked.of(number).rule(now)));
            Ok(ruled.collect())
        })
        .await
    }
}

/// Makes buckets due that waited for these answers.
async fn open_buckets(tx: &mut Tx, answers: &BTreeMap<E164, OutsideAnswer>) -> Result<(), DbError> {
    let numbers: Vec<_> = answers
        .keys()
        .flat_map(|number| args![number.expose()].to_vec())
        .collect();
    let waiting = WAITING.rows(tx, &numbers).await?;
    let (mut tasks, mut buckets) = (BTreeMap::new(), BTreeMap::new());
    for row in &waiting {
        tasks.insert(row.get::<i64>(0)?, row.get::<i64>(2)?);
        buckets.insert(row.get::<i64>(1)?, row.get::<i64>(2)?);
    }
    if tx.dialect() == Dialect::Postgres {
        LOCK_TASKS.rows(tx, &ids(tasks.keys().copied())).await?;
    }
    let due = |of: &BTreeMap<i64, i64>| -> Vec<Arg<'static>> {
        let rows = of.iter().flat_map(|(id, due)| [Arg::from(*id), Arg::from(*due)]);
        rows.collect()
    };
    LOWER_NEXT_DUE.run(tx, &due(&tasks)).await?;
    OPEN_BUCKETS.run(tx, &due(&buckets)).await?;
    Ok(())
}

/// What the outside check knows of some numbers.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) service: OutsideService,
    answers: BTreeMap<E164, OutsideAnswer>,
}

impl Checked {
    pub(super) fn of(&self, number: &E164) -> OutsideFact<'_> {
        OutsideFact {
            answer: self.answers.get(number),
            service: &self.service,
        }
    }
}

/// Reads what the outside check knows of these numbers.
pub(super) async fn checked(mut from: Rows<'_>, numbers: &[&E164]) -> Result<Checked, DbError> {
    let state = from.select(SERVICE).await?;
    let mut asked = Vec::new();
    for number in numbers {
        asked.extend_from_slice(args![number.expose()]);
    }
    let rows = from.bulk(&ANSWERS, &asked).await?;
    Ok(Checked {
        service: state.first().map(service).transpose()?.unwrap_or_default(),
        answers: rows.iter().map(answer).collect::<Result<_, _>>()?,
    })
}

fn answer(row: &Row) -> Result<(E164, OutsideAnswer), DbError> {
    let answer = OutsideAnswer {
        verdict: row.word(1)?,
        line: row.maybe_word(2)?,
        reason: row.get(3)?,
        evidence: row.get(4)?,
        answered_at: Wall(row.get(5)?),
        expires_at: Wall(row.get(6)?),
    };
    Ok((row.number(0)?, answer))
}

fn service(row: &Row) -> Result<OutsideService, DbError> {
    let because = row.get::<Option<String>>(1)?;
    Ok(match (row.get::<Option<i64>>(0)?.map(Wall), because) {
        (None, _) => OutsideService::Works,
        (Some(since), None) => OutsideService::Out { since },
        (Some(since), Some(because)) => OutsideService::OutAndOpen { since, because },
    })
}
