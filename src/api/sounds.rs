//! Checks that the PBXes of a campaign have the sounds that its settings name. The check runs if a campaign becomes active, and
//! if an active one is changed. If a sound is missing, the request is refused. If a PBX cannot be asked, the request succeeds
//! with a warning.

use super::ApiState;
use super::problem::{ApiResult, Fault, Problem};
use crate::doctor::sounds::{Presence, cure, name_of, presence};
use futures_util::future::join_all;
use paceline_core::campaign::settings::CampaignSettings;
use paceline_core::ids::{CampaignId, PbxName, TrunkId};
use paceline_core::live;
use paceline_core::pbx::Sound;
use serde::Serialize;
use std::collections::BTreeSet;
use tracing::warn;

/// A problem that does not stop calls.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ExplainedWarning {
    /// The warning.
    pub(super) warning: live::Warning,
    /// The meaning of the warning for this campaign, and the advice.
    #[schema(
        example = "Whether PBX `pbx1` has the sound `custom/sorry` is not known: nothing answers there."
    )]
    pub(super) explanation: String,
}

/// A sound that a PBX does not have.
pub(super) struct Missing {
    /// The path of the setting that names the sound, with `/` between its parts.
    setting: &'static str,
    /// The problem and the advice.
    detail: String,
}

/// Asks every PBX of these trunks, all at the same time. `Err`: the missing sounds. `Ok`: warnings about the sounds that could
/// not be checked.
pub(super) async fn look(
    state: &ApiState,
    campaign: CampaignId,
    settings: &CampaignSettings,
    trunks: &[TrunkId],
) -> ApiResult<Result<Vec<ExplainedWarning>, Vec<Missing>>> {
    let (named, sounds): (Vec<&'static str>, Vec<Sound>) = settings
        .sounds()
        .map(|(setting, sound)| (setting, sound.clone()))
        .unzip();
    if sounds.is_empty() {
        return Ok(Ok(Vec::new()));
    }
    let mut names: BTreeSet<PbxName> = BTreeSet::new();
    for trunk in trunks {
        names.extend(state.store.trunk(*trunk).await?.map(|trunk| trunk.pbx));
    }
    let pbxes: Vec<_> = state
        .pbxes
        .iter()
        .filter(|pbx| names.contains(&pbx.name))
        .collect();
    let told = join_all(pbxes.iter().map(|pbx| presence(pbx, &sounds))).await;
    let (mut missing, mut warnings) = (Vec::new(), Vec::new());
    for (pbx, presences) in pbxes.into_iter().zip(told) {
        for ((setting, sound), presence) in named.iter().zip(&sounds).zip(presences) {
            let (name, pbx_name) = (name_of(sound), &pbx.name);
            match presence {
                Presence::There => {}
                Presence::Missing => missing.push(Missing {
                    setting,
                    detail: format!(
                        "PBX `{pbx_name}` has no sound `{name}`: {}",
                        cure(&pbx.kind, sound)
                    ),
                }),
                Presence::Unknown(why) => {
                    warn!(campaign.id = %campaign, pbx.name = %pbx_name, "campaign {campaign} dials over `{pbx_name}`, and whether it has the sound `{name}` is not known: {why}");
                    warnings.push(ExplainedWarning {
                        warning: live::Warning::SoundUnchecked,
                        explanation: format!(
                            "Whether PBX `{pbx_name}` has the sound `{name}`, which `{setting}` names, is not known: {why}. \
                             Run `paceline doctor` to ask again."
                        ),
                    });
                }
            }
        }
    }
    Ok(if missing.is_empty() {
        Ok(warnings)
    } else {
        Err(missing)
    })
}

/// The problem for a new state or new trunks that do not fit the campaign's settings.
pub(super) fn conflict(campaign: CampaignId, what: &str, missing: Vec<Missing>) -> Problem {
    let all: Vec<_> = missing
        .into_iter()
        .map(|Missing { setting, detail }| format!("`{setting}` cannot be played: {detail}"))
        .collect();
    Problem::conflict(format!(
        "{what}: {}. Or name another sound with PUT /api/v1/campaigns/{campaign}/settings.",
        all.join("; ")
    ))
}

/// The problem for settings that are refused.
pub(super) fn refusal(missing: Vec<Missing>) -> Problem {
    let faults = missing
        .into_iter()
        .map(|Missing { setting, detail }| Fault::body(format!("/{setting}"), detail));
    Problem::invalid(
        "Nothing was changed: the campaign is active, and callees would not hear what they must. Correct what `errors` names and \
         send again.",
        faults.collect(),
    )
}
