//! The data that the tables are made of, as read.

use anyhow::Context;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Zones of the states by country and code.
pub(super) type States = BTreeMap<String, BTreeMap<String, StateEntry>>;

/// All sources.
pub(super) struct Sources {
    pub(super) data: Data,
    pub(super) states: States,
    pub(super) corrections: Corrections,
}

/// What `numbers.py` prints.
#[derive(Deserialize)]
pub(super) struct Data {
    /// Version of phonenumbers.
    pub(super) version: String,
    pub(super) plans: Vec<Plan>,
    /// By prefix with the calling code.
    pub(super) zones: BTreeMap<String, Vec<String>>,
    pub(super) regions: BTreeMap<String, String>,
    pub(super) carriers: BTreeMap<String, String>,
    /// Pairs of a country and a zone.
    pub(super) zone_tab: Vec<(String, String)>,
}

/// The numbers of a calling code.
#[derive(Deserialize)]
pub(super) struct Plan {
    pub(super) code: String,
    /// The main country first.
    pub(super) regions: Vec<Region>,
}

/// The numbers of a country.
#[derive(Deserialize)]
pub(super) struct Region {
    pub(super) region: String,
    pub(super) leading_digits: Option<String>,
    pub(super) fixed_is_mobile: bool,
    pub(super) general: Option<Desc>,
    pub(super) kinds: BTreeMap<String, Desc>,
}

/// A pattern of national numbers.
#[derive(Deserialize)]
pub(super) struct Desc {
    pub(super) pattern: String,
    /// Numbers of digits. Empty: any.
    pub(super) lengths: Vec<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StateEntry {
    pub(super) names: Vec<String>,
    pub(super) zones: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Corrections {
    pub(super) plan: Vec<AreaPlan>,
    pub(super) overlay: Vec<Overlay>,
    pub(super) area: Vec<AreaCorrection>,
    pub(super) country: Vec<CountryCorrection>,
    pub(super) shared_plan: Vec<SharedPlan>,
}

/// A calling code whose numbers name their area.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AreaPlan {
    pub(super) code: String,
    pub(super) area_digits: usize,
    pub(super) mobile_has_area: bool,
    #[expect(dead_code, reason = "for readers of the file; an entry without it is refused")]
    source: String,
}

/// An area code that serves the area of older ones.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Overlay {
    pub(super) area: String,
    pub(super) over: Vec<String>,
    #[expect(dead_code, reason = "for readers of the file; an entry without it is refused")]
    source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AreaCorrection {
    pub(super) area: String,
    #[serde(default)]
    pub(super) add: Vec<String>,
    #[serde(default)]
    pub(super) drop_states: Vec<String>,
    #[expect(dead_code, reason = "for readers of the file; an entry without it is refused")]
    source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CountryCorrection {
    pub(super) country: String,
    #[serde(default)]
    pub(super) add: Vec<String>,
    #[serde(default)]
    pub(super) drop: Vec<String>,
    #[expect(dead_code, reason = "for readers of the file; an entry without it is refused")]
    source: String,
}

/// A country whose mobile numbers may be in the others too.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SharedPlan {
    pub(super) country: String,
    pub(super) with: Vec<String>,
    #[expect(dead_code, reason = "for readers of the file; an entry without it is refused")]
    source: String,
}

/// Reads all sources.
pub(super) fn read(dump: &[u8], folder: &Path) -> anyhow::Result<Sources> {
    Ok(Sources {
        data: serde_json::from_slice(dump).context("the output of numbers.py")?,
        states: file(&folder.join("states.toml"))?,
        corrections: file(&folder.join("corrections.toml"))?,
    })
}

fn file<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    toml::from_str(&text).with_context(|| path.display().to_string())
}
