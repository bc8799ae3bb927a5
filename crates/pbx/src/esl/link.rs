//! The life of one switch's link: connect, resynchronise, carry commands and events, notice its loss, begin again.
//! In: commands. Out: events. What they mean is `legs`' to say.

use super::EslConfig;
use super::command;
use super::legs::Legs;
use super::reader::Reader;
use super::recordings::Folders;
use super::session::{End, Line, Lost, Session};
use super::survey::{Survey, candidates};
use super::wire::{Connection, WireError};
use crate::pbx_clock::PbxClock;
use crate::{LinkStats, Stamped, mark};
use paceline_core::pbx::{PbxCommand, PbxEvent};
use std::collections::{HashSet, VecDeque};
use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender};
use tracing::{info, warn};
use uuid::Uuid;

#[cfg(test)]
mod tests;

const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// An owner of our channels who shows no life for so long is dead; it does every second.
const OWNER_SILENCE_MAX_S: u32 = 10;
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Another client took our channels: two that fight over them would both be useless.
const BACKOFF_REPLACED: Duration = Duration::from_secs(30);
/// Channels asked for at once while the switch's state is read.
const DUMPS_SENT_MAX: usize = 32;
/// All that we ever make use of. CUSTOM would have to come last: all that follows it is taken for a subclass.
const EVENTS: &str = "event plain CHANNEL_CREATE CHANNEL_PROGRESS CHANNEL_PROGRESS_MEDIA CHANNEL_ANSWER CHANNEL_PARK \
                      CHANNEL_UNPARK CHANNEL_BRIDGE CHANNEL_UNBRIDGE CHANNEL_HOLD CHANNEL_UNHOLD \
                      CHANNEL_HANGUP_COMPLETE BACKGROUND_JOB RECORD_START RECORD_STOP PLAYBACK_STOP";

/// The stop of the driver: its handle was dropped.
#[derive(Debug)]
pub(super) struct Stopped;

/// A link that stands, and what was read over it.
struct Connected {
    events: Reader,
    pings: OwnedWriteHalf,
    places: Connection,
    urgent: Connection,
    survey: Survey,
    folders: Folders,
    version: String,
    owner: String,
    ping: (Uuid, Instant),
}

/// The way out for events, and the way in for commands, with what must be counted.
pub(super) struct Ports {
    pub(super) commands: Receiver<PbxCommand>,
    pub(super) events: Sender<Stamped>,
    pub(super) stats: Arc<LinkStats>,
}

impl Ports {
    /// Hands on as many events as there is room for, which happened so long before they were read. The others stay where they are,
    /// the oldest first.
    pub(super) fn hand_on(
        &self,
        events: &mut VecDeque<PbxEvent>,
        read_at: Instant,
        ago: Duration,
    ) -> Result<(), Stopped> {
        while !events.is_empty() {
            match self.events.try_reserve() {
                Ok(room) => {
                    if let Some(event) = events.pop_front() {
                        room.send(Stamped { event, read_at, ago });
                    }
                }
                Err(TrySendError::Closed(())) => return Err(Stopped),
                Err(TrySendError::Full(())) => {
                    self.stats.dropped.fetch_add(1, Relaxed);
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Runs until the handle is dropped.
pub(super) async fn run(
    config: EslConfig,
    commands: Receiver<PbxCommand>,
    events: Sender<Stamped>,
    stats: Arc<LinkStats>,
) {
    let ports = Ports {
        commands,
        events,
        stats,
    };
    let mut driver = Driver {
        legs: Legs::new(mark(&config.app, config.installation)),
        ports,
        told_lost: false,
    };
    // Ends only by the handle's end.
    let Stopped = driver.run(&config).await;
}

struct Driver {
    legs: Legs,
    ports: Ports,
    /// Whether the last word on the link was that it is lost.
    told_lost: bool,
}

impl Driver {
    async fn run(&mut self, config: &EslConfig) -> Stopped {
        let name = &config.name;
        let mut backoff = BACKOFF_MIN;
        let mut failures: u32 = 0;
        loop {
            let known = self.legs.known();
            let stats = Arc::clone(&self.ports.stats);
            match self.unlinked(connect(config, &known, &stats)).await {
                Err(stopped) => return stopped,
                Ok(Err(err)) => {
                    failures = failures.saturating_add(1);
                    // Again now and then, and less and less often.
                    if failures.is_power_of_two() {
                        warn!(pbx.name = %name, cause = err.source().map(tracing::field::display),
                              "cannot connect to PBX `{name}`: {err}; connecting again until it succeeds");
                    }
                    if let Err(stopped) = self.tell_lost().await {
                        return stopped;
                    }
                }
                Ok(Ok(connected)) => {
                    failures = 0;
                    backoff = BACKOFF_MIN;
                    match self.serve(config, connected).await {
                        Err(stopped) => return stopped,
                        Ok(Lost::Replaced) => backoff = BACKOFF_REPLACED,
                        Ok(_) => {}
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

    /// Serves a link that stands until it breaks.
    async fn serve(&mut self, config: &EslConfig, connected: Connected) -> Result<Lost, Stopped> {
        let name = &config.name;
        info!(pbx.name = %name, pbx.version = %connected.version, channels = connected.survey.found.len(),
              "connected to PBX `{name}`, FreeSWITCH {}", connected.version);
        self.ports.stats.connects.fetch_add(1, Relaxed);
        self.legs.set_folders(connected.folders);
        self.legs.adopt(&connected.survey.found, Instant::now());
        let stats = &self.ports.stats;
        let mark = mark(&config.app, config.installation);
        let places = Line::new(connected.places, &mark, stats);
        let urgent = Line::new(connected.urgent, &mark, stats);
        self.tell(PbxEvent::Resynchronised(connected.survey.snapshot))
            .await?;
        self.told_lost = false;
        self.ports.stats.connected.store(true, Relaxed);
        let session = Session {
            events: connected.events,
            pings: connected.pings,
            ping: connected.ping,
            owner: connected.owner,
            app: config.app.clone(),
            clock: PbxClock::new(),
            places,
            urgent,
            legs: &mut self.legs,
            ports: &mut self.ports,
            heard_at: Instant::now(),
        };
        let end = session.run().await;
        self.ports.stats.connected.store(false, Relaxed);
        let lost = match end {
            End::Stopped => return Err(Stopped),
            End::Lost(lost) => lost,
        };
        self.ports.stats.losses.fetch_add(1, Relaxed);
        warn!(pbx.name = %name, cause = lost.source().map(tracing::field::display),
              "lost the link to PBX `{name}`: {lost}; calls there go on, but no call is launched until it is up again");
        self.legs.unlinked(Instant::now());
        self.tell_lost().await?;
        Ok(lost)
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
        // What finds no room stays: one answer a command, so no more than the engines have legs.
        let events = &mut self.legs.out.events;
        self.ports.hand_on(events, Instant::now(), Duration::ZERO)
    }

    /// Hands on an event that must not be lost, however long there is no room for it.
    async fn tell(&mut self, event: PbxEvent) -> Result<(), Stopped> {
        let stamped = Stamped::now(event);
        let events = self.ports.events.clone();
        self.unlinked(events.send(stamped)).await?.map_err(|_| Stopped)
    }

    async fn tell_lost(&mut self) -> Result<(), Stopped> {
        if !std::mem::replace(&mut self.told_lost, true) {
            self.tell(PbxEvent::LinkLost).await?;
        }
        Ok(())
    }
}

/// Subscribes first, and reads the switch's state after, so that no event is lost in between: they are read meanwhile, and
/// wait in the reader's queue.
async fn connect(
    config: &EslConfig,
    known: &HashSet<Uuid>,
    stats: &Arc<LinkStats>,
) -> Result<Connected, WireError> {
    let mut events = Connection::open(config).await?;
    let mut urgent = Connection::open(config).await?;
    let places = Connection::open(config).await?;

    let mark = mark(&config.app, config.installation);
    if is_taken(&mut urgent, &config.app, &mark).await? {
        return Err(WireError::Taken {
            app: config.app.clone(),
        });
    }
    let owner = format!("{mark}.{}", Uuid::new_v4());
    let take = format!(
        "api global_setvar {}={owner}",
        command::owner_variable(&config.app)
    );
    urgent.demand("global_setvar", &take).await?;
    // Filters are ORed. Channels of others, and their 30 events a call, stay where they are.
    for filter in [
        format!("filter variable_paceline_app {mark}"),
        "filter Event-Name BACKGROUND_JOB".to_owned(),
    ] {
        events.demand("filter", &filter).await?;
    }
    events.demand("event", EVENTS).await?;
    // How far the switch's clock is from ours is known before its first word of a leg is made use of.
    let ping = (Uuid::new_v4(), Instant::now());
    events.send(&command::ping(&config.app, ping.0)).await?;
    // From here on they are read whatever happens, however long the survey takes.
    let Connection {
        reading,
        writing: pings,
    } = events;
    let events = Reader::spawn(reading, mark.clone(), Arc::clone(stats));

    let version = text(urgent.demand("version", "api version").await?);
    let version = version.split_whitespace().nth(2).unwrap_or("?").to_owned();
    let folders = Folders {
        recordings: text(
            urgent
                .demand("global_getvar", "api global_getvar recordings_dir")
                .await?,
        ),
        sounds: text(
            urgent
                .demand("global_getvar", "api global_getvar sounds_dir")
                .await?,
        ),
    };
    let asked = "show channels";
    let list = urgent.demand(asked, "api show channels as json").await?;
    let channels: Vec<Uuid> = candidates(&list, known)
        .map_err(|err| WireError::Reply { asked, err })?
        .into_iter()
        .collect();
    let mut survey = Survey::default();
    for some in channels.chunks(DUMPS_SENT_MAX) {
        for channel in some {
            urgent.send(&format!("api uuid_dump {channel}")).await?;
        }
        for _ in some {
            survey.dump(&urgent.reply().await?, &mark);
        }
    }
    Ok(Connected {
        events,
        pings,
        places,
        urgent,
        survey: survey.finish(),
        folders,
        version,
        owner,
        ping,
    })
}

/// Whether another installation drives channels under our `app`: to take it would cut that one off in the middle of its
/// calls. It shows that it lives by what it writes with every ping; one that has been silent for so long is dead.
async fn is_taken(urgent: &mut Connection, app: &str, mark: &str) -> Result<bool, WireError> {
    let owner = format!("api global_getvar {}", command::owner_variable(app));
    let owner = text(urgent.ask(&owner).await?);
    let others = owner
        .rsplit_once('.')
        .is_some_and(|(of, session)| of != mark && Uuid::try_parse(session).is_ok());
    if !others {
        return Ok(false);
    }
    let alive = format!("api global_getvar {}", command::alive_variable(app));
    let first = urgent.ask(&alive).await?;
    for _ in 0..OWNER_SILENCE_MAX_S {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if urgent.ask(&alive).await? != first {
            return Ok(true);
        }
    }
    Ok(false)
}

fn text(reply: Vec<u8>) -> String {
    String::from_utf8_lossy(&reply).trim().to_owned()
}
