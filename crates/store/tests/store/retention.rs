//! Rows that expire.

use crate::support::{Db, NOW, later};
use paceline_core::time::Wall;
use paceline_store::{AuditEntry, Expiring, ImportInto, NewImport};
use uuid::Uuid;

async fn all(db: &Db, kind: Expiring, before: Wall) -> Vec<u64> {
    let mut slices = Vec::new();
    loop {
        match db.store.delete_expired(kind, before, NOW).await.unwrap() {
            0 => return slices,
            slice => slices.push(slice),
        }
    }
}

pub(crate) async fn decisions_expire_in_slices_the_oldest_first(db: &Db) {
    db.run(
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 700) \
         INSERT INTO gate_decisions (at_ms, task_id, contact_id, stage, verdict, reasons) \
         SELECT x, 1, x, 'lease', 'allow', 'clear' FROM n ORDER BY x",
    )
    .await;
    let slices = all(db, Expiring::Decisions, Wall(601)).await;
    assert_eq!(slices, [250, 250, 100]);
    assert_eq!(db.count("SELECT min(at_ms) FROM gate_decisions").await, 601);
    assert_eq!(db.count("SELECT count(*) FROM gate_decisions").await, 100);
}

pub(crate) async fn the_audit_expires_refused_or_not(db: &Db) {
    for (at, refused) in [(1, true), (2, false), (3, true), (4, false)] {
        let entry = AuditEntry {
            at: Wall(at),
            request: Uuid::nil(),
            key: None,
            peer: None,
            method: "POST".to_owned(),
            route: "/api/v1/tasks".to_owned(),
            object: None,
            status: 403,
            refused,
            suppressed: 0,
        };
        db.store.add_audit(&entry).await.unwrap();
    }
    assert_eq!(all(db, Expiring::Audit, Wall(3)).await, [2]);
    let left = async |refused| {
        let rows = db.store.audit(None, refused, None, 10).await.unwrap();
        rows.iter().map(|row| row.entry.at.0).collect::<Vec<_>>()
    };
    assert_eq!(left(None).await, [4, 3]);
    assert_eq!(left(Some(true)).await, [3]);
    assert_eq!(left(Some(false)).await, [4]);
}

pub(crate) async fn rejected_rows_expire_once_their_import_is_over(db: &Db) {
    for n in 1..=2 {
        let new = NewImport {
            into: &ImportInto::NewList(format!("list {n}")),
            file_sha256: &[0; 32],
            settings: "{}",
            shape: "{}",
        };
        db.store.begin_import(&new, NOW).await.unwrap();
    }
    db.run(
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 300) \
         INSERT INTO import_rejects (import_id, line, reason) SELECT i.id, n.x, 'no number' FROM n, imports i",
    )
    .await;
    let kind = Expiring::ImportRejects;
    assert_eq!(all(db, kind, later(1)).await, [0; 0], "both still run");
    let first = db.store.imports(None, 10).await.unwrap().pop().unwrap().id;
    db.store.clear_import(first, None).await.unwrap();
    assert_eq!(all(db, kind, NOW).await, [0; 0], "it is not old enough");
    assert_eq!(all(db, kind, later(1)).await, [250, 50]);
    assert_eq!(db.count("SELECT count(*) FROM import_rejects").await, 300);
}
