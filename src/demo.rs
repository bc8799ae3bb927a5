//! A working day in a minute: a simulated PBX with callees and agents' phones, and the real dialer, store and API. Only the
//! PBX is not what `serve` runs. Input: [`Options`]. Output: a running [`Demo`], then its [`Summary`](summary::Summary).

pub mod summary;

use crate::api::keys;
use crate::app::App;
use crate::clock::Clock;
use crate::config::{Config, Overlay, PbxConfig, PbxKind, StoreConfig};
use crate::import::{self, ContactFile};
use crate::store::{ContactFilter, ImportInto, NewAgent, NewDnc, NewTask, NewTaskContacts, NewTrunk, Role};
use anyhow::{Context as _, bail};
use paceline_core::campaign::hours::CallingHours;
use paceline_core::campaign::settings::CampaignSettings;
use paceline_core::campaign::{CampaignState, TaskState};
use paceline_core::dial::{AgentTemplate, DialRules, Extension, TrunkTemplate};
use paceline_core::gate::{FileError, Rulebook};
use paceline_core::ids::{CampaignId, PbxName, TaskId};
use paceline_core::input::AgentRequest;
use paceline_core::pbx::CallerId;
use paceline_core::suppression::DncSource;
use paceline_core::time::Wall;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// 4,000 fictional contacts.
const CONTACTS: &str = include_str!("../data/demo-contacts.csv");
/// Number of agents.
const AGENTS: u16 = 20;
/// The extension of the first agent.
const EXTENSION_FIRST: u16 = 7001;
/// Every contact at a multiple of this place is on the do-not-call list.
const DNC_EVERY: usize = 100;
const RETRIES_MAX: u32 = 3;
const PBX: &str = "demo";
/// Number of ports that are tried after the requested one.
const PORTS_TRIED: u16 = 20;

/// A running demo.
#[derive(Debug)]
pub struct Demo {
    /// The campaign.
    pub campaign: CampaignId,
    /// The only task.
    pub task: TaskId,
    /// An API key for the user. It does not show telephone numbers.
    pub key: String,
    /// Time when the agents began.
    pub begun_at: Wall,
    wrap_up: Duration,
}

/// Starts the demo in `folder`, with `speed` times real time. If the port of `listen` is in use, a port close to it is
/// used.
pub fn config(folder: &Path, listen: SocketAddr, seed: u64, speed: f64) -> anyhow::Result<Config> {
    let file = folder.join("paceline.db");
    if file.exists() {
        bail!(
            "the folder `{}` already contains a demo: name an empty folder",
            folder.display()
        );
    }
    Ok(Config {
        listen: free(listen)?,
        store: StoreConfig::sqlite(&file),
        // The PBX is simulated, and a user who tries the demo at night should see calls too.
        overlays: vec![loopback()],
        pbxes: vec![PbxConfig {
            name: PbxName::new(PBX),
            agent_dial: AgentTemplate::new("PJSIP/{extension}")?,
            dial_allowed: DialRules::any(),
            kind: PbxKind::Sim { seed, speed },
        }],
        ..Config::default()
    })
}

/// A rule file that switches the rules of the US off, because no call leaves this machine.
fn loopback() -> Overlay {
    Overlay {
        file: "data/loopback-rules.toml".to_owned(),
        text: include_str!("../data/loopback-rules.toml").to_owned(),
    }
}

/// The rules of the demo, and of tests whose PBX is simulated.
pub fn loopback_rules() -> Result<Arc<Rulebook>, FileError> {
    crate::app::rules(&[loopback()])
}

/// The requested address, or the next free port after it.
fn free(wanted: SocketAddr) -> anyhow::Result<SocketAddr> {
    let last = wanted.port().saturating_add(PORTS_TRIED);
    let mut why = None;
    for port in wanted.port()..=last {
        let addr = SocketAddr::new(wanted.ip(), port);
        match std::net::TcpListener::bind(addr) {
            Ok(_) => return Ok(addr),
            Err(err) => why = Some(err),
        }
    }
    let all_taken = format!("cannot listen on {wanted} to port {last}: name another address with --listen");
    Err(why.map_or_else(
        || anyhow::anyhow!(all_taken.clone()),
        |err| anyhow::Error::new(err).context(all_taken.clone()),
    ))
}

impl Demo {
    /// Imports the contacts, sets up a campaign and logs the agents in.
    pub async fn begin(app: &App, clock: Clock) -> anyhow::Result<Self> {
        let now = || clock.now().wall;
        let store = &app.store;
        let mut file = tempfile::tempfile().context("cannot write a temporary file")?;
        file.write_all(CONTACTS.as_bytes())
            .context("cannot write a temporary file")?;
        let file = ContactFile::open(file, import::Settings::default())?;
        let into = ImportInto::NewList("demo contacts".to_owned());
        let report = import::run(store, file, &into, clock, |_| ()).await?;
        let list = report
            .list_id
            .context("the shipped contacts could not be imported")?;
        let unwilling: Vec<_> = store
            .contacts(list, &ContactFilter::default(), None, i64::MAX)
            .await?
            .into_iter()
            .step_by(DNC_EVERY)
            .flat_map(|row| row.contact.numbers)
            .map(|number| number.number)
            .collect();
        store
            .add_dnc(
                &unwilling,
                &NewDnc::new(DncSource::Api, "asked not to be called", now()),
            )
            .await?;

        let trunk = NewTrunk {
            name: "carrier".to_owned(),
            pbx: PbxName::new(PBX),
            dial: TrunkTemplate::new("PJSIP/{number}@carrier")?,
            caller_id: Some(CallerId::new("+12025550100")?),
        };
        let trunk = store.create_trunk(&trunk).await?;
        let settings = CampaignSettings {
            hours: CallingHours::always(),
            ..CampaignSettings::default()
        };
        let campaign = store
            .create_campaign("demo", &settings, &[trunk.id], now())
            .await?
            .id;
        store
            .move_campaign(campaign, &[CampaignState::Draft], CampaignState::Active)
            .await?;
        app.dialer.campaign_changed(campaign).await;

        let task = NewTask {
            campaign,
            name: "demo task".to_owned(),
            state: TaskState::Running,
            start_at: now(),
            retries_max: RETRIES_MAX,
            contacts: NewTaskContacts::List(list),
            idempotency: None,
        };
        let task = store.create_tasks(&[task], now()).await?.pop();
        let (task, _) = task.context("the store made no task")?;
        // Nobody waits for the job.
        store.prepare_tasks(now()).await?;
        app.dialer.task_changed(campaign, task.id).await;

        let wanted = keys::NewKey {
            name: "demo",
            role: Role::Write,
            agent: None,
            sees_numbers: false,
        };
        let key = keys::create(store, &wanted, now()).await?;
        let begun_at = now();
        for n in 0..AGENTS {
            let extension = Extension::new(&(EXTENSION_FIRST + n).to_string())?;
            let agent = NewAgent {
                name: format!("Agent {:02}", n + 1),
                pbx: PbxName::new(PBX),
                extension: extension.clone(),
            };
            let agent = store.create_agent(&agent, now()).await?;
            let request = AgentRequest::LogIn {
                pbx: PbxName::new(PBX),
                template: AgentTemplate::new("PJSIP/{extension}")?,
                extension,
            };
            app.dialer.agent(campaign, agent.id, request).await?;
            app.dialer.agent(campaign, agent.id, AgentRequest::Ready).await?;
        }
        Ok(Self {
            campaign,
            task: task.id,
            key,
            begun_at,
            wrap_up: Duration::from_millis(settings.agents.wrap_up_ms),
        })
    }
}
