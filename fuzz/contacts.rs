//! The checks for any bytes as a contact file. The input is the bytes. Panics if a check fails.

use paceline::import::{ContactFile, Mapping, Settings, check as rows};
use std::io::Write as _;
use std::ops::ControlFlow;

/// The largest number of rows that are checked: a small archive may contain very many.
const ROWS_MAX: u32 = 10_000;

/// No panic; every row is a contact whose attributes are a JSON object of texts, or is rejected without repeating a number.
pub(crate) fn check(data: &[u8]) {
    for (region, no_header) in [(Some("US"), false), (None, true)] {
        let mut file = tempfile::tempfile_in("/dev/shm")
            .or_else(|_| tempfile::tempfile())
            .unwrap();
        file.write_all(data).unwrap();
        let settings = Settings {
            region: region.map(str::to_owned),
            mapping: Mapping {
                no_header,
                ..Mapping::default()
            },
            ..Settings::default()
        };
        let Ok(file) = ContactFile::open(file, settings) else {
            continue;
        };
        let mut left = ROWS_MAX;
        let each = |row| {
            match row {
                Ok(contact) => attributes_are_texts(&contact),
                Err(reject) => no_number_in(&reject),
            }
            left -= 1;
            if left == 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        // The reader must end. It may find the file damaged after these rows.
        let _ = rows(&file, each);
    }
}

fn attributes_are_texts(contact: &paceline::store::StagedContact) {
    let attributes: std::collections::BTreeMap<String, String> =
        serde_json::from_str(&contact.attributes).expect("a JSON object of texts");
    assert!(attributes.values().all(|text| !text.is_empty()));
}

fn no_number_in(reject: &paceline::store::StagedReject) {
    let longest = reject
        .reason
        .split(|c: char| !c.is_ascii_digit())
        .map(str::len)
        .max();
    assert!(longest.unwrap_or(0) < 7, "{}", reject.reason);
}
