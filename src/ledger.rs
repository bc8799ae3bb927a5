//! The keys and the file of the ledger. Input: the configuration. Output: [`Keys`] with the key that signs checkpoints, the key that
//! hides numbers, and the file of checkpoints. `keys` keeps both keys in files of their own, so that a copy of the database gives
//! nobody the numbers or the power to sign.

pub mod export;
pub mod verify;

use crate::config::Config;
use crate::keys::{self, KeysError, NUMBER_KEY};
use crate::store::CheckpointFile;
use paceline_ledger::{NumberKey, SigningKey};
use std::path::Path;
use uuid::Uuid;

/// The name of the key that signs checkpoints.
const LEDGER_KEY: &str = "ledger-key";

/// The keys and the file of checkpoints.
#[derive(Debug)]
pub struct Keys {
    /// Signs checkpoints.
    pub signing: SigningKey,
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
        let numbers = NumberKey::new(&secret(NUMBER_KEY)?).map_err(not_a_key(NUMBER_KEY))?;
        let checkpoints = config.ledger.checkpoints.as_deref().map(Path::to_owned);
        // A new store at an old path begins a new log, and the file of the old one stays.
        let (id, _, _, _) = installation.as_fields();
        let beside_keys = || keys::path(config, &format!("{id:08x}.checkpoints"));
        let checkpoints = checkpoints.unwrap_or_else(beside_keys);
        Ok(Self {
            signing,
            numbers,
            checkpoints: CheckpointFile::new(checkpoints),
        })
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
