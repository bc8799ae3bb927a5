//! `paceline key …`: manages API keys on the machine with the store. The API can do the same, but it needs a first key.

use super::say;
use crate::api::keys;
use crate::clock::Clock;
use crate::config::Config;
use crate::store::{ApiKeyRow, Role, Store, StoreMetrics};
use anyhow::{Context as _, bail};
use clap::Subcommand;
use jiff::Timestamp;
use paceline_core::ids::AgentId;
use paceline_core::time::Wall;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

/// Number of keys read at once.
const PAGE: i64 = 200;

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Create a key and print it once. Only a salted hash of it is stored
    Create {
        /// Name of the key, for example of the program or person that uses it. It must be unique
        name: String,
        /// Rights of the key: `read` reads everything; `agent` also logs one agent in and out and sets that agent's
        /// dispositions; `write` also changes everything
        #[arg(long, value_name = "read|agent|write")]
        role: Role,
        /// Id of the agent of a key with the role `agent`
        #[arg(long, value_name = "ID", required_if_eq("role", "agent"))]
        agent: Option<i64>,
        /// Show telephone numbers in full. Without this only the last two digits are shown
        #[arg(long)]
        sees_numbers: bool,
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// List all keys, including revoked ones
    List {
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke a key at once and for ever
    Revoke {
        /// Name of the key
        name: String,
    },
}

pub(super) async fn run(config: &Config, command: KeyCommand) -> anyhow::Result<()> {
    let store = Store::open(config.store.url.expose_secret(), StoreMetrics::default()).await;
    let store = store.with_context(|| format!("cannot open the store `{}`", config.store.shown))?;
    let done = work(config, &store, command).await;
    store.close().await;
    done
}

async fn work(config: &Config, store: &Store, command: KeyCommand) -> anyhow::Result<()> {
    let now = Clock::real().now().wall;
    let told = match command {
        KeyCommand::Create {
            name,
            role,
            agent,
            sees_numbers,
            json,
        } => {
            let wanted = keys::NewKey {
                name: &name,
                role,
                agent: agent.map(AgentId),
                sees_numbers,
            };
            let key = keys::create(store, &wanted, now).await?;
            if json {
                format!("{}\n", json!({"name": name, "role": role, "key": key}))
            } else {
                format!(
                    "{key}\n\nSave it now, because it cannot be shown again. Send it with every request:\n  \
                     curl -H 'Authorization: Bearer {key}' http://{}/api/v1/campaigns\n",
                    config.listen
                )
            }
        }
        KeyCommand::List { json } => {
            let rows = all(store).await?;
            if json {
                format!("{:#}\n", Value::Array(rows.iter().map(as_json).collect()))
            } else {
                table(&rows)
            }
        }
        KeyCommand::Revoke { name } => {
            let rows = all(store).await?;
            let Some(row) = rows.iter().find(|row| row.name == name) else {
                bail!("there is no key `{name}`: `paceline key list` lists all keys");
            };
            store.revoke_api_key(row.id, now).await?;
            format!("the key `{name}` is revoked\n")
        }
    };
    Ok(say(&told)?)
}

async fn all(store: &Store) -> anyhow::Result<Vec<ApiKeyRow>> {
    let mut rows: Vec<ApiKeyRow> = Vec::new();
    loop {
        let page = store.api_keys(rows.last().map(|row| row.id), PAGE).await?;
        if page.is_empty() {
            return Ok(rows);
        }
        rows.extend(page);
    }
}

fn as_json(row: &ApiKeyRow) -> Value {
    json!({
        "id": row.id,
        "name": row.name,
        "role": row.role,
        "agent_id": row.agent.map(|id| id.0),
        "sees_numbers": row.sees_numbers,
        "created_at": utc(row.created_at),
        "revoked_at": row.revoked_at.map(utc),
    })
}

fn table(rows: &[ApiKeyRow]) -> String {
    if rows.is_empty() {
        return "there is no key yet: create one with `paceline key create NAME --role write`\n".to_owned();
    }
    let width = rows
        .iter()
        .map(|row| row.name.chars().count())
        .max()
        .unwrap_or(0)
        .max(4);
    let mut text = format!("{:<width$}  role   numbers  made\n", "name");
    for row in rows {
        let numbers = if row.sees_numbers { "in full" } else { "masked" };
        let made = utc(row.created_at);
        let revoked = row
            .revoked_at
            .map_or(String::new(), |at| format!("  revoked {}", utc(at)));
        text.push_str(&format!(
            "{:<width$}  {:<5}  {numbers:<7}  {made}{revoked}\n",
            row.name,
            row.role.as_str()
        ));
    }
    text
}

/// Time to the second, such as `2026-11-20T15:00:00Z`.
fn utc(at: Wall) -> String {
    Timestamp::from_second(at.0.div_euclid(1000)).map_or_else(|_| at.0.to_string(), |at| at.to_string())
}
