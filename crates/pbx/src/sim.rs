//! The simulated PBX as a driver, in real or accelerated time.
//!
//! In: the commands of a [`PbxHandle`], and what [`SimControl`] breaks. Out: its events. The PBX itself, and all
//! that is random, is [`paceline_sim::SimPbx`].

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

/// Commands taken in one go before the PBX runs and its events are handed on.
const COMMANDS_PER_WAKE_MAX: usize = 64;

/// Starts a PBX that differs from run to run. Call it inside a runtime.
pub fn spawn(config: SimConfig, clock: Clock) -> PbxHandle {
    spawn_seeded(config, rand::random(), clock).0
}

/// Starts a PBX that draws from `seed`, and hands out the means to break it and to look inside.
pub fn spawn_seeded(config: SimConfig, seed: u64, clock: Clock) -> (PbxHandle, SimControl) {
    let control = SimControl {
        sim_pbx: Arc::new(Mutex::new(SimPbx::new(config, seed))),
        changed: Arc::new(Notify::new()),
        driver: Arc::default(),
        clock,
    };
    (control.drive(), control)
}

/// Breaks a running simulated PBX, heals it, and looks inside.
#[derive(Clone, Debug)]
pub struct SimControl {
    sim_pbx: Arc<Mutex<SimPbx>>,
    changed: Arc<Notify>,
    /// The number of the newest driver. Changes only while the PBX is locked.
    driver: Arc<AtomicU64>,
    clock: Clock,
}

impl SimControl {
    /// Starts another driver for this PBX, as a new process does. One that still runs is cut off for good.
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

    /// Changes what goes wrong from now on.
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

    /// Channels of ours that live on the PBX.
    pub fn channels(&self) -> usize {
        self.look().channels()
    }

    /// The ids of these channels.
    pub fn channel_ids(&self) -> Vec<Uuid> {
        self.look().channel_ids().collect()
    }

    /// The leg to the phone at this dial string, once it is picked up.
    pub fn held_at(&self, dial: &str) -> Option<AgentLegId> {
        self.look().held_at(dial)
    }

    /// What the phone at this dial string does with the next calls, in place of what would be drawn.
    pub fn set_phone(&self, dial: &str, answer: Answer) {
        self.change(|sim_pbx, _| sim_pbx.set_phone(dial, answer));
    }

    /// The far end of this channel hangs up.
    pub fn far_end_hangs_up(&self, channel: Uuid) {
        self.change(|sim_pbx, now| sim_pbx.far_end_hangs_up(now, channel));
    }

    /// Reads what really happened so far.
    pub fn truth<R>(&self, read: impl FnOnce(&Truth) -> R) -> R {
        read(self.look().truth())
    }

    fn change(&self, change: impl FnOnce(&mut SimPbx, Mono)) {
        change(&mut self.lock(), self.clock.now().mono);
        self.changed.notify_one();
    }

    /// The PBX as it is now, also where no driver has let its time pass.
    fn look(&self) -> MutexGuard<'_, SimPbx> {
        let mut sim_pbx = self.lock();
        sim_pbx.handle_timeout(self.clock.now().mono);
        sim_pbx
    }

    fn lock(&self) -> MutexGuard<'_, SimPbx> {
        // A panic elsewhere leaves the PBX between two steps at worst, which is where it always is.
        self.sim_pbx.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Another driver took the PBX over.
struct Replaced;

/// Cuts the link when it stops, however it stops: nobody listens to the PBX any more.
struct Driver {
    control: SimControl,
    number: u64,
    events: mpsc::Sender<Stamped>,
    stats: Arc<LinkStats>,
    /// Events did not fit: the link is cut until there is room again.
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

    /// Cut off for good: says so, and answers what it is asked until nobody asks any more.
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

    /// Carries out commands and whatever is due, hands the events on, and says when to be woken.
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

    /// Whether there was room for it.
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
