//! Chores of the repository that need more than a shell script. Run them with `cargo xtask NAME`.

mod numbers;

use anyhow::bail;

const USAGE: &str = "Usage: cargo xtask NAME, one of:
  numbers          rebuilds the tables of crates/places from the PyPI packages of xtask/numbers.txt; needs python3 and pip
  numbers --check  rebuilds them and says whether they equal the committed ones";

fn main() -> anyhow::Result<()> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["numbers"] => numbers::build(numbers::Purpose::Write),
        ["numbers", "--check"] => numbers::build(numbers::Purpose::Check),
        _ => bail!("{USAGE}"),
    }
}
