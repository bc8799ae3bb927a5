//! Messages of Asterisk's event stream: any bytes give an event or an error.

/// Reads the bytes; must not panic.
pub(crate) fn check(data: &[u8]) {
    for frame in data.split(|byte| *byte == b'\n') {
        let _ = paceline::pbx::ari::decode::decode(frame);
    }
}
