//! Faults of Paceline, its link, its PBX, its database and its disk while it calls mixed contacts, one after the other
//! and sometimes two at once. The kinds, the times and the lengths of the faults are drawn from a seed: `PACELINE_SEED`
//! if it is set.

use crate::account::{check_account, rules};
use crate::breakable::{Breakable, Cuttable, asterisk, freeswitch};
use crate::evidence::{Gap, check};
use crate::mixed::mixed_numbers;
use crate::rig::{Site, System, full, seed, wait_for};
use jiff::Timestamp;
use paceline_lab::{FreeSwitch, PhoneState, Postgres, SmallDisk, Version};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Paceline is killed with -9, and its supervisor starts it again.
    Kill,
    /// Every connection to the PBX is cut, and for a while no new one can be made.
    Cut,
    /// The PBX is killed with -9, and started again.
    AttachedPbx,
    /// The PBX is frozen, for a shorter or longer time than its link may be silent.
    Freeze,
    /// The database server is killed with -9, and started again.
    DatabaseKilled,
    /// The database server is stopped as an administrator does it, and started again.
    DatabaseStopped,
    /// The disk under the database is full until the test frees space.
    DiskFull,
}

impl Fault {
    /// The range of its length, in milliseconds.
    fn lasts_ms(self) -> Range<u64> {
        match self {
            Self::Kill => 0..1_500,
            Self::Cut => 0..3_000,
            Self::AttachedPbx => 0..2_000,
            Self::Freeze => 5_000..15_000,
            Self::DatabaseKilled | Self::DatabaseStopped => 500..3_000,
            Self::DiskFull => 4_000..8_000,
        }
    }

    /// True if both can happen at once. A killed PBX cannot be frozen.
    fn goes_with(self, other: Self) -> bool {
        let both = [self, other];
        self != other && !(both.contains(&Self::AttachedPbx) && both.contains(&Self::Freeze))
    }

    /// True if Paceline may miss ends of calls because of it.
    fn hides_ends(self) -> bool {
        matches!(self, Self::Kill | Self::Cut | Self::AttachedPbx | Self::Freeze)
    }
}

/// One or two faults at once.
#[derive(Debug)]
struct Strike {
    /// The fault begins once the carrier has seen this many calls,
    at_calls: usize,
    /// and then this much time has passed.
    after: Duration,
    faults: Vec<(Fault, Duration)>,
    /// True if the first fault to begin is the last to end.
    nested: bool,
}

/// Draws the faults for this many contacts, in order of time.
fn strikes(rng: &mut StdRng, faults: &[(Fault, usize)], contacts: usize) -> Vec<Strike> {
    let mut all: Vec<Fault> = faults
        .iter()
        .flat_map(|(fault, times)| vec![*fault; *times])
        .collect();
    all.shuffle(rng);
    let mut strikes: Vec<Strike> = Vec::new();
    for fault in all {
        let lasts = Duration::from_millis(rng.random_range(fault.lasts_ms()));
        let joins = rng.random_bool(0.2);
        match strikes.last_mut() {
            Some(before) if joins && before.faults.len() == 1 && before.faults[0].0.goes_with(fault) => {
                before.faults.push((fault, lasts));
            }
            _ => strikes.push(Strike {
                at_calls: rng.random_range(contacts / 20..contacts * 9 / 10),
                after: Duration::from_millis(rng.random_range(0..1_500)),
                faults: vec![(fault, lasts)],
                nested: rng.random_bool(0.5),
            }),
        }
    }
    for strike in &mut strikes {
        // Early, while the database's log still grows. Later the log is overwritten and needs no space.
        if strike.faults.iter().any(|(fault, _)| *fault == Fault::DiskFull) {
            strike.at_calls = rng.random_range(contacts / 10..contacts / 4);
        }
    }
    strikes.sort_by_key(|strike| strike.at_calls);
    strikes
}

/// The size of the disk: a campaign's data, and little more.
const DISK_KIB: u32 = 64 * 1024;

/// The place of the store.
enum Ground {
    Postgres(Postgres),
    Disk(SmallDisk),
}

struct Storm<L: Breakable> {
    system: System<Cuttable<L>>,
    ground: Ground,
}

impl<L: Breakable> Storm<L> {
    async fn over(ground: Ground, lab: L) -> Self {
        let site = Cuttable::over(lab).await;
        let (store, way_in) = match &ground {
            Ground::Postgres(server) => (server.url(), Vec::new()),
            Ground::Disk(disk) => (
                format!("sqlite:{}", disk.path().join("paceline.db").display()),
                disk.way_in(),
            ),
        };
        let system = System::start_inside(site, Some(store), way_in).await;
        Self { system, ground }
    }

    fn begin(&mut self, fault: Fault) {
        match (fault, &mut self.ground) {
            (Fault::Kill, _) => self.system.kill(),
            (Fault::Cut, _) => self.system.lab.proxy.cut(),
            (Fault::AttachedPbx, _) => self.system.lab.lab.crash(),
            (Fault::Freeze, _) => self.system.lab.lab.freeze(),
            (Fault::DatabaseKilled, Ground::Postgres(server)) => server.kill(),
            (Fault::DatabaseStopped, Ground::Postgres(server)) => server.stop().expect("it runs"),
            (Fault::DiskFull, Ground::Disk(disk)) => disk.fill().expect("it can be filled"),
            (fault, _) => panic!("{fault:?} does not fit where the store is"),
        }
    }

    fn end(&mut self, fault: Fault) {
        match (fault, &mut self.ground) {
            (Fault::Kill, _) => self.system.spawn(),
            (Fault::Cut, _) => self.system.lab.proxy.mend(),
            (Fault::AttachedPbx, _) => self.system.lab.lab.restart(),
            (Fault::Freeze, _) => self.system.lab.lab.thaw(),
            (_, Ground::Postgres(server)) => server.restart().expect("it starts again"),
            (_, Ground::Disk(disk)) => disk.free().expect("it was full"),
        }
    }

    /// Causes the faults, ends them, and waits until everything works again. Returns the period in which ends of calls
    /// may have been missed.
    async fn strike(&mut self, strike: &Strike) -> Option<Gap> {
        let from = Timestamp::now();
        // If the process or its link is gone too, there may be nothing to store, or Paceline cannot report it.
        let is_told = strike.faults.len() == 1;
        let store_fails = strike.faults.iter().any(|(fault, _)| !fault.hides_ends());
        let mut broken = Vec::new();
        for (fault, lasts) in &strike.faults {
            self.begin(*fault);
            broken.push(*fault);
            if !fault.hides_ends() {
                self.check_that_nothing_is_launched(*lasts, is_told).await;
            } else {
                tokio::time::sleep(*lasts).await;
            }
        }
        if strike.nested {
            broken.reverse();
        }
        for fault in broken {
            self.end(fault);
        }
        let system = &mut self.system;
        wait_for("everything to be up again", Duration::from_secs(60), async || {
            // As a supervisor does it, because Paceline does not start without its database.
            system.spawn();
            (system.api.is_connected().await && system.readyz().await == Some(200)).then_some(())
        })
        .await;
        if store_fails {
            // Otherwise the next kill loses the ends of calls that waited for the store.
            let none = "paceline_queue_depth{queue=\"store_changes\"} 0";
            wait_for("what waited to be stored", Duration::from_secs(30), async || {
                system.metrics().await.contains(none).then_some(())
            })
            .await;
        }
        let until = Timestamp::now();
        // The process loses the changes that it has not stored yet.
        let hides_ends = strike.faults.iter().any(|(fault, _)| fault.hides_ends());
        println!(
            "  at {} calls {:?}{}: {} ms",
            strike.at_calls,
            strike.faults,
            if store_fails {
                ", and nothing was launched"
            } else {
                ""
            },
            until.duration_since(from).as_millis()
        );
        let is_killed = strike.faults.iter().any(|(fault, _)| *fault == Fault::Kill);
        let is_mute = strike.faults.iter().any(|(fault, _)| *fault == Fault::Freeze);
        hides_ends.then(|| Gap::new(from, until, is_killed, is_mute))
    }

    /// Checks that no call is launched while the store cannot write, and that Paceline reports this.
    async fn check_that_nothing_is_launched(&self, lasts: Duration, is_told: bool) {
        // Attempts that were stored before the fault may still be dialed, for seconds on an overloaded machine.
        let mut before = 0;
        wait_for("no more calls to begin", Duration::from_secs(10), async || {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let calls = self.system.lab.calls().len();
            (std::mem::replace(&mut before, calls) == calls).then_some(())
        })
        .await;
        tokio::time::sleep(lasts).await;
        if is_told {
            wait_for(
                "it to tell that it cannot store",
                Duration::from_secs(30),
                async || {
                    let told = self.system.readyz().await == Some(503);
                    let metrics = self.system.metrics().await;
                    (told && metrics.contains("paceline_store_failing 1")).then_some(())
                },
            )
            .await;
            let log = self.system.log();
            assert!(log.contains("the store cannot write"), "the log does not tell");
            if let Ground::Disk(_) = self.ground {
                let live = self.system.api.get("/live").await;
                assert!(
                    live.to_string().contains("store_trouble"),
                    "the live state does not tell: {live}"
                );
            }
        }
        let after = self.system.lab.calls().len();
        assert_eq!(after, before, "calls were launched while nothing could be stored");
    }

    /// Reads one number from the store.
    async fn count(&self, sql: &'static str) -> i64 {
        match &self.ground {
            Ground::Postgres(server) => {
                let pool = sqlx::PgPool::connect(&server.url()).await.expect("it runs");
                sqlx::query_scalar(sql).fetch_one(&pool).await.expect("a count")
            }
            Ground::Disk(disk) => {
                let copy = tempfile::tempdir().expect("a folder");
                for file in std::fs::read_dir(disk.path_outside())
                    .expect("a folder")
                    .flatten()
                {
                    std::fs::copy(file.path(), copy.path().join(file.file_name())).expect("copied");
                }
                let url = format!("sqlite:{}", copy.path().join("paceline.db").display());
                let pool = sqlx::SqlitePool::connect(&url).await.expect("a database");
                sqlx::query_scalar(sql).fetch_one(&pool).await.expect("a count")
            }
        }
    }
}

/// Notes the times at which the whole machine was frozen: Paceline may miss ends of calls then too, without a fault of
/// the test.
fn note_stalls() -> (Arc<Mutex<Vec<Gap>>>, tokio::task::JoinHandle<()>) {
    const TICK: Duration = Duration::from_millis(100);
    const STALL_MIN: Duration = Duration::from_millis(1_500);
    /// After the freeze, a link that was silent for too long is closed and opened again.
    const AFTER: Duration = Duration::from_secs(6);
    let gaps = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&gaps);
    let watching = tokio::spawn(async move {
        loop {
            let from = Timestamp::now();
            tokio::time::sleep(TICK).await;
            let stood = Timestamp::now().duration_since(from).unsigned_abs();
            if stood >= STALL_MIN {
                println!("  the machine stood still for {stood:?}");
                noted
                    .lock()
                    .expect("a list")
                    .push(Gap::new(from, Timestamp::now() + AFTER, false, true));
            }
        }
    });
    (gaps, watching)
}

/// The numbers of kills, of cut links and of killed PBXes in the full length.
const FULL: [usize; 3] = [20, 20, 3];

/// Runs a campaign in this mode through the faults. `short` replaces [`FULL`] in the short form. The faults of the
/// store are added.
async fn storm_over<L: Breakable>(ground: Ground, lab: L, mode: &str, agents: u32, short: [usize; 3]) {
    let [kills, cuts, pbx] = if full() { FULL } else { short };
    let contacts = if full() { 500 } else { 60 };
    let mut faults = vec![
        (Fault::Kill, kills),
        (Fault::Cut, cuts),
        (Fault::AttachedPbx, pbx),
    ];
    faults.extend_from_slice(match ground {
        Ground::Postgres(_) => &[
            (Fault::Freeze, 1),
            (Fault::DatabaseKilled, 1),
            (Fault::DatabaseStopped, 1),
        ],
        Ground::Disk(_) => &[(Fault::DiskFull, 1)],
    });
    let seed = seed();
    println!(
        "{contacts} contacts, {agents} agents, {mode}, on {}, {faults:?}",
        L::MAKE
    );
    let mut rng = StdRng::seed_from_u64(seed);
    let strikes = strikes(&mut rng, &faults, contacts);
    let ahead = mode != "progressive";
    // Predictive pacing needs the ring timeout that the rules require.
    let ring_ms = if ahead { 20_000 } else { 8_000 };
    let mut storm = Storm::over(ground, lab).await;
    let campaign = storm
        .system
        .campaign_over(
            "mixed",
            &[(L::PBX, L::DIAL)],
            json!({
                "pacing": {"mode": mode, "abandon_rules": rules()}, "dialing": {"ring_timeout_ms": ring_ms},
                "answering": {"abandon_message": "sound:beep"},
            }),
        )
        .await;
    let ids = storm.system.agents_at(L::PBX, campaign, 1, agents).await;
    storm.system.wait_for_agents(campaign, ids.len()).await;
    let hang_up = storm
        .system
        .agents_hang_up_after(campaign, Duration::from_secs(2));
    let numbers = mixed_numbers(contacts);
    let task = storm.system.task(campaign, "mixed", &numbers, 0).await;
    let (stalls, watching) = note_stalls();
    let mut gaps = Vec::new();
    for strike in &strikes {
        wait_for("enough calls", Duration::from_secs(180), async || {
            (storm.system.lab.calls().len() >= strike.at_calls).then_some(())
        })
        .await;
        tokio::time::sleep(strike.after).await;
        gaps.extend(storm.strike(strike).await);
    }
    println!(
        "  nothing more breaks; contacts whose call was cancelled before it was dialed are due again in a minute"
    );
    let system = &mut storm.system;
    // A contact that was not dialed is due again in a minute, for which the short form does not wait. A contact whose
    // call was cancelled is due in half an hour.
    wait_for("an end of every attempt", Duration::from_secs(240), async || {
        // Read before the attempts, so that the list of attempts includes every call in it.
        let dialed: BTreeSet<String> = system.lab.calls().into_iter().map(|c| c.number).collect();
        let attempts = system.attempts(task).await;
        let over = |number: &String| {
            let last = attempts.get(number)?.iter().max_by_key(|a| a.created_at)?;
            let outcome = last.outcome.as_deref()?;
            let is_due_soon =
                outcome == "failed" || outcome == "cancelled" && full() && !dialed.contains(number);
            (!is_due_soon).then_some(())
        };
        numbers.iter().all(|number| over(number).is_some()).then_some(())
    })
    .await;
    // No further call is launched from here on. If the task is completed, the API answers 409.
    let cancel = format!("/tasks/{task}/cancel");
    let answer = system.api.send(reqwest::Method::POST, &cancel, Some(json!({})));
    let (status, _) = answer.await.expect("the API answers");
    assert!(matches!(status, 200..300 | 409), "{status}");
    wait_for("every agent to be free", Duration::from_secs(60), async || {
        let live = system.api.try_get(&format!("/campaigns/{campaign}/live")).await?;
        let mut agents = live["agents"].as_array()?.iter();
        (agents.len() == ids.len() && agents.all(|agent| agent["state"] == "available")).then_some(())
    })
    .await;
    hang_up.abort();
    watching.abort();
    gaps.extend(stalls.lock().expect("a list").iter().copied());
    check_lines(system, agents).await;

    let attempts = system.attempts(task).await;
    let seen = check(&numbers, &attempts, &system.lab.calls(), &gaps, ahead);
    println!("{seen}");
    // In spite of all faults, most calls are undisturbed.
    let least = if ahead { contacts / 3 } else { contacts / 2 };
    assert!(seen.exact >= least, "only {} are as played", seen.exact);
    check_account(system, campaign, task, &gaps).await;
    system.wind_up(&ids).await;
    for (what, sql) in [
        ("number leases", "SELECT count(*) FROM number_leases"),
        (
            "open attempts",
            "SELECT count(*) FROM attempts WHERE ended_at_ms IS NULL OR outcome IS NULL",
        ),
        ("open legs", "SELECT count(*) FROM legs WHERE ended_at_ms IS NULL"),
        (
            "leased contacts",
            "SELECT count(*) FROM task_contacts WHERE state = 'leased'",
        ),
        (
            "agents with a leg",
            "SELECT count(*) FROM agents WHERE leg_id IS NOT NULL",
        ),
    ] {
        assert_eq!(storm.count(sql).await, 0, "{what} are left");
    }
    assert_eq!(
        storm.count("SELECT count(*) FROM task_contacts").await,
        i64::try_from(contacts).expect("few"),
        "contacts"
    );
}

/// Checks that the carrier has no call left, and that the PBX has one leg for each agent and no other channel.
async fn check_lines<L: Breakable>(system: &System<Cuttable<L>>, agents: u32) {
    wait_for(
        "every callee to have hung up",
        Duration::from_secs(15),
        async || {
            system
                .lab
                .calls()
                .iter()
                .all(|call| call.end.is_some())
                .then_some(())
        },
    )
    .await;
    let channels = system.lab.lab.channels();
    assert_eq!(
        channels.len(),
        agents as usize,
        "one leg for each agent: {channels:?}"
    );
    let phones = system.lab.lab.phones().calls();
    for agent in 1..=agents {
        let up = |state| matches!(state, PhoneState::Ringing | PhoneState::Answered);
        let up = phones.iter().filter(|call| call.agent == agent && up(call.state));
        assert_eq!(up.count(), 1, "calls of agent-{agent}'s phone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_around_a_paceline_on_postgres_loses_and_doubles_nothing() {
    let agents = if full() { 12 } else { 10 };
    let server = Postgres::start().expect("it starts; run scripts/tools if it is missing");
    let lab = asterisk(Version::V22, agents);
    storm_over(Ground::Postgres(server), lab, "progressive", agents, [1, 1, 0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_around_a_paceline_whose_disk_fills_up_loses_and_doubles_nothing() {
    let agents = if full() { 6 } else { 10 };
    let Some(disk) = SmallDisk::start_or_skip(DISK_KIB, "a disk that fills up under a campaign") else {
        return;
    };
    let lab = asterisk(Version::V16, agents);
    storm_over(Ground::Disk(disk), lab, "progressive", agents, [1, 1, 1]).await;
}

/// With predictive pacing a callee may be abandoned at any time. Everything else must hold as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_around_a_paceline_that_calls_ahead_loses_and_doubles_nothing() {
    let agents = 10;
    let Some(disk) = SmallDisk::start_or_skip(DISK_KIB, "a disk that fills up under a predictive campaign")
    else {
        return;
    };
    let lab = asterisk(Version::V22, agents);
    storm_over(Ground::Disk(disk), lab, "predictive", agents, [1, 2, 1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_around_a_paceline_beside_freeswitch_loses_and_doubles_nothing() {
    if FreeSwitch::program_or_skip("a storm beside FreeSWITCH").is_none() {
        return;
    }
    let agents = if full() { 12 } else { 10 };
    let server = Postgres::start().expect("it starts; run scripts/tools if it is missing");
    let lab = freeswitch(agents);
    storm_over(Ground::Postgres(server), lab, "progressive", agents, [1, 1, 1]).await;
}
