//! `paceline why …`: explains a number from the store, and a task by what the running Paceline says of it.

mod offline;
mod text;

use super::say;
use crate::api::explain;
use crate::config::Config;
use crate::keys;
use crate::store::{Store, StoreMetrics, SuppressionKey};
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;

/// Longest wait for a connection to the running Paceline.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// As long as the API works on a request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);

#[derive(Debug, Subcommand)]
pub(super) enum WhyCommand {
    /// What the gate would say of a number now, with every rule; what it said before; when the number may be called next
    ///
    /// Reads the store. It may run while `serve` runs.
    Number {
        /// The number, such as +12025550123
        number: String,
        /// Ask for this campaign only, also if no contact of it has the number
        #[arg(long, value_name = "ID")]
        campaign: Option<i64>,
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Why nothing, or little, of a task is being dialed: what is in the way, the most important first
    ///
    /// Asks the running Paceline, which needs an API key. If none runs, reads the store.
    Task(TaskArgs),
}

#[derive(Args, Debug)]
pub(super) struct TaskArgs {
    /// Id of the task
    task: i64,
    /// An API key of the running Paceline, of any role
    #[arg(long, env = "PACELINE_API_KEY", hide_env_values = true, value_name = "KEY")]
    key: Option<SecretString>,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(config: &Config, command: WhyCommand) -> anyhow::Result<()> {
    match command {
        WhyCommand::Number {
            number,
            campaign,
            json,
        } => {
            let state = async |store: Store| {
                let state = offline::state(config, store).await?;
                explain::number_as_json(&state, &number, campaign)
                    .await
                    .map_err(told)
            };
            let answer = with_store(config, state).await?;
            show(&answer, json, text::number)
        }
        WhyCommand::Task(args) => {
            let answer = match ask(config, &args).await? {
                Some(answer) => answer,
                None => {
                    let state = async |store: Store| {
                        let state = offline::state(config, store).await?;
                        explain::task_as_json(&state, args.task).await.map_err(told)
                    };
                    with_store(config, state).await?
                }
            };
            show(&answer, args.json, text::task)
        }
    }
}

fn show(answer: &Value, as_json: bool, text: fn(&Value) -> String) -> anyhow::Result<()> {
    if as_json {
        Ok(say(&format!("{answer:#}\n"))?)
    } else {
        Ok(say(&text(answer))?)
    }
}

async fn with_store<T>(
    config: &Config,
    work: impl AsyncFnOnce(Store) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let store = Store::open(config.store.url.expose_secret(), StoreMetrics::default()).await;
    let store = store.with_context(|| format!("cannot open the store `{}`", config.store.shown))?;
    let done = match read_lists(config, &store).await {
        Ok(()) => work(store.clone()).await,
        Err(error) => Err(error),
    };
    store.close().await;
    done
}

async fn read_lists(config: &Config, store: &Store) -> anyhow::Result<()> {
    if !store.suppression_lists().await?.is_empty() {
        let key = SuppressionKey::new(&keys::secret(config, keys::NUMBER_KEY)?);
        store.read_suppression(key).await?;
    }
    Ok(())
}

fn told(problem: crate::api::problem::Problem) -> anyhow::Error {
    match problem.cause() {
        Some(cause) => anyhow::anyhow!("{cause:#}"),
        None => anyhow::anyhow!("{}", problem.sentences()),
    }
}

/// The answer of the running Paceline. `None` if none listens.
async fn ask(config: &Config, args: &TaskArgs) -> anyhow::Result<Option<Value>> {
    let address = reachable(config.listen);
    let connecting = TcpStream::connect(address);
    if !matches!(tokio::time::timeout(CONNECT_TIMEOUT, connecting).await, Ok(Ok(_))) {
        return Ok(None);
    }
    let Some(key) = &args.key else {
        bail!(
            "Paceline runs at {address}, and answers with an API key only: set PACELINE_API_KEY to one that \
             `paceline key create NAME --role read` has made"
        );
    };
    // Another part of the process may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(ANSWER_TIMEOUT)
        .build();
    let client = client.context("cannot make an HTTP client")?;
    let url = format!("http://{address}/api/v1/explain/task/{}", args.task);
    let reply = client.get(url).bearer_auth(key.expose_secret()).send().await;
    let reply = reply.with_context(|| format!("Paceline at {address} does not answer"))?;
    let succeeded = reply.status().is_success();
    let not_ours = || format!("what listens at {address} is not Paceline: check `listen` under [server]");
    let answer: Value = reply.json().await.with_context(not_ours)?;
    match answer.get("detail").and_then(Value::as_str) {
        Some(detail) if !succeeded => bail!("{detail}"),
        _ if succeeded => Ok(Some(answer)),
        _ => bail!("{}", not_ours()),
    }
}

/// An address that can be connected to.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
