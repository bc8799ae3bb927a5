//! Says where a telephone number may be: its country, all plausible states and time zones, the kind of line, the region by
//! name and the carrier. Input: an [`E164`], a country or a state. Output: [`Places`], the value that the gate reads.
//!
//! The tables are generated (`cargo xtask numbers`) from the PyPI package phonenumbers, IANA's zone.tab, and the hand-written
//! facts in `data/`. How the zones of a number are found:
//! - If its plan has area codes (+1, +55, and fixed numbers of +61 and +34): the zones of all rows under the area code, and of
//!   the areas that it overlays. The longest prefix alone would give false certainty, because numbers are ported within an area.
//! - Other fixed, mobile and VoIP numbers: all zones of the country.
//! - Toll-free, premium, shared-cost, personal, pager, company and voicemail numbers, and area codes that are not assigned: no
//!   zone. The gate denies them.
//!
//! Start at [`of_number`].

mod automaton;
#[rustfmt::skip]
mod generated;
mod table;

use paceline_core::contact::{CountryCode, NumberKind};
use paceline_core::gate::{Places, State};
use paceline_core::number::E164;
use table::TABLE;

pub use generated::SOURCE;

/// The places in which a number may be. No allocation, some 100 ns; the first call reads the tables, in about a millisecond.
pub fn of_number(number: &E164) -> Places<'static> {
    let digits = number.expose_digits().as_bytes();
    let Some((plan, national)) = TABLE.plan(digits) else {
        return Places::default();
    };
    if !plan.has_length(national.len()) {
        return Places::default();
    }
    let found = TABLE.plans.exact(plan.start, national);
    let line = kind(found);
    let country = plan.country(found);
    let area = plan.area(national);
    let of_area = area.and_then(|area| area.country);
    let nowhere = Places {
        possible: true,
        country: of_area.or_else(|| country.and_then(|country| country.code)),
        line,
        ..Places::default()
    };
    if is_service(line) {
        return nowhere;
    }
    let has_area = match line {
        Some(NumberKind::Mobile | NumberKind::Voip) | None => plan.mobile_has_area,
        _ => true,
    };
    match area {
        Some(area) if has_area => Places {
            states: area.states,
            zones: area.zones,
            ..nowhere
        },
        // The code is not assigned.
        None if plan.mobile_has_area => nowhere,
        _ => Places {
            zones: country.map_or(&[], |country| country.number_zones),
            ..nowhere
        },
    }
}

/// The places in which an address in this country may be. `None`: no time zone of the country is known.
pub fn of_country(country: CountryCode) -> Option<Places<'static>> {
    let found = TABLE.country(country)?;
    Some(Places {
        possible: true,
        country: Some(country),
        line: None,
        states: found.states,
        zones: found.zones,
    })
}

/// The places in which an address in this state, or territory of the US, may be.
pub fn of_state(state: State) -> Option<Places<'static>> {
    if let Some(country) = state.territory() {
        return of_country(country);
    }
    let found = TABLE.state(state)?;
    Some(Places {
        possible: true,
        country: Some(found.country),
        line: None,
        states: std::slice::from_ref(&found.state),
        zones: found.zones,
    })
}

/// The region of a number as a plain text, such as `New Jersey` or `Guangdong`. `None` if the data has none.
pub fn region(number: &E164) -> Option<&'static str> {
    let [root, _] = generated::ROOTS;
    TABLE.text(TABLE.regions.longest(root, number.expose_digits().as_bytes()))
}

/// The carrier to which the range of a number was given, such as `China Mobile`. A hint only: the number may have been ported
/// to another carrier since.
pub fn carrier(number: &E164) -> Option<&'static str> {
    let [_, root] = generated::ROOTS;
    TABLE.text(TABLE.carriers.longest(root, number.expose_digits().as_bytes()))
}

/// The kind of line; `xtask/src/numbers/plan.rs` has the same order.
fn kind(value: u16) -> Option<NumberKind> {
    match value % 16 {
        1 => Some(NumberKind::Fixed),
        2 => Some(NumberKind::Mobile),
        3 => Some(NumberKind::FixedOrMobile),
        4 => Some(NumberKind::TollFree),
        5 => Some(NumberKind::PremiumRate),
        6 => Some(NumberKind::SharedCost),
        7 => Some(NumberKind::Voip),
        8 => Some(NumberKind::Personal),
        9 => Some(NumberKind::Pager),
        10 => Some(NumberKind::Uan),
        11 => Some(NumberKind::Voicemail),
        _ => None,
    }
}

/// True for numbers of services, which are in no place.
fn is_service(line: Option<NumberKind>) -> bool {
    match line {
        Some(
            NumberKind::TollFree
            | NumberKind::PremiumRate
            | NumberKind::SharedCost
            | NumberKind::Personal
            | NumberKind::Pager
            | NumberKind::Uan
            | NumberKind::Voicemail,
        ) => true,
        Some(NumberKind::Fixed | NumberKind::Mobile | NumberKind::FixedOrMobile | NumberKind::Voip)
        | None => false,
    }
}
