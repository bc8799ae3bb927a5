//! The secret keys of this installation: 32 random bytes in a file each, which only the user of Paceline can read. They are kept
//! beside the database and not in it, so that a copy of the database does not reveal what they protect. Back them up apart.
//!
//! The files are `paceline.db.number-key` for the SQLite file `paceline.db`. With PostgreSQL, or with `keys` in `[store]`, they are
//! `paceline.number-key` in that folder. `ledger-key` signs the checkpoints of the ledger, and `ledger-key.old` is the one before it.

use crate::config::Config;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The name of the key that hides telephone numbers.
pub const NUMBER_KEY: &str = "number-key";
const BYTES: usize = 32;

/// A key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The operating system gave no random bytes.
    #[error("cannot make a new key: the operating system gives no random bytes")]
    Random(#[source] io::Error),
    /// The file cannot be read or written.
    #[error(
        "cannot read or write the key file `{}`: make its folder writable, or name another one with `keys` under [store]", path.display()
    )]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file is missing, and the store has data that was made with its key.
    #[error("the key file `{}` is missing: restore it from a backup, or name its folder with `keys` under [store]", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file does not contain a key.
    #[error("the key file `{}` does not contain 64 hexadecimal digits: restore it from a backup", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
}

/// The installation's key of this name. Makes it at the first use.
pub fn secret(config: &Config, name: &str) -> Result<[u8; BYTES], KeysError> {
    let path = path(config, name);
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(text.trim()).ok_or(KeysError::NotAKey { path }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(&path),
        Err(source) => Err(KeysError::File { path, source }),
    }
}

/// The installation's key of this name; `None` if there is none.
pub fn present(config: &Config, name: &str) -> Result<Option<[u8; BYTES]>, KeysError> {
    if path(config, name).exists() {
        secret(config, name).map(Some)
    } else {
        Ok(None)
    }
}

/// Makes a new key of this name. The present one stays as `NAME.old`. A stop at any moment leaves one key or the other.
pub fn replace(config: &Config, name: &str) -> Result<(), KeysError> {
    must_exist(config, name)?;
    let (present, old) = (path(config, name), path(config, &format!("{name}.old")));
    let new = path(config, &format!("{name}.new"));
    let failed = |source| KeysError::File {
        path: present.clone(),
        source,
    };
    if new.exists() {
        std::fs::remove_file(&new).map_err(failed)?;
    }
    make(&new)?;
    let exchange = || {
        std::fs::copy(&present, &old)?;
        std::fs::File::open(&old)?.sync_all()?;
        std::fs::rename(&new, &present)?;
        sync_folder(&present)
    };
    exchange().map_err(failed)
}

/// Fails if the installation has no key of this name, for data that only the old key can read.
pub fn must_exist(config: &Config, name: &str) -> Result<(), KeysError> {
    let path = path(config, name);
    if path.exists() {
        Ok(())
    } else {
        Err(KeysError::Missing { path })
    }
}

/// The path of the file of this name.
pub fn path(config: &Config, name: &str) -> PathBuf {
    let mut path = base(config).into_os_string();
    path.push(".");
    path.push(name);
    PathBuf::from(path)
}

/// The folder of the key files. It is on a disk, as the database is.
pub fn folder(config: &Config) -> PathBuf {
    let base = base(config);
    let folder = base.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new(".")).to_owned()
}

/// The path of every key file without its name.
fn base(config: &Config) -> PathBuf {
    let store = &config.store;
    match (&store.keys, store.shown.strip_prefix("sqlite:")) {
        (Some(folder), _) => folder.join("paceline"),
        (None, Some(path)) => {
            let path = path.split('?').next().unwrap_or_default();
            let path = path.strip_prefix("//").unwrap_or(path);
            PathBuf::from(path.replace("%3F", "?").replace("%23", "#").replace("%25", "%"))
        }
        (None, None) => {
            let folder = config.file.as_deref().and_then(Path::parent);
            folder.unwrap_or(Path::new("")).join("paceline")
        }
    }
}

/// Writes a new key. It is on the disk before anything is made with it.
fn make(path: &Path) -> Result<[u8; BYTES], KeysError> {
    let mut key = [0; BYTES];
    rand::TryRng::try_fill_bytes(&mut rand::rngs::SysRng, &mut key)
        .map_err(|error| KeysError::Random(io::Error::other(error)))?;
    let mut text = String::with_capacity(2 * BYTES + 1);
    for byte in key {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
    }
    text.push('\n');
    let write = || {
        let mut file = private().open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        sync_folder(path)
    };
    write().map_err(|source| KeysError::File {
        path: path.to_owned(),
        source,
    })?;
    Ok(key)
}

/// Makes a change of names in the folder of this file last through a power failure.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    std::fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn private() -> std::fs::OpenOptions {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn parse(text: &str) -> Option<[u8; BYTES]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * BYTES {
        return None;
    }
    let mut key = [0; BYTES];
    for (byte, pair) in key.iter_mut().zip(digits.as_chunks::<2>().0) {
        let pair = std::str::from_utf8(pair).ok()?;
        if !pair.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StoreConfig;

    fn config(folder: &Path) -> Config {
        Config {
            store: StoreConfig::sqlite(&folder.join("p#1.db")),
            ..Config::default()
        }
    }

    #[test]
    fn a_key_is_made_once_and_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let key = secret(&config(folder.path()), NUMBER_KEY).unwrap();
        assert_eq!(secret(&config(folder.path()), NUMBER_KEY).unwrap(), key);
        assert_ne!(secret(&config(folder.path()), "other").unwrap(), key);
        let file = folder.path().join("p#1.db.number-key");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        std::fs::write(&file, "no key").unwrap();
        let error = secret(&config(folder.path()), NUMBER_KEY).unwrap_err();
        assert!(matches!(error, KeysError::NotAKey { .. }), "{error}");
    }
}
