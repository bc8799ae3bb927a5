//! Random logs, tampered with at random, against the offline verifier. `scripts/prove ledger` makes 10,000 changes of every
//! kind; the usual run makes some hundreds. `PACELINE_SEED` repeats a run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use paceline_ledger::{
    Checkpoint, Edge, Entry, ExportLine, Hash, InclusionProof, Kind, NumberKey, NumberMac, SignedCheckpoint,
    SigningKey, Subject, Tiles, inclusion_path,
};
use paceline_ledger_verify::{Kept, Key, check_log, check_proofs};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

const ORIGIN: &str = "paceline/00000000-0000-4000-8000-000000000001/0";

/// The changes that an attacker without the signing key can make.
#[derive(Clone, Copy, Debug)]
enum Tampering {
    /// One character anywhere in the log is another.
    EditText,
    /// One entry says something else.
    EditEntry,
    /// One line is gone.
    Drop,
    /// Some lines in a row come in another order.
    Reorder,
    /// Two lines have changed places.
    Swap,
    /// The end is gone, down to an earlier checkpoint.
    TruncateToCheckpoint,
    /// The end is gone.
    TruncateAnywhere,
    /// A line comes a second time.
    Reinsert,
    /// An entry of another log is added, or put in place of one.
    Foreign,
    /// An earlier checkpoint stands in place of a later one.
    ReplayCheckpoint,
    /// An entry is shown as erased, with another hash.
    FalseErasure,
    /// A kept checkpoint is changed.
    EditKept,
    /// An earlier kept checkpoint comes again, or in place of a later one.
    ReplayKept,
    /// One character of a proof is another.
    EditProof,
    /// A proof gets the entry of another one.
    SwapProofs,
}

const ALL: [Tampering; 15] = [
    Tampering::EditText,
    Tampering::EditEntry,
    Tampering::Drop,
    Tampering::Reorder,
    Tampering::Swap,
    Tampering::TruncateToCheckpoint,
    Tampering::TruncateAnywhere,
    Tampering::Reinsert,
    Tampering::Foreign,
    Tampering::ReplayCheckpoint,
    Tampering::FalseErasure,
    Tampering::EditKept,
    Tampering::ReplayKept,
    Tampering::EditProof,
    Tampering::SwapProofs,
];

/// The files of an auditor: the exported log, the kept checkpoints, some proofs.
#[derive(Clone)]
struct Files {
    lines: Vec<String>,
    kept: Vec<String>,
    proofs: Vec<String>,
}

impl Files {
    fn log(&self) -> String {
        self.lines.join("\n")
    }

    fn check(&self, keys: &[Key]) -> Result<(), String> {
        let kept = Kept::read(&self.kept.concat(), keys).map_err(|why| why.0)?;
        check_log(self.log().as_bytes(), keys, Some(&kept), |_| {}).map_err(|why| why.0)?;
        check_proofs(&self.proofs.join("\n"), keys, Some(&kept)).map_err(|why| why.0)?;
        Ok(())
    }
}

fn entry(rng: &mut StdRng, numbers: &NumberKey) -> Vec<u8> {
    let bytes = |rng: &mut StdRng| rng.random::<[u8; 16]>();
    let number = numbers.mac(&format!("+1212555{:04}", rng.random_range(100..200)));
    let is_attempt = rng.random_bool(0.5);
    let body = format!(r#"{{"verdict":"allow","reasons":["{}"]}}"#, rng.random::<u16>());
    let entry = Entry {
        kind: Kind::ALL[rng.random_range(0..Kind::ALL.len())],
        at_ms: rng.random_range(1_795_000_000_000..1_796_000_000_000),
        subject: Subject {
            number: Some(number),
            campaign: Some(rng.random_range(1..20)),
            task: Some(rng.random_range(1..1000)),
            contact: rng.random_bool(0.9).then(|| rng.random_range(1..1_000_000)),
            bucket: None,
            attempt: is_attempt.then(|| bytes(rng)),
            leg: is_attempt.then(|| bytes(rng)),
        },
        body: body.as_bytes(),
    };
    entry.encode()
}

fn make(rng: &mut StdRng, log: &SigningKey, witness: &SigningKey) -> Files {
    let numbers = NumberKey::new(&[9; 32]).unwrap();
    let (mut lines, mut kept, mut proofs) = (vec![ExportLine::Headline.to_string()], Vec::new(), Vec::new());
    let (mut tiles, mut entries) = (Tiles::default(), Vec::new());
    let checkpoints = rng.random_range(3..9);
    for n in 0..checkpoints {
        let mut edge = Edge::new(entries.len() as u64, &tiles).unwrap();
        for _ in 0..rng.random_range(1..60) {
            let bytes = entry(rng, &numbers);
            let leaf = Hash::of_leaf(&bytes);
            edge.push(leaf);
            let is_erased = rng.random_bool(0.1);
            let line = if is_erased {
                ExportLine::Erased(leaf)
            } else {
                ExportLine::Entry(&bytes)
            };
            lines.push(line.to_string());
            entries.push(bytes);
        }
        edge.changed()
            .iter()
            .for_each(|(tile, hashes)| tiles.add(*tile, hashes));
        let size = edge.size();
        let checkpoint = Checkpoint {
            origin: ORIGIN.to_owned(),
            size,
            root: edge.root(),
        };
        let mut signed = SignedCheckpoint {
            signatures: vec![log.sign(&checkpoint, 0)],
            checkpoint,
        };
        kept.push(format!("{signed}\n"));
        let signature = signed.signatures[0].bytes.clone();
        if n == 0 || rng.random_bool(0.3) {
            signed
                .signatures
                .push(witness.sign(&signed.checkpoint, 1_795_000_000 + n));
            // The file gets the checkpoint again, now with the witness's line.
            kept.push(format!("{signed}\n"));
        }
        lines.push(ExportLine::Checkpoint(&signed).to_string());
        let index = size - 1;
        let path = tiles.hashes(&inclusion_path(index, size).unwrap()).unwrap();
        let entry = entries[entries.len() - 1].clone();
        proofs.push(
            InclusionProof {
                entry,
                index,
                size,
                path,
                signature,
            }
            .to_string(),
        );
    }
    lines.push(String::new());
    Files { lines, kept, proofs }
}

fn edit(text: &str, rng: &mut StdRng) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    let at = rng.random_range(0..letters.len());
    letters[at] = char::from(rng.random_range(b' '..=b'~'));
    letters.into_iter().collect()
}

/// The lines that begin with this word.
fn those(files: &Files, word: &str) -> Vec<usize> {
    let lines = files.lines.iter().enumerate();
    lines
        .filter(|(_, line)| line.starts_with(word))
        .map(|(at, _)| at)
        .collect()
}

fn any<T: Copy>(from: &[T], rng: &mut StdRng) -> T {
    from[rng.random_range(0..from.len())]
}

/// Changes the files. The change may turn out to be none.
fn tamper(files: &mut Files, with: Tampering, foreign: &Files, rng: &mut StdRng) {
    // Neither the headline nor the end after the last line.
    let end = files.lines.len() - 1;
    let line = rng.random_range(1..end);
    let (notes, entries) = (those(files, "checkpoint"), those(files, "entry"));
    match with {
        Tampering::EditText => files.lines[line] = edit(&files.lines[line], rng),
        Tampering::EditEntry => {
            let other = entry(rng, &NumberKey::new(&[9; 32]).unwrap());
            files.lines[any(&entries, rng)] = ExportLine::Entry(&other).to_string();
        }
        Tampering::Drop => drop(files.lines.remove(line)),
        Tampering::Reorder => {
            let to = rng.random_range(line..=end.min(line + 12));
            files.lines[line..to].reverse();
        }
        Tampering::Swap => files.lines.swap(line, rng.random_range(1..end)),
        Tampering::TruncateToCheckpoint => {
            let last = any(&notes[..notes.len() - 1], rng);
            files.lines.truncate(last + 1);
            files.lines.push(String::new());
        }
        Tampering::TruncateAnywhere => files.lines.truncate(line),
        Tampering::Reinsert => {
            let again = files.lines[line].clone();
            files.lines.insert(rng.random_range(1..=end), again);
        }
        Tampering::Foreign => {
            let other = foreign.lines[any(&those(foreign, "entry"), rng)].clone();
            match rng.random_bool(0.5) {
                true => files.lines.insert(line, other),
                false => files.lines[line] = other,
            }
        }
        Tampering::ReplayCheckpoint => {
            let later = rng.random_range(1..notes.len());
            files.lines[notes[later]] = files.lines[notes[rng.random_range(0..later)]].clone();
        }
        Tampering::FalseErasure => {
            let hash = Hash::from_bytes(&rng.random::<[u8; 32]>()).unwrap();
            files.lines[any(&entries, rng)] = ExportLine::Erased(hash).to_string();
        }
        Tampering::EditKept => {
            let at = rng.random_range(0..files.kept.len());
            files.kept[at] = edit(&files.kept[at], rng);
        }
        Tampering::ReplayKept => {
            let later = rng.random_range(1..files.kept.len());
            let earlier = files.kept[rng.random_range(0..later)].clone();
            match rng.random_bool(0.5) {
                true => files.kept[later] = earlier,
                false => files.kept.insert(later + 1, earlier),
            }
        }
        Tampering::EditProof => {
            let at = rng.random_range(0..files.proofs.len());
            files.proofs[at] = edit(&files.proofs[at], rng);
        }
        Tampering::SwapProofs => {
            let entry = |proof: &str| proof.lines().nth(1).unwrap().to_owned();
            let (from, to) = (0, rng.random_range(1..files.proofs.len()));
            files.proofs[to] =
                files.proofs[to].replace(&entry(&files.proofs[to]), &entry(&files.proofs[from]));
        }
    }
}

#[test]
fn every_tampering_is_found_by_the_offline_verifier() {
    let full = std::env::var_os("PACELINE_PROOF").is_some_and(|proof| proof == "full");
    let seed = std::env::var("PACELINE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| rand::random::<u32>().into());
    println!("PACELINE_SEED={seed}");
    let wanted = if full { 10_000 } else { 450 };
    let mut rng = StdRng::seed_from_u64(seed);
    let log = SigningKey::new(ORIGIN, &rng.random::<[u8; 32]>()).unwrap();
    let witness = SigningKey::of_witness("witness.example/w1", &rng.random::<[u8; 32]>()).unwrap();
    let keys = [log.public(), witness.public()].map(|key| Key::read(&key.to_string()).unwrap());
    let (mut made, mut found) = (0, [0_u32; ALL.len()]);
    let mut whole = make(&mut rng, &log, &witness);
    let mut foreign = make(&mut rng, &log, &witness);
    while made < wanted {
        if made % 50 == 0 {
            foreign = std::mem::replace(&mut whole, make(&mut rng, &log, &witness));
            assert_eq!(whole.check(&keys), Ok(()));
        }
        let kind = made % ALL.len();
        let mut files = whole.clone();
        tamper(&mut files, ALL[kind], &foreign, &mut rng);
        // A change that changes nothing is none, and the missing line end after the last line is no change.
        let same = files.lines == whole.lines && files.kept == whole.kept && files.proofs == whole.proofs;
        if same {
            continue;
        }
        assert!(
            files.check(&keys).is_err(),
            "tampering {made} was not found: {:?}",
            ALL[kind]
        );
        found[kind] += 1;
        made += 1;
    }
    println!(
        "{made} tamperings, all found: {:?}",
        ALL.iter().zip(found).collect::<Vec<_>>()
    );
}

#[test]
fn the_verifier_says_which_entry_and_why() {
    let mut rng = StdRng::seed_from_u64(1);
    let log = SigningKey::new(ORIGIN, &[1; 32]).unwrap();
    let witness = SigningKey::of_witness("witness.example/w1", &[2; 32]).unwrap();
    let files = make(&mut rng, &log, &witness);
    let keys = [log.public(), witness.public()].map(|key| Key::read(&key.to_string()).unwrap());
    let check = |lines: &[String], kept: Option<&Kept>| {
        check_log(lines.join("\n").as_bytes(), &keys, kept, |_| {}).map_err(|why| why.0)
    };
    let kept = Kept::read(&files.kept.concat(), &keys).unwrap();
    let proved = check(&files.lines, Some(&kept)).unwrap();
    assert!(proved.starts_with("the log is whole: "), "{proved}");
    let notes = those(&files, "checkpoint");
    let mut cut = files.lines[..=notes[0]].to_vec();
    cut.push(String::new());
    check(&cut, None).expect("nothing shows that a log went on, if nobody kept a checkpoint");
    assert!(check(&cut, Some(&kept)).unwrap_err().contains("cut off"));
    let stranger = SigningKey::new(ORIGIN, &[3; 32]).unwrap();
    let stranger = [Key::read(&stranger.public().to_string()).unwrap()];
    let said = check_log(files.log().as_bytes(), &stranger, None, |_| {})
        .unwrap_err()
        .0;
    assert!(said.contains("nobody gave the key of `paceline/"), "{said}");
    let w2 = SigningKey::of_witness("w2", &[4; 32]).unwrap();
    let [first, second] = keys;
    let keys = [first, second, Key::read(&w2.public().to_string()).unwrap()];
    let said = check_log(files.log().as_bytes(), &keys, None, |_| {})
        .unwrap_err()
        .0;
    assert_eq!(said, "the witness `w2` co-signed nothing");
}

#[test]
fn the_verifier_shows_what_an_entry_says() {
    let bytes = Entry {
        kind: Kind::Decision,
        at_ms: 1_795_186_800_000,
        subject: Subject {
            number: Some(NumberMac::from_bytes([0; 32])),
            campaign: Some(300),
            attempt: Some([0x0a; 16]),
            ..Subject::default()
        },
        body: br#"{"verdict":"allow"}"#,
    }
    .encode();
    let key = SigningKey::new(ORIGIN, &[1; 32]).unwrap();
    let checkpoint = Checkpoint {
        origin: ORIGIN.to_owned(),
        size: 1,
        root: Hash::of_leaf(&bytes),
    };
    let signature = key.sign(&checkpoint, 0).bytes;
    let proof = InclusionProof {
        entry: bytes,
        index: 0,
        size: 1,
        path: Vec::new(),
        signature,
    };
    let keys = [Key::read(&key.public().to_string()).unwrap()];
    let said = check_proofs(&proof.to_string(), &keys, None).unwrap();
    assert!(
        said.ends_with(
            "{\"index\":0,\"kind\":\"decision\",\"at_ms\":1795186800000,\
             \"number_hmac\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\",\"campaign\":300,\
             \"attempt\":\"0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a\",\"body\":{\"verdict\":\"allow\"}}"
        ),
        "{said}"
    );
}
