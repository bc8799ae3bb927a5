//! Runs the fuzz targets on their corpora, unchanged and damaged at random, with the stable compiler. `fuzz/` needs a
//! nightly compiler.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's helpers fail by panicking, as tests do"
)]

#[path = "../fuzz/config.rs"]
mod config;
#[path = "../fuzz/contacts.rs"]
mod contacts;
#[path = "../fuzz/events.rs"]
mod events;
#[path = "../fuzz/gate.rs"]
mod gate;
#[path = "../fuzz/route.rs"]
mod route;

use proptest::prelude::*;
use std::path::Path;

fn seeds(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
        .into_iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

#[derive(Clone, Debug)]
enum Damage {
    Set(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Repeat(prop::sample::Index, u8),
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = any::<prop::sample::Index>;
    let telling = prop::sample::select(vec![
        &b"\""[..],
        b"\n",
        b"\r",
        b",",
        b";",
        b"\t",
        b"\xef\xbb\xbf",
        b"\0",
        b"+",
        b"e",
        b"=",
        b"[[",
        b"\"\"\"",
        b"{",
    ]);
    prop_oneof![
        (place(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        place().prop_map(Damage::Cut),
        (place(), telling).prop_map(|(at, bytes)| Damage::Insert(at, bytes.to_vec())),
        (place(), 1..40u8).prop_map(|(at, length)| Damage::Repeat(at, length)),
    ]
}

fn damaged(seed: &[u8], damages: &[Damage]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for damage in damages {
        let at = |index: &prop::sample::Index| index.index(bytes.len() + 1);
        match damage {
            Damage::Set(index, byte) => {
                let at = at(index);
                if let Some(slot) = bytes.get_mut(at) {
                    *slot = *byte;
                }
            }
            Damage::Cut(index) => {
                let at = at(index);
                bytes.truncate(at);
            }
            Damage::Insert(index, more) => {
                let at = at(index);
                bytes.splice(at..at, more.iter().copied());
            }
            Damage::Repeat(index, length) => {
                let at = at(index);
                let end = (at + usize::from(*length)).min(bytes.len());
                let again = bytes.get(at..end).unwrap_or_default().to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
    bytes
}

#[test]
fn every_file_of_the_corpora_is_read_or_gives_an_error() {
    seeds("tests/data/import")
        .iter()
        .for_each(|seed| contacts::check(seed));
    seeds("fuzz/corpus/config")
        .iter()
        .for_each(|seed| config::check(seed));
    seeds("fuzz/corpus/gate")
        .iter()
        .for_each(|seed| gate::check(seed));
    seeds("fuzz/corpus/route")
        .iter()
        .for_each(|seed| route::check(seed));
}

proptest! {
    // PROPTEST_CASES raises this number.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(2_000)))]

    #[test]
    fn damaged_contact_files_are_read_or_give_an_error(
        seed in any::<prop::sample::Index>(),
        damages in prop::collection::vec(damage(), 1..6),
    ) {
        let seeds = seeds("tests/data/import");
        contacts::check(&damaged(seed.get::<Vec<u8>>(&seeds), &damages));
    }

    #[test]
    fn damaged_events_are_read_or_give_an_error(
        seed in any::<prop::sample::Index>(),
        damages in prop::collection::vec(damage(), 1..6),
    ) {
        let seeds = seeds("crates/pbx/src/ari/decode");
        events::check(&damaged(seed.get::<Vec<u8>>(&seeds), &damages));
    }

    #[test]
    fn damaged_configurations_are_read_or_give_an_error(
        seed in any::<prop::sample::Index>(),
        damages in prop::collection::vec(damage(), 1..6),
    ) {
        let seeds = seeds("fuzz/corpus/config");
        config::check(&damaged(seed.get::<Vec<u8>>(&seeds), &damages));
    }

    #[test]
    fn damaged_calls_and_rules_are_answered_or_give_an_error(
        seed in any::<prop::sample::Index>(),
        damages in prop::collection::vec(damage(), 1..6),
    ) {
        let seeds = seeds("fuzz/corpus/gate");
        gate::check(&damaged(seed.get::<Vec<u8>>(&seeds), &damages));
    }
    #[test]
    fn damaged_trunks_and_legs_are_answered_or_give_an_error(
        seed in any::<prop::sample::Index>(),
        damages in prop::collection::vec(damage(), 1..6),
    ) {
        let seeds = seeds("fuzz/corpus/route");
        route::check(&damaged(seed.get::<Vec<u8>>(&seeds), &damages));
    }
}
