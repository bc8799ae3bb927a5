//! Checks a ledger from files alone: the whole log, or proofs of single entries, against the log's public key and
//! checkpoints that somebody kept. It shares no code with Paceline, so that a fault there cannot hide itself here.
//!
//! Sources: RFC 9162, section 2.1; C2SP `signed-note`, `tlog-checkpoint`, `tlog-cosignature`. `docs/ledger.md` has the files.

mod entry;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, UnparsedPublicKey};
use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;
use std::ops::RangeInclusive;

type Hash = [u8; 32];

/// What is wrong, as a sentence.
#[derive(Debug)]
pub struct Broken(pub String);

fn broken<T>(why: impl Into<String>) -> Result<T, Broken> {
    Err(Broken(why.into()))
}

fn sha(parts: &[&[u8]]) -> Hash {
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(digest(&SHA256, &parts.concat()).as_ref()) {
        *to = *from;
    }
    hash
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha(&[&[1], left, right])
}

/// Only the one text that stands for these bytes is read.
fn unbase64(text: &str) -> Result<Vec<u8>, Broken> {
    let bytes = STANDARD.decode(text).ok();
    let bytes = bytes.filter(|bytes| STANDARD.encode(bytes) == text);
    bytes.ok_or_else(|| Broken("a value is not base64".to_owned()))
}

fn hash_of(text: &str) -> Result<Hash, Broken> {
    unbase64(text)?
        .try_into()
        .or_else(|_| broken("a hash has 32 bytes"))
}

fn whole(text: &str) -> Result<u64, Broken> {
    let number = text.parse::<u64>().ok();
    let number = number.filter(|number| number.to_string() == text);
    number.ok_or_else(|| Broken("a value is not a whole number".to_owned()))
}

/// A public key with its name, of a log or of a witness: `NAME+ID+KEY`.
#[derive(Clone)]
pub struct Key {
    name: String,
    id: [u8; 4],
    is_witness: bool,
    key: Vec<u8>,
    /// The sizes of the checkpoints that it may sign.
    sizes: RangeInclusive<u64>,
}

impl Key {
    /// Reads a key. Its id must be right.
    pub fn read(text: &str) -> Result<Self, Broken> {
        let parts: Vec<&str> = text.splitn(3, '+').collect();
        let &[name, id, key] = parts.as_slice() else {
            return broken("a key is written NAME+ID+KEY");
        };
        let bytes = unbase64(key)?;
        let hash = sha(&[name.as_bytes(), b"\n", &bytes]);
        let id = u32::from_str_radix(id, 16).unwrap_or(0).to_be_bytes();
        match bytes.split_first() {
            Some((kind @ (1 | 4), key)) if hash.starts_with(&id) && key.len() == 32 => Ok(Self {
                name: name.to_owned(),
                id,
                is_witness: *kind == 4,
                key: key.to_vec(),
                sizes: 0..=u64::MAX,
            }),
            _ => broken("this is not an Ed25519 key of a log or a witness, or its id is wrong"),
        }
    }

    fn signed(&self, text: &str, signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, &self.key);
        if !self.is_witness {
            return key.verify(text.as_bytes(), signature).is_ok();
        }
        let (time, signature) = signature.split_first_chunk().unwrap_or((&[0; 8], &[]));
        let text = format!("cosignature/v1\ntime {}\n{text}", u64::from_be_bytes(*time));
        key.verify(text.as_bytes(), signature).is_ok()
    }
}

/// A checkpoint that one of the log's keys has signed.
struct Note {
    size: u64,
    root: Hash,
    signatures: usize,
    cosigned_by: BTreeSet<String>,
}

fn checkpoint_text(origin: &str, size: u64, root: &Hash) -> String {
    format!("{origin}\n{size}\n{}\n", STANDARD.encode(root))
}

impl Note {
    fn read(text: &str, keys: &[Key]) -> Result<Self, Broken> {
        let halves = text.strip_suffix('\n').and_then(|text| text.split_once("\n\n"));
        let (body, signatures) = halves.unwrap_or_default();
        let lines: Vec<&str> = body.split('\n').collect();
        let &[origin, size, root] = lines.as_slice() else {
            return broken("a checkpoint is not three lines, an empty line and signatures");
        };
        let (size, root) = (whole(size)?, hash_of(root)?);
        let text = checkpoint_text(origin, size, &root);
        let (mut by_log, mut cosigned_by, mut seen) = (false, BTreeSet::new(), BTreeSet::new());
        for line in signatures.split('\n') {
            let parts = line
                .strip_prefix("\u{2014} ")
                .and_then(|line| line.split_once(' '));
            let (name, bytes) = parts.unwrap_or_default();
            let bytes = unbase64(bytes)?;
            if bytes.len() < 4 || !seen.insert(line) {
                return broken(format!("the checkpoint at {size} has a wrong line, or one twice"));
            }
            let mut keys = keys.iter().filter(|key| key.sizes.contains(&size));
            let Some(key) = keys.find(|key| key.name == name && bytes.starts_with(&key.id)) else {
                return broken(format!(
                    "nobody gave the key of `{name}` that is on the checkpoint at {size}, or the log had replaced it"
                ));
            };
            if !key.signed(&text, bytes.get(4..).unwrap_or_default()) {
                return broken(format!(
                    "the checkpoint at {size} was changed: `{name}` has not signed it"
                ));
            }
            if key.is_witness {
                cosigned_by.insert(name.to_owned());
            }
            by_log |= !key.is_witness && name == origin;
        }
        if !by_log {
            return broken(format!("the log itself has not signed the checkpoint at {size}"));
        }
        Ok(Self {
            size,
            root,
            signatures: seen.len(),
            cosigned_by,
        })
    }
}

/// The sizes and roots of checkpoints that somebody kept, each with an empty line after it. They must grow. Only a checkpoint that
/// gained a signature may come again, directly after itself.
fn read_kept(text: &str, keys: &[Key]) -> Result<BTreeMap<u64, Hash>, Broken> {
    let (mut all, mut last, mut rest) = (BTreeMap::new(), None::<Note>, text);
    while !rest.is_empty() {
        // The first empty line ends what is signed, the second the signatures.
        let end = rest.match_indices("\n\n").nth(1);
        let Some((note, after)) = end.and_then(|(at, _)| rest.split_at_checked(at + 1)) else {
            return broken("the file of checkpoints ends within one");
        };
        rest = after.strip_prefix('\n').unwrap_or_default();
        let note = Note::read(note, keys)?;
        let (size, root) = (note.size, note.root);
        let is_next = last.as_ref().is_none_or(|last| {
            let gained = root == last.root && note.signatures > last.signatures;
            size > last.size || size == last.size && gained
        });
        if !is_next {
            return broken(format!("the checkpoint at {size} was put in again"));
        }
        all.insert(size, root);
        last = Some(note);
    }
    Ok(all)
}

/// The roots of perfect subtrees of a growing tree.
#[derive(Default)]
struct Tree {
    size: u64,
    roots: Vec<Hash>,
}

impl Tree {
    fn push(&mut self, leaf: Hash) {
        let (mut right, mut rest) = (leaf, self.size);
        while rest & 1 == 1 {
            let Some(left) = self.roots.pop() else { break };
            right = node_hash(&left, &right);
            rest >>= 1;
        }
        self.roots.push(right);
        self.size += 1;
    }

    fn root(&self) -> Hash {
        let mut roots = self.roots.iter().rev();
        let last = roots.next().copied().unwrap_or_else(|| sha(&[]));
        roots.fold(last, |right, left| node_hash(left, &right))
    }
}

/// RFC 9162, section 2.1.3.2.
fn root_of_path(leaf: Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    let (mut node, mut last, mut root) = (index, size.checked_sub(1)?, leaf);
    for sibling in path {
        if last == 0 || node > last {
            return None;
        }
        if node & 1 == 1 || node == last {
            root = node_hash(sibling, &root);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            root = node_hash(&root, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    (node == 0 && last == 0).then_some(root)
}

/// Checks the whole log, and that it has all of the `kept` checkpoints. A key that a `key_change` entry names replaces the log's
/// keys after the first checkpoint that covers the entry, which the old key must sign. `show` gets each entry as a line of JSON.
/// Returns what is proved.
pub fn check_log(
    file: impl BufRead,
    keys: &[Key],
    kept: Option<&str>,
    mut show: impl FnMut(&str),
) -> Result<String, Broken> {
    let mut lines = file.split(b'\n').map(|line| {
        let line = line.ok().and_then(|line| String::from_utf8(line).ok());
        line.ok_or_else(|| Broken("the log cannot be read, or is not text".to_owned()))
    });
    if lines.next().transpose()?.as_deref() != Some("paceline ledger v1") {
        return broken("this is not a log of `paceline ledger export`");
    }
    let (mut tree, mut notes, mut erased) = (Tree::default(), Vec::<(u64, Hash)>::new(), 0);
    let (mut keys, mut next_key, mut cosigned) = (keys.to_vec(), None, BTreeMap::new());
    for line in lines {
        let (line, next, last) = (line?, tree.size, notes.last().map(|(size, _)| *size));
        let within = |Broken(why)| Broken(format!("at entry {next}: {why}"));
        match line.split_once(' ') {
            Some(("entry", bytes)) => {
                let bytes = unbase64(bytes).map_err(within)?;
                let json = entry::as_json(next, &bytes).map_err(within)?;
                show(&json);
                if let Some(key) = entry::new_key(&json) {
                    next_key = Some(Key::read(key).map_err(within)?);
                }
                tree.push(sha(&[&[0], &bytes]));
            }
            Some(("erased", hash)) => {
                show(&format!("{{\"index\":{next},\"erased\":true}}"));
                tree.push(hash_of(hash).map_err(within)?);
                erased += 1;
            }
            Some(("checkpoint", note)) => {
                let note = unbase64(note).map_err(within)?;
                let note = Note::read(&String::from_utf8_lossy(&note), &keys).map_err(within)?;
                if note.size != next || note.root != tree.root() {
                    let (from, to) = (last.unwrap_or(0), note.size);
                    return broken(format!(
                        "an entry from {from} up to the checkpoint at {to} was changed, added, dropped or moved"
                    ));
                }
                if last >= Some(next) {
                    return broken(format!("the checkpoint at {next} was put in again"));
                }
                if let Some(key) = next_key.take() {
                    for old in keys.iter_mut().filter(|old| !old.is_witness) {
                        old.sizes = *old.sizes.start()..=next.min(*old.sizes.end());
                    }
                    let sizes = next + 1..=u64::MAX;
                    keys.push(Key { sizes, ..key });
                }
                notes.push((next, note.root));
                cosigned.extend(note.cosigned_by.into_iter().map(|name| (name, next)));
            }
            _ => {
                return broken(format!(
                    "at entry {next} there is a line that does not belong there"
                ));
            }
        }
    }
    let size = tree.size;
    if notes.last().is_none_or(|(last, _)| *last != size) {
        return broken("no checkpoint covers the end of the log: the log was cut off or added to");
    }
    let kept = read_kept(kept.unwrap_or_default(), &keys)?;
    let mut at = notes.iter().copied();
    if let Some((size, _)) = kept.into_iter().find(|kept| at.next() != Some(*kept)) {
        return broken(format!(
            "the log lacks the checkpoint at {size} that was kept, or has another one: it was cut off or changed"
        ));
    }
    let lacks = |key: &&Key| key.is_witness && !cosigned.contains_key(&key.name);
    if let Some(witness) = keys.iter().find(lacks) {
        return broken(format!("the witness `{}` co-signed nothing", witness.name));
    }
    let mut proved = format!(
        "the log is whole: {size} entries, {erased} erased; {} checkpoints",
        notes.len()
    );
    for (name, size) in cosigned {
        proved.push_str(&format!("; co-signed by `{name}` up to {size}"));
    }
    Ok(proved)
}

/// Checks proofs that entries are in the log, one after the other, against checkpoints of which the `kept` ones have each. Returns
/// what the entries say.
pub fn check_proofs(file: &[u8], keys: &[Key], kept: Option<&str>) -> Result<String, Broken> {
    let kept = kept.map(|text| read_kept(text, keys)).transpose()?;
    let (mut proved, mut before, mut rest) = (String::new(), None, file);
    while !rest.is_empty() {
        if entry::take::<25>(&mut rest)? != *b"paceline ledger proof v1\n" {
            return broken("this is not a proof of `paceline ledger prove`");
        }
        let index = u64::from_be_bytes(entry::take(&mut rest)?);
        let size = u64::from_be_bytes(entry::take(&mut rest)?);
        let signature = entry::take::<64>(&mut rest)?;
        let mut path = vec![[0; 32]; u8::from_be_bytes(entry::take(&mut rest)?).into()];
        for hash in &mut path {
            *hash = entry::take(&mut rest)?;
        }
        let len = u16::from_be_bytes(entry::take(&mut rest)?);
        let Some((bytes, after)) = rest.split_at_checked(len.into()) else {
            return broken("the file ends within a proof");
        };
        rest = after;
        let root = root_of_path(sha(&[&[0], bytes]), index, size, &path);
        let Some(root) = root.filter(|_| before.replace(index) < Some(index)) else {
            return broken(format!("the proof of entry {index} was changed or moved"));
        };
        let signed = |key: &Key| key.signed(&checkpoint_text(&key.name, size, &root), &signature);
        if !keys.iter().any(|key| !key.is_witness && signed(key)) {
            return broken(format!(
                "entry {index} is changed, or of another log: no given key has signed it"
            ));
        }
        if kept.as_ref().is_some_and(|kept| kept.get(&size) != Some(&root)) {
            return broken(format!(
                "no checkpoint at {size} with the root of this proof was kept"
            ));
        }
        proved.push_str(&format!("\n{}", entry::as_json(index, bytes)?));
    }
    match before {
        Some(_) => Ok(format!("the log has these entries:{proved}")),
        None => broken("there is no proof"),
    }
}
