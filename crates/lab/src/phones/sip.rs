//! Reading and writing the SIP that a phone needs (RFC 3261), no more.

/// A request or a response from the PBX.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// The first line.
    pub(super) start: String,
    headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Message {
    /// Parses a datagram. `None`: it is not SIP.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let start = lines.next()?.to_owned();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Some(Self {
            start,
            headers,
            body: body.to_owned(),
        })
    }

    /// The method, for a request.
    pub(super) fn method(&self) -> Option<&str> {
        self.start.strip_suffix(" SIP/2.0")?.split(' ').next()
    }

    /// The status, for a response.
    pub(super) fn status(&self) -> Option<u16> {
        self.start
            .strip_prefix("SIP/2.0 ")?
            .split(' ')
            .next()?
            .parse()
            .ok()
    }

    /// The user part of the request's URI: `agent-7` of `INVITE sip:agent-7@127.0.0.1:5180 SIP/2.0`.
    pub(super) fn user(&self) -> Option<&str> {
        let uri = self.start.split(' ').nth(1)?;
        Some(uri.strip_prefix("sip:")?.split_once('@')?.0)
    }

    /// The first header of that name, in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn call_id(&self) -> &str {
        self.header("call-id").unwrap_or_default()
    }

    /// Number and method of the CSeq header.
    pub(super) fn cseq(&self) -> Option<(u32, &str)> {
        let (number, method) = self.header("cseq")?.split_once(' ')?;
        Some((number.parse().ok()?, method.trim()))
    }

    /// The target of requests in this dialog: the URI of the Contact header.
    pub(super) fn contact_uri(&self) -> Option<&str> {
        let contact = self.header("contact")?;
        let inside = contact.split_once('<').map_or(contact, |(_, rest)| rest);
        Some(inside.split('>').next().unwrap_or(inside))
    }

    /// The port of the audio stream that the body offers or accepts.
    pub(super) fn audio_port(&self) -> Option<u16> {
        self.body
            .lines()
            .find_map(|line| line.strip_prefix("m=audio ")?.split(' ').next()?.parse().ok())
    }

    /// The direction that answers the one in the body (RFC 3264).
    pub(super) fn answering_direction(&self) -> &'static str {
        match self
            .body
            .lines()
            .find(|line| matches!(*line, "a=sendonly" | "a=recvonly" | "a=inactive"))
        {
            Some("a=sendonly") => "recvonly",
            Some("a=recvonly") => "sendonly",
            Some("a=inactive") => "inactive",
            _ => "sendrecv",
        }
    }

    /// A response to this request. `tag` is ours, added to To where it has none; `extra` holds whole header lines.
    pub(super) fn response(&self, status: &str, tag: &str, extra: &str, body: &str) -> String {
        let mut text = format!("SIP/2.0 {status}\r\n");
        for (name, value) in &self.headers {
            match name.as_str() {
                "via" | "from" | "call-id" | "cseq" | "record-route" => {
                    push_header(&mut text, name, value, "")
                }
                "to" if value.contains(";tag=") => push_header(&mut text, name, value, ""),
                "to" => push_header(&mut text, name, value, &format!(";tag={tag}")),
                _ => {}
            }
        }
        text.push_str(extra);
        text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        text
    }
}

fn push_header(text: &mut String, name: &str, value: &str, suffix: &str) {
    text.push_str(&format!("{name}: {value}{suffix}\r\n"));
}

/// A session description offering or accepting µ-law at that port.
pub(super) fn session(port: u16, direction: &str) -> String {
    format!(
        "v=0\r\no=phone 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
         a=fmtp:101 0-16\r\na=ptime:20\r\na={direction}\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::Message;

    const INVITE: &str = "INVITE sip:agent-7@127.0.0.1:5180 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5160;branch=z9hG4bK1\r\n\
        From: <sip:a@127.0.0.1>;tag=f\r\nTo: <sip:agent-7@127.0.0.1>\r\nContact: <sip:asterisk@127.0.0.1:5160>\r\n\
        Call-ID: c1\r\nCSeq: 42 INVITE\r\n\r\nv=0\r\nm=audio 9000 RTP/AVP 0\r\na=sendonly\r\n";

    #[test]
    fn an_invite_is_read_and_answered() {
        let invite = Message::parse(INVITE.as_bytes()).unwrap();
        assert_eq!(
            (invite.method(), invite.user(), invite.status()),
            (Some("INVITE"), Some("agent-7"), None)
        );
        assert_eq!((invite.call_id(), invite.cseq()), ("c1", Some((42, "INVITE"))));
        assert_eq!(
            (invite.contact_uri(), invite.audio_port()),
            (Some("sip:asterisk@127.0.0.1:5160"), Some(9000))
        );
        assert_eq!(invite.answering_direction(), "recvonly");
        let response = Message::parse(invite.response("180 Ringing", "t1", "", "").as_bytes()).unwrap();
        assert_eq!(response.status(), Some(180));
        assert_eq!(response.header("to"), Some("<sip:agent-7@127.0.0.1>;tag=t1"));
    }

    #[test]
    fn garbage_is_not_a_message() {
        assert_eq!(
            Message::parse(b"\r\n\r\n").and_then(|message| message.method().map(str::to_owned)),
            None
        );
        assert_eq!(Message::parse(&[0xff, 0xfe]), None);
    }
}
