//! Shortens names chosen by users for labels, so that no name makes the page long, and two names stay different.

use sha2::{Digest as _, Sha256};

const CHARS_MAX: usize = 48;

/// The name, or its beginning and a hash of the rest.
pub(super) fn label(name: &str) -> String {
    let Some((end, _)) = name.char_indices().nth(CHARS_MAX) else {
        return name.to_owned();
    };
    let hash = Sha256::digest(name.as_bytes());
    let word: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let start = name.get(..end).unwrap_or_default();
    format!("{start}~{word}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_short_and_still_differ() {
        assert_eq!(label("spring"), "spring");
        let long = "é".repeat(200);
        let (one, other) = (label(&format!("{long}1")), label(&format!("{long}2")));
        assert_ne!(one, other);
        assert_eq!(one.chars().count(), CHARS_MAX + 9);
    }
}
