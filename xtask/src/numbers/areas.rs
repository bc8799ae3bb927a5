//! Derives where numbers, states and countries are: from the rows of phonenumbers, zone.tab and the hand-written facts.

use super::plan::Plans;
use super::sources::{AreaPlan, Plan, Sources};
use anyhow::{Context, bail};
use std::collections::{BTreeMap, BTreeSet};

type Zones = BTreeSet<String>;

/// The facts, by name.
pub(super) struct Facts {
    /// By code: its zones, and the zones of its numbers.
    pub(super) countries: BTreeMap<String, (Zones, Zones)>,
    /// By country and code.
    pub(super) states: BTreeMap<(String, String), Zones>,
    /// By prefix with the calling code.
    pub(super) areas: BTreeMap<String, Area>,
}

/// The area of an area code.
pub(super) struct Area {
    /// Its country, if it has one only.
    pub(super) country: Option<String>,
    pub(super) states: BTreeSet<String>,
    pub(super) zones: Zones,
    /// The name of its region.
    pub(super) region: Option<String>,
}

/// Derives the facts.
pub(super) fn derive(sources: &Sources, plans: &Plans) -> anyhow::Result<Facts> {
    let mut facts = Facts {
        countries: countries(sources)?,
        states: states(sources),
        areas: BTreeMap::new(),
    };
    for digits in &sources.corrections.plan {
        let plan = sources.data.plans.iter().find(|plan| plan.code == digits.code);
        let plan = plan.with_context(|| format!("no plan of +{}", digits.code))?;
        areas_of(sources, plans, plan, digits, &mut facts.areas)?;
    }
    correct(sources, &mut facts.areas)?;
    Ok(facts)
}

fn states(sources: &Sources) -> BTreeMap<(String, String), Zones> {
    let of_country = |(country, states): (&String, &BTreeMap<_, _>)| {
        let entry = |(code, entry): (&String, &super::sources::StateEntry)| {
            (
                (country.clone(), code.clone()),
                entry.zones.iter().cloned().collect(),
            )
        };
        states.iter().map(entry).collect::<Vec<_>>()
    };
    sources.states.iter().flat_map(of_country).collect()
}

/// The zones of a country are those of zone.tab. Its numbers may also be in the zones that rows of its calling code name and
/// that belong to no other country of that code, and in the countries that share its mobile numbers.
fn countries(sources: &Sources) -> anyhow::Result<BTreeMap<String, (Zones, Zones)>> {
    let mut national: BTreeMap<String, Zones> = BTreeMap::new();
    for (country, zone) in &sources.data.zone_tab {
        national.entry(country.clone()).or_default().insert(zone.clone());
    }
    for correction in &sources.corrections.country {
        let zones = national.entry(correction.country.clone()).or_default();
        zones.extend(correction.add.iter().cloned());
        for zone in &correction.drop {
            if !zones.remove(zone) {
                bail!("{} has no {zone} to drop", correction.country);
            }
        }
    }
    let owner: BTreeMap<&String, &String> = sources.data.zone_tab.iter().map(|(c, z)| (z, c)).collect();
    let mut of_numbers: BTreeMap<String, Zones> = BTreeMap::new();
    for plan in &sources.data.plans {
        let rows: Zones = rows_under(sources, &plan.code).flatten().cloned().collect();
        for region in plan.regions.iter().filter(|region| region.region != "001") {
            let code = &region.region;
            let mine = |zone: &&String| owner.get(zone).is_none_or(|owner| *owner == code);
            let zones = of_numbers.entry(code.clone()).or_default();
            // The rows of +1 tell of areas, not of countries.
            if plan.code != "1" {
                zones.extend(rows.iter().filter(mine).cloned());
            }
            zones.extend(national.get(code).into_iter().flatten().cloned());
        }
    }
    for shared in &sources.corrections.shared_plan {
        for other in &shared.with {
            let zones = national.get(other).context("a country of a shared plan")?.clone();
            of_numbers
                .entry(shared.country.clone())
                .or_default()
                .extend(zones);
        }
    }
    let codes: BTreeSet<String> = national.keys().chain(of_numbers.keys()).cloned().collect();
    let both = codes.into_iter().map(|code| {
        let of_numbers = of_numbers.get(&code).cloned().unwrap_or_default();
        let national = national.get(&code).unwrap_or(&of_numbers).clone();
        (code, (national, of_numbers))
    });
    Ok(both.collect())
}

fn rows_under<'a>(sources: &'a Sources, prefix: &'a str) -> impl Iterator<Item = &'a Vec<String>> {
    let rows = sources.data.zones.range(prefix.to_owned()..);
    rows.take_while(move |(row, _)| row.starts_with(prefix))
        .map(|(_, zones)| zones)
}

fn areas_of(
    sources: &Sources,
    plans: &Plans,
    plan: &Plan,
    digits: &AreaPlan,
    into: &mut BTreeMap<String, Area>,
) -> anyhow::Result<()> {
    let areas = plans.areas.get(&plan.code).context("a plan with areas")?;
    for (area, regions) in areas {
        let prefix = format!("{}{area}", plan.code);
        let mut zones: Zones = rows_under(sources, &prefix).flatten().cloned().collect();
        if !sources.data.zones.contains_key(&prefix) {
            // No row speaks for the whole area, so the longest shorter one may hold for its rest.
            let shorter = (1..digits.area_digits)
                .rev()
                .filter_map(|length| prefix.get(..plan.code.len() + length))
                .find_map(|shorter| sources.data.zones.get(shorter));
            zones.extend(shorter.into_iter().flatten().cloned());
        }
        if zones.is_empty() {
            bail!("area {prefix} has numbers, but no row has its zones");
        }
        let region = |index: &u16| plan.regions.get(usize::from(*index));
        let mut countries = regions
            .iter()
            .filter_map(region)
            .map(|region| region.region.clone());
        let country = countries.next().filter(|_| regions.len() == 1);
        if plan.code == "1" && country.is_none() {
            bail!("area {prefix} is in several countries");
        }
        let states = country
            .as_deref()
            .map(|country| states_of(sources, country, &prefix));
        let states = states.unwrap_or_default();
        let text = sources.data.regions.get(&prefix).cloned();
        let area = Area {
            country,
            states,
            zones,
            region: text,
        };
        into.insert(prefix, area);
    }
    Ok(())
}

/// The states that the names of places under an area code end with: `Jersey City, NJ`, or `New Jersey`.
fn states_of(sources: &Sources, country: &str, prefix: &str) -> BTreeSet<String> {
    let Some(known) = sources.states.get(country) else {
        return BTreeSet::new();
    };
    let rows = sources.data.regions.range(prefix.to_owned()..);
    let rows = rows.take_while(|(row, _)| row.starts_with(prefix));
    let names = rows.flat_map(|(_, text)| text.rsplit(", ").next().unwrap_or_default().split('/'));
    let state = |name: &str| {
        let mut known = known.iter();
        let found =
            known.find(|(code, entry)| *code == name || entry.names.iter().any(|known| known == name));
        found.map(|(code, _)| code.clone())
    };
    names.filter_map(state).collect()
}

fn correct(sources: &Sources, areas: &mut BTreeMap<String, Area>) -> anyhow::Result<()> {
    for correction in &sources.corrections.area {
        let area = areas.get_mut(&correction.area);
        let area = area.with_context(|| format!("a corrected area {}", correction.area))?;
        area.zones.extend(correction.add.iter().cloned());
        for state in &correction.drop_states {
            if !area.states.remove(state) {
                bail!("area {} has no {state} to drop", correction.area);
            }
        }
    }
    for overlay in &sources.corrections.overlay {
        for over in &overlay.over {
            let over = areas.get(over).with_context(|| format!("an area {over}"))?;
            let (zones, states) = (over.zones.clone(), over.states.clone());
            let area = areas.get_mut(&overlay.area);
            let area = area.with_context(|| format!("an overlay {}", overlay.area))?;
            area.zones.extend(zones);
            area.states.extend(states);
        }
    }
    for (prefix, area) in areas {
        let country = area.country.clone().unwrap_or_default();
        let Some(states) = sources.states.get(&country) else {
            continue;
        };
        if area.states.is_empty() {
            bail!("area {prefix} is in {country}, but no row names its state");
        }
        let name = |code: &String| states.get(code).and_then(|entry| entry.names.first());
        let names: Vec<_> = area.states.iter().filter_map(name).cloned().collect();
        area.region = Some(names.join("/"));
    }
    Ok(())
}
