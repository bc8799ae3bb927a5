//! Records of attempts and their legs. The dialer writes them through the [`super::Writer`].

use super::Store;
use super::db::{Arg, Row, args};
use super::error::{DbError, StoreError};
use super::select::Select;
use super::{NewDnc, dnc, query};
use paceline_core::contact::NumberKind;
use paceline_core::ids::{AgentId, AttemptId, CampaignId, ContactId, LegId, PbxName, TaskId, TrunkId};
use paceline_core::number::E164;
use paceline_core::outcome::{MessageResult, Outcome};
use paceline_core::pbx::{EndedBy, Progress};
use paceline_core::time::Wall;
use sqlx::SqlSafeStr;
use uuid::Uuid;

/// An attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRow {
    /// Its id.
    pub id: AttemptId,
    /// The attempt's campaign.
    pub campaign: CampaignId,
    /// The attempt's task.
    pub task: TaskId,
    /// The contact to reach.
    pub contact: ContactId,
    /// The dialed number.
    pub number: E164,
    /// The position of the number among the contact's numbers, from 1; `None` if the contact no longer has it.
    pub number_place: Option<u32>,
    /// The kind of line, as stored with the contact's number.
    pub number_kind: Option<NumberKind>,
    /// The label from the source of the number.
    pub number_label: Option<String>,
    /// 1 for the contact's first attempt in the task.
    pub ordinal: u32,
    /// The time at which it was stored, just before it was dialed.
    pub created_at: Wall,
    /// The time of the answer; `None` before it.
    pub answered_at: Option<Wall>,
    /// The time at which the callee was connected with the agent; `None` before it.
    pub connected_at: Option<Wall>,
    /// The time at which the call was counted as abandoned; `None` if it was not.
    pub abandoned_at: Option<Wall>,
    /// The connected agent; `None` before a connection.
    pub agent: Option<AgentId>,
    /// The time at which the attempt ended; `None` before it.
    pub ended_at: Option<Wall>,
    /// The result of the attempt; `None` until it ends.
    pub outcome: Option<Outcome>,
    /// The agent's result of the conversation; `None` if there is none.
    pub disposition: Option<String>,
    /// The result of playing the campaign's message to an abandoned callee; `None` if it was not played.
    pub message: Option<MessageResult>,
    /// The time at which the PBX was asked to play the message.
    pub message_at: Option<Wall>,
}

/// One originate of an attempt over one trunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegRow {
    /// The leg's id, which is the channel's id on the PBX.
    pub id: LegId,
    /// The PBX.
    pub pbx: PbxName,
    /// The trunk.
    pub trunk: TrunkId,
    /// The time at which it was stored, just before it was dialed.
    pub created_at: Wall,
    /// The first progress before an answer; `None` if the trunk reported none.
    pub progress: Option<Progress>,
    /// The time of that progress.
    pub progress_at: Option<Wall>,
    /// The time of the answer; `None` before it.
    pub answered_at: Option<Wall>,
    /// The time at which the leg ended; `None` before it.
    pub ended_at: Option<Wall>,
    /// The party that ended the leg; `None` before the end.
    pub ended_by: Option<EndedBy>,
    /// Q.850 cause; `None` if the PBX gave none.
    pub q850: Option<u16>,
    /// Final SIP status; `None` if the PBX gave none.
    pub sip: Option<u16>,
    /// The PBX's own text about the end.
    pub detail: Option<String>,
}

/// The times and the outcome of an ended attempt, for a simulation. Contains no personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// The attempt.
    pub attempt: AttemptId,
    /// The time of dialing.
    pub created_at: Wall,
    /// The time at which it began to ring; `None` if the trunk did not report it.
    pub rang_at: Option<Wall>,
    /// The time of the answer; `None` if there was none.
    pub answered_at: Option<Wall>,
    /// The time at which the callee was connected with the agent; `None` if it was not.
    pub connected_at: Option<Wall>,
    /// The connected agent; `None` if there was none.
    pub agent: Option<AgentId>,
    /// The time at which the attempt ended.
    pub ended_at: Wall,
    /// The result of the attempt.
    pub outcome: Outcome,
}

/// Conditions on attempts; `None` accepts every attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttemptFilter {
    /// Only attempts of this campaign.
    pub campaign: Option<CampaignId>,
    /// Only attempts of this task.
    pub task: Option<TaskId>,
    /// Only attempts to reach this contact.
    pub contact: Option<ContactId>,
    /// Only attempts that were connected with this agent.
    pub agent: Option<AgentId>,
    /// Only attempts with this outcome.
    pub outcome: Option<Outcome>,
    /// Only attempts with this disposition.
    pub disposition: Option<String>,
    /// Only attempts created at or after this time.
    pub created_from: Option<Wall>,
    /// Only attempts created before this time.
    pub created_until: Option<Wall>,
}

const COLUMNS: &str = "SELECT a.id, a.campaign_id, a.task_id, a.contact_id, a.number, a.ordinal, a.created_at_ms, a.answered_at_ms, \
    a.connected_at_ms, a.abandoned_at_ms, a.agent_id, a.ended_at_ms, a.outcome, a.disposition, a.message, a.message_at_ms, \
    (SELECT count(*) FROM contact_numbers cm WHERE cm.contact_id = cn.contact_id AND cm.position <= cn.position), cn.kind, cn.label \
    FROM attempts a LEFT JOIN contact_numbers cn ON cn.contact_id = a.contact_id AND cn.number = a.number WHERE 1 = 1";

impl Store {
    /// Attempts, the newest first.
    pub async fn attempts(
        &self,
        filter: &AttemptFilter,
        after: Option<AttemptId>,
        limit: i64,
    ) -> Result<Vec<AttemptRow>, StoreError> {
        let (sql, args) = select_attempts(filter, after, limit);
        self.read_all("list attempts", sql, &args, attempt).await
    }

    /// Ended attempts of a campaign, created at or after `from` and before `until`, the newest first. Reads the
    /// newest `limit` legs.
    pub async fn call_records(
        &self,
        campaign: CampaignId,
        from: Option<Wall>,
        until: Option<Wall>,
        limit: i64,
    ) -> Result<Vec<CallRecord>, StoreError> {
        let sql = "SELECT a.id, l.created_at_ms, l.progress_at_ms, l.answered_at_ms, a.connected_at_ms, a.agent_id, \
            a.ended_at_ms, a.outcome FROM attempts a JOIN legs l ON l.attempt_id = a.id WHERE a.outcome IS NOT NULL";
        let (sql, args) = Select::new(sql)
            .and("a.campaign_id =", Some(campaign.0))
            .and("a.id >=", from.map(first_id_at))
            .and("a.id <", until.map(first_id_at))
            .order("a.id DESC, l.created_at_ms DESC", limit);
        let mut records = self.read_all("read call records", sql, &args, record).await?;
        // If an attempt used several trunks, its last leg counts.
        records.dedup_by_key(|record| record.attempt);
        Ok(records)
    }

    /// One attempt.
    pub async fn attempt(&self, id: AttemptId) -> Result<Option<AttemptRow>, StoreError> {
        let (sql, args) = Select::new(COLUMNS).and("a.id =", Some(id.0)).order("a.id", 1);
        Ok(self.read_all("read an attempt", sql, &args, attempt).await?.pop())
    }

    /// Attempts to reach a contact, the newest first.
    pub async fn attempts_of_contact(
        &self,
        contact: ContactId,
        limit: i64,
    ) -> Result<Vec<AttemptRow>, StoreError> {
        let filter = AttemptFilter {
            contact: Some(contact),
            ..AttemptFilter::default()
        };
        self.attempts(&filter, None, limit).await
    }

    /// Attempts to this number, whatever the contact, the newest first.
    pub async fn attempts_of_number(&self, number: &E164, limit: i64) -> Result<Vec<AttemptRow>, StoreError> {
        let (sql, args) = Select::new(COLUMNS)
            .and("a.number =", Some(number.expose()))
            .order("a.id DESC", limit);
        self.read_all("list the attempts to a number", sql, &args, attempt)
            .await
    }

    /// The newest attempt that was connected with this agent.
    pub async fn last_attempt_of_agent(&self, agent: AgentId) -> Result<Option<AttemptRow>, StoreError> {
        let filter = AttemptFilter {
            agent: Some(agent),
            ..AttemptFilter::default()
        };
        Ok(self.attempts(&filter, None, 1).await?.pop())
    }

    /// An attempt's legs in the order of their creation.
    pub async fn legs_of_attempt(&self, attempt: AttemptId) -> Result<Vec<LegRow>, StoreError> {
        let sql = "SELECT id, pbx, trunk_id, created_at_ms, progress, progress_at_ms, answered_at_ms, ended_at_ms, \
            ended_by, q850, sip, detail FROM legs WHERE attempt_id = $1 ORDER BY created_at_ms, id";
        self.read_all("read an attempt's legs", sql, args![attempt.0], leg)
            .await
    }

    /// Sets an attempt's disposition; `None` if the attempt does not exist. With `opt_out` it also adds the number to the
    /// do-not-call list, in the same transaction.
    pub async fn set_disposition(
        &self,
        id: AttemptId,
        disposition: &str,
        opt_out: Option<&NewDnc<'_>>,
    ) -> Result<Option<AttemptRow>, StoreError> {
        const DOING: &str = "set an attempt's disposition";
        let update = "UPDATE attempts SET disposition = $2 WHERE id = $1 RETURNING number";
        let is_there = self
            .write(DOING, async |tx| {
                let Some(row) = tx.rows(update, args![id.0, disposition]).await?.pop() else {
                    return Ok(false);
                };
                if let Some(entry) = opt_out {
                    dnc::insert(tx, &[row.number(0)?], entry).await?;
                }
                Ok(true)
            })
            .await?;
        if opt_out.is_some() {
            self.pools.sync().await.map_err(query(DOING))?;
        }
        if is_there {
            self.attempt(id).await
        } else {
            Ok(None)
        }
    }
}

/// The condition whose index the query reads. The query checks the other conditions in the rows found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Driver {
    Contact,
    Agent,
    Disposition,
    Outcome,
    Task,
    Campaign,
}

impl AttemptFilter {
    /// The condition that probably matches the fewest attempts. SQLite has no statistics here and would choose any of
    /// them.
    fn driver(&self) -> Option<Driver> {
        // Most calls end like this, so any other index finds a page of the newest attempts quickly.
        let is_common = |outcome: &Outcome| match outcome {
            Outcome::Answered | Outcome::NoAnswer | Outcome::Busy | Outcome::Machine => true,
            Outcome::Rejected
            | Outcome::Invalid
            | Outcome::Congestion
            | Outcome::Failed
            | Outcome::Fax
            | Outcome::Screened
            | Outcome::Abandoned
            | Outcome::Cancelled
            | Outcome::Blocked
            | Outcome::Unknown => false,
        };
        let rare = self.outcome.as_ref().is_some_and(|outcome| !is_common(outcome));
        [
            (self.contact.is_some(), Driver::Contact),
            (self.agent.is_some(), Driver::Agent),
            (self.disposition.is_some(), Driver::Disposition),
            (rare, Driver::Outcome),
            (self.task.is_some(), Driver::Task),
            (self.campaign.is_some(), Driver::Campaign),
            (self.outcome.is_some(), Driver::Outcome),
        ]
        .into_iter()
        .find_map(|(given, driver)| given.then_some(driver))
    }
}

/// Builds the query. A condition on an expression uses no index, so the conditions that could compete with the
/// driver's are written as expressions.
pub(super) fn select_attempts<'a>(
    filter: &'a AttemptFilter,
    after: Option<AttemptId>,
    limit: i64,
) -> (impl SqlSafeStr + Send + use<'a>, Vec<Arg<'a>>) {
    let driver = filter.driver();
    let by = |of, column, expression| if driver == Some(of) { column } else { expression };
    Select::new(COLUMNS)
        .and(
            by(Driver::Campaign, "a.campaign_id =", "+a.campaign_id ="),
            filter.campaign.map(|id| id.0),
        )
        .and(
            by(Driver::Task, "a.task_id =", "+a.task_id ="),
            filter.task.map(|id| id.0),
        )
        .and("a.contact_id =", filter.contact.map(|id| id.0))
        .and(
            by(Driver::Agent, "a.agent_id =", "+a.agent_id ="),
            filter.agent.map(|id| id.0),
        )
        .and(
            by(Driver::Outcome, "a.outcome =", "a.outcome || '' ="),
            filter.outcome.map(Outcome::as_str),
        )
        .and(
            by(Driver::Disposition, "a.disposition =", "a.disposition || '' ="),
            filter.disposition.as_deref(),
        )
        .and("a.id >=", filter.created_from.map(first_id_at))
        .and("a.id <", filter.created_until.map(first_id_at))
        .and("a.id <", after.map(|id| id.0))
        .order("a.id DESC", limit)
}

/// The smallest id of an attempt created at or after `at`. The id is a UUIDv7, which begins with its time in
/// milliseconds.
fn first_id_at(at: Wall) -> Uuid {
    Uuid::from_u128(u128::try_from(at.0).unwrap_or(0) << 80)
}

fn record(row: &Row) -> Result<CallRecord, DbError> {
    let at = |column| Ok::<_, DbError>(row.get::<Option<i64>>(column)?.map(Wall));
    Ok(CallRecord {
        attempt: AttemptId(row.get(0)?),
        created_at: Wall(row.get(1)?),
        rang_at: at(2)?,
        answered_at: at(3)?,
        connected_at: at(4)?,
        agent: row.get::<Option<i64>>(5)?.map(AgentId),
        ended_at: Wall(row.get(6)?),
        outcome: row.word(7)?,
    })
}

fn attempt(row: &Row) -> Result<AttemptRow, DbError> {
    let at = |column| Ok::<_, DbError>(row.get::<Option<i64>>(column)?.map(Wall));
    Ok(AttemptRow {
        id: AttemptId(row.get(0)?),
        campaign: CampaignId(row.get(1)?),
        task: TaskId(row.get(2)?),
        contact: ContactId(row.get(3)?),
        number: row.number(4)?,
        ordinal: row.count(5)?,
        created_at: Wall(row.get(6)?),
        answered_at: at(7)?,
        connected_at: at(8)?,
        abandoned_at: at(9)?,
        agent: row.get::<Option<i64>>(10)?.map(AgentId),
        ended_at: at(11)?,
        outcome: row.maybe_word(12)?,
        disposition: row.get(13)?,
        message: row.maybe_word(14)?,
        message_at: at(15)?,
        number_place: Some(row.count(16)?).filter(|place| *place > 0),
        number_kind: row.maybe_word(17)?,
        number_label: row.get(18)?,
    })
}

/// A Q.850 cause or a SIP status; `None` if it is null.
pub(super) fn code(row: &Row, column: usize) -> Result<Option<u16>, DbError> {
    let code = row.get::<Option<i64>>(column)?;
    code.map(|code| u16::try_from(code).map_err(|_| DbError::decode("cause")))
        .transpose()
}

fn leg(row: &Row) -> Result<LegRow, DbError> {
    let at = |column| Ok::<_, DbError>(row.get::<Option<i64>>(column)?.map(Wall));
    Ok(LegRow {
        id: LegId(row.get(0)?),
        pbx: PbxName::new(&row.get::<String>(1)?),
        trunk: TrunkId(row.get(2)?),
        created_at: Wall(row.get(3)?),
        progress: row.maybe_word(4)?,
        progress_at: at(5)?,
        answered_at: at(6)?,
        ended_at: at(7)?,
        ended_by: row.maybe_word(8)?,
        q850: code(row, 9)?,
        sip: code(row, 10)?,
        detail: row.get(11)?,
    })
}
