//! The part that is the same for every driver of a PBX on the network. It makes the link, reports changes of the link, handles
//! commands while the link is down, and reconnects with back-off until its handle is dropped. Input: a [`Link`], which knows one
//! kind of PBX.

use crate::{COMMANDS_WAITING_MAX, EVENTS_WAITING_MAX, LinkStats, PbxHandle, Stamped};
use paceline_core::ids::PbxName;
use paceline_core::pbx::{PbxCommand, PbxEvent, Snapshot};
use paceline_runtime::clock::Moment;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tracing::{info, warn};

const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// The back-off after another client has taken our place. If both reconnected at once, neither would keep its link.
const BACKOFF_REPLACED: Duration = Duration::from_secs(30);
/// Maximum silence of a PBX before its link is dropped. A PBX that runs answers every ping, but a PBX that is short of CPU may
/// take seconds. If its link were dropped, the ends of calls would be lost too.
const SILENCE_MAX: Duration = Duration::from_secs(10);
const PING_EVERY: Duration = Duration::from_secs(1);
const TICK_LATE: Duration = Duration::from_secs(1);

/// The driver stops, because its handle was dropped.
#[derive(Debug)]
pub(crate) struct Stopped;

/// A link that is being made. It borrows nothing, because the driver handles commands at the same time.
pub(crate) type Connecting<L> =
    Pin<Box<dyn Future<Output = Result<<L as Link>::Linked, <L as Link>::ConnectError>> + Send>>;

/// The link to one kind of PBX. It makes the connections, and carries commands and events.
pub(crate) trait Link: Sized {
    /// The connections of a new link, and the PBX's state that was read over them.
    type Linked;
    /// The reason if no link can be made.
    type ConnectError: Error;
    /// The reason if a link breaks.
    type Lost: Error;
    /// The name of the PBX's product, as `Asterisk`.
    const PRODUCT: &'static str;

    fn name(&self) -> &PbxName;

    /// Subscribes to events first, then reads the PBX's state, so that no event between the two is lost.
    fn connect(&self, stats: &Arc<LinkStats>) -> Connecting<Self>;

    /// Takes over the PBX's state that `connect` has read. Returns the snapshot for the engine.
    fn adopt(&mut self, linked: &mut Self::Linked, stats: &LinkStats) -> Adopted;

    /// Carries commands and events until the link breaks. It then drops the requests that were not sent.
    async fn serve(&mut self, linked: Self::Linked, ports: &mut Ports) -> Result<Loss<Self::Lost>, Stopped>;

    /// Handles a command while the link is down.
    fn command_unlinked(&mut self, command: PbxCommand);

    /// Events that wait for delivery, the oldest first.
    fn events(&mut self) -> &mut VecDeque<PbxEvent>;
}

/// The state that was found on a PBX.
pub(crate) struct Adopted {
    /// The PBX's version, as `22.10.0`.
    pub(crate) version: String,
    pub(crate) snapshot: Snapshot,
}

/// The loss of a link.
pub(crate) struct Loss<E> {
    pub(crate) why: E,
    /// The time of the loss. Events on the PBX after this time may be missing.
    pub(crate) at: Moment,
    /// True if another client has taken our place.
    pub(crate) replaced: bool,
}

/// The driver's ends of the queues of a [`PbxHandle`].
pub(crate) struct Ports {
    pub(crate) commands: Receiver<PbxCommand>,
    pub(crate) events: Sender<Stamped>,
    pub(crate) stats: Arc<LinkStats>,
}

impl Ports {
    /// Makes the queues. Returns the driver's ends, and the handle with the other ends.
    pub(crate) fn open() -> (Self, PbxHandle) {
        let (command_sender, commands) = mpsc::channel(COMMANDS_WAITING_MAX);
        let (events, event_receiver) = mpsc::channel(EVENTS_WAITING_MAX);
        let stats = Arc::new(LinkStats::default());
        let handle = PbxHandle {
            commands: command_sender,
            events: event_receiver,
            stats: Arc::clone(&stats),
        };
        let ports = Self {
            commands,
            events,
            stats,
        };
        (ports, handle)
    }

    /// Delivers events while their queue has room. `ago` is the time from the events on the PBX until `read_at`. Events without
    /// room stay in `events`, the oldest first. Error: the handle was dropped.
    pub(crate) fn hand_on(
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
pub(crate) async fn run<L: Link>(link: L, ports: Ports) {
    let mut driver = Driver {
        link,
        ports,
        told_lost: false,
    };
    let Err(Stopped) = driver.keep_linked().await;
}

struct Driver<L> {
    link: L,
    ports: Ports,
    /// True if the last event about the link was [`PbxEvent::LinkLost`].
    told_lost: bool,
}

impl<L: Link> Driver<L> {
    async fn keep_linked(&mut self) -> Result<Infallible, Stopped> {
        let mut backoff = BACKOFF_MIN;
        let mut failures: u32 = 0;
        loop {
            let connecting = self.link.connect(&self.ports.stats);
            match self.unlinked(connecting).await? {
                Err(err) => {
                    failures = failures.saturating_add(1);
                    // The driver repeats the warning at longer and longer intervals, so that a long outage does not fill the log.
                    if failures.is_power_of_two() {
                        let name = self.link.name();
                        warn!(pbx.name = %name, cause = err.source().map(tracing::field::display),
                              "cannot connect to PBX `{name}`: {err}; connecting again until it succeeds");
                    }
                    self.tell_lost(Moment::now()).await?;
                }
                Ok(linked) => {
                    failures = 0;
                    let replaced = self.serve(linked).await?;
                    backoff = if replaced { BACKOFF_REPLACED } else { BACKOFF_MIN };
                }
            }
            let wait = backoff.mul_f64(rand::random_range(0.5..1.0));
            backoff = (backoff * 2).min(BACKOFF_MAX);
            self.unlinked(tokio::time::sleep(wait)).await?;
        }
    }

    /// Serves a link until it breaks. Returns true if another client has taken our place.
    async fn serve(&mut self, mut linked: L::Linked) -> Result<bool, Stopped> {
        let Adopted { version, snapshot } = self.link.adopt(&mut linked, &self.ports.stats);
        let name = self.link.name();
        info!(pbx.name = %name, pbx.version = %version, channels = snapshot.channels.len(),
              "connected to PBX `{name}`, {} {version}", L::PRODUCT);
        self.ports.stats.connects.fetch_add(1, Relaxed);
        self.ports.stats.set_version(&version);
        self.tell(Stamped::now(PbxEvent::Resynchronised(snapshot)))
            .await?;
        self.told_lost = false;
        self.ports.stats.connected.store(true, Relaxed);
        let served = self.link.serve(linked, &mut self.ports).await;
        self.ports.stats.connected.store(false, Relaxed);
        let Loss { why, at, replaced } = served?;
        self.ports.stats.losses.fetch_add(1, Relaxed);
        let name = self.link.name();
        warn!(pbx.name = %name, cause = why.source().map(tracing::field::display),
              "lost the link to PBX `{name}`: {why}; calls there go on, but no call is launched until it is up again");
        self.tell_lost(at).await?;
        Ok(replaced)
    }

    /// Waits for `work` while the link is down, and handles commands meanwhile.
    async fn unlinked<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Stopped> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                command = self.ports.commands.recv() => {
                    self.link.command_unlinked(command.ok_or(Stopped)?);
                    // An event without room stays queued. A command gives at most one event, so no more events wait than the
                    // engines have legs.
                    self.ports.hand_on(self.link.events(), Instant::now(), Duration::ZERO)?;
                }
            }
        }
    }

    /// Delivers an event that must not be lost. It waits until there is room in the queue.
    async fn tell(&mut self, stamped: Stamped) -> Result<(), Stopped> {
        let events = self.ports.events.clone();
        self.unlinked(events.send(stamped)).await?.map_err(|_| Stopped)
    }

    /// Reports the loss of the link, once. The PBX's state is unknown since `lost_at`: a call that is found up later may have
    /// been up since then.
    async fn tell_lost(&mut self, lost_at: Moment) -> Result<(), Stopped> {
        if std::mem::replace(&mut self.told_lost, true) {
            return Ok(());
        }
        self.tell(Stamped {
            ago: lost_at.elapsed(),
            ..Stamped::now(PbxEvent::LinkLost)
        })
        .await
    }
}

/// Decides whether a PBX runs, from its events and its answers to pings.
pub(crate) struct Pulse {
    /// The time of the last message from the PBX.
    pub(crate) heard_at: Instant,
    ticked_at: Instant,
    pinged_at: Instant,
}

/// The action that is due at a tick.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    /// Send a ping.
    Ping,
    /// Our own process stood still. The PBX's messages must be read before its silence is judged: the runtime may not know yet
    /// that there is something to read.
    Late,
    /// The PBX has been silent for longer than `SILENCE_MAX`.
    Silent,
}

impl Pulse {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            heard_at: now,
            ticked_at: now,
            pinged_at: now,
        }
    }

    /// Call this several times a second.
    pub(crate) fn tick(&mut self, now: Instant) -> Due {
        let since_tick = now.duration_since(std::mem::replace(&mut self.ticked_at, now));
        if since_tick > TICK_LATE {
            Due::Late
        } else if now.duration_since(self.heard_at) > SILENCE_MAX {
            Due::Silent
        } else if now.duration_since(self.pinged_at) >= PING_EVERY {
            self.pinged_at = now;
            Due::Ping
        } else {
            Due::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_core::ids::LegId;
    use paceline_core::pbx::LegEnd;
    use uuid::Uuid;

    #[test]
    fn events_that_find_no_room_are_kept_in_their_order() {
        let (_commands, commands_in) = mpsc::channel(1);
        let (events_out, mut events) = mpsc::channel(2);
        let ports = Ports {
            commands: commands_in,
            events: events_out,
            stats: Arc::default(),
        };
        let ended = |nth| PbxEvent::LegEnded {
            leg: LegId(Uuid::from_u128(nth)),
            end: LegEnd::default(),
        };
        let mut waiting: VecDeque<PbxEvent> = (0..3).map(ended).collect();
        let now = Instant::now();
        assert!(ports.hand_on(&mut waiting, now, Duration::ZERO).is_ok());
        assert_eq!(waiting, [ended(2)]);
        assert_eq!(ports.stats.dropped.load(Relaxed), 1);
        assert_eq!(events.try_recv().unwrap().event, ended(0));
        assert!(ports.hand_on(&mut waiting, now, Duration::ZERO).is_ok());
        assert_eq!(waiting, []);
        drop(events);
        waiting.push_back(ended(4));
        assert!(ports.hand_on(&mut waiting, now, Duration::ZERO).is_err());
    }

    #[test]
    fn a_silent_pbx_is_lost_unless_our_own_process_was_stopped() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pulse = Pulse::new(start);
        assert_eq!(pulse.tick(at(500)), Due::Nothing);
        assert_eq!(pulse.tick(at(1_000)), Due::Ping);
        assert_eq!(pulse.tick(at(1_500)), Due::Nothing);
        assert_eq!(pulse.tick(at(30_000)), Due::Late, "what it said is read first");
        assert_eq!(pulse.tick(at(30_500)), Due::Silent);
        pulse.heard_at = at(30_600);
        assert_eq!(pulse.tick(at(31_000)), Due::Ping);
        for ms in (31_500..=40_600).step_by(500) {
            assert_ne!(pulse.tick(at(ms)), Due::Silent, "{ms}");
        }
        assert_eq!(pulse.tick(at(41_000)), Due::Silent);
    }
}
