//! The life of one switch's link: connect, resynchronise, carry requests and events, notice its loss, begin again.
//! In: commands. Out: events. What they mean is `legs`' to say.

use super::AriConfig;
use super::held::{Flood, HeldBack};
use super::leg::Side;
use super::legs::Legs;
use super::out::Then;
use super::rest::{self, Told};
use super::session::{End, Lost, Session};
use super::survey::{Survey, survey, trunks_watched};
use super::wire::{Http, Socket, WireError};
use crate::{LinkStats, Stamped, mark};
use futures_util::{SinkExt as _, StreamExt as _};
use paceline_core::ids::{AgentLegId, LegId, PbxName};
use paceline_core::pbx::{PbxCommand, PbxEvent};
use serde::Deserialize;
use std::collections::HashSet;
use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio_tungstenite::tungstenite::Message;
use tracing::{info, warn};
use uuid::Uuid;

const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// An owner of our application who shows no life for so long is dead; it does every second.
const OWNER_SILENCE_MAX_S: u32 = 10;
/// Another client took our application: two that fight over it would both be useless.
const BACKOFF_REPLACED: Duration = Duration::from_secs(30);
/// How long a switch that should understand requests on its event stream may take to show it.
const PROBE_WAIT_MAX: Duration = Duration::from_secs(1);
/// Channel ids in one subscription, so that its URL stays short.
const SUBSCRIBE_MAX: usize = 20;

/// The stop of the driver: its handle was dropped.
struct Stopped;

/// Why a link could not be made.
#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error(transparent)]
    Wire(#[from] WireError),
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

/// A link that stands, and what was read over it.
struct Connected {
    socket: Socket,
    over_socket: bool,
    survey: Survey,
    /// Recordings that run and that we did not know of, by the agent.
    recordings: Vec<(Uuid, String)>,
    /// Events that came since before the survey.
    buffered: HeldBack,
}

/// The way out for events, and the way in for commands, with what must be counted.
pub(super) struct Ports {
    pub(super) name: PbxName,
    pub(super) commands: Receiver<PbxCommand>,
    pub(super) events: Sender<Stamped>,
    pub(super) stats: Arc<LinkStats>,
}

/// Runs until the handle is dropped.
pub(super) async fn run(
    config: AriConfig,
    commands: Receiver<PbxCommand>,
    events: Sender<Stamped>,
    stats: Arc<LinkStats>,
) {
    let ports = Ports {
        name: config.name.clone(),
        commands,
        events,
        stats,
    };
    let mut driver = Driver {
        legs: Legs::new(config.app.clone(), mark(&config.app, config.installation)),
        ports,
        told_lost: false,
        version: String::new(),
        over_socket: None,
        replaced: false,
    };
    // Ends only by the handle's end.
    let Stopped = driver.run(&config).await;
}

struct Driver {
    legs: Legs,
    ports: Ports,
    /// Whether the last word on the link was that it is lost.
    told_lost: bool,
    /// The switch's version at the last connection.
    version: String,
    /// Whether that version takes requests on its event stream, once tried.
    over_socket: Option<bool>,
    /// Whether another client has taken our application, and nobody has seen it free since.
    replaced: bool,
}

impl Driver {
    async fn run(&mut self, config: &AriConfig) -> Stopped {
        let http = match Http::new(config) {
            Ok(http) => http,
            Err(err) => {
                tracing::error!(pbx.name = %config.name, "PBX `{}` cannot be used: {err}", config.name);
                return self.refuse_all().await;
            }
        };
        let mut backoff = BACKOFF_MIN;
        let mut failures: u32 = 0;
        loop {
            let known = self.legs.known();
            let version = (self.version.clone(), self.over_socket);
            let ours = Ours {
                app: &config.app,
                mark: &mark(&config.app, config.installation),
                replaced: self.replaced,
            };
            let connecting = connect(&http, ours, known, version);
            match self.unlinked(connecting).await {
                Err(stopped) => return stopped,
                Ok(Err(err)) => {
                    failures = failures.saturating_add(1);
                    // Again now and then, and less and less often.
                    if failures.is_power_of_two() {
                        warn!(pbx.name = %config.name, cause = err.source().map(tracing::field::display),
                              "cannot connect to PBX `{}`: {err}; connecting again until it succeeds", config.name);
                    }
                    if let Err(stopped) = self.tell_lost().await {
                        return stopped;
                    }
                }
                Ok(Ok((connected, version))) => {
                    (self.version, self.over_socket) = (version, Some(connected.over_socket));
                    failures = 0;
                    self.replaced = false;
                    backoff = BACKOFF_MIN;
                    match self.serve(&http, config, connected).await {
                        Err(stopped) => return stopped,
                        Ok(true) => {
                            self.replaced = true;
                            backoff = BACKOFF_REPLACED;
                        }
                        Ok(false) => {}
                    }
                }
            }
            let wait = backoff.mul_f64(rand::random_range(0.5..1.0));
            backoff = (backoff * 2).min(BACKOFF_MAX);
            if let Err(stopped) = self.unlinked(tokio::time::sleep(wait)).await {
                return stopped;
            }
        }
    }

    /// Serves a link that stands until it breaks. True: another client took our application.
    async fn serve(
        &mut self,
        http: &Http,
        config: &AriConfig,
        connected: Connected,
    ) -> Result<bool, Stopped> {
        let Connected {
            socket,
            over_socket,
            mut survey,
            recordings,
            buffered,
        } = connected;
        let name = &config.name;
        info!(pbx.name = %name, pbx.version = %self.version, over_socket, channels = survey.found.len(),
              "connected to PBX `{name}`, Asterisk {}", self.version);
        self.ports.stats.connects.fetch_add(1, Relaxed);
        self.ports.stats.set_version(&self.version);
        self.repair(config, &mut survey, recordings);
        let snapshot = PbxEvent::Resynchronised(survey.snapshot);
        self.tell(snapshot).await?;
        self.told_lost = false;
        self.ports.stats.connected.store(true, Relaxed);
        let http = (!over_socket).then(|| http.clone());
        let (end, heard_at) = Session::new(socket, http, &mut self.legs, &mut self.ports)
            .run(buffered)
            .await;
        self.ports.stats.connected.store(false, Relaxed);
        let lost = match end {
            End::Stopped => return Err(Stopped),
            End::Lost(lost) => lost,
        };
        self.ports.stats.losses.fetch_add(1, Relaxed);
        warn!(pbx.name = %name, cause = lost.source().map(tracing::field::display),
              "lost the link to PBX `{name}`: {lost}; calls there go on, but no call is launched until it is up again");
        let dropped = self.legs.unlinked(Instant::now());
        self.ports.stats.dropped.fetch_add(dropped, Relaxed);
        // A stream that breaks or is closed has told all before that; one that falls silent has not.
        let lost_at = match lost {
            Lost::Silent | Lost::NoReply => heard_at,
            Lost::Broken(_) | Lost::Closed | Lost::Http(_) | Lost::Congested | Lost::Replaced => {
                Instant::now()
            }
        };
        self.tell_lost_since(lost_at).await?;
        Ok(lost.replaced())
    }

    /// Brings the driver's own knowledge, and the switch, in line with what was found.
    fn repair(&mut self, config: &AriConfig, survey: &mut Survey, recordings: Vec<(Uuid, String)>) {
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
            .chain(bridges.map(|id| rest::bridge_source(&ours, *id)))
            .collect();
        for ids in unsubscribed.chunks(SUBSCRIBE_MAX) {
            out.ask(
                Uuid::nil(),
                Then::Watched,
                rest::subscribe(&config.app, &ids.join(",")),
            );
        }
        for (guest, bridge) in &survey.guests {
            if survey.bridges_left.contains(bridge) {
                out.ask(*bridge, Then::Nothing, rest::hang_up(guest));
            }
        }
        for bridge in &survey.bridges_left {
            out.ask(*bridge, Then::Nothing, rest::destroy_bridge(&ours, *bridge));
        }
        for (agent, recording) in recordings {
            let callee = survey.callees.get(&agent).map(|callee| LegId(*callee));
            let Legs { recordings, out, .. } = &mut self.legs;
            recordings.adopt(AgentLegId(agent), callee, recording, out);
        }
    }

    /// Waits for something while there is no link. Commands are answered meanwhile.
    async fn unlinked<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Stopped> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                command = self.ports.commands.recv() => self.answer_unlinked(command)?,
            }
        }
    }

    fn answer_unlinked(&mut self, command: Option<PbxCommand>) -> Result<(), Stopped> {
        self.legs.command_unlinked(command.ok_or(Stopped)?);
        while let Some(event) = self.legs.out.events.pop_front() {
            match self.ports.events.try_send(Stamped::now(event)) {
                Ok(()) => {}
                Err(TrySendError::Closed(_)) => return Err(Stopped),
                Err(TrySendError::Full(Stamped { event, .. })) => {
                    // One answer a command, so no more than the engines have legs.
                    self.legs.out.events.push_front(event);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Hands on an event that must not be lost, however long there is no room for it.
    async fn tell(&mut self, event: PbxEvent) -> Result<(), Stopped> {
        self.send(Stamped::now(event)).await
    }

    async fn send(&mut self, stamped: Stamped) -> Result<(), Stopped> {
        let events = self.ports.events.clone();
        self.unlinked(events.send(stamped)).await?.map_err(|_| Stopped)
    }

    async fn tell_lost(&mut self) -> Result<(), Stopped> {
        self.tell_lost_since(Instant::now()).await
    }

    /// Nothing is known of the PBX since then: whoever is found to be up may have been so ever since.
    async fn tell_lost_since(&mut self, lost_at: Instant) -> Result<(), Stopped> {
        if std::mem::replace(&mut self.told_lost, true) {
            return Ok(());
        }
        let stamped = Stamped {
            ago: lost_at.elapsed(),
            ..Stamped::now(PbxEvent::LinkLost)
        };
        self.send(stamped).await
    }

    /// For a configuration that can never work.
    async fn refuse_all(&mut self) -> Stopped {
        if let Err(stopped) = self.tell_lost().await {
            return stopped;
        }
        match self.unlinked(std::future::pending::<()>()).await {
            Err(stopped) => stopped,
            Ok(()) => Stopped,
        }
    }
}

/// Keeps what arrives on the event stream while something else is waited for.
struct Gathering {
    socket: Socket,
    buffered: HeldBack,
}

impl Gathering {
    async fn during<T>(
        &mut self,
        work: impl Future<Output = Result<T, WireError>>,
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

    /// A channel's variable; nothing if the channel has none of this name, or is gone.
    async fn variable(
        &mut self,
        http: &Http,
        channel: Uuid,
        name: &str,
    ) -> Result<Option<String>, ConnectError> {
        #[derive(Deserialize)]
        struct Variable {
            value: String,
        }
        let asked = "a channel's variable";
        let asking = http.ask(asked, rest::variable(channel, name));
        match self.during(asking).await {
            Ok(body) => serde_json::from_slice(&body)
                .map(|Variable { value }| Some(value).filter(|value| !value.is_empty()))
                .map_err(|err| WireError::Reply { asked, err }.into()),
            Err(ConnectError::Wire(WireError::Refused { status: 404, .. })) => Ok(None),
            Err(err) => Err(err),
        }
    }

    async fn is_live(&mut self, http: &Http, recording: &str) -> Result<bool, ConnectError> {
        let asking = http.ask("a recording", rest::live_recording(recording));
        match self.during(asking).await {
            Ok(_) => Ok(true),
            Err(ConnectError::Wire(WireError::Refused { status: 404, .. })) => Ok(false),
            Err(err) => Err(err),
        }
    }

    /// Whether the switch answers requests on the event stream: older ones ignore them.
    async fn answers_requests(&mut self) -> Result<bool, ConnectError> {
        let Ok(frame) = rest::info().frame(0) else {
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

/// Opens the event stream first, and reads the switch's state after, so that no event is lost in between.
async fn connect(
    http: &Http,
    ours: Ours<'_>,
    known: HashSet<Uuid>,
    (version_before, over_socket_before): (String, Option<bool>),
) -> Result<(Connected, String), ConnectError> {
    let version = version(&http.ask("its version", rest::info()).await?)?;
    let Ours { app, mark, .. } = ours;
    if is_taken(http, &ours).await? {
        return Err(ConnectError::Taken { app: app.to_owned() });
    }
    let mut gathering = Gathering {
        socket: http.open().await?,
        buffered: HeldBack::default(),
    };
    gathering
        .during(http.ask("to be known as its owner", rest::tell(app, Told::Owner, mark)))
        .await?;
    let application = gathering
        .during(http.ask("our application", rest::application(app)))
        .await?;
    let filter = rest::event_filter(app, trunks_watched(&application));
    gathering.during(http.ask("the event filter", filter)).await?;
    let over_socket = match over_socket_before {
        Some(known) if version == version_before => known,
        // The oldest release with it is 20.14.
        _ if version.split('.').next().and_then(|major| major.parse().ok()) >= Some(20) => {
            gathering.answers_requests().await?
        }
        _ => false,
    };
    let channels = gathering
        .during(http.ask("its channels", rest::channels()))
        .await?;
    let bridges = gathering.during(http.ask("its bridges", rest::bridges())).await?;
    let endpoints = gathering
        .during(http.ask("its endpoints", rest::endpoints()))
        .await?;
    let mut survey =
        survey(app, mark, &channels, &bridges, &application, &endpoints).map_err(|err| WireError::Reply {
            asked: "its channels and bridges",
            err,
        })?;
    for (id, found) in std::mem::take(&mut survey.sides_unknown) {
        if known.contains(&id) {
            survey.resolve(id, found, Side::Callee);
            continue;
        }
        if let Some(side) = gathering
            .variable(http, id, rest::SIDE_VARIABLE)
            .await?
            .and_then(|value| side(mark, &value))
        {
            survey.resolve(id, found, side);
        }
    }
    let mut recordings = Vec::new();
    let mut on_hold = HashSet::new();
    for agent in survey.agents().filter(|agent| !known.contains(agent)) {
        if gathering
            .variable(http, agent, rest::HOLD_VARIABLE)
            .await?
            .is_some()
        {
            on_hold.insert(agent);
        }
        if let Some(recording) = gathering.variable(http, agent, rest::RECORDING_VARIABLE).await?
            && gathering.is_live(http, &recording).await?
        {
            recordings.push((agent, recording));
        }
    }
    survey.on_hold = on_hold;
    let connected = Connected {
        socket: gathering.socket,
        over_socket,
        survey,
        recordings,
        buffered: gathering.buffered,
    };
    Ok((connected, version))
}

fn version(body: &[u8]) -> Result<String, WireError> {
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
        .map_err(|err| WireError::Reply {
            asked: "its version",
            err,
        })
}

fn side(mark: &str, value: &str) -> Option<Side> {
    Side::of(value.strip_prefix(mark)?.strip_prefix(',')?)
}

/// What on the PBX is ours.
struct Ours<'a> {
    app: &'a str,
    mark: &'a str,
    /// See [`Driver::replaced`].
    replaced: bool,
}

/// Whether another program listens to our application: to take it would cut that one off in the middle of its calls. A former
/// link of this installation's, of which Asterisk does not know yet that it is dead, is not another.
async fn is_taken(http: &Http, ours: &Ours<'_>) -> Result<bool, WireError> {
    match http.ask("our application", rest::application(ours.app)).await {
        Err(WireError::Refused { status: 404, .. }) => return Ok(false),
        Err(err) => return Err(err),
        Ok(_) => {}
    }
    match told(http, ours.app, Told::Owner).await? {
        // No Paceline, so nothing tells whether it lives.
        None => return Ok(true),
        Some(owner) if owner == ours.mark => return Ok(ours.replaced),
        Some(_) => {}
    }
    let first = told(http, ours.app, Told::Alive).await?;
    for _ in 0..OWNER_SILENCE_MAX_S {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if told(http, ours.app, Told::Alive).await? != first {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn told(http: &Http, app: &str, what: Told) -> Result<Option<String>, WireError> {
    #[derive(Deserialize)]
    struct Variable {
        value: String,
    }
    let asked = "who drives our application";
    match http.ask(asked, rest::read_told(app, what)).await {
        Ok(body) => serde_json::from_slice(&body)
            .map(|Variable { value }| Some(value).filter(|value| !value.is_empty()))
            .map_err(|err| WireError::Reply { asked, err }),
        Err(WireError::Refused { status: 404, .. }) => Ok(None),
        Err(err) => Err(err),
    }
}

#[cfg(test)]
mod tests;
