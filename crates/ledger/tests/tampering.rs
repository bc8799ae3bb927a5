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
    Checkpoint, Edge, Entry, ExportLine, Frontier, Hash, InclusionProof, Kind, NumberKey, NumberMac,
    SignedCheckpoint, SigningKey, Subject, Tiles, inclusion_path,
};
use paceline_ledger_verify::{Key, check_log, check_proofs};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

const ORIGIN: &str = "paceline/00000000-0000-4000-8000-000000000001/0";

/// The changes that an attacker without the signing key can make.
#[derive(Clone, Copy, Debug)]
enum Tampering {
    /// One character anywhere in the log is changed.
    EditText,
    /// The content of one entry is changed.
    EditEntry,
    /// One line is removed.
    Drop,
    /// Some neighbouring lines are in another order.
    Reorder,
    /// Two lines are exchanged.
    Swap,
    /// The log is cut off after an earlier checkpoint.
    TruncateToCheckpoint,
    /// The log is cut off at any line.
    TruncateAnywhere,
    /// A line is repeated.
    Reinsert,
    /// An entry of another log is added, or replaces an entry.
    Foreign,
    /// An earlier checkpoint replaces a later one.
    ReplayCheckpoint,
    /// An entry is marked as erased, with another hash.
    FalseErasure,
    /// A kept checkpoint is changed.
    EditKept,
    /// An earlier kept checkpoint is repeated, or replaces a later one.
    ReplayKept,
    /// One character of a proof is changed.
    EditProof,
    /// A proof gets the entry of another proof.
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
    proofs: Vec<Vec<u8>>,
}

/// The keys of a log that replaces its first key by the second, and of a witness.
struct Keys {
    log: [SigningKey; 2],
    witness: SigningKey,
}

impl Keys {
    fn new(rng: &mut StdRng) -> Self {
        let mut log = || SigningKey::new(ORIGIN, &rng.random::<[u8; 32]>()).unwrap();
        let log = [log(), log()];
        let witness = SigningKey::of_witness("witness.example/w1", &rng.random::<[u8; 32]>()).unwrap();
        Self { log, witness }
    }

    /// The keys that an auditor of the whole log has been given: the log itself names its second key.
    fn first(&self) -> [Key; 2] {
        [&self.log[0], &self.witness].map(read)
    }

    fn all(&self) -> [Key; 3] {
        [&self.log[0], &self.log[1], &self.witness].map(read)
    }
}

fn read(key: &SigningKey) -> Key {
    Key::read(&key.public().to_string()).unwrap()
}

impl Files {
    fn log(&self) -> String {
        self.lines.join("\n")
    }

    fn check(&self, keys: &Keys) -> Result<(), String> {
        let kept = self.kept.concat();
        check_log(self.log().as_bytes(), &keys.first(), Some(&kept), |_| {}).map_err(|why| why.0)?;
        check_proofs(&self.proofs.concat(), &keys.all(), Some(&kept)).map_err(|why| why.0)?;
        Ok(())
    }
}

fn entry(rng: &mut StdRng, numbers: &NumberKey) -> Vec<u8> {
    let bytes = |rng: &mut StdRng| rng.random::<[u8; 16]>();
    let number = numbers.mac(&format!("+1212555{:04}", rng.random_range(100..200)));
    let is_attempt = rng.random_bool(0.5);
    let body = format!(r#"{{"verdict":"allow","reasons":["{}"]}}"#, rng.random::<u16>());
    let kinds: Vec<Kind> = Kind::ALL
        .iter()
        .copied()
        .filter(|kind| *kind != Kind::KeyChange)
        .collect();
    let entry = Entry {
        kind: any(&kinds, rng),
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

/// The entry that names a key as the log's next one.
fn key_change(key: &SigningKey) -> Vec<u8> {
    let entry = Entry {
        kind: Kind::KeyChange,
        at_ms: 1_795_000_000_000,
        subject: Subject::default(),
        body: &key.public().change().into_bytes(),
    };
    entry.encode()
}

fn make(rng: &mut StdRng, keys: &Keys) -> Files {
    let numbers = NumberKey::new(&[9; 32]).unwrap();
    let (mut lines, mut kept, mut proofs) = (vec![ExportLine::Headline.to_string()], Vec::new(), Vec::new());
    let (mut tiles, mut entries) = (Tiles::default(), Vec::new());
    let checkpoints = rng.random_range(3..9);
    let change = rng.random_range(0..checkpoints);
    for n in 0..checkpoints {
        let mut edge = Edge::new(entries.len() as u64, &tiles).unwrap();
        let log = &keys.log[usize::from(n > change)];
        for place in 0..rng.random_range(1..60) {
            let named = match (place, n) {
                (0, 0) => Some(&keys.log[0]),
                (0, n) if n == change => Some(&keys.log[1]),
                (1, 0) if change == 0 => Some(&keys.log[1]),
                _ => None,
            };
            let bytes = named.map_or_else(|| entry(rng, &numbers), key_change);
            let leaf = Hash::of_leaf(&bytes);
            edge.push(leaf);
            let is_erased = named.is_none() && rng.random_bool(0.1);
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
        let signature = signed.signatures[0].bytes.as_slice().try_into().unwrap();
        if n == 0 || rng.random_bool(0.3) {
            signed
                .signatures
                .push(keys.witness.sign(&signed.checkpoint, 1_795_000_000 + n));
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
            .encode()
            .unwrap(),
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

/// Changes the files at random. Sometimes the result equals the original.
fn tamper(files: &mut Files, with: Tampering, foreign: &Files, rng: &mut StdRng) {
    // Neither the first line nor the empty text after the last line is changed.
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
            let byte = rng.random_range(0..files.proofs[at].len());
            files.proofs[at][byte] = rng.random();
        }
        Tampering::SwapProofs => {
            let mut proofs: Vec<_> = files
                .proofs
                .iter()
                .map(|proof| InclusionProof::decode(proof).unwrap())
                .collect();
            let to = rng.random_range(1..proofs.len());
            proofs[to].entry = proofs[0].entry.clone();
            files.proofs[to] = proofs[to].encode().unwrap();
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
    let keys = Keys::new(&mut rng);
    let (mut made, mut found) = (0, [0_u32; ALL.len()]);
    let mut whole = make(&mut rng, &keys);
    let mut foreign = make(&mut rng, &keys);
    while made < wanted {
        if made % 50 == 0 {
            foreign = std::mem::replace(&mut whole, make(&mut rng, &keys));
            assert_eq!(whole.check(&keys), Ok(()));
        }
        let kind = made % ALL.len();
        let mut files = whole.clone();
        tamper(&mut files, ALL[kind], &foreign, &mut rng);
        // If the files equal the originals, nothing was tampered with. A missing line end after the last line does not
        // count.
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
    let keys = Keys::new(&mut rng);
    let files = make(&mut rng, &keys);
    let kept = files.kept.concat();
    let check = |lines: &[String], kept: Option<&str>| {
        check_log(lines.join("\n").as_bytes(), &keys.first(), kept, |_| {}).map_err(|why| why.0)
    };
    let proved = check(&files.lines, Some(&kept)).unwrap();
    assert!(proved.starts_with("the log is whole: "), "{proved}");
    let notes = those(&files, "checkpoint");
    let mut cut = files.lines[..=notes[0]].to_vec();
    cut.push(String::new());
    check(&cut, None).expect("nothing shows that a log went on, if nobody kept a checkpoint");
    assert!(check(&cut, Some(&files.kept[0])).is_ok());
    check(&cut, Some(&kept)).unwrap_err();
    let stranger = [read(&SigningKey::new(ORIGIN, &[3; 32]).unwrap())];
    let said = check_log(files.log().as_bytes(), &stranger, None, |_| {})
        .unwrap_err()
        .0;
    assert!(said.contains("nobody gave the key of `paceline/"), "{said}");
    let w2 = SigningKey::of_witness("w2", &[4; 32]).unwrap();
    let [first, second] = keys.first();
    let said = check_log(files.log().as_bytes(), &[first, second, read(&w2)], None, |_| {});
    assert_eq!(said.unwrap_err().0, "the witness `w2` co-signed nothing");
}

/// A log of these parts: the entries up to each checkpoint, and the key that signs it.
fn log_of(parts: &[(Vec<Vec<u8>>, &SigningKey)]) -> (String, String) {
    let (mut log, mut kept) = (format!("{}\n", ExportLine::Headline), String::new());
    let mut tree = Frontier::default();
    for (entries, key) in parts {
        for bytes in entries {
            tree.push(Hash::of_leaf(bytes));
            log += &format!("{}\n", ExportLine::Entry(bytes));
        }
        let checkpoint = Checkpoint {
            origin: ORIGIN.to_owned(),
            size: tree.size(),
            root: tree.root(),
        };
        let signed = SignedCheckpoint {
            signatures: vec![key.sign(&checkpoint, 0)],
            checkpoint,
        };
        log += &format!("{}\n", ExportLine::Checkpoint(&signed));
        kept += &format!("{signed}\n");
    }
    (log, kept)
}

#[test]
fn a_new_key_counts_only_if_the_old_one_signs_it_in_and_then_the_old_one_counts_no_more() {
    let mut rng = StdRng::seed_from_u64(2);
    let numbers = NumberKey::new(&[9; 32]).unwrap();
    let [a, b, c] = [1, 2, 3].map(|n| SigningKey::new(ORIGIN, &[n; 32]).unwrap());
    let mut some = || vec![entry(&mut rng, &numbers)];
    let begun = (vec![key_change(&a)], &a);
    let check = |parts: &[(Vec<Vec<u8>>, &SigningKey)], given: &SigningKey| {
        let (log, kept) = log_of(parts);
        check_log(log.as_bytes(), &[read(given)], Some(&kept), |_| {}).map_err(|why| why.0)
    };
    let twice = [
        begun.clone(),
        (vec![key_change(&b)], &a),
        (some(), &b),
        (vec![key_change(&c)], &b),
        (some(), &c),
    ];
    check(&twice, &a).unwrap();
    check(&twice, &c).expect_err("an auditor begins with the first key");
    let not_named = [begun.clone(), (some(), &b)];
    check(&not_named, &a).expect_err("no entry names the key");
    let not_signed_in = [begun.clone(), (vec![key_change(&b)], &b), (some(), &b)];
    check(&not_signed_in, &a).expect_err("the new key has signed itself in");
    let other = [begun.clone(), (vec![key_change(&b)], &a), (some(), &c)];
    check(&other, &a).expect_err("another key is named");
    let goes_on = [
        begun.clone(),
        (vec![key_change(&b)], &a),
        (some(), &b),
        (some(), &a),
    ];
    let said = check(&goes_on, &a).unwrap_err();
    assert!(said.contains("or the log had replaced it"), "{said}");
    let at_once = [begun.clone(), (vec![key_change(&b)], &a), (some(), &a)];
    check(&at_once, &a).expect_err("the old key goes on directly");
    let broken = Entry {
        kind: Kind::KeyChange,
        at_ms: 0,
        subject: Subject::default(),
        body: b"{\"key\":\"nonsense\"}",
    };
    check(&[begun, (vec![broken.encode()], &a)], &a).expect_err("the entry names no key");
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
    let signature = key.sign(&checkpoint, 0).bytes.try_into().unwrap();
    let proof = InclusionProof {
        entry: bytes,
        index: 0,
        size: 1,
        path: Vec::new(),
        signature,
    };
    let keys = [Key::read(&key.public().to_string()).unwrap()];
    let said = check_proofs(&proof.encode().unwrap(), &keys, None).unwrap();
    assert!(
        said.ends_with(
            "{\"index\":0,\"kind\":\"decision\",\"at_ms\":1795186800000,\
             \"number_hmac\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\",\"campaign\":300,\
             \"attempt\":\"0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a\",\"body\":{\"verdict\":\"allow\"}}"
        ),
        "{said}"
    );
}
