//! Measures the cost of an entry: its bytes with the keyed hash of the number, its place in the tree, a checkpoint, a proof.
//! `cargo bench -p paceline-ledger`.
#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a bench ends at a failure"
)]

use paceline_ledger::{
    Checkpoint, Edge, Entry, Hash, Kind, NumberKey, SigningKey, Subject, Tiles, inclusion_path, root_of_path,
};
use std::hint::black_box;
use std::time::Instant;

const ENTRIES: u64 = 1_000_000;
const BATCH: u64 = 500;

fn main() {
    let numbers = NumberKey::new(&[1; 32]).unwrap();
    let body = br#"{"stage":"originate","verdict":"allow","reasons":["clear"]}"#;
    let entry = |n: u64| {
        let subject = Subject {
            number: Some(numbers.mac("+12125550123")),
            campaign: Some(3),
            task: Some(300),
            contact: Some(n),
            bucket: None,
            attempt: Some([1; 16]),
            leg: Some([2; 16]),
        };
        let entry = Entry {
            kind: Kind::Decision,
            at_ms: 1_795_186_800_000,
            subject,
            body,
        };
        entry.encode()
    };
    time("bytes of a decision, with the keyed hash", ENTRIES, || {
        (0..ENTRIES).for_each(|n| drop(black_box(entry(n))));
    });
    let bytes = entry(1);
    let mut tiles = Tiles::default();
    time("place of an entry, 500 at a time", ENTRIES, || {
        for first in (0..ENTRIES).step_by(usize::try_from(BATCH).unwrap()) {
            let mut edge = Edge::new(first, &tiles).unwrap();
            (0..BATCH).for_each(|_| edge.push(Hash::of_leaf(&bytes)));
            for (tile, hashes) in edge.changed() {
                tiles.add(tile, &hashes);
            }
        }
    });
    let key = SigningKey::new("paceline/bench/0", &[2; 32]).unwrap();
    let root = tiles.hash(0..ENTRIES).unwrap();
    let checkpoint = Checkpoint {
        origin: "paceline/bench/0".to_owned(),
        size: ENTRIES,
        root,
    };
    time("checkpoint, signed", 1_000, || {
        (0..1_000).for_each(|_| drop(black_box(key.sign(&checkpoint, 0))));
    });
    time("proof of an entry, made and checked", 1_000, || {
        for index in 0..1_000 {
            let path = inclusion_path(index * 997, ENTRIES).unwrap();
            let path = tiles.hashes(&path).unwrap();
            let reached = root_of_path(Hash::of_leaf(&bytes), index * 997, ENTRIES, &path);
            assert_eq!(reached, Some(root));
        }
    });
}

fn time(what: &str, times: u64, work: impl FnOnce()) {
    let began = Instant::now();
    work();
    println!(
        "{what:<45} {:>9.2} us",
        began.elapsed().as_secs_f64() * 1e6 / times as f64
    );
}
