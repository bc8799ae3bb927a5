//! The ledger's rows: stored together with their facts, numbered once, published, erased.

use crate::support::{Db, NOW, later, number, numbers, until};
use paceline_core::ids::CampaignId;
use paceline_core::input::Prepared;
use paceline_core::time::Wall;
use paceline_ledger::{Entry, Frontier, Hash, Kind, NumberKey, SigningKey, inclusion_path, root_of_path};
use paceline_store::{CheckpointFile, Expiring, LedgerError, NewFact, Store, StoreMetrics};
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

const ALWAYS: std::ops::Range<Wall> = Wall(i64::MIN)..Wall(i64::MAX);
const CHILD: &str = "PACELINE_LEDGER_CHILD";

fn fact(n: u64) -> NewFact<'static> {
    NewFact {
        kind: Kind::RuleChange,
        at: NOW,
        number: None,
        campaign: Some(CampaignId(1)),
        body: format!("{{\"n\":{n}}}"),
    }
}

fn key() -> SigningKey {
    SigningKey::new("paceline/test/0", &[1; 32]).unwrap()
}

async fn number_all(store: &Store) -> u64 {
    loop {
        let state = store.number_ledger().await.unwrap();
        if state.numbered == 0 {
            return state.size;
        }
    }
}

/// All entries in their order; `None`: an erased one.
async fn entries(store: &Store) -> Vec<Option<Vec<u8>>> {
    let mut all = Vec::new();
    loop {
        let bundles = store.ledger_bundles(all.len() as u64, ALWAYS).await.unwrap();
        if bundles.is_empty() {
            return all;
        }
        for bundle in bundles {
            for (index, entry) in bundle.entries().unwrap() {
                assert_eq!(index, all.len() as u64, "no gap and no overlap");
                all.push(entry.map(<[u8]>::to_vec));
            }
        }
    }
}

async fn root(store: &Store, size: u64) -> Hash {
    store
        .ledger_hashes(std::slice::from_ref(&(0..size)))
        .await
        .unwrap()[0]
}

/// The numbers in the bodies of [`fact`], each of which must be there once.
async fn facts(store: &Store) -> BTreeSet<u64> {
    let mut seen = BTreeSet::new();
    for entry in entries(store).await.into_iter().flatten() {
        let entry = Entry::decode(&entry).unwrap();
        let body = std::str::from_utf8(entry.body).unwrap();
        let n = body.trim_start_matches("{\"n\":").trim_end_matches('}');
        assert!(seen.insert(n.parse().unwrap()), "numbered twice: {n}");
    }
    seen
}

pub(crate) async fn decisions_are_recorded_in_the_transaction_that_stores_them(db: &Db) {
    let campaign = db.campaign("a").await;
    campaign.task(&numbers(2)).await;
    let before = db.count("SELECT count(*) FROM ledger_pending").await;
    let leads = campaign.lease(2, NOW).await.leads;
    assert_eq!(
        db.count("SELECT count(*) FROM ledger_pending").await,
        before + 1,
        "one row for the transaction"
    );
    let writer = db.store.writer();
    let (attempt, prepared) = campaign.prepare(&writer, &leads[0], later(1)).await;
    assert_eq!(prepared, Prepared::Allowed);
    let not_yet = db
        .store
        .ledger_entry_of_attempt(attempt.attempt, later(1))
        .await
        .unwrap();
    assert_eq!(not_yet, None);
    number_all(&db.store).await;
    let found = db
        .store
        .ledger_entry_of_attempt(attempt.attempt, later(1))
        .await
        .unwrap()
        .unwrap();
    let entry = Entry::decode(&found.bytes).unwrap();
    assert_eq!(entry.kind, Kind::Decision);
    assert_eq!(entry.subject.leg, Some(*attempt.leg.0.as_bytes()));
    assert_eq!(entry.subject.campaign, u64::try_from(campaign.id.0).ok());
    assert_eq!(entry.subject.number, db.store.number_in_ledger(&leads[0].number));
    assert_eq!(
        entry.body,
        br#"{"stage":"originate","verdict":"allow","reasons":["paceline/suppressed","paceline/dnc_disposition","paceline/campaign_hours","uk-ofcom/ring_time"]}"#
    );
    let all = entries(&db.store).await;
    let decisions = all.iter().flatten().map(|bytes| Entry::decode(bytes).unwrap());
    let decisions = decisions.filter(|entry| entry.kind == Kind::Decision).count();
    assert_eq!(
        i64::try_from(decisions).unwrap(),
        db.count("SELECT count(*) FROM gate_decisions").await
    );
    for bytes in all.iter().flatten() {
        let digits = leads[0].number.expose().trim_start_matches('+').as_bytes();
        assert!(!bytes.windows(digits.len()).any(|part| part == digits));
    }
}

pub(crate) async fn entries_get_places_without_gaps_and_prove_themselves(db: &Db) {
    for n in 0..700 {
        db.store.record_fact(&fact(n)).await.unwrap();
    }
    assert_eq!(number_all(&db.store).await, 700);
    let mut frontier = Frontier::default();
    let all = entries(&db.store).await;
    for entry in &all {
        frontier.push(Hash::of_leaf(entry.as_ref().unwrap()));
    }
    assert_eq!(root(&db.store, 700).await, frontier.root());
    for index in [0, 255, 256, 600, 699] {
        let path = inclusion_path(index, 700).unwrap();
        let path = db.store.ledger_hashes(&path).await.unwrap();
        let leaf = Hash::of_leaf(all[usize::try_from(index).unwrap()].as_ref().unwrap());
        assert_eq!(root_of_path(leaf, index, 700, &path), Some(frontier.root()));
    }
    assert_eq!(facts(&db.store).await.len(), 700);
}

pub(crate) async fn entries_of_many_transactions_at_once_are_numbered_once(db: &Db) {
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..120 {
        let store = db.store.clone();
        tasks.spawn(async move { store.record_fact(&fact(n)).await.unwrap() });
    }
    for _ in 0..3 {
        let store = db.store.beside();
        tasks.spawn(async move {
            for _ in 0..20 {
                store.number_ledger().await.unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(number_all(&db.store).await, 120);
    assert_eq!(facts(&db.store).await, (0..120).collect());
}

pub(crate) async fn a_checkpoint_is_published_to_the_file_and_the_table(db: &Db) {
    let folder = tempfile::tempdir().unwrap();
    let file = CheckpointFile::new(folder.path().join("checkpoints"));
    let publish = async |now| db.store.publish_ledger(&key(), None, &file, now).await;
    assert!(
        !publish(NOW).await.unwrap().is_new,
        "an empty log has nothing to sign"
    );
    for n in 0..3 {
        db.store.record_fact(&fact(n)).await.unwrap();
        number_all(&db.store).await;
        let published = publish(NOW).await.unwrap();
        assert_eq!((published.size, published.is_new), (n + 1, true));
    }
    assert!(!publish(NOW).await.unwrap().is_new);
    let last = file.last(&[key().public().clone()]).unwrap().unwrap();
    assert_eq!(last.checkpoint.root, root(&db.store, 3).await);
    assert_eq!(
        db.store.last_ledger_checkpoint().await.unwrap().unwrap().note,
        Some(last)
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(file.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    // The process ended after it wrote the file and before it updated the table.
    db.run("DELETE FROM ledger_checkpoints WHERE size = 3").await;
    assert!(!publish(NOW).await.unwrap().is_new);
    assert_eq!(db.count("SELECT max(size) FROM ledger_checkpoints").await, 3);
}

pub(crate) async fn a_file_or_a_database_that_disagrees_stops_publishing(db: &Db) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoints");
    let file = CheckpointFile::new(&path);
    let publish = async || db.store.publish_ledger(&key(), None, &file, NOW).await;
    for n in 0..3 {
        db.store.record_fact(&fact(n)).await.unwrap();
        number_all(&db.store).await;
        publish().await.unwrap();
    }
    db.store.record_fact(&fact(3)).await.unwrap();
    number_all(&db.store).await;
    let whole = std::fs::read_to_string(&path).unwrap();
    let put = |text: &str| std::fs::write(&path, text).unwrap();
    let older = &whole[..whole.rfind("paceline/test/0\n3\n").unwrap()];
    put(older);
    assert!(matches!(
        publish().await,
        Err(LedgerError::FileWentBack { file: 2, table: 3 })
    ));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(
        publish().await,
        Err(LedgerError::FileWentBack { file: 0, table: 3 })
    ));
    for changed in [
        &whole.replace("0\n3\n", "0\n4\n"),
        &whole[..whole.len() - 1],
        "nonsense",
        &format!("{whole}x"),
    ] {
        put(changed);
        assert!(matches!(publish().await, Err(LedgerError::NotOurs)), "{changed}");
    }
    put(&whole);
    let stranger = SigningKey::new("paceline/test/0", &[2; 32]).unwrap();
    let with = db.store.publish_ledger(&stranger, None, &file, NOW).await;
    assert!(matches!(with, Err(LedgerError::NotOurs)));
    let zeros = if db.is_sqlite() {
        "zeroblob(128)"
    } else {
        "decode(repeat('00', 128), 'hex')"
    };
    db.run(&format!("UPDATE ledger_tiles SET hashes = {zeros}")).await;
    assert!(matches!(publish().await, Err(LedgerError::Changed { size: 3 })));
}

pub(crate) async fn a_database_that_went_back_is_not_signed(db: &Db) {
    let folder = tempfile::tempdir().unwrap();
    let file = CheckpointFile::new(folder.path().join("checkpoints"));
    db.store.record_fact(&fact(0)).await.unwrap();
    number_all(&db.store).await;
    db.store.publish_ledger(&key(), None, &file, NOW).await.unwrap();
    db.run("DELETE FROM ledger_bundles; DELETE FROM ledger_tiles; DELETE FROM ledger_checkpoints; UPDATE ledger_logs SET size = 0")
        .await;
    let published = db.store.publish_ledger(&key(), None, &file, NOW).await;
    assert!(matches!(
        published,
        Err(LedgerError::DatabaseWentBack { size: 0, file: 1 })
    ));
}

pub(crate) async fn an_erased_body_leaves_its_hash_and_every_proof(db: &Db) {
    for n in 0..4 {
        let number = number(n / 2);
        let opt_out = NewFact {
            kind: Kind::OptOut,
            number: Some(&number),
            ..fact(n.into())
        };
        db.store.record_fact(&opt_out).await.unwrap();
    }
    let size = number_all(&db.store).await;
    let (before, all) = (root(&db.store, size).await, entries(&db.store).await);
    assert_eq!(
        db.store.erase_number_from_ledger(&number(0), NOW).await.unwrap(),
        2
    );
    number_all(&db.store).await;
    let left = entries(&db.store).await;
    assert_eq!((&left[..2], &left[2..4]), (&[None, None][..], &all[2..]));
    assert_eq!(
        Entry::decode(left[4].as_ref().unwrap()).unwrap().kind,
        Kind::Erasure
    );
    assert_eq!(root(&db.store, size).await, before);
    let kind = Expiring::LedgerOptOuts;
    assert_eq!(
        db.store.delete_expired(kind, NOW, NOW).await.unwrap(),
        0,
        "not old enough"
    );
    assert_eq!(db.store.delete_expired(kind, later(1), NOW).await.unwrap(), 5);
    assert_eq!(
        db.store
            .delete_expired(Expiring::LedgerDecisions, later(1), NOW)
            .await
            .unwrap(),
        5
    );
    number_all(&db.store).await;
    let left = entries(&db.store).await;
    assert_eq!(left[2..4], [None, None]);
    assert_eq!(
        left[4..].iter().flatten().count(),
        2,
        "the records of both erasures stay"
    );
    assert_eq!(root(&db.store, size).await, before);
}

pub(crate) async fn the_rules_in_force_are_recorded_once_for_each_change(db: &Db) {
    let ours = r#"{"overlays":[{"file":"our.toml","sha256":"00"}]}"#;
    let none = r#"{"overlays":[]}"#;
    for (rules, is_new) in [
        (none, true),
        (none, false),
        (ours, true),
        (ours, false),
        (none, true),
    ] {
        assert_eq!(
            db.store.record_rules(rules, NOW).await.unwrap(),
            is_new,
            "{rules}"
        );
        // A restart keeps what was recorded.
        let restarted = Store::open(&db.url, StoreMetrics::default()).await.unwrap();
        restarted.keep_ledger(NumberKey::new(&[5; 32]).unwrap());
        assert!(!restarted.record_rules(rules, NOW).await.unwrap());
        restarted.close().await;
    }
    number_all(&db.store).await;
    let all = entries(&db.store).await;
    let recorded: Vec<_> = all
        .iter()
        .flatten()
        .map(|bytes| Entry::decode(bytes).unwrap())
        .collect();
    assert!(recorded.iter().all(|entry| entry.kind == Kind::Overlay));
    let bodies: Vec<_> = recorded.iter().map(|entry| entry.body).collect();
    assert_eq!(bodies, [none, ours, none].map(str::as_bytes));
}

/// Runs in a process of its own, which the next test kills. It prints each fact after the fact is stored.
#[test]
fn the_child_of_the_next_test() {
    let Ok(url) = std::env::var(CHILD) else { return };
    let (url, from) = url.rsplit_once('|').unwrap();
    let mut n: u64 = from.parse().unwrap();
    let file = CheckpointFile::new(std::env::var("PACELINE_LEDGER_FILE").unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = Store::open(url, StoreMetrics::default()).await.unwrap();
        store.keep_ledger(NumberKey::new(&[5; 32]).unwrap());
        let numbering = store.beside();
        tokio::spawn(async move {
            loop {
                numbering.number_ledger().await.unwrap();
                numbering.publish_ledger(&key(), None, &file, NOW).await.unwrap();
            }
        });
        loop {
            store.record_fact(&fact(n)).await.unwrap();
            writeln!(std::io::stdout(), "stored {n}").unwrap();
            n += 1;
        }
    });
}

pub(crate) async fn a_process_killed_at_any_moment_loses_no_entry_and_numbers_none_twice(db: &Db) {
    let folder = tempfile::tempdir().unwrap();
    let file = CheckpointFile::new(folder.path().join("checkpoints"));
    let (mut stored, mut next) = (BTreeSet::new(), 0_u64);
    for run in 0..6_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "ledger::the_child_of_the_next_test", "--nocapture"])
            .env(CHILD, format!("{}|{next}", db.url))
            .env("PACELINE_LEDGER_FILE", file.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let wanted = 30 + run * 17;
        let mut seen = 0;
        for line in &mut lines {
            if let Some(n) = line.unwrap().strip_prefix("stored ") {
                next = n.parse().unwrap();
                stored.insert(next);
                seen += 1;
            }
            if seen == wanted {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= wanted, "the child ended by itself");
        // The last fact may be stored although it was not printed.
        next += 2;
    }
    // PostgreSQL may still end a transaction of the killed process.
    until("all is numbered", async || {
        number_all(&db.store).await;
        facts(&db.store).await.is_superset(&stored)
    })
    .await;
    let published = db.store.publish_ledger(&key(), None, &file, NOW).await.unwrap();
    let mut frontier = Frontier::default();
    for entry in entries(&db.store).await {
        frontier.push(Hash::of_leaf(&entry.unwrap()));
    }
    let last = file.last(&[key().public().clone()]).unwrap().unwrap();
    assert_eq!(
        (last.checkpoint.size, last.checkpoint.root),
        (published.size, frontier.root())
    );
    assert_eq!(frontier.size(), published.size);
}
