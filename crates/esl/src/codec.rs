//! Frames of FreeSWITCH's Event Socket. Input: bytes, split anywhere. Output: one [`Frame`] after the other, borrowed from
//! the decoder's only buffer.
//!
//! A frame consists of headers, an empty line, and a body of `Content-Length` bytes. Of the headers only `Content-Type`,
//! `Content-Length` and `Reply-Text` are read.

use memchr::memmem;

/// Maximum length of a frame, headers and body. A list of 10,000 channels has 5 MB.
pub const FRAME_BYTES_MAX: usize = 16 << 20;
/// Maximum length of the headers of a frame. The text of a reply is in its headers.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Minimum size of a read, and the buffer size that an idle decoder keeps.
const SPACE_BYTES: usize = 64 << 10;

/// A frame from FreeSWITCH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// FreeSWITCH asks for the password.
    AuthRequest,
    /// The reply to a command, or to a refused `api` command: `+OK …` or `-ERR …`.
    Reply(&'a [u8]),
    /// The output of an `api` command.
    ApiResponse(&'a [u8]),
    /// An event in the plain format; see [`crate::Event::decode`].
    Event(&'a [u8]),
    /// FreeSWITCH is about to close the connection.
    Disconnect,
    /// The access list of FreeSWITCH refuses this client.
    Rejected,
    /// Another frame, such as a line of its log.
    Other,
}

/// Bytes that no Event Socket sends. The next frame cannot be found after them: close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The headers have no end.
    #[error(
        "the headers from the PBX have no end; check that the configured port is the port of its Event Socket"
    )]
    HeadTooLong,
    /// The body is longer than [`FRAME_BYTES_MAX`].
    #[error(
        "the PBX announced a body of more than 16 MiB; check that the configured port is the port of its Event Socket"
    )]
    BodyTooLong,
    /// `Content-Length` is not a number, or there are two different ones.
    #[error(
        "the Content-Length from the PBX is not a number; check that the configured port is the port of its Event Socket"
    )]
    Length,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    AuthRequest,
    Reply,
    ApiResponse,
    Event,
    Disconnect,
    Rejected,
    Other,
}

/// Headers that were read. The body may be incomplete.
#[derive(Clone, Copy, Debug)]
struct Head {
    kind: Kind,
    length: usize,
    body_length: usize,
    /// Start and end of `Reply-Text`, from the start of the frame.
    reply: (usize, usize),
}

/// Takes the bytes of a socket and returns its frames.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The bytes `start..end` were received and not returned yet. The rest of the buffer is free.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// This many bytes from `start` on contain no end of the headers.
    scanned: usize,
    head: Option<Head>,
}

impl Decoder {
    /// Creates an empty decoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// The buffer for the next bytes of the socket. Never empty. Call [`Self::filled`] with the number of bytes read.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.bytes.len() > SPACE_BYTES * 4 {
                self.bytes.truncate(SPACE_BYTES);
                self.bytes.shrink_to_fit();
            }
        }
        if self.bytes.len().saturating_sub(self.end) < SPACE_BYTES / 2 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            let wanted = match self.head {
                Some(head) => (head.length + head.body_length).max(self.end + 1),
                None => self.end,
            };
            if self.bytes.len() < wanted.max(self.end + SPACE_BYTES / 2) {
                self.bytes.resize(wanted.max(self.end) + SPACE_BYTES, 0);
            }
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// Reports that this many bytes were read into [`Self::space`].
    pub fn filled(&mut self, bytes: usize) {
        self.end = self.end.saturating_add(bytes).min(self.bytes.len());
    }

    /// Copies bytes into the buffer.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let space = self.space();
            let length = space.len().min(bytes.len());
            let (now, later) = bytes.split_at(length);
            if let Some(space) = space.get_mut(..length) {
                space.copy_from_slice(now);
            }
            self.filled(length);
            bytes = later;
        }
    }

    /// The next frame, if it is complete.
    ///
    /// # Errors
    /// [`CodecError`]; every later call returns the same error.
    #[expect(
        clippy::should_implement_trait,
        reason = "what it gives out borrows from it, which an iterator's cannot"
    )]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, CodecError> {
        let head = match self.head {
            Some(head) => head,
            None => match self.read_head()? {
                Some(head) => *self.head.insert(head),
                None => return Ok(None),
            },
        };
        let length = head.length + head.body_length;
        if self.end - self.start < length {
            return Ok(None);
        }
        let from = self.start;
        self.start += length;
        self.scanned = 0;
        self.head = None;
        let frame = self.bytes.get(from..from + length).unwrap_or_default();
        let body = frame.get(head.length..).unwrap_or_default();
        Ok(Some(match head.kind {
            Kind::AuthRequest => Frame::AuthRequest,
            Kind::Reply => Frame::Reply(frame.get(head.reply.0..head.reply.1).unwrap_or_default()),
            Kind::ApiResponse => Frame::ApiResponse(body),
            Kind::Event => Frame::Event(body),
            Kind::Disconnect => Frame::Disconnect,
            Kind::Rejected => Frame::Rejected,
            Kind::Other => Frame::Other,
        }))
    }

    fn read_head(&mut self) -> Result<Option<Head>, CodecError> {
        if self.scanned == 0 {
            let received = self.bytes.get(self.start..self.end).unwrap_or_default();
            self.start += received.iter().take_while(|byte| **byte == b'\n').count();
        }
        let received = self.bytes.get(self.start..self.end).unwrap_or_default();
        // The empty line may begin with the last byte of the previous search.
        let from = self.scanned.saturating_sub(1);
        let Some(at) = memmem::find(received.get(from..).unwrap_or_default(), b"\n\n") else {
            self.scanned = received.len();
            return if received.len() > HEAD_BYTES_MAX {
                Err(CodecError::HeadTooLong)
            } else {
                Ok(None)
            };
        };
        let length = from + at + 2;
        if length > HEAD_BYTES_MAX {
            return Err(CodecError::HeadTooLong);
        }
        Head::read(received.get(..length).unwrap_or_default()).map(Some)
    }
}

impl Head {
    fn read(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut head = Self {
            kind: Kind::Other,
            length: bytes.len(),
            body_length: 0,
            reply: (0, 0),
        };
        let mut announced = None;
        let mut at = 0;
        for line in bytes.split(|byte| *byte == b'\n') {
            let from = at;
            at += line.len() + 1;
            let Some((name, value)) = split_header(line) else {
                continue;
            };
            match name {
                b"Content-Type" => head.kind = Kind::of(value),
                b"Reply-Text" => head.reply = (from + line.len() - value.len(), from + line.len()),
                b"Content-Length" => {
                    let length = parse_length(value)?;
                    if announced.replace(length).is_some_and(|before| before != length) {
                        return Err(CodecError::Length);
                    }
                }
                _ => {}
            }
        }
        head.body_length = announced.unwrap_or(0);
        if head.body_length > FRAME_BYTES_MAX - HEAD_BYTES_MAX {
            return Err(CodecError::BodyTooLong);
        }
        Ok(head)
    }
}

impl Kind {
    fn of(content_type: &[u8]) -> Self {
        match content_type {
            b"auth/request" => Self::AuthRequest,
            b"command/reply" => Self::Reply,
            b"api/response" => Self::ApiResponse,
            b"text/event-plain" => Self::Event,
            b"text/disconnect-notice" => Self::Disconnect,
            b"text/rude-rejection" => Self::Rejected,
            _ => Self::Other,
        }
    }
}

/// Splits `Name: value`.
pub(crate) fn split_header(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    let value = line.get(colon + 1..)?;
    Some((line.get(..colon)?, value.strip_prefix(b" ").unwrap_or(value)))
}

pub(crate) fn parse_length(digits: &[u8]) -> Result<usize, CodecError> {
    // Ten or more digits exceed every limit and could overflow.
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(CodecError::Length);
    }
    if digits.len() > 9 {
        return Err(CodecError::BodyTooLong);
    }
    Ok(digits
        .iter()
        .fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(chunks: &[&[u8]]) -> (Vec<String>, Option<CodecError>) {
        let mut decoder = Decoder::new();
        let mut seen = Vec::new();
        for chunk in chunks {
            decoder.feed(chunk);
            loop {
                match decoder.next() {
                    Ok(Some(frame)) => seen.push(format!("{frame:?}")),
                    Ok(None) => break,
                    Err(err) => return (seen, Some(err)),
                }
            }
        }
        (seen, None)
    }

    fn debug(frame: Frame<'_>) -> String {
        format!("{frame:?}")
    }

    const TALK: &[u8] = b"Content-Type: auth/request\n\n\
        Content-Type: command/reply\nReply-Text: +OK accepted\n\n\
        Content-Type: command/reply\nReply-Text: +OK Job-UUID: 1\nJob-UUID: 1\n\n\
        Content-Type: api/response\nContent-Length: 12\n\n+OK\n\nlast\n\n\n\
        Content-Length: 16\nContent-Type: text/event-plain\n\nEvent-Name: A\n\n\n\
        Content-Type: text/disconnect-notice\nContent-Length: 5\n\nbye\n\n\
        Content-Type: text/rude-rejection\nContent-Length: 0\n\nContent-Type: log/data\nContent-Length: 2\n\nhi";

    fn expected() -> Vec<String> {
        vec![
            debug(Frame::AuthRequest),
            debug(Frame::Reply(b"+OK accepted")),
            debug(Frame::Reply(b"+OK Job-UUID: 1")),
            debug(Frame::ApiResponse(b"+OK\n\nlast\n\n\n")),
            debug(Frame::Event(b"Event-Name: A\n\n\n")),
            debug(Frame::Disconnect),
            debug(Frame::Rejected),
            debug(Frame::Other),
        ]
    }

    #[test]
    fn every_kind_of_frame_is_distinguished() {
        assert_eq!(frames(&[TALK]), (expected(), None));
    }

    #[test]
    fn it_does_not_matter_where_reads_split() {
        for at in 0..TALK.len() {
            let (one, two) = TALK.split_at(at);
            assert_eq!(frames(&[one, two]), (expected(), None), "split at {at}");
        }
        let single: Vec<&[u8]> = TALK.chunks(1).collect();
        assert_eq!(frames(&single), (expected(), None));
    }

    #[test]
    fn a_truncated_frame_is_waited_for() {
        for at in 0..TALK.len() {
            let (seen, error) = frames(&[&TALK[..at]]);
            assert_eq!(error, None);
            assert_eq!(seen, expected()[..seen.len()], "cut at {at}");
        }
    }

    #[test]
    fn hostile_lengths_are_refused() {
        for (length, error) in [
            ("16777216", CodecError::BodyTooLong),
            ("99999999999999999999999", CodecError::BodyTooLong),
            ("-1", CodecError::Length),
            ("0x10", CodecError::Length),
            ("", CodecError::Length),
            ("5\nContent-Length: 6", CodecError::Length),
        ] {
            let text = format!("Content-Type: api/response\nContent-Length: {length}\n\n");
            assert_eq!(frames(&[text.as_bytes()]), (vec![], Some(error)), "{length}");
        }
        let endless = vec![b'a'; HEAD_BYTES_MAX + 1];
        assert_eq!(frames(&[&endless]).1, Some(CodecError::HeadTooLong));
        let mut late_end = endless;
        late_end.extend(b"\n\n");
        assert_eq!(frames(&[&late_end]).1, Some(CodecError::HeadTooLong));
    }

    #[test]
    fn a_long_body_leaves_no_lasting_buffer() {
        let mut decoder = Decoder::new();
        let body = vec![b'x'; 3 << 20];
        decoder.feed(format!("Content-Type: api/response\nContent-Length: {}\n\n", body.len()).as_bytes());
        decoder.feed(&body);
        assert_eq!(decoder.next(), Ok(Some(Frame::ApiResponse(&body))));
        assert_eq!(decoder.next(), Ok(None));
        decoder.space();
        assert!(decoder.bytes.capacity() <= SPACE_BYTES * 4);
    }
}
