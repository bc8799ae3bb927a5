//! Tells every campaign which PBXes are in maintenance. A campaign that starts later gets the list at its start.

use super::{CampaignInput, Inner};
use paceline_core::event::What;
use paceline_core::ids::PbxName;
use paceline_core::time::Wall;
use std::collections::BTreeMap;
use tracing::info;

impl Inner {
    /// Compares the stored list with the last one, and tells campaigns, metrics, log and event stream of each difference.
    pub(super) async fn maintain(&self, stored: BTreeMap<PbxName, Wall>) {
        let (changed, campaigns) = {
            let mut state = self.state();
            let before = std::mem::replace(&mut state.maintained, stored.clone());
            let began = stored.keys().filter(|pbx| !before.contains_key(*pbx));
            let ended = before.keys().filter(|pbx| !stored.contains_key(*pbx));
            let changed: Vec<(PbxName, bool)> = began
                .map(|pbx| (pbx.clone(), true))
                .chain(ended.map(|pbx| (pbx.clone(), false)))
                .collect();
            (changed, state.all_inputs())
        };
        for (pbx, on) in changed {
            self.metrics.maintained(&pbx, on);
            let what = What::Maintenance { pbx: pbx.clone(), on };
            self.events.tell(self.clock.now().wall, None, what);
            if on {
                info!(pbx.name = %pbx, "`{pbx}` is in maintenance: nothing is launched there, ringing calls are cancelled, conversations go \
                    on, and agents' legs are released; DELETE /api/v1/pbxes/{pbx}/maintenance ends it");
            } else {
                info!(pbx.name = %pbx, "the maintenance of `{pbx}` has ended: its agents' phones are called again");
            }
            for inputs in &campaigns {
                // If the send fails, the campaign has stopped.
                let _ = inputs
                    .send(CampaignInput::Maintenance { pbx: pbx.clone(), on })
                    .await;
            }
        }
    }
}
