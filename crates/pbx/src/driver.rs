//! What every driver of a PBX on the network does alike: it makes the link, tells what becomes of it, answers commands while there
//! is none, and tries again with back-off, until its handle is dropped. In: a [`Link`], which knows one kind of PBX.

use crate::{COMMANDS_WAITING_MAX, EVENTS_WAITING_MAX, LinkStats, PbxHandle, Stamped};
use paceline_core::ids::PbxName;
use paceline_core::pbx::{PbxCommand, PbxEvent, Snapshot};
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
/// After another client took what is ours: two that fight over it would both be useless.
const BACKOFF_REPLACED: Duration = Duration::from_secs(30);
/// Another installation that drives our channels shows life every second. One that does not for so long is dead.
pub(crate) const OWNER_SILENCE_MAX_S: u32 = 10;
/// Longest silence of a PBX. One that lives answers every ping; one that is short of CPU may take seconds, and to drop its link
/// would lose the ends of calls besides.
const SILENCE_MAX: Duration = Duration::from_secs(10);
const PING_EVERY: Duration = Duration::from_secs(1);
const TICK_LATE: Duration = Duration::from_secs(1);

/// The driver stops: its handle was dropped.
#[derive(Debug)]
pub(crate) struct Stopped;

/// A link that is being made. It borrows nothing, as commands are answered meanwhile.
pub(crate) type Connecting<L> =
    Pin<Box<dyn Future<Output = Result<<L as Link>::Linked, <L as Link>::ConnectError>> + Send>>;

/// The link to one kind of PBX: how it is made and carried.
pub(crate) trait Link: Sized {
    /// Connections, and what was read over them.
    type Linked;
    /// Why no link could be made.
    type ConnectError: Error;
    /// Why a link broke.
    type Lost: Error;
    /// The PBX's product: `Asterisk`.
    const PRODUCT: &'static str;

    fn name(&self) -> &PbxName;

    /// Subscribes to events first and reads the PBX's state after, so that no event is lost in between.
    fn connect(&self, stats: &Arc<LinkStats>) -> Connecting<Self>;

    /// Takes over what was found on the PBX.
    fn adopt(&mut self, linked: &mut Self::Linked, stats: &LinkStats) -> Adopted;

    /// Carries commands and events until the link breaks, and settles what the break leaves open.
    async fn serve(&mut self, linked: Self::Linked, ports: &mut Ports) -> Result<Loss<Self::Lost>, Stopped>;

    /// Answers a command while there is no link.
    fn command_unlinked(&mut self, command: PbxCommand);

    /// Events that wait to be handed on.
    fn events(&mut self) -> &mut VecDeque<PbxEvent>;
}

/// What was found on a PBX.
pub(crate) struct Adopted {
    /// Its release.
    pub(crate) version: String,
    pub(crate) snapshot: Snapshot,
}

/// How a link was lost.
pub(crate) struct Loss<E> {
    pub(crate) why: E,
    /// What happened after this was not seen.
    pub(crate) at: Instant,
    /// Another client took our place.
    pub(crate) replaced: bool,
}

/// The driver's ends of a [`PbxHandle`].
pub(crate) struct Ports {
    pub(crate) commands: Receiver<PbxCommand>,
    pub(crate) events: Sender<Stamped>,
    pub(crate) stats: Arc<LinkStats>,
}

impl Ports {
    /// The driver's ends, and everybody else's.
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

    /// Hands on as many events as there is room for, which happened so long before they were read. The others stay where they
    /// are, the oldest first.
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
    // Ends only by the handle's end.
    let Err(Stopped) = driver.keep_linked().await;
}

struct Driver<L> {
    link: L,
    ports: Ports,
    /// Whether the last event on the link was that it is lost.
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
                    // Again now and then, and less and less often.
                    if failures.is_power_of_two() {
                        let name = self.link.name();
                        warn!(pbx.name = %name, cause = err.source().map(tracing::field::display),
                              "cannot connect to PBX `{name}`: {err}; connecting again until it succeeds");
                    }
                    self.tell_lost(Instant::now()).await?;
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

    /// Serves a link until it breaks. True: another client took our place.
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

    /// Waits for something while there is no link. Commands are answered meanwhile.
    async fn unlinked<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Stopped> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                command = self.ports.commands.recv() => {
                    self.link.command_unlinked(command.ok_or(Stopped)?);
                    // What finds no room stays: one answer per command, so no more than the engines have legs.
                    self.ports.hand_on(self.link.events(), Instant::now(), Duration::ZERO)?;
                }
            }
        }
    }

    /// Hands on an event that must not be lost, however long there is no room for it.
    async fn tell(&mut self, stamped: Stamped) -> Result<(), Stopped> {
        let events = self.ports.events.clone();
        self.unlinked(events.send(stamped)).await?.map_err(|_| Stopped)
    }

    /// Nothing is known of the PBX since then: a call that is found up may have been up ever since.
    async fn tell_lost(&mut self, lost_at: Instant) -> Result<(), Stopped> {
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

/// Whether a PBX lives, which its events and its answers to pings tell.
pub(crate) struct Pulse {
    /// When it was last heard.
    pub(crate) heard_at: Instant,
    ticked_at: Instant,
    pinged_at: Instant,
}

/// What is due at a tick.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    /// A ping.
    Ping,
    /// We stood still ourselves. What the PBX said meanwhile is read before its silence is judged: the runtime may not know yet
    /// that there is something to read.
    Late,
    /// The PBX has been silent for too long.
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

    /// To be called several times a second.
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
