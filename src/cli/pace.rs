//! `paceline pace`: the pacing controller over standard input and output.

use crate::pacing_pipe::Session;
use crate::pacing_pipe::line::LINE_BYTES_MAX;
use anyhow::Context as _;
use std::io::{self, BufRead, Write};

/// Replies to lines until the input ends. It is not an error if the reader of the replies is gone.
pub(super) fn run() -> anyhow::Result<()> {
    let input = io::BufReader::with_capacity(256 * 1024, io::stdin().lock());
    match converse(input, io::stdout().lock()) {
        Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        told => told.context("cannot go on reading and answering lines"),
    }
}

fn converse(mut input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    let mut session = Session::default();
    let mut line = Vec::new();
    while read_line(&mut input, &mut line)? {
        if let Some(reply) = session.take(&line) {
            output.write_all(reply.as_bytes())?;
            output.flush()?;
        }
    }
    Ok(())
}

/// Reads a line without its line end. If a line is too long, reads one byte more than allowed. Returns false at the end of
/// the input.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut any = false;
    loop {
        let bytes = match input.fill_buf() {
            Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
            bytes => bytes?,
        };
        if bytes.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = bytes.iter().position(|b| *b == b'\n');
        let part = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or(bytes);
        let room = (LINE_BYTES_MAX + 1).saturating_sub(line.len());
        line.extend(part.iter().take(room));
        let used = part.len() + usize::from(end.is_some());
        input.consume(used);
        if end.is_some() {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_by_any_means_and_long_ones_do_no_harm() {
        let mut input = b"{\"at_ms\":0,\"type\":\"config\",\"max_abandon_ratio\":0.03}\r\n\n".to_vec();
        input.extend(vec![b'x'; 3 * LINE_BYTES_MAX]);
        input.extend(b"\n{\"at_ms\":1,\"type\":\"tick\"}");
        let mut output = Vec::new();
        converse(io::BufReader::with_capacity(1000, input.as_slice()), &mut output).unwrap();
        let lines: Vec<serde_json::Value> = output
            .split(|b| *b == b'\n')
            .filter(|l| !l.is_empty())
            .map(|l| serde_json::from_slice(l).unwrap())
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["line"], 3);
        assert_eq!(lines[1]["launch"], 0);
    }
}
