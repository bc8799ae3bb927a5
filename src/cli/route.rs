//! `paceline route`: the choice of trunks over standard input and output.

use super::lines::read_line;
use crate::route_pipe::Session;
use crate::route_pipe::line::LINE_BYTES_MAX;
use anyhow::Context as _;
use std::io::{self, BufReader, Read, Write};

/// Takes lines until the input ends. It is not an error if the reader of the answers is gone.
pub(super) fn run() -> anyhow::Result<()> {
    let input = BufReader::with_capacity(256 * 1024, io::stdin().lock());
    match converse(input, io::stdout().lock()) {
        Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        said => said.context("cannot go on reading and answering lines"),
    }
}

fn converse(mut input: BufReader<impl Read>, mut output: impl Write) -> io::Result<()> {
    let mut session = Session::default();
    let mut line = Vec::new();
    let mut answers = String::new();
    while read_line(&mut input, &mut line, LINE_BYTES_MAX)? {
        session.take(&line, &mut answers);
        // Whoever waits for the answer before the next line gets it now.
        if answers.len() > 64 * 1024 || memchr::memchr(b'\n', input.buffer()).is_none() {
            output.write_all(answers.as_bytes())?;
            output.flush()?;
            answers.clear();
        }
    }
    output.write_all(answers.as_bytes())?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_by_any_means_and_long_ones_do_no_harm() {
        let mut input = b"{\"type\":\"config\",\"trunks\":[{\"id\":\"t1\"}]}\r\n\n".to_vec();
        input.extend(vec![b'x'; 2 * LINE_BYTES_MAX]);
        input.extend(b"\n{\"at_ms\":1,\"type\":\"choose\",\"leg\":7}");
        let mut output = Vec::new();
        converse(BufReader::with_capacity(1000, input.as_slice()), &mut output).unwrap();
        let lines: Vec<serde_json::Value> = output
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["line"], 3);
        assert_eq!(lines[1]["trunk"], "t1");
        assert_eq!(lines[1]["leg"], 7);
    }
}
