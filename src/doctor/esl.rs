//! Reads the facts of a FreeSWITCH over its Event Socket. Input: its address, and the trunks and agents to check.
//! Output: [`Facts`], without a judgement. It only asks: it sets nothing, loads nothing and places no call.

mod output;

pub(super) use output::{Target, parameters, target_of};

use super::sounds::Presence;
use super::{Endpoint, Member, Queue, Records, Wanted, Watch};
use crate::clock::Clock;
use crate::config::{PbxConfig, PbxKind};
use crate::pbx::esl::{Connection, ConnectionError, EslConfig, sound_file};
use output::{
    SofiaLine, cell, codec_list, codec_names, field, media_timeout, profile_of, room, sofia_line, table,
};
use paceline_core::pbx::Sound;
use paceline_esl::argument;
use secrecy::ExposeSecret as _;
use std::collections::{BTreeMap, BTreeSet};

/// Maximum number of users that are looked up. Each takes several requests.
const USERS_ASKED_MAX: usize = 200;
/// The modules whose presence is checked.
const MODULES: [&str; 6] = [
    "mod_callcenter",
    "mod_commands",
    "mod_dptools",
    "mod_loopback",
    "mod_sndfile",
    "mod_sofia",
];

/// The access to a FreeSWITCH.
pub(super) struct Esl {
    config: EslConfig,
}

/// The result of the connection to the Event Socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// It answers.
    Open,
    /// Nothing listens there.
    NoServer,
    /// Its access list refuses us.
    Rejected,
    /// It does not know this password.
    BadPassword,
    /// Something else listens there.
    NotEventSocket,
    /// It does not answer in time, or the connection breaks.
    Mute,
    /// It has no API commands.
    NoCommands,
}

/// The channels in use, and the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) channels_max: u64,
    pub(super) channels: u64,
    /// The configured limit of new channels per second. FreeSWITCH makes one less than this.
    pub(super) per_second_max: u64,
}

/// The folder of recordings, and the result of its check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Folder {
    /// Recordings can be written there.
    Writable(String),
    /// Recordings cannot be written there.
    Closed(String),
    /// Its name is not a plain path, so the driver refuses it.
    Odd(String),
    /// FreeSWITCH does not tell.
    Unknown(String),
}

/// The settings of event_socket.conf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SocketSettings {
    /// All settings except the password.
    pub(super) parameters: BTreeMap<String, String>,
    /// True if the password is empty or FreeSWITCH's well-known default.
    pub(super) password_known: bool,
    /// True if the password is the one in our configuration.
    pub(super) password_ours: bool,
}

/// The facts that the FreeSWITCH reports.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) reach: Reach,
    pub(super) version: Option<String>,
    /// The time of the PBX's clock minus ours, in seconds.
    pub(super) clock_ahead_s: Option<i64>,
    /// True if outbound calls are paused there (`fsctl pause_check outbound`).
    pub(super) paused: bool,
    pub(super) room: Option<Room>,
    /// Those of [`MODULES`] that are loaded.
    pub(super) modules: BTreeSet<&'static str>,
    /// The loaded codecs, as FreeSWITCH names them: `G.711 ulaw`.
    pub(super) codecs: Vec<String>,
    /// Gateways, profiles, and the users that matter.
    pub(super) endpoints: Vec<Endpoint>,
    /// Contexts that dial strings lead to and that are in FreeSWITCH's own dialplan.
    pub(super) contexts: BTreeSet<String>,
    /// The domain of users whose dial string names no domain: the global variable `domain`.
    pub(super) domain: String,
    pub(super) recordings: Folder,
    pub(super) socket: Option<SocketSettings>,
    /// One for each wanted sound, in their order.
    pub(super) sounds: Vec<Presence>,
    /// `None`: mod_callcenter is not loaded.
    pub(super) queues: Option<Vec<Queue>>,
}

impl Facts {
    fn unreached(reach: Reach) -> Self {
        Self {
            reach,
            version: None,
            clock_ahead_s: None,
            paused: false,
            room: None,
            modules: BTreeSet::new(),
            codecs: Vec::new(),
            endpoints: Vec::new(),
            contexts: BTreeSet::new(),
            domain: String::new(),
            recordings: Folder::Unknown(String::new()),
            socket: None,
            sounds: Vec::new(),
            queues: None,
        }
    }

    /// The endpoint's name that a dial string leads to, as it stands among [`Facts::endpoints`].
    pub(super) fn endpoint_name(&self, dial: &str) -> Option<String> {
        match target_of(dial) {
            Target::Gateway(gateway) => Some(format!("sofia/gateway/{gateway}")),
            Target::Profile(profile) => Some(format!("sofia/{profile}")),
            Target::User(user, domain) => Some(format!("user/{user}@{}", domain.unwrap_or(&self.domain))),
            Target::Context(_) | Target::Other => None,
        }
    }
}

impl Esl {
    /// `None`: it is another kind of PBX.
    pub(super) fn of(pbx: &PbxConfig) -> Option<Self> {
        let PbxKind::Esl {
            address,
            password,
            app,
        } = &pbx.kind
        else {
            return None;
        };
        Some(Self {
            config: EslConfig {
                name: pbx.name.clone(),
                address: address.clone(),
                password: password.clone(),
                app: app.clone(),
                // The driver's alone; a doctor drives nothing.
                installation: uuid::Uuid::nil(),
            },
        })
    }

    /// The configured address, with the port.
    pub(super) fn address(&self) -> &str {
        &self.config.address
    }

    pub(super) async fn connect(&self) -> Result<Connection, ConnectionError> {
        Connection::open(&self.config).await
    }

    /// Checks each sound. The results have the order of the sounds.
    pub(super) async fn presence(&self, sounds: &[Sound]) -> Vec<Presence> {
        let asked = async {
            let connection = self.connect().await?;
            Asking { connection }.sounds(sounds).await
        };
        let told: Result<_, ConnectionError> = asked.await;
        told.unwrap_or_else(|err| vec![Presence::Unknown(err.to_string()); sounds.len()])
    }

    /// Reads all facts.
    pub(super) async fn facts(&self, wanted: &[Wanted], records: &Records) -> Facts {
        let connection = match self.connect().await {
            Ok(connection) => connection,
            Err(err) => return Facts::unreached(reach(&err)),
        };
        let mut asking = Asking { connection };
        let mut facts = Facts::unreached(Reach::Open);
        match asking.all(self, wanted, records, &mut facts).await {
            Ok(()) => facts,
            Err(_) => Facts {
                reach: Reach::Mute,
                ..facts
            },
        }
    }
}

/// SIP profiles, as far as they concern phones.
struct Profiles {
    codecs: BTreeMap<String, Vec<String>>,
    /// The text of sofia.conf, with all profiles.
    xml: String,
    media_timeout_ms: u64,
}

impl Profiles {
    /// `None`: the profile's settings cannot be read.
    fn watch(&self, profile: &str, registers: bool, media_timeout_ms: u64) -> Option<Watch> {
        let settings = parameters(profile_of(&self.xml, profile)?);
        let is_on = |name: &str| {
            let value = settings.get(name).map(String::as_str);
            value.is_some_and(|value| matches!(value, "true" | "yes" | "on" | "1" | "udp-only"))
        };
        let timeout_s: u64 = settings
            .get("rtp-timeout-sec")
            .and_then(|s| s.parse().ok())
            .unwrap_or_default();
        Some(Watch {
            // A phone that does not register is called at its fixed address, so no check is needed.
            asks: !registers || is_on("all-reg-options-ping") || is_on("nat-options-ping"),
            ends_silent: media_timeout_ms > 0 || timeout_s > 0,
        })
    }
}

fn reach(err: &ConnectionError) -> Reach {
    match err {
        ConnectionError::Connect(_) => Reach::NoServer,
        ConnectionError::Rejected => Reach::Rejected,
        ConnectionError::Password | ConnectionError::PasswordUnsendable => Reach::BadPassword,
        ConnectionError::Codec(_) => Reach::NotEventSocket,
        ConnectionError::Broken(_)
        | ConnectionError::Closed
        | ConnectionError::Slow
        | ConnectionError::Taken { .. }
        | ConnectionError::Refused { .. }
        | ConnectionError::Reply { .. } => Reach::Mute,
    }
}

struct Asking {
    connection: Connection,
}

impl Asking {
    /// The output of an API command. `None`: FreeSWITCH answered `-ERR` or `-USAGE`.
    async fn ask(&mut self, command: &str) -> Result<Option<String>, ConnectionError> {
        let reply = self.connection.ask(&format!("api {command}")).await?;
        let text = String::from_utf8_lossy(&reply).trim().to_owned();
        Ok((!text.starts_with("-ERR") && !text.starts_with("-USAGE")).then_some(text))
    }

    async fn all(
        &mut self,
        esl: &Esl,
        wanted: &[Wanted],
        records: &Records,
        facts: &mut Facts,
    ) -> Result<(), ConnectionError> {
        let Some(version) = self.ask("version").await? else {
            facts.reach = Reach::NoCommands;
            return Ok(());
        };
        facts.version = version.split_whitespace().nth(2).map(str::to_owned);
        let seconds: Option<i64> = self.ask("strepoch").await?.and_then(|text| text.parse().ok());
        facts.clock_ahead_s = seconds.map(|s| s.saturating_sub(Clock::real().now().wall.0 / 1_000));
        let paused = self.ask("fsctl pause_check outbound").await?;
        facts.paused = paused.as_deref() == Some("true");
        facts.room = self.ask("status").await?.and_then(|text| room(&text));
        for module in MODULES {
            let loaded = self.ask(&format!("module_exists {module}")).await?;
            if loaded.as_deref() == Some("true") {
                facts.modules.insert(module);
            }
        }
        let codecs = self.ask("show codec as json").await?.unwrap_or_default();
        facts.codecs = codec_names(&codecs);
        facts.domain = self.ask("global_getvar domain").await?.unwrap_or_default();
        let directory = self
            .ask("global_getvar recordings_dir")
            .await?
            .unwrap_or_default();
        facts.recordings = self.recordings(directory).await?;
        facts.socket = self
            .ask("xml_locate configuration configuration name event_socket.conf")
            .await?
            .and_then(|xml| SocketSettings::read(&xml, esl.config.password.expose_secret()));
        if facts.modules.contains("mod_callcenter") {
            facts.queues = Some(self.queues().await?);
        }
        facts.sounds = self.sounds(&records.to_play()).await?;
        self.endpoints(wanted, facts).await
    }

    async fn sounds(&mut self, sounds: &[Sound]) -> Result<Vec<Presence>, ConnectionError> {
        if sounds.is_empty() {
            return Ok(Vec::new());
        }
        let folder = self.ask("global_getvar sounds_dir").await?.unwrap_or_default();
        let mut presences = Vec::with_capacity(sounds.len());
        for sound in sounds {
            let Some(file) = sound_file(&folder, sound) else {
                presences.push(Presence::Unknown("its sounds_dir is no plain path".to_owned()));
                continue;
            };
            let there = self.ask(&format!("file_exists {file}")).await?;
            presences.push(match there.as_deref() {
                Some("true") => Presence::There,
                Some("false") => Presence::Missing,
                Some(_) | None => Presence::Unknown("it does not know `file_exists`".to_owned()),
            });
        }
        Ok(presences)
    }

    /// A folder that is missing is made with the first recording, so what counts is the nearest that there is.
    async fn recordings(&mut self, directory: String) -> Result<Folder, ConnectionError> {
        let plain = !directory.is_empty()
            && directory
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"/_-.".contains(&byte));
        if argument(&directory).is_err() {
            return Ok(Folder::Odd(directory));
        }
        if !plain {
            // This goes through a shell.
            return Ok(Folder::Unknown(directory));
        }
        let look = format!(
            "system p={directory}; while [ ! -e $p ]; do p=$(dirname $p); done; \
             [ -d $p ] && [ -w $p ] && echo writable || echo closed"
        );
        Ok(match self.ask(&look).await?.as_deref() {
            Some("writable") => Folder::Writable(directory),
            Some("closed") => Folder::Closed(directory),
            _ => Folder::Unknown(directory),
        })
    }

    async fn endpoints(&mut self, wanted: &[Wanted], facts: &mut Facts) -> Result<(), ConnectionError> {
        let status = self.ask("sofia status").await?.unwrap_or_default();
        let mut codecs = BTreeMap::new();
        let mut gateways = Vec::new();
        for line in status.lines() {
            match sofia_line(line) {
                Some(SofiaLine::Profile(name, state)) => {
                    let profile = match argument(name) {
                        Ok(name) => self.ask(&format!("sofia status profile {name}")).await?,
                        Err(_) => None,
                    };
                    let offered = profile.as_deref().and_then(|text| field(text, "CODECS OUT"));
                    codecs.insert(name.to_owned(), codec_list(offered.unwrap_or_default()));
                    facts.endpoints.push(Endpoint {
                        name: format!("sofia/{name}"),
                        state: if state == "RUNNING" { "online" } else { "offline" }.to_owned(),
                        codecs: codec_list(offered.unwrap_or_default()),
                        channels: 0,
                        is_trunk: false,
                        watch: None,
                    });
                }
                Some(SofiaLine::Gateway(profile, name, state)) => {
                    gateways.push((profile.to_owned(), name.to_owned(), state.to_owned()));
                }
                None => {}
            }
        }
        for (profile, name, state) in gateways {
            let matters = wanted
                .iter()
                .any(|w| target_of(&w.dial) == Target::Gateway(&name));
            let told = match (matters, argument(&name)) {
                (true, Ok(name)) => self.ask(&format!("sofia status gateway {name}")).await?,
                _ => None,
            };
            let status = told.as_deref().and_then(|text| field(text, "Status"));
            let state = match (status, state.as_str()) {
                (Some(status), state) if status.starts_with("DOWN") => format!("offline, {state}"),
                (_, "NOREG" | "REGED") => "online".to_owned(),
                (_, "TRYING" | "REGISTER") => "unknown".to_owned(),
                (_, state) => format!("offline, {state}"),
            };
            facts.endpoints.push(Endpoint {
                name: format!("sofia/gateway/{name}"),
                state,
                codecs: codecs.get(&profile).cloned().unwrap_or_default(),
                channels: 0,
                is_trunk: matters,
                watch: None,
            });
        }
        let profiles = Profiles {
            codecs,
            // It contains passwords, so no report shows it.
            xml: self
                .ask("xml_locate configuration configuration name sofia.conf")
                .await?
                .unwrap_or_default(),
            media_timeout_ms: self
                .ask("global_getvar media_timeout")
                .await?
                .and_then(|ms| ms.parse().ok())
                .unwrap_or_default(),
        };
        let queued: Vec<String> = facts
            .queues
            .iter()
            .flatten()
            .flat_map(|q| &q.members)
            .map(|m| m.interface.clone())
            .collect();
        let mut asked = BTreeSet::new();
        for dial in wanted.iter().map(|w| &w.dial).chain(&queued) {
            match target_of(dial) {
                Target::User(user, domain) => {
                    let domain = domain.unwrap_or(&facts.domain).to_owned();
                    if asked.len() < USERS_ASKED_MAX && asked.insert((user.to_owned(), domain.clone())) {
                        let endpoint = self.user(user, &domain, &profiles).await?;
                        facts.endpoints.extend(endpoint);
                    }
                }
                Target::Context(context) if argument(context).is_ok() => {
                    let look = format!("xml_locate dialplan context name {context}");
                    let found = self.ask(&look).await?.unwrap_or_default();
                    if found.starts_with("<context") {
                        facts.contexts.insert(context.to_owned());
                    }
                }
                _ => {}
            }
        }
        facts.endpoints.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(())
    }

    /// `None`: there is no such user, or the user cannot be dialed.
    async fn user(
        &mut self,
        user: &str,
        domain: &str,
        profiles: &Profiles,
    ) -> Result<Option<Endpoint>, ConnectionError> {
        if argument(user).is_err() || argument(domain).is_err() {
            return Ok(None);
        }
        let exists = self.ask(&format!("user_exists id {user} {domain}")).await?;
        if exists.as_deref() != Some("true") {
            return Ok(None);
        }
        let dial = format!("user_data {user}@{domain} param dial-string");
        let dial = self.ask(&dial).await?.unwrap_or_default();
        let timeout_ms = media_timeout(&dial).unwrap_or(profiles.media_timeout_ms);
        let (contact, registers) = if dial.contains("sofia_contact") {
            let contact = format!("sofia_contact */{user}@{domain}");
            (self.ask(&contact).await?.unwrap_or_default(), true)
        } else {
            (dial, false)
        };
        let state = match (contact.as_str(), registers) {
            ("", false) => "offline, has no dial-string",
            (contact, true) if !contact.contains("sofia/") => "offline, not registered",
            (_, true) => "online",
            // It has a fixed address, so FreeSWITCH does not know whether the phone is there.
            (_, false) => "unknown",
        };
        let profile = contact
            .split_once("sofia/")
            .and_then(|(_, rest)| rest.split('/').next());
        Ok(Some(Endpoint {
            name: format!("user/{user}@{domain}"),
            state: state.to_owned(),
            codecs: profile
                .and_then(|name| profiles.codecs.get(name).cloned())
                .unwrap_or_default(),
            channels: 0,
            is_trunk: false,
            watch: profile.and_then(|name| profiles.watch(name, registers, timeout_ms)),
        }))
    }

    async fn queues(&mut self) -> Result<Vec<Queue>, ConnectionError> {
        let queues = self
            .ask("callcenter_config queue list")
            .await?
            .unwrap_or_default();
        let tiers = self.ask("callcenter_config tier list").await?.unwrap_or_default();
        let agents = self
            .ask("callcenter_config agent list")
            .await?
            .unwrap_or_default();
        let agents = table(&agents);
        let tiers = table(&tiers);
        let member = |name: &str| {
            let agent = agents.iter().find(|agent| cell(agent, "name") == name);
            let status = agent.map_or("no such agent", |agent| cell(agent, "status"));
            Member {
                name: name.to_owned(),
                interface: agent.map_or("", |agent| cell(agent, "contact")).to_owned(),
                state: status.to_owned(),
                paused: status == "On Break",
                invalid: agent.is_none(),
            }
        };
        let queues = table(&queues).into_iter().map(|queue| {
            let name = cell(&queue, "name").to_owned();
            let tiers = tiers.iter().filter(|tier| cell(tier, "queue") == name);
            Queue {
                members: tiers.map(|tier| member(cell(tier, "agent"))).collect(),
                name,
            }
        });
        Ok(queues.collect())
    }
}
