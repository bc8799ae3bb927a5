//! `paceline-ledger-verify`: checks files and prints what they prove. Exit code 0: all is right; 1: something is broken, and
//! the message says what; 2: wrong arguments.

use paceline_ledger_verify::{Broken, Key, check_log, check_proofs};
use std::io::{BufReader, BufWriter, Write as _};
use std::process::ExitCode;

const USAGE: &str = "\
Usage: paceline-ledger-verify log FILE --key KEY [--checkpoints FILE] [--witness KEY] [--show]
       paceline-ledger-verify proofs FILE --key KEY [--checkpoints FILE]

log:     the whole log, as `paceline ledger export` writes it
proofs:  one or more proofs, as `paceline ledger prove`, or `export` with a filter, writes them

--key KEY           the log's first public key, as `paceline ledger key` shows it. Get it from somebody whom you trust.
                    The log names its later keys. For proofs, repeat --key for each key of the log
--checkpoints FILE  a copy of the log's append-only file, of any age. Without it, a log whose end was cut off at a
                    checkpoint looks whole
--witness KEY       the key of a witness, which must have co-signed a checkpoint; needed for each witness of the log
--show              print every entry as a line of JSON
";

fn run(given: &[String]) -> Result<String, Option<Broken>> {
    let (mut words, mut keys, mut kept, mut show) = (Vec::new(), Vec::new(), None, false);
    let mut given = given.iter();
    let unreadable = |err| Broken(format!("cannot read a file: {err}"));
    while let Some(word) = given.next() {
        match word.as_str() {
            "--key" | "--witness" => keys.push(Key::read(given.next().ok_or(None)?)?),
            "--checkpoints" => {
                let file = given.next().ok_or(None)?;
                kept = Some(std::fs::read_to_string(file).map_err(unreadable)?);
            }
            "--show" => show = true,
            word => words.push(word),
        }
    }
    match words.as_slice() {
        ["proofs", file] => {
            let proofs = std::fs::read(file).map_err(unreadable)?;
            Ok(check_proofs(&proofs, &keys, kept.as_deref())?)
        }
        ["log", file] => {
            let opened = std::fs::File::open(file).map_err(unreadable)?;
            let mut out = BufWriter::new(std::io::stdout().lock());
            let proved = check_log(BufReader::new(opened), &keys, kept.as_deref(), |entry| {
                // A reader that is gone, such as `head`, does not change what is proved.
                show.then(|| writeln!(out, "{entry}").ok());
            });
            Ok(proved?)
        }
        _ => Err(None),
    }
}

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let (text, code) = match run(&given) {
        Ok(proved) => (format!("ok: {proved}\n"), 0),
        Err(Some(Broken(why))) => (format!("broken: {why}\n"), 1),
        Err(None) => (USAGE.to_owned(), 2),
    };
    std::io::stdout().write_all(text.as_bytes()).ok();
    ExitCode::from(code)
}
