//! What must hold for any bytes that are taken for a configuration. In: the bytes. Panics where it does not hold.

use paceline::config::Config;
use std::io::Write as _;

/// No panic, and whatever is complained of is said in words.
pub(crate) fn check(data: &[u8]) {
    let mut file = tempfile::NamedTempFile::new_in("/dev/shm")
        .or_else(|_| tempfile::NamedTempFile::new())
        .unwrap();
    file.write_all(data).unwrap();
    match Config::load(Some(file.path())) {
        Ok(config) => drop(config.warnings()),
        Err(error) => assert!(!error.to_string().trim().is_empty()),
    }
}
