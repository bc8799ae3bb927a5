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

fn unbase64_text(text: &str) -> Result<String, Broken> {
    String::from_utf8(unbase64(text)?).or_else(|_| broken("a value is not text"))
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
pub struct Key {
    name: String,
    id: [u8; 4],
    is_witness: bool,
    key: Vec<u8>,
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
            let Some(key) = keys
                .iter()
                .find(|key| key.name == name && bytes.starts_with(&key.id))
            else {
                return broken(format!(
                    "nobody gave the key of `{name}`, which is on the checkpoint at {size}"
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

/// Checkpoints that somebody kept outside the log.
pub struct Kept(BTreeMap<u64, Hash>);

impl Kept {
    /// Reads checkpoints, each with an empty line after it. They must grow. Only a checkpoint that gained a signature may come
    /// again, directly after itself.
    pub fn read(text: &str, keys: &[Key]) -> Result<Self, Broken> {
        let (mut all, mut last, mut rest) = (BTreeMap::new(), None::<Note>, text);
        while !rest.is_empty() {
            // The first empty line ends what is signed, the second the signatures.
            let end = rest.match_indices("\n\n").nth(1);
            let Some((note, after)) = end.and_then(|(at, _)| rest.split_at_checked(at + 1)) else {
                return broken("the file of checkpoints ends within one");
            };
            rest = after.strip_prefix('\n').unwrap_or_default();
            let note = Note::read(note, keys)?;
            let is_next = last.as_ref().is_none_or(|last| {
                let gained = note.root == last.root && note.signatures > last.signatures;
                note.size > last.size || note.size == last.size && gained
            });
            if !is_next {
                return broken(format!(
                    "the checkpoint at {} is not in its place: one was put in again",
                    note.size
                ));
            }
            all.insert(note.size, note.root);
            last = Some(note);
        }
        Ok(Self(all))
    }

    fn check(&self, size: u64, root: &Hash) -> Result<(), Broken> {
        match self.0.get(&size) {
            Some(kept) if kept == root => Ok(()),
            Some(_) => broken(format!(
                "the kept checkpoint at {size} has another root: the log was changed later"
            )),
            None => broken(format!("no checkpoint at {size} was kept")),
        }
    }
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

/// Checks the whole log. `show` gets each entry as a line of JSON. Returns what is proved.
pub fn check_log(
    file: impl BufRead,
    keys: &[Key],
    kept: Option<&Kept>,
    mut show: impl FnMut(&str),
) -> Result<String, Broken> {
    let mut lines = file.split(b'\n').map(|line| {
        let line = line.ok().and_then(|line| String::from_utf8(line).ok());
        line.ok_or_else(|| Broken("the log cannot be read, or is not text".to_owned()))
    });
    if lines.next().transpose()?.as_deref() != Some("paceline ledger v1") {
        return broken("this is not a log of `paceline ledger export`");
    }
    let (mut tree, mut notes, mut erased) = (Tree::default(), Vec::<u64>::new(), 0);
    let mut cosigned = BTreeMap::new();
    for line in lines {
        let (line, next, last) = (line?, tree.size, notes.last().copied());
        let within = |Broken(why)| Broken(format!("at entry {next}: {why}"));
        match line.split_once(' ') {
            Some(("entry", bytes)) => {
                let bytes = unbase64(bytes).map_err(within)?;
                show(&entry::as_json(next, &bytes).map_err(within)?);
                tree.push(sha(&[&[0], &bytes]));
            }
            Some(("erased", hash)) => {
                show(&format!("{{\"index\":{next},\"erased\":true}}"));
                tree.push(hash_of(hash).map_err(within)?);
                erased += 1;
            }
            Some(("checkpoint", note)) => {
                let note = Note::read(&unbase64_text(note).map_err(within)?, keys).map_err(within)?;
                let from = last.unwrap_or(0);
                if note.size != next || note.root != tree.root() {
                    return broken(format!(
                        "an entry from {from} up to the checkpoint at {} was changed, added, dropped or moved",
                        note.size
                    ));
                }
                if last.is_some_and(|last| last >= note.size) {
                    return broken(format!("the checkpoint at {} was put in again", note.size));
                }
                if let Some(kept) = kept.filter(|kept| kept.0.contains_key(&next)) {
                    kept.check(next, &note.root)?;
                }
                notes.push(note.size);
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
    if notes.last() != Some(&size) {
        return broken("no checkpoint covers the end of the log: the log was cut off or added to");
    }
    let mut at = notes.iter();
    if let Some(size) = kept.and_then(|kept| kept.0.keys().find(|size| at.next() != Some(size))) {
        return broken(format!(
            "the log lacks a checkpoint that was kept, or has one more, before {size}: it was cut off or changed"
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

/// The values of a text of `NAME VALUE` lines under a headline, in this order and no others.
fn fields<'a, const N: usize>(text: &'a str, headline: &str, names: [&str; N]) -> Option<[&'a str; N]> {
    let mut lines = text.strip_suffix('\n')?.split('\n');
    let (mut values, is_headed) = ([""; N], lines.next() == Some(headline));
    for (value, name) in values.iter_mut().zip(names) {
        *value = lines.next()?.strip_prefix(name)?.strip_prefix(' ')?;
    }
    (is_headed && lines.next().is_none()).then_some(values)
}

/// Checks proofs that entries are in the log, with an empty line between two. Returns what the entries say.
pub fn check_proofs(text: &str, keys: &[Key], kept: Option<&Kept>) -> Result<String, Broken> {
    let (mut proved, mut before) = (String::new(), None);
    for proof in text.split_inclusive("\n\n") {
        // The last proof has no empty line after it.
        let proof = proof
            .strip_suffix("\n\n")
            .map_or(proof.to_owned(), |proof| format!("{proof}\n"));
        let names = ["entry", "index", "size", "path", "signature"];
        let Some([entry, index, size, path, signature]) = fields(&proof, "paceline ledger proof v1", names)
        else {
            return broken("this is not a proof of `paceline ledger prove`");
        };
        let (entry, index, size, path) = (unbase64(entry)?, whole(index)?, whole(size)?, unbase64(path)?);
        let (path, odd) = path.as_chunks();
        let root = root_of_path(sha(&[&[0], &entry]), index, size, path).filter(|_| odd.is_empty());
        let Some(root) = root.filter(|_| before.replace(index) < Some(index)) else {
            return broken(format!("the proof of entry {index} was changed or moved"));
        };
        let signature = unbase64(signature)?;
        let signed = |key: &Key| key.signed(&checkpoint_text(&key.name, size, &root), &signature);
        if !keys.iter().any(|key| !key.is_witness && signed(key)) {
            return broken(format!(
                "entry {index} is changed, or of another log: no given key has signed it"
            ));
        }
        kept.map_or(Ok(()), |kept| kept.check(size, &root))?;
        proved.push_str(&format!("\n{}", entry::as_json(index, &entry)?));
    }
    match before {
        Some(_) => Ok(format!("the log has these entries:{proved}")),
        None => broken("there is no proof"),
    }
}
