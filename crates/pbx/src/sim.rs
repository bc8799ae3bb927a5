//! The driver of the simulated PBX, in real or accelerated time.
//!
//! Input: the commands of a [`PbxHandle`], and the faults of [`SimControl`]. Output: events. The PBX itself, with everything
//! random, is [`paceline_sim::SimPbx`].

use super::driver::Ports;
use super::{EVENTS_WAITING_MAX, LinkStats, NO_LINK, PbxHandle, Stamped, refusal};
use paceline_core::ids::AgentLegId;
use paceline_core::pbx::{PbxCommand, PbxEvent};
use paceline_core::time::Mono;
use paceline_runtime::clock::Clock;
use paceline_sim::truth::Truth;
use paceline_sim::{Answer, Faults, SimConfig, SimPbx};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use uuid::Uuid;

/// Maximum number of commands taken at once, before the PBX runs and its events are delivered.
const COMMANDS_PER_WAKE_MAX: usize = 64;

/// Starts a PBX with a random seed. Call it inside a Tokio runtime.
pub fn spawn(config: SimConfig, clock: Clock) -> PbxHandle {
    spawn_seeded(config, rand::random(), clock).0
}

/// Starts a PBX with this seed, and returns the control of its faults and its state. Call it inside a Tokio runtime.
pub fn spawn_seeded(config: SimConfig, seed: u64, clock: Clock) -> (PbxHandle, SimControl) {
    let control = SimControl {
        sim_pbx: Arc::new(Mutex::new(SimPbx::new(config, seed))),
        changed: Arc::new(Notify::new()),
        driver: Arc::default(),
        clock,
    };
    (control.drive(), control)
}

/// Injects faults into a running simulated PBX, removes them, and shows its state.
#[derive(Clone, Debug)]
pub struct SimControl {
    sim_pbx: Arc<Mutex<SimPbx>>,
    changed: Arc<Notify>,
    /// The number of the newest driver. It changes only while the PBX is locked.
    driver: Arc<AtomicU64>,
    clock: Clock,
}

impl SimControl {
    /// Starts another driver for this PBX, as a new process does. A driver that still runs loses its link and does not get it
    /// back.
    pub fn attach(&self) -> PbxHandle {
        self.change(|sim_pbx, now| {
            self.driver.fetch_add(1, AcqRel);
            sim_pbx.cut_link(now, Duration::ZERO);
            sim_pbx.handle_timeout(now);
            while sim_pbx.next_event().is_some() {}
            sim_pbx.forget_unseen();
            sim_pbx.restore_link(now);
        });
        self.drive()
    }

    fn drive(&self) -> PbxHandle {
        let (
            Ports {
                commands,
                events,
                stats,
            },
            handle,
        ) = Ports::open();
        let driver = Driver {
            control: self.clone(),
            number: self.driver.load(Acquire),
            events,
            stats,
            overflowed: false,
        };
        tokio::spawn(driver.run(commands));
        handle
    }

    /// Changes the faults that occur from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.change(|sim_pbx, _| sim_pbx.set_faults(faults));
    }

    /// Cuts the link, see [`SimPbx::cut_link`].
    pub fn cut_link(&self, notice_after: Duration) {
        self.change(|sim_pbx, now| sim_pbx.cut_link(now, notice_after));
    }

    /// Restores the link, see [`SimPbx::restore_link`].
    pub fn restore_link(&self) {
        self.change(|sim_pbx, now| sim_pbx.restore_link(now));
    }

    /// Restarts the PBX, see [`SimPbx::restart`].
    pub fn restart(&self, takes: Duration) {
        self.change(|sim_pbx, now| sim_pbx.restart(now, takes));
    }

    /// The number of our channels on the PBX.
    pub fn channels(&self) -> usize {
        self.look().channels()
    }

    /// The ids of our channels on the PBX.
    pub fn channel_ids(&self) -> Vec<Uuid> {
        self.look().channel_ids().collect()
    }

    /// The leg to the phone at this dial string. `None` unless the phone has answered.
    pub fn held_at(&self, dial: &str) -> Option<AgentLegId> {
        self.look().held_at(dial)
    }

    /// Sets how the phone at this dial string answers its next calls. Otherwise this is drawn at random.
    pub fn set_phone(&self, dial: &str, answer: Answer) {
        self.change(|sim_pbx, _| sim_pbx.set_phone(dial, answer));
    }

    /// Hangs up this channel from its far end.
    pub fn far_end_hangs_up(&self, channel: Uuid) {
        self.change(|sim_pbx, now| sim_pbx.far_end_hangs_up(now, channel));
    }

    /// Reads the record of what really happened on the PBX so far.
    pub fn truth<R>(&self, read: impl FnOnce(&Truth) -> R) -> R {
        read(self.look().truth())
    }

    fn change(&self, change: impl FnOnce(&mut SimPbx, Mono)) {
        change(&mut self.lock(), self.clock.now().mono);
        self.changed.notify_one();
    }

    /// The PBX as it is now, even if no driver has advanced its time.
    fn look(&self) -> MutexGuard<'_, SimPbx> {
        let mut sim_pbx = self.lock();
        sim_pbx.handle_timeout(self.clock.now().mono);
        sim_pbx
    }

    fn lock(&self) -> MutexGuard<'_, SimPbx> {
        // After a panic in another thread, the PBX is at worst between two of its steps. It can go on from there.
        self.sim_pbx.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Another driver has taken over the PBX.
struct Replaced;

/// The driver. When it stops for any reason, nobody reads the PBX's events any more, so it cuts the link. A driver that was
/// replaced does not.
struct Driver {
    control: SimControl,
    number: u64,
    events: mpsc::Sender<Stamped>,
    stats: Arc<LinkStats>,
    /// True if events did not fit into the queue. The link is then cut until there is room again.
    overflowed: bool,
}

impl Driver {
    async fn run(mut self, mut commands: mpsc::Receiver<PbxCommand>) {
        let mut batch = Vec::with_capacity(COMMANDS_PER_WAKE_MAX);
        loop {
            let Ok(wake_at) = self.step(&mut batch) else {
                return self.refuse_all(batch, commands).await;
            };
            let changed = self.control.changed.clone();
            tokio::select! {
                taken = commands.recv_many(&mut batch, COMMANDS_PER_WAKE_MAX) => if taken == 0 { return },
                () = sleep_until(wake_at) => {}
                () = changed.notified() => {}
                () = self.events.closed() => return,
                room = self.events.reserve_many(EVENTS_WAITING_MAX / 2), if self.overflowed => {
                    if room.is_err() {
                        return;
                    }
                    self.overflowed = false;
                    let lost = Stamped::now(PbxEvent::LinkLost);
                    self.hand_on(lost);
                    self.control.lock().restore_link(self.control.clock.now().mono);
                }
            }
        }
    }

    /// Runs after another driver has taken over. It reports the loss of the link, and refuses commands until the handle is
    /// dropped.
    async fn refuse_all(&self, mut batch: Vec<PbxCommand>, mut commands: mpsc::Receiver<PbxCommand>) {
        self.hand_on(Stamped::now(PbxEvent::LinkLost));
        loop {
            for command in batch.drain(..) {
                if let Some(event) = refusal(&command, NO_LINK)
                    && !self.hand_on(Stamped::now(event))
                {
                    self.stats.dropped.fetch_add(1, Relaxed);
                }
            }
            if commands.recv_many(&mut batch, COMMANDS_PER_WAKE_MAX).await == 0 {
                return;
            }
        }
    }

    /// Executes commands and everything that is due, and delivers the events. Returns when to wake the driver, `None` if nothing
    /// is due later.
    fn step(&mut self, batch: &mut Vec<PbxCommand>) -> Result<Option<tokio::time::Instant>, Replaced> {
        let control = self.control.clone();
        let mut sim_pbx = control.lock();
        if control.driver.load(Acquire) != self.number {
            return Err(Replaced);
        }
        let now = control.clock.now().mono;
        for command in batch.drain(..) {
            sim_pbx.handle(now, command);
        }
        sim_pbx.handle_timeout(now);
        while let Some(event) = sim_pbx.next_event() {
            self.stats.events_read.fetch_add(1, Relaxed);
            if self.overflowed || !self.hand_on(Stamped::now(event)) {
                self.stats.dropped.fetch_add(1, Relaxed);
                self.overflowed = true;
                sim_pbx.cut_link(now, Duration::ZERO);
            }
        }
        self.stats
            .commands_failed
            .store(sim_pbx.truth().commands_lost, Relaxed);
        Ok(sim_pbx.poll_timeout().map(|at| control.clock.instant_of(at)))
    }

    /// Delivers an event. Returns false if it could not be delivered.
    fn hand_on(&self, stamped: Stamped) -> bool {
        match &stamped.event {
            PbxEvent::LinkLost if self.stats.connected.swap(false, Relaxed) => {
                self.stats.losses.fetch_add(1, Relaxed);
            }
            PbxEvent::Resynchronised(_) => {
                self.stats.connected.store(true, Relaxed);
                self.stats.connects.fetch_add(1, Relaxed);
            }
            _ => {}
        }
        self.events.try_send(stamped).is_ok()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.control.change(|sim_pbx, now| {
            if self.control.driver.load(Acquire) == self.number {
                sim_pbx.cut_link(now, Duration::ZERO);
            }
        });
    }
}

async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
