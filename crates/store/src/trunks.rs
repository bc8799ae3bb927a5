//! Trunks.

use super::Store;
use super::db::{Row, args};
use super::error::{DbError, DbErrorKind, Deleted, Stop, StoreError};
use super::readable::Rows;
use super::select::Select;
use paceline_core::dial::{DialRules, NotAllowed, TemplateError, TrunkTemplate};
use paceline_core::ids::{CampaignId, PbxName, TrunkId};
use paceline_core::pbx::{CallerId, CallerIdError};

/// A trunk to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTrunk {
    /// The trunk's name, which is unique.
    pub name: String,
    /// The configured PBX that has it.
    pub pbx: PbxName,
    /// The template of its dial string.
    pub dial: TrunkTemplate,
    /// The caller id that callees see; `None` if the trunk sets none.
    pub caller_id: Option<CallerId>,
}

/// A trunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkRow {
    /// Its id.
    pub id: TrunkId,
    /// Its name.
    pub name: String,
    /// The configured PBX that has it.
    pub pbx: PbxName,
    /// Its dial string as stored, not checked; see [`TrunkRow::way_out`].
    pub dial: String,
    /// The caller id that callees see, as stored, not checked.
    pub caller_id: Option<String>,
}

/// The checked dial string and caller id of a trunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WayOut {
    /// Its dial string.
    pub dial: TrunkTemplate,
    /// The caller id that callees see; `None` if the trunk sets none.
    pub caller_id: Option<CallerId>,
}

/// The trunk cannot be used as stored, because another program or an earlier version wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrunkFault {
    /// The dial string is not valid.
    #[error("its dial string cannot be used: {0}")]
    Dial(TemplateError),
    /// The caller id is not valid.
    #[error("its caller id cannot be used: {0}")]
    CallerId(CallerIdError),
    /// The dial string leads to a destination that is not allowed.
    #[error("its dial string is not allowed: {0}")]
    NotAllowed(NotAllowed),
}

impl TrunkRow {
    /// The checked dial string and caller id, if the rules allow them.
    ///
    /// # Errors
    ///
    /// [`TrunkFault`] with the part that cannot be used.
    pub fn way_out(&self, rules: &DialRules) -> Result<WayOut, TrunkFault> {
        let dial = TrunkTemplate::new(&self.dial).map_err(TrunkFault::Dial)?;
        let caller_id = self.caller_id.as_deref().map(CallerId::new).transpose();
        let caller_id = caller_id.map_err(TrunkFault::CallerId)?;
        rules.permit(&dial).map_err(TrunkFault::NotAllowed)?;
        Ok(WayOut { dial, caller_id })
    }
}

impl Store {
    /// Stores a trunk. Fails with [`StoreError::Taken`] if the name is in use.
    pub async fn create_trunk(&self, new: &NewTrunk) -> Result<TrunkRow, StoreError> {
        let sql = "INSERT INTO trunks (name, pbx, dial, caller_id) VALUES ($1, $2, $3, $4) RETURNING id";
        let id = self
            .write("create a trunk", async |tx| {
                let args = args![
                    &new.name,
                    new.pbx.as_str(),
                    new.dial.as_str(),
                    new.caller_id.as_ref().map(CallerId::as_str)
                ];
                let row = tx
                    .one(sql, args)
                    .await
                    .map_err(|error| Stop::if_unique(error, StoreError::Taken))?;
                Ok(TrunkId(row.get(0)?))
            })
            .await?;
        Ok(trunk_row(id, new))
    }

    /// Trunks in the order of their ids.
    pub async fn trunks(&self, after: Option<i64>, limit: i64) -> Result<Rows<TrunkRow>, StoreError> {
        self.select_trunks("id >", after, limit).await
    }

    /// One trunk.
    pub async fn trunk(&self, id: TrunkId) -> Result<Option<TrunkRow>, StoreError> {
        let only = self.select_trunks("id =", Some(id.0), 1).await?.only();
        only.map_err(super::query("read a trunk"))
    }

    async fn select_trunks(
        &self,
        condition: &'static str,
        value: Option<i64>,
        limit: i64,
    ) -> Result<Rows<TrunkRow>, StoreError> {
        let (sql, args) = Select::new("SELECT id, name, pbx, dial, caller_id FROM trunks WHERE 1 = 1")
            .and(condition, value)
            .order("id", limit);
        self.read_each("read trunks", sql, &args, trunk).await
    }

    /// Replaces a trunk; `None` if it does not exist. Fails with [`StoreError::Taken`] if the name is in use.
    pub async fn replace_trunk(&self, id: TrunkId, new: &NewTrunk) -> Result<Option<TrunkRow>, StoreError> {
        let sql = "UPDATE trunks SET name = $2, pbx = $3, dial = $4, caller_id = $5 WHERE id = $1";
        let changed = self
            .write("change a trunk", async |tx| {
                let (dial, caller_id) = (new.dial.as_str(), new.caller_id.as_ref().map(CallerId::as_str));
                let changed = tx
                    .run(sql, args![id.0, &new.name, new.pbx.as_str(), dial, caller_id])
                    .await;
                changed.map_err(|error| Stop::if_unique(error, StoreError::Taken))
            })
            .await?;
        Ok((changed > 0).then(|| trunk_row(id, new)))
    }

    /// Deletes a trunk that no campaign uses. Records of its calls keep its id.
    pub async fn delete_trunk(&self, id: TrunkId) -> Result<Deleted, StoreError> {
        self.write("delete a trunk", async |tx| {
            match tx.run("DELETE FROM trunks WHERE id = $1", args![id.0]).await {
                Ok(0) => Ok(Deleted::Missing),
                Ok(_) => Ok(Deleted::Done),
                Err(error) if error.kind == DbErrorKind::ForeignKey => Ok(Deleted::InUse),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }

    /// The campaigns that use this trunk.
    pub async fn campaigns_of_trunk(&self, id: TrunkId) -> Result<Vec<CampaignId>, StoreError> {
        let sql = "SELECT campaign_id FROM campaign_trunks WHERE trunk_id = $1 ORDER BY campaign_id";
        self.read_all("read a trunk's campaigns", sql, args![id.0], |row| {
            Ok(CampaignId(row.get(0)?))
        })
        .await
    }
}

fn trunk_row(id: TrunkId, new: &NewTrunk) -> TrunkRow {
    TrunkRow {
        id,
        name: new.name.clone(),
        pbx: new.pbx.clone(),
        dial: new.dial.as_str().to_owned(),
        caller_id: new.caller_id.clone().map(String::from),
    }
}

fn trunk(row: &Row) -> Result<TrunkRow, DbError> {
    Ok(TrunkRow {
        id: TrunkId(row.get(0)?),
        name: row.get(1)?,
        pbx: PbxName::new(&row.get::<String>(2)?),
        dial: row.get(3)?,
        caller_id: row.get(4)?,
    })
}
