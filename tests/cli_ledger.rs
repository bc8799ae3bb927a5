//! `paceline ledger`: it checks, proves and exports the ledger of a store, and finds changes made in the database.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's helpers fail by panicking, as tests do"
)]

use paceline::config::{Config, StoreConfig};
use paceline::ledger::verify::{VerifyError, verify};
use paceline::ledger::{Keys, SignInError};
use paceline::store::{NewAgent, NewFact, NewTask, NewTaskContacts, NewTrunk, Store, StoreMetrics};
use paceline_core::campaign::hours::CallingHours;
use paceline_core::campaign::settings::CampaignSettings;
use paceline_core::campaign::{CampaignConfig, CampaignState, TaskState};
use paceline_core::command::NewAttempt;
use paceline_core::dial::{Extension, TrunkTemplate};
use paceline_core::gate::CampaignPolicy;
use paceline_core::ids::{AttemptId, LegId, PbxName};
use paceline_core::input::Prepared;
use paceline_core::number::E164;
use paceline_core::time::Wall;
use paceline_ledger::{InclusionProof, Kind, SignedCheckpoint, SigningKey};
use paceline_ledger_verify::{Key, check_log, check_proofs};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Friday 2026-11-20 15:00 UTC.
const NOW: Wall = Wall(1_795_186_800_000);
const NUMBER: &str = "+12125550123";

fn ledger(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_paceline"))
        .arg("ledger")
        .args(args)
        .current_dir(folder)
        .env_remove("RUST_LOG")
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

struct Made {
    config: Config,
    folder: tempfile::TempDir,
    store: Store,
    keys: Keys,
    attempt: AttemptId,
}

/// A ledger with several hundred entries, three checkpoints, and one attempt.
async fn made() -> Made {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        store: StoreConfig::sqlite(&folder.path().join("paceline.db")),
        ..Config::default()
    };
    let url = config.store.shown.clone();
    let store = Store::open(&url, StoreMetrics::default()).await.unwrap();
    let keys = Keys::open(&config, store.installation().await.unwrap(), true).unwrap();
    store.keep_ledger(keys.numbers.clone());
    keys.sign_in(&store, NOW).await.unwrap();
    let mut made = Made {
        config,
        folder,
        store,
        keys,
        attempt: AttemptId(Uuid::nil()),
    };
    made.record(300).await;
    made.attempt = made.call().await;
    made.publish().await;
    for _ in 0..2 {
        made.record(150).await;
        made.publish().await;
    }
    made
}

impl Made {
    async fn record(&self, count: u32) {
        for n in 0..count {
            let fact = NewFact {
                kind: Kind::Overlay,
                at: NOW,
                number: None,
                campaign: None,
                body: format!("{{\"n\":{n}}}"),
            };
            self.store.record_fact(&fact).await.unwrap();
        }
    }

    async fn publish(&self) {
        while self.store.number_ledger().await.unwrap().numbered > 0 {}
        let keys = &self.keys;
        let published = self
            .store
            .publish_ledger(&keys.signing, keys.replaced(), &keys.checkpoints, NOW)
            .await
            .unwrap();
        assert!(published.is_new);
    }

    async fn last(&self) -> SignedCheckpoint {
        self.store
            .last_ledger_checkpoint()
            .await
            .unwrap()
            .unwrap()
            .note
            .unwrap()
    }

    async fn call(&self) -> AttemptId {
        let pbx = PbxName::new("office");
        let trunk = NewTrunk {
            name: "carrier".into(),
            pbx: pbx.clone(),
            dial: TrunkTemplate::new("PJSIP/{number}@carrier").unwrap(),
            caller_id: None,
        };
        let trunk = self.store.create_trunk(&trunk).await.unwrap().id;
        let settings = CampaignSettings {
            hours: CallingHours::always(),
            ..CampaignSettings::default()
        };
        let row = self
            .store
            .create_campaign("c", &settings, &[trunk], NOW)
            .await
            .unwrap();
        let moved = self
            .store
            .move_campaign(row.id, &[CampaignState::Draft], CampaignState::Active);
        assert!(moved.await.unwrap());
        let agent = NewAgent {
            name: "a".into(),
            pbx: pbx.clone(),
            extension: Extension::new("100").unwrap(),
        };
        self.store.create_agent(&agent, NOW).await.unwrap();
        let task = NewTask {
            campaign: row.id,
            name: "t".into(),
            state: TaskState::Running,
            start_at: NOW,
            retries_max: 0,
            contacts: NewTaskContacts::Numbers(vec![E164::new(NUMBER).unwrap().into()]),
            idempotency: None,
        };
        self.store.create_tasks(&[task], NOW).await.unwrap();
        self.store.prepare_tasks(NOW).await.unwrap();
        let ring_timeout = Duration::from_secs(20);
        let config = CampaignConfig {
            id: row.id,
            settings,
            trunks: Vec::new(),
        };
        let rules = paceline::demo::loopback_rules().unwrap();
        let policy = Arc::new(CampaignPolicy::new(&rules, Arc::new(config)));
        let leased = self.store.lease(&policy, 1, NOW).await.unwrap();
        let attempt = AttemptId(Uuid::now_v7());
        let new = NewAttempt {
            attempt,
            leg: LegId(Uuid::new_v4()),
            pbx,
            trunk,
            lead: leased.leads[0].clone(),
            created_at: NOW,
            ring_timeout,
        };
        let writer = self.store.writer();
        let prepared = writer.prepare(new, policy).await.await;
        assert_eq!(prepared, Prepared::Allowed);
        attempt
    }

    fn keys(&self) -> Vec<Key> {
        let key = said(&ledger(self.folder.path(), &["key"]));
        assert_eq!(key.trim_end(), self.keys.signing.public().to_string());
        vec![Key::read(key.trim_end()).unwrap()]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_is_proved_in_less_than_a_kilobyte_and_checked_without_paceline() {
    let made = made().await;
    let keys = made.keys();
    let id = made.attempt.0.to_string();
    let proof = ledger(made.folder.path(), &["prove", &id]);
    assert!(proof.status.success());
    let proof = proof.stdout;
    assert!(proof.len() <= 1024, "{} bytes", proof.len());
    let kept = std::fs::read_to_string(made.keys.checkpoints.path()).unwrap();
    let proved = check_proofs(&proof, &keys, Some(&kept)).unwrap();
    assert!(
        proved.contains(&format!("\"attempt\":\"{}\"", made.attempt.0.simple())),
        "{proved}"
    );
    assert!(
        proved.contains("\"stage\":\"originate\",\"verdict\":\"allow\""),
        "{proved}"
    );
    let json = said(&ledger(made.folder.path(), &["prove", &id, "--json"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let proof = InclusionProof::decode(&proof).unwrap();
    assert_eq!(
        (&json["index"], &json["size"]),
        (&proof.index.into(), &proof.size.into())
    );
    let other = ledger(made.folder.path(), &["prove", &Uuid::nil().to_string()]);
    assert_eq!(other.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_whole_or_a_selection_with_proofs() {
    let made = made().await;
    let (folder, keys) = (made.folder.path(), made.keys());
    let kept = std::fs::read_to_string(made.keys.checkpoints.path()).unwrap();
    let check = |log: &str| check_log(log.as_bytes(), &keys, Some(&kept), |_| {}).map_err(|why| why.0);
    let whole = said(&ledger(folder, &["export"]));
    let proved = check(&whole).unwrap();
    assert!(proved.ends_with("3 checkpoints"), "{proved}");
    let proved = |args: &[&str]| {
        let proofs = ledger(folder, &[&["export"], args].concat());
        assert!(proofs.status.success());
        let proved = check_proofs(&proofs.stdout, &keys, Some(&kept));
        proved.map_or(0, |proved| proved.lines().count() - 1)
    };
    assert_eq!(proved(&["--number", NUMBER]), 2, "lease and originate");
    assert_eq!(proved(&["--campaign", "1"]), 3, "and the campaign's rules");
    assert_eq!(proved(&["--from", "2026-11-20T15:00:01Z"]), 0);
    let erased = said(&ledger(folder, &["erase", NUMBER]));
    assert!(erased.starts_with("2 entries"), "{erased}");
    let proved = check(&said(&ledger(folder, &["export"]))).unwrap();
    assert!(proved.contains("2 erased"), "{proved}");
    let found = verify(&made.store, &made.keys).await.unwrap();
    assert_eq!((found.erased, found.checkpoints), (2, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_cosigns_a_checkpoint_by_a_file() {
    let made = made().await;
    let folder = made.folder.path();
    let last = made.last().await;
    let witness = SigningKey::of_witness("witness.example/w1", &[7; 32]).unwrap();
    let cosigned = |checkpoint: &SignedCheckpoint| SignedCheckpoint {
        signatures: vec![witness.sign(&checkpoint.checkpoint, 1_795_186_900)],
        checkpoint: checkpoint.checkpoint.clone(),
    };
    let file = folder.join("cosigned");
    std::fs::write(&file, cosigned(&last).to_string()).unwrap();
    let key = witness.public().to_string();
    said(&ledger(folder, &["witness", "cosigned", "--key", &key]));
    let mut keys = made.keys();
    keys.push(Key::read(&key).unwrap());
    let whole = said(&ledger(folder, &["export"]));
    let proved = check_log(whole.as_bytes(), &keys, None, |_| {})
        .map_err(|why| why.0)
        .unwrap();
    assert!(proved.contains("co-signed by `witness.example/w1`"), "{proved}");
    let mut other = last;
    other.checkpoint.size -= 1;
    std::fs::write(&file, cosigned(&other).to_string()).unwrap();
    let refused = ledger(folder, &["witness", "cosigned", "--key", &key]);
    assert_eq!(refused.status.code(), Some(1));
    verify(&made.store, &made.keys).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_signed_in_by_the_old_one_at_the_next_start() {
    let mut made = made().await;
    let installation = made.store.installation().await.unwrap();
    let (first, folder) = (made.keys(), made.folder.path().to_owned());
    let old = made.keys.signing.public().clone();
    made.record(3).await;
    said(&ledger(&folder, &["new-key"]));
    assert_eq!(
        ledger(&folder, &["new-key"]).status.code(),
        Some(1),
        "the old key is still the log's"
    );
    verify(&made.store, &made.keys).await.unwrap();
    made.keys = Keys::open(&made.config, installation, false).unwrap();
    verify(&made.store, &made.keys).await.unwrap();
    assert_ne!(made.keys.signing.public(), &old);
    made.keys.sign_in(&made.store, NOW).await.unwrap();
    let (signed_in, last) = (made.store.ledger_size().await.unwrap(), made.last().await);
    assert_eq!(
        last.checkpoint.size, signed_in,
        "the old key signs everything up to the change"
    );
    assert!(last.is_signed_by(&old));
    // The process may end after it wrote the file and before it wrote the table, or before it signs anything else.
    let url = format!("sqlite:{}", folder.join("paceline.db").display());
    let database = sqlx::SqlitePool::connect(&url).await.unwrap();
    let cut = format!("DELETE FROM ledger_checkpoints WHERE size = {signed_in}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(cut))
        .execute(&database)
        .await
        .unwrap();
    made.record(1).await;
    made.keys.sign_in(&made.store, NOW).await.unwrap();
    made.keys.sign_in(&made.store, NOW).await.unwrap();
    made.publish().await;
    let last = made.last().await;
    assert_eq!(last.checkpoint.size, signed_in + 1, "nothing was recorded twice");
    assert!(last.is_signed_by(made.keys.signing.public()) && !last.is_signed_by(&old));
    verify(&made.store, &made.keys).await.unwrap();
    let kept = std::fs::read_to_string(made.keys.checkpoints.path()).unwrap();
    let whole = said(&ledger(&folder, &["export"]));
    check_log(whole.as_bytes(), &first, Some(&kept), |_| {})
        .map_err(|why| why.0)
        .unwrap();
    let shown = said(&ledger(&folder, &["key"]));
    let all: Vec<Key> = shown.lines().map(|key| Key::read(key).unwrap()).collect();
    assert_eq!(all.len(), 2);
    let proof = ledger(&folder, &["prove", &made.attempt.0.to_string()]);
    check_proofs(&proof.stdout, &all, Some(&kept)).unwrap();
    // An attacker replaces the key of the log with another key.
    let strange = "11".repeat(32);
    std::fs::write(folder.join("paceline.db.ledger-key"), &strange).unwrap();
    std::fs::write(folder.join("paceline.db.ledger-key.old"), &strange).unwrap();
    let keys = Keys::open(&made.config, installation, false).unwrap();
    let error = keys.sign_in(&made.store, NOW).await.unwrap_err();
    assert!(matches!(error, SignInError::OtherKey), "{error}");
    let error = verify(&made.store, &keys).await.unwrap_err();
    assert!(matches!(error, VerifyError::Broken(_)), "{error}");
}

/// Changes the database as an attacker with its password could, and reverts each change.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_broken_entry_is_named() {
    let made = made().await;
    said(&ledger(made.folder.path(), &["verify"]));
    let url = format!("sqlite:{}", made.folder.path().join("paceline.db").display());
    let database = sqlx::SqlitePool::connect(&url).await.unwrap();
    let run = async |sql: &str| {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))
            .execute(&database)
            .await
            .unwrap();
    };
    run(
        "CREATE TABLE b AS SELECT * FROM ledger_bundles; CREATE TABLE t AS SELECT * FROM ledger_tiles; \
         CREATE TABLE c AS SELECT * FROM ledger_checkpoints; CREATE TABLE l AS SELECT * FROM ledger_logs",
    )
    .await;
    let restore = "DELETE FROM ledger_bundles; INSERT INTO ledger_bundles SELECT * FROM b; DELETE FROM ledger_tiles; \
         INSERT INTO ledger_tiles SELECT * FROM t; DELETE FROM ledger_checkpoints; INSERT INTO ledger_checkpoints SELECT * FROM c; \
         DELETE FROM ledger_logs; INSERT INTO ledger_logs SELECT * FROM l";
    let cases = [
        // The last byte of the first row is in the body of its last entry.
        (
            "UPDATE ledger_bundles SET entries = substr(entries, 1, length(entries) - 1) || x'20' WHERE first = 0",
            "entry 255 is not",
        ),
        (
            "DELETE FROM ledger_bundles WHERE first = 256",
            "entry 256 is missing",
        ),
        ("DELETE FROM ledger_bundles WHERE first = 0", "entry 0 is missing"),
        (
            "UPDATE ledger_bundles SET entries = entries || x'00' WHERE first = 0",
            "added to or dropped",
        ),
        (
            "UPDATE ledger_bundles SET entries = x'ff' WHERE first = 0",
            "the row of entries from 0 is damaged",
        ),
        (
            "UPDATE ledger_tiles SET hashes = zeroblob(length(hashes)) WHERE level = 1",
            "the hashes above",
        ),
        (
            "DELETE FROM ledger_tiles WHERE level = 0 AND number = 1",
            "the hash of entry 256 is missing",
        ),
        (
            "UPDATE ledger_checkpoints SET note = replace(note, char(10), char(10) || '0') WHERE size < 400",
            "damaged or not signed",
        ),
        ("UPDATE ledger_logs SET size = 310", "the end was cut off"),
        (
            "INSERT INTO ledger_checkpoints SELECT node, 100, at_ms, note FROM c LIMIT 1",
            "the checkpoint at 100 is damaged",
        ),
    ];
    for (tampering, expected) in cases {
        run(tampering).await;
        match verify(&made.store, &made.keys).await {
            Err(VerifyError::Broken(what)) => assert!(what.contains(expected), "{tampering}: {what}"),
            other => panic!("{tampering}: {other:?}"),
        }
        run(restore).await;
    }
    verify(&made.store, &made.keys).await.unwrap();
    // An attacker without the key changes an entry and its hash.
    run("UPDATE ledger_bundles SET entries = x'00' || substr(entries, 2 + unicode(substr(entries, 1, 1))) WHERE first = 0; \
         UPDATE ledger_tiles SET hashes = zeroblob(32) || substr(hashes, 33) WHERE level = 0 AND number = 0")
        .await;
    let output = ledger(made.folder.path(), &["verify"]);
    assert_eq!(output.status.code(), Some(1));
    let why = String::from_utf8(output.stderr).unwrap();
    assert!(why.contains("one of the entries 0 to"), "{why}");
    run(restore).await;
    let path = made.keys.checkpoints.path();
    let file = std::fs::read_to_string(path).unwrap();
    std::fs::write(path, &file[..file.len() / 3 + 1]).unwrap();
    assert!(verify(&made.store, &made.keys).await.is_err());
    std::fs::remove_file(path).unwrap();
    assert!(matches!(
        verify(&made.store, &made.keys).await,
        Err(VerifyError::Broken(_))
    ));
    said(&ledger(made.folder.path(), &["accept"]));
    assert_eq!(
        std::fs::read_to_string(path).unwrap(),
        file,
        "made anew from the table"
    );
    verify(&made.store, &made.keys).await.unwrap();
}
