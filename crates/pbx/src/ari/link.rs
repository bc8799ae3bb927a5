//! The link to one Asterisk. It makes the connections, and repairs the records on both sides after a gap. `legs` interprets the
//! events. `driver` decides when to connect again.

use super::AriConfig;
use super::client::{Client, ClientError, EventStream};
use super::held::{Flood, HeldBack};
use super::leg::Side;
use super::legs::Legs;
use super::outbox::Purpose;
use super::requests::{self, OwnerVariable};
use super::session::{End, Lost, Session};
use super::survey::{Survey, survey, trunks_watched};
use crate::driver::{Adopted, Connecting, Link, Loss, Ports, Stopped};
use crate::owner::{Claim, Owner};
use crate::{LinkStats, mark};
use futures_util::{SinkExt as _, StreamExt as _};
use paceline_core::ids::{AgentLegId, LegId, PbxName};
use paceline_core::pbx::{ChannelPhase, ChannelState, PbxCommand, PbxEvent};
use paceline_runtime::clock::Moment;
use serde::Deserialize;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

/// Maximum time for the reply to a first request on the event stream. If the PBX does not reply in this time, requests go over
/// HTTP.
const PROBE_WAIT_MAX: Duration = Duration::from_secs(1);
/// Maximum number of channels and bridges in one subscription. Their ids are in its URL, which must stay short.
const SUBSCRIBE_MAX: usize = 20;
/// After another client has taken our application, the link stays down for the first of these times. The wait doubles each time, up
/// to the second one: Asterisk does not show whether that client has gone, and if it makes its link again, neither keeps one.
const REPLACED_WAIT_MIN: Duration = Duration::from_secs(30);
const REPLACED_WAIT_MAX: Duration = Duration::from_secs(600);

/// The reason if no link can be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error(transparent)]
    Wire(#[from] ClientError),
    #[error(
        "another program uses the application `{app}` and would lose its events; stop that program, or give this Paceline an \
         `app` of its own in paceline.toml"
    )]
    Taken { app: String },
    #[error("the PBX closed its event stream during the resynchronisation; check its log")]
    Closed,
    #[error("too many events arrived during the resynchronisation; check the load of the PBX")]
    Flood,
}

/// A new link, and the PBX's state that was read over it.
pub(super) struct Linked {
    version: String,
    socket: EventStream,
    /// `Some` if requests must go over HTTP, because the event stream does not accept them.
    http: Option<Client>,
    survey: Survey,
    /// Running recordings of agents' legs that were unknown to this run, with the agent's leg.
    recordings: Vec<(Uuid, String)>,
    /// Events that arrived since the event stream was opened.
    buffered: HeldBack,
}

/// The link to one Asterisk.
pub(super) struct AriLink {
    config: Arc<AriConfig>,
    /// `None` if the configuration, or this machine's TLS, does not allow a client. Each attempt to connect then reports the
    /// reason.
    http: Option<Client>,
    legs: Legs,
    /// The PBX's version at the last connection, and true if that version accepts requests on its event stream.
    tried: Option<(String, bool)>,
    owner: Owner,
    replaced: Replaced,
}

/// The times of another client that takes our application.
#[derive(Clone, Copy, Debug)]
struct Replaced {
    /// Our link stays down until then. `None`: no other client has taken the application since the last link.
    until: Option<Instant>,
    /// The wait after the next time.
    wait: Duration,
}

impl Replaced {
    fn again(self, now: Instant, linked_for: Duration) -> Self {
        let wait = if linked_for > REPLACED_WAIT_MAX {
            REPLACED_WAIT_MIN
        } else {
            self.wait
        };
        Self {
            until: Some(now + wait),
            wait: (wait * 2).min(REPLACED_WAIT_MAX),
        }
    }
}

impl Link for AriLink {
    type Linked = Linked;
    type ConnectError = ConnectError;
    type Lost = Lost;
    const PRODUCT: &'static str = "Asterisk";

    fn name(&self) -> &PbxName {
        &self.config.name
    }

    fn connect(&self, _: &Arc<LinkStats>) -> Connecting<Self> {
        let config = Arc::clone(&self.config);
        let http = self.http.clone();
        let known = self.legs.known();
        let (tried, owner) = (self.tried.clone(), self.owner.clone());
        let stays_out = self.replaced.until.is_some_and(|until| Instant::now() < until);
        Box::pin(async move {
            let http = match http {
                Some(http) => http,
                None => Client::new(&config)?,
            };
            let ours = Ours {
                app: &config.app,
                mark: &mark(&config.app, config.installation),
                owner: &owner,
                stays_out,
            };
            connect(&http, ours, known, tried).await
        })
    }

    fn adopt(&mut self, linked: &mut Linked, _: &LinkStats) -> Adopted {
        self.tried = Some((linked.version.clone(), linked.http.is_none()));
        self.replaced.until = None;
        self.repair(&mut linked.survey, std::mem::take(&mut linked.recordings));
        Adopted {
            version: linked.version.clone(),
            snapshot: std::mem::take(&mut linked.survey.snapshot),
        }
    }

    async fn serve(&mut self, linked: Linked, ports: &mut Ports) -> Result<Loss<Lost>, Stopped> {
        let name = &self.config.name;
        let linked_at = Instant::now();
        let session = Session::new(linked.socket, linked.http, name, &mut self.legs, ports);
        let (end, heard_at) = session.run(linked.buffered).await;
        let why = match end {
            End::Stopped => return Err(Stopped),
            End::Lost(lost) => lost,
        };
        let dropped = self.legs.unlinked(Instant::now());
        ports.stats.dropped.fetch_add(dropped, Relaxed);
        // A stream that breaks or is closed has delivered every event until then. A stream that falls silent has not.
        let at = match why {
            Lost::Silent | Lost::NoReply => heard_at,
            Lost::Broken(_) | Lost::Closed | Lost::Http(_) | Lost::Congested | Lost::Replaced => {
                Moment::now()
            }
        };
        let replaced = matches!(why, Lost::Replaced);
        if replaced {
            self.replaced = self.replaced.again(Instant::now(), linked_at.elapsed());
        }
        Ok(Loss { why, at, replaced })
    }

    fn command_unlinked(&mut self, command: PbxCommand) {
        self.legs.command_unlinked(command);
    }

    fn events(&mut self) -> &mut VecDeque<PbxEvent> {
        &mut self.legs.out.events
    }
}

impl AriLink {
    pub(super) fn new(config: AriConfig) -> Self {
        Self {
            http: Client::new(&config).ok(),
            legs: Legs::new(config.app.clone(), mark(&config.app, config.installation)),
            owner: Owner::new(&mark(&config.app, config.installation)),
            config: Arc::new(config),
            tried: None,
            replaced: Replaced {
                until: None,
                wait: REPLACED_WAIT_MIN,
            },
        }
    }

    /// Brings the driver's records and the PBX in line with the survey.
    fn repair(&mut self, survey: &mut Survey, recordings: Vec<(Uuid, String)>) {
        let config = &self.config;
        let now = Instant::now();
        self.legs.adopt_phones(survey);
        self.legs.adopt(&survey.found, survey.trunks_watched, now);
        for agent in survey.agents().collect::<Vec<_>>() {
            if let Some(channel) = survey.snapshot.channels.get_mut(&agent) {
                channel.trouble = self.legs.trouble_for_snapshot(agent, now);
            }
        }
        let ours = mark(&config.app, config.installation);
        let out = &mut self.legs.out;
        let unsubscribed: Vec<String> = survey.unsubscribed().map(|id| format!("channel:{id}")).collect();
        let bridges = survey
            .bridges_unheard
            .iter()
            .filter(|id| !survey.bridges_left.contains(id));
        let unsubscribed: Vec<String> = unsubscribed
            .into_iter()
            .chain(bridges.map(|id| requests::bridge_source(&ours, *id)))
            .collect();
        for ids in unsubscribed.chunks(SUBSCRIBE_MAX) {
            out.ask(
                Uuid::nil(),
                Purpose::Watched,
                requests::subscribe(&config.app, &ids.join(",")),
            );
        }
        for (guest, bridge) in &survey.guests {
            if survey.bridges_left.contains(bridge) {
                out.ask(*bridge, Purpose::Nothing, requests::hang_up(guest));
            }
        }
        for bridge in &survey.bridges_left {
            out.ask(
                *bridge,
                Purpose::Nothing,
                requests::destroy_bridge(&ours, *bridge),
            );
        }
        for (agent, recording) in recordings {
            let callee = survey.callees.get(&agent).map(|callee| LegId(*callee));
            let Legs { recordings, out, .. } = &mut self.legs;
            recordings.adopt(AgentLegId(agent), callee, recording, out);
        }
    }
}

/// Keeps the messages of the event stream while the driver waits for something else.
struct Gathering {
    socket: EventStream,
    buffered: HeldBack,
}

impl Gathering {
    async fn during<T>(
        &mut self,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ConnectError> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                message = self.socket.next() => self.keep(message)?,
                done = &mut work => return Ok(done?),
            }
        }
    }

    fn keep(
        &mut self,
        message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
    ) -> Result<(), ConnectError> {
        match message {
            Some(Ok(message)) => self.buffered.keep(message).map_err(|Flood| ConnectError::Flood),
            Some(Err(_)) | None => Err(ConnectError::Closed),
        }
    }

    /// A channel's variable. `None` if the variable is empty or not set, or if the channel has ended.
    async fn variable(
        &mut self,
        http: &Client,
        channel: Uuid,
        name: &str,
    ) -> Result<Option<String>, ConnectError> {
        #[derive(Deserialize)]
        struct Variable {
            value: String,
        }
        let asked = "a channel's variable";
        let asking = http.ask(asked, requests::variable(channel, name));
        match self.during(asking).await {
            Ok(body) => serde_json::from_slice(&body)
                .map(|Variable { value }| Some(value).filter(|value| !value.is_empty()))
                .map_err(|err| ClientError::Reply { asked, err }.into()),
            Err(ConnectError::Wire(ClientError::Refused { status: 404, .. })) => Ok(None),
            Err(err) => Err(err),
        }
    }

    async fn is_live(&mut self, http: &Client, recording: &str) -> Result<bool, ConnectError> {
        let asking = http.ask("a recording", requests::live_recording(recording));
        match self.during(asking).await {
            Ok(_) => Ok(true),
            Err(ConnectError::Wire(ClientError::Refused { status: 404, .. })) => Ok(false),
            Err(err) => Err(err),
        }
    }

    /// True if the PBX answers requests on the event stream. Older versions ignore them.
    async fn answers_requests(&mut self) -> Result<bool, ConnectError> {
        let Ok(frame) = requests::info().frame(0) else {
            return Ok(false);
        };
        self.socket
            .send(Message::text(frame))
            .await
            .map_err(|_| ConnectError::Closed)?;
        let deadline = tokio::time::sleep(PROBE_WAIT_MAX);
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                biased;
                message = self.socket.next() => {
                    self.keep(message)?;
                    let answered = self.buffered.last().is_some_and(is_reply);
                    if answered {
                        self.buffered.forget_last();
                        return Ok(true);
                    }
                }
                () = &mut deadline => return Ok(false),
            }
        }
    }
}

fn is_reply(message: &Message) -> bool {
    use super::decode::{Event, decode};
    matches!(message, Message::Text(text) if matches!(decode(text.as_bytes()), Ok(Event::Reply { status: 200, .. })))
}

/// Opens the event stream first, then reads the PBX's state, so that no event between the two is lost.
async fn connect(
    http: &Client,
    ours: Ours<'_>,
    known: HashSet<Uuid>,
    tried: Option<(String, bool)>,
) -> Result<Linked, ConnectError> {
    let version = version(&http.ask("its version", requests::info()).await?)?;
    let Ours { app, mark, owner, .. } = ours;
    if is_taken(http, &ours).await? {
        return Err(ConnectError::Taken { app: app.to_owned() });
    }
    let mut gathering = Gathering {
        socket: http.open().await?,
        buffered: HeldBack::default(),
    };
    gathering
        .during(http.ask(
            "to be known as its owner",
            requests::tell(app, OwnerVariable::Owner, owner.name()),
        ))
        .await?;
    let application = gathering
        .during(http.ask("our application", requests::application(app)))
        .await?;
    let filter = requests::event_filter(app, trunks_watched(&application));
    gathering.during(http.ask("the event filter", filter)).await?;
    let over_socket = match tried {
        Some((before, over_socket)) if version == before => over_socket,
        // 20.14 is the oldest release that accepts requests on the event stream.
        _ if version.split('.').next().and_then(|major| major.parse().ok()) >= Some(20) => {
            gathering.answers_requests().await?
        }
        _ => false,
    };
    let channels = gathering
        .during(http.ask("its channels", requests::channels()))
        .await?;
    let bridges = gathering
        .during(http.ask("its bridges", requests::bridges()))
        .await?;
    let endpoints = gathering
        .during(http.ask("its endpoints", requests::endpoints()))
        .await?;
    let mut survey = survey(app, mark, &channels, &bridges, &application, &endpoints).map_err(|err| {
        ClientError::Reply {
            asked: "its channels and bridges",
            err,
        }
    })?;
    for (id, found) in std::mem::take(&mut survey.sides_unknown) {
        if known.contains(&id) {
            survey.resolve(id, found, Side::Callee);
            continue;
        }
        if let Some(side) = gathering
            .variable(http, id, requests::SIDE_VARIABLE)
            .await?
            .and_then(|value| side(mark, &value))
        {
            survey.resolve(id, found, side);
        }
    }
    let mut recordings = Vec::new();
    let agents: Vec<Uuid> = survey.agents().collect();
    for agent in &agents {
        // A hold that began or ended during the gap was not reported.
        let is_up = |channel: &ChannelState| channel.phase == ChannelPhase::Up;
        let asks =
            survey.endpoints.contains_key(agent) && survey.snapshot.channels.get(agent).is_some_and(is_up);
        let held = if asks {
            match gathering.variable(http, *agent, requests::ON_HOLD).await {
                // The PBX refuses this for a channel without audio.
                Err(ConnectError::Wire(ClientError::Refused { .. })) => None,
                held => held?,
            }
        } else {
            None
        };
        let held = match held.as_deref() {
            Some("1") => Some(true),
            Some("0") => Some(false),
            Some(_) | None if known.contains(agent) => None,
            Some(_) | None => {
                let noted = gathering.variable(http, *agent, requests::HOLD_VARIABLE).await?;
                Some(noted.is_some())
            }
        };
        survey.on_hold.extend(held.map(|held| (*agent, held)));
    }
    for agent in agents.into_iter().filter(|agent| !known.contains(agent)) {
        if gathering
            .variable(http, agent, requests::STEADY_VARIABLE)
            .await?
            .is_some()
        {
            survey.steady.insert(agent);
        }
        if let Some(recording) = gathering
            .variable(http, agent, requests::RECORDING_VARIABLE)
            .await?
            && gathering.is_live(http, &recording).await?
        {
            recordings.push((agent, recording));
        }
    }
    Ok(Linked {
        version,
        socket: gathering.socket,
        http: (!over_socket).then(|| http.clone()),
        survey,
        recordings,
        buffered: gathering.buffered,
    })
}

fn version(body: &[u8]) -> Result<String, ClientError> {
    #[derive(Deserialize)]
    struct Info {
        system: System,
    }
    #[derive(Deserialize)]
    struct System {
        version: String,
    }
    serde_json::from_slice::<Info>(body)
        .map(|info| info.system.version)
        .map_err(|err| ClientError::Reply {
            asked: "its version",
            err,
        })
}

fn side(mark: &str, value: &str) -> Option<Side> {
    Side::of(value.strip_prefix(mark)?.strip_prefix(',')?)
}

/// Our application on the PBX, and our mark.
struct Ours<'a> {
    app: &'a str,
    mark: &'a str,
    owner: &'a Owner,
    /// True if another client has taken the application from us a short time ago.
    stays_out: bool,
}

/// True if another program uses our application. If we took it, that program would lose its link during its calls. An earlier
/// link of this process does not count, even if Asterisk does not know yet that this link is dead. Nor does a process that has ended.
/// Of another process that may run, the function waits for a sign of life.
async fn is_taken(http: &Client, ours: &Ours<'_>) -> Result<bool, ClientError> {
    match http.ask("our application", requests::application(ours.app)).await {
        Err(ClientError::Refused { status: 404, .. }) => return Ok(false),
        Err(err) => return Err(err),
        Ok(_) => {}
    }
    let found = told(http, ours.app, OwnerVariable::Owner).await?;
    let silence_s = match found.and_then(|found| ours.owner.claim(&found)) {
        // The other program is not a Paceline, so nothing shows whether it runs.
        None | Some(Claim::Alive) => return Ok(true),
        Some(Claim::Ended) => return Ok(false),
        Some(Claim::Ours) => return Ok(ours.stays_out),
        Some(Claim::Unclear { silence_s }) => silence_s,
    };
    let first = told(http, ours.app, OwnerVariable::Alive).await?;
    for _ in 0..silence_s {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if told(http, ours.app, OwnerVariable::Alive).await? != first {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn told(http: &Client, app: &str, what: OwnerVariable) -> Result<Option<String>, ClientError> {
    #[derive(Deserialize)]
    struct Variable {
        value: String,
    }
    let asked = "who drives our application";
    match http.ask(asked, requests::read_told(app, what)).await {
        Ok(body) => serde_json::from_slice(&body)
            .map(|Variable { value }| Some(value).filter(|value| !value.is_empty()))
            .map_err(|err| ClientError::Reply { asked, err }),
        Err(ClientError::Refused { status: 404, .. }) => Ok(None),
        Err(err) => Err(err),
    }
}

#[cfg(test)]
mod tests;
