//! The legs that have ended lately, so that a late event of such a leg has no effect.

use std::collections::{HashSet, VecDeque};
use uuid::Uuid;

/// Number of ended legs that are remembered.
const ENDED_KEPT_MAX: usize = 8192;

/// Ids of ended legs. The oldest is forgotten first.
#[derive(Debug, Default)]
pub(super) struct EndedLegs {
    order: VecDeque<Uuid>,
    pub(super) ids: HashSet<Uuid>,
}

impl EndedLegs {
    pub(super) fn insert(&mut self, id: Uuid) {
        if self.ids.insert(id) {
            self.order.push_back(id);
        }
        if self.order.len() > ENDED_KEPT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }

    pub(super) fn forget(&mut self, id: &Uuid) {
        self.ids.remove(id);
    }
}
