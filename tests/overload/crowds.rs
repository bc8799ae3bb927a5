//! Millions of contacts that must wait, beside a few that may be called. The few are called as if the others were not
//! there. The ordinary tests use thousands.

use super::{Db, PBX, is_full, runtime, seed};
use paceline::clock::Clock;
use paceline::dialer::{AttachedPbx, Dialer};
use paceline::metrics::Metrics;
use paceline::pbx::sim;
use paceline::store::{NewAgent, NewTask, NewTaskContacts, NewTrunk, Store};
use paceline_core::campaign::hours::{CallingHours, CallingWindow};
use paceline_core::campaign::settings::CampaignSettings;
use paceline_core::campaign::{CampaignState, TaskState};
use paceline_core::dial::{AgentTemplate, DialRules, Extension, TrunkTemplate};
use paceline_core::ids::{AgentId, CampaignId, ContactListId, PbxName, TrunkId};
use paceline_core::input::AgentRequest;
use paceline_core::time::Wall;
use paceline_sim::SimConfig;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const SPEED: f64 = 10.0;
/// Area codes of the US, one for each list.
const AREAS: [i64; 28] = [
    202, 203, 205, 206, 207, 208, 212, 213, 214, 215, 217, 303, 304, 305, 307, 312, 313, 314, 315, 401, 402,
    404, 405, 406, 407, 408, 409, 410,
];
/// A time zone whose local time is UTC.
const OPEN: &str = "Atlantic/Reykjavik";
/// Time zones that are at least five hours ahead of UTC, or ten hours behind.
const CLOSED: [&str; 6] = [
    "Asia/Tokyo",
    "Asia/Seoul",
    "Asia/Manila",
    "Asia/Bangkok",
    "Asia/Karachi",
    "Pacific/Honolulu",
];

struct Scale {
    agents: u32,
    closed_campaigns: u32,
    closed_contacts: u32,
    crowd: u32,
    few: u32,
    window: Duration,
    first_call: Duration,
    least: f64,
    /// The longest time that the change of a campaign's calling hours may take.
    slice: Duration,
}

const SHORT: Scale = Scale {
    agents: 20,
    closed_campaigns: 3,
    closed_contacts: 2_000,
    crowd: 20_000,
    few: 2_000,
    window: Duration::from_secs(4),
    first_call: Duration::from_secs(20),
    least: 0.3,
    slice: Duration::from_secs(5),
};
const FULL: Scale = Scale {
    agents: 100,
    closed_campaigns: 20,
    closed_contacts: 50_000,
    crowd: 1_000_000,
    few: 20_000,
    window: Duration::from_secs(20),
    first_call: Duration::from_secs(2),
    least: 0.9,
    slice: Duration::from_millis(50),
};

/// Calling hours that are open in [`OPEN`] from one hour ago until in four hours, and closed in each of [`CLOSED`].
fn hours_of_now(clock: &Clock, time_zone: &str) -> CallingHours {
    let minute = u16::try_from(clock.now().wall.0 / 60_000 % 1440).unwrap();
    let (from, until) = ((minute + 1380) % 1440, (minute + 240) % 1440);
    let window = |from_minute, until_minute| CallingWindow {
        days: (1..=7).collect(),
        from_minute,
        until_minute,
    };
    let windows = if from < until {
        vec![window(from, until)]
    } else {
        let first = (until > 0).then(|| window(0, until));
        first.into_iter().chain([window(from, 1440)]).collect()
    };
    CallingHours {
        time_zone: Some(time_zone.to_owned()),
        windows,
    }
}

/// A running dialer. The test adds its campaigns one after the other.
struct Floor {
    db: Db,
    store: Store,
    dialer: Dialer,
    clock: Clock,
    trunk: TrunkId,
    scale: Scale,
    lists: AtomicUsize,
}

impl Floor {
    async fn start(db: Db, seed: u64) -> Self {
        let metrics = Metrics::new();
        let store = Store::open(&db.url, metrics.store()).await.unwrap();
        store.keep_ledger(paceline_ledger::NumberKey::new(&[5; 32]).unwrap());
        let trunk = NewTrunk {
            name: "carrier".into(),
            pbx: PbxName::new(PBX),
            dial: TrunkTemplate::new("PJSIP/{number}@carrier").unwrap(),
            caller_id: None,
        };
        let trunk = store.create_trunk(&trunk).await.unwrap().id;
        let clock = Clock::with_speed(SPEED);
        let (handle, _) = sim::spawn_seeded(SimConfig::default(), seed, clock);
        let pbx = AttachedPbx {
            name: PbxName::new(PBX),
            kind: "sim",
            agent_dial: AgentTemplate::new("PJSIP/{extension}").unwrap(),
            dial_allowed: DialRules::any(),
            handle,
        };
        let writer = store.writer_in(&clock);
        let dialer = Dialer::start(
            store.clone(),
            writer,
            clock,
            paceline::demo::loopback_rules().unwrap(),
            metrics,
            vec![pbx],
        )
        .await
        .unwrap();
        Self {
            db,
            store,
            dialer,
            clock,
            trunk,
            scale: if is_full() { FULL } else { SHORT },
            lists: AtomicUsize::new(0),
        }
    }

    /// Creates an active campaign without tasks and without agents.
    async fn campaign(&self, name: &str, hours: CallingHours) -> CampaignId {
        let settings = settings(hours);
        let now = self.clock.now().wall;
        let made = self
            .store
            .create_campaign(name, &settings, &[self.trunk], now)
            .await;
        let id = made.unwrap().id;
        let draft = [CampaignState::Draft];
        let moved = self.store.move_campaign(id, &draft, CampaignState::Active);
        assert!(moved.await.unwrap());
        self.dialer.campaign_changed(id).await;
        id
    }

    /// Creates a list of `count` contacts, in these zones in turn, with numbers of an area code of its own.
    async fn list(&self, count: u32, zones: &[&str]) -> ContactListId {
        let name = format!("list {}", uuid::Uuid::new_v4());
        let made = self
            .store
            .create_contact_list(&name, &[], self.clock.now().wall)
            .await;
        let list = made.unwrap().0.id;
        let id = list.0;
        let whens: String = (0..)
            .zip(zones)
            .map(|(n, zone)| format!(" WHEN {n} THEN '{zone}'"))
            .collect();
        let zone = format!("CASE i % {}{whens} END", zones.len());
        let area = AREAS[self.lists.fetch_add(1, Ordering::Relaxed)];
        let (last, first) = (count - 1, area * 10_000_000 + 2_000_000);
        let sql = format!(
            "INSERT INTO contacts (list_id, name, time_zone) WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n \
             WHERE i < {last}) SELECT {id}, '+1' || ({first} + i), {zone} FROM n"
        );
        self.db.run(&sql).await;
        let numbers = format!(
            "INSERT INTO contact_numbers (contact_id, position, list_id, number) SELECT id, 0, list_id, name FROM contacts \
             WHERE list_id = {id}"
        );
        self.db.run(&numbers).await;
        list
    }

    async fn task(&self, campaign: CampaignId, list: ContactListId) {
        let now = self.clock.now().wall;
        let new = NewTask {
            campaign,
            name: "task".into(),
            state: TaskState::Running,
            start_at: now,
            retries_max: 0,
            contacts: NewTaskContacts::List(list),
            idempotency: None,
        };
        let from = Instant::now();
        self.store.create_tasks(&[new], now).await.unwrap();
        self.store.prepare_tasks(now).await.unwrap();
        let n = self.store.count_contacts(list).await.unwrap();
        if n >= 1_000_000 {
            println!(
                "a task of {n} contacts was created in {:.1} s",
                from.elapsed().as_secs_f64()
            );
        }
        self.dialer
            .task_changed(
                campaign,
                self.store.tasks(&Default::default(), None, 1).await.unwrap()[0].id,
            )
            .await;
    }

    /// Adds `count` agents who are ready. Returns the time when the first of them was ready.
    async fn agents(&self, campaign: CampaignId, count: u32) -> Wall {
        let mut first = None;
        for n in 0..count {
            let extension = Extension::new(&format!("{}", campaign.0 * 1000 + i64::from(n))).unwrap();
            let agent = NewAgent {
                name: format!("agent {n} of {campaign}"),
                pbx: PbxName::new(PBX),
                extension: extension.clone(),
            };
            let id: AgentId = self
                .store
                .create_agent(&agent, self.clock.now().wall)
                .await
                .unwrap()
                .id;
            let log_in = AgentRequest::LogIn {
                pbx: PbxName::new(PBX),
                template: AgentTemplate::new("PJSIP/{extension}").unwrap(),
                extension,
            };
            self.dialer.agent(campaign, id, log_in).await.unwrap();
            self.dialer
                .agent(campaign, id, AgentRequest::Ready)
                .await
                .unwrap();
            first.get_or_insert(self.clock.now().wall);
        }
        first.unwrap()
    }

    async fn attempts(&self, campaign: CampaignId) -> i64 {
        let sql = format!("SELECT count(*) FROM attempts WHERE campaign_id = {campaign}");
        self.db.count(&sql).await
    }

    /// Attempts per second of each of these campaigns, and the longest time of a small write to the store meanwhile.
    async fn rates<const N: usize>(&self, of: [CampaignId; N]) -> ([f64; N], Duration) {
        let mut before = [0; N];
        for (n, campaign) in of.iter().enumerate() {
            before[n] = self.attempts(*campaign).await;
        }
        let (from, mut slowest) = (Instant::now(), Duration::ZERO);
        while from.elapsed() < self.scale.window {
            let asked = Instant::now();
            let name = format!("a small change {}", uuid::Uuid::new_v4());
            self.store
                .create_contact_list(&name, &[], self.clock.now().wall)
                .await
                .unwrap();
            slowest = slowest.max(asked.elapsed());
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        let seconds = from.elapsed().as_secs_f64();
        let mut rates = [0.0; N];
        for (n, campaign) in of.iter().enumerate() {
            rates[n] = (self.attempts(*campaign).await - before[n]) as f64 / seconds;
        }
        (rates, slowest)
    }

    async fn warm_up(&self, campaign: CampaignId) {
        let from = Instant::now();
        while self.attempts(campaign).await < i64::from(self.scale.agents) {
            assert!(from.elapsed() < Duration::from_secs(30), "nothing is dialed");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(self.scale.window / 2).await;
    }

    /// Waits for the first call of this campaign, and checks the time since its first agent was ready.
    async fn first_call(&self, campaign: CampaignId, ready: Wall, what: &str) {
        let from = Instant::now();
        while self.attempts(campaign).await == 0 {
            let live = self.dialer.live(campaign).unwrap();
            assert!(
                from.elapsed() < self.scale.first_call,
                "{what}: no call: {:?}",
                live.idle
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let sql = format!("SELECT min(created_at_ms) FROM attempts WHERE campaign_id = {campaign}");
        let first = Wall(self.db.count(&sql).await);
        let took = self.clock.real_duration(first.since(ready));
        println!("{what}: first call after {:.2} s", took.as_secs_f64());
        assert!(took < self.scale.first_call, "{what}: {took:?}");
    }

    /// Asserts that a rate is not much lower than it was before.
    fn keeps(&self, what: &str, rate: f64, before: f64, slowest: Duration) {
        println!(
            "{what}: {rate:.1} attempts/s, {:.0} % of {before:.1}; a small change took {} ms at most",
            100.0 * rate / before,
            slowest.as_millis()
        );
        assert!(rate >= before * self.scale.least, "{what}: {rate} of {before}");
    }
}

fn settings(hours: CallingHours) -> CampaignSettings {
    let mut settings = CampaignSettings {
        hours,
        ..CampaignSettings::default()
    };
    settings.agents.wrap_up_ms = 1000;
    settings.dialing.call_duration_ms_max = 60_000;
    settings
}

async fn contacts_that_must_wait_keep_no_other_contact_from_being_called(db: Db) {
    let floor = Floor::start(db, seed()).await;
    let scale = &floor.scale;
    let open_hours = hours_of_now(&floor.clock, OPEN);
    let healthy = floor.campaign("healthy", open_hours.clone()).await;
    let plenty = floor.list(scale.agents * 800, &[OPEN]).await;
    floor.task(healthy, plenty).await;
    floor.agents(healthy, scale.agents).await;
    floor.warm_up(healthy).await;
    let ([alone], slowest) = floor.rates([healthy]).await;
    println!(
        "alone: {alone:.1} attempts/s; a small change took {} ms at most",
        slowest.as_millis()
    );

    for n in 0..scale.closed_campaigns {
        let closed = hours_of_now(&floor.clock, CLOSED[0]);
        let closed = floor.campaign(&format!("closed {n}"), closed).await;
        let list = floor.list(scale.closed_contacts, &CLOSED[..1]).await;
        floor.task(closed, list).await;
        floor.agents(closed, 2).await;
    }
    let ([rate], slowest) = floor.rates([healthy]).await;
    floor.keeps("beside closed campaigns", rate, alone, slowest);

    let crowded = floor.campaign("crowded", open_hours.clone()).await;
    let (crowd, few) = (
        floor.list(scale.crowd, &CLOSED[..1]).await,
        floor.list(scale.few, &[OPEN]).await,
    );
    floor.task(crowded, crowd).await;
    floor.task(crowded, few).await;
    let ready = floor.agents(crowded, scale.agents).await;
    floor
        .first_call(crowded, ready, "behind a crowd in another task")
        .await;
    floor.warm_up(crowded).await;
    let ([rate, beside], slowest) = floor.rates([crowded, healthy]).await;
    floor.keeps("beside a crowd in another task", rate, alone, slowest);
    floor.keeps("the other campaign", beside, alone, slowest);

    // One task with both: 49 contacts that must wait for each contact that may be called.
    let mixed = floor.campaign("mixed", open_hours.clone()).await;
    let zones: Vec<&str> = CLOSED.iter().copied().cycle().take(49).chain([OPEN]).collect();
    let list = floor.list(scale.crowd, &zones).await;
    floor.task(mixed, list).await;
    let ready = floor.agents(mixed, 20).await;
    floor
        .first_call(mixed, ready, "amid a crowd in the same task")
        .await;
    let ([_, beside], slowest) = floor.rates([mixed, healthy]).await;
    floor.keeps("the other campaign", beside, alone, slowest);

    // Two more crowds that must wait. Then the calling hours change.
    for _ in 0..2 {
        let list = floor.list(scale.crowd, &CLOSED).await;
        floor.task(crowded, list).await;
    }
    let ([rate, beside], slowest) = floor.rates([crowded, healthy]).await;
    floor.keeps("beside three crowds", rate, alone, slowest);
    floor.keeps("the other campaign", beside, alone, slowest);
    let asked = Instant::now();
    let hours = settings(CallingHours::always());
    let changed = floor
        .store
        .set_campaign_settings(crowded, &hours, floor.clock.now().wall)
        .await;
    let took = asked.elapsed();
    assert!(changed.unwrap());
    println!(
        "the hours of {} contacts were changed in {} ms",
        3 * scale.crowd,
        took.as_millis()
    );
    assert!(took <= scale.slice, "{took:?}");
    floor.dialer.campaign_changed(crowded).await;
    let ([rate, beside], slowest) = floor.rates([crowded, healthy]).await;
    floor.keeps("after the hours changed", rate, alone, slowest);
    floor.keeps("the other campaign", beside, alone, slowest);
    floor.dialer.stop().await;
    if !is_full() {
        floor.db.check().await;
    }
}

#[test]
fn contacts_that_must_wait_keep_no_other_contact_from_being_called_on_sqlite() {
    runtime().block_on(async {
        contacts_that_must_wait_keep_no_other_contact_from_being_called(Db::sqlite().await).await;
    });
}

#[test]
fn contacts_that_must_wait_keep_no_other_contact_from_being_called_on_postgres() {
    let server = paceline_lab::Postgres::start().unwrap();
    runtime().block_on(async {
        contacts_that_must_wait_keep_no_other_contact_from_being_called(Db::postgres(&server).await).await;
    });
}
