//! Maps each leg to the campaign that owns it. A leg is entered before it is dialed. It stays for 120 s after its end,
//! because the end of its recording arrives later.

use super::CampaignInput;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use uuid::Uuid;

const KEPT_AFTER_END: Duration = Duration::from_secs(120);

#[derive(Debug, Default)]
pub(super) struct Routes(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    owners: HashMap<Uuid, mpsc::Sender<CampaignInput>>,
    ended: VecDeque<(Instant, Uuid)>,
}

impl Routes {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(&self, leg: Uuid, owner: &mpsc::Sender<CampaignInput>) {
        self.table().owners.insert(leg, owner.clone());
    }

    pub(super) fn owner(&self, leg: Uuid) -> Option<mpsc::Sender<CampaignInput>> {
        self.table().owners.get(&leg).cloned()
    }

    /// The leg has ended. A later call of this function, at least [`KEPT_AFTER_END`] from now, removes its entry.
    pub(super) fn ended(&self, leg: Uuid) {
        let mut table = self.table();
        let now = Instant::now();
        table.ended.push_back((now, leg));
        while let Some((at, old)) = table.ended.front().copied() {
            if now.duration_since(at) < KEPT_AFTER_END {
                break;
            }
            table.ended.pop_front();
            table.owners.remove(&old);
        }
    }
}
