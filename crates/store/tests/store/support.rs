//! A store on an empty database, with shortcuts for the tests, and direct access to the tables.

use paceline_core::campaign::hours::CallingHours;
use paceline_core::campaign::settings::CampaignSettings;
use paceline_core::campaign::suppression::SuppressionSettings;
use paceline_core::campaign::{CampaignConfig, CampaignState, TaskState};
use paceline_core::command::{Change, NewAttempt};
use paceline_core::dial::{Extension, TrunkTemplate};
use paceline_core::gate::{CampaignPolicy, Rulebook};
use paceline_core::ids::{AgentId, AttemptId, CampaignId, LegId, PbxName, TrunkId};
use paceline_core::input::{Lead, Prepared};
use paceline_core::number::E164;
use paceline_core::outcome::Outcome;
use paceline_core::pbx::LegEnd;
use paceline_core::suppression::DncSource;
use paceline_core::time::Wall;
use paceline_store::{
    Leased, NewAgent, NewDnc, NewTask, NewTaskContacts, NewTrunk, Store, StoreMetrics, TaskRow, Writer,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use uuid::Uuid;

/// Friday 2026-11-20 15:00 UTC.
pub(crate) const NOW: Wall = Wall(1_795_186_800_000);
pub(crate) const RING: Duration = Duration::from_secs(25);

pub(crate) fn later(seconds: u64) -> Wall {
    NOW.plus(Duration::from_secs(seconds))
}

/// A store and a direct connection to the same database.
pub(crate) struct Db {
    pub(crate) store: Store,
    pub(crate) url: String,
    direct: Direct,
    ids: AtomicU64,
    _folder: Option<tempfile::TempDir>,
}

enum Direct {
    Sqlite(sqlx::SqlitePool),
    Postgres(sqlx::PgPool),
}

impl Db {
    pub(crate) async fn sqlite() -> Self {
        // In memory if possible, because these tests wait for a thousand commits.
        let folder = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap();
        let url = format!("sqlite:{}", folder.path().join("paceline.db").display());
        let store = Store::open(&url, StoreMetrics::default()).await.unwrap();
        store.keep_ledger(paceline_ledger::NumberKey::new(&[5; 32]).unwrap());
        let direct = Direct::Sqlite(sqlx::SqlitePool::connect(&url).await.unwrap());
        Self {
            store,
            url,
            direct,
            ids: AtomicU64::new(1),
            _folder: Some(folder),
        }
    }

    /// A store on a new database of a running server.
    pub(crate) async fn postgres(server: &paceline_lab::Postgres) -> Self {
        let admin = sqlx::PgPool::connect(&server.url()).await.unwrap();
        let name = format!("case_{}", Uuid::new_v4().simple());
        sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .execute(&admin)
            .await
            .unwrap();
        let url = format!("{}/{name}", server.url().rsplit_once('/').unwrap().0);
        let store = Store::open(&url, StoreMetrics::default()).await.unwrap();
        store.keep_ledger(paceline_ledger::NumberKey::new(&[5; 32]).unwrap());
        let direct = Direct::Postgres(sqlx::PgPool::connect(&url).await.unwrap());
        Self {
            store,
            url,
            direct,
            ids: AtomicU64::new(1),
            _folder: None,
        }
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        matches!(self.direct, Direct::Sqlite(_))
    }

    /// Reads one integer from the tables.
    pub(crate) async fn count(&self, sql: &str) -> i64 {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        match &self.direct {
            Direct::Sqlite(pool) => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap(),
            Direct::Postgres(pool) => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap(),
        }
    }

    /// Runs a statement directly, not through the store.
    pub(crate) async fn run(&self, sql: &str) {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        match &self.direct {
            Direct::Sqlite(pool) => drop(sqlx::raw_sql(sql).execute(pool).await.unwrap()),
            Direct::Postgres(pool) => drop(sqlx::raw_sql(sql).execute(pool).await.unwrap()),
        }
    }

    /// Blocks all writes of contacts until the result is dropped.
    pub(crate) async fn block_writing(&self) -> Blocked {
        match &self.direct {
            Direct::Sqlite(pool) => Blocked::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await.unwrap()),
            Direct::Postgres(pool) => {
                let mut tx = pool.begin().await.unwrap();
                sqlx::query("LOCK TABLE task_contacts IN ACCESS EXCLUSIVE MODE")
                    .execute(&mut *tx)
                    .await
                    .unwrap();
                Blocked::Postgres(tx)
            }
        }
    }

    /// An active campaign with a trunk and an agent.
    pub(crate) async fn campaign(&self, name: &str) -> Campaign<'_> {
        let pbx = PbxName::new("office");
        let trunk = NewTrunk {
            name: format!("{name}-trunk"),
            pbx: pbx.clone(),
            dial: TrunkTemplate::new("PJSIP/{number}@carrier").unwrap(),
            caller_id: None,
        };
        let trunk = self.store.create_trunk(&trunk).await.unwrap().id;
        let row = self
            .store
            .create_campaign(name, &CampaignSettings::default(), &[trunk], NOW)
            .await
            .unwrap();
        let draft = [CampaignState::Draft];
        let moved = self.store.move_campaign(row.id, &draft, CampaignState::Active);
        assert!(moved.await.unwrap());
        let agent = NewAgent {
            name: format!("{name}-agent"),
            pbx,
            extension: Extension::new(name).unwrap(),
        };
        let agent = self.store.create_agent(&agent, NOW).await.unwrap().id;
        Campaign {
            db: self,
            id: row.id,
            trunk,
            agent,
            hours: CallingHours::always(),
            rules: Rulebook::shipped().unwrap().clone(),
            suppression: SuppressionSettings::default(),
        }
    }

    /// Checks the invariants that must hold between any two transactions.
    pub(crate) async fn check(&self) {
        for (rule, broken) in [
            (
                "a contact is leased exactly while its number is held for it",
                "SELECT (SELECT count(*) FROM task_contacts tc JOIN contacts c ON c.id = tc.contact_id \
                   WHERE (CASE WHEN tc.state = 'leased' THEN 1 ELSE 0 END) <> (SELECT count(*) FROM number_leases n \
                     JOIN contact_numbers cn ON cn.contact_id = n.contact_id AND cn.number = n.number \
                     WHERE n.task_id = tc.task_id AND n.contact_id = tc.contact_id)) \
                 + (SELECT count(*) FROM number_leases n WHERE NOT EXISTS (SELECT 1 FROM task_contacts tc \
                     WHERE tc.task_id = n.task_id AND tc.contact_id = n.contact_id))",
            ),
            (
                "every contact has a number, and all that is stored of one is in one list",
                "SELECT (SELECT count(*) FROM contacts c WHERE NOT EXISTS (SELECT 1 FROM contact_numbers n \
                     WHERE n.contact_id = c.id)) \
                 + (SELECT count(*) FROM contact_numbers n LEFT JOIN contacts c ON c.id = n.contact_id \
                     WHERE c.id IS NULL OR c.list_id <> n.list_id) \
                 + (SELECT count(*) FROM contact_tags t LEFT JOIN contacts c ON c.id = t.contact_id \
                     WHERE c.id IS NULL OR c.list_id <> t.list_id)",
            ),
            (
                "an open attempt holds its contact's number",
                "SELECT count(*) FROM attempts a WHERE a.ended_at_ms IS NULL AND NOT EXISTS (SELECT 1 \
                   FROM number_leases n WHERE n.number = a.number AND n.task_id = a.task_id \
                   AND n.contact_id = a.contact_id)",
            ),
            (
                "a number has one open attempt at most",
                "SELECT count(*) FROM (SELECT number FROM attempts WHERE ended_at_ms IS NULL GROUP BY number \
                   HAVING count(*) > 1) twice",
            ),
            (
                "no attempt without its leg and its allow decision",
                "SELECT count(*) FROM attempts a WHERE NOT EXISTS (SELECT 1 FROM legs l WHERE l.attempt_id = a.id) \
                   OR (SELECT count(*) FROM gate_decisions d WHERE d.attempt_id = a.id AND d.verdict = 'allow' \
                     AND d.stage = 'originate') <> 1",
            ),
            (
                "attempts made are counted",
                "SELECT count(*) FROM task_contacts tc WHERE tc.attempts_made <> (SELECT count(*) FROM attempts a \
                   WHERE a.task_id = tc.task_id AND a.contact_id = tc.contact_id AND a.ended_at_ms IS NOT NULL)",
            ),
            (
                "no contact that does not wait for the gate is due before its bucket thinks so",
                "SELECT count(*) FROM task_contacts tc JOIN task_buckets b ON b.id = tc.bucket_id \
                   WHERE tc.state = 'ready' AND tc.due_at_ms < b.next_due_at_ms \
                     AND b.next_due_at_ms <> coalesce(b.waits_until_ms, 0)",
            ),
            (
                "no bucket is due before its task thinks so",
                "SELECT count(*) FROM task_buckets b JOIN tasks t ON t.id = b.task_id \
                   WHERE b.next_due_at_ms < t.next_due_at_ms",
            ),
            (
                "a contact is in the bucket of its zone, of its own task",
                "SELECT count(*) FROM task_contacts tc JOIN task_buckets b ON b.id = tc.bucket_id \
                   JOIN contacts c ON c.id = tc.contact_id \
                   WHERE b.task_id <> tc.task_id OR (b.localities <> '' AND c.time_zone IS NOT NULL \
                     AND b.localities NOT LIKE '%;' || c.time_zone)",
            ),
            (
                "the gate holds no contact that is leased",
                "SELECT count(*) FROM task_contacts WHERE held_by IS NOT NULL AND state = 'leased'",
            ),
            (
                "a completed task has nothing left to do",
                "SELECT count(*) FROM tasks t JOIN task_contacts tc ON tc.task_id = t.id \
                   WHERE t.state = 'completed' AND tc.state <> 'done'",
            ),
            (
                "the legs of an ended attempt have ended",
                "SELECT count(*) FROM legs l JOIN attempts a ON a.id = l.attempt_id \
                   WHERE l.ended_at_ms IS NULL AND a.ended_at_ms IS NOT NULL",
            ),
        ] {
            assert_eq!(self.count(broken).await, 0, "{rule}");
        }
        self.check_ledger().await;
    }

    /// Checks that the ledger has the `allow` of each of the last attempts.
    async fn check_ledger(&self) {
        while self.store.number_ledger().await.unwrap().numbered > 0 {}
        let attempts = self
            .store
            .attempts(&paceline_store::AttemptFilter::default(), None, 20)
            .await;
        for attempt in attempts.unwrap() {
            let entry = self.store.ledger_entry_of_attempt(attempt.id, attempt.created_at);
            assert!(entry.await.unwrap().is_some(), "the ledger lacks an attempt");
        }
    }

    pub(crate) fn uuid(&self) -> Uuid {
        let n = self.ids.fetch_add(1, Ordering::Relaxed);
        let time = u128::try_from(NOW.0).unwrap() << 80;
        Uuid::from_u128(time | 0x7000_8000_0000_0000_0000 | u128::from(n))
    }
}

/// Holds a lock until dropped.
pub(crate) enum Blocked {
    Sqlite(#[expect(dead_code, reason = "held for its lock")] sqlx::Transaction<'static, sqlx::Sqlite>),
    Postgres(#[expect(dead_code, reason = "held for its lock")] sqlx::Transaction<'static, sqlx::Postgres>),
}

/// A campaign and its objects.
pub(crate) struct Campaign<'a> {
    db: &'a Db,
    pub(crate) id: CampaignId,
    pub(crate) trunk: TrunkId,
    pub(crate) agent: AgentId,
    pub(crate) hours: CallingHours,
    pub(crate) rules: Arc<Rulebook>,
    pub(crate) suppression: SuppressionSettings,
}

impl Campaign<'_> {
    /// A task that runs from `NOW`.
    pub(crate) async fn task(&self, numbers: &[E164]) -> TaskRow {
        self.task_with(
            TaskState::Running,
            NOW,
            NewTaskContacts::Numbers(numbers.iter().cloned().map(Into::into).collect()),
        )
        .await
    }

    pub(crate) async fn task_with(
        &self,
        state: TaskState,
        start_at: Wall,
        contacts: NewTaskContacts,
    ) -> TaskRow {
        let new = NewTask {
            campaign: self.id,
            name: "task".into(),
            state,
            start_at,
            retries_max: 2,
            contacts,
            idempotency: None,
        };
        let store = &self.db.store;
        let id = store.create_tasks(&[new], NOW).await.unwrap().remove(0).0.id;
        store.prepare_tasks(NOW).await.unwrap();
        store.task(id).await.unwrap().unwrap()
    }

    pub(crate) async fn lease(&self, limit: usize, now: Wall) -> Leased {
        self.db.store.lease(&self.policy(), limit, now).await.unwrap()
    }

    pub(crate) fn settings(&self) -> CampaignSettings {
        CampaignSettings {
            hours: self.hours.clone(),
            suppression: self.suppression.clone(),
            ..CampaignSettings::default()
        }
    }

    pub(crate) fn policy(&self) -> Arc<CampaignPolicy> {
        self.policy_of(self.settings())
    }

    pub(crate) fn policy_of(&self, settings: CampaignSettings) -> Arc<CampaignPolicy> {
        let config = CampaignConfig {
            id: self.id,
            settings,
            trunks: Vec::new(),
        };
        Arc::new(CampaignPolicy::new(&self.rules, Arc::new(config)))
    }

    pub(crate) fn new_attempt(&self, lead: &Lead, at: Wall) -> NewAttempt {
        NewAttempt {
            attempt: AttemptId(self.db.uuid()),
            leg: LegId(self.db.uuid()),
            pbx: PbxName::new("office"),
            trunk: self.trunk,
            lead: lead.clone(),
            created_at: at,
            ring_timeout: RING,
        }
    }

    /// Prepares an attempt and waits for the answer.
    pub(crate) async fn prepare(&self, writer: &Writer, lead: &Lead, at: Wall) -> (NewAttempt, Prepared) {
        let new = self.new_attempt(lead, at);
        let pending = writer.prepare(new.clone(), self.policy()).await;
        (new, pending.await)
    }

    pub(crate) async fn end(
        &self,
        writer: &Writer,
        of: &NewAttempt,
        outcome: Outcome,
        at: Wall,
        retry: Option<Wall>,
    ) {
        writer.change(self.id, leg_ended(of, at)).await;
        writer.change(self.id, ended(of, outcome, at, retry)).await;
    }
}

pub(crate) fn leg_ended(of: &NewAttempt, at: Wall) -> Change {
    Change::LegEnded {
        attempt: of.attempt,
        leg: of.leg,
        end: LegEnd {
            q850: Some(16),
            sip: Some(200),
            detail: "Normal Clearing".into(),
            ..LegEnd::default()
        },
        at,
    }
}

pub(crate) fn ended(of: &NewAttempt, outcome: Outcome, at: Wall, retry_at: Option<Wall>) -> Change {
    Change::AttemptEnded {
        attempt: of.attempt,
        leg: of.leg,
        task: of.lead.task,
        contact: of.lead.contact,
        outcome,
        at,
        retry_at,
        spends_try: true,
    }
}

/// A do-not-call entry for every campaign and for good.
pub(crate) fn asked(at: Wall) -> NewDnc<'static> {
    NewDnc::new(DncSource::Api, "asked", at)
}

/// A fictional number by its last digits.
pub(crate) fn number(n: u32) -> E164 {
    // 020 7946 0000 to 0999 are fictional, those after them are not; the store dials none.
    E164::new(&format!("+4420{:08}", 79_460_000 + n)).unwrap()
}

pub(crate) fn numbers(count: u32) -> Vec<E164> {
    (0..count).map(number).collect()
}

pub(crate) fn found(leased: &Leased) -> Vec<String> {
    leased
        .leads
        .iter()
        .map(|lead| lead.number.expose().to_owned())
        .collect()
}

/// Repeats the check until it succeeds, for at most ten seconds.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !is_so().await {
        assert!(
            tokio::time::Instant::now() < deadline,
            "not within ten seconds: {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The rules that a decision names.
pub(crate) fn rules(decision: &paceline_store::DecisionRow) -> Vec<&str> {
    decision
        .reasons
        .iter()
        .map(|reason| reason.rule.as_str())
        .collect()
}
