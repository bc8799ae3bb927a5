//! Vectors of certificate transparency, properties, and a comparison with another implementation.

use crate::hash::Hash;
use crate::*;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;
use std::ops::Range;

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

fn hash(text: &str) -> Hash {
    Hash::from_bytes(&hex(text)).unwrap()
}

/// The leaves of certificate-transparency's reference tests, with the root after each.
fn reference() -> Vec<(Vec<u8>, Hash)> {
    [
        (
            "",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        ),
        (
            "00",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        ),
        (
            "10",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        ),
        (
            "2021",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ),
        (
            "3031",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        ),
        (
            "40414243",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        ),
        (
            "5051525354555657",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        ),
        (
            "606162636465666768696a6b6c6d6e6f",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ),
    ]
    .map(|(leaf, root)| (hex(leaf), hash(root)))
    .to_vec()
}

/// A log whose tiles are kept as a store keeps them, changed in batches.
#[derive(Default)]
struct Log {
    tiles: Tiles,
    size: u64,
}

impl Log {
    fn append(&mut self, leaves: &[Hash]) -> Hash {
        let mut edge = Edge::new(self.size, &self.tiles).unwrap();
        leaves.iter().for_each(|leaf| edge.push(*leaf));
        for (tile, bytes) in edge.changed() {
            self.tiles.add(tile, &bytes);
        }
        self.size = edge.size();
        edge.root()
    }

    fn of(leaves: &[Hash]) -> Self {
        let mut log = Self::default();
        log.append(leaves);
        log
    }

    fn root(&self, size: u64) -> Hash {
        self.tiles.hash(0..size).unwrap()
    }

    fn inclusion(&self, index: u64, size: u64) -> Vec<Hash> {
        self.tiles.hashes(&inclusion_path(index, size).unwrap()).unwrap()
    }

    fn consistency(&self, first: u64, second: u64) -> Vec<Hash> {
        self.tiles
            .hashes(&consistency_path(first, second).unwrap())
            .unwrap()
    }
}

fn leaf(n: u64) -> Hash {
    Hash::of_leaf(&n.to_be_bytes())
}

#[test]
fn roots_are_those_of_certificate_transparency() {
    assert_eq!(
        Hash::of_nothing(),
        hash("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    );
    let (mut frontier, mut log) = (Frontier::default(), Log::default());
    assert_eq!(frontier.root(), Hash::of_nothing());
    for (leaf, root) in reference() {
        frontier.push(Hash::of_leaf(&leaf));
        assert_eq!(frontier.root(), root);
        assert_eq!(log.append(&[Hash::of_leaf(&leaf)]), root);
        assert_eq!(log.root(log.size), root);
    }
}

#[test]
fn proofs_are_those_of_certificate_transparency() {
    let leaves: Vec<Hash> = reference().iter().map(|(leaf, _)| Hash::of_leaf(leaf)).collect();
    let log = Log::of(&leaves);
    let from_first = [
        hash("96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"),
        hash("5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"),
        hash("6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"),
    ];
    assert_eq!(log.inclusion(0, 8), from_first);
    assert_eq!(log.consistency(1, 8), from_first);
    assert_eq!(
        log.consistency(6, 8),
        [
            hash("0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"),
            hash("ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"),
            hash("d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
        ]
    );
    assert_eq!(
        log.consistency(2, 5),
        [
            hash("5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"),
            hash("bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"),
        ]
    );
}

/// RFC 9162, section 2.1.5: the tree of seven leaves, and which hashes each proof has.
#[test]
fn paths_are_those_of_the_example_of_rfc_9162() {
    let (b, c, d, f, j) = (1..2, 2..3, 3..4, 5..6, 6..7);
    let (g, h, i, k, l): (Range<u64>, _, _, _, _) = (0..2, 2..4, 4..6, 0..4, 4..7);
    let of = |index| inclusion_path(index, 7).unwrap();
    assert_eq!(of(0), [b, h, l.clone()]);
    assert_eq!(of(3), [c.clone(), g.clone(), l.clone()]);
    assert_eq!(of(4), [f, j.clone(), k.clone()]);
    assert_eq!(of(6), [i.clone(), k.clone()]);
    let since = |first| consistency_path(first, 7).unwrap();
    assert_eq!(since(3), [c, d, g, l.clone()]);
    assert_eq!(since(4), [l]);
    assert_eq!(since(6), [i, j, k]);
    assert_eq!(
        (
            inclusion_path(7, 7),
            consistency_path(0, 7),
            consistency_path(8, 7)
        ),
        (None, None, None)
    );
}

#[test]
fn every_proof_in_every_small_tree_holds_and_equals_that_of_another_implementation() {
    let leaves: Vec<Hash> = (0..70).map(leaf).collect();
    let log = Log::of(&leaves);
    let mut other = MemoryBackedTree::<Sha256, [u8; 8]>::new();
    for size in 1..=70_u64 {
        other.push((size - 1).to_be_bytes());
        let root = log.root(size);
        assert_eq!(other.root().as_bytes().as_slice(), root.as_bytes());
        for index in 0..size {
            let path = log.inclusion(index, size);
            assert_eq!(inclusion_path_len(index, size), Some(path.len()));
            let theirs = other.prove_inclusion(usize::try_from(index).unwrap());
            let ours: Vec<u8> = path.iter().flat_map(|hash| *hash.as_bytes()).collect();
            assert_eq!(theirs.as_bytes(), ours);
            assert_eq!(root_of_path(leaf(index), index, size, &path), Some(root));
            let first = index + 1;
            let path = log.consistency(first, size);
            if first < size {
                let theirs = other.prove_consistency(usize::try_from(size - first).unwrap());
                let ours: Vec<u8> = path.iter().flat_map(|hash| *hash.as_bytes()).collect();
                assert_eq!(theirs.as_bytes(), ours);
            }
            assert!(follows((first, log.root(first)), (size, root), &path));
        }
    }
}

#[test]
fn tiles_that_grow_in_batches_give_the_same_roots_as_a_frontier() {
    let (mut log, mut frontier) = (Log::default(), Frontier::default());
    for batch in [1, 254, 1, 1, 255, 256, 600, 65_000, 1, 700] {
        let leaves: Vec<Hash> = (log.size..log.size + batch).map(leaf).collect();
        leaves.iter().for_each(|leaf| frontier.push(*leaf));
        assert_eq!(log.append(&leaves), frontier.root());
        assert_eq!(log.root(log.size), frontier.root());
    }
    for (index, size) in [(0, 67_069), (300, 65_536), (65_535, 65_537), (66_000, 67_069)] {
        let needed = Tiles::needed(&inclusion_path(index, size).unwrap());
        assert!(needed.len() <= 6, "{needed:?}");
        assert_eq!(
            root_of_path(leaf(index), index, size, &log.inclusion(index, size)),
            Some(log.root(size))
        );
    }
    let missing = Tiles::default().hash(0..300).unwrap_err();
    assert_eq!(missing.tile, Tile { level: 1, number: 0 });
}

fn example() -> Entry<'static> {
    let key = NumberKey::new(&[7; 32]).unwrap();
    Entry {
        kind: Kind::Decision,
        at_ms: 1_795_186_800_000,
        subject: Subject {
            number: Some(key.mac("+12125550123")),
            campaign: Some(3),
            task: Some(300),
            contact: Some(70_000),
            attempt: Some([1; 16]),
            leg: Some([2; 16]),
            ..Subject::default()
        },
        body: br#"{"stage":"originate","verdict":"allow","reasons":["clear"]}"#,
    }
}

#[test]
fn the_bytes_of_an_entry_are_fixed() {
    let bytes = example().encode();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    // A change of these bytes breaks every proof that was ever given: make a new version instead.
    assert_eq!(
        hex,
        "01016f000001a1f978b580c8747656b3392d1a960d662d5d44912cb22e5698a7cf2527fbbf809b4769786703ac02f0a204\
         0101010101010101010101010101010102020202020202020202020202020202\
         7b227374616765223a226f726967696e617465222c2276657264696374223a22616c6c6f77222c22726561736f6e73223a5b22\
         636c656172225d7d"
    );
    assert!(!hex.contains("3132313235353530313233"), "the number is not in it");
}

#[test]
fn what_is_no_entry_is_refused() {
    let good = example().encode();
    assert_eq!(Entry::decode(&good).unwrap(), example());
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    for bad in [
        with(0, 2),
        with(1, 99),
        with(2, 0xff),
        good[..40].to_vec(),
        Vec::new(),
    ] {
        assert_eq!(Entry::decode(&bad), Err(EntryError));
    }
    // The campaign 3 in a longer form.
    let mut long = good.clone();
    long.splice(43..44, [0x83, 0]);
    assert_eq!(Entry::decode(&long), Err(EntryError));
}

fn checkpoint() -> Checkpoint {
    Checkpoint {
        origin: "paceline/test/0".to_owned(),
        size: 8,
        root: reference()[7].1,
    }
}

#[test]
fn a_checkpoint_is_signed_and_cosigned_and_survives_its_text() {
    let log = SigningKey::new("paceline/test/0", &[1; 32]).unwrap();
    let witness = SigningKey::of_witness("witness.example/w1", &[2; 32]).unwrap();
    let signed = SignedCheckpoint {
        signatures: vec![
            log.sign(&checkpoint(), 0),
            witness.sign(&checkpoint(), 1_795_186_800),
        ],
        checkpoint: checkpoint(),
    };
    let text = signed.to_string();
    let read: SignedCheckpoint = text.parse().unwrap();
    assert_eq!(read, signed);
    for key in [log.public(), witness.public()] {
        assert!(read.is_signed_by(key));
        assert_eq!(&key.to_string().parse::<PublicKey>().unwrap(), key);
    }
    let other = SigningKey::new("paceline/test/0", &[3; 32]).unwrap();
    assert!(!read.is_signed_by(other.public()));
    assert_eq!(
        format!("{log:?} {:?}", NumberKey::new(&[1; 32]).unwrap()),
        format!("SigningKey({}) NumberKey(redacted)", log.public())
    );
    let moved = SignedCheckpoint {
        checkpoint: Checkpoint {
            size: 9,
            ..checkpoint()
        },
        ..signed
    };
    assert!(!moved.is_signed_by(log.public()) && !moved.is_signed_by(witness.public()));
}

/// The public key in the tests of Go's package `note`, from which `signed-note` comes.
#[test]
fn a_key_of_another_program_is_read() {
    let text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let key: PublicKey = text.parse().unwrap();
    assert_eq!((key.name(), key.kind()), ("PeterNeumann", KeyKind::Log));
    for bad in [
        "",
        "a+b",
        &text[1..],
        &text.replace("c7", "c8"),
        &text.replace("ARpc", "AUpc"),
    ] {
        assert_eq!(bad.parse::<PublicKey>(), Err(KeyError::Public), "{bad}");
    }
    assert_eq!(SigningKey::new("a b", &[1; 32]).unwrap_err(), KeyError::Name);
    assert_eq!(SigningKey::new("a", &[1; 31]).unwrap_err(), KeyError::Secret);
}

#[test]
fn a_proof_of_an_entry_of_300_bytes_in_a_log_of_half_a_million_is_at_most_a_kilobyte() {
    let size = 1 << 19;
    let proof = InclusionProof {
        entry: vec![0; 300],
        index: size - 1,
        size,
        path: vec![Hash::of_nothing(); inclusion_path_len(size - 1, size).unwrap()],
        signature: [0; 64],
    };
    assert_eq!(proof.path.len(), 19);
    let bytes = proof.encode().unwrap();
    assert!(bytes.len() <= 1024, "{}", bytes.len());
    assert_eq!(InclusionProof::decode(&bytes), Ok(proof));
}

#[test]
fn a_change_of_the_key_is_read_from_its_own_kind_of_entry_only() {
    let key = SigningKey::new("paceline/test/0", &[1; 32]).unwrap();
    let body = key.public().change();
    let entry = |kind, body| Entry {
        kind,
        body,
        ..example()
    };
    let read = PublicKey::of_change(&entry(Kind::KeyChange, body.as_bytes()));
    assert_eq!(read.as_ref(), Some(key.public()));
    assert_eq!(PublicKey::of_change(&entry(Kind::Overlay, body.as_bytes())), None);
    assert_eq!(
        PublicKey::of_change(&entry(Kind::KeyChange, b"{\"key\":\"x\"}")),
        None
    );
}

proptest! {
    #[test]
    fn an_entry_survives_its_bytes(
        kind in 0..Kind::ALL.len(), at_ms: i64, number: Option<[u8; 32]>, campaign: Option<u64>, task: Option<u64>,
        contact: Option<u64>, bucket: Option<u64>, attempt: Option<[u8; 16]>, leg: Option<[u8; 16]>, body: Vec<u8>,
    ) {
        let number = number.map(NumberMac::from_bytes);
        let subject = Subject { number, campaign, task, contact, bucket, attempt, leg };
        let entry = Entry { kind: Kind::ALL[kind], at_ms, subject, body: &body };
        let bytes = entry.encode();
        prop_assert_eq!(Entry::decode(&bytes), Ok(entry));
    }

    #[test]
    fn bytes_that_are_read_as_an_entry_are_that_entrys_bytes(bytes: Vec<u8>, kind in 1..=9_u8, present in 0..128_u8) {
        let bytes = [&[1, kind, present], bytes.as_slice()].concat();
        if let Ok(entry) = Entry::decode(&bytes) {
            prop_assert_eq!(entry.encode(), bytes);
        }
    }

    #[test]
    fn a_bundle_gives_its_entries_back(entries: Vec<Option<Vec<u8>>>) {
        let mut bytes = Vec::new();
        let entries: Vec<_> = entries.iter().map(|it| it.as_deref().filter(|it| !it.is_empty())).collect();
        entries.iter().for_each(|entry| pack(&mut bytes, *entry));
        let read: Result<Vec<_>, _> = Bundle::new(&bytes).collect();
        prop_assert_eq!(read.unwrap(), entries);
    }

    #[test]
    fn no_other_leaf_place_size_or_path_gives_the_root(size in 2..3_000_u64, at: u64, change in 0..5_u8, by: u64) {
        let leaves: Vec<Hash> = (0..size).map(leaf).collect();
        let log = Log::of(&leaves);
        let (index, root) = (at % size, log.root(size));
        let mut path = log.inclusion(index, size);
        let other = (index + 1 + by % (size - 1)) % size;
        let reached = match change {
            0 => root_of_path(leaf(other), index, size, &path),
            1 => root_of_path(leaf(index), other, size, &path),
            2 => { path.pop(); root_of_path(leaf(index), index, size, &path) }
            3 => { path.push(root); root_of_path(leaf(index), index, size, &path) }
            _ => {
                let place = usize::try_from(by).unwrap_or(0) % path.len();
                path[place] = leaf(size + 1);
                root_of_path(leaf(index), index, size, &path)
            }
        };
        prop_assert_ne!(reached, Some(root));
    }

    #[test]
    fn a_tree_follows_only_its_own_beginning(first in 1..600_u64, more in 1..600_u64, changed: u64) {
        let size = first + more;
        let mut leaves: Vec<Hash> = (0..size).map(leaf).collect();
        let log = Log::of(&leaves);
        let path = log.consistency(first, size);
        let (old, new) = ((first, log.root(first)), (size, log.root(size)));
        prop_assert!(follows(old, new, &path));
        leaves[usize::try_from(changed % first).unwrap()] = leaf(size);
        let other = Log::of(&leaves);
        prop_assert!(!follows((first, other.root(first)), new, &path));
        prop_assert!(!follows(old, (size, other.root(size)), &other.consistency(first, size)));
        prop_assert!(!follows(new, old, &path));
        prop_assert!(!follows((first + 1, old.1), new, &path));
    }

    #[test]
    fn no_change_of_a_byte_leaves_a_proof_or_a_checkpoint_right(at: u32, to: u8, n in 0..40_u64) {
        let key = SigningKey::new("paceline/test/0", &[1; 32]).unwrap();
        let entry = example().encode();
        let mut leaves: Vec<Hash> = (0..40).map(leaf).collect();
        leaves[usize::try_from(n).unwrap()] = Hash::of_leaf(&entry);
        let log = Log::of(&leaves);
        let checkpoint = Checkpoint { origin: key.public().name().to_owned(), size: 40, root: log.root(40) };
        let signature = key.sign(&checkpoint, 0);
        let proof = InclusionProof { entry, index: n, size: 40, path: log.inclusion(n, 40), signature: signature.bytes.as_slice().try_into().unwrap() };
        prop_assert_eq!(proof.check(key.public()), Ok(checkpoint.clone()));
        let encoded = proof.encode().unwrap();
        prop_assert_eq!(InclusionProof::decode(&encoded), Ok(proof.clone()));
        let change = |bytes: &[u8]| {
            let mut changed = bytes.to_vec();
            let at = usize::try_from(at).unwrap() % changed.len();
            changed[at] = to;
            (changed != bytes).then_some(changed)
        };
        if let Some(Ok(changed)) = change(&encoded).map(|bytes| InclusionProof::decode(&bytes)) {
            prop_assert!(changed.check(key.public()).is_err());
        }
        let signed = SignedCheckpoint { checkpoint, signatures: vec![signature] };
        let changed = change(signed.to_string().as_bytes()).and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some(Ok(changed)) = changed.map(|text| text.parse::<SignedCheckpoint>()) {
            prop_assert!(!changed.is_signed_by(key.public()));
        }
    }
}
