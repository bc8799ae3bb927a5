//! The generated tables as they are used: names resolved, found by index.

use crate::automaton::Automaton;
use crate::generated::{AREA_PLANS, AREAS, CALLING_CODES, COUNTRIES, SECTIONS, STATES, ZONE_SETS, ZONES};
use paceline_core::contact::CountryCode;
use paceline_core::gate::{State, Zone};
use std::sync::LazyLock;

/// The index that stands for no country: numbers of services that are in no country.
pub(crate) const NONE: u16 = u16::MAX;

/// A country, with sets of zones by index.
pub(crate) struct Country {
    pub(crate) code: &'static str,
    pub(crate) zones: u16,
    pub(crate) number_zones: u16,
}

/// A state, with its set of zones by index.
pub(crate) struct StateEntry {
    pub(crate) country: &'static str,
    pub(crate) code: &'static str,
    pub(crate) zones: u16,
}

/// The numbers of a calling code. `lengths` has bit `n` for national numbers of `n` digits.
pub(crate) struct CallingCode {
    pub(crate) digits: &'static str,
    pub(crate) lengths: u32,
    pub(crate) start: u16,
    pub(crate) countries: &'static [u16],
}

/// A calling code whose numbers begin with an area code.
pub(crate) struct AreaPlan {
    pub(crate) calling_code: &'static str,
    pub(crate) area_digits: usize,
    pub(crate) mobile_has_area: bool,
}

/// An area code. The prefix begins with the calling code. Only +1 has a country for each.
pub(crate) struct AreaEntry {
    pub(crate) prefix: &'static str,
    pub(crate) country: u16,
    pub(crate) states: &'static [&'static str],
    pub(crate) zones: u16,
}

static PREFIXES: &[u8] = include_bytes!("prefixes.bin");

/// The tables.
pub(crate) static TABLE: LazyLock<Table> = LazyLock::new(Table::new);
static ZONE_LISTS: LazyLock<Vec<Box<[Zone]>>> = LazyLock::new(|| {
    let zone = |index: &u16| Zone::named(ZONES.get(usize::from(*index))?).ok();
    let lists = ZONE_SETS.iter().map(|set| set.iter().filter_map(zone).collect());
    lists.collect()
});
static STATE_LISTS: LazyLock<Vec<Box<[State]>>> = LazyLock::new(|| {
    let states = |area: &AreaEntry| area.states.iter().filter_map(|code| State::new(code).ok());
    AREAS.iter().map(|area| states(area).collect()).collect()
});
static NATIONAL_STATES: LazyLock<[(&str, Vec<State>); 2]> = LazyLock::new(|| {
    ["US", "CA"].map(|code| {
        let states = CountryCode::new(code).map(State::all_of);
        (code, states.unwrap_or_default())
    })
});

fn zones(set: u16) -> &'static [Zone] {
    ZONE_LISTS.get(usize::from(set)).map_or(&[], AsRef::as_ref)
}

/// All tables.
pub(crate) struct Table {
    pub(crate) plans: Automaton,
    pub(crate) regions: Automaton,
    pub(crate) carriers: Automaton,
    texts: Vec<&'static str>,
    countries: Vec<FoundCountry>,
    states: Vec<FoundState>,
    calling_codes: Vec<FoundPlan>,
    /// By the first three digits of a number, 1 + the index of its plan.
    by_digits: Vec<u8>,
}

/// A country.
pub(crate) struct FoundCountry {
    /// `None` for islands that have numbers but no code of their own in ISO 3166.
    pub(crate) code: Option<CountryCode>,
    /// The states that matter for the gate.
    pub(crate) states: &'static [State],
    pub(crate) zones: &'static [Zone],
    pub(crate) number_zones: &'static [Zone],
}

/// A state.
pub(crate) struct FoundState {
    pub(crate) state: State,
    pub(crate) country: CountryCode,
    pub(crate) zones: &'static [Zone],
}

/// A number plan.
pub(crate) struct FoundPlan {
    lengths: u32,
    pub(crate) start: u16,
    countries: &'static [u16],
    area_digits: usize,
    pub(crate) mobile_has_area: bool,
    areas: Vec<Option<FoundArea>>,
}

/// The area of an area code.
#[derive(Clone, Copy)]
pub(crate) struct FoundArea {
    pub(crate) country: Option<CountryCode>,
    pub(crate) states: &'static [State],
    pub(crate) zones: &'static [Zone],
}

impl Table {
    fn new() -> Self {
        let [plans, regions, carriers, texts] = SECTIONS;
        let part = |from: usize, to: usize| PREFIXES.get(from..to).unwrap_or_default();
        let texts = std::str::from_utf8(part(texts, PREFIXES.len())).unwrap_or_default();
        let [_, _, _, texts_start] = SECTIONS;
        Self {
            plans: Automaton::new(part(plans, regions)),
            regions: Automaton::new(part(regions, carriers)),
            carriers: Automaton::new(part(carriers, texts_start)),
            texts: texts.split('\n').collect(),
            countries: COUNTRIES.iter().map(country).collect(),
            states: STATES.iter().filter_map(state).collect(),
            calling_codes: CALLING_CODES.iter().map(plan).collect(),
            by_digits: by_digits(),
        }
    }

    /// The plan of a number, and its national digits.
    pub(crate) fn plan<'a>(&self, digits: &'a [u8]) -> Option<(&FoundPlan, &'a [u8])> {
        let [a, b, c, ..] = digits else { return None };
        let first = [a, b, c]
            .iter()
            .fold(0, |n, digit| n * 10 + usize::from(digit.wrapping_sub(b'0')));
        let index = usize::from(*self.by_digits.get(first)?).checked_sub(1)?;
        let length = CALLING_CODES.get(index)?.digits.len();
        Some((self.calling_codes.get(index)?, digits.get(length..)?))
    }

    pub(crate) fn country(&self, code: CountryCode) -> Option<&FoundCountry> {
        let index = COUNTRIES.binary_search_by(|country| country.code.cmp(code.as_str()));
        self.countries.get(index.ok()?)
    }

    pub(crate) fn state(&self, state: State) -> Option<&FoundState> {
        self.states.iter().find(|found| found.state == state)
    }

    pub(crate) fn text(&self, value: u16) -> Option<&'static str> {
        self.texts.get(usize::from(value).checked_sub(1)?).copied()
    }
}

impl FoundPlan {
    pub(crate) fn has_length(&self, digits: usize) -> bool {
        digits < 32 && self.lengths & (1 << digits) != 0
    }

    /// The country of a number with this value in the automaton.
    pub(crate) fn country(&self, value: u16) -> Option<&'static FoundCountry> {
        let index = self.countries.get(usize::from(value / 16))?;
        TABLE.countries.get(usize::from(*index))
    }

    pub(crate) fn area(&self, national: &[u8]) -> Option<FoundArea> {
        self.areas
            .get(area_index(national.get(..self.area_digits)?))
            .copied()
            .flatten()
    }
}

fn area_index(area: &[u8]) -> usize {
    area.iter()
        .fold(0, |n, digit| n * 10 + usize::from(digit.wrapping_sub(b'0')))
}

fn country(country: &Country) -> FoundCountry {
    let states = NATIONAL_STATES.iter().find(|(code, _)| *code == country.code);
    FoundCountry {
        code: CountryCode::new(country.code).ok(),
        states: states.map_or(&[], |(_, states)| states),
        zones: zones(country.zones),
        number_zones: zones(country.number_zones),
    }
}

fn state(state: &StateEntry) -> Option<FoundState> {
    Some(FoundState {
        state: State::new(state.code).ok()?,
        country: CountryCode::new(state.country).ok()?,
        zones: zones(state.zones),
    })
}

fn plan(code: &CallingCode) -> FoundPlan {
    let plan = AREA_PLANS.iter().find(|plan| plan.calling_code == code.digits);
    let area_digits = plan.map_or(0, |plan| plan.area_digits);
    let mut areas = vec![
        None;
        if plan.is_some() {
            10_usize.pow(area_digits as u32)
        } else {
            0
        }
    ];
    for (area, states) in AREAS.iter().zip(STATE_LISTS.iter()) {
        let Some(digits) = area.prefix.strip_prefix(code.digits) else {
            continue;
        };
        if plan.is_none() || digits.len() != area_digits {
            continue;
        }
        let country = COUNTRIES.get(usize::from(area.country));
        if let Some(slot) = areas.get_mut(area_index(digits.as_bytes())) {
            *slot = Some(FoundArea {
                country: country.and_then(|country| CountryCode::new(country.code).ok()),
                states,
                zones: zones(area.zones),
            });
        }
    }
    FoundPlan {
        lengths: code.lengths,
        start: code.start,
        countries: code.countries,
        area_digits,
        mobile_has_area: plan.is_some_and(|plan| plan.mobile_has_area),
        areas,
    }
}

fn by_digits() -> Vec<u8> {
    let index = |first: usize| {
        let digits = format!("{first:03}");
        let found = CALLING_CODES
            .iter()
            .position(|code| digits.starts_with(code.digits));
        found
            .and_then(|index| u8::try_from(index + 1).ok())
            .unwrap_or_default()
    };
    (0..1_000).map(index).collect()
}
