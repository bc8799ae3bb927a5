//! Campaigns: their settings, state and trunks.

use super::db::{Row, Tx, args};
use super::error::{DbError, Stop, StoreError};
use super::lease::NEVER;
use super::ledger::{self, NewFact};
use super::readable::{Rows, each};
use super::select::Select;
use super::tasks::recheck::look_again;
use super::{Store, query, settings};
use paceline_core::campaign::CampaignState;
use paceline_core::campaign::settings::CampaignSettings;
use paceline_core::ids::{CampaignId, PbxName, TrunkId};
use paceline_core::pacing::Learnt;
use paceline_core::time::Wall;
use paceline_ledger::Kind;
use std::collections::BTreeMap;

/// A campaign.
#[derive(Clone, Debug, PartialEq)]
pub struct CampaignRow {
    /// Its id.
    pub id: CampaignId,
    /// The campaign's name, which is unique.
    pub name: String,
    /// The campaign's state.
    pub state: CampaignState,
    /// The campaign's settings; the defaults if `fault` is set.
    pub settings: CampaignSettings,
    /// The reason why the stored settings cannot be read. While it is set, nothing is dialed; saving the settings
    /// again clears it.
    pub fault: Option<String>,
    /// The campaign's trunks in order of preference.
    pub trunks: Vec<TrunkId>,
    /// The time of creation.
    pub created_at: Wall,
}

/// The result of archiving a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Archiving {
    /// The campaign is archived.
    Done,
    /// The campaign is neither a draft nor paused.
    WrongState,
    /// Calls of the campaign are up, or agents are logged in.
    InUse,
}

/// The open work of a campaign's tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CampaignWork {
    /// Tasks in preparation: their contacts are being added from their lists.
    pub preparing: u64,
    /// Running tasks.
    pub running: u64,
    /// Tasks that wait for their start time.
    pub scheduled: u64,
    /// Paused tasks.
    pub paused: u64,
    /// The earliest start time of a scheduled task; `None` if there is none.
    pub next_start_at: Option<Wall>,
    /// The earliest time at which a contact of a running task may be due. The real time may be later. `None` if none
    /// waits.
    pub next_due_at: Option<Wall>,
    /// Running tasks with contacts that the gate has deferred.
    pub deferred: u64,
    /// The earliest end of these deferrals.
    pub deferred_until: Option<Wall>,
}

const COLUMNS: &str = "SELECT id, name, state, settings, created_at_ms FROM campaigns WHERE 1 = 1";

/// The `WORK` queries count, for one campaign or for each: running tasks and the earliest time of a due contact;
/// scheduled tasks and their earliest start; tasks in preparation; paused tasks; running tasks with deferred contacts
/// and the earliest end of a deferral.
const WORK: &str = "SELECT campaign_id, count(*), min(next_due_at_ms) FROM tasks WHERE state = 'running'";
const WORK_PREPARING: &str =
    "SELECT campaign_id, count(*), min(start_at_ms) FROM tasks WHERE state = 'preparing'";
const WORK_SCHEDULED: &str =
    "SELECT campaign_id, count(*), min(start_at_ms) FROM tasks WHERE state = 'scheduled'";
const WORK_PAUSED: &str = "SELECT campaign_id, count(*), min(start_at_ms) FROM tasks WHERE state = 'paused'";
const WORK_WAITING: &str = "SELECT t.campaign_id, count(DISTINCT t.id), min(b.waits_until_ms) FROM tasks t \
    JOIN task_buckets b ON b.task_id = t.id WHERE t.state = 'running'";

const READ: &str = "read campaigns";

impl Store {
    /// Stores a campaign as a draft. Fails with [`StoreError::Taken`] if the name is in use, and with
    /// [`StoreError::NoTrunk`] for a wrong trunk.
    pub async fn create_campaign(
        &self,
        name: &str,
        settings: &CampaignSettings,
        trunks: &[TrunkId],
        now: Wall,
    ) -> Result<CampaignRow, StoreError> {
        let row = settings::write(settings)?;
        let insert = "INSERT INTO campaigns (name, state, settings, created_at_ms) VALUES ($1, 'draft', $2, $3) RETURNING id";
        let id = self
            .write("create a campaign", async |tx| {
                let id = tx.one(insert, args![name, &row, now.0]).await;
                let id = CampaignId(
                    id.map_err(|error| Stop::if_unique(error, StoreError::Taken))?
                        .get(0)?,
                );
                insert_trunks(tx, id, trunks).await?;
                ledger::record(tx, &[rules(id, settings, now)]).await?;
                Ok(id)
            })
            .await?;
        Ok(CampaignRow {
            id,
            name: name.to_owned(),
            state: CampaignState::Draft,
            settings: settings.clone(),
            fault: None,
            trunks: trunks.to_vec(),
            created_at: now,
        })
    }

    /// Campaigns in the order of their ids.
    pub async fn campaigns(&self, after: Option<i64>, limit: i64) -> Result<Rows<CampaignRow>, StoreError> {
        self.select_campaigns(Select::new(COLUMNS).and("id >", after), limit)
            .await
    }

    /// Every campaign that is not archived.
    pub async fn live_campaigns(&self) -> Result<Rows<CampaignRow>, StoreError> {
        self.select_campaigns(Select::new(COLUMNS).and("state <>", Some("archived")), i64::MAX)
            .await
    }

    /// One campaign.
    pub async fn campaign(&self, id: CampaignId) -> Result<Option<CampaignRow>, StoreError> {
        self.select_campaigns(Select::new(COLUMNS).and("id =", Some(id.0)), 1)
            .await?
            .only()
            .map_err(query(READ))
    }

    /// The campaign with this name; `None` if there is none.
    pub async fn campaign_by_name(&self, name: &str) -> Result<Option<CampaignRow>, StoreError> {
        self.select_campaigns(Select::new(COLUMNS).and("name =", Some(name)), 1)
            .await?
            .only()
            .map_err(query(READ))
    }

    async fn select_campaigns(
        &self,
        select: Select<'_>,
        limit: i64,
    ) -> Result<Rows<CampaignRow>, StoreError> {
        const DOING: &str = READ;
        let (sql, args) = select.order("id", limit);
        let rows = self.read(DOING, sql, &args).await?;
        // One query for one campaign, or one for all: a campaign has few trunks, and there are few campaigns.
        let only = match rows.as_slice() {
            [] => return Ok(Rows::from_iter([])),
            [row] => Some(row.get::<i64>(0).map_err(query(DOING))?),
            _ => None,
        };
        let (sql, args) = Select::new("SELECT campaign_id, trunk_id FROM campaign_trunks WHERE 1 = 1")
            .and("campaign_id =", only)
            .order("campaign_id, position", i64::MAX);
        let mut trunks: BTreeMap<i64, Vec<TrunkId>> = BTreeMap::new();
        for (campaign, trunk) in self
            .read_all(DOING, sql, &args, |row| Ok((row.get(0)?, row.get(1)?)))
            .await?
        {
            trunks.entry(campaign).or_default().push(TrunkId(trunk));
        }
        each(&rows, &mut |row| campaign(row, &mut trunks)).map_err(query(DOING))
    }

    /// Replaces a campaign's settings. Returns false if the campaign does not exist. If the hours or the rules change, the next
    /// lease asks the gate again about contacts that wait.
    pub async fn set_campaign_settings(
        &self,
        id: CampaignId,
        settings: &CampaignSettings,
        now: Wall,
    ) -> Result<bool, StoreError> {
        let written = settings::write(settings)?;
        let read = "SELECT settings FROM campaigns WHERE id = $1";
        let update = "UPDATE campaigns SET settings = $2 WHERE id = $1";
        self.write("change a campaign's settings", async |tx| {
            let rows = tx.rows(read, args![id.0]).await?;
            let Some(row) = rows.first() else { return Ok(false) };
            let before = settings::read(&row.get::<String>(0)?);
            tx.run(update, args![id.0, &written]).await?;
            ledger::record(tx, &[rules(id, settings, now)]).await?;
            let same = |before: &CampaignSettings| {
                before.hours == settings.hours && before.compliance == settings.compliance
            };
            if !before.as_ref().is_ok_and(same) {
                look_again(tx, id, now).await?;
            }
            Ok(true)
        })
        .await
    }

    /// Replaces a campaign's trunks. Fails with [`StoreError::NoTrunk`] for a wrong trunk, or with
    /// [`StoreError::NoCampaign`].
    pub async fn set_campaign_trunks(&self, id: CampaignId, trunks: &[TrunkId]) -> Result<(), StoreError> {
        self.write("change a campaign's trunks", async |tx| {
            if tx
                .rows("SELECT 1 FROM campaigns WHERE id = $1", args![id.0])
                .await?
                .is_empty()
            {
                return Err(StoreError::NoCampaign.into());
            }
            tx.run("DELETE FROM campaign_trunks WHERE campaign_id = $1", args![id.0])
                .await?;
            insert_trunks(tx, id, trunks).await
        })
        .await
    }

    /// Moves a campaign to another state if its state is one of `from`. Returns true if it moved.
    pub async fn move_campaign(
        &self,
        id: CampaignId,
        from: &[CampaignState],
        to: CampaignState,
    ) -> Result<bool, StoreError> {
        self.write("change a campaign's state", async |tx| {
            for from in from {
                let moved = "UPDATE campaigns SET state = $3 WHERE id = $1 AND state = $2";
                if tx.run(moved, args![id.0, from.as_str(), to.as_str()]).await? > 0 {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await
    }

    /// The learnt pacing values of a campaign on each PBX. Values that cannot be read are left out, because pacing
    /// learns them again.
    pub async fn pacing_learnt(&self, id: CampaignId) -> Result<Vec<(PbxName, Learnt)>, StoreError> {
        let sql = "SELECT pbx, learnt FROM pacing_learnt WHERE campaign_id = $1";
        let rows = self
            .read_all("read what pacing has learnt", sql, args![id.0], |row| {
                Ok((row.get::<String>(0)?, row.get::<String>(1)?))
            })
            .await?;
        let readable =
            |(pbx, learnt): (String, String)| Some((PbxName::new(&pbx), serde_json::from_str(&learnt).ok()?));
        Ok(rows.into_iter().filter_map(readable).collect())
    }

    /// Archives a draft or paused campaign that has no call and no logged-in agent.
    pub async fn archive_campaign(&self, id: CampaignId) -> Result<Archiving, StoreError> {
        let archive = "UPDATE campaigns SET state = 'archived' WHERE id = $1 AND state IN ('draft', 'paused') \
            AND NOT EXISTS (SELECT 1 FROM agents WHERE agents.campaign_id = $1) \
            AND NOT EXISTS (SELECT 1 FROM number_leases n JOIN tasks t ON t.id = n.task_id \
              JOIN attempts a ON a.contact_id = n.contact_id AND a.task_id = n.task_id \
              WHERE t.campaign_id = $1 AND a.ended_at_ms IS NULL)";
        let archivable = "SELECT 1 FROM campaigns WHERE id = $1 AND state IN ('draft', 'paused')";
        self.write("archive a campaign", async |tx| {
            if tx.run(archive, args![id.0]).await? > 0 {
                return Ok(Archiving::Done);
            }
            let in_use = !tx.rows(archivable, args![id.0]).await?.is_empty();
            Ok(if in_use {
                Archiving::InUse
            } else {
                Archiving::WrongState
            })
        })
        .await
    }

    /// The open work of a campaign's tasks.
    pub async fn campaign_work(&self, id: CampaignId, now: Wall) -> Result<CampaignWork, StoreError> {
        let mut all = self.works(Some(id), now).await?;
        Ok(all.remove(&id).unwrap_or_default())
    }

    /// The open work of every campaign's tasks. Campaigns without any are left out.
    pub async fn campaign_works(&self, now: Wall) -> Result<BTreeMap<CampaignId, CampaignWork>, StoreError> {
        self.works(None, now).await
    }

    async fn works(
        &self,
        only: Option<CampaignId>,
        now: Wall,
    ) -> Result<BTreeMap<CampaignId, CampaignWork>, StoreError> {
        let only = only.map(|id| id.0);
        let counts = async |select: Select<'_>, column: &'static str| {
            let (sql, args) = select.group(column);
            let read = |row: &Row| {
                Ok((
                    CampaignId(row.get(0)?),
                    row.size(1)?,
                    row.get::<Option<i64>>(2)?.map(Wall),
                ))
            };
            self.read_all("read the work of campaigns", sql, &args, read)
                .await
        };
        let of = |sql| Select::new(sql).and("campaign_id =", only);
        let mut works: BTreeMap<CampaignId, CampaignWork> = BTreeMap::new();
        for (id, n, due) in counts(of(WORK), "campaign_id").await? {
            let work = works.entry(id).or_default();
            (work.running, work.next_due_at) = (n, due.filter(|at| at.0 != NEVER));
        }
        for (id, n, start) in counts(of(WORK_SCHEDULED), "campaign_id").await? {
            let work = works.entry(id).or_default();
            (work.scheduled, work.next_start_at) = (n, start);
        }
        for (id, n, _) in counts(of(WORK_PREPARING), "campaign_id").await? {
            works.entry(id).or_default().preparing = n;
        }
        for (id, n, _) in counts(of(WORK_PAUSED), "campaign_id").await? {
            works.entry(id).or_default().paused = n;
        }
        let waiting = Select::new(WORK_WAITING)
            .and("t.campaign_id =", only)
            .and("b.waits_until_ms >", Some(now.0));
        for (id, n, until) in counts(waiting, "t.campaign_id").await? {
            let work = works.entry(id).or_default();
            (work.deferred, work.deferred_until) = (n, until);
        }
        Ok(works)
    }
}

/// The rules of a campaign, for the ledger.
fn rules(id: CampaignId, settings: &CampaignSettings, now: Wall) -> NewFact<'static> {
    NewFact {
        kind: Kind::RuleChange,
        at: now,
        number: None,
        campaign: Some(id),
        body: serde_json::json!({
            "hours": settings.hours,
            "compliance": settings.compliance,
            "suppression": settings.suppression,
            "pacing": settings.pacing,
        })
        .to_string(),
    }
}

async fn insert_trunks(tx: &mut Tx, id: CampaignId, trunks: &[TrunkId]) -> Result<(), Stop> {
    let insert = "INSERT INTO campaign_trunks (campaign_id, position, trunk_id) \
        SELECT $1, $2, id FROM trunks WHERE id = $3";
    for (index, trunk) in trunks.iter().enumerate() {
        let position = i64::try_from(index).unwrap_or(i64::MAX);
        let inserted = tx.run(insert, args![id.0, position, trunk.0]).await;
        if inserted.map_err(|error| Stop::if_unique(error, StoreError::NoTrunk { index }))? == 0 {
            return Err(StoreError::NoTrunk { index }.into());
        }
    }
    Ok(())
}

fn campaign(row: &Row, trunks: &mut BTreeMap<i64, Vec<TrunkId>>) -> Result<CampaignRow, DbError> {
    let id = row.get::<i64>(0)?;
    let (settings, fault) = read_settings(&row.get::<String>(3)?);
    Ok(CampaignRow {
        id: CampaignId(id),
        name: row.get(1)?,
        state: row.word(2)?,
        settings,
        fault,
        trunks: trunks.remove(&id).unwrap_or_default(),
        created_at: Wall(row.get(4)?),
    })
}

/// Reads the settings of a row. If they cannot be used, returns the defaults and the reason.
pub(super) fn read_settings(row: &str) -> (CampaignSettings, Option<String>) {
    match settings::read(row) {
        Ok(settings) => (settings, None),
        Err(fault) => (CampaignSettings::default(), Some(fault)),
    }
}
