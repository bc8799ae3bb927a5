//! The checks for any bytes as a configuration. The input is the bytes. Panics if a check fails.

use paceline::config::Config;
use std::io::Write as _;

/// No panic, and every error has a message.
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
