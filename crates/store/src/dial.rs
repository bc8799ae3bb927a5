//! The data that the dialer reads when it starts: the campaigns to dial, and their attempts and agents that the last
//! run left open.

use super::Store;
use super::attempts::code;
use super::bulk_statement::BulkStatement;
use super::campaigns::read_settings;
use super::db::{Arg, Dialect, Row, Tx, args};
use super::error::{DbError, DbErrorKind, StoreError};
use super::trunks::TrunkRow;
use paceline_core::agent::{AgentState, Wants};
use paceline_core::campaign::settings::CampaignSettings;
use paceline_core::campaign::{CampaignState, TaskState};
use paceline_core::dial::Extension;
use paceline_core::ids::{
    AgentId, AgentLegId, AttemptId, CampaignId, ContactId, LegId, PbxName, TaskId, TrunkId,
};
use paceline_core::input::{LastCall, Lead, OpenAttempt};
use paceline_core::pacing::rules::{self, AbandonRule, Answers, Tally};
use paceline_core::pbx::{EndedBy, LegEnd, Progress};
use paceline_core::time::Wall;
use std::collections::BTreeSet;
use std::time::Duration;
use tracing::error;

/// Answers older than this are counted together, as one quarter of an hour.
const QUARTERS_KEPT: Duration = Duration::from_secs(92 * 24 * 3_600);

/// A campaign as the dialer needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct DialCampaign {
    /// The campaign's id.
    pub id: CampaignId,
    /// Its name, for logs and metric labels.
    pub name: String,
    /// The campaign's state.
    pub state: CampaignState,
    /// The campaign's settings; the defaults if `fault` is set.
    pub settings: CampaignSettings,
    /// The reason why the stored settings cannot be read. While it is set, nothing may be launched.
    pub fault: Option<String>,
    /// The campaign's trunks in order of preference.
    pub trunks: Vec<TrunkRow>,
}

/// The attempts and agents that the last run left open in a campaign.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Attempts without an outcome, oldest first.
    pub attempts: Vec<OpenAttempt>,
    /// Agents that were not offline.
    pub agents: Vec<StoredAgent>,
    /// Leased contacts without an open attempt, which are now ready again.
    pub given_back: u64,
}

/// An agent that the last run left logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAgent {
    /// The agent's id.
    pub agent: AgentId,
    /// The PBX that the phone is on.
    pub pbx: PbxName,
    /// The phone's extension on the PBX.
    pub extension: Extension,
    /// The held or ringing leg; `None` if there is none.
    pub leg: Option<AgentLegId>,
    /// The agent's last request.
    pub wants: Wants,
    /// The last stored state.
    pub state: AgentState,
    /// The agent's last conversation in this campaign that has ended.
    pub last_call: Option<LastCall>,
}

/// An archived campaign is included only while agents are logged in to it or its contacts hold numbers.
const CAMPAIGNS: &str = "SELECT id, name, state, settings FROM campaigns WHERE ($1 IS NULL OR id = $1) \
    AND (state <> 'archived' OR EXISTS (SELECT 1 FROM agents WHERE agents.campaign_id = campaigns.id) \
      OR EXISTS (SELECT 1 FROM number_leases n JOIN tasks t ON t.id = n.task_id WHERE t.campaign_id = campaigns.id)) \
    ORDER BY id";

const TASK_STATE: &str = "SELECT state FROM tasks WHERE id = $1";

const TRUNKS: &str = "SELECT ct.campaign_id, t.id, t.pbx, t.dial, t.caller_id, t.name \
    FROM campaign_trunks ct JOIN trunks t ON t.id = ct.trunk_id \
    WHERE $1 IS NULL OR ct.campaign_id = $1 ORDER BY ct.campaign_id, ct.position";

/// Found by way of the leased numbers, which are few: an open attempt always holds its number. After a failover an
/// attempt has several legs; the newest is the one that may be up.
pub(super) const OPEN_ATTEMPTS: &str = "SELECT a.id, l.id, l.pbx, l.trunk_id, a.contact_id, a.task_id, a.number, \
        a.ordinal, t.retries_max, a.created_at_ms, a.answered_at_ms, a.connected_at_ms, a.agent_id, tc.tries_made, \
        a.abandoned_at_ms, l.ended_at_ms, l.ended_by, l.q850, l.sip, l.progress, l.answered_at_ms, l.detail \
    FROM number_leases n JOIN tasks t ON t.id = n.task_id \
      JOIN task_contacts tc ON tc.task_id = n.task_id AND tc.contact_id = n.contact_id \
      JOIN attempts a ON a.contact_id = n.contact_id AND a.task_id = n.task_id \
      JOIN legs l ON l.attempt_id = a.id \
    WHERE t.campaign_id = $1 AND a.ended_at_ms IS NULL \
      AND NOT EXISTS (SELECT 1 FROM legs n WHERE n.attempt_id = a.id \
        AND (n.created_at_ms, n.id) > (l.created_at_ms, l.id)) \
    ORDER BY a.id";

pub(super) const LOGGED_IN: &str = "SELECT id, pbx, extension, leg_id, wants, state FROM agents \
    WHERE campaign_id = $1 AND campaign_id IS NOT NULL ORDER BY id";

/// The last conversation to end is among the last that were launched.
const LAST_CALL: &str = "SELECT id, ended_at_ms FROM (SELECT id, ended_at_ms, campaign_id FROM attempts \
      WHERE agent_id = $1 ORDER BY id DESC LIMIT 16) last \
    WHERE campaign_id = $2 AND ended_at_ms IS NOT NULL ORDER BY ended_at_ms DESC LIMIT 1";

const LOG_OUT: &str = "UPDATE agents SET state = 'offline', state_at_ms = $2, campaign_id = NULL, leg_id = NULL, \
    wants = 'calls' WHERE id = $1";

pub(super) const RUNNING: &str = "SELECT id FROM tasks WHERE campaign_id = $1 AND state = 'running'";

/// Counts how a campaign's answers ended, per quarter of an hour of the answer; the oldest are counted together. The
/// conditions must agree with `AnswerRow::result` and `AbandonRule::tally`.
pub(super) const ANSWERS: &str = "SELECT quarter, \
      sum(CASE WHEN ending = 'connected' AND wait_ms <= $4 THEN 1 ELSE 0 END), \
      sum(CASE WHEN ending = 'connected' AND wait_ms > $4 THEN 1 ELSE 0 END), \
      sum(CASE WHEN ending = 'abandoned' THEN 1 ELSE 0 END), \
      sum(CASE WHEN ending = 'hung_up' AND wait_ms <= $4 THEN 1 ELSE 0 END), \
      sum(CASE WHEN ending = 'hung_up' AND wait_ms > $4 THEN 1 ELSE 0 END) \
    FROM (SELECT CASE WHEN answered_at_ms < $3 THEN $3 / 900000 - 1 ELSE answered_at_ms / 900000 END AS quarter, \
        CASE WHEN abandoned_at_ms IS NOT NULL THEN 'abandoned' WHEN connected_at_ms IS NOT NULL THEN 'connected' \
          WHEN outcome IN ('abandoned', 'unknown') THEN 'abandoned' WHEN outcome IN ('machine', 'fax', 'screened') THEN 'none' \
          WHEN ended_at_ms IS NOT NULL THEN 'hung_up' ELSE 'none' END AS ending, \
        coalesce(connected_at_ms, ended_at_ms) - answered_at_ms AS wait_ms \
      FROM attempts WHERE campaign_id = $1 AND answered_at_ms >= $2) answers \
    WHERE ending <> 'none' GROUP BY quarter ORDER BY quarter";

/// Leased contacts of a campaign without an open attempt.
const STRAY_LEASES: &str = "SELECT n.task_id, n.contact_id FROM number_leases n JOIN tasks t ON t.id = n.task_id \
    WHERE t.campaign_id = $1 AND NOT EXISTS (SELECT 1 FROM attempts a \
      WHERE a.contact_id = n.contact_id AND a.task_id = n.task_id AND a.ended_at_ms IS NULL) \
    ORDER BY n.number";

/// A contact with an open attempt stays leased, because its call may be ringing.
pub(super) static MAKE_READY: BulkStatement = BulkStatement::new(
    3,
    "WITH v(task_id, contact_id, due_at_ms) AS (VALUES {rows}) \
     UPDATE task_contacts SET state = 'ready', due_at_ms = v.due_at_ms FROM v \
     WHERE task_contacts.task_id = v.task_id AND task_contacts.contact_id = v.contact_id \
       AND task_contacts.state = 'leased' AND NOT EXISTS (SELECT 1 FROM attempts a \
         WHERE a.contact_id = v.contact_id AND a.task_id = v.task_id AND a.ended_at_ms IS NULL)",
);

/// A visible contact never loses a number, so a lease is among the numbers of its contact.
pub(super) static FREE_NUMBERS: BulkStatement = BulkStatement::new(
    2,
    "WITH v(task_id, contact_id) AS (VALUES {rows}) \
     DELETE FROM number_leases WHERE number IN (SELECT cn.number FROM v JOIN contact_numbers cn ON cn.contact_id = v.contact_id) \
       AND EXISTS (SELECT 1 FROM v WHERE v.task_id = number_leases.task_id \
         AND v.contact_id = number_leases.contact_id) \
       AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.contact_id = number_leases.contact_id \
         AND a.task_id = number_leases.task_id AND a.ended_at_ms IS NULL)",
);

pub(super) static LOWER_NEXT_DUE: BulkStatement = BulkStatement::new(
    2,
    "WITH v(task_id, due_at_ms) AS (VALUES {rows}) \
     UPDATE tasks SET next_due_at_ms = v.due_at_ms FROM v \
     WHERE tasks.id = v.task_id AND tasks.next_due_at_ms > v.due_at_ms",
);

pub(super) static LOWER_BUCKETS: BulkStatement = BulkStatement::new(
    3,
    "WITH v(task_id, contact_id, due_at_ms) AS (VALUES {rows}) \
     UPDATE task_buckets SET next_due_at_ms = m.due_at_ms FROM \
       (SELECT tc.bucket_id, min(v.due_at_ms) AS due_at_ms FROM v JOIN task_contacts tc \
         ON tc.task_id = v.task_id AND tc.contact_id = v.contact_id GROUP BY tc.bucket_id) m \
     WHERE task_buckets.id = m.bucket_id AND task_buckets.next_due_at_ms > m.due_at_ms",
);

/// For PostgreSQL: a lease on another connection may be raising the same column, and without this lock it would not
/// see the contacts that this transaction makes due.
pub(super) static LOCK_TASKS: BulkStatement = BulkStatement::locking(
    1,
    "WITH v(task_id) AS (VALUES {rows}) SELECT t.id FROM v JOIN tasks t ON t.id = v.task_id ORDER BY t.id",
    " FOR UPDATE OF t",
);

/// Completes tasks that have no ready and no leased contact. A contact is leased exactly while its number is. Used by
/// [`complete_tasks`].
pub(super) static COMPLETE_TASKS: BulkStatement = BulkStatement::new(
    1,
    "WITH v(task_id) AS (VALUES {rows}) \
     UPDATE tasks SET state = 'completed' WHERE id IN (SELECT task_id FROM v) AND state = 'running' \
       AND NOT EXISTS (SELECT 1 FROM task_buckets b JOIN task_contacts c ON c.bucket_id = b.id AND c.state = 'ready' \
         WHERE b.task_id = tasks.id) \
       AND NOT EXISTS (SELECT 1 FROM number_leases n WHERE n.task_id = tasks.id)",
);

impl Store {
    /// Every campaign that is not archived, with its trunks, and every archived one that still has leased numbers or
    /// logged-in agents. The last run may have stopped before it learnt that such a campaign was archived.
    pub async fn dial_campaigns(&self) -> Result<Vec<DialCampaign>, StoreError> {
        self.read_dial_campaigns(None).await
    }

    /// One campaign; `None` if it does not exist, or if it is archived and has no leased number or logged-in agent.
    pub async fn dial_campaign(&self, id: CampaignId) -> Result<Option<DialCampaign>, StoreError> {
        Ok(self.read_dial_campaigns(Some(id)).await?.pop())
    }

    /// The state of a task; `None` if the task does not exist.
    pub async fn task_state(&self, id: TaskId) -> Result<Option<TaskState>, StoreError> {
        let read = async {
            let rows = self.pools.rows(TASK_STATE, args![id.0]).await?;
            rows.first().map(|row| row.word(0)).transpose()
        };
        read.await.map_err(|source| StoreError::Query {
            doing: "read a task's state",
            source,
        })
    }

    async fn read_dial_campaigns(&self, id: Option<CampaignId>) -> Result<Vec<DialCampaign>, StoreError> {
        let read = async {
            let only = id.map(|id| id.0);
            let campaigns = self.pools.rows(CAMPAIGNS, args![only]).await?;
            let trunks = self.pools.rows(TRUNKS, args![only]).await?;
            let trunks = trunks.iter().map(trunk).collect::<Result<Vec<_>, _>>()?;
            let read = campaigns.iter().map(|row| dial_campaign(row, &trunks));
            read.collect::<Result<Vec<_>, DbError>>()
        };
        read.await.map_err(StoreError::DialCampaigns)
    }

    /// Reads the open attempts and logged-in agents of this campaign, and makes every leased contact without an open
    /// attempt ready again, due `now`. One transaction. Call it only when the campaign's dialer starts: it would take
    /// the leased contacts of a running one.
    pub async fn recover(&self, campaign: CampaignId, now: Wall) -> Result<Recovery, StoreError> {
        self.try_recover(campaign, now)
            .await
            .map_err(|source| StoreError::Recover { campaign, source })
    }

    async fn try_recover(&self, campaign: CampaignId, now: Wall) -> Result<Recovery, DbError> {
        let mut tx = self.pools.begin().await?;
        let strays = tx.rows(STRAY_LEASES, args![campaign.0]).await?;
        let strays = strays
            .iter()
            .map(|row| Ok((TaskId(row.get(0)?), ContactId(row.get(1)?), now)))
            .collect::<Result<Vec<_>, DbError>>()?;
        let given_back = make_ready(&mut tx, &strays).await?;
        let running = tx.rows(RUNNING, args![campaign.0]).await?;
        let running = running
            .iter()
            .map(|row| row.get::<i64>(0))
            .collect::<Result<Vec<_>, _>>()?;
        let running: Vec<_> = running.into_iter().map(Arg::from).collect();
        complete_tasks(&mut tx, &running).await?;
        let attempts = tx.rows(OPEN_ATTEMPTS, args![campaign.0]).await?;
        let agents = tx.rows(LOGGED_IN, args![campaign.0]).await?;
        for row in &agents {
            // Nothing can call such a phone or log its agent out.
            if Extension::new(&row.get::<String>(2)?).is_err() {
                tx.run(LOG_OUT, args![row.get::<i64>(0)?, now.0]).await?;
            }
        }
        let mut recovery = Recovery {
            attempts: readable("an open attempt", &attempts, open_attempt)?,
            agents: readable("a logged-in agent", &agents, stored_agent)?,
            given_back,
        };
        for agent in &mut recovery.agents {
            let last = tx.rows(LAST_CALL, args![agent.agent.0, campaign.0]).await?;
            agent.last_call = readable("an agent's last call", &last, last_call)?.pop();
        }
        tx.commit().await?;
        Ok(recovery)
    }

    /// Counts of the ways in which a campaign's answers ended, for each limit of these rules, as far back as the
    /// rules look.
    pub async fn answers(
        &self,
        campaign: CampaignId,
        rules: &[AbandonRule],
        now: Wall,
    ) -> Result<Vec<Answers>, StoreError> {
        let since = rules::history(rules).map_or(0, |history| now.minus(history).0);
        let quarters_from = now.minus(QUARTERS_KEPT).0;
        let limits: BTreeSet<u32> = rules.iter().map(|rule| rule.limit_ms).collect();
        let mut answers = Vec::new();
        let read = async {
            for limit_ms in limits {
                let args = args![campaign.0, since, quarters_from, i64::from(limit_ms)];
                for row in &self.pools.rows(ANSWERS, args).await? {
                    answers.push(answers_of(row, limit_ms)?);
                }
            }
            Ok::<_, DbError>(answers)
        };
        read.await
            .map_err(|source| StoreError::Recover { campaign, source })
    }

    /// Makes leased contacts ready again, due `now`, and frees their numbers. Does not change a contact that is not
    /// leased or that has an open attempt.
    pub async fn give_back(&self, contacts: &[(TaskId, ContactId)], now: Wall) -> Result<(), StoreError> {
        if contacts.is_empty() {
            return Ok(());
        }
        let contacts: Vec<_> = contacts
            .iter()
            .map(|(task, contact)| (*task, *contact, now))
            .collect();
        let give = async {
            let mut tx = self.pools.begin().await?;
            make_ready(&mut tx, &contacts).await?;
            tx.commit().await.map_err(DbError::from)
        };
        give.await.map_err(StoreError::GiveBack)
    }
}

/// Makes leased contacts without an open attempt ready, due at the given times, and frees their numbers. Returns the
/// number of contacts made ready.
pub(super) async fn make_ready(tx: &mut Tx, contacts: &[(TaskId, ContactId, Wall)]) -> Result<u64, DbError> {
    if contacts.is_empty() {
        return Ok(0);
    }
    let mut rows = Vec::with_capacity(contacts.len() * 3);
    for (task, contact, due) in contacts {
        rows.extend_from_slice(args![task.0, contact.0, due.0]);
    }
    lower_next_due(tx, contacts).await?;
    let made = MAKE_READY.run(tx, &rows).await?;
    let freed: Vec<_> = contacts
        .iter()
        .map(|(task, contact, _)| (*task, *contact))
        .collect();
    free_numbers(tx, &freed).await?;
    Ok(made)
}

/// Completes each of these tasks that has no contact left to call. On PostgreSQL it locks the rows first: a statement
/// that waits for a row does not see the contacts that the transaction holding that row has made ready.
pub(super) async fn complete_tasks(tx: &mut Tx, tasks: &[Arg<'_>]) -> Result<(), DbError> {
    if tx.dialect() == Dialect::Postgres {
        LOCK_TASKS.rows(tx, tasks).await?;
    }
    COMPLETE_TASKS.run(tx, tasks).await?;
    Ok(())
}

/// Frees the numbers of contacts that have no open attempt.
pub(super) async fn free_numbers(tx: &mut Tx, contacts: &[(TaskId, ContactId)]) -> Result<(), DbError> {
    let mut keys = Vec::with_capacity(contacts.len() * 2);
    for (task, contact) in contacts {
        keys.extend_from_slice(args![task.0, contact.0]);
    }
    FREE_NUMBERS.run(tx, &keys).await?;
    Ok(())
}

/// Notes that these contacts are due at the given times. Call it before the transaction changes a contact or a
/// number: every transaction locks tasks first, so that no two wait for each other.
pub(super) async fn lower_next_due(
    tx: &mut Tx,
    contacts: &[(TaskId, ContactId, Wall)],
) -> Result<(), DbError> {
    let mut tasks: Vec<(TaskId, Wall)> = contacts.iter().map(|(task, _, due)| (*task, *due)).collect();
    tasks.sort_unstable();
    tasks.dedup_by_key(|(task, _)| *task); // keeps the earliest of each
    if tx.dialect() == Dialect::Postgres {
        let ids: Vec<Arg<'_>> = tasks.iter().map(|(task, _)| Arg::from(task.0)).collect();
        LOCK_TASKS.rows(tx, &ids).await?;
    }
    let mut rows = Vec::with_capacity(tasks.len() * 2);
    for (task, due) in &tasks {
        rows.extend_from_slice(args![task.0, due.0]);
    }
    LOWER_NEXT_DUE.run(tx, &rows).await?;
    let mut rows = Vec::with_capacity(contacts.len() * 3);
    for (task, contact, due) in contacts {
        rows.extend_from_slice(args![task.0, contact.0, due.0]);
    }
    LOWER_BUCKETS.run(tx, &rows).await?;
    Ok(())
}

/// A row that cannot be read is a campaign with a fault, so that it does not stop the others.
fn dial_campaign(row: &Row, trunks: &[(CampaignId, TrunkRow)]) -> Result<DialCampaign, DbError> {
    let id = CampaignId(row.get(0)?);
    let (settings, mut fault) = match row.get::<String>(3) {
        Ok(text) => read_settings(&text),
        Err(error) if error.kind == DbErrorKind::Decode => read_settings(""),
        Err(error) => return Err(error),
    };
    let state = row.word(2).or_else(|error| {
        if error.kind != DbErrorKind::Decode {
            return Err(error);
        }
        let unknown = "this version does not know its state in the store: install the version that wrote it";
        fault.get_or_insert_with(|| unknown.to_owned());
        Ok(CampaignState::Paused)
    })?;
    let trunks = trunks
        .iter()
        .filter(|(of, _)| *of == id)
        .map(|(_, trunk)| trunk.clone())
        .collect();
    Ok(DialCampaign {
        id,
        name: row.get(1)?,
        state,
        settings,
        fault,
        trunks,
    })
}

fn trunk(row: &Row) -> Result<(CampaignId, TrunkRow), DbError> {
    let trunk = TrunkRow {
        id: TrunkId(row.get(1)?),
        name: row.get(5)?,
        pbx: PbxName::new(&row.get::<String>(2)?),
        dial: row.get(3)?,
        caller_id: row.get(4)?,
    };
    Ok((CampaignId(row.get(0)?), trunk))
}

/// Converts the rows that can be read. Logs the others, which must not stop the start.
fn readable<T>(
    what: &'static str,
    rows: &[Row],
    read: fn(&Row) -> Result<T, DbError>,
) -> Result<Vec<T>, DbError> {
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        match read(row) {
            Ok(value) => all.push(value),
            Err(err) if err.kind == DbErrorKind::Decode => {
                error!(error = %err, "{what} of the last run cannot be read and is ignored");
            }
            Err(err) => return Err(err),
        }
    }
    Ok(all)
}

fn open_attempt(row: &Row) -> Result<OpenAttempt, DbError> {
    let connected_at = row.get::<Option<i64>>(11)?.map(Wall);
    let agent = row.get::<Option<i64>>(12)?.map(AgentId);
    Ok(OpenAttempt {
        attempt: AttemptId(row.get(0)?),
        leg: LegId(row.get(1)?),
        pbx: PbxName::new(&row.get::<String>(2)?),
        trunk: TrunkId(row.get(3)?),
        leg_end: leg_end(row)?,
        lead: Lead {
            contact: ContactId(row.get(4)?),
            task: TaskId(row.get(5)?),
            number: row.number(6)?,
            attempts_made: row.count(7)?.saturating_sub(1),
            tries_made: row.count(13)?,
            retries_max: row.count(8)?,
        },
        created_at: Wall(row.get(9)?),
        answered_at: row.get::<Option<i64>>(10)?.map(Wall),
        abandoned_at: row.get::<Option<i64>>(14)?.map(Wall),
        connected: connected_at.zip(agent),
    })
}

/// The end of an open attempt's newest leg; `None` if the leg has not ended.
fn leg_end(row: &Row) -> Result<Option<(Wall, LegEnd)>, DbError> {
    let ended = row.get::<Option<i64>>(15)?.zip(row.maybe_word::<EndedBy>(16)?);
    let Some((at, by)) = ended else { return Ok(None) };
    let end = LegEnd {
        by,
        q850: code(row, 17)?,
        sip: code(row, 18)?,
        progressed: row.maybe_word::<Progress>(19)?.is_some(),
        answered: row.get::<Option<i64>>(20)?.is_some(),
        detail: row.get::<Option<String>>(21)?.unwrap_or_default(),
    };
    Ok(Some((Wall(at), end)))
}

fn answers_of(row: &Row, limit_ms: u32) -> Result<Answers, DbError> {
    let count = |column| Ok::<_, DbError>(u64::try_from(row.get::<i64>(column)?).unwrap_or(0));
    Ok(Answers {
        from: Wall(row.get::<i64>(0)?.saturating_mul(rules::QUARTER_MS)),
        limit_ms,
        tally: Tally {
            connected: count(1)?,
            connected_late: count(2)?,
            abandoned: count(3)?,
            hung_up: count(4)?,
            hung_up_late: count(5)?,
        },
    })
}

fn stored_agent(row: &Row) -> Result<StoredAgent, DbError> {
    Ok(StoredAgent {
        agent: AgentId(row.get(0)?),
        pbx: PbxName::new(&row.get::<String>(1)?),
        extension: Extension::new(&row.get::<String>(2)?).map_err(|_| DbError::decode("extension"))?,
        leg: row.get::<Option<uuid::Uuid>>(3)?.map(AgentLegId),
        wants: row.word(4)?,
        state: row.word(5)?,
        last_call: None,
    })
}

fn last_call(row: &Row) -> Result<LastCall, DbError> {
    Ok(LastCall {
        attempt: AttemptId(row.get(0)?),
        ended_at: Wall(row.get(1)?),
    })
}
