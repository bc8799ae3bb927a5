//! `paceline gate`: the compliance gate over standard input and output.

use super::lines::read_line;
use crate::gate_pipe::Pipe;
use crate::gate_pipe::line::LINE_BYTES_MAX;
use anyhow::Context as _;
use clap::Args;
use paceline_core::gate::Rulebook;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Args, Debug)]
pub(super) struct GateArgs {
    /// Print every rule instead, one JSON object per line, with the version of the time-zone data
    #[arg(long)]
    list: bool,
    /// Add a team's own rules, a TOML file. May be given more than once
    #[arg(long, value_name = "FILE")]
    overlay: Vec<PathBuf>,
}

/// Answers lines until the input ends. It is not an error if the reader of the answers is gone.
pub(super) fn run(args: &GateArgs) -> anyhow::Result<()> {
    let mut book = Rulebook::shipped().map_err(Clone::clone)?.clone();
    for path in &args.overlay {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
        book = Arc::new(book.with_overlay(&name, &text)?);
    }
    let mut pipe = Pipe::new(book);
    let mut output = BufWriter::with_capacity(256 * 1024, io::stdout().lock());
    let said = if args.list {
        pipe.list(&mut output).and_then(|()| output.flush())
    } else {
        let input = BufReader::with_capacity(256 * 1024, io::stdin().lock());
        converse(&mut pipe, input, output)
    };
    match said {
        Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        said => said.context("cannot go on reading and answering lines"),
    }
}

fn converse(pipe: &mut Pipe, mut input: BufReader<impl Read>, mut output: impl Write) -> io::Result<()> {
    let mut line = Vec::new();
    while read_line(&mut input, &mut line, LINE_BYTES_MAX)? {
        pipe.answer(&line, &mut output)?;
        // Whoever waits for the answer before the next line gets it now.
        if memchr::memchr(b'\n', input.buffer()).is_none() {
            output.flush()?;
        }
    }
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_gets_one_answer_in_order() {
        let good = r#"{"at":"2026-11-20T12:00:00-05:00","number":"+12125550123","purpose":"service","mode":"manual","ring_timeout_ms":20000}"#;
        let mut input = format!("{good}\r\n\n").into_bytes();
        input.extend(vec![b'x'; 2 * LINE_BYTES_MAX]);
        input.extend(b"\n\xff\n");
        input.extend(good.as_bytes());
        let mut output = Vec::new();
        let mut pipe = Pipe::new(Rulebook::shipped().unwrap().clone());
        converse(
            &mut pipe,
            BufReader::with_capacity(1000, input.as_slice()),
            &mut output,
        )
        .unwrap();
        let output = String::from_utf8(output).unwrap();
        let said: Vec<_> = output
            .lines()
            .map(|line| line.starts_with("{\"decision\":\"allow\""))
            .collect();
        assert_eq!(said, [true, false, false, false, true]);
    }
}
