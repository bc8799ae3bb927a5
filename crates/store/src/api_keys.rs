//! API keys. The store keeps only a salted hash of each. The API makes and checks it.

use super::Store;
use super::db::{Row, args};
use super::error::{DbError, Stop, StoreError};
use super::select::Select;
use paceline_core::ids::AgentId;
use paceline_core::time::Wall;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The rights of a key. Each role includes the roles before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Read everything except keys.
    Read,
    /// Also log one agent in and out, and set the dispositions of that agent's calls.
    Agent,
    /// Also change everything, including keys.
    Write,
}

/// The text is not a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown role: use one of read, agent, write")]
pub struct UnknownRole;

/// A key to be stored.
#[derive(Clone, Copy, Debug)]
pub struct NewApiKey<'a> {
    /// The name of the key's user or purpose, which is unique.
    pub name: &'a str,
    /// Salt of the hash.
    pub salt: &'a [u8],
    /// HMAC-SHA256 of the secret under the salt.
    pub token_hmac: &'a [u8],
    /// The rights of the key.
    pub role: Role,
    /// The one agent that a key of the role `agent` acts for.
    pub agent: Option<AgentId>,
    /// True if the key may see telephone numbers in full.
    pub sees_numbers: bool,
    /// The time of creation.
    pub created_at: Wall,
}

/// A key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyRow {
    /// Its id.
    pub id: i64,
    /// The name of the key's user or purpose.
    pub name: String,
    /// Salt of the hash.
    pub salt: Vec<u8>,
    /// HMAC-SHA256 of the secret under the salt.
    pub token_hmac: Vec<u8>,
    /// The rights of the key.
    pub role: Role,
    /// The one agent that a key of the role `agent` acts for.
    pub agent: Option<AgentId>,
    /// True if the key may see telephone numbers in full.
    pub sees_numbers: bool,
    /// The time of creation.
    pub created_at: Wall,
    /// The time of revocation; `None` if the key is valid.
    pub revoked_at: Option<Wall>,
}

const COLUMNS: &str = "SELECT id, name, salt, token_hmac, role, sees_numbers, created_at_ms, revoked_at_ms, agent_id \
    FROM api_keys WHERE 1 = 1";

impl Store {
    /// Stores a key. Fails with [`StoreError::Taken`] if a key has this name, even a revoked one.
    pub async fn create_api_key(&self, new: &NewApiKey<'_>) -> Result<ApiKeyRow, StoreError> {
        let sql = "INSERT INTO api_keys (name, salt, token_hmac, role, sees_numbers, created_at_ms, agent_id) \
            VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id";
        let id = self
            .write("create an API key", async |tx| {
                let (role, at, agent) = (new.role.as_str(), new.created_at.0, new.agent.map(|id| id.0));
                let row = tx
                    .one(
                        sql,
                        args![
                            new.name,
                            new.salt,
                            new.token_hmac,
                            role,
                            new.sees_numbers,
                            at,
                            agent
                        ],
                    )
                    .await;
                Ok(row
                    .map_err(|error| Stop::if_unique(error, StoreError::Taken))?
                    .get(0)?)
            })
            .await?;
        Ok(ApiKeyRow {
            id,
            name: new.name.to_owned(),
            salt: new.salt.to_vec(),
            token_hmac: new.token_hmac.to_vec(),
            role: new.role,
            agent: new.agent,
            sees_numbers: new.sees_numbers,
            created_at: new.created_at,
            revoked_at: None,
        })
    }

    /// One key, even a revoked one.
    pub async fn api_key(&self, id: i64) -> Result<Option<ApiKeyRow>, StoreError> {
        let (sql, args) = Select::new(COLUMNS).and("id =", Some(id)).order("id", 1);
        Ok(self.read_all("read an API key", sql, &args, api_key).await?.pop())
    }

    /// Keys in the order of their ids, including revoked ones.
    pub async fn api_keys(&self, after: Option<i64>, limit: i64) -> Result<Vec<ApiKeyRow>, StoreError> {
        let (sql, args) = Select::new(COLUMNS).and("id >", after).order("id", limit);
        self.read_all("list API keys", sql, &args, api_key).await
    }

    /// Revokes a key for good. Returns false if the key does not exist.
    pub async fn revoke_api_key(&self, id: i64, now: Wall) -> Result<bool, StoreError> {
        let sql = "UPDATE api_keys SET revoked_at_ms = coalesce(revoked_at_ms, $2) WHERE id = $1";
        self.write("revoke an API key", async |tx| {
            Ok(tx.run(sql, args![id, now.0]).await? > 0)
        })
        .await
    }
}

fn api_key(row: &Row) -> Result<ApiKeyRow, DbError> {
    Ok(ApiKeyRow {
        id: row.get(0)?,
        name: row.get(1)?,
        salt: row.get(2)?,
        token_hmac: row.get(3)?,
        role: row.word(4)?,
        agent: row.get::<Option<i64>>(8)?.map(AgentId),
        sees_numbers: row.get(5)?,
        created_at: Wall(row.get(6)?),
        revoked_at: row.get::<Option<i64>>(7)?.map(Wall),
    })
}

impl Role {
    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Agent => "agent",
            Role::Write => "write",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;
    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        match text {
            "read" => Ok(Role::Read),
            "agent" => Ok(Role::Agent),
            "write" => Ok(Role::Write),
            _ => Err(UnknownRole),
        }
    }
}
