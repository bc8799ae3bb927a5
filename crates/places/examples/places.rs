//! Prints the facts of the tables for each number on standard input, separated by tabs: number, possible, country, line, states,
//! zones, region, carrier. For a line that is not a number it prints only the line. `scripts/prove numbers` reads this.

use paceline_core::contact::{CountryCode, NumberKind};
use paceline_core::gate::{State, Zone};
use paceline_core::number::E164;
use std::io::{self, BufWriter, Write};

fn main() -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for line in io::stdin().lines() {
        let line = line?;
        let Ok(number) = E164::new(&line) else {
            writeln!(out, "{line}")?;
            continue;
        };
        let places = paceline_places::of_number(&number);
        let states: Vec<&str> = places.states.iter().map(State::as_str).collect();
        let zones: Vec<&str> = places.zones.iter().copied().map(Zone::name).collect();
        writeln!(
            out,
            "{line}\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
            places.possible,
            places.country.as_ref().map_or("", CountryCode::as_str),
            places.line.map_or("", NumberKind::as_str),
            states.join(" "),
            zones.join(" "),
            paceline_places::region(&number).unwrap_or_default(),
            paceline_places::carrier(&number).unwrap_or_default(),
        )?;
    }
    out.flush()
}
