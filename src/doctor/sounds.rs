//! Checks whether a PBX has the sounds of the campaigns. Input: the connection of the PBX, and the sounds. Output: a
//! [`Presence`] for each. The API checks when a campaign is or becomes active; `paceline doctor` checks always.

use super::ari::Ari;
use super::esl::Esl;
use crate::config::{PbxConfig, PbxKind};
use paceline_core::pbx::Sound;
use std::time::Duration;

/// Maximum time to wait for the PBX.
const WAIT_MAX: Duration = Duration::from_secs(4);

/// The result of the check for one sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The PBX has it.
    There,
    /// The PBX does not have it.
    Missing,
    /// The PBX could not be asked; with the reason.
    Unknown(String),
}

/// Checks each of the sounds, for four seconds at most.
pub async fn presence(pbx: &PbxConfig, sounds: &[Sound]) -> Vec<Presence> {
    let all = |presence: Presence| vec![presence; sounds.len()];
    let asked = async {
        if let Some(esl) = Esl::of(pbx) {
            return esl.presence(sounds).await;
        }
        match (&pbx.kind, Ari::of(&pbx.kind)) {
            (_, Some(ari)) => ari.presence(sounds).await,
            (PbxKind::Ari { .. }, None) => {
                all(Presence::Unknown("this machine trusts no certificate".to_owned()))
            }
            // The simulated PBX plays every sound.
            (PbxKind::Esl { .. } | PbxKind::Sim { .. }, None) => all(Presence::There),
        }
    };
    let slow = || Presence::Unknown(format!("it does not answer within {} s", WAIT_MAX.as_secs()));
    tokio::time::timeout(WAIT_MAX, asked)
        .await
        .unwrap_or_else(|_| all(slow()))
}

/// The advice for a sound that a PBX does not have.
pub fn cure(kind: &PbxKind, sound: &Sound) -> String {
    let name = name_of(sound);
    match kind {
        PbxKind::Ari { .. } => on_asterisk(name),
        PbxKind::Esl { .. } | PbxKind::Sim { .. } => on_freeswitch(name),
    }
}

pub(super) fn on_asterisk(name: &str) -> String {
    format!(
        "put the file below `sounds/en/` in `astdatadir` (see asterisk.conf) as `{name}` with the ending of its format, such as \
         .ulaw or .wav; a file elsewhere is named by its whole path, `sound:/…`, and is not looked for"
    )
}

pub(super) fn on_freeswitch(name: &str) -> String {
    format!("put the file {name}.wav below `sounds_dir` (`global_getvar sounds_dir` in fs_cli shows where)")
}

/// The name without its `sound:`.
pub fn name_of(sound: &Sound) -> &str {
    let text = sound.as_str();
    text.strip_prefix("sound:").unwrap_or(text)
}
