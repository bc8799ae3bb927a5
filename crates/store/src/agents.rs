//! Agents as configured by users. The dialer changes their states, through the [`super::Writer`].

use super::Store;
use super::db::{Row, args};
use super::error::{DbError, Deleted, Stop, StoreError};
use super::readable::Rows;
use super::select::Select;
use paceline_core::agent::{AgentReason, AgentState, Wants};
use paceline_core::dial::Extension;
use paceline_core::ids::{AgentId, AgentLegId, CampaignId, PbxName};
use paceline_core::time::Wall;

/// An agent to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAgent {
    /// The agent's name, which is unique.
    pub name: String,
    /// The configured PBX that the phone is on.
    pub pbx: PbxName,
    /// The phone's extension, which is unique per PBX.
    pub extension: Extension,
}

/// An agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentRow {
    /// The agent's id.
    pub id: AgentId,
    /// The agent's name.
    pub name: String,
    /// The configured PBX that the phone is on.
    pub pbx: PbxName,
    /// The phone's extension as stored. If another program wrote it, it may not be a valid [`Extension`].
    pub extension: String,
    /// The last stored state.
    pub state: AgentState,
    /// The reason of the last stored state.
    pub reason: AgentReason,
    /// Start of this state, Unix time in milliseconds.
    pub state_at: Wall,
    /// The campaign that the agent is logged in to; `None` if offline.
    pub campaign: Option<CampaignId>,
    /// The ringing or held leg; `None` if there is none.
    pub leg: Option<AgentLegId>,
    /// The agent's request, which takes effect after the present call.
    pub wants: Wants,
}

const COLUMNS: &str = "SELECT id, name, pbx, extension, state, state_at_ms, campaign_id, leg_id, wants, state_reason \
    FROM agents WHERE 1 = 1";

impl Store {
    /// Stores an agent, offline. Fails with [`StoreError::Taken`] if the name, or the extension on this PBX, is in
    /// use.
    pub async fn create_agent(&self, new: &NewAgent, now: Wall) -> Result<AgentRow, StoreError> {
        let sql = "INSERT INTO agents (name, pbx, extension, state, state_reason, state_at_ms) \
            VALUES ($1, $2, $3, 'offline', $4, $5) RETURNING id";
        let reason = AgentReason::NeverLoggedIn;
        let id = self
            .write("create an agent", async |tx| {
                let args = args![
                    &new.name,
                    new.pbx.as_str(),
                    new.extension.as_str(),
                    reason.as_str(),
                    now.0
                ];
                let row = tx
                    .one(sql, args)
                    .await
                    .map_err(|error| Stop::if_unique(error, StoreError::Taken))?;
                Ok(AgentId(row.get(0)?))
            })
            .await?;
        Ok(AgentRow {
            id,
            name: new.name.clone(),
            pbx: new.pbx.clone(),
            extension: new.extension.as_str().to_owned(),
            state: AgentState::Offline,
            reason,
            state_at: now,
            campaign: None,
            leg: None,
            wants: Wants::Calls,
        })
    }

    /// Agents in the order of their ids.
    pub async fn agents(&self, after: Option<AgentId>, limit: i64) -> Result<Rows<AgentRow>, StoreError> {
        let (sql, args) = Select::new(COLUMNS)
            .and("id >", after.map(|id| id.0))
            .order("id", limit);
        self.read_each("list agents", sql, &args, agent).await
    }

    /// One agent.
    pub async fn agent(&self, id: AgentId) -> Result<Option<AgentRow>, StoreError> {
        let (sql, args) = Select::new(COLUMNS).and("id =", Some(id.0)).order("id", 1);
        Ok(self.read_all("read an agent", sql, &args, agent).await?.pop())
    }

    /// Replaces an agent; `None` if no offline agent has this id. [`StoreError::Taken`] as in
    /// [`Store::create_agent`].
    pub async fn replace_agent(&self, id: AgentId, new: &NewAgent) -> Result<Option<AgentRow>, StoreError> {
        let sql = "UPDATE agents SET name = $2, pbx = $3, extension = $4 WHERE id = $1 AND state = 'offline'";
        let changed = self
            .write("change an agent", async |tx| {
                let args = args![id.0, &new.name, new.pbx.as_str(), new.extension.as_str()];
                tx.run(sql, args)
                    .await
                    .map_err(|error| Stop::if_unique(error, StoreError::Taken))
            })
            .await?;
        if changed == 0 {
            Ok(None)
        } else {
            self.agent(id).await
        }
    }

    /// Deletes an agent that is offline. Records of calls keep the id.
    pub async fn delete_agent(&self, id: AgentId) -> Result<Deleted, StoreError> {
        self.write("delete an agent", async |tx| {
            let deleted = tx
                .run(
                    "DELETE FROM agents WHERE id = $1 AND state = 'offline'",
                    args![id.0],
                )
                .await?;
            if deleted > 0 {
                return Ok(Deleted::Done);
            }
            let there = tx.rows("SELECT 1 FROM agents WHERE id = $1", args![id.0]).await?;
            Ok(if there.is_empty() {
                Deleted::Missing
            } else {
                Deleted::InUse
            })
        })
        .await
    }
}

fn agent(row: &Row) -> Result<AgentRow, DbError> {
    Ok(AgentRow {
        id: AgentId(row.get(0)?),
        name: row.get(1)?,
        pbx: PbxName::new(&row.get::<String>(2)?),
        extension: row.get(3)?,
        state: row.word(4)?,
        state_at: Wall(row.get(5)?),
        campaign: row.get::<Option<i64>>(6)?.map(CampaignId),
        leg: row.get::<Option<uuid::Uuid>>(7)?.map(AgentLegId),
        wants: row.word(8)?,
        reason: row.word(9)?,
    })
}
