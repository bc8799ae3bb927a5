//! `paceline pace`: the pacing controller over standard input and output.

use super::lines::read_line;
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
    while read_line(&mut input, &mut line, LINE_BYTES_MAX)? {
        if let Some(reply) = session.take(&line) {
            output.write_all(reply.as_bytes())?;
            output.flush()?;
        }
    }
    Ok(())
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
