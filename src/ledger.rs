//! The keys and the file of the ledger. Input: the configuration. Output: [`Keys`] with the key that signs checkpoints, the key that
//! hides numbers, and the file of checkpoints. `keys` keeps both keys in files of their own, so that a copy of the database gives
//! nobody the numbers or the power to sign.
//!
//! A new key is signed in by the old one ([`Keys::sign_in`]): an entry of the log names it, and the last checkpoint of the old key
//! covers this entry.

pub mod export;
pub mod rules;
pub mod verify;

use crate::config::Config;
use crate::keys::{self, KeysError, NUMBER_KEY};
use crate::store::{CheckpointFile, LedgerError, NewFact, Store, StoreError};
use paceline_core::time::Wall;
use paceline_ledger::{Entry, Kind, NumberKey, PublicKey, SigningKey};
use std::path::Path;
use uuid::Uuid;

/// The name of the key that signs checkpoints.
const LEDGER_KEY: &str = "ledger-key";
/// The name of the key that [`LEDGER_KEY`] replaced.
const OLD_LEDGER_KEY: &str = "ledger-key.old";

/// The key cannot be signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The last checkpoint is signed by neither key.
    #[error(
        "the last checkpoint of the ledger is signed by another key than those in `{LEDGER_KEY}` and `{OLD_LEDGER_KEY}`: put the key \
         files back from a backup"
    )]
    OtherKey,
    /// The old key cannot sign the new one in.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The keys and the file of checkpoints.
#[derive(Debug)]
pub struct Keys {
    /// Signs checkpoints.
    pub signing: SigningKey,
    /// Signed them before, if the key was ever replaced.
    pub replaced: Option<SigningKey>,
    /// Hides numbers.
    pub numbers: NumberKey,
    /// The append-only file.
    pub checkpoints: CheckpointFile,
}

impl Keys {
    /// Reads the keys of this installation, or makes them if the ledger is empty.
    pub fn open(config: &Config, installation: Uuid, ledger_is_empty: bool) -> Result<Self, KeysError> {
        let secret = |name| {
            if !ledger_is_empty {
                keys::must_exist(config, name)?;
            }
            keys::secret(config, name)
        };
        let not_a_key = |name| {
            move |_| KeysError::NotAKey {
                path: keys::path(config, name),
            }
        };
        // One log for each installation and node.
        let origin = format!("paceline/{installation}/0");
        let signing = SigningKey::new(&origin, &secret(LEDGER_KEY)?).map_err(not_a_key(LEDGER_KEY))?;
        let replaced = keys::present(config, OLD_LEDGER_KEY)?;
        let replaced = replaced
            .map(|secret| SigningKey::new(&origin, &secret))
            .transpose();
        let replaced = replaced.map_err(not_a_key(OLD_LEDGER_KEY))?;
        let numbers = NumberKey::new(&secret(NUMBER_KEY)?).map_err(not_a_key(NUMBER_KEY))?;
        let checkpoints = config.ledger.checkpoints.as_deref().map(Path::to_owned);
        // A new store at an old path begins a new log, and the file of the old one stays.
        let (id, _, _, _) = installation.as_fields();
        let beside_keys = || keys::path(config, &format!("{id:08x}.checkpoints"));
        let checkpoints = checkpoints.unwrap_or_else(beside_keys);
        Ok(Self {
            signing,
            replaced,
            numbers,
            checkpoints: CheckpointFile::new(checkpoints),
        })
    }

    /// Makes a new key that signs checkpoints after the next start.
    pub fn replace_signing(config: &Config) -> Result<(), KeysError> {
        keys::replace(config, LEDGER_KEY)
    }

    /// The public key that was replaced.
    pub fn replaced(&self) -> Option<&PublicKey> {
        self.replaced.as_ref().map(SigningKey::public)
    }

    /// Records the key if the log does not name it yet. If it replaces another one, that one signs a last checkpoint, which covers
    /// this entry. Call it before anything else is recorded. A stop at any moment is made good by the next call.
    pub async fn sign_in(&self, store: &Store, now: Wall) -> Result<(), SignInError> {
        let last = store.last_ledger_checkpoint().await?;
        let last = last.and_then(|row| row.note);
        let key = self.signing.public();
        if last.as_ref().is_some_and(|last| last.is_signed_by(key)) {
            return Ok(());
        }
        let old = match &last {
            None => None,
            Some(last) => {
                let old = self
                    .replaced
                    .as_ref()
                    .filter(|old| last.is_signed_by(old.public()));
                Some(old.ok_or(SignInError::OtherKey)?)
            }
        };
        while store.number_ledger().await?.numbered > 0 {}
        let named = named_at(store, key).await?;
        if named.is_none() {
            let change = NewFact {
                kind: Kind::KeyChange,
                at: now,
                number: None,
                campaign: None,
                body: key.change(),
            };
            store.record_fact(&change).await?;
        }
        if let Some(old) = old {
            while store.number_ledger().await?.numbered > 0 {}
            // The file is ahead of the table if the process ended between them.
            let in_file = self.checkpoints.last(&[key.clone(), old.public().clone()])?;
            let signed = in_file.map_or(0, |note| note.checkpoint.size);
            if named.is_none_or(|named| named >= signed) {
                store.publish_ledger(old, None, &self.checkpoints, now).await?;
            }
        }
        Ok(())
    }
}

/// The place of the entry that names this key.
async fn named_at(store: &Store, key: &PublicKey) -> Result<Option<u64>, StoreError> {
    let named = keys_in_log(store).await?;
    Ok(named
        .into_iter()
        .find(|(_, named)| named == key)
        .map(|(at, _)| at))
}

/// The keys that the log names, each with the place of its entry. Reads the whole log.
pub async fn keys_in_log(store: &Store) -> Result<Vec<(u64, PublicKey)>, StoreError> {
    let (mut keys, mut from) = (Vec::new(), 0);
    loop {
        let bundles = store.ledger_bundles(from, Wall(i64::MIN)..Wall(i64::MAX)).await?;
        let Some(last) = bundles.last() else {
            return Ok(keys);
        };
        from = last.first + last.size;
        for bundle in &bundles {
            for (index, bytes) in bundle.entries()? {
                let entry = bytes.and_then(|bytes| Entry::decode(bytes).ok());
                keys.extend(entry.and_then(|entry| Some((index, PublicKey::of_change(&entry)?))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StoreConfig;

    #[test]
    fn keys_are_made_for_an_empty_ledger_only() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            store: StoreConfig::sqlite(&folder.path().join("p.db")),
            ..Config::default()
        };
        let missing = Keys::open(&config, Uuid::nil(), false).unwrap_err();
        assert!(matches!(missing, KeysError::Missing { .. }), "{missing}");
        let made = Keys::open(&config, Uuid::nil(), true).unwrap();
        let read = Keys::open(&config, Uuid::nil(), false).unwrap();
        assert_eq!(made.signing.public(), read.signing.public());
        assert_eq!(made.numbers.mac("+12025550123"), read.numbers.mac("+12025550123"));
        assert_eq!(
            made.checkpoints.path(),
            folder.path().join("p.db.00000000.checkpoints")
        );
    }
}
