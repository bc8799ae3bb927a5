//! Whether a PBX has the sounds that campaigns name. In: how it is reached, and the sounds. Out: a [`Presence`] of each. Only asks.
//! The API asks when a campaign is or becomes active, `paceline doctor` whenever it runs.

use super::ari::Ari;
use super::esl::Esl;
use crate::config::{PbxConfig, PbxKind};
use paceline_core::pbx::Sound;
use std::time::Duration;

/// A PBX that does not answer within this is not waited for.
const WAIT_MAX: Duration = Duration::from_secs(4);

/// Whether a PBX has a sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It has.
    There,
    /// It has not.
    Missing,
    /// It cannot be asked, and why.
    Unknown(String),
}

/// Asks for each of the sounds, for four seconds at most.
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
            // The simulated one plays anything.
            (PbxKind::Esl { .. } | PbxKind::Sim { .. }, None) => all(Presence::There),
        }
    };
    let slow = || Presence::Unknown(format!("it does not answer within {} s", WAIT_MAX.as_secs()));
    tokio::time::timeout(WAIT_MAX, asked)
        .await
        .unwrap_or_else(|_| all(slow()))
}

/// What to do where a PBX has not the sound.
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

/// As people know it: without its `sound:`.
pub fn name_of(sound: &Sound) -> &str {
    let text = sound.as_str();
    text.strip_prefix("sound:").unwrap_or(text)
}
