//! Which legs have ended lately, so that a late word of them is not taken for news.

use std::collections::{HashSet, VecDeque};
use uuid::Uuid;

/// Ids of ended legs kept, so that a late hang-up is not taken for an unseen end.
const ENDED_KEPT_MAX: usize = 8192;

/// Ids of ended legs, oldest forgotten first.
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
