//! The checks for any bytes from an Event Socket. The input is the bytes. Panics if a check fails.

use paceline_esl::{CodecError, Decoder, Event, Frame};

/// Frames and events as text, and the error that stopped the decoder.
fn read<'a>(reads: impl Iterator<Item = &'a [u8]>) -> (Vec<String>, Option<CodecError>) {
    let mut decoder = Decoder::new();
    let mut seen = Vec::new();
    for bytes in reads {
        decoder.feed(bytes);
        loop {
            match decoder.next() {
                Ok(Some(Frame::Event(body))) => seen.push(format!("{:?}", Event::decode(body))),
                Ok(Some(frame)) => seen.push(format!("{frame:?}")),
                Ok(None) => break,
                Err(err) => return (seen, Some(err)),
            }
        }
    }
    (seen, None)
}

/// No panic, and the same result for any split into reads: all at once, one byte each, or pieces of growing length.
pub(crate) fn check(data: &[u8]) {
    let whole = read(std::iter::once(data));
    assert_eq!(whole, read(data.chunks(1)));
    assert_eq!(whole, read(data.chunks(7)));
    let mut rest = data;
    let mut length = 0;
    let growing = std::iter::from_fn(|| {
        length += 1;
        let (now, later) = rest.split_at(rest.len().min(length));
        rest = later;
        (!now.is_empty()).then_some(now)
    });
    assert_eq!(whole, read(growing));
    // An event that is read alone is never longer than its bytes.
    let event = Event::decode(data);
    assert!(event.body.len() <= data.len());
    assert!(event.channel.text().chars().count() <= data.len());
}
