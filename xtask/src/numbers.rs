//! Builds the tables of `crates/places`: two files, the same bytes for the same packages and the same hand-written facts.
//!
//! Input: number plans and rows by prefix (PyPI's phonenumbers), zones of countries (tzdata's zone.tab), and what these lack
//! or say wrongly (`crates/places/data/*.toml`). Output: `generated.rs` with all that is small enough to review, and
//! `prefixes.bin` with three automatons over the digits of a number.

mod areas;
mod automaton;
mod plan;
mod sources;
mod write;

use anyhow::{Context, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What to do with the tables.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Write them over the committed ones.
    Write,
    /// Compare them with the committed ones.
    Check,
}

/// Builds the tables.
pub(crate) fn build(purpose: Purpose) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask lies beside crates/")?;
    let dump = dump(root)?;
    let data = root.join("crates/places/data");
    let sources = sources::read(&dump, &data)?;
    let plans = plan::compile(&sources)?;
    let facts = areas::derive(&sources, &plans)?;
    let tables = write::tables(&sources, &plans, &facts)?;
    for (name, bytes) in tables {
        let path = root.join("crates/places/src").join(name);
        match purpose {
            Purpose::Write => fs::write(&path, &bytes).with_context(|| path.display().to_string())?,
            Purpose::Check => {
                let committed = fs::read(&path).with_context(|| path.display().to_string())?;
                if committed != bytes {
                    bail!("{name} differs from what its sources give: run `cargo xtask numbers` and commit");
                }
            }
        }
        println!("{name}: {} bytes", bytes.len());
    }
    Ok(())
}

/// Downloads the packages, and has `numbers.py` print their data.
fn dump(root: &Path) -> anyhow::Result<Vec<u8>> {
    let wheels = root.join("target/numbers");
    fs::create_dir_all(&wheels)?;
    let download = Command::new("python3")
        .args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--require-hashes",
            "--only-binary",
            ":all:",
        ])
        .arg("--dest")
        .arg(&wheels)
        .arg("--requirement")
        .arg(root.join("xtask/numbers.txt"))
        .status()
        .context("python3 could not be run: install Python 3 with pip")?;
    if !download.success() {
        bail!("pip could not download the packages of xtask/numbers.txt");
    }
    let printed = Command::new("python3")
        .arg(root.join("xtask/numbers.py"))
        .arg(wheel(&wheels, "phonenumbers-9.0.43-")?)
        .arg(wheel(&wheels, "tzdata-2026.5-")?)
        .output()?;
    if !printed.status.success() {
        bail!(
            "xtask/numbers.py failed: {}",
            String::from_utf8_lossy(&printed.stderr)
        );
    }
    Ok(printed.stdout)
}

fn wheel(folder: &Path, start: &str) -> anyhow::Result<PathBuf> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.starts_with(start) && name.ends_with(".whl") {
            return Ok(path);
        }
    }
    bail!("pip left no {start}*.whl in {}", folder.display())
}
