//! Selects the trunks of a campaign that may be used. In: the stored trunks, and the dial strings that each PBX allows. Out:
//! the usable trunks. The log gives the reason for each refused trunk, and the API shows the same reason with the trunk.

use super::Inner;
use crate::store::DialCampaign;
use paceline_core::campaign::TrunkConfig;
use tracing::error;

pub(super) fn usable(dialer: &Inner, campaign: &DialCampaign) -> Vec<TrunkConfig> {
    let mut usable = Vec::with_capacity(campaign.trunks.len());
    for row in &campaign.trunks {
        // A trunk of a PBX that is not configured cannot be used.
        let Some(face) = dialer.pbxes.get(&row.pbx) else {
            continue;
        };
        match row.way_out(&face.dial_allowed) {
            Ok(way) => usable.push(TrunkConfig {
                id: row.id,
                name: row.name.clone(),
                pbx: row.pbx.clone(),
                dial: way.dial,
                caller_id: way.caller_id,
            }),
            Err(fault) => error!(
                trunk.name = %row.name,
                campaign.name = %campaign.name,
                "nothing is dialed over trunk `{}`: {fault}",
                row.name
            ),
        }
    }
    usable
}
