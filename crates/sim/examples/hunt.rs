//! Searches for worlds that break a promise: `cargo run --release -p paceline-sim --example hunt -- FIRST COUNT
//! [TRACE_LINES [TROUBLES]]`.
//!
//! It runs the worlds of `COUNT` seeds, each with the troubles that its seed draws, or with those whose bits are given. It
//! reduces each failure to the troubles that cause it, and prints it.

use paceline_sim::world::{Report, Trouble, WorldOptions, run, run_quickly};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<u64>());
    let (Some(Ok(first)), Some(Ok(count))) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: hunt FIRST_SEED COUNT [STORY_LINES [TROUBLES]]");
        return ExitCode::FAILURE;
    };
    let lines = arguments.next().and_then(Result::ok).unwrap_or(60) as usize;
    let bits = arguments
        .next()
        .and_then(Result::ok)
        .and_then(|bits| u32::try_from(bits).ok());
    let (mut failed, mut total) = (0, Report::default());
    for seed in first..first.saturating_add(count) {
        let troubles = bits.map_or_else(|| WorldOptions::troubles_of(seed), Trouble::set);
        match run_quickly(&WorldOptions::with(seed, &troubles)) {
            Ok(report) => add(&mut total, &report),
            Err(failure) => {
                failed += 1;
                println!("seed {seed}: {}", failure.reason);
                tell(seed, troubles, &failure.reason, lines);
            }
        }
    }
    println!("{failed} of {count} worlds failed; {total:#?}");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn add(total: &mut Report, report: &Report) {
    total.dialed += report.dialed;
    total.connected += report.connected;
    total.events_lost += report.events_lost;
    total.starts += report.starts;
    total.lasted += report.lasted;
    for (outcome, n) in &report.outcomes {
        *total.outcomes.entry(*outcome).or_default() += n;
    }
}

/// The first words of a reason, which name the kind of failure.
fn kind(reason: &str) -> String {
    reason
        .split(' ')
        .take(3)
        .filter(|word| !word.contains('-'))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Removes troubles one by one while the world still fails in the same way, then prints the trace.
fn tell(seed: u64, mut troubles: Vec<Trouble>, reason: &str, lines: usize) {
    let fails = |troubles: &[Trouble]| {
        run_quickly(&WorldOptions::with(seed, troubles))
            .err()
            .filter(|f| kind(&f.reason) == kind(reason))
            .is_some()
    };
    let mut n = 0;
    while n < troubles.len() {
        let mut fewer = troubles.clone();
        fewer.remove(n);
        if fails(&fewer) {
            troubles = fewer;
        } else {
            n += 1;
        }
    }
    println!("  needs {troubles:?}");
    if lines > 0
        && let Err(failure) = run(&WorldOptions::with(seed, &troubles))
    {
        let skip = failure.trace.len().saturating_sub(lines);
        for line in failure.trace.iter().skip(skip) {
            println!("  {line}");
        }
        println!("  {}", failure.reason);
    }
}
