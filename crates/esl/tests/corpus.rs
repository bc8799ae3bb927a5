//! Decodes the corpus of the fuzz target and random bytes with the stable compiler; `fuzz/` needs a nightly compiler.

#[path = "../../../fuzz/frames.rs"]
mod frames;

use proptest::prelude::*;

#[test]
fn every_file_of_the_corpus_is_read_alike_however_it_is_split() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/frames");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let data = std::fs::read(entry.unwrap().path()).unwrap();
        frames::check(&data);
        // The same for the file cut off at several places.
        for end in (0..data.len()).step_by(data.len() / 16 + 1) {
            frames::check(&data[..end]);
        }
        files += 1;
    }
    assert!(files >= 6, "the corpus is gone");
}

proptest! {
    #[test]
    fn any_bytes_are_read_alike_however_they_are_split(
        parts in proptest::collection::vec(
            prop_oneof![
                proptest::sample::select(vec![
                    &b"Content-Type: "[..], b"text/event-plain", b"api/response", b"command/reply", b"Content-Length: ",
                    b"0", b"5", b"12", b"900", b"99999999999", b"-1", b"\n", b"\n\n", b"Reply-Text: +OK", b"Event-Name: ",
                    b"CHANNEL_ANSWER", b"Unique-ID: ", b"%41", b"%", b"\xe9", b":", b" ", b"\0", b"auth/request",
                ]).prop_map(<[u8]>::to_vec),
                proptest::collection::vec(any::<u8>(), 0..8),
            ],
            0..40,
        ),
    ) {
        frames::check(&parts.concat());
    }
}
