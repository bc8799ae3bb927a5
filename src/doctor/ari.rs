//! Reads the facts of an Asterisk over ARI. Input: its address, and the trunks and agents to check. Output: [`Facts`],
//! without a judgement. It only reads, with one exception: it deletes a channel that cannot exist. The answer shows whether
//! the user may write.

use super::ami::{self, AmiError};
use super::sounds::{Presence, name_of};
use super::{Endpoint, Queue, Records, Wanted, Watch};
use crate::clock::Clock;
use crate::config::{AmiConfig, PbxKind};
use crate::pbx::ari::{AriConfig, Client, HttpError, Method, Reply, Request, escape};
use jiff::fmt::rfc2822::DateTimeParser;
use paceline_core::ids::PbxName;
use paceline_core::pbx::Sound;
use reqwest::Url;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that a driver under load keeps open, with room for others; the default limit of Asterisk is 100.
pub(super) const SESSIONS_WANTED: usize = 20;
/// A wrong clock may have a day of the week that does not fit its date.
static DATE: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);
/// Maximum number of endpoints whose configuration is read. Each takes one request, and one more for each AOR of an agent's phone.
const ENDPOINTS_ASKED_MAX: usize = 100;
const AORS_ASKED_MAX: usize = 5;
/// The language of channels if none is configured.
const LANGUAGE_USUAL: &str = "en";

/// The access to an Asterisk: its configuration and an ARI client.
pub(super) struct Ari {
    pub(super) config: AriConfig,
    client: Client,
    ami: Option<AmiConfig>,
}

/// The result of the first request to ARI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// ARI answers.
    Open,
    /// Nothing listens there, or it does not answer in time.
    NoServer,
    /// Its certificate is not trusted.
    Untrusted,
    /// The server does not speak TLS.
    NotTls,
    /// A web server answers, without ARI.
    NoAri(u16),
    /// ARI does not know this user with this password.
    BadPassword,
    /// It answers with another HTTP status, or without the expected JSON. The field is the status.
    Odd(u16),
}

/// The facts that the Asterisk reports.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) reach: Reach,
    pub(super) version: Option<String>,
    pub(super) channels_max: Option<u64>,
    /// The time of the PBX's clock minus ours, in seconds.
    pub(super) clock_ahead_s: Option<i64>,
    pub(super) may_write: bool,
    /// True if a client has registered our ARI application.
    pub(super) app_taken: bool,
    /// True if a client has registered our application and a Paceline serves its API at the configured address.
    pub(super) paceline_runs: bool,
    pub(super) endpoints: Vec<Endpoint>,
    /// `None`: the PBX does not tell.
    pub(super) modules: Option<BTreeSet<String>>,
    /// True if the user may list the stored recordings.
    pub(super) recordings: bool,
    /// Number of connections that the PBX served at the same time, at most [`SESSIONS_WANTED`].
    pub(super) sessions: usize,
    /// One for each wanted sound, in their order.
    pub(super) sounds: Vec<Presence>,
    /// `None`: no AMI is configured.
    pub(super) queues: Option<Result<Vec<Queue>, AmiError>>,
}

#[derive(Deserialize)]
struct Info {
    system: System,
    #[serde(default)]
    config: Settings,
}

#[derive(Deserialize)]
struct System {
    version: String,
}

#[derive(Default, Deserialize)]
struct Settings {
    max_channels: Option<u64>,
    default_language: Option<String>,
}

/// A part of [`Info`].
#[derive(Deserialize)]
struct Configured {
    config: Settings,
}

#[derive(Deserialize)]
struct RawEndpoint {
    technology: String,
    resource: String,
    state: Option<String>,
    #[serde(default)]
    channel_ids: Vec<String>,
}

#[derive(Deserialize)]
struct Module {
    name: String,
    status: String,
}

#[derive(Deserialize)]
struct Application {
    name: String,
}

#[derive(Deserialize)]
struct Attribute {
    attribute: String,
    value: String,
}

#[derive(Deserialize)]
struct ListedSound {
    #[serde(default)]
    formats: Vec<ListedFormat>,
}

impl ListedSound {
    fn languages(&self) -> impl Iterator<Item = &str> {
        self.formats.iter().map(|format| format.language.as_str())
    }
}

#[derive(Deserialize)]
struct ListedFormat {
    language: String,
}

impl Ari {
    /// `None`: it is another kind of PBX, or this machine trusts no certificate authority.
    pub(super) fn of(kind: &PbxKind) -> Option<Self> {
        let PbxKind::Ari {
            url,
            username,
            password,
            app,
            authorities,
            ami,
        } = kind
        else {
            return None;
        };
        let config = AriConfig {
            // For the log of a driver, and its mark; a doctor drives nothing.
            name: PbxName::new("doctor"),
            installation: uuid::Uuid::nil(),
            url: url.trim_end_matches('/').to_owned(),
            username: username.clone(),
            password: password.clone(),
            app: app.clone(),
            authorities: authorities.clone(),
        };
        Some(Self {
            client: Client::new(&config).ok()?,
            config,
            ami: ami.clone(),
        })
    }

    /// A request below `/ari/`.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<serde_json::Value>,
    ) -> Result<Reply, HttpError> {
        let request = Request {
            body: body.map(|body| body.to_string()),
            ..Request::new(method, path)
        };
        self.client.send(request).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Option<T> {
        let reply = self.ask(Method::Get, path, None).await.ok()?;
        serde_json::from_slice(&reply.body).ok()
    }

    /// Reads all facts. `listen` is the address at which a Paceline with this configuration serves its API.
    pub(super) async fn facts(&self, wanted: &[Wanted], records: &Records, listen: SocketAddr) -> Facts {
        let mut facts = Facts {
            reach: Reach::NoServer,
            version: None,
            channels_max: None,
            clock_ahead_s: None,
            may_write: false,
            app_taken: false,
            paceline_runs: false,
            endpoints: Vec::new(),
            modules: None,
            recordings: false,
            sessions: 0,
            sounds: Vec::new(),
            queues: None,
        };
        let reply = match self.ask(Method::Get, "asterisk/info", None).await {
            Ok(reply) => reply,
            Err(err) => {
                facts.reach = unreached(&err);
                return facts;
            }
        };
        facts.reach = match (reply.status, serde_json::from_slice::<Info>(&reply.body)) {
            (200, Ok(info)) => {
                facts.version = Some(info.system.version);
                facts.channels_max = info.config.max_channels.filter(|max| *max > 0);
                Reach::Open
            }
            (401 | 403, _) => Reach::BadPassword,
            (404, _) => Reach::NoAri(404),
            (status, _) => Reach::Odd(status),
        };
        if facts.reach != Reach::Open {
            return facts;
        }
        let ahead = |date: jiff::Timestamp| date.as_second() - Clock::real().now().wall.0 / 1_000;
        let date = reply.date.as_ref().and_then(|date| date.to_str().ok());
        facts.clock_ahead_s = date.and_then(|date| DATE.parse_timestamp(date).ok()).map(ahead);
        let nobody = format!("channels/{}", uuid::Uuid::new_v4());
        let deleted = self.ask(Method::Delete, &nobody, None).await;
        facts.may_write = deleted.is_ok_and(|reply| reply.status != 403);
        let apps: Vec<Application> = self.get("applications").await.unwrap_or_default();
        facts.app_taken = apps.iter().any(|app| app.name == self.config.app);
        facts.paceline_runs = facts.app_taken && is_paceline_at(listen).await;
        let modules: Option<Vec<Module>> = self.get("asterisk/modules").await;
        facts.modules = modules.map(|modules| {
            let running = modules.into_iter().filter(|module| module.status == "Running");
            running.map(|module| module.name).collect()
        });
        let recordings = self.ask(Method::Get, "recordings/stored", None).await;
        facts.recordings = recordings.is_ok_and(|reply| reply.status == 200);
        facts.endpoints = self.endpoints(wanted).await;
        facts.sounds = self.presence(&records.to_play()).await;
        facts.sessions = self.sessions().await;
        if let Some(ami) = &self.ami {
            facts.queues = Some(ami::queues(ami).await);
        }
        facts
    }

    /// Checks each sound. The results have the order of the sounds.
    pub(super) async fn presence(&self, sounds: &[Sound]) -> Vec<Presence> {
        let configured: Option<Configured> = self.get("asterisk/info?only=config").await;
        let language = configured.and_then(|configured| configured.config.default_language);
        let language = language.filter(|language| !language.is_empty());
        let language = language.as_deref().unwrap_or(LANGUAGE_USUAL);
        let mut presences = Vec::with_capacity(sounds.len());
        for sound in sounds {
            let name = name_of(sound);
            let presence = match name.starts_with('/') {
                true => Err("Asterisk lists no file outside its own folder of sounds".to_owned()),
                false => self.has(name, language).await,
            };
            presences.push(match presence {
                Ok(true) => Presence::There,
                Ok(false) => Presence::Missing,
                Err(why) => Presence::Unknown(why),
            });
        }
        presences
    }

    /// A file below `sounds/LANGUAGE/` is listed without that folder's name, and played on a channel of this language only. A folder
    /// of one's own in `sounds/` is listed as if it were a language, and played on every channel by its path. What lies right in
    /// `sounds/` is played on every channel and not listed. All measured on 22.10 and 16.28.
    async fn has(&self, name: &str, language: &str) -> Result<bool, String> {
        let listed = self.listed(name).await?;
        let languages: Vec<&str> = listed.iter().flat_map(ListedSound::languages).collect();
        let general = language.split('_').next();
        if languages.iter().any(|l| *l == language || Some(*l) == general) {
            return Ok(true);
        }
        if let Some((folder, below)) = name.split_once('/') {
            let listed = self.listed(below).await?;
            if listed
                .iter()
                .flat_map(ListedSound::languages)
                .any(|l| l == folder)
            {
                return Ok(true);
            }
        }
        if !languages.is_empty() {
            return Err(format!(
                "Asterisk has it for the language `{}` and not for its default language `{language}`, so only a channel with \
                 that `language` plays it",
                languages.join("`, `")
            ));
        }
        match name.contains('/') {
            true => Ok(false),
            false => Err(format!(
                "Asterisk has it for no language, and does not list what lies right in its folder `sounds/`, which it would play; put it into \
                 `sounds/{language}/`"
            )),
        }
    }

    /// Asterisk reads its folders each time, so it lists a new file at once (measured on 22.10 and 16.28).
    async fn listed(&self, name: &str) -> Result<Option<ListedSound>, String> {
        let mut path = "sounds/".to_owned();
        escape(&mut path, name);
        let reply = self.ask(Method::Get, &path, None).await;
        let reply = reply.map_err(|_| format!("nothing answers at {}", self.config.url))?;
        match reply.status {
            200 => serde_json::from_slice(&reply.body)
                .map(Some)
                .map_err(|_| "Asterisk's answer cannot be read".to_owned()),
            // Without res_ari_sounds.so it says `Resource not found`.
            404 if String::from_utf8_lossy(&reply.body).contains("Sound not found") => Ok(None),
            404 => Err("Asterisk lists no sounds: res_ari_sounds.so is not loaded".to_owned()),
            status => Err(format!("Asterisk answers with HTTP {status}")),
        }
    }

    async fn endpoints(&self, wanted: &[Wanted]) -> Vec<Endpoint> {
        let raw: Vec<RawEndpoint> = self.get("endpoints").await.unwrap_or_default();
        let mut asked = 0;
        let mut endpoints = Vec::with_capacity(raw.len());
        for raw in raw {
            let name = format!("{}/{}", raw.technology, raw.resource);
            let leads_here = |w: &Wanted| endpoint_of(&w.dial).as_deref() == Some(name.as_str());
            let is_trunk = wanted.iter().any(|w| w.is_trunk && leads_here(w));
            let matters = wanted.iter().any(leads_here);
            let (mut codecs, mut watch) = (Vec::new(), None);
            if matters && raw.technology == "PJSIP" && asked < ENDPOINTS_ASKED_MAX {
                asked += 1;
                if let Some(settings) = self.settings("endpoint", &raw.resource).await {
                    codecs = codecs_of(&settings);
                    if wanted.iter().any(|w| !w.is_trunk && leads_here(w)) {
                        watch = self.watch(&settings).await;
                    }
                }
            }
            endpoints.push(Endpoint {
                name,
                state: raw.state.unwrap_or_else(|| "unknown".to_owned()),
                codecs,
                channels: raw.channel_ids.len(),
                is_trunk,
                watch,
            });
        }
        endpoints.sort_by(|a, b| a.name.cmp(&b.name));
        endpoints
    }

    /// The settings of a PJSIP object, from pjsip.conf or from a database (measured on 22.10 and 16.28). `None`: ARI does not
    /// give them.
    async fn settings(&self, kind: &str, name: &str) -> Option<BTreeMap<String, String>> {
        let mut path = format!("asterisk/config/dynamic/res_pjsip/{kind}/");
        escape(&mut path, name);
        let attributes: Vec<Attribute> = self.get(&path).await?;
        Some(attributes.into_iter().map(|a| (a.attribute, a.value)).collect())
    }

    /// `None`: the PBX does not give all of the settings.
    async fn watch(&self, endpoint: &BTreeMap<String, String>) -> Option<Watch> {
        let ends_silent = seconds(endpoint, "rtp_timeout")? > 0;
        let mut asks = false;
        let aors = endpoint.get("aors")?.split(',').map(str::trim);
        for aor in aors.filter(|aor| !aor.is_empty()).take(AORS_ASKED_MAX) {
            let aor = self.settings("aor", aor).await?;
            asks |= seconds(&aor, "qualify_frequency")? > 0;
        }
        Some(Watch { asks, ends_silent })
    }

    /// Number of connections that the PBX serves at the same time. Asterisk closes those over its limit without an answer.
    async fn sessions(&self) -> usize {
        let Some((host, port)) = Url::parse(&self.config.url)
            .ok()
            .filter(|url| url.scheme() == "http")
            .and_then(|url| Some((url.host_str()?.to_owned(), url.port_or_known_default()?)))
        else {
            // This check speaks no TLS.
            return SESSIONS_WANTED;
        };
        let request = format!("GET /ari/ping HTTP/1.1\r\nHost: {host}\r\nConnection: keep-alive\r\n\r\n");
        let mut open = Vec::new();
        for _ in 0..SESSIONS_WANTED {
            let served = async {
                // A URL writes an IPv6 address in brackets; a socket takes it without.
                let address = host.trim_matches(['[', ']']);
                let mut socket = TcpStream::connect((address, port)).await.ok()?;
                socket.write_all(request.as_bytes()).await.ok()?;
                let mut answer = [0; 12];
                socket.read_exact(&mut answer).await.ok()?;
                // The socket stays open until all are counted.
                answer.starts_with(b"HTTP/1.1 ").then_some(socket)
            };
            if let Ok(Some(socket)) = tokio::time::timeout(TIMEOUT, served).await {
                open.push(socket);
            }
        }
        open.len()
    }
}

/// The endpoint that a dial string leads to: `PJSIP/carrier` for `PJSIP/{number}@carrier` and for
/// `PJSIP/carrier/sip:{number}@host`. `None`: it leads into the dialplan.
pub(super) fn endpoint_of(dial: &str) -> Option<String> {
    let (technology, rest) = dial.split_once('/')?;
    if technology.eq_ignore_ascii_case("Local") {
        return None;
    }
    let first = rest.split('/').next().unwrap_or(rest);
    let name = match first.rsplit_once('@') {
        Some((_, endpoint)) => endpoint,
        None => first,
    };
    Some(format!("{}/{name}", technology.to_ascii_uppercase()))
}

/// The codecs of the setting `allow`: `(ulaw|alaw)`.
fn codecs_of(endpoint: &BTreeMap<String, String>) -> Vec<String> {
    let allow = endpoint.get("allow").map(String::as_str).unwrap_or_default();
    let codecs = allow.trim_matches(['(', ')']).split(['|', ',']);
    codecs
        .map(|codec| codec.trim().to_owned())
        .filter(|codec| !codec.is_empty() && codec != "nothing")
        .collect()
}

fn seconds(settings: &BTreeMap<String, String>, name: &str) -> Option<u32> {
    settings.get(name)?.trim().parse().ok()
}

/// True if Asterisk lists this endpoint whenever it is configured. It lists no endpoint of many technologies (DAHDI, Agent).
/// With SIP and IAX2 one can also call hosts that are not configured.
pub(super) fn is_listed(endpoint: &str) -> bool {
    match endpoint.split_once('/') {
        Some(("PJSIP", _)) => true,
        Some(("SIP" | "IAX2", name)) => !name.contains(['.', ':']),
        _ => false,
    }
}

/// The reason why ARI gave no usable answer.
fn unreached(err: &HttpError) -> Reach {
    match err {
        HttpError::Broken(_) => Reach::NoServer,
        HttpError::Untrusted(_) => Reach::Untrusted,
        HttpError::NotTls(_) => Reach::NotTls,
        HttpError::TooLong => Reach::NoAri(200),
    }
}

/// True if `/healthz` answers with 200 at this address.
async fn is_paceline_at(listen: SocketAddr) -> bool {
    let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build();
    let Ok(client) = client else {
        return false;
    };
    let reply = client.get(format!("http://{listen}/healthz")).send().await;
    reply.is_ok_and(|reply| reply.status().as_u16() == 200)
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_lab::HttpsServer;
    use rustls::pki_types::CertificateDer;
    use std::io::{Read as _, Write as _};

    fn ari(port: u16, authorities: Vec<CertificateDer<'static>>) -> Ari {
        let kind = PbxKind::Ari {
            url: format!("https://127.0.0.1:{port}"),
            username: "paceline".to_owned(),
            password: "secret".to_owned().into(),
            app: "paceline".to_owned(),
            authorities,
            ami: None,
        };
        Ari::of(&kind).unwrap()
    }

    #[tokio::test]
    async fn an_untrusted_certificate_and_a_server_without_tls_are_distinguished_from_no_server() {
        let nowhere = "127.0.0.1:1".parse().unwrap();
        let HttpsServer { port, authority } = HttpsServer::start().unwrap();
        let reach = async |ari: Ari| ari.facts(&[], &Records::default(), nowhere).await.reach;
        assert_eq!(reach(ari(port, Vec::new())).await, Reach::Untrusted);
        assert_eq!(reach(ari(port, vec![authority])).await, Reach::BadPassword);
        assert_eq!(reach(ari(1, Vec::new())).await, Reach::NoServer);
        let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = plain.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for socket in plain.incoming() {
                let mut socket = socket.unwrap();
                if socket.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                    socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").ok();
                }
            }
        });
        assert_eq!(reach(ari(port, Vec::new())).await, Reach::NotTls);
    }

    #[tokio::test]
    async fn http_sessions_are_counted_at_an_ipv6_address_too() {
        let Ok(server) = std::net::TcpListener::bind("[::1]:0") else {
            // This machine has no IPv6.
            return;
        };
        let port = server.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for socket in server.incoming() {
                let mut socket = socket.unwrap();
                if socket.read(&mut [0; 4096]).is_ok() {
                    socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
                }
                open.push(socket);
            }
        });
        let mut ari = ari(port, Vec::new());
        ari.config.url = format!("http://[::1]:{port}");
        assert_eq!(ari.sessions().await, SESSIONS_WANTED);
    }

    #[test]
    fn an_endpoint_is_missed_only_where_asterisk_would_list_it() {
        for (dial, endpoint, listed) in [
            ("PJSIP/{number}@carrier", "PJSIP/carrier", true),
            ("pjsip/{number}@carrier", "PJSIP/carrier", true),
            ("SIP/carrier/{number}", "SIP/carrier", true),
            ("SIP/{number}@sip.example.com", "SIP/sip.example.com", false),
            ("DAHDI/g0/{number}", "DAHDI/g0", false),
            ("Agent/1001", "AGENT/1001", false),
        ] {
            assert_eq!(endpoint_of(dial).as_deref(), Some(endpoint));
            assert_eq!(is_listed(endpoint), listed, "{dial}");
        }
        assert_eq!(endpoint_of("Local/{number}@from-internal/n"), None);
    }
}
