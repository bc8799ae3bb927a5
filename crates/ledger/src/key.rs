//! Keys: the one that signs checkpoints, those that check signatures, and the one that hides numbers.

use crate::checkpoint::{Checkpoint, NoteSignature};
use crate::entry::{Entry, Kind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{Context, SHA256};
use ring::hmac;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use std::fmt;
use std::str::FromStr;

/// A key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A secret key has 32 bytes.
    #[error("a secret key is 32 bytes; restore the file from a backup")]
    Secret,
    /// The text is not a public key.
    #[error("a public key is written NAME+ID+KEY, as `paceline ledger key` shows it; copy all of it")]
    Public,
    /// The name has a character that checkpoints cannot carry.
    #[error("the name of a key has no spaces and no `+`")]
    Name,
}

/// The use of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Signs checkpoints of its own log (Ed25519).
    Log,
    /// Signs checkpoints of other logs, with the time (C2SP `cosignature/v1`).
    Witness,
}

impl KeyKind {
    fn code(self) -> u8 {
        match self {
            Self::Log => 1,
            Self::Witness => 4,
        }
    }
}

/// A key that checks signatures, with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    kind: KeyKind,
    key: [u8; 32],
}

impl PublicKey {
    fn new(name: &str, kind: KeyKind, key: [u8; 32]) -> Result<Self, KeyError> {
        let fine =
            !name.is_empty() && !name.contains(|c: char| c == '+' || c.is_whitespace() || c.is_control());
        if !fine {
            return Err(KeyError::Name);
        }
        Ok(Self {
            name: name.to_owned(),
            kind,
            key,
        })
    }

    /// Its name. A log's key has the name of the log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The use of the key.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The first four bytes of the hash of its name and bytes.
    pub fn id(&self) -> [u8; 4] {
        let mut context = Context::new(&SHA256);
        context.update(self.name.as_bytes());
        context.update(&[b'\n', self.kind.code()]);
        context.update(&self.key);
        let mut id = [0; 4];
        for (to, from) in id.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        id
    }

    /// The body of the entry that makes this the key of its log. The first key of a log is named so too; any other one counts from the
    /// first checkpoint on that covers the entry and is signed by the key before it.
    pub fn change(&self) -> String {
        format!("{{\"key\":\"{self}\"}}")
    }

    /// The key that an entry names as that of its log.
    pub fn of_change(entry: &Entry<'_>) -> Option<Self> {
        let body = str::from_utf8(entry.body).ok()?;
        let key = body.strip_prefix("{\"key\":\"")?.strip_suffix("\"}")?;
        let is_change = entry.kind == Kind::KeyChange;
        is_change.then(|| key.parse().ok()).flatten()
    }

    /// True if the signature line is this key's, and is right for the checkpoint.
    pub fn signed(&self, checkpoint: &Checkpoint, signature: &NoteSignature) -> bool {
        if signature.name != self.name || signature.id != self.id() {
            return false;
        }
        let text = checkpoint.text();
        let (message, bytes) = match self.kind {
            KeyKind::Log => (text, signature.bytes.as_slice()),
            KeyKind::Witness => {
                let Some((time, bytes)) = signature.bytes.split_first_chunk() else {
                    return false;
                };
                (cosigned(u64::from_be_bytes(*time), &text), bytes)
            }
        };
        UnparsedPublicKey::new(&ED25519, &self.key)
            .verify(message.as_bytes(), bytes)
            .is_ok()
    }
}

/// The text that a witness signs (C2SP `cosignature/v1`). `time` is Unix time in seconds.
fn cosigned(time: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![self.kind.code()];
        bytes.extend(self.key);
        write!(
            f,
            "{}+{:08x}+{}",
            self.name,
            u32::from_be_bytes(self.id()),
            STANDARD.encode(bytes)
        )
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (name, rest) = text.split_once('+').ok_or(KeyError::Public)?;
        let (_, key) = rest.split_once('+').ok_or(KeyError::Public)?;
        let bytes = STANDARD.decode(key).map_err(|_| KeyError::Public)?;
        let (code, key) = bytes.split_first().ok_or(KeyError::Public)?;
        let kinds = [KeyKind::Log, KeyKind::Witness];
        let kind = kinds.into_iter().find(|kind| kind.code() == *code);
        let key = key.try_into().map_err(|_| KeyError::Public)?;
        let key = Self::new(name, kind.ok_or(KeyError::Public)?, key)?;
        // This also checks the id.
        (key.to_string() == text).then_some(key).ok_or(KeyError::Public)
    }
}

/// The key that signs checkpoints.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public)
    }
}

impl SigningKey {
    /// The key of a log with this name, made of 32 random bytes.
    pub fn new(log: &str, secret: &[u8]) -> Result<Self, KeyError> {
        Self::of_kind(log, KeyKind::Log, secret)
    }

    /// The key of a witness with this name, made of 32 random bytes.
    pub fn of_witness(name: &str, secret: &[u8]) -> Result<Self, KeyError> {
        Self::of_kind(name, KeyKind::Witness, secret)
    }

    fn of_kind(name: &str, kind: KeyKind, secret: &[u8]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(secret).map_err(|_| KeyError::Secret)?;
        let key = pair
            .public_key()
            .as_ref()
            .try_into()
            .map_err(|_| KeyError::Secret)?;
        let public = PublicKey::new(name, kind, key)?;
        Ok(Self { pair, public })
    }

    /// The key that checks its signatures.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The signature line for a checkpoint. `time` (Unix seconds) is part of a witness's signature only.
    pub fn sign(&self, checkpoint: &Checkpoint, time: u64) -> NoteSignature {
        let text = checkpoint.text();
        let bytes = match self.public.kind {
            KeyKind::Log => self.pair.sign(text.as_bytes()).as_ref().to_vec(),
            KeyKind::Witness => {
                let signature = self.pair.sign(cosigned(time, &text).as_bytes());
                [&time.to_be_bytes(), signature.as_ref()].concat()
            }
        };
        NoteSignature {
            name: self.public.name.clone(),
            id: self.public.id(),
            bytes,
        }
    }
}

/// The keyed hash (HMAC-SHA256) of a number in E.164. Without the key, nobody can find the number by trying all numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NumberMac([u8; 32]);

impl NumberMac {
    /// The hash with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for NumberMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NumberMac(redacted)")
    }
}

/// The key that hides numbers.
#[derive(Clone)]
pub struct NumberKey(hmac::Key);

impl fmt::Debug for NumberKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NumberKey(redacted)")
    }
}

impl NumberKey {
    /// The key with these 32 random bytes.
    pub fn new(secret: &[u8]) -> Result<Self, KeyError> {
        if secret.len() != 32 {
            return Err(KeyError::Secret);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    /// The keyed hash of a number in E.164, such as `+12125550123`.
    pub fn mac(&self, number: &str) -> NumberMac {
        let tag = hmac::sign(&self.0, number.as_bytes());
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        NumberMac(bytes)
    }
}
