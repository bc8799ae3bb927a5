//! State of the trunks that the dialplan dials behind our legs.

use super::Legs;
use crate::ari::decode::DialStatus;
use crate::ari::leg::{Behind, Trunk};
use paceline_core::pbx::Progress;
use uuid::Uuid;

impl Legs {
    pub(super) fn behind(&mut self, trunk: &str) -> Option<&mut Behind> {
        let leg = self.trunks.get(trunk)?;
        self.legs.get_mut(leg)?.behind.as_deref_mut()
    }

    pub(super) fn dial_behind(&mut self, id: Uuid, peer: &str, status: DialStatus) {
        let Some(behind) = self.legs.get_mut(&id).and_then(|leg| leg.behind.as_deref_mut()) else {
            return;
        };
        match status {
            DialStatus::Begun => {
                behind.dialing += 1;
                behind.failed = None;
                behind.cause = self
                    .strays
                    .iter()
                    .rfind(|(channel, _)| channel == peer)
                    .map(|(_, cause)| *cause)
                    .unwrap_or_default();
                self.trunks.insert(peer.to_owned(), id);
            }
            DialStatus::Ringing => self.progressed(id, Progress::Ringing),
            DialStatus::Progress => self.progressed(id, Progress::EarlyMedia),
            DialStatus::Answered => {
                behind.trunk = Trunk::Answered;
                behind.dialing = behind.dialing.saturating_sub(1);
                self.trunks.remove(peer);
                self.answered_if_proven(id);
            }
            DialStatus::Failed => {
                behind.failed = Some(behind.cause);
                behind.dialing = behind.dialing.saturating_sub(1);
                self.trunks.remove(peer);
            }
            DialStatus::Cancelled => {
                behind.dialing = behind.dialing.saturating_sub(1);
                self.trunks.remove(peer);
            }
            DialStatus::Other => {}
        }
    }
}
