//! What a FreeSWITCH says of itself over its Event Socket. In: how it is reached, and which trunks and agents matter.
//! Out: [`Facts`], without a judgement. Only asks; nothing there is set, loaded or placed.

use super::{Endpoint, Member, Queue, Wanted};
use crate::config::{PbxConfig, PbxKind};
use crate::pbx::esl::{Connection, EslConfig, WireError};
use paceline_esl::argument;
use secrecy::ExposeSecret as _;
use std::collections::{BTreeMap, BTreeSet};

/// Users that are looked up; some requests each.
const USERS_ASKED_MAX: usize = 200;
/// Modules that are asked for.
const MODULES: [&str; 8] = [
    "mod_callcenter",
    "mod_commands",
    "mod_dptools",
    "mod_local_stream",
    "mod_loopback",
    "mod_sndfile",
    "mod_sofia",
    "mod_tone_stream",
];

/// How a FreeSWITCH is reached.
pub(super) struct Esl {
    config: EslConfig,
}

/// Whether anything can be asked at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// It answers.
    Open,
    /// Nobody listens.
    NoServer,
    /// Its access list refuses us.
    Rejected,
    /// It does not know this password.
    BadPassword,
    /// Something else listens there.
    NotEventSocket,
    /// It does not answer in time, or breaks off.
    Mute,
    /// It has no API commands.
    NoCommands,
}

/// Channels that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) channels_max: u64,
    pub(super) channels: u64,
    /// As it is set: it makes one less than this in a second.
    pub(super) per_second_max: u64,
}

/// Whether recordings can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Folder {
    /// They can.
    Writable(String),
    /// They cannot.
    Closed(String),
    /// Its name is no plain path, so that the driver refuses it.
    Odd(String),
    /// It does not tell.
    Unknown(String),
}

/// What stands in event_socket.conf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SocketSettings {
    /// All but the password.
    pub(super) parameters: BTreeMap<String, String>,
    /// Whether the password is the one that everybody knows.
    pub(super) password_known: bool,
    /// Whether it is the one that we have.
    pub(super) password_ours: bool,
}

/// What it says.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) reach: Reach,
    pub(super) version: Option<String>,
    /// The switch's clock less ours, seconds.
    pub(super) clock_ahead_s: Option<i64>,
    /// Whether it places no calls, on somebody's order.
    pub(super) paused: bool,
    pub(super) room: Option<Room>,
    /// Those of [`MODULES`] that are loaded.
    pub(super) modules: BTreeSet<&'static str>,
    /// Codecs that are loaded, in its own words: `G.711 ulaw`.
    pub(super) codecs: Vec<String>,
    /// Gateways, profiles, and the users that matter.
    pub(super) endpoints: Vec<Endpoint>,
    /// Contexts of its dialplan that dial strings lead to and that stand in its own configuration.
    pub(super) contexts: BTreeSet<String>,
    /// What a user means that is named without a domain.
    pub(super) domain: String,
    pub(super) recordings: Folder,
    pub(super) socket: Option<SocketSettings>,
    /// None without mod_callcenter.
    pub(super) queues: Option<Vec<Queue>>,
}

/// Where a dial string leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target<'d> {
    Gateway(&'d str),
    Profile(&'d str),
    /// And their domain, where it is named.
    User(&'d str, Option<&'d str>),
    Context(&'d str),
    Other,
}

/// Takes a dial string apart.
pub(super) fn target_of(dial: &str) -> Target<'_> {
    // An agent of mod_callcenter may have variables before it.
    let dial = match (dial.starts_with('['), dial.rsplit_once(']')) {
        (true, Some((_, dial))) => dial,
        _ => dial,
    };
    let mut parts = dial.split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("sofia"), Some("gateway"), Some(gateway)) => Target::Gateway(gateway),
        (Some("sofia"), Some(profile), _) => Target::Profile(profile),
        (Some("user"), Some(user), _) => match user.split_once('@') {
            Some((user, domain)) => Target::User(user, Some(domain)),
            None => Target::User(user, None),
        },
        (Some("loopback"), Some(_), context) => Target::Context(context.unwrap_or("default")),
        _ => Target::Other,
    }
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
    /// None where it is another kind of switch.
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
            },
        })
    }

    /// Where it should be.
    pub(super) fn address(&self) -> &str {
        &self.config.address
    }

    pub(super) async fn connect(&self) -> Result<Connection, WireError> {
        Connection::open(&self.config).await
    }

    /// Asks for everything.
    pub(super) async fn facts(&self, wanted: &[Wanted]) -> Facts {
        let connection = match self.connect().await {
            Ok(connection) => connection,
            Err(err) => return Facts::unreached(reach(&err)),
        };
        let mut asking = Asking { connection };
        let mut facts = Facts::unreached(Reach::Open);
        match asking.all(self, wanted, &mut facts).await {
            Ok(()) => facts,
            Err(_) => Facts {
                reach: Reach::Mute,
                ..facts
            },
        }
    }
}

fn reach(err: &WireError) -> Reach {
    match err {
        WireError::Connect(_) => Reach::NoServer,
        WireError::Rejected => Reach::Rejected,
        WireError::Password | WireError::PasswordUnsendable => Reach::BadPassword,
        WireError::Codec(_) => Reach::NotEventSocket,
        WireError::Broken(_)
        | WireError::Closed
        | WireError::Slow
        | WireError::Refused { .. }
        | WireError::Reply { .. } => Reach::Mute,
    }
}

struct Asking {
    connection: Connection,
}

impl Asking {
    /// What a command prints; `None` where it is refused.
    async fn ask(&mut self, command: &str) -> Result<Option<String>, WireError> {
        let reply = self.connection.ask(&format!("api {command}")).await?;
        let text = String::from_utf8_lossy(&reply).trim().to_owned();
        Ok((!text.starts_with("-ERR") && !text.starts_with("-USAGE")).then_some(text))
    }

    async fn all(&mut self, esl: &Esl, wanted: &[Wanted], facts: &mut Facts) -> Result<(), WireError> {
        let Some(version) = self.ask("version").await? else {
            facts.reach = Reach::NoCommands;
            return Ok(());
        };
        facts.version = version.split_whitespace().nth(2).map(str::to_owned);
        let seconds: Option<i64> = self.ask("strepoch").await?.and_then(|text| text.parse().ok());
        facts.clock_ahead_s = seconds.map(|s| s.saturating_sub(jiff::Timestamp::now().as_second()));
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
        self.endpoints(wanted, facts).await
    }

    /// A folder that is missing is made with the first recording, so what counts is the nearest that there is.
    async fn recordings(&mut self, directory: String) -> Result<Folder, WireError> {
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

    async fn endpoints(&mut self, wanted: &[Wanted], facts: &mut Facts) -> Result<(), WireError> {
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
            });
        }
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
                        let endpoint = self.user(user, &domain, &codecs).await?;
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

    /// None where there is no such user, or none that can be dialed.
    async fn user(
        &mut self,
        user: &str,
        domain: &str,
        codecs: &BTreeMap<String, Vec<String>>,
    ) -> Result<Option<Endpoint>, WireError> {
        if argument(user).is_err() || argument(domain).is_err() {
            return Ok(None);
        }
        let exists = self.ask(&format!("user_exists id {user} {domain}")).await?;
        if exists.as_deref() != Some("true") {
            return Ok(None);
        }
        let dial = format!("user_data {user}@{domain} param dial-string");
        let dial = self.ask(&dial).await?.unwrap_or_default();
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
            // It has a fixed address, and nobody knows whether it is there.
            (_, false) => "unknown",
        };
        let profile = contact
            .split_once("sofia/")
            .and_then(|(_, rest)| rest.split('/').next());
        Ok(Some(Endpoint {
            name: format!("user/{user}@{domain}"),
            state: state.to_owned(),
            codecs: profile.and_then(|p| codecs.get(p).cloned()).unwrap_or_default(),
            channels: 0,
        }))
    }

    async fn queues(&mut self) -> Result<Vec<Queue>, WireError> {
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

enum SofiaLine<'l> {
    Profile(&'l str, &'l str),
    /// Its profile, its name, its state.
    Gateway(&'l str, &'l str, &'l str),
}

/// A row of `sofia status`: name, type, address, state.
fn sofia_line(line: &str) -> Option<SofiaLine<'_>> {
    let mut words = line.split_whitespace();
    let (name, kind, address, state) = (words.next()?, words.next()?, words.next()?, words.next()?);
    match kind {
        // The last line of all: `1 profile 0 aliases`.
        _ if !address.contains(':') => None,
        "profile" => Some(SofiaLine::Profile(name, state)),
        "gateway" => {
            let (profile, name) = name.split_once("::")?;
            Some(SofiaLine::Gateway(profile, name, state))
        }
        _ => None,
    }
}

/// A line `NAME  <tab> value`.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines()
        .filter_map(|line| line.split_once('\t'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}

/// `PCMU@8000h@20i,PCMA` as `PCMU`, `PCMA`.
fn codec_list(text: &str) -> Vec<String> {
    let codecs = text
        .split(',')
        .map(|codec| codec.split('@').next().unwrap_or(codec).trim());
    codecs
        .filter(|codec| !codec.is_empty())
        .map(str::to_owned)
        .collect()
}

fn codec_names(json: &str) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Codecs {
        #[serde(default)]
        rows: Vec<Row>,
    }
    #[derive(serde::Deserialize)]
    struct Row {
        name: String,
    }
    let codecs: Option<Codecs> = serde_json::from_str(json).ok();
    let rows = codecs.map(|codecs| codecs.rows).unwrap_or_default();
    rows.into_iter().map(|row| row.name).collect()
}

/// What `status` says of channels.
fn room(status: &str) -> Option<Room> {
    let number = |words: &str| words.split_whitespace().next_back()?.parse::<u64>().ok();
    let mut found = (None, None, None);
    for line in status.lines() {
        if let Some((before, _)) = line.split_once(" session(s) max") {
            found.0 = number(before);
        } else if let Some((_, after)) = line.split_once("per Sec out of max ") {
            found.2 = after.split(',').next().and_then(number);
        } else if let Some((before, _)) = line.split_once(" session(s) - peak") {
            found.1 = number(before);
        }
    }
    Some(Room {
        channels_max: found.0?,
        channels: found.1?,
        per_second_max: found.2?,
    })
}

/// A table of mod_callcenter: a header, rows, `+OK`, columns split by `|`.
fn table(text: &str) -> Vec<BTreeMap<&str, &str>> {
    let mut lines = text.lines();
    let header: Vec<_> = lines.next().unwrap_or_default().split('|').collect();
    lines
        .take_while(|line| !line.starts_with("+OK"))
        .map(|line| header.iter().copied().zip(line.split('|')).collect())
        .collect()
}

fn cell<'t>(row: &BTreeMap<&str, &'t str>, column: &str) -> &'t str {
    row.get(column).copied().unwrap_or_default()
}

impl SocketSettings {
    fn read(xml: &str, ours: &str) -> Option<Self> {
        let mut parameters = parameters(xml);
        if parameters.is_empty() {
            return None;
        }
        let password = parameters.remove("password").unwrap_or_default();
        Some(Self {
            password_known: password.is_empty() || password == "ClueCon",
            password_ours: password == ours,
            parameters,
        })
    }
}

/// Every `<param name="…" value="…"/>` outside comments.
pub(super) fn parameters(xml: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = xml;
    while let Some((_, after)) = rest.split_once('<') {
        if let Some(comment) = after.strip_prefix("!--") {
            rest = comment.split_once("-->").map_or("", |(_, after)| after);
            continue;
        }
        let (tag, after) = after.split_once('>').unwrap_or((after, ""));
        rest = after;
        if let Some(tag) = tag.strip_prefix("param ")
            && let (Some(name), Some(value)) = (attribute(tag, "name"), attribute(tag, "value"))
        {
            found.insert(name, value);
        }
    }
    found
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, after) = tag.split_once(&format!("{name}=\""))?;
    let (value, _) = after.split_once('"')?;
    let entities = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&amp;", "&"),
    ];
    let mut value = value.to_owned();
    for (entity, char) in entities {
        value = value.replace(entity, char);
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dial_string_says_where_it_leads() {
        for (dial, target) in [
            ("sofia/gateway/carrier/{number}", Target::Gateway("carrier")),
            ("sofia/internal/{number}@10.0.0.1", Target::Profile("internal")),
            ("user/7001", Target::User("7001", None)),
            ("user/7001@office", Target::User("7001", Some("office"))),
            (
                "[leg_timeout=10]user/7001@office",
                Target::User("7001", Some("office")),
            ),
            ("loopback/{number}/routes", Target::Context("routes")),
            ("loopback/{number}", Target::Context("default")),
            ("verto.rtc/7001", Target::Other),
        ] {
            assert_eq!(target_of(dial), target, "{dial}");
        }
    }

    #[test]
    fn settings_are_read_without_comments_and_the_password_is_not_kept() {
        let xml = "<configuration><settings><!-- <param name=\"listen-ip\" value=\"0.0.0.0\"/> -->\n\
                   <param name=\"listen-ip\" value=\"127.0.0.1\"></param>\n\
                   <param name=\"password\" value=\"a&lt;b&amp;c\"/></settings></configuration>";
        let settings = SocketSettings::read(xml, "a<b&c").unwrap();
        assert!(settings.password_ours && !settings.password_known);
        assert_eq!(
            settings.parameters,
            BTreeMap::from([("listen-ip".to_owned(), "127.0.0.1".to_owned())])
        );
        assert_eq!(SocketSettings::read("can't find anything", ""), None);
    }

    #[test]
    fn what_a_switch_prints_is_understood() {
        let status = "UP 0 years\nFreeSWITCH (Version 1.11.3-dev) is ready\n12 session(s) since startup\n\
                      3 session(s) - peak 4, last 5min 4 \n0 session(s) per Sec out of max 30, peak 1, last 5min 0 \n\
                      2000 session(s) max\nmin idle cpu 0.00/96.60";
        let expected = Room {
            channels_max: 2000,
            channels: 3,
            per_second_max: 30,
        };
        assert_eq!(room(status), Some(expected));
        assert_eq!(room("-ERR"), None);
        assert_eq!(
            field(
                "Name    \tlab\nCODECS OUT       \tPCMU,PCMA@8000h\n",
                "CODECS OUT"
            ),
            Some("PCMU,PCMA@8000h")
        );
        assert_eq!(codec_list("PCMU,PCMA@8000h@20i"), ["PCMU", "PCMA"]);
        let rows = table("queue|agent|state\nsales@lab|anna|Ready\n+OK");
        assert_eq!((rows.len(), cell(&rows[0], "agent")), (1, "anna"));
    }
}
