//! The link to one FreeSWITCH. This module connects and reads the PBX's state. `session` carries commands and events, `legs`
//! interprets the events, and `driver` decides when to connect again.

use super::EslConfig;
use super::command;
use super::connection::{Connection, ConnectionError};
use super::legs::Legs;
use super::reader::Reader;
use super::recordings::Folders;
use super::session::{End, Line, Lost, Session};
use super::survey::{Survey, candidates};
use crate::driver::{Adopted, Connecting, Link, Loss, Ports, Pulse, Stopped};
use crate::owner::{Claim, Owner};
use crate::pbx_clock::PbxClock;
use crate::{LinkStats, mark};
use paceline_core::ids::PbxName;
use paceline_core::pbx::{PbxCommand, PbxEvent};
use paceline_runtime::clock::Moment;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::tcp::OwnedWriteHalf;
use uuid::Uuid;

#[cfg(test)]
mod tests;

/// Maximum number of `uuid_dump` commands that are sent before their replies are read.
const DUMPS_SENT_MAX: usize = 32;
/// All events that Paceline uses. `CUSTOM` would have to come last, because FreeSWITCH takes every name after it for a subclass.
const EVENTS: &str = "event plain CHANNEL_CREATE CHANNEL_PROGRESS CHANNEL_PROGRESS_MEDIA CHANNEL_ANSWER CHANNEL_PARK \
                      CHANNEL_UNPARK CHANNEL_BRIDGE CHANNEL_UNBRIDGE CHANNEL_HOLD CHANNEL_UNHOLD \
                      CHANNEL_HANGUP_COMPLETE BACKGROUND_JOB RECORD_START RECORD_STOP PLAYBACK_STOP DTMF";

/// A new link, and the PBX's state that was read over it.
pub(super) struct Linked {
    events: Reader,
    pings: OwnedWriteHalf,
    places: Connection,
    urgent: Connection,
    survey: Survey,
    folders: Folders,
    version: String,
    owner: String,
    ping: (Uuid, Moment),
}

/// The link to one FreeSWITCH.
pub(super) struct EslLink {
    config: Arc<EslConfig>,
    owner: Owner,
    legs: Legs,
}

impl EslLink {
    pub(super) fn new(config: EslConfig) -> Self {
        Self {
            legs: Legs::new(mark(&config.app, config.installation)),
            owner: Owner::new(&mark(&config.app, config.installation)),
            config: Arc::new(config),
        }
    }
}

impl Link for EslLink {
    type Linked = Linked;
    type ConnectError = ConnectionError;
    type Lost = Lost;
    const PRODUCT: &'static str = "FreeSWITCH";

    fn name(&self) -> &PbxName {
        &self.config.name
    }

    fn connect(&self, stats: &Arc<LinkStats>) -> Connecting<Self> {
        let config = Arc::clone(&self.config);
        let known = self.legs.known();
        let (owner, stats) = (self.owner.clone(), Arc::clone(stats));
        Box::pin(async move { connect(&config, &owner, &known, &stats).await })
    }

    fn adopt(&mut self, linked: &mut Linked, _: &LinkStats) -> Adopted {
        self.legs.set_folders(std::mem::take(&mut linked.folders));
        self.legs.adopt(&linked.survey.found, Instant::now());
        Adopted {
            version: std::mem::take(&mut linked.version),
            snapshot: std::mem::take(&mut linked.survey.snapshot),
        }
    }

    async fn serve(&mut self, linked: Linked, ports: &mut Ports) -> Result<Loss<Lost>, Stopped> {
        let mark = mark(&self.config.app, self.config.installation);
        let places = Line::new(linked.places, &mark, &ports.stats);
        let urgent = Line::new(linked.urgent, &mark, &ports.stats);
        let session = Session {
            events: linked.events,
            pings: linked.pings,
            ping: linked.ping,
            owner: linked.owner,
            app: self.config.app.clone(),
            clock: PbxClock::new(),
            places,
            urgent,
            legs: &mut self.legs,
            ports,
            pulse: Pulse::new(Instant::now()),
        };
        let why = match session.run().await {
            End::Stopped => return Err(Stopped),
            End::Lost(lost) => lost,
        };
        self.legs.unlinked(Instant::now());
        Ok(Loss {
            replaced: matches!(why, Lost::Replaced),
            why,
            at: Moment::now(),
        })
    }

    fn command_unlinked(&mut self, command: PbxCommand) {
        self.legs.command_unlinked(command);
    }

    fn events(&mut self) -> &mut VecDeque<PbxEvent> {
        &mut self.legs.out.events
    }
}

/// Subscribes to the events first and reads the PBX's state afterwards, so that no event in between is lost. Meanwhile a reader puts
/// the events into its queue.
async fn connect(
    config: &EslConfig,
    owner: &Owner,
    known: &HashSet<Uuid>,
    stats: &Arc<LinkStats>,
) -> Result<Linked, ConnectionError> {
    let mut events = Connection::open(config).await?;
    let mut urgent = Connection::open(config).await?;
    let places = Connection::open(config).await?;

    let mark = mark(&config.app, config.installation);
    if is_taken(&mut urgent, &config.app, owner).await? {
        return Err(ConnectionError::Taken {
            app: config.app.clone(),
        });
    }
    let owner = owner.name().to_owned();
    let take = format!(
        "api global_setvar {}={owner}",
        command::owner_variable(&config.app)
    );
    urgent.demand("global_setvar", &take).await?;
    // FreeSWITCH sends an event if any filter matches. So the channels of others, with 30 events per call, cause no traffic.
    for filter in [
        format!("filter variable_paceline_app {mark}"),
        "filter Event-Name BACKGROUND_JOB".to_owned(),
        // This event lacks the channel's variables (measured on 1.11).
        "filter Event-Name DTMF".to_owned(),
    ] {
        events.demand("filter", &filter).await?;
    }
    events.demand("event", EVENTS).await?;
    // The first ping goes out now, so that the difference between the PBX's clock and ours is known before the first events of legs
    // are used.
    let ping = (Uuid::new_v4(), Moment::now());
    events.send(&command::ping(&config.app, ping.0)).await?;
    // From here on a reader takes the events from the socket, however long the survey takes.
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
        .map_err(|err| ConnectionError::Reply { asked, err })?
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
    Ok(Linked {
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

/// True if another process drives channels under our `app`. Taking over would cut off that process in the middle of its calls. A
/// live owner changes a variable with every ping.
async fn is_taken(urgent: &mut Connection, app: &str, owner: &Owner) -> Result<bool, ConnectionError> {
    let found = format!("api global_getvar {}", command::owner_variable(app));
    let found = text(urgent.ask(&found).await?);
    let silence_s = match owner.claim(&found) {
        Some(Claim::Alive) => return Ok(true),
        Some(Claim::Unclear { silence_s }) => silence_s,
        Some(Claim::Ours | Claim::Ended) | None => return Ok(false),
    };
    let alive = format!("api global_getvar {}", command::alive_variable(app));
    let first = urgent.ask(&alive).await?;
    for _ in 0..silence_s {
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
