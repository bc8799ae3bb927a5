//! The outside check, with a service that works and with a service that fails in many ways.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test's helpers fail by panicking, as tests do"
)]

#[path = "outside/service.rs"]
mod service;

use paceline::clock::Clock;
use paceline::config::OutsideCheckConfig;
use paceline::events::{Events, Next};
use paceline::jobs::outside::OutsideChecks;
use paceline::jobs::{Job as _, Jobs};
use paceline::metrics::Metrics;
use paceline::outside_service::OutsideClient;
use paceline::store::{NewTask, NewTaskContacts, NewTrunk, Store, StoreMetrics};
use paceline_core::campaign::settings::CampaignSettings;
use paceline_core::campaign::{CampaignState, TaskState};
use paceline_core::contact::NumberKind;
use paceline_core::dial::TrunkTemplate;
use paceline_core::event::{AlarmKind, What};
use paceline_core::ids::{CampaignId, PbxName};
use paceline_core::live::JobState;
use paceline_core::number::E164;
use paceline_core::outside::{OutsideReason, OutsideRuling, OutsideService, OutsideVerdict};
use paceline_core::time::Wall;
use service::{OFF, Plays, SECRET, Service};
use std::time::Duration;
use tokio::runtime::Handle;

/// A store with one campaign, the service, and the job.
struct Rig {
    store: Store,
    url: String,
    service: Service,
    clock: Clock,
    events: Events,
    metrics: Metrics,
    config: OutsideCheckConfig,
    _folder: tempfile::TempDir,
}

fn number(n: usize) -> E164 {
    E164::new(&format!("+1202555{:04}", 100 + n)).unwrap()
}

/// Numbers in service, vacant, switched off and suspended.
const FOUR: [usize; 4] = [0, 1, 2, 3];

impl Rig {
    /// Starts a task with these numbers. Time runs 50 times as fast.
    async fn new(numbers: &[usize]) -> Self {
        let clock = Clock::with_speed(50.0);
        let service = Service::start(clock).await;
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("paceline.db").display());
        let store = Store::open(&url, StoreMetrics::default()).await.unwrap();
        let config = OutsideCheckConfig {
            url: service.url.clone(),
            secret: Some(SECRET.to_owned().into()),
            batch_size: 3,
            requests_per_minute: 6_000,
            timeout: Duration::from_secs(10),
            ask_ahead: Duration::from_secs(600),
            open_because: None,
        };
        let rig = Self {
            store,
            url,
            service,
            clock,
            events: Events::new(Wall(1)),
            metrics: Metrics::new(),
            config,
            _folder: folder,
        };
        let campaign = rig.campaign("checked", true).await;
        rig.task(campaign, numbers).await;
        rig
    }

    async fn campaign(&self, name: &str, outside_check: bool) -> CampaignId {
        let trunk = NewTrunk {
            name: name.to_owned(),
            pbx: PbxName::new("office"),
            dial: TrunkTemplate::new("PJSIP/{number}@carrier").unwrap(),
            caller_id: None,
        };
        let trunk = self.store.create_trunk(&trunk).await.unwrap().id;
        let mut settings = CampaignSettings::default();
        settings.suppression.outside_check = outside_check;
        let now = self.clock.now().wall;
        let campaign = self
            .store
            .create_campaign(name, &settings, &[trunk], now)
            .await
            .unwrap()
            .id;
        let moved = self
            .store
            .move_campaign(campaign, &[CampaignState::Draft], CampaignState::Active);
        assert!(moved.await.unwrap());
        campaign
    }

    async fn task(&self, campaign: CampaignId, numbers: &[usize]) {
        let now = self.clock.now().wall;
        let new = NewTask {
            campaign,
            name: "task".into(),
            state: TaskState::Running,
            start_at: now,
            retries_max: 2,
            contacts: NewTaskContacts::Numbers(numbers.iter().map(|n| number(*n).into()).collect()),
            idempotency: None,
        };
        self.store.create_tasks(&[new], now).await.unwrap();
        self.store.prepare_tasks(now).await.unwrap();
    }

    fn job(&self) -> OutsideChecks {
        let client = OutsideClient::new(&self.config).unwrap();
        let (store, events) = (self.store.clone(), self.events.clone());
        OutsideChecks::new(store, self.clock, events, &self.metrics, client, &self.config)
    }

    /// Runs the job at its own intervals until `is_so` is true.
    async fn run(&self, job: &mut OutsideChecks, mut is_so: impl AsyncFnMut(&Self) -> bool) {
        let running = async {
            while !is_so(self).await {
                job.run_once().await.unwrap();
                tokio::time::sleep(self.clock.real_duration(job.period())).await;
            }
        };
        let done = tokio::time::timeout(Duration::from_secs(60), running).await;
        assert!(done.is_ok(), "{:?} {:?}", self.service.batches(), job.trouble());
    }

    /// Runs the job until every number has a valid answer.
    async fn run_to_the_end(&self, job: &mut OutsideChecks) {
        self.run(job, async |rig| {
            let campaigns = rig.store.campaigns_with_outside_check().await.unwrap();
            let now = rig.clock.now().wall;
            let mut waiting = 0;
            for campaign in campaigns {
                let unchecked = rig.store.unchecked_numbers(campaign, now, now, 1_000);
                waiting += unchecked.await.unwrap().len();
            }
            waiting == 0
        })
        .await;
    }

    async fn ruling(&self, n: usize) -> OutsideRuling {
        let now = self.clock.now().wall;
        let numbers = [number(n)];
        self.store.outside_rulings(&numbers, now).await.unwrap()[&numbers[0]]
    }

    /// Why a number is deferred; `None` if it is not.
    async fn deferred(&self, n: usize) -> Option<OutsideReason> {
        match self.ruling(n).await {
            OutsideRuling::Defer { because, .. } => Some(because),
            OutsideRuling::Allow(_) | OutsideRuling::Deny => None,
        }
    }

    async fn is_out(&self) -> bool {
        !matches!(
            self.store.outside_service().await.unwrap(),
            OutsideService::Missing | OutsideService::Works
        )
    }

    async fn sql(&self, sql: &'static str) {
        let pool = sqlx::SqlitePool::connect(&self.url).await.unwrap();
        sqlx::raw_sql(sql).execute(&pool).await.unwrap();
        pool.close().await;
    }

    fn metric(&self, name: &str) -> i64 {
        let page = self.metrics.render();
        let line = page.lines().find(|line| line.split(' ').next() == Some(name));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }
}

#[tokio::test]
async fn numbers_are_asked_in_batches_ahead_of_their_calls_and_the_answers_decide() {
    let numbers: Vec<usize> = (0..20).collect();
    let rig = Rig::new(&numbers).await;
    let other = rig.campaign("unchecked", false).await;
    rig.task(other, &[50, 51]).await;
    assert_eq!(rig.deferred(0).await, Some(OutsideReason::NoService));
    let mut job = rig.job();
    job.run_once().await.unwrap();
    assert_eq!(rig.deferred(19).await, Some(OutsideReason::NotAsked));
    rig.run_to_the_end(&mut job).await;
    assert_eq!(rig.ruling(0).await, OutsideRuling::Allow(OutsideReason::Answer));
    assert_eq!(rig.ruling(1).await, OutsideRuling::Deny);
    assert_eq!(rig.ruling(3).await, OutsideRuling::Deny);
    let OutsideRuling::Defer { until, because } = rig.ruling(2).await else {
        panic!("a phone that is switched off")
    };
    assert_eq!(because, OutsideReason::Answer);
    assert!(until.since(rig.clock.now().wall) <= OFF);
    let vacant = rig.store.check_of(&number(1)).await.unwrap().unwrap();
    assert_eq!(
        (vacant.reason.as_str(), vacant.line),
        ("vacant", Some(NumberKind::Mobile))
    );
    assert_eq!(vacant.evidence.as_deref(), Some("check-deny"));
    let asked = rig.service.asked();
    assert!(
        asked.len() == 20 && asked.values().all(|times| *times == 1),
        "{asked:?}"
    );
    let batches = rig.service.batches();
    assert!(
        batches.len() == 7 && batches.iter().all(|size| *size <= 3),
        "{batches:?}"
    );
    assert_eq!(rig.metric("paceline_outside_check_asked_total"), 20);
    assert_eq!(
        rig.metric("paceline_outside_check_answers_total{verdict=\"deny\"}"),
        4
    );
    assert!(rig.metric("paceline_outside_check_succeeded_timestamp_seconds") > 0);
}

#[tokio::test]
async fn nothing_is_asked_twice_before_its_answer_expires() {
    let rig = Rig::new(&FOUR).await;
    let mut job = rig.job();
    rig.run_to_the_end(&mut job).await;
    let later = rig.campaign("later", true).await;
    rig.task(later, &[0, 1, 4]).await;
    // A new process does not ask again either.
    let mut job = rig.job();
    rig.run_to_the_end(&mut job).await;
    job.run_once().await.unwrap();
    assert!(
        rig.service.asked().values().all(|times| *times == 1),
        "{:?}",
        rig.service.asked()
    );
    rig.sql("UPDATE outside_answers SET expires_at_ms = 1 WHERE number = '+12025550101'")
        .await;
    assert_eq!(
        rig.deferred(1).await,
        Some(OutsideReason::NotAsked),
        "an expired answer is none"
    );
    rig.run_to_the_end(&mut job).await;
    assert_eq!(rig.ruling(1).await, OutsideRuling::Deny);
    let twice = rig.service.asked().into_iter().filter(|(_, times)| *times == 2);
    assert_eq!(
        twice.map(|(number, _)| number).collect::<Vec<_>>(),
        ["+12025550101"]
    );
}

#[tokio::test]
async fn a_service_that_breaks_in_any_way_lets_no_call_through_and_is_found_when_it_works_again() {
    for plays in [
        Plays::HalfBody,
        Plays::WrongJson,
        Plays::NoJson,
        Plays::OtherNumbers,
        Plays::Error500,
        Plays::Busy(1),
        Plays::Redirects,
        Plays::Hangs,
        Plays::HugeBody,
        Plays::Slow(Duration::from_secs(5)),
    ] {
        let mut rig = Rig::new(&FOUR).await;
        rig.config.timeout = match plays {
            Plays::Hangs | Plays::Slow(_) => Duration::from_millis(200),
            _ => Duration::from_secs(10),
        };
        rig.service.play(plays);
        let mut alarms = rig.events.read(None);
        let mut job = rig.job();
        rig.run(&mut job, Rig::is_out).await;
        for n in FOUR {
            assert_eq!(rig.deferred(n).await, Some(OutsideReason::Outage), "{plays:?}");
        }
        let Next::Event(event) = alarms.next().await else {
            panic!("{plays:?}")
        };
        let What::Alarm { alarm, text } = &event.what else {
            panic!("{plays:?}")
        };
        assert_eq!(*alarm, AlarmKind::OutsideCheckOut);
        let told = format!("{text}{}", job.trouble().unwrap());
        assert!(!told.contains("2025550") && !told.contains(SECRET), "{told}");
        assert_eq!(rig.metric("paceline_outside_check_out"), 1);
        assert!(rig.metric("paceline_outside_check_failures_total") >= 3);
        rig.service.play(Plays::Well);
        rig.run_to_the_end(&mut job).await;
        assert!(!rig.is_out().await && job.trouble().is_none());
        assert_eq!(rig.ruling(0).await, OutsideRuling::Allow(OutsideReason::Answer));
        assert_eq!(rig.metric("paceline_outside_check_out"), 0);
    }
}

#[tokio::test]
async fn an_outage_lets_numbers_through_only_if_the_configuration_says_so_and_why() {
    let mut rig = Rig::new(&FOUR).await;
    rig.config.open_because = Some("the service only advises us".into());
    let mut job = rig.job();
    rig.run_to_the_end(&mut job).await;
    rig.task(rig.campaign("more", true).await, &[4]).await;
    rig.sql("UPDATE outside_answers SET expires_at_ms = 1 WHERE number <> '+12025550103'")
        .await;
    rig.service.play(Plays::Error500);
    job.run_once().await.unwrap();
    assert_eq!(
        rig.deferred(4).await,
        Some(OutsideReason::NotAsked),
        "one failure is no outage"
    );
    rig.run(&mut job, Rig::is_out).await;
    assert_eq!(rig.ruling(0).await, OutsideRuling::Allow(OutsideReason::Outage));
    assert_eq!(rig.ruling(4).await, OutsideRuling::Allow(OutsideReason::Outage));
    assert_eq!(
        rig.deferred(1).await,
        Some(OutsideReason::Outage),
        "it was denied before"
    );
    assert_eq!(
        rig.ruling(3).await,
        OutsideRuling::Deny,
        "its answer still counts"
    );
    let OutsideService::OutAndOpen { because, .. } = rig.store.outside_service().await.unwrap() else {
        panic!("it is out")
    };
    assert_eq!(because, "the service only advises us");
}

#[tokio::test]
async fn numbers_without_a_usable_answer_wait_and_do_not_hold_up_the_others() {
    let rig = Rig::new(&[0, 4, 5, 6, 7, 8]).await;
    rig.service.play(Plays::HalfAnswers);
    let mut job = rig.job();
    rig.run_to_the_end(&mut job).await;
    let mut verdicts = Vec::new();
    for n in [0, 4, 5, 6, 7, 8] {
        verdicts.push(rig.store.check_of(&number(n)).await.unwrap().unwrap().verdict);
    }
    let (yes, no) = (OutsideVerdict::Allow, OutsideVerdict::Unanswered);
    assert_eq!(verdicts, [yes, no, yes, yes, no, yes]);
    assert_eq!(rig.deferred(4).await, Some(OutsideReason::Answer));
    assert!(!rig.is_out().await);
    assert!(rig.service.asked().values().all(|times| *times == 1));
}

#[tokio::test]
async fn a_process_killed_before_it_stores_an_answer_asks_again_and_allows_no_call_before() {
    let rig = Rig::new(&[0]).await;
    rig.sql(
        "CREATE TRIGGER slow BEFORE INSERT ON outside_answers BEGIN \
         SELECT count(*) FROM (WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 100000000) SELECT x FROM n); END",
    )
    .await;
    let mut job = rig.job();
    // The process ends here: the service has the request, and the store has no answer yet.
    tokio::select! {
        stored = job.run_once() => panic!("{stored:?}"),
        () = rig.service.has_read(1) => {}
    }
    drop(job);
    rig.sql("DROP TRIGGER slow").await;
    let reopened = Store::open(&rig.url, StoreMetrics::default()).await.unwrap();
    assert_eq!(reopened.check_of(&number(0)).await.unwrap(), None);
    assert_eq!(rig.deferred(0).await, Some(OutsideReason::NotAsked));
    rig.run_to_the_end(&mut rig.job()).await;
    assert_eq!(rig.ruling(0).await, OutsideRuling::Allow(OutsideReason::Answer));
    assert_eq!(rig.service.asked().values().copied().collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn an_answer_that_the_store_could_not_take_is_stored_later_and_not_asked_again() {
    let rig = Rig::new(&[0]).await;
    rig.sql("CREATE TRIGGER full BEFORE INSERT ON outside_answers BEGIN SELECT RAISE(ABORT, 'full'); END")
        .await;
    let mut job = rig.job();
    job.run_once().await.unwrap_err();
    job.run_once().await.unwrap_err();
    assert_eq!(rig.deferred(0).await, Some(OutsideReason::NotAsked));
    rig.sql("DROP TRIGGER full").await;
    job.run_once().await.unwrap();
    assert_eq!(rig.ruling(0).await, OutsideRuling::Allow(OutsideReason::Answer));
    assert_eq!(rig.service.asked().values().copied().collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn the_report_of_the_job_shows_a_service_that_refuses_the_secret() {
    let mut rig = Rig::new(&FOUR).await;
    rig.config.secret = None;
    let jobs = Jobs::new(&rig.metrics, rig.clock, rig.store.clone(), Handle::current());
    let running = jobs.start(rig.job());
    let failing = async {
        loop {
            let report = jobs.reports().remove(OutsideChecks::NAME);
            let error = report
                .filter(|report| report.state == JobState::Failing)
                .and_then(|report| report.error);
            match error {
                Some(error) => break error,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let error = tokio::time::timeout(Duration::from_secs(20), failing)
        .await
        .unwrap();
    assert!(
        error.contains("status 401") && error.contains("the secret"),
        "{error}"
    );
    running.abort();
}

#[tokio::test]
async fn a_service_without_a_trusted_certificate_gets_no_number() {
    let rig = Rig::new(&FOUR).await;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut connection = rustls::ServerConnection::new(std::sync::Arc::new(tls)).unwrap();
        let mut first = [0];
        std::io::Read::read(&mut rustls::Stream::new(&mut connection, &mut stream), &mut first)
    });
    let config = OutsideCheckConfig {
        url: format!("https://localhost:{port}/check"),
        ..rig.config.clone()
    };
    let client = OutsideClient::new(&config).unwrap();
    client.ask(&[number(0)]).await.unwrap_err();
    let read = served.join().unwrap();
    assert!(read.is_err(), "the client ends the handshake: {read:?}");
}
