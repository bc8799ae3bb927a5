//! smoke
use paceline::metrics::Metrics;
use paceline::store::Store;
use paceline_core::command::{Change, NewAttempt};
use paceline_core::gate::CallingHours;
use paceline_core::ids::*;
use paceline_core::input::Prepared;
use paceline_core::outcome::Outcome;
use paceline_core::pbx::*;
use paceline_core::time::Wall;
use std::sync::Arc;
use std::time::Duration;

const SEED: &str = "
INSERT INTO trunks (name, pbx, dial) VALUES ('carrier', 'office', 'PJSIP/{number}@carrier');
INSERT INTO campaigns (name, state, settings, created_at_ms) VALUES ('c', 'active', '{}', 0);
INSERT INTO campaign_trunks VALUES (1, 0, 1);
INSERT INTO contact_lists (name, created_at_ms) VALUES ('l', 0);
INSERT INTO contacts (list_id, number) VALUES (1, '+12025550101'), (1, '+12025550102'), (1, '+12025550103');
INSERT INTO dnc (number, reason, added_at_ms) VALUES ('+12025550102', 'asked', 0);
INSERT INTO tasks (campaign_id, list_id, name, state, start_at_ms, retries_max, next_due_at_ms, created_at_ms) VALUES (1, 1, 't', 'scheduled', 5, 2, 5, 0);
INSERT INTO task_contacts (task_id, contact_id, state, due_at_ms) SELECT 1, id, 'ready', 5 FROM contacts;
INSERT INTO agents (name, pbx, extension, state_at_ms) VALUES ('a', 'office', '7', 0);
";

async fn smoke(store: Store) {
    let c = CampaignId(1);
    assert_eq!(store.dial_campaigns().await.unwrap()[0].trunks[0].name, "carrier");
    let hours = CallingHours::always();
    let margin = Duration::from_secs(25);
    let early = store.lease(c, &hours, margin, 10, Wall(4)).await.unwrap();
    assert_eq!((early.leads.len(), early.next_due), (0, Some(Wall(5))));
    let leased = store.lease(c, &hours, margin, 10, Wall(10)).await.unwrap();
    assert_eq!((leased.leads.len(), leased.denied, leased.next_due), (2, 1, None));
    let writer = store.writer();
    let new = |n: u128, lead: &paceline_core::input::Lead| NewAttempt {
        attempt: AttemptId(uuid::Uuid::from_u128(n)),
        leg: LegId(uuid::Uuid::from_u128(n + 100)),
        pbx: PbxName::new("office"),
        trunk: TrunkId(1),
        lead: lead.clone(),
        created_at: Wall(20),
        ring_timeout: margin,
    };
    let hours = Arc::new(hours);
    let pending = writer.prepare(new(1, &leased.leads[0]), c, hours.clone()).await;
    assert_eq!(pending.await, Prepared::Allowed);
    writer
        .change(
            c,
            Change::Agent {
                agent: AgentId(1),
                state: paceline_core::agent::AgentState::Available,
                pbx: Some(PbxName::new("office")),
                leg: None,
                paused: false,
                at: Wall(21),
            },
        )
        .await;
    writer.flush().await;
    let recovered = store.recover(c, Wall(30)).await.unwrap();
    assert_eq!(
        (
            recovered.attempts.len(),
            recovered.given_back,
            recovered.agents.len()
        ),
        (1, 1, 1)
    );
    let (attempt, leg) = (
        AttemptId(uuid::Uuid::from_u128(1)),
        LegId(uuid::Uuid::from_u128(101)),
    );
    writer
        .change(
            c,
            Change::Answered {
                attempt,
                leg,
                at: Wall(31),
            },
        )
        .await;
    writer
        .change(
            c,
            Change::Connected {
                attempt,
                agent: AgentId(1),
                at: Wall(32),
            },
        )
        .await;
    writer
        .change(
            c,
            Change::Ended {
                attempt,
                leg,
                task: TaskId(1),
                contact: leased.leads[0].contact,
                outcome: Outcome::Answered,
                end: LegEnd::default(),
                at: Wall(40),
                retry_at: None,
            },
        )
        .await;
    writer.flush().await;
    let again = store.lease(c, &hours, margin, 10, Wall(50)).await.unwrap();
    assert_eq!(again.leads.len(), 1);
    assert_eq!(store.recover(c, Wall(60)).await.unwrap().attempts.len(), 0);
    println!("{:?}", writer.stats());
}

#[tokio::test]
async fn sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("p.db").display());
    let store = Store::open(&url, &Metrics::new()).await.unwrap();
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    sqlx::raw_sql(SEED).execute(&pool).await.unwrap();
    smoke(store).await;
}

#[tokio::test]
async fn postgres() {
    let server = paceline_lab::Postgres::start().unwrap();
    let store = Store::open(&server.url(), &Metrics::new()).await.unwrap();
    let pool = sqlx::PgPool::connect(&server.url()).await.unwrap();
    sqlx::raw_sql(SEED).execute(&pool).await.unwrap();
    smoke(store).await;
}
