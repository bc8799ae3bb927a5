//! Regions and carriers: which trunks may call each, and where its rates are learnt.

use super::{Request, Slot};
use crate::trunks::quality::{Place, Quality};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A bound for the memory. Further regions and carriers keep their hard limits, and share their rates.
const PLACES_MAX: usize = 4_096;

#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    by_region: BTreeMap<String, BTreeMap<String, usize>>,
    regions: BTreeMap<String, usize>,
    carriers: BTreeMap<String, usize>,
    places: Vec<Known>,
}

#[derive(Clone, Debug)]
struct Known {
    region: String,
    carrier: String,
    place: Place,
    allowed: Arc<[usize]>,
}

impl Places {
    pub(super) fn configure(&mut self, slots: &[Slot]) {
        for known in &mut self.places {
            known.allowed = allowed(slots, &known.region, &known.carrier);
        }
    }

    /// The place of a request. It is made if it is new.
    pub(super) fn find(&mut self, request: &Request, slots: &[Slot], quality: &mut Quality) -> usize {
        let region = request.region.unwrap_or_default();
        let carrier = request.carrier.unwrap_or_default();
        if let Some(index) = self.by_region.get(region).and_then(|by| by.get(carrier)) {
            return *index;
        }
        if self.places.len() >= PLACES_MAX {
            self.forget(quality);
        }
        let own = |names: &mut BTreeMap<String, usize>, name: &str, add: &mut dyn FnMut() -> usize| {
            (!name.is_empty()).then(|| *names.entry(name.to_owned()).or_insert_with(add))
        };
        let place = Place {
            region: own(&mut self.regions, region, &mut || quality.add_region()),
            carrier: own(&mut self.carriers, carrier, &mut || quality.add_carrier()),
            cell: (!region.is_empty() && !carrier.is_empty()).then(|| quality.add_cell()),
            callees: quality.add_callees(),
        };
        let index = self.places.len();
        self.places.push(Known {
            region: region.to_owned(),
            carrier: carrier.to_owned(),
            place,
            allowed: allowed(slots, region, carrier),
        });
        let by = self.by_region.entry(region.to_owned()).or_default();
        by.insert(carrier.to_owned(), index);
        index
    }

    /// Too many places: all are forgotten, with their rates. The legs under way count for the first ones instead.
    fn forget(&mut self, quality: &mut Quality) {
        *self = Self::default();
        quality.forget_places();
    }

    pub(super) fn place(&self, index: usize) -> Place {
        self.places
            .get(index)
            .map(|known| known.place)
            .unwrap_or_default()
    }

    /// The trunks that may call a place, in the order of the settings.
    pub(super) fn allowed(&self, index: usize) -> Arc<[usize]> {
        self.places
            .get(index)
            .map_or_else(|| Arc::new([]) as Arc<[usize]>, |known| known.allowed.clone())
    }
}

fn allowed(slots: &[Slot], region: &str, carrier: &str) -> Arc<[usize]> {
    let serves = |names: &[String], name: &str| names.is_empty() || names.iter().any(|own| own == name);
    let may = |slot: &Slot| {
        !slot.removed && serves(&slot.trunk.regions, region) && serves(&slot.trunk.carriers, carrier)
    };
    let slots = slots.iter().enumerate().filter(|(_, slot)| may(slot));
    slots.map(|(index, _)| index).collect()
}
